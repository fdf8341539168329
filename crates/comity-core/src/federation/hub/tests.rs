//! One hub, told by hand: what it takes, when it says so, and what it does with what it lost.

use super::*;
use crate::federation::event::{Draft, Order};
use crate::federation::roster::History;
use crate::identity::key::KeyPair;
use serde_json::{Value, json};

const TICKET: Ticket = Ticket(1);

fn origin(name: &str) -> Origin {
    format!("{name}.test").parse().expect("an origin")
}

fn channel() -> ChannelId {
    "!a:hub.test".parse().expect("a channel")
}

fn config() -> Config {
    Config { channel: channel(), per_second: 500, bytes_max: 1 << 20 }
}

fn at(millis: u64) -> Now {
    Now { mono: Duration::from_millis(millis), wall: Timestamp::from_millis(1_700_000_000_000 + millis) }
}

fn says(author: &str, author_seq: u64, kind: &str, data: &Value) -> Arc<Authored> {
    let (channel, origin) = (channel(), origin(author));
    let draft = Draft {
        channel: &channel,
        kind,
        origin: &origin,
        author_seq: Some(author_seq),
        at: Timestamp::from_millis(0),
        data,
        prev_seen: None,
        attested: None,
    };
    Arc::new(Authored::sign(&KeyPair::from_seed([1; 32]), &draft))
}

fn text(author: &str, author_seq: u64) -> Arc<Authored> {
    says(author, author_seq, "message", &json!(author_seq))
}

fn change(author: &str, author_seq: u64, change: &Change) -> Arc<Authored> {
    says(author, author_seq, change.kind(), &change.data())
}

/// Where the line of a member ends, in the first term.
fn head(member: &str, seq: u64) -> Input {
    Input::Head { member: origin(member), seq, term: 1 }
}

/// A hub and all that it wrote.
struct World {
    hub: State,
    written: Vec<Write>,
    answers: Vec<Vec<Outcome>>,
    others: Vec<Effect>,
    stored: u64,
}

impl World {
    /// A channel of the hub, ann and bob.
    fn new() -> Self {
        let mut world = Self::of(State::new(config()));
        let own = [Change::Created(History::FromJoining), Change::Joined];
        let invited = ["ann", "bob"].map(|name| Change::Invited(origin(name)));
        let own = (1..).zip(own.iter().chain(&invited)).map(|(number, said)| change("hub", number, said)).collect();
        assert_eq!(world.submit("hub", own), [Outcome::Taken; 4]);
        for name in ["ann", "bob"] {
            assert_eq!(world.submit(name, vec![change(name, 1, &Change::Joined)]), [Outcome::Taken]);
        }
        world
    }

    fn of(hub: State) -> Self {
        let mut world = Self { hub, written: Vec::new(), answers: Vec::new(), others: Vec::new(), stored: 0 };
        world.look();
        world
    }

    fn look(&mut self) {
        for effect in self.hub.effects() {
            match effect {
                Effect::Write { number, what } => {
                    assert_eq!(number, self.written.len() as u64 + 1);
                    self.written.push(what);
                }
                Effect::Answer { outcomes, .. } => self.answers.push(outcomes),
                other => self.others.push(other),
            }
        }
    }

    fn take_others(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.others)
    }

    fn tell(&mut self, input: Input) {
        self.hub.handle(input, at(0));
        self.look();
    }

    fn offer(&mut self, from: &str, events: Vec<Arc<Authored>>) {
        self.tell(Input::Submitted { ticket: TICKET, from: origin(from), events });
    }

    fn store(&mut self) {
        self.stored = self.written.len() as u64;
        self.tell(Input::Stored { upto: self.stored });
    }

    /// What became of them, once all is on disk.
    fn submit(&mut self, from: &str, events: Vec<Arc<Authored>>) -> Vec<Outcome> {
        self.answers.clear();
        self.offer(from, events);
        self.store();
        assert_eq!(self.answers.len(), 1, "one answer");
        self.answers.remove(0)
    }

    /// The line: number, event, and the one before.
    fn line(&self) -> Vec<(u64, EventId, Option<EventId>)> {
        let place = |write: &Write| match write {
            Write::Place(place) => Some((place.seq, place.authored.id, place.prev)),
            Write::Recovered(event) => Some((event.order.seq, event.authored.id, event.order.prev)),
            Write::Summary => None,
        };
        self.written.iter().filter_map(place).collect()
    }

    /// What members hold after an event: signed by the hub.
    fn events_after(&self, after: u64) -> Vec<Event> {
        let event = |write: &Write| match write {
            Write::Place(place) if place.seq > after => {
                let (seq, of) = ((place.seq, place.prev), (place.at, place.term));
                let order = Order::sign(&KeyPair::from_seed([2; 32]), (&channel(), place.authored.id), seq, of);
                Some(Event { authored: Authored::clone(&place.authored), order })
            }
            _ => None,
        };
        self.written.iter().filter_map(event).collect()
    }
}

#[test]
fn events_are_one_line_and_nothing_is_said_before_it_is_on_disk() {
    let mut world = World::new();
    world.answers.clear();
    world.others.clear();
    world.offer("ann", vec![text("ann", 2), text("ann", 3)]);
    world.offer("bob", vec![text("bob", 2)]);
    assert_eq!((world.answers.len(), world.others.len()), (0, 0));
    world.tell(Input::Stored { upto: 7 });
    assert_eq!((world.answers.len(), &world.others), (0, &vec![Effect::Ready { seq: 7 }]), "half of a transaction");
    world.store();
    assert_eq!(world.answers, [vec![Outcome::Taken; 2], vec![Outcome::Taken]]);
    assert_eq!(world.others.last(), Some(&Effect::Ready { seq: 9 }));
    let line = world.line();
    assert!(line.iter().zip(1..).all(|((seq, ..), wanted)| *seq == wanted));
    assert!(line.windows(2).all(|two| two[1].2 == Some(two[0].1)) && line[0].2.is_none());
}

#[test]
fn what_is_sent_again_has_its_place_already() {
    let mut world = World::new();
    world.submit("ann", vec![text("ann", 2)]);
    let before = world.line();
    assert_eq!(world.submit("ann", vec![text("ann", 2), text("ann", 2)]), [Outcome::Taken; 2]);
    assert_eq!(world.line(), before);
    world.answers.clear();
    world.offer("ann", vec![text("ann", 3)]);
    world.offer("ann", vec![text("ann", 3)]);
    assert!(world.answers.is_empty(), "it is not on disk yet");
    world.store();
    assert_eq!(world.answers, [[Outcome::Taken], [Outcome::Taken]]);
    assert_eq!(world.line().len(), before.len() + 1);
}

#[test]
fn an_authors_events_keep_their_order() {
    let mut world = World::new();
    let gap = Outcome::Later(Delay::Gap { expected: 2 });
    assert_eq!(world.submit("ann", vec![text("ann", 3), text("ann", 4)]), [gap, gap]);
    assert_eq!(world.submit("ann", vec![text("ann", 2), text("ann", 3)]), [Outcome::Taken; 2]);
    let other = says("ann", 2, "message", &json!("another"));
    assert_eq!(world.submit("ann", vec![other]), [Outcome::Refused(Refusal::Repeated)]);
    assert_eq!(world.submit("ann", vec![text("bob", 2)]), [Outcome::Refused(Refusal::NotYours)]);
}

#[test]
fn a_refused_event_uses_up_its_number_and_blocks_nothing() {
    let mut world = World::new();
    let forbidden = Outcome::Refused(Refusal::Forbidden(Forbidden::NotAdmin));
    let topic = change("ann", 2, &Change::Topic("mine".to_owned()));
    assert_eq!(world.submit("ann", vec![topic.clone(), text("ann", 3)]), [forbidden, Outcome::Taken]);
    assert_eq!(world.written.len(), world.line().len() + 1, "and that is on disk");
    assert_eq!(world.submit("ann", vec![topic]), [Outcome::Refused(Refusal::Repeated)]);
    let stranger = Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember));
    assert_eq!(world.submit("eve", vec![text("eve", 1)]), [stranger]);
    assert!(!world.hub.summary().authors.contains_key(&origin("eve")));
}

#[test]
fn who_signed_once_is_not_attested_any_more() {
    let attested = |author: &str, change: Option<&Change>| {
        let (channel, origin, at) = (channel(), origin(author), Timestamp::from_millis(0));
        let (kind, data) = change.map_or(("message", json!("x")), |change| (change.kind(), change.data()));
        let (author_seq, prev_seen, attested) = (None, None, Some("1"));
        let draft =
            Draft { channel: &channel, kind, origin: &origin, author_seq, at, data: &data, prev_seen, attested };
        vec![Arc::new(Authored::attest(&draft))]
    };
    let mut world = World::new();
    let refused = [Outcome::Refused(Refusal::NotSigned)];
    assert_eq!(world.submit("ann", attested("ann", None)), refused);
    assert_eq!(world.submit("hub", attested("hub", Some(&Change::Removed(origin("ann"))))), refused);
    world.submit("hub", vec![change("hub", 5, &Change::Removed(origin("ann")))]);
    for (name, number) in [("ann", 6), ("old", 7)] {
        world.submit("hub", vec![change("hub", number, &Change::Invited(origin(name)))]);
    }
    assert_eq!(world.submit("ann", attested("ann", Some(&Change::Joined))), refused, "it joins by its own word");
    assert_eq!(world.submit("old", attested("old", Some(&Change::Joined))), [Outcome::Taken]);
    assert_eq!(world.submit("old", attested("old", None)), [Outcome::Taken]);
}

#[test]
fn whoever_is_removed_says_nothing_more() {
    let mut world = World::new();
    let removed = change("hub", 5, &Change::Removed(origin("ann")));
    assert_eq!(world.submit("hub", vec![removed]), [Outcome::Taken]);
    let refused = Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember));
    assert_eq!(world.submit("ann", vec![text("ann", 2)]), [refused]);
    assert_eq!(world.hub.summary().roster.view(&origin("ann")), Some((5, Some(7))));
}

#[test]
fn a_member_says_so_much_a_second_and_stores_so_much() {
    let mut world = World::new();
    let many: Vec<_> = (2..602).map(|number| text("ann", number)).collect();
    let outcomes = world.submit("ann", many.clone());
    let taken = outcomes.iter().filter(|outcome| **outcome == Outcome::Taken).count();
    assert_eq!(taken, 499, "joining was one");
    assert!(matches!(outcomes[499], Outcome::Later(Delay::TooFast { .. })), "{:?}", outcomes[499]);
    assert_eq!(world.submit("bob", vec![text("bob", 2)]), [Outcome::Taken], "another's are not fewer for that");
    world.hub.handle(Input::Submitted { ticket: TICKET, from: origin("ann"), events: many[499..].to_vec() }, at(1000));
    world.look();
    world.store();
    assert_eq!(world.answers.remove(0), [Outcome::Taken; 101]);
    let mut small = World::new();
    small.hub.config.bytes_max = 2500;
    let large = |number| says("ann", number, "message", &json!("x".repeat(2000)));
    let full = Outcome::Refused(Refusal::Full);
    assert_eq!(small.submit("ann", vec![large(2), text("ann", 3), large(4)]), [full, Outcome::Taken, full]);
    assert_eq!(small.submit("ann", vec![change("ann", 5, &Change::Left)]), [Outcome::Taken], "who is full may go");
}

#[test]
fn what_is_refused_is_paced_as_well() {
    let mut world = World::new();
    let topic = |number| change("ann", number, &Change::Topic("mine".to_owned()));
    let outcomes = world.submit("ann", (2..602).map(topic).collect());
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Refused(_))).count();
    assert_eq!(refused, 499, "joining was one");
    assert!(matches!(outcomes[499], Outcome::Later(Delay::TooFast { .. })), "{:?}", outcomes[499]);
}

#[test]
fn what_the_disk_did_not_take_was_never_said() {
    let mut world = World::new();
    let kept = world.hub.summary().clone();
    world.answers.clear();
    world.offer("ann", vec![text("ann", 2)]);
    world.tell(Input::NotStored);
    assert_eq!(world.answers, [[Outcome::Later(Delay::Unavailable)]]);
    world.offer("ann", vec![text("ann", 2)]);
    assert_eq!(world.answers[1], [Outcome::Later(Delay::Unavailable)], "until it is opened anew");
    let mut again = World::of(State::restored(config(), kept));
    for name in ["ann", "bob"] {
        again.tell(head(name, 6));
    }
    assert_eq!(again.submit("ann", vec![text("ann", 2)]), [Outcome::Taken]);
    assert_eq!(again.line()[0].0, 7);
}

#[test]
fn who_was_never_a_member_is_refused_whatever_it_sends_first() {
    let mut world = World::new();
    let refused = Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember));
    assert_eq!(world.submit("eve", vec![text("eve", 7), text("eve", 8)]), [refused; 2]);
}

#[test]
fn a_hub_from_an_old_backup_gets_back_what_its_members_have() {
    let mut world = World::new();
    let backup = world.hub.summary().clone();
    world.submit("ann", vec![text("ann", 2)]);
    world.submit("bob", vec![text("bob", 2)]);
    world.submit("hub", vec![change("hub", 5, &Change::Invited(origin("carl")))]);
    world.submit("carl", vec![change("carl", 1, &Change::Joined)]);
    let mut again = World::of(State::restored(config(), backup));
    assert_eq!(again.others, ["ann", "bob"].map(|name| Effect::AskHead(origin(name))));
    again.others.clear();
    again.offer("ann", vec![text("ann", 3)]);
    assert_eq!(again.answers.remove(0), [Outcome::Later(Delay::Unavailable)]);
    again.tell(head("ann", 8));
    assert_eq!(again.others, [], "another may have more of it, or a later term");
    again.tell(head("bob", 10));
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("bob"), after: 6 }]);
    let theirs = world.events_after(6);
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[..2].to_vec() });
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("bob"), after: 8 }]);
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[2..].to_vec() });
    assert_eq!(again.take_others(), ["carl", "carl"].map(|name| Effect::AskHead(origin(name))), "invited, and joined");
    assert_eq!(again.hub.unheard().collect::<Vec<_>>(), [&origin("carl")]);
    again.tell(head("carl", 10));
    assert_eq!(again.submit("ann", vec![text("ann", 2), text("ann", 3)]), [Outcome::Taken; 2]);
    assert_eq!(again.line().last().map(|place| place.0), Some(11));
    assert_eq!(again.line()[..4], world.line()[6..]);
}

/// A hub whose backup has six events, and the line of ten that its members have.
fn lost() -> (World, Vec<Event>) {
    let mut world = World::new();
    let backup = world.hub.summary().clone();
    world.submit("ann", (2..6).map(|number| text("ann", number)).collect());
    let mut again = World::of(State::restored(config(), backup));
    again.others.clear();
    (again, world.events_after(6))
}

#[test]
fn a_late_answer_that_does_not_follow_does_not_keep_its_giver_from_being_asked() {
    let (mut again, theirs) = lost();
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[2..].to_vec() });
    again.tell(Input::Recovered { member: origin("ann"), events: Vec::new() });
    again.tell(head("ann", 6));
    again.tell(head("bob", 10));
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("bob"), after: 6 }]);
    again.tell(Input::Recovered { member: origin("bob"), events: theirs });
    assert_eq!(again.hub.unheard().count(), 0);
}

#[test]
fn a_late_answer_is_not_taken_for_all_that_a_member_has() {
    let (mut again, theirs) = lost();
    again.tell(head("ann", 8));
    again.tell(head("bob", 10));
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[..2].to_vec() });
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[..2].to_vec() });
    assert_eq!(again.hub.unheard().collect::<Vec<_>>(), [&origin("bob")], "it has two more");
    again.hub.ask_again();
    again.tell(head("bob", 10));
    assert_eq!(again.take_others().last(), Some(&Effect::Fetch { member: origin("bob"), after: 8 }));
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[2..].to_vec() });
    assert_eq!((again.hub.unheard().count(), again.line().len()), (0, 4));
}

#[test]
fn what_shows_a_hole_is_not_numbered_over_but_by_a_person() {
    let (mut again, theirs) = lost();
    again.tell(head("ann", 6));
    again.tell(Input::Head { member: origin("bob"), seq: 10, term: 1 });
    again.tell(Input::Recovered { member: origin("bob"), events: theirs[2..].to_vec() });
    assert_eq!(again.hub.unheard().collect::<Vec<_>>(), [&origin("bob")], "this hub gave places 9 and 10");
    again.tell(Input::Forced);
    assert_eq!(again.submit("ann", vec![text("ann", 2)]), [Outcome::Taken]);
    assert_eq!((again.hub.summary().term, again.line().len()), (1_700_000_000, 1));
}

#[test]
fn the_line_of_the_last_term_goes_before_a_longer_one_that_was_given_up() {
    let (mut again, old) = lost();
    let mut new = World::new();
    new.hub.summary.term = 2;
    new.submit("bob", (2..4).map(|number| text("bob", number)).collect());
    again.tell(Input::Head { member: origin("ann"), seq: 10, term: 1 });
    again.tell(Input::Head { member: origin("bob"), seq: 8, term: 2 });
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("bob"), after: 6 }]);
    again.tell(Input::Recovered { member: origin("bob"), events: new.events_after(6) });
    assert_eq!((again.hub.unheard().count(), again.hub.summary().term), (0, 2));
    again.tell(Input::Recovered { member: origin("ann"), events: old });
    assert_eq!(again.line(), new.line()[6..], "what was given up stays so");
}

#[test]
fn who_was_removed_is_not_waited_for() {
    let mut world = World::new();
    let backup = world.hub.summary().clone();
    world.submit("hub", vec![change("hub", 5, &Change::Removed(origin("ann")))]);
    let mut again = World::of(State::restored(config(), backup));
    again.tell(head("ann", 6));
    again.tell(head("bob", 7));
    again.tell(Input::Recovered { member: origin("bob"), events: world.events_after(6) });
    assert_eq!(again.hub.unheard().count(), 0);
}

#[test]
fn forced_a_hub_takes_first_what_those_have_that_answered() {
    let (mut again, theirs) = lost();
    again.tell(head("bob", 10));
    again.tell(Input::Forced);
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("bob"), after: 6 }], "ann is not waited for");
    again.tell(Input::Recovered { member: origin("bob"), events: theirs });
    assert_eq!((again.hub.unheard().count(), again.line().len()), (0, 4));
}

#[test]
fn a_person_may_go_on_without_members_and_that_is_a_new_term() {
    let mut world = World::of(State::restored(config(), World::new().hub.summary().clone()));
    world.tell(head("ann", 6));
    assert_eq!(world.hub.unheard().collect::<Vec<_>>(), [&origin("bob")]);
    world.tell(Input::Forced);
    assert_eq!(world.submit("ann", vec![text("ann", 2)]), [Outcome::Taken]);
    let Some(Write::Place(place)) = world.written.last() else { panic!("no place") };
    assert_eq!((place.seq, place.term), (7, 1_700_000_000));
}

#[test]
fn who_has_nothing_to_show_keeps_nobody_waiting() {
    let mut world = World::of(State::restored(config(), World::new().hub.summary().clone()));
    world.tell(head("ann", 1_000_000));
    world.tell(head("bob", 6));
    world.tell(Input::Recovered { member: origin("ann"), events: Vec::new() });
    assert_eq!(world.hub.unheard().count(), 0);
    assert_eq!(world.submit("ann", vec![text("ann", 2)]), [Outcome::Taken]);
}

#[test]
fn each_start_of_a_hub_is_a_term_of_its_own() {
    let backup = World::new().hub.summary().clone();
    let place = |millis: u64| {
        let mut world = World::of(State::restored(config(), backup.clone()));
        world.tell(Input::Forced);
        world
            .hub
            .handle(Input::Submitted { ticket: TICKET, from: origin("ann"), events: vec![text("ann", 2)] }, at(millis));
        world.look();
        let Some(Write::Place(place)) = world.written.pop() else { panic!("no place") };
        (place.seq, place.term)
    };
    assert_eq!((place(0), place(5000)), ((7, 1_700_000_000), (7, 1_700_000_005)), "two out of one backup");
}

#[test]
fn a_term_is_above_all_that_members_reported_and_not_above_what_nobody_shows() {
    let term = |reported: u64| {
        let mut world = World::of(State::restored(config(), World::new().hub.summary().clone()));
        world.tell(Input::Head { member: origin("ann"), seq: 6, term: reported });
        world.tell(Input::Forced);
        world.tell(Input::Forced);
        world.submit("ann", vec![text("ann", 2)]);
        world.hub.summary().term
    };
    assert_eq!(term(1_700_000_100), 1_700_000_101);
    assert_eq!(term(1 << 52), 1_700_000_000);
}

/// What a hub's line has become since a backup: carl is invited in event 7, before it or after, joins, and says
/// something.
fn joined_by_carl(is_invited_before: bool) -> (World, Summary) {
    let mut world = World::new();
    let before = world.hub.summary().clone();
    world.submit("hub", vec![change("hub", 5, &Change::Invited(origin("carl")))]);
    let backup = if is_invited_before { world.hub.summary().clone() } else { before };
    world.submit("carl", vec![change("carl", 1, &Change::Joined), text("carl", 2)]);
    (world, backup)
}

fn shown(seq: u64, is_here: bool) -> Input {
    Input::StrangersHead { origin: origin("carl"), shown: Some(Shown { seq, term: 1, is_here }) }
}

/// A hub of this backup, when ann and bob have said that they have no more.
fn restarted(backup: Summary) -> World {
    let last = backup.last.map_or(0, |(seq, _)| seq);
    let mut world = World::of(State::restored(config(), backup));
    world.tell(head("ann", last));
    world.tell(head("bob", last));
    world
}

#[test]
fn who_joined_after_the_backup_is_asked_and_what_it_alone_has_is_taken_back() {
    let (world, backup) = joined_by_carl(true);
    let mut again = World::of(State::restored(config(), backup));
    assert_eq!(again.take_others(), ["ann", "bob", "carl"].map(|name| Effect::AskHead(origin(name))));
    for name in ["ann", "bob"] {
        again.tell(Input::Head { member: origin(name), seq: 7, term: 1 });
    }
    assert_eq!(again.hub.unheard().count(), 0, "who is only invited is not waited for");
    again.tell(shown(9, false));
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("carl"), after: 7 }]);
    assert_eq!(again.hub.unheard().collect::<Vec<_>>(), [&origin("carl")]);
    let theirs = world.events_after(7);
    again.tell(Input::Recovered { member: origin("carl"), events: theirs });
    assert_eq!(again.take_others(), [Effect::AskHead(origin("carl"))]);
    again.tell(shown(9, true));
    assert_eq!((again.hub.unheard().count(), again.line()), (0, world.line()[7..].to_vec()));
    assert_eq!(again.submit("carl", vec![text("carl", 3)]), [Outcome::Taken]);
}

#[test]
fn who_is_invited_and_goes_on_where_it_left_off_is_asked_for_its_joining() {
    let (_, backup) = joined_by_carl(true);
    let mut again = restarted(backup);
    // It has seen nothing of what was lost.
    again.tell(shown(7, true));
    assert_eq!(again.submit("carl", vec![text("carl", 2)]), [Outcome::Later(Delay::Gap { expected: 1 })]);
    let said = vec![change("carl", 1, &Change::Joined), text("carl", 2)];
    assert_eq!(again.submit("carl", said), [Outcome::Taken; 2]);
}

#[test]
fn who_joined_in_what_was_lost_joins_again_where_the_line_is_now() {
    let (world, backup) = joined_by_carl(false);
    let mut again = restarted(backup);
    assert_eq!(again.submit("ann", vec![text("ann", 2)]), [Outcome::Taken]);
    again.take_others();
    assert_eq!(again.submit("carl", vec![text("carl", 3)]), [UNAVAILABLE], "it may have joined");
    assert_eq!(again.take_others(), [Effect::AskHead(origin("carl"))]);
    again.tell(shown(9, false));
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("carl"), after: 0 }]);
    again.tell(Input::Recovered { member: origin("carl"), events: world.events_after(7) });
    again.store();
    let (seq, id, _) = again.line()[1];
    assert_eq!((seq, id), (8, change("carl", 1, &Change::Joined).id));
    assert_eq!(again.hub.summary().roster.view(&origin("carl")), Some((8, None)));
    assert_eq!(again.submit("carl", vec![text("carl", 2), text("carl", 3)]), [Outcome::Taken; 2]);
}

#[test]
fn what_does_not_follow_here_is_no_hole_if_it_was_never_for_who_has_it() {
    let (world, backup) = joined_by_carl(false);
    let mut again = World::of(State::restored(config(), backup));
    again.tell(Input::Head { member: origin("ann"), seq: 6, term: 1 });
    again.tell(Input::Stranger { origin: origin("carl") });
    again.tell(shown(9, false));
    again.tell(Input::Head { member: origin("bob"), seq: 6, term: 1 });
    assert_eq!(again.take_others().last(), Some(&Effect::Fetch { member: origin("carl"), after: 6 }));
    again.tell(Input::Recovered { member: origin("carl"), events: world.events_after(7) });
    assert_eq!(again.take_others(), [Effect::Fetch { member: origin("carl"), after: 0 }]);
    again.tell(Input::Recovered { member: origin("carl"), events: world.events_after(7) });
    assert_eq!((again.hub.unheard().count(), again.line().len()), (0, 1));
    assert!(again.hub.summary().roster.is_member(&origin("carl")));
}

#[test]
fn a_stranger_that_shows_nothing_of_this_hub_is_one() {
    let mut again = restarted(World::new().hub.summary().clone());
    again.take_others();
    assert_eq!(again.submit("eve", vec![text("eve", 1)]), [UNAVAILABLE]);
    assert_eq!(again.submit("eve", vec![text("eve", 1)]), [UNAVAILABLE]);
    assert_eq!(again.take_others(), [Effect::AskHead(origin("eve"))], "once");
    again.tell(Input::StrangersHead { origin: origin("eve"), shown: None });
    let refused = Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember));
    assert_eq!(again.submit("eve", vec![text("eve", 1)]), [refused]);
    assert_eq!(again.take_others(), []);
}

#[test]
fn who_was_removed_is_not_let_in_again_by_what_was_lost() {
    let (world, mut backup) = joined_by_carl(false);
    let removed = Change::Removed(origin("carl"));
    backup.roster.apply(&origin("hub"), &Change::Invited(origin("carl")), 5);
    backup.roster.apply(&origin("hub"), &removed, 6);
    let mut again = World::of(State::restored(config(), backup));
    again.tell(Input::Forced);
    again.submit("ann", vec![text("ann", 2)]);
    again.tell(Input::Stranger { origin: origin("carl") });
    again.tell(shown(9, false));
    again.tell(Input::Recovered { member: origin("carl"), events: world.events_after(7) });
    assert_eq!((again.line().len(), again.hub.summary().roster.is_member(&origin("carl"))), (1, false));
}
