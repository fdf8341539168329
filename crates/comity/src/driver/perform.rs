//! The effects of the rules, performed: what is for one link or one listener is collected and
//! handed over as one batch; answers, events and the rest go at once. Nothing here waits.

use super::Shared;
use super::listener::{self, Mailbox};
use super::run::EVENTS_AT_ONCE;
use super::tickets::Tickets;
use crate::link::{Links, Write};
use crate::observe;
use comity_core::envelope::{Message, Received};
use comity_core::id::{LinkId, ListenerId};
use comity_core::node::{Effect, Event, Input, LinkLoss, Record};
use comity_core::wire::frame::Frame;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::mem;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

/// Records that wait for the store before events have to wait too: half a second of work for a
/// slow disk, a few megabytes of memory.
const RECORDS_WAITING_MAX: usize = 8192;

/// Control frames that wait for one link whose writer is busy. Messages are bounded by the rules,
/// which wait until they are written; a peer that makes us say more than this and does not read
/// it is cut off.
const FRAMES_WAITING_MAX: usize = 1024;

/// Messages that one event brings as a rule at the most: a frame of small ones.
const MESSAGES_AN_EVENT: usize = 512;

/// Everything the driver owns besides the rules.
pub(super) struct Body {
    pub(super) tickets: Tickets,
    shared: Arc<Shared>,
    reach: Option<Links>,
    links: BTreeMap<LinkId, Outlet>,
    listeners: BTreeMap<ListenerId, Inlet>,
    /// Links and listeners that have something to be handed over.
    touched_links: BTreeSet<LinkId>,
    touched_listeners: BTreeSet<ListenerId>,
    /// Links that were told to close and may still be writing.
    closing: Vec<mpsc::Sender<Write>>,
    records: VecDeque<(u64, Record)>,
    announced: bool,
}

/// What waits for one link's writer.
struct Outlet {
    writer: mpsc::Sender<Write>,
    waiting: VecDeque<Write>,
    frames: usize,
}

/// What waits for one listener.
struct Inlet {
    mailbox: Mailbox,
    waiting: Vec<Arc<Received>>,
    /// It did not drain in time: until it does, nobody waits for it, and what does not fit goes to
    /// the inbox.
    slow: bool,
}

impl Body {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            tickets: Tickets::default(),
            shared,
            reach: None,
            links: BTreeMap::new(),
            listeners: BTreeMap::new(),
            touched_links: BTreeSet::new(),
            touched_listeners: BTreeSet::new(),
            closing: Vec::new(),
            records: VecDeque::new(),
            announced: false,
        }
    }

    /// From now on peers can be reached.
    pub(super) fn attach(&mut self, links: Links) {
        self.reach = Some(links);
    }

    /// Performs one effect, or collects it for [`Self::hand_over`].
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Transmit { link, message } => self.write_message(link, message),
            Effect::Control { link, frame } => self.write_frame(link, frame),
            Effect::Close { link, goodbye } => self.close(link, goodbye),
            Effect::Deliver { listener, received } => {
                if let Some(inlet) = self.listeners.get_mut(&listener) {
                    inlet.waiting.push(received);
                    self.touched_listeners.insert(listener);
                }
            }
            Effect::Answer { ticket, answer } => self.tickets.answer(ticket, answer),
            Effect::Emit(event) => self.emit(event),
            Effect::Persist { number, record } => self.records.push_back((number, record)),
            Effect::Pressure { peer, on } => self.shared.gate.set(peer, on),
            Effect::Announce => self.announced = true,
            Effect::Dial { dial, expect, candidates } => {
                if let Some(reach) = &self.reach {
                    reach.dial(dial, expect, candidates);
                }
            }
            Effect::Connect { dial, peer, place } => {
                if let Some(reach) = &self.reach {
                    reach.connect(dial, peer, place);
                }
            }
            Effect::Repath { link } => {
                if let Some(reach) = &self.reach {
                    reach.repath(link);
                }
            }
            Effect::Post { peer, address, coded, message } => {
                if let Some(reach) = &self.reach {
                    reach.post(peer, address, coded, message);
                }
            }
        }
    }

    fn emit(&self, event: Event) {
        if let Event::Twin { address } = &event {
            tracing::error!(%address, "another node uses this node's key: stop one of them, or give it a key of its own");
        }
        if let Event::Evicted { peer, name } = &event {
            tracing::warn!(%peer, name, "a peer used the id, the name or the address of one that proved its key, and was forgotten");
        }
        if let Event::Message(received) = &event {
            observe::admitted(received);
        }
        let message = matches!(event, Event::Message(_));
        if message && self.shared.watchers.receiver_count() == 0 {
            return;
        }
        let event = Arc::new(event);
        // Err: nobody watches.
        if !message {
            let _ = self.shared.peer_watchers.send(event.clone());
        }
        let _ = self.shared.watchers.send(event);
    }

    fn write_message(&mut self, link: LinkId, message: Arc<Message>) {
        let Some(outlet) = self.links.get_mut(&link) else { return };
        match outlet.waiting.back_mut() {
            Some(Write::Messages(batch)) => batch.push(message),
            _ => {
                outlet.waiting.push_back(Write::Messages(vec![message]));
                self.touched_links.insert(link);
            }
        }
    }

    /// Puts a control frame after what was put before.
    pub(super) fn write_frame(&mut self, link: LinkId, frame: Frame) {
        let Some(outlet) = self.links.get_mut(&link) else { return };
        outlet.frames += 1;
        outlet.waiting.push_back(Write::Frame(frame));
        self.touched_links.insert(link);
    }

    fn close(&mut self, link: LinkId, goodbye: bool) {
        let Some(outlet) = self.links.get_mut(&link) else { return };
        outlet.waiting.push_back(Write::Close { goodbye });
        self.closing.retain(|writer| !writer.is_closed());
        self.closing.push(outlet.writer.clone());
        self.touched_links.insert(link);
    }

    /// Hands every batch to its link or listener. What could not be taken comes back as news for
    /// the rules; `None` when all was taken.
    pub(super) fn hand_over(&mut self) -> Option<Vec<Input>> {
        let mut news = Vec::new();
        for link in mem::take(&mut self.touched_links) {
            let Some(outlet) = self.links.get_mut(&link) else { continue };
            match outlet.hand_over() {
                Handed::All => {}
                // The writer is busy. It tells what it has written, or the next event comes by.
                Handed::Some if outlet.frames <= FRAMES_WAITING_MAX => drop(self.touched_links.insert(link)),
                Handed::Some => {
                    self.links.remove(&link);
                    news.push(Input::LinkDown { link, loss: LinkLoss::Broken });
                }
                // The link tells its end itself.
                Handed::Gone => drop(self.links.remove(&link)),
            }
        }
        for listener in mem::take(&mut self.touched_listeners) {
            let Some(inlet) = self.listeners.get_mut(&listener) else { continue };
            let refused = inlet.mailbox.put(mem::take(&mut inlet.waiting));
            news.extend(refused.into_iter().map(|received| Input::Overflowed { listener, received }));
        }
        (!news.is_empty()).then_some(news)
    }

    /// A listener that is more than half full and deserves to be waited for: told when it drains.
    pub(super) fn congested(&mut self) -> Option<(ListenerId, Arc<Notify>)> {
        let mut congested = None;
        for (id, inlet) in &mut self.listeners {
            let waiting = inlet.mailbox.waiting();
            inlet.slow &= waiting > listener::WAITING_MAX / 4;
            if waiting > listener::WAITING_MAX / 2 && !inlet.slow {
                congested = Some((*id, inlet.mailbox.drained()));
            }
        }
        congested
    }

    /// Waits no longer for this listener until it has drained.
    pub(super) fn give_up_on(&mut self, listener: ListenerId) {
        if let Some(inlet) = self.listeners.get_mut(&listener) {
            inlet.slow = true;
        }
    }

    /// How many events may be taken at once, so that what they bring fits where it is going.
    pub(super) fn events_at_once(&self) -> usize {
        let fullest = self.listeners.values().map(|inlet| inlet.mailbox.waiting()).max();
        fullest.map_or(EVENTS_AT_ONCE, |waiting| {
            (listener::WAITING_MAX.saturating_sub(waiting) / MESSAGES_AN_EVENT).clamp(1, EVENTS_AT_ONCE)
        })
    }

    pub(super) fn touch(&mut self, link: LinkId) {
        self.touched_links.insert(link);
    }

    pub(super) fn add_link(&mut self, link: LinkId, writer: mpsc::Sender<Write>) {
        self.links.insert(link, Outlet { writer, waiting: VecDeque::new(), frames: 0 });
    }

    pub(super) fn remove_link(&mut self, link: LinkId) {
        self.links.remove(&link);
    }

    pub(super) fn add_listener(&mut self, listener: ListenerId, mailbox: Mailbox) {
        self.listeners.insert(listener, Inlet { mailbox, waiting: Vec::new(), slow: false });
    }

    /// Takes a listener out and returns all that it did not take: `left`, and what waits here.
    pub(super) fn remove_listener(&mut self, listener: ListenerId, mut left: Vec<Arc<Received>>) -> Vec<Arc<Received>> {
        left.extend(self.listeners.remove(&listener).into_iter().flat_map(|inlet| inlet.waiting));
        left
    }

    /// The card or the subscriptions have changed.
    pub(super) fn announce(&mut self) {
        self.announced = true;
    }

    /// Whether something was announced since this was last asked.
    pub(super) fn take_announcement(&mut self) -> bool {
        mem::take(&mut self.announced)
    }

    /// Gives the store as many records as it has room for.
    pub(super) fn hand_to_store(&mut self, store: &mpsc::Sender<(u64, Record)>) {
        while !self.records.is_empty()
            && let Ok(permit) = store.try_reserve()
        {
            self.hand_one_to_store(permit);
        }
    }

    pub(super) fn hand_one_to_store(&mut self, permit: mpsc::Permit<'_, (u64, Record)>) {
        if let Some(record) = self.records.pop_front() {
            permit.send(record);
        }
    }

    pub(super) fn store_waits(&self) -> bool {
        !self.records.is_empty()
    }

    pub(super) fn store_keeps_up(&self) -> bool {
        self.records.len() < RECORDS_WAITING_MAX
    }

    pub(super) fn take_records(&mut self) -> VecDeque<(u64, Record)> {
        mem::take(&mut self.records)
    }

    /// Waits until every link that was told to close has written its last words.
    pub(super) async fn links_closed(&mut self) {
        // Without their writers the links that were not told end as well.
        self.links.clear();
        for writer in mem::take(&mut self.closing) {
            writer.closed().await;
        }
    }
}

enum Handed {
    All,
    Some,
    Gone,
}

impl Outlet {
    fn hand_over(&mut self) -> Handed {
        while let Some(write) = self.waiting.pop_front() {
            let is_frame = matches!(write, Write::Frame(_));
            match self.writer.try_send(write) {
                Ok(()) => self.frames -= usize::from(is_frame),
                Err(mpsc::error::TrySendError::Full(write)) => {
                    self.waiting.push_front(write);
                    return Handed::Some;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Handed::Gone,
            }
        }
        Handed::All
    }
}
