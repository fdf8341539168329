//! Bodies by which knowledge is shared, asked for and pulled, and their answers. What of an entry is signed is said in
//! `knowledge.rs`; no signature is checked here. See the rows of knowledge in `protocols/mesh.md`.
//!
//! Beyond `protocols/mesh.md`: entries in answers say `source_node`, the node that signed them, and a page of entries
//! ends with `next_cursor`, as one of `sync` does.

use super::reading::{BadBody, Fields, Items, Listed, text, vector};
use crate::id::encode_base64;
use crate::knowledge::{About, Created, Knowledge, LIMIT, LIMIT_MAX, Request, widened};
use crate::registry::profile::{DIMENSIONS_MAX, NodeName};
use serde_json::{Value, json};

/// Entries in a page where nobody says how many.
pub const BATCH_SIZE: usize = 100;

/// Largest answer that is written, bytes; what does not fit comes in the next page.
pub const PAGE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Longest cursor, bytes.
pub const CURSOR_MAX: usize = 256;

/// The paths by which knowledge is passed on.
pub mod path {
    /// `POST`: an entry.
    pub const SHARE: &str = "/mesh/knowledge/share";
    /// `POST`: a request.
    pub const REQUEST: &str = "/mesh/knowledge/request";
    /// `GET ?cursor=&batch_size=`: a page.
    pub const REPLICATE: &str = "/mesh/knowledge/replicate";
}

/// An entry, and who says it.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed {
    /// The entry.
    pub entry: Knowledge,
    /// The node that signed it; who shares an entry of its own need not say.
    pub source_node: Option<NodeName>,
    /// Its signature.
    pub signature: [u8; 64],
}

/// Which part of what a node knows is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// After where the last page ended; what it says is the business of who gave it.
    pub cursor: Option<String>,
    /// At most so many entries.
    pub size: usize,
}

/// A page of what a node knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Pulled {
    /// The entries.
    pub entries: Items<Signed>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// An answer that is being written: entry by entry, until it is full.
#[derive(Debug)]
pub struct Writing {
    out: Vec<u8>,
    count: usize,
}

impl Signed {
    /// Reads an entry that is shared; it is within all bounds.
    ///
    /// # Errors
    /// [`BadBody`] names the field.
    pub fn read(text: &[u8]) -> Result<Self, BadBody> {
        Self::of(&Fields::read(text)?)
    }

    /// The entry as it is shared.
    pub fn write(&self) -> Vec<u8> {
        self.to_value().to_string().into_bytes()
    }

    /// The entry as JSON: its members, `sig`, and `source_node` if that is said.
    pub fn to_value(&self) -> Value {
        let mut value = self.entry.to_value();
        value["sig"] = encode_base64(&self.signature).into();
        if let Some(node) = &self.source_node {
            value["source_node"] = node.as_str().into();
        }
        value
    }

    fn of(fields: &Fields) -> Result<Self, BadBody> {
        let entry = Knowledge {
            id: fields.must("id", "a text", text)?,
            topic: fields.must("topic", "a text", text)?,
            topic_basin: fields.maybe("topic_basin", VECTOR, doubles)?,
            content: fields.must("content", "a text", text)?,
            source: fields.maybe("source", "a text", text)?,
            confidence: fields.must("confidence", "a number from 0 to 1", Value::as_f64)?,
            created: fields.must("created", "a time (RFC 3339)", |value| Created::read(value.as_str()?))?,
        };
        entry.bounded()?;
        let source_node = fields.maybe("source_node", "a node's name", |value| NodeName::new(value.as_str()?).ok())?;
        Ok(Self { entry, source_node, signature: fields.signature("sig")? })
    }
}

/// The answer to who shares an entry.
pub fn write_shared() -> Vec<u8> {
    json!({"ok": true}).to_string().into_bytes()
}

/// Reads the answer to an entry that was shared: whether it was taken.
///
/// # Errors
/// [`BadBody`] names the field.
pub fn read_shared(text: &[u8]) -> Result<bool, BadBody> {
    Ok(Fields::read(text)?.maybe("ok", "true or false", Value::as_bool)?.unwrap_or(true))
}

/// A request as it is sent.
pub fn write_request(request: &Request) -> Vec<u8> {
    let mut value = json!({"limit": request.limit});
    match &request.about {
        About::Topic(topic) => value["topic"] = topic.as_str().into(),
        About::Basin(basin) => value["topic_basin"] = widened(basin).into(),
    }
    if let Some(min) = request.min_confidence {
        value["min_confidence"] = min.into();
    }
    value.to_string().into_bytes()
}

/// Reads a request.
///
/// # Errors
/// [`BadBody`] names the field.
pub fn read_request(text: &[u8]) -> Result<Request, BadBody> {
    let fields = Fields::read(text)?;
    let is_topic = |topic: &str| !topic.is_empty() && topic.chars().count() <= crate::knowledge::TOPIC_MAX;
    let topic =
        fields.maybe("topic", "1 to 256 characters", |value| self::text(value).filter(|topic| is_topic(topic)))?;
    let is_basin = |basin: &Vec<f32>| basin.iter().any(|number| *number != 0.0);
    let basin = fields.maybe("topic_basin", VECTOR, |value| vector(value).filter(is_basin))?;
    let about = match (topic, basin) {
        (Some(topic), None) => About::Topic(topic),
        (None, Some(basin)) => About::Basin(basin),
        (None, None) => return Err(fields.bad("topic", "a topic or a topic_basin")),
        (Some(_), Some(_)) => return Err(fields.bad("topic", "either a topic or a topic_basin")),
    };
    let limit = fields.maybe("limit", LIMITED, |value| limited(value.as_u64()?))?;
    let is_share = |share: &f64| (0.0..=1.0).contains(share);
    let min_confidence =
        fields.maybe("min_confidence", "a number from 0 to 1", |value| value.as_f64().filter(is_share))?;
    Ok(Request { about, limit: limit.unwrap_or(LIMIT), min_confidence })
}

/// Reads the answer to a request.
///
/// # Errors
/// [`BadBody`] where it is no list, or too long.
pub fn read_found(text: &[u8]) -> Result<Items<Signed>, BadBody> {
    Ok(Listed::read(text, LIST, LIMIT_MAX)?.items(Signed::of))
}

impl Batch {
    /// Reads which part is wanted: without a size, [`BATCH_SIZE`] entries.
    ///
    /// # Errors
    /// [`BadBody`] names the parameter.
    pub fn read(cursor: Option<&str>, batch_size: Option<&str>) -> Result<Self, BadBody> {
        let bad = |pointer: &str, wanted| BadBody::Field { pointer: pointer.to_owned(), wanted };
        let size = batch_size.map_or(Some(BATCH_SIZE), |size| limited(size.parse().ok()?));
        let size = size.ok_or_else(|| bad("/batch_size", LIMITED))?;
        match cursor.filter(|cursor| !cursor.is_empty()) {
            Some(cursor) if cursor.len() > CURSOR_MAX => Err(bad("/cursor", CURSOR)),
            cursor => Ok(Self { cursor: cursor.map(str::to_owned), size }),
        }
    }
}

/// Reads a page of what a node knows.
///
/// # Errors
/// [`BadBody`] where it is no list, too long, or says no cursor as it should.
pub fn read_pulled(text: &[u8]) -> Result<Pulled, BadBody> {
    let listed = Listed::read(text, LIST, LIMIT_MAX)?;
    let is_short = |cursor: &String| cursor.len() <= CURSOR_MAX;
    let next_cursor = listed.fields.maybe("next_cursor", CURSOR, |value| self::text(value).filter(is_short))?;
    Ok(Pulled { entries: listed.items(Signed::of), next_cursor })
}

impl Default for Writing {
    fn default() -> Self {
        Self { out: format!("{{\"{LIST}\":[").into_bytes(), count: 0 }
    }
}

impl Writing {
    /// Appends an entry, if there is room; the first always has.
    pub fn push(&mut self, signed: &Signed) -> bool {
        let entry = signed.write();
        if self.count > 0 && (self.count >= LIMIT_MAX || self.out.len() + entry.len() > PAGE_BYTES_MAX) {
            return false;
        }
        if self.count > 0 {
            self.out.push(b',');
        }
        self.out.extend_from_slice(&entry);
        self.count += 1;
        true
    }

    /// The answer to a request.
    pub fn found(mut self) -> Vec<u8> {
        self.out.extend_from_slice(b"]}");
        self.out
    }

    /// A page, and where the next one begins.
    pub fn pulled(mut self, next_cursor: &str) -> Vec<u8> {
        self.out.extend_from_slice(format!("],\"next_cursor\":{}}}", json!(next_cursor)).as_bytes());
        self.out
    }
}

const LIST: &str = "knowledge";
const VECTOR: &str = "a list of 1 to 4096 finite numbers that are not all 0";
const LIMITED: &str = "a number from 1 to 1000";
const CURSOR: &str = "a cursor of at most 256 bytes";
const _: () = assert!(DIMENSIONS_MAX == 4096 && LIMIT_MAX == 1000 && CURSOR_MAX == 256, "as the errors say");

fn limited(limit: u64) -> Option<usize> {
    usize::try_from(limit).ok().filter(|limit| (1..=LIMIT_MAX).contains(limit))
}

fn doubles(value: &Value) -> Option<Vec<f64>> {
    let numbers = value.as_array().filter(|numbers| numbers.len() <= DIMENSIONS_MAX)?;
    numbers.iter().map(Value::as_f64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::key::KeyPair;
    use crate::wire::strict::BadJsonReason;

    fn signed() -> Signed {
        let entry = Knowledge {
            id: "k-1".to_owned(),
            topic: "weather".to_owned(),
            topic_basin: Some(widened(&[0.1, -1.5e-7])),
            content: "é\u{0}\n\"".to_owned(),
            source: Some("https://a.test".to_owned()),
            confidence: 0.75,
            created: Created::read("2026-06-21T02:00:00.1234567+02:00").unwrap(),
        };
        let key = KeyPair::from_seed([1; 32]);
        Signed { signature: entry.sign("a", &key), entry, source_node: NodeName::new("a").ok() }
    }

    fn pointer(result: Result<impl std::fmt::Debug, BadBody>) -> String {
        match result.unwrap_err() {
            BadBody::Field { pointer, .. } => pointer,
            other => other.to_string().split(':').next().unwrap().to_owned(),
        }
    }

    #[test]
    fn an_entry_reads_as_it_was_written_and_its_signature_holds() {
        let read = Signed::read(&signed().write()).unwrap();
        assert_eq!(read, signed());
        let key = KeyPair::from_seed([1; 32]).node();
        assert_eq!(read.entry.check("a", &key, &read.signature), Ok(()));
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_named() {
        for (name, value, wanted) in [
            ("id", json!(7), "/id"),
            ("topic", json!(null), "/topic"),
            ("content", json!({}), "/content"),
            ("content", json!("x".repeat(64 * 1024 + 1)), "content"),
            ("confidence", json!("1"), "/confidence"),
            ("confidence", json!(2), "confidence"),
            ("topic_basin", json!(["1"]), "/topic_basin"),
            ("topic_basin", json!(vec![1; 4097]), "/topic_basin"),
            ("topic_basin", json!([]), "topic_basin"),
            ("created", json!("now"), "/created"),
            ("source_node", json!(""), "/source_node"),
            ("sig", json!("AAAA"), "/sig"),
        ] {
            let mut entry = signed().to_value();
            entry[name] = value;
            assert_eq!(pointer(Signed::read(entry.to_string().as_bytes())), wanted);
        }
        assert_eq!(pointer(Signed::read(b"[]")), "");
        assert!(matches!(Signed::read(b"{\"id\":1,\"id\":1}"), Err(BadBody::Json(_))));
    }

    #[test]
    fn a_request_reads_as_it_was_written_and_is_about_one_thing() {
        let requests = [
            Request { about: About::Topic("a".to_owned()), limit: 1000, min_confidence: Some(0.5) },
            Request { about: About::Basin(vec![0.1, -3.0]), limit: 1, min_confidence: None },
        ];
        for request in requests {
            assert_eq!(read_request(&write_request(&request)).as_ref(), Ok(&request));
        }
        let least = read_request(b"{\"topic\":\"a\"}").unwrap();
        assert_eq!((least.limit, least.min_confidence), (LIMIT, None));
        for (body, wanted) in [
            ("{}", "/topic"),
            (r#"{"topic":"a","topic_basin":[1]}"#, "/topic"),
            (r#"{"topic":""}"#, "/topic"),
            (r#"{"topic_basin":[0]}"#, "/topic_basin"),
            (r#"{"topic_basin":[1e39]}"#, "/topic_basin"),
            (r#"{"topic":"a","limit":0}"#, "/limit"),
            (r#"{"topic":"a","limit":1001}"#, "/limit"),
            (r#"{"topic":"a","min_confidence":1.5}"#, "/min_confidence"),
        ] {
            assert_eq!(pointer(read_request(body.as_bytes())), wanted, "{body}");
        }
    }

    #[test]
    fn a_page_is_full_when_it_is_and_what_is_in_it_reads_as_it_was_written() {
        let mut large = signed();
        large.entry.content = "x".repeat(64 * 1024);
        let mut writing = Writing::default();
        let count = (0..1000).take_while(|_| writing.push(&large)).count();
        assert!((100..128).contains(&count), "{count}");
        let page = writing.pulled("c\"1");
        assert!(page.len() <= PAGE_BYTES_MAX + CURSOR_MAX);
        let read = read_pulled(&page).unwrap();
        assert_eq!((read.entries.items.len(), read.next_cursor.as_deref()), (count, Some("c\"1")));
        assert!(read.entries.items.iter().all(|entry| *entry == large));
        let mut writing = Writing::default();
        assert_eq!((0..2000).take_while(|_| writing.push(&signed())).count(), LIMIT_MAX);
        assert_eq!(read_found(&writing.found()).unwrap().items.len(), LIMIT_MAX);
        assert_eq!(read_found(&Writing::default().found()).unwrap().items, []);
    }

    #[test]
    fn an_entry_that_cannot_be_read_does_not_spoil_the_others() {
        let mut bad = signed().to_value();
        bad["confidence"] = json!(-1);
        let page = json!({"knowledge": [signed().to_value(), {"id": 1}, bad, 7], "next_cursor": null});
        let read = read_pulled(page.to_string().as_bytes()).unwrap();
        assert_eq!((read.entries.items, read.entries.refused), (vec![signed()], 3));
        let first = read.entries.first_refused.unwrap();
        assert_eq!(pointer(Err::<(), _>(first)), "/knowledge/1/id");
    }

    #[test]
    fn a_batch_is_bounded() {
        assert_eq!(Batch::read(None, None), Ok(Batch { cursor: None, size: BATCH_SIZE }));
        assert_eq!(Batch::read(Some("c"), Some("1000")), Ok(Batch { cursor: Some("c".to_owned()), size: 1000 }));
        for size in ["0", "1001", "-1", "x", ""] {
            assert_eq!(pointer(Batch::read(None, Some(size))), "/batch_size");
        }
        assert_eq!(pointer(Batch::read(Some(&"c".repeat(257)), None)), "/cursor");
    }

    #[test]
    fn answers_of_a_hostile_node_are_refused_before_they_take_memory() {
        let many = format!("{{\"knowledge\":[{}0]}}", "0,".repeat(LIMIT_MAX));
        assert_eq!(read_found(many.as_bytes()), Err(BadBody::TooMany { list: "knowledge", most: LIMIT_MAX }));
        let huge = vec![b' '; super::super::reading::ANSWER_BYTES_MAX + 1];
        assert_eq!(read_found(&huge), Err(BadBody::TooLarge));
        let deep = format!("{{\"knowledge\":[{}{}]}}", "[".repeat(100_000), "]".repeat(100_000));
        let read = read_found(deep.as_bytes()).unwrap();
        assert_eq!((read.items.len(), read.refused), (0, 1));
        let aside = format!("{{\"more\":[{}0],\"knowledge\":[]}}", "0,".repeat(50_000));
        assert_eq!(pointer(read_found(aside.as_bytes())), "/more");
        for bad in ["", "{", "7", "\"x\"", "{\"knowledge\":7}", "{\"knowledge\":[]}x", "{\"knowledge\":[,]}"] {
            assert!(matches!(read_found(bad.as_bytes()), Err(BadBody::Json(_))), "{bad}");
        }
        let twice = read_found(b"{\"knowledge\":[],\"knowledge\":[]}");
        let Err(BadBody::Json(bad)) = twice else { panic!("{twice:?}") };
        assert_eq!((bad.pointer.as_str(), bad.reason), ("/knowledge", BadJsonReason::DuplicateKey));
        assert!(read_found(b"{\"knowledge\":[\"\xff\"]}").is_err() || read_found(b"[\"\xff\"]").is_err());
    }
}
