//! Checks that pass, fail, hang and are told, and the answers of the health paths.

use super::*;
use crate::door::closed;
use crate::door::guards::Names;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::Request;
use axum::routing::get;
use serde_json::Value;
use std::sync::atomic::{AtomicBool, Ordering};
use tower::ServiceExt;

/// A check that fails while the switch is off.
fn switched(weight: Weight) -> (Check, Arc<AtomicBool>) {
    let switch = Arc::new(AtomicBool::new(true));
    let seen = Arc::clone(&switch);
    let check = Check::active("switch", "the switch is on", weight, move || {
        let on = seen.load(Ordering::Relaxed);
        async move { if on { Verdict::Healthy } else { Verdict::Failed("off".to_owned()) } }
    });
    (check, switch)
}

async fn ask(checks: &Checks, path: &str) -> (u16, Value) {
    let router = Router::new()
        .route("/health", get(all))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/checks", get(history))
        .with_state(checks.clone());
    let router = crate::door::guards::guard(closed(router), Names::loopback());
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).expect("a request");
    let response = router.oneshot(request).await.expect("routers do not fail");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
    (status, serde_json::from_slice(&body).expect("JSON"))
}

#[tokio::test]
async fn a_node_is_ready_once_its_critical_checks_have_passed() {
    let (check, switch) = switched(Weight::Critical);
    let checks = Checks::new(vec![check]);
    assert_eq!(ask(&checks, "/health/ready").await.0, 503);
    checks.carry_out().await;
    assert_eq!(ask(&checks, "/health/ready").await.0, 200);
    assert_eq!(ask(&checks, "/health").await.1["status"], "healthy");
    switch.store(false, Ordering::Relaxed);
    checks.carry_out().await;
    let (status, report) = ask(&checks, "/health").await;
    assert_eq!((status, &report["status"], &report["checks"][0]["detail"]), (503, &"failed".into(), &"off".into()));
    assert_eq!(ask(&checks, "/health/ready").await.0, 503);
    assert_eq!(ask(&checks, "/health/live").await.0, 200);
}

#[tokio::test]
async fn a_minor_check_that_fails_only_degrades() {
    let (check, switch) = switched(Weight::Minor);
    let checks = Checks::new(vec![check]);
    switch.store(false, Ordering::Relaxed);
    checks.carry_out().await;
    let (status, report) = ask(&checks, "/health").await;
    assert_eq!((status, &report["status"]), (200, &"degraded".into()));
    assert_eq!(ask(&checks, "/health/ready").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_fails_after_ten_seconds() {
    let checks = Checks::new(vec![Check::active("hang", "", Weight::Minor, std::future::pending)]);
    checks.carry_out().await;
    assert_eq!(ask(&checks, "/health").await.1["status"], "degraded");
}

#[tokio::test]
async fn the_history_is_bounded_and_passive_checks_note_changes_only() {
    let (active, _) = switched(Weight::Minor);
    let (passive, reporter) = Check::passive("told", "", Weight::Minor);
    let checks = Checks::new(vec![active, passive]);
    for _ in 0..HISTORY_MAX + 5 {
        checks.carry_out().await;
        reporter.report(Verdict::Degraded("slow".to_owned()));
    }
    let (_, report) = ask(&checks, "/health/checks").await;
    let lengths = [0, 1].map(|check| report["checks"][check]["history"].as_array().map(Vec::len));
    assert_eq!(lengths, [Some(HISTORY_MAX), Some(2)]);
    assert_eq!(report["checks"][1]["status"], "degraded");
}

#[tokio::test(start_paused = true)]
async fn a_critical_check_stops_the_node_only_after_three_rounds_and_only_where_wanted() {
    for wanted in [false, true] {
        let (active, switch) = switched(Weight::Critical);
        switch.store(false, Ordering::Relaxed);
        let (passive, reporter) = Check::passive("told", "", Weight::Critical);
        // A part reports a failure that lasts only once.
        reporter.report(Verdict::Failed("full".to_owned()));
        for check in [active, passive] {
            let (stop, node) = (CancellationToken::new(), CancellationToken::new());
            let reaction = if wanted { OnFailure::Stop(node.clone()) } else { OnFailure::CarryOn };
            let running = tokio::spawn(Checks::new(vec![check]).run(Counters::new("0"), stop.clone(), reaction));
            tokio::time::sleep(EVERY + Duration::from_secs(1)).await;
            assert!(!node.is_cancelled());
            tokio::time::sleep(EVERY * 2).await;
            assert_eq!(node.is_cancelled(), wanted);
            stop.cancel();
            running.await.expect("the checks end");
        }
    }
}
