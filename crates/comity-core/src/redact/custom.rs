//! Rules from configuration: a name, a severity, tags and a pattern. They are searched in every text after the
//! built-in ones. A pattern is bounded in what it matches and in what it compiles to, so that it costs linear time.

use super::audit::RuleName;
use super::rule::Severity;
use super::rules;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::ops::Range;

/// Most rules in a configuration.
pub const CUSTOM_MAX: usize = 128;

/// Longest pattern, bytes.
pub const PATTERN_MAX: usize = 1024;

/// Longest text that a pattern may match, bytes. A search reads so far behind a match at most; without a bound a
/// hostile text could make it read the rest again for every match.
pub const MATCH_MAX: usize = 2048;

/// Largest compiled pattern, bytes.
const COMPILED_MAX: usize = 1024 * 1024;

/// Longest name or tag, bytes.
const NAME_MAX: usize = 64;

/// Most tags of a rule.
const TAGS_MAX: usize = 16;

/// A rule as it is configured.
#[derive(Debug, Clone)]
pub struct CustomRule {
    /// Its name: small letters, digits and hyphens, none of the built-in ones.
    pub name: String,
    /// How bad it is when such a secret gets out.
    pub severity: Severity,
    /// What it belongs to.
    pub tags: Vec<String>,
    /// A regular expression of the `regex` crate, without look-around, over ASCII classes. If it has a group, the
    /// first group that matched is the secret, else all of it.
    pub pattern: String,
}

/// Why a configuration is not taken. Nothing was changed; the one who wrote it must mend it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// There are too many.
    #[error("{count} rules of redaction: {CUSTOM_MAX} at most")]
    TooMany {
        /// How many there are.
        count: usize,
    },
    /// A field of a rule is not what it must be.
    #[error("rule `{rule}` of redaction: `{field}` must be {wanted}")]
    Field {
        /// The rule's name, or its number where it has none.
        rule: String,
        /// Which field.
        field: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// A pattern does not compile.
    #[error("rule `{rule}` of redaction: `pattern`: {why}")]
    Pattern {
        /// The rule's name.
        rule: String,
        /// What the compiler of patterns says.
        why: String,
    },
    /// A rule that is to be off does not exist.
    #[error("redaction: `off` names `{rule}`, which is no built-in rule; the nearest is `{nearest}`")]
    Unknown {
        /// What was written.
        rule: String,
        /// The name that is most like it.
        nearest: &'static str,
    },
    /// A rule of the configuration is to be off.
    #[error("redaction: `off` names `{rule}`, which is a rule of the configuration: leave it out there")]
    Own {
        /// What was written.
        rule: String,
    },
}

/// The compiled rules of a configuration.
#[derive(Default)]
pub(super) struct Custom {
    patterns: Vec<Regex>,
}

impl Custom {
    /// Compiles the rules; adds their names.
    pub(super) fn new(rules: &[CustomRule], names: &mut Vec<RuleName>) -> Result<Self, BadRule> {
        if rules.len() > CUSTOM_MAX {
            return Err(BadRule::TooMany { count: rules.len() });
        }
        let mut taken: BTreeSet<&str> = rules::all().map(|rule| rule.name).collect();
        let mut patterns = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            check(rule, index)?;
            if !taken.insert(&rule.name) {
                return Err(field(rule, "name", "one that no other rule has"));
            }
            patterns.push(compile(rule)?);
            names.push(RuleName { name: rule.name.clone(), severity: rule.severity, tags: rule.tags.clone() });
        }
        Ok(Self { patterns })
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// What the rules find in a text, with the number of each.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(Range<usize>, usize)) {
        for (index, pattern) in self.patterns.iter().enumerate() {
            if pattern.captures_len() > 1 {
                for groups in pattern.captures_iter(text.as_bytes()) {
                    let secret = groups.iter().skip(1).flatten().next().or(groups.get(0));
                    secret.into_iter().for_each(|secret| found(whole_letters(text, secret.range()), index));
                }
            } else {
                pattern.find_iter(text.as_bytes()).for_each(|secret| found(whole_letters(text, secret.range()), index));
            }
        }
    }
}

/// Checks that each name is of a built-in rule.
pub(super) fn check_off(off: &BTreeSet<&str>, own: &[CustomRule]) -> Result<(), BadRule> {
    let unknown = off.iter().find(|name| !rules::all().any(|rule| rule.name == **name));
    let Some(unknown) = unknown else { return Ok(()) };
    let rule: String = unknown.chars().take(NAME_MAX).collect();
    if own.iter().any(|own| own.name == **unknown) {
        return Err(BadRule::Own { rule });
    }
    let nearest = rules::all().map(|known| known.name).min_by_key(|known| distance(known, &rule)).unwrap_or_default();
    Err(BadRule::Unknown { rule, nearest })
}

/// How many letters differ (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, byte) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (at, second) in other.bytes().enumerate() {
            let changed = diagonal + usize::from(byte != second);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

fn whole_letters(text: &str, range: Range<usize>) -> Range<usize> {
    let start = (0..=range.start).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let end = (range.end..=text.len()).find(|at| text.is_char_boundary(*at)).unwrap_or(text.len());
    start..end
}

fn check(rule: &CustomRule, index: usize) -> Result<(), BadRule> {
    let named = |name: &str| {
        !name.is_empty()
            && name.len() <= NAME_MAX
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    const NAMED: &str = "up to 64 small letters, digits and hyphens";
    if !named(&rule.name) {
        let rule = if rule.name.is_empty() {
            format!("number {}", index + 1)
        } else {
            rule.name.chars().take(NAME_MAX).collect()
        };
        return Err(BadRule::Field { rule, field: "name", wanted: NAMED });
    }
    if rule.tags.len() > TAGS_MAX {
        return Err(field(rule, "tags", "16 at most"));
    }
    if !rule.tags.iter().all(|tag| named(tag)) {
        return Err(field(rule, "tags", NAMED));
    }
    if rule.pattern.is_empty() || rule.pattern.len() > PATTERN_MAX {
        return Err(field(rule, "pattern", "of 1 to 1,024 bytes"));
    }
    Ok(())
}

fn compile(rule: &CustomRule) -> Result<Regex, BadRule> {
    const LENGTH_MIN: usize = 4;
    let wrong = |why: String| BadRule::Pattern { rule: rule.name.clone(), why };
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(&rule.pattern);
    let parsed = parsed.map_err(|error| wrong(said(&error)))?;
    let length = parsed.properties();
    if length.minimum_len().unwrap_or(0) < LENGTH_MIN {
        return Err(field(rule, "pattern", "one that matches no less than 4 bytes"));
    }
    if length.maximum_len().is_none_or(|most| most > MATCH_MAX) {
        let wanted = "one that matches no more than 2,048 bytes: write `{8,64}` for `+` and `*`";
        return Err(field(rule, "pattern", wanted));
    }
    let compiled = RegexBuilder::new(&rule.pattern).unicode(false).size_limit(COMPILED_MAX).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => field(rule, "pattern", "one that compiles to no more than 1 MiB"),
        other => wrong(other.to_string()),
    })
}

/// What is wrong with a pattern, and where, in one line.
fn said(error: &regex_syntax::Error) -> String {
    match error {
        regex_syntax::Error::Parse(error) => format!("{}, at byte {}", error.kind(), error.span().start.offset),
        regex_syntax::Error::Translate(error) => format!("{}, at byte {}", error.kind(), error.span().start.offset),
        other => other.to_string(),
    }
}

fn field(rule: &CustomRule, field: &'static str, wanted: &'static str) -> BadRule {
    BadRule::Field { rule: rule.name.clone(), field, wanted }
}
