//! The world: hosts with a node each, one clock, and everything that can happen on it. Effects of a
//! node become happenings; happenings become inputs of nodes.

use crate::disk::Disk;
use crate::judge::Judge;
use crate::links::End;
use crate::random::Random;
use comity_core::envelope::{Message, Priority, Received};
use comity_core::id::{DialId, LinkId, ListenerId, MessageId, NodeId, Ticket};
use comity_core::inbox::Item;
use comity_core::ledger::Fate;
use comity_core::node::{
    Answer, Ask, Boot, Config, DialOutcome, Effect, Input, ListenFilter, Node, PostFailure, Record, Restored,
};
use comity_core::peers::Candidate;
use comity_core::throttle::Rate;
use comity_core::time::{Now, Timestamp};
use comity_core::wire::frame::Frame;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The wall clock at the beginning of every run.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// How long a dial waits where nobody answers.
pub(crate) const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// The only listener of a host.
const LISTENER: ListenerId = ListenerId(1);

/// Something that will happen to a host.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The node is told something, if it is still the same start of it.
    Told { host: usize, start: u64, input: Box<Input> },
    /// A frame arrives at one end of a link.
    Frame { link: LinkId, input: Box<Input> },
    /// A deadline of the node may be here.
    Wake { host: usize, start: u64 },
    /// A dial reaches its end.
    Dial { host: usize, start: u64, dial: DialId, expect: Option<NodeId>, candidates: Vec<Candidate> },
    /// The disk finishes what is pending.
    Sync { host: usize, start: u64 },
    /// A step of the story.
    Step(crate::story::Step),
}

/// One machine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) key: NodeId,
    pub(crate) node: Option<Node>,
    pub(crate) start: u64,
    pub(crate) disk: Disk,
    /// Messages of the inbox that the application is about to acknowledge.
    acking: BTreeMap<Ticket, Vec<Arc<Item>>>,
    taking: BTreeSet<Ticket>,
    peeking: BTreeSet<Ticket>,
    leaving: Option<Ticket>,
    /// Priorities of what left the inbox while the present input was handled.
    removed: Vec<Priority>,
    pub(crate) refused: u64,
    started_at: Duration,
    skew: Duration,
    next_wake: Option<Duration>,
    syncing: bool,
    listens: bool,
    pub(crate) group: u8,
}

/// All hosts and what lies between them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) random: Random,
    pub(crate) hosts: Vec<Host>,
    pub(crate) judge: Judge,
    pub(crate) disks_fail: bool,
    /// How fast each host lets each other send.
    pub(crate) rate: Rate,
    pub(crate) partitioned: bool,
    /// The planted bug: some receipts never leave.
    pub(crate) loses_receipts: bool,
    /// The start of every host when each message was sent.
    pub(crate) sent: Vec<(usize, MessageId, Vec<u64>)>,
    pub(crate) ends: BTreeMap<LinkId, End>,
    agenda: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    numbers: u64,
}

impl World {
    pub(crate) fn new(seed: u64, hosts: usize) -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            random: Random::new(seed),
            hosts: Vec::new(),
            judge: Judge::default(),
            disks_fail: false,
            rate: Rate { per_second: 20, burst: 30 },
            partitioned: false,
            loses_receipts: false,
            sent: Vec::new(),
            ends: BTreeMap::new(),
            agenda: BTreeMap::new(),
            order: 0,
            numbers: 0,
        };
        for index in 0..hosts {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&world.random.draw().to_be_bytes());
            bytes[31] = u8::try_from(index).unwrap_or(u8::MAX);
            let skew = Duration::from_millis(world.random.between(0, 4000));
            world.hosts.push(Host::new(NodeId::from_bytes(bytes), skew, index.is_multiple_of(3)));
        }
        world
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub(crate) fn later(&mut self, delay: Duration, happening: Happening) {
        self.order += 1;
        self.agenda.insert((self.now + delay, self.order), happening);
    }

    /// The next thing on the agenda; the clock moves on to it.
    pub(crate) fn next(&mut self) -> Option<Happening> {
        let ((at, _), happening) = self.agenda.pop_first()?;
        self.now = at;
        Some(happening)
    }

    pub(crate) fn perform(&mut self, happening: Happening) {
        match happening {
            Happening::Told { host, start, input } => self.tell_start(host, start, *input),
            Happening::Frame { link, input } => {
                let whole = |end: &&End| end.broken_at.is_none_or(|at| self.now <= at);
                if let Some(host) = self.ends.get(&link).filter(whole).map(|end| end.host) {
                    if let Input::Messages { batch, .. } = &*input {
                        self.judge.came(host, batch.len());
                    }
                    self.tell(host, *input);
                }
            }
            Happening::Wake { host, start } => self.tell_start(host, start, Input::Wake),
            Happening::Dial { host, start, dial, expect, candidates } => {
                self.dial(host, start, dial, expect, &candidates)
            }
            Happening::Sync { host, start } => self.sync(host, start),
            Happening::Step(_) => {}
        }
    }

    pub(crate) fn address(host: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, u8::try_from(host + 1).unwrap_or(u8::MAX)], 8400))
    }

    /// Starts a host's node with what its disk has.
    pub(crate) fn start(&mut self, index: usize) {
        let seed = self.random.draw();
        let host = &mut self.hosts[index];
        host.start += 1;
        host.started_at = self.now;
        let restored: Restored = host.disk.crash();
        self.judge.started(index, restored.items.len());
        let boot = Boot(Uuid::from_u128((index as u128) << 64 | u128::from(host.start)));
        let mut config = Config::new(host.key, format!("host-{index}"), boot, seed);
        config.inbox.items_max = 12;
        config.outbound.messages_max = 24;
        config.throttle.sender = self.rate;
        let now = host.clock(self.now);
        host.node = Some(Node::new(config, restored, now));
        host.next_wake = None;
        host.syncing = false;
        if host.listens {
            self.ask(index, Ask::Listen { listener: LISTENER, filter: ListenFilter::All });
        }
        self.perform_effects(index);
    }

    /// Ends a host's node between one moment and the next.
    pub(crate) fn crash(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        host.node = None;
        host.start += 1;
        host.disk.crash();
        host.acking.clear();
        host.taking.clear();
        host.peeking.clear();
        host.leaving = None;
        for link in self.links_of(index) {
            self.cut(link);
        }
        self.ends.retain(|_, end| end.host != index);
    }

    /// Ends a host's node after it has left: the disk takes what is pending.
    fn stop(&mut self, index: usize) {
        self.judge.stopped(index, self.hosts[index].start);
        self.hosts[index].disk.sync();
        self.crash(index);
    }

    pub(crate) fn divide(&mut self, groups: impl Fn(usize) -> u8) {
        self.partitioned = true;
        for (index, host) in self.hosts.iter_mut().enumerate() {
            host.group = groups(index);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.partitioned = false;
        for host in &mut self.hosts {
            host.group = 0;
        }
    }

    pub(crate) fn ask(&mut self, host: usize, ask: Ask) -> Ticket {
        let ticket = Ticket(self.number());
        match &ask {
            Ask::Take { .. } => {
                self.hosts[host].taking.insert(ticket);
            }
            Ask::Peek { .. } => {
                self.hosts[host].peeking.insert(ticket);
            }
            Ask::Leave { .. } => self.hosts[host].leaving = Some(ticket),
            _ => {}
        }
        self.tell(host, Input::Asked { ticket, ask });
        ticket
    }

    pub(crate) fn tell(&mut self, host: usize, input: Input) {
        let clock = self.hosts[host].clock(self.now);
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        node.handle(input, clock);
        self.perform_effects(host);
    }

    /// What a host says became of a message.
    pub(crate) fn why(&mut self, host: usize, id: MessageId) -> Vec<Fate> {
        let clock = self.hosts[host].clock(self.now);
        let Some(node) = self.hosts[host].node.as_mut() else { return Vec::new() };
        node.handle(Input::Asked { ticket: Ticket(0), ask: Ask::Why(id) }, clock);
        let fates = node.effects().filter_map(|effect| match effect {
            Effect::Answer { answer: Answer::Fates(fates), .. } => Some(fates),
            _ => None,
        });
        fates.flatten().collect()
    }

    fn tell_start(&mut self, host: usize, start: u64, input: Input) {
        if self.hosts[host].start == start {
            self.tell(host, input);
        }
    }

    pub(crate) fn tell_later(&mut self, host: usize, delay: Duration, input: Input) {
        let start = self.hosts[host].start;
        self.later(delay, Happening::Told { host, start, input: Box::new(input) });
    }

    pub(crate) fn delay(&mut self) -> Duration {
        let slow = if self.random.once_in(20) { 200_000 } else { 5_000 };
        Duration::from_micros(self.random.between(100, slow))
    }

    pub(crate) fn reachable(&self, one: usize, other: usize) -> bool {
        self.hosts[one].group == self.hosts[other].group && self.hosts[other].node.is_some()
    }

    fn perform_effects(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let effects: Vec<Effect> = node.effects().collect();
        let wake_at = node.wake_at();
        let mut batches: BTreeMap<LinkId, Vec<Message>> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Transmit { link, message } => {
                    let batch = batches.entry(link).or_default();
                    batch.push(Message::clone(&message));
                    // A frame may end after any message, and so may the link.
                    if self.random.once_in(3) {
                        self.send_messages(host, link, std::mem::take(batch));
                    }
                }
                other => {
                    for (link, batch) in std::mem::take(&mut batches) {
                        self.send_messages(host, link, batch);
                    }
                    self.perform_effect(host, other);
                }
            }
        }
        self.judge_removals(host);
        for (link, batch) in batches {
            self.send_messages(host, link, batch);
        }
        self.schedule_wake(host, wake_at);
    }

    fn schedule_wake(&mut self, index: usize, wake_at: Option<Duration>) {
        let host = &mut self.hosts[index];
        let Some(at) = wake_at.map(|at| host.started_at + at) else { return };
        if host.next_wake.is_some_and(|next| next <= at && next > self.now) {
            return;
        }
        host.next_wake = Some(at);
        let (delay, start) = (at.saturating_sub(self.now), host.start);
        self.later(delay, Happening::Wake { host: index, start });
    }

    fn perform_effect(&mut self, host: usize, effect: Effect) {
        let start = self.hosts[host].start;
        match effect {
            // Nobody here is met by a broker.
            Effect::Connect { dial, .. } => {
                let outcome = DialOutcome::NoPath { reasons: Vec::new() };
                self.tell_later(host, DIAL_TIMEOUT, Input::Dialed { dial, outcome });
            }
            Effect::Dial { dial, expect, candidates } => {
                let delay = self.delay();
                self.later(delay, Happening::Dial { host, start, dial, expect, candidates });
            }
            Effect::Control { frame: Frame::Receipt(_), .. } if self.loses_receipts && self.random.once_in(20) => {}
            Effect::Control { link, frame } => self.send_frame(link, |link| Input::Frame { link, frame }),
            Effect::Close { link, goodbye } => self.close(link, goodbye),
            Effect::Post { peer, message, .. } => {
                let Some(message) = message.id else { return };
                let outcome = Err(PostFailure::Unreachable);
                self.tell_later(host, DIAL_TIMEOUT, Input::Posted { message, peer, coded: false, outcome });
            }
            Effect::Deliver { listener, received } => self.deliver(host, listener, received),
            Effect::Answer { ticket, answer } => self.hear(host, ticket, answer),
            Effect::Persist { number, record } => self.persist(host, number, record),
            Effect::Emit(_)
            | Effect::Pressure { .. }
            | Effect::Announce
            | Effect::Repath { .. }
            | Effect::Transmit { .. } => {}
        }
    }

    fn deliver(&mut self, host: usize, listener: ListenerId, received: Arc<Received>) {
        let start = self.hosts[host].start;
        self.judge.handled_live(host, start, &received);
        if self.random.once_in(25) {
            self.judge.not_handled(host, start, &received);
            self.tell_later(host, Duration::ZERO, Input::Overflowed { listener, received });
        }
    }

    fn persist(&mut self, index: usize, number: u64, record: Record) {
        let host = &mut self.hosts[index];
        if let Record::ItemRemoved { arrival } = &record {
            let removed = host.disk.kept().find(|item| item.arrival == *arrival);
            let priority = removed.map(|item| item.received.message.priority);
            host.removed.extend(priority);
        }
        host.disk.write(number, record);
        if !host.syncing {
            host.syncing = true;
            let start = host.start;
            let delay = Duration::from_micros(self.random.between(100, 8_000));
            self.later(delay, Happening::Sync { host: index, start });
        }
    }

    /// When items are pushed out, nothing less urgent may stay.
    fn judge_removals(&mut self, index: usize) {
        let host = &mut self.hosts[index];
        let removed = std::mem::take(&mut host.removed);
        if removed.is_empty() || host.taking_now() {
            return;
        }
        let kept: Vec<_> = host.disk.kept().map(|item| item.received.message.priority).collect();
        for priority in removed {
            self.judge.evicted(index, priority, kept.iter().copied());
        }
    }

    fn sync(&mut self, index: usize, start: u64) {
        let host = &mut self.hosts[index];
        if host.start != start {
            return;
        }
        host.syncing = false;
        if self.disks_fail && self.random.once_in(12) {
            let after = self.random.below(host.disk.pending().max(1));
            if let Some(from) = host.disk.fail(after) {
                self.tell(index, Input::NotCommitted { from });
                // The body tries the disk again with an empty group.
                self.tell(index, Input::Committed { upto: from - 1 });
            }
        } else if let Some(upto) = host.disk.sync() {
            self.tell(index, Input::Committed { upto });
        }
    }

    fn hear(&mut self, index: usize, ticket: Ticket, answer: Answer) {
        let host = &mut self.hosts[index];
        let start = host.start;
        match answer {
            Answer::Items(items) if host.taking.remove(&ticket) => {
                for item in items {
                    self.judge.handled_durably(index, start, &item.received);
                }
            }
            Answer::Items(items) if host.peeking.remove(&ticket) => self.acknowledge_later(index, items),
            Answer::Done if host.leaving == Some(ticket) => self.stop(index),
            Answer::Done => {
                for item in host.acking.remove(&ticket).unwrap_or_default() {
                    self.judge.handled_durably(index, start, &item.received);
                }
            }
            Answer::Sent { id, peers } => self.judge.sent(id, peers),
            Answer::Refused(_) => {
                host.refused += 1;
                host.taking.remove(&ticket);
                host.acking.remove(&ticket);
            }
            _ => {}
        }
    }

    fn acknowledge_later(&mut self, index: usize, items: Vec<Arc<Item>>) {
        let chosen: Vec<_> = items.into_iter().filter(|_| !self.random.once_in(3)).collect();
        let ticket = Ticket(self.number());
        let arrivals = chosen.iter().map(|item| item.arrival).collect();
        self.hosts[index].acking.insert(ticket, chosen);
        self.tell_later(index, Duration::ZERO, Input::Asked { ticket, ask: Ask::Ack(arrivals) });
    }
}

impl Host {
    fn new(key: NodeId, skew: Duration, listens: bool) -> Self {
        Self {
            key,
            node: None,
            start: 0,
            disk: Disk::default(),
            acking: BTreeMap::new(),
            taking: BTreeSet::new(),
            peeking: BTreeSet::new(),
            leaving: None,
            removed: Vec::new(),
            refused: 0,
            started_at: Duration::ZERO,
            skew,
            next_wake: None,
            syncing: false,
            listens,
            group: 0,
        }
    }

    /// What this host's clocks say.
    pub(crate) fn clock(&self, now: Duration) -> Now {
        let wall = Timestamp::from_millis(EPOCH_MS) + now + self.skew;
        Now { mono: now.saturating_sub(self.started_at), wall }
    }

    /// Whether the application is taking items out: one reader at a time.
    pub(crate) fn taking_now(&self) -> bool {
        !self.taking.is_empty() || !self.acking.is_empty()
    }
}
