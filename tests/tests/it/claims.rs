//! Tasks that two nodes want at the same moment, a thousand times, by the control doors of running programs.

use comity_tests::node::{Node, text};
use comity_tests::{PATIENCE, until};
use serde_json::{Deserializer, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::thread::scope;

const TASKS: usize = 1000;

/// Tasks at once: a node does 256 at most.
const AT_ONCE: usize = 125;

/// The control door of a node.
struct Door {
    url: String,
    token: String,
}

impl Door {
    fn of(node: &Node) -> Self {
        Self { url: node.control_url(), token: node.token() }
    }

    /// Says all of this at a path, at once, and gives the answers as they come.
    fn at_once(&self, path: &str, orders: impl Iterator<Item = Value>) -> Vec<Value> {
        let Self { url, token } = self;
        let order = |order: Value| {
            let quoted = Value::from(order.to_string());
            let headers = ["Content-Type: application/json", &format!("Authorization: Bearer {token}")];
            let [content, proof] = headers.map(|header| format!("header = \"{header}\"\n"));
            format!("url = \"{url}{path}\"\n{content}{proof}data = {quoted}\n")
        };
        let orders: Vec<String> = orders.map(order).collect();
        let mut curl = Command::new("curl");
        curl.args(["--parallel", "--parallel-immediate", "--parallel-max", "125", "--config", "-"]);
        curl.args(["--silent", "--show-error", "--noproxy", "*", "--max-time", "60"]);
        let mut curl = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("curl is installed");
        let mut input = curl.stdin.take().expect("a pipe");
        input.write_all(orders.join("next\n").as_bytes()).expect("it reads");
        drop(input);
        let output = curl.wait_with_output().expect("it is our own child");
        let answers = Deserializer::from_slice(&output.stdout).into_iter::<Value>().collect::<Result<Vec<_>, _>>();
        let text = String::from_utf8_lossy(&output.stdout);
        let answers = answers.unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!(answers.len(), orders.len(), "{text}");
        answers
    }
}

/// How each task stands as a node knows it: its state, and who does it.
fn standings(node: &Node) -> BTreeMap<String, (String, String)> {
    let tasks = node.json(&["claims", "list"]);
    let stands =
        |task: &Value| (text(&task["id"]), (text(&task["state"]), task["owner"].as_str().unwrap_or("").into()));
    tasks["tasks"].as_array().into_iter().flatten().map(stands).collect()
}

/// Waits until every node knows that each of these tasks stands as is said of it.
fn all_know(nodes: &[&Node], wanted: &BTreeMap<String, (String, String)>) {
    for node in nodes {
        until("the tasks stand so", PATIENCE, || {
            let known = standings(node);
            wanted.iter().all(|(id, stands)| known.get(id) == Some(stands)).then_some(())
        });
    }
}

#[test]
fn of_two_programs_that_claim_at_once_a_thousand_times_one_owns_the_task_each_time_on_every_node() {
    let ann = Node::alone("ann", &[]);
    let [bob, carl] = ["bob", "carl"].map(|name| Node::alone(name, &["--peer", &ann.url()]));
    for (one, other) in [(&ann, &bob), (&bob, &ann), (&ann, &carl), (&carl, &ann), (&bob, &carl), (&carl, &bob)] {
        one.knows(other);
    }
    let all = [&ann, &bob, &carl];
    let doors = all.map(Door::of);
    let own = |node: &Node| text(&node.json(&["id"])["node"]);
    let (of_bob, of_carl) = (own(&bob), own(&carl));
    let mut won = BTreeMap::from([(of_bob.clone(), 0), (of_carl.clone(), 0)]);
    for round in 0..TASKS / AT_ONCE {
        let ids: Vec<String> = (round * AT_ONCE..(round + 1) * AT_ONCE).map(|number| format!("t-{number}")).collect();
        let stand = |state: &str, owner: &dyn Fn(&String) -> String| {
            ids.iter().map(|id| (id.clone(), (state.to_owned(), owner(id)))).collect::<BTreeMap<_, _>>()
        };
        doors[0].at_once("/control/claims", ids.iter().map(|id| json!({ "id": id, "content": { "title": id } })));
        all_know(&all, &stand("open", &|_| String::new()));
        let takes = || ids.iter().map(|id| json!({ "task": id, "step": "take", "wait": true }));
        let taken = |door: &Door| door.at_once("/control/claims/steps", takes());
        let (by_bob, by_carl) = scope(|scope| {
            let by_bob = scope.spawn(|| taken(&doors[1]));
            let by_carl = taken(&doors[2]);
            (by_bob.join().expect("it asks"), by_carl)
        });
        let ours = |answers: &[Value], owner: &String| {
            let won = answers.iter().filter(|answer| answer["ours"] == true);
            won.map(|answer| (text(&answer["task"]["id"]), owner.clone())).collect::<Vec<_>>()
        };
        let owners = [ours(&by_bob, &of_bob), ours(&by_carl, &of_carl)].concat();
        let count = owners.len();
        let owners: BTreeMap<String, String> = owners.into_iter().collect();
        assert!(count == AT_ONCE && owners.len() == AT_ONCE, "each has one owner: {count} for {}", owners.len());
        owners.values().for_each(|owner| *won.get_mut(owner).expect("one of the two") += 1);
        all_know(&all, &stand("assigned", &|id| owners[id].clone()));
        for (door, own) in [(&doors[1], &of_bob), (&doors[2], &of_carl)] {
            let done = owners.iter().filter(|(_, owner)| *owner == own);
            door.at_once("/control/claims/steps", done.map(|(id, _)| json!({ "task": id, "step": "done" })));
        }
        all_know(&all, &stand("completed", &|id| owners[id].clone()));
    }
    println!("who got how many of {TASKS}: {won:?}");
    assert_eq!(won.values().sum::<usize>(), TASKS);
}
