//! What the embedded broker is asked about, and told of: who may connect, how long topics may be, and
//! what it keeps. The `mqtt5` crate hands on nothing that it has no room to keep, bounds neither the sum of
//! what it keeps nor the properties, and never lets go what has expired: that is done here.

use super::{CLIENTS_MAX, QUEUE_BYTES_MAX, RETAINED_MAX};
use mqtt5::broker::auth::{AuthProvider, AuthResult};
use mqtt5::broker::events::{BrokerEventHandler, ClientPublishEvent, PublishAction, RetainedSetEvent};
use mqtt5::broker::router::MessageRouter;
use mqtt5::broker::storage::{DynamicStorage, RetainedMessage, StorageBackend};
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::types::ReasonCode;
use mqtt5::{MqttError, QoS};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, SystemTime};
use tokio::time::interval;

/// Longest topic or filter, bytes: the longest prefix, an id, and the name of a capability.
const TOPIC_MAX: usize = 640;

/// Longest client id, bytes.
const CLIENT_ID_MAX: usize = 256;

/// Most clients that are remembered, there or away.
const SESSIONS_MAX: usize = 2 * CLIENTS_MAX;

/// Largest message that is kept, bytes, with its topic and what else it says; an announcement is a few hundred.
const KEPT_ONE_MAX: usize = 16 * 1024;

/// What the property takes in which the crate says who published, besides the client id, bytes.
const PROPERTY_BYTES: usize = 64;

/// What all kept messages may take, bytes: two copies are held of each, and [`KEPT_BYTES`] of what is around them. No
/// more than may wait for a client, or a newcomer would not get it all.
const KEPT_BYTES_MAX: usize = QUEUE_BYTES_MAX;
const KEPT_BYTES: usize = 300;

/// How often expired messages are let go.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// One broker's keeper.
#[derive(Default)]
pub(super) struct Keeper {
    /// The broker, once it is there.
    ward: OnceLock<Ward>,
    /// A lock, because the broker asks from many tasks and waits for each answer.
    kept: Mutex<Kept>,
}

struct Ward {
    /// Weak: the router holds the keeper.
    router: Weak<MessageRouter>,
    storage: Arc<DynamicStorage>,
}

/// What the broker keeps now.
#[derive(Default)]
struct Kept {
    messages: BTreeMap<Arc<str>, Message>,
    bytes: usize,
}

struct Message {
    bytes: usize,
    expires_at: Option<SystemTime>,
}

impl Message {
    fn is_over(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|at| at <= now)
    }
}

/// What a kept message of this size takes.
fn taken(size: usize) -> usize {
    2 * size + KEPT_BYTES
}

impl Kept {
    fn remove(&mut self, topic: &str) {
        self.bytes -= self.messages.remove(topic).map_or(0, |message| message.bytes);
    }

    /// Whether there is room for a message of this size, in the place of the one that its topic has.
    fn fits(&self, topic: &str, size: usize) -> bool {
        let before = self.messages.get(topic);
        let others = self.messages.len() - usize::from(before.is_some());
        let bytes = self.bytes - before.map_or(0, |message| message.bytes) + taken(size);
        size <= KEPT_ONE_MAX && others < RETAINED_MAX && bytes <= KEPT_BYTES_MAX
    }

    /// Notes a message; whether there is room for it.
    fn put(&mut self, topic: Arc<str>, size: usize, expires_at: Option<SystemTime>) -> bool {
        let fits = self.fits(&topic, size);
        self.remove(&topic);
        // Noted all the same: it is there until it is taken back.
        let bytes = taken(size);
        self.bytes += bytes;
        self.messages.insert(topic, Message { bytes, expires_at });
        fits
    }

    /// What has expired.
    fn expired(&self, now: SystemTime) -> Vec<Arc<str>> {
        let over = |(topic, message): (&Arc<str>, &Message)| message.is_over(now).then(|| topic.clone());
        self.messages.iter().filter_map(over).collect()
    }
}

impl Keeper {
    /// Says which broker it keeps.
    pub(super) fn begin(&self, router: &Arc<MessageRouter>, storage: Arc<DynamicStorage>) {
        let ward = Ward { router: Arc::downgrade(router), storage };
        // Err: it has begun already.
        let _ = self.ward.set(ward);
    }

    /// Lets go what has expired, for as long as it runs.
    pub(super) async fn sweep(&self) {
        let mut due = interval(SWEEP_EVERY);
        loop {
            due.tick().await;
            let now = SystemTime::now();
            let expired = self.kept().expired(now);
            self.let_go(expired, now).await;
        }
    }

    async fn let_go(&self, expired: Vec<Arc<str>>, now: SystemTime) {
        for topic in expired {
            // It may have been said anew meanwhile.
            let is_over = self.kept().messages.get(&topic).is_some_and(|message| message.is_over(now));
            if is_over {
                self.take_back(&topic).await;
            }
        }
    }

    /// Takes a kept message back, the only way there is: by an empty one.
    async fn take_back(&self, topic: &str) {
        if let Some(router) = self.ward.get().and_then(|ward| ward.router.upgrade()) {
            let empty = PublishPacket::new(topic, Vec::new(), QoS::AtMostOnce).with_retain(true);
            router.route_message(&empty, None).await;
        }
    }

    /// Notes what is kept now. What could not be told before is told here: how much a will takes, and how much the
    /// properties do.
    async fn note(&self, topic: Arc<str>) {
        let Some(ward) = self.ward.get() else { return };
        let stored = ward.storage.get_retained_message(&topic).await;
        let Ok(Some(stored)) = stored else {
            // It had expired before it was looked for; the router has it for ever.
            return self.take_back(&topic).await;
        };
        let fits = self.kept().put(topic.clone(), size(&stored), stored.expires_at);
        if !fits {
            tracing::debug!(%topic, "the MQTT broker has no room to keep this message");
            self.take_back(&topic).await;
        }
    }

    /// Decides whether a message that is to be kept will be. If not, it is handed on without being kept: to take it
    /// back afterwards would be a withdrawal for who is there. Its properties are lost, because the crate does not show
    /// them all.
    async fn decide(&self, said: ClientPublishEvent) -> PublishAction {
        let rest = said.response_topic.as_ref().map_or(0, |text| text.len())
            + said.correlation_data.as_ref().map_or(0, |data| data.len());
        let size = said.topic.len() + said.payload.len() + said.client_id.len() + PROPERTY_BYTES + rest;
        let (fits, replaces) = {
            let kept = self.kept();
            (kept.fits(&said.topic, size), kept.messages.contains_key(&said.topic))
        };
        if !said.retain || said.payload.is_empty() || fits {
            return PublishAction::Continue;
        }
        tracing::debug!(topic = %said.topic, "the MQTT broker hands a message on without keeping it");
        if replaces {
            // Newcomers would be told what is no longer so.
            self.take_back(&said.topic).await;
        }
        let mut packet = PublishPacket::new(&*said.topic, said.payload, said.qos);
        packet.packet_id = said.packet_id;
        PublishAction::Transform(packet)
    }

    async fn may_connect(&self, client: &str) -> bool {
        let Some(ward) = self.ward.get() else { return true };
        match ward.storage.session_client_ids().await {
            Ok(ids) => ids.len() < SESSIONS_MAX || ids.iter().any(|id| id == client),
            Err(_) => false,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How large a kept message is, with its topic and what else it says.
fn size(message: &RetainedMessage) -> usize {
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let properties = message.user_properties.iter().map(|(name, value)| name.len() + value.len() + 48).sum::<usize>();
    let rest = length(&message.content_type) + length(&message.response_topic);
    let data = message.correlation_data.as_ref().map_or(0, Vec::len);
    message.topic.len() + message.payload.len() + properties + rest + data
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl AuthProvider for Keeper {
    fn authenticate<'a>(
        &'a self,
        connect: &'a ConnectPacket,
        _client: SocketAddr,
    ) -> Answer<'a, Result<AuthResult, MqttError>> {
        Box::pin(async move {
            if connect.client_id.len() > CLIENT_ID_MAX {
                return Ok(AuthResult::fail(ReasonCode::ClientIdentifierNotValid));
            }
            let may = self.may_connect(&connect.client_id).await;
            Ok(if may { AuthResult::success() } else { AuthResult::fail(ReasonCode::ServerBusy) })
        })
    }

    fn authorize_publish<'a>(&'a self, _client: &str, _user: Option<&'a str>, topic: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(topic.len() <= TOPIC_MAX))
    }

    fn authorize_subscribe<'a>(&'a self, _client: &str, _user: Option<&'a str>, filter: &'a str) -> Answer<'a, bool> {
        Box::pin(std::future::ready(filter.len() <= TOPIC_MAX))
    }
}

impl BrokerEventHandler for Keeper {
    fn on_client_publish<'a>(&'a self, event: ClientPublishEvent) -> Answer<'a, PublishAction> {
        Box::pin(self.decide(event))
    }

    fn on_retained_set<'a>(&'a self, event: RetainedSetEvent) -> Answer<'a, ()> {
        Box::pin(async move {
            if event.cleared {
                self.kept().remove(&event.topic);
            } else {
                self.note(event.topic).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Broker;
    use super::*;
    use crate::announcing::{About, Discovery, Filter};
    use crate::config::{Config, Flag, Mqtt, Sources};
    use comity_core::identity::key::KeyPair;
    use comity_core::time::Timestamp;
    use comity_core::wire::announce::{PREFIX, PeerInfo, sign_info};
    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    async fn broker() -> Broker {
        Broker::start((Ipv4Addr::LOCALHOST, 0).into(), None).await.expect("a broker")
    }

    /// A kept message that expires after so many seconds.
    async fn keep(broker: &Broker, topic: &str, body: Vec<u8>, seconds: u32) {
        let packet = PublishPacket::new(topic, body, QoS::AtMostOnce).with_retain(true);
        broker.router.route_message(&packet.with_message_expiry_interval(seconds), None).await;
    }

    #[tokio::test]
    async fn what_has_expired_makes_room_for_others() {
        let broker = broker().await;
        keep(&broker, "soon", b"{}".to_vec(), 10).await;
        keep(&broker, "later", b"{}".to_vec(), 1000).await;
        assert_eq!(broker.keeper.kept().expired(SystemTime::now()).len(), 0);
        let now = SystemTime::now() + Duration::from_secs(11);
        let expired = broker.keeper.kept().expired(now);
        broker.keeper.let_go(expired, now).await;
        assert_eq!(
            (broker.router.retained_count().await, broker.router.has_retained_message("later").await),
            (1, true)
        );
        assert_eq!(broker.keeper.kept().messages.len(), 1);
        broker.stop().await;
    }

    #[tokio::test]
    async fn what_is_said_anew_while_others_are_let_go_stays() {
        let broker = broker().await;
        keep(&broker, "soon", b"{}".to_vec(), 10).await;
        let now = SystemTime::now() + Duration::from_secs(11);
        let expired = broker.keeper.kept().expired(now);
        assert_eq!(expired.len(), 1);
        keep(&broker, "soon", b"{}".to_vec(), 30).await;
        broker.keeper.let_go(expired, now).await;
        assert!(broker.router.has_retained_message("soon").await);
        broker.stop().await;
    }

    #[tokio::test]
    async fn what_has_expired_when_it_comes_is_not_kept_for_ever() {
        let broker = broker().await;
        keep(&broker, "never", b"{}".to_vec(), 0).await;
        assert_eq!((broker.router.retained_count().await, broker.keeper.kept().bytes), (0, 0));
        broker.stop().await;
    }

    fn said(topic: &str, length: usize) -> ClientPublishEvent {
        ClientPublishEvent {
            client_id: "ann".into(),
            user_id: None,
            topic: topic.into(),
            payload: vec![b' '; length].into(),
            qos: QoS::AtLeastOnce,
            retain: true,
            packet_id: Some(7),
            response_topic: None,
            correlation_data: None,
        }
    }

    #[tokio::test]
    async fn what_there_is_no_room_to_keep_is_handed_on_and_taken_back_from_nobody() {
        let broker = broker().await;
        for number in 0..RETAINED_MAX {
            keep(&broker, &format!("t/{number}"), b"{}".to_vec(), 1000).await;
        }
        let unkept = |action| match action {
            PublishAction::Transform(packet) => !packet.retain && packet.packet_id == Some(7),
            PublishAction::Continue | PublishAction::Handled => false,
        };
        assert!(unkept(broker.keeper.on_client_publish(said("more", 2)).await));
        assert!(!unkept(broker.keeper.on_client_publish(said("t/0", 400)).await), "it has its place");
        assert!(!unkept(broker.keeper.on_client_publish(said("more", 0)).await), "a withdrawal");
        assert_eq!(broker.router.retained_count().await, RETAINED_MAX);
        assert!(unkept(broker.keeper.on_client_publish(said("t/0", KEPT_ONE_MAX)).await));
        assert!(!broker.router.has_retained_message("t/0").await, "what is no longer so");
        keep(&broker, "t/0", b"{}".to_vec(), 1000).await;
        keep(&broker, "beyond", b"{}".to_vec(), 1000).await;
        assert!(!broker.router.has_retained_message("beyond").await, "as a will would be");
        broker.stop().await;
    }

    #[tokio::test]
    async fn at_a_full_broker_nodes_find_one_another_all_the_same() {
        let broker = broker().await;
        for number in 0..RETAINED_MAX {
            keep(&broker, &format!("t/{number}"), b"{}".to_vec(), 1000).await;
        }
        let settings = settings(&broker);
        let [ann, bob] = [(); 2].map(|()| Discovery::start(&settings, None, About::default()));
        for node in [&ann, &bob] {
            node.announce_self(&BTreeMap::new());
            assert_eq!(node.settled(PATIENCE).await.trouble(), None);
        }
        for node in [&ann, &bob] {
            let mut changes = node.changes();
            let found = async {
                while node.get_peers(&Filter::default()).await.is_empty() {
                    changes.next().await.expect("discovery goes on");
                }
            };
            timeout(PATIENCE, found).await.expect("in time");
        }
        ann.stop().await;
        bob.stop().await;
        broker.stop().await;
    }

    #[tokio::test]
    async fn all_that_is_kept_has_a_bound_properties_included() {
        let broker = broker().await;
        let large = vec![b' '; KEPT_ONE_MAX - TOPIC_MAX];
        for number in 0..2 * KEPT_BYTES_MAX / KEPT_ONE_MAX {
            keep(&broker, &format!("t/{number}"), large.clone(), 1000).await;
        }
        let kept = broker.router.retained_count().await;
        assert!((110..140).contains(&kept), "{kept}");
        assert!(broker.keeper.kept().bytes <= KEPT_BYTES_MAX);
        keep(&broker, "t/0", b"{}".to_vec(), 1000).await;
        let wordy = PublishPacket::new("wordy", &b"{}"[..], QoS::AtMostOnce).with_retain(true);
        let wordy = wordy.with_user_property("a".to_owned(), "b".repeat(KEPT_ONE_MAX));
        broker.router.route_message(&wordy, None).await;
        assert!(!broker.router.has_retained_message("wordy").await);
        assert!(broker.router.has_retained_message("t/0").await, "there is room for what is smaller");
        broker.stop().await;
    }

    fn settings(broker: &Broker) -> Mqtt {
        let flag = Flag { name: "test", key: "mqtt.brokers", values: vec![format!("mqtt://{}", broker.address())] };
        let sources = Sources { flags: vec![flag], ..Sources::default() };
        Config::read(&sources).expect("good flags").0.mqtt.expect("a broker")
    }

    /// What the broker says to an MQTT 5 CONNECT of this client, which then hangs up and wants to be remembered.
    async fn welcome(broker: &Broker, client: &str) -> u8 {
        let mut stream = TcpStream::connect(broker.address()).await.expect("a connection");
        let id = u16::try_from(client.len()).expect("short").to_be_bytes();
        let mut packet = b"\x00\x04MQTT\x05\x00\x00\x3c\x05\x11\x00\x00\x01\x00".to_vec();
        packet.extend([&id[..], client.as_bytes()].concat());
        let length = u16::try_from(packet.len()).expect("short");
        let low = u8::try_from(length & 0x7f).expect("seven bits") | 0x80;
        let mut bytes = vec![0x10, low, u8::try_from(length >> 7).expect("short")];
        bytes.extend(packet);
        stream.write_all(&bytes).await.expect("a packet");
        let mut answer = [0; 4];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("in time").expect("an answer");
        answer[3]
    }

    #[tokio::test]
    async fn only_so_many_clients_are_remembered_and_who_is_may_come_back() {
        let broker = broker().await;
        for number in 0..SESSIONS_MAX {
            assert_eq!(welcome(&broker, &format!("c-{number}")).await, 0, "{number}");
        }
        assert_eq!(welcome(&broker, "one-more").await, 0x89, "the server is busy");
        assert_eq!(welcome(&broker, "c-7").await, 0);
        assert_eq!(welcome(&broker, &"x".repeat(CLIENT_ID_MAX + 1)).await, 0x85);
        broker.stop().await;
    }

    #[tokio::test]
    async fn a_newcomer_gets_all_that_is_kept() {
        let broker = broker().await;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
        let now = Timestamp::from_millis(u64::try_from(now.as_millis()).expect("before 500 million"));
        let mut topic = String::new();
        for number in 0..RETAINED_MAX as u64 {
            let mut seed = [7; 32];
            seed[..8].copy_from_slice(&number.to_le_bytes());
            let key = KeyPair::from_seed(seed);
            let info = PeerInfo {
                id: key.peer().to_string(),
                url: Some("https://192.168.1.5:8400/dashflow/rtc".to_owned()),
                capabilities: vec!["search".to_owned(), "summarise".to_owned()],
                protocols: ["webrtc-data", "ws-jsonrpc", "http-rest"].map(str::to_owned).to_vec(),
                last_seen: Some(now),
                session: Some("s-1".to_owned()),
                ..PeerInfo::default()
            };
            topic = format!("{PREFIX}/{}/announce", info.id);
            let body = sign_info(&info, &key).to_string();
            let packet = PublishPacket::new(&topic, body.into_bytes(), QoS::AtLeastOnce).with_retain(true);
            broker.router.route_message(&packet, None).await;
        }
        assert!(broker.router.has_retained_message(&topic).await, "{} bytes", broker.keeper.kept().bytes);
        let discovery = Discovery::start(&settings(&broker), None, About::default());
        let found = discovery.discover_peers(&Filter::default()).await.len();
        assert_eq!(found, RETAINED_MAX);
        discovery.stop().await;
        broker.stop().await;
    }
}
