//! Verification of a whole journal from its lines alone: which entry is the first that is wrong, and what is
//! wrong with it. It reads no files; lines may be read and signatures checked elsewhere, on several cores.

use super::GROUP_MAX;
use super::chain::{Break, Chain};
use super::head::{Checkpoint, Head};
use super::line::{BadLine, Link};
use super::tree::{CompactRange, TreeHash};
use crate::id::NodeId;
use std::fmt;

/// What is wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrong {
    /// It is not what its author wrote: it has not its own hash, or not the one that the next entry or the
    /// signature over it says.
    Changed,
    /// It is not there, nor any other before this index.
    Missing {
        /// The next that is there.
        until: u64,
    },
    /// Another stands in its place.
    Reordered {
        /// Which one.
        found: u64,
    },
    /// The last line has no end: a write was cut off.
    TornTail,
    /// The signature is not the author's, of the tree that ends with this entry.
    BadSignature {
        /// The first entry that only this signature would vouch for.
        from: u64,
    },
    /// Somebody else's entry, or journal.
    WrongAuthor {
        /// Whose.
        found: NodeId,
    },
    /// No signature follows this entry.
    UnsignedTail,
    /// The journal ends before this entry, and its author has signed one that goes further.
    CutTail {
        /// How many entries there were.
        size: u64,
    },
    /// The author has signed another journal of this many entries: one for some eyes, this one for others.
    Forked,
    /// The checkpoint before this entry is not what its author signed.
    BadCheckpoint,
    /// The hashes kept beside the entries from this one on are not theirs. The entries are as they were: remove the
    /// `.tiles` file, and it is made anew.
    BadTile,
}

impl fmt::Display for Wrong {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => out.write_str("changed: it is not what was written"),
            Self::Missing { until } => write!(out, "missing: the next that is there is {until}"),
            Self::Reordered { found } => write!(out, "reordered: entry {found} stands in its place"),
            Self::TornTail => out.write_str(
                "torn: the last line has no end, as when a node is stopped while it writes; it cuts that off when it starts",
            ),
            Self::BadSignature { from } => {
                write!(out, "bad signature: nothing from {from} on up to it is vouched for")
            }
            Self::WrongAuthor { found } => write!(out, "wrong author: {found}"),
            Self::UnsignedTail => out.write_str(
                "unsigned: no signature follows it, as when a node is stopped while it writes, or the end was cut off",
            ),
            Self::CutTail { size } => write!(out, "cut off: the author has signed {size} entries"),
            Self::Forked => out.write_str("forked: the author has signed another journal of this length"),
            Self::BadCheckpoint => out.write_str("the checkpoint before it is not what was signed"),
            Self::BadTile => out.write_str("the hashes kept beside it are wrong, the entries are not"),
        }
    }
}

/// The first entry that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flaw {
    /// Which one.
    pub index: u64,
    /// What is wrong with it.
    pub wrong: Wrong,
}

impl fmt::Display for Flaw {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "entry {}: {}", self.index, self.wrong)
    }
}

/// What came of a verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Whose journal it is.
    pub author: Option<NodeId>,
    /// Which journal it is.
    pub journal: Option<TreeHash>,
    /// The first entry that is there; those before it were dropped under a checkpoint.
    pub first: u64,
    /// The index after the last entry that was looked at.
    pub size: u64,
    /// The last head that is signed, if nothing is wrong before it.
    pub head: Option<Head>,
    /// The first entry that is wrong; `None`: nothing is.
    pub flaw: Option<Flaw>,
}

/// Takes lines in the order in which they stand. A copy goes on from where it was made.
#[derive(Debug, Clone)]
pub struct Verifier {
    expected: Option<NodeId>,
    told: Option<Head>,
    chain: Option<Chain>,
    first: u64,
    group: Group,
    unchecked: Vec<(u64, Head)>,
    head: Option<Head>,
    /// Whether the journal has the head that was told.
    is_met: bool,
    /// Another entry stood where one was due: which was due, and which stood there.
    gap: Option<(u64, u64)>,
    flaw: Option<Flaw>,
}

/// The entries since the last signature: their hashes, to find out which one a signature is not of.
#[derive(Debug, Clone, Default)]
struct Group {
    before: CompactRange,
    leaves: Vec<TreeHash>,
    /// The entry that does not follow the one before it, and the hash that it says it follows.
    broken: Option<(u64, TreeHash)>,
}

impl Group {
    fn begin(&mut self, chain: &Chain) {
        self.before.clone_from(chain.range());
        self.leaves.clear();
        self.broken = None;
    }

    fn push(&mut self, leaf: TreeHash) {
        // One more than a group may have says that it is too long to be searched.
        if self.leaves.len() <= GROUP_MAX {
            self.leaves.push(leaf);
        }
    }

    /// Which of two entries is the wrong one, now that the signature of the group is there: the one that
    /// does not follow, or the one before it, put back as the other says it was.
    fn culprit(&self, broken: u64, said: TreeHash, head: &Head) -> u64 {
        let before = broken - 1;
        let Some(at) = before.checked_sub(self.before.size()).and_then(|at| usize::try_from(at).ok()) else {
            return broken;
        };
        let mut range = self.before.clone();
        for (number, leaf) in self.leaves.iter().enumerate() {
            range.push(if number == at { said } else { *leaf });
        }
        let journal = if before == 0 { said } else { head.journal };
        let put_back = Head { journal, root: range.root(), ..*head };
        if self.leaves.len() <= GROUP_MAX && put_back.check().is_ok() { before } else { broken }
    }
}

impl Verifier {
    /// Begins. With a key, whatever another signed is wrong; without one, whoever wrote the first entry is believed to
    /// be the author, and the report says who that is. `told` is a head that the author is known to have signed.
    pub fn new(expected: Option<NodeId>, told: Option<Head>) -> Self {
        Self {
            expected,
            told,
            chain: None,
            first: 0,
            group: Group::default(),
            unchecked: Vec::new(),
            head: None,
            is_met: false,
            gap: None,
            flaw: None,
        }
    }

    /// Takes the checkpoint that stands before the first entry.
    pub fn handle_checkpoint(&mut self, checkpoint: &Checkpoint) {
        self.first = checkpoint.range.size();
        self.is_met |= self.told.is_some_and(|told| told.size == self.first && told.root == checkpoint.range.root());
        if self.expected.is_some_and(|expected| expected != checkpoint.author) {
            self.find(self.first, Wrong::WrongAuthor { found: checkpoint.author });
        } else if checkpoint.check().is_err() {
            self.find(self.first, Wrong::BadCheckpoint);
        }
        let chain = Chain::after(checkpoint);
        self.group.begin(&chain);
        self.chain = Some(chain);
    }

    /// Takes a checkpoint that cannot be read, before this entry.
    pub fn handle_bad_checkpoint(&mut self, first: u64) {
        self.find(first, Wrong::BadCheckpoint);
    }

    /// Takes the next line.
    pub fn handle_line(&mut self, line: Result<Link, BadLine>) {
        if self.is_done() {
            return;
        }
        let due = self.next();
        let Ok(link) = line else {
            // While it is looked for the entry that was due, only that one counts.
            if self.gap.is_none() {
                self.find(due, Wrong::Changed);
            }
            return;
        };
        if let Some((due, found)) = self.gap {
            if link.index == due {
                self.find(due, Wrong::Reordered { found });
            }
            return;
        }
        let author = self.expected.unwrap_or(link.author);
        let chain = self.chain.get_or_insert_with(|| Chain::new(author));
        match chain.step(&link) {
            Ok(head) => {
                self.group.push(link.hash);
                if let Some(head) = head {
                    self.end_group(head);
                }
            }
            Err(Break::Author) => self.find(due, Wrong::WrongAuthor { found: link.author }),
            Err(Break::Index) if link.index < due => self.find(due, Wrong::Reordered { found: link.index }),
            Err(Break::Index) => self.gap = Some((due, link.index)),
            Err(Break::Prev) => self.handle_broken(&link),
        }
    }

    /// Takes the end of the last line, which is no end.
    pub fn handle_torn_line(&mut self) {
        if !self.is_done() && self.gap.is_none() {
            self.find(self.next(), Wrong::TornTail);
        }
    }

    /// The heads that came since this was last asked, whose signatures are to be checked, each with the first entry
    /// that only it vouches for. [`Self::handle_bad_head`] wants to hear of those that are not signed.
    pub fn heads(&mut self) -> std::vec::Drain<'_, (u64, Head)> {
        self.unchecked.drain(..)
    }

    /// Hears that a head is not signed by the author.
    pub fn handle_bad_head(&mut self, size: u64, from: u64) {
        self.find(size.saturating_sub(1), Wrong::BadSignature { from });
    }

    /// The index of the entry that is due.
    pub fn next(&self) -> u64 {
        self.chain.as_ref().map_or(self.first, Chain::next)
    }

    /// Whether nothing that follows changes the report.
    pub fn is_done(&self) -> bool {
        self.flaw.is_some()
    }

    /// Checks what is unchecked, and reports.
    pub fn finish(mut self) -> Report {
        self.check_heads();
        if let Some((due, until)) = self.gap {
            self.find(due, Wrong::Missing { until });
        }
        let size = self.next();
        let signed = self.head.map_or(self.first, |head| head.size);
        if let Some((broken, _)) = self.group.broken {
            self.find(broken, Wrong::Changed);
        }
        if signed < size && self.flaw.is_none() {
            self.find(signed, Wrong::UnsignedTail);
        }
        if let Some(told) = self.told.filter(|_| self.flaw.is_none()) {
            self.compare(&told, size);
        }
        let author = self.chain.as_ref().map(Chain::author).or(self.expected);
        let journal = self.chain.as_ref().and_then(Chain::journal);
        let head = self.head.filter(|head| self.flaw.is_none_or(|flaw| flaw.index >= head.size));
        Report { author, journal, first: self.first, size, head, flaw: self.flaw }
    }

    /// Checks the signatures of what came since this was last done.
    pub fn check_heads(&mut self) {
        let heads: Vec<(u64, Head)> = self.heads().collect();
        for (from, head) in heads {
            if head.check().is_err() {
                self.handle_bad_head(head.size, from);
            }
        }
    }

    fn end_group(&mut self, head: Head) {
        if let Some((broken, said)) = self.group.broken {
            let culprit = self.group.culprit(broken, said, &head);
            self.find(culprit, Wrong::Changed);
        }
        self.is_met |= self.told.is_some_and(|told| told.size == head.size && told.root == head.root);
        self.unchecked.push((self.group.before.size(), head));
        self.head = Some(head);
        if let Some(chain) = &self.chain {
            self.group.begin(chain);
        }
    }

    /// An entry that is as it was written, but follows another one than the one that stands before it. Which of the
    /// two is wrong is seen by the next signature.
    fn handle_broken(&mut self, link: &Link) {
        let Some(chain) = &mut self.chain else { return };
        if self.group.broken.is_some() || chain.next() == 0 {
            return self.find(link.index, Wrong::Changed);
        }
        chain.push(link.hash);
        self.group.push(link.hash);
        self.group.broken = Some((link.index, link.prev));
        if let Some(head) = link.signature.and_then(|signature| chain.head(signature)) {
            self.end_group(head);
        }
    }

    /// Compares with a head that the author has signed before.
    fn compare(&mut self, told: &Head, size: u64) {
        if self.chain.as_ref().and_then(Chain::journal).is_some_and(|journal| journal != told.journal) {
            self.find(self.first, Wrong::Forked);
        } else if size < told.size {
            self.find(size, Wrong::CutTail { size: told.size });
        } else if told.size >= self.first.max(1) && !self.is_met {
            self.find(told.size - 1, Wrong::Forked);
        }
    }

    /// Keeps the first flaw by index.
    fn find(&mut self, index: u64, wrong: Wrong) {
        if self.flaw.is_none_or(|flaw| index < flaw.index) {
            self.flaw = Some(Flaw { index, wrong });
        }
    }
}
