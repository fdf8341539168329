//! Putting messages out: to one peer or to all who listen, through bounded queues; what receipts
//! and POSTs say became of them.

use super::{Answer, Effect, Node, PostFailure, Refusal, Send, Stay, Timer};
use crate::channel::Channel;
use crate::envelope::{Address, Kind, Message, More, Priority};
use crate::id::{LinkId, MessageId, PeerId, Ticket};
use crate::ledger::FateKind;
use crate::outbound::{Outbound, Pushed, TRIES_MAX};
use crate::peers::Presence;
use crate::request::{TIMEOUT_MAX, Waiting};
use crate::time::Now;
use crate::wire::frame::Receipt;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long after a POST that did not work the message is tried again.
const POST_RETRY: Duration = Duration::from_millis(500);

/// Most fates kept that were told before their receipt: of all that is in flight, and of older
/// messages as many again.
const TOLD_MAX: usize = 16_384;

/// What a node keeps of one peer to send to it.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: Outbound,
    /// What the peer listens to, and whether without background messages; `None` for peers that
    /// cannot say, which get everything.
    pub(super) subscriptions: Option<BTreeMap<Channel, bool>>,
    /// The message that is being POSTed, and how often it was tried before.
    posting: Option<(Arc<Message>, u8)>,
    /// No POST before this, because the last one did not work.
    not_before: Duration,
    /// Fates of messages in flight that were told before their receipt, and by which link.
    told: BTreeMap<MessageId, (LinkId, FateKind)>,
    /// How many more fates this peer may tell: four for every message it was sent.
    pub(super) fates_owed: usize,
}

impl Lane {
    /// Whether a message waits, or is being POSTed.
    pub(super) fn has_to_send(&self) -> bool {
        !self.queue.is_empty() || self.posting.is_some()
    }

    /// Forgets news of what was receipted long ago, if so many more fates do not fit.
    fn make_room_to_tell(&mut self, more: usize) {
        if self.told.len() + more > TOLD_MAX {
            let unsettled: BTreeSet<MessageId> = self.queue.unsettled().collect();
            self.told.retain(|id, _| unsettled.contains(id));
        }
    }

    pub(super) fn wants(&self, message: &Message) -> bool {
        let Some(subscriptions) = &self.subscriptions else { return true };
        match subscriptions.get(&message.channel) {
            None => false,
            Some(quiet) => !(*quiet && message.priority == Priority::Background),
        }
    }
}

impl Node {
    /// The lane to a peer, made if there is none.
    pub(super) fn lane(&mut self, peer: PeerId) -> &mut Lane {
        let config = self.config.outbound;
        self.lanes.entry(peer).or_insert_with(|| Lane {
            queue: Outbound::new(config),
            subscriptions: None,
            posting: None,
            not_before: Duration::ZERO,
            told: BTreeMap::new(),
            fates_owed: 0,
        })
    }

    /// Takes up a message for one peer or for all who listen.
    pub(super) fn send(&mut self, ticket: Ticket, send: Send, now: Now) {
        let (id, to) = (send.id, send.to);
        match self.put_out(send, now) {
            Ok(peers) => self.answer(ticket, Answer::Sent { id, peers }),
            Err(refusal) => {
                // A full queue has noted it already.
                if !matches!(refusal, Refusal::Full { .. }) {
                    self.ledger_out.note(Some(id), to, FateKind::Failed, now.wall);
                }
                self.refuse(ticket, refusal);
            }
        }
    }

    /// Takes up a query; the ticket is answered by its response.
    pub(super) fn request(&mut self, ticket: Ticket, send: Send, timeout: Duration, now: Now) {
        let (id, to) = (send.id, send.to);
        let Some(peer) = to else { return self.refuse(ticket, Refusal::WrongDestination) };
        let timeout = timeout.min(TIMEOUT_MAX);
        if !self.requests.wait(id, Waiting { ticket, peer, timeout }) {
            return self.refuse(ticket, Refusal::Full { what: "the list of open queries" });
        }
        self.timers.set(Timer::Request(id), now.mono + timeout);
        if let Err(refusal) = self.put_out(send, now) {
            self.end_request(id, Answer::Refused(refusal));
        }
    }

    pub(super) fn handle_request_timeout(&mut self, query: MessageId) {
        if let Some(waiting) = self.requests.end(query) {
            self.refuse(waiting.ticket, Refusal::TimedOut { after: waiting.timeout });
        }
    }

    /// Answers whoever waits for a query, if somebody does.
    pub(super) fn end_request(&mut self, query: MessageId, answer: Answer) {
        if let Some(waiting) = self.requests.end(query) {
            self.timers.cancel(Timer::Request(query));
            self.answer(waiting.ticket, answer);
        }
    }

    fn put_out(&mut self, send: Send, now: Now) -> Result<usize, Refusal> {
        if self.stay != Stay::Here {
            return Err(Refusal::Leaving);
        }
        let to = send.to;
        let message = Arc::new(self.compose(send, now));
        match to {
            Some(peer) => {
                let presence = self.book.find(peer).ok_or(Refusal::UnknownPeer(peer))?.presence;
                if presence == Presence::Offline {
                    return Err(Refusal::Unreachable);
                }
                if matches!(presence, Presence::Unreachable | Presence::Seen) {
                    self.dial_peer(peer);
                }
                if self.enqueue(peer, message, now) {
                    Ok(1)
                } else {
                    Err(Refusal::Full { what: "the queue for the peer" })
                }
            }
            None => Ok(self.broadcast(&message, now)),
        }
    }

    fn compose(&self, send: Send, now: Now) -> Message {
        let more = More { thread: send.thread, traceparent: send.traceparent, ..More::default() };
        Message {
            id: Some(send.id),
            from: self.me,
            to: send.to.map_or(Address::Broadcast, Address::Peer),
            kind: send.kind,
            channel: send.channel,
            priority: send.priority,
            timestamp: send.sealed_at.unwrap_or(now.wall),
            ttl: send.ttl,
            reply_to: send.reply_to,
            payload: send.payload,
            more: (more != More::default()).then(|| Box::new(more)),
        }
    }

    /// Queues a message for everybody who listens; for how many.
    pub(super) fn broadcast(&mut self, message: &Arc<Message>, now: Now) -> usize {
        let listening = |(peer, lane): (&PeerId, &Lane)| {
            let present = self.book.find(*peer).is_some_and(|peer| {
                let way = peer.link.is_some() || peer.plain.is_some() || lane.subscriptions.is_some();
                way && peer.presence != Presence::Offline
            });
            (present && lane.wants(message)).then_some(*peer)
        };
        let peers: Vec<PeerId> = self.lanes.iter().filter_map(listening).collect();
        for peer in &peers {
            self.enqueue(*peer, message.clone(), now);
        }
        peers.len()
    }

    /// Queues a message for a peer and sends what can be sent; `false` when there was no room.
    pub(super) fn enqueue(&mut self, peer: PeerId, message: Arc<Message>, now: Now) -> bool {
        let Some(record) = self.book.find(peer) else {
            self.undelivered(&message, peer, FateKind::Failed, now);
            return false;
        };
        if record.link.is_none() {
            self.note_out(&message, peer, FateKind::Queued, now);
        }
        match self.lane(peer).queue.push(message.clone()) {
            Pushed::Taken(evicted) => self.all_undelivered(&evicted, peer, FateKind::Evicted, now),
            Pushed::Refused => {
                self.undelivered(&message, peer, FateKind::Evicted, now);
                return false;
            }
        }
        self.pump(peer, now);
        true
    }

    /// Sends what the way to the peer has room for.
    pub(super) fn pump(&mut self, id: PeerId, now: Now) {
        let Some(peer) = self.book.find(id) else { return };
        let (link, plain, coded) = (peer.link, peer.plain.filter(|_| peer.key.is_none()), peer.coded);
        if let Some(link) = link {
            self.pump_link(id, link, now);
        } else if let Some(address) = plain {
            self.pump_post(id, address, coded, now);
        }
        self.press(id);
    }

    /// Says to senders whether to wait for a peer: while its queue is full and it can be reached, or
    /// soon again. What waits for the others is for their queues to decide.
    fn press(&mut self, id: PeerId) {
        let expected = self.book.find(id).is_some_and(|peer| peer.presence.is_here());
        let Some(lane) = self.lanes.get_mut(&id) else { return };
        let change = if expected { lane.queue.pressure_change() } else { lane.queue.release().then_some(false) };
        if let Some(on) = change {
            self.effects.push(Effect::Pressure { peer: id, on });
        }
    }

    fn pump_post(&mut self, id: PeerId, address: SocketAddr, coded: bool, now: Now) {
        let Some(lane) = self.lanes.get_mut(&id).filter(|lane| lane.posting.is_none()) else { return };
        if now.mono < lane.not_before {
            return self.timers.set_if_idle(Timer::Redial(id), lane.not_before);
        }
        let Some((message, tries)) = lane.queue.next_for_post() else { return };
        lane.posting = Some((message.clone(), tries));
        self.note_out(&message, id, FateKind::Sent, now);
        self.effects.push(Effect::Post { peer: id, address, coded, message });
    }

    fn pump_link(&mut self, peer: PeerId, link: LinkId, now: Now) {
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        let mut sent = 0;
        while let Some(message) = lane.queue.next_for_link() {
            sent += u64::from(message.id.is_some());
            lane.fates_owed += 4;
            self.ledger_out.note(message.id, Some(peer), FateKind::Sent, now.wall);
            self.effects.push(Effect::Transmit { link, message });
        }
        if let Some(link) = self.links.get_mut(&link) {
            link.sent += sent;
        }
    }

    pub(super) fn handle_written(&mut self, link: LinkId, weight: usize, now: Now) {
        let Some(peer) = self.links.get(&link).map(|link| link.peer) else { return };
        if self.book.find(peer).and_then(|peer| peer.link) != Some(link) {
            return;
        }
        if let Some(lane) = self.lanes.get_mut(&peer) {
            lane.queue.written(weight);
            self.pump(peer, now);
        }
    }

    /// What the other side of a link says became of messages.
    pub(super) fn handle_receipt(&mut self, peer: PeerId, link: LinkId, receipt: Receipt, now: Now) {
        if self.book.find(peer).and_then(|peer| peer.link) != Some(link) {
            return;
        }
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        lane.make_room_to_tell(receipt.fates.len());
        let mut ended = Vec::new();
        for (id, fate) in receipt.fates {
            if lane.fates_owed == 0 {
                break;
            }
            lane.fates_owed -= 1;
            // What was sent again and had arrived before ended as it was told then.
            let before = lane.told.get(&id).map(|(_, before)| *before);
            let fate = before.filter(|_| fate == FateKind::Duplicate).unwrap_or(fate);
            if before.is_some() || lane.told.len() < TOLD_MAX {
                lane.told.insert(id, (link, fate));
            }
            ended.push((id, fate));
        }
        let (mut delivered, mut resent) = (Vec::new(), BTreeSet::new());
        for (id, tries) in lane.queue.receipted(receipt.received) {
            if lane.told.remove(&id).is_none_or(|(told_by, _)| told_by != link) {
                delivered.push(id);
            } else if tries > 1 {
                resent.insert(id);
            }
        }
        for (id, fate) in &mut ended {
            // What was sent again, with no fate told the first time, was delivered then.
            if *fate == FateKind::Duplicate && resent.contains(id) {
                *fate = FateKind::Delivered;
            }
        }
        if lane.queue.is_settled() {
            lane.told.clear();
        }
        for id in delivered {
            self.ledger_out.note(Some(id), Some(peer), FateKind::Delivered, now.wall);
        }
        for (id, fate) in ended {
            self.ledger_out.note(Some(id), Some(peer), fate, now.wall);
            if fate.is_refusal() && self.requests.expects(id, peer) {
                self.end_request(id, Answer::Refused(Refusal::Undelivered { fate }));
            }
        }
        self.pump(peer, now);
    }

    pub(super) fn handle_posted(
        &mut self,
        id: MessageId,
        peer: PeerId,
        coded: bool,
        outcome: Result<(), PostFailure>,
        now: Now,
    ) {
        let Some(lane) = self.lanes.get_mut(&peer) else { return };
        let Some((message, tries)) = lane.posting.take_if(|(message, _)| message.id == Some(id)) else { return };
        match outcome {
            Ok(()) => {
                if let Some(record) = self.book.find_mut(peer).filter(|record| record.plain.is_some()) {
                    record.touch(now);
                    record.coded = coded;
                    self.set_presence(peer, Presence::Online);
                }
                self.note_out(&message, peer, FateKind::Delivered, now);
                self.pump(peer, now);
            }
            Err(failure) if failure.is_passing() && tries + 1 < TRIES_MAX => {
                let evicted = lane.queue.put_back(message, tries + 1);
                lane.not_before = now.mono + POST_RETRY * (u32::from(tries) + 1);
                self.timers.set(Timer::Redial(peer), lane.not_before);
                self.all_undelivered(&evicted, peer, FateKind::Evicted, now);
            }
            Err(failure) => {
                self.undelivered(&message, peer, FateKind::Failed, now);
                if failure == PostFailure::Unreachable {
                    if let Some(record) = self.book.find_mut(peer) {
                        record.plain = None;
                    }
                    self.set_presence(peer, Presence::Unreachable);
                    self.dial_peer(peer);
                } else {
                    self.pump(peer, now);
                }
            }
        }
    }

    /// Looks for messages in the queues whose time has run out.
    pub(super) fn expire_outbound(&mut self, now: Now) {
        let mut expired = Vec::new();
        for (peer, lane) in self.lanes.iter_mut().filter(|(_, lane)| !lane.queue.is_empty()) {
            expired.extend(lane.queue.expire(now.wall).into_iter().map(|message| (*peer, message)));
        }
        for (peer, message) in expired {
            self.undelivered(&message, peer, FateKind::Expired, now);
            self.press(peer);
        }
    }

    /// Forgets lanes to peers that the book forgot.
    pub(super) fn forget_lost_lanes(&mut self, now: Now) {
        let lost = self.lanes.keys().filter(|peer| self.book.find(**peer).is_none()).copied();
        for peer in lost.collect::<Vec<_>>() {
            self.forget_lane(peer, now);
        }
    }

    pub(super) fn forget_lane(&mut self, peer: PeerId, now: Now) {
        if let Some(mut lane) = self.lanes.remove(&peer) {
            let mut lost = lane.queue.clear();
            lost.extend(lane.posting.map(|(message, _)| message));
            self.all_undelivered(&lost, peer, FateKind::Failed, now);
            self.effects.push(Effect::Pressure { peer, on: false });
        }
    }

    /// What a lost link had in flight waits again, as far as it may.
    pub(super) fn wait_again(&mut self, peer: PeerId, now: Now) {
        let Some(lost) = self.lanes.get_mut(&peer).map(|lane| lane.queue.link_lost()) else { return };
        self.all_undelivered(&lost.given_up, peer, FateKind::Failed, now);
        self.all_undelivered(&lost.evicted, peer, FateKind::Evicted, now);
    }

    fn all_undelivered(&mut self, messages: &[Arc<Message>], peer: PeerId, fate: FateKind, now: Now) {
        for message in messages {
            self.undelivered(message, peer, fate, now);
        }
    }

    /// Notes that a message will not reach a peer, and says so to whoever waits for its answer.
    fn undelivered(&mut self, message: &Message, peer: PeerId, fate: FateKind, now: Now) {
        self.note_out(message, peer, fate, now);
        if let Some(query) = message.id.filter(|id| message.kind == Kind::Query && self.requests.expects(*id, peer)) {
            self.end_request(query, Answer::Refused(Refusal::Undelivered { fate }));
        }
    }

    pub(super) fn note_out(&mut self, message: &Message, peer: PeerId, fate: FateKind, now: Now) {
        self.ledger_out.note(message.id, Some(peer), fate, now.wall);
    }
}

impl PostFailure {
    /// Whether trying again may help.
    fn is_passing(self) -> bool {
        matches!(self, Self::Unreachable | Self::Status(408 | 429 | 500..=599))
    }
}
