//! Calls through the whole of it, with commands of every system: policy, schemas, limits, call ids.

use super::*;
use crate::config::{Around as Surroundings, Command, ToolKind};
use crate::scratch::Scratch;
use comity_core::tool::{Effect, Limits, Rule};
use std::path::Path;

fn command(argv: &[&str]) -> Command {
    let argv = argv.iter().map(|text| (*text).to_owned()).collect();
    Command { argv, description: "x\u{202e}y".to_owned(), input: None, output: None, stdin: false }
}

/// The tools of one server with these commands.
fn tools(commands: &[(&str, Command)], change: impl FnOnce(&mut ToolServer)) -> Tools {
    let commands = commands.iter().map(|(name, command)| ((*name).to_owned(), command.clone())).collect();
    let mut server = ToolServer {
        name: "shell".to_owned(),
        kind: ToolKind::Commands { around: Surroundings::default(), commands },
        timeout: Duration::from_secs(20),
        output_bytes: 10_000,
        concurrent: 2,
        per_caller: 2,
    };
    change(&mut server);
    let allow = |tool: Option<&str>, effect| Rule {
        who: "beta.test".parse().expect("a caller"),
        server: Some("shell".to_owned()),
        tool: tool.map(str::to_owned),
        effect,
    };
    let rules = vec![allow(None, Effect::Allow(Limits::default())), allow(Some("closed"), Effect::Deny)];
    let around = Around { scribe: None, stop: CancellationToken::new() };
    Tools::start(vec![server], Policy::new(rules).expect("two rules"), around)
}

fn of(caller: &str, id: &str, tool: &str, params: Value) -> Call {
    Call {
        caller: caller.parse().expect("a caller"),
        call_id: id.to_owned(),
        server: "shell".to_owned(),
        tool: tool.to_owned(),
        params,
        timeout: None,
        progress: None,
    }
}

async fn code(tools: &Tools, call: Call) -> &'static str {
    tools.call(call, CancellationToken::new()).await.expect_err("it has no result").code
}

/// A command that writes a line into the file `runs` of a folder, and then waits until there is a file `go`.
fn waiting(folder: &Path) -> Command {
    let script = "echo run >>runs; while [ ! -e go ]; do sleep 0.02; done; echo done";
    let script = format!("cd '{}'; {script}", folder.display());
    command(&["sh", "-c", &script])
}

fn runs(folder: &Path) -> usize {
    std::fs::read_to_string(folder.join("runs")).unwrap_or_default().lines().count()
}

async fn until(what: impl Fn() -> bool) {
    while !what() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_may_not_call_is_told_no_more_than_that() {
    let tools = tools(&[("open", command(&["echo", "{a}"])), ("closed", command(&["true"]))], |_| ());
    let call = |caller, tool| of(caller, "", tool, json!({"a": "b"}));
    let result = tools.call(call("beta.test", "open"), CancellationToken::new()).await.expect("it is open");
    assert_eq!(result, json!({"content": [{"type": "text", "text": "b\n"}]}));
    assert_eq!(code(&tools, call("beta.test", "closed")).await, "forbidden");
    assert_eq!(code(&tools, call("gamma.test", "open")).await, "forbidden");
    assert_eq!(code(&tools, call("gamma.test", "nothing")).await, "forbidden");
    assert_eq!(code(&tools, call("client:beta.test", "open")).await, "forbidden");
    assert_eq!(code(&tools, call("owner", "nothing")).await, "unknown_tool");
    let elsewhere = Call { server: "files".to_owned(), ..call("owner", "open") };
    assert_eq!(code(&tools, elsewhere).await, "unknown_tool");
    // What is no name is judged no further, and nothing of it is written down.
    for (server, tool) in [("x".repeat(1000), "open".to_owned()), ("shell".to_owned(), "a\nb".to_owned())] {
        let call = Call { server, tool, ..call("gamma.test", "open") };
        let noted = call.refused();
        assert!(noted.server.len() <= 5 && noted.tool.len() <= 4 && noted.params.is_none(), "{noted:?}");
        assert_eq!(code(&tools, call).await, "unknown_tool");
    }
    let names = |caller: &str| -> Vec<String> {
        tools.open_to(&caller.parse().expect("a caller")).iter().map(|tool| tool.name.clone()).collect()
    };
    assert_eq!((names("beta.test"), names("gamma.test").len(), names("owner").len()), (vec!["open".to_owned()], 0, 2));
    assert_eq!(tools.all()[0].description, "xy");
}

#[tokio::test]
async fn arguments_and_results_are_what_the_schemas_say() {
    let json_of = |text: &str, output: Value| Command { output: Some(output), ..command(&["echo", text]) };
    let object = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
    let commands = [
        ("echo", command(&["echo", "{a}"])),
        ("good", json_of(r#"{"a":1}"#, object.clone())),
        ("bad", json_of(r#"{"a":"1"}"#, object.clone())),
        ("none", json_of("no json", object)),
        ("list", json_of("[1]", json!({"type": "array"}))),
    ];
    let tools = tools(&commands, |_| ());
    let call = |tool, params| of("owner", "", tool, params);
    for params in [json!({}), json!({"a": 1}), json!({"a": "b", "c": 1}), json!([]), json!("a")] {
        assert_eq!(code(&tools, call("echo", params)).await, "bad_params");
    }
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    assert_eq!(code(&tools, call("echo", json!({"a": deep}))).await, "bad_params");
    let result = |tool| tools.call(call(tool, Value::Null), CancellationToken::new());
    assert_eq!(result("good").await.expect("it fits")["structuredContent"], json!({"a": 1}));
    assert_eq!(result("list").await.expect("it fits")["structuredContent"], json!({"result": [1]}));
    assert_eq!(code(&tools, call("bad", json!({}))).await, "bad_result");
    assert_eq!(code(&tools, call("none", json!({}))).await, "bad_result");
}

#[tokio::test]
async fn a_call_that_comes_again_is_run_once_and_answered_the_same() {
    let scratch = Scratch::new();
    let tools = tools(&[("wait", waiting(scratch.path()))], |_| ());
    let call = || of("beta.test", "1", "wait", json!({}));
    let first = tokio::spawn({
        let tools = tools.clone();
        async move { tools.call(call(), CancellationToken::new()).await }
    });
    until(|| runs(scratch.path()) == 1).await;
    // Whoever waited for it goes away; the call goes on.
    first.abort();
    let joined = tools.call(call(), CancellationToken::new());
    let other = of("beta.test", "1", "wait", json!({"other": 1}));
    assert_eq!(code(&tools, other).await, "bad_params");
    std::fs::write(scratch.path().join("go"), "").expect("a file");
    let answer = joined.await.expect("it has run");
    assert_eq!(tools.call(call(), CancellationToken::new()).await.expect("it is kept"), answer);
    assert_eq!(runs(scratch.path()), 1);
    let again = of("beta.test", "2", "wait", json!({}));
    tools.call(again, CancellationToken::new()).await.expect("another call");
    assert_eq!(runs(scratch.path()), 2);
}

#[tokio::test]
async fn what_was_not_run_may_come_again_with_its_id() {
    let scratch = Scratch::new();
    let tools = tools(&[("wait", waiting(scratch.path()))], |server| server.per_caller = 1);
    let running = tokio::spawn({
        let tools = tools.clone();
        async move { tools.call(of("beta.test", "1", "wait", json!({})), CancellationToken::new()).await }
    });
    until(|| runs(scratch.path()) == 1).await;
    let second = || of("beta.test", "2", "wait", json!({}));
    assert_eq!(code(&tools, second()).await, "busy");
    std::fs::write(scratch.path().join("go"), "").expect("a file");
    running.await.expect("no panic").expect("it has run");
    tools.call(second(), CancellationToken::new()).await.expect("there is room now");
}

#[tokio::test]
async fn a_call_that_was_broken_off_before_it_ran_may_come_again_with_its_id() {
    let scratch = Scratch::new();
    let tools = tools(&[("wait", waiting(scratch.path()))], |server| server.concurrent = 1);
    let call = |id: &'static str, cancel: &CancellationToken| {
        let (tools, cancel) = (tools.clone(), cancel.clone());
        tokio::spawn(async move { tools.call(of("beta.test", id, "wait", json!({})), cancel).await })
    };
    let (first, second) = (CancellationToken::new(), CancellationToken::new());
    let running = call("1", &first);
    until(|| runs(scratch.path()) == 1).await;
    let waits = call("2", &second);
    tokio::task::yield_now().await;
    second.cancel();
    assert_eq!(waits.await.expect("no panic").expect_err("it was cancelled").code, "cancelled");
    first.cancel();
    assert_eq!(running.await.expect("no panic").expect_err("it was cancelled").code, "cancelled");
    std::fs::write(scratch.path().join("go"), "").expect("a file");
    let again = |id| call(id, &CancellationToken::new());
    assert_eq!(again("1").await.expect("no panic").expect_err("it may have run").code, "cancelled");
    again("2").await.expect("no panic").expect("it did not run");
    assert_eq!(runs(scratch.path()), 2);
}

#[tokio::test]
async fn one_caller_leaves_room_for_others_and_calls_wait_for_their_turn() {
    let scratch = Scratch::new();
    let tools = tools(&[("wait", waiting(scratch.path()))], |server| (server.concurrent, server.per_caller) = (1, 1));
    let call = |caller: &'static str, timeout| {
        let (tools, call) = (tools.clone(), Call { timeout, ..of(caller, "", "wait", json!({})) });
        tokio::spawn(async move { tools.call(call, CancellationToken::new()).await })
    };
    let first = call("beta.test", None);
    until(|| runs(scratch.path()) == 1).await;
    let short = call("owner", Some(Duration::from_millis(50))).await.expect("no panic").expect_err("no room in time");
    assert_eq!(short.code, "busy");
    let second = call("owner", None);
    std::fs::write(scratch.path().join("go"), "").expect("a file");
    first.await.expect("no panic").expect("it has run");
    second.await.expect("no panic").expect("its turn has come");
    assert_eq!(runs(scratch.path()), 2);
}

#[tokio::test]
async fn a_call_ends_when_its_time_is_over_and_when_nobody_wants_it_with_all_that_it_started() {
    let scratch = Scratch::new();
    let script = format!("cd '{}'; sleep 1000 & echo $! >pid.new; mv pid.new pid; wait", scratch.path().display());
    let tools = tools(&[("hang", command(&["sh", "-c", &script]))], |_| ());
    let pid = scratch.path().join("pid");
    let call = |timeout| Call { timeout, ..of("owner", "", "hang", json!({})) };
    // A process that was killed is gone, or waits to be buried.
    let alive = |pid: &str| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| !rest.trim().is_empty() && !rest.trim_start().starts_with('Z'))
    };
    let late = code(&tools, call(Some(Duration::from_millis(800)))).await;
    assert_eq!(late, "timeout");
    let started = std::fs::read_to_string(&pid).expect("it was started");
    until(|| !alive(&started)).await;
    std::fs::remove_file(&pid).expect("it is there");
    let cancel = CancellationToken::new();
    let running = tokio::spawn({
        let (tools, call, cancel) = (tools.clone(), call(None), cancel.clone());
        async move { tools.call(call, cancel).await }
    });
    until(|| pid.exists()).await;
    cancel.cancel();
    assert_eq!(running.await.expect("no panic").expect_err("it was cancelled").code, "cancelled");
    let started = std::fs::read_to_string(&pid).expect("it was started");
    until(|| !alive(&started)).await;
    std::fs::remove_file(&pid).expect("it is there");
    let running = tokio::spawn({
        let (tools, call) = (tools.clone(), call(None));
        async move { tools.call(call, CancellationToken::new()).await }
    });
    until(|| pid.exists()).await;
    tools.end().await;
    assert_eq!(running.await.expect("no panic").expect_err("the node ended").code, "server_failed");
    let started = std::fs::read_to_string(&pid).expect("it was started");
    until(|| !alive(&started)).await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_cut_off() {
    let tools = tools(&[("yes", command(&["yes"]))], |_| ());
    assert_eq!(code(&tools, of("owner", "", "yes", json!({}))).await, "too_large");
}
