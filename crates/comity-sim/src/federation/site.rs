//! One site: the rules of a hub or of a member, its disk, its outboxes, and what it does with what they want done.

mod asking;
mod comparing;
mod effects;
mod original;
mod saying;

use super::books::Books;
use super::disk::{Disk, Entry, Saying};
use super::{GUEST, Kind, MEMBERS, ODD, Plant, Wish};
use comity_core::federation::event::{Authored, Draft, Event, Order};
use comity_core::federation::heads::{Agreed, Comparison, Digest, Head, Placed, Proof};
use comity_core::federation::hub::{self, Outcome, Refusal};
use comity_core::federation::outbox::{self, Part, Stream};
use comity_core::federation::participant;
use comity_core::federation::roster::{Change, Forbidden, History};
use comity_core::federation::{ChannelId, EventId, Origin};
use comity_core::id::{NodeId, Ticket};
use comity_core::identity::key::KeyPair;
use comity_core::time::{Now, Timestamp};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How often a member looks whether the hub has more than it was told of, and a hub asks again for heads.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(2);

/// How long a member that was given events, and told that there are more, may take to ask for those.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// How often a member compares what it has with another.
const COMPARE_EVERY: Duration = Duration::from_secs(8);

/// Events in one answer, at most.
const PAGE: usize = 50;

/// What is said by joining and by leaving, and not by an application.
const JOINING: Saying = 0;
const LEAVING: Saying = u64::MAX;

/// What sites ask each other.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// A member submits its own events.
    Submit(Vec<Arc<Authored>>),
    /// A member submits what it does not sign, said at this time.
    Unsigned { saying: Saying, at: Timestamp },
    /// The hub hands over events.
    Deliver { events: Vec<Event> },
    /// So many events after this one.
    Events { after: u64, limit: usize },
    /// The hub asks where the line ends.
    Head,
    /// Anybody asks where the line ends.
    Line,
    /// What tells events of a range from any others.
    Digest { after: u64, upto: u64 },
    /// Who is a member.
    Members,
    /// The hub invites.
    Invite,
}

/// What they answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Outcomes(Vec<Outcome>),
    Taken {
        upto: u64,
    },
    Events {
        events: Vec<Event>,
        head: u64,
    },
    /// The last event: its number, id and term.
    Head(Option<(u64, EventId, u64)>),
    /// Where the line ends, and what proves that the hub lied.
    Line(Option<Box<Head>>, Option<Box<Proof>>),
    /// Since which event who is a member.
    Members(BTreeMap<usize, u64>),
    Digest(Option<Digest>),
    Refused,
}

/// What an answer is waited for.
#[derive(Debug)]
enum Call {
    Submit { first: u64 },
    Unsigned { saying: Saying },
    Deliver { to: usize, after: u64 },
    Fetch,
    Head { member: usize },
    Recover { member: usize },
    Line { with: usize },
    Digest { with: usize, after: u64, upto: u64 },
    Place { with: usize },
    Members,
    Invite,
}

#[derive(Debug)]
enum Role {
    Hub(hub::State),
    Member(participant::State),
}

/// What a crash takes.
#[derive(Debug)]
struct Up {
    role: Role,
    /// The line in memory: what is on disk, and what is on its way there.
    line: BTreeMap<u64, Event>,
    /// The last event that is said to be on disk.
    ready: u64,
    drafts: BTreeMap<u64, Saying>,
    /// Whether what is not signed is under way.
    is_submitting: bool,
    own: BTreeMap<u64, Arc<Authored>>,
    saying: Vec<Saying>,
    /// What the hub could not take when it was said.
    unsaid: Vec<Saying>,
    /// Whom the hub lists as members, and since when.
    listed: BTreeMap<usize, u64>,
    /// What is being compared, with whom; and up to where it was the same before.
    comparisons: BTreeMap<usize, Comparison>,
    agreed: BTreeMap<usize, Agreed>,
    compare_at: Duration,
    compared: usize,
    outboxes: BTreeMap<usize, outbox::State>,
    calls: BTreeMap<u64, Call>,
    tickets: BTreeMap<Ticket, Asker>,
    /// Who is told of events when this write is on disk.
    owed: Vec<(u64, usize, u64, u64)>,
    written: u64,
    is_syncing: bool,
    look_at: Duration,
    wake_at: Option<Duration>,
}

#[derive(Debug)]
enum Asker {
    Remote { to: usize, start: u64, call: u64 },
    Application(Saying),
    Nobody,
}

/// One site.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) number: usize,
    pub(super) start: u64,
    disk: Disk,
    up: Option<Up>,
    plant: Plant,
    kind: Kind,
    history: History,
    /// Whether it signs, and checks what others signed.
    is_signed: bool,
    key: KeyPair,
    wishes: Vec<Wish>,
    /// Sayings, calls and tickets are counted through all starts.
    counted: u64,
}

pub(super) fn origin_of(number: usize) -> Origin {
    let name = if number == 0 { "hub.test".to_owned() } else { format!("m{number}.test") };
    name.parse().expect("an origin")
}

fn channel() -> ChannelId {
    "!a:hub.test".parse().expect("a channel")
}

fn moment(now: Duration) -> Now {
    let millis = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
    Now { mono: now, wall: Timestamp::from_millis(1_700_000_000_000 + millis) }
}

impl Site {
    pub(super) fn new(number: usize, plant: Plant, (kind, history): (Kind, History), is_signed: bool) -> Self {
        let (disk, wishes, key) = (Disk::default(), Vec::new(), key_of(number));
        Self { number, start: 0, disk, up: None, plant, kind, history, is_signed, key, wishes, counted: 0 }
    }

    pub(super) fn origin(&self) -> Origin {
        origin_of(self.number)
    }

    pub(super) fn node(&self) -> NodeId {
        self.key.node()
    }

    pub(super) fn proofs(&self) -> &[Proof] {
        &self.disk.synced.proofs
    }

    pub(super) fn is_up(&self) -> bool {
        self.up.is_some()
    }

    pub(super) fn wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    pub(super) fn line(&self) -> impl Iterator<Item = &Event> {
        self.disk.synced.line.values()
    }

    pub(super) fn line_len(&self) -> u64 {
        self.disk.synced.line.len() as u64
    }

    pub(super) fn line_end(&self) -> u64 {
        self.disk.synced.line.keys().last().copied().unwrap_or(0)
    }

    /// The line as the hub has it, with what is not on disk.
    pub(super) fn all(&self) -> impl Iterator<Item = &Event> {
        self.up.iter().flat_map(|up| up.line.values())
    }

    /// What the hub would give a site.
    pub(super) fn view_of(&self, to: usize) -> Option<(u64, Option<u64>)> {
        let up = self.up.as_ref()?;
        match &up.role {
            Role::Hub(hub) => hub.summary().roster.view(&origin_of(to)),
            // Who joined before this site did is known to it by the hub's list.
            Role::Member(member) => member.view_of(&origin_of(to), up.listed.get(&to).copied()),
        }
    }

    /// Whether the hub waits for members.
    pub(super) fn is_waiting(&self) -> bool {
        match &self.up {
            Some(Up { role: Role::Hub(hub), .. }) => hub.unheard().next().is_some(),
            // It will, when it is up.
            _ => true,
        }
    }

    pub(super) fn force(&mut self, now: Duration, books: &mut Books) {
        self.with_hub(|hub| hub.handle(hub::Input::Forced, moment(now)));
        self.perform(now, books);
    }

    pub(super) fn is_idle(&self) -> bool {
        let Some(up) = &self.up else { return false };
        let rests = match &up.role {
            Role::Hub(hub) => !hub.is_asking(),
            Role::Member(member) => {
                let summary = member.summary();
                let seen = summary.authors.get(&self.origin()).copied().unwrap_or(0);
                let said = summary.drafts == summary.drafts_numbered && summary.decided == summary.numbered;
                let is_gone = !summary.roster.is_member(&self.origin());
                member.is_caught_up() && said && (is_gone || seen == summary.decided)
            }
        };
        rests
            && self.disk.synced.unsigned.is_empty()
            && up.unsaid.is_empty()
            && self.disk.is_clean()
            && up.outboxes.values().all(outbox::State::is_empty)
    }

    pub(super) fn back_up(&mut self) {
        if self.number != 0 {
            return self.disk.back_up();
        }
        let roster = self.disk.synced.hub.as_ref().map(|hub| &hub.roster);
        // Who comes late must not be known yet, or be invited at most.
        let is_right = |number| number == ODD && self.kind == Kind::Newcomer;
        let all = (0..=MEMBERS).chain((self.kind == Kind::Attested).then_some(GUEST));
        let is_as_wanted = roster.is_some_and(|roster| {
            all.into_iter().all(|number| roster.is_member(&origin_of(number)) != is_right(number))
        });
        if is_as_wanted && !self.disk.is_backed_up() {
            self.disk.back_up();
        }
    }

    /// The disk is what was copied, if it ever was; the last event on it.
    pub(super) fn restore(&mut self) -> Option<u64> {
        self.disk.restore().then(|| self.line_end())
    }

    pub(super) fn kill(&mut self) {
        self.up = None;
        self.disk.crash();
    }

    pub(super) fn begin(&mut self, now: Duration) {
        self.start += 1;
        let content = self.disk.synced.clone();
        let is_new = content.line.is_empty() && content.drafts.is_empty();
        let role = if self.number == 0 {
            let config = hub::Config { channel: channel(), per_second: 500, bytes_max: u64::MAX };
            Role::Hub(match content.hub {
                Some(summary) => hub::State::restored(config, summary),
                None => hub::State::new(config),
            })
        } else {
            Role::Member(participant::State::restored(channel(), self.origin(), content.member.clone()))
        };
        let (decided, numbered) = (content.member.decided, content.member.numbered);
        let ready = content.line.keys().last().copied().unwrap_or(0);
        let mut up = Up {
            role,
            ready,
            line: content.line,
            drafts: content.drafts,
            own: content.own.into_iter().map(|(number, own)| (number, Arc::new(own))).collect(),
            is_submitting: false,
            saying: Vec::new(),
            unsaid: Vec::new(),
            listed: BTreeMap::new(),
            comparisons: BTreeMap::new(),
            agreed: BTreeMap::new(),
            compare_at: now + COMPARE_EVERY,
            compared: self.number,
            outboxes: BTreeMap::new(),
            calls: BTreeMap::new(),
            tickets: BTreeMap::new(),
            owed: Vec::new(),
            written: 0,
            is_syncing: false,
            look_at: now + LOOK_EVERY,
            wake_at: None,
        };
        if numbered > decided {
            up.outboxes.entry(0).or_default().put(Stream::Own(channel()), decided, numbered);
        }
        self.up = Some(up);
        if is_new && self.number == 0 {
            self.found(now);
        } else if is_new && !self.comes_late() {
            self.with_member(|member| member.handle(participant::Input::Invited));
            self.says(JOINING, now);
            if self.speaks_for_guest() {
                self.join_unsigned(now);
            }
        }
    }

    /// Whether this site is invited only after a while.
    fn comes_late(&self) -> bool {
        self.number == ODD && self.kind == Kind::Newcomer
    }

    fn decided(&self) -> u64 {
        match &self.up {
            Some(Up { role: Role::Member(member), .. }) => member.summary().decided,
            _ => 0,
        }
    }

    /// The member has the line up to this event, and is sent the rest.
    fn deliver_to(&mut self, member: usize, has: u64) {
        let Some(up) = &mut self.up else { return };
        let Role::Hub(hub) = &up.role else { return };
        if let Some((first, until)) = hub.summary().roster.view(&origin_of(member)) {
            let last = until.unwrap_or(up.ready).min(up.ready);
            let (outbox, stream) = (up.outboxes.entry(member).or_default(), Stream::Line(channel()));
            outbox.put(stream.clone(), has.max(first - 1), last);
            outbox.skip(&stream, first - 1);
        }
    }

    /// The disk has written all that was pending.
    pub(super) fn synced(&mut self, now: Duration, books: &mut Books) {
        let upto = self.disk.sync();
        if let (Some(up), Some(upto)) = (&mut self.up, upto) {
            up.is_syncing = false;
            match &mut up.role {
                Role::Hub(hub) => hub.handle(hub::Input::Stored { upto }, moment(now)),
                Role::Member(member) => member.handle(participant::Input::Stored { upto }),
            }
        }
        self.perform(now, books);
        let end = self.line_end();
        let Some(up) = &mut self.up else { return };
        let (told, owed) = std::mem::take(&mut up.owed).into_iter().partition(|(write, ..)| Some(*write) <= upto);
        let told: Vec<_> = told;
        up.owed = owed;
        let answers = told.into_iter().map(|(_, to, start, call)| Wish::Answer {
            to,
            start,
            call,
            answer: Answer::Taken { upto: end },
        });
        self.wishes.extend(answers);
    }

    /// A deadline.
    pub(super) fn wake(&mut self, now: Duration, books: &mut Books) {
        let Some(up) = &mut self.up else { return };
        // A later deadline, which an earlier one has taken the place of.
        if up.wake_at.is_some_and(|at| now < at) {
            return;
        }
        up.wake_at = None;
        if now >= up.look_at {
            match &mut up.role {
                Role::Hub(hub) => {
                    up.look_at = now + ASK_EVERY;
                    hub.ask_again();
                    let unsaid = std::mem::take(&mut up.unsaid);
                    unsaid.into_iter().for_each(|saying| self.says(saying, now));
                }
                Role::Member(_) => {
                    up.look_at = now + LOOK_EVERY;
                    self.look();
                }
            }
        }
        self.compare_in_turn(now);
        self.submit_unsigned();
        self.perform(now, books);
    }

    fn ask(&mut self, to: usize, what: Call, request: Request) {
        self.counted += 1;
        let call = self.counted;
        if let Some(up) = &mut self.up {
            up.calls.insert(call, what);
            self.wishes.push(Wish::Ask { to, call, request });
        }
    }

    /// Does what the rules want done, until they want nothing more.
    fn perform(&mut self, now: Duration, books: &mut Books) {
        loop {
            let before = self.counted;
            let is_done = match self.up.as_mut().map(|up| &mut up.role) {
                Some(Role::Hub(hub)) => {
                    let effects: Vec<_> = hub.effects().collect();
                    self.perform_hub(effects, now, books)
                }
                Some(Role::Member(member)) => {
                    let effects: Vec<_> = member.effects().collect();
                    self.perform_member(effects, now, books)
                }
                None => return,
            };
            if is_done && self.counted == before {
                break;
            }
        }
        self.send(now);
    }

    /// Sends what waits, syncs what is written, and says when to be woken.
    fn send(&mut self, now: Duration) {
        let Some(up) = &mut self.up else { return };
        let mut batches = Vec::new();
        for (to, outbox) in &mut up.outboxes {
            batches.extend(outbox.poll(now).map(|parts| (*to, parts)));
        }
        let mut asks = Vec::new();
        for (to, parts) in batches {
            let Part { after, upto, .. } = parts[0];
            asks.push(if to == 0 {
                let events = (after + 1..=upto).map_while(|number| up.own.get(&number).cloned()).collect();
                (to, Call::Submit { first: after + 1 }, Request::Submit(events))
            } else {
                let events = up.line.range(after + 1..=upto).map(|(_, event)| event.clone()).collect();
                (to, Call::Deliver { to, after }, Request::Deliver { events })
            });
        }
        for (to, _, request) in &mut asks {
            if let Request::Deliver { events } = request {
                self.lie(*to, events);
            }
        }
        for (to, call, request) in asks {
            self.ask(to, call, request);
        }
        let Some(up) = &mut self.up else { return };
        if !self.disk.is_clean() && !std::mem::replace(&mut up.is_syncing, true) {
            self.wishes.push(Wish::Sync);
        }
        let soon = up.look_at.min(up.compare_at);
        let due = up.outboxes.values().filter_map(outbox::State::wake_at).fold(soon, Duration::min).max(now);
        if up.wake_at.is_none_or(|at| due < at) {
            up.wake_at = Some(due);
            self.wishes.push(Wish::Wake(due));
        }
    }
}

fn key_of(number: usize) -> KeyPair {
    KeyPair::from_seed([u8::try_from(number + 1).unwrap_or(u8::MAX); 32])
}

pub(super) fn number_of(origin: &Origin) -> usize {
    (0..=GUEST).find(|number| origin_of(*number) == *origin).expect("a site")
}
