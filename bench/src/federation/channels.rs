//! Events of a channel between nodes: how long one takes, and how many go in a second. A node shows what is on its disk
//! and nothing else, so that what a watcher sees is durable there.

use super::said;
use super::site::Site;
use crate::figures::{Latency, cpu_time};
use crate::progress::Progress;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// The channel of a group.
const NAME: &str = "work";

/// How many say something at once at each node that does.
const AT_ONCE: usize = 16;

/// How far those who say may be ahead of the slowest node: what is sustained is what all keep up with.
const AHEAD: usize = 2000;

/// Nodes that share a channel; the first is its hub.
pub(super) struct Group {
    pub(super) sites: Vec<Arc<Site>>,
    channel: String,
}

impl Group {
    /// So many nodes, all members.
    pub(super) async fn of(count: usize) -> Result<Self, String> {
        let mut sites = Vec::new();
        for number in 0..count {
            sites.push(Arc::new(Site::start(&format!("site-{number}"), "").await?));
        }
        let channel = sites[0].create(NAME).await?;
        let group = Self { sites, channel };
        for site in &group.sites[1..] {
            group.sites[0].invite(&group.channel, site).await?;
        }
        group.settle().await?;
        Ok(group)
    }

    pub(super) fn channel(&self) -> &str {
        &self.channel
    }

    /// Waits until all members have joined, and have all that there is; how much that is.
    pub(super) async fn settle(&self) -> Result<u64, String> {
        let joined = |members: &[comity_core::wire::federation::body::Member]| {
            members.iter().filter(|member| member.state == "joined").count()
        };
        super::site::until("every member", async || {
            let known = self.sites[0].channel(&self.channel).await?;
            Ok(known.filter(|known| joined(&known.members) == self.sites.len()).map(drop))
        })
        .await?;
        let last = self.sites[0].last(&self.channel).await?;
        for site in &self.sites[1..] {
            site.has(&self.channel, last).await?;
        }
        Ok(last)
    }
}

/// How long events take from one node until another has them on its disk, said one after the other.
pub(super) async fn latency(
    author: &Site,
    other: &Site,
    channel: &str,
    count: usize,
    apart: Duration,
) -> Result<Latency, String> {
    let mut watching = other
        .client
        .channel_events(channel, (Some(other.last(channel).await?), None, None), true)
        .await
        .map_err(said)?;
    let mut times = Vec::with_capacity(count);
    let warm = count / 10;
    for number in 0..count + warm {
        let began = Instant::now();
        author.say(channel, number).await?;
        loop {
            let event = watching.next().await.map_err(said)?.ok_or("a watcher was left alone")?;
            if event["data"]["number"] == number {
                break;
            }
        }
        let took = began.elapsed();
        if number >= warm {
            times.push(took);
        }
        tokio::time::sleep(apart.saturating_sub(took)).await;
    }
    Ok(Latency::from_times(times))
}

/// What went for a while.
pub(super) struct Sustained {
    /// Events a second that every node has.
    pub(super) rate: f64,
    /// Processor time for each: the hub's, one member's, and of this program, microseconds.
    pub(super) first_us: f64,
    pub(super) other_us: f64,
    pub(super) own_us: f64,
}

/// Lets these nodes say as much as goes for so long.
pub(super) async fn sustained(group: &Group, authors: &[usize], time: Duration) -> Result<Sustained, String> {
    let progress = Progress::new(group.sites.len());
    let mut watching = JoinSet::new();
    for (number, site) in group.sites.iter().enumerate() {
        let (after, progress) = (site.last(&group.channel).await?, progress.clone());
        let lines = site.client.channel_events(&group.channel, (Some(after), None, None), true).await;
        let mut lines = lines.map_err(said)?;
        watching.spawn(async move {
            while let Ok(Some(event)) = lines.next().await {
                if event["type"] == "message" {
                    progress.note(number);
                }
            }
        });
    }
    let costs = || {
        let own = cpu_time(std::process::id());
        (group.sites.iter().map(|site| cpu_time(site.pid())).collect::<Vec<_>>(), own)
    };
    let (before, began) = (costs(), Instant::now());
    let count = say(group, authors, &progress, move |_| began.elapsed() < time).await?;
    progress.reach(count).await?;
    let (elapsed, after) = (began.elapsed(), costs());
    watching.shutdown().await;
    let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
    let cost = |site: usize| each(after.0[site].saturating_sub(before.0[site]));
    let others = group.sites.len() - 1;
    Ok(Sustained {
        rate: count as f64 / elapsed.as_secs_f64(),
        first_us: cost(0),
        other_us: (1..=others).map(cost).sum::<f64>() / others as f64,
        own_us: each(after.1.saturating_sub(before.1)),
    })
}

/// Lets these nodes say something as long as `goes_on` says of how much was said; how much that was.
pub(super) async fn say(
    group: &Group,
    authors: &[usize],
    progress: &Progress,
    goes_on: impl Fn(usize) -> bool + Copy + Send + 'static,
) -> Result<usize, String> {
    let said = Arc::new(AtomicUsize::new(0));
    let mut saying = JoinSet::new();
    for author in authors {
        for _ in 0..AT_ONCE {
            let (site, channel) = (group.sites[*author].clone(), group.channel.clone());
            let (said, progress) = (said.clone(), progress.clone());
            saying.spawn(async move {
                loop {
                    let number = said.fetch_add(1, Ordering::Relaxed);
                    if !goes_on(number) {
                        said.fetch_sub(1, Ordering::Relaxed);
                        return Ok::<_, String>(());
                    }
                    progress.reach(number.saturating_sub(AHEAD)).await?;
                    site.say(&channel, number).await?;
                }
            });
        }
    }
    while let Some(ended) = saying.join_next().await {
        ended.map_err(super::said)??;
    }
    Ok(said.load(Ordering::Relaxed))
}
