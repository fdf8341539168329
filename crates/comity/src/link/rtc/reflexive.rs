//! How a STUN server sees one of this node's sockets (RFC 8489): the address that a NAT gave it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use turn_client_proto::stun::agent::{StunAgent, StunAgentPollRet};
use turn_client_proto::stun::types::TransportType;
use turn_client_proto::stun::types::attribute::XorMappedAddress;
use turn_client_proto::stun::types::message::{BINDING, Message, MessageWrite, MessageWriteVec};

/// How often the server is asked before it counts as silent: at once, then after 0.25, 0.75, 1.75 s.
const ASK_FIRST: Duration = Duration::from_millis(250);
const ASK_PAUSE_MAX: Duration = Duration::from_secs(1);
const ASK_TIMES: u32 = 4;

/// One question to one server.
pub(super) struct Mirror {
    agent: StunAgent,
    pub(super) socket: usize,
    pub(super) server: SocketAddr,
    /// The server, in words.
    pub(super) name: String,
    /// Whether it was answered, or will not be.
    pub(super) ended: bool,
    /// Whether it was answered.
    pub(super) answered: bool,
    base: Instant,
}

/// What became of a question.
pub(super) enum Seen {
    /// The server sees the socket at this address.
    At(SocketAddr),
    /// It did not answer.
    Nothing,
}

impl Mirror {
    /// Asks, and gives what is to be sent.
    pub(super) fn ask(name: String, socket: usize, local: SocketAddr, server: SocketAddr) -> (Self, Vec<u8>) {
        let mut agent = StunAgent::builder(TransportType::Udp, local)
            .remote_addr(server)
            .request_retransmits(ASK_FIRST, ASK_PAUSE_MAX, ASK_TIMES, ASK_PAUSE_MAX)
            .build();
        let base = Instant::now();
        let question = Message::builder_request(BINDING, MessageWriteVec::new()).finish();
        let now = turn_client_proto::stun::Instant::from_std(base);
        let first = agent.send_request(question, server, now).map(|transmit| transmit.data.to_vec());
        let mirror = Self { agent, socket, server, name, ended: false, answered: false, base };
        (mirror, first.unwrap_or_default())
    }

    /// Takes a datagram of the server: `Some` when it is the answer.
    pub(super) fn receive(&mut self, data: &[u8]) -> Option<Seen> {
        let answer = Message::from_bytes(data).ok()?;
        let now = turn_client_proto::stun::Instant::from_std(self.base);
        if self.ended || !self.agent.handle_stun_message_with_time(&answer, self.server, now) {
            return None;
        }
        (self.ended, self.answered) = (true, true);
        let seen = answer.attribute::<XorMappedAddress>().ok().map(|address| address.addr(answer.transaction_id()));
        Some(seen.map_or(Seen::Nothing, Seen::At))
    }

    /// Does what time asks for: what is to be sent, or that it was in vain; and when to come again.
    pub(super) fn work(&mut self) -> (Vec<Vec<u8>>, Option<Seen>, Option<Duration>) {
        let mut out = Vec::new();
        if self.ended {
            return (out, None, None);
        }
        let now = turn_client_proto::stun::Instant::from_std(self.base);
        let polled = self.agent.poll(now);
        while let Some(transmit) = self.agent.poll_transmit(now) {
            out.push(transmit.data.to_vec());
        }
        match polled {
            StunAgentPollRet::WaitUntil(at) => (out, None, Some(at.duration_since(now))),
            StunAgentPollRet::TransactionTimedOut(_) | StunAgentPollRet::TransactionCancelled(_) => {
                self.ended = true;
                (out, Some(Seen::Nothing), None)
            }
        }
    }
}
