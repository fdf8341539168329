//! Which tools each MCP client may use, as `mcp.clients` of the configuration says. It decides
//! nothing else: who may reach the control door at all is settled before.

use super::tools::NAMES;
use std::collections::{BTreeMap, BTreeSet};

/// The entry for every client that has none of its own.
const EVERYBODY: &str = "*";

/// What each client may use. Without any entry, everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Policy {
    clients: BTreeMap<String, Allowed>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    All,
    These(BTreeSet<&'static str>),
}

/// An entry that names a tool which is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("mcp.clients.{client}: {tool:?} is no tool; `all`, `none`, or some of {}", NAMES.join(", "))]
pub(crate) struct BadPolicy {
    client: String,
    tool: String,
}

impl Policy {
    /// Reads entries of the form client name -> `all`, `none`, or tools separated by spaces or
    /// commas; the client `*` is everybody else.
    pub(crate) fn read(entries: &BTreeMap<String, String>) -> Result<Self, BadPolicy> {
        let entry = |(client, text): (&String, &String)| Ok((client.clone(), allowed(client, text)?));
        entries.iter().map(entry).collect::<Result<_, _>>().map(|clients| Self { clients })
    }

    /// Whether the client may use tools of other origins at all: not, where it may only use some of this node's.
    pub(super) fn allows_others(&self, client: &str) -> bool {
        matches!(self.of(client), None | Some(Allowed::All))
    }

    fn of(&self, client: &str) -> Option<&Allowed> {
        self.clients.get(client).or_else(|| self.clients.get(EVERYBODY))
    }

    /// Whether the client may use this tool of the node.
    pub(super) fn allows(&self, client: &str, tool: &str) -> bool {
        match self.of(client) {
            None | Some(Allowed::All) => true,
            Some(Allowed::These(tools)) => tools.contains(tool),
        }
    }
}

fn allowed(client: &str, text: &str) -> Result<Allowed, BadPolicy> {
    match text.trim() {
        "all" => return Ok(Allowed::All),
        "none" => return Ok(Allowed::These(BTreeSet::new())),
        _ => {}
    }
    let words = text.split([' ', ',']).filter(|word| !word.is_empty());
    let tool = |word: &str| {
        let bad = || BadPolicy { client: client.to_owned(), tool: word.to_owned() };
        NAMES.into_iter().find(|name| *name == word).ok_or_else(bad)
    };
    words.map(tool).collect::<Result<_, _>>().map(Allowed::These)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(entries: &[(&str, &str)]) -> Result<Policy, BadPolicy> {
        Policy::read(&entries.iter().map(|(client, text)| ((*client).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn an_entry_of_its_own_counts_before_everybodys() {
        let policy =
            policy(&[("*", "network_status, network_inbox"), ("desk", "all"), ("spy", "none")]).expect("a policy");
        assert!(policy.allows("desk", "network_broadcast"));
        assert!(policy.allows("other", "network_inbox"));
        assert!(!policy.allows("other", "network_broadcast"));
        assert!(!policy.allows("spy", "network_status"));
        assert!(Policy::default().allows("anybody", "network_broadcast"));
        assert!(Policy::default().allows_others("anybody") && policy.allows_others("desk"));
        assert!(!policy.allows_others("spy") && !policy.allows_others("other"));
    }

    #[test]
    fn a_tool_that_is_none_is_an_error_that_lists_them() {
        let bad = policy(&[("desk", "network_statu")]).expect_err("no such tool").to_string();
        assert!(bad.contains("network_statu") && bad.contains("network_set_attention"), "{bad}");
    }
}
