//! Which tools of other origins a person has approved, by the hash of what they said of themselves then. A tool that
//! says something else since is disabled until it is approved again. See "Calls" in `protocols/federation.md`.

use crate::federation::Origin;
use crate::id::{decode_base64, encode_base64};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most approvals that are kept. A person makes each of them.
const APPROVALS_MAX: usize = 4096;

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

/// The tools that were approved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Approvals(BTreeMap<(Origin, String, String), [u8; 32]>);

impl Approvals {
    /// How the tool stands that has this hash now.
    pub fn standing(&self, origin: &Origin, server: &str, tool: &str, hash: &[u8; 32]) -> Standing {
        match self.0.get(&(origin.clone(), server.to_owned(), tool.to_owned())) {
            None => Standing::New,
            Some(approved) if approved == hash => Standing::Approved,
            Some(_) => Standing::Changed,
        }
    }

    /// Approves a tool as it is now; whether there was room.
    #[must_use]
    pub fn approve(&mut self, origin: &Origin, server: &str, tool: &str, hash: [u8; 32]) -> bool {
        let key = (origin.clone(), server.to_owned(), tool.to_owned());
        let room = self.0.len() < APPROVALS_MAX || self.0.contains_key(&key);
        if room {
            self.0.insert(key, hash);
        }
        room
    }

    /// Takes an approval back; whether there was one.
    pub fn withdraw(&mut self, origin: &Origin, server: &str, tool: &str) -> bool {
        self.0.remove(&(origin.clone(), server.to_owned(), tool.to_owned())).is_some()
    }

    /// All of them: origin, server, tool and hash.
    pub fn iter(&self) -> impl Iterator<Item = (&Origin, &str, &str, &[u8; 32])> {
        self.0.iter().map(|((origin, server, tool), hash)| (origin, server.as_str(), tool.as_str(), hash))
    }

    /// As it is kept on disk.
    pub fn to_value(&self) -> Value {
        let one = |(origin, server, tool, hash): (&Origin, &str, &str, &[u8; 32])| json!({"hash": encode_base64(hash), "origin": origin.as_str(), "server": server, "tool": tool});
        self.iter().map(one).collect()
    }

    /// What was kept. What cannot be read is not approved.
    pub fn from_value(kept: &Value) -> Self {
        let one = |value: &Value| {
            let text = |name: &str| value.get(name)?.as_str();
            let hash = decode_base64(text("hash")?)?.try_into().ok()?;
            Some(((text("origin")?.parse().ok()?, text("server")?.to_owned(), text("tool")?.to_owned()), hash))
        };
        Self(kept.as_array().into_iter().flatten().filter_map(one).take(APPROVALS_MAX).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_that_changed_is_disabled_until_it_is_approved_again() {
        let (beta, mut approvals) = ("beta.test".parse().expect("an origin"), Approvals::default());
        let standing = |approvals: &Approvals, hash: u8| approvals.standing(&beta, "files", "read", &[hash; 32]);
        assert_eq!(standing(&approvals, 1), Standing::New);
        assert!(approvals.approve(&beta, "files", "read", [1; 32]));
        assert_eq!([standing(&approvals, 1), standing(&approvals, 2)], [Standing::Approved, Standing::Changed]);
        assert!(approvals.approve(&beta, "files", "read", [2; 32]));
        assert_eq!([standing(&approvals, 1), standing(&approvals, 2)], [Standing::Changed, Standing::Approved]);
        let gamma = "gamma.test".parse().expect("an origin");
        assert_eq!(approvals.standing(&gamma, "files", "read", &[2; 32]), Standing::New);
        assert!(approvals.withdraw(&beta, "files", "read") && !approvals.withdraw(&beta, "files", "read"));
        assert_eq!(standing(&approvals, 2), Standing::New);
    }

    #[test]
    fn approvals_are_kept_and_what_cannot_be_read_is_not_approved() {
        let mut approvals = Approvals::default();
        assert!(approvals.approve(&"beta.test:8443".parse().expect("an origin"), "files", "read", [7; 32]));
        assert_eq!(Approvals::from_value(&approvals.to_value()), approvals);
        let bad = json!([{"hash": "x", "origin": "a.test", "server": "s", "tool": "t"}, 1, {"origin": "a.test"}]);
        assert_eq!(Approvals::from_value(&bad), Approvals::default());
    }
}
