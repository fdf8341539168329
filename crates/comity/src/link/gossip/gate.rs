//! What libp2p holds of others before anybody looks at it: messages of the topics that this node listens to, and names
//! of topics as long as names may be. What a message says is judged above. Source: "Operations" in
//! `protocols/pubsub.md`, and the traits `DataTransform` and `TopicSubscriptionFilter` of libp2p-gossipsub.

use crate::observe::Counters;
use comity_core::throttle::{Config, Rate, Sender, Throttle};
use comity_core::topic::TOPIC_MAX;
use libp2p::gossipsub::{DataTransform, Message, RawMessage, TopicHash, TopicSubscriptionFilter};
use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What is taken of all that one address brings, KiB begun: 4 MiB a second, four times as much at once. Honest networks
/// stay far below; and what is passed on is held for some seconds.
const BROUGHT: Rate = Rate { per_second: 4096, burst: 16_384 };

/// The topics that this node listens to, and since when. Cloning shares them.
#[derive(Clone, Default)]
pub(super) struct Joined(
    // A lock and not a message: libp2p wants the answer in the middle of reading.
    Arc<Mutex<BTreeMap<TopicHash, Instant>>>,
);

impl Gate {
    pub(super) fn new(counters: Counters) -> Self {
        Self { joined: Joined::default(), counters }
    }
}

impl Joined {
    pub(super) fn add(&self, topic: TopicHash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(topic, Instant::now());
    }

    pub(super) fn remove(&self, topic: &TopicHash) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
    }

    pub(super) fn has(&self, topic: &TopicHash) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(topic)
    }

    /// Those that were joined no longer ago than that.
    pub(super) fn within(&self, time: Duration) -> Vec<TopicHash> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, since)| since.elapsed() <= time).map(|(topic, _)| topic.clone()).collect()
    }
}

/// Lets messages of those topics in and no others: libp2p would hold them for seconds, and nobody would judge them.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) joined: Joined,
    pub(super) counters: Counters,
}

impl DataTransform for Gate {
    fn inbound_transform(&self, raw: RawMessage) -> io::Result<Message> {
        if !self.joined.has(&raw.topic) {
            self.counters.dropped("gossip_not_joined", 1);
            return Err(io::Error::new(io::ErrorKind::NotFound, "a topic that was not joined"));
        }
        let RawMessage { source, data, sequence_number, topic, .. } = raw;
        Ok(Message { source, data, sequence_number, topic })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

/// Lets peers subscribe to what can name a topic: the name is held for as long as they are connected.
pub(super) struct Names;

impl TopicSubscriptionFilter for Names {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        topic.as_str().len() <= TOPIC_MAX
    }
}

/// How much each address brings.
pub(super) struct Brought(Throttle);

impl Brought {
    pub(super) fn new() -> Self {
        let config = Config { sender: BROUGHT, address: BROUGHT, ..Config::default() };
        Self(Throttle::new(config, rand::random()))
    }

    /// Whether a message of so many bytes is taken from there.
    pub(super) fn takes(&mut self, from: IpAddr, bytes: usize, now: Duration) -> bool {
        let wanted = bytes / 1024 + 1;
        self.0.take(Sender::Address(from), wanted, now).0 == wanted
    }

    /// Forgets who brings nothing.
    pub(super) fn sweep(&mut self, now: Duration) {
        self.0.sweep(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_brings_too_much_costs_others_nothing() {
        let (mut brought, now) = (Brought::new(), Duration::from_secs(1));
        let [loud, quiet] = [1, 2].map(|last| IpAddr::from([192, 0, 2, last]));
        let large = 256 * 1024 - 1;
        assert_eq!((0..100).filter(|_| brought.takes(loud, large, now)).count(), 64, "16 MiB at once");
        assert!(brought.takes(quiet, large, now));
        assert_eq!((0..100).filter(|_| brought.takes(loud, large, 2 * now)).count(), 16, "4 MiB a second");
    }

    #[test]
    fn a_topic_is_listened_to_from_joining_to_leaving() {
        let gate = Gate::new(Counters::new("test"));
        let topic = TopicHash::from_raw("a/b");
        let heard = || {
            let (source, sequence_number, data) = (None, Some(1), b"x".to_vec());
            let (signature, key, validated) = (None, None, false);
            let raw = RawMessage { source, data, sequence_number, topic: topic.clone(), signature, key, validated };
            gate.inbound_transform(raw).map(|message| message.data).ok()
        };
        assert_eq!(heard(), None);
        gate.joined.add(topic.clone());
        assert_eq!(heard().as_deref(), Some(&b"x"[..]));
        gate.joined.remove(&topic);
        assert_eq!(heard(), None);
    }

    #[test]
    fn a_name_that_is_too_long_is_no_topic() {
        assert!(Names.can_subscribe(&TopicHash::from_raw("x".repeat(TOPIC_MAX))));
        assert!(!Names.can_subscribe(&TopicHash::from_raw("x".repeat(TOPIC_MAX + 1))));
    }
}
