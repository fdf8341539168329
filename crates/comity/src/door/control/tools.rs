//! Tools as the control door offers them: a list, calls in the owner's name, the policy, and what it makes of a call.

use super::denied::Denied;
use super::desk::Desk;
use super::feed::feed;
use super::read::{Body, Params};
use super::{Reply, path};
use crate::federation::FederationError;
use crate::tool::{Call, CallError, Caller, Health, Tool, Tools};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Response};
use axum::routing::{get, post};
use comity_core::federation::Origin;
use comity_core::tool::{Effect, Limit, Rule};
use comity_core::wire::control::{self, Check, Health as HowWell, ToolStep};
use comity_core::wire::federation::body::{CallFailed, Capability};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Progress that waits for a slow reader; what finds no room is dropped.
const PROGRESS_MAX: usize = 64;

/// The paths of tools.
pub(super) fn routes() -> Router<Desk> {
    Router::new()
        .route(path::TOOLS, get(list))
        .route(path::TOOL_CHANGES, get(changes))
        .route(path::TOOL_CALLS, post(call))
        .route(path::POLICY, get(policy))
        .route(path::POLICY_TESTS, post(test))
}

/// Whose tools.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Whose {
    origin: Option<String>,
}

async fn list(State(desk): State<Desk>, Params(whose): Params<Whose>) -> Reply<control::Tools> {
    let Some(origin) = whose.origin else { return Ok(Json(listed(&tools(&desk)?))) };
    let origin = origin_of(&origin)?;
    let open = desk.federation()?.capabilities_of(&origin).await.map_err(FederationError::from)?;
    Ok(Json(control::Tools { servers: Vec::new(), tools: open.into_iter().map(remote).collect() }))
}

fn origin_of(text: &str) -> Result<Origin, Denied> {
    Origin::said(text).map_err(|bad| Denied::field("/origin", bad.to_string()))
}

/// A tool of another origin.
fn remote(tool: Capability) -> control::Tool {
    control::Tool {
        server: tool.target,
        name: tool.name,
        description: tool.description,
        input_schema: tool.input_schema,
        output_schema: tool.output_schema,
        hash: tool.hash.unwrap_or_default(),
    }
}

/// All that there is, and again whenever the tools of a server have changed.
async fn changes(State(desk): State<Desk>, headers: HeaderMap) -> Result<Response<axum::body::Body>, Denied> {
    let tools = tools(&desk)?;
    Ok(feed(&desk.handle, &headers, |out| async move {
        let mut changed = tools.changed();
        loop {
            changed.mark_unchanged();
            if out.send(listed(&tools)).await.is_err() || changed.changed().await.is_err() {
                return;
            }
        }
    }))
}

fn listed(tools: &Tools) -> control::Tools {
    control::Tools {
        servers: tools.health().into_iter().map(server).collect(),
        tools: tools.open_to(&Caller::Owner).iter().map(|one| shown(one)).collect(),
    }
}

async fn call(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Body(wanted): Body<control::ToolCall>,
) -> Result<Response<axum::body::Body>, Denied> {
    if let Some((origin, server)) = wanted.server.split_once('/') {
        let (origin, server) = (origin_of(origin)?, server.to_owned());
        let federation = desk.federation()?.clone();
        let timeout = wanted.timeout_ms.map(Duration::from_millis);
        let (tool, params) = (wanted.tool, Value::Object(wanted.params));
        return Ok(feed(&desk.handle, &headers, |out| async move {
            let ended = federation.call(&origin, (&server, &tool), params, timeout).await;
            let step = match ended {
                Ok(result) => ToolStep::Done { result },
                Err(CallFailed { code, message, data }) => ToolStep::Failed { code, message, data },
            };
            let _ = out.send(step).await;
        }));
    }
    let tools = tools(&desk)?;
    let (progress, mut said) = mpsc::channel(PROGRESS_MAX);
    let call = Call {
        caller: Caller::Owner,
        call_id: wanted.call_id.unwrap_or_default(),
        server: wanted.server,
        tool: wanted.tool,
        params: Value::Object(wanted.params),
        timeout: wanted.timeout_ms.map(Duration::from_millis),
        progress: Some(progress),
    };
    Ok(feed(&desk.handle, &headers, |out| async move {
        let cancel = CancellationToken::new();
        // Whoever goes away does not want it any more.
        let _guard = cancel.clone().drop_guard();
        let tell = async {
            while let Some(said) = said.recv().await {
                // Err: the reader is gone, and this ends with it.
                let _ = out.send(ToolStep::Progress { said }).await;
            }
        };
        let (ended, ()) = tokio::join!(tools.call(call, cancel), tell);
        let _ = out.send(step(ended)).await;
    }))
}

fn step(ended: Result<Value, CallError>) -> ToolStep {
    match ended {
        Ok(result) => ToolStep::Done { result },
        Err(CallError { code, message, data }) => ToolStep::Failed { code: code.to_owned(), message, data },
    }
}

async fn policy(State(desk): State<Desk>) -> Reply<control::Policy> {
    let rules = tools(&desk)?.policy().rules().iter().zip(1..).map(|(rule, number)| written(rule, number)).collect();
    Ok(Json(control::Policy { rules }))
}

async fn test(State(desk): State<Desk>, Body(wanted): Body<control::PolicyTest>) -> Reply<control::PolicyVerdict> {
    let tools = tools(&desk)?;
    let caller: Caller = wanted
        .caller
        .parse()
        .map_err(|bad: comity_core::tool::NotACaller| Denied::field("/caller", bad.to_string()))?;
    let params = wanted.params.map(Value::Object);
    let decision = tools.policy().explain(&caller, &wanted.server, &wanted.tool, params.as_ref());
    let there = tools.all().iter().any(|tool| tool.server == wanted.server && tool.name == wanted.tool);
    Ok(Json(control::PolicyVerdict {
        allowed: decision.outcome.is_ok(),
        why: decision.sentence,
        rules: decision.rules.into_iter().map(|number| u64::try_from(number).unwrap_or(u64::MAX)).collect(),
        argument: decision.outcome.err().and_then(|denied| denied.argument),
        there,
    }))
}

/// What is wrong with a tool server, for `comity doctor`.
pub(super) fn check(health: &Health) -> Check {
    let name = format!("tool server {}", health.server);
    let state = match health.state {
        "ready" if health.left_out.is_empty() => HowWell::Well,
        "ready" | "starting" => HowWell::Noted,
        _ => HowWell::Ill,
    };
    let detail = match (&health.last_error, health.left_out.first()) {
        (Some(why), _) if health.state != "ready" => why.clone(),
        (_, Some((tool, why))) => format!("{} tools, and some left out: {tool}: {why}", health.tools),
        _ => format!("{}, {} tools", health.state, health.tools),
    };
    Check { name, state, detail }
}

fn tools(desk: &Desk) -> Result<Tools, Denied> {
    desk.surroundings.tools.clone().ok_or_else(Denied::nothing_here)
}

fn server(health: Health) -> control::ToolServer {
    control::ToolServer {
        name: health.server,
        kind: health.kind.to_owned(),
        state: health.state.to_owned(),
        restarts: health.restarts,
        last_error: health.last_error,
        left_out: health.left_out.into_iter().map(|(tool, why)| control::LeftOut { tool, why }).collect(),
    }
}

fn shown(tool: &Tool) -> control::Tool {
    let hex = tool.hash.iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
        hex
    });
    control::Tool {
        server: tool.server.clone(),
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: (*tool.input).clone(),
        output_schema: tool.output.as_deref().cloned(),
        hash: hex,
    }
}

fn written(rule: &Rule, number: u64) -> control::PolicyRule {
    let any = |name: &Option<String>| name.clone().unwrap_or_else(|| "*".to_owned());
    let (effect, arguments) = match &rule.effect {
        Effect::Deny => ("deny", Map::new()),
        Effect::Allow(limits) => {
            ("allow", limits.iter().map(|(argument, one)| (argument.to_owned(), limit(one))).collect())
        }
    };
    control::PolicyRule {
        number,
        caller: rule.who.to_string(),
        server: any(&rule.server),
        tool: any(&rule.tool),
        effect: effect.to_owned(),
        arguments,
    }
}

/// A limit as it is written in the configuration.
fn limit(limit: &Limit) -> Value {
    // What was put around the pattern when it was read.
    let pattern = |whole: &str| {
        let inner = whole.strip_prefix(r"\A(?:").and_then(|rest| rest.strip_suffix(r")\z"));
        inner.unwrap_or(whole).to_owned()
    };
    let all = json!({
        "one_of": limit.one_of,
        "pattern": limit.pattern.as_ref().map(|regex| pattern(regex.as_str())),
        "min": limit.min,
        "max": limit.max,
        "max_length": limit.max_length,
        "prefix": limit.prefix,
        "optional": limit.optional.then_some(true),
    });
    let said = all.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    said.map(|(name, value)| (name.clone(), value.clone())).collect::<Map<_, _>>().into()
}
