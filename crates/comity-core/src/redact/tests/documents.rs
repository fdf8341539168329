//! Secrets in JSON documents.

use super::*;
use serde_json::json;

fn check(document: Value, expect: Value, places: &[Place]) {
    let mut found = Vec::new();
    let redactor = redactor();
    let out = redactor.json(&document, &mut found);
    let changed = (document != expect).then_some(expect);
    assert_eq!(out, changed);
    assert_eq!(found.iter().map(|finding| finding.place.clone()).collect::<Vec<_>>(), places);
    if let Some(out) = out {
        assert_eq!(redactor.json(&out, &mut found), None, "the same again");
    }
}

fn value(pointer: &str) -> Place {
    Place::Value(pointer.into())
}

#[test]
fn nothing_is_copied_where_nothing_is_found() {
    check(
        json!({"a": [1, "b", {"c": null}], "token": null, "password": "", "max_tokens": 5, "secret": "${X}", "auth": true}),
        json!({"a": [1, "b", {"c": null}], "token": null, "password": "", "max_tokens": 5, "secret": "${X}", "auth": true}),
        &[],
    );
}

#[test]
fn a_secret_field_goes_whatever_it_holds() {
    check(
        json!({"a": {"password": "x", "pin": 4821, "tokens": 7}, "api_keys": ["one", 2, ["three"]], "secret": 12.5}),
        json!({"a": {"password": MARK, "pin": MARK, "tokens": 7}, "api_keys": [MARK, MARK, [MARK]], "secret": MARK}),
        &[
            value("/a/password"),
            value("/a/pin"),
            value("/api_keys/0"),
            value("/api_keys/1"),
            value("/api_keys/2/0"),
            value("/secret"),
        ],
    );
    check(
        json!({"password": {"value": "swordfish", "kind": "text", "salt": "kd93kdK3"}}),
        json!({"password": {"value": MARK, "kind": "text", "salt": MARK}}),
        &[value("/password/value"), value("/password/salt")],
    );
    check(
        json!({"env": [{"name": "DB_PASSWORD", "value": "x1"}]}),
        json!({"env": [{"name": "DB_PASSWORD", "value": MARK}]}),
        &[value("/env/0/value")],
    );
    check(
        json!({"kty": "OKP", "x": "11qYAYKxCrfVS", "d": "nWGxne"}),
        json!({"kty": "OKP", "x": "11qYAYKxCrfVS", "d": MARK}),
        &[value("/d")],
    );
}

#[test]
fn free_text_and_keys_are_looked_into() {
    let token = format!("ghp_{}", drawn::Dice(5).letters(36));
    check(
        json!({"log": format!("used {token} twice"), "n": 1}),
        json!({"log": "used [REDACTED] twice", "n": 1}),
        &[Place::Within("/log".into(), 5..45)],
    );
    let other = format!("ghp_{}", drawn::Dice(6).letters(36));
    let mut found = Vec::new();
    let out = redactor()
        .json(&json!({"by": {token.clone(): 1, other.clone(): {"password": "a/b"}, MARK: 3}}), &mut found)
        .unwrap();
    assert_eq!(out, json!({"by": {"[REDACTED] 2": 1, "[REDACTED] 3": {"password": MARK}, MARK: 3}}));
    assert_eq!(found[0].place, Place::Key("/by/[REDACTED] 2".into()));
    assert_eq!(found[2].place, value("/by/[REDACTED] 3/password"));
    assert!(!format!("{found:?}").contains(&token));
}

#[test]
fn a_secret_of_one_field_goes_from_the_others() {
    check(
        json!({"command": "connect x7!kd9Kd", "password": "x7!kd9Kd", "list": [["x7!kd9Kd?"]]}),
        json!({"command": "connect [REDACTED]", "password": MARK, "list": [["[REDACTED]?"]]}),
        &[value("/password"), Place::Within("/command".into(), 8..16), Place::Within("/list/0/0".into(), 0..8)],
    );
}

#[test]
fn typed_fields_stay_on_the_wire_and_go_from_the_journal() {
    let document = json!({"grant": {"token": "abc"}, "ice": [{"pwd": "k3k3"}, {"pwd": "k4k4"}], "sig": "c2ln", "password": "p1", "n/m": "u"});
    let fields = || Exempt::new(["sig", "/grant/token", "/ice/*/pwd", "/n~1m"]);
    let mut found = Vec::new();
    let wire = redactor().typed_json(&document, &Typed::Kept(fields()), &mut found).unwrap();
    assert_eq!(
        wire,
        json!({"grant": {"token": "abc"}, "ice": [{"pwd": "k3k3"}, {"pwd": "k4k4"}], "sig": "c2ln", "password": MARK, "n/m": "u"})
    );
    assert_eq!(found.len(), 1);
    let journal = redactor().typed_json(&document, &Typed::Taken(fields()), &mut found).unwrap();
    assert_eq!(
        journal,
        json!({"grant": {"token": MARK}, "ice": [{"pwd": MARK}, {"pwd": MARK}], "sig": MARK, "password": MARK, "n/m": MARK})
    );
    assert_eq!(redactor().typed_json(&journal, &Typed::Taken(fields()), &mut found), None);
}

#[test]
fn what_is_nested_too_deep_goes_as_a_whole() {
    let deep = |levels: usize, inner: Value| (0..levels).fold(inner, |inner, _| json!([inner]));
    let mut found = Vec::new();
    assert_eq!(redactor().json(&deep(crate::limits::JSON_DEPTH_MAX, json!("x")), &mut found), None);
    let out = redactor().json(&deep(crate::limits::JSON_DEPTH_MAX + 1, json!({"a": "x"})), &mut found);
    assert_eq!(out, Some(deep(crate::limits::JSON_DEPTH_MAX + 1, json!(MARK))));
}

#[test]
fn what_a_flag_gives_goes_from_a_command_that_is_a_list() {
    check(
        json!({"argv": ["tool", "--password", "swordfish", "--user", "ann", "-token", "a1", "--secret", "--dry-run"]}),
        json!({"argv": ["tool", "--password", MARK, "--user", "ann", "-token", MARK, "--secret", "--dry-run"]}),
        &[value("/argv/2"), value("/argv/6")],
    );
    check(json!(["- rotate the token", "tomorrow"]), json!(["- rotate the token", "tomorrow"]), &[]);
    let redactor = redactor();
    for told in [r#"["--password","x"]"#, r#"["\u002d-password","x"]"#, r#"{"a":["-t\/x\"-pwd","x"]}"#] {
        assert!(!redactor.spares_json(told.as_bytes()), "{told}");
    }
    assert!(redactor.spares_json(br#"{"a":["--user","x"],"b":"--password"}"#));
}

#[test]
fn what_would_be_a_template_elsewhere_is_a_password_where_it_is_all_that_stands_there() {
    for secret in ["<Kx9!mQ2z", "\\Kx9!mQ2z", "hunter2...", "sk-…", "sk-abc..."] {
        check(json!({ "password": secret }), json!({ "password": MARK }), &[value("/password")]);
    }
    for template in ["<password>", "...", "…", "${X}...", "{{ x }}", "Enter your password…"] {
        check(json!({ "password": template }), json!({ "password": template }), &[]);
    }
}

#[test]
fn signs_that_nobody_sees_hide_nothing() {
    let token = drawn::Dice(5).letters(36);
    for unseen in ['\u{ad}', '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}'] {
        let broken = format!("gh{unseen}p_{}{unseen}{}{unseen}", &token[..9], &token[9..]);
        check(
            json!({"log": format!("é used {broken} twice"), format!("pass{unseen}word"): "x"}),
            json!({"log": format!("é used [REDACTED]{unseen} twice"), format!("pass{unseen}word"): MARK}),
            &[
                Place::Within("/log".into(), 8..8 + broken.len() - unseen.len_utf8()),
                value(&format!("/pass{unseen}word")),
            ],
        );
        assert!(!redactor().spares_json(json!({"log": broken}).to_string().as_bytes()));
    }
    check(json!({"a": "👩\u{200d}💻 می\u{200c}خواهم"}), json!({"a": "👩\u{200d}💻 می\u{200c}خواهم"}), &[]);
}

#[test]
fn places_below_a_long_key_are_cut() {
    let key = "é".repeat(50_000);
    let mut found = Vec::new();
    redactor().json(&json!({ key.clone(): { "password": vec![1; 1000] }, "b": { "password": 1 } }), &mut found);
    let lengths = found.iter().map(|finding| match &finding.place {
        Place::Value(pointer) => pointer.len(),
        other => panic!("{other:?}"),
    });
    assert!(found.len() == 1001 && lengths.max() < Some(300));
    assert_eq!(found[1000].place, value("/b/password"));
}
