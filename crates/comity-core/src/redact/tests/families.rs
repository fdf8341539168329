//! How secrets and their lookalikes are written, by families of formats: one line each of config files, commands, code,
//! headers, addresses, and sentences in several languages. The rules were made beside these; what judges them is the
//! corpus in `tests/it/corpus/`, which was not.

use super::*;

const SECRETS: &str = include_str!("families_secrets.jsonl");
const LOOKALIKES: &str = include_str!("families_lookalikes.jsonl");

fn lines(file: &str) -> impl Iterator<Item = Value> {
    file.lines().map(|line| serde_json::from_str(line).unwrap())
}

#[test]
fn secrets_of_each_family_go() {
    let redactor = redactor();
    let stays = |line: &Value| {
        let (text, secret) = (line["text"].as_str().unwrap(), line["secret"].as_str().unwrap());
        let out = redactor.text(text, &mut Vec::new()).into_owned();
        out.contains(secret).then(|| format!("{secret:?} in {out:?}"))
    };
    let failed: Vec<String> = lines(SECRETS).filter_map(|line| stays(&line)).collect();
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn lookalikes_of_each_family_stay() {
    let texts: Vec<String> = lines(LOOKALIKES).map(|line| line["text"].as_str().unwrap().to_owned()).collect();
    check_clean(&texts.iter().map(String::as_str).collect::<Vec<_>>());
}
