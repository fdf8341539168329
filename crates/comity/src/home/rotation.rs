//! A new key for a node that does not run. Where it speaks for an origin, the old key signs that the new one follows, so
//! that nobody has to trust it anew; its journal begins anew, for a journal is one key's. See "Discovery" in
//! `protocols/federation.md`.

use super::{Home, HomeError, new_key, stored_key, write_atomically};
use comity_core::federation::Origin;
use comity_core::id::NodeId;
use comity_core::time::Timestamp;
use comity_core::wire::federation::well_known::{PREVIOUS, ROTATIONS_MAX, Rotation};
use comity_core::wire::strict;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// The file that keeps how the keys followed from one another, each change signed by the key before it. It is no secret.
const FILE: &str = "rotations.json";

/// Letters of the old key in the name of its journal.
const NAMED: usize = 12;

/// A key was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    /// The key before.
    pub old: NodeId,
    /// The key from now on.
    pub new: NodeId,
    /// Where the journal of the old key is kept, if there was one.
    pub journal: Option<PathBuf>,
}

impl Home {
    /// Gives the node a new key. The old one is gone then; `origin` is the one that the node speaks for, and `at` is
    /// when the old key ends.
    ///
    /// A crash in between leaves the old key or the new one, and never a node without any.
    ///
    /// # Errors
    /// [`HomeError`]; [`HomeError::NoKey`] when there is none to be changed.
    pub fn rotate(&self, origin: Option<&Origin>, at: SystemTime) -> Result<Rotated, HomeError> {
        let path = self.folder().join("node.key");
        let old = stored_key(self.folder())?.ok_or_else(|| HomeError::NoKey { path: path.clone() })?;
        let (new, text) = new_key()?;
        let mut rotations: Vec<Rotation> = self.rotations()?.into_iter().filter(|one| one.key != old.node()).collect();
        if let Some(origin) = origin {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default();
            let until = Timestamp::from_millis(u64::try_from(at.as_millis()).unwrap_or(u64::MAX));
            rotations.push(Rotation::sign(&old, new.node(), origin, until));
        }
        let surplus = rotations.len().saturating_sub(ROTATIONS_MAX);
        let kept: Vec<Value> = rotations[surplus..].iter().map(Rotation::to_value).collect();
        let file = self.folder().join(FILE);
        let io = |path: PathBuf| move |cause| HomeError::Io { path, cause };
        write_atomically(&file, json!({ PREVIOUS: kept }).to_string().as_bytes()).map_err(io(file.clone()))?;
        let journal = self.set_journal_aside(&old.node()).map_err(io(self.journal()))?;
        write_atomically(&path, text.as_bytes()).map_err(io(path.clone()))?;
        Ok(Rotated { old: old.node(), new: new.node(), journal })
    }

    /// How the keys of this node followed from one another, the latest last; what leads to another key is not there.
    pub(crate) fn rotations(&self) -> Result<Vec<Rotation>, HomeError> {
        let path = self.folder().join(FILE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(cause) => return Err(HomeError::Io { path, cause }),
        };
        let bad = || HomeError::NotRotations { path: path.clone() };
        let document = strict::parse(&text).map_err(|_| bad())?;
        let mut all = Rotation::read_all(&document).map_err(|_| bad())?;
        // What was signed before a crash, and led nowhere.
        let mut key = stored_key(self.folder())?.map(|key| key.node());
        let mut chain = Vec::new();
        while let Some(at) = all.iter().position(|one| Some(one.new_key) == key) {
            let one = all.swap_remove(at);
            key = Some(one.key);
            chain.push(one);
        }
        chain.reverse();
        Ok(chain)
    }

    fn set_journal_aside(&self, old: &NodeId) -> io::Result<Option<PathBuf>> {
        let journal = self.journal();
        if !journal.exists() {
            return Ok(None);
        }
        let id = old.to_string();
        let letters: String = id.rsplit(':').next().unwrap_or_default().chars().take(NAMED).collect();
        let free = (1..).map(|number| match number {
            1 => self.folder().join(format!("journal-{letters}")),
            _ => self.folder().join(format!("journal-{letters}-{number}")),
        });
        let aside = free.into_iter().find(|path| !path.exists()).ok_or(io::ErrorKind::AlreadyExists)?;
        std::fs::rename(&journal, &aside)?;
        std::fs::File::open(self.folder())?.sync_all()?;
        Ok(Some(aside))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;
    use comity_core::federation::Pin;
    use comity_core::wire::federation::well_known::{Endpoint, VERSION, WellKnown};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn time(seconds: u64) -> SystemTime {
        UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    }

    #[test]
    fn whoever_pinned_the_first_key_follows_to_the_last_one() {
        let scratch = Scratch::new();
        let home = Home::lock(&scratch.path().join("home")).expect("a folder");
        let origin = "alpha.test".parse().expect("an origin");
        assert!(matches!(home.rotate(Some(&origin), time(1)), Err(HomeError::NoKey { .. })));
        let first = home.key().expect("a key").node();
        let document = |home: &Home| WellKnown {
            endpoint: Endpoint::read("https://alpha.test").expect("an endpoint"),
            version: VERSION.to_owned(),
            components: Vec::new(),
            key: home.key().expect("a key").node(),
            rotations: home.rotations().expect("rotations"),
            card: None,
        };
        let pin = Pin::first(&origin, &document(&home));
        std::fs::create_dir(home.journal()).expect("a folder");
        let rotated = home.rotate(Some(&origin), time(1)).expect("a new key");
        assert_eq!((rotated.old, rotated.new), (first, home.key().expect("a key").node()));
        assert!(!home.journal().exists() && rotated.journal.is_some_and(|path| path.exists()));
        let second = home.rotate(Some(&origin), time(2)).expect("a new key");
        assert_eq!(second.old, rotated.new);
        let pin = pin.follow(&origin, &document(&home)).expect("it follows");
        assert_eq!(pin.key, second.new);
        assert!(pin.counts(&first, at(0)) && !pin.counts(&first, at(1)) && pin.counts(&rotated.new, at(1)));
    }

    #[test]
    fn what_was_signed_before_a_crash_leads_nowhere_and_is_left_out() {
        let scratch = Scratch::new();
        let home = Home::lock(&scratch.path().join("home")).expect("a folder");
        let (origin, key) = ("alpha.test".parse().expect("an origin"), home.key().expect("a key"));
        let (lost, _) = new_key().expect("a key");
        let file = json!({ PREVIOUS: [Rotation::sign(&key, lost.node(), &origin, at(1)).to_value()] });
        std::fs::write(home.folder().join(FILE), file.to_string()).expect("it is ours");
        assert_eq!(home.rotations().expect("rotations"), []);
        home.rotate(Some(&origin), time(2)).expect("a new key");
        assert_eq!(home.rotations().expect("rotations").len(), 1);
        std::fs::write(home.folder().join(FILE), "{").expect("it is ours");
        assert!(matches!(home.rotations(), Err(HomeError::NotRotations { .. })));
    }
}
