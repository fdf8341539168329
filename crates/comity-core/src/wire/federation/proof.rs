//! What proves that a hub showed two histories, in JSON: `{channel,orders:[{id,seq,prev_event,hub_ts,term,hub_key_id,
//! hub_sig},…]}`, two of them. Anybody can check it with the hub's key and nothing else. See "Channels" in
//! `protocols/federation.md`.

use super::event::{self, BadEvent};
use crate::federation::ChannelId;
use crate::federation::heads::{NotProof, Proof};
use serde_json::{Value, json};

/// Why something is not read as a proof.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// A field is missing or has another form.
    #[error("{wanted} is wanted at {pointer}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What should be there.
        wanted: &'static str,
    },
    /// One of the two places has another form.
    #[error("/orders/{at}: {why}")]
    Order {
        /// Which, from 0.
        at: usize,
        /// What is wrong with it.
        why: BadEvent,
    },
    /// It can be read, and proves nothing.
    #[error(transparent)]
    Nothing(#[from] NotProof),
}

/// A proof as JSON.
pub fn to_value(proof: &Proof) -> Value {
    let [one, other] = proof.places().map(|placed| event::placed_to_value(&placed));
    json!({"channel": proof.channel().to_string(), "orders": [one, other]})
}

/// Reads a proof. The places contradict each other; the signatures are not checked ([`Proof::verify`]).
///
/// # Errors
/// [`BadProof`] names the field.
pub fn read(value: &Value) -> Result<Proof, BadProof> {
    let (pointer, wanted) = ("/channel", "a channel: !<name>:<origin>");
    let channel = value.get("channel").and_then(Value::as_str).and_then(|text| text.parse().ok());
    let channel: ChannelId = channel.ok_or(BadProof::Field { pointer, wanted })?;
    let (pointer, wanted) = ("/orders", "a list of two places");
    let orders = value.get("orders").and_then(Value::as_array).map(Vec::as_slice);
    let Some([one, other]) = orders else { return Err(BadProof::Field { pointer, wanted }) };
    let placed = |at, value| event::read_placed(value).map_err(|why| BadProof::Order { at, why });
    Ok(Proof::of(&channel, &placed(0, one)?, &placed(1, other)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::heads::Placed;
    use crate::federation::{EventId, Order};
    use crate::identity::key::KeyPair;
    use crate::time::Timestamp;

    fn proof() -> Proof {
        let (key, channel) = (KeyPair::from_seed([2; 32]), "!a:hub.test".parse().expect("a channel"));
        let placed = |id: u8| {
            let (id, of) = (EventId::from_bytes([id; 20]), (Timestamp::from_millis(5), 1));
            Placed { id, order: Order::sign(&key, (&channel, id), (3, Some(EventId::from_bytes([9; 20]))), of) }
        };
        Proof::of(&channel, &placed(1), &placed(2)).expect("two events in one place")
    }

    #[test]
    fn a_proof_reads_as_it_was_written_and_still_holds() {
        let read = read(&to_value(&proof())).expect("a proof");
        assert_eq!((&read, read.verify()), (&proof(), Ok([KeyPair::from_seed([2; 32]).node(); 2])));
    }

    #[test]
    fn what_is_wrong_is_named_and_what_is_changed_proves_nothing() {
        let changed = |pointer: &str, other: Value| {
            let mut value = to_value(&proof());
            *value.pointer_mut(pointer).expect("a member") = other;
            read(&value)
        };
        let field = |pointer, wanted| Err(BadProof::Field { pointer, wanted });
        assert_eq!(changed("/channel", json!("a")), field("/channel", "a channel: !<name>:<origin>"));
        assert_eq!(changed("/orders", json!([])), field("/orders", "a list of two places"));
        assert!(matches!(changed("/orders/1/seq", json!(-1)), Err(BadProof::Order { at: 1, .. })));
        let nothing = Err(BadProof::Nothing(NotProof::NoContradiction));
        assert_eq!(changed("/orders/1/seq", json!(4)), nothing);
        let moved = changed("/channel", json!("!b:hub.test")).expect("it can be read");
        assert!(moved.verify().is_err(), "the hub signed it for another channel");
    }
}
