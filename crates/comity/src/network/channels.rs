//! Channels shared with other organisations, for applications: what `comity channel` does. Every member has the same
//! events in the same order, signed by who said them and by the channel's hub. See "Channels" in
//! `protocols/federation.md`.

use crate::door::control::Denied;
use crate::federation::{Federation, FederationError, RoomInfo, Shown};
use comity_core::federation::roster::Standing;
use comity_core::federation::{ChannelId, Event, Origin};
use comity_core::wire::federation::event;
use comity_core::wire::strict;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that are read from the disk at once.
const PIECE: u64 = 100;

/// The channels of this node. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Channels(Federation);

/// Why something is not done, or not now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct ChannelError {
    code: &'static str,
    sentence: String,
}

/// A channel as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelView {
    /// Its id.
    pub id: ChannelId,
    /// Whether this node orders it.
    pub is_hub: bool,
    /// Whether this origin is a member now.
    pub is_member: bool,
    /// What it is about, as its hub says.
    pub topic: Option<String>,
    /// The number of the last event that is here: 0 for none.
    pub last: u64,
    /// Own events that the hub has not taken yet.
    pub waiting: u64,
    /// What is wrong with its line, in sentences.
    pub faults: Vec<String>,
}

/// The events of a channel, one after the other, as they are on this node's disk. What others say in them is data.
#[derive(Debug)]
pub struct ChannelEvents {
    federation: Federation,
    channel: ChannelId,
    after: u64,
    read: VecDeque<Event>,
    news: broadcast::Receiver<Arc<Shown>>,
}

impl Channels {
    pub(super) fn new(federation: Federation) -> Self {
        Self(federation)
    }

    /// The origin that this node speaks for.
    pub fn origin(&self) -> &Origin {
        self.0.origin()
    }

    /// Makes a channel that this node orders; `all_history`: whether new members see all of it, and not only what is said
    /// from then on.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn create(&self, name: &str, topic: Option<&str>, all_history: bool) -> Result<ChannelId, ChannelError> {
        Ok(self.0.create(name, topic, all_history).await?)
    }

    /// Invites another origin to a channel of this node, and asks it for its key first.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn invite(&self, channel: &ChannelId, origin: &Origin) -> Result<(), ChannelError> {
        Ok(self.0.invite_to(channel, origin).await?)
    }

    /// Takes an origin out of a channel of this node: it learns nothing that comes later.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn remove(&self, channel: &ChannelId, origin: &Origin) -> Result<(), ChannelError> {
        Ok(self.0.remove(channel, origin).await?)
    }

    /// The channels to which others invited this origin, and that nobody here has answered.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn invitations(&self) -> Result<Vec<ChannelId>, ChannelError> {
        Ok(self.0.invitations().await?.into_iter().map(|(channel, _)| channel).collect())
    }

    /// Accepts an invitation, or does not.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn answer(&self, channel: &ChannelId, accepts: bool) -> Result<(), ChannelError> {
        Ok(self.0.answer(channel, accepts).await?)
    }

    /// Leaves a channel.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn leave(&self, channel: &ChannelId) -> Result<(), ChannelError> {
        Ok(self.0.leave(channel).await?)
    }

    /// Says something on a channel. It is on this node's disk then, and reaches every member, whatever becomes of their
    /// nodes and of the network between. `data` has at most 65,535 bytes of JSON, less some for what stands around it.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn say(&self, channel: &ChannelId, kind: &str, data: Value) -> Result<(), ChannelError> {
        Ok(self.0.say(channel, kind, data).await.map(drop)?)
    }

    /// All channels that this node takes part in, or did.
    ///
    /// # Errors
    /// [`ChannelError`].
    pub async fn list(&self) -> Result<Vec<ChannelView>, ChannelError> {
        Ok(self.0.channels().await?.into_iter().map(view).collect())
    }

    /// The events of a channel after this one (0: from the first that is here), and all that come.
    pub fn events(&self, channel: &ChannelId, after: u64) -> ChannelEvents {
        let (federation, channel, news) = (self.0.clone(), channel.clone(), self.0.news());
        ChannelEvents { federation, channel, after, read: VecDeque::new(), news }
    }
}

impl ChannelEvents {
    /// The next event, once it is there; `None` when the node has ended or takes no part in the channel.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.read.pop_front() {
                self.after = event.order.seq;
                return Some(event);
            }
            let rows = self.federation.log(&self.channel, self.after, PIECE).await.ok()?;
            let read = |body: &str| event::read(&strict::parse(body.as_bytes()).ok()?).ok();
            self.read.extend(rows.iter().filter_map(|row| read(&row.body)));
            if self.read.is_empty() {
                match self.news.recv().await {
                    // Whatever came is read from the disk, and what was missed with it.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return None,
                }
            }
        }
    }
}

impl ChannelError {
    /// A stable code, for programs: `unknown_channel`, `not_member`, `unreachable`, `key_changed`, `conflict`,
    /// `forbidden`, `bad_request` or `unavailable`.
    pub fn code(&self) -> &'static str {
        self.code
    }
}

impl From<FederationError> for ChannelError {
    fn from(error: FederationError) -> Self {
        let Denied { code, detail, .. } = error.into();
        Self { code, sentence: detail }
    }
}

fn view(room: RoomInfo) -> ChannelView {
    ChannelView {
        is_member: matches!(room.standing, Some(Standing::Joined { .. })),
        id: room.channel,
        is_hub: room.is_hub,
        topic: room.topic,
        last: room.last,
        waiting: room.waiting,
        faults: room.faults,
    }
}
