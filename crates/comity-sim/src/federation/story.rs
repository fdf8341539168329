//! What happens in a seed, and when: who says something, what fails, and what people do about it.

use super::{Happening, MEMBERS, ODD};
use crate::random::Random;
use std::time::Duration;

/// How long the story lasts; then everything heals, and all must come to rest.
pub(super) const STORY: Duration = Duration::from_secs(60);

/// How long that may take.
pub(super) const HEALING: Duration = Duration::from_secs(1800);

/// How long members talk to each other after the story: each with each, some times.
pub(super) const TALKING: Duration = Duration::from_secs(120);

/// Events and crashes without which a seed proves little.
pub(super) const EVENTS_MIN: u64 = 200;
pub(super) const KILLS_MIN: u64 = 5;

/// How often something is said, and somebody killed: more than the least, for some of it comes to nothing.
const SAYINGS: usize = 340;
const KILLS: usize = 8;

/// What a seed is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// All that fails by itself, and a hub that comes back from an old backup.
    Plain,
    /// A member is removed.
    Removal,
    /// A member is removed, and invited again.
    Return,
    /// The hub comes back from an old backup while the only member that has what it lost is away, and the line goes on
    /// without it.
    Forced,
    /// The hub shows one member another history.
    Equivocation,
}

impl Kind {
    /// The kind of a seed: every other one is plain.
    pub fn of(seed: u64) -> Self {
        match seed % 10 {
            1 | 5 => Self::Forced,
            3 => Self::Removal,
            7 => Self::Return,
            9 => Self::Equivocation,
            _ => Self::Plain,
        }
    }
}

/// Whether everything is signed and checked: that takes most of the time, and proves the same each time.
pub(super) fn is_signed(seed: u64) -> bool {
    seed.is_multiple_of(100)
}

/// What happens, and when.
pub(super) fn of(kind: Kind, random: &mut Random) -> Vec<(Duration, Happening)> {
    let mut moment = |from: u64, to: u64| Duration::from_millis(random.between(from, to));
    let mut story = Vec::new();
    for number in 0..SAYINGS {
        story.push((moment(1500, 58_000), Happening::Say { site: number % (MEMBERS + 1) }));
    }
    for _ in 0..KILLS {
        story.push((moment(1000, 60_000), Happening::Kill));
    }
    for site in 1..=MEMBERS {
        for _ in 0..2 {
            let at = moment(1000, 60_000);
            story.push((at, Happening::Cut { site, is_cut: true }));
            story.push((at + moment(0, 15_000), Happening::Cut { site, is_cut: false }));
        }
    }
    let copied = moment(3000, if kind == Kind::Forced { 20_000 } else { 60_000 });
    let lost = copied + moment(0, 20_000);
    match kind {
        Kind::Plain | Kind::Removal => {
            story.push((copied, Happening::BackUp));
            story.push((lost, Happening::Restore));
        }
        Kind::Forced => {
            let (alone, back) = (lost + moment(300, 5000), Duration::from_secs(30) + moment(0, 25_000));
            story.push((copied, Happening::BackUp));
            for site in (1..=MEMBERS).filter(|site| *site != ODD) {
                story.push((lost, Happening::Cut { site, is_cut: true }));
                story.push((alone, Happening::Cut { site, is_cut: false }));
            }
            story.push((alone, Happening::Cut { site: ODD, is_cut: true }));
            story.push((alone, Happening::Restore));
            story.push((alone + moment(2000, 12_000), Happening::Force));
            story.push((back.max(alone + Duration::from_secs(10)), Happening::Cut { site: ODD, is_cut: false }));
        }
        Kind::Return | Kind::Equivocation => {}
    }
    if matches!(kind, Kind::Removal | Kind::Return) {
        story.push((moment(10_000, 40_000), Happening::Remove));
    }
    if kind == Kind::Return {
        story.push((moment(30_000, 50_000), Happening::Invite));
    }
    story
}
