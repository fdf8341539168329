//! The page of the control door in a real browser: a peer by WebRTC, directly and through a relay, and what it is made
//! of, against the vectors.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::http::curl;
use comity_tests::lab::{Host, Lab};
use comity_tests::lines::Lines;
use comity_tests::node::Node;
use comity_tests::peers;
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

/// How long the page may take for what it is told to do: to come back, attempts that come to nothing
/// end first.
const PAGE_TIME: Duration = Duration::from_secs(70);

/// A person at the node's page, in headless Chromium on the node's own host.
struct Person {
    chromium: Lines,
    /// What the page said once it had joined, or could not.
    joined: Value,
}

impl Person {
    fn join(node: &Node, host: &Host, folder: &Folder, words: &[&str]) -> Self {
        let code = node.json(&["code"]);
        let text = |name: &str| code[name].as_str().expect("text").to_owned();
        let mut chromium = peers::javascript("join.mjs", folder);
        chromium.args([text("page"), text("code"), folder.path().join("profile").display().to_string()]).args(words);
        let mut chromium = Lines::start(&mut host.run(&chromium));
        let joined = answer(&mut chromium);
        Self { chromium, joined }
    }

    fn id(&self) -> String {
        self.joined["id"].as_str().unwrap_or_else(|| panic!("it has not joined: {}", self.joined)).to_owned()
    }

    fn told(&mut self, order: &Value) -> Value {
        self.chromium.say(&order.to_string());
        let answer = answer(&mut self.chromium);
        assert!(answer["failed"].is_null(), "{order}: {answer}");
        answer
    }

    /// Closes the browser; nothing may have gone wrong on the page.
    fn end(mut self) {
        self.chromium.close();
        assert_eq!(answer(&mut self.chromium), json!({"wrong": []}));
        assert!(self.chromium.ended(PATIENCE).success());
    }
}

fn answer(chromium: &mut Lines) -> Value {
    let line = chromium.next(PAGE_TIME).unwrap_or_else(|| panic!("the page says nothing: {:?}", chromium.seen()));
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Waits until the node lists the page as a peer, with this kind of link.
fn is_linked(node: &Node, id: &str, link: &str) {
    node.sees(&format!("page linked by {link}"), id, PATIENCE, |peer| {
        peer["name"] == "browser" && peer["trust"] == "verified" && peer["presence"] == "online" && peer["link"] == link
    });
}

#[test]
fn a_page_joins_talks_both_ways_and_leaves() {
    let (lab, folder) = (Lab::bridge(1), Folder::new());
    let host = lab.host(1);
    let node = Node::on(&host, "ann", &["--no-mdns"]);
    let mut person = Person::join(&node, &host, &folder, &[]);
    let id = person.id();
    assert_eq!(person.joined["way"], "WebRTC, directly", "{}", person.joined);
    is_linked(&node, &id, "webrtc");
    let seen = person.told(&json!({"see": "browser"}));
    assert!(seen["more"].as_str().is_some_and(|more| more.contains("this page")), "{seen}");

    let said = person.told(&json!({"say": "good morning <b>ann</b>"}));
    assert!(said["head"].as_str().is_some_and(|head| head.ends_with("inbox")), "{said}");
    let inbox = node.json(&["inbox", "--peek"]);
    let message = &inbox["items"][0]["message"];
    assert_eq!((&message["payload"], &message["from"]), (&"good morning <b>ann</b>".into(), &id.clone().into()));
    assert_eq!((&message["trust"], &message["via"]), (&"verified".into(), &"link".into()));
    let said = person.told(&json!({"say": "use less", "to": "_suggestions"}));
    assert!(said["head"].as_str().is_some_and(|head| head.contains("_suggestions")), "{said}");
    let said = person.told(&json!({"say": "anybody", "to": "custom:nobody"}));
    assert!(said["head"].as_str().is_some_and(|head| head.ends_with("not subscribed")), "{said}");

    node.says(&["send", &id, "good day <img src=x> \u{202e}browser"]);
    assert_eq!(person.told(&json!({"hear": "good day"}))["words"], "good day <img src=x> browser");
    person.told(&json!({"see": "webrtc"}));
    // Large enough to be compressed; too large for a compact message, then, since nothing compresses it that far.
    for (begin, rest) in [("first", "again ".repeat(2000)), ("second", letters(100_000))] {
        node.says(&["send", "_suggestions", &format!("{begin} {rest}")]);
        let heard = person.told(&json!({"hear": begin}));
        let shown = heard["words"].as_str().and_then(|words| words.strip_prefix(begin)).expect("its words");
        assert!(shown.len() > 9000 && rest.starts_with(shown.trim()), "{shown}");
    }
    let asked = node.run(&["ask", &id, "who are you", "--json"]);
    let (said, wrong) = (String::from_utf8_lossy(&asked.stdout), String::from_utf8_lossy(&asked.stderr));
    assert!(said.contains("no_answerer") || wrong.contains("nobody answers"), "{said}{wrong}");
    let looked = person.told(&json!({"look": true}));
    assert_eq!(looked, json!({"wide": false, "unnamed": 0, "extractable": false, "markup": 0}));

    person.told(&json!({"leave": true}));
    node.sees("page that said goodbye", &id, PATIENCE, |peer| peer["presence"] == "offline");
    person.end();
}

#[test]
fn a_page_that_goes_through_relays_only_is_linked_by_one() {
    let (lab, folder) = (Lab::bridge(2), Folder::new());
    let (host, relay) = (lab.host(1), lab.host(2));
    let mut turn = relayed_by(&relay);
    let server = format!("turn:{}", relay.address);
    let settings = [("COMITY_WEBRTC_SERVERS", server.as_str()), ("COMITY_WEBRTC_SECRET", "north")];
    let node = Node::on_with(&host, "ann", &["--no-mdns"], &settings);
    let mut person = Person::join(&node, &host, &folder, &["relay"]);
    assert_eq!(person.joined["way"], "WebRTC, through a relay", "{}", person.joined);
    is_linked(&node, &person.id(), "webrtc-relay");
    person.told(&json!({"say": "by a relay"}));
    assert_eq!(node.json(&["inbox", "--peek"])["items"][0]["message"]["payload"], "by a relay");
    node.says(&["send", &person.id(), "and back"]);
    person.told(&json!({"hear": "and back"}));
    person.told(&json!({"leave": true}));
    person.end();
    turn.wait_for("relayed packets", PATIENCE, |line| line.contains("peer usage:").then_some(()));
}

/// So many letters, of which none follows from those before it.
fn letters(count: usize) -> String {
    let mut state = 1u64;
    let letter = |state: &mut u64| {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[(*state >> 58) as usize])
    };
    (0..count).map(|_| letter(&mut state)).collect()
}

/// coturn on this host, which lends to whoever makes a password of the secret `north`.
fn relayed_by(host: &Host) -> Lines {
    let mut command = host.command("stdbuf");
    command.args(["-oL", "turnserver", "-n", "--realm=test.local", "--no-tls", "--no-dtls", "--no-cli", "-v"]);
    command.args(["--use-auth-secret", "--static-auth-secret=north", "--log-file=stdout", "--simple-log"]);
    command.args(["--pidfile=/dev/null", "--db=:memory:"]);
    command.args([format!("--listening-ip={}", host.address), format!("--relay-ip={}", host.address)]);
    let mut turn = Lines::start(&mut command);
    turn.wait_for("running server", PATIENCE, |line| line.contains("UDP listener opened on").then_some(()));
    turn
}

/// A node, and a page on its host that is linked with it.
fn linked(host: &Host, folder: &Folder) -> (Node, Person) {
    let node = Node::on(host, "ann", &["--no-mdns"]);
    let person = Person::join(&node, host, folder, &[]);
    is_linked(&node, &person.id(), "webrtc");
    (node, person)
}

/// Takes its address from a host, or gives it back.
fn address(host: &Host, change: &str) {
    let address = format!("{}/24", host.address);
    peers::output(host.command("ip").args(["addr", change, &address, "dev", "eth0"]));
}

#[test]
fn a_page_whose_path_breaks_says_so_and_comes_back_as_the_same_peer() {
    let (lab, folder) = (Lab::bridge(1), Folder::new());
    let host = lab.host(1);
    let (node, mut person) = linked(&host, &folder);
    address(&host, "del");
    person.told(&json!({"state": "trying again"}));
    address(&host, "add");
    person.told(&json!({"state": "Joined."}));
    is_linked(&node, &person.id(), "webrtc");
    person.told(&json!({"say": "back again"}));
    assert_eq!(node.json(&["inbox", "--peek"])["items"][0]["message"]["payload"], "back again");
    person.told(&json!({"leave": true}));
}

#[test]
fn a_page_that_tries_to_come_back_keeps_its_key_and_stops_when_the_person_leaves() {
    let (lab, folder) = (Lab::bridge(1), Folder::new());
    let host = lab.host(1);
    let (node, mut person) = linked(&host, &folder);
    person.told(&json!({"tab": true}));
    person.told(&json!({"offers": "refuse"}));
    address(&host, "del");
    person.told(&json!({"state": "trying again"}));
    address(&host, "add");
    person.told(&json!({"state": "Failed to fetch; trying again"}));
    assert_eq!(person.told(&json!({"held": true})), json!({"held": false}), "another tab could join");
    person.told(&json!({"offers": "hold"}));
    person.told(&json!({"leave": true}));
    person.told(&json!({"offers": "pass"}));
    assert_eq!(person.told(&json!({"stays": "Left."})), json!({"stays": true}));
    assert_eq!(person.told(&json!({"held": true})), json!({"held": true}), "now another tab may join");
    node.sees("page that has left", &person.id(), PATIENCE, |peer| peer["presence"] != "online");
}

#[test]
fn what_the_page_is_given_is_not_the_secret_and_nothing_without_a_session() {
    let settings =
        [("COMITY_WEBRTC_SERVERS", "stun:127.0.0.1,turn:127.0.0.1?transport=tcp"), ("COMITY_WEBRTC_SECRET", "north")];
    let node = Node::alone_with("ann", &settings);
    let at = |path: &str| format!("{}{path}", node.control_url());
    for path in ["/control/ice", "/control/node", "/control/peers/changes"] {
        assert_eq!(curl(&[&at(path)], None).status, 401, "{path}");
    }
    let offer = ["-H", "Content-Type: application/sdp"];
    assert_eq!(curl(&[&offer[..], &[at("/dashflow/rtc").as_str()]].concat(), Some("v=0")).status, 401);
    let token = format!("Authorization: Bearer {}", node.token());
    let lent = curl(&["-H", &token, &at("/control/ice")], None).json();
    assert_eq!(lent["servers"][0], json!({"urls": "stun:127.0.0.1:3478"}));
    let server = &lent["servers"][1];
    assert_eq!(server["urls"], "turn:127.0.0.1:3478?transport=tcp");
    let until = server["username"].as_str().and_then(|name| name.split(':').next()?.parse::<u64>().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs();
    assert!(until.is_some_and(|until| (now + 3500..=now + 3600).contains(&until)), "{lent}");
    assert!(!lent.to_string().contains("north"), "{lent}");
    // Signed by nobody, it is no offer, whoever has a session.
    let unsigned = curl(&[&offer[..], &["-H", &token, at("/dashflow/rtc").as_str()]].concat(), Some("v=0"));
    unsigned.refused(401, "bad_signature");

    let page = curl(&[&at("/")], None);
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.headers.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{page:?}");
    assert_eq!(curl(&[&at("/page/page.js")], None).status, 200);
    for path in ["/page/../control/node", "/page/%2e%2e%2fcontrol%2fnode", "/page/nothing.js"] {
        assert!([401, 404].contains(&curl(&["--path-as-is", &at(path)], None).status), "{path}");
    }
    assert_eq!(curl(&["-H", "Origin: https://evil.example", &at("/")], None).status, 403);
    assert_eq!(curl(&["-H", "Host: evil.example", &at("/")], None).status, 421);
}

#[test]
fn without_webrtc_the_page_says_so() {
    let node = Node::alone_with("ann", &[("COMITY_WEBRTC_ENABLED", "false")]);
    let token = format!("Authorization: Bearer {}", node.token());
    let refused = curl(&["-H", &token, &format!("{}/control/ice", node.control_url())], None);
    assert!(
        refused.refused(409, "conflict")["detail"].as_str().is_some_and(|detail| detail.contains("webrtc.enabled"))
    );
}

#[test]
fn the_page_reads_and_signs_as_the_vectors_say() {
    let root = comity_tests::root();
    let folder = Folder::new();
    let mut node: Command = peers::javascript("frames.mjs", &folder);
    let printed = peers::output(node.arg(root.join("web")).arg(root.join("crates/comity-core/vectors")));
    let counted: Value = serde_json::from_str(printed.trim()).unwrap_or_else(|error| panic!("{error}: {printed}"));
    assert!(counted["frames"].as_u64() >= Some(8) && counted["signatures"].as_u64() >= Some(16), "{counted}");
}
