//! What the node's view says in numbers, at the time of asking.

use comity_core::ledger::FateKind;
use comity_core::node::{NodeView, SourceHealth};
use comity_core::peers::PeerView;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The state of a node and its checks.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) view: Arc<NodeView>,
    pub(super) standing: Vec<(&'static str, bool)>,
}

/// One label and its value.
type Label = [(&'static str, &'static str); 1];

impl Collector for Snapshot {
    fn encode(&self, mut out: DescriptorEncoder<'_>) -> fmt::Result {
        let view = &*self.view;
        self.peers(&mut out)?;
        self.messages(&mut out)?;
        let seconds = Some(Unit::Seconds);
        gauge(&mut out, "comity_system_uptime", "Time since the node started", seconds.as_ref(), view.uptime.as_secs_f64())?;
        let skew = millis(view.skew_ms);
        let help = "Median of how far the peers' clocks are ahead of this one";
        gauge(&mut out, "comity_system_clock_skew", help, seconds.as_ref(), skew)?;
        let help = "Whether the disk took the last record";
        gauge(&mut out, "comity_system_store_writable", help, None, flag(view.disk_ok))?;
        let checks = self.standing.iter().map(|(name, up)| ([("check", *name)], flag(*up)));
        gauges(&mut out, "comity_health_check_up", "Whether a check does not fail", checks)
    }
}

impl Snapshot {
    fn peers(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let view = &*self.view;
        let by_presence = tally(&view.peers, |peer| [("presence", peer.presence.name())]);
        gauges(out, "comity_p2p_peers", "Peers in the peer book, by presence", by_presence)?;
        let by_trust = tally(&view.peers, |peer| [("trust", peer.trust.name())]);
        gauges(out, "comity_p2p_trusted_peers", "Peers in the peer book, by trust", by_trust)?;
        gauge(out, "comity_p2p_links", "Links to other nodes", None, view.links.len() as f64)?;
        let up = |health: &SourceHealth| flag(matches!(health, SourceHealth::Up));
        let sources = view.sources.iter().map(|(source, health)| ([("source", source.name())], up(health)));
        gauges(out, "comity_p2p_discovery_source_up", "Whether a source of discovery works", sources)
    }

    fn messages(&self, out: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let view = &*self.view;
        let inbox = view.inbox.iter().map(|(priority, items)| ([("priority", priority.name())], *items as f64));
        gauges(out, "comity_p2p_inbox_messages", "Messages in the inbox, by priority", inbox)?;
        for (name, help, value) in [
            ("comity_p2p_digest_messages", "Messages in the digest that was not taken", view.digest_total as f64),
            ("comity_p2p_outbound_messages", "Messages that wait to be sent", view.outbound as f64),
            ("comity_p2p_pending_requests", "Queries that wait for an answer", view.requests as f64),
            ("comity_p2p_remembered_ids", "Message ids remembered against duplicates", view.seen as f64),
        ] {
            gauge(out, name, help, None, value)?;
        }
        let admitted = [([], view.admitted)];
        counters(out, "comity_p2p_admitted_messages", "Messages admitted since the start", admitted)?;
        let help = "What became of messages that came in";
        counters(out, "comity_p2p_received_messages", help, fates(&view.fates_in))?;
        counters(out, "comity_p2p_sent_messages", "What became of messages that were sent", fates(&view.fates_out))
    }
}

fn fates(fates: &BTreeMap<FateKind, u64>) -> impl Iterator<Item = (Label, u64)> {
    fates.iter().map(|(fate, count)| ([("fate", fate.name())], *count))
}

fn tally(peers: &[PeerView], label: impl Fn(&PeerView) -> Label) -> impl Iterator<Item = (Label, f64)> {
    let mut counts = BTreeMap::<Label, f64>::new();
    for peer in peers {
        *counts.entry(label(peer)).or_default() += 1.0;
    }
    counts.into_iter()
}

fn gauge(out: &mut DescriptorEncoder<'_>, name: &str, help: &str, unit: Option<&Unit>, value: f64) -> fmt::Result {
    ConstGauge::new(value).encode(out.encode_descriptor(name, help, unit, MetricType::Gauge)?)
}

fn gauges(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (Label, f64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (label, value) in values {
        ConstGauge::new(value).encode(family.encode_family(&label)?)?;
    }
    Ok(())
}

fn counters<const N: usize>(
    out: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = ([(&'static str, &'static str); N], u64)>,
) -> fmt::Result {
    let mut family = out.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, value) in values {
        ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn flag(on: bool) -> f64 {
    f64::from(u8::from(on))
}

/// Milliseconds in seconds.
fn millis(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
