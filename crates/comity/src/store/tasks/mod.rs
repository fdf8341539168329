//! The durable queue of tasks: on a SQLite file of its own, or on a PostgreSQL database that several processes share
//! and on which they act as one. What may happen to a task is said by `comity_core::task`; here it is loaded, asked,
//! and written back in groups, and a call is answered when its group is on disk. See "Compute" in `protocols/mesh.md`.
//!
//! Times are the callers' and are kept in milliseconds. Where clocks differ between processes, one that is ahead ends
//! leases early and one that is behind leaves work to the others; no completion counts twice for it, because the
//! tokens count, and no lease outlives its length, because a sweep shortens what reaches further.

mod claim;
mod group;
mod lanes;
mod read;
mod rows;
mod schema;
mod settle;
mod submit;
mod sweep;
mod transaction;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use claim::Given;
pub(crate) use read::Count;
pub(crate) use submit::{NotTaken, Submitted};
pub(crate) use sweep::Swept;

use crate::store::link::{DatabaseError, Link, Place, ServerUrl};
use crate::store::{steps, wake};
use comity_core::task::{BATCH_MAX, BadTask, DEAD_KEPT, KEPT, Kept, Lines, Offer, Refused, Renewed, State, TaskId};
use comity_core::task::{LINE_MAX, LINES_MAX, NewTask, PAYLOAD_MAX, cut};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::task::{BODY_MAX, Done, Fault, Grip, Progress};
use group::{Ask, Write};
use read::Read;
use settle::{Settled, Step};
use std::path::Path;
use std::time::Duration;
use submit::Offered;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// Calls that wait for the writer, and as many for the reader: a group or two. Each is bounded in bytes; the callers
/// behind them wait for room.
const WAITING_MAX: usize = 64;

/// Most tasks that a list gives at once.
pub(crate) const LIST_MAX: usize = 200;

/// Tasks that wait for workers and are counted for who wants to know how full the queue is: some milliseconds. A node
/// with so many is full, and one with more is no fuller.
const QUEUED_COUNTED_MAX: u64 = 10_000;

/// What a queue holds at most, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// How long finished tasks can be looked at. Longer needs more disk; shorter, and a submitter that was away for
    /// long finds nothing.
    pub(crate) kept: Duration,
    /// How long the dead wait for a person.
    pub(crate) dead_kept: Duration,
    /// Most tasks, with the finished ones: 10 million are some 5 GB without their payloads. The last tenth is for whoever
    /// owns the queue. It is counted anew every ten minutes, so that processes that share a server may together go beyond it by what they take in that time.
    pub(crate) tasks_max: u64,
    /// Most bytes of payloads and results, counted likewise. What is done is done: a result beyond it is kept, and no
    /// new task is taken.
    pub(crate) bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { kept: KEPT, dead_kept: DEAD_KEPT, tasks_max: 10_000_000, bytes_max: 64 << 30 }
    }
}

/// Why a call was not answered with what it asked for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// The database did not do it. Whatever was answered before is safe; what this call asked for was done wholly or not
    /// at all, and may be asked again.
    #[error(transparent)]
    Database(#[from] DatabaseError),
    /// The queue was closed.
    #[error("the queue is closed")]
    Closed,
    /// The call broke a bound.
    #[error(transparent)]
    Bad(#[from] BadTask),
}

impl From<sqlx::Error> for QueueError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error.into())
    }
}

/// A queue of tasks. Clones are the same queue.
#[derive(Debug, Clone)]
pub(crate) struct Queue {
    writes: mpsc::Sender<Write>,
    reads: mpsc::Sender<Read>,
    ready: watch::Receiver<u64>,
}

/// What keeps a queue going. Dropped, it ends at once, like a crash: what was not answered may be done or not.
#[derive(Debug)]
pub(crate) struct Running {
    /// The writer and the reader, which end when all queues are gone.
    tasks: JoinSet<()>,
    /// Who listens to the server, which ends when this does.
    _wake: JoinSet<()>,
    /// Tells writer and reader to take no more.
    stop: watch::Sender<bool>,
}

impl Running {
    /// Takes no more calls, finishes those that came, and ends.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.tasks.join_next().await.is_some() {}
    }
}

impl Queue {
    /// The queue in this SQLite file, made if it is missing. The file is one process's.
    pub(crate) async fn in_file(path: &Path, limits: Limits) -> Result<(Self, Running), QueueError> {
        Self::start(Place::File(path.to_owned()), limits).await
    }

    /// The queue on this PostgreSQL server, whose tables are made if they are missing.
    pub(crate) async fn on_server(url: ServerUrl, limits: Limits) -> Result<(Self, Running), QueueError> {
        Self::start(Place::Server(url), limits).await
    }

    async fn start(place: Place, limits: Limits) -> Result<(Self, Running), QueueError> {
        let mut link = Link::new(place.clone());
        steps::upgrade(&place, link.open().await?, schema::TABLE, schema::STEPS).await?;
        let (writes, to_write) = mpsc::channel(WAITING_MAX);
        let (reads, to_read) = mpsc::channel(WAITING_MAX);
        let (ticks, ready) = watch::channel(0);
        let stop = watch::Sender::new(false);
        let (mut tasks, mut wake) = (JoinSet::new(), JoinSet::new());
        tasks.spawn(writer::run(link, limits, (to_write, stop.subscribe()), ticks.clone()));
        tasks.spawn(read::run(Link::new(place.clone()), to_read, stop.subscribe()));
        if let Place::Server(url) = place {
            wake.spawn(wake::run(url, writer::CHANNEL, ticks));
        }
        Ok((Self { writes, reads, ready }, Running { tasks, _wake: wake, stop }))
    }

    /// Takes tasks of one submitter in, all or those that may be: the answers are in their order.
    pub(crate) async fn submit(
        &self,
        tasks: Vec<NewTask>,
        now: Timestamp,
    ) -> Result<Vec<Result<Submitted, NotTaken>>, QueueError> {
        self.put(Offered { tasks, now, is_own: false }).await
    }

    /// The same of whoever owns the queue, for whom there is room that others do not get.
    pub(crate) async fn submit_own(
        &self,
        tasks: Vec<NewTask>,
        now: Timestamp,
    ) -> Result<Vec<Result<Submitted, NotTaken>>, QueueError> {
        self.put(Offered { tasks, now, is_own: true }).await
    }

    async fn put(&self, offered: Offered) -> Result<Vec<Result<Submitted, NotTaken>>, QueueError> {
        let tasks = &offered.tasks;
        within("tasks", tasks.len(), BATCH_MAX)?;
        if tasks.iter().map(|task| task.payload.len()).sum::<usize>() > BODY_MAX {
            return Err(BadTask::TooLarge("tasks").into());
        }
        self.write(|answer| Write::Submit(Ask { what: offered, answer })).await
    }

    /// Gives a worker up to so many of the tasks that it is able to do: the highest priority first, then the oldest.
    /// Nothing, when there is nothing now; [`Queue::ready`] says when to ask again. Whoever goes away before it has
    /// taken what it is given leaves it to others.
    pub(crate) async fn claim(
        &self,
        worker: &str,
        offer: &Offer,
        wanted: usize,
        now: Timestamp,
    ) -> Result<Given, QueueError> {
        offer.check()?;
        named("worker", worker)?;
        within("wanted", wanted, BATCH_MAX)?;
        let what = claim::Wanted { worker: worker.to_owned(), offer: offer.clone(), wanted, now };
        self.write(|answer| Write::Claim(Ask { what, answer })).await
    }

    /// Lengthens leases.
    pub(crate) async fn renew(
        &self,
        worker: &str,
        leases: &[Grip],
        now: Timestamp,
    ) -> Result<Vec<Result<Renewed, Refused>>, QueueError> {
        let steps = leases.iter().map(|grip| (grip.id, Step::Renew { worker: worker.to_owned(), token: grip.token }));
        let settled = self.settle(steps.collect(), now).await?;
        Ok(settled.into_iter().map(|answer| answer.map(Settled::renewed)).collect())
    }

    /// Notes how far a worker is, keeps its lines, and lengthens its lease.
    pub(crate) async fn progress(
        &self,
        worker: &str,
        progress: Progress,
        now: Timestamp,
    ) -> Result<Result<Renewed, Refused>, QueueError> {
        let Progress { grip, fraction, lines } = progress;
        if lines.len() > LINES_MAX {
            return Err(BadTask::TooMany("lines", LINES_MAX).into());
        }
        let lines = lines.iter().map(|line| cut(line, LINE_MAX)).collect();
        let step = Step::Progress { worker: worker.to_owned(), token: grip.token, fraction, lines };
        let mut settled = self.settle(vec![(grip.id, step)], now).await?;
        Ok(settled.pop().unwrap_or(Err(Refused::Unknown)).map(Settled::renewed))
    }

    /// Ends tasks that are done, with their results.
    pub(crate) async fn complete(
        &self,
        worker: &str,
        done: Vec<Done>,
        now: Timestamp,
    ) -> Result<Vec<Result<State, Refused>>, QueueError> {
        if done.iter().any(|done| done.result.len() > PAYLOAD_MAX) {
            return Err(BadTask::TooLarge("result").into());
        }
        if done.iter().map(|done| done.result.len()).sum::<usize>() > BODY_MAX {
            return Err(BadTask::TooLarge("done").into());
        }
        let steps = done.into_iter().map(|Done { grip, result }| {
            (grip.id, Step::Complete { worker: worker.to_owned(), token: grip.token, result })
        });
        self.end(steps.collect(), now).await
    }

    /// Ends attempts that failed, or gives back what was not begun. The answers say whether there will be others.
    pub(crate) async fn fail(
        &self,
        worker: &str,
        faults: Vec<Fault>,
        now: Timestamp,
    ) -> Result<Vec<Result<State, Refused>>, QueueError> {
        let steps = faults.into_iter().map(|Fault { grip, cause, is_worth_another, is_begun }| {
            let (worker, token) = (worker.to_owned(), grip.token);
            let fail = |worker| Step::Fail { worker, token, cause, is_worth_another };
            (grip.id, if is_begun { fail(worker) } else { Step::GiveBack { worker, token } })
        });
        self.end(steps.collect(), now).await
    }

    /// Takes tasks back: at once, or by telling their workers.
    pub(crate) async fn cancel(
        &self,
        ids: &[TaskId],
        now: Timestamp,
    ) -> Result<Vec<Result<State, Refused>>, QueueError> {
        self.end(ids.iter().map(|id| (*id, Step::Cancel)).collect(), now).await
    }

    /// Gives dead tasks all their attempts again, because a person wants it.
    pub(crate) async fn requeue(
        &self,
        ids: &[TaskId],
        now: Timestamp,
    ) -> Result<Vec<Result<State, Refused>>, QueueError> {
        self.end(ids.iter().map(|id| (*id, Step::Requeue)).collect(), now).await
    }

    /// Takes tasks that are over out of the queue, because a person wants it; the answer is how many there were.
    pub(crate) async fn discard(&self, ids: &[TaskId]) -> Result<u64, QueueError> {
        within("ids", ids.len(), BATCH_MAX)?;
        self.write(|answer| Write::Discard(Ask { what: ids.to_vec(), answer })).await
    }

    /// Does what the time brings: leases that ran out, deadlines that passed, tasks that were kept long enough; some
    /// thousand of each. To be called every second or so.
    pub(crate) async fn sweep(&self, now: Timestamp) -> Result<Swept, QueueError> {
        self.write(|answer| Write::Sweep(Ask { what: now, answer })).await
    }

    /// A task with all that is kept of it; `None` when there is none of this id.
    pub(crate) async fn whole(&self, id: TaskId) -> Result<Option<Kept>, QueueError> {
        self.read(|answer| Read::Whole(id, answer)).await
    }

    /// The newest tasks, in this state if one is given, that came before the cursor, a [`Kept::number`]; without their
    /// payloads and results.
    pub(crate) async fn list(
        &self,
        state: Option<State>,
        limit: usize,
        before: Option<u64>,
    ) -> Result<Vec<Kept>, QueueError> {
        within("limit", limit, LIST_MAX)?;
        self.read(|answer| Read::List((state, limit, before), answer)).await
    }

    /// What a task's workers said after the line of this number; `None` when there is no such task.
    pub(crate) async fn lines(&self, id: TaskId, after: u64) -> Result<Option<Lines>, QueueError> {
        self.read(|answer| Read::Lines((id, after), answer)).await
    }

    /// How many tasks there are, by capability and state.
    pub(crate) async fn counts(&self) -> Result<Vec<Count>, QueueError> {
        self.read(Read::Counts).await
    }

    /// How many tasks wait for a worker; of more than [`QUEUED_COUNTED_MAX`], that many.
    pub(crate) async fn queued(&self) -> Result<u64, QueueError> {
        self.read(Read::Queued).await
    }

    /// Changes whenever there may be work that was not there before, also by another process on the same server. Whoever
    /// waits takes this before it claims, and so misses nothing; a sweep tells of tasks whose wait is over. A task that
    /// another process passed on while it looked is heard of as soon as that ends well, and else by asking again.
    pub(crate) fn ready(&self) -> watch::Receiver<u64> {
        self.ready.clone()
    }

    async fn end(&self, steps: Vec<(TaskId, Step)>, now: Timestamp) -> Result<Vec<Result<State, Refused>>, QueueError> {
        let settled = self.settle(steps, now).await?;
        Ok(settled.into_iter().map(|answer| answer.map(|settled| settled.state)).collect())
    }

    async fn settle(
        &self,
        steps: Vec<(TaskId, Step)>,
        now: Timestamp,
    ) -> Result<Vec<Result<Settled, Refused>>, QueueError> {
        within("tasks", steps.len(), BATCH_MAX)?;
        self.write(|answer| Write::Settle(Ask { what: (steps, now), answer })).await
    }

    async fn write<A>(
        &self,
        ask: impl FnOnce(oneshot::Sender<Result<A, QueueError>>) -> Write,
    ) -> Result<A, QueueError> {
        let (answer, answered) = oneshot::channel();
        self.writes.send(ask(answer)).await.map_err(|_| QueueError::Closed)?;
        answered.await.unwrap_or(Err(QueueError::Closed))
    }

    async fn read<A>(&self, ask: impl FnOnce(oneshot::Sender<Result<A, QueueError>>) -> Read) -> Result<A, QueueError> {
        let (answer, answered) = oneshot::channel();
        self.reads.send(ask(answer)).await.map_err(|_| QueueError::Closed)?;
        answered.await.unwrap_or(Err(QueueError::Closed))
    }
}

fn within(field: &'static str, count: usize, count_max: usize) -> Result<(), BadTask> {
    if count > count_max { Err(BadTask::TooMany(field, count_max)) } else { Ok(()) }
}

/// A worker's name as an offer's names are checked.
fn named(field: &'static str, name: &str) -> Result<(), BadTask> {
    comity_core::task::check_name(field, name)
}

/// The databases' integers are signed; what is kept stays far below the sign.
fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn millis(at: Timestamp) -> i64 {
    integer(at.millis())
}

fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

fn time(number: i64) -> Timestamp {
    Timestamp::from_millis(unsigned(number))
}
