//! Silence on a link: when the other side is asked whether it is there, and when it is given up.

use super::super::{Effect, Node, Timer};
use crate::id::{LinkId, PeerId};
use crate::peers::{Presence, Way};
use crate::time::Now;
use crate::wire::frame::Frame;
use std::time::Duration;

/// How long a link may be silent before it is asked whether it is there; also how long each
/// answer is waited for.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// How many pings may go unanswered.
const PINGS_MAX: u32 = 3;

/// The same for a link by WebRTC, which looks for another path meanwhile ("restart on path change"): through
/// brokers and relays that takes seconds, and what waits is kept.
const RTC_PINGS_MAX: u32 = 10;

/// How many of them may before another path is looked for.
const REPATH_AFTER: u32 = 2;

/// How many pings a link of this kind may leave unanswered.
fn pings_max(way: Way) -> u32 {
    if way == Way::Mesh { PINGS_MAX } else { RTC_PINGS_MAX }
}

/// How long a peer that missed its pings is stale while it is dialled again; then it is unreachable,
/// however long that dial takes to fail.
pub(super) const MISSED: Duration = Duration::from_millis(400);

/// What is known of a peer's goodbye that did not come over its link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node) enum Goodbye {
    /// It said so itself, or it has ceased to say that it is there.
    Proven,
    /// Anybody may have said so.
    Claimed,
}

impl Node {
    pub(in crate::node) fn handle_silence(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let silent = now.mono.saturating_sub(link.last_heard);
        if link.pings >= pings_max(link.way) {
            let peer = link.peer;
            self.close_link(id, now);
            let dialled = self.dial_peer(peer);
            self.set_presence(peer, if dialled { Presence::Stale } else { Presence::Unreachable });
            self.timers.set(Timer::Missed(peer), now.mono + MISSED);
        } else if silent < SILENCE {
            let at = link.last_heard + SILENCE;
            self.timers.set(Timer::Silence(id), at);
        } else {
            link.pings += 1;
            let (pings, peer, way) = (link.pings, link.peer, link.way);
            self.ping(id, now);
            if way != Way::Mesh && pings == REPATH_AFTER + 1 {
                self.effects.push(Effect::Repath { link: id });
                self.set_presence(peer, Presence::Stale);
            }
        }
    }

    fn ping(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.ping_sent = now.mono;
        let frame = Frame::Ping { nonce: u64::from(link.pings), ts: now.wall.millis() };
        self.effects.push(Effect::Control { link: id, frame });
        self.timers.set(Timer::Silence(id), now.mono + SILENCE);
    }

    /// Asks at once whether the peer at the other end of a link is there. After a goodbye of its own
    /// this is the last ping that it gets; if others say that it is gone, the first.
    pub(in crate::node) fn probe_link(&mut self, id: LinkId, goodbye: Goodbye, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let pings = match goodbye {
            Goodbye::Proven => pings_max(link.way),
            Goodbye::Claimed => 1,
        };
        // Who is asked already is not given more time.
        if link.pings < pings {
            link.pings = pings;
            self.ping(id, now);
        }
    }

    /// A peer was not reached again after it had missed its pings.
    pub(in crate::node) fn handle_missed(&mut self, id: PeerId) {
        if self.book.find(id).is_some_and(|peer| peer.presence == Presence::Stale && peer.link.is_none()) {
            self.set_presence(id, Presence::Unreachable);
        }
    }
}
