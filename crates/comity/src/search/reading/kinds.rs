//! What a file is, told by its name and its beginning, and its words taken accordingly.

use super::flow::{Flow, Taken};
use super::{Kind, html, man, markdown};

/// How far the first element of HTML is looked for, bytes: a comment may stand before it.
const HTML_MARK_WITHIN: usize = 1024;

/// How far the first macro of a man page is looked for, bytes: `pod2man` writes 5 KiB before it.
const MAN_MARK_WITHIN: usize = 32 << 10;

/// Endings of names of Markdown.
const MARKDOWN: &[&str] = &["md", "markdown", "mdown", "mkd"];

/// Endings of names of HTML.
const HTML: &[&str] = &["html", "htm", "xhtml", "shtml"];

/// Endings of names of text without a markup that is known.
const TEXT: &[&str] = &["adoc", "csv", "log", "org", "rst", "tex", "text", "tsv", "txt"];

/// Endings of names of man pages that hardly anything else has.
const MANUAL: &[&str] = &["1", "2", "3", "4", "5", "6", "7", "8", "man", "mdoc", "roff"];

/// Endings of names of source code and of other text that programs read.
const CODE: &[&str] = &[
    "asm", "awk", "bash", "bat", "c", "cc", "cfg", "clj", "cmake", "cocci", "conf", "cpp", "cs", "css", "cxx", "dart",
    "el", "erl", "ex", "exs", "fish", "fs", "go", "gradle", "h", "hh", "hpp", "hs", "ini", "java", "jl", "js", "json",
    "jsx", "kt", "lisp", "lua", "m4", "mjs", "mk", "ml", "mli", "nim", "nix", "php", "pl", "pm", "proto", "ps1", "py",
    "pyi", "r", "rb", "rs", "s", "scala", "scm", "scss", "sh", "sql", "svelte", "swift", "tcl", "tf", "toml", "ts",
    "tsx", "vim", "vue", "xml", "xsd", "xsl", "yaml", "yml", "zig", "zsh",
];

/// Names of source code without an ending.
const CODE_NAMES: &[&str] =
    &["makefile", "gnumakefile", "dockerfile", "containerfile", "justfile", "rakefile", "cmakelists.txt"];

/// A text whose kind is known, and what was taken of it.
pub(super) struct Shape {
    pub(super) kind: Kind,
    pub(super) taken: Taken,
}

/// Whether these bytes are a PDF.
pub(super) fn is_pdf(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"%PDF-")
}

/// Whether a name says that what has it is something that is read, also with gzip.
pub fn is_named_as_text(name: &str) -> bool {
    let name = name.to_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let ending = ending(name);
    MARKDOWN.contains(&ending)
        || HTML.contains(&ending)
        || TEXT.contains(&ending)
        || MANUAL.contains(&ending)
        || is_code(name, ending)
        || ending == "pdf"
}

/// Tells what a text is that is no PDF.
pub(super) fn kind(name: &str, text: &str) -> Kind {
    let name = name.to_lowercase();
    match ending(&name) {
        ending if MARKDOWN.contains(&ending) => Kind::Markdown,
        ending if HTML.contains(&ending) => Kind::Html,
        ending if is_section(ending) && is_roff(text) => Kind::Man,
        ending if is_code(&name, ending) || text.starts_with("#!") => Kind::Code,
        _ if is_html(text) => Kind::Html,
        _ => Kind::Text,
    }
}

/// Takes the words of a text of this kind.
pub(super) fn shape(kind: Kind, text: &str) -> Shape {
    let taken = match kind {
        Kind::Markdown => markdown::taken(text),
        Kind::Html => html::taken(text),
        Kind::Man => man::taken(text),
        Kind::Text | Kind::Code | Kind::Pdf => as_is(text),
    };
    Shape { kind, taken }
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default()
}

fn is_code(name: &str, ending: &str) -> bool {
    CODE.contains(&ending) || CODE_NAMES.contains(&name)
}

fn as_is(text: &str) -> Taken {
    let mut flow = Flow::new();
    flow.verbatim(text);
    flow.finish()
}

/// Whether the ending of a name is a section of the manual: `1`, `3pm`, `8`, `n`.
fn is_section(ending: &str) -> bool {
    let mut chars = ending.chars();
    chars.next().is_some_and(|c| c.is_ascii_digit() || matches!(c, 'n' | 'l')) && ending.len() <= 8
        || matches!(ending, "man" | "mdoc" | "roff")
}

fn is_roff(text: &str) -> bool {
    let marks = [".TH", "'TH", ".Dd", ".so ", ".SH"];
    beginning(text, MAN_MARK_WITHIN).lines().any(|line| marks.iter().any(|mark| line.starts_with(mark)))
}

fn is_html(text: &str) -> bool {
    let beginning = beginning(text, HTML_MARK_WITHIN).trim_start().to_ascii_lowercase();
    beginning.starts_with('<') && (beginning.contains("<!doctype html") || beginning.contains("<html"))
}

fn beginning(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}
