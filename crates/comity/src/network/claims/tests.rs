//! A node among programs of the original design, which speak gossip and know nothing of leases.

use crate::config::{Config, Flag, Sources};
use crate::home::Home;
use crate::link::gossip::{Gossip, Place, Told, Verdict, door};
use crate::network::Network;
use crate::observe::Counters;
use crate::redaction::Redaction;
use crate::scratch::Scratch;
use comity_core::claim::{Outcome, Standing, Task};
use comity_core::id::Libp2pId;
use comity_core::identity::key::KeyPair;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const COORDINATION: &str = "CHORUS/coordination/v1";

fn config() -> Config {
    let flag = |key: &'static str, value: &str| Flag { name: "the test", key, values: vec![value.to_owned()] };
    let flags = vec![
        flag("name", "ann"),
        flag("http.port", "0"),
        flag("http.listen", "127.0.0.1"),
        flag("mdns.enabled", "false"),
        flag("metrics.enabled", "false"),
        flag("control.http", "false"),
    ];
    Config::read(&Sources { flags, ..Sources::default() }).expect("a valid configuration").0
}

/// A program of the original design, which dialled a node.
struct Foreign {
    keys: KeyPair,
    gossip: Gossip,
    told: mpsc::Receiver<Told>,
}

impl Foreign {
    async fn meet(node: &Network) -> Self {
        let keys = KeyPair::from_seed([7; 32]);
        let (_, accepted) = door();
        let place = Place::new(&[], &[], Vec::new());
        let gossip = config().gossip.expect("on by default");
        let started = Gossip::start(&keys, gossip, place, accepted, Counters::new("test"));
        let (gossip, told, running) = started.expect("it starts");
        tokio::spawn(running);
        gossip.join(COORDINATION.to_owned()).await;
        let endpoint = node.endpoints().into_iter().next().expect("it listens");
        let address: SocketAddr = endpoint.trim_start_matches("https://").parse().expect("an address");
        gossip.offer(node.node_id(), vec![address]).await;
        let mut this = Self { keys, gossip, told };
        let listens = async {
            while !matches!(this.told.recv().await.expect("it runs"), Told::Listens(topic) if topic == COORDINATION) {}
        };
        timeout(PATIENCE, listens).await.expect("somebody listens in time");
        this
    }

    async fn says(&self, kind: &str, data: Value) {
        let from = Libp2pId::from(self.keys.node()).to_string();
        let message = json!({ "type": kind, "from": from, "timestamp": now(), "data": data }).to_string();
        self.gossip.publish(COORDINATION.to_owned(), message.into_bytes()).await.expect("somebody listens");
    }

    /// The first message of this type that is about this task.
    async fn hears(&mut self, kind: &str, about: &str) -> Value {
        let hearing = async {
            loop {
                let Told::Heard(heard) = self.told.recv().await.expect("it runs") else { continue };
                let message: Value = serde_json::from_slice(&heard.data).expect("JSON");
                self.gossip.judge(&heard, Verdict::Good).await;
                if message["type"] == kind && message["data"]["task_id"] == about {
                    return message["data"].clone();
                }
            }
        };
        timeout(PATIENCE, hearing).await.expect("it is said in time")
    }
}

fn now() -> String {
    let wall = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    comity_core::time::Timestamp::from_millis(u64::try_from(wall.as_millis()).expect("it fits")).to_string()
}

/// Waits until the task stands so, as the node knows it.
async fn stands(node: &Network, task: &Task, wanted: Standing) {
    let mut changes = node.claims().expect("gossip is on").changes();
    let stands = async {
        loop {
            let tasks = node.claims().expect("gossip is on").list().await;
            if tasks.iter().any(|view| view.task == *task && view.standing == wanted) {
                return;
            }
            changes.next().await.expect("it runs");
        }
    };
    timeout(PATIENCE, stands).await.expect("it stands so in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_the_original_design_claims_and_completes_a_task_in_its_own_words() {
    let scratch = Scratch::new();
    let home = Home::lock(&scratch.path().join("ann")).expect("the directory is free");
    let (config, redaction) = (config(), Redaction::with(None));
    let ann = Network::run(home, config, Vec::new(), redaction).await.expect("it starts");
    let claims = ann.claims().expect("gossip is on by default");
    let task = claims.announce("42", json!({ "title": "Mow", "priority": 3 })).await.expect("room").task;
    let mut walnut = Foreign::meet(&ann).await;
    let own = walnut.keys.node();
    // It says nothing of itself yet, and the node announces again when it does.
    walnut
        .says(
            "availability_broadcast",
            json!({
                "node_id": "walnut", "available_for_work": true, "current_tasks": 0, "last_activity": 1_700_000_000,
                "status": "ready", "timestamp": 1_700_000_000, "asks_for_tasks": true,
            }),
        )
        .await;
    let announced = walnut.hears("task_announcement", "42").await;
    assert_eq!((&announced["title"], &announced["priority"]), (&json!("Mow"), &json!(3)));
    walnut.says("task_claim", json!({ "task_id": "42", "agent_id": "walnut" })).await;
    let assigned = walnut.hears("task_progress", "42").await;
    assert_eq!((&assigned["status"], &assigned["assigned_to"]), (&json!("assigned"), &json!(own.to_string())));
    stands(&ann, &task, Standing::Assigned(own)).await;
    walnut.says("task_progress", json!({ "task_id": "42", "agent_id": "walnut", "progress": 0.5 })).await;
    walnut.says("task_complete", json!({ "task_id": "42", "agent_id": "walnut", "result": "mown" })).await;
    stands(&ann, &task, Standing::Ended { owner: Some(own), outcome: Outcome::Completed }).await;
    let view = claims.list().await.pop().expect("it is known");
    assert_eq!((view.progress, view.report), (Some(json!({ "progress": 0.5 })), Some(json!("mown"))));
    let ended = walnut.hears("task_complete", "42").await;
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("mown")));
    ann.leave("").await;
}
