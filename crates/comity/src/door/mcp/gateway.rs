//! Tools of other origins as MCP clients of this machine see them: those that a person approved, under the names that
//! the protocol gives them, marked as somebody else's. Whether one may be called is decided in `federation/calling.rs`.
//! See "Calls" in `protocols/federation.md`.

use crate::door::shown;
use crate::federation::{Approved, Federation, Outgoing};
use crate::tool::Caller;
use comity_core::tool::{Described, Policy, marked, target};
use comity_core::wire::federation::body::CallFailed;
use rmcp::RoleServer;
use rmcp::model::{
    CallToolResult, ContentBlock, JsonObject, ProgressNotificationParam, ProgressToken, Tool, ToolAnnotations,
};
use rmcp::service::Peer;
use serde_json::Value;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Longest name of a client, characters; more is cut.
const CLIENT_MAX: usize = 128;

/// Progress that waits for a slow client; what finds no room is dropped.
const PROGRESS_MAX: usize = 64;

/// Longest message of progress, characters.
const MESSAGE_MAX: usize = 1000;

/// A client that does not say what it is.
const UNNAMED: &str = "unnamed";

/// The client as the policy names it.
pub(super) fn caller(client: &str) -> Caller {
    let name = shown::text(client, CLIENT_MAX);
    Caller::Client(if name.is_empty() { UNNAMED.to_owned() } else { name })
}

/// The tools of others that this client may call, perhaps with limits on their arguments.
pub(super) fn tools(federation: &Federation, policy: &Policy, client: &Caller) -> Vec<Tool> {
    let opens = |one: &Approved| policy.opens(client, &target(&one.origin, &one.server), &one.tool.name);
    let approved = federation.registry().approved().into_iter().filter(Approved::is_callable);
    approved.filter(opens).map(|one| tool(&one)).collect()
}

/// The tool of this name, if one was approved.
pub(super) fn named(federation: &Federation, name: &str) -> Option<Approved> {
    federation.registry().approved().into_iter().find(|one| one.name == name)
}

fn tool(approved: &Approved) -> Tool {
    let Described { description, input, output, .. } = &*approved.tool;
    let annotations = ToolAnnotations::new().open_world(true);
    let said = Tool::new(approved.name.clone(), marked(&approved.origin, description), object(input));
    let tool = match output {
        Some(output) => said.with_raw_output_schema(Arc::new(object(output))),
        None => said,
    };
    tool.with_annotations(annotations)
}

fn object(schema: &Value) -> JsonObject {
    schema.as_object().cloned().unwrap_or_default()
}

/// Calls it, and tells a client that wants it how far it is. Errors are the other origin's own.
pub(super) async fn call(
    federation: &Federation,
    (approved, client): (Approved, Caller),
    arguments: JsonObject,
    follower: Option<(ProgressToken, Peer<RoleServer>)>,
) -> CallToolResult {
    let (progress, mut said) = mpsc::channel::<Value>(PROGRESS_MAX);
    let call = Outgoing {
        caller: client,
        to: approved.origin,
        server: approved.server,
        tool: approved.tool.name.clone(),
        params: Value::Object(arguments),
        timeout: None,
        progress: follower.is_some().then_some(progress),
    };
    let telling = async {
        while let (Some(said), Some((token, peer))) = (said.recv().await, &follower) {
            let number = |name: &str| said.get(name).and_then(Value::as_f64);
            let mut told = ProgressNotificationParam::new(token.clone(), number("progress").unwrap_or_default());
            told.total = number("total");
            told.message = said.get("message").and_then(Value::as_str).map(|text| shown::text(text, MESSAGE_MAX));
            // Err: the client is gone, and the call with it.
            let _ = peer.notify_progress(told).await;
        }
    };
    let (ended, ()) = tokio::join!(federation.call(call), telling);
    match ended {
        Ok(result) => serde_json::from_value(result).unwrap_or_else(|_| {
            CallToolResult::error(vec![ContentBlock::text("bad_result: what came is no result of a tool")])
        }),
        Err(CallFailed { code, message, data }) => {
            let sentence = ContentBlock::text(format!("{code}: {message}"));
            let data = data.map(|data| ContentBlock::text(data.to_string()));
            CallToolResult::error(std::iter::once(sentence).chain(data).collect())
        }
    }
}
