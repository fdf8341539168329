//! What holds for every form of the mesh: bytes that were changed are refused or read, and never more than that.

use super::*;
use crate::basin::Settings;
use crate::time::Timestamp;
use crate::wire::mesh::document::{read_batch, read_line};
use crate::wire::mesh::query::{Answer, Query};
use crate::wire::mesh::sync::{Source, read_broadcast, read_page};

const BODIES: [&str; 5] = [
    r#"{"query":"é\n\u00e9","limit":5,"include_nodes":["a","b"],"timeout_ms":20,"filter":{"k":"v","n":1.5}}"#,
    r#"{"basin":[0.25,-1e-3,7],"limit":null}"#,
    r#"[{"url":"https://a.test/x","title":"X","text":"some \"words\"","metadata":{"k":[1,{"a":null}]}},{"doc_id":"a","basin":[1]}]"#,
    r#"{"updates":[{"doc_id":"a","basin":[1,2],"metadata":{"k":1},"version":1,"encoder":"hash","deleted":false,"sig":"AA=="}],"next_cursor":"c"}"#,
    r#"{"results":[{"doc_id":"a","url":"u","basin_distance":0.5,"mesh_score":0.5}],"nodes_failed":[{"node":"n","cause":"c"}],"metric":"fisher-rao"}"#,
];

#[test]
fn no_changed_byte_breaks_a_reader() {
    let source = Source { sender: None, named: &|_| None, now: Timestamp::from_millis(1) };
    let (settings, mut refused) = (Settings::default(), 0);
    let mut read = |body: &[u8]| {
        let answers = [
            Query::read(body).is_ok(),
            Answer::read(body, &settings, 10).is_ok(),
            read_batch(body).is_ok_and(|batch| batch.iter().any(Result::is_ok)),
            read_line(0, body).is_ok(),
            read_page(body, source).is_ok(),
            read_broadcast(body, source).is_ok_and(|updates| updates.bad_count == 0),
        ];
        refused += answers.iter().filter(|is_read| !**is_read).count();
        answers.contains(&true)
    };
    for body in BODIES.map(str::as_bytes) {
        assert!(read(body), "{}", String::from_utf8_lossy(body));
        for at in 0..body.len() {
            for byte in [b'"', b'\\', b'{', b']', b',', b'-', b'9', 0, 0xff] {
                let mut changed = body.to_vec();
                changed[at] = byte;
                read(&changed);
                changed.insert(at, body[at]);
                read(&changed);
            }
            read(&body[..at]);
        }
    }
    assert!(refused > 10_000);
}

#[test]
fn a_list_is_not_read_beyond_its_bound() {
    let endless = format!("[{}", "0,".repeat(1 << 20));
    assert_eq!(elements("x", &endless, 9).map_err(|bad| bad.fault).map(|_| ()), Err(Fault::TooMany { max: 9 }));
    assert_eq!(elements("x", " [0,{},[1]] ", 3).map(|list| list.len()), Ok(3));
    assert_eq!(elements("x", "{}", 3).map_err(|bad| bad.fault).map(|_| ()), Err(Fault::Wanted("a list")));
    for text in ["[0", "[0,]", "[0] 1", "["] {
        assert!(matches!(elements("x", text, 3), Err(BadForm { fault: Fault::Syntax { .. }, .. })), "{text}");
    }
}

#[test]
fn a_member_stands_once_and_null_is_none() {
    let read = |text| members(text, ["a", "b"]).map(|found| found.map(|raw| raw.map(RawValue::get)));
    assert_eq!(read(r#"{"b":[1, 2],"c":{"a":1},"c":2}"#), Ok([None, Some("[1, 2]")]));
    assert_eq!(read(r#"{"a":null}"#), Ok([None, None]));
    assert_eq!(read(r#"{"a":null,"\u0061":1}"#), Err(BadForm::new("a", Fault::Twice)));
    assert_eq!(read("[]"), Err(BadForm::new("", Fault::Wanted("a JSON object"))));
}

#[test]
fn an_error_says_what_is_wanted_and_where() {
    let element = BadForm::of_element("basin", 7, Fault::Wanted("a number"));
    assert_eq!(element.to_string(), "a number is wanted at /basin/7");
    assert_eq!(BadForm::new("limit", Fault::Missing).to_string(), "missing at /limit");
    assert_eq!(BadForm::new("", Fault::NotText).to_string(), "not UTF-8");
}
