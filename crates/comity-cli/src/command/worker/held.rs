//! The tasks that a worker has: their calls, their leases, and what is still to be said of them. A lease that ran out is
//! a call that is broken off: somebody else may do it by then.

use super::is_passing;
use crate::page::{clean, say};
use comity_client::Client;
use comity_client::control::{DoneWork, FailedWork, GivenTask, Lease, ToolCall, ToolStep, WorkProgress, WorkReport};
use comity_core::task::{CAUSE_MAX, LINE_MAX, LINES_MAX, cut};
use comity_core::wire::mesh::task::check_result;
use futures_util::future::join_all;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// How often a lease is renewed at least, which is how soon a worker hears that its task is not wanted any more.
const RENEW_EVERY: Duration = Duration::from_secs(2);

/// How long the end of a task is said again where its node does not answer. Its lease has run out long before.
const SAID_FOR: Duration = Duration::from_secs(300);

/// Entries of each kind in one report.
const ENTRIES_MAX: usize = 100;

/// Bytes of results and lines in one report, beyond which it gets no more: the bodies of the wire have twice as much.
const REPORT_BYTES: usize = 4 * 1024 * 1024;

/// How long after a call for which there was no room it is made again; twice as long after each further one.
const BUSY_FIRST: Duration = Duration::from_millis(100);

/// The longest that such a call waits.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// How long a tool is not offered of which the node said that there is none, though it lists it: a task that comes back
/// at once would go round between the two.
const LACKING_FOR: Duration = Duration::from_secs(30);

/// The code by which a node says that what came of a task is refused, and would be again.
const REFUSED: &str = "bad_request";

/// A tool, by its server and its name there.
pub(super) type Target = (String, String);

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
    target: Target,
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

/// What is to be said to one node, of which lease each entry is by its kind, and the bytes of results and lines in it.
type Report = (WorkReport, [Vec<Key>; 4], usize);

/// All that a worker has.
pub(super) struct Held {
    client: Client,
    running: BTreeMap<Key, Running>,
    calls: JoinSet<(Key, End)>,
    ended: Vec<(Key, End, Instant)>,
    /// Tools that the node said it does not have, and when it last did.
    lacking: BTreeMap<Target, Instant>,
    progress: (mpsc::Sender<Told>, mpsc::Receiver<Told>),
}

impl Held {
    pub(super) fn new(client: Client) -> Self {
        let progress = mpsc::channel(PROGRESS_MAX);
        let (running, lacking) = (BTreeMap::new(), BTreeMap::new());
        Self { client, running, calls: JoinSet::new(), ended: Vec::new(), lacking, progress }
    }

    /// How many tasks run.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_running(&self) -> bool {
        !self.running.is_empty()
    }

    /// The tools of which the node said lately that there are none, whatever it lists.
    pub(super) fn lacking(&self) -> BTreeSet<Target> {
        let lately = |(_, since): &(&Target, &Instant)| since.elapsed() < LACKING_FOR;
        self.lacking.iter().filter(lately).map(|(target, _)| target.clone()).collect()
    }

    /// Begins the call of a tool for a task.
    pub(super) fn begin(&mut self, task: GivenTask, target: Target, now: Instant) {
        let key = key(&task);
        let lease = Duration::from_secs(task.lease_seconds.max(1));
        let call = call(self.client.clone(), key.clone(), task.payload, target.clone(), self.progress.0.clone());
        let abort = self.calls.spawn(call);
        let running = Running {
            target,
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
                    let Some(running) = self.running.remove(&key) else { continue };
                    // Only what the node has no tool for comes back untouched.
                    if let End::Failed { begun: false, .. } = end {
                        self.lacking.insert(running.target, Instant::now());
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
            running.lines.push(cut(line, LINE_MAX));
            running.keep_newest();
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
        let (reports, client) = (self.reports(now), &self.client);
        let said = join_all(reports.into_iter().map(|(keys, report)| async move {
            let answered = client.report_work(&report).await;
            (keys, report, answered)
        }));
        let said: Vec<_> = said.await;
        for (keys, report, answered) in said {
            let answered = match answered {
                Ok(answered) => answered,
                Err(error) => {
                    // What is refused for good would only be refused again.
                    if is_passing(&error) {
                        self.put_back(report);
                    }
                    continue;
                }
            };
            let asked = Instant::now();
            for (key, answer) in keys.iter().zip(answered.answers) {
                if !answer.ok && answer.code.as_deref() == Some(REFUSED) && self.spoil(key, answer.error.as_deref()) {
                    continue;
                }
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

    /// What came of a task is refused for good: it is to be said that it failed. Whether there was a result of it.
    fn spoil(&mut self, key: &Key, why: Option<&str>) -> bool {
        let is_result = |(ended, end, _): &&mut (Key, End, Instant)| ended == key && matches!(end, End::Done(_));
        let Some((_, end, _)) = self.ended.iter_mut().find(is_result) else { return false };
        let error = format!("its result is refused: {}", why.unwrap_or(REFUSED));
        say(&format!("comity: {}: {}", key.id, clean(&error)));
        *end = failed(error, false);
        true
    }

    /// Takes up again what tools said and what was not heard: it goes before what they said since.
    fn put_back(&mut self, report: WorkReport) {
        for WorkProgress { id, token, fraction, lines } in report.progress {
            let key = Key { node: report.node.clone(), id, token };
            let Some(running) = self.running.get_mut(&key) else { continue };
            running.fraction = running.fraction.or(fraction);
            let since = std::mem::replace(&mut running.lines, lines);
            running.lines.extend(since);
            running.keep_newest();
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
        self.lacking.retain(|_, since| now.duration_since(*since) < LACKING_FOR);
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
                End::Done(result) if report.done.len() < ENTRIES_MAX && *bytes < REPORT_BYTES => {
                    *bytes += result.to_string().len();
                    report.done.push(DoneWork { id, token, result: result.clone() });
                    keys[1].push(key.clone());
                }
                End::Failed { error, retry, begun } if report.failed.len() < ENTRIES_MAX => {
                    let (error, retry, begun) = (cut(error, CAUSE_MAX), *retry, *begun);
                    report.failed.push(FailedWork { id, token, error, retry, begun });
                    keys[2].push(key.clone());
                }
                _ => {}
            }
        }
        for (key, running) in &mut self.running {
            let (report, keys, bytes) = by_node.entry(key.node.clone()).or_insert_with(|| new(&key.node));
            let Key { id, token, .. } = *key;
            let is_said = !running.lines.is_empty() || running.fraction.is_some();
            if is_said && report.progress.len() < ENTRIES_MAX && *bytes < REPORT_BYTES {
                let (fraction, lines) = (running.fraction.take(), std::mem::take(&mut running.lines));
                *bytes += lines.iter().map(String::len).sum::<usize>();
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

impl Running {
    /// Drops the oldest lines where there are more than may be said at once.
    fn keep_newest(&mut self) {
        let more = self.lines.len().saturating_sub(LINES_MAX);
        self.lines.drain(..more);
    }
}

fn key(task: &GivenTask) -> Key {
    Key { node: task.node.clone(), id: task.id, token: task.token }
}

/// Calls the tool, again and again where there is no room for the call. The call's id has the lease's number: the same
/// attempt is never run twice, and the journal says which it was.
async fn call(
    client: Client,
    key: Key,
    payload: Value,
    (server, tool): Target,
    progress: mpsc::Sender<Told>,
) -> (Key, End) {
    let params = match payload {
        Value::Object(params) => params,
        Value::Null => Map::new(),
        _ => return (key, failed("its payload is no JSON object, as arguments of tools are".to_owned(), false)),
    };
    let call_id = Some(format!("task:{}:{}", key.id, key.token));
    let wanted = ToolCall { server, tool, params, timeout_ms: None, call_id };
    let mut pause = BUSY_FIRST;
    loop {
        if let Some(end) = call_once(&client, &wanted, &key, &progress).await {
            return (key, end);
        }
        sleep(pause).await;
        pause = (pause * 2).min(BUSY_MAX);
    }
}

/// Calls the tool, if there is room for the call; `None`: there was not, and nothing was run.
async fn call_once(client: &Client, wanted: &ToolCall, key: &Key, progress: &mpsc::Sender<Told>) -> Option<End> {
    let mut steps = match client.call_tool(wanted).await {
        Ok(steps) => steps,
        Err(error) => return Some(failed(error.to_string(), true)),
    };
    loop {
        match steps.next().await {
            // Err: too much was said at once.
            Ok(Some(ToolStep::Progress { said })) => drop(progress.try_send((key.clone(), said))),
            Ok(Some(ToolStep::Done { result })) => return Some(done(result)),
            Ok(Some(ToolStep::Failed { code, message, .. })) => {
                let error = format!("{code}: {message}");
                return match code.as_str() {
                    "busy" => None,
                    // Another worker may have the tool.
                    "unknown_tool" => Some(End::Failed { error, retry: true, begun: false }),
                    code => Some(failed(error, !matches!(code, "bad_params" | "forbidden"))),
                };
            }
            Ok(None) => return Some(failed("the node stopped before the tool answered".to_owned(), true)),
            Err(error) => return Some(failed(error.to_string(), true)),
        }
    }
}

/// What a tool answered, if the node that keeps the task will take it.
fn done(result: Value) -> End {
    match check_result(&result.to_string()) {
        Ok(()) => End::Done(result),
        Err(bad) => failed(format!("its result is refused: {bad}"), false),
    }
}

fn failed(error: String, retry: bool) -> End {
    End::Failed { error, retry, begun: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn held() -> (Held, Key) {
        let mut held = Held::new(Client::new("/nowhere"));
        let task = GivenTask {
            node: None,
            id: Uuid::nil(),
            kind: "tool".to_owned(),
            capability: "job".to_owned(),
            payload: Value::Null,
            token: 1,
            attempt: 1,
            lease_seconds: 60,
            submitted_by: "me".to_owned(),
        };
        let key = key(&task);
        held.begin(task, ("tools".to_owned(), "job".to_owned()), Instant::now());
        (held, key)
    }

    fn report(held: &mut Held) -> WorkReport {
        let now = Instant::now();
        held.reports(now).pop().expect("there is something to say").1
    }

    #[test]
    fn a_result_that_the_keeper_of_the_task_would_refuse_is_a_failure_that_no_other_attempt_helps() {
        let deep = |levels| (0..levels).fold(json!(1), |value, _| json!([value]));
        for good in [json!({"a": [1]}), Value::Null, deep(32), json!(vec![0; 131_071])] {
            assert!(matches!(done(good), End::Done(_)));
        }
        for bad in [deep(33), json!(vec![0; 131_072]), json!("x".repeat(1024 * 1024))] {
            let End::Failed { error, retry: false, begun: true } = done(bad) else { panic!("it would be refused") };
            assert!(error.starts_with("its result is refused: `result`"), "{error}");
        }
    }

    #[tokio::test]
    async fn what_could_not_be_said_is_said_before_what_came_since() {
        let (mut held, key) = held();
        held.note(&key, &json!({ "message": "one", "progress": 1, "total": 4 }));
        let unsaid = report(&mut held);
        held.note(&key, &json!({ "message": "two" }));
        held.put_back(unsaid);
        let said = report(&mut held);
        assert_eq!(said.progress[0].lines, ["one", "two"]);
        assert_eq!(said.progress[0].fraction, Some(0.25));
        let many = WorkProgress { lines: vec!["old".to_owned(); LINES_MAX], ..said.progress[0].clone() };
        held.note(&key, &json!({ "message": "new" }));
        held.put_back(WorkReport { progress: vec![many], ..WorkReport::default() });
        let said = report(&mut held);
        let lines = &said.progress[0].lines;
        assert_eq!((lines.len(), lines.last().map(String::as_str)), (LINES_MAX, Some("new")));
    }

    #[tokio::test]
    async fn a_result_that_was_refused_is_said_to_be_a_failure() {
        let (mut held, key) = held();
        assert!(!held.spoil(&key, None), "there is none yet");
        held.running.clear();
        held.ended.push((key.clone(), End::Done(json!(1)), Instant::now()));
        assert!(held.spoil(&key, Some("`result`: more than 131072 values")));
        let said = report(&mut held);
        assert!(said.done.is_empty() && !said.failed[0].retry && said.failed[0].begun, "{said:?}");
        assert!(!held.spoil(&key, None), "a failure is not refused");
    }

    #[tokio::test]
    async fn a_task_whose_tool_is_missing_goes_back_and_the_tool_is_not_offered_for_a_while() {
        let (mut held, key) = held();
        held.calls.abort_all();
        let end = End::Failed { error: "unknown_tool".to_owned(), retry: true, begun: false };
        let ended = key.clone();
        held.calls.spawn(async move { (ended, end) });
        assert_eq!(held.next().await.map(|(ended, _)| ended), Some(key));
        assert!(!report(&mut held).failed[0].begun);
        assert_eq!(held.lacking(), BTreeSet::from([("tools".to_owned(), "job".to_owned())]));
        held.lapse(Instant::now() + LACKING_FOR);
        assert!(held.lacking().is_empty());
    }
}
