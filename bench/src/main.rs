//! Measurements, one subcommand each: `rules` (what a message costs in the rules alone), `messages`
//! (beside nats-server), `discovery` (how soon nodes know each other).

mod discovery;
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
        Some("discovery") => discovery::run(),
        Some("messages") => messages::run(),
        _ => Err("usage: comity-bench rules|messages|discovery".to_owned()),
    };
    match done {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            std::process::ExitCode::FAILURE
        }
    }
}
