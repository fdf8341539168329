//! What the two sides of a connection signal to each other: offers, answers, addresses.

use super::super::agent::Unusable;
use super::super::route::Route;
use super::{OFFERS_MAX, REOFFER_EVERY, REOFFERED_PAUSE, Session, TOLD_MAX, TRICKLE_PAUSE, permitted};
use crate::link::Cause;
use comity_core::wire::signal::{self, Kind, Signal};
use std::ops::ControlFlow;
use tokio::sync::oneshot;
use tokio::time::Instant;

impl Session {
    /// Takes an offer of new paths, or the first one again.
    pub(super) fn take_offer(&mut self, offer: &Signal, reply: Option<oneshot::Sender<Result<Signal, String>>>) {
        // This side's own offer goes first, as it made the connection.
        if self.dial.is_some() && self.reoffer.is_some() {
            return;
        }
        let answer = match &self.answered {
            // The answer to it was lost.
            Some((.., said, answer)) if *said == offer.sdp => Ok(answer.clone()),
            Some((at, taken, ..)) if offer.at <= *at || taken.elapsed() < REOFFERED_PAUSE => return,
            _ if self.link.is_none() => return,
            _ => self.answer_again(offer, reply.is_none()),
        };
        match (reply, answer) {
            (Some(reply), answer) => {
                // Err: whoever asked has gone, and asks again.
                let _ = reply.send(answer.map(|sdp| self.signed(Kind::Answer, sdp)));
            }
            (None, Ok(sdp)) => self.signal(Kind::Answer, sdp),
            (None, Err(why)) => tracing::debug!(why, "an offer of new paths"),
        }
    }

    fn answer_again(&mut self, offer: &Signal, by_broker: bool) -> Result<String, String> {
        self.offer_is_over();
        if by_broker {
            self.use_broker();
        }
        // This side may have moved as well. Err: it has no address now, and may get one.
        let _ = self.agent.renew();
        self.answer_now(offer)
    }

    pub(super) fn answer_now(&mut self, offer: &Signal) -> Result<String, String> {
        let description = signal::split(&offer.sdp).0;
        let answer = self.agent.answer(&description).map_err(|unusable| unusable.to_string())?;
        self.add_all(&offer.sdp);
        self.answered = Some((offer.at, Instant::now(), offer.sdp.clone(), answer.clone()));
        Ok(answer)
    }

    pub(super) fn offer_is_over(&mut self) {
        (self.reoffer, self.reoffer_at, self.reoffers) = (None, None, 0);
        self.told.clear();
    }

    pub(super) fn take_answer(&mut self, answer: &Signal, found: Option<String>) {
        // An offer that was made twice may be answered twice, and another one be open by now.
        if answer.session != self.id || answer.kind != Kind::Answer || self.theirs.has(&answer.sdp) {
            return;
        }
        match self.agent.take_answer(&signal::split(&answer.sdp).0) {
            Ok(()) => {}
            Err(Unusable::Late) => return,
            Err(unusable) => return self.note(unusable.to_string()),
        }
        self.heard = true;
        self.offer_is_over();
        if let (Route::Http { resource, .. }, Some(found)) = (&mut self.route, found) {
            *resource = Some(found);
        }
        self.ready = true;
        self.send_soon();
        self.add_all(&answer.sdp);
    }

    pub(super) fn send_soon(&mut self) {
        if !self.unsent.is_empty() {
            self.send_at.get_or_insert(Instant::now() + TRICKLE_PAUSE);
        }
    }

    /// Adds the addresses of a description that was taken just now, and those that came before it.
    fn add_all(&mut self, sdp: &str) {
        self.add(sdp);
        self.theirs.take(sdp).iter().for_each(|early| self.add(early));
    }

    /// Adds the addresses of the other side that are in a description or a list and may be tried.
    pub(super) fn add(&mut self, sdp: &str) {
        for text in signal::split(sdp).1 {
            match str0m::Candidate::from_sdp_string(text) {
                Ok(candidate) if permitted(&candidate, self.agent.is_on_loopback()) => {
                    if !self.agent.add_remote(candidate) {
                        self.links.refused(Cause::Candidate);
                    }
                }
                Ok(candidate) => {
                    tracing::debug!(address = %candidate.addr(), "a candidate that is not tried");
                    self.links.refused(Cause::Candidate);
                }
                // Names ending in .local among them, with which browsers hide addresses.
                Err(_) => {}
            }
        }
    }

    pub(super) fn send_addresses(&mut self) -> ControlFlow<()> {
        self.send_at = None;
        if matches!(self.route, Route::Asked) {
            // Who asked by HTTP cannot be told later, but by a broker.
            self.use_broker();
        }
        // Else they are sent when the offer is answered.
        if self.ready {
            let unsent = std::mem::take(&mut self.unsent);
            let (ufrag, password) = self.names();
            self.signal(Kind::Candidates, signal::fragment(&ufrag, &password, &unsent));
            self.told.extend(unsent);
            self.told.truncate(TOLD_MAX);
        }
        ControlFlow::Continue(())
    }

    /// The names that this side's addresses belong to: those of the offer that is open, if there is one.
    fn names(&mut self) -> (String, String) {
        let named = |name: &str| Some(signal::attribute(self.reoffer.as_deref()?, name)?.to_owned());
        match (named("ice-ufrag"), named("ice-pwd")) {
            (Some(ufrag), Some(password)) => (ufrag, password),
            _ => self.agent.credentials(),
        }
    }

    /// Offers new paths.
    pub(super) fn restart(&mut self) {
        if matches!(self.route, Route::Asked) {
            self.use_broker();
        }
        self.offer_is_over();
        self.reoffer_at = Some(Instant::now() + REOFFER_EVERY);
        self.reoffer = self.agent.restart();
        if let Some(sdp) = self.reoffer.clone() {
            self.signal(Kind::Offer, sdp);
        }
    }

    /// Makes the offer that is open again.
    pub(super) fn reoffer(&mut self) -> ControlFlow<()> {
        self.reoffers += 1;
        self.reoffer_at = (self.reoffers < OFFERS_MAX).then(|| Instant::now() + REOFFER_EVERY);
        if let Some(sdp) = self.reoffer.clone() {
            self.signal(Kind::Offer, sdp);
            // They may have been lost with it.
            self.unsent.append(&mut self.told);
            self.send_soon();
        }
        ControlFlow::Continue(())
    }

    /// From now on signals go through the broker, if there is one.
    pub(super) fn use_broker(&mut self) {
        if let Some(broker) = self.links.0.rtc.broker.get() {
            (self.route, self.ready) = (Route::Broker(broker.clone()), true);
        }
    }

    pub(super) fn signed(&self, kind: Kind, sdp: String) -> Signal {
        let handle = &self.links.0.handle;
        Signal { kind, session: self.id, from: handle.me().node(), to: self.peer, at: handle.now().wall, sdp }
    }

    pub(super) fn signal(&mut self, kind: Kind, sdp: String) {
        let (signal, links, route) = (self.signed(kind, sdp), self.links.clone(), self.route.clone());
        self.calls.spawn(async move { route.send(&links, &signal).await });
    }
}
