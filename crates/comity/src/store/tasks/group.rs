//! What came together and goes into one transaction: the calls by kind, and what each is answered once the transaction
//! is on disk. Nothing says that calls that were made at once have an order.

use super::lanes::Lanes;
use super::settle::{Answers, Steps};
use super::submit::{NotTaken, Offered, Room, Submitted};
use super::sweep::{Swept, Swings};
use super::transaction::{Transaction, Way};
use super::{Given, QueueError, claim, settle, submit, sweep};
use crate::store::link::DatabaseError;
use comity_core::task::{Leased, TaskId};
use comity_core::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

/// A question, and who asks it.
#[derive(Debug)]
pub(super) struct Ask<Q, A> {
    pub(super) what: Q,
    pub(super) answer: oneshot::Sender<Result<A, QueueError>>,
}

type Taken = Vec<Result<Submitted, NotTaken>>;

/// A call that changes something.
#[derive(Debug)]
pub(super) enum Write {
    Submit(Ask<Offered, Taken>),
    Settle(Ask<Steps, Answers>),
    Claim(Ask<claim::Wanted, Given>),
    Sweep(Ask<Timestamp, Swept>),
    Discard(Ask<Vec<TaskId>, u64>),
}

/// Calls of one transaction.
#[derive(Debug, Default)]
pub(super) struct Group {
    submits: Vec<Ask<Offered, Taken>>,
    settles: Vec<Ask<Steps, Answers>>,
    claims: Vec<Ask<claim::Wanted, Given>>,
    sweeps: Vec<Ask<Timestamp, Swept>>,
    discards: Vec<Ask<Vec<TaskId>, u64>>,
}

/// What each call of a group is answered, in the group's order, whether there is new work, and whether it is
/// time to count what is kept.
#[derive(Debug, Default)]
pub(super) struct Told {
    submits: Vec<Taken>,
    settles: Vec<Answers>,
    claims: Vec<Vec<Leased>>,
    sweeps: Vec<Swept>,
    discards: Vec<u64>,
    pub(super) is_work: bool,
    pub(super) is_count_due: bool,
}

impl Group {
    pub(super) fn add(&mut self, write: Write) {
        match write {
            Write::Submit(ask) => self.submits.push(ask),
            Write::Settle(ask) => self.settles.push(ask),
            Write::Claim(ask) => self.claims.push(ask),
            Write::Sweep(ask) => self.sweeps.push(ask),
            Write::Discard(ask) => self.discards.push(ask),
        }
    }

    /// Leaves out the claims of workers that are gone: nobody would do their tasks until the leases end.
    pub(super) fn forget_the_gone(&mut self) {
        self.claims.retain(|ask| !ask.answer.is_closed());
    }

    /// Whether it is one call, of those that are about one task, or may be.
    pub(super) fn is_for_one(&self) -> bool {
        if !self.sweeps.is_empty() || !self.discards.is_empty() {
            return false;
        }
        match (&self.submits[..], &self.settles[..], &self.claims[..]) {
            ([ask], [], []) => ask.what.tasks.len() == 1,
            ([], [ask], []) => ask.what.0.len() == 1,
            ([], [], [ask]) => ask.what.wanted as u64 <= claim::WHOLE_MAX,
            _ => false,
        }
    }

    /// Does all of it within the transaction.
    pub(super) async fn apply(
        &self,
        transaction: &mut Transaction<'_>,
        (room, swings, lanes): (&mut Room, &mut Swings, &mut Lanes),
    ) -> Result<Told, sqlx::Error> {
        let mut told = Told::default();
        if !self.submits.is_empty() {
            let calls = self.submits.iter().map(|ask| &ask.what);
            told.submits = submit::apply(transaction, calls, (room, lanes)).await?;
            told.is_work = told.submits.iter().flatten().flatten().any(|submitted| submitted.is_new);
        }
        if !self.settles.is_empty() {
            let calls = self.settles.iter().map(|ask| &ask.what);
            let (answers, is_work, bytes) = settle::apply(transaction, calls).await?;
            told.settles = answers;
            room.bytes = room.bytes.saturating_add(bytes);
            told.is_work |= is_work;
        }
        for ask in &self.sweeps {
            let swung = sweep::apply(transaction, ask.what, (room.limits, swings, lanes)).await?;
            let (swept, is_work, is_count_due) = swung;
            told.sweeps.push(swept);
            told.is_work |= is_work;
            told.is_count_due |= is_count_due;
        }
        for ask in &self.discards {
            told.discards.push(sweep::discard(transaction, &ask.what).await?);
        }
        if !self.claims.is_empty() {
            let calls: Vec<_> = self.claims.iter().map(|ask| &ask.what).collect();
            let (answers, are_left) = claim::apply(transaction, lanes, &calls).await?;
            told.claims = answers;
            told.is_work |= are_left && transaction.way() == Way::Locking;
        }
        Ok(told)
    }

    /// Answers everybody. Err of a send: the caller is gone; what it was given goes `back` to the writer by that.
    pub(super) fn answer(self, told: Result<Told, DatabaseError>, back: &mpsc::UnboundedSender<Steps>) {
        fn all<Q, A>(asks: Vec<Ask<Q, A>>, answers: Vec<A>) {
            for (ask, answer) in asks.into_iter().zip(answers) {
                let _ = ask.answer.send(Ok(answer));
            }
        }
        fn none<Q, A>(asks: Vec<Ask<Q, A>>, error: &DatabaseError) {
            for ask in asks {
                let _ = ask.answer.send(Err(error.clone().into()));
            }
        }
        let Self { submits, settles, claims, sweeps, discards } = self;
        match told {
            Ok(told) => {
                all(submits, told.submits);
                all(settles, told.settles);
                let given = claims.iter().zip(told.claims).map(|(ask, leased)| Given::new(leased, &ask.what, back));
                let given = given.collect();
                all(claims, given);
                all(sweeps, told.sweeps);
                all(discards, told.discards);
            }
            Err(error) => {
                none(submits, &error);
                none(settles, &error);
                none(claims, &error);
                none(sweeps, &error);
                none(discards, &error);
            }
        }
    }
}
