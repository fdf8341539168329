//! What a crash, a kill or a full disk leaves: nothing that was acknowledged is lost, and nothing half written stays.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

/// Where a program that a test starts finds its folder.
const FOLDER: &str = "COMITY_TEST_JOURNAL";

/// How often a writer is killed, and after how many acknowledged entries at most.
const KILLS: u64 = 12;
const ACKNOWLEDGED_MAX: u64 = 400;

/// This program, to run one of its ignored tests alone.
fn rerun(test: &str, folder: &Path) -> Command {
    let module = module_path!().split_once("::").map_or("", |(_, module)| module);
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args([&format!("{module}::{test}"), "--exact", "--ignored", "--nocapture"]).env(FOLDER, folder);
    command
}

fn told_folder() -> PathBuf {
    std::env::var_os(FOLDER).map(PathBuf::from).expect("a test starts this")
}

#[tokio::test]
async fn a_last_group_that_is_cut_anywhere_is_cut_off_and_said() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    made(&folder, 5, 1).await;
    let segment = Folder::new(&folder).segment(0);
    let before = fs::read(&segment).expect("a segment");
    let (journal, _) = open(&folder);
    append(&journal, 5..8, 3).await;
    let size = journal.range().end;
    journal.close().await;
    let after = fs::read(&segment).expect("a segment");
    // What those three came to, be it one group or more.
    let begin = after[..after.len() - 1].split(|byte| *byte == b'\n').rev();
    let mut unsigned = 1;
    for line in begin.skip(1).take_while(|line| !line.windows(13).any(|some| some == b"\"signature\":\"")) {
        unsigned += 1;
        assert!(!line.is_empty());
    }
    let kept: usize = after
        .split_inclusive(|byte| *byte == b'\n')
        .take(usize::try_from(size - unsigned).expect("small"))
        .map(<[u8]>::len)
        .sum();
    assert!(kept >= before.len());
    for length in kept..after.len() {
        fs::write(&segment, &after[..length]).expect("written");
        let (journal, recovered) = open(&folder);
        assert_eq!(journal.range(), 0..size - unsigned, "{length}");
        let bytes = (length - kept) as u64;
        let entries = after[kept..length].iter().filter(|byte| **byte == b'\n').count() as u64;
        let told = Recovered { index: size - unsigned, entries, bytes };
        assert_eq!(recovered, (bytes > 0).then_some(told), "{length}");
        assert_eq!(append(&journal, 9..10, 1).await, [size - unsigned]);
        journal.close().await;
        assert_eq!(flaw(&folder), None, "{length}");
    }
    let mut lost = after.clone();
    let sector = (after.len() - 1) / 512 * 512;
    lost[sector.max(kept)..].fill(0);
    fs::write(&segment, &lost).expect("written");
    assert_eq!(open(&folder).0.range(), 0..size - unsigned, "a sector that was not written reads as zeros");
}

#[tokio::test]
async fn a_first_group_or_a_segment_that_was_just_begun_is_cut_off_too() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let files = Folder::new(&folder);
    made(&folder, 256, 64).await;
    let line = fs::read(files.segment(0)).expect("a segment");
    for left in [&b""[..], &line[..100], &[0; 512][..]] {
        fs::write(files.segment(256), left).expect("written");
        let (journal, recovered) = open(&folder);
        assert_eq!((journal.range(), files.segments().expect("segments")), (0..256, vec![0]));
        let told = Recovered { index: 256, entries: 0, bytes: left.len() as u64 };
        assert_eq!(recovered, (!left.is_empty()).then_some(told));
        journal.close().await;
    }
    let empty = scratch.path().join("empty");
    made(&empty, 0, 1).await;
    fs::write(Folder::new(&empty).segment(0), &line[..100]).expect("written");
    let (journal, recovered) = open(&empty);
    assert_eq!(recovered, Some(Recovered { index: 0, entries: 0, bytes: 100 }));
    assert_eq!(append(&journal, 0..1, 1).await, [0]);
}

#[tokio::test]
async fn a_writer_that_is_killed_loses_nothing_it_acknowledged() {
    let scratch = Scratch::new();
    let folder = folder(&scratch);
    let mut random = StdRng::seed_from_u64(1);
    let mut acknowledged: Vec<(u64, u64)> = Vec::new();
    for round in 0..KILLS {
        let mut child = rerun("a_child_that_writes", &folder).stdout(Stdio::piped()).spawn().expect("it starts");
        let enough = random.random_range(1..ACKNOWLEDGED_MAX);
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut told = 0;
        for line in lines.map(|line| line.expect("a line")) {
            if let Some(pair) = line.strip_prefix("acknowledged ") {
                let (index, number) = pair.split_once(' ').expect("two numbers");
                acknowledged.push((index.parse().expect("an index"), number.parse().expect("a number")));
                told += 1;
            }
            if told == enough {
                child.kill().expect("it runs");
            }
        }
        child.wait().expect("it ended");
        assert!(told >= enough, "round {round}");
        let (journal, _) = open(&folder);
        for (index, number) in &acknowledged {
            let entry = journal.entry(*index).unwrap_or_else(|error| panic!("round {round}: {error}"));
            assert_eq!(entry.data["number"], *number, "round {round}, entry {index}");
        }
        journal.close().await;
        assert_eq!(flaw(&folder), None, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "another test starts it as a process of its own, and kills it"]
async fn a_child_that_writes() {
    let limits = Limits { keep: u64::MAX, segment: 40_000 };
    let (journal, _) = Journal::open(&told_folder(), key(), limits).expect("a journal");
    let writers = (0..8).map(|writer| {
        let journal = journal.clone();
        tokio::spawn(async move {
            for number in 0.. {
                let number = number * 8 + writer;
                let index = journal.append(draft(number)).await.expect("written");
                println!("acknowledged {index} {number}");
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("it writes");
    }
}

/// What a disk has of a file after a crash: what was synced, and of the rest any sectors.
fn crashed(synced: &[u8], written: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut left = written[..random.random_range(synced.len()..=written.len())].to_vec();
    if random.random_bool(0.3) {
        for sector in (synced.len() / 512)..left.len().div_ceil(512) {
            if random.random_bool(0.5) {
                let end = ((sector + 1) * 512).min(left.len());
                left[(sector * 512).max(synced.len())..end].fill(0);
            }
        }
    }
    left
}

#[tokio::test]
async fn after_any_crash_there_is_what_was_synced_or_one_group_more() {
    let scratch = Scratch::new();
    let there = folder(&scratch);
    let limits = Limits { keep: u64::MAX, segment: 30_000 };
    let mut random = StdRng::seed_from_u64(2);
    let mut number = 0;
    for round in 0..60 {
        let (journal, _) = Journal::open(&there, key(), limits).expect("a journal");
        let some = random.random_range(0..120);
        append(&journal, number..number + some, 16).await;
        number += some;
        let before = journal.range().end;
        journal.close().await;
        let synced = scratch.path().join(format!("synced-{round}"));
        copy(&there, &synced);
        let (journal, _) = Journal::open(&there, key(), limits).expect("a journal");
        append(&journal, number..number + 1, 1).await;
        number += 1;
        journal.close().await;
        let last = Folder::new(&there).segments().expect("segments").pop().expect("one");
        let was = fs::read(Folder::new(&synced).segment(last)).unwrap_or_default();
        let left = crashed(&was, &fs::read(Folder::new(&there).segment(last)).expect("a segment"), &mut random);
        fs::write(Folder::new(&there).segment(last), left).expect("written");
        // The hashes beside it are not synced at all.
        let tiles = Folder::new(&there).tiles(last);
        let mut records = fs::read(&tiles).unwrap_or_default();
        if !records.is_empty() && random.random_bool(0.3) {
            let byte = random.random_range(0..records.len());
            records[byte] ^= 1;
            records.truncate(random.random_range(0..=records.len()));
            fs::write(&tiles, records).expect("written");
        }
        let (journal, recovered) = Journal::open(&there, key(), limits).expect("a journal");
        let after = journal.range().end;
        assert!(after == before || after == before + 1, "round {round}: {before}, then {after}");
        assert!(recovered.is_none_or(|recovered| recovered.index == before), "round {round}: {recovered:?}");
        journal.close().await;
        assert_eq!(flaw(&there), None, "round {round}");
    }
}

#[test]
fn a_full_disk_refuses_and_takes_again_when_there_is_room() {
    let scratch = Scratch::new();
    let mount = "mount -t tmpfs -o size=2m,mode=700 tmpfs \"$0\" && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "--propagation", "private", "sh", "-c", mount]);
    command.arg(scratch.path());
    let inner = rerun("on_a_small_disk", &folder(&scratch));
    command.arg(inner.get_program()).args(inner.get_args()).env(FOLDER, folder(&scratch));
    let output = command.output().expect("unshare of util-linux runs");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
#[ignore = "another test starts it where the disk is small"]
async fn on_a_small_disk() {
    let folder = told_folder();
    let (journal, _) = open(&folder);
    append(&journal, 0..100, 10).await;
    let ballast = folder.with_extension("ballast");
    fs::write(&ballast, vec![0; 1_900_000]).expect("there is room");
    let mut written = 100;
    let refused = loop {
        match journal.append(draft(written)).await {
            Ok(index) => assert_eq!(index, written),
            Err(refused) => break refused,
        }
        written += 1;
    };
    assert_eq!(refused, NotAppended::Full);
    assert_eq!(*journal.disk().borrow(), Disk::Failing(NotAppended::Full));
    assert_eq!(journal.append(draft(0)).await, Err(NotAppended::Full));
    assert_eq!(journal.range(), 0..written, "what was written is there, and no more");
    assert_eq!(numbers(journal.entries(0..u64::MAX, Filter::default())).len() as u64, written, "reading goes on");
    assert_eq!(journal.verify(key().node(), journal.head()).expect("it can be read").flaw, None);
    let mut disk = journal.disk();
    fs::remove_file(&ballast).expect("removed");
    let working = disk.wait_for(|disk| *disk == Disk::Working);
    drop(tokio::time::timeout(std::time::Duration::from_secs(20), working).await.expect("soon").expect("it runs"));
    assert_eq!(append(&journal, written..written + 50, 1).await.last(), Some(&(written + 49)));
    assert_eq!(journal.figures().refused, 2);
    journal.close().await;
    let (journal, recovered) = open(&folder);
    assert_eq!((journal.range(), recovered), (0..written + 50, None));
    assert_eq!(flaw(&folder), None);
}
