//! What the batches of one transaction come to: rows of one table go to the database many at once, and what the
//! same transaction takes back or writes again is not written at all.

use super::writer::Write;
use crate::store::database_integer;
use crate::store::rows::{Values, each};
use comity_core::federation::{EventId, Origin};
use sqlx::SqliteConnection;
use std::collections::BTreeMap;

/// A channel's number, and a number in it.
type Numbered = (u64, u64);

/// Rows that are not written yet. Those of one table do not depend on those of another.
#[derive(Debug, Default)]
pub(super) struct Group<'a> {
    summaries: BTreeMap<u64, &'a Write>,
    events: Vec<&'a Write>,
    drafts: BTreeMap<Numbered, &'a str>,
    drafts_gone: Vec<Numbered>,
    own: BTreeMap<Numbered, (EventId, &'a str)>,
    own_gone: Vec<Numbered>,
    own_past: BTreeMap<u64, u64>,
    sent: BTreeMap<(u64, &'a Origin), u64>,
    shown: BTreeMap<u64, u64>,
    nonces: Vec<&'a Write>,
}

impl<'a> Group<'a> {
    /// Takes a write; `Some`: it must be done by itself, after all that was taken before.
    pub(super) fn take(&mut self, write: &'a Write) -> Option<&'a Write> {
        match write {
            Write::Summary { channel, .. } => drop(self.summaries.insert(*channel, write)),
            Write::Event { .. } => self.events.push(write),
            Write::Draft { channel, draft, body } => drop(self.drafts.insert((*channel, *draft), body)),
            Write::Own { channel, draft, author_seq, id, body } => {
                if self.drafts.remove(&(*channel, *draft)).is_none() {
                    self.drafts_gone.push((*channel, *draft));
                }
                self.own.insert((*channel, *author_seq), (*id, body));
            }
            Write::OwnSeen { channel, author_seq } => {
                if self.own.remove(&(*channel, *author_seq)).is_none() {
                    self.own_gone.push((*channel, *author_seq));
                }
            }
            Write::OwnPast { channel, upto } => {
                self.own.retain(|(of, number), _| of != channel || number > upto);
                self.own_past.insert(*channel, *upto);
            }
            Write::Sent { channel, member, seq } => drop(self.sent.insert((*channel, member), *seq)),
            Write::Shown { channel, seq } => drop(self.shown.insert(*channel, *seq)),
            Write::Nonce { .. } => self.nonces.push(write),
            other => return Some(other),
        }
        None
    }

    /// Writes what was taken.
    pub(super) async fn write(&mut self, to: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let int = database_integer;
        let events = "INSERT INTO event (channel, seq, id, author, author_seq, body) ";
        each(to, (events, ""), std::mem::take(&mut self.events), |mut row, write| {
            if let Write::Event { channel, seq, id, author, author_seq, body } = write {
                row.push_bind(int(*channel)).push_bind(int(*seq)).push_bind(id.as_bytes().as_slice());
                row.push_bind(author.as_str()).push_bind(author_seq.map(int)).push_bind(body.as_str());
            }
        })
        .await?;
        let numbered = |mut row: Values<'_>, (channel, number): Numbered| {
            row.push_bind(int(channel)).push_bind(int(number));
        };
        let gone = ("DELETE FROM draft WHERE (channel, draft) IN (", ")");
        each(to, gone, std::mem::take(&mut self.drafts_gone), numbered).await?;
        let drafts = std::mem::take(&mut self.drafts);
        each(to, ("INSERT INTO draft (channel, draft, body) ", ""), drafts, |mut row, ((channel, draft), body)| {
            row.push_bind(int(channel)).push_bind(int(draft)).push_bind(body);
        })
        .await?;
        let gone = ("DELETE FROM own WHERE (channel, author_seq) IN (", ")");
        each(to, gone, std::mem::take(&mut self.own_gone), numbered).await?;
        for (channel, upto) in std::mem::take(&mut self.own_past) {
            let past = sqlx::query("DELETE FROM own WHERE channel = ? AND author_seq <= ?");
            past.bind(int(channel)).bind(int(upto)).execute(&mut *to).await?;
        }
        let own = std::mem::take(&mut self.own);
        let into_own = "INSERT INTO own (channel, author_seq, id, body) ";
        each(to, (into_own, ""), own, |mut row, ((channel, number), (id, body))| {
            row.push_bind(int(channel)).push_bind(int(number)).push_bind(id.as_bytes().to_vec()).push_bind(body);
        })
        .await?;
        self.write_marks(to).await
    }

    /// How far who has what, what was used, and summaries.
    async fn write_marks(&mut self, to: &mut SqliteConnection) -> Result<(), sqlx::Error> {
        let int = database_integer;
        let sent = std::mem::take(&mut self.sent);
        let into_sent = "INSERT OR REPLACE INTO sent (channel, member, seq) ";
        each(to, (into_sent, ""), sent, |mut row, ((channel, member), seq)| {
            row.push_bind(int(channel)).push_bind(member.as_str()).push_bind(int(seq));
        })
        .await?;
        let shown = std::mem::take(&mut self.shown);
        each(to, ("INSERT OR REPLACE INTO shown (channel, seq) ", ""), shown, |mut row, (channel, seq)| {
            row.push_bind(int(channel)).push_bind(int(seq));
        })
        .await?;
        let nonces = std::mem::take(&mut self.nonces);
        each(to, ("INSERT INTO nonce (key, nonce, until) ", ""), nonces, |mut row, write| {
            if let Write::Nonce { key, nonce, until } = write {
                row.push_bind(key.as_bytes().as_slice()).push_bind(nonce.as_slice()).push_bind(int(until.millis()));
            }
        })
        .await?;
        for write in std::mem::take(&mut self.summaries).into_values() {
            super::writer::apply(to, write).await?;
        }
        Ok(())
    }
}
