//! Time as the rules see it: handed in with every input, never read from a clock.
//! RFC 3339 text with milliseconds on the wire; Unix milliseconds inside.

use chrono::{DateTime, SecondsFormat, Utc};
use std::fmt;
use std::time::Duration;

/// The moment of an input, on both clocks a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the node started. Never goes back: deadlines and rates are judged by it.
    pub mono: Duration,
    /// What the wall clock says: expiry and freshness of what peers wrote are judged by it.
    pub wall: Timestamp,
}

/// A wall-clock time in milliseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

/// The latest time that RFC 3339 can write: the end of the year 9999.
const MILLIS_MAX: u64 = 253_402_300_799_999;

impl Timestamp {
    /// A time from Unix milliseconds, at most the end of the year 9999.
    pub fn from_millis(millis: u64) -> Self {
        Self(millis.min(MILLIS_MAX))
    }

    /// Unix milliseconds.
    pub fn millis(self) -> u64 {
        self.0
    }

    /// Unix seconds, rounded down; the year 2106 and later read as the last second of `u32`.
    pub fn seconds(self) -> u32 {
        u32::try_from(self.0 / 1000).unwrap_or(u32::MAX)
    }

    /// The same time with the milliseconds cut off, as the compact header carries it.
    #[must_use]
    pub fn whole_seconds(self) -> Self {
        Self(self.0 - self.0 % 1000)
    }

    /// Reads any RFC 3339 time from 1970 on; `None` when the text is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_rfc3339(text).ok()?;
        u64::try_from(time.timestamp_millis()).ok().map(Self::from_millis)
    }

    /// How long after `earlier` this is; zero when it is before.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, length: Duration) -> Self {
        Self::from_millis(self.0.saturating_add(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, length: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        let time = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
        out.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc_with_milliseconds() {
        let time = Timestamp::from_millis(1_700_000_000_123);
        assert_eq!(time.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
    }

    #[test]
    fn any_rfc_3339_offset_is_read() {
        assert_eq!(Timestamp::parse("2023-11-14T23:13:20+01:00"), Some(Timestamp::from_millis(1_700_000_000_000)));
        assert_eq!(Timestamp::parse("1969-12-31T23:59:59Z"), None);
        assert_eq!(Timestamp::parse("yesterday"), None);
    }
}
