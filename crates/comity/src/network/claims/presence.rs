//! What a node says of itself where tasks are coordinated: that it is there, how much it has to do, and what it can do.

use super::members;
use super::run::Runner;
use crate::network::topics::TopicError;
use comity_core::time::Timestamp;
use comity_core::wire::gossip::body::{ASKS, Availability, Status, TASKS_MAX};
use comity_core::wire::gossip::{Envelope, Kind, Priority};
use serde_json::{Map, Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// How often a node says that it is there: the protocol's.
pub(super) const INTERVAL: Duration = Duration::from_secs(30);

/// How soon it is tried again to say so, while nobody listens.
const NOBODY_AGAIN: Duration = Duration::from_secs(1);

/// How often a node says so because somebody began to listen, at most.
const LISTENED_EVERY: Duration = Duration::from_millis(500);

/// What this node says of itself.
pub(super) struct Presence {
    /// When it is said again.
    pub(super) at: Instant,
    said_at: Option<Instant>,
    /// Whether it asks others how tasks stand.
    asks: bool,
    pub(super) active_at: Timestamp,
    /// What it can do, as was said last.
    pub(super) capabilities: Option<Value>,
}

impl Presence {
    /// Nothing was said yet but what was said of capabilities before a restart.
    pub(super) fn new(kept: &Value, now: Timestamp) -> Self {
        let capabilities = Some(kept.clone()).filter(|kept| !kept.is_null());
        Self { at: Instant::now(), said_at: None, asks: true, active_at: now, capabilities }
    }

    /// Somebody began to listen: it is told soon, and asked.
    pub(super) fn greet(&mut self) {
        let soon = self.said_at.map_or_else(Instant::now, |said| said + LISTENED_EVERY);
        (self.asks, self.at) = (true, self.at.min(soon));
    }
}

impl Runner {
    /// Says that this node is there, and what it can do if that was not said; not while nobody listens.
    pub(super) async fn be_present(&mut self) {
        let (now, me) = (Instant::now(), self.handle.me());
        let (wall, node_id) = (self.handle.now().wall, me.node().to_string());
        let current_tasks = u64::try_from(self.state.held()).unwrap_or(u64::MAX);
        let availability = Availability {
            node_id: node_id.clone(),
            available_for_work: current_tasks < TASKS_MAX,
            current_tasks,
            max_tasks: TASKS_MAX,
            last_activity: self.presence.active_at,
            status: Status::of(current_tasks, TASKS_MAX),
            timestamp: wall,
        };
        let mut data = availability.to_data();
        if self.presence.asks {
            data.insert(ASKS.to_owned(), true.into());
        }
        let capabilities = json!(me.about().capabilities);
        let able = json!({ "node_id": node_id, "capabilities": capabilities, "version": me.about().version });
        if self.say_of_myself(Kind::AvailabilityBroadcast, data).await.is_err() {
            self.presence.at = now + NOBODY_AGAIN;
            return;
        }
        (self.presence.asks, self.presence.said_at, self.presence.at) = (false, Some(now), now + INTERVAL);
        // That it can do something at all is a change, too: programs that only gossip see no card.
        let is_news = self.presence.capabilities.as_ref() != Some(&capabilities);
        if is_news && self.say_of_myself(Kind::CapabilityBroadcast, members(&able)).await.is_ok() {
            self.presence.capabilities = Some(capabilities);
            self.state.mark_changed();
        }
    }

    async fn say_of_myself(&self, kind: Kind, data: Map<String, Value>) -> Result<(), TopicError> {
        let (from, at) = (self.handle.me().node().into(), self.handle.now().wall);
        self.publish(Envelope { priority: Some(Priority::Low), ..Envelope::new(kind, from, at, data) }).await
    }
}
