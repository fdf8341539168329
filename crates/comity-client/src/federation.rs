//! Channels that the node shares with other origins, and what it knows of those.

use crate::{ANSWER_WITHIN, Client, Error, Lines, control, done, exchange, query};
use comity_core::wire::control::path;
use serde_json::Value;
use std::io::Write;

impl Client {
    /// The channels that the node takes part in.
    pub async fn channels(&self) -> Result<Vec<control::FederatedChannel>, Error> {
        self.get::<control::FederatedChannels>(path::CHANNELS).await.map(|all| all.channels)
    }

    /// Makes a channel of which the node is the hub.
    pub async fn create_channel(&self, wanted: &control::NewChannel) -> Result<control::FederatedChannel, Error> {
        self.post(path::CHANNELS, wanted).await
    }

    /// Does something about a channel.
    pub async fn channel_step(&self, step: &control::ChannelStep) -> Result<(), Error> {
        self.post(path::CHANNEL_STEPS, step).await.map(done)
    }

    /// Says something on a channel.
    pub async fn say_on(&self, said: &control::SayOn) -> Result<control::SaidOn, Error> {
        self.post(path::CHANNEL_EVENTS, said).await
    }

    /// Events of a channel, in order, each as on the wire: those after one (at most `limit`), or the last so many; and,
    /// when `follow` is set, every one that comes from now on.
    pub async fn channel_events(
        &self,
        channel: &str,
        (after, last, limit): (Option<u64>, Option<u64>, Option<u64>),
        follow: bool,
    ) -> Result<Lines<Value>, Error> {
        let number = |number: Option<u64>| number.map(|number| number.to_string());
        let pairs = [
            ("channel", Some(channel.to_owned())),
            ("after", number(after)),
            ("last", number(last)),
            ("limit", number(limit)),
            ("follow", follow.then(|| "true".to_owned())),
        ];
        self.stream(&query::path(path::CHANNEL_EVENTS, &pairs)).await
    }

    /// Writes all of a channel as JSON Lines; how many bytes. What was written when this fails is not all of it.
    pub async fn export_channel(&self, channel: &str, out: &mut impl Write) -> Result<u64, Error> {
        let path = query::path(path::CHANNEL_EXPORT, &[("channel", Some(channel.to_owned()))]);
        exchange::save(self, &path, ANSWER_WITHIN, out).await
    }

    /// Who is a member of a channel.
    pub async fn channel_members(&self, channel: &str) -> Result<control::ChannelMembers, Error> {
        self.get(&query::path(path::CHANNEL_MEMBERS, &[("channel", Some(channel.to_owned()))])).await
    }

    /// What proves that the hub of a channel showed two histories, each of which anybody can check.
    pub async fn channel_proofs(&self, channel: &str) -> Result<Vec<Value>, Error> {
        let path = query::path(path::CHANNEL_PROOFS, &[("channel", Some(channel.to_owned()))]);
        self.get::<control::ChannelProofs>(&path).await.map(|all| all.proofs)
    }

    /// Invitations that nobody has answered.
    pub async fn invitations(&self) -> Result<Vec<control::Invitation>, Error> {
        self.get::<control::Invitations>(path::INVITATIONS).await.map(|all| all.invitations)
    }

    /// The origin that the node speaks for, and those that it knows.
    pub async fn federation(&self) -> Result<control::FederationState, Error> {
        self.get(path::FEDERATION).await
    }

    /// Pins the key that an origin shows now.
    pub async fn trust_origin(&self, origin: &str) -> Result<control::OtherOrigin, Error> {
        self.put(path::ORIGINS, &control::TrustedOrigin { origin: origin.to_owned() }).await
    }
}
