//! mDNS between real sockets. Each scene is played in a network namespace of its own, so that no
//! packet leaves the machine; the tests start this program again inside one, by `unshare`.

use super::*;
use comity_core::id::{NodeId, PeerId};
use mdns_sd::{ResolvedService, ServiceInfo, TxtProperties};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::Command;

/// Plays a scene (an ignored test of this module) in a new namespace, after these commands.
fn play(scene: &str, set_up: &str) {
    let own = std::env::current_exe().expect("this program");
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net", "sh", "-c", &format!("{set_up} exec \"$0\" \"$@\"")])
        .arg(own)
        .args(["--exact", &format!("discovery::mdns::tests::{scene}"), "--ignored", "--nocapture"])
        .output()
        .expect("`unshare` (util-linux) and `ip` (iproute2) are installed");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

const LOOPBACK: &str = "ip link set lo up &&";
const NETWORK: &str = "ip link set lo up && ip link add eth0 type veth peer name other && ip link set other up && \
                       ip addr add 10.77.0.1/24 dev eth0 && ip link set eth0 up &&";
/// One network that this machine is on twice, as by cable and by radio.
const TWICE: &str = "ip addr add fe80::1/64 dev eth0 nodad && ip addr add fe80::2/64 dev other nodad &&";

#[test]
fn two_nodes_find_each_other_on_a_network() {
    play("scene_network", NETWORK);
}

#[test]
fn two_that_start_together_on_a_network_their_machine_is_on_twice_meet_within_a_second() {
    play("scene_twice", &format!("{NETWORK}{TWICE}"));
}

#[test]
fn two_nodes_on_a_machine_without_a_network_find_each_other_by_loopback() {
    play("scene_loopback", LOOPBACK);
}

#[test]
fn a_machine_without_any_interface_says_what_to_do() {
    play("scene_nothing", "");
}

/// A node that only discovers.
struct Finder {
    mdns: Mdns,
    heard: mpsc::UnboundedReceiver<Input>,
}

fn advertised(name: &str, key: u8, port: u16) -> Advertised {
    let key = NodeId::from_bytes([key; 32]);
    let txt = Txt {
        id: Some(key.peer()),
        name: name.to_owned(),
        version: "1.0".to_owned(),
        endpoint: format!("http://10.77.0.1:{port}"),
        key: Some(key),
        ..Txt::default()
    };
    Advertised { txt, port }
}

impl Finder {
    fn start(advertised: Advertised) -> Self {
        let (told, heard) = mpsc::unbounded_channel();
        let mdns = start(Vec::new(), advertised, move |input| {
            // Err: the scene has ended.
            let _ = told.send(input);
            std::future::ready(())
        });
        Self { mdns, heard }
    }

    async fn until<T>(&mut self, wanted: impl Fn(Input) -> Option<T>) -> T {
        let search = async {
            loop {
                if let Some(found) = wanted(self.heard.recv().await.expect("the source runs")) {
                    return found;
                }
            }
        };
        timeout(Duration::from_secs(10), search).await.expect("it is heard of in time")
    }

    async fn sighting(&mut self, name: &str) -> Sighting {
        self.until(|input| match input {
            // IPv4 and IPv6 answers come in packets of their own; the second sighting has both.
            Input::Sighted(sighting) if sighting.name == name && !addresses(&sighting).is_empty() => Some(sighting),
            _ => None,
        })
        .await
    }

    /// Who is no longer advertised.
    async fn farewell(&mut self) -> PeerId {
        self.until(|input| match input {
            Input::Unsighted { peer, .. } => Some(peer),
            // Addresses of the other kind, which come in packets of their own.
            _ => None,
        })
        .await
    }
}

fn addresses(sighting: &Sighting) -> Vec<String> {
    let all: BTreeSet<SocketAddr> = sighting.candidates.iter().map(|candidate| candidate.address).collect();
    all.iter().filter(|address| address.is_ipv4()).map(ToString::to_string).collect()
}

#[tokio::test]
#[ignore = "a scene: played in a namespace by another test"]
async fn scene_network() {
    let mut ada = Finder::start(advertised("ada", 1, 8400));
    ada.until(|input| matches!(input, Input::Source { health: SourceHealth::Up, .. }).then_some(())).await;
    let mut bob = Finder::start(advertised("bob", 2, 8401));
    let seen = bob.sighting("ada").await;
    assert_eq!(seen.key, Some(NodeId::from_bytes([1; 32])));
    assert_eq!(seen.told_by, None);
    assert_eq!(addresses(&seen), ["10.77.0.1:8400"], "loopback is left out where there is a network");
    assert_eq!(ada.sighting("bob").await.peer, NodeId::from_bytes([2; 32]).peer());

    let mut changed = advertised("bob", 2, 8401);
    changed.txt.capabilities = vec!["tea, with milk".to_owned()];
    bob.mdns.announce(changed).await;
    let renewed = |input| match input {
        Input::Sighted(sighting) if !sighting.capabilities.is_empty() => Some(sighting.capabilities),
        _ => None,
    };
    assert_eq!(ada.until(renewed).await, ["tea, with milk"]);

    let left = Instant::now();
    bob.mdns.leave().await;
    assert!(left.elapsed() < Duration::from_millis(500), "leaving takes {:?}", left.elapsed());
    assert_eq!(ada.farewell().await, NodeId::from_bytes([2; 32]).peer());
    let news = std::iter::from_fn(|| ada.heard.try_recv().ok());
    assert_eq!(news.filter(|input| matches!(input, Input::Sighted(_))).count(), 0, "who left is not news");
    assert!(left.elapsed() < Duration::from_secs(2), "the goodbye takes {:?}", left.elapsed());
}

#[tokio::test]
#[ignore = "a scene: played in a namespace by another test"]
async fn scene_twice() {
    let started = Instant::now();
    let mut ada = Finder::start(advertised("ada", 1, 8400));
    let mut bob = Finder::start(advertised("bob", 2, 8401));
    let (bob_seen, ada_seen) = tokio::join!(async { (ada.sighting("bob").await, started.elapsed()).1 }, async {
        (bob.sighting("ada").await, started.elapsed()).1
    },);
    // Whoever hears first dials, so the other knows then too.
    let met = bob_seen.min(ada_seen);
    assert!(met < Duration::from_secs(1), "it takes {met:?}");
    bob.mdns.leave().await;
    ada.farewell().await;
}

#[tokio::test]
#[ignore = "a scene: played in a namespace by another test"]
async fn scene_loopback() {
    let mut ada = Finder::start(advertised("ada", 1, 8400));
    let mut bob = Finder::start(advertised("bob", 2, 8401));
    let (seen_by_bob, seen_by_ada) = tokio::join!(bob.sighting("ada"), ada.sighting("bob"));
    assert_eq!(addresses(&seen_by_bob), ["127.0.0.1:8400"]);
    assert_eq!(addresses(&seen_by_ada), ["127.0.0.1:8401"]);
    assert!(seen_by_ada.told_by.is_some_and(|address| address.is_loopback()), "learned on loopback");
    drop(bob.mdns);
    assert_eq!(ada.farewell().await, NodeId::from_bytes([2; 32]).peer(), "who is dropped is announced no more");
}

#[tokio::test]
#[ignore = "a scene: played in a namespace by another test"]
async fn scene_nothing() {
    let mut ada = Finder::start(advertised("ada", 1, 8400));
    let sentence = ada
        .until(|input| match input {
            Input::Source { health: SourceHealth::Failed(sentence), .. } => Some(sentence),
            _ => None,
        })
        .await;
    assert!(sentence.contains("--peer host:port"), "{sentence}");
}

/// By hand, in a namespace: how long a newcomer takes to know one who is there.
#[tokio::test]
#[ignore = "measures; run it by `unshare` as the scenes are"]
async fn scene_newcomers() {
    let mut ada = Finder::start(advertised("ada", 1, 8400));
    ada.until(|input| matches!(input, Input::Source { health: SourceHealth::Up, .. }).then_some(())).await;
    sleep(Duration::from_secs(3)).await;
    let mut times = Vec::new();
    for number in 0..20 {
        let started = Instant::now();
        let mut bob = Finder::start(advertised("bob", 2, 8401 + number));
        bob.sighting("ada").await;
        times.push(started.elapsed());
        sleep(Duration::from_millis(1500)).await;
        bob.mdns.leave().await;
    }
    times.sort();
    println!("newcomer knows: median {:?}, slowest {:?}", times[times.len() / 2], times[times.len() - 1]);
}

fn resolved(port: u16, addresses: &[&str], txt: &[u8]) -> ResolvedService {
    let nothing: &[(String, String)] = &[];
    let service = ServiceInfo::new(SERVICE, "Some Printer", "printer.local.", addresses.join(","), port, nothing);
    let mut service = service.expect("a service").as_resolved_service();
    service.txt_properties = TxtProperties::from(txt);
    service
}

#[test]
fn a_record_that_loses_parts_is_not_news() {
    let key = format!("key={}", NodeId::from_bytes([1; 32]));
    let whole = strings(&[b"name=a", key.as_bytes()]);
    let seen = |addresses: &[&str], txt: &[u8]| sighting(&resolved(9000, addresses, txt)).expect("an address");
    let instance = Instance(seen(&["10.0.0.5", "10.0.0.6"], &whole));
    assert!(!instance.is_outdone_by(&seen(&["10.0.0.5"], &whole)));
    assert!(!instance.is_outdone_by(&seen(&["10.0.0.5", "10.0.0.6"], &[])));
    assert!(instance.is_outdone_by(&seen(&["10.0.0.5", "10.0.0.7"], &whole)));
    assert!(instance.is_outdone_by(&seen(&["10.0.0.5"], &strings(&[b"name=b", key.as_bytes()]))));
}

fn strings(list: &[&[u8]]) -> Vec<u8> {
    list.iter().flat_map(|string| [&[u8::try_from(string.len()).expect("short")], *string].concat()).collect()
}

#[test]
fn a_service_that_says_nothing_of_itself_is_listed_by_its_instance() {
    let seen = sighting(&resolved(9000, &["10.0.0.5"], &[])).expect("it has an address");
    assert_eq!((seen.name.as_str(), seen.key), ("Some Printer", None));
    assert_eq!(addresses(&seen), ["10.0.0.5:9000"]);
    let again = sighting(&resolved(9000, &["10.0.0.6"], &[])).expect("it has an address");
    assert_eq!(seen.peer, again.peer, "its id does not depend on where it is");
}

#[test]
fn an_endpoint_counts_only_where_the_service_itself_is() {
    let check = |endpoint: &[u8], wanted: &[&str]| {
        let txt = strings(&[b"name=a", endpoint]);
        let seen = sighting(&resolved(9000, &["10.0.0.5"], &txt)).expect("it has an address");
        assert_eq!(addresses(&seen), wanted);
    };
    check(b"endpoint=http://10.0.0.5:8000", &["10.0.0.5:8000", "10.0.0.5:9000"]);
    check(b"endpoint=http://10.0.0.9:8000", &["10.0.0.5:9000"]);
    check(b"endpoint=http://169.254.169.254/latest", &["10.0.0.5:9000"]);
    check(b"endpoint=http://bank.example:80", &["10.0.0.5:9000"]);
    check(b"endpoint=\xff\xfe", &["10.0.0.5:9000"]);
}

#[test]
fn hostile_records_are_read_or_passed_over_and_never_more() {
    let long = [b"caps=".as_slice(), &[b'x'; 250]].concat();
    let records: [&[u8]; 6] = [
        b"",
        b"\xff",
        b"\x05id=no",
        &strings(&[b"=", b"name", b"name=\xff\xfe\x00\x1b[31m", b"id=zzz", b"key=ed25519:AAAA", &long]),
        &[b'\x01', b'a'].repeat(30_000),
        &strings(&[b"meta=::::;;;;:;:", b"caps=,,,%,%zz", b"endpoint=http://[::1"]),
    ];
    for record in records {
        let seen = sighting(&resolved(9000, &["10.0.0.5"], record)).expect("it has an address");
        assert!(seen.capabilities.len() <= limits::PEER_LIST_MAX && seen.name.len() <= 255, "{seen:?}");
    }
    assert!(sighting(&resolved(0, &["10.0.0.5"], b"")).is_none(), "port 0 is no address");
    assert!(sighting(&resolved(1, &[], b"")).is_none());
}

#[test]
fn an_instance_name_is_one_label_whatever_the_node_is_called() {
    for name in ["", "a.b\\c", &"ü".repeat(100), "tab\there"] {
        let service = Name::new(name).service(&advertised(name, 1, 1)).expect("a service");
        let label = service.get_fullname().strip_suffix(&format!(".{SERVICE}")).expect("our service").to_owned();
        assert!(!label.contains('\t') && label.replace('\\', "").len() <= 66, "{label}");
        assert_ne!(
            Name::new(name).service(&advertised(name, 1, 1)).expect("a service").get_fullname(),
            service.get_fullname()
        );
    }
}
