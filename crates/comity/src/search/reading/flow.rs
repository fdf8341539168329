//! Text as it is gathered from a document: words with one blank between them, lines, paragraphs,
//! no control characters, and never more than [`TEXT_MAX`] bytes.

use super::TEXT_MAX;

/// What was taken of a document.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) title: Option<String>,
    pub(super) text: String,
    pub(super) language: Option<String>,
    pub(super) capped: bool,
}

/// A text that grows.
#[derive(Debug)]
pub(super) struct Flow {
    text: String,
    gap: Gap,
    full: bool,
}

/// What is to stand before the next word; the wider of two wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Space,
    Line,
    Paragraph,
}

impl Flow {
    /// An empty one.
    pub(super) const fn new() -> Self {
        Self { text: String::new(), gap: Gap::None, full: false }
    }

    /// Adds running text: any blanks and line ends in it are one space.
    pub(super) fn words(&mut self, text: &str) {
        for c in text.chars() {
            if self.full {
                return;
            }
            if is_blank(c) { self.space() } else { self.put(c) }
        }
    }

    /// Adds text whose lines and indents mean something.
    pub(super) fn verbatim(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                _ if self.full => return,
                '\n' => {
                    self.put_gap();
                    self.push(c);
                }
                '\t' => self.put(c),
                '\r' => {}
                c if c.is_control() => self.put(' '),
                c => self.put(c),
            }
        }
    }

    /// The next word stands apart from the last.
    pub(super) fn space(&mut self) {
        self.gap = self.gap.max(Gap::Space);
    }

    /// The next word begins a line.
    pub(super) fn line(&mut self) {
        self.gap = self.gap.max(Gap::Line);
    }

    /// The next word begins a paragraph.
    pub(super) fn paragraph(&mut self) {
        self.gap = self.gap.max(Gap::Paragraph);
    }

    /// Whether something was left out because there is no more room.
    pub(super) const fn is_full(&self) -> bool {
        self.full
    }

    /// The next word is the rest of the one before the hyphen that ended the line: both are one.
    pub(super) fn heal_hyphen(&mut self) {
        let mut before = self.text.chars().rev();
        if before.next() == Some('-') && before.next().is_some_and(char::is_lowercase) {
            self.text.pop();
            self.gap = Gap::None;
        }
    }

    /// What was gathered.
    pub(super) fn finish(self) -> Taken {
        Taken { text: self.text, capped: self.full, ..Taken::default() }
    }

    fn put(&mut self, c: char) {
        self.put_gap();
        self.push(c);
    }

    fn put_gap(&mut self) {
        let gap = std::mem::replace(&mut self.gap, Gap::None);
        if self.text.is_empty() {
            return;
        }
        match gap {
            Gap::None => {}
            Gap::Space => self.push(' '),
            Gap::Line => self.push('\n'),
            Gap::Paragraph => {
                self.push('\n');
                self.push('\n');
            }
        }
    }

    fn push(&mut self, c: char) {
        if self.full || self.text.len() + c.len_utf8() > TEXT_MAX {
            self.full = true;
        } else {
            self.text.push(c);
        }
    }
}

/// Whether a character only separates words; every control character does.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c.is_control() || matches!(c, '\u{200b}' | '\u{feff}')
}
