//! `comity tool`: the tools of this node and of others, and calls of them.

mod approve;

use crate::args::Tool;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, all_said, cell, clean, looking, say};
use crate::payload;
use comity_client::Client;
use comity_client::control::{self, ToolCall, ToolServer, ToolStep};
use serde_json::{Map, Value, json};
use std::time::Duration;

pub(crate) async fn run(client: &Client, wanted: Tool, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Tool::List { watch: false, origin: None } => list(&client.tools().await?, page),
        Tool::List { origin: Some(origin), .. } => {
            let tools = client.tools_of(&origin).await?;
            if page.json {
                return page.value(&tools);
            }
            for left in &tools.left_out {
                say(&format!("comity: {} is left out: {}", clean(&left.tool), clean(&left.why)));
            }
            if tools.tools.is_empty() {
                return page.line(&format!("{} opens no tool to this node.", clean(&origin)));
            }
            let row = |one: &control::Tool| {
                let standing = one.standing.as_deref().unwrap_or("-");
                let look = if standing == "changed" { Look::Warning } else { Look::Plain };
                let mut row = tool(one);
                row.insert(2, looking(standing, look));
                row
            };
            let rows: Vec<_> = tools.tools.iter().map(row).collect();
            page.table(&["SERVER", "TOOL", "MCP CLIENTS", "ARGUMENTS", "WHAT IT SAYS OF ITSELF"], &rows)
        }
        Tool::Approve { server: Some(server), tool: Some(tool), withdraw: true, .. } => {
            approve::withdraw(client, &server, &tool, page).await
        }
        Tool::Approve { server: Some(server), tool: Some(tool), yes, .. } => {
            approve::approve(client, (&server, &tool), yes, page).await
        }
        Tool::Approve { .. } => approve::list(&client.approved_tools().await?, page),
        Tool::List { watch: true, .. } => {
            let mut changes = client.tool_changes().await?;
            while let Some(tools) = changes.next().await? {
                list(&tools, page)?;
            }
            Err(Failure::Other("the node stopped".to_owned()))
        }
        Tool::Call { server, tool, params: written, timeout } => {
            let params = written.as_deref().map(params).transpose()?.unwrap_or_default();
            let timeout_ms = timeout.map(|time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
            call(client, &ToolCall { server, tool, params, timeout_ms, call_id: None }, page).await
        }
    }
}

/// The arguments of a call, as they are written on the command line.
pub(super) fn params(written: &str) -> Result<Map<String, Value>, Failure> {
    match payload::read(written)? {
        Value::Object(params) => Ok(params),
        _ => Err(Failure::Usage("--params: a JSON object is wanted, such as {\"path\": \"/tmp\"}".to_owned())),
    }
}

fn list(tools: &control::Tools, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(tools);
    }
    if tools.servers.is_empty() {
        return page.line("No tools. [tools.NAME] in comity.toml names a tool server.");
    }
    let rows: Vec<_> = tools.servers.iter().map(server).collect();
    page.table(&["SERVER", "KIND", "STATE", "STARTED AGAIN", "WHAT IS WRONG"], &rows)?;
    if tools.tools.is_empty() {
        return Ok(());
    }
    page.line("")?;
    listed(tools, page)
}

fn listed(tools: &control::Tools, page: &mut Page) -> Result<(), Failure> {
    let rows: Vec<_> = tools.tools.iter().map(tool).collect();
    page.table(&["SERVER", "TOOL", "ARGUMENTS", "WHAT IT SAYS OF ITSELF"], &rows)
}

fn server(server: &ToolServer) -> Vec<Cell> {
    let look = match server.state.as_str() {
        "ready" => Look::Good,
        "starting" => Look::Warning,
        _ => Look::Bad,
    };
    let left_out = || server.left_out.iter().map(|one| format!("{} is left out: {}", one.tool, one.why));
    let wrong = server.last_error.clone().into_iter().chain(left_out()).collect::<Vec<_>>().join("; ");
    vec![
        looking(&server.name, Look::Strong),
        cell(&server.kind),
        looking(&server.state, look),
        cell(server.restarts.to_string()),
        cell(if wrong.is_empty() { "-" } else { &wrong }),
    ]
}

fn tool(tool: &control::Tool) -> Vec<Cell> {
    let about = tool.description.lines().next().unwrap_or_default();
    let arguments = arguments(&tool.input_schema);
    vec![cell(&tool.server), looking(&tool.name, Look::Strong), cell(arguments), cell(about)]
}

/// The names of arguments; those that may be left out in brackets.
fn arguments(schema: &Value) -> String {
    let required = |name: &str| schema["required"].as_array().is_some_and(|all| all.contains(&json!(name)));
    let argument = |name: &String| if required(name) { name.clone() } else { format!("[{name}]") };
    let properties = schema["properties"].as_object().into_iter().flat_map(Map::keys);
    properties.map(argument).collect::<Vec<_>>().join(" ")
}

async fn call(client: &Client, wanted: &ToolCall, page: &mut Page) -> Result<(), Failure> {
    let mut steps = client.call_tool(wanted).await?;
    while let Some(step) = steps.next().await? {
        match step {
            ToolStep::Progress { said } => say(&progress(&said)),
            ToolStep::Done { result } if page.json => return page.value(&json!({"result": result})),
            ToolStep::Done { result } => return page.line(&printed(&result)),
            ToolStep::Failed { code, message, data } => {
                if page.json {
                    page.value(&json!({"error": {"code": code, "message": message, "data": data}}))?;
                }
                return Err(failure(&code, message));
            }
        }
    }
    Err(Failure::Other("the node stopped before the tool answered".to_owned()))
}

fn failure(code: &str, message: String) -> Failure {
    let sentence = format!("{code}: {message}");
    match code {
        "bad_params" => Failure::Usage(sentence),
        "timeout" => Failure::Late(sentence),
        "forbidden" => Failure::Unknown(sentence),
        "unknown_tool" => Failure::Unknown(format!("{sentence}\n  `comity tool list` lists the tools of this node")),
        _ => Failure::Other(sentence),
    }
}

fn progress(said: &Value) -> String {
    let number = |name: &str| said[name].as_f64();
    let far = match (number("progress"), number("total")) {
        (Some(done), Some(total)) if total > 0.0 => format!("{:.0} %", done / total * 100.0),
        (Some(done), _) => done.to_string(),
        _ => String::new(),
    };
    let message = said["message"].as_str().map(clean).unwrap_or_default();
    [far, message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// The result for people: its texts, line by line; of what is no text, what it is.
pub(super) fn printed(result: &Value) -> String {
    let block = |block: &Value| match (block["type"].as_str(), block["text"].as_str()) {
        (Some("text"), Some(text)) => lines(text),
        (kind, _) => format!("({}; --json has all of it)", clean(kind.unwrap_or("something else"))),
    };
    let blocks: Vec<String> = result["content"].as_array().into_iter().flatten().map(block).collect();
    match (blocks.is_empty(), result.get("structuredContent")) {
        (true, Some(structured)) => all_said(structured),
        _ => blocks.join("\n"),
    }
}

fn lines(text: &str) -> String {
    text.trim_end_matches('\n').lines().map(crate::page::whole).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_printed_without_what_a_terminal_would_obey() {
        let result =
            json!({"content": [{"type": "text", "text": "one\u{1b}[2J\ntwo\n"}, {"type": "image", "data": "x"}]});
        assert_eq!(printed(&result), "one[2J\ntwo\n(image; --json has all of it)");
        assert_eq!(printed(&json!({"content": [], "structuredContent": {"a": 1}})), r#"{"a":1}"#);
    }

    #[test]
    fn progress_is_a_line() {
        assert_eq!(progress(&json!({"progress": 1.0, "total": 4.0, "message": "a\nb"})), "25 %  a b");
        assert_eq!(progress(&json!({"progress": 2.0, "total": null, "message": null})), "2");
    }

    #[test]
    fn arguments_are_an_object() {
        assert_eq!(params(r#"{"a":1}"#).expect("an object")["a"], 1);
        assert!(matches!(params("a=1"), Err(Failure::Usage(_))));
    }
}
