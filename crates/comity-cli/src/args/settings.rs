//! The flags of `comity attention`, `subscribe` and `unsubscribe`.

use super::named;
use clap::{Args, Subcommand};
use comity_core::inbox::Mode;

/// Arguments of `comity attention`.
#[derive(Debug, Args)]
pub(crate) struct Attention {
    /// realtime: everything at once; focused: normal messages wait in the inbox, background ones are counted;
    /// minimal: only critical ones come through
    #[arg(value_parser = named::<Mode>)]
    pub(crate) mode: Option<Mode>,
}

/// Arguments of `comity subscribe`.
#[derive(Debug, Args)]
pub(crate) struct Subscribe {
    /// The channel, as in `custom:builds`
    pub(crate) channel: String,
    /// Without its background messages
    #[arg(long)]
    pub(crate) quiet: bool,
}

/// Arguments of `comity unsubscribe`.
#[derive(Debug, Args)]
pub(crate) struct Unsubscribe {
    /// The channel; messages to this node alone come nevertheless, whatever channel they name
    pub(crate) channel: String,
}

/// What to do with the node's key.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Give the node a new key, and let the old one go
    ///
    /// The node must not run. Where it speaks for an origin (`federation.origin`), the old key signs that the new one
    /// follows: other origins take it without asking anybody. Peers that know the node see a new one, and must trust it
    /// anew; its journal begins anew, and the old one is kept beside it under a name of its own.
    Rotate {
        /// Do it without asking
        #[arg(long, short)]
        yes: bool,
    },
}
