//! Where claims wait for work, and who gets it: of all that wait, whoever has the most free slots, then the least load,
//! is asked first. What a task may become is not decided here, but by the queue. See "Compute" in `protocols/mesh.md`.

use super::NotDone;
use crate::driver::Clock;
use crate::store::tasks::{Given, Queue, QueueError};
use comity_core::registry::placement::{Worker, rank};
use comity_core::task::Offer;
use comity_core::wire::mesh::task::Claim;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// Claims of other nodes that wait at once, and of this node's own workers as many again: each is a connection.
const WAITING_MAX: usize = 1024;

/// Claims of one other node that wait at once, so that it leaves room for others: a node has a worker or a few, and each
/// of them waits once.
const WAITING_OF_ONE_MAX: usize = 64;

/// Bytes of payloads in one answer, from which on it gets no more: one more claim may add as much again.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// How long after its last claim or report a worker counts as there: two of the longest waits.
const THERE_FOR: Duration = Duration::from_secs(60);

/// Workers remembered at once, some hundred bytes each: more than any mesh has nodes.
const WORKERS_MAX: usize = 4096;

/// Why a claim may not wait. It may be made again later, or without waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Crowded {
    /// Its node waits often enough.
    #[error("{WAITING_OF_ONE_MAX} claims of this node wait already")]
    OfOne,
    /// So many others wait.
    #[error("{WAITING_MAX} claims wait here already")]
    OfAll,
}

/// A worker that asked for work lately.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// What it can do.
    pub(crate) offer: Offer,
    /// How many tasks it could begin, as it says, less what it was given since.
    pub(crate) slots_free: u32,
    /// How full it is, as it says.
    pub(crate) load: f64,
    heard: Instant,
}

/// A claim that waits.
struct Waiter {
    worker: String,
    claim: Claim,
    slots_free: u32,
    until: Instant,
    /// At which change of the queue there was nothing for it.
    dry: Option<u64>,
    /// What it got so far, which goes back when nobody waits for it any more.
    given: Vec<Given>,
    bytes: usize,
    answer: oneshot::Sender<Result<Vec<Given>, QueueError>>,
}

impl Waiter {
    /// How many tasks it got so far.
    fn count(&self) -> usize {
        self.given.iter().map(|given| given.tasks().len()).sum()
    }
}

/// How many claims wait, by worker, while there are any.
#[derive(Debug, Default)]
struct Places(Mutex<BTreeMap<String, usize>>);

impl Places {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place of one who waits, which is free again when whoever asked has its answer or is gone.
struct Place<'r> {
    places: &'r Places,
    worker: &'r str,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut places = self.places.lock();
        match places.get_mut(self.worker) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(places.remove(self.worker)),
        }
    }
}

/// The room. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Room {
    arriving: mpsc::Sender<Waiter>,
    /// Of this node's own workers, who have a way in of their own: others may be many, and the queue slow.
    arriving_own: mpsc::Sender<Waiter>,
    /// What this node's own workers are called.
    own: String,
    /// A lock and not a message: it is held to count one up or down.
    places: Arc<Places>,
    /// A lock and not a message: it is held to note that a worker was heard of, or to list them.
    workers: Arc<Mutex<BTreeMap<String, Known>>>,
}

impl std::fmt::Debug for Waiter {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Waiter").field("worker", &self.worker).finish_non_exhaustive()
    }
}

impl Room {
    /// A room before this queue, of a node whose own workers are called so; and what is to be run as long as it is open.
    pub(super) fn open(queue: Queue, own: String) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (arriving, arrivals) = mpsc::channel(WAITING_MAX);
        let (arriving_own, arrivals_own) = mpsc::channel(WAITING_MAX);
        let room = Self { arriving, arriving_own, own, places: Arc::default(), workers: Arc::default() };
        let serving = serve(queue, [arrivals, arrivals_own], room.workers.clone());
        (room, serving)
    }

    /// Waits for work. What is given and not taken goes back.
    pub(super) async fn claim(&self, worker: &str, claim: Claim) -> Result<Vec<Given>, NotDone> {
        // Who does not wait needs no place.
        let _place = if claim.wait.is_zero() { None } else { Some(self.place(worker)?) };
        self.note(worker, &claim);
        let (answer, answered) = oneshot::channel();
        let waiter = Waiter {
            worker: worker.to_owned(),
            slots_free: claim.slots_free,
            until: Instant::now() + claim.wait,
            dry: None,
            given: Vec::new(),
            bytes: 0,
            answer,
            claim,
        };
        let arriving = if worker == self.own { &self.arriving_own } else { &self.arriving };
        arriving.try_send(waiter).map_err(|refused| match refused {
            TrySendError::Full(_) => NotDone::from(Crowded::OfAll),
            TrySendError::Closed(_) => QueueError::Closed.into(),
        })?;
        Ok(answered.await.unwrap_or(Err(QueueError::Closed))?)
    }

    fn place<'r>(&'r self, worker: &'r str) -> Result<Place<'r>, Crowded> {
        let mut places = self.places.lock();
        let of_one = places.get(worker).copied().unwrap_or(0);
        let is_own = worker == self.own;
        let alike = places.iter().filter(|(other, _)| (**other == self.own) == is_own);
        if !is_own && of_one >= WAITING_OF_ONE_MAX {
            return Err(Crowded::OfOne);
        }
        if alike.map(|(_, count)| count).sum::<usize>() >= WAITING_MAX {
            return Err(Crowded::OfAll);
        }
        places.insert(worker.to_owned(), of_one + 1);
        Ok(Place { places: &self.places, worker })
    }

    /// Notes that a worker was heard of.
    pub(super) fn heard(&self, worker: &str) {
        if let Some(known) = self.lock().get_mut(worker) {
            known.heard = Instant::now();
        }
    }

    /// The workers that are there, by node.
    pub(super) fn workers(&self) -> Vec<(String, Known)> {
        let there = |(_, known): &(&String, &Known)| known.heard.elapsed() < THERE_FOR;
        self.lock().iter().filter(there).map(|(worker, known)| (worker.clone(), known.clone())).collect()
    }

    fn note(&self, worker: &str, claim: &Claim) {
        let mut workers = self.lock();
        if workers.len() >= WORKERS_MAX {
            workers.retain(|_, known| known.heard.elapsed() < THERE_FOR);
        }
        if workers.len() < WORKERS_MAX || workers.contains_key(worker) {
            let Claim { offer, slots_free, load, .. } = claim.clone();
            workers.insert(worker.to_owned(), Known { offer, slots_free, load, heard: Instant::now() });
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Known>> {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives work to those who wait, whenever there may be some, until nobody can come any more.
async fn serve(
    queue: Queue,
    [mut arrivals, mut arrivals_own]: [mpsc::Receiver<Waiter>; 2],
    workers: Arc<Mutex<BTreeMap<String, Known>>>,
) {
    let mut ready = queue.ready();
    let mut waiting: Vec<Waiter> = Vec::new();
    loop {
        let next = waiting.iter().map(|waiter| waiter.until).min();
        tokio::select! {
            arrived = arrivals.recv() => match arrived {
                Some(waiter) => waiting.push(waiter),
                None => return,
            },
            Some(waiter) = arrivals_own.recv() => waiting.push(waiter),
            changed = ready.changed() => if changed.is_err() {
                return;
            },
            () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
        }
        for arrivals in [&mut arrivals, &mut arrivals_own] {
            while let Ok(waiter) = arrivals.try_recv() {
                waiting.push(waiter);
            }
        }
        waiting.retain(|waiter| !waiter.answer.is_closed());
        // Taken before the claims: what comes meanwhile is looked for in the next round.
        let change = *ready.borrow_and_update();
        round(&queue, &mut waiting, change).await;
        let now = Instant::now();
        let is_over = |waiter: &mut Waiter| !waiter.given.is_empty() || waiter.until <= now;
        for waiter in waiting.extract_if(.., is_over) {
            if let Some(known) = workers.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&waiter.worker) {
                known.slots_free = waiter.slots_free;
            }
            // Err: it is gone.
            drop(waiter.answer.send(Ok(waiter.given)));
        }
    }
}

/// Asks the queue for each who waits, the least loaded first, until there is nothing more for any of them.
async fn round(queue: &Queue, waiting: &mut Vec<Waiter>, change: u64) {
    while let Some((best, share)) = best(waiting, change) {
        let Waiter { worker, claim, .. } = &waiting[best];
        match queue.claim(worker, &claim.offer, share, Clock::wall()).await {
            Ok(given) if given.tasks().is_empty() => {
                let offer = claim.offer.clone();
                let alike = waiting.iter_mut().filter(|waiter| waiter.claim.offer == offer);
                alike.for_each(|waiter| waiter.dry = Some(change));
            }
            Ok(given) => {
                let (waiter, tasks) = (&mut waiting[best], given.tasks());
                waiter.slots_free = waiter.slots_free.saturating_sub(u32::try_from(tasks.len()).unwrap_or(u32::MAX));
                waiter.bytes += tasks.iter().map(|leased| leased.task.payload.len()).sum::<usize>();
                waiter.given.push(given);
            }
            Err(error) => {
                let waiter = waiting.swap_remove(best);
                match waiter.given.is_empty() {
                    true => drop(waiter.answer.send(Err(error))),
                    false => drop(waiter.answer.send(Ok(waiter.given))),
                }
            }
        }
    }
}

/// Who is asked for next, and how many it may get before somebody else comes first.
fn best(waiting: &[Waiter], change: u64) -> Option<(usize, usize)> {
    let nothing = Map::new();
    let wants = |waiter: &Waiter| {
        waiter.dry != Some(change) && waiter.count() < waiter.claim.wanted && waiter.bytes < ANSWER_BYTES
    };
    let mut candidates: Vec<_> = waiting.iter().enumerate().filter(|(_, waiter)| wants(waiter)).collect();
    candidates.sort_by(|(_, one), (_, other)| rank(&shown(one, &nothing), &shown(other, &nothing)));
    let (place, first) = *candidates.first()?;
    let room = first.claim.wanted - first.count();
    let ahead = candidates.get(1).map_or(u32::MAX, |(_, second)| first.slots_free.saturating_sub(second.slots_free));
    Some((place, room.min(usize::try_from(ahead.max(1)).unwrap_or(usize::MAX))))
}

/// A waiter as placement looks at it; whether it is able is the queue's to say.
fn shown<'a>(waiter: &'a Waiter, has: &'a Map<String, Value>) -> Worker<'a> {
    let (node, load) = (waiter.worker.as_str(), waiter.claim.load);
    Worker { node, capabilities: &[], slots_free: waiter.slots_free, load, latency: None, has }
}
