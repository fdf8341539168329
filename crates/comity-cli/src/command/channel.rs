//! `comity channel` and `comity federation`: channels shared with other origins, and what is known of those.

use super::client;
use crate::args::{ChannelCommand, ChannelLog, Everywhere, Federation, VerifyChannel};
use crate::exit::Failure;
use crate::page::{Cell, Look, Page, cell, clean, looking, said, say};
use comity_client::Client;
use comity_client::control::{
    ChannelAct, ChannelStep, FederatedChannel, FederatedChannels, Invitations, NewChannel, OtherOrigin, SayOn,
};
use comity_core::federation::verify::{Verified, Verifier};
use comity_core::wire::federation::body::Member;
use comity_core::wire::strict;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Seek, Write};
use std::path::Path;

/// Longest line of a log, bytes: an event and what its hub adds.
const LINE_MAX: u64 = 128 * 1024;

pub(crate) async fn run(everywhere: &Everywhere, wanted: ChannelCommand, page: &mut Page) -> Result<(), Failure> {
    match wanted {
        ChannelCommand::Verify(VerifyChannel { file: Some(file), head, .. }) => {
            let opened = File::open(&file).map_err(|error| Failure::Other(format!("{}: {error}", file.display())))?;
            verified(opened, head.as_deref(), page)
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
    verified(file, wanted.head.as_deref(), page)
}

/// A file that nobody else sees.
fn tempfile() -> Result<File, Failure> {
    let name = format!("comity-{}", uuid::Uuid::new_v4());
    let path = std::env::temp_dir().join(name);
    let file = File::options().read(true).write(true).create_new(true).open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

fn verified(file: File, head: Option<&str>, page: &mut Page) -> Result<(), Failure> {
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
    tell(&verified, last.as_deref(), page)
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

pub(crate) async fn federation(client: &Client, wanted: Federation, page: &mut Page) -> Result<(), Failure> {
    let Federation::Status = wanted;
    let state = client.federation().await?;
    if page.json {
        return page.value(&state);
    }
    page.pairs(&[
        ("origin", looking(&state.origin, Look::Strong)),
        ("key", cell(&state.key)),
        ("endpoint", cell(&state.endpoint)),
    ])?;
    if state.others.is_empty() {
        return page.line("No other origin is known. `comity channel invite CHANNEL ORIGIN` begins.");
    }
    page.line("")?;
    let rows: Vec<Vec<Cell>> = state.others.iter().map(other).collect();
    page.table(&["ORIGIN", "STATE", "KEY", "WAITING", "ENDPOINT"], &rows)?;
    for other in &state.others {
        if let Some(changed) = &other.key_changed {
            say(&format!("comity: {}", clean(changed)));
        }
    }
    Ok(())
}

fn other(other: &OtherOrigin) -> Vec<Cell> {
    let (state, look) = match other {
        OtherOrigin { key_changed: Some(_), .. } => ("key changed".to_owned(), Look::Bad),
        OtherOrigin { failures: 0, key: Some(_), .. } => ("known".to_owned(), Look::Good),
        OtherOrigin { failures: 0, .. } => ("never reached".to_owned(), Look::Warning),
        OtherOrigin { failures, .. } => (format!("away, tried {failures} times"), Look::Warning),
    };
    vec![
        looking(&other.origin, Look::Strong),
        looking(state, look),
        cell(other.key.as_deref().unwrap_or("-")),
        cell(other.waiting.to_string()),
        cell(other.endpoint.as_deref().unwrap_or("-")),
    ]
}
