//! What the tests of the registry draw by a seed: the same each time.

use super::profile::{NodeName, Registration, Told};
use crate::wire::federation::well_known::Endpoint;

/// A generator of numbers (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, most: usize) -> usize {
        (self.roll() % most.max(1) as u64) as usize
    }

    /// A number from 0 to 1.
    pub(crate) fn share(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A vector that points anywhere.
    pub(crate) fn vector(&mut self, dim: usize) -> Vec<f32> {
        (0..dim).map(|_| (0..4).map(|_| self.share() as f32 - 0.5).sum()).collect()
    }
}

/// A node of this name, as it could register.
pub(crate) fn node(name: &str) -> Registration {
    Registration {
        node: NodeName::new(name).unwrap(),
        service_name: "kernel".to_owned(),
        endpoint: Endpoint::read("https://127.0.0.1:8400/comity").unwrap(),
        capabilities: vec!["search".to_owned()],
        basin_signature: Vec::new(),
        centroids: Vec::new(),
        settings: Told::default(),
        key: None,
    }
}
