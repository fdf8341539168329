//! The one writer of a process: what comes while a group is being committed is the next group, so that the disk sets
//! the pace. A group that a deadlock or a busy file stopped is tried again; one whose database is away is refused.

use super::group::{Ask, Group, Told, Write};
use super::lanes::Lanes;
use super::settle::Steps;
use super::submit::Room;
use super::sweep::Swings;
use super::transaction::Transaction;
use super::{Limits, WAITING_MAX};
use crate::store::link::{DatabaseError, Link};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// How long a group may take before it is given up, with its connection.
pub(super) const GROUP_TIME_MAX: Duration = Duration::from_secs(20);

/// Most calls in one group: as many as wait.
const GROUP_MAX: usize = WAITING_MAX;

/// How often a group is tried that somebody else's transaction stopped.
const TRIES_MAX: usize = 4;

/// Where processes on one server say that there may be work.
pub(super) const CHANNEL: &str = "comity_tasks";

/// Codes of errors after which the same may succeed: PostgreSQL's serialization failure, deadlock, and a lane that was
/// swept before a task came for it; SQLite's busy, busy since the transaction began, and such a lane.
const AGAIN: [&str; 6] = ["40001", "40P01", "23503", "5", "517", "787"];

/// Writes until all queues are gone, or `stop` says so and what came before is written; also what comes back of tasks
/// that were given to somebody who is gone.
pub(super) async fn run(
    mut link: Link,
    limits: Limits,
    (mut writes, mut stop): (mpsc::Receiver<Write>, watch::Receiver<bool>),
    ticks: watch::Sender<u64>,
) {
    let mut room = Room { limits, tasks: 0, bytes: 0 };
    let (mut swings, mut lanes) = (Swings::default(), Lanes::default());
    let mut is_failing = false;
    let (back, mut returned) = mpsc::unbounded_channel();
    loop {
        let first = tokio::select! {
            write = writes.recv() => write.or_else(|| returned.try_recv().ok().map(give_back)),
            steps = returned.recv() => steps.map(give_back),
            _ = stop.wait_for(|stop| *stop), if !writes.is_closed() => {
                writes.close();
                continue;
            }
        };
        let Some(first) = first else { return };
        let mut group = Group::default();
        group.add(first);
        // Who was answered just now, and asks again, comes into this group.
        tokio::task::yield_now().await;
        for _ in 1..GROUP_MAX {
            let Ok(write) = writes.try_recv() else { break };
            group.add(write);
        }
        // After the calls: who claims something that came back before it asked finds it.
        while let Ok(steps) = returned.try_recv() {
            group.add(give_back(steps));
        }
        group.forget_the_gone();
        let told = commit(&mut link, &group, (&mut room, &mut swings, &mut lanes)).await;
        match &told {
            Err(error) if !is_failing => tracing::warn!(%error, "the queue of tasks could not write"),
            Ok(_) if is_failing => tracing::info!("the queue of tasks writes again"),
            _ => {}
        }
        is_failing = told.is_err();
        let is_work = told.as_ref().is_ok_and(|told| told.is_work);
        if told.as_ref().is_ok_and(|told| told.is_count_due) {
            count(&mut link, &mut room).await;
        }
        if is_work {
            ticks.send_modify(|tick| *tick += 1);
        }
        group.answer(told, &back);
    }
}

/// The call by which tasks go back; nobody waits for what becomes of it.
fn give_back(steps: Steps) -> Write {
    Write::Settle(Ask { what: steps, answer: oneshot::channel().0 })
}

/// Why a group was not committed, as far as it is known.
enum Failed {
    /// What it was checked against had changed, or it cannot be checked: nothing is done, and it needs locks.
    Missed,
    /// Before its end was asked for: nothing of it is done.
    Before(DatabaseError),
    /// When its end was asked for: nobody knows.
    Ending(DatabaseError),
}

impl Failed {
    /// Whether the group may be tried again without being done twice, and may then succeed.
    fn is_worth_another(&self) -> bool {
        match self {
            Self::Before(DatabaseError::Unavailable(error)) => is_lost(error) || is_passing(error),
            Self::Ending(DatabaseError::Unavailable(error)) => is_passing(error),
            _ => false,
        }
    }
}

async fn commit(
    link: &mut Link,
    group: &Group,
    (room, swings, lanes): (&mut Room, &mut Swings, &mut Lanes),
) -> Result<Told, DatabaseError> {
    let mut tries = 1;
    let mut is_for_one = group.is_for_one();
    loop {
        // What an attempt that failed had counted does not count.
        let (mut room_then, mut swings_then) = (*room, *swings);
        let state = (&mut room_then, &mut swings_then, &mut *lanes);
        let tried = timeout(GROUP_TIME_MAX, attempt(link, (group, is_for_one), state)).await;
        let failed = match tried.unwrap_or(Err(Failed::Ending(DatabaseError::TooSlow))) {
            Ok(told) => {
                (*room, *swings) = (room_then, swings_then);
                return Ok(told);
            }
            Err(Failed::Missed) => {
                is_for_one = false;
                continue;
            }
            Err(failed) => failed,
        };
        // A new connection is the surest rollback. A lane may be one that it took back, or that was swept.
        link.lose();
        lanes.forget();
        let is_last = tries == TRIES_MAX || !failed.is_worth_another();
        match failed {
            Failed::Before(error) | Failed::Ending(error) if is_last => return Err(error),
            _ => {}
        }
        tries += 1;
    }
}

async fn attempt(
    link: &mut Link,
    (group, is_for_one): (&Group, bool),
    state: (&mut Room, &mut Swings, &mut Lanes),
) -> Result<Told, Failed> {
    let place = link.place().clone();
    let connection = link.open().await.map_err(Failed::Before)?;
    let mut transaction = Transaction::new(&place, connection, is_for_one);
    let done = async {
        let told = group.apply(&mut transaction, state).await?;
        transaction.before_end().await?;
        transaction.commit(told.is_work).await?;
        Ok::<_, sqlx::Error>(told)
    };
    let done = done.await;
    done.map_err(|error| match (transaction.is_missed(), transaction.is_ending()) {
        (true, _) => Failed::Missed,
        (false, true) => Failed::Ending(error.into()),
        (false, false) => Failed::Before(error.into()),
    })
}

/// Counts what is kept. When that fails, what was counted before is taken for true until the next time.
async fn count(link: &mut Link, room: &mut Room) {
    let counted = async { Ok::<_, DatabaseError>(room.count(link.open().await?).await?) };
    if let Err(error) = timeout(GROUP_TIME_MAX, counted).await.unwrap_or(Err(DatabaseError::TooSlow)) {
        tracing::warn!(%error, "the queue of tasks could not be counted");
        link.lose();
    }
}

/// Whether the error is of a connection that is no more: the server may have come back since.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    // What a server says to all when it goes down: classes of PostgreSQL's codes for connections and operators.
    let code = error.as_database_error().and_then(|error| error.code());
    matches!(error, sqlx::Error::Io(_)) || code.is_some_and(|code| code.starts_with("57P") || code.starts_with("08"))
}

/// Whether somebody else's transaction was in the way.
fn is_passing(error: &sqlx::Error) -> bool {
    if matches!(error, sqlx::Error::RowNotFound) {
        return true;
    }
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| AGAIN.contains(&&*code))
}
