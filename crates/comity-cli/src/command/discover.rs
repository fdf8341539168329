//! `comity discover`, `comity announce`, `comity federation:peers`: discovery over MQTT by a connection of
//! its own, with the key of the data directory if there is one. No node needs to run.

use super::peers::{age, now};
use super::{place, stopped};
use crate::args::{Announce, Discover, Everywhere, FederationPeers, Up};
use crate::command::config::{read, sources};
use crate::exit::Failure;
use crate::page::{Look, Page, cell, clean, looking, say};
use comity::AnnouncedPeer;
use comity::announcing::{About, Change, Discovery, Filter, LOOK_TIME, Standing};
use comity::config::{Mqtt, USUAL_BROKER};
use comity::home::{Home, HomeError, Place, stored_key};
use comity_core::identity::key::KeyPair;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// How long a broker may take until it is said that it does not answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

pub(crate) async fn discover(everywhere: &Everywhere, flags: Discover, page: &mut Page) -> Result<(), Failure> {
    let keys = stored(&place(everywhere)?)?;
    let discovery = start(everywhere, flags.broker, None, keys, About::default())?;
    discovery.look(flags.timeout).await;
    let filter = Filter { capabilities: flags.capability, ..Filter::default() };
    list(discovery, &filter, page).await
}

pub(crate) async fn peers(everywhere: &Everywhere, flags: FederationPeers, page: &mut Page) -> Result<(), Failure> {
    let keys = stored(&place(everywhere)?)?;
    let discovery = start(everywhere, flags.broker, None, keys, About::default())?;
    let filter = Filter { capabilities: flags.capability, ..Filter::default() };
    if flags.watch {
        return watch(discovery, &filter, page).await;
    }
    discovery.look(LOOK_TIME).await;
    list(discovery, &filter, page).await
}

pub(crate) async fn announce(everywhere: &Everywhere, flags: Announce, page: &mut Page) -> Result<(), Failure> {
    let about = About { url: flags.url, capabilities: flags.capability };
    let (home, keys) = own(&place(everywhere)?)?;
    let discovery = start(everywhere, flags.broker, flags.interval, keys, about)?;
    discovery.announce_self(&BTreeMap::new());
    let asked = announced(&discovery, page).await;
    discovery.stop().await;
    drop(home);
    asked
}

/// Says that this is announced once it is, and then what happens to the brokers, until it is to stop.
async fn announced(discovery: &Discovery, page: &mut Page) -> Result<(), Failure> {
    let standing = discovery.settled(ANSWER_TIME).await;
    working(&standing)?;
    let mut troubles = Troubles(standing.troubles);
    let mut changes = discovery.changes();
    if page.json {
        page.value(&json!({ "announced": true }))?
    } else {
        page.line("announced")?
    }
    loop {
        let change = tokio::select! {
            change = changes.next() => change,
            asked = stopped() => return asked,
        };
        match change {
            None => return Err(ended()),
            Some(Change::Standing(standing)) => troubles.note(standing),
            Some(Change::Here(_) | Change::Gone(_) | Change::Lagged(_)) => {}
        }
    }
}

fn ended() -> Failure {
    Failure::Other("discovery ended".to_owned())
}

/// What was said to be wrong with the brokers.
struct Troubles(Vec<String>);

impl Troubles {
    /// Says what is new of what is wrong.
    fn note(&mut self, standing: Standing) {
        for trouble in standing.troubles.iter().filter(|trouble| !self.0.contains(trouble)) {
            say(trouble);
        }
        self.0 = standing.troubles;
    }
}

/// Fails when no broker works; says which ones do not when another does.
fn working(standing: &Standing) -> Result<(), Failure> {
    match standing.trouble() {
        Some(trouble) if standing.up == 0 => Err(Failure::Other(trouble)),
        trouble => {
            if let Some(trouble) = trouble {
                say(&trouble);
            }
            Ok(())
        }
    }
}

/// Discovery by the brokers that are named, else configured, else usual.
fn start(
    everywhere: &Everywhere,
    brokers: Vec<String>,
    interval: Option<u16>,
    keys: Option<KeyPair>,
    about: About,
) -> Result<Discovery, Failure> {
    let settings = settings(everywhere, brokers)?;
    let interval = interval.map_or(settings.interval, |seconds| Duration::from_secs(seconds.into()));
    Ok(Discovery::start(&Mqtt { interval, ..settings }, keys, about))
}

/// The directory and its key, for nobody else meanwhile: two that announce one key take turns at withdrawing each
/// other. Beside a node in the usual directory it is somebody new who announces.
fn own(place: &Place) -> Result<(Option<Home>, Option<KeyPair>), Failure> {
    let Some(keys) = stored(place)? else { return Ok((None, None)) };
    match Home::lock(place.path()) {
        Ok(home) => Ok((Some(home), Some(keys))),
        Err(HomeError::InUse { folder, .. }) if matches!(place, Place::Usual(_)) => {
            say(&format!("{} belongs to a running node: this is announced under a key of its own", folder.display()));
            Ok((None, None))
        }
        Err(wrong) => Err(Failure::Other(wrong.to_string())),
    }
}

/// The key of the data directory, if there is one.
fn stored(place: &Place) -> Result<Option<KeyPair>, Failure> {
    stored_key(place.path()).map_err(|wrong| Failure::Other(wrong.to_string()))
}

fn settings(everywhere: &Everywhere, brokers: Vec<String>) -> Result<Mqtt, Failure> {
    let place = place(everywhere)?;
    let read = |broker| read(&sources(everywhere, place.path(), &Up { broker, ..Up::default() }));
    let (config, _) = read(brokers)?;
    let mqtt = match config.mqtt {
        Some(mqtt) => Some(mqtt),
        None => read(vec![USUAL_BROKER.to_owned()])?.0.mqtt,
    };
    mqtt.ok_or_else(|| Failure::Usage("no broker is named".to_owned()))
}

async fn list(discovery: Discovery, filter: &Filter, page: &mut Page) -> Result<(), Failure> {
    let found = discovery.get_peers(filter).await;
    let standing = discovery.standing();
    discovery.stop().await;
    match working(&standing) {
        Err(none) if found.is_empty() => return Err(none),
        Err(none) => say(&none.to_string()),
        Ok(()) => {}
    }
    if page.json {
        return page.value(&json!({ "peers": found.iter().map(value).collect::<Vec<_>>() }));
    }
    if found.is_empty() {
        return page.line("Nobody is announced.");
    }
    let row = |peer: &AnnouncedPeer| {
        let signed = peer.info.key.is_some();
        vec![
            looking(clean(&peer.info.id), Look::Strong),
            looking(if signed { "signed" } else { "unsigned" }, if signed { Look::Good } else { Look::Warning }),
            cell(age(peer.heard_at, now())),
            cell(clean(peer.info.url.as_deref().unwrap_or("-"))),
            cell(clean(&peer.info.capabilities.join(" "))),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    page.table(&["ID", "WORD", "HEARD", "URL", "CAPABILITIES"], &rows)
}

async fn watch(discovery: Discovery, filter: &Filter, page: &mut Page) -> Result<(), Failure> {
    let mut changes = discovery.changes();
    let mut troubles = Troubles(Vec::new());
    troubles.note(discovery.standing());
    let ended = loop {
        let change = tokio::select! {
            change = changes.next() => change,
            asked = stopped() => break asked,
        };
        let (what, shown, id) = match change {
            None => break Err(ended()),
            Some(Change::Standing(standing)) => {
                troubles.note(standing);
                continue;
            }
            Some(Change::Here(peer)) if !filter.takes(&peer) => continue,
            Some(Change::Here(peer)) => ("here", json!({ "here": value(&peer) }), clean(&peer.info.id)),
            Some(Change::Gone(peer)) => ("gone", json!({ "gone": peer.to_string() }), peer.to_string()),
            Some(Change::Lagged(missed)) => ("lagged", json!({ "lagged": missed }), missed.to_string()),
        };
        let said = if page.json { page.value(&shown) } else { page.line(&format!("{what:<6}  {id}")) };
        if let Err(failed) = said {
            break Err(failed);
        }
    };
    discovery.stop().await;
    ended
}

/// A peer for programs: what it said of itself is data.
fn value(peer: &AnnouncedPeer) -> Value {
    let info = &peer.info;
    json!({
        "id": info.id,
        "peer": peer.peer.to_string(),
        "node": info.key.map(|key| key.to_string()),
        "trust": "unverified",
        "signed": info.key.is_some(),
        "url": info.url,
        "capabilities": info.capabilities,
        "protocols": info.protocols,
        "protocol_version": info.protocol_version,
        "metadata": info.metadata,
        "last_seen": info.last_seen.map(|time| time.to_string()),
        "heard_at": peer.heard_at.to_string(),
        "brokers": peer.brokers,
    })
}
