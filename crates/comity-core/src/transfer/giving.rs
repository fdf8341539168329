//! The sender's side of a transfer: which file is named when, what is sent of it, and what has arrived.

use super::{AHEAD_MAX, Fault, WINDOW, unexpected};
use crate::wire::transfer::{CHUNK_MAX, Digest, NAMES_MAX, Say, VERSION, Why};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// A file or folder to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path at the receiver, in the form `folder/name`.
    pub path: String,
    /// Its size in bytes; 0 for a folder.
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// When it was changed last, Unix ms; `None` for a folder.
    pub modified: Option<u64>,
}

/// What the sender has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Give {
    /// Say this.
    Say(Say),
    /// Make the SHA-256 of the first bytes of this file; [`Giving::hashed`] takes it.
    Hash {
        /// Which of the entries.
        file: usize,
        /// How many bytes.
        upto: u64,
    },
    /// Send this piece of this file.
    Send {
        /// Which of the entries.
        file: usize,
        /// Where it begins.
        at: u64,
        /// How long it is.
        length: usize,
    },
    /// Make the SHA-256 of this whole file; [`Giving::ended`] takes it.
    Digest {
        /// Which of the entries.
        file: usize,
    },
    /// Tell whoever looks that this file has arrived, or why not.
    Settled {
        /// Which of the entries.
        file: usize,
        /// Why it was not taken.
        skipped: Option<Why>,
    },
    /// All is said.
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Offered,
    Open,
    Finishing,
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Named; nothing was heard.
    Named,
    /// The receiver asks about so many bytes, for the last time or not.
    Asked(u64, Last),
    /// It was told what they are in this file.
    Told(u64, Last),
    /// Wanted, and sent up to here.
    Wanted(u64),
    /// All of it was sent, but for its checksum.
    Sent,
    /// All of it was sent.
    Ended,
}

/// Whether the receiver may ask about a file once more. It asks about a whole file that stands there, and when that
/// is to be replaced, about the part beside it; who could ask for ever would have it read for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

/// The sender's side of one transfer.
#[derive(Debug)]
pub struct Giving {
    entries: Vec<Entry>,
    phase: Phase,
    next: usize,
    under_way: BTreeMap<usize, State>,
    out: VecDeque<Give>,
    sent: u64,
    got: u64,
}

impl Giving {
    /// A transfer of these; the first thing it does is to offer them.
    pub fn new(transfer: Uuid, entries: Vec<Entry>) -> Self {
        let bytes = entries.iter().map(|entry| entry.size).sum();
        let files = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let top = entries.iter().filter(|entry| !entry.path.contains('/'));
        let names = top.take(NAMES_MAX).map(|entry| entry.path.clone()).collect();
        let offer = Say::Offer { version: VERSION, transfer, files, bytes, names };
        let out = VecDeque::from([Give::Say(offer)]);
        Self { entries, phase: Phase::Offered, next: 0, under_way: BTreeMap::new(), out, sent: 0, got: 0 }
    }

    /// What is sent.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Bytes that have arrived, since the offer.
    pub fn arrived(&self) -> u64 {
        self.got
    }

    /// Takes what the receiver says.
    pub fn handle(&mut self, said: Say) -> Result<(), Fault> {
        match (&said, self.phase) {
            (Say::Failed { why, detail }, _) => return Err(Fault::Peer { why: *why, detail: detail.clone() }),
            (Say::Accept { version: VERSION }, Phase::Offered) => self.phase = Phase::Open,
            (Say::Accept { version }, Phase::Offered) => return Err(Fault::Version(*version)),
            (Say::Got { bytes }, Phase::Open | Phase::Finishing) if (self.got..=self.sent).contains(bytes) => {
                self.got = *bytes;
            }
            (Say::Finish, Phase::Finishing) => {
                self.phase = Phase::Over;
                self.out.push_back(Give::Over);
            }
            (
                Say::Check { file, .. } | Say::Take { file, .. } | Say::Skip { file, .. } | Say::Done { file },
                Phase::Open,
            ) => {
                let file = usize::try_from(*file).ok().filter(|file| self.under_way.contains_key(file));
                return file.map_or_else(|| unexpected(&said), |file| self.take_answer(file, &said));
            }
            _ => return unexpected(&said),
        }
        Ok(())
    }

    /// Takes what is said of a file that was named.
    fn take_answer(&mut self, file: usize, said: &Say) -> Result<(), Fault> {
        let (Some(entry), Some(state)) = (self.entries.get(file), self.under_way.get(&file).copied()) else {
            return unexpected(said);
        };
        let next = match (said, state) {
            (Say::Check { upto, .. }, State::Named | State::Told(_, Last::No))
                if *upto <= entry.size && !entry.folder =>
            {
                self.out.push_back(Give::Hash { file, upto: *upto });
                let first = state == State::Named;
                State::Asked(*upto, if first && *upto == entry.size { Last::No } else { Last::Yes })
            }
            (Say::Take { from: 0, .. }, State::Named | State::Told(..)) if !entry.folder => State::Wanted(0),
            (Say::Take { from, .. }, State::Told(upto, _)) if *from == upto => State::Wanted(upto),
            (Say::Skip { why, .. }, State::Named | State::Told(..) | State::Ended) => {
                return self.settle(file, Some(*why));
            }
            (Say::Done { .. }, State::Ended) => return self.settle(file, None),
            (Say::Done { .. }, State::Named) if entry.folder => return self.settle(file, None),
            (Say::Done { .. }, State::Told(upto, _)) if upto == entry.size => return self.settle(file, None),
            _ => return unexpected(said),
        };
        self.under_way.insert(file, next);
        Ok(())
    }

    fn settle(&mut self, file: usize, skipped: Option<Why>) -> Result<(), Fault> {
        self.under_way.remove(&file);
        self.out.push_back(Give::Settled { file, skipped });
        Ok(())
    }

    /// Takes the SHA-256 that [`Give::Hash`] wanted.
    pub fn hashed(&mut self, file: usize, sha256: Digest) {
        if let Some(state) = self.under_way.get_mut(&file)
            && let State::Asked(upto, last) = *state
        {
            *state = State::Told(upto, last);
            self.out.push_back(Give::Say(Say::Checked { file: number(file), sha256 }));
        }
    }

    /// Takes the SHA-256 that [`Give::Digest`] wanted.
    pub fn ended(&mut self, file: usize, sha256: Digest) {
        if let Some(state) = self.under_way.get_mut(&file) {
            *state = State::Ended;
            self.out.push_back(Give::Say(Say::End { file: number(file), sha256 }));
        }
    }

    /// What is to be done next; `None` when the receiver must be heard first.
    pub fn poll(&mut self) -> Option<Give> {
        if let Some(give) = self.out.pop_front() {
            return Some(give);
        }
        if self.phase != Phase::Open {
            return None;
        }
        if self.next < self.entries.len() && self.under_way.len() < AHEAD_MAX {
            return Some(Give::Say(self.name_next()));
        }
        if self.under_way.is_empty() {
            self.phase = Phase::Finishing;
            return Some(Give::Say(Say::Finish));
        }
        let unsent = |state: &State| !matches!(state, State::Sent | State::Ended);
        let (file, state) = self.under_way.iter_mut().find(|(_, state)| unsent(state))?;
        let (file, State::Wanted(at)) = (*file, *state) else { return None };
        let left = self.entries[file].size - at;
        if left == 0 {
            *state = State::Sent;
            return Some(Give::Digest { file });
        }
        let room = WINDOW.saturating_sub(self.sent - self.got);
        let length = left.min(CHUNK_MAX as u64);
        if length > room {
            return None;
        }
        *state = State::Wanted(at + length);
        self.sent += length;
        Some(Give::Send { file, at, length: usize::try_from(length).unwrap_or(CHUNK_MAX) })
    }

    fn name_next(&mut self) -> Say {
        let file = self.next;
        let Entry { path, size, folder, modified } = self.entries[file].clone();
        self.next += 1;
        self.under_way.insert(file, State::Named);
        Say::File { file: number(file), path, size, folder, modified }
    }
}

fn number(file: usize) -> u64 {
    u64::try_from(file).unwrap_or(u64::MAX)
}
