//! The tools of this node: servers that the configuration names, the policy that says who may call what, and every call
//! from its coming to its entry in the journal. Nothing here knows how a call came; the doors do. See "Calls" in
//! `protocols/federation.md`.

mod answer;
mod child;
mod command;
pub(crate) mod http;
mod mcp;
mod openapi;
mod schema;
mod server;
mod streamable;
mod supervisor;
#[cfg(test)]
mod tests;
mod waiting;

pub(crate) use answer::CallError;
pub(crate) use comity_core::tool::Caller;
pub(crate) use command::Plan;

use crate::config::ToolServer;
use crate::network::Scribe;
use comity_core::limits::JSON_DEPTH_MAX;
use comity_core::tool::{Begun, Calls, Policy, call_digest, server_name, tool_name};
use comity_core::wire::strict;
use serde_json::{Value, json};
use server::Server;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use waiting::{ALONE_MAX, Ending};

/// Calls in all that run or wait at once.
const IN_FLIGHT_MAX: usize = 1024;

/// Largest arguments of a call, bytes of JSON: as much as a request may carry.
const PARAMS_MAX: usize = 1024 * 1024;

/// Deepest arguments: they stand one step down in an entry of the journal.
const PARAMS_DEPTH_MAX: usize = JSON_DEPTH_MAX - 2;

/// Arguments that are journaled as they are, bytes; of larger ones only how many they are.
const JOURNALED_MAX: usize = 16 * 1024;

/// Longest id of a call, bytes.
const CALL_ID_MAX: usize = 128;

/// The tools of a node. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Tools(Arc<Shared>);

struct Shared {
    servers: BTreeMap<String, Arc<Server>>,
    policy: Policy,
    /// What each caller's call ids stand for. A lock and not a message: it is held for one look, twice for each call.
    calls: Mutex<Calls<Ending>>,
    /// How many calls each caller has at each server. A lock for the same reason.
    callers: Mutex<HashMap<(Caller, String), usize>>,
    in_flight: Arc<Semaphore>,
    changed: watch::Sender<u64>,
    began: Instant,
    scribe: Option<Scribe>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// What the tools reach of the node.
pub(crate) struct Around {
    /// Who writes the journal; `None` where there is none.
    pub(crate) scribe: Option<Scribe>,
    /// Cancelled when the node ends: then every server is ended, too.
    pub(crate) stop: CancellationToken,
}

/// A tool that can be called, if the policy opens it. What it says of itself is cleaned, and is data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Tool {
    /// The server that has it.
    pub(crate) server: String,
    /// Its name there.
    pub(crate) name: String,
    /// What it does, as it says.
    pub(crate) description: String,
    /// The schema of its arguments.
    pub(crate) input: Arc<Value>,
    /// The schema of `structuredContent` in its result, if it has one.
    pub(crate) output: Option<Arc<Value>>,
    /// What a person approves it by (`comity_core::tool::hash`).
    pub(crate) hash: [u8; 32],
}

/// A call.
#[derive(Debug)]
pub(crate) struct Call {
    /// Who calls; their key is proven by whoever says so.
    pub(crate) caller: Caller,
    /// The caller's own id of this call: with the same one it is run once. Empty: it is not remembered.
    pub(crate) call_id: String,
    /// The tool server.
    pub(crate) server: String,
    /// The tool.
    pub(crate) tool: String,
    /// Its arguments, an object; null is an empty one.
    pub(crate) params: Value,
    /// How long it may take; never longer than the server's own limit.
    pub(crate) timeout: Option<Duration>,
    /// Who is told how far it is: objects with `progress`, `total` and `message`. What finds no room is dropped.
    pub(crate) progress: Option<mpsc::Sender<Value>>,
}

/// A call as it is written down.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Noted<'a> {
    /// Who called.
    pub(crate) caller: &'a Caller,
    /// The tool server; of another origin `<origin>/<tool server>`.
    pub(crate) server: &'a str,
    /// The tool.
    pub(crate) tool: &'a str,
    /// The caller's id of it, if there is one.
    pub(crate) call_id: &'a str,
    /// Its arguments, if they are kept.
    pub(crate) params: Option<&'a Value>,
}

impl Call {
    fn noted(&self) -> Noted<'_> {
        let Self { caller, server, tool, call_id, params, .. } = self;
        Noted { caller, server, tool, call_id, params: Some(params) }
    }

    /// A call that was not begun: nothing of what a stranger wrote is kept but names.
    fn refused(&self) -> Noted<'_> {
        let server = server_name(&self.server).unwrap_or_default();
        let tool = tool_name(&self.tool).unwrap_or_default();
        Noted { server, tool, params: None, ..self.noted() }
    }
}

/// How a tool server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Health {
    /// Its name.
    pub(crate) server: String,
    /// `mcp`, `openapi` or `command`.
    pub(crate) kind: &'static str,
    /// `starting`, `ready`, `failed` (and will be started again) or `ended`.
    pub(crate) state: &'static str,
    /// How often it was started again.
    pub(crate) restarts: u64,
    /// Why it failed last.
    pub(crate) last_error: Option<String>,
    /// How many tools it has.
    pub(crate) tools: usize,
    /// Tools that it has and that cannot be called, and why.
    pub(crate) left_out: Vec<(String, String)>,
}

impl fmt::Debug for Tools {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tools").field("servers", &self.0.servers.keys()).finish_non_exhaustive()
    }
}

impl Tools {
    /// Starts these servers, in the background. It must run in tokio.
    pub(crate) fn start(servers: Vec<ToolServer>, policy: Policy, around: Around) -> Self {
        let server = |wanted: ToolServer| (wanted.name.clone(), Arc::new(Server::new(wanted)));
        let tools = Self(Arc::new(Shared {
            servers: servers.into_iter().map(server).collect(),
            policy,
            calls: Mutex::default(),
            callers: Mutex::default(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            changed: watch::channel(0).0,
            began: Instant::now(),
            scribe: around.scribe,
            stop: around.stop,
            tasks: TaskTracker::new(),
        }));
        for server in tools.0.servers.values() {
            let supervised = supervisor::supervise(server.clone(), tools.0.changed.clone(), tools.0.stop.clone());
            tools.0.tasks.spawn(supervised);
        }
        tools
    }

    /// Every tool of every server, by server and name.
    pub(crate) fn all(&self) -> Vec<Arc<Tool>> {
        self.0.servers.values().flat_map(|server| server.tools()).collect()
    }

    /// The tools that the policy opens to this caller, perhaps with limits on their arguments.
    pub(crate) fn open_to(&self, caller: &Caller) -> Vec<Arc<Tool>> {
        let mut tools = self.all();
        tools.retain(|tool| self.0.policy.opens(caller, &tool.server, &tool.name));
        tools
    }

    /// Counts up whenever the tools of a server have changed.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// How each server is, by name.
    pub(crate) fn health(&self) -> Vec<Health> {
        self.0.servers.values().map(|server| server.health()).collect()
    }

    /// Who may call what.
    pub(crate) fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Ends every server and every call, and waits until they have.
    pub(crate) async fn end(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Runs a call: judged by the policy, checked against the tool's schemas, within the limits of its server, once for
    /// each call id, and journaled. The result is an object as MCP's `tools/call` answers: `content`, a list of blocks,
    /// and `structuredContent` where the tool has an output schema.
    ///
    /// It goes on when whoever waits for it goes away, so that a repeat finds its answer; `cancel` breaks it off, and one
    /// of another origin that nobody came back for.
    ///
    /// # Errors
    /// [`CallError`] has a stable code and a sentence for the caller.
    pub(crate) async fn call(&self, mut call: Call, cancel: CancellationToken) -> Result<Value, CallError> {
        let began = Instant::now();
        if call.params.is_null() {
            call.params = json!({});
        }
        let Some(room) = self.room() else {
            return Err(CallError::new("busy", "too many calls run at once on this node"));
        };
        let (ender, ending) = Ending::new();
        match self.judge(&call).and_then(|()| self.begin(&call, &ending)) {
            Ok(None) => {}
            Ok(Some(joined)) => return joined.waiter().wait(&cancel).await,
            Err(refused) => {
                let (tools, code) = (self.clone(), refused.code);
                // Whoever is told how far it is need not wait for the journal.
                call.progress = None;
                self.0.tasks.spawn(async move {
                    tools.journal(call.refused(), began, code).await;
                    drop(room);
                });
                return Err(refused);
            }
        }
        let waiter = ending.waiter();
        let (tools, breaking) = (self.clone(), cancel.child_token());
        self.0.tasks.spawn(async move {
            let is_remote = matches!(call.caller, Caller::Origin(_));
            let mut may_have_run = false;
            let attempt = tools.0.stop.run_until_cancelled(tools.attempt(&mut call, &breaking, &mut may_have_run));
            let attempt = tokio::select! {
                ended = attempt => ended,
                never = ending.cancel_alone(ALONE_MAX, &breaking), if is_remote => match never {},
            };
            let outcome = attempt.unwrap_or_else(|| Err(CallError::new("server_failed", "the node ends")));
            // The same where it was run.
            call.progress = None;
            tools.remember(&call, &outcome, may_have_run);
            let result = outcome.as_ref().err().map_or("ok", |error| error.code);
            ender.end(outcome);
            // Who called goes on first: nobody waits for the journal.
            tokio::task::yield_now().await;
            tools.journal(call.noted(), began, result).await;
            drop(room);
        });
        waiter.wait(&CancellationToken::new()).await
    }

    /// Room for one more call, to be held until it is journaled: a disk that is slow keeps calls from coming, and not
    /// entries in memory.
    pub(crate) fn room(&self) -> Option<OwnedSemaphorePermit> {
        let room = self.0.in_flight.clone().try_acquire_owned().ok();
        if room.is_none() {
            self.0.scribe.iter().for_each(|scribe| scribe.count_call("busy"));
        }
        room
    }

    /// Remembers the id of a call that may be made; the one that it joins, if it came before.
    fn begin(&self, call: &Call, ending: &Ending) -> Result<Option<Ending>, CallError> {
        if call.call_id.is_empty() {
            return Ok(None);
        }
        let digest = call_digest(&call.server, &call.tool, &call.params);
        match self.calls().begin(&call.caller, &call.call_id, digest, self.now(), ending.clone()) {
            Begun::Run => Ok(None),
            Begun::Joined(ending) => Ok(Some(ending)),
            Begun::AnswerGone => {
                Err(CallError::new("bad_result", "this call was run before, and its answer is not kept any more"))
            }
            Begun::OtherCall => Err(CallError::bad_params("/call_id", "it was used for another call")),
            Begun::Full => Err(CallError::new("busy", "too many calls of the last ten minutes are remembered")),
        }
    }

    /// Whether the call may be made at all.
    fn judge(&self, call: &Call) -> Result<(), CallError> {
        // Before anything is written down of it: what is no name may be as long as a request.
        if server_name(&call.server).is_err() || tool_name(&call.tool).is_err() {
            return Err(CallError::new("unknown_tool", "no tool server, or none of its tools, has such a name"));
        }
        if call.call_id.len() > CALL_ID_MAX {
            return Err(CallError::bad_params("/call_id", &format!("at most {CALL_ID_MAX} bytes are possible")));
        }
        if strict::depth(&call.params) > PARAMS_DEPTH_MAX || call.params.to_string().len() > PARAMS_MAX {
            return Err(CallError::bad_params("", "the arguments are too large, or nested too deep"));
        }
        if !call.params.is_object() {
            return Err(CallError::bad_params("", "the arguments must be an object"));
        }
        let judged = self.0.policy.judge(&call.caller, &call.server, &call.tool, &call.params);
        judged.map_err(|denied| {
            tracing::info!(caller = %call.caller, server = call.server, tool = call.tool, why = denied.sentence, "a call was refused");
            CallError { data: denied.argument.as_ref().map(|name| json!({"argument": name})), ..CallError::new("forbidden", denied.told()) }
        })
    }

    /// Checks and runs it. `may_have_run` is set before the tool is.
    async fn attempt(
        &self,
        call: &mut Call,
        cancel: &CancellationToken,
        may_have_run: &mut bool,
    ) -> Result<Value, CallError> {
        let shared = &*self.0;
        let busy = |why: &str| CallError::new("busy", why);
        let unknown = || CallError::new("unknown_tool", format!("there is no tool server {}", call.server));
        let server = shared.servers.get(&call.server).ok_or_else(unknown)?;
        let _place = Place::take(shared, call, server.wanted.per_caller)
            .ok_or_else(|| busy("too many of your calls run at once at this tool server"))?;
        let limit = server.wanted.timeout;
        let deadline = Instant::now() + call.timeout.map_or(limit, |wanted| wanted.min(limit));
        let cancelled = || async {
            cancel.cancelled().await;
            CallError::cancelled()
        };
        let found = tokio::select! {
            found = server.find(&call.tool, deadline) => found?,
            why = cancelled() => return Err(why),
        };
        found.input.check(&call.params).map_err(|unfit| CallError::bad_params(&unfit.pointer, &unfit.problem))?;
        let _turn = tokio::select! {
            turn = timeout_at(deadline, server.room.acquire()) => turn.map_err(|_| busy("the tool server had no room in time"))?,
            why = cancelled() => return Err(why),
        };
        let runner = tokio::select! {
            runner = server.running(deadline) => runner?,
            why = cancelled() => return Err(why),
        };
        let most = server.wanted.output_bytes;
        let progress = call.progress.take();
        *may_have_run = true;
        let ran = runner.run((&call.tool, &call.params, &call.call_id), most, progress, (deadline, cancel)).await;
        let size = |value: &Value| value.to_string().len();
        match ran {
            Ok(result) if size(&result) > most => Err(CallError::too_large(most)),
            Ok(result) => fitting(result, found.output.as_ref()),
            Err(CallError { data: Some(data), code, message }) if size(&data) > most => {
                Err(CallError { data: None, code, message })
            }
            Err(error) => Err(error),
        }
    }

    /// Remembers what a call ended with; one that certainly was not run may come again.
    fn remember(&self, call: &Call, outcome: &Result<Value, CallError>, may_have_run: bool) {
        if call.call_id.is_empty() {
            return;
        }
        let (mut calls, now) = (self.calls(), self.now());
        match outcome {
            Err(error) if !may_have_run || error.nothing_ran() => calls.forget(&call.caller, &call.call_id),
            Err(error) => {
                let weight = error.message.len() + error.data.as_ref().map_or(0, |data| data.to_string().len());
                calls.finish(&call.caller, &call.call_id, weight, now);
            }
            Ok(result) => calls.finish(&call.caller, &call.call_id, result.to_string().len(), now),
        }
    }

    /// Something that ends with the node, and that the node waits for.
    pub(crate) fn run(&self, work: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move { stop.run_until_cancelled(work).await });
    }

    /// Writes down that a call was made, what it was, and how it ended: a stable code, `ok` for a result.
    pub(crate) async fn journal(&self, call: Noted<'_>, began: Instant, result: &'static str) {
        let Some(scribe) = &self.0.scribe else { return };
        let mut data = json!({
            "caller": call.caller.to_string(),
            "server": call.server,
            "tool": call.tool,
            "duration_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            "result": result,
        });
        if !call.call_id.is_empty() && call.call_id.len() <= CALL_ID_MAX {
            data["call_id"] = call.call_id.into();
        }
        if let Some(params) = call.params {
            let length = params.to_string().len();
            if length <= JOURNALED_MAX && strict::depth(params) <= PARAMS_DEPTH_MAX {
                data["params"] = params.clone();
            } else {
                data["params_bytes"] = length.into();
            }
        }
        scribe.note_call(result, data).await;
    }

    fn calls(&self) -> MutexGuard<'_, Calls<Ending>> {
        self.0.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.0.began.elapsed()
    }
}

/// The result, if its structured part is what the tool's schema says.
fn fitting(result: Value, schema: Option<&schema::Schema>) -> Result<Value, CallError> {
    let bad = |why: String| CallError::new("bad_result", why);
    match (schema, result.get("structuredContent")) {
        (None, _) => Ok(result),
        (Some(_), None) => Err(bad("the tool's result has no structured content, which its schema wants".to_owned())),
        (Some(schema), Some(structured)) => match schema.check(structured) {
            Ok(()) => Ok(result),
            Err(unfit) => {
                Err(bad(format!("the tool's result does not fit its schema: {}: {}", unfit.pointer, unfit.problem)))
            }
        },
    }
}

/// One of the places that a caller has at a server, given back when it is dropped.
struct Place<'a> {
    shared: &'a Shared,
    key: (Caller, String),
}

impl<'a> Place<'a> {
    fn take(shared: &'a Shared, call: &Call, most: usize) -> Option<Self> {
        let key = (call.caller.clone(), call.server.clone());
        let mut callers = shared.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = callers.entry(key.clone()).or_default();
        if *taken >= most {
            return None;
        }
        *taken += 1;
        drop(callers);
        Some(Self { shared, key })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut callers = self.shared.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = callers.get_mut(&self.key) {
            *taken -= 1;
            if *taken == 0 {
                callers.remove(&self.key);
            }
        }
    }
}
