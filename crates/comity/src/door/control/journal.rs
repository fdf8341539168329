//! The journal at the control door: what is in it, what proves an entry, all of it as JSON Lines, and whose journals
//! are followed. The disk is read on threads that may wait.

use super::denied::Denied;
use super::desk::Desk;
use super::feed::feed;
use super::read::{Body, Params};
use super::{Reply, target};
use crate::network::{Follow, FollowError};
use crate::store::journal::{Disk, Entries, Filter, Journal, JournalError};
use axum::Json;
use axum::Router;
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::routing::get;
use comity_core::id::NodeId;
use comity_core::journal::EntryKind;
use comity_core::time::Timestamp;
use comity_core::wire::control::{self, Journaled, path};
use comity_core::wire::journal as wire;
use futures_util::stream;
use serde::Deserialize;
use serde_json::Value;
use std::io::{self, BufWriter, Write};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// Bytes of an export that are handed over at once.
const PIECE: usize = 64 * 1024;

/// Pieces of an export that wait for a slow reader.
const PIECES_MAX: usize = 4;

/// The paths of the journal.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route(path::JOURNAL, get(state))
        .route(path::ENTRIES, get(entries))
        .route(path::EXPORT, get(export))
        .route(path::PROOF, get(proof))
        .route(path::JOURNALS, get(followed).put(follow))
        .route(path::JOURNAL_CHANGES, get(changes))
}

async fn state(State(desk): State<Desk>) -> Reply<control::Journal> {
    let journal = journal(&desk)?;
    // Before the files: what is signed is in them, whatever is written meanwhile.
    let head = journal.head();
    let figures = journal.figures();
    let failing = match *journal.disk().borrow() {
        Disk::Working => None,
        Disk::Failing(why) => Some(why.to_string()),
    };
    let segment =
        |segment: &crate::store::journal::Segment| control::Segment { first: segment.first, bytes: segment.bytes };
    Ok(Json(control::Journal {
        author: desk.handle.me().node().to_string(),
        first: figures.first,
        size: figures.size,
        bytes: figures.bytes,
        segments: journal.segments().iter().map(segment).collect(),
        head: head.as_ref().map(wire::head_to_value),
        refused: figures.refused,
        dropped: figures.dropped,
        failing,
    }))
}

/// Which entries are wanted; what is not said is any.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Types, separated by commas.
    types: Option<String>,
    /// A node id.
    author: Option<String>,
    /// A PeerId.
    from_peer: Option<String>,
    /// Indexes.
    from: Option<u64>,
    to: Option<u64>,
    /// Times, as in RFC 3339.
    since: Option<String>,
    until: Option<String>,
    /// Most entries.
    limit: Option<u64>,
    /// Only so many of those that are there now.
    last: Option<u64>,
    /// Goes on with every entry that is written.
    #[serde(default)]
    follow: bool,
}

impl Wanted {
    fn filter(&self) -> Result<Filter, Denied> {
        let kinds = self.types.as_deref().into_iter().flat_map(|types| types.split(',')).map(|name| {
            let all = || EntryKind::ALL.map(EntryKind::name).join(", ");
            name.parse().map_err(|_| Denied::field("/types", format!("no type `{name}`: one of {}", all())))
        });
        let author = self.author.as_deref().map(|author| {
            author.parse::<NodeId>().map_err(|_| Denied::field("/author", "a node id is wanted (`ed25519:…`)"))
        });
        let time = |pointer: &str, text: Option<&str>| {
            let wrong = || Denied::field(pointer, "a time as in RFC 3339 is wanted: 2026-01-31T12:00:00Z");
            text.map(|text| Timestamp::parse(text).ok_or_else(wrong)).transpose()
        };
        Ok(Filter {
            kinds: kinds.collect::<Result<_, _>>()?,
            author: author.transpose()?,
            from_peer: self.from_peer.clone(),
            since: time("/since", self.since.as_deref())?,
            until: time("/until", self.until.as_deref())?,
        })
    }
}

async fn entries(
    State(desk): State<Desk>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<Response<HttpBody>, Denied> {
    let (journal, filter) = (journal(&desk)?, wanted.filter()?);
    let end = wanted.to.unwrap_or(u64::MAX);
    let there = journal.range();
    let last = wanted.last.map_or(0, |last| there.end.saturating_sub(last));
    let mut next = wanted.from.unwrap_or(0).max(last);
    let mut left = wanted.limit.unwrap_or(u64::MAX);
    Ok(feed(&desk.handle, &headers, |out| async move {
        let mut growth = journal.growth();
        loop {
            let there = (*growth.borrow_and_update()).min(end);
            let (entries, sender) = (journal.entries(next..there, filter.clone()), out.clone());
            // None: the reader is gone, or what follows cannot be read.
            let Ok(Some(sent)) = spawn_blocking(move || send_all(entries, left, &sender)).await else { return };
            next = next.max(there);
            left -= sent;
            if !wanted.follow || left == 0 || next >= end || growth.changed().await.is_err() {
                return;
            }
        }
    }))
}

/// Sends at most so many entries; how many there were.
fn send_all(entries: Entries, most: u64, out: &mpsc::Sender<Journaled>) -> Option<u64> {
    let mut sent = 0;
    if most == 0 {
        return Some(0);
    }
    for entry in entries {
        match entry {
            Ok(entry) => out.blocking_send(Journaled::Entry(wire::entry_to_value(&entry))).ok()?,
            Err(error) => {
                // Err: the reader is gone.
                let _ = out.blocking_send(Journaled::Failed(error.to_string()));
                return None;
            }
        }
        sent += 1;
        if sent == most {
            break;
        }
    }
    Some(sent)
}

async fn export(State(desk): State<Desk>) -> Result<Response<HttpBody>, Denied> {
    let journal = journal(&desk)?;
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    drop(spawn_blocking(move || {
        let mut writer = BufWriter::with_capacity(PIECE, Pieces(out.clone()));
        let written = journal.export(&mut writer).map_err(io::Error::other).and_then(|()| writer.flush());
        if let Err(error) = written {
            // The reader must not take what was written so far for all of it. Err: it is gone.
            let _ = out.blocking_send(Err(error));
        }
    }));
    let body = stream::unfold(pieces, async |mut pieces: mpsc::Receiver<_>| Some((pieces.recv().await?, pieces)));
    let mut response = Response::new(HttpBody::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

/// Writes into the body of an answer.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map(|()| bytes.len()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Which entry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    index: u64,
}

async fn proof(State(desk): State<Desk>, Params(Which { index }): Params<Which>) -> Reply<Value> {
    let journal = journal(&desk)?;
    let proved = spawn_blocking(move || journal.prove(index)).await.map_err(|_| unreadable())??;
    Ok(Json(wire::entry_proof_to_value(&proved)))
}

async fn followed(State(desk): State<Desk>) -> Reply<control::Journals> {
    let follow = following(&desk)?;
    Ok(Json(control::Journals { journals: follow.list().await }))
}

async fn follow(State(desk): State<Desk>, Body(wanted): Body<control::Follow>) -> Reply<control::Journals> {
    let follow = following(&desk)?;
    let view = desk.handle.look().await;
    let author = target::key(&view, &wanted.peer)?;
    if wanted.followed {
        follow.begin(author).await?;
    } else {
        follow.end(author).await?;
    }
    let mut journals = follow.list().await;
    journals.retain(|journal| !wanted.followed || journal.author == author.to_string());
    Ok(Json(control::Journals { journals }))
}

/// Of whom.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    author: Option<String>,
}

async fn changes(
    State(desk): State<Desk>,
    Params(whose): Params<Whose>,
    headers: HeaderMap,
) -> Result<Response<HttpBody>, Denied> {
    let follow = following(&desk)?;
    Ok(feed(&desk.handle, &headers, |out| async move {
        let mut changed = follow.changes();
        let mut told: Vec<control::Followed> = Vec::new();
        loop {
            changed.mark_unchanged();
            let mut journals = follow.list().await;
            journals.retain(|journal| whose.author.as_ref().is_none_or(|author| *author == journal.author));
            for journal in journals.iter().filter(|journal| !told.contains(journal)) {
                if out.send(journal.clone()).await.is_err() {
                    return;
                }
            }
            told = journals;
            if changed.changed().await.is_err() {
                return;
            }
        }
    }))
}

fn journal(desk: &Desk) -> Result<Journal, Denied> {
    desk.surroundings.journal.clone().ok_or_else(Denied::nothing_here)
}

fn following(desk: &Desk) -> Result<Follow, Denied> {
    desk.surroundings.follow.clone().ok_or_else(Denied::nothing_here)
}

fn unreadable() -> Denied {
    Denied::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the journal cannot be read")
}

impl From<JournalError> for Denied {
    fn from(error: JournalError) -> Self {
        let sentence = error.to_string();
        match error {
            JournalError::Beyond { .. } | JournalError::Dropped { .. } => {
                Self::new(StatusCode::NOT_FOUND, "not_found", sentence)
            }
            _ => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence),
        }
    }
}

impl From<FollowError> for Denied {
    fn from(error: FollowError) -> Self {
        let sentence = error.to_string();
        match error {
            FollowError::TooMany => Self::new(StatusCode::CONFLICT, "conflict", sentence),
            FollowError::NotFollowed => Self::new(StatusCode::NOT_FOUND, "not_found", sentence),
            FollowError::NotKept(refusal) => Self { detail: sentence, ..refusal.into() },
        }
    }
}
