//! The tokens of a text by WordPiece, as BERT's vocabularies are meant: words and marks apart, a word
//! in the longest pieces that the vocabulary has, of which all but the first begin with `##`. Accents
//! are kept, where BERT's uncased tokenizer drops them.

use std::collections::HashMap;

/// The longest word that is taken apart, characters, as with BERT: a longer one is data.
const WORD_MAX: usize = 100;

/// What stands before a piece that does not begin a word.
const CONTINUES: &str = "##";

/// Tokens with the rows they have.
#[derive(Debug)]
pub(super) struct Vocabulary {
    rows: HashMap<Box<str>, usize>,
    lines: usize,
    /// Whether it tells capital letters from small ones.
    cased: bool,
}

impl Vocabulary {
    /// The tokens of a text, one a line. Of a token that is there twice, the first row counts. Those
    /// in brackets, such as `[UNK]`, are for models, and no word is one of them.
    pub(super) fn of(text: &str) -> Self {
        let mut rows = HashMap::new();
        let mut cased = false;
        let mut lines = 0;
        for (row, token) in text.lines().enumerate() {
            lines = row + 1;
            if is_for_models(token) {
                continue;
            }
            cased |= token.chars().any(char::is_uppercase);
            rows.entry(Box::from(token)).or_insert(row);
        }
        Self { rows, lines, cased }
    }

    /// How many lines there were.
    pub(super) const fn lines(&self) -> usize {
        self.lines
    }

    /// Tells the row of each token of a text. A word that cannot be made of tokens has none.
    pub(super) fn each_token(&self, text: &str, mut each: impl FnMut(usize)) {
        let lower = (!self.cased).then(|| text.to_lowercase());
        let mut pieces = Vec::new();
        let mut piece = String::new();
        for word in words(lower.as_deref().unwrap_or(text)) {
            if self.take_apart(word, &mut piece, &mut pieces) {
                pieces.iter().copied().for_each(&mut each);
            }
        }
    }

    /// Finds the pieces of a word; whether it is made of some.
    fn take_apart(&self, word: &str, piece: &mut String, pieces: &mut Vec<usize>) -> bool {
        pieces.clear();
        if word.chars().nth(WORD_MAX).is_some() {
            return false;
        }
        let mut rest = word;
        while !rest.is_empty() {
            piece.clear();
            if !pieces.is_empty() {
                piece.push_str(CONTINUES);
            }
            let mark = piece.len();
            piece.push_str(rest);
            let row = loop {
                if let Some(row) = self.rows.get(piece.as_str()) {
                    break *row;
                }
                piece.pop();
                if piece.len() <= mark {
                    return false;
                }
            };
            pieces.push(row);
            rest = &rest[piece.len() - mark..];
        }
        true
    }
}

fn is_for_models(token: &str) -> bool {
    token.len() > 2 && token.starts_with('[') && token.ends_with(']')
}

/// Words, and each mark and each ideograph as a word of its own.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c.is_control());
        let first = rest.chars().next()?;
        let end = if stands_alone(first) { first.len_utf8() } else { rest.find(ends_word).unwrap_or(rest.len()) };
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(word)
    })
}

fn ends_word(c: char) -> bool {
    c.is_whitespace() || c.is_control() || stands_alone(c)
}

fn stands_alone(c: char) -> bool {
    // Ideographs of Chinese; Kana and Hangul are written in words, as BERT has it.
    let ideograph = matches!(
        c,
        '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}'
    );
    let combines = matches!(c, '\u{300}'..='\u{36f}');
    ideograph || !(c.is_alphanumeric() || combines)
}
