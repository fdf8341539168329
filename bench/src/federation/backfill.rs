//! How long a new member takes until it has all of a long channel, checked and on its disk.

use super::channels::{self, Group};
use super::figures::{Goal, Row};
use super::site::Site;
use crate::figures::cpu_time;
use crate::progress::Progress;
use std::time::Instant;

/// How long the channel is.
const EVENTS: usize = 100_000;

/// Fills a channel, lets a new node join, and prints the lines.
pub(super) async fn measure() -> Result<(), String> {
    let group = Group::of(2).await?;
    let began = Instant::now();
    // Nobody waits for anybody: the hub says it all, and holds back whoever is too fast.
    channels::say(&group, &[0], &Progress::new(0), move |number| number < EVENTS).await?;
    let filled = EVENTS as f64 / began.elapsed().as_secs_f64();
    Row::new(format!("filling a channel with {EVENTS} events, hub alone"), "/s", vec![filled]).print();
    let last = group.sites[0].last(group.channel()).await?;
    group.sites[1].has(group.channel(), last).await?;
    let late = Site::start("late", "").await?;
    let before = (cpu_time(group.sites[0].pid()), cpu_time(late.pid()));
    let began = Instant::now();
    group.sites[0].invite(group.channel(), &late).await?;
    // By the invitation and the joining there are two more.
    late.has(group.channel(), last + 2).await?;
    let took = began.elapsed().as_secs_f64();
    let spent = |pid, before| cpu_time(pid).saturating_sub(before).as_secs_f64();
    Row::new(format!("a new member has {EVENTS} events"), "s", vec![took]).goal(Goal::AtMost(20.0)).print();
    Row::new("  processor time, new member", "s", vec![spent(late.pid(), before.1)]).print();
    Row::new("  processor time, hub", "s", vec![spent(group.sites[0].pid(), before.0)]).print();
    Ok(())
}
