//! Compares the line of a channel with what another origin has of it: with its hub, to find where it goes on in a new
//! term, and with other members, so that a hub cannot show different lines to them without being found out. What is
//! asked next is decided in `comity_core::federation::heads`.

use super::client::Failure;
use super::contract::Told;
use super::room::Ends;
use super::sending::Sender;
use crate::door::shown::unhex;
use crate::store::federation::KeptEvent;
use axum::http::Method;
use comity_core::federation::heads::{Agreed, Comparison, Digest, Head, Placed, Proof, Verdict};
use comity_core::federation::{ChannelId, Event, EventId, Origin, participant};
use comity_core::time::Timestamp;
use comity_core::wire::federation::body::{self, DigestOf, Heads, HeadsWanted, Members, PAGE_MAX, Page, path};
use comity_core::wire::federation::event as wire;
use comity_core::wire::strict;
use std::collections::BTreeMap;

/// Questions of one comparison, at most: as many as there are bits in a number, and some.
const QUESTIONS_MAX: usize = 80;

/// Pages of events that are read where the other origin gives no digests.
const PAGES_MAX: usize = 20;

/// A comparison that ended.
#[derive(Debug)]
pub(super) struct Compared {
    /// With whom.
    pub(super) with: Origin,
    /// When the first of its answers was signed.
    pub(super) at: Timestamp,
    /// What it came to; `None`: the other did not say.
    pub(super) verdict: Option<Verdict>,
    /// Who is a member, as the hub says, where it was asked: since which event, if it says that, too.
    pub(super) listed: Option<BTreeMap<Origin, Option<u64>>>,
}

impl Sender {
    /// Compares what is here with what another origin has.
    pub(super) fn compare(&self, channel: ChannelId, with: Origin, mine: Ends, agreed: Agreed) {
        let sender = self.clone();
        self.spawn(async move {
            let at = sender.now();
            let verdict = match sender.verdict(&channel, &with, mine, agreed).await {
                Ok(verdict) => verdict,
                Err(why) => {
                    tracing::debug!(%channel, %with, why, "a line could not be compared");
                    None
                }
            };
            let listed = if with == *channel.hub() { sender.listed(&channel).await } else { None };
            Some(Told::Compared { channel, compared: Compared { with, at, verdict, listed } })
        });
    }

    async fn listed(&self, channel: &ChannelId) -> Option<BTreeMap<Origin, Option<u64>>> {
        let members: Members = self.client.get(channel.hub(), &body::members_path(channel)).await.ok()?;
        let member = |member: body::Member| {
            if member.state == "joined" { Some((member.origin.parse().ok()?, member.since)) } else { None }
        };
        Some(members.members.into_iter().filter_map(member).collect())
    }

    async fn verdict(
        &self,
        channel: &ChannelId,
        with: &Origin,
        mine: Ends,
        agreed: Agreed,
    ) -> Result<Option<Verdict>, String> {
        let Some(head) = self.head_of(channel, with).await? else { return Ok(None) };
        let mut comparison = Comparison::new(channel.clone(), (mine.first, mine.last), agreed);
        let place = self.placed(mine.number, head.last.order.seq).await?;
        let mut verdict = comparison.handle_head(&head, place.as_ref());
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

    /// Where the line of another origin ends, proven by the hub's signature.
    pub(super) async fn head_of(&self, channel: &ChannelId, with: &Origin) -> Result<Option<Head>, String> {
        let wanted = HeadsWanted { channels: vec![channel.to_string()] };
        let heads: Heads = self.client.post(with, (Method::POST, path::HEADS), &wanted).await.map_err(text)?;
        if let Some(proof) = heads.proof(channel) {
            self.believe(channel, proof).await;
        }
        let name = channel.to_string();
        let Some(head) = heads.heads.into_iter().find(|head| head.channel == name) else { return Ok(None) };
        if head.head.seq == 0 {
            return Ok(None);
        }
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
        // Err: the node has ended.
        let _ = self.told.send(Told::Proven { channel: channel.clone(), proof: Box::new(proof) }).await;
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
            Err(Failure::Refused { status: 404 | 405, .. } | Failure::Unproven { status: 404 | 405, .. }) => {
                self.ids_of(channel, with, after, upto).await.map(Digest::of)
            }
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
