//! What happens in one run: everybody meets, talks, is cut off, crashes, comes back, and in the
//! end agrees. All of it is fixed by the seed.

use crate::judge::Violation;
use crate::world::{Happening, World};
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, Priority, Ttl, Via};
use comity_core::id::{MessageId, PeerId, Ticket};
use comity_core::inbox::Mode;
use comity_core::node::{Ask, Input, ListenFilter, Proof, Send};
use comity_core::payload::Payload;
use comity_core::peers::{Candidate, Presence, Sighting, Source};
use comity_core::throttle::Rate;
use comity_core::time::{Now, Timestamp};
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// Hosts of a run.
const HOSTS: usize = 10;

/// Messages sent in a run.
const MESSAGES: usize = 500;

/// When the talking ends and the healing is judged: three heartbeats after the last fault.
const LAST_FAULT: Duration = Duration::from_secs(40);
const END: Duration = Duration::from_secs(40 + 90);

/// A bug put in on purpose, to see that the judge finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// Message ids are forgotten again and again, so that duplicates get through.
    Duplicates,
    /// Receipts are lost although their link goes on.
    LostReceipts,
}

/// What came of a run.
#[derive(Debug)]
pub struct Report {
    /// The rules that did not hold.
    pub violations: Vec<Violation>,
    /// Messages handled by applications.
    pub handled: u64,
    /// Things that happened.
    pub steps: u64,
}

/// A step of the story.
#[derive(Debug)]
pub(crate) enum Step {
    Meet(usize),
    Say,
    Post,
    Copy(usize, Box<Message>),
    Consume(usize),
    SetMode(usize),
    BreakALink,
    Divide,
    Heal,
    Crash(usize),
    Leave(usize),
    Restart(usize),
    Forget(usize),
    CalmDown,
    Finish,
}

/// Plays one run.
pub fn play(seed: u64, plant: Plant) -> Report {
    let mut world = World::new(seed, HOSTS);
    world.disks_fail = world.random.once_in(4);
    if world.random.once_in(4) {
        world.rate = Rate { per_second: 1, burst: 2 };
    }
    world.loses_receipts = plant == Plant::LostReceipts;
    write_story(&mut world, plant);
    let mut steps = 0;
    while let Some(happening) = world.next() {
        steps += 1;
        match happening {
            Happening::Step(Step::Finish) => break,
            Happening::Step(step) => take(&mut world, step),
            other => world.perform(other),
        }
    }
    judge_the_end(&mut world);
    Report { violations: std::mem::take(&mut world.judge.violations), handled: world.judge.handled, steps }
}

fn write_story(world: &mut World, plant: Plant) {
    let at = |world: &mut World, low: u64, high: u64| Duration::from_millis(world.random.between(low, high));
    for host in 0..HOSTS {
        let when = at(world, 0, 2000);
        world.later(when, Happening::Step(Step::Restart(host)));
        let when = at(world, 2000, 3000);
        world.later(when, Happening::Step(Step::Meet(host)));
        let when = at(world, 3000, 30_000);
        world.later(when, Happening::Step(Step::SetMode(host)));
    }
    for number in 0..MESSAGES {
        let when = at(world, 4_000, 38_000);
        world.later(when, Happening::Step(if number % 5 == 0 { Step::Post } else { Step::Say }));
    }
    for _ in 0..300 {
        let (host, when) = (world.random.below(HOSTS), at(world, 5_000, 60_000));
        world.later(when, Happening::Step(Step::Consume(host)));
    }
    for _ in 0..8 {
        let when = at(world, 4_000, 38_000);
        world.later(when, Happening::Step(Step::BreakALink));
    }
    let divided = at(world, 8_000, 20_000);
    world.later(divided, Happening::Step(Step::Divide));
    let healed = divided + at(world, 500, 15_000);
    world.later(healed, Happening::Step(Step::Heal));
    for _ in 0..2 {
        let (host, when) = (world.random.below(HOSTS), at(world, 6_000, 30_000));
        world.later(when, Happening::Step(Step::Crash(host)));
        let back = when + at(world, 200, 6_000);
        world.later(back, Happening::Step(Step::Restart(host)));
    }
    let (host, when) = (world.random.below(HOSTS), at(world, 6_000, 30_000));
    world.later(when, Happening::Step(Step::Leave(host)));
    let back = when + at(world, 2_500, 6_000);
    world.later(back, Happening::Step(Step::Restart(host)));
    if plant == Plant::Duplicates {
        for host in 0..HOSTS {
            for second in 5..40 {
                world.later(Duration::from_secs(second), Happening::Step(Step::Forget(host)));
            }
        }
    }
    world.later(LAST_FAULT, Happening::Step(Step::CalmDown));
    world.later(END, Happening::Step(Step::Finish));
}

fn take(world: &mut World, step: Step) {
    match step {
        Step::Meet(host) => meet(world, host),
        Step::Say => say(world),
        Step::Post => post(world),
        Step::Copy(host, message) => bring(world, host, *message),
        Step::Consume(host) => {
            let limit = 1 + world.random.below(5);
            let ask = if world.random.once_in(2) { Ask::Take { limit } } else { Ask::Peek { after: 0, limit } };
            if world.hosts[host].node.is_some() && !world.hosts[host].taking_now() {
                world.ask(host, ask);
            }
        }
        Step::SetMode(host) => {
            let mode = Mode::ALL[world.random.below(3)];
            world.ask(host, Ask::SetMode(mode));
        }
        Step::BreakALink => {
            let host = world.random.below(HOSTS);
            let links = world.links_of(host);
            if !links.is_empty() {
                let link = links[world.random.below(links.len())];
                world.cut(link);
            }
        }
        Step::Divide => {
            let bits = world.random.draw();
            world.divide(|host| u8::from(bits >> host & 1 == 1));
        }
        Step::Heal => world.heal(),
        Step::Crash(host) => world.crash(host),
        Step::Leave(host) => drop(world.ask(host, Ask::Leave { reason: "done".to_owned() })),
        Step::Restart(host) => {
            if world.hosts[host].node.is_none() {
                world.start(host);
                meet(world, host);
            }
        }
        Step::Forget(host) => forget_ids(world, host),
        Step::CalmDown => {
            world.heal();
            world.disks_fail = false;
        }
        Step::Finish => {}
    }
}

/// The host's discovery sees some of the others; the rest meet it the other way round.
fn meet(world: &mut World, host: usize) {
    for other in 0..HOSTS {
        if other == host || world.hosts[other].start == 0 {
            continue;
        }
        let key = world.hosts[other].key;
        let address = World::address(other);
        let sighting = Sighting {
            source: Source::Mdns,
            told_by: Some(address.ip()),
            peer: key.peer(),
            key: Some(key),
            name: format!("host-{other}"),
            version: String::new(),
            capabilities: Vec::new(),
            candidates: vec![Candidate { address, source: Source::Mdns }],
            metadata: BTreeMap::new(),
            rendezvous: None,
        };
        world.tell(host, Input::Sighted(sighting));
    }
}

fn say(world: &mut World) {
    let host = world.random.below(HOSTS);
    let to = world.random.below(HOSTS);
    let to = (to != host && !world.random.once_in(3)).then(|| world.hosts[to].key.peer());
    let priority = Priority::ALL[world.random.below(3)];
    let id = MessageId(Uuid::from_u128(u128::from(world.number())));
    let channel = ["_suggestions", "_bugs", "_status", "_debug", "custom:x"][world.random.below(5)];
    let (Ok(channel), Ok(payload)) =
        (Channel::new(channel), Payload::from_value(&serde_json::json!({ "n": id.to_string() })))
    else {
        return;
    };
    let ttl = Ttl::from_seconds(world.random.between(5, 120)).unwrap_or(Ttl::DEFAULT);
    let send = Send {
        id,
        to,
        kind: Kind::Suggestion,
        channel,
        payload,
        priority,
        ttl,
        reply_to: None,
        thread: None,
        traceparent: None,
        sealed_at: None,
    };
    let ask = if to.is_some() && world.random.once_in(8) {
        Ask::Request { send: Send { kind: Kind::Query, ..send }, timeout: Duration::from_secs(5) }
    } else {
        Ask::Send(send)
    };
    world.sent.push((host, id, world.hosts.iter().map(|host| host.start).collect()));
    world.ask(host, ask);
    if world.random.once_in(40) {
        let listener = comity_core::id::ListenerId(2);
        world.ask(host, Ask::Listen { listener, filter: ListenFilter::Queries });
    }
}

/// A foreign client posts a message, as a rule several times, late and out of order.
fn post(world: &mut World) {
    let host = world.random.below(HOSTS);
    let clock = world.hosts[host].clock(world.now);
    let message = foreign_message(world, clock);
    for _ in 0..=world.random.below(3) {
        let delay = Duration::from_millis(world.random.between(0, 4_000));
        world.later(delay, Happening::Step(Step::Copy(host, Box::new(message.clone()))));
    }
}

fn bring(world: &mut World, host: usize, message: Message) {
    if world.hosts[host].node.is_some() {
        let ticket = Ticket(world.number());
        let proof = Proof { via: Via::Post, address: [10, 0, 1, 1].into(), key: None };
        world.judge.came(host, 1);
        world.tell(host, Input::Arrived { ticket, message: Box::new(message), proof });
    }
}

fn foreign_message(world: &mut World, clock: Now) -> Message {
    let channel = Channel::of_kind(Kind::Bug);
    let payload = Payload::from_value(&serde_json::json!({ "bug": "it broke" })).unwrap_or(Payload::Empty);
    let age = Duration::from_millis(world.random.between(0, 90_000));
    let written = if world.random.once_in(10) { clock.wall + age } else { clock.wall - age / 3 };
    Message {
        id: Some(MessageId(Uuid::from_u128(1 << 100 | u128::from(world.number())))),
        from: PeerId(Uuid::from_u128(u128::from(world.random.between(1, 4)))),
        to: Address::Broadcast,
        kind: Kind::Bug,
        channel,
        priority: Priority::ALL[world.random.below(3)],
        timestamp: Timestamp::from_millis(written.millis()),
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload,
        more: None,
    }
}

/// The planted bug: for a moment the body hands in clocks that are ahead, so that every remembered
/// id runs out.
fn forget_ids(world: &mut World, host: usize) {
    let clock = world.hosts[host].clock(world.now);
    if let Some(node) = world.hosts[host].node.as_mut() {
        node.handle(
            Input::Wake,
            Now { mono: clock.mono + Duration::from_secs(1), wall: clock.wall + Duration::from_secs(4 * 3600) },
        );
    }
}

/// Every message has ended on its sender's side, and as its receiver says, unless a crash took the
/// memory of either.
fn judge_the_fates(world: &mut World) {
    let ids: Vec<PeerId> = world.hosts.iter().map(|host| host.key.peer()).collect();
    for (sender, message, starts) in std::mem::take(&mut world.sent) {
        let same_start = |world: &World, host: usize| world.hosts[host].start == starts[host];
        if !same_start(world, sender) {
            continue;
        }
        let fates = world.why(sender, message);
        world.judge.all_copies_told(sender, message, &fates);
        for (receiver, id) in ids.iter().enumerate() {
            let said: Vec<_> = fates.iter().filter(|fate| fate.peer == Some(*id)).map(|fate| fate.kind).collect();
            if said.is_empty() {
                continue;
            }
            let did = same_start(world, receiver).then(|| {
                let fates = world.why(receiver, message);
                fates.iter().filter(|fate| fate.peer == Some(ids[sender])).map(|fate| fate.kind).collect::<Vec<_>>()
            });
            world.judge.ended(sender, receiver, message, &said, did.as_deref());
        }
    }
}

fn judge_the_end(world: &mut World) {
    judge_the_fates(world);
    let keys: Vec<_> = world.hosts.iter().map(|host| host.key).collect();
    for index in 0..HOSTS {
        let clock = world.hosts[index].clock(world.now);
        let Some(view) = world.hosts[index].node.as_ref().map(|node| node.view(clock)) else {
            world.judge.blame(format!("host {index} is not running at the end"));
            continue;
        };
        if world.hosts[index].disk.is_clean() {
            world.judge.balance(index, &view);
        }
        if view.outbound > 0 {
            world.judge.blame(format!("host {index} still has {} messages to send", view.outbound));
        }
        for (other, key) in keys.iter().enumerate().filter(|(other, _)| *other != index) {
            let peer = view.peers.iter().find(|peer| peer.id == key.peer());
            let agreed = peer.is_some_and(|peer| peer.presence == Presence::Online && peer.key == Some(*key));
            let linked = view.links.iter().filter(|link| link.peer == key.peer()).count();
            if !agreed || linked != 1 {
                let shown = peer.map(|peer| (peer.presence, peer.reach, peer.trouble.clone()));
                world.judge.blame(format!("host {index} does not see host {other}: {shown:?}, {linked} links"));
            }
        }
    }
}
