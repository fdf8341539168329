//! A hub of a thousand channels: what it holds, and whether it is as quick as with one.

use super::channels::{self, Group};
use super::figures::{Goal, Row};
use super::site::until;
use super::{APART, SAYING, TIMED};
use crate::figures::memory_kib;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Channels besides the one that is said on.
const CHANNELS: usize = 1000;

/// How many are made at once.
const AT_ONCE: usize = 8;

/// Events of the hub on each.
const EVENTS: usize = 10;

/// How long a node is left alone before it is measured.
const REST: Duration = Duration::from_secs(3);

/// Makes the channels, with three members each, and prints the lines.
pub(super) async fn measure() -> Result<(), String> {
    let group = Arc::new(Group::of(4).await?);
    let hub = group.sites[0].pid();
    tokio::time::sleep(REST).await;
    let mib = || memory_kib(hub, "VmRSS").map(|kib| kib / 1024.0);
    Row::new("memory of a hub with one channel, resident", "MiB", vec![mib()?]).print();
    let mut making = JoinSet::new();
    for part in 0..AT_ONCE {
        let group = group.clone();
        making.spawn(async move {
            for number in (part..CHANNELS).step_by(AT_ONCE) {
                let channel = group.sites[0].create(&format!("channel-{number}")).await?;
                for site in &group.sites[1..] {
                    group.sites[0].invite(&channel, site).await?;
                }
                for number in 0..EVENTS {
                    group.sites[0].say(&channel, number).await?;
                }
            }
            Ok::<_, String>(())
        });
    }
    while let Some(made) = making.join_next().await {
        made.map_err(super::said)??;
    }
    for site in &group.sites[1..] {
        until("every channel at its members", async || {
            let channels = site.client.channels().await.map_err(super::said)?;
            let there = channels.iter().filter(|channel| channel.state == "joined" && channel.caught_up).count();
            Ok((there == CHANNELS + 1).then_some(()))
        })
        .await?;
    }
    tokio::time::sleep(REST).await;
    let what = format!("memory of a hub with {CHANNELS} channels of 4 origins");
    // 100 MB as disks count them.
    Row::new(what, "MiB", vec![mib()?]).goal(Goal::AtMost(100e6 / 1_048_576.0)).print();
    Row::new("  of one of its members", "MiB", vec![memory_kib(group.sites[1].pid(), "VmRSS")? / 1024.0]).print();
    let across = channels::latency(&group.sites[1], &group.sites[2], group.channel(), TIMED, APART).await?;
    Row::new("  event, author to hub to another member, median", "ms", vec![across.micros(0.5) / 1e3]).print();
    Row::new("  99 of 100 below", "ms", vec![across.micros(0.99) / 1e3]).print();
    let sustained = channels::sustained(&group, &[1, 2, 3], SAYING).await?;
    Row::new("  durable events, 3 members say on one of them", "/s", vec![sustained.rate]).print();
    Row::new("  processor time each, hub", "us", vec![sustained.first_us]).print();
    Row::new("  processor time each, a member", "us", vec![sustained.other_us]).print();
    Row::new("  memory of the hub after it", "MiB", vec![mib()?]).print();
    Ok(())
}
