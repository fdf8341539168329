//! `comity policy`: who may call which tool, and what the rules make of a call.

use super::tool::params;
use crate::args::Policy;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, looking, whole};
use comity_client::Client;
use comity_client::control::{PolicyRule, PolicyTest};
use serde_json::Value;

pub(crate) async fn run(client: &Client, wanted: Policy, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Policy::Show => show(client, page).await,
        Policy::Test { caller, server, tool, params: written } => {
            let params = written.as_deref().map(params).transpose()?;
            test(client, &PolicyTest { caller, server, tool, params }, page).await
        }
    }
}

async fn show(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let policy = client.policy().await?;
    if page.json {
        return page.value(&policy);
    }
    if policy.rules.is_empty() {
        return page.line("No rules: nobody but the owner may call a tool. [[policy]] in comity.toml adds one.");
    }
    let rows: Vec<_> = policy.rules.iter().map(row).collect();
    page.table(&["RULE", "CALLER", "SERVER", "TOOL", "SAYS", "LIMITS"], &rows)
}

fn row(rule: &PolicyRule) -> Vec<Cell> {
    let look = if rule.effect == "deny" { Look::Bad } else { Look::Good };
    let limits =
        if rule.arguments.is_empty() { "-".to_owned() } else { Value::from(rule.arguments.clone()).to_string() };
    vec![
        cell(rule.number.to_string()),
        looking(&rule.caller, Look::Strong),
        cell(&rule.server),
        cell(&rule.tool),
        looking(&rule.effect, look),
        cell(limits),
    ]
}

async fn test(client: &Client, wanted: &PolicyTest, page: &mut Page) -> Result<(), Failure> {
    let verdict = client.test_policy(wanted).await?;
    if page.json {
        page.value(&verdict)?;
    }
    let unknown = if verdict.there { "" } else { " (this node has no such tool now)" };
    let sentence = whole(&format!("{}{unknown}", verdict.why));
    match (verdict.allowed, page.json) {
        (true, true) => Ok(()),
        (true, false) => page.line(&sentence),
        (false, _) => Err(Failure::Unknown(sentence)),
    }
}
