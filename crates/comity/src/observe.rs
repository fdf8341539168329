//! How a node is watched: its log on standard error, traces for an OpenTelemetry collector, and the
//! counters behind `/metrics`. It observes and never decides. See "Health and metrics" in
//! `protocols/pubsub.md`.

mod collector;
mod counters;
mod journal;
mod labels;
#[cfg(test)]
mod tests;
mod trace;

pub(crate) use counters::Counters;
pub(crate) use labels::{DialEnd, Direction, Door};
pub(crate) use trace::{admitted, sent};

use crate::config::{Log, LogFormat, Otlp};
use crate::redaction::Redaction;
use collector::Collector;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use std::backtrace::{Backtrace, BacktraceStatus};
use std::borrow::Cow;
use std::collections::HashMap;
use std::io::{self, IsTerminal};
use std::panic;
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// The variable that is read before `log.filter`.
const FILTER_VARIABLE: &str = "COMITY_LOG";

/// How long the last traces may take to leave when the node ends.
const FLUSH_TIME: Duration = Duration::from_secs(2);

/// The running log and traces. Dropping it sends the last traces.
#[derive(Debug)]
#[must_use = "the last traces are sent when this is dropped"]
pub struct Observed(Option<SdkTracerProvider>);

impl Drop for Observed {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // Err: the collector is gone, and nobody is left to be told.
            let _ = provider.shutdown_with_timeout(FLUSH_TIME);
        }
    }
}

/// Why the log cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ObserveError {
    /// The filter is not one.
    #[error("{from} is not a log filter such as `info` or `warn,comity::link=debug`: {problem}")]
    Filter {
        /// `COMITY_LOG` or `log.filter`.
        from: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The collector's address is not one.
    #[error("traces cannot be sent to {endpoint}: {problem}")]
    Collector {
        /// The configured endpoint.
        endpoint: String,
        /// What is wrong with it.
        problem: String,
    },
    /// This program has a log already.
    #[error("this program has started its log already")]
    Twice,
}

/// Starts the log of this process and, where one is configured, traces to a collector. For programs
/// that are a node; an application that embeds one has its own log. What the log says goes through `redaction`.
///
/// Must be called inside the tokio runtime, which does the sending.
pub fn start(log: &Log, otlp: Option<&Otlp>, name: &str, redaction: &Redaction) -> Result<Observed, ObserveError> {
    let provider = otlp.map(|otlp| provider(otlp, name)).transpose()?;
    // A list and no `Option`: where that is `None`, every span of every library is made, for nobody.
    let mut layers = vec![lines(log, redaction)?];
    layers.extend(provider.as_ref().map(|provider| {
        // Whatever the log leaves out, a trace has every span of the node's own.
        let own = Targets::new().with_target("comity", LevelFilter::TRACE);
        tracing_opentelemetry::layer().with_tracer(provider.tracer("comity")).with_filter(own).boxed()
    }));
    let started = tracing_subscriber::registry().with(layers).try_init();
    started.map_err(|_| ObserveError::Twice)?;
    if provider.is_some() {
        trace::begin();
    }
    panic::set_hook(Box::new(log_panic));
    Ok(Observed(provider))
}

/// A panic is a line of the log as others are: as the system writes it, it may hold secrets.
fn log_panic(panic: &panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    let text = panic.payload_as_str().unwrap_or("something that is no text");
    tracing::error!(place, backtrace, "a task of this program panicked: {text}");
}

fn lines<S>(log: &Log, redaction: &Redaction) -> Result<Box<dyn Layer<S> + Send + Sync>, ObserveError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
{
    let variable = std::env::var(FILTER_VARIABLE).ok().filter(|text| !text.is_empty());
    let (from, text) = variable.as_deref().map_or(("log.filter", log.filter.as_str()), |text| (FILTER_VARIABLE, text));
    let filter = EnvFilter::try_new(text).map_err(|error| ObserveError::Filter { from, problem: error.to_string() })?;
    let redaction = redaction.clone();
    let layer = fmt::layer().with_writer(move || Written(redaction.clone()));
    Ok(match log.format {
        LogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).with_filter(filter).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
    })
}

/// Standard error, without secrets. Each line comes in one piece.
struct Written(Redaction);

impl io::Write for Written {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        io::stderr().write_all(without_secrets(&text, &self.0).as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// The line as it came, or, if there is a secret in it, without that and without colours: these stand between a name
/// and its value, so that it is looked at without them.
fn without_secrets<'t>(line: &'t str, redaction: &Redaction) -> Cow<'t, str> {
    let plain = without_colours(line);
    match redaction.line(&plain) {
        Cow::Borrowed(_) => Cow::Borrowed(line),
        Cow::Owned(clean) => Cow::Owned(clean),
    }
}

/// The text without the escape sequences of colours.
fn without_colours(text: &str) -> Cow<'_, str> {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default();
    let rest: Vec<&str> = pieces.map(|piece| piece.split_once('m').map_or(piece, |(_, rest)| rest)).collect();
    if rest.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(first.to_owned() + &rest.concat()) }
}

fn provider(otlp: &Otlp, name: &str) -> Result<SdkTracerProvider, ObserveError> {
    let headers = otlp.token.iter().map(|token| ("authorization".to_owned(), format!("Bearer {token}")));
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new())
        .with_endpoint(format!("{}/v1/traces", otlp.endpoint))
        .with_headers(headers.collect::<HashMap<_, _>>())
        .build()
        .map_err(|error| ObserveError::Collector { endpoint: otlp.endpoint.clone(), problem: error.to_string() })?;
    let resource = Resource::builder()
        .with_service_name("comity")
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", name.to_owned()))
        .build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
