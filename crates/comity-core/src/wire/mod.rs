//! What goes over the wire, in bytes: JSON messages in both spellings, compact messages,
//! link frames, cards, TXT records and gossip. Everything here is a pure function of its input; every
//! decoder takes hostile bytes and answers with a value or an error that names the field.

pub mod announce;
pub mod card;
pub mod compact;
pub mod control;
pub mod federation;
pub mod frame;
pub mod gossip;
pub mod journal;
pub mod json;
pub mod mesh;
pub mod pack;
pub mod signal;
pub mod stream;
pub mod strict;
pub mod transfer;
pub mod txt;
