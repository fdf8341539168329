//! What goes to other origins for channels: each request is its own task, and its end is told to the task of federation.

use super::client::{Client, Failure};
use super::contract::Told;
use super::filling::Filling;
use super::proof::{BadProof, Proof};
use crate::store::federation::{Direction, KeptEvent, Lines};
use axum::http::Method;
use bytes::Bytes;
use comity_core::federation::event::Authored;
use comity_core::federation::hub::{Delay, Outcome};
use comity_core::federation::outbox::{Part, Stream};
use comity_core::federation::roster::{Change, History, Roster};
use comity_core::federation::{ChannelId, Event, Origin};
use comity_core::time::Timestamp;
use comity_core::wire::federation::body::{self, Invite, Invited, Membership, PAGE_MAX, Page, Processed, path};
use comity_core::wire::federation::event::{self as wire, BadEvent};
use comity_core::wire::strict;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long after the disk failed a channel is read anew.
const REOPEN_AFTER: Duration = Duration::from_secs(1);

/// How a transaction ended.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// Of each stream all up to this event need not go there again.
    pub(super) done: Vec<(Stream, u64)>,
    /// What the hub decided about own events.
    pub(super) decided: Vec<(ChannelId, Vec<(u64, Outcome)>)>,
    /// When the answer was signed.
    pub(super) at: Option<Timestamp>,
    /// Why it came to nothing, if it did.
    pub(super) failure: Option<Failure>,
    /// Whether the other side wants a pause.
    pub(super) is_to_wait: bool,
}

/// Why there are no events.
#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error(transparent)]
    Bad(#[from] BadProof),
}

/// What begins requests. Cloning shares it.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) me: Origin,
    pub(super) client: Client,
    pub(super) proof: Proof,
    lines: Lines,
    pub(super) told: mpsc::Sender<Told>,
    stop: CancellationToken,
}

/// Events of a line, where it ends if that was said, and when that was signed.
pub(super) type Given = (Vec<Event>, Option<u64>, Timestamp);

/// An event that is sent.
struct Entry {
    stream: Stream,
    row: KeptEvent,
}

impl Sender {
    pub(super) fn new(
        (me, client, proof): (Origin, Client, Proof),
        lines: Lines,
        told: mpsc::Sender<Told>,
        stop: CancellationToken,
    ) -> Self {
        Self { me, client, proof, lines, told, stop }
    }

    /// What is read from the disk.
    pub(super) fn lines(&self) -> &Lines {
        &self.lines
    }

    pub(super) fn now(&self) -> Timestamp {
        self.proof.handle.now().wall
    }

    /// Does something in a task of its own, and tells what came of it.
    pub(super) fn spawn(&self, task: impl Future<Output = Option<Told>> + Send + 'static) -> JoinHandle<()> {
        let (told, stop) = (self.told.clone(), self.stop.clone());
        tokio::spawn(async move {
            if let Some(Some(what)) = stop.run_until_cancelled(task).await {
                // Err: the node has ended.
                let _ = told.send(what).await;
            }
        })
    }

    /// Sends what waits for another origin.
    pub(super) fn send(&self, to: Origin, parts: Vec<(u64, Part)>) {
        let sender = self.clone();
        self.spawn(async move {
            let sent = sender.transaction(&to, parts).await;
            Some(Told::Sent { to, sent })
        });
    }

    async fn transaction(&self, to: &Origin, parts: Vec<(u64, Part)>) -> Sent {
        let mut entries = match self.entries(parts).await {
            Ok(entries) => entries,
            Err(error) => {
                tracing::error!(%error, "what waits for another origin cannot be read");
                return Sent { is_to_wait: true, ..Sent::default() };
            }
        };
        // What waited is not kept any more: the line has it, and the outbox will hear of that.
        if entries.is_empty() {
            return Sent { is_to_wait: true, ..Sent::default() };
        }
        loop {
            match self.attempt(to, &entries).await {
                Ok(sent) => return sent,
                // No event is refused for others that it went with.
                Err(failure) if failure.may_be_too_much() && entries.len() > 1 => entries.truncate(entries.len() / 2),
                // What was judged as a whole is judged so for its first event.
                Err(failure @ Failure::Refused { .. }) if failure.is_final() && is_own(&entries[0]) => {
                    return refused(&entries, failure);
                }
                Err(failure) => return Sent { failure: Some(failure), ..Sent::default() },
            }
        }
    }

    /// Sends these events in one request.
    async fn attempt(&self, to: &Origin, entries: &[Entry]) -> Result<Sent, Failure> {
        let asked = match membership_of(&entries[0]) {
            Some((path, body)) => self.client.ask(to, (Method::POST, path), body, super::client::ANSWER_TIME).await,
            None => {
                let path = body::send_path(&Uuid::now_v7().simple().to_string());
                let body = self.body_of(entries);
                self.client.ask(to, (Method::PUT, &path), body, super::client::ANSWER_TIME).await
            }
        };
        let (answer, at) = asked?;
        Ok(Sent { at: Some(at), ..ended(to, entries, &answer)? })
    }

    /// The events of a transaction: no more than it may have, and one alone by which this origin joins or leaves.
    async fn entries(&self, parts: Vec<(u64, Part)>) -> Result<Vec<Entry>, sqlx::Error> {
        let (mut entries, mut filling) = (Vec::new(), Filling::default());
        for (number, Part { stream, after, upto }) in parts {
            let rows = match &stream {
                Stream::Line(_) => {
                    let limit = upto.saturating_sub(after);
                    self.lines.events(number, Direction::After(after), (1, upto), limit).await?
                }
                Stream::Own(_) => self.lines.own(number, after, upto).await?,
            };
            for row in rows {
                let fits = filling.takes(&row.body);
                let entry = Entry { stream: stream.clone(), row };
                let is_alone = membership_of(&entry).is_some();
                if !fits || (is_alone && !entries.is_empty()) {
                    return Ok(entries);
                }
                entries.push(entry);
                if is_alone {
                    return Ok(entries);
                }
            }
        }
        Ok(entries)
    }

    /// The body of a transaction; events go as they are kept.
    fn body_of(&self, entries: &[Entry]) -> Bytes {
        let events: Vec<&str> = entries.iter().map(|entry| entry.row.body.as_str()).collect();
        let (me, now, events) = (&self.me, self.now().millis(), events.join(","));
        format!("{{\"origin\":\"{me}\",\"origin_server_ts\":{now},\"events\":[{events}]}}").into()
    }

    /// Asks the hub for events after this one.
    pub(super) fn fetch(&self, channel: ChannelId, after: u64) {
        let sender = self.clone();
        self.spawn(async move {
            let outcome = match sender.page(channel.hub(), &channel, after).await {
                // Whoever is invited and has not joined may see nothing yet, and some hubs say so.
                Err(Unread::Failure(Failure::Refused { status: 403, code, .. })) if code == "not_member" => {
                    Ok((Vec::new(), Some(0), sender.now()))
                }
                other => other.map_err(|why| why.to_string()),
            };
            Some(Told::Fetched { channel, outcome })
        });
    }

    async fn page(&self, from: &Origin, channel: &ChannelId, after: u64) -> Result<Given, Unread> {
        let (page, at) = self.page_of(from, channel, (after, PAGE_MAX)).await?;
        let (events, bad) = self.proof.line(channel, page.events).await;
        if let Some(bad) = &bad {
            tracing::warn!(%channel, %bad, "an event of a line does not count");
        }
        let (events, head) = counting((events, bad), page.head.seq)?;
        Ok((events, head, at))
    }

    /// Events after this one, as another origin gives them: so many, or fewer where these are more than can be read at
    /// once.
    pub(super) async fn page_of(
        &self,
        from: &Origin,
        channel: &ChannelId,
        (after, mut limit): (u64, u64),
    ) -> Result<(Page, Timestamp), Failure> {
        loop {
            match self.client.get_at(from, &body::events_path(channel, after, limit)).await {
                Err(failure) if failure.may_be_too_much() && limit > 1 => limit /= 2,
                answered => return answered,
            }
        }
    }

    /// Asks a member for events of this hub that it lost.
    pub(super) fn recover(&self, channel: ChannelId, member: Origin, after: u64) {
        let sender = self.clone();
        self.spawn(async move {
            match sender.page(&member, &channel, after).await {
                Ok((events, ..)) => Some(Told::Recovered { channel, member, events }),
                Err(why) => {
                    tracing::warn!(%channel, %member, %why, "a member gives no events that this hub lost");
                    // It is asked again, by and by.
                    None
                }
            }
        });
    }

    /// Tells an origin that it is invited.
    pub(super) fn invite(&self, channel: ChannelId, member: Origin, roster: Roster) {
        let sender = self.clone();
        self.spawn(async move {
            let members = roster.standings().filter(|(origin, _)| roster.is_member(origin));
            let wanted = Invite {
                channel: channel.to_string(),
                inviter: sender.me.to_string(),
                invitee: member.to_string(),
                history: Some(if roster.history() == History::All { "all" } else { "joined" }.to_owned()),
                members: Some(members.map(|(origin, _)| origin.to_string()).collect()),
                topic: roster.topic().map(str::to_owned),
            };
            let asked = sender.client.post::<Invited>(&member, (Method::POST, path::INVITE), &wanted).await;
            let is_told = match asked {
                Ok(answer) => {
                    if answer.accepted {
                        sender.joined(&channel, &member, answer.event).await;
                    }
                    // Whoever accepts is asked again until it has joined: it may not know yet that it was removed.
                    !answer.accepted
                }
                Err(failure) => {
                    tracing::debug!(%channel, %member, %failure, "an invitation could not be handed over");
                    failure.is_final()
                }
            };
            Some(Told::Invitee { channel, member, is_told })
        });
    }

    /// An origin accepted at once: by its own event, or, where it signs none, by one that this hub attests.
    async fn joined(&self, channel: &ChannelId, member: &Origin, event: Option<Value>) {
        let authored = match event {
            Some(event) => match wire::read_submitted(&event) {
                Ok(wire::Submitted::Signed(authored)) if authored.channel == *channel => {
                    if let Err(bad) = self.proof.authored(&authored).await {
                        tracing::warn!(%channel, %member, %bad, "the event by which an origin joins does not count");
                        return;
                    }
                    *authored
                }
                _ => return tracing::warn!(%channel, %member, "an origin joins by an event that is none"),
            },
            None => {
                let change = Change::Joined;
                let own_id = format!("joined-{}", self.now().millis());
                match self.attest(channel, member, (change.kind(), &change.data()), (&own_id, self.now())) {
                    Ok(authored) => authored,
                    Err(bad) => return tracing::warn!(%channel, %member, %bad, "an origin cannot be said to join"),
                }
            }
        };
        let (reply, _) = oneshot::channel();
        let events = vec![Arc::new(authored)];
        let told = Told::Submitted { from: member.clone(), channel: channel.clone(), events, reply };
        let _ = self.told.send(told).await;
    }

    /// An event of an origin that signs none. It may be larger than what that origin submitted.
    pub(super) fn attest(
        &self,
        channel: &ChannelId,
        origin: &Origin,
        (kind, data): (&str, &Value),
        (own_id, at): (&str, Timestamp),
    ) -> Result<Authored, BadEvent> {
        let draft = comity_core::federation::event::Draft {
            channel,
            kind,
            origin,
            author_seq: None,
            at,
            data,
            prev_seen: None,
            attested: Some(own_id),
        };
        let authored = Authored::attest(&draft);
        wire::check(&authored).map(|()| authored)
    }

    /// Reads a channel anew from the disk, which did not take what was written.
    pub(super) fn reopen(&self, channel: ChannelId, number: u64) {
        let sender = self.clone();
        self.spawn(async move {
            loop {
                sleep(REOPEN_AFTER).await;
                match sender.lines.channel(number).await {
                    Ok(role) => return Some(Told::Reopened { channel, role }),
                    Err(error) => tracing::error!(%channel, %error, "a channel cannot be read"),
                }
            }
        });
    }
}

/// What counts of a page: the events before the first bad one. Where the line ends counts if all of them do, for whoever
/// has not seen the others has not seen all.
fn counting((events, bad): (Vec<Event>, Option<BadProof>), head: u64) -> Result<(Vec<Event>, Option<u64>), BadProof> {
    match bad {
        Some(bad) if events.is_empty() => Err(bad),
        Some(_) => Ok((events, None)),
        None => Ok((events, Some(head))),
    }
}

/// The type of an event, and what is needed to send it alone.
#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
}

/// The request by which this origin joins or leaves, if the event is one of these.
fn membership_of(entry: &Entry) -> Option<(&'static str, Bytes)> {
    let Stream::Own(channel) = &entry.stream else { return None };
    let kind: Kind<'_> = serde_json::from_str(&entry.row.body).ok()?;
    let path = match &*kind.r#type {
        "naomi:member.joined" => path::JOIN,
        "naomi:member.left" => path::LEAVE,
        _ => return None,
    };
    let event = serde_json::from_str(&entry.row.body).ok()?;
    let body = serde_json::to_vec(&Membership { channel: channel.to_string(), event }).ok()?;
    Some((path, body.into()))
}

fn is_own(entry: &Entry) -> bool {
    matches!(entry.stream, Stream::Own(_))
}

/// What an answer says of each event that was sent.
fn ended(to: &Origin, entries: &[Entry], answer: &[u8]) -> Result<Sent, Failure> {
    let read = strict::parse(answer).ok().and_then(|value| serde_json::from_value::<Processed>(value).ok());
    let unreadable = || Failure::Unreadable { origin: to.clone(), why: "what became of events".to_owned() };
    let processed = read.ok_or_else(unreadable)?;
    let taken: HashSet<&str> = processed.processed.iter().map(String::as_str).collect();
    let mut sent = Sent::default();
    for entry in entries {
        let id = entry.row.id.to_string();
        let rejected = processed.rejected.iter().find(|rejected| rejected.id == id);
        let outcome = match rejected {
            _ if taken.contains(id.as_str()) => Outcome::Taken,
            Some(rejected) => rejected.outcome(),
            None => Outcome::Later(Delay::Unavailable),
        };
        sent.note(entry, outcome, || Failure::Refused {
            origin: to.clone(),
            status: 200,
            code: rejected.map(|rejected| rejected.code.clone()).unwrap_or_default(),
            detail: rejected.map(|rejected| crate::door::shown::text(&rejected.detail, 256)).unwrap_or_default(),
            retry_after: None,
        });
    }
    Ok(sent)
}

/// The other origin refused the whole.
fn refused(entries: &[Entry], failure: Failure) -> Sent {
    let (code, detail) = match &failure {
        Failure::Refused { code, detail, .. } => (code.clone(), detail.clone()),
        _ => (String::new(), String::new()),
    };
    let rejected = body::Rejected { id: String::new(), code, detail, retry: false, expected: None };
    let mut sent = Sent::default();
    sent.note(&entries[0], rejected.outcome(), || failure.clone());
    sent
}

impl Sent {
    /// What became of one event; after one that was not taken, none of its stream counts.
    fn note(&mut self, entry: &Entry, outcome: Outcome, failure: impl Fn() -> Failure) {
        let is_taken = matches!(outcome, Outcome::Taken);
        match &entry.stream {
            Stream::Own(channel) => {
                self.is_to_wait |= matches!(outcome, Outcome::Later(_));
                // Nobody knows for how long: it is asked ever more rarely.
                if outcome == Outcome::Later(Delay::Unknown) {
                    self.failure = self.failure.take().or_else(|| Some(failure()));
                }
                match self.decided.iter_mut().find(|(known, _)| known == channel) {
                    Some((_, outcomes)) => outcomes.push((entry.row.number, outcome)),
                    None => self.decided.push((channel.clone(), vec![(entry.row.number, outcome)])),
                }
            }
            stream => {
                let known = self.done.iter_mut().find(|(known, _)| known == stream);
                match known {
                    Some((_, upto)) if is_taken && *upto + 1 == entry.row.number => *upto = entry.row.number,
                    None if is_taken => self.done.push((stream.clone(), entry.row.number)),
                    _ if is_taken => {}
                    _ => self.failure = self.failure.take().or_else(|| Some(failure())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::federation::event::{Draft, Order};
    use comity_core::identity::key::KeyPair;
    use serde_json::json;

    fn event() -> Event {
        let (key, channel) = (KeyPair::from_seed([1; 32]), "!a:hub.test".parse().expect("a channel"));
        let (at, origin, data) = (Timestamp::from_millis(0), "hub.test".parse().expect("an origin"), json!(1));
        let draft = Draft {
            channel: &channel,
            kind: "message",
            origin: &origin,
            author_seq: Some(1),
            at,
            data: &data,
            prev_seen: None,
            attested: None,
        };
        let authored = Authored::sign(&key, &draft);
        Event { order: Order::sign(&key, (&channel, authored.id), (1, None), (at, 1)), authored }
    }

    #[test]
    fn who_was_given_a_bad_event_does_not_know_where_the_line_ends() {
        let bad = || BadProof::Elsewhere("!b:hub.test".parse().expect("a channel"));
        assert_eq!(counting((vec![event()], None), 9), Ok((vec![event()], Some(9))));
        assert_eq!(counting((vec![event()], Some(bad())), 9), Ok((vec![event()], None)));
        assert_eq!(counting((Vec::new(), Some(bad())), 9), Err(bad()));
    }
}
