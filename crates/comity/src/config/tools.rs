//! Tool servers, which are written as tables of their own and not as keys: `[tools.NAME]`. What each field means stands
//! in `tools.toml`, which is part of the example file.

use super::ConfigError;
use super::Origin;
use super::layers::Layers;
use super::reading::Reading;
use crate::tool::Plan;
use comity_core::tool;
use figment::value::Value as Written;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// The example of these tables, with the explanation of each field.
pub(super) const EXAMPLE: &str = include_str!("tools.toml");

/// The tables that are no keys.
pub(super) const TABLES: [&str; 2] = ["tools", "policy"];

/// Most tool servers: each may be a process of its own.
const SERVERS_MAX: usize = 64;

/// Most commands of one server.
const COMMANDS_MAX: usize = 128;

/// The longest time for one call, seconds.
const TIMEOUT_MAX: u64 = 3600;

/// The largest answer of one call, bytes: the control door passes it on as one line.
const OUTPUT_MAX: u64 = 16 * 1024 * 1024;

/// The smallest: an error with its reason fits.
const OUTPUT_MIN: u64 = 1024;

/// Most calls at once at one server.
const CONCURRENT_MAX: u64 = 256;

/// A tool server that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolServer {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: ToolKind,
    /// How long a call may take.
    pub timeout: Duration,
    /// Bytes of JSON that a call may answer with.
    pub output_bytes: usize,
    /// Calls that run at once.
    pub concurrent: usize,
    /// Calls of one caller that run or wait at once.
    pub per_caller: usize,
}

/// What a tool server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolKind {
    /// An MCP server that the node runs.
    McpProcess {
        /// The program and its arguments; there is a program.
        command: Vec<String>,
        /// What it runs in.
        around: Around,
    },
    /// An MCP server that runs elsewhere.
    McpHttp(Endpoint),
    /// An HTTP endpoint that an OpenAPI document describes.
    OpenApi {
        /// Where the document is.
        document: Document,
        /// Where the endpoint is; `None`: as the document says.
        url: Option<Url>,
        /// The token to show there.
        bearer: Option<Hidden>,
    },
    /// Commands with fixed arguments.
    Commands {
        /// What they run in.
        around: Around,
        /// Each by the name of its tool.
        commands: BTreeMap<String, Command>,
    },
}

/// What a program runs in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Around {
    /// Its folder.
    pub cwd: Option<PathBuf>,
    /// All of its environment, but for PATH.
    pub env: BTreeMap<String, Hidden>,
}

/// Where an HTTP server is, and what to show there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its URL.
    pub url: Url,
    /// The token to show there.
    pub bearer: Option<Hidden>,
}

/// Where an OpenAPI document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// In a file.
    File(PathBuf),
    /// At a URL.
    At(Url),
}

/// A command that is a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments; there is a program.
    pub argv: Vec<String>,
    /// What it does.
    pub description: String,
    /// The schema of its arguments; `None`: its placeholders are texts.
    pub input: Option<Value>,
    /// The schema of what it prints as JSON; `None`: it prints text.
    pub output: Option<Value>,
    /// Whether the arguments go to its standard input.
    pub stdin: bool,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Hidden(Zeroizing<String>);

impl Hidden {
    /// This text, hidden from now on.
    pub(super) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("(hidden)")
    }
}

/// `[tools.NAME]` as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ServerKeys {
    kind: Option<String>,
    command: Option<Vec<String>>,
    url: Option<String>,
    document: Option<String>,
    commands: Option<BTreeMap<String, CommandKeys>>,
    cwd: Option<String>,
    env: Option<BTreeMap<String, String>>,
    env_from: Option<Vec<String>>,
    env_file: Option<BTreeMap<String, String>>,
    bearer_file: Option<String>,
    bearer_env: Option<String>,
    timeout_seconds: Option<u64>,
    output_bytes: Option<u64>,
    concurrent: Option<u64>,
    concurrent_per_caller: Option<u64>,
}

/// `[tools.NAME.commands.TOOL]` as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CommandKeys {
    command: Vec<String>,
    description: String,
    input: Option<Value>,
    output: Option<Value>,
    stdin: bool,
}

/// The tool servers that are written, in the order of their names.
pub(super) fn servers(layers: &Layers) -> Result<Vec<ToolServer>, ConfigError> {
    let reading = Reading { layers };
    let Some(Written::Dict(_, tables)) = layers.table("tools") else {
        return layers
            .table("tools")
            .map_or(Ok(Vec::new()), |_| Err(reading.wrong("tools", "tables are wanted: [tools.NAME]")));
    };
    if tables.len() > SERVERS_MAX {
        return Err(reading.wrong("tools", format!("at most {SERVERS_MAX} tool servers are possible")));
    }
    tables.iter().map(|(name, table)| server(&reading, name, table)).collect()
}

fn server(reading: &Reading<'_>, name: &str, table: &Written) -> Result<ToolServer, ConfigError> {
    let place = format!("tools.{name}");
    tool::server_name(name).map_err(|bad| reading.wrong(&place, bad.to_string()))?;
    let keys: ServerKeys = read(reading, &place, table)?;
    let one = Server { reading, place: &place, keys: &keys };
    let number = |key: &str, value: Option<u64>, usual: u64, least: u64, most: u64| match value.unwrap_or(usual) {
        value if (least..=most).contains(&value) => Ok(value),
        value => Err(one.wrong(key, format!("{least} to {most} is wanted, not {value}"))),
    };
    let size = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
    let concurrent = number("concurrent", keys.concurrent, 8, 1, CONCURRENT_MAX)?;
    Ok(ToolServer {
        kind: one.kind()?,
        timeout: Duration::from_secs(number("timeout_seconds", keys.timeout_seconds, 30, 1, TIMEOUT_MAX)?),
        output_bytes: size(number("output_bytes", keys.output_bytes, 1024 * 1024, OUTPUT_MIN, OUTPUT_MAX)?),
        concurrent: size(concurrent),
        per_caller: size(number("concurrent_per_caller", keys.concurrent_per_caller, 4, 1, CONCURRENT_MAX)?),
        name: name.to_owned(),
    })
}

/// One table of a server, and what is wrong with it.
struct Server<'a> {
    reading: &'a Reading<'a>,
    place: &'a str,
    keys: &'a ServerKeys,
}

impl Server<'_> {
    fn wrong(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        self.reading.wrong_in(self.place, &format!("{}.{key}", self.place), problem)
    }

    fn kind(&self) -> Result<ToolKind, ConfigError> {
        let keys = self.keys;
        match keys.kind.as_deref() {
            Some("mcp") => match (&keys.command, &keys.url) {
                (Some(command), None) => {
                    self.only(&["command", "cwd", "env", "env_from", "env_file"])?;
                    Ok(ToolKind::McpProcess { command: self.argv("command", command)?, around: self.around()? })
                }
                (None, Some(url)) => {
                    self.only(&["url", "bearer_file", "bearer_env"])?;
                    let (url, bearer) = (self.url("url", url)?, self.bearer()?);
                    self.refuse_plain("url", &url, bearer.as_ref())?;
                    Ok(ToolKind::McpHttp(Endpoint { url, bearer }))
                }
                _ => Err(self.wrong("command", "an MCP server has either `command` or `url`")),
            },
            Some("openapi") => {
                self.only(&["document", "url", "bearer_file", "bearer_env"])?;
                self.openapi()
            }
            Some("command") => {
                self.only(&["commands", "cwd", "env", "env_from", "env_file"])?;
                Ok(ToolKind::Commands { around: self.around()?, commands: self.commands()? })
            }
            _ => Err(self.wrong("kind", "mcp, openapi or command is wanted")),
        }
    }

    /// Refuses the keys that mean nothing for this kind.
    fn only(&self, meant: &[&str]) -> Result<(), ConfigError> {
        let keys = self.keys;
        let written = [
            ("command", keys.command.is_some()),
            ("url", keys.url.is_some()),
            ("document", keys.document.is_some()),
            ("commands", keys.commands.is_some()),
            ("cwd", keys.cwd.is_some()),
            ("env", keys.env.is_some()),
            ("env_from", keys.env_from.is_some()),
            ("env_file", keys.env_file.is_some()),
            ("bearer_file", keys.bearer_file.is_some()),
            ("bearer_env", keys.bearer_env.is_some()),
        ];
        match written.into_iter().find(|(key, there)| *there && !meant.contains(key)) {
            Some((key, _)) => Err(self.wrong(key, "it means nothing for a server of this kind")),
            None => Ok(()),
        }
    }

    fn argv(&self, key: &str, argv: &[String]) -> Result<Vec<String>, ConfigError> {
        let program = argv.first().is_some_and(|program| !program.is_empty());
        if !program || argv.iter().any(|part| part.contains('\0')) {
            return Err(self.wrong(key, "a program and its arguments are wanted: [\"program\", \"argument\"]"));
        }
        Ok(argv.to_vec())
    }

    fn around(&self) -> Result<Around, ConfigError> {
        let keys = self.keys;
        let mut env = BTreeMap::new();
        for (name, value) in keys.env.iter().flatten() {
            env.insert(name.clone(), Hidden(Zeroizing::new(value.clone())));
        }
        for name in keys.env_from.iter().flatten() {
            // A variable that is not there is not passed on.
            if let Ok(value) = std::env::var(name) {
                env.insert(name.clone(), Hidden(Zeroizing::new(value)));
            }
        }
        for (name, file) in keys.env_file.iter().flatten() {
            let key = format!("{}.env_file", self.place);
            env.insert(name.clone(), Hidden(self.reading.secret(&key, file.clone())?));
        }
        if let Some(name) = env.keys().find(|name| name.is_empty() || name.contains(['=', '\0'])) {
            return Err(self.wrong("env", format!("{name:?} is no name of a variable")));
        }
        let folder = || self.reading.layers.folder(self.place);
        let cwd = keys.cwd.as_ref().map(|text| self.reading.path(self.place, text.clone())).or_else(folder);
        Ok(Around { cwd, env })
    }

    fn bearer(&self) -> Result<Option<Hidden>, ConfigError> {
        let token = match (&self.keys.bearer_file, &self.keys.bearer_env) {
            (None, None) => return Ok(None),
            (Some(file), None) => self.reading.secret(&format!("{}.bearer_file", self.place), file.clone())?,
            (None, Some(name)) => match std::env::var(name) {
                Ok(value) => Zeroizing::new(value),
                Err(_) => return Err(self.wrong("bearer_env", format!("the variable {name} is not set"))),
            },
            (Some(_), Some(_)) => return Err(self.wrong("bearer_env", "only one of it and bearer_file may be set")),
        };
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(self.wrong("bearer_file", "a token of visible letters is wanted"));
        }
        Ok(Some(Hidden(token)))
    }

    fn url(&self, key: &str, text: &str) -> Result<Url, ConfigError> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| self.wrong(key, format!("an http or https URL is wanted, not {text:?}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(self.wrong(key, "no name and password is sent from here: use bearer_file"));
        }
        Ok(url)
    }

    /// Refuses what would hand a token to whoever is in between.
    fn refuse_plain(&self, key: &str, url: &Url, bearer: Option<&Hidden>) -> Result<(), ConfigError> {
        let loopback = match url.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        if bearer.is_some() && url.scheme() == "http" && !loopback {
            return Err(self.wrong(key, "the token would be sent for all to read: use https"));
        }
        Ok(())
    }

    fn openapi(&self) -> Result<ToolKind, ConfigError> {
        let keys = self.keys;
        let Some(text) = &keys.document else {
            return Err(self.wrong("document", "a file or a URL is wanted"));
        };
        let document = match text.starts_with("http://") || text.starts_with("https://") {
            true => Document::At(self.url("document", text)?),
            false => Document::File(self.reading.path(self.place, text.clone())),
        };
        let url = keys.url.as_ref().map(|text| self.url("url", text)).transpose()?;
        let bearer = self.bearer()?;
        match (&url, &document) {
            (Some(url), _) => self.refuse_plain("url", url, bearer.as_ref())?,
            // Whoever writes the document would choose who is shown the token.
            (None, _) if bearer.is_some() => {
                return Err(self.wrong("url", "it is wanted with a token, so that it goes nowhere else"));
            }
            (None, _) => {}
        }
        Ok(ToolKind::OpenApi { document, url, bearer })
    }

    fn commands(&self) -> Result<BTreeMap<String, Command>, ConfigError> {
        let commands = self.keys.commands.iter().flatten();
        let command = |(name, keys): (&String, &CommandKeys)| {
            let place = format!("commands.{name}");
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if tool::tool_name(name).is_err() || !name.bytes().all(plain) {
                return Err(self.wrong(&place, "a tool's name has 1 to 128 of A-Z, a-z, 0-9, `_` and `-`"));
            }
            let argv = self.argv(&format!("{place}.command"), &keys.command)?;
            let meant = Command {
                argv,
                description: keys.description.clone(),
                input: keys.input.clone(),
                output: keys.output.clone(),
                stdin: keys.stdin,
            };
            Plan::new(name, &meant).map_err(|bad| self.wrong(&place, bad.to_string()))?;
            Ok((name.clone(), meant))
        };
        let commands: BTreeMap<_, _> = commands.map(command).collect::<Result<_, _>>()?;
        if commands.is_empty() || commands.len() > COMMANDS_MAX {
            return Err(self.wrong("commands", format!("1 to {COMMANDS_MAX} tables are wanted, each a tool")));
        }
        Ok(commands)
    }
}

/// A table by its struct; what is wrong with it is named with its place.
pub(super) fn read<'de, T: Deserialize<'de>>(
    reading: &Reading<'_>,
    place: &str,
    table: &Written,
) -> Result<T, ConfigError> {
    table.deserialize().map_err(|error: figment::Error| {
        let key = std::iter::once(place).chain(error.path.iter().map(String::as_str)).collect::<Vec<_>>().join(".");
        let from = reading.layers.origin(place.split(['.', '[']).next().unwrap_or(place));
        match error.kind {
            figment::error::Kind::UnknownField(field, known) => ConfigError::UnknownKey {
                nearest: super::layers::nearest(&field, known.iter().map(|known| (*known).to_owned())),
                // The path may end with the field already.
                key: if key.ends_with(&format!(".{field}")) { key } else { format!("{key}.{field}") },
                from,
            },
            kind => ConfigError::Wrong { key, from, problem: kind.to_string() },
        }
    })
}

/// Every field that is written in these tables, for `config show`.
pub(super) fn origins(layers: &Layers) -> Vec<Origin> {
    let mut origins = Vec::new();
    for name in TABLES {
        let from = layers.origin(name);
        if let Some(table) = layers.table(name) {
            let value = serde_json::to_value(&table).unwrap_or_default();
            list(name, &value, &from, &mut origins);
        }
    }
    origins
}

/// Tables of tables are listed field by field, two steps deep; the rest stands as it is.
fn list(name: &str, value: &Value, from: &str, origins: &mut Vec<Origin>) {
    let mut add = |key: String, value: &Value| {
        // What is put into environments is shown to nobody: it should be no secret, and may be one.
        let value = if key.ends_with(".env") { Value::from("(hidden)") } else { value.clone() };
        origins.push(Origin { key, value: value.to_string(), from: from.to_owned() });
    };
    match value {
        Value::Object(tables) => {
            for (table, fields) in tables {
                for (field, value) in fields.as_object().into_iter().flatten() {
                    add(format!("{name}.{table}.{field}"), value);
                }
            }
        }
        Value::Array(rules) => {
            for (index, rule) in rules.iter().enumerate() {
                add(format!("{name}[{}]", index + 1), rule);
            }
        }
        _ => {}
    }
}

/// The fields of each table, as the errors on unknown ones list them.
#[cfg(test)]
pub(super) fn fields() -> Vec<(&'static str, Vec<String>)> {
    fn of<T: for<'de> Deserialize<'de>>(name: &'static str) -> (&'static str, Vec<String>) {
        let unknown = Written::from(figment::value::Dict::from([(String::new(), Written::from(1))]));
        let fields = match unknown.deserialize::<T>().map(drop).map_err(|error| error.kind) {
            Err(figment::error::Kind::UnknownField(_, known)) => {
                known.iter().map(|known| (*known).to_owned()).collect()
            }
            other => panic!("an unknown field is refused: {other:?}"),
        };
        (name, fields)
    }
    vec![
        of::<ServerKeys>("tools"),
        of::<CommandKeys>("commands"),
        of::<super::policy::RuleKeys>("policy"),
        of::<super::policy::LimitKeys>("arguments"),
    ]
}
