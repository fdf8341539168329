//! Measurements, one subcommand each: `rules` (what a message costs in the rules alone) and
//! `messages` (beside nats-server).

mod messages;
mod nats;
mod node;
mod rules;
mod table;

fn main() -> std::process::ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("rules") => {
            rules::run();
            Ok(())
        }
        Some("messages") => messages::run(),
        _ => Err("usage: comity-bench rules|messages".to_owned()),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            std::process::ExitCode::FAILURE
        }
    }
}
