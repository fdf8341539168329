//! How figures are taken: round trips, rates, processor time and memory of processes, and what the
//! disk takes to sync.

use crate::server::Folder;
use std::fs;
use std::future::Future;
use std::io::Write;
use std::time::{Duration, Instant};

/// Times, sorted.
pub(crate) struct Latency(Vec<Duration>);

impl Latency {
    /// Measures `count` calls of `ask`, `at_a_time` at once, after a tenth as many that only warm
    /// up; and what one call costs this process and the server.
    pub(crate) async fn of<F, Answer>(
        server: Option<u32>,
        count: usize,
        at_a_time: usize,
        ask: F,
    ) -> Result<(Self, Rate), String>
    where
        F: Fn() -> Answer + Clone + Send + 'static,
        Answer: Future<Output = Result<(), String>> + Send,
    {
        let each = count / at_a_time;
        let rate = Measuring::begin(server);
        let task = || {
            let ask = ask.clone();
            tokio::spawn(async move {
                for _ in 0..each / 10 {
                    ask().await?;
                }
                let mut times = Vec::with_capacity(each);
                for _ in 0..each {
                    let began = Instant::now();
                    ask().await?;
                    times.push(began.elapsed());
                }
                Ok::<_, String>(times)
            })
        };
        let tasks: Vec<_> = (0..at_a_time).map(|_| task()).collect();
        let mut times = Vec::with_capacity(count);
        for task in tasks {
            times.extend(task.await.map_err(|error| error.to_string())??);
        }
        Ok((Self::from_times(times), rate.end((each + each / 10) * at_a_time)))
    }

    /// From times measured elsewhere.
    pub(crate) fn from_times(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this share of them stays below.
    pub(crate) fn share(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small index")]
        let index = (last as f64 * share) as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn micros(&self, share: f64) -> f64 {
        self.share(share).as_secs_f64() * 1e6
    }
}

/// Something that goes on, with the processor time of this process and of a server until now.
pub(crate) struct Measuring {
    began: Instant,
    own: Duration,
    server: Option<(u32, Duration)>,
}

/// How often a second it was done, and what once cost.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// Processor microseconds of this process.
    pub(crate) client_us: f64,
    /// Processor microseconds of the server.
    pub(crate) server_us: f64,
}

impl Measuring {
    /// From now on; with a server when it is a process of its own.
    pub(crate) fn begin(server: Option<u32>) -> Self {
        let own = cpu_time(std::process::id());
        Self { began: Instant::now(), own, server: server.map(|pid| (pid, cpu_time(pid))) }
    }

    pub(crate) fn end(self, count: usize) -> Rate {
        let elapsed = self.began.elapsed();
        let own = cpu_time(std::process::id()).saturating_sub(self.own);
        let server = self.server.map_or(Duration::ZERO, |(pid, before)| cpu_time(pid).saturating_sub(before));
        let each = |time: Duration| time.as_secs_f64() * 1e6 / count as f64;
        Rate { per_second: count as f64 / elapsed.as_secs_f64(), client_us: each(own), server_us: each(server) }
    }
}

/// User and system time of a process so far, from `/proc/PID/stat` (ticks of 10 ms).
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let ticks = fields.next().unwrap_or(0) + fields.next().unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

/// A figure of `/proc/PID/status` in KiB, such as `VmRSS` or `RssAnon`.
pub(crate) fn memory_kib(pid: u32, field: &str) -> Result<f64, String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).map_err(|error| error.to_string())?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("the system does not tell {field}"))
}

/// How long the disk under the nodes' folders takes to sync a few bytes: the median, milliseconds.
pub(crate) fn sync_ms() -> Result<f64, String> {
    const SYNCS: usize = 100;
    let folder = Folder::new();
    let measure = || {
        fs::create_dir_all(folder.path())?;
        let mut file = fs::File::create(folder.path().join("synced"))?;
        let mut times = Vec::with_capacity(SYNCS);
        for _ in 0..SYNCS {
            file.write_all(&[0; 4096])?;
            let began = Instant::now();
            file.sync_data()?;
            times.push(began.elapsed());
        }
        Ok(Latency::from_times(times))
    };
    measure().map(|times| times.micros(0.5) / 1e3).map_err(|error: std::io::Error| error.to_string())
}
