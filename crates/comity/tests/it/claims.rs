//! Tasks that several nodes want, between nodes that reach each other by gossip.

use crate::world::{PATIENCE, Scratch, eventually, introduce, soon, start};
use comity::claims::{ClaimError, Claims, Lost, Mine, Outcome, Refused, Standing, Taken, Task, TaskChange, TaskView};
use comity::gossip::Kind;
use comity::{Network, NodeId};
use futures_util::future::join_all;
use serde_json::json;
use std::collections::BTreeMap;
use tokio::time::{Instant, timeout};

fn claims(node: &Network) -> &Claims {
    node.claims().expect("gossip is on by default")
}

/// Three nodes that know each other.
async fn three(scratch: &Scratch) -> [Network; 3] {
    let folder = scratch.path();
    let nodes = [start(folder, "ann").await, start(folder, "bob").await, start(folder, "carl").await];
    let [ann, bob, carl] = &nodes;
    introduce(ann, bob).await;
    introduce(ann, carl).await;
    introduce(bob, carl).await;
    nodes
}

async fn view(node: &Network, task: &Task) -> Option<TaskView> {
    claims(node).list().await.into_iter().find(|view| view.task == *task)
}

/// Waits until this node knows that the task stands like this.
async fn stands(node: &Network, task: &Task, wanted: impl Fn(&TaskView) -> bool) {
    eventually("it stands so", async || view(node, task).await.as_ref().is_some_and(&wanted)).await;
}

/// Waits until these nodes all know that each task stands as is wanted of it.
async fn all_stand(nodes: &[&Network], tasks: &[(&Task, Standing)]) {
    for node in nodes {
        let stand = async || {
            let known: BTreeMap<Task, Standing> =
                claims(node).list().await.into_iter().map(|view| (view.task, view.standing)).collect();
            tasks.iter().all(|(task, standing)| known.get(task) == Some(standing))
        };
        eventually("all tasks stand so", stand).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_announced_taken_worked_at_and_done_and_all_know_what_came_of_it() {
    let scratch = Scratch::new();
    let [ann, bob, carl] = &three(&scratch).await;
    let mut changes = claims(bob).changes();
    let task = claims(ann).announce("mow", json!({ "title": "Mow the lawn" })).await.expect("room").task;
    stands(bob, &task, |view| view.content == Some(json!({ "title": "Mow the lawn" }))).await;
    let Ok(Taken::Ours(view)) = soon(claims(bob).take(&task)).await else { panic!("nobody else wants it") };
    assert_eq!((view.standing, view.mine), (Standing::Assigned(bob.node_id()), Some(Mine::Held)));
    let heard = async {
        loop {
            match changes.next().await.expect("it runs") {
                TaskChange::Won(view) => return view.task,
                other => assert!(matches!(other, TaskChange::Stands(_)), "{other:?}"),
            }
        }
    };
    assert_eq!(soon(heard).await, task);
    let late = claims(carl).take(&task);
    stands(carl, &task, |view| view.standing == Standing::Assigned(bob.node_id())).await;
    assert!(matches!(late.await, Ok(Taken::No { why: Lost::ToAnother, .. })));
    assert_eq!(claims(carl).claim(&task).await, Err(ClaimError::Refused(Refused::NotOpen)));
    for wrong in [claims(carl).progress(&task, 0.5).await, claims(carl).done(&task, None).await] {
        assert_eq!(wrong, Err(ClaimError::Refused(Refused::NotOwner)));
    }
    claims(bob).progress(&task, 0.5).await.expect("its own");
    for node in [ann, carl] {
        stands(node, &task, |view| view.progress == Some(json!({ "progress": 0.5 }))).await;
    }
    claims(bob).done(&task, Some(json!({ "area": 40 }))).await.expect("its own");
    for node in [ann, bob, carl] {
        let done = Standing::Ended { owner: Some(bob.node_id()), outcome: Outcome::Completed };
        stands(node, &task, |view| view.standing == done && view.report == Some(json!({ "area": 40 }))).await;
    }
    // Secrets stay here, also in what is repeated.
    let told = claims(ann).announce("use", json!({ "password": "swordfish" })).await.expect("room");
    assert_eq!(told.content, Some(json!({ "password": "[REDACTED]" })));
    stands(bob, &told.task, |view| view.content == told.content).await;
    // What was given back or failed is said, too.
    let task = claims(ann).announce("dig", "a hole").await.expect("room").task;
    for node in [bob, carl] {
        stands(node, &task, |view| view.standing == Standing::Open && view.content == Some(json!("a hole"))).await;
    }
    assert!(matches!(soon(claims(bob).take(&task)).await, Ok(Taken::Ours(_))));
    claims(bob).release(&task).await.expect("its own");
    stands(carl, &task, |view| view.standing == Standing::Open && view.lease > 0).await;
    let again = async || matches!(claims(carl).take(&task).await, Ok(Taken::Ours(_)));
    eventually("carl has it", again).await;
    claims(carl).failed(&task, "no spade").await.expect("its own");
    let failed = Standing::Ended { owner: Some(carl.node_id()), outcome: Outcome::Failed };
    stands(bob, &task, |view| view.standing == failed && view.report == Some(json!("no spade"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_late_is_told_of_open_tasks_and_tasks_survive_a_restart() {
    let scratch = Scratch::new();
    let [ann, bob] = [start(scratch.path(), "ann").await, start(scratch.path(), "bob").await];
    let open = claims(&ann).announce("open", json!({ "title": "x" })).await.expect("room").task;
    let held = claims(&ann).announce("held", json!({ "title": "y" })).await.expect("room").task;
    let began = Instant::now();
    introduce(&ann, &bob).await;
    all_stand(&[&bob], &[(&open, Standing::Open), (&held, Standing::Open)]).await;
    assert!(began.elapsed() < PATIENCE, "long before it is announced again by itself");
    assert!(matches!(soon(claims(&bob).take(&held)).await, Ok(Taken::Ours(_))));
    let lease = view(&bob, &held).await.expect("it is known").lease;
    for node in [ann, bob] {
        node.leave("").await;
    }
    let [ann, bob] = [start(scratch.path(), "ann").await, start(scratch.path(), "bob").await];
    let kept = view(&bob, &held).await.expect("it is kept");
    assert_eq!((kept.mine, kept.lease, kept.content), (Some(Mine::Held), lease, Some(json!({ "title": "y" }))));
    assert_eq!(view(&ann, &held).await.expect("it is kept").standing, Standing::Assigned(bob.node_id()));
    introduce(&ann, &bob).await;
    all_stand(&[&bob], &[(&open, Standing::Open)]).await;
    claims(&bob).done(&held, None).await.expect("its own, still");
    stands(&ann, &held, |view| matches!(view.standing, Standing::Ended { outcome: Outcome::Completed, .. })).await;
    assert_eq!(view(&ann, &held).await.expect("it is known").lease, lease);
}

/// Says something of coordination as any program with a key may.
async fn says(node: &Network, kind: Kind, data: serde_json::Value) {
    let topics = node.topics().expect("gossip is on by default");
    topics.publish_coordination(kind, data.as_object().cloned().expect("an object")).await.expect("somebody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_speaks_for_another() {
    let scratch = Scratch::new();
    let [ann, bob, carl] = &three(&scratch).await;
    let task = claims(ann).announce("t", json!({ "title": "x" })).await.expect("room").task;
    stands(carl, &task, |view| view.standing == Standing::Open).await;
    let (of_ann, of_carl) = (ann.node_id().to_string(), carl.node_id().to_string());
    let lease = view(ann, &task).await.expect("its own").lease;
    let forged = [
        // An assignment by somebody who is not the announcer.
        (
            Kind::TaskProgress,
            json!({ "task_id": "t", "announcer": of_ann, "lease": lease, "status": "assigned",
            "assigned_to": of_carl, "time": "2026-11-21T00:00:00Z", "sig": "AAAA" }),
        ),
        // A claim in the name of another, one with a false signature, and one of another time.
        (Kind::TaskClaim, json!({ "task_id": "t", "agent_id": "x", "claimant": of_ann })),
        (
            Kind::TaskClaim,
            json!({ "task_id": "t", "agent_id": "x", "claimant": of_carl,
            "time": "2026-11-21T00:00:00Z", "sig": "A".repeat(86) }),
        ),
        (Kind::TaskClaim, json!({ "task_id": "t", "agent_id": "x", "time": "1999-01-01T00:00:00Z" })),
        (Kind::TaskClaim, json!({ "task_id": "t", "agent_id": "x", "time": "2999-01-01T00:00:00Z" })),
        (Kind::TaskClaim, json!({ "task_id": "t", "agent_id": "x", "lease": 1 })),
        // Words of who owns nothing.
        (Kind::TaskComplete, json!({ "task_id": "t", "announcer": of_ann, "lease": lease, "status": "completed" })),
        (Kind::TaskComplete, json!({ "task_id": "t", "agent_id": "x" })),
        (Kind::TaskProgress, json!({ "task_id": "t", "announcer": of_ann, "progress": 0.9 })),
    ];
    for (kind, data) in forged {
        says(carl, kind, data).await;
    }
    // Words of one author stay in order: when this is known, all of the others were heard.
    let last = claims(carl).announce("last", json!({})).await.expect("room").task;
    for node in [ann, bob] {
        stands(node, &last, |view| view.standing == Standing::Open).await;
        let seen = view(node, &task).await.expect("it is known");
        assert_eq!((seen.standing, seen.lease, seen.progress), (Standing::Open, lease, None));
    }
    // Another's task of the same id is another task.
    let namesake = claims(carl).announce("t", json!({ "title": "z" })).await.expect("room").task;
    stands(bob, &namesake, |view| view.standing == Standing::Open).await;
    assert_eq!(claims(bob).named("t").await.len(), 2);
    assert!(matches!(soon(claims(bob).take(&task)).await, Ok(Taken::Ours(_))));
    assert_eq!(view(bob, &namesake).await.expect("it is known").standing, Standing::Open);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_tasks_takes_no_room_of_others() {
    let scratch = Scratch::new();
    let [ann, bob, carl] = &three(&scratch).await;
    let task = claims(ann).announce("t", json!({ "title": "x" })).await.expect("room").task;
    stands(bob, &task, |view| view.standing == Standing::Open).await;
    let junk = async |number: u32| {
        let data = json!({ "task_id": format!("junk-{number}"), "lease": 1, "title": "x".repeat(2000) });
        // Err: the connections take no more for now, which is theirs to say.
        let topics = carl.topics().expect("gossip is on by default");
        let _ = topics.publish_coordination(Kind::TaskAnnouncement, data.as_object().cloned().expect("one")).await;
    };
    // Many at once: each is on the disk before it is said, and they share the disk's time.
    for first in (0..1100).step_by(50) {
        soon(join_all((first..first + 50).map(&junk))).await;
    }
    let taken = eventually("it can be taken nevertheless", async || {
        matches!(claims(bob).take(&task).await, Ok(Taken::Ours(_)))
    });
    taken.await;
    let of_carl = claims(bob).list().await.iter().filter(|view| view.task.announcer == carl.node_id()).count();
    assert!((1..=1024).contains(&of_carl), "{of_carl}");
    stands(ann, &task, |view| view.standing == Standing::Assigned(bob.node_id())).await;
}

const TASKS: usize = 1000;
/// Tasks at once: a node does 256 at most.
const AT_ONCE: usize = 125;

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_claim_at_once_a_thousand_times_agree_on_one_owner_each_time() {
    let scratch = Scratch::new();
    let [ann, bob, carl] = &three(&scratch).await;
    let all = [ann, bob, carl];
    let began = Instant::now();
    let mut won = [0, 0];
    for round in 0..TASKS / AT_ONCE {
        let numbers = round * AT_ONCE..(round + 1) * AT_ONCE;
        let announced = join_all(numbers.map(|number| async move {
            claims(ann).announce(&format!("t-{number}"), json!({ "title": number })).await.expect("room").task
        }));
        let tasks = announced.await;
        all_stand(&all, &tasks.iter().map(|task| (task, Standing::Open)).collect::<Vec<_>>()).await;
        let both = |task| async move { tokio::join!(claims(bob).take(task), claims(carl).take(task)) };
        let taken = timeout(PATIENCE * 2, join_all(tasks.iter().map(both))).await.expect("in time");
        let mut owners = Vec::new();
        for (task, (by_bob, by_carl)) in tasks.iter().zip(taken) {
            let [by_bob, by_carl] =
                [by_bob, by_carl].map(|taken| matches!(taken.expect("it was open"), Taken::Ours(_)));
            assert!(by_bob != by_carl, "{task:?}: one owner, {by_bob} {by_carl}");
            won[usize::from(by_carl)] += 1;
            owners.push((task, if by_bob { bob } else { carl }));
        }
        let stand = |standing: fn(NodeId) -> Standing| {
            owners.iter().map(|(task, owner)| (*task, standing(owner.node_id()))).collect::<Vec<_>>()
        };
        all_stand(&all, &stand(Standing::Assigned)).await;
        let done = owners.iter().map(|(task, owner)| claims(owner).done(task, None));
        assert!(join_all(done).await.iter().all(Result::is_ok));
        let completed = |owner| Standing::Ended { owner: Some(owner), outcome: Outcome::Completed };
        all_stand(&all, &stand(completed)).await;
    }
    println!("{TASKS} tasks in {:?}: {} to one, {} to the other", began.elapsed(), won[0], won[1]);
    assert_eq!(won[0] + won[1], TASKS);
}
