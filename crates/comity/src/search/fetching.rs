//! A page of the web as whoever indexes it gets it: asked for at its URL, followed through a few redirects, bounded in
//! size and time, and said to be what its content type says (RFC 9110). It reads none; `reading` does.

use super::reading::{self, Document, Kind, ReadCause};
use crate::tool::http::{self, Unanswered};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;
use tokio::time::timeout;
use url::Url;

/// The largest body that is fetched, bytes: it is held in memory whole, and hardly a page or a paper is larger.
pub const BODY_MAX: usize = 16 << 20;

/// Redirects that are followed: to TLS, to another name, to another path; what has more mostly goes in a circle.
pub const REDIRECTS_MAX: usize = 5;

/// How long a page may take, its redirects and its body included: somebody waits for it.
pub const WITHIN: Duration = Duration::from_secs(30);

/// The longest content type or encoding that is repeated, characters: those that are registered are shorter.
const TYPE_MAX: usize = 80;

/// What is asked for, best first.
const ACCEPT: &str = "text/html,application/xhtml+xml,text/markdown,application/pdf,text/plain;q=0.9,*/*;q=0.5";

/// Who asks: many servers refuse those that do not say it.
const AGENT: &str = concat!("comity/", env!("CARGO_PKG_VERSION"));

/// Where a page is: a URL of `http` or `https`, without anybody's name or password. It is shown without its query,
/// which may hold a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// As it was written, without a fragment, which is of the reader and not of the page.
    written: String,
    url: Url,
}

/// Why a text is no [`Address`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadAddress {
    /// It breaks the grammar of URLs.
    #[error("it is not a URL: {0}")]
    NotAUrl(#[from] url::ParseError),
    /// It has another scheme.
    #[error("only http:// and https:// are fetched")]
    Scheme,
    /// It has a name or a password in it.
    #[error("it has a user's name or password in it: secrets do not belong in URLs")]
    Userinfo,
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let text = text.trim();
        let written = text.split_once('#').map_or(text, |(page, _)| page).to_owned();
        let url = Url::parse(&written)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(BadAddress::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(BadAddress::Userinfo);
        }
        Ok(Self { written, url })
    }
}

impl Address {
    /// The URL as it was written, its query included.
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// Where an answer says that the page is now.
    fn moved(&self, location: Option<&HeaderValue>) -> Result<Self, FetchCause> {
        let location = location.and_then(|location| str::from_utf8(location.as_bytes()).ok());
        let to = self.url.join(location.ok_or(FetchCause::Nowhere)?).map_err(BadAddress::from)?;
        let to: Self = to.as_str().parse()?;
        // Whoever asks by TLS is not led to where anybody may listen, and answer.
        if self.url.scheme() == "https" && to.url.scheme() == "http" {
            return Err(FetchCause::Insecure);
        }
        Ok(to)
    }

    /// The last part of the path, as that of a file.
    fn file_name(&self) -> &str {
        self.url.path().rsplit('/').next().unwrap_or_default()
    }

    /// What a page is called that has no title and no name.
    fn place(&self) -> String {
        let place = format!("{}{}", self.url.host_str().unwrap_or_default(), self.url.path());
        place.trim_end_matches('/').to_owned()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.written.split_once('?').map_or(&*self.written, |(place, _)| place);
        f.write_str(shown)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a page was not fetched. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
pub enum FetchCause {
    /// Its server cannot be asked, or the answer broke off.
    #[error("could not be fetched: {0}")]
    Unanswered(Box<dyn std::error::Error + Send + Sync>),
    /// It was not here in time.
    #[error("was not here within {} s", WITHIN.as_secs())]
    Late,
    /// The server answers, and not with the page.
    #[error("was not given: HTTP status {0}")]
    Status(StatusCode),
    /// It is elsewhere, and the server does not say where.
    #[error("is elsewhere, and its server does not say where")]
    Nowhere,
    /// It is at a URL that is not fetched.
    #[error("is elsewhere, at a URL that is not fetched: {0}")]
    BadRedirect(#[from] BadAddress),
    /// It is at a URL without TLS, and the one that was asked had it.
    #[error("is redirected from https to http, where nothing vouches for it")]
    Insecure,
    /// It is elsewhere, and always again.
    #[error("is redirected more than {REDIRECTS_MAX} times")]
    Redirects,
    /// It is larger than what is fetched.
    #[error("has more than {BODY_MAX} bytes, and no more are fetched")]
    TooLarge,
    /// It is something that is not read.
    #[error("is of the type {0}, which is not read")]
    Type(String),
    /// It is encoded in a way that was not asked for.
    #[error("comes in the encoding {0}, which is not read")]
    Encoding(String),
}

impl FetchCause {
    /// Its stable name, by which such pages are counted.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Unanswered(_) => "unreachable",
            Self::Late => "late",
            Self::Status(_) => "not-given",
            Self::Nowhere | Self::BadRedirect(_) | Self::Insecure | Self::Redirects => "redirect",
            Self::TooLarge => "too-large",
            Self::Type(_) => "unknown-type",
            Self::Encoding(_) => "unknown-encoding",
        }
    }

    /// Whether the page is there, and only cannot be read.
    pub const fn is_there(&self) -> bool {
        matches!(self, Self::TooLarge | Self::Type(_) | Self::Encoding(_))
    }
}

impl From<Unanswered> for FetchCause {
    fn from(cause: Unanswered) -> Self {
        match cause {
            Unanswered::TooLarge(_) => Self::TooLarge,
            other => Self::Unanswered(Box::new(other)),
        }
    }
}

/// A page as it came.
pub struct Fetched {
    body: Bytes,
    /// What its type says that it is; `None`: its name and its beginning tell.
    kind: Option<Kind>,
    name: String,
    place: String,
}

impl Fetched {
    /// Reads it, which blocks. `program` is this command, as in [`reading::read`].
    ///
    /// # Errors
    /// [`ReadCause`] when there is nothing of it to be indexed.
    pub fn read(&self, program: &Path) -> Result<Document, ReadCause> {
        let mut document = match self.kind {
            Some(kind) => reading::read_as(kind, &self.name, &self.body, program)?,
            None => reading::read_bytes(&self.name, &self.body, program)?,
        };
        if document.title.is_empty() {
            document.title.clone_from(&self.place);
        }
        Ok(document)
    }
}

/// Fetches a page. Needs a tokio runtime.
///
/// # Errors
/// [`FetchCause`] when it is not there, or is nothing that is read.
pub async fn fetch(address: &Address) -> Result<Fetched, FetchCause> {
    timeout(WITHIN, follow(address)).await.unwrap_or(Err(FetchCause::Late))
}

async fn follow(address: &Address) -> Result<Fetched, FetchCause> {
    let mut at = address.clone();
    for _ in 0..=REDIRECTS_MAX {
        let request = Request::get("/")
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, ACCEPT)
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Full::default())
            .expect("all headers are plain text");
        let answer = http::send(&at.url, None, request).await?;
        match answer.status() {
            StatusCode::OK => return take(answer, address, &at).await,
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => at = at.moved(answer.headers().get(header::LOCATION))?,
            other => return Err(FetchCause::Status(other)),
        }
    }
    Err(FetchCause::Redirects)
}

/// Takes the page out of an answer, unless its head says that it would not be read.
async fn take(answer: Response<Incoming>, asked: &Address, at: &Address) -> Result<Fetched, FetchCause> {
    // Stores of files give them by numbers: then the name is in the URL that led there.
    let names = [at.file_name(), asked.file_name()];
    let name = names.into_iter().find(|name| reading::is_named_as_text(name)).unwrap_or(names[0]);
    let kind = kind(word(answer.headers(), header::CONTENT_TYPE), name)?;
    match word(answer.headers(), header::CONTENT_ENCODING) {
        // Whoever reads inflates gzip.
        None => {}
        Some(encoding) if matches!(&*encoding, "identity" | "gzip" | "x-gzip") => {}
        Some(other) => return Err(FetchCause::Encoding(other)),
    }
    if answer.body().size_hint().lower() > BODY_MAX as u64 {
        return Err(FetchCause::TooLarge);
    }
    let name = name.to_owned();
    Ok(Fetched { body: http::body(answer, BODY_MAX).await?, kind, name, place: at.place() })
}

/// What a content type says that a body is; `None`: it is text or gzip of something, or the type is not said.
fn kind(content_type: Option<String>, name: &str) -> Result<Option<Kind>, FetchCause> {
    let Some(content_type) = content_type else { return Ok(None) };
    Ok(match &*content_type {
        "text/html" | "application/xhtml+xml" => Some(Kind::Html),
        "text/markdown" | "text/x-markdown" => Some(Kind::Markdown),
        "application/pdf" | "application/x-pdf" => Some(Kind::Pdf),
        "application/json" | "application/xml" => Some(Kind::Code),
        "application/gzip" | "application/x-gzip" => None,
        text if text.starts_with("text/") => None,
        _ if reading::is_named_as_text(name) => None,
        _ => return Err(FetchCause::Type(content_type)),
    })
}

/// The first word of a header, in lower case and without its parameters; `None` when it is not there or empty.
fn word(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).to_ascii_lowercase();
    let word: String = value.split([';', ',']).next()?.trim().chars().take(TYPE_MAX).collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_is_of_the_web_has_no_userinfo_and_is_shown_without_its_query() {
        let one = address("https://example.org/a?key=secret#part");
        assert_eq!((one.as_str(), &*one.to_string()), ("https://example.org/a?key=secret", "https://example.org/a"));
        assert_eq!(format!("{one:?}"), "https://example.org/a");
        assert_eq!(address("http://example.org/@ann/b.md").file_name(), "b.md");
        assert_eq!(address("http://example.org/a/b/").place(), "example.org/a/b");
        for (text, why) in [
            ("ftp://example.org/", BadAddress::Scheme),
            ("file:///etc/passwd", BadAddress::Scheme),
            ("https://ann@example.org/", BadAddress::Userinfo),
            ("https://ann:secret@example.org/", BadAddress::Userinfo),
            ("https://:secret@example.org/", BadAddress::Userinfo),
            ("http://", BadAddress::NotAUrl(url::ParseError::EmptyHost)),
        ] {
            let refused = text.parse::<Address>().expect_err(text);
            assert_eq!(refused, why, "{text}");
            assert!(!refused.to_string().contains("example"), "{refused}");
        }
    }

    #[test]
    fn a_redirect_leads_to_tls_and_never_from_it() {
        let moved = |from: &str, to: &'static str| address(from).moved(Some(&HeaderValue::from_static(to)));
        let to = |from, to| moved(from, to).expect("followed").as_str().to_owned();
        assert_eq!(to("http://a.example/x/y", "z?q"), "http://a.example/x/z?q");
        assert_eq!(to("http://a.example/x", "https://b.example/"), "https://b.example/");
        assert_eq!(to("https://a.example/x", "//b.example/y"), "https://b.example/y");
        assert!(matches!(moved("https://a.example/", "http://a.example/"), Err(FetchCause::Insecure)));
        let refused = |to| matches!(moved("http://a.example/", to), Err(FetchCause::BadRedirect(_)));
        assert!(refused("file:///etc/passwd") && refused("http://ann:secret@a.example/") && refused("http://"));
        assert!(matches!(address("http://a.example/").moved(None), Err(FetchCause::Nowhere)));
    }

    #[test]
    fn the_type_tells_how_a_page_is_read_then_its_name_and_what_neither_knows_is_refused_by_its_type() {
        let kind = |told: &str, name: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, told.parse().expect("a value"));
            kind(word(&headers, header::CONTENT_TYPE), name)
        };
        let is = |told: &str, name: &str, wanted: Option<Kind>| matches!(kind(told, name), Ok(kind) if kind == wanted);
        assert!(is("Text/HTML; charset=utf-8", "a.md", Some(Kind::Html)));
        assert!(is("text/markdown", "", Some(Kind::Markdown)));
        assert!(is("application/pdf", "1234", Some(Kind::Pdf)));
        assert!(is("text/plain;charset=utf-8", "a", None) && is("application/gzip", "a", None) && is("", "a", None));
        for name in ["a.md", "A.PDF", "a.txt.gz", "main.rs", "tar.1", "Makefile"] {
            assert!(is("application/octet-stream", name, None), "{name}");
        }
        for (told, name) in [("image/png; x=y", "a"), ("application/zip", "a.zip"), ("video/mp4", "")] {
            let refused = kind(told, name).expect_err(told).to_string();
            assert!(refused.contains(told.split(';').next().expect("a type")), "{refused}");
        }
    }
}
