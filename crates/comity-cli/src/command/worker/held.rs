//! The tasks that a worker has: their calls, their leases, and what is still to be said of them. A lease that ran out is
//! a call that is broken off: somebody else may do it by then.

use comity_client::Client;
use comity_client::control::{DoneWork, FailedWork, GivenTask, Lease, ToolCall, ToolStep, WorkProgress, WorkReport};
use comity_core::task::{LINES_MAX, PAYLOAD_MAX};
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use uuid::Uuid;

/// How often a lease is renewed at least, which is how soon a worker hears that its task is not wanted any more.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// How long the end of a task is said again where its node does not answer. Its lease has run out long before.
const SAID_FOR: Duration = Duration::from_secs(300);

/// Entries of each kind in one report.
const ENTRIES_MAX: usize = 100;

/// Bytes of results in one report: the bodies of the wire have twice as much.
const RESULTS_MAX: usize = 4 * 1024 * 1024;

/// Progress that waits to be taken up; what finds no room is dropped, and comes again with the next.
const PROGRESS_MAX: usize = 256;

/// A lease of a task.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    /// The node that keeps it; `None`: the worker's own.
    pub(super) node: Option<String>,
    pub(super) id: Uuid,
    pub(super) token: u64,
}

/// How a call ended.
#[derive(Debug, Clone)]
enum End {
    Done(Value),
    Failed { error: String, retry: bool, begun: bool },
}

struct Running {
    lease: Duration,
    /// When the lease ends, as far as is known here.
    until: Instant,
    renew: Instant,
    abort: AbortHandle,
    fraction: Option<f64>,
    lines: Vec<String>,
}

/// What a call says while it runs.
type Told = (Key, Value);

/// What is to be said to one node, of which lease each entry is by its kind, and the bytes of results in it.
type Report = (WorkReport, [Vec<Key>; 4], usize);

/// All that a worker has.
pub(super) struct Held {
    client: Client,
    running: BTreeMap<Key, Running>,
    calls: JoinSet<(Key, End)>,
    ended: Vec<(Key, End, Instant)>,
    progress: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
}

impl Held {
    pub(super) fn new(client: Client) -> Self {
        let progress = mpsc::channel(PROGRESS_MAX);
        Self { client, running: BTreeMap::new(), calls: JoinSet::new(), ended: Vec::new(), progress }
    }

    /// How many tasks run.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// Begins the call of a tool for a task.
    pub(super) fn begin(&mut self, task: GivenTask, target: (String, String), now: Instant) {
        let key = key(&task);
        let lease = Duration::from_secs(task.lease_seconds.max(1));
        let call = call(self.client.clone(), key.clone(), task.payload, target, self.progress.0.clone());
        let abort = self.calls.spawn(call);
        let running = Running {
            lease,
            until: now + lease,
            renew: now + (lease / 3).min(RENEW_EVERY),
            abort,
            fraction: None,
            lines: Vec::new(),
        };
        self.running.insert(key, running);
    }

    /// Gives back a task that cannot be begun here.
    pub(super) fn refuse(&mut self, task: &GivenTask) {
        let error = "its worker could not begin it".to_owned();
        self.ended.push((key(task), End::Failed { error, retry: true, begun: false }, Instant::now()));
    }

    /// The next call that ends, and why it failed, if it did. Waits for ever when nothing runs.
    pub(super) async fn next(&mut self) -> Option<(Key, Option<String>)> {
        loop {
            tokio::select! {
                Some(ended) = self.calls.join_next() => {
                    // Err: it was broken off, and is not ours any more.
                    let Ok((key, end)) = ended else { continue };
                    if self.running.remove(&key).is_none() {
                        continue;
                    }
                    let why = match &end {
                        End::Done(_) => None,
                        End::Failed { error, .. } => Some(error.clone()),
                    };
                    self.ended.push((key.clone(), end, Instant::now()));
                    return Some((key, why));
                }
                Some((key, said)) = self.progress.1.recv() => self.note(&key, &said),
                else => std::future::pending().await,
            }
        }
    }

    /// Keeps what a tool says of how far it is, until the next report.
    fn note(&mut self, key: &Key, said: &Value) {
        let Some(running) = self.running.get_mut(key) else { return };
        if let (Some(done), Some(total)) = (said["progress"].as_f64(), said["total"].as_f64())
            && total > 0.0
        {
            running.fraction = Some((done / total).clamp(0.0, 1.0));
        }
        if let Some(line) = said["message"].as_str() {
            running.lines.push(line.to_owned());
            let more = running.lines.len().saturating_sub(LINES_MAX);
            running.lines.drain(..more);
        }
    }

    /// Breaks off what still runs, and gives it back.
    pub(super) fn give_back(&mut self) {
        for (key, running) in std::mem::take(&mut self.running) {
            running.abort.abort();
            let error = "its worker was stopped".to_owned();
            self.ended.push((key, End::Failed { error, retry: true, begun: true }, Instant::now()));
        }
    }

    /// Says what there is to say, to each node that keeps tasks, all at once; and breaks off what is not ours any more.
    pub(super) async fn report(&mut self) {
        let now = Instant::now();
        self.lapse(now);
        let mut reports = self.reports(now);
        let client = &self.client;
        let said =
            join_all(reports.iter_mut().map(|(keys, report)| async move { (keys, client.report_work(report).await) }));
        let said: Vec<_> = said.await;
        for (keys, answered) in said {
            let Ok(answered) = answered else { continue };
            let asked = Instant::now();
            for (key, answer) in keys.iter().zip(answered.answers) {
                self.ended.retain(|(ended, ..)| ended != key);
                let Some(running) = self.running.get_mut(key) else { continue };
                if answer.ok && !answer.cancel {
                    // From when it was asked, which is before the other side counted.
                    running.until = now + running.lease;
                    running.renew = asked + (running.lease / 3).min(RENEW_EVERY);
                    continue;
                }
                running.abort.abort();
                self.running.remove(key);
                if answer.cancel {
                    let end = End::Failed { error: "it was cancelled".to_owned(), retry: false, begun: true };
                    self.ended.push((key.clone(), end, asked));
                }
            }
        }
    }

    /// Breaks off the calls whose leases ran out, and forgets what could not be said for long.
    fn lapse(&mut self, now: Instant) {
        self.running.retain(|_, running| {
            let is_ours = running.until > now;
            if !is_ours {
                running.abort.abort();
            }
            is_ours
        });
        self.ended.retain(|(_, _, since)| now.duration_since(*since) < SAID_FOR);
    }

    /// What is to be said to each node, and of which lease each entry is, in the order of the answers.
    fn reports(&mut self, now: Instant) -> Vec<(Vec<Key>, WorkReport)> {
        let mut by_node: BTreeMap<Option<String>, Report> = BTreeMap::new();
        let new =
            |node: &Option<String>| (WorkReport { node: node.clone(), ..WorkReport::default() }, Default::default(), 0);
        for (key, end, _) in &self.ended {
            let (report, keys, bytes) = by_node.entry(key.node.clone()).or_insert_with(|| new(&key.node));
            let Key { id, token, .. } = *key;
            match end {
                End::Done(result) if report.done.len() < ENTRIES_MAX && *bytes < RESULTS_MAX => {
                    *bytes += result.to_string().len();
                    report.done.push(DoneWork { id, token, result: result.clone() });
                    keys[1].push(key.clone());
                }
                End::Failed { error, retry, begun } if report.failed.len() < ENTRIES_MAX => {
                    let (error, retry, begun) = (error.clone(), *retry, *begun);
                    report.failed.push(FailedWork { id, token, error, retry, begun });
                    keys[2].push(key.clone());
                }
                _ => {}
            }
        }
        for (key, running) in &mut self.running {
            let (report, keys, _) = by_node.entry(key.node.clone()).or_insert_with(|| new(&key.node));
            let Key { id, token, .. } = *key;
            let lines = std::mem::take(&mut running.lines);
            let fraction = running.fraction.take();
            if !lines.is_empty() || fraction.is_some() {
                report.progress.push(WorkProgress { id, token, fraction, lines });
                keys[3].push(key.clone());
            } else if running.renew <= now && report.leases.len() < ENTRIES_MAX {
                report.leases.push(Lease { id, token });
                keys[0].push(key.clone());
            }
        }
        let said = by_node.into_values().map(|(report, keys, _)| (keys.concat(), report));
        said.filter(|(keys, _)| !keys.is_empty()).collect()
    }
}

fn key(task: &GivenTask) -> Key {
    Key { node: task.node.clone(), id: task.id, token: task.token }
}

/// Calls the tool. The call's id has the lease's number: the same attempt is never run twice, and the journal says which
/// it was.
async fn call(
    client: Client,
    key: Key,
    payload: Value,
    (server, tool): (String, String),
    progress: mpsc::Sender<(Key, Value)>,
) -> (Key, End) {
    let failed = |error: String, retry| End::Failed { error, retry, begun: true };
    let params = match payload {
        Value::Object(params) => params,
        Value::Null => Map::new(),
        _ => return (key, failed("its payload is no JSON object, as arguments of tools are".to_owned(), false)),
    };
    let call_id = Some(format!("task:{}:{}", key.id, key.token));
    let wanted = ToolCall { server, tool, params, timeout_ms: None, call_id };
    let mut steps = match client.call_tool(&wanted).await {
        Ok(steps) => steps,
        Err(error) => return (key, failed(error.to_string(), true)),
    };
    loop {
        match steps.next().await {
            // Err: too much was said at once.
            Ok(Some(ToolStep::Progress { said })) => drop(progress.try_send((key.clone(), said))),
            Ok(Some(ToolStep::Done { result })) if result.to_string().len() > PAYLOAD_MAX => {
                let error = format!("its result is larger than {PAYLOAD_MAX} bytes");
                return (key, failed(error, false));
            }
            Ok(Some(ToolStep::Done { result })) => return (key, End::Done(result)),
            Ok(Some(ToolStep::Failed { code, message, .. })) => {
                let is_worth_another = !matches!(code.as_str(), "bad_params" | "forbidden" | "unknown_tool");
                return (key, failed(format!("{code}: {message}"), is_worth_another));
            }
            Ok(None) => return (key, failed("the node stopped before the tool answered".to_owned(), true)),
            Err(error) => return (key, failed(error.to_string(), true)),
        }
    }
}
