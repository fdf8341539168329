//! Each rule of the tables by texts made from its own data.

use super::super::rule::{Check, Find, Rule};
use super::super::rules;
use super::drawn::{Dice, drawn};
use super::*;
use base64::Engine;
use std::collections::BTreeSet;

/// What checks want of what they check.
fn made(rule: &Rule, start: &str, dice: &mut Dice) -> String {
    let basic = |dice: &mut Dice| base64::engine::general_purpose::STANDARD.encode(format!("bob:{}", dice.letters(9)));
    match rule.find {
        Find::After(tail) => {
            let text = if rule.check == Check::Basic {
                format!("«{}»", basic(dice))
            } else {
                drawn(&format!("(?:{tail})"), dice)
            };
            let text =
                if rule.check == Check::Basic && tail.starts_with(r"\s") { format!(": \"{text}\"") } else { text };
            let text = if text.contains('«') { format!("{start}{text}") } else { format!("«{start}{text}»") };
            match rule.check {
                // What a pattern draws is short, and no password.
                Check::Strong => {
                    let (before, rest) = text.split_once('«').unwrap();
                    let after = rest.split_once('»').unwrap().1;
                    format!("{before}«{}7»{after}", dice.letters(11))
                }
                Check::Near(word) => format!("{word} {text}"),
                _ => text,
            }
        }
        Find::Around((least, _), tail) => {
            let digits = rule.name == "telegram-bot-token";
            let before: String = if digits {
                (0..least).map(|_| char::from(b'1' + dice.below(9) as u8)).collect()
            } else {
                dice.letters(least)
            };
            format!("«{before}{start}{}»", drawn(tail, dice))
        }
        Find::Block => rule.example.replace('@', &format!("«{}»", dice.letters(64))),
        Find::Seed => rule.example.replacen(
            "alpha bravo carol delta early fancy grape house igloo jolly karma lemon",
            "«alpha bravo carol delta early fancy grape house igloo jolly karma lemon»",
            1,
        ),
        Find::Codes => rule.example.replacen('@', &format!("«{}»", dice.letters(12)), 1),
        Find::Field(field::Noun::Seed) => {
            rule.example.replace('@', "«alpha bravo carol delta early fancy grape house igloo jolly karma lemon»")
        }
        Find::Field(field::Noun::Pin) | Find::Said(field::Noun::Pin) => rule.example.replace("482913", "«482913»"),
        _ => rule.example.replacen('@', &format!("«{}»", dice.letters(24)), 1),
    }
}

/// Whether a rule's example says one of its starts, and the others are names like it.
fn is_by_name(rule: &Rule) -> bool {
    matches!(rule.find, Find::Field(_) | Find::Said(_) | Find::Grid | Find::Paired | Find::Codes | Find::Seed)
}

#[test]
fn every_rule_finds_what_is_made_from_its_data() {
    let redactor = redactor();
    let mut dice = Dice(1);
    let mut failed = Vec::new();
    for rule in rules::all() {
        for start in rule.starts.iter().filter(|_| !is_by_name(rule)).chain(is_by_name(rule).then_some(&rule.starts[0]))
        {
            let mut good = 0;
            let mut last = String::new();
            for _ in 0..8 {
                let text = format!("so {}\nthen", made(rule, start, &mut dice));
                // What is drawn may be what documentation prints; most is not.
                let checked = check_secret(&redactor, &text)
                    .or_else(|error| if error.starts_with("too much") { Ok(vec![]) } else { Err(error) });
                match checked {
                    Ok(_) => good += 1,
                    Err(error) => last = error,
                }
            }
            if good < 6 {
                failed.push(format!("{} ({start}): {good} of 8: {last}", rule.name));
            }
        }
    }
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn the_tables_are_sound() {
    let mut names = BTreeSet::new();
    for rule in rules::all() {
        assert!(names.insert(rule.name), "{} twice", rule.name);
        assert!(!rule.starts.is_empty() && !rule.tags.is_empty(), "{}", rule.name);
        assert!(
            rule.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'),
            "{}",
            rule.name
        );
        if let Find::After(tail) | Find::Around(_, tail) = rule.find {
            let compiled = regex::bytes::RegexBuilder::new(&format!(r"\A(?:{tail})")).unicode(false).build();
            assert!(compiled.is_ok(), "{}: {compiled:?}", rule.name);
            if rule.any_case {
                assert!(compiled.unwrap().captures_len() > 1, "{} takes the word with the secret", rule.name);
            }
        }
    }
    assert!(names.len() >= 300, "{} rules", names.len());
}
