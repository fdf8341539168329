//! A few seeds of the simulation in every test run; `cargo xtask sim` plays as many as asked.

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
