//! Reads the value that is given to a name: in quotes however often escaped, bare up to what ends it there, as
//! an element's text, a list, a block of YAML, or wrapped in a call.

use super::given::Link;
use super::steps;
use super::value::{self, Strength};
use std::ops::Range;

/// A value, and how it stands there.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) range: Range<usize>,
    pub(super) quoted: bool,
    /// Whether name and value have the line for themselves.
    pub(super) own_line: bool,
    /// Whether the name is a parameter of a URL or a form.
    pub(super) query: bool,
    /// What stands directly behind it; 0 at the end of the text.
    pub(super) next: u8,
}

/// The values given: one, or those of a list.
pub(super) fn values(text: &str, start: usize, link: Link, at: usize) -> Vec<Value> {
    const LISTED_MAX: usize = 64;
    let bytes = text.as_bytes();
    let query = start > 0 && matches!(bytes[start - 1], b'?' | b'&' | b';') || bytes[..start].ends_with(b"%26");
    let mut at = skip_blanks(bytes, at.min(bytes.len()));
    while bytes.get(at) == Some(&b'*') && link == Link::Colon {
        at = skip_blanks(bytes, at + 1);
    }
    if bytes[at..].starts_with(b"</") && link == Link::Colon {
        at = skip_tags(bytes, at);
    }
    if bytes[at.min(bytes.len())..].starts_with(b"[]byte(") {
        return quoted(text, at + 7).into_iter().collect();
    }
    if link == Link::Colon && matches!(bytes.get(at), Some(b'|' | b'>')) {
        return block(text, at).into_iter().collect();
    }
    if matches!(link, Link::Colon | Link::Loose | Link::Tight) && bytes.get(at) == Some(&b'[') {
        let mut listed = Vec::new();
        at = skip_space(bytes, at + 1);
        while let Some(value) = quoted(text, at).filter(|_| listed.len() < LISTED_MAX) {
            at = value.range.end + 1 + usize::from(bytes.get(value.range.end) == Some(&b'\\'));
            at = skip_space(bytes, at + usize::from(bytes.get(at) == Some(&b',')));
            listed.push(value);
        }
        return listed;
    }
    let first = quoted(text, at).or_else(|| braced(text, link, at)).or_else(|| match link {
        Link::Beside | Link::Compare => None,
        Link::Tag if is_value_tag(bytes, skip_space(bytes, at)) => {
            element(text, skip_tags(bytes, skip_space(bytes, at)))
        }
        Link::Tag => element(text, at),
        Link::Labelled => element(text, skip_tags(bytes, skip_space(bytes, at))),
        _ => bare(text, start, link, at, query),
    });
    let Some(first) = first else { return Vec::new() };
    let declared = (link == Link::Colon && !first.quoted).then(|| initial(text, &first)).flatten();
    let wrapped = (!first.quoted && first.next != 0).then(|| argument(text, &first)).flatten();
    vec![declared.or(wrapped).unwrap_or(Value { query, ..first })]
}

/// `<Value>`, as Windows' answer files nest it, perhaps on a line of its own.
fn is_value_tag(bytes: &[u8], at: usize) -> bool {
    bytes[at..].get(..6).is_some_and(|tag| tag.eq_ignore_ascii_case(b"<value"))
}

/// `{value}`, as ODBC and JDBC quote; a template has only a name in it.
fn braced(text: &str, link: Link, at: usize) -> Option<Value> {
    const VALUE_MAX: usize = 128;
    let bytes = text.as_bytes();
    if link != Link::Tight || bytes.get(at) != Some(&b'{') || bytes.get(at + 1) == Some(&b'{') {
        return None;
    }
    let window = &bytes[at + 1..bytes.len().min(at + VALUE_MAX)];
    let length = window.iter().position(|byte| *byte == b'}' || byte.is_ascii_whitespace())?;
    let range = at + 1..at + 1 + length;
    let drawn = value::strength(text.get(range.clone())?) >= Strength::Mixed && !window[..length].contains(&b'.');
    (window[length] == b'}' && drawn).then_some(Value {
        range,
        quoted: true,
        own_line: false,
        query: false,
        next: b'}',
    })
}

/// A value in quotes, whose quotes may be escaped: it ends at the quote that is escaped as its first.
fn quoted(text: &str, at: usize) -> Option<Value> {
    let bytes = text.as_bytes();
    if let Some(length) = encoded_quote(bytes, at) {
        return between_encoded(text, at, length);
    }
    let letters = bytes[at.min(bytes.len())..].iter().take(2).take_while(|byte| b"bBrRuUfF@$LN".contains(byte)).count();
    let (at, (escapes, mut from)) = match quote_at(bytes, at) {
        Some(quote) => (at, quote),
        None => (at + letters, quote_at(bytes, at + letters).filter(|_| letters > 0)?),
    };
    let quote = bytes[at + escapes];
    let triple = escapes == 0 && bytes[from..].starts_with(&[quote, quote]);
    from += if triple { 2 } else { 0 };
    let mut run = 0;
    for (index, byte) in bytes[from..].iter().enumerate() {
        match *byte {
            b'\\' => {
                run += 1;
                continue;
            }
            b'\n' if !triple => break,
            byte if triple && byte == quote && !bytes[from + index..].starts_with(&[quote; 3]) => {}
            byte if byte == quote && closes(run, escapes) => {
                steps::look(index);
                let end = from + index - run.min(escapes);
                if !triple && quote == b'\'' && run == 0 && end > from && bytes.get(from + index + 1) == Some(&quote) {
                    run = 0;
                    continue;
                }
                let next = bytes.get(from + index + 1).copied().unwrap_or(0);
                return Some(Value { range: from..end, quoted: true, own_line: false, query: false, next });
            }
            _ => {}
        }
        run = 0;
    }
    // Cut, or never closed: what stands up to the end of the line, if it is one word.
    let end = from + bytes[from..].iter().position(u8::is_ascii_whitespace).unwrap_or(bytes.len() - from);
    let line = bytes[from..].iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len() - from);
    steps::look(if triple { bytes.len() - from } else { line });
    let value = Value { range: from..end, quoted: true, own_line: false, query: false, next: 0 };
    (end > from && matches!(bytes.get(end), None | Some(b'\n' | b'\r'))).then_some(value)
}

/// Quotes as HTML, URLs and JSON write them where they cannot stand themselves.
const ENCODED_QUOTES: &[&[u8]] = &[
    b"&quot;", b"&#34;", b"&#x22;", b"&#39;", b"&#039;", b"&#x27;", b"&apos;", b"%22", b"%27", b"%5C%22", b"\\u0022",
    b"\\u0027", b"\\x22",
];

/// How long the encoded quote here is.
pub(super) fn encoded_quote(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    matches!(rest.first(), Some(b'&' | b'%' | b'\\')).then_some(())?;
    ENCODED_QUOTES.iter().find(|quote| rest.starts_with(quote)).map(|quote| quote.len())
}

/// The value up to the next quote that is encoded so.
fn between_encoded(text: &str, at: usize, length: usize) -> Option<Value> {
    const VALUE_MAX: usize = 1024;
    let bytes = text.as_bytes();
    let from = at + length;
    let window = &bytes[from..bytes.len().min(from + VALUE_MAX)];
    steps::look(window.len());
    let end = from + window.windows(length).position(|part| part == &bytes[at..from])?;
    (!bytes[from..end].contains(&b'\n')).then_some(Value {
        range: from..end,
        quoted: true,
        own_line: false,
        query: false,
        next: 0,
    })
}

/// Whether a quote behind so many backslashes closes a string that one behind `escapes` opened.
fn closes(run: usize, escapes: usize) -> bool {
    run <= escapes && (escapes > 0 || run == 0) || run > escapes && ((run - escapes) / (escapes + 1)).is_multiple_of(2)
}

/// A quote here, with the backslashes before it; how many, and where it ends.
pub(super) fn quote_at(bytes: &[u8], at: usize) -> Option<(usize, usize)> {
    const ESCAPES_MAX: usize = 7;
    let escapes = bytes.get(at..)?.iter().take(ESCAPES_MAX + 1).take_while(|byte| **byte == b'\\').count();
    let quote = bytes.get(at + escapes)?;
    (matches!(quote, b'"' | b'\'' | b'`') && escapes <= ESCAPES_MAX).then_some((escapes, at + escapes + 1))
}

/// A value without quotes.
fn bare(text: &str, start: usize, link: Link, at: usize, query: bool) -> Option<Value> {
    let bytes = text.as_bytes();
    const REST_MAX: usize = 200;
    let own_line = begins_line(bytes, start);
    let ends = |byte: u8| match byte {
        b'"' | b'\'' | b'`' | b'<' | b'>' => true,
        b'&' | b'#' => query,
        b'}' if link == Link::Default => true,
        b',' | b';' | b')' | b']' | b'}' | b'|' => !own_line && !query,
        _ => byte.is_ascii_whitespace() || byte.is_ascii_control(),
    };
    let mut end = at;
    while let Some(byte) = bytes.get(end).copied().filter(|byte| !ends(*byte)) {
        let parameter = end > at && matches!(byte, b';' | b'&' | b',') && next_is_name(bytes, end + 1);
        if parameter
            || byte == b'\\' && matches!(bytes.get(end + 1), Some(b'n' | b'r' | b't' | b'"' | b'\'' | b'u' | b'\\'))
        {
            break;
        }
        end += 1;
    }
    steps::look(end - at);
    // What closes a sentence or a list is not of the value.
    while end > at && matches!(bytes[end - 1], b',' | b';' | b'.' | b')' | b']' | b'}' | b':') {
        end -= 1;
    }
    let rest = &bytes[end..bytes.len().min(end + REST_MAX)];
    let rest = rest.split(|byte| *byte == b'\n').next().unwrap_or_default().trim_ascii();
    let own_line = own_line && (rest.is_empty() || rest.starts_with(b"#") || rest.starts_with(b"\\n"));
    let next = bytes.get(end).copied().unwrap_or(0);
    (end > at).then_some(Value { range: at..end, quoted: false, own_line, query, next })
}

/// Whether `name=` stands here, or `Name Of Two=`.
fn next_is_name(bytes: &[u8], at: usize) -> bool {
    let rest = &bytes[at..bytes.len().min(at + 40)];
    let name = rest
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b' ' | b'_' | b'-' | b'.'))
        .count();
    name > 0 && rest.get(name) == Some(&b'=')
}

/// Whether nothing stands before the name on its line but what may: blanks, `export`, `-`, a comment's sign.
fn begins_line(bytes: &[u8], start: usize) -> bool {
    const BEFORE_MAX: usize = 40;
    let window = &bytes[start.saturating_sub(BEFORE_MAX)..start];
    let line = window.iter().rposition(|byte| *byte == b'\n').map_or(window, |newline| &window[newline + 1..]);
    let line = line
        .iter()
        .rposition(|byte| *byte == b'\\')
        .filter(|at| line.get(at + 1) == Some(&b'n'))
        .map_or(line, |at| &line[at + 2..]);
    if line.len() == BEFORE_MAX {
        return false;
    }
    let known: [&[u8]; 14] =
        [b"", b"export", b"set", b"ENV", b"ARG", b"-", b"+", b"#", b"//", b"*", b"- -e", b"declare -x", b"$env:", b"$"];
    known.contains(&line.trim_ascii())
}

/// The text of an element.
fn element(text: &str, at: usize) -> Option<Value> {
    const TEXT_MAX: usize = 8 * 1024;
    let rest = &text.as_bytes()[at..text.len().min(at + TEXT_MAX)];
    let cdata = rest.starts_with(b"<![CDATA[");
    let from = if cdata { 9 } else { 0 };
    let end = rest[from..].iter().position(|byte| *byte == if cdata { b']' } else { b'<' })?;
    steps::look(end);
    let inner = rest[from..from + end].trim_ascii();
    let lead = rest[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let range = at + from + lead..at + from + lead + inner.len();
    (!inner.is_empty() && !inner.contains(&b'\n')).then_some(Value {
        range,
        quoted: true,
        own_line: false,
        query: false,
        next: b'<',
    })
}

/// A block of YAML: the lines that stand further in.
fn block(text: &str, at: usize) -> Option<Value> {
    const BLOCK_MAX: usize = 2 * 1024;
    let bytes = text.as_bytes();
    let head = bytes[at..].iter().take(4).take_while(|byte| matches!(byte, b'|' | b'>' | b'-' | b'+' | b'\r')).count();
    if bytes.get(at + head) != Some(&b'\n') {
        return None;
    }
    let first = at + head + 1;
    let indent = bytes[first..].iter().take_while(|byte| **byte == b' ').count();
    let mut end = first;
    for line in bytes[first..bytes.len().min(first + BLOCK_MAX)].split_inclusive(|byte| *byte == b'\n') {
        if !line.trim_ascii().is_empty() && line.iter().take_while(|byte| **byte == b' ').count() < indent {
            break;
        }
        end += line.len();
    }
    steps::look(end - first);
    let range = first + indent..first + bytes[first..end].trim_ascii_end().len();
    let fits = indent > 0 && range.end > range.start && text.is_char_boundary(range.end);
    fits.then_some(Value { range, quoted: true, own_line: true, query: false, next: b'\n' })
}

/// `name: Type = "value"`.
fn initial(text: &str, declared: &Value) -> Option<Value> {
    let bytes = text.as_bytes();
    let after = &bytes[declared.range.end..bytes.len().min(declared.range.end + 40)];
    let equals = after.iter().position(|byte| matches!(byte, b'=' | b'\n' | b',' | b'"'))?;
    (after[equals] == b'=').then(|| quoted(text, skip_blanks(bytes, declared.range.end + equals + 1))).flatten()
}

/// `name = Type::from("value")`.
fn argument(text: &str, call: &Value) -> Option<Value> {
    let inner = text.get(call.range.clone())?;
    let head = inner.strip_suffix('(')?;
    let made = ["::from", "::new", ".from"].iter().find_map(|made| head.strip_suffix(made));
    let wraps =
        made.map_or(head.ends_with("String") && !head.ends_with(".toString") || head.ends_with("Some"), |kind| {
            ["String", "Buffer", "Secret", "Password", "Token", "Key", "Zeroizing", "Box", "Arc"]
                .iter()
                .any(|of| kind.contains(of))
        });
    wraps.then(|| quoted(text, call.range.end)).flatten()
}

pub(super) fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    const BLANKS_MAX: usize = 64;
    at + bytes[at.min(bytes.len())..].iter().take(BLANKS_MAX).take_while(|byte| matches!(byte, b' ' | b'\t')).count()
}

fn skip_space(bytes: &[u8], at: usize) -> usize {
    const SPACE_MAX: usize = 200;
    at + bytes[at.min(bytes.len())..].iter().take(SPACE_MAX).take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Past what closes and opens between a label and its value: `</td><td>`.
pub(super) fn skip_tags(bytes: &[u8], mut at: usize) -> usize {
    const TAG_MAX: usize = 60;
    for _ in 0..4 {
        if bytes.get(at) != Some(&b'<') {
            break;
        }
        let head = &bytes[at..bytes.len().min(at + TAG_MAX)];
        let Some(end) = head.iter().position(|byte| *byte == b'>') else { break };
        at = skip_space(bytes, at + end + 1);
    }
    at
}
