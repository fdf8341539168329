//! A directory of a test's own, gone when the test ends. Only tests use it.

use std::path::{Path, PathBuf};

/// A new, empty directory that is removed when this is dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// Makes it.
    pub(crate) fn new() -> Self {
        let path = std::env::temp_dir().join(format!("comity-test-{:016x}", rand::random::<u64>()));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A directory left behind by a failing test is looked at, then swept by the system.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
