//! Programs that the node runs for tools: in a group of their own, with an environment of their own, and ended with all
//! of that group. What they say is read here only where nobody else reads it.

use crate::config::Around;
use crate::door::shown;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

/// How long a program that is asked to end may take before it is told to, and then before it is made to. Together they
/// are less than a node that ends waits for its parts.
const END_TIME: Duration = Duration::from_millis(1500);

/// Bytes of standard error that are kept: where programs say last why they cannot go on.
const WORDS_MAX: usize = 2048;

/// Longest such words in a sentence, characters.
const SHOWN_MAX: usize = 300;

/// A program that runs. Its group ends with it, however this is dropped; what it started in another stays.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) child: Child,
    group: Group,
}

/// The process group of a program.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    fn signal(&self, signal: Signal) {
        if let Some(leader) = self.0 {
            // It fails when the whole group has already ended, which is what is wanted.
            let _ = kill_process_group(leader, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

impl Program {
    /// Starts a program with all three of its streams open. No shell reads its arguments.
    pub(super) fn start(argv: &[String], around: &Around, also: Option<(&str, &str)>) -> io::Result<Self> {
        let [program, arguments @ ..] = argv else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        command.args(arguments).env_clear();
        // Without it nothing is found, and it says no more than which programs there are.
        command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.envs(around.env.iter().map(|(name, value)| (name, value.reveal())));
        command.envs(also);
        if let Some(folder) = &around.cwd {
            command.current_dir(folder);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.process_group(0).kill_on_drop(true).spawn()?;
        let leader = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Ok(Self { child, group: Group(leader) })
    }

    /// Ends it: its input is closed already, and that may be enough; else it is told, and then made to.
    pub(super) async fn end(mut self) {
        if timeout(END_TIME, self.child.wait()).await.is_err() {
            self.group.signal(Signal::TERM);
            // Err: it does not want to, and is killed with its group, now.
            let _ = timeout(END_TIME, self.child.wait()).await;
        }
    }
}

/// Reads standard error to its end, into the log; gives the last words.
pub(super) async fn last_words(server: String, errors: ChildStderr) -> String {
    let kept = drain(errors, |part| {
        let words = String::from_utf8_lossy(part);
        tracing::debug!(server, words = shown::text(words.trim(), SHOWN_MAX), "a tool server wrote to standard error");
    });
    shown_words(&kept.await)
}

/// Reads to the end, in pieces that `tell` sees, and keeps the last bytes.
pub(super) async fn drain(mut from: impl AsyncRead + Unpin, tell: impl Fn(&[u8])) -> Vec<u8> {
    let (mut kept, mut piece) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        tell(&piece[..length]);
        kept.extend_from_slice(&piece[..length]);
        kept.drain(..kept.len().saturating_sub(WORDS_MAX));
    }
    kept
}

/// The end of what was written, fit for a sentence.
pub(super) fn shown_words(kept: &[u8]) -> String {
    let text = String::from_utf8_lossy(kept);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let text = lines.join(" ");
    let begin = text.char_indices().rev().nth(SHOWN_MAX - 1).map_or(0, |(at, _)| at);
    shown::text(&text[begin..], SHOWN_MAX)
}
