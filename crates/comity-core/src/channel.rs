//! Channels of the local network: their names, what each is for, and the 32-bit hash under which
//! compact messages name them. See "Channels" in `protocols/local-network.md`.

use crate::envelope::{Kind, Priority};
use crate::limits;
use std::fmt;
use std::sync::Arc;

/// A channel's name: 1 to 128 bytes of visible text without spaces. Cloning shares the text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(Arc<str>);

/// A text that cannot name a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a channel name has 1 to {} bytes and no spaces or control characters", limits::CHANNEL_NAME_MAX)]
pub struct BadChannel;

/// A channel that every node knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WellKnown {
    /// The name.
    pub name: &'static str,
    /// The priority of a message that does not say.
    pub priority: Priority,
    /// Whether a node listens to it from the start.
    pub subscribed: bool,
}

/// The channels of the protocol's table.
pub const WELL_KNOWN: [WellKnown; 8] = [
    WellKnown { name: "_presence", priority: Priority::Normal, subscribed: true },
    WellKnown { name: "_status", priority: Priority::Background, subscribed: true },
    WellKnown { name: "_suggestions", priority: Priority::Normal, subscribed: true },
    WellKnown { name: "_bugs", priority: Priority::Normal, subscribed: true },
    WellKnown { name: "_errors", priority: Priority::Critical, subscribed: true },
    WellKnown { name: "_llm_usage", priority: Priority::Background, subscribed: true },
    WellKnown { name: "_resources", priority: Priority::Normal, subscribed: false },
    WellKnown { name: "_debug", priority: Priority::Background, subscribed: false },
];

impl Channel {
    /// A channel of this name, if it can be one.
    pub fn new(name: &str) -> Result<Self, BadChannel> {
        let fits = (1..=limits::CHANNEL_NAME_MAX).contains(&name.len());
        let clean = !name.chars().any(|c| c.is_control() || c.is_whitespace());
        if fits && clean { Ok(Self(name.into())) } else { Err(BadChannel) }
    }

    /// The channel of a message that names none.
    pub fn of_kind(kind: Kind) -> Self {
        let name = match kind {
            Kind::Status => "_status",
            Kind::Suggestion => "_suggestions",
            Kind::Bug => "_bugs",
            Kind::Error => "_errors",
            Kind::Heartbeat => "_presence",
            Kind::Query | Kind::Response | Kind::Extended => "_direct",
        };
        Self(name.into())
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// The priority of a message on this channel that does not say.
    pub fn priority(&self) -> Priority {
        WELL_KNOWN.iter().find(|known| known.name == &*self.0).map_or(Priority::Normal, |known| known.priority)
    }

    /// The type of a message on this channel that does not say.
    pub fn kind(&self) -> Kind {
        match &*self.0 {
            "_status" => Kind::Status,
            "_suggestions" => Kind::Suggestion,
            "_bugs" => Kind::Bug,
            "_errors" => Kind::Error,
            _ => Kind::Extended,
        }
    }

    /// FNV-1a, 32 bits, of the name: how a compact header names the channel.
    pub fn hash(&self) -> u32 {
        self.0.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv_1a() {
        assert_eq!(Channel::new("foobar").expect("a good name").hash(), 0xbf9c_f968);
        assert_eq!(Channel::new("a").expect("a good name").hash(), 0xe40c_292c);
    }

    #[test]
    fn names_with_spaces_or_controls_are_refused() {
        for bad in ["", "a b", "a\u{0}", &"x".repeat(129)] {
            assert_eq!(Channel::new(bad), Err(BadChannel));
        }
    }
}
