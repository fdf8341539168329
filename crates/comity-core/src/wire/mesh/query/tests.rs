//! Questions and answers, ours and those of hostile peers.

use super::*;

fn read(body: &str) -> Result<Query, BadForm> {
    Query::read(body.as_bytes())
}

fn refused(body: &str) -> (String, Fault) {
    let bad = read(body).expect_err("must be refused");
    (bad.pointer(), bad.fault)
}

#[test]
fn a_question_needs_no_more_than_what_it_asks() {
    let query = read(r#"{"query":"basins of rivers","unknown":{"a":[1,2]}}"#).expect("a question");
    assert_eq!(query, Query::new(Asked::Text("basins of rivers".to_owned())));
    assert_eq!((query.limit, query.timeout), (10, Duration::from_secs(1)));
    let query = read(r#"{"basin":[0.5,-1e-3,3],"limit":null}"#).expect("a question");
    assert_eq!(query.asked, Asked::Basin(vec![0.5, -0.001, 3.0]));
}

#[test]
fn what_is_written_is_read_alike() {
    let filters = Filters::parse(["lang=en", "tag=a\"b"]).expect("filters");
    let text = Query { filters: filters.clone(), ..Query::new(Asked::Text("a \"b\"\n\u{1f600}".to_owned())) };
    let basin = Query {
        limit: LIMIT_MAX,
        include_nodes: vec!["kernel-1".to_owned(), "ed25519:x".to_owned()],
        timeout: Duration::from_millis(250),
        ..Query::new(Asked::Basin(vec![0.1, f32::MIN_POSITIVE, -7.0]))
    };
    for query in [text, basin] {
        assert_eq!(Query::read(&query.to_json()), Ok(query));
    }
}

#[test]
fn exactly_one_of_text_and_vector_is_asked_for() {
    assert_eq!(refused("{}"), ("/query".to_owned(), Fault::Neither { other: "basin" }));
    let both = refused(r#"{"query":"a","basin":[1]}"#);
    assert_eq!(both, ("/basin".to_owned(), Fault::Both { other: "query" }));
    assert_eq!(refused(r#"{"query":"a","query":"b"}"#), ("/query".to_owned(), Fault::Twice));
    assert_eq!(refused(r#"{"query":"a","qu\u0065ry":"b"}"#), ("/query".to_owned(), Fault::Twice));
    assert_eq!(refused(r#"{"query":" \n"}"#).0, "/query");
}

#[test]
fn a_billion_results_and_a_day_of_waiting_are_refused_by_name() {
    for limit in ["1000000000", "0", "-1", "1.5", "\"10\"", "1e2", "99999999999999999999999"] {
        let (field, fault) = refused(&format!(r#"{{"query":"a","limit":{limit}}}"#));
        assert_eq!((field.as_str(), fault), ("/limit", Fault::Wanted("a whole number from 1 to 1000")), "{limit}");
    }
    for timeout in ["0", "30001", "86400000"] {
        let (field, _) = refused(&format!(r#"{{"query":"a","timeout_ms":{timeout}}}"#));
        assert_eq!(field, "/timeout_ms");
    }
    let most = read(r#"{"query":"a","limit":1000,"timeout_ms":30000}"#).expect("a question");
    assert_eq!((most.limit, most.timeout), (LIMIT_MAX, Duration::from_secs(30)));
}

#[test]
fn every_bad_member_is_named() {
    let many = format!(r#"{{"query":"a","include_nodes":["n"{}]}}"#, ",\"n\"".repeat(INCLUDE_MAX));
    assert_eq!(refused(&many), ("/include_nodes".to_owned(), Fault::TooMany { max: INCLUDE_MAX }));
    let long = format!(r#"{{"query":"{}"}}"#, "a".repeat(QUERY_TEXT_MAX + 1));
    assert_eq!(refused(&long), ("/query".to_owned(), Fault::TooLarge { max: QUERY_TEXT_MAX }));
    let wide = format!(r#"{{"basin":[0{}]}}"#, ",0".repeat(DIMENSION_MAX));
    assert_eq!(refused(&wide), ("/basin".to_owned(), Fault::TooMany { max: DIMENSION_MAX }));
    for (body, field) in [
        (r#"{"query":"a","include_nodes":["n",""]}"#, "/include_nodes/1"),
        (r#"{"query":"a","include_nodes":["n",7]}"#, "/include_nodes/1"),
        (r#"{"query":"a","include_nodes":"n"}"#, "/include_nodes"),
        (r#"{"basin":[1,null]}"#, "/basin/1"),
        (r#"{"basin":"1"}"#, "/basin"),
        (r#"{"query":["a"]}"#, "/query"),
        (r#"{"query":"a","filter":["k=v"]}"#, "/filter"),
        (r#"{"query":"a","filter":{"k":"v","k":"w"}}"#, "/filter"),
        (r#"{"query":"a","filter":{"k k":"v"}}"#, "/filter"),
        (r#"{"query":"a","filter":{"k":{}}}"#, "/filter"),
        ("[]", ""),
        ("", ""),
        (r#"{"query":"a""#, ""),
        (r#"{"query":"a"} x"#, ""),
    ] {
        assert_eq!(refused(body).0, field, "{body}");
    }
    assert_eq!(Query::read(b"{\"query\":\"\xff\"}").map_err(|bad| bad.fault), Err(Fault::NotText));
    let huge = " ".repeat(QUERY_BYTES_MAX + 1);
    assert_eq!(refused(&huge).1, Fault::TooLarge { max: QUERY_BYTES_MAX });
}

fn hit(doc_id: &str) -> Hit {
    Hit {
        source_node: "kernel-1".to_owned(),
        doc_id: doc_id.parse().expect("a name"),
        shown: Shown { url: Some("https://a.test/\"x\"".to_owned()), title: Some("É".to_owned()), snippet: None },
        basin_distance: 0.1 + 0.2,
        mesh_score: 1.0 / 3.0,
    }
}

fn answer(results: Vec<Hit>) -> Answer {
    Answer {
        results,
        nodes_queried: 3,
        nodes_failed: vec![NodeFailed { node: "slow".to_owned(), cause: "no answer in time".to_owned() }],
        total_time: Duration::from_millis(17),
        metric: Metric::FisherRao,
    }
}

#[test]
fn an_answer_is_read_as_it_was_written() {
    let bare = Hit { shown: Shown::default(), source_node: String::new(), ..hit("bare") };
    let answer = answer(vec![hit("one"), bare]);
    let read = Answer::read(answer.to_value().to_string().as_bytes(), &Settings::default(), 10);
    assert_eq!(read, Ok((answer, LeftOut::default())));
}

#[test]
fn bad_results_are_left_out_and_counted_while_the_others_stay() {
    let mut value = answer(vec![hit("one"), hit("two")]).to_value();
    let bad = [
        json!(7),
        json!({"basin_distance": 1}),
        json!({"doc_id": "a b", "basin_distance": 1}),
        json!({"doc_id": "a", "url": "u".repeat(URL_MAX + 1), "basin_distance": 1}),
        json!({"doc_id": "a", "url": "https://a.test/\n", "basin_distance": 1}),
        json!({"doc_id": "a"}),
        json!({"doc_id": "a", "basin_distance": -1}),
        json!({"doc_id": "a", "basin_distance": 4}),
        json!({"doc_id": "a", "basin_distance": "1"}),
        json!({"doc_id": "a", "basin_distance": 1, "mesh_score": 1.01}),
        json!({"doc_id": "a", "basin_distance": 1, "title": 3}),
    ];
    let results = value["results"].as_array_mut().expect("a list");
    bad.into_iter().for_each(|one| results.insert(1, one));
    let (read, left_out) = Answer::read(value.to_string().as_bytes(), &Settings::default(), 10).expect("an answer");
    assert_eq!(read.results, [hit("one"), hit("two")]);
    assert_eq!(left_out, LeftOut { form: 2, doc_id: 2, url: 2, distance: 4, score: 1, too_many: 0 });
    assert_eq!(left_out.total(), 11);
}

#[test]
fn an_answer_is_bounded_and_its_texts_are_cut() {
    let long = Hit {
        source_node: "n".repeat(1000),
        shown: Shown { url: None, title: Some("é".repeat(1000)), snippet: Some("s".repeat(9000)) },
        ..hit("long")
    };
    let results = vec![long; 50];
    let body = answer(results).to_value().to_string();
    let (read, left_out) = Answer::read(body.as_bytes(), &Settings::default(), 3).expect("an answer");
    assert_eq!((read.results.len(), left_out.too_many), (3, 47));
    let shown = &read.results[0].shown;
    assert_eq!(shown.title.as_ref().map(String::len), Some(TITLE_MAX));
    assert_eq!(shown.snippet.as_ref().map(String::len), Some(SNIPPET_MAX));
    assert_eq!(read.results[0].source_node.len(), NODE_NAME_MAX);
    let endless = format!(r#"{{"results":[0{}]}}"#, ",0".repeat(LISTED_MAX));
    let bad = Answer::read(endless.as_bytes(), &Settings::default(), 3).expect_err("refused");
    assert_eq!(bad, BadForm::new("results", Fault::TooMany { max: LISTED_MAX }));
}

#[test]
fn what_is_no_answer_or_measured_in_another_way_is_refused() {
    let read = |body: &str| Answer::read(body.as_bytes(), &Settings::default(), 10);
    assert_eq!(read("{}").map_err(|bad| bad.field), Err("results"));
    assert_eq!(read(r#"{"results":{}}"#).map_err(|bad| bad.field), Err("results"));
    assert_eq!(read(r#"{"results":[],"metric":"cosine"}"#).map_err(|bad| bad.field), Err("metric"));
    assert!(read(r#"{"results":[],"nodes_queried":"x","nodes_failed":[1,{"node":"n"}]}"#).is_ok_and(|(answer, _)| {
        answer.nodes_failed == [NodeFailed { node: "n".to_owned(), cause: String::new() }]
    }));
}

#[test]
fn a_score_that_is_not_said_is_that_of_the_distance() {
    let body = r#"{"results":[{"doc_id":"a","basin_distance":0}]}"#;
    let (read, _) = Answer::read(body.as_bytes(), &Settings::default(), 10).expect("an answer");
    assert_eq!(read.results[0].mesh_score, 1.0);
}
