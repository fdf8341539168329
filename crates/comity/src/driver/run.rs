//! The loop: waits for what happens next, tells the rules, performs what they answer. One task,
//! the only owner of the rules; nothing in it waits for anything but the next event.

use super::perform::Body;
use super::{Clock, EVENTS_MAX, Event, Handle, Outbox, REPORTS_MAX, Shared, WATCH_LAG_MAX, listener};
use crate::driver::gate::Gate;
use crate::driver::ids::Ids;
use crate::identity::Identity;
use crate::link;
use crate::observe::Counters;
use crate::redaction::Redaction;
use comity_core::card;
use comity_core::channel::Channel;
use comity_core::channel::WELL_KNOWN;
use comity_core::id::{LinkId, ListenerId};
use comity_core::node::{Ask, Input, ListenFilter, Node, NodeView, Record, Send};
use comity_core::time::Now;
use comity_core::wire::frame::Hello;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

/// Events handled before the effects are handed over. More makes larger batches, less makes the
/// first of them wait less.
pub(super) const EVENTS_AT_ONCE: usize = 256;

/// How long everybody waits for a listener that has more than it can take. A brisk one drains in a
/// fraction of it; for a stuck one nobody waits again until it has drained.
const PATIENCE: Duration = Duration::from_millis(100);

/// How long before its card runs out a node signs a new one: peers' clocks differ, and a machine
/// may sleep.
const CARD_RENEWED_AFTER: Duration = Duration::from_secs(card::LIFETIME_MAX.as_secs() / 2);

/// How long a leaving node waits for its links to write their last words.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);

/// What a driver is made of.
pub(crate) struct Setup {
    /// Who the node is.
    pub(crate) me: Identity,
    /// Its rules.
    pub(crate) node: Node,
    /// Its clocks; the rules were started by them.
    pub(crate) clock: Clock,
    /// What is counted outside the rules.
    pub(crate) counters: Counters,
    /// What takes secrets out of what it says.
    pub(crate) redaction: Redaction,
    /// Where the network door listens.
    pub(crate) doors: Vec<SocketAddr>,
    /// The addresses of this machine.
    pub(crate) interfaces: Vec<IpNet>,
    /// Ends every task of the node.
    pub(crate) stop: CancellationToken,
}

/// The one owner of the rules.
pub(crate) struct Driver {
    node: Node,
    body: Body,
    now: Now,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
    reports: mpsc::Receiver<Input>,
    /// Memory that the messages of feeds are taken into.
    fed: Vec<Send>,
    hello: watch::Sender<Arc<Hello>>,
    views: watch::Sender<Arc<NodeView>>,
    /// Whether the last view is still true.
    viewed: bool,
    doors: Vec<SocketAddr>,
    interfaces: Vec<IpAddr>,
    wake: Pin<Box<Sleep>>,
    renewal: Pin<Box<Sleep>>,
}

impl Driver {
    /// A driver that does not run yet, and the handle to it. What is told meanwhile waits.
    pub(crate) fn new(setup: Setup) -> (Self, Handle) {
        let Setup { me, mut node, clock, counters, redaction, doors, interfaces, stop } = setup;
        let now = clock.now();
        let addresses: Vec<IpAddr> = interfaces.iter().map(IpNet::addr).collect();
        node.handle(Input::Interfaces(interfaces), now);
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let (report_sender, reports) = mpsc::channel(REPORTS_MAX);
        let (hello, hello_receiver) = watch::channel(Arc::new(hello_of(&me, &node, &doors, &addresses, now)));
        let (views, view_receiver) = watch::channel(Arc::new(node.view(now)));
        let shared = Arc::new(Shared {
            me,
            counters,
            redaction,
            clock,
            gate: Gate::new(),
            ids: Ids::new(),
            next_link: AtomicU64::new(1),
            next_listener: AtomicU64::new(1),
            events: event_sender,
            reports: report_sender,
            watchers: broadcast::Sender::new(WATCH_LAG_MAX),
            peer_watchers: broadcast::Sender::new(WATCH_LAG_MAX),
            hello: hello_receiver,
            views: view_receiver,
            stop,
        });
        let driver = Self {
            node,
            body: Body::new(shared.clone()),
            now,
            shared: shared.clone(),
            events,
            reports,
            fed: Vec::new(),
            hello,
            views,
            viewed: true,
            doors,
            interfaces: addresses,
            wake: Box::pin(sleep_until(Instant::now())),
            renewal: Box::pin(sleep_until(Instant::now() + CARD_RENEWED_AFTER)),
        };
        (driver, Handle(shared))
    }

    /// What it would be told, for a test that takes its place.
    #[cfg(test)]
    pub(crate) fn into_events(self) -> mpsc::Receiver<Event> {
        self.events
    }

    /// Runs until the node has left or is stopped. `links` reaches peers; `records` leads to disk.
    pub(crate) async fn run(mut self, links: link::Links, records: mpsc::Sender<(u64, Record)>) {
        self.body.attach(links);
        let mut events = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut congested_since = None;
        let stopped = self.shared.stop.clone().cancelled_owned();
        tokio::pin!(stopped);
        let said_goodbye = loop {
            self.body.hand_to_store(&records);
            self.arm();
            let congested = self.body.congested();
            let clear = congested.is_none();
            congested_since = if clear { None } else { congested_since.or_else(|| Some(Instant::now())) };
            let at_once = self.body.events_at_once();
            tokio::select! {
                biased;
                () = &mut stopped => break None,
                Some(report) = self.reports.recv() => self.turn([Event::Input(report)]),
                () = &mut self.wake => self.wake(),
                () = &mut self.renewal => self.renew_hello(),
                Ok(permit) = records.reserve(), if self.body.store_waits() => self.body.hand_one_to_store(permit),
                // While the disk is far behind, whoever has news waits; the disk's reports do not.
                // So does whoever has news while a listener that is not stuck has more than it can take.
                late = stuck(congested, congested_since), if !clear => {
                    if let Some(listener) = late {
                        self.body.give_up_on(listener);
                    }
                }
                count = self.events.recv_many(&mut events, at_once), if clear && self.body.store_keeps_up() => {
                    if count == 0 {
                        break None;
                    }
                    let end = events.iter().position(|event| matches!(event, Event::End(_)));
                    let ended = end.map(|place| events.drain(place..).next());
                    self.turn(events.drain(..));
                    if let Some(Some(Event::End(reply))) = ended {
                        break Some(reply);
                    }
                }
            }
        };
        self.finish(said_goodbye, records).await;
    }

    /// The timer has gone off; perhaps for a deadline that was moved since.
    fn wake(&mut self) {
        if self.node.wake_at().is_some_and(|deadline| deadline <= self.shared.clock.now().mono) {
            self.turn([Event::Input(Input::Wake)]);
        }
    }

    /// Handles what happened and hands over what came of it.
    fn turn(&mut self, events: impl IntoIterator<Item = Event>) {
        self.now = self.shared.clock.now();
        for event in events {
            self.take(event);
        }
        // What a full listener could not take comes back to the rules, which keep it.
        while let Some(inputs) = self.body.hand_over() {
            inputs.into_iter().for_each(|input| self.tell(input));
        }
        if self.body.take_announcement() {
            self.renew_hello();
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Input(input) => self.take_input(input),
            Event::Messages { link, batch, unreadable, room } => {
                self.tell(Input::Messages { link, batch, unreadable });
                drop(room);
            }
            Event::Frame { link, frame, room } => {
                self.tell(Input::Frame { link, frame });
                drop(room);
            }
            Event::Ask { ask, reply } => {
                let ticket = self.body.tickets.open(reply);
                self.tell(Input::Asked { ticket, ask });
            }
            Event::Fed(outbox) => self.take_fed(&outbox),
            Event::Arrived { message, proof, reply } => {
                let ticket = self.body.tickets.open(reply);
                self.tell(Input::Arrived { ticket, message, proof });
            }
            Event::Link(link) => self.take_link(*link),
            Event::Listen { listener, filter, mailbox } => self.take_listener(listener, filter, mailbox),
            Event::Unlisten { listener, left } => {
                for received in self.body.remove_listener(listener, left) {
                    self.tell(Input::Overflowed { listener, received });
                }
                let ticket = self.body.tickets.open_for_nobody();
                self.tell(Input::Asked { ticket, ask: Ask::Unlisten(listener) });
            }
            Event::Look(reply) => self.show(reply),
            // Taken out by the loop; a second one only hears that the driver is gone.
            Event::End(_) => {}
        }
    }

    fn take_fed(&mut self, outbox: &Outbox) {
        let mut fed = mem::take(&mut self.fed);
        outbox.take(&mut fed);
        for send in fed.drain(..) {
            let ticket = self.body.tickets.open_for_nobody();
            self.tell(Input::Asked { ticket, ask: Ask::Send(send) });
        }
        self.fed = fed;
    }

    fn take_input(&mut self, input: Input) {
        match input {
            Input::Written { link, .. } => {
                self.tell(input);
                self.body.touch(link);
            }
            Input::LinkDown { link, .. } => {
                self.tell(input);
                self.body.remove_link(link);
            }
            Input::Interfaces(nets) => {
                self.interfaces = nets.iter().map(IpNet::addr).collect();
                self.tell(Input::Interfaces(nets));
                self.body.announce();
            }
            other => self.tell(other),
        }
    }

    fn take_link(&mut self, established: link::Established) {
        let link::Established { id, dial, key, remote, way, card, boot, subscriptions, ours, writer } = established;
        self.body.add_link(id, writer);
        self.tell(Input::LinkUp { link: id, dial, key, remote, way, card, boot, subscriptions });
        self.tell_news_since(id, &ours);
    }

    /// Tells a new link what changed between the hello it was given and now.
    fn tell_news_since(&mut self, link: LinkId, told: &Hello) {
        use comity_core::wire::frame::Frame;
        let current = self.node.subscriptions();
        let gone = told.subscriptions.iter().filter(|(channel, _)| !current.contains_key(channel));
        let gone = gone.map(|(channel, _)| Frame::Unsubscribe(channel.clone()));
        let new =
            current.iter().filter(|(channel, quiet)| !told.subscriptions.contains(&((*channel).clone(), **quiet)));
        let new = new.map(|(channel, quiet)| Frame::Subscribe { channel: channel.clone(), quiet: *quiet });
        gone.chain(new).for_each(|frame| self.body.write_frame(link, frame));
    }

    fn take_listener(&mut self, listener: ListenerId, filter: ListenFilter, mailbox: listener::Mailbox) {
        self.body.add_listener(listener, mailbox);
        let ticket = self.body.tickets.open_for_nobody();
        self.tell(Input::Asked { ticket, ask: Ask::Listen { listener, filter } });
    }

    fn show(&mut self, reply: oneshot::Sender<Arc<NodeView>>) {
        if !self.viewed {
            self.views.send_replace(Arc::new(self.node.view(self.now)));
            self.viewed = true;
        }
        let _ = reply.send(self.views.borrow().clone());
    }

    fn tell(&mut self, input: Input) {
        self.viewed = false;
        self.node.handle(input, self.now);
        for effect in self.node.effects() {
            self.body.perform(effect);
        }
    }

    /// Sets the timer for the next deadline. A timer that is too early is left: waking for nothing
    /// once is cheaper than moving it with every message.
    fn arm(&mut self) {
        let deadline = match self.node.wake_at() {
            Some(mono) => self.shared.clock.instant(mono).into(),
            None => self.renewal.deadline(),
        };
        if deadline < self.wake.deadline() || self.wake.is_elapsed() {
            self.wake.as_mut().reset(deadline);
        }
    }

    /// Signs the card anew and publishes it with what this node listens to.
    fn renew_hello(&mut self) {
        let hello = hello_of(&self.shared.me, &self.node, &self.doors, &self.interfaces, self.shared.clock.now());
        self.hello.send_replace(Arc::new(hello));
        self.renewal.as_mut().reset(Instant::now() + CARD_RENEWED_AFTER);
    }

    /// Lets the links write what they were given, gives the disk what it has not, and ends.
    async fn finish(mut self, reply: Option<oneshot::Sender<()>>, records: mpsc::Sender<(u64, Record)>) {
        self.views.send_replace(Arc::new(self.node.view(self.shared.clock.now())));
        // Nobody reads reports any more: the store must not wait for that.
        self.reports.close();
        for record in self.body.take_records() {
            if records.send(record).await.is_err() {
                break;
            }
        }
        drop(records);
        if reply.is_some() {
            let _ = tokio::time::timeout(LAST_WORDS_MAX, self.body.links_closed()).await;
        }
        self.shared.stop.cancel();
        if let Some(reply) = reply {
            let _ = reply.send(());
        }
    }
}

/// What the node says first on every link.
fn hello_of(me: &Identity, node: &Node, doors: &[SocketAddr], interfaces: &[IpAddr], now: Now) -> Hello {
    let subscriptions: Vec<(Channel, bool)> =
        node.subscriptions().iter().map(|(channel, quiet)| (channel.clone(), *quiet)).collect();
    let known = WELL_KNOWN.iter().filter_map(|known| Channel::new(known.name).ok());
    let channels: BTreeSet<Channel> = known.chain(subscriptions.iter().map(|(channel, _)| channel.clone())).collect();
    Hello {
        card: me.card(endpoints(doors, interfaces), now.wall),
        boot: me.boot(),
        protocol: card::PROTOCOL.to_owned(),
        subscriptions,
        channels: channels.into_iter().collect(),
    }
}

/// Where the network door can be reached, as URLs: at every address of the machine when it listens
/// on all, at loopback only when there is nothing else.
fn endpoints(doors: &[SocketAddr], interfaces: &[IpAddr]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for door in doors {
        if door.ip().is_unspecified() {
            let same_kind = |address: &&IpAddr| door.is_ipv6() || address.is_ipv4();
            found.extend(interfaces.iter().filter(same_kind).map(|address| SocketAddr::new(*address, door.port())));
        } else {
            found.insert(*door);
        }
    }
    let link_local = |address: &SocketAddr| matches!(address.ip(), IpAddr::V6(v6) if v6.is_unicast_link_local());
    found.retain(|address| !link_local(address));
    if found.iter().any(|address| !address.ip().is_loopback()) {
        found.retain(|address| !address.ip().is_loopback());
    }
    found.into_iter().take(comity_core::limits::PEER_LIST_MAX).map(|address| format!("https://{address}")).collect()
}

/// Waits until the listener has drained; with its id when it did not in time.
async fn stuck(congested: Option<(ListenerId, Arc<Notify>)>, since: Option<Instant>) -> Option<ListenerId> {
    let (listener, drained) = congested?;
    let until = since.unwrap_or_else(Instant::now) + PATIENCE;
    timeout_at(until, drained.notified()).await.is_err().then_some(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_door_on_all_addresses_is_reached_at_each_and_at_loopback_only_when_there_is_no_other() {
        let all = [SocketAddr::from(([0, 0, 0, 0], 8400))];
        let loopback = IpAddr::from([127, 0, 0, 1]);
        assert_eq!(endpoints(&all, &[loopback, IpAddr::from([10, 0, 0, 7])]), ["https://10.0.0.7:8400"]);
        assert_eq!(endpoints(&all, &[loopback]), ["https://127.0.0.1:8400"]);
    }
}
