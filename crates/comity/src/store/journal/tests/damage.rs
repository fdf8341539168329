//! What is wrong with the files is found and named.

use super::*;
use comity_core::journal::{Verifier, read_checked};
use std::fs;

/// The entry on whose line each byte is, and the lines themselves with their ends.
fn lines(text: &[u8]) -> Vec<&[u8]> {
    text.split_inclusive(|byte| *byte == b'\n').collect()
}

#[tokio::test]
async fn every_byte_of_a_thousand_entries_is_watched_over() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    made(&folder, 1000, 10).await;
    let segment = Folder::new(&folder).segment(0);
    let text = fs::read(&segment).expect("a segment");
    // One verifier goes along; a copy of it is shown each changed line. What follows could not change its mind.
    let mut verifier = Verifier::new(None, None);
    let mut at = 0;
    for (index, line) in lines(&text).into_iter().enumerate() {
        let (whole, _) = line.split_at(line.len() - 1);
        for byte in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[byte] ^= 1 << (byte % 8);
            let mut shown = verifier.clone();
            for piece in changed.split(|byte| *byte == b'\n') {
                shown.handle_line(read_checked(piece));
            }
            let flaw = shown.finish().flaw.expect("found");
            let is_named = matches!(flaw.wrong, Wrong::Changed | Wrong::BadSignature { .. });
            assert!(is_named && flaw.index == index as u64, "byte {}: {flaw:?}", at + byte);
        }
        verifier.handle_line(read_checked(whole));
        verifier.check_heads();
        at += line.len();
    }
    assert_eq!(verifier.finish().flaw, None);
}

#[tokio::test]
async fn a_changed_byte_in_the_files_is_named_also_in_the_ends_of_lines_and_in_the_hashes_beside_them() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    made(&folder, 600, 10).await;
    let segment = Folder::new(&folder).segment(0);
    let text = fs::read(&segment).expect("a segment");
    let mut at = 0;
    for (index, line) in lines(&text).into_iter().enumerate() {
        for byte in [at + line.len() - 1, at + index % line.len()] {
            if index % 37 == 0 || index == 599 {
                let mut changed = text.clone();
                changed[byte] ^= 1 << (index % 8);
                fs::write(&segment, &changed).expect("written");
                assert_eq!(flaw(&folder).map(|(index, _)| index), Some(index as u64), "byte {byte}");
            }
        }
        at += line.len();
    }
    fs::write(&segment, &text).expect("written");
    let path = Folder::new(&folder).tiles(0);
    let records = fs::read(&path).expect("hashes");
    assert_eq!(records.len(), 2 * tile::RECORD);
    for byte in 0..records.len() {
        let mut changed = records.clone();
        changed[byte] ^= 1 << (byte % 8);
        fs::write(&path, &changed).expect("written");
        let first = (byte / tile::RECORD) as u64 * 256;
        assert_eq!(flaw(&folder), Some((first, Wrong::BadTile)), "byte {byte}");
        if byte % 16 == 0 {
            let (journal, recovered) = open(&folder);
            assert_eq!((journal.range(), recovered), (0..600, None), "they are made anew");
            journal.close().await;
            assert_eq!(fs::read(&path).ok(), Some(records.clone()), "byte {byte}");
        }
    }
}

#[tokio::test]
async fn hashes_that_the_disk_did_not_take_are_missed_and_not_called_wrong() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let path = Folder::new(&folder).tiles(0);
    made(&folder, 300, 10).await;
    let (journal, _) = open(&folder);
    // As after a write that the disk did not take: the next one would begin behind a hole.
    let records = fs::read(&path).expect("hashes");
    fs::OpenOptions::new().write(true).open(&path).and_then(|file| file.set_len(0)).expect("emptied");
    append(&journal, 300..600, 10).await;
    journal.close().await;
    assert_eq!(flaw(&folder), None);
    open(&folder).0.close().await;
    assert!(fs::read(&path).is_ok_and(|kept| kept.starts_with(&records) && kept.len() == 2 * tile::RECORD));
    assert_eq!(flaw(&folder), None);
}

#[tokio::test]
async fn what_is_missing_swapped_or_another_s_is_named() {
    let scratch = Scratch::new();
    let (whole, other) = (folder(&scratch), scratch.path().join("export.jsonl"));
    made(&whole, 300, 10).await;
    let (journal, _) = open(&whole);
    let mut text = Vec::new();
    journal.export(&mut text).expect("exported");
    let lines = lines(&text);
    let flaw_of = |lines: &[&[u8]]| {
        fs::write(&other, lines.concat()).expect("written");
        flaw(&other)
    };
    assert_eq!(flaw_of(&lines), None);
    let mut without = lines.clone();
    without.remove(77);
    assert_eq!(flaw_of(&without), Some((77, Wrong::Missing { until: 78 })));
    let mut swapped = lines.clone();
    swapped.swap(100, 222);
    assert_eq!(flaw_of(&swapped), Some((100, Wrong::Reordered { found: 222 })));
    let torn = &lines[299][..lines[299].len() - 3];
    let mut cut = lines.clone();
    cut[299] = torn;
    assert_eq!(flaw_of(&cut), Some((299, Wrong::TornTail)));
    let stranger = KeyPair::from_seed([8; 32]).node();
    let report = verify(&other, Some(stranger), None).expect("it can be read");
    let wrong = Wrong::WrongAuthor { found: key().node() };
    assert_eq!(report.flaw.map(|flaw| (flaw.index, flaw.wrong)), Some((0, wrong)));
    let long = [lines[0], vec![b'x'; 20 * 1024 * 1024].as_slice(), b"\n"].concat();
    fs::write(&other, long).expect("written");
    assert_eq!(flaw(&other).map(|(index, _)| index), Some(1), "a line without end is not held in memory");
    assert_eq!(journal.verify(key().node(), journal.head()).expect("it can be read").flaw, None);
}

#[tokio::test]
async fn an_acknowledged_entry_that_was_changed_is_no_torn_write() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    made(&folder, 5, 1).await;
    let segment = Folder::new(&folder).segment(0);
    let text = fs::read(&segment).expect("a segment");
    let last = text.len() - lines(&text)[4].len();
    for byte in last..text.len() {
        for bit in [0, 6] {
            let mut changed = text.clone();
            changed[byte] ^= 1 << bit;
            fs::write(&segment, &changed).expect("written");
            let opened = Journal::open(&folder, key(), Limits::default());
            assert!(matches!(opened, Err(JournalError::Damaged { index: 4, .. })), "byte {byte}: {opened:?}");
        }
    }
    assert_eq!(fs::metadata(&segment).map(|about| about.len()).ok(), Some(text.len() as u64), "nothing was cut off");
}
