//! What the tests stand on: a folder that goes away, queues on it and on a server, and times that nobody waits for.

use super::super::{Limits, Queue, Running};
use crate::store::link::ServerUrl;
use comity_core::task::{Leased, NewTask, Offer, TaskId};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::task::{Done, Fault, Grip};
use comity_tests::postgres::Postgres;
use std::path::{Path, PathBuf};

pub(super) const DAY: u64 = 24 * 3600;

/// So many seconds after the beginning of a test.
pub(super) fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + seconds * 1000)
}

pub(super) fn plain(capability: &str, payload: &str) -> NewTask {
    NewTask::plain("echo", capability, payload.to_owned(), "submitter")
}

pub(super) fn grip(leased: &Leased) -> Grip {
    Grip { id: leased.id, token: leased.token }
}

pub(super) fn done(leased: &Leased, result: &str) -> Done {
    Done { grip: grip(leased), result: result.to_owned() }
}

pub(super) fn fault(leased: &Leased, cause: &str) -> Fault {
    Fault { grip: grip(leased), cause: cause.to_owned(), is_worth_another: true, is_begun: true }
}

/// Submits one task that must be taken in as a new one.
pub(super) async fn put(queue: &Queue, task: NewTask, now: Timestamp) -> TaskId {
    let mut answers = queue.submit(vec![task], now).await.expect("the queue answers");
    let submitted = answers.remove(0).expect("taken in");
    assert!(submitted.is_new);
    submitted.id
}

/// Claims so many as a worker of this name.
pub(super) async fn take(queue: &Queue, who: (&str, &str), wanted: usize, now: Timestamp) -> Vec<Leased> {
    queue.claim(who.0, &Offer::of([who.1]), wanted, now).await.expect("the queue answers").take()
}

/// A folder that is removed in the end.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("comity-tasks-{}", uuid::Uuid::new_v4().simple()));
        std::fs::create_dir(&path).expect("a folder");
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) async fn queue(&self) -> (Queue, Running) {
        Queue::in_file(&self.0.join("tasks.db"), Limits::default()).await.expect("a queue")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A new database on a server.
pub(super) fn database(server: &Postgres, name: &str) -> ServerUrl {
    server.database(name).parse().expect("a URL")
}

/// A queue on a database.
pub(super) async fn queue_on(url: &ServerUrl) -> (Queue, Running) {
    Queue::on_server(url.clone(), Limits::default()).await.expect("a queue")
}
