//! A card as JSON, signed. See "Card" in `protocols/identity.md`. That a card is genuine says who
//! wrote it, never who answers at an address.

use crate::card::{Card, LIFETIME_MAX};
use crate::id::{NodeId, decode_base64, encode_base64};
use crate::identity::canonical;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::limits;
use crate::time::Timestamp;
use crate::wire::strict;
use serde_json::{Map, Value};
use std::time::Duration;

/// Largest card, bytes of its canonical form.
pub const CARD_MAX: usize = 16 * 1024;

/// How far ahead of this node's clock a card may have been written.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// Why a card was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCard {
    /// A field is missing or has another type or form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// It is larger than [`CARD_MAX`], or nested too deeply.
    #[error("the card is larger than {CARD_MAX} bytes or nested too deeply")]
    TooLarge,
    /// The signature does not count.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// It would be valid for longer than a day, or ends before it begins.
    #[error("a card is valid for at most a day")]
    Lifetime,
    /// It is no longer valid.
    #[error("the card has expired")]
    Expired,
    /// It was written in the future.
    #[error("the card was written in the future")]
    FromTheFuture,
}

/// The card without a signature. What is absent is left out.
pub fn to_value(card: &Card) -> Value {
    let mut members = Map::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    if let Some(node) = card.node {
        put("node", node.to_string().into());
    }
    for (name, text) in
        [("name", &card.name), ("service", &card.service), ("version", &card.version), ("protocol", &card.protocol)]
    {
        put(name, text.clone().into());
    }
    for (name, texts) in [
        ("capabilities", &card.capabilities),
        ("roles", &card.roles),
        ("expertise", &card.expertise),
        ("reports_to", &card.reports_to),
        ("protocols", &card.protocols),
        ("endpoints", &card.endpoints),
    ] {
        put(name, texts.clone().into());
    }
    if let Some(origin) = &card.origin {
        put("origin", origin.clone().into());
    }
    for (name, time) in
        [("started_at", card.started_at), ("issued_at", card.issued_at), ("expires_at", card.expires_at)]
    {
        put(name, time.to_string().into());
    }
    if let Some(detail) = &card.detail {
        put("detail", detail.clone().into());
    }
    Value::Object(members)
}

/// The card of this key, signed.
pub fn sign(card: &Card, key: &KeyPair) -> Value {
    let mut value = to_value(&Card { node: Some(key.node()), ..card.clone() });
    let signature = signature::sign(key, Context::Card, &value);
    value["sig"] = encode_base64(&signature).into();
    value
}

/// The card, if its own key signed it and it is valid now. Texts and lists that are too long are cut to what is kept of
/// a peer; fields of later versions count for the signature and are otherwise passed over.
pub fn verify(value: &Value, now: Timestamp) -> Result<Card, BadCard> {
    if strict::depth(value) > limits::JSON_DEPTH_MAX {
        return Err(BadCard::TooLarge);
    }
    let mut unsigned = value.clone();
    let wanted = BadCard::Field { pointer: "/sig", wanted: "64 bytes in base64url" };
    let signature = unsigned.as_object_mut().and_then(|members| members.shift_remove("sig")).ok_or(wanted)?;
    let signature = signature.as_str().and_then(decode_base64).and_then(|bytes| bytes.try_into().ok()).ok_or(wanted)?;
    let covered = canonical::to_vec(&unsigned);
    if covered.len() > CARD_MAX {
        return Err(BadCard::TooLarge);
    }
    let fields = Fields(&unsigned);
    let node = fields.node()?;
    signature::verify_bytes(&node, Context::Card, &covered, &signature)?;
    let card = fields.card(node)?;
    if card.expires_at < card.issued_at || card.expires_at.since(card.issued_at) > LIFETIME_MAX {
        return Err(BadCard::Lifetime);
    }
    if card.issued_at > now + AHEAD_MAX {
        return Err(BadCard::FromTheFuture);
    }
    if card.expires_at <= now { Err(BadCard::Expired) } else { Ok(card) }
}

/// The members of a card that is being read.
struct Fields<'a>(&'a Value);

impl Fields<'_> {
    fn card(&self, node: NodeId) -> Result<Card, BadCard> {
        Ok(Card {
            node: Some(node),
            name: self.text("/name")?,
            service: self.text("/service")?,
            version: self.text("/version")?,
            protocol: self.text("/protocol")?,
            capabilities: self.texts("/capabilities")?,
            roles: self.texts("/roles")?,
            expertise: self.texts("/expertise")?,
            reports_to: self.texts("/reports_to")?,
            protocols: self.texts("/protocols")?,
            endpoints: self.texts("/endpoints")?,
            origin: self.at("/origin").map(|_| self.text("/origin")).transpose()?,
            started_at: self.time("/started_at")?,
            issued_at: self.time("/issued_at")?,
            expires_at: self.time("/expires_at")?,
            detail: self.detail()?,
        })
    }

    fn at(&self, pointer: &'static str) -> Option<&Value> {
        self.0.pointer(pointer)
    }

    fn node(&self) -> Result<NodeId, BadCard> {
        let node = self.at("/node").and_then(Value::as_str).and_then(|text| text.parse().ok());
        node.ok_or(BadCard::Field { pointer: "/node", wanted: "`ed25519:` and 32 bytes in base64url" })
    }

    fn text(&self, pointer: &'static str) -> Result<String, BadCard> {
        let text = self.at(pointer).and_then(Value::as_str);
        text.map(kept).ok_or(BadCard::Field { pointer, wanted: "a string" })
    }

    fn texts(&self, pointer: &'static str) -> Result<Vec<String>, BadCard> {
        let wanted = BadCard::Field { pointer, wanted: "a list of strings" };
        let items = self.at(pointer).and_then(Value::as_array).ok_or(wanted)?;
        let texts = items.iter().map(|item| item.as_str().map(kept).ok_or(wanted));
        texts.take(limits::PEER_LIST_MAX).collect()
    }

    fn time(&self, pointer: &'static str) -> Result<Timestamp, BadCard> {
        let time = self.at(pointer).and_then(Value::as_str).and_then(Timestamp::parse);
        time.ok_or(BadCard::Field { pointer, wanted: "an RFC 3339 time" })
    }

    fn detail(&self) -> Result<Option<Map<String, Value>>, BadCard> {
        let wanted = BadCard::Field { pointer: "/detail", wanted: "an object" };
        self.at("/detail").map(|detail| detail.as_object().cloned().ok_or(wanted)).transpose()
    }
}

/// As much of a text as is kept of a peer.
fn kept(text: &str) -> String {
    text[..text.floor_char_boundary(limits::PEER_TEXT_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn card(now: Timestamp) -> Card {
        Card {
            name: "Ann".to_owned(),
            version: "1.2.3".to_owned(),
            protocol: "1.0.0".to_owned(),
            capabilities: vec!["search".to_owned()],
            issued_at: now,
            expires_at: now + LIFETIME_MAX,
            detail: Some(Map::from_iter([("room".to_owned(), json!(7))])),
            ..Card::default()
        }
    }

    fn now() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    #[test]
    fn a_signed_card_reads_as_it_was_written() {
        let key = KeyPair::from_seed([3; 32]);
        let value = sign(&card(now()), &key);
        let read = verify(&value, now()).expect("good");
        assert_eq!(read, Card { node: Some(key.node()), ..card(now()) });
    }

    #[test]
    fn whoever_changes_a_card_breaks_it() {
        let key = KeyPair::from_seed([3; 32]);
        let good = sign(&card(now()), &key);
        let wrong = Err(BadCard::Signature(BadSignature::Wrong));
        for (field, change) in [("name", json!("Bob")), ("detail", json!({})), ("later", json!(1))] {
            let mut value = good.clone();
            value[field] = change;
            assert_eq!(verify(&value, now()), wrong);
        }
        let mut value = good;
        value["node"] = KeyPair::from_seed([4; 32]).node().to_string().into();
        assert_eq!(verify(&value, now()), wrong);
    }

    #[test]
    fn fields_of_a_later_version_are_passed_over_when_they_are_signed() {
        let key = KeyPair::from_seed([3; 32]);
        let mut value = to_value(&Card { node: Some(key.node()), ..card(now()) });
        value["later"] = json!([1, 2]);
        value["sig"] = encode_base64(&signature::sign(&key, Context::Card, &value)).into();
        assert!(verify(&value, now()).is_ok());
    }

    #[test]
    fn a_card_is_valid_for_a_day_at_most_and_not_before_or_after() {
        let key = KeyPair::from_seed([3; 32]);
        let judged = |change: fn(&mut Card), at: Timestamp| {
            let mut card = card(now());
            change(&mut card);
            verify(&sign(&card, &key), at).map(drop)
        };
        let day = LIFETIME_MAX;
        let second = Duration::from_secs(1);
        assert_eq!(judged(|_| (), now() + (day - second)), Ok(()));
        assert_eq!(judged(|_| (), now() + day), Err(BadCard::Expired));
        assert_eq!(judged(|_| (), now() - Duration::from_secs(60)), Ok(()));
        assert_eq!(judged(|_| (), now() - Duration::from_secs(61)), Err(BadCard::FromTheFuture));
        let longer: fn(&mut Card) = |card| card.expires_at = card.expires_at + Duration::from_millis(1);
        assert_eq!(judged(longer, now()), Err(BadCard::Lifetime));
        let backwards: fn(&mut Card) = |card| card.expires_at = card.issued_at - Duration::from_millis(1);
        assert_eq!(judged(backwards, now()), Err(BadCard::Lifetime));
    }

    #[test]
    fn hostile_cards_are_refused_or_cut() {
        let key = KeyPair::from_seed([3; 32]);
        let mut large = card(now());
        large.name = "é".repeat(200);
        large.capabilities = vec!["c".repeat(200); 40];
        let read = verify(&sign(&large, &key), now()).expect("cut");
        assert_eq!((read.name.len(), read.capabilities.len()), (128, limits::PEER_LIST_MAX));
        large.detail = Some(Map::from_iter([("x".to_owned(), json!("y".repeat(CARD_MAX)))]));
        assert_eq!(verify(&sign(&large, &key), now()), Err(BadCard::TooLarge));
        for value in [json!(null), json!([]), json!({}), json!({"sig": 1}), json!({"sig": "AA", "node": "x"})] {
            assert!(matches!(verify(&value, now()), Err(BadCard::Field { .. })), "{value}");
        }
    }
}
