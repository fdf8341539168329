//! Taking messages in: who is it, may it, is it fresh and unseen, and where does attention send it.

use super::keeping::{Sender as Bringer, Waiter};
use super::{Answer, Effect, Event, ListenFilter, Node, Proof, Record, Refusal, Stay};
use crate::envelope::{Address, Kind, Message, Priority, Received, Via};
use crate::id::{LinkId, ListenerId, MessageId, NodeId, PeerId, Ticket};
use crate::identity::trust::Trust;
use crate::inbox::{Item, Place};
use crate::ledger::FateKind;
use crate::payload::Payload;
use crate::peers::book::Proved;
use crate::peers::{Presence, Source};
use crate::seen::Sight;
use crate::throttle::Sender;
use crate::time::{Now, Timestamp};
use crate::wire::compact::Unreadable;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

/// The compact header cuts times to whole seconds: up to one second may be missing.
const CUT_TO_SECONDS: Duration = Duration::from_secs(1);

/// Most records that may wait for the disk before new ones are refused.
const UNCOMMITTED_MAX: usize = 32_768;

/// Longest status of a peer that is kept, bytes; a longer one is a message like others.
pub(super) const STATUS_MAX: usize = 8192;

/// Who brought a message.
#[derive(Debug, Clone, Copy)]
struct Origin {
    key: Option<NodeId>,
    /// The id that belongs to the key: hashed once for all messages of a frame.
    owner: Option<PeerId>,
    trust: Trust,
    via: Via,
    address: IpAddr,
    /// How far the sender's clock is believed to be ahead, in milliseconds.
    skew_ms: i64,
}

impl Node {
    pub(super) fn handle_messages(&mut self, id: LinkId, batch: Vec<Message>, unreadable: Vec<Unreadable>, now: Now) {
        if self.stay == Stay::Left {
            // The last receipts are out: its sender sends it again to the next start.
            return;
        }
        let Some(link) = self.links.get_mut(&id) else { return };
        link.heard(now);
        let (key, skew_ms) = (link.key, link.believed_skew_ms());
        let peer = key.peer();
        let origin = Origin {
            key: Some(key),
            owner: Some(peer),
            trust: self.trust_of(Some(key)),
            via: Via::Link,
            address: link_ip(self, id),
            skew_ms,
        };
        self.note_heard(peer, id, now);
        let wanted = batch.iter().filter(|message| message.kind != Kind::Heartbeat).count();
        let (mut granted, retry_after) = self.throttle.take(Sender::Key(key), wanted + unreadable.len(), now.mono);
        // Only to fetch what each message needs from memory, side by side.
        black_box(self.seen.count_known(batch.iter().filter_map(|message| Some((message.from, message.id?)))));
        let mut unreadable = unreadable.into_iter().peekable();
        for (at, message) in batch.into_iter().enumerate() {
            while let Some(lost) = unreadable.next_if(|lost| lost.after <= at) {
                self.note_unreadable(id, peer, lost.id, now);
            }
            let message_id = message.id;
            let Some(number) = self.count_received(id, message_id) else { return };
            if message.kind == Kind::Heartbeat {
                continue;
            }
            let bringer = Bringer::Link { link: id, number };
            let verdict = if granted == 0 {
                self.again_or(Refusal::RateLimited { retry_after }, &message, origin, bringer, now)
            } else {
                granted -= 1;
                self.admit(message, origin, bringer, now)
            };
            match verdict {
                Ok(Some(fate)) => self.report(id, number, message_id, fate, now),
                Ok(None) if message_id.is_some() => self.hold_report(id, number),
                Ok(None) => {}
                Err(refusal) => {
                    let fate = refusal.fate();
                    self.ledger_in.note(message_id, Some(peer), fate, now.wall);
                    self.report(id, number, message_id, fate, now);
                }
            }
        }
        for lost in unreadable {
            self.note_unreadable(id, peer, lost.id, now);
        }
    }

    /// The number of the next message of a link: those with an id are counted, as the sender does.
    fn count_received(&mut self, id: LinkId, message: Option<MessageId>) -> Option<u64> {
        let link = self.links.get_mut(&id)?;
        link.received += u64::from(message.is_some());
        Some(link.received)
    }

    fn note_unreadable(&mut self, id: LinkId, peer: PeerId, message: MessageId, now: Now) {
        let Some(number) = self.count_received(id, Some(message)) else { return };
        self.ledger_in.note(Some(message), Some(peer), FateKind::Unreadable, now.wall);
        self.report(id, number, Some(message), FateKind::Unreadable, now);
    }

    pub(super) fn handle_arrived(&mut self, ticket: Ticket, message: Message, proof: Proof, now: Now) {
        let trust = self.trust_of(proof.key);
        let owner = proof.key.map(|key| key.peer());
        let origin = Origin { key: proof.key, owner, trust, via: proof.via, address: proof.address, skew_ms: 0 };
        let (id, from) = (message.id, message.from);
        // What other origins say was counted where it came in.
        let charged = if origin.via == Via::Federation { Ok(()) } else { self.charge(from, origin, now) };
        let verdict = charged.and_then(|()| self.admit(message, origin, Bringer::Door { ticket }, now));
        match verdict {
            Ok(Some(_)) => self.answer(ticket, Answer::Accepted),
            Ok(None) => {}
            Err(refusal) => {
                self.ledger_in.note(id, Some(from), refusal.fate(), now.wall);
                self.refuse(ticket, refusal);
            }
        }
    }

    /// Takes one message from the buckets of whoever brought it. Keys and ids cost nothing to make,
    /// so who is neither linked nor known pays from the bucket of its address, too: after its own, so that
    /// one who says too much takes nothing from the others there.
    fn charge(&mut self, from: PeerId, origin: Origin, now: Now) -> Result<(), Refusal> {
        let address = Sender::Address(origin.address);
        let senders = match origin.key {
            Some(key) if origin.trust == Trust::Known || self.is_linked(key.peer()) => [None, Some(Sender::Key(key))],
            Some(key) => [Some(Sender::Stranger(key)), Some(address)],
            None => [Some(Sender::Claimed(origin.address, from)), Some(address)],
        };
        for sender in senders.into_iter().flatten() {
            let (granted, retry_after) = self.throttle.take(sender, 1, now.mono);
            if granted == 0 {
                return Err(Refusal::RateLimited { retry_after });
            }
        }
        Ok(())
    }

    fn is_linked(&self, peer: PeerId) -> bool {
        self.book.find(peer).is_some_and(|peer| peer.link.is_some())
    }

    /// Decides about one message: its fate, `None` when that waits for the disk, or the refusal.
    fn admit(
        &mut self,
        message: Message,
        origin: Origin,
        bringer: Bringer,
        now: Now,
    ) -> Result<Option<FateKind>, Refusal> {
        self.check_sender(&message, origin)?;
        if let Err(refusal) = self.check_time(&message, origin, now).and_then(|()| self.check_address(&message, origin))
        {
            return self.again_or(refusal, &message, origin, bringer, now);
        }
        let remembered = message.id.map(|id| (message.from, id, remembered_until(&message, origin)));
        if let Some((from, id, until)) = remembered {
            match self.seen.look(from, id, until) {
                Sight::First => {}
                Sight::Again => return self.again_or(Refusal::Duplicate, &message, origin, bringer, now),
                Sight::Full => return Err(Refusal::Full { what: "the memory of message ids" }),
            }
        }
        let must_survive = must_survive(&message, origin);
        let verdict = self.take_in(message, origin, bringer, now);
        if let Some((from, id, until)) = remembered {
            match verdict {
                // Not handled: it may be sent again.
                Err(_) => self.seen.forget(from, id),
                Ok(fate) if must_survive || fate.is_none() => {
                    self.persist(Record::Seen { from, id, until });
                }
                Ok(_) => {}
            }
        }
        verdict
    }

    /// Refuses a message, as a duplicate if it came before: its sender did not hear that, and sent it
    /// again. While it waits for the disk it is not safe, so both hear what becomes of it.
    fn again_or(
        &mut self,
        refusal: Refusal,
        message: &Message,
        origin: Origin,
        bringer: Bringer,
        now: Now,
    ) -> Result<Option<FateKind>, Refusal> {
        let own = origin.owner.is_none_or(|owner| owner == message.from);
        let Some(id) = message.id.filter(|id| own && self.seen.knows(message.from, *id)) else { return Err(refusal) };
        if self.keeping.also_tell(message.from, id, bringer) {
            self.ledger_in.note(message.id, Some(message.from), FateKind::Duplicate, now.wall);
            return Ok(None);
        }
        Err(Refusal::Duplicate)
    }

    /// Hands on a message that is valid, fresh and unseen.
    fn take_in(
        &mut self,
        message: Message,
        origin: Origin,
        bringer: Bringer,
        now: Now,
    ) -> Result<Option<FateKind>, Refusal> {
        self.note_sender(&message, origin, now);
        if message.kind == Kind::Heartbeat {
            return Ok(Some(FateKind::Delivered));
        }
        let received = Arc::new(Received {
            message,
            trust: origin.trust,
            key: origin.key,
            via: origin.via,
            received_at: now.wall,
        });
        let message = &received.message;
        if let Some(query) = message.reply_to.filter(|_| message.kind == Kind::Response) {
            return self.take_response(query, &received, now).map(Some);
        }
        if message.kind == Kind::Query {
            return self.take_query(&received, now).map(Some);
        }
        self.admitted += 1;
        self.emit(Event::Message(received.clone()));
        if message.kind == Kind::Status {
            self.note_status(message);
        }
        self.place(received.clone(), bringer, now)
    }

    /// `from` must be the sender's own id, and the sender must be admitted.
    fn check_sender(&self, message: &Message, origin: Origin) -> Result<(), Refusal> {
        let own = match origin.owner {
            Some(owner) => owner == message.from,
            None => !self.book.is_owned(message.from),
        };
        if !own || message.from == self.me {
            return Err(Refusal::Forged);
        }
        // Who wrote in a topic or on a channel of origins may be anywhere, and is not whoever brought it.
        let is_anywhere = matches!(origin.via, Via::Gossip | Via::Federation);
        let address = if is_anywhere { Ipv4Addr::LOCALHOST.into() } else { origin.address };
        let wanted = self.trust_wanted(address);
        let linked = origin.via == Via::Link;
        if origin.trust < wanted && !linked { Err(Refusal::NotAdmitted { wanted: wanted.name() }) } else { Ok(()) }
    }

    fn check_time(&self, message: &Message, origin: Origin, now: Now) -> Result<(), Refusal> {
        let skew = Duration::from_millis(origin.skew_ms.unsigned_abs());
        let written = if origin.skew_ms > 0 { message.timestamp - skew } else { message.timestamp + skew };
        if written + message.ttl.duration() + CUT_TO_SECONDS < now.wall {
            return Err(Refusal::Expired);
        }
        let ahead = written.since(now.wall);
        if ahead > self.config.future_max {
            let ahead_ms = u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX);
            return Err(Refusal::FromTheFuture { ahead_ms });
        }
        Ok(())
    }

    /// What is addressed to this node is always for it, whatever channel it names: who has something
    /// to say to one node need not know what it listens to, and the sender's rate bounds it. The rest
    /// is only on a subscribed channel.
    fn check_address(&self, message: &Message, origin: Origin) -> Result<(), Refusal> {
        let awaited = message.reply_to.is_some_and(|query| self.requests.expects(query, message.from));
        let wanted = match message.to {
            _ if message.kind == Kind::Response && awaited => true,
            Address::Peer(peer) if peer != self.me => return Err(Refusal::WrongDestination),
            Address::Peer(_) => true,
            // Topics that were not joined bring nothing, nor do channels of origins.
            Address::Broadcast | Address::Group if matches!(origin.via, Via::Gossip | Via::Federation) => true,
            Address::Broadcast | Address::Group => match self.subscriptions.get(&message.channel) {
                None => message.kind == Kind::Heartbeat,
                Some(quiet) => !(*quiet && message.priority == Priority::Background),
            },
        };
        if wanted { Ok(()) } else { Err(Refusal::UnknownChannel(message.channel.clone())) }
    }

    /// Remembers a sender that has no link. Who wrote in a topic may be anywhere, and was not met.
    fn note_sender(&mut self, message: &Message, origin: Origin, now: Now) {
        if matches!(origin.via, Via::Link | Via::Gossip | Via::Federation) {
            return;
        }
        let record = match origin.key {
            Some(key) => Some(self.book.proven(key, now)),
            None => self.book.claimed(message.from, Some(origin.address), now).map(|peer| (peer, Proved::default())),
        };
        let Some((peer, proved)) = record else { return };
        peer.touch(now);
        peer.sources.insert(Source::Inbound);
        peer.reach.inbound = true;
        let id = peer.id;
        self.see_off(now);
        // Each message is a proof, and this goes through all of the book.
        if proved.is_first {
            self.evict_claimants(id, proved.claimant, now);
        }
        self.set_presence(id, Presence::Online);
        self.dial_back_if_unmet(id);
    }

    fn dial_back_if_unmet(&mut self, id: PeerId) {
        if self.book.find(id).is_some_and(|peer| peer.link.is_none() && !peer.candidates.is_empty()) {
            self.dial_peer(id);
        }
    }

    fn take_response(&mut self, query: MessageId, received: &Arc<Received>, now: Now) -> Result<FateKind, Refusal> {
        if !self.requests.expects(query, received.message.from) {
            return Err(Refusal::Late);
        }
        self.admitted += 1;
        self.end_request(query, Answer::Response(received.clone()));
        self.note_in(received, FateKind::Delivered, now.wall);
        Ok(FateKind::Delivered)
    }

    /// Hands a query to whoever answers here; with nobody, says so to who asked us alone.
    fn take_query(&mut self, received: &Arc<Received>, now: Now) -> Result<FateKind, Refusal> {
        let answerer = self.listeners.iter().find(|(_, filter)| **filter == ListenFilter::Queries).map(|(id, _)| *id);
        let Some(listener) = answerer else {
            if received.message.to == Address::Peer(self.me) {
                self.answer_that_nobody_answers(&received.message, now);
            }
            return Err(Refusal::NoAnswerer);
        };
        self.admitted += 1;
        self.emit(Event::Message(received.clone()));
        self.effects.push(Effect::Deliver { listener, received: received.clone() });
        self.note_in(received, FateKind::Delivered, now.wall);
        Ok(FateKind::Delivered)
    }

    fn answer_that_nobody_answers(&mut self, query: &Message, now: Now) {
        let error = serde_json::json!({ "error": { "code": "no_answerer", "detail": "nobody answers queries here" } });
        if let Ok(payload) = Payload::from_value(&error) {
            let response = self.own_message(Kind::Response, Address::Peer(query.from), payload, now);
            let response =
                Message { reply_to: query.id, channel: query.channel.clone(), ..Arc::unwrap_or_clone(response) };
            self.enqueue(query.from, Arc::new(response), now);
        }
    }

    fn note_status(&mut self, message: &Message) {
        if message.payload.len() > STATUS_MAX {
            return;
        }
        let status = Some(message.payload.to_value()).filter(|status| !status.is_null());
        if let Some(peer) = self.book.find_mut(message.from) {
            peer.status.clone_from(&status);
            self.emit(Event::PeerStatus { peer: message.from, status });
        }
    }

    /// Sends an admitted message where attention wants it.
    fn place(&mut self, received: Arc<Received>, bringer: Bringer, now: Now) -> Result<Option<FateKind>, Refusal> {
        let handlers = self.handlers_for(&received);
        if !handlers.is_empty() {
            return Ok(Some(self.hand_to(&handlers, &received, now)));
        }
        match self.mode.place(received.message.priority) {
            Place::AtOnce => {
                let listeners: Vec<ListenerId> = self.listeners_for(&received.message);
                if listeners.is_empty() {
                    return self.store(&received, bringer);
                }
                Ok(Some(self.hand_to(&listeners, &received, now)))
            }
            Place::Inbox => self.store(&received, bringer),
            Place::Digest => {
                self.digest.count(&received, now.wall);
                self.note_in(&received, FateKind::Digested, now.wall);
                Ok(Some(FateKind::Digested))
            }
        }
    }

    fn hand_to(&mut self, listeners: &[ListenerId], received: &Arc<Received>, now: Now) -> FateKind {
        for listener in listeners {
            self.effects.push(Effect::Deliver { listener: *listener, received: received.clone() });
        }
        self.note_in(received, FateKind::Delivered, now.wall);
        FateKind::Delivered
    }

    /// The programs that deal with what is heard on its topic.
    fn handlers_for(&self, received: &Received) -> Vec<ListenerId> {
        let channel = &received.message.channel;
        let handles = |filter: &ListenFilter| matches!(filter, ListenFilter::Topic(topic) if topic == channel);
        let of_gossip = self.listeners.iter().filter(|_| received.via == Via::Gossip);
        of_gossip.filter(|(_, filter)| handles(filter)).map(|(id, _)| *id).collect()
    }

    fn listeners_for(&self, message: &Message) -> Vec<ListenerId> {
        let wants = |filter: &ListenFilter| match filter {
            ListenFilter::All => true,
            ListenFilter::Channel(channel) => *channel == message.channel,
            ListenFilter::Peer(peer) => *peer == message.from,
            ListenFilter::Topic(_) | ListenFilter::Queries => false,
        };
        self.listeners.iter().filter(|(_, filter)| wants(filter)).map(|(id, _)| *id).collect()
    }

    /// Puts a message on its way into the inbox: it is there once the disk has it.
    fn store(&mut self, received: &Arc<Received>, bringer: Bringer) -> Result<Option<FateKind>, Refusal> {
        let message = &received.message;
        let refusal = if !self.keeping.disk_ok() {
            Some(Refusal::Disk)
        } else if self.keeping.waiting() >= UNCOMMITTED_MAX {
            Some(Refusal::Full { what: "the queue for the disk" })
        } else {
            None
        };
        if let Some(refusal) = refusal {
            return Err(refusal);
        }
        let arrival = self.queue.next_arrival();
        let kept = Message { payload: message.payload.detached(), ..Message::clone(message) };
        let item = Arc::new(Item { arrival, received: received.with(kept) });
        let number = self.persist(Record::ItemAdded(item.clone()));
        self.keeping.wait(number, Waiter::Item { item, bringers: vec![bringer] });
        Ok(None)
    }

    pub(super) fn handle_overflow(&mut self, received: &Arc<Received>, now: Now) {
        // With a full disk too, the message is lost to this listener.
        if self.store(received, Bringer::Listener).is_err() {
            self.note_in(received, FateKind::Unavailable, now.wall);
            self.tell_sender(received, FateKind::Unavailable, now);
        }
    }

    pub(super) fn note_in(&mut self, received: &Received, fate: FateKind, at: Timestamp) {
        self.ledger_in.note(received.message.id, Some(received.message.from), fate, at);
    }
}

/// Whether the memory of a message's id must survive a crash even where the message itself does not
/// enter the inbox.
///
/// A linked sender sends again only what was not receipted, and a node that leaves sends its last
/// receipts. What a crash may double is thus what came over links in the last 25 ms before it, or
/// what waits for a link that broke. Urgent messages and queries must not be acted on twice, so
/// their ids go to the disk; the rest that is handed over at once is not bound to the disk's pace,
/// a twentieth of a link's: in that case alone it may be handled, or counted, a second time.
/// Whoever came by a door is not bound to receipts and could come again for ever.
fn must_survive(message: &Message, origin: Origin) -> bool {
    origin.via != Via::Link || message.kind == Kind::Query || message.priority == Priority::Critical
}

/// Until when a message's id is remembered: twice its ttl, and in any case for as long as the
/// message would be taken from a sender whose clock is behind.
fn remembered_until(message: &Message, origin: Origin) -> Timestamp {
    let behind = Duration::from_millis(origin.skew_ms.min(0).unsigned_abs()) + CUT_TO_SECONDS;
    message.expires_at() + message.ttl.duration().max(behind)
}

fn link_ip(node: &Node, link: LinkId) -> IpAddr {
    node.links.get(&link).map_or(IpAddr::from([0, 0, 0, 0]), |link| link.remote.ip())
}

impl Refusal {
    /// The fate of a message that was refused for this.
    pub fn fate(&self) -> FateKind {
        match self {
            Self::NotAdmitted { .. } => FateKind::NotAdmitted,
            Self::Forged => FateKind::Forged,
            Self::Expired => FateKind::Expired,
            Self::FromTheFuture { .. } => FateKind::FromTheFuture,
            Self::Duplicate => FateKind::Duplicate,
            Self::RateLimited { .. } => FateKind::RateLimited,
            Self::UnknownChannel(_) => FateKind::NotSubscribed,
            Self::WrongDestination => FateKind::WrongDestination,
            Self::NoAnswerer => FateKind::NoAnswerer,
            Self::Late => FateKind::Late,
            Self::Full { .. } | Self::Disk | Self::Leaving => FateKind::Unavailable,
            Self::Undelivered { fate } => *fate,
            Self::UnknownPeer(_) | Self::Unreachable | Self::TimedOut { .. } | Self::NoKey | Self::TooLarge { .. } => {
                FateKind::Failed
            }
        }
    }
}
