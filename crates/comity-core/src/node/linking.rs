//! Links: coming up, one a peer, control frames, going down.

mod silence;

pub(super) use silence::Goodbye;

use super::dialing::Errand;
use super::{Boot, Effect, Event, LinkLoss, LinkView, Node, Stay, Timer};
use crate::card::Card;
use crate::channel::Channel;
use crate::id::{DialId, LinkId, MessageId, NodeId, PeerId};
use crate::ledger::FateKind;
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::peers::book::Departure;
use crate::peers::{Presence, Source, Way};
use crate::time::Now;
use crate::wire::frame::Frame;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// A link that ends sooner than this does not show that its peer can be reached: the next dial waits if
/// this node dialled the link, for the other side did not want it, or if the dial before failed.
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// Most of a measured clock difference that is believed, in milliseconds.
const SKEW_BELIEVED_MS: i64 = 30_000;

/// Most keys that the owner stands for at once: pages of browsers.
const VOUCHED_MAX: usize = 64;

/// When a peer that is not admitted is dialled again. Whoever makes it known has it dialled at once.
const UNADMITTED_PAUSE: Duration = Duration::from_secs(600);

/// What is said of a peer that was met and may not come in.
const NOT_ADMITTED: &str = "it is not a known node, as it has to be where it is: `comity trust` makes it one";

/// One live link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerId,
    pub(super) key: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) way: Way,
    pub(super) dialed: bool,
    /// How far the other clock was ahead when it was last measured, in milliseconds.
    pub(super) skew_ms: i64,
    /// Messages with an id that came, counted in their order.
    pub(super) received: u64,
    pub(super) sent: u64,
    /// Those whose fate waits for the disk.
    pub(super) undecided: BTreeSet<u64>,
    /// Fates to be told, with the number of their message; 0 for news of older messages.
    pub(super) fates: Vec<(u64, MessageId, FateKind)>,
    pub(super) reported: u64,
    boot: Boot,
    up_since: Duration,
    last_heard: Duration,
    pings: u32,
    ping_sent: Duration,
    round_trip: Option<Duration>,
    said_goodbye: bool,
}

/// What the other side of a new link said of itself.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) key: NodeId,
    pub(super) remote: SocketAddr,
    pub(super) way: Way,
    pub(super) card: Box<Card>,
    pub(super) boot: Boot,
    pub(super) subscriptions: Vec<(Channel, bool)>,
}

impl Link {
    fn new(hello: &Hello, dialed: bool, now: Now) -> Self {
        Self {
            peer: hello.key.peer(),
            key: hello.key,
            remote: hello.remote,
            way: hello.way,
            dialed,
            skew_ms: 0,
            received: 0,
            sent: 0,
            undecided: BTreeSet::new(),
            fates: Vec::new(),
            reported: 0,
            boot: hello.boot,
            up_since: now.mono,
            last_heard: now.mono,
            pings: 0,
            ping_sent: now.mono,
            round_trip: None,
            said_goodbye: false,
        }
    }

    pub(super) fn view(&self, link: LinkId) -> LinkView {
        LinkView {
            link,
            peer: self.peer,
            remote: self.remote,
            way: self.way,
            dialed: self.dialed,
            round_trip: self.round_trip,
            skew_ms: self.skew_ms,
            received: self.received,
            sent: self.sent,
        }
    }

    pub(super) fn heard(&mut self, now: Now) {
        self.last_heard = now.mono;
        self.pings = 0;
    }

    /// Up to which message all fates are decided.
    pub(super) fn decided(&self) -> u64 {
        self.undecided.first().map_or(self.received, |first| first.saturating_sub(1))
    }
}

impl Node {
    pub(super) fn handle_link_up(&mut self, id: LinkId, dial: Option<DialId>, hello: Hello, now: Now) {
        let peer = hello.key.peer();
        let trust = self.trust_of(Some(hello.key));
        let admitted = trust >= self.trust_wanted_by(hello.way, hello.remote);
        // A dial that was under way when its goodbye came does not bring a peer back.
        let departed =
            self.book.find(peer).is_some_and(|peer| peer.departed.is_some_and(|departed| departed.boot == hello.boot));
        let here = self.stay == Stay::Here && !departed;
        if !here || hello.key == self.config.node || !(admitted || self.is_named_by_a_person(dial, peer)) {
            // Who linked while this node was leaving may have given up the link that the goodbye is on.
            self.effects.push(Effect::Close { link: id, goodbye: self.stay != Stay::Here });
            if here
                && !admitted
                && let Some(record) = self.book.find_mut(peer)
            {
                record.trouble = Some(NOT_ADMITTED.to_owned());
                if dial.is_some() {
                    record.brief = true;
                    self.timers.set(Timer::Redial(peer), now.mono + UNADMITTED_PAUSE);
                }
            }
            return;
        }
        let link = Link::new(&hello, dial.is_some(), now);
        self.note_proven(dial, &hello, now);
        self.links.insert(id, link);
        self.timers.set(Timer::Silence(id), now.mono + silence::SILENCE);
        let old = self.book.find(peer).and_then(|peer| peer.link);
        match old {
            Some(old) if !self.replaces(id, old) => self.replace_link(id, now),
            Some(old) => {
                let restarted = self.links.get(&old).is_none_or(|old| old.boot != hello.boot);
                // Closed first: what was in flight on it waits again, for the new link.
                self.replace_link(old, now);
                self.use_link(peer, id, hello.subscriptions, now);
                if restarted {
                    self.send_status(peer, now);
                }
            }
            None => {
                self.use_link(peer, id, hello.subscriptions, now);
                self.send_status(peer, now);
            }
        }
        self.pump(peer, now);
        self.dial_back(peer);
    }

    /// Says what this node is doing to a peer that has just come.
    fn send_status(&mut self, peer: PeerId, now: Now) {
        if let Some(status) = self.status_message(now).filter(|status| self.lane(peer).wants(status)) {
            self.enqueue(peer, status, now);
        }
    }

    /// Whether a person named this peer: that admits it wherever it is.
    fn is_named_by_a_person(&self, dial: Option<DialId>, peer: PeerId) -> bool {
        let named = dial.is_some_and(|dial| matches!(self.dials.get(&dial), Some(Errand::Named(_))));
        let named = named || self.vouched.contains(&peer);
        named || self.book.find(peer).is_some_and(|peer| peer.sources.contains(&Source::Manual))
    }

    /// The owner stands for a key until the node ends, or for others.
    pub(super) fn vouch(&mut self, key: NodeId) {
        let peer = key.peer();
        self.vouched.retain(|other| *other != peer);
        self.vouched.push_back(peer);
        if self.vouched.len() > VOUCHED_MAX {
            self.vouched.pop_front();
        }
    }

    /// Puts a key on the list of known nodes, or takes it off. A link that is no longer admitted is
    /// closed; a node that did not admit us before is tried again.
    pub(super) fn set_known(&mut self, key: NodeId, known: bool, now: Now) {
        let changed = if known { self.book.owners.know(key) } else { self.book.owners.unknow(key) };
        let Some(peer) =
            self.book.find(key.peer()).filter(|peer| changed && [peer.key, peer.claimed_key].contains(&Some(key)))
        else {
            return;
        };
        let (id, link, trust) = (peer.id, peer.link, self.trust_of(Some(key)));
        self.emit_peer(id, Event::PeerUpdated);
        let link = link.and_then(|link| Some((link, self.links.get(&link)?)));
        match link {
            Some((link, of))
                if trust < self.trust_wanted_by(of.way, of.remote) && !self.is_named_by_a_person(None, id) =>
            {
                self.close_link(link, now);
                self.set_presence(id, Presence::Unreachable);
            }
            None if known => {
                self.dial_peer(id);
            }
            Some(_) | None => {}
        }
    }

    /// Of two links between the same two nodes both keep the one that the lower id dialled; of two
    /// that the same node dialled, the newer one.
    fn replaces(&self, new: LinkId, old: LinkId) -> bool {
        let (Some(new), Some(old)) = (self.links.get(&new), self.links.get(&old)) else { return true };
        if new.boot != old.boot || new.dialed == old.dialed {
            return true;
        }
        new.dialed == (self.config.node < new.key)
    }

    fn use_link(&mut self, peer: PeerId, id: LinkId, subscriptions: Vec<(Channel, bool)>, now: Now) {
        let way = self.links.get(&id).map(|link| link.way);
        if let Some(record) = self.book.find_mut(peer) {
            (record.link, record.way) = (Some(id), way);
        }
        let lane = self.lane(peer);
        lane.subscriptions = Some(subscriptions.into_iter().take(SUBSCRIPTIONS_MAX).collect());
        // The clocks are compared before the first silence; and whoever answers has not turned us away.
        self.effects.push(Effect::Control { link: id, frame: Frame::Ping { nonce: 0, ts: now.wall.millis() } });
    }

    /// Takes over what a handshake proved and a card says.
    fn note_proven(&mut self, dial: Option<DialId>, hello: &Hello, now: Now) {
        let (peer, proved) = self.book.proven(hello.key, now);
        peer.take_card(hello.card.clone());
        peer.touch(now);
        peer.trouble = None;
        peer.yielded = false;
        if peer.link.is_none() {
            peer.way = Some(hello.way);
        }
        let restarted = peer.boot.replace(hello.boot) != Some(hello.boot);
        let outlived = if restarted { peer.status.take() } else { None };
        if dial.is_some() && hello.way == Way::Mesh {
            peer.last_good = Some(hello.remote);
        }
        // What both sides have checked works both ways.
        peer.reach.outbound |= dial.is_some() || hello.way != Way::Mesh;
        peer.reach.inbound |= dial.is_none() || hello.way != Way::Mesh;
        if dial.is_none() {
            peer.sources.insert(Source::Inbound);
        }
        let (id, was) = (peer.id, peer.presence);
        let turned_away = dial.is_some() && peer.brief;
        self.see_off(now);
        if hello.way == Way::Mesh {
            self.take_endpoints(id, hello, now);
        }
        if let Some(dial) = dial {
            self.end_errand(dial, id, now);
        }
        self.evict_claimants(id, proved.claimant, now);
        if was == Presence::Online {
            self.emit_peer(id, Event::PeerUpdated);
        }
        // Who closed its last link at once may do so again: it is there when it says something.
        if !turned_away {
            self.set_presence(id, Presence::Online);
        }
        if outlived.is_some() {
            self.emit(Event::PeerStatus { peer: id, status: None });
        }
    }

    /// Where a link's packets come from decides whom it admits, also when that changes.
    pub(super) fn handle_link_moved(&mut self, id: LinkId, remote: SocketAddr, way: Way, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        (link.remote, link.way) = (remote, way);
        let (peer, key) = (link.peer, link.key);
        let Some(record) = self.book.find_mut(peer).filter(|record| record.link == Some(id)) else { return };
        record.way = Some(way);
        if self.trust_of(Some(key)) < self.trust_wanted_by(way, remote) && !self.is_named_by_a_person(None, peer) {
            return self.close_link(id, now);
        }
        self.emit_peer(peer, Event::PeerUpdated);
    }

    pub(super) fn close_link(&mut self, id: LinkId, now: Now) {
        self.effects.push(Effect::Close { link: id, goodbye: false });
        self.drop_link(id, now);
    }

    /// Gives up one of two links to the same peer.
    fn replace_link(&mut self, id: LinkId, now: Now) {
        if let Some(link) = self.links.get(&id) {
            self.replaced.insert(id, (link.peer, link.boot));
        }
        self.close_link(id, now);
    }

    /// A peer may leave on the link that it holds for the one in use, while this side has taken another.
    fn hear_late_goodbye(&mut self, (id, boot): (PeerId, Boot), now: Now) {
        let Some(peer) = self.book.find(id).filter(|peer| peer.boot == Some(boot)) else { return };
        if let Some(link) = peer.link.and_then(|link| self.links.get_mut(&link)) {
            link.said_goodbye = true;
        }
        self.see_depart(id, boot, now);
    }

    pub(super) fn handle_link_down(&mut self, id: LinkId, loss: LinkLoss, now: Now) {
        if let Some(replaced) = self.replaced.remove(&id).filter(|_| loss == LinkLoss::Goodbye) {
            self.hear_late_goodbye(replaced, now);
        }
        let Some(link) = self.links.get(&id) else { return };
        let (peer, goodbye) = (link.peer, link.said_goodbye || loss == LinkLoss::Goodbye);
        let (dialed, brief) = (link.dialed, now.mono.saturating_sub(link.up_since) < SHORT_LIFE);
        let boot = link.boot;
        if !self.drop_link(id, now) {
            return;
        }
        let Some(record) = self.book.find_mut(peer) else { return };
        record.brief = brief;
        if !brief {
            record.failures = 0;
        }
        let failed_before = record.failures > 0;
        if goodbye {
            self.see_depart(peer, boot, now);
        } else if brief && dialed {
            self.dial_later(
                peer,
                "it closed the link at once: perhaps it admits only known peers (`comity trust` over there)",
                now,
            );
            self.expect_back(peer, now);
        } else if brief && failed_before {
            self.wait_for_return(peer, now);
        } else if !self.dial_peer(peer) {
            self.set_presence(peer, Presence::Unreachable);
        }
    }

    fn see_depart(&mut self, id: PeerId, boot: Boot, now: Now) {
        if let Some(peer) = self.book.find_mut(id) {
            peer.departed = Some(Departure { boot, at: now.mono });
        }
        self.set_presence(id, Presence::Offline);
    }

    /// A peer whose links are brief and which does not answer is gone again. It is dialled when the
    /// pause after the last failure is over, however often it comes and goes.
    fn wait_for_return(&mut self, id: PeerId, now: Now) {
        let dialling = self.book.find(id).is_some_and(|peer| peer.dial.is_some());
        if !dialling && !self.timers.is_set(Timer::Redial(id)) {
            self.dial_later(id, "its links are brief, and it did not answer", now);
        }
        self.expect_back(id, now);
    }

    /// Whoever was here may be back soon, after a restart say: it is stale till then.
    fn expect_back(&mut self, id: PeerId, now: Now) {
        let here = self.book.find(id).is_some_and(|peer| peer.presence.is_here());
        self.set_presence(id, if here { Presence::Stale } else { Presence::Unreachable });
        self.timers.set(Timer::Missed(id), now.mono + silence::MISSED);
    }

    /// Forgets a link; whether it was the one in use.
    fn drop_link(&mut self, id: LinkId, now: Now) -> bool {
        let Some(link) = self.links.remove(&id) else { return false };
        self.timers.cancel(Timer::Silence(id));
        self.timers.cancel(Timer::Receipts(id));
        let Some(peer) = self.book.find_mut(link.peer).filter(|peer| peer.link == Some(id)) else { return false };
        peer.link = None;
        self.effects.push(Effect::Pressure { peer: link.peer, on: false });
        self.wait_again(link.peer, now);
        true
    }

    pub(super) fn handle_frame(&mut self, id: LinkId, frame: Frame, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.heard(now);
        let peer = link.peer;
        self.note_heard(peer, id, now);
        let Some(link) = self.links.get_mut(&id) else { return };
        match frame {
            Frame::Ping { nonce, .. } => {
                let pong = Frame::Pong { nonce, ts: now.wall.millis() };
                self.effects.push(Effect::Control { link: id, frame: pong });
            }
            Frame::Pong { ts, .. } => link.measure(ts, now),
            Frame::Subscribe { channel, quiet } => {
                let subscriptions = self.lane(peer).subscriptions.get_or_insert_default();
                if subscriptions.len() < SUBSCRIPTIONS_MAX || subscriptions.contains_key(&channel) {
                    subscriptions.insert(channel, quiet);
                }
            }
            Frame::Unsubscribe(channel) => {
                self.lane(peer).subscriptions.get_or_insert_default().remove(&channel);
            }
            Frame::Receipt(receipt) => self.handle_receipt(peer, id, receipt, now),
            Frame::Goodbye { .. } => {
                link.said_goodbye = true;
                let boot = link.boot;
                self.see_depart(peer, boot, now);
            }
            // The body has answered a call already.
            Frame::Channels(_) | Frame::Call(_) => {}
        }
    }

    /// The median over all links of how far the other clock is ahead.
    pub(super) fn median_skew_ms(&self) -> i64 {
        let mut skews: Vec<i64> = self.links.values().map(|link| link.skew_ms).collect();
        skews.sort_unstable();
        skews.get(skews.len() / 2).copied().unwrap_or(0)
    }
}

impl Link {
    /// How far the other clock is ahead, as far as that corrects what comes from it.
    pub(super) fn believed_skew_ms(&self) -> i64 {
        self.skew_ms.clamp(-SKEW_BELIEVED_MS, SKEW_BELIEVED_MS)
    }

    fn measure(&mut self, ts: u64, now: Now) {
        let round_trip = now.mono.saturating_sub(self.ping_sent);
        self.round_trip = Some(round_trip);
        let half = i64::try_from(round_trip.as_millis() / 2).unwrap_or(0);
        let theirs = i64::try_from(ts).unwrap_or(i64::MAX);
        let ours = i64::try_from(now.wall.millis()).unwrap_or(0) - half;
        self.skew_ms = theirs.saturating_sub(ours);
    }
}
