//! One channel as this node takes part in it: the rules of its hub or of a member, and what becomes of what they want
//! done. What goes to the disk is gathered here; what goes to others is done in `sending.rs`.

mod effects;

use super::contract::LineEnd;
use crate::store::federation::{Batch, Done, Role as KeptRole, Write, draft_of, hub_to_text, member_to_text};
use comity_core::federation::event::{Draft, Order};
use comity_core::federation::heads::{Agreed, Placed};
use comity_core::federation::hub::{self, Outcome};
use comity_core::federation::participant::{self, Fault, NotKept};
use comity_core::federation::roster::{Change, Roster};
use comity_core::federation::{Authored, ChannelId, Event, EventId, Origin};
use comity_core::id::Ticket;
use comity_core::identity::key::KeyPair;
use comity_core::time::{Now, Timestamp};
use comity_core::wire::federation::event as wire;
use comity_core::wire::federation::proof;
use comity_core::wire::strict;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Faults of a line that are remembered, the latest.
const FAULTS_MAX: usize = 16;

/// Something to be said.
#[derive(Debug, Clone)]
pub(super) struct Saying {
    pub(super) kind: String,
    pub(super) data: Value,
    pub(super) at: Timestamp,
}

/// What the rules of a channel want of the world.
#[derive(Debug)]
pub(super) enum Wish {
    /// Write this.
    Write(Batch),
    /// Events up to this one are on disk: show them, and let those have them who may.
    Ready,
    /// Own events wait for the hub.
    Outgoing { done: u64, last: u64 },
    /// Ask the hub for events after this one.
    Fetch { after: u64 },
    /// Ask a member where its line ends.
    AskHead(Origin),
    /// Compare the line with the hub's: it goes on in a new term, or does not follow.
    Compare,
    /// The hub signed this place, which is taken here: two events in it are proof against it.
    Check(Placed),
    /// Ask a member for events after this one.
    Recover { member: Origin, after: u64 },
    /// The disk took something not: the channel must be opened anew.
    Broken,
}

/// Who waits for an answer of the rules.
#[derive(Debug)]
pub(super) enum Asker {
    /// Somebody who submitted events.
    Submitter(oneshot::Sender<Vec<Outcome>>),
    /// Somebody here who said something.
    Sayer(oneshot::Sender<Result<(), NotKept>>),
    /// The hub, which wants to know where the line ends.
    Hub(oneshot::Sender<Option<Ends>>),
}

/// Where the line of a channel ends here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// The channel's number on disk.
    pub(super) number: u64,
    /// The first event without a gap up to the last.
    pub(super) first: u64,
    /// The last, on disk; 0 for none.
    pub(super) last: u64,
}

/// What a member did with events that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Taken {
    /// Events up to this one are on disk here.
    pub(super) upto: u64,
}

/// The rules.
#[derive(Debug)]
pub(super) enum Role {
    Hub(Box<hub::State>),
    Member(Box<participant::State>),
}

/// A channel.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) id: ChannelId,
    pub(super) number: u64,
    pub(super) role: Role,
    me: Origin,
    askers: HashMap<Ticket, Asker>,
    next_ticket: u64,
    /// Deliveries that are answered when this write is safe.
    owed: VecDeque<(u64, oneshot::Sender<Taken>)>,
    /// The last write.
    written: u64,
    /// What makes the channel be on disk, until it goes there with the first of what is written.
    founding: Option<Write>,
    /// Events up to this one are on disk.
    pub(super) ready: u64,
    /// Events that are on their way there, in order.
    placed: VecDeque<Arc<Event>>,
    /// Events that are there now, and were not shown yet.
    pub(super) news: Vec<Arc<Event>>,
    /// What is to be said and has no number, by its place.
    drafts: BTreeMap<u64, Saying>,
    /// What was just said, until the rules have given it a place.
    saying: Option<Saying>,
    /// What is wrong with the line, the latest last.
    pub(super) faults: VecDeque<String>,
    /// What proves that the hub showed two histories, as it is on disk: the rules keep one of it.
    pub(super) proofs: Vec<String>,
    /// How far each member has the line.
    pub(super) sent: BTreeMap<Origin, u64>,
    /// Whether the hub was asked for events, and did not answer yet.
    pub(super) is_fetching: bool,
    /// When the hub is asked again, and how often that came to nothing.
    pub(super) fetch_again: Option<Duration>,
    pub(super) failures: u32,
    /// Who is to be told that it is invited: when, and how often that came to nothing.
    pub(super) invites: BTreeMap<Origin, (Duration, u32)>,
    /// Who is a member, as the hub said: since which event.
    pub(super) listed: BTreeMap<Origin, u64>,
    /// What the hub is asked for after this time counts for it.
    pub(super) listed_from: Timestamp,
    /// Up to where others had the same, and with whom it was compared last.
    pub(super) agreed: BTreeMap<Origin, Agreed>,
    pub(super) compared: Option<Origin>,
    /// The last event that stayed when some were withdrawn, until those who show events have heard.
    withdrawn: Option<u64>,
    /// Where the line ended when those who show events asked last.
    told_end: Option<u64>,
    /// When the members are asked again for their heads.
    pub(super) ask_again: Option<Duration>,
    /// Since when this hub waits for members.
    pub(super) waits_since: Duration,
    /// Whether it has gone on, since it was opened, without those that it waited for too long.
    pub(super) is_waited_out: bool,
    pub(super) is_broken: bool,
}

impl Room {
    /// A channel with these rules.
    pub(super) fn new(me: Origin, id: ChannelId, number: u64, role: Role) -> Self {
        let ready = match &role {
            Role::Hub(hub) => hub.summary().last.map_or(0, |(seq, _)| seq),
            Role::Member(member) => member.summary().last.map_or(0, |(seq, ..)| seq),
        };
        Self {
            id,
            number,
            role,
            me,
            askers: HashMap::new(),
            next_ticket: 0,
            owed: VecDeque::new(),
            written: 0,
            founding: None,
            ready,
            placed: VecDeque::new(),
            news: Vec::new(),
            drafts: BTreeMap::new(),
            saying: None,
            faults: VecDeque::new(),
            proofs: Vec::new(),
            sent: BTreeMap::new(),
            is_fetching: false,
            fetch_again: None,
            failures: 0,
            invites: BTreeMap::new(),
            listed: BTreeMap::new(),
            listed_from: Timestamp::default(),
            agreed: BTreeMap::new(),
            compared: None,
            withdrawn: None,
            told_end: None,
            ask_again: None,
            waits_since: Duration::ZERO,
            is_waited_out: false,
            is_broken: false,
        }
    }

    /// A channel that is not on disk yet.
    pub(super) fn founded(me: Origin, id: ChannelId, number: u64, role: Role) -> Self {
        let summary = match &role {
            Role::Hub(hub) => hub_to_text(hub.summary()),
            Role::Member(member) => member_to_text(member.summary()),
        };
        let is_hub = matches!(role, Role::Hub(_));
        let founding = Some(Write::Channel { number, id: id.clone(), is_hub, summary });
        Self { founding, ..Self::new(me, id, number, role) }
    }

    /// The rules of a channel from what is on disk.
    pub(super) fn role_of(kept: KeptRole, (id, me): (&ChannelId, &Origin), config: hub::Config) -> Role {
        match kept {
            KeptRole::Hub(summary) => Role::Hub(Box::new(hub::State::restored(config, summary))),
            KeptRole::Member(summary) => {
                Role::Member(Box::new(participant::State::restored(id.clone(), me.clone(), summary)))
            }
        }
    }

    /// What is to be said and has no number yet, as it was kept.
    pub(super) fn set_drafts(&mut self, drafts: BTreeMap<u64, String>) {
        let read = |text: &str| {
            let value: Value = serde_json::from_str(text).ok()?;
            let at = Timestamp::from_millis(value["at"].as_u64()?);
            Some(Saying { kind: value["type"].as_str()?.to_owned(), data: value["data"].clone(), at })
        };
        self.drafts = drafts.into_iter().filter_map(|(draft, text)| Some((draft, read(&text)?))).collect();
    }

    /// Who is a member.
    pub(super) fn roster(&self) -> &Roster {
        match &self.role {
            Role::Hub(hub) => &hub.summary().roster,
            Role::Member(member) => &member.summary().roster,
        }
    }

    /// Where the line ends on disk, if that has changed since this was asked last.
    pub(super) fn changed_end(&mut self) -> Option<LineEnd> {
        let before = self.told_end.replace(self.ready);
        let withdrawn = self.withdrawn.take();
        let is_news = before != Some(self.ready) || withdrawn.is_some();
        is_news.then(|| LineEnd { channel: self.id.clone(), number: self.number, last: self.ready, withdrawn })
    }

    /// The id of the last event that is here, on disk or on its way there, and its number.
    pub(super) fn last(&self) -> Option<(u64, EventId)> {
        match &self.role {
            Role::Hub(hub) => hub.summary().last,
            Role::Member(member) => member.summary().last.map(|(seq, id, _)| (seq, id)),
        }
    }

    /// Whether this origin is, or may be, one that the hub of this channel deals with: one that starts does not know all
    /// of its members yet.
    pub(super) fn may_know(&self, origin: &Origin) -> bool {
        let is_starting = matches!(&self.role, Role::Hub(hub) if hub.unheard().next().is_some());
        is_starting || self.roster().standing(origin).is_some()
    }

    fn ticket(&mut self, asker: Asker) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.askers.insert(ticket, asker);
        ticket
    }

    /// An origin submits events to this hub.
    pub(super) fn submit(
        &mut self,
        from: Origin,
        events: Vec<Arc<Authored>>,
        reply: oneshot::Sender<Vec<Outcome>>,
        now: Now,
    ) {
        let ticket = self.ticket(Asker::Submitter(reply));
        if let Role::Hub(hub) = &mut self.role {
            hub.handle(hub::Input::Submitted { ticket, from, events }, now);
        }
    }

    /// This origin says something on its own channel.
    pub(super) fn say_as_hub(
        &mut self,
        saying: &Saying,
        keys: &KeyPair,
        reply: oneshot::Sender<Vec<Outcome>>,
        now: Now,
    ) -> EventId {
        let (me, channel) = (self.me.clone(), self.id.clone());
        let (number, prev_seen) = match &self.role {
            Role::Hub(hub) => {
                let last = hub.summary().authors.get(&me).map_or(0, |author| author.last);
                (last + 1, hub.summary().last.map(|(_, id)| id))
            }
            Role::Member(_) => (0, None),
        };
        let draft = Draft {
            channel: &channel,
            kind: &saying.kind,
            origin: &me,
            author_seq: Some(number),
            at: saying.at,
            data: &saying.data,
            prev_seen,
            attested: None,
        };
        let authored = Arc::new(Authored::sign(keys, &draft));
        let id = authored.id;
        self.submit(me, vec![authored], reply, now);
        id
    }

    /// This origin says something on another's channel.
    pub(super) fn say_as_member(
        &mut self,
        saying: Saying,
        reply: oneshot::Sender<Result<(), NotKept>>,
        keys: &KeyPair,
        wishes: &mut Vec<Wish>,
        now: Now,
    ) {
        let ticket = self.ticket(Asker::Sayer(reply));
        self.saying = Some(saying);
        self.with_member(|member| member.handle(participant::Input::Said { ticket }));
        self.perform(keys, wishes, now);
        self.saying = None;
    }

    pub(super) fn with_member(&mut self, act: impl FnOnce(&mut participant::State)) {
        if let Role::Member(member) = &mut self.role {
            act(member);
        }
    }

    pub(super) fn with_hub(&mut self, act: impl FnOnce(&mut hub::State)) {
        if let Role::Hub(hub) = &mut self.role {
            act(hub);
        }
    }

    /// Events of the line came; answered when what they change is on disk.
    pub(super) fn deliver(
        &mut self,
        (events, head): (Vec<Event>, Option<u64>),
        reply: Option<oneshot::Sender<Taken>>,
        keys: &KeyPair,
        wishes: &mut Vec<Wish>,
        now: Now,
    ) {
        self.with_member(|member| member.handle(participant::Input::Received { events, head }));
        self.perform(keys, wishes, now);
        let Some(reply) = reply else { return };
        if self.placed.is_empty() {
            // Err: whoever asked has gone.
            let _ = reply.send(Taken { upto: self.ready });
        } else {
            self.owed.push_back((self.written, reply));
        }
    }

    /// What an origin may see: the first event, and the last where there is one.
    pub(super) fn view_of(&self, origin: &Origin) -> Option<(u64, Option<u64>)> {
        match &self.role {
            Role::Hub(hub) => hub.summary().roster.view(origin),
            // Who joined before this origin did is known to it by the hub's list.
            Role::Member(member) => member.view_of(origin, self.listed.get(origin).copied()),
        }
    }

    /// The member, besides the hub, with whose line this one is compared next.
    pub(super) fn next_to_compare(&mut self) -> Option<Origin> {
        let roster = self.roster();
        let members = roster.standings().map(|(origin, _)| origin).filter(|origin| roster.is_member(origin));
        let listed = self.listed.keys().filter(|origin| roster.standing(origin).is_none());
        let mut others: BTreeSet<&Origin> = listed.chain(members).collect();
        others.remove(&self.me);
        others.remove(self.id.hub());
        let after = self.compared.as_ref().and_then(|last| others.iter().find(|other| **other > last));
        let next = after.or_else(|| others.first()).map(|next| (*next).clone());
        self.compared.clone_from(&next);
        next
    }

    /// What is here without a gap, on disk.
    pub(super) fn ends(&self) -> Ends {
        let first = match &self.role {
            Role::Hub(_) => 1,
            Role::Member(member) => member.summary().roster.view(&self.me).map_or(1, |(first, _)| first),
        };
        Ends { number: self.number, first, last: self.ready }
    }

    /// The hub asks where the line ends, in a request that it signed at this time.
    pub(super) fn head_asked(
        &mut self,
        signed: Timestamp,
        reply: oneshot::Sender<Option<Ends>>,
        keys: &KeyPair,
        wishes: &mut Vec<Wish>,
        now: Now,
    ) {
        let ticket = self.ticket(Asker::Hub(reply));
        self.with_member(|member| member.handle(participant::Input::HeadAsked { ticket, signed }));
        self.perform(keys, wishes, now);
    }

    /// The disk has, or has not, what was written up to here.
    pub(super) fn stored(&mut self, upto: u64, is_safe: bool, keys: &KeyPair, wishes: &mut Vec<Wish>, now: Now) {
        match (&mut self.role, is_safe) {
            (Role::Hub(hub), true) => hub.handle(hub::Input::Stored { upto }, now),
            (Role::Hub(hub), false) => hub.handle(hub::Input::NotStored, now),
            (Role::Member(member), true) => member.handle(participant::Input::Stored { upto }),
            (Role::Member(member), false) => member.handle(participant::Input::NotStored),
        }
        self.perform(keys, wishes, now);
        if !is_safe {
            self.owed.clear();
            self.is_broken = true;
            wishes.push(Wish::Broken);
            return;
        }
        while let Some((_, reply)) = self.owed.pop_front_if(|(write, _)| *write <= upto) {
            let _ = reply.send(Taken { upto: self.ready });
        }
    }

    /// Does what the rules want done: writes are gathered, answers given, the rest is wished for.
    pub(super) fn perform(&mut self, keys: &KeyPair, wishes: &mut Vec<Wish>, now: Now) {
        match &mut self.role {
            Role::Hub(hub) => {
                let effects: Vec<_> = hub.effects().collect();
                self.perform_hub(effects, keys, wishes);
            }
            Role::Member(member) => {
                let effects: Vec<_> = member.effects().collect();
                self.perform_member(effects, keys, wishes, now);
            }
        }
    }

    /// Remembers that something is wrong, and says so loudly; once.
    pub(super) fn note_fault(&mut self, sentence: String) {
        if self.faults.contains(&sentence) {
            return;
        }
        tracing::warn!(channel = %self.id, "{sentence}");
        if self.faults.len() == FAULTS_MAX {
            self.faults.pop_front();
        }
        self.faults.push_back(sentence);
    }

    /// What proves that the hub showed two histories is on disk since an earlier start.
    pub(super) fn remember_proof(&mut self, text: String) {
        let value = strict::parse(text.as_bytes()).ok();
        if let Some(proof) = value.and_then(|value| proof::read(&value).ok()) {
            let (seq, term) = proof.place();
            self.note_fault(Fault::Equivocation { seq, term }.to_string());
            self.proofs.push(text);
        }
    }

    /// How many own events wait for the hub.
    pub(super) fn waiting(&self) -> u64 {
        match &self.role {
            Role::Hub(_) => 0,
            Role::Member(member) => {
                let summary = member.summary();
                (summary.drafts - summary.drafts_numbered) + (summary.numbered - summary.decided.min(summary.numbered))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::federation::roster::History;

    #[test]
    fn a_channel_and_its_first_events_go_to_the_disk_together() {
        let (me, keys): (Origin, _) = ("hub.test".parse().expect("an origin"), KeyPair::from_seed([1; 32]));
        let channel: ChannelId = "!a:hub.test".parse().expect("a channel");
        let config = hub::Config { channel: channel.clone(), per_second: 9, bytes_max: 1 << 20 };
        let mut room = Room::founded(me, channel, 7, Role::Hub(Box::new(hub::State::new(config))));
        let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(0) };
        let mut answers = Vec::new();
        for change in [Change::Created(History::FromJoining), Change::Joined] {
            let saying = Saying { kind: change.kind().to_owned(), data: change.data(), at: now.wall };
            let (reply, answer) = oneshot::channel();
            room.say_as_hub(&saying, &keys, reply, now);
            answers.push(answer);
        }
        let mut wishes = Vec::new();
        room.perform(&keys, &mut wishes, now);
        let [Wish::Write(Batch { writes, done: Some(Done::Channel { channel: 7, upto, is_urgent: true }) })] =
            &wishes[..]
        else {
            panic!("{wishes:?}")
        };
        let [Write::Channel { number: 7, is_hub: true, .. }, Write::Event { seq: 1, .. }, ..] = &writes[..] else {
            panic!("{writes:?}")
        };
        assert!(answers.iter_mut().all(|answer| answer.try_recv().is_err()), "it is not on disk");
        room.stored(*upto, true, &keys, &mut Vec::new(), now);
        assert!(answers.iter_mut().all(|answer| answer.try_recv() == Ok(vec![Outcome::Taken])));
    }
}
