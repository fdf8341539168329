//! Tools of MCP servers: one that the node runs and speaks with over its standard streams, or one that runs elsewhere
//! and speaks streamable HTTP. Here is one session with a server, from its beginning to its end; what begins another is
//! `supervisor.rs`.

use super::answer::CallError;
use super::child::{Program, last_words};
use super::streamable::Client;
use crate::config::{Around, Endpoint};
use crate::door::shown;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientCapabilities, ClientConfig, ClientRequest, Implementation,
    PingRequest, ProgressNotificationParam, ProgressToken, ServerResult, Tool,
};
use rmcp::service::{
    NotificationContext, Peer, PeerRequestOptions, RequestHandle, RunningService, RunningServiceCancellationToken,
    ServiceError, ServiceExt,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ClientHandler, RoleClient};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

/// How long a server may take to begin: some are fetched first.
const BEGIN_TIME: Duration = Duration::from_secs(60);

/// How long it may take to list its tools, or to say that it is there.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long a session may take to be closed, and a program's last words to be read.
const CLOSE_TIME: Duration = Duration::from_millis(500);

/// How long after its standard output a program may have ended for that to be why.
const EXIT_TIME: Duration = Duration::from_millis(250);

/// Most tools of one server. An assistant is shown every one of them.
const TOOLS_MAX: usize = 512;

/// Most pages of its list.
const PAGES_MAX: usize = 64;

/// Room for what stands around a result in its message, and for a list of tools, bytes.
const ENVELOPE: usize = 1024 * 1024;

/// Most that a server may say in [`WINDOW`], bytes. Messages without end keep one processor busy for nothing.
const FLOOD_MAX: usize = 64 * 1024 * 1024;

/// The time in which [`FLOOD_MAX`] is counted.
const WINDOW: Duration = Duration::from_secs(60);

/// Longest message of progress, characters.
const PROGRESS_MAX: usize = 1000;

/// A session with a server. Cloning shares it.
#[derive(Debug, Clone)]
pub(super) struct Session {
    peer: Peer<RoleClient>,
    watching: Watching,
    /// Told when a call had no answer: the server may hang.
    pub(super) suspected: Arc<Notify>,
    cut: Arc<AtomicBool>,
}

/// Who is told of the progress of which call. A lock and not a message: it is held for one look into the map, and the
/// end of a call must have taken its entry out.
type Watching = Arc<Mutex<HashMap<ProgressToken, mpsc::Sender<Value>>>>;

/// What the node is to a server: it takes notifications, and offers nothing.
#[derive(Debug, Clone)]
struct Listener {
    watching: Watching,
    changed: Arc<Notify>,
}

/// A session, and what ends with it.
pub(super) struct Running {
    pub(super) session: Session,
    /// Told when the list of tools has changed.
    pub(super) changed: Arc<Notify>,
    /// Closes it.
    close: RunningServiceCancellationToken,
    /// Cancelled when it is closed, by whichever side.
    closed: CancellationToken,
    program: Option<(Program, JoinHandle<String>)>,
}

impl Running {
    /// Starts a server and begins a session with it.
    pub(super) async fn start_process(
        server: &str,
        (command, around): (&[String], &Around),
        output_max: usize,
    ) -> Result<Self, String> {
        let mut program = Program::start(command, around, None)
            .map_err(|failure| format!("the program cannot be started: {failure}"))?;
        let child = &mut program.child;
        let (Some(input), Some(output), Some(errors)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("the program has no standard streams".to_owned());
        };
        let words = tokio::spawn(last_words(server.to_owned(), errors));
        let cut = Arc::new(AtomicBool::new(false));
        let line_max = output_max.saturating_add(ENVELOPE);
        let bounded = Bounded::new(output, line_max, cut.clone());
        // Longer lines do not come so far.
        let transport = AsyncRwTransport::new_client(bounded, input).with_max_line_length(2 * line_max);
        let listener = Listener::new();
        match timeout(BEGIN_TIME, listener.clone().serve(transport)).await {
            Ok(Ok(running)) => Ok(Self::of(running, listener, cut, Some((program, words)))),
            Ok(Err(refused)) => {
                let status = timeout(ANSWER_TIME, program.child.wait()).await;
                drop(program);
                let words = read(words).await;
                let ended = match status {
                    Ok(Ok(status)) => format!("the program ended ({status})"),
                    _ => "the program does not begin as MCP wants".to_owned(),
                };
                Err(if words.is_empty() { format!("{ended}: {refused}") } else { format!("{ended}: {words}") })
            }
            Err(_) => Err(format!("the program did not begin within {} s", BEGIN_TIME.as_secs())),
        }
    }

    /// Begins a session with a server that runs elsewhere.
    pub(super) async fn connect(endpoint: &Arc<Endpoint>, output_max: usize) -> Result<Self, String> {
        let cut = Arc::new(AtomicBool::new(false));
        let most = output_max.saturating_add(ENVELOPE);
        let client = Client::new(endpoint.clone(), most, cut.clone());
        let mut config = StreamableHttpClientTransportConfig::with_uri(endpoint.url.as_str());
        config.max_sse_event_size = most;
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let listener = Listener::new();
        match timeout(BEGIN_TIME, listener.clone().serve(transport)).await {
            Ok(Ok(running)) => Ok(Self::of(running, listener, cut, None)),
            Ok(Err(refused)) => Err(shown::text(&refused.to_string(), PROGRESS_MAX)),
            Err(_) => Err(format!("the server did not answer within {} s", BEGIN_TIME.as_secs())),
        }
    }

    fn of(
        running: RunningService<RoleClient, Listener>,
        listener: Listener,
        cut: Arc<AtomicBool>,
        program: Option<(Program, JoinHandle<String>)>,
    ) -> Self {
        let peer = running.peer().clone();
        let session = Session { peer, watching: listener.watching, suspected: Arc::new(Notify::new()), cut };
        let (close, closed) = (running.cancellation_token(), CancellationToken::new());
        let guard = closed.clone().drop_guard();
        tokio::spawn(async move {
            // Err: it panicked, which ends the session too.
            let _ = running.waiting().await;
            drop(guard);
        });
        Self { session, changed: listener.changed, close, closed, program }
    }

    /// Waits until the session has ended by itself, and says why.
    pub(super) async fn ended(&mut self) -> String {
        match &mut self.program {
            None => {
                self.closed.cancelled().await;
                "the server closed the connection".to_owned()
            }
            Some((program, _)) => {
                let ended = tokio::select! {
                    ended = program.child.wait() => Some(ended),
                    () = self.closed.cancelled() => match self.session.cut_off() {
                        Some(why) => return why.to_owned(),
                        // A program that ends closes it a moment before.
                        None => timeout(EXIT_TIME, program.child.wait()).await.ok(),
                    },
                };
                match ended {
                    Some(Ok(status)) => format!("the program ended ({status})"),
                    Some(Err(failure)) => format!("the program ended ({failure})"),
                    None => "the program closed its standard output".to_owned(),
                }
            }
        }
    }

    /// Ends the session, and the program with its group; gives the program's last words.
    pub(super) async fn end(self) -> String {
        // The program's input is closed by this. Err: it takes longer, and is ended nevertheless.
        self.close.cancel();
        let _ = timeout(CLOSE_TIME, self.closed.cancelled()).await;
        let Some((program, words)) = self.program else { return String::new() };
        program.end().await;
        read(words).await
    }
}

/// A program's last words. Something that it started, and that left its group, may hold standard error for ever.
async fn read(words: JoinHandle<String>) -> String {
    let reading = words.abort_handle();
    let read = timeout(CLOSE_TIME, words).await.ok().and_then(Result::ok);
    reading.abort();
    read.unwrap_or_default()
}

impl Session {
    /// All tools that the server has now.
    pub(super) async fn list(&self) -> Result<Vec<Tool>, String> {
        let listing = async {
            let (mut tools, mut cursor) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let params = rmcp::model::PaginatedRequestParams::default().with_cursor(cursor);
                let page = self.peer.list_tools(Some(params)).await.map_err(|error| error.to_string())?;
                tools.extend(page.tools);
                if tools.len() > TOOLS_MAX {
                    return Err(format!("it has more than {TOOLS_MAX} tools"));
                }
                cursor = page.next_cursor;
                if cursor.is_none() {
                    return Ok(tools);
                }
            }
            Err(format!("its list has more than {PAGES_MAX} pages"))
        };
        let listed = timeout(ANSWER_TIME, listing).await;
        let listed = listed.unwrap_or_else(|_| Err("it does not say which tools it has".to_owned()));
        listed.map_err(|why| self.cut_off().map_or(why, str::to_owned))
    }

    /// Whether the server is there.
    pub(super) async fn ping(&self) -> bool {
        let ping = self.peer.send_request(ClientRequest::PingRequest(PingRequest::default()));
        // A server that knows no ping is there, too.
        matches!(timeout(ANSWER_TIME, ping).await, Ok(Ok(_) | Err(ServiceError::McpError(_))))
    }

    /// Calls a tool.
    pub(super) async fn call(
        &self,
        (tool, params): (&str, &Value),
        progress: Option<mpsc::Sender<Value>>,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<Value, CallError> {
        let arguments = params.as_object().cloned().unwrap_or_default();
        let request = CallToolRequest::new(CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments));
        let sending = self
            .peer
            .send_cancellable_request(ClientRequest::CallToolRequest(request), PeerRequestOptions::no_options());
        let handle = match timeout_at(deadline, sending).await {
            Ok(Ok(handle)) => handle,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => {
                self.suspected.notify_one();
                return Err(CallError::new("timeout", "the server takes no calls"));
            }
        };
        let _watched = progress.map(|to| Watched::new(&self.watching, handle.progress_token.clone(), to));
        self.answer(handle, deadline, cancel).await
    }

    async fn answer(
        &self,
        mut handle: RequestHandle<RoleClient>,
        deadline: Instant,
        cancel: &CancellationToken,
    ) -> Result<Value, CallError> {
        let answered = tokio::select! {
            answered = timeout_at(deadline, &mut handle.rx) => answered,
            () = cancel.cancelled() => {
                self.give_up(handle, "cancelled").await;
                return Err(CallError::cancelled());
            }
        };
        match answered {
            Ok(Ok(Ok(ServerResult::CallToolResult(result)))) => {
                let is_error = result.is_error.unwrap_or_default();
                let mut value = json!({"content": result.content});
                if let Some(structured) = result.structured_content {
                    value["structuredContent"] = structured;
                }
                if !is_error {
                    return Ok(value);
                }
                let text = value["content"].as_array().into_iter().flatten().find_map(|part| part["text"].as_str());
                let sentence = text.unwrap_or("the tool says that it failed").to_owned();
                Err(CallError { data: Some(value), ..CallError::new("tool_error", sentence) })
            }
            Ok(Ok(Ok(_))) => Err(CallError::new("bad_result", "the server's answer is no result of a tool")),
            Ok(Ok(Err(error))) => Err(self.failed(error)),
            Ok(Err(_)) => Err(self.failed(ServiceError::TransportClosed)),
            Err(_) => {
                self.give_up(handle, "timeout").await;
                self.suspected.notify_one();
                Err(CallError::new("timeout", "the tool did not answer in time"))
            }
        }
    }

    /// Tells the server that nobody waits any more; it may not listen.
    async fn give_up(&self, handle: RequestHandle<RoleClient>, why: &str) {
        const TELL_TIME: Duration = Duration::from_secs(1);
        // Err: it is not told, and its answer will be dropped.
        let _ = timeout(TELL_TIME, handle.cancel(Some(why.to_owned()))).await;
    }

    fn failed(&self, error: ServiceError) -> CallError {
        if let Some(why) = self.cut_off() {
            return CallError::new("too_large", why);
        }
        match error {
            ServiceError::McpError(error) => {
                let data = json!({"code": error.code.0, "data": error.data});
                CallError { data: Some(data), ..CallError::new("tool_error", &*error.message) }
            }
            ServiceError::TransportClosed => CallError::new("server_failed", "the server ended before it answered"),
            other => {
                self.suspected.notify_one();
                CallError::new("server_failed", other.to_string())
            }
        }
    }

    fn cut_off(&self) -> Option<&'static str> {
        self.cut.load(Ordering::Relaxed).then_some("the server said more than there is room for, and was cut off")
    }
}

/// While it is held, progress is told.
struct Watched {
    watching: Watching,
    token: ProgressToken,
}

impl Watched {
    fn new(watching: &Watching, token: ProgressToken, to: mpsc::Sender<Value>) -> Self {
        lock(watching).insert(token.clone(), to);
        Self { watching: watching.clone(), token }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        lock(&self.watching).remove(&self.token);
    }
}

fn lock(watching: &Watching) -> std::sync::MutexGuard<'_, HashMap<ProgressToken, mpsc::Sender<Value>>> {
    watching.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Listener {
    fn new() -> Self {
        Self { watching: Watching::default(), changed: Arc::new(Notify::new()) }
    }
}

impl ClientHandler for Listener {
    fn get_info(&self) -> ClientConfig {
        ClientConfig::new(ClientCapabilities::default(), Implementation::new("comity", env!("CARGO_PKG_VERSION")))
    }

    async fn on_progress(&self, said: ProgressNotificationParam, _context: NotificationContext<RoleClient>) {
        let Some(to) = lock(&self.watching).get(&said.progress_token).cloned() else { return };
        let message = said.message.map(|message| shown::text(&message, PROGRESS_MAX));
        // Err: nobody reads as fast as it comes, and what is next says more.
        let _ = to.try_send(json!({"progress": said.progress, "total": said.total, "message": message}));
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

/// A server's output, which breaks off where a line is too long or too much comes at once.
struct Bounded<R> {
    inner: R,
    line_max: usize,
    line: usize,
    in_window: usize,
    window: Instant,
    cut: Arc<AtomicBool>,
}

impl<R> Bounded<R> {
    fn new(inner: R, line_max: usize, cut: Arc<AtomicBool>) -> Self {
        Self { inner, line_max, line: 0, in_window: 0, window: Instant::now(), cut }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Bounded<R> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, into))?;
        let read = &into.filled()[before..];
        if self.window.elapsed() > WINDOW {
            (self.window, self.in_window) = (Instant::now(), 0);
        }
        self.in_window += read.len();
        self.line = match read.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => read.len() - end - 1,
            None => self.line + read.len(),
        };
        if self.line > self.line_max || self.in_window > FLOOD_MAX {
            self.cut.store(true, Ordering::Relaxed);
            return Poll::Ready(Err(io::Error::other("the server says more than there is room for")));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_that_leaves_something_behind_keeps_nobody_waiting() {
        let script = "setsid sleep 60 </dev/null >/dev/null & exit 3";
        let argv = ["sh", "-c", script].map(str::to_owned);
        let around = Around::default();
        let starting = timeout(BEGIN_TIME / 2, Running::start_process("left", (&argv, &around), 1000));
        let why = starting.await.expect("it is not waited for").err().expect("it speaks no MCP");
        assert!(why.contains("exit status: 3"), "{why}");
    }
}
