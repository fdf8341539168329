//! TXT records: strings of any bytes, counted as on the wire; whatever is read must be written
//! within the limits.
#![no_main]

use comity_core::wire::txt;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let mut strings = Vec::new();
    let mut rest = record;
    while let Some((length, after)) = rest.split_first() {
        let (string, after) = after.split_at(usize::from(*length).min(after.len()));
        rest = after;
        let key = string.split(|byte| *byte == b'=').next().unwrap_or_default();
        if let Ok(name) = std::str::from_utf8(key) {
            strings.push((name, string.get(key.len() + 1..).unwrap_or_default()));
        }
    }
    let read = txt::decode(strings);
    let written = txt::encode(&read);
    let sizes: Vec<usize> = written.iter().map(|(key, value)| key.len() + 1 + value.len()).collect();
    assert!(sizes.iter().all(|size| *size <= txt::STRING_MAX));
    assert!(sizes.iter().map(|size| size + 1).sum::<usize>() <= txt::RECORD_MAX);
    let again = txt::decode(written.iter().map(|(key, value)| (key.as_str(), value.as_bytes())));
    assert_eq!((again.id, again.key), (read.id, read.key));
});
