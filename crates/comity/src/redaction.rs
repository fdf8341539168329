//! The redactor of a running node: what takes secrets out of everything the node says, writes into its journal or
//! logs. What a secret is, is decided in `comity_core::redact`; here it is put to use, counted, and told. See
//! "Redaction" in `protocols/pubsub.md`.

use crate::config::Config;
use crate::door::shown;
use crate::home::Home;
use crate::identity::About;
use crate::network::JoinError;
use crate::observe::Counters;
use comity_core::node::{Ask, Send};
use comity_core::payload::{BadPayload, Payload};
use comity_core::redact::{Audit, Finding, Labels, Place, Redactor, Typed};
use comity_core::time::Timestamp;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

/// The purpose for which the key of the audit is derived from the node's.
const AUDIT: &str = "redaction audit";

/// Findings of one message that are told; the others are only counted.
const TOLD_MAX: usize = 16;

/// Longest place that is told, characters: it may hold keys of a message.
const PLACE_MAX: usize = 256;

/// What takes secrets out. Cloning shares it; the log of the program and its node use the same one.
#[derive(Clone)]
pub struct Redaction(Arc<Shared>);

struct Shared {
    /// `None` when it is off. A lock and not a message: it is read for every message, and changes when an application
    /// brings rules of its own.
    redactor: RwLock<Option<Arc<Redactor>>>,
    /// Where findings are counted, once the node runs.
    counters: OnceLock<Counters>,
}

impl fmt::Debug for Redaction {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Redaction").field("on", &self.is_on()).finish()
    }
}

impl Redaction {
    /// By this configuration, for the node of this data directory; off where the configuration says so.
    ///
    /// # Errors
    /// [`JoinError`] when there is no key, or a rule of the configuration is none.
    pub fn open(home: &Home, config: &Config) -> Result<Self, JoinError> {
        let Some(wanted) = &config.redaction else { return Ok(Self::with(None)) };
        let redactor = wanted.redactor(home.key()?.secret_for(AUDIT))?;
        Ok(Self::with(Some(redactor)))
    }

    /// With this redactor, or off.
    pub fn with(redactor: Option<Redactor>) -> Self {
        let redactor = RwLock::new(redactor.map(Arc::new));
        Self(Arc::new(Shared { redactor, counters: OnceLock::new() }))
    }

    /// Goes on with this redactor; `None` switches it off, which the log says.
    pub fn set(&self, redactor: Option<Redactor>) {
        if redactor.is_none() {
            tracing::warn!("secrets are not taken out any more of what this node says: redaction was switched off");
        }
        *self.0.redactor.write().unwrap_or_else(PoisonError::into_inner) = redactor.map(Arc::new);
    }

    /// Whether secrets are taken out.
    pub fn is_on(&self) -> bool {
        self.redactor().is_some()
    }

    /// The text with a mark where each secret stood. Nothing of it is told: the log itself is written through this.
    pub fn line<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(redactor) = self.redactor() else { return Cow::Borrowed(text) };
        let mut found = Vec::new();
        let clean = redactor.text(text, &mut found);
        self.count("log", &found);
        clean
    }

    /// A node starts: findings are counted there from now on, and the log says if nothing will be found.
    pub(crate) fn begin(&self, counters: Counters) {
        if !self.is_on() {
            tracing::warn!("secrets are not taken out of what this node says: redaction is switched off");
        }
        // Err: an application runs two nodes with one redaction, and the first counts.
        let _ = self.0.counters.set(counters);
    }

    /// What a node says of itself, without secrets: what it can do, and what else its owner wrote there.
    pub(crate) fn about(&self, mut about: About, now: Timestamp) -> About {
        let labels = || labels("card", "", "");
        let mut cleaned = |text: &mut String| *text = self.text(text, labels, now).into_owned();
        about.capabilities.iter_mut().for_each(&mut cleaned);
        if let Cow::Owned(Value::Object(metadata)) =
            self.document(&json!(about.metadata), &Typed::default(), labels, now)
        {
            let text = |value: Value| value.as_str().map(str::to_owned);
            about.metadata = metadata.into_iter().filter_map(|(name, value)| Some((name, text(value)?))).collect();
        }
        about
    }

    /// What is asked of the node, without secrets in what it is to say.
    pub(crate) fn ask(&self, ask: Ask, now: Timestamp) -> Result<Ask, BadPayload> {
        Ok(match ask {
            Ask::Send(send) => Ask::Send(self.send(send, now)?),
            Ask::Request { send, timeout } => Ask::Request { send: self.send(send, now)?, timeout },
            Ask::Respond { query, to, payload } => {
                let labels = || labels("message", "_responses", "response");
                Ask::Respond { query, to, payload: self.payload(payload, labels, now)? }
            }
            Ask::SetStatus(Some(status)) => {
                let status = self.document(&status, &Typed::default(), || labels("status", "_status", ""), now);
                Ask::SetStatus(Some(status.into_owned()))
            }
            Ask::Leave { reason } => {
                Ask::Leave { reason: self.text(&reason, || labels("goodbye", "", ""), now).into_owned() }
            }
            other => other,
        })
    }

    /// The message without secrets.
    pub(crate) fn send(&self, mut send: Send, now: Timestamp) -> Result<Send, BadPayload> {
        let (channel, kind) = (&send.channel, send.kind);
        send.payload = self.payload(send.payload, || labels("message", channel.name(), kind.name()), now)?;
        Ok(send)
    }

    /// The payload without secrets. What is sealed already is as its writer made it.
    pub(crate) fn payload(
        &self,
        payload: Payload,
        labels: impl FnOnce() -> Labels,
        now: Timestamp,
    ) -> Result<Payload, BadPayload> {
        let Some(redactor) = self.redactor() else { return Ok(payload) };
        let is_clean = match &payload {
            Payload::Empty | Payload::Sealed(_) => true,
            // Most messages hold nothing, and are not read for that.
            Payload::Json(_) => redactor.spares_json(payload.bytes()),
            Payload::Pack(_) => false,
        };
        if is_clean {
            return Ok(payload);
        }
        match self.document(&payload.to_value(), &Typed::default(), labels, now) {
            Cow::Borrowed(_) => Ok(payload),
            Cow::Owned(clean) => Payload::from_value(&clean),
        }
    }

    /// The document without secrets; `typed` says what is done with fields of which the caller knows what they hold.
    pub(crate) fn document<'d>(
        &self,
        document: &'d Value,
        typed: &Typed,
        labels: impl FnOnce() -> Labels,
        now: Timestamp,
    ) -> Cow<'d, Value> {
        let Some(redactor) = self.redactor() else { return Cow::Borrowed(document) };
        let mut found = Vec::new();
        match redactor.typed_json(document, typed, &mut found) {
            None => Cow::Borrowed(document),
            Some(clean) => {
                self.tell(labels(), found, now);
                Cow::Owned(clean)
            }
        }
    }

    /// The text without secrets.
    pub(crate) fn text<'t>(&self, text: &'t str, labels: impl FnOnce() -> Labels, now: Timestamp) -> Cow<'t, str> {
        let Some(redactor) = self.redactor() else { return Cow::Borrowed(text) };
        let mut found = Vec::new();
        let clean = redactor.text(text, &mut found);
        if !found.is_empty() {
            self.tell(labels(), found, now);
        }
        clean
    }

    fn redactor(&self) -> Option<Arc<Redactor>> {
        self.0.redactor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says what was found: a hash, the rule and the place, never the secret.
    fn tell(&self, labels: Labels, found: Vec<Finding>, now: Timestamp) {
        self.count("said", &found);
        let more = found.len().saturating_sub(TOLD_MAX);
        for Audit { labels, finding, .. } in Audit::of(labels, now, found).take(TOLD_MAX) {
            // The place last: behind a name such as `password`, what follows would be taken for one in the log.
            tracing::info!(
                hash = %finding.hash,
                rule = finding.rule.name,
                severity = finding.rule.severity.name(),
                source = labels.source,
                topic = labels.topic,
                message_type = labels.message_type,
                place = shown::text(&place(&finding.place), PLACE_MAX),
                "a secret was taken out"
            );
        }
        if more > 0 {
            tracing::info!(more, "more secrets were taken out of the same message");
        }
    }

    fn count(&self, place: &'static str, found: &[Finding]) {
        if let Some(counters) = self.0.counters.get() {
            found.iter().for_each(|finding| counters.redacted(place, finding.rule.severity.name()));
        }
    }
}

/// What a text or document belongs to.
pub(crate) fn labels(source: &str, topic: &str, message_type: &str) -> Labels {
    Labels { source: source.to_owned(), topic: topic.to_owned(), message_type: message_type.to_owned() }
}

fn place(place: &Place) -> String {
    match place {
        Place::Text(bytes) => format!("bytes {} to {}", bytes.start, bytes.end),
        Place::Value(pointer) => pointer.clone(),
        Place::Within(pointer, bytes) => format!("{pointer}, bytes {} to {}", bytes.start, bytes.end),
        Place::Key(pointer) => format!("the name of {pointer}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::redact::Config;
    use std::collections::BTreeMap;

    #[test]
    fn a_node_says_no_secret_of_itself() {
        let redaction = Redaction::with(Some(Redactor::new(&Config::new([1; 32])).expect("the built-in rules")));
        let secret = "glpat-Zk3xQ9vW7tR2mN8pL4bY";
        let metadata = [("room", "4"), ("api_token", "abc"), ("note", secret)];
        let about = About {
            name: "ann".to_owned(),
            capabilities: vec!["search".to_owned(), format!("use:{secret}")],
            metadata: metadata.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            ..About::default()
        };
        let about = redaction.about(about, Timestamp::default());
        assert_eq!(about.capabilities, ["search", "use:[REDACTED]"]);
        let clean = [("room", "4"), ("api_token", "[REDACTED]"), ("note", "[REDACTED]")];
        let clean: BTreeMap<_, _> = clean.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!((about.name.as_str(), about.metadata), ("ann", clean));
        let leave = Ask::Leave { reason: format!("restarting with {secret}") };
        let Ok(Ask::Leave { reason }) = redaction.ask(leave, Timestamp::default()) else { panic!("it leaves") };
        assert_eq!(reason, "restarting with [REDACTED]");
    }
}
