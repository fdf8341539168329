//! What is relied on: nearly all of the nearest are found, nothing removed is, whatever passes a filter is, and a
//! file is the graph it was written from or is refused.

mod damage;
mod walk;

use crate::graph::level;
use crate::kernel::Kernel;
use crate::rows::Wide;
use crate::{Found, Graph, Plan, Scratch, Shelf};

const DIMENSION: usize = 64;

/// Numbers that look drawn, the same each time (splitmix64).
struct Draw(u64);

impl Draw {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.number() % end as u64) as usize
    }

    /// About normal: twelve drawn evenly.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.number() as f32 / u64::MAX as f32).sum::<f32>() - 6.0
    }

    fn vector(&mut self, dimension: usize) -> Vec<f32> {
        (0..dimension).map(|_| self.normal()).collect()
    }

    /// Unit vectors in clusters within clusters.
    fn clustered(&mut self, count: usize, dimension: usize) -> Vec<Vec<f32>> {
        let outer: Vec<_> = (0..8).map(|_| self.vector(dimension)).collect();
        let inner: Vec<_> = (0..128).map(|at| self.near(&outer[at % 8], 0.6)).collect();
        (0..count)
            .map(|_| {
                let at = self.below(128);
                unit(self.near(&inner[at], 0.4))
            })
            .collect()
    }

    fn near(&mut self, centre: &[f32], width: f32) -> Vec<f32> {
        centre.iter().map(|number| number + width * self.normal()).collect()
    }
}

fn unit(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    vector.iter_mut().for_each(|number| *number /= length);
    vector
}

fn product(one: &[f32], other: &[f32]) -> f32 {
    one.iter().zip(other).map(|(x, y)| x * y).sum()
}

fn linked(graph: &mut Graph, scratch: &mut Scratch) {
    while let Some(plan) = graph.plan(scratch) {
        graph.link(plan);
    }
    assert_eq!(graph.waiting(), 0);
}

/// A graph of these at the places of their order, all linked.
fn graph_of(vectors: &[Vec<f32>], scratch: &mut Scratch) -> Graph {
    let mut graph = Graph::new(vectors[0].len());
    for (place, vector) in vectors.iter().enumerate() {
        graph.put(place as u32, vector);
    }
    linked(&mut graph, scratch);
    graph
}

/// What the links lead to, with no comparing with all, which small graphs are searched by.
fn walked(graph: &Graph, query: &[f32], effort: usize, scratch: &mut Scratch) -> Vec<u32> {
    let mut wide = Wide::default();
    wide.set(query);
    graph.descend(&wide, 0, scratch);
    graph.walk(&wide, 0, effort, |place| graph.is_linked(place), scratch);
    scratch.pool.counted().map(|(_, place)| place).collect()
}

fn places(found: &[Found]) -> Vec<u32> {
    found.iter().map(|found| found.place).collect()
}

/// The ten nearest among some places.
fn nearest(vectors: &[Vec<f32>], query: &[f32], among: impl Fn(u32) -> bool) -> Vec<u32> {
    let mut all: Vec<(f32, u32)> = (0..vectors.len() as u32)
        .filter(|place| among(*place))
        .map(|place| (product(&vectors[place as usize], query), place))
        .collect();
    all.sort_by(|one, other| other.0.total_cmp(&one.0));
    all.truncate(10);
    all.into_iter().map(|(_, place)| place).collect()
}

/// Which part of the ten nearest is among three times as many that the links lead to.
fn recall(graph: &Graph, vectors: &[Vec<f32>], queries: &[Vec<f32>], scratch: &mut Scratch) -> f32 {
    let mut hits = 0;
    for query in queries {
        let mut found = walked(graph, query, 128, scratch);
        found.truncate(30);
        found.sort_by(|one, other| {
            let [one, other] = [one, other].map(|place| product(&vectors[*place as usize], query));
            other.total_cmp(&one)
        });
        let nearest = nearest(vectors, query, |place| graph.contains(place));
        hits += found.iter().take(10).filter(|place| nearest.contains(place)).count();
    }
    hits as f32 / (queries.len() * 10) as f32
}

#[test]
fn nearly_all_of_the_ten_nearest_of_ten_thousand_are_found() {
    let mut draw = Draw(1);
    let mut vectors = draw.clustered(10_100, 256);
    let queries = vectors.split_off(10_000);
    let mut scratch = Scratch::new();
    let graph = graph_of(&vectors, &mut scratch);
    let recall = recall(&graph, &vectors, &queries, &mut scratch);
    assert!(recall >= 0.98, "recall {recall}");
}

#[test]
fn after_half_are_removed_and_others_put_in_their_places_no_removed_one_is_found_and_nearly_all_others_are() {
    let mut draw = Draw(2);
    let mut vectors = draw.clustered(10_100, DIMENSION);
    let queries = vectors.split_off(10_000);
    let mut others = vectors.split_off(5_000);
    let mut scratch = Scratch::new();
    let mut graph = graph_of(&vectors, &mut scratch);
    let removed = |place: u32| place.is_multiple_of(2);
    for place in (0..5_000).filter(|place| removed(*place)) {
        assert!(graph.remove(place) && !graph.remove(place));
        assert!(graph.is_unlinking(place));
    }
    let check = |graph: &Graph, scratch: &mut Scratch| {
        for query in &queries {
            let found = graph.search(query, 10, 64, None, scratch);
            assert!(found.len() == 10 && found.iter().all(|found| !removed(found.place)));
        }
    };
    check(&graph, &mut scratch);
    linked(&mut graph, &mut scratch);
    check(&graph, &mut scratch);
    assert_eq!(graph.live(), 2_500);
    let kept = recall(&graph, &vectors, &queries, &mut scratch);
    assert!(kept >= 0.98, "recall {kept} of those that stayed");
    for expected in (0..5_000).filter(|place| removed(*place)) {
        let place = graph.place(&|_| false);
        assert_eq!(place, expected);
        vectors[place as usize] = others.pop().unwrap();
        graph.put(place, &vectors[place as usize]);
    }
    linked(&mut graph, &mut scratch);
    assert_eq!(graph.live(), 5_000);
    let all = recall(&graph, &vectors, &queries, &mut scratch);
    assert!(all >= 0.98, "recall {all} of those that stayed and came");
}

#[test]
fn whatever_share_passes_a_filter_as_many_as_wanted_are_found_and_of_three_all() {
    let mut draw = Draw(3);
    let mut vectors = draw.clustered(10_020, DIMENSION);
    let queries = vectors.split_off(10_000);
    let mut scratch = Scratch::new();
    let graph = graph_of(&vectors, &mut scratch);
    for share in [2, 5, 20, 500, 3_400] {
        let passes = |place: u32| (place as usize).is_multiple_of(share);
        let there = (0..10_000).filter(|place| passes(*place)).count();
        let mut hits = 0;
        for query in &queries {
            let found = places(&graph.search(query, 10, 128, Some(&passes), &mut scratch));
            assert!(found.len() == there.min(10) && found.iter().all(|place| passes(*place)));
            let nearest = nearest(&vectors, query, passes);
            hits += found.iter().filter(|place| nearest.contains(place)).count();
        }
        // Without the exact vectors the order at the end of the ten is not certain.
        assert!(hits * 100 >= queries.len() * there.min(10) * 93, "{hits} hits where one in {share} passes");
    }
    // One of the clusters, far from the query: the walk meets none of it by the way.
    let far = |place: u32| product(&vectors[place as usize], &queries[0]) < -0.1;
    let there = (0..10_000).filter(|place| far(*place)).count();
    assert_eq!(graph.search(&queries[0], 10, 32, Some(&far), &mut scratch).len(), there.min(10));
}

#[test]
fn points_that_wait_are_found_and_searches_go_on_between_plan_and_link() {
    let mut draw = Draw(4);
    let vectors = draw.clustered(600, DIMENSION);
    let mut scratch = Scratch::new();
    let mut graph = graph_of(&vectors[..300], &mut scratch);
    for place in 300..600 {
        graph.put(place, &vectors[place as usize]);
    }
    assert_eq!(graph.waiting(), 300);
    let mut searching = Scratch::new();
    let mut at = 0;
    while let Some(plan) = graph.plan(&mut scratch) {
        for place in [at % 600, 599 - at % 300] {
            let found = graph.search(&vectors[place], 2, 16, None, &mut searching);
            assert_eq!(found[0].place, place as u32);
            assert!((found[0].similarity - 1.0).abs() < 0.005 && found[1].place != found[0].place);
        }
        graph.link(plan);
        at += 7;
    }
    assert_eq!((graph.waiting(), graph.live()), (0, 600));
}

#[test]
fn a_plan_for_a_point_that_was_removed_meanwhile_links_nothing() {
    let mut scratch = Scratch::new();
    let mut graph = graph_of(&Draw(5).clustered(100, DIMENSION), &mut scratch);
    let new = Draw(6).clustered(2, DIMENSION);
    graph.put(100, &new[0]);
    let plan: Plan = graph.plan(&mut scratch).unwrap();
    assert!(graph.remove(100) && !graph.is_unlinking(100));
    graph.put(100, &new[1]);
    graph.link(plan);
    assert_eq!(graph.waiting(), 1);
    linked(&mut graph, &mut scratch);
    assert_eq!(graph.search(&new[1], 1, 16, None, &mut scratch)[0].place, 100);
    // A plan that links to a point removed meanwhile leaves that link out.
    graph.put(101, &new[1]);
    let plan = graph.plan(&mut scratch).unwrap();
    assert!(graph.remove(100));
    graph.link(plan);
    assert!(!graph.links(0, 101).contains(&100));
    linked(&mut graph, &mut scratch);
    assert!(!graph.is_unlinking(100));
}

#[test]
fn a_thousand_equal_vectors_hide_neither_one_another_nor_what_lies_behind_them() {
    let mut draw = Draw(7);
    let mut vectors = draw.clustered(1_050, DIMENSION);
    let queries = vectors.split_off(1_000);
    let equal = vectors[0].clone();
    // The copies come first, last and in between.
    let all: Vec<_> = vectors.iter().flat_map(|vector| [equal.clone(), vector.clone()]).collect();
    let mut scratch = Scratch::new();
    let mut graph = graph_of(&all, &mut scratch);
    for place in 0..2_000 {
        let copies = graph.links(0, place).iter().filter(|link| all[**link as usize] == all[place as usize]);
        assert!(copies.count() <= 2);
    }
    let recall_of = |graph: &Graph, scratch: &mut Scratch| recall(graph, &all, &queries, scratch);
    assert!(recall_of(&graph, &mut scratch) >= 0.9);
    assert!(graph.search(&equal, 30, 64, None, &mut scratch).iter().all(|found| all[found.place as usize] == equal));
    for place in (0..2_000).step_by(2).filter(|place| place % 250 != 0) {
        graph.remove(place);
    }
    linked(&mut graph, &mut scratch);
    let found = places(&graph.search(&equal, 9, 64, None, &mut scratch));
    assert!((0..2_000).step_by(250).all(|place| found.contains(&place)) && found.contains(&1));
    assert!(recall_of(&graph, &mut scratch) >= 0.98);
}

#[test]
fn with_every_point_removed_the_graph_is_empty_and_can_be_filled_again() {
    let vectors = Draw(8).clustered(300, DIMENSION);
    let mut scratch = Scratch::new();
    let mut graph = graph_of(&vectors, &mut scratch);
    for place in 0..300 {
        graph.remove(place);
    }
    assert!(graph.search(&vectors[0], 10, 64, None, &mut scratch).is_empty());
    graph.put(300, &vectors[1]);
    linked(&mut graph, &mut scratch);
    assert!((0..300).all(|place| !graph.is_unlinking(place)));
    assert_eq!((graph.live(), graph.place(&|place| place < 7)), (1, 7));
    for (place, vector) in vectors.iter().enumerate() {
        graph.put(place as u32, vector);
    }
    linked(&mut graph, &mut scratch);
    assert_eq!(graph.search(&vectors[9], 1, 16, None, &mut scratch)[0].place, 9);
}

#[test]
fn a_vector_that_has_no_direction_is_similar_to_nothing_and_does_no_harm() {
    let vectors = Draw(9).clustered(200, 3);
    let mut scratch = Scratch::new();
    let mut graph = graph_of(&vectors, &mut scratch);
    let odd = [[0.0; 3], [f32::NAN, 1.0, 0.0], [f32::INFINITY, 0.0, 0.0], [f32::MIN_POSITIVE; 3]];
    for (place, vector) in odd.iter().enumerate() {
        graph.put(200 + place as u32, vector);
    }
    linked(&mut graph, &mut scratch);
    for query in &odd {
        assert_eq!(graph.search(query, 5, 16, None, &mut scratch).len(), 5);
    }
    assert_eq!(graph.search(&vectors[5], 204, 16, None, &mut scratch).len(), 204);
}

#[test]
fn similarities_are_the_same_numbers_on_every_machine() {
    let mut draw = Draw(11);
    for dimension in [1, 63, 64, 65, 256, 4_096] {
        let vectors: Vec<_> = (0..20).map(|_| draw.vector(dimension)).chain([vec![1.0; dimension]]).collect();
        let graph = graph_of(&vectors, &mut Scratch::new());
        let places: Vec<u32> = (0..21).collect();
        let (mut wide, mut here, mut plain) = (Wide::default(), Vec::new(), Vec::new());
        for (place, vector) in vectors.iter().enumerate() {
            wide.set(vector);
            graph.rows.kernel.similarities(&wide, &graph.rows, &places, &mut here);
            Kernel::Plain.similarities(&wide, &graph.rows, &places, &mut plain);
            assert_eq!(here, plain);
            assert!((here[place] - 1.0).abs() < 0.005, "{}", here[place]);
            let [above, below] = [1e-6, -1e-6].map(|by| {
                graph.rows.widen(place as u32, &mut wide);
                Kernel::Plain.similarities(&wide, &graph.rows, &places[20..], &mut plain);
                graph.rows.kernel.any_above(plain[0] + by, place as u32, &graph.rows, &[20])
            });
            assert!(below && !above);
        }
    }
}

#[test]
fn one_point_in_sixteen_is_on_the_next_layer() {
    let on = |layer: usize| (0..100_000).filter(|place| level(*place) >= layer).count();
    assert!((5_900..6_600).contains(&on(1)), "{}", on(1));
    assert!((330..460).contains(&on(2)), "{}", on(2));
}

#[test]
fn a_shelf_gives_back_what_was_put_and_refuses_another_dimension() {
    let folder = std::env::temp_dir().join(format!("comity-index-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("shelf");
    let vectors = Draw(10).clustered(1_000, 10);
    let rows: Vec<(u32, &[f32])> = (0..1_000).rev().map(|at| (at as u32 * 3 / 2, vectors[at].as_slice())).collect();
    let shelf = Shelf::open(&path, 10).unwrap();
    shelf.write(&rows).unwrap();
    shelf.sync().unwrap();
    drop(shelf);
    let shelf = Shelf::open(&path, 10).unwrap();
    let mut row = [0.0; 10];
    for (place, vector) in &rows {
        shelf.read(*place, &mut row).unwrap();
        assert_eq!(row, *vector);
    }
    let mut seen = Vec::new();
    shelf.read_many(&[1_498, 3, 0, 1, 3], |place, vector| seen.push((place, vector.to_vec()))).unwrap();
    let expected: Vec<_> = [0, 1, 3, 1_498].map(|place: u32| (place, vectors[at(place)].clone())).into();
    assert_eq!(seen, expected);
    assert_eq!(shelf.bytes().unwrap(), 4_096 + 1_499 * 40);
    assert!(shelf.read(1_499, &mut row).is_err() && shelf.write(&[(0, &[1.0])]).is_err());
    let refused = Shelf::open(&path, 11).unwrap_err().to_string();
    assert_eq!(refused, "the shelf's vectors have 10 numbers, not 11");
    std::fs::write(&path, b"something else").unwrap();
    assert!(Shelf::open(&path, 10).is_err());
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Which vector of the shelf's test is at a place.
fn at(place: u32) -> usize {
    (0..1_000).find(|at| at * 3 / 2 == place as usize).unwrap()
}
