//! What can be asked of the node through the control door, whichever way it is asked: the HTTP
//! routes and the MCP tools are two fronts to these operations.

use super::denied::{Denied, channel};
use super::target::{self, Target};
use super::{Surroundings, checkup, tools};
use crate::driver::Handle;
use crate::network::{OwnRole, Said, TopicError, Topics};
use crate::observe;
use axum::http::StatusCode;
use comity_core::channel::Channel;
use comity_core::envelope::{Kind, Priority, Ttl};
use comity_core::id::{MessageId, NodeId, PeerId};
use comity_core::identity::seal::CannotSeal;
use comity_core::inbox::Mode;
use comity_core::node::{self, Answer, NodeView, SourceHealth};
use comity_core::payload::Payload;
use comity_core::peers::Presence;
use comity_core::wire::control::{self, Named};
use comity_core::wire::json::TEXT_MAX;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How long an asker waits when nobody says.
const ASK_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest that an asker may wait.
const ASK_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 3600);

/// Most items of the inbox in one answer.
pub(crate) const ITEMS_MAX: usize = 1000;

/// The operations of the control door. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) handle: Handle,
    pub(crate) surroundings: Arc<Surroundings>,
}

impl Desk {
    /// This node.
    pub(crate) async fn node(&self) -> control::Node {
        let view = self.handle.look().await;
        let card = self.handle.hello().borrow().card.clone();
        let endpoints = card["endpoints"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let online = view.peers.iter().filter(|peer| peer.presence == Presence::Online).count();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        control::Node {
            id: view.peer.0,
            node: view.node.to_string(),
            name: view.name.clone(),
            version: view.version.clone(),
            capabilities: view.capabilities.clone(),
            endpoints: endpoints.map(str::to_owned).collect(),
            uptime_seconds: view.uptime.as_secs(),
            attention_mode: Named(view.mode),
            status: view.status.clone(),
            subscriptions: subscriptions(&view),
            inbox: view.inbox.iter().map(|(priority, number)| (priority.name().to_owned(), count(*number))).collect(),
            digest_total: view.digest_total,
            peers_total: count(view.peers.len()),
            peers_online: count(online),
            sources: view.sources.iter().map(|(source, health)| source_state(*source, health)).collect(),
            links: links(&view),
            counters: counters(&view),
            data_dir: self.surroundings.data_dir.display().to_string(),
            control_url: self.surroundings.url.clone(),
        }
    }

    /// Everybody the node has heard of, by name.
    pub(crate) async fn peers(&self) -> Vec<control::Peer> {
        let view = self.handle.look().await;
        let mut peers: Vec<_> = view.peers.iter().map(control::Peer::from).collect();
        peers.sort_by(|one, other| (&one.name, one.id).cmp(&(&other.name, other.id)));
        peers
    }

    /// The list of known nodes.
    pub(crate) async fn known(&self) -> control::KnownNodes {
        let view = self.handle.look().await;
        control::KnownNodes { known: view.known.iter().map(|key| known_node(&view, *key)).collect() }
    }

    /// Puts a node on the list of known ones, or takes it off.
    pub(crate) async fn trust(&self, wanted: control::Trusted) -> Result<control::KnownNode, Denied> {
        let view = self.handle.look().await;
        let key = target::key(&view, &wanted.peer)?;
        match self.handle.ask(node::Ask::Know { key, known: wanted.known }).await {
            // Looked at anew, since what comes in is judged by the last view.
            Answer::Done => Ok(known_node(&*self.handle.look().await, key)),
            other => Err(Denied::unexpected(other)),
        }
    }

    /// Sends a message to whatever its target names.
    pub(crate) async fn send(&self, wanted: control::Send) -> Result<control::Sent, Denied> {
        let view = self.handle.look().await;
        let (to, channel) = address(&view, &wanted)?;
        self.send_to(&view, to, channel, wanted).await
    }

    /// Sends a message to one peer, or to everybody who listens to the channel.
    pub(crate) async fn send_to(
        &self,
        view: &NodeView,
        to: Option<PeerId>,
        channel: Channel,
        wanted: control::Send,
    ) -> Result<control::Sent, Denied> {
        let kind = wanted.kind.map_or_else(|| channel.kind(), |Named(kind)| kind);
        if kind == Kind::Heartbeat {
            return Err(Denied::field("/type", "heartbeats are the node's own"));
        }
        let ttl =
            Ttl::from_seconds(wanted.ttl.unwrap_or_default()).map_err(|bad| Denied::field("/ttl", bad.to_string()))?;
        if wanted.thread.as_ref().is_some_and(|thread| thread.len() > TEXT_MAX) {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let sentence = format!("it has more than {TEXT_MAX} bytes, and nobody would read the message");
            return Err(Denied { status, ..Denied::field("/thread", sentence) });
        }
        let id = self.handle.new_message();
        let mut send = node::Send {
            id,
            to,
            kind,
            priority: wanted.priority.map_or_else(|| channel.priority(), |Named(priority)| priority),
            channel: channel.clone(),
            payload: Payload::from_value(&wanted.payload)?,
            ttl,
            reply_to: wanted.reply_to.map(MessageId),
            thread: wanted.thread,
            traceparent: observe::sent(id, &channel),
            sealed_at: None,
        };
        if wanted.sealed {
            self.seal(view, &mut send)?;
        }
        match self.handle.send(send).await {
            Answer::Sent { id, peers } => Ok(sent(id, peers, &channel, to)),
            other => Err(Denied::unexpected(other)),
        }
    }

    /// Seals a message for the one peer it is for.
    fn seal(&self, view: &NodeView, send: &mut node::Send) -> Result<(), Denied> {
        let Some(to) = send.to else {
            return Err(Denied::field("/sealed", "only a message to one peer can be sealed"));
        };
        let key = view.peers.iter().find(|peer| peer.id == to).and_then(|peer| peer.key);
        let key = key.ok_or_else(|| Denied::from(node::Refusal::NoKey))?;
        let now = self.handle.now().wall;
        self.handle.me().seal(send, &key, now).map_err(cannot_seal)
    }

    /// The topics that the node listens to.
    pub(crate) async fn topics(&self) -> Result<control::Topics, Denied> {
        let topics = self.gossip()?;
        Ok(control::Topics {
            topics: topics.list().iter().map(|topic| topic.name().to_owned()).collect(),
            peer_id: topics.me().to_string(),
            addresses: topics.addresses().await,
        })
    }

    /// Listens to one topic more.
    pub(crate) async fn join(&self, topic: &str) -> Result<control::Topics, Denied> {
        self.gossip()?.join(topic).await?;
        self.topics().await
    }

    /// Listens to one topic less.
    pub(crate) async fn leave(&self, topic: &str) -> Result<control::Topics, Denied> {
        self.gossip()?.leave(topic).await?;
        self.topics().await
    }

    /// The node's role, and all that it listens to.
    pub(crate) async fn role(&self) -> Result<control::OwnRole, Denied> {
        let role = self.gossip()?.role();
        let role = role.map(|OwnRole { role, expertise, reports_to }| control::Role { role, expertise, reports_to });
        let topics = self.topics().await?.topics;
        Ok(control::OwnRole { role, topics })
    }

    /// Takes a role, or gives the one up that the node has.
    pub(crate) async fn set_role(&self, wanted: Option<control::Role>) -> Result<control::OwnRole, Denied> {
        let topics = self.gossip()?;
        match wanted {
            Some(role) => topics.join_roles(&role.role, &role.expertise, role.reports_to.as_deref()).await?,
            None => topics.leave_roles().await?,
        }
        self.role().await
    }

    /// Says something on a topic.
    pub(crate) async fn publish(&self, wanted: control::Publish) -> Result<(), Denied> {
        let topics = self.gossip()?;
        let Some(Named(kind)) = wanted.kind else {
            let raw = match &wanted.payload {
                Value::String(text) => text.clone().into_bytes(),
                other => other.to_string().into_bytes(),
            };
            return Ok(topics.publish_raw(&wanted.topic, raw).await?);
        };
        let Value::Object(data) = wanted.payload else {
            return Err(Denied::field("/payload", "a message of a type says what it says in a JSON object"));
        };
        let said = Said {
            kind,
            data,
            from_role: if wanted.as_role { Some(topics.role().ok_or(TopicError::NoRole)?.role) } else { None },
            to_roles: wanted.to_roles,
            required_expertise: wanted.required_expertise,
            project_id: wanted.project,
            priority: wanted.priority.map(|Named(priority)| priority),
            thread_id: wanted.thread,
        };
        Ok(topics.publish_to(&wanted.topic, said).await?)
    }

    fn gossip(&self) -> Result<&Topics, Denied> {
        let off = || Denied::new(StatusCode::CONFLICT, "conflict", "gossip is switched off here (gossip.enabled)");
        self.surroundings.topics.as_ref().ok_or_else(off)
    }

    /// Asks a peer and waits for its answer.
    pub(crate) async fn ask(&self, wanted: control::Ask) -> Result<control::Message, Denied> {
        let view = self.handle.look().await;
        let to = target::peer(&view, &wanted.peer)?;
        let timeout = wanted.timeout_ms.map_or(ASK_TIMEOUT, Duration::from_millis).min(ASK_TIMEOUT_MAX);
        let ttl = Ttl::from_seconds(timeout.as_secs().clamp(1, Ttl::MAX.seconds().into())).unwrap_or(Ttl::DEFAULT);
        let (id, channel) = (self.handle.new_message(), Channel::of_kind(Kind::Query));
        let send = node::Send {
            id,
            to: Some(to),
            kind: Kind::Query,
            channel: channel.clone(),
            payload: Payload::from_value(&wanted.question)?,
            priority: Priority::Normal,
            ttl,
            reply_to: None,
            thread: None,
            traceparent: observe::sent(id, &channel),
            sealed_at: None,
        };
        match self.handle.ask(node::Ask::Request { send, timeout }).await {
            Answer::Response(received) => Ok(control::Message::of(&received, |id| name(&view, id))),
            other => Err(Denied::unexpected(other)),
        }
    }

    /// Answers a query.
    pub(crate) async fn respond(&self, answer: control::Respond) -> Result<control::Sent, Denied> {
        let (query, to) = (MessageId(answer.query), PeerId(answer.to));
        let payload = Payload::from_value(&answer.payload)?;
        match self.handle.ask(node::Ask::Respond { query, to, payload }).await {
            Answer::Sent { id, peers } => Ok(sent(id, peers, &Channel::of_kind(Kind::Response), Some(to))),
            other => Err(Denied::unexpected(other)),
        }
    }

    /// Items of the inbox that arrived later than `after`; they stay there.
    pub(crate) async fn peek(&self, after: u64, limit: usize) -> Result<Vec<control::Arrival>, Denied> {
        let limit = limit.min(ITEMS_MAX);
        match self.handle.ask(node::Ask::Peek { after, limit }).await {
            Answer::Items(items) => {
                let view = self.handle.look().await;
                Ok(items.iter().map(|item| control::Arrival::of(item, |id| name(&view, id))).collect())
            }
            other => Err(Denied::unexpected(other)),
        }
    }

    /// Takes items off the inbox.
    pub(crate) async fn acknowledge(&self, arrivals: Vec<u64>) -> Result<(), Denied> {
        self.done(node::Ask::Ack(arrivals)).await
    }

    /// The digest so far; taking it empties it.
    pub(crate) async fn digest(&self, take: bool) -> Result<control::Digest, Denied> {
        let digest = match self.handle.ask(node::Ask::Digest { take }).await {
            Answer::Digest(digest) => digest,
            other => return Err(Denied::unexpected(other)),
        };
        let view = self.handle.look().await;
        let sample = |sample: &comity_core::inbox::Sample| control::Sample {
            at: sample.at,
            from: sample.from.0,
            from_name: name(&view, sample.from),
            trust: Named(sample.trust),
            kind: Named(sample.kind),
            channel: sample.channel.to_string(),
            text: sample.text.clone(),
        };
        Ok(control::Digest {
            since: digest.since,
            until: digest.until.map(|until| until.to_string()),
            total: digest.total(),
            by_type: digest.by_kind.iter().map(|(kind, count)| (kind.name().to_owned(), *count)).collect(),
            by_channel: digest.by_channel.iter().map(|(channel, count)| (channel.to_string(), *count)).collect(),
            evicted: digest.evicted,
            samples: digest.samples.iter().map(sample).collect(),
            text: digest.to_string(),
        })
    }

    /// Changes how much the node is interrupted.
    pub(crate) async fn set_mode(&self, mode: Mode) -> Result<(), Denied> {
        self.done(node::Ask::SetMode(mode)).await
    }

    /// Listens to a channel.
    pub(crate) async fn subscribe(&self, wanted: control::Subscription) -> Result<(), Denied> {
        let channel = channel(&wanted.channel)?;
        self.done(node::Ask::Subscribe { channel, quiet: wanted.quiet }).await
    }

    /// Listens to a channel no more.
    pub(crate) async fn unsubscribe(&self, wanted: control::Unsubscribe) -> Result<(), Denied> {
        self.done(node::Ask::Unsubscribe(channel(&wanted.channel)?)).await
    }

    /// Says what the node is doing.
    pub(crate) async fn set_status(&self, status: Option<Value>) -> Result<(), Denied> {
        self.done(node::Ask::SetStatus(status)).await
    }

    /// What became of a message.
    pub(crate) async fn why(&self, message: Uuid) -> Result<control::Why, Denied> {
        match self.handle.ask(node::Ask::Why(MessageId(message))).await {
            Answer::Fates(fates) => {
                let view = self.handle.look().await;
                let fates = fates.iter().map(|fate| control::Step::of(fate, |id| name(&view, id))).collect();
                Ok(control::Why { message, fates })
            }
            other => Err(Denied::unexpected(other)),
        }
    }

    /// How the node is.
    pub(crate) async fn checkup(&self) -> control::Checkup {
        let servers = async {
            match &self.surroundings.links {
                Some(links) => links.ask_servers().await,
                None => Vec::new(),
            }
        };
        let (view, servers) = tokio::join!(self.handle.look(), servers);
        let mut checks = checkup::checks(&view, &servers);
        checks.extend(self.surroundings.journal.as_ref().map(|journal| checkup::journal(*journal.disk().borrow())));
        if let Some(follow) = &self.surroundings.follow {
            checks.extend(follow.list().await.iter().filter_map(checkup::followed));
        }
        if let Some(all) = &self.surroundings.tools {
            checks.extend(all.health().iter().map(tools::check));
        }
        control::Checkup { checks }
    }

    async fn done(&self, ask: node::Ask) -> Result<(), Denied> {
        match self.handle.ask(ask).await {
            Answer::Done => Ok(()),
            other => Err(Denied::unexpected(other)),
        }
    }
}

fn cannot_seal(why: CannotSeal) -> Denied {
    match why {
        CannotSeal::TooLarge => Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", why.to_string()),
        CannotSeal::WeakKey => Denied::from(node::Refusal::NoKey),
        CannotSeal::NoId | CannotSeal::WrongAddressee | CannotSeal::Sealed => Denied::field("/sealed", why.to_string()),
    }
}

/// The peer and the channel that a message goes to.
fn address(view: &NodeView, wanted: &control::Send) -> Result<(Option<PeerId>, Channel), Denied> {
    let named = wanted.channel.as_deref().map(channel).transpose()?;
    match target::resolve(view, &wanted.target)? {
        Target::Peer(peer) => {
            let usual = || Channel::of_kind(wanted.kind.map_or(Kind::Extended, |Named(kind)| kind));
            Ok((Some(peer), named.unwrap_or_else(usual)))
        }
        Target::Channel(_) if wanted.sealed => {
            Err(Denied::field("/sealed", "only a message to one peer can be sealed"))
        }
        Target::Channel(target) if named.as_ref().is_some_and(|named| *named != target) => {
            Err(Denied::field("/channel", "the target is already another channel"))
        }
        Target::Channel(channel) => Ok((None, channel)),
        Target::Topic(_) => Err(Denied::field("/target", "a topic takes messages of its own types: publish there")),
    }
}

fn sent(id: MessageId, peers: usize, channel: &Channel, to: Option<PeerId>) -> control::Sent {
    let peers = u64::try_from(peers).unwrap_or(u64::MAX);
    control::Sent { id: id.0, peers, channel: channel.to_string(), to: to.map(|peer| peer.0) }
}

/// The name by which this node knows a peer, or itself.
pub(crate) fn name(view: &NodeView, id: PeerId) -> Option<String> {
    if id == view.peer {
        return Some(view.name.clone());
    }
    view.peers.iter().find(|peer| peer.id == id).map(|peer| peer.name.clone()).filter(|name| !name.is_empty())
}

/// The channels that the node listens to.
pub(crate) fn subscriptions(view: &NodeView) -> Vec<control::Subscription> {
    let all = view.subscriptions.iter();
    all.map(|(channel, quiet)| control::Subscription { channel: channel.to_string(), quiet: *quiet }).collect()
}

fn known_node(view: &NodeView, key: NodeId) -> control::KnownNode {
    let met = view.peers.iter().find(|peer| peer.key == Some(key));
    control::KnownNode { key: key.to_string(), id: key.peer().0, name: met.map(|peer| peer.name.clone()) }
}

fn source_state(source: comity_core::peers::Source, health: &SourceHealth) -> control::SourceState {
    let (state, detail) = match health {
        SourceHealth::Up => ("up", None),
        SourceHealth::Off => ("off", None),
        SourceHealth::Failed(why) => ("failed", Some(why.clone())),
    };
    control::SourceState { source: Named(source), state: state.to_owned(), detail }
}

fn links(view: &NodeView) -> Vec<control::Link> {
    let link = |link: &node::LinkView| control::Link {
        peer: link.peer.0,
        name: name(view, link.peer).unwrap_or_else(|| link.peer.to_string()),
        remote: link.remote,
        dialed: link.dialed,
        round_trip_us: link.round_trip.map(|time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX)),
        skew_ms: link.skew_ms,
        received: link.received,
        sent: link.sent,
    };
    view.links.iter().map(link).collect()
}

/// What became of messages since the start, by cause, of both directions.
fn counters(view: &NodeView) -> std::collections::BTreeMap<String, u64> {
    let incoming = view.fates_in.iter().map(|(fate, count)| (format!("in.{}", fate.name()), *count));
    let outgoing = view.fates_out.iter().map(|(fate, count)| (format!("out.{}", fate.name()), *count));
    incoming.chain(outgoing).collect()
}
