//! `[server]` and `[worker]`: the settings of `inferno serve` and `inferno worker`.

use std::collections::BTreeMap;
use std::path::PathBuf;
#[cfg(feature = "server")]
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::sampling::Problem;

/// The longest time that a limit may be, in seconds: a day.
const MAX_SECONDS: f32 = 86_400.0;
/// The most models and aliases.
const MAX_NAMES: usize = 256;

/// `[server]`: where a server listens, whom it lets in, and its limits. The defaults are for one person on one machine;
/// the limits hold for anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ServerConfig {
    /// The address or name to listen on.
    pub host: String,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// A file with the API keys that clients must send, one a line; `None`: none is needed. From a file, relative to that
    /// file's directory.
    pub api_keys_file: Option<PathBuf>,
    /// Whether to listen without keys where other machines can reach the server.
    pub allow_anonymous: bool,
    /// Web origins whose pages may use the server, such as `https://app.example`; `*` is all.
    pub cors_origins: Vec<String>,
    /// Other names for the model that is served first.
    pub aliases: Vec<String>,
    /// More models, by name, loaded when they are asked for. A file that is named twice has two names. From a file, relative
    /// to that file's directory.
    pub models: BTreeMap<String, PathBuf>,
    /// The longest body of a request, in bytes.
    pub max_body_bytes: u32,
    /// The longest head of a request, in bytes: its first line and its headers.
    pub max_header_bytes: u32,
    /// Connections at once; more wait to be accepted.
    pub max_connections: u32,
    /// Seconds that a request's head may take to arrive, and that a connection may stay idle.
    pub header_timeout: f32,
    /// Seconds that a request's body may take to arrive.
    pub body_timeout: f32,
    /// Seconds that a request may take from its body to its last token, its wait in the queue included.
    pub request_timeout: f32,
    /// Seconds that a client may leave what is sent to it unread before the connection is closed.
    pub write_timeout: f32,
    /// Seconds that requests at work may go on after SIGTERM; then they are cancelled.
    pub drain_timeout: f32,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".to_owned(),
            port: 8080,
            api_keys_file: None,
            allow_anonymous: false,
            cors_origins: vec![],
            aliases: vec![],
            models: BTreeMap::new(),
            max_body_bytes: 4 << 20,
            max_header_bytes: 32 << 10,
            max_connections: 512,
            header_timeout: 10.0,
            body_timeout: 30.0,
            request_timeout: 600.0,
            write_timeout: 30.0,
            drain_timeout: 20.0,
        }
    }
}

impl ServerConfig {
    pub(super) fn check(&self) -> Result<(), Problem> {
        if self.host.trim().is_empty() {
            return Err(Problem::new("host", "is empty: an address such as 127.0.0.1 is needed"));
        }
        for origin in &self.cors_origins {
            let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            let is_site = site.is_some_and(|site| {
                !site.is_empty() && site.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
            });
            if origin != "*" && !is_site {
                let what = format!("{origin:?} is no origin: https://app.example, or * for all, is one");
                return Err(Problem::new("cors_origins", what));
            }
        }
        if self.aliases.len() > MAX_NAMES || self.aliases.iter().any(|alias| alias.trim().is_empty()) {
            return Err(Problem::new(
                "aliases",
                format!("up to {MAX_NAMES} names are needed, none of them empty"),
            ));
        }
        let nameless =
            |(name, path): (&String, &PathBuf)| name.trim().is_empty() || path.as_os_str().is_empty();
        if self.models.len() > MAX_NAMES || self.models.iter().any(nameless) {
            let what = format!("up to {MAX_NAMES} names with the path of a GGUF file each are needed");
            return Err(Problem::new("models", what));
        }
        for (field, value, least, most) in [
            ("max_body_bytes", self.max_body_bytes, 1 << 10, 1 << 30),
            // the HTTP library's buffer has a least size
            ("max_header_bytes", self.max_header_bytes, 8 << 10, 1 << 20),
            ("max_connections", self.max_connections, 1, 1 << 16),
        ] {
            if !(least..=most).contains(&value) {
                return Err(Problem::new(field, format!("{value} is out of range: {least} to {most}")));
            }
        }
        for (field, seconds) in [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("request_timeout", self.request_timeout),
            ("write_timeout", self.write_timeout),
        ] {
            if !(seconds > 0.0 && seconds <= MAX_SECONDS) {
                return Err(Problem::new(
                    field,
                    format!("{seconds} s is out of range: above 0, up to {MAX_SECONDS}"),
                ));
            }
        }
        if !(0.0..=MAX_SECONDS).contains(&self.drain_timeout) {
            let what = format!("{} s is out of range: 0 to {MAX_SECONDS}", self.drain_timeout);
            return Err(Problem::new("drain_timeout", what));
        }
        Ok(())
    }

    /// A limit as a duration; it was checked to be one.
    #[cfg(feature = "server")]
    pub(crate) fn time(seconds: f32) -> Duration {
        Duration::try_from_secs_f32(seconds).unwrap_or(Duration::ZERO)
    }
}

/// `[worker]`: what makes a server a worker in a pool.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// The worker's id, given by its pool manager; with it a server is a worker.
    pub id: Option<String>,
    /// The manager's address, an `http://` URL, to which `v2/internal/workers/ready` is added; `None`: nobody is told.
    pub callback_url: Option<String>,
    /// The address under which the manager reaches this worker; `None`: the one it listens on.
    pub advertised_url: Option<String>,
}

impl WorkerConfig {
    /// The longest id, in bytes.
    const MAX_ID: usize = 128;

    pub(super) fn check(&self) -> Result<(), Problem> {
        if let Some(id) = &self.id {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            if id.is_empty() || id.len() > Self::MAX_ID || !id.bytes().all(known) {
                let what = format!(
                    "{id:?}: 1 to {} letters, digits, -, _ and . are needed, such as a UUID",
                    Self::MAX_ID
                );
                return Err(Problem::new("id", what));
            }
        }
        for (field, url) in [("callback_url", &self.callback_url), ("advertised_url", &self.advertised_url)] {
            let Some(url) = url else { continue };
            let host = url
                .strip_prefix("http://")
                .unwrap_or_default()
                .split(['/', '?', '#'])
                .next()
                .unwrap_or_default();
            if host.is_empty()
                || host.starts_with(':')
                || host.contains('@')
                || !url.bytes().all(|b| b.is_ascii_graphic())
            {
                let what =
                    format!("{url:?}: http://HOST[:PORT][/PATH] is needed; for https put a proxy between");
                return Err(Problem::new(field, what));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_setting_is_named() {
        ServerConfig::default().check().unwrap();
        let named = |change: fn(&mut ServerConfig)| {
            let mut config = ServerConfig::default();
            change(&mut config);
            config.check().unwrap_err().field
        };
        assert_eq!(named(|c| c.host = " ".into()), "host");
        assert_eq!(named(|c| c.cors_origins = vec!["app.example".into()]), "cors_origins");
        assert_eq!(named(|c| c.cors_origins = vec!["https://app.example/".into()]), "cors_origins");
        assert_eq!(named(|c| c.aliases = vec![String::new()]), "aliases");
        assert_eq!(named(|c| c.models = [(String::new(), "x".into())].into()), "models");
        assert_eq!(named(|c| c.max_header_bytes = 100), "max_header_bytes");
        assert_eq!(named(|c| c.header_timeout = 0.0), "header_timeout");
        assert_eq!(named(|c| c.request_timeout = f32::NAN), "request_timeout");
        assert_eq!(named(|c| c.drain_timeout = -1.0), "drain_timeout");
    }

    #[test]
    fn a_wrong_setting_of_a_worker_is_named() {
        let check = |id: Option<&str>, callback: Option<&str>| {
            let own = |text: Option<&str>| text.map(str::to_owned);
            let config = WorkerConfig { id: own(id), callback_url: own(callback), advertised_url: None };
            config.check().map_err(|problem| problem.field)
        };
        assert_eq!(check(Some("3f-1"), Some("http://pool:7000/base")), Ok(()));
        assert_eq!(check(Some("a b"), None), Err("id"));
        assert_eq!(check(Some(""), None), Err("id"));
        for url in ["", "pool:7000", "https://pool", "http://", "http://:80", "http://u:p@pool", "ftp://x"] {
            assert_eq!(check(None, Some(url)), Err("callback_url"), "{url}");
        }
    }
}
