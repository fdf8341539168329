//! Whether two have the same line: each tells the other the place of its last event as the hub signed it, and digests of
//! what is before it, until it is known where they part. See "Channels" in `protocols/federation.md`: a hub that shows two
//! histories is caught by any two members that talk, and [`Proof`] shows it to everybody. Signatures are checked before
//! places come here, with the keys of the hub; [`Proof::verify`] is for those who were not there.

use super::{ChannelId, Event, EventId, Order};
use crate::id::NodeId;
use crate::identity::signature::BadSignature;
use sha2::{Digest as _, Sha256};

/// An event's place as its hub signed it, without the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The event.
    pub id: EventId,
    /// Its place.
    pub order: Order,
}

/// A hub's signatures for two events in one place of one term.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    channel: ChannelId,
    places: [Placed; 2],
}

/// Why something is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotProof {
    /// A signature is wrong.
    #[error("a signature in it is wrong")]
    Signature(#[from] BadSignature),
    /// The two do not contradict each other.
    #[error("two events in one place of one term are wanted")]
    NoContradiction,
}

impl Proof {
    /// What two places of one channel prove, if they contradict each other.
    ///
    /// # Errors
    /// [`NotProof::NoContradiction`].
    pub fn of(channel: &ChannelId, one: &Placed, other: &Placed) -> Result<Self, NotProof> {
        let is_one_place = (one.order.seq, one.order.term) == (other.order.seq, other.order.term);
        if !is_one_place || one.id == other.id {
            return Err(NotProof::NoContradiction);
        }
        Ok(Self { channel: channel.clone(), places: [*one, *other] })
    }

    /// Checks both signatures. Gives the keys that made them, whose owner is for the caller to know: it is proof if both
    /// are, or were, those of the channel's hub.
    ///
    /// # Errors
    /// [`NotProof::Signature`].
    pub fn verify(&self) -> Result<[NodeId; 2], NotProof> {
        for place in &self.places {
            place.order.verify(&self.channel, place.id)?;
        }
        Ok(self.places.map(|place| place.order.key))
    }

    /// The channel.
    pub fn channel(&self) -> &ChannelId {
        &self.channel
    }

    /// The number of the place that was given twice, and its term.
    pub fn place(&self) -> (u64, u64) {
        (self.places[0].order.seq, self.places[0].order.term)
    }

    /// What the hub signed.
    pub fn places(&self) -> &[Placed; 2] {
        &self.places
    }
}

/// Where a line ends, as another origin says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The first event that it has without a gap up to the last, and that the asker may see.
    pub first: u64,
    /// The last.
    pub last: Placed,
}

/// What tells the events of a range from any others: the hash of their ids in order. The id of the last event does not,
/// for it says nothing of those before it: a hub could show another event in the middle, and the same ones after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of these events.
    pub fn of(ids: impl IntoIterator<Item = EventId>) -> Self {
        let mut hash = Sha256::new();
        ids.into_iter().for_each(|id| hash.update(id.as_bytes()));
        Self(hash.finalize().into())
    }
}

/// What two found to be the same: the next comparison of them need not look at it again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Agreed {
    /// The last event of it: 0 for none.
    pub upto: u64,
    /// The term in which the other's line ended: when it ends in another, nothing is agreed on.
    pub term: u64,
}

/// What a comparison has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All that both have is the same.
    Fits(Agreed),
    /// Ask the other for the digest of a range; [`Comparison::handle_digest`].
    AskDigest {
        /// The event before the first.
        after: u64,
        /// The last.
        upto: u64,
    },
    /// Ask the other for the place of one event; [`Comparison::handle_place`].
    AskPlace {
        /// Its number.
        seq: u64,
    },
    /// The hub showed two histories.
    Proven(Box<Proof>),
    /// The lines part: one went on without some of the other, or the hub gave the same events their places in two terms.
    Parted {
        /// The last event that both have: the one before the first that both could have, if there is none.
        after: u64,
        /// The next one there.
        theirs: Placed,
    },
    /// The other contradicts itself: its digests differ, and its events do not.
    Unclear,
}

/// A comparison of one channel's line with what another origin has of it. It asks for at most as many digests as there
/// are bits in the number of the last event.
#[derive(Debug, Clone)]
pub struct Comparison {
    channel: ChannelId,
    /// The first and the last event that is here without a gap.
    mine: (u64, u64),
    /// All up to this one is known to be the same.
    same: u64,
    /// Something up to this one is not.
    apart: u64,
    is_apart: bool,
    agreed: Agreed,
    terms: Terms,
}

/// What is known of the terms in which both have the same events. A hub that lost them and was told them again gives them
/// the same numbers in another term, and no digest tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terms {
    /// Nobody wants to know.
    Unasked,
    /// They are looked at when the events are found to be the same.
    Wanted,
    /// Up to `same` they are the same, at `other` they may not be; that place, if they are not.
    Asked { same: u64, other: u64, theirs: Option<Placed> },
}

impl Comparison {
    /// Begins with what is here without a gap, from the first event to the last: what came since this origin joined
    /// last; `agreed` is what the last comparison with the same origin came to, unless something was withdrawn since.
    pub fn new(channel: ChannelId, mine: (u64, u64), agreed: Agreed) -> Self {
        Self {
            channel,
            mine,
            same: mine.0.saturating_sub(1),
            apart: mine.1,
            is_apart: false,
            agreed,
            terms: Terms::Unasked,
        }
    }

    /// Looks, where all events are the same, from which one on the hub gave them their places in another term.
    #[must_use]
    pub fn with_terms(self) -> Self {
        Self { terms: Terms::Wanted, ..self }
    }

    /// The other said where its line ends; `mine` is the event here in that place, if there is one.
    pub fn handle_head(&mut self, theirs: &Head, mine: Option<&Placed>) -> Verdict {
        if let Some(proof) = mine.and_then(|mine| Proof::of(&self.channel, mine, &theirs.last).ok()) {
            return Verdict::Proven(Box::new(proof));
        }
        if self.agreed.term == theirs.last.order.term {
            self.same = self.same.max(self.agreed.upto);
        }
        self.agreed.term = theirs.last.order.term;
        self.same = self.same.max(theirs.first.saturating_sub(1));
        self.apart = self.mine.1.min(theirs.last.order.seq);
        if self.apart <= self.same {
            return self.fits();
        }
        Verdict::AskDigest { after: self.same, upto: self.apart }
    }

    /// The other gave a digest that was asked for; `mine` is that of the same range here.
    pub fn handle_digest(&mut self, (after, upto): (u64, u64), theirs: Digest, mine: Digest) -> Verdict {
        if after != self.same || upto > self.apart {
            return Verdict::Unclear;
        }
        if theirs == mine {
            self.same = upto;
        } else {
            (self.apart, self.is_apart) = (upto, true);
        }
        match self.apart - self.same {
            0 if self.is_apart => Verdict::Unclear,
            0 => self.fits(),
            1 if self.is_apart => Verdict::AskPlace { seq: self.apart },
            1 => Verdict::AskDigest { after: self.same, upto: self.apart },
            between => Verdict::AskDigest { after: self.same, upto: self.same + between / 2 },
        }
    }

    fn fits(&mut self) -> Verdict {
        if self.terms == Terms::Wanted && self.apart >= self.mine.0 {
            self.terms = Terms::Asked { same: self.mine.0.saturating_sub(1), other: self.apart, theirs: None };
            return Verdict::AskPlace { seq: self.apart };
        }
        Verdict::Fits(Agreed { upto: self.same.min(self.apart), term: self.agreed.term })
    }

    /// The other gave the place that was asked for; `mine` is the one here.
    pub fn handle_place(&mut self, theirs: &Placed, mine: &Placed) -> Verdict {
        if let Terms::Asked { same, other, theirs: found } = self.terms {
            return self.handle_term((same, other, found), theirs, mine);
        }
        if theirs.id == mine.id || theirs.order.seq != mine.order.seq || theirs.order.seq != self.apart {
            return Verdict::Unclear;
        }
        match Proof::of(&self.channel, mine, theirs) {
            Ok(proof) => Verdict::Proven(Box::new(proof)),
            Err(_) => Verdict::Parted { after: self.apart - 1, theirs: *theirs },
        }
    }

    fn handle_term(
        &mut self,
        (mut same, mut other, mut found): (u64, u64, Option<Placed>),
        theirs: &Placed,
        mine: &Placed,
    ) -> Verdict {
        let asked = if found.is_some() { same + (other - same) / 2 } else { other };
        if theirs.id != mine.id || theirs.order.seq != asked || mine.order.seq != asked {
            return Verdict::Unclear;
        }
        if theirs.order.term != mine.order.term {
            (other, found) = (asked, Some(*theirs));
        } else {
            same = asked;
        }
        match found {
            Some(theirs) if other - same <= 1 => Verdict::Parted { after: same, theirs },
            Some(_) => {
                self.terms = Terms::Asked { same, other, theirs: found };
                Verdict::AskPlace { seq: same + (other - same) / 2 }
            }
            None => self.fits(),
        }
    }
}

impl Event {
    /// Its place, without what it says.
    pub fn placed(&self) -> Placed {
        Placed { id: self.authored.id, order: self.order }
    }
}

#[cfg(test)]
mod tests;
