//! How full this node is: its tasks, and its machine, as the system tells. What cannot be read counts as nothing.

use crate::compute::Compute;
use comity_core::registry::profile::Load;

/// How full it is now.
pub(super) async fn now(work: &Compute) -> Load {
    let (running, queued) = work.busy().await;
    let (cpu, memory) = machine().unwrap_or_default();
    Load { running, queued, cpu, memory }
}

/// How much of the processors and of the memory is in use; `None` where the system does not tell.
fn machine() -> Option<(f64, f64)> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let average = std::fs::read_to_string("/proc/loadavg").ok()?;
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    read(&average, &memory, cores)
}

fn read(average: &str, memory: &str, cores: usize) -> Option<(f64, f64)> {
    let average: f64 = average.split_whitespace().next()?.parse().ok()?;
    let kib = |name: &str| -> Option<f64> {
        memory.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    let share = |share: f64| if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    Some((share(average / cores.max(1) as f64), share(1.0 - available / total)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_the_machine_is_is_read_as_shares() {
        let memory = "MemTotal:       8000 kB\nMemFree: 1 kB\nMemAvailable:   2000 kB\n";
        assert_eq!(read("1.50 0.75 0.10 1/200 999\n", memory, 2), Some((0.75, 0.75)));
        assert_eq!(read("9.0 1 1", memory, 2), Some((1.0, 0.75)));
        assert_eq!(read("", memory, 2), None);
        let (cpu, memory) = read("nan", "MemTotal: 0 kB\nMemAvailable: 0 kB", 2).expect("it is told");
        assert!(Load { cpu, memory, ..Load::default() }.checked().is_ok());
    }
}
