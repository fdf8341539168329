//! Who asks a hub for a channel, and is no member of it: one that joined after the backup that the hub comes from, and
//! that nobody else knows of, shows so by what the hub signed. What it has is taken back if it follows; if places were
//! given anew meanwhile, its joining is given one too, and it says its own part again. Nobody else gets anything by asking.

use super::{Effect, Shown, State};
use crate::federation::roster::{Change, Forbidden, MEMBERS_MAX, Standing};
use crate::federation::{Authored, Event, Origin};
use crate::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Strangers that are remembered.
const STRANGERS_MAX: usize = 1024;

/// How often one is asked, until it asks again.
const TRIES_MAX: u8 = 12;

/// Who is no member.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    /// Whether some may have been members: this hub did not begin the channel just now.
    is_expected: bool,
    known: BTreeMap<Origin, Stranger>,
}

/// How far it is known what a stranger has.
#[derive(Debug)]
enum Stranger {
    /// It was asked so often where its line ends, and has not said.
    Asked(u8),
    /// It has more than is here, and nothing was given a place since this hub started: it is waited for like a member.
    Waited,
    /// Its joining is looked for in what it has.
    Searched(Search),
    /// It was a member of a line that was lost: it becomes one again when the hub takes events.
    Found(Arc<Authored>),
    /// It has nothing that is not here.
    Heard,
}

#[derive(Debug)]
struct Search {
    after: u64,
    upto: u64,
    /// The last event by which it became a member, if it still was one.
    joined: Option<Arc<Authored>>,
}

impl Strangers {
    pub(super) fn expected() -> Self {
        Self { is_expected: true, known: BTreeMap::new() }
    }

    /// Whether there is room for one more, perhaps since one was forgotten that has nothing to show.
    fn has_room(&mut self) -> bool {
        if self.known.len() >= STRANGERS_MAX {
            let heard = self.known.iter().find(|(_, stranger)| matches!(stranger, Stranger::Heard));
            let heard = heard.map(|(origin, _)| origin.clone());
            heard.map(|origin| self.known.remove(&origin));
        }
        self.known.len() < STRANGERS_MAX
    }
}

impl State {
    /// Whether this hub waits for an answer, of a member or of one that may have been one.
    pub fn is_asking(&self) -> bool {
        let waits = |stranger: &Stranger| matches!(stranger, Stranger::Asked(_) | Stranger::Searched(_));
        !self.unheard.is_empty() || self.strangers.known.values().any(waits)
    }

    pub(super) fn handle_stranger(&mut self, origin: &Origin) {
        let is_known = self.summary.roster.is_member(origin) || self.strangers.known.contains_key(origin);
        if self.strangers.is_expected && !is_known && self.strangers.has_room() {
            self.strangers.known.insert(origin.clone(), Stranger::Asked(0));
            self.effects.push(Effect::AskHead(origin.clone()));
        }
    }

    /// Whether an event that is refused may be of one that is a member by what was lost: then it must wait.
    pub(super) fn may_have_joined(&mut self, author: &Origin, why: Forbidden) -> bool {
        let is_heard = matches!(self.strangers.known.get(author), Some(Stranger::Heard));
        let is_outside = matches!(why, Forbidden::NotMember | Forbidden::NotInvited);
        if !self.strangers.is_expected || is_heard || !is_outside || self.summary.roster.is_member(author) {
            return false;
        }
        self.handle_stranger(author);
        true
    }

    pub(super) fn ask_strangers_again(&mut self) {
        let roster = &self.summary.roster;
        self.strangers.known.retain(|origin, stranger| match stranger {
            _ if roster.is_member(origin) => false,
            Stranger::Asked(tries) => {
                *tries += 1;
                *tries < TRIES_MAX
            }
            _ => true,
        });
        let again = |(origin, stranger): (&Origin, &Stranger)| match stranger {
            Stranger::Asked(_) => Some(Effect::AskHead(origin.clone())),
            Stranger::Searched(Search { after, .. }) => Some(Effect::Fetch { member: origin.clone(), after: *after }),
            _ => None,
        };
        self.effects.extend(self.strangers.known.iter().filter_map(again));
    }

    pub(super) fn handle_strangers_head(&mut self, origin: &Origin, shown: Option<Shown>, now: Timestamp) {
        if self.unheard.contains(origin) {
            return self.handle_head(origin, shown.map_or((0, 0), |shown| (shown.term, shown.seq)), now);
        }
        let Some(stranger @ Stranger::Asked(_)) = self.strangers.known.get_mut(origin) else { return };
        let Some(Shown { seq, term, .. }) = shown.filter(|shown| !shown.is_here) else {
            *stranger = Stranger::Heard;
            return;
        };
        self.recovery.term_max = self.recovery.term_max.max(term);
        if self.is_term_due && term >= self.summary.term && seq > self.summary.last.map_or(0, |(last, _)| last) {
            *stranger = Stranger::Waited;
            self.unheard.insert(origin.clone());
            self.recovery.heads.insert(origin.clone(), (term, seq));
            return self.recover(now);
        }
        // The term that this hub is in was one before, which it lost: there must be no more of it.
        self.is_term_due |= term >= self.summary.term;
        *stranger = Stranger::Searched(Search { after: 0, upto: seq, joined: None });
        self.effects.push(Effect::Fetch { member: origin.clone(), after: 0 });
    }

    /// What a stranger has does not follow here: its joining is looked for instead. Whether it is one.
    pub(super) fn search_stranger(&mut self, origin: &Origin) -> bool {
        let Some(stranger @ Stranger::Waited) = self.strangers.known.get_mut(origin) else { return false };
        let upto = self.recovery.heads.get(origin).map_or(0, |(_, seq)| *seq);
        *stranger = Stranger::Searched(Search { after: 0, upto, joined: None });
        self.unheard.remove(origin);
        self.effects.push(Effect::Fetch { member: origin.clone(), after: 0 });
        true
    }

    /// Nothing more is to be had of a stranger, or it is none any more.
    pub(super) fn note_heard(&mut self, origin: &Origin) {
        if let Some(stranger) = self.strangers.known.get_mut(origin) {
            *stranger = Stranger::Heard;
        }
    }

    /// Who was waited for, and is not any more, is asked again when it asks.
    pub(super) fn forget_waited_strangers(&mut self) {
        let unheard = &self.unheard;
        let is_given_up =
            |origin: &Origin, stranger: &Stranger| matches!(stranger, Stranger::Waited) && !unheard.contains(origin);
        self.strangers.known.retain(|origin, stranger| !is_given_up(origin, stranger));
    }

    /// Looks for the event by which a stranger joined in what it gave, if that was asked for.
    pub(super) fn search(&mut self, origin: &Origin, events: &[Event], now: Timestamp) -> bool {
        let Some(stranger @ Stranger::Searched(_)) = self.strangers.known.get_mut(origin) else { return false };
        let Stranger::Searched(search) = stranger else { return false };
        let last = events.last().map(|event| event.order.seq);
        // A late answer to an earlier question.
        if last.is_some_and(|last| last <= search.after) {
            return true;
        }
        for Event { authored, .. } in events {
            match Change::of(authored) {
                Ok(Some(Change::Joined)) if authored.origin == *origin => {
                    search.joined = Some(Arc::new(authored.clone()));
                }
                Ok(Some(Change::Left)) if authored.origin == *origin => search.joined = None,
                Ok(Some(Change::Removed(member))) if member == *origin => search.joined = None,
                _ => {}
            }
        }
        match last.filter(|last| *last < search.upto) {
            Some(last) => {
                search.after = last;
                self.effects.push(Effect::Fetch { member: origin.clone(), after: last });
            }
            None => {
                let joined = search.joined.take().filter(|joined| self.summary.is_new(joined));
                *stranger = joined.map_or(Stranger::Heard, Stranger::Found);
                self.admit_strangers(now);
            }
        }
        true
    }

    /// Gives a place to the joining of each that was a member of what was lost. That this hub took it before is proven by
    /// its own signature.
    pub(super) fn admit_strangers(&mut self, now: Timestamp) {
        if !self.unheard.is_empty() {
            return;
        }
        let mut found = Vec::new();
        for stranger in self.strangers.known.values_mut() {
            if let Stranger::Found(joined) = stranger {
                found.push(joined.clone());
                *stranger = Stranger::Heard;
            }
        }
        for joined in found {
            let is_full = self.summary.roster.standings().count() >= MEMBERS_MAX;
            match self.summary.roster.standing(&joined.origin) {
                // Whether that was before or after is not known, and the admin can invite again.
                Some(Standing::Removed { .. } | Standing::Joined { .. }) => {}
                None if is_full => {}
                _ => {
                    let size = crate::wire::federation::event::size(&joined) as u64;
                    self.place(joined, Some(&Change::Joined), size, now);
                }
            }
        }
    }
}

impl super::Summary {
    /// Whether an event of an author was never taken here.
    fn is_new(&self, authored: &Authored) -> bool {
        let known = self.authors.get(&authored.origin);
        let is_repeated = |author: &super::Author| match authored.author_seq {
            Some(number) => number <= author.last,
            None => author.recent.iter().any(|(_, id)| *id == authored.id),
        };
        !known.is_some_and(is_repeated)
    }
}
