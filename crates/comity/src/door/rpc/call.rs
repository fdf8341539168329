//! The form of JSON-RPC 2.0 (jsonrpc.org/specification): calls are read, answers and notifications
//! written. It knows no method, and takes only what the specification allows.

use comity_core::limits::JSON_DEPTH_MAX;
use comity_core::wire::strict;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// Calls in one batch, at most: enough to ask for everything at once, little enough to be answered at once.
pub(super) const BATCH_MAX: usize = 32;

/// Longest id of a call, bytes: it is repeated with the answer.
const ID_MAX: usize = 256;

/// Levels of JSON around a message: the batch, the call, its parameters. They do not count as its own.
const AROUND: usize = 3;

/// What went wrong, in the numbers of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// It is no JSON.
    Parse,
    /// It is no call.
    InvalidRequest,
    /// There is no such method.
    NoSuchMethod,
    /// The method does not take these parameters.
    InvalidParams,
    /// The node refuses: `data` says why, as the problem documents of its other calls do.
    Refused,
}

impl Code {
    fn number(self) -> i32 {
        match self {
            Self::Parse => -32_700,
            Self::InvalidRequest => -32_600,
            Self::NoSuchMethod => -32_601,
            Self::InvalidParams => -32_602,
            Self::Refused => -32_000,
        }
    }
}

/// Why a call was not done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    code: Code,
    message: String,
    data: Option<Box<Value>>,
}

impl Fault {
    /// A fault in a sentence.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// The same, with what else there is to say.
    #[must_use]
    pub(super) fn with(self, data: impl Serialize) -> Self {
        Self { data: serde_json::to_value(data).ok().map(Box::new), ..self }
    }
}

/// A call, or why it is none.
pub(super) type Read = Result<Call, (Value, Fault)>;

/// What one text frame says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// One call.
    One(Read),
    /// Several, which are answered together.
    Batch(Vec<Read>),
}

/// A call of a method.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    /// What the answer is known by; `None` for a notification, which is never answered.
    pub(super) id: Option<Value>,
    /// The name of the method.
    pub(super) method: String,
    /// Its parameters, by name or by position.
    params: Option<Value>,
}

impl Said {
    /// Reads a text frame.
    pub(super) fn parse(text: &[u8]) -> Self {
        let nobody = |code, detail: String| Self::One(Err((Value::Null, Fault::new(code, detail))));
        match strict::parse_within(text, JSON_DEPTH_MAX + AROUND) {
            Err(bad) => nobody(Code::Parse, format!("Parse error: {bad}")),
            Ok(Value::Array(calls)) if calls.is_empty() => {
                nobody(Code::InvalidRequest, "Invalid Request: the batch is empty".to_owned())
            }
            Ok(Value::Array(calls)) if calls.len() > BATCH_MAX => {
                nobody(Code::InvalidRequest, format!("Invalid Request: a batch has at most {BATCH_MAX} calls"))
            }
            Ok(Value::Array(calls)) => Self::Batch(calls.into_iter().map(Call::of).collect()),
            Ok(call) => Self::One(Call::of(call)),
        }
    }
}

impl Call {
    fn of(value: Value) -> Read {
        let invalid = |id: &Option<Value>, why: &str| {
            let fault = Fault::new(Code::InvalidRequest, format!("Invalid Request: {why}"));
            Err((id.clone().unwrap_or_default(), fault))
        };
        let Value::Object(mut members) = value else { return invalid(&None, "a call is an object") };
        let id = members.remove("id");
        let usable = match &id {
            None | Some(Value::Null | Value::Number(_)) => true,
            Some(Value::String(id)) => id.len() <= ID_MAX,
            Some(_) => false,
        };
        if !usable {
            return invalid(&None, "the id is a short string, a number or null");
        }
        if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
            return invalid(&id, "jsonrpc is \"2.0\"");
        }
        let Some(Value::String(method)) = members.remove("method") else { return invalid(&id, "method is a string") };
        match members.remove("params") {
            params @ (None | Some(Value::Array(_) | Value::Object(_))) => Ok(Self { id, method, params }),
            Some(_) => invalid(&id, "params is an object or an array"),
        }
    }

    /// The parameters by these names, in whichever way they were given; others are refused.
    pub(super) fn params(&mut self, names: &[&str]) -> Result<Map<String, Value>, Fault> {
        let invalid = |why: String| Fault::new(Code::InvalidParams, format!("Invalid params: {why}"));
        match self.params.take() {
            Some(Value::Object(params)) => match params.keys().find(|name| !names.contains(&name.as_str())) {
                Some(_) if names.is_empty() => Err(invalid("there are none".to_owned())),
                Some(_) => Err(invalid(format!("there are only {}", names.join(", ")))),
                None => Ok(params),
            },
            Some(Value::Array(params)) if params.len() > names.len() => {
                Err(invalid(format!("there are at most {}", names.len())))
            }
            Some(Value::Array(params)) => Ok(names.iter().map(|name| (*name).to_owned()).zip(params).collect()),
            _ => Ok(Map::new()),
        }
    }

    /// The parameters as they were given.
    pub(super) fn whole(&self) -> Option<&Value> {
        self.params.as_ref()
    }
}

/// The answer to a call; the result is JSON text.
pub(super) fn answer(id: &Value, outcome: Result<String, Fault>) -> String {
    match outcome {
        Ok(result) => format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#),
        Err(Fault { code, message, data }) => {
            let mut error = json!({ "code": code.number(), "message": message });
            if let Some(data) = data {
                error["data"] = *data;
            }
            format!(r#"{{"jsonrpc":"2.0","id":{id},"error":{error}}}"#)
        }
    }
}

/// What a subscriber is told of an event, which is JSON text.
pub(super) fn notification(subscription: u64, event: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","method":"event","params":{{"subscription":{subscription},"event":{event}}}}}"#)
}
