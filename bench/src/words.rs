//! Numbers on the command line: how much is measured.

/// The numbers that were given, in their order; where fewer were given, the usual ones.
pub(crate) fn numbers<const N: usize>(words: &[String], usual: [usize; N]) -> Result<[usize; N], String> {
    if words.len() > N {
        return Err(format!("{} is one number too many", words[N]));
    }
    let mut numbers = usual;
    for (number, word) in numbers.iter_mut().zip(words) {
        let given: Option<usize> = word.parse().ok();
        *number = given.filter(|given| *given > 0).ok_or_else(|| format!("{word} is no number above zero"))?;
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_not_given_are_the_usual_ones_and_nothing_else_is_taken() {
        let read = |words: &[&str]| numbers(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>(), [3, 5]);
        assert_eq!(read(&[]), Ok([3, 5]));
        assert_eq!(read(&["7"]), Ok([7, 5]));
        assert_eq!(read(&["7", "9"]), Ok([7, 9]));
        for (words, wrong) in [(&["0"][..], "0"), (&["7", "many"][..], "many"), (&["7", "9", "11"][..], "11")] {
            assert!(read(words).is_err_and(|why| why.starts_with(wrong)), "{words:?}");
        }
    }
}
