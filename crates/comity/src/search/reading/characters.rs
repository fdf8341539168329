//! Bytes read as characters: UTF-8, UTF-16 with its mark, and Windows-1252 (which Latin-1 text is)
//! where neither fits. It does not tell other encodings of one byte apart.

use std::borrow::Cow;

/// How far a NUL byte is looked for, bytes: formats that are no text have one near their beginning.
const NUL_WITHIN: usize = 64 << 10;

/// Of a text, at most one byte in so many is explained by no encoding: text in Latin-1 has an
/// accent in about one letter of thirty, text in KOI8 or Shift-JIS in most.
const ODD_ONE_IN: usize = 8;

/// The text that these bytes are; `None` when they are none that we know.
pub(super) fn decoded(bytes: &[u8]) -> Option<Cow<'_, str>> {
    match bytes {
        [0xef, 0xbb, 0xbf, rest @ ..] => return decoded(rest),
        [0xff, 0xfe, rest @ ..] => return utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => return utf16(rest, u16::from_be_bytes),
        _ => {}
    }
    let beginning = &bytes[..bytes.len().min(NUL_WITHIN)];
    if beginning.contains(&0) || too_many(beginning.iter().filter(|b| is_odd_control(**b)).count(), beginning.len()) {
        return None;
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Some(Cow::Borrowed(text));
    }
    let (mut sequences, mut odd) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        sequences += chunk.valid().chars().filter(|c| !c.is_ascii()).count();
        odd += chunk.invalid().len();
    }
    if too_many(odd, bytes.len()) {
        return None;
    }
    // Where most of what is not ASCII is good UTF-8, the rest is damage, not another encoding.
    let text = if sequences > odd {
        String::from_utf8_lossy(bytes).into_owned()
    } else {
        bytes.iter().map(|byte| windows_1252(*byte)).collect()
    };
    Some(Cow::Owned(text))
}

/// Text in the encoding that PDFs and old programs of the West share, for all but rare characters.
pub(super) fn western(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| windows_1252(*byte)).collect()
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<Cow<'static, str>> {
    let (units, _) = bytes.as_chunks::<2>();
    let read = char::decode_utf16(units.iter().map(|two| unit(*two)));
    let text: String = read.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    let odd = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER || *c == '\0').count();
    (!too_many(odd, units.len())).then_some(Cow::Owned(text))
}

const fn too_many(odd: usize, of: usize) -> bool {
    odd * ODD_ONE_IN > of
}

const fn is_odd_control(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x08 | 0x0c | 0x1b)
}

fn windows_1252(byte: u8) -> char {
    /// What the bytes from 0x80 to 0x9f are; those that are nothing are U+FFFD.
    const UPPER: [char; 32] = [
        '€', '\u{fffd}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{fffd}', 'Ž', '\u{fffd}',
        '\u{fffd}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{fffd}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => UPPER[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}
