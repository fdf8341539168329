//! The receiver's side of a transfer: what is taken of what is offered, and that no more comes than was
//! announced. What is on the disk it is told.

use super::{ACKNOWLEDGE_EVERY, AHEAD_MAX, FILES_MAX, Fault, name, unexpected};
use crate::wire::transfer::{Digest, Say, VERSION, Why};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

/// What the receiver has to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Take {
    /// Say this.
    Say(Say),
    /// Decide on the offer; [`Taking::accept`] goes on.
    Ask(Offer),
    /// Look what is there under this name; [`Taking::found`] takes it.
    Look(Wanted),
    /// Something else is there under this name: decide; [`Taking::found`] or [`Taking::skip`] takes it.
    Decide(Wanted),
    /// What comes next is the content of this file from here on.
    Open {
        /// Its number.
        file: u64,
        /// The first byte that comes.
        from: u64,
    },
    /// All of this file came: check it and put it in its place; [`Taking::placed`] or [`Taking::skip`] takes it.
    Place {
        /// The file.
        wanted: Wanted,
        /// What its SHA-256 must be.
        sha256: Digest,
    },
    /// This was not taken, and the sender is told.
    Skipped {
        /// Its path, as the sender named it, cut at [`name::PATH_MAX`] bytes: not to be used, and to be cleaned before
        /// it is shown.
        path: String,
        /// Why.
        why: Why,
    },
    /// It is there as it should be, without anything having been sent: see that it is on the disk;
    /// [`Taking::placed`] or [`Taking::skip`] takes it.
    There(Wanted),
    /// All is said.
    Over,
}

/// What is offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Which transfer.
    pub transfer: Uuid,
    /// How many files and folders.
    pub files: u64,
    /// How many bytes in all.
    pub bytes: u64,
    /// Some of the names, as the sender says.
    pub names: Vec<String>,
}

/// A file or folder that is offered, under a name that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its number.
    pub file: u64,
    /// The names of its path.
    pub parts: Vec<String>,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it is a folder.
    pub folder: bool,
    /// When it was changed last, Unix ms, as the sender says.
    pub modified: Option<u64>,
}

impl Wanted {
    /// Its path.
    pub fn path(&self) -> String {
        self.parts.join("/")
    }
}

/// What is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Nothing: the whole file is wanted.
    Nothing,
    /// The beginning of a file, with its length and SHA-256.
    Part(u64, Digest),
    /// A whole file of the announced size, with its SHA-256.
    Whole(Digest),
    /// A file of another size.
    Another,
    /// The folder is there now.
    Folder,
}

#[derive(Debug)]
enum State {
    /// Not looked at yet, or waiting for a decision.
    Open,
    /// The sender was asked about so many bytes of a part, which have this SHA-256.
    AskedPart(u64, Digest),
    /// The sender was asked about a whole file, which has this SHA-256.
    AskedWhole(Digest),
    /// What comes belongs to it, once those before it have ended.
    Coming(u64),
    /// All of it has come, or was there.
    Came,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Asked,
    Open,
    Over,
}

/// The receiver's side of one transfer.
#[derive(Debug)]
pub struct Taking {
    bytes_max: u64,
    phase: Phase,
    offer: Option<Offer>,
    named: u64,
    named_bytes: u64,
    /// The folder that was named last: what comes next is in it or in one above it, because what is in a folder
    /// comes right behind it. So no file makes folders that were not counted.
    folder: Vec<String>,
    under_way: BTreeMap<u64, (Wanted, State)>,
    out: VecDeque<Take>,
    got: u64,
    told: u64,
}

impl Taking {
    /// Waits for an offer of so many bytes at most.
    pub fn new(bytes_max: u64) -> Self {
        Self {
            bytes_max,
            phase: Phase::Start,
            offer: None,
            named: 0,
            named_bytes: 0,
            folder: Vec::new(),
            under_way: BTreeMap::new(),
            out: VecDeque::new(),
            got: 0,
            told: 0,
        }
    }

    /// What was offered.
    pub fn offer(&self) -> Option<&Offer> {
        self.offer.as_ref()
    }

    /// Takes what the sender says.
    pub fn handle(&mut self, said: Say) -> Result<(), Fault> {
        match (said, self.phase) {
            (Say::Failed { why, detail }, _) => Err(Fault::Peer { why, detail }),
            (Say::Offer { version, transfer, files, bytes, names }, Phase::Start) => {
                self.take_offer(version, Offer { transfer, files, bytes, names })
            }
            (Say::File { file, path, size, folder, modified }, Phase::Open) => {
                self.take_file(path, Wanted { file, parts: Vec::new(), size, folder, modified })
            }
            (Say::Checked { file, sha256 }, Phase::Open) => self.take_comparison(file, sha256),
            (Say::Reading { file }, Phase::Open) if self.under_way.contains_key(&file) => Ok(()),
            (Say::End { file, sha256 }, Phase::Open) => self.take_end(file, sha256),
            (said @ Say::Finish, Phase::Open) => {
                if !self.under_way.is_empty() || Some(self.named) != self.offer.as_ref().map(|offer| offer.files) {
                    return unexpected(&said);
                }
                self.phase = Phase::Over;
                self.out.extend([Take::Say(Say::Finish), Take::Over]);
                Ok(())
            }
            (said, _) => unexpected(&said),
        }
    }

    fn take_offer(&mut self, version: u32, offer: Offer) -> Result<(), Fault> {
        if version < VERSION {
            return Err(Fault::Version(version));
        }
        if offer.files > FILES_MAX || offer.bytes > self.bytes_max {
            return Err(Fault::TooLarge { files: offer.files, bytes: offer.bytes });
        }
        self.phase = Phase::Asked;
        self.offer = Some(offer.clone());
        self.out.push_back(Take::Ask(offer));
        Ok(())
    }

    /// The offer is taken.
    pub fn accept(&mut self) {
        if self.phase == Phase::Asked {
            self.phase = Phase::Open;
            self.out.push_back(Take::Say(Say::Accept { version: VERSION }));
        }
    }

    fn take_file(&mut self, mut path: String, mut wanted: Wanted) -> Result<(), Fault> {
        let (files, bytes) = self.offer.as_ref().map_or((0, 0), |offer| (offer.files, offer.bytes));
        self.named_bytes = self.named_bytes.saturating_add(wanted.size);
        let misplaced = wanted.file != self.named || self.under_way.len() >= AHEAD_MAX;
        if misplaced || (wanted.folder && wanted.size > 0) {
            return Err(Fault::Unexpected("file"));
        }
        if self.named >= files || self.named_bytes > bytes {
            return Err(Fault::MoreThanAnnounced);
        }
        self.named += 1;
        let parts = name::parts(&path).ok().filter(|parts| self.is_named(&parts[..parts.len() - 1]));
        let Some(parts) = parts.map(|parts| parts.into_iter().map(str::to_owned).collect()) else {
            path.truncate(path.floor_char_boundary(name::PATH_MAX));
            self.out.push_back(Take::Say(Say::Skip { file: wanted.file, why: Why::Name }));
            self.out.push_back(Take::Skipped { path, why: Why::Name });
            return Ok(());
        };
        wanted.parts = parts;
        if wanted.folder {
            self.folder.clone_from(&wanted.parts);
        }
        self.under_way.insert(wanted.file, (wanted.clone(), State::Open));
        self.out.push_back(Take::Look(wanted));
        Ok(())
    }

    /// Whether this is the folder that was named last, or one above it.
    fn is_named(&self, folder: &[&str]) -> bool {
        self.folder.len() >= folder.len() && self.folder.iter().zip(folder).all(|(named, this)| named == this)
    }

    /// Takes what [`Take::Look`] found, or what is there after a decision to replace what was.
    pub fn found(&mut self, file: u64, found: Found) {
        let Some((wanted, state)) = self.under_way.get_mut(&file) else { return };
        let size = wanted.size;
        match found {
            Found::Folder => {
                *state = State::Came;
                self.out.push_back(Take::There(wanted.clone()));
            }
            Found::Part(upto, sha256) if upto > 0 && upto <= size => {
                *state = State::AskedPart(upto, sha256);
                self.out.push_back(Take::Say(Say::Check { file, upto }));
            }
            Found::Whole(sha256) => {
                *state = State::AskedWhole(sha256);
                self.out.push_back(Take::Say(Say::Check { file, upto: size }));
            }
            Found::Another => self.out.push_back(Take::Decide(wanted.clone())),
            Found::Nothing | Found::Part(..) => self.want(file, 0),
        }
    }

    /// This file is not taken, or could not be kept.
    pub fn skip(&mut self, file: u64, why: Why) {
        if let Some((wanted, _)) = self.under_way.remove(&file) {
            self.out.push_back(Take::Say(Say::Skip { file, why }));
            self.out.push_back(Take::Skipped { path: wanted.path(), why });
        }
    }

    /// The file stands in its place, on the disk.
    pub fn placed(&mut self, file: u64) {
        if self.under_way.remove(&file).is_some() {
            self.out.push_back(Take::Say(Say::Done { file }));
        }
    }

    fn want(&mut self, file: u64, from: u64) {
        if let Some((_, state)) = self.under_way.get_mut(&file) {
            *state = State::Coming(from);
            self.out.extend([Take::Open { file, from }, Take::Say(Say::Take { file, from })]);
        }
    }

    /// Compares what is here with what the sender has.
    fn take_comparison(&mut self, file: u64, there: Digest) -> Result<(), Fault> {
        match self.under_way.get_mut(&file) {
            Some((_, State::AskedPart(upto, here))) => {
                let from = if *here == there { *upto } else { 0 };
                self.want(file, from);
            }
            Some((wanted, state @ State::AskedWhole(_))) => {
                let is_same = matches!(state, State::AskedWhole(here) if *here == there);
                let wanted = wanted.clone();
                let (next, take) =
                    if is_same { (State::Came, Take::There(wanted)) } else { (State::Open, Take::Decide(wanted)) };
                *state = next;
                self.out.push_back(take);
            }
            _ => return Err(Fault::Unexpected("checked")),
        }
        Ok(())
    }

    /// A piece of so many bytes came: the file that it belongs to, and where in it.
    pub fn piece(&mut self, length: usize) -> Result<(u64, u64), Fault> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        let coming = self.under_way.values_mut().find(|(_, state)| !matches!(state, State::Came));
        let Some((wanted, State::Coming(at))) = coming else { return Err(Fault::Unexpected("a piece of a file")) };
        let begin = *at;
        if length == 0 || length > wanted.size - begin {
            return Err(Fault::MoreThanAnnounced);
        }
        *at += length;
        Ok((wanted.file, begin))
    }

    /// So many bytes of pieces were written.
    pub fn wrote(&mut self, length: usize) {
        self.got = self.got.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
        if self.got - self.told >= ACKNOWLEDGE_EVERY {
            self.acknowledge();
        }
    }

    fn acknowledge(&mut self) {
        if self.got > self.told {
            self.told = self.got;
            self.out.push_back(Take::Say(Say::Got { bytes: self.got }));
        }
    }

    fn take_end(&mut self, file: u64, sha256: Digest) -> Result<(), Fault> {
        let coming = self.under_way.values_mut().find(|(_, state)| !matches!(state, State::Came));
        match coming {
            Some((wanted, state @ State::Coming(_))) if wanted.file == file => {
                if !matches!(state, State::Coming(at) if *at == wanted.size) {
                    return Err(Fault::Unexpected("end"));
                }
                *state = State::Came;
                let wanted = wanted.clone();
                self.acknowledge();
                self.out.push_back(Take::Place { wanted, sha256 });
                Ok(())
            }
            _ => Err(Fault::Unexpected("end")),
        }
    }

    /// What is to be done next; `None` when the sender must be heard first.
    pub fn poll(&mut self) -> Option<Take> {
        self.out.pop_front()
    }
}
