//! What happens around every request: its id, its log, who may ask, and how it is counted.

use super::{answer::Answer, app::App, auth::check_site, problem::Problem};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue},
    middleware::Next,
};
use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Instant,
};
use tracing::Instrument;

/// The header that carries the id, in both directions.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// A client's own id is no longer than this.
const MAX_ID: usize = 128;
/// Paths that need no key: whether the server lives is asked by what has none, and the page asks its user for one.
const OPEN: &[&str] = &["/", "/health", "/page.js", "/page.css"];

/// Names a request in the log and in the answer.
#[derive(Debug, Clone)]
pub(super) struct RequestId(String);

impl RequestId {
    /// The client's own, where it has one that fits on a line; else a new one.
    fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(HEADER).and_then(|value| value.to_str().ok());
        let fits = |id: &&str| {
            (1..=MAX_ID).contains(&id.len())
                && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
        };
        match given.filter(fits) {
            Some(id) => Self(id.to_owned()),
            // each RandomState has keys of its own, from the operating system
            None => Self(format!(
                "{:016x}{:016x}",
                RandomState::new().build_hasher().finish(),
                RandomState::new().build_hasher().finish()
            )),
        }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives a request its id and its span, counts it, and writes the line of the log.
pub(super) async fn observe(State(app): State<Arc<App>>, mut request: Request, next: Next) -> Answer {
    let began = Instant::now();
    let id = RequestId::of(request.headers());
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let span =
        tracing::info_span!("request", id = %id, method = %request.method(), path = request.uri().path());
    request.extensions_mut().insert(id.clone());
    async move {
        let mut answer = next.run(request).await;
        let status = answer.status().as_u16();
        app.metrics.answered(&path, status);
        let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        match answer.extensions_mut().remove::<Problem>() {
            Some(problem) => tracing::info!(status, millis, reason = problem.message, "refused"),
            None => tracing::info!(status, millis, "answered"),
        }
        let id = HeaderValue::from_str(&id.0).expect("letters, digits and a few signs");
        answer.headers_mut().insert(HEADER, id);
        answer
    }
    .instrument(span)
    .await
}

/// Lets in whom the settings let in.
pub(super) async fn guard(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Answer, Problem> {
    let headers = request.headers();
    check_site(headers, &app.options.cors_origins, app.loopback)?;
    if !OPEN.contains(&request.uri().path()) {
        app.options.api_keys.check(headers)?;
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_the_clients_or_new() {
        let id = |value: &'static str| {
            let headers = HeaderMap::from_iter([(HEADER, HeaderValue::from_static(value))]);
            RequestId::of(&headers).0
        };
        assert_eq!(id("job-7_a.b"), "job-7_a.b");
        assert_eq!(id("a b").len(), 32);
        assert_eq!(id("").len(), 32);
        assert_ne!(RequestId::of(&HeaderMap::new()).0, RequestId::of(&HeaderMap::new()).0);
    }
}
