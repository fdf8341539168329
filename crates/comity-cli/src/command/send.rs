//! `comity send`: says something to a peer, on a channel or on a topic.

use crate::args::{OneOf, Send, one_of};
use crate::exit::Failure;
use crate::page::Page;
use crate::payload;
use comity_client::Client;
use comity_client::control::{self, Name, Named};
use comity_core::envelope::{Kind, Priority};
use comity_core::wire::gossip;
use serde_json::{Value, json};

pub(crate) async fn run(client: &Client, wanted: Send, page: &mut Page) -> Result<(), Failure> {
    if wanted.target.starts_with('!') {
        return say_on(client, wanted, page).await;
    }
    // As the node tells them apart: a name with a `/` in it is a topic, if it is no peer's.
    let is_peer = || async { Ok::<_, Failure>(client.peers().await?.iter().any(|peer| peer.name == wanted.target)) };
    if wanted.target.contains('/') && !is_peer().await? {
        return publish(client, wanted, page).await;
    }
    let for_topics = [
        (wanted.as_role, "--as-role"),
        (!wanted.to_roles.is_empty(), "--to-role"),
        (!wanted.expertise.is_empty(), "--expertise"),
        (wanted.project.is_some(), "--project"),
    ];
    if let Some((_, flag)) = for_topics.iter().find(|(given, _)| *given) {
        return Err(Failure::Usage(format!("{flag} is for topics, and {} is none", wanted.target)));
    }
    let send = control::Send {
        payload: payload::read(&wanted.payload)?,
        target: wanted.target,
        channel: wanted.channel,
        kind: first("--type", kind_of(wanted.kind.as_deref())?)?.map(Named),
        priority: first("--priority", wanted.priority)?.map(Named),
        ttl: wanted.ttl,
        sealed: wanted.sealed,
        reply_to: wanted.reply_to,
        thread: wanted.thread,
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

/// What a message is, as it was written.
fn kind_of(text: Option<&str>) -> Result<Option<OneOf<Kind, gossip::Kind>>, Failure> {
    let wrong = |why| Failure::Usage(format!("--type: {why}"));
    text.map(one_of).transpose().map_err(wrong)
}

async fn say_on(client: &Client, wanted: Send, page: &mut Page) -> Result<(), Failure> {
    let for_others = [
        (wanted.sealed, "--sealed"),
        (wanted.channel.is_some(), "--channel"),
        (wanted.priority.is_some(), "--priority"),
        (wanted.ttl.is_some(), "--ttl"),
        (wanted.reply_to.is_some(), "--reply-to"),
        (wanted.thread.is_some(), "--thread"),
        (wanted.as_role, "--as-role"),
        (!wanted.to_roles.is_empty(), "--to-role"),
        (!wanted.expertise.is_empty(), "--expertise"),
        (wanted.project.is_some(), "--project"),
    ];
    if let Some((_, flag)) = for_others.iter().find(|(given, _)| *given) {
        return Err(Failure::Usage(format!("{flag} is not for channels shared with other origins")));
    }
    let data = match payload::read(&wanted.payload)? {
        // As the page of a person shows it.
        Value::String(text) => json!({ "text": text }),
        other => other,
    };
    let said = control::SayOn { channel: wanted.target, kind: wanted.kind, data };
    super::channel::send(client, said, page).await
}

/// What both lists have is of the first.
fn first<T: Name, U: Name>(flag: &str, value: Option<OneOf<T, U>>) -> Result<Option<T>, Failure> {
    match value {
        None => Ok(None),
        Some(OneOf::First(value)) => Ok(Some(value)),
        Some(OneOf::Second(value)) => Err(Failure::Usage(format!(
            "{flag} {} is for topics: {} are for peers and channels",
            value.text(),
            T::choices()
        ))),
    }
}

async fn publish(client: &Client, wanted: Send, page: &mut Page) -> Result<(), Failure> {
    let for_others = [
        (wanted.sealed, "--sealed"),
        (wanted.channel.is_some(), "--channel"),
        (wanted.ttl.is_some(), "--ttl"),
        (wanted.reply_to.is_some(), "--reply-to"),
    ];
    if let Some((_, flag)) = for_others.iter().find(|(given, _)| *given) {
        return Err(Failure::Usage(format!("{flag} is for peers and channels, and {} is a topic", wanted.target)));
    }
    let kind = match kind_of(wanted.kind.as_deref())? {
        None => None,
        Some(OneOf::Second(kind)) => Some(Named(kind)),
        Some(OneOf::First(other)) => {
            let choices = gossip::Kind::choices();
            return Err(Failure::Usage(format!(
                "--type {} is for peers and channels: topics take {choices}",
                other.name()
            )));
        }
    };
    let priority = wanted.priority.map(|priority| match priority {
        OneOf::Second(priority) => priority,
        OneOf::First(Priority::Critical) => gossip::Priority::Urgent,
        OneOf::First(Priority::Normal) => gossip::Priority::Medium,
        OneOf::First(Priority::Background) => gossip::Priority::Low,
    });
    let said = control::Publish {
        payload: payload::read(&wanted.payload)?,
        topic: wanted.target,
        kind,
        priority: priority.map(Named),
        as_role: wanted.as_role,
        to_roles: wanted.to_roles,
        required_expertise: wanted.expertise,
        project: wanted.project,
        thread: wanted.thread,
    };
    client.publish(&said).await?;
    if page.json { page.value(&said) } else { page.line(&format!("published on {}", said.topic)) }
}
