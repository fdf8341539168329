//! Two registries on one PostgreSQL database: what one is told the other knows, whatever their clocks say, and while the
//! server is away nothing changes.

use super::*;
use comity_tests::postgres::Postgres;

async fn on(url: &str, now: Now) -> Registry {
    let place = Place::Server(url.parse().expect("a URL"));
    Registry::open(&place, profile::Settings::default(), now).await.expect("a registry")
}

/// The same time on a machine whose clock is an hour ahead.
fn ahead(now: Now) -> Now {
    Now { wall: now.wall + Duration::from_secs(3600), ..now }
}

/// Waits until it has read what the other changed.
async fn reads(registry: &Registry, now: Now) {
    registry.read_others(now).await;
    registry.revoke("nobody", now).await.expect("the server takes it");
}

/// Asks until it is answered: who has lost the server looks for it again now and then.
async fn again<T>(ask: impl AsyncFn() -> Option<T>) -> T {
    let answered = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(comity_tests::PATIENCE, answered).await.expect("the server is back")
}

#[tokio::test]
async fn a_node_that_one_hears_is_there_for_the_other_whose_clock_is_an_hour_ahead() {
    let server = Postgres::start();
    let url = server.database("heard");
    let (one, two) = (on(&url, at(0)).await, on(&url, ahead(at(0))).await);
    let key = enrolled(&one, "a", at(0)).await;
    reads(&two, ahead(at(1))).await;
    assert_eq!(state(&two, "a", ahead(at(1))), Some(State::Fresh));
    beat(&one, &key, "a", at(80)).expect("it is there");
    one.look(at(90)).await;
    reads(&two, ahead(at(100))).await;
    // By the server's clock, which goes on by no more than this test takes, it was heard just now.
    assert_eq!(state(&two, "a", ahead(at(180))), Some(State::Fresh), "it was heard lately");
    assert_eq!(state(&two, "a", ahead(at(195))), Some(State::Stale), "and not since");
    beat(&two, &key, "a", ahead(at(200))).expect("each takes its heartbeats");
    two.look(ahead(at(201))).await;
    reads(&one, at(202)).await;
    assert_eq!(state(&one, "a", at(280)), Some(State::Fresh));

    one.register_itself(
        wire::read_register(&body("one", Value::Null)).expect("good"),
        NodeId::from_bytes([1; 32]),
        at(203),
    )
    .expect("there is room");
    one.look(at(220)).await;
    reads(&two, ahead(at(221))).await;
    assert_eq!(state(&two, "one", ahead(at(221))), Some(State::Fresh), "a coordinator is a node, too");
    assert!(one.node(&bearer(&key), "a", at(221)).is_ok());
    two.revoke("a", ahead(at(222))).await.expect("the server takes it");
    reads(&one, at(223)).await;
    assert!(matches!(beat(&one, &key, "a", at(223)), Err(Refused::Unproven(_))));
    assert_eq!(state(&one, "a", at(223)), None);
}

#[tokio::test]
async fn while_the_server_is_away_nothing_changes_and_all_is_read_when_it_is_back() {
    let mut server = Postgres::start();
    let url = server.database("away");
    let (one, two) = (on(&url, at(0)).await, on(&url, at(0)).await);
    let key = enrolled(&one, "a", at(0)).await;
    let (token, _) = one.invite(1, Duration::from_secs(9000), at(0)).await.expect("a token");
    server.crash();
    let refused = one.register(&bearer(&token), &body("b", Value::Null), at(1)).await;
    assert_eq!(refused.expect_err("it cannot be kept"), Refused::Disk);
    assert_eq!(one.revoke("a", at(1)).await, Err(Refused::Disk));
    assert_eq!((state(&one, "a", at(1)), state(&one, "b", at(1))), (Some(State::Fresh), None));
    beat(&one, &key, "a", at(2)).expect("it is there all the same");
    server.go();
    let revoked = again(async || two.revoke("a", at(3)).await.ok()).await;
    assert!(revoked.key);
    again(async || one.revoke("nobody", at(4)).await.ok()).await;
    let registered = one.register(&bearer(&token), &body("b", Value::Null), at(4)).await.expect("it is good");
    assert!(registered.api_key.is_some(), "its one use was left");
    assert!(matches!(beat(&one, &key, "a", at(5)), Err(Refused::Unproven(_))), "what the other did meanwhile is read");
    assert_eq!(state(&one, "a", at(5)), None);
    let (one_again, differing) = (on(&url, at(6)).await, profile::Settings { dim: 64, ..Default::default() });
    assert_eq!(state(&one_again, "b", at(6)), Some(State::Fresh));
    let refused = Registry::open(&Place::Server(url.parse().expect("a URL")), differing, at(6)).await;
    assert_eq!(
        refused.expect_err("it is set otherwise").to_string(),
        "the registry in this database is of a mesh with another dim"
    );
}
