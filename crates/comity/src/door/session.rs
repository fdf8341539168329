//! Who may come in by the control door's port on loopback: whoever shows the node's token (a file
//! that only its user can read), or a browser that exchanged a one-time code for a cookie. Neither
//! ever stands in a URL. See "Doors" in `protocols/identity.md`.

use super::control::{self, Denied};
use crate::home::write_atomically;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use axum::http::{Response, StatusCode};
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::routing::post;
use axum::{Json, Router};
use comity_core::id::encode_base64;
use comity_core::wire::control::{Done, Redeem, path};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a one-time code is good: enough to switch to a browser and paste it.
const CODE_LIFETIME: Duration = Duration::from_secs(120);

/// How long a browser's session lasts.
const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// Most codes and most sessions at once; the oldest goes when one more comes.
const KEPT_MAX: usize = 32;

/// The name of the session cookie, before the port: browsers keep one set of cookies for all ports
/// of an address, and there may be several nodes.
const COOKIE_NAME: &str = "comity_session_";

/// Bytes of randomness in a token, a code or a cookie: nobody guesses 192 bits.
const SECRET_BYTES: usize = 24;

/// The largest token file that is read, bytes.
const TOKEN_FILE_MAX: u64 = 1024;

/// The token, the codes and the sessions of a running node.
#[derive(Debug)]
pub(crate) struct Sessions {
    token: String,
    cookie_name: String,
    /// A lock and not a message: it is held for a look into two short lists, never while waiting.
    given: Mutex<Given>,
}

#[derive(Debug, Default)]
struct Given {
    codes: Vec<Secret>,
    cookies: Vec<Secret>,
}

#[derive(Debug)]
struct Secret {
    text: String,
    until: Instant,
}

impl Sessions {
    /// Sessions of a node with this token and this port.
    pub(crate) fn new(token: String, port: u16) -> Self {
        Self { token, cookie_name: format!("{COOKIE_NAME}{port}"), given: Mutex::default() }
    }

    /// A code that opens one session, and how long it is good.
    pub(crate) fn one_time_code(&self) -> (String, Duration) {
        (add(&mut self.given().codes, CODE_LIFETIME), CODE_LIFETIME)
    }

    /// A session for a code, which is thereby used up.
    fn redeem(&self, code: &str) -> Option<String> {
        let mut given = self.given();
        let place = find(&given.codes, code)?;
        given.codes.remove(place);
        Some(add(&mut given.cookies, SESSION_LIFETIME))
    }

    /// Whether this request shows the token or a session.
    fn admits(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
        });
        if let Some(bearer) = bearer {
            return same(bearer, &self.token);
        }
        let cookies = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
        let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == self.cookie_name && find(&self.given().cookies, value).is_some())
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn add(kept: &mut Vec<Secret>, lifetime: Duration) -> String {
    let now = Instant::now();
    kept.retain(|secret| secret.until > now);
    if kept.len() >= KEPT_MAX {
        kept.remove(0);
    }
    let text = secret();
    kept.push(Secret { text: text.clone(), until: now + lifetime });
    text
}

fn find(kept: &[Secret], text: &str) -> Option<usize> {
    let now = Instant::now();
    kept.iter().position(|secret| secret.until > now && same(&secret.text, text))
}

/// Compares in a time that does not tell how much is right.
fn same(one: &str, other: &str) -> bool {
    let differing = one.bytes().zip(other.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
    one.len() == other.len() && differing == 0
}

fn secret() -> String {
    encode_base64(&rand::random::<[u8; SECRET_BYTES]>())
}

/// The token in this file; a new one is made when there is none. A file that others can read is an
/// error: whoever read it can drive the node.
pub(crate) fn token(file: &Path) -> io::Result<String> {
    match OpenOptions::new().read(true).open(file) {
        Err(missing) if missing.kind() == ErrorKind::NotFound => {
            let token = secret();
            // Whole or not at all: of a part, as a full disk leaves it, no node would start again.
            write_atomically(file, token.as_bytes())?;
            Ok(token)
        }
        Err(failure) => Err(failure),
        Ok(opened) if opened.metadata()?.mode() & 0o077 != 0 => {
            let advice = format!("others can read it: remove {} and start the node again", file.display());
            Err(io::Error::new(ErrorKind::PermissionDenied, advice))
        }
        Ok(opened) => {
            let mut text = String::new();
            opened.take(TOKEN_FILE_MAX).read_to_string(&mut text)?;
            let token = text.trim();
            if token.len() < SECRET_BYTES {
                let advice = format!("it holds no token: remove {} and start the node again", file.display());
                return Err(io::Error::new(ErrorKind::InvalidData, advice));
            }
            Ok(token.to_owned())
        }
    }
}

/// Lets a request through that shows the token or a session.
pub(crate) async fn admit(State(sessions): State<Arc<Sessions>>, request: Request, next: Next) -> Response<Body> {
    if sessions.admits(request.headers()) {
        return next.run(request).await;
    }
    let sentence =
        "show the token (`Authorization: Bearer`, from control/token in the node's data directory) or a session";
    let mut response = Denied::new(StatusCode::UNAUTHORIZED, "forbidden", sentence).into_response();
    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"comity\""));
    response
}

/// The way to a session.
pub(crate) fn routes(sessions: Arc<Sessions>) -> Router {
    Router::new().route(path::SESSION, post(open_session)).with_state(sessions)
}

async fn open_session(
    State(sessions): State<Arc<Sessions>>,
    control::Body(redeem): control::Body<Redeem>,
) -> Result<Response<Body>, Denied> {
    let used = || {
        Denied::new(
            StatusCode::UNAUTHORIZED,
            "expired",
            "the code is used, too old, or wrong: `comity code` gives another",
        )
    };
    let cookie = sessions.redeem(&redeem.code).ok_or_else(used)?;
    let seconds = SESSION_LIFETIME.as_secs();
    let name = &sessions.cookie_name;
    let cookie = format!("{name}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={seconds}");
    let cookie = HeaderValue::try_from(cookie).expect("base64url and fixed text are visible ASCII");
    let mut response = Json(Done {}).into_response();
    response.headers_mut().insert(SET_COOKIE, cookie);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: axum::http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a header"))])
    }

    #[test]
    fn a_code_opens_one_session_and_no_more() {
        let sessions = Sessions::new(secret(), 8600);
        let (code, _) = sessions.one_time_code();
        let cookie = sessions.redeem(&code).expect("the first time");
        assert_eq!(sessions.redeem(&code), None);
        assert!(sessions.admits(&headers(COOKIE, &format!("other=1; {COOKIE_NAME}8600={cookie}"))));
        let others = format!("{COOKIE_NAME}8601=1; {COOKIE_NAME}8600={cookie}");
        assert!(sessions.admits(&headers(COOKIE, &others)), "another node's session stands beside it");
        assert!(!sessions.admits(&headers(COOKIE, &format!("{COOKIE_NAME}8600={code}"))));
        assert!(!sessions.admits(&HeaderMap::new()));
    }

    #[test]
    fn only_the_whole_token_is_admitted() {
        let sessions = Sessions::new("0123456789abcdef0123456789abcdef".to_owned(), 0);
        for (shown, admitted) in [
            ("Bearer 0123456789abcdef0123456789abcdef", true),
            ("bearer 0123456789abcdef0123456789abcdef", true),
            ("Bearer 0123456789abcdef0123456789abcde", false),
            ("Bearer ", false),
            ("Basic 0123456789abcdef0123456789abcdef", false),
        ] {
            assert_eq!(sessions.admits(&headers(AUTHORIZATION, shown)), admitted, "{shown}");
        }
    }

    #[test]
    fn codes_are_bounded_and_the_oldest_goes() {
        let sessions = Sessions::new(secret(), 0);
        let (first, _) = sessions.one_time_code();
        for _ in 0..KEPT_MAX {
            sessions.one_time_code();
        }
        assert_eq!(sessions.redeem(&first), None);
        assert_eq!(sessions.given().codes.len(), KEPT_MAX);
    }

    #[test]
    fn a_token_is_made_once_and_refused_when_others_can_read_it() {
        use std::os::unix::fs::PermissionsExt;
        let file = std::env::temp_dir().join(format!("comity-token-{}", std::process::id()));
        let _ = std::fs::remove_file(&file);
        let made = token(&file).expect("it is made");
        assert_eq!(token(&file).expect("it is read"), made);
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).expect("the mode is set");
        assert_eq!(token(&file).expect_err("others can read it").kind(), ErrorKind::PermissionDenied);
        std::fs::remove_file(&file).expect("it is removed");
    }
}
