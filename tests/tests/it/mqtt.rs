//! Discovery at a real broker, Eclipse Mosquitto, with its own client, a foreign kernel in Python, and
//! liars. Nodes look for nobody by mDNS here.

use comity_tests::folder::Folder;
use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use comity_tests::mosquitto::{Kind, Mosquitto};
use comity_tests::node::{Node, comity};
use comity_tests::{PATIENCE, peers, until};
use serde_json::Value;
use std::time::{Duration, Instant};

fn node_at(name: &str, broker: &Mosquitto, words: &[&str]) -> Node {
    Node::alone(name, &[&["--broker", &broker.url()], words].concat())
}

/// What a listener of Mosquitto's prints of one topic: whether it was kept, and the body.
fn said(line: &str, topic: &str) -> Option<(bool, String)> {
    let rest = line.strip_prefix("mindgit/kernels/")?.strip_prefix(topic)?.strip_prefix(' ')?;
    let (kept, body) = rest.split_once(' ').unwrap_or((rest, ""));
    Some((kept == "1", body.to_owned()))
}

fn sees_by_mqtt(node: &Node, other: &Node) {
    node.sees("announced peer", &other.id(), PATIENCE, |peer| {
        peer["sources"].as_array().is_some_and(|sources| sources.contains(&"mqtt".into()))
    });
}

/// What MQTT discovery at this broker lists, by a command without a node.
fn listed(broker: &Mosquitto) -> Vec<Value> {
    let folder = Folder::new();
    let mut command = comity(&["federation:peers", "--broker", &broker.url(), "--json", "--data-dir"]);
    let printed = peers::output(command.arg(folder.path()));
    let list: Value = serde_json::from_str(&printed).expect("JSON");
    list["peers"].as_array().cloned().expect("a list")
}

fn dropped(node: &Node, cause: &str) -> f64 {
    node.figure(&format!("comity_discovery_mqtt_dropped_messages_total{{cause=\"{cause}\"}}"))
}

/// What `comity doctor` says, whether or not all is well.
fn health(node: &Node) -> String {
    String::from_utf8_lossy(&node.run(&["doctor", "--json"]).stdout).into_owned()
}

#[test]
fn two_nodes_find_each_other_at_mosquitto_and_become_linked() {
    let broker = Mosquitto::start(Kind::Plain);
    let ann = node_at("ann", &broker, &[]);
    let bob = node_at("bob", &broker, &["--capability", "sing"]);
    ann.knows(&bob);
    sees_by_mqtt(&ann, &bob);
    sees_by_mqtt(&bob, &ann);
    let found = listed(&broker);
    let of_bob = found.iter().find(|peer| peer["id"] == bob.id().as_str()).expect("bob is announced");
    assert_eq!((&of_bob["signed"], &of_bob["node"]), (&true.into(), &bob.status["node"]));
    assert_eq!(of_bob["capabilities"], serde_json::json!(["sing"]));
    assert!(!of_bob.to_string().contains("bob"), "no name without leave: {of_bob}");
}

#[test]
fn mosquittos_own_client_sees_what_the_protocol_says() {
    let broker = Mosquitto::start(Kind::Plain);
    let node = node_at("ann", &broker, &["--capability", "sing"]);
    let id = node.id();
    until("own announcement", PATIENCE, || listed(&broker).iter().any(|peer| peer["id"] == id.as_str()).then_some(()));
    let mut listener = broker.listener();
    let announce = format!("{id}/announce");
    let (kept, body) = listener.wait_for("announcement", PATIENCE, |line| said(line, &announce));
    assert!(kept, "it is kept for those who come later");
    let info: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&info["id"], &info["publicKey"]), (&id.as_str().into(), &node.status["node"]));
    for field in ["url", "protocols", "protocolVersion", "metadata", "lastSeen", "expiresAt", "session", "sig"] {
        assert!(!info[field].is_null(), "{field} is missing: {info}");
    }
    let capability = format!("{id}/capabilities/sing");
    let (kept, body) = listener.wait_for("capability", PATIENCE, |line| said(line, &capability));
    assert!(kept && body.contains("\"sig\""), "{body}");
    let (status, _folder) = node.stop();
    assert!(status.success(), "{status}");
    let left = |listener: &mut Lines, topic: &str| listener.wait_for(topic, PATIENCE, |line| said(line, topic)).1;
    assert_eq!(left(&mut listener, &announce), "", "it is withdrawn");
    assert_eq!(left(&mut listener, &capability), "");
    assert!(left(&mut listener, &format!("{id}/goodbye")).contains("\"sig\""));
    assert_eq!(listed(&broker), Vec::<Value>::new(), "nothing is left of it");
}

#[test]
fn a_killed_nodes_goodbye_is_said_by_the_broker() {
    let broker = Mosquitto::start(Kind::Plain);
    let (ann, bob) = (node_at("ann", &broker, &[]), node_at("bob", &broker, &[]));
    ann.knows(&bob);
    until("data channel", PATIENCE, || ann.peer(&bob.id()).filter(|peer| peer["link"] == "webrtc"));
    let mut listener = broker.listener();
    let mut changes = ann.follow(&["peers", "--watch"]);
    let goodbye = format!("{}/goodbye", bob.id());
    bob.signal("KILL");
    let (_, body) = listener.wait_for("will", Duration::from_secs(5), |line| said(line, &goodbye));
    let noticed = Instant::now();
    assert!(body.contains("connection lost") && body.contains("\"sig\""), "{body}");
    ann.sees_in(&mut changes, "loss", &bob.id(), PATIENCE, |peer| peer["presence"] != "online");
    let took = noticed.elapsed();
    println!("acted on {took:?} after the broker said so");
    assert!(took < Duration::from_secs(2), "{took:?}");
    ann.sees("end of waiting", &bob.id(), PATIENCE, |peer| peer["presence"] == "unreachable");
}

#[test]
fn a_password_opens_a_broker_and_what_it_denies_is_said() {
    let broker = Mosquitto::start(Kind::Passwords);
    let url = broker.url();
    let with = |name: &str, user: &str, password: &str| {
        let variables =
            [("MQTT_BROKER", url.as_str()), ("COMITY_MQTT_USERNAME", user), ("COMITY_MQTT_PASSWORD", password)];
        Node::alone_with(name, &variables)
    };
    let (ann, other) = (with("ann", "ann", "s3cret"), with("other", "ann", "s3cret"));
    ann.knows(&other);
    let wrong = with("wrong", "ann", "hunter3");
    let reader = with("reader", "bob", "hunter2");
    for (node, wanted) in [(&wrong, "check mqtt.username and mqtt.password"), (&reader, "access list")] {
        let seen = until("trouble", PATIENCE, || Some(health(node)).filter(|health| health.contains(wanted)));
        assert!(seen.contains(&url) && !seen.contains("hunter"), "{seen}");
    }
    assert!(!health(&ann).contains("mqtt:"), "all is well: {}", health(&ann));
}

#[test]
fn a_client_certificate_opens_a_broker_by_tls() {
    let broker = Mosquitto::start(Kind::Tls);
    let file = |name: &str| broker.file(name).display().to_string();
    let (url, ca, cert, key) = (broker.url(), file("ca.crt"), file("client.crt"), file("client.key"));
    let own = [
        ("MQTT_BROKER", url.as_str()),
        ("COMITY_MQTT_CA_FILE", &ca),
        ("COMITY_MQTT_CERT_FILE", &cert),
        ("COMITY_MQTT_KEY_FILE", &key),
    ];
    let (ann, bob) = (Node::alone_with("ann", &own), Node::alone_with("bob", &own));
    ann.knows(&bob);
    sees_by_mqtt(&ann, &bob);
    let (other, other_key) = (file("other.crt"), file("other.key"));
    let others = [own[0], own[1], ("COMITY_MQTT_CERT_FILE", &other), ("COMITY_MQTT_KEY_FILE", &other_key)];
    let wrong_authority = [own[0], ("COMITY_MQTT_CA_FILE", &other), own[2], own[3]];
    for (name, variables, wanted) in [
        ("no certificate", &own[..2], "check mqtt.cert_file"),
        ("another's certificate", &others[..], "check mqtt.cert_file"),
        ("no authority", &own[..1], "check mqtt.ca_file"),
        ("another authority", &wrong_authority[..], "check mqtt.ca_file"),
    ] {
        let stranger = Node::alone_with("stranger", variables);
        let seen = until(name, PATIENCE, || Some(health(&stranger)).filter(|health| health.contains(wanted)));
        assert!(seen.contains(&url), "{name}: {seen}");
        assert!(stranger.peer(&ann.id()).is_none(), "{name}");
    }
}

#[test]
fn nodes_find_each_other_by_websocket() {
    let broker = Mosquitto::start(Kind::WebSocket);
    let (ann, bob) = (node_at("ann", &broker, &[]), node_at("bob", &broker, &[]));
    ann.knows(&bob);
    sees_by_mqtt(&bob, &ann);
}

#[test]
fn a_foreign_kernel_is_listed_unsigned_and_goes_with_its_goodbye() {
    let broker = Mosquitto::start(Kind::Plain);
    let node = node_at("ann", &broker, &[]);
    let mut kernel = Lines::start(peers::python("kernel.py").args([&broker.port().to_string(), "kitchen"]));
    kernel.wait_for("announcement", PATIENCE, |line| (line == "ready").then_some(()));
    let find = || listed(&broker).into_iter().find(|peer| peer["id"] == "kitchen");
    let seen = until("foreign kernel", PATIENCE, find);
    assert_eq!((&seen["signed"], &seen["trust"], &seen["node"]), (&false.into(), &"unverified".into(), &Value::Null));
    let abilities = until("capability of its own topic", PATIENCE, || {
        find().map(|peer| peer["capabilities"].clone()).filter(|all| all.as_array().is_some_and(|all| all.len() == 2))
    });
    assert_eq!(abilities, serde_json::json!(["paint", "cook"]));
    let id = seen["peer"].as_str().expect("a UUID").to_owned();
    node.sees("foreign kernel", &id, PATIENCE, |peer| {
        peer["name"] == "kitchen" && peer["trust"] == "unverified" && peer["sources"] == serde_json::json!(["mqtt"])
    });
    assert!(kernel.ended(PATIENCE).success());
    assert!(find().is_none());
    until("goodbye", PATIENCE, || node.peer(&id).is_none().then_some(()));
}

#[test]
fn liars_change_nothing_and_are_counted_by_cause() {
    let broker = Mosquitto::start(Kind::Plain);
    let url = broker.url();
    let often = [("MQTT_BROKER", url.as_str()), ("COMITY_MQTT_INTERVAL_SECONDS", "4"), ("COMITY_CAPABILITIES", "sing")];
    let (ann, bob) = (Node::alone_with("ann", &often), Node::alone_with("bob", &often));
    ann.knows(&bob);
    sees_by_mqtt(&ann, &bob);
    let mut liar = Lines::start(peers::python("mqtt_liar.py").args([&broker.port().to_string(), &bob.id()]));
    liar.wait_for("end of the lies", PATIENCE * 2, |line| (line == "done").then_some(()));
    for cause in ["not_json", "unsigned", "other_id", "expired", "signature", "replayed", "field"] {
        until(cause, PATIENCE, || (dropped(&ann, cause) > 0.0).then_some(()));
    }
    let seen = ann.peer(&bob.id()).expect("bob is there");
    assert_eq!((&seen["presence"], &seen["capabilities"]), (&"online".into(), &serde_json::json!(["sing"])));
    assert!(seen["sources"].as_array().is_some_and(|all| all.contains(&"mqtt".into())), "{seen}");
    assert_eq!(ann.json(&["peers"])["peers"].as_array().map(Vec::len), Some(1), "nobody was made up");
}

#[test]
fn a_hundred_thousand_ids_at_once_push_out_nobody_who_signed() {
    let broker = Mosquitto::start(Kind::Plain);
    let (ann, bob) = (node_at("ann", &broker, &[]), node_at("bob", &broker, &[]));
    ann.knows(&bob);
    sees_by_mqtt(&ann, &bob);
    let mut liar = Lines::start(peers::python("mqtt_liar.py").args([&broker.port().to_string(), "nobody", "flood"]));
    liar.wait_for("end of the flood", Duration::from_secs(120), |line| (line == "done").then_some(()));
    until("refusals", PATIENCE, || (dropped(&ann, "full") > 0.0).then_some(()));
    let seen = ann.peer(&bob.id()).expect("bob is there");
    assert!(seen["presence"] == "online" && seen["sources"].to_string().contains("mqtt"), "{seen}");
    ann.says(&["send", "bob", "still here"]);
    assert!(ann.memory() < 200 * 1024, "{} KiB", ann.memory());
}

#[test]
fn a_broker_that_was_away_is_used_again() {
    let broker = Mosquitto::start(Kind::Plain);
    let (url, ann, bob) = (broker.url(), node_at("ann", &broker, &[]), node_at("bob", &broker, &[]));
    ann.knows(&bob);
    until("broker", PATIENCE, || (!health(&ann).contains("mqtt:")).then_some(()));
    let back = broker.away();
    until("trouble", PATIENCE, || health(&ann).contains(&url).then_some(()));
    ann.says(&["send", &bob.id(), "the node goes on"]);
    let broker = back();
    until("announcement", PATIENCE, || {
        listed(&broker).iter().any(|peer| peer["id"] == ann.id().as_str()).then_some(())
    });
    until("health", PATIENCE, || (!health(&ann).contains(&url)).then_some(()));
    sees_by_mqtt(&ann, &bob);
}

#[test]
fn brokers_that_come_and_go_cost_neither_time_nor_memory() {
    let broker = Mosquitto::start(Kind::Plain);
    let (ann, bob) = (node_at("ann", &broker, &[]), node_at("bob", &broker, &[]));
    ann.knows(&bob);
    let announced = |broker: &Mosquitto| {
        let wanted = [ann.id(), bob.id()];
        until("both announced again", PATIENCE * 2, || {
            let all = listed(broker);
            wanted.iter().all(|id| all.iter().any(|peer| peer["id"] == id.as_str())).then_some(())
        });
    };
    announced(&broker);
    let (memory, cpu, start) = (ann.memory(), ann.processor_time(), Instant::now());
    let mut broker = broker;
    for _ in 0..4 {
        broker = broker.away()();
        announced(&broker);
        ann.says(&["send", &bob.id(), "the link stays"]);
    }
    let (grown, used) = (ann.memory().saturating_sub(memory), ann.processor_time().saturating_sub(cpu));
    println!("{grown} KiB more, {used:?} of processor time in {:?}", start.elapsed());
    assert!(grown < 8 * 1024, "{grown} KiB, {memory} KiB before");
    assert!(used < start.elapsed() / 5, "{used:?} of processor time");
}

#[test]
fn hosts_that_share_a_broker_are_linked_within_a_second_and_nothing_they_say_passes_it() {
    let lab = Lab::bridge(3);
    let (took, _) = meet_and_talk(&lab);
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn hosts_that_share_only_a_broker_signal_through_it_sealed() {
    let lab = Lab::bridge(3);
    lab.close_ports(1, 2);
    let (_, signals) = meet_and_talk(&lab);
    assert!(signals > 0);
}

/// Two hosts, and a broker on the third, become linked and talk: how long the link took, and how many signals passed
/// the broker. What passed it is looked at.
fn meet_and_talk(lab: &Lab) -> (Duration, usize) {
    let broker = Mosquitto::on(&lab.host(3));
    let mut capture = broker.listener();
    let words = ["--no-mdns", "--broker", &broker.url()];
    let ann = Node::on(&lab.host(1), "ann", &words);
    let mut changes = ann.follow(&["peers", "--watch"]);
    let start = Instant::now();
    let bob = Node::on(&lab.host(2), "bob", &words);
    until("announced peer", PATIENCE, || ann.peer(&bob.id()));
    let listed = start.elapsed();
    ann.sees_in(&mut changes, "linked peer", &bob.id(), PATIENCE, |peer| peer["presence"] == "online");
    let linked = start.elapsed();
    println!("listed {listed:?} and linked {linked:?} after it was started");
    assert!(listed < Duration::from_secs(2), "{listed:?}");
    for (node, other) in [(&ann, &bob), (&bob, &ann)] {
        until("data channel", PATIENCE, || node.peer(&other.id()).filter(|peer| peer["link"] == "webrtc"));
    }
    ann.says(&["send", &bob.id(), "the-cat-is-out"]);
    until("message", PATIENCE, || bob.says(&["inbox"]).contains("the-cat-is-out").then_some(()));
    let goodbyes = [&ann, &bob].map(|node| format!("{}/goodbye", node.id()));
    for node in [ann, bob] {
        let (_, _folder) = node.stop();
    }
    for goodbye in goodbyes {
        if !capture.seen().iter().any(|line| said(line, &goodbye).is_some()) {
            capture.wait_for("goodbye", PATIENCE, |line| said(line, &goodbye));
        }
    }
    let plain = ["the-cat-is-out", "candidate:", "ice-ufrag", "10.77.0.1 ", "10.77.0.2 "];
    let leak = capture.seen().iter().find(|line| plain.iter().any(|plain| line.contains(plain)));
    assert_eq!(leak, None);
    let topics =
        capture.seen().iter().filter_map(|line| line.strip_prefix("mindgit/kernels/")?.split(['/', ' ']).nth(1));
    assert!(topics.clone().all(|topic| ["announce", "goodbye", "signal"].contains(&topic)), "{:?}", capture.seen());
    (linked, topics.filter(|topic| *topic == "signal").count())
}

#[test]
fn nobody_announces_beside_a_node_with_its_key_and_one_broker_that_is_away_does_no_harm() {
    let broker = Mosquitto::start(Kind::Plain);
    let node = node_at("ann", &broker, &[]);
    sees_announced(&broker, &node.id());
    let announced = node.run(&["announce", "--broker", &broker.url()]);
    assert!(!announced.status.success(), "{announced:?}");
    assert!(String::from_utf8_lossy(&announced.stderr).contains("belongs to a running node"), "{announced:?}");
    sees_announced(&broker, &node.id());
    let found = node.run(&["discover", "--broker", "mqtt://127.0.0.1:1", "--broker", &broker.url(), "--timeout", "2s"]);
    assert!(found.status.success(), "{found:?}");
    assert!(String::from_utf8_lossy(&found.stderr).contains("mqtt://127.0.0.1:1"), "{found:?}");
    let none = node.run(&["discover", "--broker", "mqtt://127.0.0.1:1", "--timeout", "2s"]);
    assert!(!none.status.success(), "{none:?}");
}

fn sees_announced(broker: &Mosquitto, id: &str) {
    until("announcement", PATIENCE, || listed(broker).iter().any(|peer| peer["id"] == id).then_some(()));
}

#[test]
fn commands_find_and_announce_without_a_node() {
    let broker = Mosquitto::start(Kind::Plain);
    let folder = Folder::new();
    let url = broker.url();
    let command = |words: &[&str]| {
        let mut command = comity(&[words, &["--broker", &url, "--json", "--data-dir"]].concat());
        command.arg(folder.path());
        command
    };
    let mut announcing =
        Lines::start(&mut command(&["federation:announce", "--interval", "1", "--capability", "sing"]));
    announcing.wait_for("ready line", PATIENCE, |line| line.contains("announced").then_some(()));
    let found = peers::output(&mut command(&["discover", "--capability", "sing"]));
    let found: Value = serde_json::from_str(&found).expect("JSON");
    assert_eq!(found["peers"].as_array().map(Vec::len), Some(1), "{found}");
    announcing.signal("TERM");
    assert!(announcing.ended(PATIENCE).success());
    let found = peers::output(&mut command(&["federation:discover", "--timeout", "2s"]));
    assert_eq!(serde_json::from_str::<Value>(&found).expect("JSON"), serde_json::json!({"peers": []}));
}

#[test]
fn who_watches_where_no_broker_works_is_told_so() {
    let folder = Folder::new();
    let said = folder.path().join("said");
    let mut command = comity(&["federation:peers", "--watch", "--broker", "mqtt://127.0.0.1:1", "--data-dir"]);
    let stderr = std::fs::File::create(&said).expect("a file");
    let _watching = Lines::start(command.arg(folder.path()).stderr(stderr));
    let is_named = || std::fs::read_to_string(&said).expect("a file").contains("mqtt://127.0.0.1:1").then_some(());
    until("trouble", PATIENCE, is_named);
}

#[test]
fn the_embedded_broker_serves_nodes_and_mosquittos_client() {
    let folder = Folder::new();
    let mut command = comity(&["broker", "--listen", "127.0.0.1:0", "--ws", "127.0.0.1:0", "--json", "--data-dir"]);
    let mut broker = Lines::start(command.arg(folder.path()));
    let urls = broker.wait_for("ready line", PATIENCE, |line| {
        let ready: Value = serde_json::from_str(line).ok()?;
        ready["urls"]
            .as_array()
            .map(|urls| urls.iter().filter_map(|url| url.as_str().map(str::to_owned)).collect::<Vec<_>>())
    });
    let ann = Node::alone("ann", &["--broker", &urls[0]]);
    let bob = Node::alone("bob", &["--broker", &urls[1]]);
    ann.knows(&bob);
    broker.signal("TERM");
    assert!(broker.ended(PATIENCE).success());
}
