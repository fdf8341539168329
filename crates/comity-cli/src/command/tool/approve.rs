//! `comity tool approve`: a person looks at what a tool of another origin says of itself, and lets MCP clients here have it.

use super::arguments;
use crate::confirm::confirm;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, all_said, cell, clean, looking, whole};
use comity_client::Client;
use comity_client::control::{ApprovedTool, ApprovedTools, Tool, ToolApproval, ToolWas, ToolWithdrawal};
use serde_json::{Value, json};

pub(super) async fn approve(
    client: &Client,
    (server, tool): (&str, &str),
    is_sure: bool,
    page: &mut Page,
) -> Result<(), Failure> {
    let Some((origin, _)) = server.split_once('/') else {
        return Err(Failure::Usage("a tool server of another origin is wanted: ORIGIN/SERVER".to_owned()));
    };
    let offered = client.tools_of(origin).await?;
    let found = offered.tools.iter().find(|one| one.server == server && one.name == tool);
    let Some(found) = found else {
        let sentence =
            format!("{} opens no such tool to this node\n  `comity tool list --origin {0}` lists them", clean(origin));
        return Err(Failure::Unknown(sentence));
    };
    if !is_sure {
        ask(found)?;
    }
    let wanted = ToolApproval { server: server.to_owned(), tool: tool.to_owned(), hash: found.hash.clone() };
    let approved = client.approve_tool(&wanted).await?;
    if page.json {
        return page.value(&approved);
    }
    let (server, name) = (clean(&approved.server), clean(&approved.name));
    page.line(&format!("{server} {name} is approved: MCP clients here see it as {}.", clean(&approved.local_name)))
}

pub(super) async fn withdraw(client: &Client, server: &str, tool: &str, page: &mut Page) -> Result<(), Failure> {
    let wanted = ToolWithdrawal { server: server.to_owned(), tool: tool.to_owned() };
    client.withdraw_tool(&wanted).await?;
    if page.json {
        return page.value(&json!({}));
    }
    page.line(&format!("{} {} is approved no more.", clean(server), clean(tool)))
}

pub(super) fn list(approved: &ApprovedTools, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(approved);
    }
    if approved.tools.is_empty() {
        return page
            .line("No tool of another origin is approved. `comity tool list --origin ORIGIN` lists what there is.");
    }
    let rows: Vec<_> = approved.tools.iter().map(row).collect();
    page.table(&["SERVER", "TOOL", "STATE", "NAME FOR MCP CLIENTS"], &rows)
}

fn row(tool: &ApprovedTool) -> Vec<Cell> {
    let (state, look) = match tool.now.as_str() {
        "same" => ("approved", Look::Good),
        "unheard" => ("approved, not asked yet", Look::Plain),
        "changed" => ("changed: approve it again", Look::Warning),
        "gone" => ("not offered any more", Look::Warning),
        other => (other, Look::Plain),
    };
    vec![cell(&tool.server), looking(&tool.name, Look::Strong), looking(state, look), cell(&tool.local_name)]
}

/// Shows what the tool says of itself, and asks whether that is approved.
fn ask(tool: &Tool) -> Result<(), Failure> {
    let said = (tool.description.as_str(), &tool.input_schema, tool.output_schema.as_ref());
    let mut shown = described("it says of itself", said);
    if let Some(ToolWas { description, input_schema, output_schema }) = &tool.was {
        let was = described("when it was approved it said", (description, input_schema, output_schema.as_ref()));
        shown = format!("{was}{shown}");
    }
    confirm(&format!("{} {}\n{shown}Approve it?", clean(&tool.server), clean(&tool.name)))
}

fn described(when: &str, (description, input, output): (&str, &Value, Option<&Value>)) -> String {
    let lines: String = description.lines().map(|line| format!("    {}\n", whole(line))).collect();
    let output = output.map(|schema| format!("  result: {}\n", all_said(schema))).unwrap_or_default();
    format!(
        "  {when}:\n{lines}  arguments: {}\n  their schema: {}\n{output}",
        whole(&arguments(input)),
        all_said(input)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_tool_says_is_shown_whole_and_moves_no_cursor() {
        let schema = json!({"type": "object", "properties": {"a": {}, "b": {}}, "required": ["a"]});
        let shown = described("it says", ("One.\u{1b}[2J\nTwo.", &schema, None));
        assert!(shown.starts_with("  it says:\n    One.[2J\n    Two.\n  arguments: a [b]\n"), "{shown}");
    }
}
