//! How tasks go on, one step after the other.

use super::*;
use crate::time::Timestamp;
use std::collections::BTreeMap;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_000_000_000_000 + seconds * 1000)
}

fn leased() -> Course {
    let mut course = Course::begin(3, LEASE, None);
    course.lease_to("one", at(0));
    course
}

#[test]
fn only_the_holder_of_the_current_token_is_heard() {
    let mut course = leased();
    assert_eq!(course.renew("two", 1, at(1)), Err(Refused::NotYours));
    assert_eq!(course.renew("one", 0, at(1)), Err(Refused::Stale));
    assert_eq!(course.lapse(at(60)), Some(Lapse::Requeued));
    assert_eq!(course.complete("one", 1, at(61)), Err(Refused::Lapsed));
    course.lease_to("one", at(62));
    assert_eq!(course.complete("one", 1, at(63)), Err(Refused::Stale));
    assert_eq!(course.complete("one", 2, at(63)), Ok(true));
    assert_eq!(course.complete("one", 2, at(64)), Ok(false));
    assert_eq!(course.renew("one", 2, at(64)), Err(Refused::Over(State::Succeeded)));
}

#[test]
fn what_is_given_back_untouched_is_another_workers_at_once_and_counts_as_no_attempt() {
    let mut course = leased();
    assert_eq!(course.give_back("two", 1, at(1)), Err(Refused::NotYours));
    assert_eq!(course.give_back("one", 1, at(1)), Ok(State::Queued));
    assert!(course.is_ready(at(1)) && course.attempts == 0);
    course.lease_to("two", at(1));
    assert_eq!(course.complete("one", 1, at(2)), Err(Refused::Stale));
    course.cancel(at(2)).expect("held");
    assert_eq!(course.give_back("two", 2, at(3)), Ok(State::Cancelled));
}

#[test]
fn each_attempt_waits_longer_up_to_a_bound_and_the_last_is_dead() {
    let mut course = Course::begin(ATTEMPTS_MAX, LEASE, None);
    let (mut now, mut waits) = (at(0), Vec::new());
    for token in 1..u64::from(ATTEMPTS_MAX) {
        assert!(course.is_ready(now));
        course.lease_to("one", now);
        assert_eq!(course.fail("one", token, ("no", true), now), Ok(State::Queued));
        assert!(!course.is_ready(now));
        waits.push(course.due.since(now));
        now = course.due;
    }
    assert!(waits.is_sorted() && waits[1] == 2 * waits[0] && waits.last() == Some(&BACKOFF_MAX));
    course.lease_to("one", now);
    assert_eq!(course.fail("one", u64::from(ATTEMPTS_MAX), ("no", true), now), Ok(State::Failed));
    course.requeue(now).expect("dead");
    assert_eq!((course.attempts, course.token), (0, u64::from(ATTEMPTS_MAX)));
    course.lease_to("two", now);
    assert_eq!(course.fail("two", 101, ("broken", false), now), Ok(State::Failed));
}

#[test]
fn a_task_that_succeeds_has_no_cause_of_an_attempt_that_failed() {
    let mut course = leased();
    assert_eq!(course.fail("one", 1, ("no", true), at(1)), Ok(State::Queued));
    assert_eq!(course.cause.as_deref(), Some("no"));
    course.lease_to("two", at(5));
    assert_eq!(course.complete("two", 2, at(6)), Ok(true));
    assert_eq!(course.cause, None);
}

#[test]
fn a_task_that_is_wanted_back_ends_at_once_or_when_its_worker_hears_of_it() {
    let mut queued = Course::begin(3, LEASE, None);
    assert_eq!(queued.cancel(at(0)), Ok(State::Cancelled));
    assert_eq!(queued.cancel(at(0)), Ok(State::Cancelled));
    let mut held = leased();
    assert_eq!(held.cancel(at(1)), Ok(State::Leased));
    assert!(held.renew("one", 1, at(2)).expect("held").is_cancel_asked);
    assert_eq!(held.clone().fail("one", 1, ("stopped", true), at(3)), Ok(State::Cancelled));
    assert_eq!(held.clone().complete("one", 1, at(3)), Ok(true));
    assert_eq!(held.lapse(at(100)), Some(Lapse::Cancelled));
    assert_eq!(held.requeue(at(101)), Err(Refused::NotDead(State::Cancelled)));
}

#[test]
fn a_deadline_ends_a_task_wherever_it_is_noticed_first() {
    let course = Course::begin(3, LEASE, Some(at(30)));
    assert!(course.is_ready(at(29)) && !course.is_ready(at(30)));
    let mut held = course.clone();
    held.lease_to("one", at(0));
    assert_eq!(held.clone().lapse(at(30)), Some(Lapse::Expired));
    assert_eq!(held.renew("one", 1, at(30)), Err(Refused::Over(State::Expired)));
    assert_eq!((held.state, held.finished), (State::Expired, Some(at(30))));
    held.requeue(at(31)).expect("it may be tried again");
    assert!(held.is_ready(at(31)));
}

#[test]
fn a_clock_that_was_ahead_lengthens_no_lease_and_no_wait() {
    let mut held = Course::begin(3, LEASE, None);
    held.lease_to("one", at(1_000_000));
    assert_eq!(held.lapse(at(0)), None);
    assert_eq!(held.due, at(60));
    assert_eq!(held.lapse(at(60)), Some(Lapse::Requeued));
    held.due = at(1_000_000);
    assert!(held.is_ready(at(0)));
}

#[test]
fn a_worker_meets_requirements_by_as_much_or_more() {
    let wanted = |number| BTreeMap::from([("memory".to_owned(), Property::Number(number))]);
    assert!(meets(&wanted(4.0), &wanted(8.0)) && meets(&wanted(8.0), &wanted(8.0)));
    assert!(!meets(&wanted(8.0), &wanted(4.0)) && !meets(&wanted(8.0), &BTreeMap::new()));
    let text = |text: &str| BTreeMap::from([("memory".to_owned(), Property::Text(text.to_owned()))]);
    assert!(meets(&text("a"), &text("a")) && !meets(&text("a"), &text("b")) && !meets(&text("8"), &wanted(8.0)));
}

#[test]
fn a_task_with_another_deadline_is_the_same_task_and_one_with_other_contents_is_not() {
    let task = NewTask::plain("echo", "text", "{}".to_owned(), "me");
    let soon = NewTask { deadline: Some(at(1)), ..task.clone() };
    let late = NewTask { deadline: Some(at(2)), ..task.clone() };
    assert_eq!((soon.digest(), late.digest()), (task.digest(), task.digest()));
    assert_ne!(task.digest_with(Some(at(1))), task.digest_with(Some(at(2))));
    assert_ne!(NewTask { payload: "[]".to_owned(), ..task.clone() }.digest(), task.digest());
}

#[test]
fn a_task_beyond_a_bound_is_refused_by_the_name_of_the_field() {
    let good = NewTask::plain("echo", "text", "{}".to_owned(), "me");
    assert_eq!(good.check(), Ok(()));
    let refused = |change: &dyn Fn(&mut NewTask)| {
        let mut task = good.clone();
        change(&mut task);
        assert_ne!(task.digest(), good.digest());
        task.check().expect_err("refused").to_string()
    };
    assert_eq!(refused(&|task| task.kind.clear()), "`kind` is empty");
    assert_eq!(refused(&|task| task.capability = "x".repeat(129)), "`capability` is longer than 128 bytes");
    assert_eq!(refused(&|task| task.kind = "a\0".to_owned()), "`kind` has a character that cannot be seen");
    assert_eq!(refused(&|task| task.attempts_max = 0), "`max_attempts` must be 1 to 100");
    assert_eq!(refused(&|task| task.lease = Duration::ZERO), "`lease_seconds` must be 1 to 3600");
    assert_eq!(refused(&|task| task.payload = " ".repeat(PAYLOAD_MAX + 1)), "`payload` is larger than 1048576 bytes");
    let endless = |task: &mut NewTask| {
        task.requirements.insert("a".to_owned(), Property::Number(f64::NAN));
    };
    assert_eq!(refused(&endless), "`requirements` has a number that is not finite");
}
