//! What other origins may see of lines: events, members, where they end, and digests.

use super::*;
use crate::federation::filling::Filling;
use crate::store::federation::KeptEvent;

/// Events that are read from disk at once.
const PIECE: u64 = 64;

impl Federation {
    /// Events of a channel, for an origin that may see them: a [`body::Page`], as JSON.
    pub(crate) async fn page(
        &self,
        from: &Origin,
        channel: &str,
        (direction, limit): (Direction, u64),
    ) -> Result<String, NotAnswered> {
        let channel: ChannelId = channel.parse().map_err(|bad| NotAnswered::bad("", format!("{bad}")))?;
        let sight = self.sight(from, &channel).await?;
        let (first, last) = sight.view;
        let limit = limit.clamp(1, PAGE_MAX);
        let (rows, more) = self.filled(sight.number, (direction, limit), (first, last)).await?;
        let end = rows.last().map(|row| row.number);
        let next = end.filter(|_| more);
        // Whoever asks for one alone wants to know what is in that place.
        if let (Direction::After(after), true) = (direction, limit > 1) {
            let page = (after, end.unwrap_or(after));
            let told = Told::PageGiven { channel, origin: from.clone(), page, is_last: !more };
            // Err: the node has ended.
            let _ = self.0.told.send(told).await;
        }
        let head = self.0.lines.events(sight.number, Direction::After(last.saturating_sub(1)), (first, last), 1).await;
        let head = head.map_err(|_| NotAnswered::DISK)?.pop();
        let head = head.map_or_else(Head::default, |row| Head { seq: row.number, id: Some(row.id.to_string()) });
        let (head, next) = (json!(head), next.map_or(String::new(), |next| format!(",\"next\":{next}")));
        let events: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
        Ok(format!("{{\"events\":[{}],\"head\":{head}{next}}}", events.join(",")))
    }

    /// As many events as go into one page, and whether there are more. They are read in pieces: large ones fill a page
    /// long before there are as many as may be in it.
    async fn filled(
        &self,
        number: u64,
        (mut direction, limit): (Direction, u64),
        range: (u64, u64),
    ) -> Result<(Vec<KeptEvent>, bool), NotAnswered> {
        let (mut kept, mut filling) = (Vec::new(), Filling::default());
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        loop {
            let wanted = PIECE.min((limit - kept.len()) as u64 + 1);
            let rows = self.0.lines.events(number, direction, range, wanted).await.map_err(|_| NotAnswered::DISK)?;
            let is_end = (rows.len() as u64) < wanted;
            for row in rows {
                if kept.len() == limit || !filling.takes(&row.body) {
                    return Ok((kept, true));
                }
                direction = direction.past(row.number);
                kept.push(row);
            }
            if is_end {
                return Ok((kept, false));
            }
        }
    }

    /// Who is a member of a channel, for one of them.
    pub(crate) async fn members(&self, from: &Origin, channel: &str) -> Result<Members, NotAnswered> {
        let channel: ChannelId = channel.parse().map_err(|bad| NotAnswered::bad("", format!("{bad}")))?;
        let sight = self.sight(from, &channel).await?;
        if !sight.roster.is_member(from) {
            return Err(NotAnswered::NotMember(from.clone()));
        }
        let members = sight.roster.standings().map(|(origin, standing)| member(origin, standing)).collect();
        Ok(Members { channel: channel.to_string(), members })
    }

    /// What an origin may see of a channel. Whether there is one is nobody's business but its members'.
    async fn sight(&self, from: &Origin, channel: &ChannelId) -> Result<Sight, NotAnswered> {
        let (channel, origin) = (channel.clone(), from.clone());
        let is_hubs = channel.hub() == from;
        let looked = self.ask(|reply| Told::Look { channel, origin, reply }).await.ok_or(NotAnswered::ENDED)?;
        let sight = looked.ok_or_else(|| NotAnswered::NotMember(from.clone()))?;
        match sight.standing {
            Standing::Removed { since: None, .. } => Err(NotAnswered::NotMember(from.clone())),
            // A hub that lost its line asks its members for all of it.
            _ if is_hubs => Ok(Sight { view: (1, sight.whole), ..sight }),
            _ => Ok(sight),
        }
    }

    /// Where lines end.
    pub(crate) async fn heads(
        &self,
        (from, at): (&Origin, Timestamp),
        wanted: HeadsWanted,
    ) -> Result<Heads, NotAnswered> {
        if wanted.channels.len() > HEADS_MAX {
            return Err(NotAnswered::bad("/channels", format!("at most {HEADS_MAX} channels are allowed")));
        }
        // Whoever names a channel again and again is answered once.
        let mut channels = BTreeSet::new();
        for (place, channel) in wanted.channels.iter().enumerate() {
            let read = channel.parse::<ChannelId>();
            channels.insert(read.map_err(|bad| NotAnswered::bad(&format!("/channels/{place}"), bad.to_string()))?);
        }
        let heads = join_all(channels.iter().map(|channel| self.head((from, at), channel.clone()))).await;
        let heads = heads.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()?;
        let mut proofs = Vec::new();
        for channel in channels.into_iter().filter(|channel| channel.hub() != from) {
            let name = channel.to_string();
            if heads.iter().any(|head| head.channel == name) {
                let proof = self.0.lines.proof(&channel).await.map_err(|_| NotAnswered::DISK)?;
                proofs.extend(proof.and_then(|text| serde_json::from_str(&text).ok()));
            }
        }
        Ok(Heads { heads, proofs })
    }

    async fn head(
        &self,
        (from, at): (&Origin, Timestamp),
        channel: ChannelId,
    ) -> Result<Option<ChannelHead>, NotAnswered> {
        let (from, named) = (from.clone(), channel.clone());
        let ends = self.ask(|reply| Told::HeadAsked { from, channel: named, at, reply }).await;
        let Some(Ends { number, first, last }) = ends.ok_or(NotAnswered::Unavailable("asked anew since then"))? else {
            return Ok(None);
        };
        let kept = self.0.lines.event(number, last).await.map_err(|_| NotAnswered::DISK)?;
        let channel = channel.to_string();
        let Some(placed) = kept.as_ref().and_then(comparing::read).map(|event| event.placed()) else {
            return Ok(Some(ChannelHead { channel, head: Head::default(), first: None, order: Map::new() }));
        };
        let Value::Object(mut order) = wire::placed_to_value(&placed) else { return Ok(None) };
        order.remove("id");
        order.remove("seq");
        let head = Head { seq: placed.order.seq, id: Some(placed.id.to_string()) };
        Ok(Some(ChannelHead { channel, head, first: Some(first), order }))
    }

    /// The digest of a part of a line, for an origin that may see all of it.
    pub(crate) async fn digest(
        &self,
        from: &Origin,
        channel: &str,
        (after, upto): (u64, u64),
    ) -> Result<DigestOf, NotAnswered> {
        let channel: ChannelId = channel.parse().map_err(|bad| NotAnswered::bad("", format!("{bad}")))?;
        let sight = self.sight(from, &channel).await?;
        let (first, last) = sight.view;
        if after >= upto || after + 1 < first || upto > last {
            return Err(NotAnswered::bad("", "a part of what the asker may see is wanted"));
        }
        let digest = self.0.lines.digest(sight.number, after, upto).await.map_err(|_| NotAnswered::DISK)?;
        Ok(DigestOf { digest: crate::door::shown::hex(&digest.0) })
    }
}
