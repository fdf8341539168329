//! Links over WebRTC between two sides: signals by HTTP or through a broker, messages, ends.

use super::*;
use axum::http::HeaderMap;
use comity_core::node::{DialOutcome, LinkLoss};
use comity_core::wire::signal::{HEADER, Signal};

/// A port at which a side takes offers, as its network door does.
pub(super) async fn signaling(side: &Side) -> (SocketAddr, String) {
    let (links, tls) = (side.links.clone(), Tls::new(&side.key, None).expect("TLS of a good key"));
    let me = side.key.node();
    let offer = move |head: HeaderMap, body: String| async move {
        let signal = Signal::from_header(head[HEADER].to_str().expect("text"), &body, &me, wall()).expect("signed");
        let answer = links.offered(signal, OfferedBy::Address([127, 0, 0, 1].into())).await.expect("an answer");
        ([(HEADER, answer.to_header(links.0.handle.me().keys()))], answer.sdp)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let router = Router::new().route("/offers", post(offer));
    tokio::spawn(listen(
        vec![listener],
        tls.into(),
        router,
        Limits::default(),
        side.counters.clone(),
        side.stop.clone(),
    ));
    (address, "/offers".to_owned())
}

/// The link at both sides once they are connected; the first one dialled.
pub(super) async fn connected(one: &mut Side, other: &mut Side) -> (Established, Established) {
    let (dialed, accepted) = (one.link().await, other.link().await);
    assert_eq!((dialed.dial, dialed.key), (Some(DialId(7)), other.key.node()));
    assert_eq!((accepted.dial, accepted.key), (None, one.key.node()));
    let told = one.input().await;
    assert!(matches!(told, Input::Dialed { dial: DialId(7), outcome: DialOutcome::Linked(_) }), "{told:?}");
    (dialed, accepted)
}

async fn say(link: &Established, from: &KeyPair, text: &str) {
    let write = Write::Messages(vec![Arc::new(message(from, "_status", &serde_json::Value::from(text)))]);
    link.writer.send(write).await.expect("a link that is up");
}

#[tokio::test]
async fn an_offer_by_http_becomes_a_link_that_carries_messages_both_ways_until_it_is_closed() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    one.links.connect(DialId(7), other.key.node(), Some(signaling(&other).await));
    let (dialed, accepted) = connected(&mut one, &mut other).await;
    say(&dialed, &one.key, "there").await;
    assert_eq!(other.messages(1).await.len(), 1);
    say(&accepted, &other.key, "and back").await;
    while !matches!(one.event().await, Event::Messages { batch, .. } if batch.len() == 1) {}
    dialed.writer.send(Write::Close { goodbye: true }).await.expect("a link that is up");
    let goodbye = async {
        loop {
            if let Input::LinkDown { loss, .. } = other.input().await {
                return loss;
            }
        }
    };
    assert_eq!(goodbye.await, LinkLoss::Goodbye);
    one.end().await;
    other.end().await;
}

/// A broker between two sides, that loses the first so many signals.
fn brokered(one: &Side, other: &Side, lost: usize) -> JoinHandle<()> {
    let (to_broker, mut at_broker) = mpsc::channel(8);
    one.links.use_broker(to_broker.clone());
    other.links.use_broker(to_broker);
    let (ends, keys) = ([one.links.clone(), other.links.clone()], [one.key.node().peer(), other.key.node().peer()]);
    tokio::spawn(async move {
        for _ in 0..lost {
            at_broker.recv().await;
        }
        while let Some((to, sealed)) = at_broker.recv().await {
            let index = usize::from(to == keys[1]);
            assert_eq!(to, keys[index]);
            ends[index].signalled(keys[1 - index], &sealed).await;
        }
    })
}

#[tokio::test]
async fn an_offer_that_the_broker_lost_is_made_again() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let broker = brokered(&one, &other, 1);
    one.links.connect(DialId(7), other.key.node(), None);
    connected(&mut one, &mut other).await;
    broker.abort();
    // Err: it was aborted, and what it held is gone.
    let _ = broker.await;
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn where_no_port_answers_signals_go_through_the_broker() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let broker = brokered(&one, &other, 0);
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("bound");
    one.links.connect(DialId(7), other.key.node(), Some((nobody, SIGNALING.to_owned())));
    let (dialed, _accepted) = connected(&mut one, &mut other).await;
    say(&dialed, &one.key, "there").await;
    assert_eq!(other.messages(1).await.len(), 1);
    broker.abort();
    // Err: it was aborted, and what it held is gone.
    let _ = broker.await;
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn an_offer_that_was_refused_is_not_made_again_through_the_broker_and_the_reason_is_kept() {
    let (mut one, other) = (Side::start(1).await, Side::start(2).await);
    let (to_broker, mut at_broker) = mpsc::channel(8);
    one.links.use_broker(to_broker);
    // Its doors take no offers.
    one.links.connect(DialId(7), other.key.node(), Some((other.address, SIGNALING.to_owned())));
    let told = one.input().await;
    let Input::Dialed { dial: DialId(7), outcome: DialOutcome::NoPath { reasons } } = told else { panic!("{told:?}") };
    assert!(reasons.iter().any(|reason| reason.contains("HTTP status 404")), "{reasons:?}");
    assert!(at_broker.try_recv().is_err());
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn who_cannot_be_signalled_to_is_not_connected_and_that_is_said() {
    let mut one = Side::start(1).await;
    one.links.connect(DialId(7), key(2).node(), None);
    let told = one.input().await;
    let Input::Dialed { dial: DialId(7), outcome: DialOutcome::NoPath { reasons } } = told else { panic!("{told:?}") };
    assert_eq!(reasons, ["there is no way to signal to it"]);
    one.end().await;
}

#[tokio::test]
async fn of_two_offers_at_once_that_of_the_lower_key_goes_on() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    if one.key.node().as_bytes() > other.key.node().as_bytes() {
        std::mem::swap(&mut one, &mut other);
    }
    let (to_one, to_other) = (signaling(&one).await, signaling(&other).await);
    one.links.connect(DialId(7), other.key.node(), Some(to_other));
    other.links.connect(DialId(8), one.key.node(), Some(to_one));
    let yielded = other.input().await;
    assert!(matches!(yielded, Input::Dialed { dial: DialId(8), outcome: DialOutcome::Yielded }), "{yielded:?}");
    connected(&mut one, &mut other).await;
    one.end().await;
    other.end().await;
}
