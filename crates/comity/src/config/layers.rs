//! The layers of the configuration, put on top of one another: defaults, file, environment, flags.
//! What the values mean is decided above this; here it is settled which one counts and where it
//! came from.

use super::ConfigError;
use super::tools::TABLES;
use super::written::{Document, KEYS, Key, SECTIONS, Shape};
use figment::providers::{Format, Serialized, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider, Source};
use std::path::{Path, PathBuf};

/// Variables that begin with `COMITY_` and are not keys: the data directory, the log filter and the
/// configuration file are wanted before the configuration is read; the others tell a program that
/// `comity answer` runs of its query, and that program may run a node.
const OTHER_VARIABLES: [&str; 7] =
    ["COMITY_HOME", "COMITY_LOG", "COMITY_CONFIG", "COMITY_QUERY", "COMITY_FROM", "COMITY_KEY", "COMITY_TRUST"];

/// Variables that protocols name, and their keys; the ones made of the keys say the same.
const PROTOCOL_VARIABLES: [(&str, &str); 7] = [
    ("MQTT_BROKER", "mqtt.brokers"),
    ("MESH_ENABLED", "mesh.enabled"),
    ("MESH_SYNC_INTERVAL_SECONDS", "mesh.sync_interval_seconds"),
    ("MESH_CAPABILITIES", "capabilities"),
    ("MESH_COORDINATOR_URL", "mesh.coordinator_url"),
    ("MESH_NODE_ID", "mesh.node_id"),
    ("MESH_API_KEY", "mesh.api_key"),
];

/// What a flag of the command sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    /// The flag, as in `--port`.
    pub name: &'static str,
    /// The key it sets, as in `http.port`.
    pub key: &'static str,
    /// Its value; several for a list.
    pub values: Vec<String>,
}

/// Where the configuration is read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `comity.toml` of the data directory: read if it is there.
    pub usual_file: Option<PathBuf>,
    /// The file of `--config`: read instead, and must be there.
    pub named_file: Option<PathBuf>,
    /// The environment; only what begins with `COMITY_` is looked at.
    pub variables: Vec<(String, String)>,
    /// The flags that were given.
    pub flags: Vec<Flag>,
}

impl Sources {
    /// The variables of this process.
    pub fn environment() -> Vec<(String, String)> {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.to_string_lossy().into_owned()))
        };
        std::env::vars_os().filter_map(text).filter(|(name, _)| is_ours(name)).collect()
    }
}

fn is_ours(variable: &str) -> bool {
    variable.starts_with("COMITY_") || named_by_a_protocol(variable).is_some()
}

/// The key that a protocol's variable sets.
fn named_by_a_protocol(variable: &str) -> Option<&'static str> {
    PROTOCOL_VARIABLES.iter().find(|(name, _)| *name == variable).map(|(_, key)| *key)
}

/// The layers, merged.
pub(super) struct Layers(Figment);

impl Layers {
    pub(super) fn read(sources: &Sources) -> Result<Self, ConfigError> {
        let mut figment = Figment::from(Serialized::defaults(Document::default()));
        if let Some(path) = file(sources)? {
            let file = Toml::file_exact(path);
            let data =
                file.data().map_err(|error| ConfigError::Syntax { path: path.to_owned(), error: error.to_string() })?;
            for table in data.values() {
                refuse_unknown(table, "", path)?;
            }
            figment = figment.merge(file);
        }
        for (variable, text) in &sources.variables {
            if OTHER_VARIABLES.contains(&variable.as_str()) || !is_ours(variable) {
                continue;
            }
            let named = named_by_a_protocol(variable);
            let by_name = |key: &&Key| key.variable() == *variable || named == Some(key.path);
            let Some(key) = KEYS.iter().find(by_name) else {
                let nearest = nearest(variable, KEYS.iter().map(Key::variable));
                return Err(ConfigError::UnknownKey {
                    key: variable.clone(),
                    from: "the environment".to_owned(),
                    nearest,
                });
            };
            let texts: Vec<String> = match key.shape {
                Shape::List | Shape::Map => text.split(',').map(|part| part.trim().to_owned()).collect(),
                Shape::Text | Shape::Number | Shape::Flag => vec![text.clone()],
            };
            figment = figment.merge(Setting::new(key, &texts, variable)?);
        }
        for flag in &sources.flags {
            let Some(key) = KEYS.iter().find(|key| key.path == flag.key) else {
                let nearest = nearest(flag.key, KEYS.iter().map(|key| key.path.to_owned()));
                return Err(ConfigError::UnknownKey { key: flag.key.to_owned(), from: flag.name.to_owned(), nearest });
            };
            figment = figment.merge(Setting::new(key, &flag.values, flag.name)?);
        }
        Ok(Self(figment))
    }

    pub(super) fn document(&self) -> Result<Document, ConfigError> {
        let failed = |prefix: &str, error: figment::Error| {
            let key = format!("{prefix}{}", error.path.first().map_or("", String::as_str));
            ConfigError::Wrong { from: self.origin(&key), key, problem: error.kind.to_string() }
        };
        let figment = &self.0;
        macro_rules! section {
            ($name:literal) => {
                figment.extract_inner($name).map_err(|error| failed(concat!($name, "."), error))?
            };
        }
        Ok(Document {
            node: figment.extract().map_err(|error| failed("", error))?,
            http: section!("http"),
            local: section!("local"),
            mdns: section!("mdns"),
            mqtt: section!("mqtt"),
            webrtc: section!("webrtc"),
            gossip: section!("gossip"),
            tls: section!("tls"),
            federation: section!("federation"),
            mesh: section!("mesh"),
            limits: section!("limits"),
            inbox: section!("inbox"),
            metrics: section!("metrics"),
            control: section!("control"),
            mcp: section!("mcp"),
            redaction: section!("redaction"),
            journal: section!("journal"),
            otlp: section!("otlp"),
            log: section!("log"),
        })
    }

    /// A table that is no key, if it is written.
    pub(super) fn table(&self, name: &str) -> Option<Value> {
        self.0.find_value(name).ok()
    }

    /// Where the value of a key came from: `default`, a file, a variable or a flag.
    pub(super) fn origin(&self, key: &str) -> String {
        self.0.find_metadata(key).map_or_else(|| "default".to_owned(), place)
    }

    /// The folder of the file that gave the key, if a file did.
    pub(super) fn folder(&self, key: &str) -> Option<PathBuf> {
        self.0.find_metadata(key)?.source.as_ref()?.file_path()?.parent().map(Path::to_owned)
    }
}

fn place(metadata: &Metadata) -> String {
    match &metadata.source {
        Some(Source::File(path)) => path.display().to_string(),
        // The line of code that has the defaults; a variable or a flag has only its name.
        Some(_) => "default".to_owned(),
        None => metadata.name.clone().into_owned(),
    }
}

fn file(sources: &Sources) -> Result<Option<&Path>, ConfigError> {
    match (&sources.named_file, &sources.usual_file) {
        (Some(path), _) if path.is_file() => Ok(Some(path)),
        (Some(path), _) => Err(ConfigError::NoFile { path: path.clone() }),
        (None, Some(path)) if path.is_file() => Ok(Some(path)),
        (None, _) => Ok(None),
    }
}

fn refuse_unknown(table: &Dict, prefix: &str, file: &Path) -> Result<(), ConfigError> {
    for (name, value) in table {
        let path = format!("{prefix}{name}");
        // These are read by their own structs.
        if prefix.is_empty() && TABLES.contains(&name.as_str()) {
            continue;
        }
        if KEYS.iter().any(|key| key.path == path) {
            continue;
        }
        let inside = format!("{path}.");
        match value {
            Value::Dict(_, table) if KEYS.iter().any(|key| key.path.starts_with(&inside)) => {
                refuse_unknown(table, &inside, file)?;
            }
            _ => {
                let sections =
                    SECTIONS.iter().map(|(section, _)| (*section).to_owned()).filter(|_| value.as_dict().is_some());
                let tables = TABLES.iter().map(|table| (*table).to_owned()).filter(|_| prefix.is_empty());
                let known = KEYS.iter().map(|key| key.path.to_owned());
                let nearest = nearest(&path, known.chain(sections).chain(tables));
                return Err(ConfigError::UnknownKey { key: path, from: file.display().to_string(), nearest });
            }
        }
    }
    Ok(())
}

/// One value from a variable or a flag, as a layer that remembers where it came from.
struct Setting {
    key: &'static Key,
    value: Value,
    from: String,
}

impl Setting {
    fn new(key: &'static Key, texts: &[String], from: &str) -> Result<Self, ConfigError> {
        let last = texts.last().map_or("", String::as_str);
        let wrong = |problem: &str| ConfigError::Wrong {
            key: key.path.to_owned(),
            from: from.to_owned(),
            problem: problem.to_owned(),
        };
        let value = match key.shape {
            Shape::Text => Value::from(last),
            Shape::Number => Value::from(last.trim().parse::<u64>().map_err(|_| wrong("a whole number is wanted"))?),
            Shape::Flag => Value::from(match last.trim().to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => true,
                "false" | "0" | "no" | "off" => false,
                _ => return Err(wrong("true or false is wanted")),
            }),
            Shape::List => Value::from(texts.iter().filter(|text| !text.is_empty()).cloned().collect::<Vec<_>>()),
            Shape::Map => {
                let mut table = Dict::new();
                for text in texts.iter().filter(|text| !text.is_empty()) {
                    let (name, value) = text.split_once('=').ok_or_else(|| wrong("name=text is wanted"))?;
                    table.insert(name.trim().to_owned(), Value::from(value.trim()));
                }
                Value::Dict(Tag::Default, table)
            }
        };
        Ok(Self { key, value, from: from.to_owned() })
    }
}

impl Provider for Setting {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.from.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        let mut parts = self.key.path.rsplit('.');
        let leaf = parts.next().unwrap_or_default().to_owned();
        let mut table = Dict::from([(leaf, self.value.clone())]);
        for section in parts {
            table = Dict::from([(section.to_owned(), Value::Dict(Tag::Default, table))]);
        }
        Ok(Map::from([(Profile::Default, table)]))
    }
}

/// The known name with the fewest letters to change.
pub(super) fn nearest(wrong: &str, known: impl Iterator<Item = String>) -> String {
    known.min_by_key(|known| distance(wrong, known).min(2 + distance(leaf(wrong), leaf(known)))).unwrap_or_default()
}

fn leaf(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or(path)
}

/// Levenshtein's distance in characters.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
