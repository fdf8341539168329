//! Questions to whoever sits at the terminal, one at a time. The line is read on a thread of its own, so that
//! everything else goes on and Ctrl-C ends the command; nothing else of what happens waits here.

use crate::page::say;
use std::collections::VecDeque;
use std::future::pending;
use std::io::{BufRead, BufReader, IsTerminal, Write, stdin};
use std::sync::mpsc as threads;
use tokio::sync::{mpsc, oneshot};

/// What is asked, and who waits for the answer.
pub(super) struct Question<About> {
    pub(super) about: About,
    /// In words.
    pub(super) text: String,
    /// Who asked; closed when that has ended.
    pub(super) reply: oneshot::Sender<bool>,
}

/// The questions that are open. There are never more than there are transfers: each waits for its answer.
pub(super) struct Questions<About> {
    terminal: Option<Terminal>,
    /// The one on the screen.
    open: Option<Question<About>>,
    waiting: VecDeque<Question<About>>,
}

impl<About> Questions<About> {
    /// Questions to whoever sits at the terminal of this command, if anybody does.
    pub(super) fn here() -> Self {
        let terminal = stdin().is_terminal().then(|| Terminal::new(BufReader::new(stdin())));
        Self { terminal, open: None, waiting: VecDeque::new() }
    }

    /// Whether nobody is there to be asked.
    pub(super) fn nobody(&self) -> bool {
        self.terminal.is_none()
    }

    /// Whether a question is on the screen, or will be as soon as [`Self::answer`] is waited for.
    pub(super) fn any(&self) -> bool {
        self.open.is_some() || !self.waiting.is_empty()
    }

    /// Asks, once those before it are answered.
    pub(super) fn ask(&mut self, question: Question<About>) {
        self.waiting.push_back(question);
    }

    /// The next answer, in small letters; it may be given up and waited for again at any time.
    pub(super) async fn answer(&mut self) -> (Question<About>, String) {
        loop {
            self.show_next();
            let Some(terminal) = &mut self.terminal else { return pending().await };
            let line = tokio::select! {
                biased;
                () = ended(&mut self.open) => {
                    self.open = None;
                    say("\ncomity: that is not asked any more: the transfer has ended. Press Enter to go on.");
                    continue;
                }
                line = terminal.line() => line,
            };
            // What was typed for a question that is not asked any more answers no other.
            if let Some(question) = self.open.take() {
                return (question, line);
            }
        }
    }

    fn show_next(&mut self) {
        let Some(terminal) = self.terminal.as_mut().filter(|terminal| !terminal.reading) else { return };
        while let Some(question) = self.waiting.pop_front() {
            if !question.reply.is_closed() {
                // Err: nobody reads it, and so nobody answers.
                let _ = std::io::stderr().write_all(format!("{} ", question.text).as_bytes());
                terminal.read();
                self.open = Some(question);
                return;
            }
        }
    }
}

/// Ends when who asked this has ended.
async fn ended<About>(open: &mut Option<Question<About>>) {
    match open {
        Some(question) => question.reply.closed().await,
        None => pending().await,
    }
}

/// Lines that somebody types.
struct Terminal {
    wanted: threads::Sender<()>,
    lines: mpsc::Receiver<String>,
    /// A line was wanted, and has not come.
    reading: bool,
}

impl Terminal {
    fn new(mut input: impl BufRead + Send + 'static) -> Self {
        let ((wanted, asked), (said, lines)) = (threads::channel(), mpsc::channel(1));
        std::thread::spawn(move || {
            for () in asked {
                let mut line = String::new();
                // Err, or nothing: nobody is there any more, which is a no.
                let _ = input.read_line(&mut line);
                if said.blocking_send(line.trim().to_lowercase()).is_err() {
                    return;
                }
            }
        });
        Self { wanted, lines, reading: false }
    }

    fn read(&mut self) {
        // Err: the thread has ended, and what it would have read is a no.
        let _ = self.wanted.send(());
        self.reading = true;
    }

    async fn line(&mut self) -> String {
        if !self.reading {
            return pending().await;
        }
        let line = self.lines.recv().await;
        self.reading = false;
        line.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn question(about: u32) -> (Question<u32>, oneshot::Receiver<bool>) {
        let (reply, answered) = oneshot::channel();
        (Question { about, text: "?".to_owned(), reply }, answered)
    }

    fn questions() -> (Questions<u32>, std::io::PipeWriter) {
        let (typed, keyboard) = std::io::pipe().expect("a pipe");
        let terminal = Some(Terminal::new(BufReader::new(typed)));
        (Questions { terminal, open: None, waiting: VecDeque::new() }, keyboard)
    }

    #[tokio::test]
    async fn while_a_question_is_open_everything_else_goes_on_and_the_next_one_waits() {
        let (mut questions, mut keyboard) = questions();
        let ((first, _one), (second, _two)) = (question(1), question(2));
        questions.ask(first);
        questions.ask(second);
        assert!(timeout(Duration::from_millis(50), questions.answer()).await.is_err(), "nobody has typed");
        keyboard.write_all(b"Yes\nno\n").expect("a keyboard");
        for (about, line) in [(1, "yes"), (2, "no")] {
            let (question, said) = timeout(PATIENCE, questions.answer()).await.expect("in time");
            assert_eq!((question.about, said.as_str()), (about, line));
        }
        assert!(!questions.any());
    }

    #[tokio::test]
    async fn what_is_typed_for_a_transfer_that_has_ended_answers_no_other() {
        let (mut questions, mut keyboard) = questions();
        let ((first, one), (second, _two)) = (question(1), question(2));
        questions.ask(first);
        questions.ask(second);
        assert!(timeout(Duration::from_millis(50), questions.answer()).await.is_err(), "nobody has typed");
        drop(one);
        keyboard.write_all(b"y\nn\n").expect("a keyboard");
        let (question, said) = timeout(PATIENCE, questions.answer()).await.expect("in time");
        assert_eq!((question.about, said.as_str()), (2, "n"));
    }
}
