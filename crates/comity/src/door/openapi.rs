//! The network door as OpenAPI 3.1, for `GET /openapi.json`. The document is a file in review,
//! `openapi.json` beside `Cargo.toml`: a test compares them, and rewrites the file when
//! `COMITY_GOLDEN=write` is set.

use super::dashflow::{self, Ack, Refused};
use super::events::{self, EventBody};
use super::problem::ProblemBody;
use super::{compute, journal, knowledge, mesh, registry, rpc, signal};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::response::Response as Described;
use utoipa::openapi::{ContentBuilder, Header, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type};
use utoipa::{IntoResponses, OpenApi, ToSchema};

/// The document of the network door.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Comity network door",
        description = "What peers on the local network reach of a node.",
        version = "1.0.0",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    paths(
        dashflow::status,
        dashflow::peers,
        dashflow::introspect,
        dashflow::message,
        journal::head,
        journal::lines,
        journal::growth,
        mesh::query,
        mesh::sync,
        mesh::broadcast,
        knowledge::share,
        knowledge::request,
        knowledge::replicate,
        compute::submit,
        compute::list,
        compute::show,
        compute::cancel,
        compute::available,
        compute::claim,
        compute::renew,
        compute::complete,
        compute::fail,
        compute::progress,
        registry::register,
        registry::heartbeat,
        registry::nodes,
        registry::node,
        registry::remove,
        events::events,
        rpc::rpc,
        signal::offer,
        signal::change,
        signal::end,
        document,
    ),
    components(schemas(ProblemBody, Refused, Ack, EventBody)),
    tags((name = "network", description = "Open to peers, within `local.trust`")),
)]
struct Network;

/// The document as JSON text. It says nothing of this node, so it is written once.
static DOCUMENT: LazyLock<String> = LazyLock::new(written);

/// The document as JSON text, indented, with a line end: the content of `openapi.json`.
pub(crate) fn written() -> String {
    let mut document = json!(Network::openapi());
    document["components"]["schemas"][MESSAGE_BODY] = message_body();
    format!("{document:#}\n")
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "network", responses(
    (status = 200, description = "OpenAPI 3.1", body = Object), GuardRefusals,
))]
pub(super) async fn document() -> Response {
    ([(CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// A message as it may be posted: its place in the document, filled by [`message_body`].
#[derive(ToSchema)]
pub(super) struct MessageBody;

/// The name of its schema.
const MESSAGE_BODY: &str = "MessageBody";

/// The schema of a message, bare or wrapped, in both spellings, as `comity_core::wire::json` reads
/// it. It says more than types can.
fn message_body() -> Value {
    let nullable = |schema: Value| json!({ "oneOf": [schema, { "type": "null" }] });
    let uuid = || json!({ "type": "string", "format": "uuid" });
    let text = || json!({ "type": "string", "maxLength": 256 });
    let channel = || json!({ "type": "string", "pattern": "^[!-~]{1,128}$" });
    let names = [
        "status",
        "suggestion",
        "bug",
        "error",
        "query",
        "response",
        "heartbeat",
        "extended",
        "Status",
        "Suggestion",
        "BugReport",
        "Error",
        "Query",
        "Response",
        "Heartbeat",
        "Extended",
    ];
    let priorities = ["critical", "normal", "background", "Critical", "Normal", "Background"];
    let to = json!({ "anyOf": [
        { "type": "string", "enum": ["broadcast", "Broadcast"] },
        { "type": "string", "pattern": "^group:[!-~]{1,128}$" },
        uuid(),
        { "type": "object", "properties": { "Channel": channel() }, "required": ["Channel"], "additionalProperties": false },
        { "type": "object", "properties": { "Peer": uuid() }, "required": ["Peer"], "additionalProperties": false },
    ] });
    let bare = json!({
        "type": "object",
        "required": ["from", "to"],
        "anyOf": [{ "required": ["type"] }, { "required": ["msg_type"] }],
        "properties": {
            "id": nullable(uuid()),
            "from": uuid(),
            "to": to,
            "type": { "type": "string", "enum": names },
            "msg_type": { "type": "string", "enum": names },
            "channel": nullable(channel()),
            "topic": nullable(channel()),
            "payload": { "description": "Any JSON, up to 256 KiB" },
            "priority": nullable(json!({ "type": "string", "enum": priorities })),
            "timestamp": nullable(json!({ "type": "string", "format": "date-time" })),
            "ttl": nullable(json!({ "type": "integer", "minimum": 0, "maximum": 3600, "description": "Seconds; 0 means 60" })),
            "reply_to": nullable(uuid()),
            "thread": nullable(text()),
            "traceparent": nullable(text()),
            "from_key": nullable(json!({ "type": "string", "pattern": "^ed25519:[A-Za-z0-9_-]{43}$" })),
            "sig": nullable(json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]{86}$" })),
        },
    });
    json!({ "anyOf": [
        { "type": "object", "required": ["message"], "properties": { "message": bare }, "additionalProperties": false },
        bare,
    ] })
}

/// How any request may be refused.
pub(super) struct GuardRefusals;

/// How a look at this node may be refused.
pub(super) struct VisitRefusals;

/// How a watcher may be refused.
pub(super) struct EventRefusals;

/// How a message may be refused.
pub(super) struct MessageRefusals;

/// How the signal of a connection may be refused.
pub(super) struct SignalRefusals;

/// How a question to the mesh may be refused.
pub(super) struct MeshRefusals;

/// How a page of an index's changes may be refused.
pub(super) struct SyncRefusals;

/// How a question to the registry of a mesh may be refused.
pub(super) struct RegistryRefusals;

/// What the guards refuse of anything.
const GUARD: [(u16, &str); 3] = [
    (400, "The request is not what it should be"),
    (403, "Not for this web page"),
    (421, "The host is none of this node's names"),
];

/// What guards, admission and pace may refuse.
const VISIT: [(u16, &str); 6] = [
    (400, "The request is not what it should be"),
    (401, "A key has to be proven"),
    (403, "Not for this caller, or not for this web page"),
    (421, "The host is none of this node's names"),
    (429, "Too many requests"),
    (503, "Not now"),
];

/// What the guards refuse of a POST besides: plain problems, for they do not look inside.
const POST: [(u16, &str); 2] =
    [(415, "The body is not JSON"), (421, "For another peer, or the host is none of this node's names")];

/// What is refused of a message itself.
const MESSAGE: [(u16, &str); 6] = [
    (404, "Nobody here listens to the channel"),
    (408, "The body did not arrive in time"),
    (409, "Received before"),
    (410, "Expired"),
    (413, "The body or the payload is too large"),
    (422, "A field is not what it should be; `pointer` names it"),
];

/// What is refused of signals.
const SIGNAL: [(u16, &str); 9] = [
    (401, "It is not signed, or not by its key"),
    (404, "There is no such connection with this key"),
    (408, "The body did not arrive in time"),
    (409, "This node's own offer goes first"),
    (413, "The description is too large"),
    (415, "The body is not of this type"),
    (422, "The description cannot be used"),
    (429, "Too many requests"),
    (503, "Not now"),
];

/// What is refused of a question to the mesh.
const QUESTION: [(u16, &str); 4] = [
    (408, "The body did not arrive in time"),
    (413, "The body is too large"),
    (415, "The body is not JSON"),
    (422, "A field is not what it should be; `pointer` names it"),
];

/// What is refused of a node by the registry besides.
const REGISTRY: [(u16, &str); 2] = [
    (404, "No node of this name is registered"),
    (409, "The mesh is set otherwise, or the name is another node's; `pointer` names the field"),
];

impl IntoResponses for MeshRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = refusals(&VISIT, "Problem");
        all.extend(refusals(&QUESTION, "Problem"));
        all
    }
}

impl IntoResponses for RegistryRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = refusals(&VISIT, "Problem");
        all.extend(refusals(&QUESTION, "Problem"));
        all.extend(refusals(&REGISTRY, "Problem"));
        all
    }
}

impl IntoResponses for SyncRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = refusals(&VISIT, "Problem");
        all.extend(refusals(&[(410, "The cursor is of a log that is no more: start over")], "Problem"));
        all
    }
}

impl IntoResponses for SignalRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = refusals(&GUARD, "Problem");
        all.extend(refusals(&SIGNAL, "Problem"));
        all
    }
}

impl IntoResponses for GuardRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        refusals(&GUARD, "Problem")
    }
}

impl IntoResponses for VisitRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        refusals(&VISIT, "Problem")
    }
}

impl IntoResponses for EventRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = refusals(&VISIT, "Problem");
        all.extend(refusals(&[(426, "Neither a WebSocket nor server-sent events were asked for")], "Problem"));
        all
    }
}

impl IntoResponses for MessageRefusals {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut all = refusals(&VISIT, "Problem");
        all.extend(refusals(&POST, "Problem"));
        all.extend(refusals(&MESSAGE, "Refused"));
        all
    }
}

fn refusals(all: &[(u16, &str)], schema: &str) -> BTreeMap<String, RefOr<Described>> {
    let reference = Ref::from_schema_name(schema);
    let content = ContentBuilder::new().schema(Some(reference)).build();
    let described = |(status, description): &(u16, &str)| {
        let response = ResponseBuilder::new().description(*description);
        let response = response.content("application/problem+json", content.clone());
        let response = if matches!(status, 429 | 503) { response.header("Retry-After", seconds()) } else { response };
        (status.to_string(), RefOr::T(response.build()))
    };
    all.iter().map(described).collect()
}

fn seconds() -> Header {
    let schema = ObjectBuilder::new().schema_type(Type::Integer).build();
    HeaderBuilder::new().schema(Some(schema)).description(Some("Seconds")).build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::door::tests::NETWORK;

    /// The file in review, in the folder of the package: tests are run there.
    const GOLDEN: &str = "openapi.json";

    #[test]
    fn the_document_is_the_file_in_review() {
        if std::env::var_os("COMITY_GOLDEN").is_some_and(|wanted| wanted == "write") {
            std::fs::write(GOLDEN, written()).expect("the file can be written");
        }
        let golden = std::fs::read_to_string(GOLDEN).expect("openapi.json is there");
        assert!(
            golden == written(),
            "openapi.json differs: review it after COMITY_GOLDEN=write cargo test -p comity openapi"
        );
    }

    #[test]
    fn every_listed_path_is_described_and_no_other() {
        let document: Value = serde_json::from_str(&written()).expect("JSON");
        let paths = document["paths"].as_object().expect("paths");
        let mut described: Vec<_> = paths
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().into_iter().flat_map(|item| item.keys());
                methods.map(move |method| (method.to_uppercase(), path.clone()))
            })
            .collect();
        described.sort();
        // Links and streams speak protocols of their own, and not HTTP.
        let listed = NETWORK.iter().filter(|(_, path)| !matches!(*path, "/dashflow/link" | "/dashflow/files"));
        let mut listed: Vec<_> = listed.map(|(method, path)| ((*method).to_owned(), (*path).to_owned())).collect();
        listed.sort();
        assert_eq!(described, listed);
        assert_eq!(document["openapi"], "3.1.0");
    }

    #[test]
    fn every_reference_in_the_document_leads_somewhere() {
        let document: Value = serde_json::from_str(&written()).expect("JSON");
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            match value {
                Value::Array(items) => open.extend(items),
                Value::Object(members) => {
                    if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                        let pointer = target.strip_prefix('#').expect("a reference within the document");
                        assert!(document.pointer(pointer).is_some(), "{target}");
                    }
                    open.extend(members.values());
                }
                _ => {}
            }
        }
    }
}
