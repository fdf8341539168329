//! The operations of "Operations" in `protocols/pubsub.md` that are said of one topic or type, and what a program does
//! with what it hears.

use super::{Said, TopicError, Topics, read};
use crate::network::{Message, Messages};
use comity_core::channel::Channel;
use comity_core::node::ListenFilter;
use comity_core::topic::Topic;
use comity_core::wire::gossip::Kind;
use serde_json::{Map, Value};
use tokio::task::JoinHandle;

/// A program's handler of a topic. Dropping it ends the handling.
#[derive(Debug)]
#[must_use = "dropping it ends the handling"]
pub struct Handling(JoinHandle<()>);

impl Drop for Handling {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Topics {
    /// Publishes a message of a coordination type where tasks are coordinated.
    ///
    /// # Errors
    /// As [`Topics::publish_to`].
    pub async fn publish_coordination(&self, kind: Kind, data: Map<String, Value>) -> Result<(), TopicError> {
        self.publish_to(self.names().coordination().name(), Said::new(kind, data)).await
    }

    /// Publishes a message of a type of meta-discussion or roles where those are discussed.
    ///
    /// # Errors
    /// As [`Topics::publish_to`].
    pub async fn publish_meta(&self, kind: Kind, data: Map<String, Value>) -> Result<(), TopicError> {
        self.publish_to(self.names().meta().name(), Said::new(kind, data)).await
    }

    /// Publishes a message of a context type where contexts are spoken of.
    ///
    /// # Errors
    /// As [`Topics::publish_to`].
    pub async fn publish_context_feedback(&self, kind: Kind, data: Map<String, Value>) -> Result<(), TopicError> {
        self.publish_to(self.names().context().name(), Said::new(kind, data)).await
    }

    /// Says that a SLURP event was generated.
    ///
    /// # Errors
    /// As [`Topics::publish_to`].
    pub async fn publish_slurp_event_generated(&self, data: Map<String, Value>) -> Result<(), TopicError> {
        self.publish_context_feedback(Kind::SlurpEventGenerated, data).await
    }

    /// Acknowledges a SLURP event.
    ///
    /// # Errors
    /// As [`Topics::publish_to`].
    pub async fn publish_slurp_event_ack(&self, data: Map<String, Value>) -> Result<(), TopicError> {
        self.publish_context_feedback(Kind::SlurpEventAck, data).await
    }

    /// Says that a SLURP context has changed.
    ///
    /// # Errors
    /// As [`Topics::publish_to`].
    pub async fn publish_slurp_context_update(&self, data: Map<String, Value>) -> Result<(), TopicError> {
        self.publish_context_feedback(Kind::SlurpContextUpdate, data).await
    }

    /// Joins a topic and publishes a payload there as it is: the room of an issue, say.
    ///
    /// # Errors
    /// As [`Topics::join`] and [`Topics::publish_raw`].
    pub async fn join_and_publish(&self, topic: &str, payload: Vec<u8>) -> Result<(), TopicError> {
        self.join(topic).await?;
        self.publish_raw(topic, payload).await
    }

    /// What is heard on a topic from now on, which is joined, whatever the attention mode. [`Message::raw`] is what was
    /// published.
    ///
    /// # Errors
    /// As [`Topics::join`].
    pub async fn messages_on(&self, topic: &str) -> Result<Messages, TopicError> {
        self.join(topic).await?;
        Ok(self.listen_to(&read(topic)?).await)
    }

    /// Joins a topic, and does this with every message heard on it from now on, one after the other, until what is
    /// returned is dropped.
    ///
    /// # Errors
    /// As [`Topics::join`].
    pub async fn subscribe_raw<H, F>(&self, topic: &str, handler: H) -> Result<Handling, TopicError>
    where
        H: FnMut(Message) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.join(topic).await?;
        Ok(self.handle(&read(topic)?, handler).await)
    }

    /// Does this with every message of meta-discussion and roles from now on, in place of an earlier handler.
    pub async fn set_meta_handler<H, F>(&self, handler: H)
    where
        H: FnMut(Message) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.set_handler(self.names().meta().clone(), handler).await;
    }

    /// Does this with every message about contexts from now on, in place of an earlier handler.
    pub async fn set_context_handler<H, F>(&self, handler: H)
    where
        H: FnMut(Message) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        self.set_handler(self.names().context().clone(), handler).await;
    }

    async fn set_handler<H, F>(&self, topic: Topic, handler: H)
    where
        H: FnMut(Message) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let handling = self.handle(&topic, handler).await;
        let mut handlers = self.0.handlers();
        handlers.retain(|(handled, _)| *handled != topic);
        handlers.push((topic, handling));
    }

    async fn handle<H, F>(&self, topic: &Topic, mut handler: H) -> Handling
    where
        H: FnMut(Message) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut messages = self.listen_to(topic).await;
        Handling(tokio::spawn(async move {
            while let Some(message) = messages.next().await {
                handler(message).await;
            }
        }))
    }

    async fn listen_to(&self, topic: &Topic) -> Messages {
        let filter = match Channel::new(topic.name()) {
            Ok(channel) => ListenFilter::Topic(channel),
            // What is joined is a channel, too.
            Err(_) => ListenFilter::All,
        };
        Messages::new(self.0.handle.listen(filter).await)
    }
}
