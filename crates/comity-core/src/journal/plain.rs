//! A quick look whether a JSON text is in canonical form (RFC 8785): yes for what machines mostly write, and
//! otherwise no more than "look closely". It builds no values, so that a million entries are looked at in a second.

use crate::wire::strict;

/// Digits with which no two numbers are the same double, so that a double has no other text as short (`DBL_DIG`).
const DIGITS_MAX: usize = 15;

/// Zeros after the point up to which a number is not written with an exponent.
const ZEROS_MAX: usize = 5;

/// Whether this is plainly the canonical form of a value nested at most so deep. `false` says nothing.
pub(super) fn is_plain(text: &[u8], depth: usize) -> bool {
    if std::str::from_utf8(text).is_err() {
        return false;
    }
    let mut scan = Scan { text, at: 0, values: 0 };
    scan.value(depth).is_some() && scan.at == text.len()
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
    values: usize,
}

impl<'a> Scan<'a> {
    /// Passes over a value.
    fn value(&mut self, depth: usize) -> Option<()> {
        self.values += 1;
        if self.values > strict::VALUES_MAX {
            return None;
        }
        match self.text.get(self.at)? {
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.array(depth.checked_sub(1)?),
            b'"' => self.string().map(drop),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        if self.passes(b'}') {
            return Some(());
        }
        let mut before: Option<&[u8]> = None;
        loop {
            let key = self.string()?;
            // In ASCII, and without escapes, the order of bytes is that of UTF-16.
            let is_plain = key.is_ascii() && !key.contains(&b'\\');
            if !is_plain || before.is_some_and(|before| before >= key) || !self.passes(b':') {
                return None;
            }
            before = Some(key);
            self.value(depth)?;
            if !self.passes(b',') {
                return self.passes(b'}').then_some(());
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        if self.passes(b']') {
            return Some(());
        }
        loop {
            self.value(depth)?;
            if !self.passes(b',') {
                return self.passes(b']').then_some(());
            }
        }
    }

    /// Passes over a string; what stands between its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        if !self.passes(b'"') {
            return None;
        }
        let begin = self.at;
        loop {
            match self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return self.text.get(begin..self.at - 1);
                }
                b'\\' => {
                    // The short escapes alone; what is written by its number is looked at closely.
                    if !b"\"\\bfnrt".contains(self.text.get(self.at + 1)?) {
                        return None;
                    }
                    self.at += 2;
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }

    /// Passes over a number of few digits, which a double has no shorter text for.
    fn number(&mut self) -> Option<()> {
        let is_negative = self.passes(b'-');
        let whole = self.digits();
        let fraction = if self.passes(b'.') { Some(self.digits()) } else { None };
        let is_short = whole.len() + fraction.map_or(0, <[u8]>::len) <= DIGITS_MAX;
        let is_whole_plain = match whole {
            [] => false,
            [b'0'] => fraction.is_some() || !is_negative,
            [first, ..] => *first != b'0',
        };
        let is_fraction_plain = fraction.is_none_or(|fraction| {
            let zeros = fraction.iter().take_while(|digit| **digit == b'0').count();
            fraction.last().is_some_and(|last| *last != b'0') && (whole != b"0" || zeros <= ZEROS_MAX)
        });
        let has_exponent = matches!(self.text.get(self.at), Some(b'e' | b'E'));
        (is_short && is_whole_plain && is_fraction_plain && !has_exponent).then_some(())
    }

    fn digits(&mut self) -> &'a [u8] {
        let begin = self.at;
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
        &self.text[begin..self.at]
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        self.text[self.at..].starts_with(word).then(|| self.at += word.len())
    }

    fn passes(&mut self, byte: u8) -> bool {
        let is_there = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(is_there);
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::canonical;

    #[test]
    fn what_is_called_plain_is_canonical() {
        let plain = [
            r#"{"a":1,"b":[true,false,null,-7,0],"c":{"":"é\n\"\\"}}"#,
            "[0.5,-0.25,1.000001,0.000001,0.00000123456789,12345678.1234567]",
            "[]",
            "{}",
            "123456789012345",
            r#"{"A":1,"a":2,"aa":3}"#,
        ];
        for text in plain {
            assert!(is_plain(text.as_bytes(), 3), "{text}");
            let value = strict::parse(text.as_bytes()).expect("JSON");
            assert_eq!(canonical::to_vec(&value), text.as_bytes());
        }
    }

    #[test]
    fn whatever_else_is_looked_at_closely() {
        let others: [&[u8]; 29] = [
            b"",
            b" 1",
            b"1 ",
            b"01",
            b"-0",
            b"-",
            b"1.50",
            b"1.",
            b".5",
            b"0.0000001",
            b"-0.0",
            b"1.234567890123456",
            b"1e3",
            b"1234567890123456",
            b"[1,]",
            b"[1 ,2]",
            b"[",
            b"{",
            br#"{"b":1,"a":2}"#,
            br#"{"a":1,"a":2}"#,
            br#"{"a" :1}"#,
            br#"{"a":1,}"#,
            br#"{"\n":1}"#,
            "{\"é\":1}".as_bytes(),
            br#""\u0041""#,
            br#""\/""#,
            b"\"\x01\"",
            b"\"\xff\"",
            b"nul",
        ];
        for text in others {
            assert!(!is_plain(text, 3), "{}", String::from_utf8_lossy(text));
        }
        assert!(is_plain(b"[[[1]]]", 3) && !is_plain(b"[[[[1]]]]", 3));
        let many = format!("[0{}]", ",0".repeat(strict::VALUES_MAX));
        assert!(!is_plain(many.as_bytes(), 3));
    }

    /// Every text that is called plain, of very many that are nearly JSON, is the canonical form of what it says.
    #[test]
    fn no_change_of_a_byte_is_called_plain_and_is_not() {
        let text = br#"{"a":[1,-20,0.05,"x\ny"],"b":{"c":null,"d":true},"e":"\\"}"#;
        for at in 0..text.len() {
            for byte in 0..=255 {
                let mut changed = text.to_vec();
                changed[at] = byte;
                if is_plain(&changed, 3) {
                    let value = strict::parse(&changed).expect("it is JSON");
                    assert_eq!(canonical::to_vec(&value), changed);
                }
            }
        }
    }
}
