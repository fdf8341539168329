//! Bodies as they come, and as nobody should send them.

use super::*;
use crate::task::{Course, Kept, Refused, State};
use serde_json::{Value, json};

const ID: &str = "0190b6a2-0000-7000-8000-000000000001";

fn id() -> TaskId {
    ID.parse().expect("a UUID")
}

#[test]
fn a_task_is_read_with_all_it_says_and_shown_the_same() {
    let body = json!({
        "kind": "echo", "capability": "text", "payload": {"a": [1, 2.5]}, "requirements": {"memory": 8, "gpu": true},
        "priority": -3, "deadline": "2033-01-01T00:00:00Z", "max_attempts": 5, "lease_seconds": 30, "colour": "red",
    });
    let tasks = parse_submit(body.to_string().as_bytes(), "me", Some("k")).expect("valid");
    let [task] = &tasks[..] else { panic!("one task") };
    assert_eq!(task.payload, r#"{"a":[1,2.5]}"#);
    assert_eq!((task.attempts_max, task.lease, task.priority), (5, Duration::from_secs(30), -3));
    assert_eq!((task.idempotency_key.as_deref(), &*task.submitted_by), (Some("k"), "me"));
    assert_eq!(read_requirements(&task.requirements_text()).expect("own text"), task.requirements);
    let kept = Kept {
        id: id(),
        number: 1,
        submitted: Timestamp::from_millis(0),
        task: task.clone(),
        course: Course::begin(task.attempts_max, task.lease, task.deadline),
        result: None,
    };
    let shown = serde_json::to_value(Shown::of(&kept)).expect("JSON");
    for key in ["kind", "capability", "payload", "priority", "max_attempts", "lease_seconds"] {
        assert_eq!(shown[key], body[key], "{key}");
    }
    assert_eq!((&shown["state"], &shown["deadline"]), (&json!("queued"), &json!("2033-01-01T00:00:00.000Z")));
}

#[test]
fn each_task_of_a_batch_has_a_key_of_its_own() {
    let body = br#" [{"kind":"a","capability":"c"},{"kind":"a","capability":"c","idempotency_key":"own"}]"#;
    let tasks = parse_submit(body, "me", Some("k")).expect("valid");
    let keys: Vec<_> = tasks.iter().map(|task| task.idempotency_key.as_deref()).collect();
    assert_eq!(keys, [Some("k/0"), Some("own")]);
    assert_eq!(tasks[0].payload, "null");
}

#[test]
fn what_workers_say_is_read() {
    let claim = parse_claim(br#"{"capabilities":["a","b","a"],"wanted":100,"wait_ms":99999999}"#).expect("valid");
    assert_eq!((claim.offer.capabilities.len(), claim.wanted, claim.wait), (2, 100, WAIT_MAX));
    let text = format!(r#"{{"done":[{{"id":"{ID}","token":7,"result":{{"x":1}}}},{{"id":"{ID}","token":8}}]}}"#);
    let done = parse_complete(text.as_bytes()).expect("valid");
    assert_eq!(done[0], Done { grip: Grip { id: id(), token: 7 }, result: r#"{"x":1}"#.to_owned() });
    assert_eq!(done[1].result, "null");
    let text = format!(r#"{{"failed":[{{"id":"{ID}","token":7,"error":"{}"}}]}}"#, "é".repeat(2000));
    let failed = parse_fail(text.as_bytes()).expect("valid");
    assert!(failed[0].cause.len() <= crate::task::CAUSE_MAX && failed[0].is_worth_another);
    let said = parse_progress(br#"{"token":1,"fraction":0.5,"line":"a\u0000b","lines":["c"]}"#, id()).expect("valid");
    assert_eq!(said.lines, ["ab", "c"]);
    let renewed = parse_renew(format!(r#"{{"leases":[{{"id":"{ID}","token":1}}]}}"#).as_bytes()).expect("valid");
    assert_eq!(renewed, [Grip { id: id(), token: 1 }]);
}

#[test]
fn hostile_bodies_are_refused_with_the_name_of_the_field_and_in_few_words() {
    let submit = |text: &str| parse_submit(text.as_bytes(), "me", None).expect_err("refused").to_string();
    let with = |more: &str| submit(&format!(r#"{{"kind":"a","capability":"c",{more}}}"#));
    assert!(with(r#""kind":"b""#).contains("duplicate field `kind`"));
    assert!(with(r#""payload":{"a":1,"a":2}"#).starts_with("`payload`: the key appears twice at /a"));
    assert!(with(&format!(r#""payload":{}"#, "[".repeat(50_000))).len() < 300);
    assert!(
        with(&format!(r#""payload":{}{}"#, "[".repeat(40), "]".repeat(40))).starts_with("`payload`: nested deeper")
    );
    let large = format!(r#""payload":"{}""#, "x".repeat(PAYLOAD_MAX));
    assert_eq!(with(&large), "`payload` is larger than 1048576 bytes");
    let fits = format!(r#"{{"kind":"a","capability":"c","payload":"{}"}}"#, "x".repeat(PAYLOAD_MAX - 2));
    assert!(parse_submit(fits.as_bytes(), "me", None).is_ok());
    assert_eq!(with(r#""requirements":{"a":[]}"#), "`requirements` takes numbers, texts, true and false");
    assert_eq!(with(r#""requirements":7"#), "`requirements` takes numbers, texts, true and false");
    assert_eq!(with(r#""deadline":"soon""#), "`deadline` is not a time as RFC 3339 has it");
    assert_eq!(with(r#""idempotency_key":"\u0007""#), "`idempotency_key` has a character that cannot be seen");
    assert_eq!(with(r#""max_attempts":101"#), "`max_attempts` must be 1 to 100");
    assert!(with(&format!(r#""priority":"{}""#, "x".repeat(100_000))).len() < 300);
    assert!(with(r#""priority":3000000000"#).contains("the body is not what this call takes"));
    assert_eq!(submit("[]"), "`tasks` is empty");
    let many = format!("[{}]", vec![r#"{"kind":"a","capability":"c"}"#; BATCH_MAX + 1].join(","));
    assert!(submit(&many).contains("an array of at most 100 entries"));
    assert_eq!(parse_submit(&vec![b' '; BODY_MAX + 1], "me", None), Err(BadBody::TooLarge));
    assert!(submit("").len() < 300 && submit("\u{0}").len() < 300 && submit("null").len() < 300);
    let claim = |text: &str| parse_claim(text.as_bytes()).expect_err("refused").to_string();
    assert!(claim(r#"{"capabilities":["a"],"wanted":0}"#).contains("`wanted` must be 1 to 100"));
    assert!(claim(&format!(r#"{{"capabilities":[{}"a"]}}"#, r#""a","#.repeat(64))).contains("at most 64 entries"));
    let lines = format!(r#"{{"token":1,"lines":[{}"a"]}}"#, r#""a","#.repeat(LINES_MAX));
    assert!(parse_progress(lines.as_bytes(), id()).is_err());
    let with_line = |count| {
        let body = json!({ "token": 1, "line": "first", "lines": vec!["a"; count] }).to_string();
        parse_progress(body.as_bytes(), id()).map(|said| said.lines.len())
    };
    assert_eq!(with_line(LINES_MAX - 1), Ok(LINES_MAX));
    assert_eq!(with_line(LINES_MAX), Err(BadBody::Task(BadTask::TooMany("lines", LINES_MAX))));
    assert!(parse_renew(br#"{"leases":[{"id":"no","token":1}]}"#).is_err());
    assert!(parse_renew(format!(r#"{{"leases":[{{"id":"{ID}","token":-1}}]}}"#).as_bytes()).is_err());
}

#[test]
fn an_entry_of_a_batch_is_answered_with_what_became_of_it() {
    let refused = serde_json::to_value(Answered::stands(id(), Err(Refused::Stale))).expect("JSON");
    assert_eq!((&refused["ok"], &refused["code"]), (&Value::Bool(false), &json!("stale_lease")));
    let done = serde_json::to_value(Answered::stands(id(), Ok(State::Succeeded))).expect("JSON");
    assert_eq!(done, json!({"id": ID, "ok": true, "state": "succeeded"}));
}
