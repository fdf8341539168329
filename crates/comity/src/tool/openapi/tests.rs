//! A document as people write them, and the requests that its operations become, at a real HTTP server.

use super::document::Document;
use super::*;
use axum::extract::Request as Received;
use axum::http::StatusCode;
use axum::routing::any;
use axum::{Json, Router};
use tokio::net::TcpListener;

fn document() -> Value {
    json!({
        "openapi": "3.0.3",
        "servers": [{"url": "/v1"}],
        "paths": {
            "/cities/{city}/weather": {
                "parameters": [{"$ref": "#/components/parameters/City"}],
                "get": {
                    "operationId": "weather",
                    "summary": "The weather\u{202e} of a city",
                    "parameters": [
                        {"name": "day", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                        {"name": "X-Unit", "in": "header", "schema": {"type": "string"}},
                        {"name": "Authorization", "in": "header", "schema": {"type": "string"}},
                    ],
                    "responses": {"200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Seen"}}}}},
                },
                "post": {
                    "operationId": "report",
                    "requestBody": {"required": true, "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Tree"}}}},
                    "responses": {"default": {"description": "whatever"}},
                },
            },
            "/broken": {"get": {"operationId": "broken"}},
            "/plain": {"get": {"responses": {}}},
            "/remote": {"get": {"operationId": "remote", "parameters": [{"$ref": "http://other.test/p.json"}]}},
            "/lost/{id}": {"get": {"operationId": "lost"}},
        },
        "components": {
            "parameters": {"City": {"name": "city", "in": "path", "required": true, "schema": {"type": "string"}}},
            "schemas": {
                "Seen": {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]},
                "Tree": {"type": "object", "properties": {"kids": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}},
            },
        },
    })
}

/// A server that says what it was asked.
async fn endpoint() -> Endpoint {
    let seen = async |request: Received| {
        let (method, uri, headers) = (request.method().clone(), request.uri().clone(), request.headers().clone());
        let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap_or_default();
        if uri.path().contains("nowhere") {
            return (StatusCode::NOT_FOUND, Json(json!({"why": "no such city"})));
        }
        if uri.path().contains("large") {
            return (StatusCode::OK, Json(json!({"path": "x".repeat(100_000)})));
        }
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let unit = (header("x-unit"), header("authorization"));
        (
            StatusCode::OK,
            Json(json!({
                "path": uri.to_string(), "method": method.as_str(), "unit": unit.0, "authorization": unit.1,
                "id": header("idempotency-key"),
                "body": String::from_utf8_lossy(&body),
            })),
        )
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(any(seen))).await });
    let url = Url::parse(&format!("http://{address}/v1/")).expect("a URL");
    let document = Document::read(document().to_string().as_bytes()).expect("a document");
    Endpoint { url, bearer: None, operations: document.operations() }
}

#[tokio::test]
async fn an_operation_becomes_a_tool_and_a_call_its_request() {
    let endpoint = endpoint().await;
    let names: Vec<String> = endpoint.said().into_iter().map(|said| said.name).collect();
    assert_eq!(names, ["broken", "report", "weather"], "what cannot be called is left out");
    let weather = &endpoint.operations["weather"].said;
    assert_eq!(weather.input["required"], json!(["city"]));
    assert_eq!(weather.input["properties"].as_object().expect("properties").len(), 3);
    let params = json!({"city": "a/../b?c#d", "day": ["mon", "t&e"], "X-Unit": "C"});
    let result = endpoint.call(("weather", &params, "task:7:2"), 10_000).await.expect("an answer");
    let seen = &result["structuredContent"];
    assert_eq!(seen["path"], "/v1/cities/a%2F..%2Fb%3Fc%23d/weather?day=mon&day=t%26e");
    assert_eq!((&seen["method"], &seen["unit"], &seen["authorization"]), (&json!("GET"), &json!("C"), &Value::Null));
    let params = json!({"city": "x", "body": {"kids": [{"kids": []}]}});
    let seen =
        endpoint.call(("report", &params, "task:7:2"), 10_000).await.expect("an answer")["structuredContent"].clone();
    assert_eq!((&seen["method"], &seen["body"]), (&json!("POST"), &json!(r#"{"kids":[{"kids":[]}]}"#)));
    let tree = &endpoint.operations["report"].said.input;
    assert_eq!(tree["properties"]["body"]["$ref"], "#/$defs/Tree");
    assert!(crate::tool::schema::Schema::compile(tree).expect("it stands by itself").check(&params).is_ok());
}

#[tokio::test]
async fn what_cannot_be_asked_or_answered_is_an_error_of_its_own() {
    let endpoint = endpoint().await;
    let code = async |city: Value, header: &str| {
        let params = json!({"city": city, "X-Unit": header});
        endpoint.call(("weather", &params, "task:7:2"), 10_000).await.expect_err("no answer")
    };
    for city in [json!(".."), json!("."), json!(""), json!(["a"])] {
        assert_eq!(code(city, "C").await.code, "bad_params");
    }
    assert_eq!(code(json!("a"), "C\r\nEvil: 1").await.code, "bad_params");
    let refused = code(json!("nowhere"), "C").await;
    assert_eq!(
        (refused.code, refused.data),
        ("tool_error", Some(json!({"status": 404, "body": {"why": "no such city"}})))
    );
    assert_eq!(code(json!("large"), "C").await.code, "too_large");
}

#[test]
fn a_document_from_elsewhere_names_only_its_own_host() {
    let server = |url: &str, from: &str| {
        let document = json!({"openapi": "3.1.0", "servers": [{"url": url}]});
        let from = Url::parse(from).expect("a URL");
        Document::read(document.to_string().as_bytes()).expect("a document").server(Some(&from)).map(String::from)
    };
    assert_eq!(server("/v1", "https://a.test/openapi.json"), Ok("https://a.test/v1".to_owned()));
    assert!(server("http://169.254.169.254/", "https://a.test/openapi.json").is_err());
    assert!(server("https://{host}/", "https://a.test/openapi.json").is_err());
    assert!(Document::read(br#"{"swagger": "2.0"}"#).is_err());
    assert!(Document::read(b"openapi: 3.0.0").is_err());
}
