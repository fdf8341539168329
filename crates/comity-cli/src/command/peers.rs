//! `comity peers`: who is there, and what changes.

use crate::args::Peers;
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, said};
use comity_client::Client;
use comity_client::control::{Peer, PeerChange};
use comity_core::identity::trust::Trust;
use comity_core::peers::Presence;
use comity_core::time::Timestamp;
use serde_json::json;
use std::collections::HashSet;
use std::time::SystemTime;
use uuid::Uuid;

pub(crate) async fn run(client: &Client, flags: Peers, page: &mut Page) -> Result<(), Failure> {
    let wanted = |peer: &Peer| flags.capability.as_ref().is_none_or(|can| peer.capabilities.contains(can));
    if flags.watch {
        return watch(client, wanted, page).await;
    }
    let peers: Vec<Peer> = client.peers().await?.into_iter().filter(wanted).collect();
    if page.json {
        return page.value(&json!({ "peers": peers }));
    }
    if peers.is_empty() {
        return page
            .line("No peers yet. They appear by themselves on this network; `comity doctor` says if they cannot.");
    }
    let now = now();
    let rows: Vec<_> = peers.iter().map(|peer| row(peer, now)).collect();
    page.table(&["NAME", "ID", "STATE", "TRUST", "REACH", "LINK", "SEEN", "ADDRESS", "DOING"], &rows)?;
    for peer in peers.iter().filter(|peer| peer.presence.0 != Presence::Online) {
        if let Some(trouble) = &peer.trouble {
            page.line(&format!("{}: {}", name(peer), clean(trouble)))?;
        }
    }
    Ok(())
}

async fn watch(client: &Client, wanted: impl Fn(&Peer) -> bool, page: &mut Page) -> Result<(), Failure> {
    let mut changes = client.peer_changes().await?;
    let mut followed = HashSet::new();
    while let Some(change) = changes.next().await? {
        if !is_wanted(&change, &wanted, &mut followed) {
            continue;
        }
        if page.json {
            page.value(&change)?;
        } else {
            let line = sentence(&change, page);
            page.line(&line)?;
        }
    }
    Err(Failure::Other("the node stopped".to_owned()))
}

/// Whether a change is of a peer that is wanted, or of one that was until now.
fn is_wanted(change: &PeerChange, wanted: impl Fn(&Peer) -> bool, followed: &mut HashSet<Uuid>) -> bool {
    match change {
        PeerChange::Present { peer } | PeerChange::Joined { peer } | PeerChange::Updated { peer } => {
            if wanted(peer) {
                followed.insert(peer.id);
                return true;
            }
            followed.remove(&peer.id)
        }
        PeerChange::Status { id, .. } => followed.contains(id),
        PeerChange::Left { id, .. } => followed.remove(id),
        PeerChange::Lagged { .. } => true,
    }
}

fn sentence(change: &PeerChange, page: &Page) -> String {
    let state = |peer: &Peer| {
        let (name, presence, trust) = (name(peer), peer.presence.0.name(), peer.trust.0.name());
        format!("{name}  {}  {presence}, {trust}, reach {}", peer.id, clean(&peer.reach))
    };
    match change {
        PeerChange::Present { peer } => format!("{}  {}", page.paint("here   ", Look::Faint), state(peer)),
        PeerChange::Joined { peer } => format!("{}  {}", page.paint("joined ", Look::Good), state(peer)),
        PeerChange::Updated { peer } => format!("{}  {}", page.paint("changed", Look::Faint), state(peer)),
        PeerChange::Status { id, status } => {
            let doing = status.as_ref().map_or_else(|| "nothing".to_owned(), said);
            format!("{}  {id}  {doing}", page.paint("status ", Look::Faint))
        }
        PeerChange::Left { id, name, goodbye } => {
            let how = if *goodbye { "said goodbye" } else { "was lost" };
            format!("{}  {}  {id}  {how}", page.paint("left   ", Look::Warning), clean(name))
        }
        PeerChange::Lagged { skipped } => {
            format!("{}  {skipped} changes were missed", page.paint("lagged ", Look::Bad))
        }
    }
}

fn row(peer: &Peer, now: Timestamp) -> Vec<Cell> {
    let presence = match peer.presence.0 {
        Presence::Online => Look::Good,
        Presence::Seen | Presence::Offline => Look::Faint,
        Presence::Stale | Presence::Unreachable => Look::Warning,
    };
    let trust = match peer.trust.0 {
        Trust::Unverified => Look::Warning,
        Trust::Verified => Look::Plain,
        Trust::Known => Look::Good,
    };
    vec![
        looking(name(peer), Look::Strong),
        cell(peer.id.to_string()),
        looking(peer.presence.0.name(), presence),
        looking(peer.trust.0.name(), trust),
        cell(&peer.reach),
        cell(peer.link.map_or("-", |way| way.0.name())),
        cell(age(peer.last_seen, now)),
        cell(peer.addresses.first().map_or_else(|| "-".to_owned(), ToString::to_string)),
        cell(peer.status.as_ref().map_or_else(|| "-".to_owned(), doing)),
    ]
}

/// A peer's name; whoever only wrote, and never said who it is, has none.
fn name(peer: &Peer) -> String {
    if peer.name.is_empty() { "-".to_owned() } else { clean(&peer.name) }
}

/// What a peer says it is doing, in a few words.
fn doing(status: &serde_json::Value) -> String {
    let Some(working_on) = status.get("working_on").and_then(serde_json::Value::as_str) else { return said(status) };
    match status.get("progress").and_then(serde_json::Value::as_f64) {
        Some(progress) if (0.0..=1.0).contains(&progress) => {
            format!("{} ({:.0} %)", clean(working_on), progress * 100.0)
        }
        _ => clean(working_on),
    }
}

/// How long ago, in one unit.
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    match now.since(then).as_secs() {
        seconds @ 0..=119 => format!("{seconds}s"),
        seconds @ 120..=7199 => format!("{}m", seconds / 60),
        seconds @ 7200..=172_799 => format!("{}h", seconds / 3600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

/// The time on this machine.
pub(crate) fn now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(u64::try_from(since_1970.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_changes_of_peers_that_can_do_it_are_followed() {
        let change = |name: &str, number: u128, capability: &str| -> PeerChange {
            let peer = json!({
                "id": Uuid::from_u128(number), "name": "x", "version": "", "presence": "online", "trust": "verified",
                "reach": "both", "capabilities": [capability], "addresses": [], "endpoints": [], "metadata": {},
                "last_seen": "2026-01-01T00:00:00Z", "discovered_at": "2026-01-01T00:00:00Z", "sources": [],
            });
            serde_json::from_value(json!({ "change": name, "peer": peer })).expect("a change")
        };
        let of = |number: u128| Uuid::from_u128(number);
        let mut followed = HashSet::new();
        let mut wanted = |change: PeerChange| {
            is_wanted(&change, |peer: &Peer| peer.capabilities.iter().any(|can| can == "echo"), &mut followed)
        };
        assert!(wanted(change("present", 1, "echo")) && !wanted(change("joined", 2, "sing")));
        assert!(wanted(PeerChange::Status { id: of(1), status: None }));
        assert!(!wanted(PeerChange::Status { id: of(2), status: None }));
        assert!(wanted(change("updated", 1, "sing")), "that it can no more is news");
        assert!(!wanted(PeerChange::Left { id: of(1), name: String::new(), goodbye: true }));
        assert!(!wanted(PeerChange::Left { id: of(2), name: String::new(), goodbye: true }));
        assert!(wanted(PeerChange::Lagged { skipped: 1 }));
    }

    #[test]
    fn ages_have_one_unit() {
        let now = Timestamp::from_millis(1_000_000_000_000);
        let ago = |seconds: u64| age(Timestamp::from_millis(1_000_000_000_000 - seconds * 1000), now);
        assert_eq!([ago(0), ago(119), ago(120), ago(7200), ago(172_800)], ["0s", "119s", "2m", "2h", "2d"]);
    }

    #[test]
    fn a_status_reads_as_what_is_being_done() {
        assert_eq!(doing(&json!({"working_on": "tests", "progress": 0.5})), "tests (50 %)");
        assert_eq!(doing(&json!({"working_on": "tests", "progress": 5})), "tests");
        assert_eq!(doing(&json!({"else": 1})), r#"{"else":1}"#);
    }
}
