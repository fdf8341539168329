//! Messages between two nodes, library to library over a verified link, beside the same through
//! nats-server: in turns, on the same machine, client and server processor time too.

use crate::nats;
use crate::node::Own;
use crate::table::{Latency, Rate, row};
use comity::{Kind, Priority};

/// Round trips of each kind.
const REQUESTS: usize = 20_000;

/// One-way messages of each kind.
const MESSAGES: usize = 400_000;

/// The payload of every message: with its JSON quotes 128 bytes.
const PAYLOAD_LEN: usize = 126;

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let server = nats::Server::start()?;
        row("what", "comity", "nats", None, "ratio and goal");
        for at_a_time in [1, 50] {
            requests(&server, at_a_time).await?;
        }
        one_way(&server).await?;
        inbox().await
    })
}

async fn requests(server: &nats::Server, at_a_time: usize) -> Result<(), String> {
    let (asker, answerer) = (Own::start("asker").await?, Own::start("answerer").await?);
    let peer = asker.meet(&answerer).await?;
    let answering = answerer.network.answer(|query| async move { Ok::<_, String>(query.payload()) }).await;
    let network = asker.network.clone();
    let question = "x".repeat(PAYLOAD_LEN);
    let ours = Latency::of(REQUESTS, at_a_time, move || {
        let (network, question) = (network.clone(), question.clone());
        async move { network.request(peer, Kind::Query, question).await.map(|_| ()).map_err(|error| error.to_string()) }
    })
    .await?;
    answering.stop();
    asker.end().await;
    answerer.end().await;
    let theirs = nats::request_reply(server, REQUESTS, at_a_time).await?;
    let show =
        |latency: &Latency| format!("{:.0} / {:.0} us", latency.median_us(), latency.share(0.99).as_secs_f64() * 1e6);
    let ratio = ours.median_us() / theirs.median_us();
    row(
        &format!("request-answer p50 / p99, {at_a_time} at a time"),
        &show(&ours),
        &show(&theirs),
        Some(ratio),
        "p50 <= 1.0",
    );
    Ok(())
}

async fn one_way(server: &nats::Server) -> Result<(), String> {
    let (sender, receiver) = (Own::start("sender").await?, Own::start("receiver").await?);
    let peer = sender.meet(&receiver).await?;
    let mut messages = receiver.network.messages().await;
    let feed = sender.network.feed(Some(peer), "_suggestions", Priority::Normal).map_err(|error| error.to_string())?;
    let rate = Rate::begin(None);
    let receiving = tokio::spawn(async move {
        for _ in 0..MESSAGES {
            messages.next().await?;
        }
        Some(())
    });
    let text = "x".repeat(PAYLOAD_LEN);
    for _ in 0..MESSAGES {
        feed.send(&text).await.map_err(|error| error.to_string())?;
    }
    let all = tokio::time::timeout(std::time::Duration::from_secs(30), receiving).await;
    let ours = rate.end(MESSAGES);
    if all.is_err() {
        return Err("not every message arrived within 30 s".to_owned());
    }
    sender.end().await;
    receiver.end().await;
    let theirs = nats::one_way(server, MESSAGES, 1).await?;
    let goal = "rate >= 1.0";
    let (shown, other) = (format!("{:.0}/s", ours.per_second), format!("{:.0}/s", theirs.per_second));
    row("one-way, 128 bytes", &shown, &other, Some(ours.per_second / theirs.per_second), goal);
    let cost = |rate: &Rate| format!("{:.2} + {:.2} us", rate.client_us, rate.server_us);
    row("  processor time a message, clients + server", &cost(&ours), &cost(&theirs), None, "");
    Ok(())
}

/// Messages that wait in the durable inbox, synced, before their sender is told.
async fn inbox() -> Result<(), String> {
    const COUNT: usize = 40_000;
    let (sender, receiver) = (Own::start("sender").await?, Own::start("receiver").await?);
    let peer = sender.meet(&receiver).await?;
    let feed = sender.network.feed(Some(peer), "_suggestions", Priority::Normal).map_err(|error| error.to_string())?;
    let rate = Rate::begin(None);
    let text = "x".repeat(PAYLOAD_LEN);
    let mut last = None;
    for _ in 0..COUNT {
        last = Some(feed.send(&text).await.map_err(|error| error.to_string())?);
    }
    let last = last.ok_or("nothing was sent")?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !sender.network.why(last).await.iter().any(|fate| fate.kind == comity::FateKind::Inbox) {
        if std::time::Instant::now() > deadline {
            return Err("the last message did not reach the inbox within 30 s".to_owned());
        }
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    let ours = rate.end(COUNT);
    sender.end().await;
    receiver.end().await;
    row("durable inbox, synced", &format!("{:.0}/s", ours.per_second), "-", None, ">= 20,000/s");
    Ok(())
}
