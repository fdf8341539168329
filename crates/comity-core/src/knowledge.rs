//! Knowledge: short texts about a topic that nodes pass on to each other, what of one is signed, and which are given to
//! who asks. Where they are kept, and whom they are sent, is the body's business. See the rows of knowledge in
//! `protocols/mesh.md`.
//!
//! `protocols/mesh.md` leaves open what of an entry is signed, so it is said here: under the context
//! `comity/knowledge/1`, the canonical JSON (RFC 8785) of `id`, `topic`, `topic_basin`, `content`, `source`, `confidence`
//! and `created` as they are sent, and of `node`: the name in the mesh of the node that says it. Members that are absent
//! are left out; numbers are doubles, also those of `topic_basin`; `created` is the text as it was written.

use crate::id::NodeId;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::registry::profile::DIMENSIONS_MAX;
use crate::registry::routing;
use crate::time::Timestamp;
use serde_json::{Value, json};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// Longest content, bytes: a thousand entries of a usual kilobyte fit into an answer, and one of this size into a request.
pub const CONTENT_MAX: usize = 64 * 1024;

/// Longest topic, characters.
pub const TOPIC_MAX: usize = 256;

/// Longest id, and longest time as it is written, characters.
pub const ID_MAX: usize = 128;
const CREATED_MAX: usize = 64;

/// Longest source, characters: an address, or the title of a document.
pub const SOURCE_MAX: usize = 1024;

/// Most entries in an answer, as many documents as in one of `sync`.
pub const LIMIT_MAX: usize = 1000;

/// Entries in an answer where nobody says how many.
pub const LIMIT: usize = 10;

/// How far a vector may be from that of a question for its entry to be shown at all, radians: a text of thirty other words
/// and the one that was asked for is nearer, a text without it is hardly ever.
pub const NEAR_MAX: f64 = 1.4;

/// Something that a node knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Knowledge {
    /// Its id: unique for the node that says it.
    pub id: String,
    /// What it is about.
    pub topic: String,
    /// The same as a vector. Kept in doubles, as it was signed.
    pub topic_basin: Option<Vec<f64>>,
    /// What is known.
    pub content: String,
    /// Where it is from.
    pub source: Option<String>,
    /// How sure its node is: 0 to 1.
    pub confidence: f64,
    /// When it was written.
    pub created: Created,
}

/// A time, and the text that says it, which is what is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    text: Box<str>,
    at: Timestamp,
}

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKnowledge {
    /// Its id is empty or too long.
    #[error("id: 1 to {ID_MAX} characters are wanted")]
    Id,
    /// Its topic is empty or too long.
    #[error("topic: 1 to {TOPIC_MAX} characters are wanted")]
    Topic,
    /// Its vector has no length, or a number that is none.
    #[error("topic_basin: 1 to {DIMENSIONS_MAX} finite numbers are wanted that are not all 0")]
    TopicBasin,
    /// Its content is too long.
    #[error("content: at most {CONTENT_MAX} bytes are wanted")]
    Content,
    /// Its source is too long.
    #[error("source: at most {SOURCE_MAX} characters are wanted")]
    Source,
    /// Its node is surer than sure, or less than not at all.
    #[error("confidence: a number from 0 to 1 is wanted")]
    Confidence,
}

/// How an entry stands to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// It is another one: both are kept.
    Apart,
    /// It is the same.
    Same,
    /// It takes the other's place.
    Newer,
    /// The other one stays.
    Older,
}

/// What somebody wants to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// About what.
    pub about: About,
    /// At most so many entries: 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// How sure their nodes must be.
    pub min_confidence: Option<f64>,
}

/// About what somebody wants to know something.
#[derive(Debug, Clone, PartialEq)]
pub enum About {
    /// A topic, in words.
    Topic(String),
    /// What lies near this vector.
    Basin(Vec<f32>),
}

impl Created {
    /// Reads a time; `None` when it is none.
    pub fn read(text: &str) -> Option<Self> {
        let at = Timestamp::parse(text).filter(|_| text.len() <= CREATED_MAX)?;
        Some(Self { text: text.into(), at })
    }

    /// When.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl From<Timestamp> for Created {
    fn from(at: Timestamp) -> Self {
        Self { text: at.to_string().into(), at }
    }
}

impl Knowledge {
    /// Whether all of it is within the bounds.
    ///
    /// # Errors
    /// [`BadKnowledge`] names the field.
    pub fn bounded(&self) -> Result<(), BadKnowledge> {
        let is_within = |text: &str, most: usize| text.len() <= 4 * most && text.chars().count() <= most;
        if self.id.is_empty() || !is_within(&self.id, ID_MAX) {
            return Err(BadKnowledge::Id);
        }
        if self.topic.is_empty() || !is_within(&self.topic, TOPIC_MAX) {
            return Err(BadKnowledge::Topic);
        }
        if !self.topic_basin.as_ref().is_none_or(|basin| is_basin(basin)) {
            return Err(BadKnowledge::TopicBasin);
        }
        if self.content.len() > CONTENT_MAX {
            return Err(BadKnowledge::Content);
        }
        if !self.source.as_ref().is_none_or(|source| is_within(source, SOURCE_MAX)) {
            return Err(BadKnowledge::Source);
        }
        if (0.0..=1.0).contains(&self.confidence) { Ok(()) } else { Err(BadKnowledge::Confidence) }
    }

    /// Its members, as they are sent, without a signature.
    pub fn to_value(&self) -> Value {
        let mut value = json!({
            "id": self.id,
            "topic": self.topic,
            "content": self.content,
            "confidence": self.confidence,
            "created": self.created.as_str(),
        });
        if let Some(basin) = &self.topic_basin {
            value["topic_basin"] = basin.as_slice().into();
        }
        if let Some(source) = &self.source {
            value["source"] = source.as_str().into();
        }
        value
    }

    /// Signs it, as said by the node of this name.
    pub fn sign(&self, node: &str, key: &KeyPair) -> [u8; 64] {
        signature::sign(key, Context::Knowledge, &self.signed(node))
    }

    /// Whether the node of this name, and of this key, says it.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn check(&self, node: &str, key: &NodeId, signature: &[u8; 64]) -> Result<(), BadSignature> {
        signature::verify(key, Context::Knowledge, &self.signed(node), signature)
    }

    /// How it stands to one that the same node said: of one id the later counts, and of two from the same time the one
    /// that was there.
    pub fn beside(&self, known: &Self) -> Beside {
        match self.created.at.cmp(&known.created.at) {
            _ if self.id != known.id => Beside::Apart,
            _ if self == known => Beside::Same,
            Ordering::Greater => Beside::Newer,
            Ordering::Equal | Ordering::Less => Beside::Older,
        }
    }

    fn signed(&self, node: &str) -> Value {
        let mut value = self.to_value();
        value["node"] = node.into();
        value
    }
}

/// The entries that answer a request, the best first: by how well the topic fits or how near the vector lies, then by how
/// sure their nodes are, then the newest, then by id and content. Entries of other words altogether do not answer a
/// topic, and those without a vector of as many numbers do not answer a vector.
pub fn select<T: Borrow<Knowledge>>(entries: impl IntoIterator<Item = T>, request: &Request) -> Vec<T> {
    nearest(entries, request, f64::INFINITY)
}

/// What answers somebody who asks for a topic in words, of what several nodes have answered: first what a request for the
/// topic selects, then what is near its vector, as far as the limit goes.
pub fn find<T: Borrow<Knowledge>>(entries: Vec<T>, topic: &str, basin: Option<&[f32]>, request: &Request) -> Vec<T> {
    let limit = request.limit.clamp(1, LIMIT_MAX);
    let about = About::Topic(topic.to_owned());
    let (fitting, others): (Vec<T>, Vec<T>) = {
        let wanted = Wanted::new(&about);
        entries.into_iter().partition(|entry| wanted.distance(entry.borrow()).is_some())
    };
    let mut found = select(fitting, &Request { about, ..request.clone() });
    if let Some(basin) = basin.filter(|_| found.len() < limit) {
        let rest = Request { about: About::Basin(basin.to_vec()), limit: limit - found.len(), ..request.clone() };
        found.extend(nearest(others, &rest, NEAR_MAX));
    }
    found
}

fn nearest<T: Borrow<Knowledge>>(entries: impl IntoIterator<Item = T>, request: &Request, distance_max: f64) -> Vec<T> {
    let limit = request.limit.clamp(1, LIMIT_MAX);
    let min = request.min_confidence.unwrap_or(0.0);
    let wanted = Wanted::new(&request.about);
    let sure = entries.into_iter().filter(|entry| entry.borrow().confidence >= min);
    let distant = sure.filter_map(|entry| Some((wanted.distance(entry.borrow())?, entry)));
    let mut found: Vec<(f64, T)> = distant.filter(|(distance, _)| *distance <= distance_max).collect();
    if found.len() > limit {
        found.select_nth_unstable_by(limit, rank);
        found.truncate(limit);
    }
    found.sort_by(rank);
    found.into_iter().map(|(_, entry)| entry).collect()
}

/// The words by which entries of a topic are found: each entry that answers a request for a topic shares one with it, or
/// has the very same topic.
pub fn topic_words(topic: &str) -> BTreeSet<String> {
    words(&topic.to_lowercase())
}

/// A vector of `f32` in doubles that are written as shortly.
pub fn widened(vector: &[f32]) -> Vec<f64> {
    vector.iter().map(|number| number.to_string().parse().expect("Rust reads what it writes")).collect()
}

fn rank<T: Borrow<Knowledge>>((one_distance, one): &(f64, T), (other_distance, other): &(f64, T)) -> Ordering {
    let (one, other) = (one.borrow(), other.borrow());
    one_distance
        .total_cmp(other_distance)
        .then_with(|| other.confidence.total_cmp(&one.confidence))
        .then_with(|| other.created.at.cmp(&one.created.at))
        .then_with(|| one.id.cmp(&other.id))
        // Nodes do not agree on ids: what is given must not depend on whose entry lies first.
        .then_with(|| one.content.cmp(&other.content))
}

/// What is sought, read once.
enum Wanted<'a> {
    Words { whole: String, words: BTreeSet<String> },
    Near(&'a [f32]),
}

impl<'a> Wanted<'a> {
    fn new(about: &'a About) -> Self {
        match about {
            About::Topic(topic) => Self::Words { whole: topic.to_lowercase(), words: words(&topic.to_lowercase()) },
            About::Basin(basin) => Self::Near(basin),
        }
    }

    /// How far an entry is from what is sought: of words, the share of those of both that only one has.
    fn distance(&self, entry: &Knowledge) -> Option<f64> {
        match self {
            Self::Words { whole, words: wanted } => {
                let topic = entry.topic.to_lowercase();
                if topic == *whole {
                    return Some(0.0);
                }
                let words = words(&topic);
                let shared = words.intersection(wanted).count();
                let all = words.union(wanted).count();
                // Never as good as the very same text, though the words be.
                (shared > 0).then(|| (1.0 - shared as f64 / all as f64).max(f64::MIN_POSITIVE))
            }
            Self::Near(basin) => {
                let vector: Vec<f32> = entry.topic_basin.as_ref()?.iter().map(|number| *number as f32).collect();
                routing::distance(basin, &vector)
            }
        }
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn is_basin(basin: &[f64]) -> bool {
    (1..=DIMENSIONS_MAX).contains(&basin.len())
        && basin.iter().all(|number| (*number as f32).is_finite())
        && basin.iter().any(|number| *number as f32 != 0.0)
}

#[cfg(test)]
mod tests;
