//! What a node writes into its journal: what is said and heard on topics, which proven peers come and go, and who
//! called which tool, without secrets. How entries are kept and proved is `store/journal/`. See "Journal" in `protocols/pubsub.md`.

use crate::driver::Handle;
use crate::redaction::labels;
use crate::store::journal::{Journal, JournalError, Limits, NotAppended};
use comity_core::id::{Libp2pId, PeerId, encode_base64};
use comity_core::identity::key::KeyPair;
use comity_core::identity::trust::Trust;
use comity_core::journal::{BadDraft, Draft, EntryKind};
use comity_core::node::Event;
use comity_core::peers::PeerView;
use comity_core::redact::{MARK, Typed};
use comity_core::time::Timestamp;
use comity_core::topic::Topic;
use comity_core::wire::gossip::Envelope;
use comity_core::wire::journal::MessageData;
use comity_core::wire::strict;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::spawn_blocking;

/// How much of a raw message is journaled, bytes: as much as people write to each other. Of more, the beginning is
/// kept, and how much it was.
const RAW_MAX: usize = 64 * 1024;

/// How deep a raw message may be nested to be journaled as JSON; what is deeper is journaled as its text.
const RAW_DEPTH_MAX: usize = 24;

/// Comity's own fields that prove something to whoever has them: they are in no journal.
const CREDENTIALS: [&str; 6] = ["sig", "signature", "nonce", "grant", "ice_ufrag", "ice_pwd"];

/// The `message_type` of what is no message of one of the 31 types.
const RAW: &str = "raw";

/// What was said or heard on a topic.
#[derive(Debug, Clone, Copy)]
pub(super) enum Words<'a> {
    /// A message of one of the 31 types.
    Message(&'a Envelope),
    /// Bytes of a program's own.
    Raw {
        /// Who wrote them.
        from: &'a Libp2pId,
        /// What they are.
        data: &'a [u8],
    },
}

/// Who writes a node's journal. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Scribe {
    journal: Journal,
    handle: ShownHandle,
}

/// The node, which says nothing of itself in a log.
#[derive(Clone)]
struct ShownHandle(Handle);

impl std::fmt::Debug for ShownHandle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Handle")
    }
}

/// Opens the journal of this key. It reads the disk, so that it may take a while.
pub(super) async fn open(folder: PathBuf, key: KeyPair, limits: Limits) -> Result<Journal, JournalError> {
    let path = folder.clone();
    let opened = spawn_blocking(move || Journal::open(&folder, key, limits)).await;
    let (journal, _) = opened.map_err(|panic| JournalError::at(&path)(io::Error::other(panic)))??;
    Ok(journal)
}

impl Scribe {
    /// Writes into this journal what this node does.
    pub(super) fn new(journal: Journal, handle: Handle) -> Self {
        Self { journal, handle: ShownHandle(handle) }
    }

    /// Writes what is about to be said; it is said only once this is on the disk.
    pub(super) async fn say(&self, topic: &Topic, words: Words<'_>) -> Result<(), NotAppended> {
        let draft = self.draft(topic, words)?;
        self.journal.append(draft).await.map(drop)
    }

    /// Writes what was heard. A disk that does not take it does not keep the node from hearing: it is counted.
    pub(super) async fn hear(&self, topic: &Topic, words: Words<'_>) {
        let draft = self.draft(topic, words).map_err(NotAppended::from);
        self.write(draft).await;
    }

    /// Writes that a tool was called, by whom and with what, and how that ended.
    pub(crate) async fn note_call(&self, result: &'static str, data: Value) {
        self.count_call(result);
        self.note(EntryKind::ToolCalled, data).await;
    }

    /// Counts a call that there is no room to write.
    pub(crate) fn count_call(&self, result: &'static str) {
        self.handle.0.counters().tool_called(result);
    }

    /// Writes which proven peers come and go, until the node ends.
    pub(super) async fn watch_peers(self) {
        let mut events = self.handle.0.peer_events();
        let mut here: HashMap<PeerId, String> = HashMap::new();
        self.compare(&mut here).await;
        loop {
            match events.recv().await.as_deref() {
                Ok(Event::PeerJoined(peer) | Event::PeerUpdated(peer)) => self.note_peer(&mut here, peer).await,
                Ok(Event::PeerLeft { peer, goodbye, .. }) => {
                    if let Some(name) = here.remove(peer) {
                        self.note_left(*peer, &name, Some(*goodbye)).await;
                    }
                }
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => self.compare(&mut here).await,
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Notes the difference between those who were here and those who are.
    async fn compare(&self, here: &mut HashMap<PeerId, String>) {
        let view = self.handle.0.look().await;
        let gone = |id: &PeerId| !view.peers.iter().any(|peer| peer.id == *id && is_proven(peer));
        let left: Vec<PeerId> = here.keys().filter(|id| gone(id)).copied().collect();
        for id in left {
            let name = here.remove(&id).unwrap_or_default();
            self.note_left(id, &name, None).await;
        }
        for peer in &view.peers {
            self.note_peer(here, peer).await;
        }
    }

    async fn note_peer(&self, here: &mut HashMap<PeerId, String>, peer: &PeerView) {
        if !is_proven(peer) || here.contains_key(&peer.id) {
            return;
        }
        here.insert(peer.id, peer.name.clone());
        let key = peer.key.map(|key| key.to_string());
        let data = json!({ "peer": peer.id.0, "node": key, "name": peer.name, "trust": peer.trust.name() });
        self.note(EntryKind::PeerJoined, data).await;
    }

    async fn note_left(&self, id: PeerId, name: &str, goodbye: Option<bool>) {
        let mut data = json!({ "peer": id.0, "name": name });
        if let Some(goodbye) = goodbye {
            data["goodbye"] = goodbye.into();
        }
        self.note(EntryKind::PeerLeft, data).await;
    }

    async fn note(&self, kind: EntryKind, data: Value) {
        let draft = self.clean(kind, "", kind.name(), data);
        self.write(draft.map_err(NotAppended::from)).await;
    }

    async fn write(&self, draft: Result<Draft, NotAppended>) {
        let written = match draft {
            Ok(draft) => self.journal.append(draft).await.map(drop),
            Err(bad) => Err(bad),
        };
        match written {
            // The node ends, and what still comes is not missed.
            Ok(()) | Err(NotAppended::Closed) => {}
            Err(why) => {
                tracing::debug!(%why, "something that happened is not in the journal");
                self.handle.0.counters().not_journaled();
            }
        }
    }

    fn draft(&self, topic: &Topic, words: Words<'_>) -> Result<Draft, BadDraft> {
        match words {
            Words::Message(envelope) => {
                let data = Value::Object(message_data(envelope, topic).to_map());
                self.clean(envelope.entry_kind(), topic.name(), envelope.kind.name(), data)
            }
            Words::Raw { from, data } => {
                let said = MessageData {
                    message_type: RAW.to_owned(),
                    from_peer: from.to_string(),
                    from_short: short(from),
                    timestamp: self.now(),
                    data: raw_data(data),
                    topic: topic.name().to_owned(),
                    ..MessageData::default()
                };
                self.clean(EntryKind::Collaboration, topic.name(), RAW, Value::Object(said.to_map()))
            }
        }
    }

    /// What is written: without secrets, and without what Comity itself proves things with.
    fn clean(&self, kind: EntryKind, topic: &str, message: &str, mut data: Value) -> Result<Draft, BadDraft> {
        take_credentials(&mut data);
        let labels = || labels("journal", topic, message);
        let clean = self.handle.0.redaction().document(&data, &Typed::default(), labels, self.now()).into_owned();
        let data = if let Value::Object(members) = clean { members } else { Map::new() };
        Draft::new(kind, self.now(), data)
    }

    fn now(&self) -> Timestamp {
        self.handle.0.now().wall
    }
}

/// Takes out what Comity itself proves things with. It is in every message of some types, so that it is no finding that
/// anybody should hear of, as a secret is.
fn take_credentials(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(take_credentials),
        Value::Object(members) => members.iter_mut().for_each(|(name, value)| {
            if CREDENTIALS.contains(&name.as_str()) && !value.is_null() {
                *value = MARK.into();
            } else {
                take_credentials(value);
            }
        }),
        _ => {}
    }
}

fn is_proven(peer: &PeerView) -> bool {
    peer.presence.is_here() && peer.trust >= Trust::Verified
}

fn message_data(envelope: &Envelope, topic: &Topic) -> MessageData {
    MessageData {
        message_type: envelope.kind.name().to_owned(),
        from_peer: envelope.from.to_string(),
        from_short: short(&envelope.from),
        timestamp: envelope.timestamp,
        data: envelope.data.clone(),
        topic: topic.name().to_owned(),
        from_role: envelope.from_role.clone(),
        to_roles: envelope.to_roles.clone(),
        required_expertise: envelope.required_expertise.clone(),
        project_id: envelope.project_id.clone(),
        priority: envelope.priority.map(|priority| priority.name().to_owned()),
        thread_id: envelope.thread_id.clone(),
    }
}

/// A PeerId as libp2p shortens it.
fn short(id: &Libp2pId) -> String {
    const BEGIN: usize = 2;
    const END: usize = 6;
    let id = id.to_string();
    match (id.get(..BEGIN), id.len().checked_sub(END).and_then(|at| id.get(at..))) {
        (Some(begin), Some(end)) if id.len() > BEGIN + END => format!("{begin}*{end}"),
        _ => id,
    }
}

/// A raw message as `data`: its `json`, its `text` or, in base64url, its `base64`; with `bytes` where that is only the
/// beginning of so many.
fn raw_data(data: &[u8]) -> Map<String, Value> {
    let cut = data.len().min(RAW_MAX);
    let (name, value) = match (strict::parse_within(data, RAW_DEPTH_MAX), std::str::from_utf8(data)) {
        (Ok(value), _) if data.len() <= RAW_MAX => ("json", value),
        (_, Ok(text)) => ("text", text[..text.floor_char_boundary(cut)].into()),
        _ => ("base64", encode_base64(&data[..cut]).into()),
    };
    let mut members = Map::from_iter([(name.to_owned(), value)]);
    if data.len() > RAW_MAX {
        members.insert("bytes".to_owned(), data.len().into());
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raw_message_is_journaled_as_what_it_is_and_only_its_beginning_when_it_is_long() {
        let json = raw_data(br#"{"a":[1]}"#);
        assert_eq!(json["json"]["a"][0], 1);
        assert_eq!(raw_data("h\u{e9}".as_bytes())["text"], "hé");
        assert_eq!(raw_data(b"\xff")["base64"], "_w");
        let deep = format!("{}{}", "[".repeat(RAW_DEPTH_MAX + 1), "]".repeat(RAW_DEPTH_MAX + 1));
        assert!(raw_data(deep.as_bytes()).contains_key("text"));
        let long = raw_data("é".repeat(RAW_MAX).as_bytes());
        assert_eq!((long["text"].as_str().map(str::len), &long["bytes"]), (Some(RAW_MAX), &json!(2 * RAW_MAX)));
        let escaped = raw_data("\u{1}".repeat(4 * RAW_MAX).as_bytes());
        Draft::new(EntryKind::Collaboration, Timestamp::default(), escaped).expect("it fits an entry");
    }

    #[test]
    fn what_proves_something_to_whoever_has_it_is_taken_out_wherever_it_stands() {
        let mut data = json!({"data": {"sig": "x", "task": [{"grant": {"a": 1}, "nonce": null}], "design": "y"}});
        take_credentials(&mut data);
        assert_eq!(data, json!({"data": {"sig": MARK, "task": [{"grant": MARK, "nonce": null}], "design": "y"}}));
    }

    #[test]
    fn a_peer_id_is_short_as_in_libp2p() {
        let id = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp".parse().expect("a PeerId");
        assert_eq!(short(&id), "12*c6iDEp");
    }
}
