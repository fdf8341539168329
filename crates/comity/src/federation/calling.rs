//! Calls of tools between origins. Whose tools may be called with what is decided by the policy in
//! `comity_core::tool`; here calls come and go. See "Calls" in `protocols/federation.md`.

use super::Federation;
use super::answering::NotAnswered;
use super::client::{ANSWER_TIME, Failure};
use super::registry::Condition;
use crate::door::shown;
use crate::redaction::labels;
use crate::tool::{self, CallError, Caller, Noted};
use axum::http::Method;
use comity_core::federation::Origin;
use comity_core::redact::Typed;
use comity_core::tool::target;
use comity_core::wire::federation::body::{Call, CallFailed, Called, Capabilities, Capability, ID_MAX, path};
use serde_json::Value;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How much longer than the call itself its answer may take.
const GRACE: Duration = Duration::from_secs(5);

/// How long a call may take when nobody says: as long as any tool server may.
const CALL_TIME: Duration = Duration::from_secs(300);

/// Longest text of another origin that is shown, characters.
const TEXT_MAX: usize = 1000;

impl Federation {
    /// The call that another origin wants, if it is one of a tool of this origin's.
    pub(crate) fn wanted(&self, from: &Origin, wanted: Call) -> Result<tool::Call, NotAnswered> {
        if !(1..=ID_MAX).contains(&wanted.call_id.len()) {
            return Err(NotAnswered::bad("/call_id", "an id of 1 to 128 bytes is wanted"));
        }
        let server = wanted.target.split_once('/').filter(|(origin, _)| *origin == self.origin().as_str());
        let Some((_, server)) = server else {
            let detail = format!("{}/<tool server> is wanted", self.origin());
            return Err(NotAnswered::bad("/target", detail));
        };
        Ok(tool::Call {
            caller: Caller::Origin(from.clone()),
            call_id: wanted.call_id,
            server: server.to_owned(),
            tool: wanted.tool,
            params: wanted.params,
            timeout: wanted.timeout_ms.map(Duration::from_millis),
            progress: None,
        })
    }

    /// Another origin calls a tool of this one.
    pub(crate) async fn called(&self, call: tool::Call) -> Called {
        let call_id = shown::text(&call.call_id, ID_MAX);
        // Whoever hangs up may only have lost the connection: the tools know how long that is waited for.
        match self.0.tools.call(call, CancellationToken::new()).await {
            Ok(result) => Called { call_id, result: Some(result), error: None },
            Err(CallError { code, message, data }) => {
                let error = CallFailed { code: code.to_owned(), message, data };
                Called { call_id, result: None, error: Some(error) }
            }
        }
    }

    /// The tools that this origin opens to another.
    pub(crate) fn capabilities(&self, from: &Origin) -> Capabilities {
        let shown = |tool: &tool::Tool| Capability {
            target: target(self.origin(), &tool.server),
            name: tool.name.clone(),
            description: tool.description.clone(),
            input_schema: (*tool.input).clone(),
            output_schema: tool.output.as_deref().cloned(),
            hash: Some(shown::hex(&tool.hash)),
        };
        let tools = self.0.tools.open_to(&Caller::Origin(from.clone()));
        Capabilities { tools: tools.iter().map(|tool| shown(tool)).collect() }
    }

    /// Calls a tool of another origin. Its errors are its own, cleaned. The call is written down here, too, and is broken
    /// off when nobody waits for it any more.
    pub(crate) async fn call(&self, mut call: Outgoing) -> Result<Value, CallFailed> {
        let cancel = CancellationToken::new();
        let _guard = cancel.clone().drop_guard();
        let Some(room) = self.0.tools.room() else {
            return Err(failed("busy", "too many calls run at once on this node"));
        };
        let (federation, (ender, ended)) = (self.clone(), oneshot::channel());
        self.0.tools.run(async move {
            let began = Instant::now();
            let (outcome, code) = match cancel.run_until_cancelled(federation.attempt(&call)).await {
                Some(Ok(result)) => (Ok(result), "ok"),
                Some(Err(failed)) => {
                    let code = known(&failed.code);
                    (Err(failed), code)
                }
                None => (Err(failed("cancelled", "the call was broken off by its caller")), "cancelled"),
            };
            // Who is told how far it is reads until nobody can say more: that is now, not when it is written down.
            call.progress = None;
            let server = target(&call.to, &call.server);
            let noted = Noted {
                caller: &call.caller,
                server: &server,
                tool: &call.tool,
                call_id: "",
                params: Some(&call.params),
            };
            // Err: whoever called has gone. It goes on first: nobody waits for the journal.
            let _ = ender.send(outcome);
            yield_now().await;
            federation.0.tools.journal(noted, began, code).await;
            drop(room);
        });
        // Err: the node ends, or it panicked, and the log says where.
        ended.await.unwrap_or_else(|_| Err(failed("server_failed", "the node ends")))
    }

    /// Checks the call as far as it concerns this node, and makes it.
    async fn attempt(&self, call: &Outgoing) -> Result<Value, CallFailed> {
        if matches!(call.caller, Caller::Client(_)) {
            self.judge(call).await?;
        }
        let handle = &self.0.handle;
        let params = handle.redaction().document(
            &call.params,
            &Typed::default(),
            || labels("call", &call.server, &call.tool),
            handle.now().wall,
        );
        let body = Call {
            call_id: Uuid::new_v4().to_string(),
            target: target(&call.to, &call.server),
            tool: call.tool.clone(),
            params: params.into_owned(),
            timeout_ms: call.timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX)),
            trace: None,
        };
        let body = serde_json::to_vec(&body).expect("texts and numbers are JSON");
        let within = call.timeout.unwrap_or(CALL_TIME).saturating_add(GRACE).max(ANSWER_TIME);
        let asked = match &call.progress {
            None => self.0.client.ask(&call.to, (Method::POST, path::CALL), body.into(), within).await,
            Some(progress) => self.0.client.ask_streamed(&call.to, path::CALL, (body.into(), within), progress).await,
        };
        let (answer, _) = asked.map_err(|failure| match &failure {
            Failure::Refused { code, .. } => failed(code, failure.to_string()),
            _ => failed("unreachable", failure.to_string()),
        })?;
        let called = comity_core::wire::strict::parse(&answer).ok();
        let called = called.and_then(|value| serde_json::from_value::<Called>(value).ok());
        match called {
            Some(Called { result: Some(result), error: None, .. }) => Ok(result),
            Some(Called { error: Some(CallFailed { code, message, data }), .. }) => {
                let text = |text: &str| shown::text(text, TEXT_MAX);
                Err(CallFailed { code: text(&code), message: text(&message), data })
            }
            _ => Err(failed("bad_result", format!("{} answers something else than a call's end", call.to))),
        }
    }

    /// Whether an MCP client of this machine may make the call: a person has approved the tool as it is, and no rule of
    /// the policy closes it.
    async fn judge(&self, call: &Outgoing) -> Result<(), CallFailed> {
        let registry = self.registry();
        registry.hear(&call.to).await;
        let server = target(&call.to, &call.server);
        match registry.now(&call.to, &call.server, &call.tool) {
            Some(Condition::Same | Condition::Unheard) => {}
            Some(Condition::Changed) => {
                let why = "it says something else of itself than when a person approved it: `comity tool approve` \
                           shows what, and approves it again";
                return Err(failed("not_approved", why));
            }
            Some(Condition::Gone) => {
                return Err(failed("unknown_tool", format!("{} opens it to this node no more", call.to)));
            }
            None => return Err(failed("not_approved", format!("nobody here has approved {server} {}", call.tool))),
        }
        let judged = self.0.tools.policy().judge(&call.caller, &server, &call.tool, &call.params);
        judged.map_err(|denied| {
            tracing::info!(caller = %call.caller, server, tool = call.tool, why = denied.sentence, "a call was refused");
            failed("forbidden", denied.told())
        })
    }
}

/// A call of another origin's tool.
#[derive(Debug)]
pub(crate) struct Outgoing {
    /// Who calls here: the node's owner, or an MCP client of this machine.
    pub(crate) caller: Caller,
    /// Whose tool it is.
    pub(crate) to: Origin,
    /// The tool server there.
    pub(crate) server: String,
    /// The tool.
    pub(crate) tool: String,
    /// Its arguments.
    pub(crate) params: Value,
    /// How long it may take.
    pub(crate) timeout: Option<Duration>,
    /// Who is told how far it is: objects with `progress`, `total` and `message`, as the tool says so. What finds no room
    /// is dropped.
    pub(crate) progress: Option<mpsc::Sender<Value>>,
}

fn failed(code: &str, message: impl Into<String>) -> CallFailed {
    CallFailed { code: code.to_owned(), message: message.into(), data: None }
}

/// The code of a failed call as it is counted: what another origin calls its errors is its own.
fn known(code: &str) -> &'static str {
    const CODES: [&str; 13] = [
        "unknown_tool",
        "forbidden",
        "bad_params",
        "timeout",
        "too_large",
        "busy",
        "cancelled",
        "server_failed",
        "bad_result",
        "tool_error",
        "unreachable",
        "not_approved",
        "rate_limited",
    ];
    CODES.into_iter().find(|known| *known == code).unwrap_or("other")
}
