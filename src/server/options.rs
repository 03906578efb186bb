//! What a server is told: where it listens, whom it lets in, and its limits.

use super::auth::ApiKeys;
use crate::{
    error::{Error, Result},
    sampling::SampleOptions,
};
use std::time::Duration;

/// How a server serves. The defaults are for one person on one machine; the limits hold for anybody.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ServerOptions {
    /// The address or name to listen on.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// The keys that clients must send; empty: none is needed.
    pub api_keys: ApiKeys,
    /// Whether to listen without keys where other machines can reach the server.
    pub allow_anonymous: bool,
    /// Web origins whose pages may use the server, such as `https://app.example`; `*` is all.
    pub cors_origins: Vec<String>,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: usize,
    /// The longest head of a request, in bytes: its first line and headers.
    pub max_header_bytes: usize,
    /// Connections at once; more wait to be accepted.
    pub max_connections: usize,
    /// How long a request's head may take to arrive, and how long a connection may stay idle.
    pub header_timeout: Duration,
    /// How long a request's body may take to arrive.
    pub body_timeout: Duration,
    /// How long a request may take from its body to its last word, its wait in the queue included.
    pub request_timeout: Duration,
    /// How long a client may leave what is sent to it unread before the connection is closed.
    pub write_timeout: Duration,
    /// How long requests at work may go on after a shutdown has begun; then they are cancelled.
    pub drain_timeout: Duration,
    /// How text is sampled where a request does not say.
    pub sampling: SampleOptions,
}

impl Default for ServerOptions {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            api_keys: ApiKeys::default(),
            allow_anonymous: false,
            cors_origins: vec![],
            max_body_bytes: 4 << 20,
            max_header_bytes: 32 << 10,
            max_connections: 512,
            header_timeout: seconds(10),
            body_timeout: seconds(30),
            request_timeout: seconds(600),
            write_timeout: seconds(30),
            drain_timeout: seconds(20),
            sampling: SampleOptions::default(),
        }
    }
}

impl ServerOptions {
    /// Checks what can be checked without a network.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the option.
    pub fn validate(&self) -> Result<()> {
        let wrong = |field, what: String| Err(Error::request(field, what));
        if self.host.trim().is_empty() {
            return wrong("host", "is empty: an address such as 127.0.0.1 is needed".into());
        }
        for origin in &self.cors_origins {
            let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_site = site.is_some_and(|site| {
                !site.is_empty() && site.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
            });
            if origin != "*" && !is_site {
                let what = format!("{origin:?} is no origin: https://app.example, or * for all, is one");
                return wrong("cors_origins", what);
            }
        }
        for (field, value, least, most) in [
            ("max_body_bytes", self.max_body_bytes, 1 << 10, 1 << 30),
            // hyper's buffer has a least size
            ("max_header_bytes", self.max_header_bytes, 8 << 10, 1 << 20),
            ("max_connections", self.max_connections, 1, 1 << 16),
        ] {
            if !(least..=most).contains(&value) {
                return wrong(field, format!("{value} is out of range: {least} to {most}"));
            }
        }
        for (field, time) in [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("request_timeout", self.request_timeout),
            ("write_timeout", self.write_timeout),
            ("drain_timeout", self.drain_timeout),
        ] {
            let most = Duration::from_secs(86_400);
            if time.is_zero() && field != "drain_timeout" || time > most {
                let what = format!("{} s is out of range: above 0, up to {} s", time.as_secs_f64(), most.as_secs());
                return wrong(field, what);
            }
        }
        self.sampling.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_option_is_named() {
        ServerOptions::default().validate().unwrap();
        let named = |change: fn(&mut ServerOptions)| {
            let mut options = ServerOptions::default();
            change(&mut options);
            options.validate().unwrap_err().to_string()
        };
        assert!(named(|o| o.host = " ".into()).starts_with("host:"));
        assert!(named(|o| o.cors_origins = vec!["app.example".into()]).contains("app.example"));
        assert!(named(|o| o.cors_origins = vec!["https://app.example/".into()]).contains("cors_origins"));
        assert!(named(|o| o.max_header_bytes = 100).starts_with("max_header_bytes: 100"));
        assert!(named(|o| o.header_timeout = Duration::ZERO).starts_with("header_timeout"));
        assert!(named(|o| o.sampling.top_p = 2.0).starts_with("top_p"));
    }
}
