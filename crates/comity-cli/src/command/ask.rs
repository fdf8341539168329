//! `comity ask`: puts a question to a peer and prints its answer.

use crate::args::Ask;
use crate::exit::Failure;
use crate::page::{Page, whole};
use crate::payload;
use comity_client::Client;
use serde_json::Value;

pub(crate) async fn run(client: &Client, wanted: Ask, page: &mut Page) -> Result<(), Failure> {
    let question = payload::read(&wanted.question)?;
    let answer = client.ask(&wanted.peer, question, wanted.timeout).await?;
    if page.json {
        page.value(&answer)?;
    } else {
        for line in lines(&answer.payload) {
            page.line(&whole(&line))?;
        }
    }
    // The answer of a peer that could not answer: printed, but not a success.
    match answer.payload.get("error") {
        Some(error) if !error.is_null() => Err(Failure::Unknown("the peer answered with an error".to_owned())),
        _ => Ok(()),
    }
}

/// An answer as it is read: a text in its lines, anything else as JSON.
fn lines(payload: &Value) -> Vec<String> {
    match payload {
        Value::String(text) => text.lines().map(str::to_owned).collect(),
        other => vec![other.to_string()],
    }
}
