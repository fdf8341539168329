//! Receiving: subscriptions, the inbox, the digest, and streams of what comes.

use super::error::unexpected;
use super::{Error, Message, Network};
use crate::driver::Listener;
use comity_core::channel::Channel;
use comity_core::id::PeerId;
use comity_core::inbox::Digest;
use comity_core::node::{Answer, Ask, Event, ListenFilter};
use comity_core::peers::PeerView;
use futures_util::Stream;
use serde_json::Value;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio_util::sync::CancellationToken;

impl Network {
    /// Listens to a channel from now on, and after every restart: to what is said to all on it. A
    /// message to this node alone is always delivered, whatever channel it names.
    ///
    /// # Errors
    /// [`Error::Channel`]; [`Error::Refused`] when there are 256 already or the disk does not take it.
    pub async fn subscribe(&self, channel: &str) -> Result<(), Error> {
        self.done(Ask::Subscribe { channel: Channel::new(channel)?, quiet: false }).await
    }

    /// As [`Network::subscribe`], without the channel's background messages.
    ///
    /// # Errors
    /// As [`Network::subscribe`].
    pub async fn subscribe_quietly(&self, channel: &str) -> Result<(), Error> {
        self.done(Ask::Subscribe { channel: Channel::new(channel)?, quiet: true }).await
    }

    /// Listens to a channel no more. What names it but is for this node alone still comes.
    ///
    /// # Errors
    /// [`Error::Channel`]; [`Error::Refused`] when this node did not listen to it.
    pub async fn unsubscribe(&self, channel: &str) -> Result<(), Error> {
        self.done(Ask::Unsubscribe(Channel::new(channel)?)).await
    }

    /// Takes the next message out of the inbox: the oldest critical one first, then the oldest.
    /// `None` at once when it is empty. A message is returned when a crash can no longer bring it
    /// back; to keep it until it is dealt with, use [`Network::peek_messages`] and [`Network::ack`].
    ///
    /// # Errors
    /// [`Error::Refused`] when the disk does not take it, or the node is leaving.
    pub async fn next_message(&self) -> Result<Option<Message>, Error> {
        let mut items = self.items(Ask::Take { limit: 1 }).await?;
        Ok(items.pop())
    }

    /// Looks at the inbox and leaves it as it is: at most `limit` messages that arrived later than
    /// the number `after` (0: from the first), in the order of arrival.
    ///
    /// # Errors
    /// [`Error::Refused`] when the node is leaving.
    pub async fn peek_messages(&self, after: u64, limit: usize) -> Result<Vec<Message>, Error> {
        self.items(Ask::Peek { after, limit }).await
    }

    /// Takes messages out of the inbox by their [`Message::arrival`] numbers. Unknown ones are fine.
    ///
    /// # Errors
    /// [`Error::Refused`] when the disk does not take it: they may come again after a restart.
    pub async fn ack(&self, arrivals: &[u64]) -> Result<(), Error> {
        self.done(Ask::Ack(arrivals.to_vec())).await
    }

    /// What was digested since a digest was last taken.
    ///
    /// # Errors
    /// [`Error::Refused`] when the node is leaving.
    pub async fn digest(&self) -> Result<Digest, Error> {
        self.digest_of(Ask::Digest { take: false }).await
    }

    /// As [`Network::digest`], and begins a new one. It is handed out when the disk has that.
    ///
    /// # Errors
    /// [`Error::Refused`] when the node is leaving, or the disk does not take it.
    pub async fn take_digest(&self) -> Result<Digest, Error> {
        self.digest_of(Ask::Digest { take: true }).await
    }

    /// Everything that the attention mode lets through at once, from now on. What it does not goes
    /// to the inbox or the digest; so does what a slow reader leaves behind (8,192 messages wait).
    pub async fn messages(&self) -> Messages {
        Messages(self.0.handle.listen(ListenFilter::All).await)
    }

    /// As [`Network::messages`], of one channel, which is subscribed.
    ///
    /// # Errors
    /// As [`Network::subscribe`].
    pub async fn messages_on(&self, channel: &str) -> Result<Messages, Error> {
        self.subscribe(channel).await?;
        Ok(Messages(self.0.handle.listen(ListenFilter::Channel(Channel::new(channel)?)).await))
    }

    /// As [`Network::messages`], of one peer.
    pub async fn messages_of(&self, peer: PeerId) -> Messages {
        Messages(self.0.handle.listen(ListenFilter::Peer(peer)).await)
    }

    async fn items(&self, ask: Ask) -> Result<Vec<Message>, Error> {
        match self.0.handle.ask(ask).await {
            Answer::Items(items) => Ok(items.iter().map(|item| Message::of_inbox(item)).collect()),
            other => Err(unexpected(other)),
        }
    }

    async fn digest_of(&self, ask: Ask) -> Result<Digest, Error> {
        match self.0.handle.ask(ask).await {
            Answer::Digest(digest) => Ok(digest),
            other => Err(unexpected(other)),
        }
    }
}

/// A stream of messages, which ends when the node does. Dropping it ends the listening; what was
/// handed over and not read goes to the inbox.
pub struct Messages(Listener);

impl Messages {
    pub(super) fn new(listener: Listener) -> Self {
        Self(listener)
    }

    /// The next message; `None` when the node has ended.
    pub async fn next(&mut self) -> Option<Message> {
        self.0.recv().await.map(Message::new)
    }
}

impl Stream for Messages {
    type Item = Message;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        self.0.poll_recv(context).map(|received| received.map(Message::new))
    }
}

impl fmt::Debug for Messages {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Messages")
    }
}

/// How peers come and go. Made by [`Network::peer_changes`].
#[derive(Debug)]
pub struct PeerChanges {
    events: broadcast::Receiver<Arc<Event>>,
    stop: CancellationToken,
}

/// What changed about a peer.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PeerChange {
    /// It became present.
    Joined(Box<PeerView>),
    /// It said goodbye, or was lost.
    Left {
        /// Which.
        peer: PeerId,
        /// Its name.
        name: String,
        /// Whether it said goodbye.
        goodbye: bool,
    },
    /// Something else about it changed.
    Updated(Box<PeerView>),
    /// It said what it is doing.
    Status {
        /// Which.
        peer: PeerId,
        /// What it said; `None` when it cleared it.
        status: Option<Value>,
    },
    /// So many changes came faster than they were read; [`Network::peers`] has the present state.
    Missed(u64),
}

impl PeerChanges {
    pub(super) fn new(events: broadcast::Receiver<Arc<Event>>, stop: CancellationToken) -> Self {
        Self { events, stop }
    }

    /// The next change; `None` when the node has ended.
    pub async fn next(&mut self) -> Option<PeerChange> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.events.recv() => received,
                // Whoever holds the network could still send: the channel itself does not end.
                () = self.stop.cancelled() => return None,
            };
            let event = match received {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => return Some(PeerChange::Missed(missed)),
                Err(RecvError::Closed) => return None,
            };
            match &*event {
                Event::PeerJoined(peer) => return Some(PeerChange::Joined(peer.clone())),
                Event::PeerLeft { peer, name, goodbye } => {
                    return Some(PeerChange::Left { peer: *peer, name: name.clone(), goodbye: *goodbye });
                }
                Event::PeerUpdated(peer) => return Some(PeerChange::Updated(peer.clone())),
                Event::PeerStatus { peer, status } => {
                    return Some(PeerChange::Status { peer: *peer, status: status.clone() });
                }
                Event::Message(_) | Event::OwnStatus(_) | Event::Twin { .. } | Event::Evicted { .. } => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_evicted_leaves_once() {
        let (sender, events) = broadcast::channel(4);
        let (peer, name) = (PeerId(uuid::Uuid::nil()), "x".to_owned());
        let left = Event::PeerLeft { peer, name: name.clone(), goodbye: false };
        for event in [left, Event::Evicted { peer, name: name.clone() }] {
            sender.send(Arc::new(event)).expect("a watcher");
        }
        drop(sender);
        let mut changes = PeerChanges::new(events, CancellationToken::new());
        assert_eq!(changes.next().await, Some(PeerChange::Left { peer, name, goodbye: false }));
        assert_eq!(changes.next().await, None);
    }
}
