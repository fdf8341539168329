//! A data channel inside its connection: what waits for its reader, and what its owner has written.

use super::channel::{self, DataChannel, Inside};
use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use str0m::Rtc;
use str0m::channel::ChannelId;
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message as Packet;
use tokio_util::sync::PollSender;

/// Bytes of one channel that wait for the network before its writer has to: with less a long path
/// is not filled (25 MB/s at 40 ms), with more what is urgent waits behind what is large.
const SENDING_MAX: usize = 1024 * 1024;

/// How long what was written may take to arrive once its owner writes no more: a peer that acknowledges
/// nothing would keep the connection for ever.
const LINGER: Duration = Duration::from_secs(2);

/// Bytes of one channel that may wait for its reader. What is sent over one keeps less under way: two windows
/// of a file's stream. A peer that sends more than that to somebody who does not read loses the channel.
const HELD_MAX: usize = 5 * 1024 * 1024;

/// One channel.
pub(super) struct Pipe {
    pub(super) id: ChannelId,
    label: String,
    /// `None` until it is open.
    inside: Option<(PollSender<Packet>, mpsc::Receiver<Packet>)>,
    reading: VecDeque<Packet>,
    /// Bytes in `reading`.
    held: usize,
    /// Written by its owner, and not yet taken by the connection.
    writing: Option<Packet>,
    /// Since when its owner writes no more.
    finished: Option<Instant>,
    /// Who asked for it, if it was not for the link.
    asker: Option<oneshot::Sender<DataChannel>>,
}

impl Pipe {
    /// A channel that is not open yet.
    pub(super) fn new(id: ChannelId, label: String) -> Self {
        let reading = VecDeque::new();
        Self { id, label, inside: None, reading, held: 0, writing: None, finished: None, asker: None }
    }

    /// The same, for whoever asked for it.
    pub(super) fn wanted(id: ChannelId, label: String, asker: oneshot::Sender<DataChannel>) -> Self {
        Self { asker: Some(asker), ..Self::new(id, label) }
    }

    /// It is open: here is its outside, unless it went to whoever asked for it.
    pub(super) fn open(&mut self) -> Option<DataChannel> {
        let (outside, Inside { incoming, outgoing }) = channel::open(self.label.clone());
        self.inside = Some((PollSender::new(incoming), outgoing));
        let Some(asker) = self.asker.take() else { return Some(outside) };
        // Err: the asker has gone, and the channel closes.
        let _ = asker.send(outside);
        None
    }

    /// Nothing more comes and nothing more goes.
    pub(super) fn close(&mut self) {
        self.finish();
        self.writing = None;
        if let Some((incoming, outgoing)) = &mut self.inside {
            outgoing.close();
            if self.reading.is_empty() {
                incoming.close();
            }
        }
    }

    fn finish(&mut self) {
        self.finished.get_or_insert_with(Instant::now);
    }

    /// What it is for.
    pub(super) fn label(&self) -> &str {
        &self.label
    }

    /// Takes a message that came.
    pub(super) fn take(&mut self, packet: Packet) {
        self.held += packet.len();
        self.reading.push_back(packet);
        if self.held > HELD_MAX {
            self.reading.clear();
            self.held = 0;
            self.close();
        }
    }

    /// Hands the reader what came, and says how many bytes still wait.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> usize {
        let Some((incoming, _)) = &mut self.inside else { return self.held };
        while !self.reading.is_empty() {
            match incoming.poll_reserve(cx) {
                Poll::Ready(Ok(())) => {
                    let Some(packet) = self.reading.pop_front() else { break };
                    self.held -= packet.len();
                    // Err: nobody reads any more, which the next reservation says.
                    let _ = incoming.send_item(packet);
                }
                Poll::Ready(Err(_)) => {
                    self.reading.clear();
                    self.held = 0;
                }
                Poll::Pending => break,
            }
        }
        if self.finished.is_some() && self.reading.is_empty() {
            incoming.close();
        }
        self.held
    }

    /// Takes what its owner has written when there is room for it; ready when something changed.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, rtc: &mut Rtc) -> Poll<()> {
        let Some((_, outgoing)) = &mut self.inside else { return Poll::Pending };
        if self.finished.is_some() || self.writing.is_some() {
            return Poll::Pending;
        }
        if rtc.channel(self.id).is_none_or(|mut channel| channel.buffered_amount() >= SENDING_MAX) {
            return Poll::Pending;
        }
        match ready!(outgoing.poll_recv(cx)) {
            Some(packet) => self.writing = Some(packet),
            None => self.finish(),
        }
        Poll::Ready(())
    }

    /// Gives the connection what was written; `false` when there was nothing, or no room for it.
    pub(super) fn write(&mut self, rtc: &mut Rtc) -> bool {
        let Some(packet) = self.writing.take() else { return false };
        let (binary, data): (bool, &[u8]) = match &packet {
            Packet::Binary(data) => (true, data),
            Packet::Text(text) => (false, text.as_bytes()),
            _ => return false,
        };
        match rtc.channel(self.id).map(|mut channel| channel.write(binary, data)) {
            Some(Ok(true)) => true,
            Some(Ok(false)) => {
                self.writing = Some(packet);
                false
            }
            Some(Err(error)) => {
                tracing::debug!(%error, label = self.label, "a data channel takes no more");
                self.close();
                false
            }
            None => {
                self.close();
                false
            }
        }
    }

    /// Whether nothing more will be written, and all has arrived that was, or has had its time.
    pub(super) fn is_done(&self, rtc: &mut Rtc) -> bool {
        let Some(finished) = self.finished else { return false };
        let rest = self.reading.is_empty() && self.writing.is_none();
        let gone = rest && rtc.channel(self.id).is_none_or(|mut channel| channel.buffered_amount() == 0);
        gone || finished.elapsed() >= LINGER
    }

    /// When it is over at the latest.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.finished.map(|finished| finished + LINGER)
    }
}
