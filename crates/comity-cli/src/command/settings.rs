//! `comity attention`, `comity subscribe`, `comity unsubscribe`: what reaches this node, and how.

use crate::args::{Attention, Subscribe, Unsubscribe};
use crate::exit::Failure;
use crate::page::Page;
use comity_client::Client;
use comity_client::control::{self, Named};
use serde_json::json;

pub(crate) async fn attention(client: &Client, wanted: Attention, page: &mut Page) -> Result<(), Failure> {
    let mode = match wanted.mode {
        Some(mode) => {
            client.set_attention(mode).await?;
            Named(mode)
        }
        None => client.node().await?.attention_mode,
    };
    if page.json { page.value(&control::Attention { mode }) } else { page.line(mode.0.name()) }
}

pub(crate) async fn subscribe(client: &Client, wanted: Subscribe, page: &mut Page) -> Result<(), Failure> {
    client.subscribe(&wanted.channel, wanted.quiet).await?;
    if page.json {
        return page.value(&json!({ "channel": wanted.channel, "subscribed": true, "quiet": wanted.quiet }));
    }
    page.line(&format!(
        "listening to {}{}",
        wanted.channel,
        if wanted.quiet { ", without background messages" } else { "" }
    ))
}

pub(crate) async fn unsubscribe(client: &Client, wanted: Unsubscribe, page: &mut Page) -> Result<(), Failure> {
    client.unsubscribe(&wanted.channel).await?;
    if page.json {
        return page.value(&json!({ "channel": wanted.channel, "subscribed": false }));
    }
    page.line(&format!("not listening to {} any more", wanted.channel))
}
