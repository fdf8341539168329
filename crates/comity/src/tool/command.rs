//! Commands with fixed arguments as tools. An argument of the call takes the place of one whole argument of the command:
//! no shell reads it, and it cannot become an option. See "Calls" in `protocols/federation.md`.

use super::answer::{self, CallError};
use super::child::{Program, drain, shown_words};
use super::schema::Schema;
use super::server::Said;
use crate::config::{Around, Command};
use comity_core::tool::{Described, TooMuch};
use serde_json::{Map, Value, json};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Longest argument, bytes: half of what Linux takes for one.
const ARGUMENT_MAX: usize = 64 * 1024;

/// How long what a command left running may hold its output open when it has ended itself.
const LINGER: Duration = Duration::from_secs(1);

/// What ends the options of most programs.
const END_OF_OPTIONS: &str = "--";

/// The variable that has the id of the call: of a task its id and its lease, which what it has an effect on may compare.
const CALL_ID: &str = "COMITY_CALL_ID";

/// A command, ready to be run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    parts: Vec<Part>,
    stdin: bool,
    /// Whether what it prints is JSON, and then whether that is wrapped.
    json: Option<bool>,
    described: Described,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// As it stands.
    Fixed(String),
    /// The call's argument of this name.
    Argument {
        name: String,
        /// Whether it may begin with `-`.
        after_options: bool,
    },
}

/// A command that is no tool.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadCommand {
    /// The program itself would be chosen by whoever calls.
    #[error("the program cannot be an argument of the call")]
    Program,
    /// A placeholder inside of an argument.
    #[error("`{{{0}}}` must stand alone, as an argument of its own")]
    NotAlone(String),
    /// A placeholder that the schema does not have.
    #[error("`{{{0}}}` is no property of `input`")]
    NoProperty(String),
    /// A schema that cannot be used.
    #[error("`{field}`: {problem}")]
    Schema {
        /// Which.
        field: &'static str,
        /// Why.
        problem: String,
    },
    /// It says too much of itself.
    #[error("{0}")]
    TooMuch(#[from] TooMuch),
}

impl Plan {
    /// Reads a command of the configuration.
    ///
    /// # Errors
    /// [`BadCommand`] says what is wrong with it.
    pub(crate) fn new(name: &str, command: &Command) -> Result<Self, BadCommand> {
        let mut after_options = false;
        let parts: Vec<Part> = command
            .argv
            .iter()
            .map(|text| match placeholder(text) {
                Some(name) => Part::Argument { name: name.to_owned(), after_options },
                None => {
                    after_options |= text == END_OF_OPTIONS;
                    Part::Fixed(text.clone())
                }
            })
            .collect();
        if let Some(Part::Argument { .. }) = parts.first() {
            return Err(BadCommand::Program);
        }
        let names = || parts.iter().filter_map(Part::name);
        let input = command.input.clone().unwrap_or_else(|| texts(names()));
        let properties = input.get("properties").and_then(Value::as_object);
        let has = |name: &str| properties.is_some_and(|properties| properties.contains_key(name));
        if let Some(missing) = names().find(|name| !has(name)) {
            return Err(BadCommand::NoProperty(missing.to_owned()));
        }
        let inside = |text: &str, name: &String| placeholder(text).is_none() && text.contains(&format!("{{{name}}}"));
        let not_alone = properties.into_iter().flatten().map(|(name, _)| name);
        if let Some(name) = not_alone.into_iter().find(|name| command.argv.iter().any(|text| inside(text, name))) {
            return Err(BadCommand::NotAlone(name.clone()));
        }
        for (field, schema) in [("input", Some(&input)), ("output", command.output.as_ref())] {
            if let Some(schema) = schema {
                Schema::compile(schema).map_err(|problem| BadCommand::Schema { field, problem })?;
            }
        }
        let (output, json) = command.output.as_ref().map(answer::output_schema).unzip();
        let described = Described::of(name, &command.description, &input, output.as_ref())?;
        Ok(Self { stdin: command.stdin, json, described, parts })
    }

    /// What it says of itself.
    pub(super) fn said(&self) -> Said {
        let Described { name, description, input, output } = self.described.clone();
        Said { name, description, input, output }
    }

    /// The command of this call; the arguments fit the schema.
    fn argv(&self, params: &Map<String, Value>) -> Result<Vec<String>, CallError> {
        let part = |part: &Part| match part {
            Part::Fixed(text) => Some(Ok(text.clone())),
            // What the schema does not want needs not be there, and neither does its argument.
            Part::Argument { name, after_options } => {
                params.get(name).map(|value| argument(name, value, *after_options))
            }
        };
        self.parts.iter().filter_map(part).collect()
    }

    /// Runs the command; what it prints is the result. Whoever drops this ends the command, with all that it started.
    pub(super) async fn run(
        &self,
        (params, call_id): (&Value, &str),
        around: &Around,
        output_max: usize,
    ) -> Result<Value, CallError> {
        let none = Map::new();
        let arguments = params.as_object().unwrap_or(&none);
        // What came from elsewhere may be none that a variable can hold.
        let id = Some((CALL_ID, call_id)).filter(|_| !call_id.contains(char::is_control));
        let mut program = Program::start(&self.argv(arguments)?, around, id)
            .map_err(|failure| CallError::new("server_failed", format!("the program cannot be started: {failure}")))?;
        let child = &mut program.child;
        let (Some(mut input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(CallError::new("server_failed", "the program has no standard streams"));
        };
        let given = if self.stdin { params.to_string() } else { String::new() };
        let most = u64::try_from(output_max).unwrap_or(u64::MAX).saturating_add(1);
        let conversing = async move {
            let give = async {
                // Err: it does not read what it is given, and may answer nevertheless.
                let _ = input.write_all(given.as_bytes()).await;
                drop(input);
            };
            let read = async {
                let mut said = Vec::new();
                // Err: what was read so far is all there is.
                let _ = output.take(most).read_to_end(&mut said).await;
                said
            };
            let (_, said, errors) = tokio::join!(give, read, drain(errors, |_| ()));
            (said, errors)
        };
        tokio::pin!(conversing);
        let ((said, errors), status) = tokio::select! {
            said = &mut conversing => (said, child.wait().await),
            status = child.wait() => {
                let left = |_| CallError::new("server_failed", "the command ended, and left something running that holds its output");
                (timeout(LINGER, &mut conversing).await.map_err(left)?, status)
            }
        };
        if said.len() > output_max {
            return Err(CallError::too_large(output_max));
        }
        let status = status.map_err(|failure| CallError::new("server_failed", failure.to_string()))?;
        self.result(status, said, &errors)
    }

    fn result(&self, status: ExitStatus, said: Vec<u8>, errors: &[u8]) -> Result<Value, CallError> {
        let text = String::from_utf8_lossy(&said).into_owned();
        if !status.success() {
            let words = shown_words(errors);
            let data = json!({"exit_code": status.code(), "stderr": words, "stdout": text});
            return Err(CallError { data: Some(data), ..CallError::new("tool_error", format!("{status}: {words}")) });
        }
        let Some(wrapped) = self.json else { return Ok(answer::text(text)) };
        let value = serde_json::from_str(&text)
            .map_err(|bad| CallError::new("bad_result", format!("the command printed no JSON: {bad}")))?;
        Ok(answer::structured(value, wrapped))
    }
}

impl Part {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Fixed(_) => None,
            Self::Argument { name, .. } => Some(name),
        }
    }
}

/// The name in `{name}`, if that is all there is.
fn placeholder(text: &str) -> Option<&str> {
    let name = text.strip_prefix('{')?.strip_suffix('}')?;
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(word) && !name.starts_with(|c: char| c.is_ascii_digit())).then_some(name)
}

/// The schema of a command whose arguments are texts that must be given.
fn texts<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Value {
    let properties: Map<String, Value> =
        names.clone().map(|name| (name.to_owned(), json!({"type": "string"}))).collect();
    let required: Vec<&String> = properties.keys().collect();
    json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false})
}

/// A value as one argument of a command.
fn argument(name: &str, value: &Value, after_options: bool) -> Result<String, CallError> {
    let bad = |problem: &str| Err(CallError::bad_params(&format!("/{name}"), problem));
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(_) | Value::Bool(_) => value.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return bad("a text, a number, true or false is wanted"),
    };
    if text.contains('\0') || text.len() > ARGUMENT_MAX {
        return bad("at most 64 KiB without a zero byte are possible");
    }
    if text.starts_with('-') && !after_options {
        return bad("it begins with `-`, and the command would take it for an option");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn command(argv: &[&str]) -> Command {
        let argv = argv.iter().map(|text| (*text).to_owned()).collect();
        Command { argv, description: String::new(), input: None, output: None, stdin: false }
    }

    fn plan(argv: &[&str]) -> Plan {
        Plan::new("t", &command(argv)).expect("a command")
    }

    async fn run(plan: &Plan, params: Value) -> Result<Value, CallError> {
        plan.run((&params, "task:7:2"), &Around::default(), 1000).await
    }

    #[test]
    fn placeholders_stand_alone_and_are_properties() {
        let bad = |command: &Command| Plan::new("t", command).expect_err("it is no tool");
        assert_eq!(bad(&command(&["{program}"])), BadCommand::Program);
        let input = json!({"type": "object", "properties": {"a": {"type": "string"}}});
        let with = |argv: &[&str]| Command { input: Some(input.clone()), ..command(argv) };
        assert_eq!(bad(&with(&["x", "--a={a}"])), BadCommand::NotAlone("a".to_owned()));
        assert_eq!(bad(&with(&["x", "{b}"])), BadCommand::NoProperty("b".to_owned()));
        assert!(Plan::new("t", &with(&["awk", "{print $1}", "{a}"])).is_ok());
        let remote = json!({"type": "object", "properties": {"a": {"$ref": "http://x/y"}}});
        let remote = Command { input: Some(remote), ..command(&["x"]) };
        assert!(matches!(bad(&remote), BadCommand::Schema { field: "input", .. }));
    }

    #[tokio::test]
    async fn an_argument_stays_one_argument_and_no_option() {
        let plan = plan(&["printf", "%s|", "a", "{x}", "{y}"]);
        let said = run(&plan, json!({"x": "b c; $(id) 'd'", "y": ""})).await.expect("it runs");
        assert_eq!(said["content"][0]["text"], "a|b c; $(id) 'd'||");
        let option = run(&plan, json!({"x": "-v", "y": "z"})).await.expect_err("an option");
        assert_eq!((option.code, option.data), ("bad_params", Some(json!({"pointer": "/x"}))));
        let after = Plan::new("t", &command(&["printf", "--", "%s", "{x}"])).expect("a command");
        assert_eq!(run(&after, json!({"x": "-v"})).await.expect("it runs")["content"][0]["text"], "-v");
        let zero = run(&after, json!({"x": "a\0b"})).await.expect_err("a zero byte");
        assert_eq!(zero.code, "bad_params");
    }

    #[tokio::test]
    async fn what_a_command_prints_is_its_result_and_how_it_ends_its_error() {
        let json = Command { output: Some(json!({"type": "object"})), ..command(&["echo", r#"{"a":1}"#]) };
        let said = run(&Plan::new("t", &json).expect("a command"), json!({})).await.expect("it runs");
        assert_eq!(said["structuredContent"], json!({"a": 1}));
        let failed = run(&plan(&["sh", "-c", "echo why >&2; exit 3"]), json!({})).await.expect_err("it fails");
        assert_eq!((failed.code, &failed.data.expect("data")["exit_code"]), ("tool_error", &json!(3)));
        assert!(failed.message.contains("why"), "{}", failed.message);
        let none = run(&plan(&["/nonexistent/program"]), json!({})).await.expect_err("it is not there");
        assert_eq!(none.code, "server_failed");
        let stdin = Command { stdin: true, ..command(&["cat"]) };
        let said = run(&Plan::new("t", &stdin).expect("a command"), json!({"a": 1})).await.expect("it runs");
        assert_eq!(said["content"][0]["text"], r#"{"a":1}"#);
    }

    #[tokio::test]
    async fn a_command_sees_nothing_of_the_nodes_environment() {
        let said = run(&plan(&["env"]), json!({})).await.expect("it runs");
        let text = said["content"][0]["text"].as_str().expect("a text").to_owned();
        let own = |line: &str| line.starts_with("PATH=") || line.starts_with("_=") || line == "COMITY_CALL_ID=task:7:2";
        assert!(text.lines().all(own) && text.contains("COMITY_CALL_ID"), "{text}");
    }

    #[tokio::test]
    async fn a_command_that_prints_without_end_is_cut_off() {
        let began = Instant::now();
        let cut = run(&plan(&["yes"]), json!({})).await.expect_err("too much");
        assert_eq!(cut.code, "too_large");
        let left = run(&plan(&["sh", "-c", "sleep 1000 & echo done"]), json!({})).await.expect_err("it holds on");
        assert_eq!(left.code, "server_failed");
        assert!(began.elapsed() < Duration::from_secs(30));
    }
}
