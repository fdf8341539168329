//! Who may look, from where, and how often.

use super::*;

fn stranger() -> Caller {
    Caller { address: SocketAddr::from(([203, 0, 113, 9], 40_000)), key: None, tls: false }
}

#[tokio::test]
async fn from_a_public_address_only_known_keys_are_admitted() {
    let home = Home::open().await;
    let look = |caller| home.ask(caller, Request::get("/dashflow/peers"), Body::empty());
    assert_eq!(look(stranger()).await.problem(), (401, "bad_signature".to_owned()));
    assert_eq!(look(keyed([203, 0, 113, 9], 9)).await.problem(), (403, "forbidden".to_owned()));
    home.handle.ask(Ask::Know { key: node_id(9), known: true }).await;
    assert_eq!(look(keyed([203, 0, 113, 9], 9)).await.status, 200);
    let message = suggestion(Uuid::from_u128(5)).to_string();
    let reply = home.ask(stranger(), Request::post("/dashflow/message"), message).await;
    assert_eq!(reply.problem().0, 401);
    assert_eq!(reply.json()["accepted"], false);
}

#[tokio::test]
async fn a_public_address_of_this_machine_is_as_near_as_loopback() {
    let home = Home::open().await;
    home.handle.inform(Input::Interfaces(vec!["203.0.113.9/24".parse().expect("a net")])).await;
    let reply = home.ask(stranger(), Request::get("/dashflow/status"), Body::empty()).await;
    assert_eq!(reply.status, 200);
    let message = suggestion(Uuid::from_u128(5)).to_string();
    assert_eq!(home.ask(stranger(), Request::post("/dashflow/message"), message).await.status, 202);
}

#[tokio::test]
async fn a_header_of_a_proxy_that_is_not_trusted_makes_a_neighbour_a_stranger() {
    let home = Home::open().await;
    let request = Request::get("/dashflow/status").header("x-forwarded-for", "127.0.0.1");
    assert_eq!(home.ask(neighbour(), request, Body::empty()).await.problem().0, 401);
    let home = Home::with(|config| config.trusted_proxies = vec!["192.168.1.5/32".parse().expect("a net")]).await;
    for (client, status) in [("192.168.7.7", 200), ("203.0.113.9", 401)] {
        let request = Request::get("/dashflow/status").header("x-forwarded-for", client);
        assert_eq!(home.ask(neighbour(), request, Body::empty()).await.status, status, "{client}");
    }
}

#[tokio::test]
async fn the_level_that_is_wanted_is_the_level_that_is_asked() {
    for (admission, unproven, verified) in [(Admission::Verified, 401, 200), (Admission::Known, 401, 403)] {
        let home = Home::with(|config| config.admission = admission).await;
        assert_eq!(home.get("/dashflow/status").await.status, unproven);
        let reply = home.ask(keyed([192, 168, 1, 5], 9), Request::get("/dashflow/status"), Body::empty()).await;
        assert_eq!(reply.status, verified);
    }
}

#[tokio::test]
async fn who_looks_too_often_is_told_to_wait() {
    let home = Home::with(|config| config.limits.requests_per_minute = 60).await;
    let mut statuses = Vec::new();
    for _ in 0..61 {
        statuses.push(home.get("/dashflow/status").await.status);
    }
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 60);
    assert_eq!(home.get("/dashflow/status").await.problem(), (429, "rate_limited".to_owned()));
    let other = Caller { address: SocketAddr::from(([192, 168, 1, 6], 1)), ..neighbour() };
    assert_eq!(home.ask(other, Request::get("/dashflow/status"), Body::empty()).await.status, 200);
}

#[tokio::test]
async fn payloads_are_streamed_to_known_peers_only() {
    let home = Home::open().await;
    let watch = |caller, query| {
        let request = Request::get(format!("/dashflow/events{query}")).header("accept", "text/event-stream");
        home.ask(caller, request, Body::empty())
    };
    for (query, status) in [("?payload=1", 403), ("?payload=2", 400), ("?channels=a%20b", 400), ("?channels=a,,b", 400)]
    {
        assert_eq!(watch(neighbour(), query).await.problem().0, status, "{query}");
    }
    let neither = home.get("/dashflow/events").await;
    assert_eq!((neither.problem().0, &neither.headers["upgrade"]), (426, &"websocket".parse().expect("a value")));
}
