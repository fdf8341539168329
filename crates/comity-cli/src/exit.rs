//! How a command ends: its exit code, which programs may rely on, and the sentence for people.

use crate::page::whole;
use comity_client::Error;
use std::fmt;
use std::io::ErrorKind;

/// How a command ended. The numbers are documented in `--help` and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// No node is running there.
    NoNode = 3,
    /// Refused, or the peer, channel or message is not known.
    Refused = 4,
    /// No answer came in time.
    TimedOut = 5,
}

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The node could not be asked, or refused.
    Node(Error),
    /// The command line is wrong in a way that only its meaning shows.
    Usage(String),
    /// Something else; the sentence says what to do.
    Other(String),
    /// A check found something that does not work; it is already printed.
    Ill,
    /// Nothing is known of what was asked for.
    Unknown(String),
    /// It was tried for as long as it may; the sentence says what to do.
    Late(String),
    /// Whoever read the output has gone.
    NobodyReads,
}

impl Failure {
    /// The exit code.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Node(Error::NoNode { .. }) => Exit::NoNode,
            Self::Node(Error::Silent { .. }) => Exit::TimedOut,
            Self::Node(Error::Refused(problem)) => match problem.code.as_str() {
                "timed_out" => Exit::TimedOut,
                "bad_request" | "too_large" => Exit::Usage,
                "unavailable" | "internal" => Exit::Failed,
                _ => Exit::Refused,
            },
            Self::Node(_) | Self::Other(_) | Self::Ill => Exit::Failed,
            Self::Usage(_) => Exit::Usage,
            Self::Unknown(_) => Exit::Refused,
            Self::Late(_) => Exit::TimedOut,
            Self::NobodyReads => Exit::Done,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(error) => {
                out.write_str(&shown(&error.to_string()))?;
                advice(error).map_or(Ok(()), |advice| write!(out, "\n  {advice}"))
            }
            Self::Usage(sentence) | Self::Other(sentence) | Self::Unknown(sentence) | Self::Late(sentence) => {
                out.write_str(&shown(sentence))
            }
            Self::Ill | Self::NobodyReads => Ok(()),
        }
    }
}

/// A sentence as a terminal may see it: peers' words may be in it.
fn shown(sentence: &str) -> String {
    sentence.lines().map(whole).collect::<Vec<_>>().join("\n")
}

/// What to do about a refusal.
fn advice(error: &Error) -> Option<&'static str> {
    Some(match error.code()? {
        "unknown_peer" => "`comity peers` lists whom this node knows",
        "unknown_channel" => "`comity status` lists the channels; `comity subscribe` adds one",
        "unknown_task" => {
            "`comity task list` lists the tasks of this node, `comity claims list` those that are claimed"
        }
        "unknown_tool" => "`comity tool list` lists the tools of this node",
        "ambiguous_task" => "--of names its announcer",
        "rate_limited" => "wait a moment and try again",
        "no_answerer" | "timed_out" => "the peer may have nobody who answers: there, `comity answer --exec CMD` does",
        "no_link" => "`comity peers` says whether it is there, and why it cannot be reached",
        "unavailable" => "`comity doctor` says what does not work",
        _ => return None,
    })
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Node(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        if error.kind() == ErrorKind::BrokenPipe { Self::NobodyReads } else { Self::Other(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_client::control::Problem;

    fn refused(code: &str) -> Exit {
        let problem = Problem { status: 400, code: code.to_owned(), detail: String::new(), pointer: None };
        Failure::from(Error::Refused(problem)).exit()
    }

    #[test]
    fn exit_codes_are_stable() {
        assert_eq!(Failure::from(Error::NoNode { data_dir: "/d".into() }).exit() as u8, 3);
        assert_eq!(Failure::from(Error::Broken(String::new())).exit() as u8, 1);
        assert_eq!(Failure::from(Error::Silent { after: std::time::Duration::ZERO }).exit() as u8, 5);
        assert_eq!(refused("timed_out") as u8, 5);
        assert_eq!(refused("unknown_peer") as u8, 4);
        assert_eq!(refused("forbidden") as u8, 4);
        assert_eq!(refused("bad_request") as u8, 2);
        assert_eq!(refused("unavailable") as u8, 1);
        assert_eq!(Failure::Usage(String::new()).exit() as u8, 2);
        assert_eq!(Failure::Unknown(String::new()).exit() as u8, 4);
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let problem =
            Problem { status: 404, code: "unknown_peer".to_owned(), detail: "no peer bob".to_owned(), pointer: None };
        let text = Failure::from(Error::Refused(problem)).to_string();
        assert_eq!(text, "no peer bob\n  `comity peers` lists whom this node knows");
    }

    #[test]
    fn nothing_that_a_peer_wrote_reaches_a_terminal_as_a_command() {
        let detail = "go\u{1b}]0;x\u{7} away\u{202e}".to_owned();
        let problem = Problem { status: 409, code: "refused".to_owned(), detail: detail.clone(), pointer: None };
        for failure in [Failure::from(Error::Refused(problem)), Failure::Late(detail.clone()), Failure::Other(detail)] {
            assert_eq!(failure.to_string(), "go]0;x away");
        }
        assert_eq!(Failure::Usage("one\n  two".to_owned()).to_string(), "one\n  two");
    }
}
