//! What the file remembers.

use super::read::RestoredChannel;
use super::*;
use crate::scratch::Scratch;
use comity_core::federation::event::EventId;
use comity_core::federation::heads::Digest;
use comity_core::federation::roster::{Change, Roster};
use comity_core::federation::{ChannelId, Origin, hub, participant};
use comity_core::tool::Described;
use std::collections::BTreeMap;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

fn origin(name: &str) -> Origin {
    format!("{name}.test").parse().expect("an origin")
}

fn channel() -> ChannelId {
    "!project:alpha.test".parse().expect("a channel")
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_700_000_000_000)
}

async fn write(path: &Path, writes: Vec<Write>) -> Vec<(u64, u64, bool)> {
    let (writer, _, _) = open(path, now()).await.expect("a file");
    let (queue, batches) = Writer::queue();
    let (told, mut heard) = mpsc::unbounded_channel();
    let done = Some(Done::Channel { channel: 1, upto: 7, is_urgent: true });
    queue.send(Batch { writes, done }).await.expect("the writer takes it");
    drop(queue);
    let tell = move |channel, upto, is_safe| told.send((channel, upto, is_safe)).expect("somebody hears");
    writer.run(batches, (tell, now), CancellationToken::new()).await;
    let mut all = Vec::new();
    while let Some(one) = heard.recv().await {
        all.push(one);
    }
    all
}

fn event(seq: u64, author: &str, author_seq: u64) -> Write {
    let (id, author) = (EventId::from_bytes([u8::try_from(seq).expect("small"); 20]), origin(author));
    Write::Event { channel: 1, seq, id, author, author_seq: Some(author_seq), body: format!("{{\"seq\":{seq}}}") }
}

fn roster() -> Roster {
    let mut roster = Roster::default();
    roster.apply(&origin("alpha"), &Change::Joined, 2);
    roster.apply(&origin("alpha"), &Change::Invited(origin("beta")), 3);
    roster.apply(&origin("alpha"), &Change::Topic("plans".to_owned()), 4);
    roster.apply(&origin("gamma"), &Change::Joined, 5);
    roster.apply(&origin("gamma"), &Change::Left, 6);
    roster.apply(&origin("alpha"), &Change::Removed(origin("delta")), 7);
    roster
}

#[tokio::test]
async fn a_hub_is_there_again_with_its_line_and_what_it_knew_of_each_author() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let mut summary = hub::Summary { roster: roster(), term: 3, ..hub::Summary::default() };
    summary.last = Some((2, EventId::from_bytes([2; 20])));
    let recent = [(Some(1), EventId::from_bytes([1; 20])), (Some(2), EventId::from_bytes([2; 20]))].into();
    summary.authors.insert(origin("alpha"), hub::Author { last: 2, recent, bytes: 99 });
    let told = write(
        &path,
        vec![
            Write::Channel { number: 1, id: channel(), is_hub: true, summary: String::new() },
            event(1, "alpha", 1),
            Write::Summary { channel: 1, text: "replaced at once".to_owned() },
            Write::Summary { channel: 1, text: hub_to_text(&summary) },
            event(2, "alpha", 2),
            Write::Sent { channel: 1, member: origin("beta"), seq: 1 },
        ],
    )
    .await;
    assert_eq!(told, [(1, 7, true)]);
    let (_, lines, restored) = open(&path, now()).await.expect("a file");
    let [RestoredChannel { number: 1, id, role: Role::Hub(again), sent }] = &restored.channels[..] else {
        panic!("{restored:?}")
    };
    assert_eq!((id, again, sent), (&channel(), &summary, &BTreeMap::from([(origin("beta"), 1)])));
    let read = |direction, limit| lines.events(1, direction, (1, 9), limit);
    let line = |seq: u64| {
        let id = EventId::from_bytes([u8::try_from(seq).expect("small"); 20]);
        KeptEvent { number: seq, id, body: format!("{{\"seq\":{seq}}}") }
    };
    assert_eq!(read(Direction::After(0), 9).await.expect("events"), [line(1), line(2)]);
    assert_eq!(read(Direction::After(1), 9).await.expect("events"), [line(2)]);
    assert_eq!(read(Direction::Before(3), 1).await.expect("events"), [line(2)]);
}

#[tokio::test]
async fn a_member_is_there_again_with_what_it_has_to_say() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let summary = participant::Summary {
        roster: roster(),
        last: Some((9, EventId::from_bytes([9; 20]), 2)),
        authors: BTreeMap::from([(origin("beta"), 4)]),
        numbered: 5,
        decided: 4,
        taken: 4,
        told: 3,
        drafts: 7,
        drafts_numbered: 6,
        heard_since: now(),
        proven: Some((8, 2)),
    };
    let draft = |draft: u64| Write::Draft { channel: 1, draft, body: format!("draft {draft}") };
    let id = EventId::from_bytes([1; 20]);
    let own = |draft, author_seq| Write::Own { channel: 1, draft, author_seq, id, body: format!("own {author_seq}") };
    write(
        &path,
        vec![
            Write::Channel { number: 1, id: channel(), is_hub: false, summary: String::new() },
            draft(6),
            draft(7),
            own(5, 4),
            own(6, 5),
            Write::OwnSeen { channel: 1, author_seq: 4 },
            event(8, "alpha", 1),
            event(9, "alpha", 2),
            event(10, "beta", 6),
            Write::Withdrawn { channel: 1, after: 8, me: origin("beta") },
            Write::Summary { channel: 1, text: member_to_text(&summary) },
        ],
    )
    .await;
    let (_, lines, restored) = open(&path, now()).await.expect("a file");
    assert!(matches!(&restored.channels[..], [RestoredChannel { role: Role::Member(again), .. }] if *again == summary));
    assert_eq!(
        lines.own(1, 0, 9).await.expect("events"),
        [
            KeptEvent { number: 5, id, body: "own 5".to_owned() },
            // It is to be said again.
            KeptEvent { number: 6, id: EventId::from_bytes([10; 20]), body: "{\"seq\":10}".to_owned() },
        ]
    );
    assert_eq!(lines.drafts(1).await.expect("drafts"), BTreeMap::from([(7, "draft 7".to_owned())]));
    assert_eq!(lines.events(1, Direction::After(0), (0, 99), 9).await.expect("events").len(), 1);
}

#[tokio::test]
async fn a_node_that_is_dropped_closes_the_file_once_all_that_came_is_in_it() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let (writer, lines, _) = open(&path, now()).await.expect("a file");
    let (queue, batches) = Writer::queue();
    let writes = vec![Write::Proof { channel: channel(), text: "proof".to_owned() }];
    queue.send(Batch { writes, done: None }).await.expect("the writer takes it");
    let stop = CancellationToken::new();
    stop.cancel();
    // Whoever may still write holds the queue, and is not waited for.
    writer.run(batches, (|_, _, _| (), now), stop).await;
    assert!(queue.is_closed());
    drop(lines);
    let (_, _, restored) = open(&path, now()).await.expect("a file");
    assert_eq!(restored.proofs, [(channel(), "proof".to_owned())]);
}

#[tokio::test]
async fn a_part_of_a_line_has_the_digest_of_its_ids_in_order() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    write(&path, (1..=5).map(|seq| event(seq, "alpha", seq)).collect()).await;
    let (_, lines, _) = open(&path, now()).await.expect("a file");
    let of = |seqs: std::ops::RangeInclusive<u8>| Digest::of(seqs.map(|seq| EventId::from_bytes([seq; 20])));
    assert_eq!(lines.digest(1, 1, 4).await.expect("a digest"), of(2..=4));
    assert_eq!(lines.digest(1, 0, 99).await.expect("a digest"), of(1..=5));
    assert_eq!(lines.digest(2, 0, 99).await.expect("a digest"), Digest::of([]));
}

#[tokio::test]
async fn the_number_of_a_channel_that_cannot_be_read_is_taken() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let summary = "of a later version".to_owned();
    write(&path, vec![Write::Channel { number: 7, id: channel(), is_hub: true, summary }]).await;
    let (.., restored) = open(&path, now()).await.expect("a file");
    assert_eq!((restored.channels.len(), restored.last_number), (0, 7));
}

#[tokio::test]
async fn nothing_is_kept_of_a_channel_that_is_not_there() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let summary = Write::Summary { channel: 1, text: "{}".to_owned() };
    assert_eq!(write(&path, vec![event(1, "alpha", 1), summary]).await, [(1, 7, false)]);
    let (_, lines, _) = open(&path, now()).await.expect("a file");
    assert_eq!(lines.events(1, Direction::After(0), (0, 99), 9).await.expect("events"), []);
}

#[tokio::test]
async fn an_own_event_that_was_refused_is_there_when_those_after_it_are_withdrawn() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let id = EventId::from_bytes([1; 20]);
    let own = |author_seq| Write::Own { channel: 1, draft: 1, author_seq, id, body: format!("own {author_seq}") };
    // The first was refused, and the second is seen.
    write(&path, vec![own(5), own(6), event(8, "beta", 6), Write::OwnSeen { channel: 1, author_seq: 6 }]).await;
    let numbers = async || {
        let (_, lines, _) = open(&path, now()).await.expect("a file");
        let own = lines.own(1, 4, 9).await.expect("events");
        own.iter().map(|event| event.number).collect::<Vec<_>>()
    };
    assert_eq!(numbers().await, [5]);
    write(&path, vec![Write::Withdrawn { channel: 1, after: 7, me: origin("beta") }]).await;
    assert_eq!(numbers().await, [5, 6], "no hole");
    write(&path, vec![Write::OwnPast { channel: 1, upto: 5 }]).await;
    assert_eq!(numbers().await, [6]);
}

#[tokio::test]
async fn what_comes_in_the_place_of_withdrawn_events_was_not_shown() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let shown = |channel, seq| Write::Shown { channel, seq };
    let withdrawn = |channel, after| Write::Withdrawn { channel, after, me: origin("beta") };
    write(&path, vec![shown(1, 9), shown(2, 9), shown(3, 2), withdrawn(1, 4), withdrawn(3, 4)]).await;
    let (.., restored) = open(&path, now()).await.expect("a file");
    assert_eq!(restored.shown, BTreeMap::from([(1, 4), (2, 9), (3, 2)]));
}

fn tool(name: &str) -> Described {
    let schema = serde_json::json!({"type": "object"});
    Described::of(name, "Does it.", &schema, Some(&schema)).expect("a tool")
}

fn approval(name: &str, stands: bool) -> Write {
    let approved = stands.then(|| Box::new(KeptTool::of(&tool(name))));
    Write::Approval { origin: origin("beta"), server: "files".to_owned(), tool: name.to_owned(), approved }
}

#[tokio::test]
async fn keys_approvals_invitations_nonces_and_transactions_are_remembered() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let key = comity_core::identity::key::KeyPair::from_seed([1; 32]).node();
    let old = vec![comity_core::federation::OldKey { key, until: now() }];
    let pin = KeptPin {
        pin: comity_core::federation::Pin { key, old },
        since: now(),
        endpoint: "https://beta.test".to_owned(),
    };
    let invitation = Invitation { at: 5, members: vec!["alpha.test".to_owned()], topic: None, all_history: true };
    let later = now() + std::time::Duration::from_secs(60);
    write(
        &path,
        vec![
            Write::Pin { origin: origin("beta"), pin: Some(Box::new(pin.clone())) },
            Write::Pin { origin: origin("gamma"), pin: Some(Box::new(pin.clone())) },
            Write::Pin { origin: origin("gamma"), pin: None },
            Write::Invitation { channel: channel(), invitation: Some(Box::new(invitation.clone())) },
            Write::Nonce { key, nonce: [1; 16], until: later },
            Write::Nonce { key, nonce: [2; 16], until: now() },
            Write::Transaction { origin: origin("beta"), id: "t".to_owned(), hash: [3; 32], until: later },
            Write::Transaction { origin: origin("beta"), id: "t".to_owned(), hash: [4; 32], until: later },
            Write::Answered { origin: origin("beta"), id: "t".to_owned(), answer: "{}".to_owned() },
            Write::Proof { channel: channel(), text: "proof".to_owned() },
            approval("read", true),
            approval("write", true),
            approval("write", false),
        ],
    )
    .await;
    let (_, lines, restored) = open(&path, now()).await.expect("a file");
    assert_eq!(restored.pins, BTreeMap::from([(origin("beta"), pin)]));
    assert_eq!(restored.invitations, BTreeMap::from([(channel(), invitation)]));
    assert_eq!(restored.nonces, [(key, [1; 16], later)]);
    assert_eq!(restored.proofs, [(channel(), "proof".to_owned())]);
    let approved: Vec<_> =
        restored.approvals.iter().map(|(of, server, one)| (of, server, (*one.tool).clone())).collect();
    assert_eq!(approved, [(&origin("beta"), "files", tool("read"))]);
    let transaction = lines.transaction(&origin("beta"), "t").await.expect("it is read");
    assert_eq!(transaction, Some(([3; 32], Some("{}".to_owned()))));
    assert_eq!(lines.transaction(&origin("beta"), "u").await.expect("it is read"), None);
}

#[tokio::test]
async fn what_nobody_waits_for_is_written_with_what_somebody_does_or_by_and_by() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let (writer, lines, _) = open(&path, now()).await.expect("a file");
    let (queue, batches) = Writer::queue();
    let running = tokio::spawn(writer.run(batches, (|_, _, _| (), now), CancellationToken::new()));
    let transaction = |id: &str| {
        let until = Timestamp::from_millis(now().millis() + 1000);
        vec![Write::Transaction { origin: origin("beta"), id: id.to_owned(), hash: [3; 32], until }]
    };
    let there = async |id: &str| lines.transaction(&origin("beta"), id).await.expect("it is read").is_some();
    let (told, mut is_told) = oneshot::channel();
    queue.send(Batch { writes: transaction("patient"), done: Some(Done::Patient(told)) }).await.expect("it is taken");
    let (done, is_done) = oneshot::channel();
    queue.send(Batch { writes: transaction("urgent"), done: Some(Done::Waiter(done)) }).await.expect("it is taken");
    assert_eq!(is_done.await, Ok(true));
    assert_eq!(is_told.try_recv(), Ok(true), "it went with the other");
    assert!(there("patient").await && there("urgent").await);
    let (told, is_told) = oneshot::channel();
    queue.send(Batch { writes: transaction("alone"), done: Some(Done::Patient(told)) }).await.expect("it is taken");
    assert_eq!(is_told.await, Ok(true));
    assert!(there("alone").await);
    queue.send(Batch { writes: transaction("last"), done: None }).await.expect("it is taken");
    drop(queue);
    running.await.expect("it ends");
    assert!(there("last").await);
}

#[tokio::test]
async fn of_what_is_written_together_only_what_it_comes_to_is_there() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let summary = member_to_text(&participant::Summary::default());
    let channel = Write::Channel { number: 1, id: channel(), is_hub: false, summary };
    let draft = |draft: u64| Write::Draft { channel: 1, draft, body: draft.to_string() };
    let own = |number: u64| {
        let id = EventId::from_bytes([u8::try_from(number).expect("small"); 20]);
        Write::Own { channel: 1, draft: number, author_seq: number, id, body: format!("own {number}") }
    };
    let seen = |author_seq| Write::OwnSeen { channel: 1, author_seq };
    let sent = |seq| Write::Sent { channel: 1, member: origin("beta"), seq };
    let mut writes = vec![channel];
    writes.extend((1..=200).map(|seq| event(seq, "alpha", seq)));
    writes.extend((1..=9).map(draft));
    writes.extend((1..=8).map(own));
    writes.extend([seen(1), seen(2), Write::OwnPast { channel: 1, upto: 4 }, sent(3), sent(5)]);
    assert_eq!(write(&path, writes).await, [(1, 7, true)]);
    // And of what was there before.
    write(&path, vec![own(9), seen(5), Write::OwnPast { channel: 1, upto: 6 }, sent(7)]).await;
    let (_, lines, restored) = open(&path, now()).await.expect("a file");
    let rows = lines.events(1, Direction::After(0), (1, 999), 999).await.expect("rows");
    assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), (1..=200).collect::<Vec<_>>());
    let own = lines.own(1, 0, 99).await.expect("events");
    assert_eq!(own.iter().map(|own| own.number).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(lines.drafts(1).await.expect("drafts"), BTreeMap::new());
    assert_eq!(restored.channels[0].sent, BTreeMap::from([(origin("beta"), 7)]));
}

#[tokio::test]
async fn what_a_full_disk_does_not_take_is_refused_and_what_comes_later_is_taken() {
    let scratch = Scratch::new();
    let path = scratch.path().join("federation.db");
    let (mut writer, ..) = open(&path, now()).await.expect("a file");
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut writer.connection).await.expect("a count");
    // SQLite's own limit makes it answer as a full disk does: SQLITE_FULL.
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + 30));
    sqlx::raw_sql(limit).execute(&mut writer.connection).await.expect("a limit");
    let (queue, batches) = Writer::queue();
    let tell = |_, _, _| {};
    let writing = tokio::spawn(writer.run(batches, (tell, now), CancellationToken::new()));
    let mut taken = Vec::new();
    for size in [10, 1_000_000, 10] {
        let pinned = Write::Proof { channel: channel(), text: "x".repeat(size) };
        let (done, is_safe) = oneshot::channel();
        let batch = Batch { writes: vec![pinned], done: Some(Done::Waiter(done)) };
        queue.send(batch).await.expect("the writer takes it");
        taken.push(is_safe.await.expect("the writer answers"));
    }
    drop(queue);
    writing.await.expect("the writer ends");
    assert_eq!(taken, [true, false, true]);
}
