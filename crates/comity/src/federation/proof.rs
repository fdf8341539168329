//! Checks the signatures of events: whose each key is, and that it signed. See "Channels" in `protocols/federation.md`.

use super::OwnKeys;
use super::origins::{Origins, Unknown};
use crate::driver::Handle;
use comity_core::federation::heads::Placed;
use comity_core::federation::{AuthorKey, Authored, ChannelId, Event, Origin};
use comity_core::id::NodeId;
use comity_core::identity::signature::BadSignature;
use comity_core::time::Timestamp;
use comity_core::wire::federation::event::{self, BadEvent, Word};
use serde_json::Value;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

/// Events that are checked by one task: fewer are not worth another.
const PART_MIN: usize = 8;

/// What checks events. Cloning shares it.
#[derive(Clone)]
pub(super) struct Proof {
    pub(super) me: Origin,
    pub(super) handle: Handle,
    pub(super) keys: Arc<OwnKeys>,
    pub(super) origins: Origins,
}

/// Why an event does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadProof {
    /// It cannot be read.
    #[error(transparent)]
    Event(#[from] BadEvent),
    /// A signature is wrong.
    #[error("{whose} signature: {why}")]
    Signature {
        /// The author's or the hub's.
        whose: &'static str,
        /// Why.
        why: BadSignature,
    },
    /// A key is not the origin's, or that cannot be found out now.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// It is of another channel.
    #[error("it is of another channel: {0}")]
    Elsewhere(ChannelId),
}

impl BadProof {
    /// Whether it may count later.
    pub(super) fn may_change(&self) -> bool {
        matches!(self, Self::Unknown(Unknown::Unreachable { .. } | Unknown::TooMany | Unknown::KeyChanged(_)))
    }

    /// The stable code.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Event(BadEvent::TooLarge { .. } | BadEvent::TooMany { .. }) => "too_large",
            Self::Event(_) | Self::Elsewhere(_) => "bad_request",
            Self::Signature { .. } | Self::Unknown(Unknown::WrongKey(_)) => "bad_signature",
            Self::Unknown(Unknown::KeyChanged(_)) => "key_changed",
            Self::Unknown(_) => "unavailable",
        }
    }
}

impl Proof {
    /// Checks that this key speaks for an origin, or for this one, in what was signed at this time.
    async fn key(&self, origin: &Origin, key: &NodeId, at: Timestamp) -> Result<(), BadProof> {
        if *origin == self.me && self.keys.pin.counts(key, at) {
            return Ok(());
        }
        Ok(self.origins.check_key(origin, key, at, None).await?)
    }

    /// Checks what an author submits.
    pub(super) async fn authored(&self, authored: &Authored) -> Result<(), BadProof> {
        // What a hub attests, the hub's signature over its place proves.
        if let Some(key) = &authored.key {
            self.key(&authored.origin, key, authored.at).await?;
        }
        authored.verify().map_err(|why| BadProof::Signature { whose: "its author's", why })
    }

    /// Reads and checks an event in its place.
    pub(super) async fn event(&self, channel: &ChannelId, value: &Value) -> Result<Event, BadProof> {
        let event = event::read(value)?;
        if event.authored.channel != *channel {
            return Err(BadProof::Elsewhere(event.authored.channel));
        }
        self.placed(channel, &event.placed()).await?;
        match self.authored(&event.authored).await {
            // It has its place by the hub's word, and is shown as that: who is gone keeps nobody's line from going on.
            Err(BadProof::Unknown(Unknown::Unreachable { .. })) if self.is_unknown(&event.authored) => {
                let signed = event.authored.verify();
                signed.map_err(|why| BadProof::Signature { whose: "its author's", why })?;
            }
            other => other?,
        }
        Ok(event)
    }

    /// Whether nobody here ever saw a key of an event's author.
    fn is_unknown(&self, authored: &Authored) -> bool {
        let known = |key| self.origins.author_key(&authored.origin, key, authored.at);
        authored.key.as_ref().map(known) == Some(AuthorKey::Unverified)
    }

    /// Whether an event that is in a line was not proven to be its author's: that nobody knew its key, or that the key
    /// that is known since is another.
    pub(super) fn is_unverified(&self, word: &Word) -> bool {
        let known = |key| self.origins.author_key(&word.origin, key, word.at);
        word.origin != self.me && word.key.as_ref().map(known).is_some_and(|key| key != AuthorKey::Proven)
    }

    /// Checks that the hub gave an event its place.
    pub(super) async fn placed(&self, channel: &ChannelId, placed: &Placed) -> Result<(), BadProof> {
        self.key(channel.hub(), &placed.order.key, placed.order.at).await?;
        let order = placed.order.verify(channel, placed.id);
        order.map_err(|why| BadProof::Signature { whose: "its hub's", why })
    }

    /// Reads and checks events of a line, on all processors; those before the first that does not count.
    pub(super) async fn line(&self, channel: &ChannelId, values: Vec<Value>) -> (Vec<Event>, Option<BadProof>) {
        let parts = on_all_processors(values, |values| {
            let (proof, channel) = (self.clone(), channel.clone());
            async move { proof.part(&channel, &values).await }
        });
        let mut events = Vec::new();
        // None: the node has ended, and nobody takes them any more.
        for (checked, bad) in parts.await.unwrap_or_default() {
            events.extend(checked);
            if bad.is_some() {
                return (events, bad);
            }
        }
        (events, None)
    }

    async fn part(&self, channel: &ChannelId, values: &[Value]) -> (Vec<Event>, Option<BadProof>) {
        let mut events = Vec::with_capacity(values.len());
        for value in values {
            match self.event(channel, value).await {
                Ok(event) => events.push(event),
                Err(bad) => return (events, Some(bad)),
            }
        }
        (events, None)
    }
}

/// Checks events in parts, each in a task of its own where they are many: what became of each part, in order. `None`: one
/// has not ended, as the node does.
pub(super) async fn on_all_processors<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    values: Vec<Value>,
    check: impl Fn(Vec<Value>) -> F,
) -> Option<Vec<T>> {
    let size = values.len().div_ceil(available_parallelism().map_or(1, NonZero::get)).max(PART_MIN);
    if values.len() <= size {
        return Some(vec![check(values).await]);
    }
    let (mut values, mut checking) = (values.into_iter(), Vec::new());
    while values.len() > 0 {
        checking.push(tokio::spawn(check(values.by_ref().take(size).collect())));
    }
    let mut checked = Vec::with_capacity(checking.len());
    for part in checking {
        checked.push(part.await.ok()?);
    }
    Some(checked)
}
