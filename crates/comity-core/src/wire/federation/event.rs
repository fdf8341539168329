//! Events of federated channels in JSON: as an author submits them, and as a hub sends them on. See "Channels" in
//! `protocols/federation.md`. Ids are checked here; signatures are not.

use crate::federation::event::{Form, read_signature};
use crate::federation::heads::Placed;
use crate::federation::{Authored, ChannelId, Event, EventId, Order, Origin};
use crate::id::{NodeId, encode_base64};
use crate::identity::canonical;
use crate::time::Timestamp;
use crate::wire::strict;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::str::FromStr;

/// Largest event, bytes of canonical JSON: what its author says, with `id` and `sig`.
pub const BYTES_MAX: usize = 65_535;

/// Deepest nesting of an event's data, and of any other of its members: with it a transaction is as deep as a document
/// may be.
pub const DATA_DEPTH_MAX: usize = crate::limits::JSON_DEPTH_MAX - 3;

/// Most values in an event that is made or taken here: eight of the densest still are one document
/// ([`strict::VALUES_MAX`]). One that another hub took is read in any case.
pub const VALUES_MAX: usize = strict::VALUES_MAX / 8;

/// Values of an event besides its data, with all that a hub adds.
const VALUES_AROUND: usize = 32;

/// Longest type, bytes.
pub const TYPE_MAX: usize = 128;

/// Longest id of an author that signs no events, bytes.
const OWN_ID_MAX: usize = 128;

/// Above this, numbers are not the same in every reader of JSON, and signatures would not tell them apart.
pub(super) const NUMBER_MAX: u64 = 1 << 53;

/// What an author does not sign: the hub's members, and the names that the original design had.
const UNSIGNED: [&str; 9] =
    ["sig", "seq", "prev_event", "hub_ts", "term", "hub_key_id", "hub_sig", "room", "timestamp"];

/// What an author submits.
#[derive(Debug, Clone, PartialEq)]
pub enum Submitted {
    /// A signed event.
    Signed(Box<Authored>),
    /// An event of the original design, which only the request around it proves.
    Unsigned(Box<Unsigned>),
}

/// An event without a signature.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsigned {
    /// Its author's own id.
    pub id: String,
    /// Where it is said.
    pub channel: ChannelId,
    /// What it is.
    pub kind: String,
    /// Who says it.
    pub origin: Origin,
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub data: Value,
}

/// Why an event cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadEvent {
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: String,
        /// What should be there.
        wanted: &'static str,
    },
    /// It is too large.
    #[error("an event is at most {BYTES_MAX} bytes, and this one has {bytes}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// It has too many values.
    #[error("an event has at most {VALUES_MAX} values, and this one has {values}")]
    TooMany {
        /// How many it has.
        values: usize,
    },
    /// Its id is that of something else.
    #[error("the id is not that of the event: {wanted} would be")]
    Id {
        /// What it would be.
        wanted: EventId,
    },
}

/// Reads what an author submits.
///
/// # Errors
/// [`BadEvent`] names the field.
pub fn read_submitted(value: &Value) -> Result<Submitted, BadEvent> {
    let fields = Fields(value.as_object().ok_or_else(|| field("", "an object"))?);
    check_count(value, 0)?;
    if fields.0.contains_key("sig") {
        fields.authored().map(|authored| Submitted::Signed(Box::new(authored)))
    } else {
        fields.unsigned().map(|unsigned| Submitted::Unsigned(Box::new(unsigned)))
    }
}

/// Reads an event in its place.
///
/// # Errors
/// [`BadEvent`] names the field.
pub fn read(value: &Value) -> Result<Event, BadEvent> {
    let fields = Fields(value.as_object().ok_or_else(|| field("", "an object"))?);
    Ok(Event { authored: fields.authored()?, order: fields.order()? })
}

/// Whose word an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its author.
    pub origin: Origin,
    /// The author's key; `None` where the hub attests it.
    pub key: Option<NodeId>,
    /// When it was said, by the author's clock.
    pub at: Timestamp,
    /// The hub's key.
    pub hub_key: NodeId,
}

/// Reads whose word an event is that was read as a whole, and checked, before it was kept; `None` if it is none.
pub fn read_word(kept: &str) -> Option<Word> {
    #[derive(Deserialize)]
    struct Kept<'a> {
        #[serde(borrow)]
        origin: Cow<'a, str>,
        #[serde(borrow)]
        key_id: Option<Cow<'a, str>>,
        origin_server_ts: u64,
        #[serde(borrow)]
        hub_key_id: Cow<'a, str>,
    }
    let kept: Kept<'_> = serde_json::from_str(kept).ok()?;
    Some(Word {
        origin: kept.origin.parse().ok()?,
        key: kept.key_id.map(|key| key.parse()).transpose().ok()?,
        at: Timestamp::from_millis(kept.origin_server_ts),
        hub_key: kept.hub_key_id.parse().ok()?,
    })
}

/// Reads an event's place, without what it says: its `id` and the hub's members.
///
/// # Errors
/// [`BadEvent`] names the field.
pub fn read_placed(value: &Value) -> Result<Placed, BadEvent> {
    let fields = Fields(value.as_object().ok_or_else(|| field("", "an object"))?);
    Ok(Placed { id: fields.parsed("id", "`evt_` and 32 letters of lower-case base32")?, order: fields.order()? })
}

/// An event's place, as JSON.
pub fn placed_to_value(placed: &Placed) -> Value {
    let text = format!("{{\"id\":\"{}\"{}}}", placed.id, placed.order.text());
    serde_json::from_str(&text).expect("it was written as JSON")
}

/// What an author submits, as JSON: what it signed, and its signature.
pub fn authored_to_text(authored: &Authored) -> String {
    closed(authored, &signature_of(authored))
}

/// An event in its place, as JSON: what its author submitted, and after it what the hub added.
pub fn to_text(event: &Event) -> String {
    closed(&event.authored, &(signature_of(&event.authored) + &event.order.text()))
}

/// What an author submits, as a value.
pub fn authored_to_value(authored: &Authored) -> Value {
    serde_json::from_str(&authored_to_text(authored)).expect("it was written as JSON")
}

/// An event in its place, as a value.
pub fn to_value(event: &Event) -> Value {
    serde_json::from_str(&to_text(event)).expect("it was written as JSON")
}

/// How large an event is, bytes: what its author says, with `id` and `sig`.
pub fn size(authored: &Authored) -> usize {
    authored.signed.len() + signature_of(authored).len()
}

fn signature_of(authored: &Authored) -> String {
    authored.signature.map_or(String::new(), |signature| format!(",\"sig\":\"{}\"", encode_base64(&signature)))
}

/// What an author says, with these members besides.
fn closed(authored: &Authored, more: &str) -> String {
    let said = authored.written.as_deref().unwrap_or(&authored.signed);
    let open = said.strip_suffix('}').unwrap_or(said);
    [open, more, "}"].concat()
}

/// Whether an event can be read by everybody: how large it is, and how deep, and its numbers.
///
/// # Errors
/// [`BadEvent`] names the place.
pub fn check(authored: &Authored) -> Result<(), BadEvent> {
    check_member("data", &authored.data)?;
    check_size(authored)
}

fn check_size(authored: &Authored) -> Result<(), BadEvent> {
    let bytes = size(authored);
    if bytes > BYTES_MAX { Err(BadEvent::TooLarge { bytes }) } else { Ok(()) }
}

/// Whether data can be said in an event.
///
/// # Errors
/// [`BadEvent`] names the place.
pub fn check_data(data: &Value) -> Result<(), BadEvent> {
    check_count(data, VALUES_AROUND)?;
    check_member("data", data)
}

fn check_count(value: &Value, around: usize) -> Result<(), BadEvent> {
    let values = strict::count(value) + around;
    if values > VALUES_MAX { Err(BadEvent::TooMany { values }) } else { Ok(()) }
}

/// Whether a transaction with this member of an event can be read, and says the same to every reader.
fn check_member(name: &str, member: &Value) -> Result<(), BadEvent> {
    let mut pointer = String::new();
    strict::push_step(&mut pointer, name);
    if strict::depth(member) > DATA_DEPTH_MAX {
        return Err(field(&pointer, "a value of at most 29 levels"));
    }
    check_numbers(member, &mut pointer)
}

fn check_numbers(value: &Value, pointer: &mut String) -> Result<(), BadEvent> {
    let begun = pointer.len();
    let mut check = |step: &str, value: &Value| {
        strict::push_step(pointer, step);
        check_numbers(value, pointer)?;
        pointer.truncate(begun);
        Ok(())
    };
    match value {
        Value::Array(items) => items.iter().enumerate().try_for_each(|(at, item)| check(&at.to_string(), item)),
        Value::Object(members) => members.iter().try_for_each(|(name, member)| check(name, member)),
        Value::Number(number) => {
            let exact = match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => number <= NUMBER_MAX,
                (None, Some(number)) => number.unsigned_abs() <= NUMBER_MAX,
                (None, None) => true,
            };
            if exact { Ok(()) } else { Err(field(pointer, "a number up to 2^53, or a string")) }
        }
        _ => Ok(()),
    }
}

fn field(pointer: &str, wanted: &'static str) -> BadEvent {
    BadEvent::Field { pointer: pointer.to_owned(), wanted }
}

struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn authored(&self) -> Result<Authored, BadEvent> {
        let attested = match self.0.get("attested") {
            None | Some(Value::Bool(false)) => None,
            Some(Value::Bool(true)) => Some(self.text("submitted_id", "the id that its author gave it", OWN_ID_MAX)?),
            Some(_) => return Err(field("/attested", "true or false")),
        };
        let author_seq = match attested {
            Some(_) => None,
            None => Some(self.number("author_seq", 1)?),
        };
        let prev_seen = self.0.get("prev_seen").map(|_| self.parsed("prev_seen", "an event's id")).transpose()?;
        // What a hub attests, its author did not sign.
        let (key, signature) = if attested.is_some() {
            match ["sig", "key_id"].into_iter().find(|name| self.0.contains_key(*name)) {
                None => (None, None),
                Some(name) => return Err(field(&format!("/{name}"), "nothing in an attested event")),
            }
        } else {
            let signature = self.text("sig", "64 bytes in base64url", BYTES_MAX)?;
            let signature = read_signature(signature).ok_or_else(|| field("/sig", "64 bytes in base64url"))?;
            (Some(self.node("key_id")?), Some(signature))
        };
        let id = self.parsed("id", "`evt_` and 32 letters of lower-case base32")?;
        let (channel, kind) = (self.channel("channel")?, self.kind()?);
        let (origin, at) = (self.parsed("origin", "an origin")?, self.number("origin_server_ts", 0)?);
        let data = self.0.get("data").ok_or_else(|| field("/data", "what there is to say"))?.clone();
        let members = || self.0.iter().filter(|(name, _)| !UNSIGNED.contains(&name.as_str()));
        members().try_for_each(|(name, member)| check_member(name, member))?;
        let members = members().map(|(name, member)| (name.as_str(), member)).filter(|(name, _)| *name != "id");
        let Form { id: wanted, signed, written } = Form::of(members);
        let authored = Authored {
            id,
            channel,
            kind,
            origin,
            key,
            author_seq,
            at: Timestamp::from_millis(at),
            prev_seen,
            attested: attested.map(str::to_owned),
            signature,
            data,
            signed,
            written,
        };
        check_size(&authored)?;
        if wanted == authored.id { Ok(authored) } else { Err(BadEvent::Id { wanted }) }
    }

    fn unsigned(&self) -> Result<Unsigned, BadEvent> {
        let data = self.0.get("data").cloned().unwrap_or_else(|| Value::Object(Map::new()));
        check_data(&data)?;
        let bytes = canonical::to_vec(&Value::Object(self.0.clone())).len();
        if bytes > BYTES_MAX {
            return Err(BadEvent::TooLarge { bytes });
        }
        let at = match (self.0.get("origin_server_ts"), self.0.get("timestamp")) {
            (Some(_), _) => Timestamp::from_millis(self.number("origin_server_ts", 0)?),
            (None, Some(Value::String(text))) => {
                Timestamp::parse(text).ok_or_else(|| field("/timestamp", "a time (RFC 3339), or Unix milliseconds"))?
            }
            (None, _) => Timestamp::from_millis(self.number("timestamp", 0)?),
        };
        Ok(Unsigned {
            id: self.text("id", "an id of up to 128 bytes", OWN_ID_MAX)?.to_owned(),
            channel: self.channel(if self.0.contains_key("channel") { "channel" } else { "room" })?,
            kind: self.kind()?,
            origin: self.parsed("origin", "an origin")?,
            at,
            data,
        })
    }

    fn order(&self) -> Result<Order, BadEvent> {
        let prev = match self.0.get("prev_event") {
            Some(Value::Null) => None,
            _ => Some(self.parsed("prev_event", "an event's id, or null for the first")?),
        };
        let signature = self.text("hub_sig", "64 bytes in base64url", BYTES_MAX)?;
        Ok(Order {
            seq: self.number("seq", 1)?,
            prev,
            at: Timestamp::from_millis(self.number("hub_ts", 0)?),
            term: self.number("term", 1)?,
            key: self.node("hub_key_id")?,
            signature: read_signature(signature).ok_or_else(|| field("/hub_sig", "64 bytes in base64url"))?,
        })
    }

    fn text(&self, name: &'static str, wanted: &'static str, bytes_max: usize) -> Result<&str, BadEvent> {
        let text = self.0.get(name).and_then(Value::as_str);
        text.filter(|text| (1..=bytes_max).contains(&text.len())).ok_or_else(|| field(&format!("/{name}"), wanted))
    }

    fn parsed<T: FromStr>(&self, name: &'static str, wanted: &'static str) -> Result<T, BadEvent> {
        self.text(name, wanted, BYTES_MAX)?.parse().map_err(|_| field(&format!("/{name}"), wanted))
    }

    fn node(&self, name: &'static str) -> Result<NodeId, BadEvent> {
        self.parsed(name, "`ed25519:` and 32 bytes in base64url")
    }

    fn channel(&self, name: &'static str) -> Result<ChannelId, BadEvent> {
        self.parsed(name, "a channel: !<name>:<origin>")
    }

    fn kind(&self) -> Result<String, BadEvent> {
        let wanted = "a type of 1 to 128 bytes without control characters";
        let kind = self.text("type", wanted, TYPE_MAX)?;
        if kind.chars().any(char::is_control) { Err(field("/type", wanted)) } else { Ok(kind.to_owned()) }
    }

    fn number(&self, name: &'static str, least: u64) -> Result<u64, BadEvent> {
        let wanted = if least == 0 { "a whole number up to 2^53" } else { "a whole number from 1 to 2^53" };
        let number = self.0.get(name).and_then(Value::as_u64).filter(|number| (least..=NUMBER_MAX).contains(number));
        number.ok_or_else(|| field(&format!("/{name}"), wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::event::Draft;
    use crate::identity::key::KeyPair;
    use crate::identity::signature::BadSignature;
    use serde_json::json;

    fn channel() -> ChannelId {
        "!project:alpha.test".parse().expect("a channel")
    }

    fn origin() -> Origin {
        "beta.test".parse().expect("an origin")
    }

    fn draft<'a>(channel: &'a ChannelId, origin: &'a Origin, data: &'a Value) -> Draft<'a> {
        let at = Timestamp::from_millis(1_700_000_000_000);
        Draft { channel, kind: "message", origin, author_seq: Some(1), at, data, prev_seen: None, attested: None }
    }

    fn authored(data: &Value) -> Authored {
        Authored::sign(&KeyPair::from_seed([1; 32]), &draft(&channel(), &origin(), data))
    }

    fn event() -> Event {
        let (authored, hub) = (authored(&json!({"text": "hello", "n": [1, 2.5]})), KeyPair::from_seed([2; 32]));
        let at = Timestamp::from_millis(1_700_000_000_009);
        let order = Order::sign(&hub, (&channel(), authored.id), (7, Some(EventId::from_bytes([9; 20]))), (at, 1));
        Event { authored, order }
    }

    #[test]
    fn an_event_reads_as_it_was_written_by_author_and_hub() {
        let event = event();
        let value = to_value(&event);
        let read = read(&strict::parse(value.to_string().as_bytes()).expect("JSON")).expect("an event");
        assert_eq!(read, event);
        assert_eq!(read.authored.verify(), Ok(()));
        assert_eq!(read.order.verify(&channel(), read.authored.id), Ok(()));
        assert_eq!(read_submitted(&value), Ok(Submitted::Signed(Box::new(event.authored))), "the hub's members aside");
        let first = Order { prev: None, ..event.order };
        assert_eq!(to_value(&Event { order: first, ..read })["prev_event"], Value::Null);
    }

    #[test]
    fn numbers_are_handed_on_as_their_author_wrote_them() {
        let data: Value =
            serde_json::from_str("[1e19, 1e16, 1.0, -1e20, 2.5, 1e300, 0.1, 9007199254740992, 7]").expect("JSON");
        let event = Event { authored: authored(&data), ..event() };
        let text = to_text(&event);
        assert!(text.contains("[1e+19,1e+16,1.0,-1e+20,2.5,1e+300,0.1,9007199254740992,7]"), "{text}");
        let again = read(&strict::parse(text.as_bytes()).expect("JSON"));
        assert_eq!(again.as_ref(), Ok(&event));
        assert_eq!(again.map(|event| event.authored.verify()), Ok(Ok(())));
        assert_eq!(authored(&json!([1, "1e19"])).written, None);
    }

    #[test]
    fn what_a_hub_changes_is_found() {
        let value = to_value(&event());
        for (name, other) in [
            ("data", json!({"text": "hullo"})),
            ("type", json!("massage")),
            ("origin", json!("gamma.test")),
            ("channel", json!("!other:alpha.test")),
            ("author_seq", json!(2)),
            ("origin_server_ts", json!(5)),
            ("more", json!(true)),
        ] {
            let mut changed = value.clone();
            changed[name] = other;
            let Err(BadEvent::Id { wanted }) = read(&changed) else { panic!("{name}") };
            changed["id"] = wanted.to_string().into();
            let changed = read(&changed).expect("an event");
            assert_eq!(changed.authored.verify(), Err(BadSignature::Wrong), "{name}");
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let named = |name: &str, other: Option<Value>| {
            let mut value = to_value(&event());
            let members = value.as_object_mut().expect("an object");
            match other {
                Some(other) => drop(members.insert(name.to_owned(), other)),
                None => drop(members.remove(name)),
            }
            match read(&value) {
                Err(BadEvent::Field { pointer, .. }) => pointer,
                other => panic!("{name}: {other:?}"),
            }
        };
        let all = "id channel type origin key_id author_seq origin_server_ts data sig seq prev_event hub_ts term hub_key_id hub_sig";
        for name in all.split(' ') {
            assert_eq!(named(name, None), format!("/{name}"));
            if name != "data" {
                assert_eq!(named(name, Some(json!(-1))), format!("/{name}"));
            }
        }
        assert_eq!(named("prev_seen", Some(json!("evt_x"))), "/prev_seen");
        assert_eq!(named("attested", Some(json!(1))), "/attested");
        assert_eq!(named("attested", Some(json!(true))), "/submitted_id");
        assert_eq!(named("type", Some(json!("a\nb"))), "/type");
        assert_eq!(named("type", Some(json!("x".repeat(129)))), "/type");
        assert_eq!(named("data", Some(json!({"a": [0, u64::MAX]}))), "/data/a/1");
        assert_eq!(named("more", Some(json!({"a": i64::MIN}))), "/more/a");
        assert_eq!(read(&json!([])), Err(field("", "an object")));
    }

    #[test]
    fn an_event_is_bounded_in_bytes_and_depth() {
        let of = |length: usize| authored(&json!("x".repeat(length)));
        let bare = size(&of(0));
        let read_of = |length: usize| read_submitted(&authored_to_value(&of(length)));
        assert!(read_of(BYTES_MAX - bare).is_ok());
        assert_eq!(read_of(BYTES_MAX - bare + 1), Err(BadEvent::TooLarge { bytes: BYTES_MAX + 1 }));
        let deep = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert!(read_submitted(&authored_to_value(&authored(&deep(DATA_DEPTH_MAX)))).is_ok());
        assert!(read_submitted(&authored_to_value(&authored(&deep(DATA_DEPTH_MAX + 1)))).is_err());
        let transaction = |event| json!({"events": [event]}).to_string();
        assert!(strict::parse(transaction(authored_to_value(&authored(&deep(DATA_DEPTH_MAX)))).as_bytes()).is_ok());
        // A member that nobody knows counts as well: in a shallower document it could still be read.
        let mut unknown = authored_to_value(&authored(&json!(1)));
        unknown["more"] = deep(DATA_DEPTH_MAX + 1);
        assert!(strict::parse(transaction(unknown.clone()).as_bytes()).is_err());
        let Err(BadEvent::Field { pointer, .. }) = read_submitted(&unknown) else { panic!("it is too deep") };
        assert_eq!(pointer, "/more");
    }

    #[test]
    fn what_is_said_has_so_many_values_and_what_a_hub_took_is_read() {
        let dense = |values: usize| json!(vec![0; values - 1]);
        let most = VALUES_MAX - VALUES_AROUND;
        assert_eq!(check_data(&dense(most)), Ok(()));
        assert!(read_submitted(&authored_to_value(&authored(&dense(most)))).is_ok());
        assert_eq!(check_data(&dense(most + 1)), Err(BadEvent::TooMany { values: VALUES_MAX + 1 }));
        let more = Event { authored: authored(&dense(VALUES_MAX)), ..event() };
        assert!(matches!(read_submitted(&to_value(&more)), Err(BadEvent::TooMany { .. })));
        assert!(read(&to_value(&more)).is_ok());
    }

    #[test]
    fn an_event_that_grew_too_large_when_it_was_attested_is_refused() {
        let value = |length: usize| {
            let data = "x".repeat(length);
            json!({"id": "1", "room": "!a:alpha.test", "type": "m", "origin": "beta.test", "timestamp": 1, "data": data})
        };
        let length = BYTES_MAX - canonical::to_vec(&value(0)).len();
        let Ok(Submitted::Unsigned(unsigned)) = read_submitted(&value(length)) else { panic!("it fits as it is") };
        let (origin, data) = (origin(), &unsigned.data);
        let attested = |channel: &ChannelId, data: &Value| {
            let draft = Draft { author_seq: None, attested: Some(&unsigned.id), ..draft(channel, &origin, data) };
            Authored::attest(&draft)
        };
        assert!(matches!(check(&attested(&unsigned.channel, data)), Err(BadEvent::TooLarge { .. })));
        assert_eq!(check(&attested(&unsigned.channel, &json!("x"))), Ok(()));
    }

    #[test]
    fn an_event_of_the_original_design_is_read() {
        let value = json!({
            "id": "evt_1", "room": "!project:alpha.test", "type": "message", "origin": "beta.test",
            "timestamp": "2023-11-14T22:13:20Z", "prev_event": "evt_0", "data": {"text": "hi"},
        });
        let Ok(Submitted::Unsigned(unsigned)) = read_submitted(&value) else { panic!("not read") };
        assert_eq!(
            (unsigned.id.as_str(), &unsigned.channel, unsigned.at.millis()),
            ("evt_1", &channel(), 1_700_000_000_000)
        );
        let (hub, channel, origin) = (KeyPair::from_seed([2; 32]), channel(), origin());
        let draft =
            Draft { author_seq: None, attested: Some(&unsigned.id), ..draft(&channel, &origin, &unsigned.data) };
        let authored = Authored::attest(&draft);
        let order = Order::sign(&hub, (&channel, authored.id), (1, None), (authored.at, 1));
        let event = Event { authored, order };
        let value = to_value(&event);
        assert_eq!(read(&value), Ok(event));
        // Nobody takes the signature off a signed event, nor puts one onto an attested one.
        let mut signed = value;
        signed["sig"] = json!("AA");
        assert!(matches!(read(&signed), Err(BadEvent::Field { pointer, .. }) if pointer == "/sig"));
    }
}
