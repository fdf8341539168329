//! Takes secrets out of what people and programs wrote, before it leaves, is journaled or logged. It says what
//! it found and where, never what it was. See "Redaction" in `protocols/pubsub.md`.
//!
//! Cost: one walk of a filter over the text, and a rule's own work where something begins that could be its
//! secret. It is linear in the text, of whatever length: nothing is cut, and a caller that bounds its messages
//! (256 KiB on every wire) bounds this too. What was found is looked for again, at most [`PASSES_MAX`] times.

/// A list of words, which is read as one and stays so.
macro_rules! words {
    ($($word:literal)*) => { &[$($word),*] };
}

mod address;
mod audit;
mod block;
mod checksum;
mod code;
mod codes;
mod columns;
mod custom;
mod document;
mod echo;
mod field;
mod given;
mod grid;
mod paired;
mod read;
mod rule;
mod rules;
mod said;
mod section;
mod seek;
mod spans;
mod spare;
mod spoken;
mod starts;
mod steps;
#[cfg(test)]
mod tests;
mod unseen;
mod value;
mod verdict;
mod webtoken;

pub use audit::{Audit, AuditHash, Finding, Labels, Place, RuleName, audit_hash};
pub use custom::{BadRule, CUSTOM_MAX, CustomRule, MATCH_MAX, PATTERN_MAX};
pub use document::{Exempt, Typed};
pub use echo::ECHO_MIN;
pub use rule::Severity;

use audit::AuditKey;
use custom::Custom;
use echo::Echo;
use seek::Seeker;
use serde_json::Value;
use spans::Span;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What stands where a secret stood.
pub const MARK: &str = "[REDACTED]";

/// How often a text is looked at again after something was found in it: what is gone may have hidden where another
/// secret begins. Two passes are usual, of which the last finds nothing.
pub const PASSES_MAX: usize = 6;

/// What a redactor must know.
#[derive(Clone)]
pub struct Config {
    /// The key of the hashes in audit records: of this node alone, and kept, or the same secret is not known again.
    pub audit_key: Zeroizing<[u8; 32]>,
    /// Rules besides the built-in ones. Each is searched in every text, so they cost where the others do not.
    pub custom: Vec<CustomRule>,
    /// Names of built-in rules that are not used.
    pub off: Vec<String>,
}

impl Config {
    /// The built-in rules, and nothing else.
    pub fn new(audit_key: [u8; 32]) -> Self {
        Self { audit_key: Zeroizing::new(audit_key), custom: Vec::new(), off: Vec::new() }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("custom", &self.custom).field("off", &self.off).finish_non_exhaustive()
    }
}

/// Takes secrets out of texts and documents. Nothing in it changes, so that it can be shared.
pub struct Redactor {
    seeker: Seeker,
    custom: Custom,
    /// Of the built-in rules and then the configured ones.
    names: Vec<Arc<RuleName>>,
    built_in: usize,
    key: AuditKey,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("rules", &self.names.len()).finish_non_exhaustive()
    }
}

impl Redactor {
    /// Reads the rules.
    pub fn new(config: &Config) -> Result<Self, BadRule> {
        let off: BTreeSet<&str> = config.off.iter().map(String::as_str).collect();
        custom::check_off(&off, &config.custom)?;
        let named = |rule: &rule::Rule| RuleName {
            name: rule.name.to_owned(),
            severity: rule.severity,
            tags: rule.tags.iter().map(|tag| (*tag).to_owned()).collect(),
        };
        let mut names: Vec<RuleName> = rules::all().map(named).collect();
        let built_in = names.len();
        let custom = Custom::new(&config.custom, &mut names)?;
        let names = names.into_iter().map(Arc::new).collect();
        Ok(Self { seeker: Seeker::new(&off), custom, names, built_in, key: AuditKey::new(&config.audit_key) })
    }

    /// Every rule, the built-in ones first.
    pub fn rules(&self) -> impl Iterator<Item = &RuleName> {
        self.names.iter().map(Arc::as_ref)
    }

    /// The text with a mark where each secret stood; borrowed where there was none.
    ///
    /// A secret that is no plain word and has [`ECHO_MIN`] bytes goes wherever else it stands in the text. What was
    /// redacted once is not changed by doing it again.
    pub fn text<'t>(&self, text: &'t str, found: &mut Vec<Finding>) -> Cow<'t, str> {
        let spans = self.spans(text);
        if spans.is_empty() {
            return Cow::Borrowed(text);
        }
        found.extend(
            spans
                .iter()
                .map(|span| self.finding(span.rule, Place::Text(span.range.clone()), &text[span.range.clone()])),
        );
        Cow::Owned(spans::render(text, &spans))
    }

    /// A copy of the document with a mark where each secret stood, in strings, under names such as `password`
    /// whatever stands there, and in keys; `None` where there was none.
    pub fn json(&self, document: &Value, found: &mut Vec<Finding>) -> Option<Value> {
        self.typed_json(document, &Typed::default(), found)
    }

    /// True where [`Self::json`] certainly finds nothing in the document that this JSON text is, told without parsing
    /// it. False says nothing: not every text is told, such as one with `\u` escapes. What is no JSON may be either.
    pub fn spares_json(&self, text: &[u8]) -> bool {
        self.custom.is_empty() && spare::spares(&self.seeker, text)
    }

    /// The same as [`Self::json`], where the caller knows what some fields hold: they stay, or go, whatever is in them.
    pub fn typed_json(&self, document: &Value, typed: &Typed, found: &mut Vec<Finding>) -> Option<Value> {
        document::redact(self, document, typed, found)
    }

    /// The places of all secrets in a text, merged and in order.
    fn spans(&self, text: &str) -> Vec<Span> {
        let mut spans = self.look(text);
        if spans.is_empty() {
            return spans;
        }
        spans::merge(&mut spans);
        if let Some(echo) = Echo::new(spans.iter().map(|span| (&text[span.range.clone()], span.rule))) {
            let mut again = Vec::new();
            echo.find(text, |range, rule| again.push(Span { range, rule }));
            spans.append(&mut again);
            spans::merge(&mut spans);
        }
        for _ in 1..PASSES_MAX {
            let mut more = self.look(&spans::render(text, &spans));
            if more.is_empty() {
                break;
            }
            spans::carry_back(&spans, &mut more);
            spans.append(&mut more);
            spans::merge(&mut spans);
        }
        spans
    }

    /// What one look finds.
    fn look(&self, text: &str) -> Vec<Span> {
        let mut spans = self.seeker.spans(text);
        if let Some(seen) = unseen::Seen::of(text) {
            spans.extend(self.seeker.spans(&seen.text).into_iter().map(|span| seen.carry_back(span)));
        }
        self.custom.find(text, |range, rule| {
            // Its own mark is no secret, whatever a configured pattern says.
            if &text[range.clone()] != MARK {
                spans.push(Span { range, rule: self.built_in + rule });
            }
        });
        spans
    }

    fn finding(&self, rule: usize, place: Place, secret: &str) -> Finding {
        Finding { rule: Arc::clone(&self.names[rule]), place, hash: self.key.hash(secret) }
    }
}
