//! The stream of a request's events, and its cancellation.

use super::{
    request::{Event, TokenLogprobs, Usage},
    scheduler::Inbox,
};
use crate::{
    error::{Error, Result},
    session::StopHandle,
};
use futures_core::Stream;
use std::{
    pin::Pin,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// Events that may wait for a slow reader before the generation waits for it.
const BUFFERED: usize = 32;

/// Cancels a request from anywhere. Cheap to clone; does nothing once the request has ended.
#[derive(Debug, Clone, Default)]
pub struct CancelHandle(Arc<Cancel>);

#[derive(Debug, Default)]
struct Cancel {
    cancelled: AtomicBool,
    /// The deadline, where it was that which cancelled the request.
    expired: OnceLock<Duration>,
    /// The request has ended: nothing cancels it any more.
    over: AtomicBool,
    /// Who works on it, once somebody does.
    worker: Mutex<Option<Worker>>,
    /// The error that the request ended with, where the reader has no room for it.
    last_word: Mutex<Option<Error>>,
    /// The work waits until the reader has read.
    waits_for_reader: AtomicBool,
    changed: Notify,
}

/// Who has to know of a cancellation.
#[derive(Debug)]
enum Worker {
    Session(StopHandle),
    Scheduler(Arc<Inbox>),
}

impl CancelHandle {
    /// Cancels the request: while it waits, at once; while it computes, within one ubatch. Its stream ends with
    /// [`Error::Cancelled`].
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        match self.lock().as_ref() {
            Some(Worker::Session(session)) => session.stop(),
            Some(Worker::Scheduler(inbox)) => inbox.cancelled(),
            None => {}
        }
        self.0.changed.notify_waiters();
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Cancels the request because its deadline passed.
    pub(super) fn expire(&self, after: Duration) {
        if !self.is_cancelled() && !self.is_over() && self.0.expired.set(after).is_ok() {
            self.cancel();
        }
    }

    /// What a request that was cancelled ends with.
    pub(super) fn reason(&self) -> Error {
        match self.0.expired.get() {
            Some(after) => Error::DeadlineExceeded { after: *after },
            None => Error::Cancelled,
        }
    }

    /// What a request ended with whose sender has left.
    fn last_word(&self) -> Error {
        let error = self.0.last_word.lock().unwrap_or_else(PoisonError::into_inner).take();
        match error {
            Some(error) => error,
            None if self.is_cancelled() => self.reason(),
            // its runtime has ended
            None => Error::ShutDown,
        }
    }

    /// The request has ended.
    pub(super) fn finished(&self) {
        self.0.over.store(true, Ordering::SeqCst);
    }

    /// Whether the request has ended.
    pub(super) fn is_over(&self) -> bool {
        self.0.over.load(Ordering::SeqCst)
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Stops this session too, from now on until [`CancelHandle::detach`].
    pub(super) fn attach(&self, session: StopHandle) {
        let mut slot = self.lock();
        if self.is_cancelled() {
            session.stop();
        }
        *slot = Some(Worker::Session(session));
    }

    /// Tells this scheduler from now on.
    pub(super) fn attach_scheduler(&self, inbox: &Arc<Inbox>) {
        *self.lock() = Some(Worker::Scheduler(Arc::clone(inbox)));
    }

    /// The reader has taken an event: whoever waits for that goes on.
    fn has_read(&self) {
        if self.0.waits_for_reader.swap(false, Ordering::SeqCst)
            && let Some(Worker::Scheduler(inbox)) = self.lock().as_ref()
        {
            inbox.wake();
        }
    }

    /// The session has left the request: a later cancel must not stop what it does next.
    pub(super) fn detach(&self) {
        *self.lock() = None;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Worker>> {
        self.0.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Completes when the request is cancelled.
    pub(crate) async fn cancelled(&self) {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.is_cancelled() {
                return;
            }
            changed.await;
        }
    }
}

/// Where a request puts its events: bounded, and closed by cancellation.
#[derive(Debug)]
pub(super) struct Sink {
    sender: mpsc::Sender<Result<Event>>,
    cancel: CancelHandle,
}

impl Sink {
    /// Hands on an event, waiting for a slow reader. False when nobody wants more. Blocks: call it off the runtime.
    pub(super) fn send(&self, event: Result<Event>) -> bool {
        if self.cancel.is_cancelled() {
            return false;
        }
        match self.sender.try_send(event) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(event)) => pollster::block_on(async {
                tokio::select! {
                    sent = self.sender.send(event) => sent.is_ok(),
                    () = self.cancel.cancelled() => false,
                }
            }),
        }
    }

    /// Hands on an event if there is room for it. Where there is none, the scheduler is woken once the reader has read.
    pub(super) fn offer(&self, event: Event) -> Offer {
        if self.cancel.is_cancelled() {
            return Offer::Gone;
        }
        let mut event = Ok(event);
        for told in [false, true] {
            match self.sender.try_send(event) {
                Ok(()) => return Offer::Taken,
                Err(mpsc::error::TrySendError::Closed(_)) => return Offer::Gone,
                Err(mpsc::error::TrySendError::Full(back)) => event = back,
            }
            if !told {
                // then look once more: the reader may have read in between, and told nobody
                self.cancel.0.waits_for_reader.store(true, Ordering::SeqCst);
            }
        }
        match event {
            Ok(event) => Offer::Full(event),
            Err(_) => unreachable!("an event was offered"),
        }
    }

    /// The last word. A reader that does not read cannot hold up the end: it finds the error when it comes to it.
    pub(super) fn fail(&self, error: Error) {
        if let Err(mpsc::error::TrySendError::Full(Err(error))) = self.sender.try_send(Err(error)) {
            *self.cancel.0.last_word.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    pub(super) fn cancel_handle(&self) -> &CancelHandle {
        &self.cancel
    }
}

/// What came of an offered event.
#[derive(Debug)]
pub(super) enum Offer {
    Taken,
    Full(Event),
    Gone,
}

/// The events of a request, as a [`Stream`]. Dropping it cancels the request.
#[derive(Debug)]
#[must_use = "a stream that is dropped cancels its request"]
pub struct EventStream {
    receiver: mpsc::Receiver<Result<Event>>,
    cancel: CancelHandle,
    ended: bool,
}

impl EventStream {
    pub(super) fn new() -> (Self, Sink) {
        let (sender, receiver) = mpsc::channel(BUFFERED);
        let cancel = CancelHandle::default();
        let sink = Sink { sender, cancel: cancel.clone() };
        (Self { receiver, cancel, ended: false }, sink)
    }

    /// The next event; `None` after the end.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        std::future::poll_fn(|context| Pin::new(&mut *self).poll_next(context)).await
    }

    /// A handle that cancels the request while the stream is elsewhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        self.cancel.clone()
    }

    /// Reads the stream to its end.
    ///
    /// # Errors
    /// The request's error; what was generated until then is lost.
    pub async fn collect(mut self) -> Result<Completion> {
        let mut events = vec![];
        while let Some(event) = self.next().await {
            events.push(event);
        }
        collect(events)
    }
}

impl Stream for EventStream {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let event = match std::task::ready!(self.receiver.poll_recv(context)) {
            Some(event) => event,
            None => Err(self.cancel.last_word()),
        };
        self.cancel.has_read();
        self.ended = matches!(event, Ok(Event::Done(_)) | Err(_));
        Poll::Ready(Some(event))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        self.cancel.cancel();
    }
}

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// The text.
    pub text: String,
    /// The log-probabilities of its tokens, where they were asked for.
    pub logprobs: Vec<TokenLogprobs>,
    /// What it took.
    pub usage: Usage,
}

/// Puts a request's events together.
pub(crate) fn collect(events: impl IntoIterator<Item = Result<Event>>) -> Result<Completion> {
    let (mut text, mut logprobs) = (String::new(), vec![]);
    for event in events {
        match event? {
            Event::Text(part) => text.push_str(&part),
            Event::Token(token) => logprobs.push(token),
            Event::Done(usage) => return Ok(Completion { text, logprobs, usage }),
            Event::Prefill { .. } => {}
        }
    }
    Err(Error::ShutDown)
}
