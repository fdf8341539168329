//! A random walk of puts, removals, plans and links beside a plain list.

use super::{DIMENSION, Draw, product};
use crate::{Graph, Scratch};
use std::collections::BTreeMap;

#[test]
fn whatever_comes_and_goes_searches_find_what_a_plain_list_holds() {
    for seed in 0..40 {
        walk(seed);
    }
}

fn walk(seed: u64) {
    let mut draw = Draw(1_000 + seed);
    let vectors = draw.clustered(400, DIMENSION);
    let mut list: BTreeMap<u32, usize> = BTreeMap::new();
    let mut graph = Graph::new(DIMENSION);
    let mut scratch = Scratch::new();
    let mut kept = None;
    // Some walks grow, some shrink, some hardly link.
    let odds = [3 + draw.below(6), 2 + draw.below(6), 2 + draw.below(12), 1];
    for _ in 0..1_500 {
        let mut drawn = draw.below(odds.iter().sum());
        let action = odds.iter().position(|odd| {
            if drawn < *odd {
                true
            } else {
                drawn -= odd;
                false
            }
        });
        match action {
            Some(0) => {
                let place = graph.place(&|place| place % 11 == 3);
                assert!(place % 11 != 3 && !list.contains_key(&place));
                let vector = draw.below(vectors.len());
                graph.put(place, &vectors[vector]);
                list.insert(place, vector);
            }
            Some(1) => {
                let at = draw.below(list.len() + 1);
                if let Some(place) = list.keys().nth(at).copied() {
                    assert!(graph.remove(place));
                    list.remove(&place);
                }
            }
            Some(2) => match kept.take() {
                Some(plan) => graph.link(plan),
                None => kept = graph.plan(&mut scratch),
            },
            _ => check(&graph, &list, &vectors, &mut draw, &mut scratch, seed),
        }
    }
    super::linked(&mut graph, &mut scratch);
    check(&graph, &list, &vectors, &mut draw, &mut scratch, seed);
    // Whoever is linked can be found by the links alone.
    for (place, vector) in &list {
        let found = super::walked(&graph, &vectors[*vector], 64, &mut scratch);
        assert!(found.contains(place), "seed {seed}: {place} is lost");
    }
}

fn check(
    graph: &Graph,
    list: &BTreeMap<u32, usize>,
    vectors: &[Vec<f32>],
    draw: &mut Draw,
    scratch: &mut Scratch,
    seed: u64,
) {
    assert_eq!(graph.live(), list.len());
    let query = &vectors[draw.below(vectors.len())];
    let found = graph.search(query, 5, 128, None, scratch);
    assert_eq!(found.len(), list.len().min(5), "seed {seed}");
    let mut best: Vec<f32> = list.values().map(|vector| product(&vectors[*vector], query)).collect();
    best.sort_by(|one, other| other.total_cmp(one));
    let mut seen = Vec::new();
    for (found, best) in found.iter().zip(&best) {
        let exact = product(&vectors[list[&found.place]], query);
        assert!((exact - found.similarity).abs() < 0.01 && exact > best - 0.03, "seed {seed}: {exact} for {best}");
        assert!(!seen.contains(&found.place), "seed {seed}: {} is found twice", found.place);
        seen.push(found.place);
    }
    let even = |place: u32| place.is_multiple_of(2);
    let found = graph.search(query, 1_000, 16, Some(&even), scratch);
    assert_eq!(found.len(), list.keys().filter(|place| even(**place)).count(), "seed {seed}");
}
