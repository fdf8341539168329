//! One task that writes each event once and hands its bytes to every watcher. While nobody
//! watches it writes nothing, and the node's own events pass it by.

use super::Filter;
use super::shape::{self, Seen};
use crate::driver::Handle;
use axum::extract::ws::Utf8Bytes;
use comity_core::channel::Channel;
use comity_core::envelope::Received;
use comity_core::node::Event;
use std::sync::{Arc, OnceLock};
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Events that a watcher may lag behind before it loses the oldest and is told so. Written events
/// are kept that long: more would hold more memory when one watcher sleeps, less would make bursts
/// lossy for watchers on slow networks.
const LAG_MAX: usize = 1024;

/// Watchers that may be about to join at once; more wait.
const JOINS_MAX: usize = 64;

/// Events taken in a row before new watchers are looked for.
const RUN_MAX: usize = 256;

/// Where watchers join. Cloning shares it; the task behind it ends with the last one, or with the
/// node.
#[derive(Debug, Clone)]
pub(in crate::door) struct Feed {
    joins: mpsc::Sender<oneshot::Sender<Joined>>,
}

/// What a new watcher is given: the events from now on, and the number of the last one before.
type Joined = (broadcast::Receiver<Arc<Shown>>, u64);

impl Feed {
    /// The events of the node behind `handle`.
    pub(in crate::door) fn start(handle: Handle) -> Self {
        let (joins, queue) = mpsc::channel(JOINS_MAX);
        let (watchers, _) = broadcast::channel(LAG_MAX);
        drop(tokio::spawn(Writer { handle, watchers, source: None, seq: 0 }.run(queue)));
        Self { joins }
    }

    /// Everything that this filter lets through from now on; `None` when the node has ended.
    pub(super) async fn join(&self, filter: Filter) -> Option<Watch> {
        let (reply, joined) = oneshot::channel();
        self.joins.send(reply).await.ok()?;
        joined.await.ok().map(|(events, last)| Watch::new(events, filter, last))
    }
}

/// An event as all watchers are shown it.
#[derive(Debug)]
pub(in crate::door) struct Shown {
    /// Its number.
    pub(in crate::door) seq: u64,
    /// Its type.
    pub(in crate::door) kind: &'static str,
    channel: Option<Channel>,
    short: Utf8Bytes,
    /// A message, for those who want it with its payload.
    message: Option<Arc<Received>>,
    /// The same with its payload, written when the first watcher wants it so.
    long: OnceLock<Utf8Bytes>,
}

impl Shown {
    pub(super) fn of(event: &Event, seq: u64) -> Option<Self> {
        let seen = Seen::of(event, seq)?;
        let channel = seen.channel();
        let (kind, short, message) = match seen {
            Seen::Message(received) => ("message_received", shape::head(&received, seq), Some(received)),
            Seen::Other(kind, _, body) => (kind, shape::text(&*body), None),
        };
        Some(Self { seq, kind, channel, short: short.into(), message, long: OnceLock::new() })
    }

    /// The event as JSON.
    pub(in crate::door) fn text(&self, with_payload: bool) -> &Utf8Bytes {
        match &self.message {
            Some(received) if with_payload => self.long.get_or_init(|| shape::whole(received, self.seq).into()),
            _ => &self.short,
        }
    }

    /// Whether a watcher with this filter wants it.
    pub(in crate::door) fn passes(&self, filter: &Filter) -> bool {
        match (&filter.channels, &self.channel) {
            (Some(wanted), Some(channel)) => wanted.contains(channel),
            _ => true,
        }
    }
}

/// One watcher's place in the stream.
#[derive(Debug)]
pub(in crate::door) struct Watch {
    events: broadcast::Receiver<Arc<Shown>>,
    filter: Filter,
    /// The number of the last event seen, wanted or not.
    last: u64,
}

/// Why there is no event to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::door) enum Missed {
    /// The watcher was too slow.
    Some {
        /// The number of the last event missed.
        seq: u64,
        /// How many were missed.
        skipped: u64,
    },
    /// The node ends.
    TheEnd,
}

impl Watch {
    /// A place behind the event with the number `last`.
    pub(super) fn new(events: broadcast::Receiver<Arc<Shown>>, filter: Filter, last: u64) -> Self {
        Self { events, filter, last }
    }

    /// The next event that passes the filter. Nothing is lost when the wait is given up.
    pub(in crate::door) async fn next(&mut self) -> Result<Arc<Shown>, Missed> {
        loop {
            let event = match self.events.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(skipped)) => return Err(self.missed(skipped)),
                Err(RecvError::Closed) => return Err(Missed::TheEnd),
            };
            if let Some(event) = self.wanted(event) {
                return Ok(event);
            }
        }
    }

    /// The next event that is already there; `None` when there is none.
    pub(in crate::door) fn ready(&mut self) -> Option<Result<Arc<Shown>, Missed>> {
        loop {
            let event = match self.events.try_recv() {
                Ok(event) => event,
                Err(TryRecvError::Lagged(skipped)) => return Some(Err(self.missed(skipped))),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Closed) => return Some(Err(Missed::TheEnd)),
            };
            if let Some(event) = self.wanted(event) {
                return Some(Ok(event));
            }
        }
    }

    /// Whether messages are wanted with their payloads.
    pub(super) fn with_payload(&self) -> bool {
        self.filter.payload
    }

    fn wanted(&mut self, event: Arc<Shown>) -> Option<Arc<Shown>> {
        self.last = event.seq;
        event.passes(&self.filter).then_some(event)
    }

    fn missed(&mut self, skipped: u64) -> Missed {
        self.last += skipped;
        Missed::Some { seq: self.last, skipped }
    }
}

/// The task behind a feed.
struct Writer {
    handle: Handle,
    watchers: broadcast::Sender<Arc<Shown>>,
    /// The node's events, while somebody watches.
    source: Option<broadcast::Receiver<Arc<Event>>>,
    seq: u64,
}

impl Writer {
    async fn run(mut self, mut joins: mpsc::Receiver<oneshot::Sender<Joined>>) {
        let stop = self.handle.stop().clone();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                join = joins.recv() => match join {
                    Some(reply) => self.admit(reply),
                    None => return,
                },
                event = next(&mut self.source) => match event {
                    Err(RecvError::Closed) => return,
                    event => self.write_run(event),
                },
            }
        }
    }

    fn admit(&mut self, reply: oneshot::Sender<Joined>) {
        self.source.get_or_insert_with(|| self.handle.events());
        // Err: whoever wanted to watch has gone.
        let _ = reply.send((self.watchers.subscribe(), self.seq));
    }

    /// Writes this event and those that wait behind it.
    fn write_run(&mut self, first: Result<Arc<Event>, RecvError>) {
        self.write(first);
        for _ in 1..RUN_MAX {
            match self.source.as_mut().map(broadcast::Receiver::try_recv) {
                Some(Ok(event)) => self.write(Ok(event)),
                Some(Err(TryRecvError::Lagged(skipped))) => self.write(Err(RecvError::Lagged(skipped))),
                _ => break,
            }
        }
        if self.watchers.receiver_count() == 0 {
            self.source = None;
        }
    }

    fn write(&mut self, event: Result<Arc<Event>, RecvError>) {
        let shown = match event {
            Ok(event) => Shown::of(&event, self.seq + 1),
            Err(RecvError::Lagged(skipped)) => Some(Shown::lagged(self.seq + 1, skipped)),
            Err(RecvError::Closed) => None,
        };
        if let Some(shown) = shown {
            self.seq += 1;
            // Err: nobody watches any more.
            let _ = self.watchers.send(Arc::new(shown));
        }
    }
}

impl Shown {
    /// The node was faster than the writer: all watchers missed these.
    fn lagged(seq: u64, skipped: u64) -> Self {
        let short = shape::lagged(seq, skipped).into();
        Self { seq, kind: "lagged", channel: None, short, message: None, long: OnceLock::new() }
    }
}

/// The node's next event; never, while nobody watches.
async fn next(source: &mut Option<broadcast::Receiver<Arc<Event>>>) -> Result<Arc<Event>, RecvError> {
    match source {
        Some(events) => events.recv().await,
        None => std::future::pending().await,
    }
}
