//! What a call ends with: a result in the form of MCP's `tools/call`, whatever kind of server ran it, or an error with
//! a stable code.

use crate::door::shown;
use serde_json::{Value, json};

/// Longest sentence of an error, characters: servers may have written it.
const MESSAGE_MAX: usize = 1000;

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CallError {
    /// A stable code: `unknown_tool`, `forbidden`, `bad_params`, `timeout`, `too_large`, `busy`, `cancelled`,
    /// `server_failed`, `bad_result` or `tool_error`.
    pub(crate) code: &'static str,
    /// One sentence for the caller, cleaned: a server may have written part of it, so that it is data.
    pub(crate) message: String,
    /// What else there is: where `bad_params` are wrong (`pointer`), what a tool says of its own error.
    pub(crate) data: Option<Value>,
}

impl CallError {
    pub(crate) fn new(code: &'static str, message: impl AsRef<str>) -> Self {
        Self { code, message: shown::text(message.as_ref(), MESSAGE_MAX), data: None }
    }

    pub(super) fn bad_params(pointer: &str, problem: &str) -> Self {
        let at = if pointer.is_empty() { String::new() } else { format!("{pointer}: ") };
        Self { data: Some(json!({"pointer": pointer})), ..Self::new("bad_params", format!("{at}{problem}")) }
    }

    pub(super) fn too_large(output_max: usize) -> Self {
        Self::new("too_large", format!("the answer has more than {output_max} bytes, and was cut off"))
    }

    pub(super) fn cancelled() -> Self {
        Self::new("cancelled", "the call was broken off by its caller")
    }

    /// Whether the tool was certainly not run, so that the same call may come again.
    pub(super) fn nothing_ran(&self) -> bool {
        matches!(self.code, "unknown_tool" | "forbidden" | "bad_params" | "busy")
    }
}

/// A text as a result.
pub(super) fn text(text: impl Into<String>) -> Value {
    json!({"content": [{"type": "text", "text": text.into()}]})
}

/// A JSON value as a result, wrapped where its schema is. It stands there as text too, for clients that read no more.
pub(super) fn structured(value: Value, wrapped: bool) -> Value {
    let text = value.to_string();
    let structured = if wrapped { json!({"result": value}) } else { value };
    json!({"content": [{"type": "text", "text": text}], "structuredContent": structured})
}

/// The schema of a structured result, which is an object; what is none is its `result`. Whether it was wrapped.
pub(super) fn output_schema(schema: &Value) -> (Value, bool) {
    if schema.get("type").is_some_and(|kind| kind == "object") {
        return (schema.clone(), false);
    }
    (json!({"type": "object", "properties": {"result": schema}, "required": ["result"]}), true)
}
