//! The page that the control door serves on loopback: it joins as a peer of its own, by WebRTC. Here
//! are only its files, which say nothing of this node; what the page asks for wants a session. The
//! files are in `web/`, and are served as they are there.

use axum::Router;
use axum::extract::Path;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_FRAME_OPTIONS};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use comity_core::wire::control::path;

use super::control::Denied;

/// What the page may do: run its own scripts, use its own style, and talk to this door. Nobody may
/// frame it, and no text becomes script or markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// The page itself.
const INDEX: &str = include_str!("../../../../web/index.html");

/// Its other files: name, type, content.
const FILES: [(&str, &str, &str); 7] = [
    ("page.css", STYLE, include_str!("../../../../web/page.css")),
    ("page.js", SCRIPT, include_str!("../../../../web/page.js")),
    ("peer.js", SCRIPT, include_str!("../../../../web/peer.js")),
    ("identity.js", SCRIPT, include_str!("../../../../web/identity.js")),
    ("frames.js", SCRIPT, include_str!("../../../../web/frames.js")),
    ("fzstd.js", SCRIPT, include_str!("../../../../web/fzstd.js")),
    ("icon.svg", IMAGE, include_str!("../../../../web/icon.svg")),
];

/// The files, for anybody who reaches the port.
pub(crate) fn routes() -> Router {
    Router::new().route(path::PAGE, get(index)).route(path::PAGE_FILES, get(file))
}

async fn index() -> Response {
    answer(HTML, INDEX)
}

async fn file(Path(wanted): Path<String>) -> Result<Response, Denied> {
    let found = FILES.iter().find(|(name, _, _)| *name == wanted);
    found.map(|(_, kind, content)| answer(kind, content)).ok_or_else(Denied::nothing_here)
}

fn answer(kind: &'static str, content: &'static str) -> Response {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_FRAME_OPTIONS, "DENY"),
        // The next start may be another version.
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, content).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_only_files_that_are_served_and_runs_nothing_inline() {
        let named = |text: &'static str, before: &str| {
            let found = text.split(before).skip(1).filter_map(|rest| rest.split(['"', '\'']).next());
            found.filter(|name| !name.starts_with("http")).collect::<Vec<_>>()
        };
        let mut wanted = named(INDEX, "/page/");
        assert!(wanted.len() >= 3, "{wanted:?}");
        FILES.iter().for_each(|(_, _, content)| wanted.extend(named(content, " from './")));
        for name in wanted {
            assert!(FILES.iter().any(|(file, _, _)| *file == name), "{name}");
        }
        for inline in ["<script>", "<style", " style=", " onclick", " onload", "javascript:"] {
            assert!(!INDEX.contains(inline), "{inline}");
        }
        let dangerous = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"];
        for (file, _, content) in FILES {
            assert!(dangerous.iter().all(|word| !content.contains(word)), "{file}");
        }
    }
}
