//! Other origins: where each answers, and by which key, from its well-known document. The first key seen is pinned, and
//! a document is asked for again when it has run out. Which key counts is decided in `comity_core::federation::pin`. See
//! "Discovery" in `protocols/federation.md`.

mod book;

use super::http::{Answer, Http, Unanswered};
use crate::driver::Clock;
use crate::store::federation::{Batch, KeptPin, Write};
use axum::http::header::{CACHE_CONTROL, LOCATION};
use axum::http::{HeaderMap, Method, Uri};
use book::Book;
use bytes::Bytes;
use comity_core::federation::{AuthorKey, KeyChanged, Origin, Pin};
use comity_core::id::NodeId;
use comity_core::time::Timestamp;
use comity_core::wire::federation::well_known::{self, BadWellKnown, Endpoint, WellKnown};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a document may take.
const FETCH_TIME: Duration = Duration::from_secs(10);

/// Redirects that are followed.
const REDIRECTS_MAX: usize = 3;

/// For how long a document is believed: at least, at most, and where its headers do not say.
const FRESH_MIN: Duration = Duration::from_secs(5 * 60);
const FRESH_MAX: Duration = Duration::from_secs(24 * 3600);
const FRESH_USUAL: Duration = Duration::from_secs(3600);

/// How long nobody is asked again whose document could not be had: on behalf of somebody else, or where an older one is
/// known.
const FAILURE_KEPT: Duration = Duration::from_secs(5 * 60);

/// Pins on disk beyond which no more of strangers are kept there, so that nobody fills it with names.
const PINS_MAX: usize = 4096;

/// Why an origin cannot be asked or believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unknown {
    /// It shows another key than it did.
    #[error(transparent)]
    KeyChanged(#[from] KeyChanged),
    /// Its document cannot be had.
    #[error("the document of {origin} cannot be had: {why}")]
    Unreachable {
        /// Whose.
        origin: Origin,
        /// Why.
        why: Unfetched,
    },
    /// Too many documents were asked for just now.
    #[error("too many documents of other origins were asked for just now")]
    TooMany,
    /// The key is none of the origin's.
    #[error("this is not a key of {0}")]
    WrongKey(Origin),
}

/// Why a document cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfetched {
    /// Nobody answered.
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    /// The answer was another one.
    #[error("HTTP status {0}")]
    Status(u16),
    /// It was redirected too often, or from HTTPS to HTTP.
    #[error("it is redirected where nobody follows")]
    Redirect,
    /// It is no document.
    #[error("it is none: {0}")]
    Bad(#[from] BadWellKnown),
    /// It says that the origin is reached without TLS.
    #[error("its endpoint is without TLS (federation.plain lists origins that are meant)")]
    Plain,
    /// It was tried a short time ago.
    #[error("it could not be had a short time ago")]
    Lately,
}

/// What is known of an origin.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    /// Its keys.
    pub(crate) pin: Pin,
    /// When the first was seen.
    pub(crate) since: Timestamp,
    /// Where it answers.
    pub(crate) endpoint: Endpoint,
    /// What it says there is, as of its last document.
    pub(crate) components: Vec<String>,
    /// Until when that is believed.
    fresh_until: Option<Instant>,
    /// When that was read.
    fetched_at: Option<Instant>,
    /// What its last document shows, if that does not follow from the pin.
    pub(crate) changed: Option<KeyChanged>,
    /// Whether it is on disk.
    is_kept: bool,
}

/// Other origins. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Origins(Arc<Shared>);

struct Shared {
    http: Http,
    /// Origins that are asked without TLS, besides those on loopback.
    plain: Vec<Origin>,
    disk: mpsc::Sender<Batch>,
    /// A lock and not a message: every request looks in for a moment.
    book: Mutex<Book>,
    /// The same, so that an origin is asked once at a time.
    under_way: Mutex<BTreeMap<Origin, Arc<tokio::sync::Mutex<()>>>>,
}

impl Origins {
    /// Knows these.
    pub(crate) fn new(
        http: Http,
        plain: Vec<Origin>,
        disk: mpsc::Sender<Batch>,
        kept: BTreeMap<Origin, KeptPin>,
    ) -> Self {
        let known = kept.into_iter().filter_map(|(origin, kept)| {
            let endpoint = Endpoint::read(&kept.endpoint)?;
            let known = Known {
                pin: kept.pin,
                since: kept.since,
                endpoint,
                components: Vec::new(),
                fresh_until: None,
                fetched_at: None,
                changed: None,
                is_kept: true,
            };
            Some((origin, known))
        });
        let book = Book::of(known.collect());
        Self(Arc::new(Shared { http, plain, disk, book: Mutex::new(book), under_way: Mutex::default() }))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The way that documents are fetched.
    pub(crate) fn http(&self) -> &Http {
        &self.0.http
    }

    /// Everybody who is known, by name.
    pub(crate) fn all(&self) -> Vec<(Origin, Known)> {
        self.book().known.iter().map(|(origin, known)| (origin.clone(), known.clone())).collect()
    }

    /// What is known of an origin that this node wants something of: its document is fetched if none is believed. Where
    /// it cannot be had, what was known before is used.
    pub(crate) async fn find(&self, origin: &Origin) -> Result<Known, Unknown> {
        if let Some(known) = self.fresh(origin) {
            return known.believed();
        }
        // Nobody waits for a host that was away just now, where what was known before does.
        if self.has_failed_lately(origin)
            && let Some(known) = self.known(origin)
        {
            return known.believed();
        }
        match self.fetch(origin, None).await {
            Err(Unknown::Unreachable { .. } | Unknown::TooMany) if self.is_known(origin) => {}
            Err(unknown) => return Err(unknown),
            Ok(()) => {}
        }
        self.keep(origin).await;
        match self.book().known.get(origin) {
            Some(known) => known.clone().believed(),
            None => Err(Unknown::TooMany),
        }
    }

    /// Checks that a key is this origin's, in what was signed at this time. Where it is not known, the document is
    /// fetched; `on_behalf` is the address of whoever says so.
    pub(crate) async fn check_key(
        &self,
        origin: &Origin,
        key: &NodeId,
        at: Timestamp,
        on_behalf: Option<IpAddr>,
    ) -> Result<(), Unknown> {
        let judge = || {
            let book = self.book();
            let known = book.known.get(origin);
            let counts = known.map(|known| known.is_believed().map(|()| known.pin.counts(key, at))).transpose();
            counts.map(|counts| (counts, known.is_some_and(Known::is_fresh)))
        };
        let (counts, is_fresh) = judge()?;
        match counts {
            Some(true) => return Ok(()),
            // It may have changed since the document was read; at most so often.
            Some(false) if is_fresh && self.has_failed_lately(origin) => return Err(Unknown::WrongKey(origin.clone())),
            _ => {}
        }
        if self.has_failed_lately(origin) {
            return Err(Unknown::Unreachable { origin: origin.clone(), why: Unfetched::Lately });
        }
        self.fetch(origin, on_behalf).await?;
        match judge()?.0 {
            Some(true) => Ok(()),
            _ => {
                self.book().note_failure(origin);
                Err(Unknown::WrongKey(origin.clone()))
            }
        }
    }

    /// Whether the key of an origin is pinned.
    pub(crate) fn is_known(&self, origin: &Origin) -> bool {
        self.book().known.contains_key(origin)
    }

    /// What is known of an origin, without asking it.
    pub(crate) fn known(&self, origin: &Origin) -> Option<Known> {
        self.book().known.get(origin).cloned()
    }

    /// What is known of a key that the author of an event names, without asking anybody.
    pub(crate) fn author_key(&self, origin: &Origin, key: &NodeId, at: Timestamp) -> AuthorKey {
        AuthorKey::of(self.book().known.get(origin).map(|known| &known.pin), key, at)
    }

    /// Pins the key that an origin shows now, whatever was pinned before: a person said so.
    pub(crate) async fn trust(&self, origin: &Origin) -> Result<Known, Unknown> {
        let (shown, fresh) =
            self.read(origin).await.map_err(|why| Unknown::Unreachable { origin: origin.clone(), why })?;
        let known = Known {
            pin: Pin::first(origin, &shown),
            since: Clock::wall(),
            endpoint: shown.endpoint,
            components: shown.components,
            fresh_until: Some(Instant::now() + fresh),
            fetched_at: Some(Instant::now()),
            changed: None,
            is_kept: false,
        };
        {
            let mut book = self.book();
            book.failed.remove(origin);
            book.known.insert(origin.clone(), known.clone());
        }
        self.keep(origin).await;
        Ok(known)
    }

    /// Whether what is known of an origin is on disk, or on its way there.
    pub(crate) fn is_kept(&self, origin: &Origin) -> bool {
        self.book().known.get(origin).is_some_and(|known| known.is_kept)
    }

    /// Keeps what is known of a stranger on disk from now on, while there is room: the key that was seen first counts
    /// also after this node has started again.
    pub(crate) async fn keep_stranger(&self, origin: &Origin) {
        if self.book().known.values().filter(|known| known.is_kept).count() < PINS_MAX {
            self.keep(origin).await;
        }
    }

    /// Keeps what is known of an origin on disk from now on.
    pub(crate) async fn keep(&self, origin: &Origin) {
        let kept = {
            let mut book = self.book();
            let Some(known) = book.known.get_mut(origin).filter(|known| !known.is_kept) else { return };
            known.is_kept = true;
            KeptPin { pin: known.pin.clone(), since: known.since, endpoint: known.endpoint.to_string() }
        };
        let writes = vec![Write::Pin { origin: origin.clone(), pin: Some(Box::new(kept)) }];
        // Err: the node has ended.
        let _ = self.0.disk.send(Batch { writes, done: None }).await;
    }

    fn fresh(&self, origin: &Origin) -> Option<Known> {
        self.book().known.get(origin).filter(|known| known.is_fresh()).cloned()
    }

    fn has_failed_lately(&self, origin: &Origin) -> bool {
        self.book().failed.get(origin).is_some_and(|at| at.elapsed() < FAILURE_KEPT)
    }

    /// What is held while an origin's document is fetched.
    fn turn(&self, origin: &Origin) -> Arc<tokio::sync::Mutex<()>> {
        let mut under_way = self.0.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        under_way.retain(|_, turn| Arc::strong_count(turn) > 1);
        under_way.entry(origin.clone()).or_default().clone()
    }

    /// Fetches a document, once at a time for each origin, and takes over what it shows.
    async fn fetch(&self, origin: &Origin, on_behalf: Option<IpAddr>) -> Result<(), Unknown> {
        let asked = Instant::now();
        let turn = self.turn(origin);
        let _turn = turn.lock().await;
        // Somebody else asked meanwhile, and may have heard nothing.
        {
            let book = self.book();
            if book.known.get(origin).is_some_and(|known| known.fetched_after(asked)) {
                return Ok(());
            }
            if book.failed.get(origin).is_some_and(|at| *at > asked) {
                return Err(Unknown::Unreachable { origin: origin.clone(), why: Unfetched::Lately });
            }
        }
        if let Some(address) = on_behalf {
            self.book().count(address)?;
        }
        let unreachable = |why| Unknown::Unreachable { origin: origin.clone(), why };
        match self.read(origin).await {
            Ok((shown, fresh)) => self.take_over(origin, shown, fresh).await,
            Err(why) => {
                self.book().note_failure(origin);
                return Err(unreachable(why));
            }
        }
        Ok(())
    }

    async fn take_over(&self, origin: &Origin, shown: WellKnown, fresh: Duration) {
        let was_kept = {
            let mut book = self.book();
            book.failed.remove(origin);
            let fresh_until = Some(Instant::now() + fresh);
            match book.known.get_mut(origin) {
                Some(known) => {
                    (known.fresh_until, known.fetched_at) = (fresh_until, Some(Instant::now()));
                    match known.pin.follow(origin, &shown) {
                        Ok(pin) => {
                            let is_news = pin != known.pin || shown.endpoint != known.endpoint;
                            let was_kept = known.is_kept;
                            known.is_kept &= !is_news;
                            (known.pin, known.endpoint, known.changed) = (pin, shown.endpoint, None);
                            known.components = shown.components;
                            was_kept
                        }
                        Err(changed) => {
                            tracing::warn!("{changed}");
                            known.changed = Some(changed);
                            false
                        }
                    }
                }
                None => {
                    let known = Known {
                        pin: Pin::first(origin, &shown),
                        since: Clock::wall(),
                        endpoint: shown.endpoint,
                        components: shown.components,
                        fresh_until,
                        fetched_at: Some(Instant::now()),
                        changed: None,
                        is_kept: false,
                    };
                    book.make_room();
                    book.known.insert(origin.clone(), known);
                    false
                }
            }
        };
        if was_kept {
            self.keep(origin).await;
        }
    }

    /// The document of an origin, and for how long it is believed.
    async fn read(&self, origin: &Origin) -> Result<(WellKnown, Duration), Unfetched> {
        let scheme = if self.is_plain(origin) { "http" } else { "https" };
        let mut url = format!("{scheme}://{origin}{}", well_known::PATH);
        for _ in 0..=REDIRECTS_MAX {
            let answer = self.get(&url).await?;
            if answer.status.is_redirection() {
                url = redirected(&url, &answer.headers).ok_or(Unfetched::Redirect)?;
                continue;
            }
            if !answer.status.is_success() {
                return Err(Unfetched::Status(answer.status.as_u16()));
            }
            let shown = WellKnown::read(&answer.body)?;
            if shown.endpoint.is_plain() && !self.is_plain(origin) {
                return Err(Unfetched::Plain);
            }
            return Ok((shown, freshness(&answer.headers)));
        }
        Err(Unfetched::Redirect)
    }

    async fn get(&self, url: &str) -> Result<Answer, Unfetched> {
        let uri: Uri = url.parse().map_err(|_| Unfetched::Redirect)?;
        let limits = (FETCH_TIME, well_known::BYTES_MAX);
        Ok(self.0.http.request((Method::GET, uri), HeaderMap::new(), Bytes::new(), limits).await?)
    }

    /// Whether an origin is asked without TLS.
    fn is_plain(&self, origin: &Origin) -> bool {
        is_local(origin) || self.0.plain.contains(origin)
    }
}

/// Whether an origin's name is that of every machine for itself (RFC 6761).
pub(crate) fn is_local(origin: &Origin) -> bool {
    origin.name() == "localhost" || origin.name().ends_with(".localhost")
}

impl Known {
    fn is_fresh(&self) -> bool {
        self.fresh_until.is_some_and(|until| Instant::now() < until)
    }

    fn fetched_after(&self, moment: Instant) -> bool {
        self.fetched_at.is_some_and(|at| at > moment)
    }

    fn believed(self) -> Result<Self, Unknown> {
        self.is_believed().map(|()| self)
    }

    fn is_believed(&self) -> Result<(), Unknown> {
        self.changed.clone().map_or(Ok(()), |changed| Err(changed.into()))
    }
}

/// Where a redirect leads: by the same scheme, with a host and without credentials.
fn redirected(from: &str, headers: &HeaderMap) -> Option<String> {
    let (from, to) = (from.parse::<Uri>().ok()?, headers.get(LOCATION)?.to_str().ok()?);
    if to.starts_with('/') && !to.starts_with("//") {
        return Some(format!("{}://{}{to}", from.scheme_str()?, from.authority()?));
    }
    let uri: Uri = to.parse().ok()?;
    let fits = uri.scheme() == from.scheme() && uri.authority().is_some_and(|host| !host.as_str().contains('@'));
    fits.then(|| to.to_owned())
}

/// For how long a document is believed, as its headers say (RFC 9111).
fn freshness(headers: &HeaderMap) -> Duration {
    let said = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut directives = said.flat_map(|value| value.split(',')).map(|part| part.trim().to_ascii_lowercase());
    let is_short = |part: &String| part == "no-store" || part == "no-cache";
    let max_age =
        |part: &String| part.strip_prefix("max-age=").and_then(|seconds| seconds.trim_matches('"').parse().ok());
    let all: Vec<String> = directives.by_ref().collect();
    let age = all.iter().find_map(max_age).map_or(FRESH_USUAL, Duration::from_secs);
    if all.iter().any(is_short) { FRESH_MIN } else { age.clamp(FRESH_MIN, FRESH_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::http::Reach;

    /// Nobody listens there.
    const AWAY: &str = "localhost:1";

    #[tokio::test]
    async fn a_host_that_was_away_just_now_keeps_nobody_waiting_where_an_older_document_is_known() {
        let origin: Origin = AWAY.parse().expect("an origin");
        let reach = Reach {
            networks: crate::federation::loopback().to_vec(),
            own_doors: Vec::new(),
            server: crate::federation::http::Server::Authority("federation.ca_file", None),
        };
        let http = Http::new(reach).expect("authorities");
        let (disk, mut written) = mpsc::channel(8);
        let key = comity_core::identity::key::KeyPair::from_seed([1; 32]).node();
        let kept = KeptPin {
            pin: Pin { key, old: Vec::new() },
            since: Timestamp::from_millis(1),
            endpoint: format!("http://{AWAY}"),
        };
        let origins = Origins::new(http, Vec::new(), disk, BTreeMap::from([(origin.clone(), kept)]));
        assert_eq!(origins.find(&origin).await.map(|known| known.pin.key), Ok(key), "what was known before counts");
        assert!(origins.has_failed_lately(&origin));
        // Somebody else who asks at this moment waits for no answer.
        let _turn = origins.turn(&origin).lock_owned().await;
        assert_eq!(origins.find(&origin).await.map(|known| known.pin.key), Ok(key));
        assert!(written.try_recv().is_err(), "it is on disk already");
    }
}
