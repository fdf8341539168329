//! What the journal does on this disk: durable entries a second beside JetStream's and the disk's own syncs, and how
//! long a million entries take to be opened, verified, exported, and one of them to be proved.

use crate::figures::{self, Latency, Measuring, Rate};
use crate::nats;
use crate::server::{Folder, Server};
use crate::table::{Contestant, Unit, head, in_turns, line};
use bytes::Bytes;
use comity::journal::{self, Journal, Limits};
use comity_core::identity::key::KeyPair;
use comity_core::journal::{Draft, EntryKind};
use comity_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long writers write in one turn.
const WRITING: Duration = Duration::from_secs(5);

/// How many messages JetStream is given by each writer in one turn. It syncs for each.
const STORED: usize = 100;

/// How many entries the journal has when it is read.
const ENTRIES: u64 = 1_000_000;

/// How many writers fill it up to that: as many as one group has room for.
const FILLING: u64 = 1024;

/// How many entries are proved.
const PROOFS: u64 = 1000;

/// Measures, and prints a line for each figure.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(said)?;
    let folder = Folder::new();
    std::fs::create_dir_all(folder.path()).map_err(said)?;
    runtime.block_on(measure(&folder.path().join("journal")))
}

async fn measure(folder: &Path) -> Result<(), String> {
    let key = KeyPair::from_seed([7; 32]);
    // All of it is wanted: nothing is dropped.
    let limits = Limits { keep: u64::MAX, ..Limits::default() };
    let (journal, _) = Journal::open(folder, key.clone(), limits).map_err(said)?;
    println!("nats: JetStream with sync_interval: always.");
    head();
    beside_jetstream(&journal, 1, "").await?;
    beside_jetstream(&journal, 64, ">= 20,000/s").await?;
    read(journal, folder, key, limits).await
}

/// Durable entries a second, and those of JetStream with the same data, in turns.
async fn beside_jetstream(journal: &Journal, writers: usize, goal: &'static str) -> Result<(), String> {
    let before = journal.figures();
    let lines = [
        line(format!("durable entries, {writers} writers"), Unit::PerSecond).goal(goal),
        line("  processor time each, writers", Unit::Micros),
        line("  processor time each, server", Unit::Micros),
        line("  the disk's own syncs of 4 KiB just then", Unit::PerSecond),
    ];
    in_turns(lines, async |contestant| {
        let syncs = 1000.0 / figures::sync_ms()?;
        let rate = match contestant {
            Contestant::Comity => kept(journal, writers).await?,
            Contestant::Nats => {
                let data = Bytes::from(serde_json::to_vec(&data(0, 0)).map_err(said)?);
                nats::stored(&Server::jetstream()?, STORED * writers, writers, data).await?
            }
            Contestant::Mosquitto => return Ok(None),
        };
        Ok(Some([rate.per_second, rate.client_us, rate.server_us, syncs]))
    })
    .await?;
    let after = journal.figures();
    let group = (after.size - before.size) as f64 / (after.groups - before.groups) as f64;
    println!("  {group:.1} entries in a group, which one sync makes durable");
    Ok(())
}

async fn kept(journal: &Journal, writers: usize) -> Result<Rate, String> {
    let measuring = Measuring::begin(None);
    let end = Instant::now() + WRITING;
    let count = write(journal, writers as u64, move |_| Instant::now() < end).await?;
    Ok(measuring.end(usize::try_from(count).map_err(said)?))
}

/// Fills the journal up, and measures how it is read.
async fn read(journal: Journal, folder: &Path, key: KeyPair, limits: Limits) -> Result<(), String> {
    let each = ENTRIES.saturating_sub(journal.range().end).div_ceil(FILLING);
    let began = Instant::now();
    let count = write(&journal, FILLING, move |number| number < each).await?;
    // A fast disk has taken as many before.
    if count > 0 {
        let rate = count as f64 / seconds(began);
        println!("{:<42}{rate:>12.0} entries/s", format!("durable entries, {FILLING} writers"));
    }
    let figures = journal.figures();
    println!(
        "{:<42}{:>12} entries, {} MB in {} segments",
        "now",
        figures.size,
        figures.bytes / 1_000_000,
        figures.segments
    );
    let (head, journal) = (journal.head(), reopened(journal, folder, key, limits).await?);
    let mut times = Vec::new();
    for number in 0..PROOFS {
        let began = Instant::now();
        let proof = journal.prove(number * 7919 % figures.size).map_err(said)?;
        times.push(began.elapsed());
        proof.check().map_err(said)?;
    }
    let times = Latency::from_times(times);
    println!(
        "{:<42}{:>12.0} us, 99 of 100 below {:.0} us",
        "a proof of one entry",
        times.micros(0.5),
        times.micros(0.99)
    );
    let began = Instant::now();
    journal.export(&mut std::io::sink()).map_err(said)?;
    println!("{:<42}{:>12.0} MB/s", "exporting to nowhere", figures.bytes as f64 / 1e6 / seconds(began));
    journal.close().await;
    let measuring = Measuring::begin(None);
    let began = Instant::now();
    let report = journal::verify(folder, None, head).map_err(said)?;
    let cpu = measuring.end(1).client_us / 1e6;
    println!("{:<42}{:>12.2} s ({cpu:.2} s of processor; goal: below 10 s)", "verifying all of it", seconds(began));
    report.flaw.map_or(Ok(()), |flaw| Err(flaw.to_string()))
}

/// Closes the journal and opens it again, with what it kept beside its segments and without.
async fn reopened(journal: Journal, folder: &Path, key: KeyPair, limits: Limits) -> Result<Journal, String> {
    journal.close().await;
    let began = Instant::now();
    let (journal, _) = Journal::open(folder, key.clone(), limits).map_err(said)?;
    println!("{:<42}{:>12.1} ms", "opening it", seconds(began) * 1e3);
    journal.close().await;
    for item in std::fs::read_dir(folder).map_err(said)? {
        let path = item.map_err(said)?.path();
        if path.extension().is_some_and(|extension| extension == "tiles") {
            std::fs::remove_file(path).map_err(said)?;
        }
    }
    let began = Instant::now();
    let (journal, _) = Journal::open(folder, key, limits).map_err(said)?;
    println!("{:<42}{:>12.1} ms", "opening it without its caches", seconds(began) * 1e3);
    Ok(journal)
}

/// Lets so many writers append, each as long as `goes_on` says of its count; how many entries.
async fn write(
    journal: &Journal,
    writers: u64,
    goes_on: impl Fn(u64) -> bool + Copy + Send + 'static,
) -> Result<u64, String> {
    let tasks: Vec<_> = (0..writers)
        .map(|writer| {
            let journal = journal.clone();
            tokio::spawn(async move {
                let mut count = 0;
                while goes_on(count) {
                    journal.append(draft(writer, count)?).await.map_err(said)?;
                    count += 1;
                }
                Ok::<_, String>(count)
            })
        })
        .collect();
    let mut all = 0;
    for task in tasks {
        all += task.await.map_err(said)??;
    }
    Ok(all)
}

/// A message of the usual size: about 500 bytes of the journal.
fn draft(writer: u64, number: u64) -> Result<Draft, String> {
    Draft::new(EntryKind::TaskProgress, Timestamp::from_millis(1_700_000_000_000 + number), data(writer, number))
        .map_err(said)
}

fn data(writer: u64, number: u64) -> Map<String, Value> {
    let data = json!({"message_type": "task_progress", "from_short": "12D3KooW", "priority": "medium",
        "from_peer": "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
        "timestamp": "2023-11-14T22:13:20.123Z", "topic": "CHORUS/coordination/v1",
        "data": {"task_id": number, "progress": 0.5, "agent_id": writer}});
    match data {
        Value::Object(data) => data,
        _ => Map::new(),
    }
}

fn seconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64()
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
