//! The metrics door: health, and metrics as `promtool` reads them.

use comity_tests::folder::Folder;
use comity_tests::http::{curl, get, post};
use comity_tests::node::Node;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn promtool_finds_nothing_to_say_about_the_metrics() {
    let node = Node::alone("ann", &[]);
    let other = Node::alone("bob", &["--peer", &node.url()]);
    other.knows(&node);
    other.says(&["send", "ann", "count me", "--priority", "normal"]);
    let metrics = get(&format!("{}/metrics", node.metrics_url()));
    assert_eq!(metrics.status, 200);
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut promtool = promtool.spawn().expect("promtool is installed");
    promtool.stdin.take().expect("a pipe").write_all(metrics.body.as_bytes()).expect("promtool reads");
    let said = promtool.wait_with_output().expect("it is our own child");
    let said_text = format!("{}{}", String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success() && said_text.trim().is_empty(), "{said_text}\n{}", metrics.body);
    let names = metrics.body.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    for name in names {
        assert!(name.starts_with("comity_"), "{name}");
    }
    let openmetrics =
        curl(&["-H", "Accept: application/openmetrics-text", &format!("{}/metrics", node.metrics_url())], None);
    assert!(openmetrics.headers.contains("content-type: application/openmetrics-text"), "{openmetrics:?}");
    assert!(openmetrics.body.ends_with("# EOF\n"), "OpenMetrics ends with its mark");
}

#[test]
fn health_has_all_its_paths_and_every_check_a_history() {
    let node = Node::alone("ann", &[]);
    for path in ["/health", "/health/live", "/livez", "/health/ready", "/readyz", "/health/checks"] {
        let reply = get(&format!("{}{path}", node.metrics_url()));
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
    }
    let checks = get(&format!("{}/health/checks", node.metrics_url())).json();
    let checks = checks["checks"].as_array().expect("a list");
    assert!(checks.len() >= 5, "{checks:?}");
    for check in checks {
        assert!(check["history"].as_array().is_some_and(|history| !history.is_empty()), "{check}");
    }
}

#[test]
fn that_secrets_are_not_taken_out_is_said_in_log_and_health() {
    let folder = Folder::new();
    let config = folder.path().join("comity.toml");
    std::fs::write(&config, "[redaction]\nenabled = false\n").expect("it is ours");
    let (off, log) = Node::logged("ann", &["--config", &config.display().to_string()], "warn");
    let said = std::fs::read_to_string(log.path().join("log")).expect("it is text");
    assert!(said.contains("WARN") && said.contains("redaction is switched off"), "{said}");
    let state = |node: &Node| {
        let health = get(&format!("{}/health", node.metrics_url())).json();
        let check = health["checks"].as_array().into_iter().flatten().find(|check| check["name"] == "redaction");
        check.expect("there is a check")["status"].clone()
    };
    assert_eq!([state(&off), state(&Node::alone("bob", &[]))], ["degraded", "healthy"]);
}

#[test]
fn the_metrics_are_not_on_the_network_door_and_take_no_orders() {
    let node = Node::alone("ann", &[]);
    assert_eq!(get(&format!("{}/metrics", node.url())).status, 404);
    assert!(post(&format!("{}/metrics", node.metrics_url()), "{}").status >= 400);
}

#[test]
fn doctor_says_that_all_is_well_or_what_to_do() {
    let node = Node::alone("ann", &[]);
    let checkup = node.json(&["doctor"]);
    let checks = checkup["checks"].as_array().expect("a list");
    assert!(!checks.is_empty());
    for check in checks {
        assert!(check["state"] != "ill", "{check}");
        assert!(check["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{check}");
    }
}
