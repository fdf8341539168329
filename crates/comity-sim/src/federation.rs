//! Origins that share a channel: the real rules of a hub and of its members, over a network that cuts, delays, reorders
//! and duplicates, on disks that lose what was not synced, with sites killed at any moment and a hub that comes back from
//! an old backup.

mod books;
mod disk;
mod site;

use crate::judge::Violation;
use crate::random::Random;
use books::Books;
use site::{Answer, Request, Site};
use std::collections::BTreeMap;
use std::time::Duration;

/// Members besides the hub.
const MEMBERS: usize = 3;

/// How long the story lasts; then everything heals, and all must come to rest.
const STORY: Duration = Duration::from_secs(60);

/// How long that may take.
const HEALING: Duration = Duration::from_secs(1800);

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// A bug planted on purpose, which the judge must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plant {
    /// None.
    Nothing,
    /// The hub says that events are on disk before they are.
    EarlyAcknowledgement,
}

/// What a seed came to.
#[derive(Debug)]
pub struct Report {
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Events in the line at the end.
    pub events: u64,
    /// Steps of the world.
    pub steps: u64,
    /// Times that a site was killed.
    pub crashes: u64,
}

/// Something that will happen.
#[derive(Debug, Clone)]
enum Happening {
    /// A request arrives.
    Asked { to: usize, from: usize, call: u64, request: Request },
    /// An answer arrives, if it is still the same start of who asked.
    Answered { to: usize, start: u64, call: u64, answer: Answer },
    /// An answer has not come.
    TimedOut { to: usize, start: u64, call: u64 },
    /// A disk has written what was pending.
    Synced { site: usize, start: u64 },
    /// A deadline.
    Wake { site: usize, start: u64 },
    /// Somebody says something.
    Say { site: usize },
    /// A site is killed.
    Kill { site: usize },
    /// It starts again.
    Start { site: usize },
    /// The network between the hub and a member is cut, or heals.
    Cut { member: usize, is_cut: bool },
    /// The hub's disk is copied.
    BackUp,
    /// The hub's disk is lost, and is what was copied.
    Restore,
}

/// What a site wants of the world.
#[derive(Debug)]
enum Wish {
    /// Ask another site.
    Ask { to: usize, call: u64, request: Request },
    /// Answer one.
    Answer { to: usize, start: u64, call: u64, answer: Answer },
    /// Write to disk.
    Sync,
    /// Be woken.
    Wake(Duration),
}

/// All sites and what lies between them; the hub is the first.
struct World {
    now: Duration,
    random: Random,
    sites: Vec<Site>,
    books: Books,
    cut: Vec<bool>,
    agenda: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    is_healed: bool,
    crashes: u64,
}

/// Plays one seed.
pub fn play(seed: u64, plant: Plant) -> Report {
    let mut world = World::new(seed, plant);
    let mut steps = 0;
    while world.now < STORY + HEALING {
        let Some(((at, _), happening)) = world.agenda.pop_first() else { break };
        if at >= STORY && !world.is_healed {
            world.heal();
        }
        world.now = at;
        world.perform(happening);
        steps += 1;
        if world.is_healed && steps % 64 == 0 && world.is_at_rest() {
            break;
        }
    }
    let World { mut books, sites, crashes, .. } = world;
    books.close(&sites);
    Report { events: sites[0].line_len(), violations: books.violations, steps, crashes }
}

impl World {
    fn new(seed: u64, plant: Plant) -> Self {
        let mut random = Random::new(seed);
        let sites = (0..=MEMBERS).map(|number| Site::new(number, plant)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            sites,
            books: Books::default(),
            cut: vec![false; MEMBERS + 1],
            agenda: BTreeMap::new(),
            order: 0,
            is_healed: false,
            crashes: 0,
            random: random.clone(),
        };
        for site in 0..=MEMBERS {
            world.later(Duration::ZERO, Happening::Start { site });
        }
        let mut moment = |from: u64| Duration::from_millis(random.between(from, 60_000));
        for number in 0..220 {
            world.later(moment(2000), Happening::Say { site: number % (MEMBERS + 1) });
        }
        for _ in 0..8 {
            world.later(moment(1000), Happening::Kill { site: usize::MAX });
        }
        for member in 1..=MEMBERS {
            for _ in 0..2 {
                let at = moment(1000);
                world.later(at, Happening::Cut { member, is_cut: true });
                world.later(
                    at + Duration::from_millis(moment(0).as_millis() as u64 / 4),
                    Happening::Cut { member, is_cut: false },
                );
            }
        }
        let copied = moment(3000);
        world.later(copied, Happening::BackUp);
        world.later(copied + Duration::from_millis(moment(0).as_millis() as u64 / 3), Happening::Restore);
        world
    }

    fn later(&mut self, delay: Duration, happening: Happening) {
        self.order += 1;
        self.agenda.insert((self.now + delay, self.order), happening);
    }

    fn heal(&mut self) {
        self.is_healed = true;
        self.cut.fill(false);
        let story = |happening: &Happening| {
            matches!(
                happening,
                Happening::Say { .. } | Happening::Kill { .. } | Happening::Cut { .. } | Happening::Restore
            )
        };
        self.agenda.retain(|_, happening| !story(happening));
        for site in 0..=MEMBERS {
            if !self.sites[site].is_up() {
                self.later(Duration::from_millis(100), Happening::Start { site });
            }
        }
    }

    /// Whether nobody has anything to do but to look whether there is anything.
    fn is_at_rest(&self) -> bool {
        let line = self.sites[0].line_len();
        self.sites.iter().all(|site| site.is_up() && site.is_idle() && (site.number == 0 || site.line_end() == line))
    }

    fn perform(&mut self, happening: Happening) {
        match happening {
            Happening::Asked { to, from, call, request } => {
                let start = self.sites[from].start;
                self.tell(to, |site, now, books| site.asked(from, start, call, request, now, books));
            }
            Happening::Answered { to, start, call, answer } if self.sites[to].start == start => {
                self.tell(to, |site, now, books| site.answered(call, Some(answer), now, books));
            }
            Happening::TimedOut { to, start, call } if self.sites[to].start == start => {
                self.tell(to, |site, now, books| site.answered(call, None, now, books));
            }
            Happening::Synced { site, start } if self.sites[site].start == start => {
                self.tell(site, Site::synced);
            }
            Happening::Wake { site, start } if self.sites[site].start == start => {
                self.tell(site, Site::wake);
            }
            Happening::Say { site } => self.tell(site, Site::say),
            Happening::Kill { site } => {
                let site = if site == usize::MAX { self.random.below(MEMBERS + 1) } else { site };
                self.kill(site);
            }
            Happening::Start { site } => {
                if !self.sites[site].is_up() {
                    self.sites[site].begin(self.now);
                    self.tell(site, Site::wake);
                }
            }
            Happening::Cut { member, is_cut } => self.cut[member] = is_cut,
            Happening::BackUp => self.sites[0].back_up(),
            Happening::Restore => {
                self.kill(0);
                let upto = self.sites[0].restore();
                self.books.lost(upto);
            }
            Happening::Answered { .. }
            | Happening::TimedOut { .. }
            | Happening::Synced { .. }
            | Happening::Wake { .. } => {}
        }
    }

    fn kill(&mut self, site: usize) {
        if self.sites[site].is_up() {
            self.crashes += 1;
            self.sites[site].kill();
            let pause = Duration::from_millis(self.random.between(50, 5000));
            self.later(pause, Happening::Start { site });
        }
    }

    fn tell(&mut self, number: usize, what: impl FnOnce(&mut Site, Duration, &mut Books)) {
        if !self.sites[number].is_up() {
            return;
        }
        what(&mut self.sites[number], self.now, &mut self.books);
        let start = self.sites[number].start;
        for wish in self.sites[number].wishes() {
            match wish {
                Wish::Ask { to, call, request } => {
                    self.later(PATIENCE, Happening::TimedOut { to: number, start, call });
                    self.carry((number, to), Happening::Asked { to, from: number, call, request });
                }
                Wish::Answer { to, start, call, answer } => {
                    self.carry((number, to), Happening::Answered { to, start, call, answer });
                }
                Wish::Sync => {
                    let slow = if self.random.once_in(20) { 200 } else { 5 };
                    let delay = Duration::from_micros(self.random.between(100, slow * 1000));
                    self.later(delay, Happening::Synced { site: number, start });
                }
                Wish::Wake(at) => {
                    let delay = at.saturating_sub(self.now).max(Duration::from_millis(1));
                    self.later(delay, Happening::Wake { site: number, start });
                }
            }
        }
    }

    /// The network: packets are late, overtake each other, come twice or not at all.
    fn carry(&mut self, (from, to): (usize, usize), what: Happening) {
        let is_cut = self.cut[from] || self.cut[to];
        if is_cut || (!self.is_healed && self.random.once_in(25)) {
            return;
        }
        let slow = if self.random.once_in(15) { 3000 } else { 30 };
        let delay = Duration::from_millis(self.random.between(1, slow));
        if !self.is_healed && self.random.once_in(30) {
            self.later(delay * 2, what.clone());
        }
        self.later(delay, what);
    }
}
