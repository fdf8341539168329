//! A call whose answer comes event by event: how far it is, what came of it, and at last the signature over all of that.
//! Nothing but progress is used before the signature holds. See "Calls" in `protocols/federation.md`.

use super::{ANSWER_MAX, Asked, Client, Failure, refused};
use crate::federation::http::{Answer, Unanswered};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use bytes::Bytes;
use comity_core::federation::Origin;
use comity_core::time::Timestamp;
use comity_core::wire::federation::stream::{CONTENT_TYPE as EVENTS, Chain, PROGRESS, RESULT, SIGNATURE};
use comity_core::wire::strict;
use futures_util::StreamExt;
use http_body_util::{BodyExt, Limited};
use serde_json::Value;
use sse_stream::{Sse, SseStream};
use std::io;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Largest word of progress, bytes; what is larger is not shown.
const PROGRESS_MAX: usize = 4096;

impl Client {
    /// One signed request that is answered event by event. Whoever answers with a document instead is understood as well.
    pub(crate) async fn ask_streamed(
        &self,
        to: &Origin,
        path: &str,
        (body, within): (Bytes, Duration),
        progress: &mpsc::Sender<Value>,
    ) -> Result<(Bytes, Timestamp), Failure> {
        let (asked, mut headers) = self.sign(to, (Method::POST, path), &body).await?;
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream, application/json;q=0.9"));
        let answering = self.follow(&asked, (headers, body), progress);
        let late = || Failure::Unanswered { origin: to.clone(), why: Unanswered::Late(within) };
        timeout(within, answering).await.unwrap_or_else(|_| Err(late()))
    }

    async fn follow(
        &self,
        asked: &Asked,
        (headers, body): (HeaderMap, Bytes),
        progress: &mpsc::Sender<Value>,
    ) -> Result<(Bytes, Timestamp), Failure> {
        let unanswered = |why| Failure::Unanswered { origin: asked.to.clone(), why };
        let broke_off = |why: String| unanswered(Unanswered::Connection(format!("the answer broke off: {why}")));
        let target = (asked.method.clone(), asked.uri.clone());
        let begun = self.origins.http().begin(target, headers, body).await.map_err(unanswered)?;
        let (head, body) = begun.into_parts();
        let body = Limited::new(body, ANSWER_MAX);
        if !is_stream(&head.headers) {
            let body = body.collect().await.map_err(|error| broke_off(error.to_string()))?.to_bytes();
            return self.judge(asked, Answer { status: head.status, headers: head.headers, body }).await;
        }
        let bytes = body.into_data_stream().map(|piece| piece.map_err(io::Error::other));
        let mut events = SseStream::from_bytes_stream(bytes);
        let (mut chain, mut result) = (Chain::default(), None);
        while let Some(event) = events.next().await {
            let Sse { event, data, .. } = event.map_err(|error| broke_off(error.to_string()))?;
            let (name, data) = (event.unwrap_or_default(), data.unwrap_or_default());
            if name == SIGNATURE {
                let at = self.prove(asked, &data, head.status, chain.content()).await?;
                return self.proven(asked, head.status, result, at);
            }
            chain.add(data.as_bytes());
            match name.as_str() {
                PROGRESS => tell(progress, &data),
                RESULT if result.is_none() => result = Some(Bytes::from(data)),
                _ => {}
            }
        }
        Err(asked.unproven(head.status, "it ended without a signature".to_owned()))
    }

    fn proven(
        &self,
        asked: &Asked,
        status: StatusCode,
        result: Option<Bytes>,
        at: Timestamp,
    ) -> Result<(Bytes, Timestamp), Failure> {
        let nothing = || Failure::Unreadable { origin: asked.to.clone(), why: "its events bring no result".to_owned() };
        let body = result.ok_or_else(nothing)?;
        if status.is_success() {
            return Ok((body, at));
        }
        Err(refused(&asked.to, &Answer { status, headers: HeaderMap::new(), body }))
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(EVENTS))
}

/// Shows how far it is. It is not proven yet, and nothing rests on it.
fn tell(progress: &mpsc::Sender<Value>, data: &str) {
    if data.len() <= PROGRESS_MAX
        && let Ok(said) = strict::parse(data.as_bytes())
        && said.is_object()
    {
        // Err: nobody wants it, or what was said before is not read yet.
        let _ = progress.try_send(said);
    }
}
