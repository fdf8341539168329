//! Whether the log of a channel is what its hub and its authors signed: for whoever has a copy of it, and knows whose the
//! keys are. Nothing else is asked. See "Channels" in `protocols/federation.md`; the form of the log is in
//! `docs/federation.md`.

use super::roster::Change;
use super::{ChannelId, Event, EventId, NotAChannel, Origin};
use crate::id::NodeId;
use crate::identity::signature::BadSignature;
use crate::time::Timestamp;
use crate::wire::federation::event::{self, BadEvent};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Gaps that are told of, at most.
const GAPS_MAX: usize = 100;

/// Checks the log of a channel, event by event.
#[derive(Debug, Clone)]
pub struct Verifier {
    channel: ChannelId,
    /// Whose copy it is: what that origin was no member for is not in it.
    member: Option<Origin>,
    keys: BTreeMap<Origin, Vec<Key>>,
    first: Option<u64>,
    /// The number, id and term of the last event.
    last: Option<(u64, EventId, u64)>,
    authors: BTreeMap<Origin, u64>,
    /// Whether nothing was passed over since the first event of the line: authors count from 1 then.
    is_whole: bool,
    /// Whether whose copy it is was no member any more after the last event.
    is_over: bool,
    gaps: Vec<Gap>,
    unverified: BTreeSet<Origin>,
    events: u64,
}

#[derive(Debug, Clone, Copy)]
struct Key {
    key: NodeId,
    /// It counts for what was signed before this.
    until: Option<Timestamp>,
}

/// Events of an author that are not in the line: its hub refused them, or held them back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// Whose.
    pub author: Origin,
    /// The first that is missing.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// What was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The channel.
    pub channel: ChannelId,
    /// How many events.
    pub events: u64,
    /// The number of the first.
    pub first: Option<u64>,
    /// The number and id of the last.
    pub last: Option<(u64, EventId)>,
    /// Whose events there are.
    pub authors: Vec<Origin>,
    /// Events of authors that are missing.
    pub gaps: Vec<Gap>,
    /// Authors of whom the log says that it has no key: each of their events is signed by the key that it names, and
    /// whose that is, is the hub's word.
    pub unverified: Vec<Origin>,
}

/// Why a log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLog {
    /// Its first line.
    #[error("the first line says the channel and the keys: {0}")]
    Head(String),
    /// An event cannot be read.
    #[error(transparent)]
    Event(#[from] BadEvent),
    /// It is of another channel.
    #[error("it is of another channel: {0}")]
    Channel(ChannelId),
    /// A signature is wrong.
    #[error("{whose} signature: {why}")]
    Signature {
        /// The author's or the hub's.
        whose: &'static str,
        /// Why.
        why: BadSignature,
    },
    /// The key that signed is none of the origin's.
    #[error("{key} is no key of {origin}, or was none any more")]
    Key {
        /// Whose it should be.
        origin: Origin,
        /// The key.
        key: NodeId,
    },
    /// It has another number than the next.
    #[error("it is event {found}, and {wanted} comes next")]
    Number {
        /// The next.
        wanted: u64,
        /// Its own.
        found: u64,
    },
    /// It does not name the event before it.
    #[error("event {0} does not name the event before it")]
    Previous(u64),
    /// Its term is below the one before.
    #[error("event {0} is of an earlier term than the event before it")]
    Term(u64),
    /// Whose copy it is was no member when it was said.
    #[error("event {0} is of a time when the owner of this copy was no member")]
    NotMember(u64),
    /// It begins where its owner joined, but not for the first time.
    #[error("it begins with a later membership of its owner: event {0} is not the first that it said")]
    Later(u64),
    /// Its author has said something with this number, or a later one.
    #[error("{author} has said its number {number} before")]
    Repeated {
        /// Who.
        author: Origin,
        /// The number.
        number: u64,
    },
}

impl Verifier {
    /// Begins with the first line of a log: `{"channel","keys":{origin:[key, or {"key","until"}]},"member"?}`.
    ///
    /// # Errors
    /// [`BadLog::Head`].
    pub fn begin(head: &Value) -> Result<Self, BadLog> {
        let bad = |why: &str| BadLog::Head(why.to_owned());
        let text = |name: &str| head.get(name).and_then(Value::as_str);
        let channel = text("channel").ok_or_else(|| bad("a channel is wanted at /channel"))?;
        let channel = channel.parse().map_err(|why: NotAChannel| bad(&why.to_string()))?;
        let member = text("member").map(str::parse).transpose().map_err(|_| bad("an origin is wanted at /member"))?;
        let keys = head.get("keys").and_then(Value::as_object).ok_or_else(|| bad("an object is wanted at /keys"))?;
        let keys = keys.iter().map(|(origin, keys)| {
            let wrong = || bad(&format!("keys are wanted at /keys/{origin}"));
            let keys = keys.as_array().ok_or_else(wrong)?.iter().map(|key| Key::read(key).ok_or_else(wrong));
            Ok((origin.parse().map_err(|_| wrong())?, keys.collect::<Result<_, _>>()?))
        });
        Ok(Self {
            channel,
            member,
            keys: keys.collect::<Result<_, BadLog>>()?,
            first: None,
            last: None,
            authors: BTreeMap::new(),
            is_whole: false,
            is_over: false,
            gaps: Vec::new(),
            unverified: BTreeSet::new(),
            events: 0,
        })
    }

    /// Checks the next event.
    ///
    /// # Errors
    /// [`BadLog`]: it, or one that should stand before it, is not what was signed.
    pub fn event(&mut self, value: &Value) -> Result<(), BadLog> {
        let event = event::read(value)?;
        let Event { authored, order } = &event;
        if authored.channel != self.channel {
            return Err(BadLog::Channel(authored.channel.clone()));
        }
        let hub = self.channel.hub();
        self.check_key(hub, &order.key, order.at)?;
        let signed = order.verify(&self.channel, authored.id);
        signed.map_err(|why| BadLog::Signature { whose: "its hub's", why })?;
        match &authored.key {
            Some(_) if authored.origin != *hub && self.keys.get(&authored.origin).is_some_and(Vec::is_empty) => {
                self.unverified.insert(authored.origin.clone());
            }
            Some(key) => self.check_key(&authored.origin, key, authored.at)?,
            None => {}
        }
        authored.verify().map_err(|why| BadLog::Signature { whose: "its author's", why })?;
        self.check_place(&event)?;
        self.note_author(&event)?;
        self.is_over = self.ends(&event);
        self.first.get_or_insert(order.seq);
        self.last = Some((order.seq, authored.id, order.term));
        self.events += 1;
        Ok(())
    }

    /// Whether an event follows the last one. Between two memberships of whose copy it is there may be others.
    fn check_place(&mut self, event: &Event) -> Result<(), BadLog> {
        let (order, joins) = (&event.order, self.joins(event));
        match self.last {
            _ if self.is_over && !joins => return Err(BadLog::NotMember(order.seq)),
            None if order.seq == 1 && order.prev.is_some() => return Err(BadLog::Previous(1)),
            None if order.seq != 1 && !joins => return Err(BadLog::Number { wanted: 1, found: order.seq }),
            None if joins && event.authored.author_seq.is_some_and(|number| number > 1) => {
                return Err(BadLog::Later(order.seq));
            }
            None => self.is_whole = order.seq == 1,
            Some((.., term)) if order.term < term => return Err(BadLog::Term(order.seq)),
            Some((last, ..)) if self.is_over && order.seq > last + 1 => {
                // What others said meanwhile was not for this origin.
                self.authors.retain(|author, _| Some(author) == self.member.as_ref());
                self.is_whole = false;
            }
            Some((last, ..)) if order.seq != last + 1 => {
                return Err(BadLog::Number { wanted: last + 1, found: order.seq });
            }
            Some((_, id, _)) if order.prev != Some(id) => return Err(BadLog::Previous(order.seq)),
            Some(_) => {}
        }
        Ok(())
    }

    fn note_author(&mut self, event: &Event) -> Result<(), BadLog> {
        let Some(number) = event.authored.author_seq else { return Ok(()) };
        let author = event.authored.origin.clone();
        let due = match self.authors.insert(author.clone(), number) {
            Some(last) => last + 1,
            None if self.is_whole => 1,
            None => number,
        };
        if number < due {
            return Err(BadLog::Repeated { author, number });
        }
        if number > due && self.gaps.len() < GAPS_MAX {
            self.gaps.push(Gap { author, first: due, last: number - 1 });
        }
        Ok(())
    }

    /// Whether whose copy it is becomes a member by this event.
    fn joins(&self, event: &Event) -> bool {
        let is_own = self.member.as_ref() == Some(&event.authored.origin);
        is_own && Change::of(&event.authored) == Ok(Some(Change::Joined))
    }

    /// Whether it is no member any more after this event. The hub always is.
    fn ends(&self, event: &Event) -> bool {
        let (author, hub) = (&event.authored.origin, self.channel.hub());
        let Some(member) = self.member.as_ref().filter(|member| *member != hub) else { return false };
        match Change::of(&event.authored) {
            Ok(Some(Change::Left)) => author == member,
            Ok(Some(Change::Removed(removed))) => author == hub && removed == *member,
            _ => false,
        }
    }

    fn check_key(&self, origin: &Origin, key: &NodeId, at: Timestamp) -> Result<(), BadLog> {
        let keys = self.keys.get(origin).map_or(&[][..], Vec::as_slice);
        let counts = |known: &Key| known.key == *key && known.until.is_none_or(|until| at < until);
        if keys.iter().any(counts) { Ok(()) } else { Err(BadLog::Key { origin: origin.clone(), key: *key }) }
    }

    /// What was verified so far.
    pub fn end(self) -> Verified {
        Verified {
            channel: self.channel,
            events: self.events,
            first: self.first,
            last: self.last.map(|(seq, id, _)| (seq, id)),
            authors: self.authors.into_keys().collect(),
            gaps: self.gaps,
            unverified: self.unverified.into_iter().collect(),
        }
    }
}

impl Key {
    fn read(value: &Value) -> Option<Self> {
        let (key, until) = match value {
            Value::String(key) => (key.as_str(), None),
            other => {
                let until = other.get("until").map(|until| Timestamp::parse(until.as_str()?));
                (other.get("key")?.as_str()?, until)
            }
        };
        let until = match until {
            Some(until) => Some(until?),
            None => None,
        };
        Some(Self { key: key.parse().ok()?, until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::event::{Authored, Draft, Order};
    use crate::identity::key::KeyPair;
    use serde_json::json;

    fn key(number: u8) -> KeyPair {
        KeyPair::from_seed([number; 32])
    }

    fn at() -> Timestamp {
        Timestamp::from_millis(1_700_000_000_000)
    }

    fn origin(name: &str) -> Origin {
        format!("{name}.test").parse().expect("an origin")
    }

    /// Gives events of `alpha` (key 1), the hub, and `beta` (key 2) their places: each by its author and number.
    fn placed(said: &[(&str, u64, Option<Change>)]) -> Vec<Value> {
        let channel: ChannelId = "!a:alpha.test".parse().expect("a channel");
        let (mut events, mut prev) = (Vec::new(), None);
        for (seq, (name, author_seq, change)) in (1..).zip(said) {
            let keys = key(if *name == "beta" { 2 } else { 1 });
            let draft = Draft {
                channel: &channel,
                kind: change.as_ref().map_or("message", Change::kind),
                origin: &origin(name),
                author_seq: Some(*author_seq),
                at: at(),
                data: &change.as_ref().map_or_else(|| json!({"n": seq}), Change::data),
                prev_seen: prev,
                attested: None,
            };
            let authored = Authored::sign(&keys, &draft);
            let order = Order::sign(&key(1), (&channel, authored.id), (seq, prev), (at(), 1));
            prev = Some(authored.id);
            events.push(event::to_value(&Event { authored, order }));
        }
        events
    }

    /// A line in which `beta` says every second event.
    fn line(count: u64) -> Vec<Value> {
        let said = |seq: u64| (if seq.is_multiple_of(2) { "beta" } else { "alpha" }, seq.div_ceil(2), None);
        placed(&(1..=count).map(said).collect::<Vec<_>>())
    }

    fn head() -> Value {
        json!({
            "channel": "!a:alpha.test",
            "keys": {"alpha.test": [key(1).node().to_string()], "beta.test": [{"key": key(2).node().to_string()}]},
        })
    }

    fn verify(head: &Value, events: &[Value]) -> Result<Verified, (usize, BadLog)> {
        let mut verifier = Verifier::begin(head).map_err(|bad| (0, bad))?;
        for (place, event) in events.iter().enumerate() {
            verifier.event(event).map_err(|bad| (place + 1, bad))?;
        }
        Ok(verifier.end())
    }

    #[test]
    fn a_log_is_what_was_signed() {
        let verified = verify(&head(), &line(6)).expect("it holds");
        assert_eq!((verified.events, verified.first, verified.gaps.len()), (6, Some(1), 0));
        assert_eq!(verified.last.map(|(seq, _)| seq), Some(6));
        assert_eq!(verified.authors, [origin("alpha"), origin("beta")]);
    }

    #[test]
    fn an_author_whose_key_nobody_had_is_named_and_its_signatures_hold_nevertheless() {
        let mut none = head();
        none["keys"]["beta.test"] = json!([]);
        let mut events = line(6);
        assert_eq!(verify(&none, &events).map(|verified| verified.unverified), Ok(vec![origin("beta")]));
        assert_eq!(verify(&head(), &events).map(|verified| verified.unverified), Ok(vec![]));
        let at = events.iter().position(|event| event["origin"] == "beta.test").expect("an event of it");
        events[at]["sig"] = json!(crate::id::encode_base64(&[0; 64]));
        assert!(matches!(verify(&none, &events), Err((_, BadLog::Signature { whose: "its author's", .. }))));
        none["keys"]["alpha.test"] = json!([]);
        assert!(matches!(verify(&none, &line(1)), Err((1, BadLog::Key { .. }))), "a hub's key is always wanted");
    }

    #[test]
    fn each_change_is_found_where_it_is() {
        let found = |change: fn(&mut Vec<Value>)| {
            let mut events = line(6);
            change(&mut events);
            verify(&head(), &events).expect_err("it does not hold")
        };
        assert_eq!(found(|events| drop(events.remove(2))), (3, BadLog::Number { wanted: 3, found: 4 }));
        assert_eq!(found(|events| events.swap(2, 3)), (3, BadLog::Number { wanted: 3, found: 4 }));
        assert_eq!(found(|events| events.insert(2, events[1].clone())), (3, BadLog::Number { wanted: 3, found: 2 }));
        assert_eq!(found(|events| drop(events.remove(0))), (1, BadLog::Number { wanted: 1, found: 2 }));
        assert!(matches!(found(|events| events[3]["data"]["n"] = json!(5)), (4, BadLog::Event(BadEvent::Id { .. }))));
        assert!(matches!(found(|events| events[3]["hub_ts"] = json!(5)), (4, BadLog::Signature { .. })));
        assert!(matches!(found(|events| events[3]["seq"] = json!(5)), (4, BadLog::Signature { .. })));
        assert!(matches!(found(|events| events[3]["sig"] = events[1]["sig"].clone()), (4, BadLog::Signature { .. })));
        assert!(matches!(
            found(|events| events[3]["hub_key_id"] = events[3]["key_id"].clone()),
            (4, BadLog::Key { .. })
        ));
    }

    /// `beta` joins, is removed, joins again and says something.
    fn memberships() -> Vec<Value> {
        let (removed, joined) = (Some(Change::Removed(origin("beta"))), || Some(Change::Joined));
        placed(&[
            ("alpha", 1, None),
            ("beta", 1, joined()),
            ("alpha", 2, None),
            ("alpha", 3, removed),
            ("alpha", 4, None),
            ("alpha", 5, None),
            ("beta", 2, joined()),
            ("alpha", 6, None),
        ])
    }

    #[test]
    fn a_log_is_cut_only_where_its_owner_was_no_member() {
        let of = |member: Option<&str>, places: &[usize]| {
            let mut head = head();
            if let Some(member) = member {
                head["member"] = json!(member);
            }
            let all = memberships();
            verify(&head, &places.iter().map(|place| all[place - 1].clone()).collect::<Vec<_>>())
        };
        let beta = Some("beta.test");
        let whole = of(beta, &[2, 3, 4, 7, 8]).expect("it holds");
        assert_eq!((whole.first, whole.events, whole.gaps), (Some(2), 5, vec![]));
        assert!(of(None, &[1, 2, 3, 4, 5, 6, 7, 8]).is_ok());
        // Nobody's joining is where the copy begins, when nobody says whose it is.
        assert_eq!(of(None, &[2, 3]), Err((1, BadLog::Number { wanted: 1, found: 2 })));
        assert_eq!(of(None, &[1, 2, 3, 4, 7]), Err((5, BadLog::Number { wanted: 5, found: 7 })));
        assert_eq!(of(beta, &[1, 2, 3, 7]), Err((4, BadLog::Number { wanted: 4, found: 7 })), "it was a member");
        assert_eq!(of(beta, &[2, 3, 4, 5]), Err((4, BadLog::NotMember(5))));
        assert_eq!(of(beta, &[7, 8]), Err((1, BadLog::Later(7))));
    }

    #[test]
    fn an_author_counts_from_one_in_a_line_from_its_first_event_on() {
        let verified = verify(&head(), &placed(&[("alpha", 1, None), ("beta", 6, None)])).expect("it holds");
        assert_eq!(verified.gaps, [Gap { author: origin("beta"), first: 1, last: 5 }]);
    }

    #[test]
    fn keys_count_for_their_origin_and_their_time() {
        let mut other = head();
        other["keys"]["beta.test"] = json!([key(3).node().to_string()]);
        assert!(matches!(verify(&other, &line(2)), Err((2, BadLog::Key { .. }))));
        other["keys"]["beta.test"] = json!([{"key": key(2).node().to_string(), "until": at().to_string()}]);
        assert!(matches!(verify(&other, &line(2)), Err((2, BadLog::Key { .. }))));
        let later = at() + std::time::Duration::from_millis(1);
        other["keys"]["beta.test"] = json!([{"key": key(2).node().to_string(), "until": later.to_string()}]);
        assert!(verify(&other, &line(2)).is_ok());
        for head in
            [json!({}), json!({"channel": "a", "keys": {}}), json!({"channel": "!a:alpha.test", "keys": {"x": 1}})]
        {
            assert!(matches!(verify(&head, &[]), Err((0, BadLog::Head(_)))));
        }
    }
}
