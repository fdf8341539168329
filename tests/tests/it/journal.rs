//! The journal of a running node: nothing that was published is missing from it, whatever became of the node; what is
//! wrong with a copy is named by the command, and by another's program that has only read the format; and who follows
//! it notices when its author goes back on what it signed.

use crate::reference::verifier;
use comity_tests::disk::Disk;
use comity_tests::folder::Folder;
use comity_tests::http::get;
use comity_tests::node::{Node, comity};
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Where tasks are spoken of.
const TOPIC: &str = "CHORUS/coordination/v1";

/// How often the author is killed while it publishes.
const KILLS: u32 = 5;

/// The whole disk, in MiB: a node's database, its journal, and some room.
const DISK: u32 = 8;

/// Publishes a number, in a node with this data directory.
fn publishing(folder: &Path, number: u32) -> Command {
    let data = json!({ "task_id": format!("t-{number}"), "agent_id": "a-1", "progress": 0.5 }).to_string();
    let mut command = comity(&["send", TOPIC, &data, "--type", "task_progress", "--data-dir"]);
    command.arg(folder);
    command
}

/// Has this node dial the other whenever it starts.
fn dials(node: &Path, other: &Node) {
    let text = format!("peers = [\"127.0.0.1:{}\"]\n", other.port());
    std::fs::write(node.join("comity.toml"), text).expect("it is ours");
}

/// Two nodes of which one has heard the other say a number.
fn pair() -> (Node, Node) {
    let bob = Node::alone("bob", &[]);
    let ann = Node::alone("ann", &["--peer", &bob.url()]);
    dials(ann.data_dir(), &bob);
    published(&ann, 0);
    (ann, bob)
}

/// Publishes a number as soon as somebody listens.
fn published(node: &Node, number: u32) {
    let publish = || node.run(&words(number).iter().map(String::as_str).collect::<Vec<_>>());
    until("listener", PATIENCE, || publish().status.success().then_some(()));
}

fn words(number: u32) -> Vec<String> {
    let data = json!({ "task_id": format!("t-{number}"), "agent_id": "a-1", "progress": 0.5 }).to_string();
    ["send", TOPIC, &data, "--type", "task_progress"].map(str::to_owned).into()
}

/// The numbers that are journaled, in order.
fn journaled(node: &Node) -> Vec<u32> {
    let entries = node.says(&["journal", "query", "--type", "task_progress", "--json"]);
    let number = |line: &str| {
        let entry: Value = serde_json::from_str(line).expect("one JSON object a line");
        let task = entry["data"]["data"]["task_id"].as_str().map(|task| task.trim_start_matches("t-").to_owned());
        task.and_then(|number| number.parse().ok()).expect("a number")
    };
    entries.lines().map(number).collect()
}

fn exported(node: &Node, name: &str) -> PathBuf {
    let file = node.data_dir().join(name);
    node.says(&["journal", "export", "--out", &file.display().to_string()]);
    file
}

/// What `comity journal verify` says of a file, without a node, and what the other program says.
fn both_say(file: &Path, words: &[&str], others: &[&str]) -> [(Option<i32>, String); 2] {
    let said = |command: &mut Command| {
        let output = command.arg(file).output().expect("it runs");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let mut ours = comity(&[&["journal", "verify"], words].concat());
    [said(&mut ours), said(verifier().args(others))]
}

/// That both find nothing wrong.
fn both_agree_it_is_right(file: &Path) {
    for (code, said) in both_say(file, &[], &[]) {
        assert!(code == Some(0) && said.starts_with("nothing is wrong"), "{said}");
    }
}

/// That both name this entry, and what is wrong with it.
fn both_name(file: &Path, said_of_it: &str) {
    for (code, said) in both_say(file, &[], &[]) {
        assert!(code == Some(1) && said.starts_with(said_of_it), "{said_of_it} is wanted: {said}");
    }
}

#[test]
fn what_was_published_is_in_the_journal_however_often_the_node_is_killed() {
    let (mut ann, _bob) = pair();
    let (next, mut safe) = (AtomicU32::new(1), vec![0]);
    for round in 0..KILLS {
        published(&ann, next.load(Ordering::Relaxed));
        safe.push(next.fetch_add(1, Ordering::Relaxed));
        let (folder, is_over, accepted) = (ann.data_dir().to_owned(), AtomicBool::new(false), AtomicU32::new(0));
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let mut sent = Vec::new();
                while !is_over.load(Ordering::Relaxed) {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if publishing(&folder, number).output().expect("it runs").status.success() {
                        sent.push(number);
                        accepted.fetch_add(1, Ordering::Relaxed);
                    }
                }
                sent
            });
            until("message", PATIENCE, || (accepted.load(Ordering::Relaxed) > round * 3).then_some(()));
            ann.signal("KILL");
            is_over.store(true, Ordering::Relaxed);
            sending.join().expect("it ends")
        });
        safe.extend(sent);
        ann = ann.killed_and_started_again();
        let kept = journaled(&ann);
        assert!(kept.is_sorted_by(|one, other| one < other), "each once, in order: {kept:?}");
        assert!(safe.iter().all(|number| kept.contains(number)), "round {round}: {safe:?} in {kept:?}");
        assert!(ann.says(&["journal", "verify"]).starts_with("nothing is wrong"));
    }
    both_agree_it_is_right(&exported(&ann, "all.jsonl"));
}

#[test]
fn what_is_wrong_with_a_copy_is_named_by_the_command_and_by_anothers_program() {
    let (ann, bob) = pair();
    (1..6).for_each(|number| published(&ann, number));
    let file = exported(&ann, "all.jsonl");
    both_agree_it_is_right(&file);
    let text = std::fs::read_to_string(&file).expect("it is text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let wrong = ann.data_dir().join("wrong.jsonl");
    let changed = |text: String, said: &str| {
        std::fs::write(&wrong, text).expect("it is ours");
        both_name(&wrong, said);
    };
    let said = lines.iter().position(|line| line.contains(r#""progress":0.5"#)).expect("it was published");
    changed(text.replacen("\"progress\":0.5", "\"progress\":0.6", 1), &format!("entry {said}: changed"));
    changed([&lines[..3], &lines[4..]].concat().concat(), "entry 3: missing");
    changed([&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat(), "entry 2: reordered");
    changed(text[..text.len() - 20].to_owned(), &format!("entry {}: torn", lines.len() - 1));
    changed([&lines[..], &[lines[0]]].concat().concat(), &format!("entry {}: reordered", lines.len()));
    let head = ann.data_dir().join("head.json").display().to_string();
    ann.says(&["journal", "head", "--out", &head]);
    // Entries that are written together are signed together.
    let signed = lines[..lines.len() - 1].iter().rposition(|line| line.contains(r#","signature":""#));
    let cut = signed.expect("each was waited for") + 1;
    std::fs::write(&wrong, lines[..cut].concat()).expect("it is ours");
    both_agree_it_is_right(&wrong);
    for (code, said) in both_say(&wrong, &["--head", &head], &["--told", &head]) {
        assert!(code == Some(1) && said.starts_with(&format!("entry {cut}: cut off")), "{said}");
    }
    let other = bob.json(&["id"])["node"].as_str().expect("a node id").to_owned();
    assert!(both_say(&wrong, &["--key", &other], &[])[0].1.starts_with("entry 0: wrong author"));
    assert_eq!(both_say(Path::new("/nowhere"), &[], &[])[0].0, Some(4), "what is not there is not known");
}

#[test]
fn a_changed_byte_anywhere_is_named_alike_by_both_programs() {
    let (ann, _bob) = pair();
    published(&ann, 1);
    let file = exported(&ann, "all.jsonl");
    let text = std::fs::read(&file).expect("it was exported");
    let program = ann.data_dir().join("flip.py");
    std::fs::write(&program, FLIPS).expect("it is ours");
    let examples = comity_tests::root().join("examples");
    let said = comity_tests::peers::output(comity_tests::peers::python(&program).arg(examples).arg(&file));
    assert_eq!(said.lines().count(), text.len());
    let wrong = ann.data_dir().join("wrong.jsonl");
    for (at, said) in said.lines().enumerate() {
        let index = text[..at].iter().filter(|byte| **byte == b'\n').count();
        let start = |said: &str| said.split_inclusive(' ').take(3).collect::<String>();
        let named = start(said);
        let is_known = ["changed: ", "bad ", "torn: "].iter().any(|wrong| named == format!("entry {index}: {wrong}"));
        assert!(is_known, "byte {at}: {said}");
        // As often as there is time for.
        if at % 17 == 0 || at + 1 == text.len() {
            let mut changed = text.clone();
            changed[at] ^= 1 << (at % 8);
            std::fs::write(&wrong, changed).expect("it is ours");
            let output = comity(&["journal", "verify"]).arg(&wrong).output().expect("it runs");
            let ours = String::from_utf8_lossy(&output.stdout);
            assert_eq!((output.status.code(), start(&ours)), (Some(1), named), "byte {at}");
        }
    }
}

/// Changes one bit of every byte of a file in turn, and prints what the other program says of each.
const FLIPS: &str = r#"
import io, sys
sys.path.insert(0, sys.argv[1])
import journal_verify as program
text = open(sys.argv[2], "rb").read()
for at in range(len(text)):
    changed = bytearray(text)
    changed[at] ^= 1 << at % 8
    try:
        program.verify(program.lines_of(io.BytesIO(changed)), None)
        print("nothing")
    except program.Wrong as wrong:
        print(wrong)
"#;

#[test]
fn a_torn_last_write_is_named_by_both_programs_and_cut_off_at_the_next_start() {
    let (ann, _bob) = pair();
    (1..4).for_each(|number| published(&ann, number));
    let before = journaled(&ann);
    let ann = ann.killed_changed_and_started_again(|folder| {
        let segment = folder.join("journal/00000000000000000000.jsonl");
        let text = std::fs::read_to_string(&segment).expect("it is text");
        let size = text.lines().count();
        let last = text.lines().next_back().expect("an entry");
        for (left, said) in [(&last[..last.len() / 2], "torn"), (&last[..1], "torn")] {
            std::fs::write(&segment, format!("{text}{left}")).expect("it is ours");
            both_name(&segment, &format!("entry {size}: {said}"));
            let output = comity(&["journal", "verify"]).arg(folder.join("journal")).output().expect("it runs");
            let ours = String::from_utf8_lossy(&output.stdout);
            assert!(ours.contains(&format!("entry {size}: torn: the last line has no end")), "{ours}");
        }
    });
    assert!(ann.says(&["journal", "verify"]).starts_with("nothing is wrong"));
    assert_eq!(journaled(&ann), before, "nothing else is gone");
    both_agree_it_is_right(&exported(&ann, "all.jsonl"));
}

#[test]
fn one_entry_is_proved_to_who_has_nothing_else() {
    let (ann, bob) = pair();
    let file = ann.data_dir().join("proof.json");
    let said = ann.says(&["journal", "query", "--type", "task_progress", "--json"]);
    let said: Value = serde_json::from_str(said.lines().next().expect("an entry")).expect("JSON");
    let index = said["index"].to_string();
    ann.says(&["journal", "prove", &index, "--out", &file.display().to_string()]);
    let [key, other] = [&ann, &bob].map(|node| node.json(&["id"])["node"].as_str().expect("a node id").to_owned());
    let check = |key: &str| comity(&["journal", "check", "--key", key]).arg(&file).output().expect("it runs");
    let right = check(&key);
    assert!(
        String::from_utf8_lossy(&right.stdout).starts_with(&format!("entry {index} is in the journal of ed25519:")),
        "{right:?}"
    );
    comity_tests::peers::output(verifier().arg("--proof").arg(&file).arg(&key));
    assert_eq!(check(&other).status.code(), Some(1));
    let text = std::fs::read_to_string(&file).expect("it is text");
    std::fs::write(&file, text.replacen("0.5", "0.6", 1)).expect("it is ours");
    assert_eq!(check(&key).status.code(), Some(1));
    assert_eq!(ann.run(&["journal", "prove", "999"]).status.code(), Some(4));
}

#[test]
fn a_follower_goes_on_by_itself_and_notices_when_the_author_goes_back() {
    let (ann, bob) = pair();
    let refused = bob.follow(&["journal", "follow", "ann"]).wait_for("refusal", PATIENCE, |line| {
        let now: Value = serde_json::from_str(line).expect("one JSON object a line");
        (now["state"] == "waiting").then(|| now["detail"].as_str().map(str::to_owned)).flatten()
    });
    assert!(refused.contains("comity trust"), "{refused}");
    ann.says(&["trust", "bob"]);
    bob.says(&["journal", "follow", "ann", "--once"]);
    let copy = copy_of(&bob);
    both_agree_it_is_right(&copy.join("00000000000000000000.jsonl"));
    let path = copy.display().to_string();
    let shown = bob.says(&["journal", "query", "--path", &path, "--type", "task_progress"]);
    assert!(shown.contains("task_progress") && shown.contains("t-0"), "{shown}");
    // What the author has now, it will go back to.
    let (journal, old) = (ann.data_dir().join("journal"), ann.data_dir().join("old"));
    let ann = ann.killed_changed_and_started_again(|_| copied(&journal, &old));
    (1..4).for_each(|number| published(&ann, number));
    let size = ann.json(&["journal", "head"])["size"].as_u64().expect("a size");
    until("entry", PATIENCE, || (followed(&bob)["size"].as_u64() >= Some(size)).then_some(()));
    // It goes on after a restart, too.
    let bob_was = followed(&bob)["size"].clone();
    let bob = bob.killed_and_started_again();
    dials(ann.data_dir(), &bob);
    until("copy", PATIENCE, || (followed(&bob)["size"] == bob_was).then_some(()));
    let ann = ann.killed_changed_and_started_again(|_| {
        std::fs::remove_dir_all(&journal).expect("it is ours");
        copied(&old, &journal);
    });
    assert!(ann.says(&["journal", "verify"]).starts_with("nothing is wrong"), "it alone does not show it");
    let broken = until("notice", PATIENCE, || Some(followed(&bob)).filter(|one| one["state"] == "broken"));
    let detail = broken["detail"].as_str().expect("a sentence");
    assert!(detail.starts_with(&format!("the journal had {bob_was} entries, and now has")), "{detail}");
    let health = get(&format!("{}/health", bob.metrics_url())).json();
    let check = health["checks"].as_array().into_iter().flatten().find(|check| check["name"] == "journals");
    assert_eq!(check.map(|check| &check["status"]), Some(&"failed".into()), "{health}");
    assert_eq!(bob.run(&["journal", "follow"]).status.code(), Some(1));
    assert_eq!(bob.run(&["journal", "follow", "ann"]).status.code(), Some(1));
    let evidence: Value =
        serde_json::from_slice(&std::fs::read(copy_of(&bob).join("fault.json")).expect("kept")).expect("JSON");
    assert_eq!(evidence["heads"].as_array().map(Vec::len), Some(2), "{evidence}");
    let told = copy_of(&bob).join("head.json").display().to_string();
    for (code, said) in both_say(&exported(&ann, "back.jsonl"), &["--head", &told], &["--told", &told]) {
        assert!(code == Some(1) && (said.contains("cut off") || said.contains("forked")), "{said}");
    }
    let bob = bob.killed_and_started_again();
    until("fault", PATIENCE, || (followed(&bob)["state"] == "broken").then_some(()));
    let author = followed(&bob)["author"].as_str().expect("a node id").to_owned();
    bob.says(&["journal", "follow", &author, "--stop"]);
    assert_eq!(bob.json(&["journal", "follow"])["journals"], json!([]));
}

/// How it goes with the one journal that is followed.
fn followed(node: &Node) -> Value {
    let output = node.run(&["journal", "follow", "--list", "--json"]);
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    list["journals"][0].clone()
}

fn copy_of(node: &Node) -> PathBuf {
    followed(node)["folder"].as_str().expect("a folder").into()
}

fn copied(from: &Path, to: &Path) {
    comity_tests::peers::output(Command::new("cp").arg("-r").args([from, to]));
}

#[test]
fn a_full_disk_stops_what_is_said_and_nothing_else_until_there_is_room() {
    let bob = Node::alone("bob", &[]);
    let folder = Folder::new();
    let disk = Disk::mounted_on(&folder, DISK);
    let config = format!("peers = ['127.0.0.1:{}']", bob.port());
    let file = folder.path().join("comity.toml").display().to_string();
    disk.inside(&["sh", "-c", &format!("echo \"{config}\" > \"$0\""), &file]);
    let ann = Node::on_disk(disk, folder, "ann");
    published(&ann, 0);
    // What is heard is counted at once, so that it needs no room in the inbox.
    ann.says(&["attention", "minimal"]);
    let ballast = ann.data_dir().join("ballast");
    ann.disk().fill(&ballast);
    let say = |number: u32| ann.run(&words(number).iter().map(String::as_str).collect::<Vec<_>>());
    let refused = (1..500).map(|number| (number, say(number))).find(|(_, output)| !output.status.success());
    let (number, refused) = refused.expect("the disk is full at some time");
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(1) && told.contains("it cannot be journaled: the disk is full"), "{told}");
    assert_eq!(ann.figure("comity_journal_disk_working"), 0.0);
    let health = get(&format!("{}/health", ann.metrics_url())).json();
    let check = health["checks"].as_array().into_iter().flatten().find(|check| check["name"] == "journal");
    assert_eq!(check.map(|check| &check["status"]), Some(&"failed".into()), "{health}");
    assert_eq!(journaled(&ann), (0..number).collect::<Vec<_>>(), "reading goes on");
    let before = ann.figure("comity_pubsub_admitted_messages_total");
    published(&bob, 1000);
    until("count", PATIENCE, || (ann.figure("comity_journal_missed_entries_total") > 0.0).then_some(()));
    assert!(ann.figure("comity_pubsub_admitted_messages_total") > before, "hearing goes on");
    ann.disk().inside(&["rm", &ballast.display().to_string()]);
    until("room", PATIENCE, || (ann.figure("comity_journal_disk_working") == 1.0).then_some(()));
    assert!(say(number).status.success(), "it recovers by itself");
    let mut wanted: Vec<u32> = (0..number).collect();
    wanted.push(number);
    assert_eq!(journaled(&ann), wanted, "what was refused left no entry");
    let verified = ann.run(&["journal", "verify"]);
    assert!(verified.status.success(), "{verified:?}");
    let outside = Folder::new();
    let file = outside.path().join("all.jsonl");
    ann.says(&["journal", "export", "--out", &file.display().to_string()]);
    both_agree_it_is_right(&file);
}
