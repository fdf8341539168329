//! Compares the lines of channels with what another origin has of them: with their hub, to see whether there is more and
//! to find where it goes on in a new term, and with other members, so that a hub cannot show different lines to them
//! without being found out. What is asked next is decided in `comity_core::federation::heads`.

use super::client::Failure;
use super::contract::Told;
use super::room::Ends;
use super::sending::Sender;
use crate::door::shown::unhex;
use crate::store::federation::KeptEvent;
use axum::http::Method;
use comity_core::federation::heads::{Agreed, Comparison, Digest, Head, Placed, Proof, Verdict};
use comity_core::federation::hub::Shown;
use comity_core::federation::{ChannelId, Event, EventId, Origin, participant};
use comity_core::time::Timestamp;
use comity_core::wire::federation::body::{
    self, DigestOf, HEADS_MAX, Heads, HeadsWanted, Members, PAGE_MAX, Page, path,
};
use comity_core::wire::federation::event as wire;
use comity_core::wire::strict;
use std::collections::BTreeMap;
use tokio::task::JoinHandle;

/// Questions of one comparison, at most: for digests as many as there are bits in a number, as many for terms, and some.
const QUESTIONS_MAX: usize = 144;

/// Pages of events that are read where the other origin gives no digests.
const PAGES_MAX: usize = 20;

/// How often is asked for half as much, in one round, where one line may keep others from being answered: enough to find
/// seven of 500, or to ask for 64 one by one.
const HALVINGS_MAX: usize = 63;

/// A line that is to be compared.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) channel: ChannelId,
    /// What is here.
    pub(super) mine: Ends,
    /// What the last comparison with the same origin came to.
    pub(super) agreed: Agreed,
    /// Whether it is to say, too, who is a member.
    pub(super) is_to_list: bool,
    /// Whether it is looked, too, at the terms of what is the same.
    pub(super) has_terms: bool,
}

/// A comparison that ended.
#[derive(Debug)]
pub(super) struct Compared {
    /// With whom.
    pub(super) with: Origin,
    /// When it was asked where its lines end.
    pub(super) at: Timestamp,
    /// What it came to; `None`: the other did not say.
    pub(super) verdict: Option<Verdict>,
    /// Who is a member, as the hub says, where it was asked: since which event, if it says that, too.
    pub(super) listed: Option<BTreeMap<Origin, Option<u64>>>,
}

/// Lines of which another origin is asked where they end, in parts: of fewer at once where one may keep all others from
/// being answered.
struct Parts<'a, T> {
    /// The next one last.
    left: Vec<&'a [T]>,
    halvings: usize,
}

impl<'a, T> Parts<'a, T> {
    fn of(lines: &'a [T]) -> Self {
        Self { left: lines.rchunks(HEADS_MAX).collect(), halvings: 0 }
    }

    /// What it says of the next ones, and when it was asked; `None` when there are no more.
    async fn next(
        &mut self,
        sender: &Sender,
        with: &Origin,
        channel: impl Fn(&T) -> &ChannelId,
    ) -> Option<(&'a [T], Timestamp, Result<Heads, Failure>)> {
        loop {
            let part = self.left.pop()?;
            let wanted = HeadsWanted { channels: part.iter().map(|line| channel(line).to_string()).collect() };
            let at = sender.now();
            match sender.client.post(with, (Method::POST, path::HEADS), &wanted).await {
                Err(failure) if failure.may_be_of_one() && part.len() > 1 && self.halvings < HALVINGS_MAX => {
                    self.halvings += 1;
                    let (one, other) = part.split_at(part.len() / 2);
                    self.left.extend([other, one]);
                }
                answer => return Some((part, at, answer)),
            }
        }
    }
}

impl Sender {
    /// Compares what is here with what another origin has: it is asked for many at once where they end, and for what
    /// more it takes of one after the other.
    pub(super) fn compare(&self, with: Origin, lines: Vec<Line>) -> JoinHandle<()> {
        let sender = self.clone();
        self.spawn(async move {
            let mut parts = Parts::of(&lines);
            while let Some((some, at, heads)) = parts.next(&sender, &with, |line| &line.channel).await {
                let mut ends = Vec::with_capacity(some.len());
                for line in some {
                    let (end, upto) = sender.end(line, &with, &heads).await;
                    ends.push((end, upto.is_some()));
                    // Before all that takes longer: events that are missing are asked for at once.
                    if let Some(upto) = upto.filter(|_| with == *line.channel.hub()) {
                        sender.tell(Told::HubHas { channel: line.channel.clone(), at, upto }).await;
                    }
                }
                for (line, (end, has_answered)) in some.iter().zip(ends) {
                    let verdict = sender.verdict(line, &with, end).await;
                    let is_to_list = line.is_to_list && has_answered;
                    let listed = if is_to_list { sender.listed(&line.channel).await } else { None };
                    let compared = Compared { with: with.clone(), at, verdict, listed };
                    sender.tell(Told::Compared { channel: line.channel.clone(), compared }).await;
                }
            }
            None
        })
    }

    async fn tell(&self, what: Told) {
        // Err: the node has ended.
        let _ = self.told.send(what).await;
    }

    /// Where a line ends at another origin, if that says so, and up to where it may have it: as far as can be, if its
    /// answer does not tell.
    async fn end(
        &self,
        line: &Line,
        with: &Origin,
        heads: &Result<Heads, Failure>,
    ) -> (Result<Option<Head>, String>, Option<u64>) {
        let heads = match heads {
            Ok(heads) => heads,
            Err(failure) if failure.is_unknown_there() => return (Ok(None), Some(u64::MAX)),
            Err(failure) => {
                let may_have_more = failure.may_be_of_one() && !failure.is_closed();
                return (Err(failure.to_string()), may_have_more.then_some(u64::MAX));
            }
        };
        let head = self.head_in(heads, &line.channel, with).await;
        let upto = if let Ok(Some(head)) = &head { head.last.order.seq } else { u64::MAX };
        (head, Some(upto))
    }

    async fn listed(&self, channel: &ChannelId) -> Option<BTreeMap<Origin, Option<u64>>> {
        let members: Members = self.client.get(channel.hub(), &body::members_path(channel)).await.ok()?;
        let member = |member: body::Member| {
            if member.state == "joined" { Some((member.origin.parse().ok()?, member.since)) } else { None }
        };
        Some(members.members.into_iter().filter_map(member).collect())
    }

    async fn verdict(&self, line: &Line, with: &Origin, head: Result<Option<Head>, String>) -> Option<Verdict> {
        let verdict = match head {
            Ok(Some(head)) => self.found(line, with, &head).await,
            Ok(None) => Ok(None),
            Err(why) => Err(why),
        };
        verdict.unwrap_or_else(|why| {
            tracing::debug!(channel = %line.channel, %with, why, "a line could not be compared");
            None
        })
    }

    async fn found(&self, line: &Line, with: &Origin, head: &Head) -> Result<Option<Verdict>, String> {
        let Line { channel, mine, agreed, has_terms, .. } = line;
        let mut comparison = Comparison::new(channel.clone(), (mine.first, mine.last), *agreed);
        if *has_terms {
            comparison = comparison.with_terms();
        }
        let place = self.placed(mine.number, head.last.order.seq).await?;
        let mut verdict = comparison.handle_head(head, place.as_ref());
        for _ in 0..QUESTIONS_MAX {
            verdict = match verdict {
                Verdict::AskDigest { after, upto } => {
                    let theirs = self.digest_of(channel, with, after, upto).await?;
                    let mine = self.lines().digest(mine.number, after, upto).await;
                    comparison.handle_digest((after, upto), theirs, mine.map_err(|error| error.to_string())?)
                }
                Verdict::AskPlace { seq } => {
                    let theirs = self.event_of(channel, with, seq).await?;
                    let Some(mine) = self.placed(mine.number, seq).await? else { return Ok(None) };
                    comparison.handle_place(&theirs.placed(), &mine)
                }
                ended => return Ok(Some(ended)),
            };
        }
        Ok(None)
    }

    /// Asks an origin where lines of this hub end, each with its number on disk. Only what this hub signed counts:
    /// whoever made up a place or a term would have the line wait for what is not there, or go on from where nobody was.
    pub(super) fn ask_heads(&self, member: Origin, lines: Vec<(ChannelId, u64)>) -> JoinHandle<()> {
        let sender = self.clone();
        self.spawn(async move {
            let mut parts = Parts::of(&lines);
            while let Some((some, _, heads)) = parts.next(&sender, &member, |(channel, _)| channel).await {
                for (channel, number) in some {
                    let head = match &heads {
                        Ok(heads) => sender.head_in(heads, channel, &member).await,
                        Err(failure) => Err(failure.to_string()),
                    };
                    let told = sender.head(channel, *number, &member, head).await;
                    sender.tell(told).await;
                }
            }
            None
        })
    }

    async fn head(
        &self,
        channel: &ChannelId,
        number: u64,
        member: &Origin,
        said: Result<Option<Head>, String>,
    ) -> Told {
        let mut shown = None;
        let head = match said {
            Ok(Some(head)) => {
                shown = self.shown_by(number, &head.last).await;
                Some((head.last.order.seq, head.last.order.term))
            }
            // Who knows nothing of the channel has nothing of it.
            Ok(None) => Some((0, 0)),
            Err(why) => {
                tracing::debug!(%channel, %member, why, "a member does not say where the line ends");
                None
            }
        };
        Told::Head { channel: channel.clone(), member: member.clone(), head, shown }
    }

    /// What a place proves that this hub gave, and where it stands here.
    async fn shown_by(&self, number: u64, placed: &Placed) -> Option<Shown> {
        let (seq, term) = (placed.order.seq, placed.order.term);
        let here = self.lines().event(number, seq).await.ok()?;
        let here = here.as_ref().and_then(read).map(|event| event.placed());
        let is_here = here.is_some_and(|here| (here.id, here.order.term) == (placed.id, term));
        Some(Shown { seq, term, is_here })
    }

    /// Where one of the lines ends, proven by the hub's signature.
    pub(super) async fn head_in(
        &self,
        heads: &Heads,
        channel: &ChannelId,
        with: &Origin,
    ) -> Result<Option<Head>, String> {
        if let Some(proof) = heads.proof(channel) {
            self.believe(channel, proof).await;
        }
        let name = channel.to_string();
        let said = heads.heads.iter().find(|head| head.channel == name);
        let Some(head) = said.filter(|head| head.head.seq > 0) else { return Ok(None) };
        let last = match head.placed() {
            Some(placed) => {
                self.proof.placed(channel, &placed).await.map_err(|bad| bad.to_string())?;
                placed
            }
            // It says only where: the event itself shows what the hub signed.
            None => self.event_of(channel, with, head.head.seq).await?.placed(),
        };
        Ok(Some(Head { first: head.first.unwrap_or(1), last }))
    }

    /// Another member says that the hub showed two histories. That counts if the hub signed both, whoever says so.
    async fn believe(&self, channel: &ChannelId, proof: Proof) {
        for place in proof.places() {
            if let Err(bad) = self.proof.placed(channel, place).await {
                return tracing::debug!(%channel, %bad, "what is said against a hub does not hold");
            }
        }
        self.tell(Told::Proven { channel: channel.clone(), proof: Box::new(proof) }).await;
    }

    async fn event_of(&self, channel: &ChannelId, with: &Origin, seq: u64) -> Result<Event, String> {
        let page: Page = self.client.get(with, &body::events_path(channel, seq - 1, 1)).await.map_err(text)?;
        let value = page.events.first().ok_or("no event in that place")?;
        let event = self.proof.event(channel, value).await.map_err(|bad| bad.to_string())?;
        if event.order.seq == seq { Ok(event) } else { Err("another event than was asked for".to_owned()) }
    }

    async fn digest_of(&self, channel: &ChannelId, with: &Origin, after: u64, upto: u64) -> Result<Digest, String> {
        match self.client.get::<DigestOf>(with, &body::digest_path(channel, after, upto)).await {
            Ok(digest) => unhex(&digest.digest).map(Digest).ok_or_else(|| "no digest".to_owned()),
            // Others know no digests: the protocol has none.
            Err(failure) if failure.is_unknown_there() => self.ids_of(channel, with, after, upto).await.map(Digest::of),
            Err(failure) => Err(text(failure)),
        }
    }

    async fn ids_of(
        &self,
        channel: &ChannelId,
        with: &Origin,
        mut after: u64,
        upto: u64,
    ) -> Result<Vec<EventId>, String> {
        let mut ids = Vec::new();
        for _ in 0..PAGES_MAX {
            let limit = PAGE_MAX.min(upto - after);
            let (page, _) = self.page_of(with, channel, (after, limit)).await.map_err(text)?;
            for value in &page.events {
                let id = value["id"].as_str().and_then(|id| id.parse().ok()).ok_or("an event without id")?;
                let seq = value["seq"].as_u64().filter(|seq| *seq == after + 1).ok_or("a gap between events")?;
                ids.push(id);
                after = seq;
            }
            if after >= upto {
                return Ok(ids);
            }
            if page.events.is_empty() {
                break;
            }
        }
        Err("too many events to compare".to_owned())
    }

    /// The place of an event that is here.
    async fn placed(&self, number: u64, seq: u64) -> Result<Option<Placed>, String> {
        let kept = self.lines().event(number, seq).await.map_err(|error| error.to_string())?;
        Ok(kept.as_ref().and_then(read).map(|event| event.placed()))
    }

    /// Looks whether the hub signed another event for a place that is taken here.
    pub(super) fn check(&self, channel: ChannelId, number: u64, theirs: Placed) {
        let sender = self.clone();
        self.spawn(async move {
            let mine = sender.placed(number, theirs.order.seq).await.ok()??;
            let proof = Proof::of(&channel, &mine, &theirs).ok()?;
            Some(Told::Proven { channel, proof: Box::new(proof) })
        });
    }

    /// Reads what a line says up to an event, for rules that go back to it.
    pub(super) fn read_upto(&self, channel: ChannelId, mine: Ends, after: u64, theirs: Placed) {
        let sender = self.clone();
        self.spawn(async move {
            let mut kept = participant::Summary::default();
            let mut read_upto = mine.first.saturating_sub(1);
            while read_upto < after {
                let direction = crate::store::federation::Direction::After(read_upto);
                let rows = sender.lines().events(mine.number, direction, (mine.first, after), PAGE_MAX).await.ok()?;
                for row in &rows {
                    kept.read(channel.hub(), &sender.me, &read(row)?);
                }
                read_upto = rows.last()?.number;
            }
            Some(Told::Parted { channel, kept: Box::new(kept), theirs: Box::new(theirs.order) })
        });
    }
}

/// An event that is kept.
pub(super) fn read(kept: &KeptEvent) -> Option<Event> {
    wire::read(&strict::parse(kept.body.as_bytes()).ok()?).ok()
}

fn text(failure: Failure) -> String {
    failure.to_string()
}
