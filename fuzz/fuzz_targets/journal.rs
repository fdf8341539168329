//! What is read of journals: lines, heads, proofs and checkpoints, as they come and put right as far as that goes, and
//! what a follower and a verifier make of lines in any order.
#![no_main]

use comity_core::identity::canonical;
use comity_core::identity::key::KeyPair;
use comity_core::journal::{
    Checkpoint, CompactRange, Draft, EntryKind, Follower, Head, Placed, Told, TreeHash, Verifier, read_checked,
    read_entry, read_link,
};
use comity_core::time::Timestamp;
use comity_core::wire::{journal as wire, strict};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|text: &[u8]| {
    line(text);
    documents(text);
    follow(text);
    draft(text);
});

fn line(text: &[u8]) {
    let (link, checked) = (read_link(text), read_checked(text));
    if let Ok(link) = checked {
        assert_eq!(read_link(text), Ok(link), "what is checked was read");
    }
    if let (Ok(entry), Ok(link)) = (read_entry(text), checked) {
        // A line has one form: what was read is written the same.
        // Beyond 2^53 a number of JSON has not all digits.
        assert!(entry.index >= 1 << 53 || canonical::to_vec(&wire::entry_to_value(&entry)) == text);
        assert_eq!((entry.index, entry.hash), (link.index, link.hash));
    }
    let _ = link;
}

fn documents(text: &[u8]) {
    if let Ok(checkpoint) = wire::read_checkpoint(text) {
        assert_eq!(wire::write_checkpoint(&checkpoint), text, "a checkpoint has one form");
        assert!(wire::is_checkpoint(text));
        let _ = checkpoint.check();
        let _ = Follower::new(checkpoint.author).handle_checkpoint(&checkpoint);
        signed(&checkpoint);
    }
    if let Ok(proof) = wire::read_entry_proof(text) {
        let _ = proof.check();
        let written = wire::entry_proof_to_value(&proof).to_string();
        assert_eq!(wire::read_entry_proof(written.as_bytes()).as_ref(), Ok(&proof));
    }
    let Ok(value) = strict::parse(text) else { return };
    if let Ok(head) = wire::read_head(&value) {
        let _ = head.check();
        assert_eq!(wire::read_head(&wire::head_to_value(&head)), Ok(head));
        let mut follower = Follower::new(head.author);
        let _ = follower.handle_head(head, Told::Now);
    }
    if let Ok(proof) = wire::read_consistency(&value) {
        let _ = proof.check(&TreeHash::ZERO, &TreeHash::of_nothing());
        assert_eq!(wire::read_consistency(&wire::consistency_to_value(&proof)), Ok(proof));
    }
    if let Ok(proof) = wire::read_inclusion(&value) {
        let _ = proof.check(&TreeHash::ZERO, &TreeHash::of_nothing());
        assert_eq!(wire::read_inclusion(&wire::inclusion_to_value(&proof)), Ok(proof));
    }
}

/// A checkpoint of the same form that its author signed: a follower begins after it.
fn signed(checkpoint: &Checkpoint) {
    let key = KeyPair::from_seed([1; 32]);
    let signed = Checkpoint::sign(&key, checkpoint.journal, checkpoint.prev, checkpoint.range.clone());
    let mut follower = Follower::new(key.node());
    assert_eq!(follower.handle_checkpoint(&signed), Ok(()));
    assert_eq!(follower.confirmed().next(), checkpoint.range.size());
}

/// Lines as they are handed out, of whoever the first says: what a follower believes, a verifier finds right.
fn follow(text: &[u8]) {
    let first = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let author = read_link(first).map_or_else(|_| KeyPair::from_seed([1; 32]).node(), |link| link.author);
    let mut follower = Follower::new(author);
    let read = follower.handle_lines(text);
    let mut verifier = Verifier::new(Some(author), None);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(line) => verifier.handle_line(read_checked(line)),
            None => verifier.handle_torn_line(),
        }
    }
    let report = verifier.finish();
    match read {
        Ok(read) if read.confirmed == read.next => assert_eq!((report.flaw, report.size), (None, read.next)),
        Ok(read) => assert!(read.confirmed < read.next && report.flaw.is_some()),
        Err(_) => assert!(report.flaw.is_some()),
    }
    assert!(follower.confirmed().next() <= report.size);
}

/// A journal of two entries that say this: it is right, and its follower believes it.
fn draft(text: &[u8]) {
    let Ok(Value::Object(data)) = strict::parse(text) else { return };
    let Ok(draft) = Draft::new(EntryKind::Collaboration, Timestamp::default(), data) else { return };
    let key = KeyPair::from_seed([1; 32]);
    let (author, mut range, mut prev, mut lines) =
        (key.node().to_string(), CompactRange::default(), TreeHash::ZERO, Vec::new());
    let mut journal = None;
    for index in 0..2 {
        let placed = Placed::new(&author, &draft, index, &prev);
        prev = placed.hash;
        range.push(placed.hash);
        let journal = *journal.get_or_insert(placed.hash);
        let head = (index == 1).then(|| Head::sign(&key, journal, &range));
        placed.write(head.as_ref().map(|head| &head.signature), &mut lines);
    }
    let mut follower = Follower::new(key.node());
    let read = follower.handle_lines(&lines).expect("what was written is right");
    assert_eq!((read.next, read.confirmed), (2, 2));
}
