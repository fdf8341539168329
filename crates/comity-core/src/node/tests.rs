//! Two nodes' rules wired together by hand: what becomes of a message, cause by cause.

mod announced;
mod causes;
mod claims;
mod flapping;
mod floods;
mod posts;
mod presence;
mod pressure;
mod relayed;
mod resent;
mod restarts;

use super::*;
use crate::card::Card;
use crate::envelope::{Address, Kind, Message, Priority, Received, Ttl, Via};
use crate::ledger::FateKind;
use crate::payload::Payload;
use crate::peers::Presence;
use crate::throttle::Rate;
use crate::wire::compact::Unreadable;
use crate::wire::frame::{Frame, Receipt};
use std::sync::Arc;
use uuid::Uuid;

const LINK: LinkId = LinkId(1);
const TICKET: Ticket = Ticket(7);

/// Two linked nodes and one clock.
struct Pair {
    nodes: [Node; 2],
    now: Now,
    heard: Vec<(usize, Answer)>,
    delivered: Vec<(usize, Arc<Received>)>,
    events: Vec<(usize, Event)>,
    /// What node 1 keeps on its disk besides items.
    settings: BTreeMap<&'static str, Value>,
    seen: Vec<(PeerId, MessageId, Timestamp)>,
    disk: bool,
    /// What the receiver's decoder cannot read.
    spoilt: Option<MessageId>,
}

impl Pair {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl Fn(&mut Config)) -> Self {
        let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(1_700_000_000_000) };
        let node = |n: u8| {
            let mut config =
                Config::new(NodeId::from_bytes([n; 32]), format!("node-{n}"), Boot(Uuid::from_u128(n.into())), 1);
            change(&mut config);
            Node::new(config, Restored::default(), now)
        };
        let nodes = [node(1), node(2)];
        let mut pair = Self {
            nodes,
            now,
            heard: Vec::new(),
            delivered: Vec::new(),
            events: Vec::new(),
            settings: BTreeMap::new(),
            seen: Vec::new(),
            disk: true,
            spoilt: None,
        };
        pair.link();
        pair
    }

    fn link(&mut self) {
        // Node 0 is the one that has something to send when its link comes up.
        for near in [1, 0] {
            let up = self.link_up(near);
            self.tell(near, up);
        }
    }

    /// What a node is told when its link to the other is up.
    fn link_up(&self, near: usize) -> Input {
        let other = &self.nodes[1 - near];
        let key = other.config.node;
        let remote = SocketAddr::from(([127, 0, 0, 1], 9000));
        let card = Box::new(Card { node: Some(key), name: other.config.name.clone(), ..Card::default() });
        let subscriptions = other.subscriptions.clone().into_iter().collect();
        let dial = (near == 0).then_some(DialId(1));
        Input::LinkUp { link: LINK, dial, key, remote, way: Way::Mesh, card, boot: other.config.boot, subscriptions }
    }

    fn tell(&mut self, to: usize, input: Input) {
        self.nodes[to].handle(input, self.now);
        let effects: Vec<Effect> = self.nodes[to].effects().collect();
        for effect in effects {
            self.perform(to, effect);
        }
    }

    fn perform(&mut self, by: usize, effect: Effect) {
        let other = 1 - by;
        match effect {
            Effect::Transmit { message, .. } => {
                let weight = message.weight();
                let spoilt = message.id.filter(|id| self.spoilt == Some(*id));
                let unreadable = spoilt.map(|id| Unreadable { after: 0, id }).into_iter().collect();
                let batch = if spoilt.is_some() { Vec::new() } else { vec![Message::clone(&message)] };
                self.tell(other, Input::Messages { link: LINK, batch, unreadable });
                self.tell(by, Input::Written { link: LINK, messages: 1, weight });
            }
            Effect::Control { frame, .. } => self.tell(other, Input::Frame { link: LINK, frame }),
            Effect::Persist { number, record } if self.disk => {
                match record {
                    Record::Setting { name, value } if by == 1 => drop(self.settings.insert(name, value)),
                    Record::Seen { from, id, until } if by == 1 => self.seen.push((from, id, until)),
                    _ => {}
                }
                self.tell(by, Input::Committed { upto: number });
            }
            Effect::Persist { number, .. } => self.tell(by, Input::NotCommitted { from: number }),
            Effect::Close { goodbye: true, .. } => {
                self.tell(other, Input::LinkDown { link: LINK, loss: LinkLoss::Goodbye });
            }
            Effect::Answer { answer, .. } => self.heard.push((by, answer)),
            Effect::Deliver { received, .. } => self.delivered.push((by, received)),
            Effect::Emit(event) => self.events.push((by, event)),
            _ => {}
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while let Some(at) = self.nodes.iter().filter_map(Node::wake_at).min().filter(|at| *at <= end) {
            self.now.wall = self.now.wall + at.saturating_sub(self.now.mono);
            self.now.mono = self.now.mono.max(at);
            self.tell(0, Input::Wake);
            self.tell(1, Input::Wake);
        }
        self.now.wall = self.now.wall + end.saturating_sub(self.now.mono);
        self.now.mono = end;
    }

    fn ask(&mut self, whom: usize, ask: Ask) -> Answer {
        self.heard.clear();
        self.tell(whom, Input::Asked { ticket: TICKET, ask });
        let answer = self.heard.iter().find(|(by, _)| *by == whom).map(|(_, answer)| answer.clone());
        answer.expect("every question is answered at once here")
    }

    /// Node 0 sends to node 1, and what both know of it after the receipts.
    fn fates(&mut self, send: Send) -> (Vec<FateKind>, Vec<FateKind>) {
        let id = send.id;
        self.ask(0, Ask::Send(send));
        self.pass(Duration::from_millis(100));
        (self.why(0, id), self.why(1, id))
    }

    fn why(&mut self, whom: usize, id: MessageId) -> Vec<FateKind> {
        match self.ask(whom, Ask::Why(id)) {
            Answer::Fates(fates) => fates.into_iter().map(|fate| fate.kind).collect(),
            other => panic!("not fates: {other:?}"),
        }
    }

    fn peer(&self, whom: usize) -> PeerView {
        self.nodes[whom].peers().into_iter().next().expect("one peer")
    }
}

fn send(number: u128, priority: Priority) -> Send {
    Send {
        id: MessageId(Uuid::from_u128(number)),
        to: Some(NodeId::from_bytes([2; 32]).peer()),
        kind: Kind::Suggestion,
        channel: Channel::of_kind(Kind::Suggestion),
        payload: Payload::from_value(&serde_json::json!("try this")).expect("a payload"),
        priority,
        ttl: Ttl::DEFAULT,
        reply_to: None,
        thread: None,
        traceparent: None,
        sealed_at: None,
    }
}

/// What mDNS says of a peer on this machine.
fn sighting(peer: PeerId, key: Option<NodeId>, name: &str) -> Sighting {
    let address = SocketAddr::from(([127, 0, 0, 1], 9000));
    Sighting {
        source: Source::Mdns,
        told_by: Some(address.ip()),
        peer,
        key,
        name: name.to_owned(),
        version: String::new(),
        capabilities: Vec::new(),
        candidates: vec![Candidate { address, source: Source::Mdns }],
        metadata: BTreeMap::new(),
        rendezvous: None,
    }
}

/// A message to all from somebody who has no node.
fn bug(now: Now) -> Message {
    Message {
        id: Some(MessageId(Uuid::from_u128(9))),
        from: PeerId(Uuid::from_u128(5)),
        to: Address::Broadcast,
        kind: Kind::Bug,
        channel: Channel::of_kind(Kind::Bug),
        priority: Priority::Normal,
        timestamp: now.wall,
        ttl: Ttl::DEFAULT,
        reply_to: None,
        payload: Payload::Empty,
        more: None,
    }
}

#[test]
fn a_normal_message_waits_in_the_inbox_until_it_is_read() {
    let mut pair = Pair::new();
    let (sender, receiver) = pair.fates(send(1, Priority::Normal));
    assert_eq!(sender, [FateKind::Sent, FateKind::Inbox]);
    assert_eq!(receiver, [FateKind::Inbox]);
    let Answer::Items(items) = pair.ask(1, Ask::Take { limit: 1 }) else { panic!("not items") };
    assert_eq!(items.len(), 1);
    pair.pass(Duration::from_millis(100));
    assert_eq!(pair.why(0, send(1, Priority::Normal).id), [FateKind::Sent, FateKind::Inbox, FateKind::Read]);
}

#[test]
fn a_critical_message_goes_to_a_listener_at_once() {
    let mut pair = Pair::new();
    pair.ask(1, Ask::Listen { listener: ListenerId(1), filter: ListenFilter::All });
    let (sender, receiver) = pair.fates(send(1, Priority::Critical));
    assert_eq!(
        (sender.as_slice(), receiver.as_slice()),
        (&[FateKind::Sent, FateKind::Delivered][..], &[FateKind::Delivered][..])
    );
    assert_eq!(pair.delivered.len(), 1);
}

#[test]
fn a_background_message_is_counted_in_the_digest() {
    let mut pair = Pair::new();
    let (sender, receiver) = pair.fates(send(1, Priority::Background));
    assert_eq!(
        (sender.as_slice(), receiver.as_slice()),
        (&[FateKind::Sent, FateKind::Digested][..], &[FateKind::Digested][..])
    );
    let Answer::Digest(digest) = pair.ask(1, Ask::Digest { take: true }) else { panic!("not a digest") };
    assert_eq!(
        digest.to_string(),
        "Since last check: 0 status updates, 1 suggestion, 0 bugs, 0 errors, 0 others (1 total)"
    );
}

#[test]
fn a_digest_is_taken_when_the_disk_has_it_and_else_it_stays() {
    let mut pair = Pair::new();
    pair.fates(send(1, Priority::Background));
    pair.disk = false;
    assert!(matches!(pair.ask(1, Ask::Digest { take: true }), Answer::Refused(Refusal::Disk)));
    pair.disk = true;
    pair.fates(send(2, Priority::Background));
    let Answer::Digest(digest) = pair.ask(1, Ask::Digest { take: true }) else { panic!("not a digest") };
    assert_eq!((digest.total(), digest.samples.len()), (2, 2));
    pair.fates(send(3, Priority::Background));
    pair.nodes[1].handle(Input::Asked { ticket: TICKET, ask: Ask::Digest { take: true } }, pair.now);
    assert!(
        !pair.nodes[1].effects().any(|effect| matches!(effect, Effect::Answer { .. })),
        "the disk does not have it yet"
    );
}

#[test]
fn a_status_that_no_peer_would_show_is_refused() {
    let mut pair = Pair::new();
    let refused = pair.ask(1, Ask::SetStatus(Some(serde_json::json!("x".repeat(9000)))));
    assert!(matches!(refused, Answer::Refused(Refusal::TooLarge { max: 8192 })), "{refused:?}");
    assert!(pair.nodes[1].view(pair.now).status.is_none());
    pair.ask(1, Ask::SetStatus(Some(serde_json::json!("x".repeat(8000)))));
    assert!(pair.peer(0).status.is_some());
}

#[test]
fn an_address_that_is_named_again_uses_up_nothing_and_is_dialled_only_without_a_link() {
    let mut pair = Pair::new();
    let candidates = vec![Candidate { address: SocketAddr::from(([127, 0, 0, 1], 9000)), source: Source::Manual }];
    let name = |pair: &mut Pair| {
        let ask = Ask::AddPeer(candidates.clone());
        pair.nodes[0].handle(Input::Asked { ticket: TICKET, ask }, pair.now);
        let effects: Vec<Effect> = pair.nodes[0].effects().collect();
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Answer { answer: Answer::Done, .. })));
        effects.iter().filter(|effect| matches!(effect, Effect::Dial { .. })).count()
    };
    for whom in [0, 1] {
        pair.tell(whom, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    }
    assert_eq!(name(&mut pair), 1);
    pair.link();
    for _ in 0..300 {
        assert_eq!(name(&mut pair), 0);
    }
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    assert_eq!(name(&mut pair), 1);
}

#[test]
fn a_message_sent_twice_is_refused_the_second_time() {
    let mut pair = Pair::new();
    pair.fates(send(1, Priority::Normal));
    let (sender, receiver) = pair.fates(send(1, Priority::Normal));
    assert_eq!(sender.last(), Some(&FateKind::Duplicate));
    assert_eq!(receiver.last(), Some(&FateKind::Duplicate));
}

#[test]
fn a_message_that_the_decoder_drops_is_told_and_shifts_no_receipt() {
    let mut pair = Pair::new();
    pair.spoilt = Some(send(1, Priority::Normal).id);
    let (sender, receiver) = pair.fates(send(1, Priority::Normal));
    assert_eq!((sender, receiver), (vec![FateKind::Sent, FateKind::Unreadable], vec![FateKind::Unreadable]));
    let (sender, _) = pair.fates(send(2, Priority::Background));
    assert_eq!(sender, [FateKind::Sent, FateKind::Digested]);
}

#[test]
fn too_many_messages_are_refused_and_the_sender_is_told() {
    let mut pair = Pair::with(|config| config.throttle.sender = Rate { per_second: 1, burst: 1 });
    pair.fates(send(1, Priority::Normal));
    let (sender, _) = pair.fates(send(2, Priority::Normal));
    assert_eq!(sender, [FateKind::Sent, FateKind::RateLimited]);
}

#[test]
fn a_full_inbox_pushes_out_the_least_urgent_and_tells_its_sender() {
    let mut pair = Pair::with(|config| config.inbox.items_max = 1);
    pair.ask(1, Ask::SetMode(Mode::Realtime));
    pair.fates(send(1, Priority::Background));
    pair.fates(send(2, Priority::Critical));
    assert_eq!(pair.why(0, send(1, Priority::Normal).id), [FateKind::Sent, FateKind::Inbox, FateKind::Evicted]);
    let (sender, _) = pair.fates(send(3, Priority::Normal));
    assert_eq!(sender, [FateKind::Sent, FateKind::Evicted]);
    assert_eq!(pair.why(1, send(2, Priority::Normal).id), [FateKind::Inbox]);
}

#[test]
fn a_disk_that_refuses_makes_the_message_unavailable_and_a_later_try_works() {
    let mut pair = Pair::new();
    pair.disk = false;
    let (sender, receiver) = pair.fates(send(1, Priority::Normal));
    assert_eq!((sender.last(), receiver.last()), (Some(&FateKind::Unavailable), Some(&FateKind::Unavailable)));
    pair.disk = true;
    pair.ask(1, Ask::SetMode(Mode::Focused));
    let (sender, _) = pair.fates(send(1, Priority::Normal));
    assert_eq!(sender.last(), Some(&FateKind::Inbox));
}

#[test]
fn a_forged_sender_is_refused() {
    let mut pair = Pair::new();
    let forged = bug(pair.now);
    pair.tell(1, Input::Messages { link: LINK, batch: vec![forged.clone()], unreadable: Vec::new() });
    assert_eq!(pair.why(1, MessageId(Uuid::from_u128(9))), [FateKind::Forged]);
    // Nobody may use the id of a peer that proved its key, by whatever door.
    let stolen = Message { from: NodeId::from_bytes([1; 32]).peer(), ..forged };
    let proof = Proof { via: Via::Post, address: [127, 0, 0, 1].into(), key: None };
    pair.heard.clear();
    pair.tell(1, Input::Arrived { ticket: TICKET, message: Box::new(stolen), proof });
    assert!(matches!(pair.heard[..], [(1, Answer::Refused(Refusal::Forged))]), "{:?}", pair.heard);
}

#[test]
fn expired_and_future_messages_are_refused() {
    let mut pair = Pair::new();
    let now = pair.now.wall;
    let mut late = send(1, Priority::Normal);
    late.sealed_at = Some(now - Duration::from_secs(120));
    assert_eq!(pair.fates(late).0, [FateKind::Sent, FateKind::Expired]);
    let mut early = send(2, Priority::Normal);
    early.sealed_at = Some(now + Duration::from_secs(300));
    assert_eq!(pair.fates(early).0, [FateKind::Sent, FateKind::FromTheFuture]);
}

#[test]
fn how_far_ahead_a_message_may_be_is_what_was_configured() {
    let mut pair = Pair::with(|config| config.future_max = Duration::from_secs(600));
    let mut early = send(1, Priority::Normal);
    early.sealed_at = Some(pair.now.wall + Duration::from_secs(300));
    assert_eq!(pair.fates(early).0, [FateKind::Sent, FateKind::Inbox]);
}

#[test]
fn a_wrong_clock_shows_as_wrong_as_it_is_and_corrects_by_half_a_minute_at_most() {
    let mut pair = Pair::new();
    let ts = pair.now.wall.millis() + 50_000;
    pair.tell(1, Input::Frame { link: LINK, frame: Frame::Pong { nonce: 0, ts } });
    assert_eq!(pair.nodes[1].view(pair.now).skew_ms, 50_000);
    for (ahead, fate) in [(89, FateKind::Inbox), (91, FateKind::FromTheFuture)] {
        let mut early = send(ahead, Priority::Normal);
        early.sealed_at = Some(pair.now.wall + Duration::from_secs(ahead as u64));
        assert_eq!(pair.fates(early).0, [FateKind::Sent, fate]);
    }
}

#[test]
fn the_clocks_are_compared_as_soon_as_a_link_is_up() {
    let mut pair = Pair::new();
    pair.nodes[0].handle(Input::LinkDown { link: LINK, loss: LinkLoss::Broken }, pair.now);
    pair.nodes[0].effects().for_each(drop);
    let up = pair.link_up(0);
    pair.nodes[0].handle(up, pair.now);
    assert!(pair.nodes[0].effects().any(|effect| matches!(effect, Effect::Control { frame: Frame::Ping { .. }, .. })));
}

#[test]
fn a_query_that_nobody_answers_gets_an_error_at_once() {
    let mut pair = Pair::new();
    let query = Send { kind: Kind::Query, ..send(1, Priority::Normal) };
    match pair.ask(0, Ask::Request { send: query, timeout: Duration::from_secs(30) }) {
        Answer::Response(received) => {
            assert_eq!(received.message.payload.to_value()["error"]["code"], "no_answerer");
        }
        other => panic!("not a response: {other:?}"),
    }
}

#[test]
fn a_query_is_answered_and_a_second_answer_is_late() {
    let mut pair = Pair::new();
    pair.ask(1, Ask::Listen { listener: ListenerId(1), filter: ListenFilter::Queries });
    let query = Send { kind: Kind::Query, ..send(1, Priority::Normal) };
    let (id, asker) = (query.id, pair.nodes[0].me());
    pair.tell(0, Input::Asked { ticket: TICKET, ask: Ask::Request { send: query, timeout: Duration::from_secs(30) } });
    let payload = Payload::from_value(&serde_json::json!(42)).expect("a payload");
    let respond = Ask::Respond { query: id, to: asker, payload };
    pair.heard.clear();
    pair.tell(1, Input::Asked { ticket: Ticket(8), ask: respond.clone() });
    assert!(pair.heard.iter().any(|(by, answer)| *by == 0 && matches!(answer, Answer::Response(_))));
    pair.ask(1, respond);
    assert_eq!(pair.nodes[0].view(pair.now).fates_in.get(&FateKind::Late), Some(&1));
}

#[test]
fn a_query_without_an_answer_times_out() {
    let mut pair = Pair::new();
    pair.ask(1, Ask::Listen { listener: ListenerId(1), filter: ListenFilter::Queries });
    let query = Send { kind: Kind::Query, ..send(1, Priority::Normal) };
    pair.tell(0, Input::Asked { ticket: TICKET, ask: Ask::Request { send: query, timeout: Duration::from_secs(5) } });
    pair.heard.clear();
    pair.pass(Duration::from_secs(6));
    assert!(matches!(pair.heard[..], [(0, Answer::Refused(Refusal::TimedOut { .. }))]), "{:?}", pair.heard);
}

#[test]
fn a_channel_nobody_subscribed_gets_nothing() {
    let mut pair = Pair::new();
    let message = Send { to: None, channel: Channel::new("custom:x").expect("a name"), ..send(1, Priority::Normal) };
    assert!(matches!(pair.ask(0, Ask::Send(message.clone())), Answer::Sent { peers: 0, .. }));
    pair.ask(1, Ask::Subscribe { channel: message.channel.clone(), quiet: false });
    let message = Send { id: MessageId(Uuid::from_u128(2)), ..message };
    assert!(matches!(pair.ask(0, Ask::Send(message)), Answer::Sent { peers: 1, .. }));
}

#[test]
fn what_is_for_a_node_alone_passes_on_any_channel() {
    let mut pair = Pair::new();
    let message = Send { channel: Channel::new("custom:x").expect("a name"), ..send(1, Priority::Normal) };
    assert_eq!(pair.fates(message).0, [FateKind::Sent, FateKind::Inbox]);
}

#[test]
fn a_silent_link_is_down_after_three_pings_and_not_before() {
    let mut pair = Pair::new();
    pair.nodes[0].handle(Input::Wake, pair.now);
    let step = Duration::from_millis(500);
    let mut presence = Vec::new();
    for _ in 0..9 {
        pair.now.mono += step;
        pair.now.wall = pair.now.wall + step;
        pair.nodes[0].handle(Input::Wake, pair.now);
        pair.nodes[0].effects().for_each(drop);
        presence.push(pair.peer(0).presence);
    }
    assert_eq!(presence[6], Presence::Online, "3.5 s of silence are not enough");
    assert_eq!(presence[7], Presence::Unreachable, "4 s of silence are");
}

#[test]
fn who_closes_a_link_at_once_is_dialled_again_only_after_a_pause() {
    let mut pair = Pair::new();
    let (key, address) = (pair.nodes[1].config.node, SocketAddr::from(([127, 0, 0, 1], 9000)));
    let candidate = Candidate { address, source: Source::Manual };
    pair.nodes[0].book.proven(key, pair.now).0.add_candidates([candidate]);
    pair.nodes[0].handle(Input::LinkDown { link: LINK, loss: LinkLoss::Broken }, pair.now);
    assert!(!pair.nodes[0].effects().any(|effect| matches!(effect, Effect::Dial { .. })));
    pair.now.mono += Duration::from_secs(1);
    pair.nodes[0].handle(Input::Wake, pair.now);
    assert!(pair.nodes[0].effects().any(|effect| matches!(effect, Effect::Dial { .. })));
}

#[test]
fn a_goodbye_makes_the_peer_offline() {
    let mut pair = Pair::new();
    pair.ask(0, Ask::Leave { reason: "done".to_owned() });
    assert_eq!(pair.peer(1).presence, Presence::Offline);
}

#[test]
fn a_broken_link_is_dialled_again_but_not_by_a_node_that_left() {
    for (leaves, dials) in [(false, true), (true, false)] {
        let mut pair = Pair::new();
        let key = pair.nodes[1].config.node;
        pair.tell(0, Input::Sighted(sighting(key.peer(), Some(key), "node-2")));
        if leaves {
            pair.ask(0, Ask::Leave { reason: "done".to_owned() });
        }
        pair.pass(Duration::from_secs(3));
        pair.nodes[0].effects().for_each(drop);
        pair.nodes[0].handle(Input::LinkDown { link: LINK, loss: LinkLoss::Broken }, pair.now);
        let dialled = pair.nodes[0].effects().any(|effect| matches!(effect, Effect::Dial { .. }));
        assert_eq!(dialled, dials, "leaves: {leaves}");
    }
}

#[test]
fn an_inbox_survives_a_restart_and_so_do_the_ids() {
    let mut pair = Pair::new();
    pair.fates(send(1, Priority::Normal));
    let Answer::Items(items) = pair.ask(1, Ask::Peek { after: 0, limit: 10 }) else { panic!("not items") };
    let restored =
        Restored { items: items.iter().map(|item| (**item).clone()).collect(), last_arrival: 1, ..Restored::default() };
    pair.nodes[1] = Node::new(pair.nodes[1].config.clone(), restored, pair.now);
    pair.tell(0, Input::LinkDown { link: LINK, loss: LinkLoss::Broken });
    pair.link();
    let (sender, _) = pair.fates(send(1, Priority::Normal));
    assert_eq!(sender.last(), Some(&FateKind::Duplicate));
    let Answer::Items(items) = pair.ask(1, Ask::Take { limit: 10 }) else { panic!("not items") };
    assert_eq!(items.len(), 1);
}
