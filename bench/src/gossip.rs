//! How messages spread by gossip among nodes of which a tenth leaves, and as many come, while they are sent: to whom
//! they come, how soon to the last, how often in vain, and at what cost. All nodes are in this process and connected
//! by memory; each is a node's own gossip, as shipped. Whoever stays must hear everything. With hundreds of nodes on a
//! few cores most of the latency is the wait for the processor: that many times what a delivery costs.

mod counting;
mod crowd;

use crate::figures::{Latency, Measuring};
use crowd::Crowd;
use std::time::{Duration, Instant};

/// How many nodes there are.
const SIZES: [usize; 3] = [20, 100, 500];

/// How many messages are sent.
const MESSAGES: usize = 120;

/// How many deliveries a second all nodes together have at most: few enough that one message is through before the
/// next is said.
const DELIVERIES_PER_SECOND: usize = 1000;

/// How many messages a second are sent at most.
const PER_SECOND_MAX: usize = 10;

/// How long the nodes are left alone before they are measured.
const REST: Duration = Duration::from_secs(5);

/// How long after the last message somebody may still hear one for the first time.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often it is looked whether everybody has heard everything.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Prints a line for each number of nodes.
pub(crate) fn run() -> Result<(), String> {
    counting::begin()?;
    println!("{MESSAGES} messages of {} bytes, meanwhile 1 of 10 nodes leaves and another comes.", crowd::LEN);
    println!(
        "{:>5}  {:<34} {:>20} {:>9} {:>11} {:>11} {:>14}",
        "nodes",
        "delivered to who stays, goal: all",
        "last has it, median",
        "slowest",
        "duplicates",
        "processor",
        "at rest"
    );
    let mut lost = 0;
    for size in SIZES {
        // Each on its own threads: no task of the last is left when the next begins.
        let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
        lost += runtime.block_on(measure(size))?;
    }
    if lost == 0 { Ok(()) } else { Err(format!("{lost} deliveries are missing")) }
}

/// Prints the line, and says how many deliveries are missing.
async fn measure(size: usize) -> Result<usize, String> {
    let mut crowd = Crowd::gather(size).await?;
    let at_rest = at_rest(size).await;
    let (pause, changes) = (pause(size), size / 10);
    let before = (crowd.heard(), counting::so_far());
    let measuring = Measuring::begin(None);
    let mut at = tokio::time::Instant::now();
    for number in 0..MESSAGES {
        for _ in number * changes / MESSAGES..(number + 1) * changes / MESSAGES {
            crowd.change().await?;
        }
        tokio::time::sleep_until(at).await;
        at += pause;
        crowd.say(number).await?;
    }
    let ended = Instant::now();
    while crowd.delivered() < crowd.wanted() && ended.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK_EVERY).await;
    }
    let heard = crowd.heard() - before.0;
    let (cost, counted) = (measuring.end(heard), counting::so_far().since(&before.1));
    let (delivered, wanted) = (crowd.delivered(), crowd.wanted());
    let times = Latency::from_times(crowd.last_heard());
    println!(
        "{size:>5}  {:<34} {:>17.1} ms {:>6.0} ms {:>6.2} each {:>8.0} us {:>9.0} us/s",
        format!("{delivered} of {wanted}, {:.3} %", delivered as f64 / wanted as f64 * 100.0),
        times.micros(0.5) / 1e3,
        times.micros(1.0) / 1e3,
        counted.duplicates as f64 / heard as f64,
        cost.client_us,
        at_rest
    );
    if counted.full > 0 {
        println!("       {} times the queue of a connection was full", counted.full);
    }
    Ok(wanted - delivered)
}

/// What a node that hears nothing costs, microseconds of processor a second.
async fn at_rest(size: usize) -> f64 {
    let measuring = Measuring::begin(None);
    tokio::time::sleep(REST).await;
    measuring.end(size).client_us / REST.as_secs_f64()
}

/// Between two messages.
fn pause(size: usize) -> Duration {
    Duration::from_secs(1).div_f64((DELIVERIES_PER_SECOND as f64 / size as f64).min(PER_SECOND_MAX as f64))
}
