//! Files that are made to harm their reader.

use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

#[test]
fn a_million_elements_in_each_other_are_read() {
    let html = format!("<html><title>Deep</title>{}ground{}", "<div>".repeat(1_000_000), "</div>".repeat(1_000_000));
    let document = read_text("deep.html", html);
    assert_eq!((document.title.as_str(), document.text.as_str()), ("Deep", "ground"));
    let tag = format!("<p {}>words", "a=b ".repeat(100_000));
    assert_eq!(read_text("wide.html", tag).text, "words");
}

#[test]
fn markdown_nested_deep_is_read() {
    for (open, close) in
        [(">", ""), ("[", "](x)"), ("*", "*"), ("![", "]"), ("- ", ""), ("<a>", ""), ("a`", ""), ("[^1]", "")]
    {
        let markdown = format!("{} words {}", open.repeat(50_000), close.repeat(50_000));
        let document = read_text("deep.md", markdown);
        assert!(document.text.contains("words"), "{open}");
    }
}

#[test]
fn roff_that_never_ends_what_it_begins_is_read() {
    for begin in [".de XX\n", ".ig\n", ".TS\n", ".EQ\n", "\\", "\\f[", "\\s", "\\h'", "\\*(", ".B \"", ".BR \\"] {
        let page = format!(".TH X 1\n.SH NAME\nwords\n{begin}{}", "x ".repeat(10_000));
        assert!(read_text("x.1", page).text.contains("words"), "{begin:?}");
    }
}

/// One of each kind, with what its reader has to look at closely.
const SAMPLES: [(&str, &str); 4] = [
    (
        "a.md",
        "---\ntitle: \"T\"\nlang: de\n---\n# A *b* `c`\n\n| a | b |\n|---|:-:|\n| c \\| d | é |\n\n> - [x](y \"z\") ![i](j)\n\n\
         ```rs\nlet x;\n```\n\n[^1]: note &amp; <b>bold</b>\n",
    ),
    (
        "a.html",
        "<!doctype html><html lang=\"pt-BR\"><title>T &eacute;</title><meta charset=utf-8><script>var a = '</b>';</script>\
         <p>one<br>two<table><tr><td>a<td>b</table><pre> x\n y</pre><!-- c --><![CDATA[d]]><style>p{}</style>&#x1F600;",
    ),
    (
        "a.1",
        ".TH X 1 \"2026\"\n.SH NAME\nx \\- does \\fBthat\\fR\n.de ZZ\n.ig\n..\n.TP\n.BR \\-a \", \" b\n.nf\ncode\n.fi\n\
         .TS\nl l.\na\tb\n.TE\n.if n .B \\(em \\*(lq\\[u00E9]\\h'1m'\\s-2\n.Dd x\n.Nm y\n.Fl z Ns Ar w\n.Bl -tag\n.It a\n.El\n",
    ),
    ("a.rs", "\u{feff}// words\nfn main() {\n\tprintln!(\"\\u{e9}\");\r\n}\n"),
];

/// What readers stop at, or begin something at.
const PIECES: [&[u8]; 16] = [
    b"<",
    b">",
    b"</",
    b"<!--",
    b"&#",
    b"\\",
    b"\\f[",
    b"\n.",
    b"\n..\n",
    b"```\n",
    b"|",
    b"\0",
    b"\xff",
    b"\xc3",
    b"---\n",
    b"\x1f\x8b",
];

#[test]
fn damage_anywhere_in_a_document_is_read_or_refused() {
    const SEEDS: u64 = 400;
    let mut read = 0;
    for seed in 0..SEEDS {
        let mut random = StdRng::seed_from_u64(seed);
        for (name, sample) in SAMPLES {
            let mut bytes = sample.as_bytes().to_vec();
            for _ in 0..random.random_range(1..8) {
                let at = random.random_range(0..=bytes.len());
                let upto = random.random_range(at..=bytes.len().min(at + 40));
                match random.random_range(0..4) {
                    0 => drop(bytes.drain(at..upto)),
                    1 => drop(bytes.splice(at..at, bytes[at..upto].to_vec().repeat(random.random_range(1..50)))),
                    2 => bytes.truncate(at),
                    _ => drop(bytes.splice(at..at, PIECES[random.random_range(0..PIECES.len())].to_vec())),
                }
            }
            let Ok(document) = read_bytes(name, &bytes, Path::new(NONE)) else { continue };
            read += 1;
            let shown = snippet(&document.text, &["words", "one"]);
            assert!(!document.title.is_empty() && !shown.is_empty(), "seed {seed}, {name}");
            assert!(!document.title.contains(char::is_control) && !document.text.contains('\0'), "seed {seed}, {name}");
        }
    }
    assert!(read > SEEDS * 2, "{read}");
}

#[test]
fn a_gzip_bomb_is_left_out_before_it_fills_the_memory() {
    let block = vec![b'a'; 1 << 20];
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..256 {
        encoder.write_all(&block).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    assert!(bomb.len() < 4 << 20);
    assert_eq!(cause("bomb.gz", &bomb), "inflates-too-large");
}

#[test]
fn an_endless_line_is_capped_and_says_so() {
    let document = read_text("line.txt", "é".repeat(BYTES_MAX as usize / 2));
    assert!(document.capped);
    assert_eq!(document.text.len(), TEXT_MAX);
    assert_eq!(snippet(&document.text, &["é"]).chars().count(), 240);
    let common = "a ".repeat(TEXT_MAX / 2);
    assert!(snippet(&common, &["a", "b"]).starts_with("a a"));
}

#[test]
fn of_a_file_that_is_too_large_only_the_size_is_looked_at() {
    let scratch = Scratch::new();
    let path = scratch.path().join("sparse.txt");
    File::create(&path).unwrap().set_len(2 << 30).unwrap();
    let Err(ReadCause::TooLarge { bytes }) = read(&path, Path::new(NONE)) else { panic!("it was read") };
    assert_eq!(bytes, 2 << 30);
    let Some(Err(WalkCause::TooLarge { bytes, .. })) = Walk::over(vec![path], false).next() else {
        panic!("it was found")
    };
    assert_eq!(bytes, 2 << 30);
}

#[test]
fn a_pipe_a_folder_and_a_device_are_not_waited_for() {
    let scratch = Scratch::new();
    let pipe = scratch.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).unwrap();
    for path in [pipe.as_path(), scratch.path(), Path::new("/dev/zero")] {
        assert_eq!(read(path, Path::new(NONE)).unwrap_err().name(), "not-a-file");
        assert!(Walk::over(vec![path.to_owned()], false).next().unwrap().is_err());
    }
    let missing = read(&scratch.path().join("missing"), Path::new(NONE)).unwrap_err();
    assert_eq!(missing.name(), "unreadable");
}

#[test]
fn a_name_that_is_no_text_is_found_and_shown_as_well_as_it_can_be() {
    let scratch = Scratch::new();
    let name = OsStr::from_bytes(b"caf\xe9\n.txt");
    fs::write(scratch.path().join(name), "words").unwrap();
    let found = Walk::over(vec![scratch.path().to_owned()], true).next().unwrap().unwrap();
    assert_eq!(found.path.file_name(), Some(name));
    assert_eq!(read(&found.path, Path::new(NONE)).unwrap().title, "caf\u{fffd} .txt");
}

#[test]
fn titles_are_short_and_on_one_line() {
    let markdown = read_text("a.md", format!("# Long\u{1b}[2J {}", "word ".repeat(1000)));
    assert_eq!(markdown.title.chars().count(), TITLE_MAX);
    assert!(!markdown.title.contains(char::is_control));
    let html = read_text("a.html", "<title>\n One\n\ttwo </title><p>x");
    assert_eq!(html.title, "One two");
    assert_eq!(read_text("a.html", "<title> </title><p>x").title, "a.html");
}
