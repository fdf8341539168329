//! What a file is, told by its name and its beginning, and its words taken accordingly.

use super::flow::{Flow, Taken};
use super::{Kind, html, man, markdown};

/// How far the first element of HTML is looked for, bytes: a comment may stand before it.
const HTML_MARK_WITHIN: usize = 1024;

/// How far the first macro of a man page is looked for, bytes: `pod2man` writes 5 KiB before it.
const MAN_MARK_WITHIN: usize = 32 << 10;

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

/// Tells what a text is, and takes its words.
pub(super) fn shape(name: &str, text: &str) -> Shape {
    let name = name.to_lowercase();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).unwrap_or_default();
    let kind = match ending {
        "md" | "markdown" | "mdown" | "mkd" => Kind::Markdown,
        "html" | "htm" | "xhtml" | "shtml" => Kind::Html,
        _ if is_section(ending) && is_roff(text) => Kind::Man,
        _ if CODE.contains(&ending) || CODE_NAMES.contains(&name.as_str()) || text.starts_with("#!") => Kind::Code,
        _ if is_html(text) => Kind::Html,
        _ => Kind::Text,
    };
    let taken = match kind {
        Kind::Markdown => markdown::taken(text),
        Kind::Html => html::taken(text),
        Kind::Man => man::taken(text),
        Kind::Text | Kind::Code | Kind::Pdf => as_is(text),
    };
    Shape { kind, taken }
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
