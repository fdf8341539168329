//! A hub that starts: it gets back what its members have of its line and it lost, before it gives places anew. Late
//! answers, members that joined later, and lines that were given up are told apart by what they show; what nobody can
//! put together is for a person to decide ([`super::Input::Forced`]). Who is not known to have joined is in
//! `strangers.rs`.

use super::{Effect, State, Write};
use crate::federation::roster::{Change, Standing};
use crate::federation::{Event, Origin};
use crate::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

/// How far a term that a member only claims may be ahead of the clock, seconds: a day. One that it shows counts whatever
/// it is.
const CLAIM_AHEAD_MAX: u64 = 24 * 3600;

/// What members said of their lines since this hub started.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// The term and number of the last event of each, of those that answered.
    pub(super) heads: BTreeMap<Origin, (u64, u64)>,
    /// Who was asked for events, and has not answered.
    asked: Option<Origin>,
    /// Who has events with the hub's signature that do not follow here: others may have what is between.
    ahead: BTreeSet<Origin>,
    /// The highest term in which this hub is known to have signed, or said to.
    pub(super) term_max: u64,
    /// Whether a person lets the line go on.
    is_forced: bool,
}

impl State {
    /// Every member but this origin itself is asked.
    pub(super) fn ask_heads(&mut self) {
        let hub = self.config.channel.hub();
        let members = self.summary.roster.standings().map(|(origin, _)| origin);
        let members = members.filter(|origin| *origin != hub && self.summary.roster.is_member(origin));
        self.unheard = members.cloned().collect();
        self.effects.extend(self.unheard.iter().cloned().map(Effect::AskHead));
        // Who was invited may have joined since, and is not waited for: most have not.
        let invited = self.summary.roster.standings().filter(|(_, standing)| *standing == Standing::Invited);
        let invited: Vec<Origin> = invited.map(|(origin, _)| origin.clone()).collect();
        invited.iter().for_each(|origin| self.handle_stranger(origin));
    }

    /// The next term: above every one that is known, and not below the clock's seconds, so that two starts from one backup
    /// do not give the same to different events though neither hears of the other.
    pub(super) fn next_term(&self, now: Timestamp) -> u64 {
        let known = self.summary.term.max(self.recovery.term_max);
        (known + 1).max(now.millis() / 1000)
    }

    /// Asks the members again that this hub waits for.
    pub fn ask_again(&mut self) {
        self.recovery.asked = None;
        self.effects.extend(self.unheard.iter().cloned().map(Effect::AskHead));
        self.ask_strangers_again();
    }

    pub(super) fn handle_head(&mut self, member: &Origin, (term, seq): (u64, u64), now: Timestamp) {
        if self.unheard.contains(member) {
            if term <= now.millis() / 1000 + CLAIM_AHEAD_MAX {
                self.recovery.term_max = self.recovery.term_max.max(term);
            }
            self.recovery.heads.insert(member.clone(), (term, seq));
            self.recover(now);
        }
    }

    /// Asks for events when all have said where their lines end: the longest line of the last term goes before one that
    /// was given up, and that may be known to one member alone.
    pub(super) fn recover(&mut self, now: Timestamp) {
        let (last, term) = (self.last_seq(), self.summary.term);
        let heads = &self.recovery.heads;
        // Of a term that is over, more than is here was given up.
        let is_done = |head: &(u64, u64)| head.0 < term || head.0 == term && head.1 <= last;
        self.unheard.retain(|member| !heads.get(member).is_some_and(is_done));
        if self.unheard.iter().any(|member| !heads.contains_key(member)) {
            return;
        }
        let best = self.unheard.iter().max_by_key(|member| heads[*member]).map(|member| heads[member].0);
        let is_fit = |member: &&Origin| !self.recovery.ahead.contains(*member) && Some(heads[*member].0) == best;
        match self.unheard.iter().filter(is_fit).max_by_key(|member| heads[*member]) {
            Some(member) if self.recovery.asked.is_none() => {
                self.recovery.asked = Some(member.clone());
                self.effects.push(Effect::Fetch { member: member.clone(), after: last });
            }
            _ => self.end_recovery(now),
        }
    }

    /// When none is waited for any more, the line goes on.
    fn end_recovery(&mut self, now: Timestamp) {
        if self.unheard.is_empty() {
            let term_max = self.recovery.term_max;
            self.recovery = Recovery { term_max, ..Recovery::default() };
            self.admit_strangers(now);
        }
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.summary.last.map_or(0, |(seq, _)| seq)
    }

    pub(super) fn handle_recovered(&mut self, member: &Origin, events: Vec<Event>, now: Timestamp) {
        if self.search(member, &events, now) || self.unheard.is_empty() {
            return;
        }
        let was_asked = self.recovery.asked.take_if(|asked| asked == member).is_some();
        let (before, given) = (self.last_seq(), events.last().map(|event| (event.order.term, event.order.seq)));
        for event in events {
            self.recovery.term_max = self.recovery.term_max.max(event.order.term);
            let follows = self.summary.last.map_or((1, None), |(seq, id)| (seq + 1, Some(id)));
            // Others are here already, or are of another line.
            if (event.order.seq, event.order.prev) == follows {
                self.adopt(event);
            }
        }
        match given {
            _ if self.last_seq() > before => self.recovery.ahead.clear(),
            // A late answer to an earlier question, as when its joining was looked for.
            _ if !was_asked => return,
            // Who said that it has more, and shows nothing, keeps nobody waiting.
            None => {
                self.unheard.remove(member);
                self.note_heard(member);
            }
            // What is between was never for it: its line begins where it joined.
            Some(_) if self.search_stranger(member) => {}
            // It shows what this hub signed, and that does not follow: that place must not be given twice.
            Some((term, seq)) if seq > before => {
                self.recovery.ahead.insert(member.clone());
                self.recovery.heads.insert(member.clone(), (term, seq));
            }
            // A late answer to an earlier question. Nothing is known by it; who is asked again will say.
            Some(_) => return,
        }
        self.recover(now);
    }

    /// Takes back an event that was placed before, and lost here.
    fn adopt(&mut self, event: Event) {
        let size = crate::wire::federation::event::size(&event.authored) as u64;
        let (author, change) = (event.authored.origin.clone(), Change::of(&event.authored).ok().flatten());
        self.summary.term = self.summary.term.max(event.order.term);
        self.summary.note(&event.authored, change.as_ref(), (event.order.seq, size));
        match change {
            Some(Change::Joined) if author != *self.config.channel.hub() => {
                self.note_heard(&author);
                self.recovery.heads.remove(&author);
                self.unheard.insert(author.clone());
                self.effects.push(Effect::AskHead(author));
            }
            Some(Change::Invited(member)) => self.handle_stranger(&member),
            // Who is no member any more has nothing that comes after that.
            Some(Change::Left) => drop(self.unheard.remove(&author)),
            Some(Change::Removed(member)) => drop(self.unheard.remove(&member)),
            _ => {}
        }
        let seq = event.order.seq;
        self.write(Write::Recovered(Box::new(event)));
        self.placed.push_back((self.writes.0, seq));
    }

    pub(super) fn handle_forced(&mut self, now: Timestamp) {
        if self.unheard.is_empty() {
            return;
        }
        let (last, heads, ahead) = (self.last_seq(), &self.recovery.heads, &self.recovery.ahead);
        let is_again = self.recovery.is_forced;
        let gives = |member: &Origin| heads.get(member).is_some_and(|(_, seq)| *seq > last) && !ahead.contains(member);
        self.unheard.retain(|member| !is_again && gives(member));
        self.recovery.is_forced = true;
        self.forget_waited_strangers();
        self.recover(now);
    }
}
