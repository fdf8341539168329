//! JSON schemas of tools, compiled once. A schema that refers to another document is refused: whoever writes a schema
//! would have this node fetch what they like.

use crate::door::shown;
use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

/// Steps that a pattern of a schema may take back before it counts as not matching: some patterns would take hours.
const BACKTRACK_MAX: usize = 20_000;

/// Most memory of a compiled pattern, bytes.
const PATTERN_MAX: usize = 512 * 1024;

/// Longest sentence on what is wrong, characters: it may repeat the schema.
const PROBLEM_MAX: usize = 400;

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Schema(Validator);

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit {
    /// Where, as a JSON pointer.
    pub(super) pointer: String,
    /// What, without the value itself.
    pub(super) problem: String,
}

impl Schema {
    /// Compiles a schema; else says why it cannot be used.
    pub(super) fn compile(schema: &Value) -> Result<Self, String> {
        if let Some(reference) = outside(schema) {
            let reference = shown::text(reference, PROBLEM_MAX);
            return Err(format!("its schema refers to another document, {reference}, which is not fetched"));
        }
        let patterns = PatternOptions::fancy_regex();
        let patterns = patterns.backtrack_limit(BACKTRACK_MAX).size_limit(PATTERN_MAX).dfa_size_limit(PATTERN_MAX);
        let built = jsonschema::options().with_pattern_options(patterns).build(schema);
        built.map(Self).map_err(|bad| format!("its schema is none: {}", shown::text(&bad.to_string(), PROBLEM_MAX)))
    }

    /// Whether the value fits.
    pub(super) fn check(&self, value: &Value) -> Result<(), Unfit> {
        self.0.validate(value).map_err(|bad| Unfit {
            pointer: shown::text(&bad.instance_path().to_string(), PROBLEM_MAX),
            problem: shown::text(&bad.masked().to_string(), PROBLEM_MAX),
        })
    }
}

/// The first reference that leads out of the document.
fn outside(schema: &Value) -> Option<&str> {
    match schema {
        Value::Array(items) => items.iter().find_map(outside),
        Value::Object(members) => members.iter().find_map(|(name, value)| match value {
            Value::String(text) if matches!(name.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef") => {
                (!text.starts_with('#')).then_some(text.as_str())
            }
            other => outside(other),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::{Duration, Instant};

    #[test]
    fn a_value_that_does_not_fit_is_named_without_itself() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}}});
        let schema = Schema::compile(&schema).expect("a schema");
        assert_eq!(schema.check(&json!({"a": [1]})), Ok(()));
        let unfit = schema.check(&json!({"a": [1, "s3cret"]})).expect_err("no number");
        assert_eq!(unfit.pointer, "/a/1");
        assert!(unfit.problem.contains("integer") && !unfit.problem.contains("s3cret"), "{unfit:?}");
    }

    #[test]
    fn no_schema_leads_out_of_its_document() {
        for reference in ["https://example.org/s.json", "file:///etc/passwd", "other.json#/a"] {
            let why = Schema::compile(&json!({"properties": {"a": {"$ref": reference}}})).expect_err("outside");
            assert!(why.contains("not fetched"), "{why}");
        }
        let inside = json!({"$defs": {"a": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/a"}}});
        assert!(Schema::compile(&inside).expect("a schema").check(&json!({"a": 1})).is_err());
        assert!(Schema::compile(&json!({"type": "nothing"})).is_err());
    }

    #[test]
    fn no_pattern_takes_for_ever() {
        let schema = Schema::compile(&json!({"pattern": "^(a|a)*(?=b)$"})).expect("a schema");
        let began = Instant::now();
        assert!(schema.check(&json!("a".repeat(64))).is_err());
        assert!(began.elapsed() < Duration::from_secs(5));
    }
}
