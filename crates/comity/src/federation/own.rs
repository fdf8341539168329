//! What this node's own user and programs ask of federation.

use super::answering::member;
use super::contract::{Begun, LineEnd, Refused, RoomView, Told};
use super::origins::Unknown;
use super::room::Saying;
use super::{Failure, Federation};
use crate::redaction::labels;
use crate::store::federation::{Direction, KeptEvent};
use comity_core::federation::hub::{Outcome, Refusal};
use comity_core::federation::participant::NotKept;
use comity_core::federation::roster::{Change, Standing};
use comity_core::federation::{ChannelId, NotAChannel, Origin};
use comity_core::redact::Typed;
use comity_core::time::Timestamp;
use comity_core::wire::federation::body::{Member, Members, members_path};
use comity_core::wire::federation::event::{self as wire, BadEvent, TYPE_MAX};
use comity_core::wire::strict;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Room that an event needs besides its data, bytes: with the longest names.
const AROUND_MAX: usize = 2048;

/// Events that are read at once where only their numbers are wanted.
const PIECE: u64 = 500;

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FederationError {
    /// The name of the channel.
    #[error(transparent)]
    Name(#[from] NotAChannel),
    /// The rules of channels, or of this node.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The event cannot be said.
    #[error(transparent)]
    Event(#[from] BadEvent),
    /// The type of the event.
    #[error("a type has 1 to {TYPE_MAX} bytes without control characters, and does not begin with naomi:")]
    Type,
    /// The hub refuses, which is this node.
    #[error(transparent)]
    Hub(#[from] Refusal),
    /// Not now.
    #[error("{0}")]
    Later(String),
    /// It was not kept.
    #[error(transparent)]
    NotKept(#[from] NotKept),
    /// The other origin.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The other origin's answer.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// This very origin.
    #[error("that is this origin itself")]
    Ourselves,
    /// The disk.
    #[error("federation.db cannot be read: {0}")]
    Disk(String),
    /// The node has ended.
    #[error("the node is leaving")]
    Leaving,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Its id, where this origin orders the channel: elsewhere it is known once it has a number.
    pub(crate) id: Option<String>,
}

/// A channel.
#[derive(Debug, Clone)]
pub(crate) struct RoomInfo {
    pub(crate) channel: ChannelId,
    pub(crate) is_hub: bool,
    /// How this origin stands in it.
    pub(crate) standing: Option<Standing>,
    pub(crate) members: Vec<Member>,
    pub(crate) topic: Option<String>,
    /// The number of the last event that is here.
    pub(crate) last: u64,
    /// Its id.
    pub(crate) last_id: Option<String>,
    /// Own events that wait for the hub.
    pub(crate) waiting: u64,
    /// Whether all that the hub had was seen; of a hub, whether it takes events.
    pub(crate) is_caught_up: bool,
    /// Members for which a hub waits.
    pub(crate) unheard: Vec<Origin>,
    /// What is wrong with the line.
    pub(crate) faults: Vec<String>,
}

/// What another hub says of a member, as it is shown.
fn shown(member: Member) -> Member {
    let text = |text: &str| crate::door::shown::text(text, 256);
    Member { origin: text(&member.origin), state: text(&member.state), ..member }
}

impl Federation {
    /// Makes a channel that this origin orders.
    pub(crate) async fn create(
        &self,
        name: &str,
        topic: Option<&str>,
        all_history: bool,
    ) -> Result<ChannelId, FederationError> {
        let channel = ChannelId::new(name, self.origin().clone())?;
        let named = channel.clone();
        let made = self.ask(|reply| Told::Create { channel: named, all_history, reply }).await;
        self.ended(made.ok_or(FederationError::Leaving)??).await?;
        if let Some(topic) = topic {
            self.change(&channel, &Change::Topic(topic.to_owned())).await?;
        }
        Ok(channel)
    }

    /// Says what a channel is about.
    pub(crate) async fn set_topic(&self, channel: &ChannelId, topic: &str) -> Result<(), FederationError> {
        self.change(channel, &Change::Topic(topic.to_owned())).await
    }

    /// Invites an origin to a channel of this one; it is asked for its key first.
    pub(crate) async fn invite_to(&self, channel: &ChannelId, member: &Origin) -> Result<(), FederationError> {
        if member == self.origin() {
            return Err(FederationError::Ourselves);
        }
        self.must_be_hub(channel)?;
        if self.0.client.is_blocked(member) {
            return Err(Failure::Blocked(member.clone()).into());
        }
        self.0.origins.find(member).await?;
        self.change(channel, &Change::Invited(member.clone())).await
    }

    /// Removes an origin from a channel of this one.
    pub(crate) async fn remove(&self, channel: &ChannelId, member: &Origin) -> Result<(), FederationError> {
        self.must_be_hub(channel)?;
        self.change(channel, &Change::Removed(member.clone())).await
    }

    fn must_be_hub(&self, channel: &ChannelId) -> Result<(), FederationError> {
        if channel.hub() == self.origin() { Ok(()) } else { Err(Refused::NotHub(channel.hub().clone()).into()) }
    }

    /// Leaves a channel.
    pub(crate) async fn leave(&self, channel: &ChannelId) -> Result<(), FederationError> {
        self.change(channel, &Change::Left).await
    }

    /// Accepts an invitation, or does not.
    pub(crate) async fn answer(&self, channel: &ChannelId, accepts: bool) -> Result<(), FederationError> {
        let named = channel.clone();
        let begun = self.ask(|reply| Told::Answer { channel: named, accepts, reply }).await;
        self.ended(begun.ok_or(FederationError::Leaving)??).await.map(drop)
    }

    /// Lets the line of a channel of this origin go on without members that cannot be reached.
    pub(crate) async fn force(&self, channel: &ChannelId) -> Result<(), FederationError> {
        let named = channel.clone();
        let forced = self.ask(|reply| Told::Force { channel: named, reply }).await;
        Ok(forced.ok_or(FederationError::Leaving)??)
    }

    /// Says something on a channel: it is on disk then, and has its place where this origin orders the channel.
    pub(crate) async fn say(&self, channel: &ChannelId, kind: &str, data: Value) -> Result<Kept, FederationError> {
        let fits = (1..=TYPE_MAX).contains(&kind.len()) && !kind.chars().any(char::is_control);
        if !fits || kind.starts_with("naomi:") {
            return Err(FederationError::Type);
        }
        let (handle, name) = (&self.0.handle, channel.to_string());
        let now = handle.now().wall;
        let clean = handle.redaction().document(&data, &Typed::default(), || labels("event", &name, kind), now);
        let data = clean.into_owned();
        wire::check_data(&data)?;
        let bytes = serde_json::to_vec(&data).map_or(usize::MAX, |bytes| bytes.len());
        if bytes + AROUND_MAX > wire::BYTES_MAX {
            return Err(BadEvent::TooLarge { bytes: bytes + AROUND_MAX }.into());
        }
        self.begin(channel, Saying { kind: kind.to_owned(), data, at: now }).await
    }

    async fn change(&self, channel: &ChannelId, change: &Change) -> Result<(), FederationError> {
        let at = self.0.handle.now().wall;
        let saying = Saying { kind: change.kind().to_owned(), data: change.data(), at };
        self.begin(channel, saying).await.map(drop)
    }

    async fn begin(&self, channel: &ChannelId, saying: Saying) -> Result<Kept, FederationError> {
        let named = channel.clone();
        let begun = self.ask(|reply| Told::Say { channel: named, saying, reply }).await;
        self.ended(begun.ok_or(FederationError::Leaving)??).await
    }

    async fn ended(&self, begun: Begun) -> Result<Kept, FederationError> {
        match begun {
            Begun::Nothing => Ok(Kept { id: None }),
            Begun::Waits(is_kept) => {
                is_kept.await.map_err(|_| FederationError::Leaving)??;
                Ok(Kept { id: None })
            }
            Begun::AtHub { id, outcomes } => {
                let outcomes = outcomes.await.map_err(|_| FederationError::Leaving)?;
                match outcomes.first() {
                    Some(Outcome::Taken) => Ok(Kept { id: Some(id.to_string()) }),
                    Some(Outcome::Refused(why)) => Err((*why).into()),
                    Some(Outcome::Later(delay)) => Err(FederationError::Later(delay.to_string())),
                    None => Err(FederationError::Leaving),
                }
            }
        }
    }

    /// All channels.
    pub(crate) async fn channels(&self) -> Result<Vec<RoomInfo>, FederationError> {
        let around = self.ask(Told::LookAround).await.ok_or(FederationError::Leaving)?;
        Ok(around.rooms.into_iter().map(|room| self.info(room)).collect())
    }

    /// One channel.
    pub(crate) async fn channel(&self, channel: &ChannelId) -> Result<RoomInfo, FederationError> {
        self.view(channel).await.map(|room| self.info(room))
    }

    async fn view(&self, channel: &ChannelId) -> Result<RoomView, FederationError> {
        let named = channel.clone();
        let seen = self.ask(|reply| Told::View { channel: named, reply }).await.ok_or(FederationError::Leaving)?;
        seen.map(|room| *room).ok_or_else(|| Refused::UnknownChannel(channel.clone()).into())
    }

    fn info(&self, room: RoomView) -> RoomInfo {
        let last = room.last.filter(|(seq, _)| *seq == room.ready);
        RoomInfo {
            standing: room.roster.standing(self.origin()),
            members: room.roster.standings().map(|(origin, standing)| member(origin, standing)).collect(),
            topic: room.roster.topic().map(str::to_owned),
            channel: room.id,
            is_hub: room.is_hub,
            last: room.ready,
            last_id: last.map(|(_, id)| id.to_string()),
            waiting: room.waiting,
            is_caught_up: room.is_caught_up,
            unheard: room.unheard,
            faults: room.faults,
        }
    }

    /// Who is a member of a channel: as its hub says where that can be asked, else as far as this origin saw.
    pub(crate) async fn members_of(&self, channel: &ChannelId) -> Result<Vec<Member>, FederationError> {
        let known = self.channel(channel).await?;
        if known.is_hub {
            return Ok(known.members);
        }
        let asked = self.0.client.get::<Members>(channel.hub(), &members_path(channel)).await;
        match asked {
            Ok(listed) => Ok(listed.members.into_iter().map(shown).collect()),
            Err(failure) => {
                tracing::debug!(%channel, %failure, "the hub does not say who is a member");
                Ok(known.members)
            }
        }
    }

    /// What proves that the hub of a channel showed two histories.
    pub(crate) async fn proofs(&self, channel: &ChannelId) -> Result<Vec<Value>, FederationError> {
        let named = channel.clone();
        let proofs = self.ask(|reply| Told::Proofs { channel: named, reply }).await.ok_or(FederationError::Leaving)?;
        let proofs = proofs.ok_or_else(|| Refused::UnknownChannel(channel.clone()))?;
        Ok(proofs.iter().filter_map(|text| strict::parse(text.as_bytes()).ok()).collect())
    }

    /// Up to where each channel is on disk that has changed since this was asked last.
    pub(super) async fn ends(&self) -> Result<Vec<LineEnd>, FederationError> {
        self.ask(Told::Ends).await.ok_or(FederationError::Leaving)
    }

    /// Invitations that nobody has answered: the channel, when it came (Unix milliseconds), its members and topic as its
    /// hub says.
    pub(crate) async fn invitations(
        &self,
    ) -> Result<Vec<(ChannelId, crate::store::federation::Invitation)>, FederationError> {
        Ok(self.ask(Told::LookAround).await.ok_or(FederationError::Leaving)?.invitations)
    }

    /// Events of a channel that are here, in order: at most so many after this one.
    pub(crate) async fn log(
        &self,
        channel: &ChannelId,
        after: u64,
        limit: u64,
    ) -> Result<Vec<KeptEvent>, FederationError> {
        let room = self.view(channel).await?;
        let rows = self.0.lines.events(room.number, Direction::After(after), (1, room.ready), limit).await;
        rows.map_err(|error| FederationError::Disk(error.to_string()))
    }

    /// The event before the last so many of a channel: after it come as many, or all that there are.
    pub(crate) async fn before_last(&self, channel: &ChannelId, count: u64) -> Result<u64, FederationError> {
        let room = self.view(channel).await?;
        let (mut before, mut left) = (room.ready + 1, count);
        while left > 0 {
            let rows = self.0.lines.events(room.number, Direction::Before(before), (1, room.ready), left.min(PIECE));
            let rows = rows.await.map_err(|error| FederationError::Disk(error.to_string()))?;
            let Some(first) = rows.last() else { break };
            (before, left) = (first.number, left - rows.len() as u64);
        }
        Ok(before - 1)
    }

    /// An event of a line for whoever shows it: as it is kept, marked if only its hub says whose it is.
    pub(crate) fn shown(&self, mut kept: String) -> Option<Box<RawValue>> {
        let word = wire::read_word(&kept)?;
        if self.0.sender.proof.is_unverified(&word) && kept.pop().is_some() {
            kept.push_str(",\"author_unverified\":true}");
        }
        RawValue::from_string(kept).ok()
    }

    /// The keys of all whose events a channel may have, each with the time until which it counts.
    pub(crate) async fn keys(
        &self,
        channel: &ChannelId,
    ) -> Result<BTreeMap<Origin, Vec<(String, Option<Timestamp>)>>, FederationError> {
        let room = self.view(channel).await?;
        let mut origins: BTreeSet<Origin> = room.roster.standings().map(|(origin, _)| origin.clone()).collect();
        origins.insert(channel.hub().clone());
        origins.insert(self.origin().clone());
        let authors = self.0.lines.authors(room.number).await;
        origins.extend(authors.map_err(|error| FederationError::Disk(error.to_string()))?);
        let keys = |origin: &Origin| {
            let known = self.0.origins.known(origin);
            let pin = match &known {
                _ if origin == self.origin() => &self.0.keys.pin,
                Some(known) => &known.pin,
                None => return Vec::new(),
            };
            let old = pin.old.iter().map(|old| (old.key.to_string(), Some(old.until)));
            std::iter::once((pin.key.to_string(), None)).chain(old).collect()
        };
        Ok(origins.into_iter().map(|origin| (origin.clone(), keys(&origin))).collect())
    }

    /// Pins the key that an origin shows now.
    pub(crate) async fn trust(&self, origin: &Origin) -> Result<super::origins::Known, FederationError> {
        if origin == self.origin() {
            return Err(FederationError::Ourselves);
        }
        Ok(self.0.origins.trust(origin).await?)
    }

    /// Everybody who is known, and what waits for them: how many events, and how often they could not be reached.
    pub(crate) async fn others(
        &self,
    ) -> Result<Vec<(Origin, Option<super::origins::Known>, u64, u32)>, FederationError> {
        let around = self.ask(Told::LookAround).await.ok_or(FederationError::Leaving)?;
        let mut known: BTreeMap<Origin, _> = self.0.origins.all().into_iter().collect();
        let mut names: BTreeSet<Origin> = known.keys().cloned().collect();
        names.extend(around.outboxes.keys().cloned());
        names.remove(self.origin());
        let other = |origin: Origin| {
            let (waiting, failures) = around.outboxes.get(&origin).copied().unwrap_or_default();
            let found = known.remove(&origin);
            (origin, found, waiting, failures)
        };
        Ok(names.into_iter().map(other).collect())
    }
}
