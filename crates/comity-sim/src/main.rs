//! Runs the simulation over many seeds and prints the first that fails, with the command that
//! replays it.

use comity_sim::{Plant, federation, play};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("federation") { federated() } else { local() }
}

/// Origins that share a channel.
fn federated() -> ExitCode {
    let (mut seeds, mut first, mut plant, mut flag) = (200, 1, federation::Plant::Nothing, String::new());
    let mut arguments = std::env::args().skip(2);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--seeds" => seeds = number().unwrap_or(seeds),
            "--from" => first = number().unwrap_or(first),
            "--plant-early-acknowledgement" => {
                (plant, flag) = (federation::Plant::EarlyAcknowledgement, format!(" {argument}"));
            }
            _ => {
                eprintln!("usage: comity-sim federation [--seeds N] [--from SEED] [--plant-early-acknowledgement]");
                return ExitCode::from(2);
            }
        }
    }
    let began = Instant::now();
    let reports = federation::play_all(first..first + seeds, plant);
    let failed = reports.iter().filter(|(_, report)| !report.violations.is_empty()).count();
    if let Some((seed, report)) = reports.iter().find(|(_, report)| !report.violations.is_empty()) {
        let (kind, count) = (report.kind, report.violations.len());
        println!("seed {seed} ({kind:?}) fails ({count} violations): {}", report.violations[0]);
        report.violations.iter().skip(1).take(4).for_each(|more| println!("  and {more}"));
        println!("{failed} of {} seeds that were played fail", reports.len());
        println!("replay it: cargo xtask sim federation --from {seed} --seeds 1{flag}");
        return ExitCode::FAILURE;
    }
    let sum = |of: fn(&federation::Report) -> u64| reports.iter().map(|(_, report)| of(report)).sum::<u64>();
    let (events, steps, crashes) = (sum(|one| one.events), sum(|one| one.steps), sum(|one| one.crashes));
    let (proofs, withdrawals) = (sum(|one| one.proofs), sum(|one| one.withdrawals));
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{seeds} seeds hold: {steps} steps, {crashes} crashes, {events} events, {withdrawals} times something withdrawn, \
         {proofs} members with a proof against a hub that lied, {seconds:.1} s"
    );
    ExitCode::SUCCESS
}

/// Nodes on one network.
fn local() -> ExitCode {
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
