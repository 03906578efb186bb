//! What the settings of all sources mean to the library.

use super::{args::GlobalArgs, failure::Failure};
use inferno::{ContextOptions, Engine, Error, LoadedModel, Model, ModelBuilder, SampleOptions, config};
use std::{env, io, path::Path};
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Takes the filter of what is logged: a level, or `target=level`, separated by commas (`tracing_subscriber`'s `Targets`).
const LOG_VARIABLE: &str = "INFERNO_LOG";

/// The settings in effect.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) loaded: config::Loaded,
    pub(crate) quiet: bool,
    /// Whether contexts count what they compute.
    pub(crate) count_operations: bool,
}

impl Settings {
    /// Reads all sources and starts to log as they say.
    pub(crate) fn load(global: &GlobalArgs, mut overrides: config::Overrides) -> Result<Self, Failure> {
        overrides.log = global.overrides();
        let env = env::vars_os().filter(|(name, _)| name != LOG_VARIABLE);
        let loaded = match &global.config {
            Some(file) => config::Config::load_file(file, env, &overrides),
            None => config::Config::load(Path::new(""), env, &overrides),
        }
        .map_err(|error| Failure::settings(&error))?;
        let settings = Self { loaded, quiet: global.quiet, count_operations: false };
        settings.log()?;
        Ok(settings)
    }

    fn config(&self) -> &config::Config {
        &self.loaded.config
    }

    /// Logs to stderr, if anything is asked for.
    fn log(&self) -> Result<(), Failure> {
        let log = &self.config().log;
        let filter = match env::var(LOG_VARIABLE) {
            Ok(filter) => filter,
            Err(env::VarError::NotPresent) => {
                let level = match log.level {
                    config::LogLevel::Off => return Ok(()),
                    config::LogLevel::Error => "error",
                    config::LogLevel::Warn => "warn",
                    config::LogLevel::Info => "info",
                    config::LogLevel::Debug => "debug",
                    config::LogLevel::Trace => "trace",
                };
                // other crates log what only their authors want to know
                format!("inferno={level}")
            }
            Err(env::VarError::NotUnicode(_)) => {
                return Err(Failure::usage(format!("{LOG_VARIABLE} is not valid UTF-8")));
            }
        };
        // not EnvFilter: its regular expressions took a tenth of the time that a release build takes
        let filter: Targets = filter.parse().map_err(|e| {
            Failure::usage(format!("{LOG_VARIABLE}={filter}: {e}; an example is info,inferno::native=debug"))
        })?;
        let layer = tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(false);
        let registry = tracing_subscriber::registry().with(filter);
        let started = match log.format {
            config::LogFormat::Text => registry.with(layer).try_init(),
            config::LogFormat::Json => registry.with(layer.json()).try_init(),
        };
        started.map_err(|e| Failure::runtime(format!("cannot log: {e}")))
    }

    /// An error while a model was opened or loaded as these settings say.
    pub(crate) fn failed(&self, error: Error) -> Failure {
        Failure::model(self.loaded.placed(error))
    }

    /// Whether the built-in model is used.
    pub(crate) fn is_builtin(&self) -> bool {
        self.config().model.path.is_none()
    }

    /// The model that the settings name, ready to load.
    pub(crate) fn model(&self) -> Result<ModelBuilder, Failure> {
        let builder = match &self.config().model.path {
            Some(path) => Model::builder(path),
            None => builtin()?,
        };
        self.with_settings(builder)
    }

    /// A model that is loaded and run as the settings say.
    pub(crate) fn with_settings(&self, builder: ModelBuilder) -> Result<ModelBuilder, Failure> {
        Ok(builder
            .with_load_options(self.config().backend_config.load_options())
            .with_context_options(self.context_options())
            .with_engine(&Engine::new(self.config().engine.options())?))
    }

    /// How contexts are made. [`check_sizes`](Self::check_sizes) has the last word.
    pub(crate) fn context_options(&self) -> ContextOptions {
        let mut options = self.config().backend_config.context_options();
        options.count_operations = self.count_operations;
        options
    }

    /// Whether batches that were set fit the context that this model gets.
    pub(crate) fn check_sizes(&self, model: &LoadedModel) -> Result<(), Failure> {
        let context = self.context_options().context_for(model);
        Ok(self.config().backend_config.check_context(context)?)
    }

    /// How text is sampled.
    pub(crate) fn sample_options(&self) -> SampleOptions {
        self.config().sampling.clone()
    }
}

#[cfg(feature = "builtin-model")]
fn builtin() -> Result<ModelBuilder, Failure> {
    Ok(Model::builtin())
}

#[cfg(not(feature = "builtin-model"))]
fn builtin() -> Result<ModelBuilder, Failure> {
    Err(Failure::usage("this build has no model of its own: name a GGUF file with --model"))
}
