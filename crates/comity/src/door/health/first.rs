//! The checks that every node has: the driver, the store, discovery, the clock, the disk.

use super::{Check, Reporter, Verdict, Weight};
use crate::driver::Handle;
use crate::store::DiskHealth;
use crate::store::journal::Disk;
use comity_core::node::SourceHealth;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// How far this clock may be off its peers' median, in milliseconds; more is not believed, so this
/// is also the most that is ever measured.
const SKEW_MAX_MS: u64 = 30_000;

/// How old the driver's last view of the node may be before the driver counts as ended.
const VIEW_AGE_MAX: Duration = Duration::from_secs(10);

/// Free space below which the store will soon fail, and below which somebody should make room.
const DISK_FREE_MIN: u64 = 16 << 20;
const DISK_FREE_LOW: u64 = 256 << 20;

/// The checks of the node behind `handle`, with its data in `data_dir`; how the disk is for store and journal, those
/// say themselves.
/// Needs a tokio runtime.
pub(crate) fn first_checks(
    handle: &Handle,
    data_dir: PathBuf,
    (store, journal): (watch::Receiver<DiskHealth>, watch::Receiver<Disk>),
) -> Vec<Check> {
    let (stored, reporter) = Check::passive("store", "what must survive a crash reaches the disk", Weight::Critical);
    drop(tokio::spawn(report(store, reporter, stored_or_not)));
    let (journaled, reporter) = Check::passive("journal", "the journal is written", Weight::Minor);
    drop(tokio::spawn(report(journal, reporter, journaled_or_not)));
    vec![
        stored,
        journaled,
        of_node(handle, "driver", "the node's rules answer", Weight::Critical, driver),
        of_node(handle, "discovery", "the sources of discovery that are switched on work", Weight::Minor, discovery),
        of_node(handle, "redaction", "secrets are taken out of what is said and logged", Weight::Minor, redaction),
        of_node(handle, "clock", "the clock agrees with the peers' clocks", Weight::Minor, clock),
        Check::active("disk", "the data directory has room", Weight::Minor, move || {
            let data_dir = data_dir.clone();
            async move {
                let free = tokio::task::spawn_blocking(move || free_bytes(&data_dir)).await;
                free.map_or_else(|failure| Verdict::Failed(failure.to_string()), disk)
            }
        }),
    ]
}

fn of_node<F>(
    handle: &Handle,
    name: &'static str,
    about: &'static str,
    weight: Weight,
    judge: impl Fn(Handle) -> F + Copy + Send + Sync + 'static,
) -> Check
where
    F: Future<Output = Verdict> + Send + 'static,
{
    let handle = handle.clone();
    Check::active(name, about, weight, move || judge(handle.clone()))
}

async fn driver(handle: Handle) -> Verdict {
    let view = handle.look().await;
    let age = handle.now().mono.saturating_sub(view.uptime);
    let lives = age < VIEW_AGE_MAX && !handle.stop().is_cancelled();
    if lives { Verdict::Healthy } else { Verdict::Failed("the node has ended".to_owned()) }
}

/// Passes on what a part says of its disk, until that part ends.
async fn report<T>(mut part: watch::Receiver<T>, reporter: Reporter, judge: impl Fn(&T) -> Verdict) {
    loop {
        let verdict = judge(&part.borrow_and_update());
        reporter.report(verdict);
        if part.changed().await.is_err() {
            return;
        }
    }
}

fn stored_or_not(health: &DiskHealth) -> Verdict {
    match health {
        DiskHealth::Working => Verdict::Healthy,
        DiskHealth::Failing(sentence) => Verdict::Failed(sentence.clone()),
    }
}

fn journaled_or_not(disk: &Disk) -> Verdict {
    match disk {
        Disk::Working => Verdict::Healthy,
        Disk::Failing(why) => Verdict::Failed(format!("nothing is published on topics meanwhile: {why}")),
    }
}

async fn discovery(handle: Handle) -> Verdict {
    let view = handle.look().await;
    let failed = view.sources.iter().filter_map(|(source, health)| match health {
        SourceHealth::Failed(sentence) => Some(format!("{}: {sentence}", source.name())),
        SourceHealth::Up | SourceHealth::Off => None,
    });
    let failed: Vec<_> = failed.collect();
    if failed.is_empty() { Verdict::Healthy } else { Verdict::Degraded(failed.join("; ")) }
}

async fn redaction(handle: Handle) -> Verdict {
    let off = || Verdict::Degraded("secrets are not taken out: redaction is switched off".to_owned());
    if handle.redaction().is_on() { Verdict::Healthy } else { off() }
}

async fn clock(handle: Handle) -> Verdict {
    skew(handle.look().await.skew_ms)
}

fn skew(ahead_ms: i64) -> Verdict {
    wrong_clock(ahead_ms).map_or(Verdict::Healthy, Verdict::Degraded)
}

/// What is wrong with this clock when its peers are so far ahead of it, if anything is.
pub(crate) fn wrong_clock(ahead_ms: i64) -> Option<String> {
    let direction = if ahead_ms > 0 { "behind" } else { "ahead of" };
    let wrong = ahead_ms.unsigned_abs() >= SKEW_MAX_MS;
    wrong.then(|| format!("30 s or more {direction} the peers' clocks: set this machine's clock"))
}

fn disk(free: std::io::Result<u64>) -> Verdict {
    match free {
        Ok(free) if free < DISK_FREE_MIN => Verdict::Failed(format!("{} KiB are free; make room", free >> 10)),
        Ok(free) if free < DISK_FREE_LOW => Verdict::Degraded(format!("{} MiB are free", free >> 20)),
        Ok(_) => Verdict::Healthy,
        // Without the path: the answer may be read by others.
        Err(failure) => Verdict::Failed(format!("the data directory cannot be read: {}", failure.kind())),
    }
}

/// Bytes that this user may still write where `path` is.
fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let room = rustix::fs::statvfs(path)?;
    Ok(room.f_bavail.saturating_mul(room.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_judged_by_its_distance_and_told_its_direction() {
        assert_eq!(skew(29_999), Verdict::Healthy);
        assert!(matches!(skew(30_000), Verdict::Degraded(sentence) if sentence.contains("behind")));
        assert!(matches!(skew(-30_000), Verdict::Degraded(sentence) if sentence.contains("ahead of")));
    }

    #[test]
    fn the_disk_is_measured_and_judged() {
        assert!(free_bytes(Path::new("/")).is_ok_and(|free| free > 0));
        assert!(matches!(disk(free_bytes(Path::new("/nowhere/at/all"))), Verdict::Failed(_)));
        assert!(matches!(disk(Ok(1 << 20)), Verdict::Failed(_)));
        assert!(matches!(disk(Ok(100 << 20)), Verdict::Degraded(_)));
        assert_eq!(disk(Ok(1 << 30)), Verdict::Healthy);
    }
}
