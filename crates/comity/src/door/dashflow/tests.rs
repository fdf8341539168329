//! The shapes of what a node shows.

use super::*;
use serde_json::json;

fn doing(said: Value) -> Value {
    serde_json::to_value(Doing::of(&said, None)).expect("plain data")
}

#[test]
fn a_status_is_shown_in_the_protocols_form_whatever_was_said() {
    let said = json!({ "working_on": "a\u{202e}b", "progress": 0.5, "updated_at": "2023-11-14T22:13:20Z", "x": 1 });
    let shown =
        json!({ "working_on": "ab", "progress": 0.5, "updated_at": "2023-11-14T22:13:20.000Z", "details": null });
    assert_eq!(doing(said), shown);
    let nothing = json!({ "working_on": null, "progress": null, "updated_at": null, "details": null });
    assert_eq!(doing(json!({ "working_on": 7, "progress": "half", "updated_at": "soon" })), nothing);
    assert_eq!(doing(json!([1, 2])), nothing);
    assert_eq!(doing(json!("resting"))["working_on"], "resting");
}

#[test]
fn an_ack_says_what_the_answer_to_a_post_says() {
    let problem = Problem::bad_request("x").at("/message/ttl".to_owned());
    let ack = serde_json::to_value(Taken::refused(None, problem).ack()).expect("plain data");
    assert_eq!(
        ack,
        json!({
            "type": "ack", "accepted": false, "message_id": null, "error": "x",
            "title": "Bad Request", "status": 400, "code": "bad_request", "detail": "x", "pointer": "/message/ttl",
        })
    );
}
