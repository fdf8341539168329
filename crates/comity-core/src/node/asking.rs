//! What this process and the control door ask for.

use super::arriving::STATUS_MAX;
use super::keeping::Waiter;
use super::sending::Lane;
use super::{Answer, Ask, Effect, Event, Node, Record, Refusal, Send, Stay, Timer};
use crate::channel::Channel;
use crate::envelope::{Address, Kind, Message, Priority, Ttl};
use crate::id::{MessageId, PeerId, Ticket};
use crate::inbox::{Digest, Item};
use crate::limits::{KNOWN_MAX, SUBSCRIPTIONS_MAX};
use crate::payload::Payload;
use crate::time::Now;
use crate::wire::frame::Frame;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How long a leaving node waits for its queues to drain.
const DRAIN_MAX: Duration = Duration::from_secs(2);

impl Node {
    pub(super) fn handle_ask(&mut self, ticket: Ticket, ask: Ask, now: Now) {
        match ask {
            Ask::Send(send) => self.send(ticket, send, now),
            Ask::Request { send, timeout } => self.request(ticket, send, timeout, now),
            Ask::Respond { query, to, payload } => self.respond(ticket, query, to, payload, now),
            Ask::Listen { listener, filter } => {
                self.listeners.insert(listener, filter);
                self.answer(ticket, Answer::Done);
            }
            Ask::Unlisten(listener) => {
                self.listeners.remove(&listener);
                self.answer(ticket, Answer::Done);
            }
            Ask::Subscribe { channel, quiet } => self.subscribe(ticket, channel, quiet),
            Ask::Unsubscribe(channel) => self.unsubscribe(ticket, channel),
            Ask::SetMode(mode) => {
                self.mode = mode;
                let number = self.keep_settings();
                self.done_when_safe(ticket, number);
            }
            Ask::Keep { name, value } => {
                let number = self.persist(Record::Setting { name, value });
                self.done_when_safe(ticket, number);
            }
            Ask::SetStatus(status) => self.set_status(ticket, status, now),
            Ask::Take { limit } => self.take_items(ticket, limit),
            Ask::Peek { after, limit } => {
                let items = self.queue.after(after).take(limit).cloned().collect();
                self.answer(ticket, Answer::Items(items));
            }
            Ask::Ack(arrivals) => self.acknowledge(ticket, arrivals),
            Ask::Digest { take } => self.give_digest(ticket, take, now),
            Ask::Why(id) => {
                let mut fates = self.ledger_out.fates(id);
                fates.extend(self.ledger_in.fates(id));
                fates.sort_by_key(|fate| fate.at);
                self.answer(ticket, Answer::Fates(fates));
            }
            Ask::AddPeer(candidates) => {
                let answer = if self.add_named(candidates) {
                    Answer::Done
                } else {
                    Answer::Refused(Refusal::Full { what: "the list of named peers" })
                };
                self.answer(ticket, answer);
            }
            Ask::Know { key, known } => {
                if known && self.book.owners.known().len() >= KNOWN_MAX && !self.book.owners.known().contains(&key) {
                    return self.refuse(ticket, Refusal::Full { what: "the list of known nodes" });
                }
                self.set_known(key, known, now);
                let number = self.keep_settings();
                self.done_when_safe(ticket, number);
            }
            Ask::Leave { reason } => self.leave(ticket, &reason, now),
        }
    }

    fn respond(&mut self, ticket: Ticket, query: MessageId, to: PeerId, payload: Payload, now: Now) {
        let send = Send {
            id: self.numbers.message(),
            to: Some(to),
            kind: Kind::Response,
            channel: Channel::of_kind(Kind::Response),
            payload,
            priority: Priority::Normal,
            ttl: Ttl::DEFAULT,
            reply_to: Some(query),
            thread: None,
            traceparent: None,
            sealed_at: None,
        };
        self.send(ticket, send, now);
    }

    fn subscribe(&mut self, ticket: Ticket, channel: Channel, quiet: bool) {
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX && !self.subscriptions.contains_key(&channel) {
            return self.refuse(ticket, Refusal::Full { what: "the list of subscriptions" });
        }
        self.subscriptions.insert(channel.clone(), quiet);
        self.tell_links(&Frame::Subscribe { channel, quiet });
        self.effects.push(Effect::Announce);
        let number = self.keep_settings();
        self.done_when_safe(ticket, number);
    }

    fn unsubscribe(&mut self, ticket: Ticket, channel: Channel) {
        if self.subscriptions.remove(&channel).is_none() {
            return self.refuse(ticket, Refusal::UnknownChannel(channel));
        }
        self.tell_links(&Frame::Unsubscribe(channel));
        self.effects.push(Effect::Announce);
        let number = self.keep_settings();
        self.done_when_safe(ticket, number);
    }

    fn set_status(&mut self, ticket: Ticket, status: Option<Value>, now: Now) {
        let Ok(payload) = Payload::from_value(&status.clone().unwrap_or(Value::Null)) else {
            return self.refuse(ticket, Refusal::TooLarge { max: crate::limits::PAYLOAD_JSON_MAX });
        };
        if payload.len() > STATUS_MAX {
            return self.refuse(ticket, Refusal::TooLarge { max: STATUS_MAX });
        }
        self.status = status.clone().map(|status| (status, now.wall));
        let message = self.own_message(Kind::Status, Address::Broadcast, payload, now);
        self.broadcast(&message, now);
        self.emit(Event::OwnStatus(status));
        self.answer(ticket, Answer::Done);
    }

    /// This node's status as a message for a peer that has just come.
    pub(super) fn status_message(&mut self, now: Now) -> Option<Arc<Message>> {
        let (status, _) = self.status.clone()?;
        let payload = Payload::from_value(&status).ok()?;
        Some(self.own_message(Kind::Status, Address::Broadcast, payload, now))
    }

    fn take_items(&mut self, ticket: Ticket, limit: usize) {
        let arrivals: Vec<u64> = self.queue.in_order().take(limit).map(|item| item.arrival).collect();
        let (items, numbers) = self.remove_items(arrivals);
        match numbers {
            Some((first, last)) => self.keeping.wait(last, Waiter::Taken { ticket, first, items }),
            None => self.answer(ticket, Answer::Items(items)),
        }
    }

    fn acknowledge(&mut self, ticket: Ticket, arrivals: Vec<u64>) {
        let (items, numbers) = self.remove_items(arrivals);
        match numbers {
            Some((first, last)) => self.keeping.wait(last, Waiter::Acknowledged { ticket, first, items }),
            None => self.answer(ticket, Answer::Done),
        }
    }

    /// Takes items out, each by a record of its own; the first and the last of their numbers.
    fn remove_items(&mut self, arrivals: Vec<u64>) -> (Vec<Arc<Item>>, Option<(u64, u64)>) {
        let items: Vec<_> = arrivals.into_iter().filter_map(|arrival| self.queue.remove(arrival)).collect();
        let mut numbers = None;
        for item in &items {
            let number = self.persist(Record::ItemRemoved { arrival: item.arrival });
            numbers = Some((numbers.map_or(number, |(first, _)| first), number));
        }
        (items, numbers)
    }

    fn give_digest(&mut self, ticket: Ticket, take: bool, now: Now) {
        if !take {
            return self.answer(ticket, Answer::Digest(Digest { until: Some(now.wall), ..self.digest.clone() }));
        }
        let taken = std::mem::replace(&mut self.digest, Digest::begin(now.wall));
        let digest = Box::new(Digest { until: Some(now.wall), ..taken });
        let number = self.persist(Record::Digest(Box::new(self.digest.clone())));
        self.keeping.wait(number, Waiter::Digest { ticket, digest });
    }

    fn leave(&mut self, ticket: Ticket, reason: &str, now: Now) {
        if self.stay != Stay::Here {
            return self.refuse(ticket, Refusal::Leaving);
        }
        let news = serde_json::json!({ "event": "leave", "reason": reason });
        if let Ok(payload) = Payload::from_value(&news) {
            let leave = self.own_message(Kind::Extended, Address::Broadcast, payload, now);
            let channel = Channel::of_kind(Kind::Heartbeat);
            let leave = Arc::new(Message { channel, ..Arc::unwrap_or_clone(leave) });
            let plain: Vec<PeerId> = self.book.iter().filter(|peer| peer.plain.is_some()).map(|peer| peer.id).collect();
            for peer in plain {
                self.enqueue(peer, leave.clone(), now);
            }
        }
        self.persist(Record::Digest(Box::new(self.digest.clone())));
        self.keep_settings();
        self.keep_owners_at_last(now);
        self.stay = Stay::Leaving(ticket);
        self.timers.set(Timer::Leave, now.mono + DRAIN_MAX);
    }

    /// Leaves as soon as nothing waits for a peer that can be reached, and the disk has everything.
    pub(super) fn leave_when_drained(&mut self) {
        if !matches!(self.stay, Stay::Leaving(_)) || self.keeping.waiting() > 0 {
            return;
        }
        let waits = |peer: &crate::peers::book::Peer| {
            let reachable = peer.link.is_some() || peer.plain.is_some();
            reachable && self.lanes.get(&peer.id).is_some_and(Lane::has_to_send)
        };
        if !self.book.iter().any(waits) {
            self.finish_leaving();
        }
    }

    pub(super) fn finish_leaving(&mut self) {
        let Stay::Leaving(ticket) = self.stay else { return };
        self.stay = Stay::Left;
        self.timers.cancel(Timer::Leave);
        for link in self.links.keys().copied().collect::<Vec<_>>() {
            // Nothing is sent again, after this node is started again, that was handled now.
            self.send_receipts(link);
            self.effects.push(Effect::Close { link, goodbye: true });
        }
        self.answer(ticket, Answer::Done);
    }

    fn tell_links(&mut self, frame: &Frame) {
        for link in self.links.keys() {
            self.effects.push(Effect::Control { link: *link, frame: frame.clone() });
        }
    }
}
