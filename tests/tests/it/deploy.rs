//! What is in `deploy/`, used as it is written there: the broker's two configurations and its access list, the
//! relay's, the compose file, the services. The image has its own tests.

use comity_tests::deployed::{self, BrokerSettings};
use comity_tests::folder::Folder;
use comity_tests::lab::{Host, Lab};
use comity_tests::lines::Lines;
use comity_tests::node::{Node, comity};
use comity_tests::{PATIENCE, peers};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// The secret between coturn and its users.
const SECRET: &str = "static-auth-secret=n0rth\n";

fn told(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A client of Mosquitto's at this host and port.
fn client(on: &Host, program: &str, host: &str, port: &str, words: &[&str]) -> Command {
    let mut command = on.command(program);
    command.args(["-V", "5", "-h", host, "-p", port]).args(words);
    command
}

#[test]
fn the_broker_of_a_laptop_serves_this_machine_and_nobody_else() {
    let (folder, lab) = (Folder::new(), Lab::bridge(1));
    let host = lab.host(1);
    fs::copy(deployed::file("mosquitto.conf"), folder.path().join("mosquitto.conf")).expect("the folder is ours");
    let _broker = deployed::mosquitto(&host, &[(folder.path(), "/etc/mosquitto")]);
    let mut announce = comity(&["announce", "--broker", "mqtt://127.0.0.1:1883", "--capability", "sing", "--data-dir"]);
    let announce = announce.arg(folder.path().join("ann"));
    let mut announcing = Lines::start(&mut host.run(announce));
    announcing.wait_for("announcement", PATIENCE, |line| line.contains("announced").then_some(()));
    let mut discover = comity(&["discover", "--broker", "ws://127.0.0.1:9001", "--json", "--data-dir"]);
    let found = peers::output(&mut host.run(discover.arg(folder.path().join("bob"))));
    assert!(found.contains("sing"), "{found}");
    for port in ["1883", "9001"] {
        let mut connect = host.command("curl");
        let refused = connect.args(["--max-time", "5", &format!("telnet://{}:{port}", host.address)]).output();
        let refused = refused.expect("curl is there");
        assert_eq!(refused.status.code(), Some(7), "{port} is open on {}: {}", host.address, told(&refused));
    }
}

/// A key, and the id that goes with it, before there is a node.
fn identity() -> (Folder, String) {
    let node = Node::alone("identity", &[]);
    let id = node.id();
    (node.stop().1, id)
}

#[test]
fn at_the_broker_of_a_server_every_node_speaks_only_for_itself() {
    let (folder, lab) = (Folder::new(), Lab::bridge(4));
    let ((ann_home, ann), (bob_home, bob), (carl_home, carl)) = (identity(), identity(), identity());
    let server = lab.host(4);
    let settings = BrokerSettings::new(&folder, &format!("IP:{}", server.address), &[&carl]);
    for (user, password) in [(ann.as_str(), "pw-ann"), (&bob, "pw-bob"), ("mallory", "pw-mallory")] {
        settings.user(user, password);
    }
    let _broker = settings.start(&server);
    let path = |name: &str| settings.file(name).display().to_string();
    let (authority, cert, key) = (path("ca.crt"), path(&format!("{carl}.crt")), path(&format!("{carl}.key")));
    let login = |url, id, password| {
        [
            ("MQTT_BROKER", url),
            ("COMITY_MQTT_CA_FILE", authority.as_str()),
            ("COMITY_MQTT_USERNAME", id),
            ("COMITY_MQTT_PASSWORD", password),
        ]
    };
    let at = |port: &str| format!("mqtts://{}:{port}", server.address);
    let (tls, web, certified) = (at("8883"), format!("wss://{}:9001", server.address), at("8884"));
    let by_certificate = [
        ("MQTT_BROKER", certified.as_str()),
        ("COMITY_MQTT_CA_FILE", &authority),
        ("COMITY_MQTT_CERT_FILE", &cert),
        ("COMITY_MQTT_KEY_FILE", &key),
    ];
    let nodes = [
        Node::on_in(&lab.host(1), ann_home, "ann", &["--no-mdns"], &login(&tls, &ann, "pw-ann")),
        Node::on_in(&lab.host(2), bob_home, "bob", &["--no-mdns"], &login(&web, &bob, "pw-bob")),
        Node::on_in(&lab.host(3), carl_home, "carl", &["--no-mdns"], &by_certificate),
    ];
    for (node, other) in [(0, 1), (1, 2), (2, 0)] {
        nodes[node]
            .sees("announced peer", &nodes[other].id(), PATIENCE, |peer| peer["sources"].to_string().contains("mqtt"));
    }
    for node in &nodes {
        assert!(!node.json(&["doctor"]).to_string().contains("mqtt:"), "nothing is denied: {}", node.json(&["doctor"]));
    }
    refuses_mallory(&server, &settings, &ann);
    let seen = nodes[1].peer(&ann).expect("ann is there");
    assert_eq!(seen["presence"], "online", "what mallory said changed nothing: {seen}");
}

/// One who may come in, and says what is not hers.
fn refuses_mallory(server: &Host, settings: &BrokerSettings, ann: &str) {
    let ca = settings.file("ca.crt").display().to_string();
    let tls = ["--cafile", &ca];
    let mallory = [&tls[..], &["-u", "mallory", "-P", "pw-mallory"]].concat();
    let publish = |topic: &str, body: &str| {
        let topic = format!("mindgit/kernels/{topic}");
        let words = [&mallory[..], &["-q", "1", "-t", &topic, "-m", body]].concat();
        told(&client(server, "mosquitto_pub", &server.address, "8883", &words).output().expect("it runs"))
    };
    for topic in ["announce", "capabilities/sing", "goodbye"] {
        let said = publish(&format!("{ann}/{topic}"), "{}");
        assert!(said.contains("Not authorized"), "{topic} of another: {said}");
        let said = publish(&format!("mallory/{topic}"), "{}");
        assert!(!said.contains("Not authorized"), "{topic} of her own: {said}");
    }
    let said = publish(&format!("{ann}/signal/somebody"), "{}");
    assert!(said.contains("Not authorized"), "signals in another's name: {said}");

    let listen = |words: &[&str]| {
        let mut shell = server.command("stdbuf");
        shell.args(["-oL", "mosquitto_sub", "-V", "5", "-h", &server.address, "-p", "8883", "-d", "-F", "%t %p"]);
        let mut lines = Lines::start(shell.args(words));
        lines.wait_for("subscription", PATIENCE, |line| line.contains("SUBACK").then_some(()));
        lines
    };
    // Whoever asks for all hears what all may hear, and no signals of others.
    let mut spying = listen(&[&mallory[..], &["-t", "mindgit/kernels/#"]].concat());
    let signals = format!("mindgit/kernels/{ann}/signal/+");
    let mut reading = listen(&[&tls[..], &["-u", ann, "-P", "pw-ann", "-t", &signals]].concat());
    let signal = format!("mindgit/kernels/{ann}/signal/mallory");
    assert!(!publish(&format!("{ann}/signal/mallory"), "sealed").contains("Not authorized"), "everybody may signal");
    reading.wait_for("signal", PATIENCE, |line| (line == format!("{signal} sealed")).then_some(()));
    // The client id that anybody could make of ann's id is not hers: nobody is thrown out, so no will is published.
    let guessed = format!("comity-{}", &ann.replace('-', "")[..12]);
    let words = [&mallory[..], &["-i", &guessed, "-t", "mindgit/kernels/mallory/announce", "-m", "{}"]].concat();
    peers::output(&mut client(server, "mosquitto_pub", &server.address, "8883", &words));
    publish("mallory/goodbye", "last");
    spying.wait_for("own goodbye", PATIENCE, |line| line.ends_with("goodbye last").then_some(()));
    assert!(!spying.seen().iter().any(|line| line.starts_with(&signal)), "{:?}", spying.seen());
    let goodbye = format!("mindgit/kernels/{ann}/goodbye");
    assert!(!spying.seen().iter().any(|line| line.starts_with(&goodbye)), "{:?}", spying.seen());

    let refused = |port: &str, words: &[&str]| {
        let words = [words, &["-t", "x", "-m", "x", "-q", "1"]].concat();
        let output = client(server, "mosquitto_pub", &server.address, port, &words).output().expect("it runs");
        assert!(!output.status.success(), "{port} {words:?}: {}", told(&output));
    };
    refused("8883", &tls);
    refused("8883", &[&tls[..], &["-u", "mallory", "-P", "wrong"]].concat());
    refused("8883", &["-u", "mallory", "-P", "pw-mallory"]);
    refused("8884", &mallory);
}

/// What turnutils_uclient says of sending five messages there and back by the relay.
fn relayed(from: &Host, relay: &Host, peer: &str, words: &[&str]) -> String {
    let mut uclient = Command::new("timeout");
    uclient.args(["30", "turnutils_uclient", "-u", "ann", "-e", peer, "-r", "13480", "-n", "5", "-m", "1"]);
    told(&from.run(uclient.args(words).arg(&relay.address)).output().expect("coturn's tools are there"))
}

/// Addresses that are not private, for the peer and the relay: nothing leads from the lab to who really has them.
const PUBLIC: [&str; 2] = ["45.9.9.2", "45.9.9.3"];

#[test]
fn the_relay_relays_for_those_who_know_the_secret_and_not_into_its_own_network() {
    let (folder, lab) = (Folder::new(), Lab::bridge(3));
    let (client, peer, relay) = (lab.host(1), lab.host(2), lab.host(3));
    for (host, address) in [&peer, &relay].into_iter().zip(PUBLIC) {
        peers::output(host.command("ip").args(["address", "add", &format!("{address}/24"), "dev", "eth0"]));
    }
    certificate_for_the_relay(&folder);
    let config = deployed::uncommented(&deployed::text("coturn.conf"));
    let config = config.replace("/etc/coturn", &folder.path().display().to_string());
    let allowed = format!("allowed-peer-ip={}\n", peer.address);
    let mut coturn = deployed::coturn(&relay, &folder, &format!("{config}{SECRET}{allowed}"));
    let echo = |address: &str| Lines::start(peer.command("turnutils_peer").args(["-p", "13480", "-L", address]));
    let _echoes = [echo(PUBLIC[0]), echo(&peer.address)];
    for (address, words) in [(PUBLIC[0], &["-W", "n0rth"][..]), (&peer.address, &["-W", "n0rth", "-t"])] {
        let said = relayed(&client, &relay, address, words);
        assert!(said.contains("tot_recv_msgs=10") && said.contains("Total lost packets 0"), "{words:?}: {said}");
    }
    let said = relayed(&client, &relay, PUBLIC[0], &["-W", "south"]);
    assert!(said.contains("Cannot complete Allocation"), "{said}");
    for private in [&client.address, "127.0.0.1", "169.254.169.254"] {
        let said = relayed(&client, &relay, private, &["-W", "n0rth"]);
        assert!(said.contains("403") && said.contains("Forbidden IP"), "{private}: {said}");
    }
    // Its own client does not speak TLS to it: only that the port is there, with its certificate.
    let mut handshake = client.command("openssl");
    handshake.args(["s_client", "-brief", "-verify_return_error", "-CAfile"]).arg(folder.path().join("server.crt"));
    let handshake = handshake.args(["-connect", &format!("{}:5349", relay.address)]).stdin(Stdio::null());
    let handshake = handshake.output().expect("openssl is there");
    assert!(told(&handshake).contains("Verification: OK"), "{}", told(&handshake));
    coturn.signal("TERM");
    coturn.ended(Duration::from_secs(10));
    let log = coturn.seen().join("\n");
    assert!(!log.contains("Bad configuration format") && !log.contains("cannot find"), "{log}");
}

fn certificate_for_the_relay(folder: &Folder) {
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=relay"]);
    peers::output(openssl.args(["-keyout", "server.key", "-out", "server.crt"]).current_dir(folder.path()));
    let key = folder.path().join("server.key");
    peers::output(Command::new("chgrp").arg("turnserver").arg(&key));
    peers::output(Command::new("chmod").arg("640").arg(&key));
}

#[test]
fn the_compose_file_is_valid_and_names_what_is_there() {
    let file = deployed::file("compose.yaml");
    peers::output(peers::python_tool("check-jsonschema").args(["--builtin-schema", "vendor.compose-spec"]).arg(&file));
    let mut compose = Command::new("docker-compose");
    compose.arg("-f").arg(&file).args(["config"]).env_remove("RELAY");
    assert!(!compose.output().expect("it was installed").status.success(), "a relay that nobody reaches is no relay");
    let printed = peers::output(compose.env("RELAY", "192.0.2.1"));
    for service in ["mosquitto:", "coturn:", "node:"] {
        assert!(printed.lines().any(|line| line.trim() == service), "no {service} in {printed}");
    }
    let bound = printed.lines().find_map(|line| line.trim().strip_prefix("- ")?.strip_suffix(":ro"));
    let (bound, _) = bound.and_then(|line| line.split_once(':')).expect("the broker's configuration is bound");
    assert!(Path::new(bound).is_file(), "{bound}");
    // Its variables are settings of the node: one that does not exist ends it with the code of a wrong command line.
    let variables = printed.lines().filter_map(|line| line.trim().split_once(": "));
    let variables: Vec<_> = variables.filter(|(name, value)| name.starts_with("COMITY_") && *value != "null").collect();
    assert!(variables.len() >= 3, "{printed}");
    let folder = Folder::new();
    let secret = folder.path().join("turn");
    fs::write(&secret, "n0rth\n").expect("the folder is ours");
    let mut show = comity(&["config", "show", "--json", "--data-dir"]);
    show.arg(folder.path()).envs(variables).env("COMITY_WEBRTC_SECRET_FILE", &secret);
    let shown: Value = serde_json::from_str(&peers::output(&mut show)).expect("JSON");
    assert!(shown.to_string().contains("mqtt://127.0.0.1:1883"), "{shown}");
    assert!(shown.to_string().contains("turn:192.0.2.1"), "{shown}");
}

#[test]
fn the_services_are_as_systemd_wants_them() {
    let (folder, programs) = (Folder::new(), Folder::new());
    let program = std::env::var_os("TESTED_COMITY").expect("set by `cargo xtask test`");
    std::os::unix::fs::symlink(&program, programs.path().join("comity")).expect("the folder is ours");
    let bin = folder.path().join(".cargo/bin");
    fs::create_dir_all(&bin).expect("the folder is ours");
    std::os::unix::fs::symlink(&program, bin.join("comity")).expect("the folder is ours");
    // With its secrets, as a drop-in beside it.
    let service = folder.path().join("comity.service");
    fs::copy(deployed::file("systemd/comity.service"), &service).expect("the folder is ours");
    let more = folder.path().join("comity.service.d");
    fs::create_dir(&more).expect("the folder is ours");
    fs::copy(deployed::file("systemd/comity-secrets.conf"), more.join("secrets.conf")).expect("the folder is ours");
    for (words, unit) in [(&[][..], &service), (&["--user"], &deployed::file("systemd/comity-user.service"))] {
        let mut verify = Command::new("systemd-analyze");
        verify.arg("verify").args(words).arg(unit);
        verify.env("HOME", folder.path()).env("XDG_RUNTIME_DIR", folder.path());
        let mut verify = deployed::placed(&[(programs.path(), "/usr/local/bin")], &verify);
        let verified = verify.output().expect("systemd-analyze is there");
        assert!(verified.status.success() && verified.stderr.is_empty(), "{}: {}", unit.display(), told(&verified));
    }
    let mut security = Command::new("systemd-analyze");
    peers::output(security.args(["security", "--offline=true", "--threshold=20"]).arg(&service));
}
