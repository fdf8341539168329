//! The form of calls and answers, with the examples of the specification, and what is no call at all.

use super::call::{BATCH_MAX, Call, Code, Fault, Said, answer, notification};
use serde_json::{Value, json};

fn one(text: &str) -> Result<Call, (Value, Fault)> {
    match Said::parse(text.as_bytes()) {
        Said::One(read) => read,
        Said::Batch(calls) => panic!("one was meant, not {calls:?}"),
    }
}

/// What is answered to a frame that is no call: the id and the code.
fn fault(text: &str) -> (Value, i64) {
    let (id, fault) = one(text).expect_err(text);
    let answer: Value = serde_json::from_str(&answer(&id, Err(fault))).expect("an answer is JSON");
    assert!(answer["jsonrpc"] == "2.0" && answer["error"]["message"].is_string(), "{answer}");
    (answer["id"].clone(), answer["error"]["code"].as_i64().expect("a number"))
}

#[test]
fn calls_go_by_position_by_name_and_without_parameters() {
    let names = ["subtrahend", "minuend"];
    let params = |text: &str| one(text).expect("a call").params(&names).map(Value::Object);
    let wanted = Ok(json!({ "subtrahend": 42, "minuend": 23 }));
    assert_eq!(params(r#"{"jsonrpc":"2.0","method":"subtract","params":[42,23],"id":1}"#), wanted);
    let named = r#"{"jsonrpc":"2.0","method":"subtract","params":{"minuend":23,"subtrahend":42},"id":4}"#;
    assert_eq!(params(named), wanted);
    assert_eq!(params(r#"{"jsonrpc":"2.0","method":"foobar","id":"1"}"#), Ok(json!({})));
    for wrong in ["[1,2,3]", r#"{"other":1}"#] {
        let text = format!(r#"{{"jsonrpc":"2.0","method":"subtract","params":{wrong},"id":1}}"#);
        assert!(params(&text).is_err(), "{wrong}");
    }
}

#[test]
fn a_call_without_an_id_is_a_notification_and_null_is_an_id() {
    let id = |text| one(text).expect("a call").id;
    assert_eq!(id(r#"{"jsonrpc":"2.0","method":"update","params":[1,2]}"#), None);
    assert_eq!(id(r#"{"jsonrpc":"2.0","method":"update","id":null}"#), Some(Value::Null));
    assert_eq!(id(r#"{"jsonrpc":"2.0","method":"update","id":"x"}"#), Some(json!("x")));
    assert_eq!(id(r#"{"jsonrpc":"2.0","method":"update","id":1.5}"#), Some(json!(1.5)));
}

#[test]
fn what_is_no_call_is_answered_as_the_specification_says() {
    let (parse, invalid) = (-32_700, -32_600);
    for (text, id, code) in [
        (r#"{"jsonrpc": "2.0", "method": "foobar, "params": "bar", "baz]"#, json!(null), parse),
        (r#"[{"jsonrpc": "2.0", "method": "sum", "id": "1"},{"jsonrpc": "2.0", "method""#, json!(null), parse),
        ("", json!(null), parse),
        (r#"{"jsonrpc": "2.0", "method": 1, "params": "bar"}"#, json!(null), invalid),
        (r#"{"jsonrpc": "2.0", "method": "foo", "params": "bar", "id": 7}"#, json!(7), invalid),
        (r#"{"method": "foo", "id": 7}"#, json!(7), invalid),
        (r#"{"jsonrpc": "1.0", "method": "foo", "id": 7}"#, json!(7), invalid),
        (r#"{"jsonrpc": "2.0", "result": 1, "id": 7}"#, json!(7), invalid),
        (r#"{"jsonrpc": "2.0", "method": "foo", "id": {}}"#, json!(null), invalid),
        ("[]", json!(null), invalid),
        ("1", json!(null), invalid),
    ] {
        assert_eq!(fault(text), (id, code), "{text}");
    }
    let long = format!(r#"{{"jsonrpc":"2.0","method":"foo","id":"{}"}}"#, "x".repeat(257));
    assert_eq!(fault(&long), (json!(null), invalid));
    let deep = format!("{}{}", "[".repeat(100), "]".repeat(100));
    assert_eq!(fault(&deep), (json!(null), parse));
}

#[test]
fn a_batch_is_read_call_by_call_up_to_its_bound() {
    let call = r#"{"jsonrpc":"2.0","method":"sum","id":1}"#;
    let Said::Batch(calls) = Said::parse(format!("[1,{call},{{}}]").as_bytes()) else { panic!("a batch") };
    assert_eq!(calls.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true, false]);
    let of = |count: usize| format!("[{}]", vec![call; count].join(","));
    assert!(matches!(Said::parse(of(BATCH_MAX).as_bytes()), Said::Batch(calls) if calls.len() == BATCH_MAX));
    assert_eq!(fault(&of(BATCH_MAX + 1)), (Value::Null, -32_600));
}

#[test]
fn answers_and_notifications_are_json_of_the_right_form() {
    let read = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
    let right = read(answer(&json!("a\"b"), Ok(r#"{"x":1}"#.to_owned())));
    assert_eq!(right, json!({ "jsonrpc": "2.0", "id": "a\"b", "result": { "x": 1 } }));
    let wrong = read(answer(&json!(1), Err(Fault::new(Code::Refused, "no \"").with(json!({ "status": 403 })))));
    let error = json!({ "code": -32_000, "message": "no \"", "data": { "status": 403 } });
    assert_eq!(wrong, json!({ "jsonrpc": "2.0", "id": 1, "error": error }));
    let told = read(notification(3, r#"{"seq":9}"#));
    assert_eq!(told["params"], json!({ "subscription": 3, "event": { "seq": 9 } }));
    assert!(told["method"] == "event" && told.get("id").is_none());
}

/// Calls with bytes changed, cut out and doubled, by a generator that always begins the same.
#[test]
fn whatever_comes_is_read_without_harm_and_answered_with_json() {
    let seeds = [
        r#"{"jsonrpc":"2.0","method":"subscribe","params":{"channels":["_status"],"payload":false},"id":1}"#,
        r#"[{"jsonrpc":"2.0","method":"status","id":"x"},{"jsonrpc":"2.0","method":"peers","params":[]}]"#,
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut below = |most: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).expect("31 bits") % most
    };
    for round in 0..20_000 {
        let mut text = seeds[round % 2].as_bytes().to_vec();
        for _ in 0..=below(4) {
            let at = below(text.len());
            match below(3) {
                0 => text[at] = u8::try_from(below(256)).expect("a byte"),
                1 => drop(text.drain(at..(at + below(9)).min(text.len() - 1).max(at))),
                _ => text.extend_from_within(at..),
            }
        }
        let reads = match Said::parse(&text) {
            Said::One(read) => vec![read],
            Said::Batch(reads) => reads,
        };
        for (id, fault) in reads.into_iter().filter_map(Result::err) {
            let text = answer(&id, Err(fault));
            assert!(serde_json::from_str::<Value>(&text).is_ok(), "{text}");
        }
    }
}
