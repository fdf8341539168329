//! Vectors as JSON lists: written with the shortest decimals that give the same 32-bit numbers back, and read straight
//! from the text, since a page of changes has millions of them. See "Basins" in `protocols/mesh.md`.

use crate::wire::mesh::form::{BadForm, Fault, SPACES};

/// Longest decimal of a number, bytes: that of any 64-bit number, written out, with room.
const NUMBER_MAX: usize = 64;

/// Reads a list of at most `max` numbers. Each is the 32-bit number that is nearest to what is written.
///
/// # Errors
/// [`BadForm`] names the field and the number.
pub fn read(field: &'static str, list: &str, max: usize) -> Result<Vec<f32>, BadForm> {
    let wanted = BadForm::new(field, Fault::Wanted("a list of numbers"));
    let inner = list.trim_matches(SPACES).strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let inner = inner.ok_or(wanted)?.trim_matches(SPACES);
    // The shortest number takes two bytes with its comma: no more room is taken than the text has numbers.
    let mut numbers = Vec::with_capacity(max.min(inner.len() / 2 + 1));
    if inner.is_empty() {
        return Ok(numbers);
    }
    for (index, text) in inner.split(',').enumerate() {
        if index == max {
            return Err(BadForm::new(field, Fault::TooMany { max }));
        }
        let number = number(text.trim_matches(SPACES));
        numbers.push(number.map_err(|wanted| BadForm::of_element(field, index, Fault::Wanted(wanted)))?);
    }
    Ok(numbers)
}

/// Appends a list.
pub fn write(out: &mut Vec<u8>, numbers: &[f32]) {
    out.push(b'[');
    for (place, number) in numbers.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        // What is not finite is refused before it is signed; here it would become `null`, which no reader takes.
        serde_json::to_writer(&mut *out, number).expect("a Vec takes everything");
    }
    out.push(b']');
}

/// A number as JSON writes it.
fn number(text: &str) -> Result<f32, &'static str> {
    const WANTED: &str = "a number";
    let bytes = text.as_bytes();
    let digits = bytes.strip_prefix(b"-").unwrap_or(bytes);
    // What Rust reads beyond JSON's own numbers: `+1`, `.5`, `5.`, `01`, `inf`, `nan`.
    let begins = match digits {
        [b'0', rest @ ..] => !rest.first().is_some_and(u8::is_ascii_digit),
        [b'1'..=b'9', ..] => true,
        _ => false,
    };
    if !begins || bytes.len() > NUMBER_MAX {
        return Err(WANTED);
    }
    if let Some(point) = digits.iter().position(|byte| *byte == b'.')
        && !digits.get(point + 1).is_some_and(u8::is_ascii_digit)
    {
        return Err(WANTED);
    }
    let number: f32 = text.parse().map_err(|_| WANTED)?;
    if number.is_finite() { Ok(number) } else { Err("a number that a 32-bit float can hold") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(numbers: &[f32]) -> String {
        let mut out = Vec::new();
        write(&mut out, numbers);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn every_number_comes_back_bit_by_bit() {
        // Numbers all over, as a linear congruence gives them, and the edges.
        let drawn = (0..50_000u64).scan(1u64, |state, _| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            Some(f32::from_bits((*state >> 32) as u32))
        });
        let edges = [0.0, -0.0, f32::MAX, f32::MIN, f32::MIN_POSITIVE, f32::from_bits(1), f32::EPSILON, 16_777_216.0];
        let numbers: Vec<f32> = drawn.chain(edges).filter(|number| number.is_finite()).collect();
        let text = written(&numbers);
        let back = read("basin", &text, numbers.len()).expect("numbers");
        let by_library: Vec<f32> = serde_json::from_str(&text).expect("numbers");
        for ((number, back), library) in numbers.iter().zip(&back).zip(&by_library) {
            assert_eq!(number.to_bits(), back.to_bits(), "{number:e}");
            assert_eq!(number.to_bits(), library.to_bits(), "{number:e}");
        }
    }

    #[test]
    fn the_shortest_decimals_are_written() {
        assert_eq!(written(&[0.1, 1.0, -2.5, 1e-7, 16_777_216.0]), "[0.1,1.0,-2.5,1e-7,16777216.0]");
    }

    #[test]
    fn numbers_of_any_json_are_read() {
        let numbers = read("basin", " [ 1 ,\t-0.5e1,\n1E+2, 0, 0.0, 0.30000001192092896 ] ", 9).expect("numbers");
        assert_eq!(numbers, [1.0, -5.0, 100.0, 0.0, 0.0, 0.3]);
        assert_eq!(read("basin", "[]", 0), Ok(Vec::new()));
    }

    #[test]
    fn what_is_no_number_is_named_with_its_place() {
        let bad = |text: &str| read("basin", text, 3).expect_err("must be refused");
        for text in ["+1", ".5", "5.", "01", "-", "inf", "nan", "NaN", "\"1\"", "null", "[1]", "1e", "1 2", "", "1.e5"]
        {
            let wanted = BadForm::of_element("basin", 1, Fault::Wanted("a number"));
            assert_eq!(bad(&format!("[0,{text}]")), wanted, "{text}");
        }
        let large = BadForm::of_element("basin", 0, Fault::Wanted("a number that a 32-bit float can hold"));
        assert_eq!(bad("[1e39]"), large);
        assert_eq!(bad("[1,2,3,4]"), BadForm::new("basin", Fault::TooMany { max: 3 }));
        for text in ["{}", "1", "", "\"[]\""] {
            assert_eq!(bad(text), BadForm::new("basin", Fault::Wanted("a list of numbers")), "{text}");
        }
        assert_eq!(bad("[1,2,x]").pointer(), "/basin/2");
    }
}
