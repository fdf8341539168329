//! The command `comity`: reads the command line, lets one command do its work, and ends with its
//! exit code. What a node does is in `comity`; how a running one is asked is in `comity-client`.

mod args;
mod command;
mod confirm;
mod exit;
mod page;
mod payload;

use args::Line;
use clap::Parser;
use exit::{Exit, Failure};
use page::say;
use std::process::ExitCode;

fn main() -> ExitCode {
    // Said once for the whole process: rustls would panic at its first use if a dependency linked a
    // second provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let line = Line::parse();
    let json = line.everywhere.json;
    match command::run(line) {
        Ok(()) => ExitCode::from(Exit::Done as u8),
        Err(failure) => {
            report(&failure, json);
            ExitCode::from(failure.exit() as u8)
        }
    }
}

/// Says on standard error why the command did not do what was asked.
fn report(failure: &Failure, json: bool) {
    let sentence = failure.to_string();
    if sentence.is_empty() {
        return;
    }
    if json {
        let code = match failure {
            Failure::Node(error) => error.code(),
            _ => None,
        };
        say(&serde_json::json!({ "error": sentence, "code": code, "exit": failure.exit() as u8 }).to_string());
    } else {
        say(&format!("comity: {sentence}"));
    }
}
