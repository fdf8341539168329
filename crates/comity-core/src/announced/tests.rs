//! What brokers may say, and what becomes of it.

use super::*;
use crate::identity::key::KeyPair;
use crate::wire::announce::{PREFIX, sign_capability, sign_goodbye, sign_info};
use serde_json::{Map, Value, json};

fn start() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

struct Room {
    announced: Announced,
    now: Now,
    outputs: Vec<Output>,
}

impl Room {
    fn new(brokers: usize) -> Self {
        let topics = Topics::new(PREFIX).expect("a prefix");
        let me = KeyPair::from_seed([9; 32]).peer();
        let now = Now { mono: Duration::ZERO, wall: start() };
        Self { announced: Announced::new(Config { me, topics, brokers, unsigned: true }), now, outputs: Vec::new() }
    }

    /// What comes of a message of broker 0.
    fn hear(&mut self, topic: &str, body: &str) -> Result<Vec<Output>, Dropped> {
        self.hear_at(0, topic, body, false)
    }

    fn hear_at(&mut self, broker: usize, topic: &str, body: &str, retain: bool) -> Result<Vec<Output>, Dropped> {
        let before = self.announced.dropped().clone();
        let topic = format!("{PREFIX}/{topic}");
        let heard = Heard { broker, told_by: None, topic: &topic, body: body.as_bytes(), retain };
        self.announced.handle(heard, self.now);
        self.outputs = self.announced.outputs().collect();
        let after = self.announced.dropped();
        match after.iter().find(|(cause, count)| before.get(cause) != Some(count)) {
            Some((cause, _)) => Err(*cause),
            None => Ok(self.outputs.clone()),
        }
    }

    fn pass(&mut self, seconds: u64) -> Vec<Output> {
        let end = self.now.mono + Duration::from_secs(seconds);
        let mut outputs = Vec::new();
        while let Some(at) = self.announced.wake_at().filter(|at| *at <= end) {
            self.now.wall = self.now.wall + at.saturating_sub(self.now.mono);
            self.now.mono = at;
            self.announced.wake(self.now);
            outputs.extend(self.announced.outputs());
        }
        self.now.wall = self.now.wall + end.saturating_sub(self.now.mono);
        self.now.mono = end;
        outputs
    }

    fn ids(&self) -> Vec<String> {
        self.announced.peers().map(|peer| peer.info.id).collect()
    }
}

fn key(number: u32) -> KeyPair {
    let mut seed = [7; 32];
    seed[..4].copy_from_slice(&number.to_be_bytes());
    KeyPair::from_seed(seed)
}

fn info(key: &KeyPair, session: &str, second: u64) -> PeerInfo {
    PeerInfo {
        id: key.peer().to_string(),
        protocols: vec!["webrtc-data".to_owned()],
        url: Some("https://10.0.0.9:8400".to_owned()),
        last_seen: Some(start() + Duration::from_secs(second)),
        expires_at: Some(start() + Duration::from_secs(second + 90)),
        session: Some(session.to_owned()),
        ..PeerInfo::default()
    }
}

fn signed(key: &KeyPair, session: &str, second: u64) -> String {
    sign_info(&info(key, session, second), key).to_string()
}

fn foreign(id: &str) -> String {
    json!({"id": id, "url": "http://10.0.0.7:9000/x", "capabilities": ["a"], "metadata": {}, "lastSeen": 0}).to_string()
}

fn sighting(outputs: &[Output]) -> &Sighting {
    let sighted = outputs.iter().find_map(|output| match output {
        Output::Sighted(sighting) => Some(&**sighting),
        _ => None,
    });
    sighted.expect("somebody was sighted")
}

#[test]
fn a_foreign_kernel_appears_without_a_key_and_leaves_with_its_goodbye() {
    let mut room = Room::new(1);
    let outputs = room.hear("kitchen/announce", &foreign("kitchen")).expect("it counts");
    let seen = sighting(&outputs);
    assert_eq!((seen.name.as_str(), seen.key), ("kitchen", None));
    assert_eq!(seen.peer, PeerId::of_foreign("mqtt:mindgit/kernels:kitchen"));
    assert_eq!(seen.candidates[0].address, "10.0.0.7:9000".parse().expect("an address"));
    assert!(outputs.contains(&Output::Newcomer { broker: 0 }));
    let left = Output::Unsighted { peer: seen.peer };
    assert_eq!(room.hear("kitchen/goodbye", "").expect("it counts"), std::slice::from_ref(&left));
    assert_eq!(room.hear("kitchen/goodbye", ""), Err(Dropped::UnknownPeer));
    room.hear("kitchen/announce", &foreign("kitchen")).expect("it counts");
    assert_eq!(room.hear("kitchen/announce", "").expect("a withdrawal"), [left]);
}

#[test]
fn a_signed_peer_is_met_by_its_signaling_and_leaves_with_a_goodbye_of_its_session_only() {
    let (mut room, ann) = (Room::new(1), key(1));
    let id = ann.peer();
    let outputs = room.hear(&format!("{id}/announce"), &signed(&ann, "s-1", 0)).expect("it counts");
    let seen = sighting(&outputs);
    assert_eq!((seen.key, seen.peer, seen.candidates.len()), (Some(ann.node()), id, 0));
    assert_eq!(seen.rendezvous.as_ref().and_then(|r| r.url.as_deref()), Some("https://10.0.0.9:8400"));
    let goodbye = format!("{id}/goodbye");
    for forged in ["", r#"{"reason":"x","session":"s-1"}"#] {
        room.pass(30);
        room.hear(&format!("{id}/announce"), &signed(&ann, "s-1", room.now.mono.as_secs())).expect("again");
        assert_eq!(room.hear(&goodbye, forged), Err(Dropped::Unsigned), "{forged}");
        assert_eq!(room.outputs, [Output::Probe(id)], "{forged}");
        assert_eq!(room.hear(&goodbye, forged), Err(Dropped::Unsigned));
        assert_eq!(room.outputs, [], "one probe is enough for a while");
    }
    let by_another = sign_goodbye("x", "s-1", &key(2)).to_string();
    assert_eq!(room.hear(&goodbye, &by_another), Err(Dropped::Signature));
    let of_another_session = sign_goodbye("x", "s-0", &ann).to_string();
    assert_eq!(room.hear(&goodbye, &of_another_session), Err(Dropped::Replayed));
    assert_eq!(room.ids().len(), 1);
    let real = sign_goodbye("x", "s-1", &ann).to_string();
    assert_eq!(room.hear_at(0, &goodbye, &real, true), Err(Dropped::Replayed), "kept by the broker");
    assert_eq!(room.hear(&goodbye, &real).expect("it counts"), [Output::Unsighted { peer: id }]);
}

#[test]
fn who_leaves_properly_is_not_doubted_and_who_is_only_withdrawn_is() {
    let (mut room, ann) = (Room::new(1), key(1));
    let id = ann.peer();
    let withdrawn = [format!("{id}/announce"), format!("{id}/capabilities/draw")];
    room.hear(&withdrawn[0], &signed(&ann, "s-1", 0)).expect("it counts");
    for topic in &withdrawn {
        assert_eq!(room.hear(topic, ""), Ok(vec![]));
    }
    assert_eq!(room.pass(3), [Output::Probe(id)]);
    assert_eq!(room.announced.dropped().get(&Dropped::Unsigned), Some(&2));
    room.hear(&withdrawn[0], &signed(&ann, "s-1", 40)).expect("it counts");
    room.pass(60);
    for topic in &withdrawn {
        assert_eq!(room.hear(topic, ""), Ok(vec![]));
    }
    let goodbye = sign_goodbye("x", "s-1", &ann).to_string();
    assert_eq!(room.hear(&format!("{id}/goodbye"), &goodbye), Ok(vec![Output::Unsighted { peer: id }]));
    assert_eq!(room.pass(3), []);
    assert_eq!(room.announced.dropped().get(&Dropped::Unsigned), Some(&2), "nothing was wrong");
}

#[test]
fn what_is_played_again_undoes_nothing() {
    let (mut room, ann) = (Room::new(2), key(1));
    let id = ann.peer();
    let topic = format!("{id}/announce");
    let (first, later) = (signed(&ann, "s-1", 0), signed(&ann, "s-1", 30));
    room.hear(&topic, &first).expect("it counts");
    room.hear(&topic, &later).expect("it counts");
    assert_eq!(room.hear(&topic, &first), Err(Dropped::Replayed));
    assert_eq!(room.hear(&topic, &later), Ok(vec![]), "the same once more is no attack");
    let goodbye = sign_goodbye("x", "s-1", &ann).to_string();
    room.hear(&format!("{id}/goodbye"), &goodbye).expect("it counts");
    for broker in [0, 1] {
        for old in [&first, &later] {
            assert_eq!(room.hear_at(broker, &topic, old, true), Err(Dropped::Replayed), "it is gone");
        }
    }
    room.hear(&topic, &signed(&ann, "s-2", 31)).expect("it is back");
    assert_eq!(room.hear(&format!("{id}/goodbye"), &goodbye), Err(Dropped::Replayed), "the old will");
    assert_eq!(room.ids().len(), 1);
}

#[test]
fn what_a_peer_signed_is_no_goodbye_and_no_other_capability_on_another_topic() {
    let (mut room, ann) = (Room::new(1), key(1));
    let id = ann.peer();
    let (announce, goodbye) = (format!("{id}/announce"), format!("{id}/goodbye"));
    let own = signed(&ann, "s-1", 0);
    let capability = sign_capability("draw", "1", "s-1", &ann).to_string();
    room.hear(&announce, &own).expect("it counts");
    room.hear(&format!("{id}/capabilities/draw"), &capability).expect("it counts");
    for (topic, body) in [
        (&goodbye, &own),
        (&goodbye, &capability),
        (&format!("{id}/capabilities/pay"), &own),
        (&format!("{id}/capabilities/pay"), &capability),
        (&format!("{id}/capabilities/pay"), &sign_goodbye("x", "s-1", &ann).to_string()),
        (&announce, &capability),
    ] {
        assert_eq!(room.hear(topic, body), Err(Dropped::Field), "{topic} {body}");
        assert_eq!(room.outputs, [], "{topic} {body}");
    }
    room.hear(&announce, &signed(&ann, "s-1", 30)).expect("its session goes on");
    assert_eq!(room.announced.peers().next().expect("it is here").info.capabilities, ["draw"]);
}

#[test]
fn an_unsigned_announcement_never_replaces_a_signed_one_and_a_signed_one_evicts() {
    let (mut room, ann) = (Room::new(1), key(1));
    let id = ann.peer().to_string();
    let topic = format!("{id}/announce");
    let claimed = PeerId::of_foreign(&format!("mqtt:mindgit/kernels:{id}"));
    room.hear(&topic, &foreign(&id)).expect("nobody knows better");
    let outputs = room.hear(&topic, &signed(&ann, "s-1", 0)).expect("it counts");
    assert_eq!(outputs[0], Output::Unsighted { peer: claimed });
    assert_eq!(sighting(&outputs).key, Some(ann.node()));
    assert_eq!(room.hear(&topic, &foreign(&id)), Err(Dropped::Unsigned));
}

#[test]
fn where_only_keys_are_admitted_nobody_counts_without_a_signature() {
    let (mut room, ann) = (Room::new(1), key(1));
    room.announced.config.unsigned = false;
    assert_eq!(room.hear("kitchen/announce", &foreign("kitchen")), Err(Dropped::Unverified));
    room.hear(&format!("{}/announce", ann.peer()), &signed(&ann, "s-1", 0)).expect("it counts");
    assert_eq!(room.ids(), [ann.peer().to_string()]);
}

#[test]
fn what_is_wrong_is_dropped_by_cause() {
    let (mut room, ann, bob) = (Room::new(1), key(1), key(2));
    let (id, me) = (ann.peer(), KeyPair::from_seed([9; 32]).peer());
    let topic = format!("{id}/announce");
    let mut spoilt: Value = serde_json::from_str(&signed(&ann, "s-1", 0)).expect("JSON");
    spoilt["url"] = json!("https://10.6.6.6:1");
    let by_bob = sign_info(&PeerInfo { id: id.to_string(), ..info(&bob, "s-1", 0) }, &bob).to_string();
    let large = format!("{{\"id\":\"{}\"}}", "x".repeat(announce::BODY_MAX));
    room.pass(100);
    for (topic, body, cause) in [
        (topic.as_str(), "not JSON", Dropped::NotJson),
        (&topic, r#"{"id":1}"#, Dropped::Field),
        (&topic, &large, Dropped::TooLarge),
        (&topic, &foreign("kitchen"), Dropped::OtherId),
        ("kitchen/announce", &signed(&ann, "s-1", 100), Dropped::OtherId),
        (&topic, &by_bob, Dropped::OtherId),
        (&topic, &signed(&ann, "s-1", 0), Dropped::Expired),
        (&topic, &spoilt.to_string(), Dropped::Signature),
        (&format!("{me}/announce"), &foreign("x"), Dropped::Itself),
        ("kitchen/other", "", Dropped::Topic),
        ("kitchen/goodbye", "", Dropped::UnknownPeer),
    ] {
        assert_eq!(room.hear(topic, body), Err(cause), "{topic} {body:.40}");
    }
    assert!(room.announced.is_empty());
}

#[test]
fn peers_run_out_when_they_say_no_more() {
    let (mut room, ann) = (Room::new(1), key(1));
    room.hear("kitchen/announce", &foreign("kitchen")).expect("it counts");
    room.hear(&format!("{}/announce", ann.peer()), &signed(&ann, "s-1", 0)).expect("it counts");
    let mut eternal = info(&key(2), "s-1", 0);
    eternal.expires_at = Some(start() + Duration::from_secs(1_000_000));
    let eternal = sign_info(&eternal, &key(2)).to_string();
    room.hear(&format!("{}/announce", key(2).peer()), &eternal).expect("it counts");
    assert_eq!(room.pass(89), []);
    let gone = room.pass(2);
    let unsighted = |output: &Output| matches!(output, Output::Unsighted { .. });
    assert_eq!((gone.len(), gone.iter().all(unsighted)), (2, true));
    assert_eq!((room.pass(3500).len(), room.pass(60).len()), (0, 1), "an hour at most");
    assert_eq!(room.announced.wake_at(), None);
}

#[test]
fn a_peer_is_gone_when_no_broker_knows_it() {
    let (mut room, ann) = (Room::new(2), key(1));
    let id = ann.peer();
    let topic = format!("{id}/announce");
    room.hear_at(0, &topic, &signed(&ann, "a", 0), false).expect("it counts");
    room.hear_at(1, &topic, &signed(&ann, "b", 1), false).expect("it counts");
    assert_eq!(room.announced.peers().next().expect("one").brokers, [0, 1]);
    let goodbye = |session: &str| sign_goodbye("x", session, &ann).to_string();
    assert_eq!(room.hear_at(0, &format!("{id}/goodbye"), &goodbye("a"), false), Ok(vec![]));
    let left = Output::Unsighted { peer: id };
    assert_eq!(room.hear_at(1, &format!("{id}/goodbye"), &goodbye("b"), false), Ok(vec![left]));
}

#[test]
fn capabilities_of_their_own_topics_are_added() {
    let (mut room, ann) = (Room::new(1), key(1));
    let id = ann.peer();
    let capability = |session: &str, by: &KeyPair| sign_capability("draw", "1", session, by).to_string();
    let topic = format!("{id}/capabilities/draw");
    assert_eq!(room.hear(&topic, &capability("s-1", &ann)), Ok(vec![]), "it waits for its peer");
    let outputs = room.hear(&format!("{id}/announce"), &signed(&ann, "s-1", 0)).expect("it counts");
    let Some(Output::Sighted(last)) = outputs.iter().rfind(|output| matches!(output, Output::Sighted(_))) else {
        panic!("nobody was sighted");
    };
    assert_eq!(last.capabilities, ["draw"]);
    assert_eq!(room.hear(&topic, &capability("s-0", &ann)), Err(Dropped::Replayed));
    assert_eq!(room.hear(&topic, &capability("s-1", &key(2))), Err(Dropped::Signature));
    assert_eq!(room.hear(&topic, "{}"), Err(Dropped::Unsigned));
    assert_eq!(room.hear(&topic, ""), Ok(vec![]));
    room.hear("kitchen/announce", &foreign("kitchen")).expect("it counts");
    let outputs = room.hear("kitchen/capabilities/cook", "1").expect("any JSON counts");
    assert_eq!(sighting(&outputs).capabilities, ["a", "cook"]);
    let outputs = room.hear("kitchen/capabilities/cook", "").expect("withdrawn");
    assert_eq!(sighting(&outputs).capabilities, ["a"]);
    for number in 0..100 {
        let _ = room.hear(&format!("kitchen/capabilities/c-{number}"), "1");
    }
    assert_eq!(room.announced.peers().map(|peer| peer.info.capabilities.len()).max(), Some(limits::PEER_LIST_MAX));
}

#[test]
fn a_capability_that_waits_can_be_withdrawn_and_does_not_wait_for_ever() {
    for (withdrawn, seconds) in [(true, 0), (false, 91)] {
        let mut room = Room::new(1);
        let topic = "kitchen/capabilities/cook";
        assert_eq!(room.hear(topic, "1"), Ok(vec![]), "it waits for its peer");
        if withdrawn {
            assert_eq!(room.hear(topic, ""), Ok(vec![]));
            assert_eq!(room.hear(topic, ""), Err(Dropped::UnknownPeer));
        }
        room.pass(seconds);
        let outputs = room.hear("kitchen/announce", &foreign("kitchen")).expect("it counts");
        assert_eq!(sighting(&outputs).capabilities, ["a"]);
        assert_eq!(room.announced.peers().next().expect("it is here").info.capabilities, ["a"]);
    }
}

#[test]
fn no_goodbye_of_any_of_sixteen_brokers_is_forgotten() {
    let (mut room, ann) = (Room::new(17), key(1));
    let id = ann.peer();
    let (announce, goodbye) = (format!("{id}/announce"), format!("{id}/goodbye"));
    let session = |broker: usize| format!("s-{broker}");
    for broker in 0..16 {
        room.hear_at(broker, &announce, &signed(&ann, &session(broker), broker as u64), false).expect("it counts");
    }
    for broker in 0..16 {
        let body = sign_goodbye("x", &session(broker), &ann).to_string();
        room.hear_at(broker, &goodbye, &body, false).expect("it counts");
    }
    for broker in 0..16 {
        let kept = signed(&ann, &session(broker), broker as u64);
        assert_eq!(room.hear_at(16, &announce, &kept, true), Err(Dropped::Replayed), "{broker}");
    }
}

#[test]
fn a_hundred_thousand_ids_at_once_evict_nobody_who_signed() {
    let (mut room, ann) = (Room::new(1), key(1));
    room.hear(&format!("{}/announce", ann.peer()), &signed(&ann, "s-1", 0)).expect("it counts");
    let mut full = 0;
    for number in 0..100_000 {
        let id = format!("k-{number}");
        let body = format!(r#"{{"id":"{id}"}}"#);
        full += u32::from(room.hear(&format!("{id}/announce"), &body) == Err(Dropped::Full));
    }
    assert_eq!((room.announced.len(), full), (1 + 1000, 99_000));
    let bob = key(2);
    room.hear(&format!("{}/announce", bob.peer()), &signed(&bob, "s-1", 0)).expect("a signed one has room");
    assert!(room.ids().contains(&ann.peer().to_string()) && room.ids().contains(&bob.peer().to_string()));
}

fn announce_large(room: &mut Room, key: &KeyPair, texts: usize) -> Result<Vec<Output>, Dropped> {
    let capabilities = (0..texts).map(|number| format!("{number:0>128}")).collect();
    let body = sign_info(&PeerInfo { capabilities, ..info(key, "s-1", room.now.mono.as_secs()) }, key).to_string();
    room.hear(&format!("{}/announce", key.peer()), &body)
}

#[test]
fn who_says_much_takes_the_places_of_several() {
    let mut room = Room::new(100);
    let (mut taken, share) = (0, PEERS_MAX / 100);
    while announce_large(&mut room, &key(taken), 32).is_ok() {
        taken += 1;
    }
    let bytes = usize::try_from(taken).expect("small") * 32 * 128;
    assert!(bytes > share * PLACE_BYTES / 2 && bytes < share * PLACE_BYTES, "{taken} peers");
    assert_eq!(announce_large(&mut room, &key(taken), 32), Err(Dropped::Full));
    room.pass(1);
    announce_large(&mut room, &key(0), 0).expect("it says less");
    announce_large(&mut room, &key(taken), 16).expect("so there is room for another");
    room.pass(1);
    assert_eq!(announce_large(&mut room, &key(0), 32), Err(Dropped::Full), "and none for saying more again");
    assert_eq!(room.announced.len(), usize::try_from(taken).expect("small") + 1, "it stays all the same");
    let mut room = Room::new(1000);
    for number in 0..10 {
        announce_large(&mut room, &key(number), 0).expect("small ones have a place each");
    }
    let capability = |number: u32| {
        let body = sign_capability(&format!("{number:0>128}"), "1", "s-1", &key(0)).to_string();
        (format!("{}/capabilities/{number:0>128}", key(0).peer()), body)
    };
    let refused = (0..20).map(capability).find_map(|(topic, body)| room.hear(&topic, &body).err());
    assert_eq!(refused, Some(Dropped::Full), "nor for capabilities on topics of their own");
}

#[test]
fn strangers_give_way_to_friends_however_many_keys_they_have() {
    let mut room = Room::new(1000);
    let announce = |room: &mut Room, number: u32| {
        let key = key(number);
        room.hear(&format!("{}/announce", key.peer()), &signed(&key, "s-1", 0))
    };
    for number in 0..10 {
        announce(&mut room, number).expect("there is room");
    }
    assert_eq!(announce(&mut room, 100), Err(Dropped::Full));
    room.announced.set_friends((100..110).map(|number| key(number).peer()).collect());
    for number in 100..110 {
        let outputs = announce(&mut room, number).expect("a friend has room");
        assert!(matches!(outputs[0], Output::Unsighted { .. }), "a stranger goes");
        assert_eq!(room.announced.len(), 10);
    }
    assert_eq!(announce(&mut room, 1), Err(Dropped::Full), "no friend gives way");
    let forged = foreign(&key(101).peer().to_string());
    assert_eq!(room.hear(&format!("{}/announce", key(101).peer()), &forged), Err(Dropped::Unsigned));
}

#[test]
fn signed_peers_go_before_unsigned_ones_and_none_of_them_is_evicted() {
    let mut room = Room::new(20);
    let share = PEERS_MAX / 20;
    for number in 0..50 {
        let id = format!("k-{number}");
        let _ = room.hear(&format!("{id}/announce"), &foreign(&id));
    }
    let announce = |room: &mut Room, number: u32| {
        let key = key(number);
        room.hear(&format!("{}/announce", key.peer()), &signed(&key, "s-1", 0)).map(drop)
    };
    let share = u32::try_from(share).expect("small");
    for number in 0..share {
        assert_eq!(announce(&mut room, number), Ok(()), "{number}");
    }
    assert_eq!(announce(&mut room, share), Err(Dropped::Full));
    assert!(room.announced.peers().all(|peer| peer.info.key.is_some()), "the unsigned gave way");
    assert!(room.hear_at(1, "kitchen/announce", &foreign("kitchen"), true).is_ok(), "another broker has its share");
}

#[test]
fn who_changes_all_the_time_is_told_of_once_a_second_and_nothing_is_lost() {
    let mut room = Room::new(1);
    let say = |number: u32| json!({"id": "kitchen", "capabilities": [number.to_string()]}).to_string();
    let told = (0..100).map(|number| room.hear("kitchen/announce", &say(number)).expect("it counts"));
    let told = told.map(|outputs| outputs.iter().filter(|output| matches!(output, Output::Sighted(_))).count());
    assert_eq!(told.sum::<usize>(), 4);
    assert_eq!(sighting(&room.pass(1)).capabilities, ["99"]);
    assert_eq!(room.pass(5), [], "and no more than once");
    let mut count = 0;
    for number in 100..200 {
        count += room.hear("kitchen/announce", &say(number)).expect("it counts").len();
        if number % 10 == 9 {
            count += room.pass(1).len();
        }
    }
    assert_eq!(count, 4 + 10);
}

#[test]
fn an_unchanged_peer_is_told_of_seldom_and_a_changed_one_at_once() {
    let mut room = Room::new(1);
    let say = |uptime: u32, name: &str| {
        let metadata = Map::from_iter([("uptime".to_owned(), json!(uptime)), ("name".to_owned(), json!(name))]);
        json!({"id": "kitchen", "metadata": metadata}).to_string()
    };
    let told = |outputs: Result<Vec<Output>, Dropped>| outputs.expect("it counts").len();
    assert_eq!(told(room.hear("kitchen/announce", &say(0, "a"))), 2);
    room.pass(1);
    assert_eq!(told(room.hear("kitchen/announce", &say(1, "a"))), 0);
    assert_eq!(told(room.hear("kitchen/announce", &say(1, "b"))), 1);
    room.pass(15);
    assert_eq!(told(room.hear("kitchen/announce", &say(16, "b"))), 1);
}
