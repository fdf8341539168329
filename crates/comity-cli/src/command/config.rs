//! `comity config show`: every setting, and where it comes from; of the running node, or as a node
//! started here would read them.

use super::place;
use crate::args::{ConfigCommand, Everywhere, LogFormat, Up};
use crate::exit::Failure;
use crate::page::{Look, Page, cell, looking};
use comity::config::{Config, Flag, Origin, Sources};
use comity_client::control::{Setting, Settings};
use comity_client::{Client, Error};
use std::path::Path;

pub(crate) async fn run(everywhere: &Everywhere, command: ConfigCommand, page: &mut Page) -> Result<(), Failure> {
    let ConfigCommand::Show { origin } = command;
    let place = place(everywhere)?;
    let settings = match Client::new(place.path()).settings().await {
        Ok(settings) => settings,
        Err(Error::NoNode { .. }) => {
            let (_, origins) = read(&sources(everywhere, place.path(), &Up::default()))?;
            origins.into_iter().map(setting).collect()
        }
        Err(error) => return Err(error.into()),
    };
    if page.json {
        return page.value(&Settings { settings });
    }
    let row = |one: &Setting| {
        let mut row =
            vec![cell(&one.key), looking(&one.value, if one.origin == "default" { Look::Faint } else { Look::Plain })];
        row.extend(origin.then(|| looking(&one.origin, Look::Faint)));
        row
    };
    let rows: Vec<_> = settings.iter().map(row).collect();
    let headings: &[&str] = if origin { &["KEY", "VALUE", "FROM"] } else { &["KEY", "VALUE"] };
    page.table(headings, &rows)
}

/// A value and its origin, as it goes through the control door.
fn setting(origin: Origin) -> Setting {
    Setting { key: origin.key, value: origin.value, origin: origin.from }
}

/// Reads the configuration; what is wrong with it is the caller's to mend.
pub(crate) fn read(sources: &Sources) -> Result<(Config, Vec<Origin>), Failure> {
    Config::read(sources).map_err(|wrong| Failure::Usage(wrong.to_string()))
}

/// Where a node in this folder, started with these flags, reads its configuration from.
pub(crate) fn sources(everywhere: &Everywhere, folder: &Path, flags: &Up) -> Sources {
    Sources {
        usual_file: Some(folder.join("comity.toml")),
        named_file: everywhere.config.clone(),
        variables: Sources::environment(),
        flags: set_by(flags),
    }
}

/// What the flags set; a flag that is not given sets nothing.
fn set_by(flags: &Up) -> Vec<Flag> {
    let one = |value: Option<String>| value.into_iter().collect::<Vec<_>>();
    let format = flags.log_format.map(|format| match format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    });
    let all = [
        ("--name", "name", one(flags.name.clone())),
        ("--port", "http.port", one(flags.port.map(|port| port.to_string()))),
        ("--no-mdns", "mdns.enabled", one(flags.no_mdns.then(|| "false".to_owned()))),
        ("--peer", "peers", flags.peer.clone()),
        ("--broker", "mqtt.brokers", flags.broker.clone()),
        ("--capability", "capabilities", flags.capability.clone()),
        ("--coordinator", "mesh.coordinator", one(flags.coordinator.then(|| "true".to_owned()))),
        ("--log-format", "log.format", one(format.map(str::to_owned))),
    ];
    let given = all.into_iter().filter(|(_, _, values)| !values.is_empty());
    given.map(|(name, key, values)| Flag { name, key, values }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_as_configuration_and_name_themselves_as_its_origin() {
        let flags = Up {
            name: Some("n".to_owned()),
            port: Some(0),
            no_mdns: true,
            peer: vec!["http://127.0.0.1:8400".to_owned()],
            broker: vec!["embedded".to_owned()],
            capability: vec!["a".to_owned(), "b".to_owned()],
            coordinator: true,
            log_format: Some(LogFormat::Json),
        };
        let sources = Sources { flags: set_by(&flags), ..Sources::default() };
        let (config, origins) = read(&sources).expect("good flags");
        assert_eq!(config.name.as_deref(), Some("n"));
        assert_eq!((config.capabilities.len(), config.peers.len(), config.mdns), (2, 1, None));
        let port = origins.iter().find(|origin| origin.key == "http.port").expect("the key");
        assert_eq!(port.from, "--port");
        assert!(set_by(&Up::default()).is_empty());
    }
}
