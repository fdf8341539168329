//! A value that stands before the name that makes it secret: `"value": "X", "name": "DB_PASSWORD"`,
//! `SET value = 'X' WHERE name = 'smtp_password'`.

use super::field::{self, Noun};
use super::given::Link;
use super::read;
use super::value;
use super::verdict;
use std::ops::Range;

/// How far behind a value its name may stand, bytes.
const BETWEEN_MAX: usize = 80;

/// The secret in the value behind the word at `hit`, if a name follows that says so.
pub(super) fn secret(text: &str, hit: Range<usize>) -> Option<(Noun, Range<usize>)> {
    let bytes = text.as_bytes();
    let sign = read::skip_blanks(bytes, hit.end + usize::from(matches!(bytes.get(hit.end), Some(b'"' | b'\'' | b'`'))));
    let link = match bytes.get(sign)? {
        b':' => Link::Colon,
        b'=' => Link::Tight,
        _ => return None,
    };
    let value = read::values(text, hit.start, link, sign + 1).into_iter().next()?;
    let end = value.range.end;
    let behind = text.get(end..value::floor(text, end + BETWEEN_MAX))?;
    let name = name(behind)?;
    let noun = field::noun(name)?;
    let at = end + (name.as_ptr() as usize - behind.as_ptr() as usize);
    verdict::secret(text, noun, link, at..at + name.len(), &value).map(|range| (noun, range))
}

/// What the word `name`, `key` or the like is given.
fn name(behind: &str) -> Option<&str> {
    const WORDS: &[&str] = words! { "name" "Name" "key" "Key" "NAME" "KEY" "setting" "option_name" "variable" "k" "header" };
    let start = behind.find(|letter: char| !letter.is_whitespace() && !matches!(letter, '"' | '\'' | ',' | '`' | '\\' | ';' | ')'))?;
    let rest = behind[start..].strip_prefix("WHERE ").or_else(|| behind[start..].strip_prefix("where ")).unwrap_or(&behind[start..]);
    let word = WORDS.iter().filter_map(|word| rest.strip_prefix(word)).find(|rest| !rest.starts_with(char::is_alphanumeric))?;
    let given = word.trim_start_matches(['"', '\'', '`', '\\', ' ', '\t']).strip_prefix([':', '='])?;
    let given = given.trim_start_matches(['"', '\'', '`', '\\', ' ', '\t']);
    let end = given.find(|letter: char| !(letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.'))).unwrap_or(given.len());
    (end > 0).then(|| &given[..end])
}
