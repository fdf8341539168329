//! A streamed answer to a call: server-sent events, of which the last signs all that came before. The protocol leaves the
//! names of the events and the form of the chain open; these are Comity's, and are written down in `docs/federation.md`.
//! See "Signed requests" in `protocols/federation.md`.

use super::authorization::ContentHash;
use sha2::{Digest, Sha256};

/// The content type of a streamed answer.
pub const CONTENT_TYPE: &str = "text/event-stream";

/// How far the call is: an object with `progress`, `total` and `message`.
pub const PROGRESS: &str = "progress";

/// What came of the call, as it would stand in an answer that is not streamed. There is one.
pub const RESULT: &str = "result";

/// The last event: what would be the header of an answer that is not streamed.
pub const SIGNATURE: &str = "signature";

/// The hash over the events so far: at first 32 zero bytes, then the SHA-256 of the hash so far and the data of the event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chain([u8; 32]);

impl Chain {
    /// One event more, by its data.
    pub fn add(&mut self, data: &[u8]) {
        self.0 = Sha256::new().chain_update(self.0).chain_update(data).finalize().into();
    }

    /// What the last event signs as the content.
    pub fn content(self) -> ContentHash {
        ContentHash(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_event_can_be_left_out_added_or_moved() {
        let chain = |events: &[&str]| {
            let mut chain = Chain::default();
            events.iter().for_each(|data| chain.add(data.as_bytes()));
            chain.content()
        };
        let whole = chain(&["a", "b", "c"]);
        for other in [&["a", "b"][..], &["a", "b", "c", ""], &["b", "a", "c"], &["a", "bc"]] {
            assert_ne!(chain(other), whole, "{other:?}");
        }
    }
}
