//! The names of channels that both sides of a link have told each other.

use comity_core::channel::Channel;
use comity_core::wire::compact::ChannelTable;

/// The channel names of each direction.
pub(super) struct Tables {
    pub(super) incoming: ChannelTable,
    pub(super) outgoing: ChannelTable,
}

pub(super) fn table(names: &[Channel]) -> ChannelTable {
    let mut table = ChannelTable::default();
    name_channels(&mut table, names.iter().cloned());
    table
}

/// A name whose hash is taken, or for which there is no room, stays unnamed: its messages travel
/// as extended.
pub(super) fn name_channels(table: &mut ChannelTable, names: impl IntoIterator<Item = Channel>) {
    for name in names {
        let _ = table.insert(name);
    }
}
