//! How a digest grows, merges and reads.

use super::{Digest, Sample};
use crate::channel::Channel;
use crate::envelope::{Kind, Received};
use crate::time::Timestamp;
use std::fmt;

/// Most samples in a digest.
pub const SAMPLES_MAX: usize = 10;

/// Most channels in a digest.
const CHANNELS_MAX: usize = 256;

/// Longest sample text, characters.
const SAMPLE_TEXT_MAX: usize = 200;

impl Digest {
    /// An empty digest that begins now.
    pub fn begin(since: Timestamp) -> Self {
        Self { since, ..Self::default() }
    }

    /// How many messages it counts.
    pub fn total(&self) -> u64 {
        self.by_kind.values().sum()
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.total() == 0 && self.evicted == 0
    }

    /// Counts a message. Samples stay spread over the period: the n-th message is kept while n is
    /// a multiple of a stride that doubles whenever the samples are full.
    pub fn count(&mut self, received: &Received, at: Timestamp) {
        let message = &received.message;
        let position = self.total();
        *self.by_kind.entry(message.kind).or_default() += 1;
        self.count_channel(&message.channel, 1);
        if !position.is_multiple_of(self.stride) {
            return;
        }
        if self.samples.len() == SAMPLES_MAX {
            self.thin_out();
            self.stride *= 2;
            if !position.is_multiple_of(self.stride) {
                return;
            }
        }
        let text = message.payload.to_value().to_string();
        let text = text.chars().take(SAMPLE_TEXT_MAX).collect();
        let (from, kind, channel) = (message.from, message.kind, message.channel.clone());
        self.samples.push(Sample { at, from, trust: received.trust, kind, channel, text });
    }

    /// Adds a later digest to this one.
    pub fn merge(&mut self, later: Self) {
        for (kind, count) in later.by_kind {
            *self.by_kind.entry(kind).or_default() += count;
        }
        for (channel, count) in later.by_channel {
            self.count_channel(&channel, count);
        }
        self.evicted += later.evicted;
        self.until = later.until;
        self.stride = self.stride.max(later.stride);
        self.samples.extend(later.samples);
        while self.samples.len() > SAMPLES_MAX {
            self.thin_out();
        }
    }

    /// Senders choose the names: those beyond [`CHANNELS_MAX`] are counted by type only.
    fn count_channel(&mut self, channel: &Channel, count: u64) {
        if self.by_channel.len() < CHANNELS_MAX || self.by_channel.contains_key(channel) {
            *self.by_channel.entry(channel.clone()).or_default() += count;
        }
    }

    fn thin_out(&mut self) {
        let mut position = 0;
        self.samples.retain(|_| {
            position += 1;
            position % 2 == 1
        });
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |kind| self.by_kind.get(&kind).copied().unwrap_or(0);
        let named = [
            (of(Kind::Status), "status update", "status updates"),
            (of(Kind::Suggestion), "suggestion", "suggestions"),
            (of(Kind::Bug), "bug", "bugs"),
            (of(Kind::Error), "error", "errors"),
        ];
        let others = self.total() - named.iter().map(|(count, ..)| count).sum::<u64>();
        out.write_str("Since last check: ")?;
        for (count, one, many) in named.into_iter().chain([(others, "other", "others")]) {
            if one != "status update" {
                out.write_str(", ")?;
            }
            write!(out, "{count} {}", if count == 1 { one } else { many })?;
        }
        write!(out, " ({} total)", self.total())?;
        if self.evicted > 0 {
            write!(out, "; {} pushed out of the full inbox", self.evicted)?;
        }
        Ok(())
    }
}
