//! A file transfer whose other side says anything: packets, one a line, to the sender's and to the receiver's
//! side. Whatever comes, no more is taken than was announced, and no path is looked at that leaves the folder.
#![no_main]

use comity_core::transfer::giving::{Entry, Give, Giving};
use comity_core::transfer::taking::{Found, Take, Taking};
use comity_core::wire::stream::Word;
use comity_core::wire::transfer::{Digest, Say, Why};
use libfuzzer_sys::fuzz_target;
use uuid::Uuid;

const ROOM: u64 = 1 << 20;

fuzz_target!(|text: &[u8]| {
    let entry = |path: &str, size, folder| Entry { path: path.to_owned(), size, folder, modified: None };
    let entries = vec![entry("a", 100_000, false), entry("b", 0, true), entry("b/c", 7, false)];
    let (mut giving, mut taking) = (Giving::new(Uuid::nil(), entries), Taking::new(ROOM));
    let (mut broken, mut taken) = ([false; 2], 0_u64);
    for line in text.split(|byte| *byte == b'\n') {
        let _ = Word::parse(line);
        match Say::parse(line) {
            Ok(said) => {
                assert_eq!(Say::parse(said.encode().as_bytes()).as_ref(), Ok(&said));
                broken[0] = broken[0] || giving.handle(said.clone()).is_err();
                broken[1] = broken[1] || taking.handle(said).is_err();
            }
            Err(_) if !broken[1] => match taking.piece(line.len()) {
                Ok(_) => {
                    taken += line.len() as u64;
                    taking.wrote(line.len());
                }
                Err(_) => broken[1] = true,
            },
            Err(_) => {}
        }
        if !broken[0] {
            give(&mut giving);
        }
        if !broken[1] {
            take(&mut taking);
        }
        assert!(taken <= ROOM);
    }
});

fn give(giving: &mut Giving) {
    while let Some(give) = giving.poll() {
        match give {
            Give::Hash { file, .. } => giving.hashed(file, Digest([0; 32])),
            Give::Digest { file } => giving.ended(file, Digest([0; 32])),
            Give::Send { file, at, length } => assert!(at + length as u64 <= giving.entries()[file].size),
            Give::Say(_) | Give::Settled { .. } | Give::Over => {}
        }
    }
}

fn take(taking: &mut Taking) {
    while let Some(take) = taking.poll() {
        match take {
            Take::Ask(_) => taking.accept(),
            Take::Look(wanted) => {
                assert!(wanted.parts.iter().all(|name| !name.is_empty() && name != ".." && !name.contains(['/', '\0'])));
                let found = match wanted.file % 4 {
                    _ if wanted.folder => Found::Folder,
                    0 => Found::Nothing,
                    1 => Found::Part(wanted.size / 2, Digest([0; 32])),
                    2 => Found::Whole(Digest([0; 32])),
                    _ => Found::Another,
                };
                taking.found(wanted.file, found);
            }
            Take::Decide(wanted) if wanted.size % 2 == 0 => taking.skip(wanted.file, Why::Exists),
            Take::Decide(wanted) => taking.found(wanted.file, Found::Nothing),
            Take::Place { wanted, .. } | Take::There(wanted) => taking.placed(wanted.file),
            Take::Say(_) | Take::Open { .. } | Take::Skipped { .. } | Take::Over => {}
        }
    }
}
