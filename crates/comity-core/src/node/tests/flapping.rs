//! How often a peer is dialled whose links come and go.

use super::*;
use crate::peers::Way;

/// A peer that links to node 0 and says in its card where it would answer.
struct Flapping {
    node: Node,
    now: Now,
    dials: usize,
}

impl Flapping {
    fn new() -> Self {
        let pair = Pair::new();
        let [node, _] = pair.nodes;
        Self { node, now: pair.now, dials: 0 }
    }

    /// Tells the node; each dial is counted and fails at once.
    fn tell(&mut self, input: Input) {
        self.node.handle(input, self.now);
        let effects: Vec<Effect> = self.node.effects().collect();
        for effect in effects {
            if let Effect::Dial { dial, candidates, .. } = effect {
                self.dials += 1;
                let failures = candidates.into_iter().map(|candidate| (candidate, DialFailure::Unreachable)).collect();
                self.tell(Input::Dialed { dial, outcome: DialOutcome::Failed(failures) });
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.node.wake_at().filter(|at| *at <= end) {
            self.now.mono = self.now.mono.max(at);
            self.tell(Input::Wake);
        }
        self.now.mono = end;
    }

    fn peer(&self) -> PeerId {
        NodeId::from_bytes([9; 32]).peer()
    }

    fn presence(&self) -> Option<Presence> {
        self.node.book.find(self.peer()).map(|peer| peer.presence)
    }

    /// One link that the peer dialled, for so long.
    fn link_for(&mut self, life: Duration) {
        let (link, key) = (LinkId(9), NodeId::from_bytes([9; 32]));
        let remote = SocketAddr::from(([127, 0, 0, 1], 9000));
        let endpoints = vec!["https://127.0.0.1:9".to_owned()];
        let card = Box::new(Card { node: Some(key), name: "nine".to_owned(), endpoints, ..Card::default() });
        let boot = Boot(Uuid::from_u128(9));
        self.tell(Input::LinkUp {
            link,
            dial: None,
            key,
            remote,
            way: Way::Mesh,
            card,
            boot,
            subscriptions: Vec::new(),
        });
        assert_eq!(self.presence(), Some(Presence::Online));
        let beat = Duration::from_millis(500);
        let end = self.now.mono + life;
        while self.now.mono + beat < end {
            self.pass(beat);
            self.tell(Input::Frame { link, frame: Frame::Pong { nonce: 0, ts: 0 } });
        }
        self.pass(end - self.now.mono);
        self.tell(Input::LinkDown { link, loss: LinkLoss::Broken });
    }
}

#[test]
fn a_peer_whose_links_are_brief_and_which_does_not_answer_is_dialled_ever_more_seldom() {
    let mut flapping = Flapping::new();
    for _ in 0..100 {
        flapping.link_for(Duration::from_millis(100));
        flapping.pass(Duration::from_millis(100));
    }
    assert!((4..=8).contains(&flapping.dials), "{} dials within 20 s, with pauses that double", flapping.dials);
    flapping.pass(Duration::from_millis(400));
    assert_eq!(flapping.presence(), Some(Presence::Unreachable));
}

#[test]
fn a_peer_is_dialled_at_once_when_a_link_that_lasted_breaks_whatever_was_before() {
    let mut flapping = Flapping::new();
    for _ in 0..20 {
        flapping.link_for(Duration::from_millis(100));
    }
    flapping.link_for(Duration::from_secs(3));
    assert_eq!(flapping.presence(), Some(Presence::Unreachable), "it was dialled and did not answer");
    let before = flapping.dials;
    flapping.link_for(Duration::from_millis(100));
    assert_eq!(flapping.dials, before + 1, "who comes back is dialled back");
}
