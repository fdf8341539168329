//! Both sides of a transfer on two disks in memory, with every packet of theirs, and liars on either side.

use super::giving::{Entry, Give, Giving};
use super::taking::{Found, Take, Taking};
use super::*;
use crate::wire::transfer::{CHUNK_MAX, Digest};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, VecDeque};
use uuid::Uuid;

const ROOM: u64 = 1 << 40;

fn sha256(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

fn content(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| seed ^ u8::try_from(index % 251).expect("small")).collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Packet {
    Text(Say),
    Piece(Vec<u8>),
}

/// A receiver's disk: whole files, and parts.
#[derive(Default, Debug, Clone)]
struct Disk {
    files: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<String, Vec<u8>>,
    replace: bool,
}

impl Disk {
    fn part(&self, path: &str) -> Found {
        self.parts.get(path).map_or(Found::Nothing, |part| Found::Part(part.len() as u64, sha256(part)))
    }
}

/// A receiver with its disk.
struct Receiver {
    taking: Taking,
    disk: Disk,
    open: BTreeMap<u64, String>,
    skipped: Vec<(String, Why)>,
    over: bool,
    pieces: usize,
}

impl Receiver {
    fn new(disk: Disk) -> Self {
        let (open, skipped) = (BTreeMap::new(), Vec::new());
        Self { taking: Taking::new(ROOM), disk, open, skipped, over: false, pieces: 0 }
    }

    fn take(&mut self, packet: Packet) -> Result<Vec<Packet>, Fault> {
        match packet {
            Packet::Text(said) => self.taking.handle(said)?,
            Packet::Piece(bytes) => {
                let (file, at) = self.taking.piece(bytes.len())?;
                let part = self.disk.parts.get_mut(&self.open[&file]).expect("it was opened");
                assert_eq!(part.len() as u64, at, "pieces come in order");
                part.extend(&bytes);
                self.pieces += 1;
                self.taking.wrote(bytes.len());
            }
        }
        let mut says = Vec::new();
        while let Some(take) = self.taking.poll() {
            self.perform(take, &mut says);
        }
        Ok(says)
    }

    fn perform(&mut self, take: Take, says: &mut Vec<Packet>) {
        match take {
            Take::Say(said) => says.push(Packet::Text(said)),
            Take::Ask(_) => self.taking.accept(),
            Take::Look(wanted) => {
                let path = wanted.path();
                let found = match self.disk.files.get(&path) {
                    _ if wanted.folder => Found::Folder,
                    Some(whole) if whole.len() as u64 == wanted.size => Found::Whole(sha256(whole)),
                    Some(_) => Found::Another,
                    None => self.disk.part(&path),
                };
                self.open.insert(wanted.file, path);
                self.taking.found(wanted.file, found);
            }
            Take::Decide(wanted) if self.disk.replace => {
                let found = self.disk.part(&wanted.path());
                self.taking.found(wanted.file, found);
            }
            Take::Decide(wanted) => self.taking.skip(wanted.file, Why::Exists),
            Take::Open { file, from } => {
                let part = self.disk.parts.entry(self.open[&file].clone()).or_default();
                part.truncate(usize::try_from(from).expect("small"));
            }
            Take::Place { wanted, sha256: wanted_digest } => {
                let path = wanted.path();
                let part = self.disk.parts.remove(&path).expect("it was opened");
                if sha256(&part) == wanted_digest {
                    self.disk.files.insert(path, part);
                    self.taking.placed(wanted.file);
                } else {
                    self.taking.skip(wanted.file, Why::Checksum);
                }
            }
            Take::Skipped { path, why } => self.skipped.push((path, why)),
            Take::There(wanted) => self.taking.placed(wanted.file),
            Take::Over => self.over = true,
        }
    }
}

const NAMES: [&str; 3] = ["a", "b", "empty"];

/// Sends these files, whose names are those of `NAMES`, until the end or until so many pieces have arrived; says
/// how many bytes of pieces were sent.
fn send(files: &[(&str, Vec<u8>)], receiver: &mut Receiver, pieces_max: usize) -> (usize, Vec<(usize, Option<Why>)>) {
    let entry = |(path, bytes): &(&str, Vec<u8>)| Entry {
        path: (*path).to_owned(),
        size: bytes.len() as u64,
        folder: false,
        modified: None,
    };
    let mut giving = Giving::new(Uuid::from_u128(1), files.iter().map(entry).collect());
    let (mut to_receiver, mut to_sender) = (VecDeque::new(), VecDeque::new());
    let (mut sent, mut settled) = (0, Vec::new());
    loop {
        while let Some(give) = giving.poll() {
            match give {
                Give::Say(said) => to_receiver.push_back(Packet::Text(said)),
                Give::Hash { file, upto } => {
                    let upto = usize::try_from(upto).expect("small");
                    giving.hashed(file, sha256(&files[file].1[..upto]));
                }
                Give::Send { file, at, length } => {
                    let at = usize::try_from(at).expect("small");
                    sent += length;
                    to_receiver.push_back(Packet::Piece(files[file].1[at..at + length].to_vec()));
                }
                Give::Digest { file } => giving.ended(file, sha256(&files[file].1)),
                Give::Settled { file, skipped } => settled.push((file, skipped)),
                Give::Over => return (sent, settled),
            }
            let waiting: usize = to_receiver.iter().map(|p| if let Packet::Piece(b) = p { b.len() } else { 0 }).sum();
            assert!(waiting as u64 <= WINDOW, "no more is under way than the window");
        }
        let Some(packet) = to_receiver.pop_front() else { panic!("both wait for each other") };
        to_sender.extend(receiver.take(packet).expect("an honest sender"));
        if receiver.pieces >= pieces_max {
            return (sent, settled);
        }
        while let Some(Packet::Text(said)) = to_sender.pop_front() {
            giving.handle(said).expect("an honest receiver");
        }
    }
}

fn three() -> Vec<(&'static str, Vec<u8>)> {
    vec![(NAMES[0], content(1, 3 * CHUNK_MAX + 17)), (NAMES[1], content(2, 5_000_000)), (NAMES[2], Vec::new())]
}

#[test]
fn several_files_arrive_whole() {
    let mut receiver = Receiver::new(Disk::default());
    let (sent, settled) = send(&three(), &mut receiver, usize::MAX);
    assert!(receiver.over && receiver.skipped.is_empty() && receiver.disk.parts.is_empty());
    assert_eq!(receiver.disk.files, three().into_iter().map(|(path, bytes)| (path.to_owned(), bytes)).collect());
    assert_eq!(sent, three().iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
    assert_eq!(settled, [(0, None), (1, None), (2, None)]);
}

#[test]
fn after_a_break_nothing_is_sent_again_that_was_kept() {
    let files = three();
    let mut receiver = Receiver::new(Disk::default());
    send(&files, &mut receiver, 40);
    assert_eq!(receiver.disk.files.len(), 1, "the first file is done, the second is not");
    let kept = receiver.disk.parts[NAMES[1]].len();
    let mut again = Receiver::new(receiver.disk);
    let (sent, settled) = send(&files, &mut again, usize::MAX);
    assert!(again.over && again.skipped.is_empty());
    assert_eq!(again.disk.files[NAMES[1]], files[1].1);
    assert_eq!(sent, files[1].1.len() - kept);
    assert_eq!(settled.len(), 3);
}

#[test]
fn a_part_of_something_else_is_begun_anew() {
    let files = three();
    let mut disk = Disk::default();
    disk.parts.insert(NAMES[1].to_owned(), content(9, 1_000_000));
    disk.parts.insert(NAMES[0].to_owned(), content(1, 9_000_000));
    let mut receiver = Receiver::new(disk);
    let (sent, _) = send(&files, &mut receiver, usize::MAX);
    assert_eq!(sent, files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>());
    assert_eq!(receiver.disk.files[NAMES[1]], files[1].1);
    assert_eq!(receiver.disk.files[NAMES[0]], files[0].1);
}

#[test]
fn what_is_there_is_replaced_only_when_that_was_decided() {
    let files = three();
    for replace in [false, true] {
        let mut disk = Disk { replace, ..Disk::default() };
        disk.files.insert(NAMES[0].to_owned(), b"mine".to_vec());
        disk.files.insert(NAMES[1].to_owned(), content(7, 5_000_000));
        let mut receiver = Receiver::new(disk.clone());
        let (_, settled) = send(&files, &mut receiver, usize::MAX);
        let mine = if replace { None } else { Some(Why::Exists) };
        assert_eq!(settled, [(0, mine), (1, mine), (2, None)]);
        assert_eq!(receiver.disk.files[NAMES[0]] == files[0].1, replace);
        assert_eq!(receiver.disk.files[NAMES[1]] == files[1].1, replace);
    }
}

#[test]
fn replacing_a_file_of_the_same_size_goes_on_after_a_break() {
    let files = vec![(NAMES[0], content(1, 5_000_000))];
    let mut disk = Disk { replace: true, ..Disk::default() };
    disk.files.insert(NAMES[0].to_owned(), content(7, 5_000_000));
    let mut receiver = Receiver::new(disk);
    send(&files, &mut receiver, 40);
    let kept = receiver.disk.parts[NAMES[0]].len();
    let mut again = Receiver::new(receiver.disk);
    let (sent, settled) = send(&files, &mut again, usize::MAX);
    assert_eq!((sent, settled), (5_000_000 - kept, vec![(0, None)]));
    assert!(again.over && again.disk.parts.is_empty() && again.disk.files[NAMES[0]] == files[0].1);
}

#[test]
fn a_sender_is_not_told_what_stands_there() {
    let mut receiver = accepted(1, 4);
    receiver.disk.files.insert("a".to_owned(), b"mine".to_vec());
    let said = receiver.take(file(0, "a", 4)).expect("announced");
    assert_eq!(said, [Packet::Text(Say::Check { file: 0, upto: 4 })]);
    let answer = Packet::Text(Say::Checked { file: 0, sha256: sha256(b"mine") });
    assert_eq!(receiver.take(answer), Ok(vec![Packet::Text(Say::Done { file: 0 })]));
}

/// A sender that has named a file of so many bytes.
fn named(size: u64) -> Giving {
    let entry = Entry { path: "a".to_owned(), size, folder: false, modified: None };
    let mut giving = Giving::new(Uuid::nil(), vec![entry]);
    giving.handle(Say::Accept { version: 1 }).expect("accepted");
    while giving.poll().is_some() {}
    giving
}

#[test]
fn a_sender_that_reads_for_long_may_say_so_of_what_it_has_named() {
    let mut receiver = accepted(1, 4);
    receiver.take(file(0, "a", 4)).expect("announced");
    assert_eq!(receiver.take(Packet::Text(Say::Reading { file: 0 })), Ok(Vec::new()));
    assert_eq!(receiver.take(Packet::Text(Say::Reading { file: 1 })), Err(Fault::Unexpected("reading")));
}

#[test]
fn nobody_can_have_a_sender_read_a_file_for_ever() {
    for (first, times) in [(9, 2), (8, 1)] {
        let mut giving = named(9);
        let check = |upto| Say::Check { file: 0, upto };
        for upto in [first, 9].into_iter().take(times) {
            giving.handle(check(upto)).expect("so often it may be asked");
            assert_eq!(giving.poll(), Some(Give::Hash { file: 0, upto }));
            giving.hashed(0, sha256(b"other"));
            assert!(matches!(giving.poll(), Some(Give::Say(Say::Checked { .. }))));
        }
        assert_eq!(giving.handle(check(9)), Err(Fault::Unexpected("check")));
    }
}

/// A receiver that has accepted an offer of so many files and bytes.
fn accepted(files: u64, bytes: u64) -> Receiver {
    let mut receiver = Receiver::new(Disk::default());
    let offer = Say::Offer { version: 1, transfer: Uuid::from_u128(1), files, bytes, names: Vec::new() };
    receiver.take(Packet::Text(offer)).expect("an offer");
    receiver
}

fn file(number: u64, path: &str, size: u64) -> Packet {
    Packet::Text(Say::File { file: number, path: path.to_owned(), size, folder: false, modified: None })
}

#[test]
fn a_sender_that_announces_more_than_it_offered_or_sends_more_than_it_announced_is_cut_off() {
    assert_eq!(accepted(1, 10).take(file(0, "a", 11)), Err(Fault::MoreThanAnnounced));
    assert_eq!(accepted(1, 10).take(file(0, "a", u64::MAX)), Err(Fault::MoreThanAnnounced));
    let mut receiver = accepted(1, 10);
    receiver.take(file(0, "a", 3)).expect("announced");
    assert_eq!(receiver.take(file(1, "b", 3)), Err(Fault::MoreThanAnnounced));
    let mut receiver = accepted(1, 10);
    receiver.take(file(0, "a", 3)).expect("announced");
    assert_eq!(receiver.take(Packet::Piece(vec![0; 4])), Err(Fault::MoreThanAnnounced));
    let mut receiver = accepted(1, 10);
    receiver.take(file(0, "a", 3)).expect("announced");
    let early = Packet::Text(Say::End { file: 0, sha256: sha256(b"") });
    assert_eq!(receiver.take(early), Err(Fault::Unexpected("end")));
    let mut taking = Taking::new(10);
    let large = Say::Offer { version: 1, transfer: Uuid::nil(), files: 1, bytes: 11, names: Vec::new() };
    assert_eq!(taking.handle(large), Err(Fault::TooLarge { files: 1, bytes: 11 }));
}

#[test]
fn names_that_leave_the_folder_are_passed_over_and_the_rest_goes_on() {
    let mut receiver = accepted(2, 10);
    let said = receiver.take(file(0, "../../etc/passwd", 3)).expect("it is passed over");
    assert_eq!(said, [Packet::Text(Say::Skip { file: 0, why: Why::Name })]);
    assert_eq!(receiver.skipped, [("../../etc/passwd".to_owned(), Why::Name)]);
    let said = receiver.take(file(1, "b", 3)).expect("it is taken");
    assert_eq!(said, [Packet::Text(Say::Take { file: 1, from: 0 })]);
}

fn folder(number: u64, path: &str) -> Packet {
    Packet::Text(Say::File { file: number, path: path.to_owned(), size: 0, folder: true, modified: None })
}

#[test]
fn what_is_in_a_folder_is_taken_only_right_behind_it() {
    let mut receiver = accepted(100, 10);
    let honest = [("x", true), ("x/y", true), ("x/y/1", true), ("x/2", true), ("3", true)];
    let others = [("z/5", false), ("3/6", false), ("x/z/7", false), ("w", true), ("x/4", false)];
    for (number, (path, is_taken)) in honest.into_iter().chain(others).enumerate() {
        let number = number as u64;
        let packet = if path.ends_with(char::is_alphabetic) { folder(number, path) } else { file(number, path, 1) };
        let said = receiver.take(packet).expect("it is taken or passed over");
        let skip = Packet::Text(Say::Skip { file: number, why: Why::Name });
        assert_eq!(!said.contains(&skip), is_taken, "{path}: {said:?}");
    }
}

#[test]
fn of_a_name_that_is_too_long_no_more_is_kept_than_of_a_long_one() {
    let mut receiver = accepted(1, 10);
    receiver.take(file(0, &"é".repeat(10_000), 3)).expect("it is passed over");
    assert_eq!(receiver.skipped[0].0.len(), name::PATH_MAX);
}

#[test]
fn a_wrong_checksum_leaves_nothing_behind() {
    let mut receiver = accepted(1, 3);
    receiver.take(file(0, "a", 3)).expect("announced");
    receiver.take(Packet::Piece(b"abc".to_vec())).expect("a piece");
    let end = Packet::Text(Say::End { file: 0, sha256: sha256(b"abd") });
    let said = receiver.take(end).expect("it ends");
    assert_eq!(said.last(), Some(&Packet::Text(Say::Skip { file: 0, why: Why::Checksum })));
    assert!(receiver.disk.files.is_empty() && receiver.disk.parts.is_empty());
}

#[test]
fn what_has_no_place_ends_a_transfer_on_either_side() {
    for said in [
        Say::Finish,
        Say::Accept { version: 1 },
        Say::Checked { file: 0, sha256: sha256(b"") },
        Say::Reading { file: 0 },
        Say::File { file: 5, path: "a".to_owned(), size: 0, folder: false, modified: None },
        Say::File { file: 0, path: "a".to_owned(), size: 1, folder: true, modified: None },
        Say::End { file: 0, sha256: sha256(b"") },
    ] {
        assert!(matches!(accepted(1, 10).take(Packet::Text(said)), Err(Fault::Unexpected(_))));
    }
    assert!(accepted(1, 10).take(Packet::Piece(vec![1])).is_err());
    for said in [
        Say::Take { file: 0, from: 5 },
        Say::Take { file: 7, from: 0 },
        Say::Check { file: 0, upto: 10 },
        Say::Done { file: 0 },
        Say::Got { bytes: 1 },
        Say::Finish,
    ] {
        let mut giving = named(9);
        assert!(matches!(giving.handle(said), Err(Fault::Unexpected(_))));
    }
}

#[test]
fn no_more_files_are_named_ahead_than_may_be() {
    let entry = Entry { path: "a".to_owned(), size: 9, folder: false, modified: None };
    let mut giving = Giving::new(Uuid::nil(), vec![entry; 3 * AHEAD_MAX]);
    giving.handle(Say::Accept { version: 1 }).expect("accepted");
    let named = std::iter::from_fn(|| giving.poll()).filter(|give| matches!(give, Give::Say(Say::File { .. })));
    assert_eq!(named.count(), AHEAD_MAX);
}
