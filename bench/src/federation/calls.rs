//! Calls of a tool that does nothing, from one organisation to another: the request and its answer are signed, and
//! checked.

use super::figures::{Goal, Row};
use super::said;
use super::site::{Site, until};
use crate::figures::Latency;
use comity_core::wire::control::{ToolCall, ToolStep};
use serde_json::{Map, Value, json};
use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

/// Calls that are timed, and how far apart: a node remembers 2,048 calls of one caller for ten minutes, and takes 200
/// requests a second of one address for long.
const CALLS: usize = 1500;
const APART: Duration = Duration::from_millis(6);

/// Prints the lines of calls.
pub(super) async fn measure() -> Result<(), String> {
    let caller = Site::start("caller", "").await?;
    let program = std::env::current_exe().map_err(said)?;
    let tools = format!(
        "[tools.noop]\nkind = \"mcp\"\ncommand = [{:?}, \"answer-calls\"]\n\
         [[policy]]\norigin = \"{}\"\nserver = \"noop\"\ntool = \"noop\"\neffect = \"allow\"\n",
        program.display().to_string(),
        caller.origin
    );
    let owner = Site::start("owner", &tools).await?;
    until("the tool", async || {
        let tools = owner.client.tools().await.map_err(said)?;
        Ok(tools.servers.iter().any(|server| server.state == "ready").then_some(()))
    })
    .await?;
    let across = times(&caller, &format!("{}/noop", owner.origin)).await?;
    let local = times(&owner, "noop").await?;
    let row = |what: &str, share: f64, of: &Latency| Row::new(what, "ms", vec![of.micros(share) / 1e3]);
    row("call of another origin's tool, median", 0.5, &across).goal(Goal::AtMost(2.0)).print();
    row("  99 of 100 below", 0.99, &across).goal(Goal::AtMost(10.0)).print();
    row("  the slowest (limit: 500 ms)", 1.0, &across).goal(Goal::AtMost(500.0)).print();
    row("  of it the same tool called by its owner, median", 0.5, &local).print();
    Ok(())
}

async fn times(site: &Site, server: &str) -> Result<Latency, String> {
    let mut times = Vec::with_capacity(CALLS);
    let warm = CALLS / 10;
    for number in 0..CALLS + warm {
        let call = ToolCall {
            server: server.to_owned(),
            tool: "noop".to_owned(),
            params: Map::new(),
            timeout_ms: None,
            call_id: None,
        };
        let began = Instant::now();
        let mut steps = site.client.call_tool(&call).await.map_err(said)?;
        let mut took = None;
        // To the end, so that the next call has the connection.
        while let Some(step) = steps.next().await.map_err(said)? {
            match step {
                ToolStep::Progress { .. } => {}
                ToolStep::Done { .. } => took = Some(began.elapsed()),
                ToolStep::Failed { code, message, .. } => return Err(format!("a call failed: {message} ({code})")),
            }
        }
        let took = took.ok_or("a call has no end")?;
        if number >= warm {
            times.push(took);
        }
        tokio::time::sleep(APART.saturating_sub(took)).await;
    }
    Ok(Latency::from_times(times))
}

/// A tool server for standard input and output (MCP), whose one tool does nothing.
pub(crate) fn answer_calls() -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked: Value = serde_json::from_str(&line.map_err(said)?).map_err(said)?;
        let Some(id) = asked.get("id").filter(|id| !id.is_null()) else { continue };
        let result = match asked["method"].as_str() {
            Some("initialize") => json!({
                "protocolVersion": asked["params"]["protocolVersion"],
                "capabilities": { "tools": {} },
                "serverInfo": { "name": "noop", "version": "1" },
            }),
            Some("tools/list") => json!({ "tools": [
                { "name": "noop", "description": "Does nothing.", "inputSchema": { "type": "object" } },
            ]}),
            Some("tools/call") => json!({ "content": [] }),
            _ => json!({}),
        };
        let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(said)?;
    }
    Ok(())
}
