//! Checks of what other origins ask here, in the order of the protocol: the cheapest first, so that nobody can spend
//! another's budget. See "Signed requests" and "Guarding" in `protocols/federation.md`.

use super::origins::{Origins, Unknown};
use crate::driver::Handle;
use crate::store::federation::{Batch, Done, Write};
use comity_core::federation::Origin;
use comity_core::id::{MessageId, NodeId, PeerId};
use comity_core::seen::{Seen, Sight};
use comity_core::throttle::{Config, Rate, Sender, Throttle};
use comity_core::time::Timestamp;
use comity_core::wire::federation::authorization::{Authorization, BadAuthorization, Request};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Nonces that are remembered: each for twice the time that a request counts.
const NONCES_MAX: usize = 500_000;

/// Requests a second of one address, before anything costly is done for them, and at once.
const PER_ADDRESS: Rate = Rate { per_second: 200, burst: 1000 };

/// Requests a second of an origin that shares a channel, for what belongs to channels, and at once.
const OF_CHANNELS: Rate = Rate { per_second: 100, burst: 500 };

/// Origins and addresses whose pace is remembered.
const SENDERS_MAX: usize = 16_384;

/// How far another's clock may be ahead before its nonces are waited for.
const AHEAD: Duration = Duration::from_millis(100);

/// Seconds of a minute.
const SECONDS: u32 = 60;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// Its header cannot be read.
    #[error(transparent)]
    Header(#[from] BadAuthorization),
    /// It is for another origin.
    #[error("this is {me}, and the request is for {destination}")]
    WrongDestination {
        /// This origin.
        me: Origin,
        /// Whose it is.
        destination: Origin,
    },
    /// It was signed too long ago, or in the future.
    #[error("signed {} s {}: at most {} s are allowed", .off.as_secs(), if *.is_old { "ago" } else { "ahead" }, .max.as_secs())]
    Clock {
        /// How far.
        off: Duration,
        /// Which way.
        is_old: bool,
        /// How far it may be.
        max: Duration,
    },
    /// Too many requests.
    #[error("too many requests")]
    TooMany {
        /// When to try again.
        retry_after: Duration,
    },
    /// The origin or its key.
    #[error(transparent)]
    Unknown(#[from] Unknown),
    /// The signature is wrong.
    #[error("the signature is not that of this request")]
    Signature,
    /// It came before.
    #[error("this request came before: its nonce was used")]
    Replayed,
    /// There is no room to remember it.
    #[error("no room to remember nonces")]
    Full,
    /// This node does not deal with that origin.
    #[error("this origin is blocked here")]
    Blocked,
}

/// What checks requests.
pub(crate) struct Checks {
    me: Origin,
    blocked: Vec<Origin>,
    handle: Handle,
    origins: Origins,
    disk: mpsc::Sender<Batch>,
    /// How far clocks may be off.
    window: Duration,
    // Locks and not messages: every request asks, and wants the answer before it goes on.
    nonces: Mutex<Seen>,
    addresses: Mutex<Throttle>,
    of_origins: Mutex<Throttle>,
    of_channels: Mutex<Throttle>,
}

/// Which budget a request is taken from once it is proven whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Requests of an origin.
    Origin,
    /// What belongs to channels, of an origin that shares one.
    Channels,
}

impl Checks {
    /// Checks what is asked of this origin. `nonces` were used before.
    pub(crate) fn new(
        (me, blocked, per_minute): (Origin, Vec<Origin>, u32),
        handle: Handle,
        origins: Origins,
        disk: mpsc::Sender<Batch>,
        (window, nonces): (Duration, Vec<(NodeId, [u8; 16], Timestamp)>),
    ) -> Self {
        let mut seen = Seen::new(NONCES_MAX, rand::random());
        for (key, nonce, until) in nonces {
            seen.look(key.peer(), id_of(nonce), until);
        }
        let throttle = |rate| {
            let config = Config { sender: rate, address: rate, senders_max: SENDERS_MAX };
            Mutex::new(Throttle::new(config, rand::random()))
        };
        let per_origin = Rate { per_second: per_minute.max(1), burst: (per_minute / 2).max(1) };
        Self {
            me,
            blocked,
            handle,
            origins,
            disk,
            window,
            nonces: Mutex::new(seen),
            addresses: throttle(PER_ADDRESS),
            of_origins: throttle(per_origin),
            of_channels: throttle(OF_CHANNELS),
        }
    }

    /// Reads what a request's header says, if it is for this origin and of now, and its address may ask.
    pub(crate) fn read(&self, header: &str, address: IpAddr) -> Result<Authorization, Refusal> {
        let authorization = Authorization::read(header)?;
        if authorization.destination != self.me {
            let (me, destination) = (self.me.clone(), authorization.destination);
            return Err(Refusal::WrongDestination { me, destination });
        }
        let now = self.handle.now();
        let (ago, ahead) = (now.wall.since(authorization.at), authorization.at.since(now.wall));
        let off = ago.max(ahead);
        if off > self.window {
            return Err(Refusal::Clock { off, is_old: ago > ahead, max: self.window });
        }
        if !address.is_loopback() {
            take(&self.addresses, Sender::Address(address), now.mono)?;
        }
        Ok(authorization)
    }

    /// Checks that the origin that the header names signed this request, for the first time, and may make it. Its nonce is
    /// on its way to the disk then: before whatever the request changes.
    pub(crate) async fn prove(
        &self,
        authorization: &Authorization,
        request: Request<'_>,
        (address, budget): (IpAddr, Budget),
    ) -> Result<(), Refusal> {
        let Authorization { origin, key, at, nonce, .. } = authorization;
        if self.blocked.contains(origin) {
            return Err(Refusal::Blocked);
        }
        self.origins.check_key(origin, key, *at, Some(address)).await?;
        authorization.verify(request).map_err(|_| Refusal::Signature)?;
        let until = *at + self.window * 2;
        // A nonce is remembered only of a request that its origin may make: none uses up the room of all.
        if lock(&self.nonces).knows(key.peer(), id_of(*nonce)) {
            return Err(Refusal::Replayed);
        }
        self.charge(origin, budget)?;
        self.remember(key, *nonce, until)?;
        let writes = vec![Write::Nonce { key: *key, nonce: *nonce, until }];
        // What a request changes is written after its nonce. A call changes nothing here: one that was signed before this
        // node started is not run, so that none of an earlier start runs again; and one that seems to be of later waits
        // until its nonce is on disk.
        if *at <= self.handle.now().wall + AHEAD {
            // Err: the node has ended.
            let _ = self.disk.send(Batch { writes, done: None }).await;
            return Ok(());
        }
        let (waiter, is_safe) = oneshot::channel();
        let _ = self.disk.send(Batch { writes, done: Some(Done::Waiter(waiter)) }).await;
        if is_safe.await.unwrap_or(false) { Ok(()) } else { Err(Refusal::Full) }
    }
}

impl Checks {
    /// Takes a request from a budget of its origin.
    fn charge(&self, origin: &Origin, budget: Budget) -> Result<(), Refusal> {
        let now = self.handle.now().mono;
        match budget {
            Budget::Origin => {
                take(&self.of_origins, sender_of(origin), now / SECONDS).map_err(|refusal| match refusal {
                    Refusal::TooMany { retry_after } => Refusal::TooMany { retry_after: retry_after * SECONDS },
                    other => other,
                })
            }
            Budget::Channels => take(&self.of_channels, sender_of(origin), now),
        }
    }

    /// Remembers a nonce, if it is new; also of two that come at one moment.
    fn remember(&self, key: &NodeId, nonce: [u8; 16], until: Timestamp) -> Result<(), Refusal> {
        let mut nonces = lock(&self.nonces);
        nonces.sweep(self.handle.now().wall);
        match nonces.look(key.peer(), id_of(nonce), until) {
            Sight::First => Ok(()),
            Sight::Again => Err(Refusal::Replayed),
            Sight::Full => Err(Refusal::Full),
        }
    }
}

/// An origin in a throttle: by its name, for its key may change.
pub(super) fn sender_of(origin: &Origin) -> Sender {
    Sender::Claimed(IpAddr::from([0; 4]), peer_of(origin))
}

/// An origin as a peer, by its name: where no key says who it is.
pub(super) fn peer_of(origin: &Origin) -> PeerId {
    PeerId(Uuid::new_v5(&Uuid::NAMESPACE_DNS, origin.as_str().as_bytes()))
}

fn take(throttle: &Mutex<Throttle>, sender: Sender, now: Duration) -> Result<(), Refusal> {
    match lock(throttle).take(sender, 1, now) {
        (0, retry_after) => Err(Refusal::TooMany { retry_after }),
        _ => Ok(()),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn id_of(nonce: [u8; 16]) -> MessageId {
    MessageId(Uuid::from_bytes(nonce))
}
