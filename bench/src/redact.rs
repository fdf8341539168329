//! What redaction costs: megabytes a second of clean text of four kinds, microseconds for a message of 1 KiB,
//! nanoseconds to tell that one holds nothing, and milliseconds until the rules are read. One core; of many rounds the best, for the machine does other things too.

use comity_core::redact::{Config, Redactor};
use std::hint::black_box;
use std::time::Instant;

/// Least of a text that is measured, bytes.
const TEXT_MIN: usize = 1024 * 1024;

const MESSAGE: usize = 1024;

const ROUNDS: usize = 9;

/// How often a message is redacted in a round.
const REPEATS: usize = 500;

/// Prints the figures, a line each.
pub(crate) fn run() -> Result<(), String> {
    let config = Config::new([1; 32]);
    let starting = best(|| Redactor::new(&config).map(black_box).is_ok());
    let redactor = Redactor::new(&config).map_err(|bad| bad.to_string())?;
    println!("reading {} rules {:>17.2} ms", redactor.rules().count(), starting * 1e3);
    let prose = include_str!("../../ARCHITECTURE.md");
    for (what, text) in
        [("prose", filled(prose)), ("JSON", json()), ("code", filled(include_str!("rules.rs"))), ("base64", base64())]
    {
        let seconds = best(|| clean(&redactor, &text));
        println!("{:<24} {:>7.0} MB/s", format!("clean {what}"), text.len() as f64 / 1e6 / seconds);
    }
    // Pieces are cut anywhere: of ASCII that is between letters.
    let ascii: String = prose.chars().filter(char::is_ascii).collect();
    let message = &ascii[..MESSAGE];
    let secrets = [
        "password = \"hunter22x\"".to_owned(),
        format!("token ghp_{}", drawn(36, 1)),
        format!("Authorization: Bearer {}", drawn(40, 2)),
    ];
    let room = MESSAGE - secrets.iter().map(|secret| secret.len() + 2).sum::<usize>();
    let part = room / secrets.len();
    let pieces =
        secrets.iter().enumerate().map(|(index, secret)| format!("{} {secret}\n", &ascii[index * part..][..part]));
    let hiding: String = pieces.collect();
    for (what, text) in [("clean", message), ("with 3 secrets", hiding.as_str())] {
        let found = count(&redactor, text);
        let seconds = best(|| (0..REPEATS).all(|_| count(&redactor, text) == found)) / REPEATS as f64;
        println!("{:<24} {:>7.2} us, {found} found", format!("1 KiB {what}"), seconds * 1e6);
    }
    for (what, text) in [("100 bytes", claim()), ("1 KiB", claims())] {
        let seconds = best(|| (0..REPEATS).all(|_| redactor.spares_json(black_box(text.as_bytes())))) / REPEATS as f64;
        println!("{:<24} {:>7.0} ns, {} bytes", format!("sparing {what}"), seconds * 1e9, text.len());
    }
    Ok(())
}

/// A message as nodes send them most.
fn claim() -> String {
    r#"{"type":"task_claim","task":"build-docs","id":"0197a3c2-7d10-7c3e-9a55-0c1d2e3f4a5b","lease_ms":30000}"#
        .to_owned()
}

/// A message of many fields.
fn claims() -> String {
    let claims: Vec<String> = (0..MESSAGE / claim().len()).map(|_| claim()).collect();
    format!(r#"{{"claims":[{}],"note":"All of them are of one plan."}}"#, claims.join(","))
}

fn count(redactor: &Redactor, text: &str) -> usize {
    let mut found = Vec::new();
    black_box(redactor.text(black_box(text), &mut found));
    found.len()
}

fn clean(redactor: &Redactor, text: &str) -> bool {
    count(redactor, text) == 0
}

/// The seconds of the best round.
fn best(mut work: impl FnMut() -> bool) -> f64 {
    let round = |_| {
        let began = Instant::now();
        assert!(work(), "what is measured did not go as it must");
        began.elapsed().as_secs_f64()
    };
    (0..ROUNDS).map(round).fold(f64::MAX, f64::min)
}

fn filled(text: &str) -> String {
    text.repeat(TEXT_MIN / text.len() + 1)
}

fn json() -> String {
    let mut text = String::new();
    for number in 0_u64.. {
        if text.len() >= TEXT_MIN {
            break;
        }
        let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text += &format!(
            "{{\"task_id\":\"{id:016x}\",\"owner\":\"node-{}\",\"progress\":0.{},\"tags\":[\"a\",\"b\"],\"key\":\"value\",\"tokens\":{}}}\n",
            number % 99,
            number % 1000,
            number % 4000
        );
    }
    text
}

fn base64() -> String {
    let lines = (0..TEXT_MIN as u64 / 77 + 1).map(|number| drawn(76, number) + "\n");
    lines.collect()
}

/// Letters and digits by a seed: as a machine draws them, and nobody's.
fn drawn(length: usize, seed: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789qZ";
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(LETTERS[(state % 64) as usize])
    };
    (0..length).map(|_| next()).collect()
}
