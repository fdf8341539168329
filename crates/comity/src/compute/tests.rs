//! Who is given work, and that nothing is lost on the way.

use super::NotDone;
use super::room::{Crowded, Known, Room};
use crate::driver::Clock;
use crate::scratch::Scratch;
use crate::store::tasks::{Given, Limits, Queue, Running};
use comity_core::task::{Leased, NewTask, Offer, State};
use comity_core::wire::mesh::task::Claim;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;
use tokio::task::{JoinHandle, JoinSet, yield_now};
use tokio::time::{sleep, timeout};

const LONG: Duration = Duration::from_secs(20);

struct Setting {
    queue: Queue,
    room: Room,
    _running: Running,
    _folder: Scratch,
    _serving: JoinSet<()>,
}

async fn setting() -> Setting {
    let folder = Scratch::new();
    let (queue, running) = Queue::in_file(&folder.path().join("tasks.db"), Limits::default()).await.expect("opens");
    let (room, serving) = Room::open(queue.clone(), "me".to_owned());
    let mut tasks = JoinSet::new();
    tasks.spawn(serving);
    Setting { queue, room, _running: running, _folder: folder, _serving: tasks }
}

fn claim(capability: &str, (wanted, slots_free, load): (usize, u32, f64), wait: Duration) -> Claim {
    Claim { offer: Offer::of([capability]), wanted, wait, slots_free, load }
}

impl Setting {
    /// A worker that waits; this returns when it does.
    async fn waits(&self, worker: &'static str, claim: Claim) -> JoinHandle<Vec<Leased>> {
        let room = self.room.clone();
        let waiting = tokio::spawn(async move { taken(room.claim(worker, claim).await.expect("answered")) });
        while !self.room.workers().iter().any(|(name, _)| name == worker) {
            yield_now().await;
        }
        // One more claim that is answered at once shows that those before it were looked at.
        self.room.claim("probe", claim_nothing()).await.expect("answered");
        waiting
    }

    async fn put(&self, capability: &str, count: usize) {
        let tasks = vec![NewTask::plain("tool", capability, "{}".to_owned(), "me"); count];
        self.queue.submit(tasks, Clock::wall()).await.expect("taken in");
    }
}

fn taken(given: Vec<Given>) -> Vec<Leased> {
    given.into_iter().flat_map(Given::take).collect()
}

fn claim_nothing() -> Claim {
    claim("nothing", (1, 1, 0.0), Duration::ZERO)
}

#[tokio::test]
async fn of_those_who_wait_the_one_with_most_free_slots_then_the_least_loaded_is_given_the_task() {
    let setting = setting().await;
    let busy = setting.waits("busy", claim("sum", (1, 1, 0.0), Duration::from_secs(1))).await;
    let free = setting.waits("free", claim("sum", (4, 4, 9.0), LONG)).await;
    let other = setting.waits("other", claim("other", (9, 9, 0.0), Duration::from_secs(1))).await;
    setting.put("sum", 1).await;
    assert_eq!(free.await.expect("ends").len(), 1);
    assert!(busy.await.expect("ends").is_empty() && other.await.expect("ends").is_empty());

    let loaded = setting.waits("loaded", claim("sum", (2, 2, 0.9), LONG)).await;
    let calm = setting.waits("calm", claim("sum", (2, 2, 0.1), LONG)).await;
    setting.put("sum", 3).await;
    let (calm, loaded) = (calm.await.expect("ends").len(), loaded.await.expect("ends").len());
    assert_eq!((calm, loaded), (2, 1), "one after the other, as their slots fill");
}

#[tokio::test]
async fn what_was_given_to_somebody_who_went_away_is_anothers_at_once_and_counts_as_no_attempt() {
    let setting = setting().await;
    let mut gone = Box::pin(setting.room.claim("gone", claim("sum", (1, 9, 0.0), LONG)));
    assert!(timeout(Duration::from_millis(1), &mut gone).await.is_err(), "it waits");
    setting.put("sum", 1).await;
    // It is given the task, as its slots show, and goes away without having looked at it.
    let is_given = |(name, known): &(String, Known)| name == "gone" && known.slots_free == 8;
    while !setting.room.workers().iter().any(is_given) {
        sleep(Duration::from_millis(1)).await;
    }
    drop(gone);
    let given = taken(setting.room.claim("there", claim("sum", (1, 1, 0.0), LONG)).await.expect("answered"));
    assert_eq!(given.iter().map(|leased| (leased.token, leased.attempt)).collect::<Vec<_>>(), [(2, 1)]);
    let kept = setting.queue.whole(given[0].id).await.expect("answered").expect("kept");
    assert_eq!((kept.course.state, kept.course.worker.as_deref()), (State::Leased, Some("there")));
}

#[tokio::test]
async fn who_waits_is_answered_when_its_time_is_over() {
    let setting = setting().await;
    let nothing = setting.room.claim("a", claim("sum", (1, 1, 0.0), Duration::from_millis(50))).await;
    assert!(nothing.expect("answered").is_empty());
    assert_eq!(setting.room.workers().len(), 1, "and is known for a while");
}

#[tokio::test]
async fn one_node_leaves_room_for_others_and_for_this_nodes_own_workers_and_who_hangs_up_frees_its_place() {
    let setting = setting().await;
    let again = |wait| setting.room.claim("greedy", claim("sum", (1, 1, 0.0), wait));
    let mut greedy: Vec<_> = (0..64).map(|_| Box::pin(again(LONG))).collect();
    for waiting in &mut greedy {
        assert!(poll_fn(|context| Poll::Ready(waiting.as_mut().poll(context))).await.is_pending());
    }
    let crowded = again(LONG).await.expect_err("the 65th");
    assert!(matches!(crowded, NotDone::Crowded(Crowded::OfOne)), "{crowded}");
    assert!(again(Duration::ZERO).await.expect("who does not wait needs no place").is_empty());

    let other = setting.waits("other", claim("other", (1, 1, 0.0), LONG)).await;
    let own = setting.waits("me", claim("own", (1, 1, 0.0), LONG)).await;
    setting.put("other", 1).await;
    setting.put("own", 1).await;
    assert_eq!((other.await.expect("ends").len(), own.await.expect("ends").len()), (1, 1));

    drop(greedy);
    let free = setting.waits("greedy", claim("sum", (1, 1, 0.0), LONG)).await;
    setting.put("sum", 1).await;
    assert_eq!(free.await.expect("ends").len(), 1);
}
