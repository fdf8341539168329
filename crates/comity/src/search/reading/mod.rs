//! Real documents read for a search index: text, Markdown, HTML, PDF, man pages, source code, and
//! gzip of each. It does not index and knows no network; everything here blocks, and belongs on a
//! thread that may.

use flate2::read::MultiGzDecoder;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path};

mod characters;
mod flow;
mod html;
mod kinds;
mod man;
mod markdown;
pub mod pdf;
mod snippet;
#[cfg(test)]
mod tests;
mod walk;

pub use kinds::is_named_as_text;
pub use pdf::PdfCause;
pub use snippet::{snippet, snippet_plain};
pub use walk::{Found, Special, Walk, WalkCause};

use flow::Flow;
use kinds::Shape;

/// The largest file that is read, and the largest inflated form of one, bytes: a file is held in
/// memory whole, and hardly any document of words only is larger.
pub const BYTES_MAX: u64 = 32 << 20;

/// The most text that is taken of one document, bytes of UTF-8: a long book. What follows it is
/// not found, and [`Document::capped`] says so.
pub const TEXT_MAX: usize = 1 << 20;

/// The longest title, characters: it is one line of a list.
pub const TITLE_MAX: usize = 200;

/// A document as an index takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// What it calls itself, else the name of its file; one line, at most [`TITLE_MAX`] characters.
    pub title: String,
    /// Its words, without markup and without control characters; at most [`TEXT_MAX`] bytes.
    pub text: String,
    /// What it is.
    pub kind: Kind,
    /// The tongue it is in, as a tag like `de` or `pt-BR`, where it says so itself.
    pub language: Option<String>,
    /// Whether it has more text than was taken.
    pub capped: bool,
}

/// What a document is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Text without a markup we know.
    Text,
    /// Markdown.
    Markdown,
    /// HTML.
    Html,
    /// PDF.
    Pdf,
    /// A man page: roff with the macros `man` or `mdoc`.
    Man,
    /// Source code, and other text that programs read.
    Code,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Text, Self::Markdown, Self::Html, Self::Pdf, Self::Man, Self::Code];

    /// Its stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Markdown => "markdown",
            Self::Html => "html",
            Self::Pdf => "pdf",
            Self::Man => "man",
            Self::Code => "code",
        }
    }

    /// The one with this stable name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a file is not in the index. Nothing of it was kept; the others are not touched by it.
#[derive(Debug, thiserror::Error)]
pub enum ReadCause {
    /// The system does not let us read it.
    #[error("cannot be read: {0}")]
    Io(#[from] io::Error),
    /// It is a folder, or something that would keep its reader waiting.
    #[error("is not a regular file")]
    NotAFile,
    /// There is no text in it: no bytes, only markup, or only images.
    #[error("holds no text")]
    Empty,
    /// It is larger than what is read; only its size was looked at.
    #[error("has {bytes} bytes, and at most {BYTES_MAX} are read")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// It is gzip of more than what is read.
    #[error("inflates to more than {BYTES_MAX} bytes")]
    InflatesTooLarge,
    /// It begins like gzip, and breaks off or is damaged.
    #[error("is damaged gzip")]
    BadGzip,
    /// It is not text: it has NUL bytes, or too many that no encoding we know explains.
    #[error("is not text in an encoding we know")]
    Binary,
    /// It is a PDF that could not be read.
    #[error("is a PDF, and {0}")]
    Pdf(#[from] PdfCause),
}

impl ReadCause {
    /// Its stable name, by which such files are counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Io(_) => "unreadable",
            Self::NotAFile => "not-a-file",
            Self::Empty => "empty",
            Self::TooLarge { .. } => "too-large",
            Self::InflatesTooLarge => "inflates-too-large",
            Self::BadGzip => "bad-gzip",
            Self::Binary => "binary",
            Self::Pdf(cause) => cause.name(),
        }
    }
}

/// Reads the file at `path`. `program` is this command, which reads a PDF in a process of its own
/// (`pdf.rs` says why).
///
/// # Errors
/// [`ReadCause`] when there is nothing of it to be indexed.
pub fn read(path: &Path, program: &Path) -> Result<Document, ReadCause> {
    let bytes = contents(path)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut document = read_bytes(&name, &bytes, program)?;
    if document.kind == Kind::Man && document.language.is_none() {
        document.language = man_language(path);
    }
    Ok(document)
}

/// Reads what a file with this name holds: [`read`] for bytes that are at hand.
///
/// # Errors
/// [`ReadCause`] when there is nothing of it to be indexed.
pub fn read_bytes(name: &str, bytes: &[u8], program: &Path) -> Result<Document, ReadCause> {
    whole(name, None, bytes, program)
}

/// Reads what is said to be of this kind: [`read_bytes`] for bytes whose name does not tell. A PDF is one whatever is
/// said of it.
///
/// # Errors
/// [`ReadCause`] when there is nothing of it to be indexed.
pub fn read_as(kind: Kind, name: &str, bytes: &[u8], program: &Path) -> Result<Document, ReadCause> {
    whole(name, Some(kind), bytes, program)
}

fn whole(name: &str, told: Option<Kind>, bytes: &[u8], program: &Path) -> Result<Document, ReadCause> {
    if bytes.len() as u64 > BYTES_MAX {
        return Err(ReadCause::TooLarge { bytes: bytes.len() as u64 });
    }
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return document(name, told, bytes, program);
    }
    let inflated = inflated(bytes)?;
    document(name.strip_suffix(".gz").unwrap_or(name), told, &inflated, program)
}

fn document(name: &str, told: Option<Kind>, bytes: &[u8], program: &Path) -> Result<Document, ReadCause> {
    let shape = if told == Some(Kind::Pdf) || kinds::is_pdf(bytes) {
        Shape { kind: Kind::Pdf, taken: pdf::in_own_process(program, bytes)? }
    } else {
        let text = characters::decoded(bytes).ok_or(ReadCause::Binary)?;
        kinds::shape(told.unwrap_or_else(|| kinds::kind(name, &text)), &text)
    };
    let Shape { kind, taken } = shape;
    if taken.text.trim().is_empty() {
        return Err(ReadCause::Empty);
    }
    let title = taken.title.map(|title| one_line(&title)).filter(|title| !title.is_empty());
    let title = title.unwrap_or_else(|| one_line(name));
    Ok(Document { title, text: taken.text, kind, language: taken.language, capped: taken.capped })
}

/// The bytes of a file of bearable size. What is no regular file is not waited for.
fn contents(path: &Path) -> Result<Vec<u8>, ReadCause> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file: File = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(ReadCause::NotAFile);
    }
    if metadata.len() > BYTES_MAX {
        return Err(ReadCause::TooLarge { bytes: metadata.len() });
    }
    // Files of /proc say that they are empty, and some of them keep a reader waiting for ever.
    if metadata.len() == 0 {
        return Err(ReadCause::Empty);
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn inflated(bytes: &[u8]) -> Result<Vec<u8>, ReadCause> {
    let mut inflated = Vec::new();
    let read = MultiGzDecoder::new(bytes).take(BYTES_MAX + 1).read_to_end(&mut inflated);
    if inflated.len() as u64 > BYTES_MAX {
        return Err(ReadCause::InflatesTooLarge);
    }
    read.map_err(|_| ReadCause::BadGzip)?;
    Ok(inflated)
}

/// The first [`TITLE_MAX`] characters of a text, on one line.
fn one_line(text: &str) -> String {
    let mut flow = Flow::new();
    flow.words(text);
    flow.finish().text.chars().take(TITLE_MAX).collect()
}

/// The tongue of a translated man page, which stands in a folder of it: `/usr/share/man/de/man1`.
fn man_language(path: &Path) -> Option<String> {
    let folders: Vec<&str> = path
        .components()
        .filter_map(|part| if let Component::Normal(name) = part { name.to_str() } else { None })
        .collect();
    let [.., man, language, section, _] = folders.as_slice() else { return None };
    (*man == "man" && section.starts_with("man")).then(|| language_tag(language)).flatten()
}

/// `pt_BR.UTF-8` and `pt-BR` as a language tag; `None` for what is none.
fn language_tag(name: &str) -> Option<String> {
    /// The longest tag that the grammar of BCP 47 asks anybody to bear, bytes.
    const TAG_MAX: usize = 35;
    let tag = name.trim().split(['.', '@']).next().unwrap_or_default().replace('_', "-");
    let fits = (2..=TAG_MAX).contains(&tag.len()) && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    (fits && tag.as_bytes()[..2].iter().all(u8::is_ascii_alphabetic)).then_some(tag)
}
