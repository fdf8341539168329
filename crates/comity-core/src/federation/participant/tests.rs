//! One member, told by hand: what it takes of the line, and how it says what it has to say.

use super::*;
use crate::federation::event::{Authored, Draft, Order};
use crate::federation::heads::{Agreed, Proof};
use crate::federation::hub::{Delay, Refusal};
use crate::federation::roster::{Forbidden, MEMBERS_MAX};
use crate::identity::key::KeyPair;
use crate::time::Timestamp;
use serde_json::json;

const TICKET: Ticket = Ticket(1);

fn origin(name: &str) -> Origin {
    format!("{name}.test").parse().expect("an origin")
}

fn channel() -> ChannelId {
    "!a:hub.test".parse().expect("a channel")
}

/// A hub's line, as it is signed.
struct Line {
    events: Vec<Event>,
    term: u64,
    /// The hub's clock.
    at: Timestamp,
}

impl Default for Line {
    fn default() -> Self {
        Self { events: Vec::new(), term: 1, at: Timestamp::from_millis(0) }
    }
}

impl Line {
    fn add(&mut self, author: &str, author_seq: u64, change: Option<&Change>) -> Event {
        let (channel, origin, at) = (channel(), origin(author), Timestamp::from_millis(0));
        let data = change.map_or_else(|| json!(author_seq), Change::data);
        let draft = Draft {
            channel: &channel,
            kind: change.map_or("message", Change::kind),
            origin: &origin,
            author_seq: Some(author_seq),
            at,
            data: &data,
            prev_seen: None,
            attested: None,
        };
        self.give_place(Authored::sign(&KeyPair::from_seed([1; 32]), &draft))
    }

    /// What the hub says an origin has said.
    fn attest(&mut self, author: &str, change: Option<&Change>) -> Event {
        let (channel, origin, at) = (channel(), origin(author), Timestamp::from_millis(0));
        let data = change.map_or_else(|| json!("said"), Change::data);
        let draft = Draft {
            channel: &channel,
            kind: change.map_or("message", Change::kind),
            origin: &origin,
            author_seq: None,
            at,
            data: &data,
            prev_seen: None,
            attested: Some("1"),
        };
        self.give_place(Authored::attest(&draft))
    }

    fn give_place(&mut self, authored: Authored) -> Event {
        let channel = channel();
        let (seq, prev) = (self.events.len() as u64 + 1, self.events.last().map(|last| last.authored.id));
        let of = (self.at, self.term);
        let order = Order::sign(&KeyPair::from_seed([2; 32]), (&channel, authored.id), (seq, prev), of);
        self.events.push(Event { authored, order });
        self.events[self.events.len() - 1].clone()
    }

    /// What an origin sees of a channel that it joined: from its joining on, event 3.
    fn joined() -> Self {
        let mut line = Self::default();
        line.add("hub", 1, Some(&Change::Joined));
        line.add("hub", 2, Some(&Change::Invited(origin("me"))));
        line.add("me", 1, Some(&Change::Joined));
        line
    }
}

struct World {
    member: State,
    line: Line,
    writes: u64,
    effects: Vec<Effect>,
}

impl World {
    /// A member that has seen its own joining, and knows that the hub has no more.
    fn new() -> Self {
        let member = State::restored(channel(), origin("me"), Summary::default());
        let mut world = Self { member, line: Line::joined(), writes: 0, effects: Vec::new() };
        assert_eq!(world.look(), [Effect::Fetch { after: 0 }]);
        let joined = world.line.events[2].clone();
        world.tell(Input::Invited);
        world.tell(Input::Received { events: vec![joined], head: Some(3) });
        assert_eq!(world.store(), [Effect::Ready { seq: 3 }]);
        world
    }

    fn look(&mut self) -> Vec<Effect> {
        self.effects.extend(self.member.effects());
        for effect in &self.effects {
            if let Effect::Write { number, .. } = effect {
                self.writes = *number;
            }
        }
        std::mem::take(&mut self.effects)
    }

    fn tell(&mut self, input: Input) -> Vec<Effect> {
        self.member.handle(input);
        self.look()
    }

    fn store(&mut self) -> Vec<Effect> {
        self.tell(Input::Stored { upto: self.writes })
    }

    fn received(&mut self, events: Vec<Event>) -> Vec<Effect> {
        let effects = self.tell(Input::Received { events, head: None });
        effects.into_iter().filter(|effect| !matches!(effect, Effect::Write { .. })).collect()
    }

    fn seen(&self) -> u64 {
        self.member.summary().last.map_or(0, |(seq, ..)| seq)
    }
}

#[test]
fn the_line_is_taken_in_its_order_and_shown_when_it_is_on_disk() {
    let mut world = World::new();
    let [four, five, six] = [4, 5, 6].map(|number| world.line.add("hub", number - 1, None));
    assert_eq!(world.received(vec![four.clone()]), []);
    assert_eq!(world.received(vec![six]), [Effect::Fetch { after: 4 }]);
    assert_eq!(world.received(vec![four.clone(), five]), [Effect::Compare(Box::new(four))]);
    assert_eq!((world.seen(), world.store()), (5, vec![Effect::Ready { seq: 5 }]));
}

#[test]
fn what_does_not_follow_is_a_fault_and_not_taken() {
    let mut world = World::new();
    let mut other = Line::joined();
    other.add("hub", 3, None);
    let four = world.line.add("hub", 3, Some(&Change::Topic("x".to_owned())));
    world.received(vec![four]);
    let five = other.add("hub", 4, None);
    assert_eq!(world.received(vec![five]), [Effect::Fault(Fault::Broken { seq: 5 })]);
    assert_eq!(world.seen(), 4);
}

#[test]
fn a_hub_that_has_more_and_gives_nothing_that_follows_is_asked_again_in_a_while() {
    let mut world = World::new();
    let [_, five] = [4, 5].map(|number| world.line.add("hub", number - 1, None));
    let answered = |world: &mut World| world.tell(Input::Received { events: vec![five.clone()], head: Some(5) });
    assert_eq!(world.received(vec![five.clone()]), [Effect::Fetch { after: 3 }]);
    for _ in 1..FRUITLESS_MAX {
        assert_eq!(answered(&mut world), [Effect::Fetch { after: 3 }]);
    }
    assert_eq!(answered(&mut world), []);
    world.member.look();
    assert_eq!(world.look(), [Effect::Fetch { after: 3 }]);
}

#[test]
fn a_gap_in_what_an_author_says_is_shown_and_the_line_goes_on() {
    let mut world = World::new();
    let (four, five) = (world.line.add("ann", 4, None), world.line.add("ann", 7, None));
    let withheld = Fault::Withheld { author: origin("ann"), after: 5, before: 6 };
    assert_eq!(world.received(vec![four, five]), [Effect::Fault(withheld)]);
    assert_eq!(world.seen(), 5);
}

/// A member that sees all of a channel, and has none of it yet.
fn newcomer() -> World {
    let member = State::restored(channel(), origin("me"), Summary::default());
    let mut world = World { member, line: Line::default(), writes: 0, effects: Vec::new() };
    world.look();
    world.tell(Input::Invited);
    world
}

/// The same, that has said that it joins: its joining is on its way to the hub.
fn joining() -> World {
    let mut world = newcomer();
    world.tell(Input::Received { events: Vec::new(), head: Some(0) });
    world.tell(Input::Said { ticket: TICKET });
    world.store();
    world
}

#[test]
fn who_has_joined_reads_what_was_said_before_and_is_not_disturbed_by_what_is_sent_meanwhile() {
    let mut world = joining();
    let taken = world.tell(Input::Decided { outcomes: vec![(1, Outcome::Taken)] });
    assert_eq!(taken.last(), Some(&Effect::Fetch { after: 0 }));
    let created = world.line.add("hub", 1, Some(&Change::Created(History::All)));
    let [two, three, four] = [2, 3, 4].map(|number| world.line.add("hub", number, None));
    assert_eq!(world.received(vec![created.clone()]), []);
    assert_eq!(world.received(vec![three.clone()]), [], "it is asked for already");
    let next = world.tell(Input::Received { events: vec![created, two, three], head: Some(4) });
    assert_eq!(next.last(), Some(&Effect::Fetch { after: 3 }));
    let end = world.tell(Input::Received { events: vec![four], head: Some(4) });
    assert!(!end.iter().any(|effect| matches!(effect, Effect::Fetch { .. })));
    assert_eq!(world.seen(), 4);
}

#[test]
fn a_hub_that_takes_and_shows_nothing_is_asked_again_in_a_while() {
    let mut world = joining();
    let mut asked = 0;
    for _ in 0..10 {
        let taken = world.tell(Input::Decided { outcomes: vec![(1, Outcome::Taken)] });
        if taken.contains(&Effect::Fetch { after: 0 }) {
            asked += 1;
            world.tell(Input::Received { events: Vec::new(), head: Some(0) });
        }
    }
    assert_eq!(asked, FRUITLESS_MAX);
    assert!(!world.member.is_settled());
    world.member.look();
    assert_eq!(world.look(), [Effect::Fetch { after: 0 }]);
}

#[test]
fn nothing_is_before_the_first_event() {
    let mut world = newcomer();
    let mut first = world.line.add("hub", 1, Some(&Change::Created(History::All)));
    first.order.prev = Some(first.authored.id);
    assert_eq!(world.received(vec![first]), [Effect::Fault(Fault::Broken { seq: 1 })]);
    assert_eq!(world.seen(), 0);
}

#[test]
fn a_gap_across_joining_is_shown_where_all_of_the_line_is_seen() {
    let mut world = newcomer();
    let created = world.line.add("hub", 1, Some(&Change::Created(History::All)));
    let joined = world.line.add("me", 1, Some(&Change::Joined));
    let later = world.line.add("hub", 3, None);
    let withheld = Fault::Withheld { author: origin("hub"), after: 2, before: 2 };
    assert_eq!(world.received(vec![created, joined, later]), [Effect::Fault(withheld)]);
}

#[test]
fn who_was_removed_sees_no_more_until_it_joins_again() {
    let mut world = World::new();
    let removed = world.line.add("hub", 3, Some(&Change::Removed(origin("me"))));
    let later = world.line.add("hub", 4, None);
    let fault = Effect::Fault(Fault::NotMember { seq: 5 });
    assert_eq!(world.received(vec![removed, later]), [fault]);
    let refused = world.tell(Input::Said { ticket: TICKET });
    assert_eq!(refused, [Effect::Answer { ticket: TICKET, is_kept: Err(NotKept::NotMember) }]);
    world.line.add("hub", 5, Some(&Change::Invited(origin("me"))));
    world.tell(Input::Invited);
    let joined = world.line.add("me", 2, Some(&Change::Joined));
    assert_eq!(world.received(vec![joined]), []);
    let next = world.line.add("hub", 6, None);
    assert_eq!((world.received(vec![next]), world.seen()), (vec![], 8));
}

#[test]
fn who_left_asks_what_is_between_when_the_hub_goes_on_with_it_in_a_new_term() {
    let mut world = World::new();
    let left = world.line.add("me", 2, Some(&Change::Left));
    world.received(vec![left]);
    world.line.add("hub", 3, None);
    let later = world.line.add("hub", 4, None);
    assert_eq!(world.received(vec![later]), [Effect::Fault(Fault::NotMember { seq: 6 })]);
    world.line.term = 2;
    let later = world.line.add("hub", 5, None);
    assert_eq!(world.received(vec![later]), [Effect::Fetch { after: 4 }]);
}

#[test]
fn a_line_of_an_older_term_is_compared_before_it_is_called_another_history() {
    let mut world = World::new();
    let older = world.line.events.clone();
    world.line.term = 2;
    let four = world.line.add("hub", 3, None);
    world.tell(Input::Same(Agreed { upto: 3, term: 2 }));
    world.received(vec![four]);
    // The hub came back from a backup again, and has said nothing in a term of its own.
    let mut other = Line { events: older, term: 1, at: world.line.at };
    let [_, five] = [1, 2].map(|number| other.add("ann", number, None));
    assert_eq!(world.received(vec![five.clone()]), [Effect::Parted { seq: 5 }]);
    world.tell(Input::Same(Agreed { upto: 4, term: 2 }));
    assert_eq!(world.received(vec![five]), [Effect::Fault(Fault::Broken { seq: 5 })], "it says that it has the same");
}

#[test]
fn a_hub_attests_nothing_of_who_signs() {
    let forged = |seq, name| [Effect::Fault(Fault::Forged { seq, author: origin(name) })];
    let mut world = World::new();
    let signed = world.line.add("ann", 1, None);
    world.received(vec![signed]);
    let of_ann = world.line.attest("ann", None);
    assert_eq!((world.received(vec![of_ann]), world.seen()), (forged(5, "ann").to_vec(), 4));
    let mut world = World::new();
    let of_me = world.line.attest("me", None);
    assert_eq!((world.received(vec![of_me]), world.seen()), (forged(4, "me").to_vec(), 3));
    // Of the original design, which signs nothing: it joins and speaks as the hub says.
    let mut world = World::new();
    let of_bob = [world.line.attest("bob", Some(&Change::Joined)), world.line.attest("bob", None)];
    assert_eq!((world.received(of_bob.to_vec()), world.seen()), (vec![], 5));
}

#[test]
fn who_left_is_no_member_again_because_the_hub_says_so() {
    let mut world = World::new();
    let left = world.line.add("me", 2, Some(&Change::Left));
    world.received(vec![left]);
    world.line.add("hub", 3, Some(&Change::Invited(origin("me"))));
    let joined = world.line.attest("me", Some(&Change::Joined));
    assert_eq!(world.received(vec![joined]), [Effect::Fault(Fault::NotMember { seq: 6 })]);
    assert!(!world.member.summary().roster.is_member(&origin("me")));
}

#[test]
fn what_is_said_is_numbered_and_goes_out_when_it_is_on_disk() {
    let mut world = World::new();
    let said = world.tell(Input::Said { ticket: TICKET });
    let number = Write::Number { draft: 1, author_seq: 2, prev_seen: Some(world.line.events[2].authored.id) };
    assert!(matches!(&said[1], Effect::Write { what, .. } if *what == number), "{said:?}");
    let kept = Effect::Answer { ticket: TICKET, is_kept: Ok(()) };
    assert_eq!(world.store(), [Effect::Outgoing { done: 1, last: 2 }, kept]);
    world.tell(Input::Decided { outcomes: vec![(2, Outcome::Later(Delay::Unavailable))] });
    assert_eq!(world.member.summary().decided, 1);
    world.tell(Input::Decided { outcomes: vec![(2, Outcome::Taken)] });
    assert_eq!(world.member.summary().decided, 2);
    world.tell(Input::Said { ticket: TICKET });
    let why = Refusal::Forbidden(Forbidden::NotMember);
    let told = world.tell(Input::Decided { outcomes: vec![(3, Outcome::Refused(why))] });
    assert_eq!(told[0], Effect::Refused { author_seq: 3, why });
}

#[test]
fn nothing_is_numbered_before_all_that_the_hub_has_was_seen() {
    let summary = World::new().member.summary().clone();
    let member = State::restored(channel(), origin("me"), summary);
    let mut world = World { member, line: Line::joined(), writes: 0, effects: Vec::new() };
    assert_eq!(world.look(), [Effect::Fetch { after: 3 }]);
    let said = world.tell(Input::Said { ticket: TICKET });
    assert_eq!(said.len(), 1, "a draft alone: {said:?}");
    assert_eq!(world.store(), [Effect::Answer { ticket: TICKET, is_kept: Ok(()) }]);
    // What this origin said and a restored backup has forgotten.
    let forgotten = world.line.add("me", 2, None);
    let again = world.tell(Input::Received { events: vec![forgotten], head: Some(5) });
    assert_eq!(again.last(), Some(&Effect::Fetch { after: 4 }));
    let last = world.line.add("hub", 3, None);
    let caught_up = world.tell(Input::Received { events: vec![last], head: Some(5) });
    assert!(matches!(caught_up[1], Effect::Write { what: Write::Number { draft: 1, author_seq: 3, .. }, .. }));
}

#[test]
fn so_many_own_events_have_a_number_that_the_hub_has_not_decided_on() {
    let mut world = World::new();
    for _ in 0..NUMBERED_MAX + 5 {
        world.tell(Input::Said { ticket: TICKET });
        world.store();
    }
    let summary = world.member.summary();
    assert_eq!((summary.drafts, summary.drafts_numbered, summary.numbered), (205, 200, 201));
    world.tell(Input::Decided { outcomes: (2..=3).map(|number| (number, Outcome::Taken)).collect() });
    assert_eq!(world.member.summary().drafts_numbered, 202);
}

#[test]
fn so_much_waits_for_a_hub_that_is_away() {
    let mut summary = World::new().member.summary().clone();
    (summary.drafts, summary.drafts_numbered) = (DRAFTS_MAX + 6, 7);
    let member = State::restored(channel(), origin("me"), summary);
    let mut world = World { member, line: Line::joined(), writes: 0, effects: Vec::new() };
    world.look();
    assert!(matches!(world.tell(Input::Said { ticket: TICKET })[..], [Effect::Write { .. }]));
    let full = Effect::Answer { ticket: TICKET, is_kept: Err(NotKept::Full) };
    assert_eq!(world.tell(Input::Said { ticket: TICKET }), [full]);
}

#[test]
fn no_more_members_are_taken_than_a_channel_has() {
    let mut world = World::new();
    let all = (4..).zip(2..MEMBERS_MAX + 2).map(|(number, name)| (number, origin(&format!("m{name}"))));
    let events: Vec<_> =
        all.map(|(number, member)| world.line.add("hub", number, Some(&Change::Invited(member)))).collect();
    // This origin is one, and its hub was before it.
    let last = MEMBERS_MAX as u64 + 2;
    assert_eq!(world.received(events), [Effect::Fault(Fault::Full { seq: last + 1 })]);
    assert_eq!(world.seen(), last);
}

#[test]
fn what_the_disk_did_not_take_was_not_kept() {
    let mut world = World::new();
    world.tell(Input::Said { ticket: TICKET });
    let refused = Effect::Answer { ticket: TICKET, is_kept: Err(NotKept::Disk) };
    assert_eq!(world.tell(Input::NotStored), std::slice::from_ref(&refused));
    assert_eq!(world.tell(Input::Said { ticket: TICKET }), [refused]);
    let next = world.line.add("hub", 3, None);
    assert_eq!((world.received(vec![next]), world.seen()), (vec![], 3), "until it is opened anew");
}

#[test]
fn what_the_hub_took_and_lost_is_sent_again() {
    let mut world = World::new();
    for _ in 0..3 {
        world.tell(Input::Said { ticket: TICKET });
    }
    world.store();
    world.tell(Input::Decided { outcomes: (2..=4).map(|number| (number, Outcome::Taken)).collect() });
    let seen = world.line.add("me", 2, None);
    let told = world.tell(Input::Received { events: vec![seen], head: Some(4) });
    assert_eq!(told.last(), Some(&Effect::Outgoing { done: 2, last: 4 }), "the hub has no more than that");
    world.tell(Input::Decided { outcomes: (3..=4).map(|number| (number, Outcome::Taken)).collect() });
    assert_eq!(world.member.summary().decided, 4);
    let gap = Outcome::Later(Delay::Gap { expected: 4 });
    let told = world.tell(Input::Decided { outcomes: vec![(5, gap)] });
    assert_eq!(told.last(), Some(&Effect::Outgoing { done: 3, last: 4 }));
}

#[test]
fn a_hub_that_expects_a_number_that_there_is_not_is_sent_all_again() {
    let mut world = World::new();
    world.tell(Input::Said { ticket: TICKET });
    world.store();
    let told = world.tell(Input::Decided { outcomes: vec![(2, Outcome::Later(Delay::Gap { expected: 0 }))] });
    assert_eq!(told.last(), Some(&Effect::Outgoing { done: 0, last: 2 }));
    assert_eq!((world.member.summary().decided, world.member.summary().taken), (0, 0));
}

#[test]
fn what_a_hub_does_not_know_the_channel_of_waits_and_that_is_shown() {
    let mut world = World::new();
    world.tell(Input::Said { ticket: TICKET });
    world.store();
    let told = world.tell(Input::Decided { outcomes: vec![(2, Outcome::Later(Delay::Unknown))] });
    assert_eq!((told, world.member.summary().decided), (vec![Effect::Fault(Fault::Unknown)], 1));
}

#[test]
fn what_the_hub_signed_before_it_asked_for_the_head_counts_no_more() {
    let mut world = World::new();
    let at = Timestamp::from_millis;
    assert!(world.member.hears(at(0)));
    let four = world.line.add("hub", 3, None);
    world.tell(Input::Received { events: vec![four.clone()], head: None });
    assert!(matches!(world.tell(Input::HeadAsked { ticket: TICKET, signed: at(50) })[..], [Effect::Write { .. }]));
    assert_eq!((world.member.hears(at(49)), world.member.hears(at(50))), (false, true));
    let head = Some((4, four.authored.id, 1));
    assert_eq!(world.store(), [Effect::Ready { seq: 4 }, Effect::Head { ticket: TICKET, head }], "once it is on disk");
    let late = world.tell(Input::HeadAsked { ticket: TICKET, signed: at(49) });
    assert_eq!(late, [Effect::Unanswered { ticket: TICKET }], "a late question");
    let again = State::restored(channel(), origin("me"), world.member.summary().clone());
    assert!(!again.hears(at(49)), "it is kept");
}

#[test]
fn a_hub_whose_clock_was_wrong_is_heard_again() {
    let at = Timestamp::from_millis;
    let mut world = World::new();
    (world.line.term, world.line.at) = (2, at(4_000_000_000_000));
    let four = world.line.add("hub", 3, None);
    world.tell(Input::Same(Agreed { upto: 3, term: 2 }));
    world.member.heard(at(70));
    world.received(vec![four]);
    assert_eq!((world.seen(), world.member.hears(at(69)), world.member.hears(at(70))), (4, false, true));
    let (mut world, mut new) = parted();
    world.member.heard(at(70));
    new[0].order.at = at(4_000_000_000_000);
    world.tell(Input::Parted { kept: world.kept(4), theirs: Box::new(new[0].order) });
    assert_eq!((world.seen(), world.member.hears(at(69)), world.member.hears(at(70))), (4, false, true));
}

/// A member with events 4 to 7 of term 1, of which 5 and 7 are its own, and the hub's new line, which parts after 4.
fn parted() -> (World, Vec<Event>) {
    let mut world = World::new();
    let mut new = Line::joined();
    let said = [("hub", 3), ("me", 2), ("ann", 1), ("me", 3)];
    let events = said.map(|(author, number)| world.line.add(author, number, None)).to_vec();
    world.received(events);
    world.store();
    new.add("hub", 3, None);
    new.term = 2;
    let events = (4..6).map(|number| new.add("hub", number, None)).collect();
    (world, events)
}

impl World {
    /// What the line says up to an event.
    fn kept(&self, after: u64) -> Box<Summary> {
        let mut kept = Summary::default();
        for event in self.line.events.iter().filter(|event| (3..=after).contains(&event.order.seq)) {
            kept.read(&origin("hub"), &origin("me"), event);
        }
        Box::new(kept)
    }
}

#[test]
fn a_member_goes_back_to_where_the_hub_goes_on_in_a_new_term() {
    let (mut world, new) = parted();
    assert_eq!(world.received(vec![new[1].clone()]), [Effect::Parted { seq: 6 }]);
    assert_eq!(world.received(vec![new[1].clone()]), [], "it is being looked into");
    let theirs = Box::new(new[0].order);
    let told = world.tell(Input::Parted { kept: world.kept(4), theirs: theirs.clone() });
    assert!(matches!(told[0], Effect::Write { what: Write::Withdraw { after: 4 }, .. }), "{told:?}");
    let withdrawn = Effect::Fault(Fault::Withdrawn { first: 5, last: 7, term: 2 });
    assert_eq!(told[1..], [withdrawn, Effect::Outgoing { done: 1, last: 3 }, Effect::Fetch { after: 4 }]);
    assert_eq!((world.seen(), world.member.summary().taken), (4, 1), "its own events are sent again");
    assert_eq!(world.tell(Input::Parted { kept: world.kept(4), theirs }), [], "nothing is left of the old term");
    assert_eq!(world.received(new), []);
    assert_eq!(world.seen(), 6);
}

#[test]
fn a_new_term_is_gone_on_with_when_the_hub_has_all_that_is_here() {
    let mut world = World::new();
    world.line.term = 2;
    let four = world.line.add("hub", 3, None);
    assert_eq!(world.received(vec![four.clone()]), [Effect::Parted { seq: 4 }], "ids do not tell what was before them");
    let fetch = [Effect::Fetch { after: 3 }];
    assert_eq!(world.tell(Input::Same(Agreed { upto: 3, term: 1 })), fetch, "that was before the new term");
    assert_eq!(world.received(vec![four.clone()]), [Effect::Parted { seq: 4 }]);
    assert_eq!(world.tell(Input::Same(Agreed { upto: 3, term: 2 })), fetch);
    assert_eq!((world.received(vec![four]), world.seen()), (vec![], 4));
}

#[test]
fn nothing_is_withdrawn_for_a_comparison_that_does_not_fit_any_more() {
    let (mut world, new) = parted();
    let theirs = Box::new(new[1].order);
    assert_eq!(world.tell(Input::Parted { kept: world.kept(4), theirs }), [], "it does not follow event 4");
    let same_term = Box::new(world.line.events[4].order);
    assert_eq!(world.tell(Input::Parted { kept: world.kept(4), theirs: same_term }), [], "it is of no later term");
    assert_eq!(world.seen(), 7);
}

#[test]
fn a_proof_against_the_hub_is_kept_and_told_once() {
    let mut world = World::new();
    let mut other = Line::joined();
    let four = world.line.add("hub", 3, None);
    world.received(vec![four.clone()]);
    let lie = other.add("ann", 1, None);
    assert_eq!(world.received(vec![lie.clone()]), [Effect::Compare(Box::new(lie.clone()))]);
    let proof = Box::new(Proof::of(&channel(), &four.placed(), &lie.placed()).expect("two events in one place"));
    let told = world.tell(Input::Proven(proof.clone()));
    assert!(matches!(&told[0], Effect::Write { what: Write::Proof(kept), .. } if *kept == proof), "{told:?}");
    assert_eq!(told[1], Effect::Fault(Fault::Equivocation { seq: 4, term: 1 }));
    assert_eq!(world.tell(Input::Proven(proof)), []);
}

#[test]
fn what_the_hub_refused_is_not_sent_again_and_again() {
    let mut world = World::new();
    world.tell(Input::Said { ticket: TICKET });
    world.store();
    world.tell(Input::Decided { outcomes: vec![(2, Outcome::Refused(Refusal::Full))] });
    assert_eq!(world.tell(Input::Received { events: Vec::new(), head: Some(3) }), [], "the hub lost nothing");
}

#[test]
fn what_was_refused_is_settled_once_all_that_was_taken_is_seen() {
    let mut world = World::new();
    for _ in 0..3 {
        world.tell(Input::Said { ticket: TICKET });
    }
    world.store();
    let settled = |world: &World| world.member.summary().settled(&origin("me"));
    let refused = Outcome::Refused(Refusal::Full);
    world.tell(Input::Decided { outcomes: vec![(2, refused), (3, Outcome::Taken), (4, refused)] });
    assert_eq!(settled(&world), 1, "what was taken is not seen yet");
    let three = world.line.add("me", 3, None);
    world.received(vec![three]);
    assert_eq!(settled(&world), 4);
}

#[test]
fn others_are_given_what_they_may_see_and_no_more() {
    let mut world = World::new();
    let [ann, bob, eve] = ["ann", "bob", "eve"].map(origin);
    assert_eq!(world.member.view_of(&ann, None), None, "nobody knows it");
    assert_eq!(world.member.view_of(&ann, Some(2)), Some((2, None)), "it joined before this origin did");
    assert_eq!(world.member.view_of(&origin("hub"), None), Some((1, None)));
    let joined = world.line.add("bob", 1, Some(&Change::Joined));
    world.received(vec![joined]);
    assert_eq!(world.member.view_of(&bob, Some(1)), Some((4, None)), "what is here counts more than a list");
    let removed = ["bob", "eve"].map(|name| Change::Removed(origin(name)));
    let events = (3..).zip(&removed).map(|(number, change)| world.line.add("hub", number, Some(change))).collect();
    world.received(events);
    assert_eq!(world.member.view_of(&bob, Some(4)), Some((4, Some(5))));
    assert_eq!(world.member.view_of(&eve, Some(1)), None, "since when it was a member is not known here");
    let left = world.line.add("carl", 9, Some(&Change::Left));
    world.received(vec![left]);
    assert_eq!(world.member.view_of(&origin("carl"), Some(1)), Some((7, Some(7))), "an older list names it");
    let gone = world.line.add("hub", 5, Some(&Change::Removed(origin("me"))));
    world.received(vec![gone]);
    world.line.add("hub", 6, Some(&Change::Invited(origin("me"))));
    world.tell(Input::Invited);
    let back = world.line.add("me", 2, Some(&Change::Joined));
    world.received(vec![back]);
    assert_eq!(world.member.view_of(&bob, None), None, "who came and went meanwhile is not known here");
}

/// A member with events 3 to 5 of term 1, and a line of term 2 in which it joins by this event, at place 9.
fn joined_anew(author_seq: u64) -> (World, Event) {
    let mut world = World::new();
    let events = [("hub", 3), ("me", 2)].map(|(author, number)| world.line.add(author, number, None)).to_vec();
    world.received(events);
    world.store();
    let mut new = Line { term: 2, ..Line::default() };
    (1..9).for_each(|number| drop(new.add("hub", number, None)));
    (world, new.add("me", author_seq, Some(&Change::Joined)))
}

#[test]
fn who_joins_by_what_it_said_before_gives_back_all_since_then_and_says_its_own_part_again() {
    let (mut world, joined) = joined_anew(1);
    let told = world.received(vec![joined]);
    let withdrawn = Effect::Fault(Fault::Withdrawn { first: 3, last: 5, term: 2 });
    assert_eq!(told, [withdrawn, Effect::Outgoing { done: 0, last: 2 }]);
    let summary = world.member.summary();
    assert_eq!((world.seen(), summary.taken, summary.roster.view(&origin("me"))), (9, 1, Some((9, None))));
    assert_eq!(world.store(), [Effect::Ready { seq: 9 }]);
}

#[test]
fn who_joins_by_something_new_was_no_member_meanwhile() {
    let (mut world, joined) = joined_anew(3);
    assert_eq!((world.received(vec![joined]), world.seen()), (vec![], 9));
}

#[test]
fn who_sees_all_and_was_invited_again_before_it_heard_of_its_end_takes_what_was_said_meanwhile() {
    let mut world = World::new();
    let all = Change::Created(History::All);
    world.member.summary.roster.apply(&origin("hub"), &all, 1);
    world.tell(Input::Invited);
    world.tell(Input::Said { ticket: TICKET });
    world.store();
    let removed = world.line.add("hub", 3, Some(&Change::Removed(origin("me"))));
    let meanwhile = world.line.add("hub", 4, None);
    assert_eq!((world.received(vec![removed, meanwhile]), world.seen()), (vec![], 5));
    world.tell(Input::Decided { outcomes: vec![(2, Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember)))] });
    let later = world.line.add("hub", 5, None);
    let fault = Effect::Fault(Fault::NotMember { seq: 6 });
    assert_eq!(world.received(vec![later]), [fault], "it said nothing that may have a place");
}

#[test]
fn a_member_goes_back_also_where_the_hub_went_back_to_an_older_term_before_the_new_one() {
    let mut world = World::new();
    let four = world.line.add("hub", 3, None);
    let mut other = Line { events: world.line.events.clone(), term: 1, at: world.line.at };
    world.line.term = 2;
    let five = world.line.add("ann", 1, None);
    world.received(vec![four]);
    world.tell(Input::Same(Agreed { upto: 4, term: 2 }));
    world.received(vec![five]);
    // The hub lost term 2, got back an event of term 1 that nobody gave it before, and goes on in term 3.
    let theirs = other.add("bob", 1, None);
    other.term = 3;
    let six = other.add("bob", 2, None);
    assert_eq!(world.received(vec![six.clone()]), [Effect::Parted { seq: 6 }]);
    let told = world.tell(Input::Parted { kept: world.kept(4), theirs: Box::new(theirs.order) });
    assert!(matches!(told[0], Effect::Write { what: Write::Withdraw { after: 4 }, .. }), "{told:?}");
    assert_eq!(told[1], Effect::Fault(Fault::Withdrawn { first: 5, last: 5, term: 3 }));
    world.received(vec![theirs]);
    world.tell(Input::Same(Agreed { upto: 5, term: 3 }));
    assert_eq!((world.received(vec![six]), world.seen()), (vec![], 6));
}
