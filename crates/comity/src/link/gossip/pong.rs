//! Answers pings. libp2p's own part does that too, but no more once the other side has refused to be pinged itself, which
//! js-libp2p does by default: it would then take this node for dead. Source: the ping specification of libp2p.

use futures_util::future::BoxFuture;
use futures_util::{AsyncReadExt, AsyncWriteExt, FutureExt};
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::core::upgrade::{DeniedUpgrade, ReadyUpgrade};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound};
use libp2p::swarm::{
    ConnectionDenied, ConnectionHandler, ConnectionHandlerEvent, ConnectionId, FromSwarm, NetworkBehaviour, Stream,
    StreamProtocol, SubstreamProtocol, THandlerInEvent, THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId, ping};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::task::{Context, Poll};

/// Bytes of a ping.
const PING_SIZE: usize = 32;

/// Streams by which one connection is pinged at once: the oldest gives way.
const STREAMS_MAX: usize = 2;

/// Answers the pings of all connections.
pub(super) struct Pong;

impl NetworkBehaviour for Pong {
    type ConnectionHandler = Answering;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<Answering, ConnectionDenied> {
        Ok(Answering::default())
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<Answering, ConnectionDenied> {
        Ok(Answering::default())
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// Answers the pings of one connection.
#[derive(Default)]
pub(super) struct Answering(VecDeque<BoxFuture<'static, io::Error>>);

impl ConnectionHandler for Answering {
    type FromBehaviour = Infallible;
    type ToBehaviour = Infallible;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = DeniedUpgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(ping::PROTOCOL_NAME), ())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<DeniedUpgrade, (), Infallible>> {
        self.0.retain_mut(|answering| answering.poll_unpin(cx).is_pending());
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, event: Infallible) {
        match event {}
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol>) {
        if let ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) = event {
            if self.0.len() >= STREAMS_MAX {
                self.0.pop_front();
            }
            self.0.push_back(answer(protocol).boxed());
        }
    }
}

/// Says again what comes, until no more comes.
async fn answer(mut stream: Stream) -> io::Error {
    let mut ping = [0; PING_SIZE];
    loop {
        let answered = async {
            stream.read_exact(&mut ping).await?;
            stream.write_all(&ping).await?;
            stream.flush().await
        };
        if let Err(end) = answered.await {
            return end;
        }
    }
}
