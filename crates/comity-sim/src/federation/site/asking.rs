//! What a site is asked by others, and what they answer it.

use super::*;

impl Site {
    /// Another site asks.
    pub(in crate::federation) fn asked(
        &mut self,
        from: usize,
        start: u64,
        call: u64,
        request: Request,
        now: Duration,
        books: &mut Books,
    ) {
        let answer = |answer| Wish::Answer { to: from, start, call, answer };
        match request {
            Request::Submit(events) => {
                let ticket = self.ticket(Asker::Remote { to: from, start, call });
                let input = hub::Input::Submitted { ticket, from: origin_of(from), events };
                self.with_hub(|hub| hub.handle(input, moment(now)));
            }
            Request::Deliver { start: of, events } => {
                if of < self.heads_asked_in {
                    self.wishes.push(answer(Answer::Refused));
                    return;
                }
                self.with_member(|member| member.handle(participant::Input::Received { events, head: None }));
                self.perform(now, books);
                let Some(up) = &mut self.up else { return };
                if self.disk.is_clean() {
                    self.wishes.push(answer(Answer::Taken { upto: up.ready }));
                } else {
                    up.owed.push((up.written, from, start, call));
                }
            }
            Request::Events { after } => {
                let events = self.page(from, after);
                self.wishes.push(answer(events));
            }
            Request::Head { start: of } => {
                let Some(up) = &mut self.up else { return };
                self.heads_asked_in = self.heads_asked_in.max(of);
                // With what is on its way to the disk: it is taken, unless this site is killed.
                let end = up.line.keys().last().copied().unwrap_or(0);
                self.wishes.push(answer(Answer::Head(end)));
            }
        }
        self.perform(now, books);
    }

    /// Events for another site, of those it may see.
    fn page(&self, to: usize, after: u64) -> Answer {
        let Some(up) = &self.up else { return Answer::Refused };
        let (first, last) = match &up.role {
            Role::Hub(hub) => match hub.summary().roster.view(&origin_of(to)) {
                Some((first, until)) => (first, until.unwrap_or(up.ready).min(up.ready)),
                None => (1, 0),
            },
            Role::Member(_) => (1, up.line.keys().last().copied().unwrap_or(0)),
        };
        let events: Vec<Event> = up
            .line
            .values()
            .filter(|event| (first.max(after + 1)..=last).contains(&event.order.seq))
            .take(PAGE)
            .cloned()
            .collect();
        Answer::Events { start: self.start, events, head: last }
    }

    /// Another site answered, or not in time.
    pub(in crate::federation) fn answered(
        &mut self,
        call: u64,
        answer: Option<Answer>,
        now: Duration,
        books: &mut Books,
    ) {
        let Some(up) = &mut self.up else { return };
        let Some(what) = up.calls.remove(&call) else { return };
        let random = u32::try_from(call.wrapping_mul(2_654_435_761) & 0xffff_ffff).unwrap_or(0);
        match (what, answer) {
            (Call::Submit { first }, Some(Answer::Outcomes(outcomes))) => {
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
            (Call::Deliver { to }, Some(Answer::Taken { upto })) => {
                up.outboxes.entry(to).or_default().sent([(Stream::Line(channel()), upto)]);
            }
            (Call::Submit { .. }, _) => up.outboxes.entry(0).or_default().failed(now, random),
            (Call::Deliver { to }, _) => up.outboxes.entry(to).or_default().failed(now, random),
            // What a hub said before it lost its memory counts no more.
            (Call::Fetch, Some(Answer::Events { start, events, head })) if start >= self.heads_asked_in => {
                let input = participant::Input::Received { events, head: Some(head) };
                self.with_member(|member| member.handle(input));
            }
            (Call::Fetch, _) => up.look_at = now + Duration::from_secs(1),
            (Call::Head { member }, Some(Answer::Head(seq))) => {
                self.with_hub(|hub| hub.handle(hub::Input::Head { member: origin_of(member), seq }, moment(now)));
                self.deliver_to(member, seq);
            }
            (Call::Recover { member }, Some(Answer::Events { events, .. })) => {
                let input = hub::Input::Recovered { member: origin_of(member), events };
                self.with_hub(|hub| hub.handle(input, moment(now)));
            }
            (Call::Head { .. } | Call::Recover { .. }, _) => {}
        }
        self.perform(now, books);
    }
}
