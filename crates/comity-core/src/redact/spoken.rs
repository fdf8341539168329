//! What may stand in a sentence as a secret: a word that nobody would write otherwise, digits behind a lock's code,
//! a name and a password with a sign between them. How a sentence leads there, `said.rs` says.

use super::field::Noun;
use super::value::{self, Strength};
use super::{code, verdict};
use std::ops::Range;

/// A value in a sentence.
pub(super) struct Candidate<'t> {
    text: &'t str,
    range: Range<usize>,
    quoted: bool,
}

const QUOTES: &[(char, char)] = &[
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('«', '»'),
    ('“', '”'),
    ('„', '“'),
    ('‘', '’'),
    ('「', '」'),
    ('『', '』'),
    ('»', '«'),
];

/// Between the quotes that open here.
pub(super) fn quote(rest: &str) -> Option<Range<usize>> {
    const INSIDE_MAX: usize = 200;
    let first = rest.chars().next()?;
    let (_, close) = QUOTES.iter().find(|(open, _)| *open == first)?;
    let from = first.len_utf8();
    let inner = rest.get(from..value::floor(rest, from + INSIDE_MAX))?;
    let length = inner.find(|letter: char| letter == *close || letter == '\n' || first == '„' && letter == '”')?;
    (length > 0 && !inner[length..].starts_with('\n')).then_some(from..from + length)
}

/// How long a sign is that gives a value to what stands before it.
pub(super) fn sign(rest: &str) -> Option<usize> {
    const SIGNS: &[&str] = words! {
        "：" ":" "=>" "=" "→" "->" "是" "为" "為" "就是" "は" "が" "는" "은" "이" "가" "を" "คือ" "’s " "'s "
    };
    SIGNS.iter().find(|sign| rest.starts_with(**sign)).filter(|_| !rest.starts_with("::")).map(|sign| sign.len())
}

/// Whether a word is of a script that puts no spaces between words.
pub(super) fn is_unspaced(word: &str) -> bool {
    word.chars()
        .any(|letter| matches!(letter, '\u{0e00}'..='\u{0e7f}' | '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'))
}

/// Whether nothing of the sentence follows directly.
pub(super) fn ends_clause(rest: &str) -> bool {
    let rest = rest.trim_start_matches([' ', '\t']);
    rest.is_empty() || rest.starts_with(['\n', '\r', '.', ',', ')', ';'])
}

impl<'t> Candidate<'t> {
    /// What stands here: in quotes, or up to the next space without the signs that close a sentence.
    pub(super) fn at(text: &'t str, at: usize) -> Option<Self> {
        const WORD_MAX: usize = 200;
        let rest = text.get(at..)?;
        if let Some(inner) = quote(rest) {
            return Some(Self { text, range: at + inner.start..at + inner.end, quoted: true });
        }
        if rest.starts_with(['"', '\'', '`']) {
            return None;
        }
        let window = &rest[..value::floor(rest, WORD_MAX)];
        let ends = |letter: char| {
            letter.is_whitespace()
                || matches!(letter, '、' | '。' | '，' | '；' | '）' | '」' | '"' | '`' | '<' | '>' | '|')
                || is_unspaced_letter(letter)
        };
        let word = &window[..window.find(ends).unwrap_or(window.len())];
        let word = word.trim_end_matches(['.', ',', ';', ':', ')', ']', '}', '\'', '\\']);
        let lead = word.len() - word.trim_start_matches(['(', '[']).len();
        (word.len() > lead).then_some(Self { text, range: at + lead..at + word.len(), quoted: false })
    }

    fn whole(&self) -> &'t str {
        &self.text[self.range.clone()]
    }

    /// Where it ends, with its quote.
    pub(super) fn after(&self) -> usize {
        let quote = self.text[self.range.end..].chars().next().filter(|_| self.quoted);
        self.range.end + quote.map_or(0, char::len_utf8)
    }

    /// The secret in it, where a colon or a copula leads to it.
    pub(super) fn linked_secret(&self, noun: Noun) -> Option<Range<usize>> {
        match noun {
            Noun::Credential => self.pair(),
            Noun::Pin => self.digits(),
            Noun::ApiKey => (self.is_key()).then(|| self.range.clone()),
            _ => self.is_password().then(|| self.range.clone()).or_else(|| self.passphrase()).or_else(|| self.groups()),
        }
    }

    /// The secret in it, where it was found to be one already.
    pub(super) fn secret(&self, noun: Noun) -> Option<Range<usize>> {
        match noun {
            Noun::Credential => self.pair(),
            Noun::Pin => self.digits(),
            _ => Some(self.range.clone()),
        }
    }

    /// Whether it is a secret with nothing between it and the noun.
    pub(super) fn is_beside(&self, noun: Noun) -> bool {
        const LENGTH_MIN: usize = 8;
        let whole = self.whole();
        match noun {
            Noun::Credential => self.is_before(noun),
            Noun::ApiKey => self.is_key(),
            _ => {
                self.is_password()
                    && (self.quoted || whole.len() >= LENGTH_MIN)
                    && (value::strength(whole) >= Strength::Mixed || value::is_passphrase(whole))
                    && has_digit(whole)
                    && !is_hex(whole)
            }
        }
    }

    /// Whether it is a secret that a sentence names before the noun.
    pub(super) fn is_before(&self, noun: Noun) -> bool {
        match noun {
            Noun::Pin => self.digits().is_some(),
            Noun::Credential => {
                self.pair().is_some_and(|secret| value::strength(&self.text[secret]) >= Strength::Mixed)
            }
            Noun::ApiKey => self.is_key(),
            _ => {
                let strength = value::strength(self.whole());
                self.is_password() && (strength >= Strength::Mixed || self.quoted && strength >= Strength::Numbered)
            }
        }
    }

    fn is_key(&self) -> bool {
        let whole = self.whole();
        value::strength(whole) == Strength::Random
            && has_digit(whole)
            && self.is_possible()
            && !whole.contains(['=', '('])
    }

    /// Nothing that a sentence about passwords says: an address, a file, a version, a date, a stand-in.
    fn is_possible(&self) -> bool {
        let whole = self.whole();
        let closes = self.quoted && whole.starts_with([')', ',', ']', ';']);
        let minified = ["!0", "!1"].iter().any(|flag| whole.starts_with(flag));
        !value::is_stand_in(whole)
            && !closes
            && !minified
            && !code::is_sentence(whole)
            && !verdict::is_public(whole)
            && !verdict::is_version(whole)
            && !whole.contains("://")
            && !whole.starts_with(['/', '~', '.', '@', '#', '<', '{', '%', '-', '&'])
            && !is_mail(whole)
            && !is_setting(whole)
            && !is_file(whole)
            && (self.quoted || !code::is_code(whole))
    }

    fn is_password(&self) -> bool {
        const LENGTH_MIN: usize = 5;
        let whole = self.whole();
        if whole.len() < LENGTH_MIN - usize::from(self.quoted) || !self.is_possible() {
            return false;
        }
        if whole.bytes().all(|byte| byte.is_ascii_digit()) {
            return whole.len() <= 12 && ends_clause(&self.text[self.after()..]);
        }
        let strength = value::strength(whole);
        let marked = has_digit(whole) || whole.bytes().skip(1).any(|byte| b"!@#$%^&*+?=".contains(&byte));
        value::is_passphrase(whole) || strength >= Strength::Numbered && marked && !is_measure(whole)
    }

    /// Words of small letters to the end of the clause, none of which makes a sentence.
    fn passphrase(&self) -> Option<Range<usize>> {
        const WORDS_MIN: usize = 4;
        const LINE_MAX: usize = 160;
        if self.quoted {
            let whole = self.whole();
            let words = whole.split(' ').filter(|word| is_small_word(word)).count();
            return (words >= WORDS_MIN && words == whole.split(' ').count() && self.is_possible())
                .then(|| self.range.clone());
        }
        let rest = &self.text[self.range.start..];
        let line = &rest[..value::floor(rest, LINE_MAX)];
        let line = &line[..line.find(['\n', '.', ',', ';', '(', '"']).unwrap_or(line.len())];
        let line = line.trim_end();
        let fits =
            line.split(' ').all(is_small_word) && line.split(' ').count() >= WORDS_MIN && !code::is_sentence(line);
        fits.then(|| self.range.start..self.range.start + line.len())
    }

    /// `zkmz goja xlql wxxs`: four times four letters, as Google and Apple hand them out, or six as WordPress does.
    fn groups(&self) -> Option<Range<usize>> {
        const LENGTH: usize = 19;
        let whole = self.text.get(self.range.start..self.range.start + LENGTH)?;
        let next = self.text[self.range.start + LENGTH..].chars().next();
        let fours = |sign: char| {
            whole.split(sign).count() == 4
                && whole.split(sign).all(|four| four.len() == 4 && four.bytes().all(|byte| byte.is_ascii_lowercase()))
        };
        let six = self.text.get(self.range.start..self.range.start + LENGTH + 10).filter(|six| {
            six.split(' ').count() == 6
                && six.split(' ').all(|four| four.len() == 4 && four.bytes().all(|byte| byte.is_ascii_alphanumeric()))
                && has_digit(six)
        });
        if six.is_some() {
            return Some(self.range.start..self.range.start + LENGTH + 10);
        }
        let words = whole.split([' ', '-']).filter(|four| value::wordlike(four)).count();
        ((fours(' ') || fours('-')) && words < 4 && !next.is_some_and(char::is_alphanumeric))
            .then(|| self.range.start..self.range.start + LENGTH)
    }

    /// Four to eight digits, as one or in two halves.
    fn digits(&self) -> Option<Range<usize>> {
        let from = self.range.start;
        let bytes = &self.text.as_bytes()[from..];
        let lead = usize::from(bytes.starts_with(b"G-")) * 2;
        let bytes = &bytes[lead..];
        let run =
            |at: usize| bytes[at.min(bytes.len())..].iter().take(10).take_while(|byte| byte.is_ascii_digit()).count();
        let first = run(0);
        let halved = first == 3 && matches!(bytes.get(3), Some(b' ' | b'-')) && run(4) == 3
            || first == 4 && matches!(bytes.get(4), Some(b' ' | b'-')) && run(5) == 4;
        let length = if halved { first * 2 + 1 } else { first };
        let next = bytes.get(length);
        let goes_on = next
            .is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'/' | b':' | b'%' | b'_'))
            || matches!(next, Some(b'.' | b',')) && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
        let unit = std::str::from_utf8(&bytes[length.min(bytes.len())..bytes.len().min(length + 12)])
            .unwrap_or_default()
            .trim_start();
        let measured = ["digit", "char", "Ziffer", "attempt", "sec", "min", "ms", "times", "of "]
            .iter()
            .any(|word| unit.starts_with(word));
        ((4..=8).contains(&first) && !goes_on && !measured || halved).then_some(from..from + lead + length)
    }

    /// The password of `bob / X`, `bob:X`, `bob, X`.
    fn pair(&self) -> Option<Range<usize>> {
        const BLANKS: [char; 2] = [' ', '\t'];
        let whole = self.whole();
        let strong = |candidate: &Self| candidate.is_password() && !is_mail(candidate.whole());
        if whole.contains("://") || whole.contains("::") || whole.starts_with('/') {
            return None;
        }
        if let Some(at) = whole.find([':', '/']).filter(|at| *at > 0 && at + 1 < whole.len()) {
            let inner = Self { text: self.text, range: self.range.start + at + 1..self.range.end, quoted: true };
            let user =
                whole[..at].chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-' | '.' | '@'));
            return (user && strong(&inner) && value::strength(inner.whole()) >= Strength::Numbered)
                .then_some(inner.range);
        }
        let rest = &self.text[self.after()..];
        let sign = rest.trim_start_matches(BLANKS);
        let separated = sign
            .strip_prefix(['/', ':', ',', '|'])
            .or_else(|| sign.strip_prefix("and "))
            .or_else(|| sign.strip_prefix("y "))
            .or_else(|| sign.strip_prefix("with "))?;
        let at = self.text.len() - separated.trim_start_matches(BLANKS).len();
        let second = Self::at(self.text, at)?;
        (strong(&second) && whole.len() > 1).then_some(second.range)
    }
}

/// Whether a code is of a door or a login: by the words before it, or behind it.
pub(super) fn is_of_a_lock(text: &str, hit: &Range<usize>) -> bool {
    const LOCKS: &[&str] = words! {
        "door" "gate" "alarm" "entry" "access" "unlock" "lock" "verification" "security" "login" "sign-in" "signin"
        "auth" "authentication" "authenticator" "time" "onetime" "sms" "2fa" "mfa" "otp" "garage" "safe" "keypad"
        "pairing" "passcode" "wifi" "bestätigungs" "sicherheits" "verificación" "acceso" "puerta" "vérification"
        "sécurité" "accès" "porte" "verificação" "accesso" "verifica" "confirmation" "backup" "recovery" "puk" "building"
        "elevator" "lockbox" "locker" "parking" "secret" "device" "portal" "тревоги" "подтверждения" "доступа"
    };
    const AROUND_MAX: usize = 48;
    let word = &text[hit.clone()];
    let small = word.to_lowercase();
    if !matches!(small.trim_start(), "code" | "código" | "codigo" | "codice" | "код" | "kode") {
        return true;
    }
    let from =
        (hit.start.saturating_sub(AROUND_MAX)..=hit.start).find(|at| text.is_char_boundary(*at)).unwrap_or(hit.start);
    let before = &text[from..hit.start];
    let before = &before[before.rfind(['\n', '.']).map_or(0, |end| end + 1)..];
    let rest = &text[hit.end..];
    let behind = &rest[..value::floor(rest, AROUND_MAX)];
    let behind = &behind[..behind.find(['\n', '.', ':']).unwrap_or(behind.len())];
    let named = |part: &str, count: usize, last: bool| {
        let lower = part.to_lowercase();
        let words: Vec<&str> = lower
            .split(|letter: char| letter.is_whitespace() || matches!(letter, ',' | '(' | ')' | '\'' | '’' | '-'))
            .filter(|word| !word.is_empty())
            .collect();
        let taken = if last { &words[words.len().saturating_sub(count)..] } else { &words[..words.len().min(count)] };
        taken.iter().any(|word| LOCKS.contains(word))
    };
    named(before, 2, true) || named(behind, 4, false)
}

fn is_unspaced_letter(letter: char) -> bool {
    matches!(letter, '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

fn has_digit(whole: &str) -> bool {
    whole.bytes().any(|byte| byte.is_ascii_digit())
}

fn is_hex(whole: &str) -> bool {
    whole.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

fn is_small_word(word: &str) -> bool {
    word.len() >= 3
        && word.bytes().all(|byte| byte.is_ascii_lowercase())
        && !["ed", "ing", "ly"].iter().any(|end| word.len() > 4 && word.ends_with(end))
}

/// `user=bob`: another setting.
fn is_setting(whole: &str) -> bool {
    let Some((name, given)) = whole.split_once('=') else { return false };
    !name.is_empty()
        && !given.is_empty()
        && given != "="
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
}

fn is_mail(whole: &str) -> bool {
    let Some((user, host)) = whole.split_once('@') else { return false };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    !user.is_empty() && host.contains('.') && host.bytes().all(named)
}

pub(super) fn is_file(whole: &str) -> bool {
    const ENDS: &[&str] = words! {
        ".md" ".txt" ".pem" ".key" ".json" ".yaml" ".yml" ".env" ".crt" ".toml" ".conf" ".ini" ".js" ".ts" ".py" ".rs"
        ".go" ".html" ".php" ".java" ".com" ".org" ".net" ".io" ".dev" ".zip" ".pdf" ".kdbx" ".gpg"
    };
    ENDS.iter().any(|end| whole.ends_with(end))
}

/// `30s`, `8px`, `2026-01-04`, `10:30`, `128bit`, `4-8`: how much, when, or a constant.
fn is_measure(whole: &str) -> bool {
    const HEX_MAX: usize = 8;
    let hex = whole.strip_prefix("0x").filter(|hex| hex.len() <= HEX_MAX);
    if hex.is_some_and(|hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return true;
    }
    let letters = whole.trim_start_matches(|letter: char| {
        letter.is_ascii_digit() || matches!(letter, '-' | ':' | '.' | ',' | '+' | '/' | '%')
    });
    letters.len() < whole.len()
        && (letters.len() <= 4
            || letters.starts_with('T') && letters.contains(':')
            || letters.starts_with("-bit")
            || letters.starts_with("-char")
            || letters.starts_with("-digit"))
        && letters.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b':' | b'.' | b'+'))
        && !letters.bytes().skip(4).any(|byte| byte.is_ascii_uppercase() && byte != b'Z')
}
