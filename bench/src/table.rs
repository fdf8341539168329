//! Figures and the tables they are printed in: medians, rates, processor time, ratios.

use std::future::Future;
use std::time::{Duration, Instant};

/// Round trips, sorted.
pub(crate) struct Latency(Vec<Duration>);

impl Latency {
    /// Measures `count` calls of `ask`, `at_a_time` at once, after a tenth as many unmeasured.
    pub(crate) async fn of<F, Answer>(count: usize, at_a_time: usize, ask: F) -> Result<Self, String>
    where
        F: Fn() -> Answer + Clone + Send + 'static,
        Answer: Future<Output = Result<(), String>> + Send,
    {
        let each = count / at_a_time;
        let tasks: Vec<_> = (0..at_a_time)
            .map(|_| {
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
            })
            .collect();
        let mut times = Vec::with_capacity(count);
        for task in tasks {
            times.extend(task.await.map_err(|error| error.to_string())??);
        }
        times.sort_unstable();
        Ok(Self(times))
    }

    /// From times measured elsewhere.
    pub(crate) fn from_times(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that this share of the round trips stays below.
    pub(crate) fn share(&self, share: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small index")]
        let index = (last as f64 * share) as usize;
        self.0.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn median_us(&self) -> f64 {
        self.share(0.5).as_secs_f64() * 1e6
    }
}

/// A rate being measured, with the processor time of this process and of a server.
pub(crate) struct Measuring {
    began: Instant,
    own: Duration,
    server: Option<(u32, Duration)>,
}

/// Messages a second, and what each cost.
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    /// Processor microseconds of this process a message.
    pub(crate) client_us: f64,
    /// Processor microseconds of the server a message.
    pub(crate) server_us: f64,
}

impl Rate {
    pub(crate) fn begin(server: Option<u32>) -> Measuring {
        let own = cpu_time(std::process::id());
        Measuring { began: Instant::now(), own, server: server.map(|pid| (pid, cpu_time(pid))) }
    }
}

impl Measuring {
    pub(crate) fn end(self, messages: usize) -> Rate {
        let elapsed = self.began.elapsed();
        let own = cpu_time(std::process::id()).saturating_sub(self.own);
        let server = self.server.map_or(Duration::ZERO, |(pid, before)| cpu_time(pid).saturating_sub(before));
        let each = |time: Duration| time.as_secs_f64() * 1e6 / messages as f64;
        Rate { per_second: messages as f64 / elapsed.as_secs_f64(), client_us: each(own), server_us: each(server) }
    }
}

/// User and system time of a process so far, from `/proc/PID/stat` (ticks of 10 ms).
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let mut fields = after_name.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    let ticks = fields.next().unwrap_or(0) + fields.next().unwrap_or(0);
    Duration::from_millis(ticks * 10)
}

/// A row: what, ours, theirs, the ratio, the goal.
pub(crate) fn row(what: &str, ours: &str, theirs: &str, ratio: Option<f64>, goal: &str) {
    let ratio = ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}"));
    println!("{what:<44} {ours:>16} {theirs:>16} {ratio:>7}  {goal}");
}
