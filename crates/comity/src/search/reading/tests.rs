//! What is taken of documents of each kind, which files a walk finds, and what snippets show.

use super::*;
use crate::scratch::Scratch;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

mod hostile;
mod pdfs;
mod real;

/// A program for documents that are no PDF: none is started for them.
const NONE: &str = "/nonexistent/comity";

fn read_text(name: &str, text: impl AsRef<[u8]>) -> Document {
    read_bytes(name, text.as_ref(), Path::new(NONE)).unwrap()
}

fn cause(name: &str, bytes: &[u8]) -> &'static str {
    read_bytes(name, bytes, Path::new(NONE)).unwrap_err().name()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn text_is_taken_as_it_stands_and_called_by_its_file() {
    let document = read_text("notes.txt", "One line\r\n\tand another\x07.\n");
    assert_eq!(document.text, "One line\n\tand another .\n");
    assert_eq!((document.title.as_str(), document.kind, document.capped), ("notes.txt", Kind::Text, false));
}

#[test]
fn gzip_is_read_as_what_it_holds() {
    let document = read_text("README.md.gz", gzip(b"# A tool\n\nIt *works*."));
    assert_eq!((document.title.as_str(), document.kind), ("A tool", Kind::Markdown));
    assert_eq!(document.text, "A tool\n\nIt works.");
    assert_eq!(read_text("changelog.gz", gzip(b"words")).title, "changelog");
    let two = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(read_text("two.gz", two).text, "one two");
}

#[test]
fn markdown_gives_its_words_only() {
    let document = read_text(
        "a.md",
        "---\ntitle: \"From the front\"\n---\n\n<h1 align=\"center\">Big <b>thing</b></h1>\n\n## Use\n\nSee [the\nmanual](https://example.org/x) and `cargo run`.\n\n- one\n- two\n\n| a | b |\n|---|---|\n| c | d |\n\n```\nlet x = 1;\n  y();\n```\n",
    );
    assert_eq!(document.title, "From the front");
    assert_eq!(
        document.text,
        "Big thing\n\nUse\n\nSee the manual and cargo run.\n\none\ntwo\n\na b\nc d\n\nlet x = 1;\n  y();\n"
    );
}

#[test]
fn html_gives_its_words_its_title_and_its_tongue() {
    let document = read_text(
        "index.html",
        "<!DOCTYPE html><html lang=\"de\"><head><title>T&uuml;ren &amp; Tore</title><style>p{color:red}</style>\
         <script>if (a < b) alert('nein')</script></head><body lang=fr><h1>Auf</h1><p>ein <b>Wo</b>rt<br>mehr\
         <table><tr><td>eins<td>zwei</table><pre>so\n  bleibt</pre><!-- nichts --></body></html>",
    );
    assert_eq!(document.title, "Türen & Tore");
    assert_eq!(document.language.as_deref(), Some("de"));
    assert_eq!(document.text, "Auf\n\nein Wort\nmehr\n\neins zwei\n\nso\n  bleibt");
    assert_eq!(read_text("page", "<!-- x -->\n<html><p>y").kind, Kind::Html);
}

#[test]
fn what_is_said_to_be_of_a_kind_is_read_so_whatever_its_name() {
    let read = |kind, name, text: &str| read_as(kind, name, text.as_bytes(), Path::new(NONE)).unwrap();
    let page = read(Kind::Html, "index.md", "<title>Tea</title># <b>Green</b>");
    assert_eq!((&*page.title, &*page.text, page.kind), ("Tea", "# Green", Kind::Html));
    let page = read(Kind::Markdown, "raw", "# Tea\n\n*Green*");
    assert_eq!((&*page.title, page.kind), ("Tea", Kind::Markdown));
    assert_eq!(read(Kind::Code, "", "{\"tea\": 1}").title, "");
}

#[test]
fn man_pages_of_both_macro_packages_give_their_words() {
    let man = read_text(
        "ls.1.gz",
        gzip(b".\\\" comment\n.if n \\{\\\n.  de XX\nhidden\n.  .\n.\\}\n.TH LS \"1\" \"2024\" \"GNU\"\n.SH NAME\nls \\- list \\fBdirectory\\fR contents\n.SH SYNOPSIS\n.B ls\n[\\fI\\,OPTION\\/\\fR]\n.TP\n\\fB\\-a\\fR, \\fB\\-\\-all\\fR\ndo not ignore \\s-1ENTRIES\\s0 \\(aq.\\(aq\n.BR sort (1)\n"),
    );
    assert_eq!((man.title.as_str(), man.kind), ("ls - list directory contents", Kind::Man));
    assert_eq!(
        man.text,
        "NAME\nls - list directory contents\n\nSYNOPSIS\nls [OPTION]\n\n-a, --all do not ignore ENTRIES '.' sort(1)"
    );
    let mdoc = read_text(
        "ssh.1",
        ".Dd $Mdocdate$\n.Dt SSH 1\n.Os\n.Sh NAME\n.Nm ssh\n.Nd OpenSSH remote login client\n.Sh SYNOPSIS\n.Nm\n.Op Fl B Ar bind_interface\n.Sh DESCRIPTION\n.Bl -tag\n.It Fl 4\nForces IPv4 only; see\n.Xr sshd 8 .\n.El\n",
    );
    assert_eq!(mdoc.title, "ssh - OpenSSH remote login client");
    assert!(
        mdoc.text.contains("ssh -B bind_interface\n\nDESCRIPTION\n\n-4\nForces IPv4 only; see sshd(8)."),
        "{}",
        mdoc.text
    );
}

#[test]
fn a_translated_man_page_is_known_by_its_folder() {
    let scratch = Scratch::new();
    let folder = scratch.path().join("man/pt_BR/man1");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("ls.1"), ".TH LS 1\n.SH NOME\nls \\- lista\n").unwrap();
    let document = read(&folder.join("ls.1"), Path::new(NONE)).unwrap();
    assert_eq!(document.language.as_deref(), Some("pt-BR"));
    assert_eq!(man_language(Path::new("/usr/share/man/man1/ls.1")), None);
}

#[test]
fn source_code_is_told_by_its_name_or_its_first_line() {
    for (name, text) in [("main.rs", "fn main() {}"), ("Makefile", "all:"), ("run", "#!/bin/sh\nexit")] {
        let document = read_text(name, text);
        assert_eq!((document.kind, document.title.as_str()), (Kind::Code, name));
    }
    for kind in Kind::ALL {
        assert_eq!(Kind::named(kind.as_str()), Some(kind));
    }
}

#[test]
fn encodings_other_than_utf_8_are_read_or_refused() {
    let latin = read_text("a.txt", b"Stra\xdfe und \x84Gr\xfc\xdfe\x93 an alle, die das hier noch so lesen k\xf6nnen");
    assert!(latin.text.starts_with("Straße und „Grüße“"), "{}", latin.text);
    let mut utf16 = vec![0xff, 0xfe];
    utf16.extend("Grüße".encode_utf16().flat_map(u16::to_le_bytes));
    assert_eq!(read_text("a.txt", utf16).text, "Grüße");
    assert_eq!(read_text("a.txt", "\u{feff}text").text, "text");
    let damaged = read_text(
        "a.txt",
        "Grüße und Füße, größer \u{2014} "
            .repeat(3)
            .into_bytes()
            .as_slice()
            .iter()
            .copied()
            .chain([0xff])
            .collect::<Vec<_>>(),
    );
    assert!(damaged.text.starts_with("Grüße und Füße"));
    assert_eq!(cause("a.txt", b"\xd4\xc5\xcb\xd3\xd4 \xce\xc1 \xd2\xd5\xd3\xd3\xcb\xcf\xcd"), "binary");
    assert_eq!(cause("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "binary");
}

#[test]
fn what_holds_no_words_is_left_out_by_cause() {
    assert_eq!(cause("a", b""), "empty");
    assert_eq!(cause("a", b" \n\t\n"), "empty");
    assert_eq!(cause("a.html", b"<p><script>x()</script>"), "empty");
    assert_eq!(cause("x.1", b".so man1/y.1\n"), "empty");
    assert_eq!(cause("a.gz", &gzip(b"words")[..12]), "bad-gzip");
    assert_eq!(cause("a.tar.gz", &gzip(&[0; 512])), "binary");
    assert_eq!(cause("a.gz", &gzip(&gzip(b"\0"))), "binary");
}

#[test]
fn a_walk_finds_files_in_the_order_of_names_and_tells_what_it_leaves_out() {
    let scratch = Scratch::new();
    let root = scratch.path();
    for folder in ["b/deep", "a", ".hidden"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for file in ["b/deep/two.md", "b/one.txt", "a/x.log", "a/kept.txt", ".hidden/no", "c.txt"] {
        fs::write(root.join(file), "text").unwrap();
    }
    fs::write(root.join("a/.gitignore"), "*.log\n").unwrap();
    symlink(root, root.join("b/loop")).unwrap();
    symlink("nowhere", root.join("b/broken")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, root.join("a/pipe"), rustix::fs::Mode::RUSR).unwrap();
    let told: Vec<String> = Walk::over(vec![root.to_owned()], true).map(|item| line(root, item)).collect();
    assert_eq!(
        told,
        ["a/kept.txt 4", "special a/pipe", "link b/broken", "b/deep/two.md 4", "link b/loop", "b/one.txt 4", "c.txt 4"]
    );
}

fn line(root: &Path, item: Result<Found, WalkCause>) -> String {
    let below = |path: &Path| path.strip_prefix(root).unwrap().display().to_string();
    match item {
        Ok(found) => format!("{} {}", below(&found.path), found.bytes),
        Err(cause) => match &cause {
            WalkCause::Link { path } | WalkCause::Special { path, .. } => format!("{} {}", cause.name(), below(path)),
            other => other.to_string(),
        },
    }
}

#[test]
fn what_a_user_names_wrongly_is_told_to_the_user() {
    let scratch = Scratch::new();
    let missing = scratch.path().join("missing");
    fs::write(scratch.path().join(".named"), "x").unwrap();
    let paths: Vec<PathBuf> = vec![missing.clone(), scratch.path().to_owned(), scratch.path().join(".named")];
    let mut walk = Walk::over(paths, false);
    let first = walk.next().unwrap().unwrap_err();
    assert!(first.is_the_users() && first.to_string() == format!("{} does not exist", missing.display()));
    let second = walk.next().unwrap().unwrap_err();
    assert!(second.is_the_users() && second.to_string().contains("--recursive"), "{second}");
    assert_eq!(walk.next().unwrap().unwrap().bytes, 1);
    assert!(walk.next().is_none());
}

#[test]
fn a_snippet_stands_where_most_words_of_the_query_are_together() {
    let filler = "lorem ipsum dolor ".repeat(40);
    let text = format!("The index. {filler} Here the search\n\tindexes its  documents \x1b[31mfast. {filler}");
    let snippet = snippet(&text, &["index", "documents", "search"]);
    assert!(snippet.contains("Here the search indexes its documents [31mfast. lorem"), "{snippet}");
    assert!(snippet.starts_with('…') && snippet.ends_with('…'), "{snippet}");
    assert!((200..=240).contains(&snippet.chars().count()), "{}", snippet.chars().count());
}

#[test]
fn a_snippet_without_a_word_of_the_query_is_the_beginning() {
    assert_eq!(snippet(" One\n\ntwo", &["three"]), "One two");
    assert_eq!(snippet::<&str>("One", &[]), "One");
    assert_eq!(snippet_plain(""), "");
    let chinese = format!("{}全文索引很快。", "无关".repeat(300));
    assert!(snippet(&chinese, &["索引"]).ends_with("全文索引很快。"));
    let mut text = String::new();
    for number in 0..200 {
        write!(text, "ж{number} ").unwrap();
    }
    assert!(snippet_plain(&text).chars().count() <= 240);
    assert!(snippet_plain(&text).starts_with("ж0 ж1 ж2"));
    assert_eq!(snippet_plain(&"ß".repeat(500)).chars().count(), 240);
}
