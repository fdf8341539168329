//! That each habit that is broken on purpose is found where it is broken.

use super::*;

fn text(path: &str, text: &str) -> Text {
    Text { path: path.to_owned(), text: text.to_owned() }
}

fn check(check: fn(&[Text]) -> Vec<Finding>, path: &str, content: &str, expect: &[usize]) {
    let lines: Vec<usize> = check(&[text(path, content)]).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, expect, "{path}:\n{content}");
}

#[test]
fn a_file_without_a_head_is_found() {
    check(rust::heads, "crates/a/src/x.rs", "use b;\n", &[1]);
    check(rust::heads, "crates/a/src/x.rs", "//! What it is.\n", &[]);
}

#[test]
fn a_long_file_is_found_but_tests_do_not_count_towards_production() {
    let long = |lines: usize| "x\n".repeat(lines);
    check(rust::lengths, "crates/a/src/x.rs", &long(500), &[]);
    check(rust::lengths, "crates/a/src/x.rs", &long(501), &[500]);
    check(rust::lengths, "crates/a/src/x.rs", &format!("{}mod tests {{\n{}", long(400), long(300)), &[]);
    check(rust::lengths, "crates/a/src/x.rs", &format!("mod tests {{\n{}", long(800)), &[800]);
    check(rust::lengths, "crates/a/src/x/tests.rs", &long(700), &[]);
}

#[test]
fn empty_words_in_types_and_paths_are_found() {
    check(rust::names, "crates/a/src/x.rs", "//! Of it.\npub(crate) struct PeerManager<T> {\n", &[2]);
    check(rust::names, "crates/a/src/x.rs", "enum Managed {\nstruct Peer;\n// struct UtilBelt\n", &[]);
    check(
        rust::names,
        "crates/a/src/x.rs",
        "impl Behaviour for Peer {\n    type ConnectionHandler = Answering;\n",
        &[],
    );
    check(rust::names, "crates/a/src/util.rs", "", &[1]);
}

#[test]
fn the_rules_do_not_touch_the_world() {
    check(rust::purity, "crates/comity-core/src/x.rs", "// std::fs\nuse std::fs;\nmod tests {\nuse std::fs;\n", &[2]);
    check(rust::purity, "crates/comity/src/x.rs", "use std::fs;\n", &[]);
    check(rust::serialized_only_at_the_edge, "crates/comity-core/src/peers/x.rs", "use serde::Serialize;\n", &[1, 1]);
    check(rust::serialized_only_at_the_edge, "crates/comity-core/src/wire/x.rs", "use serde::Serialize;\n", &[]);
}

#[test]
fn an_edge_that_is_not_drawn_is_found() {
    let manifest = |name: &str, line: &str| format!("[package]\nname = \"{name}\"\n[dependencies]\n{line}\n");
    check(crates::graph, "a/Cargo.toml", &manifest("comity-core", "comity.workspace = true"), &[4]);
    check(crates::graph, "a/Cargo.toml", &manifest("comity-core", "tokio = \"1\""), &[4]);
    check(crates::graph, "a/Cargo.toml", &manifest("comity", "comity-core = { path = \"x\" }"), &[]);
    check(crates::graph, "a/Cargo.toml", &manifest("comity-new", ""), &[1]);
    check(crates::graph, "a/Cargo.toml", "[package]\nname = \"comity-core\"\n[dev-dependencies]\ntokio = \"1\"\n", &[]);
}

#[test]
fn a_path_that_is_not_there_is_found() {
    check(documents::paths_exist, "ARCHITECTURE.md", "See `xtask/src/main.rs` and\n`crates/nowhere/`.\n", &[2]);
    check(documents::paths_exist, "ARCHITECTURE.md", "```\n`crates/nowhere/`\n```\n", &[]);
}

#[test]
fn a_name_that_the_program_does_not_have_is_found() {
    let reference = text("docs/doors.md", "`/health`, `network_peers`, `comity_p2p_peers`, `http.port`\n");
    let readme =
        text("README.md", "`/health` `/healthy`\n`network_peer`\n`comity_p2p_peer`\n`http.ports` `http.port`\n");
    let findings = documents::what_is_named_exists(&[reference, readme]);
    assert_eq!(findings.iter().map(|finding| finding.line).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn the_ratchet_only_shrinks() {
    let finding =
        |weight| Finding { check: "length", path: "a.rs".to_owned(), line: 1, weight, message: String::new() };
    let records = ratchet::read("# head\nlength a.rs 600\n").expect("a good file");
    assert_eq!(ratchet::judge(vec![finding(600)], &records), [""; 0]);
    assert_eq!(ratchet::judge(vec![finding(601)], &records).len(), 1, "more than recorded");
    assert_eq!(ratchet::judge(vec![finding(599)], &records).len(), 1, "less than recorded");
    assert_eq!(ratchet::lower(&records, &[finding(700)]), records, "it is never raised");
    assert_eq!(ratchet::lower(&records, &[finding(550)]).into_values().collect::<Vec<_>>(), [550]);
    assert!(ratchet::lower(&records, &[]).is_empty());
    assert!(ratchet::read("length a.rs\n").is_err());
}
