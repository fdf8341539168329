//! `comity bench`: a quick measurement of the running node, nothing simulated: how fast its
//! control door answers, what its links' pings took, and, when a peer is named, real queries.

use crate::args::Bench;
use crate::exit::Failure;
use crate::page::{Cell, Page, cell};
use comity_client::{Client, Error};
use serde::Serialize;
use serde_json::json;
use std::time::{Duration, Instant};

/// How long to wait between two queries, so that a peer's limit of 10 messages a second holds.
const QUERY_PAUSE: Duration = Duration::from_millis(110);

/// How long a measured query may take.
const QUERY_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(client: &Client, wanted: Bench, page: &mut Page) -> Result<(), Failure> {
    let mut results = vec![control_door(client, wanted.calls).await?];
    results.extend(links(client).await?);
    if let Some(peer) = &wanted.peer {
        results.push(queries(client, peer, wanted.queries).await?);
    }
    if page.json {
        return page.value(&json!({ "results": results }));
    }
    let rows: Vec<_> = results.iter().map(row).collect();
    page.table(&["WHAT", "COUNT", "FAILED", "MEDIAN", "95 %", "SLOWEST"], &rows)
}

/// Times of one kind of round trip.
#[derive(Debug, Serialize)]
struct Times {
    what: String,
    count: usize,
    failed: usize,
    median_us: u64,
    p95_us: u64,
    max_us: u64,
}

async fn control_door(client: &Client, calls: u32) -> Result<Times, Failure> {
    let mut times = Vec::new();
    for _ in 0..calls {
        let began = Instant::now();
        client.digest().await?;
        times.push(began.elapsed());
    }
    Ok(summed_up("control door: one call".to_owned(), times, 0))
}

async fn links(client: &Client) -> Result<Vec<Times>, Failure> {
    let node = client.node().await?;
    let named = |link: &comity_client::control::Link| format!("link to {}: last ping", link.name);
    let measured = node.links.iter().filter_map(|link| Some((named(link), Duration::from_micros(link.round_trip_us?))));
    Ok(measured.map(|(what, time)| summed_up(what, vec![time], 0)).collect())
}

async fn queries(client: &Client, peer: &str, count: u32) -> Result<Times, Failure> {
    let (mut times, mut failed) = (Vec::new(), 0);
    for number in 0..count {
        let began = Instant::now();
        match client.ask(peer, json!({ "bench": number }), QUERY_TIMEOUT).await {
            Ok(_) => times.push(began.elapsed()),
            Err(error @ Error::Refused(_)) if error.code() == Some("timed_out") => failed += 1,
            Err(error) => return Err(error.into()),
        }
        tokio::time::sleep(QUERY_PAUSE).await;
    }
    Ok(summed_up(format!("query to {peer} and its answer"), times, failed))
}

fn summed_up(what: String, mut times: Vec<Duration>, failed: usize) -> Times {
    times.sort_unstable();
    let at = |share: usize| {
        let position = (times.len() * share / 100).min(times.len().saturating_sub(1));
        times.get(position).map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    };
    Times { what, count: times.len(), failed, median_us: at(50), p95_us: at(95), max_us: at(100) }
}

fn row(result: &Times) -> Vec<Cell> {
    let time = |micros: u64| match micros {
        _ if result.count == 0 => "-".to_owned(),
        0..=9_999 => format!("{micros} us"),
        _ => format!("{:.1} ms", Duration::from_micros(micros).as_secs_f64() * 1000.0),
    };
    let counts = [result.count.to_string(), result.failed.to_string()];
    let times = [result.median_us, result.p95_us, result.max_us].map(time);
    std::iter::once(cell(&result.what)).chain(counts.iter().chain(&times).map(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_summed_up_by_rank() {
        let times = (1..=100).rev().map(Duration::from_micros).collect();
        let result = summed_up("x".to_owned(), times, 1);
        assert_eq!((result.median_us, result.p95_us, result.max_us), (51, 96, 100));
        let nothing = summed_up("x".to_owned(), Vec::new(), 3);
        assert_eq!((nothing.count, nothing.failed, nothing.max_us), (0, 3, 0));
    }
}
