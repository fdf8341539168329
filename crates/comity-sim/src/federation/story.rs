//! What happens in a seed, and when: who says something, what fails, and what people do about it.

use super::{Happening, MEMBERS, ODD};
use crate::random::Random;
use comity_core::federation::roster::History;
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
    /// The hub comes back from one backup twice, each time without those who know how it went on before.
    Twice,
    /// The hub comes back from a backup that knows nothing of a member which joined later.
    Newcomer,
    /// A member leaves by itself, and is invited again.
    Leaving,
    /// A member comes back from an old backup.
    Aged,
    /// A member says what it says without signatures, and the hub attests it.
    Attested,
    /// The hub shows one member another history.
    Equivocation,
}

impl Kind {
    /// The kind of a seed.
    pub fn of(seed: u64) -> Self {
        match seed % 20 {
            1 | 5 => Self::Forced,
            3 => Self::Removal,
            4 | 14 => Self::Leaving,
            6 | 16 => Self::Aged,
            7 | 17 => Self::Return,
            8 | 18 => Self::Attested,
            9 | 19 => Self::Equivocation,
            11 | 15 => Self::Newcomer,
            13 => Self::Twice,
            _ => Self::Plain,
        }
    }
}

/// Whether everything is signed and checked: that takes most of the time, and proves the same each time.
pub(super) fn is_signed(seed: u64) -> bool {
    seed.is_multiple_of(101)
}

/// What members see of the time before they joined.
pub(super) fn history_of(seed: u64) -> History {
    if seed / 20 % 3 == 2 { History::All } else { History::FromJoining }
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
        Kind::Plain | Kind::Removal | Kind::Leaving | Kind::Attested => {
            story.push((copied, Happening::BackUp { site: 0 }));
            story.push((lost, Happening::Restore { site: 0 }));
        }
        Kind::Aged => {
            story.push((copied, Happening::BackUp { site: ODD }));
            story.push((lost, Happening::Restore { site: ODD }));
        }
        Kind::Forced => {
            let (alone, back) = (lost + moment(300, 5000), Duration::from_secs(30) + moment(0, 25_000));
            story.push((copied, Happening::BackUp { site: 0 }));
            for site in (1..=MEMBERS).filter(|site| *site != ODD) {
                story.push((lost, Happening::Cut { site, is_cut: true }));
                story.push((alone, Happening::Cut { site, is_cut: false }));
            }
            story.push((alone, Happening::Cut { site: ODD, is_cut: true }));
            story.push((alone, Happening::Restore { site: 0 }));
            story.push((alone + moment(2000, 12_000), Happening::Force));
            story.push((back.max(alone + Duration::from_secs(10)), Happening::Cut { site: ODD, is_cut: false }));
        }
        Kind::Twice => twice(&mut story, &mut moment),
        Kind::Newcomer => newcomer(&mut story, &mut moment),
        Kind::Return | Kind::Equivocation => {}
    }
    if matches!(kind, Kind::Removal | Kind::Return) {
        story.push((moment(10_000, 40_000), Happening::Remove));
    }
    if kind == Kind::Leaving {
        story.push((moment(10_000, 40_000), Happening::Leave));
    }
    if kind == Kind::Return || kind == Kind::Leaving && moment(0, 2) < Duration::from_millis(1) {
        story.push((moment(30_000, 50_000), Happening::Invite));
    }
    story
}

/// A member is away when the hub comes back for the first time, and the two others when it does for the second.
fn twice(story: &mut Vec<(Duration, Happening)>, moment: &mut impl FnMut(u64, u64) -> Duration) {
    let copied = moment(3000, 12_000);
    let first = copied + moment(3000, 8000);
    let second = first + moment(10_000, 15_000);
    let healed = second + moment(10_000, 15_000);
    story.push((copied, Happening::BackUp { site: 0 }));
    let others = (1..=MEMBERS).filter(|site| *site != ODD);
    story.push((first, Happening::Cut { site: ODD, is_cut: true }));
    story.push((second, Happening::Cut { site: ODD, is_cut: false }));
    for site in others {
        story.push((first, Happening::Cut { site, is_cut: false }));
        story.push((second, Happening::Cut { site, is_cut: true }));
        story.push((healed, Happening::Cut { site, is_cut: false }));
    }
    for at in [first, second] {
        story.push((at, Happening::Restore { site: 0 }));
        story.push((at + moment(5500, 7000), Happening::Force));
    }
}

/// A member joins after the copy was made. The others may be away meanwhile, or that one when the hub comes back.
fn newcomer(story: &mut Vec<(Duration, Happening)>, moment: &mut impl FnMut(u64, u64) -> Duration) {
    let copied = moment(3000, 15_000);
    let invited = copied + moment(0, 3000);
    let lost = invited + moment(2000, 15_000);
    let healed = lost + moment(500, 8000);
    story.push((copied, Happening::BackUp { site: 0 }));
    story.push((invited, Happening::Invite));
    story.push((lost, Happening::Restore { site: 0 }));
    // Whose joining nobody saw must be invited again.
    story.push((healed + moment(3000, 10_000), Happening::Invite));
    let alone = moment(0, 2) < Duration::from_millis(1);
    for site in (1..=MEMBERS).filter(|site| alone && *site != ODD) {
        story.push((copied, Happening::Cut { site, is_cut: true }));
        story.push((healed, Happening::Cut { site, is_cut: false }));
    }
    if moment(0, 2) < Duration::from_millis(1) {
        story.push((lost, Happening::Cut { site: ODD, is_cut: true }));
        story.push((healed + moment(1000, 15_000), Happening::Cut { site: ODD, is_cut: false }));
    }
}
