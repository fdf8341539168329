//! What a site does with what its rules want done.

use super::*;
use comity_core::federation::participant::Fault;

impl Site {
    pub(super) fn perform_hub(&mut self, effects: Vec<hub::Effect>, now: Duration, books: &mut Books) -> bool {
        let is_done = effects.is_empty();
        let (mut entries, mut last) = (Vec::new(), None);
        for effect in effects {
            match effect {
                hub::Effect::Write { number, what } => {
                    last = Some(number);
                    let event = match what {
                        hub::Write::Place(place) => {
                            let (at, line) = ((place.at, place.term), (place.seq, place.prev));
                            let order = self.placed(place.authored.id, line, at);
                            Event { authored: Authored::clone(&place.authored), order }
                        }
                        hub::Write::Recovered(event) => *event,
                        hub::Write::Summary => continue,
                    };
                    let Some(up) = &mut self.up else { return true };
                    up.line.insert(event.order.seq, event.clone());
                    entries.push(Entry::Event(Box::new(event)));
                }
                hub::Effect::Answer { ticket, outcomes } => {
                    let Some(up) = &mut self.up else { return true };
                    match up.tickets.remove(&ticket) {
                        Some(Asker::Remote { to, start, call }) => {
                            self.wishes.push(Wish::Answer { to, start, call, answer: Answer::Outcomes(outcomes) });
                        }
                        Some(Asker::Application(saying)) => match outcomes.first() {
                            Some(Outcome::Taken) => books.kept(self.number, saying),
                            Some(Outcome::Later(_)) => up.unsaid.push(saying),
                            _ => books.blame(format!("the hub refused its own {saying}")),
                        },
                        _ => {}
                    }
                }
                hub::Effect::Ready { seq } => {
                    let Some(up) = &mut self.up else { return true };
                    up.line
                        .range(up.ready + 1..(seq + 1).max(up.ready + 1))
                        .for_each(|(_, event)| books.shown(self.number, event));
                    up.ready = up.ready.max(seq);
                    for member in 1..=MEMBERS {
                        let outbox = self.up.as_ref().and_then(|up| up.outboxes.get(&member));
                        let has = outbox.and_then(|outbox| outbox.done(&Stream::Line(channel())));
                        self.deliver_to(member, has.unwrap_or(0));
                    }
                }
                hub::Effect::AskHead(member) if number_of(&member) == GUEST => {
                    self.with_hub(|hub| hub.handle(hub::Input::Head { member, seq: 0, term: 0 }, moment(now)));
                }
                hub::Effect::AskHead(member) => {
                    let member = number_of(&member);
                    self.ask(member, Call::Head { member }, Request::Head);
                }
                hub::Effect::Fetch { member, after } => {
                    let member = number_of(&member);
                    self.ask(member, Call::Recover { member }, Request::Events { after, limit: PAGE });
                }
            }
        }
        if let (Some(number), Some(Up { role: Role::Hub(hub), written, .. })) = (last, &mut self.up) {
            *written = number;
            self.disk.write(number, entries, (Some(hub.summary().clone()), None));
            if self.plant == Plant::EarlyAcknowledgement {
                hub.handle(hub::Input::Stored { upto: number }, moment(now));
            }
        }
        is_done
    }

    pub(super) fn perform_member(
        &mut self,
        effects: Vec<participant::Effect>,
        now: Duration,
        books: &mut Books,
    ) -> bool {
        let is_done = effects.is_empty();
        let (mut entries, mut last, mut again) = (Vec::new(), None, false);
        for effect in effects {
            match effect {
                participant::Effect::Write { number, what } => {
                    last = Some(number);
                    entries.extend(self.entry(what, now));
                }
                participant::Effect::Answer { ticket, is_kept } => {
                    let Some(up) = &mut self.up else { return true };
                    match (is_kept, up.tickets.remove(&ticket)) {
                        (Ok(()), Some(Asker::Application(saying))) if ![JOINING, LEAVING].contains(&saying) => {
                            books.kept(self.number, saying);
                        }
                        (Err(_), Some(Asker::Application(saying))) => up.saying.retain(|waiting| *waiting != saying),
                        _ => {}
                    }
                }
                participant::Effect::Ready { seq } => {
                    let Some(up) = &mut self.up else { return true };
                    up.line
                        .range(up.ready + 1..(seq + 1).max(up.ready + 1))
                        .for_each(|(_, event)| books.shown(self.number, event));
                    up.ready = up.ready.max(seq);
                }
                participant::Effect::Outgoing { done, last } => {
                    let Some(up) = &mut self.up else { return true };
                    let outbox = up.outboxes.entry(0).or_default();
                    outbox.put(Stream::Own(channel()), done, last);
                    outbox.rewind(&Stream::Own(channel()), done);
                }
                participant::Effect::Fetch { after } => {
                    self.ask(0, Call::Fetch, Request::Events { after, limit: PAGE });
                }
                participant::Effect::Compare(event) => {
                    let mine = self.up.as_ref().and_then(|up| up.line.get(&event.order.seq)).map(Event::placed);
                    let proof = mine.and_then(|mine| Proof::of(&channel(), &mine, &event.placed()).ok());
                    if let Some(proof) = proof {
                        self.with_member(|member| member.handle(participant::Input::Proven(Box::new(proof))));
                        again = true;
                    }
                }
                participant::Effect::Parted { .. } => self.compare_terms(),
                participant::Effect::Unanswered { ticket } => {
                    self.up.as_mut().and_then(|up| up.tickets.remove(&ticket));
                }
                participant::Effect::Head { ticket, head } => {
                    let asker = self.up.as_mut().and_then(|up| up.tickets.remove(&ticket));
                    if let Some(Asker::Remote { to, start, call }) = asker {
                        self.wishes.push(Wish::Answer { to, start, call, answer: Answer::Head(head) });
                    }
                }
                participant::Effect::Fault(fault) => self.faulted(&fault, books),
                participant::Effect::Refused { author_seq, why } => {
                    self.refused(author_seq, &why.to_string(), books);
                }
            }
        }
        if let (Some(number), Some(Up { role: Role::Member(member), written, .. })) = (last, &mut self.up) {
            *written = number;
            self.disk.write(number, entries, (None, Some(member.summary().clone())));
        }
        is_done && !again
    }

    /// A person is told that something is wrong.
    fn faulted(&mut self, fault: &Fault, books: &mut Books) {
        books.told(self.number, fault);
        // The hub's answer was lost: this is how the refusal is heard of.
        if let Fault::Withheld { author, after, before } = fault
            && *author == self.origin()
        {
            (*after..=*before).for_each(|number| self.refused(number, "passed over", books));
        }
        if matches!(fault, Fault::Broken { .. }) {
            self.compare_terms();
        }
    }

    /// An application is told that its event has no place.
    fn refused(&self, author_seq: u64, why: &str, books: &mut Books) {
        let own = self.up.as_ref().and_then(|up| up.own.get(&author_seq));
        if let Some(saying) = own.and_then(|own| own.data.as_u64()) {
            books.refused(self.number, saying, why);
        }
    }

    fn entry(&mut self, what: participant::Write, now: Duration) -> Option<Entry> {
        match what {
            participant::Write::Event(event) => {
                let me = origin_of(self.number);
                let up = self.up.as_mut()?;
                up.line.insert(event.order.seq, Event::clone(&event));
                if event.authored.origin == me && event.authored.kind == Change::Joined.kind() {
                    up.listed.clear();
                }
                Some(Entry::Event(event))
            }
            participant::Write::Draft { draft } => {
                let up = self.up.as_mut()?;
                let saying = up.saying.remove(0);
                up.drafts.insert(draft, saying);
                Some(Entry::Draft(draft, saying))
            }
            participant::Write::Number { draft, author_seq, prev_seen } => {
                let saying = *self.up.as_ref()?.drafts.get(&draft)?;
                let (kind, data) = match saying {
                    JOINING => (Change::Joined.kind(), Change::Joined.data()),
                    LEAVING => (Change::Left.kind(), Change::Left.data()),
                    _ => ("message", json!(saying)),
                };
                let own = self.signed(author_seq, (kind, &data), prev_seen, now);
                self.up.as_mut()?.own.insert(author_seq, Arc::new(own.clone()));
                Some(Entry::Own(Box::new(own)))
            }
            participant::Write::Withdraw { after } => {
                let up = self.up.as_mut()?;
                let withdrawn = up.line.split_off(&(after + 1));
                up.ready = up.ready.min(after);
                up.agreed.clear();
                let me = origin_of(self.number);
                for event in withdrawn.into_values().filter(|event| event.authored.origin == me) {
                    up.own.entry(event.authored.author_seq.unwrap_or(0)).or_insert_with(|| Arc::new(event.authored));
                }
                Some(Entry::Withdraw(after))
            }
            participant::Write::Proof(proof) => Some(Entry::Proof(proof)),
            participant::Write::Summary => None,
        }
    }
}
