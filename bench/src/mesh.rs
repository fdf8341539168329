//! Questions to a mesh of nine nodes whose documents lie apart, asked one after another at their registry, which has none:
//! how soon the answer is there, how many of them were asked, and what is not found by asking no others; and what a node
//! does to the answer that is stopped. The nodes are processes of their own as shipped, on loopback.

use crate::clusters::{Clusters, DIMENSION};
use crate::figures::Latency;
use crate::member::{BATCH, Member, PATIENCE, documents, said};
use crate::table::{Unit, alone, line};
use crate::waiting::until;
use crate::words::numbers;
use comity_client::control::{Enroll, Search};
use comity_core::time::Timestamp;
use comity_core::wire::mesh::query::Answer;
use futures_util::future::try_join_all;
use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Documents in all, when nobody says.
const USUAL: [usize; 1] = [90_000];

/// Nodes that have documents.
const NODES: usize = 9;

/// Questions, and those before them that only warm up. They are no documents.
const QUESTIONS: usize = 1000;
const WARM_UP: usize = 100;

/// Results that are asked for.
const WANTED: usize = 10;

/// How long an answer may take, ms: what a node gives when nobody says.
const TIMEOUT_MS: u64 = 1000;

/// Questions while a node is stopped.
const STOPPED_QUESTIONS: usize = 5;

/// Measures, and prints a line for each figure.
pub(crate) fn run(words: &[String]) -> Result<(), String> {
    let [count] = numbers(words, USUAL)?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(measure(count.div_ceil(NODES)))
}

/// Measures with so many documents at each node.
async fn measure(each: usize) -> Result<(), String> {
    let mesh = Mesh::start().await?;
    let mut source = Clusters::new();
    mesh.fill(&mut source, each).await?;
    mesh.tells_where().await?;
    println!("{NODES} nodes with {each} vectors of {DIMENSION} numbers each; {QUESTIONS} questions for {WANTED}.");
    for number in 0..WARM_UP {
        mesh.ask(&source.draw_of((number % NODES, NODES), 1), Vec::new()).await?;
    }
    let questions: Vec<Vec<f32>> = (0..QUESTIONS).map(|number| source.draw_of((number % NODES, NODES), 1)).collect();
    let routed = mesh.ask_all(&questions, &[]).await?;
    let all = mesh.ask_all(&questions, &mesh.keys()).await?;
    let what = "a question by vector, median";
    alone(&line(what, Unit::Millis).goal("< 5 ms"), vec![routed.times.micros(0.5) / 1e3]);
    alone(&line("  99 of 100 below", Unit::Millis).goal("< 25 ms"), vec![routed.times.micros(0.99) / 1e3]);
    let shares = routed.found.iter().zip(&all.found).map(|(some, all)| share(some, all));
    let recall = shares.sum::<f64>() / QUESTIONS as f64;
    alone(&line("  recall at 10, against asking all", Unit::Count).goal(">= 0.95"), vec![recall]);
    alone(&line(format!("  nodes asked, of {NODES}"), Unit::Count).goal("3"), routed.asked);
    alone(&line("  did not answer, in all", Unit::Count).goal("0"), vec![routed.failed as f64]);
    alone(&line(format!("all {NODES} asked, median"), Unit::Millis), vec![all.times.micros(0.5) / 1e3]);
    alone(&line("  99 of 100 below", Unit::Millis), vec![all.times.micros(0.99) / 1e3]);
    mesh.with_one_stopped(&mut source).await
}

/// What share of all there is was found; there is something.
fn share(some: &BTreeSet<String>, all: &BTreeSet<String>) -> f64 {
    some.intersection(all).count() as f64 / all.len() as f64
}

/// What came of many questions.
struct Asked {
    times: Latency,
    /// Nodes that each went to.
    asked: Vec<f64>,
    /// Nodes that did not answer.
    failed: usize,
    /// The documents that each found.
    found: Vec<BTreeSet<String>>,
}

/// The nodes, and their registry.
struct Mesh {
    registry: Member,
    nodes: Vec<Member>,
}

impl Mesh {
    /// Starts them, and waits until the registry knows each.
    async fn start() -> Result<Self, String> {
        let registry = Member::start("registry", &[("COMITY_MESH_COORDINATOR", "true")]).await?;
        let url = format!("https://{}", registry.address());
        let wanted = Enroll { uses: NODES as u32, expires_in_seconds: 3600 };
        let token = registry.client.enroll(&wanted).await.map_err(said)?.token;
        let variables = [
            ("COMITY_MESH_COORDINATOR_URL", url.as_str()),
            // By this key a node knows who asks it.
            ("COMITY_MESH_COORDINATOR_KEY", registry.key.as_str()),
            ("COMITY_MESH_API_KEY", token.as_str()),
        ];
        let mut nodes = Vec::with_capacity(NODES);
        for number in 0..NODES {
            let node = Member::start(&format!("node-{number}"), &variables).await?;
            registry.meets(&node).await?;
            registry.trusts(&node).await?;
            nodes.push(node);
        }
        Ok(Self { registry, nodes })
    }

    fn keys(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.key.clone()).collect()
    }

    /// Gives each node so many documents from regions of its own, and waits until all are linked.
    async fn fill(&self, source: &mut Clusters, each: usize) -> Result<(), String> {
        for first in (0..each).step_by(BATCH) {
            let count = BATCH.min(each - first);
            let batch = |(number, node): (usize, &Member)| {
                documents(&node.name, first, &source.draw_of((number, NODES), count))
            };
            let batches: Vec<_> = self.nodes.iter().enumerate().map(batch).collect();
            try_join_all(self.nodes.iter().zip(batches).map(|(node, batch)| node.index(batch))).await?;
        }
        try_join_all(self.nodes.iter().map(Member::links_all)).await.map(drop)
    }

    /// Waits until the registry knows where all documents lie: each node tells it with its next heartbeat, and it looks
    /// through what it was told whenever it has registered with itself again.
    async fn tells_where(&self) -> Result<(), String> {
        self.is_heard("a heartbeat of each node", &self.keys()).await?;
        self.is_heard("a heartbeat of the registry", std::slice::from_ref(&self.registry.key)).await
    }

    /// Waits until the registry has heard all of these once more.
    async fn is_heard(&self, what: &str, keys: &[String]) -> Result<(), String> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        let since = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        until(what, PATIENCE, async || {
            let listed = self.registry.client.mesh_nodes().await.map_err(said)?.nodes;
            let is_heard =
                |key: &String| listed.iter().any(|node| node.key.as_ref() == Some(key) && node.last_heartbeat > since);
            Ok(keys.iter().all(is_heard).then_some(()))
        })
        .await
    }

    /// Asks the registry, which asks those of the nodes that are named, or by itself those that lie near.
    async fn ask(&self, question: &[f32], nodes: Vec<String>) -> Result<Answer, String> {
        let (basin, limit, timeout_ms) = (Some(question.to_vec()), Some(WANTED as u64), Some(TIMEOUT_MS));
        let search = Search { basin, limit, timeout_ms, nodes, ..Search::default() };
        self.registry.client.search(&search).await.map_err(said)
    }

    /// Asks one question after another.
    async fn ask_all(&self, questions: &[Vec<f32>], nodes: &[String]) -> Result<Asked, String> {
        let (mut times, mut asked, mut found) = (Vec::new(), Vec::new(), Vec::new());
        let mut failed = 0;
        for question in questions {
            let began = Instant::now();
            let answer = self.ask(question, nodes.to_vec()).await?;
            times.push(began.elapsed());
            if answer.results.is_empty() {
                return Err(format!("a question found nothing: {answer:?}"));
            }
            // Where nobody is named, the registry looks into its own index, too.
            asked.push(answer.nodes_queried.saturating_sub(u64::from(nodes.is_empty())) as f64);
            failed += answer.nodes_failed.len();
            found.push(answer.results.iter().map(|hit| hit.doc_id.to_string()).collect());
        }
        Ok(Asked { times: Latency::from_times(times), asked, failed, found })
    }

    /// Stops a node, asks what it would know best, and lets it go on.
    async fn with_one_stopped(&self, source: &mut Clusters) -> Result<(), String> {
        let node = &self.nodes[0];
        let mut times = Vec::with_capacity(STOPPED_QUESTIONS);
        let stopped = Stopped::new(node.pid())?;
        for _ in 0..STOPPED_QUESTIONS {
            let question = source.draw_of((0, NODES), 1);
            let began = Instant::now();
            let answer = self.ask(&question, Vec::new()).await?;
            times.push(millis(began.elapsed()));
            if !answer.nodes_failed.iter().any(|failed| failed.node == node.name) {
                return Err(format!("an answer does not name {}, which was stopped: {answer:?}", node.name));
            }
        }
        drop(stopped);
        let began = Instant::now();
        let question = source.draw_of((0, NODES), 1);
        until(&format!("an answer of {}, which goes on,", node.name), PATIENCE, async || {
            let answer = self.ask(&question, Vec::new()).await?;
            let is_there = answer.results.iter().any(|hit| hit.source_node == node.key);
            Ok((is_there && answer.nodes_failed.is_empty()).then_some(()))
        })
        .await?;
        let again = millis(began.elapsed());
        let what = format!("the nearest stopped, {TIMEOUT_MS} ms given, and named");
        alone(&line(what, Unit::Millis).goal("1,000 ms"), times);
        alone(&line("  it goes on: it answers again after", Unit::Millis), vec![again]);
        Ok(())
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A process that is stopped; it goes on when this is dropped.
struct Stopped(u32);

impl Stopped {
    fn new(pid: u32) -> Result<Self, String> {
        signal("STOP", pid)?;
        Ok(Self(pid))
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Err: it has ended.
        let _ = signal("CONT", self.0);
    }
}

fn signal(name: &str, pid: u32) -> Result<(), String> {
    let sent = Command::new("kill").args(["-s", name, &pid.to_string()]).status().map_err(|error| error.to_string())?;
    if sent.success() { Ok(()) } else { Err(format!("SIG{name} cannot be sent to process {pid}")) }
}
