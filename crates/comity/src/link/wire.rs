//! One TCP connection as the rest of the link code uses it: reads far ahead while data pours in
//! and holds no buffer while none does, and gives its seat back when it is gone.
//! It knows nothing of what it carries.

use bytes::{Buf, BytesMut};
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How much is read at once while data pours in. TLS asks for 4 KiB at a time, which would be a
/// system call for every twenty messages.
const AHEAD: usize = 64 * 1024;

/// How long a connection may leave written bytes unacknowledged before the kernel breaks it: cuts
/// clients that stopped reading and cables that were cut.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(30);

/// After how long a silence, and how often from then on, the kernel asks whether anybody is there.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(15);

/// A TCP connection.
pub(crate) struct Wire {
    tcp: TcpStream,
    ahead: BytesMut,
    pouring: bool,
    _seat: Option<super::listen::Seat>,
}

impl Wire {
    /// Takes over a connection that this node opened.
    pub(crate) fn dialed(tcp: TcpStream) -> Self {
        Self::new(tcp, None)
    }

    /// Takes over a connection that was accepted, and its seat.
    pub(crate) fn accepted(tcp: TcpStream, seat: super::listen::Seat) -> Self {
        Self::new(tcp, Some(seat))
    }

    fn new(tcp: TcpStream, seat: Option<super::listen::Seat>) -> Self {
        let socket = socket2::SockRef::from(&tcp);
        let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_EVERY).with_interval(KEEPALIVE_EVERY);
        // A connection that refuses an option is already broken, and says so at the first read.
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_keepalive(&keepalive);
        #[cfg(target_os = "linux")]
        let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX));
        Self { tcp, ahead: BytesMut::new(), pouring: false, _seat: seat }
    }

    /// Waits for the first byte without taking it; `None` when the other side hung up.
    pub(crate) async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        let count = self.tcp.peek(&mut first).await?;
        Ok((count > 0).then_some(first[0]))
    }

    fn take_ahead(&mut self, out: &mut ReadBuf<'_>) {
        let count = out.remaining().min(self.ahead.len());
        out.put_slice(&self.ahead[..count]);
        self.ahead.advance(count);
        if self.ahead.is_empty() && !self.pouring {
            self.ahead = BytesMut::new();
        }
    }

    /// Fills the buffer ahead; gives its memory back when there is nothing to read.
    fn poll_ahead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.ahead.reserve(AHEAD);
        loop {
            match self.tcp.poll_read_ready(cx) {
                Poll::Ready(ready) => ready?,
                Poll::Pending => {
                    self.ahead = BytesMut::new();
                    self.pouring = false;
                    return Poll::Pending;
                }
            }
            match self.tcp.try_read_buf(&mut self.ahead) {
                Err(busy) if busy.kind() == io::ErrorKind::WouldBlock => {}
                outcome => return Poll::Ready(outcome),
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let wanted = out.remaining();
        if this.ahead.is_empty() && this.pouring && wanted < AHEAD {
            let count = ready!(this.poll_ahead(cx))?;
            this.pouring = count > wanted;
        }
        if this.ahead.is_empty() {
            let before = out.filled().len();
            ready!(Pin::new(&mut this.tcp).poll_read(cx, out))?;
            this.pouring = out.filled().len() - before == wanted;
        } else {
            this.take_ahead(out);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
