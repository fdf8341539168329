//! Whether the value of a named field is a secret, by the field's name, by what links it to the name, and
//! by its own look. Strict where a name means much (`password = "x"`), careful where prose or code may be meant.

use super::code;
use super::field::Noun;
use super::given::Link;
use super::read::Value;
use super::value::{self, Strength};
use std::ops::Range;

/// The secret in the value of a field, if there is one.
pub(super) fn secret(text: &str, noun: Noun, link: Link, name: Range<usize>, found: &Value) -> Option<Range<usize>> {
    let whole = text.get(found.range.clone())?;
    match noun {
        Noun::Authorization => return credential(text, link, found),
        Noun::Cookie => return cookie(text, link, found),
        Noun::Seed => return seed(text, link, found),
        Noun::Pin => return pin(whole, link).then(|| found.range.clone()),
        Noun::SecretId => return value::is_uuid(whole).then(|| found.range.clone()),
        _ => {}
    }
    if is_of_an_address(text, name.start) || is_template_around(text, name.start, link) {
        return None;
    }
    if let Some(phrase) = phrase(text, noun, link, found) {
        return Some(phrase);
    }
    // The cheap questions first: most values are plain words.
    let fits = if found.quoted { quoted(noun, link, whole) } else { bare(text, noun, link, name, found) };
    if !fits || value::is_stand_in(whole) || is_public(whole) || is_place(whole, noun) {
        return None;
    }
    let code =
        !found.quoted && (code::is_code(&text[found.range.start..code_end(text, found)]) || code::is_variable(whole));
    (!code).then(|| found.range.clone())
}

/// `PASSWORD=correct horse battery staple`: small words to the end of the line, none of which makes a sentence.
fn phrase(text: &str, noun: Noun, link: Link, found: &Value) -> Option<Range<usize>> {
    const WORDS_MIN: usize = 4;
    const LINE_MAX: usize = 120;
    let linked = matches!(link, Link::Tight | Link::Colon | Link::Loose);
    if noun != Noun::Password || found.quoted || found.next != b' ' || !linked {
        return None;
    }
    let rest = text.get(found.range.start..value::floor(text, found.range.start + LINE_MAX))?;
    let line = rest.split('\n').next()?.trim_end();
    let small = |word: &str| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_lowercase());
    let fits = line.split(' ').all(small) && line.split(' ').count() >= WORDS_MIN && !code::is_sentence(line);
    fits.then(|| found.range.start..found.range.start + line.len())
}

/// Whether the name is a part of an ARN: what follows it is another name.
fn is_of_an_address(text: &str, start: usize) -> bool {
    const BEFORE_MAX: usize = 80;
    let before = &text.as_bytes()[start.saturating_sub(BEFORE_MAX)..start];
    let word = before.iter().rposition(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\''));
    let word = &before[word.map_or(0, |at| at + 1)..];
    word.ends_with(b":") && word.windows(4).any(|four| four == b"arn:")
}

/// Whether the name stands within `{{ … }}` or `<% … %>`: what follows `|` there is a filter.
fn is_template_around(text: &str, start: usize, link: Link) -> bool {
    const BEFORE_MAX: usize = 120;
    if link != Link::Cell {
        return false;
    }
    let before = &text.as_bytes()[start.saturating_sub(BEFORE_MAX)..start];
    let last = |two: &[u8]| before.windows(2).rposition(|window| window == two);
    last(b"{{") > last(b"}}") || last(b"<%") > last(b"%>")
}

/// The value with the bracket behind it, which tells a call from a word.
fn code_end(text: &str, found: &Value) -> usize {
    found.range.end + usize::from(matches!(found.next, b'(' | b'[' | b'{') && found.range.end < text.len())
}

fn quoted(noun: Noun, link: Link, whole: &str) -> bool {
    if code::is_sentence(whole) {
        return false;
    }
    let strength = value::strength(whole);
    match link {
        Link::Space | Link::Said if whole.len() < 4 => false,
        Link::Compare | Link::Beside if whole.contains(' ') && noun != Noun::Password && !is_noise(whole) => false,
        Link::Compare | Link::Beside | Link::Cell | Link::Labelled => {
            strength >= Strength::Numbered && enough(noun, strength, whole)
        }
        _ => enough(noun, strength, whole),
    }
}

/// Whether a value is as strong as the name wants it.
fn enough(noun: Noun, strength: Strength, whole: &str) -> bool {
    match noun {
        Noun::Password => true,
        Noun::SomeKey => {
            strength >= Strength::Random
                && !whole.contains(' ')
                && !whole.starts_with("0x")
                && has_both(whole)
                && (value::is_uuid(whole) || !value::is_worded(whole))
                || is_noise(whole)
        }
        Noun::Token | Noun::ApiKey if is_phrase_with_number(whole) => true,
        // A colour.
        Noun::Token if whole.len() == 7 && whole.starts_with('#') => false,
        // An address on a chain, a contract.
        Noun::Token if whole.len() == 42 && whole.starts_with("0x") => false,
        _ if strength == Strength::Numbered => whole.len() >= 6 && !whole.contains(['-', '_', '.', '/', ' ', ':', ',']),
        _ => strength >= Strength::Mixed,
    }
}

/// `fjord-umber-vapor-hollow56`: four words and a number, where a name would have three.
fn is_phrase_with_number(whole: &str) -> bool {
    const WORDS_MIN: usize = 4;
    const DIGITS_MIN: usize = 2;
    let digits = whole.bytes().filter(u8::is_ascii_digit).count();
    (DIGITS_MIN..=4).contains(&digits)
        && whole.split(['-', '_']).filter(|part| part.bytes().any(|byte| byte.is_ascii_lowercase())).count()
            >= WORDS_MIN
        && value::is_passphrase(whole)
}

/// Many signs among letters, as generators of salts draw them.
fn is_noise(whole: &str) -> bool {
    const LENGTH_MIN: usize = 32;
    const SIGNS_MIN: usize = 5;
    let signs = whole.bytes().filter(|byte| byte.is_ascii_punctuation() && !b"-_./,:".contains(byte)).count();
    whole.len() >= LENGTH_MIN && signs >= SIGNS_MIN && has_both(whole) || whole.len() >= 60 && signs * 6 >= whole.len()
}

fn has_both(whole: &str) -> bool {
    whole.bytes().any(|byte| byte.is_ascii_digit()) && whole.bytes().any(|byte| byte.is_ascii_alphabetic())
}

fn bare(text: &str, noun: Noun, link: Link, name: Range<usize>, found: &Value) -> bool {
    let whole = &text[found.range.clone()];
    let strength = value::strength(whole);
    let number = whole.bytes().all(|byte| byte.is_ascii_digit());
    // `(known after apply)`, `(sensitive value)`: what is said of it.
    let remark = whole.strip_prefix('(').is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_lowercase()));
    if is_version(whole) || remark {
        return false;
    }
    if is_key_id(text, &name, whole) {
        return false;
    }
    if noun == Noun::Password
        && number
        && matches!(link, Link::Tight | Link::Loose | Link::Colon | Link::Flag | Link::Default)
    {
        return whole.len() >= 4 && !(link == Link::Loose && found.next == b',');
    }
    if is_type(text, link, found) {
        return false;
    }
    if link == Link::Said && noun != Noun::Password && (whole.len() < 8 || !has_both(whole)) {
        return false;
    }
    if strength > Strength::Numbered || strength == Strength::Numbered && whole.len() >= 5 {
        return enough(noun, strength, whole) && (link != Link::Space || beside(text, noun, strength, name, found));
    }
    if noun == Noun::Password && value::is_passphrase(whole) {
        return !matches!(link, Link::Space | Link::Cell);
    }
    // Only words: a password where nothing else can be meant.
    if noun != Noun::Password || whole.len() < 3 {
        return false;
    }
    let listed = matches!(found.next, b',' | b')' | b']' | b'}' | b'(' | b'.');
    match link {
        Link::Tight => found.query || !listed && (found.next != b';' || !found.own_line),
        Link::Loose => found.own_line && !listed && found.next != b';' && whole.len() >= 6,
        Link::Colon => found.own_line && !listed && found.next != b';' && !is_compound(whole) && whole.len() >= 4,
        Link::Default => true,
        Link::Flag => ends_command(text, found.range.end),
        Link::Space => is_netrc(text, name.start),
        _ => false,
    }
}

/// `signingkey = 8C0565DB93DB0293`: the id of a key of OpenPGP, which says which it is.
fn is_key_id(text: &str, name: &Range<usize>, whole: &str) -> bool {
    let id = whole.trim_start_matches("0x").trim_end_matches('!');
    text[name.clone()].to_ascii_lowercase().ends_with("signingkey")
        && matches!(id.len(), 8 | 16 | 32 | 40)
        && id.bytes().all(|byte| byte.is_ascii_digit() || (b'A'..=b'F').contains(&byte))
}

/// `password hunter2`: with nothing between, only where it cannot be a sentence about passwords.
fn beside(text: &str, noun: Noun, strength: Strength, name: Range<usize>, found: &Value) -> bool {
    let whole = &text[found.range.clone()];
    if noun != Noun::Password {
        return strength == Strength::Random && has_both(whole);
    }
    if is_netrc(text, name.start) {
        return true;
    }
    if text[..name.start].ends_with('/') || value::is_uuid(whole) {
        return false;
    }
    let ends = matches!(found.next, 0 | b'\n' | b'.' | b',' | b'\r');
    let inner = whole.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let mixed = strength >= Strength::Mixed && whole.bytes().any(|byte| byte.is_ascii_digit()) && !whole.contains('=');
    mixed && inner.bytes().any(|byte| byte.is_ascii_digit() || b"!@#$%&*".contains(&byte))
        || ends
            && !whole.starts_with(|letter: char| letter.is_ascii_uppercase())
            && !whole.contains(['-', '(', '=', '/', '.'])
}

/// `v1.2.3-rc.1`: what follows the name of a package.
pub(super) fn is_version(whole: &str) -> bool {
    let bare = whole.trim_start_matches(['v', '^', '~', '=']);
    let numbers = bare
        .split(['.', '-', '+'])
        .take_while(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    let dotted = bare.split(['-', '+']).next().unwrap_or_default().split('.').count();
    dotted >= 3 && numbers.count() >= 3
}

/// Whether the line is of a `.netrc`.
pub(super) fn is_netrc(text: &str, start: usize) -> bool {
    const BEFORE_MAX: usize = 160;
    let before = &text.as_bytes()[start.saturating_sub(BEFORE_MAX)..start];
    let has = |word: &[u8]| before.windows(word.len()).any(|window| window == word);
    has(b"login ") && (has(b"machine ") || has(b"default ") || before.ends_with(b" "))
}

/// Whether a command ends here, or goes on with a flag.
fn ends_command(text: &str, at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    let line = rest.split('\n').next().unwrap_or_default().trim_start_matches([' ', '\t']);
    rest.starts_with('\n') || line.is_empty() || line.starts_with(['-', '|', '&', ';', '\\', '>', '#', '"', '\'', '`'])
}

/// `name: CString,`, `&IceCreds`, `LPCWSTR)`: what a program declares.
fn is_type(text: &str, link: Link, found: &Value) -> bool {
    let whole = &text[found.range.clone()];
    let bare = whole.trim_start_matches(['&', '*']);
    let bare = bare.strip_suffix("64").or(bare.strip_suffix("32")).or(bare.strip_suffix('2')).unwrap_or(bare);
    let named = bare.starts_with(|letter: char| letter.is_ascii_uppercase())
        && bare.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let shouted = bare.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && bare.contains('_');
    let after = text[found.range.end..].trim_start_matches(' ');
    let declares = after.starts_with([',', ')', ';', '=', '{', '>', '|', '<']);
    link != Link::Flag && (named || shouted) && !found.query && (declares || bare.len() < whole.len())
}

/// `CharArray`: of several words, as types are.
fn is_compound(whole: &str) -> bool {
    let humps = whole.bytes().filter(u8::is_ascii_uppercase).count();
    whole.starts_with(|letter: char| letter.is_ascii_uppercase())
        && humps > 1
        && whole.bytes().all(|byte| byte.is_ascii_alphabetic())
}

/// What is meant to be known, whatever its name: public keys, digests, node ids, certificates.
pub(super) fn is_public(whole: &str) -> bool {
    const STARTS: &[&str] = words! {
        "ed25519:" "ssh-rsa " "ssh-ed25519 " "ecdsa-sha2-" "sk-ssh-ed25519" "pk.eyJ" "sb_publishable_" "phc_" "6Le" "G-" "GTM-" "xpub" "ypub" "zpub" "tpub" "pk-lf-" "public_" "pub_" "pub-c-" "sha256:" "sha512:" "sha1:" "md5:"
        "sha256-" "sha384-" "sha512-" "SHA256:" "-----BEGIN" "12D3KooW" "did:" "age1" "urn:" "npub1" "pk_live_"
        "pk_test_" "data:image"
    };
    STARTS.iter().any(|start| whole.starts_with(start))
}

/// A path, a file's name, an address: where something is.
fn is_place(whole: &str, noun: Noun) -> bool {
    const ENDS: &[&str] = words! {
        ".pem" ".key" ".json" ".txt" ".yaml" ".yml" ".env" ".crt" ".toml" ".conf" ".ini" ".js" ".ts" ".py" ".rs"
        ".go" ".html"
    };
    if whole.contains("://") || whole.contains(":/") && noun != Noun::Password || whole.starts_with("--") {
        return true;
    }
    let strength = value::strength(whole);
    whole.starts_with('/') && (strength < Strength::Random || is_path(whole)) && whole.len() > 1
        || strength < Strength::Random && ENDS.iter().any(|end| whole.ends_with(end)) && noun != Noun::Password
}

/// `/Users/bob/.ssh/id_ed25519`: two words between slashes.
fn is_path(whole: &str) -> bool {
    let mut parts = whole.split('/').skip(1);
    let worded =
        |part: Option<&str>| part.is_some_and(|part| part.len() > 1 && value::strength(part) <= Strength::Numbered);
    worded(parts.next()) && worded(parts.next())
}

/// `Authorization: Scheme credential`, or the credential alone.
fn credential(text: &str, link: Link, found: &Value) -> Option<Range<usize>> {
    if !matches!(link, Link::Colon | Link::Tight | Link::Loose | Link::Beside | Link::Cell) {
        return None;
    }
    let mut range = found.range.clone();
    let rest = text.get(range.end..)?;
    let scheme = text.get(range.clone())?;
    if !found.quoted && rest.starts_with(' ') && scheme.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        let next =
            rest[1..].find(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | ',' | '\\'));
        range = range.end + 1..range.end + 1 + next.unwrap_or(rest.len() - 1);
    } else if let Some((scheme, credential)) = scheme.split_once(' ') {
        range = range.start + scheme.len() + 1..range.start + scheme.len() + 1 + credential.len();
    }
    let whole = text.get(range.clone())?;
    let fits = whole.len() >= 8
        && !whole.starts_with(['&', '(', '!'])
        && !whole.contains(' ')
        && value::strength(whole) >= Strength::Mixed;
    (fits && !value::is_stand_in(whole) && !code::is_code(whole) && !is_public(whole) && !whole.contains("://"))
        .then_some(range)
}

/// The first value of a cookie's list that a machine drew; the others are found by their own names.
fn cookie(text: &str, link: Link, found: &Value) -> Option<Range<usize>> {
    const LINE_MAX: usize = 1024;
    if !matches!(link, Link::Colon | Link::Tight | Link::Loose | Link::Beside | Link::Cell) {
        return None;
    }
    let from = found.range.start;
    let line = &text.as_bytes()[from..text.len().min(from + LINE_MAX)];
    let line = &line[..line.iter().position(|byte| matches!(byte, b'\n' | b'"' | b'\'' | b'\r')).unwrap_or(line.len())];
    let mut at = from;
    let mut range: Option<Range<usize>> = None;
    for pair in line.split(|byte| *byte == b';') {
        if let Some(equals) = pair.iter().position(|byte| *byte == b'=') {
            let value = text.get(at + equals + 1..at + pair.len()).unwrap_or_default();
            if value.len() >= 12 && value::strength(value) >= Strength::Random && !value::is_printed(value) {
                let start = range.as_ref().map_or(at + equals + 1, |range| range.start);
                range = Some(start..at + pair.len());
            }
        }
        at += pair.len() + 1;
    }
    range
}

/// Twelve words and more, or what a machine drew.
fn seed(text: &str, link: Link, found: &Value) -> Option<Range<usize>> {
    const WORDS_MIN: usize = 12;
    const DRAWN_MIN: usize = 24;
    const LINE_MAX: usize = 400;
    let from = found.range.start;
    let mut range = found.range.clone();
    if !found.quoted {
        let line = &text.as_bytes()[from..text.len().min(from + LINE_MAX)];
        let stop = line.iter().position(|byte| !byte.is_ascii_lowercase() && *byte != b' ').unwrap_or(line.len());
        range.end = range.end.max(from + line[..stop].trim_ascii_end().len());
    }
    let whole = text.get(range.clone())?;
    let words = whole.split_ascii_whitespace();
    let wordy = words.clone().count() >= WORDS_MIN
        && words.into_iter().all(|word| word.bytes().all(|byte| byte.is_ascii_lowercase()));
    let drawn = matches!(link, Link::Colon | Link::Tight | Link::Loose) && value::strength(whole) >= Strength::Random;
    let fits = wordy || drawn && whole.len() >= DRAWN_MIN && !value::is_stand_in(whole) && !is_public(whole);
    (fits && (found.quoted || wordy || !code::is_code(whole))).then_some(range)
}

/// Four to eight digits.
fn pin(whole: &str, link: Link) -> bool {
    let digits = (4..=8).contains(&whole.len()) && whole.bytes().all(|byte| byte.is_ascii_digit());
    digits && !matches!(link, Link::Compare | Link::Space)
}
