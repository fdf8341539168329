//! How bodies of the mesh are read: strictly, field by field, and lists item by item, so that what a peer sends is never
//! in memory as one tree. It knows how a field is read, not which there are. See `protocols/mesh.md`.

use crate::id::{NodeId, decode_base64};
use crate::knowledge::BadKnowledge;
use crate::registry::profile::{BadRegistration, DIMENSIONS_MAX, NAME_MAX, NodeName};
use crate::time::Timestamp;
use crate::wire::strict::{self, BadJson, BadJsonReason};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::fmt;

/// Largest answer that has a list, bytes: ten thousand nodes with their signatures, or a page of knowledge.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Most members of an answer beside its list; more is of no protocol known here.
const MEMBERS_MAX: usize = 32;

/// Bytes of all of them: cursors and counts are short, and each is a tree in memory.
const MEMBERS_BYTES_MAX: usize = 64 * 1024;

/// Why a body cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    /// Not JSON as it is read here.
    #[error(transparent)]
    Json(#[from] BadJson),
    /// An answer is too large.
    #[error("larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// A list is too long.
    #[error("at most {most} items are wanted at /{list}")]
    TooMany {
        /// The list.
        list: &'static str,
        /// How many it may have.
        most: usize,
    },
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// What a node says of itself is out of bounds.
    #[error(transparent)]
    Registration(#[from] BadRegistration),
    /// An entry of knowledge is out of bounds.
    #[error(transparent)]
    Knowledge(#[from] BadKnowledge),
}

/// The members of an object that is being read. `null` counts as absent.
#[derive(Debug)]
pub(crate) struct Fields {
    members: Map<String, Value>,
    /// Where the object is in its document.
    pointer: String,
}

impl Fields {
    /// Reads a body: an object of at most 1 MiB.
    pub(crate) fn read(text: &[u8]) -> Result<Self, BadBody> {
        Self::of(strict::parse(text)?, String::new())
    }

    /// The members of a value that is an object, at this place.
    pub(crate) fn of(value: Value, pointer: String) -> Result<Self, BadBody> {
        match value {
            Value::Object(members) => Ok(Self { members, pointer }),
            _ => Err(BadBody::Field { pointer, wanted: "an object" }),
        }
    }

    pub(crate) fn bad(&self, name: &str, wanted: &'static str) -> BadBody {
        BadBody::Field { pointer: format!("{}/{name}", self.pointer), wanted }
    }

    /// A field, if it is there.
    pub(crate) fn maybe<T>(
        &self,
        name: &str,
        wanted: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Option<T>, BadBody> {
        let value = self.members.get(name).filter(|value| !value.is_null());
        value.map(|value| read(value).ok_or_else(|| self.bad(name, wanted))).transpose()
    }

    /// A field that must be there.
    pub(crate) fn must<T>(
        &self,
        name: &str,
        wanted: &'static str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, BadBody> {
        self.maybe(name, wanted, read)?.ok_or_else(|| self.bad(name, wanted))
    }

    /// The object in a field, if it is there.
    pub(crate) fn object(&self, name: &str) -> Result<Option<Self>, BadBody> {
        let value = self.members.get(name).filter(|value| !value.is_null());
        value.map(|value| Self::of(value.clone(), format!("{}/{name}", self.pointer))).transpose()
    }

    pub(crate) fn node(&self, name: &str) -> Result<NodeName, BadBody> {
        self.must(name, "a name of 1 to 128 visible characters", |value| NodeName::new(value.as_str()?).ok())
    }

    pub(crate) fn key(&self, name: &str) -> Result<Option<NodeId>, BadBody> {
        self.maybe(name, "`ed25519:` and 32 bytes in base64url", |value| value.as_str()?.parse().ok())
    }

    pub(crate) fn time(&self, name: &str) -> Result<Timestamp, BadBody> {
        self.must(name, "a time (RFC 3339)", |value| Timestamp::parse(value.as_str()?))
    }

    pub(crate) fn signature(&self, name: &str) -> Result<[u8; 64], BadBody> {
        self.must(name, "64 bytes in base64url", |value| decode_base64(value.as_str()?)?.try_into().ok())
    }
}

const _: () = assert!(NAME_MAX == 128, "as the error says");

/// A text, whatever its length: that is bounded by what it becomes.
pub(crate) fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// A list of texts.
pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

/// A whole number of 32 bits.
pub(crate) fn number(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

/// A vector of finite numbers.
pub(crate) fn vector(value: &Value) -> Option<Vec<f32>> {
    let numbers = value.as_array().filter(|numbers| numbers.len() <= DIMENSIONS_MAX)?;
    numbers
        .iter()
        .map(|number| number.as_f64().map(|number| number as f32).filter(|number| number.is_finite()))
        .collect()
}

/// A list of vectors.
pub(crate) fn vectors(value: &Value) -> Option<Vec<Vec<f32>>> {
    value.as_array()?.iter().map(vector).collect()
}

/// An answer that has a list: its other members, and its items as they are written.
#[derive(Debug)]
pub(crate) struct Listed<'a> {
    pub(crate) fields: Fields,
    list: &'static str,
    items: Vec<&'a RawValue>,
}

/// What could be read of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Items<T> {
    /// The items.
    pub items: Vec<T>,
    /// How many could not be read. They do not spoil the others, which other nodes may have said.
    pub refused: usize,
    /// What is wrong with the first of them.
    pub first_refused: Option<BadBody>,
}

impl<'a> Listed<'a> {
    /// Reads an answer, of which `list` has at most so many items. The bare list, without an object around it, will do.
    pub(crate) fn read(text: &'a [u8], list: &'static str, most: usize) -> Result<Self, BadBody> {
        if text.len() > ANSWER_BYTES_MAX {
            return Err(BadBody::TooLarge);
        }
        let mut reading = Reading { list, most, bad: None, members: Map::new(), items: Vec::new() };
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = (&mut reading).deserialize(&mut json).and_then(|()| json.end());
        match read {
            Ok(()) => Ok(Self {
                fields: Fields::of(Value::Object(reading.members), String::new())?,
                list,
                items: reading.items,
            }),
            Err(error) => Err(reading.bad.unwrap_or_else(|| {
                let reason = BadJsonReason::Syntax { line: error.line(), column: error.column() };
                BadBody::Json(BadJson { pointer: String::new(), reason })
            })),
        }
    }

    /// Reads each item, which is an object of at most 1 MiB.
    pub(crate) fn items<T>(&self, read: impl Fn(&Fields) -> Result<T, BadBody>) -> Items<T> {
        let mut all = Items { items: Vec::with_capacity(self.items.len()), refused: 0, first_refused: None };
        for (at, item) in self.items.iter().enumerate() {
            let pointer = format!("/{}/{at}", self.list);
            let value = strict::parse(item.get().as_bytes())
                .map_err(|bad| BadJson { pointer: format!("{pointer}{}", bad.pointer), ..bad });
            match value.map_err(BadBody::from).and_then(|value| read(&Fields::of(value, pointer)?)) {
                Ok(item) => all.items.push(item),
                Err(bad) => {
                    all.refused += 1;
                    all.first_refused.get_or_insert(bad);
                }
            }
        }
        all
    }
}

/// What is known of an answer while it is read.
struct Reading<'a> {
    list: &'static str,
    most: usize,
    bad: Option<BadBody>,
    members: Map<String, Value>,
    items: Vec<&'a RawValue>,
}

impl Reading<'_> {
    fn refuse<E: Error>(&mut self, bad: BadBody) -> E {
        self.bad = Some(bad);
        E::custom("refused")
    }
}

impl<'de> DeserializeSeed<'de> for &mut Reading<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Reading<'de> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("an object or a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(item) = seq.next_element()? {
            if self.items.len() >= self.most {
                let (list, most) = (self.list, self.most);
                return Err(self.refuse(BadBody::TooMany { list, most }));
            }
            self.items.push(item);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let (mut has_list, mut members, mut bytes) = (false, 0, 0);
        while let Some(name) = map.next_key::<String>()? {
            let is_list = name == self.list;
            members += 1;
            bytes += name.len();
            if self.members.contains_key(&name) || is_list && has_list {
                let reason = BadJsonReason::DuplicateKey;
                return Err(self.refuse(BadJson { pointer: pointer_to(&name), reason }.into()));
            }
            if is_list {
                has_list = true;
                map.next_value_seed(List(&mut *self))?;
                continue;
            }
            let value: &RawValue = map.next_value()?;
            bytes += value.get().len();
            if members > MEMBERS_MAX || bytes > MEMBERS_BYTES_MAX {
                let wanted = "no more than 32 members, and 64 KiB of them, beside the list,";
                return Err(self.refuse(BadBody::Field { pointer: pointer_to(&name), wanted }));
            }
            match strict::parse(value.get().as_bytes()) {
                Ok(value) => self.members.insert(name, value),
                Err(bad) => {
                    let pointer = format!("{}{}", pointer_to(&name), bad.pointer);
                    return Err(self.refuse(BadJson { pointer, ..bad }.into()));
                }
            };
        }
        Ok(())
    }
}

/// The place of a member, by its name or the beginning of that.
fn pointer_to(name: &str) -> String {
    let mut pointer = String::new();
    strict::push_step(&mut pointer, &name.chars().take(NAME_MAX).collect::<String>());
    pointer
}

/// The list of an answer. `null` is one without items.
struct List<'a, 'de>(&'a mut Reading<'de>);

impl<'de> DeserializeSeed<'de> for List<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_, 'de> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a list")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        self.0.visit_seq(seq)
    }
}
