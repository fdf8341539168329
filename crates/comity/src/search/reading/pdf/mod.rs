//! PDFs, which are read in a process of their own: a small one can ask for all memory and for hours.
//! This is the side that asks, and what goes between both; [`child`] is the side that reads.

use super::flow::Taken;
use super::{BYTES_MAX, TEXT_MAX, TITLE_MAX};
use rustix::process::Signal;
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

mod limits;
mod pages;

/// The hidden subcommand that runs [`child`].
pub const SUBCOMMAND: &str = "read-pdf";

/// How long a PDF may take by the clock: twice its time on the processor, for a busy machine.
const WALL: Duration = Duration::from_secs(20);

/// How long the end of a process is waited for that said nothing more.
const END: Duration = Duration::from_secs(1);

/// How often its end is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// The longest first line of an answer, bytes: two words and three numbers.
const HEAD_MAX: usize = 80;

/// The longest answer, bytes; a character of a title has at most four.
const ANSWER_MAX: usize = HEAD_MAX + 4 * TITLE_MAX + TEXT_MAX;

/// Why a PDF could not be read. The process that read it is gone in every case.
#[derive(Debug, thiserror::Error)]
pub enum PdfCause {
    /// The process that reads it could not be started.
    #[error("no process could be started that reads it: {0}")]
    Start(io::Error),
    /// It wants a password.
    #[error("it is encrypted")]
    Encrypted,
    /// It has no pages that could be found.
    #[error("it is damaged")]
    Damaged,
    /// Its reader panicked at it.
    #[error("its reader gave up on it")]
    GaveUp,
    /// It took more time than a document may.
    #[error("it takes too long to be read")]
    TooLong,
    /// It took more memory than a document may, or its parts are nested too deep.
    #[error("it takes too much memory to be read")]
    TooMuch,
    /// The process ended without an answer, or with one that cannot be understood.
    #[error("the process that read it gave no answer")]
    NoAnswer,
}

impl PdfCause {
    /// Its stable name, by which such files are counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Start(_) => "pdf-no-process",
            Self::Encrypted => "pdf-encrypted",
            Self::Damaged => "pdf-damaged",
            Self::GaveUp => "pdf-gave-up",
            Self::TooLong => "pdf-too-long",
            Self::TooMuch => "pdf-too-much",
            Self::NoAnswer => "pdf-no-answer",
        }
    }

    /// The one that a child named.
    fn named(name: &str) -> Self {
        match name {
            "pdf-encrypted" => Self::Encrypted,
            "pdf-damaged" => Self::Damaged,
            "pdf-gave-up" => Self::GaveUp,
            _ => Self::NoAnswer,
        }
    }
}

/// Has `program read-pdf` read a PDF: it gets the PDF on its standard input, nothing of our
/// environment, and has to answer in time.
pub(super) fn in_own_process(program: &Path, bytes: &[u8]) -> Result<Taken, PdfCause> {
    let mut child = Command::new(program)
        .arg(SUBCOMMAND)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(PdfCause::Start)?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    thread::scope(|scope| {
        scope.spawn(move || {
            // A child that ends before it has read everything says why by its answer or its end.
            let _ = stdin.map(|mut stdin| stdin.write_all(bytes));
        });
        let (answers, answer) = mpsc::sync_channel(1);
        scope.spawn(move || {
            let mut read = Vec::new();
            let whole = stdout.map(|stdout| stdout.take(ANSWER_MAX as u64).read_to_end(&mut read));
            // Without its other end nobody waits for this any more.
            let _ = answers.send(whole.map(|_| read));
        });
        let answer = answer.recv_timeout(WALL);
        let taken = match &answer {
            Ok(answer) => answer.as_deref().and_then(understood),
            Err(_) => Some(Err(PdfCause::TooLong)),
        };
        taken
            .unwrap_or_else(|| Err(why(ended(&mut child))))
            .inspect(|_| stop(&mut child))
            .inspect_err(|_| stop(&mut child))
    })
}

/// Ends a process, if it has not ended, and collects it. Its pipes close, so nothing waits for it.
fn stop(child: &mut Child) {
    // Both fail only where it is gone already.
    let _ = child.kill();
    let _ = child.wait();
}

/// How a process ended that closed its output.
fn ended(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + END;
    while Instant::now() < until {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        thread::sleep(LOOK);
    }
    None
}

fn why(status: Option<ExitStatus>) -> PdfCause {
    match status.and_then(|status| status.signal()).and_then(Signal::from_named_raw) {
        Some(Signal::XCPU | Signal::KILL) => PdfCause::TooLong,
        // Rust aborts where memory is refused, and where the stack is full.
        Some(Signal::ABORT | Signal::SEGV | Signal::BUS) => PdfCause::TooMuch,
        _ => PdfCause::NoAnswer,
    }
}

/// What the hidden subcommand does: reads the PDF at `input` and writes what it says to `output`. It
/// limits this process before it reads, so it must be the only thing that the process does.
///
/// # Errors
/// When the limits cannot be set, or `input` or `output` fail; a faulty PDF is an answer, no error.
pub fn child(input: impl Read, mut output: impl Write) -> io::Result<()> {
    limits::set()?;
    let mut bytes = Vec::new();
    input.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match pages::taken(bytes) {
        Ok(taken) => {
            let title = taken.title.unwrap_or_default();
            let (capped, text) = (u8::from(taken.capped), taken.text);
            writeln!(output, "text {capped} {} {}", title.len(), text.len())?;
            output.write_all(title.as_bytes())?;
            output.write_all(text.as_bytes())?;
        }
        Err(cause) => writeln!(output, "cause {}", cause.name())?,
    }
    output.flush()
}

/// Reads an answer; `None` where it is none, as when the process ended before.
fn understood(answer: &[u8]) -> Option<Result<Taken, PdfCause>> {
    let end = answer.iter().take(HEAD_MAX).position(|byte| *byte == b'\n')?;
    let (head, body) = (str::from_utf8(&answer[..end]).ok()?, &answer[end + 1..]);
    let words: Vec<&str> = head.split(' ').collect();
    match words.as_slice() {
        ["cause", name] => Some(Err(PdfCause::named(name))),
        ["text", capped, title, text] => {
            let (title, text): (usize, usize) = (title.parse().ok()?, text.parse().ok()?);
            let body = str::from_utf8(body).ok().filter(|body| Some(body.len()) == title.checked_add(text))?;
            let (title, text) = body.split_at_checked(title)?;
            Some(Ok(Taken {
                title: Some(title.to_owned()),
                text: text.to_owned(),
                capped: *capped == "1",
                language: None,
            }))
        }
        _ => None,
    }
}
