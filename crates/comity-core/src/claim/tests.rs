//! The rules of claims, one by one, and then many nodes on a wire that delays, doubles, loses and reorders.

use super::*;
use serde_json::json;

const BASE: u64 = 1_782_000_000_000;
const INTERVAL: Duration = Duration::from_secs(30);

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 32])
}

fn fresh(number: u8) -> State {
    State::new(Config { me: node(number), interval: INTERVAL })
}

fn now(millis: u64) -> Now {
    Now { mono: Duration::from_millis(millis), wall: Timestamp::from_millis(BASE + millis) }
}

fn id(text: &str) -> TaskId {
    TaskId::new(text).expect("an id")
}

fn task() -> Task {
    Task { announcer: node(1), id: id("t") }
}

fn content() -> Payload {
    Payload::from_value(&json!({"title": "x"})).expect("a payload")
}

fn stands(lease: u64, standing: Standing) -> Word {
    let content = (standing == Standing::Open).then(content);
    Word::Stands { id: id("t"), lease: Lease(lease), standing, content }
}

fn claim(lease: Option<u64>, at: u64) -> Word {
    Word::Claim { announcer: None, id: id("t"), lease: lease.map(Lease), at: Timestamp::from_millis(BASE + at) }
}

fn finish(lease: u64, finish: Finish) -> Word {
    Word::Finish { task: task(), lease: Lease(lease), finish }
}

fn done_by(owner: u8) -> Standing {
    Standing::Ended { owner: Some(node(owner)), outcome: Outcome::Completed }
}

fn effects(state: &mut State, millis: u64) -> Vec<Effect> {
    state.effects(now(millis)).collect()
}

/// What is said at this time, after whatever is due.
fn said(state: &mut State, millis: u64) -> Vec<Word> {
    state.wake(now(millis));
    let said = |effect| if let Effect::Say(word) = effect { Some(word) } else { None };
    effects(state, millis).into_iter().filter_map(said).collect()
}

/// Node 1 with an open task, announced at 0: its lease is [`BASE`].
fn announcer() -> State {
    let mut state = fresh(1);
    assert_eq!(state.handle(Input::Announce { id: id("t"), content: content() }, now(0)), Ok(()));
    assert_eq!(said(&mut state, 0), [stands(BASE, Standing::Open)]);
    state
}

/// The announcer after node 2 got the task at 0.
fn assigned() -> State {
    let mut state = announcer();
    assert_eq!(state.handle(Input::Heard(node(2), claim(Some(BASE), 0)), now(0)), Ok(()));
    assert_eq!(said(&mut state, 0), [stands(BASE, Standing::Assigned(node(2)))]);
    state
}

/// Node 2 that owns the task by lease 1 since 0.
fn owner() -> State {
    let mut state = fresh(2);
    let hear = |state: &mut State, standing| state.handle(Input::Heard(node(1), stands(1, standing)), now(0));
    hear(&mut state, Standing::Open).expect("room");
    state.handle(Input::Claim(task()), now(0)).expect("open");
    hear(&mut state, Standing::Assigned(node(2))).expect("room");
    assert!(effects(&mut state, 0).contains(&Effect::Won { task: task(), lease: Lease(1) }));
    state
}

#[test]
fn the_first_claim_wins_and_of_one_step_the_earliest_and_then_the_lowest_id() {
    let claims = [(5, 20), (4, 10), (3, 10), (2, 30)];
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
        let mut state = announcer();
        for at in order {
            let (claimant, time) = claims[at];
            assert_eq!(state.handle(Input::Heard(node(claimant), claim(None, time)), now(50)), Ok(()));
        }
        assert_eq!(said(&mut state, 50), [stands(BASE, Standing::Assigned(node(3)))], "{order:?}");
        let late = state.handle(Input::Heard(node(2), claim(None, 0)), now(51));
        assert_eq!(late, Err(Refused::NotOpen));
        assert_eq!(state.standing(&task()), Some((Lease(BASE), Standing::Assigned(node(3)))));
    }
}

#[test]
fn a_claim_of_another_time_lease_or_task_is_refused() {
    let mut state = announcer();
    let mut hear = |word, millis| state.handle(Input::Heard(node(2), word), now(millis));
    assert_eq!(hear(claim(None, 0), 40_001), Err(Refused::Time), "older than a claim can be, and clocks may differ");
    assert_eq!(hear(claim(None, 140_000), 40_001), Err(Refused::Time), "in the future");
    assert_eq!(hear(claim(Some(BASE - 1), 40_000), 40_001), Err(Refused::OldLease { current: Lease(BASE) }));
    let other = Word::Claim { announcer: None, id: id("u"), lease: None, at: now(0).wall };
    assert_eq!(hear(other, 0), Err(Refused::Unknown));
    let elsewhere = Word::Claim { announcer: Some(node(9)), id: id("t"), lease: None, at: now(0).wall };
    assert_eq!(hear(elsewhere, 0), Ok(()), "that is for another announcer");
    assert_eq!(state.standing(&task()), Some((Lease(BASE), Standing::Open)));
}

#[test]
fn a_late_completion_with_an_old_lease_is_refused() {
    let mut state = assigned();
    let again = stands(BASE + 1, Standing::Open);
    assert_eq!(said(&mut state, 89_999), [stands(BASE, Standing::Assigned(node(2)))]);
    assert_eq!(said(&mut state, 90_000), [again], "its owner was silent for three intervals");
    let late = state.handle(Input::Heard(node(2), finish(BASE, Finish::Completed)), now(91_000));
    assert_eq!(late, Err(Refused::OldLease { current: Lease(BASE + 1) }));
    assert_eq!(state.standing(&task()), Some((Lease(BASE + 1), Standing::Open)));
    state.handle(Input::Heard(node(3), claim(None, 91_000)), now(91_000)).expect("open");
    assert_eq!(said(&mut state, 91_000).last(), Some(&stands(BASE + 1, Standing::Assigned(node(3)))));
    let late = state.handle(Input::Heard(node(2), finish(BASE, Finish::Completed)), now(92_000));
    assert_eq!(late, Err(Refused::OldLease { current: Lease(BASE + 1) }));
    let forged = state.handle(Input::Heard(node(2), finish(BASE + 1, Finish::Completed)), now(92_000));
    assert_eq!(forged, Err(Refused::NotOwner));
    assert_eq!(state.handle(Input::Heard(node(3), finish(BASE + 1, Finish::Completed)), now(92_000)), Ok(()));
    assert_eq!(state.standing(&task()), Some((Lease(BASE + 1), done_by(3))));
}

#[test]
fn an_owner_that_is_heard_of_keeps_its_task() {
    let mut state = assigned();
    for millis in (30_000..=300_000).step_by(30_000) {
        assert_eq!(said(&mut state, millis), [stands(BASE, Standing::Assigned(node(2)))]);
        state.handle(Input::Alive(node(2)), now(millis)).expect("nothing to refuse");
    }
    state.handle(Input::Alive(node(3)), now(380_000)).expect("nothing to refuse");
    let words_of_old = state.handle(Input::Heard(node(2), claim(Some(BASE), 380_000)), now(380_000));
    assert_eq!(words_of_old, Ok(()), "who has it is told so, and that is all");
    assert_eq!(
        said(&mut state, 390_000).last(),
        Some(&stands(BASE + 1, Standing::Open)),
        "another's life is not its own"
    );
}

#[test]
fn completion_failure_and_withdrawal_end_a_task_and_giving_it_back_does_not() {
    for (said_finish, outcome) in [(Finish::Completed, Outcome::Completed), (Finish::Failed, Outcome::Failed)] {
        let mut state = assigned();
        let word = finish(BASE, said_finish);
        assert_eq!(state.handle(Input::Heard(node(2), word.clone()), now(5000)), Ok(()));
        let ended = stands(BASE, Standing::Ended { owner: Some(node(2)), outcome });
        assert_eq!(said(&mut state, 5000), std::slice::from_ref(&ended));
        // It did not hear that, and says it again.
        assert_eq!(state.handle(Input::Heard(node(2), word), now(8000)), Ok(()));
        assert_eq!(said(&mut state, 8000), [ended]);
        assert_eq!(state.handle(Input::Heard(node(3), claim(None, 8000)), now(8000)), Err(Refused::NotOpen));
    }
    let mut state = assigned();
    assert_eq!(state.handle(Input::Heard(node(2), finish(BASE, Finish::Released)), now(5000)), Ok(()));
    assert_eq!(said(&mut state, 5000), [stands(BASE + 1, Standing::Open)]);
    assert_eq!(state.handle(Input::Withdraw(id("t")), now(6000)), Ok(()));
    let withdrawn = stands(BASE + 1, Standing::Ended { owner: None, outcome: Outcome::Withdrawn });
    assert_eq!(said(&mut state, 6000), [withdrawn]);
    assert_eq!(state.handle(Input::Withdraw(id("t")), now(6000)), Err(Refused::NotOpen));
    // It is spoken of for as long as others remember it, and then no more.
    assert_eq!(said(&mut state, 95_999).len(), 1);
    assert_eq!(said(&mut state, 200_000), []);
    assert_eq!((state.standing(&task()), state.own_bytes, state.wake_at()), (None, 0, None));
}

#[test]
fn a_claim_is_said_until_it_is_void_after_ten_seconds() {
    let mut state = fresh(2);
    assert_eq!(state.handle(Input::Claim(task()), now(0)), Err(Refused::Unknown));
    state.handle(Input::Heard(node(1), stands(1, Standing::Open)), now(0)).expect("room");
    assert_eq!(state.handle(Input::Claim(task()), now(0)), Ok(()));
    assert_eq!(state.handle(Input::Claim(task()), now(0)), Err(Refused::Known));
    let word = Word::Claim { announcer: Some(node(1)), id: id("t"), lease: Some(Lease(1)), at: now(0).wall };
    for millis in [0, 3000, 6000, 9000] {
        assert_eq!(said(&mut state, millis), std::slice::from_ref(&word), "{millis}");
    }
    state.wake(now(9999));
    assert_eq!(effects(&mut state, 9999), []);
    state.wake(now(10_000));
    let void = Effect::Lost { task: task(), lease: Lease(1), why: Lost::Void };
    assert_eq!(effects(&mut state, 10_000), [void]);
    // The announcer's word comes late: it is given back, each time.
    for millis in [11_000, 12_000] {
        state.handle(Input::Heard(node(1), stands(1, Standing::Assigned(node(2)))), now(millis)).expect("room");
        assert_eq!(said(&mut state, millis), [finish(1, Finish::Released)]);
    }
    // It may claim the next one.
    state.handle(Input::Heard(node(1), stands(2, Standing::Open)), now(13_000)).expect("room");
    assert_eq!(state.handle(Input::Claim(task()), now(13_000)), Ok(()));
}

#[test]
fn an_owner_says_that_it_is_through_until_the_announcer_knows() {
    let mut state = owner();
    assert_eq!(state.handle(Input::Finish(task(), Finish::Completed), now(1000)), Ok(()));
    assert_eq!(state.handle(Input::Finish(task(), Finish::Failed), now(1000)), Err(Refused::NotOwner));
    for millis in [1000, 4000, 7000] {
        assert_eq!(said(&mut state, millis), [finish(1, Finish::Completed)]);
    }
    state.handle(Input::Heard(node(1), stands(1, done_by(2))), now(8000)).expect("room");
    let ended = Effect::Stands { task: task(), lease: Lease(1), standing: done_by(2) };
    assert_eq!(effects(&mut state, 8000), [ended]);
    assert_eq!((said(&mut state, 20_000), state.parts), (vec![], 0));
}

#[test]
fn who_owns_a_task_is_told_when_it_owns_it_no_more() {
    for (word, why) in [
        (stands(2, Standing::Open), Lost::AnnouncedAgain),
        (stands(2, Standing::Assigned(node(3))), Lost::AnnouncedAgain),
        (stands(1, Standing::Ended { owner: Some(node(2)), outcome: Outcome::Withdrawn }), Lost::Ended),
    ] {
        let mut state = owner();
        state.handle(Input::Heard(node(1), word), now(1000)).expect("room");
        let lost = Effect::Lost { task: task(), lease: Lease(1), why };
        assert_eq!(effects(&mut state, 1000).last(), Some(&lost));
        assert_eq!(state.handle(Input::Finish(task(), Finish::Completed), now(1000)), Err(Refused::NotOwner));
    }
    let mut state = owner();
    state.wake(now(90_000));
    let lost = Effect::Lost { task: task(), lease: Lease(1), why: Lost::Unheard };
    assert_eq!(effects(&mut state, 90_000), [lost, Effect::Forgotten(task())]);
    // The loser of a claim is told as well.
    let mut state = fresh(3);
    state.handle(Input::Heard(node(1), stands(1, Standing::Open)), now(0)).expect("room");
    state.handle(Input::Claim(task()), now(0)).expect("open");
    state.handle(Input::Heard(node(1), stands(1, Standing::Assigned(node(2)))), now(1)).expect("room");
    let lost = Effect::Lost { task: task(), lease: Lease(1), why: Lost::ToAnother };
    assert_eq!(effects(&mut state, 1).last(), Some(&lost));
}

#[test]
fn words_in_any_order_lead_to_one_view() {
    let words = [
        stands(1, Standing::Open),
        stands(1, Standing::Assigned(node(2))),
        stands(2, Standing::Open),
        stands(2, Standing::Assigned(node(3))),
        // An announcer that says two things of one lease: everybody believes the same one.
        stands(2, Standing::Assigned(node(4))),
        stands(2, done_by(3)),
        stands(2, done_by(4)),
    ];
    for seed in 0..500 {
        let (mut chance, mut state) = (Chance(seed), fresh(9));
        for _ in 0..60 {
            let word = words[chance.below(7)].clone();
            state.handle(Input::Heard(node(1), word), now(0)).expect("room");
        }
        assert_eq!(state.standing(&task()), Some((Lease(2), done_by(3))), "seed {seed}");
    }
}

#[test]
fn a_node_may_do_its_own_task_and_need_not_tell_itself() {
    let mut state = announcer();
    state.handle(Input::Claim(task()), now(10)).expect("open");
    let heard = effects(&mut state, 10);
    assert!(heard.contains(&Effect::Say(stands(BASE, Standing::Assigned(node(1))))));
    assert!(heard.contains(&Effect::Won { task: task(), lease: Lease(BASE) }));
    assert_eq!(said(&mut state, 200_000).len(), 1, "it does not doubt itself, and says how it stands");
    state.handle(Input::Finish(task(), Finish::Completed), now(200_001)).expect("its own");
    assert_eq!(said(&mut state, 200_001), [stands(BASE, done_by(1))]);
    assert_eq!(state.standing(&task()), Some((Lease(BASE), done_by(1))));
    assert_eq!(state.parts, 0);
}

#[test]
fn whoever_asks_about_what_it_cannot_have_is_answered_once_a_second_at_most() {
    let mut state = assigned();
    let mut answers = 0;
    for millis in 1..=10_000 {
        let refused = state.handle(Input::Heard(node(3), claim(None, millis)), now(millis));
        assert_eq!(refused, Err(Refused::NotOpen));
        answers += said(&mut state, millis).len();
    }
    assert_eq!(answers, 10);
}

#[test]
fn a_task_is_announced_anew_only_when_it_has_ended_and_always_under_a_higher_lease() {
    let mut state = assigned();
    let announce = || Input::Announce { id: id("t"), content: content() };
    assert_eq!(state.handle(announce(), now(1)), Err(Refused::Known));
    state.handle(Input::Heard(node(2), finish(BASE, Finish::Failed)), now(1)).expect("its owner");
    // In the millisecond in which it was first announced, or with a clock that was set back.
    let set_back = Now { mono: Duration::from_millis(2), wall: Timestamp::from_millis(BASE - 5000) };
    assert_eq!(state.handle(announce(), set_back), Ok(()));
    assert_eq!(said(&mut state, 2).last(), Some(&stands(BASE + 1, Standing::Open)));
    // A program that starts again knows nothing of before, and is heard.
    let mut restarted = fresh(1);
    restarted.handle(announce(), now(60_000)).expect("room");
    assert_eq!(said(&mut restarted, 60_000), [stands(BASE + 60_000, Standing::Open)]);
    assert_eq!(restarted.content(&id("t")), Some(&content()));
}

#[test]
fn nobody_but_the_announcer_says_how_a_task_stands() {
    let mut state = owner();
    state.handle(Input::Heard(node(3), stands(9, Standing::Assigned(node(3)))), now(1)).expect("another task");
    assert_eq!(state.standing(&task()), Some((Lease(1), Standing::Assigned(node(2)))));
    state.handle(Input::Heard(node(3), finish(1, Finish::Completed)), now(1)).expect("not for this node");
    assert_eq!(state.standing(&task()), Some((Lease(1), Standing::Assigned(node(2)))));
    let mut state = assigned();
    state.handle(Input::Heard(node(1), stands(BASE + 9, Standing::Open)), now(1)).expect("its own name");
    assert_eq!(state.standing(&task()), Some((Lease(BASE), Standing::Assigned(node(2)))));
}

#[test]
fn every_table_is_bounded() {
    let mut state = fresh(1);
    for number in 0..OWN_MAX {
        let input = Input::Announce { id: id(&number.to_string()), content: content() };
        assert_eq!(state.handle(input, now(0)), Ok(()));
    }
    assert_eq!(state.handle(Input::Announce { id: id("t"), content: content() }, now(0)), Err(Refused::Full));
    let large = Payload::from_value(&json!("x".repeat(200_000))).expect("a payload");
    let mut state = fresh(1);
    let announced = (0..OWN_MAX).take_while(|number| {
        let input = Input::Announce { id: id(&number.to_string()), content: large.clone() };
        state.handle(input, now(0)).is_ok()
    });
    assert_eq!(announced.count(), OWN_BYTES_MAX / large.len());

    let mut state = fresh(9);
    let open = |state: &mut State, announcer: u8, number: usize, millis: usize| {
        let word =
            Word::Stands { id: id(&number.to_string()), lease: Lease(1), standing: Standing::Open, content: None };
        state.handle(Input::Heard(node(announcer), word), now(millis as u64))
    };
    for announcer in 1..=4 {
        for number in 0..SEEN_OF_ONE_MAX {
            assert_eq!(open(&mut state, announcer, number, number), Ok(()));
        }
        assert_eq!(open(&mut state, announcer, SEEN_OF_ONE_MAX, 5000), Err(Refused::Full));
    }
    let first = Task { announcer: node(1), id: id("0") };
    let second = Task { announcer: node(2), id: id("0") };
    for number in 0..PARTS_MAX {
        let task = Task { announcer: node(1), id: id(&number.to_string()) };
        assert_eq!(state.handle(Input::Claim(task), now(5000)), Ok(()));
    }
    assert_eq!(state.handle(Input::Claim(second.clone()), now(5000)), Err(Refused::Full));
    // One more announcer: the task that was not heard of for the longest gives way, but none that this node claims.
    assert_eq!(open(&mut state, 5, 0, 5000), Ok(()));
    assert_eq!((state.standing(&second), state.standing(&first).is_some()), (None, true));
    assert_eq!((state.seen.len(), state.of_others), (SEEN_MAX, SEEN_MAX));
    assert_eq!(TaskId::new(""), Err(BadTaskId));
    assert_eq!(TaskId::new(&"x".repeat(TASK_ID_MAX + 1)), Err(BadTaskId));
}

/// The state after a restart with what was kept.
fn restarted(state: &State, number: u8, millis: u64) -> State {
    State::restored(Config { me: node(number), interval: INTERVAL }, &state.to_value(), now(millis))
}

#[test]
fn an_announcer_that_restarts_goes_on_under_the_same_leases() {
    let mut state = assigned();
    state.handle(Input::Announce { id: id("u"), content: content() }, now(10)).expect("room");
    state.handle(Input::Announce { id: id("v"), content: content() }, now(10)).expect("room");
    state.handle(Input::Withdraw(id("v")), now(20)).expect("open");
    effects(&mut state, 20);
    assert!(state.take_changed() && !state.take_changed());
    let mut state = restarted(&state, 1, 1000);
    let words = said(&mut state, 1000);
    assert!(words.contains(&stands(BASE, Standing::Assigned(node(2)))), "{words:?}");
    assert_eq!(words.len(), 3);
    assert_eq!(state.content(&id("u")), Some(&content()));
    assert_eq!(state.handle(Input::Heard(node(2), finish(BASE, Finish::Completed)), now(2000)), Ok(()));
    assert_eq!(state.standing(&task()), Some((Lease(BASE), done_by(2))));
    // The owner of the task is doubted, and what is over is forgotten, as if nothing had been.
    let mut state = restarted(&assigned(), 1, 1000);
    effects(&mut state, 1000);
    assert_eq!(said(&mut state, 91_000).last(), Some(&stands(BASE + 1, Standing::Open)));
}

#[test]
fn an_owner_that_restarts_still_owns_and_what_it_had_finished_is_said() {
    let mut state = restarted(&owner(), 2, 1000);
    assert_eq!((state.mine(&task()), state.held()), (Some(Mine::Held), 1));
    state.handle(Input::Heard(node(1), stands(1, Standing::Assigned(node(2)))), now(1500)).expect("room");
    assert_eq!(said(&mut state, 1500), [], "it is not given back");
    state.handle(Input::Finish(task(), Finish::Failed), now(2000)).expect("held");
    assert!(state.take_changed());
    let mut state = restarted(&state, 2, 3000);
    assert_eq!(state.mine(&task()), Some(Mine::Finished));
    assert_eq!(said(&mut state, 3000), [finish(1, Finish::Failed)]);
    // A claim is not kept: what it brings is given back.
    let mut claiming = fresh(2);
    claiming.handle(Input::Heard(node(1), stands(1, Standing::Open)), now(0)).expect("room");
    claiming.handle(Input::Claim(task()), now(0)).expect("open");
    let mut state = restarted(&claiming, 2, 1000);
    assert_eq!(state.mine(&task()), None);
    state.handle(Input::Heard(node(1), stands(1, Standing::Assigned(node(2)))), now(1500)).expect("room");
    assert_eq!(said(&mut state, 1500), [finish(1, Finish::Released)]);
}

#[test]
fn what_was_kept_and_cannot_be_read_is_left_out() {
    let kept = assigned().to_value();
    for broken in [json!(null), json!([]), json!({"own": [1, {}, {"id": ""}], "parts": "x"})] {
        let state = State::restored(Config { me: node(1), interval: INTERVAL }, &broken, now(0));
        assert_eq!((state.tasks().count(), state.own.len()), (0, 0), "{broken}");
    }
    let mut other = kept.clone();
    other["own"][0]["standing"] = json!("dreamt");
    other["parts"] = json!([{"id": "t", "announcer": node(1).to_string(), "lease": 7}]);
    let state = State::restored(Config { me: node(1), interval: INTERVAL }, &other, now(0));
    assert_eq!((state.tasks().count(), state.parts), (0, 0), "no part in a task that is not there");
}

#[test]
fn who_asks_is_told_how_all_tasks_stand_once_in_a_while() {
    let mut state = assigned();
    state.handle(Input::Announce { id: id("u"), content: content() }, now(0)).expect("room");
    effects(&mut state, 0);
    let mut asked = |millis| {
        state.handle(Input::Asked(node(7)), now(millis)).expect("nothing to refuse");
        said(&mut state, millis).len()
    };
    assert_eq!([asked(5000), asked(5001), asked(6000), asked(7999)], [2, 0, 0, 0]);
    assert_eq!(asked(8000), 2, "who asked in between was not forgotten");
    let answers: usize = (8001..=20_000).map(asked).sum();
    assert_eq!(answers, 2 * 4);
}

/// A generator whose sequence its seed tells (SplitMix64).
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = self.0;
        drawn = (drawn ^ drawn >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ drawn >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        drawn ^ drawn >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.draw() % limit as u64).expect("below a usize")
    }

    fn millis(&mut self, from: u64, to: u64) -> u64 {
        from + self.draw() % (to - from)
    }

    fn percent(&mut self, percent: u64) -> bool {
        self.draw() % 100 < percent
    }
}

/// What happens at one node of the simulation.
#[derive(Debug, Clone)]
enum Event {
    Input(Input),
    /// It says that it is there, and will say so again.
    Heartbeat,
    /// It crashes, and is there again at once with what its disk has.
    Restart,
}

/// Some nodes on one clock and a wire that delays, doubles, loses and reorders. Node 0 announces.
struct World {
    seed: u64,
    chance: Chance,
    nodes: Vec<State>,
    /// How far each one's wall clock is ahead, in milliseconds, at most five seconds behind.
    skews: Vec<u64>,
    /// Until when nothing comes to a node or from it.
    cut_until: Vec<u64>,
    queue: BTreeMap<(u64, u64), (usize, Event)>,
    events: u64,
    /// Who owned each lease, as anybody was ever told, and who began to work by it.
    owners: BTreeMap<Lease, NodeId>,
    winners: BTreeMap<Lease, NodeId>,
    /// How the task stands, as each node knows.
    views: BTreeMap<usize, (Lease, Standing)>,
    /// How it ended, as each node was told.
    ends: BTreeMap<usize, (Lease, Standing)>,
    refused_late: u64,
    /// Whether the first owner is cut off for a while.
    cuts: bool,
}

const LOSS_PERCENT: u64 = 25;
const DOUBLE_PERCENT: u64 = 15;
const DELAY_MAX: u64 = 4000;
const RESTART_PERCENT: u64 = 30;
const ROUND: u64 = 1_800_000;

impl World {
    fn new(seed: u64, claimants: u8) -> Self {
        let mut chance = Chance(seed);
        let nodes: Vec<State> = (0..=claimants).map(|number| fresh(number + 1)).collect();
        let skews = nodes.iter().map(|_| chance.millis(0, 10_000)).collect();
        let cut_until = vec![0; nodes.len()];
        let cuts = chance.percent(30);
        let mut world = Self {
            seed,
            chance,
            nodes,
            skews,
            cut_until,
            queue: BTreeMap::new(),
            events: 0,
            owners: BTreeMap::new(),
            winners: BTreeMap::new(),
            views: BTreeMap::new(),
            ends: BTreeMap::new(),
            refused_late: 0,
            cuts,
        };
        world.post(0, 0, Event::Input(Input::Announce { id: id("t"), content: content() }));
        for number in 0..world.nodes.len() {
            let at = world.chance.millis(0, 30_000);
            world.post(at, number, Event::Heartbeat);
            if world.chance.percent(RESTART_PERCENT) {
                let at = world.chance.millis(0, 60_000);
                world.post(at, number, Event::Restart);
            }
        }
        world
    }

    fn post(&mut self, at: u64, number: usize, event: Event) {
        self.events += 1;
        self.queue.insert((at, self.events), (number, event));
    }

    fn now(&self, number: usize, at: u64) -> Now {
        let wall = Timestamp::from_millis(BASE + at + self.skews[number] - 5000);
        Now { mono: Duration::from_millis(at), wall }
    }

    fn run(&mut self) {
        loop {
            let wakes = self.nodes.iter().enumerate();
            let wake = wakes.filter_map(|(number, state)| Some((state.wake_at()?.as_millis() as u64, number))).min();
            let next = self.queue.first_key_value().map(|((at, _), _)| *at);
            let Some(at) = [next, wake.map(|(at, _)| at)].into_iter().flatten().min().filter(|at| *at < ROUND) else {
                return;
            };
            match wake.filter(|(wake, _)| *wake <= at) {
                Some((_, number)) => {
                    let now = self.now(number, at);
                    self.nodes[number].wake(now);
                    self.perform(number, at);
                }
                None => {
                    let Some((_, (number, event))) = self.queue.pop_first() else { return };
                    self.happen(number, event, at);
                }
            }
        }
    }

    fn happen(&mut self, number: usize, event: Event, at: u64) {
        let input = match event {
            Event::Heartbeat => {
                self.post(at + 30_000, number, Event::Heartbeat);
                return self.send(number, &Input::Alive(node(number as u8 + 1)), at);
            }
            Event::Restart => return self.restart(number, at),
            Event::Input(input) => input,
        };
        let is_wire = matches!(input, Input::Heard(..) | Input::Alive(_));
        if is_wire && at < self.cut_until[number] {
            return;
        }
        let is_completion = matches!(input, Input::Heard(_, Word::Finish { finish: Finish::Completed, .. }));
        let now = self.now(number, at);
        let result = self.nodes[number].handle(input, now);
        if is_completion && matches!(result, Err(Refused::OldLease { .. })) {
            self.refused_late += 1;
        }
        self.perform(number, at);
    }

    fn restart(&mut self, number: usize, at: u64) {
        let config = Config { me: node(number as u8 + 1), interval: INTERVAL };
        let now = self.now(number, at);
        self.nodes[number] = State::restored(config, &self.nodes[number].to_value(), now);
        // What it knew of others' tasks it has to be told again.
        self.views.remove(&number);
        self.perform(number, at);
        self.send(number, &Input::Asked(config.me), at);
    }

    fn send(&mut self, from: usize, input: &Input, at: u64) {
        if at < self.cut_until[from] {
            return;
        }
        for to in (0..self.nodes.len()).filter(|to| *to != from) {
            let copies = if self.chance.percent(DOUBLE_PERCENT) { 2 } else { 1 };
            for _ in 0..copies {
                let arrives = at + self.chance.millis(1, DELAY_MAX);
                if !self.chance.percent(LOSS_PERCENT) {
                    self.post(arrives, to, Event::Input(input.clone()));
                }
            }
        }
    }

    fn perform(&mut self, number: usize, at: u64) {
        let me = node(number as u8 + 1);
        let now = self.now(number, at);
        let effects: Vec<Effect> = self.nodes[number].effects(now).collect();
        for effect in effects {
            match effect {
                Effect::Say(word) => self.send(number, &Input::Heard(me, word), at),
                Effect::Stands { lease, standing, .. } => self.book(number, lease, standing, at),
                Effect::Won { task, lease } => self.work(number, task, lease, at),
                Effect::Lost { task, why: Lost::Void, .. } => self.claim_soon(number, task, at),
                // A program that does not listen: it says that it is through with what it has lost.
                Effect::Lost { task, lease, why: Lost::AnnouncedAgain | Lost::Unheard } => {
                    let word = Word::Finish { task, lease, finish: Finish::Completed };
                    self.send(number, &Input::Heard(me, word), at);
                }
                Effect::Lost { .. } => {}
                Effect::Forgotten(_) => drop(self.views.remove(&number)),
            }
        }
    }

    /// One lease has one owner, whoever is told of it; no view goes back; and the task ends once.
    fn book(&mut self, number: usize, lease: Lease, standing: Standing, at: u64) {
        let seed = self.seed;
        if let Some((before, stood)) = self.views.insert(number, (lease, standing)) {
            assert!((before, stood.rank()) < (lease, standing.rank()), "seed {seed}: node {number} went back");
        }
        match standing {
            Standing::Open if number > 0 => self.claim_soon(number, task(), at),
            Standing::Open => {}
            Standing::Assigned(owner) => {
                assert_eq!(*self.owners.entry(lease).or_insert(owner), owner, "seed {seed}: one owner of {lease:?}");
            }
            Standing::Ended { owner, .. } => {
                assert_eq!(owner.as_ref(), self.owners.get(&lease), "seed {seed}: its owner ended it");
                let before = self.ends.insert(number, (lease, standing));
                assert!(before.is_none_or(|before| before == (lease, standing)), "seed {seed}: it ended twice");
            }
        }
    }

    fn claim_soon(&mut self, number: usize, task: Task, at: u64) {
        // All at once, as far as the wire lets them.
        let pause = self.chance.millis(1, 50);
        self.post(at + pause, number, Event::Input(Input::Claim(task)));
    }

    fn work(&mut self, number: usize, task: Task, lease: Lease, at: u64) {
        let (me, seed) = (node(number as u8 + 1), self.seed);
        assert_eq!(*self.winners.entry(lease).or_insert(me), me, "seed {seed}: two nodes began by {lease:?}");
        assert_eq!(self.owners.get(&lease), Some(&me), "seed {seed}");
        if std::mem::take(&mut self.cuts) {
            self.cut_until[number] = at + self.chance.millis(60_000, 200_000);
        }
        let takes = self.chance.millis(100, 120_000);
        self.post(at + takes, number, Event::Input(Input::Finish(task, Finish::Completed)));
    }
}

/// Rounds with so many claimants: how often a task was announced again, a late completion refused, the end heard by all.
fn rounds(claimants: u8, rounds: u64) -> (u64, u64, u64) {
    let (mut again, mut late, mut all) = (0, 0, 0);
    for seed in 0..rounds {
        let mut world = World::new(seed, claimants);
        world.run();
        let first = world.ends.get(&0).unwrap_or_else(|| panic!("seed {seed}: the task ended"));
        for (number, end) in &world.ends {
            assert_eq!(end, first, "seed {seed}: node {number} heard of another end");
        }
        for (number, state) in world.nodes.iter().enumerate() {
            assert_eq!(state.tasks().count(), 0, "seed {seed}: node {number} remembers what nobody speaks of");
            assert_eq!((state.parts, state.of_others), (0, 0), "seed {seed}: node {number}");
        }
        again += u64::from(world.owners.len() > 1);
        late += world.refused_late;
        all += u64::from(world.ends.len() == world.nodes.len());
    }
    (again, late, all)
}

#[test]
fn two_nodes_that_claim_at_once_agree_on_one_owner_a_thousand_times() {
    let (again, late, all) = rounds(2, 1000);
    println!("announced again in {again} rounds, {late} late completions refused, the end heard by all in {all}");
    assert!(again > 200 && late > 20 && all > 950, "{again} {late} {all}");
}

#[test]
fn five_nodes_that_claim_at_once_agree_on_one_owner_a_thousand_times() {
    let (again, late, all) = rounds(5, 1000);
    println!("announced again in {again} rounds, {late} late completions refused, the end heard by all in {all}");
    assert!(again > 200 && late > 20 && all > 950, "{again} {late} {all}");
}
