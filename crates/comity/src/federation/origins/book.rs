//! What is remembered of other origins: within bounds, and whoever is not wanted here first to be forgotten.

use super::{FAILURE_KEPT, Known, Unknown};
use comity_core::federation::Origin;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// Documents that are fetched a minute on behalf of one address, and in all.
const FETCHES_PER_ADDRESS: usize = 10;
const FETCHES_MAX: usize = 100;

/// The period of these.
const MINUTE: Duration = Duration::from_secs(60);

/// Origins that are remembered though nobody here wanted anything of them, and those that could not be asked.
const STRANGERS_MAX: usize = 1024;

/// Who is known, and who could not be asked.
#[derive(Default)]
pub(super) struct Book {
    pub(super) known: BTreeMap<Origin, Known>,
    pub(super) failed: BTreeMap<Origin, Instant>,
    /// When documents were asked for on behalf of others, and of whom.
    fetches: VecDeque<(Instant, IpAddr)>,
}

impl Book {
    pub(super) fn of(known: BTreeMap<Origin, Known>) -> Self {
        Self { known, ..Self::default() }
    }

    /// Counts a document that is fetched on behalf of this address, if it may be.
    pub(super) fn count(&mut self, address: IpAddr) -> Result<(), Unknown> {
        while self.fetches.pop_front_if(|(at, _)| at.elapsed() > MINUTE).is_some() {}
        let of_address = self.fetches.iter().filter(|(_, other)| *other == address).count();
        if self.fetches.len() >= FETCHES_MAX || of_address >= FETCHES_PER_ADDRESS {
            return Err(Unknown::TooMany);
        }
        self.fetches.push_back((Instant::now(), address));
        Ok(())
    }

    /// An origin could not be asked.
    pub(super) fn note_failure(&mut self, origin: &Origin) {
        if self.failed.len() >= STRANGERS_MAX {
            self.failed.retain(|_, at| at.elapsed() < FAILURE_KEPT);
        }
        if self.failed.len() < STRANGERS_MAX {
            self.failed.insert(origin.clone(), Instant::now());
        }
    }

    /// Forgets a stranger when there are too many: the one whose document runs out first.
    pub(super) fn make_room(&mut self) {
        let strangers = self.known.iter().filter(|(_, known)| !known.is_kept);
        if strangers.clone().count() >= STRANGERS_MAX {
            let oldest = strangers.min_by_key(|(_, known)| known.fresh_until).map(|(origin, _)| origin.clone());
            if let Some(oldest) = oldest {
                self.known.remove(&oldest);
            }
        }
    }
}
