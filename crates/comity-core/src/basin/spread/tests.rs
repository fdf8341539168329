//! What a spread says of documents that come and go.

use super::*;
use crate::basin::settings::{Metric, Projection, distance};

const DIMENSION: usize = 32;

fn settings() -> Settings {
    Settings::new(DIMENSION, Metric::FisherRao, Projection::Sphere, "hash").expect("settings")
}

/// Numbers that look random, and are the same each time.
struct Draw(u64);

impl Draw {
    fn number(&mut self) -> f32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    fn point(&mut self) -> Vec<f32> {
        let numbers: Vec<f32> = (0..DIMENSION).map(|_| self.number()).collect();
        settings().unit(&numbers).expect("a point")
    }

    /// A point near another.
    fn near(&mut self, point: &[f32]) -> Vec<f32> {
        let numbers: Vec<f32> = point.iter().map(|number| number + 0.04 * self.number()).collect();
        settings().unit(&numbers).expect("a point")
    }
}

#[test]
fn without_documents_there_is_no_direction() {
    let mut spread = Spread::new(&settings());
    assert_eq!((spread.signature(), spread.centroids()), (None, Vec::new()));
    let point = Draw(1).point();
    let across: Vec<f32> = point.iter().map(|number| -number).collect();
    spread.add(&point);
    spread.add(&across);
    assert_eq!(spread.signature(), None);
    spread.remove(&across);
    assert!(distance(&spread.signature().expect("one"), &point) < 1e-3);
    spread.remove(&point);
    spread.remove(&point);
    assert_eq!(spread, Spread::new(&settings()));
}

#[test]
fn the_signature_is_that_of_the_documents_that_stayed() {
    let mut draw = Draw(7);
    let points: Vec<Vec<f32>> = (0..3000).map(|_| draw.point()).collect();
    let (mut spread, mut stayed) = (Spread::new(&settings()), Spread::new(&settings()));
    points.iter().for_each(|point| spread.add(point));
    for (place, point) in points.iter().enumerate().rev() {
        if place % 7 == 0 { stayed.add(point) } else { spread.remove(point) }
    }
    assert_eq!(spread.count(), stayed.count());
    let (one, other) = (spread.signature().expect("one"), stayed.signature().expect("one"));
    assert!(one.iter().zip(&other).all(|(one, other)| (one - other).abs() < 1e-6));
}

#[test]
fn each_topic_has_a_centroid_also_one_that_comes_late() {
    let mut draw = Draw(3);
    let topics: Vec<Vec<f32>> = (0..12).map(|_| draw.point()).collect();
    let mut spread = Spread::new(&settings());
    for topic in &topics {
        (0..500).for_each(|_| spread.add(&draw.near(topic)));
    }
    let centroids = spread.centroids();
    assert!(centroids.len() <= CENTROIDS_MAX);
    for topic in &topics {
        assert!(centroids.iter().any(|centroid| distance(&centroid.point, topic) < 0.1));
    }
    let counted: u64 = centroids.iter().map(|centroid| centroid.count).sum();
    assert_eq!(counted, 6000);
}

#[test]
fn many_documents_without_topics_stay_within_sixteen_centroids() {
    let mut draw = Draw(5);
    let mut spread = Spread::new(&settings());
    let points: Vec<Vec<f32>> = (0..4000).map(|_| draw.point()).collect();
    points.iter().for_each(|point| spread.add(point));
    let centroids = spread.centroids();
    assert_eq!(centroids.len(), CENTROIDS_MAX);
    assert!(centroids[0].count < 2000, "one cell took them all: {}", centroids[0].count);
    points.iter().for_each(|point| spread.remove(point));
    assert_eq!(spread, Spread::new(&settings()));
}

#[test]
fn a_topic_whose_documents_go_has_no_centroid_any_more() {
    let mut draw = Draw(9);
    let (stays, goes) = (draw.point(), draw.point());
    let gone: Vec<Vec<f32>> = (0..200).map(|_| draw.near(&goes)).collect();
    let mut spread = Spread::new(&settings());
    gone.iter().for_each(|point| spread.add(point));
    (0..200).for_each(|_| spread.add(&draw.near(&stays)));
    gone.iter().for_each(|point| spread.remove(point));
    let centroids = spread.centroids();
    assert_eq!((centroids.len(), centroids[0].count), (1, 200));
    assert!(distance(&centroids[0].point, &stays) < 0.1);
}

#[test]
fn what_was_kept_is_restored_and_goes_on_alike() {
    let mut draw = Draw(11);
    let mut spread = Spread::new(&settings());
    (0..1000).for_each(|_| spread.add(&draw.point()));
    let mut restored = Spread::restore(&settings(), &spread.kept()).expect("kept");
    let more: Vec<Vec<f32>> = (0..100).map(|_| draw.point()).collect();
    more.iter().for_each(|point| spread.add(point));
    more.iter().for_each(|point| restored.add(point));
    assert_eq!(restored.kept(), spread.kept());
    let empty = Spread::new(&settings());
    assert_eq!(Spread::restore(&settings(), &empty.kept()), Ok(empty));
}

#[test]
fn what_is_damaged_or_of_other_settings_is_not_restored() {
    let mut spread = Spread::new(&settings());
    spread.add(&Draw(2).point());
    let kept = spread.kept();
    for end in 0..kept.len() {
        assert_eq!(Spread::restore(&settings(), &kept[..end]), Err(NotASpread::Damaged), "cut at {end}");
    }
    for at in 0..kept.len() {
        let mut changed = kept.clone();
        changed[at] ^= 1;
        assert_eq!(Spread::restore(&settings(), &changed), Err(NotASpread::Damaged), "byte {at}");
    }
    assert_eq!(Spread::restore(&Settings::default(), &kept), Err(NotASpread::OtherSettings));
}

#[test]
fn a_sample_stands_for_all_it_was_taken_of() {
    let mut draw = Draw(11);
    let (one, other) = (draw.point(), draw.point());
    let points: Vec<Vec<f32>> =
        (0..4000).map(|place| if place % 4 == 0 { draw.near(&other) } else { draw.near(&one) }).collect();
    let (mut whole, mut sample) = (Spread::new(&settings()), Spread::new(&settings()));
    points.iter().for_each(|point| whole.add(point));
    points.iter().step_by(7).for_each(|point| sample.add(point));
    sample.stand_for(4000);
    assert_eq!(sample.count(), 4000);
    let [all, some] = [&whole, &sample].map(|spread| (spread.signature().expect("one"), spread.centroids()));
    assert!(distance(&all.0, &some.0) < 0.05);
    assert!(
        (some.1[0].count as f64 / all.1[0].count as f64 - 1.0).abs() < 0.1,
        "{} {}",
        some.1[0].count,
        all.1[0].count
    );
    points.iter().for_each(|point| sample.remove(point));
    assert_eq!(sample.signature(), None);
}
