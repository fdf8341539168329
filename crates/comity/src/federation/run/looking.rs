//! What is due by the clock, what comparisons came to, and how things stand.

use super::*;

impl Hall {
    /// What is due.
    pub(in crate::federation) async fn look_around(&mut self, now: Now) {
        let due: Vec<Origin> = self.outboxes.keys().cloned().collect();
        self.touched.extend(due);
        let (mut acting, forced) = self.look_as_hub(now);
        acting.extend(self.look_as_member(now));
        for channel in forced {
            tracing::warn!(%channel, "goes on in the next term without members that cannot be reached");
            let _ = self.force(&channel, now).await;
        }
        for channel in acting {
            self.act(&channel, now).await;
        }
    }

    /// What a hub has to ask again: of which channels, and which it has waited for long enough.
    fn look_as_hub(&mut self, now: Now) -> (Vec<ChannelId>, Vec<ChannelId>) {
        let (mut acting, mut forced) = (Vec::new(), Vec::new());
        for room in self.rooms.values_mut() {
            let Role::Hub(hub) = &mut room.role else { continue };
            let waits = hub.unheard().next().is_some();
            if !waits {
                room.waits_since = now.mono;
            }
            // Somebody may show only later that this hub lost something.
            if hub.is_asking() && room.ask_again.is_none() {
                room.ask_again = Some(now.mono + ASK_EVERY);
            }
            if room.ask_again.is_some_and(|due| now.mono >= due) {
                room.ask_again = hub.is_asking().then(|| now.mono + ASK_EVERY);
                hub.ask_again();
                acting.push(room.id.clone());
                // Once: those that are handing over what they have may take longer, and only a person goes on without
                // that.
                let is_over = now.mono >= room.waits_since + WAIT_MAX
                    // Nobody waits for those who are not asked.
                    || hub.unheard().all(|member| self.sender.client.is_blocked(member));
                if waits && !room.is_waited_out && is_over {
                    room.is_waited_out = true;
                    forced.push(room.id.clone());
                }
            }
            for (member, (due, _)) in &mut room.invites {
                if now.mono >= *due {
                    // Until it is answered.
                    *due = now.mono + PAUSE_MAX;
                    self.sender.invite(room.id.clone(), member.clone(), hub.summary().roster.clone());
                }
            }
        }
        (acting, forced)
    }

    /// Looks whether lines went on, and compares them: with their hubs, and each with one other member. Of which channels
    /// events are asked for.
    fn look_as_member(&mut self, now: Now) -> Vec<ChannelId> {
        let is_time_to_look = now.mono >= self.look_at;
        if is_time_to_look {
            self.look_at = now.mono + self.look_every;
        }
        let (mut acting, mut comparing) = (Vec::new(), BTreeMap::<Origin, Vec<Line>>::new());
        for room in self.rooms.values_mut() {
            let Role::Member(member) = &mut room.role else { continue };
            let is_due = room.fetch_again.is_some_and(|due| now.mono >= due);
            let is_to_look = is_time_to_look && member.summary().roster.is_member(&self.me);
            let is_quiet = !room.is_fetching && room.fetch_again.is_none();
            if is_due || (is_to_look && is_quiet && !member.is_settled()) {
                room.fetch_again = None;
                member.look();
                acting.push(room.id.clone());
            }
            if is_to_look {
                for with in [Some(room.id.hub().clone()), room.next_to_compare()].into_iter().flatten() {
                    comparing.entry(with.clone()).or_default().push(line(room, &with));
                }
            }
        }
        for (with, lines) in comparing {
            // Whoever takes longer than it is until the next time is not asked twice at once.
            if self.comparing.may_begin(&with, now.mono) {
                let task = self.sender.compare(with.clone(), lines);
                self.comparing.begin(with, now.mono, task);
            }
        }
        acting
    }

    /// A hub said, at this time or later, that it has a line up to an event.
    pub(in crate::federation) async fn hub_has(&mut self, channel: &ChannelId, (at, upto): (Timestamp, u64), now: Now) {
        let hears = self.hears(channel, at);
        let Some(room) = self.rooms.get_mut(channel).filter(|_| hears) else { return };
        let is_quiet = !room.is_fetching && room.fetch_again.is_none();
        if is_quiet && upto > room.last().map_or(0, |(here, _)| here) {
            room.with_member(participant::State::look);
            self.act(channel, now).await;
        }
    }

    /// What a comparison came to.
    pub(in crate::federation) async fn compared(&mut self, channel: &ChannelId, compared: Compared, now: Now) {
        let is_hub = compared.with == *channel.hub();
        if is_hub && !self.hears(channel, compared.at) {
            return;
        }
        let Some(room) = self.rooms.get_mut(channel) else { return };
        if is_hub {
            // What it answered it signed until now.
            room.with_member(|member| member.heard(now.wall + AHEAD_MAX));
        }
        if let Some(listed) = compared.listed.filter(|_| compared.at > room.listed_from) {
            // Where the hub does not say since when, a member is shown what comes from now on.
            let since = room.ready + 1;
            room.listed = listed.into_iter().map(|(origin, said)| (origin, said.unwrap_or(since))).collect();
        }
        match compared.verdict {
            Some(Verdict::Fits(agreed)) => {
                room.agreed.insert(compared.with, agreed);
                if is_hub {
                    room.with_member(|member| member.handle(participant::Input::Same(agreed)));
                }
            }
            Some(Verdict::Proven(proof)) => {
                room.with_member(|member| member.handle(participant::Input::Proven(proof)));
            }
            // What the hub has counts, and what another has may be what was given up.
            Some(Verdict::Parted { after, theirs }) if is_hub => {
                let ends = room.ends();
                self.sender.read_upto(channel.clone(), ends, after, theirs);
            }
            _ => {}
        }
        self.act(channel, now).await;
    }

    pub(in crate::federation) fn sight(&self, channel: &ChannelId, origin: &Origin) -> Option<Sight> {
        let room = self.rooms.get(channel)?;
        let (roster, ends) = (room.roster(), room.ends());
        // A member that sees no more than from its joining on does not see its hub join, nor others before it.
        let listed = room.listed.get(origin).map(|since| Standing::Joined { since: *since });
        let hub = (channel.hub() == origin).then_some(Standing::Joined { since: 1 });
        let standing = roster.standing(origin).or(hub).or(listed)?;
        let view = match room.view_of(origin) {
            Some((first, until)) => (first.max(ends.first), until.unwrap_or(ends.last).min(ends.last)),
            None => (1, 0),
        };
        Some(Sight { number: room.number, view, whole: room.ready, standing, roster: roster.clone() })
    }

    pub(in crate::federation) fn around(&self) -> Around {
        Around {
            rooms: self.rooms.values().map(view).collect(),
            invitations: self.invitations.iter().map(|(id, kept)| (id.clone(), kept.clone())).collect(),
            outboxes: self
                .outboxes
                .iter()
                .map(|(origin, outbox)| (origin.clone(), (outbox.len(), outbox.failures())))
                .collect(),
        }
    }
}

/// A line of a member, as it is compared with what another origin has.
pub(super) fn line(room: &Room, with: &Origin) -> Line {
    // Whoever sees all of the line sees who is a member, and later changes are in it.
    let is_to_list = with == room.id.hub() && room.listed.is_empty() && room.roster().history() == History::FromJoining;
    let agreed = room.agreed.get(with).copied().unwrap_or_default();
    Line { channel: room.id.clone(), mine: room.ends(), agreed, is_to_list, has_terms: false }
}

/// A channel as it is shown.
pub(super) fn view(room: &Room) -> RoomView {
    RoomView {
        id: room.id.clone(),
        number: room.number,
        is_hub: matches!(room.role, Role::Hub(_)),
        roster: room.roster().clone(),
        ready: room.ready,
        last: room.last(),
        waiting: room.waiting(),
        is_caught_up: match &room.role {
            Role::Hub(hub) => hub.unheard().next().is_none(),
            Role::Member(member) => member.is_caught_up(),
        },
        unheard: match &room.role {
            Role::Hub(hub) => hub.unheard().cloned().collect(),
            Role::Member(_) => Vec::new(),
        },
        faults: room.faults.iter().cloned().collect(),
    }
}
