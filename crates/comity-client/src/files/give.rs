//! The sending side of a transfer, on disk.

use super::disk::hash_prefix;
use super::plan::Plan;
use super::socket::{Packet, Socket};
use super::{Broken, Event};
use crate::Client;
use comity_core::transfer::giving::{Entry, Give, Giving};
use comity_core::wire::transfer::{Digest, Say, Why};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// How often the receiver is told that a large file is still being read. It gives up after much longer.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// How long the receiver may say nothing until whoever looks is told that it is waited for.
const WAITING: Duration = Duration::from_secs(5);

/// What became of a transfer that came to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// Files and folders that stand there under their names now.
    pub done: usize,
    /// Those that were not taken, by their paths there.
    pub skipped: Vec<(String, Why)>,
}

/// Sends these to whoever receives at this peer. After a break it is called again, with the same id.
pub async fn give(
    client: &Client,
    peer: &str,
    transfer: Uuid,
    plan: &Plan,
    mut tell: impl FnMut(Event),
) -> Result<Given, Broken> {
    let entries = plan.sources.iter().map(|source| source.entry.clone()).collect();
    let socket = Socket::to(client, peer).await?;
    let (giving, hashed, given) = (Giving::new(transfer, entries), BTreeMap::new(), Given::default());
    let mut giver = Giver { plan, giving, socket, hashed, file: None, begun: BTreeSet::new(), given };
    match giver.run(&mut tell).await {
        Ok(()) => {
            giver.socket.close(None).await;
            Ok(giver.given)
        }
        Err(broken) => {
            let last = match &broken {
                Broken::Fault(fault) => fault.say(),
                Broken::Read { .. } => Some(Say::failed(Why::Unreadable, "a file cannot be read over there")),
                Broken::Changed(_) => Some(Say::failed(Why::Changed, "a file changed while it was sent")),
                _ => None,
            };
            giver.socket.close(last).await;
            Err(broken)
        }
    }
}

struct Giver<'a> {
    plan: &'a Plan,
    giving: Giving,
    socket: Socket,
    /// How far files were read to answer the receiver: nothing of them is read again when it goes on from there.
    hashed: BTreeMap<usize, (u64, Sha256)>,
    /// The file that is being sent.
    file: Option<Reading>,
    /// Files of which it was told from where on they are sent.
    begun: BTreeSet<usize>,
    given: Given,
}

/// A file of which so many bytes are in the hash.
struct Reading {
    index: usize,
    file: File,
    at: u64,
    hash: Sha256,
}

impl Giver<'_> {
    async fn run(&mut self, tell: &mut impl FnMut(Event)) -> Result<(), Broken> {
        loop {
            while let Some(give) = self.giving.poll() {
                if give == Give::Over {
                    return Ok(());
                }
                self.perform(give, tell).await?;
            }
            match self.hear(tell).await? {
                Packet::Said(said) => {
                    let got = matches!(said, Say::Got { .. });
                    self.giving.handle(said)?;
                    if got {
                        tell(Event::Progress(self.giving.arrived()));
                    }
                }
                Packet::Piece(_) => return Err(comity_core::transfer::Fault::Unexpected("a piece of a file").into()),
            }
        }
    }

    async fn hear(&mut self, tell: &mut impl FnMut(Event)) -> Result<Packet, Broken> {
        if let Ok(packet) = timeout(WAITING, self.socket.next()).await {
            return packet;
        }
        tell(Event::Waiting);
        self.socket.next().await
    }

    async fn perform(&mut self, give: Give, tell: &mut impl FnMut(Event)) -> Result<(), Broken> {
        match give {
            Give::Say(said) => self.socket.say(&said).await?,
            Give::Hash { file, upto } => {
                let hash = self.hash(file, upto).await?;
                self.giving.hashed(file, Digest(hash.clone().finalize().into()));
                self.hashed.insert(file, (upto, hash));
            }
            Give::Send { file, at, length } => {
                if self.file.as_ref().is_none_or(|reading| reading.index != file) {
                    self.read_on(file, at).await?;
                    let entry = &self.plan.sources[file].entry;
                    tell(Event::Begun { path: entry.path.clone(), size: entry.size, from: at });
                    if at > 0 {
                        tell(Event::Spared(at));
                    }
                }
                let piece = self.piece(length)?;
                self.socket.piece(piece).await?;
            }
            Give::Digest { file } => {
                if self.file.as_ref().is_none_or(|reading| reading.index != file) {
                    // Nothing of it had to be sent.
                    let size = self.plan.sources[file].entry.size;
                    self.read_on(file, size).await?;
                    tell(Event::Spared(size));
                }
                let Some(reading) = self.file.take() else { return Err(Broken::Off) };
                let source = &self.plan.sources[file];
                let found = reading.file.metadata().map_err(|wrong| self.unreadable(file, wrong))?;
                // What was sent may be of two states of it, and no checksum of ours would tell.
                if !source.is_still(&found) {
                    return Err(Broken::Changed(source.path.clone()));
                }
                self.giving.ended(file, Digest(reading.hash.finalize().into()));
            }
            Give::Settled { file, skipped } => self.settle(file, skipped, tell),
            Give::Over => {}
        }
        Ok(())
    }

    fn settle(&mut self, file: usize, skipped: Option<Why>, tell: &mut impl FnMut(Event)) {
        self.hashed.remove(&file);
        let begun = self.begun.remove(&file);
        let Entry { path, size, .. } = self.plan.sources[file].entry.clone();
        match skipped {
            None => {
                self.given.done += 1;
                if !begun {
                    // It was there.
                    tell(Event::Spared(size));
                }
                tell(Event::Done { path });
            }
            Some(why) => {
                self.given.skipped.push((path.clone(), why));
                tell(Event::Skipped { path, why });
            }
        }
    }

    /// The hash of the beginning of a file. A slow disk may take hours for it, which the receiver waits.
    async fn hash(&mut self, index: usize, upto: u64) -> Result<Sha256, Broken> {
        let mut file = self.open(index)?;
        let mut hashing = pin!(hash_prefix(&mut file, upto));
        loop {
            match timeout(SIGN_OF_LIFE, &mut hashing).await {
                Ok(hashed) => return hashed.map_err(|source| unreadable(self.plan, index, source)),
                Err(_) => self.socket.say(&Say::Reading { file: index as u64 }).await?,
            }
        }
    }

    /// Goes on reading a file; what comes before is hashed.
    async fn read_on(&mut self, index: usize, at: u64) -> Result<(), Broken> {
        let hash = match self.hashed.remove(&index) {
            Some((upto, hash)) if upto == at => hash,
            _ => self.hash(index, at).await?,
        };
        let mut file = self.open(index)?;
        file.seek(SeekFrom::Start(at)).map_err(|source| self.unreadable(index, source))?;
        self.begun.insert(index);
        self.file = Some(Reading { index, file, at, hash });
        Ok(())
    }

    fn open(&self, index: usize) -> Result<File, Broken> {
        File::open(&self.plan.sources[index].path).map_err(|source| self.unreadable(index, source))
    }

    fn piece(&mut self, length: usize) -> Result<Vec<u8>, Broken> {
        let Some(reading) = &mut self.file else { return Err(Broken::Off) };
        let index = reading.index;
        let mut piece = vec![0; length];
        reading.file.read_exact(&mut piece).map_err(|source| unreadable(self.plan, index, source))?;
        reading.hash.update(&piece);
        reading.at += length as u64;
        Ok(piece)
    }

    fn unreadable(&self, index: usize, source: io::Error) -> Broken {
        unreadable(self.plan, index, source)
    }
}

fn unreadable(plan: &Plan, index: usize, source: io::Error) -> Broken {
    let path = plan.sources[index].path.clone();
    if source.kind() == io::ErrorKind::UnexpectedEof { Broken::Changed(path) } else { Broken::Read { path, source } }
}
