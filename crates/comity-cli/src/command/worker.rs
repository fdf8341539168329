//! `comity worker`: does tasks of the node and of those that it knows, by calls of the node's tools. It keeps no task:
//! when it dies, its leases run out, and others do them.

mod held;

use crate::args::Worker;
use crate::command::task::pairs;
use crate::exit::Failure;
use crate::page::{Page, clean, say};
use comity_client::control::{GivenTask, WantWork, Work};
use comity_client::{Client, Error};
use comity_core::task::NAME_MAX;
use held::{Held, Key, Target};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

/// How long one question for work waits. Nodes that were met meanwhile are asked by the next.
const WAIT: Duration = Duration::from_secs(10);

/// How long after a question that failed the next is put.
const AGAIN: Duration = Duration::from_secs(1);

/// How often leases and reports are looked after.
const TICK: Duration = Duration::from_millis(500);

/// How long tasks that run may take to end when the worker is asked to stop.
const FAREWELL: Duration = Duration::from_secs(10);

/// Most capabilities that one question may have.
const CAPABILITIES_MAX: usize = 64;

/// What tools there are: by capability, server and tool.
type Offer = BTreeMap<String, Target>;

/// A question for work: what was offered by it, and what came.
type Asking = JoinHandle<Result<(Offer, Work), Error>>;

/// What a worker asks with.
#[derive(Debug, Clone)]
struct Wanted {
    /// The capabilities to be offered; none: all that there are tools for.
    capabilities: Vec<String>,
    has: Map<String, Value>,
    slots: usize,
}

pub(crate) async fn run(client: &Client, flags: Worker, page: &mut Page) -> Result<(), Failure> {
    let has = pairs("--has", &flags.has)?;
    let wanted = Wanted { capabilities: flags.capability, has, slots: usize::from(flags.slots) };
    let offer = loop {
        match offered(client, &wanted, &BTreeSet::new()).await {
            Ok(offer) => break offer,
            Err(error) => passed(error)?,
        }
        sleep(AGAIN).await;
    };
    began(&offer, wanted.slots, page)?;
    let mut held = Held::new(client.clone());
    let ended = match work(client, &wanted, &mut held, page).await {
        Ok(()) => finish(&mut held, page).await,
        failed => failed,
    };
    held.give_back();
    held.report().await;
    ended
}

/// Asks for work and does it, until the worker is to stop, or can get no more.
async fn work(client: &Client, wanted: &Wanted, held: &mut Held, page: &mut Page) -> Result<(), Failure> {
    let mut asking: Option<Asking> = None;
    let mut pause = Duration::ZERO;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped = std::pin::pin!(super::stopped());
    loop {
        if asking.is_none() && held.len() < wanted.slots {
            let (client, wanted, lacking) = (client.clone(), wanted.clone(), held.lacking());
            let free = wanted.slots - held.len();
            asking = Some(tokio::spawn(async move {
                sleep(pause).await;
                ask(&client, wanted, free, &lacking).await
            }));
        }
        tokio::select! {
            ended = &mut stopped => {
                if let Some(asking) = asking.take() {
                    asking.abort();
                    if let Ok(Ok((_, work))) = asking.await {
                        work.tasks.iter().for_each(|task| held.refuse(task));
                    }
                }
                return ended;
            }
            answered = async { (&mut *asking.as_mut().expect("the guard looked")).await }, if asking.is_some() => {
                asking = None;
                pause = match answered {
                    Ok(Ok((offer, work))) => {
                        begin(held, (&offer, wanted.slots), work.tasks, page)?;
                        Duration::ZERO
                    }
                    Ok(Err(error)) => {
                        passed(error)?;
                        AGAIN
                    }
                    Err(_) => AGAIN,
                };
            }
            ended = held.next() => {
                told(&ended, page)?;
                held.report().await;
            }
            _ = tick.tick() => held.report().await,
        }
    }
}

/// Waits for what ends by itself, and reports it.
async fn finish(held: &mut Held, page: &mut Page) -> Result<(), Failure> {
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let finishing = async {
        while held.is_running() {
            tokio::select! {
                ended = held.next() => told(&ended, page)?,
                _ = tick.tick() => {}
            }
            held.report().await;
        }
        Ok::<_, Failure>(())
    };
    timeout(FAREWELL, finishing).await.unwrap_or(Ok(()))
}

/// Says why a question failed that another try may answer; fails where none would.
fn passed(error: Error) -> Result<(), Failure> {
    if !is_passing(&error) {
        return Err(error.into());
    }
    say(&format!("comity: {}", clean(&error.to_string())));
    Ok(())
}

/// Whether another try may go better. A refusal that names nothing passing is the same the next time.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::Refused(problem) => matches!(problem.code.as_str(), "unavailable" | "rate_limited" | "timed_out"),
        Error::NoNode { .. } | Error::NotOurs { .. } => false,
        _ => true,
    }
}

/// Looks which tools there are, and asks for work for them; with nothing to offer yet it waits a little.
async fn ask(client: &Client, wanted: Wanted, free: usize, lacking: &BTreeSet<Target>) -> Result<(Offer, Work), Error> {
    let offer = offered(client, &wanted, lacking).await?;
    if offer.is_empty() {
        sleep(AGAIN).await;
        return Ok((offer, Work { tasks: Vec::new() }));
    }
    let wanted = WantWork {
        capabilities: names(&offer),
        properties: wanted.has,
        wanted: free as u64,
        wait_ms: WAIT.as_millis() as u64,
        slots_free: u32::try_from(free).unwrap_or(u32::MAX),
        load: load(),
    };
    let work = client.work(&wanted).await?;
    Ok((offer, work))
}

/// How full this machine is: those who wait for a processor in the last minute, for each processor.
fn load() -> f64 {
    let average = std::fs::read_to_string("/proc/loadavg").ok();
    let first = average.and_then(|text| text.split_whitespace().next().and_then(|first| first.parse::<f64>().ok()));
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    first.unwrap_or(0.0) / processors as f64
}

fn names(offer: &Offer) -> Vec<String> {
    offer.keys().take(CAPABILITIES_MAX).cloned().collect()
}

/// The tools that may be called: each by server and name, and by its name alone where no other has it; of those that are
/// wanted, or all, without those that the node lists and does not have.
async fn offered(client: &Client, wanted: &Wanted, lacking: &BTreeSet<Target>) -> Result<Offer, Error> {
    let tools = client.tools().await?.tools;
    let mut offer = Offer::new();
    for tool in &tools {
        let target = (tool.server.clone(), tool.name.clone());
        offer.insert(format!("{}/{}", tool.server, tool.name), target.clone());
        if tools.iter().filter(|other| other.name == tool.name).count() == 1 {
            offer.insert(tool.name.clone(), target);
        }
    }
    let is_wanted = |name: &String| {
        // No task can want what has a longer name, and a question that has one is refused.
        name.len() <= NAME_MAX && (wanted.capabilities.is_empty() || wanted.capabilities.contains(name))
    };
    offer.retain(|name, target| is_wanted(name) && !lacking.contains(&*target));
    Ok(offer)
}

fn began(offer: &Offer, slots: usize, page: &mut Page) -> Result<(), Failure> {
    if offer.len() > CAPABILITIES_MAX {
        say(&format!("comity: only the first {CAPABILITIES_MAX} names are offered: choose by --capability"));
    }
    if page.json {
        return page.value(&json!({ "ready": true, "slots": slots, "capabilities": names(offer) }));
    }
    let can =
        if offer.is_empty() { "no tools yet: [tools.NAME] in comity.toml".to_owned() } else { names(offer).join(" ") };
    page.line(&format!("ready for {slots} at once: {}", clean(&can)))
}

/// Begins what was given; what there is no slot for, or no tool any more, goes back.
fn begin(
    held: &mut Held,
    (offer, slots): (&Offer, usize),
    tasks: Vec<GivenTask>,
    page: &mut Page,
) -> Result<(), Failure> {
    let lacking = held.lacking();
    for task in tasks {
        let is_free = |target: &&Target| held.len() < slots && !lacking.contains(*target);
        let Some(target) = offer.get(&task.capability).filter(is_free).cloned() else {
            held.refuse(&task);
            continue;
        };
        if page.json {
            page.value(
                &json!({ "begun": task.id, "token": task.token, "capability": task.capability, "node": task.node }),
            )?;
        } else {
            let node = task.node.as_deref().map(|node| format!(" of {}", clean(node))).unwrap_or_default();
            page.line(&format!("{} begun: {}{node}, attempt {}", task.id, clean(&task.capability), task.attempt))?;
        }
        held.begin(task, target, Instant::now());
    }
    Ok(())
}

fn told(ended: &Option<(Key, Option<String>)>, page: &mut Page) -> Result<(), Failure> {
    let Some((key, why)) = ended else { return Ok(()) };
    if page.json {
        return page.value(&json!({ "ended": key.id, "token": key.token, "error": why }));
    }
    match why {
        None => page.line(&format!("{} done", key.id)),
        Some(why) => page.line(&format!("{} failed: {}", key.id, clean(why))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use comity_client::control::Problem;

    #[test]
    fn a_refusal_that_cannot_change_ends_the_worker_and_what_passes_is_only_said() {
        let refused = |code: &str| {
            let problem = Problem { status: 400, code: code.to_owned(), detail: String::new(), pointer: None };
            passed(Error::Refused(problem)).is_err()
        };
        assert!(["conflict", "bad_request", "forbidden", "not_found", "internal"].into_iter().all(refused));
        assert!(!["unavailable", "rate_limited", "timed_out"].into_iter().any(refused));
        assert!(passed(Error::NoNode { data_dir: "/d".into() }).is_err());
        assert!(passed(Error::Silent { after: WAIT }).is_ok() && passed(Error::Broken(String::new())).is_ok());
    }
}
