//! `comity claims`: tasks that nodes announce, and who does them.

use crate::args::{Claims, Which};
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, said};
use crate::payload;
use comity_client::Client;
use comity_client::control::{Act, MyPart, NewTask, Stepped, Task, TaskChange, TaskState, TaskStep, WhyLost};
use serde_json::{Value, json};

pub(crate) async fn run(client: &Client, wanted: Claims, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        Claims::Announce { id, content } => {
            let task = client.announce_task(&NewTask { id, content: payload::read(&content)? }).await?;
            if page.json { page.value(&task) } else { page.line(&clean(&task.id)) }
        }
        Claims::Take { task, wait } => take(client, task, wait, page).await,
        Claims::Progress { task, said } => {
            let stepped = client.task_step(&step(task, Act::Progress, Some(how_far(&said)?))).await?;
            shown(&stepped, "said how far it is", page)
        }
        Claims::Done { task, result } => {
            let result = result.map(|result| payload::read(&result)).transpose()?;
            shown(&client.task_step(&step(task, Act::Done, result)).await?, "done", page)
        }
        Claims::Fail { task, why } => {
            shown(&client.task_step(&step(task, Act::Fail, Some(why.into()))).await?, "failed", page)
        }
        Claims::Release { task } => {
            shown(&client.task_step(&step(task, Act::Release, None)).await?, "given back", page)
        }
        Claims::Withdraw { id } => {
            let stepped = client.task_step(&step(Which { id, of: None }, Act::Withdraw, None)).await?;
            shown(&stepped, "withdrawn", page)
        }
        Claims::List { watch: true } => watch(client, page).await,
        Claims::List { watch: false } => list(client, page).await,
    }
}

fn step(task: Which, step: Act, said: Option<Value>) -> TaskStep {
    TaskStep { task: task.id, of: task.of, step, said, wait: false }
}

async fn take(client: &Client, task: Which, wait: bool, page: &mut Page) -> Result<(), Failure> {
    let stepped = client.task_step(&TaskStep { wait, ..step(task, Act::Take, None) }).await?;
    if page.json {
        page.value(&stepped)?;
    }
    let id = clean(&stepped.task.id);
    let sentence = match (stepped.ours, stepped.why) {
        (Some(true), _) => format!("{id} is ours"),
        (None, _) => format!("{id} is claimed: `comity claims list` says whether it is ours, within ten seconds"),
        (Some(false), Some(WhyLost::Void)) => {
            return Err(Failure::Late(format!("{id} is not ours: its announcer has not decided within ten seconds")));
        }
        (Some(false), why) => {
            return Err(Failure::Unknown(format!("{id} is not ours: {}", reason(why, &stepped.task))));
        }
    };
    if page.json { Ok(()) } else { page.line(&sentence) }
}

fn reason(why: Option<WhyLost>, task: &Task) -> String {
    match why {
        Some(WhyLost::Ended) => format!("it is {}", state(task.state)),
        Some(WhyLost::AnnouncedAgain) => "it was announced again, and can be taken again".to_owned(),
        Some(WhyLost::Unheard) => "its announcer was not heard of for too long".to_owned(),
        Some(WhyLost::Void) => "its announcer has not decided in time".to_owned(),
        Some(WhyLost::ToAnother) | None => format!("{} does it", owner(task)),
    }
}

/// `50%`, a share, or whatever there is to say.
fn how_far(argument: &str) -> Result<Value, Failure> {
    let percent = argument.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
    match percent {
        Some(percent) if (0.0..=100.0).contains(&percent) => Ok(json!(percent / 100.0)),
        Some(_) => Err(Failure::Usage("from 0% to 100% is possible".to_owned())),
        None => payload::read(argument),
    }
}

fn shown(stepped: &Stepped, what: &str, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return page.value(stepped);
    }
    page.line(&format!("{}: {what}", clean(&stepped.task.id)))
}

async fn list(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let tasks = client.tasks().await?;
    if page.json {
        return page.value(&json!({ "tasks": tasks }));
    }
    if tasks.is_empty() {
        return page
            .line("No tasks. `comity claims announce` announces one; those of others are heard within a moment.");
    }
    let rows: Vec<_> = tasks.iter().map(row).collect();
    page.table(&["TASK", "ANNOUNCED BY", "STATE", "BY", "PROGRESS", "WHAT"], &rows)
}

async fn watch(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let mut changes = client.task_changes().await?;
    while let Some(change) = changes.next().await? {
        if page.json {
            page.value(&change)?;
        } else {
            let line = sentence(&change, page);
            page.line(&line)?;
        }
    }
    Err(Failure::Other("the node stopped".to_owned()))
}

fn sentence(change: &TaskChange, page: &Page) -> String {
    let told = |what: &str, look: Look, task: &Task| {
        let (what, id, of) = (page.paint(&format!("{what:9}"), look), clean(&task.id), announcer(task));
        let told: Vec<String> = [state(task.state).to_owned(), owner(task), progress(task), content(task)]
            .into_iter()
            .filter(|part| part != "-")
            .collect();
        format!("{what}  {id}  of {of}  {}", told.join("  "))
    };
    let named = |what: &str, look: Look, id: &str, why: &str| {
        format!("{}  {}  {why}", page.paint(&format!("{what:9}"), look), clean(id))
    };
    match change {
        TaskChange::Present { task } => told("here", Look::Faint, task),
        TaskChange::Stands { task } => told("changed", Look::Plain, task),
        TaskChange::Progress { task } => told("progress", Look::Plain, task),
        TaskChange::Won { task } => told("ours", Look::Good, task),
        TaskChange::Lost { id, why, .. } => named("not ours", Look::Warning, id, lost(*why)),
        TaskChange::Forgotten { id, .. } => named("forgotten", Look::Faint, id, "nobody speaks of it any more"),
        TaskChange::Lagged { skipped } => named("lagged", Look::Bad, "", &format!("{skipped} changes were missed")),
    }
}

fn lost(why: WhyLost) -> &'static str {
    match why {
        WhyLost::ToAnother => "another node does it",
        WhyLost::Ended => "it is over",
        WhyLost::AnnouncedAgain => "it was announced again",
        WhyLost::Void => "its announcer has not decided in time",
        WhyLost::Unheard => "its announcer was not heard of for too long",
    }
}

fn row(task: &Task) -> Vec<Cell> {
    let look = match task.state {
        TaskState::Open => Look::Strong,
        TaskState::Assigned => Look::Good,
        TaskState::Completed | TaskState::Withdrawn => Look::Faint,
        TaskState::Failed => Look::Warning,
    };
    vec![
        looking(&task.id, Look::Strong),
        cell(announcer(task)),
        looking(state(task.state), look),
        cell(owner(task)),
        cell(progress(task)),
        cell(content(task)),
    ]
}

fn state(state: TaskState) -> &'static str {
    match state {
        TaskState::Open => "open",
        TaskState::Assigned => "assigned",
        TaskState::Completed => "done",
        TaskState::Failed => "failed",
        TaskState::Withdrawn => "withdrawn",
    }
}

/// Its announcer: by name, as far as it is known.
fn announcer(task: &Task) -> String {
    task.announcer_name.as_deref().map_or_else(|| clean(&task.announcer), clean)
}

/// Who does it.
fn owner(task: &Task) -> String {
    match (task.mine, &task.owner_name, &task.owner) {
        (Some(MyPart::Held | MyPart::Finished), ..) => "this node".to_owned(),
        (Some(MyPart::Claimed), ..) => "claimed by this node".to_owned(),
        (None, Some(name), _) => clean(name),
        (None, None, Some(node)) => clean(node),
        (None, None, None) => "-".to_owned(),
    }
}

/// How far it is, or what came of it.
fn progress(task: &Task) -> String {
    if let Some(report) = &task.report {
        return said(report);
    }
    // What was said on the way says nothing of a task that is done.
    let on_the_way = task.progress.as_ref().filter(|_| task.state != TaskState::Completed);
    let Some(progress) = on_the_way else { return "-".to_owned() };
    match (progress.get("progress").and_then(Value::as_f64), progress.get("note")) {
        (Some(share), note) if (0.0..=1.0).contains(&share) => {
            let note = note.map(|note| format!(", {}", said(note))).unwrap_or_default();
            format!("{:.0} %{note}", share * 100.0)
        }
        (None, Some(note)) => said(note),
        _ => said(progress),
    }
}

/// What there is to do, in a few words.
fn content(task: &Task) -> String {
    let Some(content) = &task.content else { return "-".to_owned() };
    let title = ["title", "description"].iter().find_map(|name| content.get(name).filter(|title| title.is_string()));
    said(title.unwrap_or(content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(more: Value) -> Task {
        let mut task = json!({
            "id": "t-1", "announcer": "ed25519:x", "announcer_id": uuid::Uuid::nil(), "lease": 1, "state": "assigned",
        });
        task.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        serde_json::from_value(task).expect("a task")
    }

    #[test]
    fn how_far_it_is_may_be_said_in_many_ways() {
        for (text, meant) in [
            ("50%", json!(0.5)),
            ("0 %", json!(0.0)),
            ("0.25", json!(0.25)),
            ("half of it", json!("half of it")),
            ("{\"progress\":0.5}", json!({"progress": 0.5})),
        ] {
            assert_eq!(how_far(text).expect("it is understood"), meant, "{text}");
        }
        assert!(matches!(how_far("101%"), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_task_is_shown_in_a_few_words() {
        assert_eq!(progress(&task(json!({"progress": {"progress": 0.5, "note": "tests"}}))), "50 %, tests");
        assert_eq!(progress(&task(json!({"progress": {"note": "tests"}}))), "tests");
        assert_eq!(progress(&task(json!({"progress": {"progress": 9}}))), r#"{"progress":9}"#);
        assert_eq!(progress(&task(json!({"progress": {"note": "x"}, "report": "all well"}))), "all well");
        assert_eq!(progress(&task(json!({"progress": {"progress": 0.5}, "state": "completed"}))), "-");
        assert_eq!(content(&task(json!({"content": {"title": "Mow\u{1b}[2J", "size": 3}}))), "Mow[2J");
        assert_eq!(content(&task(json!({"content": "mow"}))), "mow");
        assert_eq!([owner(&task(json!({}))), content(&task(json!({})))], ["-", "-"]);
        assert_eq!(owner(&task(json!({"owner": "ed25519:y", "owner_name": "bob"}))), "bob");
        assert_eq!(owner(&task(json!({"owner": "ed25519:y", "mine": "held"}))), "this node");
    }

    #[test]
    fn who_does_not_get_a_task_is_told_why() {
        let bobs = task(json!({"owner": "ed25519:y", "owner_name": "bob"}));
        assert_eq!(reason(Some(WhyLost::ToAnother), &bobs), "bob does it");
        assert_eq!(reason(Some(WhyLost::Ended), &task(json!({"state": "failed"}))), "it is failed");
    }
}
