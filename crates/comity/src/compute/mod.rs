//! Work that is shared: this node keeps the tasks that were submitted to it and gives them to those who ask, and fetches
//! work for the workers beside it from its own queue and from the nodes that it knows. It runs nothing itself. What a
//! task may become is decided in `comity_core::task`, and kept by `store/tasks`. See "Compute" in `protocols/mesh.md`.

mod elsewhere;
mod held;
mod report;
mod room;
#[cfg(test)]
mod tests;

use crate::config;
use crate::driver::{Clock, Handle};
use crate::link::{Links, Pool};
use crate::redaction::labels;
use crate::store::tasks::{Count, Given, LIST_MAX, Limits, NotTaken, Queue, QueueError, Running, Submitted};
use comity_core::redact::Typed;
use comity_core::task::{Kept, Leased, Lines, Refused, State, TaskId};
use comity_core::wire::control::{self, Queued, Work};
use comity_core::wire::mesh::task::{Answered, BadBody, Claim, parse_claim, parse_submit};
use elsewhere::Elsewhere;
use held::Held;
pub(crate) use report::Word;
pub(crate) use room::Crowded;
use room::Room;
use serde_json::{Value, json};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often leases and deadlines are looked after.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// How long after the end of a wait an answer may still be on its way.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// How long the queue may take to say how many tasks wait in it.
const COUNT_TIME: Duration = Duration::from_secs(1);

/// How many pages of the queue are looked at for the tasks of one submitter: some thousand tasks. What is older is found
/// by the cursor that the answer has.
const PAGES_MAX: usize = 10;

/// The queue of this node, and those of others as its workers see them. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Compute(Arc<Shared>);

struct Shared {
    queue: Queue,
    room: Room,
    handle: Handle,
    elsewhere: Elsewhere,
    held: Held,
    /// Counts what happened to tasks here, for those who watch one.
    changes: watch::Sender<u64>,
    /// A lock and not a message: it is held to take out what ends the queue, once.
    running: Mutex<Option<Running>>,
}

/// Why something is not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotDone {
    /// What was said cannot be read, or breaks a bound.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// The task is not taken in.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// The task's rules do not have it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Only what is over can be discarded.
    #[error("only a task that is over can be discarded, and this one is {0}")]
    NotOver(&'static str),
    /// Too many wait for work.
    #[error(transparent)]
    Crowded(#[from] Crowded),
    /// The database does not answer.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The node that keeps the task does not answer.
    #[error("{node} does not answer: {why}")]
    Away {
        /// That node.
        node: String,
        /// Why.
        why: String,
    },
    /// The node that keeps the task refuses what was said.
    #[error("{node} refuses what was said: HTTP status {status}")]
    Unwanted {
        /// That node.
        node: String,
        /// What it answered.
        status: u16,
    },
}

impl NotDone {
    /// Whether what was said is at fault, so that it would be refused again.
    fn is_for_good(&self) -> bool {
        matches!(self, Self::Body(_) | Self::Unwanted { .. } | Self::Queue(QueueError::Bad(_)))
    }
}

impl fmt::Debug for Compute {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Compute").finish_non_exhaustive()
    }
}

impl Compute {
    /// Opens the queue in this file, or on the server that the configuration names, and serves those who wait for work
    /// until the node ends.
    pub(crate) async fn open(
        file: &Path,
        handle: &Handle,
        links: &Links,
        settings: &config::Mesh,
    ) -> Result<Self, QueueError> {
        let (queue, running) = match &settings.store {
            Some(url) => Queue::on_server(url.clone(), Limits::default()).await?,
            None => Queue::in_file(file, Limits::default()).await?,
        };
        let (room, serving) = Room::open(queue.clone(), handle.me().node().to_string());
        let elsewhere = Elsewhere::new(handle.clone(), Pool::new(links.clone()));
        let shared = Shared {
            queue,
            room,
            handle: handle.clone(),
            elsewhere,
            held: Held::default(),
            changes: watch::Sender::new(0),
            running: Mutex::new(Some(running)),
        };
        let compute = Self(Arc::new(shared));
        let (stop, sweeping) = (handle.stop().clone(), compute.clone());
        tokio::spawn(async move { stop.run_until_cancelled(async { tokio::join!(serving, sweeping.sweep()) }).await });
        Ok(compute)
    }

    /// Finishes what was begun, and closes the queue.
    pub(crate) async fn close(&self) {
        let running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(running) = running {
            running.close().await;
        }
    }

    async fn sweep(&self) {
        let mut tick = interval(SWEEP_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut is_ill = false;
        loop {
            tick.tick().await;
            match self.0.queue.sweep(Clock::wall()).await {
                Ok(swept) => {
                    is_ill = false;
                    if swept.requeued + swept.dead + swept.expired + swept.cancelled > 0 {
                        self.changed();
                    }
                }
                // Said once, and not every second.
                Err(error) if !is_ill => {
                    is_ill = true;
                    tracing::warn!(%error, "the queue of tasks does not answer");
                }
                Err(_) => {}
            }
        }
    }

    /// Takes tasks in, which this submitter says in JSON, one or several: what became of each.
    pub(crate) async fn submit(
        &self,
        body: &[u8],
        submitter: &str,
        key: Option<&str>,
    ) -> Result<Vec<Result<Submitted, NotTaken>>, NotDone> {
        let tasks = parse_submit(body, submitter, key)?;
        Ok(self.0.queue.submit(tasks, Clock::wall()).await?)
    }

    /// Takes a task of this machine in, without the secrets that are in it.
    pub(crate) async fn submit_own(&self, mut task: control::TaskToQueue) -> Result<Queued, NotDone> {
        task.payload = self.clean(task.payload);
        let capability = task.capability.clone();
        let tasks = parse_submit(json!(task).to_string().as_bytes(), &self.me(), None)?;
        let mut answers = self.0.queue.submit_own(tasks, Clock::wall()).await?;
        let submitted = answers.pop().unwrap_or(Err(NotTaken::Full))?;
        let able = |(_, known): &(String, room::Known)| known.offer.capabilities.contains(&capability);
        let workers = self.0.room.workers().iter().filter(|one| able(one)).count() as u64;
        Ok(Queued { id: submitted.id.0, new: submitted.is_new, workers })
    }

    /// A task, whole, if it is this submitter's; of anybody, when nobody is named.
    pub(crate) async fn whole(&self, id: TaskId, of: Option<&str>) -> Result<Kept, NotDone> {
        let kept = self.0.queue.whole(id).await?;
        let is_theirs = |kept: &Kept| of.is_none_or(|submitter| kept.task.submitted_by == submitter);
        kept.filter(is_theirs).ok_or(NotDone::Refused(Refused::Unknown))
    }

    /// The newest tasks before a cursor, of this submitter where one is named, and the cursor for those that follow.
    pub(crate) async fn list(
        &self,
        state: Option<State>,
        (limit, mut before): (usize, Option<u64>),
        of: Option<&str>,
    ) -> Result<(Vec<Kept>, Option<u64>), NotDone> {
        let limit = limit.clamp(1, LIST_MAX);
        let mut found = Vec::new();
        for _ in 0..PAGES_MAX {
            let page = self.0.queue.list(state, LIST_MAX, before).await?;
            let is_end = page.len() < LIST_MAX;
            for kept in page {
                before = Some(kept.number);
                if of.is_none_or(|submitter| kept.task.submitted_by == submitter) {
                    found.push(kept);
                }
                if found.len() == limit {
                    return Ok((found, before));
                }
            }
            if is_end {
                return Ok((found, None));
            }
        }
        Ok((found, before))
    }

    /// Takes a task back, if it is this submitter's; of anybody, when nobody is named.
    pub(crate) async fn cancel(&self, id: TaskId, of: Option<&str>) -> Result<Answered, NotDone> {
        self.whole(id, of).await?;
        let mut settled = self.0.queue.cancel(&[id], Clock::wall()).await?;
        self.changed();
        let state = settled.pop().unwrap_or(Err(Refused::Unknown))?;
        Ok(Answered::stands(id, Ok(state)))
    }

    /// Gives a dead task all its attempts again.
    pub(crate) async fn requeue(&self, id: TaskId) -> Result<Answered, NotDone> {
        let mut settled = self.0.queue.requeue(&[id], Clock::wall()).await?;
        self.changed();
        let state = settled.pop().unwrap_or(Err(Refused::Unknown))?;
        Ok(Answered::stands(id, Ok(state)))
    }

    /// Takes a task that is over out of the queue.
    pub(crate) async fn discard(&self, id: TaskId) -> Result<Answered, NotDone> {
        let state = self.whole(id, None).await?.course.state;
        match self.0.queue.discard(&[id]).await? {
            0 => Err(NotDone::NotOver(state.name())),
            _ => Ok(Answered::stands(id, Ok(state))),
        }
    }

    /// How many tasks there are, by capability and state.
    pub(crate) async fn counts(&self) -> Result<Vec<control::QueueCount>, NotDone> {
        let counts = self.0.queue.counts().await?;
        let count = |Count { capability, state, tasks }| control::QueueCount {
            capability,
            state: state.name().to_owned(),
            tasks,
        };
        Ok(counts.into_iter().map(count).collect())
    }

    /// What was said of a task after a line.
    pub(crate) async fn lines(&self, id: TaskId, after: u64) -> Result<Lines, NotDone> {
        self.0.queue.lines(id, after).await?.ok_or(NotDone::Refused(Refused::Unknown))
    }

    /// Changes whenever something happened to a task here. What other processes on the same database do is not told.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }

    /// Work for the worker of a node, as it says in JSON; it waits for it. What it is given and does not take goes back.
    pub(crate) async fn claim(&self, worker: &str, body: &[u8]) -> Result<Vec<Given>, NotDone> {
        self.give(worker, parse_claim(body)?).await
    }

    async fn give(&self, worker: &str, claim: Claim) -> Result<Vec<Given>, NotDone> {
        let given = self.0.room.claim(worker, claim).await?;
        if !given.is_empty() {
            self.changed();
        }
        Ok(given)
    }

    /// The same for a worker beside this node, which takes it.
    async fn give_own(&self, claim: Claim) -> Result<Vec<Leased>, NotDone> {
        let given = self.give(&self.me(), claim).await?;
        Ok(given.into_iter().flat_map(Given::take).collect())
    }

    /// The workers that asked for work lately.
    pub(crate) fn available(&self) -> Vec<control::WorkingNode> {
        let node = |(node_id, known): (String, room::Known)| control::WorkingNode {
            node_id,
            capabilities: known.offer.capabilities.into_iter().collect(),
            slots_free: known.slots_free,
            load: known.load,
        };
        self.0.room.workers().into_iter().map(node).collect()
    }

    /// How many tasks the workers beside this node have at hand, and how many wait in its queue; none of these where
    /// the queue does not answer soon.
    pub(crate) async fn busy(&self) -> (u32, u32) {
        let queued = timeout(COUNT_TIME, self.0.queue.queued()).await.ok().and_then(Result::ok).unwrap_or(0);
        let running = u32::try_from(self.0.held.count()).unwrap_or(u32::MAX);
        (running, u32::try_from(queued).unwrap_or(u32::MAX))
    }

    /// Work for a worker beside this node, which has it at hand from now on.
    pub(crate) async fn work(&self, wanted: control::WantWork) -> Result<Work, NotDone> {
        let work = self.find(wanted).await?;
        self.0.held.begin(&work.tasks);
        Ok(work)
    }

    /// Work for a worker beside this node: from its own queue, else from the first of the nodes that it knows which has
    /// some.
    async fn find(&self, wanted: control::WantWork) -> Result<Work, NotDone> {
        let claim = parse_claim(json!(wanted).to_string().as_bytes())?;
        let at_once = Claim { wait: Duration::ZERO, ..claim.clone() };
        let own = self.give_own(at_once.clone()).await?;
        if !own.is_empty() {
            return Ok(Work { tasks: own.iter().filter_map(elsewhere::given).collect() });
        }
        if let Some(tasks) = self.0.elsewhere.last_giver(&at_once).await {
            return Ok(Work { tasks });
        }
        let wait = claim.wait;
        // Nothing here is no end: another node may just be answering.
        let own = async {
            match self.give_own(claim.clone()).await {
                Ok(none) if none.is_empty() => std::future::pending().await,
                some => some,
            }
        };
        let others = self.0.elsewhere.claim(&claim);
        tokio::pin!(own, others);
        tokio::select! {
            own = &mut own => Ok(Work { tasks: own?.iter().filter_map(elsewhere::given).collect() }),
            Some(tasks) = &mut others => Ok(Work { tasks }),
            () = tokio::time::sleep(wait + ON_THE_WAY) => Ok(Work { tasks: Vec::new() }),
        }
    }

    fn me(&self) -> String {
        self.0.handle.me().node().to_string()
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// What is said in the queue, without secrets.
    fn clean(&self, said: Value) -> Value {
        let now = self.0.handle.now().wall;
        let labels = || labels("task", "", "");
        self.0.handle.redaction().document(&said, &Typed::default(), labels, now).into_owned()
    }

    fn clean_text(&self, said: &str) -> String {
        let now = self.0.handle.now().wall;
        self.0.handle.redaction().text(said, || labels("task", "", ""), now).into_owned()
    }
}
