//! The links of the world: each is what TCP makes of it, an ordered stream that delays, breaks at
//! any frame, and is cut off by a partition. Dials end here too.

use crate::world::{DIAL_TIMEOUT, Happening, World};
use comity_core::card::{Card, PROTOCOL};
use comity_core::envelope::Message;
use comity_core::id::{DialId, LinkId, NodeId};
use comity_core::node::{Boot, DialFailure, DialOutcome, Input, LinkLoss};
use comity_core::peers::Candidate;
use std::time::Duration;
use uuid::Uuid;

/// One end of a link.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) host: usize,
    other: LinkId,
    /// When the last frame towards the other end arrives: frames do not overtake each other.
    last_arrival: Duration,
    /// When the connection broke for this end: what would come later is lost.
    pub(crate) broken_at: Option<Duration>,
}

impl World {
    pub(crate) fn links_of(&self, host: usize) -> Vec<LinkId> {
        let whole = self.ends.iter().filter(|(_, end)| end.host == host && end.broken_at.is_none());
        whole.map(|(link, _)| *link).collect()
    }

    /// Breaks a link. Each end still gets what comes until it notices: any number of the frames that
    /// are under way, in their order, and none after them.
    pub(crate) fn cut(&mut self, link: LinkId) {
        let other = self.ends.get(&link).map(|end| end.other);
        for link in [Some(link), other].into_iter().flatten() {
            let delay = self.delay();
            let Some(end) = self.ends.get_mut(&link).filter(|end| end.broken_at.is_none()) else { continue };
            end.broken_at = Some(self.now + delay);
            let host = end.host;
            self.tell_later(host, delay + Duration::from_micros(1), Input::LinkDown { link, loss: LinkLoss::Broken });
        }
    }

    pub(crate) fn send_messages(&mut self, host: usize, link: LinkId, batch: Vec<Message>) {
        if batch.is_empty() {
            return;
        }
        let (count, weight) = (batch.len(), batch.iter().map(Message::weight).sum());
        let written = Input::Written { link, messages: u32::try_from(count).unwrap_or(u32::MAX), weight };
        self.send_frame(link, |link| Input::Messages { link, batch, unreadable: Vec::new() });
        let delay = self.delay();
        self.tell_later(host, delay, written);
    }

    pub(crate) fn send_frame(&mut self, link: LinkId, input: impl FnOnce(LinkId) -> Input) {
        let delay = self.delay();
        let held = self.now + delay;
        let Some(end) = self.ends.get_mut(&link).filter(|end| end.broken_at.is_none()) else { return };
        let (host, other) = (end.host, end.other);
        end.last_arrival = end.last_arrival.max(held);
        let delay = end.last_arrival - self.now;
        // Bytes under way during a partition are gone when the link is found dead; a link that
        // outlives the partition would have sent them again, so hosts that are cut off from each
        // other simply lose the link in the end.
        let Some(far) = self.ends.get(&other).map(|end| end.host) else { return };
        if self.hosts[host].group == self.hosts[far].group {
            self.later(delay, Happening::Frame { link: other, input: Box::new(input(other)) });
        } else {
            self.ends.get_mut(&other).into_iter().for_each(|end| end.last_arrival = held);
            self.stall(link);
        }
    }

    /// A frame was lost to a partition: nothing that follows it can arrive on this link.
    fn stall(&mut self, link: LinkId) {
        if let Some(end) = self.ends.get_mut(&link) {
            end.other = LinkId(0);
        }
    }

    pub(crate) fn close(&mut self, link: LinkId, goodbye: bool) {
        let Some(end) = self.ends.remove(&link) else { return };
        let Some(other) = self.ends.get(&end.other).filter(|other| other.broken_at.is_none()) else { return };
        let host = other.host;
        if self.hosts[end.host].group != self.hosts[host].group {
            return;
        }
        let delay = end.last_arrival.saturating_sub(self.now) + Duration::from_micros(1);
        let loss = if goodbye { LinkLoss::Goodbye } else { LinkLoss::Broken };
        self.ends.get_mut(&end.other).into_iter().for_each(|far| far.other = LinkId(0));
        self.tell_later(host, delay, Input::LinkDown { link: end.other, loss });
    }

    pub(crate) fn dial(
        &mut self,
        host: usize,
        start: u64,
        dial: DialId,
        expect: Option<NodeId>,
        candidates: &[Candidate],
    ) {
        if self.hosts[host].start != start {
            return;
        }
        let target = candidates.iter().find_map(|candidate| {
            let index = (0..self.hosts.len()).find(|index| Self::address(*index) == candidate.address)?;
            (index != host && self.reachable(host, index)).then_some(index)
        });
        match target {
            Some(target) if expect.is_none_or(|key| key == self.hosts[target].key) => self.link(host, dial, target),
            _ => {
                let failures = candidates.iter().map(|candidate| (*candidate, DialFailure::Unreachable)).collect();
                let outcome = DialOutcome::Failed(failures);
                let delay = if self.random.once_in(2) { DIAL_TIMEOUT } else { Duration::from_millis(1) };
                self.tell_later(host, delay, Input::Dialed { dial, outcome });
            }
        }
    }

    fn link(&mut self, dialer: usize, dial: DialId, target: usize) {
        let (near, far) = (LinkId(self.number()), LinkId(self.number()));
        self.ends.insert(near, End { host: dialer, other: far, last_arrival: self.now, broken_at: None });
        self.ends.insert(far, End { host: target, other: near, last_arrival: self.now, broken_at: None });
        let up_near = self.link_up(near, Some(dial), target);
        let up_far = self.link_up(far, None, dialer);
        for (host, link, input) in [(target, far, up_far), (dialer, near, up_near)] {
            let delay = self.delay();
            // Nothing may arrive on a link before its end knows that it is up.
            self.ends.get_mut(&if link == far { near } else { far }).into_iter().for_each(|end| {
                end.last_arrival = end.last_arrival.max(self.now + delay);
            });
            self.tell_later(host, delay, input);
        }
        let outcome = DialOutcome::Linked(Self::address(target));
        self.tell_later(dialer, Duration::from_millis(300), Input::Dialed { dial, outcome });
    }

    fn link_up(&self, link: LinkId, dial: Option<DialId>, other: usize) -> Input {
        let host = &self.hosts[other];
        let wall = host.clock(self.now).wall;
        let card = Card {
            node: Some(host.key),
            name: format!("host-{other}"),
            protocol: PROTOCOL.to_owned(),
            endpoints: vec![format!("https://{}", Self::address(other))],
            issued_at: wall,
            expires_at: wall + Duration::from_secs(3600),
            ..Card::default()
        };
        let subscriptions = host.node.as_ref().map(|node| node.subscriptions().clone()).unwrap_or_default();
        Input::LinkUp {
            link,
            dial,
            key: host.key,
            remote: Self::address(other),
            way: comity_core::peers::Way::Mesh,
            card: Box::new(card),
            boot: Boot(Uuid::from_u128((other as u128) << 64 | u128::from(host.start))),
            subscriptions: subscriptions.into_iter().collect(),
        }
    }
}
