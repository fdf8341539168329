//! Receipts: what became of the messages that came over a link, told to who sent them.

use super::{Effect, Node, Timer};
use crate::id::{LinkId, MessageId};
use crate::ledger::FateKind;
use crate::time::Now;
use crate::wire::frame::{Frame, Receipt};
use std::time::Duration;

/// How long receipts are gathered.
const RECEIPTS_EVERY: Duration = Duration::from_millis(25);

/// How many messages may wait for their receipt before one is sent at once.
const RECEIPTS_MAX: u64 = 1024;

/// Most fates that wait for an earlier message's fate; a peer that makes more is cut off.
const FATES_HELD_MAX: usize = 65_536;

/// Fates in one receipt that is written here, at most: a receiver can start on them.
const FATES_AT_ONCE: usize = 512;

impl Node {
    /// Notes what became of a message that came over a link, to be told with the next receipt.
    pub(super) fn report(&mut self, id: LinkId, number: u64, message: Option<MessageId>, fate: FateKind, now: Now) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(message) = message else { return };
        link.undecided.remove(&number);
        if fate != FateKind::Delivered {
            link.fates.push((number, message, fate));
        }
        if link.fates.len() > FATES_HELD_MAX {
            self.close_link(id, now);
        } else {
            self.schedule_receipts(id, now);
        }
    }

    /// Remembers that the fate of a message waits for the disk.
    pub(super) fn hold_report(&mut self, id: LinkId, number: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            link.undecided.insert(number);
        }
    }

    pub(super) fn schedule_receipts(&mut self, id: LinkId, now: Now) {
        let Some(link) = self.links.get(&id) else { return };
        let ready = link.fates.first().is_some_and(|(number, ..)| *number <= link.decided());
        let untold = link.decided().saturating_sub(link.reported);
        if untold >= RECEIPTS_MAX || (ready && link.fates.len() >= FATES_AT_ONCE) {
            self.send_receipts(id);
        } else if link.decided() > link.reported || !link.fates.is_empty() {
            self.timers.set_if_idle(Timer::Receipts(id), now.mono + RECEIPTS_EVERY);
        }
    }

    pub(super) fn send_receipts(&mut self, id: LinkId) {
        self.timers.cancel(Timer::Receipts(id));
        let Some(link) = self.links.get_mut(&id) else { return };
        let decided = link.decided();
        let (ready, held) = std::mem::take(&mut link.fates).into_iter().partition(|(number, ..)| *number <= decided);
        link.fates = held;
        let mut ready: Vec<(u64, MessageId, FateKind)> = ready;
        if ready.is_empty() && decided == link.reported {
            return;
        }
        ready.sort_by_key(|(number, ..)| *number);
        let mut ready = ready.into_iter().peekable();
        loop {
            let chunk: Vec<_> = ready.by_ref().take(FATES_AT_ONCE).collect();
            // Each says how far its own fates reach: those without one below were delivered.
            let reached = chunk.last().map_or(0, |(number, ..)| *number);
            link.reported = if ready.peek().is_some() { link.reported.max(reached) } else { decided };
            let fates = chunk.into_iter().map(|(_, message, fate)| (message, fate)).collect();
            let receipt = Receipt { received: link.reported, fates };
            self.effects.push(Effect::Control { link: id, frame: Frame::Receipt(receipt) });
            if ready.peek().is_none() {
                return;
            }
        }
    }
}
