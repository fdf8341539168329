//! The receiving side of a transfer, on disk.

use super::disk::{self, Folder, Part, Refused};
use super::socket::{Incoming, Packet, Socket};
use super::{Broken, Event};
use comity_core::transfer::Fault;
use comity_core::transfer::taking::{Offer, Take, Taking, Wanted};
use comity_core::wire::transfer::{Say, Why};
use std::collections::{BTreeMap, VecDeque};
use std::pin::pin;
use std::time::Duration;
use tokio::time::timeout;

/// How long a sender may take to say what it has.
const OFFER_TIME: Duration = Duration::from_secs(30);

/// How long a sender may then say nothing. One that reads a large file says so every half a minute.
const IDLE_TIME: Duration = Duration::from_secs(600);

/// Packets that wait while somebody is asked, at most: what a sender may send without being answered, in files of
/// any size. More are left on their way.
const EARLY_MAX: usize = 256;

/// How many of those that were not taken are named at the end. A sender may name many, only to be told no.
pub const SKIPPED_MAX: usize = 1000;

/// What became of a transfer that came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What was offered.
    pub offer: Offer,
    /// Files and folders that stand under their names.
    pub done: usize,
    /// How many were not taken.
    pub not_taken: usize,
    /// The first of these, [`SKIPPED_MAX`] at most, by their paths as the sender named them.
    pub skipped: Vec<(String, Why)>,
}

/// Who decides, while a transfer waits.
pub trait Ask: Send {
    /// Whether this offer is taken.
    fn offered(&mut self, offer: &Offer) -> impl Future<Output = bool> + Send;
    /// Whether what is there under this path is replaced.
    fn replaces(&mut self, path: &str, size: u64) -> impl Future<Output = bool> + Send;
    /// Ends when the same transfer was begun anew on another stream.
    fn given_up(&mut self) -> impl Future<Output = ()> + Send;
    /// Something happened.
    fn tell(&mut self, event: Event) -> impl Future<Output = ()> + Send;
}

/// Takes what is sent into this folder, so many bytes at most.
pub async fn take(incoming: Incoming, folder: &Folder, bytes_max: u64, ask: &mut impl Ask) -> Result<Taken, Broken> {
    let taking = Taking::new(bytes_max);
    let parts = BTreeMap::new();
    let (early, skipped) = (VecDeque::new(), Vec::new());
    let mut taker = Taker { folder, taking, socket: incoming.socket, parts, early, done: 0, not_taken: 0, skipped };
    match taker.run(ask).await {
        Ok(offer) => {
            taker.socket.close(None).await;
            Ok(Taken { offer, done: taker.done, not_taken: taker.not_taken, skipped: taker.skipped })
        }
        Err(broken) => {
            let last = match &broken {
                Broken::Fault(fault) => fault.say(),
                Broken::Write { source, .. } => Some(Say::failed(disk::why(source), disk::why(source).text())),
                Broken::Anew => Some(Say::failed(Why::Stopped, "the same files are being sent by another command")),
                Broken::Declined => Some(Say::failed(Why::Declined, Why::Declined.text())),
                _ => None,
            };
            taker.socket.close(last).await;
            Err(broken)
        }
    }
}

struct Taker<'a> {
    folder: &'a Folder,
    taking: Taking,
    socket: Socket,
    parts: BTreeMap<u64, Part>,
    /// What came while somebody was asked.
    early: VecDeque<Packet>,
    done: usize,
    not_taken: usize,
    skipped: Vec<(String, Why)>,
}

impl Taker<'_> {
    async fn run(&mut self, ask: &mut impl Ask) -> Result<Offer, Broken> {
        let (mut got, mut told) = (0, 0);
        loop {
            let patience = if self.taking.offer().is_none() { OFFER_TIME } else { IDLE_TIME };
            let packet = match self.early.pop_front() {
                Some(packet) => packet,
                None => tokio::select! {
                    packet = timeout(patience, self.socket.next()) => packet.unwrap_or(Err(Broken::Off))?,
                    () = ask.given_up() => return Err(Broken::Anew),
                },
            };
            match packet {
                Packet::Said(said) => self.taking.handle(said)?,
                Packet::Piece(bytes) => {
                    let (file, _) = self.taking.piece(bytes.len())?;
                    let part = self.parts.get_mut(&file).ok_or(Fault::Unexpected("a piece of a file"))?;
                    let written = part.write(&bytes);
                    written.map_err(|source| Broken::Write { path: part.wanted.path(), source })?;
                    self.taking.wrote(bytes.len());
                    got += bytes.len() as u64;
                }
            }
            while let Some(take) = self.taking.poll() {
                if take == Take::Over {
                    return self.taking.offer().cloned().ok_or(Broken::Off);
                }
                if matches!(take, Take::Say(Say::Got { .. })) && got > told {
                    told = got;
                    ask.tell(Event::Progress(got)).await;
                }
                self.perform(take, ask).await?;
            }
        }
    }

    async fn perform(&mut self, take: Take, ask: &mut impl Ask) -> Result<(), Broken> {
        match take {
            Take::Say(said) => self.socket.say(&said).await?,
            Take::Ask(offer) => {
                if !self.meanwhile(ask.offered(&offer)).await? {
                    return Err(Broken::Declined);
                }
                self.taking.accept();
            }
            Take::Look(wanted) => match self.folder.look(&wanted).await {
                Ok(Some(found)) => self.taking.found(wanted.file, found),
                Ok(None) => self.open_part(&wanted, false).await?,
                Err(refused) => self.refuse(&wanted, refused)?,
            },
            Take::Decide(wanted) => {
                if self.meanwhile(ask.replaces(&wanted.path(), wanted.size)).await? {
                    self.open_part(&wanted, true).await?;
                } else {
                    self.taking.skip(wanted.file, Why::Exists);
                }
            }
            Take::Open { file, from } => {
                if let Some(part) = self.parts.get_mut(&file) {
                    let gone_on = part.go_on(from);
                    gone_on.map_err(|source| Broken::Write { path: part.wanted.path(), source })?;
                    let (path, size) = (part.wanted.path(), part.wanted.size);
                    ask.tell(Event::Begun { path, size, from }).await;
                    if from > 0 {
                        ask.tell(Event::Spared(from)).await;
                    }
                }
            }
            Take::Place { wanted, sha256 } => {
                let Some(part) = self.parts.remove(&wanted.file) else { return Ok(()) };
                match part.place(sha256).await {
                    Ok(()) => {
                        self.taking.placed(wanted.file);
                        self.done += 1;
                        ask.tell(Event::Done { path: wanted.path() }).await;
                    }
                    Err(refused) => self.refuse(&wanted, refused)?,
                }
            }
            Take::Skipped { path, why } => {
                self.not_taken += 1;
                if self.skipped.len() < SKIPPED_MAX {
                    self.skipped.push((path.clone(), why));
                }
                ask.tell(Event::Skipped { path, why }).await;
            }
            Take::There(wanted) => match self.folder.keep(&wanted).await {
                Ok(()) => {
                    self.taking.placed(wanted.file);
                    self.done += 1;
                    ask.tell(Event::Spared(wanted.size)).await;
                    ask.tell(Event::Done { path: wanted.path() }).await;
                }
                Err(refused) => self.refuse(&wanted, refused)?,
            },
            Take::Over => {}
        }
        Ok(())
    }

    /// Waits for an answer, as a person may take long, and yet notices when the sender goes.
    async fn meanwhile(&mut self, answer: impl Future<Output = bool>) -> Result<bool, Broken> {
        let mut answer = pin!(answer);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return Ok(answer),
                packet = self.socket.next(), if self.early.len() < EARLY_MAX => match packet? {
                    Packet::Said(said @ Say::Failed { .. }) => self.taking.handle(said)?,
                    packet => self.early.push_back(packet),
                },
            }
        }
    }

    async fn open_part(&mut self, wanted: &Wanted, replace: bool) -> Result<(), Broken> {
        match self.folder.part(wanted, replace).await {
            Ok(part) => {
                let found = part.found();
                self.parts.insert(wanted.file, part);
                self.taking.found(wanted.file, found);
                Ok(())
            }
            Err(refused) => self.refuse(wanted, refused),
        }
    }

    fn refuse(&mut self, wanted: &Wanted, refused: Refused) -> Result<(), Broken> {
        match refused {
            Refused::Skip(why) => {
                self.taking.skip(wanted.file, why);
                Ok(())
            }
            Refused::Disk(source) => Err(Broken::Write { path: wanted.path(), source }),
        }
    }
}
