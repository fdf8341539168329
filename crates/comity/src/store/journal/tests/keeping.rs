//! Segments, and what is dropped to stay within a bound.

use super::*;
use std::fs;

const SMALL: Limits = Limits { keep: 400_000, segment: 60_000 };

fn open_small(folder: &Path) -> Journal {
    let (journal, recovered) = Journal::open(folder, key(), SMALL).expect("a journal");
    assert_eq!(recovered, None);
    journal
}

#[tokio::test]
async fn the_oldest_are_dropped_and_the_rest_is_still_proved_and_verified() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let journal = open_small(&folder);
    append(&journal, 0..256, 64).await;
    let early = journal.head().expect("a head");
    append(&journal, 256..3000, 64).await;
    let old = journal.head().expect("a head");
    append(&journal, 3000..3500, 64).await;
    let handle = journal.clone();
    // Dropping waits for nobody, and nobody for it.
    journal.close().await;
    let dropped = handle.figures().dropped;
    assert_eq!((handle.figures().first, dropped > 0), (dropped, true));
    let journal = open_small(&folder);
    let figures = journal.figures();
    assert!(figures.first >= dropped && figures.segments > 2, "{figures:?}");
    assert!(figures.bytes < SMALL.keep + 3 * SMALL.segment, "{figures:?}");
    assert_eq!(figures.first % comity_core::journal::TILE, 0);
    let on_disk: u64 = fs::read_dir(&folder)
        .expect("a folder")
        .map(|item| item.expect("an item").metadata().expect("metadata").len())
        .sum();
    assert!(on_disk < SMALL.keep + 4 * SMALL.segment, "{on_disk}");
    let check = |journal: &Journal| {
        let there = journal.range();
        assert_eq!(there, figures.first..3500);
        for index in there.clone().step_by(83).chain([there.end - 1]) {
            assert_eq!(journal.prove(index).expect("a proof").check().map(|entry| entry.index), Ok(index));
        }
        let indexes = journal.entries(0..u64::MAX, Filter::default()).map(|entry| entry.expect("an entry").index);
        assert_eq!(indexes.collect::<Vec<_>>(), there.clone().collect::<Vec<_>>());
        let growth = journal.prove_growth(old.size, there.end).expect("a proof");
        assert_eq!(growth.check(&old.root, &journal.head().expect("a head").root), Ok(()));
        assert!(matches!(journal.entry(0), Err(JournalError::Dropped { .. })));
        assert!(matches!(journal.prove(early.size - 1), Err(JournalError::Dropped { .. })));
        let report = journal.verify(key().node(), Some(old)).expect("it can be read");
        assert_eq!((report.flaw, report.first, report.size), (None, there.start, there.end));
    };
    check(&journal);
    let export = scratch.path().join("export.jsonl");
    journal.export(&mut fs::File::create(&export).expect("a file")).expect("exported");
    let report = verify(&export, Some(key().node()), journal.head()).expect("it can be read");
    assert_eq!((report.flaw, report.first, report.size), (None, figures.first, 3500));
    journal.close().await;
    check(&open_small(&folder));
}

#[tokio::test]
async fn a_crash_between_checkpoint_and_removal_is_made_good() {
    let scratch = Scratch::new();
    let (there, before) = (folder(&scratch), scratch.path().join("before"));
    let journal = open_small(&there);
    append(&journal, 0..700, 64).await;
    copy(&there, &before);
    append(&journal, 700..2500, 64).await;
    journal.close().await;
    let journal = open_small(&there);
    let range = journal.range();
    assert!(range.start > 256, "{range:?}");
    journal.close().await;
    let first = Folder::new(&before).segments().expect("segments")[0];
    fs::copy(Folder::new(&before).segment(first), Folder::new(&there).segment(first)).expect("copied");
    assert_eq!(flaw(&there), None);
    assert_eq!(open_small(&there).range(), range);
    assert!(!Folder::new(&there).segment(first).exists());
}

#[tokio::test]
async fn a_missing_segment_or_a_changed_checkpoint_is_named() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let journal = open_small(&folder);
    append(&journal, 0..2500, 64).await;
    journal.close().await;
    let files = Folder::new(&folder);
    let segments = files.segments().expect("segments");
    let checkpoint = folder.join("checkpoint.json");
    let text = fs::read(&checkpoint).expect("a checkpoint");
    for byte in 0..text.len() {
        let mut changed = text.clone();
        changed[byte] ^= 1 << (byte % 8);
        fs::write(&checkpoint, &changed).expect("written");
        assert_eq!(flaw(&folder), Some((segments[0], Wrong::BadCheckpoint)), "byte {byte}");
    }
    let damaged = Journal::open(&folder, key(), SMALL);
    assert!(matches!(damaged, Err(JournalError::Damaged { .. })), "{damaged:?}");
    fs::write(&checkpoint, &text).expect("written");
    let middle = fs::read(files.segment(segments[2])).expect("a segment");
    fs::remove_file(files.segment(segments[2])).expect("removed");
    assert_eq!(flaw(&folder), Some((segments[2], Wrong::Missing { until: segments[3] })));
    assert!(matches!(Journal::open(&folder, key(), SMALL), Err(JournalError::Damaged { .. })));
    fs::write(files.segment(segments[2]), &middle[..middle.len() - 1]).expect("written");
    assert_eq!(flaw(&folder), Some((segments[3] - 1, Wrong::Changed)));
    fs::write(files.segment(segments[2]), &middle).expect("written");
    fs::remove_file(&checkpoint).expect("removed");
    assert_eq!(flaw(&folder), Some((0, Wrong::Missing { until: segments[0] })));
}
