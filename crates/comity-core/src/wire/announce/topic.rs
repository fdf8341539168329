//! The topics of MQTT discovery: built for what this node says, and read of what brokers hand on.

use crate::limits;

/// The prefix when none is configured.
pub const PREFIX: &str = "mindgit/kernels";

/// Longest prefix, bytes.
const PREFIX_MAX: usize = 256;

/// A prefix under which no topic can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a topic prefix is 1 to {PREFIX_MAX} bytes without + # or control characters, and does not begin or end with /"
)]
pub struct BadPrefix;

/// The topics under one prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    prefix: String,
}

/// What is said on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// Peer info.
    Announce,
    /// One capability, by name.
    Capability(&'a str),
    /// That the peer leaves.
    Goodbye,
    /// A signal for the peer, from this one.
    Signal(&'a str),
}

impl Topics {
    /// The topics under this prefix.
    pub fn new(prefix: &str) -> Result<Self, BadPrefix> {
        let plain = |c: char| !c.is_control() && !matches!(c, '+' | '#');
        let fits = (1..=PREFIX_MAX).contains(&prefix.len()) && prefix.chars().all(plain);
        // What begins with $ is the broker's own.
        if !fits || prefix.starts_with(['/', '$']) || prefix.ends_with('/') {
            return Err(BadPrefix);
        }
        Ok(Self { prefix: prefix.to_owned() })
    }

    /// The prefix.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Where a peer says who it is.
    pub fn announce(&self, id: &str) -> String {
        format!("{}/{id}/announce", self.prefix)
    }

    /// Where a peer says that it has a capability; `None` for one that no topic can name.
    pub fn capability(&self, id: &str, capability: &str) -> Option<String> {
        is_id(capability).then(|| format!("{}/{id}/capabilities/{capability}", self.prefix))
    }

    /// Where a peer says goodbye.
    pub fn goodbye(&self, id: &str) -> String {
        format!("{}/{id}/goodbye", self.prefix)
    }

    /// Where one peer signals to another.
    pub fn signal(&self, to: &str, from: &str) -> String {
        format!("{}/{to}/signal/{from}", self.prefix)
    }

    /// What a node subscribes to, in this order: its own signals, for whoever hears of it may signal at once; and who is
    /// announced is known before its capabilities come.
    pub fn subscriptions(&self, me: &str) -> [String; 4] {
        [self.signal(me, "+"), self.announce("+"), self.goodbye("+"), format!("{}/+/capabilities/+", self.prefix)]
    }

    /// Whom a topic is about, and what is said there; `None` when it is none of these topics.
    pub fn read<'a>(&self, topic: &'a str) -> Option<(&'a str, About<'a>)> {
        let rest = topic.strip_prefix(&self.prefix)?.strip_prefix('/')?;
        let mut parts = rest.split('/');
        let (id, kind) = (parts.next().filter(|id| is_id(id))?, parts.next()?);
        let about = match (kind, parts.next()) {
            ("announce", None) => About::Announce,
            ("goodbye", None) => About::Goodbye,
            ("capabilities", Some(name)) if is_id(name) => About::Capability(name),
            ("signal", Some(from)) if is_id(from) => About::Signal(from),
            _ => return None,
        };
        parts.next().is_none().then_some((id, about))
    }
}

/// Whether a text can be one level of a topic that names something.
pub(super) fn is_id(text: &str) -> bool {
    let plain = |c: char| !c.is_control() && !matches!(c, '/' | '+' | '#');
    (1..=limits::PEER_TEXT_MAX).contains(&text.len()) && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_reads_as_it_was_built() {
        let topics = Topics::new("a/b").expect("a prefix");
        assert_eq!(topics.read(&topics.announce("x")), Some(("x", About::Announce)));
        assert_eq!(topics.read(&topics.goodbye("x")), Some(("x", About::Goodbye)));
        assert_eq!(topics.read(&topics.signal("x", "y")), Some(("x", About::Signal("y"))));
        let capability = topics.capability("x", "search").expect("a name");
        assert_eq!(topics.read(&capability), Some(("x", About::Capability("search"))));
        assert_eq!(topics.capability("x", "a/b"), None);
        assert_eq!(topics.subscriptions("me")[0], "a/b/me/signal/+");
    }

    #[test]
    fn other_topics_are_none_of_these() {
        let topics = Topics::new(PREFIX).expect("a prefix");
        for other in ["", "x/announce", "mindgit/kernels", "mindgit/kernels//announce", "mindgit/kernels/x"] {
            assert_eq!(topics.read(other), None, "{other}");
        }
        for rest in ["/x/announce/y", "/x/capabilities", "/x/capabilities/a/b", "/x/signal", "x/y/announce", "/x/other"]
        {
            assert_eq!(topics.read(&format!("{PREFIX}{rest}")), None, "{rest}");
        }
        assert_eq!(topics.read(&format!("{PREFIX}/{}/announce", "x".repeat(129))), None);
        for bad in ["", "/a", "a/", "a/#", "a/+/b", "a\u{0}", "$SYS"] {
            assert_eq!(Topics::new(bad), Err(BadPrefix), "{bad}");
        }
    }
}
