//! `comity answer --exec CMD`: a program answers the queries of peers. The program is bounded in
//! time, in how many run at once, and in how much it may say. A question never becomes part of a
//! command line: it comes on standard input.

use super::{peers, stopped};
use crate::args::Answer;
use crate::exit::Failure;
use crate::page::{Look, Page, clean, said, say};
use crate::payload;
use comity_client::Client;
use comity_client::control::{Message, Watched};
use comity_core::limits::PAYLOAD_JSON_MAX;
use comity_core::time::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use std::pin::pin;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use uuid::Uuid;

/// How many queries are taken from the node for each program that may run. Further ones wait there,
/// where they are bounded, and what is too much is counted.
const TAKEN_FOR_EACH: usize = 2;

pub(crate) async fn run(client: &Client, flags: Answer, page: &mut Page) -> Result<(), Failure> {
    let mut queries = client.queries().await?;
    say(&format!("comity: answering with `{}`; stop with Ctrl-C", clean(&flags.exec)));
    let at_once = usize::from(flags.at_once);
    let room = Arc::new(Semaphore::new(at_once));
    let program = Arc::new(Program { shell_command: flags.exec, time_limit: flags.time_limit });
    let mut running = JoinSet::new();
    let mut stopped = pin!(stopped());
    loop {
        tokio::select! {
            // What still runs ends with its process group when `running` is dropped.
            asked = &mut stopped => return asked,
            watched = queries.next(), if running.len() < at_once * TAKEN_FOR_EACH => match watched? {
                None => return Err(Failure::Other("the node stopped".to_owned())),
                Some(Watched::Lagged { skipped }) => {
                    say(&format!("comity: {skipped} queries came too fast to be answered"));
                }
                Some(Watched::Message { message }) => {
                    let (client, room, program) = (client.clone(), room.clone(), program.clone());
                    running.spawn(async move { answer(&client, &room, &program, *message).await });
                }
            },
            Some(done) = running.join_next() => match done.map_err(|wrong| Failure::Other(wrong.to_string()))? {
                Some(outcome) => show(outcome, page)?,
                None => say("comity: a query had to wait until it expired"),
            },
        }
    }
}

/// What became of one query.
struct Outcome {
    query: Message,
    payload: Value,
    told: Result<(), comity_client::Error>,
}

/// Answers one query, as soon as there is room; nothing is run and nothing said when it has expired
/// by then.
async fn answer(client: &Client, room: &Semaphore, program: &Program, query: Message) -> Option<Outcome> {
    let payload = match room.acquire().await {
        Ok(_) if expired(&query, peers::now()) => return None,
        Ok(_place) => program.answer(&query).await.unwrap_or_else(|failure| json!({ "error": failure.sentence() })),
        Err(_) => json!({ "error": "the answering program is being stopped" }),
    };
    let told = match query.id {
        Some(id) => client.respond(id, query.from, payload.clone()).await.map(|_| ()),
        None => Ok(()),
    };
    Some(Outcome { query, payload, told })
}

/// Whether nobody waits for the answer any more.
fn expired(query: &Message, now: Timestamp) -> bool {
    now.since(query.received_at) > Duration::from_secs(query.ttl.into())
}

fn show(outcome: Outcome, page: &mut Page) -> Result<(), Failure> {
    let Outcome { query, payload, told } = outcome;
    if let Err(error) = &told {
        say(&format!("comity: the answer could not be sent: {error}"));
    }
    if page.json {
        return page.value(&json!({ "query": query, "answer": payload, "sent": told.is_ok() }));
    }
    let from = query.from_name.clone().unwrap_or_else(|| query.from.to_string());
    let from = page.paint(&clean(&from), Look::Strong);
    page.line(&format!("{from}  {}  ->  {}", said(&query.payload), said(&payload)))
}

/// The program that answers.
struct Program {
    shell_command: String,
    time_limit: Duration,
}

/// Why the program gave no answer. The peer is told no more than this.
#[derive(Debug, PartialEq, Eq)]
enum NoAnswer {
    CannotStart,
    TookTooLong,
    Failed,
    SaidTooMuch,
    NotText,
}

impl NoAnswer {
    fn sentence(&self) -> &'static str {
        match self {
            Self::CannotStart => "the answering program cannot be started",
            Self::TookTooLong => "the answering program took too long",
            Self::Failed => "the answering program failed",
            Self::SaidTooMuch => "the answering program said more than fits into a message",
            Self::NotText => "the answering program did not write text",
        }
    }
}

impl Program {
    async fn answer(&self, query: &Message) -> Result<Value, NoAnswer> {
        let child = self.start(query).map_err(|_| NoAnswer::CannotStart)?;
        let group = Group(child.id());
        let answer = tokio::time::timeout(self.time_limit, converse(child, query.payload.to_string())).await;
        drop(group);
        answer.unwrap_or(Err(NoAnswer::TookTooLong))
    }

    fn start(&self, query: &Message) -> std::io::Result<Child> {
        Command::new("/bin/sh")
            .arg("-c")
            .arg(&self.shell_command)
            .env("COMITY_QUERY", query.id.as_ref().map(Uuid::to_string).unwrap_or_default())
            .env("COMITY_FROM", query.from.to_string())
            .env("COMITY_KEY", query.key.as_deref().unwrap_or_default())
            .env("COMITY_TRUST", query.trust.0.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }
}

/// The process group of a program: whatever the program started ends with it.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let leader = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            // It fails when the whole group has already ended, which is what is wanted.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Gives the program the question and takes its answer. A program that does not read its question
/// may still answer it.
async fn converse(mut child: Child, question: String) -> Result<Value, NoAnswer> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(NoAnswer::CannotStart);
    };
    let ask = async move {
        let _ = input.write_all(question.as_bytes()).await;
        let _ = input.write_all(b"\n").await;
    };
    let limit = u64::try_from(PAYLOAD_JSON_MAX).unwrap_or(u64::MAX);
    let mut said = Vec::new();
    let mut output = output.take(limit + 1);
    let (_, read) = tokio::join!(ask, output.read_to_end(&mut said));
    read.map_err(|_| NoAnswer::Failed)?;
    if said.len() > PAYLOAD_JSON_MAX {
        return Err(NoAnswer::SaidTooMuch);
    }
    let status = child.wait().await.map_err(|_| NoAnswer::Failed)?;
    if !status.success() {
        return Err(NoAnswer::Failed);
    }
    let text = String::from_utf8(said).map_err(|_| NoAnswer::NotText)?;
    Ok(payload::value(text.trim_end_matches(['\n', '\r'])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn query(payload: &Value) -> Message {
        let query = json!({
            "id": Uuid::from_u128(1), "from": Uuid::from_u128(2), "to": Uuid::from_u128(3), "type": "query",
            "channel": "_direct", "payload": payload, "priority": "normal", "timestamp": "2026-01-01T00:00:00Z",
            "ttl": 60, "trust": "verified", "via": "link", "received_at": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(query).expect("a query")
    }

    async fn answer(shell_command: &str, time_limit: Duration, payload: Value) -> Result<Value, NoAnswer> {
        let program = Program { shell_command: shell_command.to_owned(), time_limit };
        program.answer(&query(&payload)).await
    }

    #[test]
    fn a_query_expires_when_its_asker_waits_no_more() {
        let query = query(&json!(1));
        let after = |seconds: u64| Timestamp::from_millis(query.received_at.millis() + seconds * 1000);
        assert!(!expired(&query, after(60)));
        assert!(expired(&query, after(61)));
    }

    #[tokio::test]
    async fn nothing_is_run_for_a_query_that_expired_while_it_waited() {
        let ran = std::env::temp_dir().join(format!("comity-answer-ran-{}", std::process::id()));
        let program = Program { shell_command: format!("touch '{}'", ran.display()), time_limit: LONG };
        let nobody = Client::new("/nonexistent");
        let outcome = super::answer(&nobody, &Semaphore::new(1), &program, query(&json!(1))).await;
        assert!(outcome.is_none());
        assert!(!ran.exists());
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn the_program_reads_the_question_and_its_output_is_the_answer() {
        assert_eq!(answer("cat", LONG, json!({"q": "$(id)"})).await, Ok(json!({"q": "$(id)"})));
        assert_eq!(answer("echo four", LONG, json!("2+2")).await, Ok(json!("four")));
        assert_eq!(answer("echo $COMITY_TRUST", LONG, json!(null)).await, Ok(json!("verified")));
    }

    #[tokio::test]
    async fn a_program_that_fails_or_says_too_much_gives_no_answer() {
        assert_eq!(answer("exit 3", LONG, json!(1)).await, Err(NoAnswer::Failed));
        assert_eq!(answer("yes", LONG, json!(1)).await, Err(NoAnswer::SaidTooMuch));
        assert_eq!(answer("printf '\\377'", LONG, json!(1)).await, Err(NoAnswer::NotText));
    }

    #[tokio::test]
    async fn a_program_that_takes_too_long_ends_with_all_it_started() {
        let began = Instant::now();
        let answer = answer("sleep 30 & sleep 30; wait", Duration::from_millis(200), json!(1)).await;
        assert_eq!(answer, Err(NoAnswer::TookTooLong));
        assert!(began.elapsed() < Duration::from_secs(10));
    }
}
