//! Questions about lines that are under way: so few of a kind to each origin that whoever answers slowly, or never, does
//! not have ever more of this node.

use super::*;

/// How long is waited until one is given up that has not ended by itself. Each request of it ends sooner.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(600);

/// Questions of one kind that are under way to one origin.
const AT_MOST: usize = 4;

/// Questions of one kind.
#[derive(Debug)]
pub(super) struct Questions {
    /// How long one is waited for until another is begun beside it.
    patience: Duration,
    /// Since when, the last one last.
    begun: BTreeMap<Origin, Vec<(Duration, JoinHandle<()>)>>,
}

impl Questions {
    /// None is under way.
    pub(super) fn patient(patience: Duration) -> Self {
        Self { patience, begun: BTreeMap::new() }
    }

    /// Whether one may go to this origin now.
    pub(super) fn may_begin(&mut self, with: &Origin, now: Duration) -> bool {
        let Some(all) = self.begun.get_mut(with) else { return true };
        all.retain(|(since, task)| {
            let is_late = now >= *since + GIVEN_UP_AFTER;
            if is_late && !task.is_finished() {
                tracing::debug!(%with, "a question about lines is given up");
                task.abort();
            }
            !is_late && !task.is_finished()
        });
        all.len() < AT_MOST && all.last().is_none_or(|(since, _)| now >= *since + self.patience)
    }

    /// One is under way from now on.
    pub(super) fn begin(&mut self, with: Origin, now: Duration, task: JoinHandle<()>) {
        self.begun.retain(|_, all| all.iter().any(|(_, task)| !task.is_finished()));
        self.begun.entry(with).or_default().push((now, task));
    }
}

impl Hall {
    /// Asks what is to be asked, of those that are not asked already.
    pub(super) fn ask_others(&mut self, now: Duration) {
        for (member, lines) in std::mem::take(&mut self.asking) {
            if self.asked.may_begin(&member, now) {
                let task = self.sender.ask_heads(member.clone(), lines.into_iter().collect());
                self.asked.begin(member, now, task);
            } else {
                self.asking.insert(member, lines);
            }
        }
        for (hub, channels) in std::mem::take(&mut self.parted) {
            if self.finding.may_begin(&hub, now) {
                let rooms = channels.iter().filter_map(|channel| self.rooms.get(channel));
                let lines = rooms.map(|room| Line { has_terms: true, ..line(room, &hub) }).collect();
                let task = self.sender.compare(hub.clone(), lines);
                self.finding.begin(hub, now, task);
            } else {
                self.parted.insert(hub, channels);
            }
        }
    }
}
