//! The thread of a trace from node to node: `traceparent` (W3C Trace Context), as it travels in
//! messages.

use comity_core::channel::Channel;
use comity_core::envelope::Received;
use comity_core::id::MessageId;
use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use std::sync::atomic::{AtomicBool, Ordering};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Whether spans go to a collector: without one, messages carry no trace.
static TRACING: AtomicBool = AtomicBool::new(false);

/// From now on messages carry the trace they belong to.
pub(super) fn begin() {
    TRACING.store(true, Ordering::Relaxed);
}

/// Notes in the present trace, or a new one, that a message leaves here; what the message must
/// carry so that the receiver goes on with the same trace.
pub(crate) fn sent(id: MessageId, channel: &Channel) -> Option<String> {
    if !TRACING.load(Ordering::Relaxed) {
        return None;
    }
    tracing::info_span!("message sent", %id, %channel).in_scope(traceparent)
}

/// Notes in the trace that a message names, if it names one, that it was admitted here.
pub(crate) fn admitted(received: &Received) {
    if !TRACING.load(Ordering::Relaxed) {
        return;
    }
    let message = &received.message;
    let named = message.more.as_ref().and_then(|more| more.traceparent.as_deref());
    if let (Some(named), Some(id)) = (named, message.id) {
        let span = tracing::info_span!("message admitted", %id, channel = %message.channel, from = %message.from);
        follow(&span, named);
        // A span is kept only once it was entered.
        span.in_scope(|| {});
    }
}

/// The current span as a `traceparent` for a message that leaves; `None` when nothing is traced.
pub(super) fn traceparent() -> Option<String> {
    let span = Span::current();
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    context
        .is_valid()
        .then(|| format!("00-{}-{}-{:02x}", context.trace_id(), context.span_id(), context.trace_flags().to_u8()))
}

/// Makes the span a child of the one that a message names. What is not a `traceparent` is passed
/// over: anybody may have written it.
pub(super) fn follow(span: &Span, traceparent: &str) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = parse(traceparent) {
        // Err: traces are off.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Version 00, or what a later version has in its place.
pub(super) fn parse(text: &str) -> Option<SpanContext> {
    let mut parts = text.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let more = parts.next().is_some();
    if !lower_hex(version, 2) || version == "ff" || (version == "00" && more) {
        return None;
    }
    if !lower_hex(trace, 32) || !lower_hex(span, 16) || !lower_hex(flags, 2) {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}
