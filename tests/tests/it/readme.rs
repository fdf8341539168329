//! The README's recorded session is what the program prints today: every `$` line is run, in the
//! order in which it stands, and what it prints is compared with what stands below it.
//!
//! Commands outside the session are run by `newcomer.rs`. What differs from run to run is replaced on both sides: ids, keys, addresses, ports, times, ages.
//! A line of the session that is only `…` stands for any lines.

use comity_tests::PATIENCE;
use comity_tests::folder::Folder;
use comity_tests::lab::Lab;
use comity_tests::lines::Lines;
use std::process::Command;
use std::time::{Duration, Instant};

/// A command of the session, the terminal it is typed in, and what it prints.
pub(crate) struct Step {
    pub(crate) terminal: String,
    pub(crate) command: String,
    pub(crate) prints: Vec<String>,
}

/// The blocks marked ```console of a chapter: a prompt is `name$ `.
pub(crate) fn session(chapter: &str) -> Vec<Step> {
    let file = comity_tests::root().join("README.md");
    let readme = std::fs::read_to_string(file).expect("the README is there");
    let mut steps: Vec<Step> = Vec::new();
    let (mut inside, mut is_meant) = (false, false);
    for line in readme.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            is_meant = title == chapter;
        } else if !is_meant {
        } else if line.starts_with("```") {
            inside = line == "```console";
        } else if let Some((terminal, command)) =
            line.split_once("$ ").filter(|(name, _)| inside && !name.contains(' '))
        {
            steps.push(Step { terminal: terminal.to_owned(), command: command.to_owned(), prints: Vec::new() });
        } else if inside && !line.is_empty() {
            steps.last_mut().expect("a session begins with a command").prints.push(line.to_owned());
        }
    }
    steps
}

/// A line with what differs from run to run replaced, and its columns drawn together.
fn steady(line: &str) -> String {
    line.split_whitespace().map(steady_word).collect::<Vec<_>>().join(" ")
}

fn steady_word(word: &str) -> String {
    let bare = word.trim_matches(|letter: char| ",;()".contains(letter));
    let of = |allowed: &str| {
        !bare.is_empty() && bare.chars().all(|letter| letter.is_ascii_digit() || allowed.contains(letter))
    };
    let hex = bare.len() == 36 && bare.chars().filter(|letter| *letter == '-').count() == 4;
    let age =
        bare.len() > 1 && bare.ends_with(['s', 'm', 'h']) && bare[..bare.len() - 1].chars().all(|c| c.is_ascii_digit());
    let date = bare.len() == 10 && bare.matches('-').count() == 2 && of("-");
    let address = bare.contains(':') && (of(".:") || bare.starts_with("http"));
    let shown = match () {
        () if hex => "<id>",
        () if bare.starts_with("ed25519:") => "<key>",
        () if date => "<date>",
        () if address => "<address>",
        () if age => "<age>",
        () if bare.contains(':') && of(":-TZ.") => "<time>",
        () => return word.to_owned(),
    };
    word.replace(bare, shown)
}

/// Whether the printed lines are those of the session.
pub(crate) fn matches(written: &[String], printed: &[String]) -> bool {
    match written {
        [] => printed.is_empty(),
        [first, rest @ ..] if first == "…" => (0..=printed.len()).any(|skip| matches(rest, &printed[skip..])),
        [first, rest @ ..] => {
            printed.first().is_some_and(|line| steady(line) == steady(first)) && matches(rest, &printed[1..])
        }
    }
}

#[test]
fn the_session_in_the_readme_is_what_the_program_prints() {
    let steps = session("A session");
    assert!(steps.len() >= 6, "the README has a session");
    let lab = Lab::bridge(2);
    let mut terminals: Vec<(String, Folder)> = Vec::new();
    let mut running: Vec<Lines> = Vec::new();
    for Step { terminal, command, prints } in &steps {
        let at = terminals.iter().position(|(name, _)| name == terminal).unwrap_or_else(|| {
            terminals.push((terminal.clone(), Folder::new()));
            terminals.len() - 1
        });
        let host = lab.host(at + 1);
        let mut shell = host.command("bash");
        let program = std::env::var("TESTED_COMITY").expect("it is set");
        let folder = std::path::Path::new(&program).parent().expect("it is in a folder").display().to_string();
        shell.args(["-c", command]).env("COMITY_HOME", terminals[at].1.path());
        shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
        if command.trim_end().ends_with('&') || command.contains("comity up") || command.contains("comity answer") {
            let program = command.trim_end_matches(['&', ' ']);
            shell = host.command("bash");
            shell.args(["-c", &format!("exec {program}")]).env("COMITY_HOME", terminals[at].1.path());
            shell.env("PATH", format!("{folder}:{}", std::env::var("PATH").unwrap_or_default()));
            let mut lines = Lines::start(&mut shell);
            for line in prints {
                let printed = lines.next(PATIENCE).unwrap_or_else(|| panic!("{command} printed nothing"));
                assert_eq!(steady(&printed), steady(line), "{command}");
            }
            running.push(lines);
            continue;
        }
        settled(&terminals[at].1, terminals.len());
        check(&mut shell, command, prints);
    }
}

/// Waits until the node of this terminal knows all others of the session.
fn settled(home: &Folder, terminals: usize) {
    let known = |json: &str| json.matches(r#""reach":"both""#).count() + 1 >= terminals;
    let mut watch = Lines::start(&mut in_home(home, &["peers", "--watch", "--json"]));
    let peers = || comity_tests::peers::output(&mut in_home(home, &["peers", "--json"])).replace(": ", ":");
    if !known(&peers()) {
        watch.wait_for("all peers", PATIENCE, |_| known(&peers()).then_some(()));
    }
}

fn in_home(home: &Folder, words: &[&str]) -> Command {
    let mut command = comity_tests::node::comity(words);
    command.arg("--data-dir").arg(home.path());
    command
}

/// Runs a command of the session. One that looks is looked at again until it shows what is written:
/// messages take a moment to cross the network, and an answering program one to start.
fn check(shell: &mut Command, command: &str, prints: &[String]) {
    let looks = ["peers", "digest", "inbox", "ask"].iter().any(|word| command.contains(&format!("comity {word}")));
    let end = Instant::now() + if looks { PATIENCE } else { Duration::ZERO };
    loop {
        let output = shell.output().expect("bash is there");
        let text = String::from_utf8_lossy(&output.stdout);
        let printed: Vec<_> =
            text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
        if output.status.success() && matches(prints, &printed) {
            return;
        }
        let told = String::from_utf8_lossy(&output.stderr);
        let written = prints.join("\n");
        assert!(Instant::now() < end, "{command} prints\n{}\n{told}but the README says\n{written}", printed.join("\n"));
    }
}
