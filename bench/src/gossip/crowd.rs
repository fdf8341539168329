//! Many nodes that gossip in one process: who is there, who stays, and what those heard who stay.

use super::MESSAGES;
use comity::config::{Bootstrap, Config};
use comity::gossip_in_memory::{self, Ear, Voice};
use comity_core::id::Libp2pId;
use comity_core::identity::key::KeyPair;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, index};
use rand::{Rng, SeedableRng};
use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// A message, bytes: about as long as a usual one.
pub(super) const LEN: usize = 300;

/// How many others a node knows when it starts.
const STARTS: usize = 4;

/// The topic of all of them.
const TOPIC: &str = "CHORUS/coordination/v1";

/// How long a node may take to meet the first.
const PATIENCE: Duration = Duration::from_secs(60);

/// After so many starts it is said how far it is.
const SAID_EVERY: usize = 100;

/// So many trial messages in a row everybody must hear before anything is measured, of so many at most.
const TRIALS_GOOD: usize = 3;
const TRIALS: usize = 60;

/// How long a trial message has to come to all.
const TRIAL_TIME: Duration = Duration::from_secs(1);

/// Which nodes know each other, who leaves and who speaks is drawn, and the same in every run.
const SEED: u64 = 7;

/// The nodes.
pub(super) struct Crowd {
    heard: Arc<Heard>,
    rng: StdRng,
    staying: Vec<Member>,
    leaving: Vec<Member>,
    newcomers: Vec<Member>,
    /// How many there ever were in this process: each has a number of its own.
    started: u64,
}

/// A node.
struct Member {
    voice: Voice,
    /// Where others reach it.
    address: Bootstrap,
    running: AbortHandle,
}

/// What was heard.
struct Heard {
    began: Instant,
    /// By anybody, each message once a node.
    all: AtomicUsize,
    /// The trial messages, then the measured ones.
    messages: Vec<Message>,
}

/// A message; times in microseconds since the beginning.
#[derive(Default)]
struct Message {
    said: AtomicU64,
    /// By how many it was heard who stay.
    count: AtomicUsize,
    last: AtomicU64,
}

impl Crowd {
    /// Starts so many, one after the other, and waits until all of them hear each other. A tenth of them will leave.
    pub(super) async fn gather(size: usize) -> Result<Self, String> {
        let mut rng = StdRng::seed_from_u64(SEED);
        let leave: BTreeSet<usize> = index::sample(&mut rng, size, size / 10).into_iter().collect();
        let messages = (0..TRIALS + MESSAGES).map(|_| Message::default()).collect();
        let heard = Heard { began: Instant::now(), all: AtomicUsize::new(0), messages };
        let started = u64::try_from(size).unwrap_or(u64::MAX) << 32;
        let (staying, leaving, newcomers) = (Vec::new(), Vec::new(), Vec::new());
        let mut crowd = Self { heard: Arc::new(heard), rng, staying, leaving, newcomers, started };
        for number in 0..size {
            let stays = !leave.contains(&number);
            let member = crowd.start(stays).await?;
            if stays { &mut crowd.staying } else { &mut crowd.leaving }.push(member);
            if (number + 1).is_multiple_of(SAID_EVERY) {
                eprintln!("{} of {size} nodes have started", number + 1);
            }
        }
        crowd.settle().await?;
        Ok(crowd)
    }

    /// Starts a node that knows a few of those who are there, and waits until it is connected with one of them.
    async fn start(&mut self, stays: bool) -> Result<Member, String> {
        self.started += 1;
        let number = NonZero::new(self.started).ok_or("numbers begin with 1")?;
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&number.get().to_le_bytes());
        let keys = KeyPair::from_seed(seed);
        let present: Vec<&Member> = self.staying.iter().chain(&self.leaving).chain(&self.newcomers).collect();
        let known = present.choose_multiple(&mut self.rng, STARTS).map(|member| member.address.clone()).collect();
        let config = Config::default().gossip.ok_or("gossip is off")?;
        let config = comity::config::Gossip { bootstrap: known, mdns: false, ..config };
        let is_first = config.bootstrap.is_empty();
        let (voice, mut ear, running) =
            gossip_in_memory::start(&keys, config, number).map_err(|error| error.to_string())?;
        let running = tokio::spawn(running).abort_handle();
        voice.join(TOPIC).await;
        if is_first {
            // That nobody hears it is an answer too: it runs, and can be met.
            let _ = voice.publish(TOPIC, Vec::new()).await;
        } else if !timeout(PATIENCE, ear.meets()).await.unwrap_or(false) {
            return Err("a node that starts meets nobody".to_owned());
        }
        tokio::spawn(listen(ear, Arc::clone(&self.heard), stays));
        let address = format!("/memory/{number}/p2p/{}", Libp2pId::from(keys.node()));
        let address = address.parse().map_err(|_| format!("{address} is no address"))?;
        Ok(Member { voice, address, running })
    }

    async fn settle(&mut self) -> Result<(), String> {
        let mut good = 0;
        for trial in 0..TRIALS {
            self.publish(trial).await?;
            sleep(TRIAL_TIME).await;
            let count = self.heard.messages[trial].count.load(Ordering::Relaxed);
            good = if count == self.others() { good + 1 } else { 0 };
            if good == TRIALS_GOOD {
                eprintln!("all {} hear each other", self.others() + 1);
                return Ok(());
            }
        }
        Err(format!("after {TRIALS} messages not all nodes hear each other"))
    }

    /// One leaves without a word, and another comes.
    pub(super) async fn change(&mut self) -> Result<(), String> {
        if let Some(member) = self.leaving.pop() {
            member.running.abort();
        }
        let member = self.start(false).await?;
        self.newcomers.push(member);
        Ok(())
    }

    /// One of those who stay says the message with this number.
    pub(super) async fn say(&mut self, number: usize) -> Result<(), String> {
        self.publish(TRIALS + number).await
    }

    async fn publish(&mut self, index: usize) -> Result<(), String> {
        let speaker = &self.staying[self.rng.random_range(0..self.staying.len())];
        let mut data = (index as u64).to_le_bytes().to_vec();
        data.resize(LEN, b'x');
        self.heard.messages[index].said.store(self.heard.micros(), Ordering::Relaxed);
        speaker.voice.publish(TOPIC, data).await.map_err(|error| error.to_string())
    }

    /// Who else stays, beside a speaker.
    fn others(&self) -> usize {
        self.staying.len() - 1
    }

    /// How many deliveries there must be.
    pub(super) fn wanted(&self) -> usize {
        MESSAGES * self.others()
    }

    /// How many there were.
    pub(super) fn delivered(&self) -> usize {
        self.measured().map(|message| message.count.load(Ordering::Relaxed)).sum()
    }

    /// How often anybody heard something for the first time, trials and those included who do not stay.
    pub(super) fn heard(&self) -> usize {
        self.heard.all.load(Ordering::Relaxed)
    }

    /// How long each message took to the last who heard it.
    pub(super) fn last_heard(&self) -> Vec<Duration> {
        let time = |message: &Message| {
            let (said, last) = (message.said.load(Ordering::Relaxed), message.last.load(Ordering::Relaxed));
            Duration::from_micros(last.saturating_sub(said))
        };
        self.measured().map(time).collect()
    }

    fn measured(&self) -> impl Iterator<Item = &Message> {
        self.heard.messages.iter().skip(TRIALS)
    }
}

impl Heard {
    fn micros(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn note(&self, index: usize, stays: bool) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Some(message) = self.messages.get(index).filter(|_| stays) {
            message.last.fetch_max(self.micros(), Ordering::Relaxed);
            message.count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Notes what a node hears, each message once.
async fn listen(mut ear: Ear, heard: Arc<Heard>, stays: bool) {
    let mut known = BTreeSet::new();
    while let Some(data) = ear.hears().await {
        let index = data.first_chunk().and_then(|bytes| usize::try_from(u64::from_le_bytes(*bytes)).ok());
        if let Some(index) = index.filter(|index| known.insert(*index)) {
            heard.note(index, stays);
        }
    }
}
