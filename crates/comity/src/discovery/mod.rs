//! Sources of discovery: each translates what it hears into sightings for the one peer book, and
//! says when it cannot work here. None of them decides whom to trust or dial.

pub(crate) mod exchange;
pub(crate) mod mdns;
pub(crate) mod mqtt;
pub(crate) mod registry;
