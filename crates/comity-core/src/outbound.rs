//! What waits to be sent to one peer, and what was sent and is not yet receipted: bounded in
//! messages and bytes, most urgent first. See "Flooding" in `protocols/local-network.md`.

use crate::envelope::{Message, Priority};
use crate::id::MessageId;
use crate::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// What an outbound queue obeys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Most messages waiting for one peer.
    pub messages_max: usize,
    /// Most bytes waiting for one peer ([`Message::weight`]).
    pub weight_max: usize,
    /// Most messages sent and not yet receipted. Too few starve a fast link; all of them are sent
    /// again when the link breaks.
    pub window: usize,
    /// Most bytes handed to the link and not yet written.
    pub unwritten_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { messages_max: 8192, weight_max: 16 << 20, window: 8192, unwritten_max: 1 << 20 }
    }
}

/// How often a message is tried before it is given up.
pub const TRIES_MAX: u8 = 3;

/// The queue for one peer.
#[derive(Debug)]
pub struct Outbound {
    config: Config,
    waiting: [VecDeque<Waiting>; 3],
    weight: usize,
    flight: VecDeque<Waiting>,
    /// How many of `flight`'s messages the current link has receipted since it is up.
    receipted: u64,
    unwritten: usize,
    /// Whether senders were told to wait.
    pressed: bool,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    tries: u8,
}

/// What came of putting a message in.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits.
    Taken,
    /// It waits, and a less urgent one had to go.
    Evicted(Arc<Message>),
    /// The queue is full of messages as urgent.
    Refused,
}

impl Outbound {
    /// An empty queue.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            waiting: Default::default(),
            weight: 0,
            flight: VecDeque::new(),
            receipted: 0,
            unwritten: 0,
            pressed: false,
        }
    }

    /// Puts a message in.
    pub fn push(&mut self, message: Arc<Message>) -> Pushed {
        let mut pushed = Pushed::Taken;
        if self.len() >= self.config.messages_max || self.weight + message.weight() > self.config.weight_max {
            match self.evict_below(message.priority) {
                Some(evicted) => pushed = Pushed::Evicted(evicted),
                None => return Pushed::Refused,
            }
        }
        self.weight += message.weight();
        self.waiting[lane(message.priority)].push_back(Waiting { message, tries: 0 });
        pushed
    }

    /// The next message for the link, when the link has room. It counts as in flight from now on.
    pub fn next_for_link(&mut self) -> Option<Arc<Message>> {
        if self.flight.len() >= self.config.window || self.unwritten >= self.config.unwritten_max {
            return None;
        }
        let next = self.take_next()?;
        let message = next.message.clone();
        self.unwritten += message.weight();
        if message.id.is_some() {
            self.flight.push_back(Waiting { tries: next.tries + 1, ..next });
        }
        Some(message)
    }

    /// The next message for a POST, with how often it was tried before. It leaves the queue.
    pub fn next_for_post(&mut self) -> Option<(Arc<Message>, u8)> {
        self.take_next().map(|next| (next.message, next.tries))
    }

    /// Puts a message that could not be POSTed back to the front.
    pub fn put_back(&mut self, message: Arc<Message>, tries: u8) {
        self.weight += message.weight();
        self.waiting[lane(message.priority)].push_front(Waiting { message, tries });
    }

    /// The link has written messages of this weight.
    pub fn written(&mut self, weight: usize) {
        self.unwritten = self.unwritten.saturating_sub(weight);
    }

    /// The link's other side has taken so many messages since the link is up: these were taken
    /// now, each with how often it was sent.
    pub fn receipted(&mut self, received: u64) -> impl Iterator<Item = (MessageId, u8)> + '_ {
        let count = usize::try_from(received.saturating_sub(self.receipted)).unwrap_or(usize::MAX);
        let count = count.min(self.flight.len());
        self.receipted += count as u64;
        self.flight.drain(..count).filter_map(|sent| Some((sent.message.id?, sent.tries)))
    }

    /// The link is gone: what was in flight waits again, ahead of the rest. Returns what was tried
    /// too often and is given up.
    pub fn link_lost(&mut self) -> Vec<Arc<Message>> {
        self.receipted = 0;
        self.unwritten = 0;
        let mut given_up = Vec::new();
        while let Some(sent) = self.flight.pop_back() {
            if sent.tries >= TRIES_MAX {
                given_up.push(sent.message);
            } else {
                self.weight += sent.message.weight();
                self.waiting[lane(sent.message.priority)].push_front(sent);
            }
        }
        given_up
    }

    /// Takes out what may no longer be delivered.
    pub fn expire(&mut self, wall: Timestamp) -> Vec<Arc<Message>> {
        let mut expired = Vec::new();
        for lane in &mut self.waiting {
            lane.retain(|waiting| {
                let fresh = waiting.message.expires_at() >= wall;
                if !fresh {
                    expired.push(waiting.message.clone());
                }
                fresh
            });
        }
        self.weight -= expired.iter().map(|message| message.weight()).sum::<usize>();
        expired
    }

    /// Takes out everything: the peer is forgotten.
    pub fn clear(&mut self) -> Vec<Arc<Message>> {
        let waiting = self.waiting.iter_mut().rev().flat_map(std::mem::take);
        let all = waiting.chain(std::mem::take(&mut self.flight)).map(|waiting| waiting.message).collect();
        self.weight = 0;
        self.unwritten = 0;
        all
    }

    /// `Some` when senders have to be told to wait, or that they may go on: the queue has passed
    /// a half of its room upwards, or a quarter downwards.
    pub fn pressure_change(&mut self) -> Option<bool> {
        let fill =
            (self.len() * 100 / self.config.messages_max.max(1)).max(self.weight * 100 / self.config.weight_max.max(1));
        let pressed = if self.pressed { fill > 25 } else { fill > 50 };
        (pressed != self.pressed).then(|| {
            self.pressed = pressed;
            pressed
        })
    }

    /// How many wait to be sent.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(VecDeque::len).sum()
    }

    /// Whether none waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing waits and nothing is unreceipted.
    pub fn is_settled(&self) -> bool {
        self.is_empty() && self.flight.is_empty()
    }

    fn take_next(&mut self) -> Option<Waiting> {
        let next = self.waiting.iter_mut().rev().find_map(VecDeque::pop_front)?;
        self.weight -= next.message.weight();
        Some(next)
    }

    /// Takes out the oldest of the lowest priority, if it is lower than this one.
    fn evict_below(&mut self, priority: Priority) -> Option<Arc<Message>> {
        let evicted = self.waiting[..lane(priority)].iter_mut().find_map(VecDeque::pop_front)?;
        self.weight -= evicted.message.weight();
        Some(evicted.message)
    }
}

/// Lanes by rising urgency.
fn lane(priority: Priority) -> usize {
    match priority {
        Priority::Background => 0,
        Priority::Normal => 1,
        Priority::Critical => 2,
    }
}
