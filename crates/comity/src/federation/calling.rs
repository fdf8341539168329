//! Calls of tools between origins. Whose tools may be called with what is decided by the policy in
//! `comity_core::tool`; here calls come and go. See "Calls" in `protocols/federation.md`.

use super::Federation;
use super::answering::NotAnswered;
use super::client::{ANSWER_TIME, Failure};
use crate::door::shown;
use crate::redaction::labels;
use crate::tool::{self, CallError, Caller};
use axum::http::Method;
use comity_core::federation::Origin;
use comity_core::redact::Typed;
use comity_core::wire::federation::body::{Call, CallFailed, Called, Capabilities, Capability, ID_MAX, path};
use serde_json::Value;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How much longer than the call itself its answer may take.
const GRACE: Duration = Duration::from_secs(5);

/// How long a call may take when nobody says: as long as any tool server may.
const CALL_TIME: Duration = Duration::from_secs(300);

/// Longest text of another origin that is shown, characters.
const TEXT_MAX: usize = 1000;

impl Federation {
    /// Another origin calls a tool of this one.
    pub(crate) async fn called(&self, from: &Origin, wanted: Call) -> Result<Called, NotAnswered> {
        if !(1..=ID_MAX).contains(&wanted.call_id.len()) {
            return Err(NotAnswered::bad("/call_id", "an id of 1 to 128 bytes is wanted"));
        }
        let server = wanted.target.split_once('/').filter(|(origin, _)| *origin == self.origin().as_str());
        let Some((_, server)) = server else {
            let detail = format!("{}/<tool server> is wanted", self.origin());
            return Err(NotAnswered::bad("/target", detail));
        };
        let call_id = shown::text(&wanted.call_id, ID_MAX);
        let call = tool::Call {
            caller: Caller::Origin(from.clone()),
            call_id: wanted.call_id,
            server: server.to_owned(),
            tool: wanted.tool,
            params: wanted.params,
            timeout: wanted.timeout_ms.map(Duration::from_millis),
            progress: None,
        };
        // Whoever hangs up does not want it any more: this future is dropped then, and the call with it.
        let cancel = CancellationToken::new();
        let _guard = cancel.clone().drop_guard();
        Ok(match self.0.tools.call(call, cancel).await {
            Ok(result) => Called { call_id, result: Some(result), error: None },
            Err(CallError { code, message, data }) => {
                let error = CallFailed { code: code.to_owned(), message, data };
                Called { call_id, result: None, error: Some(error) }
            }
        })
    }

    /// The tools that this origin opens to another.
    pub(crate) fn capabilities(&self, from: &Origin) -> Capabilities {
        let shown = |tool: &tool::Tool| Capability {
            target: format!("{}/{}", self.origin(), tool.server),
            name: tool.name.clone(),
            description: tool.description.clone(),
            input_schema: (*tool.input).clone(),
            output_schema: tool.output.as_deref().cloned(),
            hash: Some(tool.hash.iter().map(|byte| format!("{byte:02x}")).collect()),
        };
        let tools = self.0.tools.open_to(&Caller::Origin(from.clone()));
        Capabilities { tools: tools.iter().map(|tool| shown(tool)).collect() }
    }

    /// Calls a tool of another origin. Its errors are its own, cleaned.
    pub(crate) async fn call(
        &self,
        to: &Origin,
        (server, tool): (&str, &str),
        params: Value,
        timeout: Option<Duration>,
    ) -> Result<Value, CallFailed> {
        let handle = &self.0.handle;
        let params = match handle.redaction().document(
            &params,
            &Typed::default(),
            || labels("call", server, tool),
            handle.now().wall,
        ) {
            std::borrow::Cow::Borrowed(_) => params,
            std::borrow::Cow::Owned(clean) => clean,
        };
        let call_id = Uuid::new_v4().to_string();
        let timeout_ms = timeout.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let target = format!("{to}/{server}");
        let call = Call { call_id, target, tool: tool.to_owned(), params, timeout_ms, trace: None };
        let body = serde_json::to_vec(&call).expect("texts and numbers are JSON");
        let within = timeout.unwrap_or(CALL_TIME).saturating_add(GRACE).max(ANSWER_TIME);
        let asked = self.0.client.ask(to, (Method::POST, path::CALL), body.into(), within).await;
        let failed = |code: &str, message: String| CallFailed { code: code.to_owned(), message, data: None };
        let (answer, _) = asked.map_err(|failure| match &failure {
            Failure::Refused { code, .. } => failed(code, failure.to_string()),
            _ => failed("unreachable", failure.to_string()),
        })?;
        let called = comity_core::wire::strict::parse(&answer).ok();
        let called = called.and_then(|value| serde_json::from_value::<Called>(value).ok());
        match called {
            Some(Called { result: Some(result), error: None, .. }) => Ok(result),
            Some(Called { error: Some(CallFailed { code, message, data }), .. }) => {
                let text = |text: &str| shown::text(text, TEXT_MAX);
                Err(CallFailed { code: text(&code), message: text(&message), data })
            }
            _ => Err(failed("bad_result", format!("{to} answers something else than a call's end"))),
        }
    }

    /// The tools that another origin opens to this one. What they say of themselves is data.
    pub(crate) async fn capabilities_of(&self, to: &Origin) -> Result<Vec<Capability>, Failure> {
        let listed: Capabilities = self.0.client.get(to, path::CAPABILITIES).await?;
        let clean = |tool: Capability| {
            let text = |text: &str| shown::text(text, TEXT_MAX);
            Capability {
                target: text(&tool.target),
                name: text(&tool.name),
                description: text(&tool.description),
                hash: tool.hash.as_deref().map(text),
                ..tool
            }
        };
        Ok(listed.tools.into_iter().map(clean).collect())
    }
}
