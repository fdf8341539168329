//! Which descriptions of the other side were taken, by the names in them (`ice-ufrag`, RFC 8839, 5.4), and what came
//! before its own. Signals are carried one by one, by ways that overtake each other. Nothing here reads an address.

use comity_core::wire::signal;
use std::collections::VecDeque;

/// Names that are kept: somebody who offers new paths more often gets late signals nowhere.
const NAMES_MAX: usize = 8;

/// Lists of addresses that wait for their description, at most; each is no longer than a signal.
const EARLY_MAX: usize = 4;

/// The descriptions of one connection.
#[derive(Debug, Default)]
pub(super) struct Descriptions {
    /// The names of those that were taken, the last one's at the end.
    taken: VecDeque<String>,
    /// Lists of addresses whose description was not taken yet.
    early: VecDeque<String>,
}

impl Descriptions {
    /// Whether this one was taken, by the name in it.
    pub(super) fn has(&self, sdp: &str) -> bool {
        name(sdp).is_some_and(|name| self.taken.iter().any(|taken| taken == name))
    }

    /// This one is taken now: the lists of its addresses that came before it.
    pub(super) fn take(&mut self, sdp: &str) -> Vec<String> {
        let Some(current) = name(sdp) else { return Vec::new() };
        self.taken.retain(|taken| taken != current);
        self.taken.push_back(current.to_owned());
        if self.taken.len() > NAMES_MAX {
            self.taken.pop_front();
        }
        let (own, others) = std::mem::take(&mut self.early).into_iter().partition(|early| name(early) == Some(current));
        self.early = others;
        Vec::from(own)
    }

    /// Whether these addresses belong to what was taken last. If they belong to what may still come, they are kept.
    pub(super) fn is_of_last(&mut self, fragment: &str) -> bool {
        // Who does not say what they belong to means what there is.
        let Some(name) = name(fragment) else { return true };
        let last = self.taken.back().is_some_and(|taken| taken == name);
        if !last && !self.taken.iter().any(|taken| taken == name) {
            if self.early.len() >= EARLY_MAX {
                self.early.pop_front();
            }
            self.early.push_back(fragment.to_owned());
        }
        last
    }
}

fn name(sdp: &str) -> Option<&str> {
    signal::attribute(sdp, "ice-ufrag")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> String {
        signal::fragment(name, "password", &[format!("candidate:{name}")])
    }

    #[test]
    fn addresses_that_overtake_their_description_wait_for_it_and_late_ones_are_dropped() {
        let mut descriptions = Descriptions::default();
        assert!(!descriptions.is_of_last(&named("one")));
        assert_eq!(descriptions.take(&named("one")), [named("one")]);
        assert!(descriptions.is_of_last(&named("one")));
        assert!(!descriptions.is_of_last(&named("two")));
        assert_eq!(descriptions.take(&named("two")), [named("two")]);
        assert!(!descriptions.is_of_last(&named("one")));
        assert!(
            descriptions.has(&named("one")) && descriptions.has(&named("two")) && !descriptions.has(&named("three"))
        );
        assert!(descriptions.take(&named("three")).is_empty());
        assert!(descriptions.is_of_last("a=candidate:1"));
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut descriptions = Descriptions::default();
        for number in 0..100 {
            assert!(!descriptions.is_of_last(&named(&number.to_string())));
        }
        assert_eq!(descriptions.early.len(), EARLY_MAX);
        assert_eq!(descriptions.take(&named("99")), [named("99")]);
        for number in 0..100 {
            descriptions.take(&named(&number.to_string()));
        }
        assert_eq!(descriptions.taken.len(), NAMES_MAX);
    }
}
