//! The streams of the control door: peers that come and go, messages, queries, the inbox as it
//! grows. Watching takes nothing away from anybody; only queries are handed to whoever reads them.

use super::denied::Denied;
use super::desk::{Desk, name};
use super::feed::feed;
use super::read::Params;
use super::target::{self, Target};
use crate::driver::Handle;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use comity_core::envelope::Received;
use comity_core::id::PeerId;
use comity_core::node::{Event, ListenFilter, NodeView};
use comity_core::wire::control::{self, PeerChange, Watched};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

/// Items of the inbox that are read at once while following it.
const PAGE: usize = 100;

/// How long a follower of the inbox sleeps at most: an item is listed once it is on disk, which is
/// a little after the event that tells of it.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How old the names of peers may be when a stream meets somebody it does not know.
const NAMES_AGE_MAX: Duration = Duration::from_secs(1);

/// Everybody who is there, and then every change.
pub(super) async fn peer_changes(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    // First the events, then the view: a change between the two is told twice rather than never.
    let events = desk.handle.peer_events();
    let view = desk.handle.look().await;
    feed(&desk.handle, &headers, |out| async move {
        for peer in &view.peers {
            let peer = Box::new(control::Peer::from(peer));
            if out.send(PeerChange::Present { peer }).await.is_err() {
                return;
            }
        }
        pass_on(events, out, change, |skipped| PeerChange::Lagged { skipped }).await;
    })
}

/// The event as a change among the peers, if it is one.
fn change(event: &Event) -> Option<PeerChange> {
    Some(match event {
        Event::PeerJoined(view) => PeerChange::Joined { peer: Box::new((&**view).into()) },
        Event::PeerUpdated(view) => PeerChange::Updated { peer: Box::new((&**view).into()) },
        Event::PeerLeft { peer, name, goodbye } => {
            PeerChange::Left { id: peer.0, name: name.clone(), goodbye: *goodbye }
        }
        Event::PeerStatus { peer, status } => PeerChange::Status { id: peer.0, status: status.clone() },
        Event::Message(_) | Event::OwnStatus(_) | Event::Twin { .. } | Event::Evicted { .. } => return None,
    })
}

/// Passes the events that are wanted on, until the reader goes or the node ends.
async fn pass_on<T>(
    mut events: broadcast::Receiver<Arc<Event>>,
    out: mpsc::Sender<T>,
    wanted: impl Fn(&Event) -> Option<T>,
    lagged: impl Fn(u64) -> T,
) {
    loop {
        let value = match events.recv().await {
            Ok(event) => wanted(&event),
            Err(RecvError::Lagged(skipped)) => Some(lagged(skipped)),
            Err(RecvError::Closed) => return,
        };
        if let Some(value) = value
            && out.send(value).await.is_err()
        {
            return;
        }
    }
}

/// Whose messages.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Watch {
    target: Option<String>,
}

/// Every message that is admitted from now on: of one peer, on one channel, or all. A channel is
/// subscribed to, if it is not yet: nobody sends here what nobody here listens to.
pub(super) async fn messages(
    State(desk): State<Desk>,
    Params(watch): Params<Watch>,
    headers: HeaderMap,
) -> Result<Response, Denied> {
    let view = desk.handle.look().await;
    let target = watch.target.as_deref().map(|text| target::resolve(&view, text)).transpose()?;
    let events = desk.handle.events();
    match &target {
        Some(Target::Channel(channel)) if !view.subscriptions.contains_key(channel) => {
            desk.subscribe(control::Subscription { channel: channel.to_string(), quiet: false }).await?;
        }
        Some(Target::Topic(topic)) => drop(desk.join(topic.name()).await?),
        _ => {}
    }
    let mut names = Names::of(view);
    let handle = desk.handle.clone();
    Ok(feed(&desk.handle, &headers, |out| async move {
        let (sender, mut wanted) = mpsc::channel(1);
        let filter = move |event: &Event| match event {
            Event::Message(received) if is_wanted(received, target.as_ref()) => Some(Ok(received.clone())),
            _ => None,
        };
        let passing = pass_on(events, sender, filter, Err);
        let telling = async {
            while let Some(next) = wanted.recv().await {
                let watched = match next {
                    Ok(received) => names.watched(&handle, &handle.me().open(received, handle.counters())).await,
                    Err(skipped) => Watched::Lagged { skipped },
                };
                if out.send(watched).await.is_err() {
                    return;
                }
            }
        };
        tokio::join!(passing, telling);
    }))
}

fn is_wanted(received: &Received, target: Option<&Target>) -> bool {
    match target {
        None => true,
        Some(Target::Peer(peer)) => received.message.from == *peer,
        Some(Target::Channel(channel) | Target::Topic(channel)) => received.message.channel == *channel,
    }
}

/// Every query from now on: whoever reads this stream answers for the node.
pub(super) async fn queries(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    let mut listener = desk.handle.listen(ListenFilter::Queries).await;
    let mut names = Names::of(desk.handle.look().await);
    let handle = desk.handle.clone();
    feed(&desk.handle, &headers, |out| async move {
        while let Some(received) = listener.recv().await {
            if out.send(names.watched(&handle, &received).await).await.is_err() {
                return;
            }
        }
    })
}

/// From where on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct After {
    after: Option<u64>,
}

/// Items of the inbox that arrived later than a number, and then every one that arrives.
pub(super) async fn arrivals(State(desk): State<Desk>, Params(after): Params<After>, headers: HeaderMap) -> Response {
    let mut events = desk.handle.events();
    let follower = desk.clone();
    feed(&desk.handle, &headers, |out| async move {
        let mut last = after.after.unwrap_or(0);
        loop {
            let Ok(items) = follower.peek(last, PAGE).await else { return };
            let full = items.len() == PAGE;
            for item in items {
                last = item.arrival;
                if out.send(item).await.is_err() {
                    return;
                }
            }
            // A follower that lags behind the events has lost nothing: it reads the inbox.
            if !full
                && let Ok(Err(RecvError::Closed)) = tokio::time::timeout(LOOK_AGAIN, next_message(&mut events)).await
            {
                return;
            }
        }
    })
}

async fn next_message(events: &mut broadcast::Receiver<Arc<Event>>) -> Result<(), RecvError> {
    loop {
        if let Event::Message(_) = &*events.recv().await? {
            return Ok(());
        }
    }
}

/// The names of peers, read anew when somebody new speaks.
struct Names {
    view: Arc<NodeView>,
    read_at: Instant,
}

impl Names {
    fn of(view: Arc<NodeView>) -> Self {
        Self { view, read_at: Instant::now() }
    }

    async fn watched(&mut self, handle: &Handle, received: &Received) -> Watched {
        if self.name(received.message.from).is_none() && self.read_at.elapsed() > NAMES_AGE_MAX {
            *self = Self::of(handle.look().await);
        }
        Watched::Message { message: Box::new(control::Message::of(received, |id| self.name(id))) }
    }

    fn name(&self, id: PeerId) -> Option<String> {
        name(&self.view, id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_is_evicted_leaves_once() {
        let (peer, name) = (PeerId(uuid::Uuid::nil()), "x".to_owned());
        let left = Event::PeerLeft { peer, name: name.clone(), goodbye: false };
        let changes = [left, Event::Evicted { peer, name }];
        let left = changes.iter().filter_map(change).filter(|change| matches!(change, PeerChange::Left { .. }));
        assert_eq!(left.count(), 1);
    }
}
