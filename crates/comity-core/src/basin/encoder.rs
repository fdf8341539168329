//! The encoder `hash`: a vector of a text without a model. Texts that share words are near each other, and nothing
//! more is known of them. See "Basins" in `protocols/mesh.md`. Embedding models are asked by the body.

use crate::basin::settings::DIMENSION_MAX;
use blake2::digest::consts::U16;
use blake2::{Blake2b, Digest};

/// Most of a text that is read, bytes: a long document is told by its beginning, and the work stays below a second.
pub const TEXT_MAX: usize = 1024 * 1024;

/// The vector of a text, of length 1. Words are runs of characters that Unicode calls alphabetic or numeric. `None` when the text has no letter and no digit, when its words cancel each
/// other, or when the dimension is none.
pub fn encode(text: &str, dimension: usize) -> Option<Vec<f32>> {
    if !(1..=DIMENSION_MAX).contains(&dimension) {
        return None;
    }
    let mut sums = vec![0i64; dimension];
    let mut token = String::new();
    // The text as a whole: what a Greek sigma becomes depends on what follows it.
    for letter in beginning(text).to_lowercase().chars().chain([' ']) {
        if letter.is_alphanumeric() {
            token.push(letter);
        } else if !token.is_empty() {
            let (place, sign) = place(&token, dimension);
            sums[place] += sign;
            token.clear();
        }
    }
    let length = sums.iter().map(|sum| (*sum as f64).powi(2)).sum::<f64>().sqrt();
    (length > 0.0).then(|| sums.iter().map(|sum| (*sum as f64 / length) as f32).collect())
}

/// Which number a word counts for, and whether it adds or takes away.
fn place(token: &str, dimension: usize) -> (usize, i64) {
    let hash = Blake2b::<U16>::digest(token.as_bytes());
    let number = u32::from_le_bytes([hash[0], hash[1], hash[2], hash[3]]);
    let place = number as usize % dimension;
    (place, if hash[4] & 1 == 0 { 1 } else { -1 })
}

/// At most the first [`TEXT_MAX`] bytes, to the end of a character.
fn beginning(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_another_implementation() {
        // python3 -c 'import hashlib; print(hashlib.blake2b(b"basin", digest_size=16).hexdigest())'
        let hash: String = Blake2b::<U16>::digest(b"basin").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "b2b98132f3ee05a6fb27d31d8c8911fd");
    }

    #[test]
    fn case_and_what_stands_between_words_do_not_matter() {
        let plain = encode("the cat sat 42", 256);
        assert!(plain.is_some());
        assert_eq!(encode("The CAT,\n-- sat: 42!", 256), plain);
        assert_ne!(encode("the cat sat 43", 256), plain);
        assert_eq!(encode("ÄRGER Größe ΟΔΟΣ", 64), encode("ärger größe οδος", 64));
    }

    #[test]
    fn a_text_without_a_word_has_no_vector() {
        for text in ["", " \n\t", "!?… —"] {
            assert_eq!(encode(text, 256), None, "{text}");
        }
        assert_eq!(encode("word", 0), None);
        assert_eq!(encode("word", DIMENSION_MAX + 1), None);
    }

    #[test]
    fn a_vector_has_length_1_and_repeated_words_weigh_more() {
        for dimension in [1, 7, 256, DIMENSION_MAX] {
            let vector = encode("alpha alpha alpha beta", dimension).expect("a vector");
            assert_eq!(vector.len(), dimension);
            let length: f64 = vector.iter().map(|part| f64::from(*part).powi(2)).sum();
            assert!((length - 1.0).abs() < 1e-6, "{dimension}: {length}");
        }
        let (place, sign) = place("alpha", 256);
        let vector = encode("alpha alpha alpha beta", 256).expect("a vector");
        assert!((f64::from(vector[place]) * sign as f64 - 3.0 / 10f64.sqrt()).abs() < 1e-6);
    }

    #[test]
    fn no_more_of_a_text_is_read_than_its_bound() {
        let text = format!("{} ", "a".repeat(63)).repeat(TEXT_MAX / 64);
        assert_eq!(text.len(), TEXT_MAX);
        let beyond = format!("{text} other words");
        assert_eq!(encode(&beyond, 64), encode(&beyond[..TEXT_MAX], 64));
        let odd = format!("{}é and more", "a".repeat(TEXT_MAX - 1));
        assert_eq!(encode(&odd, 64), encode(&odd[..TEXT_MAX - 1], 64));
    }
}
