//! The one task of federation: everything that happens to channels comes here, is told to their rules, and what they want
//! done is begun. It decides nothing that the rules decide.

mod heads;
mod looking;
mod outboxes;
mod questions;
mod wanted;

use super::comparing::{Compared, Line};
use super::contract::{Around, Begun, Refused, RoomView, Sight, Told};
use super::room::{Ends, Role, Room, Saying, Taken, Wish};
use super::sending::{Given, Sender, Sent};
use super::{Invited, Shown};
use crate::driver::Handle;
use crate::store::federation::{Batch, Invitation, Restored, Role as KeptRole, Write};
use comity_core::federation::heads::Verdict;
use comity_core::federation::hub::{self, Outcome, Refusal};
use comity_core::federation::outbox::{self, Stream};
use comity_core::federation::participant;
use comity_core::federation::roster::{Change, Forbidden, History, Standing};
use comity_core::federation::{ChannelId, Event, Origin};
use comity_core::time::{Now, Timestamp};
use looking::{line, view};
use questions::Questions;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

/// How often is looked for what is due: requests that are tried again, and lines that may have gone on.
const TICK: Duration = Duration::from_millis(250);

/// How often a hub asks those again that have not said where their lines end.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// How long a comparison with another origin may take until the next one is begun beside it.
const COMPARISON: Duration = Duration::from_secs(300);

/// How long a hub that starts waits for members that cannot be reached, before it goes on in the next term.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How far the clock of a hub may be ahead of this one: as far as that of whoever asks something
/// (`protocols/federation.md`, "Signed requests"). The times of answers are checked nowhere else.
const AHEAD_MAX: Duration = Duration::from_secs(60);

/// The longest pause between requests that fail.
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// How long a member that reads a line, and was told that there is more, may take until it asks for that.
const READ_AGAIN: Duration = Duration::from_secs(10);

/// Events that are handled before outboxes are looked at.
const AT_ONCE: usize = 256;

/// Channels that this node takes part in, and invitations that wait for a person, at most: in all and of one origin.
pub(super) const CHANNELS_MAX: usize = 4096;
const INVITATIONS_MAX: usize = 1000;
const INVITATIONS_PER_ORIGIN_MAX: usize = 10;

/// The task's own things.
pub(super) struct Hall {
    me: Origin,
    handle: Handle,
    /// What one member may say on a channel of this origin: events a second, and bytes in all.
    quota: (u32, u64),
    sender: Sender,
    disk: mpsc::Sender<Batch>,
    news: broadcast::Sender<Arc<Shown>>,
    rooms: BTreeMap<ChannelId, Room>,
    by_number: BTreeMap<u64, ChannelId>,
    next_number: u64,
    outboxes: BTreeMap<Origin, outbox::State>,
    /// Outboxes in which something may be due.
    touched: BTreeSet<Origin>,
    /// Outboxes in which something will be due before the next tick.
    wakes: BTreeSet<(Duration, Origin)>,
    invitations: BTreeMap<ChannelId, Invitation>,
    /// Channels whose line may have gone on since those who show events asked last.
    moved: BTreeSet<ChannelId>,
    /// Channels whose hub gave no events when it was asked last.
    failing: BTreeSet<ChannelId>,
    /// Who is to be asked where lines of this hub end, with their numbers on disk, and who is asked.
    asking: BTreeMap<Origin, BTreeMap<ChannelId, u64>>,
    asked: Questions,
    /// Lines that do not go on as they are here, by their hubs, and those that are compared with these to find where.
    parted: BTreeMap<Origin, BTreeSet<ChannelId>>,
    finding: Questions,
    /// With whom lines are being compared, as is done by the clock.
    comparing: Questions,
    look_at: Duration,
    /// How often a member asks whether the line went on, beside what the hub sends, and compares it.
    look_every: Duration,
    /// Those who share a channel with this origin.
    companions: watch::Sender<Arc<BTreeSet<Origin>>>,
}

impl Hall {
    /// The channels as they are on disk.
    pub(super) async fn open(
        (me, quota, look_every): (Origin, (u32, u64), Duration),
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
            next_number: restored.last_number + 1,
            outboxes: BTreeMap::new(),
            touched: BTreeSet::new(),
            wakes: BTreeSet::new(),
            invitations: restored.invitations,
            moved: BTreeSet::new(),
            failing: BTreeSet::new(),
            asking: BTreeMap::new(),
            asked: Questions::patient(ASK_EVERY),
            parted: BTreeMap::new(),
            finding: Questions::patient(look_every),
            comparing: Questions::patient(COMPARISON),
            look_at: now.mono + look_every,
            look_every,
            companions,
        };
        for channel in restored.channels {
            let role = Room::role_of(channel.role, (&channel.id, &hall.me), hall.hub_config(&channel.id));
            let mut room = Room::new(hall.me.clone(), channel.id.clone(), channel.number, role);
            room.sent = channel.sent;
            let proofs = restored.proofs.iter().filter(|(of, _)| *of == channel.id);
            proofs.for_each(|(_, text)| room.remember_proof(text.clone()));
            room.waits_since = now.mono;
            if let Ok(drafts) = hall.sender.lines().drafts(channel.number).await {
                room.set_drafts(drafts);
            }
            hall.enter(room, now);
        }
        hall
    }

    fn hub_config(&self, channel: &ChannelId) -> hub::Config {
        let (per_second, bytes_max) = self.quota;
        hub::Config { channel: channel.clone(), per_second, bytes_max }
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
                let (stream, decided) = (Stream::Own(room.id.clone()), summary.decided.min(summary.numbered));
                outbox.put(stream.clone(), decided, summary.numbered);
                // What was decided and did not come to the disk is asked again.
                outbox.rewind(&stream, decided);
                self.touched.insert(hub);
            }
        }
        let id = room.id.clone();
        self.rooms.insert(id.clone(), room);
        self.moved.insert(id.clone());
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
        let stop = self.handle.stop().clone();
        loop {
            let wake = self.wakes.first().map(|(at, _)| at.saturating_sub(self.handle.now().mono));
            let mut next = tokio::select! {
                biased;
                // A node that is dropped says nothing more.
                () = stop.cancelled() => return,
                Some(what) = stored.recv() => Some(what),
                // Before what others want: they may want something all the time.
                _ = tick.tick() => {
                    self.look_around(self.handle.now()).await;
                    None
                }
                what = told.recv() => match what {
                    Some(what) => Some(what),
                    None => return,
                },
                () = sleep(wake.unwrap_or(TICK)), if wake.is_some() => None,
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
            let now = self.handle.now().mono;
            self.ask_others(now);
            self.send(now);
        }
    }

    async fn handle(&mut self, what: Told, now: Now) {
        match what {
            Told::Submitted { from, channel, events, reply } => {
                match self.rooms.get_mut(&channel).filter(|room| room.may_know(&from)) {
                    Some(room) => {
                        room.submit(from.clone(), events, reply, now);
                        self.act(&channel, now).await;
                    }
                    // Whether there is such a channel is nobody's business but its members'.
                    None => {
                        let refused = Outcome::Refused(Refusal::Forbidden(Forbidden::NotMember));
                        let _ = reply.send(vec![refused; events.len()]);
                    }
                }
                self.wake(&from);
            }
            Told::Delivered { channel, events, at, reply } => {
                // What the hub signed before it lost its memory counts no more; nobody answers it.
                if self.hears(&channel, at) {
                    self.deliver(&channel, (events, None, at), Some(reply), now).await;
                }
                self.wake(channel.hub());
            }
            Told::Fetched { channel, outcome } => self.fetched(channel, outcome, now).await,
            Told::HeadAsked { from, channel, at, reply } => {
                self.head_asked(&from, &channel, (at, reply), now).await;
                self.wake(&from);
            }
            Told::HubHas { channel, at, upto } => self.hub_has(&channel, (at, upto), now).await,
            Told::Compared { channel, compared } => self.compared(&channel, compared, now).await,
            Told::Parted { channel, kept, theirs } => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    room.with_member(|member| member.handle(participant::Input::Parted { kept, theirs }));
                    self.act(&channel, now).await;
                }
            }
            Told::Proven { channel, proof } => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    room.with_member(|member| member.handle(participant::Input::Proven(proof)));
                    self.act(&channel, now).await;
                }
            }
            Told::Sent { to, sent } => self.sent(to, sent, now).await,
            Told::Head { channel, member, head, shown } => self.head(&channel, member, (head, shown), now).await,
            Told::Recovered { channel, member, events } => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    let before = room.last();
                    room.with_hub(|hub| hub.handle(hub::Input::Recovered { member, events }, now));
                    if room.last() != before {
                        // It gets on.
                        room.waits_since = now.mono;
                    }
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
            Told::PageGiven { channel, origin, page, is_last } => self.page_given(channel, &origin, (page, is_last)),
            asked => self.asked(asked, now).await,
        }
    }

    /// Somebody waits for an answer.
    async fn asked(&mut self, what: Told, now: Now) {
        match what {
            Told::Ends(reply) => {
                let moved = std::mem::take(&mut self.moved);
                let ends = moved.iter().filter_map(|channel| self.rooms.get_mut(channel)?.changed_end());
                let _ = reply.send(ends.collect());
            }
            Told::Invited { channel, invitation, reply } => {
                let answer = self.invited(channel, *invitation).await;
                let _ = reply.send(answer);
            }
            Told::Look { channel, origin, reply } => {
                let _ = reply.send(self.sight(&channel, &origin));
                self.note_stranger(&channel, origin, now).await;
            }
            Told::View { channel, reply } => {
                drop(reply.send(self.rooms.get(&channel).map(|room| Box::new(view(room)))))
            }
            Told::Proofs { channel, reply } => {
                drop(reply.send(self.rooms.get(&channel).map(|room| room.proofs.clone())));
            }
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
            _ => {}
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
                Wish::Fetch { after } => {
                    if let Some(room) = self.rooms.get_mut(channel) {
                        room.is_fetching = true;
                    }
                    self.sender.fetch(channel.clone(), after);
                }
                Wish::Compare => drop(self.parted.entry(channel.hub().clone()).or_default().insert(channel.clone())),
                Wish::Check(placed) => {
                    if let Some(room) = self.rooms.get(channel) {
                        self.sender.check(channel.clone(), room.number, placed);
                    }
                }
                Wish::AskHead(member) => {
                    if let Some(room) = self.rooms.get(channel) {
                        self.asking.entry(member).or_default().insert(channel.clone(), room.number);
                    }
                }
                Wish::Recover { member, after } => self.sender.recover(channel.clone(), member, after),
                Wish::Broken => {
                    if let Some(room) = self.rooms.get(channel) {
                        self.sender.reopen(channel.clone(), room.number);
                    }
                }
            }
        }
        self.skip_decided(channel);
        if !self.moved.contains(channel) {
            self.moved.insert(channel.clone());
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

    async fn deliver(
        &mut self,
        channel: &ChannelId,
        (events, head, at): (Vec<Event>, Option<u64>, Timestamp),
        reply: Option<oneshot::Sender<Taken>>,
        now: Now,
    ) {
        let mut wishes = Vec::new();
        if let Some(room) = self.rooms.get_mut(channel) {
            room.with_member(|member| member.heard(at.min(now.wall + AHEAD_MAX)));
            room.deliver((events, head), reply, self.handle.me().keys(), &mut wishes, now);
        }
        self.grant(channel, wishes, now).await;
    }

    /// Whether what a hub signed at this time counts here.
    fn hears(&self, channel: &ChannelId, at: Timestamp) -> bool {
        self.rooms.get(channel).is_some_and(|room| match &room.role {
            Role::Member(member) => member.hears(at),
            Role::Hub(_) => true,
        })
    }

    async fn fetched(&mut self, channel: ChannelId, outcome: Result<Given, String>, now: Now) {
        if let Some(room) = self.rooms.get_mut(&channel) {
            room.is_fetching = false;
        }
        match outcome {
            Ok((events, head, at)) if self.hears(&channel, at) => {
                self.failing.remove(&channel);
                if let Some(room) = self.rooms.get_mut(&channel) {
                    // Those after a bad one are asked for again, and it, which may count then.
                    (room.failures, room.fetch_again) = (0, head.is_none().then(|| now.mono + TICK));
                }
                self.deliver(&channel, (events, head, at), None, now).await;
            }
            // The hub has started since it answered.
            Ok(_) => {
                if let Some(room) = self.rooms.get_mut(&channel) {
                    room.fetch_again = Some(now.mono);
                }
            }
            Err(why) => {
                let Some(room) = self.rooms.get_mut(&channel) else { return };
                tracing::debug!(%channel, why, "the hub gave no events");
                let pause = Duration::from_secs(1).saturating_mul(1 << room.failures.min(6));
                room.failures += 1;
                room.fetch_again = Some(now.mono + pause);
                self.failing.insert(channel);
            }
        }
    }
}
