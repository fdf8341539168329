//! One WebRTC connection: its sockets, the servers it asks, and the state machine of the `str0m`
//! crate between them. It knows ICE, DTLS and data channels, and nothing of nodes: who may connect,
//! and what is said over the channels, is decided above. One task at a time drives it by
//! [`Agent::next`].

mod packets;
mod servers;

use super::channel::{self, DataChannel};
use super::pipe::Pipe;
use super::ports::{Arrived, Ports};
use super::reflexive::Mirror;
use super::relay::Relay;
use super::server::{Opened, Server};
use super::{Ice, LINK};
use comity_core::peers::Way;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::channel::{ChannelConfig, ChannelData, ChannelId};
use str0m::net::Protocol;
use str0m::{Candidate, CandidateKind, Event, IceConnectionState, Input, Output, Rtc, RtcConfig};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::Sleep;

/// Bytes that a connection holds for the network, over all channels: with less, a long path is not
/// filled (25 MB/s at 80 ms); with more, messages wait behind files.
const SENDING_MAX: usize = 2 * 1024 * 1024;

/// Largest message of a channel that is taken, bytes: a text frame with the largest payload.
const MESSAGE_MAX: u32 = 384 * 1024;

/// Bytes that wait for the readers of the channels before nothing more is read from the network.
const READING_MAX: usize = 12 * 1024 * 1024;

/// Channels that a connection may have at once.
const CHANNELS_MAX: usize = 16;

/// Longest name of a channel that is kept, characters.
const LABEL_MAX: usize = 128;

/// Addresses of the other side that are tried, until it offers new paths.
const REMOTE_MAX: usize = 64;

/// How long a first check of a path may be unanswered until it is made again; doubles each time. The
/// first one of the side that is earlier is lost at the other one's NAT.
const CHECK_AGAIN: Duration = Duration::from_millis(100);

/// How often in a row what is due is done at once before other tasks have their turn.
const DUE_MAX: u32 = 8;

/// How long the servers may take to hear that what they lent is not needed.
const RETURN_TIME: Duration = Duration::from_millis(200);

/// How long the servers may take before what they have not told is not waited for.
pub(super) const GATHER_TIME: Duration = Duration::from_secs(5);

/// What happens on a connection.
#[derive(Debug)]
pub(super) enum News {
    /// An address of this side, for the other side.
    Candidate(Candidate),
    /// There will be no more addresses; what every server that gave none is to blame for.
    Gathered(Vec<String>),
    /// Packets go this way from now on.
    Path(SocketAddr, Way),
    /// A channel is open, whichever side opened it.
    Channel(DataChannel),
    /// A path works, perhaps again. That none does any more the link notices, by its pings, sooner than ICE.
    Found,
    /// The connection is over.
    Ended,
}

/// Why a description or candidate of the other side is no good.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It cannot be read.
    #[error("the description cannot be used: {0}")]
    Description(String),
    /// It answers something that was not asked.
    #[error("the answer comes too late")]
    Late,
}

/// One connection.
pub(super) struct Agent {
    rtc: Box<Rtc>,
    ports: Ports,
    ice: Arc<Ice>,
    mirrors: Vec<Mirror>,
    relays: Vec<Relay>,
    opening: JoinSet<(Server, io::Result<Opened>)>,
    failures: Vec<String>,
    gathering: Option<Instant>,
    pipes: Vec<Pipe>,
    had_pipes: bool,
    pending: Option<SdpPendingOffer>,
    remote: Vec<(SocketAddr, CandidateKind)>,
    path: Option<(SocketAddr, SocketAddr)>,
    news: VecDeque<News>,
    timer: Pin<Box<Sleep>>,
    buffer: Box<[u8]>,
    /// Whether the state machine was told something that it acts on only when time goes on.
    stirred: bool,
    over: bool,
    /// Until when the servers may take to hear that what they lent is not needed; set when it ends.
    leaving_until: Option<Instant>,
}

enum Wake {
    Datagram { socket: usize, len: usize, from: SocketAddr },
    Relayed { relay: usize, read: io::Result<usize> },
    Opened(Box<(Server, io::Result<Opened>)>),
    Written,
    Time,
}

impl Agent {
    /// A connection that can offer, or answer. Its addresses are collected from now on.
    pub(super) fn new(ice: Arc<Ice>) -> io::Result<Self> {
        let mut config = RtcConfig::new();
        config.set_initial_stun_rto(CHECK_AGAIN);
        let config = config.clear_codecs().set_sctp_max_buffered_amount(SENDING_MAX);
        let rtc = config.set_sctp_max_message_size(MESSAGE_MAX).build(Instant::now());
        let mut agent = Self {
            rtc: Box::new(rtc),
            ports: Ports::default(),
            ice,
            mirrors: Vec::new(),
            relays: Vec::new(),
            opening: JoinSet::new(),
            failures: Vec::new(),
            gathering: None,
            pipes: Vec::new(),
            had_pipes: false,
            pending: None,
            remote: Vec::new(),
            path: None,
            news: VecDeque::new(),
            timer: Box::pin(tokio::time::sleep(Duration::ZERO)),
            buffer: vec![0; 64 * 1024].into(),
            stirred: false,
            over: false,
            leaving_until: None,
        };
        agent.gather()?;
        Ok(agent)
    }

    fn offer_candidate(&mut self, candidate: Candidate) {
        let added = self.rtc.add_local_candidate(candidate).cloned();
        self.news.extend(added.map(News::Candidate));
    }

    /// The first offer, with a channel of this name.
    pub(super) fn offer(&mut self, label: &str) -> Option<String> {
        let mut change = self.rtc.sdp_api();
        let id = change.add_channel(label.to_owned());
        let (offer, pending) = change.apply()?;
        self.pending = Some(pending);
        self.pipes.push(Pipe::new(id, label.to_owned()));
        Some(offer.to_sdp_string())
    }

    /// Another channel of a connection that is up; `reply` is dropped if there is no room for one.
    pub(super) fn open(&mut self, label: &str, reply: oneshot::Sender<DataChannel>) {
        if self.pipes.len() < CHANNELS_MAX {
            let config = ChannelConfig { label: label.to_owned(), ..ChannelConfig::default() };
            let id = self.rtc.direct_api().create_data_channel(config);
            self.pipes.push(Pipe::wanted(id, label.to_owned(), reply));
        }
    }

    /// An offer that lets the connection go on by other addresses (RFC 8445, 9).
    pub(super) fn restart(&mut self) -> Option<String> {
        // Err: this machine has no address now; it may get one.
        let _ = self.start_over();
        let mut change = self.rtc.sdp_api();
        change.ice_restart(true);
        let (offer, pending) = change.apply()?;
        self.pending = Some(pending);
        Some(offer.to_sdp_string())
    }

    /// Takes the answer to the last offer; its candidates are added one by one.
    pub(super) fn take_answer(&mut self, sdp: &str) -> Result<(), Unusable> {
        self.stirred = true;
        let pending = self.pending.take().ok_or(Unusable::Late)?;
        let answer = SdpAnswer::from_sdp_string(sdp).map_err(|error| Unusable::Description(error.to_string()))?;
        self.remote.clear();
        self.rtc.sdp_api().accept_answer(pending, answer).map_err(|error| Unusable::Description(error.to_string()))
    }

    /// Answers an offer; its candidates are added one by one.
    pub(super) fn answer(&mut self, sdp: &str) -> Result<String, Unusable> {
        let bad = |error: String| Unusable::Description(error);
        let offer = SdpOffer::from_sdp_string(sdp).map_err(|error| bad(error.to_string()))?;
        let answer = self.rtc.sdp_api().accept_offer(offer).map_err(|error| bad(error.to_string()))?;
        self.remote.clear();
        (self.pending, self.stirred) = (None, true);
        Ok(answer.to_sdp_string())
    }

    /// Adds an address of the other side; `false` when it has named too many.
    pub(super) fn add_remote(&mut self, candidate: Candidate) -> bool {
        let known = (candidate.addr(), candidate.kind());
        if candidate.proto() != Protocol::Udp || self.remote.contains(&known) {
            return true;
        }
        if self.remote.len() >= REMOTE_MAX {
            return false;
        }
        self.remote.push(known);
        let relayed = candidate.kind() == CandidateKind::Relayed;
        // Its packets may come before it is named, and only then is it known what they came through.
        if relayed && self.path.is_some_and(|(_, theirs)| theirs == candidate.addr()) {
            self.news.push_back(News::Path(candidate.addr(), Way::RtcRelay));
        }
        for relay in &mut self.relays {
            relay.permit(candidate.addr().ip());
        }
        self.rtc.add_remote_candidate(candidate);
        self.stirred = true;
        true
    }

    /// Whether packets of the connection itself went somewhere.
    pub(super) fn had_path(&self) -> bool {
        self.path.is_some()
    }

    /// Whether this machine has no address but loopback.
    pub(super) fn is_on_loopback(&self) -> bool {
        self.ports.is_on_loopback()
    }

    /// The names that this side's candidates belong to.
    pub(super) fn credentials(&mut self) -> (String, String) {
        let credentials = self.rtc.direct_api().local_ice_credentials();
        (credentials.ufrag, credentials.pass)
    }

    /// What happens next. After [`News::Ended`] nothing does. Cancelling loses nothing.
    pub(super) async fn next(&mut self) -> News {
        let mut due = 0;
        loop {
            let again = self.settle();
            if let Some(news) = self.news.pop_front() {
                return news;
            }
            if self.over {
                self.give_back().await;
                return News::Ended;
            }
            // What is due now goes on now: the timer would come up to a millisecond later.
            let now = Instant::now();
            if again <= now && due < DUE_MAX {
                due += 1;
                self.feed(Input::Timeout(now));
                continue;
            }
            due = 0;
            self.timer.as_mut().reset(again.into());
            self.wake().await;
        }
    }

    /// Waits for the network, the owners of channels or the timer, and takes what comes.
    async fn wake(&mut self) {
        match poll_fn(|cx| self.poll_wake(cx)).await {
            Wake::Datagram { socket, len, from } => self.take_datagram(socket, len, from),
            Wake::Relayed { relay, read: Ok(len) } => self.take_relayed(relay, len),
            Wake::Relayed { relay, read: Err(_) } => {
                let said = self.relays[relay].lose();
                self.heed(relay, said);
            }
            Wake::Opened(opened) => {
                let (server, opened) = *opened;
                self.take_server(&server, opened);
            }
            Wake::Written => {}
            Wake::Time => self.feed(Input::Timeout(Instant::now())),
        }
    }

    fn poll_wake(&mut self, cx: &mut Context<'_>) -> Poll<Wake> {
        self.ports.poll_send(cx);
        let mut held = 0;
        for pipe in &mut self.pipes {
            held += pipe.poll_read(cx);
        }
        // What nobody reads stays in the network: the sender notices and slows down.
        if held < READING_MAX {
            if let Poll::Ready(Arrived { socket, len, from }) = self.ports.poll_receive(cx, &mut self.buffer) {
                return Poll::Ready(Wake::Datagram { socket, len, from });
            }
            for (index, relay) in self.relays.iter_mut().enumerate() {
                if let Poll::Ready(read) = relay.poll_read(cx, &mut self.buffer) {
                    return Poll::Ready(Wake::Relayed { relay: index, read });
                }
                if let Err(error) = relay.poll_write(cx) {
                    return Poll::Ready(Wake::Relayed { relay: index, read: Err(error) });
                }
            }
        }
        if let Poll::Ready(Some(Ok(opened))) = self.opening.poll_join_next(cx) {
            return Poll::Ready(Wake::Opened(Box::new(opened)));
        }
        if self.ports.is_clear() {
            for pipe in &mut self.pipes {
                if pipe.poll_write(cx, &mut self.rtc).is_ready() {
                    return Poll::Ready(Wake::Written);
                }
            }
        }
        self.timer.as_mut().poll(cx).map(|()| Wake::Time)
    }

    /// Brings everything to rest: what is to be sent is sent, what happened is news. Says when to
    /// come again.
    fn settle(&mut self) -> Instant {
        self.write_pipes();
        let mut again = self.drain();
        if std::mem::take(&mut self.stirred) {
            // The side that answers has no timer yet: it would wait for the first packet of the other side, which a NAT
            // lets in only after one went out.
            self.feed(Input::Timeout(Instant::now()));
            again = self.drain();
        }
        again = self.pipes.iter().filter_map(Pipe::ends).fold(again, Instant::min);
        let mut sooner = |wait: Option<Duration>| again = wait.map_or(again, |wait| again.min(Instant::now() + wait));
        for index in 0..self.mirrors.len() {
            let (out, seen, wait) = self.mirrors[index].work();
            let (socket, server) = (self.mirrors[index].socket, self.mirrors[index].server);
            out.iter().for_each(|data| self.ports.send(socket, server, data));
            sooner(wait);
            if let Some(seen) = seen {
                self.take_seen(index, &seen);
            }
        }
        sooner(self.work_relays());
        if let Some(until) = self.gathering {
            let waits = !self.opening.is_empty()
                || self.mirrors.iter().any(|mirror| !mirror.ended)
                || self.relays.iter().any(|relay| !relay.ended && relay.relayed.is_none());
            if !waits || Instant::now() >= until {
                self.gathering = None;
                self.note_silent_relays();
                let failures = std::mem::take(&mut self.failures);
                self.news.push_back(News::Gathered(failures));
            } else {
                again = again.min(until);
            }
        }
        // A candidate that was added by an answer of a server has to be polled as well.
        again.min(self.drain())
    }

    /// Sends what the connection wants to send and takes what it tells, until it has no more.
    fn drain(&mut self) -> Instant {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(at)) => {
                    if !self.rtc.is_alive() {
                        self.over = true;
                    }
                    return at;
                }
                Ok(Output::Transmit(transmit)) => {
                    // RFC 7983: DTLS begins with 20 to 63, STUN with 0 to 3. STUN tries every path.
                    if transmit.contents.first().is_some_and(|first| (20..64).contains(first)) {
                        self.note_path(transmit.source, transmit.destination);
                    }
                    self.send(transmit.source, transmit.destination, &transmit.contents);
                }
                Ok(Output::Event(event)) => self.take_event(event),
                Err(error) => {
                    tracing::debug!(%error, "a WebRTC connection broke");
                    self.over = true;
                    return Instant::now();
                }
            }
        }
    }

    fn note_path(&mut self, source: SocketAddr, destination: SocketAddr) {
        if self.path == Some((source, destination)) {
            return;
        }
        self.path = Some((source, destination));
        let own = self.relays.iter_mut().find(|relay| relay.relayed == Some(source));
        let theirs =
            self.remote.iter().any(|(address, kind)| *address == destination && *kind == CandidateKind::Relayed);
        let way = if own.is_some() || theirs { Way::RtcRelay } else { Way::Rtc };
        if let Some(relay) = own {
            relay.bind(destination);
        }
        self.news.push_back(News::Path(destination, way));
    }

    fn feed(&mut self, input: Input<'_>) {
        if let Err(error) = self.rtc.handle_input(input) {
            tracing::debug!(%error, "a WebRTC connection broke");
            self.over = true;
        }
    }

    fn take_event(&mut self, event: Event) {
        match event {
            Event::IceConnectionStateChange(IceConnectionState::Connected | IceConnectionState::Completed) => {
                self.news.push_back(News::Found);
            }
            Event::ChannelOpen(id, label) => self.open_pipe(id, &label),
            Event::ChannelData(ChannelData { id, binary, data }) => {
                let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.id == id) else { return };
                match channel::packet(binary, data) {
                    Some(packet) => pipe.take(packet),
                    None => pipe.close(),
                }
            }
            Event::ChannelClose(id) => {
                if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.id == id) {
                    pipe.close();
                }
            }
            _ => {}
        }
    }

    fn open_pipe(&mut self, id: ChannelId, label: &str) {
        if !self.pipes.iter().any(|pipe| pipe.id == id) {
            if self.pipes.len() >= CHANNELS_MAX {
                return self.rtc.direct_api().close_data_channel(id);
            }
            self.pipes.push(Pipe::new(id, label.chars().take(LABEL_MAX).collect()));
        }
        if let Some(pipe) = self.pipes.iter_mut().find(|pipe| pipe.id == id) {
            self.had_pipes = true;
            self.news.extend(pipe.open().map(News::Channel));
        }
    }

    /// Hands the connection what the owners of channels wrote, and closes what they have left.
    fn write_pipes(&mut self) {
        for index in 0..self.pipes.len() {
            if self.pipes[index].write(&mut self.rtc) {
                // One change at a time, as the state machine wants it.
                self.drain();
            }
        }
        let rtc = &mut self.rtc;
        self.pipes.retain(|pipe| {
            let done = pipe.is_done(rtc);
            if done {
                rtc.direct_api().close_data_channel(pipe.id);
            }
            !done
        });
        // Without its link nobody wants the connection; what else went over it begins anew on the next one.
        if self.had_pipes && !self.pipes.iter().any(|pipe| pipe.label() == LINK) {
            self.end();
        }
    }

    /// Ends the connection, and gives back what servers lent.
    pub(super) fn end(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            // Err: it was never up.
            let _ = self.rtc.close();
            self.drain();
        }
        if self.leaving_until.is_none() {
            self.leaving_until = Some(Instant::now() + RETURN_TIME);
            // Those that are not connected yet have lent nothing.
            self.opening.abort_all();
            self.relays.iter_mut().for_each(Relay::leave);
        }
    }
}
