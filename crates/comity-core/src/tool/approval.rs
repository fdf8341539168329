//! Which tools of other origins a person has approved, and what those said of themselves then. A tool that says something
//! else since is disabled until it is approved again. See "Calls" in `protocols/federation.md`.

use super::Described;
use crate::federation::Origin;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Most approvals that are kept. A person makes each of them.
const APPROVALS_MAX: usize = 1024;

/// How a remote tool stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is what was approved.
    Approved,
    /// Nobody has approved it.
    New,
    /// It says something else than what was approved.
    Changed,
}

/// A tool as it was approved.
#[derive(Debug, Clone, PartialEq)]
pub struct ApprovedTool {
    /// What it said of itself.
    pub tool: Arc<Described>,
    /// The hash of that.
    pub hash: [u8; 32],
}

/// The tools that were approved, by origin, server and name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Approvals(BTreeMap<(Origin, String, String), ApprovedTool>);

impl Approvals {
    /// How the tool stands that has this hash now.
    pub fn standing(&self, origin: &Origin, server: &str, tool: &str, hash: &[u8; 32]) -> Standing {
        match self.approved(origin, server, tool) {
            None => Standing::New,
            Some(approved) if approved.hash == *hash => Standing::Approved,
            Some(_) => Standing::Changed,
        }
    }

    /// What a tool was when it was approved.
    pub fn approved(&self, origin: &Origin, server: &str, tool: &str) -> Option<&ApprovedTool> {
        self.0.get(&(origin.clone(), server.to_owned(), tool.to_owned()))
    }

    /// Approves a tool as it is now; whether there was room.
    #[must_use]
    pub fn approve(&mut self, origin: &Origin, server: &str, tool: Described) -> bool {
        let key = (origin.clone(), server.to_owned(), tool.name.clone());
        let room = self.0.len() < APPROVALS_MAX || self.0.contains_key(&key);
        if room {
            self.0.insert(key, ApprovedTool { hash: tool.hash(), tool: Arc::new(tool) });
        }
        room
    }

    /// Takes an approval back; whether there was one.
    pub fn withdraw(&mut self, origin: &Origin, server: &str, tool: &str) -> bool {
        self.0.remove(&(origin.clone(), server.to_owned(), tool.to_owned())).is_some()
    }

    /// All of them: origin, server and tool.
    pub fn iter(&self) -> impl Iterator<Item = (&Origin, &str, &ApprovedTool)> {
        self.0.iter().map(|((origin, server, _), tool)| (origin, server.as_str(), tool))
    }

    /// The origins whose tools they are.
    pub fn origins(&self) -> BTreeSet<Origin> {
        self.0.keys().map(|(origin, ..)| origin.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn tool(description: &str) -> Described {
        Described::of("read", description, &json!({"type": "object"}), None).expect("a tool")
    }

    #[test]
    fn a_tool_that_changed_is_disabled_until_it_is_approved_again() {
        let (beta, mut approvals) = ("beta.test".parse().expect("an origin"), Approvals::default());
        let standing =
            |approvals: &Approvals, said: &str| approvals.standing(&beta, "files", "read", &tool(said).hash());
        assert_eq!(standing(&approvals, "one"), Standing::New);
        assert!(approvals.approve(&beta, "files", tool("one")));
        assert_eq!([standing(&approvals, "one"), standing(&approvals, "two")], [Standing::Approved, Standing::Changed]);
        assert!(approvals.approve(&beta, "files", tool("two")));
        assert_eq!([standing(&approvals, "one"), standing(&approvals, "two")], [Standing::Changed, Standing::Approved]);
        let gamma = "gamma.test".parse().expect("an origin");
        assert_eq!(approvals.standing(&gamma, "files", "read", &tool("two").hash()), Standing::New);
        assert!(approvals.withdraw(&beta, "files", "read") && !approvals.withdraw(&beta, "files", "read"));
        assert_eq!(standing(&approvals, "two"), Standing::New);
    }

    #[test]
    fn there_is_room_for_so_many_and_always_for_one_that_changed() {
        let (beta, mut approvals) = ("beta.test".parse().expect("an origin"), Approvals::default());
        for number in 0..APPROVALS_MAX {
            assert!(approvals.approve(&beta, &format!("s{number}"), tool("one")));
        }
        assert!(!approvals.approve(&beta, "more", tool("one")));
        assert!(approvals.approve(&beta, "s7", tool("two")));
    }
}
