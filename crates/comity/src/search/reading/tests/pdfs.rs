//! PDFs, honest and hostile, each read in a process of its own.

use super::*;
use std::io;
use std::process::Command;

/// Says to a process of this test binary that it is the one that reads.
const READS: &str = "COMITY_TEST_READS_PDF";

/// A program that does what the hidden subcommand does.
pub(super) fn program(scratch: &Scratch) -> PathBuf {
    let (_, module) = module_path!().split_once("::").unwrap();
    let lines = format!(
        "[ \"$1\" = {} ] || exit 9\n{READS}=1 exec '{}' --exact {module}::the_side_that_reads --ignored --nocapture 3>&1 \
         >/dev/null",
        pdf::SUBCOMMAND,
        std::env::current_exe().unwrap().display()
    );
    script(scratch, "program", &lines)
}

#[test]
#[ignore = "is the process that the other tests start"]
fn the_side_that_reads() {
    if std::env::var_os(READS).is_some() {
        pdf::child(io::stdin(), OpenOptions::new().write(true).open("/dev/fd/3").unwrap()).unwrap();
    }
}

fn read_pdf(bytes: &[u8]) -> Result<Document, ReadCause> {
    let scratch = Scratch::new();
    read_bytes("file.pdf", bytes, &program(&scratch))
}

/// A PDF of these objects, of which the first is the catalogue and the last the information.
fn pdf_of(objects: &[Vec<u8>]) -> Vec<u8> {
    let mut pdf = b"%PDF-1.7\n".to_vec();
    let mut table = String::new();
    for (index, object) in objects.iter().enumerate() {
        writeln!(table, "{:010} 00000 n ", pdf.len()).unwrap();
        pdf.extend(format!("{} 0 obj\n", index + 1).bytes());
        pdf.extend(object);
        pdf.extend(b"\nendobj\n");
    }
    let (count, start) = (objects.len() + 1, pdf.len());
    let trailer = format!(
        "xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R /Info {} 0 R >>\nstartxref\n{start}\n%%EOF\n",
        count - 1
    );
    pdf.extend(trailer.bytes());
    pdf
}

/// A stream of these bytes, as they are stored.
fn stream(dictionary: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!("<< /Length {} {dictionary} >>\nstream\n", bytes.len());
    [head.as_bytes(), bytes, b"\nendstream"].concat()
}

/// A PDF with one page of which this is the content.
fn one_page(content: Vec<u8>) -> Vec<u8> {
    pdf_of(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_vec(),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
            .to_vec(),
        content,
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_vec(),
        b"<< /Title (A \xfcber title) >>".to_vec(),
    ])
}

/// Blanks in the form of zlib: so many MiB of them.
fn deflated_blanks(mib: usize) -> Vec<u8> {
    let block = vec![b' '; 1 << 20];
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&block).unwrap();
    encoder.flush().unwrap();
    let begun = encoder.get_ref().len();
    encoder.write_all(&block).unwrap();
    encoder.flush().unwrap();
    // Each block refers only to what is right before it, which is the same for all of them.
    let again = encoder.get_ref()[begun..].to_vec();
    let mut deflated = encoder.get_ref()[..begun].to_vec();
    deflated.extend(again.repeat(mib - 1));
    deflated
}

#[test]
fn a_pdf_gives_its_words_in_lines_and_its_title() {
    let content = b"BT /F 12 Tf 72 700 Td (Words that be-) Tj 0 -14 Td (long together, ) Tj \
        [(kerned) -20 (ly) -400 (apart)] TJ 0 -40 Td (Caf\xe9) Tj ET";
    let document = read_pdf(&one_page(stream("", content))).unwrap();
    assert_eq!((document.title.as_str(), document.kind), ("A über title", Kind::Pdf));
    assert_eq!(document.text, "Words that belong together, kernedly apart\n\nCafé");
}

#[test]
fn a_pdf_in_gzip_is_read() {
    let pdf = gzip(&one_page(stream("", b"BT /F 12 Tf 72 700 Td (packed) Tj ET")));
    assert_eq!(read_pdf(&pdf).unwrap().text, "packed");
}

#[test]
fn a_truncated_pdf_is_read_as_far_as_it_goes_or_left_out_by_cause() {
    let pdf = one_page(stream("", b"BT /F 12 Tf 72 700 Td (words) Tj ET"));
    let mut read = 0;
    for length in (5..pdf.len()).step_by(pdf.len() / 12) {
        match read_pdf(&pdf[..length]) {
            Ok(document) => read += u32::from(document.text == "words"),
            Err(cause) => assert!(matches!(cause.name(), "pdf-damaged" | "empty"), "{cause}"),
        }
    }
    assert!(read > 0);
}

#[test]
fn a_pdf_that_inflates_to_gigabytes_ends_its_own_process_only() {
    let bomb = one_page(stream("/Filter /FlateDecode", &deflated_blanks(2048)));
    assert!(bomb.len() < 4 << 20, "{}", bomb.len());
    let cause = read_pdf(&bomb).unwrap_err();
    assert!(matches!(cause.name(), "pdf-too-much" | "pdf-too-long"), "{cause}");
}

#[test]
fn a_pdf_nested_without_end_ends_its_own_process_only() {
    let deep = one_page(stream("", &b"[".repeat(1_000_000)));
    assert!(read_pdf(&deep).is_err());
    let pages = pdf_of(&[
        b"<< /Type /Catalog /Pages 2 0 R >>".to_vec(),
        b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 2 >>".to_vec(),
    ]);
    assert!(read_pdf(&pages).is_err());
}

/// A program that is this script.
fn script(scratch: &Scratch, name: &str, lines: &str) -> PathBuf {
    let path = scratch.path().join(name);
    // Were it written here, a process that another test starts meanwhile would hold it open for
    // writing, and the system runs no such file.
    let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$2" && chmod 700 "$2""#;
    let status = Command::new("sh").args(["-c", write, "sh", lines]).arg(&path).status().unwrap();
    assert!(status.success());
    path
}

#[test]
fn a_program_that_ends_without_an_answer_is_told_by_how_it_ends() {
    let scratch = Scratch::new();
    let pdf = one_page(stream("", &b"% filler\n".repeat(100_000)));
    let outcome = |program: &Path| read_bytes("a.pdf", &pdf, program).unwrap_err().name();
    assert_eq!(outcome(Path::new(NONE)), "pdf-no-process");
    for (name, lines, expected) in [
        ("fails", "exit 1", "pdf-no-answer"),
        ("babbles", "yes", "pdf-no-answer"),
        ("lies", "echo text 0 0 7; echo six", "pdf-no-answer"),
        ("closes", "exec >&-; exec sleep 100", "pdf-no-answer"),
        ("time", "kill -XCPU $$", "pdf-too-long"),
        ("memory", "kill -ABRT $$", "pdf-too-much"),
        ("says", "echo cause pdf-encrypted", "pdf-encrypted"),
    ] {
        assert_eq!(outcome(&script(&scratch, name, lines)), expected, "{name}");
    }
}

#[test]
fn the_reader_gets_nothing_of_our_environment() {
    let scratch = Scratch::new();
    let told = script(&scratch, "env", "[ -z \"$HOME$CARGO_MANIFEST_DIR\" ] && printf 'text 0 0 5\\nclean'");
    assert_eq!(read_bytes("a.pdf", b"%PDF-1.7", &told).unwrap().text, "clean");
}
