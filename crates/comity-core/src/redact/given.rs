//! What is given to a name: from a word such as `password` the identifier around it, what links it to a
//! value (`=`, `: `, `>`, a flag's space, "is"), and the value, in JSON, YAML, TOML, env files, URL queries, shell,
//! XML, SQL and simple prose. Whether the value is a secret, `verdict.rs` says.

use super::field::{self, NAME_MAX, Noun};
use super::read::{encoded_quote, quote_at, skip_blanks, skip_tags, values};
use super::section;
use super::verdict;
use std::ops::Range;

/// What stands between a name and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// `=`, `:=`, `=>`, without space around; `%3D`.
    Tight,
    /// The same with space around.
    Loose,
    /// `:`.
    Colon,
    /// `==` and the like.
    Compare,
    /// `<name>`.
    Tag,
    /// `<property name="name">`.
    Labelled,
    /// `("name", "value")`, `name("value")`, `name || "value"`.
    Beside,
    /// The next cell of a table.
    Cell,
    /// `${name:-value}`.
    Default,
    /// `--name value`.
    Flag,
    /// `is`, `was`, `set to`.
    Said,
    /// Nothing but space.
    Space,
}

/// Finds what is given to the name around `hit`, if its name says that it is secret, and the secret in it.
/// A long value without quotes that is none answers where it ends: it need not be read again for what is in it.
pub(super) fn given(text: &str, hit: Range<usize>, mut found: impl FnMut(Noun, Range<usize>)) -> Option<usize> {
    const LONG: usize = 1024;
    let bytes = text.as_bytes();
    let hit = core(bytes, hit)?;
    let end = name_end(bytes, hit.start)?;
    // `"key": …` alone says nothing, and is in every other document.
    if end - hit.start <= 4
        && bytes.get(end) == Some(&b'"')
        && bytes[..hit.start].ends_with(b"\"")
        && bytes[hit.start] == b'k'
        && !section::has_long_value(bytes, end)
    {
        return None;
    }
    let (link, at) = link(bytes, end)?;
    let start = name_start(bytes, hit.start)?;
    let (link, at) = match link {
        Link::Tag if !is_element(bytes, start) => return None,
        Link::Space if bytes[..start].ends_with(b"-") || is_set_by_command(bytes, start) => (Link::Flag, at),
        // The usual case by far, in prose: another word.
        Link::Space => match said(text, at) {
            Some(at) => (Link::Said, at),
            None if goes_on_in_words(bytes, at)
                && (&bytes[start..end] != b"password" || !verdict::is_netrc(text, start)) =>
            {
                return None;
            }
            None => (Link::Space, at),
        },
        other => (other, at),
    };
    // `Kind::Password => …` is a variant, and no field.
    let setting = link == Link::Colon && bytes[start].is_ascii_lowercase();
    if bytes[..start].ends_with(b"::") && !setting {
        return None;
    }
    // `=== PASS: TestLogin2`: what a test says.
    if link == Link::Colon && &bytes[start..end] == b"PASS" && bytes[..start].ends_with(b" ") {
        return None;
    }
    // `is_valid_password("…")` asks, and gives nothing.
    if link == Link::Beside && bytes.get(end) == Some(&b'(') && asks(&bytes[start..end]) {
        return None;
    }
    // "Pass" is a verb too, and `pass("…")` a call.
    if matches!(link, Link::Space | Link::Said | Link::Beside) && bytes[start..end].eq_ignore_ascii_case(b"pass") {
        return None;
    }
    let sectioned = || section::holds_secret(text, start..end, at).then_some((Noun::SomeKey, start));
    let (noun, start) = named(text, start, end).or_else(sectioned)?;
    let mut passed = None;
    if closes_before_value(bytes, start, end, link, at) {
        return None;
    }
    for value in values(text, start, link, at) {
        if let Some(range) = verdict::secret(text, noun, link, start..end, &value) {
            found(noun, range);
        } else if !value.quoted && value.range.len() > LONG {
            passed = Some(value.range.end);
        }
    }
    passed
}

/// `set -x NAME value` of fish, `setx`, `setenv`, `git config NAME value`: a shell's settings without a sign.
fn is_set_by_command(bytes: &[u8], start: usize) -> bool {
    const COMMANDS: &[&[u8]] = &[
        b"setx ",
        b"setenv ",
        b"set -x ",
        b"set -gx ",
        b"set -xg ",
        b"set -Ux ",
        b"set -xU ",
        b"set -lx ",
        b"set -g ",
        b"set -U ",
        b"set -Uxg ",
        b"config set ",
        b"config set --secret ",
        b"config --global ",
        b"config --local ",
        b"configure set ",
        b"param set ",
        b"secret add ",
    ];
    COMMANDS.iter().any(|command| bytes[..start].ends_with(command))
}

/// Whether a function of this name looks at what it is given.
fn asks(name: &[u8]) -> bool {
    const STARTS: [&[u8]; 9] = [b"is", b"valid", b"check", b"verif", b"has", b"test", b"assert", b"parse", b"contains"];
    STARTS.iter().any(|start| name.get(..start.len()).is_some_and(|first| first.eq_ignore_ascii_case(start)))
}

/// Whether what looks like the value's opening quote closes the string in which the name stands: `input("Password: ")`.
fn closes_before_value(bytes: &[u8], start: usize, end: usize, link: Link, at: usize) -> bool {
    const BEFORE_MAX: usize = 120;
    let at = skip_blanks(bytes, at);
    let Some(quote) = bytes.get(at).filter(|byte| matches!(byte, b'"' | b'\'' | b'`')) else { return false };
    if link != Link::Colon && link != Link::Said || bytes.get(end) == Some(quote) {
        return false;
    }
    let before = &bytes[start.saturating_sub(BEFORE_MAX)..start];
    let line = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    let opened = before[line..].iter().filter(|byte| *byte == quote).count() % 2 == 1;
    opened
        && bytes.get(at + 1).is_none_or(|next| matches!(next, b')' | b',' | b';' | b' ' | b'\n' | b']' | b'}' | b'<'))
}

/// The hit without the signs around it that only made it rarer.
fn core(bytes: &[u8], hit: Range<usize>) -> Option<Range<usize>> {
    let inner = bytes.get(hit.clone())?;
    let first = inner.iter().position(|byte| byte.is_ascii_alphanumeric())?;
    Some(hit.start + first..hit.end)
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.') || byte >= 0x80
}

fn name_end(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(byte) = bytes.get(at).copied().filter(|byte| is_name(*byte)) {
        let joins = matches!(byte, b'-' | b'.');
        if joins && !bytes.get(at + 1).is_some_and(u8::is_ascii_alphanumeric) || starts_arrow(bytes, at) {
            break;
        }
        at += 1;
        if at - from > NAME_MAX {
            return None;
        }
    }
    Some(at)
}

fn starts_arrow(bytes: &[u8], at: usize) -> bool {
    bytes[at..].starts_with("→".as_bytes())
}

fn name_start(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at > 0 && is_name(bytes[at - 1]) {
        at -= 1;
        if from - at > NAME_MAX {
            return None;
        }
    }
    // `\n` in a string that stands here as text.
    if at > 0 && bytes[at - 1] == b'\\' && at < from && matches!(bytes[at], b'n' | b'r' | b't') {
        at += 1;
    }
    // `%0A`, `%26` and the like.
    if at > 0 && bytes[at - 1] == b'%' && at + 2 <= from {
        at += 2;
    }
    Some(at + bytes[at..from].iter().take_while(|byte| matches!(byte, b'-' | b'.')).count())
}

/// What the name says, with the words before it where it is one of several: "API key".
fn named(text: &str, start: usize, end: usize) -> Option<(Noun, usize)> {
    let name = text.get(start..end)?;
    let short = name.len() <= 6 && matches!(name.to_ascii_lowercase().as_str(), "key" | "keys" | "phrase" | "code");
    if !short {
        return field::noun(name).map(|noun| (noun, start)).or_else(|| {
            let rest = text.get(end..end + 7).filter(|rest| rest.eq_ignore_ascii_case(" phrase"));
            rest.and_then(|_| field::noun(text.get(start..end + 7)?)).map(|noun| (noun, start))
        });
    }
    let bytes = text.as_bytes();
    let mut from = start;
    for _ in 0..2 {
        if from < 2 || bytes[from - 1] != b' ' || !bytes[from - 2].is_ascii_alphanumeric() {
            break;
        }
        from = name_start(bytes, from - 1)?;
    }
    field::noun(text.get(from..end)?).map(|noun| (noun, from))
}

/// What links the name that ends at `at` to a value, and where that begins.
fn link(bytes: &[u8], mut at: usize) -> Option<(Link, usize)> {
    let encoded = encoded_quote(bytes, at);
    let quote = encoded.map(|length| (0, at + length)).or_else(|| quote_at(bytes, at));
    if let Some((_, after)) = quote {
        at = after;
    }
    at += array(&bytes[at..]);
    while bytes.get(at).is_some_and(|byte| b"]?!*".contains(byte))
        && !bytes[at..].starts_with(b"??")
        && !bytes[at..].starts_with(b"!=")
    {
        at += 1;
    }
    let tight = at;
    let mut after = skip_blanks(bytes, at);
    if bytes[after..].starts_with(b"</") {
        after = skip_tags(bytes, after);
        if after > tight && !matches!(bytes.get(after), Some(b':' | b'=')) {
            return Some((Link::Cell, after));
        }
    }
    let loose = if after > tight { Link::Loose } else { Link::Tight };
    let rest = &bytes[after..];
    let assigned = |length: usize| {
        let spaced = bytes.get(after + length).is_some_and(|byte| *byte == b' ');
        Some((if spaced { Link::Loose } else { loose }, after + length))
    };
    match rest {
        [b'|', b'|', b'=', ..] | [b'?', b'?', b'=', ..] | [b'<', b'<', b'<', ..] => assigned(3),
        [b'=', b'=', b'=', ..] => Some((Link::Compare, after + 3)),
        [b'=', b'=', ..] => Some((Link::Compare, after + 2)),
        [b'=', b'>', ..] | [b':', b'=', ..] => assigned(2),
        [b'=', ..] => assigned(1),
        [b':', b':', ..] | [b'!', b'=', ..] => None,
        [b':', b'-' | b'?' | b'+', next, ..] if *next != b' ' && loose == Link::Tight => {
            Some((Link::Default, after + 2))
        }
        [b':', ..] => Some((Link::Colon, after + 1)),
        [b'%', b'3', b'd' | b'D', ..] | [0xe2, 0x86, 0x92, ..] => Some((Link::Tight, after + 3)),
        [b'%', b'3', b'a' | b'A', ..] => Some((Link::Colon, after + 3)),
        [b'\\', b'u', b'0', b'0', b'3', b'd' | b'D', ..] => Some((Link::Tight, after + 6)),
        [b'>', ..] if loose == Link::Tight => {
            Some((if quote.is_some() { Link::Labelled } else { Link::Tag }, after + 1))
        }
        [b'{', ..] if quote.is_some() && loose == Link::Loose => default(bytes, after),
        [b'|', b'|', ..] | [b'?', b'?', ..] | [b'<', b'-', ..] => Some((Link::Beside, after + 2)),
        [b')', ..] if quote.is_some() => alternative(bytes, after + 1),
        [b'|', b' ', ..] => Some((Link::Cell, after + 1)),
        [b'(', ..] => Some((Link::Beside, after + 1)),
        [b',' | b'\n' | b'\r' | b' ' | b'\t', ..] | [] => value_named_so(bytes, after).or_else(|| {
            let pair = quote.is_some() && rest.first() == Some(&b',');
            pair.then_some((Link::Beside, after + 1))
        }),
        _ if after > tight => {
            let element = |(_, at)| (if quote.is_some() { Link::Labelled } else { Link::Tag }, at);
            value_named_so(bytes, after)
                .or_else(|| attributes(bytes, after).map(element))
                .or(Some((Link::Space, after)))
        }
        _ => None,
    }
}

/// `getenv("name") ?: "value"`: what stands in for it.
fn alternative(bytes: &[u8], at: usize) -> Option<(Link, usize)> {
    let at = skip_blanks(bytes, at);
    let signs: [&[u8]; 4] = [b"?:", b"??", b"||", b"or "];
    signs.iter().find(|sign| bytes[at..].starts_with(sign)).map(|sign| (Link::Beside, at + sign.len()))
}

/// How long `[]` or `[32]` is, behind the name of an array.
fn array(rest: &[u8]) -> usize {
    const DIGITS_MAX: usize = 6;
    let digits = rest.iter().skip(1).take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    if rest.first() == Some(&b'[') && rest.get(1 + digits) == Some(&b']') { digits + 2 } else { 0 }
}

/// `variable "name" { … default = "value" }`, as Terraform declares it.
fn default(bytes: &[u8], at: usize) -> Option<(Link, usize)> {
    const BLOCK_MAX: usize = 300;
    let block = &bytes[at..bytes.len().min(at + BLOCK_MAX)];
    let block = block.split(|byte| *byte == b'}').next()?;
    let word = block.windows(8).position(|window| window == b"default ")?;
    let equals = skip_blanks(bytes, at + word + 8);
    (bytes.get(equals) == Some(&b'=')).then_some((Link::Loose, equals + 1))
}

/// `name: X` and on the next line `value: Y`; `name="X" value="Y"`; `"name": "X", "value": "Y"`.
fn value_named_so(bytes: &[u8], at: usize) -> Option<(Link, usize)> {
    const BLANKS_MAX: usize = 80;
    let end = bytes.len().min(at + BLANKS_MAX);
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == b',';
    let mut word = at + bytes.get(at..end)?.iter().take_while(|byte| blank(byte)).count();
    if let Some((_, after)) = quote_at(bytes, word) {
        word = after;
    }
    if !bytes.get(word..word + 5)?.eq_ignore_ascii_case(b"value") {
        return None;
    }
    let mut after = word + 5;
    if let Some((_, end)) = quote_at(bytes, after) {
        after = end;
    }
    after = skip_blanks(bytes, after);
    match bytes.get(after)? {
        b':' => Some((Link::Colon, after + 1)),
        b'=' => Some((Link::Tight, after + 1)),
        _ => None,
    }
}

/// The end of an element's head that has attributes.
fn attributes(bytes: &[u8], at: usize) -> Option<(Link, usize)> {
    const HEAD_MAX: usize = 200;
    let head = &bytes[at..bytes.len().min(at + HEAD_MAX)];
    let name = head.iter().take_while(|byte| is_name(**byte) || **byte == b':').count();
    if name == 0 || head.get(name) != Some(&b'=') {
        return None;
    }
    let end = head.iter().position(|byte| matches!(byte, b'<' | b'>' | b'\n'))?;
    (head[end] == b'>').then_some((Link::Tag, at + end + 1))
}

/// Whether the name that begins here is an element's: `<name` or `<x:name`.
fn is_element(bytes: &[u8], start: usize) -> bool {
    let before = &bytes[start.saturating_sub(20)..start];
    let prefix = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b':').count();
    let Some(open) = before.len().checked_sub(prefix + 1).filter(|open| before[*open] == b'<') else { return false };
    let template = open > 0 && matches!(before[open - 1], b':' | b'@');
    !template && (prefix == 0 || bytes[start - 1] == b':')
}

/// "password for the router is": where the value begins.
fn said(text: &str, at: usize) -> Option<usize> {
    const WORDS_MAX: usize = 8;
    const GLUE_MAX: usize = 90;
    let mut end = text.len().min(at + GLUE_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let rest = text.get(at..end)?;
    let mut length = 0;
    let mut before = "";
    for (index, word) in rest.split(' ').take(WORDS_MAX).enumerate() {
        let next = length + word.len() + 1;
        let first = matches!(
            word,
            "is" | "was"
                | "are"
                | "for"
                | "of"
                | "on"
                | "to"
                | "set"
                | "changed"
                | "reset"
                | "should"
                | "will"
                | "now"
                | "ist"
                | "lautet"
                | "as"
                | "has"
                | "equals"
        );
        if index == 0 && !first || word.ends_with(['.', ';', '\n']) || word.contains(['\n', '"', '\'']) {
            return None;
        }
        let says = matches!(word, "is" | "was" | "are" | "is:" | "ist" | "lautet" | "equals" | "be")
            || word == "to" && (index == 0 || matches!(before, "set" | "changed" | "reset" | "updated"));
        if says && next < rest.len() {
            let skipped = ["now ", "currently ", "set to ", "still ", "just "]
                .iter()
                .find(|glue| rest[next..].starts_with(**glue));
            let value = at + next + skipped.map_or(0, |glue| glue.len());
            return (!goes_on_in_words(text.as_bytes(), value)).then_some(value);
        }
        if word.ends_with(':') {
            return (next < rest.len()).then_some(at + next);
        }
        (length, before) = (next, word);
    }
    None
}

/// Whether a word of small letters stands here, and nothing else before the next space.
fn goes_on_in_words(bytes: &[u8], at: usize) -> bool {
    const WORD_MAX: usize = 32;
    let length = bytes[at..].iter().take(WORD_MAX).take_while(|byte| byte.is_ascii_lowercase()).count();
    length > 0
        && bytes.get(at + length).is_none_or(|byte| matches!(byte, b' ' | b',' | b'.' | b'\n' | b')' | b';' | b':'))
}
