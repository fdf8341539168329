//! `comity worker`: does tasks of the node and of those that it knows, by calls of the node's tools. It keeps no task:
//! when it dies, its leases run out, and others do them.

mod held;

use crate::args::Worker;
use crate::command::task::pairs;
use crate::exit::Failure;
use crate::page::{Page, clean, say};
use comity_client::control::{GivenTask, WantWork, Work};
use comity_client::{Client, Error};
use held::{Held, Key};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
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
type Offer = BTreeMap<String, (String, String)>;

pub(crate) async fn run(client: &Client, flags: Worker, page: &mut Page) -> Result<(), Failure> {
    let has = pairs("--has", &flags.has)?;
    let slots = usize::from(flags.slots);
    let mut offer = offered(client, &flags.capability).await?;
    began(&offer, slots, page)?;
    let mut held = Held::new(client.clone());
    let mut asking: Option<JoinHandle<Result<Work, Error>>> = None;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopped = std::pin::pin!(super::stopped());
    loop {
        if asking.is_none() && held.len() < slots {
            let (client, free, has, names) = (client.clone(), slots - held.len(), has.clone(), names(&offer));
            asking = Some(tokio::spawn(async move { ask(&client, names, has, free).await }));
        }
        tokio::select! {
            ended = &mut stopped => {
                if let Some(asking) = asking.take() {
                    asking.abort();
                    if let Ok(Ok(work)) = asking.await {
                        work.tasks.iter().for_each(|task| held.refuse(task));
                    }
                }
                ended?;
                break;
            }
            answered = async { (&mut *asking.as_mut().expect("the guard looked")).await }, if asking.is_some() => {
                asking = None;
                match answered {
                    Ok(Ok(work)) => begin(&mut held, (&offer, slots), work.tasks, page)?,
                    Ok(Err(Error::NoNode { data_dir })) => return Err(Error::NoNode { data_dir }.into()),
                    Ok(Err(error)) => {
                        say(&format!("comity: {}", clean(&error.to_string())));
                        sleep(AGAIN).await;
                    }
                    Err(_) => sleep(AGAIN).await,
                }
                offer = offered(client, &flags.capability).await?;
            }
            ended = held.next() => {
                told(&ended, page)?;
                held.report().await;
            }
            _ = tick.tick() => held.report().await,
        }
    }
    // What ends by itself is reported; the rest is given back.
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
    timeout(FAREWELL, finishing).await.unwrap_or(Ok(()))?;
    held.give_back();
    held.report().await;
    Ok(())
}

/// Asks for work; with nothing to offer yet it waits a little.
async fn ask(client: &Client, names: Vec<String>, properties: Map<String, Value>, free: usize) -> Result<Work, Error> {
    if names.is_empty() {
        sleep(AGAIN).await;
        return Ok(Work { tasks: Vec::new() });
    }
    let wanted = WantWork {
        capabilities: names,
        properties,
        wanted: free as u64,
        wait_ms: WAIT.as_millis() as u64,
        slots_free: u32::try_from(free).unwrap_or(u32::MAX),
        load: load(),
    };
    client.work(&wanted).await
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
/// wanted, or all.
async fn offered(client: &Client, wanted: &[String]) -> Result<Offer, Failure> {
    let tools = client.tools().await?.tools;
    let mut offer = Offer::new();
    for tool in &tools {
        let target = (tool.server.clone(), tool.name.clone());
        offer.insert(format!("{}/{}", tool.server, tool.name), target.clone());
        if tools.iter().filter(|other| other.name == tool.name).count() == 1 {
            offer.insert(tool.name.clone(), target);
        }
    }
    if !wanted.is_empty() {
        offer.retain(|name, _| wanted.contains(name));
    }
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
    for task in tasks {
        let Some(target) = offer.get(&task.capability).filter(|_| held.len() < slots).cloned() else {
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
