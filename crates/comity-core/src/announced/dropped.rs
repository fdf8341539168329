//! Why what a broker handed on does not count, for whoever counts it.

use crate::wire::announce::BadAnnouncement;

/// Why a message did not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dropped {
    /// It is about this node.
    Itself,
    /// It is on no topic of the protocol.
    Topic,
    /// It is too large.
    TooLarge,
    /// It is not valid JSON.
    NotJson,
    /// A field is missing or wrong.
    Field,
    /// The signature is wrong.
    Signature,
    /// The id is not that of the topic, or of the key.
    OtherId,
    /// It has expired.
    Expired,
    /// It is not signed, and the peer signs.
    Unsigned,
    /// It is not signed, and this node admits only who proves a key.
    Unverified,
    /// Something later is known.
    Replayed,
    /// There is no room for another peer.
    Full,
    /// It is about nobody who was announced.
    UnknownPeer,
}

impl Dropped {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Itself,
        Self::Topic,
        Self::TooLarge,
        Self::NotJson,
        Self::Field,
        Self::Signature,
        Self::OtherId,
        Self::Expired,
        Self::Unsigned,
        Self::Unverified,
        Self::Replayed,
        Self::Full,
        Self::UnknownPeer,
    ];

    /// The name shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Itself => "itself",
            Self::Topic => "topic",
            Self::TooLarge => "too_large",
            Self::NotJson => "not_json",
            Self::Field => "field",
            Self::Signature => "signature",
            Self::OtherId => "other_id",
            Self::Expired => "expired",
            Self::Unsigned => "unsigned",
            Self::Unverified => "unverified",
            Self::Replayed => "replayed",
            Self::Full => "full",
            Self::UnknownPeer => "unknown_peer",
        }
    }
}

impl From<&BadAnnouncement> for Dropped {
    fn from(bad: &BadAnnouncement) -> Self {
        match bad {
            BadAnnouncement::TooLarge => Self::TooLarge,
            BadAnnouncement::Json(_) => Self::NotJson,
            BadAnnouncement::Field { .. } => Self::Field,
            BadAnnouncement::Signature(_) => Self::Signature,
        }
    }
}
