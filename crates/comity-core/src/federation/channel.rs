//! The id of a federated channel: `!<name>:<origin>`. The origin in it is its hub. See "Channels" in
//! `protocols/federation.md`.

use super::{NotAnOrigin, Origin};
use std::fmt;
use std::str::FromStr;

/// Longest name of a channel, bytes.
pub const NAME_MAX: usize = 64;

/// A federated channel.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId {
    name: Box<str>,
    hub: Origin,
}

/// A text that names no federated channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAChannel {
    /// It has another form.
    #[error("!<name>:<origin> is wanted, such as !project:example.org")]
    Form,
    /// The name has letters that none has.
    #[error("the name of a channel is 1 to {NAME_MAX} letters (a to z), digits, dots, hyphens and underscores")]
    Name,
    /// What stands after it is no origin.
    #[error("the channel's origin: {0}")]
    Origin(#[from] NotAnOrigin),
}

impl ChannelId {
    /// The channel of this name at this hub.
    ///
    /// # Errors
    /// [`NotAChannel::Name`].
    pub fn new(name: &str, hub: Origin) -> Result<Self, NotAChannel> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let fits = (1..=NAME_MAX).contains(&name.len()) && name.bytes().all(is_letter);
        if fits { Ok(Self { name: name.into(), hub }) } else { Err(NotAChannel::Name) }
    }

    /// Its name at its hub.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The origin that orders it, and that is its admin.
    pub fn hub(&self) -> &Origin {
        &self.hub
    }
}

impl FromStr for ChannelId {
    type Err = NotAChannel;

    fn from_str(text: &str) -> Result<Self, NotAChannel> {
        let (name, hub) = text.strip_prefix('!').and_then(|text| text.split_once(':')).ok_or(NotAChannel::Form)?;
        Self::new(name, hub.parse()?)
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "!{}:{}", self.name, self.hub)
    }
}

impl fmt::Debug for ChannelId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_named_by_its_hub() {
        let id: ChannelId = "!project:alpha.test:8443".parse().expect("a channel");
        assert_eq!((id.name(), id.hub().as_str()), ("project", "alpha.test:8443"));
        assert_eq!(id.to_string(), "!project:alpha.test:8443");
        let refused = |text: &str| text.parse::<ChannelId>().expect_err("no channel");
        assert_eq!(refused("project:alpha.test"), NotAChannel::Form);
        assert_eq!(refused("!project"), NotAChannel::Form);
        assert_eq!(refused("!:alpha.test"), NotAChannel::Name);
        assert_eq!(refused("!a/b:alpha.test"), NotAChannel::Name);
        assert_eq!(refused(&format!("!{}:alpha.test", "a".repeat(65))), NotAChannel::Name);
        assert_eq!(refused("!a:Alpha.test"), NotAChannel::Origin(NotAnOrigin::Spelling));
    }
}
