//! Transactions that are under way, and what became of those that are not on disk yet: whoever sends one again is told the
//! same, however soon.

use super::NotAnswered;
use comity_core::federation::Origin;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// Whose a transaction is, and its id.
type Key = (Origin, String);

/// Transactions by their origin and id. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub(in crate::federation) struct Transactions(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    known: BTreeMap<Key, Known>,
    /// How often one began: it tells one from another that has its id, and came later.
    begun: u64,
}

/// One of them.
#[derive(Debug)]
struct Known {
    /// The hash of its body.
    hash: [u8; 32],
    number: u64,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    UnderWay,
    /// It may be sent again, and is judged anew.
    Ended,
    Answered(String),
}

/// What a transaction is that came.
pub(super) enum Came {
    /// One to be judged.
    New(UnderWay),
    /// It was answered just now.
    Answered(String),
}

/// A transaction that is under way until this is dropped: also when whoever sent it hangs up, and the rest of it is not
/// done. It is known until what is kept of it is on disk.
pub(super) struct UnderWay {
    all: Transactions,
    key: Key,
    number: u64,
    is_kept: Option<oneshot::Receiver<bool>>,
}

impl Transactions {
    /// A transaction came.
    pub(super) fn begin(&self, key: Key, hash: [u8; 32]) -> Result<Came, NotAnswered> {
        let mut all = self.all();
        match all.known.get(&key) {
            Some(other) if other.hash != hash => return Err(NotAnswered::Conflict),
            Some(Known { stage: Stage::UnderWay, .. }) => {
                return Err(NotAnswered::Unavailable("this transaction is under way"));
            }
            Some(Known { stage: Stage::Answered(answer), .. }) => return Ok(Came::Answered(answer.clone())),
            Some(Known { stage: Stage::Ended, .. }) | None => {}
        }
        all.begun += 1;
        let number = all.begun;
        all.known.insert(key.clone(), Known { hash, number, stage: Stage::UnderWay });
        Ok(Came::New(UnderWay { all: self.clone(), key, number, is_kept: None }))
    }

    fn forget(&self, key: &Key, number: u64) {
        let mut all = self.all();
        if all.known.get(key).is_some_and(|known| known.number == number) {
            all.known.remove(key);
        }
    }

    // A lock and not a message: it is held for a moment, and never across a wait.
    fn all(&self) -> MutexGuard<'_, All> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// What is kept of it is on its way to the disk, and there when this says so.
    pub(super) fn is_written(&mut self, is_kept: oneshot::Receiver<bool>) {
        self.is_kept = Some(is_kept);
    }

    /// It was answered for good.
    pub(super) fn answered(&self, answer: String) {
        // Nobody else begins it while it is under way.
        if let Some(known) = self.all.all().known.get_mut(&self.key) {
            known.stage = Stage::Answered(answer);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let (all, key, number) = (self.all.clone(), self.key.clone(), self.number);
        let (Some(is_kept), Ok(runtime)) = (self.is_kept.take(), Handle::try_current()) else {
            return all.forget(&key, number);
        };
        if let Some(known) = all.all().known.get_mut(&key)
            && matches!(known.stage, Stage::UnderWay)
        {
            known.stage = Stage::Ended;
        }
        runtime.spawn(async move {
            // What cannot be written is not known any longer, and judged anew.
            let _ = is_kept.await;
            all.forget(&key, number);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("beta.test".parse().expect("an origin"), "t".to_owned())
    }

    fn new(all: &Transactions, hash: [u8; 32]) -> UnderWay {
        match all.begin(key(), hash) {
            Ok(Came::New(under_way)) => under_way,
            _ => panic!("it is new"),
        }
    }

    #[tokio::test]
    async fn a_transaction_is_under_way_until_its_sender_has_an_answer_or_hangs_up() {
        let all = Transactions::default();
        let first = new(&all, [1; 32]);
        assert!(matches!(all.begin(key(), [1; 32]), Err(NotAnswered::Unavailable(_))));
        assert!(matches!(all.begin(key(), [2; 32]), Err(NotAnswered::Conflict)));
        drop(first);
        new(&all, [2; 32]);
    }

    #[tokio::test]
    async fn what_is_not_on_disk_yet_is_known_until_it_is() {
        let all = Transactions::default();
        let mut first = new(&all, [1; 32]);
        let (begun, is_begun) = oneshot::channel();
        first.is_written(is_begun);
        drop(first);
        assert!(matches!(all.begin(key(), [2; 32]), Err(NotAnswered::Conflict)), "it came with other contents");
        let mut second = new(&all, [1; 32]);
        drop(begun);
        tokio::task::yield_now().await;
        assert!(matches!(all.begin(key(), [1; 32]), Err(NotAnswered::Unavailable(_))), "the second is under way");
        let (written, is_written) = oneshot::channel();
        second.is_written(is_written);
        second.answered("{}".to_owned());
        drop(second);
        assert!(matches!(all.begin(key(), [1; 32]), Ok(Came::Answered(answer)) if answer == "{}"));
        written.send(true).expect("somebody waits");
        tokio::task::yield_now().await;
        new(&all, [3; 32]);
    }
}
