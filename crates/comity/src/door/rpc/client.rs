//! One client of `GET /rpc`: its calls are answered, one frame after the other, and what it subscribed
//! to is told. One task does it all; an idle client costs little more than its socket.

use super::call::{self, Call, Code, Fault, Said};
use crate::door::dashflow::{Peers, RefusedVerdict, Taken};
use crate::door::events::{
    CLOSE_WITHIN, End, Filter, Missed, PING_EVERY, RUN_MAX, SILENT_MAX, Shown, Watch, in_time, send, shape, text_of,
};
use crate::door::problem::{self, Problem, ProblemFields};
use crate::door::{Door, Source, Visit};
use axum::extract::ws::{Message, WebSocket};
use axum::http::StatusCode;
use comity_core::channel::Channel;
use comity_core::envelope::Via;
use comity_core::limits;
use futures_util::SinkExt;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::future::pending;
use std::sync::Arc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// Subscriptions of one client, at most: an event is written once for each that wants it.
const SUBSCRIPTIONS_MAX: usize = 16;

/// How much a batch may have been answered, bytes, before the rest of it is refused: a peer list may be long, and a
/// batch may ask for it in every call.
const ANSWERS_MAX: usize = 8 * 1024 * 1024;

/// A client.
pub(in crate::door) struct Client {
    door: Door,
    source: Source,
    /// The stream of events, while it has subscriptions.
    watch: Option<Watch>,
    subscriptions: BTreeMap<u64, Filter>,
    /// The number of the last subscription.
    last: u64,
    /// Pings since the last sign of life.
    silent: u32,
}

/// Why a message was refused.
#[derive(Serialize)]
struct RefusedMessage {
    #[serde(flatten)]
    verdict: RefusedVerdict,
    #[serde(flatten)]
    problem: ProblemFields,
}

impl Client {
    /// A client that has just connected.
    pub(in crate::door) fn new(door: Door, source: Source) -> Self {
        Self { door, source, watch: None, subscriptions: BTreeMap::new(), last: 0, silent: 0 }
    }

    /// Serves it until it, or the node, ends.
    pub(super) async fn run(mut self, mut socket: WebSocket) {
        let stop = self.door.handle().stop().clone();
        let end = stop.run_until_cancelled(self.converse(&mut socket)).await.unwrap_or(End::Leaving);
        if let Some(close) = end.close_frame() {
            // Err: it does not matter how a connection that is given up ends.
            let _ = timeout(CLOSE_WITHIN, socket.send(Message::Close(Some(close)))).await;
        }
    }

    async fn converse(&mut self, socket: &mut WebSocket) -> End {
        let mut ping = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let step = tokio::select! {
                event = next(&mut self.watch) => self.tell(socket, event).await,
                frame = socket.recv() => self.take(socket, frame).await,
                _ = ping.tick() => self.ping(socket).await,
            };
            if let Err(end) = step {
                return end;
            }
        }
    }

    async fn take(&mut self, socket: &mut WebSocket, frame: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        self.silent = 0;
        let Some(text) = text_of(frame)? else { return Ok(()) };
        // Boxed: every idle client would hold room for it.
        match Box::pin(self.hear(text.as_bytes())).await {
            Some(answer) => send(socket, Message::Text(answer.into())).await,
            None => Ok(()),
        }
    }

    async fn ping(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        if self.silent >= SILENT_MAX {
            return Err(End::Gone);
        }
        self.silent += 1;
        let payload = self.subscriptions.values().any(|filter| filter.payload);
        if !self.door.may_watch(self.source, payload).await {
            return Err(End::NotAdmitted);
        }
        send(socket, Message::Ping(axum::body::Bytes::new())).await
    }

    /// Tells of this event and of those that wait behind it, then flushes.
    async fn tell(&mut self, socket: &mut WebSocket, first: Result<Arc<Shown>, Missed>) -> Result<(), End> {
        self.tell_one(socket, first).await?;
        for _ in 1..RUN_MAX {
            let Some(event) = self.watch.as_mut().and_then(Watch::ready) else { break };
            self.tell_one(socket, event).await?;
        }
        in_time(socket.flush()).await
    }

    async fn tell_one(&self, socket: &mut WebSocket, event: Result<Arc<Shown>, Missed>) -> Result<(), End> {
        for (number, filter) in &self.subscriptions {
            let text = match &event {
                Ok(shown) if !shown.passes(filter) => continue,
                Ok(shown) => call::notification(*number, shown.text(filter.payload)),
                Err(Missed::Some { seq, skipped }) => call::notification(*number, &shape::lagged(*seq, *skipped)),
                Err(Missed::TheEnd) => return Err(End::Leaving),
            };
            in_time(socket.feed(Message::Text(text.into()))).await?;
        }
        Ok(())
    }

    /// Does what a frame says; the answer, unless it is all notifications.
    pub(in crate::door) async fn hear(&mut self, text: &[u8]) -> Option<String> {
        if let Err(problem) = self.door.may_read(self.source, text.len()) {
            return Some(call::answer(&Value::Null, Err(refused(&problem))));
        }
        match Said::parse(text) {
            Said::One(read) => self.answer(read).await,
            Said::Batch(calls) => {
                let mut answers = String::new();
                for read in calls {
                    let answer = if answers.len() < ANSWERS_MAX { self.answer(read).await } else { too_much(read) };
                    if let Some(answer) = answer {
                        answers.push(if answers.is_empty() { '[' } else { ',' });
                        answers.push_str(&answer);
                    }
                }
                (!answers.is_empty()).then(|| answers + "]")
            }
        }
    }

    async fn answer(&mut self, read: call::Read) -> Option<String> {
        match read {
            Ok(mut call) => {
                let outcome = self.call(&mut call).await;
                call.id.map(|id| call::answer(&id, outcome))
            }
            Err((id, fault)) => Some(call::answer(&id, Err(fault))),
        }
    }

    async fn call(&mut self, call: &mut Call) -> Result<String, Fault> {
        match call.method.as_str() {
            "status" => {
                call.params(&[])?;
                let visit = self.visit().await?;
                Ok(shape::text(&self.door.status(&visit.view)))
            }
            "peers" => {
                call.params(&[])?;
                Ok(shape::text(&Peers::of(&self.visit().await?.view)))
            }
            "send" => self.send(call).await,
            "subscribe" => {
                let params = call.params(&["channels", "payload"])?;
                self.subscribe(params).await
            }
            "unsubscribe" => {
                let params = call.params(&["subscription"])?;
                self.unsubscribe(&params)
            }
            _ => Err(Fault::new(Code::NoSuchMethod, "Method not found")),
        }
    }

    /// Who looks at this node, as with each look by HTTP.
    async fn visit(&self) -> Result<Visit, Fault> {
        self.door.take_pace(self.source).map_err(|problem| refused(&problem))?;
        self.door.admit(self.source).await.map_err(|problem| refused(&problem))
    }

    async fn send(&self, call: &mut Call) -> Result<String, Fault> {
        let bare = call.whole().and_then(Value::as_object).is_some_and(|params| !params.contains_key("message"));
        let message = if bare { call.whole().cloned() } else { call.params(&["message"])?.remove("message") };
        let missing = || Fault::new(Code::InvalidParams, "Invalid params: message is wanted");
        let taken: Taken = self.door.take_parsed(message.ok_or_else(missing)?, self.source, Via::Rpc).await;
        match taken.verdict() {
            Ok(accepted) => Ok(shape::text(&accepted)),
            Err((problem, verdict)) => {
                Err(fault_of(problem).with(RefusedMessage { verdict, problem: problem.fields() }))
            }
        }
    }

    async fn subscribe(&mut self, params: Map<String, Value>) -> Result<String, Fault> {
        let filter = filter(&params)?;
        let visit = self.visit().await?;
        if filter.payload && !visit.is_known() {
            return Err(refused(&Problem::forbidden("payloads are shown to known peers only")));
        }
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let full = format!("there are {SUBSCRIPTIONS_MAX} subscriptions already");
            return Err(refused(&Problem::new(StatusCode::CONFLICT, problem::Code::Conflict, &full)));
        }
        if self.watch.is_none() {
            let joined = self.door.watch(Filter::default()).await.map_err(|problem| refused(&problem))?;
            self.watch = Some(joined);
        }
        self.last += 1;
        self.subscriptions.insert(self.last, filter);
        Ok(json!({ "subscription": self.last }).to_string())
    }

    fn unsubscribe(&mut self, params: &Map<String, Value>) -> Result<String, Fault> {
        let number = params.get("subscription").and_then(Value::as_u64);
        if number.and_then(|number| self.subscriptions.remove(&number)).is_none() {
            return Err(Fault::new(Code::InvalidParams, "Invalid params: there is no such subscription"));
        }
        if self.subscriptions.is_empty() {
            self.watch = None;
        }
        Ok(json!({ "unsubscribed": true }).to_string())
    }
}

/// The next event; never, while there is nothing to watch.
async fn next(watch: &mut Option<Watch>) -> Result<Arc<Shown>, Missed> {
    match watch {
        Some(watch) => watch.next().await,
        None => pending().await,
    }
}

fn filter(params: &Map<String, Value>) -> Result<Filter, Fault> {
    let invalid = |why: &str| Fault::new(Code::InvalidParams, format!("Invalid params: {why}"));
    let wanted = "channels is a list of at most 256 channel names";
    let channels = match params.get("channels") {
        None | Some(Value::Null) => None,
        Some(Value::Array(names)) if names.len() <= limits::SUBSCRIPTIONS_MAX => {
            let channel = |name: &Value| name.as_str().and_then(|name| Channel::new(name).ok());
            let names = names.iter().map(|name| channel(name).ok_or_else(|| invalid(wanted)));
            Some(names.collect::<Result<BTreeSet<_>, _>>()?)
        }
        Some(_) => return Err(invalid(wanted)),
    };
    let payload = match params.get("payload") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(payload)) => *payload,
        Some(_) => return Err(invalid("payload is true or false")),
    };
    Ok(Filter { channels, payload })
}

/// The answer to a call of a batch that asks for too much; `None` for a notification, which is not done either.
fn too_much(read: call::Read) -> Option<String> {
    let id = match read {
        Ok(call) => call.id?,
        Err((id, _)) => id,
    };
    let problem = Problem::too_large("the answers to this batch are too large: ask for less at once");
    Some(call::answer(&id, Err(refused(&problem))))
}

/// A refusal, with all that the other calls say of it.
fn refused(problem: &Problem) -> Fault {
    fault_of(problem).with(problem.fields())
}

fn fault_of(problem: &Problem) -> Fault {
    let code = if problem.code() == problem::Code::BadRequest { Code::InvalidParams } else { Code::Refused };
    Fault::new(code, problem.detail())
}
