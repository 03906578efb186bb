//! Reading a request's body: not longer, and not more slowly, than the limits allow.

use super::problem::Problem;
use axum::body::Body;
use http_body_util::BodyExt;
use std::time::Duration;
use tokio::time::timeout;

/// Reads a body. What is too long is read to its end and thrown away, so that the client, which reads the answer only
/// then, gets one; the time limit bounds that.
pub(super) async fn read(body: Body, most: usize, limit: Duration) -> Result<Vec<u8>, Problem> {
    let late = || Problem::too_slow(limit.as_secs_f64());
    timeout(limit, read_all(body, most)).await.unwrap_or_else(|_| Err(late()))
}

async fn read_all(mut body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = vec![];
    let mut too_long = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Problem::body(format!("reading it failed: {error}")))?;
        let Some(data) = frame.data_ref() else { continue };
        too_long |= bytes.len() + data.len() > most;
        match too_long {
            true => bytes = vec![],
            false => bytes.extend_from_slice(data),
        }
    }
    match too_long {
        true => Err(Problem::too_large(most)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::StatusCode;

    #[tokio::test]
    async fn long_and_slow_bodies_are_refused() {
        let second = Duration::from_secs(1);
        assert_eq!(read(Body::from("12345"), 5, second).await.unwrap(), b"12345");
        let long = read(Body::from("123456"), 5, second).await.unwrap_err();
        assert_eq!(long.status, StatusCode::PAYLOAD_TOO_LARGE);
        let never = Body::new(http_body_util::StreamBody::new(Never));
        let slow = read(never, 5, Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(slow.status, StatusCode::REQUEST_TIMEOUT);
    }

    struct Never;

    impl futures_core::Stream for Never {
        type Item = Result<hyper::body::Frame<axum::body::Bytes>, std::convert::Infallible>;

        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Pending
        }
    }
}
