//! Health: named checks with history, and the paths that show them. A part that can fail adds a
//! check here; what failing means for the node is decided by whoever runs the checks. See "Health
//! and metrics" in `protocols/pubsub.md`.

mod first;

#[cfg(test)]
mod tests;

pub(crate) use first::{first_checks, wrong_clock};

use crate::observe::Counters;
use axum::Json;
use axum::extract;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use comity_core::time::Timestamp;
use futures_util::future::join_all;
use serde::Serialize;
use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often active checks run.
const EVERY: Duration = Duration::from_secs(30);

/// How long one may take.
const WITHIN: Duration = Duration::from_secs(10);

/// Results remembered of each check: ten minutes of an active one.
const HISTORY_MAX: usize = 20;

/// Rounds in a row in which a critical check fails before the node is stopped, where that is wanted:
/// one slow disk is no reason to leave.
const STRIKES: u32 = 3;

/// What a check found. The order is the order of harm.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// All is well.
    Healthy,
    /// It works, and somebody should look; the sentence says why.
    Degraded(String),
    /// It does not work; the sentence says why and what to do.
    Failed(String),
}

/// Whether the node can do its work without what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    /// It cannot: while the check fails, the node is not ready.
    Critical,
    /// It can, with less.
    Minor,
}

/// A named check.
pub(crate) struct Check {
    name: &'static str,
    about: &'static str,
    weight: Weight,
    /// What an active check does; a passive one waits to be told.
    probe: Option<Probe>,
    log: Arc<Log>,
}

type Probe = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Verdict> + Send>> + Send + Sync>;

/// By which a passive check is told how things are. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Reporter(Arc<Log>);

/// The last results of a check, latest last.
// A lock and not a message: whoever reports must not wait, and readers want the present state even
// when everything else is stuck.
#[derive(Debug, Default)]
struct Log(Mutex<VecDeque<Finding>>);

/// What a check found, and when.
#[derive(Debug, Clone)]
struct Finding {
    at: Timestamp,
    took: Duration,
    verdict: Verdict,
}

impl Check {
    /// A check that is carried out every 30 s; `about` says what a good result means.
    pub(crate) fn active<F, P>(name: &'static str, about: &'static str, weight: Weight, probe: P) -> Self
    where
        F: Future<Output = Verdict> + Send + 'static,
        P: Fn() -> F + Send + Sync + 'static,
    {
        let probe: Probe = Box::new(move || Box::pin(probe()));
        Self { name, about, weight, probe: Some(probe), log: Arc::default() }
    }

    /// A check whose result is told by the part itself. It counts as well until told otherwise.
    pub(crate) fn passive(name: &'static str, about: &'static str, weight: Weight) -> (Self, Reporter) {
        let log = Arc::<Log>::default();
        log.add(Verdict::Healthy, Duration::ZERO);
        (Self { name, about, weight, probe: None, log: Arc::clone(&log) }, Reporter(log))
    }

    async fn carry_out(&self) {
        let Some(probe) = &self.probe else { return };
        let begun = Instant::now();
        let verdict = timeout(WITHIN, probe()).await;
        let late = || Verdict::Failed(format!("no result within {} s", WITHIN.as_secs()));
        self.log.add(verdict.unwrap_or_else(|_| late()), begun.elapsed());
    }

    fn is_critical(&self) -> bool {
        self.weight == Weight::Critical
    }
}

impl fmt::Debug for Check {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Check").field("name", &self.name).field("weight", &self.weight).finish_non_exhaustive()
    }
}

impl Reporter {
    /// How things are from now on. The same again is not noted twice.
    pub(crate) fn report(&self, verdict: Verdict) {
        let same = self.0.read(|findings| findings.back().is_some_and(|last| last.verdict == verdict));
        if !same {
            self.0.add(verdict, Duration::ZERO);
        }
    }
}

impl Log {
    fn add(&self, verdict: Verdict, took: Duration) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        let mut findings = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if findings.len() >= HISTORY_MAX {
            findings.pop_front();
        }
        findings.push_back(Finding { at, took, verdict });
    }

    fn read<T>(&self, read: impl FnOnce(&VecDeque<Finding>) -> T) -> T {
        read(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// All checks of a node. Cloning shares them.
#[derive(Debug, Clone)]
pub(crate) struct Checks(Arc<[Check]>);

/// What to do when a critical check keeps failing.
#[derive(Debug, Clone)]
pub(crate) enum OnFailure {
    /// Carry on: readiness says it.
    CarryOn,
    /// Stop the node, by cancelling this.
    Stop(CancellationToken),
}

impl Checks {
    /// These checks.
    pub(crate) fn new(checks: Vec<Check>) -> Self {
        Self(checks.into())
    }

    /// Carries out the active checks, at once and then every 30 s, until `stop`, and counts all.
    pub(crate) async fn run(self, counters: Counters, stop: CancellationToken, on_failure: OnFailure) {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut strikes = vec![0; self.0.len()];
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if stop.run_until_cancelled(self.carry_out()).await.is_none() {
                return;
            }
            let mut lost = None;
            for (check, strikes) in self.0.iter().zip(&mut strikes) {
                let failed = state(check) == State::Failed;
                counters.checked(check.name, !failed);
                // Rounds, and not findings: what a part reported once holds until it says otherwise.
                *strikes = if failed { *strikes + 1 } else { 0 };
                if check.is_critical() && *strikes >= STRIKES {
                    lost = Some(check);
                }
            }
            if let (Some(check), OnFailure::Stop(node)) = (lost, &on_failure) {
                tracing::error!(check = check.name, "a critical check keeps failing: this node stops");
                return node.cancel();
            }
        }
    }

    /// Carries out every active check once, all at the same time.
    pub(crate) async fn carry_out(&self) {
        join_all(self.0.iter().map(Check::carry_out)).await;
    }

    fn overall(&self) -> State {
        let harm = |check: &Check| match (state(check), check.weight) {
            (State::Failed, Weight::Minor) => State::Degraded,
            (state, _) => state,
        };
        self.0.iter().map(harm).max().unwrap_or(State::Healthy)
    }

    /// Whether every critical check has passed the last time, and was carried out at all.
    fn is_ready(&self) -> bool {
        let passes = |check: &Check| !matches!(state(check), State::Failed | State::Pending);
        self.0.iter().filter(|check| check.is_critical()).all(passes)
    }
}

/// A state as shown. The order is the order of harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Healthy,
    Pending,
    Degraded,
    Failed,
}

fn state(check: &Check) -> State {
    check.log.read(|findings| findings.back().map_or(State::Pending, |last| last.verdict.state()))
}

impl Verdict {
    fn state(&self) -> State {
        match self {
            Self::Healthy => State::Healthy,
            Self::Degraded(_) => State::Degraded,
            Self::Failed(_) => State::Failed,
        }
    }

    fn sentence(&self) -> Option<String> {
        match self {
            Self::Healthy => None,
            Self::Degraded(sentence) | Self::Failed(sentence) => Some(sentence.clone()),
        }
    }
}

#[derive(Serialize)]
struct Report {
    status: State,
    checks: Vec<CheckShown>,
}

#[derive(Serialize)]
struct CheckShown {
    name: &'static str,
    about: &'static str,
    critical: bool,
    active: bool,
    #[serde(flatten)]
    now: FindingShown,
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Vec<FindingShown>>,
}

#[derive(Serialize)]
struct FindingShown {
    status: State,
    detail: Option<String>,
    checked_at: Option<String>,
    took_ms: Option<u64>,
}

impl FindingShown {
    /// A finding; a check that was not yet carried out is pending.
    fn of(finding: Option<&Finding>) -> Self {
        Self {
            status: finding.map_or(State::Pending, |finding| finding.verdict.state()),
            detail: finding.and_then(|finding| finding.verdict.sentence()),
            checked_at: finding.map(|finding| finding.at.to_string()),
            took_ms: finding.map(|finding| u64::try_from(finding.took.as_millis()).unwrap_or(u64::MAX)),
        }
    }
}

impl Checks {
    fn report(&self, show: impl Fn(&Check) -> CheckShown) -> Json<Report> {
        Json(Report { status: self.overall(), checks: self.0.iter().map(show).collect() })
    }
}

impl Check {
    fn shown(&self, findings: &VecDeque<Finding>) -> CheckShown {
        let now = FindingShown::of(findings.back());
        let (critical, active) = (self.is_critical(), self.probe.is_some());
        CheckShown { name: self.name, about: self.about, critical, active, now, history: None }
    }

    fn shown_now(&self) -> CheckShown {
        self.log.read(|findings| self.shown(findings))
    }

    fn shown_with_history(&self) -> CheckShown {
        self.log.read(|findings| {
            let history = findings.iter().map(|finding| FindingShown::of(Some(finding))).collect();
            CheckShown { history: Some(history), ..self.shown(findings) }
        })
    }
}

/// `GET /health`: every check as it is now; 503 while a critical one fails.
pub(super) async fn all(extract::State(checks): extract::State<Checks>) -> Response {
    let code = if checks.overall() == State::Failed { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, checks.report(Check::shown_now)).into_response()
}

/// `GET /health/live`, `/livez`: this process answers.
pub(super) async fn live() -> Json<Plain> {
    Json(Plain { status: "alive" })
}

/// `GET /health/ready`, `/readyz`: 503 while a critical check fails, or was not yet carried out.
pub(super) async fn ready(extract::State(checks): extract::State<Checks>) -> Response {
    let (code, status) =
        if checks.is_ready() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (code, Json(Plain { status })).into_response()
}

/// `GET /health/checks`: every check with its history.
pub(super) async fn history(extract::State(checks): extract::State<Checks>) -> Response {
    checks.report(Check::shown_with_history).into_response()
}

/// A word.
#[derive(Serialize)]
pub(super) struct Plain {
    status: &'static str,
}
