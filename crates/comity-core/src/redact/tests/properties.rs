//! What must hold for any text: made of pieces of secrets, lookalikes and signs by a seed.

use super::super::rule::Find;
use super::drawn::{Dice, drawn};
use super::*;

const PIECES: &[&str] = &[
    "password",
    "token",
    "secret=",
    "\"",
    "'",
    "`",
    "\\",
    "\\n",
    "\n",
    " ",
    ": ",
    "=",
    "==",
    "->",
    "is ",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    "<",
    ">",
    "</",
    "://",
    "@",
    ":",
    "/",
    "-----BEGIN PRIVATE KEY-----",
    "-----END PRIVATE KEY-----",
    "eyJ",
    "ghp_",
    "sk-",
    "[REDACTED]",
    "${",
    "%3D",
    "é",
    "→",
    "😀",
    "insert into",
    "values",
    "api_key",
    "Authorization: ",
    "Bearer ",
    "Basic ",
    "Cookie: ",
    "|",
    "&",
    "?",
    ";",
    ",",
    "--",
    "-p",
    "curl ",
    "xxxx",
    "****",
    "hunter2",
    "the ",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7",
    "a=b",
    "12345678",
    "key",
    "value",
    "name",
    "''",
    "\"\"",
    "\u{1b}[31m",
    "\u{200b}",
    "\r\n",
];

fn piece(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => dice.letters(1 + dice.0 as usize % 40),
        1 => {
            let rules: Vec<_> = rules::all().collect();
            let rule = rules[dice.below(rules.len())];
            let start = rule.starts[dice.below(rule.starts.len())];
            match rule.find {
                Find::After(tail) => format!("{start}{}", drawn(tail, dice).replace(['«', '»'], "")),
                _ => rule.example.replace('@', &dice.letters(20)),
            }
        }
        _ => dice.pick(PIECES).to_owned(),
    }
}

#[test]
fn redacting_again_changes_nothing_and_no_secret_is_left() {
    let redactor = redactor();
    for seed in 0..1500 {
        let mut dice = Dice(seed);
        let text: String = (0..1 + dice.below(14)).map(|_| piece(&mut dice)).collect();
        let mut found = Vec::new();
        let out = redactor.text(&text, &mut found).into_owned();
        let mut again = Vec::new();
        assert_eq!(redactor.text(&out, &mut again), out, "seed {seed}: {text:?}");
        let mut end = 0;
        for finding in &found {
            let Place::Text(range) = &finding.place else { panic!("seed {seed}") };
            assert!(range.start >= end, "seed {seed}: places overlap");
            end = range.end;
            let secret = &text[range.clone()];
            assert_eq!(finding.hash, audit_hash(&KEY, secret), "seed {seed}");
            let telling = secret.len() >= ECHO_MIN && value::strength(secret) == value::Strength::Random;
            assert!(!telling || !out.contains(secret) || MARK.contains(secret), "seed {seed}: {secret:?} in {out:?}");
        }
        assert_eq!(
            out.matches(MARK).count() - found.len(),
            kept_marks(&text, &found),
            "seed {seed}: {text:?}: {out:?}"
        );
    }
}

#[test]
fn what_is_spared_as_it_stands_is_spared_as_a_document() {
    let redactor = redactor();
    let mut spared = 0;
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let document = document(&mut dice, 3);
        let text = serde_json::to_string(&document).unwrap();
        if redactor.spares_json(text.as_bytes()) {
            spared += 1;
            let mut found = Vec::new();
            assert_eq!(redactor.json(&document, &mut found), None, "seed {seed}: {text}");
        }
    }
    assert!(spared > 300, "{spared} are too few to prove anything");
}

/// A document of pieces, and of words that no rule knows.
fn document(dice: &mut Dice, levels: usize) -> Value {
    let word = |dice: &mut Dice| match dice.below(9) {
        0 => piece(dice),
        1 => ["name", "value", "key", "kty", "d", "code", "pw", "id"][dice.below(8)].to_owned(),
        2 => format!("a\n{}", dice.letters(5)),
        3 => format!("\"{}\" \\ \u{1}", dice.letters(3)),
        _ => dice.pick(&["task", "hello there", "node-7", "done", "north", "2026-01-04T10:00:00Z"]).to_owned(),
    };
    match dice.below(if levels == 0 { 3 } else { 6 }) {
        0 => serde_json::json!(dice.below(100_000)),
        1 | 2 => serde_json::json!(word(dice)),
        3 => (0..dice.below(4)).map(|_| document(dice, levels - 1)).collect(),
        _ => Value::Object((0..dice.below(5)).map(|_| (word(dice), document(dice, levels - 1))).collect()),
    }
}

#[test]
fn ordinary_messages_are_spared() {
    let redactor = redactor();
    for text in [
        r#"{"v":1,"type":"task_claim","id":"0197a3c2-7d10-7c3e-9a55-0c1d2e3f4a5b","task":"build","lease_ms":30000}"#,
        r#"{"task_id":"9e3779b97f4a7c15","owner":"node-7","progress":0.5,"tags":["a","b"],"key":"value","tokens":12}"#,
        r#"{"text":"The build is green.\nShall I merge it?","to":["ana"],"n":[1,2.5,-3e4,true,null]}"#,
        "[]",
        "12",
        "\"hello\"",
    ] {
        assert!(redactor.spares_json(text.as_bytes()), "{text}");
    }
    for text in [
        r#"{"password":1}"#,
        r#"{"a":"password=hunter22"}"#,
        r#"{"name":"DB_PASSWORD","value":"x"}"#,
        r#"{"a":"h\u0069"}"#,
        r#"{"kty":"OKP","d":"x"}"#,
        "{\"a\":\"x",
    ] {
        assert!(!redactor.spares_json(text.as_bytes()), "{text}");
    }
    let deep = "[".repeat(crate::limits::JSON_DEPTH_MAX + 1);
    assert!(!redactor.spares_json(deep.as_bytes()));
}

/// How many marks stood in the text before, outside of what was found.
fn kept_marks(text: &str, found: &[Finding]) -> usize {
    let inside = |at: usize| {
        found.iter().any(
            |finding| matches!(&finding.place, Place::Text(range) if range.start < at + MARK.len() && at < range.end),
        )
    };
    text.match_indices(MARK).filter(|(at, _)| !inside(*at)).count()
}

/// What a text may be made of, again and again, to cost much.
const HOSTILE: &[&str] = &[
    "password=",
    "pwd=\"",
    "pwd='\"",
    "token: ",
    "eyJ",
    "-eyJ",
    ".eyJ",
    "://",
    "://a:b",
    "x://a:b@",
    "-----BEGIN PRIVATE KEY-----",
    "-----BEGIN",
    "insert into (",
    "insert into t(a,'",
    "ghp_",
    "sk-",
    "-sk-",
    "/sk-",
    ".s.",
    "secret: |\n ",
    "cookie: ",
    "cookie: a=b;",
    "curl ",
    "curl -",
    "\"d\":\"",
    "basic ",
    "bearer ",
    "<pwd a=",
    "passwordpassword",
    "keykeykey ",
    "pwd=pwd(",
    "key is ",
    "password for ",
    "a",
    "\\",
    "\"",
    "pass\\\"",
    "pwd=\\\\\\\"",
    "[REDACTED]",
    "password=hunter2 ",
    "echo ",
    "xoxb-",
    "AAAAAAAAAAAAAAAAAAAAA",
    "name\",\"value",
    "token\n",
    "value=",
    "value:'",
    "recovery_codes:",
    "backup codes:\n",
    "mnemonic: word ",
    "seed phrase:\n1. word ",
    "user,password,",
    "a|password\n",
    "password|\n",
    "password\n\n",
    "the password for ",
    "code ",
    "creds: a / ",
    "password(",
    "<property name=\"password\">",
    "&quot;password&quot;:&quot;",
    "variable \"password\" {",
    "login(\"a\",",
    "username a ",
    "AUTH ",
    "PIN ",
    "password=\u{200b}",
    "\u{200b}",
];

#[test]
fn hostile_texts_cost_linear_time() {
    /// Longer than what any rule reads at once, so that what is quadratic shows.
    const SHORT: usize = 12 * 1024;
    const TIMES: usize = 4;
    let redactor = redactor();
    let steps = |text: &str| {
        steps::taken();
        redactor.text(text, &mut Vec::new());
        steps::taken()
    };
    for unit in HOSTILE {
        let long = steps(&unit.repeat(TIMES * SHORT / unit.len()));
        let short = steps(&unit.repeat(SHORT / unit.len()));
        // Linear is 4, quadratic 16.
        assert!(long <= (TIMES + 2) * short.max(SHORT), "{unit:?}: {TIMES} times the text, {short} to {long} steps");
    }
}

#[test]
fn a_text_of_any_length_is_redacted_to_its_end() {
    let mut text = "word ".repeat(200_000);
    text.push_str("password=hunter22");
    let mut found = Vec::new();
    let out = redactor().text(&text, &mut found).into_owned();
    assert!(out.ends_with("password=[REDACTED]"));
    let long = format!("glpat-{}", Dice(9).letters(250)) + " and token=" + &Dice(10).letters(20_000) + " end";
    let mut found = Vec::new();
    assert_eq!(redactor().text(&long, &mut found), "[REDACTED] and token=[REDACTED] end");
}
