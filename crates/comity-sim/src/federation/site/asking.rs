//! What a site is asked by others, and what they answer it.

use super::original::attested;
use super::*;

/// Whether a member heeds what the hub signed at this time.
fn hears(up: &Up, from: usize, signed: Duration) -> bool {
    match &up.role {
        Role::Member(member) => from != 0 || member.hears(moment(signed).wall),
        Role::Hub(_) => true,
    }
}

impl Site {
    /// Another site asks, in this call of this start of it.
    pub(in crate::federation) fn asked(
        &mut self,
        ((from, start), call): ((usize, u64), u64),
        signed: Duration,
        request: Request,
        now: Duration,
        books: &mut Books,
    ) {
        let answer = |answer| Wish::Answer { to: from, start, call, answer };
        let is_heard = self.up.as_ref().is_some_and(|up| hears(up, from, signed));
        let asker = Asker::Remote { to: from, start, call };
        self.asked_by_stranger(from, &request, now);
        match request {
            Request::Submit(events) => {
                let ticket = self.ticket(asker);
                let input = hub::Input::Submitted { ticket, from: origin_of(from), events };
                self.with_hub(|hub| hub.handle(input, moment(now)));
            }
            Request::Unsigned { saying, at } => {
                let ticket = self.ticket(asker);
                let (events, from) = (vec![Arc::new(attested(saying, at))], origin_of(GUEST));
                self.with_hub(|hub| hub.handle(hub::Input::Submitted { ticket, from, events }, moment(now)));
            }
            Request::Deliver { events } if is_heard && self.is_genuine(&events) => {
                self.with_member(|member| member.handle(participant::Input::Received { events, head: None }));
                self.perform(now, books);
                let Some(up) = &mut self.up else { return };
                if self.disk.is_clean() {
                    self.wishes.push(answer(Answer::Taken { upto: up.ready }));
                } else {
                    up.owed.push((up.written, from, start, call));
                }
            }
            Request::Deliver { .. } => self.wishes.push(answer(Answer::Refused)),
            Request::Events { after, limit } => {
                let events = self.page(from, after, limit);
                // Whoever asks for one alone wants to know what is in that place.
                if limit > 1 {
                    self.gave(from, after, &events, now);
                }
                self.wishes.push(answer(events));
            }
            Request::Head => {
                let ticket = self.ticket(asker);
                let input = participant::Input::HeadAsked { ticket, signed: moment(signed).wall };
                self.with_member(|member| member.handle(input));
            }
            Request::Line => {
                let line = self.line_for(from);
                self.wishes.push(answer(line));
            }
            Request::Digest { after, upto } => {
                let digest = self.digest_for(from, (after, upto));
                self.wishes.push(answer(digest));
            }
            Request::Members => {
                let members = self.members(from);
                self.wishes.push(answer(Answer::Members(members)));
            }
            Request::Invite => self.invited(now),
        }
        self.perform(now, books);
    }

    /// Another site answered, with what it signed at this time, or not in time.
    pub(in crate::federation) fn answered(
        &mut self,
        call: u64,
        answer: Option<(Duration, Answer)>,
        now: Duration,
        books: &mut Books,
    ) {
        let Some(up) = &mut self.up else { return };
        let Some(what) = up.calls.remove(&call) else { return };
        // What a hub said before it lost its memory counts no more.
        let from = match what {
            Call::Line { with } | Call::Digest { with, .. } | Call::Place { with } => with,
            _ => 0,
        };
        let answer = answer.filter(|(signed, _)| hears(up, from, *signed)).map(|(_, answer)| answer);
        let is_genuine = |events: &[Event]| self.is_genuine(events);
        let answer = answer.filter(|answer| !matches!(answer, Answer::Events { events, .. } if !is_genuine(events)));
        let Some(up) = &mut self.up else { return };
        let random = u32::try_from(call.wrapping_mul(2_654_435_761) & 0xffff_ffff).unwrap_or(0);
        match (what, answer) {
            (Call::Submit { first }, Some(Answer::Outcomes(outcomes))) => self.decided_on(first, outcomes, now),
            (Call::Deliver { to, after }, Some(Answer::Taken { upto })) => {
                let outbox = up.outboxes.entry(to).or_default();
                outbox.sent([(Stream::Line(channel()), upto)]);
                // Who takes nothing is not asked to at once again.
                if upto <= after {
                    outbox.failed(now, random);
                }
            }
            (Call::Unsigned { saying }, outcome) => self.decided_on_unsigned(saying, outcome.as_ref(), now, books),
            (Call::Submit { .. }, _) => up.outboxes.entry(0).or_default().failed(now, random),
            (Call::Deliver { to, .. }, _) => up.outboxes.entry(to).or_default().failed(now, random),
            (Call::Fetch, Some(Answer::Events { events, head })) => {
                let input = participant::Input::Received { events, head: Some(head) };
                self.with_member(|member| member.handle(input));
            }
            (Call::Fetch, _) => up.look_at = now + Duration::from_secs(1),
            (Call::Head { member }, Some(Answer::Head(head))) => self.heard_head(member, head, now),
            (Call::Recover { member }, Some(Answer::Events { events, .. })) => {
                let input = hub::Input::Recovered { member: origin_of(member), events };
                self.with_hub(|hub| hub.handle(input, moment(now)));
            }
            (Call::Members, Some(Answer::Members(members))) => up.listed = members,
            (Call::Line { with }, Some(Answer::Line(head, proof))) => {
                proof.into_iter().for_each(|proof| self.passed_on(proof));
                if head.is_none() && with == 0 {
                    self.with_member(participant::State::look);
                }
                head.iter().for_each(|head| self.compared_line(with, head));
            }
            (Call::Digest { with, after, upto }, Some(Answer::Digest(Some(digest)))) => {
                self.compared_digest(with, (after, upto), digest);
            }
            (Call::Place { with }, Some(Answer::Events { events, .. })) => self.compared_place(with, &events),
            _ => {}
        }
        self.perform(now, books);
    }

    /// A member that sees all of the line was given events that it asked for: those, and what it will ask for next, are
    /// not sent to it.
    fn gave(&mut self, to: usize, after: u64, given: &Answer, now: Duration) {
        let Answer::Events { events, head } = given else { return };
        let upto = events.last().map_or(after, |event| event.order.seq);
        let sees_all = |hub: &hub::State| hub.summary().roster.history() == History::All;
        let is_skipped = |up: &&mut Up| matches!(&up.role, Role::Hub(hub) if sees_all(hub));
        let Some(up) = self.up.as_mut().filter(is_skipped) else { return };
        let outbox = up.outboxes.entry(to).or_default();
        outbox.reads(&Stream::Line(channel()), (after, upto), (upto < *head).then_some(now + READ_AGAIN));
    }

    /// What members may see is asked for by who is none.
    fn asked_by_stranger(&mut self, from: usize, request: &Request, now: Duration) {
        let is_for_members = matches!(request, Request::Events { .. } | Request::Line | Request::Members);
        let origin = origin_of(from);
        let is_member = |hub: &hub::State| hub.summary().roster.is_member(&origin);
        let is_stranger = matches!(&self.up, Some(Up { role: Role::Hub(hub), .. }) if !is_member(hub));
        if is_for_members && is_stranger {
            self.with_hub(|hub| hub.handle(hub::Input::Stranger { origin }, moment(now)));
        }
    }

    /// Another site said where its line ends.
    fn heard_head(&mut self, member: usize, head: Option<(u64, EventId, u64)>, now: Duration) {
        let Some(Up { role: Role::Hub(hub), line, .. }) = &mut self.up else { return };
        let origin = origin_of(member);
        let (seq, term) = head.map_or((0, 0), |(seq, _, term)| (seq, term));
        let is_here = |seq: &u64, id: &EventId, term: &u64| {
            line.get(seq).is_some_and(|event| event.authored.id == *id && event.order.term == *term)
        };
        let shown = |(seq, id, term)| hub::Shown { seq, term, is_here: is_here(&seq, &id, &term) };
        let input = if hub.summary().roster.is_member(&origin) {
            hub::Input::Head { member: origin, seq, term }
        } else {
            hub::Input::StrangersHead { origin, shown: head.map(shown) }
        };
        hub.handle(input, moment(now));
        self.deliver_to(member, seq);
    }

    /// The hub decided on own events from this one on.
    fn decided_on(&mut self, first: u64, outcomes: Vec<Outcome>, now: Duration) {
        let is_later = outcomes.iter().any(|outcome| matches!(outcome, Outcome::Later(_)));
        let outcomes = (first..).zip(outcomes).collect();
        self.with_member(|member| member.handle(participant::Input::Decided { outcomes }));
        let decided = self.decided();
        let Some(up) = &mut self.up else { return };
        let outbox = up.outboxes.entry(0).or_default();
        outbox.sent([(Stream::Own(channel()), decided)]);
        if is_later {
            outbox.wait_until(now + Duration::from_millis(500));
        }
    }
}
