//! Values of closed lists and times, as the control door writes them. An unknown name is refused
//! where it is read.

use crate::envelope::{Kind, Priority, Via};
use crate::identity::trust::Trust;
use crate::inbox::Mode;
use crate::ledger::FateKind;
use crate::peers::{Presence, Source, Way};
use crate::time::Timestamp;
use crate::wire::gossip;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of a closed list, written by its name. An unknown name is an error that lists the
/// known ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named<T>(pub T);

/// A closed list of which every value has a name.
pub trait Name: Copy + 'static {
    /// What the list is of, for errors.
    const WHAT: &'static str;
    /// All values.
    const VALUES: &'static [Self];
    /// The name of this one.
    fn text(self) -> &'static str;

    /// The value of this name.
    fn of(text: &str) -> Option<Self> {
        Self::VALUES.iter().copied().find(|value| value.text() == text)
    }

    /// All names, separated by commas.
    fn choices() -> String {
        Self::VALUES.iter().map(|value| value.text()).collect::<Vec<_>>().join(", ")
    }
}

macro_rules! name {
    ($($list:ty, $what:literal, $values:expr;)*) => {$(
        impl Name for $list {
            const WHAT: &'static str = $what;
            const VALUES: &'static [Self] = &$values;
            fn text(self) -> &'static str {
                self.name()
            }
        }
    )*};
}

name! {
    Priority, "priority", Priority::ALL;
    Kind, "type", Kind::ALL;
    gossip::Kind, "type of gossip", gossip::Kind::ALL;
    gossip::Priority, "priority", gossip::Priority::ALL;
    Mode, "attention mode", Mode::ALL;
    FateKind, "fate", FateKind::ALL;
    Source, "source", Source::ALL;
    Way, "kind of link", [Way::Mesh, Way::Rtc, Way::RtcRelay];
    Trust, "trust level", [Trust::Unverified, Trust::Verified, Trust::Known];
    Via, "way", [Via::Link, Via::Post, Via::Events, Via::Rpc, Via::Gossip, Via::Federation, Via::Own];
    Presence, "presence", [Presence::Seen, Presence::Online, Presence::Stale, Presence::Unreachable, Presence::Offline];
}

impl<T: Name> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str(self.0.text())
    }
}

impl<'de, T: Name> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        let unknown = || D::Error::custom(format!("unknown {} `{text}`: one of {}", T::WHAT, T::choices()));
        T::of(&text).map(Self).ok_or_else(unknown)
    }
}

/// Times as RFC 3339.
pub(super) mod rfc3339 {
    use super::*;

    pub(in crate::wire::control) fn serialize<S: Serializer>(time: &Timestamp, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(time)
    }

    pub(in crate::wire::control) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(from)?;
        Timestamp::parse(&text).ok_or_else(|| D::Error::custom("a time as in RFC 3339 is wanted"))
    }
}
