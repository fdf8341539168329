//! Tools: who may call which with what, what a remote one was when a person approved it, and that a call is run
//! once. What runs a tool is in `comity`'s `tool/`. See "Calls" in `protocols/federation.md`.

mod approval;
mod caller;
mod calls;
mod limit;
mod name;
mod policy;
mod shown;

pub use approval::{Approvals, ApprovedTool, Standing};
pub use caller::{Caller, NotACaller, Who};
pub use calls::{Begun, Calls, call_digest};
pub use limit::{BadLimit, Limit, Limits};
pub use name::{BadServerName, BadToolName, local_name, server_name, tool_name};
pub use policy::{Decision, Denied, Effect, Policy, RULES_MAX, Rule, TooManyRules, target};
pub use shown::{Described, TooMuch, hash, marked};
