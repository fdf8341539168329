//! Pages, broadcasts and cursors, ours and those of hostile peers.

use super::*;
use crate::basin::{Draft, Metadata, Metric, Projection, Settings};
use crate::identity::key::KeyPair;
use serde_json::json;

fn key() -> KeyPair {
    KeyPair::from_seed([1; 32])
}

fn settings() -> Settings {
    Settings::new(4, Metric::FisherRao, Projection::Sphere, "hash").expect("settings")
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_782_000_000_123)
}

fn nobody() -> Source<'static> {
    Source { sender: None, named: &|_| None, now: now() }
}

fn record(doc_id: &str, vector: Option<Vec<f32>>) -> Record {
    let draft = Draft {
        doc_id: doc_id.parse().expect("a name"),
        vector,
        metadata: Metadata::parse(r#"{"title":"\"É\"","n":[1,2.5]}"#).expect("metadata"),
        version: 3,
        timestamp: now(),
    };
    Record::sign(draft, &settings(), &key()).expect("signed")
}

fn records() -> Vec<Record> {
    vec![record("a", Some(vec![0.1, -2.0, 1e-20, 3.0])), record("b\"é", None)]
}

fn page(records: &[Record]) -> Vec<u8> {
    let mut page = PageWriter::new();
    records.iter().for_each(|record| page.add(record));
    page.finish(Cursor { log: 7, after: 2 })
}

#[test]
fn a_page_is_read_as_it_was_written_and_its_records_count() {
    let read = read_page(&page(&records()), nobody()).expect("a page");
    assert_eq!(read.updates, Updates { records: records(), ..Updates::default() });
    assert!(read.updates.records.iter().all(|record| record.check(&settings(), &key().node()).is_ok()));
    assert_eq!(read.next_cursor.map(|text| text.parse()), Some(Ok(Cursor { log: 7, after: 2 })));
    let empty = read_page(&page(&[]), nobody()).expect("a page");
    assert_eq!(empty.updates, Updates::default());
}

#[test]
fn a_broadcast_is_one_update_or_many_and_need_not_name_its_sender() {
    for records in [&records()[..1], &records()[..], &[]] {
        let body = write_broadcast(records);
        assert_eq!(read_broadcast(&body, nobody()).expect("a broadcast").records, records);
    }
    let mut value: Value = serde_json::from_slice(&write_broadcast(&records()[..1])).expect("JSON");
    let members = value.as_object_mut().expect("an object");
    members.remove("source_node");
    members.remove("timestamp");
    let source = Source { sender: Some(key().node()), ..nobody() };
    let read = read_broadcast(value.to_string().as_bytes(), source).expect("a broadcast");
    assert_eq!(read.records, &records()[..1]);
    let wrapped = json!({"updates": [value]}).to_string();
    assert_eq!(read_broadcast(wrapped.as_bytes(), source).expect("a broadcast").records.len(), 1);
    let read = read_broadcast(wrapped.as_bytes(), nobody()).expect("a broadcast");
    assert_eq!(read.bad[0].form, BadForm::new("source_node", Fault::Missing));
}

#[test]
fn a_node_may_be_named_when_its_key_is_known() {
    let mut value: Value = serde_json::from_slice(&write_broadcast(&records()[..1])).expect("JSON");
    value["source_node"] = "kernel-1".into();
    let node = key().node();
    let named = |name: &str| (name == "kernel-1").then_some(node);
    let source = Source { named: &named, ..nobody() };
    assert_eq!(read_update(&value.to_string(), source).map(|record| record.node), Ok(node));
    assert_eq!(read_update(&value.to_string(), nobody()).map_err(|bad| bad.field), Err("source_node"));
}

#[test]
fn a_bad_update_is_named_and_the_others_are_not_lost() {
    let good: Value = serde_json::from_slice(&write_broadcast(&records()[..1])).expect("JSON");
    let changed = |field: &str, value: Value| {
        let mut update = good.clone();
        update[field] = value;
        update
    };
    let bad = [
        ("/doc_id", changed("doc_id", json!("a b"))),
        ("/doc_id", changed("doc_id", Value::Null)),
        ("/basin/1", changed("basin", json!([1, "x"]))),
        ("/basin/0", changed("basin", json!([1e39]))),
        ("/basin", changed("basin", json!({}))),
        ("/metadata", changed("metadata", json!(["x"]))),
        ("/metadata", changed("metadata", json!({"x": "y".repeat(20_000)}))),
        ("/source_node", changed("source_node", json!("ed25519:AAAA"))),
        ("/timestamp", changed("timestamp", json!("yesterday"))),
        ("/version", changed("version", json!(0))),
        ("/version", changed("version", json!(1.5))),
        ("/version", changed("version", json!(u64::MAX))),
        ("/encoder", changed("encoder", json!("e".repeat(ENCODER_MAX + 1)))),
        ("/deleted", changed("deleted", json!("no"))),
        ("/sig", changed("sig", json!("AAAA"))),
        ("", json!([])),
    ];
    let updates: Vec<Value> = bad.iter().flat_map(|(_, update)| [good.clone(), update.clone()]).collect();
    let read = read_page(json!({"updates": updates}).to_string().as_bytes(), nobody()).expect("a page").updates;
    assert_eq!((read.records.len(), read.bad_count), (bad.len(), bad.len()));
    for (place, ((field, _), found)) in bad.iter().zip(&read.bad).enumerate() {
        assert_eq!((found.index, found.form.pointer().as_str()), (2 * place + 1, *field));
    }
}

#[test]
fn bad_updates_are_told_up_to_a_bound_and_counted_beyond() {
    let body = format!("[0{}]", ",0".repeat(LIMIT_MAX - 1));
    let read = read_broadcast(body.as_bytes(), nobody()).expect("a broadcast");
    assert_eq!((read.bad.len(), read.bad_count), (TOLD_MAX, LIMIT_MAX));
    let body = format!("[0{}]", ",0".repeat(LIMIT_MAX));
    let refused = read_broadcast(body.as_bytes(), nobody()).map_err(|bad| bad.fault);
    assert_eq!(refused, Err(Fault::TooMany { max: LIMIT_MAX }));
}

#[test]
fn what_is_no_page_is_refused_wherever_it_is_cut() {
    let whole = page(&records());
    for end in 0..whole.len() {
        assert!(read_page(&whole[..end], nobody()).is_err(), "cut at {end}");
    }
    for body in ["{}", "[]", r#"{"updates":{}}"#, r#"{"updates":[],"updates":[]}"#, "{\"updates\":[]} x"] {
        assert!(read_page(body.as_bytes(), nobody()).is_err(), "{body}");
    }
    let long = json!({"updates": [], "next_cursor": "c".repeat(CURSOR_MAX + 1)}).to_string();
    assert_eq!(read_page(long.as_bytes(), nobody()).map_err(|bad| bad.field), Err("next_cursor"));
    let endless = format!(r#"{{"updates":[{}"#, "[".repeat(1 << 20));
    assert!(read_page(endless.as_bytes(), nobody()).is_err());
}

#[test]
fn a_page_ends_before_it_becomes_too_large() {
    let wide = Settings::new(DIMENSION_MAX, Metric::FisherRao, Projection::Sphere, "hash").expect("settings");
    let draft = Draft {
        doc_id: "a".parse().expect("a name"),
        vector: Some(vec![-1.175_494_4e-38; DIMENSION_MAX]),
        metadata: Metadata::default(),
        version: 1,
        timestamp: now(),
    };
    let record = Record::sign(draft, &wide, &key()).expect("signed");
    let mut page = PageWriter::new();
    while !page.is_full() {
        page.add(&record);
    }
    assert!(page.count() < LIMIT_MAX);
    let body = page.finish(Cursor { log: 1, after: 1 });
    assert!(body.len() < PAGE_BYTES_MAX);
}

#[test]
fn a_cursor_is_read_as_it_was_given_and_no_other_text_is_one() {
    for cursor in [Cursor { log: 0, after: 0 }, Cursor { log: u64::MAX, after: 1 }, Cursor { log: 1, after: u64::MAX }]
    {
        let text = cursor.to_string();
        assert_eq!(text.parse(), Ok(cursor));
        assert_eq!(Since::read(&text), Ok(Since::Cursor(cursor)));
        for end in 0..text.len() {
            assert_eq!(text[..end].parse::<Cursor>(), Err(BadCursor), "cut at {end}");
        }
        for at in 0..text.len() {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert_eq!(changed.parse::<Cursor>(), Err(BadCursor), "{changed}");
        }
    }
    assert_eq!("A".repeat(1 << 20).parse::<Cursor>(), Err(BadCursor));
}

#[test]
fn one_pulls_from_the_beginning_a_time_or_a_cursor() {
    assert_eq!(SyncQuery::read(None, None), Ok(SyncQuery { since: Since::Beginning, limit: LIMIT }));
    let read = SyncQuery::read(Some("2026-06-21T02:00:00.123+02:00"), Some("10000"));
    let time = Since::Time(Timestamp::parse("2026-06-21T00:00:00.123Z").expect("a time"));
    assert_eq!(read, Ok(SyncQuery { since: time, limit: LIMIT_MAX }));
    for since in ["yesterday", "1782000000", "c2luY2U", "2026-06-21"] {
        assert_eq!(SyncQuery::read(Some(since), None).map_err(|bad| bad.field), Err("since"), "{since}");
    }
    for limit in ["0", "10001", "", "x", "1000000000"] {
        assert_eq!(SyncQuery::read(None, Some(limit)).map_err(|bad| bad.field), Err("limit"), "{limit}");
    }
}
