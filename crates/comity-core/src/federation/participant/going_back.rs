//! A hub that was lost, and what a member does about it: it hears no more of what was said before, gives back what the
//! hub went on without, and keeps the proof if there were two histories.

use super::{Effect, Fault, State, Summary, WAITING_MAX, Write};
use crate::federation::heads::{Agreed, Proof};
use crate::federation::roster::{Change, Standing};
use crate::federation::{Event, Order};
use crate::id::Ticket;
use crate::time::Timestamp;

impl State {
    pub(super) fn handle_head_asked(&mut self, ticket: Ticket, signed: Timestamp) {
        // A late question of an earlier start is not answered: who asked it is no more.
        if self.is_broken || !self.hears(signed) || self.heads.len() >= WAITING_MAX {
            return self.effects.push(Effect::Unanswered { ticket });
        }
        self.summary.heard_since = signed;
        self.write(Write::Summary);
        self.heads.push_back((self.writes.0, ticket, self.summary.last));
    }

    /// The hub goes on without events that are here.
    pub(super) fn part(&mut self, seq: u64) {
        if !std::mem::replace(&mut self.is_parted, true) {
            self.effects.push(Effect::Parted { seq });
        }
    }

    /// Looks again whether the hub has more than was told of. What was asked for before, and not answered, is given up.
    pub fn look(&mut self) {
        (self.is_fetching, self.is_parted, self.fruitless) = (false, false, 0);
        if !self.is_broken {
            self.fetch();
        }
    }

    /// Whether this origin joins by what it said before in another place than here: the hub lost what was since then, and
    /// nobody could give it back. A comparison does not tell, for the hub shows it nothing from before that.
    pub(super) fn joins_again(&self, event: &Event) -> bool {
        let standing = self.summary.roster.standing(&self.me);
        let is_elsewhere = matches!(standing, Some(Standing::Joined { since }) if since != event.order.seq);
        let is_later = self.summary.last.is_some_and(|(_, _, term)| event.order.term > term);
        let seen = self.summary.authors.get(&self.me).copied();
        let is_repeated = event.authored.author_seq.is_some_and(|number| seen.is_some_and(|seen| number <= seen));
        is_elsewhere && is_later && is_repeated && self.begins(event)
    }

    /// Gives back all since this origin joined: it joins anew at this place.
    pub(super) fn begin_anew(&mut self, theirs: &Order) {
        if let (Some((last, ..)), Some(Standing::Joined { since })) =
            (self.summary.last, self.summary.roster.standing(&self.me))
        {
            // The line may be shorter now than it was when this origin joined before.
            let after = since.min(theirs.seq).saturating_sub(1);
            self.give_back(Summary::default(), (after, last), theirs);
        }
    }

    pub(super) fn handle_parted(&mut self, kept: Summary, theirs: &Order) {
        self.is_parted = false;
        let (after, term) = (kept.last.map_or(0, |(seq, ..)| seq), theirs.term.max(self.newest.0));
        let Some((last, ..)) = self.summary.last.filter(|(seq, _, own)| *seq > after && *own < term) else { return };
        // The hub may have been another one when the two were compared: what it has now follows what is kept, or is where
        // this origin joined, of which it does not see what was before.
        let follows = theirs.seq == after + 1 && theirs.prev == kept.last.map(|(_, id, _)| id);
        let is_first = self.summary.roster.view(&self.me).is_some_and(|(first, _)| first == theirs.seq);
        if !self.is_broken && (follows || is_first) {
            self.give_back(kept, (after, last), theirs);
            self.is_fetching = false;
            self.fetch();
        }
    }

    /// Goes back to what is kept: all up to this event. Those up to the last are not in the line any more.
    fn give_back(&mut self, kept: Summary, (after, last): (u64, u64), theirs: &Order) {
        let term = theirs.term.max(self.newest.0);
        let was_known = self.summary.roster.standing(&self.me).is_some();
        let seen = kept.authors.get(&self.me).copied().unwrap_or(0);
        (self.summary.last, self.summary.roster, self.summary.authors) = (kept.last, kept.roster, kept.authors);
        if was_known && self.summary.roster.standing(&self.me).is_none() {
            // The invitation came beside the line, and still counts until the hub says otherwise.
            self.summary.roster.apply(self.channel.hub(), &Change::Invited(self.me.clone()), 0);
        }
        (self.summary.decided, self.summary.taken) = (seen, seen);
        self.summary.told = self.summary.told.min(seen);
        // What the old hub still has under way would bring back what is withdrawn.
        self.hear_from(theirs.at.max(self.newest.1));
        self.same = self.summary.last.map(|(_, id, _)| (id, term));
        self.write(Write::Withdraw { after });
        self.placed.retain(|(_, seq)| *seq <= after);
        self.effects.push(Effect::Fault(Fault::Withdrawn { first: after + 1, last, term }));
        self.is_caught_up = false;
        // Those that only the line had are on disk too.
        let last = if self.numbers.is_empty() { self.summary.numbered } else { self.numbered_stored };
        self.effects.push(Effect::Outgoing { done: seen, last });
    }

    /// What is here is what the hub goes on from.
    pub(super) fn handle_same(&mut self, agreed: Agreed) {
        if let Some((_, id, _)) = self.summary.last.filter(|(last, ..)| *last <= agreed.upto) {
            self.same = Some((id, agreed.term));
        }
        if std::mem::take(&mut self.is_parted) {
            self.look();
        }
    }

    pub(super) fn handle_proven(&mut self, proof: Box<Proof>) {
        if *proof.channel() == self.channel && self.summary.proven.is_none() {
            let (seq, term) = proof.place();
            self.summary.proven = Some((seq, term));
            self.write(Write::Proof(proof));
            self.effects.push(Effect::Fault(Fault::Equivocation { seq, term }));
        }
    }
}
