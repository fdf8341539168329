//! The queue of tasks: how many are submitted, claimed and completed in a second, each step durable, beside JetStream's
//! work queue, which syncs for each message, and procrastinate, a queue on PostgreSQL; and how soon a task begins when a
//! worker waits. On SQLite, and on PostgreSQL with two nodes.

use crate::figures::{Latency, sync_ms};
use crate::nats;
use crate::server::Server;
use crate::table::{Contestant, Unit, alone, head, in_turns, line};
use comity_client::Client;
use comity_client::control::{DoneWork, GivenTask, TaskToQueue, WantWork, WorkReport};
use comity_tests::postgres::Postgres;
use serde_json::{Map, Value, json};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Tasks in one turn, and who submits them side by side.
const TASKS: usize = 6400;
const SUBMITTERS: usize = 64;

/// Tasks of one who waits for each step.
const ALONE: usize = 400;

/// Tasks that a worker asks for at once.
const CLAIMED: u64 = 100;

/// Workers beside each node.
const WORKERS: usize = 2;

/// Rounds on PostgreSQL.
const ROUNDS: usize = 3;

const CAPABILITY: &str = "bench";

/// Measures, and prints a line for each figure.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(measure())
}

async fn measure() -> Result<(), String> {
    println!(
        "nats: a work queue of JetStream with sync_interval: always, its steps side by side. One by one is each step after \
         the other, with a sync for each; a sync takes {:.2} ms here now.",
        sync_ms()?
    );
    head();
    let lines = [
        line(format!("tasks done, {SUBMITTERS} submitters"), Unit::PerSecond).goal(">= 1,500/s"),
        line("tasks done, one by one", Unit::PerSecond).goal(">= 500/s"),
    ];
    in_turns(lines, async |contestant| {
        Ok(Some(match contestant {
            Contestant::Comity => {
                let node = Server::comity(&[])?;
                let clients = [client(&node)];
                [many(&clients).await?, one_by_one(&clients).await?]
            }
            Contestant::Nats => [
                nats::worked(&Server::jetstream()?, TASKS / 8, SUBMITTERS).await?,
                nats::worked(&Server::jetstream()?, ALONE / 4, 1).await?,
            ],
            Contestant::Mosquitto => return Ok(None),
        }))
    })
    .await?;
    let node = Server::comity(&[])?;
    alone(
        &line("from submitting to beginning, SQLite", Unit::Millis).goal("< 20 ms"),
        vec![begun(&client(&node)).await?],
    );
    drop(node);

    on_a_server().await
}

/// The lines on PostgreSQL, in turns with procrastinate, each on a database of its own.
async fn on_a_server() -> Result<(), String> {
    let (mut rates, mut singles, mut times) = (Vec::new(), Vec::new(), Vec::new());
    let (mut their_rates, mut their_singles) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let server = Postgres::synced();
        let (rate, single) = procrastinate(&server.database(&format!("jobs{round}")))?;
        their_rates.push(rate);
        their_singles.push(single);
        let store = server.database(&format!("tasks{round}"));
        let variables = [("COMITY_MESH_STORE", store.as_str())];
        let nodes = [Server::comity(&variables)?, Server::comity(&variables)?];
        let clients = nodes.each_ref().map(client);
        rates.push(many(&clients).await?);
        singles.push(one_by_one(&clients).await?);
        times.push(begun(&clients[0]).await?);
    }
    alone(&line("tasks done, PostgreSQL, two nodes", Unit::PerSecond).goal(">= 1,500/s"), rates);
    alone(&line("tasks done one by one, PostgreSQL, two nodes", Unit::PerSecond).goal(">= 500/s"), singles);
    alone(&line("from submitting to beginning, PostgreSQL", Unit::Millis).goal("< 20 ms"), times);
    alone(&line(format!("procrastinate: tasks done, {SUBMITTERS} submitters"), Unit::PerSecond), their_rates);
    alone(&line("  one by one", Unit::PerSecond), their_singles);
    println!("A sync takes {:.2} ms now.", sync_ms()?);
    Ok(())
}

/// What procrastinate does in a second on this database: of many submitters, and one by one.
fn procrastinate(database: &str) -> Result<(f64, f64), String> {
    let python = std::env::var_os("BENCH_QUEUE_PYTHON").ok_or("run this by `cargo xtask bench tasks`")?;
    let mut command = Command::new(python);
    command.arg(comity_tests::root().join("bench/queue_rival.py")).arg(database);
    let output = command.args([TASKS / 2, SUBMITTERS, ALONE].map(|number| number.to_string())).output();
    let output = output.map_err(|error| error.to_string())?;
    let said: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("procrastinate: {}", String::from_utf8_lossy(&output.stderr)))?;
    let number = |name: &str| said[name].as_f64().ok_or_else(|| format!("procrastinate said {said}"));
    Ok((number("many")?, number("alone")?))
}

fn client(node: &Server) -> Client {
    Client::new(node.folder())
}

fn task() -> TaskToQueue {
    TaskToQueue {
        kind: "bench".to_owned(),
        capability: CAPABILITY.to_owned(),
        payload: json!({ "text": "x".repeat(128) }),
        requirements: Map::new(),
        priority: 0,
        deadline: None,
        max_attempts: None,
        lease_seconds: None,
        idempotency_key: None,
    }
}

async fn claim(client: &Client, wanted: u64) -> Result<Vec<GivenTask>, String> {
    let (capabilities, properties) = (vec![CAPABILITY.to_owned()], Map::new());
    let slots_free = u32::try_from(wanted).unwrap_or(u32::MAX);
    let want = WantWork { capabilities, properties, wanted, wait_ms: 1000, slots_free, load: 0.0 };
    Ok(client.work(&want).await.map_err(said)?.tasks)
}

async fn complete(client: &Client, tasks: &[GivenTask]) -> Result<(), String> {
    let done = tasks.iter().map(|task| DoneWork { id: task.id, token: task.token, result: json!("done") }).collect();
    let answered = client.report_work(&WorkReport { done, ..WorkReport::default() }).await.map_err(said)?;
    if answered.answers.iter().all(|answer| answer.ok) { Ok(()) } else { Err("a completion was refused".to_owned()) }
}

/// Tasks done a second, of many submitters and some workers.
async fn many(clients: &[Client]) -> Result<f64, String> {
    let began = Instant::now();
    let mut parts: JoinSet<Result<(), String>> = JoinSet::new();
    for number in 0..SUBMITTERS {
        let client = clients[number % clients.len()].clone();
        parts.spawn(async move {
            for _ in 0..TASKS / SUBMITTERS {
                client.queue_task(&task()).await.map_err(said)?;
            }
            Ok(())
        });
    }
    let (done, mut total) = watch::channel(0);
    let done = Arc::new(done);
    for number in 0..WORKERS * clients.len() {
        let (client, done) = (clients[number % clients.len()].clone(), done.clone());
        parts.spawn(async move {
            loop {
                let tasks = claim(&client, CLAIMED).await?;
                complete(&client, &tasks).await?;
                done.send_modify(|done| *done += tasks.len());
            }
        });
    }
    loop {
        tokio::select! {
            // Those that still wait for work end when they are dropped.
            _ = total.wait_for(|done| *done >= TASKS) => return Ok(TASKS as f64 / began.elapsed().as_secs_f64()),
            Some(part) = parts.join_next() => part.map_err(|error| error.to_string())??,
        }
    }
}

/// Tasks done a second, of one who submits each, claims it and completes it.
async fn one_by_one(clients: &[Client]) -> Result<f64, String> {
    let began = Instant::now();
    for client in clients.iter().cycle().take(ALONE) {
        client.queue_task(&task()).await.map_err(said)?;
        complete(client, &claim(client, 1).await?).await?;
    }
    Ok(ALONE as f64 / began.elapsed().as_secs_f64())
}

/// How long after a task is submitted a worker has it that waits: the median, milliseconds.
async fn begun(client: &Client) -> Result<f64, String> {
    let mut times = Vec::with_capacity(ALONE);
    for _ in 0..ALONE {
        let waiting = {
            let client = client.clone();
            tokio::spawn(async move { (claim(&client, 1).await, Instant::now()) })
        };
        // Until the worker waits.
        tokio::time::sleep(Duration::from_millis(5)).await;
        let began = Instant::now();
        client.queue_task(&task()).await.map_err(said)?;
        let (tasks, at) = waiting.await.map_err(|error| error.to_string())?;
        times.push(at.saturating_duration_since(began));
        complete(client, &tasks?).await?;
    }
    Ok(Latency::from_times(times).micros(0.5) / 1e3)
}

fn said(error: comity_client::Error) -> String {
    error.to_string()
}
