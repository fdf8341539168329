//! The queue on PostgreSQL: the same rules, several processes as one, and a server that comes and goes. Each of these
//! tests has a server of its own.

use super::super::{Given, Queue, QueueError, Running, ServerUrl};
use super::setting::{grip, put};
use super::{at, database, done, plain, queue_on, rules, take};
use comity_core::task::{Kept, Leased, NewTask, Offer, Property, State, TaskId};
use comity_core::wire::mesh::task::Progress;
use comity_tests::postgres::Postgres;
use sqlx::{Connection, PgConnection};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

#[tokio::test]
async fn a_server_keeps_the_same_rules_as_a_file() {
    let server = Postgres::start();
    macro_rules! on_a_server {
        ($($name:ident)*) => {$(
            let url = database(&server, stringify!($name).get(..30).expect("long"));
            let (queue, running) = queue_on(&url).await;
            rules::$name(&queue).await;
            drop(queue);
            running.close().await;
        )*};
    }
    rules::every_rule!(on_a_server);
}

/// What workers do to the world: an effect of a lower token than one that was seen is refused, as whoever is told of
/// tokens does.
#[derive(Default)]
struct World {
    effects: BTreeMap<TaskId, Vec<u64>>,
    acknowledged: BTreeMap<TaskId, Vec<u64>>,
    /// How many that are, for who waits for it.
    told: watch::Sender<u64>,
}

impl World {
    fn effect(&mut self, id: TaskId, token: u64) {
        let tokens = self.effects.entry(id).or_default();
        assert!(!tokens.contains(&token), "one lease was given to two workers");
        if tokens.last().is_none_or(|last| *last < token) {
            tokens.push(token);
        }
    }
}

/// One of two processes on a server: its queue is replaced when it is killed.
struct Process {
    queue: Mutex<Queue>,
    url: ServerUrl,
}

impl Process {
    fn queue(&self) -> Queue {
        self.queue.lock().expect("not poisoned").clone()
    }
}

const TASKS: usize = 10_000;

/// How long it takes until nothing more seems to happen.
const STALLED: Duration = Duration::from_millis(100);

/// The clock of all, in seconds: it moves on when a process is killed, so that nobody waits for leases.
type Clock = Arc<AtomicU64>;

async fn work(process: Arc<Process>, (name, clock): (String, Clock), world: Arc<Mutex<World>>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        let queue = process.queue();
        let now = || at(clock.load(Ordering::Relaxed));
        let offer = Offer::of(["many"]);
        let Ok(leased) = queue.claim(&name, &offer, 100, now()).await.map(Given::take) else {
            tokio::task::yield_now().await;
            continue;
        };
        if leased.is_empty() {
            let mut ready = queue.ready();
            ready.mark_unchanged();
            // A lost task comes back when the clock moves: whoever moves it sweeps.
            let _ = timeout(STALLED, ready.changed()).await;
            continue;
        }
        for leased in &leased {
            world.lock().expect("not poisoned").effect(leased.id, leased.token);
        }
        let all = leased.iter().map(|leased| done(leased, &leased.token.to_string())).collect();
        if let Ok(answers) = queue.complete(&name, all, now()).await {
            let mut world = world.lock().expect("not poisoned");
            for (leased, _) in leased.iter().zip(answers).filter(|(_, answer)| answer.is_ok()) {
                world.acknowledged.entry(leased.id).or_default().push(leased.token);
                world.told.send_modify(|told| *told += 1);
            }
        }
    }
}

/// How many are done.
async fn succeeded(queue: &Queue) -> u64 {
    let counts = queue.counts().await.expect("answered");
    counts.iter().filter(|count| count.state == State::Succeeded).map(|count| count.tasks).sum()
}

/// All that is kept.
async fn all_kept(queue: &Queue) -> Vec<Kept> {
    let (mut kept, mut before) = (Vec::new(), None);
    loop {
        let page = queue.list(None, 200, before).await.expect("answered");
        let Some(last) = page.last() else { return kept };
        before = Some(last.number);
        kept.extend(page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_tasks_are_each_done_once_though_both_processes_are_killed_by_turns() {
    let server = Postgres::start();
    let url = database(&server, "many");
    let clock: Clock = Arc::new(AtomicU64::new(0));
    let (world, over) = (Arc::new(Mutex::new(World::default())), Arc::new(AtomicBool::new(false)));
    let (mut processes, mut alive, mut workers): (Vec<_>, Vec<Running>, JoinSet<()>) =
        (Vec::new(), Vec::new(), JoinSet::new());
    for _ in 0..2 {
        let (queue, running) = queue_on(&url).await;
        processes.push(Arc::new(Process { queue: Mutex::new(queue), url: url.clone() }));
        alive.push(running);
    }
    let tasks = |_| NewTask { attempts_max: 100, ..plain("many", "{}") };
    for batch in 0..TASKS / 100 {
        let tasks = (0..100).map(tasks).collect();
        let answers = processes[batch % 2].queue().submit(tasks, at(0)).await.expect("answered");
        assert!(answers.iter().all(Result::is_ok));
    }
    for (number, process) in processes.iter().enumerate() {
        for worker in 0..2 {
            let name = (format!("worker {number}.{worker}"), Arc::clone(&clock));
            workers.spawn(work(Arc::clone(process), name, Arc::clone(&world), Arc::clone(&over)));
        }
    }
    let mut kills = 0;
    let mut told = world.lock().expect("not poisoned").told.subscribe();
    loop {
        if let Some(ended) = workers.try_join_next() {
            ended.expect("no worker panics");
        }
        // The next is killed when some more work was done, wherever it just is.
        let victim = kills % 2;
        let other = processes[1 - victim].queue();
        let done = succeeded(&other).await;
        if done == TASKS as u64 {
            break;
        }
        let enough = *told.borrow_and_update() + 900;
        // None: what is left is held by who was killed before.
        let _ = timeout(STALLED, told.wait_for(|told| *told >= enough)).await;
        drop(std::mem::replace(&mut alive[victim], {
            let (queue, running) = queue_on(&processes[victim].url).await;
            *processes[victim].queue.lock().expect("not poisoned") = queue;
            running
        }));
        kills += 1;
        clock.fetch_add(400, Ordering::Relaxed);
        let swept = other.sweep(at(clock.load(Ordering::Relaxed))).await.expect("swept");
        assert_eq!((swept.dead, swept.expired, swept.removed), (0, 0, 0));
        clock.fetch_add(400, Ordering::Relaxed);
    }
    over.store(true, Ordering::Relaxed);
    while let Some(ended) = workers.join_next().await {
        ended.expect("no worker panics");
    }
    assert!(kills >= 4, "{kills}");
    let kept = all_kept(&processes[0].queue()).await;
    let world = world.lock().expect("not poisoned");
    assert_eq!(kept.len(), TASKS);
    for task in kept {
        assert_eq!(task.course.state, State::Succeeded);
        let effects = &world.effects[&task.id];
        // The last effect is that of the lease which the queue holds for the one that counted, and only that one was
        // told so.
        assert_eq!(effects.last(), Some(&task.course.token));
        let acknowledged = world.acknowledged.get(&task.id).map_or(&[][..], Vec::as_slice);
        assert!(acknowledged.is_empty() || acknowledged == [task.course.token], "{acknowledged:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_processes_that_reach_for_one_task_at_once_one_gets_it_and_what_it_says_of_it_is_whole() {
    const TASKS: usize = 150;
    let server = Postgres::start();
    let url = database(&server, "one");
    let world = Arc::new(Mutex::new(World::default()));
    let ((one, _one), (two, _two)) = tokio::join!(queue_on(&url), queue_on(&url));
    let mut workers = JoinSet::new();
    for (name, queue) in [("w1", one.clone()), ("w2", two.clone())] {
        let world = Arc::clone(&world);
        workers.spawn(async move {
            let mut finished = 0;
            for _ in 0..TASKS {
                put(&queue, plain("one", "\"payload\""), at(0)).await;
                let Some(leased) = take(&queue, (name, "one"), 1, at(0)).await.pop() else { continue };
                world.lock().expect("not poisoned").effect(leased.id, leased.token);
                assert_eq!(leased.task.payload, "\"payload\"");
                let progress = Progress { grip: grip(&leased), fraction: Some(0.5), lines: vec!["a line".to_owned()] };
                queue.progress(name, progress, at(1)).await.expect("answered").expect("held");
                let ended = queue.complete(name, vec![done(&leased, "1")], at(1)).await;
                assert_eq!(ended.expect("answered"), [Ok(State::Succeeded)]);
                finished += 1;
            }
            finished
        });
    }
    let mut finished: usize = workers.join_all().await.iter().sum();
    // Those that one passed over while the other held them.
    while let Some(leased) = take(&one, ("w1", "one"), 1, at(1)).await.pop() {
        one.complete("w1", vec![done(&leased, "1")], at(1)).await.expect("answered")[0].expect("held");
        finished += 1;
    }
    let kept = all_kept(&two).await;
    assert_eq!((kept.len(), finished), (2 * TASKS, 2 * TASKS));
    for task in kept {
        assert_eq!((task.course.state, task.course.attempts), (State::Succeeded, 1));
        assert_eq!(two.whole(task.id).await.expect("answered").expect("kept").result.as_deref(), Some("1"));
    }
}

#[tokio::test]
async fn what_the_database_does_not_take_is_not_said_to_be_done_and_harms_no_other_call() {
    let server = Postgres::start();
    let url = database(&server, "refuses");
    let (queue, _running) = queue_on(&url).await;
    let mut connection = PgConnection::connect(url.secret()).await.expect("connected");
    const REFUSE: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN RAISE EXCEPTION ''the disk is full''; END';
         CREATE TRIGGER refuse BEFORE INSERT ON comity_result FOR EACH ROW EXECUTE FUNCTION refuse()";
    sqlx::raw_sql(REFUSE).execute(&mut connection).await.expect("made");
    put(&queue, plain("full", "1"), at(0)).await;
    let leased = take(&queue, ("w", "full"), 1, at(0)).await.remove(0);
    let complete = async || queue.complete("w", vec![done(&leased, "1")], at(1)).await;
    let refused = complete().await.expect_err("the result is not kept");
    assert!(refused.to_string().contains("the disk is full"), "{refused}");
    assert!(queue.renew("w", &[grip(&leased)], at(1)).await.expect("answered")[0].is_ok(), "it is still the worker's");
    sqlx::raw_sql("DROP TRIGGER refuse ON comity_result").execute(&mut connection).await.expect("dropped");
    assert_eq!(complete().await.expect("answered"), [Ok(State::Succeeded)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_server_crashed_and_the_same_queue_goes_on() {
    let mut server = Postgres::start();
    let url = database(&server, "crash");
    let (queue, running) = queue_on(&url).await;
    let told = Arc::new(Told::default());
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        callers.spawn(call(queue.clone(), format!("w{caller}"), Arc::clone(&told)));
    }
    let more = async |count: &watch::Sender<u64>, more| {
        let enough = *count.borrow() + more;
        count.subscribe().wait_for(|count| *count >= enough).await.expect("it is there");
    };
    for _ in 0..2 {
        more(&told.done, 100).await;
        server.crash();
        more(&told.refused, 40).await;
        server.go();
    }
    more(&told.done, 100).await;
    told.over.store(true, Ordering::Relaxed);
    while let Some(ended) = callers.join_next().await {
        ended.expect("no caller panics");
    }
    let acknowledged = std::mem::take(&mut *told.acknowledged.lock().expect("not poisoned"));
    let kept: BTreeMap<_, _> = all_kept(&queue).await.into_iter().map(|task| (task.id, task.course.state)).collect();
    for (submitted, done) in acknowledged {
        assert!(kept.contains_key(&submitted));
        assert!(done.is_none_or(|id| kept[&id] == State::Succeeded));
    }
    running.close().await;
}

/// What callers were told while the server came and went.
#[derive(Default)]
struct Told {
    /// What was taken in, and what was told to be done.
    acknowledged: Mutex<Vec<(TaskId, Option<TaskId>)>>,
    done: watch::Sender<u64>,
    refused: watch::Sender<u64>,
    over: AtomicBool,
}

/// Submits, claims and completes one task after the other.
async fn call(queue: Queue, worker: String, told: Arc<Told>) {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    while !told.over.load(Ordering::Relaxed) {
        match queue.submit(vec![plain(&worker, "1")], at(0)).await {
            Ok(answers) => {
                let id = answers[0].expect("taken in").id;
                let mut finished = None;
                if let [leased] = &take_now(&queue, &worker).await[..] {
                    let ended = queue.complete(&worker, vec![done(leased, "1")], at(0)).await;
                    finished = ended.is_ok_and(|ended| ended == [Ok(State::Succeeded)]).then_some(leased.id);
                }
                told.acknowledged.lock().expect("not poisoned").push((id, finished));
                told.done.send_modify(|done| *done += 1);
            }
            Err(QueueError::Database(_)) => {
                told.refused.send_modify(|refused| *refused += 1);
                // As callers do, it asks again a little later.
                again.tick().await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Claims one; nothing when the server is away.
async fn take_now(queue: &Queue, worker: &str) -> Vec<Leased> {
    let claimed = queue.claim(worker, &Offer::of([worker]), 1, at(0)).await;
    claimed.map(Given::take).unwrap_or_default()
}

#[tokio::test]
async fn a_process_hears_of_work_that_another_took_in_also_after_the_server_was_away() {
    let mut server = Postgres::start();
    let url = database(&server, "wake");
    assert_eq!(format!("{url:?}"), "ServerUrl(…)");
    let ((one, _one), (two, _two)) = tokio::join!(queue_on(&url), queue_on(&url));
    let mut ready = two.ready();
    // It has begun to listen.
    ready.changed().await.expect("the queue is there");
    one.submit(vec![plain("wake", "1")], at(0)).await.expect("answered")[0].expect("taken in");
    ready.changed().await.expect("the queue is there");
    assert_eq!(take(&two, ("w", "wake"), 1, at(0)).await.len(), 1);
    server.crash();
    let away = one.submit(vec![plain("wake", "2")], at(0)).await.expect_err("the server is away");
    assert!(away.to_string().starts_with("the database does not answer now"), "{away}");
    assert!(two.whole(TaskId(uuid::Uuid::nil())).await.is_err());
    server.go();
    ready.mark_unchanged();
    ready.changed().await.expect("it listens again");
    loop {
        if one.submit(vec![plain("wake", "3")], at(0)).await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
    ready.changed().await.expect("the queue is there");
    assert_eq!(take(&two, ("w", "wake"), 1, at(0)).await.len(), 1);
}

#[tokio::test]
async fn lanes_that_another_process_makes_or_sweeps_are_noticed() {
    let server = Postgres::start();
    let url = database(&server, "lanes");
    let ((one, _one), (two, _two)) = tokio::join!(queue_on(&url), queue_on(&url));
    let finish = async |queue: &Queue, id: TaskId| {
        let leased = take(queue, ("w", "lane"), 1, at(0)).await.remove(0);
        assert_eq!(leased.id, id);
        queue.complete("w", vec![done(&leased, "1")], at(0)).await.expect("answered")[0].expect("held");
        assert_eq!(queue.discard(&[id]).await.expect("answered"), 1);
    };
    for (mine, other) in [(&one, &two), (&two, &one)] {
        assert!(take(other, ("w", "lane"), 1, at(0)).await.is_empty());
        finish(other, put(mine, plain("lane", "made"), at(0)).await).await;
        // Its first sweep takes the lane away, which the process that made it does not hear.
        other.sweep(at(0)).await.expect("swept");
        finish(other, put(mine, plain("lane", "made again"), at(0)).await).await;
    }
    for payload in ["first", "second"] {
        put(&one, plain("lane", payload), at(0)).await;
    }
    let properties = BTreeMap::from([("memory".to_owned(), Property::Number(8.0))]);
    let offer = Offer { properties: properties.clone(), ..Offer::of(["lane"]) };
    let claim = async || two.claim("w", &offer, 1, at(0)).await.expect("answered").take().remove(0).task.payload;
    assert_eq!(claim().await, "first");
    put(&one, NewTask { requirements: properties, priority: 1, ..plain("lane", "urgent") }, at(0)).await;
    assert_eq!(claim().await, "urgent");
}
