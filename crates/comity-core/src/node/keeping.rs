//! What must survive a crash: records on their way to the disk, and who waits for them.

use super::{Answer, Effect, Node, Record, Refusal, Restored};
use crate::channel::Channel;
use crate::envelope::Received;
use crate::id::{LinkId, MessageId, PeerId, Ticket};
use crate::inbox::queue::Queue;
use crate::inbox::{Digest, Item, Mode};
use crate::ledger::FateKind;
use crate::time::{Now, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::sync::Arc;

/// Most who are told of one message that waits for the disk; whoever brings it once more hears that
/// it is a duplicate.
const BRINGERS_MAX: usize = 8;

/// Records on their way to the disk.
#[derive(Debug)]
pub(super) struct Keeping {
    last: u64,
    waiters: BTreeMap<u64, Waiter>,
    /// Which of them is that of a message that enters the inbox.
    entering: BTreeMap<(PeerId, MessageId), u64>,
    /// Removals that the disk did not take.
    redo: Vec<u64>,
    disk_ok: bool,
}

impl Default for Keeping {
    fn default() -> Self {
        Self { last: 0, waiters: BTreeMap::new(), entering: BTreeMap::new(), redo: Vec::new(), disk_ok: true }
    }
}

/// Who waits for a record to be safe.
#[derive(Debug)]
pub(super) enum Waiter {
    /// An item that enters the inbox.
    Item { item: Arc<Item>, bringers: Vec<Sender> },
    /// Items that were taken out, each by a record of its own from `first` on.
    Taken { ticket: Ticket, first: u64, items: Vec<Arc<Item>> },
    /// Items that were acknowledged, in the same way.
    Acknowledged { ticket: Ticket, first: u64, items: Vec<Arc<Item>> },
    /// An item that was pushed out or ran out: its removal is tried again.
    Gone { arrival: u64 },
    /// The digest that was taken.
    Digest { ticket: Ticket, digest: Box<Digest> },
    /// A change that somebody asked for.
    Done(Ticket),
}

/// Who brought an item and wants to hear of it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Sender {
    Link {
        link: LinkId,
        number: u64,
    },
    Door {
        ticket: Ticket,
    },
    /// A listener that could not take it: its sender was told that it was delivered.
    Listener,
}

fn item_key(item: &Item) -> Option<(PeerId, MessageId)> {
    let message = &item.received.message;
    message.id.map(|id| (message.from, id))
}

impl Keeping {
    pub(super) fn wait(&mut self, number: u64, waiter: Waiter) {
        if let Waiter::Item { item, .. } = &waiter
            && let Some(key) = item_key(item)
        {
            self.entering.insert(key, number);
        }
        self.waiters.insert(number, waiter);
    }

    /// Takes out those who wait for these records.
    fn end(&mut self, numbers: impl RangeBounds<u64>) -> Vec<Waiter> {
        let ended: Vec<_> = self.waiters.extract_if(numbers, |_, _| true).map(|(_, waiter)| waiter).collect();
        for waiter in &ended {
            if let Waiter::Item { item, .. } = waiter
                && let Some(key) = item_key(item)
            {
                self.entering.remove(&key);
            }
        }
        ended
    }

    /// Tells whoever brings a message again while it waits for the disk what becomes of it: it is not
    /// safe yet, so it must not be called a duplicate. `false` when it does not wait.
    pub(super) fn also_tell(&mut self, from: PeerId, id: MessageId, bringer: Sender) -> bool {
        let number = self.entering.get(&(from, id));
        match number.and_then(|number| self.waiters.get_mut(number)) {
            Some(Waiter::Item { bringers, .. }) if bringers.len() < BRINGERS_MAX => {
                bringers.push(bringer);
                true
            }
            _ => false,
        }
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn disk_ok(&self) -> bool {
        self.disk_ok
    }
}

impl Node {
    /// Puts a record on its way to the disk; its number.
    pub(super) fn persist(&mut self, record: Record) -> u64 {
        self.keeping.last += 1;
        let number = self.keeping.last;
        self.effects.push(Effect::Persist { number, record });
        number
    }

    /// Answers a ticket once everything persisted so far is safe.
    pub(super) fn done_when_safe(&mut self, ticket: Ticket, number: u64) {
        self.keeping.wait(number, Waiter::Done(ticket));
    }

    pub(super) fn handle_committed(&mut self, upto: u64, now: Now) {
        self.keeping.disk_ok = true;
        for arrival in std::mem::take(&mut self.keeping.redo) {
            self.remove_for_good(arrival);
        }
        for waiter in self.keeping.end(..=upto) {
            match waiter {
                Waiter::Item { item, bringers } => self.enter_inbox(item, bringers, now),
                Waiter::Taken { ticket, items, .. } => self.hand_out(ticket, items, now),
                Waiter::Acknowledged { ticket, items, .. } => {
                    self.note_read(&items, now);
                    self.answer(ticket, Answer::Done);
                }
                Waiter::Gone { .. } => {}
                Waiter::Digest { ticket, digest } => self.answer(ticket, Answer::Digest(*digest)),
                Waiter::Done(ticket) => self.answer(ticket, Answer::Done),
            }
        }
    }

    pub(super) fn handle_not_committed(&mut self, from: u64, now: Now) {
        self.keeping.disk_ok = false;
        for waiter in self.keeping.end(from..) {
            match waiter {
                Waiter::Item { item, bringers } => self.refuse_item(&item, bringers, now),
                Waiter::Taken { ticket, first, items } => match self.put_back(items, first, from, now) {
                    gone if gone.is_empty() => self.refuse(ticket, Refusal::Disk),
                    gone => self.hand_out(ticket, gone, now),
                },
                Waiter::Acknowledged { ticket, first, items } => {
                    let gone = self.put_back(items, first, from, now);
                    self.note_read(&gone, now);
                    self.refuse(ticket, Refusal::Disk);
                }
                Waiter::Gone { arrival } => self.keeping.redo.push(arrival),
                Waiter::Digest { ticket, mut digest } => {
                    digest.merge(std::mem::take(&mut self.digest));
                    self.digest = *digest;
                    self.refuse(ticket, Refusal::Disk);
                }
                Waiter::Done(ticket) => self.refuse(ticket, Refusal::Disk),
            }
        }
    }

    /// Puts back the items whose removal the disk did not take; the others, which are gone from it. A group
    /// of records may end between those of one question.
    fn put_back(&mut self, mut items: Vec<Arc<Item>>, first: u64, from: u64, now: Now) -> Vec<Arc<Item>> {
        let gone = usize::try_from(from.saturating_sub(first)).unwrap_or(usize::MAX).min(items.len());
        for item in items.split_off(gone) {
            self.put_in(item, now);
        }
        items
    }

    fn hand_out(&mut self, ticket: Ticket, items: Vec<Arc<Item>>, now: Now) {
        self.note_read(&items, now);
        self.answer(ticket, Answer::Items(items));
    }

    fn note_read(&mut self, items: &[Arc<Item>], now: Now) {
        for item in items {
            self.note_left(item, FateKind::Read, now);
        }
    }

    fn enter_inbox(&mut self, item: Arc<Item>, bringers: Vec<Sender>, now: Now) {
        let itself = self.put_in(item.clone(), now);
        if !itself {
            self.note_in(&item.received, FateKind::Inbox, now.wall);
        }
        if itself {
            self.forget_id(&item, &bringers);
        }
        let fate = if itself { FateKind::Evicted } else { FateKind::Inbox };
        for bringer in bringers {
            match bringer {
                Sender::Link { link, number } => self.report(link, number, item.received.message.id, fate, now),
                Sender::Door { ticket } if itself => self.refuse(ticket, Refusal::Full { what: "the inbox" }),
                Sender::Door { ticket } => self.answer(ticket, Answer::Accepted),
                Sender::Listener => self.tell_sender(&item.received, fate, now),
            }
        }
    }

    /// A message that was not kept may be sent again, unless it was delivered: what one listener could
    /// not take another may have taken.
    fn forget_id(&mut self, item: &Item, bringers: &[Sender]) {
        let delivered = bringers.iter().any(|bringer| matches!(bringer, Sender::Listener));
        let message = &item.received.message;
        if let Some(id) = message.id.filter(|_| !delivered) {
            self.seen.forget(message.from, id);
        }
    }

    /// Puts an item into the queue; whether it was itself pushed out at once.
    fn put_in(&mut self, item: Arc<Item>, now: Now) -> bool {
        let arrival = item.arrival;
        let evicted = self.queue.push(item);
        for gone in &evicted {
            self.remove_for_good(gone.arrival);
            self.digest.evicted += 1;
            if gone.arrival == arrival {
                self.note_in(&gone.received, FateKind::Evicted, now.wall);
            } else {
                self.note_left(gone, FateKind::Evicted, now);
            }
        }
        evicted.iter().any(|gone| gone.arrival == arrival)
    }

    fn remove_for_good(&mut self, arrival: u64) {
        let number = self.persist(Record::ItemRemoved { arrival });
        self.keeping.wait(number, Waiter::Gone { arrival });
    }

    fn refuse_item(&mut self, item: &Item, bringers: Vec<Sender>, now: Now) {
        self.forget_id(item, &bringers);
        self.note_in(&item.received, FateKind::Unavailable, now.wall);
        let id = item.received.message.id;
        for bringer in bringers {
            match bringer {
                Sender::Link { link, number } => self.report(link, number, id, FateKind::Unavailable, now),
                Sender::Door { ticket } => self.refuse(ticket, Refusal::Disk),
                Sender::Listener => self.tell_sender(&item.received, FateKind::Unavailable, now),
            }
        }
    }

    /// Notes that an item left the inbox, and tells its sender if it is linked.
    pub(super) fn note_left(&mut self, item: &Item, fate: FateKind, now: Now) {
        self.note_in(&item.received, fate, now.wall);
        self.tell_sender(&item.received, fate, now);
    }

    /// Tells the sender of a message, if it is linked, what became of it after its receipt.
    pub(super) fn tell_sender(&mut self, received: &Received, fate: FateKind, now: Now) {
        let message = &received.message;
        if let Some(link) = self.book.find(message.from).and_then(|peer| peer.link) {
            self.report(link, 0, message.id, fate, now);
        }
    }

    pub(super) fn expire_inbox(&mut self, now: Now) {
        for arrival in self.queue.outdated(now.wall) {
            if let Some(item) = self.queue.remove(arrival) {
                self.remove_for_good(arrival);
                self.note_left(&item, FateKind::Expired, now);
            }
        }
    }

    pub(super) fn handle_digest_timer(&mut self, now: Now) {
        self.digest.until = Some(now.wall);
        if !self.digest.is_empty() {
            self.persist(Record::Digest(Box::new(self.digest.clone())));
        }
        self.timers.set(super::Timer::Digest, now.mono + self.config.digest_every);
    }

    /// Keeps the settings that a person changed.
    pub(super) fn keep_settings(&mut self) -> u64 {
        let subscriptions: Vec<Value> = self
            .subscriptions
            .iter()
            .map(|(channel, quiet)| json!({ "channel": channel.name(), "quiet": quiet }))
            .collect();
        let known: Vec<String> = self.book.owners.known().iter().map(ToString::to_string).collect();
        let mode = self.mode.name();
        self.persist(Record::Setting { name: "subscriptions", value: json!(subscriptions) });
        self.persist(Record::Setting { name: "known", value: json!(known) });
        self.persist(Record::Setting { name: "mode", value: json!(mode) })
    }

    /// Keeps who was verified, if it is time to.
    pub(super) fn keep_owners(&mut self, now: Now) {
        if self.book.owners.take_due(now.mono) {
            self.persist_owners();
        }
    }

    /// Keeps who was verified, if the disk does not have it yet.
    pub(super) fn keep_owners_at_last(&mut self, now: Now) {
        if self.book.owners.take_change(now.mono) {
            self.persist_owners();
        }
    }

    fn persist_owners(&mut self) {
        let verified = self.book.owners.verified();
        let value = verified.map(|(id, first, last)| json!([id.0, first.millis(), last.millis()])).collect();
        self.persist(Record::Setting { name: "verified", value });
    }

    pub(super) fn restore(&mut self, restored: Restored, now: Now) {
        for (from, id, until) in restored.seen {
            self.seen.look(from, id, until);
        }
        for item in &restored.items {
            let message = &item.received.message;
            if let Some(id) = message.id {
                self.seen.look(message.from, id, message.expires_at() + message.ttl.duration());
            }
        }
        self.queue = Queue::new(self.config.inbox, restored.items, restored.last_arrival);
        self.digest = restored.digest.unwrap_or_else(|| Digest::begin(now.wall));
        for (name, value) in restored.settings {
            match name.as_str() {
                "subscriptions" => self.subscriptions = read_subscriptions(&value),
                "known" => {
                    for key in texts(&value).filter_map(|text| text.parse().ok()) {
                        self.book.owners.know(key);
                    }
                }
                "verified" => {
                    for (id, first, last) in value.as_array().into_iter().flatten().filter_map(read_owner) {
                        self.book.owners.remember(id, first, last);
                    }
                }
                "mode" => {
                    let mode = Mode::ALL.into_iter().find(|mode| value.as_str() == Some(mode.name()));
                    self.mode = mode.unwrap_or_default();
                }
                _ => {}
            }
        }
    }
}

fn read_subscriptions(value: &Value) -> BTreeMap<Channel, bool> {
    let entries = value.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let read = |entry: &Value| {
        let channel = Channel::new(entry["channel"].as_str()?).ok()?;
        Some((channel, entry["quiet"].as_bool().unwrap_or(false)))
    };
    entries.filter_map(read).collect()
}

fn read_owner(entry: &Value) -> Option<(PeerId, Timestamp, Timestamp)> {
    let time = |value: &Value| value.as_u64().map(Timestamp::from_millis);
    Some((PeerId(entry[0].as_str()?.parse().ok()?), time(&entry[1])?, time(&entry[2])?))
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter().filter_map(Value::as_str)
}
