//! Copies of another node's documents: how soon a new node has all that a node has, and how long after a document is
//! indexed four others have it, while a thousand come every second. The nodes are processes of their own as shipped, on
//! loopback, that know each other and trust each other's documents fully.

use crate::clusters::Clusters;
use crate::figures::{Latency, Measuring};
use crate::member::{BATCH, Member, PATIENCE, documents};
use crate::table::{Unit, alone, line};
use crate::waiting::until;
use crate::words::numbers;
use comity_client::control::IndexSource;
use futures_util::future::try_join_all;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{interval, sleep};

/// Documents that a new node has to read, and seconds for which others come, when nobody says.
const USUAL: [usize; 2] = [100_000, 20];

/// How long a document may take before the measurement is given up; that is not the goal.
const EACH: Duration = Duration::from_millis(5);

/// Nodes that have copies.
const READERS: usize = 4;

/// Documents that are indexed together, how often a second, and how far apart that is.
const TOGETHER: usize = 100;
const A_SECOND: usize = 10;
const APART: Duration = Duration::from_millis(1000 / A_SECOND as u64);

/// How often is looked how much is there: a lag is that much too long, at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What makes a node keep copies of what all nodes have that it knows.
const COPIES: (&str, &str) = ("COMITY_MESH_SOURCES", "*=full");

/// Measures, and prints a line for each figure.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let [count, seconds] = numbers(words, USUAL)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        newcomer(count).await?;
        steady(seconds).await
    })
}

/// How long a new node reads until it has all.
async fn newcomer(count: usize) -> Result<(), String> {
    let source = Member::start("source", &[]).await?;
    let mut vectors = Clusters::new();
    for first in (0..count).step_by(BATCH) {
        let some = vectors.draw(BATCH.min(count - first));
        source.index(documents("document", first, &some)).await?;
    }
    source.links_all().await?;
    let reader = started("newcomer", &source).await?;
    source.trusts(&reader).await?;
    let (read_by, read_from) = (Measuring::begin(Some(reader.pid())), Measuring::begin(Some(source.pid())));
    // From here on it reads; it looks every two seconds whom it knows.
    reader.trusts(&source).await?;
    let what = format!("a copy of all {count} documents at {}", reader.name);
    let within = PATIENCE + EACH * u32::try_from(count).unwrap_or(u32::MAX);
    until(&what, within, async || {
        sleep(LOOK_EVERY).await;
        let copies = copied(&reader, &source).await?;
        Ok(copies.filter(|copies| copies.documents == count as u64 && copies.current.is_some()).map(drop))
    })
    .await?;
    let (read_by, read_from) = (read_by.end(count), read_from.end(count));
    let seconds = count as f64 / read_by.per_second;
    alone(&line(format!("a new node has all {count} documents after"), Unit::Seconds), vec![seconds]);
    alone(&line("  updates a second", Unit::PerSecond).goal(">= 5,000/s"), vec![read_by.per_second]);
    alone(&line("  processor time each, who reads", Unit::Micros), vec![read_by.server_us]);
    alone(&line("  processor time each, who is read", Unit::Micros), vec![read_from.server_us]);
    Ok(())
}

/// How long after a document is safe at one node the others have it, while many come.
async fn steady(seconds: usize) -> Result<(), String> {
    let source = Member::start("source", &[]).await?;
    let mut readers = Vec::new();
    for number in 0..READERS {
        let reader = started(&format!("reader-{number}"), &source).await?;
        source.trusts(&reader).await?;
        reader.trusts(&source).await?;
        readers.push(reader);
    }
    for reader in &readers {
        // Who has read the log of a node is told by it what changes.
        until(&format!("the end of an empty log at {}", reader.name), PATIENCE, async || {
            let copies = copied(reader, &source).await?;
            Ok(copies.filter(|copies| copies.current.is_some()).map(drop))
        })
        .await?;
    }
    let batches = seconds * A_SECOND;
    let (acknowledged, _) = watch::channel(Vec::new());
    let measuring = [source.pid(), readers[0].pid()].map(|pid| Measuring::begin(Some(pid)));
    let following = readers.iter().map(|reader| follow((reader, &source), batches, acknowledged.subscribe()));
    let (rate, lags) = tokio::try_join!(say(&source, batches, &acknowledged), try_join_all(following))?;
    let costs = measuring.map(|measuring| measuring.end(batches * TOGETHER).server_us);
    // A document is there when the last has it.
    let last = |batch: usize| lags.iter().map(|lags| lags[batch]).max().unwrap_or_default();
    let lags = Latency::from_times((0..batches).map(last).collect());
    alone(&line(format!("updates indexed, {READERS} nodes copy them"), Unit::PerSecond).goal(">= 1,000/s"), vec![rate]);
    let lag = |what: &str, share| {
        alone(&line(what, Unit::Millis).goal("< 2,000 ms"), vec![lags.micros(share) / 1e3]);
    };
    lag("  until all of them have one, median", 0.5);
    lag("  most", 1.0);
    alone(&line("  processor time each, who has them first", Unit::Micros), vec![costs[0]]);
    alone(&line("  processor time each, one that copies", Unit::Micros), vec![costs[1]]);
    Ok(())
}

/// A node that keeps copies, and has met the source. Neither knows the other yet.
async fn started(name: &str, source: &Member) -> Result<Member, String> {
    let address = source.address().to_string();
    let reader = Member::start(name, &[("COMITY_PEERS", address.as_str()), COPIES]).await?;
    reader.meets(source).await?;
    source.meets(&reader).await?;
    Ok(reader)
}

/// How it goes with the copies of the source's documents; an update that does not count is an error.
async fn copied(reader: &Member, source: &Member) -> Result<Option<IndexSource>, String> {
    match reader.stats().await?.sources.into_iter().find(|one| one.node == source.key) {
        Some(copies) if copies.refused > 0 => Err(format!("{} refused {} updates", reader.name, copies.refused)),
        copies => Ok(copies),
    }
}

/// Indexes batches in time, and tells when each was acknowledged: how many documents that were a second.
async fn say(source: &Member, batches: usize, acknowledged: &watch::Sender<Vec<Instant>>) -> Result<f64, String> {
    let mut vectors = Clusters::new();
    let mut ticks = interval(APART);
    let began = Instant::now();
    for batch in 0..batches {
        let some = documents("document", batch * TOGETHER, &vectors.draw(TOGETHER));
        ticks.tick().await;
        source.index(some).await?;
        acknowledged.send_modify(|times| times.push(Instant::now()));
    }
    // The last batch has its time, too.
    let took = began.elapsed().max(APART * u32::try_from(batches).unwrap_or(u32::MAX));
    Ok((batches * TOGETHER) as f64 / took.as_secs_f64())
}

/// How long after its acknowledgement each batch was at a reader, which has them in their order.
async fn follow(
    (reader, source): (&Member, &Member),
    batches: usize,
    acknowledged: watch::Receiver<Vec<Instant>>,
) -> Result<Vec<Duration>, String> {
    let (mut lags, mut since) = (Vec::with_capacity(batches), Instant::now());
    while lags.len() < batches {
        let there = copied(reader, source).await?.map_or(0, |copies| copies.documents as usize) / TOGETHER;
        let (now, before) = (Instant::now(), lags.len());
        // What is there before its acknowledgement came is looked at once more.
        let come = |times: &[Instant]| {
            let come = times.get(before..there.min(times.len())).unwrap_or_default();
            come.iter().map(|at| now.saturating_duration_since(*at)).collect::<Vec<_>>()
        };
        lags.extend(come(&acknowledged.borrow()));
        if lags.len() > before {
            since = now;
        } else if since.elapsed() > PATIENCE {
            let (name, seconds) = (&reader.name, PATIENCE.as_secs());
            return Err(format!("{name} has {before} batches of {batches}, and none came for {seconds} s"));
        }
        sleep(LOOK_EVERY).await;
    }
    Ok(lags)
}
