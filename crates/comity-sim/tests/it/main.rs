//! A few seeds of the simulation in every test run; `cargo xtask sim` plays as many as asked.

use comity_sim::federation::{self, Kind};
use comity_sim::{Plant, play};

#[test]
fn every_rule_holds_for_a_few_seeds() {
    for seed in 1..=30 {
        let report = play(seed, Plant::Nothing);
        assert!(report.violations.is_empty(), "seed {seed}: {}", report.violations[0]);
        assert!(report.handled > 100, "seed {seed} proved little: {} messages were handled", report.handled);
    }
}

#[test]
fn a_planted_bug_that_lets_duplicates_through_is_found() {
    let found =
        (1..=100).find(|seed| play(*seed, Plant::Duplicates).violations.iter().any(|v| v.what.contains("twice")));
    assert!(found.is_some(), "no seed of 100 found it");
}

#[test]
fn a_planted_bug_that_loses_receipts_is_found() {
    let found =
        (1..=100).find(|seed| play(*seed, Plant::LostReceipts).violations.iter().any(|v| v.what.contains("said")));
    assert!(found.is_some(), "no seed of 100 found it");
}

#[test]
fn a_seed_replays_exactly() {
    let (one, other) = (play(7, Plant::Duplicates), play(7, Plant::Duplicates));
    assert_eq!((one.handled, one.steps, one.violations), (other.handled, other.steps, other.violations));
}

#[test]
fn origins_that_share_a_channel_have_one_line_whatever_fails() {
    let reports = federation::play_all(1..201, federation::Plant::Nothing);
    for (seed, report) in &reports {
        assert!(report.violations.is_empty(), "federation seed {seed}: {}", report.violations[0]);
    }
    let sum = |of: fn(&federation::Report) -> u64| reports.iter().map(|(_, report)| of(report)).sum::<u64>();
    assert_eq!(reports.len(), 200);
    assert!(sum(|one| one.withdrawals) > 5, "nothing was withdrawn: the line never went on without some of it");
    let liars = reports.iter().filter(|(_, report)| report.kind == Kind::Equivocation);
    assert!(liars.filter(|(_, report)| report.proofs > 1).count() > 5, "hubs that lie are not found out");
}

#[test]
fn a_planted_bug_that_acknowledges_before_the_disk_has_it_is_found() {
    let reports = federation::play_all(1..201, federation::Plant::EarlyAcknowledgement);
    assert!(reports.iter().any(|(_, report)| !report.violations.is_empty()), "no seed of 200 found it");
}

#[test]
fn a_seed_of_federation_replays_exactly() {
    let play = || federation::play(15, federation::Plant::Nothing);
    let (one, other) = (play(), play());
    assert_eq!((one.events, one.steps, one.crashes), (other.events, other.steps, other.crashes));
}
