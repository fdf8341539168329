//! What watchers are told: the text of the metrics, and the thread of a trace.

use super::trace::{follow, traceparent};
use super::*;
use comity_core::redact::{self, Redactor};
use comity_core::time::Timestamp;
use opentelemetry::trace::TraceContextExt;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_trace_goes_on_in_the_next_node() {
    let provider = SdkTracerProvider::builder().build();
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("comity"));
    let subscriber = tracing_subscriber::registry().with(layer);
    tracing::subscriber::with_default(subscriber, || {
        let span = tracing::info_span!("arrival");
        follow(&span, PARENT);
        let _entered = span.enter();
        let next = traceparent().expect("the span is traced");
        assert_eq!(next[..36], PARENT[..36], "it is the same trace");
        assert_ne!(next, PARENT, "it is another span");
        assert!(Span::current().context().span().span_context().is_sampled());
    });
}

use tracing::Span;

#[test]
fn without_traces_nothing_is_added_to_messages() {
    let _entered = tracing::info_span!("arrival").entered();
    assert_eq!(traceparent(), None);
}

#[test]
fn what_is_not_a_traceparent_is_passed_over() {
    assert!(trace::parse(PARENT).is_some());
    assert!(trace::parse(&PARENT.replacen("00", "cc", 1)).is_some(), "a later version");
    assert!(trace::parse(&format!("{}-more", PARENT.replacen("00", "01", 1))).is_some());
    let wrong = [
        "",
        "00",
        "00-0-0-0",
        &PARENT.replacen("00", "ff", 1),
        &PARENT.to_uppercase(),
        &format!("{PARENT}-more"),
        &PARENT.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
        &PARENT.replace("b7ad6b7169203331", &"0".repeat(16)),
        "00-é",
    ];
    for text in wrong {
        assert!(trace::parse(text).is_none(), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn traces_are_posted_to_the_collector_with_its_token() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its number");
    let collector = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("the exporter calls");
        let mut got = Vec::new();
        while !got.windows(4).any(|four| four == b"\r\n\r\n") {
            stream.read_buf(&mut got).await.expect("a request");
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.expect("an answer");
        String::from_utf8_lossy(&got).to_lowercase()
    });
    let otlp = Otlp { endpoint: format!("http://{address}"), token: Some("hush".to_owned()) };
    let provider = provider(&otlp, "kitchen").expect("a provider");
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("comity"));
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
        drop(tracing::info_span!("arrival").entered());
    });
    // Dropping sends what is left; it blocks, so it has a thread of its own.
    tokio::task::spawn_blocking(move || drop(Observed(Some(provider)))).await.expect("it ends");
    let request = collector.await.expect("a request");
    assert!(request.starts_with("post /v1/traces http/1.1\r\n"), "{request}");
    assert!(request.contains("authorization: bearer hush"), "{request}");
    assert!(request.contains("content-type: application/x-protobuf"), "{request}");
    assert!(request.contains(&format!("host: {address}")), "{request}");
}

#[test]
fn a_line_is_written_without_secrets_and_without_them_as_it_came() {
    let redaction = Redaction::with(Some(Redactor::new(&redact::Config::new([1; 32])).expect("the built-in rules")));
    let secret = "glpat-Zk3xQ9vW7tR2mN8pL4bY";
    let clean = "\u{1b}[2m10:00\u{1b}[0m \u{1b}[32mINFO\u{1b}[0m peer \u{1b}[3mname\u{1b}[0m=ann\n";
    assert_eq!(without_secrets(clean, &redaction), clean);
    let told =
        format!("\u{1b}[2m10:00\u{1b}[0m \u{1b}[3mpassword\u{1b}[0m\u{1b}[2m=\u{1b}[0m\"hunter2-Xq9\" {secret}\n");
    let line = without_secrets(&told, &redaction).into_owned();
    assert_eq!(line, "10:00 password=\"[REDACTED]\" [REDACTED]\n");
    let json = format!("{{\"level\":\"INFO\",\"reason\":\"use {secret}\"}}\n");
    assert_eq!(without_secrets(&json, &redaction), "{\"level\":\"INFO\",\"reason\":\"use [REDACTED]\"}\n");
}

/// What was logged.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl io::Write for Kept {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The lines that are logged meanwhile, as text or as JSON.
fn logged(format: LogFormat, mut meanwhile: impl FnMut()) -> String {
    let kept = Kept::default();
    let writer = kept.clone();
    let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone());
    let layer = match format {
        LogFormat::Text => layer.boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    };
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), &mut meanwhile);
    let lines = kept.0.lock().expect("nobody panics with it").clone();
    String::from_utf8(lines).expect("text")
}

#[test]
fn a_panic_is_a_line_of_the_log() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(log_panic));
    let line = logged(LogFormat::Text, || assert!(panic::catch_unwind(|| panic!("no token {}", 7)).is_err()));
    panic::set_hook(before);
    assert!(line.contains("ERROR") && line.contains("panicked: no token 7") && line.contains("tests.rs:"), "{line}");
}

#[test]
fn what_is_told_of_a_secret_stays_in_the_log() {
    let redaction = Redaction::with(Some(Redactor::new(&redact::Config::new([1; 32])).expect("the built-in rules")));
    let names = ["password", "token", "api_key", "secret", "private_key", "cookie", "pin", "passphrase", "credentials"];
    let secret = "Zk3xQ9vW7tR2mN8pL4bY";
    for format in [LogFormat::Text, LogFormat::Json] {
        for name in names {
            let document = serde_json::json!({ name: if name == "pin" { "4821" } else { secret }, "a": { secret: 1 } });
            let (typed, labels) = (redact::Typed::default(), || crate::redaction::labels("message", "custom:x", ""));
            let lines = logged(format, || drop(redaction.document(&document, &typed, labels, Timestamp::default())));
            assert!(lines.lines().count() >= 1 && lines.contains(&format!("/{name}")), "{lines}");
            for line in lines.lines() {
                assert_eq!(without_secrets(line, &redaction), line);
            }
        }
    }
}

#[test]
fn a_wrong_filter_names_where_it_stands() {
    let log = Log { format: LogFormat::Text, filter: "comity=loud".to_owned() };
    let error =
        lines::<tracing_subscriber::Registry>(&log, &Redaction::with(None)).err().expect("it is wrong").to_string();
    assert!(error.contains("log.filter"), "{error}");
}

mod metrics {
    use super::super::*;
    use comity_core::id::NodeId;
    use comity_core::node::{Boot, Config, Node, Restored};
    use comity_core::time::{Now, Timestamp};

    fn text(counters: &Counters) -> String {
        counters.render(&view())
    }

    fn view() -> comity_core::node::NodeView {
        let config = Config::new(NodeId::from_bytes([1; 32]), "kitchen", Boot(uuid::Uuid::nil()), 1);
        let now = Now { mono: Duration::ZERO, wall: Timestamp::from_millis(1_700_000_000_000) };
        Node::new(config, Restored::default(), now).view(now)
    }

    #[test]
    fn every_name_has_its_area_and_every_figure_its_type() {
        let text = text(&Counters::new("1.2.3"));
        let areas = ["p2p", "discovery", "pubsub", "health", "system", "errors", "redaction", "journal"];
        for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
            let name = line.split(' ').nth(2).expect("a name");
            let area = name.strip_prefix("comity_").and_then(|rest| rest.split('_').next());
            assert!(area.is_some_and(|area| areas.contains(&area)), "{name}");
        }
        assert!(text.ends_with("# EOF\n"));
        assert!(text.contains("comity_system_build_info{version=\"1.2.3\"} 1"), "{text}");
        assert!(text.contains("comity_pubsub_message_fates_total{direction=\"in\",fate=\"evicted\"} 0"), "{text}");
        assert!(text.contains("comity_pubsub_inbox_items{priority=\"critical\"} 0"), "{text}");
    }

    #[test]
    fn what_happens_is_counted() {
        let counters = Counters::new("1");
        counters.frame(Direction::In, 100, 3);
        counters.frame(Direction::In, 100, 2);
        counters.unreadable();
        counters.dropped("unknown_type", 4);
        counters.dropped("unknown_flag", 0);
        counters.dialled(DialEnd::Failed, Duration::from_millis(3));
        counters.answered(Door::Network, 404, Duration::from_millis(3));
        counters.committed(7, Duration::from_millis(3));
        counters.failed("discovery");
        counters.checked("disk", true);
        let text = text(&counters);
        for line in [
            "comity_pubsub_link_messages_total{direction=\"in\"} 5",
            "comity_p2p_link_bytes_total{direction=\"in\"} 200",
            "comity_p2p_frame_size_bytes_count{direction=\"in\"} 2",
            "comity_pubsub_unreadable_messages_total 1",
            "comity_pubsub_dropped_messages_total{cause=\"unknown_type\"} 4",
            "comity_p2p_dials_total{outcome=\"failed\"} 1",
            "comity_p2p_dial_seconds_bucket{le=\"0.005\"} 1",
            "comity_system_requests_total{door=\"network\",status=\"4xx\"} 1",
            "comity_system_store_records_total 7",
            "comity_errors_failures_total{area=\"discovery\"} 1",
            "comity_health_check_passing{check=\"disk\"} 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("unknown_flag"));
    }

    #[test]
    fn older_tools_read_the_same_figures() {
        let counters = Counters::new("1");
        counters.frame(Direction::Out, 64, 1);
        let text = counters.render_plain(&view());
        assert!(text.contains("# HELP comity_pubsub_link_messages_total Messages over links.\n"), "{text}");
        assert!(text.contains("# TYPE comity_pubsub_link_messages_total counter\n"), "{text}");
        assert!(text.contains("comity_pubsub_link_messages_total{direction=\"out\"} 1\n"), "{text}");
        assert!(text.contains("# TYPE comity_p2p_frame_size_bytes histogram\n"), "{text}");
        assert!(!text.contains("# UNIT") && !text.contains("# EOF"), "{text}");
    }

    #[test]
    fn the_system_says_what_this_process_uses() {
        let text = text(&Counters::new("1"));
        let figure = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect("a line");
            line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
        };
        assert!(figure("comity_system_memory_bytes") > 1_000_000.0);
        assert!(figure("comity_system_open_files") >= 3.0);
    }
}
