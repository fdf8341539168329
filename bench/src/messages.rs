//! Messages between two nodes, library to library over a verified link, beside the same through
//! nats-server and mosquitto; then what a node's memory is.

use crate::figures::{Latency, Measuring, Rate, sync_ms};
use crate::node::Own;
use crate::server::{Server, versions};
use crate::table::{Contestant, Unit, head, in_turns, line};
use crate::{memory, mosquitto, nats, watchers};
use bytes::Bytes;
use comity::{FateKind, Kind, Mode, PeerId, Priority};
use std::time::{Duration, Instant};

/// Round trips of one turn.
const REQUESTS: usize = 20_000;

/// One-way messages of one turn.
const MESSAGES: usize = 300_000;

/// Messages for the inbox in one turn.
const KEPT: usize = 40_000;

/// Messages of one turn that each of many subscribers is sent.
const FANNED: usize = 5_000;

/// Subscribers of one sender.
const SUBSCRIBERS: usize = 100;

/// How far a sender may be ahead of one subscriber of a broker: no broker drops anything then.
const WINDOW: usize = 16_384;

/// The same with many subscribers: half of what a node keeps for watchers that lag.
const FAN_WINDOW: usize = 512;

/// Messages on their way to a synced stream at once.
const SYNCED_AT_ONCE: usize = 512;

/// How long the last message of a turn may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The payload of every message: with its JSON quotes 128 bytes.
const PAYLOAD_LEN: usize = 126;

/// The brokers, which run as long as the measurement.
struct Brokers {
    nats: Server,
    mosquitto: Server,
}

/// Prints the table.
pub(crate) fn run() -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let brokers = Brokers { nats: Server::nats()?, mosquitto: Server::mosquitto()? };
        println!("comity: library to library over a verified link; duplicates, ttl and limits on.");
        println!("nats: async-nats. mosquitto: rumqttc, MQTT 5 at QoS 0. ({})", versions());
        println!("Payloads of 128 bytes. Nobody loses or skips any.");
        head();
        for at_a_time in [1, 50] {
            requests(&brokers, at_a_time).await?;
        }
        one_way(&brokers).await?;
        fan_out(&brokers).await?;
        inbox().await?;
        drop(brokers);
        memory::measure().await
    })
}

async fn requests(brokers: &Brokers, at_a_time: usize) -> Result<(), String> {
    let lines = [
        line(format!("request and answer, {at_a_time} at a time, median"), Unit::Micros).goal("ratio <= 1.0"),
        line("  99 of 100 below", Unit::Micros),
        line("  processor time, both ends", Unit::Micros),
        line("  processor time, server", Unit::Micros),
    ];
    in_turns(lines, async |contestant| {
        let (times, cost) = match contestant {
            Contestant::Comity => ask_and_answer(at_a_time).await?,
            Contestant::Nats => nats::request_reply(&brokers.nats, REQUESTS, at_a_time).await?,
            Contestant::Mosquitto => mosquitto::request_reply(&brokers.mosquitto, REQUESTS, at_a_time).await?,
        };
        Ok(Some([times.micros(0.5), times.micros(0.99), cost.client_us, cost.server_us]))
    })
    .await
}

/// Two nodes that have met, the second with its id.
async fn pair() -> Result<(Own, Own, PeerId), String> {
    let (one, other) = (Own::start("one").await?, Own::start("other").await?);
    let peer = one.meet(&other).await?;
    Ok((one, other, peer))
}

async fn ask_and_answer(at_a_time: usize) -> Result<(Latency, Rate), String> {
    let (asker, answerer, peer) = pair().await?;
    let answering = answerer.network.answer(|query| async move { Ok::<_, String>(query.payload()) }).await;
    let network = asker.network.clone();
    let question = "x".repeat(PAYLOAD_LEN);
    let measured = Latency::of(None, REQUESTS, at_a_time, move || {
        let (network, question) = (network.clone(), question.clone());
        async move { network.request(peer, Kind::Query, question).await.map(|_| ()).map_err(|error| error.to_string()) }
    })
    .await;
    answering.stop();
    asker.end().await;
    answerer.end().await;
    measured
}

fn rates(what: &str, goal: &'static str) -> [crate::table::Line; 3] {
    [
        line(what, Unit::PerSecond).goal(goal),
        line("  processor time each, clients", Unit::Micros),
        line("  processor time each, server", Unit::Micros),
    ]
}

fn figures(rate: &Rate) -> [f64; 3] {
    [rate.per_second, rate.client_us, rate.server_us]
}

async fn one_way(brokers: &Brokers) -> Result<(), String> {
    in_turns(rates("one way, one to one", "ratio >= 1.0"), async |contestant| {
        let rate = match contestant {
            Contestant::Comity => told().await?,
            Contestant::Nats => nats::one_way(&brokers.nats, MESSAGES, 1, WINDOW).await?,
            Contestant::Mosquitto => mosquitto::one_way(&brokers.mosquitto, MESSAGES, 1, WINDOW).await?,
        };
        Ok(Some(figures(&rate)))
    })
    .await
}

async fn told() -> Result<Rate, String> {
    let (sender, receiver, peer) = pair().await?;
    let mut messages = receiver.network.messages().await;
    let feed = sender.network.feed(Some(peer), "_suggestions", Priority::Normal).map_err(|error| error.to_string())?;
    let rate = Measuring::begin(None);
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
    let all = tokio::time::timeout(PATIENCE, receiving).await;
    let rate = rate.end(MESSAGES);
    all.map_err(|_| "not every message arrived in time")?.map_err(|error| error.to_string())?;
    sender.end().await;
    receiver.end().await;
    Ok(rate)
}

async fn fan_out(brokers: &Brokers) -> Result<(), String> {
    let what = format!("one to {SUBSCRIBERS} (comity: WebSockets), arrivals");
    in_turns(rates(&what, "ratio >= 0.7"), async |contestant| {
        let rate = match contestant {
            Contestant::Comity => watchers::one_way(FANNED, SUBSCRIBERS, FAN_WINDOW).await?,
            Contestant::Nats => nats::one_way(&brokers.nats, FANNED, SUBSCRIBERS, FAN_WINDOW).await?,
            Contestant::Mosquitto => mosquitto::one_way(&brokers.mosquitto, FANNED, SUBSCRIBERS, FAN_WINDOW).await?,
        };
        Ok(Some(figures(&rate)))
    })
    .await
}

/// Messages that are synced before their sender is told.
async fn inbox() -> Result<(), String> {
    let lines = [
        line("durable inbox, synced (nats: JetStream)", Unit::PerSecond).goal(">= 20,000/s"),
        line("  processor time each, clients", Unit::Micros),
        line("  processor time each, server", Unit::Micros),
        line("  one sync of 4 KiB just then, median", Unit::Millis),
    ];
    in_turns(lines, async |contestant| {
        let rate = match contestant {
            Contestant::Comity => kept().await?,
            Contestant::Nats => {
                nats::stored(&Server::jetstream()?, KEPT / 8, SYNCED_AT_ONCE, Bytes::from_static(&[b'x'; 128])).await?
            }
            Contestant::Mosquitto => return Ok(None),
        };
        Ok(Some([rate.per_second, rate.client_us, rate.server_us, sync_ms()?]))
    })
    .await
}

async fn kept() -> Result<Rate, String> {
    let (sender, receiver, peer) = pair().await?;
    receiver.network.set_attention_mode(Mode::Focused).await.map_err(|error| error.to_string())?;
    let feed = sender.network.feed(Some(peer), "_suggestions", Priority::Normal).map_err(|error| error.to_string())?;
    let rate = Measuring::begin(None);
    let text = "x".repeat(PAYLOAD_LEN);
    let mut last = None;
    for _ in 0..KEPT {
        last = Some(feed.send(&text).await.map_err(|error| error.to_string())?);
    }
    let last = last.ok_or("nothing was sent")?;
    let deadline = Instant::now() + PATIENCE;
    while !sender.network.why(last).await.iter().any(|fate| fate.kind == FateKind::Inbox) {
        if Instant::now() > deadline {
            return Err("the last message did not reach the inbox in time".to_owned());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = rate.end(KEPT);
    let (kept, evicted) = in_inbox(&receiver).await.map_err(|error| error.to_string())?;
    if kept + evicted != KEPT {
        return Err(format!("of {KEPT} messages {kept} are in the inbox, and {evicted} left it for newer ones"));
    }
    sender.end().await;
    receiver.end().await;
    Ok(rate)
}

/// How many messages are in the inbox, and how many had to make room.
async fn in_inbox(node: &Own) -> Result<(usize, usize), comity::network::Error> {
    let kept = node.network.peek_messages(0, KEPT).await?.len();
    let evicted = node.network.digest().await?.evicted;
    Ok((kept, usize::try_from(evicted).unwrap_or(usize::MAX)))
}
