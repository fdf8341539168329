//! The topics of gossip: what they are called, what is said on each, and which types of messages each takes. It builds
//! and reads names; who joins what is decided elsewhere. See "Topics" in `protocols/pubsub.md`.
//!
//! The three topics that every node joins take their own types: the coordination topic those of coordination, the
//! meta-discussion topic those of meta-discussion and of roles, as the table of the text says what it is for, and the
//! context topic those of context and of SLURP, whose events are about contexts. Every other topic takes all 31.

use crate::wire::gossip::{Group, Kind};
use std::fmt;
use std::sync::Arc;

/// Longest name of a topic, bytes.
pub const TOPIC_MAX: usize = 256;

/// Longest name of a role, a kind of expertise, a supervisor, a project or an issue, bytes.
pub const NAME_MAX: usize = 128;

const ROLES: &str = "CHORUS/roles/";
const EXPERTISE: &str = "CHORUS/expertise/";
const HIERARCHY: &str = "CHORUS/hierarchy/";
const PROJECTS: &str = "CHORUS/projects/";
const ROOMS: &str = "CHORUS/meta/issue/";
const VERSION: &str = "/v1";
const COORDINATION: &str = "/coordination/v1";

/// The name of a topic: 1 to [`TOPIC_MAX`] bytes without control characters. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Topic(Arc<str>);

/// A role, a kind of expertise or a supervisor as topics spell it: in lower case, with underscores for spaces.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

/// A text that cannot name a topic, or what a topic is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadTopic {
    /// The topic has too few or too many bytes, or control characters.
    #[error("the name of a topic has 1 to {TOPIC_MAX} bytes and no control characters")]
    Topic,
    /// The name in it has.
    #[error("a name in a topic has 1 to {NAME_MAX} bytes and no control characters")]
    Name,
    /// Two of the three topics that every node joins have one name.
    #[error("the topics of coordination, meta-discussion and context must have three different names")]
    Same,
}

/// A type of messages on a topic that does not take it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} has no place on the topic {topic}", kind.name())]
pub struct WrongTopic {
    /// The type.
    pub kind: Kind,
    /// The topic.
    pub topic: Topic,
}

/// The topics that every node joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topics {
    /// Tasks.
    coordination: Topic,
    /// Meta-discussion and roles.
    meta: Topic,
    /// Context feedback.
    context: Topic,
}

/// What is said on a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// Tasks.
    Coordination,
    /// Meta-discussion and roles.
    Meta,
    /// Contexts.
    Context,
    /// What concerns a role.
    Role(&'a str),
    /// What concerns a kind of expertise.
    Expertise(&'a str),
    /// What concerns those below a supervisor.
    Hierarchy(&'a str),
    /// A project.
    Project(&'a str),
    /// An issue: raw payloads.
    Room(&'a str),
    /// Anything else.
    Custom,
}

impl Topic {
    /// A topic of this name, if it can be one.
    pub fn new(name: &str) -> Result<Self, BadTopic> {
        if fits(name, TOPIC_MAX) { Ok(Self(name.into())) } else { Err(BadTopic::Topic) }
    }

    /// Where a role is spoken to.
    pub fn of_role(role: &Name) -> Self {
        Self(format!("{ROLES}{role}{VERSION}").into())
    }

    /// Where those are spoken to who know about something.
    pub fn of_expertise(expertise: &Name) -> Self {
        Self(format!("{EXPERTISE}{expertise}{VERSION}").into())
    }

    /// Where a supervisor and those below it speak.
    pub fn of_hierarchy(supervisor: &Name) -> Self {
        Self(format!("{HIERARCHY}{supervisor}{VERSION}").into())
    }

    /// Where a project is coordinated. The id is not respelt.
    pub fn of_project(id: &str) -> Result<Self, BadTopic> {
        if fits(id, NAME_MAX) { Ok(Self(format!("{PROJECTS}{id}{COORDINATION}").into())) } else { Err(BadTopic::Name) }
    }

    /// The room of an issue. The id is not respelt.
    pub fn of_issue(id: &str) -> Result<Self, BadTopic> {
        if fits(id, NAME_MAX) { Ok(Self(format!("{ROOMS}{id}").into())) } else { Err(BadTopic::Name) }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl Name {
    /// The name as topics spell it: "Senior Developer" is `senior_developer`. Spaces around it are not part of it.
    pub fn new(text: &str) -> Result<Self, BadTopic> {
        // By letter: the lower case of a word may depend on where in it a letter stands, and Go's does not.
        let spelt = |letter: char| if letter.is_whitespace() { '_' } else { letter };
        let name: String = text.trim().chars().map(spelt).flat_map(char::to_lowercase).collect();
        if fits(&name, NAME_MAX) { Ok(Self(name.into())) } else { Err(BadTopic::Name) }
    }

    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

fn fits(text: &str, bytes_max: usize) -> bool {
    (1..=bytes_max).contains(&text.len()) && !text.chars().any(char::is_control)
}

impl Default for Topics {
    fn default() -> Self {
        let topic = |name: &str| Topic(name.into());
        Self {
            coordination: topic("CHORUS/coordination/v1"),
            meta: topic("hmmm/meta-discussion/v1"),
            context: topic("CHORUS/context-feedback/v1"),
        }
    }
}

impl Topics {
    /// Topics of other names than the usual.
    pub fn new(coordination: &str, meta: &str, context: &str) -> Result<Self, BadTopic> {
        let [coordination, meta, context] = [Topic::new(coordination)?, Topic::new(meta)?, Topic::new(context)?];
        if coordination == meta || meta == context || context == coordination {
            return Err(BadTopic::Same);
        }
        Ok(Self { coordination, meta, context })
    }

    /// Where tasks are coordinated.
    pub fn coordination(&self) -> &Topic {
        &self.coordination
    }

    /// Where there is meta-discussion.
    pub fn meta(&self) -> &Topic {
        &self.meta
    }

    /// Where contexts are spoken of.
    pub fn context(&self) -> &Topic {
        &self.context
    }

    /// What is said on a topic. A name in it is as it stands there: only [`Name`] spells.
    pub fn read<'a>(&self, topic: &'a Topic) -> About<'a> {
        let name = topic.name();
        let inside = |before: &str, after: &str| {
            let name = name.strip_prefix(before)?.strip_suffix(after)?;
            fits(name, NAME_MAX).then_some(name)
        };
        if *topic == self.coordination {
            About::Coordination
        } else if *topic == self.meta {
            About::Meta
        } else if *topic == self.context {
            About::Context
        } else if let Some(role) = inside(ROLES, VERSION) {
            About::Role(role)
        } else if let Some(expertise) = inside(EXPERTISE, VERSION) {
            About::Expertise(expertise)
        } else if let Some(supervisor) = inside(HIERARCHY, VERSION) {
            About::Hierarchy(supervisor)
        } else if let Some(project) = inside(PROJECTS, COORDINATION) {
            About::Project(project)
        } else {
            inside(ROOMS, "").map_or(About::Custom, About::Room)
        }
    }

    /// Whether a topic takes messages of a type.
    pub fn takes(&self, topic: &Topic, kind: Kind) -> Result<(), WrongTopic> {
        let group = kind.group();
        let taken = match self.read(topic) {
            About::Coordination => group == Group::Coordination,
            About::Meta => matches!(group, Group::Meta | Group::Roles),
            About::Context => matches!(group, Group::Context | Group::Slurp),
            _ => true,
        };
        if taken { Ok(()) } else { Err(WrongTopic { kind, topic: topic.clone() }) }
    }

    /// The one of the three that takes messages of a type.
    pub fn of_kind(&self, kind: Kind) -> &Topic {
        match kind.group() {
            Group::Coordination => &self.coordination,
            Group::Meta | Group::Roles => &self.meta,
            Group::Context | Group::Slurp => &self.context,
        }
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).expect("a name")
    }

    /// A generator whose sequence its seed tells (SplitMix64).
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, limit: u64) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut drawn = self.0;
            drawn = (drawn ^ drawn >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            drawn = (drawn ^ drawn >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (drawn ^ drawn >> 31) % limit
        }

        /// A text of letters that make trouble: parts of topics, cases, spaces, controls.
        fn text(&mut self) -> String {
            const PARTS: [&str; 20] = [
                "a",
                "Z",
                "ß",
                "İ",
                "Σ",
                "ǅ",
                " ",
                "\t",
                "_",
                "/",
                "/v1",
                "CHORUS/",
                "roles/",
                "\u{0}",
                "\u{7f}",
                "名",
                "/coordination/v1",
                "CHORUS/meta/issue/",
                "\u{2003}",
                "0123456789abcdef0123456789abcdef",
            ];
            let parts = self.below(9);
            (0..parts).map(|_| PARTS[usize::try_from(self.below(20)).expect("small")]).collect()
        }
    }

    #[test]
    fn names_are_spelt_as_the_design_spells_them() {
        for (text, spelt) in [
            ("Senior Developer", "senior_developer"),
            ("  QA\tLead ", "qa_lead"),
            ("rust", "rust"),
            ("CI/CD", "ci/cd"),
            ("ΟΔΟΣ", "οδοσ"),
            ("two  spaces", "two__spaces"),
        ] {
            assert_eq!(name(text).text(), spelt);
        }
        for bad in ["", "   ", "a\u{0}b", "a\nb\u{1b}", &"x".repeat(NAME_MAX + 1)] {
            assert_eq!(Name::new(bad), Err(BadTopic::Name), "{bad:?}");
        }
    }

    #[test]
    fn a_topic_reads_as_it_was_built() {
        let topics = Topics::default();
        let developer = name("Senior Developer");
        for (topic, text, about) in [
            (Topic::of_role(&developer), "CHORUS/roles/senior_developer/v1", About::Role("senior_developer")),
            (Topic::of_expertise(&name("Rust")), "CHORUS/expertise/rust/v1", About::Expertise("rust")),
            (Topic::of_hierarchy(&name("CTO")), "CHORUS/hierarchy/cto/v1", About::Hierarchy("cto")),
            (
                Topic::of_project("Web-7").expect("an id"),
                "CHORUS/projects/Web-7/coordination/v1",
                About::Project("Web-7"),
            ),
            (Topic::of_issue("42").expect("an id"), "CHORUS/meta/issue/42", About::Room("42")),
            (topics.coordination().clone(), "CHORUS/coordination/v1", About::Coordination),
            (topics.meta().clone(), "hmmm/meta-discussion/v1", About::Meta),
            (topics.context().clone(), "CHORUS/context-feedback/v1", About::Context),
        ] {
            assert_eq!(topic.name(), text);
            assert_eq!(topics.read(&topic), about);
        }
        let long = format!("CHORUS/roles/{}/v1", "x".repeat(NAME_MAX + 1));
        for other in ["weather", "CHORUS/roles//v1", "CHORUS/roles/v1", "CHORUS/roles/x/v2", "chorus/roles/x/v1", &long]
        {
            assert_eq!(topics.read(&Topic::new(other).expect("a topic")), About::Custom, "{other}");
        }
        for bad in ["", "a\u{0}", &"x".repeat(TOPIC_MAX + 1)] {
            assert_eq!(Topic::new(bad), Err(BadTopic::Topic), "{bad:?}");
        }
    }

    #[test]
    fn whatever_a_name_is_made_of_its_topic_reads_back() {
        let topics = Topics::default();
        let (mut made, mut refused) = (0, 0);
        for seed in 0..20_000 {
            let mut chance = Chance(seed);
            let (text, other) = (chance.text(), chance.text());
            let Ok(spelt) = Name::new(&text) else {
                refused += 1;
                continue;
            };
            made += 1;
            assert_eq!(Name::new(spelt.text()).as_ref(), Ok(&spelt), "seed {seed}: spelling twice changes nothing");
            assert!(fits(spelt.text(), NAME_MAX), "seed {seed}");
            for (topic, about) in [
                (Topic::of_role(&spelt), About::Role(spelt.text())),
                (Topic::of_expertise(&spelt), About::Expertise(spelt.text())),
                (Topic::of_hierarchy(&spelt), About::Hierarchy(spelt.text())),
            ] {
                assert_eq!(Topic::new(topic.name()).as_ref(), Ok(&topic), "seed {seed}: it is a topic");
                assert_eq!(topics.read(&topic), about, "seed {seed}: {topic}");
            }
            for (topic, id) in [(Topic::of_project(&other), &other), (Topic::of_issue(&other), &other)] {
                let Ok(topic) = topic else { continue };
                let read = topics.read(&topic);
                assert!(read == About::Project(id) || read == About::Room(id), "seed {seed}: {topic}");
            }
            if let Ok(topic) = Topic::new(&other) {
                topics.read(&topic);
            }
        }
        assert!(made > 5_000 && refused > 5_000, "{made} made, {refused} refused");
    }

    #[test]
    fn each_type_has_its_place_and_the_error_names_both() {
        let topics = Topics::new("tasks", "talk", "contexts").expect("three names");
        for kind in Kind::ALL {
            let places = [topics.coordination(), topics.meta(), topics.context()];
            let taken: Vec<_> = places.into_iter().filter(|topic| topics.takes(topic, kind).is_ok()).collect();
            assert_eq!(taken, [topics.of_kind(kind)], "{kind:?}");
            assert_eq!(topics.takes(&Topic::of_role(&name("x")), kind), Ok(()));
            // With other names, the usual ones are topics like any other.
            assert_eq!(topics.takes(Topics::default().coordination(), kind), Ok(()));
        }
        let bad = topics.takes(topics.coordination(), Kind::MetaDiscussion).expect_err("another topic");
        assert_eq!(bad.to_string(), "meta_discussion has no place on the topic tasks");
        assert_eq!(Topics::new("a", "b", "a"), Err(BadTopic::Same));
        assert_eq!(Topics::new("a", "b", ""), Err(BadTopic::Topic));
    }
}
