//! The heads of verified peers: each is asked now and then how far its journal goes, and what it signed is remembered
//! across restarts, so that an end that is cut off is noticed without anybody keeping a copy. It reads no entries, and
//! what a peer does with its own journal makes this node only warn.

use super::Follow;
use comity_core::id::NodeId;
use comity_core::identity::trust::Trust;
use comity_core::journal::{Chain, Fault, Follower, Head, Told, Want};
use comity_core::node::{Ask, Event};
use comity_core::peers::PeerView;
use comity_core::wire::{journal as wire, strict};

use futures_util::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, timeout};

/// Peers whose heads are remembered, at most, 80 KB. When there are more, those that are not here are forgotten first.
const REMEMBERED_MAX: usize = 256;

/// How long after its last answer a peer is asked again that stays. One that comes is asked at once: a journal is seldom
/// cut off under a node that runs.
const EVERY: Duration = Duration::from_secs(900);

/// How long after it did not answer, as when its address was not known yet.
const AGAIN: Duration = Duration::from_secs(60);

/// How far apart the rounds are in which those are asked whose turn it is.
const APART: Duration = Duration::from_secs(1);

/// Peers that are asked at once: those that do not answer keep few others waiting.
const AT_ONCE: usize = 16;

/// How long a peer may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// The name of the setting in which the heads are kept.
pub(super) const KEPT: &str = "heads";

/// What is remembered.
#[derive(Debug, Default)]
pub(super) struct Heads {
    known: BTreeMap<NodeId, Head>,
    /// What peers did since this node was started.
    faults: BTreeMap<NodeId, String>,
}

impl Heads {
    /// What was kept before the last restart. What is not signed is not believed.
    pub(super) fn of(kept: Option<&Value>) -> Self {
        let kept = kept.and_then(Value::as_array).into_iter().flatten();
        let heads = kept.filter_map(|head| wire::read_head(head).ok()).filter(|head| head.check().is_ok());
        Self { known: heads.take(REMEMBERED_MAX).map(|head| (head.author, head)).collect(), faults: BTreeMap::new() }
    }

    /// The head that this author told, if it was not followed then.
    pub(super) fn known(&self, author: &NodeId) -> Option<Head> {
        self.known.get(author).copied()
    }

    pub(super) fn to_value(&self) -> Value {
        self.known.values().map(wire::head_to_value).collect()
    }

    /// What peers did, in sentences.
    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.iter().map(|(author, fault)| format!("{author}: {fault}")).collect()
    }

    /// Whether this author's head can be remembered, once one is forgotten that is away.
    fn has_room_for(&self, author: &NodeId, here: &HashSet<NodeId>) -> bool {
        let has_room = self.known.len() < REMEMBERED_MAX || self.known.contains_key(author);
        has_room || self.known.keys().any(|known| !here.contains(known))
    }

    fn remember(&mut self, head: Head, here: &HashSet<NodeId>) {
        if !self.known.contains_key(&head.author) && self.known.len() >= REMEMBERED_MAX {
            let Some(away) = self.known.keys().find(|author| !here.contains(author)).copied() else { return };
            self.known.remove(&away);
        }
        self.known.insert(head.author, head);
    }

    /// Notes what a peer did. What it has now is what it is held to from now on: what it broke was said.
    fn accuse(&mut self, author: NodeId, fault: String, now: Option<Head>) {
        if self.faults.len() < REMEMBERED_MAX || self.faults.contains_key(&author) {
            self.faults.insert(author, fault);
        }
        match now {
            Some(head) => self.known.insert(author, head),
            None => self.known.remove(&author),
        };
    }
}

/// What came of asking a peer.
enum Heard {
    Nothing,
    News(News),
}

/// What is to be kept of it.
enum News {
    Head(Head),
    Fault(String, Option<Head>),
}

impl Follow {
    /// Asks verified peers for their heads, until the node ends.
    pub(in crate::network) async fn watch_heads(self) {
        let mut events = self.0.handle.peer_events();
        // When each is asked again.
        let mut again: HashMap<NodeId, Instant> = HashMap::new();
        loop {
            let view = self.0.handle.look().await;
            let here: HashSet<NodeId> =
                view.peers.iter().filter(|peer| is_watched(peer)).filter_map(|p| p.key).collect();
            again.retain(|author, at| here.contains(author) && *at > Instant::now());
            self.ask_round(&here, &mut again).await;
            sleep(APART).await;
            // Err: the time is over.
            if let Ok(Some(came)) = timeout(AGAIN, coming(&mut events, &again)).await {
                again.remove(&came);
            }
        }
    }

    /// Asks those whose turn it is, and keeps what changed.
    async fn ask_round(&self, here: &HashSet<NodeId>, again: &mut HashMap<NodeId, Instant>) {
        let is_due = |author: &&NodeId| !again.contains_key(*author) && !self.followed().contains_key(*author);
        let has_room = |author: &&NodeId| self.heads().has_room_for(author, here);
        let due: Vec<NodeId> = here.iter().filter(is_due).filter(has_room).copied().collect();
        let mut is_changed = false;
        for some in due.chunks(AT_ONCE) {
            let told = join_all(some.iter().map(|author| self.told(*author))).await;
            for (author, told) in some.iter().zip(told) {
                let after = if told.is_some() { EVERY } else { AGAIN };
                again.insert(*author, Instant::now() + after);
                if let Some(Heard::News(news)) = told {
                    self.take(*author, news, here);
                    is_changed = true;
                }
            }
        }
        if is_changed {
            let value = self.heads().to_value();
            // Refused: it is kept with the next that changes.
            self.0.handle.ask(Ask::Keep { name: KEPT, value }).await;
        }
    }

    /// Takes what a peer told.
    fn take(&self, author: NodeId, news: News, here: &HashSet<NodeId>) {
        let mut heads = self.heads();
        match news {
            News::Head(head) => heads.remember(head, here),
            News::Fault(fault, now) => {
                // Once: it can do it as often as it likes.
                if !heads.faults.contains_key(&author) {
                    let shown = |head: Option<Head>| head.as_ref().map(wire::head_to_value).unwrap_or_default();
                    let (known, told) = (shown(heads.known(&author)), shown(now));
                    tracing::error!(%author, %known, %told, "a peer went back on its journal: {fault}");
                }
                heads.accuse(author, fault, now);
            }
        }
        drop(heads);
        self.0.changed.send_replace(());
    }

    /// Asks a peer, which has so much time for everything; `None`: it did not answer.
    async fn told(&self, author: NodeId) -> Option<Heard> {
        let known = self.heads().known(&author);
        timeout(ANSWER_TIME * 2, self.asked(author, known)).await.ok().flatten()
    }

    async fn asked(&self, author: NodeId, known: Option<Head>) -> Option<Heard> {
        let head = match self.ask_for_head(author, "/dashflow/journal", ANSWER_TIME).await {
            Ok(Some(head)) => head,
            Ok(None) => {
                let gone = |known: Head| format!("the journal had {} entries, and now has none", known.size);
                return Some(known.map_or(Heard::Nothing, |known| Heard::News(News::Fault(gone(known), None))));
            }
            Err(why) => {
                tracing::debug!(%author, why = why.0, "a peer does not say how far its journal goes");
                return None;
            }
        };
        let mut follower = Follower::resumed(Chain::new(author), known);
        Some(Heard::News(match follower.handle_head(head, Told::Now) {
            Ok(Want::Growth { known: from @ 1.., size, .. }) => self.proved(follower, head, from, size).await,
            Ok(Want::Growth { .. }) => News::Head(head),
            Ok(_) => return Some(Heard::Nothing),
            // It is no head of this author's: it says nothing of its journal.
            Err(why @ (Fault::WrongAuthor { .. } | Fault::BadSignature(_))) => {
                tracing::debug!(%author, %why, "a peer told a head that is none");
                return Some(Heard::Nothing);
            }
            Err(fault) => News::Fault(fault.to_string(), Some(head)),
        }))
    }

    /// Believes a larger head with the proof that it goes on from the one that is known. A peer gives that only to whom
    /// it knows, and only as far back as it keeps entries: without, the head is believed for its size.
    async fn proved(&self, mut follower: Follower, head: Head, from: u64, size: u64) -> News {
        let path = format!("/dashflow/journal/growth?from={from}&to={size}");
        let proof = self.ask(head.author, &path, ANSWER_TIME).await.ok();
        let proof = proof.and_then(|proof| wire::read_consistency(&strict::parse(&proof).ok()?).ok());
        match proof.map(|proof| follower.handle_proof(&proof)) {
            Some(Err(_)) => {
                let fault =
                    format!("its journal of {size} entries does not go on from the one of {from} that it signed");
                News::Fault(fault, Some(head))
            }
            Some(Ok(())) | None => News::Head(head),
        }
    }
}

/// Waits for a peer that comes, or for another reason to look who is here.
async fn coming(events: &mut Receiver<Arc<Event>>, again: &HashMap<NodeId, Instant>) -> Option<NodeId> {
    loop {
        match events.recv().await.as_deref() {
            Ok(Event::PeerJoined(peer)) if peer.key.is_some() => return peer.key,
            Ok(Event::PeerUpdated(peer)) if peer.key.is_some_and(|key| !again.contains_key(&key)) => return None,
            Ok(_) => {}
            Err(RecvError::Lagged(_)) => return None,
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}

fn is_watched(peer: &PeerView) -> bool {
    peer.presence.is_here() && peer.trust >= Trust::Verified && !peer.addresses.is_empty()
}
