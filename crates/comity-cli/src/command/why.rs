//! `comity why`: what became of a message.

use crate::args::Why;
use crate::exit::Failure;
use crate::page::{Look, Page, cell, looking};
use comity_client::Client;
use comity_core::ledger::FateKind;

pub(crate) async fn run(client: &Client, wanted: Why, page: &mut Page) -> Result<(), Failure> {
    let why = client.why(wanted.message).await?;
    if page.json {
        page.value(&why)?;
    }
    if why.fates.is_empty() {
        let sentence =
            "nothing is known of this message here: fates are kept for ten minutes, and only by the nodes it touched";
        return Err(Failure::Unknown(sentence.to_owned()));
    }
    if page.json {
        return Ok(());
    }
    let rows = why.fates.iter().map(|step| {
        let whom = step.peer_name.clone().or_else(|| step.peer.map(|peer| peer.to_string()));
        let time = step.at.to_string();
        vec![
            looking(time.get(11..23).unwrap_or_default(), Look::Faint),
            looking(step.fate.0.name(), look(step.fate.0)),
            cell(whom.as_deref().unwrap_or("this node")),
            cell(meaning(step.fate.0)),
        ]
    });
    let rows: Vec<_> = rows.collect();
    page.table(&["TIME", "FATE", "PEER", "MEANING"], &rows)
}

fn look(fate: FateKind) -> Look {
    match fate {
        FateKind::Delivered | FateKind::Inbox | FateKind::Read | FateKind::Digested => Look::Good,
        FateKind::Queued | FateKind::Sent => Look::Plain,
        _ => Look::Warning,
    }
}

/// A fate in a few words.
fn meaning(fate: FateKind) -> &'static str {
    match fate {
        FateKind::Queued => "waits to be written to the peer",
        FateKind::Sent => "was written; nothing has come back yet",
        FateKind::Delivered => "was handed to somebody who listens there",
        FateKind::Inbox => "waits in the inbox there",
        FateKind::Read => "was taken out of the inbox",
        FateKind::Digested => "was counted in a digest",
        FateKind::Evicted => "had to make room for more urgent messages",
        FateKind::Expired => "was not delivered within its time to live",
        FateKind::RateLimited => "came too fast after others",
        FateKind::Duplicate => "had come before",
        FateKind::NotSubscribed => "is on a channel that nobody there listens to",
        FateKind::Forged => "does not come from whom it names",
        FateKind::NotAdmitted => "comes from somebody who is not admitted there",
        FateKind::WrongDestination => "is for somebody else",
        FateKind::FromTheFuture => "is dated in the future: a clock is wrong",
        FateKind::Unavailable => "could not be kept there",
        FateKind::Unreadable => "could not be read there: a form it does not know, or sealed for somebody else",
        FateKind::NoAnswerer => "is a question that nobody there answers",
        FateKind::Late => "is an answer that came too late",
        FateKind::Failed => "was given up after the last try",
    }
}
