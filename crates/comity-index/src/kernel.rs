//! Dot products of rounded vectors: by AVX2 where the processor has it, and in plain Rust elsewhere. Both give the
//! same integers, so that a graph is the same on every machine.

use crate::rows::{Chunk, Rows, Wide, WideChunk};

/// How dot products are taken on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Avx2(pulp::x86::V3),
    Plain,
}

impl Kernel {
    pub(crate) fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(v3) = pulp::x86::V3::try_new() {
            return Self::Avx2(v3);
        }
        Self::Plain
    }

    /// How similar a vector is to those at some places, in their order.
    pub(crate) fn similarities(self, wide: &Wide, rows: &Rows, places: &[u32], into: &mut Vec<f32>) {
        into.clear();
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(v3) => v3.vectorize(avx2::Similarities { v3, wide, rows, places, into }),
            Self::Plain => into.extend(places.iter().map(|place| {
                similarity(plain(&wide.codes, rows.row(*place)), wide.scale, rows.scales[*place as usize])
            })),
        }
    }

    /// Asks for what will soon be read.
    #[inline(always)]
    pub(crate) fn prefetch(self, links: &[u32]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(v3) => avx2::prefetch(v3, links),
            // Elsewhere the processor is left to guess.
            Self::Plain => {
                let _ = links;
            }
        }
    }

    /// Whether the vector at one place is more similar than a bound to any of those at others.
    pub(crate) fn any_above(self, bound: f32, place: u32, rows: &Rows, places: &[u32]) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(v3) => v3.vectorize(avx2::AnyAbove { v3, bound, place, rows, places }),
            Self::Plain => places.iter().any(|other| {
                let [one, two] = [place, *other].map(|place| rows.scales[place as usize]);
                similarity(plain_rows(rows.row(place), rows.row(*other)), one, two) > bound
            }),
        }
    }
}

/// The similarity of two vectors whose codes have this product. It is the same whichever of the two is first.
#[inline(always)]
pub(crate) fn similarity(dot: i32, one: f32, other: f32) -> f32 {
    dot as f32 * (one * other)
}

fn plain(wide: &[WideChunk], row: &[Chunk]) -> i32 {
    let chunks = wide.iter().zip(row);
    chunks.map(|(wide, row)| wide.0.iter().zip(&row.0).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum::<i32>()).sum()
}

fn plain_rows(one: &[Chunk], other: &[Chunk]) -> i32 {
    let chunks = one.iter().zip(other);
    chunks.map(|(one, other)| one.0.iter().zip(&other.0).map(|(x, y)| i32::from(*x) * i32::from(*y)).sum::<i32>()).sum()
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    //! Sixteen codes at a time: widened to 16 bits, multiplied and added in pairs to 32.

    //! Closures are avoided: they would be compiled without AVX2, and each instruction be a call of its own.

    use super::similarity;
    use crate::rows::{Chunk, Rows, Wide, WideChunk};
    use pulp::NullaryFnOnce;
    use pulp::x86::V3;
    use std::arch::x86_64::{__m128i, __m256i, _MM_HINT_T0};

    /// Bytes of a line of the processor's cache.
    const LINE: usize = 64;
    /// How many vectors are on their way from memory while one is compared with.
    const AHEAD: usize = 8;

    pub(super) struct Similarities<'a> {
        pub(super) v3: V3,
        pub(super) wide: &'a Wide,
        pub(super) rows: &'a Rows,
        pub(super) places: &'a [u32],
        pub(super) into: &'a mut Vec<f32>,
    }

    impl NullaryFnOnce for Similarities<'_> {
        type Output = ();

        #[inline(always)]
        fn call(self) {
            let mut ahead = self.places.iter();
            for place in ahead.by_ref().take(AHEAD) {
                prefetch(self.v3, self.rows.row(*place));
            }
            for place in self.places {
                if let Some(place) = ahead.next() {
                    prefetch(self.v3, self.rows.row(*place));
                }
                let dot = dot(self.v3, &self.wide.codes, self.rows.row(*place));
                self.into.push(similarity(dot, self.wide.scale, self.rows.scales[*place as usize]));
            }
        }
    }

    pub(super) struct AnyAbove<'a> {
        pub(super) v3: V3,
        pub(super) bound: f32,
        pub(super) place: u32,
        pub(super) rows: &'a Rows,
        pub(super) places: &'a [u32],
    }

    impl NullaryFnOnce for AnyAbove<'_> {
        type Output = bool;

        #[inline(always)]
        fn call(self) -> bool {
            let (row, scale) = (self.rows.row(self.place), self.rows.scales[self.place as usize]);
            for place in self.places {
                let dot = dot_rows(self.v3, row, self.rows.row(*place));
                if similarity(dot, scale, self.rows.scales[*place as usize]) > self.bound {
                    return true;
                }
            }
            false
        }
    }

    #[inline(always)]
    pub(super) fn prefetch<T>(v3: V3, lines: &[T]) {
        let bytes: *const T = lines.as_ptr();
        for line in 0..size_of_val(lines).div_ceil(LINE) {
            v3.sse._mm_prefetch::<_MM_HINT_T0>(bytes.cast::<i8>().wrapping_add(line * LINE));
        }
    }

    #[inline(always)]
    fn dot(v3: V3, wide: &[WideChunk], row: &[Chunk]) -> i32 {
        let mut sums = [v3.avx._mm256_setzero_si256(); 4];
        for (wide, row) in wide.iter().zip(row) {
            let wide: &[[i16; 16]; 4] = bytemuck::cast_ref(&wide.0);
            let row: &[[i8; 16]; 4] = bytemuck::cast_ref(&row.0);
            for quarter in 0..4 {
                let codes = v3.avx2._mm256_cvtepi8_epi16(bytemuck::cast::<_, __m128i>(row[quarter]));
                let products = v3.avx2._mm256_madd_epi16(codes, bytemuck::cast::<_, __m256i>(wide[quarter]));
                sums[quarter] = v3.avx2._mm256_add_epi32(sums[quarter], products);
            }
        }
        sum(v3, sums)
    }

    #[inline(always)]
    fn dot_rows(v3: V3, one: &[Chunk], other: &[Chunk]) -> i32 {
        let mut sums = [v3.avx._mm256_setzero_si256(); 4];
        for (one, other) in one.iter().zip(other) {
            let one: &[[i8; 16]; 4] = bytemuck::cast_ref(&one.0);
            let other: &[[i8; 16]; 4] = bytemuck::cast_ref(&other.0);
            for quarter in 0..4 {
                let ones = v3.avx2._mm256_cvtepi8_epi16(bytemuck::cast::<_, __m128i>(one[quarter]));
                let others = v3.avx2._mm256_cvtepi8_epi16(bytemuck::cast::<_, __m128i>(other[quarter]));
                sums[quarter] = v3.avx2._mm256_add_epi32(sums[quarter], v3.avx2._mm256_madd_epi16(ones, others));
            }
        }
        sum(v3, sums)
    }

    #[inline(always)]
    fn sum(v3: V3, sums: [__m256i; 4]) -> i32 {
        let low = v3.avx2._mm256_add_epi32(sums[0], sums[1]);
        let high = v3.avx2._mm256_add_epi32(sums[2], sums[3]);
        let sum = v3.avx2._mm256_add_epi32(low, high);
        let half =
            v3.sse2._mm_add_epi32(v3.avx._mm256_castsi256_si128(sum), v3.avx2._mm256_extracti128_si256::<1>(sum));
        let quarter = v3.sse2._mm_add_epi32(half, v3.sse2._mm_shuffle_epi32::<0b01_00_11_10>(half));
        let eighth = v3.sse2._mm_add_epi32(quarter, v3.sse2._mm_shuffle_epi32::<0b10_11_00_01>(quarter));
        v3.sse2._mm_cvtsi128_si32(eighth)
    }
}
