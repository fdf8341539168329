//! The world: hosts with a node each, links between them, one clock, and everything that can
//! happen on it. Effects of a node become happenings; happenings become inputs of nodes.

use crate::disk::Disk;
use crate::judge::Judge;
use crate::random::Random;
use comity_core::card::{Card, PROTOCOL};
use comity_core::envelope::{Message, Priority, Received};
use comity_core::id::{DialId, LinkId, ListenerId, NodeId, Ticket};
use comity_core::inbox::Item;
use comity_core::node::{
    Answer, Ask, Boot, Config, DialFailure, DialOutcome, Effect, Input, LinkLoss, ListenFilter, Node, PostFailure,
    Record, Restored,
};
use comity_core::peers::Candidate;
use comity_core::throttle::Rate;
use comity_core::time::{Now, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// The wall clock at the beginning of every run.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// How long a dial waits where nobody answers.
const DIAL_TIMEOUT: Duration = Duration::from_secs(3);

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

/// One end of a link.
#[derive(Debug)]
struct End {
    host: usize,
    other: LinkId,
    /// When the last frame towards the other end arrives: frames do not overtake each other.
    last_arrival: Duration,
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
    /// Priorities of what left the inbox while the present input was handled.
    removed: Vec<Priority>,
    pub(crate) refused: u64,
    started_at: Duration,
    skew: Duration,
    next_wake: Option<Duration>,
    syncing: bool,
    listens: bool,
    group: u8,
}

/// All hosts and what lies between them.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) random: Random,
    pub(crate) hosts: Vec<Host>,
    pub(crate) judge: Judge,
    pub(crate) disks_fail: bool,
    pub(crate) partitioned: bool,
    ends: BTreeMap<LinkId, End>,
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
            partitioned: false,
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
                if let Some(host) = self.ends.get(&link).map(|end| end.host) {
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
        config.throttle.sender = Rate { per_second: 20, burst: 30 };
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
        for link in self.links_of(index) {
            self.cut(link);
        }
    }

    pub(crate) fn links_of(&self, host: usize) -> Vec<LinkId> {
        self.ends.iter().filter(|(_, end)| end.host == host).map(|(link, _)| *link).collect()
    }

    /// Breaks a link: what is under way in both directions is lost.
    pub(crate) fn cut(&mut self, link: LinkId) {
        let Some(end) = self.ends.remove(&link) else { return };
        let other = self.ends.remove(&end.other);
        let ends = [(end.host, link)].into_iter().chain(other.map(|other| (other.host, end.other)));
        for (host, link) in ends.collect::<Vec<_>>() {
            let delay = self.delay();
            self.tell_later(host, delay, Input::LinkDown { link, loss: LinkLoss::Broken });
        }
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

    fn tell_start(&mut self, host: usize, start: u64, input: Input) {
        if self.hosts[host].start == start {
            self.tell(host, input);
        }
    }

    fn tell_later(&mut self, host: usize, delay: Duration, input: Input) {
        let start = self.hosts[host].start;
        self.later(delay, Happening::Told { host, start, input: Box::new(input) });
    }

    fn delay(&mut self) -> Duration {
        let slow = if self.random.once_in(20) { 200_000 } else { 5_000 };
        Duration::from_micros(self.random.between(100, slow))
    }

    fn reachable(&self, one: usize, other: usize) -> bool {
        self.hosts[one].group == self.hosts[other].group && self.hosts[other].node.is_some()
    }

    fn perform_effects(&mut self, host: usize) {
        let Some(node) = self.hosts[host].node.as_mut() else { return };
        let effects: Vec<Effect> = node.effects().collect();
        let wake_at = node.wake_at();
        let mut batches: BTreeMap<LinkId, Vec<Message>> = BTreeMap::new();
        for effect in effects {
            match effect {
                Effect::Transmit { link, message } => batches.entry(link).or_default().push(Message::clone(&message)),
                other => self.perform_effect(host, other),
            }
        }
        self.judge_removals(host);
        for (link, batch) in batches {
            let (count, weight) = (batch.len(), batch.iter().map(Message::weight).sum());
            let written = Input::Written { link, messages: u32::try_from(count).unwrap_or(u32::MAX), weight };
            self.send_frame(link, |link| Input::Messages { link, batch, unreadable: Vec::new() });
            let delay = self.delay();
            self.tell_later(host, delay, written);
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
            Effect::Dial { dial, expect, candidates } => {
                let delay = self.delay();
                self.later(delay, Happening::Dial { host, start, dial, expect, candidates });
            }
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
            Effect::Emit(_) | Effect::Pressure { .. } | Effect::Announce | Effect::Transmit { .. } => {}
        }
    }

    fn send_frame(&mut self, link: LinkId, input: impl FnOnce(LinkId) -> Input) {
        let delay = self.delay();
        let held = self.now + delay;
        let Some(end) = self.ends.get_mut(&link) else { return };
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

    fn close(&mut self, link: LinkId, goodbye: bool) {
        let Some(end) = self.ends.remove(&link) else { return };
        let Some(other) = self.ends.get(&end.other) else { return };
        let host = other.host;
        if self.hosts[end.host].group != self.hosts[host].group {
            return;
        }
        let delay = end.last_arrival.saturating_sub(self.now) + Duration::from_micros(1);
        let loss = if goodbye { LinkLoss::Goodbye } else { LinkLoss::Broken };
        self.ends.get_mut(&end.other).into_iter().for_each(|far| far.other = LinkId(0));
        self.tell_later(host, delay, Input::LinkDown { link: end.other, loss });
    }

    fn dial(&mut self, host: usize, start: u64, dial: DialId, expect: Option<NodeId>, candidates: &[Candidate]) {
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
        self.ends.insert(near, End { host: dialer, other: far, last_arrival: self.now });
        self.ends.insert(far, End { host: target, other: near, last_arrival: self.now });
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
            card: Box::new(card),
            boot: Boot(Uuid::from_u128((other as u128) << 64 | u128::from(host.start))),
            subscriptions: subscriptions.into_iter().collect(),
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
            if let Some(from) = host.disk.fail() {
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
            Answer::Done => {
                for item in host.acking.remove(&ticket).unwrap_or_default() {
                    self.judge.handled_durably(index, start, &item.received);
                }
            }
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
