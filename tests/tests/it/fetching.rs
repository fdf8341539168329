//! Pages of the web that are indexed by their URLs, from a server that moves, refuses, and never ends.

use comity_tests::folder::Folder;
use comity_tests::node::Node;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output};
use std::thread;

/// The largest body that is fetched, bytes.
const BODY_MAX: usize = 16 << 20;

const BREAD: &str = "<!DOCTYPE html><html><head><title>Zephyrine quillwort</title></head>\
                     <body><h1>Bread</h1><p>A sourdough starter wants flour, water and time.</p></body></html>";

/// A server of the web, until the test ends: where it is.
fn serve(archive: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let archive = archive.clone();
            // Err: whoever asked has gone, as it does when an answer is too large.
            thread::spawn(move || answer(stream, &archive).ok());
        }
    });
    url
}

fn answer(mut stream: TcpStream, archive: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = first.split(' ').nth(1).unwrap_or_default();
    let large = format!("text/plain\r\nContent-Length: {}", BODY_MAX + 1);
    let (status, kind, body) = match path.split('?').next().unwrap_or_default() {
        "/bread" => ("200 OK", "text/html; charset=utf-8", BREAD.as_bytes().to_vec()),
        "/raw" => ("200 OK", "text/markdown", b"# Obsidian marmalade\n\nGreen *tea* is brewed with water.\n".to_vec()),
        "/paper" => ("200 OK", "application/pdf", paper()),
        "/notes.txt.gz" => ("200 OK", "application/octet-stream", archive.to_vec()),
        "/" => ("200 OK", "text/plain", b"crepuscular wainscot without a name".to_vec()),
        "/moved" => ("302 Found\r\nLocation: /bread?from=moved", "text/plain", b"there".to_vec()),
        "/circle" => ("301 Moved Permanently\r\nLocation: /circle", "text/plain", b"again".to_vec()),
        "/away" => ("307 Temporary Redirect\r\nLocation: file:///etc/passwd", "text/plain", b"here".to_vec()),
        "/picture" => ("200 OK", "image/png", b"\x89PNG".to_vec()),
        "/large" => ("200 OK", &*large, b"".to_vec()),
        "/endless" => ("200 OK", "text/plain", b"word ".to_vec()),
        _ => ("404 Not Found", "text/html", b"<p>thunderous cuckoopint</p>".to_vec()),
    };
    write!(stream, "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n")?;
    stream.write_all(&body)?;
    if path == "/endless" {
        let block = [b' '; 1 << 16];
        for _ in 0..=BODY_MAX / block.len() {
            stream.write_all(&block)?;
        }
    }
    stream.flush()
}

/// A PDF of one page.
fn paper() -> Vec<u8> {
    let content = "BT /F 12 Tf 72 700 Td (Thunderous halcyon of the marshes) Tj ET";
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R /Resources << /Font << /F 5 0 R >> >> >>"
            .to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
    ];
    let (mut pdf, mut table) = ("%PDF-1.7\n".to_owned(), String::new());
    for (number, object) in (1..).zip(&objects) {
        table.push_str(&format!("{:010} 00000 n \n", pdf.len()));
        pdf.push_str(&format!("{number} 0 obj\n{object}\nendobj\n"));
    }
    let (count, start) = (objects.len() + 1, pdf.len());
    pdf.push_str(&format!("xref\n0 {count}\n0000000000 65535 f \n{table}trailer\n<< /Size {count} /Root 1 0 R >>\n"));
    pdf.push_str(&format!("startxref\n{start}\n%%EOF\n"));
    pdf.into_bytes()
}

fn gzip(folder: &Folder, text: &str) -> Vec<u8> {
    let path = folder.path().join("plain");
    std::fs::write(&path, text).expect("it is ours");
    let packed = Command::new("gzip").arg("--stdout").arg(&path).output().expect("gzip is installed");
    assert!(packed.status.success(), "{packed:?}");
    packed.stdout
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_page_is_fetched_by_its_url_and_found_there_and_one_that_fails_keeps_no_other_from_it() {
    let folder = Folder::new();
    let web = serve(gzip(&folder, "A perspicacious ombudsman kept notes.\n"));
    let node = Node::alone("ann", &[]);
    let at = |path: &str| format!("{web}{path}");
    let file = folder.path().join("tea.txt");
    std::fs::write(&file, "Vermilion samovars boil no water.\n").expect("it is ours");
    let file = file.display().to_string();

    let pages = ["/bread", "/raw", "/paper", "/notes.txt.gz", "/"].map(at);
    let words: Vec<&str> =
        ["index", "add", "--tag", "team=bread"].into_iter().chain(pages.iter().map(|url| &**url)).collect();
    let first = node.json(&[&words[..], &[file.as_str()]].concat());
    assert_eq!((&first["added"], &first["left_out"]), (&json!(6), &json!({})), "{first}");
    let again = node.json(&[&words[..], &[file.as_str()]].concat());
    assert_eq!((&again["added"], &again["changed"], &again["unchanged"]), (&json!(0), &json!(0), &json!(6)), "{again}");

    let found = |words: &str| node.json(&["search", words, "--filter", "team=bread"])["results"][0].clone();
    for (words, url, title) in [
        ("sourdough starter", &pages[0], "Zephyrine quillwort"),
        ("green tea is brewed", &pages[1], "Obsidian marmalade"),
        ("halcyon of the marshes", &pages[2], "paper"),
        ("perspicacious ombudsman", &pages[3], "notes.txt"),
        ("crepuscular wainscot", &pages[4], "127.0.0.1"),
    ] {
        let first = found(words);
        assert_eq!((&first["url"], &first["title"]), (&json!(url), &json!(title)), "{words}: {first}");
    }
    assert_eq!(node.json(&["index", "rm", &pages[0]])["removed"], 1);

    // What is moved is indexed under the URL that was asked for, a fragment is no part of it.
    let moved = at("/moved");
    assert_eq!(node.json(&["index", "add", &format!("{moved}#crust")])["added"], 1);
    assert_eq!(node.json(&["search", "sourdough starter"])["results"][0]["url"], json!(moved));
}

#[test]
fn a_page_that_cannot_be_had_is_named_without_its_query_and_the_others_are_indexed() {
    let web = serve(Vec::new());
    let node = Node::alone("ann", &[]);
    let at = |path: &str| format!("{web}{path}");
    let gone = at("/gone?key=hidden");
    let failed = node.run(&["index", "add", &gone, &at("/circle"), &at("/away"), &at("/raw"), "--json"]);
    let told = stderr(&failed);
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
    assert!(told.contains(&format!("{} was not given: HTTP status 404", at("/gone"))), "{told}");
    assert!(told.contains("/circle is redirected more than 5 times") && !told.contains("hidden"), "{told}");
    assert!(told.contains("/away is elsewhere, at a URL that is not fetched"), "{told}");
    assert!(told.contains("3 of 4 pages could not be fetched"), "{told}");
    let sum: Value = serde_json::from_slice(&failed.stdout).expect("JSON");
    assert_eq!((&sum["added"], &sum["left_out"]), (&json!(1), &json!({"not-given": 1, "redirect": 2})), "{sum}");

    // What is there and cannot be read is left out, as a file is.
    let unread = node.run(&["index", "add", &at("/picture"), &at("/large"), &at("/endless"), "--json"]);
    let told = stderr(&unread);
    assert_eq!(unread.status.code(), Some(0), "{unread:?}");
    assert!(told.contains("/picture is of the type image/png, which is not read"), "{told}");
    assert_eq!(told.matches(&format!("has more than {BODY_MAX} bytes")).count(), 2, "{told}");
    let sum: Value = serde_json::from_slice(&unread.stdout).expect("JSON");
    assert_eq!(sum["left_out"], json!({"too-large": 2, "unknown-type": 1}), "{sum}");

    // Nothing is asked for when one of them cannot be right.
    let refused = node.run(&["index", "add", &at("/bread"), "https://ann:hidden@example.org/"]);
    let told = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(told.contains("a user's name or password") && !told.contains("hidden"), "{told}");
    let kept = node.json(&["index", "stats"]);
    assert_eq!(kept["documents"], 1, "{kept}");
}
