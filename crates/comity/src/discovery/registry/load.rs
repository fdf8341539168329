//! How full this machine is, as the system tells: what cannot be read counts as nothing.

use comity_core::registry::profile::Load;

/// How full it is now; `None` where the system does not tell.
pub(super) fn now() -> Option<Load> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let average = std::fs::read_to_string("/proc/loadavg").ok()?;
    let memory = std::fs::read_to_string("/proc/meminfo").ok()?;
    read(&average, &memory, cores)
}

fn read(average: &str, memory: &str, cores: usize) -> Option<Load> {
    let average: f64 = average.split_whitespace().next()?.parse().ok()?;
    let kib = |name: &str| -> Option<f64> {
        memory.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
    };
    let (total, available) = (kib("MemTotal:")?, kib("MemAvailable:")?);
    let share = |share: f64| if share.is_finite() { share.clamp(0.0, 1.0) } else { 0.0 };
    let (cpu, memory) = (share(average / cores.max(1) as f64), share(1.0 - available / total));
    Some(Load { running: 0, queued: 0, cpu, memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_full_the_machine_is_is_read_as_shares() {
        let memory = "MemTotal:       8000 kB\nMemFree: 1 kB\nMemAvailable:   2000 kB\n";
        let load = read("1.50 0.75 0.10 1/200 999\n", memory, 2).expect("it is told");
        assert_eq!((load.cpu, load.memory), (0.75, 0.75));
        let full = read("9.0 1 1", memory, 2).expect("it is told");
        assert_eq!(full.checked(), Ok(full));
        assert_eq!(full.cpu, 1.0);
        assert_eq!(read("", memory, 2), None);
        assert!(read("1.0", "MemTotal: 0 kB\nMemAvailable: 0 kB", 2).expect("it is told").checked().is_ok());
    }
}
