//! A running program and the lines it writes, to be waited for.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Lines {
    child: Child,
    input: Option<ChildStdin>,
    output: Receiver<String>,
    seen: Vec<String>,
    name: String,
}

impl Lines {
    /// Starts it. What it writes to standard error is the test's.
    pub fn start(command: &mut Command) -> Self {
        let name = format!("{command:?}");
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} did not start: {error}"));
        let reader = BufReader::new(child.stdout.take().expect("standard output is a pipe"));
        let (lines, output) = channel();
        // The thread ends with the program's output, or when nobody wants it any more.
        std::thread::spawn(move || {
            // Some programs write what they were sent, whatever that is.
            let read = reader.split(b'\n').map_while(Result::ok);
            read.map(|line| String::from_utf8_lossy(&line).into_owned()).try_for_each(|line| lines.send(line))
        });
        Self { input: child.stdin.take(), child, output, seen: Vec::new(), name }
    }

    /// The next line; `None` when there is none within that time, or no more.
    pub fn next(&mut self, within: Duration) -> Option<String> {
        let line = self.output.recv_timeout(within).ok()?;
        self.seen.push(line.clone());
        Some(line)
    }

    /// The first line of which `find` makes something.
    pub fn wait_for<T>(&mut self, what: &str, within: Duration, mut find: impl FnMut(&str) -> Option<T>) -> T {
        let end = Instant::now() + within;
        while let Some(line) = self.next(end.saturating_duration_since(Instant::now())) {
            if let Some(found) = find(&line) {
                return found;
            }
        }
        panic!("{}: no {what} within {within:?}, but:\n{}", self.name, self.seen.join("\n"));
    }

    /// Every line that comes within that time.
    pub fn during(&mut self, time: Duration) -> Vec<String> {
        let end = Instant::now() + time;
        std::iter::from_fn(|| self.next(end.saturating_duration_since(Instant::now()))).collect()
    }

    /// Writes a line to its standard input.
    pub fn say(&mut self, line: &str) {
        let input = self.input.as_mut().expect("its input was not closed");
        // In one piece: the program may end at the first character, as at Ctrl-C.
        let line = format!("{line}\n");
        input.write_all(line.as_bytes()).unwrap_or_else(|error| panic!("{}: {error}", self.name));
    }

    /// Closes its standard input, which many programs take as their end.
    pub fn close(&mut self) {
        self.input = None;
    }

    /// Sends it a signal, as in `STOP`.
    pub fn signal(&self, signal: &str) {
        signal_to(self.child.id(), signal);
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended.
    pub fn ended(&mut self, within: Duration) -> ExitStatus {
        self.input = None;
        let end = Instant::now() + within;
        loop {
            match self.output.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("{} did not end within {within:?}", self.name),
            }
        }
        self.child.wait().expect("it is our own child")
    }

    /// What it has written so far, as far as it was read.
    pub fn seen(&self) -> &[String] {
        &self.seen
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to one process.
pub fn signal_to(pid: u32, signal: &str) {
    let sent = Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "no process {pid} to send {signal} to");
}
