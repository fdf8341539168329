//! What `comity doctor` asks the running node: what works, what does not, and what to do. It
//! reads the node's view, and what the servers of WebRTC said just now, and changes nothing.

use crate::door::health::wrong_clock;
use crate::store::journal::Disk;
use comity_core::node::{NodeView, SourceHealth};
use comity_core::peers::Presence;
use comity_core::wire::control::{Check, Followed, Following, Health};

/// All checks, the same ones in the same order every time.
pub(super) fn checks(view: &NodeView, servers: &[(String, Result<(), String>)]) -> Vec<Check> {
    let mut checks = vec![identity(view), disk(view), clock(view), inbox(view)];
    checks.extend(view.sources.iter().map(|(source, health)| discovery(source.name(), health)));
    checks.extend(servers.iter().map(|(name, state)| match state {
        Ok(()) => check(&format!("webrtc {name}"), Health::Well, "answers".to_owned()),
        Err(why) => check(&format!("webrtc {name}"), Health::Ill, why.clone()),
    }));
    checks.push(peers(view));
    checks.extend(view.peers.iter().filter_map(|peer| {
        let trouble = peer.trouble.as_ref().filter(|_| peer.presence == Presence::Unreachable)?;
        Some(check(&format!("peer {}", peer.name), Health::Noted, trouble.clone()))
    }));
    checks
}

/// Whether the journal is written.
pub(super) fn journal(disk: Disk) -> Check {
    match disk {
        Disk::Working => check("journal", Health::Well, "is written".to_owned()),
        Disk::Failing(why) => check("journal", Health::Ill, format!("nothing is published on topics: {why}")),
    }
}

/// What is wrong with a journal that is followed, or what it waits for.
pub(super) fn followed(one: &Followed) -> Option<Check> {
    let state = match one.state.0 {
        Following::Current | Following::Reading => return None,
        Following::Waiting => Health::Noted,
        Following::Broken => Health::Ill,
    };
    let who = one.name.as_deref().unwrap_or(&one.author);
    Some(check(&format!("journal of {who}"), state, one.detail.clone().unwrap_or_default()))
}

fn check(name: &str, state: Health, detail: String) -> Check {
    Check { name: name.to_owned(), state, detail }
}

fn identity(view: &NodeView) -> Check {
    match view.twin {
        None => check("identity", Health::Well, format!("{} is the only node with its key", view.name)),
        Some(address) => {
            let sentence =
                format!("the node at {address} has the same key: give one of them a data directory of its own");
            check("identity", Health::Ill, sentence)
        }
    }
}

fn disk(view: &NodeView) -> Check {
    if view.disk_ok {
        return check("disk", Health::Well, "takes what must be kept".to_owned());
    }
    let sentence =
        "does not take what must be kept: free some space in the data directory, and it goes on within a second";
    check("disk", Health::Ill, sentence.to_owned())
}

fn clock(view: &NodeView) -> Check {
    match wrong_clock(view.skew_ms) {
        Some(sentence) => check("clock", Health::Ill, sentence),
        None => {
            let seconds = view.skew_ms.unsigned_abs().div_ceil(1000);
            check("clock", Health::Well, format!("within {seconds} s of the peers' clocks"))
        }
    }
}

fn inbox(view: &NodeView) -> Check {
    let held: usize = view.inbox.values().sum();
    let state = if held >= view.inbox_max { Health::Noted } else { Health::Well };
    let advice = if state == Health::Noted { ": new items push out old ones; `comity inbox` takes them" } else { "" };
    check("inbox", state, format!("{held} of {} items{advice}", view.inbox_max))
}

fn discovery(source: &str, health: &SourceHealth) -> Check {
    let name = format!("discovery by {source}");
    match health {
        SourceHealth::Up => check(&name, Health::Well, "works".to_owned()),
        SourceHealth::Off => check(&name, Health::Noted, "is switched off".to_owned()),
        SourceHealth::Failed(why) => check(&name, Health::Ill, why.clone()),
    }
}

fn peers(view: &NodeView) -> Check {
    let online = view.peers.iter().filter(|peer| peer.presence == Presence::Online).count();
    let sentence = format!("{online} online of {} known, {} links", view.peers.len(), view.links.len());
    let state = if online == 0 { Health::Noted } else { Health::Well };
    check("peers", state, sentence)
}
