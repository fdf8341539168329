//! Sending: to one peer, to everybody who listens, sealed, and as a question.

use super::error::unexpected;
use super::said::{Bug, LlmUsage, Status, Suggestion};
use super::{Error, Message, Network};
use crate::observe;
use comity_core::channel::Channel;
use comity_core::envelope::{Kind, Priority, Ttl};
use comity_core::hidden::clean;
use comity_core::id::{MessageId, PeerId};
use comity_core::limits::PAYLOAD_JSON_MAX;
use comity_core::node::{Answer, Ask, Refusal, Send};
use comity_core::payload::{BadPayload, Payload};
use comity_core::wire::pack;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long a question waits for its answer when nobody says.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How much longer JSON is than the MessagePack of the same value, at most: one byte that must be
/// escaped becomes `\u0001`. What is short enough for any such growth need not be written to be measured.
const JSON_PER_PACK: usize = 6;

/// A message that was taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// Its id: [`Network::why`] says what becomes of it.
    pub id: MessageId,
    /// How many peers it was queued for. Peers that come later do not get it.
    pub peers: usize,
}

impl Network {
    /// Sends to everybody who listens to the channel: `_status`, `_bugs`, `custom:<name>` and so
    /// on. The payload is anything that can be written as JSON, at most 256 KiB; it lives 60 s.
    ///
    /// While a peer is slow this waits for it, 5 s at most; then the queue for that peer decides.
    ///
    /// # Errors
    /// [`Error::Channel`], [`Error::Payload`] and [`Error::NotJson`] are the caller's;
    /// [`Error::Refused`] says what else. That nobody listens is no error: [`Sent::peers`] is 0.
    pub async fn broadcast(&self, channel: &str, payload: impl Serialize, priority: Priority) -> Result<Sent, Error> {
        let channel = Channel::new(channel)?;
        let kind = channel.kind();
        self.send(self.compose(None, kind, channel, priority, &payload)?).await
    }

    /// Sends to one peer. It is queued while the peer cannot be reached, delivered once, and given
    /// up after three tries or when its 60 s are over.
    ///
    /// # Errors
    /// As [`Network::broadcast`]; [`Refusal::UnknownPeer`] when nobody has heard of the peer,
    /// [`Refusal::Unreachable`] when it has left, [`Refusal::Full`] when too much waits for it.
    pub async fn send_to(
        &self,
        peer: PeerId,
        channel: &str,
        payload: impl Serialize,
        priority: Priority,
    ) -> Result<Sent, Error> {
        let channel = Channel::new(channel)?;
        let kind = channel.kind();
        self.send(self.compose(Some(peer), kind, channel, priority, &payload)?).await
    }

    /// Sends to one peer so that nobody else can read the payload, whichever way it takes. Channel,
    /// priority and length stay visible to those who pass it on.
    ///
    /// # Errors
    /// As [`Network::send_to`]; [`Refusal::NoKey`] when the peer has not proven a key.
    pub async fn send_encrypted(
        &self,
        peer: PeerId,
        channel: &str,
        payload: impl Serialize,
        priority: Priority,
    ) -> Result<Sent, Error> {
        let channel = Channel::new(channel)?;
        let kind = channel.kind();
        let mut send = self.compose(Some(peer), kind, channel, priority, &payload)?;
        let view = self.0.handle.look().await;
        let found = view.peers.iter().find(|known| known.id == peer).ok_or(Refusal::UnknownPeer(peer))?;
        let key = found.key.ok_or(Refusal::NoKey)?;
        self.0.handle.me().seal(&mut send, &key, self.0.handle.now().wall)?;
        self.send(send).await
    }

    /// Asks a peer and waits 30 s for its answer. `kind` is [`Kind::Query`] for whoever answers
    /// there ([`Network::answer`]); with any other kind the peer's application answers by
    /// [`Network::respond`].
    ///
    /// # Errors
    /// As [`Network::send_to`]; [`Refusal::TimedOut`] without an answer, [`Error::Answered`] when
    /// the answer is an error, with code `no_answerer` when nobody there answers.
    pub async fn request(&self, peer: PeerId, kind: Kind, payload: impl Serialize) -> Result<Message, Error> {
        self.request_within(peer, kind, payload, ANSWER_WITHIN).await
    }

    /// As [`Network::request`], with another time to wait, a day at most.
    ///
    /// # Errors
    /// As [`Network::request`].
    pub async fn request_within(
        &self,
        peer: PeerId,
        kind: Kind,
        payload: impl Serialize,
        timeout: Duration,
    ) -> Result<Message, Error> {
        let channel = Channel::of_kind(kind);
        let send = self.compose(Some(peer), kind, channel, Priority::Normal, &payload)?;
        self.0.handle.pass(send.to).await;
        match self.0.handle.ask(Ask::Request { send, timeout }).await {
            Answer::Response(received) => {
                let response = Message::new(received);
                error_in(&response.payload()).map_or(Ok(response), Err)
            }
            other => Err(unexpected(other)),
        }
    }

    /// Answers a message that asked for it, as [`Network::answer`] does for queries.
    ///
    /// # Errors
    /// [`Error::NotAQuery`] when the message has no id; else as [`Network::send_to`].
    pub async fn respond(&self, query: &Message, payload: impl Serialize) -> Result<Sent, Error> {
        let id = query.id().ok_or(Error::NotAQuery)?;
        let ask = Ask::Respond { query: id, to: query.from(), payload: payload_of(&payload)? };
        sent(self.0.handle.ask(ask).await)
    }

    /// Tells everybody who listens what another could do better.
    ///
    /// # Errors
    /// As [`Network::broadcast`].
    pub async fn send_suggestion(&self, suggestion: &Suggestion) -> Result<Sent, Error> {
        self.broadcast("_suggestions", suggestion, Priority::Normal).await
    }

    /// Tells everybody who listens what is broken.
    ///
    /// # Errors
    /// As [`Network::broadcast`].
    pub async fn send_bug_report(&self, bug: &Bug) -> Result<Sent, Error> {
        self.broadcast("_bugs", bug, Priority::Normal).await
    }

    /// Tells everybody at once what went wrong: critical, so it interrupts.
    ///
    /// # Errors
    /// As [`Network::broadcast`].
    pub async fn broadcast_error(&self, error: &str, details: Option<Value>) -> Result<Sent, Error> {
        let payload = match details {
            Some(details) => json!({ "error": error, "details": details }),
            None => json!({ "error": error }),
        };
        self.broadcast("_errors", payload, Priority::Critical).await
    }

    /// Tells everybody once what this node is doing, without making it its status.
    ///
    /// # Errors
    /// As [`Network::broadcast`].
    pub async fn broadcast_status(&self, status: &Status) -> Result<Sent, Error> {
        self.broadcast("_status", status, Priority::Background).await
    }

    /// Tells everybody how much of its language models this node uses. To be called every 30 s and
    /// whenever an endpoint becomes saturated or free.
    ///
    /// # Errors
    /// As [`Network::broadcast`].
    pub async fn report_llm_usage(&self, usage: &LlmUsage) -> Result<Sent, Error> {
        let mut payload = serde_json::to_value(usage)?;
        payload["timestamp"] = json!(self.0.handle.now().wall.to_string());
        self.broadcast("_llm_usage", payload, Priority::Background).await
    }

    pub(super) async fn send(&self, send: Send) -> Result<Sent, Error> {
        sent(self.0.handle.send(send).await)
    }

    pub(super) fn compose(
        &self,
        to: Option<PeerId>,
        kind: Kind,
        channel: Channel,
        priority: Priority,
        payload: &impl Serialize,
    ) -> Result<Send, Error> {
        let id = self.0.handle.new_message();
        let traceparent = observe::sent(id, &channel);
        Ok(Send {
            id,
            to,
            kind,
            channel,
            payload: payload_of(payload)?,
            priority,
            ttl: Ttl::DEFAULT,
            reply_to: None,
            thread: None,
            traceparent,
            sealed_at: None,
        })
    }
}

fn sent(answer: Answer) -> Result<Sent, Error> {
    match answer {
        Answer::Sent { id, peers } => Ok(Sent { id, peers }),
        other => Err(unexpected(other)),
    }
}

/// The payload in the form that links carry, made here on the caller's task. What fits no compact
/// message travels as JSON, and POSTs always do, so it must be short enough in that form too.
pub(super) fn payload_of(payload: &impl Serialize) -> Result<Payload, Error> {
    let value = serde_json::to_value(payload)?;
    let packed = pack::from_value(&value);
    if packed.len() > PAYLOAD_JSON_MAX / JSON_PER_PACK && value.to_string().len() > PAYLOAD_JSON_MAX {
        return Err(BadPayload::TooLarge.into());
    }
    Ok(Payload::from_pack(packed)?)
}

/// An answer that is an error reads `{"error":{"code","detail"}}`.
pub(super) fn error_answer(code: &str, detail: &str) -> Value {
    json!({ "error": { "code": code, "detail": detail } })
}

fn error_in(payload: &Value) -> Option<Error> {
    let error = payload.as_object().filter(|fields| fields.len() == 1)?.get("error")?;
    let part = |name: &str| error.get(name).and_then(Value::as_str).map(clean);
    let code = part("code")?;
    Some(Error::Answered { code, detail: part("detail").unwrap_or_default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_that_its_json_makes_too_long_for_a_message_is_refused() {
        let refused = |payload: Value| matches!(payload_of(&payload), Err(Error::Payload(BadPayload::TooLarge)));
        let most = PAYLOAD_JSON_MAX / JSON_PER_PACK;
        assert_eq!([most, most + 1].map(|count| refused(json!("\u{1}".repeat(count)))), [false, true]);
        assert_eq!([most, most + 1].map(|count| refused(json!(vec![false; count]))), [false, true]);
        let most = PAYLOAD_JSON_MAX - "\"\"".len();
        assert!(!refused(json!("x".repeat(most - 8))));
        assert!(refused(json!("x".repeat(most + 1))));
    }

    #[test]
    fn only_the_protocol_s_own_shape_is_an_error() {
        assert!(error_in(&error_answer("failed", "no")).is_some());
        assert!(error_in(&json!({ "error": "text", "result": 1 })).is_none());
        assert!(error_in(&json!("error")).is_none());
    }
}
