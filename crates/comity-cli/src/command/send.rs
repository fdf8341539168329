//! `comity send`: says something to a peer or on a channel.

use crate::args::Send;
use crate::exit::Failure;
use crate::page::Page;
use crate::payload;
use comity_client::Client;
use comity_client::control::{self, Named};

pub(crate) async fn run(client: &Client, wanted: Send, page: &mut Page) -> Result<(), Failure> {
    let send = control::Send {
        payload: payload::read(&wanted.payload)?,
        target: wanted.target,
        channel: wanted.channel,
        kind: wanted.kind.map(Named),
        priority: wanted.priority.map(Named),
        ttl: wanted.ttl,
        sealed: wanted.sealed,
        reply_to: wanted.reply_to,
        thread: None,
    };
    let sent = client.send(&send).await?;
    if page.json {
        return page.value(&sent);
    }
    let listeners = match (sent.to, sent.peers) {
        (Some(peer), _) => format!("for {peer}"),
        (None, 0) => "on its way to nobody: no peer listens".to_owned(),
        (None, 1) => "for 1 peer".to_owned(),
        (None, peers) => format!("for {peers} peers"),
    };
    page.line(&format!("{}  {}  {listeners}", sent.id, sent.channel))
}
