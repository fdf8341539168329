//! How a source stands with several brokers, or with ones that keep nothing or let nothing be heard; and
//! discovery without a node.

use super::liars::{WELCOME, liar, publish, whole};
use super::*;
use crate::announcing::{About, Change, Discovery};
use crate::config::{Broker, Mqtt as Settings};
use bytes::BytesMut;
use tokio::net::TcpStream;

/// What a broker says first that keeps nothing.
const FORGETFUL: &[u8] = &[0x20, 5, 0, 0, 2, 0x25, 0];

fn settings(urls: &[&str], listen: SocketAddr) -> Settings {
    let flag = |key, values| Flag { name: "test", key, values };
    let urls = urls.iter().map(|url| (*url).to_owned()).collect();
    let flags = vec![flag("mqtt.brokers", urls), flag("mqtt.listen", vec![listen.to_string()])];
    let (config, _) = Configuration::read(&Sources { flags, ..Sources::default() }).expect("good flags");
    config.mqtt.expect("brokers")
}

/// Speaks for a broker: welcomes, acknowledges what is published, answers subscriptions with this code, and tells of
/// each topic that is published.
async fn acknowledge(mut stream: TcpStream, welcome: &[u8], granted: u8, published: mpsc::UnboundedSender<String>) {
    // Err: it was the client who hung up; so below.
    let _ = stream.write_all(welcome).await;
    let mut packets = BytesMut::new();
    while stream.read_buf(&mut packets).await.is_ok_and(|length| length > 0) {
        while let Some((kind, packet)) = whole(&mut packets) {
            let answer = if kind == 0x82 {
                vec![0x90, 4, packet[0], packet[1], 0, granted]
            } else if kind & 0xf0 == 0x30 {
                let end = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
                let _ = published.send(String::from_utf8_lossy(&packet[2..end]).into_owned());
                vec![0x40, 2, packet[end], packet[end + 1]]
            } else {
                continue;
            };
            let _ = stream.write_all(&answer).await;
        }
    }
}

#[tokio::test]
async fn what_a_broker_does_not_let_be_heard_is_named_until_the_connection_ends() {
    let (published, mut publications) = mpsc::unbounded_channel();
    let (url, task) = liar(move |stream| acknowledge(stream, WELCOME, 0x87, published.clone())).await;
    let mut ann = Listening::with(&[url], 1, Some(&[]), &[("mqtt.interval_seconds", "1")]);
    let SourceHealth::Failed(why) = ann.health().await else { panic!("it works") };
    assert!(why.contains("it denies this node mindgit/kernels/"), "{why}");
    for _ in 0..4 {
        timeout(PATIENCE, publications.recv()).await.expect("in time").expect("it announces itself");
        assert_eq!(ann.mqtt.standing().borrow().up, 0);
    }
    ann.mqtt.leave().await;
    task.abort();
}

#[tokio::test]
async fn a_newcomer_is_answered_at_once_where_the_broker_keeps_nothing() {
    let (published, mut publications) = mpsc::unbounded_channel();
    let (url, task) = liar(move |mut stream| {
        let published = published.clone();
        async move {
            let newcomer = br#"{"id":"kitchen"}"#;
            let _ = stream.write_all(FORGETFUL).await;
            let _ = stream.write_all(&publish("mindgit/kernels/kitchen/announce", newcomer, false)).await;
            acknowledge(stream, b"", 0, published).await;
        }
    })
    .await;
    let ann = Listening::at(&[url], 1, &[]);
    let begun = Instant::now();
    for _ in 0..2 {
        let topic = timeout(PATIENCE, publications.recv()).await.expect("in time").expect("an announcement");
        assert_eq!(topic, format!("mindgit/kernels/{}/announce", ann.keys.peer()));
    }
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    ann.mqtt.leave().await;
    task.abort();
}

#[tokio::test]
async fn one_broker_that_is_away_does_not_spoil_the_others() {
    let (broker, urls) = broker().await;
    let ann = Listening::at(&urls, 1, &[]);
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let away = format!("mqtt://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let both = settings(&[&away, &urls[0]], broker.address());
    let discovery = Discovery::start(&both, None, About::default());
    let found = discovery.discover_peers(&Default::default()).await;
    assert_eq!(found.iter().map(|peer| peer.peer).collect::<Vec<_>>(), [ann.keys.peer()]);
    let standing = discovery.standing();
    assert_eq!((standing.brokers, standing.up, standing.silent.len()), (2, 1, 0));
    assert!(standing.troubles.len() == 1 && standing.troubles[0].contains(&away), "{standing:?}");
    discovery.stop().await;
    let none = Discovery::start(&Settings { brokers: Vec::new(), ..both }, None, About::default());
    assert_eq!(none.settled(PATIENCE).await.trouble().as_deref(), Some("no broker is named"));
    ann.mqtt.leave().await;
    broker.stop().await;
}

#[tokio::test]
async fn the_embedded_broker_is_that_of_the_node_on_this_machine() {
    let (broker, _) = broker().await;
    let embedded = settings(&["embedded"], broker.address());
    assert_eq!(embedded.brokers, [Broker::Embedded]);
    let discovery = Discovery::start(&embedded, None, About::default());
    let standing = discovery.settled(PATIENCE).await;
    assert_eq!((standing.up, standing.trouble()), (1, None));
    discovery.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn who_watches_hears_of_brokers_and_of_the_end() {
    let (broker, urls) = broker().await;
    let discovery = Discovery::start(&settings(&[&urls[0]], broker.address()), None, About::default());
    assert_eq!(discovery.settled(PATIENCE).await.up, 1);
    let mut changes = discovery.changes();
    broker.stop().await;
    let change = timeout(PATIENCE, changes.next()).await.expect("in time").expect("a change");
    assert!(matches!(change, Change::Standing(standing) if standing.troubles.len() == 1));
    discovery.stop().await;
    while timeout(PATIENCE, changes.next()).await.expect("in time").is_some() {}
}

#[tokio::test]
async fn programs_with_one_key_leave_each_other_alone() {
    let (broker, urls) = broker().await;
    let keys = KeyPair::from_seed([1; 32]);
    let settings = settings(&[&urls[0]], broker.address());
    let all: Vec<_> = (0..3).map(|_| Discovery::start(&settings, Some(keys.clone()), About::default())).collect();
    for discovery in &all {
        assert_eq!(discovery.settled(PATIENCE).await.up, 1);
    }
    let mut changes = all[0].changes();
    let thrown_out = async { while !matches!(changes.next().await, Some(Change::Standing(_))) {} };
    assert!(timeout(Duration::from_millis(300), thrown_out).await.is_err());
    for discovery in all {
        assert_eq!(discovery.standing().trouble(), None);
        discovery.stop().await;
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_broker_that_hangs_is_no_success() {
    let (url, task) = liar(async |_stream| std::future::pending::<()>().await).await;
    let discovery = Discovery::start(&settings(&[&url], SocketAddr::from(([127, 0, 0, 1], 1))), None, About::default());
    let standing = discovery.settled(Duration::from_millis(300)).await;
    assert!(standing.up == 0 && standing.trouble().is_some_and(|why| why.contains(&url)), "{standing:?}");
    discovery.stop().await;
    task.abort();
}

#[tokio::test]
async fn who_announces_itself_late_leaves_a_will_all_the_same() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let discovery = Discovery::start(&settings(&[&format!("mqtt://{address}")], address), None, About::default());
    let mut wills = Vec::new();
    for _ in 0..2 {
        let (mut stream, _) = timeout(PATIENCE, listener.accept()).await.expect("in time").expect("a connection");
        let mut hello = BytesMut::new();
        while !hello.windows(5).any(|bytes| bytes == b"MQTT\x05") || hello.len() < 12 {
            timeout(PATIENCE, stream.read_buf(&mut hello)).await.expect("in time").expect("a CONNECT");
        }
        let at = hello.windows(5).position(|bytes| bytes == b"MQTT\x05").expect("it is there");
        wills.push(hello[at + 5] & 4 != 0);
        tokio::spawn(acknowledge(stream, WELCOME, 0, mpsc::unbounded_channel().0));
        assert_eq!(discovery.settled(PATIENCE).await.up, 1);
        discovery.announce_self(&BTreeMap::new());
    }
    assert_eq!(wills, [false, true]);
    discovery.stop().await;
}
