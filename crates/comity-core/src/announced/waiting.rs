//! Capabilities that came before their peer's announcement, which brokers may deliver later. They count for
//! nobody yet. See "Announcements" in `protocols/mqtt-discovery.md`.

use super::{Dropped, Heard, LIFETIME};
use crate::wire::announce::Topics;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::Duration;

/// Most that wait.
const WAITING_MAX: usize = 256;

/// Largest body of one that waits, bytes.
const BODY_MAX: usize = 4096;

/// All that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Message>);

/// A message as it came.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) broker: usize,
    pub(super) told_by: Option<IpAddr>,
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
    /// How long it counts.
    until: Duration,
}

impl Waiting {
    /// Keeps a capability until its peer is announced, in the place of what its topic said before. Of too many the
    /// oldest goes.
    pub(super) fn put(&mut self, heard: Heard<'_>, now: Duration) -> Result<(), Dropped> {
        let Heard { broker, told_by, topic, body, .. } = heard;
        let before = self.0.len();
        self.0.retain(|message| message.broker != broker || message.topic != topic);
        if body.is_empty() && self.0.len() < before {
            return Ok(());
        }
        self.0.retain(|message| message.until > now);
        if body.is_empty() || body.len() > BODY_MAX {
            return Err(Dropped::UnknownPeer);
        }
        let until = now + LIFETIME;
        self.0.push_back(Message { broker, told_by, topic: topic.to_owned(), body: body.to_vec(), until });
        if self.0.len() > WAITING_MAX {
            self.0.pop_front();
            return Err(Dropped::UnknownPeer);
        }
        Ok(())
    }

    /// Takes out what still counts of a peer.
    pub(super) fn take(&mut self, topics: &Topics, id: &str, now: Duration) -> VecDeque<Message> {
        let is_its = |message: &Message| topics.read(&message.topic).is_some_and(|(about, _)| about == id);
        self.0.retain(|message| message.until > now);
        let (its, others) = std::mem::take(&mut self.0).into_iter().partition(is_its);
        self.0 = others;
        its
    }
}
