//! The node's container image: built from scratch, and run as `deploy/compose.yaml` does. The first build of its
//! static program takes six minutes on two cores; later ones only what changed.

use comity_tests::PATIENCE;
use comity_tests::container::Image;
use comity_tests::deployed::BrokerSettings;
use comity_tests::folder::Folder;
use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use comity_tests::node::text;
use comity_tests::{peers, until};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longer than a node takes to leave, shorter than what podman waits until it kills.
const LEAVE: Duration = Duration::from_secs(8);

/// Who looks at the broker, by a certificate.
const WATCHER: &str = "watcher";

fn json(command: &mut Command) -> Value {
    let printed = peers::output(command);
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

#[test]
fn the_image_runs_a_node_that_answers_and_leaves_when_it_is_told() {
    let (image, lab) = (Image::build(), Lab::bridge(1));
    let host = lab.host(1);
    let comity = image.context().join("system/comity");
    let linked = Command::new("ldd").arg(&comity).output().expect("ldd is there");
    let linked = [linked.stdout, linked.stderr].concat();
    let linked = String::from_utf8_lossy(&linked).into_owned();
    assert!(linked.contains("statically linked") || linked.contains("not a dynamic executable"), "{linked}");

    let start = || {
        let mut node = image.run(&host, "node", &["--volume", "kept:/data"], &["up", "--name", "boxed"]);
        node.process.wait_for("ready line", PATIENCE, |line| line.starts_with("ready boxed").then_some(()));
        node
    };
    let node = start();
    let inspected = json(&mut image.podman(&host, &["inspect", "node"]));
    let config = &inspected[0]["Config"];
    assert_eq!((&config["User"], &config["StopSignal"]), (&"65532:65532".into(), &15.into()), "{config}");
    let image_config = json(&mut image.podman(&host, &["image", "inspect", "localhost/comity"]));
    let check = &image_config[0]["Healthcheck"]["Test"];
    let check: Vec<String> = serde_json::from_value(check.clone()).expect("the image has a health check");
    assert_eq!(check[0], "CMD");
    let check: Vec<&str> = check[1..].iter().map(String::as_str).collect();
    peers::output(&mut node.inside(&check));

    let mut curl = host.command("curl");
    let health = json(curl.args(["--silent", "--show-error", "--fail", "http://127.0.0.1:8500/health"]));
    assert_eq!(health["status"], "healthy", "{health}");
    let status = json(&mut node.inside(&["/comity", "status", "--json"]));
    let sees_disk = json(&mut node.inside(&["/comity", "doctor", "--json"])).to_string();
    assert!(sees_disk.contains("/data"), "{sees_disk}");

    let begun = Instant::now();
    peers::output(&mut node.stop(30));
    assert!(begun.elapsed() < LEAVE, "it was killed, or slow: {:?}", begun.elapsed());
    let mut node = node;
    assert!(node.process.ended(PATIENCE).success());
    drop(node);

    let mut again = start();
    assert_eq!(
        json(&mut again.inside(&["/comity", "status", "--json"]))["id"],
        status["id"],
        "the volume keeps the key"
    );
    let begun = Instant::now();
    again.process.signal("TERM");
    assert!(again.process.ended(PATIENCE).success(), "SIGTERM is no failure");
    assert!(begun.elapsed() < LEAVE, "{:?}", begun.elapsed());
}

#[test]
fn in_the_image_names_are_resolved_and_certificates_checked_by_its_authorities() {
    let (folder, image, lab) = (Folder::new(), Image::build(), Lab::bridge(2));
    let (host, server) = (lab.host(1), lab.host(2));
    let bundle = image.context().join("system/etc/ssl/certs/ca-certificates.crt");
    let bundle = fs::read_to_string(bundle).expect("the image has authorities");
    assert!(bundle.matches("BEGIN CERTIFICATE").count() > 50, "they are those of a system");

    let mut node = image.run(&host, "first", &["--volume", "kept:/data"], &["up"]);
    node.process.wait_for("ready line", PATIENCE, |line| line.starts_with("ready").then_some(()));
    let id = text(&json(&mut node.inside(&["/comity", "status", "--json"]))["id"]);
    node.process.signal("TERM");
    assert!(node.process.ended(PATIENCE).success());
    drop(node);

    let settings = BrokerSettings::new(&folder, "DNS:broker.example.test", &[WATCHER]);
    settings.user(&id, "n0de");
    let _broker = settings.start(&server);
    let mut names = server.run(&peers::python("names.py"));
    let mut names = Lines::start(names.args([&server.address, "broker.example.test", &server.address]));
    names.wait_for("name server", PATIENCE, |line| (line == "ready").then_some(()));

    fs::write(folder.path().join("password"), "n0de\n").expect("the folder is ours");
    let authority = format!("{}:/etc/ssl/certs/ca-certificates.crt:ro", settings.file("ca.crt").display());
    let password = format!("{}:/run/secrets/mqtt:ro", folder.path().join("password").display());
    let user = format!("--env=COMITY_MQTT_USERNAME={id}");
    let options = ["--volume=kept:/data", "--volume", &authority, "--volume", &password, "--dns", &server.address];
    let more = ["--env=COMITY_MQTT_PASSWORD_FILE=/run/secrets/mqtt", &user, "--no-hosts"];
    let words = ["up", "--no-mdns", "--broker", "mqtts://broker.example.test"];
    let mut node = image.run(&host, "second", &[&options[..], &more].concat(), &words);
    node.process.wait_for("ready line", PATIENCE, |line| line.starts_with("ready").then_some(()));
    let mut listen = server.command("mosquitto_sub");
    listen.args(["-h", "127.0.0.1", "-p", "8884", "--insecure", "-t", &format!("mindgit/kernels/{id}/announce")]);
    for (option, file) in
        [("--cafile", "ca.crt"), ("--cert", &format!("{WATCHER}.crt")), ("--key", &format!("{WATCHER}.key"))]
    {
        listen.arg(option).arg(settings.file(file));
    }
    let mut listening = Lines::start(&mut listen);
    listening.wait_for("announcement", PATIENCE, |line| line.contains(&id).then_some(()));
    until("a broker that is well", PATIENCE, || {
        let seen = node.inside(&["/comity", "doctor"]).output().expect("podman is there");
        String::from_utf8_lossy(&seen.stdout).contains("discovery by mqtt    works").then_some(())
    });
}
