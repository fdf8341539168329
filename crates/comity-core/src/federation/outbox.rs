//! What waits to go to one other origin: events of the channels that this origin orders, and its own events for
//! channels that the other one orders. One request is under way at a time; what fails is sent again, ever more rarely.
//! See "Delivery" in `protocols/federation.md`. The events themselves are on disk: here are only their numbers.

use super::ChannelId;
use crate::wire::federation::body::EVENTS_MAX;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// Requests a second that go to one origin for long, and as many at once: a little fewer than an origin takes of another
/// that shares a channel with it, which also asks for heads and events. What waits meanwhile goes together.
const REQUESTS: u32 = 80;
const AT_ONCE: Duration = Duration::from_secs(1);

/// The same where fewer events wait than one request takes: each request costs both sides two signatures and two checks.
const SMALL_REQUESTS: u32 = 40;

/// The pause after the first failure, and the longest; each is twice the one before, less up to a half.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(600);

/// A sequence of numbered events that go to the other origin in their order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stream {
    /// The line of a channel that this origin orders, by `seq`.
    Line(ChannelId),
    /// This origin's own events for a channel that the other one orders, by `author_seq`.
    Own(ChannelId),
}

/// Part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of which.
    pub stream: Stream,
    /// The event before the first.
    pub after: u64,
    /// The last.
    pub upto: u64,
}

/// The events of a stream that wait: those after `done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Queue {
    done: u64,
    last: u64,
    /// The other side was given all up to this one, in pages that it asked for, from what it had on; 0 for none.
    given: u64,
    /// It asks for the next page until about then.
    read_until: Duration,
}

/// The outbox for one origin.
#[derive(Debug, Default)]
pub struct State {
    queues: BTreeMap<Stream, Queue>,
    /// Those in which something waits: few, of many.
    waiting: BTreeSet<Stream>,
    /// Whose turn was last: the next one is after it.
    served: Option<Stream>,
    is_under_way: bool,
    failures: u32,
    due: Duration,
    /// When as many requests may go at once again as ever, and as many small ones.
    rested_at: Duration,
    small_rested_at: Duration,
}

impl State {
    /// Events of a stream wait up to this one; of a stream that is new here, those after `done`.
    pub fn put(&mut self, stream: Stream, done: u64, last: u64) {
        self.queues.entry(stream.clone()).or_insert(Queue { done, last, given: 0, read_until: Duration::ZERO });
        self.change(&stream, |queue| queue.last = queue.last.max(last));
    }

    fn change(&mut self, stream: &Stream, change: impl FnOnce(&mut Queue)) {
        let Some(queue) = self.queues.get_mut(stream) else { return };
        change(queue);
        let waits = queue.done < queue.last;
        if waits != self.waiting.contains(stream) {
            if waits {
                self.waiting.insert(stream.clone());
            } else {
                self.waiting.remove(stream);
            }
        }
    }

    /// The other side says that it has a stream up to this event, and no further.
    pub fn sent_before(&mut self, stream: &Stream, done: u64) {
        if !self.is_under_way {
            self.change(stream, |queue| queue.done = done.min(queue.last));
        }
    }

    /// The other side asked for events of a stream and is given a page of them: those after this one, up to `upto`; if
    /// there are more, it asks for those until about then, and nothing of the stream goes there before. What it asks to
    /// follow on it has, if that is where it stood, or what it was given. Whoever looks at some events in between has said
    /// nothing of those before them, and whoever asks for the same again does not keep the stream waiting for ever.
    pub fn reads(&mut self, stream: &Stream, (after, upto): (u64, u64), asks_until: Option<Duration>) {
        self.change(stream, |queue| {
            if after > queue.done.max(queue.given) {
                return;
            }
            let goes_on = upto > queue.done && (after > queue.done || queue.given <= queue.done);
            (queue.done, queue.given) = (queue.done.max(after.min(queue.last)), queue.given.max(upto));
            match asks_until {
                None => queue.read_until = Duration::ZERO,
                Some(until) if goes_on => queue.read_until = until,
                Some(_) => {}
            }
        });
    }

    /// Events of a stream after this one go there, again if they did before.
    pub fn rewind(&mut self, stream: &Stream, done: u64) {
        self.change(stream, |queue| queue.done = queue.done.min(done));
    }

    /// No event of a stream up to this one goes there, also if it waits: a member that was removed and joined again may
    /// not see what was said meanwhile, and what a hub decided on it need not be sent again.
    pub fn skip(&mut self, stream: &Stream, upto: u64) {
        self.change(stream, |queue| queue.done = queue.done.max(upto));
    }

    /// No event of a stream goes to this origin after this one; none at all any more when that was sent.
    pub fn end(&mut self, stream: &Stream, last: u64) {
        self.change(stream, |queue| queue.last = queue.last.min(last));
        if !self.waiting.contains(stream) {
            self.queues.remove(stream);
        }
    }

    /// The next transaction, if there is one to send now; it is under way until [`Self::sent`] or [`Self::failed`].
    pub fn poll(&mut self, now: Duration) -> Option<Vec<Part>> {
        if self.is_under_way || now < self.due.max(self.paced_until()) {
            return None;
        }
        let from = self.served.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let until = match &from {
            Bound::Excluded(served) => Bound::Included(served.clone()),
            _ => Bound::Unbounded,
        };
        // Once around: after the one that was served last, and then up to it.
        let after = self.waiting.range((from.clone(), Bound::Unbounded));
        let before = self.waiting.range((Bound::Unbounded, until)).take_while(|_| from != Bound::Unbounded);
        let queues = after.chain(before).map(|stream| (stream, self.queues[stream]));
        let (mut parts, mut room) = (Vec::new(), EVENTS_MAX as u64);
        for (stream, queue) in queues.filter(|(_, queue)| queue.read_until <= now) {
            let count = (queue.last - queue.done).min(room);
            parts.push(Part { stream: stream.clone(), after: queue.done, upto: queue.done + count });
            room -= count;
            if room == 0 {
                break;
            }
        }
        self.served = Some(parts.last()?.stream.clone());
        self.is_under_way = true;
        self.rested_at = self.rested_at.max(now) + AT_ONCE / REQUESTS;
        self.small_rested_at = self.small_rested_at.max(now) + AT_ONCE / SMALL_REQUESTS;
        Some(parts)
    }

    /// Before this time the other origin would take one request too many, or what waits is better sent with what comes.
    fn paced_until(&self) -> Duration {
        let until = |rested_at: Duration, requests| (rested_at + AT_ONCE / requests).saturating_sub(AT_ONCE);
        let all = until(self.rested_at, REQUESTS);
        if self.len() < EVENTS_MAX as u64 { all.max(until(self.small_rested_at, SMALL_REQUESTS)) } else { all }
    }

    /// A transaction was answered: of each stream all up to this event need not go there again.
    pub fn sent(&mut self, done: impl IntoIterator<Item = (Stream, u64)>) {
        (self.is_under_way, self.failures) = (false, 0);
        for (stream, upto) in done {
            self.change(&stream, |queue| queue.done = queue.done.max(upto));
        }
    }

    /// Part of a transaction was taken; what became of the rest [`Self::failed`] says after this. The pauses begin anew
    /// only where something moved: whoever takes nothing is asked ever more rarely.
    pub fn advance(&mut self, done: impl IntoIterator<Item = (Stream, u64)>) {
        for (stream, upto) in done {
            if self.done(&stream).is_some_and(|done| done < upto) {
                self.failures = 0;
                self.change(&stream, |queue| queue.done = upto);
            }
        }
    }

    /// Nothing goes there before this time: the other side said so.
    pub fn wait_until(&mut self, due: Duration) {
        self.due = self.due.max(due);
    }

    /// A transaction came to nothing. `random` must be drawn at random.
    pub fn failed(&mut self, now: Duration, random: u32) {
        self.is_under_way = false;
        let pause = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX);
        self.failures = self.failures.saturating_add(1);
        self.due = now + pause - pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0);
    }

    /// The other origin was heard of: what waits for it is tried at once.
    pub fn woken(&mut self) {
        (self.due, self.failures) = (Duration::ZERO, 0);
    }

    /// When to [`Self::poll`] again; `None` while nothing waits, or a transaction is under way.
    pub fn wake_at(&self) -> Option<Duration> {
        let read = self.waiting.iter().map(|stream| self.queues[stream].read_until).min()?;
        (!self.is_under_way).then_some(self.due.max(self.paced_until()).max(read))
    }

    /// Until when nothing that waits is tried, after failures or because the other side said so.
    pub fn paused_until(&self) -> Option<Duration> {
        (!self.is_empty() && !self.is_under_way).then_some(self.due)
    }

    /// Up to which event of a stream nothing waits any more.
    pub fn done(&self, stream: &Stream) -> Option<u64> {
        self.queues.get(stream).map(|queue| queue.done)
    }

    /// How many events wait.
    pub fn len(&self) -> u64 {
        self.waiting.iter().map(|stream| &self.queues[stream]).map(|queue| queue.last - queue.done).sum()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many transactions have failed one after the other.
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn line(name: &str) -> Stream {
        Stream::Line(format!("!{name}:alpha.test").parse().expect("a channel"))
    }

    fn part(name: &str, after: u64, upto: u64) -> Part {
        Part { stream: line(name), after, upto }
    }

    #[test]
    fn one_transaction_is_under_way_at_a_time_and_each_event_goes_until_it_is_taken() {
        let mut outbox = State::default();
        outbox.put(line("a"), 7, 9);
        assert_eq!(outbox.poll(NOW), Some(vec![part("a", 7, 9)]));
        outbox.put(line("a"), 0, 12);
        assert_eq!((outbox.poll(NOW), outbox.wake_at()), (None, None));
        outbox.sent([(line("a"), 8)]);
        assert_eq!(outbox.poll(NOW), Some(vec![part("a", 8, 12)]));
        outbox.sent([(line("a"), 12)]);
        assert_eq!((outbox.poll(NOW), outbox.is_empty(), outbox.wake_at()), (None, true, None));
    }

    #[test]
    fn a_busy_channel_does_not_keep_others_waiting() {
        let mut outbox = State::default();
        outbox.put(line("a"), 0, 1000);
        outbox.put(line("b"), 0, 2);
        assert_eq!(outbox.poll(NOW), Some(vec![part("a", 0, 50)]));
        outbox.sent([(line("a"), 50)]);
        assert_eq!(outbox.poll(NOW), Some(vec![part("b", 0, 2), part("a", 50, 98)]));
        outbox.sent([(line("a"), 98), (line("b"), 2)]);
        assert_eq!(outbox.poll(NOW), Some(vec![part("a", 98, 148)]));
    }

    #[test]
    fn an_origin_is_asked_no_more_often_than_it_takes_and_more_rarely_where_little_waits() {
        for (events, requests, pause) in [(1, SMALL_REQUESTS, 25), (EVENTS_MAX as u64, REQUESTS, 13)] {
            let (mut outbox, mut asked) = (State::default(), 0);
            for millisecond in 0..5000 {
                let now = NOW + Duration::from_millis(millisecond);
                outbox.put(line("a"), 0, (millisecond + 1) * events);
                if let Some(parts) = outbox.poll(now) {
                    asked += 1;
                    outbox.sent(parts.into_iter().map(|part| (part.stream, part.upto)));
                } else {
                    let soon = now + Duration::from_millis(pause);
                    assert!(outbox.wake_at().is_some_and(|at| at > now && at <= soon));
                }
            }
            assert!((requests * 5..=requests * 6).contains(&asked), "{asked}");
        }
    }

    #[test]
    fn what_fails_is_sent_again_ever_more_rarely_until_the_other_is_heard_of() {
        let mut outbox = State::default();
        outbox.put(line("a"), 0, 1);
        let mut now = NOW;
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600] {
            assert!(outbox.poll(now).is_some());
            outbox.failed(now, 0);
            assert_eq!(outbox.wake_at(), Some(now + Duration::from_secs(pause)));
            assert_eq!(outbox.poll(now + Duration::from_secs(pause) - Duration::from_millis(1)), None);
            now += Duration::from_secs(pause);
        }
        assert!(outbox.poll(now).is_some());
        outbox.failed(now, u32::MAX);
        assert_eq!(outbox.wake_at(), Some(now + Duration::from_secs(300)));
        outbox.woken();
        assert!(outbox.poll(now).is_some());
    }

    #[test]
    fn pauses_grow_while_nothing_is_taken_and_begin_anew_when_part_is() {
        let mut outbox = State::default();
        outbox.put(line("a"), 0, 2);
        let mut now = NOW;
        let mut fails = |outbox: &mut State, done: &[(Stream, u64)], pause| {
            assert!(outbox.poll(now).is_some());
            outbox.advance(done.iter().cloned());
            outbox.failed(now, 0);
            now += Duration::from_secs(pause);
            assert_eq!(outbox.wake_at(), Some(now));
        };
        for pause in [1, 2, 4, 8] {
            fails(&mut outbox, &[], pause);
        }
        fails(&mut outbox, &[(line("a"), 1)], 1);
        fails(&mut outbox, &[(line("a"), 1)], 2);
        assert_eq!((outbox.failures(), outbox.len()), (2, 1));
    }

    #[test]
    fn what_the_other_side_reads_by_itself_does_not_go_there_meanwhile() {
        let mut outbox = State::default();
        outbox.put(line("a"), 0, 1000);
        outbox.put(line("b"), 0, 1);
        let later = NOW + Duration::from_secs(1);
        outbox.reads(&line("a"), (0, 500), Some(NOW));
        outbox.reads(&line("a"), (500, 980), Some(later));
        assert_eq!(outbox.poll(NOW), Some(vec![part("b", 0, 1)]));
        outbox.sent([(line("b"), 1)]);
        assert_eq!((outbox.poll(NOW), outbox.wake_at()), (None, Some(later)));
        // It has asked for no more, and so may not have the second page.
        assert_eq!(outbox.poll(later), Some(vec![part("a", 500, 550)]));
        outbox.sent([(line("a"), 550)]);
        // Where it has it after all, and is given the rest, the rest goes as well: nobody says that it came.
        outbox.reads(&line("a"), (980, 1000), None);
        assert_eq!(outbox.poll(later + AT_ONCE), Some(vec![part("a", 980, 1000)]));
        outbox.failed(later, 0);
        outbox.reads(&line("a"), (1000, 1000), None);
        assert!(outbox.is_empty());
        outbox.put(line("a"), 0, 1001);
        assert_eq!(outbox.poll(later + 2 * AT_ONCE), Some(vec![part("a", 1000, 1001)]));
    }

    #[test]
    fn whoever_looks_at_events_has_not_taken_those_before_them() {
        let mut outbox = State::default();
        outbox.put(line("a"), 3, 1000);
        let later = |seconds| NOW + Duration::from_secs(seconds);
        for page in [(900, 950), (950, 1000), (1000, 1000), (u64::MAX, u64::MAX)] {
            outbox.reads(&line("a"), page, None);
            assert_eq!(outbox.done(&line("a")), Some(3), "{page:?}");
        }
        // The same page again and again.
        for second in 0..10 {
            outbox.reads(&line("a"), (0, 100), Some(later(second + 5)));
        }
        assert_eq!((outbox.poll(later(4)), outbox.done(&line("a"))), (None, Some(3)));
        assert_eq!(outbox.poll(later(5)), Some(vec![part("a", 3, 53)]));
        outbox.sent([(line("a"), 150)]);
        outbox.reads(&line("a"), (0, 100), Some(later(20)));
        assert_eq!(outbox.poll(later(7)), Some(vec![part("a", 150, 200)]));
    }

    #[test]
    fn what_a_member_may_no_longer_see_does_not_go_to_it() {
        let mut outbox = State::default();
        outbox.put(line("a"), 0, 5);
        outbox.end(&line("a"), 3);
        assert_eq!(outbox.poll(NOW), Some(vec![part("a", 0, 3)]));
        outbox.sent([(line("a"), 3)]);
        outbox.end(&line("a"), 3);
        assert_eq!(outbox.done(&line("a")), None);
        outbox.put(line("a"), 0, 3);
        outbox.put(line("a"), 6, 8);
        outbox.skip(&line("a"), 6);
        assert_eq!(outbox.poll(NOW), Some(vec![part("a", 6, 8)]), "who joined again sees nothing of the time between");
    }
}
