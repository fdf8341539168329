//! What must hold of a shared channel, whatever happens: one line, in one order, with all that was acknowledged in it
//! once; nothing goes to who may not see it; and who lies is found out.

use super::disk::Saying;
use super::site::{Answer, Request, Site, origin_of};
use super::{Kind, MEMBERS, ODD};
use crate::judge::Violation;
use comity_core::federation::EventId;
use comity_core::federation::event::Event;
use comity_core::federation::participant::Fault;
use comity_core::federation::roster::Change;
use std::collections::{BTreeMap, BTreeSet};

/// The books of a run, kept apart from the sites' own.
#[derive(Debug)]
pub(super) struct Books {
    kind: Kind,
    /// What was acknowledged, by whom it was said.
    kept: BTreeSet<(usize, Saying)>,
    /// What each site has shown: the event at each place.
    shown: BTreeMap<usize, BTreeMap<u64, EventId>>,
    /// The events in which things were said, by who said it and what.
    said: BTreeMap<(String, String), EventId>,
    /// What was given to each site, whether it arrived or not.
    given: BTreeSet<(usize, u64, EventId)>,
    pub(super) withdrawals: u64,
    pub(super) violations: Vec<Violation>,
}

impl Books {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
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
        if matches!(self.kind, Kind::Removal | Kind::Return) && site == ODD {
            self.kept.remove(&(site, saying));
        } else {
            self.blame(format!("site {site}: {saying} was refused: {why}"));
        }
    }

    /// A member was told that something is wrong.
    pub(super) fn told(&mut self, site: usize, fault: &Fault) {
        let is_right = match (fault, self.kind) {
            (Fault::Withdrawn { first, .. }, Kind::Forced) => {
                self.withdrawals += 1;
                self.shown.entry(site).or_default().retain(|seq, _| seq < first);
                true
            }
            (Fault::Equivocation { .. } | Fault::Broken { .. } | Fault::Withheld { .. }, Kind::Equivocation) => true,
            // Its numbers went on while it was no member.
            (Fault::Withheld { author, .. }, Kind::Removal | Kind::Return) => *author == origin_of(ODD),
            _ => false,
        };
        if !is_right {
            self.blame(format!("site {site}: {fault}"));
        }
    }

    /// The hub's disk is lost but for events up to this one. What it alone knew is not to be had anywhere, and what its
    /// own application said and no member has seen is gone with it.
    pub(super) fn lost(&mut self, upto: u64) {
        let seen: BTreeSet<EventId> =
            self.shown.iter().filter(|(site, _)| **site != 0).flat_map(|(_, line)| line.values().copied()).collect();
        let line = self.shown.entry(0).or_default();
        line.retain(|seq, _| *seq <= upto);
        let old: BTreeSet<EventId> = line.values().copied().collect();
        let said = &self.said;
        let hub = origin_of(0).to_string();
        let is_there = |saying: &Saying| {
            let id = said.get(&(hub.clone(), saying.to_string()));
            id.is_some_and(|id| seen.contains(id) || old.contains(id))
        };
        self.kept.retain(|(site, saying)| *site != 0 || is_there(saying));
    }

    /// The line goes on as it is at the hub. What its own application said, and those alone have that are away, is gone.
    pub(super) fn forced(&mut self, line: &[EventId]) {
        let (line, hub): (BTreeSet<_>, _) = (line.iter().collect(), origin_of(0).to_string());
        let said = &self.said;
        let is_there =
            |saying: &Saying| said.get(&(hub.clone(), saying.to_string())).is_some_and(|id| line.contains(id));
        self.kept.retain(|(site, saying)| *site != 0 || is_there(saying));
    }

    /// An application saw this event.
    pub(super) fn shown(&mut self, site: usize, event: &Event) {
        let (seq, id) = (event.order.seq, event.authored.id);
        self.said.insert((event.authored.origin.to_string(), event.authored.data().to_string()), id);
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
            Answer::Line(Some(head)) => drop(self.given.insert((to, head.last.order.seq, head.last.id))),
            _ => {}
        }
    }

    fn given(&mut self, to: usize, events: &[Event]) {
        self.given.extend(events.iter().map(|event| (to, event.order.seq, event.authored.id)));
    }

    /// The end: all lines are the hub's.
    pub(super) fn close(&mut self, sites: &[Site]) {
        let line: BTreeMap<u64, &Event> = sites[0].line().map(|event| (event.order.seq, event)).collect();
        self.close_said(sites, &line);
        for site in sites {
            let views = views(site.number, &line);
            self.close_given(site.number, &views, &line);
            if self.kind != Kind::Equivocation || site.number != ODD {
                self.close_shown(site.number, &views, &line);
            }
        }
        self.close_proofs(sites, &line);
    }

    /// Whoever has another history than the others has proof of it, and so have those that it talked to, if they were
    /// members at the time; and nobody has proof against a hub that does not lie.
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
            let may_have_some = must || self.kind == Kind::Equivocation && site.number == ODD;
            if !is_proven || must && proofs.is_empty() || !may_have_some && !proofs.is_empty() {
                self.blame(format!("site {} has {} proofs against the hub", site.number, proofs.len()));
            }
        }
    }

    fn close_said(&mut self, sites: &[Site], line: &BTreeMap<u64, &Event>) {
        let mut said: BTreeMap<(usize, String), u64> = BTreeMap::new();
        for event in line.values().filter(|event| event.authored.kind == "message") {
            let author = (0..=MEMBERS).find(|number| sites[*number].origin() == event.authored.origin).unwrap_or(0);
            *said.entry((author, event.authored.data().to_string())).or_default() += 1;
        }
        for (site, saying) in std::mem::take(&mut self.kept) {
            let count = said.get(&(site, saying.to_string())).copied().unwrap_or(0);
            if count == 0 {
                self.blame(format!("site {site} was told that {saying} is kept, and it is not in the line"));
            }
        }
        for ((site, what), count) in said.iter().filter(|(_, count)| **count > 1) {
            self.blame(format!("{what} of site {site} is in the line {count} times"));
        }
    }

    /// Nobody was given what it may not see. What is not in the line was withdrawn, or is a lie.
    fn close_given(&mut self, site: usize, views: &[(u64, u64)], line: &BTreeMap<u64, &Event>) {
        if site == 0 {
            return;
        }
        let given =
            self.given.range((site, 0, EventId::from_bytes([0; 20]))..(site + 1, 0, EventId::from_bytes([0; 20])));
        let may_see = |seq: &u64| views.iter().any(|(from, to)| (from..=to).contains(&seq));
        let leak = given
            .filter(|(_, seq, id)| line.get(seq).is_some_and(|event| event.authored.id == *id))
            .find(|(_, seq, _)| !may_see(seq))
            .map(|(_, seq, _)| *seq);
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

/// What a site may see, by the line itself: each time that it was a member.
fn views(site: usize, line: &BTreeMap<u64, &Event>) -> Vec<(u64, u64)> {
    let (end, me) = (line.keys().last().copied().unwrap_or(0), origin_of(site));
    if site == 0 {
        return vec![(1, end)];
    }
    let mut views: Vec<(u64, u64)> = Vec::new();
    for (seq, event) in line {
        match Change::of(&event.authored) {
            Ok(Some(Change::Joined)) if event.authored.origin == me => views.push((*seq, end)),
            Ok(Some(Change::Removed(member))) if member == me => {
                views.iter_mut().for_each(|view| view.1 = view.1.min(*seq))
            }
            _ => {}
        }
    }
    views
}
