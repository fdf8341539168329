//! One attempt at a connection and what becomes of it: signals there and back, the data channel
//! that becomes a link, new paths when the old ones break, and the end. See "WebRTC" in
//! `protocols/mqtt-discovery.md`.

mod descriptions;
mod signals;

use super::agent::{Agent, News};
use super::channel::DataChannel;
use super::route::{Route, Signalled};
use super::{LINK, permitted};
use crate::link::{Links, hello, stream};
use crate::observe::DialEnd;
use comity_core::id::{DialId, LinkId, NodeId};
use comity_core::node::{DialFailure, DialOutcome, Input};
use comity_core::peers::Way;
use comity_core::time::Timestamp;
use comity_core::wire::signal::{Kind, Signal};
use descriptions::Descriptions;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use uuid::Uuid;

#[cfg(test)]
mod tests;

/// How long an attempt may take until the link is up: through relays, with lost packets.
const CONNECT_TIME: Duration = Duration::from_secs(15);

/// How long the side that answers waits for its servers, so that its answer has all its addresses.
const ANSWER_WAIT: Duration = Duration::from_secs(1);

/// How often an offer is made again while nobody answers. What was lost with a path is sent again after 1, 3 and 7 s
/// (RFC 9260, 6.3.3): a new path is of use if it is there before.
const REOFFER_EVERY: Duration = Duration::from_secs(1);

/// How often one offer is made: somebody who answers none of them has stopped to take any.
const OFFERS_MAX: u32 = 30;

/// The least time between two offers of new paths that are acted on: each asks all servers.
const REOFFERED_PAUSE: Duration = Duration::from_millis(500);

/// Addresses of this side that are kept for an offer that has to be made again.
const TOLD_MAX: usize = 64;

/// Reasons that are kept for an attempt that comes to nothing.
const FAILURES_MAX: usize = 16;

/// How long addresses are collected before they are sent on together.
const TRICKLE_PAUSE: Duration = Duration::from_millis(20);

/// How long the last packets may take.
const FAREWELL: Duration = Duration::from_millis(500);

/// What a session is told.
#[derive(Debug)]
pub(super) enum Order {
    /// The other side signals.
    Signal(Signal),
    /// The other side offers new paths; the answer goes back to whoever asks, if somebody does.
    Reoffer(Signal, Option<oneshot::Sender<Result<Signal, String>>>),
    /// Somebody here wants another channel, for files.
    Channel(oneshot::Sender<DataChannel>),
    /// The other side's own attempt goes first.
    Yield,
    /// The addresses of this machine are others.
    Renew,
    /// Nothing is heard from the other side: perhaps by another path.
    Restart,
}

/// Where the packets go, and through what.
type Path = (SocketAddr, Way);

/// One connection, and whoever it is with.
pub(super) struct Session {
    links: Links,
    agent: Agent,
    id: Uuid,
    peer: NodeId,
    /// The dial that made it; `None` when the other side began.
    dial: Option<DialId>,
    route: Route,
    orders: mpsc::Receiver<Order>,
    calls: JoinSet<Signalled>,
    /// Addresses that were not sent yet, and when they are.
    unsent: Vec<String>,
    send_at: Option<Instant>,
    /// Whether the other side can be sent addresses.
    ready: bool,
    greeting: JoinSet<Result<(LinkId, Path), DialFailure>>,
    yielded: bool,
    link: Option<LinkId>,
    path: Path,
    /// Why servers gave no address, and signals did not get through.
    failures: Vec<String>,
    began: Instant,
    /// When it is given up.
    until: Option<Instant>,
    /// The offer that was not answered yet, when it is made again, and how often it was.
    reoffer: Option<String>,
    reoffer_at: Option<Instant>,
    reoffers: u32,
    /// Addresses that belong to it and were sent.
    told: Vec<String>,
    /// Whether the other side ever answered.
    heard: bool,
    /// The other side's last offer: when it was signed, when it was taken, what it said, and the answer. One that
    /// is older was recorded by somebody.
    answered: Option<(Timestamp, Instant, String, String)>,
    /// The other side's descriptions.
    theirs: Descriptions,
    /// While it is being made; attempts take turns.
    turn: Option<OwnedSemaphorePermit>,
}

impl Session {
    /// A session about to begin.
    pub(super) fn new(
        links: Links,
        agent: Agent,
        (id, peer, dial): (Uuid, NodeId, Option<DialId>),
        route: Route,
        orders: mpsc::Receiver<Order>,
    ) -> Self {
        Self {
            links,
            agent,
            id,
            peer,
            dial,
            route,
            orders,
            calls: JoinSet::new(),
            unsent: Vec::new(),
            send_at: None,
            ready: false,
            greeting: JoinSet::new(),
            yielded: false,
            link: None,
            path: (SocketAddr::from(([0, 0, 0, 0], 0)), Way::Rtc),
            failures: Vec::new(),
            began: Instant::now(),
            until: Some(Instant::now() + CONNECT_TIME),
            reoffer: None,
            reoffer_at: None,
            reoffers: 0,
            told: Vec::new(),
            heard: false,
            answered: None,
            theirs: Descriptions::default(),
            turn: None,
        }
    }

    /// Its turn, which others wait for until the link is up.
    pub(super) fn in_turn(mut self, turn: Option<OwnedSemaphorePermit>) -> Self {
        self.turn = turn;
        self
    }

    /// Offers, and runs until the connection ends.
    pub(super) async fn offer(mut self) {
        if let Some(sdp) = self.agent.offer(LINK) {
            self.reoffer = Some(sdp.clone());
            // A request is answered or fails. What goes through a broker may be lost without a word.
            self.reoffer_at = matches!(self.route, Route::Broker(_)).then(|| Instant::now() + REOFFER_EVERY);
            self.signal(Kind::Offer, sdp);
            self.run().await;
        }
        self.finish().await;
    }

    /// Waits until this side's addresses are known, as long as it may, and answers.
    pub(super) async fn answer(&mut self, offer: &Signal) -> Result<Signal, String> {
        let gathered = async { while !matches!(self.agent.next().await, News::Gathered(_) | News::Ended) {} };
        // Err: what is missing then is missing; the other side's relay may do.
        let _ = timeout(ANSWER_WAIT, gathered).await;
        let sdp = self.answer_now(offer)?;
        self.ready = !matches!(self.route, Route::Asked);
        Ok(self.signed(Kind::Answer, sdp))
    }

    /// Runs a session that has answered until the connection ends.
    pub(super) async fn go_on(mut self) {
        self.run().await;
        self.finish().await;
    }

    async fn run(&mut self) {
        let stop = self.links.0.handle.stop().clone();
        loop {
            let far = Instant::now() + CONNECT_TIME;
            let (send_at, until) = (self.send_at.unwrap_or(far), self.until.unwrap_or(far));
            let reoffer_at = self.reoffer_at.unwrap_or(far);
            let flow = tokio::select! {
                news = self.agent.next() => self.take_news(news),
                Some(order) = self.orders.recv() => self.take_order(order),
                Some(Ok(signalled)) = self.calls.join_next() => self.take_reply(signalled),
                Some(Ok(greeted)) = self.greeting.join_next() => self.take_greeting(greeted).await,
                () = sleep_until(send_at), if self.send_at.is_some() => self.send_addresses(),
                () = sleep_until(reoffer_at), if self.reoffer_at.is_some() => self.reoffer(),
                () = sleep_until(until), if self.until.is_some() => ControlFlow::Break(()),
                () = stop.cancelled(), if self.link.is_none() => ControlFlow::Break(()),
            };
            if flow.is_break() {
                return;
            }
        }
    }

    /// Tells the rules that it came to nothing, and the other side that it is over.
    async fn finish(mut self) {
        // First: an attempt that is over must not make the other side yield to it.
        self.links.0.rtc.retire(self.id);
        if let (Some(dial), false) = (self.dial, self.link.is_some()) {
            if !self.yielded {
                self.links.0.handle.counters().dialled(DialEnd::Failed, self.began.elapsed());
            }
            tracing::debug!(peer = %self.peer, failures = ?self.failures, "no WebRTC connection");
            let reasons = self.reasons();
            let outcome = if self.yielded { DialOutcome::Yielded } else { DialOutcome::NoPath { reasons } };
            self.links.0.handle.inform(Input::Dialed { dial, outcome }).await;
        }
        if self.dial.is_none() && self.link.is_none() {
            self.links.0.handle.inform(Input::Unmet { peer: self.peer.peer() }).await;
        }
        self.agent.end();
        if self.ready {
            self.signal(Kind::End, String::new());
        }
        let last = async {
            while !matches!(self.agent.next().await, News::Ended) {}
            while self.calls.join_next().await.is_some() {}
        };
        // Err: the other side notices by itself.
        let _ = timeout(FAREWELL, last).await;
        self.links.0.rtc.forget(self.id);
    }

    /// Why there is no connection.
    fn reasons(&mut self) -> Vec<String> {
        let mut reasons = std::mem::take(&mut self.failures);
        if !self.heard && reasons.is_empty() {
            reasons.push("it did not answer the offer of a connection".to_owned());
        } else if self.heard && !self.agent.had_path() {
            reasons.push(match self.agent.relays_are_configured() {
                true => "no direct way to it was found, and no way through a relay".to_owned(),
                false => "no direct way to it was found, and no relay is configured (webrtc.servers)".to_owned(),
            });
        }
        reasons
    }

    fn take_news(&mut self, news: News) -> ControlFlow<()> {
        match news {
            News::Candidate(candidate) => {
                // Without the name of the session, which is another one once an offer of new paths is answered.
                let text = candidate.to_sdp_string();
                self.unsent.push(text.split(" ufrag ").next().unwrap_or_default().to_owned());
                self.send_at.get_or_insert(Instant::now() + TRICKLE_PAUSE);
            }
            News::Gathered(failures) => failures.into_iter().for_each(|failure| self.note(failure)),
            News::Path(remote, way) => {
                self.path = (remote, way);
                if let Some(link) = self.link {
                    self.moved(link);
                }
            }
            News::Channel(channel) if channel.label() == LINK && self.link.is_none() => self.greet(channel),
            News::Channel(channel) if channel.label() == stream::LABEL && self.link.is_some() => {
                let (links, peer) = (self.links.clone(), self.peer);
                self.links.spawn(async move { links.take_stream(peer, Box::new(channel)).await });
            }
            // Nobody here asked for it: dropped, it closes.
            News::Channel(_) => {}
            News::Found if self.link.is_some() => self.offer_is_over(),
            News::Found => {}
            News::Ended => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn take_order(&mut self, order: Order) -> ControlFlow<()> {
        match order {
            Order::Signal(signal) => match signal.kind {
                Kind::Answer => self.take_answer(&signal, None),
                Kind::Candidates => {
                    // Else of an offer that was answered before, or of one that is still to come.
                    if self.theirs.is_of_last(&signal.sdp) {
                        self.add(&signal.sdp);
                    }
                }
                Kind::End => return ControlFlow::Break(()),
                Kind::Offer => {}
            },
            Order::Reoffer(offer, reply) => self.take_offer(&offer, reply),
            Order::Channel(reply) => self.agent.open(stream::LABEL, reply),
            Order::Yield if self.link.is_none() && self.greeting.is_empty() => {
                self.yielded = true;
                return ControlFlow::Break(());
            }
            // The other side has this link already; of two the rules keep one.
            Order::Yield => {}
            // Both sides offer: that of the side which made the connection is answered.
            Order::Restart if self.link.is_some() && self.reoffer_at.is_none() => self.restart(),
            Order::Restart => {}
            // An offer that is open may have been made when this machine had no address.
            Order::Renew if self.link.is_none() || self.reoffer_at.is_some() => {
                // Err: this machine has no address now; it may get one.
                let _ = self.agent.renew();
            }
            Order::Renew if self.agent.has_lost_its_path() => self.restart(),
            Order::Renew => {}
        }
        ControlFlow::Continue(())
    }

    fn take_reply(&mut self, signalled: Signalled) -> ControlFlow<()> {
        match signalled {
            Signalled::Answer { signal, resource } => self.take_answer(&signal, resource),
            Signalled::Sent => {}
            Signalled::SentByBroker(broker) => {
                self.route = Route::Broker(broker);
                self.ready = true;
                if self.reoffer.is_some() {
                    self.reoffer_at.get_or_insert(Instant::now() + REOFFER_EVERY);
                }
                self.send_soon();
            }
            Signalled::Yield => {
                self.yielded = true;
                return ControlFlow::Break(());
            }
            Signalled::Refused(why) => {
                self.note(why);
                // A connection that is up needs no signals.
                if !self.ready && self.link.is_none() {
                    return ControlFlow::Break(());
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn note(&mut self, failure: String) {
        if self.failures.len() < FAILURES_MAX && !self.failures.contains(&failure) {
            self.failures.push(failure);
        }
    }

    /// The hellos, and then the link.
    fn greet(&mut self, mut channel: DataChannel) {
        let (links, peer, dial) = (self.links.clone(), self.peer, self.dial);
        let path = self.path;
        self.greeting.spawn(async move {
            let greeted = hello::exchange(&mut channel, &links.0.handle, peer).await;
            match greeted {
                Ok(greeted) => Ok((links.establish(channel, greeted, peer, path, dial).await, path)),
                Err(failure) => {
                    links.note_hello(failure, path.0);
                    Err(failure)
                }
            }
        });
    }

    async fn take_greeting(&mut self, greeted: Result<(LinkId, Path), DialFailure>) -> ControlFlow<()> {
        match greeted {
            Ok((link, path)) => {
                (self.link, self.until, self.turn) = (Some(link), None, None);
                self.failures.clear();
                // It may be another than when the hellos began.
                if path != self.path {
                    self.moved(link);
                }
                self.links.0.rtc.settle(self.id, link);
            }
            Err(failure) => {
                self.note(failure.text().to_owned());
                return ControlFlow::Break(());
            }
        }
        if let Some(dial) = self.dial {
            self.links.0.handle.counters().dialled(DialEnd::Linked, self.began.elapsed());
            self.links.0.handle.inform(Input::Dialed { dial, outcome: DialOutcome::Linked(self.path.0) }).await;
        }
        ControlFlow::Continue(())
    }

    /// Tells the rules of another path. Not awaited: the driver may be waiting for this link.
    fn moved(&self, link: LinkId) {
        let (handle, (remote, way)) = (self.links.0.handle.clone(), self.path);
        self.links.spawn(async move { handle.inform(Input::LinkMoved { link, remote, way }).await });
    }
}
