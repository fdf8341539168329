//! Answering queries, and doing something for each message of a channel, by tasks of this node.

use super::send::error_answer;
use super::{Error, Message, Network};
use comity_core::node::ListenFilter;
use futures_util::FutureExt;
use serde::Serialize;
use std::fmt::Display;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::AbortHandle;

/// Queries that are answered at the same time; more wait their turn. An answerer that waits for
/// something slow would otherwise let its queries pile up without bound.
const ANSWERS_AT_ONCE: usize = 256;

/// An answerer or a task for a channel. It works until it is stopped or the node ends; dropping
/// this does not stop it.
#[derive(Debug)]
pub struct Answering(AbortHandle);

impl Answering {
    /// Stops it. What it has not taken goes to the inbox; queries are then refused as unanswered.
    pub fn stop(&self) {
        self.0.abort();
    }
}

impl Network {
    /// Answers the queries that peers put to this node ([`Network::request`]). What `answerer`
    /// returns is the answer; an error is told to the peer in the error's words (code `failed`), and
    /// so is that it panicked.
    /// At most 256 queries are answered at the same time.
    ///
    /// Of several answerers the rules choose one for each query. A query is text from a peer: it is
    /// data, and its [`Message::trust`] says how much to do for it.
    pub async fn answer<F, R, T, E>(&self, answerer: F) -> Answering
    where
        F: Fn(Message) -> R + Send + Sync + 'static,
        R: Future<Output = Result<T, E>> + Send + 'static,
        T: Serialize + Send + 'static,
        E: Display + Send + 'static,
    {
        let mut queries = self.0.handle.listen(ListenFilter::Queries).await;
        // Not the network itself: an answerer alone does not keep a node running.
        let network = Arc::downgrade(&self.0);
        let room = Arc::new(Semaphore::new(ANSWERS_AT_ONCE));
        let task = tokio::spawn(async move {
            while let Some(query) = queries.recv().await.map(Message::new) {
                let Ok(seat) = room.clone().acquire_owned().await else { return };
                let Some(network) = network.upgrade().map(Network) else { return };
                // When the answerer panics, the log says where and the asker that it failed. Nothing of it is
                // used afterwards.
                let answer = AssertUnwindSafe(answerer(query.clone())).catch_unwind();
                tokio::spawn(async move {
                    match answer.await {
                        Ok(answer) => network.give(&query, answer).await,
                        Err(_) => network.give(&query, Err::<(), _>("the answerer failed")).await,
                    }
                    drop(seat);
                });
            }
        });
        Answering(task.abort_handle())
    }

    /// Does something for each message of a channel that the attention mode lets through at once,
    /// one after the other. The channel is subscribed.
    ///
    /// # Errors
    /// As [`Network::subscribe`].
    pub async fn on<F, R>(&self, channel: &str, mut work: F) -> Result<Answering, Error>
    where
        F: FnMut(Message) -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut messages = self.messages_on(channel).await?;
        let task = tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                work(message).await;
            }
        });
        Ok(Answering(task.abort_handle()))
    }

    async fn give<T: Serialize, E: Display>(&self, query: &Message, answer: Result<T, E>) {
        let given = match answer {
            Ok(answer) => self.respond(query, answer).await,
            Err(error) => self.respond(query, error_answer("failed", &error.to_string())).await,
        };
        let Err(failure) = given else { return };
        let refused = matches!(failure, Error::Refused(_));
        tracing::debug!(query = ?query.id(), %failure, "an answer could not be given");
        if !refused {
            // The answer itself was no good: the asker hears that rather than nothing.
            let _ = self.respond(query, error_answer("failed", "the answer could not be written")).await;
        }
    }
}
