//! What the command's flags set: the settings of every section, each of them optional.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::{LogFormat, LogLevel};
use crate::sampling::Mirostat;
use crate::session::{CacheType, FlashAttention};

/// Declares the optional twin of a section. A test holds that it has the same keys.
macro_rules! overrides {
    ($name:ident of $section:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[doc = concat!("What overrides [`", stringify!($section), "`](super::", stringify!($section), ").")]
        #[derive(Debug, Clone, PartialEq, Default, Serialize)]
        #[cfg_attr(test, derive(serde::Deserialize))]
        pub struct $name {$(
            #[doc = concat!("Overrides `", stringify!($field), "`.")]
            #[serde(skip_serializing_if = "Option::is_none")]
            $(#[$attribute])*
            pub $field: Option<$type>,
        )*}
    };
}

/// The settings that flags give; what is `None` is left to the files and variables.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
pub struct Overrides {
    /// `[backend_config]`
    pub backend_config: BackendOverrides,
    /// `[model]`
    pub model: ModelOverrides,
    /// `[sampling]`
    pub sampling: SampleOverrides,
    /// `[engine]`
    pub engine: EngineOverrides,
    /// `[server]`
    pub server: ServerOverrides,
    /// `[worker]`
    pub worker: WorkerOverrides,
    /// `[log]`
    pub log: LogOverrides,
}

overrides!(BackendOverrides of BackendConfig {
    gpu_enabled: bool,
    context_size: u32,
    batch_size: u32,
    ubatch_size: u32,
    threads: u32,
    flash_attention: FlashAttention,
    cache_type_k: CacheType,
    cache_type_v: CacheType,
    device: String,
    mmap: bool,
    self_test: bool,
    repack: bool,
});

overrides!(ModelOverrides of ModelConfig {
    path: PathBuf,
});

overrides!(SampleOverrides of SampleOptions {
    max_tokens: usize,
    seed: u32,
    temperature: f32,
    top_k: u32,
    top_p: f32,
    min_p: f32,
    typical_p: f32,
    top_n_sigma: f32,
    xtc_probability: f32,
    xtc_threshold: f32,
    dry_multiplier: f32,
    dry_base: f32,
    dry_allowed_length: u32,
    dry_penalty_last_n: u32,
    dry_sequence_breakers: Vec<String>,
    mirostat: Mirostat,
    mirostat_tau: f32,
    mirostat_eta: f32,
    repeat_penalty: f32,
    repeat_last_n: u32,
    presence_penalty: f32,
    frequency_penalty: f32,
    #[serde(serialize_with = "crate::sampling::bias_map::serialize_some")]
    logit_bias: BTreeMap<u32, f32>,
    stop: Vec<String>,
    logprobs: usize,
    ignore_eos: bool,
});

overrides!(EngineOverrides of EngineConfig {
    max_concurrent_requests: u32,
    max_queued_requests: u32,
    batching: bool,
    max_sequences: u32,
    step_tokens: u32,
    kv_cells: u32,
    idle_unload: f32,
    memory_budget: u64,
});

overrides!(ServerOverrides of ServerConfig {
    host: String,
    port: u16,
    api_keys_file: PathBuf,
    allow_anonymous: bool,
    cors_origins: Vec<String>,
    aliases: Vec<String>,
    models: BTreeMap<String, PathBuf>,
    max_body_bytes: u32,
    max_header_bytes: u32,
    max_connections: u32,
    header_timeout: f32,
    body_timeout: f32,
    request_timeout: f32,
    write_timeout: f32,
    drain_timeout: f32,
});

overrides!(WorkerOverrides of WorkerConfig {
    id: String,
    callback_url: String,
    advertised_url: String,
});

overrides!(LogOverrides of LogConfig {
    level: LogLevel,
    format: LogFormat,
});

#[cfg(test)]
mod tests {
    use super::super::keys::fields;
    use super::super::*;

    #[test]
    fn every_setting_can_be_overridden() {
        assert_eq!(fields::<Overrides>(), fields::<Config>());
        assert_eq!(fields::<BackendOverrides>(), fields::<BackendConfig>());
        assert_eq!(fields::<ModelOverrides>(), fields::<ModelConfig>());
        assert_eq!(fields::<SampleOverrides>(), fields::<SampleOptions>());
        assert_eq!(fields::<EngineOverrides>(), fields::<EngineConfig>());
        assert_eq!(fields::<ServerOverrides>(), fields::<ServerConfig>());
        assert_eq!(fields::<WorkerOverrides>(), fields::<WorkerConfig>());
        assert_eq!(fields::<LogOverrides>(), fields::<LogConfig>());
    }
}
