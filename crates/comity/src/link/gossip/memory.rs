//! Gossip of many nodes in one process, whose connections are memory: for measurements and tests of large networks. It
//! is the gossip of a node in all but its sockets, with the same limits and settings; what a message says is judged by
//! nobody. No part of a running node.

use super::gate::Gate;
use super::reach::Reach;
use super::{Gossip, Place, Told, Verdict, key, parts};
use crate::config::Gossip as Config;
use crate::observe::Counters;
use comity_core::identity::key::KeyPair;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;
use std::io;
use std::num::NonZero;
use std::sync::Arc;
use tokio::sync::mpsc;

pub use super::NotPublished;

/// What a node says. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Voice(Gossip);

/// What a node hears.
#[derive(Debug)]
pub struct Ear {
    gossip: Gossip,
    told: mpsc::Receiver<Told>,
}

/// Starts the gossip of a node that others reach at `/memory/` and this number, which is nobody else's. The task is
/// given back to be run; who drops it leaves without a word.
pub fn start(
    keys: &KeyPair,
    config: Config,
    number: NonZero<u64>,
) -> io::Result<(Voice, Ear, impl Future<Output = ()> + Send + use<>)> {
    let gate = Gate::new(Counters::new("memory"));
    let swarm = parts::swarm_in_memory(&key(keys)?, &config, gate.clone())?;
    let reach = Arc::new(Reach::new(true, Vec::new()));
    let listens = vec![Multiaddr::from(Protocol::Memory(number.get()))];
    let place = Place { listens, reached: Vec::new(), private: Vec::new() };
    let (gossip, told, running) = Gossip::begin(swarm, config, reach, place, gate);
    Ok((Voice(gossip.clone()), Ear { gossip, told }, running))
}

impl Voice {
    /// Listens to a topic from now on.
    pub async fn join(&self, topic: &str) {
        self.0.join(topic.to_owned()).await;
    }

    /// Says this to all who listen to the topic.
    pub async fn publish(&self, topic: &str, data: Vec<u8>) -> Result<(), NotPublished> {
        self.0.publish(topic.to_owned(), data).await
    }
}

impl Ear {
    /// Waits for a connection with somebody; `false` when the node has ended.
    pub async fn meets(&mut self) -> bool {
        while let Some(told) = self.told.recv().await {
            if let Told::Met(_) = told {
                return true;
            }
        }
        false
    }

    /// The next message, which is passed on; `None` when the node has ended.
    pub async fn hears(&mut self) -> Option<Vec<u8>> {
        while let Some(told) = self.told.recv().await {
            if let Told::Heard(heard) = told {
                self.gossip.judge(&heard, Verdict::Good).await;
                return Some(heard.data);
            }
        }
        None
    }
}
