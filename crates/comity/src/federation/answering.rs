//! What other origins ask of this one, once it is proven who they are. See the table of calls in
//! `protocols/federation.md`.

mod lines;
mod transactions;

pub(super) use transactions::Transactions;

use super::check::sender_of;
use super::comparing;
use super::contract::{Begun, Sight, Told};
use super::proof::{BadProof, on_all_processors};
use super::room::Ends;
use super::{Federation, Invited};
use crate::store::federation::{Batch, Direction, Done, Invitation, Write};
use comity_core::federation::hub::{Delay, Outcome};
use comity_core::federation::roster::{Change, Standing};
use comity_core::federation::{Authored, ChannelId, Event, EventId, Origin};
use comity_core::time::Timestamp;
use comity_core::wire::federation::body::{
    self, ChannelHead, DigestOf, EVENTS_MAX, HEADS_MAX, Head, Heads, HeadsWanted, Health, ID_MAX, Invite, Member,
    Members, Membership, PAGE_MAX, Processed, Rejected, Transaction,
};
use comity_core::wire::federation::event::{self as wire, Submitted};
use comity_core::wire::federation::well_known::{self, WellKnown};
use futures_util::future::join_all;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use transactions::{Came, UnderWay};

/// How long a transaction is remembered.
const TRANSACTION_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How long until what is under way may be asked for again.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Seconds of an hour, and of a day.
const SECONDS: u32 = 3600;
const SECONDS_OF_DAY: u32 = 86_400;

/// Why another origin gets no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotAnswered {
    /// A field of what it sent is wrong.
    #[error("{detail}")]
    Bad {
        /// Which, as a JSON pointer.
        pointer: String,
        /// What is wrong.
        detail: String,
    },
    /// It is no member.
    #[error("{0} is not a member of this channel")]
    NotMember(Origin),
    /// It may not.
    #[error("{0}")]
    Forbidden(&'static str),
    /// Another transaction has this id.
    #[error("another transaction had this id")]
    Conflict,
    /// Too much at once.
    #[error("too many invitations")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// Not now.
    #[error("{0}")]
    Unavailable(&'static str),
    /// None of its events was judged.
    #[error("{0}")]
    Later(String),
}

impl NotAnswered {
    pub(super) fn bad(pointer: &str, detail: impl Into<String>) -> Self {
        Self::Bad { pointer: pointer.to_owned(), detail: detail.into() }
    }

    const ENDED: Self = Self::Unavailable("the node is leaving");
    const DISK: Self = Self::Unavailable("the disk does not take it");
}

/// What is done with one event of a transaction.
enum Part {
    /// It is an author's own, for this hub; with the id under which the author knows it.
    Own(Arc<Authored>, String),
    /// It is of the line of the sender's channel.
    Line(Box<Event>),
    /// It is not looked at any further.
    Rejected(Rejected),
}

impl Federation {
    /// What this origin says of itself.
    pub(crate) fn well_known(&self) -> Value {
        let config = &self.0.config;
        let document = WellKnown {
            endpoint: config.endpoint.clone(),
            version: well_known::VERSION.to_owned(),
            components: ["paulina", "naomi", "roshumba", "vendela"].map(str::to_owned).to_vec(),
            key: self.0.handle.me().node(),
            rotations: self.0.keys.rotations.clone(),
            card: Some(self.0.handle.hello().borrow().card.clone()),
        };
        document.to_value()
    }

    /// How this origin is.
    pub(crate) async fn health(&self) -> Result<Health, NotAnswered> {
        let around = self.ask(Told::LookAround).await.ok_or(NotAnswered::ENDED)?;
        let waiting: u64 = around.outboxes.values().map(|(waiting, _)| waiting).sum();
        let is_well = around.rooms.iter().all(|room| room.is_caught_up);
        let status = if is_well { "ok" } else { "degraded" };
        let tools = if self.0.tools.health().iter().all(|server| server.state == "ready") { "ok" } else { "degraded" };
        let parts = [("paulina", "ok"), ("naomi", status), ("roshumba", tools), ("vendela", "ok")];
        let components = parts.map(|(name, state)| (name.to_owned(), state.to_owned()));
        Ok(Health {
            status: status.to_owned(),
            version: self.0.handle.me().about().version.clone(),
            components: components.into(),
            load: json!({ "events_waiting": waiting }),
        })
    }

    /// A transaction of another origin: the answer, as JSON. `body` is what came.
    pub(crate) async fn transaction(
        &self,
        (from, at): (&Origin, Timestamp),
        id: &str,
        (body, hash): (Value, [u8; 32]),
    ) -> Result<String, NotAnswered> {
        if !(1..=ID_MAX).contains(&id.len()) {
            return Err(NotAnswered::bad("", "the id of a transaction has 1 to 128 bytes"));
        }
        match self.0.under_way.begin((from.clone(), id.to_owned()), hash)? {
            Came::New(under_way) => self.begun_transaction((from, at), (id, under_way), (body, hash)).await,
            Came::Answered(answer) => Ok(answer),
        }
    }

    async fn begun_transaction(
        &self,
        (from, at): (&Origin, Timestamp),
        (id, mut under_way): (&str, UnderWay),
        (body, hash): (Value, [u8; 32]),
    ) -> Result<String, NotAnswered> {
        let known = self.0.lines.transaction(from, id).await.map_err(|_| NotAnswered::DISK)?;
        let is_new = known.is_none();
        match known {
            Some((other, _)) if other != hash => return Err(NotAnswered::Conflict),
            Some((_, Some(answer))) => return Ok(answer),
            _ => {}
        }
        let transaction: Transaction =
            serde_json::from_value(body).map_err(|bad| NotAnswered::bad("", bad.to_string()))?;
        if transaction.origin != from.as_str() {
            return Err(NotAnswered::bad("/origin", format!("this request is signed by {from}")));
        }
        if transaction.events.len() > EVENTS_MAX {
            return Err(NotAnswered::bad("/events", format!("at most {EVENTS_MAX} events are allowed")));
        }
        let is_kept = !is_new || self.has_room_for_a_transaction(from);
        if is_new && is_kept {
            let until = self.0.handle.now().wall + TRANSACTION_KEPT;
            let begun = Write::Transaction { origin: from.clone(), id: id.to_owned(), hash, until };
            // Before what it changes.
            under_way.is_written(self.keep(begun).await);
        }
        let count = transaction.events.len();
        let processed = self.process((from, at), transaction.events).await?;
        let answer = serde_json::to_string(&processed).expect("texts are JSON");
        // What may be sent again is judged anew.
        let judged = processed.processed.len() + processed.rejected.len();
        let is_final = judged == count && processed.rejected.iter().all(|rejected| !rejected.retry);
        if is_kept && is_final {
            let ended = Write::Answered { origin: from.clone(), id: id.to_owned(), answer: answer.clone() };
            under_way.is_written(self.keep(ended).await);
            under_way.answered(answer.clone());
        }
        Ok(answer)
    }

    /// Writes something down that nobody waits for; when it is there, or lost.
    async fn keep(&self, write: Write) -> oneshot::Receiver<bool> {
        let (told, is_kept) = oneshot::channel();
        // Err: the node has ended.
        let _ = self.0.disk.send(Batch { writes: vec![write], done: Some(Done::Patient(told)) }).await;
        is_kept
    }

    /// Whether a transaction of this origin is remembered: of whoever shares a channel, and so many a day. Of what is not,
    /// every event is still taken once, for its id is known.
    fn has_room_for_a_transaction(&self, from: &Origin) -> bool {
        let is_companion = self.0.companions.borrow().contains(from);
        is_companion && {
            let mut room = self.0.transactions.lock().unwrap_or_else(PoisonError::into_inner);
            room.take(sender_of(from), 1, self.0.handle.now().mono / SECONDS_OF_DAY).0 == 1
        }
    }

    /// An event by which an origin joins or leaves a channel of this hub, or by which this one was removed.
    pub(crate) async fn membership(
        &self,
        (from, at): (&Origin, Timestamp),
        wanted: Membership,
        kind: &str,
    ) -> Result<Processed, NotAnswered> {
        if wanted.event.get("type").and_then(Value::as_str) != Some(kind) {
            return Err(NotAnswered::bad("/event/type", format!("{kind} is wanted")));
        }
        let named = wanted.event.get("channel").or_else(|| wanted.event.get("room")).and_then(Value::as_str);
        if named != Some(wanted.channel.as_str()) {
            return Err(NotAnswered::bad("/event/channel", "the event is of another channel"));
        }
        self.process((from, at), vec![wanted.event]).await
    }

    /// Takes events of another origin: its own for channels of this hub, or those of a channel that it orders.
    async fn process(&self, (from, at): (&Origin, Timestamp), events: Vec<Value>) -> Result<Processed, NotAnswered> {
        let mut own: BTreeMap<ChannelId, Vec<(usize, Arc<Authored>, String)>> = BTreeMap::new();
        let mut lines: BTreeMap<ChannelId, Vec<(usize, Event)>> = BTreeMap::new();
        let mut outcomes: Vec<Result<String, Rejected>> = Vec::with_capacity(events.len());
        let parts = on_all_processors(events, |events| {
            let (federation, from) = (self.clone(), from.clone());
            async move { federation.parts(&from, &events).await }
        });
        let parts = parts.await.ok_or(NotAnswered::ENDED)?;
        for (place, part) in parts.into_iter().flatten().enumerate() {
            match part {
                Part::Own(authored, id) => {
                    outcomes.push(Ok(id.clone()));
                    own.entry(authored.channel.clone()).or_default().push((place, authored, id));
                }
                Part::Line(event) => {
                    outcomes.push(Ok(event.authored.id.to_string()));
                    lines.entry(event.authored.channel.clone()).or_default().push((place, *event));
                }
                Part::Rejected(rejected) => outcomes.push(Err(rejected)),
            }
        }
        for (channel, events) in own {
            self.submit(from, channel, events, &mut outcomes).await;
        }
        for (channel, events) in lines {
            self.deliver(channel, at, events, &mut outcomes).await;
        }
        let (mut processed, mut unjudged) = (Processed::default(), None);
        for outcome in outcomes {
            if let Err(rejected) = &outcome {
                self.0.handle.counters().rejected(counted(&rejected.code));
            }
            match outcome {
                Ok(id) => processed.processed.push(id),
                // What was not judged is in neither list: whoever knows only the protocol would take it for refused.
                Err(rejected) if rejected.retry && rejected.expected.is_none() => unjudged = Some(rejected),
                Err(rejected) => processed.rejected.push(rejected),
            }
        }
        match unjudged {
            Some(rejected) if processed.processed.is_empty() && processed.rejected.is_empty() => {
                Err(NotAnswered::Later(rejected.detail))
            }
            _ => Ok(processed),
        }
    }

    /// What these events are.
    async fn parts(&self, from: &Origin, events: &[Value]) -> Vec<Part> {
        let mut parts = Vec::with_capacity(events.len());
        for value in events {
            parts.push(self.part(from, value).await);
        }
        parts
    }

    /// What one event is.
    async fn part(&self, from: &Origin, value: &Value) -> Part {
        let id = value.get("id").and_then(Value::as_str).unwrap_or_default();
        let id = crate::door::shown::text(&id[..id.floor_char_boundary(ID_MAX)], ID_MAX);
        let rejected = |code: &str, detail: String, retry: bool| {
            Part::Rejected(Rejected { id: id.clone(), code: code.to_owned(), detail, retry, expected: None })
        };
        let bad = |bad: BadProof| rejected(bad.code(), bad.to_string(), bad.may_change());
        let is_line = value.get("hub_sig").is_some();
        let channel = value.get("channel").or_else(|| value.get("room")).and_then(Value::as_str);
        let Some(Ok(channel)) = channel.map(str::parse::<ChannelId>) else {
            return rejected("bad_request", "a channel (!<name>:<origin>) is wanted at /channel".to_owned(), false);
        };
        if is_line && channel.hub() == from {
            return match self.0.sender.proof.event(&channel, value).await {
                Ok(event) => Part::Line(Box::new(event)),
                Err(why) => bad(why),
            };
        }
        if channel.hub() != self.origin() {
            return rejected(
                "forbidden",
                format!("{} orders this channel, not {}", channel.hub(), self.origin()),
                false,
            );
        }
        match wire::read_submitted(value) {
            // Before anybody is asked for a key: nobody makes this node ask origins that it invents.
            Ok(Submitted::Signed(authored)) if authored.origin != *from => {
                rejected("forbidden", "an origin submits its own events only".to_owned(), false)
            }
            Ok(Submitted::Signed(authored)) => match self.0.sender.proof.authored(&authored).await {
                Ok(()) => {
                    let id = authored.id.to_string();
                    Part::Own(Arc::new(*authored), id)
                }
                Err(why) => bad(why),
            },
            Ok(Submitted::Unsigned(unsigned)) if unsigned.origin == *from => {
                let said = (unsigned.kind.as_str(), &unsigned.data);
                match self.0.sender.attest(&channel, from, said, (&unsigned.id, unsigned.at)) {
                    Ok(attested) => Part::Own(Arc::new(attested), unsigned.id),
                    Err(why) => bad(why.into()),
                }
            }
            Ok(Submitted::Unsigned(_)) => {
                rejected("forbidden", "an origin submits its own events only".to_owned(), false)
            }
            Err(why) => bad(why.into()),
        }
    }

    async fn submit(
        &self,
        from: &Origin,
        channel: ChannelId,
        events: Vec<(usize, Arc<Authored>, String)>,
        into: &mut [Result<String, Rejected>],
    ) {
        let authored = events.iter().map(|(_, authored, _)| authored.clone()).collect();
        let from = from.clone();
        let outcomes = self.ask(|reply| Told::Submitted { from, channel, events: authored, reply }).await;
        // Nobody answers when the node ends: then nothing is decided.
        let outcomes: Vec<Outcome> = outcomes.unwrap_or_default();
        for (at, (place, authored, id)) in events.into_iter().enumerate() {
            let outcome = outcomes.get(at).copied().unwrap_or(Outcome::Later(Delay::Unavailable));
            if let Some(rejected) = Rejected::of(&authored.id, outcome) {
                into[place] = Err(Rejected { id, ..rejected });
            }
        }
    }

    async fn deliver(
        &self,
        channel: ChannelId,
        at: Timestamp,
        events: Vec<(usize, Event)>,
        into: &mut [Result<String, Rejected>],
    ) {
        let (places, events): (Vec<(usize, u64, EventId)>, Vec<Event>) =
            events.into_iter().map(|(place, event)| ((place, event.order.seq, event.authored.id), event)).unzip();
        let taken = self.ask(|reply| Told::Delivered { channel, events, at, reply }).await;
        for (place, seq, id) in places {
            if taken.is_none_or(|taken| seq > taken.upto) {
                let rejected = Rejected::of(&id, Outcome::Later(Delay::Unavailable));
                into[place] = rejected.map_or(Ok(id.to_string()), Err);
            }
        }
    }

    /// Another origin invites this one.
    pub(crate) async fn invite(&self, from: &Origin, wanted: Invite) -> Result<body::Invited, NotAnswered> {
        let channel = wanted.channel.parse::<ChannelId>();
        let channel = channel.map_err(|bad| NotAnswered::bad("/channel", bad.to_string()))?;
        if wanted.inviter != from.as_str() {
            return Err(NotAnswered::bad("/inviter", format!("this request is signed by {from}")));
        }
        if channel.hub() != from {
            return Err(NotAnswered::Forbidden("only the origin of a channel invites to it"));
        }
        if wanted.invitee != self.origin().as_str() {
            return Err(NotAnswered::bad("/invitee", format!("this is {}", self.origin())));
        }
        let taken = {
            let mut pace = self.0.invitations.lock().unwrap_or_else(PoisonError::into_inner);
            pace.take(sender_of(from), 1, self.0.handle.now().mono / SECONDS)
        };
        if let (0, wait) = taken {
            return Err(NotAnswered::TooMany { retry_after: wait * SECONDS });
        }
        // Whoever answers must find this origin again by the same key.
        self.0.origins.keep(from).await;
        let text = |text: &String| crate::door::shown::text(text, ID_MAX * 2);
        let invitation = Box::new(Invitation {
            at: self.0.handle.now().wall.millis(),
            members: wanted.members.unwrap_or_default().iter().take(EVENTS_MAX).map(text).collect(),
            topic: wanted.topic.as_ref().map(text),
            all_history: wanted.history.as_deref() == Some("all"),
        });
        let named = channel.clone();
        let invited = self.ask(|reply| Told::Invited { channel: named, invitation, reply });
        match invited.await.ok_or(NotAnswered::ENDED)? {
            Invited::Member { upto, joined: (number, since) } => {
                // A hub that lost it takes it back: it could not say it for an origin that signs.
                let kept = self.0.lines.event(number, since).await.ok().flatten();
                let event = kept.and_then(|kept| serde_json::from_str(&kept.body).ok());
                Ok(body::Invited { accepted: true, pending: false, events_since: upto, event })
            }
            Invited::Full => Err(NotAnswered::Unavailable("too many invitations wait here")),
            Invited::Pending(is_safe) => {
                if !is_safe.await.unwrap_or(false) {
                    return Err(NotAnswered::DISK);
                }
                if self.0.config.accept.includes(from) {
                    let accepted = self.ask(|reply| Told::Answer { channel, accepts: true, reply }).await;
                    if let Some(Ok(Begun::Waits(is_kept))) = accepted {
                        // It joins by an event of its own, as if a person had accepted.
                        drop::<oneshot::Receiver<_>>(is_kept);
                    }
                }
                Ok(body::Invited { accepted: false, pending: true, events_since: 0, event: None })
            }
        }
    }

    /// How long whoever is told that something is not answered now should wait.
    pub(crate) const AGAIN_AFTER: Duration = AGAIN_AFTER;
}

/// The code of an event that is rejected, as it is counted.
fn counted(code: &str) -> &'static str {
    const CODES: [&str; 9] = [
        "bad_request",
        "bad_signature",
        "conflict",
        "forbidden",
        "key_changed",
        "not_member",
        "rate_limited",
        "too_large",
        "unavailable",
    ];
    CODES.into_iter().find(|known| *known == code).unwrap_or("other")
}

/// How an origin stands.
pub(super) fn member(origin: &Origin, standing: Standing) -> Member {
    let (state, since) = match standing {
        Standing::Invited => ("invited", None),
        Standing::Joined { since } => ("joined", Some(since)),
        Standing::Left { since, .. } => ("left", Some(since)),
        Standing::Removed { since, .. } => ("removed", since),
    };
    Member { origin: origin.to_string(), state: state.to_owned(), since }
}

/// The types of membership events, for the doors that take them.
pub(crate) fn kinds() -> [&'static str; 3] {
    [Change::Joined.kind(), Change::Left.kind(), "naomi:member.removed"]
}
