//! Tools of other origins as MCP clients of this machine see them: those that a person approved, under the names that
//! the protocol gives them, marked as somebody else's. Whether one may be called is decided in `federation/calling.rs`.
//! See "Calls" in `protocols/federation.md`.

use crate::door::shown;
use crate::federation::{Approved, Federation, Outgoing};
use crate::tool::Caller;
use comity_core::tool::{Described, Policy, marked, target};
use comity_core::wire::federation::body::CallFailed;
use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool, ToolAnnotations};
use serde_json::Value;
use std::sync::Arc;

/// Longest name of a client, characters; more is cut.
const CLIENT_MAX: usize = 128;

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

/// Calls it. Errors are the other origin's own.
pub(super) async fn call(
    federation: &Federation,
    approved: Approved,
    client: Caller,
    arguments: JsonObject,
) -> CallToolResult {
    let call = Outgoing {
        caller: client,
        to: approved.origin,
        server: approved.server,
        tool: approved.tool.name.clone(),
        params: Value::Object(arguments),
        timeout: None,
    };
    match federation.call(call).await {
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
