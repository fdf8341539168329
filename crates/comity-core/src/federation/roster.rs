//! Who is a member of a channel, as its events say: the same for the hub and for everybody who reads the line. See
//! "Channels" in `protocols/federation.md`.

use super::{Authored, Origin};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most origins of which a channel knows how they stand.
pub const MEMBERS_MAX: usize = 1024;

/// Longest topic, bytes.
pub const TOPIC_MAX: usize = 1024;

/// What the types of a channel's own events begin with.
const OWN: &str = "naomi:";

/// How an origin stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It may join.
    Invited,
    /// It is a member.
    Joined {
        /// Since this event.
        since: u64,
    },
    /// It was one, and went.
    Left {
        /// Since when it was a member.
        since: u64,
        /// The last event that it may see.
        until: u64,
    },
    /// It was one, or invited, and the admin removed it.
    Removed {
        /// Since when it was a member, if it was.
        since: Option<u64>,
        /// The last event that it may see.
        until: u64,
    },
}

/// What a member may see of the time before it joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum History {
    /// Nothing.
    #[default]
    FromJoining,
    /// All of it.
    All,
}

/// What a channel's own event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// There is a channel.
    Created(History),
    /// What it is about.
    Topic(String),
    /// Somebody may join.
    Invited(Origin),
    /// Its author is a member.
    Joined,
    /// Its author no longer is.
    Left,
    /// Somebody no longer is.
    Removed(Origin),
}

/// Why an event may not be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Its author is no member.
    #[error("its author is not a member of the channel")]
    NotMember,
    /// Only the admin says this.
    #[error("only the channel's own origin says this")]
    NotAdmin,
    /// Nobody invited its author.
    #[error("its author was not invited")]
    NotInvited,
    /// It says what is so already, or cannot be.
    #[error("it changes nothing that is there")]
    Idle,
    /// It is one of the channel's own, and says nothing that these say.
    #[error("no such event of a channel is known, or not with this data")]
    Unknown,
    /// The channel has room for no more.
    #[error("a channel has at most {MEMBERS_MAX} members and invitations")]
    Full,
}

/// The members of one channel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Roster {
    standings: BTreeMap<Origin, Standing>,
    history: History,
    topic: Option<String>,
}

impl Change {
    /// What an event says of its channel; `None` for any that is not the channel's own.
    ///
    /// # Errors
    /// [`Forbidden::Unknown`].
    pub fn of(authored: &Authored) -> Result<Option<Self>, Forbidden> {
        let Some(name) = authored.kind.strip_prefix(OWN) else { return Ok(None) };
        let text = |member: &str| authored.data.get(member).and_then(Value::as_str).ok_or(Forbidden::Unknown);
        // The protocol does not name the member: other hubs call it as they do in invitations.
        let named = || ["member", "invitee", "origin"].into_iter().find_map(|name| text(name).ok());
        let origin = || named().and_then(|name| name.parse().ok()).ok_or(Forbidden::Unknown);
        let change = match name {
            "channel.created" => match authored.data.get("history").map(|history| history.as_str()) {
                None | Some(Some("joined")) => Self::Created(History::FromJoining),
                Some(Some("all")) => Self::Created(History::All),
                Some(_) => return Err(Forbidden::Unknown),
            },
            "channel.topic" => Self::Topic(text("topic")?.to_owned()).bounded()?,
            "member.invited" => Self::Invited(origin()?),
            "member.joined" => Self::Joined,
            "member.left" => Self::Left,
            "member.removed" => Self::Removed(origin()?),
            _ => return Err(Forbidden::Unknown),
        };
        Ok(Some(change))
    }

    fn bounded(self) -> Result<Self, Forbidden> {
        match &self {
            Self::Topic(topic) if topic.len() > TOPIC_MAX => Err(Forbidden::Unknown),
            _ => Ok(self),
        }
    }

    /// The type of the event that says it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Created(_) => "naomi:channel.created",
            Self::Topic(_) => "naomi:channel.topic",
            Self::Invited(_) => "naomi:member.invited",
            Self::Joined => "naomi:member.joined",
            Self::Left => "naomi:member.left",
            Self::Removed(_) => "naomi:member.removed",
        }
    }

    /// The data of the event that says it.
    pub fn data(&self) -> Value {
        match self {
            Self::Created(History::FromJoining) => json!({"history": "joined"}),
            Self::Created(History::All) => json!({"history": "all"}),
            Self::Topic(topic) => json!({"topic": topic}),
            Self::Invited(member) | Self::Removed(member) => json!({"member": member.as_str()}),
            Self::Joined | Self::Left => json!({}),
        }
    }
}

impl Roster {
    /// The members as they were kept: [`Self::standings`], [`Self::history`] and [`Self::topic`].
    pub fn restored(standings: BTreeMap<Origin, Standing>, history: History, topic: Option<String>) -> Self {
        Self { standings, history, topic }
    }

    /// Whether this may be said now, `hub` being the channel's admin; what it changes, if it is the channel's own.
    ///
    /// # Errors
    /// [`Forbidden`].
    pub fn judge(&self, hub: &Origin, authored: &Authored) -> Result<Option<Change>, Forbidden> {
        let (author, standing) = (&authored.origin, self.standings.get(&authored.origin));
        let is_member = matches!(standing, Some(Standing::Joined { .. }));
        let change = Change::of(authored)?;
        match &change {
            Some(Change::Created(_)) if !self.standings.is_empty() => return Err(Forbidden::Idle),
            Some(Change::Created(_) | Change::Topic(_) | Change::Invited(_) | Change::Removed(_)) if author != hub => {
                return Err(Forbidden::NotAdmin);
            }
            Some(Change::Joined) if is_member => return Err(Forbidden::Idle),
            Some(Change::Joined) if author == hub && standing.is_none() => {}
            Some(Change::Joined) if standing != Some(&Standing::Invited) => return Err(Forbidden::NotInvited),
            // The hub goes when the channel does.
            Some(Change::Left) if author == hub => return Err(Forbidden::Idle),
            None | Some(Change::Left) if !is_member => return Err(Forbidden::NotMember),
            Some(Change::Invited(member)) => self.judge_invitation(member)?,
            Some(Change::Removed(member)) => {
                let there = matches!(self.standings.get(member), Some(Standing::Invited | Standing::Joined { .. }));
                if member == hub || !there {
                    return Err(Forbidden::Idle);
                }
            }
            _ => {}
        }
        Ok(change)
    }

    fn judge_invitation(&self, member: &Origin) -> Result<(), Forbidden> {
        match self.standings.get(member) {
            Some(Standing::Invited | Standing::Joined { .. }) => Err(Forbidden::Idle),
            Some(_) => Ok(()),
            None if self.standings.len() >= MEMBERS_MAX => Err(Forbidden::Full),
            None => Ok(()),
        }
    }

    /// Whether there is room for what an event changes. A hub that keeps its bound never asks for more.
    pub fn has_room_for(&self, author: &Origin, change: &Change) -> bool {
        let named = match change {
            Change::Created(_) | Change::Topic(_) | Change::Left => return true,
            Change::Invited(member) | Change::Removed(member) => member,
            Change::Joined => author,
        };
        self.standings.len() < MEMBERS_MAX || self.standings.contains_key(named)
    }

    /// Takes over what an event at this place changes.
    pub fn apply(&mut self, author: &Origin, change: &Change, seq: u64) {
        match change {
            Change::Created(history) => self.history = *history,
            Change::Topic(topic) => self.topic = Some(topic.clone()),
            Change::Invited(member) => drop(self.standings.insert(member.clone(), Standing::Invited)),
            Change::Joined => drop(self.standings.insert(author.clone(), Standing::Joined { since: seq })),
            Change::Left => match self.standings.get(author).copied() {
                Some(Standing::Joined { since }) => {
                    self.standings.insert(author.clone(), Standing::Left { since, until: seq });
                }
                // Whoever joined after it did has not seen it join, and must know that it went nevertheless.
                None => drop(self.standings.insert(author.clone(), Standing::Left { since: seq, until: seq })),
                Some(_) => {}
            },
            Change::Removed(member) => {
                let since = match self.standings.get(member) {
                    Some(Standing::Joined { since }) => Some(*since),
                    _ => None,
                };
                self.standings.insert(member.clone(), Standing::Removed { since, until: seq });
            }
        }
    }

    /// How all but one stand is not known any more: who was away has not seen who came and went.
    pub fn forget_others(&mut self, me: &Origin) {
        self.standings.retain(|origin, _| origin == me);
    }

    /// How an origin stands, if the channel knows it.
    pub fn standing(&self, origin: &Origin) -> Option<Standing> {
        self.standings.get(origin).copied()
    }

    /// Whether it is a member.
    pub fn is_member(&self, origin: &Origin) -> bool {
        matches!(self.standings.get(origin), Some(Standing::Joined { .. }))
    }

    /// The first and the last event that an origin may see; no last one while it is a member. `None`: it may see none.
    pub fn view(&self, origin: &Origin) -> Option<(u64, Option<u64>)> {
        let (since, until) = match self.standings.get(origin)? {
            Standing::Invited | Standing::Removed { since: None, .. } => return None,
            Standing::Joined { since } => (*since, None),
            Standing::Left { since, until } | Standing::Removed { since: Some(since), until } => (*since, Some(*until)),
        };
        Some((if self.history == History::All { 1 } else { since }, until))
    }

    /// All that the channel knows of, in order.
    pub fn standings(&self) -> impl Iterator<Item = (&Origin, Standing)> {
        self.standings.iter().map(|(origin, standing)| (origin, *standing))
    }

    /// What members see of the time before them.
    pub fn history(&self) -> History {
        self.history
    }

    /// What the channel is about.
    pub fn topic(&self) -> Option<&str> {
        self.topic.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::event::Draft;
    use crate::identity::key::KeyPair;
    use crate::time::Timestamp;

    fn origin(name: &str) -> Origin {
        format!("{name}.test").parse().expect("an origin")
    }

    fn says(author: &str, kind: &str, data: &Value) -> Authored {
        let (channel, origin) = ("!a:hub.test".parse().expect("a channel"), origin(author));
        let at = Timestamp::from_millis(0);
        let draft = Draft {
            channel: &channel,
            kind,
            origin: &origin,
            author_seq: Some(1),
            at,
            data,
            prev_seen: None,
            attested: None,
        };
        Authored::sign(&KeyPair::from_seed([1; 32]), &draft)
    }

    /// Tells a roster this much, in this order; what it says to the last one.
    fn after(told: &[(&str, Change)]) -> (Roster, Result<(), Forbidden>) {
        let (mut roster, mut last) = (Roster::default(), Ok(()));
        for (place, (author, change)) in (1..).zip(told) {
            let authored = says(author, change.kind(), &change.data());
            let judged = roster.judge(&origin("hub"), &authored);
            assert!(judged.as_ref().is_err() || judged == Ok(Some(change.clone())));
            if judged.is_ok() {
                roster.apply(&authored.origin, change, place);
            }
            last = judged.map(drop);
        }
        (roster, last)
    }

    fn founded(more: &[(&str, Change)]) -> (Roster, Result<(), Forbidden>) {
        let first = [("hub", Change::Created(History::FromJoining)), ("hub", Change::Joined)];
        after(&[&first[..], more].concat())
    }

    fn invited(name: &str) -> (&'static str, Change) {
        ("hub", Change::Invited(origin(name)))
    }

    fn removed(name: &str) -> (&'static str, Change) {
        ("hub", Change::Removed(origin(name)))
    }

    #[test]
    fn who_is_invited_joins_and_sees_from_there_until_it_goes() {
        let (roster, last) = founded(&[invited("ann"), ("ann", Change::Joined)]);
        assert_eq!((last, roster.view(&origin("ann"))), (Ok(()), Some((4, None))));
        assert!(roster.is_member(&origin("ann")) && roster.is_member(&origin("hub")));
        let (roster, _) = founded(&[invited("ann"), ("ann", Change::Joined), ("ann", Change::Left)]);
        assert_eq!(roster.view(&origin("ann")), Some((4, Some(5))));
        let again = [invited("ann"), ("ann", Change::Joined), removed("ann"), invited("ann"), ("ann", Change::Joined)];
        assert_eq!(founded(&again[..3]).0.view(&origin("ann")), Some((4, Some(5))));
        assert_eq!(founded(&again).0.view(&origin("ann")), Some((7, None)));
        assert_eq!(founded(&again[..1]).0.view(&origin("ann")), None);
    }

    #[test]
    fn nobody_says_what_is_not_theirs_to_say() {
        let refused = |more: &[(&str, Change)]| founded(more).1.expect_err("it may not");
        assert_eq!(refused(&[("ann", Change::Joined)]), Forbidden::NotInvited);
        assert_eq!(refused(&[("ann", Change::Left)]), Forbidden::NotMember);
        assert_eq!(refused(&[("hub", Change::Left)]), Forbidden::Idle);
        assert_eq!(refused(&[("hub", Change::Joined)]), Forbidden::Idle);
        assert_eq!(refused(&[("hub", Change::Created(History::All))]), Forbidden::Idle);
        assert_eq!(refused(&[removed("ann")]), Forbidden::Idle);
        assert_eq!(refused(&[removed("hub")]), Forbidden::Idle);
        assert_eq!(refused(&[invited("ann"), invited("ann")]), Forbidden::Idle);
        assert_eq!(refused(&[invited("hub")]), Forbidden::Idle);
        assert_eq!(refused(&[invited("ann"), removed("ann"), ("ann", Change::Joined)]), Forbidden::NotInvited);
        for change in [
            Change::Invited(origin("bob")),
            Change::Removed(origin("hub")),
            Change::Topic("x".to_owned()),
            Change::Topic(String::new()),
        ] {
            assert_eq!(refused(&[invited("ann"), ("ann", Change::Joined), ("ann", change)]), Forbidden::NotAdmin);
        }
    }

    #[test]
    fn members_say_what_they_like_but_for_the_channels_own() {
        let (roster, _) = founded(&[invited("ann"), ("ann", Change::Joined)]);
        let judge = |author, kind, data| roster.judge(&origin("hub"), &says(author, kind, &data));
        assert_eq!(judge("ann", "message", json!("x")), Ok(None));
        assert_eq!(judge("bob", "message", json!("x")), Err(Forbidden::NotMember));
        assert_eq!(judge("hub", "naomi:other", json!({})), Err(Forbidden::Unknown));
        assert_eq!(judge("hub", "naomi:member.invited", json!({"member": "Bob.test"})), Err(Forbidden::Unknown));
        assert_eq!(judge("hub", "naomi:channel.topic", json!({"topic": "x".repeat(1025)})), Err(Forbidden::Unknown));
    }

    #[test]
    fn a_channel_has_room_for_so_many() {
        let names: Vec<String> = (1..MEMBERS_MAX).map(|number| format!("m{number}")).collect();
        let all: Vec<_> = names.iter().map(|name| invited(name)).collect();
        let (roster, last) = founded(&all);
        assert_eq!((last, roster.standings().count()), (Ok(()), MEMBERS_MAX));
        assert_eq!(founded(&[&all[..], &[invited("more")]].concat()).1, Err(Forbidden::Full));
    }
}
