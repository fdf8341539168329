//! Runs the simulation over many seeds and prints the first that fails, with the command that
//! replays it.

use comity_sim::{Plant, play};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let mut seeds = 200;
    let mut first = 1;
    let (mut plant, mut flag) = (Plant::Nothing, String::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--seeds" => seeds = number().unwrap_or(seeds),
            "--from" => first = number().unwrap_or(first),
            "--plant-duplicates" => (plant, flag) = (Plant::Duplicates, format!(" {argument}")),
            "--plant-lost-receipts" => (plant, flag) = (Plant::LostReceipts, format!(" {argument}")),
            _ => {
                eprintln!("usage: comity-sim [--seeds N] [--from SEED] [--plant-duplicates | --plant-lost-receipts]");
                return ExitCode::from(2);
            }
        }
    }
    let began = Instant::now();
    let (mut handled, mut steps) = (0, 0);
    for seed in first..first + seeds {
        let report = play(seed, plant);
        handled += report.handled;
        steps += report.steps;
        if let Some(violation) = report.violations.first() {
            println!("seed {seed} fails ({} violations): {violation}", report.violations.len());
            println!("replay it: cargo xtask sim --from {seed} --seeds 1{flag}");
            return ExitCode::FAILURE;
        }
    }
    println!("{seeds} seeds hold: {steps} steps, {handled} messages handled, {:.1} s", began.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}
