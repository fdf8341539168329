//! Passwords in `INSERT INTO t (a, password) VALUES (1, 'x'), (2, 'y')`: the values in the column whose name is
//! a secret's. No SQL is parsed beyond lists and strings.

use super::field::{self, Noun};
use super::steps;
use super::value::{self, Strength};
use std::ops::Range;

/// How much of a statement is looked at, bytes.
const STATEMENT_MAX: usize = 64 * 1024;

const COLUMNS_MAX: usize = 64;

/// Finds the secrets of the statement behind `from`; where it ends.
pub(super) fn secrets(text: &str, from: usize, mut found: impl FnMut(Noun, Range<usize>)) -> Option<usize> {
    const TABLE_MAX: usize = 200;
    const NAMES_MAX: usize = 4096;
    let bytes = &text.as_bytes()[..text.len().min(from + STATEMENT_MAX)];
    let open =
        from + bytes[from..bytes.len().min(from + TABLE_MAX)].iter().position(|byte| matches!(byte, b'(' | b';'))?;
    let window = &bytes[..bytes.len().min(open + NAMES_MAX)];
    steps::look(window.len() - open);
    let named = |byte: &u8| {
        byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || *byte >= 0x80 || b"_,.\"`[]@$-".contains(byte)
    };
    let close = window.get(open + 1..)?.iter().position(|byte| !named(byte)).map(|length| open + 1 + length);
    if close.is_none_or(|close| window[close] != b')') {
        return Some(close.unwrap_or(window.len()));
    }
    let (names, after) = list(window, open)?;
    let nouns: Vec<Option<Noun>> = names.iter().map(|name| text.get(name.clone()).and_then(field::noun)).collect();
    if nouns.iter().all(Option::is_none) {
        return Some(after);
    }
    let keyword = after + bytes[after..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    if !bytes.get(keyword..keyword + 6).is_some_and(|word| word.eq_ignore_ascii_case(b"values")) {
        return Some(after);
    }
    let mut at = keyword + 6;
    loop {
        at += bytes[at..].iter().take_while(|byte| byte.is_ascii_whitespace() || **byte == b',').count();
        let Some((values, after)) = list(bytes, at) else { return Some(at) };
        steps::look(after - at);
        for (range, noun) in values.into_iter().zip(&nouns) {
            let Some((noun, whole)) = noun.zip(text.get(range.clone())) else { continue };
            let quoted =
                range.start > 0 && bytes[range.start - 1] == b'\'' || bytes[range.start.saturating_sub(1)] == b'"';
            let strong = noun == Noun::Password || value::strength(whole) >= Strength::Mixed;
            if quoted && strong && !value::is_stand_in(whole) {
                found(noun, range);
            }
        }
        at = after;
    }
}

/// The items of a list in brackets, without their quotes, and where it ends.
fn list(bytes: &[u8], open: usize) -> Option<(Vec<Range<usize>>, usize)> {
    if bytes.get(open) != Some(&b'(') {
        return None;
    }
    let mut items = Vec::new();
    let mut start = open + 1;
    let mut quote = 0;
    let mut depth = 0_usize;
    for (index, byte) in bytes.iter().enumerate().skip(open + 1) {
        match *byte {
            byte if byte == quote => quote = 0,
            _ if quote != 0 => {}
            b'\'' | b'"' | b'`' => quote = *byte,
            b'(' => depth += 1,
            b')' if depth > 0 => depth -= 1,
            b',' | b')' if depth == 0 => {
                items.push(item(bytes, start..index));
                start = index + 1;
                if *byte == b')' {
                    return Some((items, index + 1));
                }
                if items.len() > COLUMNS_MAX {
                    return None;
                }
            }
            _ => {}
        }
    }
    None
}

fn item(bytes: &[u8], range: Range<usize>) -> Range<usize> {
    let inner = &bytes[range.clone()];
    let lead = inner.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let length = inner.trim_ascii().len();
    let (start, end) = (range.start + lead, range.start + lead + length);
    let quoted = length > 2 && matches!(bytes[start], b'\'' | b'"' | b'`') && bytes[end - 1] == bytes[start];
    if quoted { start + 1..end - 1 } else { start..end }
}
