//! One member, told by hand: what it takes of the line, and how it says what it has to say.

use super::*;
use crate::federation::event::{Authored, Draft, Order};
use crate::federation::hub::Delay;
use crate::federation::roster::Forbidden;
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
#[derive(Default)]
struct Line(Vec<Event>);

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
        let authored = Authored::sign(&KeyPair::from_seed([1; 32]), &draft);
        let (seq, prev) = (self.0.len() as u64 + 1, self.0.last().map(|last| last.authored.id));
        let order = Order::sign(&KeyPair::from_seed([2; 32]), (&channel, authored.id), (seq, prev), (at, 1));
        self.0.push(Event { authored, order });
        self.0[self.0.len() - 1].clone()
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
        let joined = world.line.0[2].clone();
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
fn a_gap_in_what_an_author_says_is_shown_and_the_line_goes_on() {
    let mut world = World::new();
    let (four, five) = (world.line.add("ann", 4, None), world.line.add("ann", 7, None));
    let withheld = Fault::Withheld { author: origin("ann"), after: 5, before: 6 };
    assert_eq!(world.received(vec![four, five]), [Effect::Fault(withheld)]);
    assert_eq!(world.seen(), 5);
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
fn what_is_said_is_numbered_and_goes_out_when_it_is_on_disk() {
    let mut world = World::new();
    let said = world.tell(Input::Said { ticket: TICKET });
    let number = Write::Number { draft: 1, author_seq: 2, prev_seen: Some(world.line.0[2].authored.id) };
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
