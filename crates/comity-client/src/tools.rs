//! Tools of the node, and the policy that says who may call them.

use crate::{ANSWER_WITHIN, Client, Error, Lines, exchange};
use comity_core::wire::control::{self, path};

impl Client {
    /// The tool servers and their tools.
    pub async fn tools(&self) -> Result<control::Tools, Error> {
        self.get(path::TOOLS).await
    }

    /// The tools that another origin opens to this node's.
    pub async fn tools_of(&self, origin: &str) -> Result<control::Tools, Error> {
        self.get(&crate::query::path(path::TOOLS, &[("origin", Some(origin.to_owned()))])).await
    }

    /// The tool servers and their tools, and again whenever they have changed.
    pub async fn tool_changes(&self) -> Result<Lines<control::Tools>, Error> {
        self.stream(path::TOOL_CHANGES).await
    }

    /// Calls a tool: any progress comes first, then the end. Dropping it breaks the call off.
    pub async fn call_tool(&self, call: &control::ToolCall) -> Result<Lines<control::ToolStep>, Error> {
        exchange::open_with(self, path::TOOL_CALLS, call, ANSWER_WITHIN).await.map(Lines::new)
    }

    /// The tools of other origins that were approved.
    pub async fn approved_tools(&self) -> Result<control::ApprovedTools, Error> {
        self.get(path::TOOL_APPROVALS).await
    }

    /// Approves a tool of another origin as it was seen; its origin is asked whether it still is that.
    pub async fn approve_tool(&self, approval: &control::ToolApproval) -> Result<control::ApprovedTool, Error> {
        exchange::post(self, path::TOOL_APPROVALS, approval, ANSWER_WITHIN).await
    }

    /// Takes an approval back.
    pub async fn withdraw_tool(&self, withdrawal: &control::ToolWithdrawal) -> Result<(), Error> {
        exchange::delete(self, path::TOOL_APPROVALS, withdrawal, ANSWER_WITHIN).await.map(crate::done)
    }

    /// Who may call which tool.
    pub async fn policy(&self) -> Result<control::Policy, Error> {
        self.get(path::POLICY).await
    }

    /// What the policy makes of a call, which is not run.
    pub async fn test_policy(&self, test: &control::PolicyTest) -> Result<control::PolicyVerdict, Error> {
        self.post(path::POLICY_TESTS, test).await
    }
}
