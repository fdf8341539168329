//! What a node does with knowledge: signs what somebody here says and tells the nodes that it knows, takes what others hand
//! over, answers them, and asks them. What others say is data: each entry counts by the signature of whoever said it,
//! whoever hands it over.

use super::super::mesh::{ASKED_MAX, Target, everybody, said};
use super::entries::{Entries, KnowledgeError, Outcome};
use crate::driver::Handle;
use crate::link::{Asked, Pool};
use crate::redaction::labels;
use crate::store::knowledge::Entry;
use bytes::Bytes;
use comity_core::basin::encoder;
use comity_core::id::NodeId;
use comity_core::identity::signature::BadSignature;
use comity_core::knowledge::{
    About, BadKnowledge, Beside, Knowledge, LIMIT, LIMIT_MAX, Request, TOPIC_MAX, find, widened,
};
use comity_core::node::NodeView;
use comity_core::redact::Typed;
use comity_core::registry::profile::NodeName;
use comity_core::wire::control::{AskKnowledge, Fact, Facts, NewFact, NotAnswered, SharedFact};
use comity_core::wire::mesh::knowledge::{
    Batch, PAGE_BYTES_MAX, Signed, Writing, path, read_found, read_shared, write_request, write_shared,
};
use comity_core::wire::mesh::reading::BadBody;
use comity_core::wire::mesh::sync::BadCursor;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

/// Nodes that are told at once, at most.
const TOLD_AT_ONCE: usize = 16;

/// How long another node may take to take an entry: whoever says something waits for it.
const SHARED_WITHIN: Duration = Duration::from_secs(2);

/// How long others may take to answer when nobody says.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Largest answer to an entry that was shared, bytes.
const SHARED_ANSWER_MAX: usize = 16 * 1024;

/// Largest answer to a question that is read, bytes: as large as nodes of this kind write them, and one entry more.
const FOUND_MAX: usize = PAGE_BYTES_MAX + 1024 * 1024;

/// Contents that one answer shows to somebody here, bytes, at most: what a client reads has room for them.
const SHOWN_MAX: usize = 8 * 1024 * 1024;

/// Entries, shared with others. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Exchange(Arc<Shared>);

struct Shared {
    entries: Entries,
    handle: Handle,
    pool: Pool,
    /// How many numbers a vector of this mesh has.
    dimension: usize,
}

/// Why something that somebody here says or asks is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSaid {
    /// A field is not what it should be.
    #[error("{why}")]
    Field {
        /// The field, as an RFC 6901 pointer.
        pointer: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// This node has said something later under this id.
    #[error("what this node said under this id is as new, or newer: its clock went back, perhaps")]
    Older,
    /// This node has said too much already.
    #[error("this node has no room for more knowledge of its own")]
    Full,
    /// The disk, or the end of the node.
    #[error(transparent)]
    Store(#[from] KnowledgeError),
}

/// Why what another node hands over is refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It is no entry.
    #[error(transparent)]
    Body(#[from] BadBody),
    /// Nobody can have signed it.
    #[error("source_node: the id of the node that signed it is wanted, `ed25519:` and its key")]
    Signer,
    /// The node that it names did not sign it as it is.
    #[error(transparent)]
    Signature(#[from] BadSignature),
    /// The disk, or the end of the node.
    #[error(transparent)]
    Store(#[from] KnowledgeError),
}

/// An entry, and of whom it came.
struct Heard {
    entry: Entry,
    via: Vec<String>,
}

impl Borrow<Knowledge> for Heard {
    fn borrow(&self) -> &Knowledge {
        &self.entry.knowledge
    }
}

impl Exchange {
    pub(in crate::search) fn new(entries: Entries, handle: Handle, pool: Pool, dimension: usize) -> Self {
        Self(Arc::new(Shared { entries, handle, pool, dimension }))
    }

    /// What is kept.
    pub(crate) fn entries(&self) -> &Entries {
        &self.0.entries
    }

    /// Signs what somebody here says, keeps it, and tells the nodes that are known and there.
    pub(crate) async fn say(&self, wanted: NewFact) -> Result<SharedFact, NotSaid> {
        let is_local = wanted.local;
        let me = self.0.handle.me();
        let knowledge = self.entry(wanted)?;
        let (node, keys) = (me.node(), me.keys());
        let signature = knowledge.sign(&node.to_string(), keys);
        let entry = Entry { knowledge, signer: node, signature, via: None };
        match self.0.entries.take(vec![entry.clone()], None).await?.first() {
            Some(Outcome::Full) => return Err(NotSaid::Full),
            Some(Outcome::Older) => return Err(NotSaid::Older),
            _ => {}
        }
        let view = self.0.handle.look().await;
        let told = if is_local { Vec::new() } else { everybody(&view, usize::MAX) };
        let body = Bytes::from(signed(entry.clone()).write());
        let tell = |target: Target| {
            let body = body.clone();
            async move { (target.name.clone(), self.tell(&target, body).await) }
        };
        let (mut taken_by, mut not_taken) = (Vec::new(), Vec::new());
        let told: Vec<_> = stream::iter(told.into_iter().map(tell)).buffered(TOLD_AT_ONCE).collect().await;
        for (node, told) in told {
            match told {
                Ok(()) => taken_by.push(node),
                Err(cause) => not_taken.push(NotAnswered { node, cause }),
            }
        }
        let fact = self.fact(Heard { entry, via: Vec::new() }, &view);
        Ok(SharedFact { fact, taken_by, not_taken })
    }

    /// An entry of what somebody says, without its secrets.
    fn entry(&self, wanted: NewFact) -> Result<Knowledge, NotSaid> {
        let NewFact { topic, content, confidence, source, id, local: _ } = wanted;
        if content.trim().is_empty() {
            return Err(NotSaid::Field { pointer: "/content", why: "a text is wanted".to_owned() });
        }
        let id = id.unwrap_or_else(|| format!("{:016x}", rand::random::<u64>()));
        let now = self.0.handle.now().wall;
        let value = json!({ "topic": topic, "content": content, "source": source });
        let clean = self.0.handle.redaction().document(&value, &Typed::default(), || labels("knowledge", "", ""), now);
        let text = |name: &str| clean[name].as_str().map(str::to_owned);
        let (topic, content) = (text("topic").unwrap_or_default(), text("content").unwrap_or_default());
        let source = text("source").filter(|source| !source.is_empty());
        let topic_basin = encoder::encode(&format!("{topic} {content}"), self.0.dimension);
        let topic_basin = topic_basin.map(|basin| widened(&basin));
        let knowledge = Knowledge { id, topic, topic_basin, content, source, confidence, created: now.into() };
        knowledge.bounded().map_err(|bad| NotSaid::Field { pointer: pointer(bad), why: bad.to_string() })?;
        Ok(knowledge)
    }

    async fn tell(&self, target: &Target, body: Bytes) -> Result<(), String> {
        let (asked, begun) = (Asked::Post(path::SHARE.into(), body), Instant::now());
        let answered = self.0.pool.ask(&target.peer, &asked, SHARED_WITHIN, SHARED_ANSWER_MAX).await;
        let body = answered.map_err(|why| said(why, begun.elapsed() >= SHARED_WITHIN, SHARED_WITHIN))?;
        match read_shared(&body) {
            Ok(true) => Ok(()),
            Ok(false) => Err("it did not take it".to_owned()),
            Err(bad) => Err(format!("its answer cannot be read: {bad}")),
        }
    }

    /// Takes an entry that another node hands over, which may have proved its key, whoever said it: what answers it.
    pub(crate) async fn take(&self, sender: Option<NodeId>, body: Bytes) -> Result<Vec<u8>, NotTaken> {
        let read = spawn_blocking(move || proven(Signed::read(&body)?, sender));
        let entry = read.await.expect("reading an entry does not panic")?;
        self.0.entries.take(vec![entry], None).await?;
        Ok(write_shared())
    }

    /// Answers another node of what is kept here.
    pub(crate) async fn answer(&self, request: &Request) -> Result<Vec<u8>, KnowledgeError> {
        let found = self.0.entries.answer(request).await?;
        let write = move || {
            let mut writing = Writing::default();
            let mut found = found.into_iter().map(signed);
            while found.next().is_some_and(|entry| writing.push(&entry)) {}
            writing.found()
        };
        Ok(spawn_blocking(write).await.expect("writing an answer does not panic"))
    }

    /// A page of what is kept here. `None`: the cursor is of a log that is no more.
    pub(crate) async fn page(&self, wanted: &Batch) -> Result<Result<Option<Vec<u8>>, BadCursor>, KnowledgeError> {
        let entries = &self.0.entries;
        let after = match wanted.cursor.as_deref().map(str::parse) {
            None => Some(0),
            Some(Ok(cursor)) => entries.place(cursor),
            Some(Err(bad)) => return Ok(Err(bad)),
        };
        let Some(after) = after else { return Ok(Ok(None)) };
        let (read, entries) = (entries.since(after, wanted.size).await?, entries.clone());
        let write = move || {
            let (mut writing, mut upto) = (Writing::default(), after);
            for (seq, entry) in read {
                if !writing.push(&signed(entry)) {
                    break;
                }
                upto = seq;
            }
            writing.pulled(&entries.cursor(upto).to_string())
        };
        Ok(Ok(Some(spawn_blocking(write).await.expect("writing a page does not panic"))))
    }

    /// Asks this node and those that it knows about a topic.
    pub(crate) async fn ask(&self, wanted: AskKnowledge) -> Result<Facts, NotSaid> {
        let begun = Instant::now();
        let timeout = timeout(&wanted)?;
        let (redaction, now) = (self.0.handle.redaction(), self.0.handle.now().wall);
        let topic = redaction.text(&wanted.topic, || labels("question", "", ""), now).into_owned();
        let wanted = AskKnowledge { topic: topic.clone(), ..wanted };
        let request = request(&wanted)?;
        let basin = encoder::encode(&topic, self.0.dimension);
        let near = basin.clone().map(|basin| Request { about: About::Basin(basin), ..request.clone() });
        let requests: Vec<Request> = [Some(request.clone()), near].into_iter().flatten().collect();
        let view = self.0.handle.look().await;
        let mut others = if wanted.local { Vec::new() } else { everybody(&view, usize::MAX) };
        let nodes_queried = 1 + others.len() as u64;
        let left_out = others.split_off(others.len().min(ASKED_MAX)).into_iter();
        let cause = || "more nodes are known than are asked".to_owned();
        let not_asked = left_out.map(|target| NotAnswered { node: target.name, cause: cause() });
        let others = join_all(others.into_iter().map(|target| self.ask_one(target, &requests, timeout)));
        let own = join_all(requests.iter().map(|request| self.0.entries.answer(request)));
        let (own, others) = tokio::join!(own, others);
        let (mut heard, mut nodes_failed, mut refused) = (BTreeMap::new(), not_asked.collect::<Vec<_>>(), 0);
        for entry in own.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten() {
            add(&mut heard, entry, &view.name);
        }
        for answered in others {
            match answered {
                Ok((name, entries, bad)) => {
                    refused += bad;
                    entries.into_iter().for_each(|entry| add(&mut heard, entry, &name));
                }
                Err(failed) => nodes_failed.push(failed),
            }
        }
        let mut found = find(heard.into_values().collect(), &topic, basin.as_deref(), &request);
        let left_out = bounded(&mut found);
        let knowledge = found.into_iter().map(|heard| self.fact(heard, &view)).collect();
        let total_time_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Facts { knowledge, nodes_queried, nodes_failed, refused, left_out, total_time_ms })
    }

    /// What another node says: its name, what it knows, and how much of that does not count.
    async fn ask_one(
        &self,
        Target { name, peer }: Target,
        requests: &[Request],
        timeout: Duration,
    ) -> Result<(String, Vec<Entry>, u64), NotAnswered> {
        let failed = |cause: String| NotAnswered { node: name.clone(), cause };
        let Some(key) = peer.key else { return Err(failed("its key is not known".to_owned())) };
        let begun = Instant::now();
        let ask = async |request: &Request| {
            let asked = Asked::Post(path::REQUEST.into(), write_request(request).into());
            let answered = self.0.pool.ask(&peer, &asked, timeout, FOUND_MAX).await;
            let body = answered.map_err(|why| failed(said(why, begun.elapsed() >= timeout, timeout)))?;
            let read = spawn_blocking(move || read_found(&body).map(|found| checked(found.items, found.refused, key)));
            let read = read.await.expect("reading an answer does not panic");
            read.map_err(|bad| failed(format!("its answer cannot be read: {bad}")))
        };
        let (mut entries, mut refused) = (Vec::new(), 0);
        for answered in join_all(requests.iter().map(ask)).await {
            let (some, bad) = answered?;
            entries.extend(some);
            refused += bad;
        }
        if refused > 0 {
            tracing::warn!(
                node = name,
                refused,
                "some of what a node answered is left out: it cannot be read, or nobody signed it"
            );
        }
        Ok((name, entries, refused))
    }

    /// An entry as somebody here is shown it.
    fn fact(&self, Heard { entry, via }: Heard, view: &NodeView) -> Fact {
        let Entry { knowledge, signer, .. } = entry;
        let peer = view.peers.iter().find(|peer| peer.key == Some(signer));
        let (name, trust) = match peer {
            _ if signer == self.0.handle.me().node() => (view.name.clone(), "own"),
            peer => {
                let trust = if view.known.contains(&signer) { "known" } else { "unverified" };
                (peer.map(|peer| peer.name.clone()).unwrap_or_default(), trust)
            }
        };
        Fact {
            id: knowledge.id,
            topic: knowledge.topic,
            content: knowledge.content,
            source: knowledge.source,
            confidence: knowledge.confidence,
            created: knowledge.created.as_str().to_owned(),
            node: signer.to_string(),
            name,
            trust: trust.to_owned(),
            via,
        }
    }
}

/// An entry as it goes to other nodes.
fn signed(entry: Entry) -> Signed {
    let source_node = NodeName::new(&entry.signer.to_string()).ok();
    Signed { entry: entry.knowledge, source_node, signature: entry.signature }
}

/// An entry that somebody has signed: whom it names, or whoever hands it over where it names nobody and that proved its
/// key.
pub(super) fn proven(signed: Signed, sender: Option<NodeId>) -> Result<Entry, NotTaken> {
    let Signed { entry: knowledge, source_node, signature } = signed;
    let signer = match source_node {
        Some(name) => name.as_str().parse().map_err(|_| NotTaken::Signer)?,
        None => sender.ok_or(NotTaken::Signer)?,
    };
    knowledge.check(&signer.to_string(), &signer, &signature)?;
    Ok(Entry { knowledge, signer, signature, via: sender })
}

/// Those entries that somebody has signed; and how many do not count, with those that could not be read.
pub(super) fn checked(items: Vec<Signed>, unread: usize, sender: NodeId) -> (Vec<Entry>, u64) {
    let all = items.len() + unread;
    let good: Vec<Entry> = items.into_iter().filter_map(|signed| proven(signed, Some(sender)).ok()).collect();
    let refused = all - good.len();
    (good, refused as u64)
}

/// Adds an entry to what was heard: of one id of one signer the newest counts, whoever told it.
fn add(heard: &mut BTreeMap<(NodeId, String), Heard>, entry: Entry, via: &str) {
    let place = (entry.signer, entry.knowledge.id.clone());
    let Some(known) = heard.get_mut(&place) else {
        heard.insert(place, Heard { entry, via: vec![via.to_owned()] });
        return;
    };
    match entry.knowledge.beside(&known.entry.knowledge) {
        Beside::Newer => *known = Heard { entry, via: vec![via.to_owned()] },
        Beside::Same if !known.via.iter().any(|known| known == via) => known.via.push(via.to_owned()),
        _ => {}
    }
}

/// Leaves out what is too much to be shown at once: how many.
fn bounded(found: &mut Vec<Heard>) -> u64 {
    let mut bytes = 0;
    let fits = |heard: &&Heard| {
        bytes += heard.entry.knowledge.content.len();
        bytes <= SHOWN_MAX
    };
    let kept = found.iter().take_while(fits).count();
    let left_out = found.len() - kept;
    found.truncate(kept);
    left_out as u64
}

/// What is asked of each node.
fn request(wanted: &AskKnowledge) -> Result<Request, NotSaid> {
    let bad = |pointer, why: String| NotSaid::Field { pointer, why };
    if wanted.topic.trim().is_empty() || wanted.topic.chars().count() > TOPIC_MAX {
        return Err(bad("/topic", format!("1 to {TOPIC_MAX} characters are wanted")));
    }
    let limit = wanted.limit.unwrap_or(LIMIT as u64);
    if !(1..=LIMIT_MAX as u64).contains(&limit) {
        return Err(bad("/limit", format!("a whole number from 1 to {LIMIT_MAX} is wanted")));
    }
    if wanted.min_confidence.is_some_and(|min| !(0.0..=1.0).contains(&min)) {
        return Err(bad("/min_confidence", "a number from 0 to 1 is wanted".to_owned()));
    }
    let about = About::Topic(wanted.topic.clone());
    Ok(Request { about, limit: limit as usize, min_confidence: wanted.min_confidence })
}

fn timeout(wanted: &AskKnowledge) -> Result<Duration, NotSaid> {
    match wanted.timeout_ms {
        None => Ok(TIMEOUT),
        Some(timeout @ 1..=30_000) => Ok(Duration::from_millis(timeout)),
        Some(_) => {
            let why = "a whole number from 1 to 30000 is wanted".to_owned();
            Err(NotSaid::Field { pointer: "/timeout_ms", why })
        }
    }
}

fn pointer(bad: BadKnowledge) -> &'static str {
    match bad {
        BadKnowledge::Id => "/id",
        BadKnowledge::Topic => "/topic",
        BadKnowledge::TopicBasin | BadKnowledge::Content => "/content",
        BadKnowledge::Source => "/source",
        BadKnowledge::Confidence => "/confidence",
    }
}
