//! Hands what others say on channels to the node's rules, as every other message is: so it is in the inbox, and seen by
//! whoever watches, with the trust in its author. What was handed over is remembered, and the rules know a message again:
//! each is seen once, also after a crash.

use super::check::peer_of;
use super::contract::LineEnd;
use super::{Federation, FederationError};
use crate::store::federation::{Batch, KeptEvent, Write};
use bytes::Bytes;
use comity_core::channel::Channel;
use comity_core::envelope::{Address, Kind, Message, Priority, Ttl, Via};
use comity_core::federation::ChannelId;
use comity_core::id::MessageId;
use comity_core::node::{Answer, Proof, Refusal};
use comity_core::payload::Payload;
use comity_core::wire::federation::event;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;
use uuid::Uuid;

/// Events that are read at once.
const PIECE: u64 = 100;

/// How long to wait when the rules can take no more.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Federation {
    /// Hands over what is not yet, and everything that comes, until the node ends. `shown`: up to where, by number.
    pub(super) async fn show_all(self, mut shown: BTreeMap<u64, u64>) {
        let mut news = self.news();
        // Lines of which not all is handed over.
        let mut behind = BTreeMap::new();
        loop {
            if self.catch_up(&mut behind, &mut shown).await.is_err() {
                return;
            }
            match news.recv().await {
                // Each wakes this once for all that has come meanwhile.
                Ok(_) | Err(RecvError::Lagged(_)) => while news.try_recv().is_ok() {},
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn catch_up(
        &self,
        behind: &mut BTreeMap<u64, LineEnd>,
        shown: &mut BTreeMap<u64, u64>,
    ) -> Result<(), FederationError> {
        for end in self.ends().await? {
            // What is said in the place of what was withdrawn is new.
            if let (Some(after), Some(kept)) = (shown.get_mut(&end.number), end.withdrawn) {
                *after = (*after).min(kept);
            }
            behind.insert(end.number, end);
        }
        for (number, LineEnd { channel, last, .. }) in std::mem::take(behind) {
            let mut after = shown.get(&number).copied().unwrap_or(0);
            while after < last {
                let rows = match self.log(&channel, after, PIECE).await {
                    Err(FederationError::Leaving) => return Err(FederationError::Leaving),
                    Err(_) => Vec::new(),
                    Ok(rows) => rows,
                };
                let Some(until) = rows.last().map(|row| row.number) else {
                    // What cannot be read now is read with the next event.
                    behind.insert(number, LineEnd { channel, number, last, withdrawn: None });
                    break;
                };
                self.hand_over(&channel, &rows).await;
                after = until;
                shown.insert(number, after);
                let writes = vec![Write::Shown { channel: number, seq: after }];
                let _ = self.0.disk.send(Batch { writes, done: None }).await;
            }
        }
        Ok(())
    }

    /// Hands over events in their order, many at once: the disk takes them together. Those after one that the rules
    /// could not take are handed over again, and known again.
    async fn hand_over(&self, channel: &ChannelId, mut rows: &[KeptEvent]) {
        // A name that is too long for messages is not shown as one; `comity watch` shows the channel itself.
        let Ok(name) = Channel::new(&channel.to_string()) else { return };
        let mut at_once = rows.len();
        while !rows.is_empty() {
            let offered = &rows[..at_once.min(rows.len())];
            let taken = join_all(offered.iter().map(|row| self.offer(&name, row))).await;
            let count = taken.iter().take_while(|is_taken| **is_taken).count();
            rows = &rows[count..];
            if count < offered.len() {
                // Whoever is full is asked for room for one.
                at_once = 1;
                sleep(AGAIN_AFTER).await;
            }
        }
    }

    /// Offers one event to the rules; whether that need not be done again.
    async fn offer(&self, name: &Channel, row: &KeptEvent) -> bool {
        let Some(word) = event::read_word(&row.body) else { return true };
        if word.origin == *self.origin() {
            return true;
        }
        // What another hub attests is as true as that hub is. What this one attests no key stands for: it is shown as
        // said by the origin's name alone.
        let hub = Some(word.hub_key).filter(|key| *key != self.0.handle.me().node());
        let key = word.key.or(hub);
        let Ok(payload) = Payload::from_json(Bytes::from(row.body.clone())) else { return true };
        let message = Message {
            id: Some(MessageId(Uuid::new_v5(&Uuid::NAMESPACE_URL, row.id.as_bytes()))),
            from: key.map_or_else(|| peer_of(&word.origin), |key| key.peer()),
            to: Address::Group,
            kind: Kind::Extended,
            channel: name.clone(),
            priority: Priority::Normal,
            // Events are never judged by their age.
            timestamp: self.0.handle.now().wall,
            ttl: Ttl::MAX,
            reply_to: None,
            payload,
            more: None,
        };
        let proof = Proof { via: Via::Federation, address: Ipv4Addr::LOCALHOST.into(), key };
        !matches!(self.0.handle.arrive(message, proof).await, Answer::Refused(Refusal::Full { .. } | Refusal::Disk))
    }
}
