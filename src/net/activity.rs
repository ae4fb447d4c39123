//! What a connection does: the requests under way on it, and since when there are none.

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::Notify;
use tokio::time::Instant;

/// The activity of one connection.
pub struct Activity {
    state: Mutex<State>,
    close: Notify,
    /// Told when the connection becomes idle.
    changed: Arc<Notify>,
}

struct State {
    requests: usize,
    served: bool,
    since: Instant,
    closing: bool,
}

/// The time without a request.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// When the last request ended; without any, when the connection was accepted.
    pub since: Instant,
    /// Whether there was a request.
    pub served: bool,
}

impl Activity {
    /// A connection that was accepted now. `changed` is told when it becomes idle.
    pub fn new(changed: Arc<Notify>) -> Self {
        let state = State { requests: 0, served: false, since: Instant::now(), closing: false };
        Self { state: Mutex::new(state), close: Notify::new(), changed }
    }

    /// Since when no request is under way; `None` while there is one.
    pub fn idle_since(&self) -> Option<Idle> {
        let state = self.state.lock();
        (state.requests == 0).then_some(Idle { since: state.since, served: state.served })
    }

    /// Whether the connection was told to close.
    pub fn is_closing(&self) -> bool {
        self.state.lock().closing
    }

    /// Tells the connection to close; always true.
    pub fn close(&self) -> bool {
        self.state.lock().closing = true;
        self.close.notify_one();
        true
    }

    /// Resolves when the connection is told to close.
    pub async fn told_to_close(&self) {
        self.close.notified().await;
    }

    /// Begins a request, which lasts until what is returned is dropped.
    pub fn request(self: &Arc<Self>) -> RequestUnderWay {
        let mut state = self.state.lock();
        state.requests += 1;
        state.served = true;
        RequestUnderWay(self.clone())
    }
}

/// A request from its head to the end of its answer.
pub struct RequestUnderWay(Arc<Activity>);

impl Drop for RequestUnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.requests -= 1;
        if state.requests == 0 {
            state.since = Instant::now();
            drop(state);
            self.0.changed.notify_one();
        }
    }
}

/// The body of an answer, with the request that it ends.
pub struct AnswerBody<B> {
    body: B,
    _request: RequestUnderWay,
}

impl<B> AnswerBody<B> {
    /// `body`, the answer to `request`.
    pub fn new(body: B, request: RequestUnderWay) -> Self {
        Self { body, _request: request }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for AnswerBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
