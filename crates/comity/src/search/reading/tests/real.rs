//! The documentation of this system, whatever is installed.

use super::*;
use std::collections::BTreeMap;

/// How many files are read at most: enough to meet every kind, and done in seconds.
const FILES: usize = 3000;

#[test]
fn the_documentation_of_this_system_is_read_nearly_whole() {
    let scratch = Scratch::new();
    let program = pdfs::program(&scratch);
    let roots = ["/usr/share/doc", "/usr/share/man"].map(PathBuf::from).into_iter().filter(|root| root.exists());
    let found: Vec<Found> = Walk::over(roots.collect(), true).filter_map(Result::ok).collect();
    let mut counts: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut read_whole, mut of) = (0, 0);
    for file in found.iter().step_by(found.len().div_ceil(FILES).max(1)) {
        let outcome = read(&file.path, &program);
        if let Ok(document) = &outcome {
            assert!(!document.title.is_empty() && !document.title.contains(char::is_control), "{file:?}");
            assert!(document.text.len() <= TEXT_MAX && !document.text.contains('\0'), "{file:?}");
        }
        *counts.entry(outcome.as_ref().map_or_else(ReadCause::name, |document| document.kind.as_str())).or_default() +=
            1;
        // Archives, pictures and pages that only name another one are no documents of words.
        if !matches!(outcome, Err(ReadCause::Binary | ReadCause::Empty)) {
            of += 1;
            read_whole += u32::from(outcome.is_ok());
        }
    }
    println!("{counts:?} of {} files", found.len());
    assert!(of == 0 || read_whole * 100 >= of * 95, "{counts:?}");
}
