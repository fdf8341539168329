//! Keeps one tool server running: starts it, reads which tools it has, looks whether it hangs, and starts it again
//! when it has ended, after a pause that grows.

use super::command::Plan;
use super::mcp::Running;
use super::openapi;
use super::server::{Commands, Runner, Said, Server};
use crate::config::{Endpoint, Hidden, ToolDocument, ToolKind};
use rand::Rng;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use url::Url;

/// The first pause before a server is started again.
const PAUSE: Duration = Duration::from_millis(500);

/// The longest. A server that cannot start costs little by then, and one that can again is soon there.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// How long a server must have run for its next failure to count as its first.
const STEADY: Duration = Duration::from_secs(60);

/// How often a server of which nothing is heard is asked whether it is there.
const LOOK: Duration = Duration::from_secs(60);

/// How often the document of an OpenAPI server is read again.
const READ_AGAIN: Duration = Duration::from_secs(600);

/// Runs the server until the node ends.
pub(super) async fn supervise(server: Arc<Server>, changed: watch::Sender<u64>, stop: CancellationToken) {
    let mut pause = PAUSE;
    loop {
        let began = Instant::now();
        let why = run(&server, &changed, &stop).await;
        if stop.is_cancelled() {
            break;
        }
        if began.elapsed() >= STEADY {
            pause = PAUSE;
        }
        tracing::warn!(server = server.wanted.name, why, ?pause, "a tool server failed, and is started again");
        server.has_failed(why);
        // Not all at once where several failed together.
        let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        if stop.run_until_cancelled(sleep(jittered)).await.is_none() {
            break;
        }
        pause = (pause * 2).min(PAUSE_MAX);
        server.begins();
    }
    server.has_ended();
}

/// Runs it once; why it ended.
async fn run(server: &Arc<Server>, changed: &watch::Sender<u64>, stop: &CancellationToken) -> String {
    let output_max = server.wanted.output_bytes;
    let begun = match &server.wanted.kind {
        ToolKind::McpProcess { command, around } => {
            let starting = Running::start_process(&server.wanted.name, (command, around), output_max);
            stop.run_until_cancelled(starting).await
        }
        ToolKind::McpHttp(Endpoint { url, bearer }) => {
            let endpoint = Arc::new(Endpoint { url: url.clone(), bearer: bearer.clone() });
            stop.run_until_cancelled(Running::connect(&endpoint, output_max)).await
        }
        ToolKind::OpenApi { document, url, bearer } => {
            let reading = read_document(server, changed, (document, url.as_ref(), bearer.as_ref()));
            return stop.run_until_cancelled(reading).await.unwrap_or_default();
        }
        ToolKind::Commands { around, commands } => {
            // Err: not here, since each was tried when the configuration was read.
            let plan = |(name, command)| Some((String::clone(name), Plan::new(name, command).ok()?));
            let plans = commands.iter().filter_map(plan).collect();
            let commands = Commands { around: around.clone(), plans };
            list(server, changed, commands.plans.values().map(Plan::said).collect());
            server.is_ready(Runner::Commands(Arc::new(commands)));
            stop.cancelled().await;
            return String::new();
        }
    };
    match begun {
        None => String::new(),
        Some(Err(why)) => why,
        Some(Ok(mut running)) => {
            let why = attend(server, changed, &mut running, stop).await;
            // No new calls, while those that run are ended.
            server.ends();
            let words = running.end().await;
            if words.is_empty() { why } else { format!("{why}: {words}") }
        }
    }
}

/// Attends to a session until it ends, or the server hangs.
async fn attend(
    server: &Arc<Server>,
    changed: &watch::Sender<u64>,
    running: &mut Running,
    stop: &CancellationToken,
) -> String {
    let (session, list_changed) = (running.session.clone(), running.changed.clone());
    let attending = async {
        loop {
            match session.list().await {
                Ok(tools) => {
                    let said = tools.into_iter().map(|tool| Said {
                        name: tool.name.into_owned(),
                        description: tool.description.unwrap_or_default().into_owned(),
                        input: Value::Object((*tool.input_schema).clone()),
                        output: tool.output_schema.map(|schema| Value::Object((*schema).clone())),
                    });
                    list(server, changed, said.collect());
                }
                Err(why) => return why,
            }
            server.is_ready(Runner::Mcp(session.clone()));
            loop {
                tokio::select! {
                    () = list_changed.notified() => break,
                    () = session.suspected.notified() => {}
                    () = sleep(LOOK) => {}
                }
                if !session.ping().await {
                    return "the server hangs: it does not answer a ping".to_owned();
                }
            }
        }
    };
    tokio::select! {
        why = attending => why,
        why = running.ended() => why,
        () = stop.cancelled() => String::new(),
    }
}

async fn read_document(
    server: &Arc<Server>,
    changed: &watch::Sender<u64>,
    (document, url, bearer): (&ToolDocument, Option<&Url>, Option<&Hidden>),
) -> String {
    loop {
        match openapi::Endpoint::read(document, url, bearer).await {
            Ok(endpoint) => {
                list(server, changed, endpoint.said());
                server.is_ready(Runner::OpenApi(Arc::new(endpoint)));
            }
            // What was read before still holds.
            Err(why) if server.tools().is_empty() => return why,
            Err(why) => tracing::warn!(server = server.wanted.name, why, "the document cannot be read again"),
        }
        sleep(READ_AGAIN).await;
    }
}

fn list(server: &Arc<Server>, changed: &watch::Sender<u64>, said: Vec<Said>) {
    if server.lists(said) {
        changed.send_modify(|count| *count += 1);
    }
}
