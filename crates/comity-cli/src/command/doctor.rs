//! `comity doctor`: whether everything works here. What only the running node knows, it is asked;
//! the rest is looked at from outside, so that there is an answer also when no node runs.

use super::place;
use crate::args::Everywhere;
use crate::exit::Failure;
use crate::page::{Look, Page, cell, looking};
use comity_client::control::{Check, Checkup, Health};
use comity_client::{Client, Error};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

pub(crate) async fn run(everywhere: &Everywhere, page: &mut Page) -> Result<(), Failure> {
    let place = place(everywhere)?;
    let mut checks = vec![folder(place.path())];
    let mut ended = Ok(());
    match Client::new(place.path()).checkup().await {
        Ok(checkup) => {
            checks.push(check("node", Health::Well, "running and answering"));
            checks.extend(checkup.checks);
        }
        Err(error) => {
            checks.push(check("node", Health::Ill, &error.to_string()));
            if matches!(error, Error::NoNode { .. }) {
                ended = Err(Failure::Node(error));
            }
        }
    }
    if page.json {
        page.value(&Checkup { checks: checks.clone() })?;
    } else {
        show(&checks, page)?;
    }
    if ended.is_ok() && checks.iter().any(|check| check.state == Health::Ill) {
        return Err(Failure::Ill);
    }
    ended
}

fn check(name: &str, state: Health, detail: &str) -> Check {
    Check { name: name.to_owned(), state, detail: detail.to_owned() }
}

/// The data directory: there, and nobody else's.
fn folder(folder: &Path) -> Check {
    let name = "data directory";
    match std::fs::metadata(folder) {
        Err(missing) if missing.kind() == std::io::ErrorKind::NotFound => {
            check(name, Health::Noted, &format!("{} is not there yet; `comity up` makes it", folder.display()))
        }
        Err(wrong) => check(name, Health::Ill, &format!("{}: {wrong}", folder.display())),
        Ok(found) if found.permissions().mode() & 0o077 != 0 => {
            let shown = folder.display();
            check(name, Health::Ill, &format!("others may look into {shown}: run `chmod 700 {shown}`"))
        }
        Ok(_) => check(name, Health::Well, &folder.display().to_string()),
    }
}

fn show(checks: &[Check], page: &mut Page) -> Result<(), Failure> {
    let rows = checks.iter().map(|check| {
        let (word, look) = match check.state {
            Health::Well => ("ok", Look::Good),
            Health::Noted => ("note", Look::Warning),
            Health::Ill => ("FAILS", Look::Bad),
        };
        vec![looking(word, look), cell(&check.name), cell(&check.detail)]
    });
    let rows: Vec<_> = rows.collect();
    page.table(&["", "CHECK", "DETAIL"], &rows)
}
