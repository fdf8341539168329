//! The journal at the control door: what this node keeps, and the copies that it keeps of others' journals. Heads and
//! proofs have the forms of `wire/journal.rs`.

use super::named::{Name, Named};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A node's journal, as it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// Whose it is: the node id.
    pub author: String,
    /// The first entry that is kept.
    pub first: u64,
    /// The entry that comes next.
    pub size: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// Its files, and how many bytes of each are safe.
    pub segments: Vec<Segment>,
    /// The last signed head; left out while there is no entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Value>,
    /// Entries that the disk did not take since the start.
    pub refused: u64,
    /// Entries that were dropped since the start.
    pub dropped: u64,
    /// Why nothing is written now; left out when it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
}

/// A file of a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its first entry.
    pub first: u64,
    /// How many bytes of it are safe.
    pub bytes: u64,
}

/// One line of a stream of entries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Journaled {
    /// An entry, with all its members.
    Entry(Value),
    /// What follows cannot be read, for this reason.
    Failed(String),
}

/// Whose journal is to be followed, or not any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Follow {
    /// The peer, or a node id that may not have been met.
    pub peer: String,
    /// Whether it is.
    pub followed: bool,
}

/// The journals that are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Journals {
    /// By author.
    pub journals: Vec<Followed>,
}

/// A journal that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Followed {
    /// Whose: the node id.
    pub author: String,
    /// The author's name, as far as this node knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How it goes.
    pub state: Named<Following>,
    /// The first entry of the copy.
    pub first: u64,
    /// The entry after the last that was verified and is on the disk.
    pub size: u64,
    /// How many entries the author last said it has.
    pub told: u64,
    /// In a sentence, what it waits for or what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// The folder of the copy.
    pub folder: String,
}

/// How it goes with a journal that is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Following {
    /// All that the author has signed is here.
    Current,
    /// Entries are being read.
    Reading,
    /// The author cannot be asked, or this disk takes nothing: it is tried again.
    Waiting,
    /// The author broke the rules of a journal, or the copy is not as it was: nothing more is read.
    Broken,
}

impl Following {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Current, Self::Reading, Self::Waiting, Self::Broken];

    /// The name shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Reading => "reading",
            Self::Waiting => "waiting",
            Self::Broken => "broken",
        }
    }
}

impl Name for Following {
    const WHAT: &'static str = "state of a followed journal";
    const VALUES: &'static [Self] = &Self::ALL;

    fn text(self) -> &'static str {
        self.name()
    }
}
