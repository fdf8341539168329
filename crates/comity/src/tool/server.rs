//! One tool server as its callers see it: how it stands, which tools it has, how many calls it runs. It holds no
//! process and no connection; `supervisor.rs` does.

use super::answer::CallError;
use super::command::Plan;
use super::mcp;
use super::openapi;
use super::schema::Schema;
use super::{Health, Tool};
use crate::config::{Around, ToolKind, ToolServer};
use comity_core::tool::{Described, tool_name};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a call waits for a server that is being started (again).
const READY_TIME: Duration = Duration::from_secs(10);

/// Tools of a server that were left out, and are named.
const LEFT_OUT_MAX: usize = 16;

/// A tool server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) wanted: ToolServer,
    /// Calls that run at once.
    pub(super) room: Semaphore,
    stand: watch::Sender<Stand>,
    /// What is listed. A lock and not a message: it is read for every call, and held for one look.
    listed: Mutex<Listing>,
}

/// How it stands.
#[derive(Debug, Clone)]
struct Stand {
    running: Option<Runner>,
    /// What `comity tool list` calls it.
    state: &'static str,
    restarts: u64,
    last_error: Option<String>,
}

#[derive(Debug, Default)]
struct Listing {
    tools: BTreeMap<String, Arc<Listed>>,
    left_out: Vec<(String, String)>,
}

/// A tool, ready to be called.
#[derive(Debug)]
pub(super) struct Listed {
    pub(super) tool: Arc<Tool>,
    pub(super) input: Schema,
    pub(super) output: Option<Schema>,
}

/// What a server says of one of its tools, as it says it.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) input: Value,
    pub(super) output: Option<Value>,
}

/// What runs calls. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) enum Runner {
    Mcp(mcp::Session),
    OpenApi(Arc<openapi::Endpoint>),
    Commands(Arc<Commands>),
}

/// The commands of a server.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) around: Around,
    pub(super) plans: BTreeMap<String, Plan>,
}

impl Server {
    pub(super) fn new(wanted: ToolServer) -> Self {
        let stand = Stand { running: None, state: "starting", restarts: 0, last_error: None };
        let room = Semaphore::new(wanted.concurrent);
        Self { room, stand: watch::channel(stand).0, listed: Mutex::default(), wanted }
    }

    /// What it is called, by what it is.
    pub(super) fn kind(&self) -> &'static str {
        match self.wanted.kind {
            ToolKind::McpProcess { .. } | ToolKind::McpHttp(_) => "mcp",
            ToolKind::OpenApi { .. } => "openapi",
            ToolKind::Commands { .. } => "command",
        }
    }

    /// It is there, and runs calls.
    pub(super) fn is_ready(&self, running: Runner) {
        self.stand.send_modify(|stand| (stand.running, stand.state) = (Some(running), "ready"));
    }

    /// It is not there any more, for this reason, and will be started again.
    pub(super) fn has_failed(&self, why: String) {
        self.stand.send_modify(|stand| {
            (stand.running, stand.state, stand.last_error) = (None, "failed", Some(why));
            stand.restarts += 1;
        });
    }

    /// It takes no calls any more, and is being ended.
    pub(super) fn ends(&self) {
        self.stand.send_modify(|stand| (stand.running, stand.state) = (None, "starting"));
    }

    /// It is being started again.
    pub(super) fn begins(&self) {
        self.stand.send_modify(|stand| stand.state = "starting");
    }

    /// It has ended with the node.
    pub(super) fn has_ended(&self) {
        self.stand.send_modify(|stand| (stand.running, stand.state) = (None, "ended"));
    }

    /// Takes what it says of its tools, as far as it can be used; whether something has changed.
    pub(super) fn lists(&self, said: Vec<Said>) -> bool {
        let mut listing = Listing::default();
        for said in said {
            let listed = listed(&self.wanted.name, &said);
            let name = said.name;
            match listed {
                Ok(one) if !listing.tools.contains_key(&name) => drop(listing.tools.insert(name, Arc::new(one))),
                Ok(_) => listing.left_out.push((name, "another tool has its name".to_owned())),
                Err(why) => listing.left_out.push((name, why)),
            }
        }
        for (name, why) in &mut listing.left_out {
            *name = crate::door::shown::text(name, 128);
            tracing::warn!(server = self.wanted.name, tool = name, why, "a tool is left out");
        }
        listing.left_out.truncate(LEFT_OUT_MAX);
        let mut current = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        let hashes = |listing: &Listing| listing.tools.values().map(|one| one.tool.hash).collect::<Vec<_>>();
        let changed = hashes(&current) != hashes(&listing);
        *current = listing;
        changed
    }

    /// All its tools, by name.
    pub(super) fn tools(&self) -> Vec<Arc<Tool>> {
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        listed.tools.values().map(|one| one.tool.clone()).collect()
    }

    fn listed(&self, name: &str) -> Option<Arc<Listed>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner).tools.get(name).cloned()
    }

    /// The tool of this name. One that is not listed may be, once the server has begun.
    pub(super) async fn find(&self, name: &str, deadline: Instant) -> Result<Arc<Listed>, CallError> {
        if let Some(found) = self.listed(name) {
            return Ok(found);
        }
        self.running(deadline).await?;
        let unknown = || CallError::new("unknown_tool", format!("the server {} has no tool {name}", self.wanted.name));
        self.listed(name).ok_or_else(unknown)
    }

    /// What runs calls now, or in a moment.
    pub(super) async fn running(&self, deadline: Instant) -> Result<Runner, CallError> {
        let mut stand = self.stand.subscribe();
        let deadline = deadline.min(Instant::now() + READY_TIME);
        let is_there = |stand: &Stand| stand.running.is_some() || stand.state == "ended";
        // Err: it takes too long.
        let _ = timeout_at(deadline, stand.wait_for(is_there)).await;
        let stand = self.stand.borrow();
        stand.running.clone().ok_or_else(|| {
            let why = stand.last_error.as_deref().unwrap_or("it is being started");
            CallError::new("server_failed", format!("the server {} does not run: {why}", self.wanted.name))
        })
    }

    /// How it is.
    pub(super) fn health(&self) -> Health {
        let stand = self.stand.borrow().clone();
        let listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        Health {
            server: self.wanted.name.clone(),
            kind: self.kind(),
            state: stand.state,
            restarts: stand.restarts,
            last_error: stand.last_error,
            tools: listed.tools.len(),
            left_out: listed.left_out.clone(),
        }
    }
}

impl Runner {
    /// Runs one call until it has ended, its time is over, or nobody wants it any more.
    pub(super) async fn run(
        &self,
        (tool, params, call_id): (&str, &Value, &str),
        output_max: usize,
        progress: Option<mpsc::Sender<Value>>,
        (deadline, cancel): (Instant, &CancellationToken),
    ) -> Result<Value, CallError> {
        let bounded = async |work: &mut (dyn Future<Output = Result<Value, CallError>> + Send + Unpin)| {
            tokio::select! {
                ended = timeout_at(deadline, work) => {
                    ended.unwrap_or_else(|_| Err(CallError::new("timeout", "the tool did not answer in time")))
                }
                () = cancel.cancelled() => Err(CallError::cancelled()),
            }
        };
        match self {
            Self::Mcp(session) => session.call((tool, params), progress, deadline, cancel).await,
            Self::OpenApi(endpoint) => bounded(&mut Box::pin(endpoint.call((tool, params, call_id), output_max))).await,
            Self::Commands(commands) => match commands.plans.get(tool) {
                Some(plan) => bounded(&mut Box::pin(plan.run((params, call_id), &commands.around, output_max))).await,
                None => Err(CallError::new("unknown_tool", "there is no such command")),
            },
        }
    }
}

fn listed(server: &str, said: &Said) -> Result<Listed, String> {
    tool_name(&said.name).map_err(|bad| bad.to_string())?;
    let described = Described::of(&said.name, &said.description, &said.input, said.output.as_ref());
    let described = described.map_err(|bad| bad.to_string())?;
    let hash = described.hash();
    Ok(Listed {
        input: Schema::compile(&described.input)?,
        output: described.output.as_ref().map(Schema::compile).transpose()?,
        tool: Arc::new(Tool {
            server: server.to_owned(),
            name: described.name,
            description: described.description,
            input: Arc::new(described.input),
            output: described.output.map(Arc::new),
            hash,
        }),
    })
}
