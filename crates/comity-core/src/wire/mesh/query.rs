//! A question to a mesh and its answer, `POST /mesh/query`, both ways: what a client asks, what a node asks another,
//! and what comes back. See the table of `protocols/mesh.md`. Who is asked is decided elsewhere.

use crate::basin::filter::Filters;
use crate::basin::merge::{self, Found, Ranked};
use crate::basin::metadata::{SNIPPET_MAX, Shown, TITLE_MAX, URL_MAX, cut, is_url};
use crate::basin::settings::{DIMENSION_MAX, Metric, Settings};
use crate::basin::{DocId, VectorError};
use crate::wire::mesh::form::{self, BadForm, Fault, Member};
use crate::wire::mesh::numbers;
use crate::wire::strict;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::time::Duration;

/// Largest question, bytes: the longest vector, written at length, with room.
pub const QUERY_BYTES_MAX: usize = 256 * 1024;

/// Longest text of a question, bytes: several pages.
pub const QUERY_TEXT_MAX: usize = 64 * 1024;

/// Results where nothing else is said.
pub const LIMIT: usize = 10;

/// Most results of a question: more is a copy of the index, which [`super::sync`] gives.
pub const LIMIT_MAX: usize = merge::RESULTS_MAX;

/// Most nodes that a question names.
pub const INCLUDE_MAX: usize = 64;

/// Longest name of a node, bytes.
pub const NODE_NAME_MAX: usize = 128;

/// How long a question takes where nothing else is said.
pub const TIMEOUT: Duration = Duration::from_millis(1000);

/// Longest time a question takes, ms: what a person still waits for.
const TIMEOUT_MS_MAX: u64 = 30_000;

/// Largest answer that is read, bytes: [`LIMIT_MAX`] results with every text at its longest, and escapes.
pub const ANSWER_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most results, and most failed nodes, that are looked at in an answer; more is counted.
const LISTED_MAX: usize = 10_000;

/// Most failed nodes that are kept of an answer.
const FAILED_MAX: usize = 1024;

/// Longest cause of a failure that is kept, bytes; more is cut.
const CAUSE_MAX: usize = 256;

/// What is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Asked {
    /// What is like this text; it travels as text, and each node encodes it.
    Text(String),
    /// What is near this vector, which is not yet a point.
    Basin(Vec<f32>),
}

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What is asked for.
    pub asked: Asked,
    /// How many results, 1 to [`LIMIT_MAX`].
    pub limit: usize,
    /// Only these nodes, by id or service name; empty for all.
    pub include_nodes: Vec<String>,
    /// How long it may take.
    pub timeout: Duration,
    /// What the metadata must say.
    pub filters: Filters,
}

/// One result of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The node it is of, as the answer says.
    pub source_node: String,
    /// The document.
    pub doc_id: DocId,
    /// Where it is, what it is called, and how it begins.
    pub shown: Shown,
    /// How far it is, radians.
    pub basin_distance: f64,
    /// 0 to 1, higher is better.
    pub mesh_score: f64,
}

/// A node that did not answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFailed {
    /// Which one.
    pub node: String,
    /// Why.
    pub cause: String,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The best first.
    pub results: Vec<Hit>,
    /// How many nodes were asked.
    pub nodes_queried: u64,
    /// Those that did not answer in time, or at all.
    pub nodes_failed: Vec<NodeFailed>,
    /// How long it took.
    pub total_time: Duration,
    /// How distance was measured.
    pub metric: Metric,
}

/// How many results of an answer were left out, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeftOut {
    /// No object, or a member of another type.
    pub form: usize,
    /// No `doc_id`, or one that is none.
    pub doc_id: usize,
    /// A `url` that is too long or no text.
    pub url: usize,
    /// No distance, or one that is none.
    pub distance: usize,
    /// A score that is none.
    pub score: usize,
    /// Beyond what was asked for.
    pub too_many: usize,
}

impl LeftOut {
    /// All of them.
    pub fn total(&self) -> usize {
        self.form + self.doc_id + self.url + self.distance + self.score + self.too_many
    }
}

impl Query {
    /// A question with nothing else said.
    pub fn new(asked: Asked) -> Self {
        Self { asked, limit: LIMIT, include_nodes: Vec::new(), timeout: TIMEOUT, filters: Filters::default() }
    }

    /// Reads the body of a question.
    ///
    /// # Errors
    /// [`BadForm`] names the field.
    pub fn read(body: &[u8]) -> Result<Self, BadForm> {
        let names = ["query", "basin", "limit", "include_nodes", "timeout_ms", "filter"];
        let text = form::text(body, QUERY_BYTES_MAX)?;
        let [query, basin, limit, include_nodes, timeout, filter] = form::members(text, names)?;
        let asked = match (Member::of("query", query), Member::of("basin", basin)) {
            (Some(_), Some(basin)) => return Err(basin.bad(Fault::Both { other: "query" })),
            (None, None) => return Err(BadForm::new("query", Fault::Neither { other: "basin" })),
            (Some(query), None) => Asked::Text(asked_text(query)?),
            (None, Some(basin)) => Asked::Basin(numbers::read("basin", basin.raw, DIMENSION_MAX)?),
        };
        let limit = match Member::of("limit", limit) {
            Some(limit) => limit.whole(1..=LIMIT_MAX as u64, "a whole number from 1 to 1000")? as usize,
            None => LIMIT,
        };
        let timeout = match Member::of("timeout_ms", timeout) {
            Some(timeout) => {
                Duration::from_millis(timeout.whole(1..=TIMEOUT_MS_MAX, "a whole number from 1 to 30000")?)
            }
            None => TIMEOUT,
        };
        let include_nodes = Member::of("include_nodes", include_nodes).map(node_names).transpose()?;
        let filters = Member::of("filter", filter).map(filters).transpose()?;
        let (include_nodes, filters) = (include_nodes.unwrap_or_default(), filters.unwrap_or_default());
        Ok(Self { asked, limit, include_nodes, timeout, filters })
    }

    /// The body of the question.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024);
        match &self.asked {
            Asked::Text(text) => {
                out.extend_from_slice(format!("{{\"query\":{}", Value::from(text.as_str())).as_bytes())
            }
            Asked::Basin(basin) => {
                out.extend_from_slice(b"{\"basin\":");
                numbers::write(&mut out, basin);
            }
        }
        let timeout = u64::try_from(self.timeout.as_millis()).unwrap_or(TIMEOUT_MS_MAX).clamp(1, TIMEOUT_MS_MAX);
        out.extend_from_slice(format!(",\"limit\":{},\"timeout_ms\":{timeout}", self.limit).as_bytes());
        if !self.include_nodes.is_empty() {
            out.extend_from_slice(format!(",\"include_nodes\":{}", json!(self.include_nodes)).as_bytes());
        }
        if !self.filters.is_empty() {
            let members: serde_json::Map<String, Value> =
                self.filters.pairs().map(|(key, value)| (key.to_owned(), value.into())).collect();
            out.extend_from_slice(format!(",\"filter\":{}", Value::Object(members)).as_bytes());
        }
        out.push(b'}');
        out
    }

    /// The point that is asked for, where a vector is.
    ///
    /// # Errors
    /// [`VectorError`] when the vector is none of this mesh.
    pub fn point(&self, settings: &Settings) -> Option<Result<Vec<f32>, VectorError>> {
        match &self.asked {
            Asked::Text(_) => None,
            Asked::Basin(basin) => Some(settings.unit(basin)),
        }
    }
}

fn asked_text(query: Member<'_>) -> Result<String, BadForm> {
    let text = query.text(QUERY_TEXT_MAX)?;
    if text.trim().is_empty() {
        Err(query.bad(Fault::Wanted("a text that is not empty")))
    } else {
        Ok(text.into_owned())
    }
}

fn node_names(list: Member<'_>) -> Result<Vec<String>, BadForm> {
    let elements = list.elements(INCLUDE_MAX)?.into_iter().enumerate();
    let name = |(index, raw): (usize, &RawValue)| {
        let of_element = |fault| BadForm::of_element(list.field, index, fault);
        let name = Member { field: list.field, raw: raw.get() }.text(NODE_NAME_MAX);
        let name = name.map_err(|bad| of_element(bad.fault))?;
        let is_name = !name.is_empty() && !name.chars().any(char::is_control);
        if is_name { Ok(name.into_owned()) } else { Err(of_element(Fault::Wanted("the name of a node"))) }
    };
    elements.map(name).collect()
}

fn filters(member: Member<'_>) -> Result<Filters, BadForm> {
    let value = strict::parse(member.raw.as_bytes()).map_err(|bad| member.bad(Fault::Json(bad.reason)))?;
    let Value::Object(members) = value else { return Err(member.bad(Fault::Wanted("an object of texts"))) };
    Filters::of(&members).map_err(|error| member.bad(Fault::Filter(error)))
}

impl From<Ranked> for Hit {
    fn from(ranked: Ranked) -> Self {
        let Found { doc_id, shown, distance } = ranked.found;
        Self { source_node: ranked.node, doc_id, shown, basin_distance: distance, mesh_score: ranked.score }
    }
}

impl From<Hit> for Found {
    fn from(hit: Hit) -> Self {
        Self { doc_id: hit.doc_id, shown: hit.shown, distance: hit.basin_distance }
    }
}

impl Answer {
    /// The answer as JSON.
    pub fn to_value(&self) -> Value {
        let failed = |failed: &NodeFailed| json!({"node": failed.node, "cause": failed.cause});
        json!({
            "results": self.results.iter().map(Hit::to_value).collect::<Vec<_>>(),
            "nodes_queried": self.nodes_queried,
            "nodes_failed": self.nodes_failed.iter().map(failed).collect::<Vec<_>>(),
            "total_time_ms": u64::try_from(self.total_time.as_millis()).unwrap_or(u64::MAX),
            "metric": self.metric.name(),
        })
    }

    /// Reads the answer of a node that was asked for at most `limit` results. A bad result is left out and counted, and
    /// the others stay; what is said of the search itself is taken where it can be read.
    ///
    /// # Errors
    /// [`BadForm`] when it is no answer at all, or measured in another way.
    pub fn read(body: &[u8], settings: &Settings, limit: usize) -> Result<(Self, LeftOut), BadForm> {
        let names = ["results", "nodes_queried", "nodes_failed", "total_time_ms", "metric"];
        let text = form::text(body, ANSWER_BYTES_MAX)?;
        let [results, queried, failed, time, metric] = form::members(text, names)?;
        let metric = match Member::of("metric", metric) {
            Some(metric) => metric.parsed(64, "`fisher-rao`")?,
            None => Metric::default(),
        };
        let raws = Member::wanted("results", results)?.elements(LISTED_MAX)?;
        let (mut results, mut left_out) = (Vec::new(), LeftOut::default());
        for raw in raws {
            if results.len() == limit.min(LIMIT_MAX) {
                left_out.too_many += 1;
                continue;
            }
            match Hit::read(raw.get(), settings) {
                Ok(hit) => results.push(hit),
                Err(bad) => left_out.count(bad.field),
            }
        }
        let number = |name, raw| Member::of(name, raw).and_then(|member| member.whole(0..=u64::MAX, "").ok());
        let answer = Self {
            results,
            nodes_queried: number("nodes_queried", queried).unwrap_or_default(),
            nodes_failed: Member::of("nodes_failed", failed)
                .and_then(|failed| nodes_failed(failed).ok())
                .unwrap_or_default(),
            total_time: Duration::from_millis(number("total_time_ms", time).unwrap_or_default()),
            metric,
        };
        Ok((answer, left_out))
    }
}

impl LeftOut {
    fn count(&mut self, field: &str) {
        let counter = match field {
            "doc_id" => &mut self.doc_id,
            "url" => &mut self.url,
            "basin_distance" => &mut self.distance,
            "mesh_score" => &mut self.score,
            _ => &mut self.form,
        };
        *counter += 1;
    }
}

impl Hit {
    fn to_value(&self) -> Value {
        let mut value = json!({"source_node": self.source_node, "doc_id": self.doc_id.as_str()});
        let Shown { url, title, snippet } = &self.shown;
        for (name, text) in [("url", url), ("title", title), ("snippet", snippet)] {
            if let Some(text) = text {
                value[name] = text.as_str().into();
            }
        }
        value["basin_distance"] = self.basin_distance.into();
        value["mesh_score"] = self.mesh_score.into();
        value
    }

    fn read(text: &str, settings: &Settings) -> Result<Self, BadForm> {
        let names = ["source_node", "doc_id", "url", "title", "snippet", "basin_distance", "mesh_score"];
        let [source_node, doc_id, url, title, snippet, distance, score] = form::members(text, names)?;
        let doc_id = Member::wanted("doc_id", doc_id)?.doc_id()?;
        let url = Member::of("url", url).map(read_url).transpose()?.flatten();
        let member = Member::wanted("basin_distance", distance)?;
        let distance = merge::checked(member.number()?, settings.distance_max());
        let basin_distance = distance.ok_or(member.bad(Fault::Wanted("a distance of this mesh")))?;
        let mesh_score = match Member::of("mesh_score", score) {
            Some(score) => {
                let number = score.number()?;
                let is_score = (0.0..=1.0).contains(&number);
                if is_score { number } else { return Err(score.bad(Fault::Wanted("a number from 0 to 1"))) }
            }
            None => merge::score(basin_distance, settings),
        };
        let shown =
            Shown { url, title: kept("title", title, TITLE_MAX)?, snippet: kept("snippet", snippet, SNIPPET_MAX)? };
        let source_node = kept("source_node", source_node, NODE_NAME_MAX)?.unwrap_or_default();
        Ok(Self { source_node, doc_id, shown, basin_distance, mesh_score })
    }
}

/// Where a document is; an empty text says nothing.
fn read_url(url: Member<'_>) -> Result<Option<String>, BadForm> {
    let text = url.text(URL_MAX)?;
    match text.as_ref() {
        "" => Ok(None),
        text if is_url(text) => Ok(Some(text.to_owned())),
        _ => Err(url.bad(Fault::Wanted("a URL without spaces"))),
    }
}

/// A text that is cut where it is too long.
fn kept(field: &'static str, raw: Option<&RawValue>, bytes_max: usize) -> Result<Option<String>, BadForm> {
    let text = Member::of(field, raw).map(|member| member.text(ANSWER_BYTES_MAX)).transpose()?;
    Ok(text.map(|text| cut(text.into_owned(), bytes_max)).filter(|text| !text.is_empty()))
}

/// The nodes that failed; what cannot be read of them is left out.
fn nodes_failed(list: Member<'_>) -> Result<Vec<NodeFailed>, BadForm> {
    let failed = |raw: &RawValue| {
        let [node, cause] = form::members(raw.get(), ["node", "cause"]).ok()?;
        let node = kept("node", node, NODE_NAME_MAX).ok()??;
        Some(NodeFailed { node, cause: kept("cause", cause, CAUSE_MAX).ok()?.unwrap_or_default() })
    };
    Ok(list.elements(LISTED_MAX)?.into_iter().take(FAILED_MAX).filter_map(failed).collect())
}

#[cfg(test)]
mod tests;
