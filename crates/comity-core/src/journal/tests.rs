//! The journal's rules: the tree of RFC 6962, lines, verification, and what a follower believes.

use super::*;
use crate::id::NodeId;
use crate::identity::canonical;
use crate::identity::key::KeyPair;
use crate::time::Timestamp;
use crate::wire::journal as wire;
use serde_json::{Map, Value, json};
use std::convert::Infallible;

/// The leaves of the reference implementation of RFC 6962 (certificate-transparency, `merkle_tree_test`).
const LEAVES: [&[u8]; 8] =
    [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43", b"PQRSTUVW", b"`abcdefghijklmno"];

/// The roots of the first so many of them.
const ROOTS: [&str; 8] = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

const A: &str = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7";
const B: &str = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e";
const C: &str = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4";
const D: &str = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b";
const E: &str = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0";
const F: &str = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a";

fn hex(hash: &TreeHash) -> String {
    hash.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn leaves() -> Vec<TreeHash> {
    LEAVES.iter().map(|leaf| TreeHash::of_leaf(&[leaf])).collect()
}

/// The root, as RFC 6962 defines it.
fn root_by_definition(leaves: &[TreeHash]) -> TreeHash {
    match leaves {
        [] => TreeHash::of_nothing(),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            TreeHash::of_node(&root_by_definition(left), &root_by_definition(right))
        }
    }
}

fn nodes_of(leaves: &[TreeHash]) -> impl FnMut(u32, u64) -> Result<TreeHash, Infallible> {
    |level, index| {
        let begin = usize::try_from(index << level).expect("small");
        Ok(root_by_definition(&leaves[begin..begin + (1 << level)]))
    }
}

#[test]
fn roots_are_those_of_the_reference_implementation_of_rfc_6962() {
    let mut range = CompactRange::default();
    assert_eq!(hex(&range.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (leaf, root) in leaves().into_iter().zip(ROOTS) {
        range.push(leaf);
        assert_eq!(hex(&range.root()), root);
    }
}

#[test]
fn proofs_are_those_of_the_reference_implementation_of_rfc_6962() {
    let leaves = leaves();
    let included: [(u64, u64, &[&str]); 5] =
        [(0, 1, &[]), (0, 8, &[A, B, C]), (5, 8, &[D, E, ROOTS[3]]), (2, 3, &[ROOTS[1]]), (1, 5, &[ROOTS[0], B, D])];
    for (index, size, path) in included {
        let proof = Inclusion::make(index, size, &mut nodes_of(&leaves)).expect("there are nodes");
        assert_eq!(proof.path.iter().map(hex).collect::<Vec<_>>(), path);
    }
    let consistent: [(u64, u64, &[&str]); 4] =
        [(1, 1, &[]), (1, 8, &[A, B, C]), (6, 8, &[F, E, ROOTS[3]]), (2, 5, &[B, D])];
    for (from, to, path) in consistent {
        let proof = Consistency::make(from, to, &mut nodes_of(&leaves)).expect("there are nodes");
        assert_eq!(proof.path.iter().map(hex).collect::<Vec<_>>(), path);
    }
}

fn numbered(count: u64) -> Vec<TreeHash> {
    (0..count).map(|number| TreeHash::of_leaf(&[&number.to_be_bytes()])).collect()
}

#[test]
fn every_proof_holds_for_its_own_trees_and_for_no_other() {
    let leaves = numbered(40);
    let root = |size: u64| root_by_definition(&leaves[..usize::try_from(size).expect("small")]);
    for size in 1..=40 {
        for index in 0..size {
            let proof = Inclusion::make(index, size, &mut nodes_of(&leaves)).expect("there are nodes");
            let leaf = &leaves[usize::try_from(index).expect("small")];
            assert_eq!(proof.check(leaf, &root(size)), Ok(()), "{index} of {size}");
            assert!(
                proof.check(&leaves[39 - usize::try_from(index).expect("small")], &root(size)).is_err() || size == 1
            );
            for wrong in wrong_inclusions(&proof) {
                assert_eq!(wrong.check(leaf, &root(size)), Err(BadProof), "{wrong:?}");
            }
        }
        for from in 1..=size {
            let proof = Consistency::make(from, size, &mut nodes_of(&leaves)).expect("there are nodes");
            assert_eq!(proof.check(&root(from), &root(size)), Ok(()), "{from} to {size}");
            if from < size {
                assert_eq!(proof.check(&root(from), &root(size - 1)), Err(BadProof));
                assert_eq!(proof.check(&TreeHash::ZERO, &root(size)), Err(BadProof));
                let longer = Consistency { path: [&proof.path[..], &[TreeHash::ZERO]].concat(), ..proof.clone() };
                assert_eq!(longer.check(&root(from), &root(size)), Err(BadProof));
            }
        }
    }
}

fn wrong_inclusions(proof: &Inclusion) -> Vec<Inclusion> {
    let mut wrong = vec![
        Inclusion { path: [&proof.path[..], &[TreeHash::ZERO]].concat(), ..proof.clone() },
        Inclusion { index: proof.size, ..proof.clone() },
    ];
    if let Some((_, path)) = proof.path.split_last() {
        wrong.push(Inclusion { path: path.to_vec(), ..proof.clone() });
    }
    for at in 0..proof.path.len() {
        let mut changed = proof.clone();
        changed.path[at].0[7] ^= 1;
        wrong.push(changed);
    }
    wrong
}

/// A tree of so many tiles and leaves, beginning after `first`.
fn tiled(all: &[TreeHash], first: usize) -> Tiles {
    let mut range = CompactRange::default();
    all[..first].iter().for_each(|leaf| range.push(*leaf));
    let mut tiles = Tiles::after(&range).expect("it ends with a tile");
    for leaf in &all[first..] {
        tiles.push(*leaf);
    }
    tiles
}

#[test]
fn the_tiles_give_the_proofs_that_all_leaves_give() {
    let tile = usize::try_from(TILE).expect("small");
    let all = numbered(TILE * 7 + 19);
    let whole = tiled(&all, 0);
    let leaves_of = |number: u64| {
        let begin = usize::try_from(number).expect("small") * tile;
        Ok::<_, Infallible>(all[begin..begin + tile].to_vec())
    };
    let size = all.len() as u64;
    let root = root_by_definition(&all);
    assert_eq!(whole.root(size, leaves_of), Ok(root));
    assert_eq!(whole.whole_range().map(|range| range.root()), Some(root));
    for dropped in [0, 1, 2, 3, 4, 5, 6, 7] {
        let first = tile * dropped;
        let mut forgot = whole.clone();
        forgot.drop_before(first as u64);
        assert_eq!(forgot, tiled(&all, first), "what is dropped later is as what was never there: {dropped}");
        assert_eq!(forgot.first(), first as u64);
        for index in (first..all.len()).step_by(97).chain([all.len() - 1, first]) {
            for size in [size, size - 3, TILE * 7].into_iter().filter(|size| *size > index as u64) {
                let proof = forgot.inclusion(index as u64, size, leaves_of).expect("a proof");
                let root = root_by_definition(&all[..usize::try_from(size).expect("small")]);
                assert_eq!(proof.check(&all[index], &root), Ok(()), "{index} of {size} without {first}");
            }
        }
        for from in (first.max(1)..all.len()).step_by(61) {
            let proof = forgot.consistency(from as u64, size, leaves_of).expect("a proof");
            assert_eq!(proof.check(&root_by_definition(&all[..from]), &root), Ok(()), "{from} without {first}");
        }
    }
    let mut forgot = whole;
    forgot.drop_before(TILE * 3);
    assert_eq!(forgot.inclusion(5, size, leaves_of), Err(NoProof::Dropped { first: TILE * 3 }));
    assert_eq!(forgot.inclusion(size, size, leaves_of), Err(NoProof::Beyond { size }));
    assert_eq!(forgot.consistency(0, size, leaves_of), Err(NoProof::Beyond { size }));
}

fn key() -> KeyPair {
    KeyPair::from_seed([7; 32])
}

fn data(number: u64) -> Map<String, Value> {
    let data = json!({"message_type": "task_claim", "number": number, "text": "é \"quoted\"\n", "z": [1.5, null]});
    data.as_object().expect("an object").clone()
}

/// Journals are made here as a writer makes them: groups of so many entries, the last of each signed.
fn journal(key: &KeyPair, groups: &[usize]) -> Vec<Vec<u8>> {
    let author = key.node().to_string();
    let mut chain = Chain::new(key.node());
    let mut lines = Vec::new();
    for group in groups {
        for number in 1..=*group {
            let at = Timestamp::from_millis(1_700_000_000_000 + chain.next());
            let draft = Draft::new(EntryKind::TaskClaimed, at, data(chain.next())).expect("small");
            let placed = Placed::new(&author, &draft, chain.next(), &chain.prev());
            chain.push(placed.hash);
            let last = (number == *group).then(|| Head::sign(key, chain.journal().expect("begun"), chain.range()));
            let mut line = Vec::new();
            placed.write(last.map(|head| head.signature).as_ref(), &mut line);
            assert_eq!(line.pop(), Some(b'\n'));
            lines.push(line);
        }
    }
    lines
}

fn head_of(lines: &[Vec<u8>]) -> Head {
    report(lines, None, None).head.expect("signed")
}

fn report(lines: &[Vec<u8>], expected: Option<NodeId>, told: Option<Head>) -> Report {
    let mut verifier = Verifier::new(expected, told);
    lines.iter().for_each(|line| verifier.handle_line(read_checked(line)));
    verifier.finish()
}

fn flaw(lines: &[Vec<u8>]) -> Option<(u64, Wrong)> {
    report(lines, None, None).flaw.map(|flaw| (flaw.index, flaw.wrong))
}

#[test]
fn a_line_is_the_canonical_json_of_the_whole_entry() {
    let lines = journal(&key(), &[2]);
    for line in &lines {
        let value: Value = serde_json::from_slice(line).expect("JSON");
        assert_eq!(canonical::to_vec(&value), *line);
        let mut bare = value.clone();
        let members = bare.as_object_mut().expect("an object");
        members.shift_remove("hash");
        members.shift_remove("signature");
        let hash = TreeHash::of_leaf(&[&canonical::to_vec(&bare)]);
        assert_eq!(value["hash"], hash.to_string());
        let entry = read_entry(line).expect("an entry");
        assert_eq!((entry.hash, entry.kind, entry.author), (hash, EntryKind::TaskClaimed, key().node()));
        assert_eq!(entry.data, data(entry.index));
    }
    assert_eq!(read_entry(&lines[0]).map(|entry| entry.prev_hash), Ok(TreeHash::ZERO));
    assert_eq!(read_link(&lines[1]).map(|link| link.signature.is_some()), Ok(true));
}

#[test]
fn what_another_could_read_otherwise_is_no_entry() {
    let author = key().node().to_string();
    let text = |data: &str, index: &str, time: &str| {
        let prev = TreeHash::ZERO;
        let bare = format!(
            r#"{{"author":"{author}","data":{data},"index":{index},"prev_hash":"{prev}","timestamp":"{time}","type":"task_claimed"}}"#
        );
        let hash = TreeHash::of_leaf(&[bare.as_bytes()]);
        bare.replace(r#","index""#, &format!(r#","hash":"{hash}","index""#)).into_bytes()
    };
    let time = "2023-11-14T22:13:20.000Z";
    assert!(read_checked(&text("{}", "0", time)).is_ok());
    for data in [r#"{ }"#, r#"{"b":1,"a":2}"#, r#"{"a":1,"a":1}"#, r#"{"a":1.0}"#, r#"{"a":"\u0041"}"#, "{\"a\":}"] {
        assert_eq!(read_checked(&text(data, "0", time)), Err(BadLine::Data), "{data}");
    }
    for (index, time) in
        [("00", time), ("1e3", time), ("0", "2023-11-14T23:13:20.000z"), ("0", "2023-13-14T22:13:20.000Z")]
    {
        assert_eq!(read_checked(&text("{}", index, time)), Err(BadLine::Form), "{index} {time}");
    }
    assert_eq!(read_checked(&text("[]", "0", time)), Err(BadLine::Form));
    assert_eq!(read_link(&vec![b'{'; LINE_MAX + 1]), Err(BadLine::TooLong));
    let deep = format!("{}1{}", r#"{"a":"#.repeat(DATA_DEPTH_MAX + 1), "}".repeat(DATA_DEPTH_MAX + 1));
    assert_eq!(read_checked(&text(&deep, "0", time)), Err(BadLine::Data));
    let later = String::from_utf8(text("{}", "0", time)).expect("text").replace("task_claimed", "task_dreamt");
    let bare =
        later.replace(&later[later.find(r#""hash""#).expect("there")..later.find(r#""index""#).expect("there")], "");
    let hash = TreeHash::of_leaf(&[bare.as_bytes()]);
    let later = bare.replace(r#""index""#, &format!(r#""hash":"{hash}","index""#));
    assert_eq!(read_checked(later.as_bytes()).map(|link| link.kind), Ok(None), "a later version's type can be checked");
    assert_eq!(read_entry(later.as_bytes()), Err(BadLine::Kind));
}

#[test]
fn a_draft_that_could_not_be_read_again_is_refused() {
    let new =
        |data: Value| Draft::new(EntryKind::Escalation, Timestamp::default(), data.as_object().expect("map").clone());
    assert_eq!(new(json!({"a": "x".repeat(DATA_MAX)})), Err(BadDraft::TooLarge { bytes: DATA_MAX + 8 }));
    assert_eq!(new(json!({"a": vec![0; 140_000]})), Err(BadDraft::TooManyValues));
    let deep = (0..DATA_DEPTH_MAX).fold(json!(1), |inner, _| json!({"a": inner}));
    assert!(new(deep.clone()).is_ok());
    assert_eq!(new(json!({"a": deep})), Err(BadDraft::TooDeep { depth: DATA_DEPTH_MAX + 1 }));
    let largest = new(json!({"a": "x".repeat(DATA_MAX - 8)})).expect("it fits");
    let author = key().node().to_string();
    let mut line = Vec::new();
    Placed::new(&author, &largest, u64::MAX, &TreeHash::ZERO).write(Some(&[255; 64]), &mut line);
    assert!(line.len() <= LINE_MAX + 1);
}

#[test]
fn a_whole_journal_is_right_and_its_report_says_whose_it_is() {
    let lines = journal(&key(), &[3, 1, 5]);
    let report = report(&lines, Some(key().node()), Some(head_of(&lines[..4])));
    assert_eq!((report.flaw, report.size, report.first), (None, 9, 0));
    assert_eq!((report.author, report.journal), (Some(key().node()), read_link(&lines[0]).ok().map(|link| link.hash)));
    assert_eq!(report.head.map(|head| head.size), Some(9));
    assert_eq!(self::report(&[], None, None).flaw, None);
}

#[test]
fn every_wrong_is_named_with_its_entry() {
    let lines = journal(&key(), &[3, 1, 5]);
    let with = |change: fn(&mut Vec<Vec<u8>>)| {
        let mut changed = lines.clone();
        change(&mut changed);
        flaw(&changed)
    };
    assert_eq!(with(|lines| drop(lines.remove(4))), Some((4, Wrong::Missing { until: 5 })));
    assert_eq!(with(|lines| drop(lines.remove(0))), Some((0, Wrong::Missing { until: 1 })));
    assert_eq!(with(|lines| lines.swap(1, 2)), Some((1, Wrong::Reordered { found: 2 })));
    assert_eq!(with(|lines| lines.swap(0, 8)), Some((0, Wrong::Reordered { found: 8 })));
    assert_eq!(with(|lines| lines.insert(3, lines[1].clone())), Some((3, Wrong::Reordered { found: 1 })));
    assert_eq!(with(|lines| lines[5][80] ^= 1), Some((5, Wrong::Changed)));
    assert_eq!(with(|lines| lines.truncate(7)), Some((4, Wrong::UnsignedTail)));
    assert_eq!(with(|lines| lines.truncate(4)), None, "what was cut off at a signature is seen by a told head only");
    let other = KeyPair::from_seed([8; 32]);
    let wrong = Wrong::WrongAuthor { found: key().node() };
    assert_eq!(report(&lines, Some(other.node()), None).flaw, Some(Flaw { index: 0, wrong }));
    let cut = report(&lines[..4], None, Some(head_of(&lines)));
    assert_eq!(cut.flaw, Some(Flaw { index: 4, wrong: Wrong::CutTail { size: 9 } }));
    let fork = report(&journal(&key(), &[3, 2, 4]), None, Some(head_of(&lines[..4])));
    assert_eq!(fork.flaw, Some(Flaw { index: 3, wrong: Wrong::Forked }));
}

/// Writes an entry anew, as who has not the key can: with a right hash, and the signature that was there.
fn forged(line: &[u8], prev: Option<TreeHash>, text: &str) -> Vec<u8> {
    let entry = read_entry(line).expect("an entry");
    let data = json!({"forged": text}).as_object().expect("an object").clone();
    let draft = Draft::new(entry.kind, entry.timestamp, data).expect("small");
    let (author, mut forged) = (entry.author.to_string(), Vec::new());
    let placed = Placed::new(&author, &draft, entry.index, &prev.unwrap_or(entry.prev_hash));
    placed.write(entry.signature.as_ref(), &mut forged);
    forged.pop();
    forged
}

#[test]
fn an_entry_whose_hash_was_made_anew_is_found() {
    let lines = journal(&key(), &[3, 1, 5]);
    for at in 0..lines.len() {
        let mut changed = lines.clone();
        changed[at] = forged(&lines[at], None, "one");
        let signed = [2, 3, 8].contains(&at);
        let (index, wrong) = flaw(&changed).expect("found");
        assert_eq!(index, at as u64, "{wrong:?}");
        assert_eq!(matches!(wrong, Wrong::BadSignature { .. }), signed, "{at}: {wrong:?}");
    }
    // The whole rest written anew: nothing up to the first signature is vouched for.
    let mut changed = lines.clone();
    let mut prev = None;
    for line in &mut changed[5..] {
        *line = forged(line, prev, "all");
        prev = read_link(line).ok().map(|link| link.hash);
    }
    assert_eq!(flaw(&changed), Some((8, Wrong::BadSignature { from: 4 })));
}

#[test]
fn every_byte_that_changes_is_found_at_its_entry() {
    let lines = journal(&key(), &[1, 2]);
    for at in 0..lines.len() {
        for byte in 0..lines[at].len() {
            for bit in [0, 5] {
                let mut changed = lines.clone();
                changed[at][byte] ^= 1 << bit;
                assert_eq!(flaw(&changed).map(|(index, _)| index), Some(at as u64), "byte {byte}, bit {bit}");
            }
        }
    }
}

#[test]
fn a_checkpoint_stands_in_for_what_was_dropped() {
    let lines = journal(&key(), &[256, 44]);
    let link = |at: usize| read_link(&lines[at]).expect("an entry");
    let mut range = CompactRange::default();
    (0..256).for_each(|at| range.push(link(at).hash));
    let checkpoint = Checkpoint::sign(&key(), link(0).hash, link(255).hash, range);
    let text = wire::write_checkpoint(&checkpoint);
    assert!(wire::is_checkpoint(&text) && !wire::is_checkpoint(&lines[0]));
    assert_eq!(wire::read_checkpoint(&text), Ok(checkpoint.clone()));
    let verify = |checkpoint: &Checkpoint| {
        let mut verifier = Verifier::new(None, Some(head_of(&lines)));
        verifier.handle_checkpoint(checkpoint);
        lines[256..].iter().for_each(|line| verifier.handle_line(read_checked(line)));
        verifier.finish()
    };
    let report = verify(&checkpoint);
    assert_eq!((report.flaw, report.first, report.size), (None, 256, 300));
    let told = |told: Head| {
        let mut verifier = Verifier::new(None, Some(told));
        verifier.handle_checkpoint(&checkpoint);
        lines[256..].iter().for_each(|line| verifier.handle_line(read_checked(line)));
        verifier.finish().flaw.map(|flaw| (flaw.index, flaw.wrong))
    };
    let dropped = Head::sign(&key(), checkpoint.journal, &checkpoint.range);
    assert_eq!(told(dropped), None, "a head of just what was dropped is held against the checkpoint");
    assert_eq!(told(Head { root: TreeHash::ZERO, ..dropped }), Some((255, Wrong::Forked)));
    let mut follower = Follower::new(key().node());
    follower.handle_head(head_of(&lines), Told::Now).expect("new");
    let stranger = Checkpoint::sign(&key(), TreeHash::ZERO, checkpoint.prev, checkpoint.range.clone());
    let refused = Err(Fault::Entry(Flaw { index: 256, wrong: Wrong::BadCheckpoint }));
    assert_eq!(follower.handle_checkpoint(&stranger), refused, "it is of another journal than the head");
    assert_eq!(follower.handle_checkpoint(&checkpoint), Ok(()));
    for byte in 0..text.len() {
        let mut changed = text.clone();
        changed[byte] ^= 1;
        if let Ok(changed) = wire::read_checkpoint(&changed) {
            assert_eq!(verify(&changed).flaw.map(|flaw| flaw.index), Some(256), "byte {byte}");
        }
    }
    let tiles = Tiles::after(&checkpoint.range).expect("it ends with a tile");
    assert_eq!(tiles.size(), 256);
}

fn text(lines: &[Vec<u8>]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect()
}

#[test]
fn a_follower_reads_in_any_pieces_and_believes_what_is_signed() {
    let lines = journal(&key(), &[3, 1, 5]);
    let mut follower = Follower::new(key().node());
    let want = follower.handle_head(head_of(&lines[..4]), Told::Now);
    assert_eq!(want, Ok(Want::Growth { known: 0, next: 0, size: 4 }));
    assert_eq!(follower.known(), None);
    assert_eq!(follower.handle_lines(&text(&lines[..2])), Ok(Read { next: 2, confirmed: 0 }));
    assert_eq!(follower.handle_lines(&text(&lines[2..6])), Ok(Read { next: 6, confirmed: 4 }));
    assert_eq!(follower.known().map(|head| head.size), Some(4));
    let (confirmed, known) = (follower.confirmed().clone(), follower.known());
    let mut follower = Follower::resumed(confirmed, known);
    assert_eq!(follower.handle_head(head_of(&lines), Told::Now), Ok(Want::Growth { known: 4, next: 4, size: 9 }));
    assert_eq!(follower.handle_lines(&text(&lines[4..])), Ok(Read { next: 9, confirmed: 9 }));
    assert_eq!(follower.known(), Some(head_of(&lines)));
    assert_eq!(follower.handle_head(head_of(&lines), Told::Now), Ok(Want::Nothing));
}

#[test]
fn a_follower_finds_a_cut_tail_a_fork_and_a_journal_begun_again() {
    let lines = journal(&key(), &[3, 1, 5]);
    let mut follower = Follower::new(key().node());
    follower.handle_lines(&text(&lines)).expect("right");
    let before = follower.clone();
    let cut = follower.handle_head(head_of(&lines[..4]), Told::Now);
    assert!(matches!(cut, Err(Fault::Rollback { .. })), "{cut:?}");
    let late = follower.handle_head(head_of(&lines[..4]), Told::Earlier);
    assert_eq!(late, Ok(Want::Past { size: 4, known: 9 }));
    assert_eq!(head_of(&journal(&key(), &[9])).root, head_of(&lines).root, "groups do not change the tree");
    let again = KeyPair::from_seed([7; 32]);
    let another = Head::sign(&again, TreeHash([9; 32]), &CompactRange::default());
    assert!(matches!(follower.handle_head(another, Told::Now), Err(Fault::AnotherJournal { .. })));
    let mut range = CompactRange::default();
    numbered(9).into_iter().for_each(|leaf| range.push(leaf));
    let known = head_of(&lines).journal;
    let lie = follower.handle_head(Head::sign(&again, known, &range), Told::Earlier);
    assert!(matches!(lie, Err(Fault::Equivocation { .. })), "{lie:?}");
    let stranger = KeyPair::from_seed([8; 32]);
    let foreign = follower.handle_head(Head::sign(&stranger, known, &range), Told::Now);
    assert_eq!(foreign, Err(Fault::WrongAuthor { found: stranger.node() }));
    let forged = Head { size: 10, ..head_of(&lines) };
    assert!(matches!(follower.handle_head(forged, Told::Now), Err(Fault::BadSignature(_))));
    assert_eq!(follower.known(), before.known(), "what was believed still is");
}

#[test]
fn a_follower_that_was_told_another_head_than_it_is_handed_lines_of_finds_the_fork() {
    let lines = journal(&key(), &[3, 6]);
    let mut range = CompactRange::default();
    numbered(5).into_iter().for_each(|leaf| range.push(leaf));
    let told = Head::sign(&key(), head_of(&lines).journal, &range);
    let mut follower = Follower::new(key().node());
    follower.handle_head(told, Told::Now).expect("new");
    let fork = follower.handle_lines(&text(&lines));
    assert!(matches!(fork, Err(Fault::Forked { .. })), "{fork:?}");
    assert_eq!(follower.confirmed().next(), 3);
}

#[test]
fn a_follower_believes_no_line_that_does_not_come_next() {
    let lines = journal(&key(), &[3, 1, 5]);
    let fault = |lines: &[u8]| {
        let mut follower = Follower::new(key().node());
        follower.handle_lines(&text(&journal(&key(), &[3]))).expect("right");
        let fault = follower.handle_lines(lines).expect_err("wrong");
        assert_eq!(follower.confirmed().next(), follower.handle_lines(b"").expect("nothing").next);
        fault
    };
    let entry = |index, wrong| Fault::Entry(Flaw { index, wrong });
    assert_eq!(fault(&text(&lines[4..])), entry(3, Wrong::Missing { until: 4 }));
    assert_eq!(fault(&text(&lines[2..])), entry(3, Wrong::Reordered { found: 2 }));
    assert_eq!(fault(&text(&[lines[3].clone(), lines[5].clone()])), entry(4, Wrong::Missing { until: 5 }));
    assert_eq!(fault(&text(&lines[3..])[..100]), entry(3, Wrong::TornTail));
    assert_eq!(fault(&text(&[forged(&lines[3], None, "x")])), entry(3, Wrong::BadSignature { from: 3 }));
    assert_eq!(fault(b"{}\n"), entry(3, Wrong::Changed));
    let stranger = journal(&KeyPair::from_seed([8; 32]), &[5]);
    let found = KeyPair::from_seed([8; 32]).node();
    assert_eq!(fault(&text(&stranger[3..])), entry(3, Wrong::WrongAuthor { found }));
}

#[test]
fn who_keeps_no_entries_believes_heads_by_proofs() {
    let lines = journal(&key(), &[3, 1, 5]);
    let leaves: Vec<_> = lines.iter().map(|line| read_link(line).expect("an entry").hash).collect();
    let mut follower = Follower::new(key().node());
    follower.handle_head(head_of(&lines[..4]), Told::Now).expect("new");
    follower.trust_first();
    assert_eq!(follower.handle_head(head_of(&lines), Told::Now), Ok(Want::Growth { known: 4, next: 0, size: 9 }));
    let proof = Consistency::make(4, 9, &mut nodes_of(&leaves)).expect("there are nodes");
    let wrong = Consistency { path: proof.path.iter().rev().copied().collect(), ..proof.clone() };
    assert_eq!(follower.handle_proof(&wrong), Err(Fault::BadProof(BadProof)));
    assert_eq!(follower.handle_proof(&proof), Ok(()));
    assert_eq!(follower.known(), Some(head_of(&lines)));
    assert_eq!(follower.handle_head(head_of(&lines[..3]), Told::Earlier), Ok(Want::Past { size: 3, known: 9 }));
    let past = Consistency::make(3, 9, &mut nodes_of(&leaves)).expect("there are nodes");
    assert_eq!(follower.handle_proof(&past), Ok(()));
}

#[test]
fn a_proof_of_one_entry_convinces_without_the_rest() {
    let lines = journal(&key(), &[3, 1, 5]);
    let leaves: Vec<_> = lines.iter().map(|line| read_link(line).expect("an entry").hash).collect();
    let inclusion = Inclusion::make(5, 9, &mut nodes_of(&leaves)).expect("there are nodes");
    let proof = EntryProof { line: lines[5].clone(), inclusion, head: head_of(&lines) };
    let text = canonical::to_vec(&wire::entry_proof_to_value(&proof));
    let read = wire::read_entry_proof(&text).expect("a proof");
    assert_eq!(read, proof);
    assert_eq!(read.check().map(|entry| entry.index), Ok(5));
    assert_eq!(EntryProof { line: lines[4].clone(), ..proof.clone() }.check(), Err(BadProof));
    assert_eq!(EntryProof { head: head_of(&lines[..4]), ..proof.clone() }.check(), Err(BadProof));
    let unsigned = Head { signature: [0; 64], ..proof.head };
    assert_eq!(EntryProof { head: unsigned, ..proof }.check(), Err(BadProof));
}

#[test]
fn what_an_entry_says_of_a_message_is_written_and_read_again() {
    for kind in EntryKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
    }
    let data = wire::MessageData {
        message_type: "task_claim".to_owned(),
        from_peer: "12D3KooW".to_owned(),
        timestamp: Timestamp::from_millis(1_700_000_000_000),
        to_roles: vec!["tester".to_owned()],
        ..wire::MessageData::default()
    };
    let map = data.to_map();
    assert_eq!((map["timestamp"].clone(), map.contains_key("priority")), (json!("2023-11-14T22:13:20.000Z"), false));
    assert_eq!(wire::MessageData::of(&map), Some(data));
    assert_eq!(wire::MessageData::of(&Map::new()), None);
}
