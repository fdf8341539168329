//! A document's record: its vector, what is said of it, and the signature of the node that made it; or that it was
//! deleted, signed alike. It says whether a record counts and which of two is newer, not where records are kept. See
//! "Basins" in `protocols/mesh.md`.

use crate::basin::metadata::Metadata;
use crate::basin::name::DocId;
use crate::basin::settings::{self, Settings, VectorError};
use crate::id::NodeId;
use crate::identity::key::KeyPair;
use crate::identity::signature::{self, BadSignature, Context};
use crate::time::Timestamp;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// The highest version: every implementation has whole numbers up to here.
pub const VERSION_MAX: u64 = 1 << 53;

/// A document of one node, as it is signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Its name among those of the node.
    pub doc_id: DocId,
    /// Whose document it is: the key that signs.
    pub node: NodeId,
    /// The numbers as the node wrote them, not yet a point. `None` when it is deleted.
    pub vector: Option<Vec<f32>>,
    /// What is said of it.
    pub metadata: Metadata,
    /// Counts per document from 1; the highest wins.
    pub version: u64,
    /// Who made the vector of the text.
    pub encoder: String,
    /// Whether it is deleted.
    pub deleted: bool,
    /// When it was made, by the node's clock. Not signed: no rule depends on it.
    pub timestamp: Timestamp,
    /// The node's signature.
    pub sig: [u8; 64],
}

/// A record that is not yet signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// The name of the document.
    pub doc_id: DocId,
    /// Its numbers; `None` to delete it.
    pub vector: Option<Vec<f32>>,
    /// What is said of it.
    pub metadata: Metadata,
    /// One more than the version before.
    pub version: u64,
    /// When it was made.
    pub timestamp: Timestamp,
}

/// Why a record does not count. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The vector is no point of this mesh.
    #[error("basin: {0}")]
    Vector(VectorError),
    /// The vector was made by another encoder than this mesh's.
    #[error("encoder: not that of this mesh")]
    Encoder,
    /// It is deleted, and has a vector.
    #[error("basin: a deleted document has none")]
    DeletedWithVector,
    /// It is not deleted, and has no vector.
    #[error("basin: missing, and the document is not deleted")]
    NoVector,
    /// The version is 0 or beyond [`VERSION_MAX`].
    #[error("version: a whole number from 1 to 2^53 is wanted")]
    Version,
    /// It is another node's document than that of the key it was checked with.
    #[error("source_node: the document is another node's")]
    NotItsOwn,
    /// The node did not sign this.
    #[error("sig: {0}")]
    Signature(BadSignature),
}

/// What is kept of a document already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held<'a> {
    /// Its version.
    pub version: u64,
    /// Its signature.
    pub sig: &'a [u8; 64],
}

/// How a record stands beside what is kept of the same document of the same node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Beside {
    /// It is to be kept instead.
    Newer,
    /// It is what is kept.
    Same,
    /// What is kept stays.
    Older,
}

impl RecordError {
    /// The member of the wire form that is at fault.
    pub fn field(self) -> &'static str {
        match self {
            Self::Vector(_) | Self::DeletedWithVector | Self::NoVector => "basin",
            Self::Encoder => "encoder",
            Self::Version => "version",
            Self::NotItsOwn => "source_node",
            Self::Signature(_) => "sig",
        }
    }
}

impl Record {
    /// Signs a document, or that it is deleted.
    ///
    /// # Errors
    /// [`RecordError`] when the others would refuse it.
    pub fn sign(draft: Draft, settings: &Settings, key: &KeyPair) -> Result<Self, RecordError> {
        let mut record = Self {
            doc_id: draft.doc_id,
            node: key.node(),
            deleted: draft.vector.is_none(),
            vector: draft.vector,
            metadata: draft.metadata,
            version: draft.version,
            encoder: settings.encoder().to_owned(),
            timestamp: draft.timestamp,
            sig: [0; 64],
        };
        record.check_content(settings)?;
        record.sig = signature::sign_bytes(key, Context::Basin, &record.signed(settings.dimension()));
        Ok(record)
    }

    /// Whether this record counts in a mesh of these settings, as one of the node with this key.
    ///
    /// # Errors
    /// [`RecordError`] says what is wrong.
    pub fn check(&self, settings: &Settings, source_key: &NodeId) -> Result<(), RecordError> {
        if self.node != *source_key {
            return Err(RecordError::NotItsOwn);
        }
        self.check_content(settings)?;
        signature::verify_bytes(source_key, Context::Basin, &self.signed(settings.dimension()), &self.sig)
            .map_err(RecordError::Signature)
    }

    /// Everything but whose it is, cheapest first.
    fn check_content(&self, settings: &Settings) -> Result<(), RecordError> {
        if !(1..=VERSION_MAX).contains(&self.version) {
            return Err(RecordError::Version);
        }
        if self.encoder != settings.encoder() {
            return Err(RecordError::Encoder);
        }
        match (&self.vector, self.deleted) {
            (Some(_), true) => Err(RecordError::DeletedWithVector),
            (None, false) => Err(RecordError::NoVector),
            (None, true) => Ok(()),
            (Some(vector), false) => settings.check(vector).map_err(RecordError::Vector),
        }
    }

    /// How this stands beside what is kept of the same document of the same node. Of two records of one version, which a
    /// node that lost its disk may sign, the one with the greater signature stays, so that all nodes keep the same.
    pub fn beside(&self, held: Option<Held<'_>>) -> Beside {
        let Some(held) = held else { return Beside::Newer };
        match (self.version, &self.sig).cmp(&(held.version, held.sig)) {
            std::cmp::Ordering::Greater => Beside::Newer,
            std::cmp::Ordering::Equal => Beside::Same,
            std::cmp::Ordering::Less => Beside::Older,
        }
    }

    /// What others compare theirs with.
    pub fn held(&self) -> Held<'_> {
        Held { version: self.version, sig: &self.sig }
    }

    /// What is signed, in RFC 8785 form. Written here member by member, in the order of their names: a node that starts
    /// checks a hundred thousand.
    fn signed(&self, dimension: usize) -> Vec<u8> {
        let mut text = String::with_capacity(512);
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        let (deleted, doc_id) = (self.deleted, quoted(self.doc_id.as_str()));
        let (encoder, metadata, node) = (quoted(&self.encoder), Hex(&self.metadata.sha256()), self.node);
        write!(text, r#"{{"deleted":{deleted},"dim":{dimension},"doc_id":{doc_id},"encoder":{encoder},"#)
            .and_then(|()| write!(text, r#""metadata_sha256":"{metadata}","node":"{node}","#))
            .expect("a String takes everything");
        if let Some(vector) = &self.vector {
            let vector = Sha256::digest(to_bytes(vector));
            write!(text, r#""vector_sha256":"{}","#, Hex(&vector)).expect("a String takes everything");
        }
        write!(text, r#""version":{}}}"#, self.version).expect("a String takes everything");
        text.into_bytes()
    }
}

/// Bytes in lower-case hex.
struct Hex<'a>(&'a [u8]);

impl std::fmt::Display for Hex<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digit = |four: u8| char::from(b"0123456789abcdef"[usize::from(four)]);
        let mut digits = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
        digits.try_for_each(|digit| out.write_char(digit))
    }
}

/// The numbers as little-endian bytes: what is hashed, and what is kept.
pub fn to_bytes(vector: &[f32]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 * vector.len());
    vector.iter().for_each(|number| bytes.extend_from_slice(&number.to_le_bytes()));
    bytes
}

/// Numbers of what was kept; `None` when the bytes are not those of so many.
pub fn from_bytes(bytes: &[u8], dimension: usize) -> Option<Vec<f32>> {
    let (numbers, rest) = bytes.as_chunks::<4>();
    let is_whole = rest.is_empty() && numbers.len() == dimension && dimension <= settings::DIMENSION_MAX;
    is_whole.then(|| numbers.iter().map(|number| f32::from_le_bytes(*number)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::basin::settings::{Metric, Projection};
    use crate::identity::canonical;
    use serde_json::json;

    fn settings() -> Settings {
        Settings::new(3, Metric::FisherRao, Projection::Sphere, "hash").expect("settings")
    }

    fn key() -> KeyPair {
        KeyPair::from_seed([1; 32])
    }

    fn draft(version: u64, vector: Option<Vec<f32>>) -> Draft {
        Draft {
            doc_id: "a\"é".parse().expect("a name"),
            vector,
            metadata: Metadata::parse(r#"{"title":"A"}"#).expect("metadata"),
            version,
            timestamp: Timestamp::from_millis(1),
        }
    }

    fn signed() -> Record {
        Record::sign(draft(1, Some(vec![1.0, 0.5, -2.0])), &settings(), &key()).expect("signed")
    }

    #[test]
    fn a_record_counts_for_its_node_and_its_mesh_only() {
        let record = signed();
        assert_eq!(record.check(&settings(), &key().node()), Ok(()));
        let other = KeyPair::from_seed([2; 32]).node();
        assert_eq!(record.check(&settings(), &other), Err(RecordError::NotItsOwn));
        let stolen = Record { node: other, ..record.clone() };
        assert_eq!(stolen.check(&settings(), &other), Err(RecordError::Signature(BadSignature::Wrong)));
        let model = Settings::new(3, Metric::FisherRao, Projection::Sphere, "model").expect("settings");
        assert_eq!(record.check(&model, &key().node()), Err(RecordError::Encoder));
        let wide = VectorError::Dimension { wanted: 256, found: 3 };
        assert_eq!(record.check(&Settings::default(), &key().node()), Err(RecordError::Vector(wide)));
    }

    #[test]
    fn everything_but_the_time_is_signed() {
        let changes: [fn(&mut Record); 5] = [
            |record| record.doc_id = DocId::of_url("b"),
            |record| record.vector = Some(vec![1.0, 0.5, -2.000_000_2]),
            |record| record.metadata = Metadata::default(),
            |record| record.version = 2,
            |record| (record.vector, record.deleted) = (None, true),
        ];
        for change in changes {
            let mut record = signed();
            change(&mut record);
            let wrong = RecordError::Signature(BadSignature::Wrong);
            assert_eq!(record.check(&settings(), &key().node()), Err(wrong));
        }
        let later = Record { timestamp: Timestamp::from_millis(9), ..signed() };
        assert_eq!(later.check(&settings(), &key().node()), Ok(()));
    }

    #[test]
    fn every_fault_has_its_own_error() {
        let check = |change: fn(&mut Record)| {
            let mut record = signed();
            change(&mut record);
            record.check(&settings(), &key().node()).expect_err("a fault")
        };
        let vector = |error| RecordError::Vector(error);
        assert_eq!(check(|record| record.version = 0), RecordError::Version);
        assert_eq!(check(|record| record.version = VERSION_MAX + 1), RecordError::Version);
        assert_eq!(check(|record| record.deleted = true), RecordError::DeletedWithVector);
        assert_eq!(check(|record| record.vector = None), RecordError::NoVector);
        assert_eq!(check(|record| record.vector = Some(vec![0.0; 3])), vector(VectorError::Zero));
        let infinite = |record: &mut Record| record.vector = Some(vec![0.0, f32::INFINITY, 0.0]);
        assert_eq!(check(infinite), vector(VectorError::NotFinite { index: 1 }));
        let unsigned = Record::sign(draft(0, None), &settings(), &key());
        assert_eq!(unsigned, Err(RecordError::Version));
    }

    #[test]
    fn a_deletion_is_signed_alike() {
        let gone = Record::sign(draft(VERSION_MAX, None), &settings(), &key()).expect("signed");
        assert!(gone.deleted && gone.vector.is_none());
        assert_eq!(gone.check(&settings(), &key().node()), Ok(()));
    }

    #[test]
    fn what_is_signed_is_canonical_json() {
        let gone = Record::sign(draft(7, None), &settings(), &key()).expect("signed");
        for record in [signed(), gone] {
            let text = record.signed(3);
            let value: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
            assert_eq!(canonical::to_vec(&value), text);
            assert_eq!(value["doc_id"], json!("a\"é"));
            assert_eq!(value.get("vector_sha256").is_some(), record.vector.is_some());
        }
    }

    #[test]
    fn the_highest_version_wins_and_all_nodes_keep_the_same_of_two_alike() {
        let (one, two) = (signed(), Record::sign(draft(2, None), &settings(), &key()).expect("signed"));
        assert_eq!(one.beside(None), Beside::Newer);
        assert_eq!(one.beside(Some(one.held())), Beside::Same);
        assert_eq!(two.beside(Some(one.held())), Beside::Newer);
        assert_eq!(one.beside(Some(two.held())), Beside::Older);
        let again = Record::sign(draft(1, Some(vec![3.0; 3])), &settings(), &key()).expect("signed");
        let both = [again.beside(Some(one.held())), one.beside(Some(again.held()))];
        assert!(both == [Beside::Newer, Beside::Older] || both == [Beside::Older, Beside::Newer]);
    }

    #[test]
    fn numbers_are_kept_bit_by_bit() {
        let vector = vec![0.1, -0.0, f32::MAX, f32::from_bits(1)];
        let bytes = to_bytes(&vector);
        let back = from_bytes(&bytes, 4).expect("four numbers");
        assert!(back.iter().zip(&vector).all(|(one, other)| one.to_bits() == other.to_bits()));
        assert_eq!(from_bytes(&bytes[1..], 4), None);
        assert_eq!(from_bytes(&bytes, 3), None);
    }
}
