//! Federation as the control door offers it: which channel a text means, and the operations of `federation/own.rs`.

use super::Reply;
use super::denied::Denied;
use super::desk::Desk;
use super::feed::feed;
use super::read::{Body, Params};
use crate::federation::{Failure, Federation, FederationError, Refused, RoomInfo, Seen, Unknown};
use axum::body::{Body as HttpBody, Bytes};
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use comity_core::federation::hub::Refusal;
use comity_core::federation::participant::NotKept;
use comity_core::federation::roster::Standing;
use comity_core::federation::{ChannelId, NotAChannel, Origin};
use comity_core::time::Timestamp;
use comity_core::wire::control::{self, ChannelAct, path};
use comity_core::wire::federation::event as wire;
use futures_util::stream;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::io;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// Events that are read from the disk at once.
const PIECE: u64 = 200;

/// Pieces of an export that wait for a slow reader.
const PIECES_MAX: usize = 4;

/// Events that are shown when nobody says how many.
const EVENTS: u64 = 20;

/// The type of an event when nobody says.
const MESSAGE: &str = "message";

/// The paths of federation.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route(path::CHANNELS, get(channels).post(create))
        .route(path::CHANNEL_STEPS, post(step))
        .route(path::CHANNEL_EVENTS, get(events).post(say))
        .route(path::CHANNEL_EXPORT, get(export))
        .route(path::CHANNEL_MEMBERS, get(members))
        .route(path::CHANNEL_PROOFS, get(proofs))
        .route(path::INVITATIONS, get(invitations))
        .route(path::FEDERATION, get(state))
        .route(path::ORIGINS, put(trust))
}

impl Desk {
    pub(super) fn federation(&self) -> Result<&Federation, Denied> {
        let off = || {
            let sentence = "this node speaks for no origin: set federation.origin in its configuration";
            Denied::new(StatusCode::CONFLICT, "conflict", sentence)
        };
        self.surroundings.federation.as_ref().ok_or_else(off)
    }
}

/// The channel that a text means: an id, or the name of one of this origin.
fn channel_of(federation: &Federation, text: &str) -> Result<ChannelId, Denied> {
    let bad = |bad: NotAChannel| Denied::field("/channel", bad.to_string());
    match text.strip_prefix('!').and_then(|rest| rest.split_once(':')) {
        Some((name, origin)) => {
            let hub = Origin::said(origin).map_err(|why| bad(why.into()))?;
            ChannelId::new(name, hub).map_err(bad)
        }
        None => ChannelId::new(text.strip_prefix('!').unwrap_or(text), federation.origin().clone()).map_err(bad),
    }
}

/// The origin that a text means.
pub(super) fn origin_of(text: &str) -> Result<Origin, Denied> {
    Origin::said(text).map_err(|bad| Denied::field("/origin", bad.to_string()))
}

/// Whom a step is about.
fn whom(text: Option<&str>) -> Result<Origin, Denied> {
    origin_of(text.ok_or_else(|| Denied::field("/origin", "whom it is about must be said"))?)
}

impl From<FederationError> for Denied {
    fn from(error: FederationError) -> Self {
        let sentence = error.to_string();
        match &error {
            FederationError::Name(_) => Self::field("/name", sentence),
            FederationError::Event(_) => Self::field("/data", sentence),
            FederationError::Type => Self::field("/type", sentence),
            FederationError::Ourselves => Self::field("/origin", sentence),
            FederationError::Refused(Refused::UnknownChannel(_) | Refused::NotInvited(_)) => {
                Self::new(StatusCode::NOT_FOUND, "unknown_channel", sentence)
            }
            FederationError::Refused(Refused::NotHub(_)) => Self::new(StatusCode::FORBIDDEN, "forbidden", sentence),
            FederationError::Hub(Refusal::Forbidden(_)) | FederationError::NotKept(NotKept::NotMember) => {
                Self::new(StatusCode::FORBIDDEN, "not_member", sentence)
            }
            FederationError::Unknown(Unknown::KeyChanged(_)) => {
                Self::new(StatusCode::CONFLICT, "key_changed", sentence)
            }
            FederationError::Unknown(_) | FederationError::Failure(Failure::Unanswered { .. }) => {
                Self::new(StatusCode::BAD_GATEWAY, "unreachable", sentence)
            }
            FederationError::Refused(_) | FederationError::Hub(_) | FederationError::Failure(_) => {
                Self::new(StatusCode::CONFLICT, "conflict", sentence)
            }
            FederationError::Later(_)
            | FederationError::NotKept(_)
            | FederationError::Disk(_)
            | FederationError::Leaving => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence),
        }
    }
}

async fn channels(State(desk): State<Desk>) -> Reply<control::FederatedChannels> {
    let channels = desk.federation()?.channels().await?;
    Ok(Json(control::FederatedChannels { channels: channels.into_iter().map(shown).collect() }))
}

async fn create(State(desk): State<Desk>, Body(wanted): Body<control::NewChannel>) -> Reply<control::FederatedChannel> {
    let federation = desk.federation()?;
    let channel = federation.create(&wanted.name, wanted.about.as_deref(), wanted.all_history).await?;
    Ok(Json(shown(federation.channel(&channel).await?)))
}

async fn step(State(desk): State<Desk>, Body(wanted): Body<control::ChannelStep>) -> Reply<control::Done> {
    let federation = desk.federation()?;
    let channel = channel_of(federation, &wanted.channel)?;
    match wanted.step {
        ChannelAct::Invite => federation.invite_to(&channel, &whom(wanted.origin.as_deref())?).await?,
        ChannelAct::Remove => federation.remove(&channel, &whom(wanted.origin.as_deref())?).await?,
        ChannelAct::About => {
            let about = wanted.about.ok_or_else(|| Denied::field("/about", "what it is about must be said"))?;
            federation.set_topic(&channel, &about).await?;
        }
        ChannelAct::Accept => federation.answer(&channel, true).await?,
        ChannelAct::Decline => federation.answer(&channel, false).await?,
        ChannelAct::Leave => federation.leave(&channel).await?,
        ChannelAct::Force => federation.force(&channel).await?,
    }
    Ok(Json(control::Done {}))
}

async fn say(State(desk): State<Desk>, Body(wanted): Body<control::SayOn>) -> Reply<control::SaidOn> {
    let federation = desk.federation()?;
    let channel = channel_of(federation, &wanted.channel)?;
    let kept = federation.say(&channel, wanted.kind.as_deref().unwrap_or(MESSAGE), wanted.data).await?;
    Ok(Json(control::SaidOn { channel: channel.to_string(), id: kept.id }))
}

/// Which events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    channel: String,
    /// Those after this one.
    after: Option<u64>,
    /// The last so many, where `after` is not given.
    last: Option<u64>,
    /// At most so many.
    limit: Option<u64>,
    /// And every one that comes from now on.
    #[serde(default)]
    follow: bool,
}

async fn events(
    State(desk): State<Desk>,
    Params(wanted): Params<Wanted>,
    headers: HeaderMap,
) -> Result<axum::response::Response, Denied> {
    let federation = desk.federation()?.clone();
    let channel = channel_of(&federation, &wanted.channel)?;
    // First what comes, then what is there: an event between the two is seen twice rather than never.
    let mut news = federation.news();
    let mut after = match wanted.after {
        Some(after) => after,
        None => federation.before_last(&channel, wanted.last.unwrap_or(EVENTS)).await?,
    };
    let mut rows = federation.log(&channel, after, wanted.limit.unwrap_or(PIECE).min(PIECE)).await?;
    Ok(feed(&desk.handle, &headers, move |out| async move {
        let mut left = wanted.limit.unwrap_or(u64::MAX);
        while !rows.is_empty() {
            for row in rows.drain(..) {
                after = row.number;
                let Some(event) = federation.shown(row.body) else { continue };
                if left == 0 || out.send(event).await.is_err() {
                    return;
                }
                left -= 1;
            }
            let Ok(more) = federation.log(&channel, after, PIECE).await else { return };
            rows = more;
        }
        while wanted.follow && left > 0 {
            let missed = match news.recv().await {
                // The next, or one in the place of what was withdrawn.
                Ok(shown) if shown.channel == channel && shown.event.order.seq <= after + 1 => {
                    left -= u64::from(shown.event.order.seq == after + 1);
                    after = shown.event.order.seq;
                    let Some(event) = federation.shown(wire::to_text(&shown.event)) else { continue };
                    if out.send(event).await.is_err() {
                        return;
                    }
                    false
                }
                Ok(shown) => shown.channel == channel,
                Err(RecvError::Lagged(_)) => true,
                Err(RecvError::Closed) => return,
            };
            if missed && show_missed(&federation, &channel, &mut after, &out).await.is_none() {
                return;
            }
        }
    }))
}

/// Sends what has come since, from the disk; `None` when nobody reads any more.
async fn show_missed(
    federation: &Federation,
    channel: &ChannelId,
    after: &mut u64,
    out: &mpsc::Sender<Box<RawValue>>,
) -> Option<()> {
    loop {
        let rows = federation.log(channel, *after, PIECE).await.ok()?;
        if rows.is_empty() {
            return Some(());
        }
        for row in rows {
            *after = row.number;
            if let Some(event) = federation.shown(row.body) {
                out.send(event).await.ok()?;
            }
        }
    }
}

/// Which channel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    channel: String,
}

async fn members(State(desk): State<Desk>, Params(which): Params<Which>) -> Reply<control::ChannelMembers> {
    let federation = desk.federation()?;
    let channel = channel_of(federation, &which.channel)?;
    let members = federation.members_of(&channel).await?;
    Ok(Json(control::ChannelMembers { channel: channel.to_string(), members }))
}

async fn proofs(State(desk): State<Desk>, Params(which): Params<Which>) -> Reply<control::ChannelProofs> {
    let federation = desk.federation()?;
    let channel = channel_of(federation, &which.channel)?;
    Ok(Json(control::ChannelProofs { proofs: federation.proofs(&channel).await? }))
}

/// All of a channel: first a line that says whose keys count, then its events, each as on the wire.
async fn export(State(desk): State<Desk>, Params(which): Params<Which>) -> Result<Response<HttpBody>, Denied> {
    let federation = desk.federation()?.clone();
    let channel = channel_of(&federation, &which.channel)?;
    let keys = federation.keys(&channel).await?;
    let key = |(key, until): (String, Option<Timestamp>)| match until {
        None => json!(key),
        Some(until) => json!({ "key": key, "until": until.to_string() }),
    };
    let keys: serde_json::Map<String, Value> =
        keys.into_iter().map(|(origin, keys)| (origin.to_string(), keys.into_iter().map(key).collect())).collect();
    let head = json!({ "channel": channel.to_string(), "member": federation.origin().as_str(), "keys": keys });
    let (out, pieces) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        let mut piece = format!("{head}\n");
        let mut after = 0;
        loop {
            if out.send(Ok(Bytes::from(std::mem::take(&mut piece)))).await.is_err() {
                return;
            }
            match federation.log(&channel, after, PIECE).await {
                Ok(rows) if rows.is_empty() => return,
                Ok(rows) => {
                    for row in rows {
                        after = row.number;
                        piece.push_str(&row.body);
                        piece.push('\n');
                    }
                }
                Err(error) => {
                    // The reader must not take what was written so far for all of it.
                    let _ = out.send(Err(io::Error::other(error.to_string()))).await;
                    return;
                }
            }
        }
    });
    let body = stream::unfold(pieces, async |mut pieces: mpsc::Receiver<io::Result<Bytes>>| {
        Some((pieces.recv().await?, pieces))
    });
    let mut response = Response::new(HttpBody::from_stream(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

async fn invitations(State(desk): State<Desk>) -> Reply<control::Invitations> {
    let invitations = desk.federation()?.invitations().await?;
    let shown = invitations.into_iter().map(|(channel, kept)| control::Invitation {
        channel: channel.to_string(),
        received_at: Timestamp::from_millis(kept.at),
        members: kept.members,
        about: kept.topic,
        all_history: kept.all_history,
    });
    Ok(Json(control::Invitations { invitations: shown.collect() }))
}

async fn state(State(desk): State<Desk>) -> Reply<control::FederationState> {
    let federation = desk.federation()?;
    let others = federation.others().await?;
    Ok(Json(control::FederationState {
        origin: federation.origin().to_string(),
        key: desk.handle.me().node().to_string(),
        endpoint: federation.config().endpoint.to_string(),
        others: others.into_iter().map(|one| other(federation, one)).collect(),
    }))
}

async fn trust(State(desk): State<Desk>, Body(wanted): Body<control::TrustedOrigin>) -> Reply<control::OtherOrigin> {
    let origin = origin_of(&wanted.origin)?;
    let federation = desk.federation()?;
    let known = federation.trust(&origin).await?;
    Ok(Json(other(federation, (origin, Some(known), 0, 0))))
}

fn other(
    federation: &Federation,
    (origin, known, waiting, failures): (Origin, Option<crate::federation::Known>, u64, u32),
) -> control::OtherOrigin {
    control::OtherOrigin {
        origin: origin.to_string(),
        key: known.as_ref().map(|known| known.pin.key.to_string()),
        since: known.as_ref().map(|known| known.since),
        old_keys: known.iter().flat_map(|known| &known.pin.old).map(|old| old.key.to_string()).collect(),
        endpoint: known.as_ref().map(|known| known.endpoint.to_string()),
        components: known.as_ref().map(|known| known.components.clone()).unwrap_or_default(),
        key_changed: known.and_then(|known| known.changed).map(|changed| changed.to_string()),
        waiting,
        failures,
        heard: federation.registry().seen(&origin).map(heard),
    }
}

fn heard(seen: Seen) -> control::HeardOrigin {
    let tools = seen.tools().map(|count| u64::try_from(count).unwrap_or(u64::MAX));
    let (status, version, health) = match seen.health {
        Some(health) => (Some(health.status), Some(health.version), health.components),
        None => Default::default(),
    };
    control::HeardOrigin { at: seen.at, status, version, health, tools, failure: seen.failure }
}

fn shown(room: RoomInfo) -> control::FederatedChannel {
    let state = match room.standing {
        None | Some(Standing::Invited) => "invited",
        Some(Standing::Joined { .. }) => "joined",
        Some(Standing::Left { .. }) => "left",
        Some(Standing::Removed { .. }) => "removed",
    };
    control::FederatedChannel {
        channel: room.channel.to_string(),
        hub: room.is_hub,
        state: state.to_owned(),
        about: room.topic,
        members: room.members,
        last: room.last,
        last_id: room.last_id,
        waiting: room.waiting,
        caught_up: room.is_caught_up,
        waits_for: room.unheard.iter().map(Origin::to_string).collect(),
        faults: room.faults,
    }
}
