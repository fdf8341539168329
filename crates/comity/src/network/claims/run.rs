//! The task that owns the rules of claims: feeds them, and does what they want done. What follows from a step is said
//! when it is on disk: an announcer that crashed and had forgotten would give one lease twice.

use super::lives::Lives;
use super::outbox::{Outbox, Saying};
use super::presence::{INTERVAL, Presence};
use super::told::Told;
use super::{ClaimError, Claims, KEPT, Order, Taken, TaskChange, TaskView};
use crate::driver::Handle;
use crate::network::topics::{TopicError, Topics};
use comity_core::claim::{Config, Effect, Finish, Lease, Lost, Mine, Outcome, Refused, Standing, State, Task, Word};
use comity_core::id::NodeId;
use comity_core::node::{Answer, Ask, Refusal};
use comity_core::wire::gossip::body::Status;
use comity_core::wire::gossip::task::{self, REASON, RESULT};
use comity_core::wire::gossip::{BadGossip, Envelope};
use futures_util::future::join_all;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until};

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
    pub(super) handle: Handle,
    pub(super) topics: Topics,
    orders: mpsc::Receiver<Order>,
    changes: broadcast::Sender<TaskChange>,
    pub(super) state: State,
    pub(super) told: Told,
    pub(super) outbox: Outbox,
    /// When the next words may be said.
    say_at: Instant,
    /// Who waits for a decision.
    pub(super) waiting: BTreeMap<Task, Vec<oneshot::Sender<Result<Taken, ClaimError>>>>,
    /// Who is told when all of the step is on disk.
    replies: Vec<(oneshot::Sender<Result<TaskView, ClaimError>>, Task)>,
    pub(super) presence: Presence,
    /// When each other node said last that it is there.
    lives: Lives,
    /// How much other nodes have to do, as they said last: whether they take more, how many tasks they have, how they are.
    pub(super) present: BTreeMap<NodeId, (bool, u64, Status)>,
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
        Self {
            state: State::restored(config, kept, now),
            told: Told::of_value(&kept["told"]),
            topics,
            orders,
            changes,
            outbox: Outbox::default(),
            say_at: Instant::now(),
            waiting: BTreeMap::new(),
            replies: Vec::new(),
            present: BTreeMap::new(),
            lives: Lives::default(),
            presence: Presence::new(&kept["capabilities"], now.wall),
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
                let is_there = self.lives.shows(from, envelope.timestamp, self.handle.now().wall);
                let is_news = match word {
                    Some(word) => {
                        self.live(from, is_there);
                        self.hear(from, &envelope.data, word)
                    }
                    None => self.hear_of(from, &envelope, is_there),
                };
                // Err: whoever brought it has gone.
                let _ = news.send(is_news);
            }
            Order::Listened => self.presence.greet(),
            Order::Step { step, reply } => match self.step(step) {
                Ok(task) => self.replies.push((reply, task)),
                Err(why) => drop(reply.send(Err(why))),
            },
            Order::Take { task, reply } => self.take_task(task, reply),
            Order::List(reply) => self.list(reply),
        }
    }

    fn list(&self, reply: oneshot::Sender<Vec<TaskView>>) {
        let views = self.state.tasks().map(|(task, lease, standing)| self.view_of(task, lease, standing));
        // Err: it does not want to see them any more.
        let _ = reply.send(views.collect());
    }

    /// Waits until the disk is tried again. Meanwhile tasks can be seen, and nothing is done: words of others, which
    /// come again, are passed over, so that nobody waits for this node's disk who only wants to be heard.
    async fn wait_for_disk(&mut self) {
        let again = sleep(DISK_AGAIN);
        tokio::pin!(again);
        loop {
            tokio::select! {
                biased;
                () = &mut again => return,
                Some(order) = self.orders.recv() => match order {
                    Order::Heard { news, .. } => drop(news.send(true)),
                    Order::Listened => self.presence.greet(),
                    Order::Step { reply, .. } => drop(reply.send(Err(ClaimError::Disk))),
                    Order::Take { reply, .. } => drop(reply.send(Err(ClaimError::Disk))),
                    Order::List(reply) => self.list(reply),
                },
            }
        }
    }

    /// Does what the rules want done, once all that it rests on is on disk.
    async fn perform(&mut self) {
        let effects: Vec<Effect> = self.state.effects(self.handle.now()).collect();
        let mut is_said = false;
        while self.state.take_changed() && !self.keep().await {
            if !std::mem::replace(&mut is_said, true) {
                tracing::warn!("tasks are not on disk, and wait for it");
            }
            self.wait_for_disk().await;
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
    pub(super) fn decided(&mut self, task: &Task, lost: Option<Lost>) {
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

    /// Says some of what waits: all of it at once, as each is first written into the journal, which takes many together
    /// in the time of one.
    async fn say(&mut self) {
        self.say_at = Instant::now() + PAUSE;
        let said: Vec<_> = std::iter::from_fn(|| self.outbox.pop()).take(AT_ONCE).collect();
        let envelopes = said.iter().map(|(saying, _)| match saying {
            Saying::Word(word) => self.envelope(word),
            Saying::Progress(task, said) => self.of_progress(task, said),
        });
        let ends = join_all(envelopes.map(|envelope| self.publish(envelope))).await;
        // The last first: what is put back is said first again, in its order.
        for ((saying, tries), end) in said.into_iter().zip(ends).rev() {
            match end {
                Ok(()) => {}
                // Who comes later asks.
                Err(TopicError::Nobody(_)) => self.handle.counters().unheeded("nobody_listens"),
                Err(TopicError::Link(_)) if self.outbox.put_back(saying, tries) => {}
                Err(failure) => {
                    tracing::warn!(%failure, "a word about a task is not said");
                    self.handle.counters().unheeded("not_said");
                }
            }
        }
    }

    pub(super) async fn publish(&self, envelope: Envelope) -> Result<(), TopicError> {
        self.topics.publish(self.topics.names().coordination().clone(), envelope).await
    }

    /// The message that says a word, with what there is to say besides.
    pub(super) fn envelope(&self, word: &Word) -> Envelope {
        let me = self.handle.me();
        let mut envelope = task::write(word, me.keys(), me.name(), self.handle.now().wall);
        let (task, failed) = match word {
            Word::Finish { task, finish, .. } if *finish != Finish::Released => {
                (task.clone(), *finish == Finish::Failed)
            }
            Word::Stands { id, standing: Standing::Ended { outcome, .. }, .. } => {
                let failed = *outcome != Outcome::Completed;
                (Task { announcer: me.node(), id: id.clone() }, failed)
            }
            _ => return envelope,
        };
        add_report(&mut envelope, failed, self.told.of(&task).and_then(|texts| texts.report.as_ref()));
        envelope
    }

    pub(super) fn fits(&self, envelope: &Envelope) -> Result<(), BadGossip> {
        let names = self.topics.names();
        comity_core::wire::gossip::encode(envelope, names, names.coordination()).map(drop)
    }

    pub(super) fn view(&self, task: &Task) -> Option<TaskView> {
        let (lease, standing) = self.state.standing(task)?;
        Some(self.view_of(task, lease, standing))
    }

    pub(super) fn view_of(&self, task: &Task, lease: Lease, standing: Standing) -> TaskView {
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

    pub(super) fn tell(&self, change: TaskChange) {
        // Err: nobody watches.
        let _ = self.changes.send(change);
    }
}

pub(super) fn add_report(envelope: &mut Envelope, failed: bool, report: Option<&Value>) {
    if let Some(report) = report {
        envelope.data.insert(if failed { REASON } else { RESULT }.to_owned(), report.clone());
    }
}
