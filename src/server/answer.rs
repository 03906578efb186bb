//! Answers: JSON, text, and streams of server-sent events.

use axum::{
    body::{Body, Bytes},
    http::{HeaderValue, Response, StatusCode, header},
};
use futures_core::Stream;
use http_body_util::StreamBody;
use hyper::body::Frame;
use serde::Serialize;
use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::sync::mpsc;

/// What a handler gives.
pub(super) type Answer = Response<Body>;

/// An answer with a body of this type.
pub(super) fn content(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Body::from(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

/// A value as JSON.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    let body = serde_json::to_vec(value).expect("plain data, with strings for keys");
    content(status, "application/json", body)
}

/// Where the events of a stream go in. Each waits until the client has taken the one before it.
#[derive(Debug, Clone)]
pub(super) struct Events(mpsc::Sender<Bytes>);

impl Events {
    /// `data: VALUE`. False where nobody reads any more.
    pub(super) async fn data(&self, value: &impl Serialize) -> bool {
        let value = serde_json::to_string(value).expect("plain data, with strings for keys");
        self.raw(format!("data: {value}\n\n")).await
    }

    /// `event: NAME` with its data. False where nobody reads any more.
    pub(super) async fn named(&self, name: &str, value: &impl Serialize) -> bool {
        let value = serde_json::to_string(value).expect("plain data, with strings for keys");
        self.raw(format!("event: {name}\ndata: {value}\n\n")).await
    }

    /// What ends a stream of OpenAI's.
    pub(super) async fn done(&self) -> bool {
        self.raw("data: [DONE]\n\n".into()).await
    }

    async fn raw(&self, text: String) -> bool {
        self.0.send(Bytes::from(text)).await.is_ok()
    }
}

/// A stream of events, written by `work`. The work is polled by the connection itself, so that it ends when the client
/// hangs up: nothing is left behind that would have to notice.
pub(super) fn events<W: Future<Output = ()> + Send + 'static>(work: impl FnOnce(Events) -> W) -> Answer {
    let (sender, receiver) = mpsc::channel(1);
    let stream = Written { work: Some(Box::pin(work(Events(sender)))), receiver };
    let mut answer = Response::new(Body::new(StreamBody::new(stream)));
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // nginx would hold the events back
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    answer
}

/// What the work wrote, and the work.
struct Written {
    work: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    receiver: mpsc::Receiver<Bytes>,
}

impl Stream for Written {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if let Poll::Ready(event) = this.receiver.poll_recv(context) {
            return Poll::Ready(event.map(|bytes| Ok(Frame::data(bytes))));
        }
        if let Some(work) = &mut this.work
            && work.as_mut().poll(context).is_ready()
        {
            // its sender goes with it, and the receiver comes to its end
            this.work = None;
        }
        this.receiver.poll_recv(context).map(|event| event.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn events_come_in_order_and_the_work_ends_with_the_body() {
        let (ended, mut has_ended) = mpsc::channel::<()>(1);
        let answer = events(|events| async move {
            let _ended = ended;
            for n in 0..3 {
                events.data(&n).await;
            }
            events.named("x", &"y").await;
            events.done().await;
        });
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "text/event-stream");
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(
            body,
            "data: 0\n\ndata: 1\n\ndata: 2\n\nevent: x\ndata: \"y\"\n\ndata: [DONE]\n\n".as_bytes()
        );
        assert_eq!(has_ended.recv().await, None);
    }

    #[tokio::test]
    async fn work_whose_body_is_dropped_is_dropped() {
        let (ended, mut has_ended) = mpsc::channel::<()>(1);
        let answer = events(|events| async move {
            let _ended = ended;
            events.data(&1).await;
            std::future::pending::<()>().await;
        });
        let mut body = answer.into_body();
        assert!(body.frame().await.is_some());
        drop(body);
        assert_eq!(has_ended.recv().await, None);
    }
}
