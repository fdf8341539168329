//! The router: owns the parts of a node, gives each input to the part that decides, and collects
//! what must be done. It has no rules of its own. The decisions are in the files beside this one:
//! `meeting` finds and keeps peers, `dialing` reaches them, `linking` looks after their links,
//! `receipting` says what became of what came over those, `arriving` takes messages in, `sending` puts
//! them out, `asking` serves this process and the control door, `keeping` is what must survive a crash. `contract` and `question` are all that goes in and comes out.

mod arriving;
mod asking;
mod config;
mod contract;
mod dialing;
mod keeping;
mod linking;
mod meeting;
mod question;
mod receipting;
mod sending;
#[cfg(test)]
mod tests;
mod view;

pub use config::Config;
pub use contract::{
    Boot, DialFailure, DialOutcome, Effect, Event, Input, LinkLoss, PostFailure, Proof, Record, Restored, SourceHealth,
    Timer,
};
pub use question::{Answer, Ask, ListenFilter, Refusal, Send};
pub use view::{LinkView, NodeView};

use crate::channel::{Channel, WELL_KNOWN};
use crate::id::{DialId, LinkId, ListenerId, MessageId, NodeId, PeerId, Ticket};
use crate::identity::guard::Guard;
use crate::identity::trust::Trust;
use crate::inbox::queue::Queue;
use crate::inbox::{Digest, Mode};
use crate::ledger::Ledger;
use crate::peers::book::Book;
use crate::peers::{Candidate, PeerView, Sighting, Source, Way};
use crate::request::Requests;
use crate::seen::Seen;
use crate::throttle::Throttle;
use crate::time::{Now, Timestamp};
use crate::timers::Timers;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// How often old ids, fates and messages are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// The rules of one node.
#[derive(Debug)]
pub struct Node {
    config: Config,
    me: PeerId,
    started: Now,
    /// When the input at hand came, in time since the start: what is dialled for it is counted then.
    turn: Duration,

    book: Book,
    guard: Guard,
    interfaces: Vec<ipnet::IpNet>,
    sources: BTreeMap<Source, SourceHealth>,
    dials: BTreeMap<DialId, dialing::Errand>,
    manual: Vec<dialing::Named>,
    /// Sightings whose addresses could not be dialled yet, because too many were new.
    deferred: Vec<Sighting>,
    /// Keys that the owner stands for, oldest first.
    vouched: VecDeque<PeerId>,
    twin: Option<SocketAddr>,
    /// Whom only brokers told of, and who is dialled all the same.
    courted: BTreeSet<PeerId>,

    links: BTreeMap<LinkId, linking::Link>,
    /// Links given up for another one, until they are down: a goodbye may still come over them.
    replaced: BTreeMap<LinkId, (PeerId, Boot)>,
    lanes: BTreeMap<PeerId, sending::Lane>,
    requests: Requests,

    seen: Seen,
    throttle: Throttle,
    subscriptions: BTreeMap<Channel, bool>,
    listeners: BTreeMap<ListenerId, ListenFilter>,
    mode: Mode,
    queue: Queue,
    digest: Digest,
    status: Option<(Value, Timestamp)>,

    admitted: u64,
    ledger_in: Ledger,
    ledger_out: Ledger,
    keeping: keeping::Keeping,
    stay: Stay,

    timers: Timers<Timer>,
    numbers: Numbers,
    effects: Vec<Effect>,
}

/// Whether the node is there for its peers. What happens after it left is let pass: the body still
/// tells the ends of its links, and nobody is dialled again for that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    Here,
    /// It takes up nothing new; it says goodbye, and answers the question, when its queues are empty.
    Leaving(Ticket),
    Left,
}

impl Node {
    /// A node that starts now with what the disk gave back.
    pub fn new(config: Config, restored: Restored, now: Now) -> Self {
        let me = config.node.peer();
        let subscriptions = WELL_KNOWN.iter().filter(|known| known.subscribed);
        let subscriptions = subscriptions.filter_map(|known| Some((Channel::new(known.name).ok()?, false))).collect();
        let mut node = Self {
            me,
            started: now,
            turn: now.mono,
            book: Book::default(),
            guard: Guard::new(config.guard.clone()),
            interfaces: Vec::new(),
            sources: BTreeMap::new(),
            dials: BTreeMap::new(),
            manual: Vec::new(),
            deferred: Vec::new(),
            vouched: VecDeque::new(),
            twin: None,
            courted: BTreeSet::new(),
            links: BTreeMap::new(),
            replaced: BTreeMap::new(),
            lanes: BTreeMap::new(),
            requests: Requests::default(),
            seen: Seen::new(config.seen_max, config.seed),
            throttle: Throttle::new(config.throttle, config.seed),
            subscriptions,
            listeners: BTreeMap::new(),
            mode: Mode::default(),
            queue: Queue::new(config.inbox, Vec::new(), restored.last_arrival),
            digest: Digest::begin(now.wall),
            status: None,
            admitted: 0,
            ledger_in: Ledger::default(),
            ledger_out: Ledger::default(),
            keeping: keeping::Keeping::default(),
            stay: Stay::Here,
            timers: Timers::default(),
            numbers: Numbers { state: config.seed, dials: 0 },
            effects: Vec::new(),
            config,
        };
        node.restore(restored, now);
        node.timers.set(Timer::Sweep, now.mono + SWEEP_EVERY);
        node.timers.set(Timer::Digest, now.mono + node.config.digest_every);
        node.timers.set(Timer::Heartbeat, now.mono + meeting::HEARTBEAT_EVERY);
        node
    }

    /// Tells the node what happened. What must be done is then in [`Self::effects`].
    pub fn handle(&mut self, input: Input, now: Now) {
        self.turn = now.mono;
        match input {
            Input::Sighted(sighting) => self.handle_sighting(sighting, now),
            Input::Unsighted { source, peer } => self.handle_unsighted(source, peer, now),
            Input::Doubted { peer } => self.handle_doubted(peer, now),
            Input::Wanted { peer } => self.handle_wanted(peer, now),
            Input::Vouched { key } => self.vouch(key),
            Input::Unmet { peer } => self.handle_unmet(peer, now),
            Input::Met { key, remote, dialed } => self.handle_met(key, remote, dialed, now),
            Input::Parted { key } => self.handle_parted(key.peer()),
            Input::Source { source, health } => {
                self.sources.insert(source, health);
            }
            Input::Interfaces(interfaces) => {
                self.guard.set_interfaces(interfaces.clone());
                self.interfaces = interfaces;
            }
            Input::Dialed { dial, outcome } => self.handle_dialed(dial, outcome, now),
            Input::LinkUp { link, dial, key, remote, way, card, boot, subscriptions } => {
                let hello = linking::Hello { key, remote, way, card, boot, subscriptions };
                self.handle_link_up(link, dial, hello, now);
            }
            Input::Twin { address } => self.note_twin(address),
            Input::LinkMoved { link, remote, way } => self.handle_link_moved(link, remote, way, now),
            Input::LinkDown { link, loss } => self.handle_link_down(link, loss, now),
            Input::Messages { link, batch, unreadable } => self.handle_messages(link, batch, unreadable, now),
            Input::Frame { link, frame } => self.handle_frame(link, frame, now),
            Input::Written { link, weight, .. } => self.handle_written(link, weight, now),
            Input::Arrived { ticket, message, proof } => self.handle_arrived(ticket, *message, proof, now),
            Input::Posted { message, peer, coded, outcome } => self.handle_posted(message, peer, coded, outcome, now),
            Input::Asked { ticket, ask } => self.handle_ask(ticket, ask, now),
            Input::Overflowed { received, .. } => self.handle_overflow(&received, now),
            Input::Committed { upto } => self.handle_committed(upto, now),
            Input::NotCommitted { from } => self.handle_not_committed(from, now),
            Input::Wake => {}
        }
        while let Some(timer) = self.timers.pop_due(now.mono) {
            self.handle_timer(timer, now);
        }
        self.leave_when_drained();
    }

    /// What must be done, in order; empties the list.
    pub fn effects(&mut self) -> std::vec::Drain<'_, Effect> {
        self.effects.drain(..)
    }

    /// When [`Input::Wake`] is due, in time since the start.
    pub fn wake_at(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// This node's UUID.
    pub fn me(&self) -> PeerId {
        self.me
    }

    /// Everybody this node has heard of.
    pub fn peers(&self) -> Vec<PeerView> {
        self.book.iter().map(|peer| peer.view(self.trust_of(peer.key))).collect()
    }

    /// The channels this node listens to, and whether without background messages.
    pub fn subscriptions(&self) -> &BTreeMap<Channel, bool> {
        &self.subscriptions
    }

    /// A snapshot.
    pub fn view(&self, now: Now) -> NodeView {
        NodeView {
            node: self.config.node,
            peer: self.me,
            name: self.config.name.clone(),
            version: self.config.version.clone(),
            capabilities: self.config.capabilities.clone(),
            metadata: self.config.metadata.clone(),
            status: self.status.as_ref().map(|(status, _)| status.clone()),
            status_at: self.status.as_ref().map(|(_, at)| *at),
            mode: self.mode,
            subscriptions: self.subscriptions.clone(),
            known: self.book.owners.known().clone(),
            peers: self.peers(),
            links: self.links.iter().map(|(id, link)| link.view(*id)).collect(),
            sources: self.sources.clone(),
            inbox: crate::envelope::Priority::ALL.into_iter().map(|p| (p, self.queue.count(p))).collect(),
            inbox_max: self.queue.items_max(),
            digest_total: self.digest.total(),
            outbound: self.lanes.values().map(|lane| lane.queue.len()).sum(),
            requests: self.requests.len(),
            seen: self.seen.len(),
            admitted: self.admitted,
            fates_in: self.ledger_in.counts().clone(),
            fates_out: self.ledger_out.counts().clone(),
            skew_ms: self.median_skew_ms(),
            twin: self.twin,
            interfaces: self.interfaces.clone(),
            disk_ok: self.keeping.disk_ok(),
            uptime: now.mono.saturating_sub(self.started.mono),
        }
    }

    fn handle_timer(&mut self, timer: Timer, now: Now) {
        match timer {
            Timer::Silence(link) => self.handle_silence(link, now),
            Timer::Receipts(link) => self.send_receipts(link),
            Timer::Redial(peer) => self.handle_redial(peer, now),
            Timer::Missed(peer) => self.handle_missed(peer),
            Timer::Named => self.dial_named(),
            Timer::Request(query) => self.handle_request_timeout(query),
            Timer::Heartbeat => self.handle_heartbeat(now),
            Timer::Digest => self.handle_digest_timer(now),
            Timer::Sweep => self.handle_sweep(now),
            Timer::Leave => self.finish_leaving(),
        }
    }

    fn handle_sweep(&mut self, now: Now) {
        self.seen.sweep(now.wall);
        self.throttle.sweep(now.mono);
        self.ledger_in.sweep(now.wall);
        self.ledger_out.sweep(now.wall);
        self.expire_outbound(now);
        self.expire_inbox(now);
        self.forget_peers(now);
        self.forget_lost_lanes(now);
        self.keep_owners(now);
        self.timers.set(Timer::Sweep, now.mono + SWEEP_EVERY);
    }

    /// How far the owner of a proven key is trusted.
    fn trust_of(&self, key: Option<NodeId>) -> Trust {
        match key {
            None => Trust::Unverified,
            Some(key) if self.book.owners.known().contains(&key) => Trust::Known,
            Some(_) => Trust::Verified,
        }
    }

    /// The least trust that is admitted from this address.
    fn trust_wanted(&self, address: IpAddr) -> Trust {
        self.config.admission.wanted(address, &self.interfaces)
    }

    /// The same for what came this way. Who is behind a relay may be anywhere.
    fn trust_wanted_by(&self, way: Way, remote: SocketAddr) -> Trust {
        if way == Way::RtcRelay { Trust::Known } else { self.trust_wanted(remote.ip()) }
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.effects.push(Effect::Answer { ticket, answer });
    }

    fn refuse(&mut self, ticket: Ticket, refusal: Refusal) {
        self.answer(ticket, Answer::Refused(refusal));
    }

    fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit(event));
    }
}

/// Numbers the rules need: ids of dials and of own messages, and jitter. Drawn from the seed, so
/// that a run can be replayed.
#[derive(Debug)]
struct Numbers {
    state: u64,
    dials: u64,
}

impl Numbers {
    fn dial(&mut self) -> DialId {
        self.dials += 1;
        DialId(self.dials)
    }

    fn message(&mut self) -> MessageId {
        let bits = (u128::from(self.draw()) << 64) | u128::from(self.draw());
        MessageId(uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid())
    }

    /// Between zero and `most`.
    fn jitter(&mut self, most: Duration) -> Duration {
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.draw() % micros)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// A candidate that a person named needs no permission.
fn is_named(candidate: &Candidate) -> bool {
    candidate.source == Source::Manual
}
