//! The flags of `comity attention`, `subscribe` and `unsubscribe`.

use super::named;
use clap::Args;
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
