//! Whether a message certainly holds no secret, told from its raw JSON without parsing it: the ordinary case of all
//! that is sent. A string without escapes is a piece of the raw text, so that its own rules can look at it there.
//! What this cannot tell, `document.rs` does.

use super::document::{PAIR_NAMES, flag_noun};
use super::field;
use super::seek::{Seeker, Walk};
use super::unseen;
use crate::limits;
use std::ops::Range;

/// True where no rule finds anything in the strings and keys of a JSON text, and no key is a secret's name.
pub(super) fn spares(seeker: &Seeker, text: &[u8]) -> bool {
    if unseen::has_any(text) {
        return false;
    }
    let mut strings = Strings { seeker, text, at: 0, depth: 0, key: None };
    let Some(mut string) = strings.next() else { return strings.are_sound() };
    let mut walk = Walk::default();
    for (start, rule) in seeker.starts(text) {
        while string.range.end <= start.start {
            match strings.next() {
                Some(next) => string = next,
                None => return strings.are_sound(),
            }
            walk = Walk::default();
        }
        // Between strings, and over their quotes, stands nothing that a rule would see.
        if start.start < string.range.start || start.end > string.range.end || string.is_looked_at {
            continue;
        }
        let base = string.range.start;
        let Some(whole) = strings.str(&string.range) else { return false };
        seeker.go_on(whole, rule, start.start - base..start.end - base, &mut walk);
        if !walk.is_empty() {
            return false;
        }
    }
    while strings.next().is_some() {}
    strings.are_sound()
}

/// A string of the document, without its quotes.
struct Quoted {
    range: Range<usize>,
    /// Whether it was looked at already, because it has escapes.
    is_looked_at: bool,
}

/// Walks the strings of a JSON text, and looks at what is no string and at keys.
struct Strings<'t> {
    seeker: &'t Seeker,
    text: &'t [u8],
    /// Where the walk stands; past the end where something was found.
    at: usize,
    depth: usize,
    /// The last key, until its value begins.
    key: Option<Range<usize>>,
}

/// Where the walk stands after it found what may be a secret, or what it cannot tell.
const STOPPED: usize = usize::MAX;

impl Strings<'_> {
    fn are_sound(&self) -> bool {
        self.at != STOPPED
    }

    /// The next string; `None` at the end, or where the walk had to stop.
    fn next(&mut self) -> Option<Quoted> {
        let string = self.read();
        if string.is_none() && self.at < self.text.len() {
            self.at = STOPPED;
        }
        string
    }

    fn read(&mut self) -> Option<Quoted> {
        let mut at = self.at;
        loop {
            match self.text.get(at) {
                None => {
                    if self.at != STOPPED {
                        self.at = at;
                    }
                    return None;
                }
                Some(b'"') => break,
                Some(b'{' | b'[') => {
                    self.depth += 1;
                    self.key = None;
                    if self.depth > limits::JSON_DEPTH_MAX {
                        return None;
                    }
                }
                Some(b'}' | b']') => self.depth = self.depth.saturating_sub(1),
                Some(b',') => self.key = None,
                _ => {}
            }
            at += 1;
        }
        let from = at + 1;
        let (end, escaped) = closing(self.text, from)?;
        let range = from..end;
        if escaped && !self.is_clean_unescaped(&range) {
            return None;
        }
        self.at = end + 1;
        let behind = self.text[self.at..].iter().find(|byte| !byte.is_ascii_whitespace());
        if behind == Some(&b':') {
            if escaped || self.is_secret_name(&range) {
                self.at = range.start;
                return None;
            }
            self.key = Some(range.clone());
        } else if let Some(key) = self.key.take() {
            let paired = PAIR_NAMES.iter().any(|name| name.as_bytes() == &self.text[key.clone()]);
            if paired && self.is_secret_name(&range) {
                self.at = range.start;
                return None;
            }
        } else if self.text.get(range.start) == Some(&b'-')
            && (escaped || self.str(&range).and_then(flag_noun).is_some())
        {
            self.at = range.start;
            return None;
        }
        Some(Quoted { range, is_looked_at: escaped })
    }

    fn str(&self, range: &Range<usize>) -> Option<&str> {
        std::str::from_utf8(&self.text[range.clone()]).ok()
    }

    /// Whether a field of this name holds a secret, or says that it is a key's (RFC 7517).
    fn is_secret_name(&self, range: &Range<usize>) -> bool {
        let Some(name) = self.str(range) else { return true };
        name == "kty" || field::noun(name).is_some()
    }

    /// Whether nothing is found in a string whose escapes are all simple.
    fn is_clean_unescaped(&self, range: &Range<usize>) -> bool {
        let Some(mut rest) = self.str(range) else { return false };
        let mut plain = String::with_capacity(rest.len());
        while let Some(escape) = rest.find('\\') {
            plain.push_str(&rest[..escape]);
            plain.push(match rest.as_bytes().get(escape + 1) {
                Some(b'n') => '\n',
                Some(b't') => '\t',
                Some(b'"') => '"',
                Some(b'\\') => '\\',
                Some(b'/') => '/',
                _ => return false,
            });
            rest = &rest[escape + 2..];
        }
        plain.push_str(rest);
        self.seeker.spans(&plain).is_empty()
    }
}

/// Where the string that begins at `from` ends, and whether it has escapes.
fn closing(text: &[u8], from: usize) -> Option<(usize, bool)> {
    let mut at = from;
    let mut escaped = false;
    loop {
        match text.get(at)? {
            b'"' => return Some((at, escaped)),
            b'\\' => {
                escaped = true;
                at += 2;
            }
            _ => at += 1,
        }
    }
}
