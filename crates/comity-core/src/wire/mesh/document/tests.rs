//! Documents as applications send them.

use super::*;
use serde_json::json;

fn refused(text: &str) -> (String, Fault) {
    let bad = Document::read(text).expect_err("must be refused");
    (bad.pointer(), bad.fault)
}

#[test]
fn a_document_is_named_by_its_url_unless_a_name_is_given() {
    let document = Document::read(r#"{"url":"https://a.test/x","title":"X","text":"some words"}"#).expect("one");
    assert_eq!(document.doc_id, DocId::of_url("https://a.test/x"));
    assert_eq!(document.content, Content::Text("some words".to_owned()));
    let given = Document::read(r#"{"doc_id":"mine","url":"https://a.test/x","basin":[1,2]}"#).expect("one");
    assert_eq!((given.doc_id.as_str(), given.content), ("mine", Content::Basin(vec![1.0, 2.0])));
    assert_eq!(refused(r#"{"text":"a"}"#).0, "/doc_id");
}

#[test]
fn exactly_one_of_text_and_vector_is_given() {
    assert_eq!(refused(r#"{"doc_id":"a"}"#), ("/text".to_owned(), Fault::Neither { other: "basin" }));
    let both = refused(r#"{"doc_id":"a","text":"b","basin":[1]}"#);
    assert_eq!(both, ("/basin".to_owned(), Fault::Both { other: "text" }));
}

#[test]
fn every_bad_member_is_named() {
    let long_title = json!({"doc_id": "a", "text": "b", "title": "t".repeat(TITLE_MAX + 1)}).to_string();
    for (text, field) in [
        (r#"{"doc_id":"a b","text":"b"}"#, "/doc_id"),
        (r#"{"url":"a b","text":"b"}"#, "/url"),
        (r#"{"url":"","text":"b"}"#, "/url"),
        (r#"{"doc_id":"a","text":7}"#, "/text"),
        (r#"{"doc_id":"a","basin":[1,"x"]}"#, "/basin/1"),
        (r#"{"doc_id":"a","text":"b","metadata":[]}"#, "/metadata"),
        (r#"{"doc_id":"a","text":"b","metadata":{"k":1,"k":2}}"#, "/metadata"),
        (r#"{"doc_id":"a","doc_id":"b","text":"b"}"#, "/doc_id"),
        (long_title.as_str(), "/title"),
        ("7", ""),
        (r#"{"doc_id":"a","text":"b"}{"#, ""),
    ] {
        assert_eq!(refused(text).0, field, "{text}");
    }
    let long = json!({"doc_id": "a", "text": "t".repeat(TEXT_MAX + 1)}).to_string();
    assert_eq!(refused(&long), ("/text".to_owned(), Fault::TooLarge { max: TEXT_MAX }));
    let deep = format!(r#"{{"doc_id":"a","text":"b","metadata":{}1{}}}"#, r#"{"a":"#.repeat(20), "}".repeat(20));
    assert_eq!(refused(&deep), ("/metadata".to_owned(), Fault::TooDeep { max: 16 }));
    let endless = format!(r#"{{"doc_id":"a","text":"b","other":{}"#, "[".repeat(DOCUMENT_BYTES_MAX / 2));
    assert!(matches!(refused(&endless).1, Fault::Syntax { .. }));
}

#[test]
fn a_bad_document_of_a_batch_is_named_and_the_others_stand() {
    let body = br#"[{"doc_id":"a","text":"x"},{"doc_id":"b","basin":[0,null]},7,{"doc_id":"c","text":"z"}]"#;
    let read = read_batch(body).expect("a batch");
    let names: Vec<&str> = read.iter().flatten().map(|document| document.doc_id.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    let bad: Vec<String> = read.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
    assert_eq!(bad, ["document 1: a number is wanted at /basin/1", "document 2: a JSON object is wanted"]);
    let single = read_batch(br#" {"doc_id":"a","text":"x"} "#).expect("a batch");
    assert!(matches!(single.as_slice(), [Ok(document)] if document.doc_id.as_str() == "a"));
}

#[test]
fn a_batch_is_bounded_and_must_be_json() {
    let many = format!("[0{}]", ",0".repeat(BATCH_MAX));
    assert_eq!(read_batch(many.as_bytes()).map_err(|bad| bad.fault), Err(Fault::TooMany { max: BATCH_MAX }));
    assert!(read_batch(br#"[{"doc_id":"a","text":"x"}"#).is_err());
    assert!(read_batch(b"[\xff]").is_err());
}

#[test]
fn documents_come_line_by_line() {
    assert_eq!(read_line(0, b" \r"), Ok(None));
    let read = read_line(1, b"{\"doc_id\":\"a\",\"text\":\"x\"}\r").expect("a line").expect("a document");
    assert_eq!(read.doc_id.as_str(), "a");
    let bad = read_line(7, b"{\"doc_id\":\"a\"}").expect_err("refused");
    assert_eq!((bad.index, bad.form.field), (7, "text"));
    assert_eq!(read_line(8, b"\xff").map_err(|bad| bad.form.fault), Err(Fault::NotText));
}

#[test]
fn a_record_says_where_a_document_is_what_it_is_called_and_how_it_begins() {
    let text = format!("  First\n\twords {}", "and more ".repeat(1000));
    let document = json!({"url": "https://a.test/x", "title": "X", "text": text, "metadata": {"lang": "en"}});
    let document = Document::read(&document.to_string()).expect("one");
    let metadata = document.record_metadata().expect("small");
    let shown = metadata.shown();
    assert_eq!((shown.url.as_deref(), shown.title.as_deref()), (Some("https://a.test/x"), Some("X")));
    let snippet = shown.snippet.expect("one");
    assert!(snippet.starts_with("First words and more") && snippet.len() <= SNIPPET, "{snippet}");
    assert_eq!(metadata.to_map()["lang"], "en");
    let own = json!({"doc_id": "a", "text": "long", "metadata": {"snippet": "short"}}).to_string();
    let own = Document::read(&own).expect("one").record_metadata().expect("small");
    assert_eq!(own.shown().snippet.as_deref(), Some("short"));
    let bare = Document::read(r#"{"doc_id":"a","basin":[1],"metadata":{"k":1}}"#).expect("one");
    assert_eq!(bare.record_metadata().expect("small").as_str(), r#"{"k":1}"#);
}

#[test]
fn a_long_word_is_cut_to_a_snippet() {
    let document = json!({"doc_id": "a", "text": "é".repeat(5000)}).to_string();
    let metadata = Document::read(&document).expect("one").record_metadata().expect("small");
    assert_eq!(metadata.shown().snippet.map(|snippet| snippet.len()), Some(SNIPPET));
}
