//! Passwords in tables: the cells under a column that is named so, in Markdown, in what a database prints, and in
//! values separated by commas, semicolons or tabs (RFC 4180 without line breaks in values).

use super::code;
use super::field::{self, Noun};
use super::steps;
use super::value::{self, Strength};
use super::verdict;
use std::ops::Range;

/// Longest line of a table, bytes.
const LINE_MAX: usize = 1024;

/// Most rows that are looked at.
const ROWS_MAX: usize = 1000;

const COLUMNS_MAX: usize = 32;

/// Finds the secrets of the table in whose head `hit` stands; up to where it was looked at.
pub(super) fn secrets(text: &str, hit: Range<usize>, mut found: impl FnMut(Noun, Range<usize>)) -> Option<usize> {
    let bytes = text.as_bytes();
    if !may_end_a_cell(bytes, hit.end) {
        return None;
    }
    let from = hit.start.saturating_sub(LINE_MAX);
    let start =
        bytes[from..hit.start].iter().rposition(|byte| *byte == b'\n').map_or(from, |newline| from + newline + 1);
    if start == from && from > 0 {
        return None;
    }
    let head = line(bytes, start)?;
    let separator = separator(&bytes[head.clone()])?;
    let names = cells(bytes, head.clone(), separator);
    let named = |cell: &Range<usize>| text.get(cell.clone()).is_some_and(is_name);
    // What ends in a comma is a line of code.
    let broken = separator == b',' && names.iter().any(Range::is_empty);
    let query =
        bytes[head.clone()].trim_ascii_start().get(..7).is_some_and(|word| word.eq_ignore_ascii_case(b"select "));
    if query || broken || names.len() < 2 || names.len() > COLUMNS_MAX || !names.iter().all(named) {
        return Some(head.end);
    }
    let nouns: Vec<Option<Noun>> = names.iter().map(|name| text.get(name.clone()).and_then(field::noun)).collect();
    let mut at = head.end + 1;
    for _ in 0..ROWS_MAX {
        let Some(row) = line(bytes, at) else { break };
        at = row.end + 1;
        if is_rule(&bytes[row.clone()]) {
            continue;
        }
        let values = cells(bytes, row.clone(), separator);
        if values.len() != names.len() {
            return Some(row.start);
        }
        for (range, noun) in values.into_iter().zip(&nouns) {
            let Some((noun, whole)) = noun.zip(text.get(range.clone())) else { continue };
            if is_secret(noun, whole, separator) {
                found(noun, range);
            }
        }
    }
    Some(at)
}

/// Whether behind the word its cell may end: nothing else of a name follows but letters.
fn may_end_a_cell(bytes: &[u8], at: usize) -> bool {
    const NAME_MAX: usize = 24;
    let rest = &bytes[at.min(bytes.len())..];
    let name = rest.iter().take(NAME_MAX).take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'_').count();
    let rest = &rest[name..];
    let blanks =
        rest.iter().take(NAME_MAX).take_while(|byte| matches!(byte, b' ' | b'*' | b'"' | b'`' | b'\r')).count();
    matches!(rest.get(blanks), Some(b'|' | b',' | b';' | b'\t' | b'\n'))
}

fn line(bytes: &[u8], start: usize) -> Option<Range<usize>> {
    steps::look(LINE_MAX.min(bytes.len().saturating_sub(start)));
    let window = bytes.get(start..bytes.len().min(start + LINE_MAX)).filter(|window| !window.is_empty())?;
    match window.iter().position(|byte| *byte == b'\n') {
        Some(length) => Some(start..start + length),
        None => (window.len() < LINE_MAX).then_some(start..start + window.len()),
    }
}

fn separator(head: &[u8]) -> Option<u8> {
    [b'|', b'\t', b';', b','].into_iter().find(|separator| head.contains(separator))
}

/// The cells of a line without blanks, quotes and the bars at its ends.
fn cells(bytes: &[u8], line: Range<usize>, separator: u8) -> Vec<Range<usize>> {
    let mut cells = Vec::new();
    let mut start = line.start;
    let mut quoted = false;
    for at in line.clone() {
        match bytes[at] {
            b'"' if separator != b'|' => quoted = !quoted,
            byte if byte == separator && !quoted => {
                cells.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    cells.push(start..line.end);
    let blank = |cell: &Range<usize>| bytes[cell.clone()].trim_ascii().is_empty();
    if separator == b'|' && cells.first().is_some_and(blank) {
        cells.remove(0);
    }
    if separator == b'|' && cells.last().is_some_and(blank) {
        cells.pop();
    }
    cells.into_iter().map(|cell| inner(bytes, cell)).collect()
}

fn inner(bytes: &[u8], cell: Range<usize>) -> Range<usize> {
    let around = |byte: &u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'`' | b'*' | b'\'');
    let lead = bytes[cell.clone()].iter().take_while(|byte| around(byte)).count();
    let rest = &bytes[cell.start + lead..cell.end];
    let tail = rest.iter().rev().take_while(|byte| around(byte)).count();
    cell.start + lead..cell.end - tail
}

fn is_name(cell: &str) -> bool {
    const NAME_MAX: usize = 40;
    let letter =
        |letter: char| letter.is_alphanumeric() || matches!(letter, ' ' | '_' | '-' | '.' | '/' | '(' | ')' | '#');
    cell.len() <= NAME_MAX && cell.chars().all(letter) && cell.split(' ').count() <= 3
}

/// `|---|:-:|`, `+-----+`: a line that only divides.
fn is_rule(row: &[u8]) -> bool {
    !row.is_empty() && row.iter().all(|byte| matches!(byte, b'-' | b'|' | b'+' | b':' | b' ' | b'=' | b'\r'))
}

fn is_secret(noun: Noun, whole: &str, separator: u8) -> bool {
    const WORD_MIN: usize = 5;
    let strength = value::strength(whole);
    let strong = match noun {
        Noun::Password if separator == b'|' => strength >= Strength::Numbered || value::is_passphrase(whole),
        Noun::Password => {
            strength >= Strength::Numbered || whole.len() >= WORD_MIN && !whole.contains(['_', '-', '(', '.'])
        }
        Noun::Pin => (4..=8).contains(&whole.len()) && whole.bytes().all(|byte| byte.is_ascii_digit()),
        Noun::SomeKey => strength == Strength::Random,
        Noun::Cookie | Noun::Authorization | Noun::SecretId => false,
        _ => strength >= Strength::Mixed,
    };
    let code = separator == b',' && (code::is_code(whole) || whole.contains("::") || whole.ends_with("()"));
    strong
        && !code
        && !whole.contains(' ')
        && !value::is_stand_in(whole)
        && !verdict::is_public(whole)
        && !whole.contains("://")
}
