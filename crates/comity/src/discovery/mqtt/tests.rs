//! Two sources at a real broker in this process, and at brokers that do not do what they should.

mod liars;
mod standing;

use super::*;
use crate::broker::Broker as RealBroker;
use crate::config::{Config as Configuration, Flag, Sources};
use bytes::BytesMut;
use comity_core::peers::Sighting;
use comity_core::time::Timestamp;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const PATIENCE: Duration = Duration::from_secs(20);

/// A source, and what it tells its node.
struct Listening {
    mqtt: Mqtt,
    signals: mpsc::Receiver<Signal>,
    heard: mpsc::UnboundedReceiver<Input>,
    keys: KeyPair,
}

impl Listening {
    fn at(urls: &[String], seed: u8, capabilities: &[&str]) -> Self {
        Self::with(urls, seed, Some(capabilities), &[])
    }

    fn with(urls: &[String], seed: u8, capabilities: Option<&[&str]>, flags: &[(&'static str, &str)]) -> Self {
        let set = |key: &'static str, values: Vec<String>| Flag { name: "test", key, values };
        let mut all = vec![set("mqtt.brokers", urls.to_vec())];
        all.extend(flags.iter().map(|(key, value)| set(key, vec![(*value).to_owned()])));
        let (config, _) = Configuration::read(&Sources { flags: all, ..Sources::default() }).expect("good flags");
        let settings = config.mqtt.expect("brokers");
        let advertised = |capabilities: &[&str]| Advertised {
            capabilities: capabilities.iter().map(|text| (*text).to_owned()).collect(),
            protocols: vec!["webrtc-data".to_owned()],
            version: "1".to_owned(),
            ..Advertised::default()
        };
        let keys = KeyPair::from_seed([seed; 32]);
        let setup = Setup {
            urls: urls.iter().map(|url| url.parse().expect("a URL")).collect(),
            settings,
            keys: keys.clone(),
            session: Session::Kept,
            advertised: capabilities.map(advertised),
            counters: Counters::new("test"),
        };
        let (sender, heard) = mpsc::unbounded_channel();
        let inform = move |input| {
            // Err: the test is over.
            let _ = sender.send(input);
            std::future::ready(())
        };
        let (mqtt, signals) = start(setup, inform);
        Self { mqtt, signals, heard, keys }
    }

    async fn until<T>(&mut self, wanted: impl Fn(Input) -> Option<T>) -> T {
        self.until_within(PATIENCE, wanted).await
    }

    async fn until_within<T>(&mut self, patience: Duration, wanted: impl Fn(Input) -> Option<T>) -> T {
        let heard = async {
            loop {
                if let Some(found) = wanted(self.heard.recv().await.expect("the source runs")) {
                    return found;
                }
            }
        };
        timeout(patience, heard).await.expect("in time")
    }

    async fn sights(&mut self, key: &KeyPair) -> Sighting {
        let peer = key.peer();
        self.until(move |input| match input {
            Input::Sighted(sighting) if sighting.peer == peer => Some(sighting),
            _ => None,
        })
        .await
    }

    async fn loses(&mut self, key: &KeyPair) {
        let gone = key.peer();
        self.until(move |input| match input {
            Input::Unsighted { peer, .. } if peer == gone => Some(()),
            _ => None,
        })
        .await
    }

    async fn health(&mut self) -> SourceHealth {
        self.health_within(PATIENCE).await
    }

    async fn health_within(&mut self, patience: Duration) -> SourceHealth {
        self.until_within(patience, |input| match input {
            Input::Source { health, .. } => Some(health),
            _ => None,
        })
        .await
    }
}

async fn broker() -> (RealBroker, Vec<String>) {
    let here = SocketAddr::from(([127, 0, 0, 1], 0));
    let broker = RealBroker::start(here, Some(here)).await.expect("a broker");
    let urls = vec![format!("mqtt://{}", broker.address())];
    (broker, urls)
}

#[test]
fn a_node_is_somebody_else_at_each_broker_and_the_same_there_again() {
    let flag = Flag { name: "test", key: "mqtt.brokers", values: vec!["mqtt://a".to_owned()] };
    let sources = Sources { flags: vec![flag], ..Sources::default() };
    let settings = Configuration::read(&sources).expect("good flags").0.mqtt.expect("a broker");
    let keys = KeyPair::from_seed([1; 32]);
    let id = |session, url: &str| client_id(&settings, &keys, session, &url.parse().expect("a URL"));
    let at = |url| id(Session::Kept, url);
    assert_eq!(at("mqtt://a"), at("mqtt://a:1883"));
    assert_ne!(at("mqtt://a"), at("mqtt://b"));
    assert_eq!((at("mqtt://a").len(), id(Session::Passing, "mqtt://a").len()), (23, 23));
}

#[tokio::test]
async fn two_nodes_find_one_another_signal_and_say_goodbye() {
    let (broker, urls) = broker().await;
    let mut ann = Listening::at(&urls, 1, &["search"]);
    assert_eq!(ann.health().await, SourceHealth::Up);
    let mut bob = Listening::at(&urls, 2, &[]);
    let seen = bob.sights(&ann.keys).await;
    assert_eq!((seen.key, seen.capabilities), (Some(ann.keys.node()), vec!["search".to_owned()]));
    assert_eq!(seen.rendezvous.map(|rendezvous| rendezvous.protocols), Some(vec!["webrtc-data".to_owned()]));
    ann.sights(&bob.keys).await;
    bob.mqtt.publish_signal(ann.keys.peer(), b"offer".to_vec()).await.expect("small enough");
    let signal = timeout(PATIENCE, ann.signals.recv()).await.expect("in time").expect("a signal");
    assert_eq!((signal.from, &signal.body[..]), (bob.keys.peer(), &b"offer"[..]));
    assert!(bob.mqtt.publish_signal(ann.keys.peer(), vec![0; BODY_MAX + 1]).await.is_err());
    ann.mqtt.clone().leave().await;
    bob.loses(&ann.keys).await;
    let mut late = Listening::with(&urls, 3, None, &[]);
    late.sights(&bob.keys).await;
    let all: Vec<_> = late.mqtt.peers().await.iter().map(|peer| peer.peer).collect();
    assert_eq!(all, [bob.keys.peer()], "what was kept of who left is cleared, and who only listens is not seen");
    bob.mqtt.leave().await;
    late.mqtt.leave().await;
    broker.stop().await;
}

#[tokio::test]
async fn whoever_hears_of_a_node_may_signal_to_it_at_once_and_it_hears_each_signal_once() {
    let ((one, first), (other, second)) = (broker().await, broker().await);
    let urls = [first, second].concat();
    let mut bob = Listening::at(&urls, 2, &[]);
    let mut ann = Listening::at(&urls, 1, &[]);
    bob.sights(&ann.keys).await;
    for word in ["offer", "candidates"] {
        bob.mqtt.publish_signal(ann.keys.peer(), word.into()).await.expect("small enough");
        let signal = timeout(PATIENCE, ann.signals.recv()).await.expect("in time").expect("a signal");
        assert_eq!(&signal.body[..], word.as_bytes());
    }
    bob.mqtt.leave().await;
    ann.loses(&bob.keys).await;
    assert!(ann.signals.try_recv().is_err(), "two brokers carried it");
    ann.mqtt.leave().await;
    tokio::join!(one.stop(), other.stop());
}

#[tokio::test]
async fn a_node_is_found_by_websocket_and_under_its_own_prefix_only() {
    let (broker, urls) = broker().await;
    let by_websocket = vec![format!("ws://{}/mqtt", broker.websocket().expect("it listens"))];
    let mut ann = Listening::at(&urls, 1, &[]);
    let mut stranger = Listening::with(&urls, 4, Some(&[]), &[("mqtt.prefix", "else/where")]);
    let mut bob = Listening::at(&by_websocket, 2, &[]);
    ann.sights(&bob.keys).await;
    bob.sights(&ann.keys).await;
    assert_eq!(stranger.health().await, SourceHealth::Up);
    assert_eq!(stranger.mqtt.peers().await, []);
    for source in [ann, bob, stranger] {
        source.mqtt.leave().await;
    }
    broker.stop().await;
}

#[tokio::test]
async fn what_changes_is_announced_at_once() {
    let (broker, urls) = broker().await;
    let mut bob = Listening::at(&urls, 2, &[]);
    let ann = Listening::at(&urls, 1, &[]);
    assert_eq!(bob.sights(&ann.keys).await.capabilities, Vec::<String>::new());
    ann.mqtt.announce(Advertised { capabilities: vec!["draw".to_owned()], ..Advertised::default() });
    assert_eq!(bob.sights(&ann.keys).await.capabilities, ["draw"]);
    ann.mqtt.leave().await;
    bob.mqtt.leave().await;
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_comes_back_is_found_again() {
    let (broker, urls) = broker().await;
    let address = broker.address();
    let mut ann = Listening::at(&urls, 1, &[]);
    assert_eq!(ann.health().await, SourceHealth::Up);
    broker.stop().await;
    assert!(matches!(ann.health().await, SourceHealth::Failed(why) if why.contains(&urls[0])));
    let again = RealBroker::start(address, None).await.expect("the same port");
    assert_eq!(ann.health().await, SourceHealth::Up);
    let mut bob = Listening::at(&urls, 2, &[]);
    bob.sights(&ann.keys).await;
    ann.mqtt.leave().await;
    bob.mqtt.leave().await;
    again.stop().await;
}

#[tokio::test]
async fn a_broker_that_refuses_hangs_up_or_talks_nonsense_is_named_without_secrets() {
    for (answer, wanted) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak MQTT"),
        (b"\x20\x03\x00\x87\x00", "check mqtt.username"),
        (b"", "check that the broker runs"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let urls = vec![format!("mqtt://{}", listener.local_addr().expect("an address"))];
        let liar = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut hello = [0; 1024];
                // Err: it was the client who hung up.
                let _ = stream.read(&mut hello).await;
                let _ = stream.write_all(answer).await;
            }
        });
        let flags = [("mqtt.username", "ann"), ("mqtt.password", "s3cret")];
        let mut ann = Listening::with(&urls, 1, Some(&[]), &flags);
        let SourceHealth::Failed(why) = ann.health().await else { panic!("it works") };
        assert!(why.contains(wanted) && why.contains(&urls[0]) && !why.contains("s3cret"), "{why}");
        ann.mqtt.leave().await;
        liar.abort();
    }
}

#[tokio::test]
async fn what_is_to_be_mended_on_this_side_is_said_and_nothing_of_whether_the_broker_runs() {
    let (url, liar) = liars::liar(async |mut stream| {
        // Err: it was the client who hung up.
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    })
    .await;
    let no_authority = std::env::current_dir().expect("tests have a folder").join("Cargo.toml");
    let no_authority = no_authority.to_str().expect("its name is UTF-8");
    for (scheme, file, wanted) in [
        ("ws", no_authority, "HTTP status 404"),
        ("mqtts", no_authority, "set mqtt.ca_file"),
        ("mqtts", "/nonexistent/ca.pem", "/nonexistent/ca.pem cannot be read as PEM"),
    ] {
        let url = url.replace("mqtt", scheme);
        let mut ann = Listening::with(&[url], 1, Some(&[]), &[("mqtt.ca_file", file)]);
        let SourceHealth::Failed(why) = ann.health().await else { panic!("it works") };
        assert!(why.contains(wanted) && !why.contains("check that the broker runs"), "{why}");
        ann.mqtt.leave().await;
    }
    liar.abort();
}

#[tokio::test]
async fn an_old_broker_is_spoken_to_in_3_1_1() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let urls = vec![format!("mqtt://{}", listener.local_addr().expect("an address"))];
    let old = tokio::spawn(async move {
        let mut levels = Vec::new();
        while levels.last() != Some(&4) {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut hello = vec![0; 1024];
            let length = stream.read(&mut hello).await.expect("a CONNECT");
            let name = hello[..length].windows(4).position(|name| name == b"MQTT").expect("the protocol's name");
            levels.push(hello[name + 4]);
            let code = u8::from(levels.last() != Some(&4));
            stream.write_all(&[0x20, 2, 0, code]).await.expect("a CONNACK");
        }
        levels
    });
    let ann = Listening::at(&urls, 1, &[]);
    let levels = timeout(PATIENCE, old).await.expect("in time").expect("no panic");
    assert_eq!(levels, [5, 4]);
    ann.mqtt.leave().await;
}

#[tokio::test]
async fn nobody_waits_long_for_a_broker_that_says_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let urls = vec![format!("mqtt://{}", listener.local_addr().expect("an address"))];
    let ann = Listening::at(&urls, 1, &[]);
    let (_silent, _) = listener.accept().await.expect("a connection");
    timeout(LEAVE_TIME + Duration::from_secs(1), ann.mqtt.leave()).await.expect("bounded");
}
