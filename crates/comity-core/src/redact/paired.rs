//! A value that stands before the name that makes it secret: `"value": "X", "name": "DB_PASSWORD"`,
//! `SET value = 'X' WHERE name = 'smtp_password'`.

use super::field::{self, Noun};
use super::given::Link;
use super::read;
use super::value::floor;
use super::verdict;
use std::ops::Range;

/// How far behind a value its name may stand, bytes.
const BETWEEN_MAX: usize = 80;

/// Finds the secret in the value behind the word at `hit`, if a name follows that says so. A long value without
/// quotes answers where it ends: it need not be read again for what is in it.
pub(super) fn secret(text: &str, hit: Range<usize>, mut found: impl FnMut(Noun, Range<usize>)) -> Option<usize> {
    const LONG: usize = 512;
    let value = value(text, &hit)?;
    if let Some((noun, range)) = named(text, &value) {
        found(noun, range);
    }
    (value.1.range.len() > LONG && !value.1.quoted).then_some(value.1.range.end)
}

/// What is given to the word at `hit`.
fn value(text: &str, hit: &Range<usize>) -> Option<(Link, read::Value)> {
    let bytes = text.as_bytes();
    let sign = read::skip_blanks(bytes, hit.end + usize::from(matches!(bytes.get(hit.end), Some(b'"' | b'\'' | b'`'))));
    let link = match bytes.get(sign)? {
        b':' => Link::Colon,
        b'=' => Link::Tight,
        _ => return None,
    };
    read::values(text, hit.start, link, sign + 1).into_iter().next().map(|value| (link, value))
}

fn named(text: &str, (link, value): &(Link, read::Value)) -> Option<(Noun, Range<usize>)> {
    let end = value.range.end;
    let behind = text.get(end..floor(text, end + BETWEEN_MAX))?;
    let name = name(behind)?;
    let noun = field::noun(name)?;
    let at = end + (name.as_ptr() as usize - behind.as_ptr() as usize);
    verdict::secret(text, noun, *link, at..at + name.len(), value).map(|range| (noun, range))
}

/// What the word `name`, `key` or the like is given.
fn name(behind: &str) -> Option<&str> {
    const WORDS: &[&str] =
        words! { "name" "Name" "key" "Key" "NAME" "KEY" "setting" "option_name" "variable" "k" "header" };
    let start = behind
        .find(|letter: char| !letter.is_whitespace() && !matches!(letter, '"' | '\'' | ',' | '`' | '\\' | ';' | ')'))?;
    let rest = behind[start..]
        .strip_prefix("WHERE ")
        .or_else(|| behind[start..].strip_prefix("where "))
        .unwrap_or(&behind[start..]);
    let word = WORDS
        .iter()
        .filter_map(|word| rest.strip_prefix(word))
        .find(|rest| !rest.starts_with(char::is_alphanumeric))?;
    let given = word.trim_start_matches(['"', '\'', '`', '\\', ' ', '\t']).strip_prefix([':', '='])?;
    let given = given.trim_start_matches(['"', '\'', '`', '\\', ' ', '\t']);
    let end = given
        .find(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.')))
        .unwrap_or(given.len());
    (end > 0).then(|| &given[..end])
}
