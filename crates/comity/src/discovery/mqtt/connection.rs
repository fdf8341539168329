//! One MQTT connection, 5.0 or 3.1.1: packets in and out, QoS 1, bounded both ways. The packets are
//! the `mqtt5` crate's; its client is not used, because it follows a broker's redirects with the
//! password in hand, and takes in without a bound what a broker sends.

use super::transport::{Pipe, Unusable};
use bytes::{Buf, Bytes, BytesMut};
use comity_core::wire::announce::BODY_MAX;
use mqtt5::packet::connect::ConnectPacket;
use mqtt5::packet::disconnect::DisconnectPacket;
use mqtt5::packet::publish::PublishPacket;
use mqtt5::packet::subscribe::SubscribePacket;
use mqtt5::packet::{FixedHeader, MqttPacket, Packet, PacketType};
use mqtt5::types::ReasonCode;
use mqtt5::{ConnectProperties, ProtocolVersion, QoS, WillMessage};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// Largest packet that is read: the largest body, its topic, and properties.
const PACKET_MAX: usize = BODY_MAX + 4 * 1024;

/// Most messages of the broker that wait for their acknowledgement.
const RECEIVE_MAX: u16 = 256;

/// Most own messages that wait for room.
const OUT_MAX: usize = 512;

/// How long the broker may take for a write or an acknowledgement; then it is stalled.
const STALL: Duration = Duration::from_secs(20);

/// The protocol's keepalive.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(60);

/// How long nothing is written until a ping goes out, unless the broker wants to hear of its clients sooner.
const PING_AFTER: Duration = Duration::from_secs(30);

/// How long nothing may come, a ping's answer included.
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// How a node presents itself.
pub(super) struct Hello {
    pub(super) version: ProtocolVersion,
    pub(super) client_id: String,
    pub(super) login: Option<crate::config::Login>,
    /// Topic and body of what the broker says when the connection breaks.
    pub(super) will: Option<(String, Vec<u8>)>,
    /// How long the broker keeps what it could not deliver; zero: nothing is.
    pub(super) session: Duration,
}

/// A message to be published.
#[derive(Debug, Clone)]
pub(super) struct Publication {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
    pub(super) retain: bool,
    /// How long it counts.
    pub(super) expiry: Option<Duration>,
}

/// What comes of a connection.
#[derive(Debug)]
pub(super) enum Happened {
    /// A message came.
    Message { topic: String, body: Bytes, retain: bool },
    /// One came that was too large to be read.
    TooLarge,
    /// The broker refused a publication or a subscription.
    Denied { topic: String, code: ReasonCode },
    /// Everything that was asked for is acknowledged.
    Settled,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Loss {
    /// The network failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// There is no way to it before something is mended.
    #[error(transparent)]
    Unusable(#[from] Unusable),
    /// The broker refused.
    #[error("it refuses this node ({0:?})")]
    Refused(ReasonCode),
    /// The broker ended it.
    #[error("it closed the connection ({0:?})")]
    Closed(ReasonCode),
    /// The broker breaks the protocol.
    #[error("it does not speak MQTT properly")]
    Malformed,
    /// It does not answer.
    #[error("it does not answer")]
    Stalled,
    /// This machine has lost the address from which it was reached.
    #[error("this machine has another address")]
    Moved,
}

impl From<mqtt5::MqttError> for Loss {
    fn from(_: mqtt5::MqttError) -> Self {
        Self::Malformed
    }
}

/// What waits to be written.
enum Out {
    Publish(Publication),
    Subscribe(Vec<String>),
}

/// What the broker must acknowledge, and since when.
struct Owed {
    what: String,
    /// The publication that the broker is to keep: one without room for it hands it on to nobody.
    kept: Option<Publication>,
    since: Instant,
}

/// A connection that stands.
pub(super) struct Connection {
    pipe: Pipe,
    version: u8,
    read: BytesMut,
    /// Bytes of a packet that is too large, still to be passed over.
    skip: usize,
    out: VecDeque<Out>,
    owed: BTreeMap<u16, Owed>,
    owed_max: usize,
    packet_max: usize,
    next_id: u16,
    ping_after: Duration,
    wrote: Instant,
    heard: Instant,
    /// Whether something was asked for since everything was acknowledged.
    unsettled: bool,
    /// Whether the broker keeps messages, as far as it says.
    retains: bool,
    /// Whether it has said that it has no room to keep more.
    full: bool,
    /// What was left out because too much waited.
    pub(super) overflowed: u64,
}

impl Connection {
    /// Says hello, and waits for the broker to agree.
    pub(super) async fn open(mut pipe: Pipe, hello: Hello) -> Result<Self, Loss> {
        let version = hello.version.as_u8();
        let mut bytes = BytesMut::new();
        connect_packet(hello).encode(&mut bytes)?;
        pipe.write(bytes.freeze()).await?;
        let now = Instant::now();
        let mut connection = Self {
            pipe,
            version,
            read: BytesMut::with_capacity(8 * 1024),
            skip: 0,
            out: VecDeque::new(),
            owed: BTreeMap::new(),
            owed_max: usize::from(u16::MAX),
            packet_max: usize::MAX,
            next_id: 1,
            ping_after: PING_AFTER,
            wrote: now,
            heard: now,
            unsettled: false,
            retains: true,
            full: false,
            overflowed: 0,
        };
        loop {
            // What speaks another protocol may never send as much as its first bytes seem to promise.
            if connection.read.first().is_some_and(|byte| byte >> 4 != PacketType::ConnAck as u8) {
                return Err(Loss::Malformed);
            }
            match connection.take_packet()? {
                Some(Taken::Packet(Packet::ConnAck(ack))) if ack.reason_code == ReasonCode::Success => {
                    connection.owed_max = usize::from(ack.receive_maximum().unwrap_or(u16::MAX)).max(1);
                    let most = ack.maximum_packet_size().and_then(|most| usize::try_from(most).ok());
                    connection.packet_max = most.unwrap_or(usize::MAX);
                    // Zero: it does not care.
                    if let Some(seconds) = ack.properties.get_server_keep_alive().filter(|seconds| *seconds > 0) {
                        connection.ping_after = PING_AFTER.min(Duration::from_secs(seconds.into()) / 2);
                    }
                    connection.retains =
                        ack.properties.get(mqtt5::PropertyId::RetainAvailable) != Some(&mqtt5::PropertyValue::Byte(0));
                    return Ok(connection);
                }
                Some(Taken::Packet(Packet::ConnAck(ack))) => return Err(Loss::Refused(ack.reason_code)),
                Some(_) => return Err(Loss::Malformed),
                None => connection.pipe.read(&mut connection.read).await?,
            }
        }
    }

    /// The broker's address.
    pub(super) fn remote(&self) -> std::net::IpAddr {
        self.pipe.remote
    }

    /// Whether this machine still has the address from which the broker is reached. Nothing else would say
    /// so soon: what is sent from an address that is gone is neither answered nor refused.
    pub(super) fn is_grounded(&self) -> bool {
        let own = self.pipe.local;
        if_addrs::get_if_addrs().is_ok_and(|all| all.iter().any(|interface| interface.ip() == own.to_canonical()))
    }

    /// Whether the broker keeps what is published, as far as it says.
    pub(super) fn keeps(&self) -> bool {
        self.retains && !self.full
    }

    /// Publishes when there is room.
    pub(super) fn publish(&mut self, publication: Publication) {
        self.put(Out::Publish(publication));
    }

    /// Subscribes to each of these, in this order.
    pub(super) fn subscribe(&mut self, filters: impl IntoIterator<Item = String>) {
        for filter in filters {
            self.put(Out::Subscribe(vec![filter]));
        }
    }

    fn put(&mut self, out: Out) {
        if self.out.len() >= OUT_MAX {
            self.overflowed += 1;
        } else {
            self.out.push_back(out);
            self.unsettled = true;
        }
    }

    /// Does what can be done without waiting for the broker: what happened next, or `None` when it is its turn.
    /// Not to be given up half way, because it writes; but its time is bounded.
    pub(super) async fn step(&mut self) -> Result<Option<Happened>, Loss> {
        loop {
            self.write_out().await?;
            if self.wrote.elapsed() >= self.ping_after {
                self.write(Bytes::from_static(&[0xc0, 0])).await?;
            }
            if self.unsettled && self.owed.is_empty() && self.out.is_empty() {
                self.unsettled = false;
                return Ok(Some(Happened::Settled));
            }
            match self.take_packet()? {
                Some(Taken::TooLarge(id)) => {
                    self.acknowledge(id).await?;
                    return Ok(Some(Happened::TooLarge));
                }
                Some(Taken::Packet(packet)) => {
                    let happened = self.handle(packet).await?;
                    if happened.is_some() {
                        return Ok(happened);
                    }
                }
                None => return Ok(None),
            }
        }
    }

    /// Waits for the broker, or until a ping is due. It may be given up at any time.
    pub(super) async fn wait(&mut self) -> Result<(), Loss> {
        let stalled_at = self.owed.values().map(|owed| owed.since + STALL).min();
        let silent_at = self.heard + SILENCE_MAX;
        let give_up_at = stalled_at.map_or(silent_at, |at| at.min(silent_at));
        tokio::select! {
            read = self.pipe.read(&mut self.read) => {
                read?;
                self.heard = Instant::now();
                Ok(())
            }
            () = sleep_until(self.wrote + self.ping_after) => Ok(()),
            () = sleep_until(give_up_at) => Err(Loss::Stalled),
        }
    }

    /// Ends it properly: the broker forgets the session and does not publish the will.
    pub(super) async fn close(mut self) -> Result<(), Loss> {
        let mut bytes = BytesMut::new();
        if self.version == ProtocolVersion::V5.as_u8() {
            DisconnectPacket::normal().with_session_expiry_interval(0).encode(&mut bytes)?;
        } else {
            bytes.extend_from_slice(&[0xe0, 0]);
        }
        self.write(bytes.freeze()).await?;
        Ok(self.pipe.close().await?)
    }

    async fn handle(&mut self, packet: Packet) -> Result<Option<Happened>, Loss> {
        match packet {
            Packet::Publish(publish) => {
                if let Some(id) = publish.packet_id {
                    self.acknowledge(Some(id)).await?;
                }
                let PublishPacket { topic_name: topic, payload: body, retain, .. } = publish;
                Ok(Some(Happened::Message { topic, body, retain }))
            }
            Packet::PubAck(ack) => Ok(self.settle(ack.packet_id, ack.reason_code)),
            Packet::SubAck(ack) => {
                let denied = ack.reason_codes.iter().find(|code| !code.is_success());
                let code = denied.map_or(Some(ReasonCode::Success), |code| ReasonCode::from_u8(*code as u8));
                Ok(self.settle(ack.packet_id, code.unwrap_or(ReasonCode::UnspecifiedError)))
            }
            Packet::PingResp => Ok(None),
            Packet::Disconnect(disconnect) => Err(Loss::Closed(disconnect.reason_code)),
            _ => Err(Loss::Malformed),
        }
    }

    fn settle(&mut self, id: u16, code: ReasonCode) -> Option<Happened> {
        let owed = self.owed.remove(&id)?;
        if let Some(publication) = owed.kept.filter(|_| code == ReasonCode::QuotaExceeded) {
            self.full = true;
            self.publish(publication);
            return None;
        }
        code.is_error().then_some(Happened::Denied { topic: owed.what, code })
    }

    async fn acknowledge(&mut self, id: Option<u16>) -> Result<(), Loss> {
        let Some(id) = id else { return Ok(()) };
        let [high, low] = id.to_be_bytes();
        self.write(Bytes::copy_from_slice(&[0x40, 2, high, low])).await
    }

    /// Writes what waits, as far as the broker takes more.
    async fn write_out(&mut self) -> Result<(), Loss> {
        let mut bytes = BytesMut::new();
        while self.owed.len() < self.owed_max {
            let Some(out) = self.out.pop_front() else { break };
            let id = self.free_id();
            let before = bytes.len();
            let (what, kept) = match out {
                Out::Publish(publication) => {
                    let kept = self.is_kept(&publication) && !publication.body.is_empty();
                    let kept = kept.then(|| publication.clone());
                    let what = publication.topic.clone();
                    self.publish_packet(publication, id).encode(&mut bytes)?;
                    (what, kept)
                }
                Out::Subscribe(filters) => {
                    let what = filters.join(" ");
                    self.subscribe_packet(filters, id).encode(&mut bytes)?;
                    (what, None)
                }
            };
            if bytes.len() - before > self.packet_max {
                bytes.truncate(before);
                self.overflowed += 1;
                continue;
            }
            self.owed.insert(id, Owed { what, kept, since: Instant::now() });
        }
        if bytes.is_empty() { Ok(()) } else { self.write(bytes.freeze()).await }
    }

    /// Whether the broker is asked to keep it. To take something back needs no room.
    fn is_kept(&self, publication: &Publication) -> bool {
        publication.retain && self.retains && (!self.full || publication.body.is_empty())
    }

    fn free_id(&mut self) -> u16 {
        loop {
            let id = self.next_id;
            self.next_id = self.next_id.checked_add(1).unwrap_or(1);
            if !self.owed.contains_key(&id) {
                return id;
            }
        }
    }

    fn publish_packet(&self, publication: Publication, id: u16) -> PublishPacket {
        let retain = self.is_kept(&publication);
        let Publication { topic, body, expiry, .. } = publication;
        let five = self.version == ProtocolVersion::V5.as_u8();
        let qos = QoS::AtLeastOnce;
        let packet =
            if five { PublishPacket::new(topic, body, qos) } else { PublishPacket::new_v311(topic, body, qos) };
        let packet = packet.with_packet_id(id).with_retain(retain);
        match expiry.filter(|_| five) {
            Some(expiry) => packet.with_message_expiry_interval(u32::try_from(expiry.as_secs()).unwrap_or(u32::MAX)),
            None => packet,
        }
    }

    fn subscribe_packet(&self, filters: Vec<String>, id: u16) -> SubscribePacket {
        let five = self.version == ProtocolVersion::V5.as_u8();
        let packet = if five { SubscribePacket::new(id) } else { SubscribePacket::new_v311(id) };
        filters.into_iter().fold(packet, |packet, filter| packet.add_filter(filter, QoS::AtLeastOnce))
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Loss> {
        timeout(STALL, self.pipe.write(bytes)).await.map_err(|_| Loss::Stalled)??;
        self.wrote = Instant::now();
        Ok(())
    }

    /// The next whole packet of what was read.
    fn take_packet(&mut self) -> Result<Option<Taken>, Loss> {
        let passed = self.skip.min(self.read.len());
        self.read.advance(passed);
        self.skip -= passed;
        let Some((header, head)) = fixed_header(&self.read)? else { return Ok(None) };
        let length = header.remaining_length as usize;
        if length > PACKET_MAX {
            return self.pass_over(&header, head, length);
        }
        if self.read.len() < head + length {
            return Ok(None);
        }
        self.read.advance(head);
        let mut body = self.read.split_to(length).freeze();
        let packet = Packet::decode_from_body_with_version(header.packet_type, &header, &mut body, self.version)?;
        Ok(Some(Taken::Packet(packet)))
    }

    /// Passes over a message that is too large. It is acknowledged all the same, or the broker would send it
    /// again and again.
    fn pass_over(&mut self, header: &FixedHeader, head: usize, length: usize) -> Result<Option<Taken>, Loss> {
        if header.packet_type != PacketType::Publish {
            return Err(Loss::Malformed);
        }
        let Some(topic) =
            self.read.get(head..head + 2).map(|length| usize::from(length[0]) << 8 | usize::from(length[1]))
        else {
            return Ok(None);
        };
        let end = head + 2 + topic + 2;
        let Some(id) = self.read.get(end - 2..end).map(|id| u16::from_be_bytes([id[0], id[1]])) else {
            return Ok(None);
        };
        let has_id = header.flags & 0b0110 != 0;
        self.skip = head + length;
        Ok(Some(Taken::TooLarge(has_id.then_some(id))))
    }
}

/// What was read.
enum Taken {
    Packet(Packet),
    TooLarge(Option<u16>),
}

/// The fixed header at the beginning and its length; `None` when it is not whole yet.
fn fixed_header(bytes: &[u8]) -> Result<Option<(FixedHeader, usize)>, Loss> {
    let mut varint = bytes.iter().skip(1).take(4);
    if !varint.any(|byte| byte & 0x80 == 0) {
        return if bytes.len() > 4 { Err(Loss::Malformed) } else { Ok(None) };
    }
    let mut rest = bytes;
    let header = FixedHeader::decode(&mut rest)?;
    Ok(Some((header, bytes.len() - rest.len())))
}

fn connect_packet(hello: Hello) -> ConnectPacket {
    let five = hello.version == ProtocolVersion::V5;
    let seconds = u32::try_from(hello.session.as_secs()).unwrap_or(u32::MAX);
    let options = mqtt5::ConnectOptions::new(hello.client_id).protocol_options;
    // Before 5.0 a broker would keep the session for ever.
    let clean = !five || hello.session.is_zero();
    let mut options = options.with_keep_alive(KEEPALIVE).with_clean_start(clean).with_protocol_version(hello.version);
    options.properties = ConnectProperties {
        session_expiry_interval: Some(seconds),
        receive_maximum: Some(RECEIVE_MAX),
        maximum_packet_size: u32::try_from(PACKET_MAX).ok(),
        ..ConnectProperties::default()
    };
    if let Some(login) = hello.login {
        let secret = login.secret.as_ref().map(|secret| secret.as_bytes().to_vec());
        (options.username, options.password) = (Some(login.username), secret);
    }
    if let Some((topic, body)) = hello.will {
        options = options.with_will(WillMessage::new(topic, body).with_qos(QoS::AtLeastOnce));
    }
    if five { ConnectPacket::new(options) } else { ConnectPacket::new_v311(options) }
}
