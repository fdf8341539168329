//! The one task of federation: everything that happens to channels comes here, is told to their rules, and what they want
//! done is begun. It decides nothing that the rules decide.

use super::room::{Role, Room, Saying, Taken, Wish};
use super::sending::{Sender, Sent};
use super::{Invited, Shown};
use crate::driver::Handle;
use crate::store::federation::{Batch, Invitation, Restored, Role as KeptRole, Write, hub_to_text, member_to_text};
use comity_core::federation::hub::{self, Outcome};
use comity_core::federation::outbox::{self, Stream};
use comity_core::federation::participant::{self, NotKept};
use comity_core::federation::roster::{Change, History, Roster, Standing};
use comity_core::federation::{Authored, ChannelId, Event, EventId, Origin};
use comity_core::time::{Now, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval};

/// How often is looked for what is due: requests that are tried again, and lines that may have gone on.
const TICK: Duration = Duration::from_millis(250);

/// How often a member asks whether the line went on, beside what the hub sends.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often a hub asks those again that have not said where their lines end.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long a hub that starts waits for members that cannot be reached, before it goes on in the next term.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// The longest pause between requests that fail.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Events that are handled before outboxes are looked at.
const AT_ONCE: usize = 256;

/// Channels that this node takes part in, and invitations that wait for a person, at most.
const CHANNELS_MAX: usize = 4096;
const INVITATIONS_MAX: usize = 1000;

/// Events of one origin that a hub takes a second (`protocols/federation.md`, "Guarding").
const EVENTS_PER_SECOND: u32 = 500;

/// What happens.
#[derive(Debug)]
pub(super) enum Told {
    /// Another origin submits its own events.
    Submitted { from: Origin, channel: ChannelId, events: Vec<Arc<Authored>>, reply: oneshot::Sender<Vec<Outcome>> },
    /// A hub hands over events, signed at this time.
    Delivered { channel: ChannelId, events: Vec<Event>, at: Timestamp, reply: oneshot::Sender<Taken> },
    /// A hub asks where lines end.
    HeadsAsked {
        from: Origin,
        channels: Vec<ChannelId>,
        reply: oneshot::Sender<Vec<(ChannelId, u64, Option<EventId>)>>,
    },
    /// A hub invites.
    Invited { channel: ChannelId, invitation: Box<Invitation>, reply: oneshot::Sender<Invited> },
    /// Somebody wants to see what an origin may see of a channel.
    Look { channel: ChannelId, origin: Origin, reply: oneshot::Sender<Option<Sight>> },
    /// Somebody wants to see all channels.
    LookAround(oneshot::Sender<Around>),
    /// Somebody here wants a channel.
    Create { channel: ChannelId, all_history: bool, reply: oneshot::Sender<Result<(), Refused>> },
    /// Somebody here says something.
    Say { channel: ChannelId, saying: Saying, reply: oneshot::Sender<Result<Begun, Refused>> },
    /// Somebody here accepts an invitation, or does not.
    Answer { channel: ChannelId, accepts: bool, reply: oneshot::Sender<Result<Begun, Refused>> },
    /// Somebody here lets a line go on without members that cannot be reached.
    Force { channel: ChannelId, reply: oneshot::Sender<Result<(), Refused>> },
    /// A transaction ended.
    Sent { to: Origin, sent: Sent },
    /// The hub gave events, or not.
    Fetched { channel: ChannelId, at: Timestamp, outcome: Result<(Vec<Event>, u64), String> },
    /// A member said where its line ends, or not.
    Head { channel: ChannelId, member: Origin, seq: Option<u64> },
    /// A member gave events.
    Recovered { channel: ChannelId, member: Origin, events: Vec<Event> },
    /// Somebody who is invited answered, or not.
    Invitee { channel: ChannelId, member: Origin, is_told: bool },
    /// The disk has, or has not, what a channel wrote.
    Stored { number: u64, upto: u64, is_safe: bool },
    /// A channel was read anew.
    Reopened { channel: ChannelId, role: KeptRole },
    /// The node ends.
    End,
}

/// What is begun.
#[derive(Debug)]
pub(super) enum Begun {
    /// It is this hub's, under this id: what becomes of it.
    AtHub { id: EventId, outcomes: oneshot::Receiver<Vec<Outcome>> },
    /// It waits for the hub, once it is on disk.
    Waits(oneshot::Receiver<Result<(), NotKept>>),
    /// There is nothing more to wait for.
    Nothing,
}

/// Why something that somebody here wants is not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No such channel.
    #[error("this node takes part in no channel {0}")]
    UnknownChannel(ChannelId),
    /// It is there already.
    #[error("there is a channel {0} already")]
    Exists(ChannelId),
    /// Nobody invited this origin.
    #[error("nobody invited this origin to {0}")]
    NotInvited(ChannelId),
    /// Only the hub does this.
    #[error("only {0} does this: it orders the channel")]
    NotHub(Origin),
    /// There are too many.
    #[error("this node takes part in {CHANNELS_MAX} channels already")]
    TooMany,
    /// It waits already.
    #[error("this hub waits for nobody")]
    WaitsForNobody,
}

/// What an origin may see of a channel.
#[derive(Debug, Clone)]
pub(super) struct Sight {
    /// The channel's number on disk.
    pub(super) number: u64,
    /// The first and the last event that it may see, of those on disk; the last is before the first where there is none.
    pub(super) view: (u64, u64),
    /// The last event that is on disk.
    pub(super) whole: u64,
    /// How it stands.
    pub(super) standing: Standing,
    /// Who is a member.
    pub(super) roster: Roster,
}

/// All that there is.
#[derive(Debug, Clone, Default)]
pub(super) struct Around {
    pub(super) rooms: Vec<RoomView>,
    pub(super) invitations: Vec<(ChannelId, Invitation)>,
    /// How many events wait for each origin, and how often it could not be reached.
    pub(super) outboxes: BTreeMap<Origin, (u64, u32)>,
}

/// A channel as it is shown.
#[derive(Debug, Clone)]
pub(super) struct RoomView {
    pub(super) id: ChannelId,
    pub(super) number: u64,
    pub(super) is_hub: bool,
    pub(super) roster: Roster,
    pub(super) ready: u64,
    pub(super) last: Option<(u64, EventId)>,
    pub(super) waiting: u64,
    pub(super) is_caught_up: bool,
    pub(super) unheard: Vec<Origin>,
    pub(super) faults: Vec<String>,
}

/// The task's own things.
pub(super) struct Hall {
    me: Origin,
    handle: Handle,
    quota: u64,
    sender: Sender,
    disk: mpsc::Sender<Batch>,
    news: broadcast::Sender<Arc<Shown>>,
    rooms: BTreeMap<ChannelId, Room>,
    by_number: BTreeMap<u64, ChannelId>,
    next_number: u64,
    outboxes: BTreeMap<Origin, outbox::State>,
    /// Outboxes in which something may be due.
    touched: BTreeSet<Origin>,
    invitations: BTreeMap<ChannelId, Invitation>,
    look_at: Duration,
    /// Those who share a channel with this origin.
    companions: watch::Sender<Arc<BTreeSet<Origin>>>,
}

impl Hall {
    /// The channels as they are on disk.
    pub(super) async fn open(
        (me, quota): (Origin, u64),
        handle: Handle,
        sender: Sender,
        disk: mpsc::Sender<Batch>,
        (news, companions): (broadcast::Sender<Arc<Shown>>, watch::Sender<Arc<BTreeSet<Origin>>>),
        restored: Restored,
    ) -> Self {
        let now = handle.now();
        let mut hall = Self {
            me,
            handle,
            quota,
            sender,
            disk,
            news,
            rooms: BTreeMap::new(),
            by_number: BTreeMap::new(),
            next_number: 1,
            outboxes: BTreeMap::new(),
            touched: BTreeSet::new(),
            invitations: restored.invitations,
            look_at: now.mono + LOOK_EVERY,
            companions,
        };
        for channel in restored.channels {
            hall.next_number = hall.next_number.max(channel.number + 1);
            let role = Room::role_of(channel.role, (&channel.id, &hall.me), hall.hub_config(&channel.id));
            let mut room = Room::new(hall.me.clone(), channel.id.clone(), channel.number, role);
            room.sent = channel.sent;
            room.waits_since = now.mono;
            if let Ok(drafts) = hall.sender.lines().drafts(channel.number).await {
                room.set_drafts(drafts);
            }
            hall.enter(room, now);
        }
        hall
    }

    fn hub_config(&self, channel: &ChannelId) -> hub::Config {
        hub::Config { channel: channel.clone(), per_second: EVENTS_PER_SECOND, bytes_max: self.quota }
    }

    /// A room is there: what waits in it is on its way.
    fn enter(&mut self, mut room: Room, now: Now) {
        self.by_number.insert(room.number, room.id.clone());
        let hub = room.id.hub().clone();
        match &room.role {
            Role::Hub(hub) => {
                let invited = hub.summary().roster.standings().filter(|(_, standing)| *standing == Standing::Invited);
                room.invites = invited.map(|(origin, _)| (origin.clone(), (now.mono, 0))).collect();
                room.ask_again = Some(now.mono + ASK_EVERY);
            }
            Role::Member(member) => {
                let summary = member.summary();
                let outbox = self.outboxes.entry(hub.clone()).or_default();
                outbox.put(Stream::Own(room.id.clone()), summary.decided.min(summary.numbered), summary.numbered);
                self.touched.insert(hub);
            }
        }
        let id = room.id.clone();
        self.rooms.insert(id.clone(), room);
        self.hand_out(&id);
        self.note_companions();
    }

    /// Who shares a channel with this origin has changed.
    fn note_companions(&self) {
        let mut all = BTreeSet::new();
        for room in self.rooms.values() {
            let roster = room.roster();
            all.insert(room.id.hub().clone());
            all.extend(roster.standings().map(|(origin, _)| origin).filter(|origin| roster.is_member(origin)).cloned());
        }
        self.companions.send_replace(Arc::new(all));
    }

    /// Handles what happens until the node ends.
    pub(super) async fn run(mut self, mut told: mpsc::Receiver<Told>, mut stored: mpsc::UnboundedReceiver<Told>) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let all: Vec<ChannelId> = self.rooms.keys().cloned().collect();
        for channel in all {
            self.act(&channel, self.handle.now()).await;
        }
        loop {
            let mut next = tokio::select! {
                biased;
                Some(what) = stored.recv() => Some(what),
                what = told.recv() => match what {
                    Some(what) => Some(what),
                    None => return,
                },
                _ = tick.tick() => {
                    self.look_around(self.handle.now()).await;
                    None
                }
            };
            // What came meanwhile as well: outboxes are looked at once for all of it.
            let mut handled = 0;
            while let Some(what) = next {
                if matches!(what, Told::End) {
                    return;
                }
                self.handle(what, self.handle.now()).await;
                handled += 1;
                next = if handled < AT_ONCE { stored.try_recv().or_else(|_| told.try_recv()).ok() } else { None };
            }
            self.send(self.handle.now().mono);
        }
    }

    async fn handle(&mut self, what: Told, now: Now) {
        match what {
            Told::Submitted { from, channel, events, reply } => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    room.submit(from.clone(), events, reply, now);
                    self.act(&channel, now).await;
                }
                self.wake(&from);
            }
            Told::Delivered { channel, events, at: _, reply } => {
                self.deliver(&channel, (events, None), Some(reply), now).await;
                self.wake(channel.hub());
            }
            Told::Fetched { channel, at: _, outcome } => self.fetched(channel, outcome, now).await,
            Told::HeadsAsked { from, channels, reply } => {
                let heads = channels.into_iter().filter_map(|channel| self.head_for(&from, channel));
                let _ = reply.send(heads.collect());
                self.wake(&from);
            }
            Told::Invited { channel, invitation, reply } => {
                let answer = self.invited(channel, *invitation).await;
                let _ = reply.send(answer);
            }
            Told::Look { channel, origin, reply } => drop(reply.send(self.sight(&channel, &origin))),
            Told::LookAround(reply) => drop(reply.send(self.around())),
            Told::Create { channel, all_history, reply } => {
                let outcome = self.create(channel, all_history, now).await;
                let _ = reply.send(outcome);
            }
            Told::Say { channel, saying, reply } => {
                let outcome = self.say(&channel, saying, now).await;
                let _ = reply.send(outcome);
            }
            Told::Answer { channel, accepts, reply } => {
                let outcome = self.answer(channel, accepts, now).await;
                let _ = reply.send(outcome);
            }
            Told::Force { channel, reply } => {
                let outcome = self.force(&channel, now).await;
                let _ = reply.send(outcome);
            }
            Told::Sent { to, sent } => self.sent(to, sent, now).await,
            Told::Head { channel, member, seq } => self.head(&channel, member, seq, now).await,
            Told::Recovered { channel, member, events } => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    room.with_hub(|hub| hub.handle(hub::Input::Recovered { member, events }, now));
                    self.act(&channel, now).await;
                }
            }
            Told::Invitee { channel, member, is_told } => self.invitee(&channel, member, is_told, now),
            Told::Stored { number, upto, is_safe } => {
                let Some(channel) = self.by_number.get(&number).cloned() else { return };
                let mut wishes = Vec::new();
                if let Some(room) = self.rooms.get_mut(&channel) {
                    room.stored(upto, is_safe, self.handle.me().keys(), &mut wishes, now);
                }
                self.grant(&channel, wishes, now).await;
            }
            Told::Reopened { channel, role } => self.reopen(channel, role, now).await,
            Told::End => {}
        }
    }

    /// Does what a channel's rules want done by now.
    async fn act(&mut self, channel: &ChannelId, now: Now) {
        let mut wishes = Vec::new();
        if let Some(room) = self.rooms.get_mut(channel) {
            room.perform(self.handle.me().keys(), &mut wishes, now);
        }
        self.grant(channel, wishes, now).await;
    }

    async fn grant(&mut self, channel: &ChannelId, wishes: Vec<Wish>, now: Now) {
        for wish in wishes {
            match wish {
                // Err: the node has ended.
                Wish::Write(batch) => drop(self.disk.send(batch).await),
                Wish::Ready => self.show(channel, now),
                Wish::Outgoing { done, last } => {
                    let (hub, stream) = (channel.hub().clone(), Stream::Own(channel.clone()));
                    let outbox = self.outboxes.entry(hub.clone()).or_default();
                    outbox.put(stream.clone(), done, last);
                    outbox.rewind(&stream, done);
                    self.touched.insert(hub);
                }
                Wish::Fetch { after } => self.sender.fetch(channel.clone(), after),
                Wish::AskHead(member) => self.sender.ask_head(channel.clone(), member),
                Wish::Recover { member, after } => self.sender.recover(channel.clone(), member, after),
                Wish::Broken => {
                    if let Some(room) = self.rooms.get(channel) {
                        self.sender.reopen(channel.clone(), room.number);
                    }
                }
            }
        }
    }

    /// Shows what is on disk now, and puts it into the outboxes of those who may see it.
    fn show(&mut self, channel: &ChannelId, now: Now) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        let news = std::mem::take(&mut room.news);
        let is_hub = matches!(room.role, Role::Hub(_));
        let mut has_changed = false;
        for event in news {
            let change = Change::of(&event.authored).ok().flatten();
            has_changed |= change.is_some();
            match change {
                Some(Change::Invited(member)) if is_hub => drop(room.invites.insert(member, (now.mono, 0))),
                Some(Change::Removed(member)) => drop(room.invites.remove(&member)),
                Some(Change::Joined) => drop(room.invites.remove(&event.authored.origin)),
                _ => {}
            }
            // Err: nobody watches.
            let _ = self.news.send(Arc::new(Shown { channel: channel.clone(), event }));
        }
        self.hand_out(channel);
        if has_changed {
            self.note_companions();
        }
    }

    /// Puts what is on disk into the outboxes of the members, each as far as it may see.
    fn hand_out(&mut self, channel: &ChannelId) {
        let Some(room) = self.rooms.get(channel) else { return };
        let Role::Hub(hub) = &room.role else { return };
        let stream = Stream::Line(channel.clone());
        for (member, _) in hub.summary().roster.standings().filter(|(member, _)| **member != self.me) {
            let Some((first, until)) = hub.summary().roster.view(member) else { continue };
            let outbox = self.outboxes.entry(member.clone()).or_default();
            let has = room.sent.get(member).copied().unwrap_or(0).max(first - 1);
            let last = until.unwrap_or(room.ready).min(room.ready);
            outbox.put(stream.clone(), has, last);
            if let Some(until) = until {
                outbox.end(&stream, until);
            }
            self.touched.insert(member.clone());
        }
    }

    /// Begins the transactions that are due.
    fn send(&mut self, now: Duration) {
        for to in std::mem::take(&mut self.touched) {
            let Some(outbox) = self.outboxes.get_mut(&to) else { continue };
            let Some(parts) = outbox.poll(now) else { continue };
            let rooms = &self.rooms;
            let number = |stream: &Stream| match stream {
                Stream::Line(channel) | Stream::Own(channel) => rooms.get(channel).map(|room| room.number),
            };
            let parts = parts.into_iter().filter_map(|part| Some((number(&part.stream)?, part))).collect();
            self.sender.send(to, parts);
        }
    }

    async fn sent(&mut self, to: Origin, sent: Sent, now: Now) {
        let outbox = self.outboxes.entry(to.clone()).or_default();
        match sent.failure {
            None => outbox.sent(sent.done.clone()),
            Some(failure) => {
                outbox.sent(sent.done.clone());
                outbox.failed(now.mono, rand::random());
                if let Some(wait) = failure.retry_after() {
                    outbox.wait_until(now.mono + wait.min(PAUSE_MAX));
                }
                tracing::debug!(%to, %failure, "events wait for another origin");
            }
        }
        if sent.is_to_wait {
            outbox.wait_until(now.mono + TICK);
        }
        self.touched.insert(to.clone());
        for (stream, upto) in sent.done {
            let Stream::Line(channel) = stream else { continue };
            if let Some(room) = self.rooms.get_mut(&channel) {
                room.sent.insert(to.clone(), upto);
                let writes = vec![Write::Sent { channel: room.number, member: to.clone(), seq: upto }];
                let _ = self.disk.send(Batch { writes, done: None }).await;
            }
        }
        for (channel, outcomes) in sent.decided {
            let Some(room) = self.rooms.get_mut(&channel) else { continue };
            room.with_member(|member| member.handle(participant::Input::Decided { outcomes }));
            let decided = match &room.role {
                Role::Member(member) => member.summary().decided,
                Role::Hub(_) => 0,
            };
            if let Some(outbox) = self.outboxes.get_mut(&to) {
                outbox.sent([(Stream::Own(channel.clone()), decided)]);
            }
            self.act(&channel, now).await;
        }
    }

    /// Another origin was heard of: what waits for it need not wait any longer.
    fn wake(&mut self, origin: &Origin) {
        // Not more often than once a second: it may be heard of all the time, and refuse.
        let soon = self.handle.now().mono + Duration::from_secs(1);
        let is_late = |outbox: &&mut outbox::State| outbox.wake_at().is_some_and(|due| due > soon);
        if let Some(outbox) = self.outboxes.get_mut(origin).filter(is_late) {
            outbox.woken();
            self.touched.insert(origin.clone());
        }
        for room in self.rooms.values_mut().filter(|room| room.id.hub() == origin && room.failures > 0) {
            (room.failures, room.fetch_again) = (0, Some(Duration::ZERO));
        }
    }

    async fn deliver(
        &mut self,
        channel: &ChannelId,
        events: (Vec<Event>, Option<u64>),
        reply: Option<oneshot::Sender<Taken>>,
        now: Now,
    ) {
        let mut wishes = Vec::new();
        if let Some(room) = self.rooms.get_mut(channel) {
            room.deliver(events, reply, self.handle.me().keys(), &mut wishes, now);
        }
        self.grant(channel, wishes, now).await;
    }

    async fn fetched(&mut self, channel: ChannelId, outcome: Result<(Vec<Event>, u64), String>, now: Now) {
        match outcome {
            Ok((events, head)) => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    (room.failures, room.fetch_again) = (0, None);
                }
                self.deliver(&channel, (events, Some(head)), None, now).await;
            }
            Err(why) => {
                let Some(room) = self.rooms.get_mut(&channel) else { return };
                tracing::debug!(%channel, why, "the hub gave no events");
                let pause = Duration::from_secs(1).saturating_mul(1 << room.failures.min(6));
                room.failures += 1;
                room.fetch_again = Some(now.mono + pause);
            }
        }
    }

    /// Where the line of a channel ends here, for an origin that is a member of it.
    fn head_for(&self, from: &Origin, channel: ChannelId) -> Option<(ChannelId, u64, Option<EventId>)> {
        let room = self.rooms.get(&channel)?;
        if channel.hub() != from && !room.roster().is_member(from) {
            return None;
        }
        let last = room.last();
        Some((channel, last.map_or(0, |(seq, _)| seq), last.map(|(_, id)| id)))
    }

    async fn head(&mut self, channel: &ChannelId, member: Origin, seq: Option<u64>, now: Now) {
        // Who did not answer is asked again, by and by.
        let Some(seq) = seq else { return };
        let Some(room) = self.rooms.get_mut(channel) else { return };
        room.sent.insert(member.clone(), seq);
        room.with_hub(|hub| hub.handle(hub::Input::Head { member: member.clone(), seq }, now));
        if let Some(outbox) = self.outboxes.get_mut(&member) {
            outbox.sent_before(&Stream::Line(channel.clone()), seq);
        }
        self.act(channel, now).await;
        self.hand_out(channel);
    }

    async fn create(&mut self, channel: ChannelId, all_history: bool, now: Now) -> Result<(), Refused> {
        if self.rooms.contains_key(&channel) {
            return Err(Refused::Exists(channel));
        }
        let role = Role::Hub(hub::State::new(self.hub_config(&channel)));
        self.found(&channel, role, now).await?;
        let history = if all_history { History::All } else { History::FromJoining };
        for change in [Change::Created(history), Change::Joined] {
            let saying = Saying { kind: change.kind().to_owned(), data: change.data(), at: now.wall };
            if let Some(room) = self.rooms.get_mut(&channel) {
                let (reply, _) = oneshot::channel();
                room.say_as_hub(&saying, self.handle.me().keys(), reply, now);
            }
        }
        self.act(&channel, now).await;
        Ok(())
    }

    /// A channel that was not here before.
    async fn found(&mut self, channel: &ChannelId, role: Role, now: Now) -> Result<(), Refused> {
        if self.rooms.len() >= CHANNELS_MAX {
            return Err(Refused::TooMany);
        }
        let (number, is_hub) = (self.next_number, matches!(role, Role::Hub(_)));
        self.next_number += 1;
        let summary = match &role {
            Role::Hub(hub) => hub_to_text(hub.summary()),
            Role::Member(member) => member_to_text(member.summary()),
        };
        let writes = vec![Write::Channel { number, id: channel.clone(), is_hub, summary }];
        let _ = self.disk.send(Batch { writes, done: None }).await;
        self.enter(Room::new(self.me.clone(), channel.clone(), number, role), now);
        Ok(())
    }

    async fn say(&mut self, channel: &ChannelId, saying: Saying, now: Now) -> Result<Begun, Refused> {
        let keys = self.handle.me().keys();
        let Some(room) = self.rooms.get_mut(channel) else { return Err(Refused::UnknownChannel(channel.clone())) };
        let mut wishes = Vec::new();
        let begun = match room.role {
            Role::Hub(_) => {
                let (reply, outcomes) = oneshot::channel();
                let id = room.say_as_hub(&saying, keys, reply, now);
                room.perform(keys, &mut wishes, now);
                Begun::AtHub { id, outcomes }
            }
            Role::Member(_) => {
                let (reply, is_kept) = oneshot::channel();
                room.say_as_member(saying, reply, keys, &mut wishes, now);
                Begun::Waits(is_kept)
            }
        };
        self.grant(channel, wishes, now).await;
        Ok(begun)
    }

    /// A hub invites: whether a person is to decide.
    async fn invited(&mut self, channel: ChannelId, invitation: Invitation) -> Invited {
        if let Some(room) = self.rooms.get(&channel)
            && room.roster().is_member(&self.me)
        {
            return Invited::Member { upto: room.ready };
        }
        if !self.invitations.contains_key(&channel) && self.invitations.len() >= INVITATIONS_MAX {
            return Invited::Full;
        }
        self.invitations.insert(channel.clone(), invitation.clone());
        let writes = vec![Write::Invitation { channel, invitation: Some(Box::new(invitation)) }];
        let (waiter, is_safe) = oneshot::channel();
        let done = Some(crate::store::federation::Done::Waiter(waiter));
        let _ = self.disk.send(Batch { writes, done }).await;
        Invited::Pending(is_safe)
    }

    async fn answer(&mut self, channel: ChannelId, accepts: bool, now: Now) -> Result<Begun, Refused> {
        if self.invitations.remove(&channel).is_none() {
            return Err(Refused::NotInvited(channel));
        }
        let writes = vec![Write::Invitation { channel: channel.clone(), invitation: None }];
        if !accepts {
            let _ = self.disk.send(Batch { writes, done: None }).await;
            return Ok(Begun::Nothing);
        }
        if !self.rooms.contains_key(&channel) {
            let state = participant::State::restored(channel.clone(), self.me.clone(), participant::Summary::default());
            self.found(&channel, Role::Member(Box::new(state)), now).await?;
        }
        if let Some(room) = self.rooms.get_mut(&channel) {
            room.with_member(|member| member.handle(participant::Input::Invited));
        }
        self.act(&channel, now).await;
        let joined = Change::Joined;
        let saying = Saying { kind: joined.kind().to_owned(), data: joined.data(), at: now.wall };
        let begun = self.say(&channel, saying, now).await?;
        // Only now: what is begun is on its way to the disk before the invitation is gone.
        let _ = self.disk.send(Batch { writes, done: None }).await;
        Ok(begun)
    }

    async fn force(&mut self, channel: &ChannelId, now: Now) -> Result<(), Refused> {
        let Some(room) = self.rooms.get_mut(channel) else { return Err(Refused::UnknownChannel(channel.clone())) };
        let Role::Hub(hub) = &mut room.role else { return Err(Refused::NotHub(channel.hub().clone())) };
        if hub.unheard().next().is_none() {
            return Err(Refused::WaitsForNobody);
        }
        hub.handle(hub::Input::Forced, now);
        self.act(channel, now).await;
        Ok(())
    }

    fn invitee(&mut self, channel: &ChannelId, member: Origin, is_told: bool, now: Now) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        if is_told {
            room.invites.remove(&member);
        } else if let Some((due, failures)) = room.invites.get_mut(&member) {
            *due = now.mono + Duration::from_secs(1).saturating_mul(1 << (*failures).min(10)).min(PAUSE_MAX);
            *failures += 1;
        }
    }

    async fn reopen(&mut self, channel: ChannelId, role: KeptRole, now: Now) {
        let Some(old) = self.rooms.remove(&channel) else { return };
        let role = Room::role_of(role, (&channel, &self.me), self.hub_config(&channel));
        let mut room = Room::new(self.me.clone(), channel.clone(), old.number, role);
        (room.sent, room.faults, room.waits_since) = (old.sent, old.faults, now.mono);
        if let Ok(drafts) = self.sender.lines().drafts(room.number).await {
            room.set_drafts(drafts);
        }
        self.enter(room, now);
        self.act(&channel, now).await;
    }

    /// What is due.
    async fn look_around(&mut self, now: Now) {
        let due: Vec<Origin> = self.outboxes.keys().cloned().collect();
        self.touched.extend(due);
        let is_time_to_look = now.mono >= self.look_at;
        if is_time_to_look {
            self.look_at = now.mono + LOOK_EVERY;
        }
        let (mut acting, mut forced) = (Vec::new(), Vec::new());
        for room in self.rooms.values_mut() {
            match &mut room.role {
                Role::Hub(hub) => {
                    if room.ask_again.is_some_and(|due| now.mono >= due) {
                        let waits = hub.unheard().next().is_some();
                        room.ask_again = waits.then(|| now.mono + ASK_EVERY);
                        hub.ask_again();
                        acting.push(room.id.clone());
                        if waits && now.mono >= room.waits_since + WAIT_MAX {
                            forced.push(room.id.clone());
                        }
                    }
                    for (member, (due, _)) in &mut room.invites {
                        if now.mono >= *due {
                            // Until it is answered.
                            *due = now.mono + PAUSE_MAX;
                            self.sender.invite(room.id.clone(), member.clone(), hub.summary().roster.clone());
                        }
                    }
                }
                Role::Member(member) => {
                    let is_due = room.fetch_again.is_some_and(|due| now.mono >= due);
                    let is_member = member.summary().roster.is_member(&self.me);
                    if is_due || (is_time_to_look && is_member && room.fetch_again.is_none()) {
                        room.fetch_again = None;
                        let after = member.summary().last.map_or(0, |(seq, ..)| seq);
                        self.sender.fetch(room.id.clone(), after);
                    }
                }
            }
        }
        for channel in forced {
            tracing::warn!(%channel, "goes on in the next term without members that cannot be reached");
            let _ = self.force(&channel, now).await;
        }
        for channel in acting {
            self.act(&channel, now).await;
        }
    }

    fn sight(&self, channel: &ChannelId, origin: &Origin) -> Option<Sight> {
        let room = self.rooms.get(channel)?;
        let roster = room.roster();
        // A member that sees no more than from its joining on does not see its hub join.
        let hub = (channel.hub() == origin).then_some(Standing::Joined { since: 1 });
        let standing = roster.standing(origin).or(hub)?;
        let view = match roster.view(origin) {
            Some((first, until)) => (first, until.unwrap_or(room.ready).min(room.ready)),
            None => (1, 0),
        };
        Some(Sight { number: room.number, view, whole: room.ready, standing, roster: roster.clone() })
    }

    fn around(&self) -> Around {
        let view = |room: &Room| RoomView {
            id: room.id.clone(),
            number: room.number,
            is_hub: matches!(room.role, Role::Hub(_)),
            roster: room.roster().clone(),
            ready: room.ready,
            last: room.last(),
            waiting: room.waiting(),
            is_caught_up: match &room.role {
                Role::Hub(hub) => hub.unheard().next().is_none(),
                Role::Member(member) => member.is_caught_up(),
            },
            unheard: match &room.role {
                Role::Hub(hub) => hub.unheard().cloned().collect(),
                Role::Member(_) => Vec::new(),
            },
            faults: room.faults.iter().cloned().collect(),
        };
        Around {
            rooms: self.rooms.values().map(view).collect(),
            invitations: self.invitations.iter().map(|(id, kept)| (id.clone(), kept.clone())).collect(),
            outboxes: self
                .outboxes
                .iter()
                .map(|(origin, outbox)| (origin.clone(), (outbox.len(), outbox.failures())))
                .collect(),
        }
    }
}
