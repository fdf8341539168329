//! The journal on real files: what was acknowledged is there, what is wrong is named, what a crash leaves is cut off.

mod copies;
mod crashes;
mod damage;
mod keeping;

use super::*;
use crate::scratch::Scratch;
use comity_core::journal::{Entry, EntryKind, Follower, Read, Told, Wrong};
use comity_core::time::Timestamp;
use serde_json::{Map, Value, json};
use std::path::PathBuf;

fn key() -> KeyPair {
    KeyPair::from_seed([7; 32])
}

fn folder(scratch: &Scratch) -> PathBuf {
    scratch.path().join("journal")
}

fn data(number: u64) -> Map<String, Value> {
    let data = json!({"from_peer": format!("peer-{}", number % 3), "number": number});
    data.as_object().expect("an object").clone()
}

fn time(number: u64) -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000 + number * 1000)
}

fn draft(number: u64) -> Draft {
    let kind = EntryKind::ALL[usize::try_from(number % 3).expect("small")];
    Draft::new(kind, time(number), data(number)).expect("small")
}

fn open(folder: &Path) -> (Journal, Option<Recovered>) {
    Journal::open(folder, key(), Limits::default()).expect("a journal")
}

/// Appends entries with these numbers, so many at once; their indexes.
async fn append(journal: &Journal, numbers: std::ops::Range<u64>, at_once: usize) -> Vec<u64> {
    let mut indexes = Vec::new();
    let numbers: Vec<u64> = numbers.collect();
    for some in numbers.chunks(at_once) {
        let tasks: Vec<_> = some
            .iter()
            .map(|number| {
                let (journal, draft) = (journal.clone(), draft(*number));
                tokio::spawn(async move { journal.append(draft).await })
            })
            .collect();
        for task in tasks {
            indexes.push(task.await.expect("it ends").expect("written"));
        }
    }
    indexes
}

/// Makes a journal of so many entries and closes it.
async fn made(folder: &Path, entries: u64, at_once: usize) {
    let (journal, _) = open(folder);
    append(&journal, 0..entries, at_once).await;
    journal.close().await;
}

fn numbers(entries: Entries) -> Vec<u64> {
    entries.map(|entry| entry.expect("an entry").data["number"].as_u64().expect("a number")).collect()
}

fn flaw(path: &Path) -> Option<(u64, Wrong)> {
    verify(path, None, None).expect("it can be read").flaw.map(|flaw| (flaw.index, flaw.wrong))
}

#[tokio::test]
async fn what_was_appended_is_read_proved_and_there_after_a_restart() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let (journal, recovered) = open(&folder);
    assert_eq!((journal.head(), journal.range(), recovered), (None, 0..0, None));
    assert!(matches!(journal.entry(0), Err(JournalError::Beyond { size: 0 })));
    let mut indexes = append(&journal, 0..700, 64).await;
    indexes.sort_unstable();
    assert_eq!(indexes, (0..700).collect::<Vec<_>>(), "each index is given once");
    assert!(journal.figures().groups < 700, "those who wait together are written together");
    journal.close().await;
    let (journal, recovered) = open(&folder);
    assert_eq!((journal.range(), recovered), (0..700, None));
    let mut read = numbers(journal.entries(0..u64::MAX, Filter::default()));
    read.sort_unstable();
    assert_eq!(read, indexes);
    for index in [0, 255, 256, 511, 512, 699] {
        let proof = journal.prove(index).expect("a proof");
        assert_eq!(proof.check().map(|entry| entry.index), Ok(index));
        assert_eq!(proof.check().ok(), journal.entry(index).ok());
    }
    let report = verify(&folder, Some(key().node()), journal.head()).expect("it can be read");
    assert_eq!((report.flaw, report.size, report.head), (None, 700, journal.head()));
    assert_eq!(append(&journal, 700..701, 1).await, [700]);
    journal.close().await;
}

#[tokio::test]
async fn a_journal_is_opened_once_and_by_its_own_key() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let (journal, _) = open(&folder);
    let second = Journal::open(&folder, key(), Limits::default());
    assert!(matches!(second, Err(JournalError::InUse { .. })), "{second:?}");
    append(&journal, 0..1, 1).await;
    let handle = journal.clone();
    journal.close().await;
    assert_eq!(handle.append(draft(1)).await, Err(NotAppended::Closed));
    let other = Journal::open(&folder, KeyPair::from_seed([8; 32]), Limits::default());
    assert!(matches!(other, Err(JournalError::OtherKey { .. })), "{other:?}");
    assert_eq!(open(&folder).0.range(), 0..1);
}

#[tokio::test]
async fn entries_are_found_by_index_type_peer_and_time_whatever_the_clock_did() {
    let scratch = Scratch::new();
    let (journal, _) = open(&folder(&scratch));
    append(&journal, 1000..2000, 1).await;
    // The clock was set back: order is by index, and times are as they were told.
    append(&journal, 0..300, 1).await;
    let all = || journal.entries(0..u64::MAX, Filter::default()).map(|entry| entry.expect("an entry"));
    assert!(all().zip(0..).all(|(entry, index)| entry.index == index));
    let kinds = vec![EntryKind::TaskClaimed, EntryKind::PeerLeft];
    let filters = [
        Filter { kinds, ..Filter::default() },
        Filter { kinds: vec![EntryKind::PeerLeft], ..Filter::default() },
        Filter { author: Some(NodeId::from_bytes([9; 32])), ..Filter::default() },
        Filter { author: Some(key().node()), from_peer: Some("peer-2".to_owned()), ..Filter::default() },
        Filter { since: Some(time(50)), until: Some(time(1400)), ..Filter::default() },
        Filter { since: Some(time(1990)), ..Filter::default() },
        Filter { until: Some(time(7)), kinds: vec![EntryKind::TaskAnnounced], ..Filter::default() },
    ];
    for filter in filters {
        let is_wanted = |entry: &Entry| {
            (filter.kinds.is_empty() || filter.kinds.contains(&entry.kind))
                && filter.author.is_none_or(|author| author == entry.author)
                && filter.from_peer.as_ref().is_none_or(|peer| entry.data["from_peer"] == peer.as_str())
                && filter.since.is_none_or(|since| entry.timestamp >= since)
                && filter.until.is_none_or(|until| entry.timestamp < until)
        };
        for range in [0..u64::MAX, 200..1100, 255..257, 900..900] {
            let wanted: Vec<u64> = all()
                .filter(|entry| range.contains(&entry.index) && is_wanted(entry))
                .map(|entry| entry.index)
                .collect();
            let found: Vec<u64> =
                journal.entries(range.clone(), filter.clone()).map(|entry| entry.expect("an entry").index).collect();
            assert_eq!(found, wanted, "{filter:?} {range:?}");
        }
    }
}

#[tokio::test]
async fn entries_are_found_in_files_without_the_node_too() {
    let scratch = Scratch::new();
    let (folder, export) = (folder(&scratch), scratch.path().join("export.jsonl"));
    let limits = Limits { keep: 200_000, segment: 60_000 };
    let (journal, _) = Journal::open(&folder, key(), limits).expect("a journal");
    append(&journal, 0..1500, 1).await;
    assert!(journal.range().start > 0 && journal.figures().segments > 1);
    journal.export(&mut std::fs::File::create(&export).expect("a file")).expect("exported");
    let some = Filter { from_peer: Some("peer-1".to_owned()), since: Some(time(1200)), ..Filter::default() };
    for (range, filter) in [(0..u64::MAX, Filter::default()), (1300..1401, some.clone()), (0..u64::MAX, some)] {
        let wanted: Vec<Entry> =
            journal.entries(range.clone(), filter.clone()).map(|entry| entry.expect("an entry")).collect();
        assert!(!wanted.is_empty());
        for path in [&folder, &export] {
            let found = entries_of(path, range.clone(), filter.clone()).expect("readable");
            assert_eq!(found.map(|entry| entry.expect("an entry")).collect::<Vec<_>>(), wanted);
        }
    }
    let text = std::fs::read(&export).expect("there");
    let last = text[..text.len() - 1].iter().rposition(|byte| *byte == b'\n').expect("a line");
    let mut changed = text[..text.len() - 9].to_vec();
    std::fs::write(&export, &changed).expect("written");
    let all = || entries_of(&export, 0..u64::MAX, Filter::default()).expect("readable");
    assert_eq!(all().last().expect("some").map(|entry| entry.index).ok(), Some(1498), "the last is being written");
    changed[last - 30] ^= 1;
    std::fs::write(&export, &changed).expect("written");
    assert!(matches!(all().last(), Some(Err(JournalError::Damaged { index: 1498, .. }))));
}

#[tokio::test]
async fn a_follower_reads_pieces_and_misses_a_tail_that_was_cut_off() {
    let scratch = Scratch::new();
    let (there, cut) = (folder(&scratch), scratch.path().join("cut"));
    let (journal, _) = open(&there);
    append(&journal, 0..300, 8).await;
    copy(&there, &cut);
    append(&journal, 300..600, 8).await;
    let head = journal.head().expect("a head");
    let mut follower = Follower::new(key().node());
    follower.handle_head(head, Told::Now).expect("new");
    let mut next = 0;
    while next < head.size {
        let piece = journal.lines(next, 5000).expect("lines");
        assert!(piece.lines.len() <= 5000 && piece.next > next);
        next = follower.handle_lines(&piece.lines).expect("right").next;
    }
    assert_eq!(follower.handle_lines(b""), Ok(Read { next: 600, confirmed: 600 }));
    assert_eq!(journal.lines(5, 1).map(|piece| piece.next).ok(), Some(6), "one line at least");
    journal.close().await;
    let (shorter, _) = open(&cut);
    let told = follower.handle_head(shorter.head().expect("a head"), Told::Now);
    assert!(told.is_err(), "{told:?}");
    assert_eq!(flaw(&cut), None, "the folder alone does not show it");
    let report = verify(&cut, None, Some(head)).expect("it can be read");
    assert_eq!(report.flaw.map(|flaw| (flaw.index, flaw.wrong)), Some((300, Wrong::CutTail { size: 600 })));
    let (old, new) = (shorter.head().expect("a head"), head);
    shorter.close().await;
    let (journal, _) = open(&there);
    let proof = journal.prove_growth(old.size, new.size).expect("a proof");
    assert_eq!(proof.check(&old.root, &new.root), Ok(()));
}

/// Copies the files of a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for item in std::fs::read_dir(from).expect("a folder") {
        let item = item.expect("an item");
        std::fs::copy(item.path(), to.join(item.file_name())).expect("copied");
    }
}
