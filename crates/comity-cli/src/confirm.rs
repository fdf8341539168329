//! Asks whoever is at the terminal before something is done that only a person should decide.

use crate::exit::Failure;
use std::io::{BufRead, IsTerminal, Write};

/// Asks, and fails unless the answer is yes. Where nobody can be asked, it says that `--yes` is wanted.
pub(crate) fn confirm(question: &str) -> Result<(), Failure> {
    let input = std::io::stdin();
    if !input.is_terminal() {
        return Err(Failure::Usage("nobody is here to be asked: give --yes where you are sure".to_owned()));
    }
    std::io::stderr().write_all(format!("{question} [y/N] ").as_bytes())?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Other("nothing was done".to_owned())),
    }
}
