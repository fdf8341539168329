//! Where a node's documents lie: their mean direction, which is its `basin_signature`, and up to 16 centroids, kept
//! while documents come and go. It is a guide for routing, not an index. See "Basins" in `protocols/mesh.md`.
//!
//! Documents are gathered in cells by sequential k-means: a document goes to the nearest cell, unless two cells are so
//! near each other that joining them, and opening one for the document, costs less. The mean is exact; a document that
//! leaves is taken from the nearest cell, which need not be the one it went to.

use crate::basin::settings::Settings;
use sha2::{Digest, Sha256};

/// Most centroids of a node: what a registration carries, and what a query compares for each node.
pub const CENTROIDS_MAX: usize = 16;

/// How near to a centroid a document is no new place, as the square of the chord: an angle of 0.5, within which routing
/// sees little difference.
const NEAR: f64 = 0.25;

/// From how many documents on a cell weighs no more when cells are joined: else a topic that comes late would never
/// have a cell beside old ones of thousands.
const WEIGHT_MAX: f64 = 32.0;

/// A mean that is shorter than this, of points of length 1, has no direction that rounding did not give it.
const MEAN_MIN: f64 = 1e-6;

/// What the stored form begins with.
const MAGIC: &[u8; 4] = b"cbs1";

/// Bytes of the stored form's check.
const CHECK: usize = 8;

/// Where documents lie.
#[derive(Debug, Clone, PartialEq)]
pub struct Spread {
    settings: Settings,
    all: Cell,
    cells: Vec<Cell>,
    /// What joining two cells costs, by their places: `costs[i * CENTROIDS_MAX + j]` for i > j.
    costs: Vec<f64>,
}

/// Documents that lie together: how many, and the sum of their points.
#[derive(Debug, Clone, PartialEq)]
struct Cell {
    count: u64,
    sum: Vec<f64>,
}

/// A stored form that cannot be read; the spread is then made anew from the documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotASpread {
    /// It was cut or changed.
    #[error("the stored spread is damaged")]
    Damaged,
    /// It is of another dimension, projection or encoder.
    #[error("the stored spread is of other settings")]
    OtherSettings,
}

/// One centroid.
#[derive(Debug, Clone, PartialEq)]
pub struct Centroid {
    /// How many documents it stands for.
    pub count: u64,
    /// A point of the unit sphere.
    pub point: Vec<f32>,
}

impl Spread {
    /// No documents yet.
    pub fn new(settings: &Settings) -> Self {
        let all = Cell::empty(settings.dimension());
        Self { settings: settings.clone(), all, cells: Vec::new(), costs: vec![0.0; CENTROIDS_MAX * CENTROIDS_MAX] }
    }

    /// How many documents there are.
    pub fn count(&self) -> u64 {
        self.all.count
    }

    /// A document has come. What is no point of the mesh's dimension is passed over.
    pub fn add(&mut self, unit: &[f32]) {
        if unit.len() != self.settings.dimension() {
            return;
        }
        self.all.add(unit);
        let Some((nearest, apart)) = self.nearest(unit) else { return self.open(unit) };
        if apart <= NEAR {
            return self.put(nearest, unit);
        }
        if self.cells.len() < CENTROIDS_MAX {
            return self.open(unit);
        }
        let weight = self.cells[nearest].weight();
        match self.cheapest_pair() {
            Some((into, from, cost)) if cost < apart * weight / (weight + 1.0) => {
                self.join(into, from);
                self.open(unit);
            }
            _ => self.put(nearest, unit),
        }
    }

    /// A document has gone, which came with the same point.
    pub fn remove(&mut self, unit: &[f32]) {
        if unit.len() != self.settings.dimension() || self.all.count == 0 {
            return;
        }
        self.all.remove(unit);
        if self.all.count == 0 {
            // Nothing stays of rounding.
            *self = Self::new(&self.settings);
            return;
        }
        if let Some((nearest, _)) = self.nearest(unit) {
            self.cells[nearest].remove(unit);
            if self.cells[nearest].count == 0 {
                self.close(nearest);
            } else {
                self.weigh(nearest);
            }
        }
    }

    /// Counts what came as so many documents, of which it was a sample.
    pub fn stand_for(&mut self, count: u64) {
        if self.all.count == 0 || count <= self.all.count {
            return;
        }
        let share = count as f64 / self.all.count as f64;
        for cell in [&mut self.all].into_iter().chain(&mut self.cells) {
            cell.count = (cell.count as f64 * share).round() as u64;
            cell.sum.iter_mut().for_each(|sum| *sum *= share);
        }
        (0..self.cells.len()).for_each(|place| self.weigh(place));
    }

    /// The direction in which all documents lie on the whole; `None` when there are none, or they have none.
    pub fn signature(&self) -> Option<Vec<f32>> {
        self.all.point()
    }

    /// The centroids, those of most documents first.
    pub fn centroids(&self) -> Vec<Centroid> {
        let centroid = |cell: &Cell| cell.point().map(|point| Centroid { count: cell.count, point });
        let mut centroids: Vec<Centroid> = self.cells.iter().filter_map(centroid).collect();
        centroids.sort_by_key(|centroid| std::cmp::Reverse(centroid.count));
        centroids
    }

    /// The nearest cell, and the square of the distance of its mean.
    fn nearest(&self, unit: &[f32]) -> Option<(usize, f64)> {
        let apart = |(place, cell): (usize, &Cell)| (place, cell.apart(unit));
        self.cells.iter().enumerate().map(apart).min_by(|(_, one), (_, other)| one.total_cmp(other))
    }

    /// The two cells that are joined at the least cost.
    fn cheapest_pair(&self) -> Option<(usize, usize, f64)> {
        let pairs = (1..self.cells.len()).flat_map(|from| (0..from).map(move |into| (into, from)));
        pairs
            .map(|(into, from)| (into, from, self.costs[from * CENTROIDS_MAX + into]))
            .min_by(|(.., one), (.., other)| one.total_cmp(other))
    }

    fn put(&mut self, place: usize, unit: &[f32]) {
        self.cells[place].add(unit);
        self.weigh(place);
    }

    fn open(&mut self, unit: &[f32]) {
        let mut cell = Cell::empty(unit.len());
        cell.add(unit);
        self.cells.push(cell);
        self.weigh(self.cells.len() - 1);
    }

    fn join(&mut self, into: usize, from: usize) {
        let gone = self.cells[from].clone();
        let cell = &mut self.cells[into];
        cell.count += gone.count;
        cell.sum.iter_mut().zip(&gone.sum).for_each(|(sum, more)| *sum += more);
        self.close(from);
        self.weigh(into);
    }

    /// Takes a cell away; the last one takes its place.
    fn close(&mut self, place: usize) {
        self.cells.swap_remove(place);
        if place < self.cells.len() {
            self.weigh(place);
        }
    }

    /// What joining this cell with each other costs, anew: by Ward's criterion, how much farther all are from their mean.
    fn weigh(&mut self, place: usize) {
        for other in (0..self.cells.len()).filter(|other| *other != place) {
            let (one, two) = (&self.cells[place], &self.cells[other]);
            let (weight, other_weight) = (one.weight(), two.weight());
            let cost = one.apart_of(two) * weight * other_weight / (weight + other_weight);
            self.costs[place.max(other) * CENTROIDS_MAX + place.min(other)] = cost;
        }
    }

    /// The stored form: little-endian numbers, and a check of all of it.
    pub fn kept(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity((self.cells.len() + 1) * (8 + 8 * self.settings.dimension()) + 64);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&fingerprint(&self.settings));
        out.push(u8::try_from(self.cells.len()).expect("at most CENTROIDS_MAX"));
        for cell in [&self.all].into_iter().chain(&self.cells) {
            out.extend_from_slice(&cell.count.to_le_bytes());
            cell.sum.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        let check = Sha256::digest(&out);
        out.extend_from_slice(&check[..CHECK]);
        out
    }

    /// What was kept.
    ///
    /// # Errors
    /// [`NotASpread`] when it was damaged, or is of other settings.
    pub fn restore(settings: &Settings, kept: &[u8]) -> Result<Self, NotASpread> {
        let (content, check) = kept.split_last_chunk::<CHECK>().ok_or(NotASpread::Damaged)?;
        let rest = content.strip_prefix(MAGIC).ok_or(NotASpread::Damaged)?;
        if Sha256::digest(content)[..CHECK] != *check {
            return Err(NotASpread::Damaged);
        }
        let (print, rest) = rest.split_first_chunk::<CHECK>().ok_or(NotASpread::Damaged)?;
        if *print != fingerprint(settings) {
            return Err(NotASpread::OtherSettings);
        }
        let (cells, rest) = rest.split_first().ok_or(NotASpread::Damaged)?;
        let (numbers, odd) = rest.as_chunks::<8>();
        let length = settings.dimension() + 1;
        let cells = usize::from(*cells);
        if !odd.is_empty() || cells > CENTROIDS_MAX || numbers.len() != (cells + 1) * length {
            return Err(NotASpread::Damaged);
        }
        let mut read = numbers.chunks_exact(length).map(Cell::of);
        let all = read.next().flatten().ok_or(NotASpread::Damaged)?;
        let cells = read.collect::<Option<Vec<Cell>>>().ok_or(NotASpread::Damaged)?;
        let mut spread = Self { all, cells, ..Self::new(settings) };
        (0..spread.cells.len()).for_each(|place| spread.weigh(place));
        Ok(spread)
    }
}

/// By which settings are told apart in the stored form.
fn fingerprint(settings: &Settings) -> [u8; CHECK] {
    let text =
        format!("{} {} {} {}", settings.dimension(), settings.metric(), settings.projection(), settings.encoder());
    let mut print = [0; CHECK];
    print.copy_from_slice(&Sha256::digest(text)[..CHECK]);
    print
}

impl Cell {
    fn empty(dimension: usize) -> Self {
        Self { count: 0, sum: vec![0.0; dimension] }
    }

    fn of(numbers: &[[u8; 8]]) -> Option<Self> {
        let (count, sum) = numbers.split_first()?;
        let sum: Vec<f64> = sum.iter().map(|number| f64::from_le_bytes(*number)).collect();
        sum.iter().all(|number| number.is_finite()).then(|| Self { count: u64::from_le_bytes(*count), sum })
    }

    fn add(&mut self, unit: &[f32]) {
        self.count += 1;
        self.sum.iter_mut().zip(unit).for_each(|(sum, number)| *sum += f64::from(*number));
    }

    fn remove(&mut self, unit: &[f32]) {
        self.count = self.count.saturating_sub(1);
        self.sum.iter_mut().zip(unit).for_each(|(sum, number)| *sum -= f64::from(*number));
    }

    fn weight(&self) -> f64 {
        (self.count as f64).min(WEIGHT_MAX)
    }

    /// The square of the distance of a point from the mean.
    fn apart(&self, unit: &[f32]) -> f64 {
        let share = 1.0 / self.count.max(1) as f64;
        self.sum.iter().zip(unit).map(|(sum, number)| (sum * share - f64::from(*number)).powi(2)).sum()
    }

    /// The square of the distance of two means.
    fn apart_of(&self, other: &Self) -> f64 {
        let (share, other_share) = (1.0 / self.count.max(1) as f64, 1.0 / other.count.max(1) as f64);
        self.sum.iter().zip(&other.sum).map(|(one, two)| (one * share - two * other_share).powi(2)).sum()
    }

    /// The mean as a point of the unit sphere.
    fn point(&self) -> Option<Vec<f32>> {
        let length = self.sum.iter().map(|number| number.powi(2)).sum::<f64>().sqrt();
        let has_direction = self.count > 0 && length > MEAN_MIN * self.count as f64;
        has_direction.then(|| self.sum.iter().map(|number| (number / length) as f32).collect())
    }
}

#[cfg(test)]
mod tests;
