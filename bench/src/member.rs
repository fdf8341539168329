//! A node of a mesh, a process of its own that is asked by its control door, and documents with vectors for it.

use crate::clusters::DIMENSION;
use crate::server::Server;
use crate::waiting::until;
use comity_client::Client;
use comity_client::control::{IndexStats, NewDocument, NewDocuments};
use comity_core::peers::Presence;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Documents that a node takes at once.
pub(crate) const BATCH: usize = 1000;

/// How long nodes may take to meet, and documents may stand still, before a measurement is given up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How often is looked whether documents are linked. What is looked at costs the node some of its time.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A running node; killed when dropped.
pub(crate) struct Member {
    pub(crate) name: String,
    /// Its node id.
    pub(crate) key: String,
    pub(crate) client: Client,
    server: Server,
}

impl Member {
    /// Starts a node of this name, with these variables besides.
    pub(crate) async fn start(name: &str, variables: &[(&str, &str)]) -> Result<Self, String> {
        let server = Server::comity(&[&[("COMITY_NAME", name)][..], variables].concat())?;
        let client = Client::new(server.folder());
        let key = client.node().await.map_err(said)?.node;
        Ok(Self { name: name.to_owned(), key, client, server })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// Waits until it and the other have reached each other.
    pub(crate) async fn meets(&self, other: &Self) -> Result<(), String> {
        until(&format!("{} as a peer of {}, reached both ways,", other.name, self.name), PATIENCE, async || {
            let peers = self.client.peers().await.map_err(said)?;
            let mut others = peers.iter().filter(|peer| peer.key.as_ref() == Some(&other.key));
            Ok(others.any(|peer| peer.presence.0 == Presence::Online && peer.reach == "both").then_some(()))
        })
        .await
    }

    /// Puts the other on its list of known nodes.
    pub(crate) async fn trusts(&self, other: &Self) -> Result<(), String> {
        self.client.trust(&other.key, true).await.map(drop).map_err(said)
    }

    /// Indexes documents, all of which must be new.
    pub(crate) async fn index(&self, documents: Vec<NewDocument>) -> Result<(), String> {
        let count = documents.len() as u64;
        let indexed = self.client.index(&NewDocuments { documents }).await.map_err(said)?;
        if indexed.added == count {
            Ok(())
        } else {
            Err(format!("{} did not add {count} documents: {indexed:?}", self.name))
        }
    }

    /// What its index has.
    pub(crate) async fn stats(&self) -> Result<IndexStats, String> {
        self.client.index_stats().await.map_err(said)
    }

    /// Waits until all that it has is linked.
    pub(crate) async fn links_all(&self) -> Result<(), String> {
        let (mut least, mut since) = (u64::MAX, Instant::now());
        loop {
            let waiting = self.stats().await?.waiting;
            if waiting == 0 {
                return Ok(());
            }
            if waiting < least {
                (least, since) = (waiting, Instant::now());
            } else if since.elapsed() > PATIENCE {
                let (name, seconds) = (&self.name, PATIENCE.as_secs());
                return Err(format!("{name} has {waiting} documents to link, and linked none for {seconds} s"));
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Documents with these vectors, numbered from here on; of one name and number there is one.
pub(crate) fn documents(name: &str, first: usize, vectors: &[f32]) -> Vec<NewDocument> {
    let numbered = vectors.chunks(DIMENSION).zip(first..);
    let document = |(vector, number): (&[f32], usize)| NewDocument {
        doc_id: Some(format!("{name}-{number}")),
        title: Some(format!("Document {number}")),
        basin: Some(vector.to_vec()),
        ..NewDocument::default()
    };
    numbered.map(document).collect()
}

pub(crate) fn said(error: comity_client::Error) -> String {
    error.to_string()
}
