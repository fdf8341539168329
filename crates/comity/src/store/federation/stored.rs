//! Summaries, pins, drafts and invitations as they lie on disk: JSON with the names of the rules. A change of it is a
//! step of the schema, or a member that may be missing.

use comity_core::federation::event::EventId;
use comity_core::federation::hub;
use comity_core::federation::participant;
use comity_core::federation::pin::OldKey;
use comity_core::federation::roster::{History, Roster, Standing};
use comity_core::federation::{Origin, Pin};
use comity_core::time::Timestamp;
use comity_core::tool::Described;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};

#[derive(Serialize, Deserialize)]
struct StoredRoster {
    /// How each stands: its name, and since and until which event.
    standings: BTreeMap<String, (String, Option<u64>, Option<u64>)>,
    all_history: bool,
    topic: Option<String>,
}

impl StoredRoster {
    fn of(roster: &Roster) -> Self {
        let stored = |standing| match standing {
            Standing::Invited => ("invited".to_owned(), None, None),
            Standing::Joined { since } => ("joined".to_owned(), Some(since), None),
            Standing::Left { since, until } => ("left".to_owned(), Some(since), Some(until)),
            Standing::Removed { since, until } => ("removed".to_owned(), since, Some(until)),
        };
        Self {
            standings: roster.standings().map(|(origin, standing)| (origin.to_string(), stored(standing))).collect(),
            all_history: roster.history() == History::All,
            topic: roster.topic().map(str::to_owned),
        }
    }

    fn restore(self) -> Option<Roster> {
        let standing = |(name, since, until): (String, Option<u64>, Option<u64>)| {
            Some(match name.as_str() {
                "invited" => Standing::Invited,
                "joined" => Standing::Joined { since: since? },
                "left" => Standing::Left { since: since?, until: until? },
                "removed" => Standing::Removed { since, until: until? },
                _ => return None,
            })
        };
        let standings =
            self.standings.into_iter().map(|(origin, stored)| Some((origin.parse().ok()?, standing(stored)?)));
        let history = if self.all_history { History::All } else { History::FromJoining };
        Some(Roster::restored(standings.collect::<Option<_>>()?, history, self.topic))
    }
}

#[derive(Serialize, Deserialize)]
struct StoredHub {
    roster: StoredRoster,
    term: u64,
    last: Option<(u64, String)>,
    /// Of each author the number of its last event, and its bytes.
    authors: BTreeMap<String, (u64, u64)>,
}

/// A hub's summary, but for the events that are remembered of each author, which are in the line.
pub(crate) fn hub_to_text(summary: &hub::Summary) -> String {
    let stored = StoredHub {
        roster: StoredRoster::of(&summary.roster),
        term: summary.term,
        last: summary.last.map(|(seq, id)| (seq, id.to_string())),
        authors: summary
            .authors
            .iter()
            .map(|(origin, author)| (origin.to_string(), (author.last, author.bytes)))
            .collect(),
    };
    serde_json::to_string(&stored).expect("texts and numbers are JSON")
}

/// The summary again, with the events of each author.
pub(super) fn hub_of(
    text: &str,
    recent: &mut BTreeMap<String, VecDeque<(Option<u64>, EventId)>>,
) -> Option<hub::Summary> {
    let stored: StoredHub = serde_json::from_str(text).ok()?;
    let last = match stored.last {
        Some((seq, id)) => Some((seq, id.parse().ok()?)),
        None => None,
    };
    let author = |(origin, (last, bytes)): (String, (u64, u64))| {
        let recent = recent.remove(&origin).unwrap_or_default();
        Some((origin.parse::<Origin>().ok()?, hub::Author { last, recent, bytes }))
    };
    let authors = stored.authors.into_iter().map(author).collect::<Option<_>>()?;
    Some(hub::Summary { roster: stored.roster.restore()?, term: stored.term, last, authors })
}

#[derive(Serialize, Deserialize)]
struct StoredMember {
    roster: StoredRoster,
    last: Option<(u64, String, u64)>,
    authors: BTreeMap<String, u64>,
    numbered: u64,
    decided: u64,
    taken: u64,
    told: u64,
    drafts: u64,
    drafts_numbered: u64,
    heard_since: u64,
    proven: Option<(u64, u64)>,
}

/// A member's summary.
pub(crate) fn member_to_text(summary: &participant::Summary) -> String {
    let stored = StoredMember {
        roster: StoredRoster::of(&summary.roster),
        last: summary.last.map(|(seq, id, term)| (seq, id.to_string(), term)),
        authors: summary.authors.iter().map(|(origin, number)| (origin.to_string(), *number)).collect(),
        numbered: summary.numbered,
        decided: summary.decided,
        taken: summary.taken,
        told: summary.told,
        drafts: summary.drafts,
        drafts_numbered: summary.drafts_numbered,
        heard_since: summary.heard_since.millis(),
        proven: summary.proven,
    };
    serde_json::to_string(&stored).expect("texts and numbers are JSON")
}

/// The summary again.
pub(super) fn member_of(text: &str) -> Option<participant::Summary> {
    let stored: StoredMember = serde_json::from_str(text).ok()?;
    let last = match stored.last {
        Some((seq, id, term)) => Some((seq, id.parse().ok()?, term)),
        None => None,
    };
    let authors = stored.authors.into_iter().map(|(origin, number)| Some((origin.parse().ok()?, number)));
    Some(participant::Summary {
        roster: stored.roster.restore()?,
        last,
        authors: authors.collect::<Option<_>>()?,
        numbered: stored.numbered,
        decided: stored.decided,
        taken: stored.taken,
        told: stored.told,
        drafts: stored.drafts,
        drafts_numbered: stored.drafts_numbered,
        heard_since: Timestamp::from_millis(stored.heard_since),
        proven: stored.proven,
    })
}

/// The keys of an origin, and where it answered last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptPin {
    /// The keys.
    pub(crate) pin: Pin,
    /// When the first of them was seen.
    pub(crate) since: Timestamp,
    /// Where the origin answers, as it said last.
    pub(crate) endpoint: String,
}

impl KeptPin {
    pub(super) fn to_text(&self) -> String {
        let old: Vec<Value> =
            self.pin.old.iter().map(|old| json!({"key": old.key.to_string(), "until": old.until.millis()})).collect();
        let (key, since) = (self.pin.key.to_string(), self.since.millis());
        json!({"key": key, "old": old, "since": since, "endpoint": self.endpoint}).to_string()
    }

    pub(super) fn of(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let old = |old: &Value| {
            let until = Timestamp::from_millis(old["until"].as_u64()?);
            Some(OldKey { key: old["key"].as_str()?.parse().ok()?, until })
        };
        let old = value["old"].as_array()?.iter().map(old).collect::<Option<_>>()?;
        Some(Self {
            pin: Pin { key: value["key"].as_str()?.parse().ok()?, old },
            since: Timestamp::from_millis(value["since"].as_u64()?),
            endpoint: value["endpoint"].as_str()?.to_owned(),
        })
    }
}

/// An invitation that came, and that nobody has answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Invitation {
    /// When, Unix milliseconds.
    pub(crate) at: u64,
    /// Who is a member, as the hub says.
    pub(crate) members: Vec<String>,
    /// What the channel is about, as the hub says.
    pub(crate) topic: Option<String>,
    /// Whether a new member may see all of it.
    pub(crate) all_history: bool,
}

/// What a tool of another origin said of itself when a person approved it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeptTool {
    description: String,
    input: Value,
    output: Option<Value>,
}

impl KeptTool {
    pub(crate) fn of(tool: &Described) -> Self {
        let Described { description, input, output, .. } = tool.clone();
        Self { description, input, output }
    }

    pub(super) fn named(self, name: String) -> Described {
        Described { name, description: self.description, input: self.input, output: self.output }
    }
}

/// What is to be said, as it is kept before it has a number: its type, its data and when it was said.
pub(crate) fn draft_of(kind: &str, data: &Value, at: Timestamp) -> String {
    json!({"type": kind, "data": data, "at": at.millis()}).to_string()
}
