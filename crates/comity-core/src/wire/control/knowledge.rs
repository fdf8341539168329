//! What this node knows, and what it asks others, at the control door. What goes to other nodes is in
//! `wire/mesh/knowledge.rs`.

use serde::{Deserialize, Serialize};

/// Something that this node is to know, and to tell others.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewFact {
    /// What it is about.
    pub topic: String,
    /// What is known.
    pub content: String,
    /// How sure that is: 0 to 1.
    pub confidence: f64,
    /// Where it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Its id: it takes the place of what this node said before under the same. Left out: a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Whether nobody is told of it now. Whoever asks this node is.
    #[serde(default)]
    pub local: bool,
}

/// What became of it: it is kept here, signed, and safe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SharedFact {
    /// The entry as it was signed: secrets are taken out.
    pub fact: Fact,
    /// The nodes that took it.
    pub taken_by: Vec<String>,
    /// The nodes that did not, and why.
    pub not_taken: Vec<NotAnswered>,
}

/// A node that did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotAnswered {
    /// Its name, or its id.
    pub node: String,
    /// Why, in a sentence.
    pub cause: String,
}

/// What somebody here wants to know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskKnowledge {
    /// About what.
    pub topic: String,
    /// Entries in all, 1 to 1,000; 10 when nobody says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// How sure their nodes must be: 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_confidence: Option<f64>,
    /// How long others may take, ms; 1,000 when nobody says, 30,000 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Whether nobody else is asked.
    #[serde(default)]
    pub local: bool,
}

/// What nodes know of a topic, the best first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// The entries; the signature of each holds.
    pub knowledge: Vec<Fact>,
    /// How many nodes were asked, this one, too.
    pub nodes_queried: u64,
    /// Those that did not answer.
    pub nodes_failed: Vec<NotAnswered>,
    /// Entries that were left out, because nobody signed them as they came, or they cannot be read.
    pub refused: u64,
    /// Entries that were left out, because all of them are more than one answer holds.
    pub left_out: u64,
    /// How long it took, ms.
    pub total_time_ms: u64,
}

/// Something that a node says to know. What it says is data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    /// Its id: unique for the node that says it.
    pub id: String,
    /// What it is about.
    pub topic: String,
    /// What is known.
    pub content: String,
    /// Where it is from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// How sure its node is: 0 to 1.
    pub confidence: f64,
    /// When it was written, as its node wrote it: an RFC 3339 time.
    pub created: String,
    /// The node that says and signed it: its id, which is its key.
    pub node: String,
    /// What that node calls itself; empty where that is not known here.
    pub name: String,
    /// How far this node trusts it: `own`, `known`, or `unverified`.
    pub trust: String,
    /// The nodes of which it came: names, or ids.
    pub via: Vec<String>,
}
