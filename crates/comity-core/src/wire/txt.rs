//! The TXT record by which a node is found (DNS-SD, RFC 6763), written within its limits and read
//! from anybody. See "Discovery" in `protocols/local-network.md`. All of it is claims.

use crate::id::{NodeId, PeerId};
use crate::limits;
use std::collections::BTreeMap;
use uuid::Uuid;

/// Longest string of the record, bytes: `key=value`.
pub const STRING_MAX: usize = 255;

/// Longest record, bytes: every string and the byte before it that counts it.
pub const RECORD_MAX: usize = 1300;

/// Most strings that are read of a record; RFC 6763 leaves room for no more that matter.
const STRINGS_READ: usize = 64;

/// Longest endpoint kept, bytes.
const ENDPOINT_MAX: usize = 253;

/// What a TXT record says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Txt {
    /// Its peer UUID.
    pub id: Option<PeerId>,
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Where it answers, `http://host:port`.
    pub endpoint: String,
    /// Its key.
    pub key: Option<NodeId>,
    /// What else it wants known.
    pub metadata: BTreeMap<String, String>,
    /// There is more than fitted: to be read from `GET /dashflow/status`.
    pub more: bool,
}

/// The strings of the record, most important first. What does not fit is left out, and `more=1` says so.
pub fn encode(txt: &Txt) -> Vec<(String, String)> {
    let mut record = Record { strings: Vec::new(), room: RECORD_MAX - "more=1".len() - 1, more: txt.more };
    record.put("txtvers", "1");
    if let Some(id) = txt.id {
        record.put("id", &id.to_string());
    }
    if let Some(key) = txt.key {
        record.put("key", &key.to_string());
    }
    record.put("endpoint", &txt.endpoint);
    record.put_cut("name", &txt.name);
    record.put_cut("v", &txt.version);
    let capabilities: Vec<_> = txt.capabilities.iter().map(|name| escape(name, b",%")).collect();
    let capabilities = record.put_list("caps", &capabilities, ",");
    let pair = |(key, value): (&String, &String)| format!("{}:{}", escape(key, b":;%"), escape(value, b":;%"));
    let metadata: Vec<_> = txt.metadata.iter().map(pair).collect();
    record.put_list("meta", &metadata, ";");
    // The long spellings say nothing new: they may be missing.
    let version = record.value_of("v");
    record.put_again("version", version);
    record.put_again("capabilities", capabilities);
    if record.more {
        record.strings.push(("more".to_owned(), "1".to_owned()));
    }
    record.strings
}

/// Reads a record that anybody may have written: of each key the first counts, what cannot be understood is passed
/// over, and what is too long is cut.
pub fn decode<'a>(strings: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Txt {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (key, value) in strings.into_iter().take(STRINGS_READ) {
        let value = String::from_utf8_lossy(&value[..value.len().min(STRING_MAX)]).into_owned();
        found.entry(key.to_ascii_lowercase()).or_insert(value);
    }
    let text = |keys: [&str; 2]| keys.iter().find_map(|key| found.get(*key)).map_or("", String::as_str);
    let list = |text: &str| {
        let names = text.split(',').map(unescape).filter(|name| !name.is_empty());
        names.map(|name| cut(name, limits::PEER_TEXT_MAX)).take(limits::PEER_LIST_MAX).collect()
    };
    Txt {
        id: Uuid::parse_str(text(["id", "id"])).ok().map(PeerId),
        name: cut(text(["name", "name"]).to_owned(), limits::PEER_TEXT_MAX),
        version: cut(text(["v", "version"]).to_owned(), limits::PEER_TEXT_MAX),
        capabilities: list(text(["caps", "capabilities"])),
        endpoint: cut(text(["endpoint", "endpoint"]).to_owned(), ENDPOINT_MAX),
        key: text(["key", "key"]).parse().ok(),
        metadata: pairs(text(["meta", "meta"])),
        more: text(["more", "more"]) == "1",
    }
}

/// `key:value` pairs; a pair without a colon is passed over.
fn pairs(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split(';').filter_map(|pair| pair.split_once(':'));
    let kept = |text: &str| cut(unescape(text), limits::PEER_TEXT_MAX);
    pairs.map(|(key, value)| (kept(key), kept(value))).take(limits::PEER_LIST_MAX).collect()
}

/// A record that is being written.
struct Record {
    strings: Vec<(String, String)>,
    room: usize,
    more: bool,
}

impl Record {
    /// How long a value of this key may still be.
    fn room_for(&self, key: &str) -> usize {
        self.room.saturating_sub(1).min(STRING_MAX).saturating_sub(key.len() + 1)
    }

    fn put(&mut self, key: &str, value: &str) {
        if value.len() > self.room_for(key) || value.is_empty() {
            self.more |= !value.is_empty();
            return;
        }
        self.room -= key.len() + value.len() + 2;
        self.strings.push((key.to_owned(), value.to_owned()));
    }

    /// Puts as much of the text as fits.
    fn put_cut(&mut self, key: &str, value: &str) {
        let end = value.floor_char_boundary(self.room_for(key));
        self.more |= end < value.len();
        self.put(key, &value[..end]);
    }

    /// Puts as many items as fit, and returns the value.
    fn put_list(&mut self, key: &str, items: &[String], separator: &str) -> String {
        let mut value = String::new();
        for item in items {
            let between = if value.is_empty() { "" } else { separator };
            if value.len() + between.len() + item.len() > self.room_for(key) {
                self.more = true;
                continue;
            }
            value.push_str(between);
            value.push_str(item);
        }
        self.put(key, &value);
        value
    }

    /// Puts what another key already says, if there is room.
    fn put_again(&mut self, key: &str, value: String) {
        if value.len() <= self.room_for(key) {
            self.put(key, &value);
        }
    }

    fn value_of(&self, key: &str) -> String {
        self.strings.iter().find(|(name, _)| name == key).map(|(_, value)| value.clone()).unwrap_or_default()
    }
}

/// The text with these ASCII characters percent-encoded.
fn escape(text: &str, special: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) if special.contains(&byte) => out.push_str(&format!("%{byte:02X}")),
            _ => out.push(c),
        }
    }
    out
}

/// The text with percent-encoding undone; a `%` that encodes nothing stays.
fn unescape(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |at: usize| bytes.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn cut(mut text: String, most: usize) -> String {
    text.truncate(text.floor_char_boundary(most));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::key::KeyPair;

    fn txt() -> Txt {
        let key = KeyPair::from_seed([5; 32]);
        Txt {
            id: Some(key.peer()),
            name: "Ann".to_owned(),
            version: "1.2.3".to_owned(),
            capabilities: vec!["a,b".to_owned(), "100%".to_owned(), "é;:".to_owned()],
            endpoint: "http://192.168.1.5:8400".to_owned(),
            key: Some(key.node()),
            metadata: BTreeMap::from([("k;1".to_owned(), "v:1%".to_owned())]),
            more: false,
        }
    }

    fn read(strings: &[(String, String)]) -> Txt {
        decode(strings.iter().map(|(key, value)| (key.as_str(), value.as_bytes())))
    }

    fn size(strings: &[(String, String)]) -> usize {
        strings.iter().map(|(key, value)| key.len() + value.len() + 2).sum()
    }

    #[test]
    fn a_record_reads_as_it_was_written_in_both_spellings() {
        let strings = encode(&txt());
        assert_eq!(read(&strings), txt());
        let value = |key: &str| strings.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
        assert_eq!(value("txtvers"), Some("1"));
        assert_eq!(value("caps"), Some("a%2Cb,100%25,é;:"));
        assert_eq!(value("caps"), value("capabilities"));
        assert_eq!(value("v"), value("version"));
        let long: Vec<_> = strings.into_iter().filter(|(key, _)| key != "v" && key != "caps").collect();
        assert_eq!(read(&long), txt());
    }

    #[test]
    fn what_does_not_fit_is_left_out_and_said() {
        let mut large = txt();
        large.name = "é".repeat(200);
        large.capabilities = (0..100).map(|number| format!("capability-{number}")).collect();
        large.metadata = (0..100).map(|number| (format!("key-{number}"), "value".repeat(5))).collect();
        let strings = encode(&large);
        assert!(size(&strings) <= RECORD_MAX);
        assert!(strings.iter().all(|(key, value)| key.len() + value.len() < STRING_MAX));
        let back = read(&strings);
        assert!(back.more && back.id == large.id && back.key == large.key && back.endpoint == large.endpoint);
        assert!(!back.capabilities.is_empty() && large.capabilities.starts_with(&back.capabilities));
        let more = encode(&Txt { more: true, ..txt() });
        assert!(read(&more).more);
    }

    #[test]
    fn hostile_bytes_read_as_something_bounded() {
        let huge = vec![0xff; 70_000];
        let strings: [(&str, &[u8]); 8] = [
            ("id", b"not a uuid"),
            ("KEY", b"ed25519:AAAA"),
            ("name", &huge),
            ("caps", b",,%,%2,%zz,%FF,\x00\x1b[31m"),
            ("meta", b":;a;b:c:d;"),
            ("endpoint", b"javascript:alert(1)"),
            ("more", b"yes"),
            ("name", b"second"),
        ];
        let read = decode(strings);
        assert_eq!((read.id, read.key, read.more), (None, None, false));
        assert!(read.name.len() <= limits::PEER_TEXT_MAX && read.name != "second");
        assert_eq!(read.capabilities[..4], ["%", "%2", "%zz", "\u{fffd}"]);
        assert_eq!(read.metadata.get("b").map(String::as_str), Some("c:d"));
        assert_eq!(decode([]), Txt::default());
    }
}
