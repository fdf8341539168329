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
    /// Most bytes waiting for one peer ([`Message::weight`]), and most sent and not yet receipted.
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
    waiting: [Level; 3],
    flight: Level,
    /// How many of `flight`'s messages the current link has receipted since it is up.
    receipted: u64,
    unwritten: usize,
    /// Whether senders were told to wait.
    pressed: bool,
}

/// Messages of one priority, or those in flight, and what they weigh together.
#[derive(Debug, Default)]
struct Level {
    messages: VecDeque<Waiting>,
    weight: usize,
}

#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    tries: u8,
}

/// What came of putting a message in.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits, and these less urgent ones had to go.
    Taken(Vec<Arc<Message>>),
    /// The queue is full of messages as urgent.
    Refused,
}

impl Outbound {
    /// An empty queue.
    pub fn new(config: Config) -> Self {
        let (waiting, flight) = Default::default();
        Self { config, waiting, flight, receipted: 0, unwritten: 0, pressed: false }
    }

    /// Puts a message in. Less urgent ones go for it, the oldest first, but only when enough of them
    /// can go.
    pub fn push(&mut self, message: Arc<Message>) -> Pushed {
        let weight = message.weight();
        let lower = &self.waiting[..lane(message.priority)];
        let messages_kept = self.len() - lower.iter().map(|lane| lane.messages.len()).sum::<usize>();
        let weight_kept = self.weight() - lower.iter().map(|lane| lane.weight).sum::<usize>();
        if messages_kept >= self.config.messages_max || weight_kept + weight > self.config.weight_max {
            return Pushed::Refused;
        }
        let mut evicted = Vec::new();
        while self.len() >= self.config.messages_max || self.weight() + weight > self.config.weight_max {
            let Some(lowest) = self.waiting.iter_mut().find_map(Level::pop_front) else { break };
            evicted.push(lowest.message);
        }
        self.waiting[lane(message.priority)].push_back(Waiting { message, tries: 0 });
        Pushed::Taken(evicted)
    }

    /// The next message for the link, when the link has room. It counts as in flight from now on.
    pub fn next_for_link(&mut self) -> Option<Arc<Message>> {
        let full = self.flight.messages.len() >= self.config.window || self.flight.weight >= self.config.weight_max;
        if full || self.unwritten >= self.config.unwritten_max {
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

    /// Puts a message that could not be POSTed back to the front. Returns what had to go for it.
    pub fn put_back(&mut self, message: Arc<Message>, tries: u8) -> Vec<Arc<Message>> {
        self.waiting[lane(message.priority)].push_front(Waiting { message, tries });
        self.trim()
    }

    /// The link has written messages of this weight.
    pub fn written(&mut self, weight: usize) {
        self.unwritten = self.unwritten.saturating_sub(weight);
    }

    /// The link's other side has taken so many messages since the link is up: these were taken
    /// now, each with how often it was sent.
    pub fn receipted(&mut self, received: u64) -> impl Iterator<Item = (MessageId, u8)> + '_ {
        let count = usize::try_from(received.saturating_sub(self.receipted)).unwrap_or(usize::MAX);
        let count = count.min(self.flight.messages.len());
        self.receipted += count as u64;
        (0..count).filter_map(|_| self.flight.pop_front()).filter_map(|sent| Some((sent.message.id?, sent.tries)))
    }

    /// The link is gone: what was in flight waits again, ahead of the rest.
    pub fn link_lost(&mut self) -> Lost {
        self.receipted = 0;
        self.unwritten = 0;
        self.pressed = false;
        let mut given_up = Vec::new();
        for sent in std::mem::take(&mut self.flight).messages.into_iter().rev() {
            if sent.tries >= TRIES_MAX {
                given_up.push(sent.message);
            } else {
                self.waiting[lane(sent.message.priority)].push_front(sent);
            }
        }
        Lost { given_up, evicted: self.trim() }
    }

    /// Takes out what may no longer be delivered.
    pub fn expire(&mut self, wall: Timestamp) -> Vec<Arc<Message>> {
        let mut expired = Vec::new();
        for lane in &mut self.waiting {
            let Level { messages, weight } = lane;
            messages.retain(|waiting| {
                let fresh = waiting.message.expires_at() >= wall;
                if !fresh {
                    *weight -= waiting.message.weight();
                    expired.push(waiting.message.clone());
                }
                fresh
            });
        }
        expired
    }

    /// Takes out everything: the peer is forgotten.
    pub fn clear(&mut self) -> Vec<Arc<Message>> {
        self.unwritten = 0;
        self.pressed = false;
        let waiting = self.waiting.iter_mut().rev().map(std::mem::take);
        let all = waiting.chain([std::mem::take(&mut self.flight)]);
        all.flat_map(|lane| lane.messages).map(|waiting| waiting.message).collect()
    }

    /// `Some` when senders have to be told to wait, or that they may go on: the queue has passed
    /// a half of its room upwards, or a quarter downwards.
    pub fn pressure_change(&mut self) -> Option<bool> {
        let fill = (self.len() * 100 / self.config.messages_max.max(1))
            .max(self.weight() * 100 / self.config.weight_max.max(1));
        let pressed = if self.pressed { fill > 25 } else { fill > 50 };
        (pressed != self.pressed).then(|| {
            self.pressed = pressed;
            pressed
        })
    }

    /// Senders are not to wait for a peer that nobody reaches; whether they did.
    pub fn release(&mut self) -> bool {
        std::mem::take(&mut self.pressed)
    }

    /// How many wait to be sent.
    pub fn len(&self) -> usize {
        self.waiting.iter().map(|lane| lane.messages.len()).sum()
    }

    fn weight(&self) -> usize {
        self.waiting.iter().map(|lane| lane.weight).sum()
    }

    /// Whether none waits to be sent.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was sent and not receipted, on this link or on one before it.
    pub fn unsettled(&self) -> impl Iterator<Item = MessageId> + '_ {
        let again = self.waiting.iter().flat_map(|level| &level.messages).filter(|waiting| waiting.tries > 0);
        self.flight.messages.iter().chain(again).filter_map(|sent| sent.message.id)
    }

    /// Whether nothing waits and nothing is unreceipted.
    pub fn is_settled(&self) -> bool {
        self.is_empty() && self.flight.messages.is_empty()
    }

    fn take_next(&mut self) -> Option<Waiting> {
        self.waiting.iter_mut().rev().find_map(Level::pop_front)
    }

    /// Takes out what is too much after messages came back: the least urgent first, and of these the
    /// newest, which most likely were not sent.
    fn trim(&mut self) -> Vec<Arc<Message>> {
        let mut evicted = Vec::new();
        while self.len() > self.config.messages_max || self.weight() > self.config.weight_max {
            let Some(lowest) = self.waiting.iter_mut().find_map(Level::pop_back) else { break };
            evicted.push(lowest.message);
        }
        evicted
    }
}

/// What does not wait any more after a link was lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Tried too often.
    pub given_up: Vec<Arc<Message>>,
    /// Too much for the queue.
    pub evicted: Vec<Arc<Message>>,
}

impl Level {
    fn push_back(&mut self, waiting: Waiting) {
        self.weight += waiting.message.weight();
        self.messages.push_back(waiting);
    }

    fn push_front(&mut self, waiting: Waiting) {
        self.weight += waiting.message.weight();
        self.messages.push_front(waiting);
    }

    fn pop_front(&mut self) -> Option<Waiting> {
        self.messages.pop_front().inspect(|waiting| self.weight -= waiting.message.weight())
    }

    fn pop_back(&mut self) -> Option<Waiting> {
        self.messages.pop_back().inspect(|waiting| self.weight -= waiting.message.weight())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::Channel;
    use crate::envelope::{Address, Kind, Ttl};
    use crate::id::PeerId;
    use crate::payload::Payload;
    use uuid::Uuid;

    fn message(number: u128, priority: Priority, bytes: usize) -> Arc<Message> {
        Arc::new(Message {
            id: Some(MessageId(Uuid::from_u128(number))),
            from: PeerId(Uuid::nil()),
            to: Address::Broadcast,
            kind: Kind::Bug,
            channel: Channel::of_kind(Kind::Bug),
            priority,
            timestamp: Timestamp::default(),
            ttl: Ttl::DEFAULT,
            reply_to: None,
            payload: Payload::from_value(&serde_json::json!("x".repeat(bytes))).expect("a payload"),
            more: None,
        })
    }

    fn queue(messages_max: usize, weight_max: usize) -> Outbound {
        Outbound::new(Config { messages_max, weight_max, ..Config::default() })
    }

    #[test]
    fn as_many_light_messages_go_as_a_heavy_one_needs_and_none_goes_for_one_that_is_refused() {
        let mut queue = queue(100, 2000);
        for number in 0..10 {
            assert_eq!(queue.push(message(number, Priority::Background, 4)), Pushed::Taken(Vec::new()));
        }
        assert_eq!(queue.push(message(50, Priority::Critical, 2000)), Pushed::Refused);
        assert_eq!(queue.len(), 10);
        let Pushed::Taken(evicted) = queue.push(message(51, Priority::Critical, 1500)) else { panic!("refused") };
        let numbers: Vec<_> = evicted.iter().filter_map(|message| Some(message.id?.0.as_u128())).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6], "the oldest go");
        assert!(queue.weight() <= 2000, "{}", queue.weight());
        assert_eq!(queue.push(message(52, Priority::Critical, 1500)), Pushed::Refused);
        assert_eq!(queue.len(), 4);
    }

    #[test]
    fn what_comes_back_from_a_lost_link_stays_within_the_bounds() {
        let mut queue = queue(4, 1 << 20);
        for number in 0..4 {
            queue.push(message(number, Priority::Normal, 4));
        }
        while queue.next_for_link().is_some() {}
        queue.push(message(10, Priority::Background, 4));
        for number in 11..14 {
            queue.push(message(number, Priority::Normal, 4));
        }
        let lost = queue.link_lost();
        let numbers: Vec<_> = lost.evicted.iter().filter_map(|message| Some(message.id?.0.as_u128())).collect();
        assert_eq!(numbers, [10, 13, 12, 11], "the least urgent, then the newest");
        assert_eq!((queue.len(), lost.given_up), (4, Vec::new()));
        assert_eq!(queue.put_back(message(20, Priority::Critical, 4), 1).len(), 1);
    }

    #[test]
    fn what_is_in_flight_is_bounded_in_bytes() {
        let mut queue = queue(100, 1000);
        queue.push(message(1, Priority::Normal, 800));
        assert!(queue.next_for_link().is_some());
        queue.push(message(2, Priority::Normal, 800));
        assert!(queue.next_for_link().is_some(), "one may go beyond");
        queue.push(message(3, Priority::Normal, 4));
        assert!(queue.next_for_link().is_none());
        assert_eq!(queue.receipted(1).count(), 1);
        assert!(queue.next_for_link().is_some());
    }
}
