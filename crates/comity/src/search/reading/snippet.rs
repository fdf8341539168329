//! The few words of a document that are shown with a hit. It does not rank anything.

use super::flow::is_blank;

/// The longest snippet, characters: three lines of a terminal.
const CHARS_MAX: usize = 240;

/// How many characters stand before the first of the words that were asked for.
const LEAD: usize = 40;

/// How many characters the words that were asked for may be apart, so that the lead, and the last
/// of them, still fit.
const CLUSTER: usize = 180;

/// How many places of a document are compared: in a long document with a common word the best of
/// the first thousands is as good as any.
const HITS_MAX: usize = 4096;

/// The longest word that is compared, bytes: a longer one is data that nobody asks for.
const WORD_MAX: usize = 128;

/// A token of at least so many characters is also met by words that begin with it: `index` by
/// `indexes`. A shorter one begins too many.
const PREFIX_MIN: usize = 4;

/// At most 240 characters of `text` around the first place where most of the words of a query stand
/// together; its beginning, if none of them is in it. `query` holds words in lower case.
pub fn snippet<Token: AsRef<str>>(text: &str, query: &[Token]) -> String {
    // Scripts that put no blanks between words have the word within what looks like one.
    let within =
        || query.iter().map(AsRef::as_ref).filter(|token| !token.is_ascii()).find_map(|token| text.find(token));
    match best(&hits(text, query)).or_else(within) {
        Some(first) => cut(text, lead(text, first)),
        None => snippet_plain(text),
    }
}

/// At most 240 characters from the beginning of `text`.
pub fn snippet_plain(text: &str) -> String {
    cut(text, 0)
}

/// A place where a word of the query stands.
struct Hit {
    /// Its offset, bytes.
    at: usize,
    /// Which word of the query it is.
    token: usize,
}

fn hits<Token: AsRef<str>>(text: &str, query: &[Token]) -> Vec<Hit> {
    let mut hits = Vec::new();
    for (at, word) in words(text) {
        let word = word.to_lowercase();
        let meets = |token: &Token| {
            let token = token.as_ref();
            word == token || word.starts_with(token) && token.chars().nth(PREFIX_MIN - 1).is_some()
        };
        if let Some(token) = query.iter().position(meets) {
            hits.push(Hit { at, token });
        }
        if hits.len() == HITS_MAX {
            break;
        }
    }
    hits
}

/// The words of a text with their offsets.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let start = rest + text[rest..].find(char::is_alphanumeric)?;
        let length = text[start..].find(|c: char| !c.is_alphanumeric()).unwrap_or(text.len() - start);
        rest = start + length;
        Some((start, &text[start..rest]))
    })
    .filter(|(_, word)| word.len() <= WORD_MAX)
}

/// Where the first of those clusters begins that have the most different words.
fn best(hits: &[Hit]) -> Option<usize> {
    let mut best: Option<(usize, usize)> = None;
    for (from, first) in hits.iter().enumerate() {
        let mut tokens: Vec<usize> = hits[from..]
            .iter()
            .take(CLUSTER)
            .take_while(|hit| hit.at - first.at <= CLUSTER)
            .map(|hit| hit.token)
            .collect();
        tokens.sort_unstable();
        tokens.dedup();
        if best.is_none_or(|(most, _)| tokens.len() > most) {
            best = Some((tokens.len(), first.at));
        }
    }
    best.map(|(_, at)| at)
}

/// The beginning of the word that stands about [`LEAD`] characters before `at`.
fn lead(text: &str, at: usize) -> usize {
    let mut before = text[..at].char_indices().rev();
    let Some((from, _)) = before.nth(LEAD - 1) else { return 0 };
    let lead = &text[from..at];
    lead.find(is_blank).map_or(from, |blank| from + blank)
}

/// What begins at `from`, on one line, with a mark at each end where something was left out.
fn cut(text: &str, from: usize) -> String {
    let mut snippet = String::new();
    let mut length = 0;
    let mut gap = false;
    if text[..from].chars().any(|c| !is_blank(c)) {
        snippet.push('…');
        length += 1;
    }
    for c in text[from..].chars() {
        if is_blank(c) {
            gap = length > 1 || length == 1 && !snippet.starts_with('…');
            continue;
        }
        if length + usize::from(gap) + 1 >= CHARS_MAX {
            snippet.push('…');
            return snippet;
        }
        if gap {
            snippet.push(' ');
            length += 1;
            gap = false;
        }
        snippet.push(c);
        length += 1;
    }
    snippet
}
