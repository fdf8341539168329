//! What a request of the control door says, read strictly: duplicate keys, deep nesting and wrong
//! types are refused with the field that is wrong.

use super::denied::Denied;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use comity_core::wire::strict;
use serde::de::DeserializeOwned;

/// The JSON body of a request.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Denied;

    async fn from_request(request: Request, state: &S) -> Result<Self, Denied> {
        let bytes = json_bytes(request, state).await?;
        let value = strict::parse(&bytes).map_err(|bad| Denied::field("", bad.to_string()))?;
        serde_json::from_value(value).map(Self).map_err(|wrong| Denied::field("", wrong.to_string()))
    }
}

/// The bytes of a body that says it is JSON.
async fn json_bytes<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Denied> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        let sentence = "the body must be application/json";
        return Err(Denied::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "bad_request", sentence));
    }
    Bytes::from_request(request, state).await.map_err(|unread| match unread.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Denied::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is larger than this path takes")
        }
        status => Denied::new(status, "bad_request", "the body could not be read"),
    })
}

/// The JSON body of a request that may be longer than others, and is read as it is parsed: a duplicate key is refused by
/// whatever it is read into.
pub(crate) struct LongBody<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for LongBody<T> {
    type Rejection = Denied;

    async fn from_request(request: Request, state: &S) -> Result<Self, Denied> {
        let bytes = json_bytes(request, state).await?;
        serde_json::from_slice(&bytes).map(Self).map_err(|wrong| Denied::field("", wrong.to_string()))
    }
}

/// The query part of a request.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Denied;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Denied> {
        let read = Query::try_from_uri(&parts.uri);
        read.map(|Query(params)| Self(params)).map_err(|wrong| Denied::field("", wrong.body_text()))
    }
}
