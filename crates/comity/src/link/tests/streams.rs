//! Streams beside links: whoever dialled, by mesh and by WebRTC; to whom they go, and when they end.

use super::meshes::{linked, rogue};
use super::rtcs::{connected, signaling};
use super::*;
use crate::link::stream::{self, Stream};
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message as Packet;

/// Opens a stream from one side to the other, whose driver says who is known.
async fn opened(one: &Side, other: &mut Side) -> Result<Stream, NoStream> {
    let opening = one.links.open_stream(other.key.node());
    let mut opening = std::pin::pin!(opening);
    loop {
        tokio::select! {
            opened = &mut opening => return opened,
            event = other.events.recv() => if let Some(Event::Look(reply)) = event {
                // Err: the stream was given up meanwhile.
                let _ = reply.send(Arc::new(other.view.clone()));
            },
        }
    }
}

/// The same, where the other side takes what comes.
async fn joined(one: &Side, other: &mut Side) -> (Stream, Stream) {
    let waiting = other.links.wait_for_files(Admits::Anyone).expect("room in line");
    let taking = tokio::spawn(async move {
        let mut received = waiting.await.expect("a stream");
        assert!(received.stream.ready().await);
        received
    });
    let ours = opened(one, other).await.expect("a stream");
    let received = taking.await.expect("no panic");
    assert_eq!(received.from.key, one.key.node());
    (ours, received.stream)
}

async fn carries(from: &mut Stream, to: &mut Stream) {
    let large = Packet::binary(vec![7; stream::PACKET_MAX]);
    for packet in [Packet::text("hello"), large] {
        from.packets.send(packet.clone()).await.expect("it is open");
        let came = timeout(PATIENCE, to.packets.next()).await.expect("in time");
        assert_eq!(came.expect("it is open").expect("a packet"), packet);
    }
}

#[tokio::test]
async fn on_a_mesh_link_either_side_opens_a_stream_and_it_ends_with_the_link() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (dialed, accepted) = linked(&mut one, &mut other).await;
    let (mut ours, mut theirs) = joined(&one, &mut other).await;
    carries(&mut ours, &mut theirs).await;
    carries(&mut theirs, &mut ours).await;
    let (mut back, mut there) = joined(&other, &mut one).await;
    carries(&mut back, &mut there).await;
    let ending = theirs.join(stream_that_is_silent().await, CancellationToken::new());
    drop((dialed, accepted));
    timeout(PATIENCE, ending).await.expect("it ends with the link");
    let gone = timeout(PATIENCE, async { while let Some(Ok(_)) = ours.packets.next().await {} }).await;
    assert!(gone.is_ok(), "the other end is told");
    drop((ours, back, there));
    one.end().await;
    other.end().await;
}

/// A WebSocket on which nobody says anything.
async fn stream_that_is_silent() -> impl Packets {
    let (near, far) = tokio::io::duplex(64);
    tokio::spawn(async move {
        let _held = far;
        std::future::pending::<()>().await;
    });
    let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
    tokio_tungstenite::WebSocketStream::from_raw_socket(near, role, None).await
}

#[tokio::test]
async fn on_a_webrtc_link_a_stream_is_another_channel_and_the_link_goes_on() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    one.links.connect(DialId(7), other.key.node(), Some(signaling(&other).await));
    let (dialed, accepted) = connected(&mut one, &mut other).await;
    let (mut ours, mut theirs) = joined(&one, &mut other).await;
    carries(&mut ours, &mut theirs).await;
    carries(&mut theirs, &mut ours).await;
    let (mut back, mut there) = joined(&other, &mut one).await;
    carries(&mut back, &mut there).await;
    ours.packets.close().await.expect("it was open");
    assert!(timeout(PATIENCE, theirs.packets.next()).await.expect("in time").is_none());
    carries(&mut back, &mut there).await;
    let write = Write::Messages(vec![Arc::new(message(&one.key, "_status", &"still here".into()))]);
    dialed.writer.send(write).await.expect("the link is up");
    assert_eq!(other.messages(1).await.len(), 1);
    drop((dialed, accepted, ours, theirs, back, there));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn a_stream_goes_only_to_whoever_takes_files_from_there() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    assert_eq!(one.links.open_stream(other.key.node()).await.err(), Some(NoStream::NoLink));
    let (_dialed, _accepted) = linked(&mut one, &mut other).await;
    let code = |refused: Result<Stream, NoStream>| match refused.err() {
        Some(NoStream::Refused { code, .. }) => code,
        refused => format!("{refused:?}"),
    };
    assert_eq!(code(opened(&one, &mut other).await), "no_receiver");
    let known = other.links.wait_for_files(Admits::Known).expect("room in line");
    let stranger = other.links.wait_for_files(Admits::One(key(9).node())).expect("room in line");
    assert_eq!(code(opened(&one, &mut other).await), "not_trusted");
    drop(known);
    drop(stranger);
    assert_eq!(code(opened(&one, &mut other).await), "no_receiver", "who has gone does not wait");
    let named = other.links.wait_for_files(Admits::One(one.key.node())).expect("room in line");
    let taking = tokio::spawn(async move { named.await.expect("a stream").stream.ready().await });
    assert!(opened(&one, &mut other).await.is_ok());
    assert!(taking.await.expect("no panic"));
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn there_are_no_more_streams_with_one_node_than_may_be() {
    let (mut one, mut other) = (Side::start(1).await, Side::start(2).await);
    let (_dialed, _accepted) = linked(&mut one, &mut other).await;
    let mut held = Vec::new();
    let refused = loop {
        let waiting = other.links.wait_for_files(Admits::Anyone).expect("room in line");
        let taking = tokio::spawn(async move {
            let mut received = waiting.await.ok()?;
            received.stream.ready().await.then_some(received)
        });
        match opened(&one, &mut other).await {
            Ok(ours) => held.push((ours, taking.await.expect("no panic"))),
            Err(refused) => {
                taking.abort();
                // Err: it was aborted, and stands in line no more.
                let _ = taking.await;
                break refused;
            }
        }
        assert!(held.len() < 100, "there is a bound");
    };
    assert_eq!(refused, NoStream::Full);
    held.pop();
    let _again = joined(&one, &mut other).await;
    one.end().await;
    other.end().await;
}

#[tokio::test]
async fn who_has_no_link_opens_no_stream() {
    let side = Side::start(1).await;
    let stranger = key(3);
    let mut socket = rogue(&side, &stranger).await;
    let tls = Tls::new(&stranger, None).expect("TLS of a good key");
    let tcp = tokio::net::TcpStream::connect(side.address).await.expect("somebody listens");
    let wire = wire::Wire::dialed(tcp);
    let (stream, _) = tls.connect(wire, side.address.ip()).await.expect("a handshake");
    let stream = tokio_rustls::TlsStream::from(stream);
    let opened = mesh::open_at(stream, (side.address, stream::PATH), socket_config()).await;
    assert!(opened.is_err(), "its key is proven, and no link is up");
    socket.close(None).await.expect("it was open");
    side.end().await;
}

/// A peer that takes links, and streams, on which it says nothing; with every first word that came on one of these.
async fn silent_on_streams(seed: u8) -> (Side, mpsc::Receiver<Packet>) {
    let key = key(seed);
    let (handle, events, view) = handle(&key);
    let (counters, stop) = (handle.counters().clone(), handle.stop().clone());
    let tls = Tls::new(&key, None).expect("TLS of a good key");
    let links = Links::new(handle, tls.clone(), None);
    let (words, heard) = mpsc::channel(100);
    let hold = move |mut request: axum::extract::Request| async move {
        let accept = accept_key(request.headers()).expect("a handshake");
        let upgrade = request.extensions_mut().remove().expect("a connection");
        tokio::spawn(async move {
            let mut socket = mesh::upgraded(upgrade, socket_config()).await.expect("a WebSocket");
            while let Some(Ok(packet)) = socket.next().await {
                words.send(packet).await.expect("there is room");
            }
        });
        let accept = [(axum::http::header::SEC_WEBSOCKET_ACCEPT, accept)];
        (axum::http::StatusCode::SWITCHING_PROTOCOLS, upgrade_headers(), accept)
    };
    let links_only = Router::new().route(mesh::PATH, get(mesh::accept)).with_state(links.clone());
    let router = links_only.route(stream::PATH, get(hold));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("a bound socket");
    let limits = Limits::default();
    let serving = tokio::spawn(listen(vec![listener], tls.into(), router, limits, counters.clone(), stop.clone()));
    (Side { key, links, events, address, counters, view, stop, serving }, heard)
}

#[tokio::test]
async fn a_peer_that_calls_and_then_is_silent_gets_no_more_connections_than_streams_and_no_endless_dials() {
    let (mut one, (mut rogue, mut heard)) = (Side::start(1).await, silent_on_streams(2).await);
    let (_dialed, accepted) = linked(&mut one, &mut rogue).await;
    let call = async |times: usize| {
        for _ in 0..times {
            let call = Write::Frame(Frame::Call(Uuid::new_v4()));
            accepted.writer.send(call).await.expect("the link is up");
        }
    };
    call(4).await;
    for _ in 0..4 {
        timeout(PATIENCE, heard.recv()).await.expect("in time").expect("a call is answered");
    }
    assert_eq!(one.links.open_stream(rogue.key.node()).await.err(), Some(NoStream::Full), "they are held, and counted");
    call(200).await;
    let last = Write::Messages(vec![Arc::new(message(&rogue.key, "_status", &"that was all".into()))]);
    accepted.writer.send(last).await.expect("the link is up");
    one.messages(1).await;
    assert_eq!(one.dropped("too_many_calls"), 84, "120 a minute are answered");
    assert!(heard.try_recv().is_err(), "and none of them had a place");
    one.end().await;
    rogue.end().await;
}
