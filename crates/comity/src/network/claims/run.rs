//! The task that owns the rules of claims: feeds them, and does what they want done. What follows from a step is said
//! when it is on disk: an announcer that crashed and had forgotten would give one lease twice.

use super::outbox::{Outbox, Saying};
use super::told::{Told, What};
use super::{ClaimError, Claims, KEPT, Order, Step, Taken, TaskChange, TaskView, members};
use crate::driver::Handle;
use crate::network::topics::{TopicError, Topics};
use comity_core::claim::{
    Config, Effect, Finish, Input, Lease, Lost, Mine, Refused, Standing, State, Task, TaskId, Word,
};
use comity_core::id::NodeId;
use comity_core::node::{Answer, Ask, Refusal};
use comity_core::time::Timestamp;
use comity_core::wire::gossip::body::{ASKS, Availability, Status, TASKS_MAX};
use comity_core::wire::gossip::task::{self, REASON, RESULT, STATUS};
use comity_core::wire::gossip::{BadGossip, Envelope, Kind, Priority};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

/// How often a node says that it is there: the protocol's.
const INTERVAL: Duration = Duration::from_secs(30);

/// How soon it is tried again to say so, while nobody listens.
const NOBODY_AGAIN: Duration = Duration::from_secs(1);

/// How often a node says so because somebody began to listen, at most.
const LISTENED_EVERY: Duration = Duration::from_millis(500);

/// Orders that are taken in one step, at most: claims among them are decided together.
const STEP_MAX: usize = 256;

/// Words that are said at once; peers take a few hundred before they must have read them.
const AT_ONCE: usize = 32;

/// How long nothing is said after that: at most 800 words a second.
const PAUSE: Duration = Duration::from_millis(40);

/// How soon the disk is tried again that did not take what must be kept.
const DISK_AGAIN: Duration = Duration::from_secs(1);

/// The task.
pub(in crate::network) struct Runner {
    handle: Handle,
    topics: Topics,
    orders: mpsc::Receiver<Order>,
    changes: broadcast::Sender<TaskChange>,
    state: State,
    told: Told,
    outbox: Outbox,
    /// When the next words may be said.
    say_at: Instant,
    /// Who waits for a decision.
    waiting: BTreeMap<Task, Vec<oneshot::Sender<Result<Taken, ClaimError>>>>,
    /// Who is told when all of the step is on disk.
    replies: Vec<(oneshot::Sender<Result<TaskView, ClaimError>>, Task)>,
    presence: Presence,
}

/// What this node says of itself.
struct Presence {
    /// When it is said again.
    at: Instant,
    said_at: Option<Instant>,
    /// Whether it asks others how tasks stand.
    asks: bool,
    active_at: Timestamp,
    /// What it can do, as was said last.
    capabilities: Option<Value>,
}

impl Claims {
    /// The claims of this node, and what others do with them; they run when the runner is given the topics. `kept` is
    /// what [`KEPT`] names.
    pub(in crate::network) fn start(handle: &Handle) -> (Self, impl FnOnce(Topics, Option<&Value>) -> Runner) {
        let (claims, orders) = Self::open(handle);
        let (changes, handle) = (claims.changes.clone(), handle.clone());
        let runner = move |topics, kept: Option<&Value>| Runner::new(handle, topics, orders, changes, kept);
        (claims, runner)
    }
}

impl Runner {
    fn new(
        handle: Handle,
        topics: Topics,
        orders: mpsc::Receiver<Order>,
        changes: broadcast::Sender<TaskChange>,
        kept: Option<&Value>,
    ) -> Self {
        let (now, none) = (handle.now(), Value::Null);
        let kept = kept.unwrap_or(&none);
        let config = Config { me: handle.me().node(), interval: INTERVAL };
        let begin = Instant::now();
        let capabilities = Some(kept["capabilities"].clone()).filter(|kept| !kept.is_null());
        Self {
            state: State::restored(config, kept, now),
            told: Told::of_value(&kept["told"]),
            topics,
            orders,
            changes,
            outbox: Outbox::default(),
            say_at: begin,
            waiting: BTreeMap::new(),
            replies: Vec::new(),
            presence: Presence { at: begin, said_at: None, asks: true, active_at: now.wall, capabilities },
            handle,
        }
    }

    /// Runs until nobody orders any more.
    pub(in crate::network) async fn run(mut self) {
        loop {
            self.perform().await;
            if Instant::now() >= self.say_at && !self.outbox.is_empty() {
                self.say().await;
            }
            if Instant::now() >= self.presence.at {
                self.be_present().await;
            }
            let next = self.next();
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.take(order),
                    None => return,
                },
                () = sleep_until(next) => {}
            }
            for _ in 1..STEP_MAX {
                match self.orders.try_recv() {
                    Ok(order) => self.take(order),
                    Err(_) => break,
                }
            }
            self.state.wake(self.handle.now());
        }
    }

    /// When there is something to do, if nobody orders anything before.
    fn next(&self) -> Instant {
        let due = self.state.wake_at().map(|at| Instant::now() + at.saturating_sub(self.handle.now().mono));
        let say = (!self.outbox.is_empty()).then_some(self.say_at);
        [due, say].into_iter().flatten().fold(self.presence.at, Instant::min)
    }

    fn take(&mut self, order: Order) {
        match order {
            Order::Heard { from, envelope, word, news } => {
                let is_news = match word {
                    Some(word) => self.hear(from, &envelope.data, word),
                    None => self.hear_of(from, &envelope),
                };
                // Err: whoever brought it has gone.
                let _ = news.send(is_news);
            }
            Order::Listened => {
                let soon = self.presence.said_at.map_or_else(Instant::now, |said| said + LISTENED_EVERY);
                (self.presence.asks, self.presence.at) = (true, self.presence.at.min(soon));
            }
            Order::Step { step, reply } => match self.step(step) {
                Ok(task) => self.replies.push((reply, task)),
                Err(why) => drop(reply.send(Err(why))),
            },
            Order::Take { task, reply } => self.take_task(task, reply),
            Order::List(reply) => {
                let views = self.state.tasks().map(|(task, lease, standing)| self.view_of(task, lease, standing));
                // Err: it does not want to see them any more.
                let _ = reply.send(views.collect());
            }
        }
    }

    /// A word of another node. Says whether it is news.
    fn hear(&mut self, from: NodeId, data: &Map<String, Value>, word: Word) -> bool {
        let (now, before) = (self.handle.now(), self.state.waiting());
        let me = self.handle.me().node();
        let heard = self.state.handle(Input::Heard(from, word.clone()), now);
        if let Err(refused) = heard {
            tracing::debug!(%from, ?word, %refused, "a word about a task changes nothing");
            self.handle.counters().unheeded(refused.name());
        }
        let changed = self.state.waiting() > before;
        match word {
            Word::Stands { id, lease, standing, .. } => {
                let task = Task { announcer: from, id };
                if heard.is_ok() && self.state.standing(&task) == Some((lease, standing)) {
                    self.hear_texts(&task, standing, data, changed);
                }
                changed
            }
            Word::Finish { task, finish, .. } if task.announcer == me => {
                if heard.is_ok() && changed && finish != Finish::Released {
                    self.put_report(&task, data);
                }
                changed
            }
            Word::Claim { .. } | Word::Finish { .. } => true,
        }
    }

    /// What an announcer says of a task besides how it stands.
    fn hear_texts(&mut self, task: &Task, standing: Standing, data: &Map<String, Value>, changed: bool) {
        match standing {
            Standing::Open => {
                if changed {
                    self.told.begin(task);
                }
                if self.told.of(task).is_none_or(|texts| texts.content.is_none()) || changed {
                    self.put_text(task, What::Content, task::content(data));
                }
            }
            Standing::Ended { .. } => self.put_report(task, data),
            Standing::Assigned(_) => {}
        }
    }

    fn put_report(&mut self, task: &Task, data: &Map<String, Value>) {
        if let Some(report) = data.get(RESULT).or_else(|| data.get(REASON)) {
            self.put_text(task, What::Report, report.clone());
        }
    }

    fn put_text(&mut self, task: &Task, what: What, text: Value) {
        if !self.told.put(task, what, text) {
            self.handle.counters().unheeded("no_room_for_text");
        }
    }

    /// A coordination message that is no word of the rules: its author is there; it may ask, or say how far it is.
    fn hear_of(&mut self, from: NodeId, envelope: &Envelope) -> bool {
        let now = self.handle.now();
        let asks = envelope.kind == Kind::AvailabilityBroadcast && envelope.data.get(ASKS) == Some(&Value::Bool(true));
        let input = if asks { Input::Asked(from) } else { Input::Alive(from) };
        // It is never refused.
        let _ = self.state.handle(input, now);
        match envelope.kind {
            Kind::TaskProgress => self.hear_progress(from, &envelope.data),
            Kind::TaskComplete => self.hear_bare_end(from, &envelope.data),
            _ => {}
        }
        true
    }

    fn hear_progress(&mut self, from: NodeId, data: &Map<String, Value>) {
        let Some(id) = task_id(data) else { return };
        let announcer: Option<NodeId> =
            data.get("announcer").and_then(Value::as_str).and_then(|text| text.parse().ok());
        let is_its = |task: &Task, standing: Standing| {
            task.id == id && announcer.is_none_or(|one| one == task.announcer) && standing == Standing::Assigned(from)
        };
        let found = match announcer {
            Some(announcer) => self.state.standing(&Task { announcer, id: id.clone() }).and_then(|(_, standing)| {
                let task = Task { announcer, id: id.clone() };
                is_its(&task, standing).then_some(task)
            }),
            None => {
                self.state.tasks().find(|(task, _, standing)| is_its(task, *standing)).map(|(task, ..)| task.clone())
            }
        };
        if let Some(task) = found {
            self.take_progress(&task, progress(data));
        }
    }

    /// A program of the original design names no lease when it is through: it has the one that counts, or none.
    fn hear_bare_end(&mut self, from: NodeId, data: &Map<String, Value>) {
        let Some(id) = task_id(data) else { return };
        let task = Task { announcer: self.handle.me().node(), id };
        let Some((lease, Standing::Assigned(owner))) = self.state.standing(&task) else { return };
        if owner == from {
            let failed = data.get(STATUS).and_then(Value::as_str) == Some(task::FAILED);
            let finish = if failed { Finish::Failed } else { Finish::Completed };
            self.hear(from, data, Word::Finish { task, lease, finish });
        }
    }

    fn take_progress(&mut self, task: &Task, said: Value) {
        self.put_text(task, What::Progress, said);
        if let Some(view) = self.view(task) {
            self.tell(TaskChange::Progress(Box::new(view)));
        }
    }

    /// Something that somebody here wants done: of which task.
    fn step(&mut self, step: Step) -> Result<Task, ClaimError> {
        let (now, me) = (self.handle.now(), self.handle.me().node());
        self.presence.active_at = now.wall;
        match step {
            Step::Announce { id, content } => {
                let labels = || crate::redaction::labels("gossip", "task_id", Kind::TaskAnnouncement.name());
                if self.handle.redaction().text(id.text(), labels, now.wall) != id.text() {
                    return Err(ClaimError::Secret);
                }
                let (lease, standing) = (Lease(now.wall.millis()), Standing::Open);
                let word = Word::Stands { id: id.clone(), lease, standing, content: Some(content.clone()) };
                self.fits(&self.envelope(&word))?;
                let task = Task { announcer: me, id: id.clone() };
                self.state.handle(Input::Announce { id, content }, now)?;
                self.told.forget(&task);
                Ok(task)
            }
            Step::Withdraw(id) => {
                self.state.handle(Input::Withdraw(id.clone()), now)?;
                Ok(Task { announcer: me, id })
            }
            Step::Claim(task) => {
                self.state.handle(Input::Claim(task.clone()), now)?;
                Ok(task)
            }
            Step::Progress { task, said } => {
                if self.state.mine(&task) != Some(Mine::Held) {
                    return Err(Refused::NotOwner.into());
                }
                let envelope = self.of_progress(&task, &said);
                self.fits(&envelope)?;
                self.outbox.put(Saying::Progress(task.clone(), said));
                self.take_progress(&task, progress(&envelope.data));
                Ok(task)
            }
            Step::Finish { task, finish, report } => self.finish(task, finish, report),
        }
    }

    fn finish(&mut self, task: Task, finish: Finish, report: Option<Value>) -> Result<Task, ClaimError> {
        let now = self.handle.now();
        if self.state.mine(&task) != Some(Mine::Held) {
            return Err(Refused::NotOwner.into());
        }
        if let Some((lease, _)) = self.state.standing(&task) {
            let mut envelope = self.envelope(&Word::Finish { task: task.clone(), lease, finish });
            add_report(&mut envelope, finish == Finish::Failed, report.as_ref());
            self.fits(&envelope)?;
        }
        self.state.handle(Input::Finish(task.clone(), finish), now)?;
        if let Some(report) = report {
            self.put_text(&task, What::Report, report);
        }
        Ok(task)
    }

    fn take_task(&mut self, task: Task, reply: oneshot::Sender<Result<Taken, ClaimError>>) {
        let claimed = match self.state.mine(&task) {
            // Somebody else here wants it, too, or asks again.
            Some(Mine::Claimed | Mine::Held) => Ok(()),
            _ => self.step(Step::Claim(task.clone())).map(drop),
        };
        if let Err(why) = claimed {
            // Err: it does not wait any more.
            let _ = reply.send(Err(why));
            return;
        }
        self.waiting.entry(task.clone()).or_default().push(reply);
        // Its own task was decided in this moment.
        if self.state.mine(&task) == Some(Mine::Held) {
            self.decided(&task, None);
        }
    }

    /// Does what the rules want done, once all that it rests on is on disk.
    async fn perform(&mut self) {
        let effects: Vec<Effect> = self.state.effects(self.handle.now()).collect();
        while self.state.take_changed() && !self.keep().await {
            tokio::time::sleep(DISK_AGAIN).await;
        }
        effects.into_iter().for_each(|effect| self.follow(effect));
        for (reply, task) in std::mem::take(&mut self.replies) {
            // Err: it does not wait any more.
            let _ = reply.send(self.view(&task).ok_or(Refused::Unknown.into()));
        }
    }

    /// Whether it is on disk. Otherwise who waits for it is told, and it is tried again: the disk may come back.
    async fn keep(&mut self) -> bool {
        let mut value = self.state.to_value();
        let own = |task: &Task| task.announcer == self.handle.me().node();
        let held = |task: &Task| matches!(self.state.mine(task), Some(Mine::Held | Mine::Finished));
        let told = self.state.tasks().map(|(task, ..)| task).filter(|task| own(task) || held(task));
        value["told"] = self.told.to_value(told);
        value["capabilities"] = self.presence.capabilities.clone().unwrap_or_default();
        let refusal = match self.handle.ask(Ask::Keep { name: KEPT, value }).await {
            Answer::Done => return true,
            Answer::Refused(refusal) => refusal,
            _ => Refusal::Leaving,
        };
        tracing::warn!(%refusal, "tasks are not on disk, and wait for it");
        for (reply, _) in std::mem::take(&mut self.replies) {
            let _ = reply.send(Err(ClaimError::NotKept(refusal.clone())));
        }
        self.state.mark_changed();
        false
    }

    fn follow(&mut self, effect: Effect) {
        match effect {
            Effect::Say(word) => self.outbox.put(Saying::Word(word)),
            Effect::Stands { task, lease, standing } => {
                if standing == Standing::Open {
                    self.told.begin(&task);
                }
                let view = Box::new(self.view_of(&task, lease, standing));
                self.tell(TaskChange::Stands(view));
            }
            Effect::Won { task, .. } => {
                self.presence.active_at = self.handle.now().wall;
                if let Some(view) = self.view(&task) {
                    self.tell(TaskChange::Won(Box::new(view)));
                }
                self.decided(&task, None);
            }
            Effect::Lost { task, why, .. } => {
                self.decided(&task, Some(why));
                self.tell(TaskChange::Lost { task, why });
            }
            Effect::Forgotten(task) => {
                self.told.forget(&task);
                self.tell(TaskChange::Forgotten(task));
            }
        }
    }

    /// Tells who waits whether this node got a task.
    fn decided(&mut self, task: &Task, lost: Option<Lost>) {
        for reply in self.waiting.remove(task).unwrap_or_default() {
            let view = self.view(task).map(Box::new);
            let taken = match (lost, view) {
                (None, Some(view)) => Taken::Ours(view),
                (lost, view) => Taken::No { why: lost.unwrap_or(Lost::Unheard), view },
            };
            // Err: it does not wait any more.
            let _ = reply.send(Ok(taken));
        }
    }

    /// Says some of what waits.
    async fn say(&mut self) {
        self.say_at = Instant::now() + PAUSE;
        for _ in 0..AT_ONCE {
            let Some((saying, tries)) = self.outbox.pop() else { return };
            let envelope = match &saying {
                Saying::Word(word) => self.envelope(word),
                Saying::Progress(task, said) => self.of_progress(task, said),
            };
            match self.publish(envelope).await {
                Ok(()) => {}
                // Who comes later asks.
                Err(TopicError::Nobody(_)) => self.handle.counters().unheeded("nobody_listens"),
                Err(TopicError::Link(_)) if self.outbox.put_back(saying, tries) => return,
                Err(failure) => {
                    tracing::warn!(%failure, "a word about a task is not said");
                    self.handle.counters().unheeded("not_said");
                }
            }
        }
    }

    /// Says that this node is there, and what it can do if that was not said; not while nobody listens.
    async fn be_present(&mut self) {
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
        let is_new = self.presence.capabilities.as_ref() != Some(&capabilities);
        if is_new && self.say_of_myself(Kind::CapabilityBroadcast, members(&able)).await.is_ok() {
            self.presence.capabilities = Some(capabilities);
            self.state.mark_changed();
        }
    }

    async fn say_of_myself(&self, kind: Kind, data: Map<String, Value>) -> Result<(), TopicError> {
        let (from, at) = (self.handle.me().node().into(), self.handle.now().wall);
        self.publish(Envelope { priority: Some(Priority::Low), ..Envelope::new(kind, from, at, data) }).await
    }

    async fn publish(&self, envelope: Envelope) -> Result<(), TopicError> {
        self.topics.publish(self.topics.names().coordination().clone(), envelope).await
    }

    /// The message that says a word, with what there is to say besides.
    fn envelope(&self, word: &Word) -> Envelope {
        let me = self.handle.me();
        let mut envelope = task::write(word, me.keys(), me.name(), self.handle.now().wall);
        let (task, failed) = match word {
            Word::Finish { task, finish, .. } if *finish != Finish::Released => {
                (task.clone(), *finish == Finish::Failed)
            }
            Word::Stands { id, standing: Standing::Ended { outcome, .. }, .. } => {
                let failed = *outcome != comity_core::claim::Outcome::Completed;
                (Task { announcer: me.node(), id: id.clone() }, failed)
            }
            _ => return envelope,
        };
        add_report(&mut envelope, failed, self.told.of(&task).and_then(|texts| texts.report.as_ref()));
        envelope
    }

    fn of_progress(&self, task: &Task, said: &Value) -> Envelope {
        let me = self.handle.me();
        let mut data = members(said);
        // With a lease it would be a word of the rules.
        data.remove("lease");
        data.insert("task_id".to_owned(), task.id.text().into());
        data.insert("announcer".to_owned(), task.announcer.to_string().into());
        data.insert("agent_id".to_owned(), me.name().into());
        Envelope::new(Kind::TaskProgress, me.node().into(), self.handle.now().wall, data)
    }

    fn fits(&self, envelope: &Envelope) -> Result<(), BadGossip> {
        let names = self.topics.names();
        comity_core::wire::gossip::encode(envelope, names, names.coordination()).map(drop)
    }

    fn view(&self, task: &Task) -> Option<TaskView> {
        let (lease, standing) = self.state.standing(task)?;
        Some(self.view_of(task, lease, standing))
    }

    fn view_of(&self, task: &Task, lease: Lease, standing: Standing) -> TaskView {
        let texts = self.told.of(task);
        let own = || self.state.content(&task.id).map(|content| content.to_value());
        let content = texts.and_then(|texts| texts.content.clone());
        TaskView {
            task: task.clone(),
            lease: lease.0,
            standing,
            mine: self.state.mine(task),
            content: if task.announcer == self.handle.me().node() { own() } else { content },
            progress: texts.and_then(|texts| texts.progress.clone()),
            report: texts.and_then(|texts| texts.report.clone()),
        }
    }

    fn tell(&self, change: TaskChange) {
        // Err: nobody watches.
        let _ = self.changes.send(change);
    }
}

fn add_report(envelope: &mut Envelope, failed: bool, report: Option<&Value>) {
    if let Some(report) = report {
        envelope.data.insert(if failed { REASON } else { RESULT }.to_owned(), report.clone());
    }
}

fn task_id(data: &Map<String, Value>) -> Option<TaskId> {
    match data.get("task_id")? {
        Value::String(text) => TaskId::new(text).ok(),
        Value::Number(number) => TaskId::new(&number.to_string()).ok(),
        _ => None,
    }
}

/// How far an owner is, of what it says: all but whose words they are.
fn progress(data: &Map<String, Value>) -> Value {
    let own = |name: &str| matches!(name, "task_id" | "announcer" | "agent_id");
    data.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}
