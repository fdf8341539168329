//! `comity watch`: shows messages as they come. Nothing is taken from the inbox.

use crate::args::Watch;
use crate::exit::Failure;
use crate::page::{Look, Page, clean, said, say};
use comity_client::Client;
use comity_client::control::{Message, Watched};
use comity_core::envelope::Priority;
use comity_core::identity::trust::Trust;
use serde_json::Value;

pub(crate) async fn run(client: &Client, wanted: Watch, page: &mut Page) -> Result<(), Failure> {
    if let Some(channel) = wanted.target.as_deref().filter(|target| target.starts_with('!')) {
        return super::channel::watch(client, channel, page).await;
    }
    let mut messages = client.watch(wanted.target.as_deref()).await?;
    while let Some(watched) = messages.next().await? {
        match watched {
            Watched::Message { message } if page.json => page.value(&message)?,
            Watched::Message { message } => {
                let line = line(&message, &said(gist(&message)), page);
                page.line(&line)?;
            }
            lagged @ Watched::Lagged { .. } if page.json => page.value(&lagged)?,
            Watched::Lagged { skipped } => say(&format!("comity: {skipped} messages came too fast to be shown")),
        }
    }
    Err(Failure::Other("the node stopped".to_owned()))
}

/// What stands behind a sender's name: how far it can be trusted.
pub(crate) fn mark(trust: Trust, page: &Page) -> String {
    match trust {
        Trust::Unverified => page.paint("?", Look::Warning),
        Trust::Verified => String::new(),
        Trust::Known => page.paint("*", Look::Good),
    }
}

/// What a message says: of one of a type on a topic only its `data`, since the rest stands beside it.
fn gist(message: &Message) -> &Value {
    let payload = &message.payload;
    payload.get("data").filter(|_| topic_type(message).is_some()).unwrap_or(payload)
}

/// The type of a message on a topic, which has a `/` in its name, if it has one.
fn topic_type(message: &Message) -> Option<&str> {
    let is_envelope = ["from", "timestamp", "data"].iter().all(|field| message.payload.get(*field).is_some());
    let kind = message.payload.get("type").and_then(Value::as_str);
    kind.filter(|_| is_envelope && message.channel.contains('/'))
}

/// A message in one line: when, who with which trust, where, and its payload as this text.
pub(crate) fn line(message: &Message, payload: &str, page: &Page) -> String {
    let time = message.received_at.to_string();
    let time = time.get(11..19).unwrap_or_default();
    let from = message.from_name.clone().unwrap_or_else(|| message.from.to_string());
    let trust = mark(message.trust.0, page);
    let urgency = match message.priority.0 {
        Priority::Critical => Look::Bad,
        Priority::Normal => Look::Plain,
        Priority::Background => Look::Faint,
    };
    let (from, channel) = (clean(&from), clean(&message.channel));
    let kind = topic_type(message).map_or_else(|| message.kind.0.name().to_owned(), clean);
    let what = format!("{channel} {kind}");
    let text = page.paint(payload, urgency);
    format!("{}  {}{trust}  {what}  {text}", page.paint(time, Look::Faint), page.paint(&from, Look::Strong))
}
