//! Settings: what can be set, its defaults and limits, and where each value came from.
//!
//! Four sources, of which the later wins, key by key: `.inferno.toml` in the working directory, the file in
//! the user's configuration directory, `INFERNO_*` variables, the command's flags. `.inferno.toml.example`
//! describes them and every key. A setting that is wrong is an [`Error::Config`] that says where it stands.

mod keys;
mod layers;
mod overrides;
mod server;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use layers::{Loaded, Origin, Setting};
pub use overrides::{
    BackendOverrides, EngineOverrides, LogOverrides, ModelOverrides, Overrides, SampleOverrides,
    ServerOverrides, WorkerOverrides,
};
pub use server::{ServerConfig, WorkerConfig};

use crate::device::DeviceSelect;
use crate::engine::{BatchOptions, EngineOptions};
use crate::error::{Error, Result};
use crate::model::LoadOptions;
use crate::sampling::{Problem, SampleOptions};
use crate::session::{CacheType, ContextOptions, FlashAttention};

/// The most requests that may run at once: each has a context of its own.
pub const MAX_CONCURRENT_REQUESTS: u32 = 256;
/// The most requests that may wait.
pub const MAX_QUEUED_REQUESTS: u32 = 65_536;

/// All settings; the sections of the file.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// How a model is run.
    pub backend_config: BackendConfig,
    /// Which model is run.
    pub model: ModelConfig,
    /// How text is sampled where a request does not say.
    pub sampling: SampleOptions,
    /// How many requests are served.
    pub engine: EngineConfig,
    /// Where a server listens, whom it lets in, and its limits.
    pub server: ServerConfig,
    /// What makes a server a worker in a pool.
    pub worker: WorkerConfig,
    /// What is logged.
    pub log: LogConfig,
}

/// `[backend_config]`: how a model is run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct BackendConfig {
    /// Whether a GPU may be used.
    pub gpu_enabled: bool,
    /// Tokens of prompt and answer together, at least 2; `None` as in [`ContextOptions::context_size`].
    pub context_size: Option<u32>,
    /// Tokens of the prompt handed over at a time, at most the context; `None`: the default of
    /// [`ContextOptions::batch_size`], or as many as the context holds.
    pub batch_size: Option<u32>,
    /// Tokens of the prompt computed at a time, at most the batch; `None`: the default of
    /// [`ContextOptions::ubatch_size`], or as many as the batch holds.
    pub ubatch_size: Option<u32>,
    /// CPU threads; `None` as in [`ContextOptions::threads`].
    pub threads: Option<u32>,
    /// Whether attention is computed without storing its matrix.
    pub flash_attention: FlashAttention,
    /// How keys are stored in the KV cache.
    pub cache_type_k: CacheType,
    /// How values are stored in the KV cache; quantised ones need flash attention.
    pub cache_type_v: CacheType,
    /// `auto`, `cpu`, or a device as `inferno devices` lists it: short name, full name, registry id or index; several with
    /// commas between.
    pub device: String,
    /// Whether the model file is mapped into memory rather than read; `None`: as is best for the devices.
    pub mmap: Option<bool>,
    /// Whether each graphics device is held against the CPU before it is trusted with a kind of model.
    pub self_test: bool,
    /// Whether weights are packed for the CPU's fastest kernels, as a copy in memory. Without, the mapped file is shared
    /// with other processes and can be dropped by the system.
    pub repack: bool,
}

/// `[model]`: which model is run.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ModelConfig {
    /// A GGUF file; `None`: the built-in model. From a file, relative to that file's directory.
    pub path: Option<PathBuf>,
}

/// `[engine]`: how many requests are served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct EngineConfig {
    /// Requests that run at once, 1 to [`MAX_CONCURRENT_REQUESTS`]; `None`: as [`EngineOptions`] says where each has a
    /// context of its own, and as `max_sequences` says where they run together.
    pub max_concurrent_requests: Option<u32>,
    /// Requests that wait for their turn; more are turned away. Up to [`MAX_QUEUED_REQUESTS`].
    pub max_queued_requests: u32,
    /// Whether a server runs the requests to one model together in one context.
    pub batching: bool,
    /// Requests that run together at most, as in [`BatchOptions::max_sequences`]; `None`: `max_concurrent_requests` where
    /// that is set.
    pub max_sequences: Option<u32>,
    /// Tokens of a step, as in [`BatchOptions::step_tokens`].
    pub step_tokens: Option<u32>,
    /// Cells of the KV cache that requests share, as in [`BatchOptions::kv_cells`].
    pub kv_cells: Option<u32>,
    /// Seconds after which a server unloads a model that nobody uses, above 0; `None`: never.
    pub idle_unload: Option<f32>,
    /// Bytes that all models of a server may take together; `None`: what the machine has.
    pub memory_budget: Option<u64>,
}

/// `[log]`: what is logged, always to stderr.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LogConfig {
    /// The least severe messages that are logged.
    pub level: LogLevel,
    /// Lines for people or for programs.
    pub format: LogFormat,
}

/// The severity from which on messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are tracing's levels, and all there is to say")]
pub enum LogLevel {
    #[default]
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl Default for BackendConfig {
    fn default() -> Self {
        let context = ContextOptions::default();
        BackendConfig {
            gpu_enabled: true,
            context_size: None,
            batch_size: None,
            ubatch_size: None,
            threads: None,
            flash_attention: context.flash_attention,
            cache_type_k: context.cache_type_k,
            cache_type_v: context.cache_type_v,
            device: "auto".to_owned(),
            mmap: LoadOptions::default().mmap,
            self_test: LoadOptions::default().self_test,
            repack: LoadOptions::default().repack,
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        let count = |n| u32::try_from(n).expect("the library's defaults are small");
        let options = EngineOptions::default();
        EngineConfig {
            max_concurrent_requests: None,
            max_queued_requests: count(options.max_queued_requests),
            batching: true,
            max_sequences: None,
            step_tokens: None,
            kv_cells: None,
            idle_unload: None,
            memory_budget: None,
        }
    }
}

impl Config {
    /// Reads all sources: `.inferno.toml` in `dir`, the user's file and `INFERNO_*` as `env` tells them, and
    /// the flags, where the later wins.
    ///
    /// ```
    /// # use inferno::config::{Config, Overrides};
    /// let here = std::env::current_dir()?;
    /// let loaded = Config::load(&here, std::env::vars_os(), &Overrides::default())?;
    /// for setting in loaded.explain() {
    ///     println!("{} = {} ({})", setting.key, setting.value.unwrap_or_default(), setting.origin);
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for the first setting that is unknown, of the wrong type, out
    /// of range or in conflict with another; [`Error::Io`](crate::Error::Io) for a file that cannot be read.
    /// A file that does not exist is no error.
    pub fn load(
        dir: &Path,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Loaded> {
        let env = env.into_iter().collect();
        layers::load(dir, &env, std::env::consts::OS, overrides)
    }

    /// As [`load`](Self::load), with this file, which must exist, in place of those that are looked for.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_file(
        file: &Path,
        env: impl IntoIterator<Item = (OsString, OsString)>,
        overrides: &Overrides,
    ) -> Result<Loaded> {
        layers::load_file(file, &env.into_iter().collect(), overrides)
    }

    /// Checks every value and every combination; gives the section with the problem.
    fn check(&self) -> Result<(), (&'static str, Problem)> {
        self.backend_config.check().map_err(|problem| ("backend_config", problem))?;
        self.model.check().map_err(|problem| ("model", problem))?;
        self.sampling.check().map_err(|problem| ("sampling", problem))?;
        self.engine.check().map_err(|problem| ("engine", problem))?;
        self.server.check().map_err(|problem| ("server", problem))?;
        self.worker.check().map_err(|problem| ("worker", problem))
    }

    /// Checks settings that were made by a program; those of files, variables and flags are checked as they are read.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for the first that is wrong.
    pub fn validate(&self) -> Result<()> {
        self.check().map_err(|(section, problem)| Error::Config {
            place: "the program".to_owned(),
            key: format!("{section}.{}", problem.field),
            what: problem.what,
        })
    }
}

impl BackendConfig {
    /// The options with which a model is loaded.
    pub fn load_options(&self) -> LoadOptions {
        let device = match self.gpu_enabled {
            true => self.device.parse().unwrap_or_else(|never: std::convert::Infallible| match never {}),
            false => DeviceSelect::Cpu,
        };
        LoadOptions { device, mmap: self.mmap, self_test: self.self_test, repack: self.repack }
    }

    /// The options with which a context is made.
    pub fn context_options(&self) -> ContextOptions {
        let default = ContextOptions::default();
        // What is left open follows what is set.
        let ubatch = self.ubatch_size.map(size);
        let batch = self.batch_size.map_or(default.batch_size.max(ubatch.unwrap_or(0)), size);
        ContextOptions {
            context_size: self.context_size.map(size),
            batch_size: batch,
            ubatch_size: ubatch.unwrap_or(default.ubatch_size.min(batch)),
            threads: self.threads.map(size),
            flash_attention: self.flash_attention,
            cache_type_k: self.cache_type_k,
            cache_type_v: self.cache_type_v,
            count_operations: default.count_operations,
        }
    }

    /// Checks that the batches that were set fit a context of so many tokens.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] with the batch that does not.
    pub fn check_context(&self, context: usize) -> Result<()> {
        self.fits(context).map_err(Problem::into_request_error)
    }

    fn fits(&self, context: usize) -> Result<(), Problem> {
        for (field, part) in [("batch_size", self.batch_size), ("ubatch_size", self.ubatch_size)] {
            if let Some(part) = part.map(size).filter(|part| *part > context) {
                let what = format!("{part} is more than context_size, which is {context}");
                return Err(Problem { field, other: Some("context_size"), what });
            }
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Problem> {
        self.context_options().validate().map_err(|error| match error {
            Error::InvalidRequest { field, what } => {
                let other = match field {
                    "ubatch_size" => Some("batch_size"),
                    "cache_type_v" => Some("flash_attention"),
                    _ => None,
                };
                Problem { field, other, what }
            }
            other => Problem::new("context_size", other.to_string()),
        })?;
        if let Some(context) = self.context_size {
            if context < 2 {
                let what =
                    format!("{context} is too few: at least 2 are needed, one to read and one to write");
                return Err(Problem::new("context_size", what));
            }
            self.fits(size(context))?;
        }
        if self.device.trim().is_empty() {
            return Err(Problem::new("device", "is empty: auto, cpu or the name of a device is needed"));
        }
        if !self.gpu_enabled && !matches!(self.device.as_str(), "auto" | "cpu") {
            let what = format!("{:?} cannot be used with gpu_enabled = false: auto or cpu can", self.device);
            return Err(Problem { field: "device", other: Some("gpu_enabled"), what });
        }
        Ok(())
    }
}

impl ModelConfig {
    fn check(&self) -> Result<(), Problem> {
        match &self.path {
            Some(path) if path.as_os_str().is_empty() => {
                Err(Problem::new("path", "is empty: the path of a GGUF file is needed"))
            }
            _ => Ok(()),
        }
    }
}

impl EngineConfig {
    /// The limits of an engine.
    pub fn options(&self) -> EngineOptions {
        EngineOptions {
            max_concurrent_requests: self
                .max_concurrent_requests
                .map_or(EngineOptions::default().max_concurrent_requests, size),
            max_queued_requests: size(self.max_queued_requests),
        }
    }

    /// How a server batches requests; `None` where each has a context of its own.
    pub fn batch_options(&self) -> Option<BatchOptions> {
        let mut options = BatchOptions::default();
        let concurrent = self.max_concurrent_requests.map(|n| size(n).min(BatchOptions::MOST_SEQUENCES));
        options.max_sequences = self.max_sequences.map(size).or(concurrent);
        options.step_tokens = self.step_tokens.map(size);
        options.kv_cells = self.kv_cells.map(size);
        self.batching.then_some(options)
    }

    /// How long a server keeps a model that nobody uses.
    pub fn idle_unload(&self) -> Option<std::time::Duration> {
        self.idle_unload.map(std::time::Duration::from_secs_f32)
    }

    fn check(&self) -> Result<(), Problem> {
        const LONGEST: f32 = 31_536_000.0;
        if let Some(seconds) = self.idle_unload
            && !(seconds > 0.0 && seconds <= LONGEST)
        {
            let what = format!("{seconds} is out of range: above 0 to {LONGEST} seconds");
            return Err(Problem::new("idle_unload", what));
        }
        if self.memory_budget == Some(0) {
            return Err(Problem::new("memory_budget", "0 bytes hold no model"));
        }
        for (field, requests, least, most) in [
            ("max_concurrent_requests", self.max_concurrent_requests, 1, MAX_CONCURRENT_REQUESTS),
            ("max_queued_requests", Some(self.max_queued_requests), 0, MAX_QUEUED_REQUESTS),
        ] {
            if let Some(requests) = requests
                && !(least..=most).contains(&requests)
            {
                return Err(Problem::new(
                    field,
                    format!("{requests} is out of range: {least} to {most} requests"),
                ));
            }
        }
        if let Some(options) = self.batch_options() {
            options.validate().map_err(|error| match error {
                Error::InvalidRequest { field, what } => Problem::new(field, what),
                other => Problem::new("batching", other.to_string()),
            })?;
        }
        Ok(())
    }
}

/// A number of tokens, threads or requests as the library counts them.
fn size(n: u32) -> usize {
    usize::try_from(n).expect("usize holds 32 bits where llama.cpp runs")
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../.inferno.toml.example");

    #[test]
    fn the_example_file_holds_the_defaults() {
        let config: Config = toml::from_str(EXAMPLE).unwrap();
        assert_eq!(config, Config::default());
    }

    /// The keys that are written in `text`, by section; with `commented`, also those in `# key = value` lines.
    fn keys_in(text: &str, commented: bool) -> Vec<(String, String)> {
        let uncommented: String = text
            .lines()
            .map(|line| match line.strip_prefix("# ") {
                Some(rest) if commented && is_assignment(rest) => rest,
                _ => line,
            })
            .flat_map(|line| [line, "\n"])
            .collect();
        let table: toml::Table = toml::from_str(&uncommented).unwrap();
        let keys = |section: &toml::Value| section.as_table().unwrap().keys().cloned().collect::<Vec<_>>();
        table
            .iter()
            .flat_map(|(section, values)| keys(values).into_iter().map(|key| (section.clone(), key)))
            .collect()
    }

    fn is_assignment(line: &str) -> bool {
        let name = |text: &str| text.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        line.split_once(" = ").is_some_and(|(key, _)| name(key))
    }

    #[test]
    fn the_example_file_names_every_key_with_a_comment_and_its_variable() {
        let mut all: Vec<_> =
            keys::all().map(|(section, key)| (section.to_owned(), key.to_owned())).collect();
        let mut named = keys_in(EXAMPLE, true);
        all.sort();
        named.sort();
        assert_eq!(named, all);
        // What has a default that can be written down is written down.
        let default = toml::to_string(&Config::default()).unwrap();
        let mut written = keys_in(EXAMPLE, false);
        let mut with_value = keys_in(&default, false);
        written.sort();
        with_value.sort();
        assert_eq!(written, with_value);

        let lines: Vec<&str> = EXAMPLE.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            if is_assignment(line) || line.strip_prefix("# ").is_some_and(is_assignment) {
                let comment = lines[index - 1];
                assert!(comment.starts_with("# "), "line {} has no comment above it: {line}", index + 1);
            }
        }
    }

    #[test]
    fn the_commented_values_of_the_example_are_valid() {
        for line in EXAMPLE.lines().filter_map(|line| line.strip_prefix("# ")) {
            if let Some((key, _)) = line.split_once(" = ").filter(|_| is_assignment(line)) {
                let (section, _) = keys::all().find(|(_, name)| *name == key).unwrap();
                let config: Config = toml::from_str(&format!("[{section}]\n{line}")).unwrap();
                config.check().unwrap();
            }
        }
    }

    #[test]
    fn the_defaults_are_valid() {
        Config::default().check().unwrap();
    }

    #[test]
    fn the_defaults_are_those_of_the_library() {
        let config = Config::default();
        assert_eq!(config.backend_config.load_options(), LoadOptions::default());
        assert_eq!(config.backend_config.context_options(), ContextOptions::default());
        assert_eq!(config.engine.options(), EngineOptions::default());
    }

    #[test]
    fn sizes_left_open_follow_those_that_are_set() {
        let sizes = |batch_size, ubatch_size| {
            let backend = BackendConfig { batch_size, ubatch_size, ..BackendConfig::default() };
            let options = backend.context_options();
            (options.batch_size, options.ubatch_size)
        };
        assert_eq!(sizes(None, None), (2048, 512));
        assert_eq!(sizes(Some(64), None), (64, 64));
        assert_eq!(sizes(None, Some(4096)), (4096, 4096));
        assert_eq!(sizes(Some(1024), Some(256)), (1024, 256));
    }

    #[test]
    fn batches_that_were_set_must_fit_the_context() {
        let open = BackendConfig::default();
        open.check_context(16).unwrap();
        let batch = BackendConfig { batch_size: Some(2048), ..BackendConfig::default() };
        let error = batch.check_context(1024).unwrap_err().to_string();
        assert_eq!(error, "batch_size: 2048 is more than context_size, which is 1024");
        let ubatch = BackendConfig { ubatch_size: Some(4096), ..BackendConfig::default() };
        assert!(ubatch.check_context(2048).unwrap_err().to_string().starts_with("ubatch_size: 4096"));
    }

    #[test]
    fn without_a_gpu_the_device_is_the_cpu() {
        let device = |gpu_enabled, device: &str| {
            let device = device.to_owned();
            BackendConfig { gpu_enabled, device, ..BackendConfig::default() }.load_options().device
        };
        assert_eq!(device(true, "auto"), DeviceSelect::Auto);
        assert_eq!(device(false, "auto"), DeviceSelect::Cpu);
        assert_eq!(device(true, "CUDA0"), DeviceSelect::Named("CUDA0".to_owned()));
    }
}
