//! That a call is run once: what each caller's call ids stand for, while a call runs and for ten minutes after. A call
//! that comes again joins the one that runs, or is given its answer. See "Calls" in `protocols/federation.md`.

use super::Caller;
use crate::identity::canonical;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a call's answer is given again.
const KEPT: Duration = Duration::from_secs(600);

/// Most calls remembered of one caller: what 120 requests a minute come to, and its burst; of the owner, the latest.
const PER_CALLER_MAX: usize = 2048;

/// Most calls remembered in all.
const CALLS_MAX: usize = 16 * 1024;

/// Most bytes of answers remembered in all. Beyond it the oldest answers go; that their calls were run stays.
const ANSWERS_MAX: usize = 64 * 1024 * 1024;

/// What tells two calls apart that have one id: SHA-256 over the canonical JSON of server, tool and arguments.
pub fn call_digest(server: &str, tool: &str, params: &Value) -> [u8; 32] {
    Sha256::digest(canonical::to_vec(&json!({"params": params, "server": server, "tool": tool}))).into()
}

/// What is to be done with a call that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun<A> {
    /// It is new: run it, and say so by [`Calls::finish`] or [`Calls::forget`].
    Run,
    /// It came before and runs, or has run: this is where its answer is, or will be.
    Joined(A),
    /// It came before, and has run; its answer is not kept any more.
    AnswerGone,
    /// Its id was used for another call.
    OtherCall,
    /// Too many calls are remembered to be sure that it would be run once: not now.
    Full,
}

/// What is held of a call.
#[derive(Debug)]
enum Held<A> {
    /// It runs; the answer will be here.
    Running(A),
    /// It has run.
    Done {
        /// Its answer, while there is room.
        answer: Option<A>,
        /// How much that is, bytes.
        weight: usize,
    },
}

#[derive(Debug)]
struct Known<A> {
    /// What was called with what: an id stands for one call.
    digest: [u8; 32],
    held: Held<A>,
}

type Key = (Caller, String);

/// The calls that are remembered; `A` is where an answer is, or will be.
#[derive(Debug)]
pub struct Calls<A> {
    known: BTreeMap<Key, Known<A>>,
    per_caller: BTreeMap<Caller, usize>,
    /// Those that are done, in the order in which they will be forgotten.
    done: BTreeMap<(Duration, u64), Key>,
    /// Of those, the ones whose answers are held.
    answered: BTreeMap<(Duration, u64), Key>,
    weight: usize,
    /// Tells those apart that were done at one moment.
    count: u64,
}

impl<A> Default for Calls<A> {
    fn default() -> Self {
        Self {
            known: BTreeMap::new(),
            per_caller: BTreeMap::new(),
            done: BTreeMap::new(),
            answered: BTreeMap::new(),
            weight: 0,
            count: 0,
        }
    }
}

impl<A: Clone> Calls<A> {
    /// A call came. `digest` is of all that it says; `answer` is where its answer will be, if it is to be run.
    pub fn begin(&mut self, caller: &Caller, id: &str, digest: [u8; 32], now: Duration, answer: A) -> Begun<A> {
        self.expire(now);
        let key = (caller.clone(), id.to_owned());
        if let Some(known) = self.known.get(&key) {
            return match &known.held {
                _ if known.digest != digest => Begun::OtherCall,
                Held::Running(answer) | Held::Done { answer: Some(answer), .. } => Begun::Joined(answer.clone()),
                Held::Done { answer: None, .. } => Begun::AnswerGone,
            };
        }
        if *caller == Caller::Owner && self.per_caller.get(caller).is_some_and(|count| *count >= PER_CALLER_MAX) {
            self.forget_oldest(caller);
        }
        let of_caller = self.per_caller.get(caller).copied().unwrap_or_default();
        if of_caller >= PER_CALLER_MAX || self.known.len() >= CALLS_MAX {
            return Begun::Full;
        }
        self.per_caller.insert(caller.clone(), of_caller + 1);
        self.known.insert(key, Known { digest, held: Held::Running(answer) });
        Begun::Run
    }

    /// A call that was to be run has its answer, of so many bytes.
    pub fn finish(&mut self, caller: &Caller, id: &str, weight: usize, now: Duration) {
        let key = (caller.clone(), id.to_owned());
        let Some(known) = self.known.get_mut(&key) else { return };
        let Held::Running(answer) = &known.held else { return };
        known.held = Held::Done { answer: Some(answer.clone()), weight };
        self.count += 1;
        self.weight += weight;
        self.done.insert((now, self.count), key.clone());
        self.answered.insert((now, self.count), key);
        while self.weight > ANSWERS_MAX {
            let Some((_, oldest)) = self.answered.pop_first() else { return };
            self.drop_answer(&oldest);
        }
    }

    /// A call that was to be run was not: it may come again.
    pub fn forget(&mut self, caller: &Caller, id: &str) {
        let key = (caller.clone(), id.to_owned());
        if self.known.get(&key).is_some_and(|known| matches!(known.held, Held::Running(_))) {
            self.remove(&key);
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Forgets the call of a caller that ended first. Nobody bounds how often the owner calls, whose workers give each
    /// call an id of its own.
    fn forget_oldest(&mut self, caller: &Caller) {
        let ended = self.done.iter().find(|(_, key)| key.0 == *caller).map(|(at, _)| *at);
        if let Some(key) = ended.and_then(|at| self.done.remove(&at).inspect(|_| drop(self.answered.remove(&at)))) {
            self.drop_answer(&key);
            self.remove(&key);
        }
    }

    fn drop_answer(&mut self, key: &Key) {
        if let Some(Known { held: Held::Done { answer, weight, .. }, .. }) = self.known.get_mut(key)
            && answer.take().is_some()
        {
            self.weight -= *weight;
        }
    }

    fn expire(&mut self, now: Duration) {
        while let Some((&(at, count), _)) = self.done.first_key_value() {
            if now < at + KEPT {
                return;
            }
            let Some(key) = self.done.remove(&(at, count)) else { return };
            self.answered.remove(&(at, count));
            self.drop_answer(&key);
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &Key) {
        self.known.remove(key);
        if let Some(count) = self.per_caller.get_mut(&key.0) {
            *count -= 1;
            if *count == 0 {
                self.per_caller.remove(&key.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(name: &str) -> Caller {
        name.parse().expect("a caller")
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_call_is_run_once_and_answered_the_same_for_ten_minutes() {
        let (mut calls, beta) = (Calls::default(), caller("beta.test"));
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(0), "one"), Begun::Run);
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(1), "two"), Begun::Joined("one"));
        calls.finish(&beta, "1", 3, at(10));
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(609), "three"), Begun::Joined("one"));
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(610), "four"), Begun::Run);
    }

    #[test]
    fn a_call_that_runs_is_not_forgotten_however_long_it_takes() {
        let (mut calls, beta) = (Calls::default(), caller("beta.test"));
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(0), "one"), Begun::Run);
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(10_000), "two"), Begun::Joined("one"));
    }

    #[test]
    fn an_id_is_its_callers_own_and_stands_for_one_call() {
        let (mut calls, beta) = (Calls::default(), caller("beta.test"));
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(0), ()), Begun::Run);
        assert_eq!(calls.begin(&caller("gamma.test"), "1", [0; 32], at(0), ()), Begun::Run);
        assert_eq!(calls.begin(&caller("client:beta.test"), "1", [0; 32], at(0), ()), Begun::Run);
        assert_eq!(calls.begin(&beta, "1", [1; 32], at(0), ()), Begun::OtherCall);
    }

    #[test]
    fn what_was_not_run_may_come_again_and_what_was_may_not() {
        let (mut calls, beta) = (Calls::default(), caller("beta.test"));
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(0), ()), Begun::Run);
        calls.forget(&beta, "1");
        assert!(calls.is_empty() && calls.per_caller.is_empty());
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(0), ()), Begun::Run);
        calls.finish(&beta, "1", 0, at(0));
        calls.forget(&beta, "1");
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(0), ()), Begun::Joined(()));
    }

    #[test]
    fn nobody_takes_the_room_of_others_and_no_answer_is_worth_running_twice() {
        let (mut calls, beta) = (Calls::default(), caller("beta.test"));
        for id in 0..PER_CALLER_MAX {
            assert_eq!(calls.begin(&beta, &id.to_string(), [0; 32], at(0), ()), Begun::Run);
        }
        assert_eq!(calls.begin(&beta, "more", [0; 32], at(0), ()), Begun::Full);
        assert_eq!(calls.begin(&caller("gamma.test"), "1", [0; 32], at(0), ()), Begun::Run);
        calls.finish(&beta, "0", ANSWERS_MAX, at(1));
        calls.finish(&beta, "1", 1, at(2));
        assert_eq!(calls.begin(&beta, "0", [0; 32], at(3), ()), Begun::AnswerGone);
        assert_eq!(calls.begin(&beta, "1", [0; 32], at(3), ()), Begun::Joined(()));
        assert_eq!(calls.weight, 1);
        calls.expire(at(1000));
        assert_eq!((calls.weight, calls.len()), (0, PER_CALLER_MAX - 2 + 1));
    }

    #[test]
    fn the_owner_may_call_as_often_as_they_like_and_calls_that_run_are_not_forgotten() {
        let mut calls = Calls::default();
        assert_eq!(calls.begin(&Caller::Owner, "runs", [0; 32], at(0), ()), Begun::Run);
        for id in 0..2 * PER_CALLER_MAX {
            assert_eq!(calls.begin(&Caller::Owner, &id.to_string(), [0; 32], at(0), ()), Begun::Run);
            calls.finish(&Caller::Owner, &id.to_string(), 1, at(0));
        }
        assert_eq!((calls.len(), calls.weight), (PER_CALLER_MAX, PER_CALLER_MAX - 1));
        assert_eq!(calls.begin(&Caller::Owner, "runs", [0; 32], at(1), ()), Begun::Joined(()));
        let last = (2 * PER_CALLER_MAX - 1).to_string();
        assert_eq!(calls.begin(&Caller::Owner, &last, [0; 32], at(1), ()), Begun::Joined(()));
    }
}
