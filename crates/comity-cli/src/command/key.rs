//! `comity key rotate`: a new key for a node that does not run.

use super::{config, place};
use crate::args::{Everywhere, Key, Up};
use crate::confirm::confirm;
use crate::exit::Failure;
use crate::page::{Page, cell};
use comity::home::Home;
use serde_json::json;
use std::time::SystemTime;

pub(crate) fn run(everywhere: &Everywhere, wanted: &Key, page: &mut Page) -> Result<(), Failure> {
    let Key::Rotate { yes } = wanted;
    let place = place(everywhere)?;
    let home = Home::lock(place.path()).map_err(|wrong| Failure::Other(wrong.to_string()))?;
    let (settings, _) = config::read(&config::sources(everywhere, place.path(), &Up::default()))?;
    let origin = settings.federation.as_ref().map(|federation| &federation.origin);
    if !yes {
        let others = match origin {
            Some(origin) => format!("other origins follow, since the old key of {origin} signs the change; "),
            None => String::new(),
        };
        confirm(&format!(
            "This node gets a new key and a new id: {others}peers that know it must trust it anew, and its journal begins \
             anew. Change the key?"
        ))?;
    }
    let rotated = home.rotate(origin, SystemTime::now()).map_err(|wrong| Failure::Other(wrong.to_string()))?;
    let journal = rotated.journal.as_ref().map(|path| path.display().to_string());
    if page.json {
        let (old, new) = (rotated.old.to_string(), rotated.new.to_string());
        return page
            .value(&json!({"old": old, "new": new, "origin": origin.map(ToString::to_string), "journal": journal}));
    }
    let mut pairs = vec![("old key", cell(rotated.old.to_string())), ("new key", cell(rotated.new.to_string()))];
    pairs.extend(journal.map(|path| ("old journal", cell(path))));
    page.pairs(&pairs)
}
