//! Tasks that two running programs claim at the same moment, a thousand times: one of them owns each, and every node
//! knows which.

use comity_tests::PATIENCE;
use comity_tests::lines::Lines;
use comity_tests::node::{Node, text};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const TASKS: usize = 1000;

/// Tasks at once: a node does 256 at most.
const AT_ONCE: usize = 125;

/// Orders that wait for their answers at a door, which is given the next ones then.
const WAITING: usize = 25;

/// A connection to the control door of a node.
struct Door {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Door {
    fn of(node: &Node) -> Self {
        let host = text(&node.control_url().trim_start_matches("http://").into());
        let head = format!("Host: {host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json", node.token());
        Self { stream: BufReader::new(TcpStream::connect(host).expect("the door is open")), head }
    }

    fn says(&mut self, path: &str, order: &Value) {
        let (head, body) = (&self.head, order.to_string());
        let request = format!("POST {path} HTTP/1.1\r\n{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        self.stream.get_mut().write_all(request.as_bytes()).expect("it listens");
    }

    /// What the door answers to that; what comes of it is told otherwise.
    fn hears(&mut self) -> Value {
        let mut length = 0;
        let mut line = String::new();
        while {
            line.clear();
            self.stream.read_line(&mut line).expect("it answers")
        } > 2
        {
            let header = line.to_lowercase();
            length =
                header.strip_prefix("content-length:").map_or(length, |rest| rest.trim().parse().expect("a number"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).expect("it answers");
        serde_json::from_slice(&body).expect("JSON")
    }
}

/// Says all of this by these connections in turn, and then hears what is answered.
fn all_said(doors: &mut [Door], path: &str, orders: impl Iterator<Item = Value>) {
    let mut said = 0;
    for (number, order) in orders.enumerate() {
        doors[number % doors.len()].says(path, &order);
        said = number + 1;
    }
    for number in 0..said {
        let answer = doors[number % doors.len()].hears();
        assert!(answer["code"].is_null(), "{answer}");
    }
}

/// How tasks stand: their state, and who does each.
type Standings = BTreeMap<String, (String, String)>;

/// What a node tells of tasks.
struct Told {
    lines: Lines,
    known: Standings,
    /// What it has won.
    won: BTreeSet<String>,
}

impl Told {
    fn of(node: &Node) -> Self {
        Self { lines: node.follow(&["claims", "list", "--watch"]), known: BTreeMap::new(), won: BTreeSet::new() }
    }

    /// Reads what it tells until this is so.
    fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let line = self.lines.next(PATIENCE).unwrap_or_else(|| panic!("{what}: not in time: {:?}", self.known));
            let change: Value = serde_json::from_str(&line).expect("one JSON object a line");
            assert_ne!(change["change"], "lagged", "it tells all");
            let task = &change["task"];
            let Some(id) = task["id"].as_str() else { continue };
            if change["change"] == "won" {
                assert!(self.won.insert(id.to_owned()), "once: {id}");
            }
            self.known
                .insert(id.to_owned(), (text(&task["state"]), task["owner"].as_str().unwrap_or_default().to_owned()));
        }
    }
}

/// Waits until every node knows that each of these tasks stands as is said of it.
fn all_know(told: &mut [Told], wanted: &Standings) {
    for told in told {
        told.until("tasks", |told| wanted.iter().all(|(id, stands)| told.known.get(id) == Some(stands)));
    }
}

/// When this node claimed each task, as it signed it.
fn claimed(node: &Node, own: &str) -> BTreeMap<String, String> {
    let entries = node.says(&["journal", "query", "--type", "task_claimed", "--json"]);
    let claims = entries.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["data"]["data"].clone());
    claims
        .filter(|claim| claim["claimant"] == own)
        .map(|claim| (text(&claim["task_id"]), text(&claim["time"])))
        .collect()
}

#[test]
fn of_two_programs_that_claim_at_once_a_thousand_times_one_owns_the_task_each_time_on_every_node() {
    let ann = Node::alone("ann", &[]);
    let [bob, carl] = ["bob", "carl"].map(|name| Node::alone(name, &["--peer", &ann.url()]));
    for (one, other) in [(&ann, &bob), (&bob, &ann), (&ann, &carl), (&carl, &ann), (&bob, &carl), (&carl, &bob)] {
        one.knows(other);
    }
    let owns = [&bob, &carl].map(|node| text(&node.json(&["id"])["node"]));
    let mut told = [&bob, &carl, &ann].map(Told::of);
    let mut won = [0, 0];
    for round in 0..TASKS / AT_ONCE {
        // A door closes what says nothing for ten seconds, as a round may take here.
        let mut announcing = [&ann; 25].map(Door::of);
        let mut claiming = [&bob, &carl].map(Door::of);
        let ids: Vec<String> = (round * AT_ONCE..(round + 1) * AT_ONCE).map(|number| format!("t-{number}")).collect();
        let announced = ids.iter().map(|id| json!({ "id": id, "content": { "title": id } }));
        all_said(&mut announcing, "/control/claims", announced);
        let open = ids.iter().map(|id| (id.clone(), ("open".to_owned(), String::new()))).collect();
        all_know(&mut told, &open);
        for few in ids.chunks(WAITING) {
            for id in few {
                let take = json!({ "task": id, "step": "take" });
                claiming.iter_mut().for_each(|door| door.says("/control/claims/steps", &take));
            }
            few.iter().for_each(|_| claiming.iter_mut().for_each(|door| drop(door.hears())));
        }
        told[2].until("decisions", |told| ids.iter().all(|id| told.known[id].0 == "assigned"));
        let assigned: Standings = ids.iter().map(|id| (id.clone(), told[2].known[id].clone())).collect();
        all_know(&mut told, &assigned);
        for (number, own) in owns.iter().enumerate() {
            let owned: BTreeSet<String> =
                assigned.iter().filter(|(_, (_, owner))| owner == own).map(|(id, _)| id.clone()).collect();
            told[number].until("what it won", |told| told.won.is_superset(&owned));
            assert_eq!(std::mem::take(&mut told[number].won), owned, "it begins what is its own, and nothing else");
            won[number] += owned.len();
            let done = owned.iter().map(|id| json!({ "task": id, "step": "done" }));
            all_said(&mut [Door::of([&bob, &carl][number])], "/control/claims/steps", done);
        }
        let done = |(id, (_, owner)): (String, (String, String))| (id, ("completed".to_owned(), owner));
        all_know(&mut told, &assigned.into_iter().map(done).collect());
    }
    assert_eq!(won.iter().sum::<usize>(), TASKS);
    let (by_bob, by_carl) = (claimed(&bob, &owns[0]), claimed(&carl, &owns[1]));
    let both: Vec<_> = by_bob.iter().filter_map(|(id, at)| Some((at, by_carl.get(id)?))).collect();
    let in_one_millisecond = both.iter().filter(|(one, other)| one == other).count();
    println!("of {TASKS} tasks both claimed {}, {in_one_millisecond} in one millisecond: {won:?}", both.len());
    assert!(both.len() >= TASKS / 2, "most were wanted by both: {}", both.len());
}
