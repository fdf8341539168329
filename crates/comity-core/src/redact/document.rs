//! Secrets in JSON documents: in strings, under names such as `password` whatever stands there, in pairs of a
//! name and a value, in keys (RFC 7517), and in map keys themselves.

use super::echo::Echo;
use super::field::{self, Noun};
use super::spans::{self, Span};
use super::unseen;
use super::value::{self, Strength};
use super::{Finding, MARK, Place, Redactor};
use crate::limits;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Fields whose content the caller knows: Comity's own grants, ICE passwords, signatures, nonces. By a key's name
/// wherever it stands, or by a JSON pointer (it begins with `/`) in which `*` is any one key or index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exempt {
    names: BTreeSet<String>,
    pointers: Vec<Vec<String>>,
}

impl Exempt {
    /// These fields.
    pub fn new<'f>(fields: impl IntoIterator<Item = &'f str>) -> Self {
        let mut exempt = Self::default();
        for field in fields {
            match field.strip_prefix('/') {
                Some(pointer) => exempt
                    .pointers
                    .push(pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect()),
                None => {
                    exempt.names.insert(field.to_owned());
                }
            }
        }
        exempt
    }

    fn has(&self, path: &[String]) -> bool {
        path.last().is_some_and(|name| self.names.contains(name))
            || self.pointers.iter().any(|pointer| {
                pointer.len() == path.len()
                    && pointer.iter().zip(path).all(|(wanted, part)| wanted == "*" || wanted == part)
            })
    }
}

/// What is done with fields whose content the caller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typed {
    /// They stay as they are: on a wire that is sealed, or to a proven peer.
    Kept(Exempt),
    /// They go, whatever they hold: into a journal or log.
    Taken(Exempt),
}

impl Default for Typed {
    fn default() -> Self {
        Self::Kept(Exempt::default())
    }
}

/// Longest pointer to where something was found, bytes. A message of 256 KiB has room for a hundred thousand secrets,
/// all of them below one long key.
const POINTER_MAX: usize = 256;

/// Names of the private numbers of a JSON Web Key.
const KEY_PARTS: &[&str] = &["d", "p", "q", "dp", "dq", "qi", "k", "oth"];

/// Names that a pair of name and value gives to them.
pub(super) const PAIR_NAMES: &[&str] = &["name", "key", "field", "header", "label", "variable", "k"];
const PAIR_VALUES: &[&str] = &["value", "val", "v", "content", "default", "data"];

/// What must be known of a place on the way down.
#[derive(Clone, Copy)]
enum Above {
    /// Nothing special.
    Nothing,
    /// The value of a field with such a name.
    Secret(Noun),
    /// Somewhere below such a field.
    Below(Noun),
}

pub(super) fn redact(redactor: &Redactor, document: &Value, typed: &Typed, found: &mut Vec<Finding>) -> Option<Value> {
    let mut walk = Walk { redactor, typed, found, secrets: Vec::new(), path: Vec::new() };
    let changed = walk.value(document, Above::Nothing)?;
    let Walk { found, secrets, .. } = walk;
    let echo = Echo::new(secrets.iter().map(|(secret, rule)| (secret.as_str(), *rule)));
    let again = echo.and_then(|echo| Again { redactor, typed, found, echo, path: Vec::new() }.value(&changed));
    Some(again.unwrap_or(changed))
}

struct Walk<'r> {
    redactor: &'r Redactor,
    typed: &'r Typed,
    found: &'r mut Vec<Finding>,
    secrets: Vec<(String, usize)>,
    /// The keys to here, as they are after redaction.
    path: Vec<String>,
}

impl Walk<'_> {
    /// The value without secrets, if it has any.
    fn value(&mut self, value: &Value, above: Above) -> Option<Value> {
        if self.path.len() > limits::JSON_DEPTH_MAX {
            return self.whole(value, Noun::Named);
        }
        match self.typed {
            Typed::Kept(exempt) if exempt.has(&self.path) => return None,
            Typed::Taken(exempt) if exempt.has(&self.path) && !value.is_null() && value.as_str() != Some(MARK) => {
                return self.whole(value, Noun::Named);
            }
            _ => {}
        }
        match value {
            Value::String(text) => self.string(text, above),
            Value::Number(number) => match above {
                Above::Secret(noun) if is_secret_number(noun, &number.to_string()) => self.whole(value, noun),
                _ => None,
            },
            Value::Array(items) => {
                let mut flag = None;
                let changed: Vec<_> = items
                    .iter()
                    .enumerate()
                    .map(|(index, item)| {
                        let argument = item.as_str().unwrap_or_default();
                        let given = flag.filter(|_| !argument.starts_with("--")).map_or(above, Above::Secret);
                        flag = flag_noun(argument);
                        self.below(index.to_string(), |walk| walk.value(item, given))
                    })
                    .collect();
                changed.iter().any(Option::is_some).then(|| {
                    let kept =
                        changed.into_iter().zip(items).map(|(changed, item)| changed.unwrap_or_else(|| item.clone()));
                    Value::Array(kept.collect())
                })
            }
            Value::Object(map) => self.map(map, above),
            Value::Null | Value::Bool(_) => None,
        }
    }

    fn below<T>(&mut self, key: String, look: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(key);
        let seen = look(self);
        self.path.pop();
        seen
    }

    fn map(&mut self, map: &Map<String, Value>, above: Above) -> Option<Value> {
        let is_key = map.get("kty").is_some_and(Value::is_string);
        let paired = PAIR_NAMES.iter().find_map(|name| map.get(*name)?.as_str().and_then(field::noun));
        let mut renamed: Vec<Option<String>> = Vec::new();
        let mut values: Vec<Option<Value>> = Vec::new();
        let mut names = Names::of(map);
        for (key, value) in map {
            let name = self.key(key, &mut names);
            let below = match field::noun(&unseen::without(key)) {
                Some(noun) => Above::Secret(noun),
                None if is_key && KEY_PARTS.contains(&key.as_str()) => Above::Secret(Noun::PrivateKey),
                None => match (paired.filter(|_| PAIR_VALUES.contains(&key.as_str())), above) {
                    (Some(noun), _) => Above::Secret(noun),
                    (None, Above::Nothing) => Above::Nothing,
                    (None, Above::Secret(noun) | Above::Below(noun)) if PAIR_VALUES.contains(&key.as_str()) => {
                        Above::Secret(noun)
                    }
                    (None, Above::Secret(noun) | Above::Below(noun)) => Above::Below(noun),
                },
            };
            values.push(self.below(name.clone().unwrap_or_else(|| key.clone()), |walk| walk.value(value, below)));
            renamed.push(name);
        }
        if renamed.iter().all(Option::is_none) && values.iter().all(Option::is_none) {
            return None;
        }
        let members = map.iter().zip(renamed).zip(values);
        let member = |((key, value), name): ((&String, &Value), Option<String>), changed: Option<Value>| {
            (name.unwrap_or_else(|| key.clone()), changed.unwrap_or_else(|| value.clone()))
        };
        Some(Value::Object(members.map(|(named, changed)| member(named, changed)).collect()))
    }

    /// The key without secrets, if it has any: another than all others of its map.
    fn key(&mut self, key: &str, names: &mut Names) -> Option<String> {
        let spans = self.redactor.spans(key);
        if spans.is_empty() {
            return None;
        }
        let name = names.free(spans::render(key, &spans));
        self.path.push(name.clone());
        let pointer = pointer(&self.path);
        self.path.pop();
        for Span { range, rule } in spans {
            self.take(rule, Place::Key(pointer.clone()), &key[range]);
        }
        Some(name)
    }

    fn string(&mut self, text: &str, above: Above) -> Option<Value> {
        match above {
            Above::Secret(noun) if is_secret(noun, text) => return self.whole(&Value::String(text.to_owned()), noun),
            Above::Below(noun)
                if value::strength(text) >= Strength::Mixed && !text.contains(' ') && is_secret(noun, text) =>
            {
                return self.whole(&Value::String(text.to_owned()), noun);
            }
            _ => {}
        }
        let spans = self.redactor.spans(text);
        if spans.is_empty() {
            return None;
        }
        let changed = spans::render(text, &spans);
        for Span { range, rule } in spans {
            self.take(rule, Place::Within(pointer(&self.path), range.clone()), &text[range]);
        }
        Some(Value::String(changed))
    }

    /// Takes a whole value out.
    fn whole(&mut self, value: &Value, noun: Noun) -> Option<Value> {
        let rule = self.redactor.seeker.rule_of(noun)?;
        match value {
            Value::String(text) => self.take(rule, Place::Value(pointer(&self.path)), text),
            other => {
                let finding = self.redactor.finding(rule, Place::Value(pointer(&self.path)), &other.to_string());
                self.found.push(finding);
            }
        }
        Some(Value::String(MARK.to_owned()))
    }

    fn take(&mut self, rule: usize, place: Place, secret: &str) {
        self.found.push(self.redactor.finding(rule, place, secret));
        self.secrets.push((secret.to_owned(), rule));
    }
}

/// What the argument behind this one is, of a command that is written as a list: `["--password", "x"]`.
pub(super) fn flag_noun(argument: &str) -> Option<Noun> {
    let name = argument.strip_prefix('-')?.trim_start_matches('-');
    field::noun(name).filter(|_| !name.contains([' ', '=']))
}

/// Whether a string under such a name is a secret: all that is no template, and where the name alone says little,
/// what a machine drew.
fn is_secret(noun: Noun, text: &str) -> bool {
    if value::is_mask(text) || value::is_template(text) && !is_begun(text) {
        return false;
    }
    match noun {
        Noun::SomeKey => value::strength(text) >= Strength::Random && !text.contains(' '),
        Noun::Authorization | Noun::SecretId => value::strength(text) >= Strength::Mixed,
        Noun::Pin => (4..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
        _ => true,
    }
}

/// Whether that which makes a template of a text may be of the secret here, where all of it is the value: it ends with
/// dots, or begins with a sign that nothing closes.
fn is_begun(text: &str) -> bool {
    let text = text.trim();
    let stands_alone = ["${", "{{", "$(", "<%"].iter().all(|open| !text.contains(open));
    let dotted = text.ends_with("...") || text.ends_with('…');
    stands_alone
        && match text.as_bytes().first() {
            Some(b'<') => !text.contains('>'),
            Some(b'\\') => true,
            _ => dotted && !text.contains([' ', '{', '<', '[', '%', '$']),
        }
}

fn is_secret_number(noun: Noun, number: &str) -> bool {
    match noun {
        Noun::SomeKey | Noun::Authorization | Noun::Cookie | Noun::SecretId => false,
        Noun::Pin => (4..=8).contains(&number.len()),
        _ => true,
    }
}

/// The keys of a map, and how far those that lost a secret were numbered.
struct Names<'m> {
    map: &'m Map<String, Value>,
    given: BTreeSet<String>,
    count: usize,
}

impl<'m> Names<'m> {
    fn of(map: &'m Map<String, Value>) -> Self {
        Self { map, given: BTreeSet::new(), count: 1 }
    }

    /// The name, with a number where another member has it.
    fn free(&mut self, name: String) -> String {
        let mut free = name.clone();
        while self.map.contains_key(&free) || self.given.contains(&free) {
            self.count += 1;
            free = format!("{name} {}", self.count);
        }
        self.given.insert(free.clone());
        free
    }
}

/// A second walk, for secrets that stand where no rule sees them.
struct Again<'r, 't> {
    redactor: &'r Redactor,
    typed: &'r Typed,
    found: &'r mut Vec<Finding>,
    echo: Echo<'t>,
    path: Vec<String>,
}

impl Again<'_, '_> {
    fn value(&mut self, value: &Value) -> Option<Value> {
        if matches!(self.typed, Typed::Kept(exempt) if exempt.has(&self.path)) {
            return None;
        }
        match value {
            Value::String(text) => {
                let mut spans = Vec::new();
                self.echo.find(text, |range, rule| spans.push(Span { range, rule }));
                spans::merge(&mut spans);
                if spans.is_empty() {
                    return None;
                }
                for Span { range, rule } in &spans {
                    let place = Place::Within(pointer(&self.path), range.clone());
                    self.found.push(self.redactor.finding(*rule, place, &text[range.clone()]));
                }
                let changed = spans::render(text, &spans);
                // What is gone may have hidden another; its place is told without bytes, for those are of no text there was.
                let more = self.redactor.spans(&changed);
                for Span { range, rule } in &more {
                    let place = Place::Value(pointer(&self.path));
                    self.found.push(self.redactor.finding(*rule, place, &changed[range.clone()]));
                }
                Some(Value::String(spans::render(&changed, &more)))
            }
            Value::Array(items) => {
                let changed: Vec<_> =
                    items.iter().enumerate().map(|(index, item)| self.below(index.to_string(), item)).collect();
                let kept = |(changed, item): (Option<Value>, &Value)| changed.unwrap_or_else(|| item.clone());
                changed
                    .iter()
                    .any(Option::is_some)
                    .then(|| Value::Array(changed.into_iter().zip(items).map(kept).collect()))
            }
            Value::Object(map) => {
                let changed: Vec<_> = map.iter().map(|(key, value)| self.below(key.clone(), value)).collect();
                let kept = |(changed, (key, value)): (Option<Value>, (&String, &Value))| {
                    (key.clone(), changed.unwrap_or_else(|| value.clone()))
                };
                changed
                    .iter()
                    .any(Option::is_some)
                    .then(|| Value::Object(changed.into_iter().zip(map).map(kept).collect()))
            }
            _ => None,
        }
    }

    fn below(&mut self, key: String, value: &Value) -> Option<Value> {
        self.path.push(key);
        let changed = self.value(value);
        self.path.pop();
        changed
    }
}

/// The JSON pointer of a place, cut where it is too long: each of many findings has its own.
fn pointer(path: &[String]) -> String {
    let mut pointer = String::new();
    for part in path {
        pointer.push('/');
        let kept = value::floor(part, POINTER_MAX);
        pointer.push_str(&part[..kept].replace('~', "~0").replace('/', "~1"));
        if pointer.len() > POINTER_MAX {
            pointer.truncate(value::floor(&pointer, POINTER_MAX));
            pointer.push('…');
            break;
        }
    }
    pointer
}
