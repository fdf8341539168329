//! The copy that is kept of another's journal: what was appended is there after a crash, what is not right at its end
//! is read anew, and what the author dropped is dropped.

use super::*;
use comity_core::journal::{Checkpoint, TreeHash};
use comity_core::wire::journal as wire;
use std::fs;

/// All lines that a journal keeps, after its checkpoint.
fn exported(journal: &Journal) -> Vec<u8> {
    let mut text = Vec::new();
    journal.export(&mut text).expect("it can be read");
    let checkpoint = text.iter().position(|byte| *byte == b'\n').filter(|end| wire::is_checkpoint(&text[..*end]));
    checkpoint.map_or(text.clone(), |end| text.split_off(end + 1))
}

fn open_copy(folder: &Path, limits: Limits) -> (Copy, Held) {
    Copy::open(folder, key().node(), limits).expect("a copy")
}

#[tokio::test]
async fn a_copy_is_what_its_author_wrote_in_segments_of_its_own() {
    let scratch = Scratch::new();
    let (there, here) = (folder(&scratch), scratch.path().join("copies/one"));
    let (journal, _) = open(&there);
    append(&journal, 0..2000, 1).await;
    let small = Limits { keep: u64::MAX, segment: 40_000 };
    let (mut copy, held) = open_copy(&here, small);
    assert_eq!((held.chain.next(), held.head, held.told, copy.first()), (0, None, None, 0));
    let lines = exported(&journal);
    let (one, rest) = lines.split_at(lines.len() / 2);
    let end = one.iter().rposition(|byte| *byte == b'\n').expect("a line") + 1;
    copy.append(&lines[..end]).expect("written");
    copy.append(&lines[end..]).expect("written");
    assert!(rest.len() > 40_000 && Folder::new(&here).segments().expect("segments").len() > 2);
    let report = verify(&here, Some(key().node()), journal.head()).expect("it can be read");
    assert_eq!((report.flaw, report.size, report.head), (None, 2000, journal.head()));
    copy.keep_told(&journal.head().expect("a head")).expect("kept");
    drop(copy);
    let (_, held) = open_copy(&here, small);
    assert_eq!((held.chain.next(), held.head, held.told), (2000, journal.head(), journal.head()));
}

#[tokio::test]
async fn what_is_not_right_at_the_end_of_a_copy_is_cut_off_and_can_be_had_again() {
    let scratch = Scratch::new();
    let (there, here) = (folder(&scratch), scratch.path().join("copies/one"));
    let (journal, _) = open(&there);
    append(&journal, 0..100, 1).await;
    let lines = exported(&journal);
    drop(open_copy(&here, Limits::default()).0);
    let segment = Folder::new(&here).segment(0);
    for at in [lines.len() - 1, lines.len() / 2, 10] {
        fs::write(&segment, &lines[..at]).expect("written");
        let (mut copy, held) = open_copy(&here, Limits::default());
        let next = usize::try_from(held.chain.next()).expect("few");
        assert_eq!(next, lines[..at].iter().filter(|byte| **byte == b'\n').count());
        let rest: Vec<u8> = lines.split_inclusive(|byte| *byte == b'\n').skip(next).flatten().copied().collect();
        copy.append(&rest).expect("written");
        drop(copy);
        assert_eq!((flaw(&here), fs::read(&segment).expect("there")), (None, lines.clone()));
        let mut changed = lines.clone();
        changed[at] ^= 1;
        fs::write(&segment, &changed).expect("written");
        let (copy, held) = open_copy(&here, Limits::default());
        assert!(held.chain.next() < 100);
        drop(copy);
        assert_eq!(flaw(&here), None);
    }
}

#[tokio::test]
async fn a_copy_drops_what_its_author_dropped_and_nothing_else() {
    let scratch = Scratch::new();
    let (there, here) = (folder(&scratch), scratch.path().join("copies/one"));
    let limits = Limits { keep: 150_000, segment: 40_000 };
    let (journal, _) = Journal::open(&there, key(), limits).expect("a journal");
    let mut copy = open_copy(&here, Limits { keep: 1, segment: u64::MAX }).0;
    let mut copied = 0;
    while journal.range().start < 512 {
        append(&journal, copied..copied + 64, 1).await;
        copy.append(&journal.lines(copied, usize::MAX).expect("lines").lines).expect("written");
        copied += 64;
    }
    let text = journal.checkpoint().expect("readable").expect("entries were dropped");
    let checkpoint = wire::read_checkpoint(&text).expect("a checkpoint");
    let other = Checkpoint { prev: TreeHash::ZERO, ..checkpoint.clone() };
    assert!(!copy.drop_before(&other, key().node()).expect("readable"), "that is another journal");
    assert_eq!(copy.first(), 0);
    assert!(copy.drop_before(&checkpoint, key().node()).expect("readable"));
    assert_eq!(copy.first(), journal.range().start);
    append(&journal, copied..copied + 10, 1).await;
    copy.append(&journal.lines(copied, usize::MAX).expect("lines").lines).expect("written");
    let report = verify(&here, Some(key().node()), journal.head()).expect("it can be read");
    assert_eq!((report.flaw, report.first, report.size), (None, journal.range().start, copied + 10));
    drop(copy);
    let (copy, held) = open_copy(&here, limits);
    assert_eq!((copy.first(), held.chain.next()), (journal.range().start, copied + 10));
}

#[tokio::test]
async fn a_copy_is_full_when_it_is_larger_than_a_journal_with_its_limits_and_is_put_aside_once() {
    let scratch = Scratch::new();
    let (there, here) = (folder(&scratch), scratch.path().join("copies/one"));
    let (journal, _) = open(&there);
    append(&journal, 0..300, 32).await;
    let lines = exported(&journal);
    let limits = |keep| Limits { keep, segment: 1000 };
    for (keep, is_full) in [(lines.len() as u64 - 2000, false), (lines.len() as u64 - 2001, true)] {
        let (mut copy, _) = open_copy(&here, limits(keep));
        copy.append(&lines).expect("written");
        assert_eq!(copy.is_full(), is_full);
        copy.put_aside().expect("renamed");
        assert!(!here.exists());
        assert_eq!(flaw(&here.with_extension("before")), None);
    }
}

#[tokio::test]
async fn what_the_author_did_is_kept_with_what_proves_it() {
    let scratch = Scratch::new();
    let (there, here) = (folder(&scratch), scratch.path().join("copies/one"));
    let (journal, _) = open(&there);
    append(&journal, 0..1, 1).await;
    let (copy, held) = open_copy(&here, Limits::default());
    assert_eq!(held.fault, None);
    copy.keep_fault("it was cut off", &[journal.head().expect("a head")]).expect("kept");
    drop(copy);
    assert_eq!(open_copy(&here, Limits::default()).1.fault.as_deref(), Some("it was cut off"));
}
