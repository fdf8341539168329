//! Reading one author's journal: it is asked for its head, and for the entries up to it; what is verified is appended
//! to the copy. Nothing is believed here: `comity_core::journal::Follower` says what is.

use super::asking::NoAnswer;
use super::{Follow, Progress};
use crate::store::journal::{Copy, Held, JournalError};
use bytes::Bytes;
use comity_core::id::NodeId;
use comity_core::journal::{Chain, Checkpoint, Fault, Follower, Head, Told, Want};
use comity_core::wire::control::Following;
use comity_core::wire::journal as wire;
use std::time::Duration;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep_until};

/// How long an author may wait for news before it answers that there are none, seconds.
const PATIENCE: u64 = 20;

/// How long it may take to answer besides, from the first packet to the last.
const ANSWER_TIME: Duration = Duration::from_secs(30);

/// How far apart an author that has much to say is asked: twice a round is half of what one peer may ask of a node.
const APART: Duration = Duration::from_secs(2);

/// Most bytes of lines that no signature vouches for yet: the largest group, and one answer.
const PENDING_MAX: usize = 18 * 1024 * 1024;

/// Why it does not go on.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The author cannot be asked now.
    Later(String),
    /// This node's own disk does not take it.
    Disk(String),
    /// It will not: the author broke the rules, or the copy is not as it was.
    Broken(String),
}

impl From<JournalError> for Trouble {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::Io { .. } | JournalError::InUse { .. } => Self::Disk(error.to_string()),
            _ => Self::Broken(error.to_string()),
        }
    }
}

impl From<NoAnswer> for Trouble {
    fn from(none: NoAnswer) -> Self {
        Self::Later(none.0)
    }
}

/// The journal of one author, as far as it was read.
pub(super) struct Reading {
    author: NodeId,
    follower: Follower,
    /// `None` only while the disk is at work.
    copy: Option<Copy>,
    /// The largest head that the author told.
    told: Option<Head>,
    /// Lines after the last that a signature vouches for.
    pending: Vec<u8>,
    /// When the author was last asked for news.
    asked: Option<Instant>,
}

impl Reading {
    /// Opens the copy, and believes what is in it.
    pub(super) async fn open(follow: &Follow, author: NodeId) -> Result<Self, Trouble> {
        let (folder, limits) = (follow.folder(author), follow.0.limits);
        let opened = spawn_blocking(move || Copy::open(&folder, author, limits)).await.map_err(ended)??;
        let (copy, Held { chain, head, told, fault }) = opened;
        let told = told.or_else(|| follow.heads().known(&author));
        let (first, size) = (copy.first(), chain.next());
        let known = told.map_or(size, |told| told.size);
        follow.note(author, |progress| *progress = Progress { first, size, told: known, ..progress.clone() });
        if let Some(fault) = fault {
            return Err(Trouble::Broken(fault));
        }
        let mut reading = Self {
            author,
            follower: Follower::resumed(chain, head),
            copy: Some(copy),
            told,
            pending: Vec::new(),
            asked: None,
        };
        if let Some(told) = told {
            let heard = reading.follower.handle_head(told, Told::Earlier);
            reading.judged(heard).await?;
        }
        Ok(reading)
    }

    /// Waits for news, and reads them.
    pub(super) async fn go_on(&mut self, follow: &Follow) -> Result<(), Trouble> {
        let next = self.follower.confirmed().next();
        if let Some(asked) = self.asked {
            sleep_until(asked + APART).await;
        }
        let path = format!("/dashflow/journal?after={next}&wait={PATIENCE}");
        let head = follow.ask_for_head(self.author, &path, ANSWER_TIME + Duration::from_secs(PATIENCE)).await?;
        self.asked = Some(Instant::now());
        if let Some(head) = head {
            let heard = self.follower.handle_head(head, Told::Now);
            let want = self.judged(heard).await?;
            if self.told.is_none_or(|told| told.size < head.size) {
                self.on_disk(move |copy| copy.keep_told(&head)).await?;
                self.told = Some(head);
            }
            if let Want::Growth { next, size, .. } = want {
                self.read_from(follow, next, size).await?;
            }
        } else if let Some(known) = self.told {
            let sentence = format!("the journal had {} entries, and now has none", known.size);
            return Err(self.broken(sentence, vec![known]).await);
        }
        self.note(follow, Following::Current);
        Ok(())
    }

    async fn read_from(&mut self, follow: &Follow, mut next: u64, size: u64) -> Result<(), Trouble> {
        if next == self.follower.confirmed().next() {
            // What stands behind the last signature is read again.
            self.pending.clear();
        }
        while next < size {
            self.note(follow, Following::Reading);
            // Before every piece: an author that has no end does not fill this disk.
            if self.is_full() {
                self.make_room(follow).await?;
            }
            let lines = follow.ask(self.author, &format!("/dashflow/journal/lines?from={next}"), ANSWER_TIME).await?;
            let read = self.take(follow, &lines).await?;
            if read <= next {
                return Err(Trouble::Later("its answer holds no entries".to_owned()));
            }
            next = read;
        }
        Ok(())
    }

    /// Takes what the author handed out; the entry that comes next.
    async fn take(&mut self, follow: &Follow, lines: &Bytes) -> Result<u64, Trouble> {
        let (checkpoint, lines) = split(lines);
        if !lines.is_empty() && lines.last() != Some(&b'\n') {
            return Err(Trouble::Later("its answer broke off".to_owned()));
        }
        if let Some(checkpoint) = checkpoint {
            self.begin_after(follow, checkpoint).await?;
        }
        let before = self.follower.confirmed().next();
        let read = self.follower.handle_lines(lines);
        let read = self.judged(read).await?;
        self.pending.extend_from_slice(lines);
        if read.confirmed > before {
            let end = length(&self.pending, read.confirmed - before);
            let confirmed: Vec<u8> = self.pending.drain(..end).collect();
            self.on_disk(move |copy| copy.append(&confirmed)).await?;
        }
        if self.pending.len() > PENDING_MAX {
            let sentence = format!("entries from {} on are not signed: no group is so large", read.confirmed);
            return Err(self.broken(sentence, Vec::new()).await);
        }
        Ok(read.next)
    }

    /// Begins where the author's journal does.
    async fn begin_after(&mut self, follow: &Follow, line: &[u8]) -> Result<(), Trouble> {
        let before = self.follower.confirmed().next();
        let Ok(checkpoint) = wire::read_checkpoint(line) else {
            return Err(self.broken("its checkpoint has not the form of one".to_owned(), Vec::new()).await);
        };
        let taken = self.follower.handle_checkpoint(&checkpoint);
        if let Err(Fault::Dropped { next, first }) = taken {
            tracing::warn!(author = %self.author, "entries from {next} to {first} of a journal that is followed were \
                dropped before they were read: the copy of those before is put aside, and goes on after them");
            return self.begin_again(follow, checkpoint).await;
        }
        self.judged(taken).await?;
        if self.follower.confirmed().next() > before {
            self.on_disk(move |copy| copy.begin_after(&checkpoint)).await?;
        }
        Ok(())
    }

    /// Begins another copy after what the author dropped, and puts the one before aside: nothing joins the two but that
    /// the author told a head of the same journal, which still holds.
    async fn begin_again(&mut self, follow: &Follow, checkpoint: Checkpoint) -> Result<(), Trouble> {
        let (folder, author, limits) = (follow.folder(self.author), self.author, follow.0.limits);
        let (chain, told) = (Chain::after(&checkpoint), self.told);
        let before = self.copy.take().ok_or_else(not_open)?;
        let begun = spawn_blocking(move || {
            before.put_aside()?;
            let (mut copy, _) = Copy::open(&folder, author, limits)?;
            told.map_or(Ok(()), |told| copy.keep_told(&told))?;
            copy.begin_after(&checkpoint)?;
            Ok::<_, JournalError>(copy)
        });
        self.copy = Some(begun.await.map_err(ended)??);
        self.pending.clear();
        self.follower = Follower::resumed(chain, None);
        if let Some(told) = told {
            let heard = self.follower.handle_head(told, Told::Now);
            self.judged(heard).await?;
        }
        Ok(())
    }

    /// Drops what the author has dropped.
    async fn make_room(&mut self, follow: &Follow) -> Result<(), Trouble> {
        let lines = follow.ask(self.author, "/dashflow/journal/lines?from=0", ANSWER_TIME).await?;
        let checkpoint = split(&lines).0.and_then(|line| wire::read_checkpoint(line).ok());
        let checkpoint = checkpoint.filter(|checkpoint| checkpoint.author == self.author && checkpoint.check().is_ok());
        if let Some(checkpoint) = checkpoint {
            self.drop_before(checkpoint).await?;
        }
        if self.is_full() {
            let sentence = "the copy is as large as journal.keep lets it be, and the author keeps more: \
                raise journal.keep here";
            return Err(Trouble::Later(sentence.to_owned()));
        }
        Ok(())
    }

    async fn drop_before(&mut self, checkpoint: Checkpoint) -> Result<(), Trouble> {
        let (author, first) = (self.author, checkpoint.range.size());
        if self.on_disk(move |copy| copy.drop_before(&checkpoint, author)).await? {
            return Ok(());
        }
        let sentence = format!("its checkpoint stands for other entries before {first} than it handed out");
        Err(self.broken(sentence, Vec::new()).await)
    }

    fn is_full(&self) -> bool {
        self.copy.as_ref().is_some_and(Copy::is_full)
    }

    /// What the follower says; where it found that the author broke the rules, that is kept.
    async fn judged<T>(&mut self, judged: Result<T, Fault>) -> Result<T, Trouble> {
        match judged {
            Ok(good) => Ok(good),
            Err(fault) => Err(self.broken(fault.to_string(), heads(&fault)).await),
        }
    }

    async fn broken(&mut self, sentence: String, heads: Vec<Head>) -> Trouble {
        let kept = sentence.clone();
        if let Err(trouble) = self.on_disk(move |copy| copy.keep_fault(&kept, &heads)).await {
            tracing::error!(author = %self.author, ?trouble, "what proves that a journal is broken is not kept");
        }
        Trouble::Broken(sentence)
    }

    /// Lets the disk work on a thread that may wait.
    async fn on_disk<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Copy) -> Result<T, JournalError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let mut copy = self.copy.take().ok_or_else(not_open)?;
        let (copy, done) = spawn_blocking(move || {
            let done = work(&mut copy);
            (copy, done)
        })
        .await
        .map_err(ended)?;
        self.copy = Some(copy);
        Ok(done?)
    }

    fn note(&self, follow: &Follow, state: Following) {
        let first = self.copy.as_ref().map_or(0, Copy::first);
        let size = self.follower.confirmed().next();
        let told = self.told.map_or(size, |told| told.size.max(size));
        follow.note(self.author, |progress| *progress = Progress { state, first, size, told, detail: None });
    }
}

fn not_open() -> Trouble {
    Trouble::Disk("the copy is not open".to_owned())
}

fn ended(panic: tokio::task::JoinError) -> Trouble {
    Trouble::Disk(panic.to_string())
}

/// The checkpoint that stands before lines, if one does, and the lines.
fn split(lines: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match lines.iter().position(|byte| *byte == b'\n').map(|end| lines.split_at(end)) {
        Some((first, rest)) if wire::is_checkpoint(first) => (Some(first), &rest[1..]),
        _ => (None, lines),
    }
}

/// How many bytes so many lines take.
fn length(lines: &[u8], count: u64) -> usize {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    lines.split_inclusive(|byte| *byte == b'\n').take(count).map(<[u8]>::len).sum()
}

/// What prove a fault to anybody.
fn heads(fault: &Fault) -> Vec<Head> {
    match fault {
        Fault::AnotherJournal { known, told } | Fault::Rollback { known, told } => vec![**known, **told],
        Fault::Equivocation { one, other } => vec![**one, **other],
        Fault::Forked { told, .. } => vec![**told],
        _ => Vec::new(),
    }
}
