//! What an OpenAPI 3 document says, as far as tools need it: the first server, and the operations that have an
//! `operationId`, with their arguments and results as JSON schemas that stand by themselves.

use super::{BODY, Operation, Parameter, Place, is_json};
use crate::door::shown;
use crate::tool::answer;
use crate::tool::server::Said;
use axum::http::Method;
use axum::http::header::HeaderName;
use comity_core::wire::strict;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use url::Url;

/// Most operations of one document.
const OPERATIONS_MAX: usize = 512;

/// Deepest document.
const DEPTH_MAX: usize = 64;

/// Most references that are followed to one thing.
const STEPS_MAX: usize = 8;

/// Where schemas stand that others refer to.
const SCHEMAS: &str = "#/components/schemas/";

/// Headers that a call does not choose.
const OWN_HEADERS: [&str; 10] = [
    "accept",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "proxy-authorization",
    "transfer-encoding",
    "upgrade",
];

/// A document that was read.
#[derive(Debug)]
pub(super) struct Document(Value);

impl Document {
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let value = strict::parse_within(bytes, DEPTH_MAX).map_err(|bad| format!("the document is not JSON: {bad}"))?;
        match value["openapi"].as_str() {
            Some(version) if version.starts_with("3.") => Ok(Self(value)),
            _ => Err("the document is not OpenAPI 3".to_owned()),
        }
    }

    /// The first server. A document from elsewhere names only its own host: whoever writes it would else choose whom
    /// this node asks.
    pub(super) fn server(&self, from: Option<&Url>) -> Result<Url, String> {
        let text = self.0.pointer("/servers/0/url").and_then(Value::as_str).unwrap_or("/");
        let none = |_| "the document names no server: set url".to_owned();
        let url = match from {
            Some(from) => from.join(text).map_err(none)?,
            None => Url::parse(text).map_err(none)?,
        };
        if !matches!(url.scheme(), "http" | "https") || !url.has_host() || text.contains('{') {
            return Err("the document names no server that can be used: set url".to_owned());
        }
        match from {
            Some(from) if from.origin() != url.origin() => {
                Err(format!("the document is from {from}, and names the server {url}: set url, if that is meant"))
            }
            _ => Ok(url),
        }
    }

    /// Its operations by name, without those that cannot be called.
    pub(super) fn operations(&self) -> BTreeMap<String, Operation> {
        let mut operations = BTreeMap::new();
        for (path, item) in self.0["paths"].as_object().into_iter().flatten() {
            for (method, described) in item.as_object().into_iter().flatten() {
                let Some(method) = method_of(method) else { continue };
                let Some(name) = described["operationId"].as_str() else { continue };
                if operations.len() >= OPERATIONS_MAX {
                    tracing::warn!(OPERATIONS_MAX, "an OpenAPI document has more operations: they are left out");
                    return operations;
                }
                match self.operation(name, method, path, (item, described)) {
                    Ok(operation) => drop(operations.insert(name.to_owned(), operation)),
                    Err(why) => {
                        let operation = shown::text(name, 128);
                        tracing::warn!(operation, why, "an operation of an OpenAPI document is left out");
                    }
                }
            }
        }
        operations
    }

    fn operation(
        &self,
        name: &str,
        method: Method,
        path: &str,
        (item, described): (&Value, &Value),
    ) -> Result<Operation, String> {
        let mut input = Input::default();
        let both = [item, described].into_iter().flat_map(|of| of["parameters"].as_array().into_iter().flatten());
        for parameter in both {
            input.add(self.follow(parameter)?)?;
        }
        let mut body = false;
        if let Some(described) = described.get("requestBody") {
            let described = self.follow(described)?;
            let schema = json_schema(&described["content"]).ok_or("its body is not JSON")?;
            input.put(BODY, schema.clone(), described["required"] == true)?;
            body = true;
        }
        if input.parameters.iter().any(|one| one.place == Place::Path && !path.contains(&format!("{{{}}}", one.name))) {
            return Err("an argument has no place in its path".to_owned());
        }
        let filled = input.parameters.iter().filter(|one| one.place == Place::Path).count();
        if path.matches('{').count() != filled || !path.starts_with('/') || path.contains(['?', '#']) {
            return Err("its path has places without arguments".to_owned());
        }
        let result = ["200", "201", "2XX"].iter().find_map(|status| described["responses"].get(*status));
        let result = result.map(|result| self.follow(result)).transpose()?;
        // A reference is followed once, to see whether it is an object's.
        let result = result.and_then(|result| json_schema(&result["content"]));
        let result = result.map(|schema| self.follow(schema)).transpose()?;
        let (output, wrapped) = result.map(answer::output_schema).unzip();
        let text = |field: &str| described[field].as_str().unwrap_or_default();
        let said = Said {
            name: name.to_owned(),
            description: [text("summary"), text("description")].join("\n"),
            input: self.whole(input.schema())?,
            output: output.map(|output| self.whole(output)).transpose()?,
        };
        let wrapped = wrapped.unwrap_or_default();
        Ok(Operation { said, method, path: path.to_owned(), parameters: input.parameters, body, wrapped })
    }

    /// What a reference leads to, within the document.
    fn follow<'a>(&'a self, mut value: &'a Value) -> Result<&'a Value, String> {
        for _ in 0..STEPS_MAX {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return Ok(value) };
            let pointer = reference.strip_prefix('#').ok_or("it refers to another document, which is not fetched")?;
            value = self.0.pointer(pointer).ok_or("it refers to something that is not there")?;
        }
        Err("it refers to itself".to_owned())
    }

    /// The schema with all that it refers to, so that it stands by itself.
    fn whole(&self, mut schema: Value) -> Result<Value, String> {
        let mut open = BTreeSet::new();
        rewrite(&mut schema, &mut open)?;
        let mut definitions = Map::new();
        while let Some(name) = open.pop_first() {
            if definitions.contains_key(&name) {
                continue;
            }
            let found = self.0.pointer(&format!("/components/schemas/{name}"));
            let mut found = found.ok_or("it refers to a schema that is not there")?.clone();
            rewrite(&mut found, &mut open)?;
            // As it is written in pointers, `~1` is a slash in its name.
            definitions.insert(name.replace("~1", "/").replace("~0", "~"), found);
        }
        if !definitions.is_empty() {
            schema["$defs"] = Value::Object(definitions);
        }
        Ok(schema)
    }
}

/// Turns references to the document's schemas into references to the schema's own, and notes which.
fn rewrite(schema: &mut Value, open: &mut BTreeSet<String>) -> Result<(), String> {
    match schema {
        Value::Array(items) => items.iter_mut().try_for_each(|item| rewrite(item, open)),
        Value::Object(members) => members.iter_mut().try_for_each(|(name, value)| match value {
            Value::String(reference) if name == "$ref" => {
                let target = reference.strip_prefix(SCHEMAS).filter(|target| !target.contains('/'));
                let target = target.ok_or("it refers to what is no schema of the document")?.to_owned();
                *reference = format!("#/$defs/{target}");
                open.insert(target);
                Ok(())
            }
            other => rewrite(other, open),
        }),
        _ => Ok(()),
    }
}

/// The arguments of an operation, as they are gathered.
#[derive(Default)]
struct Input {
    parameters: Vec<Parameter>,
    properties: Map<String, Value>,
    required: BTreeSet<String>,
}

impl Input {
    fn add(&mut self, described: &Value) -> Result<(), String> {
        let name = described["name"].as_str().ok_or("an argument has no name")?;
        let required = described["required"] == true;
        let place = match described["in"].as_str() {
            Some("path") => Place::Path,
            Some("query") => Place::Query,
            Some("header") if OWN_HEADERS.contains(&name.to_ascii_lowercase().as_str()) => return Ok(()),
            Some("header") => {
                Place::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_| "an argument is no header")?)
            }
            Some("cookie") if !required => return Ok(()),
            _ => return Err("an argument is neither in the path nor in the query nor a header".to_owned()),
        };
        let mut schema = described.get("schema").cloned().ok_or("an argument has no schema")?;
        if let (Some(text), Value::Object(members)) = (described.get("description"), &mut schema) {
            members.entry("description").or_insert_with(|| text.clone());
        }
        self.put(name, schema, required || place == Place::Path)?;
        self.parameters.push(Parameter { name: name.to_owned(), place });
        Ok(())
    }

    fn put(&mut self, name: &str, schema: Value, required: bool) -> Result<(), String> {
        if self.properties.insert(name.to_owned(), schema).is_some() {
            return Err("two of its arguments have one name".to_owned());
        }
        if required {
            self.required.insert(name.to_owned());
        }
        Ok(())
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "properties": self.properties,
            "required": self.required,
            "additionalProperties": false,
        })
    }
}

/// The schema of the JSON among these kinds of content.
fn json_schema(content: &Value) -> Option<&Value> {
    content.as_object()?.iter().find(|(kind, _)| is_json(kind)).and_then(|(_, described)| described.get("schema"))
}

fn method_of(name: &str) -> Option<Method> {
    Some(match name {
        "get" => Method::GET,
        "put" => Method::PUT,
        "post" => Method::POST,
        "delete" => Method::DELETE,
        "patch" => Method::PATCH,
        "head" => Method::HEAD,
        _ => return None,
    })
}
