//! `comity task`: the queue of tasks of this node.

use crate::args::{Submit, Task};
use crate::command::tool::params;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, all_said, cell, clean, looking, say, whole};
use crate::payload;
use comity_client::Client;
use comity_client::control::{QueueAct, QueueChange, QueueCount, QueueState, QueuedTask, TaskToQueue, WorkingNode};
use comity_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// What kind of work the tasks of this command are: calls of tools.
const KIND: &str = "tool";

pub(crate) async fn run(client: &Client, wanted: Task, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Task::Submit(flags) => submit(client, flags, page).await,
        Task::List { state } => list(client, state.as_deref(), page).await,
        Task::Dead => list(client, Some("failed"), page).await,
        Task::Show { id } => show(&client.queued_task(id).await?, page),
        Task::Watch { id } => watch(client, id, page).await,
        Task::Cancel { id } => step(client, id, QueueAct::Cancel, page).await,
        Task::Discard { id } => step(client, id, QueueAct::Discard, page).await,
        Task::Workers => workers(&client.queue_state().await?, page),
        Task::Requeue { id } => step(client, id, QueueAct::Requeue, page).await,
    }
}

async fn submit(client: &Client, flags: Submit, page: &mut Page) -> Result<(), Failure> {
    let lease = flags.lease.map(|lease| u32::try_from(lease.as_secs().max(1)).unwrap_or(u32::MAX));
    let task = TaskToQueue {
        kind: KIND.to_owned(),
        capability: flags.capability,
        payload: Value::Object(flags.params.as_deref().map(params).transpose()?.unwrap_or_default()),
        requirements: pairs("--require", &flags.require)?,
        priority: flags.priority,
        deadline: flags.deadline.as_deref().map(deadline).transpose()?,
        max_attempts: flags.attempts,
        lease_seconds: lease,
        idempotency_key: flags.key,
    };
    let queued = client.queue_task(&task).await?;
    if queued.workers == 0 && queued.new {
        let capability = clean(&task.capability);
        say(&format!("comity: nobody who asked for work here can do {capability} now: the task waits"));
    }
    if flags.wait {
        return watch(client, queued.id, page).await;
    }
    if page.json { page.value(&queued) } else { page.line(&queued.id.to_string()) }
}

/// Names and values as `NAME=VALUE`: valid JSON is taken as JSON, anything else as text.
pub(super) fn pairs(flag: &str, written: &[String]) -> Result<Map<String, Value>, Failure> {
    let pair = |one: &String| match one.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), payload::value(value))),
        _ => Err(Failure::Usage(format!("{flag}: NAME=VALUE is wanted"))),
    };
    written.iter().map(pair).collect()
}

/// A time from now, or a time.
fn deadline(written: &str) -> Result<String, Failure> {
    if Timestamp::parse(written).is_some() {
        return Ok(written.to_owned());
    }
    let from_now = crate::args::duration(written).map_err(|_| {
        Failure::Usage("--deadline: a time from now as in 10m, or an RFC 3339 time is wanted".to_owned())
    })?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let millis = u64::try_from((now + from_now).as_millis()).unwrap_or(u64::MAX);
    Ok(Timestamp::from_millis(millis).to_string())
}

async fn list(client: &Client, state: Option<&str>, page: &mut Page) -> Result<(), Failure> {
    let mut tasks: Vec<QueuedTask> = Vec::new();
    let mut before = None;
    loop {
        let some = client.queued_tasks(state, before).await?;
        if page.json {
            some.tasks.iter().try_for_each(|task| page.value(task))?;
        } else {
            tasks.extend(some.tasks);
        }
        match some.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    if page.json {
        return Ok(());
    }
    if tasks.is_empty() {
        return page.line("No tasks. `comity task submit SERVER/TOOL` puts one into the queue.");
    }
    let rows: Vec<_> = tasks.iter().map(row).collect();
    page.table(&["ID", "STATE", "ATTEMPTS", "DONE", "CAPABILITY", "WORKER", "WHY"], &rows)
}

fn row(task: &QueuedTask) -> Vec<Cell> {
    let attempts = format!("{} of {}", task.attempts, task.max_attempts);
    vec![
        cell(task.id.to_string()),
        looking(&task.state, look(&task.state)),
        cell(attempts),
        cell(percent(task.progress)),
        looking(&task.capability, Look::Strong),
        cell(task.worker.as_deref().unwrap_or("-")),
        cell(task.error.as_deref().unwrap_or("-")),
    ]
}

fn look(state: &str) -> Look {
    match state {
        "succeeded" => Look::Good,
        "failed" | "expired" => Look::Bad,
        "leased" | "running" => Look::Warning,
        _ => Look::Plain,
    }
}

fn percent(fraction: f64) -> String {
    format!("{:.0} %", fraction * 100.0)
}

fn show(task: &QueuedTask, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(task);
    }
    let text = |value: &Option<String>| cell(value.as_deref().unwrap_or("-"));
    let mut pairs = vec![
        ("id", cell(task.id.to_string())),
        ("capability", looking(&task.capability, Look::Strong)),
        ("state", looking(&task.state, look(&task.state))),
        ("done", cell(percent(task.progress))),
        ("attempts", cell(format!("{} of {}", task.attempts, task.max_attempts))),
        ("submitted", cell(&task.submitted)),
        ("submitted by", cell(&task.submitted_by)),
        ("worker", text(&task.worker)),
        ("finished", text(&task.finished)),
    ];
    if task.error.is_some() {
        pairs.push(("why the last attempt failed", text(&task.error)));
    }
    page.pairs(&pairs)?;
    match &task.result {
        Some(result) => page.line(&format!("\n{}", printed(result))),
        None => Ok(()),
    }
}

/// The result for people: of a tool what it printed, else as JSON.
fn printed(result: &Value) -> String {
    if result["content"].is_array() { super::tool::printed(result) } else { all_said(result) }
}

async fn watch(client: &Client, id: Uuid, page: &mut Page) -> Result<(), Failure> {
    let mut changes = client.queue_changes(id).await?;
    let mut stood = String::new();
    while let Some(change) = changes.next().await? {
        if page.json {
            page.value(&change)?;
        }
        match change {
            QueueChange::Said { text, .. } if !page.json => say(&whole(&text)),
            QueueChange::Stands { task } if !page.json && task.state != stood => {
                let worker = task.worker.as_deref().filter(|_| task.state != "queued");
                let by = worker.map(|worker| format!(" at {}", clean(worker))).unwrap_or_default();
                say(&format!("{}{by}", clean(&task.state)));
                stood = task.state;
            }
            QueueChange::Over { task } => return ended(&task, page),
            QueueChange::Said { .. } | QueueChange::Stands { .. } => {}
        }
    }
    Err(Failure::Other("the node stopped; the task goes on when it is back".to_owned()))
}

fn ended(task: &QueuedTask, page: &mut Page) -> Result<(), Failure> {
    if task.state == "succeeded" {
        return match &task.result {
            Some(result) if !page.json => page.line(&printed(result)),
            _ => Ok(()),
        };
    }
    let why = task.error.as_deref().map(|why| format!(": {}", clean(why))).unwrap_or_default();
    Err(Failure::Other(format!("the task is {}{why}", clean(&task.state))))
}

fn workers(state: &QueueState, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(state);
    }
    let node = |node: &WorkingNode| {
        let (free, load) = (node.slots_free.to_string(), format!("{:.2}", node.load));
        vec![cell(&node.node_id), cell(free), cell(load), cell(node.capabilities.join(" "))]
    };
    let count = |count: &QueueCount| {
        let state = looking(&count.state, look(&count.state));
        vec![looking(&count.capability, Look::Strong), state, cell(count.tasks.to_string())]
    };
    if state.nodes.is_empty() {
        page.line("Nobody has asked for work in the last minute. `comity worker` does, here or at a node that knows this one.")?;
    } else {
        page.table(&["NODE", "FREE", "LOAD", "CAPABILITIES"], &state.nodes.iter().map(node).collect::<Vec<_>>())?;
    }
    if state.tasks.is_empty() {
        return Ok(());
    }
    page.line("")?;
    page.table(&["CAPABILITY", "STATE", "TASKS"], &state.tasks.iter().map(count).collect::<Vec<_>>())
}

async fn step(client: &Client, id: Uuid, step: QueueAct, page: &mut Page) -> Result<(), Failure> {
    let answer = client.queue_step(id, step).await?;
    if page.json {
        return page.value(&json!(answer));
    }
    match (step, answer.state.as_deref()) {
        (QueueAct::Cancel, Some("leased" | "running")) => page.line(&format!("{id}: its worker is told to stop")),
        (QueueAct::Discard, _) => page.line(&format!("{id} is taken out of the queue")),
        (_, state) => page.line(&format!("{id} is {}", clean(state.unwrap_or("unknown")))),
    }
}
