//! Where lines end: what others ask of this node, and what they say to a hub that wants to know.

use super::*;

impl Hall {
    /// Says where the line of a channel ends here, to its hub or to an origin that is a member of it.
    pub(in crate::federation) async fn head_asked(
        &mut self,
        from: &Origin,
        channel: &ChannelId,
        (at, reply): (Timestamp, oneshot::Sender<Option<Ends>>),
        now: Now,
    ) {
        let Some(room) = self.rooms.get_mut(channel) else {
            let _ = reply.send(None);
            return;
        };
        if channel.hub() == from {
            let mut wishes = Vec::new();
            room.head_asked(at, reply, self.handle.me().keys(), &mut wishes, now);
            return self.grant(channel, wishes, now).await;
        }
        let is_hub = matches!(room.role, Role::Hub(_));
        let ends = match room.view_of(from) {
            Some((first, until)) => {
                let ends = room.ends();
                Some(Ends { first: ends.first.max(first), last: until.unwrap_or(ends.last).min(ends.last), ..ends })
            }
            None => None,
        };
        let _ = reply.send(ends);
        if is_hub {
            self.note_stranger(channel, from.clone(), now).await;
        }
    }

    /// Whoever asks a hub for a channel and is no member of it may be one by what a backup does not know.
    pub(in crate::federation) async fn note_stranger(&mut self, channel: &ChannelId, origin: Origin, now: Now) {
        let Some(room) = self.rooms.get_mut(channel) else { return };
        if matches!(room.role, Role::Hub(_)) && !room.roster().is_member(&origin) {
            room.with_hub(|hub| hub.handle(hub::Input::Stranger { origin }, now));
            self.act(channel, now).await;
        }
    }

    pub(in crate::federation) async fn head(
        &mut self,
        channel: &ChannelId,
        member: Origin,
        (head, shown): (Option<(u64, u64)>, Option<hub::Shown>),
        now: Now,
    ) {
        // Who did not answer is asked again, by and by.
        let Some((seq, term)) = head else { return };
        let Some(room) = self.rooms.get_mut(channel) else { return };
        if !room.roster().is_member(&member) {
            room.with_hub(|hub| hub.handle(hub::Input::StrangersHead { origin: member, shown }, now));
            return self.act(channel, now).await;
        }
        room.sent.insert(member.clone(), seq);
        room.with_hub(|hub| hub.handle(hub::Input::Head { member: member.clone(), seq, term }, now));
        if let Some(outbox) = self.outboxes.get_mut(&member) {
            outbox.sent_before(&Stream::Line(channel.clone()), seq);
        }
        self.act(channel, now).await;
        self.hand_out(channel);
    }
}
