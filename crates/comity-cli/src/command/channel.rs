//! `comity channel`: channels shared with other origins.

use super::client;
use crate::args::{ChannelCommand, ChannelLog, Everywhere, VerifyChannel};
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, said, say};
use comity_client::Client;
use comity_client::control::{
    ChannelAct, ChannelProofs, ChannelStep, FederatedChannel, FederatedChannels, Invitations, NewChannel, SayOn,
};
use comity_core::federation::verify::{Verified, Verifier};
use comity_core::wire::federation::body::Member;
use comity_core::wire::strict;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Longest line of a log, bytes: an event and what its hub adds.
const LINE_MAX: u64 = 128 * 1024;

pub(crate) async fn run(everywhere: &Everywhere, wanted: ChannelCommand, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        ChannelCommand::Verify(VerifyChannel { file: Some(file), head, gaps, .. }) => {
            let opened = File::open(&file).map_err(|error| Failure::Other(format!("{}: {error}", file.display())))?;
            verified(opened, (head.as_deref(), gaps), page)
        }
        other => ask_node(&client(everywhere)?, other, page).await,
    }
}

async fn ask_node(client: &Client, wanted: ChannelCommand, page: &mut Page) -> Result<(), Failure> {
    let step = |channel: &str, step| ChannelStep { channel: channel.to_owned(), step, origin: None, about: None };
    let (step, sentence) = match wanted {
        ChannelCommand::Create { name, about, all_history } => {
            let made = client.create_channel(&NewChannel { name, about, all_history }).await?;
            return if page.json { page.value(&made) } else { page.line(&made.channel) };
        }
        ChannelCommand::Invitations => return invitations(client, page).await,
        ChannelCommand::List => return list(client, page).await,
        ChannelCommand::Members(which) => return members(client, &which.channel, page).await,
        ChannelCommand::Proof(which) => return proofs(client, &which.channel, page).await,
        ChannelCommand::Log(wanted) => return log(client, wanted, page).await,
        ChannelCommand::Verify(wanted) => return verify(client, wanted, page).await,
        ChannelCommand::Invite { channel, origin } => {
            let sentence = format!("{} is invited: its people accept there", clean(&origin));
            (ChannelStep { origin: Some(origin), ..step(&channel, ChannelAct::Invite) }, sentence)
        }
        ChannelCommand::Remove { channel, origin } => {
            let sentence = format!("{} is no member any more", clean(&origin));
            (ChannelStep { origin: Some(origin), ..step(&channel, ChannelAct::Remove) }, sentence)
        }
        ChannelCommand::About { channel, about } => {
            (ChannelStep { about: Some(about), ..step(&channel, ChannelAct::About) }, "said".to_owned())
        }
        ChannelCommand::Accept(which) | ChannelCommand::Join(which) => {
            let sentence =
                "accepted: this origin is a member as soon as the channel's origin has heard of it".to_owned();
            (step(&which.channel, ChannelAct::Accept), sentence)
        }
        ChannelCommand::Decline(which) => (step(&which.channel, ChannelAct::Decline), "declined".to_owned()),
        ChannelCommand::Leave(which) => {
            let sentence = "left, as soon as the channel's origin has heard of it".to_owned();
            (step(&which.channel, ChannelAct::Leave), sentence)
        }
        ChannelCommand::Force(which) => {
            (step(&which.channel, ChannelAct::Force), "it goes on, in the next term".to_owned())
        }
    };
    client.channel_step(&step).await?;
    if page.json { page.value(&step) } else { page.line(&sentence) }
}

/// `comity send '!channel:origin' …`.
pub(crate) async fn send(client: &Client, said: SayOn, page: &mut Page) -> Result<(), Failure> {
    let kept = client.say_on(&said).await?;
    if page.json {
        return page.value(&kept);
    }
    match &kept.id {
        Some(id) => page.line(&format!("{id}  {}", kept.channel)),
        None => page.line(&format!("kept for {}: it is sent as soon as its origin can be reached", kept.channel)),
    }
}

/// `comity watch '!channel:origin'`.
pub(crate) async fn watch(client: &Client, channel: &str, page: &mut Page) -> Result<(), Failure> {
    show(client, channel, (None, Some(0), None), true, page).await
}

async fn log(client: &Client, wanted: ChannelLog, page: &mut Page) -> Result<(), Failure> {
    match wanted.export {
        Some(file) => export(client, &wanted.channel, &file).await,
        None => {
            let last = wanted.after.is_none().then_some(wanted.lines);
            show(client, &wanted.channel, (wanted.after, last, None), wanted.follow, page).await
        }
    }
}

async fn show(
    client: &Client,
    channel: &str,
    which: (Option<u64>, Option<u64>, Option<u64>),
    follow: bool,
    page: &mut Page,
) -> Result<(), Failure> {
    let mut events = client.channel_events(channel, which, follow).await?;
    while let Some(event) = events.next().await? {
        if page.json {
            page.value(&event)?;
        } else {
            let line = line(&event, page);
            page.line(&line)?;
        }
    }
    if follow { Err(Failure::Other("the node stopped".to_owned())) } else { Ok(()) }
}

/// An event in one line: its number, when, who, what.
fn line(event: &Value, page: &Page) -> String {
    let text = |value: &Value| value.as_str().map(clean).unwrap_or_default();
    let time = comity_core::time::Timestamp::from_millis(event["hub_ts"].as_u64().unwrap_or_default()).to_string();
    let time = time.get(..19).unwrap_or_default().replace('T', " ");
    let number = page.paint(&format!("{:>6}", event["seq"].as_u64().unwrap_or_default()), Look::Faint);
    let is_hubs_word = event["attested"] == json!(true) || event["author_unverified"] == json!(true);
    let attested = if is_hubs_word { page.paint("?", Look::Warning) } else { String::new() };
    let from = page.paint(&text(&event["origin"]), Look::Strong);
    let data = &event["data"];
    let told = data.as_object().filter(|members| members.len() == 1).and_then(|members| members.get("text"));
    let time = page.paint(&time, Look::Faint);
    format!("{number}  {time}  {from}{attested}  {}  {}", text(&event["type"]), said(told.unwrap_or(data)))
}

async fn export(client: &Client, channel: &str, file: &Path) -> Result<(), Failure> {
    if file == Path::new("-") {
        let bytes = client.export_channel(channel, &mut std::io::stdout().lock()).await?;
        say(&format!("comity: {bytes} bytes"));
        return Ok(());
    }
    let failed = |error: std::io::Error| Failure::Other(format!("{}: {error}", file.display()));
    let mut out = BufWriter::new(File::create(file).map_err(failed)?);
    let bytes = client.export_channel(channel, &mut out).await?;
    out.flush().map_err(failed)?;
    say(&format!("comity: {bytes} bytes written to {}", file.display()));
    Ok(())
}

async fn verify(client: &Client, wanted: VerifyChannel, page: &mut Page) -> Result<(), Failure> {
    let mut file = tempfile()?;
    let channel = wanted.channel.unwrap_or_default();
    client.export_channel(&channel, &mut file).await?;
    file.rewind()?;
    verified(file, (wanted.head.as_deref(), wanted.gaps), page)
}

/// A file that nobody else sees.
fn tempfile() -> Result<File, Failure> {
    let name = format!("comity-{}", uuid::Uuid::new_v4());
    let path = std::env::temp_dir().join(name);
    // Its name is gone at once; until then nobody else may open it.
    let file = File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn verified(file: File, (head, gaps): (Option<&str>, bool), page: &mut Page) -> Result<(), Failure> {
    let mut lines = BufReader::new(file);
    let mut verifier = None;
    let (mut number, mut line) = (0, Vec::new());
    loop {
        line.clear();
        number += 1;
        let read = std::io::Read::take(&mut lines, LINE_MAX).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let wrong = |why: String| Failure::Other(format!("line {number}: {why}"));
        if line.last() != Some(&b'\n') {
            return Err(wrong("it is cut off, or too long".to_owned()));
        }
        let value = strict::parse(&line).map_err(|bad| wrong(bad.to_string()))?;
        match &mut verifier {
            None => verifier = Some(Verifier::begin(&value).map_err(|bad| wrong(bad.to_string()))?),
            Some(verifier) => verifier.event(&value).map_err(|bad| wrong(bad.to_string()))?,
        }
    }
    let verifier = verifier.ok_or_else(|| Failure::Other("the log is empty".to_owned()))?;
    let verified = verifier.end();
    let last = verified.last.map(|(seq, id)| format!("{seq}:{id}"));
    if let Some(head) = head
        && last.as_deref() != Some(head)
    {
        let found = last.unwrap_or_else(|| "no event".to_owned());
        return Err(Failure::Other(format!(
            "its end was cut off, or it is another: {head} is wanted last, and {found} is"
        )));
    }
    tell(&verified, last.as_deref(), page)?;
    // What is missing is said already.
    if verified.gaps.is_empty() || gaps { Ok(()) } else { Err(Failure::Ill) }
}

fn tell(verified: &Verified, last: Option<&str>, page: &mut Page) -> Result<(), Failure> {
    let gap = |gap: &comity_core::federation::verify::Gap| json!({ "author": gap.author.as_str(), "first": gap.first, "last": gap.last });
    if page.json {
        return page.value(&json!({
            "channel": verified.channel.to_string(),
            "events": verified.events,
            "first": verified.first,
            "head": last,
            "authors": verified.authors.iter().map(|author| author.as_str()).collect::<Vec<_>>(),
            "missing": verified.gaps.iter().map(gap).collect::<Vec<_>>(),
            "unverified": verified.unverified.iter().map(|author| author.as_str()).collect::<Vec<_>>(),
        }));
    }
    for author in &verified.unverified {
        say(&format!("comity: no key of {author} is known: that its events are its own is the hub's word"));
    }
    for gap in &verified.gaps {
        let (author, first, last) = (&gap.author, gap.first, gap.last);
        say(&format!(
            "comity: of {author}, its events {first} to {last} are not there: refused by the hub, or held back"
        ));
    }
    let head = last.map(|last| format!(", up to {last}")).unwrap_or_default();
    page.line(&format!("{}: {} events hold{head}", verified.channel, verified.events))
}

/// What proves that a hub showed two histories: one a line, also for people, who hand it on.
async fn proofs(client: &Client, channel: &str, page: &mut Page) -> Result<(), Failure> {
    let proofs = client.channel_proofs(channel).await?;
    if page.json {
        return page.value(&ChannelProofs { proofs });
    }
    if proofs.is_empty() {
        say("comity: nothing proves that its hub showed two histories");
    }
    proofs.iter().try_for_each(|proof| page.value(proof))
}

async fn invitations(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let invitations = client.invitations().await?;
    if page.json {
        return page.value(&Invitations { invitations });
    }
    if invitations.is_empty() {
        return page.line("No invitations.");
    }
    let rows: Vec<Vec<Cell>> = invitations
        .iter()
        .map(|invitation| {
            let members = invitation.members.join(", ");
            let about = invitation.about.as_deref().unwrap_or("-");
            let time = invitation.received_at.to_string();
            vec![
                looking(&invitation.channel, Look::Strong),
                cell(time.get(..19).unwrap_or_default()),
                cell(members),
                cell(about),
            ]
        })
        .collect();
    page.table(&["CHANNEL", "SINCE", "MEMBERS (AS IT SAYS)", "ABOUT"], &rows)
}

async fn list(client: &Client, page: &mut Page) -> Result<(), Failure> {
    let channels = client.channels().await?;
    if page.json {
        return page.value(&FederatedChannels { channels });
    }
    if channels.is_empty() {
        return page.line("No channels. `comity channel create NAME` makes one; `comity channel invitations` shows to which this origin is invited.");
    }
    let rows: Vec<Vec<Cell>> = channels.iter().map(row).collect();
    page.table(&["CHANNEL", "STATE", "MEMBERS", "LAST", "WAITING", "ABOUT"], &rows)?;
    for channel in &channels {
        for fault in &channel.faults {
            say(&format!("comity: {}: {}", clean(&channel.channel), clean(fault)));
        }
        if !channel.waits_for.is_empty() {
            let (id, names) = (clean(&channel.channel), clean(&channel.waits_for.join(", ")));
            say(&format!("comity: {id} takes nothing before {names} was asked what this hub may have lost"));
        }
    }
    Ok(())
}

fn row(channel: &FederatedChannel) -> Vec<Cell> {
    let joined = channel.members.iter().filter(|member| member.state == "joined").count();
    let (state, look) = match (channel.state.as_str(), channel.hub, channel.faults.is_empty()) {
        (_, _, false) => ("at fault", Look::Bad),
        (_, true, _) if !channel.caught_up => ("hub, waits", Look::Warning),
        (_, true, _) => ("hub", Look::Good),
        ("joined", ..) if !channel.caught_up => ("joined, behind", Look::Warning),
        ("joined", ..) => ("joined", Look::Good),
        (other, ..) => (other, Look::Faint),
    };
    vec![
        looking(&channel.channel, Look::Strong),
        looking(state, look),
        cell(joined.to_string()),
        cell(channel.last.to_string()),
        cell(channel.waiting.to_string()),
        cell(channel.about.as_deref().unwrap_or("-")),
    ]
}

async fn members(client: &Client, wanted: &str, page: &mut Page) -> Result<(), Failure> {
    let members = client.channel_members(wanted).await?;
    if page.json {
        return page.value(&members);
    }
    let row = |member: &Member| {
        let since = member.since.map_or_else(|| "-".to_owned(), |since| since.to_string());
        vec![looking(&member.origin, Look::Strong), cell(&member.state), cell(since)]
    };
    page.table(&["ORIGIN", "STATE", "SINCE EVENT"], &members.members.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_core::federation::event::Draft;
    use comity_core::federation::{Authored, ChannelId, Event, Order, Origin};
    use comity_core::identity::key::KeyPair;
    use comity_core::time::Timestamp;
    use comity_core::wire::federation::event::to_value;

    /// A log in which the hub's second event is missing.
    fn log_with_a_gap() -> File {
        let (keys, at) = (KeyPair::from_seed([1; 32]), Timestamp::from_millis(1_700_000_000_000));
        let origin: Origin = "alpha.test".parse().expect("an origin");
        let channel = ChannelId::new("project", origin.clone()).expect("a channel");
        let (mut prev, mut file) = (None, tempfile().expect("a file"));
        let head = json!({"channel": channel.to_string(), "member": "alpha.test",
            "keys": {"alpha.test": [keys.node().to_string()]}});
        writeln!(file, "{head}").expect("it is ours");
        for (seq, author_seq) in [(1, 1), (2, 3)] {
            let (channel, data) = (&channel, &json!({}));
            let draft = Draft {
                channel,
                kind: "note",
                origin: &origin,
                author_seq: Some(author_seq),
                at,
                data,
                prev_seen: prev,
                attested: None,
            };
            let authored = Authored::sign(&keys, &draft);
            let order = Order::sign(&keys, (channel, authored.id), (seq, prev), (at, 1));
            prev = Some(authored.id);
            writeln!(file, "{}", to_value(&Event { authored, order })).expect("it is ours");
        }
        file.rewind().expect("it is a file");
        file
    }

    #[test]
    fn a_log_in_which_events_are_missing_does_not_hold_unless_that_is_known() {
        for (gaps, holds) in [(false, false), (true, true)] {
            let mut page = Page::new(true);
            let verified = verified(log_with_a_gap(), (None, gaps), &mut page);
            assert_eq!(verified.is_ok(), holds, "{verified:?}");
        }
    }
}
