//! One look at a text for all rules: a filter finds where any of them may begin, and only there a rule goes on.
//! Clean text costs the filter's walk. Nothing here knows a vendor.
//!
//! Linear: a start is looked at by few rules, each of which reads at most [`REACH_MAX`] bytes, or what no other
//! start reads again.

use super::rule::{Check, Find, NEAR_BYTES, Rule};
use super::spans::Span;
use super::starts::Starts;
use super::value::{self, Strength};
use super::{
    address, block, checksum, code, codes, columns, given, grid, paired, rules, said, spoken, steps, verdict, webtoken,
};
use crate::redact::field::Noun;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::OnceLock;

/// How far a pattern reads behind its start, bytes. A longer token is taken to its end all the same.
const REACH_MAX: usize = 2048;

/// The table's rules and their starts.
pub(super) struct Seeker {
    starts: Starts,
    rules: Vec<Compiled>,
    fields: Vec<(Noun, usize)>,
}

impl Walk {
    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}

/// A rule with its pattern, which is compiled when first needed: most never are.
struct Compiled {
    rule: &'static Rule,
    tail: OnceLock<Option<Tail>>,
}

struct Tail {
    pattern: Regex,
    /// Fewest signs without space that it matches.
    length_min: usize,
}

/// What one walk remembers.
#[derive(Default)]
pub(super) struct Walk {
    spans: Vec<Span>,
    /// Fields before this were looked at as part of a long value.
    fields_from: usize,
    /// Statements before this likewise.
    columns_from: usize,
    /// Lines of tables before this likewise.
    grid_from: usize,
    /// Values before names before this likewise.
    paired_from: usize,
    /// Lists of codes before this likewise.
    codes_from: usize,
}

impl Seeker {
    /// The rules of the tables but those that are off.
    pub(super) fn new(off: &BTreeSet<&str>) -> Self {
        let rules = rules::all().map(|rule| Compiled { rule, tail: OnceLock::new() }).collect();
        let mut fields = Vec::new();
        for (index, rule) in rules::all().enumerate().filter(|(_, rule)| !off.contains(rule.name)) {
            if let Find::Field(noun) = rule.find {
                fields.push((noun, index));
            }
        }
        Self { starts: Starts::new(off), rules, fields }
    }

    /// What the rules find in a text, in no order.
    pub(super) fn spans(&self, text: &str) -> Vec<Span> {
        let mut walk = Walk::default();
        for (start, rule) in self.starts(text.as_bytes()) {
            // What lies in what was just found is found; only what a field's name found may have a better name.
            let within =
                walk.spans.last().filter(|last| last.range.start <= start.start && start.end <= last.range.end);
            let by_field = within.map(|last| self.is_field(last.rule));
            if by_field.is_none() || by_field == Some(true) && !self.is_field(rule) {
                self.go_on(text, rule, start, &mut walk);
            }
        }
        walk.spans
    }

    /// Every start that stands in a text, and the rule that begins so.
    pub(super) fn starts<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = (Range<usize>, usize)> + 't {
        self.starts.find(text)
    }

    fn is_field(&self, rule: usize) -> bool {
        matches!(self.rules[rule].rule.find, Find::Field(_))
    }

    /// Lets a rule go on where its start stands.
    pub(super) fn go_on(&self, text: &str, index: usize, hit: Range<usize>, walk: &mut Walk) {
        let compiled = &self.rules[index];
        let found = match compiled.rule.find {
            Find::After(_) => compiled.after(text, hit),
            Find::Around(before, _) => compiled.around(text, hit, before),
            Find::Said(noun) => said::secret(text, noun, hit),
            Find::Address => address::password(text, hit.end),
            Find::Before => address::password_before(text, hit.start),
            Find::Block => block::private_key(text, hit.start),
            Find::WebToken => webtoken::token(text, hit.start),
            Find::Field(_) => {
                if hit.start >= walk.fields_from {
                    let spans = &mut walk.spans;
                    let passed = given::given(text, hit, |noun, range| self.push(spans, noun, range));
                    walk.fields_from = passed.unwrap_or(walk.fields_from);
                }
                return;
            }
            Find::Paired => {
                if hit.start >= walk.paired_from {
                    let spans = &mut walk.spans;
                    let passed = paired::secret(text, hit, |noun, range| self.push(spans, noun, range));
                    walk.paired_from = passed.unwrap_or(walk.paired_from);
                }
                return;
            }
            Find::Grid => {
                if hit.start >= walk.grid_from {
                    let spans = &mut walk.spans;
                    let passed = grid::secrets(text, hit, |noun, range| self.push(spans, noun, range));
                    walk.grid_from = passed.unwrap_or(walk.grid_from);
                }
                return;
            }
            Find::Codes => {
                if hit.start >= walk.codes_from {
                    let spans = &mut walk.spans;
                    let passed = codes::recovery(text, hit.end, |range| spans.push(Span { range, rule: index }));
                    walk.codes_from = passed.unwrap_or(walk.codes_from);
                }
                return;
            }
            Find::Seed => codes::seed(text, hit.end),
            Find::Columns => {
                if hit.start >= walk.columns_from {
                    let spans = &mut walk.spans;
                    let passed = columns::secrets(text, hit.end, |noun, range| self.push(spans, noun, range));
                    walk.columns_from = passed.unwrap_or(walk.columns_from);
                }
                return;
            }
        };
        if let Some(range) = found {
            walk.spans.push(Span { range, rule: index });
        }
    }

    fn push(&self, spans: &mut Vec<Span>, noun: Noun, range: Range<usize>) {
        if let Some(rule) = self.rule_of(noun) {
            spans.push(Span { range, rule });
        }
    }

    /// The rule for fields of a kind, unless it is off.
    pub(super) fn rule_of(&self, noun: Noun) -> Option<usize> {
        let wanted = match noun {
            Noun::SomeKey => Noun::ApiKey,
            Noun::SecretId => Noun::Secret,
            other => other,
        };
        self.fields.iter().find(|(noun, _)| *noun == wanted).map(|(_, rule)| *rule)
    }
}

impl Compiled {
    /// A token, or what the pattern's group says is secret behind a word.
    fn after(&self, text: &str, hit: Range<usize>) -> Option<Range<usize>> {
        let range = self.tail_at(text, hit.start, hit.end)?;
        self.passes(text, &range).then_some(range)
    }

    /// A token that begins before what it is known by.
    fn around(&self, text: &str, hit: Range<usize>, (least, most): (usize, usize)) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        let before =
            bytes[..hit.start].iter().rev().take(most + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let start = hit.start - before;
        let unescaped =
            (least + 1..=most + 1).find(|length| before >= *length && is_escape_end(bytes, hit.start + 1 - length));
        let start = unescaped.map_or(start, |length| hit.start + 1 - length);
        if !(least..=most).contains(&(hit.start - start)) || !is_start(bytes, start) {
            return None;
        }
        let range = self.tail_at(text, start, hit.end)?;
        self.passes(text, &range).then_some(range)
    }

    /// Matches the pattern behind a start; the group's range, or all from `from` on.
    fn tail_at(&self, text: &str, from: usize, at: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        let tail = self.tail.get_or_init(|| Tail::new(self.rule)).as_ref()?;
        let rest = &bytes[at..bytes.len().min(at + REACH_MAX)];
        steps::look(rest.len());
        if rest.len() < tail.length_min || !rest[..tail.length_min].iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut range = if tail.pattern.captures_len() > 1 {
            let group = tail.pattern.captures(rest)?.iter().skip(1).flatten().next()?.range();
            at + group.start..at + group.end
        } else {
            from..at + tail.pattern.find(rest)?.end()
        };
        // A token longer than the pattern's reach is taken to its end.
        if range.end == at + REACH_MAX {
            range.end += bytes[range.end..].iter().take_while(|byte| is_token(**byte)).count();
        } else if tail.pattern.captures_len() == 1
            && bytes.get(range.end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
        {
            return None;
        }
        while range.end > range.start && bytes[range.end - 1] == b'.' {
            range.end -= 1;
        }
        // A group may end within a letter, as bytes have none.
        let end = (range.end..=text.len()).find(|end| text.is_char_boundary(*end))?;
        text.is_char_boundary(range.start).then_some(range.start..end)
    }

    fn passes(&self, text: &str, range: &Range<usize>) -> bool {
        let whole = &text[range.clone()];
        match self.rule.check {
            Check::Printed => !value::is_printed(whole),
            Check::Random => is_drawn(whole),
            Check::Chosen => !value::is_stand_in(whole),
            Check::Checksum => checksum::holds(whole) || is_drawn(whole),
            Check::Strong => is_strong(whole),
            Check::Drawn => {
                is_drawn(whole)
                    && value::strength(whole) == Strength::Random
                    && has_digit(whole)
                    && !value::is_worded(whole)
                    && !verdict::is_public(whole)
            }
            Check::Basic => is_basic(whole),
            Check::Near(word) => {
                let from = value::floor(text, range.start.saturating_sub(NEAR_BYTES));
                let to = value::floor(text, range.end.saturating_add(NEAR_BYTES));
                text[from..to].contains(word) && is_drawn(whole)
            }
        }
    }
}

impl Tail {
    /// The compiled pattern; `None` for a rule that has none, or whose pattern is wrong, which a test excludes.
    fn new(rule: &Rule) -> Option<Self> {
        let (Find::After(tail) | Find::Around(_, tail)) = rule.find else { return None };
        let case = if rule.any_case { "(?i)" } else { "" };
        let source = format!(r"{case}\A(?:{tail})");
        let pattern = RegexBuilder::new(&source).unicode(false).build().ok()?;
        let spaced = [r"\s", " ", r"\n", r"\W", "[^"].iter().any(|part| tail.contains(part));
        let length_min = if spaced { 0 } else { length_min(&source) };
        Some(Self { pattern, length_min })
    }
}

fn length_min(pattern: &str) -> usize {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern);
    parsed.ok().and_then(|parsed| parsed.properties().minimum_len()).unwrap_or(0)
}

/// The ways in which a word is written where case does not count: as it is, in capitals, with one or each first.
pub(super) fn spellings(start: &str) -> BTreeSet<String> {
    BTreeSet::from([
        start.to_owned(),
        start.to_lowercase(),
        start.to_uppercase(),
        capitals(start, false),
        capitals(start, true),
    ])
}

/// The word with its first letter in upper case, or with the first of each word.
fn capitals(start: &str, each: bool) -> String {
    let mut written = String::new();
    let mut begun = false;
    for letter in start.chars() {
        let begins = letter.is_alphabetic() && !written.ends_with(char::is_alphabetic) && (each || !begun);
        begun |= begins;
        if begins { written.extend(letter.to_uppercase()) } else { written.push(letter) }
    }
    written
}

/// Whether a token may begin here: behind nothing that could be of it.
pub(super) fn is_start(bytes: &[u8], at: usize) -> bool {
    at == 0
        || !(bytes[at - 1].is_ascii_alphanumeric() || matches!(bytes[at - 1], b'_' | b'-'))
        || is_escape_end(bytes, at)
}

/// Whether an escape ends here: `\n` in a string that stands as text, `%3D`, `\u003d`, a terminal's colour.
pub(super) fn is_escape_end(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(12)..at];
    match before {
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'0'] => true,
        [.., b'%', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        [.., b'\\', b'u', b'0', b'0', high, low] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        [.., b'm'] => {
            let numbers = before[..before.len() - 1]
                .iter()
                .rev()
                .take_while(|byte| byte.is_ascii_digit() || **byte == b';')
                .count();
            before[..before.len() - 1 - numbers].ends_with(b"[")
        }
        _ => false,
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+' | b'=')
}

/// As a machine draws it.
fn is_drawn(whole: &str) -> bool {
    const ENTROPY_MIN: f32 = 3.0;
    const SHORT_ENTROPY_MIN: f32 = 2.4;
    let least = if whole.len() >= 20 { ENTROPY_MIN } else { SHORT_ENTROPY_MIN };
    !value::is_printed(whole) && value::strength(whole) >= Strength::Mixed && value::entropy(whole) >= least
}

/// As people choose passwords where a word may stand too.
fn is_strong(whole: &str) -> bool {
    const LENGTH_MIN: usize = 5;
    let strength = value::strength(whole);
    let fits = strength >= Strength::Mixed
        || strength == Strength::Numbered && whole.len() >= LENGTH_MIN
        || value::is_passphrase(whole);
    fits && !value::is_stand_in(whole)
        && !whole.contains("://")
        && !spoken::is_file(whole)
        && !code::is_sentence(whole)
        && !whole.starts_with(['/', '.'])
}

fn has_digit(whole: &str) -> bool {
    whole.bytes().any(|byte| byte.is_ascii_digit())
}

/// Base64 of a name, a colon and a password.
fn is_basic(whole: &str) -> bool {
    let bare = whole.trim_end_matches('=');
    let Ok(decoded) = STANDARD_NO_PAD.decode(bare).or_else(|_| URL_SAFE_NO_PAD.decode(bare)) else { return false };
    let Ok(text) = std::str::from_utf8(&decoded) else { return false };
    let printable = !text.chars().any(char::is_control);
    printable
        && text.split_once(':').is_some_and(|(_, password)| {
            !password.is_empty() && !value::is_mask(password) && !value::is_template(password)
        })
}
