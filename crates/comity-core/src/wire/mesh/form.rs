//! JSON objects of the mesh, read member by member and without a tree of values: vectors are long, and a batch has
//! many. Each known key stands once; a member that nobody knows is passed over. It does not know what members mean.

use crate::basin::filter::FilterError;
use crate::basin::metadata::{METADATA_DEPTH_MAX, METADATA_MAX, Metadata, NotMetadata};
use crate::basin::name::{DOC_ID_MAX, DocId, NotADocId};
use crate::wire::strict::BadJsonReason;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

/// Why a form of the mesh cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}{}", At(self))]
pub struct BadForm {
    /// The member at fault; empty for the whole.
    pub field: &'static str,
    /// The element of it, where it is a list.
    pub index: Option<usize>,
    /// What is wrong there.
    pub fault: Fault,
}

/// What is wrong with a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Not JSON.
    #[error("not valid JSON (line {line}, column {column})")]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
    },
    /// Not JSON as it is read everywhere, inside of a member.
    #[error("{0}")]
    Json(BadJsonReason),
    /// The bytes are not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// The key stands twice.
    #[error("the key appears twice")]
    Twice,
    /// It is not there, and must be.
    #[error("missing")]
    Missing,
    /// It is not there, nor is the other one that would do.
    #[error("missing, and so is `{other}`: exactly one is wanted")]
    Neither {
        /// The other one.
        other: &'static str,
    },
    /// It is there, and so is another that means the same.
    #[error("given, and so is `{other}`: exactly one is wanted")]
    Both {
        /// The other one.
        other: &'static str,
    },
    /// It has another type or form.
    #[error("{0} is wanted")]
    Wanted(&'static str),
    /// There are more than may be.
    #[error("more than {max}")]
    TooMany {
        /// How many may be.
        max: usize,
    },
    /// It is nested deeper than it may be.
    #[error("nested deeper than {max} levels")]
    TooDeep {
        /// How many levels may be.
        max: usize,
    },
    /// A filter is none.
    #[error("{0}")]
    Filter(FilterError),
    /// A name of a document is none.
    #[error("{0}")]
    DocId(NotADocId),
    /// It is longer than it may be.
    #[error("larger than {max} bytes")]
    TooLarge {
        /// How long it may be, bytes.
        max: usize,
    },
}

/// Shows ` at <pointer>`, or nothing for the whole.
struct At<'a>(&'a BadForm);

impl fmt::Display for At<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.field.is_empty() && self.0.index.is_none() { Ok(()) } else { write!(out, " at {}", self.0.pointer()) }
    }
}

impl BadForm {
    /// A fault of a member.
    pub fn new(field: &'static str, fault: Fault) -> Self {
        Self { field, index: None, fault }
    }

    /// A fault of an element of a member that is a list.
    pub fn of_element(field: &'static str, index: usize, fault: Fault) -> Self {
        Self { field, index: Some(index), fault }
    }

    /// Where it is, as an RFC 6901 pointer.
    pub fn pointer(&self) -> String {
        let mut pointer = String::new();
        if !self.field.is_empty() {
            pointer = format!("/{}", self.field);
        }
        if let Some(index) = self.index {
            pointer.push_str(&format!("/{index}"));
        }
        pointer
    }
}

/// What JSON takes for space.
pub(super) const SPACES: [char; 4] = [' ', '\t', '\n', '\r'];

/// The text of a body.
pub(super) fn text(body: &[u8], bytes_max: usize) -> Result<&str, BadForm> {
    if body.len() > bytes_max {
        return Err(BadForm::new("", Fault::TooLarge { max: bytes_max }));
    }
    std::str::from_utf8(body).map_err(|_| BadForm::new("", Fault::NotText))
}

/// The members of these names, as they are written; `None` for those that are missing or null.
pub(super) fn members<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
) -> Result<[Option<&'a RawValue>; N], BadForm> {
    if !text.trim_start_matches(SPACES).starts_with('{') {
        return Err(BadForm::new("", Fault::Wanted("a JSON object")));
    }
    let twice = Cell::new(None);
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_map(Members { names, twice: &twice });
    let read = read.and_then(|members| json.end().map(|()| members));
    read.map_err(|error| match twice.get() {
        Some(field) => BadForm::new(field, Fault::Twice),
        None => BadForm::new("", syntax(&error)),
    })
}

/// The elements of a list, as they are written. A list that is longer is not read to its end: it would take more room
/// than its text.
pub(super) fn elements<'a>(field: &'static str, text: &'a str, max: usize) -> Result<Vec<&'a RawValue>, BadForm> {
    if !text.trim_start_matches(SPACES).starts_with('[') {
        return Err(BadForm::new(field, Fault::Wanted("a list")));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let read = json.deserialize_seq(Elements { max });
    let read = read.and_then(|list| json.end().map(|()| list));
    read.map_err(|error| match error.classify() {
        Category::Data => BadForm::new(field, Fault::TooMany { max }),
        Category::Io | Category::Syntax | Category::Eof => BadForm::new(field, syntax(&error)),
    })
}

/// Reads a list of at most so many; one that is longer is the only thing here that is JSON and refused.
struct Elements {
    max: usize,
}

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            if list.len() == self.max {
                return Err(A::Error::custom("too many"));
            }
            list.push(element);
        }
        Ok(list)
    }
}

fn syntax(error: &serde_json::Error) -> Fault {
    Fault::Syntax { line: error.line(), column: error.column() }
}

struct Members<'c, const N: usize> {
    names: [&'static str; N],
    twice: &'c Cell<Option<&'static str>>,
}

impl<'de, const N: usize> Visitor<'de> for Members<'_, N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut members, mut seen) = ([None; N], [false; N]);
        while let Some(place) = map.next_key_seed(Name(&self.names))? {
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if seen[place] {
                self.twice.set(Some(self.names[place]));
                return Err(A::Error::custom("refused"));
            }
            seen[place] = true;
            let value: &RawValue = map.next_value()?;
            members[place] = (value.get() != "null").then_some(value);
        }
        Ok(members)
    }
}

/// Finds a key among the names.
struct Name<'n>(&'n [&'static str]);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Option<usize>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Option<usize>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.iter().position(|name| *name == key))
    }
}

/// A member, with its name for the error.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    /// Its name.
    pub(super) field: &'static str,
    /// What is written there.
    pub(super) raw: &'a str,
}

impl<'a> Member<'a> {
    /// The member, if it is there.
    pub(super) fn of(field: &'static str, raw: Option<&'a RawValue>) -> Option<Self> {
        raw.map(|raw| Self { field, raw: raw.get() })
    }

    /// The member, which must be there.
    pub(super) fn wanted(field: &'static str, raw: Option<&'a RawValue>) -> Result<Self, BadForm> {
        Self::of(field, raw).ok_or(BadForm::new(field, Fault::Missing))
    }

    /// An error of this member.
    pub(super) fn bad(&self, fault: Fault) -> BadForm {
        BadForm::new(self.field, fault)
    }

    /// A text of at most this many bytes. Most have no escapes and are not copied.
    pub(super) fn text(&self, bytes_max: usize) -> Result<Cow<'a, str>, BadForm> {
        let inner = self.raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        let text = match inner {
            None => return Err(self.bad(Fault::Wanted("a text"))),
            Some(inner) if !inner.contains('\\') => Cow::Borrowed(inner),
            Some(_) => Cow::Owned(serde_json::from_str(self.raw).map_err(|error| self.bad(syntax(&error)))?),
        };
        if text.len() > bytes_max { Err(self.bad(Fault::TooLarge { max: bytes_max })) } else { Ok(text) }
    }

    /// A text that is parsed.
    pub(super) fn parsed<T: std::str::FromStr>(&self, bytes_max: usize, wanted: &'static str) -> Result<T, BadForm> {
        self.text(bytes_max)?.parse().map_err(|_| self.bad(Fault::Wanted(wanted)))
    }

    /// A whole number within bounds.
    pub(super) fn whole(&self, range: std::ops::RangeInclusive<u64>, wanted: &'static str) -> Result<u64, BadForm> {
        let number = self.raw.parse::<u64>().ok().filter(|number| range.contains(number));
        number.ok_or(self.bad(Fault::Wanted(wanted)))
    }

    /// True or false.
    pub(super) fn is_so(&self) -> Result<bool, BadForm> {
        self.raw.parse().map_err(|_| self.bad(Fault::Wanted("true or false")))
    }

    /// A finite number.
    pub(super) fn number(&self) -> Result<f64, BadForm> {
        let first = self.raw.as_bytes().first().copied().unwrap_or_default();
        let number = if first == b'-' || first.is_ascii_digit() { self.raw.parse::<f64>().ok() } else { None };
        number.filter(|number| number.is_finite()).ok_or(self.bad(Fault::Wanted("a finite number")))
    }

    /// The name of a document.
    pub(super) fn doc_id(&self) -> Result<DocId, BadForm> {
        let text = self.text(4 * DOC_ID_MAX).map_err(|bad| match bad.fault {
            Fault::TooLarge { .. } => self.bad(Fault::DocId(NotADocId::TooLong)),
            _ => bad,
        })?;
        text.parse().map_err(|not| self.bad(Fault::DocId(not)))
    }

    /// What is said of a document.
    pub(super) fn metadata(&self) -> Result<Metadata, BadForm> {
        Metadata::parse(self.raw).map_err(|not| self.bad(fault_of(&not)))
    }

    /// The elements of a list.
    pub(super) fn elements(&self, max: usize) -> Result<Vec<&'a RawValue>, BadForm> {
        elements(self.field, self.raw, max)
    }
}

/// What is wrong with metadata.
pub(super) fn fault_of(not: &NotMetadata) -> Fault {
    match not {
        NotMetadata::TooDeep => Fault::TooDeep { max: METADATA_DEPTH_MAX },
        NotMetadata::Json(bad) if bad.reason == BadJsonReason::TooDeep => Fault::TooDeep { max: METADATA_DEPTH_MAX },
        NotMetadata::Json(bad) => Fault::Json(bad.reason),
        NotMetadata::NotAnObject => Fault::Wanted("a JSON object"),
        NotMetadata::TooLarge => Fault::TooLarge { max: METADATA_MAX },
    }
}

#[cfg(test)]
mod tests;
