//! Checks messages against the JSON Schemas (2020-12) in `schemas/gossip/`, which are compiled in. It knows the few
//! keywords that these files use and no other: what it does not know keeps a schema from being loaded, which a test
//! sees. The messages themselves are hostile: each value is looked at a fixed number of times, and nothing recurses
//! deeper than the schema.
//!
//! The crate `jsonschema` would do the same for 47 more crates in this one, 26 of them new to the workspace, with two
//! engines for regular expressions and a minute of compiling. A test compares this with Python's `jsonschema`.

use super::kind::{ENVELOPE_SCHEMA, Kind};
use crate::wire::strict;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Longest refused text that is repeated in an error, bytes.
const FOUND_MAX: usize = 64;

/// Deepest chain of references and nested schemas; a schema that refers to itself is refused by it.
const NESTED_MAX: usize = 16;

/// What the other files refer to.
const ENVELOPE: &str = "envelope.json";

/// What the files say, ready to check with.
static SCHEMAS: LazyLock<BTreeMap<Kind, Schema>> = LazyLock::new(|| {
    let envelope = document(ENVELOPE_SCHEMA);
    let read = |kind: Kind| Schema::load(&document(kind.schema_text()), &envelope).map(|schema| (kind, schema));
    Kind::ALL.into_iter().map(read).collect::<Result<_, _>>().unwrap_or_else(|bad: BadSchema| {
        unreachable!("the files are compiled in, and a test has loaded each of them: {bad:?}")
    })
});

/// Where a message does not keep to its schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted} at {}", if pointer.is_empty() { "the top" } else { pointer })]
pub struct Violation {
    /// The member, as an RFC 6901 pointer; empty for the whole message.
    pub pointer: String,
    /// What should be there.
    pub wanted: Wanted,
}

/// What a schema wants of a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wanted {
    /// That it is there.
    #[error("a member is missing")]
    Present,
    /// One of these types.
    #[error("{} is wanted", .0.join(" or "))]
    Type(Vec<&'static str>),
    /// One of these texts.
    #[error("one of {} is wanted, not `{found}`,", .allowed.join(", "))]
    OneOf {
        /// The beginning of what is there, if that is a text.
        found: String,
        /// The texts.
        allowed: Vec<String>,
    },
    /// Another form, which no schema can say.
    #[error("{0} is wanted")]
    Form(&'static str),
    /// A text of so many characters at least.
    #[error("a text of at least {0} characters is wanted")]
    Longer(u64),
    /// A text of so many characters at most.
    #[error("a text of at most {0} characters is wanted")]
    Shorter(u64),
    /// A list of so many items at most.
    #[error("a list of at most {0} items is wanted")]
    Fewer(u64),
    /// A number that is not smaller.
    #[error("a number from {0} up is wanted")]
    AtLeast(i64),
    /// A number that is not larger.
    #[error("a number up to {0} is wanted")]
    AtMost(i64),
}

impl Violation {
    /// A member of the top level that is not as it should be.
    pub(super) fn of(member: &str, wanted: Wanted) -> Self {
        Self { pointer: String::new(), wanted }.under(member)
    }

    /// The same, seen from one level further out.
    fn under(self, step: &str) -> Self {
        let mut pointer = String::new();
        strict::push_step(&mut pointer, step);
        pointer.push_str(&self.pointer);
        Self { pointer, ..self }
    }
}

/// Checks a message against the file of its type.
pub fn check(kind: Kind, message: &Value) -> Result<(), Violation> {
    SCHEMAS.get(&kind).map_or(Ok(()), |schema| schema.check(message))
}

/// A schema, or a part of one.
#[derive(Debug, Default, Clone)]
struct Schema {
    types: Vec<&'static str>,
    /// Texts, and whether null is one of the values.
    allowed: Option<(Vec<String>, bool)>,
    required: Vec<String>,
    properties: Vec<(String, Self)>,
    items: Option<Box<Self>>,
    items_max: Option<u64>,
    length_min: Option<u64>,
    length_max: Option<u64>,
    minimum: Option<i64>,
    maximum: Option<i64>,
    /// `allOf`, and what is referred to.
    all_of: Vec<Self>,
    any_of: Vec<Self>,
}

impl Schema {
    fn check(&self, value: &Value) -> Result<(), Violation> {
        self.check_type(value)?;
        for part in &self.all_of {
            part.check(value)?;
        }
        if !self.any_of.is_empty() {
            let mut tried = self.any_of.iter().map(|part| part.check(value));
            let first = tried.next().unwrap_or(Ok(()));
            if first.is_err() && !tried.any(|result| result.is_ok()) {
                return first;
            }
        }
        match value {
            Value::Object(members) => self.check_members(members),
            Value::Array(items) => self.check_items(items),
            Value::String(text) => self.check_length(text).map_err(here),
            Value::Number(number) => self.check_range(number.as_f64()).map_err(here),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn check_type(&self, value: &Value) -> Result<(), Violation> {
        if !self.types.is_empty() && !self.types.iter().any(|name| is_of(value, name)) {
            return Err(here(Wanted::Type(self.types.clone())));
        }
        let Some((allowed, null)) = &self.allowed else { return Ok(()) };
        let found = value.as_str();
        if found.is_some_and(|text| allowed.iter().any(|one| one == text)) || *null && value.is_null() {
            return Ok(());
        }
        let found = found.unwrap_or_default();
        let found = found[..found.floor_char_boundary(FOUND_MAX)].to_owned();
        Err(here(Wanted::OneOf { found, allowed: allowed.clone() }))
    }

    fn check_members(&self, members: &Map<String, Value>) -> Result<(), Violation> {
        for name in &self.required {
            if !members.contains_key(name) {
                return Err(Violation::of(name, Wanted::Present));
            }
        }
        for (name, schema) in &self.properties {
            if let Some(value) = members.get(name) {
                schema.check(value).map_err(|bad| bad.under(name))?;
            }
        }
        Ok(())
    }

    fn check_items(&self, items: &[Value]) -> Result<(), Violation> {
        if let Some(max) = self.items_max.filter(|max| items.len() as u64 > *max) {
            return Err(here(Wanted::Fewer(max)));
        }
        let Some(schema) = &self.items else { return Ok(()) };
        let mut items = items.iter().enumerate();
        items.try_for_each(|(at, item)| schema.check(item).map_err(|bad| bad.under(&at.to_string())))
    }

    /// The characters of a text, as the specification counts them: code points.
    fn check_length(&self, text: &str) -> Result<(), Wanted> {
        if self.length_min.is_none() && self.length_max.is_none() {
            return Ok(());
        }
        let length = text.chars().count() as u64;
        match (self.length_min, self.length_max) {
            (Some(min), _) if length < min => Err(Wanted::Longer(min)),
            (_, Some(max)) if length > max => Err(Wanted::Shorter(max)),
            _ => Ok(()),
        }
    }

    fn check_range(&self, number: Option<f64>) -> Result<(), Wanted> {
        let number = number.unwrap_or(f64::NAN);
        match (self.minimum, self.maximum) {
            (Some(minimum), _) if number < as_float(minimum) => Err(Wanted::AtLeast(minimum)),
            (_, Some(maximum)) if number > as_float(maximum) => Err(Wanted::AtMost(maximum)),
            _ => Ok(()),
        }
    }
}

fn here(wanted: Wanted) -> Violation {
    Violation { pointer: String::new(), wanted }
}

#[expect(clippy::cast_precision_loss, reason = "the bounds of the files are small")]
fn as_float(number: i64) -> f64 {
    number as f64
}

/// Whether a value is of a type of JSON Schema: 1.0 is an integer there.
fn is_of(value: &Value, name: &str) -> bool {
    match value {
        Value::Null => name == "null",
        Value::Bool(_) => name == "boolean",
        Value::String(_) => name == "string",
        Value::Array(_) => name == "array",
        Value::Object(_) => name == "object",
        Value::Number(number) => {
            let is_whole = || number.as_f64().is_some_and(|number| number.fract() == 0.0);
            name == "number" || name == "integer" && (!number.is_f64() || is_whole())
        }
    }
}

/// A schema that cannot be used: our own files only.
#[derive(Debug, Clone, PartialEq, Eq)]
enum BadSchema {
    /// A keyword that is not known here, or that has a value of another kind.
    Keyword(String),
    /// A reference that leads nowhere.
    Reference(String),
    /// Nested deeper than [`NESTED_MAX`], as what refers to itself is.
    Deep,
}

fn document(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

/// The document that `#` means, and the one that the others refer to.
#[derive(Clone, Copy)]
struct Documents<'a> {
    own: &'a Value,
    envelope: &'a Value,
    depth: usize,
}

impl Schema {
    fn load(own: &Value, envelope: &Value) -> Result<Self, BadSchema> {
        Self::read(own, Documents { own, envelope, depth: NESTED_MAX })
    }

    fn read(value: &Value, documents: Documents<'_>) -> Result<Self, BadSchema> {
        let depth = documents.depth.checked_sub(1).ok_or(BadSchema::Deep)?;
        let documents = Documents { depth, ..documents };
        let members = value.as_object().ok_or_else(|| BadSchema::Keyword("a schema is an object".to_owned()))?;
        let mut schema = Self::default();
        for (keyword, value) in members {
            let bad = || BadSchema::Keyword(keyword.clone());
            schema.take(keyword, value, documents)?.then_some(()).ok_or_else(bad)?;
        }
        Ok(schema)
    }

    /// Takes one keyword; whether it is known and has a value that it can have.
    fn take(&mut self, keyword: &str, value: &Value, documents: Documents<'_>) -> Result<bool, BadSchema> {
        let read_all = |value: &Value| match value.as_array() {
            Some(parts) => parts.iter().map(|part| Self::read(part, documents)).collect(),
            None => Err(BadSchema::Keyword(keyword.to_owned())),
        };
        match keyword {
            // What is said for people, where it is, and what is referred to.
            "$schema" | "$id" | "title" | "description" | "format" | "$defs" => return Ok(true),
            "$ref" => self.all_of.push(Self::referred(value, documents)?),
            "allOf" => self.all_of.extend(read_all(value)?),
            "anyOf" => self.any_of = read_all(value)?,
            "items" => self.items = Some(Box::new(Self::read(value, documents)?)),
            "properties" => {
                let Some(members) = value.as_object() else { return Ok(false) };
                let read = |(name, value): (&String, &Value)| Ok((name.clone(), Self::read(value, documents)?));
                self.properties = members.iter().map(read).collect::<Result<_, _>>()?;
            }
            "type" | "enum" | "const" => return Ok(self.take_choice(keyword, value)),
            "required" => {
                let Some(names) = value.as_array() else { return Ok(false) };
                let names: Option<Vec<String>> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                return Ok(names.map(|names| self.required = names).is_some());
            }
            _ => return Ok(self.take_bound(keyword, value)),
        }
        Ok(true)
    }

    fn take_choice(&mut self, keyword: &str, value: &Value) -> bool {
        const TYPES: [&str; 7] = ["null", "boolean", "string", "array", "object", "number", "integer"];
        let one = std::slice::from_ref(value);
        let choices = value.as_array().map_or(one, Vec::as_slice);
        if keyword == "type" {
            let named = |choice: &Value| TYPES.into_iter().find(|name| choice.as_str() == Some(name));
            return choices.iter().map(named).collect::<Option<_>>().map(|types| self.types = types).is_some();
        }
        let texts = choices.iter().filter(|choice| !choice.is_null());
        let texts = texts.map(|text| text.as_str().map(str::to_owned));
        let null = choices.iter().any(Value::is_null);
        texts.collect::<Option<_>>().map(|texts| self.allowed = Some((texts, null))).is_some()
    }

    fn take_bound(&mut self, keyword: &str, value: &Value) -> bool {
        match keyword {
            "maxItems" => self.items_max = value.as_u64(),
            "minLength" => self.length_min = value.as_u64(),
            "maxLength" => self.length_max = value.as_u64(),
            "minimum" => self.minimum = value.as_i64(),
            "maximum" => self.maximum = value.as_i64(),
            _ => return false,
        }
        value.as_i64().is_some_and(|bound| bound >= 0 || keyword.ends_with("imum"))
    }

    fn referred(reference: &Value, documents: Documents<'_>) -> Result<Self, BadSchema> {
        let lost = || BadSchema::Reference(reference.to_string());
        let (file, pointer) =
            reference.as_str().map(|text| text.split_once('#').unwrap_or((text, ""))).ok_or_else(lost)?;
        let own = match file {
            "" => documents.own,
            ENVELOPE => documents.envelope,
            _ => return Err(lost()),
        };
        Self::read(own.pointer(pointer).ok_or_else(lost)?, Documents { own, ..documents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn load(schema: &Value) -> Result<Schema, BadSchema> {
        Schema::load(schema, &document(ENVELOPE_SCHEMA))
    }

    fn refused(schema: &Value, value: &Value) -> (String, Wanted) {
        let bad = load(schema).expect("a schema").check(value).expect_err("must be refused");
        (bad.pointer, bad.wanted)
    }

    #[test]
    fn every_file_is_loaded_and_names_its_type() {
        let envelope = document(ENVELOPE_SCHEMA);
        for kind in Kind::ALL {
            let file = document(kind.schema_text());
            Schema::load(&file, &envelope).unwrap_or_else(|bad| panic!("{}: {bad:?}", kind.name()));
            assert_eq!(file.pointer("/properties/type/const"), Some(&kind.name().into()));
            assert_eq!(file["allOf"], json!([{"$ref": "envelope.json"}]), "{}", kind.name());
        }
        let names: Vec<Value> = Kind::ALL.iter().map(|kind| kind.name().into()).collect();
        assert_eq!(envelope.pointer("/properties/type/enum"), Some(&Value::Array(names)));
    }

    #[test]
    fn what_a_schema_cannot_be_made_of_is_refused() {
        let keyword = |name: &str| Err(BadSchema::Keyword(name.to_owned()));
        for (schema, name) in [
            (json!({"pattern": "^a+$"}), "pattern"),
            (json!({"additionalProperties": false}), "additionalProperties"),
            (json!({"type": "text"}), "type"),
            (json!({"enum": [1]}), "enum"),
            (json!({"maxItems": -1}), "maxItems"),
            (json!({"required": "a"}), "required"),
            (json!({"allOf": {}}), "allOf"),
        ] {
            assert_eq!(load(&schema).map(|_| ()), keyword(name), "{schema}");
        }
        assert!(matches!(load(&json!({"$ref": "other.json"})), Err(BadSchema::Reference(_))));
        assert!(matches!(load(&json!({"$ref": "#/$defs/none"})), Err(BadSchema::Reference(_))));
        let itself = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}});
        assert_eq!(load(&itself).map(|_| ()), Err(BadSchema::Deep));
    }

    #[test]
    fn a_violation_says_where_and_what_is_wanted() {
        let schema =
            json!({"required": ["a"], "properties": {"a": {"items": {"properties": {"x/y": {"type": "integer"}}}}}});
        assert_eq!(refused(&schema, &json!({})), ("/a".to_owned(), Wanted::Present));
        let wanted = ("/a/1/x~1y".to_owned(), Wanted::Type(vec!["integer"]));
        assert_eq!(refused(&schema, &json!({"a": [{}, {"x/y": "1"}]})), wanted);
        let long = "ä".repeat(100);
        let (_, wanted) = refused(&json!({"enum": ["low", null]}), &json!(long));
        assert_eq!(wanted, Wanted::OneOf { found: "ä".repeat(32), allowed: vec!["low".to_owned()] });
        let shown = load(&json!({"properties": {"p": {"enum": ["low", "high"]}}})).expect("a schema");
        let shown = shown.check(&json!({"p": "top"})).expect_err("no such priority").to_string();
        assert_eq!(shown, "one of low, high is wanted, not `top`, at /p");
    }

    #[test]
    fn bounds_are_those_of_the_specification() {
        let length = json!({"minLength": 2, "maxLength": 3});
        assert_eq!(refused(&length, &json!("ä")).1, Wanted::Longer(2));
        assert_eq!(refused(&length, &json!("äöüß")).1, Wanted::Shorter(3));
        let range = json!({"type": "integer", "minimum": -1, "maximum": 255});
        assert_eq!(refused(&range, &json!(-2)).1, Wanted::AtLeast(-1));
        assert_eq!(refused(&range, &json!(1e300)).1, Wanted::AtMost(255));
        assert_eq!(refused(&range, &json!(1.5)).1, Wanted::Type(vec!["integer"]));
        assert_eq!(refused(&json!({"maxItems": 1}), &json!([1, 2])).1, Wanted::Fewer(1));
        for good in [json!(1.0), json!(-1), json!(255)] {
            assert!(load(&range).expect("a schema").check(&good).is_ok(), "{good}");
        }
        let either = json!({"anyOf": [{"type": "null"}, {"maxLength": 1}]});
        assert!(load(&either).expect("a schema").check(&json!("a")).is_ok());
        assert_eq!(refused(&either, &json!("ab")).1, Wanted::Type(vec!["null"]));
    }
}
