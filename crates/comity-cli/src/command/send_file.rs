//! `comity send-file`: files and folders to a peer. A transfer that breaks off goes on by itself when the way is
//! back, and where it stopped when the command is run again.

use super::progress::{Progress, bytes};
use super::stopped;
use crate::args::SendFile;
use crate::exit::Failure;
use crate::page::{Page, clean, say};
use comity_client::Client;
use comity_client::control::Peer;
use comity_client::files::{Broken, Event, Given, Plan, give};
use comity_core::transfer::Fault;
use comity_core::wire::transfer::Why;
use serde_json::json;
use std::time::{Duration, Instant};
use uuid::Uuid;

/// How long after a break it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a link may take to come up for a transfer that has not begun: a node may have started just now.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn run(client: &Client, wanted: SendFile, page: &mut Page) -> Result<(), Failure> {
    let plan = Plan::of(&wanted.paths).map_err(failure)?;
    for path in &plan.left_out {
        say(&format!("comity: {} is left out: only files and folders are sent", clean(&path.display().to_string())));
    }
    for (path, why) in &plan.unreadable {
        say(&format!("comity: {} is not sent: {why}", clean(&path.display().to_string())));
    }
    tokio::select! {
        sent = send(client, &wanted, &plan, page) => sent,
        asked = stopped() => asked.and(Err(Failure::Other(
            "stopped: the same command goes on where it stopped".to_owned(),
        ))),
    }
}

async fn send(client: &Client, wanted: &SendFile, plan: &Plan, page: &mut Page) -> Result<(), Failure> {
    let transfer = plan.transfer();
    let peer = key_of(client, &wanted.peer).await?;
    let mut progress = Progress::new(page, clean(&wanted.peer), plan.bytes());
    let (mut moved, mut begun, mut told) = (Instant::now(), false, false);
    loop {
        progress.again();
        let mut shown = Ok(());
        let given = give(client, &peer, transfer, plan, |event| {
            if event != Event::Waiting {
                (begun, told) = (true, false);
                moved = Instant::now();
            }
            if let (Err(failure), true) = (progress.show(&event, page), shown.is_ok()) {
                shown = Err(failure);
            }
        });
        let given = given.await;
        shown?;
        match given {
            Ok(given) => return end(&given, transfer, plan, &progress, page),
            Err(broken) if broken.is_passing() && may_pass(&broken, begun, moved, wanted.retry_for) => {
                if begun && !told {
                    told = true;
                    note(&broken, &progress, page)?;
                }
                tokio::time::sleep(PAUSE).await;
            }
            Err(broken) => {
                progress.end();
                return Err(given_up(broken, begun));
            }
        }
    }
}

/// The node id of the peer that somebody named, if there is but one: after a break the name may be another's.
pub(super) async fn key_of(client: &Client, named: &str) -> Result<String, Failure> {
    let peers = client.peers().await?;
    let means = |peer: &&Peer| peer.name == named || peer.id.to_string() == named;
    let best = peers.iter().filter(means).map(|peer| peer.trust).max();
    let mut keys =
        peers.iter().filter(means).filter(|peer| Some(peer.trust) == best).filter_map(|peer| peer.key.clone());
    Ok(match (keys.next(), keys.next()) {
        (Some(key), None) => key,
        // The node says what is wrong with it.
        _ => named.to_owned(),
    })
}

/// Whether it is tried again.
fn may_pass(broken: &Broken, begun: bool, moved: Instant, retry_for: Duration) -> bool {
    let comes_up = matches!(broken, Broken::Node(error) if error.code() == Some("no_link"));
    moved.elapsed()
        < if begun {
            retry_for
        } else if comes_up {
            GRACE
        } else {
            Duration::ZERO
        }
}

fn note(broken: &Broken, progress: &Progress, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        return progress.value(page, "broken", &json!({ "reason": broken.to_string() }));
    }
    progress.remark(&format!("comity: {}; it goes on as soon as it can", clean(&broken.to_string())));
    Ok(())
}

fn given_up(broken: Broken, begun: bool) -> Failure {
    if begun && broken.is_passing() {
        return Failure::Late(format!("{broken}; the same command goes on where it stopped"));
    }
    failure(broken)
}

/// Why a transfer ended, with its exit code.
pub(super) fn failure(broken: Broken) -> Failure {
    match broken {
        Broken::Node(error) => Failure::Node(error),
        Broken::Unsendable(sentence) => Failure::Usage(clean(&sentence)),
        Broken::Fault(Fault::Peer { why: Why::Declined | Why::TooLarge | Why::Busy, .. } | Fault::TooLarge { .. })
        | Broken::Declined => Failure::Unknown(clean(&broken.to_string())),
        Broken::Fault(Fault::Peer { why: Why::DiskFull, .. }) => Failure::Other(
            "the disk over there is full: when there is room again, the same command goes on where it stopped"
                .to_owned(),
        ),
        other => Failure::Other(clean(&other.to_string())),
    }
}

fn end(given: &Given, transfer: Uuid, plan: &Plan, progress: &Progress, page: &mut Page) -> Result<(), Failure> {
    progress.end();
    let (all, done) = (plan.sources.len(), given.done);
    if page.json {
        let skipped: Vec<_> = given.skipped.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        let unreadable: Vec<_> =
            plan.unreadable.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        let about = json!({ "transfer": transfer, "files": done, "bytes": plan.bytes(), "skipped": skipped,
            "unreadable": unreadable });
        progress.value(page, "sent", &about)?;
    } else if given.skipped.is_empty() {
        page.line(&format!("sent: {done} of {all}, {}", bytes(plan.bytes())))?;
    }
    if given.skipped.is_empty() && plan.unreadable.is_empty() {
        return Ok(());
    }
    if given.skipped.is_empty() {
        return Err(Failure::Unknown(format!("{} could not be read, and were not sent", plan.unreadable.len())));
    }
    Err(Failure::Unknown(format!("{} of {all} were not taken", given.skipped.len())))
}
