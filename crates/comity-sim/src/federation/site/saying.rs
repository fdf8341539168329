//! What a site says: events of applications, and of the channel itself.

use super::*;
use comity_core::federation::roster::Standing;

impl Site {
    /// The hub's first events: the channel, itself, and whom it invites.
    pub(super) fn found(&mut self, now: Duration) {
        let changes = [Change::Created(self.history), Change::Joined].into_iter();
        let is_late = |member: &usize| *member == ODD && self.kind == Kind::Newcomer;
        let guest = (self.kind == Kind::Attested).then_some(GUEST);
        let members = (1..=MEMBERS).filter(|member| !is_late(member)).chain(guest);
        let invited = members.map(|member| Change::Invited(origin_of(member)));
        let events = (1..)
            .zip(changes.chain(invited))
            .map(|(number, change)| Arc::new(self.signed(number, (change.kind(), &change.data()), None, now)));
        let (events, ticket) = (events.collect(), self.ticket(Asker::Nobody));
        self.with_hub(|hub| hub.handle(hub::Input::Submitted { ticket, from: origin_of(0), events }, moment(now)));
    }

    pub(super) fn signed(
        &self,
        author_seq: u64,
        (kind, data): (&str, &Value),
        prev_seen: Option<EventId>,
        now: Duration,
    ) -> Authored {
        let (channel, origin, at) = (channel(), self.origin(), moment(now).wall);
        let author_seq = Some(author_seq);
        let draft = Draft { channel: &channel, kind, origin: &origin, author_seq, at, data, prev_seen, attested: None };
        if self.is_signed {
            return Authored::sign(&self.key, &draft);
        }
        Authored { key: Some(self.node()), signature: Some([0; 64]), ..Authored::attest(&draft) }
    }

    /// Signs a place, where there are signatures: a hub that lies always signs, for that is what proves it.
    pub(super) fn placed(&self, id: EventId, line: (u64, Option<EventId>), of: (Timestamp, u64)) -> Order {
        if self.is_signed || self.kind == Kind::Equivocation {
            return Order::sign(&self.key, (&channel(), id), line, of);
        }
        Order { seq: line.0, prev: line.1, at: of.0, term: of.1, key: self.node(), signature: [0; 64] }
    }

    /// Whether events bear the signatures of the hub and of their authors.
    pub(super) fn is_genuine(&self, events: &[Event]) -> bool {
        let is_own = |authored: &Authored| {
            let key = key_of(number_of(&authored.origin)).node();
            (authored.attested.is_some() || authored.key == Some(key)) && authored.verify().is_ok()
        };
        let is_hubs = |event: &Event| {
            event.order.key == key_of(0).node() && event.order.verify(&channel(), event.authored.id).is_ok()
        };
        !self.is_signed || events.iter().all(|event| is_own(&event.authored) && is_hubs(event))
    }

    /// A hub that lies gives one member another event than all others, and the same ones after it; now and then it
    /// forgets to.
    pub(super) fn lie(&mut self, to: usize, events: &mut [Event]) {
        if self.kind != Kind::Equivocation || self.number != 0 || to != ODD {
            return;
        }
        self.counted += 1;
        let is_lie = |event: &&Event| {
            event.order.seq > 20 && event.authored.kind == "message" && event.authored.origin == origin_of(0)
        };
        let Some(truth) = self.up.as_ref().and_then(|up| up.line.values().find(is_lie).cloned()) else { return };
        if self.counted.is_multiple_of(7) {
            return;
        }
        let (number, at) = (truth.authored.author_seq.unwrap_or(0), Duration::from_millis(truth.authored.at.millis()));
        let lie = self.signed(number, ("message", &json!("a lie")), None, at);
        for event in events.iter_mut().filter(|event| event.order.seq >= truth.order.seq) {
            let (seq, of) = (event.order.seq, (event.order.at, event.order.term));
            if seq == truth.order.seq {
                *event = Event { order: self.placed(lie.id, (seq, event.order.prev), of), authored: lie.clone() };
            } else if seq == truth.order.seq + 1 {
                event.order = self.placed(event.authored.id, (seq, Some(lie.id)), of);
            }
        }
    }

    /// The admin removes a member; whether it is no member.
    pub(in crate::federation) fn remove(&mut self, now: Duration, books: &mut Books) -> bool {
        self.change(&Change::Removed(origin_of(ODD)), now);
        self.perform(now, books);
        matches!(self.standing(), Some(Standing::Removed { .. }))
    }

    /// The admin invites a member that was removed; whether it is one again.
    pub(in crate::federation) fn invite(&mut self, now: Duration, books: &mut Books) -> bool {
        match self.standing() {
            None | Some(Standing::Removed { .. } | Standing::Left { .. }) => {
                self.change(&Change::Invited(origin_of(ODD)), now)
            }
            Some(Standing::Invited) => self.ask(ODD, Call::Invite, Request::Invite),
            _ => {}
        }
        self.perform(now, books);
        matches!(self.standing(), Some(Standing::Joined { .. }))
    }

    fn standing(&self) -> Option<Standing> {
        match &self.up.as_ref()?.role {
            Role::Hub(hub) => hub.summary().roster.standing(&origin_of(ODD)),
            Role::Member(_) => None,
        }
    }

    fn change(&mut self, change: &Change, now: Duration) {
        let ticket = self.ticket(Asker::Nobody);
        let event = Arc::new(self.signed(self.next(), (change.kind(), &change.data()), None, now));
        let input = hub::Input::Submitted { ticket, from: origin_of(0), events: vec![event] };
        self.with_hub(|hub| hub.handle(input, moment(now)));
    }

    /// The number of the hub's own next event.
    fn next(&self) -> u64 {
        match &self.up {
            Some(Up { role: Role::Hub(hub), .. }) => {
                hub.summary().authors.get(&origin_of(0)).map_or(0, |author| author.last) + 1
            }
            _ => 0,
        }
    }

    /// The hub invites this site, perhaps again.
    pub(super) fn invited(&mut self, now: Duration) {
        let Some(Up { role: Role::Member(member), drafts, own, .. }) = &mut self.up else { return };
        member.handle(participant::Input::Invited);
        let summary = member.summary();
        let is_joining = drafts.range(summary.drafts_numbered + 1..).any(|(_, saying)| *saying == JOINING)
            || own.range(summary.decided + 1..).any(|(_, own)| own.kind == Change::Joined.kind());
        if !is_joining {
            self.says(JOINING, now);
        }
    }

    pub(super) fn ticket(&mut self, asker: Asker) -> Ticket {
        self.counted += 1;
        let ticket = Ticket(self.counted);
        if let Some(up) = &mut self.up {
            up.tickets.insert(ticket, asker);
        }
        ticket
    }

    pub(super) fn with_hub(&mut self, what: impl FnOnce(&mut hub::State)) {
        if let Some(Up { role: Role::Hub(hub), .. }) = &mut self.up {
            what(hub);
        }
    }

    pub(super) fn with_member(&mut self, what: impl FnOnce(&mut participant::State)) {
        if let Some(Up { role: Role::Member(member), .. }) = &mut self.up {
            what(member);
        }
    }

    /// An application says something.
    pub(in crate::federation) fn say(&mut self, now: Duration, books: &mut Books) {
        let Some(up) = &self.up else { return };
        // Who was not invited has nothing to say.
        if matches!(&up.role, Role::Member(member) if member.summary().roster.standing(&self.origin()).is_none()) {
            return;
        }
        self.counted += 1;
        let saying = self.number as u64 * 1_000_000 + self.counted;
        if self.speaks_for_guest() {
            self.disk.synced.unsigned.insert(saying, moment(now).wall);
            self.submit_unsigned();
            return self.perform(now, books);
        }
        self.says(saying, now);
        self.perform(now, books);
    }

    /// This member goes.
    pub(in crate::federation) fn leave(&mut self, now: Duration, books: &mut Books) {
        self.says(LEAVING, now);
        self.perform(now, books);
    }

    /// What was said, and is on the disk, but has no place yet.
    pub(in crate::federation) fn waiting(&self) -> (BTreeSet<Saying>, BTreeSet<Saying>) {
        let content = &self.disk.synced;
        let own = content.own.values().filter_map(|own| own.data.as_u64());
        let drafts = content.drafts.range(content.member.drafts_numbered + 1..).map(|(_, saying)| *saying);
        (own.chain(drafts.clone()).collect(), drafts.collect())
    }

    pub(super) fn says(&mut self, saying: Saying, now: Duration) {
        let ticket = self.ticket(Asker::Application(saying));
        let Some(up) = &mut self.up else { return };
        match &mut up.role {
            Role::Member(member) => {
                up.saying.push(saying);
                member.handle(participant::Input::Said { ticket });
            }
            Role::Hub(_) => {
                let event = Arc::new(self.signed(self.next(), ("message", &json!(saying)), None, now));
                let input = hub::Input::Submitted { ticket, from: origin_of(0), events: vec![event] };
                self.with_hub(|hub| hub.handle(input, moment(now)));
            }
        }
    }
}
