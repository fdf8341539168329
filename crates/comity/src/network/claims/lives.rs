//! Who is there, told from when messages were written: whoever repeats what a lost node said long ago, word for word
//! and with its signature, must not keep it alive. What is said besides is no business of this.

use comity_core::id::NodeId;
use comity_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// How far a message may be from this node's time to be of this moment: less than libp2p remembers messages, which lets
/// none come twice in that time.
const MOMENT: Duration = Duration::from_secs(60);

/// Nodes of which it is remembered; with more, all are forgotten.
const NODES_MAX: usize = 4096;

/// When each node wrote the latest message that was heard of it, by its own clock.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<NodeId, Timestamp>);

impl Lives {
    /// Whether a message that this node wrote then shows that it is there now. Where clocks agree, it was written just
    /// now; where they do not, later than all that was heard of it before.
    pub(super) fn shows(&mut self, node: NodeId, written: Timestamp, now: Timestamp) -> bool {
        if self.0.len() >= NODES_MAX && !self.0.contains_key(&node) {
            self.0.clear();
        }
        let latest = self.0.get(&node).copied();
        let is_later = latest.is_none_or(|latest| written > latest);
        if is_later {
            self.0.insert(node, written);
        }
        is_later || written.since(now).max(now.since(written)) <= MOMENT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_782_000_000_000 + seconds * 1000)
    }

    #[test]
    fn what_is_said_again_shows_no_life() {
        let (mut lives, bob) = (Lives::default(), NodeId::from_bytes([2; 32]));
        for second in (0..=300).step_by(30) {
            assert!(lives.shows(bob, at(second), at(second)), "{second}");
        }
        for second in (0..=300).step_by(30) {
            assert!(!lives.shows(bob, at(second), at(400)), "{second}");
        }
        assert!(lives.shows(NodeId::from_bytes([3; 32]), at(30), at(400)), "another was not heard of yet");
    }

    #[test]
    fn a_clock_that_is_wrong_or_set_back_keeps_nobody_from_being_there() {
        let (mut lives, bob) = (Lives::default(), NodeId::from_bytes([2; 32]));
        for second in (0..=300).step_by(30) {
            assert!(lives.shows(bob, at(9000 + second), at(second)), "two and a half hours ahead");
            assert!(!lives.shows(bob, at(9000 + second), at(second)), "again");
        }
        assert!(lives.shows(bob, at(330), at(330)), "set right");
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut lives = Lives::default();
        for number in 0..NODES_MAX as u64 + 9 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            assert!(lives.shows(NodeId::from_bytes(bytes), at(0), at(0)));
        }
        assert!(lives.0.len() <= NODES_MAX);
    }
}
