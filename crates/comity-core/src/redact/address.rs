//! Passwords in addresses: `scheme://user:password@host`, and `user:password@tcp(host)` as Go's drivers write
//! it. Only the password is the secret (RFC 3986, section 3.2.1); it may hold what should have been encoded.

use super::steps;
use super::value::{self, Strength};
use std::ops::Range;

/// Longest user and password in an address, bytes.
const USER_MAX: usize = 1024;

/// The password in the address whose `://` ends at `from`.
pub(super) fn password(text: &str, from: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let ends = |byte: &u8| {
        byte.is_ascii_whitespace()
            || byte.is_ascii_control()
            || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'\\')
    };
    let window = &bytes[from..bytes.len().min(from + USER_MAX)];
    let length = window.iter().position(ends).unwrap_or(window.len());
    steps::look(window.len());
    let run = without_next(&window[..length]);
    let host = run.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(run.len());
    let colon = run[..host].iter().position(|byte| *byte == b':');
    let Some(colon) = colon else { return lone_token(text, from, &run[..host]) };
    let at = match run[..host].iter().rposition(|byte| *byte == b'@') {
        Some(at) => at,
        // A password with `/` or `#` in it; where digits stand up to there, they are a port.
        None if colon + 1 < host && !run[colon + 1..host].iter().all(u8::is_ascii_digit) => {
            run.iter().rposition(|byte| *byte == b'@')?
        }
        None => return None,
    };
    let range = from + colon + 1..from + at;
    let whole = text.get(range.clone())?;
    // GitHub takes a token as the user, and a word for the password.
    if matches!(whole, "x-oauth-basic" | "" | "x" | "X" | "api_token") {
        let user = from..from + colon;
        let token = value::strength(text.get(user.clone())?) == Strength::Random;
        return token.then_some(user);
    }
    // What every installation has on its own machine: `guest:guest@localhost`.
    let host = &run[at + 1..];
    let here = host.starts_with(b"localhost") || host.starts_with(b"127.0.0.1");
    let default = here && run[..colon] == run[colon + 1..at] && value::strength(whole) == Strength::Words;
    (colon < at && !default && is_password(whole)).then_some(range)
}

/// The run up to where another address begins in it, as in a list of them.
fn without_next(run: &[u8]) -> &[u8] {
    let next = run.windows(3).position(|three| three == b"://");
    let Some(next) = next else { return run };
    let scheme =
        run[..next].iter().rev().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-')).count();
    &run[..(next - scheme).saturating_sub(1)]
}

/// A token that stands where the user does: `https://token@host`. What Sentry puts there is public.
fn lone_token(text: &str, from: usize, authority: &[u8]) -> Option<Range<usize>> {
    const TOKEN_MIN: usize = 20;
    let at = authority.iter().rposition(|byte| *byte == b'@')?;
    let host = &authority[at + 1..];
    let range = from..from + at;
    let whole = text.get(range.clone())?;
    let public = host.windows(6).any(|part| part == b"sentry") || whole.contains('.');
    let drawn = value::strength(whole) == Strength::Random && whole.len() >= TOKEN_MIN && is_password(whole);
    (drawn && !public && !value::is_printed(whole)).then_some(range)
}

/// The password in front of `@tcp(` and the like, which begins at `at`.
pub(super) fn password_before(text: &str, at: usize) -> Option<Range<usize>> {
    const BEFORE_MAX: usize = 256;
    let mut from = at.saturating_sub(BEFORE_MAX);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    let before = text.get(from..at)?;
    let start = before
        .rfind(|letter: char| letter.is_whitespace() || matches!(letter, '"' | '\'' | '`' | '='))
        .map_or(0, |index| index + 1);
    let user = &before[start..];
    let colon = user.rfind("://").map_or(0, |scheme| scheme + 3);
    let colon = colon + user[colon..].find(':')?;
    let range = from + start + colon + 1..at;
    is_password(&text[range.clone()]).then_some(range)
}

fn is_password(whole: &str) -> bool {
    !whole.is_empty() && !value::is_stand_in(whole) && !whole.starts_with(['{', '$', '<', '%', '('])
        || is_encoded(whole)
}

/// Whether it begins with an encoded sign, and so is a password and no template.
fn is_encoded(whole: &str) -> bool {
    let bytes = whole.as_bytes();
    bytes.len() > 3 && bytes[0] == b'%' && bytes[1..3].iter().all(u8::is_ascii_hexdigit) && !whole.ends_with('%')
}
