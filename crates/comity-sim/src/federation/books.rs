//! What must hold of a shared channel, whatever happens: one line, in one order, with all that was acknowledged in it once.

use super::disk::Saying;
use super::site::Site;
use crate::judge::Violation;
use comity_core::federation::event::Event;
use std::collections::{BTreeMap, BTreeSet};

/// The books of a run, kept apart from the sites' own.
#[derive(Debug, Default)]
pub(super) struct Books {
    /// What was acknowledged, by whom it was said.
    kept: BTreeSet<(usize, Saying)>,
    /// What each site has shown: the event at each place.
    shown: BTreeMap<usize, BTreeMap<u64, String>>,
    /// The events in which things were said, by what was said.
    said: BTreeMap<String, String>,
    pub(super) violations: Vec<Violation>,
}

impl Books {
    pub(super) fn blame(&mut self, what: String) {
        self.violations.push(Violation { what });
    }

    /// Who said this was told that it is kept.
    pub(super) fn kept(&mut self, site: usize, saying: Saying) {
        self.kept.insert((site, saying));
    }

    /// The hub's disk is lost but for events up to this one. What it alone knew is not to be had anywhere, and what its
    /// own application said and no member has seen it is gone with it.
    pub(super) fn lost(&mut self, upto: u64) {
        let seen: BTreeSet<String> =
            self.shown.iter().filter(|(site, _)| **site != 0).flat_map(|(_, line)| line.values().cloned()).collect();
        let said = &self.said;
        let has = |saying: &Saying| said.get(&format!("hub.test {saying}")).is_some_and(|id| seen.contains(id));
        let line = self.shown.entry(0).or_default();
        let old: BTreeSet<String> = line.range(..=upto).map(|(_, id)| id.clone()).collect();
        let is_old = |saying: &Saying| said.get(&format!("hub.test {saying}")).is_some_and(|id| old.contains(id));
        self.kept.retain(|(site, saying)| *site != 0 || has(saying) || is_old(saying));
        line.retain(|seq, _| *seq <= upto);
    }

    /// An application saw this event.
    pub(super) fn shown(&mut self, site: usize, event: &Event) {
        let (seq, id) = (event.order.seq, event.authored.id.to_string());
        self.said.insert(format!("{} {}", event.authored.origin, event.authored.data()), id.clone());
        let line = self.shown.entry(site).or_default();
        match line.insert(seq, id.clone()) {
            Some(before) if before != id => {
                self.blame(format!("site {site} saw {before} and then {id} as event {seq}"))
            }
            _ => {}
        }
    }

    /// The end: all lines are the hub's.
    pub(super) fn close(&mut self, sites: &[Site]) {
        let line: Vec<&Event> = sites[0].line().collect();
        let mut said: BTreeMap<String, u64> = BTreeMap::new();
        for event in &line {
            *said.entry(format!("{} {}", event.authored.origin, event.authored.data())).or_default() += 1;
        }
        for (site, saying) in self.kept.clone() {
            let what = format!("{} {saying}", sites[site].origin());
            if said.get(&what) != Some(&1) {
                let count = said.get(&what).copied().unwrap_or(0);
                self.blame(format!("site {site} was told that {saying} is kept, and it is in the line {count} times"));
            }
        }
        for (what, count) in &said {
            if *count > 1 && !what.ends_with('}') {
                self.blame(format!("{what} is in the line {count} times"));
            }
        }
        for site in sites {
            let from = site.first_seen();
            let wanted: BTreeMap<u64, String> = line
                .iter()
                .filter(|event| event.order.seq >= from)
                .map(|event| (event.order.seq, event.authored.id.to_string()))
                .collect();
            let shown = self.shown.remove(&site.number).unwrap_or_default();
            if shown != wanted {
                let (had, want) = (shown.len(), wanted.len());
                let first = wanted.iter().find(|(seq, id)| shown.get(seq) != Some(id)).map(|(seq, _)| *seq);
                self.blame(format!(
                    "site {} saw {had} of {want} events; the first that differs is {first:?}",
                    site.number
                ));
            }
        }
    }
}
