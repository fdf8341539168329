//! To which nodes a query goes: those whose documents lie near it. Who answers how fast is watched in
//! `registry/latency.rs`; that a query is sent at all is the body's business. See "Routing" in `protocols/mesh.md`.

use std::cmp::Ordering;
use std::time::Duration;

/// At which distance, in radians, a node's score has fallen to 1/e.
const SCALE: f64 = 0.5;

/// Below this score a node is not asked: beyond 1.15 radians, where little of what is wanted can lie.
pub const SCORE_MIN: f64 = 0.1;

/// At least so many nodes are asked, if there are: what lies near is not always where its mean does.
pub const NODES_MIN: usize = 3;

/// A node that could be asked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Candidate<'a> {
    /// Its name.
    pub node: &'a str,
    /// What it is part of.
    pub service_name: &'a str,
    /// Where its documents lie: vectors of any length but 0, of as many numbers as the query.
    pub centroids: &'a [Vec<f32>],
    /// What it counts for: 0 (gone) to 1.
    pub freshness: f64,
    /// How long it takes to answer, if that is known.
    pub latency: Option<Duration>,
}

/// A node that is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Its name.
    pub node: String,
    /// How near it is: exp(-d/0.5) for the nearest of its centroids.
    pub score: f64,
}

/// The nodes that are asked, the best first: at most `fanout`, and [`NODES_MIN`] at least while there are so many and
/// `fanout` allows it.
///
/// A node's score is exp(-d/0.5) of the distance to its nearest centroid. Nodes that score below [`SCORE_MIN`], whatever
/// their freshness, are cut, but for the best of them where fewer than [`NODES_MIN`] would be left. A node that told no
/// usable centroid is never cut: it scores [`SCORE_MIN`], so it comes after all that are near, and before those that are
/// known to be far. Nodes are ranked by score times freshness, then the faster, then by name. Who is gone is not asked.
pub fn route(query: &[f32], candidates: &[Candidate<'_>], fanout: usize) -> Vec<Choice> {
    let mut ranked: Vec<(f64, &Candidate<'_>)> = candidates
        .iter()
        .filter(|candidate| candidate.freshness > 0.0)
        .map(|candidate| (score(query, candidate.centroids), candidate))
        .collect();
    ranked.sort_by(|one, other| rank(*one, *other));
    let near = ranked.iter().take_while(|(score, _)| *score >= SCORE_MIN).count();
    ranked.truncate(near.max(NODES_MIN).min(fanout));
    ranked.into_iter().map(|(score, candidate)| Choice { node: candidate.node.to_owned(), score }).collect()
}

/// The distance of two vectors on the unit sphere, in radians, whatever their lengths; `None` where they have none, or
/// not as many numbers.
pub fn distance(one: &[f32], other: &[f32]) -> Option<f64> {
    if one.len() != other.len() {
        return None;
    }
    let (mut inner, mut one_squared, mut other_squared) = (0.0, 0.0, 0.0);
    for (one, other) in one.iter().zip(other) {
        let (one, other) = (f64::from(*one), f64::from(*other));
        inner += one * other;
        one_squared += one * one;
        other_squared += other * other;
    }
    let cosine = inner / (one_squared.sqrt() * other_squared.sqrt());
    cosine.is_finite().then(|| cosine.clamp(-1.0, 1.0).acos())
}

fn score(query: &[f32], centroids: &[Vec<f32>]) -> f64 {
    let distances = centroids.iter().filter_map(|centroid| distance(query, centroid));
    distances.min_by(f64::total_cmp).map_or(SCORE_MIN, |nearest| (-nearest / SCALE).exp())
}

/// Whether one comes before the other. Those that are far come after all others, whatever their freshness.
fn rank((one_score, one): (f64, &Candidate<'_>), (other_score, other): (f64, &Candidate<'_>)) -> Ordering {
    let weighed = |score: f64, candidate: &Candidate<'_>| score * candidate.freshness.min(1.0);
    (other_score >= SCORE_MIN)
        .cmp(&(one_score >= SCORE_MIN))
        .then_with(|| weighed(other_score, other).total_cmp(&weighed(one_score, one)))
        .then_with(|| faster(one.latency, other.latency))
        .then_with(|| one.node.cmp(other.node))
}

/// Whether one answers faster; who is not known to be fast is not.
pub(super) fn faster(one: Option<Duration>, other: Option<Duration>) -> Ordering {
    one.unwrap_or(Duration::MAX).cmp(&other.unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::drawn::Dice;

    fn candidate<'a>(node: &'a str, centroids: &'a [Vec<f32>]) -> Candidate<'a> {
        Candidate { node, service_name: "kernel", centroids, freshness: 1.0, latency: None }
    }

    /// A vector of two numbers, so far from the first axis.
    fn off(distance: f64) -> Vec<Vec<f32>> {
        vec![vec![distance.cos() as f32, distance.sin() as f32]]
    }

    fn nodes(choices: &[Choice]) -> Vec<&str> {
        choices.iter().map(|choice| choice.node.as_str()).collect()
    }

    const QUERY: [f32; 2] = [2.0, 0.0];

    #[test]
    fn near_nodes_are_asked_the_nearest_first_and_far_ones_are_cut() {
        let places: Vec<_> = [0.0, 0.2, 1.1, 1.15, 1.16, 3.0].map(off).into();
        let names = ["a", "b", "c", "d", "e", "f"];
        let candidates: Vec<_> = names.iter().zip(&places).map(|(node, place)| candidate(node, place)).rev().collect();
        let choices = route(&QUERY, &candidates, 10);
        assert_eq!(nodes(&choices), ["a", "b", "c", "d"]);
        assert!((choices[1].score - (-0.4f64).exp()).abs() < 1e-6);
        assert_eq!(nodes(&route(&QUERY, &candidates, 2)), ["a", "b"]);
        assert_eq!(nodes(&route(&QUERY, &candidates[..3], 10)), ["d", "e", "f"], "three at least, though far");
    }

    #[test]
    fn the_nearest_centroid_counts() {
        let spread = [off(3.0), off(0.1)].concat();
        let near = off(0.2);
        let choices = route(&QUERY, &[candidate("a", &near), candidate("b", &spread)], 5);
        assert_eq!(nodes(&choices), ["b", "a"]);
    }

    #[test]
    fn who_told_no_centroid_is_asked_after_the_near_and_before_the_far() {
        let (near, far, other) = (off(1.0), off(1.5), vec![vec![1.0; 3], vec![0.0; 2]]);
        let candidates = [candidate("d", &far), candidate("c", &other), candidate("b", &[]), candidate("a", &near)];
        assert_eq!(nodes(&route(&QUERY, &candidates, 9)), ["a", "b", "c"]);
        assert_eq!(nodes(&route(&QUERY, &candidates[..2], 9)), ["c", "d"]);
    }

    #[test]
    fn the_stale_and_slow_come_later_and_the_gone_not_at_all() {
        let (near, nearer) = (off(0.3), off(0.2));
        let milli = |millis| Some(Duration::from_millis(millis));
        let candidates = [
            Candidate { freshness: 0.5, ..candidate("stale", &nearer) },
            Candidate { freshness: 0.0, ..candidate("gone", &nearer) },
            Candidate { latency: milli(90), ..candidate("a-slow", &near) },
            Candidate { latency: milli(9), ..candidate("fast", &near) },
            candidate("b-unknown", &near),
            candidate("a-unknown", &near),
        ];
        assert_eq!(nodes(&route(&QUERY, &candidates, 9)), ["fast", "a-slow", "a-unknown", "b-unknown", "stale"]);
    }

    #[test]
    fn any_candidates_are_chosen_from_as_the_rules_say_in_whatever_order_they_come() {
        for seed in 0..300 {
            let mut dice = Dice(seed);
            let count = dice.below(20);
            let drawn: Vec<(String, Vec<Vec<f32>>, f64)> = (0..count)
                .map(|number| {
                    let centroids = (0..dice.below(4)).map(|_| dice.vector(3)).collect();
                    (format!("n{number}"), centroids, [0.0, 0.4, 1.0][dice.below(3)])
                })
                .collect();
            let mut candidates: Vec<Candidate<'_>> = drawn
                .iter()
                .map(|(node, centroids, freshness)| Candidate { freshness: *freshness, ..candidate(node, centroids) })
                .collect();
            let (query, fanout) = (dice.vector(3), dice.below(8));
            let choices = route(&query, &candidates, fanout);
            candidates.reverse();
            assert_eq!(route(&query, &candidates, fanout), choices, "seed {seed}");
            let there: Vec<_> = candidates.iter().filter(|candidate| candidate.freshness > 0.0).collect();
            let near = there.iter().filter(|one| score(&query, one.centroids) >= SCORE_MIN).count();
            assert_eq!(choices.len(), near.max(NODES_MIN).min(fanout).min(there.len()), "seed {seed}");
            let far = choices.iter().filter(|choice| choice.score < SCORE_MIN).count();
            assert!(far == 0 || near < NODES_MIN && far <= NODES_MIN - near, "seed {seed}");
        }
    }

    #[test]
    fn numbers_that_are_none_choose_nobody_by_chance() {
        let bad = [vec![vec![f32::NAN, 1.0]], vec![vec![f32::INFINITY, 0.0]], vec![vec![]], vec![vec![0.0, 0.0]]];
        for centroids in &bad {
            assert_eq!(route(&QUERY, &[candidate("a", centroids)], 9)[0].score, SCORE_MIN);
        }
        assert_eq!(route(&[], &[candidate("a", &off(0.0))], 9).len(), 1);
        assert_eq!(distance(&[1e38, 1e38], &[1e38, 1e38]), Some(0.0), "no overflow");
    }
}
