//! What is told apart where it is counted: closed lists, which become labels.

/// Which way something went over a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// To this node.
    In,
    /// From this node.
    Out,
}

/// How a dial ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialEnd {
    /// With a link.
    Linked,
    /// With a peer that has no links.
    Plain,
    /// With nobody.
    Failed,
}

/// A door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Door {
    /// What peers reach.
    Network,
    /// What the owner reaches.
    Control,
    /// Metrics and health.
    Metrics,
}

impl Door {
    /// The name in metrics.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Control => "control",
            Self::Metrics => "metrics",
        }
    }
}
