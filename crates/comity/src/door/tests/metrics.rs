//! The metrics door.

use super::*;
use crate::door::guards::Names;
use crate::door::health::{Checks, first_checks};
use crate::store::DiskHealth;
use crate::store::journal::{self, NotAppended};

/// What Prometheus asks for.
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5";

async fn scrape(home: &Home, checks: &Checks, path: &str) -> Reply {
    let router = metrics(home.handle.clone(), checks.clone(), Names::loopback());
    let request = Request::get(path).header("host", "localhost").header("accept", OPENMETRICS);
    let request = request.body(Body::empty()).expect("a request");
    Reply::of(router.oneshot(request).await.expect("routers do not fail")).await
}

#[tokio::test]
async fn metrics_are_openmetrics_text_and_count_refusals_by_code() {
    let home = Home::open().await;
    let checks = Checks::new(Vec::new());
    assert_eq!(home.post("{").await.status, 400);
    assert_eq!(home.get("/dashflow/status").await.status, 200);
    let reply = scrape(&home, &checks, "/metrics").await;
    assert_eq!(reply.headers["content-type"], "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(reply.text.ends_with("# EOF\n"));
    for line in [
        r#"comity_errors_refused_requests_total{door="network",code="bad_request"} 1"#,
        r#"comity_system_requests_total{door="network",status="2xx"} 1"#,
        r#"comity_system_requests_total{door="network",status="4xx"} 1"#,
    ] {
        assert!(reply.text.lines().any(|written| written == line), "{line}\n{}", reply.text);
    }
}

#[tokio::test]
async fn a_healthy_node_passes_its_first_checks_and_says_when_the_disk_refuses() {
    let home = Home::open().await;
    let (disk, health) = watch::channel(DiskHealth::Working);
    let (journaling, journal) = watch::channel(journal::Disk::Working);
    let checks = Checks::new(first_checks(&home.handle, std::env::temp_dir(), (health, journal)));
    checks.carry_out().await;
    for (_, path) in METRICS {
        let reply = scrape(&home, &checks, path).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    }
    journaling.send_replace(journal::Disk::Failing(NotAppended::Full));
    let degraded = async {
        while scrape(&home, &checks, "/health").await.json()["status"] != "degraded" {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, degraded).await.expect("a passive check is told at once");
    assert_eq!(scrape(&home, &checks, "/readyz").await.status, 200, "what needs no journal goes on");
    disk.send_replace(DiskHealth::Failing("the disk is full".to_owned()));
    let failed = async {
        while scrape(&home, &checks, "/readyz").await.status != 503 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, failed).await.expect("a passive check is told at once");
    let report = scrape(&home, &checks, "/health").await.json();
    let store = report["checks"].as_array().into_iter().flatten().find(|check| check["name"] == "store");
    assert_eq!(store.expect("the check")["detail"], "the disk is full");
}

#[tokio::test]
async fn a_node_that_has_ended_is_not_ready_and_the_process_still_lives() {
    let home = Home::open().await;
    let (_disk, health) = watch::channel(DiskHealth::Working);
    let (_journaling, journal) = watch::channel(journal::Disk::Working);
    let checks = Checks::new(first_checks(&home.handle, std::env::temp_dir(), (health, journal)));
    home.stop.cancel();
    checks.carry_out().await;
    assert_eq!(scrape(&home, &checks, "/readyz").await.status, 503);
    assert_eq!(scrape(&home, &checks, "/livez").await.status, 200);
    assert_eq!(scrape(&home, &checks, "/nothing").await.problem().0, 404);
}
