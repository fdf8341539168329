//! The journals of other nodes that this node follows: a verified copy of each is kept, goes on by itself after
//! restarts and broken links, and says loudly when an author breaks the rules of a journal. What is believed is decided
//! in `comity_core::journal::Follower`. See "Journal" in `protocols/pubsub.md`.

mod asking;
mod heads;
mod reading;
#[cfg(test)]
mod tests;

use crate::door::health::{Check, Reporter, Verdict, Weight};
use crate::driver::Handle;
use crate::link::Links;
use crate::store::journal::Limits;
use comity_core::id::NodeId;
use comity_core::node::{Answer, Ask, Refusal};
use comity_core::wire::control::{Followed, Following, Named};
use heads::Heads;
use reading::{Reading, Trouble};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Journals that a node follows, at most: each is a task and a copy on the disk.
const FOLLOWED_MAX: usize = 64;

/// How long to wait before an author is asked again that could not be asked, unless it comes back meanwhile.
const AGAIN_AFTER: Duration = Duration::from_secs(5);

/// The name of the setting in which it is kept who is followed.
const KEPT: &str = "journals";

/// The folder of the copies in the data directory.
const FOLDER: &str = "journals";

/// Why a journal cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FollowError {
    /// As many as there may be are.
    #[error("this node follows {FOLLOWED_MAX} journals already: stop following one first")]
    TooMany,
    /// It is not followed.
    #[error("this node does not follow that journal")]
    NotFollowed,
    /// It was done, and would be forgotten in a restart.
    #[error("it holds until this node ends, and no longer: {0}")]
    NotKept(Refusal),
}

/// Who was followed before the last restart, and the heads that peers had told, of all settings.
pub(super) fn kept(settings: &[(String, Value)]) -> (Option<Value>, Option<Value>) {
    let kept_as = |wanted| settings.iter().find(|(name, _)| name == wanted).map(|(_, kept)| kept.clone());
    (kept_as(KEPT), kept_as(heads::KEPT))
}

/// The journals that a node follows. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Follow(Arc<Shared>);

struct Shared {
    handle: Handle,
    links: Links,
    folder: PathBuf,
    limits: Limits,
    /// A lock and not a message: doors look in for a moment, and each task writes down how it goes.
    followed: Mutex<BTreeMap<NodeId, One>>,
    /// A lock for the same reason: the task that asks peers writes it down.
    heads: Mutex<Heads>,
    /// Says that one of them, or what is remembered of others, has changed.
    changed: watch::Sender<()>,
}

impl std::fmt::Debug for Follow {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_list().entries(self.followed().keys()).finish()
    }
}

/// One of them.
struct One {
    progress: Progress,
    stop: CancellationToken,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Progress {
    state: Following,
    first: u64,
    size: u64,
    told: u64,
    detail: Option<String>,
}

impl Default for Progress {
    fn default() -> Self {
        Self { state: Following::Waiting, first: 0, size: 0, told: 0, detail: None }
    }
}

impl Follow {
    /// Keeps copies within these limits in this data directory. Nothing is followed yet.
    pub(super) fn new(handle: &Handle, links: &Links, data_dir: &Path, limits: Limits) -> Self {
        Self(Arc::new(Shared {
            handle: handle.clone(),
            links: links.clone(),
            folder: data_dir.join(FOLDER),
            limits,
            followed: Mutex::default(),
            heads: Mutex::default(),
            changed: watch::Sender::new(()),
        }))
    }

    /// Goes on with those that were followed before the last restart, and with the heads that peers told, both as [`kept`]
    /// found them. Needs a tokio runtime.
    pub(super) fn resume(&self, kept: Option<&Value>, heads: Option<&Value>) {
        let kept =
            kept.and_then(Value::as_array).into_iter().flatten().filter_map(|author| author.as_str()?.parse().ok());
        kept.take(FOLLOWED_MAX).for_each(|author| self.read(author));
        *self.heads() = Heads::of(heads);
        let (follow, stop) = (self.clone(), self.0.handle.stop().clone());
        tokio::spawn(async move { stop.run_until_cancelled(follow.watch_heads()).await });
    }

    /// Follows this author's journal, also after restarts. One that is followed already is fine.
    pub(crate) async fn begin(&self, author: NodeId) -> Result<(), FollowError> {
        {
            let followed = self.followed();
            if followed.contains_key(&author) {
                return Ok(());
            }
            if followed.len() >= FOLLOWED_MAX {
                return Err(FollowError::TooMany);
            }
        }
        self.read(author);
        self.keep().await
    }

    /// Follows it no more. The copy stays.
    pub(crate) async fn end(&self, author: NodeId) -> Result<(), FollowError> {
        let ended = self.followed().remove(&author).ok_or(FollowError::NotFollowed)?;
        ended.stop.cancel();
        self.0.changed.send_replace(());
        self.keep().await
    }

    /// How it goes with each.
    pub(crate) async fn list(&self) -> Vec<Followed> {
        let view = self.0.handle.look().await;
        let name = |author: &NodeId| {
            let peer = view.peers.iter().find(|peer| peer.key.as_ref() == Some(author));
            peer.map(|peer| peer.name.clone()).filter(|name| !name.is_empty())
        };
        let shown = |(author, One { progress, .. }): (&NodeId, &One)| Followed {
            author: author.to_string(),
            name: name(author),
            state: Named(progress.state),
            first: progress.first,
            size: progress.size,
            told: progress.told,
            detail: progress.detail.clone(),
            folder: self.folder(*author).display().to_string(),
        };
        self.followed().iter().map(shown).collect()
    }

    /// Says whenever one of them has changed.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.0.changed.subscribe()
    }

    /// The health check of all of them. Needs a tokio runtime.
    pub(super) fn check(&self) -> Check {
        let (check, reporter) =
            Check::passive("journals", "the journals of others are as their authors wrote them", Weight::Minor);
        let (follow, stop) = (self.clone(), self.0.handle.stop().clone());
        tokio::spawn(async move { stop.run_until_cancelled(follow.report(reporter)).await });
        check
    }

    async fn report(&self, reporter: Reporter) {
        let mut changed = self.changes();
        loop {
            changed.mark_unchanged();
            reporter.report(self.verdict());
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    fn verdict(&self) -> Verdict {
        let followed = self.followed();
        let broken = followed.iter().filter(|(_, one)| one.progress.state == Following::Broken);
        let broken: Vec<String> = broken
            .map(|(author, one)| format!("{author}: {}", one.progress.detail.as_deref().unwrap_or_default()))
            .collect();
        let faults = self.heads().faults();
        match (broken.is_empty(), faults.is_empty()) {
            (true, true) => Verdict::Healthy,
            // They may be strangers, and it is their own journal.
            (true, false) => Verdict::Degraded(faults.join("; ")),
            (false, _) => Verdict::Failed(broken.join("; ")),
        }
    }

    /// Where the copy of this author's journal is: its node id, without the colon, which other programs take for the
    /// end of a host's name.
    fn folder(&self, author: NodeId) -> PathBuf {
        self.0.folder.join(author.to_string().replace(':', "-"))
    }

    /// Reads an author's journal in the background.
    fn read(&self, author: NodeId) {
        let stop = self.0.handle.stop().child_token();
        let one = One { progress: Progress::default(), stop: stop.clone() };
        self.followed().insert(author, one);
        self.0.changed.send_replace(());
        let follow = self.clone();
        tokio::spawn(async move { stop.run_until_cancelled(follow.run(author)).await });
    }

    async fn run(self, author: NodeId) {
        let mut reading = None;
        loop {
            let trouble = match &mut reading {
                None => match Reading::open(&self, author).await {
                    Ok(opened) => {
                        reading = Some(opened);
                        continue;
                    }
                    Err(trouble) => trouble,
                },
                Some(reading) => match reading.go_on(&self).await {
                    Ok(()) => continue,
                    Err(trouble) => trouble,
                },
            };
            match trouble {
                Trouble::Broken(sentence) => {
                    tracing::error!(%author, "a journal that is followed is broken: {sentence}");
                    return self.note(author, |progress| {
                        (progress.state, progress.detail) = (Following::Broken, Some(sentence));
                    });
                }
                Trouble::Disk(sentence) => {
                    reading = None;
                    self.wait(author, sentence).await;
                }
                Trouble::Later(sentence) => self.wait(author, sentence).await,
            }
        }
    }

    /// Waits until there is a reason to try again.
    async fn wait(&self, author: NodeId, sentence: String) {
        let mut events = self.0.handle.peer_events();
        self.note(author, |progress| (progress.state, progress.detail) = (Following::Waiting, Some(sentence)));
        let comes = async {
            loop {
                match events.recv().await.as_deref() {
                    Ok(comity_core::node::Event::PeerJoined(peer)) if peer.key == Some(author) => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return std::future::pending().await,
                }
            }
        };
        // Err: the time is over.
        let _ = tokio::time::timeout(AGAIN_AFTER, comes).await;
    }

    /// Writes down how it goes with one of them.
    fn note(&self, author: NodeId, change: impl FnOnce(&mut Progress)) {
        let is_changed = self.followed().get_mut(&author).is_some_and(|one| {
            let before = one.progress.clone();
            change(&mut one.progress);
            before != one.progress
        });
        if is_changed {
            self.0.changed.send_replace(());
        }
    }

    /// Keeps who is followed across restarts.
    async fn keep(&self) -> Result<(), FollowError> {
        let value = self.followed().keys().map(NodeId::to_string).collect();
        match self.0.handle.ask(Ask::Keep { name: KEPT, value }).await {
            Answer::Done => Ok(()),
            Answer::Refused(refusal) => Err(FollowError::NotKept(refusal)),
            _ => Err(FollowError::NotKept(Refusal::Leaving)),
        }
    }

    fn heads(&self) -> MutexGuard<'_, Heads> {
        self.0.heads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn followed(&self) -> MutexGuard<'_, BTreeMap<NodeId, One>> {
        self.0.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
