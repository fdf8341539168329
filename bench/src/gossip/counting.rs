//! What GossipSub tells nobody but its log: how many messages came that were there already, and how often a queue was
//! full. It reads the log of libp2p-gossipsub 0.50 and nothing else; a release with other words would be noticed, as
//! there are always duplicates.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

/// Who says it.
const SPEAKER: &str = "libp2p_gossipsub::behaviour";

const DUPLICATE: &str = "Message already received, ignoring";

const FULL: &str = "Send Queue full. Could not send Rpc.";

static DUPLICATES: AtomicU64 = AtomicU64::new(0);
static QUEUES_FULL: AtomicU64 = AtomicU64::new(0);

/// What was counted.
pub(super) struct Counted {
    pub(super) duplicates: u64,
    pub(super) full: u64,
}

impl Counted {
    pub(super) fn since(&self, before: &Self) -> Self {
        Self { duplicates: self.duplicates - before.duplicates, full: self.full - before.full }
    }
}

/// Counts from now on.
pub(super) fn begin() -> Result<(), String> {
    tracing::subscriber::set_global_default(Counting).map_err(|error| error.to_string())
}

/// What was counted in this process.
pub(super) fn so_far() -> Counted {
    Counted { duplicates: DUPLICATES.load(Ordering::Relaxed), full: QUEUES_FULL.load(Ordering::Relaxed) }
}

struct Counting;

impl Subscriber for Counting {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        let said = metadata.is_event() && metadata.target() == SPEAKER && *metadata.level() <= Level::DEBUG;
        if said { Interest::always() } else { Interest::never() }
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Words);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Words;

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            return;
        }
        let said = format!("{value:?}");
        if said == DUPLICATE {
            DUPLICATES.fetch_add(1, Ordering::Relaxed);
        } else if said == FULL {
            QUEUES_FULL.fetch_add(1, Ordering::Relaxed);
        }
    }
}
