//! What one message costs in the rules alone: sent by one node, admitted by another, receipted.

use comity_core::card::Card;
use comity_core::channel::Channel;
use comity_core::envelope::{Kind, Message, Priority, Ttl};
use comity_core::id::{DialId, LinkId, ListenerId, MessageId, NodeId, Ticket};
use comity_core::node::{Ask, Boot, Config, Effect, Input, ListenFilter, Node, Restored, Send};
use comity_core::payload::Payload;
use comity_core::peers::Way;
use comity_core::throttle::Rate;
use comity_core::time::{Now, Timestamp};
use std::time::{Duration, Instant};
use uuid::Uuid;

const BATCH: usize = 256;
const BATCHES: usize = 2000;

/// Prints nanoseconds a message for sending, receiving, and both with receipts.
pub(crate) fn run() {
    let mut now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(1_700_000_000_000) };
    let mut sender = node(1, now);
    let mut receiver = node(2, now);
    link(&mut sender, &receiver_key(), true, now);
    link(&mut receiver, &NodeId::from_bytes([1; 32]), false, now);
    receiver.handle(asked(Ask::Listen { listener: ListenerId(1), filter: ListenFilter::All }), now);
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    let mut delivered = 0;
    for batch in 0..BATCHES {
        now.mono += Duration::from_millis(1);
        now.wall = now.wall + Duration::from_millis(1);
        let began = Instant::now();
        for number in 0..BATCH {
            sender.handle(asked(Ask::Send(send((batch * BATCH + number) as u128))), now);
        }
        let messages: Vec<Message> = transmitted(&mut sender);
        let weight = messages.iter().map(Message::weight).sum();
        sender.handle(Input::Written { link: LINK, messages: 256, weight }, now);
        sending += began.elapsed();
        let began = Instant::now();
        receiver.handle(Input::Messages { link: LINK, batch: messages, unreadable: Vec::new() }, now);
        let effects: Vec<Effect> = receiver.effects().collect();
        receiving += began.elapsed();
        for effect in effects {
            match effect {
                Effect::Deliver { .. } => delivered += 1,
                Effect::Control { frame, .. } => sender.handle(Input::Frame { link: LINK, frame }, now),
                _ => {}
            }
        }
    }
    let count = (BATCH * BATCHES) as u128;
    println!("{delivered} of {count} messages delivered");
    println!("sending   {:>5} ns a message", sending.as_nanos() / count);
    println!("receiving {:>5} ns a message", receiving.as_nanos() / count);
}

const LINK: LinkId = LinkId(1);

fn receiver_key() -> NodeId {
    NodeId::from_bytes([2; 32])
}

fn node(n: u8, now: Now) -> Node {
    let mut config = Config::new(NodeId::from_bytes([n; 32]), format!("node-{n}"), Boot(Uuid::from_u128(n.into())), 7);
    config.throttle.sender = Rate { per_second: 10_000_000, burst: 10_000_000 };
    let mut node = Node::new(config, Restored::default(), now);
    node.handle(asked(Ask::SetMode(comity_core::inbox::Mode::Realtime)), now);
    node
}

fn link(node: &mut Node, other: &NodeId, dialed: bool, now: Now) {
    let card = Box::new(Card { node: Some(*other), ..Card::default() });
    let remote = ([127, 0, 0, 1], 9000).into();
    let dial = dialed.then_some(DialId(1));
    let boot = Boot(Uuid::from_u128(9));
    let subscriptions = node.subscriptions().clone().into_iter().collect();
    node.handle(
        Input::LinkUp { link: LINK, dial, key: *other, remote, way: Way::Mesh, card, boot, subscriptions },
        now,
    );
    node.effects().for_each(drop);
}

fn asked(ask: Ask) -> Input {
    Input::Asked { ticket: Ticket(1), ask }
}

fn send(number: u128) -> Send {
    Send {
        id: MessageId(Uuid::from_u128(number + 1)),
        to: Some(receiver_key().peer()),
        kind: Kind::Suggestion,
        channel: Channel::of_kind(Kind::Suggestion),
        payload: Payload::from_value(&serde_json::Value::String("x".repeat(120))).unwrap_or(Payload::Empty),
        priority: Priority::Normal,
        ttl: Ttl::from_seconds(1).unwrap_or(Ttl::DEFAULT),
        reply_to: None,
        thread: None,
        traceparent: None,
        sealed_at: None,
    }
}

fn transmitted(node: &mut Node) -> Vec<Message> {
    let messages = node.effects().filter_map(|effect| match effect {
        Effect::Transmit { message, .. } => Some(Message::clone(&message)),
        _ => None,
    });
    messages.collect()
}
