//! Origins that share a channel: the real rules of a hub and of its members, over a network that cuts, delays, reorders
//! and duplicates, on disks that lose what was not synced, with sites killed at any moment and a hub that comes back from
//! an old backup. Some seeds remove a member or have it leave, let the line go on without one, bring a hub back twice or a
//! member once, have a member that joined after the backup or that signs nothing, or a hub that shows two histories; in
//! some, members see all of the line.

mod books;
mod disk;
mod site;
mod story;

use crate::judge::Violation;
use crate::random::Random;
use books::Books;
use site::{Answer, Request, Site};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
pub use story::Kind;
use story::{EVENTS_MIN, HEALING, KILLS_MIN, STORY};

/// Members besides the hub.
const MEMBERS: usize = 3;

/// The number of a member that is no site: it signs nothing, and keeps no line.
const GUEST: usize = MEMBERS + 1;

/// The member that is removed, left behind or lied to, where one is.
const ODD: usize = 3;

/// How long anything is under way, milliseconds, and some.
const UNDER_WAY_MAX: u64 = 8000;

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
    /// What happened in it.
    pub kind: Kind,
    /// What did not hold.
    pub violations: Vec<Violation>,
    /// Events in the line at the end.
    pub events: u64,
    /// Steps of the world.
    pub steps: u64,
    /// Times that a site was killed.
    pub crashes: u64,
    /// Members that hold a proof against the hub.
    pub proofs: u64,
    /// Times that a member gave back what the hub went on without.
    pub withdrawals: u64,
}

/// Something that will happen.
#[derive(Debug, Clone)]
enum Happening {
    /// A request arrives, which was signed at this time in this start of who asked.
    Asked { to: usize, from: (usize, u64), signed: Duration, call: u64, request: Request },
    /// An answer arrives, if it is still the same start of who asked.
    Answered { to: usize, start: u64, signed: Duration, call: u64, answer: Answer },
    /// An answer has not come.
    TimedOut { to: usize, start: u64, call: u64 },
    /// A disk has written what was pending.
    Synced { site: usize, start: u64 },
    /// A deadline.
    Wake { site: usize, start: u64 },
    /// Somebody says something.
    Say { site: usize },
    /// A site is killed.
    Kill,
    /// It starts again.
    Start { site: usize },
    /// The network between a site and all others is cut, or heals.
    Cut { site: usize, is_cut: bool },
    /// A site's disk is copied.
    BackUp { site: usize },
    /// A site's disk is lost, and is what was copied.
    Restore { site: usize },
    /// A member leaves.
    Leave,
    /// The admin removes a member.
    Remove,
    /// The admin invites it again.
    Invite,
    /// A person lets the line go on without those that were not reached.
    Force,
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
    kind: Kind,
    sites: Vec<Site>,
    books: Books,
    cut: Vec<bool>,
    agenda: BTreeMap<(Duration, u64), Happening>,
    order: u64,
    is_healed: bool,
    crashes: u64,
    /// What the admin has still to do.
    to_do: usize,
}

/// Plays seeds on all cores, in order, until one fails; each with what it came to.
pub fn play_all(seeds: Range<u64>, plant: Plant) -> Vec<(u64, Report)> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    // Whoever plays a later seed stops when an earlier one has failed.
    let failed = AtomicU64::new(u64::MAX);
    let one_thread = &|mine: u64| {
        let of_mine = seeds.clone().filter(|seed| seed % threads == mine);
        let mut reports = Vec::new();
        for seed in of_mine.take_while(|seed| *seed < failed.load(Ordering::Relaxed)) {
            let report = play(seed, plant);
            if !report.violations.is_empty() {
                failed.fetch_min(seed, Ordering::Relaxed);
            }
            reports.push((seed, report));
        }
        reports
    };
    let mut reports: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|mine| scope.spawn(move || one_thread(mine))).collect();
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    reports.sort_by_key(|(seed, _)| *seed);
    reports
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
    let World { mut books, sites, crashes, kind, .. } = world;
    books.close(&sites);
    let events = sites[0].line_len();
    if books.violations.is_empty() && (events < EVENTS_MIN || crashes < KILLS_MIN) {
        books.blame(format!("the seed proves little: {events} events, {crashes} crashes"));
    }
    let proofs = sites.iter().filter(|site| !site.proofs().is_empty()).count() as u64;
    Report { kind, events, violations: books.violations, steps, crashes, proofs, withdrawals: books.withdrawals }
}

impl World {
    fn new(seed: u64, plant: Plant) -> Self {
        let (random, kind) = (Random::new(seed), Kind::of(seed));
        let sites = (0..=MEMBERS)
            .map(|number| Site::new(number, plant, (kind, story::history_of(seed)), story::is_signed(seed)))
            .collect();
        let mut world = Self {
            now: Duration::ZERO,
            sites,
            books: Books::new(kind, story::history_of(seed)),
            cut: vec![false; MEMBERS + 1],
            agenda: BTreeMap::new(),
            order: 0,
            is_healed: false,
            crashes: 0,
            to_do: 0,
            kind,
            random,
        };
        for site in 0..=MEMBERS {
            world.later(Duration::ZERO, Happening::Start { site });
        }
        for (at, happening) in story::of(kind, &mut world.random) {
            world.to_do += usize::from(matches!(happening, Happening::Remove | Happening::Invite));
            world.later(at, happening);
        }
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
                Happening::Say { .. } | Happening::Kill | Happening::Cut { .. } | Happening::Restore { .. }
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
        let end = self.sites[0].line_end();
        let is_there = |site: &Site| {
            let ended = self.sites[0].view_of(site.number).is_none_or(|(_, until)| until.is_some());
            site.line_end() == end || site.number != 0 && ended
        };
        let rests = self.sites.iter().all(|site| site.is_up() && site.is_idle() && is_there(site));
        match self.kind {
            // All must have talked to each other.
            Kind::Equivocation => self.now >= STORY + story::TALKING,
            _ => self.to_do == 0 && rests,
        }
    }

    fn perform(&mut self, happening: Happening) {
        match happening {
            Happening::Asked { to, from, signed, call, request } => {
                self.tell(to, |site, now, books| site.asked((from, call), signed, request, now, books));
            }
            Happening::Answered { to, start, signed, call, answer } if self.sites[to].start == start => {
                self.tell(to, |site, now, books| site.answered(call, Some((signed, answer)), now, books));
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
            Happening::Say { site } if self.sites[site].is_up() => self.tell(site, Site::say),
            // Who has something to say waits until it can.
            Happening::Say { .. } => self.later(Duration::from_millis(300), happening),
            Happening::Kill => {
                let up: Vec<usize> = (0..=MEMBERS).filter(|site| self.sites[*site].is_up()).collect();
                match up.len() {
                    0 => self.later(Duration::from_millis(300), happening),
                    count => {
                        let site = up[self.random.below(count)];
                        self.kill(site, 50);
                    }
                }
            }
            Happening::Start { site } => {
                if !self.sites[site].is_up() {
                    self.sites[site].begin(self.now);
                    self.tell(site, Site::wake);
                }
            }
            Happening::Cut { site, is_cut } => self.cut[site] = is_cut,
            Happening::BackUp { site } => self.sites[site].back_up(),
            Happening::Restore { site } => self.restore(site),
            Happening::Leave if self.sites[ODD].is_up() => self.tell(ODD, Site::leave),
            Happening::Leave => self.later(Duration::from_millis(300), happening),
            Happening::Remove => self.insist(happening, Site::remove),
            Happening::Invite => self.insist(happening, Site::invite),
            Happening::Force => self.force(),
            Happening::Answered { .. }
            | Happening::TimedOut { .. }
            | Happening::Synced { .. }
            | Happening::Wake { .. } => {}
        }
    }

    fn restore(&mut self, site: usize) {
        // Nobody puts a copy back within a second; and what a member sent before has come, or never will.
        self.kill(site, if site == 0 { 1000 } else { UNDER_WAY_MAX });
        match self.sites[site].restore() {
            Some(upto) if site == 0 => self.books.lost(upto, self.now),
            Some(upto) => {
                let line = self.sites[0].line().map(|event| event.authored.id).collect();
                self.books.forgotten(site, (upto, self.sites[site].waiting()), &line);
            }
            None => {}
        }
    }

    /// What the admin does until it is done.
    fn insist(&mut self, happening: Happening, what: impl FnOnce(&mut Site, Duration, &mut Books) -> bool) {
        let mut is_done = false;
        self.tell(0, |site, now, books| is_done = what(site, now, books));
        if is_done {
            self.to_do -= 1;
        } else {
            self.later(Duration::from_secs(1), happening);
        }
    }

    fn force(&mut self) {
        if !self.sites[0].is_waiting() {
            return;
        }
        self.tell(0, Site::force);
        let line: Vec<_> = self.sites[0].all().map(|event| event.authored.id).collect();
        self.books.forced(&line);
        self.later(Duration::from_secs(5), Happening::Force);
    }

    /// Kills a site, for this many milliseconds at least.
    fn kill(&mut self, site: usize, pause_ms: u64) {
        if self.sites[site].is_up() {
            self.crashes += 1;
            self.sites[site].kill();
            let pause = Duration::from_millis(self.random.between(pause_ms, pause_ms + 5000));
            self.later(pause, Happening::Start { site });
        }
    }

    fn tell(&mut self, number: usize, what: impl FnOnce(&mut Site, Duration, &mut Books)) {
        if !self.sites[number].is_up() {
            return;
        }
        what(&mut self.sites[number], self.now, &mut self.books);
        let (start, signed) = (self.sites[number].start, self.now);
        for wish in self.sites[number].wishes() {
            match wish {
                Wish::Ask { to, call, request } => {
                    self.books.given_by_request(to, &request);
                    self.later(PATIENCE, Happening::TimedOut { to: number, start, call });
                    self.carry((number, to), Happening::Asked { to, from: (number, start), signed, call, request });
                }
                Wish::Answer { to, start, call, answer } => {
                    self.books.given_by_answer(to, &answer);
                    self.carry((number, to), Happening::Answered { to, start, signed, call, answer });
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
