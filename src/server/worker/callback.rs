//! Telling the pool manager that the worker is ready: once heard, no more; until then again and again, ever more rarely.

use crate::error::{Error, Result};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::Full;
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::{pin::pin, time::Duration};
use tokio::{
    net::TcpStream,
    time::{sleep, timeout},
};

/// What the contract adds to the manager's address.
const PATH: &str = "v2/internal/workers/ready";
/// How often it is tried.
const ATTEMPTS: u32 = 8;
/// Before the second attempt; each wait is twice the one before, up to [`LONGEST`]. In all about two minutes.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// How long one attempt may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the manager listens.
#[derive(Debug)]
pub(super) struct Callback {
    host: String,
    port: u16,
    /// `HOST[:PORT]`, as the URL writes it.
    authority: String,
    path: String,
}

/// How one attempt ended, if not well.
enum Missed {
    /// It may go better another time.
    Retry(String),
    /// It will not.
    Final(String),
}

impl Callback {
    /// The manager at this `http://` URL.
    pub(super) fn new(url: &str) -> Result<Self> {
        let wrong = |what: &str| Error::request("callback_url", format!("{url:?}: {what}"));
        let uri: Uri = url.parse().map_err(|_| wrong("it is no URL; http://HOST:PORT is one"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong(
                "the manager is told over http:// alone; where it speaks https://, name a proxy on this machine that \
                 forwards to it",
            ));
        }
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') || uri.query().is_some() {
            return Err(wrong("only host, port and path are understood"));
        }
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: authority.as_str().to_owned(),
            path: format!("{}/{PATH}", uri.path().trim_end_matches('/')),
        })
    }

    /// Tells it, until it is heard.
    ///
    /// # Errors
    /// [`Error::Callback`] where the manager refuses, or was not reached in all attempts.
    pub(super) async fn send(&self, message: &Value) -> Result<()> {
        let mut wait = FIRST;
        for attempt in 1.. {
            let missed = match timeout(PATIENCE, self.attempt(message)).await {
                Ok(Ok(())) => {
                    tracing::info!(attempt, manager = self.authority, "the pool manager knows");
                    return Ok(());
                }
                Ok(Err(missed)) => missed,
                Err(_) => Missed::Retry(format!("no answer within {} s", PATIENCE.as_secs())),
            };
            let what = match missed {
                Missed::Final(what) => {
                    return Err(Error::Callback { what: format!("{}: {what}", self.authority) });
                }
                Missed::Retry(what) if attempt == ATTEMPTS => {
                    let what = format!("{}: {what}, in {ATTEMPTS} attempts", self.authority);
                    return Err(Error::Callback { what });
                }
                Missed::Retry(what) => what,
            };
            tracing::warn!(attempt, manager = self.authority, "the pool manager was not reached: {what}");
            sleep(wait).await;
            wait = (wait * 2).min(LONGEST);
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt(&self, message: &Value) -> Result<(), Missed> {
        let retry = |error: &dyn std::error::Error| Missed::Retry(error.to_string());
        let stream =
            TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| retry(&error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| retry(&error))?;
        let mut request = Request::new(Full::new(Bytes::from(message.to_string())));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.parse().map_err(|_| Missed::Final("its path is no path".into()))?;
        let host = HeaderValue::from_str(&self.authority)
            .map_err(|_| Missed::Final("its host is no host".into()))?;
        request.headers_mut().insert(header::HOST, host);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let mut answer = pin!(sender.send_request(request));
        let answer = tokio::select! {
            answer = &mut answer => answer,
            // one that closes after its answer may have given it just now
            _ = connection => answer.await,
        };
        let status = answer.map_err(|error| retry(&error))?.status();
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Missed::Retry(status.to_string()))
            }
            status if status.is_client_error() => Err(Missed::Final(format!("it refused: {status}"))),
            status => Err(Missed::Retry(status.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_managers_address_is_read() {
        let callback = Callback::new("http://pool.example:7000/base/").unwrap();
        assert_eq!((callback.host.as_str(), callback.port), ("pool.example", 7000));
        assert_eq!(callback.path, "/base/v2/internal/workers/ready");
        let callback = Callback::new("http://[::1]").unwrap();
        assert_eq!((callback.host.as_str(), callback.port), ("::1", 80));
        assert_eq!(callback.path, "/v2/internal/workers/ready");
        for wrong in ["", "pool:7000", "https://pool", "http://", "http://u:p@pool", "ftp://x"] {
            let error = Callback::new(wrong).unwrap_err().to_string();
            assert!(error.starts_with("callback_url:"), "{error}");
        }
    }
}
