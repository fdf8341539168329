//! What must hold for any text: made of pieces of secrets, lookalikes and signs by a seed.

use super::super::rule::Find;
use super::drawn::{Dice, drawn};
use super::*;
use std::time::Instant;

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

/// How many marks stood in the text before, outside of what was found.
fn kept_marks(text: &str, found: &[Finding]) -> usize {
    let inside = |at: usize| {
        found.iter().any(
            |finding| matches!(&finding.place, Place::Text(range) if range.start < at + MARK.len() && at < range.end),
        )
    };
    text.match_indices(MARK).filter(|(at, _)| !inside(*at)).count()
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what is measured is the time that it takes")]
fn hostile_texts_cost_linear_time() {
    const SHORT: usize = 2 * 1024;
    const TIMES: usize = 16;
    let redactor = redactor();
    // The machine does other things too: of three the least.
    let cost = |text: &str| {
        let rounds = (0..3).map(|_| {
            let began = Instant::now();
            redactor.text(text, &mut Vec::new());
            began.elapsed().as_secs_f64()
        });
        rounds.fold(f64::MAX, f64::min)
    };
    for unit in [
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
    ] {
        let long = cost(&unit.repeat(TIMES * SHORT / unit.len()));
        let short = cost(&unit.repeat(SHORT / unit.len())).max(0.001);
        // Linear is 16, quadratic 256.
        let ratio = long / short;
        assert!(ratio < 100.0, "{unit:?}: {TIMES} times the text, {ratio:.1} times the time ({short} s to {long} s)");
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
