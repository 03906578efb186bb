//! The settings as the server uses them: times as durations, the file of keys read.

use super::auth::ApiKeys;
use crate::{
    config::{Config, ServerConfig},
    error::Result,
    sampling::SampleOptions,
};
use std::time::Duration;

/// How a server serves; [`ServerConfig`] says what each is.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) api_keys: ApiKeys,
    pub(super) cors_origins: Vec<String>,
    pub(super) max_body_bytes: usize,
    pub(super) max_header_bytes: usize,
    pub(super) max_connections: usize,
    pub(super) header_timeout: Duration,
    pub(super) body_timeout: Duration,
    pub(super) request_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) drain_timeout: Duration,
    /// How text is sampled where a request does not say.
    pub(super) sampling: SampleOptions,
}

impl Options {
    pub(super) fn of(config: &Config) -> Result<Self> {
        let server = &config.server;
        let size = |n: u32| usize::try_from(n).expect("usize holds 32 bits where llama.cpp runs");
        let api_keys = server.api_keys_file.as_deref().map(ApiKeys::read).transpose()?.unwrap_or_default();
        Ok(Self {
            api_keys,
            cors_origins: server.cors_origins.clone(),
            max_body_bytes: size(server.max_body_bytes),
            max_header_bytes: size(server.max_header_bytes),
            max_connections: size(server.max_connections),
            header_timeout: ServerConfig::time(server.header_timeout),
            body_timeout: ServerConfig::time(server.body_timeout),
            request_timeout: ServerConfig::time(server.request_timeout),
            write_timeout: ServerConfig::time(server.write_timeout),
            drain_timeout: ServerConfig::time(server.drain_timeout),
            sampling: config.sampling.clone(),
        })
    }
}
