//! Tools and their policy at the control door.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The tool servers of the node, and their tools; or the tools that another origin opens to it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tools {
    /// The servers, by name.
    pub servers: Vec<ToolServer>,
    /// The tools, by server and name.
    pub tools: Vec<Tool>,
    /// Tools of the other origin that cannot be shown or called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A tool server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolServer {
    /// Its name.
    pub name: String,
    /// `mcp`, `openapi` or `command`.
    pub kind: String,
    /// `starting`, `ready`, `failed` (and will be started again) or `ended`.
    pub state: String,
    /// How often it was started again.
    pub restarts: u64,
    /// Why it failed last; left out when it never has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
    /// Tools that it has and that cannot be called.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A tool that cannot be called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Its name, as far as it can be shown.
    pub tool: String,
    /// Why.
    pub why: String,
}

/// A tool. What it says of itself is its server's: data, and cleaned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// The server that has it.
    pub server: String,
    /// Its name there.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its arguments.
    pub input_schema: Value,
    /// The JSON schema of its structured result, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// SHA-256 of all this as canonical JSON, in hexadecimal: another one, and it says something else.
    pub hash: String,
    /// Of another origin's: `approved`, `new` when nobody here has approved it, or `changed` since it was approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
    /// What it said of itself when it was approved, where it has changed since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub was: Option<ToolWas>,
}

/// What a tool said of itself when it was approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ToolWas {
    /// What it did.
    pub description: String,
    /// The JSON schema of its arguments.
    pub input_schema: Value,
    /// The JSON schema of its structured result, if it had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
}

/// Tools of other origins that a person approved: MCP clients of this machine see and call them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovedTools {
    /// By origin, server and name.
    pub tools: Vec<ApprovedTool>,
}

/// A tool of another origin that a person approved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ApprovedTool {
    /// The tool server: `<origin>/<tool server>`.
    pub server: String,
    /// Its name there.
    pub name: String,
    /// Its name for MCP clients here.
    pub local_name: String,
    /// How it is now: `same`, `unheard` when its origin has not answered since this node started, `changed` or `gone`.
    /// The last two are neither seen nor called by anybody.
    pub now: String,
    /// What it said of itself when it was approved.
    #[serde(flatten)]
    pub was: ToolWas,
}

/// A person approves a tool of another origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolApproval {
    /// The tool server: `<origin>/<tool server>`.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// The hash of what that person saw: only that is approved.
    pub hash: String,
}

/// A person takes an approval back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolWithdrawal {
    /// The tool server: `<origin>/<tool server>`.
    pub server: String,
    /// The tool.
    pub tool: String,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolCall {
    /// The server.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Its arguments.
    #[serde(default)]
    pub params: Map<String, Value>,
    /// How long it may take, milliseconds; never longer than its server allows, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// With the same id the same call is run once, and answered the same for ten minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub call_id: Option<String>,
}

/// What becomes of a call: any progress, and then its end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub enum ToolStep {
    /// It goes on: an object with `progress`, `total` and `message`, as far as the tool says so.
    Progress {
        /// How far it is.
        said: Value,
    },
    /// It has a result: `content`, and `structuredContent` where the tool has an output schema.
    Done {
        /// The result, in the form of MCP.
        result: Value,
    },
    /// It has none.
    Failed {
        /// A stable code.
        code: String,
        /// One sentence, which the tool may have written.
        message: String,
        /// What else there is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        data: Option<Value>,
    },
}

/// Who may call which tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// The rules, in the order in which they are written.
    pub rules: Vec<PolicyRule>,
}

/// A rule of the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Its number, from 1.
    pub number: u64,
    /// Whom it means: an origin, `*`, or `client:` and a name or `*`.
    pub caller: String,
    /// The tool server, or `*`.
    pub server: String,
    /// The tool, or `*`.
    pub tool: String,
    /// `allow` or `deny`.
    pub effect: String,
    /// The limits, by argument.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub arguments: Map<String, Value>,
}

/// A call to be tried against the policy; nothing is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// Who would call: an origin, or `client:` and a name.
    pub caller: String,
    /// The tool server.
    pub server: String,
    /// The tool.
    pub tool: String,
    /// Its arguments; without them it is only said whether there may be a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<Map<String, Value>>,
}

/// What the policy makes of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyVerdict {
    /// Whether it may be made.
    pub allowed: bool,
    /// Why, in a sentence that names the rule.
    pub why: String,
    /// The rules that decided, by number; none when no rule fits.
    pub rules: Vec<u64>,
    /// The argument that is not within its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub argument: Option<String>,
    /// Whether the node has this tool now.
    pub there: bool,
}
