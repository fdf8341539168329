//! The second reading of single values: each method names the key and its origin when it cannot.

use super::layers::Layers;
use super::told::{is_word, told};
use super::written::{GossipKeys, LimitKeys, MqttKeys, RedactionKeys, WebrtcKeys};
use super::{BadBroker, Broker, ConfigError, IceKind, IceServer, Limits, Login, Mqtt, Otlp, RelayCredentials};
use super::{Dht, Gossip, Mdns, Redaction, TlsFiles, Webrtc};
use comity_core::channel::Channel;
use comity_core::identity::trust::Admission;
use comity_core::limits;
use comity_core::redact::BadRule;
use comity_core::wire::announce::Topics;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use zeroize::Zeroizing;

/// Most brokers at once.
const BROKERS_MAX: usize = 16;

/// The longest interval, seconds: three of them are an hour, and nobody believes an announcement for longer.
const INTERVAL_MAX: u64 = 1200;

/// What reads single values.
pub(super) struct Reading<'a> {
    pub(super) layers: &'a Layers,
}

impl Reading<'_> {
    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Wrong { key: key.to_owned(), from: self.layers.origin(key), problem: problem.into() }
    }

    /// The same, of a place that is no key itself but stands in this table.
    pub(super) fn wrong_in(&self, table: &str, place: &str, problem: impl Into<String>) -> ConfigError {
        ConfigError::Wrong { key: place.to_owned(), from: self.layers.origin(table), problem: problem.into() }
    }

    pub(super) fn one<T: FromStr>(&self, key: &str, text: &str, wanted: &str) -> Result<T, ConfigError> {
        text.trim().parse().map_err(|_| self.wrong(key, format!("{wanted} is wanted, not {text:?}")))
    }

    pub(super) fn each<T: FromStr>(&self, key: &str, texts: &[String], wanted: &str) -> Result<Vec<T>, ConfigError> {
        texts.iter().map(|text| self.one(key, text, wanted)).collect()
    }

    pub(super) fn nets(&self, key: &str, texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
        let net = |text: &String| match text.trim().parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address)),
            Err(_) => self.one(key, text, "an address or a network such as 10.0.0.0/8"),
        };
        texts.iter().map(net).collect()
    }

    pub(super) fn name(&self, name: Option<String>) -> Result<Option<String>, ConfigError> {
        match name {
            Some(name) if !is_word(&name) => Err(self.wrong("name", "1 to 128 bytes of visible text are wanted")),
            name => Ok(name),
        }
    }

    pub(super) fn words(&self, key: &str, words: Vec<String>) -> Result<Vec<String>, ConfigError> {
        if words.len() > limits::PEER_LIST_MAX {
            return Err(self.wrong(key, format!("at most {} are allowed", limits::PEER_LIST_MAX)));
        }
        match words.iter().find(|word| !is_word(word)) {
            Some(word) => Err(self.wrong(key, format!("1 to 128 bytes of visible text are wanted, not {word:?}"))),
            None => Ok(words),
        }
    }

    pub(super) fn origins(&self, origins: Vec<String>) -> Result<Vec<String>, ConfigError> {
        let origin =
            |text: String| {
                let lower = text.trim().trim_end_matches('/').to_lowercase();
                let host = lower.strip_prefix("https://").or_else(|| lower.strip_prefix("http://"));
                match host {
                    Some(host) if !host.is_empty() && !host.contains(['/', '@', '*', ' ']) => Ok(lower),
                    _ => Err(self
                        .wrong("http.origins", format!("an origin such as https://host:port is wanted, not {text:?}"))),
                }
            };
        origins.into_iter().map(origin).collect()
    }

    pub(super) fn tls(&self, cert: Option<String>, key: Option<String>) -> Result<Option<TlsFiles>, ConfigError> {
        self.files(("tls.cert", cert), ("tls.key", key))
    }

    pub(super) fn limits(&self, written: &LimitKeys) -> Result<Limits, ConfigError> {
        let seconds = |key, value| self.small(key, value).map(Duration::from_secs);
        let rate = |key, value| {
            let value = self.small(key, value)?;
            u32::try_from(value).map_err(|_| self.wrong(key, "a smaller number is wanted"))
        };
        Ok(Limits {
            messages_per_second: rate("limits.messages_per_second", written.messages_per_second)?,
            messages_burst: rate("limits.messages_burst", written.messages_burst)?,
            unverified_per_second: rate("limits.unverified_per_second", written.unverified_per_second)?,
            requests_per_minute: rate("limits.requests_per_minute", written.requests_per_minute)?,
            connections: self.size("limits.connections", written.connections)?,
            connections_per_address: self.size("limits.connections_per_address", written.connections_per_address)?,
            body_bytes: self.size("limits.body_bytes", written.body_bytes)?,
            header_bytes: self.size("limits.header_bytes", written.header_bytes)?,
            header_time: seconds("limits.header_seconds", written.header_seconds)?,
            body_time: seconds("limits.body_seconds", written.body_seconds)?,
            clock_skew: seconds("limits.clock_skew_seconds", written.clock_skew_seconds)?,
            seen: self.size("limits.seen", written.seen)?,
            queue_messages: self.size("limits.queue_messages", written.queue_messages)?,
            queue_bytes: self.size("limits.queue_bytes", written.queue_bytes)?,
        })
    }

    /// A number that is neither nothing nor so large that sums of it overflow.
    pub(super) fn small(&self, key: &str, value: u64) -> Result<u64, ConfigError> {
        const LARGEST: u64 = u32::MAX as u64;
        if (1..=LARGEST).contains(&value) {
            Ok(value)
        } else {
            Err(self.wrong(key, format!("1 to {LARGEST} is wanted, not {value}")))
        }
    }

    pub(super) fn size(&self, key: &str, value: u64) -> Result<usize, ConfigError> {
        usize::try_from(self.small(key, value)?).map_err(|_| self.wrong(key, "a smaller number is wanted"))
    }

    /// A size with its unit, as in `512MiB`, in powers of 1,024; at least a MiB.
    pub(super) fn bytes(&self, key: &str, text: &str) -> Result<u64, ConfigError> {
        const SMALLEST: u64 = 1024 * 1024;
        let text = text.trim();
        let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let power = match unit.trim() {
            "" | "B" => Some(0),
            "KiB" | "K" => Some(1),
            "MiB" | "M" => Some(2),
            "GiB" | "G" => Some(3),
            "TiB" | "T" => Some(4),
            _ => None,
        };
        let bytes = power.and_then(|power| number.parse::<u64>().ok()?.checked_mul(1024_u64.pow(power)));
        let wanted = "a size such as 512MiB or 2GiB is wanted, at least 1MiB";
        bytes.filter(|bytes| *bytes >= SMALLEST).ok_or_else(|| self.wrong(key, format!("{wanted}, not {text:?}")))
    }

    pub(super) fn otlp(&self, endpoint: Option<String>, token: Option<String>) -> Result<Option<Otlp>, ConfigError> {
        let Some(endpoint) = endpoint else { return Ok(None) };
        if !endpoint.starts_with("http://") {
            return Err(self.wrong("otlp.endpoint", "a URL such as http://127.0.0.1:4318 is wanted (no https)"));
        }
        let host = endpoint.split('/').nth(2).unwrap_or_default();
        if host.contains('@') {
            return Err(self.wrong("otlp.endpoint", "no name and password is sent from here: use otlp.token"));
        }
        Ok(Some(Otlp { endpoint: endpoint.trim_end_matches('/').to_owned(), token }))
    }

    pub(super) fn webrtc(&self, written: WebrtcKeys) -> Result<Webrtc, ConfigError> {
        let servers: Vec<IceServer> = self.each("webrtc.servers", &written.servers, "stun:HOST or turn:HOST")?;
        let shared = match (written.secret, written.secret_file) {
            (Some(_), Some(_)) => {
                return Err(self.wrong("webrtc.secret_file", "only one of it and webrtc.secret may be set"));
            }
            (secret, None) => secret.map(Zeroizing::new),
            (None, Some(file)) => Some(self.secret("webrtc.secret_file", file)?),
        };
        let credentials = match (written.username, written.password, shared) {
            (None, None, None) => None,
            (username, _, Some(secret)) => {
                let username = username.unwrap_or_else(|| "comity".to_owned());
                Some(RelayCredentials::Secret { username, secret })
            }
            (Some(username), Some(password), None) => {
                Some(RelayCredentials::LongTerm { username, password: Zeroizing::new(password) })
            }
            _ => return Err(self.wrong("webrtc.username", "it is wanted with webrtc.password, or webrtc.secret")),
        };
        if credentials.is_none() && servers.iter().any(|server| server.kind != IceKind::Stun) {
            let problem = "a relay wants webrtc.username and webrtc.password, or webrtc.secret (or webrtc.secret_file)";
            return Err(self.wrong("webrtc.servers", problem));
        }
        let range = |text: &str| {
            let (first, last) = text.split_once('-')?;
            let range = first.trim().parse().ok()?..=last.trim().parse().ok()?;
            (*range.start() > 0 && !range.is_empty()).then_some(range)
        };
        let wrong = || self.wrong("webrtc.ports", "a range such as 50000-50099 is wanted");
        let ports = written.ports.map(|text| range(&text).ok_or_else(wrong)).transpose()?;
        Ok(Webrtc { servers, credentials, ports })
    }

    pub(super) fn gossip(&self, written: GossipKeys, mdns: Option<&Mdns>) -> Result<Option<Gossip>, ConfigError> {
        let wanted = "an address such as /ip4/192.0.2.7/tcp/8400/p2p/12D3Koo… is";
        let dht = match written.dht.as_str() {
            "off" => Dht::Off,
            "client" => Dht::Client,
            "server" => Dht::Server,
            "auto" => Dht::Auto,
            _ => return Err(self.wrong("gossip.dht", "off, client, server or auto is wanted")),
        };
        let topic = |key, name: String| match Channel::new(&name) {
            Ok(_) => Ok(name),
            Err(bad) => Err(self.wrong(key, bad.to_string())),
        };
        let meant = Gossip {
            bootstrap: self.each("gossip.bootstrap", &written.bootstrap, wanted)?,
            dht,
            relay: written.relay,
            relays: self.each("gossip.relays", &written.relays, wanted)?,
            // libp2p cannot be kept to some interfaces.
            mdns: mdns.is_some_and(|mdns| mdns.interfaces.is_empty()),
            coordination: topic("gossip.coordination", written.coordination)?,
            meta: topic("gossip.meta", written.meta)?,
            context: topic("gossip.context", written.context)?,
        };
        Ok(written.enabled.then_some(meant))
    }

    pub(super) fn redaction(&self, written: RedactionKeys) -> Result<Option<Redaction>, ConfigError> {
        let meant = Redaction { off: written.off, rules: written.rules };
        // Tried here, so that a wrong rule is told with the file it is in.
        meant.redactor([0; 32]).map_err(|bad| match &bad {
            BadRule::Unknown { .. } => self.wrong("redaction.off", bad.to_string()),
            _ => self.wrong("redaction.rules", bad.to_string()),
        })?;
        Ok(written.enabled.then_some(meant))
    }

    pub(super) fn metadata(
        &self,
        metadata: BTreeMap<String, String>,
        capabilities: &[String],
    ) -> Result<BTreeMap<String, String>, ConfigError> {
        told(&metadata, capabilities).map_err(|problem| self.wrong("metadata", problem)).map(|()| metadata)
    }

    pub(super) fn admission(&self, trust: &str) -> Result<Admission, ConfigError> {
        match trust {
            "open" => Ok(Admission::Open),
            "verified" => Ok(Admission::Verified),
            "known" => Ok(Admission::Known),
            _ => Err(self.wrong("local.trust", "open, verified or known is wanted")),
        }
    }

    pub(super) fn mqtt(&self, written: MqttKeys, admission: Admission) -> Result<Option<Mqtt>, ConfigError> {
        let brokers = written.brokers.iter().map(|text| text.trim().parse());
        let brokers = brokers.collect::<Result<Vec<Broker>, BadBroker>>();
        let brokers = brokers.map_err(|bad| self.wrong("mqtt.brokers", bad.to_string()))?;
        // Twice the same one, and each of the two connections would end the other.
        let brokers = brokers.into_iter().fold(Vec::new(), |mut unlike: Vec<Broker>, broker| {
            if !unlike.contains(&broker) {
                unlike.push(broker);
            }
            unlike
        });
        let at_most = |key, value: u64, most: u64| match self.small(key, value)? {
            value if value <= most => Ok(value),
            _ => Err(self.wrong(key, format!("at most {most} is wanted"))),
        };
        let meant = Mqtt {
            unsigned: admission == Admission::Open,
            listen: self.one("mqtt.listen", &written.listen, "address:port")?,
            topics: Topics::new(&written.prefix).map_err(|bad| self.wrong("mqtt.prefix", bad.to_string()))?,
            interval: Duration::from_secs(at_most("mqtt.interval_seconds", written.interval_seconds, INTERVAL_MAX)?),
            client_id: written.client_id.clone(),
            login: self.login(&written)?,
            ca: written.ca_file.map(|text| self.path("mqtt.ca_file", text)),
            certificate: self.files(("mqtt.cert_file", written.cert_file), ("mqtt.key_file", written.key_file))?,
            verify: written.verify,
            metadata: written.metadata,
            brokers,
        };
        self.refuse_unsafe(&meant)?;
        if meant.brokers.len() > BROKERS_MAX {
            return Err(self.wrong("mqtt.brokers", format!("at most {BROKERS_MAX} are allowed")));
        }
        if meant.client_id.as_ref().is_some_and(|id| !is_word(id)) {
            return Err(self.wrong("mqtt.client_id", "1 to 128 bytes of visible text are wanted"));
        }
        Ok(Some(meant).filter(|meant| !meant.brokers.is_empty()))
    }

    fn login(&self, written: &MqttKeys) -> Result<Option<Login>, ConfigError> {
        let secrets = [("mqtt.password", &written.password), ("mqtt.password_file", &written.password_file)];
        let mut set = secrets.into_iter().chain([("mqtt.token", &written.token)]).filter(|(_, value)| value.is_some());
        let (first, second) = (set.next(), set.next());
        if let (Some((one, _)), Some((other, _))) = (first, second) {
            return Err(self.wrong(other, format!("only one of it and {one} may be set")));
        }
        let secret = match first {
            Some((key @ "mqtt.password_file", Some(file))) => Some(self.secret(key, file.clone())?),
            Some((_, secret)) => secret.clone().map(Zeroizing::new),
            None => None,
        };
        let username = written.username.clone().unwrap_or_default();
        Ok((secret.is_some() || !username.is_empty()).then_some(Login { username, secret }))
    }

    /// Refuses what would hand a secret to whoever is in between.
    fn refuse_unsafe(&self, mqtt: &Mqtt) -> Result<(), ConfigError> {
        let has_secret = mqtt.login.as_ref().is_some_and(|login| login.secret.is_some());
        for broker in &mqtt.brokers {
            let Broker::At(url) = broker else { continue };
            if !mqtt.verify && !url.is_loopback() {
                return Err(self.wrong("mqtt.verify", format!("false is refused for {url}: set mqtt.ca_file instead")));
            }
            if has_secret && !url.transport.is_tls() && !url.is_loopback() {
                let problem = format!("{url} would send the password for all to read: use mqtts:// or wss://");
                return Err(self.wrong("mqtt.brokers", problem));
            }
        }
        Ok(())
    }

    /// The secret in a file, without the end of its line.
    pub(super) fn secret(&self, key: &str, file: String) -> Result<Zeroizing<String>, ConfigError> {
        let path = self.path(key, file);
        let text = std::fs::read_to_string(&path).map(Zeroizing::new);
        let text = text.map_err(|failure| self.wrong(key, format!("{}: {failure}", path.display())))?;
        Ok(Zeroizing::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    pub(super) fn path(&self, key: &str, text: String) -> PathBuf {
        match self.layers.folder(key) {
            Some(folder) => folder.join(text),
            None => PathBuf::from(text),
        }
    }

    /// Two files that belong together, or none.
    fn files(
        &self,
        (cert_key, cert): (&str, Option<String>),
        (key_key, key): (&str, Option<String>),
    ) -> Result<Option<TlsFiles>, ConfigError> {
        match (cert, key) {
            (None, None) => Ok(None),
            (Some(cert), Some(key)) => {
                Ok(Some(TlsFiles { cert: self.path(cert_key, cert), key: self.path(key_key, key) }))
            }
            (Some(_), None) => Err(self.wrong(cert_key, format!("{key_key} must be set too"))),
            (None, Some(_)) => Err(self.wrong(key_key, format!("{cert_key} must be set too"))),
        }
    }
}
