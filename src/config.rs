//! Settings: what can be set, its defaults and limits, and where each value came from.
//!
//! Four sources, of which the later wins, key by key: `.inferno.toml` in the working directory, the file in
//! the user's configuration directory, `INFERNO_*` variables, the command's flags. `.inferno.toml.example`
//! describes them and every key. A setting that is wrong is an [`Error::Config`] that says where it stands.

mod keys;
mod layers;
mod overrides;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use layers::{Loaded, Origin, Setting};
pub use overrides::{
    BackendOverrides, EngineOverrides, LogOverrides, ModelOverrides, Overrides, SampleOverrides,
};

use crate::error::Result;
use crate::sampling::{Problem, SampleOptions};

/// The context, in tokens, where none is set and the model was trained on a longer one.
pub const AUTO_CONTEXT_SIZE: u32 = 4096;
/// The batch, in tokens, where none is set and the context holds as much; llama.cpp's default.
pub const AUTO_BATCH_SIZE: u32 = 2048;
/// The micro-batch, in tokens, where none is set and the batch holds as much; llama.cpp's default.
pub const AUTO_UBATCH_SIZE: u32 = 512;
/// The most threads that ggml takes (`GGML_MAX_N_THREADS`).
pub const MAX_THREADS: u32 = 512;
/// The bound on sizes in tokens: llama.cpp counts them in `int32_t`.
pub const MAX_TOKENS: u32 = i32::MAX.unsigned_abs();
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
    /// Tokens of prompt and answer together, at least 2; `None`: as many as the model was trained on, up
    /// to [`AUTO_CONTEXT_SIZE`].
    pub context_size: Option<u32>,
    /// Tokens of the prompt handed over at a time, at most the context; `None`: [`AUTO_BATCH_SIZE`], or the
    /// context where that is smaller.
    pub batch_size: Option<u32>,
    /// Tokens of the prompt computed at a time, at most the batch; `None`: [`AUTO_UBATCH_SIZE`], or the
    /// batch where that is smaller.
    pub ubatch_size: Option<u32>,
    /// CPU threads, up to [`MAX_THREADS`]; `None`: chosen for the machine.
    pub threads: Option<u32>,
    /// Whether attention is computed without storing its matrix.
    pub flash_attention: FlashAttention,
    /// How keys are stored in the KV cache.
    pub cache_type_k: CacheType,
    /// How values are stored in the KV cache; quantised ones need flash attention.
    pub cache_type_v: CacheType,
    /// `auto`, `cpu`, or the name of a device as `inferno devices` lists it.
    pub device: String,
    /// Whether the model file is mapped into memory rather than read.
    pub mmap: bool,
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
    /// Requests that run at once, each with a context of its own. 1 to [`MAX_CONCURRENT_REQUESTS`].
    pub max_concurrent_requests: u32,
    /// Requests that wait for their turn; more are turned away. Up to [`MAX_QUEUED_REQUESTS`].
    pub max_queued_requests: u32,
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

/// When flash attention is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlashAttention {
    /// Where the device supports it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How numbers are stored in the KV cache: the types that llama.cpp offers for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are ggml's type names, and all there is to say")]
pub enum CacheType {
    F32,
    #[default]
    F16,
    Bf16,
    #[serde(rename = "q8_0")]
    Q8_0,
    #[serde(rename = "q5_1")]
    Q5_1,
    #[serde(rename = "q5_0")]
    Q5_0,
    #[serde(rename = "q4_1")]
    Q4_1,
    #[serde(rename = "q4_0")]
    Q4_0,
    #[serde(rename = "iq4_nl")]
    Iq4Nl,
}

impl CacheType {
    /// Whether the type stores blocks of numbers with a common scale.
    pub fn is_quantized(self) -> bool {
        !matches!(self, CacheType::F32 | CacheType::F16 | CacheType::Bf16)
    }
}

/// The severity from which on messages are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are tracing's levels, and all there is to say")]
pub enum LogLevel {
    Off,
    Error,
    #[default]
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
        BackendConfig {
            gpu_enabled: true,
            context_size: None,
            batch_size: None,
            ubatch_size: None,
            threads: None,
            flash_attention: FlashAttention::Auto,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            device: "auto".to_owned(),
            mmap: true,
        }
    }
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig { max_concurrent_requests: 4, max_queued_requests: 64 }
    }
}

/// The sizes of a context, in tokens, with those that were left open filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sizes {
    /// Prompt and answer together.
    pub context: u32,
    /// Handed over at a time; at most `context`.
    pub batch: u32,
    /// Computed at a time; at most `batch`.
    pub ubatch: u32,
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
        self.engine.check().map_err(|problem| ("engine", problem))
    }
}

impl BackendConfig {
    /// The sizes of a context for a model that was trained on `trained_context` tokens.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`](crate::Error::InvalidRequest) if a batch was set that the context does not
    /// hold, or a micro-batch that the batch does not hold.
    pub fn sizes(&self, trained_context: u32) -> Result<Sizes> {
        let context = self.context_size.unwrap_or_else(|| trained_context.min(AUTO_CONTEXT_SIZE));
        let batch = self
            .batch_size
            .unwrap_or_else(|| self.ubatch_size.unwrap_or(0).max(AUTO_BATCH_SIZE).min(context));
        let ubatch = self.ubatch_size.unwrap_or(AUTO_UBATCH_SIZE.min(batch));
        fits("batch_size", batch, "context_size", context)
            .and_then(|()| fits("ubatch_size", ubatch, "batch_size", batch))
            .map_err(Problem::into_request_error)?;
        Ok(Sizes { context, batch, ubatch })
    }

    fn check(&self) -> Result<(), Problem> {
        within("context_size", self.context_size, 2, MAX_TOKENS, "tokens, one to read and one to write")?;
        within("batch_size", self.batch_size, 1, MAX_TOKENS, "tokens")?;
        within("ubatch_size", self.ubatch_size, 1, MAX_TOKENS, "tokens")?;
        within("threads", self.threads, 1, MAX_THREADS, "threads")?;
        if let (Some(batch), Some(context)) = (self.batch_size, self.context_size) {
            fits("batch_size", batch, "context_size", context)?;
        }
        if let (Some(ubatch), Some(batch)) = (self.ubatch_size, self.batch_size) {
            fits("ubatch_size", ubatch, "batch_size", batch)?;
        }
        if let (Some(ubatch), Some(context)) = (self.ubatch_size, self.context_size) {
            fits("ubatch_size", ubatch, "context_size", context)?;
        }
        if self.device.trim().is_empty() {
            return Err(Problem::new("device", "is empty: auto, cpu or the name of a device is needed"));
        }
        if !self.gpu_enabled && !matches!(self.device.as_str(), "auto" | "cpu") {
            let what = format!("{:?} cannot be used with gpu_enabled = false: auto or cpu can", self.device);
            return Err(Problem { field: "device", other: Some("gpu_enabled"), what });
        }
        if self.cache_type_v.is_quantized() && self.flash_attention == FlashAttention::Off {
            let what = "quantised values need flash attention: set flash_attention = \"auto\", or f16 here";
            return Err(Problem {
                field: "cache_type_v",
                other: Some("flash_attention"),
                what: what.to_owned(),
            });
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
    fn check(&self) -> Result<(), Problem> {
        let (running, waiting) = (self.max_concurrent_requests, self.max_queued_requests);
        within("max_concurrent_requests", Some(running), 1, MAX_CONCURRENT_REQUESTS, "requests")?;
        within("max_queued_requests", Some(waiting), 0, MAX_QUEUED_REQUESTS, "requests")
    }
}

/// An error that names the value and the range, unless the value is unset or in it.
fn within(field: &'static str, value: Option<u32>, least: u32, most: u32, unit: &str) -> Result<(), Problem> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(Problem::new(field, format!("{value} is out of range: {least} to {most} {unit}")))
        }
        _ => Ok(()),
    }
}

/// An error unless `part` is at most `whole`.
fn fits(field: &'static str, part: u32, whole_field: &'static str, whole: u32) -> Result<(), Problem> {
    if part <= whole {
        return Ok(());
    }
    let what = format!("{part} is larger than {whole_field}, which is {whole}: at most that is needed");
    Err(Problem { field, other: Some(whole_field), what })
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
    fn sizes_left_open_fit_each_other() {
        let sizes = |backend: &BackendConfig, trained| backend.sizes(trained).unwrap();
        let open = BackendConfig::default();
        assert_eq!(sizes(&open, 32_768), Sizes { context: 4096, batch: 2048, ubatch: 512 });
        assert_eq!(sizes(&open, 1024), Sizes { context: 1024, batch: 1024, ubatch: 512 });
        let small = BackendConfig { context_size: Some(100), ..BackendConfig::default() };
        assert_eq!(sizes(&small, 2048), Sizes { context: 100, batch: 100, ubatch: 100 });
        let wide = BackendConfig { ubatch_size: Some(4096), ..BackendConfig::default() };
        assert_eq!(sizes(&wide, 8192), Sizes { context: 4096, batch: 4096, ubatch: 4096 });
        let batch = BackendConfig { batch_size: Some(64), ..BackendConfig::default() };
        assert_eq!(sizes(&batch, 8192), Sizes { context: 4096, batch: 64, ubatch: 64 });
    }

    #[test]
    fn sizes_that_were_set_and_do_not_fit_are_errors() {
        let batch = BackendConfig { batch_size: Some(2048), ..BackendConfig::default() };
        let error = batch.sizes(1024).unwrap_err().to_string();
        assert_eq!(
            error,
            "batch_size: 2048 is larger than context_size, which is 1024: at most that is needed"
        );
        let ubatch = BackendConfig { ubatch_size: Some(4096), ..BackendConfig::default() };
        assert!(ubatch.sizes(2048).unwrap_err().to_string().starts_with("ubatch_size: 4096"));
    }
}
