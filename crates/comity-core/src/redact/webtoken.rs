//! JSON Web Tokens (RFC 7515, RFC 7516): three or five parts of base64url, the first of which is a JSON object
//! that names an algorithm.

use super::steps;
use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use std::ops::Range;

const HEADER_MAX: usize = 4096;

const PART: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The token that begins at `start`, whatever it says.
pub(super) fn token(text: &str, start: usize) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    // Within a run there is one beginning, so that each byte is looked at once.
    if start > 0 && (part(&bytes[start - 1]) || bytes[start - 1] == b'.') && !super::seek::is_escape_end(bytes, start) {
        return None;
    }
    let mut end = start;
    let mut parts = 0;
    let mut header = start..start;
    loop {
        let length = bytes[end..].iter().take_while(|byte| part(byte)).count();
        if parts == 0 {
            header = end..end + length;
        }
        // The second part of five is empty where the key is agreed on directly.
        if length == 0 && parts < 1 {
            return None;
        }
        parts += 1;
        end += length;
        if parts == 5 || bytes.get(end) != Some(&b'.') {
            break;
        }
        end += 1;
    }
    steps::look(end - start);
    end -= usize::from(bytes[end - 1] == b'.' && parts != 3);
    let long = end - header.end > 8;
    (parts >= 2 && long && names_algorithm(text.get(header)?)).then_some(start..end)
}

fn names_algorithm(header: &str) -> bool {
    if header.len() > HEADER_MAX {
        return true;
    }
    let Ok(decoded) = PART.decode(header.trim_end_matches('=')) else { return false };
    let has = |word: &[u8]| decoded.windows(word.len()).any(|window| window == word);
    decoded.first() == Some(&b'{') && (has(b"\"alg\"") || has(b"\"typ\"") || has(b"\"enc\"") || has(b"\"kid\""))
}
