//! What other origins open to this one, how they are, and which of their tools a person approved. Whoever shares a channel
//! with this origin, or has a tool that was approved, is asked once a minute. See "Calls" in `protocols/federation.md`.

use super::client::{Client, Failure};
use crate::door::shown;
use crate::driver::Handle;
use crate::store::federation::{Batch, Done, KeptTool, Write};
use comity_core::federation::Origin;
use comity_core::time::Timestamp;
use comity_core::tool::{Approvals, ApprovedTool, Described, Standing, local_name, server_name, tool_name};
use comity_core::wire::federation::body::{Capabilities, Capability, Health, path};
use rand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::task::JoinSet;

/// How often an origin is asked.
const ASK_EVERY: Duration = Duration::from_secs(60);

/// The longest pause before one is asked again that does not answer.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Origins that are asked, at most.
const ORIGINS_MAX: usize = 1024;

/// Origins that are asked at once.
const AT_ONCE: usize = 8;

/// Tools of one origin that are looked at.
const TOOLS_MAX: usize = 1024;

/// Tools of one origin that are left out, as they are told of.
const LEFT_OUT_MAX: usize = 64;

/// Components of an origin whose health is kept.
const COMPONENTS_MAX: usize = 32;

/// Longest word of another origin that is shown, characters.
const WORD_MAX: usize = 64;

/// What is known of other origins' tools and health. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Shared>);

struct Shared {
    client: Client,
    handle: Handle,
    disk: mpsc::Sender<Batch>,
    /// A lock and not a message: it is held for one look, and agents look at it for each list and call.
    held: Mutex<Held>,
    changed: watch::Sender<u64>,
    /// Somebody new is to be asked.
    wake: Notify,
}

struct Held {
    approvals: Approvals,
    origins: BTreeMap<Origin, Seen>,
}

/// What an origin said of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Seen {
    /// The hash of each tool that it opens to this origin, by server and name; `None` before it has said.
    tools: Option<BTreeMap<(String, String), [u8; 32]>>,
    /// How it is.
    pub(crate) health: Option<Health>,
    /// When it answered last.
    pub(crate) at: Option<Timestamp>,
    /// Why it does not answer now.
    pub(crate) failure: Option<String>,
    /// How often in a row it has not.
    failures: u32,
    /// When it is asked again, by the monotonic clock.
    due: Duration,
}

impl Seen {
    /// How many tools it opens, once it has said.
    pub(crate) fn tools(&self) -> Option<usize> {
        self.tools.as_ref().map(BTreeMap::len)
    }
}

/// How an approved tool is now, as far as is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Its origin has not been heard since this node started.
    Unheard,
    /// It is what was approved.
    Same,
    /// It says something else: nobody here can call it until it is approved again.
    Changed,
    /// Its origin does not open it any more.
    Gone,
}

impl Condition {
    fn is_callable(self) -> bool {
        matches!(self, Self::Unheard | Self::Same)
    }
}

/// A tool of another origin that a person approved.
#[derive(Debug, Clone)]
pub(crate) struct Approved {
    /// Its name for MCP clients here.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) origin: Origin,
    /// The server that has it there.
    pub(crate) server: String,
    /// What it said of itself when it was approved.
    pub(crate) tool: Arc<Described>,
    /// How it is now.
    pub(crate) now: Condition,
}

/// The tools that an origin opens.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Offer {
    /// By server and name.
    pub(crate) tools: BTreeMap<(String, String), Described>,
    /// Those that cannot be shown or called, and why.
    pub(crate) left_out: Vec<(String, String)>,
}

/// Why a tool is not approved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotApproved {
    /// Its origin cannot be asked for it.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// There is none.
    #[error("{0} opens no such tool to this node")]
    NotThere(Origin),
    /// It is not what the person saw.
    #[error("it says something else of itself now than what was shown: look at it again")]
    Changed,
    /// Too many are.
    #[error("too many tools of others are approved")]
    Full,
    /// The disk.
    #[error("federation.db cannot be written")]
    Disk,
}

impl Registry {
    pub(super) fn new(client: Client, handle: Handle, disk: mpsc::Sender<Batch>, approvals: Approvals) -> Self {
        let held = Mutex::new(Held { approvals, origins: BTreeMap::new() });
        Self(Arc::new(Shared { client, handle, disk, held, changed: watch::channel(0).0, wake: Notify::new() }))
    }

    /// Counts up whenever the tools that MCP clients may see have changed.
    pub(crate) fn changed(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }

    /// The tools that were approved, by origin, server and name.
    pub(crate) fn approved(&self) -> Vec<Approved> {
        self.held().approved()
    }

    /// How a tool stands that says this of itself, and what it said when it was approved.
    pub(crate) fn standing(
        &self,
        origin: &Origin,
        server: &str,
        tool: &Described,
    ) -> (Standing, Option<Arc<Described>>) {
        let held = self.held();
        let approved = held.approvals.approved(origin, server, &tool.name).map(|approved| approved.tool.clone());
        (held.approvals.standing(origin, server, &tool.name, &tool.hash()), approved)
    }

    /// How a tool is that was approved; `None`: it was not.
    pub(super) fn now(&self, origin: &Origin, server: &str, tool: &str) -> Option<Condition> {
        let held = self.held();
        let approved = held.approvals.approved(origin, server, tool)?;
        Some(held.now(origin, server, approved))
    }

    /// What an origin said last.
    pub(crate) fn seen(&self, origin: &Origin) -> Option<Seen> {
        self.held().origins.get(origin).cloned()
    }

    /// The tools that an origin opens to this one now.
    pub(crate) async fn offer_of(&self, origin: &Origin) -> Result<Offer, Failure> {
        let listed: Capabilities = self.0.client.get(origin, path::CAPABILITIES).await?;
        let offer = offer(origin, listed);
        self.note(origin, Ok(&offer), None);
        Ok(offer)
    }

    /// Asks an origin at once, if it has not been heard yet.
    pub(crate) async fn hear(&self, origin: &Origin) {
        if self.seen(origin).is_none_or(|seen| seen.tools.is_none()) {
            self.ask(origin).await;
        }
    }

    /// A person approves a tool as it is now, which must be what they saw.
    pub(crate) async fn approve(
        &self,
        (origin, server, tool): (&Origin, &str, &str),
        seen: [u8; 32],
    ) -> Result<Approved, NotApproved> {
        let mut offer = self.offer_of(origin).await?;
        let described = offer.tools.remove(&(server.to_owned(), tool.to_owned()));
        let described = described.ok_or_else(|| NotApproved::NotThere(origin.clone()))?;
        if described.hash() != seen {
            return Err(NotApproved::Changed);
        }
        // First on the disk: an agent that sees a tool sees it after a crash as well.
        self.write(origin, server, tool, Some(&described)).await?;
        let name = local_name(origin, server, tool);
        let approved = Arc::new(described.clone());
        let has_room = self.change(|held| held.approvals.approve(origin, server, described));
        if !has_room {
            self.write(origin, server, tool, None).await?;
            return Err(NotApproved::Full);
        }
        self.0.wake.notify_one();
        Ok(Approved { name, origin: origin.clone(), server: server.to_owned(), tool: approved, now: Condition::Same })
    }

    /// Takes an approval back; whether there was one.
    pub(crate) async fn withdraw(&self, (origin, server, tool): (&Origin, &str, &str)) -> Result<bool, NotApproved> {
        let was = self.change(|held| held.approvals.withdraw(origin, server, tool));
        if was {
            self.write(origin, server, tool, None).await?;
        }
        Ok(was)
    }

    async fn write(
        &self,
        origin: &Origin,
        server: &str,
        tool: &str,
        approved: Option<&Described>,
    ) -> Result<(), NotApproved> {
        let approved = approved.map(|tool| Box::new(KeptTool::of(tool)));
        let write =
            Write::Approval { origin: origin.clone(), server: server.to_owned(), tool: tool.to_owned(), approved };
        let (waiter, is_safe) = oneshot::channel();
        let batch = Batch { writes: vec![write], done: Some(Done::Waiter(waiter)) };
        self.0.disk.send(batch).await.map_err(|_| NotApproved::Disk)?;
        if is_safe.await.unwrap_or(false) { Ok(()) } else { Err(NotApproved::Disk) }
    }

    /// Asks whoever is due, until nobody can tell any more who shares channels with this origin.
    pub(super) async fn run(self, mut companions: watch::Receiver<Arc<BTreeSet<Origin>>>) {
        let mut asking = JoinSet::new();
        let mut asked = BTreeSet::new();
        loop {
            let now = self.0.handle.now().mono;
            let mut wanted = self.held().approvals.origins();
            wanted.extend(companions.borrow_and_update().iter().cloned());
            let wanted: BTreeSet<Origin> = wanted.into_iter().take(ORIGINS_MAX).collect();
            let (due, next) = self.due(&wanted, &asked, now);
            for origin in due.into_iter().take(AT_ONCE.saturating_sub(asking.len())) {
                asked.insert(origin.clone());
                let registry = self.clone();
                asking.spawn(async move {
                    registry.ask(&origin).await;
                    origin
                });
            }
            let pause = next.unwrap_or(ASK_EVERY).clamp(Duration::from_millis(100), ASK_EVERY);
            tokio::select! {
                Some(ended) = asking.join_next() => match ended {
                    Ok(origin) => drop(asked.remove(&origin)),
                    // It panicked, and the log says where: everybody may be asked again.
                    Err(_) => asked.clear(),
                },
                changed = companions.changed() => if changed.is_err() { return },
                () = self.0.wake.notified() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Who is to be asked now, and how long it is until the next one is.
    fn due(
        &self,
        wanted: &BTreeSet<Origin>,
        asked: &BTreeSet<Origin>,
        now: Duration,
    ) -> (Vec<Origin>, Option<Duration>) {
        let mut held = self.held();
        held.origins.retain(|origin, _| wanted.contains(origin));
        let (mut due, mut next) = (Vec::new(), None::<Duration>);
        for origin in wanted.difference(asked) {
            let at = held.origins.get(origin).map_or(Duration::ZERO, |seen| seen.due);
            match at.checked_sub(now) {
                Some(left) if !left.is_zero() => next = Some(next.map_or(left, |next| next.min(left))),
                _ => due.push(origin.clone()),
            }
        }
        (due, next)
    }

    /// Asks an origin what it opens, and how it is.
    async fn ask(&self, origin: &Origin) {
        let listed = self.0.client.get::<Capabilities>(origin, path::CAPABILITIES).await;
        match listed.map(|listed| offer(origin, listed)) {
            // It answered, and has nothing for this origin, or does not know what is asked.
            Err(failure) if failure.is_final() => {
                self.note(origin, Ok(&Offer::default()), self.health_of(origin).await)
            }
            Err(failure) => self.note(origin, Err(&failure), None),
            Ok(offer) => self.note(origin, Ok(&offer), self.health_of(origin).await),
        }
        self.pause(origin);
    }

    async fn health_of(&self, origin: &Origin) -> Option<Health> {
        let health = self.0.client.get::<Health>(origin, path::HEALTH).await;
        let text = |text: &str| shown::text(text, WORD_MAX);
        health.ok().map(|health| Health {
            status: text(&health.status),
            version: text(&health.version),
            components: health
                .components
                .iter()
                .take(COMPONENTS_MAX)
                .map(|(name, state)| (text(name), text(state)))
                .collect(),
            load: serde_json::Value::Null,
        })
    }

    fn note(&self, origin: &Origin, said: Result<&Offer, &Failure>, health: Option<Health>) {
        let now = self.0.handle.now().wall;
        self.change(|held| {
            let seen = held.origins.entry(origin.clone()).or_default();
            match said {
                Ok(offer) => {
                    let hashes = offer.tools.iter().map(|(key, tool)| (key.clone(), tool.hash()));
                    (seen.tools, seen.at) = (Some(hashes.collect()), Some(now));
                    (seen.failure, seen.failures) = (None, 0);
                    seen.health = health.or(seen.health.take());
                }
                Err(failure) => {
                    seen.failure = Some(failure.to_string());
                    seen.failures = seen.failures.saturating_add(1);
                    seen.health = None;
                }
            }
        });
    }

    /// Asks an origin again in a while: later the more often it did not answer.
    fn pause(&self, origin: &Origin) {
        let (now, jitter) = (self.0.handle.now().mono, rand::rng().random_range(0.9..1.1));
        if let Some(seen) = self.held().origins.get_mut(origin) {
            let pause = ASK_EVERY.saturating_mul(1 << seen.failures.min(4)).min(PAUSE_MAX);
            seen.due = now + pause.mul_f64(jitter);
        }
    }

    /// Changes what is held, and says so where agents would see another list.
    fn change<T>(&self, change: impl FnOnce(&mut Held) -> T) -> T {
        let (result, is_changed) = {
            let mut held = self.held();
            let before = held.callable();
            let result = change(&mut held);
            (result, held.callable() != before)
        };
        if is_changed {
            self.0.changed.send_modify(|count| *count += 1);
        }
        result
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn approved(&self) -> Vec<Approved> {
        let one = |(origin, server, approved): (&Origin, &str, &ApprovedTool)| Approved {
            name: local_name(origin, server, &approved.tool.name),
            origin: origin.clone(),
            server: server.to_owned(),
            tool: approved.tool.clone(),
            now: self.now(origin, server, approved),
        };
        self.approvals.iter().map(one).collect()
    }

    fn now(&self, origin: &Origin, server: &str, approved: &ApprovedTool) -> Condition {
        let said = self.origins.get(origin).and_then(|seen| seen.tools.as_ref());
        let Some(tools) = said else { return Condition::Unheard };
        match tools.get(&(server.to_owned(), approved.tool.name.clone())) {
            None => Condition::Gone,
            Some(hash) if *hash == approved.hash => Condition::Same,
            Some(_) => Condition::Changed,
        }
    }

    /// What agents see: each tool that can be called, and what it was approved as.
    fn callable(&self) -> Vec<(Origin, String, String, [u8; 32])> {
        let all =
            self.approvals.iter().filter(|(origin, server, approved)| self.now(origin, server, approved).is_callable());
        all.map(|(origin, server, ApprovedTool { tool, hash })| {
            (origin.clone(), server.to_owned(), tool.name.clone(), *hash)
        })
        .collect()
    }
}

impl Approved {
    /// Whether agents may see and call it.
    pub(crate) fn is_callable(&self) -> bool {
        self.now.is_callable()
    }
}

/// What an origin says that it opens, as far as it can be shown and called.
fn offer(origin: &Origin, listed: Capabilities) -> Offer {
    let mut offer = Offer::default();
    let more = listed.tools.len().saturating_sub(TOOLS_MAX);
    for capability in listed.tools.into_iter().take(TOOLS_MAX) {
        match described(origin, &capability) {
            Ok((server, tool)) => {
                offer.tools.insert((server, tool.name.clone()), tool);
            }
            Err(why) if offer.left_out.len() < LEFT_OUT_MAX => {
                offer.left_out.push((shown::text(&capability.name, WORD_MAX), why));
            }
            Err(_) => {}
        }
    }
    if more > 0 {
        offer.left_out.push((format!("{more} more"), format!("only {TOOLS_MAX} tools of an origin are looked at")));
    }
    offer
}

fn described(origin: &Origin, said: &Capability) -> Result<(String, Described), String> {
    let server = said.target.split_once('/').filter(|(named, _)| *named == origin.as_str()).map(|(_, server)| server);
    let server =
        server.and_then(|server| server_name(server).ok()).ok_or("its target is no tool server of that origin")?;
    let name = tool_name(&said.name).map_err(|bad| bad.to_string())?;
    let described = Described::of(name, &said.description, &said.input_schema, said.output_schema.as_ref());
    Ok((server.to_owned(), described.map_err(|too_much| too_much.to_string())?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn capability(target: &str, name: &str) -> Capability {
        Capability {
            target: target.to_owned(),
            name: name.to_owned(),
            description: "Says\u{202e} it.".to_owned(),
            input_schema: json!({"type": "object"}),
            output_schema: None,
            hash: Some("00".to_owned()),
        }
    }

    #[test]
    fn what_an_origin_opens_is_its_own_cleaned_and_what_cannot_be_called_says_why() {
        let beta = "beta.test".parse().expect("an origin");
        let mut shapeless = capability("beta.test/words", "shapeless");
        shapeless.input_schema = json!(true);
        let tools = vec![
            capability("beta.test/words", "say"),
            capability("gamma.test/words", "say"),
            capability("beta.test/a__b", "say"),
            capability("beta.test/words", "say it"),
            shapeless,
        ];
        let offer = offer(&beta, Capabilities { tools });
        let names: Vec<_> = offer.tools.keys().map(|(server, tool)| (server.as_str(), tool.as_str())).collect();
        assert_eq!(names, [("words", "say")]);
        assert_eq!(offer.tools.values().next().map(|tool| tool.description.as_str()), Some("Says it."));
        assert_eq!(offer.left_out.len(), 4, "{:?}", offer.left_out);
    }
}
