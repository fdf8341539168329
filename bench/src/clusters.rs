//! Vectors to measure with. They are seeded: clusters within clusters, of fewer directions than numbers, as those of texts
//! are.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Numbers of each vector.
pub(crate) const DIMENSION: usize = 256;

/// Where vectors come from: each near one of many centres, which are near one of few; the differences have fewer
/// directions than there are numbers, and a little of all.
pub(crate) struct Clusters {
    random: StdRng,
    centres: Vec<f32>,
    directions: Vec<f32>,
}

/// Centres, those that they are near, and directions in which vectors differ from their centre.
const CENTRES: usize = 2048;
const REGIONS: usize = 64;
const DIRECTIONS: usize = 24;

impl Clusters {
    pub(crate) fn new() -> Self {
        let mut random = StdRng::seed_from_u64(7);
        let regions = gaussian(&mut random, REGIONS * DIMENSION);
        let mut centres = gaussian(&mut random, CENTRES * DIMENSION);
        for (number, centre) in centres.chunks_mut(DIMENSION).enumerate() {
            let region = &regions[number % REGIONS * DIMENSION..][..DIMENSION];
            centre.iter_mut().zip(region).for_each(|(own, region)| *own = 0.6 * *own + region);
        }
        let directions = gaussian(&mut random, DIRECTIONS * DIMENSION);
        Self { random, centres, directions }
    }

    /// So many unit vectors.
    pub(crate) fn draw(&mut self, count: usize) -> Vec<f32> {
        let mut all = Vec::with_capacity(count * DIMENSION);
        for _ in 0..count {
            let centre = self.random.random_range(0..CENTRES);
            self.near(centre, &mut all);
        }
        all
    }

    /// So many unit vectors of one of so many parts, at most [`REGIONS`], which have no region in common.
    pub(crate) fn draw_of(&mut self, (part, parts): (usize, usize), count: usize) -> Vec<f32> {
        let mut all = Vec::with_capacity(count * DIMENSION);
        for _ in 0..count {
            let region = part + parts * self.random.random_range(0..(REGIONS - part).div_ceil(parts));
            let centre = region + REGIONS * self.random.random_range(0..CENTRES / REGIONS);
            self.near(centre, &mut all);
        }
        all
    }

    /// Adds a unit vector near that centre.
    fn near(&mut self, centre: usize, all: &mut Vec<f32>) {
        let mut vector: Vec<f32> = self.centres[centre * DIMENSION..][..DIMENSION].to_vec();
        let along = gaussian(&mut self.random, DIRECTIONS);
        for (length, direction) in along.iter().zip(self.directions.chunks(DIMENSION)) {
            vector.iter_mut().zip(direction).for_each(|(own, other)| *own += 0.12 * length * other);
        }
        let noise = gaussian(&mut self.random, DIMENSION);
        vector.iter_mut().zip(noise).for_each(|(own, noise)| *own += 0.1 * noise);
        let length = similarity(&vector, &vector).sqrt();
        all.extend(vector.iter().map(|number| number / length));
    }
}

/// Numbers of the normal distribution (Box and Muller).
fn gaussian(random: &mut StdRng, count: usize) -> Vec<f32> {
    let pair = |random: &mut StdRng| {
        let (one, two): (f32, f32) = (random.random_range(f32::MIN_POSITIVE..1.0), random.random());
        let (length, angle) = ((-2.0 * one.ln()).sqrt(), std::f32::consts::TAU * two);
        [length * angle.cos(), length * angle.sin()]
    };
    let mut all: Vec<f32> = (0..count.div_ceil(2)).flat_map(|_| pair(random)).collect();
    all.truncate(count);
    all
}

/// The inner product, in lanes that the compiler makes vectors of.
pub(crate) fn similarity(one: &[f32], other: &[f32]) -> f32 {
    let mut sums = [0.0f32; 16];
    for (one, other) in one.chunks_exact(16).zip(other.chunks_exact(16)) {
        for (sum, (one, other)) in sums.iter_mut().zip(one.iter().zip(other)) {
            *sum += one * other;
        }
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_drawn_of_one_part_lies_nearer_to_that_part_than_to_the_others() {
        const PARTS: usize = 9;
        let mut source = Clusters::new();
        let parts: Vec<Vec<f32>> = (0..PARTS).map(|part| source.draw_of((part, PARTS), 200)).collect();
        for part in 0..PARTS {
            let drawn = source.draw_of((part, PARTS), 1);
            assert!((similarity(&drawn, &drawn) - 1.0).abs() < 1e-4);
            let nearest = |vectors: &Vec<f32>| {
                vectors.chunks(DIMENSION).map(|vector| similarity(&drawn, vector)).fold(-1.0, f32::max)
            };
            let best = (0..PARTS).max_by(|one, other| nearest(&parts[*one]).total_cmp(&nearest(&parts[*other])));
            assert_eq!(best, Some(part));
        }
    }
}
