//! What a node does with its index: takes documents in, answers questions from it, and asks the nodes that it knows. What
//! each of them answers is data: it is checked, bounded and merged by `comity_core::basin::merge`. See "Basins" and
//! "Routing" in `protocols/mesh.md`.

mod asking;
mod hedging;
mod listing;
mod relay;
mod showing;

pub(super) use asking::{ASKED_MAX, Target, everybody, said};
pub(crate) use listing::standing;

use super::documents::prepare;
use super::encoding::{Encoder, NoVector, NotEncoded};
use super::index::{Found, Index, IndexError, Outcome, Question};
use super::knowledge::{Entries, Exchange, Pull};
use super::notices::Notices;
use super::sync::Sync;
use super::whereabouts::Elsewhere;
use crate::config::{self, SourceTrust};
use crate::driver::Handle;
use crate::link::{Asked as Request, Links, Pool};
use crate::redaction::labels;
use crate::store::documents::{OWN, Standing, Whole};
use asking::{freshness, is_called, is_me, late, read, targets};
use bytes::Bytes;
use comity_core::basin::merge::{self, Answered};
use comity_core::basin::{DocId, Metadata, Record};
use comity_core::id::NodeId;
use comity_core::node::NodeView;
use comity_core::time::Timestamp;
use comity_core::wire::control::{self, Indexed, NewDocument};
use comity_core::wire::mesh::form::BadForm;
use comity_core::wire::mesh::query::{self, ANSWER_BYTES_MAX, Answer, Asked, Hit, NodeFailed, Query};
use comity_core::wire::mesh::sync::{Cursor, PageWriter, Since, Source, SyncQuery, read_broadcast};
use hedging::{Heard, Pace, Round};
use showing::{shown, words};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout_at};

/// Documents that are signed anew at once.
const SIGNED_AT_ONCE: usize = 500;

/// Documents that are removed at once.
const REMOVED_AT_ONCE: usize = 1000;

/// What documents count that are kept here of nodes that are trusted fully, and in part.
const FULL: f64 = 1.0;
const PARTIAL: f64 = 0.5;

/// The path at which nodes are asked.
const PATH: &str = "/mesh/query";

/// The mesh, as this node sees it. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Mesh(Arc<Shared>);

struct Shared {
    index: Index,
    encoder: Encoder,
    handle: Handle,
    pool: Pool,
    sync: Sync,
    notices: Notices,
    knowledge: Exchange,
    pull: Pull,
    /// Where documents of others lie, as a registry tells.
    elsewhere: watch::Receiver<Elsewhere>,
    pace: Pace,
}

/// Why a question is not asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotAsked {
    /// It is none.
    #[error("{why} at {pointer}")]
    Field {
        /// The field at fault, an RFC 6901 pointer.
        pointer: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The encoder makes no vector of it.
    #[error(transparent)]
    Encoder(#[from] NotEncoded),
    /// This node's own index does not answer.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Why documents are not indexed. None of them is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotIndexed {
    /// The encoder makes no vectors of them.
    #[error(transparent)]
    Encoder(#[from] NotEncoded),
    /// The index does not take them.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Why what another node tells is not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTold {
    /// It is none.
    #[error(transparent)]
    Form(#[from] BadForm),
    /// This node's own index does not take it.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl fmt::Debug for Mesh {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Mesh").field("index", &self.0.index).finish_non_exhaustive()
    }
}

impl Mesh {
    pub(crate) fn new(
        (index, encoder): (Index, Encoder),
        entries: Entries,
        (handle, links): (&Handle, &Links),
        (settings, elsewhere): (&config::Mesh, watch::Receiver<Elsewhere>),
    ) -> Self {
        let pool = Pool::new(links.clone());
        let dimension = index.settings().dimension();
        let knowledge = Exchange::new(entries.clone(), handle.clone(), pool.clone(), dimension);
        let (copied, every) = (settings.sources.clone(), settings.sync_every);
        let pull = Pull { entries, handle: handle.clone(), pool: pool.clone(), sources: copied, every };
        let sources = (settings.sources.clone(), settings.sync_every);
        let sync = Sync::new(index.clone(), handle.clone(), pool.clone(), sources);
        let notices = Notices::new(handle.clone(), pool.clone(), settings.sync_every);
        let (handle, pace) = (handle.clone(), Pace::default());
        Self(Arc::new(Shared { index, encoder, handle, pool, sync, notices, knowledge, pull, elsewhere, pace }))
    }

    /// Keeps copies of others' documents, and tells those who copy this node's, until the node ends.
    pub(crate) async fn keep(self) {
        let Shared { index, sync, notices, pull, .. } = &*self.0;
        if let Err(error) = self.sign_anew().await {
            tracing::error!(%error, "documents that an older key of this node has signed are refused by others");
        }
        tokio::join!(sync.clone().run(), notices.run(index), pull.run());
    }

    /// Signs documents anew that an older key of this node has signed. Each comes to the end of the log by that: when the
    /// first of the log is signed by this key, all are.
    async fn sign_anew(&self) -> Result<(), IndexError> {
        let index = &self.0.index;
        let (node, settings) = (self.0.handle.me().node(), index.settings());
        let mut after = 0;
        loop {
            let logged = index.since(after, SIGNED_AT_ONCE).await?;
            let Some((last, _)) = logged.last() else { return Ok(()) };
            after = last.seq;
            let old = logged.into_iter().filter_map(|(whole, vector)| {
                let record = record(whole, vector, node, settings.encoder())?;
                record.check(settings, &node).is_err().then_some((record.doc_id, record.vector))
            });
            let old: Vec<_> = old.collect();
            if old.is_empty() {
                return Ok(());
            }
            tracing::info!(documents = old.len(), "documents are signed anew by this node's new key");
            index.sign(old).await?;
        }
    }

    /// Takes what another node says of its own documents, where copies of them are kept here: how many updates counted,
    /// and how many did not.
    pub(crate) async fn told(&self, sender: NodeId, body: Bytes) -> Result<(u64, u64), NotTold> {
        let now = self.0.handle.now().wall;
        let read =
            spawn_blocking(move || read_broadcast(&body, Source { sender: Some(sender), named: &|_| None, now }));
        let updates = read.await.expect("reading updates does not panic")?;
        let all = (updates.records.len() + updates.bad_count) as u64;
        if self.0.sync.trust(&sender).is_none() {
            return Ok((0, all));
        }
        let records = self.0.sync.checked(sender, updates).await;
        let taken = records.len() as u64;
        self.0.index.take(sender, records, (None, false)).await?;
        self.0.sync.notice(sender);
        Ok((taken, all - taken))
    }

    /// The index.
    pub(crate) fn index(&self) -> &Index {
        &self.0.index
    }

    /// Writes what is under way, and closes the files.
    pub(crate) async fn close(&self) {
        tokio::join!(self.0.index.close(), self.0.knowledge.entries().close());
    }

    /// What this node and others say to know.
    pub(crate) fn knowledge(&self) -> &Exchange {
        &self.0.knowledge
    }

    /// Indexes documents: they are safe, and found, when this returns. Those that are wrong are refused, and the others
    /// are not lost by it.
    pub(crate) async fn add(&self, documents: Vec<NewDocument>) -> Result<Indexed, NotIndexed> {
        let by = (&self.0.encoder, self.0.index.settings());
        let (ready, refused) = prepare(documents, by, &self.0.handle).await?;
        let mut indexed = Indexed { refused, ..Indexed::default() };
        for outcome in self.0.index.put(ready).await? {
            match outcome {
                Outcome::Added => indexed.added += 1,
                Outcome::Changed | Outcome::Deleted => indexed.changed += 1,
                Outcome::Unchanged => indexed.unchanged += 1,
            }
        }
        Ok(indexed)
    }

    /// Takes documents out of the index: how many were in it.
    pub(crate) async fn remove(&self, ids: Vec<DocId>) -> Result<u64, IndexError> {
        let outcomes = self.0.index.delete(ids).await?;
        Ok(outcomes.iter().filter(|outcome| **outcome == Outcome::Deleted).count() as u64)
    }

    /// Takes all documents of this node out of the index whose URL begins so: how many.
    pub(crate) async fn remove_below(&self, prefix: &str) -> Result<u64, IndexError> {
        let mut removed = 0;
        loop {
            let listed = self.0.index.list((prefix, &Standing::default()), true, REMOVED_AT_ONCE).await?;
            let ids: Vec<DocId> = listed.iter().filter_map(|one| one.doc_id.parse().ok()).collect();
            let gone = self.remove(ids).await?;
            removed += gone;
            if gone == 0 {
                return Ok(removed);
            }
        }
    }

    /// Searches this node and those that it knows, for somebody on this machine.
    pub(crate) async fn search(&self, wanted: control::Search) -> Result<Answer, NotAsked> {
        self.search_by(read(wanted)?).await
    }

    /// The same, of a question that was read.
    pub(crate) async fn search_by(&self, query: Query) -> Result<Answer, NotAsked> {
        let begun = Instant::now();
        let until = hedging::until(begun, query.timeout);
        let query = self.without_secrets(query);
        let view = self.0.handle.look().await;
        // A model that does not answer leaves half of the time for asking those who can.
        let mut trouble = None;
        let unit: Result<Vec<f32>, String> = match timeout_at(begun + query.timeout / 2, self.unit(&query)).await {
            Ok(Err(NotAsked::Encoder(why))) => Err(trouble.insert(why).to_string()),
            Ok(unit) => Ok(unit?),
            Err(_) => Err("its encoder did not answer in time".to_owned()),
        };
        let (is_here, round, failed) = match &unit {
            _ if !query.include_nodes.is_empty() => {
                let (is_here, first, failed) = targets(&view, &query.include_nodes);
                (is_here, Round { first, ..Round::default() }, failed)
            }
            Ok(unit) => (true, self.routed(unit, everybody(&view, usize::MAX)), Vec::new()),
            Err(_) => (true, Round { first: everybody(&view, ASKED_MAX), ..Round::default() }, Vec::new()),
        };
        let own = async {
            let unit = unit?;
            let own = self.own(&query, unit, self.copies(&query, is_here, &view));
            let own = timeout_at(until, own).await.map_err(|_| late(query.timeout))?;
            own.map_err(|why| why.to_string())
        };
        let (own, mut heard) = tokio::join!(own, self.ask_all(round, (&query, until)));
        heard.failed.extend(failed);
        let asked = heard.answered.len() + heard.failed.len() + usize::from(is_here);
        match (own, trouble) {
            (Ok(own), _) => heard.answered.extend(own),
            (Err(_), Some(why)) if heard.answered.is_empty() => return Err(why.into()),
            (Err(cause), _) if is_here => heard.failed.push(NodeFailed { node: view.name.clone(), cause }),
            (Err(_), _) => {}
        }
        Ok(self.merged(&query, heard, (asked, begun)))
    }

    /// A question of somebody here as it goes to a model and to others.
    fn without_secrets(&self, query: Query) -> Query {
        let Asked::Text(text) = &query.asked else { return query };
        let (redaction, now) = (self.0.handle.redaction(), self.0.handle.now().wall);
        let clean = redaction.text(text, || labels("question", "", ""), now).into_owned();
        Query { asked: Asked::Text(clean), ..query }
    }

    /// Answers another node from this node's own documents, and asks nobody: what nodes tell this one is not for those
    /// that they do not know.
    pub(crate) async fn answer(&self, query: &Query) -> Result<Answer, NotAsked> {
        let begun = Instant::now();
        let view = self.0.handle.last_view();
        let (is_here, elsewhere) = query.include_nodes.iter().fold((false, Vec::new()), |(here, mut others), name| {
            let is_me = is_me(&view, name);
            if !is_me {
                others.push(name.clone());
            }
            (here || is_me, others)
        });
        let cause = || "this node answers for itself alone: ask that one".to_owned();
        let failed: Vec<_> = elsewhere.into_iter().map(|node| NodeFailed { node, cause: cause() }).collect();
        let is_here = is_here || query.include_nodes.is_empty();
        let asked = failed.len() + usize::from(is_here);
        let answered = if is_here {
            let unit = self.unit_until(query, hedging::until(begun, query.timeout)).await?;
            self.own(query, unit, BTreeMap::from([(OWN, 1.0)])).await?
        } else {
            Vec::new()
        };
        Ok(self.merged(query, Heard { answered, failed }, (asked, begun)))
    }

    /// A page of the changes of this node's index; `None`: the cursor is of another log.
    pub(crate) async fn page(&self, wanted: SyncQuery, reader: Option<NodeId>) -> Result<Option<Vec<u8>>, IndexError> {
        let index = &self.0.index;
        if let Some(reader) = reader {
            self.0.notices.remember(reader);
        }
        let after = match wanted.since {
            Since::Beginning => 0,
            Since::Time(time) => index.before(time).await?,
            Since::Cursor(Cursor { log, after }) if log == index.log() && after <= *index.committed().borrow() => after,
            Since::Cursor(_) => return Ok(None),
        };
        let read = index.since(after, wanted.limit).await?;
        let (node, encoder, log) = (self.0.handle.me().node(), index.settings().encoder().to_owned(), index.log());
        let written = spawn_blocking(move || {
            let (mut page, mut upto) = (PageWriter::new(), after);
            for (whole, vector) in read {
                if page.is_full() {
                    break;
                }
                upto = whole.seq;
                if let Some(record) = record(whole, vector, node, &encoder) {
                    page.add(&record);
                }
            }
            page.finish(Cursor { log, after: upto })
        });
        Ok(Some(written.await.expect("writing a page does not panic")))
    }

    fn merged(
        &self,
        query: &Query,
        Heard { answered, failed: nodes_failed }: Heard,
        (asked, begun): (usize, Instant),
    ) -> Answer {
        let settings = self.0.index.settings();
        let merged = merge::merge(settings, answered, query.limit);
        Answer {
            results: merged.ranked.into_iter().map(Hit::from).collect(),
            nodes_queried: asked as u64,
            nodes_failed,
            total_time: begun.elapsed(),
            metric: settings.metric(),
        }
    }

    /// The sources of which what is here answers a question of this machine, and what each counts: this node, and those
    /// whose documents are kept here, less while they are silent; observers only by name.
    fn copies(&self, query: &Query, is_here: bool, view: &NodeView) -> BTreeMap<u32, f64> {
        let mut copies = BTreeMap::new();
        if is_here {
            copies.insert(OWN, 1.0);
        }
        for (number, key) in self.0.index.source_names() {
            let peer = view.peers.iter().find(|peer| peer.key == Some(key));
            let is_named =
                |wanted: &String| *wanted == key.to_string() || peer.is_some_and(|peer| is_called(peer, wanted));
            let by_name = query.include_nodes.iter().any(is_named);
            let weight = match self.0.sync.trust(&key) {
                Some(SourceTrust::Full) => FULL,
                Some(SourceTrust::Partial) => PARTIAL,
                Some(SourceTrust::Observer) if by_name => FULL,
                Some(SourceTrust::Observer) | None => continue,
            };
            if query.include_nodes.is_empty() || by_name {
                copies.insert(number, weight * freshness(peer.map(|peer| peer.presence)));
            }
        }
        copies
    }

    /// What is here of these sources.
    async fn own(&self, query: &Query, unit: Vec<f32>, sources: BTreeMap<u32, f64>) -> Result<Vec<Answered>, NotAsked> {
        let words = words(query);
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let names = self.0.index.source_names();
        let is_all = names.keys().chain([&OWN]).all(|number| sources.contains_key(number));
        let wanted = (!is_all).then(|| sources.keys().copied().collect());
        let question = Question { unit, limit: query.limit, filters: query.filters.clone(), sources: wanted };
        let mut by_source: BTreeMap<u32, Vec<merge::Found>> = BTreeMap::new();
        let found = self.0.index.search(question).await?;
        let shown = spawn_blocking(move || {
            let shown = |one: Found| Some((one.source, shown(one, &words)?));
            found.into_iter().filter_map(shown).collect::<Vec<_>>()
        });
        for (source, found) in shown.await.expect("showing documents does not panic") {
            by_source.entry(source).or_default().push(found);
        }
        let answered = |(source, found)| {
            let node = if source == OWN { self.0.handle.me().node() } else { *names.get(&source)? };
            Some(Answered { node: node.to_string(), freshness: *sources.get(&source)?, found })
        };
        Ok(by_source.into_iter().filter_map(answered).collect())
    }

    /// The point near which documents are looked for, if a model says it by then.
    async fn unit_until(&self, query: &Query, until: Instant) -> Result<Vec<f32>, NotAsked> {
        timeout_at(until, self.unit(query)).await.unwrap_or_else(|_| Err(NotEncoded::Late.into()))
    }

    /// The point near which documents are looked for.
    async fn unit(&self, query: &Query) -> Result<Vec<f32>, NotAsked> {
        let settings = self.0.index.settings();
        let numbers = match &query.asked {
            Asked::Text(text) => {
                let encoded = self.0.encoder.encode(vec![text.clone()], settings.dimension()).await?.pop();
                encoded.unwrap_or(Err(NoVector::NoWord)).map_err(|why| match why {
                    NoVector::NoWord => NotAsked::Field { pointer: "/query", why: why.to_string() },
                    why => NotEncoded::Text(why).into(),
                })?
            }
            Asked::Basin(numbers) => numbers.clone(),
        };
        settings.unit(&numbers).map_err(|bad| NotAsked::Field { pointer: "/basin", why: bad.to_string() })
    }

    /// What another node has.
    async fn ask(&self, target: Target, query: &Query, until: Instant) -> Result<Answered, NodeFailed> {
        let Target { name, peer } = target;
        let node = peer.key.as_ref().map_or_else(|| peer.id.to_string(), NodeId::to_string);
        let timeout = until.saturating_duration_since(Instant::now());
        let put = Query { include_nodes: vec![node.clone()], timeout, ..query.clone() };
        let request = Request::Post(PATH.into(), put.to_json().into());
        let begun = Instant::now();
        let answered = self.0.pool.ask(&peer, &request, timeout, ANSWER_BYTES_MAX).await;
        peer.key.iter().for_each(|key| self.0.pace.note(key, begun.elapsed()));
        let failed = |cause: String| NodeFailed { node: name.clone(), cause };
        let body = answered.map_err(|why| failed(said(why, Instant::now() >= until, query.timeout)))?;
        let read = Answer::read(&body, self.0.index.settings(), query.limit);
        let (answer, left_out) = read.map_err(|bad| failed(format!("its answer cannot be read: {bad}")))?;
        if left_out.total() > 0 {
            tracing::warn!(node = name, ?left_out, "some of what a node answered to a search is left out");
            let counters = self.0.handle.counters();
            let query::LeftOut { form, doc_id, url, distance, score, too_many } = left_out;
            for (cause, count) in [
                ("result_form", form),
                ("result_doc_id", doc_id),
                ("result_url", url),
                ("result_distance", distance),
                ("result_score", score),
                ("result_too_many", too_many),
            ] {
                counters.left_out(cause, count as u64);
            }
        }
        if let Some(own) = answer.nodes_failed.first() {
            return Err(failed(own.cause.clone()));
        }
        let freshness = freshness(Some(peer.presence));
        Ok(Answered { node, freshness, found: answer.results.into_iter().map(merge::Found::from).collect() })
    }
}

/// A document as it is told to other nodes; `None`: what is kept of it is damaged.
pub(super) fn record(whole: Whole, vector: Option<Vec<f32>>, node: NodeId, encoder: &str) -> Option<Record> {
    Some(Record {
        doc_id: whole.doc_id.parse().ok()?,
        node,
        deleted: vector.is_none(),
        vector,
        metadata: Metadata::parse(&whole.metadata).ok()?,
        version: whole.version,
        encoder: encoder.to_owned(),
        timestamp: Timestamp::from_millis(whole.written),
        sig: whole.signature.try_into().ok()?,
    })
}
