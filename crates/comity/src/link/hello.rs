//! The first words on a link: each side says who it is, and the other judges it, before the rules
//! hear of the link. See "Links" in `protocols/local-network.md`.

use super::mesh::Packets;
use crate::driver::Handle;
use comity_core::card::{self, Card};
use comity_core::id::NodeId;
use comity_core::node::DialFailure;
use comity_core::wire::card::BadCard;
use comity_core::wire::frame::{Frame, Hello, Incoming, parse};
use futures_util::{SinkExt, StreamExt};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message as Packet;

/// How long the whole exchange may take.
pub(super) const HELLO_TIME: Duration = Duration::from_secs(5);

/// Largest hello, bytes: a card and 256 subscriptions fit many times.
const HELLO_MAX: usize = 128 * 1024;

/// A link whose hellos are through.
pub(super) struct Greeted {
    /// Its card; the signature was checked.
    pub(super) card: Box<Card>,
    /// The rest of what it said.
    pub(super) theirs: Hello,
    /// What this node said: names the channels that it may now use.
    pub(super) ours: Arc<Hello>,
}

/// Exchanges hellos with the side that proved `key`.
pub(super) async fn exchange(socket: &mut impl Packets, handle: &Handle, key: NodeId) -> Result<Greeted, DialFailure> {
    let ours = handle.hello().borrow().clone();
    let talk = async {
        let packet = Packet::text(ours.encode());
        socket.send(packet).await.map_err(|_| DialFailure::Refused)?;
        first_words(socket, handle).await
    };
    let theirs = timeout(HELLO_TIME, talk).await.unwrap_or(Err(DialFailure::Refused))?;
    let card = judge(&theirs, handle, key, &ours)?;
    Ok(Greeted { card: Box::new(card), theirs, ours })
}

async fn first_words(socket: &mut impl Packets, handle: &Handle) -> Result<Hello, DialFailure> {
    let Some(Ok(Packet::Text(text))) = socket.next().await else { return Err(DialFailure::Refused) };
    if text.len() > HELLO_MAX {
        return Err(DialFailure::Incompatible);
    }
    match parse(text.as_bytes(), handle.now().wall) {
        Ok(Incoming::Hello(hello)) => Ok(hello),
        Ok(Incoming::Control(Frame::Goodbye { .. })) => Err(DialFailure::Refused),
        Ok(_) | Err(_) => Err(DialFailure::Incompatible),
    }
}

pub(super) fn judge(theirs: &Hello, handle: &Handle, key: NodeId, ours: &Hello) -> Result<Card, DialFailure> {
    if !card::compatible(&theirs.protocol, card::PROTOCOL) {
        return Err(DialFailure::Incompatible);
    }
    let card = comity_core::wire::card::verify(&theirs.card, handle.now().wall).map_err(|refused| {
        tracing::debug!(%key, %refused, "a hello carries a card that does not hold");
        match refused {
            BadCard::FromTheFuture | BadCard::Expired => DialFailure::Clock,
            _ => DialFailure::Incompatible,
        }
    })?;
    if card.node != Some(key) {
        return Err(DialFailure::WrongKey);
    }
    match (key == handle.me().node(), theirs.boot == ours.boot) {
        (true, true) => Err(DialFailure::Ourselves),
        (true, false) => Err(DialFailure::Twin),
        (false, _) => Ok(card),
    }
}
