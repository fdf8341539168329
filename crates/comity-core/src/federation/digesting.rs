//! The digest of a part of a line, made event by event: of a long one not all ids are held at once. What it is for is
//! said at [`Digest`].

use super::EventId;
use super::heads::Digest;
use sha2::{Digest as _, Sha256};

/// A digest that is being made.
#[derive(Debug, Clone, Default)]
pub struct Digesting(Sha256);

impl Digesting {
    /// The next event, in the order of the line.
    pub fn add(&mut self, id: &EventId) {
        self.0.update(id.as_bytes());
    }

    /// The digest of all of them.
    pub fn end(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_that_is_made_event_by_event_is_that_of_all() {
        let ids = [1, 2, 3].map(|byte| EventId::from_bytes([byte; 20]));
        let mut digesting = Digesting::default();
        ids.iter().for_each(|id| digesting.add(id));
        assert_eq!(digesting.end(), Digest::of(ids));
    }
}
