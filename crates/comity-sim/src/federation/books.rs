//! What must hold of a shared channel, whatever happens: one line, in one order, with all that was acknowledged in it
//! once; nothing goes to who may not see it; and who lies is found out.

use super::disk::Saying;
use super::site::{Answer, Request, Site, number_of, origin_of};
use super::{GUEST, Kind, ODD, PATIENCE};
use crate::judge::Violation;
use comity_core::federation::EventId;
use comity_core::federation::event::Event;
use comity_core::federation::participant::Fault;
use comity_core::federation::roster::{Change, History};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The books of a run, kept apart from the sites' own.
#[derive(Debug)]
pub(super) struct Books {
    kind: Kind,
    history: History,
    /// What a member that came back from a backup may say twice: it had no number there.
    may_repeat: BTreeSet<(usize, String)>,
    lost_at: Option<Duration>,
    /// What was acknowledged, by whom it was said.
    kept: BTreeSet<(usize, Saying)>,
    /// What each site has shown: the event at each place.
    shown: BTreeMap<usize, BTreeMap<u64, EventId>>,
    /// The events in which things were said, by who said it and what.
    said: BTreeMap<(String, String), EventId>,
    /// What was given to each site, whether it arrived or not.
    given: BTreeSet<(usize, u64, EventId, u64)>,
    pub(super) withdrawals: u64,
    pub(super) violations: Vec<Violation>,
}

impl Books {
    pub(super) fn new(kind: Kind, history: History) -> Self {
        Self {
            kind,
            history,
            may_repeat: BTreeSet::new(),
            lost_at: None,
            kept: BTreeSet::new(),
            shown: BTreeMap::new(),
            said: BTreeMap::new(),
            given: BTreeSet::new(),
            withdrawals: 0,
            violations: Vec::new(),
        }
    }

    pub(super) fn blame(&mut self, what: String) {
        self.violations.push(Violation { what });
    }

    /// Who said this was told that it is kept.
    pub(super) fn kept(&mut self, site: usize, saying: Saying) {
        self.kept.insert((site, saying));
    }

    /// Who said this was told that the hub refused it.
    pub(super) fn refused(&mut self, site: usize, saying: Saying, why: &str) {
        let is_odd = matches!(self.kind, Kind::Removal | Kind::Return | Kind::Leaving) && site == ODD;
        // Whose joining was lost before it saw it has nothing to show for it.
        let saw_nothing = self.shown.get(&site).is_none_or(BTreeMap::is_empty);
        if is_odd || self.kind == Kind::Newcomer && site == ODD && saw_nothing {
            self.kept.remove(&(site, saying));
        } else {
            self.blame(format!("site {site}: {saying} was refused: {why}"));
        }
    }

    /// The hub said so of what it attests; which it may have lost since, and nobody saw it.
    pub(super) fn kept_by_hub(&mut self, site: usize, saying: Saying, now: Duration) {
        let id = self.said.get(&(origin_of(site).to_string(), saying.to_string()));
        let is_seen = id.is_some_and(|id| self.shown.values().any(|line| line.values().any(|shown| shown == id)));
        if is_seen || self.lost_at.is_none_or(|at| now > at + PATIENCE) {
            self.kept(site, saying);
        }
    }

    /// A member was told that something is wrong.
    pub(super) fn told(&mut self, site: usize, fault: &Fault) {
        let is_right = match (fault, self.kind) {
            (Fault::Withdrawn { first, .. }, Kind::Forced | Kind::Twice | Kind::Newcomer | Kind::Leaving)
                if !joins_late(self.kind) || site == ODD =>
            {
                self.withdrawals += 1;
                self.shown.entry(site).or_default().retain(|seq, _| seq < first);
                true
            }
            (Fault::Equivocation { .. } | Fault::Broken { .. } | Fault::Withheld { .. }, Kind::Equivocation) => true,
            // Its numbers went on while it was no member, or it joined once more than it needed to.
            (
                Fault::Withheld { author, .. },
                Kind::Removal | Kind::Return | Kind::Leaving | Kind::Newcomer | Kind::Aged,
            ) => *author == origin_of(ODD),
            _ => false,
        };
        if !is_right {
            self.blame(format!("site {site}: {fault}"));
        }
    }

    /// The hub's disk is lost but for events up to this one. What it alone knew is not to be had anywhere, and what its
    /// own application said and no member has seen is gone with it.
    pub(super) fn lost(&mut self, upto: u64, now: Duration) {
        self.lost_at = Some(now);
        // Who came late may be asked too late.
        let is_known = |site: &usize| *site != 0 && (!joins_late(self.kind) || *site != ODD);
        let seen: BTreeSet<EventId> =
            self.shown.iter().filter(|(site, _)| is_known(site)).flat_map(|(_, line)| line.values().copied()).collect();
        let line = self.shown.entry(0).or_default();
        line.retain(|seq, _| *seq <= upto);
        let old: BTreeSet<EventId> = line.values().copied().collect();
        let said = &self.said;
        let kind = self.kind;
        let is_there = |(site, saying): &(usize, Saying)| {
            let id = said.get(&(origin_of(*site).to_string(), saying.to_string()));
            id.is_some_and(|id| seen.contains(id) || old.contains(id))
        };
        self.kept.retain(|kept| !is_hubs(kind, kept.0) || is_there(kept));
    }

    /// A member's disk is lost but for events up to this one, and for what waits there for the hub, of which some has no
    /// number. What it alone knew is not to be had anywhere.
    pub(super) fn forgotten(
        &mut self,
        site: usize,
        (upto, (waiting, without_number)): (u64, (BTreeSet<Saying>, BTreeSet<Saying>)),
        line: &BTreeSet<EventId>,
    ) {
        self.shown.entry(site).or_default().retain(|seq, _| *seq <= upto);
        self.may_repeat.extend(without_number.iter().map(|saying| (site, saying.to_string())));
        let (said, name) = (&self.said, origin_of(site).to_string());
        let is_there = |saying: &Saying| {
            waiting.contains(saying)
                || said.get(&(name.clone(), saying.to_string())).is_some_and(|id| line.contains(id))
        };
        self.kept.retain(|(other, saying)| *other != site || is_there(saying));
    }

    /// The line goes on as it is at the hub. What its own application said, and those alone have that are away, is gone.
    pub(super) fn forced(&mut self, line: &[EventId]) {
        let (line, said, kind): (BTreeSet<_>, _, _) = (line.iter().collect(), &self.said, self.kind);
        let is_there = |(site, saying): &(usize, Saying)| {
            let id = said.get(&(origin_of(*site).to_string(), saying.to_string()));
            id.is_some_and(|id| line.contains(id))
        };
        self.kept.retain(|kept| !is_hubs(kind, kept.0) || is_there(kept));
    }

    /// An application saw this event.
    pub(super) fn shown(&mut self, site: usize, event: &Event) {
        let (seq, id) = (event.order.seq, event.authored.id);
        self.said.insert((event.authored.origin.to_string(), event.authored.data.to_string()), id);
        match self.shown.entry(site).or_default().insert(seq, id) {
            Some(before) if before != id => {
                self.blame(format!("site {site} saw {before} and then {id} as event {seq}"));
            }
            _ => {}
        }
    }

    pub(super) fn given_by_request(&mut self, to: usize, request: &Request) {
        if let Request::Deliver { events } = request {
            self.given(to, events);
        }
    }

    pub(super) fn given_by_answer(&mut self, to: usize, answer: &Answer) {
        match answer {
            Answer::Events { events, .. } => self.given(to, events),
            Answer::Line(Some(head), _) => {
                self.given.insert((to, head.last.order.seq, head.last.id, head.last.order.term));
            }
            _ => {}
        }
    }

    fn given(&mut self, to: usize, events: &[Event]) {
        self.given.extend(events.iter().map(|event| (to, event.order.seq, event.authored.id, event.order.term)));
    }

    /// The end: all lines are the hub's.
    pub(super) fn close(&mut self, sites: &[Site]) {
        let line: BTreeMap<u64, &Event> = sites[0].line().map(|event| (event.order.seq, event)).collect();
        self.close_said(sites, &line);
        for site in sites {
            let views = views(site.number, self.history, &line);
            self.close_given(site.number, &views, &line);
            if self.kind != Kind::Equivocation || site.number != ODD {
                self.close_shown(site.number, &views, &line);
            }
        }
        self.close_proofs(sites, &line);
    }

    /// Whoever has another history than the others has proof of it, and so has everybody, for it is passed on; and nobody
    /// has proof against a hub that does not lie.
    fn close_proofs(&mut self, sites: &[Site], line: &BTreeMap<u64, &Event>) {
        let hub = sites[0].node();
        let is_lie =
            |event: &Event| line.get(&event.order.seq).is_none_or(|mine| mine.authored.id != event.authored.id);
        let lie = sites[ODD].line().find(|event| self.kind == Kind::Equivocation && is_lie(event));
        for site in &sites[1..] {
            let proofs = site.proofs();
            let is_proven = proofs.iter().all(|proof| proof.verify() == Ok([hub; 2]));
            let has = |site: &Site| lie.is_some_and(|lie| site.line().any(|event| event.order.seq == lie.order.seq));
            let must = if site.number == ODD { sites[1..ODD].iter().any(has) } else { has(site) };
            // A lie that was seen, and not taken, is proof as well.
            let is_known = sites[1..].iter().any(|site| !site.proofs().is_empty());
            let (must, may_have_some) = (must || is_known, must || self.kind == Kind::Equivocation);
            if !is_proven || must && proofs.is_empty() || !may_have_some && !proofs.is_empty() {
                self.blame(format!("site {} has {} proofs against the hub", site.number, proofs.len()));
            }
        }
    }

    fn close_said(&mut self, sites: &[Site], line: &BTreeMap<u64, &Event>) {
        let mut said: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for event in line.values().filter(|event| event.authored.kind == "message") {
            *said.entry((number_of(&event.authored.origin), event.authored.data.to_string())).or_default() += 1;
        }
        // Who was lied to may never hear the rest of the line, and then says nothing more.
        let (waiting, _) = if self.kind == Kind::Equivocation { sites[ODD].waiting() } else { Default::default() };
        for (site, saying) in std::mem::take(&mut self.kept) {
            let count = said.get(&(site, saying.to_string())).copied().unwrap_or(0);
            if count == 0 && (site != ODD || !waiting.contains(&saying)) {
                self.blame(format!("site {site} was told that {saying} is kept, and it is not in the line"));
            }
        }
        said.retain(|said, count| *count > 1 && !self.may_repeat.contains(said));
        for ((site, what), count) in said {
            self.blame(format!("{what} of site {site} is in the line {count} times"));
        }
    }

    /// Nobody was given what it may not see. What is not in the line was withdrawn, or is a lie.
    fn close_given(&mut self, site: usize, views: &[(u64, u64)], line: &BTreeMap<u64, &Event>) {
        if site == 0 {
            return;
        }
        let none = EventId::from_bytes([0; 20]);
        let given = self.given.range((site, 0, none, 0)..(site + 1, 0, none, 0));
        let may_see = |seq: &u64| views.iter().any(|(from, to)| (from..=to).contains(&seq));
        let leak = given
            .filter(|(_, seq, id, term)| {
                line.get(seq).is_some_and(|event| event.authored.id == *id && event.order.term == *term)
            })
            .find(|(_, seq, ..)| !may_see(seq))
            .map(|(_, seq, ..)| *seq);
        if let Some(seq) = leak {
            self.blame(format!("site {site} was given event {seq}, and may see {views:?}"));
        }
    }

    /// A site showed all that it may see since it joined last, and of the time before nothing else.
    fn close_shown(&mut self, site: usize, views: &[(u64, u64)], line: &BTreeMap<u64, &Event>) {
        let shown = self.shown.remove(&site).unwrap_or_default();
        let is_fit = |(seq, id): (&u64, &EventId)| {
            let may_see = views.iter().any(|(from, to)| (from..=to).contains(&seq));
            may_see && line.get(seq).is_some_and(|event| event.authored.id == *id)
        };
        if let Some((seq, _)) = shown.iter().find(|entry| !is_fit(*entry)) {
            self.blame(format!("site {site} showed another event {seq} than the hub has, or may not see it"));
        }
        let (from, to) = views.last().copied().unwrap_or((1, 0));
        if let Some((seq, _)) = line.range(from..(to + 1).max(from)).find(|(seq, _)| !shown.contains_key(*seq)) {
            self.blame(format!("site {site} showed {} events, and never event {seq} of {from} to {to}", shown.len()));
        }
    }
}

/// Whether a member joins, perhaps again, after the copy was made from which the hub comes back.
fn joins_late(kind: Kind) -> bool {
    matches!(kind, Kind::Newcomer | Kind::Leaving)
}

/// Whether what a site's applications say is kept by the hub alone until others have it.
fn is_hubs(kind: Kind, site: usize) -> bool {
    site == 0 || kind == Kind::Attested && site == GUEST
}

/// What a site may see, by the line itself: each time that it was a member, or all up to its end.
fn views(site: usize, history: History, line: &BTreeMap<u64, &Event>) -> Vec<(u64, u64)> {
    let (end, me) = (line.keys().last().copied().unwrap_or(0), origin_of(site));
    if site == 0 {
        return vec![(1, end)];
    }
    let mut views: Vec<(u64, u64)> = Vec::new();
    for (seq, event) in line {
        match Change::of(&event.authored) {
            Ok(Some(Change::Joined)) if event.authored.origin == me => views.push((*seq, end)),
            Ok(Some(Change::Left)) if event.authored.origin == me => end_all(&mut views, *seq),
            Ok(Some(Change::Removed(member))) if member == me => end_all(&mut views, *seq),
            _ => {}
        }
    }
    match views.last() {
        Some((_, until)) if history == History::All => vec![(1, *until)],
        _ => views,
    }
}

fn end_all(views: &mut [(u64, u64)], seq: u64) {
    views.iter_mut().for_each(|view| view.1 = view.1.min(seq));
}
