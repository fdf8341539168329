//! Many messages to one place: they are taken up without waiting for each. What a queue refuses
//! meanwhile is counted, and told by `why`.

use super::send::payload_of;
use super::{Error, Network};
use crate::driver::Outbox;
use crate::observe;
use comity_core::channel::Channel;
use comity_core::envelope::{Kind, Priority, Ttl};
use comity_core::id::{MessageId, PeerId};
use comity_core::node::{Ask, Send};
use serde::Serialize;

/// A way to send many messages to one peer, or to everybody on one channel. Made by
/// [`Network::feed`].
#[derive(Debug, Clone)]
pub struct Feed {
    network: Network,
    to: Option<PeerId>,
    channel: Channel,
    kind: Kind,
    priority: Priority,
    outbox: Outbox,
}

impl Network {
    /// Many messages for one peer, or (`None`) for everybody who listens to the channel.
    ///
    /// # Errors
    /// [`Error::Channel`] when the channel cannot be one.
    pub fn feed(&self, to: Option<PeerId>, channel: &str, priority: Priority) -> Result<Feed, Error> {
        let channel = Channel::new(channel)?;
        let kind = channel.kind();
        Ok(Feed { network: self.clone(), to, channel, kind, priority, outbox: Outbox::default() })
    }
}

impl Feed {
    /// Hands over one message. It waits only while the node, or the queue for the peer, has too
    /// much to do; the messages of one feed stay in order.
    ///
    /// # Errors
    /// [`Error::Payload`] and [`Error::NotJson`]; [`Error::Refused`] when the node has ended. What a
    /// node that runs refuses is not known yet: its fate is told by [`Network::why`].
    pub async fn send(&self, payload: impl Serialize) -> Result<MessageId, Error> {
        let handle = &self.network.0.handle;
        let id = handle.new_message();
        let send = Send {
            id,
            to: self.to,
            kind: self.kind,
            channel: self.channel.clone(),
            payload: payload_of(&payload)?,
            priority: self.priority,
            ttl: Ttl::DEFAULT,
            reply_to: None,
            thread: None,
            traceparent: observe::sent(id, &self.channel),
            sealed_at: None,
        };
        handle.pass(self.to).await;
        self.outbox.put(send, handle).await?;
        Ok(id)
    }

    /// Waits until the node has taken up everything that was handed over before.
    pub async fn flush(&self) {
        // Questions are answered in order: this one, after all messages before it.
        self.network.0.handle.ask(Ask::Digest { take: false }).await;
    }
}
