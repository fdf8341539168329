//! What several nodes found becomes one ranking. What comes from nodes is data: it is bounded here, and a node weighs
//! no more for saying a thing twice. See `mesh_score` in "Basins" of `protocols/mesh.md`.

use crate::basin::metadata::Shown;
use crate::basin::name::DocId;
use crate::basin::settings::Settings;
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Most results that are taken of one node: as many as a question can ask for.
pub const RESULTS_MAX: usize = 1000;

/// How much of what is missing to a score of 1 agreement can give, at most: a url that everybody finds never overtakes
/// one that is clearly nearer.
pub const AGREEMENT_MAX: f64 = 0.1;

/// A distance that rounding put this far beyond the farthest still counts as the farthest, radians.
const DISTANCE_SLACK: f64 = 1e-6;

/// One document that a node found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// Its name among those of its node.
    pub doc_id: DocId,
    /// Where it is, what it is called, and how it begins.
    pub shown: Shown,
    /// How far from the question, radians.
    pub distance: f64,
}

/// What one node answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Who: the name by which it was asked, never what it says of itself.
    pub node: String,
    /// How fresh what it has is, 0 to 1.
    pub freshness: f64,
    /// What it found.
    pub found: Vec<Found>,
}

/// One place of the ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranked {
    /// The node whose result is shown: the one with the best score of its own.
    pub node: String,
    /// Its result.
    pub found: Found,
    /// 0 to 1, higher is better.
    pub score: f64,
    /// How many nodes found it.
    pub nodes: usize,
}

/// The ranking, and what did not come into it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Merged {
    /// The best first.
    pub ranked: Vec<Ranked>,
    /// Results whose distance was no distance.
    pub left_out_distance: usize,
    /// Results beyond [`RESULTS_MAX`] of a node.
    pub left_out_many: usize,
}

/// What counts as one document: a url, wherever it was found, or else a name of one node.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Url(String),
    Document(String, DocId),
}

/// The best of one node for one document.
struct Vote {
    node: String,
    found: Found,
    score: f64,
}

/// Merges what nodes answered into one ranking of at most `limit` documents.
///
/// A result's score is (1 - d/d_max) times its node's freshness. Where several nodes found one url, the best of them
/// counts, and the others, `s` in sum with one result each, raise it by `(1 - best) * AGREEMENT_MAX * s / (1 + s)`: never
/// to more than 1, never past a result that is better by a tenth of what is missing to 1, and the better each, the more.
pub fn merge(settings: &Settings, answers: Vec<Answered>, limit: usize) -> Merged {
    let mut merged = Merged::default();
    let mut places: BTreeMap<Place, Vec<Vote>> = BTreeMap::new();
    for Answered { node, freshness, found } in answers {
        let freshness = if freshness.is_nan() { 0.0 } else { freshness.clamp(0.0, 1.0) };
        merged.left_out_many += found.len().saturating_sub(RESULTS_MAX);
        for mut found in found.into_iter().take(RESULTS_MAX) {
            let Some(distance) = checked(found.distance, settings.distance_max()) else {
                merged.left_out_distance += 1;
                continue;
            };
            found.distance = distance;
            let place = match &found.shown.url {
                Some(url) => Place::Url(url.clone()),
                None => Place::Document(node.clone(), found.doc_id.clone()),
            };
            let score = score(distance, settings) * freshness;
            let vote = Vote { node: node.clone(), found, score };
            add(places.entry(place).or_default(), vote);
        }
    }
    merged.ranked = places.into_values().filter_map(ranked).collect();
    merged.ranked.sort_by(order);
    merged.ranked.truncate(limit);
    merged
}

/// The score of a distance alone, 0 to 1.
pub fn score(distance: f64, settings: &Settings) -> f64 {
    (1.0 - distance / settings.distance_max()).clamp(0.0, 1.0)
}

/// The distance, if it is one.
pub fn checked(distance: f64, distance_max: f64) -> Option<f64> {
    (0.0..=distance_max + DISTANCE_SLACK).contains(&distance).then(|| distance.min(distance_max))
}

/// Takes a result among those of one document: one of each node, its best.
fn add(votes: &mut Vec<Vote>, vote: Vote) {
    match votes.iter_mut().find(|held| held.node == vote.node) {
        Some(held) if better(&vote, held) == Ordering::Less => *held = vote,
        Some(_) => {}
        None => votes.push(vote),
    }
}

/// Which of two results of one document comes first.
fn better(one: &Vote, other: &Vote) -> Ordering {
    other
        .score
        .total_cmp(&one.score)
        .then_with(|| one.found.distance.total_cmp(&other.found.distance))
        .then_with(|| one.node.cmp(&other.node))
        .then_with(|| one.found.doc_id.cmp(&other.found.doc_id))
}

/// The place in the ranking of one document.
fn ranked(mut votes: Vec<Vote>) -> Option<Ranked> {
    votes.sort_by(better);
    let nodes = votes.len();
    let mut votes = votes.into_iter();
    let best = votes.next()?;
    let support: f64 = votes.map(|vote| vote.score).sum();
    let raise = (1.0 - best.score) * AGREEMENT_MAX * support / (1.0 + support);
    Some(Ranked { node: best.node, found: best.found, score: (best.score + raise).clamp(0.0, 1.0), nodes })
}

/// The order of the ranking: by score, then distance, then url or name.
fn order(one: &Ranked, other: &Ranked) -> Ordering {
    let name = |ranked: &Ranked| ranked.found.shown.url.clone().unwrap_or_default();
    other
        .score
        .total_cmp(&one.score)
        .then_with(|| one.found.distance.total_cmp(&other.found.distance))
        .then_with(|| name(one).cmp(&name(other)))
        .then_with(|| one.found.doc_id.cmp(&other.found.doc_id))
        .then_with(|| one.node.cmp(&other.node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    fn found(url: &str, doc_id: &str, distance: f64) -> Found {
        let url = (!url.is_empty()).then(|| url.to_owned());
        Found { doc_id: doc_id.parse().expect("a name"), shown: Shown { url, ..Shown::default() }, distance }
    }

    fn answered(node: &str, freshness: f64, found: Vec<Found>) -> Answered {
        Answered { node: node.to_owned(), freshness, found }
    }

    fn merged(answers: Vec<Answered>) -> Vec<(String, f64, usize)> {
        let ranked = merge(&Settings::default(), answers, 100).ranked;
        ranked.into_iter().map(|one| (one.found.doc_id.to_string(), one.score, one.nodes)).collect()
    }

    #[test]
    fn the_nearest_comes_first_and_the_limit_holds() {
        let list = vec![found("", "far", 2.0), found("", "near", 0.1), found("", "mid", 1.0)];
        let ranked = merge(&Settings::default(), vec![answered("a", 1.0, list)], 2).ranked;
        let names: Vec<&str> = ranked.iter().map(|one| one.found.doc_id.as_str()).collect();
        assert_eq!(names, ["near", "mid"]);
        assert!((ranked[0].score - (1.0 - 0.1 / PI)).abs() < 1e-12);
    }

    #[test]
    fn one_url_of_several_nodes_is_one_result_that_is_raised_a_little() {
        let one = |node: &str| answered(node, 1.0, vec![found("u", node, 1.0)]);
        let alone = merged(vec![one("a")])[0].1;
        let mut before = alone;
        for count in 2..20 {
            let nodes: Vec<String> = (0..count).map(|number| format!("n{number:02}")).collect();
            let all = merged(nodes.iter().map(|node| one(node)).collect());
            assert_eq!(all.len(), 1);
            assert_eq!(all[0].2, count);
            assert!(all[0].1 > before && all[0].1 <= alone + (1.0 - alone) * AGREEMENT_MAX);
            before = all[0].1;
        }
        let names =
            merged(vec![answered("a", 1.0, vec![found("", "x", 1.0)]), answered("b", 1.0, vec![found("", "x", 1.0)])]);
        assert_eq!(names.len(), 2, "a name is one node's");
    }

    #[test]
    fn a_node_does_not_raise_its_own_by_saying_it_twice() {
        let once = merged(vec![answered("a", 1.0, vec![found("u", "x", 1.0)])]);
        let many = vec![found("u", "y", 1.5); RESULTS_MAX - 1];
        let list: Vec<Found> = many.into_iter().chain([found("u", "x", 1.0)]).collect();
        assert_eq!(merged(vec![answered("a", 1.0, list.clone())]), once);
        let twice = vec![answered("a", 1.0, list.clone()), answered("a", 1.0, list)];
        assert_eq!(merged(twice), once);
    }

    #[test]
    fn what_is_stale_weighs_less() {
        let all = merged(vec![
            answered("stale", 0.5, vec![found("", "old", 0.0)]),
            answered("fresh", 1.0, vec![found("", "new", 1.0)]),
            answered("odd", f64::NAN, vec![found("", "odd", 0.0)]),
            answered("boast", 9.0, vec![found("", "boast", 2.0)]),
        ]);
        let names: Vec<&str> = all.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["new", "old", "boast", "odd"]);
        assert!(all.iter().all(|(_, score, _)| (0.0..=1.0).contains(score)));
    }

    #[test]
    fn what_is_no_distance_is_left_out_and_counted() {
        let bad = [f64::NAN, f64::INFINITY, -0.1, PI + 0.01, f64::NEG_INFINITY];
        let mut list: Vec<Found> = bad.iter().map(|distance| found("", "x", *distance)).collect();
        list.extend([found("", "end", PI + 1e-9), found("", "begin", -0.0)]);
        list.extend(vec![found("", "more", 1.0); RESULTS_MAX]);
        let merged = merge(&Settings::default(), vec![answered("a", 1.0, list)], 10);
        assert_eq!((merged.left_out_distance, merged.left_out_many), (5, 7));
        assert_eq!(merged.ranked.len(), 3);
        assert_eq!(merged.ranked[2].score, 0.0);
    }

    #[test]
    fn the_order_does_not_depend_on_who_answered_first() {
        let list = |node: &str| vec![found("u", node, 1.0), found("", "same", 1.0), found("v", "w", 0.5)];
        let answers: Vec<Answered> = ["a", "b", "c"].iter().map(|node| answered(node, 1.0, list(node))).collect();
        let first = merge(&Settings::default(), answers.clone(), 10);
        let turned = merge(&Settings::default(), answers.into_iter().rev().collect(), 10);
        assert_eq!(first, turned);
        assert_eq!(first.ranked[0].found.shown.url.as_deref(), Some("v"));
    }
}
