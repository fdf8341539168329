//! What it takes to work with other organisations: calls and events between nodes that are processes of their own, each
//! with a key and a folder of its own, on loopback. Beside them, in turns, two Synapse homeservers that send between
//! rooms.

mod backfill;
mod calls;
mod channels;
mod figures;
mod http;
mod many;
mod site;
mod synapse;

pub(crate) use calls::answer_calls;

use crate::figures::{Latency, sync_ms};
use channels::{Group, Sustained};
use figures::{Goal, Row, print_head};
use std::time::Duration;
use synapse::Homeservers;

/// How often each has its turn.
const ROUNDS: usize = 3;

/// Events whose way is timed in one turn, and how far apart they are said. Less far, and there are more requests than an
/// origin takes of another for long.
const TIMED: usize = 200;
const APART: Duration = Duration::from_millis(25);

/// How long is said as much as goes in one turn.
const SAYING: Duration = Duration::from_secs(10);

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let wanted: Vec<String> = std::env::args().skip(2).collect();
    let is_wanted = |part: &str| wanted.is_empty() || wanted.iter().any(|word| word == part);
    let runtime = tokio::runtime::Runtime::new().map_err(said)?;
    runtime.block_on(async {
        print_limits();
        print_head();
        if is_wanted("calls") {
            calls::measure().await?;
        }
        if is_wanted("events") {
            events().await?;
        }
        if is_wanted("backfill") {
            backfill::measure().await?;
        }
        if is_wanted("memory") {
            many::measure().await?;
        }
        Ok(())
    })
}

fn print_limits() {
    println!("comity: each node a process of its own on loopback, one origin each, HTTP without TLS, gossip off.");
    println!("Set for the measurement: {}.", site::LIMITS.map(|(key, value)| format!("{key} = {value}")).join(", "));
    println!("As shipped, and kept to: 100 requests a second of one origin, 200 of one address (all share one here).");
    println!("synapse: matrix-synapse of PyPI, two homeservers with SQLite, TLS between them, its rc_* limits raised.");
    println!("Every signature is checked strictly by everybody who takes an event. An event says 100 bytes.");
}

/// What one round measured of events.
#[derive(Default)]
struct Round {
    sync: Vec<f64>,
    /// Author to hub to another member: median and 99 of 100, milliseconds.
    across: Vec<[f64; 2]>,
    /// Hub to member.
    next: Vec<[f64; 2]>,
    synapse_next: Vec<[f64; 2]>,
    four: Vec<Sustained>,
    two: Vec<Sustained>,
    synapse_two: Vec<synapse::Sustained>,
}

async fn events() -> Result<(), String> {
    let mut all = Round::default();
    for _ in 0..ROUNDS {
        all.sync.push(sync_ms()?);
        let group = Group::of(4).await?;
        let across = channels::latency(&group.sites[1], &group.sites[2], group.channel(), TIMED, APART).await?;
        all.across.push(millis(&across));
        all.four.push(channels::sustained(&group, &[1, 2, 3], SAYING).await?);
        drop(group);
        let group = Group::of(2).await?;
        let next = channels::latency(&group.sites[0], &group.sites[1], group.channel(), TIMED, APART).await?;
        all.next.push(millis(&next));
        all.two.push(channels::sustained(&group, &[0], SAYING).await?);
        drop(group);
        if let Some(homeservers) = Homeservers::start().await? {
            all.synapse_next.push(millis(&homeservers.latency(TIMED / 2, APART).await?));
            all.synapse_two.push(homeservers.sustained(SAYING).await?);
        }
        all.print_last();
    }
    all.print();
    Ok(())
}

/// The median, and what 99 of 100 are below, milliseconds.
fn millis(times: &Latency) -> [f64; 2] {
    [times.micros(0.5) / 1e3, times.micros(0.99) / 1e3]
}

impl Round {
    /// Shows how far the measurement is.
    fn print_last(&self) {
        let last =
            |times: &[[f64; 2]]| times.last().map_or_else(String::new, |[half, most]| format!("{half:.1}/{most:.1}"));
        let rate = |rates: &[Sustained]| rates.last().map_or(0.0, |last| last.rate);
        eprintln!(
            "round {}: sync {:.2} ms; 4 nodes {} ms, {:.0}/s; 2 nodes {} ms, {:.0}/s; synapse {} ms, {:.0}/s",
            self.sync.len(),
            self.sync.last().copied().unwrap_or(0.0),
            last(&self.across),
            rate(&self.four),
            last(&self.next),
            rate(&self.two),
            last(&self.synapse_next),
            self.synapse_two.last().map_or(0.0, |last| last.rate),
        );
    }

    fn print(&self) {
        let share = |rounds: &[[f64; 2]], which: usize| rounds.iter().map(|round| round[which]).collect::<Vec<_>>();
        let of = |rounds: &[Sustained], figure: fn(&Sustained) -> f64| rounds.iter().map(figure).collect::<Vec<_>>();
        let theirs = |figure: fn(&synapse::Sustained) -> f64| self.synapse_two.iter().map(figure).collect::<Vec<_>>();
        Row::new("one sync of 4 KiB of this disk, median", "ms", self.sync.clone()).print();
        Row::new("event, author to hub to another member, median", "ms", share(&self.across, 0)).print();
        let sync = figures::median(&self.sync).unwrap_or(0.0);
        // The author's draft, the hub's place and the member's line: each is synced before the next begins.
        let goal = Goal::AtMost(25.0 + 3.0 * sync);
        Row::new("  99 of 100 below (goal: 25 ms and 3 syncs)", "ms", share(&self.across, 1)).goal(goal).print();
        let next = Row::new("event, one server to the next, median", "ms", share(&self.next, 0));
        next.beside(share(&self.synapse_next, 0)).print();
        Row::new("  99 of 100 below", "ms", share(&self.next, 1)).beside(share(&self.synapse_next, 1)).print();
        let rate =
            Row::new("durable events, 3 members say, 4 nodes have them", "/s", of(&self.four, |round| round.rate));
        rate.goal(Goal::AtLeast(2000.0)).print();
        Row::new("  processor time each, hub", "us", of(&self.four, |round| round.first_us)).print();
        Row::new("  processor time each, a member", "us", of(&self.four, |round| round.other_us)).print();
        Row::new("  processor time each, whoever says and watches", "us", of(&self.four, |round| round.own_us)).print();
        let rate =
            Row::new("durable events, one server says, the next has them", "/s", of(&self.two, |round| round.rate));
        rate.beside(theirs(|round| round.rate)).print();
        let own = Row::new("  processor time each, who says", "us", of(&self.two, |round| round.first_us));
        own.beside(theirs(|round| round.first_us)).print();
        let other = Row::new("  processor time each, the next", "us", of(&self.two, |round| round.other_us));
        other.beside(theirs(|round| round.other_us)).print();
    }
}

fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
}
