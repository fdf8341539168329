//! What waits to go to other origins, and what came of it.

use super::*;

impl Hall {
    /// Puts what is on disk into the outboxes of the members, each as far as it may see.
    pub(in crate::federation) fn hand_out(&mut self, channel: &ChannelId) {
        let Some(room) = self.rooms.get(channel) else { return };
        let Role::Hub(hub) = &room.role else { return };
        let stream = Stream::Line(channel.clone());
        // What is not sent to whom this node does not deal with does not pile up either.
        let is_served = |member: &Origin| *member != self.me && !self.sender.client.is_blocked(member);
        for (member, _) in hub.summary().roster.standings().filter(|(member, _)| is_served(member)) {
            let Some((first, until)) = hub.summary().roster.view(member) else { continue };
            let outbox = self.outboxes.entry(member.clone()).or_default();
            let has = room.sent.get(member).copied().unwrap_or(0).max(first - 1);
            let last = until.unwrap_or(room.ready).min(room.ready);
            outbox.put(stream.clone(), has, last);
            // Who was removed and joined again sees nothing of the time between.
            outbox.skip(&stream, first - 1);
            if let Some(until) = until {
                outbox.end(&stream, until);
            }
            self.touched.insert(member.clone());
        }
    }

    /// A member reads the line by itself: what it has, or is about to ask for, need not be sent to it. Who sees a line
    /// from its joining on may have one that was given up, and is sent the joining by which it knows.
    pub(in crate::federation) fn page_given(
        &mut self,
        channel: ChannelId,
        member: &Origin,
        (page, is_last): ((u64, u64), bool),
    ) {
        let sees_all = |room: &Room| matches!(room.role, Role::Hub(_)) && room.roster().history() == History::All;
        let is_skipped = self.rooms.get(&channel).is_some_and(sees_all);
        if let Some(outbox) = self.outboxes.get_mut(member).filter(|_| is_skipped) {
            let asks_until = (!is_last).then_some(self.handle.now().mono + READ_AGAIN);
            outbox.reads(&Stream::Line(channel), page, asks_until);
        }
    }

    /// What the hub decided on goes there no more, whether it was answered or only seen in the line: its events are no
    /// longer kept to be sent.
    pub(in crate::federation) fn skip_decided(&mut self, channel: &ChannelId) {
        let Some(Room { role: Role::Member(member), .. }) = self.rooms.get(channel) else { return };
        if let Some(outbox) = self.outboxes.get_mut(channel.hub()) {
            outbox.skip(&Stream::Own(channel.clone()), member.summary().decided);
        }
    }

    /// Begins the transactions that are due.
    pub(in crate::federation) fn send(&mut self, now: Duration) {
        while self.wakes.first().is_some_and(|(at, _)| *at <= now) {
            self.touched.extend(self.wakes.pop_first().map(|(_, to)| to));
        }
        for to in std::mem::take(&mut self.touched) {
            let Some(outbox) = self.outboxes.get_mut(&to) else { continue };
            let Some(parts) = outbox.poll(now) else {
                let soon = outbox.wake_at().filter(|at| (now..now + TICK).contains(at));
                self.wakes.extend(soon.map(|at| (at, to)));
                continue;
            };
            let rooms = &self.rooms;
            let number = |stream: &Stream| match stream {
                Stream::Line(channel) | Stream::Own(channel) => rooms.get(channel).map(|room| room.number),
            };
            let parts = parts.into_iter().filter_map(|part| Some((number(&part.stream)?, part))).collect();
            self.sender.send(to, parts);
        }
    }

    pub(in crate::federation) async fn sent(&mut self, to: Origin, sent: Sent, now: Now) {
        let outbox = self.outboxes.entry(to.clone()).or_default();
        match sent.failure {
            None => outbox.sent(sent.done.clone()),
            Some(failure) => {
                outbox.advance(sent.done.clone());
                outbox.failed(now.mono, rand::random());
                if let Some(wait) = failure.retry_after() {
                    outbox.wait_until(now.mono + wait.min(PAUSE_MAX));
                }
                tracing::debug!(%to, %failure, "events wait for another origin");
            }
        }
        if sent.is_to_wait {
            outbox.wait_until(now.mono + TICK);
        }
        self.touched.insert(to.clone());
        for (stream, upto) in sent.done {
            let Stream::Line(channel) = stream else { continue };
            if let Some(room) = self.rooms.get_mut(&channel) {
                room.sent.insert(to.clone(), upto);
                let writes = vec![Write::Sent { channel: room.number, member: to.clone(), seq: upto }];
                let _ = self.disk.send(Batch { writes, done: None }).await;
            }
        }
        for (channel, outcomes) in sent.decided {
            // What a hub decided before it lost its memory counts no more.
            if sent.at.is_some_and(|at| !self.hears(&channel, at)) {
                continue;
            }
            let Some(room) = self.rooms.get_mut(&channel) else { continue };
            room.with_member(|member| member.handle(participant::Input::Decided { outcomes }));
            self.act(&channel, now).await;
        }
    }

    /// Another origin was heard of: what waits for it need not wait any longer.
    pub(in crate::federation) fn wake(&mut self, origin: &Origin) {
        // Not more often than once a second: it may be heard of all the time, and refuse.
        let soon = self.handle.now().mono + Duration::from_secs(1);
        let is_late = |outbox: &&mut outbox::State| outbox.paused_until().is_some_and(|due| due > soon);
        if let Some(outbox) = self.outboxes.get_mut(origin).filter(is_late) {
            outbox.woken();
            self.touched.insert(origin.clone());
        }
        for channel in self.failing.extract_if(.., |channel| channel.hub() == origin) {
            if let Some(room) = self.rooms.get_mut(&channel) {
                (room.failures, room.fetch_again) = (0, Some(Duration::ZERO));
            }
        }
    }
}
