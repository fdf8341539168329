//! What all nodes of a mesh share: how many numbers a vector has, how it becomes a point on the unit sphere, how far
//! two points are from each other, and who made vectors of text. See "Basins" in `protocols/mesh.md`.

use std::f64::consts::{FRAC_PI_2, PI};
use std::fmt;
use std::str::FromStr;

/// Most numbers of a vector: more than any common embedding has, and 16 KiB of memory for each.
pub const DIMENSION_MAX: usize = 4096;

/// Numbers of a vector where nothing else is said.
pub const DIMENSION: usize = 256;

/// The encoder where nothing else is said: the one that needs no model.
pub const ENCODER: &str = "hash";

/// Longest name of an encoder, bytes: that of a model, with room.
pub const ENCODER_MAX: usize = 128;

/// How the distance of two points is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Metric {
    /// The geodesic distance on the unit sphere, in radians.
    #[default]
    FisherRao,
}

/// How a vector becomes a point on the unit sphere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Projection {
    /// u = x / |x|.
    #[default]
    Sphere,
    /// x is a distribution: u = sqrt(x / sum x).
    Simplex,
}

/// What a mesh agrees on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    dimension: usize,
    metric: Metric,
    projection: Projection,
    encoder: Box<str>,
}

/// One of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// How many numbers a vector has.
    Dimension,
    /// How distance is measured.
    Metric,
    /// How a vector becomes a point.
    Projection,
    /// Who makes vectors of text.
    Encoder,
}

/// Settings that no mesh has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The dimension is 0 or beyond [`DIMENSION_MAX`].
    #[error("dim: a whole number from 1 to {DIMENSION_MAX} is wanted")]
    Dimension,
    /// No metric goes by this name.
    #[error("metric: `fisher-rao` is wanted")]
    Metric,
    /// No projection goes by this name.
    #[error("projection: `sphere` or `simplex` is wanted")]
    Projection,
    /// The encoder's name is empty, too long, or not printable ASCII without spaces.
    #[error("encoder: 1 to {ENCODER_MAX} printable ASCII characters without spaces are wanted")]
    Encoder,
}

/// Why a vector is no point of this mesh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VectorError {
    /// It has more or fewer numbers than the mesh says.
    #[error("{wanted} numbers are wanted, and there are {found}")]
    Dimension {
        /// How many the mesh has.
        wanted: usize,
        /// How many there are.
        found: usize,
    },
    /// A number is infinite or none.
    #[error("number {index} is not finite")]
    NotFinite {
        /// Which one, from 0.
        index: usize,
    },
    /// A distribution has a negative entry.
    #[error("number {index} is negative, which no distribution has")]
    Negative {
        /// Which one, from 0.
        index: usize,
    },
    /// All numbers are zero: it points nowhere.
    #[error("all numbers are zero")]
    Zero,
}

impl VectorError {
    /// The number at fault, where it is one.
    pub fn index(self) -> Option<usize> {
        match self {
            Self::NotFinite { index } | Self::Negative { index } => Some(index),
            Self::Dimension { .. } | Self::Zero => None,
        }
    }
}

impl Metric {
    /// The name on the wire and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::FisherRao => "fisher-rao",
        }
    }
}

impl FromStr for Metric {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        if text == Self::FisherRao.name() { Ok(Self::FisherRao) } else { Err(SettingsError::Metric) }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Projection {
    /// The name on the wire and in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sphere => "sphere",
            Self::Simplex => "simplex",
        }
    }

    /// The farthest that two points can be apart, radians.
    pub fn distance_max(self) -> f64 {
        match self {
            Self::Sphere => PI,
            Self::Simplex => FRAC_PI_2,
        }
    }
}

impl FromStr for Projection {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        [Self::Sphere, Self::Simplex].into_iter().find(|one| one.name() == text).ok_or(SettingsError::Projection)
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Field {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dimension => "dim",
            Self::Metric => "metric",
            Self::Projection => "projection",
            Self::Encoder => "encoder",
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl Default for Settings {
    fn default() -> Self {
        let (metric, projection) = (Metric::default(), Projection::default());
        Self { dimension: DIMENSION, metric, projection, encoder: ENCODER.into() }
    }
}

impl Settings {
    /// Settings of a mesh.
    ///
    /// # Errors
    /// [`SettingsError`] names the one at fault.
    pub fn new(dimension: usize, metric: Metric, projection: Projection, encoder: &str) -> Result<Self, SettingsError> {
        if !(1..=DIMENSION_MAX).contains(&dimension) {
            return Err(SettingsError::Dimension);
        }
        if !is_encoder(encoder) {
            return Err(SettingsError::Encoder);
        }
        Ok(Self { dimension, metric, projection, encoder: encoder.into() })
    }

    /// How many numbers a vector has.
    pub fn dimension(&self) -> usize {
        self.dimension
    }

    /// How distance is measured.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// How a vector becomes a point.
    pub fn projection(&self) -> Projection {
        self.projection
    }

    /// Who makes vectors of text.
    pub fn encoder(&self) -> &str {
        &self.encoder
    }

    /// The first setting in which another mesh differs from this one.
    pub fn differs(&self, other: &Self) -> Option<Field> {
        [
            (self.dimension != other.dimension, Field::Dimension),
            (self.metric != other.metric, Field::Metric),
            (self.projection != other.projection, Field::Projection),
            (self.encoder != other.encoder, Field::Encoder),
        ]
        .into_iter()
        .find_map(|(differs, field)| differs.then_some(field))
    }

    /// The point on the unit sphere that these numbers are.
    ///
    /// # Errors
    /// [`VectorError`] says what is wrong, and with which number.
    pub fn unit(&self, numbers: &[f32]) -> Result<Vec<f32>, VectorError> {
        let size = self.size(numbers)?;
        let unit = |number: &f32| match self.projection {
            Projection::Sphere => (f64::from(*number) / size) as f32,
            Projection::Simplex => (f64::from(*number) / size).sqrt() as f32,
        };
        Ok(numbers.iter().map(unit).collect())
    }

    /// Whether these numbers are a point, without making it.
    ///
    /// # Errors
    /// [`VectorError`] says what is wrong, and with which number.
    pub fn check(&self, numbers: &[f32]) -> Result<(), VectorError> {
        self.size(numbers).map(|_| ())
    }

    /// What the numbers are divided by: their length, or their sum. In doubles neither overflows, nor becomes zero while
    /// a number is not.
    fn size(&self, numbers: &[f32]) -> Result<f64, VectorError> {
        if numbers.len() != self.dimension {
            return Err(VectorError::Dimension { wanted: self.dimension, found: numbers.len() });
        }
        if let Some(index) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(VectorError::NotFinite { index });
        }
        let size = match self.projection {
            Projection::Sphere => numbers.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt(),
            Projection::Simplex => {
                if let Some(index) = numbers.iter().position(|number| *number < 0.0) {
                    return Err(VectorError::Negative { index });
                }
                numbers.iter().map(|number| f64::from(*number)).sum()
            }
        };
        if size > 0.0 { Ok(size) } else { Err(VectorError::Zero) }
    }

    /// The farthest that two points can be apart, radians.
    pub fn distance_max(&self) -> f64 {
        self.projection.distance_max()
    }
}

/// The distance of two points of the unit sphere, radians.
pub fn distance(one: &[f32], other: &[f32]) -> f64 {
    distance_of(similarity(one, other))
}

/// The inner product of two points, which orders as the distance does, the other way round.
pub fn similarity(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(one, other)| f64::from(*one) * f64::from(*other)).sum()
}

/// The distance that belongs to an inner product, radians. What is no number is as far as can be.
pub fn distance_of(similarity: f64) -> f64 {
    if similarity.is_nan() { PI } else { similarity.clamp(-1.0, 1.0).acos() }
}

/// Whether a text can be the name of an encoder.
pub(crate) fn is_encoder(text: &str) -> bool {
    (1..=ENCODER_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(dimension: usize, projection: Projection) -> Settings {
        Settings::new(dimension, Metric::FisherRao, projection, "hash").expect("settings")
    }

    #[test]
    fn the_first_setting_that_differs_is_named() {
        let ours = Settings::default();
        assert_eq!(ours.differs(&ours), None);
        let others = [
            (settings(128, Projection::Sphere), Field::Dimension),
            (settings(256, Projection::Simplex), Field::Projection),
            (Settings::new(256, Metric::FisherRao, Projection::Sphere, "m:x").expect("settings"), Field::Encoder),
        ];
        for (other, field) in others {
            assert_eq!(ours.differs(&other), Some(field));
            assert_eq!(other.differs(&ours), Some(field));
        }
    }

    #[test]
    fn settings_that_no_mesh_has_are_refused_by_name() {
        let new = |dimension, encoder: &str| Settings::new(dimension, Metric::FisherRao, Projection::Sphere, encoder);
        assert_eq!(new(0, "hash"), Err(SettingsError::Dimension));
        assert_eq!(new(DIMENSION_MAX + 1, "hash"), Err(SettingsError::Dimension));
        assert!(new(1, "hash").is_ok() && new(DIMENSION_MAX, &"e".repeat(ENCODER_MAX)).is_ok());
        for encoder in ["", "a b", "a\n", "ä", &"e".repeat(ENCODER_MAX + 1)] {
            assert_eq!(new(1, encoder), Err(SettingsError::Encoder), "{encoder}");
        }
        assert_eq!("cosine".parse::<Metric>(), Err(SettingsError::Metric));
        assert_eq!("Sphere".parse::<Projection>(), Err(SettingsError::Projection));
        assert_eq!("simplex".parse(), Ok(Projection::Simplex));
    }

    #[test]
    fn every_fault_of_a_vector_has_its_own_error() {
        let sphere = settings(3, Projection::Sphere);
        assert_eq!(sphere.unit(&[1.0, 2.0]), Err(VectorError::Dimension { wanted: 3, found: 2 }));
        assert_eq!(sphere.unit(&[1.0, 2.0, f32::NAN]), Err(VectorError::NotFinite { index: 2 }));
        assert_eq!(sphere.unit(&[1.0, f32::NEG_INFINITY, 0.0]), Err(VectorError::NotFinite { index: 1 }));
        assert_eq!(sphere.unit(&[0.0, -0.0, 0.0]), Err(VectorError::Zero));
        let simplex = settings(3, Projection::Simplex);
        assert_eq!(simplex.unit(&[1.0, -0.5, 0.0]), Err(VectorError::Negative { index: 1 }));
        assert_eq!(simplex.unit(&[0.0; 3]), Err(VectorError::Zero));
        assert_eq!(sphere.check(&[0.0, 1.0, 0.0]), Ok(()));
    }

    #[test]
    fn the_largest_and_the_smallest_numbers_become_points() {
        let sphere = settings(2, Projection::Sphere);
        for number in [f32::MAX, f32::MIN_POSITIVE, f32::from_bits(1)] {
            let unit = sphere.unit(&[number, number]).expect("a point");
            assert!(unit.iter().all(|part| (part - 0.5f32.sqrt()).abs() < 1e-6), "{number}");
            let simplex = settings(2, Projection::Simplex).unit(&[number, number]).expect("a point");
            assert!(simplex.iter().all(|part| (part - 0.5f32.sqrt()).abs() < 1e-6), "{number}");
        }
    }

    #[test]
    fn distances_are_angles() {
        let near = |one: f64, other: f64| (one - other).abs() < 1e-7;
        let sphere = settings(2, Projection::Sphere);
        let right = sphere.unit(&[3.0, 0.0]).expect("a point");
        let up = sphere.unit(&[0.0, 0.1]).expect("a point");
        let left = sphere.unit(&[-9.0, 0.0]).expect("a point");
        assert!(near(distance(&right, &up), FRAC_PI_2) && near(distance(&right, &left), PI));
        assert_eq!(distance(&right, &right), 0.0);
        assert_eq!(distance_of(1.000_001), 0.0);
        assert_eq!(distance_of(f64::NAN), PI);
        assert!(near(sphere.distance_max(), PI));
        let simplex = settings(2, Projection::Simplex);
        let (one, even) = (simplex.unit(&[5.0, 0.0]).expect("a point"), simplex.unit(&[2.0, 2.0]).expect("a point"));
        assert!(near(distance(&one, &even), FRAC_PI_2 / 2.0));
        assert!(near(simplex.distance_max(), FRAC_PI_2));
    }
}
