//! Tools as the control door offers them: a list, calls in the owner's name, the policy, and what it makes of a call.

use super::denied::Denied;
use super::desk::Desk;
use super::federation::origin_of;
use super::feed::feed;
use super::read::{Body, Params};
use super::{Reply, path};
use crate::door::shown::hex;
use crate::federation::{Approved, Condition, FederationError, NotApproved, Offer, Outgoing, Registry};
use crate::tool::{Call, CallError, Caller, Health, Tool, Tools};
use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode};
use axum::routing::{get, post};
use comity_core::federation::Origin;
use comity_core::tool::{Described, Effect, Limit, Rule, Standing, server_name, target};
use comity_core::wire::control::{self, Check, Health as HowWell, ToolStep};
use comity_core::wire::federation::body::CallFailed;
use serde::Deserialize;
use serde_json::{Map, Value, json};
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
        .route(path::TOOL_APPROVALS, get(approvals).post(approve).delete(withdraw))
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
    let registry = desk.federation()?.registry();
    let Offer { tools, left_out } = registry.offer_of(&origin).await.map_err(FederationError::from)?;
    let tools = tools.into_iter().map(|((server, _), tool)| remote(registry, (&origin, &server), tool)).collect();
    Ok(Json(control::Tools { servers: Vec::new(), tools, left_out: left_out.into_iter().map(left).collect() }))
}

/// A tool of another origin.
fn remote(registry: &Registry, (origin, server): (&Origin, &str), tool: Described) -> control::Tool {
    let (standing, approved) = registry.standing(origin, server, &tool);
    let standing = match standing {
        Standing::Approved => "approved",
        Standing::New => "new",
        Standing::Changed => "changed",
    };
    control::Tool {
        server: target(origin, server),
        hash: hex(&tool.hash()),
        name: tool.name,
        description: tool.description,
        input_schema: tool.input,
        output_schema: tool.output,
        standing: Some(standing.to_owned()),
        was: approved.filter(|_| standing == "changed").map(|tool| was(&tool)),
    }
}

fn was(tool: &Described) -> control::ToolWas {
    let Described { description, input, output, .. } = tool.clone();
    control::ToolWas { description, input_schema: input, output_schema: output }
}

/// The origin and the tool server that a text means.
fn target_of(text: &str) -> Result<(Origin, &str), Denied> {
    let wanted = || Denied::field("/server", "a tool server of another origin is wanted: ORIGIN/SERVER");
    let (origin, server) = text.split_once('/').ok_or_else(wanted)?;
    let origin = Origin::said(origin).map_err(|bad| Denied::field("/server", bad.to_string()))?;
    Ok((origin, server_name(server).map_err(|bad| Denied::field("/server", bad.to_string()))?))
}

async fn approvals(State(desk): State<Desk>) -> Reply<control::ApprovedTools> {
    let tools = desk.federation()?.registry().approved().into_iter().map(approved).collect();
    Ok(Json(control::ApprovedTools { tools }))
}

async fn approve(State(desk): State<Desk>, Body(wanted): Body<control::ToolApproval>) -> Reply<control::ApprovedTool> {
    let (origin, server) = target_of(&wanted.server)?;
    let hash = crate::door::shown::unhex(&wanted.hash)
        .ok_or_else(|| Denied::field("/hash", "64 hexadecimal digits are wanted"))?;
    let registry = desk.federation()?.registry();
    Ok(Json(approved(registry.approve((&origin, server, &wanted.tool), hash).await?)))
}

async fn withdraw(State(desk): State<Desk>, Body(wanted): Body<control::ToolWithdrawal>) -> Reply<control::Done> {
    let (origin, server) = target_of(&wanted.server)?;
    if desk.federation()?.registry().withdraw((&origin, server, &wanted.tool)).await? {
        return Ok(Json(control::Done {}));
    }
    let sentence = format!("nobody has approved {} {}", wanted.server, wanted.tool);
    Err(Denied::new(StatusCode::NOT_FOUND, "unknown_tool", sentence))
}

fn approved(tool: Approved) -> control::ApprovedTool {
    let now = match tool.now {
        Condition::Unheard => "unheard",
        Condition::Same => "same",
        Condition::Changed => "changed",
        Condition::Gone => "gone",
    };
    control::ApprovedTool {
        server: target(&tool.origin, &tool.server),
        name: tool.tool.name.clone(),
        local_name: tool.name,
        now: now.to_owned(),
        was: was(&tool.tool),
    }
}

impl From<NotApproved> for Denied {
    fn from(error: NotApproved) -> Self {
        let sentence = error.to_string();
        match error {
            NotApproved::Failure(failure) => FederationError::from(failure).into(),
            NotApproved::NotThere(_) => Self::new(StatusCode::NOT_FOUND, "unknown_tool", sentence),
            NotApproved::Changed | NotApproved::Full => Self::new(StatusCode::CONFLICT, "conflict", sentence),
            NotApproved::Disk => Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", sentence),
        }
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
        left_out: Vec::new(),
    }
}

async fn call(
    State(desk): State<Desk>,
    headers: HeaderMap,
    Body(wanted): Body<control::ToolCall>,
) -> Result<Response<axum::body::Body>, Denied> {
    let (progress, mut said) = mpsc::channel(PROGRESS_MAX);
    if wanted.server.contains('/') {
        let (to, server) = target_of(&wanted.server)?;
        let federation = desk.federation()?.clone();
        let call = Outgoing {
            caller: Caller::Owner,
            to,
            server: server.to_owned(),
            tool: wanted.tool,
            params: Value::Object(wanted.params),
            timeout: wanted.timeout_ms.map(Duration::from_millis),
            progress: Some(progress),
        };
        return Ok(feed(&desk.handle, &headers, |out| async move {
            let (ended, ()) = tokio::join!(federation.call(call), tell(&mut said, &out));
            let step = match ended {
                Ok(result) => ToolStep::Done { result },
                Err(CallFailed { code, message, data }) => ToolStep::Failed { code, message, data },
            };
            let _ = out.send(step).await;
        }));
    }
    let tools = tools(&desk)?;
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
        let (ended, ()) = tokio::join!(tools.call(call, cancel), tell(&mut said, &out));
        let _ = out.send(step(ended)).await;
    }))
}

/// Tells how far a call is, until it has ended.
async fn tell(said: &mut mpsc::Receiver<Value>, out: &mpsc::Sender<ToolStep>) {
    while let Some(said) = said.recv().await {
        // Err: the reader is gone, and this ends with it.
        let _ = out.send(ToolStep::Progress { said }).await;
    }
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
    let there = match &desk.surroundings.federation {
        Some(federation) if wanted.server.contains('/') => {
            let (origin, server) = target_of(&wanted.server)?;
            let approved = federation.registry().approved();
            approved.iter().any(|one| one.origin == origin && one.server == server && one.tool.name == wanted.tool)
        }
        _ => tools.all().iter().any(|tool| tool.server == wanted.server && tool.name == wanted.tool),
    };
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
        left_out: health.left_out.into_iter().map(left).collect(),
    }
}

fn left((tool, why): (String, String)) -> control::LeftOut {
    control::LeftOut { tool, why }
}

fn shown(tool: &Tool) -> control::Tool {
    control::Tool {
        server: tool.server.clone(),
        name: tool.name.clone(),
        description: tool.description.clone(),
        input_schema: (*tool.input).clone(),
        output_schema: tool.output.as_deref().cloned(),
        hash: hex(&tool.hash),
        standing: None,
        was: None,
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
