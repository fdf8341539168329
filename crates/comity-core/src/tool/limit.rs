//! Limits on single arguments of a call. Each says which argument it holds, and what of it is let through. What cannot
//! be judged is refused: an argument that is not there, or of another type, is not within its limit.

use crate::wire::strict;
use regex::{Regex, RegexBuilder};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most arguments that one rule limits.
const LIMITS_MAX: usize = 32;

/// Longest pattern, bytes.
const PATTERN_MAX: usize = 1024;

/// Most memory of a compiled pattern, bytes. Repetitions of repetitions come to more, and are refused.
const COMPILED_MAX: usize = 256 * 1024;

/// Most values or prefixes in one limit.
const LIST_MAX: usize = 64;

/// What is let through of one argument. All that is said of it must hold; an array is held to it item by item.
#[derive(Debug, Clone, Default)]
pub struct Limit {
    /// It is one of these.
    pub one_of: Option<Vec<Value>>,
    /// It is a text, and this matches all of it.
    pub pattern: Option<Regex>,
    /// It is a number of at least this.
    pub min: Option<f64>,
    /// It is a number of at most this.
    pub max: Option<f64>,
    /// It is a text of at most so many characters.
    pub max_length: Option<usize>,
    /// It is a path at or below one of these, and nowhere goes up.
    pub prefix: Option<Vec<String>>,
    /// It may be left out; then the tool decides.
    pub optional: bool,
}

/// A limit that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLimit {
    /// It says nothing of its argument.
    #[error("it limits nothing: one of one_of, pattern, min, max, max_length, prefix is wanted")]
    Empty,
    /// Its pattern is none, or too large.
    #[error("its pattern cannot be used: {0}")]
    Pattern(String),
    /// Too many values.
    #[error("at most {LIST_MAX} values or prefixes are possible")]
    TooMany,
    /// A prefix that goes up, or is empty.
    #[error("the prefix {0:?} is no path to stay below")]
    Prefix(String),
    /// An argument's name that is no JSON pointer.
    #[error("{0:?} is neither an argument's name nor a JSON pointer")]
    Pointer(String),
}

impl Limit {
    /// A pattern that matches whole texts.
    ///
    /// # Errors
    /// [`BadLimit::Pattern`] when it is no regular expression without look-around, or becomes too large.
    pub fn pattern(text: &str) -> Result<Regex, BadLimit> {
        if text.len() > PATTERN_MAX {
            return Err(BadLimit::Pattern(format!("it is longer than {PATTERN_MAX} bytes")));
        }
        let whole = format!(r"\A(?:{text})\z");
        let build = |text: &str| RegexBuilder::new(text).size_limit(COMPILED_MAX).dfa_size_limit(COMPILED_MAX).build();
        // By itself first: `a)|(b` is no pattern, though it would be one between brackets.
        build(text).and_then(|_| build(&whole)).map_err(|bad| BadLimit::Pattern(bad.to_string()))
    }

    fn check(&self) -> Result<(), BadLimit> {
        let says = self.one_of.is_some()
            || self.pattern.is_some()
            || self.min.is_some()
            || self.max.is_some()
            || self.max_length.is_some()
            || self.prefix.is_some();
        if !says {
            return Err(BadLimit::Empty);
        }
        let (values, prefixes) = (self.one_of.iter().flatten().count(), self.prefix.iter().flatten());
        if values > LIST_MAX || prefixes.clone().count() > LIST_MAX {
            return Err(BadLimit::TooMany);
        }
        match prefixes.into_iter().find(|prefix| steps(prefix).is_none_or(|steps| steps.is_empty())) {
            Some(prefix) => Err(BadLimit::Prefix(prefix.clone())),
            None => Ok(()),
        }
    }

    /// What is wrong with the value, if something is.
    fn fault(&self, value: &Value) -> Option<String> {
        if let Some(allowed) = &self.one_of
            && !allowed.contains(value)
        {
            return match value {
                Value::Array(items) if !items.is_empty() => items.iter().find_map(|item| self.fault(item)),
                _ => Some("is none of the values that are allowed".to_owned()),
            };
        }
        if let Value::Array(items) = value
            && self.wants_single()
        {
            return items.iter().find_map(|item| self.fault(item));
        }
        self.number_fault(value).or_else(|| self.text_fault(value))
    }

    /// Whether something is said of it that an array cannot be.
    fn wants_single(&self) -> bool {
        self.pattern.is_some() || self.min.or(self.max).is_some() || self.max_length.is_some() || self.prefix.is_some()
    }

    fn number_fault(&self, value: &Value) -> Option<String> {
        let (min, max) = (self.min, self.max);
        min.or(max)?;
        match value.as_f64() {
            None => Some("is no number".to_owned()),
            Some(number) if min.is_some_and(|min| number < min) => Some(format!("is below {}", min.unwrap_or(number))),
            Some(number) if max.is_some_and(|max| number > max) => Some(format!("is above {}", max.unwrap_or(number))),
            Some(_) => None,
        }
    }

    fn text_fault(&self, value: &Value) -> Option<String> {
        if self.pattern.is_none() && self.max_length.is_none() && self.prefix.is_none() {
            return None;
        }
        let Value::String(text) = value else { return Some("is no text".to_owned()) };
        if self.max_length.is_some_and(|most| text.chars().count() > most) {
            return Some(format!("is longer than {} characters", self.max_length.unwrap_or_default()));
        }
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
            return Some("does not match the pattern".to_owned());
        }
        let prefixes = self.prefix.as_ref()?;
        let Some(steps_of) = steps(text) else {
            return Some("is a path that goes up, or hides where it leads".to_owned());
        };
        let below = |prefix: &String| {
            let wanted = steps(prefix).unwrap_or_default();
            prefix.starts_with('/') == text.starts_with('/') && steps_of.starts_with(&wanted)
        };
        if prefixes.iter().any(below) { None } else { Some("is outside of the paths that are allowed".to_owned()) }
    }
}

/// The steps of a path, without those that lead nowhere; `None` when one goes up, or when it could be read in two ways:
/// with backslashes, control characters, or escapes of dots and slashes. Links on the disk are not seen from here.
fn steps(path: &str) -> Option<Vec<&str>> {
    let lower = path.to_ascii_lowercase();
    let hidden = path.contains('\\') || path.chars().any(char::is_control) || path.starts_with('~');
    if hidden || ["%2e", "%2f", "%5c", "%00", "%25"].iter().any(|escape| lower.contains(escape)) {
        return None;
    }
    let steps: Vec<&str> = path.split('/').filter(|step| !step.is_empty() && *step != ".").collect();
    if steps.contains(&"..") { None } else { Some(steps) }
}

/// The limits of one rule, by argument: a name at the top, or a JSON pointer (RFC 6901).
#[derive(Debug, Clone, Default)]
pub struct Limits(BTreeMap<String, Limit>);

impl Limits {
    /// These limits.
    ///
    /// # Errors
    /// The argument, and what is wrong with its limit.
    pub fn new(limits: BTreeMap<String, Limit>) -> Result<Self, (String, BadLimit)> {
        for (argument, limit) in &limits {
            let pointer = argument.starts_with('/') || !argument.contains('/');
            if argument.is_empty() || !pointer {
                return Err((argument.clone(), BadLimit::Pointer(argument.clone())));
            }
            limit.check().map_err(|bad| (argument.clone(), bad))?;
        }
        match limits.keys().nth(LIMITS_MAX) {
            Some(argument) => Err((argument.clone(), BadLimit::TooMany)),
            None => Ok(Self(limits)),
        }
    }

    /// The arguments that are limited.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Limit)> {
        self.0.iter().map(|(argument, limit)| (argument.as_str(), limit))
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first argument that is not within its limit, and why.
    pub(super) fn fault(&self, params: &Value) -> Option<(&str, String)> {
        let deep = strict::depth(params) > crate::limits::JSON_DEPTH_MAX;
        self.0.iter().find_map(|(argument, limit)| {
            let value = match argument.starts_with('/') {
                true => params.pointer(argument),
                false => params.get(argument),
            };
            let fault = match value {
                _ if deep => Some("is nested too deep".to_owned()),
                None if limit.optional => None,
                None => Some("is not there, and it is limited".to_owned()),
                Some(value) => limit.fault(value),
            };
            fault.map(|fault| (argument.as_str(), fault))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(limit: Limit, good: &[Value], bad: &[Value]) {
        limit.check().expect("a limit");
        for value in good {
            assert_eq!(limit.fault(value), None, "{value}");
        }
        for value in bad {
            assert!(limit.fault(value).is_some(), "{value}");
        }
    }

    #[test]
    fn a_path_stays_below_its_prefix() {
        let limit = Limit { prefix: Some(vec!["/srv/shared".to_owned()]), ..Limit::default() };
        let good =
            [json!("/srv/shared"), json!("/srv/shared/a/b.txt"), json!("//srv/./shared//a"), json!(["/srv/shared/x"])];
        let bad = [
            json!("/srv/sharedx"),
            json!("/srv"),
            json!("srv/shared/a"),
            json!("/srv/shared/../secret"),
            json!("/srv/shared/a/.."),
            json!("/srv/shared/%2e%2E/secret"),
            json!("/srv/shared/%252e%252e/secret"),
            json!("/srv/shared/..\\secret"),
            json!("/srv/shared/a\0"),
            json!("~/x"),
            json!(["/srv/shared/x", "/etc/passwd"]),
            json!([["/etc/passwd"]]),
            json!({"path": "/srv/shared"}),
            json!(7),
            json!(null),
        ];
        check(limit, &good, &bad);
    }

    #[test]
    fn numbers_texts_and_values_are_held_to_what_is_said() {
        check(
            Limit { min: Some(0.0), max: Some(10.0), ..Limit::default() },
            &[json!(0), json!(10), json!(9.5), json!([1, 2])],
            &[json!(-1), json!(11), json!("5"), json!([1, 99]), json!(null), json!(true)],
        );
        check(
            Limit { max_length: Some(3), ..Limit::default() },
            &[json!("äöü"), json!("")],
            &[json!("abcd"), json!(1), json!(["abcd"])],
        );
        check(
            Limit { one_of: Some(vec![json!("a"), json!(1)]), ..Limit::default() },
            &[json!("a"), json!(1), json!(["a", 1])],
            &[json!("b"), json!(["a", "b"]), json!([]), json!({})],
        );
        check(
            Limit { pattern: Some(Limit::pattern("a|b+").expect("a pattern")), ..Limit::default() },
            &[json!("a"), json!("bbb")],
            &[json!("ab"), json!("xa"), json!("a\n"), json!(1)],
        );
    }

    #[test]
    fn a_pattern_that_becomes_too_large_is_refused() {
        assert!(matches!(Limit::pattern("(((a{99}){99}){99}){99}"), Err(BadLimit::Pattern(_))));
        assert!(matches!(Limit::pattern(&"a".repeat(PATTERN_MAX + 1)), Err(BadLimit::Pattern(_))));
        assert!(matches!(Limit::pattern("(?=a)"), Err(BadLimit::Pattern(_))));
    }

    #[test]
    fn what_is_limited_must_be_there() {
        let one = |argument: &str, optional| {
            let limit = Limit { max: Some(1.0), optional, ..Limit::default() };
            Limits::new([(argument.to_owned(), limit)].into()).expect("limits")
        };
        assert!(one("depth", false).fault(&json!({})).is_some());
        assert!(one("depth", true).fault(&json!({})).is_none());
        assert!(one("/options/0/depth", false).fault(&json!({"options": [{"depth": 1}]})).is_none());
        assert!(one("/options/0/depth", true).fault(&json!({"options": [{"depth": 2}]})).is_some());
        assert!(one("depth", false).fault(&json!(null)).is_some());
    }

    #[test]
    fn limits_that_say_nothing_are_refused() {
        let bad = |argument: &str, limit: Limit| Limits::new([(argument.to_owned(), limit)].into()).expect_err("bad").1;
        assert_eq!(bad("a", Limit::default()), BadLimit::Empty);
        let up = Limit { prefix: Some(vec!["/a/..".to_owned()]), ..Limit::default() };
        assert!(matches!(bad("a", up), BadLimit::Prefix(_)));
        assert!(matches!(bad("a/b", Limit { max: Some(1.0), ..Limit::default() }), BadLimit::Pointer(_)));
    }
}
