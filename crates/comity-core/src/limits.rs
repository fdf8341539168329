//! Every bound that the protocols fix and that no configuration changes.
//! What can be configured lives in the `Config` of the part that obeys it.

/// Largest message payload in JSON, bytes.
pub const PAYLOAD_JSON_MAX: usize = 256 * 1024;

/// Largest payload of a compact message, bytes: its length field has 16 bits.
pub const PAYLOAD_COMPACT_MAX: usize = 65_535;

/// Largest binary frame on a link, bytes; also the most that a compressed payload may become.
pub const FRAME_MAX: usize = 256 * 1024;

/// Deepest nesting of JSON or MessagePack.
pub const JSON_DEPTH_MAX: usize = 32;

/// Longest channel name, bytes.
pub const CHANNEL_NAME_MAX: usize = 128;

/// Deepest nesting of a payload: the message around it is one level of the document.
pub const PAYLOAD_DEPTH_MAX: usize = JSON_DEPTH_MAX - 1;

/// Most keys on the list of known nodes.
pub const KNOWN_MAX: usize = 4096;

/// Most subscriptions a peer may hold.
pub const SUBSCRIPTIONS_MAX: usize = 256;

/// Longest name, version or capability of a peer that is kept, bytes; more is cut.
pub const PEER_TEXT_MAX: usize = 128;

/// Most capabilities, endpoints or metadata entries kept of one peer.
pub const PEER_LIST_MAX: usize = 32;

/// Most peers in the peer book; the unverified that were silent longest go first.
pub const PEERS_MAX: usize = 4096;
