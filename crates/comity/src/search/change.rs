//! What is to be changed in the index, on its way to its keeper.

use super::index::{IndexError, Outcome};
use comity_core::basin::{DocId, Metadata, Record};
use comity_core::id::NodeId;
use tokio::sync::oneshot;

/// A document of this node, to be indexed.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// Its name.
    pub(crate) doc_id: DocId,
    /// Its numbers, as they are signed and told: a point of the index.
    pub(crate) vector: Vec<f32>,
    /// What is said of it, secrets taken out.
    pub(crate) metadata: Metadata,
    /// Where it is.
    pub(crate) url: Option<String>,
    /// The beginning of its text.
    pub(crate) excerpt: Option<String>,
    /// How its file was when it was read.
    pub(crate) file: Option<String>,
}

/// What is to be changed.
#[derive(Debug)]
pub(super) enum Change {
    /// A document of this node is put in the place of whatever has its id.
    Put(Prepared),
    /// A document of this node is deleted.
    Delete(DocId),
    /// A document of this node is signed anew, by the key that this node has now; its numbers, unless it is deleted.
    Sign(DocId, Option<Vec<f32>>),
    /// What another node says of a document of its own: checked, but for whether it counts beside what is here.
    Take(Taken),
    /// A document of another node is no more, which that node has not said of it.
    Forget(NodeId, DocId),
}

/// What another node says of a document of its own.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) source: NodeId,
    pub(super) record: Box<Record>,
    /// Whether that node's log was read from its beginning: then it counts whatever was here before. A node that lost
    /// its disk counts its versions anew.
    pub(super) is_anew: bool,
}

/// Changes that somebody waits for.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    /// How far the source was read with them.
    pub(super) read: Option<(NodeId, String)>,
    pub(super) done: oneshot::Sender<Result<Vec<Outcome>, IndexError>>,
}
