//! Lists that are secrets: recovery codes behind their heading, and the words of a wallet (BIP 39), with numbers,
//! commas or lines between them.

use super::{steps, value};
use std::ops::Range;

/// How far behind a heading a list begins, bytes.
const INTRODUCTION_MAX: usize = 160;

/// The recovery codes behind the heading that ends at `from`; up to where they go.
pub(super) fn recovery(text: &str, from: usize, mut found: impl FnMut(Range<usize>)) -> Option<usize> {
    const CODES_MAX: usize = 64;
    const APART_MAX: usize = 12;
    let stop = value::floor(text, from + INTRODUCTION_MAX);
    let colon = from + text.get(from..stop)?.find([':', '\n', '：'])? + 1;
    let mut at = value::floor(text, colon);
    let mut last = at;
    let mut count = 0;
    for _ in 0..CODES_MAX {
        let (code, next) = code(text, at)?;
        let Some(code) = code else { break };
        if code.start - last > APART_MAX + usize::from(count == 0) * INTRODUCTION_MAX {
            break;
        }
        last = code.end;
        found(code);
        count += 1;
        at = next;
    }
    (count > 0).then_some(last)
}

/// The next code, past numbers of a list and what separates; and where to go on.
fn code(text: &str, mut at: usize) -> Option<(Option<Range<usize>>, usize)> {
    /// A code, and what separates it from the one before, bytes.
    const CODE_WINDOW: usize = 128;
    loop {
        let rest = text.get(at..value::floor(text, at + CODE_WINDOW))?;
        steps::look(rest.len());
        let lead = rest.len()
            - rest.trim_start_matches(|letter: char| letter.is_whitespace() || ",;•*-–`\"'[]|".contains(letter)).len();
        let rest = &rest[lead..];
        let length =
            rest.find(|letter: char| letter.is_whitespace() || ",;`\"'[]|".contains(letter)).unwrap_or(rest.len());
        let word = &rest[..length];
        let number = word.trim_end_matches(['.', ')', ':']);
        if length > 0 && word.len() <= 4 && number.bytes().all(|byte| byte.is_ascii_digit()) && number.len() < 4 {
            at += lead + length;
            continue;
        }
        let start = at + lead;
        let paired = is_half(word) && rest[length..].starts_with(' ');
        let second = &rest[(length + 1).min(rest.len())..];
        let second_length = second.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(second.len());
        if paired && second_length == length && is_half(&second[..second_length]) {
            return Some((Some(start..start + length * 2 + 1), start + length * 2 + 1));
        }
        return Some((is_code(word).then_some(start..start + length), start + length));
    }
}

/// `8832`, of `8832 1192`.
fn is_half(word: &str) -> bool {
    (3..=6).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

/// `a1b2c-d3e4f`, `83920184`, `ABCD1234EFGH`.
fn is_code(word: &str) -> bool {
    const LENGTH_MIN: usize = 6;
    const LENGTH_MAX: usize = 64;
    let signs = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let parts = word.split('-').filter(|part| part.len() >= 3).count();
    (LENGTH_MIN..=LENGTH_MAX).contains(&word.len())
        && signs
        && (digits >= 2 || digits > 0 && parts > 1 || parts > 1 && word.split('-').any(|part| !value::wordlike(part)))
        && !word.contains("--")
        && !value::is_printed(word)
}

/// The words of a wallet behind what names them.
pub(super) fn seed(text: &str, from: usize) -> Option<Range<usize>> {
    const WORDS_MIN: usize = 12;
    const LIST_MAX: usize = 800;
    let window = text.get(from..value::floor(text, from + INTRODUCTION_MAX + LIST_MAX))?;
    steps::look(window.len());
    let mut run: Option<Range<usize>> = None;
    let mut count = 0;
    let mut end = from;
    let mut says = false;
    for word in window.split(|letter: char| letter.is_whitespace() || ",;|[]\"'`".contains(letter)) {
        let start = from + (word.as_ptr() as usize - window.as_ptr() as usize);
        if word.is_empty() || is_number(word) {
            continue;
        }
        let opens = says || text[end..start].contains([':', '=', '\n', '"', '\'', '`']) || start - from <= 1;
        end = start + word.len();
        says = word.ends_with([':', '=']) || matches!(word, "is" | "are" | "ist" | "lautet" | "es" | "est");
        let bare = word
            .trim_end_matches(['.', ','])
            .trim_start_matches(|letter: char| letter.is_ascii_digit() || matches!(letter, '.' | ')' | ':'));
        if is_seed_word(bare) && (opens || count > 0) {
            let end = start + word.trim_end_matches(['.', ',']).len();
            run = Some(run.map_or(start, |run| run.start)..end);
            count += 1;
            if word.ends_with('.') && count >= WORDS_MIN {
                break;
            }
        } else if count >= WORDS_MIN {
            break;
        } else {
            if start > from + INTRODUCTION_MAX {
                return None;
            }
            (run, count) = (None, 0);
        }
    }
    run.filter(|_| count >= WORDS_MIN)
}

fn is_number(word: &str) -> bool {
    word.len() <= 4 && word.trim_end_matches(['.', ')', ':']).bytes().all(|byte| byte.is_ascii_digit())
        || matches!(word, "-" | "*" | "•")
}

/// Three to ten small letters, and none of the words that every sentence has and no wallet.
fn is_seed_word(word: &str) -> bool {
    const NEVER: &[&str] = words! {
        "the" "and" "for" "from" "with" "was" "are" "has" "have" "not" "but" "your" "must" "should" "which" "never"
        "they" "their" "them" "our" "its" "can" "could" "would" "into" "onto" "words" "than" "been" "were" "does"
    };
    (3..=10).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_lowercase()) && !NEVER.contains(&word)
}
