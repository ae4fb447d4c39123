//! Ends a connection without cutting off its last answer.
//!
//! A request that is refused by its head, with 413 or 429, has a body that nobody reads. Closing a socket with unread bytes
//! resets it, and the reset can overtake the answer. So after the last answer the sending side is closed, and what still
//! comes is thrown away, for a while.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// A client that sends nothing for so long has read its answer or never will.
const LONGEST_SILENCE: Duration = Duration::from_secs(1);
/// The rest of a body is read for so long at most.
const LONGEST_CLOSING: Duration = Duration::from_secs(10);
/// So many bytes are thrown away at most: a whole body of the largest size, and some.
const MOST_DISCARDED: usize = 16 * 1024 * 1024;

/// A stream whose shutdown waits until the other side has sent what it was sending.
pub struct Lingering {
    stream: TcpStream,
    /// Since the sending side was closed.
    closing: Option<Closing>,
}

struct Closing {
    quiet: Pin<Box<Sleep>>,
    until: Instant,
    left: usize,
}

impl Lingering {
    /// `stream`, which must not be shut down yet.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, closing: None }
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let closing = match &mut this.closing {
            Some(closing) => closing,
            None => {
                ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
                this.closing.insert(Closing {
                    quiet: Box::pin(tokio::time::sleep(LONGEST_SILENCE)),
                    until: Instant::now() + LONGEST_CLOSING,
                    left: MOST_DISCARDED,
                })
            }
        };
        let mut scratch = [0; 16 * 1024];
        while closing.left > 0 && closing.quiet.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut this.stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {
                    closing.left = closing.left.saturating_sub(buf.filled().len());
                    let next = (Instant::now() + LONGEST_SILENCE).min(closing.until);
                    closing.quiet.as_mut().reset(next);
                }
                // The end, or a reset: it has left.
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
