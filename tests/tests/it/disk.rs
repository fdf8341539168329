//! A disk that fills up: what was accepted is there, what cannot be kept is refused with the time
//! to try again, and the node works on once there is room.

use comity_tests::disk::Disk;
use comity_tests::folder::Folder;
use comity_tests::http::{Reply, curl, get, post};
use comity_tests::node::{Node, up};
use comity_tests::{PATIENCE, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// The whole disk, in MiB: a node's database, its journal, and some room.
const DISK: u32 = 8;

fn say(node: &Node, number: u32) -> Reply {
    let message = json!({"id": format!("1a1a1a1a-0000-4000-8000-{number:012}"), "to": "broadcast",
        "from": format!("1b1b1b1b-0000-4000-8000-{number:012}"), "type": "suggestion", "ttl": 3600,
        "payload": {"suggestion": "x".repeat(16 * 1024), "number": number}, "priority": "normal"});
    post(&format!("{}/dashflow/message", node.url()), &message.to_string())
}

/// The numbers of what is in the inbox.
fn kept(node: &Node) -> BTreeSet<u64> {
    let inbox = node.json(&["inbox", "--peek", "--limit", "1000"]);
    let items = inbox["items"].as_array().into_iter().flatten();
    items.filter_map(|item| item["message"]["payload"]["number"].as_u64()).collect()
}

#[test]
fn a_full_disk_is_said_loses_nothing_that_was_accepted_and_is_used_again_when_there_is_room() {
    let folder = Folder::new();
    let node = Node::on_disk(Disk::mounted_on(&folder, DISK), folder, "ann");
    let ballast = node.data_dir().join("ballast");
    node.disk().fill(&ballast);
    node.disk().inside(&["truncate", "--size=-256K", &ballast.display().to_string()]);
    let mut accepted = BTreeSet::new();
    let mut refused = None;
    for number in 0..1000 {
        let reply = say(&node, number);
        match reply.status {
            202 => drop(accepted.insert(u64::from(number))),
            _ => refused = Some((number, reply)),
        }
        if refused.is_some() {
            break;
        }
    }
    let (number, reply) = refused.expect("the disk is full at some time");
    assert!(!accepted.is_empty(), "there was room for some");
    reply.refused(503, "unavailable");
    assert!(reply.headers.contains("retry-after:"), "{reply:?}");
    assert!(!reply.body.contains("/tmp") && !reply.body.contains("sqlite"), "{reply:?}");
    assert_eq!(node.figure("comity_system_disk_working"), 0.0);
    let checks = get(&format!("{}/health", node.metrics_url())).json();
    let store = checks["checks"].as_array().into_iter().flatten().find(|check| check["name"] == "store");
    assert_eq!(store.map(|check| &check["status"]), Some(&"failed".into()), "{checks}");
    let doctor: Value = serde_json::from_slice(&node.run(&["doctor", "--json"]).stdout).expect("JSON");
    let ill = doctor["checks"].as_array().into_iter().flatten().any(|check| check["state"] == "ill");
    assert!(ill, "{doctor}");
    assert_eq!(kept(&node), accepted, "nothing that was accepted is lost, nothing refused is shown");
    assert_eq!(curl(&[&format!("{}/dashflow/status", node.url())], None).status, 200, "the rest works on");

    node.disk().inside(&["rm", &ballast.display().to_string()]);
    until("room", PATIENCE, || (say(&node, number).status == 202).then_some(()));
    accepted.insert(u64::from(number));
    assert_eq!(kept(&node), accepted);
    assert_eq!(node.figure("comity_system_disk_working"), 1.0);
    let node = node.killed_and_started_again();
    assert_eq!(kept(&node), accepted, "it was on the disk");
}

#[test]
fn tasks_that_wait_for_a_full_disk_keep_nobody_from_being_heard_and_are_said_when_there_is_room() {
    let folder = Folder::new();
    let ann = Node::on_disk(Disk::mounted_on(&folder, DISK), folder, "ann");
    let bob = Node::alone("bob", &["--peer", &ann.url()]);
    ann.knows(&bob);
    bob.knows(&ann);
    ann.says(&["claims", "announce", "t-1", "before"]);
    let listed = |node: &Node, id: &str| node.says(&["claims", "list"]).contains(id);
    until("task", PATIENCE, || listed(&bob, "t-1").then_some(()));
    let ballast = ann.data_dir().join("ballast");
    ann.disk().fill(&ballast);
    let refused = ann.run(&["claims", "announce", "t-2", &"x".repeat(100 * 1024)]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("disk"), "{told}");

    // It waits, and meanwhile tasks are shown, others are heard, and nothing new is begun.
    let mut heard = ann.follow(&["watch", "CHORUS/coordination/v1"]);
    let say = |what: &str| {
        let data = json!({ "task_id": what, "agent_id": "bob" }).to_string();
        bob.says(&["send", "CHORUS/coordination/v1", &data, "--type", "task_progress"]);
    };
    until("somebody who watches", PATIENCE, || {
        say("are you there?");
        let lines = heard.during(Duration::from_millis(300));
        lines.iter().any(|line| line.contains("are you there?")).then_some(())
    });
    for number in 0..3 {
        assert!(listed(&ann, "t-1"));
        let said = format!("n-{number}");
        say(&said);
        heard.wait_for("message of bob", PATIENCE, |line| line.contains(&said).then_some(()));
    }
    let refused = ann.run(&["claims", "announce", "t-3", "meanwhile"]);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("disk"), "{told}");

    ann.disk().inside(&["rm", &ballast.display().to_string()]);
    until("room", PATIENCE, || ann.run(&["claims", "announce", "t-4", "after"]).status.success().then_some(()));
    until("tasks", PATIENCE, || (listed(&bob, "t-2") && listed(&bob, "t-4")).then_some(()));
    assert!(!listed(&ann, "t-3"), "what was refused is not done");
}

#[test]
fn a_node_that_finds_a_full_disk_says_so_and_leaves_nothing_half_made() {
    let folder = Folder::new();
    let disk = Disk::mounted_on(&folder, DISK);
    let ballast = folder.path().join("ballast");
    disk.fill(&ballast);
    let output = disk.run(&up("ann", folder.path(), &["--no-mdns"])).output().expect("it runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("space") || told.contains("full"), "{told}");
    disk.inside(&["rm", &ballast.display().to_string()]);
    let node = Node::on_disk(disk, folder, "ann");
    assert_eq!(node.json(&["id"])["name"], "ann");
}
