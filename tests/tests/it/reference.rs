//! The written reference is what the program says today, and who has only read it understands what the program writes.

use comity_tests::folder::Folder;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn docs_are_what_the_program_says_of_itself() {
    let xtask = std::env::var_os("TESTS_XTASK").expect("TESTS_XTASK is set: run these tests by `cargo xtask test`");
    comity_tests::peers::output(Command::new(xtask).args(["docs", "--check"]));
}

#[test]
fn the_vectors_are_reproduced_by_python() {
    let root = comity_tests::root();
    let program = root.join("crates/comity-core/vectors/reproduce.py");
    comity_tests::peers::output(comity_tests::peers::python(program).current_dir(root));
}

#[test]
fn a_journal_is_verified_by_who_has_only_read_its_format() {
    let text =
        std::fs::read(comity_tests::root().join("crates/comity-core/vectors/journal.json")).expect("the vectors");
    let vectors: Value = serde_json::from_slice(&text).expect("JSON");
    let folder = Folder::new();
    let lines = |name: &str| -> Vec<String> { serde_json::from_value(vectors[name].clone()).expect("lines") };
    let whole = lines("whole");
    for name in ["whole", "pruned"] {
        let (right, said) = verified(&written(&folder, &lines(name)));
        assert!(right && said.contains("nothing is wrong"), "{name}: {said}");
    }
    let changed = |change: fn(&mut Vec<String>)| {
        let mut lines = whole.clone();
        change(&mut lines);
        let (right, said) = verified(&written(&folder, &lines));
        assert!(!right, "{said}");
        said
    };
    assert!(changed(|lines| drop(lines.remove(7))).starts_with("entry 7: missing"));
    assert!(changed(|lines| lines.swap(2, 11)).starts_with("entry 2: reordered"));
    assert!(changed(|lines| drop(lines.pop())).starts_with("entry 10: unsigned"));
    assert!(
        changed(|lines| lines[9] = lines[9].replace("\"signature\":\"", "\"signature\":\"A")).starts_with("entry 9:")
    );
    for (index, line) in whole.iter().enumerate() {
        let mut bytes = line.clone().into_bytes();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let mut lines = whole.clone();
        lines[index] = String::from_utf8_lossy(&bytes).into_owned();
        let (right, said) = verified(&written(&folder, &lines));
        assert!(!right && said.starts_with(&format!("entry {index}:")), "{said}");
    }
    let proof = folder.path().join("proof.json");
    std::fs::write(&proof, vectors["proof"].to_string()).expect("written");
    let said = comity_tests::peers::output(verifier().arg("--proof").arg(&proof));
    assert!(said.starts_with("entry 5 of "), "{said}");
}

/// The verifier that was written from the format alone.
pub(crate) fn verifier() -> Command {
    comity_tests::peers::python(comity_tests::root().join("examples/journal_verify.py"))
}

/// Writes lines to a file.
fn written(folder: &Folder, lines: &[String]) -> PathBuf {
    let file = folder.path().join("export.jsonl");
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(&file, text).expect("written");
    file
}

/// Whether nothing is wrong with it, and what was said.
fn verified(file: &Path) -> (bool, String) {
    let output = verifier().arg(file).output().expect("it runs");
    (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program of `examples/`.
pub(crate) fn example(name: &str) -> PathBuf {
    comity_tests::root().join("examples").join(name)
}
