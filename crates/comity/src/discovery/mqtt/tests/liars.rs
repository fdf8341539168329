//! A source at brokers that lie, drop, stall, flood or deny, beside an honest one that must not
//! suffer from it. The liar speaks just enough of MQTT 5 to be believed.

use super::*;
use comity_core::wire::announce::{sign_goodbye, sign_info};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

/// How long a broker may say nothing until it is given up; the longest of these tests waits for it.
const STALLED: Duration = Duration::from_secs(40);

/// What an MQTT 5 broker says first: success, and no properties.
pub(super) const WELCOME: &[u8] = &[0x20, 3, 0, 0, 0];

/// A listener that does this with everybody who comes, after the first packet was read.
pub(super) async fn liar<Said>(lie: impl Fn(TcpStream) -> Said + Send + 'static) -> (String, JoinHandle<()>)
where
    Said: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("mqtt://{}", listener.local_addr().expect("an address"));
    let task = tokio::spawn(async move {
        let mut victims = tokio::task::JoinSet::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut hello = [0; 1024];
            // Err: it was the client who hung up.
            if stream.read(&mut hello).await.is_ok() {
                victims.spawn(lie(stream));
            }
        }
    });
    (url, task)
}

/// Says these packets after the welcome, reads on, and acknowledges nothing.
async fn say(stream: TcpStream, packets: Vec<Vec<u8>>) -> OwnedWriteHalf {
    let (mut read, mut write) = stream.into_split();
    tokio::spawn(async move {
        let mut rest = [0; 4096];
        while read.read(&mut rest).await.is_ok_and(|length| length > 0) {}
    });
    // Err: it was the client who hung up.
    let _ = write.write_all(&[WELCOME.to_vec(), packets.concat()].concat()).await;
    write
}

pub(super) fn publish(topic: &str, body: &[u8], retain: bool) -> Vec<u8> {
    let mut length = 2 + topic.len() + 1 + body.len();
    let mut packet = vec![0x30 | u8::from(retain)];
    loop {
        let low = u8::try_from(length & 0x7f).expect("seven bits");
        length >>= 7;
        packet.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    packet.extend(u16::try_from(topic.len()).expect("short").to_be_bytes());
    packet.extend(topic.as_bytes());
    packet.push(0);
    packet.extend(body);
    packet
}

/// The last that a liar says, so that it is known when all was heard.
fn last(number: usize) -> (PeerId, Vec<u8>) {
    let id = format!("last-{number}");
    let body = json!({"id": id, "capabilities": []}).to_string();
    let packet = publish(&format!("mindgit/kernels/{id}/announce"), body.as_bytes(), true);
    (PeerId::of_foreign(&format!("mqtt:mindgit/kernels:{id}")), packet)
}

/// What can be said of somebody whose key one does not have, and what he said once.
fn lies_about(honest: &KeyPair, me: &KeyPair) -> Vec<Vec<u8>> {
    let topic = |who: &KeyPair, rest: &str| format!("mindgit/kernels/{}/{rest}", who.peer());
    let old = Timestamp::from_millis(1_700_000_000_000);
    let said_once = comity_core::wire::announce::PeerInfo {
        id: honest.peer().to_string(),
        url: Some("https://10.6.6.6:1".to_owned()),
        capabilities: vec!["evil".to_owned()],
        protocols: Vec::new(),
        protocol_version: None,
        metadata: Map::new(),
        last_seen: Some(old),
        key: None,
        expires_at: None,
        session: Some("an old session".to_owned()),
    };
    let kept = sign_info(&said_once, honest).to_string();
    let goodbye = sign_goodbye("an old one", "an old session", honest).to_string();
    let forged = sign_goodbye("forged", "an old session", me).to_string();
    vec![
        publish(&topic(honest, "announce"), b"", true),
        publish(&topic(honest, "announce"), kept.as_bytes(), true),
        publish(&topic(honest, "announce"), &br#"{"id":"x","capabilities":["evil"]}"#[..], true),
        publish(&topic(honest, "capabilities/evil"), b"{}", true),
        publish(&topic(honest, "goodbye"), kept.as_bytes(), false),
        publish(&topic(honest, "capabilities/evil"), kept.as_bytes(), false),
        publish(&topic(honest, "goodbye"), goodbye.as_bytes(), true),
        publish(&topic(honest, "goodbye"), forged.as_bytes(), false),
        publish(&topic(honest, "goodbye"), b"", false),
        publish(&topic(me, "announce"), b"", true),
        publish(&topic(me, "goodbye"), b"", false),
        publish("mindgit/kernels/#", b"{}", true),
        publish("elsewhere", b"{}", false),
        publish(&topic(honest, "announce"), &vec![b' '; 300_000], true),
    ]
}

#[tokio::test]
async fn lying_and_flooding_brokers_change_nothing_of_what_an_honest_one_says() {
    let (honest, mut urls) = broker().await;
    let mut bob = Listening::at(&urls, 2, &["sing"]);
    let (about, me) = (bob.keys.clone(), KeyPair::from_seed([1; 32]));
    let lies = lies_about(&about, &me);
    let (lied, end) = last(1);
    let (url, lying) = liar(move |stream| {
        let packets = [lies.clone(), vec![end.clone()]].concat();
        async move {
            let _open = say(stream, packets).await;
            std::future::pending::<()>().await;
        }
    })
    .await;
    urls.push(url);
    let (flooded, begin) = last(2);
    let (url, flooding) = liar(move |stream| {
        let begin = begin.clone();
        async move {
            let mut write = say(stream, vec![begin]).await;
            let nobody = |n: u64| {
                publish(&format!("mindgit/kernels/n-{n}/announce"), format!("{{\"id\":\"n-{n}\"}}").as_bytes(), true)
            };
            let many = (0..).map(|chunk: u64| (chunk * 100..chunk * 100 + 100).flat_map(nobody).collect::<Vec<u8>>());
            for chunk in many {
                if write.write_all(&chunk).await.is_err() {
                    return;
                }
            }
        }
    })
    .await;
    urls.push(url);
    let mut ann = Listening::at(&urls, 1, &[]);
    let mut seen = BTreeMap::from([(lied, false), (flooded, false), (about.peer(), false)]);
    while seen.values().any(|seen| !seen) {
        let who = ann.until(|input| match input {
            Input::Sighted(sighting) => Some(sighting.peer),
            Input::Unsighted { peer, .. } => panic!("{peer} is gone"),
            _ => None,
        });
        seen.entry(who.await).and_modify(|seen| *seen = true);
    }
    ann.mqtt.publish_signal(about.peer(), b"offer".to_vec()).await.expect("small enough");
    let signal = timeout(PATIENCE, bob.signals.recv()).await.expect("in time").expect("a signal");
    assert_eq!(&signal.body[..], b"offer");
    let peers = ann.mqtt.peers().await;
    let seen = peers.iter().find(|peer| peer.peer == about.peer()).expect("bob is there");
    assert_eq!((seen.info.capabilities.as_slice(), seen.info.key), (&["sing".to_owned()][..], Some(about.node())));
    assert!(peers.len() < 1000, "{} strangers", peers.len());
    timeout(LEAVE_TIME + Duration::from_secs(1), ann.mqtt.leave()).await.expect("bounded");
    lying.abort();
    flooding.abort();
    bob.mqtt.leave().await;
    honest.stop().await;
}

#[tokio::test]
async fn brokers_that_stall_are_given_up_and_named() {
    let (mute, silent) = liar(async |_stream| std::future::pending::<()>().await).await;
    let (deaf, stalled) = liar(async |stream| {
        let _open = say(stream, Vec::new()).await;
        std::future::pending::<()>().await;
    })
    .await;
    let given_up = async |url: &String, seed: u8| {
        let mut ann = Listening::at(std::slice::from_ref(url), seed, &[]);
        let SourceHealth::Failed(why) = ann.health_within(STALLED).await else { panic!("it works") };
        assert!(why.contains(url) && why.contains("it does not answer"), "{why}");
        ann.mqtt.leave().await;
    };
    tokio::join!(given_up(&mute, 1), given_up(&deaf, 2));
    silent.abort();
    stalled.abort();
}

#[tokio::test]
async fn brokers_that_break_the_protocol_or_drop_are_named_and_not_asked_without_a_pause() {
    let malformed: [&[u8]; 6] = [
        // A length that never ends; a packet of no type; a server that subscribes; a publication of quality 3; a topic
        // longer than its packet; a text that is none.
        b"\x30\xff\xff\xff\xff\xff",
        b"\x00\x00",
        b"\x82\x05\x00\x01\x00\x00\x00",
        b"\x36\x05\x00\x01a\x00\x00",
        b"\x30\x04\xff\xff\x00\x00",
        b"\x30\x05\x00\x02\xff\xfe\x00",
    ];
    for last_words in malformed.into_iter().chain([&b""[..]]) {
        let (came, mut comes) = mpsc::unbounded_channel();
        let (url, liar) = liar(move |stream| {
            // Err: the test has seen enough.
            let _ = came.send(Instant::now());
            async move { drop(say(stream, vec![last_words.to_vec()]).await) }
        })
        .await;
        let mut ann = Listening::at(std::slice::from_ref(&url), 1, &[]);
        let SourceHealth::Failed(why) = ann.health().await else { panic!("it works") };
        let wanted = if last_words.is_empty() { "check that the broker runs" } else { "does not speak MQTT" };
        assert!(why.contains(&url) && why.contains(wanted), "{last_words:?}: {why}");
        if last_words.is_empty() {
            let mut times = Vec::new();
            for _ in 0..3 {
                times.push(timeout(PATIENCE, comes.recv()).await.expect("in time").expect("it comes again"));
            }
            assert!(times[1] - times[0] >= Duration::from_millis(450), "{times:?}");
            assert!(times[2] - times[1] >= Duration::from_millis(950), "{times:?}");
        }
        ann.mqtt.leave().await;
        liar.abort();
    }
}

/// A broker that answers each message by `answer`, which is told whether the message is to be kept and whether it takes
/// one back.
async fn judge(answer: fn(bool, bool) -> u8) -> (String, JoinHandle<()>) {
    liar(move |stream| async move {
        let (mut read, mut write) = stream.into_split();
        // Err: it was the client who hung up.
        let _ = write.write_all(WELCOME).await;
        let mut packets = BytesMut::new();
        while read.read_buf(&mut packets).await.is_ok_and(|length| length > 0) {
            while let Some((kind, packet)) = whole(&mut packets) {
                let said = match kind {
                    // What is subscribed to begins with its number, what is published with its topic.
                    0x82 => vec![0x90, 4, packet[0], packet[1], 0, 0],
                    kind if kind & 0xf0 == 0x30 => {
                        let end = 2 + usize::from(u16::from_be_bytes([packet[0], packet[1]]));
                        let code = answer(kind & 1 == 1, packet.len() == end + 3);
                        vec![0x40, 4, packet[end], packet[end + 1], code, 0]
                    }
                    _ => continue,
                };
                let _ = write.write_all(&said).await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn a_broker_that_denies_is_named_with_the_topic_and_what_to_do() {
    for (answer, wanted) in [
        ((|_, _| 0x87) as fn(bool, bool) -> u8, "it denies this node mindgit/kernels/"),
        (|_, _| 0x87, "access list"),
        (|_, _| 0x97, "it does not take mindgit/kernels/"),
        (|_, _| 0x97, "QuotaExceeded"),
    ] {
        let (url, liar) = judge(answer).await;
        let mut ann = Listening::at(std::slice::from_ref(&url), 1, &["sing"]);
        let SourceHealth::Failed(why) = ann.health().await else { panic!("it works") };
        assert!(why.contains(&url) && why.contains(wanted), "{why}");
        timeout(LEAVE_TIME + Duration::from_secs(1), ann.mqtt.leave()).await.expect("bounded");
        liar.abort();
    }
}

#[tokio::test]
async fn a_broker_without_room_is_asked_to_keep_nothing_more() {
    let (url, liar) = judge(|retain, withdrawn| if retain && !withdrawn { 0x97 } else { 0 }).await;
    let mut ann = Listening::at(std::slice::from_ref(&url), 1, &["sing"]);
    assert_eq!(ann.health().await, SourceHealth::Up);
    ann.mqtt.leave().await;
    liar.abort();
}

#[tokio::test]
async fn a_broker_that_hung_up_once_is_spoken_to_in_5_0_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("mqtt://{}", listener.local_addr().expect("an address"));
    let broker = tokio::spawn(async move {
        let mut levels = Vec::new();
        for answer in [&b""[..], &[0x20, 2, 0, 0], b""] {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let mut hello = vec![0; 1024];
            let length = stream.read(&mut hello).await.expect("a CONNECT");
            let name = hello[..length].windows(4).position(|name| name == b"MQTT").expect("the protocol's name");
            levels.push(hello[name + 4]);
            stream.write_all(answer).await.expect("an answer");
        }
        levels
    });
    let ann = Listening::at(&[url], 1, &[]);
    let levels = timeout(PATIENCE, broker).await.expect("in time").expect("no panic");
    assert_eq!(levels, [5, 4, 5]);
    ann.mqtt.leave().await;
}

#[tokio::test]
async fn a_broker_that_wants_to_hear_sooner_of_its_clients_is_pinged_sooner() {
    let (pinged, mut pings) = mpsc::unbounded_channel();
    let (url, liar) = liar(move |mut stream| {
        let pinged = pinged.clone();
        async move {
            // Success, and a Server Keep Alive of two seconds. Err: it was the client who hung up.
            let _ = stream.write_all(&[0x20, 6, 0, 0, 3, 0x13, 0, 2]).await;
            let mut packets = BytesMut::new();
            while stream.read_buf(&mut packets).await.is_ok_and(|length| length > 0) {
                while let Some((kind, _)) = whole(&mut packets) {
                    if kind == 0xc0 {
                        // Err: the test has seen enough.
                        let _ = pinged.send(Instant::now());
                    }
                }
            }
        }
    })
    .await;
    let begun = Instant::now();
    let ann = Listening::at(&[url], 1, &[]);
    let ping = timeout(PATIENCE, pings.recv()).await.expect("in time").expect("a ping");
    assert!(ping - begun < Duration::from_secs(2), "{:?}", ping - begun);
    ann.mqtt.leave().await;
    liar.abort();
}

#[tokio::test]
async fn a_denial_is_over_when_what_was_denied_is_taken() {
    static PUBLISHED: AtomicUsize = AtomicUsize::new(0);
    let once = |_, _| if PUBLISHED.fetch_add(1, Ordering::Relaxed) == 1 { 0x87 } else { 0 };
    let (url, liar) = judge(once).await;
    let mut ann = Listening::with(std::slice::from_ref(&url), 1, Some(&[]), &[("mqtt.interval_seconds", "2")]);
    assert_eq!(ann.health().await, SourceHealth::Up);
    assert!(matches!(ann.health().await, SourceHealth::Failed(_)));
    let denied = Instant::now();
    assert_eq!(ann.health().await, SourceHealth::Up);
    assert!(denied.elapsed() < Duration::from_secs(3), "{:?}", denied.elapsed());
    ann.mqtt.leave().await;
    liar.abort();
}

/// The next whole packet of at most 16 KiB: its first byte, and what follows its length.
pub(super) fn whole(bytes: &mut BytesMut) -> Option<(u8, BytesMut)> {
    let (length, head) = match (*bytes.get(1)?, bytes.get(2)) {
        (low, _) if low < 0x80 => (usize::from(low), 2),
        (low, Some(high)) => (usize::from(low & 0x7f) | usize::from(*high) << 7, 3),
        _ => return None,
    };
    if bytes.len() < head + length {
        return None;
    }
    let first = bytes[0];
    let mut packet = bytes.split_to(head + length);
    Some((first, packet.split_off(head)))
}
