//! What applications say on the protocol's own channels, in the protocol's shapes. See "Channels"
//! and "Resources" in `protocols/local-network.md`.

use serde::Serialize;
use serde_json::{Map, Value};

/// What a node is doing: `_status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Status {
    /// In a few words.
    pub working_on: String,
    /// How much of it is done, 0 to 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<f64>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Map<String, Value>>,
}

impl Status {
    /// As it is written.
    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).expect("a struct of texts, a number and a map of JSON is JSON")
    }
}

/// Something another could do better: `_suggestions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Suggestion {
    /// What.
    pub suggestion: String,
    /// In which file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// In which line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// Why, or what is around it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
}

/// Something broken: `_bugs`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Bug {
    /// What, in a line.
    pub bug: String,
    /// In which file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// How it shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// How much of its language models a node uses: `_llm_usage`, every 30 s and whenever an endpoint
/// becomes saturated or free.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LlmUsage {
    /// The endpoints it uses.
    pub endpoints: Vec<LlmEndpoint>,
    /// Requests it made in the last minute.
    pub requests_last_minute: u32,
}

/// One endpoint of a language model, as its user sees it.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct LlmEndpoint {
    /// Who runs it.
    pub provider: String,
    /// Under which account: a name, never a key.
    pub account: String,
    /// Where.
    pub region: String,
    /// The model.
    pub model: String,
    /// Requests left in the current window.
    pub rate_limit_remaining: u64,
    /// Tokens left in the current window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_remaining: Option<u64>,
    /// Whether it refuses more.
    pub saturated: bool,
    /// How long an answer takes, milliseconds.
    pub latency_ms: u64,
}
