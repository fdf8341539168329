//! Tests of the redactor: each rule by texts made from its own pattern, groups of rules by how secrets are
//! written, lookalikes, documents, and what must hold for any text.

mod documents;
mod drawn;
mod families;
mod lookalikes;
mod properties;
mod secrets;
mod tables;

use super::*;

const KEY: [u8; 32] = [7; 32];

fn redactor() -> Redactor {
    Redactor::new(&Config::new(KEY)).unwrap()
}

/// Redacts a text whose secret is between `«` and `»`, and says what was found.
fn check_secret(redactor: &Redactor, marked: &str) -> Result<Vec<String>, String> {
    let secrets: Vec<&str> = marked.split('«').skip(1).filter_map(|rest| rest.split('»').next()).collect();
    let text = marked.replace(['«', '»'], "");
    let mut found = Vec::new();
    let out = redactor.text(&text, &mut found).into_owned();
    for secret in secrets {
        if out.contains(secret) {
            return Err(format!("{secret} stays in {text:?}: {out:?}"));
        }
    }
    // What is around a secret stays.
    let mut rest = out.as_str();
    for around in marked.split('«').map(|part| part.split('»').next_back().unwrap_or_default()) {
        let Some(at) = rest.find(around) else { return Err(format!("too much of {text:?}: {out:?}")) };
        rest = &rest[at + around.len()..];
    }
    let mut again = Vec::new();
    if redactor.text(&out, &mut again) != out {
        return Err(format!("not the same again: {out:?}: {:?}", redactor.text(&out, &mut again)));
    }
    Ok(found.into_iter().map(|finding| finding.rule.name.clone()).collect())
}

/// Checks many, and tells of all that fail at once.
fn check_secrets(marked: &[&str]) {
    let redactor = redactor();
    let failed: Vec<String> = marked.iter().filter_map(|marked| check_secret(&redactor, marked).err()).collect();
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), marked.len(), failed.join("\n"));
}

/// Checks that nothing is taken from texts, and tells of all that fail at once.
fn check_clean(texts: &[&str]) {
    let redactor = redactor();
    let mut failed = Vec::new();
    for text in texts {
        let mut found = Vec::new();
        let out = redactor.text(text, &mut found);
        if !found.is_empty() {
            let rules: Vec<&str> = found.iter().map(|finding| finding.rule.name.as_str()).collect();
            failed.push(format!("{rules:?}: {out}"));
        }
    }
    assert!(failed.is_empty(), "{} of {}:\n{}", failed.len(), texts.len(), failed.join("\n"));
}

#[test]
fn a_clean_text_is_borrowed() {
    let mut found = Vec::new();
    assert!(matches!(redactor().text("nothing to see here", &mut found), Cow::Borrowed(_)));
    assert_eq!(found, []);
}

#[test]
fn a_finding_says_the_rule_the_place_and_the_keyed_hash() {
    let mut found = Vec::new();
    let text = "let it be: password = \"hunter22\"";
    let out = redactor().text(text, &mut found).into_owned();
    assert_eq!(out, "let it be: password = \"[REDACTED]\"");
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.rule.name.as_str(), finding.rule.severity), ("password-field", Severity::High));
    assert_eq!(finding.place, Place::Text(23..31));
    assert_eq!(finding.hash, audit_hash(&KEY, "hunter22"));
    assert!(!format!("{found:?}").contains("hunter22"));
}

#[test]
fn a_secret_is_named_by_the_rule_that_says_most() {
    let mut found = Vec::new();
    redactor().text(&format!("GH_TOKEN=ghp_{}", drawn::Dice(8).letters(36)), &mut found);
    assert_eq!(found.iter().map(|finding| finding.rule.name.as_str()).collect::<Vec<_>>(), ["github-personal-token"]);
}

#[test]
fn a_record_carries_the_labels() {
    let mut found = Vec::new();
    redactor().text("password: hunter22", &mut found);
    let labels = Labels { source: "gossip".into(), topic: "t".into(), message_type: "task_claim".into() };
    let at = crate::time::Timestamp::from_millis(5);
    let records: Vec<Audit> = Audit::of(labels.clone(), at, found.clone()).collect();
    assert_eq!(records.len(), 1);
    assert_eq!((&*records[0].labels, records[0].at, &records[0].finding), (&labels, at, &found[0]));
}

#[test]
fn a_secret_goes_wherever_it_stands_unless_it_is_a_plain_word() {
    let mut found = Vec::new();
    let redactor = redactor();
    assert_eq!(
        redactor.text("password=Tr0ub4dor&3\nrun -x Tr0ub4dor&3 now", &mut found),
        "password=[REDACTED]\nrun -x [REDACTED] now"
    );
    assert_eq!(found.len(), 2);
    let text = "postgres://postgres:postgres@db/postgres";
    assert_eq!(redactor.text(text, &mut found), "postgres://postgres:[REDACTED]@db/postgres");
}

#[test]
fn configured_rules_find_what_the_built_in_ones_do_not() {
    let rule = |name: &str, pattern: &str| CustomRule {
        name: name.into(),
        severity: Severity::Low,
        tags: vec!["acme".into()],
        pattern: pattern.into(),
    };
    let config = Config {
        custom: vec![rule("acme-badge", r"badge (\d{6})"), rule("acme-word", "zwölf[a-z]{1,9}")],
        ..Config::new(KEY)
    };
    let redactor = Redactor::new(&config).unwrap();
    let mut found = Vec::new();
    assert_eq!(redactor.text("my badge 123456, zwölfte", &mut found), "my badge [REDACTED], [REDACTED]");
    assert_eq!(found.iter().map(|finding| finding.rule.name.as_str()).collect::<Vec<_>>(), ["acme-badge", "acme-word"]);
    let refused =
        |rule: CustomRule| Redactor::new(&Config { custom: vec![rule], ..Config::new(KEY) }).unwrap_err().to_string();
    for (bad, says) in [
        (rule("Acme!", "abcdef"), "rule `Acme!` of redaction: `name` must be"),
        (rule("", "abcdef"), "rule `number 1` of redaction: `name`"),
        (rule("github-oauth-token", "abcdef"), "`name` must be one that no other rule has"),
        (rule("a", "("), "rule `a` of redaction: `pattern`: unclosed group, at byte 0"),
        (rule("a", "ab"), "no less than 4 bytes"),
        (rule("a", "abcd.*"), "no more than 2,048 bytes"),
        (rule("a", &"a".repeat(PATTERN_MAX + 1)), "of 1 to 1,024 bytes"),
        (CustomRule { tags: vec!["A b".into()], ..rule("a", "abcdef") }, "rule `a` of redaction: `tags`"),
    ] {
        let error = refused(bad);
        assert!(error.contains(says), "{error}");
    }
    let many = vec![rule("a", "abcdef"); CUSTOM_MAX + 1];
    assert_eq!(
        Redactor::new(&Config { custom: many, ..Config::new(KEY) }).unwrap_err(),
        BadRule::TooMany { count: CUSTOM_MAX + 1 }
    );
}

#[test]
fn rules_can_be_off_and_unknown_ones_are_refused() {
    let config = Config { off: vec!["password-field".into()], ..Config::new(KEY) };
    let mut found = Vec::new();
    assert_eq!(Redactor::new(&config).unwrap().text("password=hunter22", &mut found), "password=hunter22");
    let config = Config { off: vec!["pasword-field".into()], ..Config::new(KEY) };
    let unknown = Redactor::new(&config).unwrap_err();
    assert_eq!(unknown, BadRule::Unknown { rule: "pasword-field".into(), nearest: "password-field" });
    assert!(
        unknown.to_string().contains("`pasword-field`, which is no built-in rule; the nearest is `password-field`")
    );
    let own = CustomRule { name: "acme".into(), severity: Severity::Low, tags: vec![], pattern: "abcdef".into() };
    let config = Config { off: vec!["acme".into()], custom: vec![own], ..Config::new(KEY) };
    assert_eq!(Redactor::new(&config).unwrap_err(), BadRule::Own { rule: "acme".into() });
}
