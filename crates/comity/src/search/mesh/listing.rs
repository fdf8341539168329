//! What the index has, as it is shown to people: lists of documents, figures, and how it goes with the nodes whose documents
//! are kept here.

use super::Mesh;
use crate::config::SourceTrust;
use crate::search::index::IndexError;
use crate::store::documents::{Listed, OWN, Standing};
use comity_core::basin::Metadata;
use comity_core::id::NodeId;
use comity_core::time::Timestamp;
use comity_core::wire::control::{Document, Documents, IndexSource, IndexStats};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

impl Mesh {
    /// Documents by URL, or by id where they have none, whose URL begins so, after one.
    pub(crate) async fn list(
        &self,
        (prefix, after): (&str, &Standing),
        all: bool,
        limit: usize,
    ) -> Result<Documents, IndexError> {
        let listed = self.0.index.list((prefix, after), !all, limit).await?;
        let last = listed.last().filter(|_| listed.len() == limit);
        let next = last.map(|last| cursor(&last.standing()));
        let names = self.0.index.source_names();
        Ok(Documents { documents: listed.into_iter().map(|one| document(one, &names)).collect(), next })
    }

    /// What the index has, and what it costs.
    pub(crate) async fn stats(&self) -> Result<IndexStats, IndexError> {
        let index = &self.0.index;
        let (counts, names) = (index.counts().await?, index.source_names());
        let (documents, deleted) = counts.get(&OWN).copied().unwrap_or_default();
        let progress = self.0.sync.progress();
        let numbers: BTreeMap<NodeId, u32> = names.iter().map(|(number, key)| (*key, *number)).collect();
        let keys: BTreeSet<NodeId> = numbers.keys().chain(progress.keys()).copied().collect();
        let source = |key: &NodeId| {
            let progress = progress.get(key).cloned().unwrap_or_default();
            let count = numbers.get(key).and_then(|number| counts.get(number));
            IndexSource {
                node: key.to_string(),
                trust: trust_name(self.0.sync.trust(key)).to_owned(),
                documents: count.map_or(0, |(live, _)| *live),
                current: progress.current.map(|time| time.to_string()),
                trouble: progress.trouble,
                refused: progress.refused,
            }
        };
        let (waiting, memory) = index.weight();
        let settings = index.settings();
        Ok(IndexStats {
            dimension: settings.dimension() as u64,
            metric: settings.metric().name().to_owned(),
            projection: settings.projection().name().to_owned(),
            encoder: settings.encoder().to_owned(),
            documents,
            deleted,
            sources: keys.iter().map(source).collect(),
            waiting: waiting as u64,
            memory_bytes: memory as u64,
            disk_bytes: index.disk(),
        })
    }
}

/// Where a document stands in a list, as whoever lists is told it. Ids have no spaces in them; what stands last may.
fn cursor(standing: &Standing) -> String {
    let Standing { by, doc_id, source } = standing;
    format!("{source} {doc_id} {by}")
}

/// What [`cursor`] told; `None` for what it cannot have told.
pub(crate) fn standing(cursor: &str) -> Option<Standing> {
    let (source, rest) = cursor.split_once(' ')?;
    let (doc_id, by) = rest.split_once(' ')?;
    Some(Standing { by: by.to_owned(), doc_id: doc_id.to_owned(), source: source.parse().ok()? })
}

fn trust_name(trust: Option<SourceTrust>) -> &'static str {
    match trust {
        Some(SourceTrust::Full) => "full",
        Some(SourceTrust::Partial) => "partial",
        Some(SourceTrust::Observer) => "observer",
        None => "none",
    }
}

fn document(listed: Listed, names: &BTreeMap<u32, NodeId>) -> Document {
    let Listed { source, doc_id, version, written, url, metadata, .. } = listed;
    let mut metadata = Metadata::parse(&metadata).map(|metadata| metadata.to_map()).unwrap_or_default();
    metadata.remove("url");
    metadata.remove("snippet");
    let title = match metadata.remove("title") {
        Some(Value::String(title)) => title,
        _ => url.clone().unwrap_or_else(|| doc_id.clone()),
    };
    let node = names.get(&source).map(NodeId::to_string);
    Document { doc_id, node, url, title, version, written: Timestamp::from_millis(written), metadata }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_list_goes_on_is_read_as_it_was_told_whatever_is_in_a_url() {
        for by in ["https://example.org/a b?c=1 2", "a", " ", ""] {
            let told = Standing { by: by.to_owned(), doc_id: "ä/1".to_owned(), source: 7 };
            assert_eq!(standing(&cursor(&told)), Some(told), "{by:?}");
        }
        for untold in ["", "https://example.org/", "x y z", "7 y"] {
            assert_eq!(standing(untold), None, "{untold:?}");
        }
    }
}
