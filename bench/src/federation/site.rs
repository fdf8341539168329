//! One organisation: the built program, a process of its own with an origin of its own on loopback. It is driven as its
//! owner drives it, by its control door.

use super::said;
use crate::server::{Folder, comity, first_line, free_port};
use crate::waiting;
use comity_client::Client;
use comity_core::wire::control::{ChannelAct, ChannelStep, FederatedChannel, NewChannel, SayOn};
use serde_json::{Value, json};
use std::os::unix::fs::DirBuilderExt;
use std::process::Child;
use std::time::Duration;

/// What is set for the measurement, so that none of these limits is what is measured.
pub(super) const LIMITS: [(&str, &str); 9] = [
    ("federation.events_per_second", "1000000"),
    ("federation.invitations_per_hour", "1000000"),
    ("federation.requests_per_minute", "1000000"),
    ("federation.quota", "\"64GiB\""),
    ("limits.messages_per_second", "1000000"),
    ("limits.messages_burst", "1000000"),
    ("limits.requests_per_minute", "1000000"),
    ("limits.seen", "1000000"),
    ("federation.accept", "[\"*\"]"),
];

/// How long may be waited for anything.
const PATIENCE: Duration = Duration::from_secs(300);

/// A running node; killed when dropped.
pub(super) struct Site {
    child: Child,
    pub(super) origin: String,
    pub(super) client: Client,
    _folder: Folder,
}

impl Site {
    /// Starts a node; with these lines of configuration besides.
    pub(super) async fn start(name: &str, more: &str) -> Result<Self, String> {
        let folder = Folder::new();
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder.path()).map_err(said)?;
        let port = free_port()?;
        let origin = format!("localhost:{port}");
        let limits: String = LIMITS.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        // Keys with dots stand before the first table.
        let text = format!(
            "name = \"{name}\"\n{limits}http.port = {port}\nhttp.listen = [\"127.0.0.1\"]\nmdns.enabled = false\n\
             federation.origin = \"{origin}\"\nfederation.endpoint = \"http://{origin}\"\n\
             gossip.enabled = false\ncontrol.http = false\nmetrics.enabled = false\n{more}"
        );
        std::fs::write(folder.path().join("comity.toml"), text).map_err(said)?;
        let mut child = comity(folder.path())?.args(["--json", "up"]).spawn().map_err(said)?;
        let line = first_line(&mut child)?;
        if serde_json::from_str::<Value>(&line).is_err() {
            return Err(format!("comity up said {line:?}"));
        }
        Ok(Self { child, origin, client: Client::new(folder.path()), _folder: folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Makes a channel, whose name is returned.
    pub(super) async fn create(&self, name: &str) -> Result<String, String> {
        let wanted = NewChannel { name: name.to_owned(), about: None, all_history: true };
        self.client.create_channel(&wanted).await.map(|made| made.channel).map_err(said)
    }

    /// Invites the other, which accepts at once.
    pub(super) async fn invite(&self, channel: &str, other: &Self) -> Result<(), String> {
        let (channel, origin) = (channel.to_owned(), Some(other.origin.clone()));
        let step = ChannelStep { channel, step: ChannelAct::Invite, origin, about: None };
        self.client.channel_step(&step).await.map_err(said)
    }

    /// How a channel stands here.
    pub(super) async fn channel(&self, channel: &str) -> Result<Option<FederatedChannel>, String> {
        let channels = self.client.channels().await.map_err(said)?;
        Ok(channels.into_iter().find(|known| known.channel == channel))
    }

    /// Waits until this node is a member of a channel and has all of it up to this event.
    pub(super) async fn has(&self, channel: &str, last: u64) -> Result<(), String> {
        until(&format!("{channel} at {}", self.origin), async || {
            let known = self.channel(channel).await?;
            let is_there = known.is_some_and(|known| known.state == "joined" && known.caught_up && known.last >= last);
            Ok(is_there.then_some(()))
        })
        .await
    }

    /// The number of the last event that is here.
    pub(super) async fn last(&self, channel: &str) -> Result<u64, String> {
        Ok(self.channel(channel).await?.map_or(0, |known| known.last))
    }

    /// Says something of 100 bytes, with this number.
    pub(super) async fn say(&self, channel: &str, number: usize) -> Result<(), String> {
        let data = json!({ "number": number, "text": "x".repeat(70) });
        let wanted = SayOn { channel: channel.to_owned(), kind: None, data };
        self.client.say_on(&wanted).await.map(drop).map_err(said)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        // Both fail only when there is nothing left to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until there is something.
pub(super) async fn until<T>(what: &str, look: impl AsyncFn() -> Result<Option<T>, String>) -> Result<T, String> {
    waiting::until(what, PATIENCE, look).await
}
