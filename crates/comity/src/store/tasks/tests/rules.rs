//! Behaviours that do not depend on the database: each on a queue that is empty, on a file here, and on a server in
//! `server.rs`.

use super::super::{NotTaken, Queue, QueueError, Submitted, Swept};
use super::setting::{fault, grip, put};
use super::{DAY, Folder, at, done, plain, take};
use comity_core::task::{
    BadTask, LINE_MAX, LINES_KEPT_MAX, NewTask, Offer, PAYLOAD_MAX, Property, Refused, State, TaskId,
};
use comity_core::wire::mesh::task::{Fault, Grip, Progress};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// All of them, for whoever runs each on one kind of database.
macro_rules! every_rule {
    ($on:ident) => {
        $on! {
            a_worker_that_dies_at_any_step_loses_its_task_to_another_and_is_refused_when_it_comes_back
            of_two_workers_with_one_lease_one_is_heard_and_what_it_did_counts_once
            a_key_makes_one_task_of_many_submissions_and_a_conflict_of_others
            of_a_key_that_comes_again_with_another_deadline_the_first_deadline_counts
            tasks_go_to_who_is_able_by_priority_and_then_by_age
            what_was_claimed_by_somebody_who_went_away_is_anothers_at_once_and_counts_as_no_attempt
            the_dead_are_listed_and_queued_again_by_a_person_and_go_in_the_end
            what_is_wanted_back_or_too_late_ends_and_its_worker_hears_of_it
            lines_stream_by_cursor_and_the_oldest_go
            clocks_that_jump_harm_no_more_than_their_leases
            hostile_contents_are_kept_as_they_are_or_refused_by_name
            one_submitter_leaves_room_for_other_kinds_of_work
        }
    };
}
pub(super) use every_rule;

macro_rules! on_a_file {
    ($($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let folder = Folder::new();
            let (queue, running) = folder.queue().await;
            super::$name(&queue).await;
            drop(queue);
            running.close().await;
        }
    )*};
}

mod on_a_file {
    use super::Folder;
    super::every_rule!(on_a_file);
}

async fn state_of(queue: &Queue, id: TaskId) -> State {
    queue.whole(id).await.expect("the queue answers").expect("the task").course.state
}

pub(super) async fn a_worker_that_dies_at_any_step_loses_its_task_to_another_and_is_refused_when_it_comes_back(
    queue: &Queue,
) {
    for steps in 0..4 {
        let start = steps * 1000;
        let id = put(queue, plain("step", "1"), at(start)).await;
        let first = take(queue, ("first", "step"), 1, at(start)).await.remove(0);
        if steps >= 1 {
            let renewed = queue.renew("first", &[grip(&first)], at(start + 10)).await.expect("answered");
            assert_eq!(renewed[0].expect("held").until, at(start + 70));
        }
        if steps >= 2 {
            let progress = Progress { grip: grip(&first), fraction: Some(0.5), lines: vec!["half".to_owned()] };
            queue.progress("first", progress, at(start + 20)).await.expect("answered").expect("held");
            assert_eq!(state_of(queue, id).await, State::Running);
        }
        if steps >= 3 {
            // It did its work, and dies before it says so.
            queue.renew("first", &[grip(&first)], at(start + 30)).await.expect("answered");
        }
        assert!(take(queue, ("second", "step"), 1, at(start + 59)).await.is_empty());
        let swept = queue.sweep(at(start + 100)).await.expect("swept");
        assert_eq!(swept.requeued, 1);
        assert!(take(queue, ("second", "step"), 1, at(start + 100)).await.is_empty(), "it waits first");
        let late = queue.complete("first", vec![done(&first, "1")], at(start + 100)).await.expect("answered");
        assert_eq!(late, [Err(Refused::Lapsed)]);
        let second = take(queue, ("second", "step"), 1, at(start + 101)).await.remove(0);
        assert_eq!((second.id, second.token, second.attempt), (id, first.token + 1, 2));
        let late = queue.complete("first", vec![done(&first, "1")], at(start + 102)).await.expect("answered");
        assert_eq!(late, [Err(Refused::Stale)]);
        let late = queue.fail("first", vec![fault(&first, "late")], at(start + 102)).await.expect("answered");
        assert_eq!(late, [Err(Refused::Stale)]);
        let late = queue.renew("first", &[grip(&first)], at(start + 102)).await.expect("answered");
        assert_eq!(late, [Err(Refused::Stale)]);
        let ended = queue.complete("second", vec![done(&second, "2")], at(start + 103)).await.expect("answered");
        assert_eq!(ended, [Ok(State::Succeeded)]);
        let kept = queue.whole(id).await.expect("answered").expect("kept");
        assert_eq!((kept.result.as_deref(), kept.course.worker.as_deref()), (Some("2"), Some("second")));
    }
}

pub(super) async fn of_two_workers_with_one_lease_one_is_heard_and_what_it_did_counts_once(queue: &Queue) {
    let id = put(queue, plain("two", "1"), at(0)).await;
    let lease = take(queue, ("one", "two"), 1, at(0)).await.remove(0);
    let stolen = queue.complete("other", vec![done(&lease, "\"stolen\"")], at(1)).await.expect("answered");
    assert_eq!(stolen, [Err(Refused::NotYours)]);
    let results = ["\"a\"", "\"b\""].map(|result| queue.complete("one", vec![done(&lease, result)], at(1)));
    let [a, b] = results;
    let (a, b) = tokio::join!(a, b);
    assert_eq!((a.expect("answered"), b.expect("answered")), (vec![Ok(State::Succeeded)], vec![Ok(State::Succeeded)]));
    assert_eq!(queue.whole(id).await.expect("answered").expect("kept").result.as_deref(), Some("\"a\""));
    let both = vec![done(&lease, "3"), done(&lease, "4")];
    assert_eq!(queue.complete("one", both, at(2)).await.expect("answered"), [Ok(State::Succeeded); 2]);
    let failed = queue.fail("one", vec![fault(&lease, "after all")], at(3)).await.expect("answered");
    assert_eq!(failed, [Err(Refused::Over(State::Succeeded))]);
    let nobody = Grip { id: TaskId(Uuid::from_u128(1)), token: 1 };
    assert_eq!(queue.renew("one", &[nobody], at(3)).await.expect("answered"), [Err(Refused::Unknown)]);
}

fn keyed(key: &str, payload: &str, submitter: &str) -> NewTask {
    NewTask { idempotency_key: Some(key.to_owned()), submitted_by: submitter.to_owned(), ..plain("keyed", payload) }
}

pub(super) async fn a_key_makes_one_task_of_many_submissions_and_a_conflict_of_others(queue: &Queue) {
    let first = put(queue, keyed("k", "1", "me"), at(0)).await;
    let batch = ["1", "2", "1"].map(|payload| keyed("k", payload, "me"));
    let again = queue.submit(batch.to_vec(), at(5)).await.expect("answered");
    let same = Ok(Submitted { id: first, is_new: false });
    assert_eq!(again, [same, Err(NotTaken::Conflict { first }), same]);
    assert_ne!(put(queue, keyed("k", "2", "you"), at(5)).await, first);
    let calls = (0..20).map(|_| {
        let queue = queue.clone();
        tokio::spawn(async move { queue.submit(vec![keyed("at once", "1", "me"); 2], at(6)).await })
    });
    let mut ids = BTreeSet::new();
    let mut new = 0;
    for call in calls.collect::<Vec<_>>() {
        for answer in call.await.expect("ran").expect("answered") {
            let answer = answer.expect("one of them");
            ids.insert(answer.id);
            new += usize::from(answer.is_new);
        }
    }
    assert_eq!((ids.len(), new), (1, 1));
    assert_eq!(take(queue, ("one", "keyed"), 100, at(7)).await.len(), 3);
}

pub(super) async fn of_a_key_that_comes_again_with_another_deadline_the_first_deadline_counts(queue: &Queue) {
    let due = |seconds, payload| NewTask { deadline: Some(at(seconds)), ..keyed("k", payload, "me") };
    let first = put(queue, due(300, "1"), at(0)).await;
    let again = queue.submit(vec![due(310, "1"), keyed("k", "1", "me"), due(300, "2")], at(10)).await;
    let same = Ok(Submitted { id: first, is_new: false });
    assert_eq!(again.expect("answered"), [same, same, Err(NotTaken::Conflict { first })]);
    let kept = queue.whole(first).await.expect("answered").expect("kept");
    assert_eq!(kept.course.deadline, Some(at(300)));
}

pub(super) async fn tasks_go_to_who_is_able_by_priority_and_then_by_age(queue: &Queue) {
    let mut ids = Vec::new();
    for (number, priority) in [0, 5, 0, 5, -1].into_iter().enumerate() {
        let task = NewTask { priority, ..plain("a", &number.to_string()) };
        ids.push(put(queue, task, at(0)).await);
    }
    let requirements = BTreeMap::from([("memory".to_owned(), Property::Number(8.0))]);
    let large = put(queue, NewTask { requirements, priority: 9, ..plain("a", "large") }, at(0)).await;
    put(queue, plain("b", "other"), at(0)).await;
    let order = |leased: Vec<comity_core::task::Leased>| leased.iter().map(|leased| leased.id).collect::<Vec<_>>();
    assert_eq!(order(take(queue, ("small", "a"), 3, at(1)).await), [ids[1], ids[3], ids[0]]);
    let offer =
        Offer { properties: BTreeMap::from([("memory".to_owned(), Property::Number(16.0))]), ..Offer::of(["a", "c"]) };
    let leased = queue.claim("large", &offer, 100, at(1)).await.expect("answered").take();
    assert_eq!(leased[0].task.payload, "large");
    assert_eq!(order(leased), [large, ids[2], ids[4]]);
    assert!(take(queue, ("small", "c"), 100, at(1)).await.is_empty());
    let many = queue.claim("w", &Offer::of(["a"]), 101, at(1)).await;
    assert!(matches!(many, Err(QueueError::Bad(BadTask::TooMany("wanted", 100)))));
    let mut counts = BTreeMap::new();
    for count in queue.counts().await.expect("answered") {
        counts.insert((count.capability, count.state), count.tasks);
    }
    let expected = [(("a".to_owned(), State::Leased), 6), (("b".to_owned(), State::Queued), 1)];
    assert_eq!(counts, BTreeMap::from(expected));
    assert_eq!(queue.queued().await.expect("answered"), 1);
    let newest = queue.list(None, 3, None).await.expect("answered");
    let older = queue.list(None, 100, newest.last().map(|kept| kept.number)).await.expect("answered");
    assert_eq!((newest.len(), older.len()), (3, 4));
    assert_eq!(queue.list(Some(State::Queued), 9, None).await.expect("answered").len(), 1);
}

pub(super) async fn what_was_claimed_by_somebody_who_went_away_is_anothers_at_once_and_counts_as_no_attempt(
    queue: &Queue,
) {
    let id = put(queue, plain("gone", "1"), at(0)).await;
    let offer = Offer::of(["gone"]);
    // It goes away before it is heard, while it is given the task, when the answer is there, and with the answer.
    for patience in 0..20 {
        drop(timeout(Duration::from_millis(patience), queue.claim("gone", &offer, 1, at(0))).await);
        let there = take(queue, ("there", "gone"), 1, at(0)).await.remove(0);
        assert_eq!((there.id, there.attempt), (id, 1));
        let given_back = Fault { is_begun: false, ..fault(&there, "not begun") };
        assert_eq!(queue.fail("there", vec![given_back], at(0)).await.expect("answered"), [Ok(State::Queued)]);
    }
    drop(queue.claim("gone", &offer, 1, at(0)).await.expect("answered"));
    assert_eq!(take(queue, ("there", "gone"), 1, at(0)).await.remove(0).attempt, 1);
}

pub(super) async fn the_dead_are_listed_and_queued_again_by_a_person_and_go_in_the_end(queue: &Queue) {
    let id = put(queue, plain("dead", "1"), at(0)).await;
    let mut now = 0;
    for attempt in 1..=3 {
        let leased = take(queue, ("w", "dead"), 1, at(now)).await.remove(0);
        assert_eq!(leased.attempt, attempt);
        let failed = queue.fail("w", vec![fault(&leased, &format!("reason {attempt}"))], at(now)).await;
        let expected = if attempt < 3 { State::Queued } else { State::Failed };
        assert_eq!(failed.expect("answered"), [Ok(expected)]);
        now += 10;
    }
    let dead = queue.list(Some(State::Failed), 10, None).await.expect("answered");
    assert_eq!((dead.len(), dead[0].id, dead[0].course.cause.as_deref()), (1, id, Some("reason 3")));
    assert_eq!(queue.requeue(&[id], at(now)).await.expect("answered"), [Ok(State::Queued)]);
    assert!(queue.list(Some(State::Failed), 10, None).await.expect("answered").is_empty());
    let leased = take(queue, ("w", "dead"), 1, at(now)).await.remove(0);
    assert_eq!((leased.attempt, leased.token), (1, 4));
    assert_eq!(queue.discard(&[id]).await.expect("answered"), 0, "it is at work");
    queue.complete("w", vec![done(&leased, "1")], at(now)).await.expect("answered")[0].expect("held");
    let other = put(queue, NewTask { attempts_max: 1, ..plain("dead", "2") }, at(now)).await;
    let lost = put(queue, NewTask { attempts_max: 1, ..plain("dead", "3") }, at(now)).await;
    assert_eq!(take(queue, ("w", "dead"), 2, at(now)).await.len(), 2);
    assert_eq!(queue.sweep(at(now + 60)).await.expect("swept").dead, 2);
    assert_eq!(queue.discard(&[other]).await.expect("answered"), 1);
    assert_eq!(queue.sweep(at(now + 7 * DAY)).await.expect("swept"), Swept { removed: 1, ..Swept::default() });
    assert!(queue.whole(id).await.expect("answered").is_none());
    assert_eq!(state_of(queue, lost).await, State::Failed);
    assert_eq!(queue.sweep(at(now + 31 * DAY)).await.expect("swept").removed, 1);
    assert!(queue.counts().await.expect("answered").is_empty());
}

pub(super) async fn what_is_wanted_back_or_too_late_ends_and_its_worker_hears_of_it(queue: &Queue) {
    let queued = put(queue, plain("back", "1"), at(0)).await;
    assert_eq!(queue.cancel(&[queued], at(1)).await.expect("answered"), [Ok(State::Cancelled)]);
    assert!(take(queue, ("w", "back"), 1, at(1)).await.is_empty());
    put(queue, plain("back", "2"), at(2)).await;
    let held = take(queue, ("w", "back"), 1, at(2)).await.remove(0);
    assert_eq!(queue.cancel(&[held.id], at(3)).await.expect("answered"), [Ok(State::Leased)]);
    let renewed = queue.renew("w", &[grip(&held)], at(4)).await.expect("answered");
    assert!(renewed[0].expect("held").is_cancel_asked);
    let ended = queue.fail("w", vec![fault(&held, "stopped")], at(5)).await.expect("answered");
    assert_eq!(ended, [Ok(State::Cancelled)]);
    let deadline = Some(at(30));
    let waits = put(queue, NewTask { deadline, ..plain("late", "1") }, at(10)).await;
    put(queue, NewTask { deadline, priority: 1, ..plain("late", "2") }, at(10)).await;
    let held = take(queue, ("w", "late"), 1, at(10)).await.remove(0);
    assert!(take(queue, ("w", "late"), 1, at(30)).await.is_empty());
    let refused = queue.renew("w", &[grip(&held)], at(30)).await.expect("answered");
    assert_eq!(refused, [Err(Refused::Over(State::Expired))]);
    assert_eq!(state_of(queue, held.id).await, State::Expired);
    assert_eq!(queue.sweep(at(31)).await.expect("swept").expired, 1);
    assert_eq!(state_of(queue, waits).await, State::Expired);
}

pub(super) async fn lines_stream_by_cursor_and_the_oldest_go(queue: &Queue) {
    let id = put(queue, plain("lines", "1"), at(0)).await;
    let leased = take(queue, ("w", "lines"), 1, at(0)).await.remove(0);
    let say = async |fraction, lines: Vec<String>| {
        let progress = Progress { grip: grip(&leased), fraction: Some(fraction), lines };
        queue.progress("w", progress, at(1)).await.expect("answered").expect("held");
    };
    say(0.25, vec!["one".to_owned(), "two\u{202e}".to_owned()]).await;
    let read = queue.lines(id, 0).await.expect("answered").expect("kept");
    let texts: Vec<_> = read.lines.iter().map(|line| &*line.text).collect();
    assert_eq!((texts, read.next, read.dropped, read.fraction), (vec!["one", "two"], 2, 0, 0.25));
    say(7.0, vec!["three".to_owned()]).await;
    let read = queue.lines(id, read.next).await.expect("answered").expect("kept");
    assert_eq!((read.lines[0].number, &*read.lines[0].text, read.fraction), (3, "three", 1.0));
    assert!(queue.lines(id, read.next).await.expect("answered").expect("kept").lines.is_empty());
    for _ in 0..5 {
        say(0.5, vec!["x".repeat(LINE_MAX * 2); 5]).await;
    }
    let read = queue.lines(id, 0).await.expect("answered").expect("kept");
    let bytes: usize = read.lines.iter().map(|line| line.text.len() + 1).sum();
    assert!(bytes <= LINES_KEPT_MAX && bytes > LINES_KEPT_MAX - 2 * LINE_MAX, "{bytes}");
    assert_eq!((read.dropped + read.lines.len() as u64, read.next), (28, 28));
    let late = Progress { grip: Grip { token: 9, ..grip(&leased) }, fraction: None, lines: vec!["late".to_owned()] };
    assert_eq!(queue.progress("w", late, at(2)).await.expect("answered"), Err(Refused::Stale));
    assert_eq!(queue.lines(id, 28).await.expect("answered").expect("kept").lines, []);
    assert_eq!(queue.lines(TaskId(Uuid::nil()), 0).await.expect("answered"), None);
}

pub(super) async fn clocks_that_jump_harm_no_more_than_their_leases(queue: &Queue) {
    let id = put(queue, plain("clock", "1"), at(0)).await;
    // A worker's registry whose clock is a day ahead gives a lease, and the worker dies.
    let ahead = take(queue, ("ahead", "clock"), 1, at(DAY)).await.remove(0);
    assert_eq!(ahead.until, at(DAY + 60));
    assert_eq!(queue.sweep(at(10)).await.expect("swept"), Swept::default());
    assert_eq!(queue.sweep(at(70)).await.expect("swept").requeued, 1);
    // The wait of a failure that was noted a day ahead is passed over as well.
    let second = take(queue, ("second", "clock"), 1, at(80)).await.remove(0);
    queue.fail("second", vec![fault(&second, "ahead")], at(DAY)).await.expect("answered")[0].expect("held");
    let third = take(queue, ("third", "clock"), 1, at(90)).await.remove(0);
    assert_eq!((third.id, third.token), (id, 3));
    // Who sweeps ahead of time takes the task from its worker, who is then refused: it is not done twice.
    assert_eq!(queue.sweep(at(DAY)).await.expect("swept").dead, 1);
    let late = queue.complete("third", vec![done(&third, "1")], at(95)).await.expect("answered");
    assert_eq!(late, [Err(Refused::Over(State::Failed))]);
    // The clock goes back, and everything goes on.
    assert_eq!(queue.requeue(&[id], at(96)).await.expect("answered"), [Ok(State::Queued)]);
    let last = take(queue, ("last", "clock"), 1, at(96)).await.remove(0);
    assert_eq!(queue.complete("last", vec![done(&last, "1")], at(20)).await.expect("answered"), [Ok(State::Succeeded)]);
}

pub(super) async fn hostile_contents_are_kept_as_they_are_or_refused_by_name(queue: &Queue) {
    let mut requirements = BTreeMap::from([("'; DROP TABLE comity_task; --".to_owned(), Property::Flag(true))]);
    requirements.insert("$1 {} \\ \"".to_owned(), Property::Text("é {}".to_owned()));
    let odd = NewTask {
        kind: "'; DROP TABLE comity_task; --".to_owned(),
        requirements: requirements.clone(),
        submitted_by: "\u{1f980} $2 %s {}".to_owned(),
        idempotency_key: Some("\\'\"".to_owned()),
        ..plain("odd {} $1", r#"{"nul":"\u0000","deep":[[[[1e-7]]]]}"#)
    };
    let id = put(queue, odd.clone(), at(0)).await;
    let offer = Offer { properties: requirements, ..Offer::of(["odd {} $1"]) };
    let leased = queue.claim("w'", &offer, 1, at(0)).await.expect("answered").take().remove(0);
    assert_eq!(leased.task, odd);
    let failed = queue.fail("w'", vec![fault(&leased, "\0\u{7}\u{202e}bad\n")], at(0)).await.expect("answered");
    assert_eq!(failed, [Ok(State::Queued)]);
    let kept = queue.whole(id).await.expect("answered").expect("kept");
    assert_eq!((kept.task, kept.course.cause.as_deref()), (odd, Some("bad")));
    let large = "x".repeat(PAYLOAD_MAX);
    let bad = |change: &dyn Fn(&mut NewTask)| {
        let mut task = plain("odd", "1");
        change(&mut task);
        task
    };
    let batch = vec![
        bad(&|task| task.kind = "a\0".to_owned()),
        bad(&|task| task.submitted_by.clear()),
        bad(&|task| task.payload = format!("{large}x")),
        bad(&|task| task.lease = Duration::MAX),
        bad(&|task| task.attempts_max = u32::MAX),
        bad(&|task| task.payload.clone_from(&large)),
    ];
    let answers = queue.submit(batch, at(0)).await.expect("answered");
    let refused = [
        BadTask::Hidden("kind"),
        BadTask::Empty("submitted_by"),
        BadTask::TooLarge("payload"),
        BadTask::OutOfBounds("lease_seconds", 1, 3600),
        BadTask::OutOfBounds("max_attempts", 1, 100),
    ];
    for (answer, bad) in answers.iter().zip(refused) {
        assert_eq!(*answer, Err(NotTaken::Bad(bad)));
    }
    let leased = take(queue, ("w", "odd"), 5, at(0)).await.remove(0);
    assert_eq!(leased.task.payload.len(), PAYLOAD_MAX);
    let too_large = queue.complete("w", vec![done(&leased, &format!("{large}x"))], at(0)).await;
    assert!(matches!(too_large, Err(QueueError::Bad(BadTask::TooLarge("result")))));
    let too_much = queue.submit(vec![plain("odd", &large); 9], at(0)).await;
    assert!(matches!(too_much, Err(QueueError::Bad(BadTask::TooLarge("tasks")))));
    let able_to_nothing = queue.claim("w", &Offer::default(), 1, at(0)).await.expect("answered");
    assert!(able_to_nothing.tasks().is_empty());
    let hidden = queue.claim("a\0", &Offer::of(["odd"]), 1, at(0)).await;
    assert!(matches!(hidden, Err(QueueError::Bad(BadTask::Hidden("worker")))));
    queue.complete("w", vec![done(&leased, &large)], at(0)).await.expect("answered")[0].expect("held");
    let kept = queue.whole(leased.id).await.expect("answered").expect("kept");
    assert_eq!(kept.result.map(|result| result.len()), Some(PAYLOAD_MAX));
}

pub(super) async fn one_submitter_leaves_room_for_other_kinds_of_work(queue: &Queue) {
    let of = |submitter: &str, kind: usize| NewTask::plain("echo", &format!("kind {kind}"), "1".to_owned(), submitter);
    let mut taken = Vec::new();
    for batch in 0..3 {
        let tasks = (0..100).map(|number| of("greedy", batch * 100 + number)).collect();
        taken.extend(queue.submit(tasks, at(0)).await.expect("answered"));
    }
    assert!(taken[..256].iter().all(Result::is_ok));
    assert!(taken[256..].iter().all(|answer| *answer == Err(NotTaken::TooManyLanes)));
    // Kinds that are there take more, also of who made too many; and others, and the owner, make new ones.
    for task in [of("greedy", 255), of("other", 999)] {
        put(queue, task, at(0)).await;
    }
    let own = queue.submit_own(vec![of("greedy", 998)], at(0)).await.expect("answered");
    assert!(own[0].is_ok_and(|submitted| submitted.is_new));
}
