//! One site: the rules of a hub or of a member, its disk, its outboxes, and what it does with what they want done.

mod asking;
mod effects;

use super::books::Books;
use super::disk::{Disk, Entry, Saying};
use super::{MEMBERS, Plant, Wish};
use comity_core::federation::event::{Authored, Draft, Event, Order};
use comity_core::federation::hub::{self, Outcome};
use comity_core::federation::outbox::{self, Part, Stream};
use comity_core::federation::participant;
use comity_core::federation::roster::{Change, History};
use comity_core::federation::{ChannelId, EventId, Origin};
use comity_core::id::Ticket;
use comity_core::identity::key::KeyPair;
use comity_core::time::{Now, Timestamp};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often a member looks whether the hub has more than it was told of, and a hub asks again for heads.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const ASK_EVERY: Duration = Duration::from_secs(2);

/// Events in one answer, at most.
const PAGE: usize = 50;

/// What is said by joining, and not by an application.
const JOINING: Saying = 0;

/// What sites ask each other.
#[derive(Debug, Clone)]
pub(super) enum Request {
    /// A member submits its own events.
    Submit(Vec<Arc<Authored>>),
    /// The hub hands over events, in this start of it.
    Deliver { start: u64, events: Vec<Event> },
    /// Events after this one.
    Events { after: u64 },
    /// Where the line ends, asked in this start of the hub.
    Head { start: u64 },
}

/// What they answer.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Outcomes(Vec<Outcome>),
    Taken {
        upto: u64,
    },
    /// The answering site was in this start.
    Events {
        start: u64,
        events: Vec<Event>,
        head: u64,
    },
    Head(u64),
    /// It was not for this start.
    Refused,
}

/// What an answer is waited for.
#[derive(Debug)]
enum Call {
    Submit { first: u64 },
    Deliver { to: usize },
    Fetch,
    Head { member: usize },
    Recover { member: usize },
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
    own: BTreeMap<u64, Arc<Authored>>,
    saying: Vec<Saying>,
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
    wishes: Vec<Wish>,
    /// The last start of the hub in which it asked where the line ends; on disk before that is answered.
    heads_asked_in: u64,
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
    pub(super) fn new(number: usize, plant: Plant) -> Self {
        let (disk, wishes) = (Disk::default(), Vec::new());
        Self { number, start: 0, disk, up: None, plant, wishes, heads_asked_in: 0, counted: 0 }
    }

    pub(super) fn origin(&self) -> Origin {
        origin_of(self.number)
    }

    fn key(&self) -> KeyPair {
        KeyPair::from_seed([u8::try_from(self.number + 1).unwrap_or(u8::MAX); 32])
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

    /// The first event that this site may see.
    pub(super) fn first_seen(&self) -> u64 {
        if self.number == 0 {
            return 1;
        }
        self.disk.synced.member.roster.view(&self.origin()).map_or(u64::MAX, |(first, _)| first)
    }

    pub(super) fn is_idle(&self) -> bool {
        let Some(up) = &self.up else { return false };
        let rests = match &up.role {
            Role::Hub(hub) => hub.unheard().next().is_none(),
            Role::Member(member) => {
                let summary = member.summary();
                let seen = summary.authors.get(&self.origin()).copied().unwrap_or(0);
                let said = summary.drafts == summary.drafts_numbered && summary.decided == summary.numbered;
                member.is_caught_up() && said && seen == summary.decided
            }
        };
        rests && self.disk.is_clean() && up.outboxes.values().all(outbox::State::is_empty)
    }

    pub(super) fn back_up(&mut self) {
        let roster = self.disk.synced.hub.as_ref().map(|hub| &hub.roster);
        if roster.is_some_and(|roster| (0..=MEMBERS).all(|number| roster.is_member(&origin_of(number)))) {
            self.disk.back_up();
        }
    }

    /// The disk is what was copied; the last event on it.
    pub(super) fn restore(&mut self) -> u64 {
        self.disk.restore();
        self.line_end()
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
            saying: Vec::new(),
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
        } else if is_new {
            self.with_member(|member| member.handle(participant::Input::Invited));
            self.says(JOINING, now);
        }
    }

    /// The hub's first events: the channel, itself, and whom it invites.
    fn found(&mut self, now: Duration) {
        let changes = [Change::Created(History::FromJoining), Change::Joined].into_iter();
        let invited = (1..=MEMBERS).map(|member| Change::Invited(origin_of(member)));
        let events = (1..)
            .zip(changes.chain(invited))
            .map(|(number, change)| Arc::new(self.signed(number, change.kind(), &change.data(), None, now)));
        let (events, ticket) = (events.collect(), self.ticket(Asker::Nobody));
        self.with_hub(|hub| hub.handle(hub::Input::Submitted { ticket, from: origin_of(0), events }, moment(now)));
    }

    fn signed(&self, author_seq: u64, kind: &str, data: &Value, prev_seen: Option<EventId>, now: Duration) -> Authored {
        let (channel, origin) = (channel(), self.origin());
        let draft = Draft {
            channel: &channel,
            kind,
            origin: &origin,
            author_seq: Some(author_seq),
            at: moment(now).wall,
            data,
            prev_seen,
            attested: None,
        };
        Authored::sign(&self.key(), &draft)
    }

    fn ticket(&mut self, asker: Asker) -> Ticket {
        self.counted += 1;
        let ticket = Ticket(self.counted);
        if let Some(up) = &mut self.up {
            up.tickets.insert(ticket, asker);
        }
        ticket
    }

    fn with_hub(&mut self, what: impl FnOnce(&mut hub::State)) {
        if let Some(Up { role: Role::Hub(hub), .. }) = &mut self.up {
            what(hub);
        }
    }

    fn with_member(&mut self, what: impl FnOnce(&mut participant::State)) {
        if let Some(Up { role: Role::Member(member), .. }) = &mut self.up {
            what(member);
        }
    }

    /// An application says something.
    pub(super) fn say(&mut self, now: Duration, books: &mut Books) {
        self.counted += 1;
        let saying = self.number as u64 * 1_000_000 + self.counted;
        self.says(saying, now);
        self.perform(now, books);
    }

    fn says(&mut self, saying: Saying, now: Duration) {
        let ticket = self.ticket(Asker::Application(saying));
        let Some(up) = &mut self.up else { return };
        match &mut up.role {
            Role::Member(member) => {
                up.saying.push(saying);
                member.handle(participant::Input::Said { ticket });
            }
            Role::Hub(hub) => {
                let last = hub.summary().authors.get(&origin_of(0)).map_or(0, |author| author.last);
                let event = Arc::new(self.signed(last + 1, "message", &json!(saying), None, now));
                let input = hub::Input::Submitted { ticket, from: origin_of(0), events: vec![event] };
                self.with_hub(|hub| hub.handle(input, moment(now)));
            }
        }
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
            up.outboxes.entry(member).or_default().put(Stream::Line(channel()), has.max(first - 1), last);
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
        up.wake_at = None;
        if now >= up.look_at {
            match &mut up.role {
                Role::Hub(hub) => {
                    up.look_at = now + ASK_EVERY;
                    hub.ask_again();
                }
                Role::Member(member) => {
                    up.look_at = now + LOOK_EVERY;
                    let after = member.summary().last.map_or(0, |(seq, ..)| seq);
                    self.ask(0, Call::Fetch, Request::Events { after });
                }
            }
        }
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
                (to, Call::Deliver { to }, Request::Deliver { start: self.start, events })
            });
        }
        for (to, call, request) in asks {
            self.ask(to, call, request);
        }
        let Some(up) = &mut self.up else { return };
        if !self.disk.is_clean() && !std::mem::replace(&mut up.is_syncing, true) {
            self.wishes.push(Wish::Sync);
        }
        let due = up.outboxes.values().filter_map(outbox::State::wake_at).fold(up.look_at, Duration::min).max(now);
        if up.wake_at.is_none_or(|at| due < at) {
            up.wake_at = Some(due);
            self.wishes.push(Wish::Wake(due));
        }
    }
}

fn number_of(origin: &Origin) -> usize {
    (0..=MEMBERS).find(|number| origin_of(*number) == *origin).expect("a site")
}
