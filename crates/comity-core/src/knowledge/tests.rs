//! What is signed, what is refused, and what answers a request, also of drawn entries.

use super::*;
use crate::registry::drawn::Dice;

fn entry(id: &str, topic: &str, confidence: f64, seconds: u64) -> Knowledge {
    Knowledge {
        id: id.to_owned(),
        topic: topic.to_owned(),
        topic_basin: None,
        content: "what is known".to_owned(),
        source: None,
        confidence,
        created: Timestamp::from_millis(seconds * 1000).into(),
    }
}

fn about(topic: &str) -> Request {
    Request { about: About::Topic(topic.to_owned()), limit: 10, min_confidence: None }
}

fn ids<'a>(entries: &[&'a Knowledge]) -> Vec<&'a str> {
    entries.iter().map(|entry| entry.id.as_str()).collect()
}

#[test]
fn a_signature_is_good_for_its_node_its_key_and_every_member() {
    let (key, other) = (KeyPair::from_seed([1; 32]), KeyPair::from_seed([2; 32]));
    let whole = Knowledge {
        topic_basin: Some(vec![0.1, -2.0]),
        source: Some("https://a.test".to_owned()),
        created: Created::read("2026-06-21T02:00:00+02:00").unwrap(),
        ..entry("k", "t", 0.5, 0)
    };
    let signature = whole.sign("a", &key);
    assert_eq!(whole.check("a", &key.node(), &signature), Ok(()));
    assert_eq!(whole.check("b", &key.node(), &signature), Err(BadSignature::Wrong));
    assert_eq!(whole.check("a", &other.node(), &signature), Err(BadSignature::Wrong));
    let changes: [fn(&mut Knowledge); 9] = [
        |entry| entry.id.push('x'),
        |entry| entry.topic.push('x'),
        |entry| entry.topic_basin = Some(vec![0.1, -2.000_000_1]),
        |entry| entry.topic_basin = None,
        |entry| entry.content.push('x'),
        |entry| entry.source = None,
        |entry| entry.confidence = 0.6,
        // The same moment, written otherwise.
        |entry| entry.created = entry.created.at().into(),
        |entry| entry.created = Created::read("2026-06-21T02:00:01+02:00").unwrap(),
    ];
    for change in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        assert_eq!(changed.check("a", &key.node(), &signature), Err(BadSignature::Wrong));
    }
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let whole = Knowledge {
        topic: "ü".repeat(TOPIC_MAX),
        content: "x".repeat(CONTENT_MAX),
        source: Some("s".repeat(SOURCE_MAX)),
        topic_basin: Some(vec![1.0; DIMENSIONS_MAX]),
        ..entry("k", "t", 1.0, 0)
    };
    assert_eq!(whole.bounded(), Ok(()));
    type Change = fn(&mut Knowledge);
    let changes: [(Change, BadKnowledge); 13] = [
        (|entry| entry.id.clear(), BadKnowledge::Id),
        (|entry| entry.id = "x".repeat(129), BadKnowledge::Id),
        (|entry| entry.topic.push('x'), BadKnowledge::Topic),
        (|entry| entry.topic.clear(), BadKnowledge::Topic),
        (|entry| entry.content.push('x'), BadKnowledge::Content),
        (|entry| entry.source = Some("s".repeat(1025)), BadKnowledge::Source),
        (|entry| entry.topic_basin = Some(vec![]), BadKnowledge::TopicBasin),
        (|entry| entry.topic_basin = Some(vec![0.0; 3]), BadKnowledge::TopicBasin),
        (|entry| entry.topic_basin = Some(vec![1e300]), BadKnowledge::TopicBasin),
        (|entry| entry.topic_basin = Some(vec![1.0; 4097]), BadKnowledge::TopicBasin),
        (|entry| entry.confidence = f64::NAN, BadKnowledge::Confidence),
        (|entry| entry.confidence = -0.1, BadKnowledge::Confidence),
        (|entry| entry.confidence = 1.1, BadKnowledge::Confidence),
    ];
    for (change, why) in changes {
        let mut changed = whole.clone();
        change(&mut changed);
        assert_eq!(changed.bounded(), Err(why));
    }
    assert_eq!(Created::read("yesterday"), None);
    assert_eq!(Created::read(&format!("2026-06-21T00:00:00.{}Z", "0".repeat(60))), None);
}

#[test]
fn of_one_id_the_later_counts_and_a_repeated_one_changes_nothing() {
    let old = entry("k", "t", 0.5, 1);
    assert_eq!(old.beside(&old), Beside::Same);
    assert_eq!(entry("k", "t", 0.1, 2).beside(&old), Beside::Newer);
    assert_eq!(old.beside(&entry("k", "t", 0.1, 2)), Beside::Older);
    assert_eq!(entry("k", "t", 0.1, 1).beside(&old), Beside::Older, "of the same time the one that is there");
    assert_eq!(entry("l", "t", 0.5, 1).beside(&old), Beside::Apart);
}

#[test]
fn the_topic_that_fits_best_comes_first_then_the_surest_then_the_newest() {
    let entries = [
        entry("some", "weather in Lisbon in June", 1.0, 9),
        entry("older", "Weather in Lisbon", 0.5, 1),
        entry("newer", "weather in lisbon", 0.5, 2),
        entry("sure", "WEATHER IN LISBON", 0.9, 0),
        entry("turned", "Lisbon: in weather", 1.0, 9),
        entry("other", "trains", 1.0, 9),
    ];
    let found = select(&entries, &about("weather in Lisbon"));
    assert_eq!(ids(&found), ["sure", "newer", "older", "turned", "some"]);
    let unsure = Request { min_confidence: Some(0.9), limit: 2, ..about("weather in Lisbon") };
    assert_eq!(ids(&select(&entries, &unsure)), ["sure", "turned"]);
    assert_eq!(select(&entries, &about("…")).len(), 0);
}

#[test]
fn the_nearest_vector_comes_first_and_those_of_another_size_are_left_out() {
    let near = |id: &str, basin: &[f64]| Knowledge { topic_basin: Some(basin.to_vec()), ..entry(id, "t", 0.5, 0) };
    let entries = [
        near("far", &[0.0, 1.0]),
        near("near", &[5.0, 0.1]),
        near("long", &[1.0, 0.0, 0.0]),
        near("same", &[0.1, 0.0]),
        entry("none", "t", 1.0, 0),
    ];
    let request = Request { about: About::Basin(vec![1.0, 0.0]), limit: 10, min_confidence: None };
    assert_eq!(ids(&select(&entries, &request)), ["same", "near", "far"]);
}

#[test]
fn of_any_entries_the_best_are_given_in_whatever_order_they_lie() {
    let words = ["a", "b", "c", "d"];
    for seed in 0..200 {
        let mut dice = Dice(seed);
        let topic = |dice: &mut Dice| (0..=dice.below(3)).map(|_| words[dice.below(4)]).collect::<Vec<_>>().join(" ");
        let mut entries: Vec<Knowledge> = (0..dice.below(60))
            .map(|id| entry(&id.to_string(), &topic(&mut dice), dice.below(3) as f64 / 2.0, dice.below(3) as u64))
            .collect();
        let request = Request { limit: 1 + dice.below(20), min_confidence: Some(0.5), ..about(&topic(&mut dice)) };
        let found: Vec<Knowledge> = select(&entries, &request).into_iter().cloned().collect();
        let all: Vec<Knowledge> =
            select(&entries, &Request { limit: LIMIT_MAX, ..request.clone() }).into_iter().cloned().collect();
        assert_eq!(found[..], all[..found.len()], "seed {seed}");
        assert_eq!(found.len(), all.len().min(request.limit), "seed {seed}");
        assert!(found.iter().all(|entry| entry.confidence >= 0.5));
        entries.reverse();
        assert_eq!(select(&entries, &request), found.iter().collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn a_widened_vector_is_written_as_the_short_one() {
    let mut dice = Dice(1);
    for number in (0..2000).map(|_| f32::from_bits(dice.roll() as u32)).filter(|number| number.is_finite()) {
        let [wide] = widened(&[number])[..] else { panic!("one number") };
        assert_eq!((wide as f32).to_bits(), number.to_bits());
        assert_eq!(wide.to_string(), number.to_string());
    }
}
