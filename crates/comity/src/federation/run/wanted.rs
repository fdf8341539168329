//! What this node's own user wants of channels, and what hubs want of its user.

use super::*;

impl Hall {
    pub(in crate::federation) async fn create(
        &mut self,
        channel: ChannelId,
        all_history: bool,
        now: Now,
    ) -> Result<Begun, Refused> {
        if self.rooms.contains_key(&channel) {
            return Err(Refused::Exists(channel));
        }
        let role = Role::Hub(Box::new(hub::State::new(self.hub_config(&channel))));
        self.found(&channel, role, now)?;
        let history = if all_history { History::All } else { History::FromJoining };
        let mut begun = Begun::Nothing;
        for change in [Change::Created(history), Change::Joined] {
            let saying = Saying { kind: change.kind().to_owned(), data: change.data(), at: now.wall };
            if let Some(room) = self.rooms.get_mut(&channel) {
                let (reply, outcomes) = oneshot::channel();
                let id = room.say_as_hub(&saying, self.handle.me().keys(), reply, now);
                begun = Begun::AtHub { id, outcomes };
            }
        }
        self.act(&channel, now).await;
        Ok(begun)
    }

    /// A channel that was not here before: it is on disk with the first of what it has to write.
    fn found(&mut self, channel: &ChannelId, role: Role, now: Now) -> Result<(), Refused> {
        if self.rooms.len() >= CHANNELS_MAX {
            return Err(Refused::TooMany);
        }
        let number = self.next_number;
        self.next_number += 1;
        self.enter(Room::founded(self.me.clone(), channel.clone(), number, role), now);
        Ok(())
    }

    pub(in crate::federation) async fn say(
        &mut self,
        channel: &ChannelId,
        saying: Saying,
        now: Now,
    ) -> Result<Begun, Refused> {
        let keys = self.handle.me().keys();
        let Some(room) = self.rooms.get_mut(channel) else { return Err(Refused::UnknownChannel(channel.clone())) };
        let mut wishes = Vec::new();
        let begun = match room.role {
            Role::Hub(_) => {
                let (reply, outcomes) = oneshot::channel();
                let id = room.say_as_hub(&saying, keys, reply, now);
                room.perform(keys, &mut wishes, now);
                Begun::AtHub { id, outcomes }
            }
            Role::Member(_) => {
                let (reply, is_kept) = oneshot::channel();
                room.say_as_member(saying, reply, keys, &mut wishes, now);
                Begun::Waits(is_kept)
            }
        };
        self.grant(channel, wishes, now).await;
        Ok(begun)
    }

    /// A hub invites: whether a person is to decide.
    pub(in crate::federation) async fn invited(&mut self, channel: ChannelId, invitation: Invitation) -> Invited {
        if let Some(room) = self.rooms.get(&channel)
            && let Some(Standing::Joined { since }) = room.roster().standing(&self.me)
        {
            return Invited::Member { upto: room.ready, joined: (room.number, since) };
        }
        let of_hub = self.invitations.keys().filter(|other| other.hub() == channel.hub()).count();
        let is_full = of_hub >= INVITATIONS_PER_ORIGIN_MAX || self.invitations.len() >= INVITATIONS_MAX;
        if !self.invitations.contains_key(&channel) && is_full {
            return Invited::Full;
        }
        self.invitations.insert(channel.clone(), invitation.clone());
        let writes = vec![Write::Invitation { channel, invitation: Some(Box::new(invitation)) }];
        let (waiter, is_safe) = oneshot::channel();
        let done = Some(crate::store::federation::Done::Waiter(waiter));
        let _ = self.disk.send(Batch { writes, done }).await;
        Invited::Pending(is_safe)
    }

    pub(in crate::federation) async fn answer(
        &mut self,
        channel: ChannelId,
        accepts: bool,
        now: Now,
    ) -> Result<Begun, Refused> {
        if !self.invitations.contains_key(&channel) {
            return Err(Refused::NotInvited(channel));
        }
        let writes = vec![Write::Invitation { channel: channel.clone(), invitation: None }];
        if !accepts {
            self.invitations.remove(&channel);
            let _ = self.disk.send(Batch { writes, done: None }).await;
            return Ok(Begun::Nothing);
        }
        if !self.rooms.contains_key(&channel) {
            let state = participant::State::restored(channel.clone(), self.me.clone(), participant::Summary::default());
            self.found(&channel, Role::Member(Box::new(state)), now)?;
        }
        if let Some(room) = self.rooms.get_mut(&channel) {
            room.with_member(|member| member.handle(participant::Input::Invited));
        }
        self.act(&channel, now).await;
        let joined = Change::Joined;
        let saying = Saying { kind: joined.kind().to_owned(), data: joined.data(), at: now.wall };
        let begun = self.say(&channel, saying, now).await?;
        self.invitations.remove(&channel);
        // Only now: what is begun is on its way to the disk before the invitation is gone.
        let _ = self.disk.send(Batch { writes, done: None }).await;
        Ok(begun)
    }

    pub(in crate::federation) async fn force(&mut self, channel: &ChannelId, now: Now) -> Result<(), Refused> {
        let Some(room) = self.rooms.get_mut(channel) else { return Err(Refused::UnknownChannel(channel.clone())) };
        let Role::Hub(hub) = &mut room.role else { return Err(Refused::NotHub(channel.hub().clone())) };
        if hub.unheard().next().is_none() {
            return Err(Refused::WaitsForNobody);
        }
        hub.handle(hub::Input::Forced, now);
        self.act(channel, now).await;
        Ok(())
    }

    pub(in crate::federation) fn invitee(&mut self, channel: &ChannelId, member: Origin, is_told: bool, now: Now) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        if is_told {
            room.invites.remove(&member);
        } else if let Some((due, failures)) = room.invites.get_mut(&member) {
            *due = now.mono + Duration::from_secs(1).saturating_mul(1 << (*failures).min(10)).min(PAUSE_MAX);
            *failures += 1;
        }
    }

    /// A channel was read anew; `None`: it is not on disk, and never was.
    pub(in crate::federation) async fn reopen(&mut self, channel: ChannelId, role: Option<KeptRole>, now: Now) {
        let Some(old) = self.rooms.remove(&channel) else { return };
        let Some(role) = role else {
            self.by_number.remove(&old.number);
            return self.note_companions();
        };
        let role = Room::role_of(role, (&channel, &self.me), self.hub_config(&channel));
        let mut room = Room::new(self.me.clone(), channel.clone(), old.number, role);
        (room.sent, room.faults, room.waits_since) = (old.sent, old.faults, now.mono);
        room.proofs = old.proofs;
        if let Ok(drafts) = self.sender.lines().drafts(room.number).await {
            room.set_drafts(drafts);
        }
        self.enter(room, now);
        self.act(&channel, now).await;
    }
}
