//! Discovery with programs that are not ours: Avahi and python-zeroconf, on a network of their own.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::lab::{Host, Lab};
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use comity_tests::peers;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

fn object(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A foreign peer on this host, and its UUID.
fn foreign(host: &Host) -> (Lines, String) {
    let mut peer = Lines::start(&mut host.run(peers::python("foreign.py").arg(&host.address)));
    let id = peer.wait_for("advertisement", PATIENCE, |line| object(line)["ready"].as_str().map(str::to_owned));
    (peer, id)
}

#[test]
fn avahi_finds_the_node_and_hears_its_goodbye() {
    let (lab, folder) = (Lab::bridge(2), Folder::new());
    let mut avahi = lab.host(1).command("bash");
    avahi.arg(peers::file("avahi.sh")).arg("watcher").arg(folder.path());
    let mut avahi = Lines::start(&mut avahi);
    let pid = avahi.wait_for("running Avahi", PATIENCE, |line| line.strip_prefix("ready ").map(str::to_owned));
    let mut browse = Command::new("nsenter");
    browse.args(["-t", &pid, "-m", "-n", "stdbuf", "-oL", "avahi-browse", "-rpk", "_dashflow._tcp"]);
    let mut browse = Lines::start(&mut browse);

    let node = Node::on(&lab.host(2), "ann", &["--capability", "sing"]);
    let found = browse
        .wait_for("resolved service", PATIENCE, |line| line.starts_with("=;eth0;IPv4;ann").then(|| line.to_owned()));
    let (address, port) = (lab.host(2).address, node.port().to_string());
    assert!(found.contains(&format!(";{address};{port};")), "{found}");
    let [id, name, caps] = [format!("\"id={}\"", node.id()), "\"name=ann\"".to_owned(), "\"caps=sing\"".to_owned()];
    for entry in ["\"txtvers=1\"", &id, &name, &caps, &format!("\"endpoint=http://{address}:{port}\"")] {
        assert!(found.contains(entry), "{entry} is missing: {found}");
    }
    let (status, _folder) = node.stop();
    assert!(status.success(), "{status}");
    browse.wait_for("goodbye", Duration::from_secs(5), |line| line.starts_with("-;eth0;IPv4;ann").then_some(()));
}

#[test]
fn zeroconf_reads_what_the_node_says_of_itself() {
    let lab = Lab::bridge(2);
    let (mut peer, _) = foreign(&lab.host(1));
    let node = Node::on(&lab.host(2), "ann", &["--capability", "sing", "--capability", "100%, sure"]);
    let seen = peer.wait_for("our service", PATIENCE, |line| {
        let seen = object(line);
        (seen["txt"]["name"] == "ann").then_some(seen)
    });
    let (txt, address) = (&seen["txt"], lab.host(2).address);
    assert_eq!(txt["txtvers"], "1");
    assert_eq!(txt["id"], node.id().as_str());
    assert_eq!(txt["key"], node.status["node"]);
    assert_eq!(txt["caps"], "sing,100%25%2C sure");
    assert_eq!((&txt["capabilities"], &txt["version"]), (&txt["caps"], &txt["v"]));
    assert_eq!(txt["endpoint"], format!("http://{address}:{}", node.port()));
    assert_eq!(seen["port"], node.port());
    assert_eq!(seen["ttl"], 120);
    assert_eq!(seen["addresses"], serde_json::json!([address]));
    let instance = text(&seen["seen"]);
    assert!(instance.starts_with("ann-") && instance.ends_with("._dashflow._tcp.local."), "{instance}");
}

#[test]
fn a_foreign_peer_is_listed_unverified_and_gets_messages_by_post() {
    let lab = Lab::bridge(2);
    let (mut peer, id) = foreign(&lab.host(1));
    let node = Node::on(&lab.host(2), "ann", &[]);
    node.sees("foreign peer", &id, PATIENCE, |peer| peer["presence"] == "online");
    let seen = node.peer(&id).expect("it was there");
    assert_eq!((&seen["name"], &seen["trust"]), (&"foreign".into(), &"unverified".into()));
    assert_eq!(seen["capabilities"], serde_json::json!(["paint", "a,b"]));
    assert_eq!(seen["sources"], serde_json::json!(["mdns"]));

    node.says(&["send", "foreign", r#"{"hello": 1}"#, "--type", "suggestion"]);
    let got = peer.wait_for("message", PATIENCE, |line| {
        let got = object(line);
        let message = &got["got"]["message"];
        (got["path"] == "/dashflow/message" && message["type"] == "suggestion").then(|| message.clone())
    });
    assert_eq!((&got["from"], &got["to"]), (&node.status["id"], &id.as_str().into()));
    assert_eq!((&got["type"], &got["payload"]), (&"suggestion".into(), &serde_json::json!({"hello": 1})));
    assert!(
        got["sig"].is_string() && got["from_key"] == node.status["node"],
        "it is signed when it leaves links: {got}"
    );

    peer.ended(PATIENCE);
    node.sees("goodbye", &id, Duration::from_secs(5), |peer| peer["presence"] == "offline");
}
