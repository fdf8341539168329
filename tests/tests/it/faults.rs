//! What channels withstand: hubs that are killed, networks that are cut, backups that are restored.

use crate::federation::{ALPHA, BETA, CHANNEL, line, log, said, shared};
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::realm::Realm;
use comity_tests::{peers, until};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a hub may take until it has its members' part, and they all of it.
const LONG: Duration = Duration::from_secs(120);

/// Events of both sides together.
const MANY: usize = 10_000;

/// How many speak at once on each side.
const VOICES: usize = 8;

/// Says half of the events by the door of this node.
fn speaks(node: &Node, name: &str) -> Lines {
    let mut sayer = peers::python("sayer.py");
    sayer.arg(node.data_dir().join("control/door.sock"));
    Lines::start(sayer.args([CHANNEL, name, &(MANY / 2).to_string(), &VOICES.to_string()]))
}

/// Waits until something was acknowledged for the so-manieth time.
fn until_acknowledged(speaking: &mut Lines, count: usize) {
    while speaking.seen().len() < count {
        speaking.next(LONG).expect("it speaks");
    }
}

#[test]
fn what_was_acknowledged_is_there_once_in_one_order_whatever_becomes_of_the_hub_and_the_network() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let beta = realm.node(BETA, &[]);
    let mut alpha = realm.node(ALPHA, &[]);
    shared(&alpha, &beta);
    let (mut here, mut there) = (speaks(&alpha, "alpha"), speaks(&beta, "beta"));
    // Killed while both sides speak, and started again; then cut off for half a minute; then killed once more.
    until_acknowledged(&mut here, MANY / 10);
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    alpha = realm.node_in(folder, ALPHA, &[]);
    until("hub", LONG, || (alpha.json(&["channel", "list"])["channels"][0]["caught_up"] == true).then_some(()));
    until_acknowledged(&mut here, MANY / 5);
    realm.lab().cut(realm.number(BETA));
    here.during(Duration::from_secs(30));
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    alpha = realm.node_in(folder, ALPHA, &[]);
    // The hub takes nothing before it has asked its member what it may have lost.
    assert_eq!(alpha.json(&["channel", "list"])["channels"][0]["waits_for"], json!([BETA]));
    realm.lab().mend(realm.number(BETA));
    until("hub", LONG, || (alpha.json(&["channel", "list"])["channels"][0]["caught_up"] == true).then_some(()));
    let mut acknowledged = Vec::new();
    for speaking in [&mut here, &mut there] {
        while speaking.next(LONG).is_some() {}
        acknowledged.extend_from_slice(speaking.seen());
    }
    assert!(acknowledged.len() > MANY * 9 / 10, "{} of {MANY} were acknowledged", acknowledged.len());
    let whole = until("all of it on both sides", LONG, || {
        let (whole, part) = (line(&log(&alpha, CHANNEL)), line(&log(&beta, CHANNEL)));
        let rest = beta.json(&["channel", "list"])["channels"][0]["waiting"] == 0;
        (rest && whole.len() >= part.len() && part[..] == whole[whole.len() - part.len()..]).then_some(whole)
    });
    let events = log(&alpha, CHANNEL);
    assert_eq!(line(&events), whole);
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    for (place, said) in said(&events).into_iter().enumerate() {
        assert_eq!(places.insert(said.clone(), place), None, "{said} is there twice");
    }
    for said in &acknowledged {
        assert!(places.contains_key(said), "{said} is lost");
    }
    // Each voice was heard in its order.
    let mut last: BTreeMap<&str, usize> = BTreeMap::new();
    for (said, number) in acknowledged.iter().filter_map(|said| Some((said, said.rsplit_once('-')?))) {
        let before = last.insert(number.0, places[said]);
        assert!(before.is_none_or(|before| before < places[said]), "{said} came too early");
    }
    let faults = beta.json(&["channel", "list"])["channels"][0]["faults"].clone();
    assert!(faults.is_null(), "{faults}");
    alpha.says(&["channel", "verify", CHANNEL]);
    beta.says(&["channel", "verify", CHANNEL]);
}

#[test]
fn a_hub_that_comes_back_from_an_old_backup_gets_its_line_back_from_its_member() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let beta = realm.node(BETA, &[]);
    let alpha = realm.node(ALPHA, &[]);
    shared(&alpha, &beta);
    alpha.says(&["send", CHANNEL, r#"{"said":"before"}"#]);
    let (_, folder) = alpha.stop();
    let files = ["federation.db", "federation.db-wal", "federation.db-shm"].map(|name| folder.path().join(name));
    let backup: Vec<Option<Vec<u8>>> = files.iter().map(|file| std::fs::read(file).ok()).collect();
    let alpha = realm.node_in(folder, ALPHA, &[]);
    until("hub", LONG, || (alpha.json(&["channel", "list"])["channels"][0]["caught_up"] == true).then_some(()));
    for node in [&alpha, &beta] {
        for number in 0..60 {
            node.says(&["send", CHANNEL, &json!({"said": format!("{} {number}", node.status["name"])}).to_string()]);
        }
    }
    until("all of it", LONG, || (said(&log(&beta, CHANNEL)).len() == 121).then_some(()));
    let whole = line(&log(&alpha, CHANNEL));
    let (_, folder) = alpha.stop();
    for (file, content) in files.iter().zip(backup) {
        match content {
            Some(content) => std::fs::write(file, content).expect("it is ours"),
            None => drop(std::fs::remove_file(file)),
        }
    }
    let alpha = realm.node_in(folder, ALPHA, &[]);
    until("line", LONG, || (line(&log(&alpha, CHANNEL)) == whole).then_some(()));
    // It numbers on where it was, and nobody sees two lines.
    until("hub", LONG, || alpha.run(&["send", CHANNEL, r#"{"said":"after"}"#]).status.success().then_some(()));
    until("event", LONG, || (said(&log(&beta, CHANNEL)).last().map(String::as_str) == Some("after")).then_some(()));
    let part = line(&log(&beta, CHANNEL));
    let again = line(&log(&alpha, CHANNEL));
    assert_eq!((&again[..whole.len()], &again[again.len() - part.len()..]), (&whole[..], &part[..]));
    assert!(beta.json(&["channel", "list"])["channels"][0]["faults"].is_null());
}

#[test]
fn who_was_removed_learns_nothing_that_comes_later() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let (alpha, beta) = (realm.node(ALPHA, &[]), realm.node(BETA, &[]));
    shared(&alpha, &beta);
    alpha.says(&["send", CHANNEL, r#"{"said":"for both"}"#]);
    until("event", LONG, || (said(&log(&beta, CHANNEL)) == ["for both"]).then_some(()));
    alpha.says(&["channel", "remove", "project", BETA]);
    until("its removal", LONG, || (beta.json(&["channel", "list"])["channels"][0]["state"] == "removed").then_some(()));
    alpha.says(&["send", CHANNEL, r#"{"said":"for alpha"}"#]);
    let refused = beta.run(&["send", CHANNEL, r#"{"said":"from beta"}"#]);
    assert!(!refused.status.success(), "{refused:?}");
    let (_, folder) = beta.stop();
    let beta = realm.node_in(folder, BETA, &[]);
    // It asks again when it starts, and is told no more.
    until("channel", LONG, || (beta.json(&["channel", "list"])["channels"][0]["state"] == "removed").then_some(()));
    let events = log(&beta, CHANNEL);
    assert_eq!(said(&events), ["for both"]);
    assert_eq!(events.last().map(|event| &event["type"]), Some(&json!("naomi:member.removed")));
    assert_eq!(said(&log(&alpha, CHANNEL)), ["for both", "for alpha"]);
}

#[test]
fn a_hub_that_tells_two_histories_is_named_by_its_members_with_proof_also_after_a_restart() {
    const LAB: &str = "!lab:beta.test";
    const GAMMA: &str = "gamma.test";
    let realm = Realm::of(&[ALPHA, BETA, GAMMA]);
    let often = [("COMITY_FEDERATION_COMPARE_SECONDS", "1")];
    let (alpha, gamma) = (realm.node(ALPHA, &often), realm.node(GAMMA, &often));
    let beta = realm.participant(BETA);
    beta.does(&["create", LAB]);
    for (node, origin) in [(&alpha, ALPHA), (&gamma, GAMMA)] {
        beta.does(&["invite", LAB, origin]);
        until("invitation", LONG, || {
            (node.json(&["channel", "invitations"])["invitations"][0]["channel"] == LAB).then_some(())
        });
        node.says(&["channel", "accept", LAB]);
        until("its joining", LONG, || {
            (node.json(&["channel", "list"])["channels"][0]["state"] == "joined").then_some(())
        });
    }
    beta.does(&["publish", LAB, "--type", "note", "--data", r#"{"said":"for all"}"#]);
    for node in [&alpha, &gamma] {
        until("event", LONG, || (said(&log(node, LAB)) == ["for all"]).then_some(()));
    }
    beta.attacks("split-history", ALPHA, &["--channel", LAB, "--third", GAMMA]);
    let named = |node: &Node| {
        let faults = node.json(&["channel", "list"])["channels"][0]["faults"].clone();
        let mut faults = faults.as_array().into_iter().flatten().filter_map(serde_json::Value::as_str);
        faults.any(|fault| fault.contains("hub_equivocation")).then_some(())
    };
    for node in [&alpha, &gamma] {
        until("proof", LONG, || named(node));
    }
    let (_, folder) = alpha.stop();
    let alpha = realm.node_in(folder, ALPHA, &often);
    until("proof that is kept", LONG, || named(&alpha));
}

/// Floods alpha from beta's host in these names; how often each status came, and how often somebody asked for a key.
fn floods(realm: &Realm, count: usize, names: &[String], listens: bool) -> (BTreeMap<String, u64>, u64) {
    let mut flood = peers::python("origin_flood.py");
    flood.args([&realm.host(ALPHA).address, ALPHA]).arg(realm.authority()).arg(count.to_string()).args(names);
    if listens {
        flood.args(["--listen", &realm.host(BETA).address]);
    }
    let printed = peers::output(&mut realm.host(BETA).run(&flood));
    let said: serde_json::Value = serde_json::from_str(&printed).expect("JSON");
    let statuses = said["statuses"].as_object().expect("an object").iter();
    let count = |(status, count): (&String, &serde_json::Value)| (status.clone(), count.as_u64().unwrap_or_default());
    (statuses.map(count).collect(), said["asked"].as_u64().expect("a number"))
}

#[test]
fn a_flood_in_anothers_name_does_not_cost_that_one_anything() {
    const GAMMA: &str = "gamma.test";
    let realm = Realm::of(&[ALPHA, BETA, GAMMA]);
    let (alpha, gamma) = (realm.node(ALPHA, &[]), realm.node(GAMMA, &[]));
    // Known to alpha, so that nothing has to be fetched.
    until("answer", LONG, || gamma.run(&["tool", "list", "--origin", ALPHA]).status.success().then_some(()));
    let (statuses, _) = floods(&realm, 1000, &[GAMMA.to_owned()], false);
    assert_eq!(statuses.get("200"), None, "{statuses:?}");
    // Had the flood been taken from its budget, none of that would be left.
    for _ in 0..30 {
        gamma.says(&["tool", "list", "--origin", ALPHA]);
    }
    drop(alpha);
}

#[test]
fn invented_origins_cause_few_fetches() {
    let mut realm = Realm::of(&[ALPHA, BETA]);
    let names: Vec<String> = (0..300).map(|number| format!("made-up-{number}.test")).collect();
    let address = realm.host(BETA).address;
    realm.also_name(&names, &address);
    let alpha = realm.node(ALPHA, &[]);
    let (statuses, asked) = floods(&realm, names.len(), &names, true);
    assert_eq!(statuses.get("200"), None, "{statuses:?}");
    assert!((1..=20).contains(&asked), "asked {asked} times for 300 names: {statuses:?}");
    alpha.says(&["federation", "status"]);
}

#[test]
fn a_certificate_that_was_renewed_is_shown_without_a_restart() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[]);
    let shown = || {
        let mut client = realm.host(BETA).command("openssl");
        client.args(["s_client", "-connect", &format!("{}:443", realm.host(ALPHA).address), "-servername", ALPHA]);
        let said = client.stdin(std::process::Stdio::null()).output().expect("openssl is there");
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.split("-----BEGIN CERTIFICATE-----").nth(1).map(str::to_owned)
    };
    let first = until("certificate", LONG, shown);
    realm.renew(ALPHA);
    until("renewed certificate", LONG, || shown().filter(|now| *now != first));
    alpha.says(&["federation", "status"]);
}
