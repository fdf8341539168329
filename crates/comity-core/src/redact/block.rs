//! Private keys in blocks (RFC 7468, RFC 4716, OpenPGP, OpenSSH): from `-----BEGIN` to `-----END`, in lines of
//! their own, with `\n` as text, or on one line. A block that was cut is as secret as a whole one.

use super::steps;
use std::ops::Range;

/// Longest label of a block, bytes.
const LABEL_MAX: usize = 80;

/// Fewest characters of base64 that are a key: less is an example.
const BODY_MIN: usize = 32;

/// The block whose `-----BEGIN` or `---- BEGIN` begins at `start`, if it holds a private key.
pub(super) fn private_key(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let dashes = bytes[start..].iter().take_while(|byte| **byte == b'-').count();
    let label = &bytes[start + dashes..bytes.len().min(start + dashes + LABEL_MAX)];
    let close = label.windows(4).position(|window| window == b"----")?;
    let label = &label[..close];
    let has = |word: &[u8]| label.windows(word.len()).any(|window| window == word);
    let is_private = has(b"PRIVATE") && has(b"KEY") || has(b"OpenVPN Static key");
    if !is_private {
        return None;
    }
    let head = start + dashes + close;
    let body = head + bytes[head..].iter().take_while(|byte| **byte == b'-').count();
    // The next dashes end this block or begin another: every byte is looked at once for all blocks.
    let rest = &bytes[body..];
    let next = rest.windows(4).position(|window| window == b"----");
    steps::look(next.unwrap_or(rest.len()));
    let closed = next.filter(|next| {
        let tail = &rest[*next..rest.len().min(next + 12)];
        tail.windows(3).any(|window| window == b"END")
    });
    let end = match closed {
        Some(next) => body + next,
        None => body + body_length(&rest[..next.unwrap_or(rest.len())]),
    };
    if !is_key(&bytes[body..end]) {
        return None;
    }
    let range = start..closed.map_or(end, |_| past_label(bytes, end));
    (text.is_char_boundary(range.end)).then_some(range)
}

/// How much of what follows may be of a block that has no end: its long lines, and a short one behind them.
fn body_length(rest: &[u8]) -> usize {
    const LINE_MIN: usize = 24;
    let of_body = |byte: &u8| byte.is_ascii_alphanumeric() || byte.is_ascii_whitespace() || b"+/=\\%:,-".contains(byte);
    let length = rest.iter().position(|byte| !of_body(byte)).unwrap_or(rest.len());
    let mut end = 0;
    let mut at = 0;
    for line in rest[..length].split_inclusive(|byte| matches!(byte, b'\n' | b' ')) {
        let word = line.trim_ascii();
        at += line.len();
        let ends_line = line.ends_with(b"\n") || at == rest.len();
        let short_last =
            end > 0 && ends_line && word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(byte));
        if word.len() >= LINE_MIN || word.ends_with(b":") || end == 0 {
            end = at - (line.len() - line.trim_ascii_end().len());
        } else {
            return if short_last && !word.is_empty() { at - (line.len() - line.trim_ascii_end().len()) } else { end };
        }
    }
    end
}

fn is_key(body: &[u8]) -> bool {
    let mut run = 0;
    let mut total = 0;
    let mut longest = 0;
    let mut escaped = false;
    for byte in body {
        let base64 = byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
        if base64 && !escaped {
            (run, total) = (run + 1, total + 1);
            longest = longest.max(run);
        } else {
            run = 0;
        }
        escaped = *byte == b'\\';
    }
    total >= BODY_MIN && longest >= BODY_MIN / 2
}

fn past_label(bytes: &[u8], end: usize) -> usize {
    let opening = end + bytes[end..].iter().take_while(|byte| **byte == b'-').count();
    let label = &bytes[opening..bytes.len().min(opening + LABEL_MAX)];
    let Some(close) = label.windows(4).position(|window| window == b"----") else { return opening };
    let close = opening + close;
    close + bytes[close..].iter().take_while(|byte| **byte == b'-').count()
}
