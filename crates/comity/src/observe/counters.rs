//! Everything that is counted, in one registry. What happens often is an atomic addition to a
//! counter that is held ready; what can be read off the node is read when somebody asks. Labels
//! take only values that are listed in this program.

use super::journal::Journaled;
use super::labels::{DialEnd, Direction, Door};
use crate::store::journal::Journal;
use comity_core::envelope::Priority;
use comity_core::identity::trust::Trust;
use comity_core::ledger::FateKind;
use comity_core::node::{NodeView, SourceHealth};
use comity_core::peers::{Presence, Source};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

/// The protocol's latency buckets, seconds.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// The protocol's size buckets, bytes: 64 B to 16 MiB, each four times the one before.
const BYTES: [f64; 10] =
    [64.0, 256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0];

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];
type Level = Gauge<f64, AtomicU64>;

/// The counters of a node. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Counters(Arc<Families>);

impl fmt::Debug for Counters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Counters").finish_non_exhaustive()
    }
}

struct Families {
    registry: Registry,
    often: Often,
    seldom: Seldom,
    read: Read,
    journaled: Journaled,
}

/// What is counted for each frame or message.
struct Often {
    messages: [Counter; 2],
    bytes: [Counter; 2],
    frame_bytes: [Histogram; 2],
    unreadable: Counter,
}

/// What is counted for each connection, request, group of records or failure.
struct Seldom {
    dropped: Family<Label, Counter>,
    unannounced: Family<Label, Counter>,
    announced: Gauge,
    turned_away: Family<Label, Counter>,
    dials: Family<Label, Counter>,
    dial_seconds: Histogram,
    requests: Family<Labels, Counter>,
    request_seconds: Family<Label, Histogram>,
    refusals: Family<Labels, Counter>,
    records: Counter,
    commit_seconds: Histogram,
    failures: Family<Label, Counter>,
    calls: Family<Label, Counter>,
    rejected: Family<Label, Counter>,
    redacted: Family<Labels, Counter>,
    unheeded: Family<Label, Counter>,
    left_out: Family<Label, Counter>,
    checks: Family<Label, Gauge>,
}

/// What is read off the node and the system when somebody asks.
struct Read {
    peers: Family<Label, Gauge>,
    trusted: Family<Label, Gauge>,
    links: Gauge,
    sources: Family<Label, Gauge>,
    skew: Level,
    twin: Gauge,
    admitted: Counter,
    fates: Family<Labels, Counter>,
    inbox: Family<Label, Gauge>,
    inbox_max: Gauge,
    digest: Gauge,
    outbound: Gauge,
    waiting: Gauge,
    seen: Gauge,
    disk: Gauge,
    uptime: Level,
    cpu: Counter<f64, AtomicU64>,
    memory: Gauge,
    files: Gauge,
}

impl Counters {
    /// All at zero. `version` is the program's.
    pub(crate) fn new(version: &str) -> Self {
        let mut registry = Registry::with_prefix("comity");
        let often = Often::register(&mut registry);
        let seldom = Seldom::register(&mut registry);
        let read = Read::register(&mut registry);
        let journaled = Journaled::register(&mut registry);
        // A gauge, because the type `info` of OpenMetrics is unknown to older tools.
        let build = Family::<Vec<(&'static str, String)>, Gauge>::default();
        build.get_or_create(&vec![("version", version.to_owned())]).set(1);
        registry.register("system_build_info", "The program", build);
        Self(Arc::new(Families { registry, often, seldom, read, journaled }))
    }

    /// A frame went over a link, with so many messages in it.
    pub(crate) fn frame(&self, direction: Direction, bytes: usize, messages: usize) {
        let (often, at) = (&self.0.often, direction as usize);
        often.messages[at].inc_by(messages as u64);
        often.bytes[at].inc_by(bytes as u64);
        often.frame_bytes[at].observe(bytes as f64);
    }

    /// Somebody looked at a sealed message, and it could not be opened.
    pub(crate) fn unreadable(&self) {
        self.0.often.unreadable.inc();
    }

    /// A decoder dropped messages, for a cause of its own list.
    pub(crate) fn dropped(&self, cause: &'static str, messages: u64) {
        if messages > 0 {
            self.0.seldom.dropped.get_or_create(&[("cause", cause)]).inc_by(messages);
        }
    }

    /// Messages of MQTT discovery did not count, for a cause of its own list.
    pub(crate) fn unannounced(&self, cause: &'static str, messages: u64) {
        if messages > 0 {
            self.0.seldom.unannounced.get_or_create(&[("cause", cause)]).inc_by(messages);
        }
    }

    /// How many messages of MQTT discovery did not count for this cause.
    pub(crate) fn unannounced_so_far(&self, cause: &'static str) -> u64 {
        self.0.seldom.unannounced.get(&[("cause", cause)]).map_or(0, |count| count.get())
    }

    /// So many peers are announced by MQTT.
    pub(crate) fn announced(&self, peers: usize) {
        set(&self.0.seldom.announced, peers);
    }

    /// A word about a task changed nothing, or was not said, for a cause of its own list.
    pub(crate) fn unheeded(&self, cause: &'static str) {
        self.0.seldom.unheeded.get_or_create(&[("cause", cause)]).inc();
    }

    /// Something that another node said of documents does not count, so many times, for a cause of the mesh's own list.
    pub(crate) fn left_out(&self, cause: &'static str, times: u64) {
        if times > 0 {
            self.0.seldom.left_out.get_or_create(&[("cause", cause)]).inc_by(times);
        }
    }

    /// A connection was refused or cut, for a cause of the port's own list.
    pub(crate) fn turned_away(&self, cause: &'static str) {
        self.0.seldom.turned_away.get_or_create(&[("cause", cause)]).inc();
    }

    /// A secret of this severity was taken out of what was said, or of the log.
    pub(crate) fn redacted(&self, place: &'static str, severity: &'static str) {
        self.0.seldom.redacted.get_or_create(&[("place", place), ("severity", severity)]).inc();
    }

    /// A call of a tool ended so: `ok`, or the code of its error.
    pub(crate) fn tool_called(&self, result: &'static str) {
        self.0.seldom.calls.get_or_create(&[("result", result)]).inc();
    }

    /// An event of another origin was not taken, with this code.
    pub(crate) fn rejected(&self, code: &'static str) {
        self.0.seldom.rejected.get_or_create(&[("code", code)]).inc();
    }

    /// The journal from which figures are read from now on.
    pub(crate) fn opened(&self, journal: Journal) {
        self.0.journaled.open(journal);
    }

    /// Something that was heard or happened is not in the journal.
    pub(crate) fn not_journaled(&self) {
        self.0.journaled.missed();
    }

    /// A dial ended.
    pub(crate) fn dialled(&self, end: DialEnd, took: Duration) {
        let outcome = match end {
            DialEnd::Linked => "linked",
            DialEnd::Plain => "plain",
            DialEnd::Failed => "failed",
        };
        self.0.seldom.dials.get_or_create(&[("outcome", outcome)]).inc();
        self.0.seldom.dial_seconds.observe(took.as_secs_f64());
    }

    /// A door answered a request with this HTTP status.
    pub(crate) fn answered(&self, door: Door, status: u16, took: Duration) {
        let class = match status {
            100..=199 => "1xx",
            200..=299 => "2xx",
            300..=399 => "3xx",
            400..=499 => "4xx",
            _ => "5xx",
        };
        let seldom = &self.0.seldom;
        seldom.requests.get_or_create(&[("door", door.name()), ("status", class)]).inc();
        seldom.request_seconds.get_or_create(&[("door", door.name())]).observe(took.as_secs_f64());
    }

    /// A door refused a request, with the code of this problem.
    pub(crate) fn refused(&self, door: Door, code: &'static str) {
        self.0.seldom.refusals.get_or_create(&[("door", door.name()), ("code", code)]).inc();
    }

    /// The store committed a group of records.
    pub(crate) fn committed(&self, records: usize, took: Duration) {
        self.0.seldom.records.inc_by(records as u64);
        self.0.seldom.commit_seconds.observe(took.as_secs_f64());
    }

    /// Something failed that should not, in this part of the program.
    pub(crate) fn failed(&self, area: &'static str) {
        self.0.seldom.failures.get_or_create(&[("area", area)]).inc();
    }

    /// A health check said whether all is well.
    pub(crate) fn checked(&self, check: &'static str, well: bool) {
        self.0.seldom.checks.get_or_create(&[("check", check)]).set(well.into());
    }

    /// Everything in the OpenMetrics text format, with what this view of the node says.
    pub(crate) fn render(&self, view: &NodeView) -> String {
        self.0.read.take(view);
        self.0.journaled.take();
        let mut out = String::with_capacity(16 * 1024);
        text::encode(&mut out, &self.0.registry).expect("writing to a String has no way to fail");
        out
    }

    /// The same in the older Prometheus text format, for whoever does not ask for OpenMetrics.
    pub(crate) fn render_plain(&self, view: &NodeView) -> String {
        plain(&self.render(view))
    }
}

/// OpenMetrics as the older Prometheus text format (0.0.4), in which a counter is described under
/// the name of its figure, and neither units nor an end are written.
fn plain(text: &str) -> String {
    let is_counter = |name: &str| text.contains(&format!("# TYPE {name} counter\n"));
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("#"), Some("UNIT" | "EOF"), _) => continue,
            (Some("#"), Some(what), Some(name)) if is_counter(name) => {
                out.push_str(&format!("# {what} {name}_total {}", words.next().unwrap_or_default()));
            }
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

impl Often {
    fn register(registry: &mut Registry) -> Self {
        let messages = Family::<Label, Counter>::default();
        let bytes = Family::<Label, Counter>::default();
        let frame_bytes = Family::<Label, Histogram, fn() -> Histogram>::new_with_constructor(|| Histogram::new(BYTES));
        let unreadable = Counter::default();
        registry.register("pubsub_link_messages", "Messages over links", messages.clone());
        registry.register_with_unit("p2p_link", "Bytes of frames over links", Unit::Bytes, bytes.clone());
        registry.register_with_unit("p2p_frame_size", "Size of frames over links", Unit::Bytes, frame_bytes.clone());
        registry.register(
            "pubsub_unreadable_messages",
            "Looks at sealed messages that could not be opened",
            unreadable.clone(),
        );
        let directions = [[("direction", "in")], [("direction", "out")]];
        Self {
            messages: directions.map(|direction| messages.get_or_create_owned(&direction)),
            bytes: directions.map(|direction| bytes.get_or_create_owned(&direction)),
            frame_bytes: directions.map(|direction| frame_bytes.get_or_create_owned(&direction)),
            unreadable,
        }
    }
}

impl Seldom {
    fn register(registry: &mut Registry) -> Self {
        let this = Self {
            dropped: Family::default(),
            unannounced: Family::default(),
            announced: Gauge::default(),
            turned_away: Family::default(),
            dials: Family::default(),
            dial_seconds: Histogram::new(SECONDS),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            refusals: Family::default(),
            records: Counter::default(),
            commit_seconds: Histogram::new(SECONDS),
            failures: Family::default(),
            calls: Family::default(),
            rejected: Family::default(),
            redacted: Family::default(),
            unheeded: Family::default(),
            left_out: Family::default(),
            checks: Family::default(),
        };
        registry.register("pubsub_dropped_messages", "Messages that a decoder dropped", this.dropped.clone());
        let help = "Messages of MQTT discovery that did not count";
        registry.register("discovery_mqtt_dropped_messages", help, this.unannounced.clone());
        registry.register("discovery_mqtt_peers", "Peers that MQTT brokers tell of", this.announced.clone());
        registry.register("system_refused_connections", "Connections refused or cut", this.turned_away.clone());
        registry.register("tasks_unheeded_words", "Words about tasks that changed nothing", this.unheeded.clone());
        let help = "What other nodes said of documents and does not count";
        registry.register("mesh_left_out", help, this.left_out.clone());
        registry.register("p2p_dials", "Dials that ended", this.dials.clone());
        registry.register_with_unit("p2p_dial", "How long dials took", Unit::Seconds, this.dial_seconds.clone());
        registry.register("system_requests", "Requests that a door answered", this.requests.clone());
        let help = "How long doors took to answer";
        registry.register_with_unit("system_request", help, Unit::Seconds, this.request_seconds.clone());
        let help = "Requests that a door refused, by the code of the problem";
        registry.register("errors_refused_requests", help, this.refusals.clone());
        registry.register("system_store_records", "Records that are safe on disk", this.records.clone());
        let help = "How long the disk took to make a group of records safe";
        registry.register_with_unit("system_store_commit", help, Unit::Seconds, this.commit_seconds.clone());
        let help = "Secrets taken out of what was said or logged";
        registry.register("redaction_findings", help, this.redacted.clone());
        registry.register("tools_calls", "Calls of tools, by how they ended", this.calls.clone());
        let help = "Events of other origins that were not taken, by the code of why";
        registry.register("federation_rejected_events", help, this.rejected.clone());
        registry.register("errors_failures", "Failures that should not happen", this.failures.clone());
        registry.register("health_check_passing", "Whether a health check passes", this.checks.clone());
        this
    }
}

impl Read {
    fn register(registry: &mut Registry) -> Self {
        let this = Self {
            peers: Family::default(),
            trusted: Family::default(),
            links: Gauge::default(),
            sources: Family::default(),
            skew: Gauge::default(),
            twin: Gauge::default(),
            admitted: Counter::default(),
            fates: Family::default(),
            inbox: Family::default(),
            inbox_max: Gauge::default(),
            digest: Gauge::default(),
            outbound: Gauge::default(),
            waiting: Gauge::default(),
            seen: Gauge::default(),
            disk: Gauge::default(),
            uptime: Gauge::default(),
            cpu: Counter::default(),
            memory: Gauge::default(),
            files: Gauge::default(),
        };
        registry.register("p2p_peers", "Peers in the peer book by presence", this.peers.clone());
        registry.register("p2p_trusted_peers", "Peers that are there by trust", this.trusted.clone());
        registry.register("p2p_links", "Links that are up", this.links.clone());
        registry.register("p2p_source_working", "Whether a source of discovery works", this.sources.clone());
        let help = "The median of how far peers' clocks are ahead";
        registry.register_with_unit("p2p_clock_skew", help, Unit::Seconds, this.skew.clone());
        registry.register("p2p_twin_present", "Whether another node answers with this node's key", this.twin.clone());
        registry.register("pubsub_admitted_messages", "Messages that were admitted", this.admitted.clone());
        registry.register("pubsub_message_fates", "What became of messages", this.fates.clone());
        registry.register("pubsub_inbox_items", "Items in the inbox by priority", this.inbox.clone());
        registry.register("pubsub_inbox_items_max", "Items that the inbox holds", this.inbox_max.clone());
        registry.register("pubsub_digest_messages", "Messages in the digest not taken yet", this.digest.clone());
        registry.register("pubsub_queued_messages", "Messages that wait to be sent", this.outbound.clone());
        registry.register("pubsub_open_requests", "Queries that wait for their answer", this.waiting.clone());
        registry.register("pubsub_remembered_ids", "Message ids remembered", this.seen.clone());
        registry.register("system_disk_working", "Whether the disk took the last record", this.disk.clone());
        registry.register_with_unit("system_uptime", "Time since the start", Unit::Seconds, this.uptime.clone());
        registry.register_with_unit("system_cpu", "Processor time used", Unit::Seconds, this.cpu.clone());
        registry.register_with_unit("system_memory", "Resident memory", Unit::Bytes, this.memory.clone());
        registry.register("system_open_files", "Open files and sockets", this.files.clone());
        this
    }

    fn take(&self, view: &NodeView) {
        self.take_peers(view);
        for (direction, fates) in [("in", &view.fates_in), ("out", &view.fates_out)] {
            for fate in FateKind::ALL {
                let count = fates.get(&fate).copied().unwrap_or(0);
                set_counter(&self.fates.get_or_create(&[("direction", direction), ("fate", fate.name())]), count);
            }
        }
        set_counter(&self.admitted, view.admitted);
        for priority in Priority::ALL {
            let items = view.inbox.get(&priority).copied().unwrap_or(0);
            set(&self.inbox.get_or_create(&[("priority", priority.name())]), items);
        }
        set(&self.inbox_max, view.inbox_max);
        self.digest.set(i64::try_from(view.digest_total).unwrap_or(i64::MAX));
        set(&self.outbound, view.outbound);
        set(&self.waiting, view.requests);
        set(&self.seen, view.seen);
        self.disk.set(view.disk_ok.into());
        self.uptime.set(view.uptime.as_secs_f64());
        let used = Used::now();
        self.cpu.inner().store(used.cpu.as_secs_f64().to_bits(), Ordering::Relaxed);
        set(&self.memory, used.memory);
        set(&self.files, used.files);
    }

    fn take_peers(&self, view: &NodeView) {
        let mut by_presence: BTreeMap<Presence, usize> = BTreeMap::new();
        let mut by_trust: BTreeMap<Trust, usize> = BTreeMap::new();
        for peer in &view.peers {
            *by_presence.entry(peer.presence).or_default() += 1;
            if peer.presence == Presence::Online {
                *by_trust.entry(peer.trust).or_default() += 1;
            }
        }
        let presences = [Presence::Seen, Presence::Online, Presence::Stale, Presence::Unreachable, Presence::Offline];
        for presence in presences {
            let peers = by_presence.get(&presence).copied().unwrap_or(0);
            set(&self.peers.get_or_create(&[("presence", presence.name())]), peers);
        }
        for trust in [Trust::Unverified, Trust::Verified, Trust::Known] {
            let peers = by_trust.get(&trust).copied().unwrap_or(0);
            set(&self.trusted.get_or_create(&[("trust", trust.name())]), peers);
        }
        set(&self.links, view.links.len());
        for source in Source::ALL {
            if let Some(health) = view.sources.get(&source) {
                let working = i64::from(*health == SourceHealth::Up);
                self.sources.get_or_create(&[("source", source.name())]).set(working);
            }
        }
        self.skew.set(view.skew_ms as f64 / 1000.0);
        self.twin.set(view.twin.is_some().into());
    }
}

pub(super) fn set(gauge: &Gauge<i64, AtomicI64>, value: usize) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

/// Takes over a count that somebody else keeps.
pub(super) fn set_counter(counter: &Counter, value: u64) {
    counter.inner().store(value, Ordering::Relaxed);
}

/// What this process uses, as Linux tells; zeros where it does not.
struct Used {
    cpu: Duration,
    memory: usize,
    files: usize,
}

impl Used {
    fn now() -> Self {
        /// Linux counts processor time in hundredths of a second for everybody (USER_HZ).
        const TICK: Duration = Duration::from_millis(10);
        /// The page size where it matters; `/proc` counts memory in pages.
        const PAGE: usize = 4096;
        let statistics = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // The name of the program may hold spaces and ends with a bracket; what follows is numbers.
        let fields: Vec<&str> = statistics.rsplit(") ").next().unwrap_or_default().split(' ').collect();
        let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
        Self {
            cpu: TICK * (field(14).saturating_add(field(15))),
            memory: field(24) as usize * PAGE,
            files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        }
    }
}
