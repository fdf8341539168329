//! The registry of the mesh: who is registered, and who may.

use crate::{ANSWER_WITHIN, Client, Error, exchange};
use comity_core::wire::control::{self, path};

impl Client {
    /// The nodes of the mesh, as the node knows them.
    pub async fn mesh_nodes(&self) -> Result<control::MeshNodes, Error> {
        self.get(path::MESH_NODES).await
    }

    /// Makes an enrolment token, which is told this once.
    pub async fn enroll(&self, wanted: &control::Enroll) -> Result<control::Enrolled, Error> {
        exchange::post(self, path::MESH_TOKENS, wanted, ANSWER_WITHIN).await
    }

    /// Takes a node out of the registry, with its API key, or takes a token back.
    pub async fn revoke(&self, wanted: &control::Revoke) -> Result<control::Revoked, Error> {
        exchange::post(self, path::MESH_REVOKE, wanted, ANSWER_WITHIN).await
    }
}
