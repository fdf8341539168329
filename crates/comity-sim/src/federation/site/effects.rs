//! What a site does with what its rules want done.

use super::*;

impl Site {
    pub(super) fn perform_hub(&mut self, effects: Vec<hub::Effect>, now: Duration, books: &mut Books) -> bool {
        let is_done = effects.is_empty();
        let (mut entries, mut last) = (Vec::new(), None);
        let key = self.key();
        for effect in effects {
            let Some(up) = &mut self.up else { return true };
            match effect {
                hub::Effect::Write { number, what } => {
                    last = Some(number);
                    let event = match what {
                        hub::Write::Place(place) => {
                            let (at, line) = ((place.at, place.term), (place.seq, place.prev));
                            let order = Order::sign(&key, (&channel(), place.authored.id), line, at);
                            Event { authored: Authored::clone(&place.authored), order }
                        }
                        hub::Write::Recovered(event) => *event,
                        hub::Write::Summary => continue,
                    };
                    up.line.insert(event.order.seq, event.clone());
                    entries.push(Entry::Event(Box::new(event)));
                }
                hub::Effect::Answer { ticket, outcomes } => match up.tickets.remove(&ticket) {
                    Some(Asker::Remote { to, start, call }) => {
                        self.wishes.push(Wish::Answer { to, start, call, answer: Answer::Outcomes(outcomes) });
                    }
                    Some(Asker::Application(saying)) if outcomes == [Outcome::Taken] => books.kept(self.number, saying),
                    _ => {}
                },
                hub::Effect::Ready { seq } => {
                    up.line.range(up.ready + 1..=seq).for_each(|(_, event)| books.shown(self.number, event));
                    up.ready = up.ready.max(seq);
                    for member in 1..=MEMBERS {
                        let outbox = self.up.as_ref().and_then(|up| up.outboxes.get(&member));
                        let has = outbox.and_then(|outbox| outbox.done(&Stream::Line(channel())));
                        self.deliver_to(member, has.unwrap_or(0));
                    }
                }
                hub::Effect::AskHead(member) => {
                    let member = number_of(&member);
                    self.ask(member, Call::Head { member }, Request::Head { start: self.start });
                }
                hub::Effect::Fetch { member, after } => {
                    let member = number_of(&member);
                    self.ask(member, Call::Recover { member }, Request::Events { after });
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
        let (mut entries, mut last) = (Vec::new(), None);
        for effect in effects {
            match effect {
                participant::Effect::Write { number, what } => {
                    last = Some(number);
                    entries.extend(self.entry(what, now));
                }
                participant::Effect::Answer { ticket, is_kept } => {
                    let asker = self.up.as_mut().and_then(|up| up.tickets.remove(&ticket));
                    if let (Ok(()), Some(Asker::Application(saying))) = (is_kept, asker)
                        && saying != JOINING
                    {
                        books.kept(self.number, saying);
                    }
                }
                participant::Effect::Ready { seq } => {
                    let Some(up) = &mut self.up else { return true };
                    up.line.range(up.ready + 1..=seq).for_each(|(_, event)| books.shown(self.number, event));
                    up.ready = up.ready.max(seq);
                }
                participant::Effect::Outgoing { done, last } => {
                    let Some(up) = &mut self.up else { return true };
                    let outbox = up.outboxes.entry(0).or_default();
                    outbox.put(Stream::Own(channel()), done, last);
                    outbox.rewind(&Stream::Own(channel()), done);
                }
                participant::Effect::Fetch { after } => self.ask(0, Call::Fetch, Request::Events { after }),
                participant::Effect::Compare(event) => {
                    let known = self.up.as_ref().and_then(|up| up.line.get(&event.order.seq));
                    if known.is_some_and(|known| known.authored.id != event.authored.id) {
                        books.blame(format!("site {} was shown two events {}", self.number, event.order.seq));
                    }
                }
                participant::Effect::Fault(fault) => books.blame(format!("site {}: {fault}", self.number)),
                participant::Effect::Refused { author_seq, why } => {
                    books.blame(format!("site {}: event {author_seq} was refused: {why}", self.number));
                }
            }
        }
        if let (Some(number), Some(Up { role: Role::Member(member), written, .. })) = (last, &mut self.up) {
            *written = number;
            self.disk.write(number, entries, (None, Some(member.summary().clone())));
        }
        is_done
    }

    fn entry(&mut self, what: participant::Write, now: Duration) -> Option<Entry> {
        match what {
            participant::Write::Event(event) => {
                self.up.as_mut()?.line.insert(event.order.seq, Event::clone(&event));
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
                let joined = Change::Joined;
                let (kind, data) =
                    if saying == JOINING { (joined.kind(), joined.data()) } else { ("message", json!(saying)) };
                let own = self.signed(author_seq, kind, &data, prev_seen, now);
                self.up.as_mut()?.own.insert(author_seq, Arc::new(own.clone()));
                Some(Entry::Own(Box::new(own)))
            }
            participant::Write::Summary => None,
        }
    }
}
