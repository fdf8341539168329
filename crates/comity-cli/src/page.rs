//! Where output goes: aligned and coloured for people, JSON for programs. What peers wrote is
//! cleaned here, so that no text of theirs can move the cursor or pass for something else.

use crate::exit::Failure;
use comity_core::hidden;
use serde::Serialize;
use serde_json::Value;
use std::borrow::Cow;
use std::io::{IsTerminal, Stdout, Write};

/// Most characters of a peer's text in one cell or line for people; JSON has all of it.
const SHOWN_MAX: usize = 400;

/// Standard output.
#[derive(Debug)]
pub(crate) struct Page {
    /// For programs.
    pub(crate) json: bool,
    colours: bool,
    out: Stdout,
}

/// How a piece of text looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    Plain,
    Strong,
    Faint,
    Good,
    Warning,
    Bad,
}

impl Look {
    fn code(self) -> &'static str {
        match self {
            Self::Plain => "0",
            Self::Strong => "1",
            Self::Faint => "2",
            Self::Good => "32",
            Self::Warning => "33",
            Self::Bad => "31",
        }
    }
}

/// A cell of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    look: Look,
}

/// A plain cell.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    looking(text, Look::Plain)
}

/// A cell with a look.
pub(crate) fn looking(text: impl AsRef<str>, look: Look) -> Cell {
    Cell { text: clean(text.as_ref()), look }
}

impl Page {
    /// Standard output; coloured on a terminal, unless `NO_COLOR` is set or the terminal is dumb.
    pub(crate) fn new(json: bool) -> Self {
        let out = std::io::stdout();
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|terminal| terminal == "dumb");
        Self { json, colours: out.is_terminal() && !unwanted && !dumb, out }
    }

    /// A line for people, as it is.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.out, "{text}")?;
        Ok(self.out.flush()?)
    }

    /// A value for programs, in one line.
    pub(crate) fn value(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(|wrong| Failure::Other(wrong.to_string()))?;
        self.line(&escaped(text))
    }

    /// Text with a look.
    pub(crate) fn paint(&self, text: &str, look: Look) -> String {
        if !self.colours || look == Look::Plain {
            return text.to_owned();
        }
        format!("\u{1b}[{}m{text}\u{1b}[0m", look.code())
    }

    /// Rows below their headings, every column as wide as it must be.
    pub(crate) fn table(&mut self, headings: &[&str], rows: &[Vec<Cell>]) -> Result<(), Failure> {
        let top = headings.iter().map(|heading| looking(heading, Look::Faint)).collect();
        let widths: Vec<usize> = (0..headings.len())
            .map(|column| {
                rows.iter().map(|row| width(&row[column].text)).chain([width(headings[column])]).max().unwrap_or(0)
            })
            .collect();
        for row in std::iter::once(&top).chain(rows) {
            let cells = row.iter().zip(&widths).map(|(cell, width)| self.fill(cell, *width));
            let line = cells.collect::<Vec<_>>().join("  ");
            writeln!(self.out, "{}", line.trim_end())?;
        }
        Ok(self.out.flush()?)
    }

    /// Names and values, one pair a line.
    pub(crate) fn pairs(&mut self, pairs: &[(&str, Cell)]) -> Result<(), Failure> {
        let left = pairs.iter().map(|(name, _)| width(name)).max().unwrap_or(0);
        for (name, value) in pairs {
            let name = self.fill(&looking(name, Look::Faint), left);
            writeln!(self.out, "{name}  {}", self.paint(&value.text, value.look))?;
        }
        Ok(self.out.flush()?)
    }

    fn fill(&self, cell: &Cell, to: usize) -> String {
        let space = " ".repeat(to.saturating_sub(width(&cell.text)));
        format!("{}{space}", self.paint(&cell.text, cell.look))
    }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

/// All of a peer's text without control characters and without the marks that turn the direction of
/// writing, on one line. Only its tabs stay.
pub(crate) fn whole(text: &str) -> String {
    let one_line = |part: &str| part.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).collect::<String>();
    text.split('\t').map(|part| hidden::clean(&one_line(part))).collect::<Vec<_>>().join("\t")
}

/// Text of a peer for a cell, or for a line of many: as [`whole`], but without tabs and not endless.
pub(crate) fn clean(text: &str) -> String {
    let mut kept = whole(text).replace('\t', " ");
    if let Some((end, _)) = kept.char_indices().nth(SHOWN_MAX) {
        kept.truncate(end);
        kept.push('…');
    }
    kept
}

/// What a peer said, for people: a text as it is, anything else as JSON; cleaned and cut.
pub(crate) fn said(payload: &Value) -> String {
    clean(&text(payload))
}

/// All that a peer said, for people who are shown it once.
pub(crate) fn all_said(payload: &Value) -> String {
    whole(&text(payload))
}

/// The same JSON, with characters that a terminal could obey, or that are not seen, written by their numbers.
fn escaped(json: String) -> String {
    if !json.contains(hidden::is_hidden) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if hidden::is_hidden(c) {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| escaped.push_str(&format!("\\u{unit:04x}")));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

fn text(payload: &Value) -> Cow<'_, str> {
    match payload {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Writes a line to standard error in one piece: other programs may write there too.
pub(crate) fn say(line: &str) {
    // Err: nobody reads it.
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peers_text_cannot_move_the_cursor_or_turn_the_line_around() {
        assert_eq!(clean("a\u{1b}[31mb\u{7}c\r\nd\u{202e}e\u{200b}f\u{9b}g"), "a[31mbc  defg");
        assert_eq!(clean(&"x".repeat(SHOWN_MAX + 1)).chars().count(), SHOWN_MAX + 1);
        assert!(clean(&"x".repeat(SHOWN_MAX + 1)).ends_with('…'));
        assert_eq!(clean("a\tb"), "a b");
        assert_eq!(whole("a\u{1b}[31m\tb\nc\u{202e}d"), "a[31m\tb cd");
        assert_eq!(whole(&"x".repeat(SHOWN_MAX + 1)), "x".repeat(SHOWN_MAX + 1));
    }

    #[test]
    fn json_says_the_same_and_cannot_move_the_cursor_either() {
        let value = Value::from("a\u{9b}31mb\u{7f}c\u{202e}d\u{1b}é\u{e0041}");
        let shown = escaped(value.to_string());
        assert_eq!(shown, r#""a\u009b31mb\u007fc\u202ed\u001bé\udb40\udc41""#);
        assert_eq!(serde_json::from_str::<Value>(&shown).expect("JSON"), value);
    }

    #[test]
    fn texts_are_shown_without_quotes_and_the_rest_as_json() {
        assert_eq!(said(&Value::from("hi")), "hi");
        assert_eq!(said(&serde_json::json!({"a": [1, null]})), r#"{"a":[1,null]}"#);
    }
}
