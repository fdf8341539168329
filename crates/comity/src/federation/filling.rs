//! How many events go into one document, a transaction or a page: as many as the other side reads at once. It decides
//! nothing about the events.

use comity_core::wire::strict;

/// Bytes of events in one document, about: with the rest it stays below the largest one.
const BYTES_MAX: usize = 900 * 1024;

/// Values of events in one document: what stands around them has some too.
const VALUES_MAX: usize = strict::VALUES_MAX - 64;

/// What is in a document.
#[derive(Debug, Default)]
pub(super) struct Filling {
    bytes: usize,
    values: usize,
}

impl Filling {
    /// Whether one more event goes in. The first one always does: alone, every event can be read.
    pub(super) fn takes(&mut self, event: &str) -> bool {
        let is_first = self.bytes == 0;
        self.bytes += event.len();
        self.values += strict::count_in(event.as_bytes());
        is_first || (self.bytes <= BYTES_MAX && self.values <= VALUES_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitting(event: &str) -> usize {
        let mut filling = Filling::default();
        (0..200).take_while(|_| filling.takes(event)).count()
    }

    #[test]
    fn a_document_takes_so_many_events_as_can_be_read_at_once() {
        let dense = format!("{{\"data\":[0{}]}}", ",0".repeat(32_000));
        let count = fitting(&dense);
        assert_eq!(count, 4);
        let document = |count: usize| format!("{{\"events\":[{}]}}", vec![dense.as_str(); count].join(","));
        assert!(strict::parse(document(count).as_bytes()).is_ok());
        assert!(strict::parse(document(count + 1).as_bytes()).is_err());
        assert_eq!(fitting(&format!("\"{}\"", "x".repeat(100 * 1024))), 8);
        assert_eq!(fitting(&format!("\"{}\"", "x".repeat(2 * BYTES_MAX))), 1);
    }
}
