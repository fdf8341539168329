//! Files that are made to harm their reader.

use super::*;
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
