//! One broker, for as long as the source runs: connects, announces, hands on what comes, and connects
//! again. Whatever the broker does, nobody waits for it longer than a bound.

use super::announcer::{Advertised, Announcer};
use super::connection::{Connection, Happened, Hello, Loss, Publication};
use super::transport;
use crate::config::{BrokerUrl, Mqtt};
use crate::observe::Counters;
use comity_core::identity::key::KeyPair;
use comity_core::time::Timestamp;
use mqtt5::ProtocolVersion;
use mqtt5::types::ReasonCode;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How long the way to a broker and its welcome may take.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The first pause after a connection is lost; doubles up to [`PAUSE_MAX`].
const PAUSE_FIRST: Duration = Duration::from_secs(1);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// A connection that stood for so long is begun anew without a longer pause. A broker that welcomes and then hangs is
/// given up before that.
const STEADY_AFTER: Duration = Duration::from_secs(30);

/// How long the hub may take for a message until it is dropped: the broker waits for as long.
const HAND_OVER: Duration = Duration::from_millis(200);

/// How long a goodbye may take.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// How often a newcomer is answered, at most.
const ANSWER_EVERY: Duration = Duration::from_secs(1);

/// How long after this node announced itself its own announcement should come back, if the broker keeps any.
const ECHO_WITHIN: Duration = Duration::from_secs(5);

/// What a broker's task tells the hub.
#[derive(Debug)]
pub(super) enum Told {
    /// A message came.
    Message { broker: usize, remote: IpAddr, topic: String, body: bytes::Bytes, retain: bool },
    /// How the broker is.
    State { broker: usize, state: State },
}

/// How a broker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// Connected, and everything was acknowledged.
    Up,
    /// Connected, and this topic is denied, for this reason.
    Denied { topic: String, code: ReasonCode },
    /// Not connected, for this reason.
    Down(String),
}

/// What the hub tells a broker's task.
#[derive(Debug)]
pub(super) enum Order {
    /// Announce soon: somebody new may not know of this node.
    Answer,
    /// Publish this.
    Publish(Publication),
    /// Say goodbye and end.
    Leave,
}

/// What a broker's task is made of.
pub(super) struct Member {
    pub(super) number: usize,
    pub(super) url: BrokerUrl,
    pub(super) config: Arc<Mqtt>,
    pub(super) keys: Arc<KeyPair>,
    pub(super) client_id: String,
    /// How long the broker keeps what it could not deliver.
    pub(super) session: Duration,
    /// Whether this connection has a will: one that announces nothing has nobody to say goodbye for.
    pub(super) willing: bool,
    /// What is announced; `None`: nothing is.
    pub(super) said: watch::Receiver<Option<Arc<Advertised>>>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) told: mpsc::Sender<Told>,
    pub(super) counters: Counters,
}

/// How a connection ended.
enum Ended {
    Left,
    /// It must be begun anew at once, to leave a will.
    Unwilling,
    Lost(Loss),
}

impl Member {
    /// Runs until told to leave, or the hub has ended.
    pub(super) async fn run(mut self) {
        let mut pause = PAUSE_FIRST;
        let mut version = ProtocolVersion::V5;
        let mut is_old = false;
        loop {
            let tried = version;
            let mut welcomed = None;
            self.willing = self.said.borrow().is_some();
            let loss = match self.connect(version).await {
                Ok((connection, announcer)) => {
                    welcomed = Some(Instant::now());
                    match self.serve(connection, announcer).await {
                        Ended::Left => return,
                        Ended::Unwilling => continue,
                        Ended::Lost(loss) => {
                            // Whoever hung up on 5.0 may have had another reason.
                            if !is_old {
                                version = ProtocolVersion::V5;
                            }
                            loss
                        }
                    }
                }
                Err(loss) => {
                    is_old = matches!(loss, Loss::Refused(ReasonCode::UnsupportedProtocolVersion));
                    version = other_version(version, &loss);
                    loss
                }
            };
            if version == ProtocolVersion::V311 && tried == ProtocolVersion::V5 {
                // It speaks, but not 5.0: no reason to wait.
                continue;
            }
            self.tell(State::Down(explain(&loss))).await;
            if welcomed.is_some_and(|at| at.elapsed() >= STEADY_AFTER) {
                pause = PAUSE_FIRST;
            }
            if !self.rest(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await {
                return;
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Waits; `false` when it is time to leave.
    async fn rest(&mut self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        loop {
            tokio::select! {
                () = sleep_until(until) => return true,
                order = self.orders.recv() => match order {
                    Some(Order::Leave) | None => return false,
                    // What is for now is no more for later.
                    Some(Order::Publish(_)) => self.counters.unannounced("broker_away", 1),
                    Some(Order::Answer) => {}
                },
            }
        }
    }

    async fn connect(&self, version: ProtocolVersion) -> Result<(Connection, Announcer), Loss> {
        let (keys, topics) = (self.keys.clone(), self.config.topics.clone());
        let connecting = async {
            let pipe = transport::open(&self.url, &self.config).await?;
            let announcer = Announcer::new(keys, topics, self.config.interval, pipe.local);
            let connection = Connection::open(pipe, self.hello(version, &announcer)).await?;
            Ok((connection, announcer))
        };
        timeout(CONNECT_TIME, connecting).await.map_err(|_| Loss::Stalled)?
    }

    fn hello(&self, version: ProtocolVersion, announcer: &Announcer) -> Hello {
        Hello {
            version,
            client_id: self.client_id.clone(),
            login: self.config.login.clone(),
            will: self.willing.then(|| announcer.will()),
            session: self.session,
        }
    }

    async fn serve(&mut self, mut connection: Connection, mut announcer: Announcer) -> Ended {
        if self.wants_will() {
            return unwilling(connection).await;
        }
        let mut begun = self.begin(&mut connection, &mut announcer);
        loop {
            loop {
                match connection.step().await {
                    Ok(Some(happened)) => self.take(happened, &connection, &mut begun).await,
                    Ok(None) => break,
                    Err(loss) => return Ended::Lost(loss),
                }
            }
            tokio::select! {
                waited = connection.wait() => if let Err(loss) = waited {
                    return Ended::Lost(loss);
                },
                order = self.orders.recv() => match order {
                    Some(Order::Answer) if !connection.keeps() => begun.answer(),
                    Some(Order::Answer) => begun.asked = true,
                    Some(Order::Publish(publication)) => connection.publish(publication),
                    Some(Order::Leave) | None => {
                        let announces = self.said.borrow().is_some();
                        // Err: the broker has to find out by itself.
                        let _ = timeout(LEAVE_TIME, leave(connection, announces.then_some(announcer))).await;
                        return Ended::Left;
                    }
                },
                Ok(()) = self.said.changed() => {
                    // A changed address changes what is said.
                    if !connection.is_grounded() {
                        return Ended::Lost(Loss::Moved);
                    }
                    if self.wants_will() {
                        return unwilling(connection).await;
                    }
                    self.announce(&mut connection, &mut announcer, &mut begun);
                }
                () = sleep_until(begun.at + ECHO_WITHIN), if begun.asked => {
                    begun.asked = false;
                    // A newcomer has what the broker keeps.
                    if !begun.echoed {
                        begun.answer();
                    }
                }
                () = sleep_until(begun.announce_at) => self.announce(&mut connection, &mut announcer, &mut begun),
            }
            if connection.overflowed > 0 {
                self.counters.unannounced("overflow", std::mem::take(&mut connection.overflowed));
            }
        }
    }

    /// Subscribes to its own signals, which nobody keeps for it, and announces itself; then it subscribes to the others:
    /// if the broker keeps what is announced, this node's own comes back.
    fn begin(&mut self, connection: &mut Connection, announcer: &mut Announcer) -> Begun {
        let now = Instant::now();
        let mut begun =
            Begun { at: now, announce_at: now, answered: None, asked: false, echoed: false, denied: None, deaf: None };
        let [signals, others @ ..] = self.config.topics.subscriptions(&self.keys.peer().to_string());
        connection.subscribe([signals]);
        self.announce(connection, announcer, &mut begun);
        connection.subscribe(others);
        begun
    }

    /// Whether there is something to announce since the connection was asked for without a will.
    fn wants_will(&self) -> bool {
        !self.willing && self.said.borrow().is_some()
    }

    fn announce(&mut self, connection: &mut Connection, announcer: &mut Announcer, begun: &mut Begun) {
        // A little earlier or later each time, so that nodes that started together do not speak together.
        begun.announce_at = Instant::now() + self.config.interval.mul_f64(0.9 + rand::random::<f64>() / 10.0);
        if let Some(said) = self.said.borrow_and_update().clone() {
            for publication in announcer.announce(&said, wall()) {
                connection.publish(publication);
            }
        }
    }

    async fn take(&mut self, happened: Happened, connection: &Connection, begun: &mut Begun) {
        match happened {
            Happened::Message { topic, body, retain } => {
                if retain && topic == self.config.topics.announce(&self.keys.peer().to_string()) {
                    begun.echoed = true;
                }
                let told = Told::Message { broker: self.number, remote: connection.remote(), topic, body, retain };
                if timeout(HAND_OVER, self.told.send(told)).await.is_err() {
                    self.counters.unannounced("flood", 1);
                }
            }
            Happened::TooLarge => self.counters.unannounced("too_large", 1),
            Happened::Denied { topic, code } => {
                let subscribed = self.config.topics.subscriptions(&self.keys.peer().to_string()).contains(&topic);
                let state = State::Denied { topic, code };
                self.tell(state.clone()).await;
                let remembered = if subscribed { &mut begun.deaf } else { &mut begun.denied };
                *remembered = Some(state);
            }
            Happened::Settled => match (begun.denied.take(), begun.deaf.clone()) {
                (_, Some(denied)) => self.tell(denied).await,
                (None, None) => self.tell(State::Up).await,
                (Some(_), None) => {}
            },
        }
    }

    async fn tell(&self, state: State) {
        // Err: the hub has ended.
        let _ = self.told.send(Told::State { broker: self.number, state }).await;
    }
}

/// What is known of a connection since it began.
struct Begun {
    at: Instant,
    announce_at: Instant,
    answered: Option<Instant>,
    /// Whether somebody new may not know of this node, if the broker keeps nothing.
    asked: bool,
    /// Whether this node's own announcement came back as one that the broker keeps.
    echoed: bool,
    /// What the broker denied since everything was acknowledged last.
    denied: Option<State>,
    /// What it does not let this node hear: nobody asks again before the connection ends.
    deaf: Option<State>,
}

impl Begun {
    /// Announces soon, but not sooner than a second after the last time, and not all nodes at once.
    fn answer(&mut self) {
        let earliest = self.answered.map_or_else(Instant::now, |at| at + ANSWER_EVERY);
        let at = earliest.max(Instant::now()) + Duration::from_millis(rand::random_range(10..250));
        if at < self.announce_at {
            (self.announce_at, self.answered) = (at, Some(at));
        }
    }
}

async fn unwilling(connection: Connection) -> Ended {
    // Err: it ends all the same.
    let _ = timeout(LEAVE_TIME, connection.close()).await;
    Ended::Unwilling
}

/// Says goodbye, and waits until the broker has it.
async fn leave(mut connection: Connection, announcer: Option<Announcer>) -> Result<(), Loss> {
    if let Some(announcer) = announcer {
        for publication in announcer.leave("stopped") {
            connection.publish(publication);
        }
        loop {
            match connection.step().await? {
                Some(Happened::Settled) => break,
                Some(_) => {}
                None => connection.wait().await?,
            }
        }
    }
    connection.close().await
}

/// What to try next with a broker that does not agree.
fn other_version(version: ProtocolVersion, loss: &Loss) -> ProtocolVersion {
    let wrong_version = match loss {
        Loss::Refused(code) => *code == ReasonCode::UnsupportedProtocolVersion,
        // Old brokers hang up on what they do not know.
        Loss::Io(failure) => failure.kind() == std::io::ErrorKind::UnexpectedEof,
        Loss::Unusable(_) | Loss::Closed(_) | Loss::Malformed | Loss::Stalled | Loss::Moved => false,
    };
    match version {
        ProtocolVersion::V5 if wrong_version => ProtocolVersion::V311,
        _ => ProtocolVersion::V5,
    }
}

/// Why, and what to do.
fn explain(loss: &Loss) -> String {
    let what_to_do = match loss {
        Loss::Refused(ReasonCode::BadUsernameOrPassword | ReasonCode::NotAuthorized) => {
            "check mqtt.username and mqtt.password, or the certificate"
        }
        Loss::Refused(ReasonCode::ClientIdentifierNotValid) => "set mqtt.client_id to one that the broker takes",
        Loss::Closed(ReasonCode::SessionTakenOver) => {
            "another connection has this node's client id: set mqtt.client_id, or stop the other one"
        }
        Loss::Refused(_) | Loss::Closed(_) => "the broker's log says more",
        // It says so itself.
        Loss::Unusable(unusable) => return unusable.to_string(),
        Loss::Moved => "it is reached anew",
        Loss::Io(failure) => match failure.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(rustls::Error::AlertReceived(_)) => "the broker wants another certificate: check mqtt.cert_file",
            Some(_) => "check mqtt.ca_file and the broker's certificate",
            None => "check that the broker runs and can be reached",
        },
        Loss::Stalled => "check that the broker runs and can be reached",
        Loss::Malformed => "check that the URL is that of an MQTT broker",
    };
    format!("{loss}: {what_to_do}")
}

fn wall() -> Timestamp {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
}
