//! What only a file can do to the queue, and a process that dies over it.

use super::super::read::list_text;
use super::super::{Limits, NotTaken, Queue, QueueError, Submitted};
use super::setting::put;
use super::{Folder, at, plain, take};
use crate::store::link::DatabaseError;
use comity_core::task::{NewTask, State, TaskId};
use sqlx::{AssertSqlSafe, Row};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use tokio::sync::watch;
use tokio::task::JoinSet;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_queue_was_killed() {
    let folder = Folder::new();
    let acknowledged = Arc::new(Mutex::new(Vec::<TaskId>::new()));
    let count = watch::Sender::new(0);
    for round in 1..=5 {
        let (queue, running) = folder.queue().await;
        let mut callers = JoinSet::new();
        for _ in 0..32 {
            let (queue, acknowledged, count) = (queue.clone(), Arc::clone(&acknowledged), count.clone());
            callers.spawn(async move {
                while let Ok(answers) = queue.submit(vec![plain("kept", "1")], at(0)).await {
                    let id = answers[0].expect("taken in").id;
                    acknowledged.lock().expect("not poisoned").push(id);
                    count.send_modify(|count| *count += 1);
                }
            });
        }
        count.subscribe().wait_for(|count| *count >= round * 50).await.expect("it is there");
        drop(running);
        while callers.join_next().await.is_some() {}
    }
    let (queue, running) = folder.queue().await;
    let acknowledged = std::mem::take(&mut *acknowledged.lock().expect("not poisoned"));
    assert!(acknowledged.len() >= 250);
    for id in &acknowledged {
        assert!(queue.whole(*id).await.expect("answered").is_some());
    }
    running.close().await;
    assert!(matches!(queue.submit(vec![plain("kept", "1")], at(0)).await, Err(QueueError::Closed)));
}

#[tokio::test]
async fn the_file_is_its_users_alone_and_one_of_a_newer_version_is_left_as_it_is() {
    let folder = Folder::new();
    let (queue, running) = folder.queue().await;
    drop(queue);
    running.close().await;
    let path = folder.path().join("tasks.db");
    let mode = std::fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opened");
    sqlx::raw_sql("INSERT INTO comity_task_schema VALUES (99)").execute(&mut connection).await.expect("inserted");
    let newer = Queue::in_file(&path, Limits::default()).await;
    assert!(matches!(newer, Err(QueueError::Database(DatabaseError::Newer { found: 5, known: 4 }))));
    let nowhere = Queue::in_file(&folder.path().join("no/such.db"), Limits::default()).await;
    assert!(matches!(nowhere, Err(QueueError::Database(DatabaseError::Io { .. }))));
}

#[tokio::test]
async fn a_list_of_one_state_reads_no_tasks_of_others() {
    let folder = Folder::new();
    let (queue, running) = folder.queue().await;
    drop(queue);
    running.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("tasks.db"));
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opened");
    for state in State::ALL {
        let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", list_text(Some(state))));
        let rows = sqlx::query(explain).bind(i64::MAX).bind(10_i64).fetch_all(&mut connection).await.expect("a plan");
        let plan: Vec<String> = rows.iter().map(|row| row.get("detail")).collect();
        assert!(plan[0].contains("comity_task_state (<expr>=? AND seq<?)"), "{plan:?}");
        assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
    }
}

#[tokio::test]
async fn a_key_that_was_kept_while_deadlines_were_part_of_its_digest_is_known_again() {
    let folder = Folder::new();
    let (queue, running) = folder.queue().await;
    let key = Some("k".to_owned());
    let task = NewTask { deadline: Some(at(300)), idempotency_key: key.clone(), ..plain("keyed", "1") };
    let first = put(&queue, task.clone(), at(0)).await;
    drop(queue);
    running.close().await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("tasks.db"));
    let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opened");
    let before = sqlx::query("UPDATE comity_task SET digest = ?").bind(task.digest_with(task.deadline).to_vec());
    assert_eq!(before.execute(&mut connection).await.expect("updated").rows_affected(), 1);
    drop(connection);
    let (queue, _running) = folder.queue().await;
    let later = NewTask { deadline: Some(at(310)), ..task };
    let other = NewTask { deadline: Some(at(300)), idempotency_key: key, ..plain("keyed", "2") };
    let again = queue.submit(vec![later, other], at(10)).await.expect("answered");
    assert_eq!(again, [Ok(Submitted { id: first, is_new: false }), Err(NotTaken::Conflict { first })]);
}

#[tokio::test]
async fn a_full_queue_says_so_and_takes_tasks_again_when_others_are_gone() {
    let folder = Folder::new();
    let limits = Limits { tasks_max: 2, ..Limits::default() };
    let (queue, _running) = Queue::in_file(&folder.path().join("a b%?.db"), limits).await.expect("a queue");
    let answers = queue.submit(vec![plain("full", "1"); 3], at(0)).await.expect("answered");
    assert_eq!((answers[0].is_ok(), answers[1].is_ok(), answers[2]), (true, true, Err(NotTaken::Full)));
    assert!(*queue.ready().borrow() > 0, "whoever waits for work hears of it");
    let leased = take(&queue, ("w", "full"), 2, at(0)).await;
    let done = leased.iter().map(|leased| super::done(leased, "1")).collect();
    queue.complete("w", done, at(0)).await.expect("answered");
    queue.discard(&leased.iter().map(|leased| leased.id).collect::<Vec<_>>()).await.expect("answered");
    queue.sweep(at(700)).await.expect("swept");
    assert!(queue.submit(vec![plain("full", "1")], at(700)).await.expect("answered")[0].is_ok());
}

#[tokio::test]
async fn a_lane_that_is_gone_between_two_submissions_is_made_again() {
    let folder = Folder::new();
    let (queue, _running) = folder.queue().await;
    assert!(take(&queue, ("w", "gone"), 1, at(0)).await.is_empty());
    for is_swept in [true, false] {
        let id = put(&queue, plain("gone", "1"), at(0)).await;
        let leased = take(&queue, ("w", "gone"), 1, at(0)).await.remove(0);
        assert_eq!(leased.id, id);
        queue.complete("w", vec![super::done(&leased, "1")], at(0)).await.expect("answered")[0].expect("held");
        assert_eq!(queue.discard(&[id]).await.expect("answered"), 1);
        if is_swept {
            queue.sweep(at(0)).await.expect("swept");
        } else {
            // Somebody else does it, and nobody tells the queue.
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.path().join("tasks.db"));
            let mut connection = sqlx::ConnectOptions::connect(&options).await.expect("opened");
            let deleted = sqlx::raw_sql("DELETE FROM comity_lane").execute(&mut connection).await.expect("deleted");
            assert_eq!(deleted.rows_affected(), 1);
        }
    }
    let id = put(&queue, plain("gone", "2"), at(0)).await;
    assert_eq!(take(&queue, ("w", "gone"), 1, at(0)).await.remove(0).id, id);
}

#[tokio::test]
async fn results_count_among_what_a_queue_holds_until_they_are_gone() {
    let folder = Folder::new();
    let limits = Limits { bytes_max: 100, ..Limits::default() };
    let (queue, _running) = Queue::in_file(&folder.path().join("tasks.db"), limits).await.expect("a queue");
    let is_taken = async |now| queue.submit(vec![plain("other", "1")], now).await.expect("answered")[0].is_ok();
    queue.submit(vec![plain("large", "1")], at(0)).await.expect("answered")[0].expect("taken in");
    assert!(is_taken(at(0)).await);
    let leased = take(&queue, ("w", "large"), 1, at(0)).await;
    queue.complete("w", vec![super::done(&leased[0], &"x".repeat(98))], at(0)).await.expect("answered")[0]
        .expect("held");
    assert!(!is_taken(at(0)).await);
    // Counted anew it is as much.
    queue.sweep(at(700)).await.expect("swept");
    assert!(!is_taken(at(700)).await);
    assert_eq!(queue.discard(&[leased[0].id]).await.expect("answered"), 1);
    queue.sweep(at(1400)).await.expect("swept");
    assert!(is_taken(at(1400)).await);
    assert!(is_taken(at(1400)).await);
}
