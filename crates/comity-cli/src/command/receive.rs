//! `comity receive`: takes files from peers into a folder, several transfers at a time. Questions are put to
//! whoever sits at the terminal; where nobody does, nothing is replaced.

use super::progress::{Progress, bytes};
use super::questions::{Question, Questions};
use super::send_file::{failure, key_of};
use super::stopped;
use crate::args::Receive;
use crate::exit::Failure;
use crate::page::{Page, clean, say};
use comity_client::control::Giver;
use comity_client::files::{Ask, Broken, Event, Folder, InLine, Incoming, Taken, take};
use comity_client::{Client, Error};
use comity_core::identity::trust::Trust;
use comity_core::transfer::taking::Offer;
use serde_json::json;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use uuid::Uuid;

/// Transfers at a time. Further ones are told that nobody receives.
const AT_ONCE: usize = 4;

/// Transfers of one sender at a time: one, and the same begun anew.
const OF_ONE: usize = 2;

/// What transfers have to tell and was not shown yet, at most.
const NEWS_MAX: usize = 64;

/// How long after the node went away it is looked for again.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a transfer that was begun anew may take to end.
const GIVEN_UP: Duration = Duration::from_secs(3);

/// Accepted offers that are remembered, so that nobody is asked again after a break.
const ACCEPTED_MAX: usize = 256;

pub(crate) async fn run(client: &Client, mut wanted: Receive, page: &mut Page) -> Result<(), Failure> {
    let opened = Folder::open(&wanted.into);
    let folder = opened.map_err(|wrong| Failure::Usage(format!("{}: {wrong}", wanted.into.display())))?;
    let line = client.wait_for_files(wanted.from.as_deref(), wanted.from_anyone).await?;
    if let Some(from) = &mut wanted.from {
        *from = key_of(client, from).await?;
    }
    if page.json {
        page.value(&json!({ "event": "waiting", "into": wanted.into }))?;
    } else {
        let into = clean(&wanted.into.display().to_string());
        say(&format!("comity: files are received into {into}; stop with Ctrl-C"));
    }
    let (news, told) = mpsc::channel(NEWS_MAX);
    let mut desk = Desk {
        client: client.clone(),
        wanted,
        folder: Arc::new(folder),
        news,
        running: JoinSet::new(),
        shown: BTreeMap::new(),
        accepted: Accepted::default(),
        questions: Questions::here(),
        next: 0,
    };
    tokio::select! {
        ended = desk.receive(line, told, page) => ended,
        asked = stopped() => asked,
    }
}

/// What a transfer tells, and which.
type News = (u64, Told);

enum Told {
    Offered(Offer, oneshot::Sender<bool>),
    Replaces(String, u64, oneshot::Sender<bool>),
    Event(Event),
}

/// A transfer that is under way.
struct Shown {
    from: Giver,
    transfer: Option<Uuid>,
    progress: Progress,
    /// It was accepted.
    taken: bool,
    /// Everything that is there is replaced: a person said so for this transfer.
    all: bool,
    task: AbortHandle,
    /// Tells it that the same transfer began anew.
    anew: Option<oneshot::Sender<()>>,
    ended: oneshot::Receiver<()>,
}

struct Desk {
    client: Client,
    wanted: Receive,
    folder: Arc<Folder>,
    news: mpsc::Sender<News>,
    running: JoinSet<(u64, Result<Taken, Broken>)>,
    shown: BTreeMap<u64, Shown>,
    accepted: Accepted,
    questions: Questions<Doubt>,
    next: u64,
}

/// What a person decides, and for which transfer.
enum Doubt {
    Offer(u64, Offer),
    Replace(u64),
}

/// What somebody said yes to: from whom, and all that was said of it. An id alone is the sender's word.
#[derive(Default)]
struct Accepted(VecDeque<(String, Offer)>);

impl Accepted {
    fn contains(&self, key: &str, offer: &Offer) -> bool {
        self.0.iter().any(|(from, said)| from == key && said == offer)
    }

    fn add(&mut self, key: &str, offer: &Offer) {
        self.0.truncate(ACCEPTED_MAX - 1);
        self.0.push_front((key.to_owned(), offer.clone()));
    }
}

type NextTransfer = Pin<Box<dyn Future<Output = Result<Incoming, Error>>>>;

impl Desk {
    async fn receive(&mut self, line: InLine, mut told: mpsc::Receiver<News>, page: &mut Page) -> Result<(), Failure> {
        let mut next: NextTransfer = Box::pin(incoming(self.client.clone(), self.wanted.clone(), Some(line)));
        loop {
            let quiet = self.questions.any();
            self.shown.values_mut().for_each(|shown| shown.progress.quiet(quiet));
            tokio::select! {
                biased;
                Some((number, told)) = told.recv() => self.take_news(number, told, page).await?,
                Some(ended) = self.running.join_next() => {
                    // Err: it was given up for a later attempt of the same transfer.
                    if let Ok((number, outcome)) = ended
                        && let Some(last) = self.end(number, outcome, page)?
                    {
                        return last;
                    }
                }
                (Question { about, reply, .. }, line) = self.questions.answer() => {
                    // Err: it ended just now.
                    let _ = reply.send(self.decided(about, &line));
                }
                incoming = &mut next, if self.running.len() < AT_ONCE => {
                    self.begin(incoming?, page);
                    next = Box::pin(self::incoming(self.client.clone(), self.wanted.clone(), None));
                }
            }
        }
    }

    fn begin(&mut self, incoming: Incoming, page: &Page) {
        if self.shown.values().filter(|shown| shown.from.key == incoming.from.key).count() >= OF_ONE {
            drop(tokio::spawn(incoming.put_off("files of yours are under way there: one transfer after the other")));
            return;
        }
        let (number, from) = (self.next, incoming.from.clone());
        self.next += 1;
        let who = clean(from.name.as_deref().unwrap_or(&from.key));
        let (anew, given_up) = oneshot::channel();
        let mut transfer = Transfer { number, news: self.news.clone(), given_up };
        let (folder, bytes_max) = (self.folder.clone(), self.wanted.max_size);
        let (ending, ended) = oneshot::channel();
        let task = self.running.spawn(async move {
            let taken = take(incoming, &folder, bytes_max, &mut transfer).await;
            // Dropped with the task, however it ends.
            drop::<oneshot::Sender<()>>(ending);
            (number, taken)
        });
        let progress = Progress::new(page, who, 0);
        let (transfer, anew) = (None, Some(anew));
        self.shown.insert(number, Shown { from, transfer, progress, taken: false, all: false, task, anew, ended });
    }

    async fn take_news(&mut self, number: u64, told: Told, page: &mut Page) -> Result<(), Failure> {
        match told {
            Told::Offered(offer, reply) => {
                self.give_up_earlier(number, &offer).await;
                self.consider(number, offer, reply, page)?;
            }
            Told::Replaces(path, size, reply) => self.consider_replacing(number, &path, size, reply),
            Told::Event(event) => {
                if let Some(shown) = self.shown.get_mut(&number) {
                    shown.progress.show(&event, page)?;
                }
            }
        }
        Ok(())
    }

    /// A sender that begins again has lost the way on which an earlier attempt may still wait.
    async fn give_up_earlier(&mut self, number: u64, offer: &Offer) {
        let Some(key) = self.shown.get(&number).map(|shown| shown.from.key.clone()) else { return };
        let same = |shown: &Shown| shown.transfer == Some(offer.transfer) && shown.from.key == key;
        let earlier: Vec<u64> = self.shown.iter().filter(|(_, shown)| same(shown)).map(|(one, _)| *one).collect();
        for one in earlier {
            if let Some(mut shown) = self.shown.remove(&one) {
                shown.progress.end();
                drop(shown.anew.take());
                // What tells that it has ended is an error. One that writes to a disk that hangs is left to itself.
                if tokio::time::timeout(GIVEN_UP, &mut shown.ended).await.is_err() {
                    shown.task.abort();
                }
            }
        }
    }

    /// Takes an offer, declines it, or has a person asked.
    fn consider(
        &mut self,
        number: u64,
        offer: Offer,
        reply: oneshot::Sender<bool>,
        page: &mut Page,
    ) -> Result<(), Failure> {
        // Err, here and below: the sender went while it was thought about.
        let busy = self.wanted.once && self.shown.values().any(|shown| shown.taken);
        let Some(shown) = self.shown.get_mut(&number) else { return Ok(()) };
        shown.transfer = Some(offer.transfer);
        let who = clean(shown.from.name.as_deref().unwrap_or(&shown.from.key));
        shown.progress = Progress::new(page, who.clone(), offer.bytes);
        if page.json {
            let about = json!({ "from": shown.from, "transfer": offer.transfer, "files": offer.files,
                "bytes": offer.bytes, "names": offer.names });
            shown.progress.value(page, "offered", &about)?;
        }
        let expected = shown.from.trust.0 == Trust::Known || self.wanted.from.is_some() || self.wanted.yes;
        if busy {
            shown.progress.remark(&format!("comity: files of {who} were declined: others are being received (--once)"));
            let _ = reply.send(false);
        } else if expected || self.accepted.contains(&shown.from.key, &offer) {
            shown.taken = true;
            let _ = reply.send(true);
        } else if self.questions.nobody() {
            shown.progress.remark(&format!("comity: files of {who} were declined: nobody is here to say yes (--yes)"));
            let _ = reply.send(false);
        } else {
            let names: Vec<String> = offer.names.iter().map(|name| clean(name)).collect();
            let text = format!(
                "{who} ({}), who is not a known peer, sends {} files and folders, {}: {}\ncomity: take them? [y/N]",
                shown.from.key,
                offer.files,
                bytes(offer.bytes),
                names.join(", "),
            );
            self.questions.ask(Question { about: Doubt::Offer(number, offer), text, reply });
        }
        Ok(())
    }

    fn consider_replacing(&mut self, number: u64, path: &str, size: u64, reply: oneshot::Sender<bool>) {
        let all = self.wanted.overwrite || self.shown.get(&number).is_some_and(|shown| shown.all);
        if all || self.wanted.keep || self.questions.nobody() {
            let _ = reply.send(all);
            return;
        }
        let (path, size) = (clean(path), bytes(size));
        let text = format!("{path} is here already, and differs. Replace it ({size})? [y/N/a(ll)]");
        self.questions.ask(Question { about: Doubt::Replace(number), text, reply });
    }

    /// What a person's word means.
    fn decided(&mut self, about: Doubt, line: &str) -> bool {
        let yes = line.starts_with('y');
        match about {
            Doubt::Offer(number, offer) => {
                // With --once another may have been taken since it was asked.
                let busy = self.wanted.once && self.shown.values().any(|shown| shown.taken);
                let Some(shown) = self.shown.get_mut(&number).filter(|_| yes && !busy) else { return false };
                shown.taken = true;
                self.accepted.add(&shown.from.key, &offer);
                true
            }
            Doubt::Replace(number) => {
                let all = line.starts_with('a');
                if let Some(shown) = self.shown.get_mut(&number).filter(|_| all) {
                    shown.all = true;
                }
                yes || all
            }
        }
    }

    /// Shows how a transfer ended; something, when nothing more is waited for.
    fn end(
        &mut self,
        number: u64,
        outcome: Result<Taken, Broken>,
        page: &mut Page,
    ) -> Result<Option<Result<(), Failure>>, Failure> {
        let Some(Shown { progress, from, taken, .. }) = self.shown.remove(&number) else { return Ok(None) };
        progress.end();
        let ended = match outcome {
            Ok(taken) => {
                told_of(&taken, &from, &self.wanted.into, &progress, page)?;
                match taken.not_taken {
                    0 => Ok(()),
                    some => Err(Failure::Unknown(format!("{some} of {} were not taken", taken.offer.files))),
                }
            }
            Err(broken) => {
                let passing = broken.is_passing();
                let sentence = clean(&broken.to_string());
                if page.json {
                    progress.value(page, "broken", &json!({ "reason": sentence, "passing": passing }))?;
                } else {
                    let more = if passing { "; what came is kept, and goes on when it is sent again" } else { "" };
                    say(&format!("comity: {}: {sentence}{more}", clean(from.name.as_deref().unwrap_or(&from.key))));
                }
                if passing {
                    return Ok(None);
                }
                Err(failure(broken))
            }
        };
        // One that was declined does not end the command while another is received.
        let goes_on = !taken && self.shown.values().any(|other| other.taken);
        Ok((self.wanted.once && !goes_on).then_some(ended))
    }
}

fn told_of(taken: &Taken, from: &Giver, into: &PathBuf, progress: &Progress, page: &mut Page) -> Result<(), Failure> {
    if page.json {
        let skipped: Vec<_> = taken.skipped.iter().map(|(path, why)| json!({ "path": path, "why": why })).collect();
        let about = json!({ "from": from, "transfer": taken.offer.transfer, "files": taken.done,
            "bytes": taken.offer.bytes, "skipped": skipped, "not_taken": taken.not_taken, "into": into });
        return progress.value(page, "received", &about);
    }
    let who = clean(from.name.as_deref().unwrap_or(&from.key));
    let size = bytes(taken.offer.bytes);
    page.line(&format!("received from {who}: {} of {}, {size}", taken.done, taken.offer.files))
}

/// The next transfer, also when the node is away for a while.
async fn incoming(client: Client, wanted: Receive, line: Option<InLine>) -> Result<Incoming, Error> {
    let mut line = line;
    let mut told = false;
    loop {
        let in_line = match line.take() {
            Some(line) => Ok(line),
            None => client.wait_for_files(wanted.from.as_deref(), wanted.from_anyone).await,
        };
        let received = match in_line {
            Ok(line) => {
                told = false;
                line.next().await
            }
            Err(failure) => Err(failure),
        };
        match received {
            // A node that has just started may not have met the peer of --from again.
            Err(error) if passes(&error) => {
                if !std::mem::replace(&mut told, true) {
                    say("comity: the node is away; files are received again when it is back");
                }
                tokio::time::sleep(PAUSE).await;
            }
            other => return other,
        }
    }
}

fn passes(error: &Error) -> bool {
    matches!(error, Error::NoNode { .. } | Error::Broken(_) | Error::Silent { .. })
        || matches!(error.code(), Some("unknown_peer" | "unavailable"))
}

/// What a transfer asks and tells, from its own task.
struct Transfer {
    number: u64,
    news: mpsc::Sender<News>,
    /// Ends with an error when the transfer is given up.
    given_up: oneshot::Receiver<()>,
}

impl Transfer {
    async fn decision(&self, ask: impl FnOnce(oneshot::Sender<bool>) -> Told) -> bool {
        let (reply, decided) = oneshot::channel();
        self.news.send((self.number, ask(reply))).await.is_ok() && decided.await.unwrap_or(false)
    }
}

impl Ask for Transfer {
    async fn offered(&mut self, offer: &Offer) -> bool {
        self.decision(|reply| Told::Offered(offer.clone(), reply)).await
    }

    async fn replaces(&mut self, path: &str, size: u64) -> bool {
        self.decision(|reply| Told::Replaces(path.to_owned(), size, reply)).await
    }

    async fn given_up(&mut self) {
        // Err is what tells.
        let _ = (&mut self.given_up).await;
    }

    async fn tell(&mut self, event: Event) {
        // Err: the command ends.
        let _ = self.news.send((self.number, Told::Event(event))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_is_for_what_was_offered_and_not_for_all_that_has_its_id() {
        let offer = Offer { transfer: Uuid::nil(), files: 1, bytes: 10, names: vec!["note".to_owned()] };
        let mut accepted = Accepted::default();
        accepted.add("ann", &offer);
        assert!(accepted.contains("ann", &offer), "nobody is asked again after a break");
        let others = [
            Offer { files: 2, ..offer.clone() },
            Offer { bytes: 11, ..offer.clone() },
            Offer { names: Vec::new(), ..offer.clone() },
            Offer { transfer: Uuid::max(), ..offer.clone() },
        ];
        assert!(others.iter().all(|other| !accepted.contains("ann", other)));
        assert!(!accepted.contains("bob", &offer));
        (0..2 * ACCEPTED_MAX).for_each(|_| accepted.add("bob", &offer));
        assert_eq!(accepted.0.len(), ACCEPTED_MAX);
    }
}
