//! Foreign libp2p programs: js-libp2p and py-libp2p as they come, and a liar. They do what they are told line by line, and
//! what happens to them is kept until it is asked for.

use crate::PATIENCE;
use crate::folder::Folder;
use crate::lines::Lines;
use crate::node::{Node, text};
use crate::peers;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A running program.
#[derive(Debug)]
pub struct Foreign {
    lines: Lines,
    orders: i64,
    /// What happened and was not asked for yet.
    events: VecDeque<Value>,
    _folder: Folder,
}

impl Foreign {
    /// js-libp2p: any number of peers in one process, which are made by name.
    pub fn javascript() -> Self {
        Self::running("libp2p.mjs")
    }

    /// Liars, the same way.
    pub fn liar() -> Self {
        Self::running("libp2p_liar.mjs")
    }

    fn running(program: &str) -> Self {
        let folder = Folder::new();
        let lines = Lines::start(&mut peers::javascript(program, &folder));
        Self { lines, orders: 0, events: VecDeque::new(), _folder: folder }
    }

    /// py-libp2p: one peer; and its PeerId.
    pub fn python() -> (Self, String) {
        let lines = Lines::start(&mut peers::python("libp2p_peer.py"));
        let mut program = Self { lines, orders: 0, events: VecDeque::new(), _folder: Folder::new() };
        let made = program.answer(-1);
        (program, text(&made["peer_id"]))
    }

    /// Has it do something; it must succeed.
    pub fn does(&mut self, order: &Value) -> Value {
        let answer = self.tries(order);
        assert!(answer["failed"].is_null(), "{order}: {}", answer["failed"]);
        answer
    }

    /// The same; it may fail, and the answer says why.
    pub fn tries(&mut self, order: &Value) -> Value {
        self.lines.say(&order.to_string());
        self.orders += 1;
        self.answer(self.orders - 1)
    }

    /// Makes a peer of this name in the program; and its PeerId.
    pub fn makes(&mut self, name: &str) -> String {
        text(&self.does(&json!({"make": name}))["peer_id"])
    }

    fn answer(&mut self, number: i64) -> Value {
        self.waits_for("answer", PATIENCE, |said| said["done"] == number)
    }

    /// Waits for such an event, or gives one that happened before.
    pub fn waits_for(&mut self, what: &str, within: Duration, wanted: impl Fn(&Value) -> bool) -> Value {
        if let Some(at) = self.events.iter().position(&wanted) {
            return self.events.remove(at).expect("it is there");
        }
        let events = &mut self.events;
        self.lines.wait_for(what, within, |line| {
            let said: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            if is_presence(line) {
                return None;
            }
            if wanted(&said) {
                return Some(said);
            }
            events.push_back(said);
            None
        })
    }

    /// All such events that are not asked for yet, and those that come within that time.
    pub fn all(&mut self, within: Duration, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
        let end = Instant::now() + within;
        while let Some(line) = self.lines.next(end.saturating_duration_since(Instant::now())) {
            if is_presence(&line) {
                continue;
            }
            self.events.push_back(serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}")));
        }
        let (all, others) = std::mem::take(&mut self.events).into_iter().partition(wanted);
        self.events = others;
        Vec::from_iter::<VecDeque<_>>(all)
    }

    /// Waits until this peer has heard that the other listens to the topic.
    pub fn sees(&mut self, name: &str, peer: &str, topic: &str) {
        self.waits_for("subscription", PATIENCE, |said| {
            said["event"] == "subscribed" && said["at"] == name && said["peer"] == peer && said["topic"] == topic
        });
    }

    /// The next message of a topic that this peer hears.
    pub fn hears(&mut self, name: &str, topic: &str) -> Value {
        self.waits_for("message", PATIENCE, |said| {
            said["event"] == "message" && said["at"] == name && said["topic"] == topic
        })
    }
}

/// Whether a line tells what a node says of itself, time and again: that it is there, and what it can do.
pub fn is_presence(line: &str) -> bool {
    let line = line.replace('\\', "");
    line.contains(r#""node_id":"ed25519:"#) && (line.contains("availability_broadcast") || line.contains("capability_"))
}

/// Where a node is reached by libp2p: its PeerId, and its TCP and QUIC addresses, as `comity topic list` says.
#[derive(Debug)]
pub struct Located {
    /// Its PeerId.
    pub peer_id: String,
    /// The first address by TCP.
    pub tcp: String,
    /// The first by QUIC.
    pub quic: String,
}

impl Located {
    /// Asks the node.
    pub fn of(node: &Node) -> Self {
        let said = node.json(&["topic", "list"]);
        let first = |part: &str| {
            let all = said["addresses"].as_array().into_iter().flatten().map(text);
            let direct = all.filter(|address| !address.contains("p2p-circuit"));
            direct.into_iter().find(|address| address.contains(part)).unwrap_or_else(|| panic!("no {part}: {said}"))
        };
        Self { peer_id: text(&said["peer_id"]), tcp: first("/tcp/"), quic: first("/quic-v1") }
    }
}
