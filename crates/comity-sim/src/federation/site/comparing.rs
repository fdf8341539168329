//! How a site compares what it has with others, and what it finds.

use super::*;
use comity_core::federation::heads::Verdict;
use comity_core::federation::roster::Standing;

impl Site {
    /// The first and the last event here without a gap that another site may be given.
    fn range_for(&self, to: usize) -> Option<(u64, u64)> {
        let up = self.up.as_ref()?;
        let last = match &up.role {
            Role::Hub(_) => up.ready,
            Role::Member(_) => up.line.keys().last().copied().unwrap_or(0),
        };
        let first = match &up.role {
            Role::Hub(_) => 1,
            // Who sees all of it has some before it joins.
            Role::Member(member) => member.summary().roster.view(&self.origin()).map_or(1, |view| view.0),
        };
        let (from, until) = self.view_of(to)?;
        Some((first.max(from), last.min(until.unwrap_or(last))))
    }

    /// Events for another site, of those it may see, and the last of those.
    pub(super) fn page(&mut self, to: usize, after: u64, limit: usize) -> Answer {
        let view = self.view_of(to);
        let Some(up) = &self.up else { return Answer::Refused };
        let last = if self.number == 0 { up.ready } else { up.line.keys().last().copied().unwrap_or(0) };
        let (first, last) = view.map_or((1, 0), |(first, until)| (first, until.unwrap_or(last).min(last)));
        let first = first.max(after + 1);
        let range = first..(last + 1).max(first);
        let mut events: Vec<Event> = up.line.range(range).map(|(_, event)| event.clone()).take(limit).collect();
        self.lie(to, &mut events);
        Answer::Events { events, head: last }
    }

    /// Where the line ends, for another site.
    pub(super) fn line_for(&mut self, to: usize) -> Answer {
        let Some((first, last)) = self.range_for(to) else { return Answer::Line(None, None) };
        let Some(up) = &self.up else { return Answer::Refused };
        let mut last: Vec<Event> = up
            .line
            .range(first..(last + 1).max(first))
            .next_back()
            .map(|(_, event)| event.clone())
            .into_iter()
            .collect();
        self.lie(to, &mut last);
        let head = last.first().map(|event| Box::new(Head { first, last: event.placed() }));
        Answer::Line(head, self.proofs().first().cloned().map(Box::new))
    }

    /// The digest of a range, for another site: none if it may not see all of it, or it is not here.
    pub(super) fn digest_for(&mut self, to: usize, (after, upto): (u64, u64)) -> Answer {
        let may_see =
            self.range_for(to).is_some_and(|(first, last)| first <= after + 1 && upto <= last && after < upto);
        let Some(up) = self.up.as_ref().filter(|_| may_see) else { return Answer::Digest(None) };
        let mut events: Vec<Event> = up.line.range(after + 1..=upto).map(|(_, event)| event.clone()).collect();
        self.lie(to, &mut events);
        Answer::Digest(Some(Digest::of(events.iter().map(|event| event.authored.id))))
    }

    /// Asks whether the line has gone on: whoever has seen all that there was asks for no events before it has.
    pub(super) fn look(&mut self) {
        match &mut self.up {
            Some(Up { role: Role::Member(member), .. }) if !member.is_settled() => member.look(),
            _ => self.compare(0),
        }
    }

    /// Compares with the next site, if it is time to.
    pub(super) fn compare_in_turn(&mut self, now: Duration) {
        let Some(up) = self.up.as_mut().filter(|up| now >= up.compare_at) else { return };
        up.compare_at = now + COMPARE_EVERY;
        // The hub has the line.
        if self.number == 0 {
            return;
        }
        up.compared = (up.compared + 1) % (MEMBERS + 1);
        if up.compared == self.number {
            up.compared = (up.compared + 1) % (MEMBERS + 1);
        }
        let with = up.compared;
        // A list from before this site joined may name who was removed before that.
        let is_member = self.view_of(self.number).is_some_and(|(_, until)| until.is_none());
        if with == 0 && is_member {
            self.ask(0, Call::Members, Request::Members);
        }
        self.compare(with);
    }

    /// Who is a member, as the hub tells members.
    pub(super) fn members(&self, asker: usize) -> BTreeMap<usize, u64> {
        let Some(Up { role: Role::Hub(hub), .. }) = &self.up else { return BTreeMap::new() };
        if !hub.summary().roster.is_member(&origin_of(asker)) {
            return BTreeMap::new();
        }
        let since = |(origin, standing): (&Origin, Standing)| match standing {
            Standing::Joined { since } => Some((number_of(origin), since)),
            _ => None,
        };
        hub.summary().roster.standings().filter_map(since).collect()
    }

    /// Begins to compare with a site.
    pub(super) fn compare(&mut self, with: usize) {
        self.begin_comparison(with, |comparison| comparison);
    }

    /// Compares with the hub, whose line does not go on as it is here.
    pub(super) fn compare_terms(&mut self) {
        self.begin_comparison(0, Comparison::with_terms);
    }

    fn begin_comparison(&mut self, with: usize, how: impl FnOnce(Comparison) -> Comparison) {
        let Some(mine) = self.range_for(0) else { return };
        let Some(up) = &mut self.up else { return };
        // What an earlier comparison asked for does not answer this one.
        up.calls.retain(|_, call| {
            let of = match call {
                Call::Line { with } | Call::Digest { with, .. } | Call::Place { with } => Some(*with),
                _ => None,
            };
            of != Some(with)
        });
        let agreed = up.agreed.get(&with).copied().unwrap_or_default();
        up.comparisons.insert(with, how(Comparison::new(channel(), mine, agreed)));
        self.ask(with, Call::Line { with }, Request::Line);
    }

    fn mine(&self, seq: u64) -> Option<Placed> {
        self.up.as_ref()?.line.get(&seq).map(Event::placed)
    }

    /// Another site passed on what proves that the hub lied; it is believed if it holds.
    pub(super) fn passed_on(&mut self, proof: Box<Proof>) {
        if proof.verify() == Ok([key_of(0).node(); 2]) {
            self.with_member(|member| member.handle(participant::Input::Proven(proof)));
        }
    }

    pub(super) fn compared_line(&mut self, with: usize, head: &Head) {
        let mine = self.mine(head.last.order.seq);
        if with == 0 && mine.is_none() {
            self.with_member(participant::State::look);
        }
        let Some(comparison) = self.up.as_mut().and_then(|up| up.comparisons.get_mut(&with)) else { return };
        let verdict = comparison.handle_head(head, mine.as_ref());
        self.judged(with, verdict);
    }

    pub(super) fn compared_digest(&mut self, with: usize, (after, upto): (u64, u64), theirs: Digest) {
        let Some(up) = &mut self.up else { return };
        let mine = Digest::of(up.line.range(after + 1..=upto).map(|(_, event)| event.authored.id));
        let Some(comparison) = up.comparisons.get_mut(&with) else { return };
        let verdict = comparison.handle_digest((after, upto), theirs, mine);
        self.judged(with, verdict);
    }

    pub(super) fn compared_place(&mut self, with: usize, events: &[Event]) {
        let [event] = events else { return };
        let Some(mine) = self.mine(event.order.seq) else { return };
        let Some(comparison) = self.up.as_mut().and_then(|up| up.comparisons.get_mut(&with)) else { return };
        let verdict = comparison.handle_place(&event.placed(), &mine);
        self.judged(with, verdict);
    }

    fn judged(&mut self, with: usize, verdict: Verdict) {
        let (hub, me) = (origin_of(0), self.origin());
        let Some(up) = &mut self.up else { return };
        match verdict {
            Verdict::Fits(agreed) => {
                up.agreed.insert(with, agreed);
                if with == 0 {
                    self.with_member(|member| member.handle(participant::Input::Same(agreed)));
                }
            }
            Verdict::AskDigest { after, upto } => {
                self.ask(with, Call::Digest { with, after, upto }, Request::Digest { after, upto });
            }
            Verdict::AskPlace { seq } => {
                self.ask(with, Call::Place { with }, Request::Events { after: seq - 1, limit: 1 });
            }
            Verdict::Proven(proof) => self.with_member(|member| member.handle(participant::Input::Proven(proof))),
            // What the hub has counts, and what another has may be what was given up.
            Verdict::Parted { after, theirs } if with == 0 => {
                let mut kept = participant::Summary::default();
                for event in up.line.range(..=after).map(|(_, event)| event) {
                    kept.read(&hub, &me, event);
                }
                let theirs = Box::new(theirs.order);
                let kept = Box::new(kept);
                self.with_member(|member| member.handle(participant::Input::Parted { kept, theirs }));
            }
            Verdict::Parted { .. } | Verdict::Unclear => {}
        }
    }
}
