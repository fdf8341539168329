//! Tables and answers, honest and hostile.

use super::*;
use crate::scratch::Scratch;
use axum::routing::any;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::net::TcpListener;

/// A safetensors file with this head and these bytes.
fn safetensors(head: &Value, bytes: &[u8]) -> Vec<u8> {
    let head = head.to_string();
    [&(head.len() as u64).to_le_bytes(), head.as_bytes(), bytes].concat()
}

fn described(kind: &str, rows: u64, columns: u64, bytes: usize) -> Value {
    json!({ "__metadata__": { "by": "a test" }, "embeddings": { "dtype": kind, "shape": [rows, columns], "data_offsets": [0, bytes] } })
}

/// Opens a table of these files.
fn opened(tensors: &[u8], vocabulary: &[u8]) -> Result<Table, TableCause> {
    let scratch = Scratch::new();
    fs::write(scratch.path().join(table::TENSORS), tensors).unwrap();
    fs::write(scratch.path().join(table::VOCABULARY), vocabulary).unwrap();
    Table::open(scratch.path())
}

/// A table of two numbers for each of these tokens.
fn table(rows: &[(&str, [f32; 2])]) -> Table {
    let bytes: Vec<u8> = rows.iter().flat_map(|(_, row)| row).flat_map(|number| number.to_le_bytes()).collect();
    let tokens: String = rows.iter().map(|(token, _)| format!("{token}\n")).collect();
    opened(&safetensors(&described("F32", rows.len() as u64, 2, bytes.len()), &bytes), tokens.as_bytes()).unwrap()
}

#[test]
fn the_vector_of_a_text_is_the_direction_of_the_mean_of_its_tokens() {
    let table = table(&[("[UNK]", [9.0, 9.0]), ("cat", [3.0, 0.0]), ("sat", [0.0, 4.0]), (".", [0.0, 0.0])]);
    assert_eq!(table.dimension(), 2);
    let table = self::table(&[("cat", [3.0, 0.0]), ("sat", [0.0, 4.0]), (".", [0.0, 0.0])]);
    assert_eq!(table.encode("Cat, unknown\nSAT."), Some(vec![0.6, 0.8]));
    assert_eq!(table.encode("cat cat"), Some(vec![1.0, 0.0]));
    for nothing in ["", "unknown", "[UNK]", "."] {
        assert_eq!(table.encode(nothing), None, "{nothing}");
    }
}

#[test]
fn words_are_taken_apart_in_their_longest_pieces() {
    let table = table(&[
        ("un", [1.0, 0.0]),
        ("##happi", [0.0, 1.0]),
        ("##hap", [9.0, 0.0]),
        ("##ness", [0.0, 1.0]),
        ("happi", [9.0, 9.0]),
        ("猫", [0.0, 5.0]),
    ]);
    let vector = table.encode("unhappiness").unwrap();
    assert!((vector[0] - 1.0 / 5f32.sqrt()).abs() < 1e-6 && (vector[1] - 2.0 / 5f32.sqrt()).abs() < 1e-6, "{vector:?}");
    assert_eq!(table.encode("unhappinesX"), None);
    assert_eq!(table.encode("猫猫"), Some(vec![0.0, 1.0]));
    assert_eq!(table.encode(&"un".repeat(600_000)), None);
}

#[test]
fn a_vocabulary_with_capitals_tells_them_apart() {
    let table = table(&[("Cat", [1.0, 0.0]), ("cat", [0.0, 1.0])]);
    assert_eq!(table.encode("Cat"), Some(vec![1.0, 0.0]));
}

#[test]
fn numbers_of_two_bytes_are_read_as_they_are_meant() {
    // 1.5 and -2, in binary16 and in bfloat16.
    for (kind, bytes) in [("F16", [0x00, 0x3e, 0x00, 0xc0]), ("BF16", [0xc0, 0x3f, 0x00, 0xc0])] {
        let table = opened(&safetensors(&described(kind, 1, 2, 4), &bytes), b"a\n").unwrap();
        assert_eq!(table.encode("a"), Some(vec![0.6, -0.8]), "{kind}");
    }
    let small = opened(&safetensors(&described("F16", 1, 1, 2), &[1, 0]), b"a").unwrap();
    assert_eq!(small.encode("a"), Some(vec![1.0]));
}

#[test]
fn a_damaged_table_is_refused_with_what_is_wrong() {
    let four = 1f32.to_le_bytes();
    let fits = described("F32", 1, 1, 4);
    let says = |tensors: &[u8], vocabulary: &[u8]| opened(tensors, vocabulary).unwrap_err().to_string();
    for (tensors, part) in [
        (vec![], "breaks off"),
        (u64::MAX.to_le_bytes().to_vec(), "too long"),
        (safetensors(&json!([1]), &four), "no JSON object"),
        (safetensors(&json!({}), &four), "holds 0 tensors"),
        (safetensors(&json!({ "a": {}, "b": {} }), &four), "tensors"),
        (safetensors(&json!({ "a": { "dtype": "F32" } }), &four), "does not describe"),
        (safetensors(&described("I8", 1, 1, 1), &[1]), "type I8"),
        (safetensors(&described("F32", 1, 1, 8), &four), "as long as its shape"),
        (safetensors(&described("F32", 0, 1, 0), &[]), "empty"),
        (safetensors(&described("F32", u64::MAX, 2, 4), &four), "more than is kept"),
        (safetensors(&described("F32", 1 << 28, 1, 1 << 30), &four), "breaks off"),
        (safetensors(&fits, &four[..3]), "breaks off"),
        (safetensors(&fits, &f32::NAN.to_le_bytes()), "row 0"),
    ] {
        let said = says(&tensors, b"a\n");
        assert!(said.contains(part), "{part}: {said}");
    }
    let good = safetensors(&fits, &four);
    assert!(says(&good, b"a\nb\n").contains("2 lines, and the table 1 rows"));
    assert!(says(&good, b"\xff\n").contains("UTF-8"));
    assert!(Table::open(std::path::Path::new("/nonexistent/t")).unwrap_err().to_string().contains("/nonexistent/t"));
}

#[test]
fn a_request_asks_for_numbers_and_holds_the_beginning_of_each_text() {
    let endpoint = Endpoint { model: "m".into() };
    assert_eq!(endpoint.request(&["a", "\"b\n"]), r#"{"model":"m","input":["a","\"b\n"],"encoding_format":"float"}"#);
    let long = "é".repeat(endpoint::TEXT_MAX);
    let asked = endpoint.request(&[&long]);
    assert!(asked.len() < endpoint::TEXT_MAX + 100, "{}", asked.len());
}

#[test]
fn an_answer_is_put_in_the_order_of_the_texts() {
    let body = br#"{"object":"list","data":[{"index":1,"embedding":[0,1]},{"index":0,"embedding":[1e0,-0.5],"object":"embedding"}],"usage":{}}"#;
    assert_eq!(endpoint::answer(body, 2, 2), Ok(vec![vec![1.0, -0.5], vec![0.0, 1.0]]));
    let plain = br#"{"data":[{"embedding":[1]},{"embedding":[2]}]}"#;
    assert_eq!(endpoint::answer(plain, 2, 1), Ok(vec![vec![1.0], vec![2.0]]));
}

#[test]
fn an_answer_that_does_not_fit_its_question_is_refused() {
    let cause = |body: &str| endpoint::answer(body.as_bytes(), 2, 1).unwrap_err();
    let rows = |one: &str, two: &str| cause(&format!(r#"{{"data":[{one},{two}]}}"#));
    let good = r#"{"index":0,"embedding":[1]}"#;
    assert_eq!(cause(r#"{"data":[]}"#), AnswerCause::Count { given: 0, wanted: 2 });
    assert_eq!(rows(good, good), AnswerCause::Index(0));
    assert_eq!(rows(good, r#"{"index":2,"embedding":[1]}"#), AnswerCause::Index(2));
    assert_eq!(rows(good, r#"{"index":1,"embedding":[1,2]}"#), AnswerCause::Dimension { given: 2, wanted: 1 });
    assert_eq!(rows(good, r#"{"index":1,"embedding":[0]}"#), AnswerCause::Zero(1));
    assert!(matches!(rows(good, r#"{"index":1,"embedding":[1e39]}"#), AnswerCause::NotUnderstood { .. }));
    assert!(matches!(rows(good, r#"{"index":1,"embedding":"AAAA"}"#), AnswerCause::NotUnderstood { .. }));
    assert!(matches!(cause("<html>"), AnswerCause::NotUnderstood { line: 1, .. }));
    assert_eq!(cause(r#"{"error":{"message":"no such\u001b model"}}"#), AnswerCause::Refused("no such  model".into()));
    let long = format!(r#"{{"error":"{}"}}"#, "x".repeat(1000));
    assert_eq!(cause(&long), AnswerCause::Refused("x".repeat(200)));
    let longer = " ".repeat(endpoint::answer_max(2, 1) + 1);
    assert_eq!(cause(&longer), AnswerCause::TooLong(endpoint::answer_max(2, 1)));
    assert!(matches!(cause(&"[".repeat(3000)), AnswerCause::NotUnderstood { .. }));
}

/// A model behind a server that refuses some texts, gives zeros for others, and counts how often it is asked.
async fn model() -> (Encoder, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let answer = move |Json(question): Json<Value>| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            let texts = question["input"].as_array().cloned().unwrap_or_default();
            let texts: Vec<&str> = texts.iter().filter_map(Value::as_str).collect();
            if texts.contains(&"ill") {
                return Err(StatusCode::INTERNAL_SERVER_ERROR);
            }
            if texts.contains(&"refused") {
                return Err(StatusCode::BAD_REQUEST);
            }
            let row = |text: &&str| json!({ "embedding": if *text == "zeros" { [0, 0] } else { [1, text.len()] } });
            Ok(Json(json!({ "data": texts.iter().map(row).collect::<Vec<_>>() })))
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/embeddings", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(answer))).await });
    let endpoint = Endpoint { model: "m".into() };
    (Encoder::Endpoint(Arc::new(Served { endpoint, url, token: None })), asked)
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test]
async fn a_text_that_a_model_does_not_take_costs_no_other_its_vector() {
    let (encoder, asked) = model().await;
    let encoded = encoder.encode(owned(&["a", "refused", "bb", "zeros"]), 2).await.unwrap();
    let refused = Err(NoVector::Refused(StatusCode::BAD_REQUEST));
    assert_eq!(encoded, [Ok(vec![1.0, 1.0]), refused.clone(), Ok(vec![1.0, 2.0]), Err(NoVector::Unusable)]);
    assert_eq!(asked.load(Ordering::Relaxed), 5);
    assert_eq!(encoder.encode(owned(&["refused"]), 2).await.unwrap(), [refused]);
    assert_eq!(encoder.encode(owned(&["a", "bb"]), 2).await.unwrap().len(), 2);
    assert_eq!(asked.load(Ordering::Relaxed), 7, "what is taken is not asked for again");
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_at_fault_itself_and_is_not_asked_for_each_text() {
    let (encoder, asked) = model().await;
    let refused = encoder.encode(owned(&["refused"; 60]), 2).await;
    assert!(matches!(refused, Err(NotEncoded::Status(StatusCode::BAD_REQUEST))), "{refused:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 1 + REFUSED_MAX);
    let ill = encoder.encode(owned(&["a", "ill"]), 2).await;
    assert!(matches!(ill, Err(NotEncoded::Status(StatusCode::INTERNAL_SERVER_ERROR))), "{ill:?}");
    assert_eq!(asked.load(Ordering::Relaxed), 2 + REFUSED_MAX);
}
