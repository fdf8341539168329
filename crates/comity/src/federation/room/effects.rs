//! What becomes of what a channel's rules want done.

use super::*;

/// Own events that were refused, or passed over, and are kept: their numbers are that far behind at most. A hub that
/// lost part of the line judges them anew, and takes none that comes after until it has.
const REFUSED_KEPT: u64 = 1000;

impl Room {
    pub(in crate::federation) fn perform_hub(
        &mut self,
        effects: Vec<hub::Effect>,
        keys: &KeyPair,
        wishes: &mut Vec<Wish>,
    ) {
        let (mut writes, mut last) = (Vec::new(), None);
        for effect in effects {
            match effect {
                hub::Effect::Write { number, what } => {
                    last = Some(number);
                    let event = match what {
                        hub::Write::Place(place) => {
                            let (line, at) = ((place.seq, place.prev), (place.at, place.term));
                            let order = Order::sign(keys, (&self.id, place.authored.id), line, at);
                            Event { authored: Arc::unwrap_or_clone(place.authored), order }
                        }
                        hub::Write::Recovered(event) => *event,
                        hub::Write::Summary => continue,
                    };
                    writes.push(self.placed(event));
                }
                hub::Effect::Answer { ticket, outcomes } => {
                    if let Some(Asker::Submitter(reply)) = self.askers.remove(&ticket) {
                        // Err: whoever submitted has gone, and will again.
                        let _ = reply.send(outcomes);
                    }
                }
                hub::Effect::Ready { seq } => self.shown_upto(seq, wishes),
                hub::Effect::AskHead(member) => wishes.push(Wish::AskHead(member)),
                hub::Effect::Fetch { member, after } => wishes.push(Wish::Recover { member, after }),
            }
        }
        if let (Some(number), Role::Hub(hub)) = (last, &self.role) {
            writes.push(Write::Summary { channel: self.number, text: hub_to_text(hub.summary()) });
            self.write(number, writes, wishes);
        }
    }

    pub(in crate::federation) fn perform_member(
        &mut self,
        effects: Vec<participant::Effect>,
        keys: &KeyPair,
        wishes: &mut Vec<Wish>,
        now: Now,
    ) {
        let (mut writes, mut last, mut is_refused) = (Vec::new(), None, false);
        for effect in effects {
            match effect {
                participant::Effect::Write { number, what } => {
                    last = Some(number);
                    self.member_writes(what, keys, &mut writes, now.wall);
                }
                participant::Effect::Answer { ticket, is_kept } => {
                    if let Some(Asker::Sayer(reply)) = self.askers.remove(&ticket) {
                        let _ = reply.send(is_kept);
                    }
                }
                participant::Effect::Ready { seq } => self.shown_upto(seq, wishes),
                participant::Effect::Outgoing { done, last } => wishes.push(Wish::Outgoing { done, last }),
                participant::Effect::Fetch { after } => wishes.push(Wish::Fetch { after }),
                participant::Effect::Compare(event) => wishes.push(Wish::Check(event.placed())),
                participant::Effect::Parted { .. } => wishes.push(Wish::Compare),
                participant::Effect::Unanswered { ticket } => drop(self.askers.remove(&ticket)),
                participant::Effect::Head { ticket, head } => {
                    if let Some(Asker::Hub(reply)) = self.askers.remove(&ticket) {
                        let last = head.map_or(0, |(seq, ..)| seq);
                        let _ = reply.send(Some(Ends { last, ..self.ends() }));
                    }
                }
                participant::Effect::Fault(fault) => {
                    if matches!(fault, Fault::Broken { .. }) {
                        wishes.push(Wish::Compare);
                    }
                    self.note_fault(fault.to_string());
                }
                participant::Effect::Refused { author_seq, why } => {
                    is_refused = true;
                    self.note_fault(format!("event {author_seq} of this origin was refused: {why}"));
                }
            }
        }
        if let (Some(number), Role::Member(member)) = (last, &self.role) {
            if is_refused || writes.iter().any(|write| matches!(write, Write::OwnSeen { .. })) {
                let upto = member.summary().settled(&self.me).saturating_sub(REFUSED_KEPT);
                writes.push(Write::OwnPast { channel: self.number, upto });
            }
            writes.push(Write::Summary { channel: self.number, text: member_to_text(member.summary()) });
            self.write(number, writes, wishes);
        }
    }

    pub(in crate::federation) fn member_writes(
        &mut self,
        what: participant::Write,
        keys: &KeyPair,
        writes: &mut Vec<Write>,
        now: Timestamp,
    ) {
        match what {
            participant::Write::Event(event) => {
                let seen = event.authored.author_seq.filter(|_| event.authored.origin == self.me);
                if seen.is_some() && Change::of(&event.authored) == Ok(Some(Change::Joined)) {
                    // An older list names who was removed meanwhile.
                    self.forget_list(now);
                }
                writes.push(self.placed(*event));
                writes.extend(seen.map(|author_seq| Write::OwnSeen { channel: self.number, author_seq }));
            }
            participant::Write::Draft { draft } => {
                let saying = self.saying.take().unwrap_or(Saying { kind: String::new(), data: Value::Null, at: now });
                let body = draft_of(&saying.kind, &saying.data, saying.at);
                self.drafts.insert(draft, saying);
                writes.push(Write::Draft { channel: self.number, draft, body });
            }
            participant::Write::Number { draft, author_seq, prev_seen } => {
                let Some(saying) = self.drafts.remove(&draft) else { return };
                let own = Authored::sign(
                    keys,
                    &Draft {
                        channel: &self.id,
                        kind: &saying.kind,
                        origin: &self.me,
                        author_seq: Some(author_seq),
                        at: saying.at,
                        data: &saying.data,
                        prev_seen,
                        attested: None,
                    },
                );
                let body = wire::authored_to_text(&own);
                writes.push(Write::Own { channel: self.number, draft, author_seq, id: own.id, body });
            }
            participant::Write::Withdraw { after } => {
                self.placed.retain(|event| event.order.seq <= after);
                self.news.retain(|event| event.order.seq <= after);
                self.ready = self.ready.min(after);
                self.agreed.clear();
                // Whom the hub listed may be a member by what it has no more.
                self.forget_list(now);
                self.withdrawn = Some(self.withdrawn.map_or(after, |before| before.min(after)));
                writes.push(Write::Withdrawn { channel: self.number, after, me: self.me.clone() });
            }
            participant::Write::Proof(found) => {
                let text = proof::to_value(&found).to_string();
                self.proofs.push(text.clone());
                writes.push(Write::Proof { channel: self.id.clone(), text });
            }
            participant::Write::Summary => {}
        }
    }

    fn forget_list(&mut self, now: Timestamp) {
        self.listed.clear();
        self.listed_from = now;
    }

    /// An event has its place here.
    pub(in crate::federation) fn placed(&mut self, event: Event) -> Write {
        let write = Write::Event {
            channel: self.number,
            seq: event.order.seq,
            id: event.authored.id,
            author: event.authored.origin.clone(),
            author_seq: event.authored.author_seq,
            body: wire::to_text(&event),
        };
        self.placed.push_back(Arc::new(event));
        write
    }

    pub(in crate::federation) fn write(&mut self, number: u64, mut writes: Vec<Write>, wishes: &mut Vec<Wish>) {
        self.written = number;
        if let Some(founding) = self.founding.take() {
            writes.insert(0, founding);
        }
        // How far a member is with its own events is found again: nobody waits for that.
        let is_mark = |write: &Write| matches!(write, Write::Summary { .. } | Write::OwnPast { .. });
        let is_urgent = matches!(self.role, Role::Hub(_)) || !writes.iter().all(is_mark);
        let done = Some(Done::Channel { channel: self.number, upto: number, is_urgent });
        wishes.push(Wish::Write(Batch { writes, done }));
    }

    pub(in crate::federation) fn shown_upto(&mut self, seq: u64, wishes: &mut Vec<Wish>) {
        while let Some(event) = self.placed.pop_front_if(|event| event.order.seq <= seq) {
            self.news.push(event);
        }
        self.ready = self.ready.max(seq);
        wishes.push(Wish::Ready);
    }
}
