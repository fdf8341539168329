//! The written reference is what the program says today.

use std::process::Command;

#[test]
fn docs_are_what_the_program_says_of_itself() {
    let xtask = std::env::var_os("TESTS_XTASK").expect("TESTS_XTASK is set: run these tests by `cargo xtask test`");
    comity_tests::peers::output(Command::new(xtask).args(["docs", "--check"]));
}

#[test]
fn the_vectors_are_reproduced_by_python() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let program = root.join("crates/comity-core/vectors/reproduce.py");
    comity_tests::peers::output(comity_tests::peers::python(program).current_dir(root));
}
