//! Origins that know nothing of each other but a name: they find each other, share a channel that loses nothing, and
//! believe nothing that is not signed. Names and certificates are real, in networks of their own; one of the two sides
//! is a program in Python, written only from the protocol's text.

use crate::{readme, reference};
use comity_tests::folder::Folder;
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::realm::{Participant, Realm};
use comity_tests::{PATIENCE, peers, until};
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

pub(crate) const ALPHA: &str = "alpha.test";
pub(crate) const BETA: &str = "beta.test";
pub(crate) const CHANNEL: &str = "!project:alpha.test";

/// The events of a channel as a node has them.
pub(crate) fn log(node: &Node, channel: &str) -> Vec<Value> {
    let printed = node.says(&["channel", "log", channel, "-n", "100000", "--json"]);
    printed.lines().map(|line| serde_json::from_str(line).expect("JSON, one a line")).collect()
}

/// Numbers and ids of events, in order.
pub(crate) fn line(events: &[Value]) -> Vec<(u64, String)> {
    let id = |event: &Value| event["id"].as_str().expect("an id").to_owned();
    events.iter().map(|event| (event["seq"].as_u64().expect("a number"), id(event))).collect()
}

/// A channel of alpha, of which beta is a member.
pub(crate) fn shared(alpha: &Node, beta: &Node) {
    alpha.says(&["channel", "create", "project", "--about", "plans"]);
    alpha.says(&["channel", "invite", "project", BETA]);
    until("invitation", PATIENCE, || {
        let invitations = beta.json(&["channel", "invitations"]);
        (invitations["invitations"][0]["channel"] == CHANNEL).then_some(())
    });
    beta.says(&["channel", "accept", CHANNEL]);
    is_member(alpha, BETA);
}

pub(crate) fn is_member(hub: &Node, origin: &str) {
    until("member", PATIENCE, || {
        let members = hub.json(&["channel", "members", "project"]);
        let is_there = |member: &Value| member["origin"] == origin && member["state"] == "joined";
        members["members"].as_array().is_some_and(|members| members.iter().any(is_there)).then_some(())
    });
}

/// Waits for an event that says this.
fn hears(watching: &mut Lines, said: &Value) -> Value {
    watching.wait_for("event", PATIENCE, |line| {
        let event: Value = serde_json::from_str(line).expect("events are JSON, one a line");
        (event["data"] == *said).then_some(event)
    })
}

#[test]
fn the_chapter_of_the_readme_is_what_two_organisations_see() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let (alpha, beta) = (realm.node(ALPHA, &[]), with_a_tool(&realm, BETA));
    let steps = readme::session("Other organisations");
    assert!(steps.len() > 8, "the chapter has a session");
    for readme::Step { terminal, command, prints } in &steps {
        let node = if terminal == "alpha" { &alpha } else { &beta };
        // What others say takes a moment.
        until(command, PATIENCE, || {
            let words = shell_words(command);
            let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
            let said = node.run(&words);
            let text = String::from_utf8_lossy(&said.stdout).into_owned();
            let printed: Vec<String> =
                text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect();
            (said.status.success() && readme::matches(prints, &printed)).then_some(())
        });
    }
}

/// A command's words, as a shell takes them apart.
fn shell_words(command: &str) -> Vec<String> {
    let mut shell = Command::new("bash");
    let printed = peers::output(shell.args(["-c", &format!("printf '%s\\n' {command}")]));
    printed.lines().map(str::to_owned).collect()
}

#[test]
fn two_origins_share_a_channel_in_one_order_and_prove_it_offline() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let (alpha, beta) = (realm.node(ALPHA, &[]), realm.node(BETA, &[]));
    shared(&alpha, &beta);
    let mut watching = [alpha.follow(&["watch", CHANNEL]), beta.follow(&["watch", CHANNEL])];
    let mut first_said = 0;
    for watching in &mut watching {
        // A watch begins with what is said from then on; when that is only such an event tells.
        until("event", PATIENCE, || {
            alpha.says(&["send", CHANNEL, r#"{"first":true}"#]);
            first_said += 1;
            let seen: Value = serde_json::from_str(&watching.next(Duration::from_millis(500))?).expect("JSON");
            // Another may be before it, such as that by which beta joined.
            (seen["data"] == json!({"first": true})).then_some(())
        });
    }
    for number in 0..5 {
        for (node, name) in [(&alpha, "alpha"), (&beta, "beta")] {
            let said = json!({"from": name, "number": number});
            node.says(&["send", CHANNEL, &said.to_string(), "--type", "note"]);
            let seen = watching.each_mut().map(|watching| hears(watching, &said));
            assert_eq!(seen[0], seen[1]);
            assert_eq!((&seen[0]["origin"], &seen[0]["type"]), (&json!(format!("{name}.test")), &json!("note")));
        }
    }
    let (whole, part) = (line(&log(&alpha, CHANNEL)), line(&log(&beta, CHANNEL)));
    assert_eq!(part, whole[whole.len() - part.len()..], "from its joining on");
    let state = beta.json(&["federation", "status"]);
    assert_eq!(state["others"][0]["key"], alpha.status["node"]);
    // What others say is in the inbox, with the trust in its author.
    let inbox = until("message", PATIENCE, || {
        let inbox = beta.json(&["inbox", "--peek"]);
        let mut items = inbox["items"].as_array()?.iter().map(|item| &item["message"]);
        items.find(|message| message["payload"]["data"]["number"] == 4).cloned()
    });
    assert_eq!((&inbox["channel"], &inbox["via"]), (&json!(CHANNEL), &json!("federation")));
    assert_eq!((&inbox["trust"], &inbox["key"]), (&json!("verified"), &alpha.status["node"]));
    // Made, joined, about, invited, and joined by the other, from which on that sees it; then what both said.
    let said = first_said + 10;
    proven([(&alpha, 5 + said), (&beta, 1 + said)]);
}

/// Each node's log has so many events, and holds, for the command and for the program in Python, and no longer after any change.
fn proven(nodes: [(&Node, usize); 2]) {
    let folder = Folder::new();
    for (node, events) in nodes {
        let file = folder.path().join("log");
        node.says(&["channel", "log", CHANNEL, "--export", &file.display().to_string()]);
        let text = std::fs::read_to_string(&file).expect("it was written");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len() - 1, events, "{text}");
        holds(&file, true);
        let swap = |from: usize, to: usize| {
            let mut lines = lines.clone();
            lines.swap(from, to);
            lines
        };
        let changed = text.replacen("\"number\":2", "\"number\":3", 1);
        let without = [&lines[..4], &lines[5..]].concat();
        for text in [changed, without.join("\n") + "\n", swap(4, 5).join("\n") + "\n"] {
            std::fs::write(&file, text).expect("it is ours");
            holds(&file, false);
        }
    }
}

/// Whether a log holds, as the command and the program in Python see it.
fn holds(file: &Path, wanted: bool) {
    let mut command = comity_tests::node::comity(&["channel", "verify", "--file"]);
    let said = command.arg(file).output().expect("the program is there");
    assert_eq!(said.status.success(), wanted, "{}", String::from_utf8_lossy(&said.stderr));
    let said = verifier(file).output().expect("python is there");
    assert_eq!(said.status.success(), wanted, "{}", String::from_utf8_lossy(&said.stdout));
}

/// The verifier of channels in Python.
fn verifier(file: &Path) -> Command {
    let mut command = peers::python(reference::example("channel_verify.py"));
    command.arg(file);
    command
}

/// What was said on a channel, in order.
pub(crate) fn said(events: &[Value]) -> Vec<String> {
    events.iter().filter_map(|event| event["data"]["said"].as_str().map(str::to_owned)).collect()
}

/// A channel of alpha, of which the program in Python is a member.
fn shared_with_python(alpha: &Node, beta: &Participant) {
    alpha.says(&["channel", "create", "project"]);
    alpha.says(&["channel", "invite", "project", BETA]);
    until("invitation", PATIENCE, || (!beta.does(&["invitations"]).is_empty()).then_some(()));
    beta.does(&["accept", CHANNEL]);
    is_member(alpha, BETA);
}

#[test]
fn a_participant_of_another_program_joins_speaks_and_verifies_all_of_it_through_a_killed_hub() {
    let realm = Realm::of(&[ALPHA, BETA, "gamma.test"]);
    let alpha = realm.node(ALPHA, &[]);
    let mut beta = realm.participant(BETA);
    shared_with_python(&alpha, &beta);
    beta.does(&["publish", CHANNEL, "--type", "note", "--data", r#"{"said":"one"}"#, "--count", "60"]);
    alpha.says(&["send", CHANNEL, r#"{"said":"two"}"#]);
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    beta.does(&["publish", CHANNEL, "--type", "note", "--data", r#"{"said":"three"}"#, "--count", "20"]);
    let alpha = realm.node_in(folder, ALPHA, &[]);
    beta.killed_and_started_again();
    let gamma = realm.participant("gamma.test");
    // The hub takes nothing before its member has said what it may have lost.
    until("hub", PATIENCE, || {
        alpha.run(&["channel", "invite", "project", "gamma.test"]).status.success().then_some(())
    });
    // A program of the original design signs no event: the hub attests what it says, that it joins as well.
    let of_old = |from: &Participant, kind: &str, data: &str| {
        let old = from.does(&["old-publish", CHANNEL, "--type", kind, "--data", data]).pop().expect("an answer");
        assert!(old["status"] == 200 || old["status"] == 503, "{old}");
        (old["body"]["processed"][0] == old["submitted"]["id"]).then_some(()).ok_or(old)
    };
    for (kind, data) in [("naomi:member.joined", "{}"), ("note", r#"{"said":"of old"}"#)] {
        until("event of old", PATIENCE, || of_old(&gamma, kind, data).ok());
    }
    // Who signs is not attested.
    let refused = of_old(&beta, "note", r#"{"said":"unsigned"}"#).expect_err("it signs");
    assert_eq!(refused["body"]["rejected"][0]["code"], "forbidden", "{refused}");
    let whole = until("all of it", PATIENCE, || {
        let whole = log(&alpha, CHANNEL);
        (said(&whole).len() == 82).then_some(whole)
    });
    // What the hub attests is in its own inbox as well.
    until("message of old", PATIENCE, || {
        let inbox = alpha.json(&["inbox", "--peek", "--limit", "1000"]);
        let is_there = |item: &Value| item["message"]["payload"]["data"]["said"] == "of old";
        inbox["items"].as_array()?.iter().any(is_there).then_some(())
    });
    let theirs = until("all of it there", PATIENCE, || {
        let theirs = beta.does(&["events", CHANNEL]);
        (theirs.last().map(|event| &event["id"]) == whole.last().map(|event| &event["id"])).then_some(theirs)
    });
    assert_eq!(line(&theirs), line(&whole)[whole.len() - theirs.len()..]);
    let status = beta.does(&["status"]).pop().expect("a status");
    assert_eq!(status["findings"], json!([]), "{status}");
    // Each verifies what the other exports.
    let folder = Folder::new();
    let file = folder.path().join("log");
    let exported = beta.does(&["export", CHANNEL]);
    let text: String = exported.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, text).expect("it is ours");
    holds(&file, true);
    alpha.says(&["channel", "log", CHANNEL, "--export", &file.display().to_string()]);
    holds(&file, true);
}

#[test]
fn a_hub_that_starts_asks_a_member_that_takes_few_questions_at_once_for_fewer() {
    const OTHERS: &[&str] = &["second", "third"];
    let realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[]);
    let beta = realm.participant_with(BETA, &["--heads-max", "1"]);
    shared_with_python(&alpha, &beta);
    for name in OTHERS {
        alpha.says(&["channel", "create", name]);
        alpha.says(&["channel", "invite", name, BETA]);
        until("invitation", PATIENCE, || (!beta.does(&["invitations"]).is_empty()).then_some(()));
        beta.does(&["accept", &format!("!{name}:{ALPHA}")]);
    }
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    let alpha = realm.node_in(folder, ALPHA, &[]);
    // For a member that has not answered it would wait a minute.
    until("answers for all lines", PATIENCE, || {
        let channels = alpha.json(&["channel", "list"])["channels"].as_array()?.clone();
        (channels.len() == 3 && channels.iter().all(|channel| channel["caught_up"] == true)).then_some(())
    });
}

#[test]
fn a_member_that_refuses_a_question_because_of_one_line_is_asked_for_the_others() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[]);
    let beta = realm.participant_with(BETA, &["--strict-heads"]);
    shared_with_python(&alpha, &beta);
    // Of this one it is no member: it has not answered.
    alpha.says(&["channel", "create", "second"]);
    alpha.says(&["channel", "invite", "second", BETA]);
    until("invitation", PATIENCE, || (!beta.does(&["invitations"]).is_empty()).then_some(()));
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    let alpha = realm.node_in(folder, ALPHA, &[]);
    until("an answer for its line", PATIENCE, || {
        let channels = alpha.json(&["channel", "list"])["channels"].as_array()?.clone();
        channels.iter().any(|channel| channel["channel"] == CHANNEL && channel["caught_up"] == true).then_some(())
    });
}

#[test]
fn a_member_of_a_hub_in_python_takes_its_line_and_names_what_is_wrong_with_it() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[]);
    let beta = realm.participant(BETA);
    beta.does(&["create", "!lab:beta.test"]);
    beta.does(&["invite", "!lab:beta.test", ALPHA]);
    until("invitation", PATIENCE, || {
        let invitations = alpha.json(&["channel", "invitations"]);
        (invitations["invitations"][0]["channel"] == "!lab:beta.test").then_some(())
    });
    alpha.says(&["channel", "accept", "!lab:beta.test"]);
    beta.does(&["publish", "!lab:beta.test", "--type", "note", "--data", r#"{"said":"a"}"#, "--count", "10"]);
    alpha.says(&["send", "!lab:beta.test", r#"{"said":"b"}"#]);
    until("line", PATIENCE, || (said(&log(&alpha, "!lab:beta.test")).len() == 11).then_some(()));
    alpha.says(&["channel", "verify", "!lab:beta.test"]);
    // Its answer to a join says nothing of the event: that is in the line, and is sent no more.
    until("outbox", PATIENCE, || (alpha.json(&["federation", "status"])["others"][0]["waiting"] == 0).then_some(()));
    // The hub goes on with an event that does not follow from the last one.
    let answer = beta.attacks("wrong-prev", ALPHA, &["--channel", "!lab:beta.test"]);
    assert_ne!(answer["body"]["processed"].as_array().map(Vec::len), Some(1), "{answer}");
    until("fault", PATIENCE, || {
        let channels = alpha.json(&["channel", "list"]);
        let faults = channels["channels"][0]["faults"].as_array()?.clone();
        faults.iter().any(|fault| fault.as_str().is_some_and(|text| text.contains("does not follow"))).then_some(())
    });
    assert_eq!(said(&log(&alpha, "!lab:beta.test")).len(), 11, "what does not follow is not there");
    // The hub gives a place to another event: the proof stays, and anybody can have it.
    beta.attacks("duplicate-seq", ALPHA, &["--channel", "!lab:beta.test"]);
    let proof = |alpha: &Node| {
        let faults = alpha.json(&["channel", "list"])["channels"][0]["faults"].to_string();
        faults
            .contains("hub_equivocation")
            .then(|| alpha.json(&["channel", "proof", "!lab:beta.test"])["proofs"].clone())
    };
    let found = until("proof", PATIENCE, || proof(&alpha));
    assert_eq!(found[0]["channel"], "!lab:beta.test", "{found}");
    assert_ne!(found[0]["orders"][0]["id"], found[0]["orders"][1]["id"], "{found}");
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    let alpha = realm.node_in(folder, ALPHA, &[]);
    assert_eq!(proof(&alpha), Some(found), "it is not forgotten");
}

/// What each attack is answered: the status, and the code of the problem or of the event that is rejected.
const ATTACKS: &[(&str, u64, &str)] = &[
    ("wrong-destination", 421, "wrong_destination"),
    ("old-ts", 401, "clock_skew"),
    ("future-ts", 401, "clock_skew"),
    ("unknown-key", 401, "bad_signature"),
    ("changed-body", 401, "bad_signature"),
    ("changed-query", 401, "bad_signature"),
    ("changed-sig", 401, "bad_signature"),
    ("changed-path", 401, "bad_signature"),
    ("changed-method", 405, "bad_request"),
    ("header-twice", 400, "bad_request"),
    ("name-twice", 400, "bad_request"),
    ("no-header", 401, "bad_signature"),
    ("no-ts", 401, "bad_signature"),
    ("no-nonce", 401, "bad_signature"),
    ("no-sig", 401, "bad_signature"),
    ("no-key", 401, "bad_signature"),
    ("forged-origin", 401, "bad_signature"),
    ("bad-json", 400, "bad_request"),
    ("duplicate-key", 400, "bad_request"),
    ("quoted-header", 200, ""),
    ("padded-sig", 200, ""),
    ("txn-same", 200, ""),
    ("txn-changed", 409, "conflict"),
    ("other-body-origin", 400, "bad_request"),
    ("other-inviter", 400, "bad_request"),
    ("other-invitee", 400, "bad_request"),
    ("unknown-channel", 403, "not_member"),
    ("send-unknown-channel", 200, "not_member"),
    ("many-events", 400, "bad_request"),
    ("deep-json", 400, "bad_request"),
    ("forged-author", 200, "forbidden"),
    ("wrong-id", 200, "bad_request"),
    ("bad-event-sig", 200, "bad_signature"),
    ("duplicate-seq", 200, "conflict"),
    ("author-gap", 200, "unavailable"),
    ("big-event", 200, "too_large"),
];

#[test]
fn each_attack_is_refused_with_its_cause_and_changes_nothing() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[("COMITY_FEDERATION_REQUESTS_PER_MINUTE", "1000")]);
    let beta = realm.participant(BETA);
    shared_with_python(&alpha, &beta);
    beta.does(&["publish", CHANNEL, "--type", "note", "--data", r#"{"said":"a"}"#, "--count", "3"]);
    until("line", PATIENCE, || (said(&log(&alpha, CHANNEL)).len() == 3).then_some(()));
    let before = line(&log(&alpha, CHANNEL));
    for (name, status, code) in ATTACKS {
        let answer = beta.attacks(name, ALPHA, &["--channel", CHANNEL]);
        assert_eq!(answer["status"], *status, "{name}: {answer}");
        let body = &answer["body"];
        let told = if *status == 200 { &body["rejected"][0]["code"] } else { &body["code"] };
        assert_eq!(told.as_str().unwrap_or_default(), *code, "{name}: {answer}");
    }
    assert_eq!(line(&log(&alpha, CHANNEL)), before);
    for (name, _, code) in ATTACKS.iter().filter(|(_, status, code)| *status == 200 && !code.is_empty()) {
        let figure = alpha.figure(&format!("comity_federation_rejected_events_total{{code=\"{code}\"}}"));
        assert!(figure > 0.0, "{name}: what is rejected is counted by its code");
    }
    // A nonce counts once, also for a node that was killed meanwhile.
    let again = beta.attacks("reused-nonce", ALPHA, &["--channel", CHANNEL]);
    assert_eq!((&again["status"], &again["body"]["code"]), (&json!(401), &json!("replayed")), "{again}");
    // Nonces go to the disk within 20 ms, or with what comes next and is waited for.
    alpha.says(&["send", CHANNEL, "on disk"]);
    alpha.signal("KILL");
    let (_, folder) = alpha.stop_after_signal();
    let alpha = realm.node_in(folder, ALPHA, &[]);
    let again = beta.attacks("repeat", ALPHA, &["--channel", CHANNEL]);
    assert_eq!((&again["status"], &again["body"]["code"]), (&json!(401), &json!("replayed")), "{again}");
    drop(alpha);
}

#[test]
fn a_changed_key_is_believed_only_when_the_old_one_signed_it_or_a_person_says_so() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[]);
    let beta = realm.participant(BETA);
    shared_with_python(&alpha, &beta);
    let key = |alpha: &Node| alpha.json(&["federation", "status"])["others"][0].clone();
    let first = key(&alpha)["key"].clone();
    beta.does(&["rotate"]);
    beta.does(&["publish", CHANNEL, "--type", "note", "--data", r#"{"said":"new key"}"#]);
    until("event by the new key", PATIENCE, || (said(&log(&alpha, CHANNEL)).len() == 1).then_some(()));
    let second = key(&alpha);
    assert_ne!(second["key"], first);
    assert_eq!(second["old_keys"], json!([first]));
    alpha.says(&["channel", "verify", CHANNEL]);
    // The next key is not signed by the one before.
    beta.does(&["rotate", "--forget"]);
    beta.does(&["publish", CHANNEL, "--type", "note", "--data", r#"{"said":"stolen name"}"#]);
    let refused = until("refused key", PATIENCE, || Some(key(&alpha)).filter(|other| !other["key_changed"].is_null()));
    assert_eq!(refused["key"], second["key"], "the pin stays");
    assert!(refused["key_changed"].as_str().is_some_and(|text| text.contains("comity trust beta.test")), "{refused}");
    assert_eq!(said(&log(&alpha, CHANNEL)).len(), 1, "nothing of it is taken");
    alpha.says(&["trust", BETA]);
    until("event by the trusted key", PATIENCE, || (said(&log(&alpha, CHANNEL)).len() == 2).then_some(()));
}

/// Stops a node that speaks for this origin, gives it a new key, and starts it again.
fn with_a_new_key(realm: &Realm, node: Node, origin: &str) -> Node {
    let (_, folder) = node.stop();
    let mut rotate = comity_tests::node::comity(&["key", "rotate", "--yes", "--json", "--data-dir"]);
    let printed = peers::output(rotate.arg(folder.path()).env("COMITY_FEDERATION_ORIGIN", origin));
    let rotated: Value = serde_json::from_str(&printed).expect("JSON");
    let node = realm.node_in(folder, origin, &[]);
    assert_eq!(rotated["new"], node.status["node"]);
    node
}

#[test]
fn a_key_is_rotated_and_nobody_has_to_trust_the_new_one() {
    let realm = Realm::of(&[ALPHA, BETA, "gamma.test"]);
    let (alpha, beta) = (realm.node(ALPHA, &[]), realm.participant(BETA));
    let gamma = realm.node("gamma.test", &[]);
    shared_with_python(&alpha, &beta);
    alpha.says(&["channel", "invite", "project", "gamma.test"]);
    until("invitation", PATIENCE, || {
        let invitations = gamma.json(&["channel", "invitations"]);
        (invitations["invitations"][0]["channel"] == CHANNEL).then_some(())
    });
    gamma.says(&["channel", "accept", CHANNEL]);
    is_member(&alpha, "gamma.test");
    alpha.says(&["send", CHANNEL, r#"{"said":"one"}"#]);
    gamma.says(&["send", CHANNEL, r#"{"said":"two"}"#]);
    until("events", PATIENCE, || (said(&log(&gamma, CHANNEL)).len() == 2).then_some(()));
    // First the hub's, then a member's.
    let alpha = with_a_new_key(&realm, alpha, ALPHA);
    let gamma = with_a_new_key(&realm, gamma, "gamma.test");
    // The hub asks its members first what it may have lost.
    until("hub", PATIENCE, || alpha.run(&["send", CHANNEL, r#"{"said":"three"}"#]).status.success().then_some(()));
    gamma.says(&["send", CHANNEL, r#"{"said":"four"}"#]);
    beta.does(&["publish", CHANNEL, "--type", "note", "--data", r#"{"said":"five"}"#]);
    for node in [&alpha, &gamma] {
        until("events", PATIENCE, || (said(&log(node, CHANNEL)).len() == 5).then_some(()));
        node.says(&["channel", "verify", CHANNEL]);
        let folder = Folder::new();
        let file = folder.path().join("log");
        node.says(&["channel", "log", CHANNEL, "--export", &file.display().to_string()]);
        holds(&file, true);
    }
    until("events there", PATIENCE, || (said(&beta.does(&["events", CHANNEL])).len() == 5).then_some(()));
    let status = beta.does(&["status"]).pop().expect("a status");
    assert_eq!(status["findings"], json!([]), "{status}");
    alpha.says(&["journal", "verify"]);
}

#[test]
fn a_member_that_is_blocked_is_sent_nothing_and_nothing_waits_for_it() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let (alpha, beta) = (realm.node(ALPHA, &[]), realm.node(BETA, &[]));
    shared(&alpha, &beta);
    let again = |alpha: Node, variables: &[(&str, &str)]| {
        alpha.signal("KILL");
        let (_, folder) = alpha.stop_after_signal();
        let alpha = realm.node_in(folder, ALPHA, variables);
        // A hub that starts waits for nobody whom it does not ask.
        until("hub", PATIENCE, || (alpha.json(&["channel", "list"])["channels"][0]["caught_up"] == true).then_some(()));
        alpha
    };
    let alpha = again(alpha, &[("COMITY_FEDERATION_BLOCKED", BETA)]);
    alpha.says(&["send", CHANNEL, r#"{"said":"among us"}"#]);
    assert_eq!(alpha.json(&["federation", "status"])["others"][0]["waiting"], 0);
    let refused = alpha.run(&["channel", "invite", "project", BETA]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("blocked"), "{refused:?}");
    assert_eq!(said(&log(&beta, CHANNEL)), Vec::<String>::new());
    let _alpha = again(alpha, &[]);
    until("event", PATIENCE, || (said(&log(&beta, CHANNEL)) == ["among us"]).then_some(()));
}

#[test]
fn no_name_leads_a_node_into_its_own_network() {
    let mut realm = Realm::of(&[ALPHA, BETA]);
    let alpha = realm.node(ALPHA, &[]);
    alpha.says(&["channel", "create", "project"]);
    let refused = |alpha: &Node, why: &str| {
        let said = alpha.run(&["channel", "invite", "project", BETA]);
        let told = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && told.contains(why), "{why}: {told}");
    };
    for (address, why) in [
        ("169.254.169.254", "metadata service"),
        ("127.0.0.1", "private address"),
        ("192.168.1.1", "private address"),
        ("10.77.1.1", "private address"),
    ] {
        realm.rename(BETA, address);
        refused(&alpha, why);
    }
    // A document that leads elsewhere, or never ends.
    realm.rename(BETA, &realm.host(BETA).address.clone());
    for (kind, why) in [
        ("redirect=https://169.254.169.254/", "metadata service"),
        ("redirect=https://127.0.0.1/", "private address"),
        ("redirect=http://beta.test/", "redirected"),
        ("redirect=https://beta.test/again", "redirected"),
        ("endless", "larger than"),
        ("other", "none"),
    ] {
        let mut liar = peers::python("origin_liar.py");
        liar.arg(kind).arg(realm.host(BETA).address).arg(realm.file(BETA, "crt")).arg(realm.file(BETA, "key"));
        let mut liar = Lines::start(&mut realm.host(BETA).run(&liar));
        liar.wait_for("liar", PATIENCE, |line| (line == "ready").then_some(()));
        refused(&alpha, why);
    }
}

/// A node with one tool, which alpha and beta may call with short texts.
pub(crate) fn with_a_tool(realm: &Realm, origin: &str) -> Node {
    let folder = Folder::new();
    let config = r#"
        [tools.words]
        kind = "command"
        [tools.words.commands.say]
        command = ["printf", "%s", "{text}"]
        description = "Says it."

        [[policy]]
        origin = "alpha.test"
        server = "words"
        tool = "say"
        effect = "allow"
        [policy.arguments]
        text = { max_length = 20 }

        [[policy]]
        origin = "beta.test"
        server = "words"
        tool = "say"
        effect = "allow"
    "#;
    std::fs::write(folder.path().join("comity.toml"), config).expect("it is ours");
    realm.node_in(folder, origin, &[])
}

#[test]
fn a_tool_runs_for_another_origin_as_the_policy_says_and_the_journal_has_it() {
    let realm = Realm::of(&[ALPHA, BETA, "gamma.test"]);
    let (alpha, beta, gamma) = (realm.node(ALPHA, &[]), with_a_tool(&realm, BETA), realm.node("gamma.test", &[]));
    let tools = until("tool", PATIENCE, || {
        let tools = alpha.json(&["tool", "list", "--origin", BETA]);
        tools["tools"].as_array().filter(|tools| !tools.is_empty()).cloned()
    });
    assert_eq!((&tools[0]["server"], &tools[0]["name"]), (&json!("beta.test/words"), &json!("say")));
    let call = |node: &Node, text: &str| {
        let params = json!({ "text": text }).to_string();
        node.run(&["tool", "call", "beta.test/words", "say", "--params", &params])
    };
    let said = call(&alpha, "good morning");
    assert!(said.status.success(), "{said:?}");
    assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), "good morning");
    // Beyond what the policy allows, or by somebody whom it does not know.
    for (node, text) in [(&alpha, "x".repeat(21)), (&gamma, "good morning".to_owned())] {
        let said = call(node, &text);
        assert_eq!(said.status.code(), Some(4), "{said:?}");
        assert!(String::from_utf8_lossy(&said.stderr).contains("forbidden"), "{said:?}");
    }
    assert_eq!(gamma.json(&["tool", "list", "--origin", BETA])["tools"], json!([]));
    let journaled = until("entries", PATIENCE, || {
        let entries = beta.says(&["journal", "query", "--type", "tool_called", "--json"]);
        let entries: Vec<Value> = entries.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (entries.len() >= 3).then_some(entries)
    });
    let told = journaled.iter().map(|entry| entry["data"].to_string()).collect::<Vec<_>>().join("\n");
    assert!(told.contains("alpha.test") && told.contains("gamma.test") && told.contains("forbidden"), "{told}");
    // Whoever only calls is known by the same key when the node has started again.
    beta.signal("KILL");
    let (_, folder) = beta.stop_after_signal();
    let beta = realm.node_in(folder, BETA, &[]);
    let others = beta.json(&["federation", "status"])["others"].clone();
    let key = |origin: &str| {
        let known = others.as_array().into_iter().flatten().find(|other| other["origin"] == origin);
        known.map(|other| other["key"].clone())
    };
    assert_eq!(key(ALPHA).as_ref(), Some(&alpha.status["node"]), "{others}");
    assert_eq!(key("gamma.test").as_ref(), Some(&gamma.status["node"]), "{others}");
}

#[test]
fn a_participant_of_another_program_calls_a_tool() {
    let realm = Realm::of(&[ALPHA, BETA]);
    let (_alpha, beta) = (with_a_tool(&realm, ALPHA), realm.participant(BETA));
    let called = until("result", PATIENCE, || {
        let called = beta.does(&["call", "alpha.test/words", "say", "--params", r#"{"text":"hello"}"#]).pop()?;
        called.to_string().contains("hello").then_some(called)
    });
    assert!(!called.to_string().contains("\"error\":{"), "{called}");
    let refused = beta.does(&["call", "alpha.test/words", "shout", "--params", "{}"]).pop().expect("an answer");
    assert!(refused.to_string().contains("forbidden") || refused.to_string().contains("unknown_tool"), "{refused}");
}
