//! The rules of a roster, one by one, and then drawn histories beside a roster that looks at everybody.

use super::*;
use crate::registry::drawn::{Dice, node};
use crate::registry::profile::Told;

const ANN: Holder = Holder::ApiKey(KeyHash::from_bytes([1; 32]));
const BOB: Holder = Holder::ApiKey(KeyHash::from_bytes([2; 32]));

fn at(seconds: u64) -> Now {
    Now { mono: Duration::from_secs(seconds), wall: Timestamp::from_millis(1_782_000_000_000 + seconds * 1000) }
}

fn mono(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn name(text: &str) -> NodeName {
    NodeName::new(text).unwrap()
}

fn roster(nodes_max: usize, dim: usize) -> Roster {
    let settings = Settings { dim, ..Settings::default() };
    Roster::new(Config { nodes_max, settings, ..Config::default() })
}

fn beat(roster: &mut Roster, node: &str, seconds: u64) -> Option<Timestamp> {
    roster.heartbeat(&name(node), Heartbeat::default(), ANN, at(seconds)).unwrap()
}

#[test]
fn a_silent_node_is_stale_after_three_heartbeats_and_gone_after_ten() {
    let mut roster = roster(10, 4);
    roster.register(node("a"), ANN, at(5)).unwrap();
    assert_eq!(roster.poll(mono(94)), [Change::Joined(name("a"))]);
    assert_eq!(roster.poll(mono(95)), [Change::Stale(name("a"))]);
    assert_eq!(roster.members(mono(304)).count(), 1, "a stale node has a part");
    assert_eq!(roster.poll(mono(305)), [Change::Gone(name("a"))]);
    assert_eq!((roster.members(mono(305)).count(), roster.len()), (0, 1));
    beat(&mut roster, "a", 400);
    assert_eq!(roster.poll(mono(400)), [Change::Back(name("a"))]);
    assert_eq!(roster.members(mono(400)).count(), 1, "it came back by its heartbeat");
}

#[test]
fn the_ten_thousand_and_first_node_is_refused_unless_one_is_gone() {
    let mut roster = Roster::new(Config::default());
    for number in 0..NODES_MAX {
        roster.register(node(&format!("n{number}")), ANN, at(0)).unwrap();
    }
    assert_eq!(roster.register(node("late"), ANN, at(1)), Err(Refused::Full));
    assert_eq!(roster.register(node("n7"), ANN, at(1)), Ok(()), "who is there registers again");
    beat(&mut roster, "n3", 299);
    assert_eq!(roster.register(node("late"), ANN, at(300)), Ok(()), "the gone make room");
    assert_eq!(roster.len(), NODES_MAX);
    assert!(roster.member(&name("n0")).is_none(), "of the gone, the first by time and name");
    assert!(roster.member(&name("n3")).is_some() && roster.member(&name("n7")).is_some());
}

#[test]
fn a_name_is_held_by_the_key_that_registered_it_also_while_its_node_is_gone() {
    let mut roster = roster(10, 4);
    let (ann, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
    let keyed = Registration { key: Some(ann), ..node("a") };
    assert_eq!(roster.register(keyed.clone(), Holder::Key(other), at(0)), Err(Refused::OtherKey));
    roster.register(keyed.clone(), ANN, at(0)).unwrap();
    for seconds in [1, 1000] {
        assert_eq!(roster.register(keyed.clone(), BOB, at(seconds)), Err(Refused::Held));
        assert_eq!(roster.register(node("a"), Holder::Key(other), at(seconds)), Err(Refused::Held));
        assert_eq!(roster.heartbeat(&name("a"), Heartbeat::default(), BOB, at(seconds)), Err(Refused::Held));
    }
    assert_eq!(roster.register(keyed.clone(), Holder::Key(ann), at(1001)), Err(Refused::Held), "it only named it");
    roster.register(keyed.clone(), Proof { holder: ANN, key: Some(ann) }, at(1002)).unwrap();
    assert_eq!(roster.register(keyed.clone(), Holder::Key(ann), at(1003)), Ok(()), "the key it proved is its own");
    roster.register(keyed, ANN, at(1004)).unwrap();
    assert_eq!(roster.heartbeat(&name("a"), Heartbeat::default(), Holder::Key(ann), at(1005)), Ok(None), "it stays so");
    roster.register(Registration { key: Some(other), ..node("a") }, ANN, at(1006)).unwrap();
    for key in [ann, other] {
        assert!(!roster.member(&name("a")).unwrap().is_held_by(Holder::Key(key)), "another was named, and not proved");
    }
}

#[test]
fn a_name_that_is_a_key_is_for_who_proves_that_key() {
    let mut roster = roster(10, 4);
    let (ann, other) = (NodeId::from_bytes([1; 32]), NodeId::from_bytes([2; 32]));
    let text = ann.to_string();
    let keyed = Registration { key: Some(ann), ..node(&text) };
    for registration in [keyed.clone(), node(&text), node(&format!(" {text}")), node("ed25519:ann")] {
        assert_eq!(roster.register(registration.clone(), ANN, at(0)), Err(Refused::NotItsKey));
        let by_other = Registration { key: None, ..registration };
        assert_eq!(roster.register(by_other, Holder::Key(other), at(0)), Err(Refused::NotItsKey));
    }
    assert!(roster.is_empty());
    assert_eq!(roster.register(keyed.clone(), Proof { holder: ANN, key: Some(ann) }, at(0)), Ok(()));
    assert_eq!(roster.register(keyed, Holder::Key(ann), at(1)), Ok(()));
}

#[test]
fn settings_that_differ_are_refused_by_name() {
    let mut roster = roster(10, 4);
    let told = [
        (Setting::Dim, Told { dim: Some(5), ..Told::default() }),
        (Setting::Metric, Told { metric: Some("cosine".to_owned()), ..Told::default() }),
        (Setting::Projection, Told { projection: Some("simplex".to_owned()), ..Told::default() }),
        (Setting::Encoder, Told { encoder: Some("e5".to_owned()), ..Told::default() }),
    ];
    for (setting, settings) in told {
        let refused = roster.register(Registration { settings, ..node("a") }, ANN, at(0));
        assert_eq!(refused, Err(Refused::Differs(setting)));
        assert!(refused.unwrap_err().to_string().starts_with(setting.name()));
    }
    let long = Registration { basin_signature: vec![1.0; 5], ..node("a") };
    assert_eq!(roster.register(long, ANN, at(0)), Err(Refused::Differs(Setting::Dim)));
    let same = Told { dim: Some(4), metric: Some("fisher-rao".to_owned()), ..Told::default() };
    assert_eq!(roster.register(Registration { settings: same, ..node("a") }, ANN, at(0)), Ok(()));
    let beat = Heartbeat { centroids: Some(vec![vec![1.0; 4], vec![1.0; 3]]), ..Heartbeat::default() };
    assert_eq!(roster.heartbeat(&name("a"), beat, ANN, at(0)), Err(Refused::Differs(Setting::Dim)));
}

#[test]
fn what_is_out_of_bounds_is_refused_and_named() {
    let text = |length: usize| "x".repeat(length);
    let bad: [(Registration, BadRegistration); 10] = [
        (Registration { service_name: String::new(), ..node("a") }, BadRegistration::ServiceName),
        (Registration { service_name: text(129), ..node("a") }, BadRegistration::ServiceName),
        (Registration { service_name: "a\u{202e}".to_owned(), ..node("a") }, BadRegistration::ServiceName),
        (Registration { capabilities: vec![text(1); 65], ..node("a") }, BadRegistration::Capabilities),
        (Registration { capabilities: vec![text(65)], ..node("a") }, BadRegistration::Capability),
        (Registration { basin_signature: vec![0.0; 4], ..node("a") }, BadRegistration::BasinSignature),
        (Registration { basin_signature: vec![f32::NAN; 4], ..node("a") }, BadRegistration::BasinSignature),
        (Registration { centroids: vec![vec![1.0; 4]; 17], ..node("a") }, BadRegistration::Centroids),
        (Registration { centroids: vec![vec![]], ..node("a") }, BadRegistration::Centroid),
        (Registration { centroids: vec![vec![f32::INFINITY; 4]], ..node("a") }, BadRegistration::Centroid),
    ];
    let mut roster = roster(10, 4);
    for (registration, why) in bad {
        assert_eq!(roster.register(registration, ANN, at(0)), Err(Refused::Bad(why)));
    }
    assert!(roster.is_empty());
    let whole = Registration { capabilities: vec!["ü".repeat(64); 64], service_name: "ü".repeat(128), ..node("a") };
    assert_eq!(roster.register(whole, ANN, at(0)), Ok(()));
    let loads = [
        (Load { cpu: 1.1, ..Load::default() }, BadRegistration::Share),
        (Load { memory: f64::NAN, ..Load::default() }, BadRegistration::Share),
        (Load { running: 1_000_001, ..Load::default() }, BadRegistration::Tasks),
    ];
    for (load, why) in loads {
        let beat = Heartbeat { load: Some(load), ..Heartbeat::default() };
        assert_eq!(roster.heartbeat(&name("a"), beat, ANN, at(200)), Err(Refused::Bad(why)));
    }
    assert_eq!(roster.member(&name("a")).unwrap().state, State::Stale, "a refused heartbeat is none");
    for bad in ["", " ", "..", "a\nb", "\u{200b}", &text(129)] {
        assert_eq!(NodeName::new(bad), Err(profile::NotAName));
    }
}

#[test]
fn a_node_is_told_once_that_others_changed_and_not_of_itself() {
    let mut roster = roster(10, 4);
    roster.register(node("a"), ANN, at(0)).unwrap();
    assert_eq!(beat(&mut roster, "a", 30), None);
    roster.register(node("b"), ANN, at(40)).unwrap();
    assert_eq!(beat(&mut roster, "a", 60), Some(at(30).wall));
    assert_eq!(beat(&mut roster, "a", 61), None);
    assert_eq!(beat(&mut roster, "a", 64), None);
    assert_eq!(beat(&mut roster, "b", 90), None);
    assert_eq!(beat(&mut roster, "b", 160), Some(at(90).wall), "the other is stale");
    let mark = roster.mark();
    roster.remove(&name("a")).unwrap();
    assert_ne!(roster.mark(), mark);
    assert_eq!(roster.remove(&name("a")), Err(Refused::Unknown));
    assert_eq!(roster.heartbeat(&name("a"), Heartbeat::default(), ANN, at(161)), Err(Refused::Unknown));
}

#[test]
fn where_documents_lie_counts_at_once_and_is_told_to_nobody_as_a_change() {
    let mut roster = roster(10, 4);
    roster.register(node("a"), ANN, at(0)).unwrap();
    roster.register(node("b"), ANN, at(0)).unwrap();
    let (mark, place) = (roster.mark(), vec![1.0; 4]);
    roster.poll(mono(0));
    let moved = Heartbeat { basin_signature: Some(place.clone()), ..Heartbeat::default() };
    roster.heartbeat(&name("a"), moved, ANN, at(1)).unwrap();
    let moved = Heartbeat { centroids: Some(vec![place.clone(); 2]), ..Heartbeat::default() };
    roster.heartbeat(&name("a"), moved, ANN, at(2)).unwrap();
    let said = &roster.member(&name("a")).unwrap().registration;
    assert_eq!((&said.basin_signature, &said.centroids), (&place, &vec![place.clone(); 2]));
    roster.register(node("a"), ANN, at(3)).unwrap();
    assert!(roster.member(&name("a")).unwrap().registration.places().is_empty(), "also by registering again");
    assert_eq!((roster.mark(), roster.poll(mono(3))), (mark, vec![]));
    assert_eq!(beat(&mut roster, "b", 4), None);
    roster.register(Registration { service_name: "other".to_owned(), ..node("a") }, ANN, at(5)).unwrap();
    assert_eq!(roster.poll(mono(5)), [Change::Updated(name("a"))]);
    assert!(beat(&mut roster, "b", 6).is_some());
}

#[test]
fn a_clock_that_goes_back_makes_nobody_older_or_younger() {
    let mut roster = roster(10, 4);
    roster.register(node("a"), ANN, at(1000)).unwrap();
    beat(&mut roster, "a", 10);
    assert_eq!(roster.state(roster.member(&name("a")).unwrap(), mono(10)), State::Fresh);
    assert_eq!(roster.poll(mono(1089)), [Change::Joined(name("a"))]);
    assert_eq!(roster.poll(mono(1090)), [Change::Stale(name("a"))]);
    roster.poll(mono(0));
    assert_eq!(roster.state(roster.member(&name("a")).unwrap(), mono(0)), State::Stale);
}

#[test]
fn who_is_restored_is_as_silent_as_it_was() {
    let mut roster = roster(10, 4);
    let kept = |text: &str, seconds: u64| Kept {
        registration: node(text),
        holder: ANN,
        is_key_proved: false,
        load: None,
        last_heartbeat: at(seconds).wall,
    };
    let start = Now { mono: Duration::ZERO, wall: at(1000).wall };
    for (text, heard) in [("fresh", 990), ("stale", 900), ("gone", 700), ("long gone", 0), ("of tomorrow", 90_000)] {
        roster.restore(kept(text, heard), start).unwrap();
    }
    let state = |roster: &Roster, text: &str| roster.member(&name(text)).unwrap().state;
    assert_eq!((state(&roster, "fresh"), state(&roster, "of tomorrow")), (State::Fresh, State::Fresh));
    assert_eq!((state(&roster, "stale"), state(&roster, "gone")), (State::Stale, State::Gone));
    assert_eq!(state(&roster, "long gone"), State::Gone);
    roster.poll(mono(80));
    assert_eq!(state(&roster, "fresh"), State::Stale);
    assert_eq!(roster.register(node("stale"), BOB, at(1001)), Err(Refused::Held));
    let later = Now { mono: mono(100), wall: at(1100).wall };
    roster.restore(kept("fresh", 1095), later).unwrap();
    assert_eq!(state(&roster, "fresh"), State::Fresh, "another registry heard it");
    let other =
        Kept { registration: Registration { service_name: "other".to_owned(), ..node("fresh") }, ..kept("fresh", 900) };
    roster.restore(other, later).unwrap();
    assert_eq!(roster.member(&name("fresh")).unwrap().registration.service_name, "other");
    assert_eq!(state(&roster, "fresh"), State::Fresh, "it was heard here later");
    roster.noticed(&name("stale"), at(1099).wall, later);
    roster.noticed(&name("fresh"), at(900).wall, later);
    roster.noticed(&name("nobody"), at(1099).wall, later);
    assert_eq!((state(&roster, "stale"), state(&roster, "fresh")), (State::Fresh, State::Fresh));
    assert!(roster.member(&name("nobody")).is_none());
}

#[test]
fn of_changes_that_nobody_asks_for_the_latest_are_kept() {
    let mut roster = roster(2, 4);
    for second in 0..CHANGES_MAX as u64 {
        roster.register(node("a"), ANN, at(second)).unwrap();
        roster.remove(&name("a")).unwrap();
    }
    assert_eq!(roster.mark(), 2 * CHANGES_MAX as u64);
    assert_eq!(roster.poll(mono(0)).len(), CHANGES_MAX);
}

/// The same by looking at everybody: what [`Roster`] must say after any history.
#[derive(Default)]
struct Plain(BTreeMap<String, u64>);

impl Plain {
    fn state(&self, node: &str, now: u64) -> Option<State> {
        self.0.get(node).map(|heard| match now - heard {
            0..90 => State::Fresh,
            90..300 => State::Stale,
            _ => State::Gone,
        })
    }
}

#[test]
fn after_any_history_each_node_stands_as_its_silence_says() {
    for seed in 0..40 {
        let (mut dice, mut roster, mut plain) = (Dice(seed), roster(1000, 4), Plain::default());
        let (mut now, mut standing): (u64, BTreeMap<String, State>) = (0, BTreeMap::new());
        for _ in 0..300 {
            now += [0, 1, 7, 29, 61, 150][dice.below(6)];
            let text = format!("n{}", dice.below(12));
            match dice.below(8) {
                0..3 => drop(roster.register(node(&text), ANN, at(now)).map(|()| plain.0.insert(text, now))),
                3..7 => match roster.heartbeat(&name(&text), Heartbeat::default(), ANN, at(now)) {
                    Ok(_) => drop(plain.0.insert(text, now)),
                    Err(refused) => assert_eq!((refused, plain.0.get(&text)), (Refused::Unknown, None)),
                },
                _ => assert_eq!(roster.remove(&name(&text)).is_ok(), plain.0.remove(&text).is_some()),
            }
            for change in roster.poll(mono(now)) {
                match change {
                    Change::Joined(node) => drop(standing.insert(node.to_string(), State::Fresh)),
                    Change::Back(node) => drop(standing.insert(node.to_string(), State::Fresh)),
                    Change::Stale(node) => drop(standing.insert(node.to_string(), State::Stale)),
                    Change::Gone(node) => drop(standing.insert(node.to_string(), State::Gone)),
                    Change::Removed(node) => drop(standing.remove(node.as_str())),
                    Change::Updated(_) => {}
                }
            }
            for number in 0..12 {
                let text = format!("n{number}");
                let wanted = plain.state(&text, now);
                let member = roster.member(&name(&text));
                assert_eq!(member.map(|member| member.state), wanted, "seed {seed}");
                assert_eq!(member.map(|member| roster.state(member, mono(now))), wanted, "seed {seed}");
                assert_eq!(standing.get(&text).copied(), wanted, "seed {seed}: as the changes say");
            }
        }
    }
}

#[test]
fn ten_thousand_heartbeats_look_at_nobody_else() {
    let mut roster = Roster::new(Config::default());
    for number in 0..NODES_MAX {
        roster.register(node(&format!("n{number}")), ANN, at(0)).unwrap();
    }
    roster.poll(mono(0));
    for round in 1..=5 {
        for number in 0..NODES_MAX {
            beat(&mut roster, &format!("n{number}"), round * 30);
        }
        assert_eq!(roster.poll(mono(round * 30)), []);
    }
}
