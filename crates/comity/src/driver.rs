//! The one place where everything meets: a closed list of events, one task that hands them to the
//! rules and performs the effects, and the handle by which doors, links and discovery talk to it.
//! It decides nothing: every decision is in `comity_core::node`.

mod gate;
mod ids;
mod listener;
mod outbox;
mod perform;
mod run;
mod tickets;

#[cfg(test)]
mod tests;

pub(crate) use listener::Listener;
pub(crate) use outbox::Outbox;
pub(crate) use run::{Driver, Setup};

use crate::identity::Identity;
use crate::link;
use crate::observe::Counters;
use crate::redaction::Redaction;
use comity_core::envelope::{Message, Received};
use comity_core::id::{LinkId, ListenerId, MessageId, PeerId};
use comity_core::limits;
use comity_core::node::{self, Answer, Ask, Input, ListenFilter, NodeView, Proof, Refusal};
use comity_core::time::{Now, Timestamp};
use comity_core::wire::compact::Unreadable;
use comity_core::wire::frame::{Frame, Hello};
use gate::Gate;
use ids::Ids;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime};
use tokio::sync::{OwnedSemaphorePermit, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

/// Events that wait for the driver, at most. More would let senders run far ahead of the pressure
/// that a slow peer puts on them; less would wake tasks more often.
const EVENTS_MAX: usize = 2048;

/// Reports of the store that wait for the driver, at most; each covers a whole group of records.
const REPORTS_MAX: usize = 64;

/// Node events that a watcher may lag behind before it loses the oldest and is told so.
const WATCH_LAG_MAX: usize = 1024;

/// Everything that can happen to the driver from outside.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something happened that wants no answer.
    Input(Input),
    /// Messages came over a link, decoded.
    Messages {
        /// The link.
        link: LinkId,
        /// The messages of one frame.
        batch: Vec<Message>,
        /// Those between them that could not be read.
        unreadable: Vec<Unreadable>,
        /// The room they take until the rules have seen them.
        room: OwnedSemaphorePermit,
    },
    /// A control frame came over a link.
    Frame {
        /// The link.
        link: LinkId,
        /// The frame.
        frame: Frame,
        /// The room it takes until the rules have seen it.
        room: OwnedSemaphorePermit,
    },
    /// Somebody asks.
    Ask {
        /// For what.
        ask: Ask,
        /// Where the answer goes; a dropped asker is fine.
        reply: oneshot::Sender<Answer>,
    },
    /// A feed has messages to be taken; nobody waits to hear what comes of each.
    Fed(Outbox),
    /// A message came by a door.
    Arrived {
        /// The message.
        message: Box<Message>,
        /// Who brought it.
        proof: Proof,
        /// Where the answer goes.
        reply: oneshot::Sender<Answer>,
    },
    /// A link is up; its reader will say more under its id.
    Link(Box<link::Established>),
    /// Somebody listens from now on.
    Listen {
        /// Who.
        listener: ListenerId,
        /// To what.
        filter: ListenFilter,
        /// Where the messages go.
        mailbox: listener::Mailbox,
    },
    /// Nobody listens there any more.
    Unlisten {
        /// Who has gone.
        listener: ListenerId,
        /// What it was handed and did not take.
        left: Vec<Arc<Received>>,
    },
    /// Somebody wants to see the node.
    Look(oneshot::Sender<Arc<NodeView>>),
    /// The node has left: let the links write their last words, then end.
    End(oneshot::Sender<()>),
}

/// What doors, links and discovery hold of the node. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Handle(Arc<Shared>);

struct Shared {
    me: Identity,
    counters: Counters,
    redaction: Redaction,
    clock: Clock,
    gate: Gate,
    ids: Ids,
    next_link: AtomicU64,
    next_listener: AtomicU64,
    events: mpsc::Sender<Event>,
    /// The store reports here and not among the events: while the disk is behind, events wait.
    reports: mpsc::Sender<Input>,
    /// Whoever watches everything.
    watchers: broadcast::Sender<Arc<node::Event>>,
    /// Whoever watches everything but messages: there is always somebody, and messages are many.
    peer_watchers: broadcast::Sender<Arc<node::Event>>,
    hello: watch::Receiver<Arc<Hello>>,
    /// The last view that was made, for whoever looks when the driver has ended.
    views: watch::Receiver<Arc<NodeView>>,
    stop: CancellationToken,
}

impl Handle {
    /// Asks the node and waits for its answer; sealed messages in it come opened. Secrets are taken out of what it is
    /// to say. A node that has ended answers [`Refusal::Leaving`].
    pub(crate) async fn ask(&self, ask: Ask) -> Answer {
        let Ok(ask) = self.0.redaction.ask(ask, self.now().wall) else {
            return Answer::Refused(Refusal::TooLarge { max: limits::PAYLOAD_JSON_MAX });
        };
        let answer = self.answered(|reply| Event::Ask { ask, reply }).await;
        self.0.me.open_answer(answer, &self.0.counters)
    }

    /// Sends a message: waits first while the peer asks senders to wait.
    pub(crate) async fn send(&self, send: node::Send) -> Answer {
        self.pass(send.to).await;
        self.ask(Ask::Send(send)).await
    }

    /// Brings a message that came by a door; answered once it is delivered, digested, on disk, or
    /// refused.
    pub(crate) async fn arrive(&self, message: Message, proof: Proof) -> Answer {
        self.answered(|reply| Event::Arrived { message: Box::new(message), proof, reply }).await
    }

    /// Tells the node what happened. Waits while the node has more to do than it can hold.
    pub(crate) async fn inform(&self, input: Input) {
        if matches!(input, Input::Committed { .. } | Input::NotCommitted { .. }) {
            // Err: the driver has ended, and nobody waits for the disk any more.
            let _ = self.0.reports.send(input).await;
        } else {
            self.put(Event::Input(input)).await;
        }
    }

    /// Brings the messages of one frame; the room they take is given back when they are handled.
    pub(crate) async fn received(
        &self,
        link: LinkId,
        batch: Vec<Message>,
        unreadable: Vec<Unreadable>,
        room: OwnedSemaphorePermit,
    ) {
        self.put(Event::Messages { link, batch, unreadable, room }).await;
    }

    /// Brings a control frame; the room it takes is given back when it is handled.
    pub(crate) async fn framed(&self, link: LinkId, frame: Frame, room: OwnedSemaphorePermit) {
        self.put(Event::Frame { link, frame, room }).await;
    }

    /// Hands over a link whose hellos are through.
    pub(crate) async fn linked(&self, link: link::Established) {
        self.put(Event::Link(Box::new(link))).await;
    }

    /// The node as it is now; as it last was seen when it has ended.
    pub(crate) async fn look(&self) -> Arc<NodeView> {
        let (reply, view) = oneshot::channel();
        self.put(Event::Look(reply)).await;
        match view.await {
            Ok(view) => view,
            Err(_) => self.last_view(),
        }
    }

    /// The node as somebody saw it last, without asking the rules.
    pub(crate) fn last_view(&self) -> Arc<NodeView> {
        self.0.views.borrow().clone()
    }

    /// What a watcher of this node sees from now on, but for messages.
    pub(crate) fn peer_events(&self) -> broadcast::Receiver<Arc<node::Event>> {
        self.0.peer_watchers.subscribe()
    }

    /// What a watcher of this node sees from now on.
    pub(crate) fn events(&self) -> broadcast::Receiver<Arc<node::Event>> {
        self.0.watchers.subscribe()
    }

    /// Listens from now on, until the listener is dropped.
    pub(crate) async fn listen(&self, filter: ListenFilter) -> Listener {
        let id = ListenerId(self.0.next_listener.fetch_add(1, Ordering::Relaxed));
        let (mailbox, listener) = listener::open(id, self.clone());
        self.put(Event::Listen { listener: id, filter, mailbox }).await;
        listener
    }

    /// An id for a new link.
    pub(crate) fn new_link(&self) -> LinkId {
        LinkId(self.0.next_link.fetch_add(1, Ordering::Relaxed))
    }

    /// An id for a new message: a UUIDv7 of now.
    pub(crate) fn new_message(&self) -> MessageId {
        self.0.ids.next(Clock::wall())
    }

    /// Waits while the peer (or, for everybody, any peer) asks senders to wait, 5 s at most.
    pub(crate) async fn pass(&self, to: Option<PeerId>) {
        self.0.gate.pass(to).await;
    }

    /// This moment, on both clocks of the node.
    pub(crate) fn now(&self) -> Now {
        self.0.clock.now()
    }

    /// Who this node is.
    pub(crate) fn me(&self) -> &Identity {
        &self.0.me
    }

    /// What is counted outside the rules.
    pub(crate) fn counters(&self) -> &Counters {
        &self.0.counters
    }

    /// What takes secrets out of what this node says.
    pub(crate) fn redaction(&self) -> &Redaction {
        &self.0.redaction
    }

    /// What this node says first on every link; its `card` is what doors and discovery show. It
    /// changes with the node and is signed again before it runs out.
    pub(crate) fn hello(&self) -> watch::Receiver<Arc<Hello>> {
        self.0.hello.clone()
    }

    /// Cancelled when the node ends: every task of the body ends then.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// Ends the node: the links write what they were given, the store keeps what it was given, and
    /// every task ends. A node that has ended already is fine.
    pub(crate) async fn end(&self) {
        let (reply, ended) = oneshot::channel();
        self.put(Event::End(reply)).await;
        let _ = ended.await;
    }

    async fn answered(&self, event: impl FnOnce(oneshot::Sender<Answer>) -> Event) -> Answer {
        let (reply, answer) = oneshot::channel();
        self.put(event(reply)).await;
        answer.await.unwrap_or(Answer::Refused(Refusal::Leaving))
    }

    /// Err means that the driver has ended: the event is dropped, and with it whoever waits for it.
    async fn put(&self, event: Event) {
        let _ = self.0.events.send(event).await;
    }
}

/// The two clocks of a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    start: Instant,
}

impl Clock {
    /// A node that starts now.
    pub(crate) fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// This moment.
    pub(crate) fn now(self) -> Now {
        Now { mono: self.start.elapsed(), wall: Self::wall() }
    }

    /// This moment on the clock on the wall, which may jump.
    pub(crate) fn wall() -> Timestamp {
        let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    /// When a deadline of the rules is, for a timer.
    fn instant(self, mono: std::time::Duration) -> Instant {
        self.start + mono
    }
}
