//! A secret that was found in one place stands perhaps in another, where no rule would see it: in a command
//! beside the setting, in the next field of a document. It goes there too.
//!
//! Not everywhere: what is short, or a plain word, is left where only the word is meant. Replacing every
//! `postgres` because it was somebody's password would spoil the text and hide nothing.

use super::value::{self, Strength};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use std::collections::BTreeMap;
use std::ops::Range;

/// Shortest secret that is looked for elsewhere, bytes.
pub const ECHO_MIN: usize = 6;

/// Up to so many secrets are looked for one by one; an automaton costs more than that to build.
const FEW: usize = 4;

/// Secrets that were found, and the rule that found each.
pub(super) struct Echo<'t> {
    secrets: Vec<(&'t str, usize)>,
    automaton: Option<AhoCorasick>,
}

impl<'t> Echo<'t> {
    /// Of these, those that are worth looking for; `None` if there are none.
    pub(super) fn new(found: impl Iterator<Item = (&'t str, usize)>) -> Option<Self> {
        let distinct: BTreeMap<&str, usize> = found.filter(|(secret, _)| is_telling(secret)).collect();
        let secrets: Vec<_> = distinct.into_iter().collect();
        if secrets.is_empty() {
            return None;
        }
        let automaton = if secrets.len() > FEW {
            let builder = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .kind(Some(AhoCorasickKind::NoncontiguousNFA))
                .build(secrets.iter().map(|(secret, _)| secret));
            Some(builder.ok()?)
        } else {
            None
        };
        Some(Self { secrets, automaton })
    }

    /// Every place of them in a text.
    pub(super) fn find(&self, text: &str, mut found: impl FnMut(Range<usize>, usize)) {
        match &self.automaton {
            Some(automaton) => {
                for hit in automaton.find_iter(text) {
                    found(hit.range(), self.secrets[hit.pattern().as_usize()].1);
                }
            }
            None => {
                for (secret, rule) in &self.secrets {
                    text.match_indices(secret).for_each(|(at, _)| found(at..at + secret.len(), *rule));
                }
            }
        }
    }
}

/// Whether a secret is known for one wherever it stands.
fn is_telling(secret: &str) -> bool {
    let strength = value::strength(secret);
    let told = strength == Strength::Random
        || strength >= Strength::Numbered && secret.bytes().any(|byte| !byte.is_ascii_alphabetic());
    secret.len() >= ECHO_MIN && told && !super::MARK.contains(secret)
}
