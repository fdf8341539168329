//! Signs that nobody sees. Browsers and chats put them into long words, so that lines can break there, and a secret
//! that was copied from there has them within: a text is looked at without them, too.

use super::spans::Span;
use std::borrow::Cow;

/// Soft hyphen, zero-width space, non-joiner and joiner, word joiner, and the mark of byte order.
const UNSEEN: [char; 6] = ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'];

/// A text without the signs that nobody sees.
pub(super) struct Seen {
    pub(super) text: String,
    /// Behind each sign that was left out: where that is here, and where in the text itself.
    gaps: Vec<(usize, usize)>,
}

/// Whether there is such a sign in a text; most texts have not even its first byte.
pub(super) fn has_any(text: &[u8]) -> bool {
    !text.is_ascii()
        && text.iter().enumerate().any(|(at, first)| match first {
            0xc2 => text[at..].starts_with("\u{ad}".as_bytes()),
            0xe2 => matches!(text[at + 1..], [0x80, 0x8b..=0x8d, ..] | [0x81, 0xa0, ..]),
            0xef => text[at..].starts_with("\u{feff}".as_bytes()),
            _ => false,
        })
}

/// The text as it is seen.
pub(super) fn without(text: &str) -> Cow<'_, str> {
    Seen::of(text).map_or(Cow::Borrowed(text), |seen| Cow::Owned(seen.text))
}

impl Seen {
    /// The text without them; `None` where there are none.
    pub(super) fn of(text: &str) -> Option<Self> {
        if !has_any(text.as_bytes()) {
            return None;
        }
        let mut seen = Self { text: String::with_capacity(text.len()), gaps: Vec::new() };
        for (at, sign) in text.char_indices() {
            if UNSEEN.contains(&sign) {
                seen.gaps.push((seen.text.len(), at + sign.len_utf8()));
            } else {
                seen.text.push(sign);
            }
        }
        Some(seen)
    }

    /// The same place in the text itself.
    pub(super) fn carry_back(&self, span: Span) -> Span {
        let (start, end) = (self.original(span.range.start), self.original(span.range.end - 1) + 1);
        Span { range: start..end, ..span }
    }

    /// Where the byte that is at this place here is in the text itself.
    fn original(&self, at: usize) -> usize {
        let passed = self.gaps.partition_point(|(here, _)| *here <= at);
        passed.checked_sub(1).map_or(at, |last| self.gaps[last].1 + at - self.gaps[last].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_carried_back_over_what_was_left_out() {
        let text = "\u{feff}a\u{200b}\u{200b}bc\u{ad}é\u{2060}";
        let seen = Seen::of(text).expect("there are some");
        assert_eq!((seen.text.as_str(), without(text)), ("abcé", Cow::Borrowed("abcé")));
        let range = |from, to| seen.carry_back(Span { range: from..to, rule: 0 }).range;
        assert_eq!([&text[range(0, 1)], &text[range(1, 3)]], ["a", "bc"]);
        assert_eq!(&text[range(0, 5)], "a\u{200b}\u{200b}bc\u{ad}é");
        assert_eq!(&text[range(3, 5)], "é");
        assert!(Seen::of("").is_none() && Seen::of("plain").is_none() && Seen::of("Ä – “é” ﷺ £").is_none());
        assert!(!has_any(b"\xe2") && !has_any(b"\xe2\x80") && !has_any(b"\xff\xc2"));
    }
}
