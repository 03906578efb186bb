//! The one error type: every way in which inferno can fail, with the data a caller needs to act on it.

use std::path::PathBuf;

/// Shorthand for results that fail with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, from a setting to a device.
///
/// The message of each variant says what was wrong and, where there is one, what would be right.
/// Match on the variant, not on the text: the text may improve between versions.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was attempted, as a verb: "open", "read", "write".
        action: &'static str,
        /// The file it was attempted on.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },

    /// The file is not a well-formed GGUF file. Found by our own reader, before C++ sees the file.
    #[error("{} is not a valid GGUF file: {what} (at byte {offset})", path.display())]
    InvalidGguf {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
        /// Where in the file, in bytes from its start.
        offset: u64,
    },

    /// A well-formed model that this build cannot run.
    #[error("{} cannot be run: {what}", path.display())]
    UnsupportedModel {
        /// The file.
        path: PathBuf,
        /// What is not supported, and what would be.
        what: String,
    },

    /// The native engine refused to load the model; `log` holds what it said.
    #[error("loading {} failed: {what}", path.display())]
    ModelLoadFailed {
        /// The file.
        path: PathBuf,
        /// The engine's reason.
        what: String,
    },

    /// The load was cancelled before it finished; everything it held is freed.
    #[error("loading was cancelled")]
    LoadCancelled,

    /// Prompt and requested output do not fit in the context.
    #[error(
        "the context holds {limit} tokens, {needed} are needed: shorten the prompt, lower max_tokens or raise the context size"
    )]
    ContextOverflow {
        /// Tokens that the request needs.
        needed: usize,
        /// Tokens that the context holds.
        limit: usize,
    },

    /// A device does not have the memory for what was asked.
    #[error("not enough memory on {device}: {needed} bytes are needed{}", free.map(|f| format!(", {f} are free")).unwrap_or_default())]
    OutOfMemory {
        /// The device, "CPU" for host memory.
        device: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes that were free, where that is known.
        free: Option<u64>,
    },

    /// A device is gone: it was unplugged. What was on it is lost; load the model anew, on another device.
    #[error("the device {device} is gone")]
    DeviceLost {
        /// The device, by its short name.
        device: String,
    },

    /// A device computes wrongly what is asked for: it failed its self-test with these settings. Nothing was started.
    #[error(
        "{device} failed its self-test with these settings: {what}; take other cache types, leave flash attention to \
         the plan, or load the model on another device, such as the CPU"
    )]
    DeviceWrong {
        /// The device, by its short name.
        device: String,
        /// What it computes wrongly.
        what: String,
    },

    /// A request or an option is wrong; nothing was started.
    #[error("{field}: {what}")]
    InvalidRequest {
        /// The option, by its name in the library.
        field: &'static str,
        /// What is wrong with its value, and what would be right.
        what: String,
    },

    /// A setting in a configuration file, an environment variable or a flag is wrong.
    #[error("{place}: {key}: {what}")]
    Config {
        /// Where the setting stands: `FILE:LINE`, the variable or the flag.
        place: String,
        /// The key, in dotted form.
        key: String,
        /// What is wrong with it, and what would be right.
        what: String,
    },

    /// The chat template of the model failed to render.
    #[error("the model's chat template failed: {what}")]
    Template {
        /// The template engine's message.
        what: String,
    },

    /// A saved state cannot be used here.
    #[error("{} cannot be restored: {what}", path.display())]
    InvalidState {
        /// The state file.
        path: PathBuf,
        /// Why it does not fit: another model, another cache type, another version, damage.
        what: String,
    },

    /// The request waited for a free place and the queue was full.
    #[error("the queue is full: {running} requests run and {queued} wait; try again later")]
    QueueFull {
        /// Requests running now.
        running: usize,
        /// Requests waiting now.
        queued: usize,
    },

    /// The request's deadline passed while it waited or ran.
    #[error("the request's deadline of {:.3} s passed", after.as_secs_f64())]
    DeadlineExceeded {
        /// The deadline, from the request on.
        after: std::time::Duration,
    },

    /// No model of that name is registered.
    #[error("there is no model named {name:?}; there {}", known_models(known))]
    UnknownModel {
        /// The name that was asked for.
        name: String,
        /// The names and aliases that there are.
        known: Vec<String>,
    },

    /// The pool manager of a worker could not be told that the worker is ready.
    #[error("the pool manager was not told: {what}")]
    Callback {
        /// Who was to be told, and what happened.
        what: String,
    },

    /// The request was cancelled.
    #[error("the request was cancelled")]
    Cancelled,

    /// The engine was shut down, or the model unloaded, while the request was waiting.
    #[error("the engine was shut down")]
    ShutDown,

    /// The native engine failed inside a call that our checks let through. The context is
    /// discarded; the process and other requests live on.
    #[error("the native engine failed in {call}: {what}")]
    Engine {
        /// The operation that failed.
        call: &'static str,
        /// What the engine said: an exception's text, an assertion, a status code.
        what: String,
    },
}

/// "are \"a\" and \"b\"", for the message of [`Error::UnknownModel`].
fn known_models(known: &[String]) -> String {
    match known {
        [] => "are none".into(),
        [one] => format!("is {one:?}"),
        [first @ .., last] => {
            let first: Vec<_> = first.iter().map(|name| format!("{name:?}")).collect();
            format!("are {} and {last:?}", first.join(", "))
        }
    }
}

impl Error {
    /// Shorthand for [`Error::Io`].
    pub(crate) fn io(action: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { action, path: path.into(), source }
    }

    /// The same error once more, for another who waited for the same thing.
    pub(crate) fn again(&self) -> Self {
        use Error as E;
        match self {
            E::Io { action, path, source } => E::Io {
                action,
                path: path.clone(),
                // the system's number, where there is one, says more than its kind
                source: match source.raw_os_error() {
                    Some(code) => std::io::Error::from_raw_os_error(code),
                    None => std::io::Error::new(source.kind(), source.to_string()),
                },
            },
            E::InvalidGguf { path, what, offset } => {
                E::InvalidGguf { path: path.clone(), what: what.clone(), offset: *offset }
            }
            E::UnsupportedModel { path, what } => {
                E::UnsupportedModel { path: path.clone(), what: what.clone() }
            }
            E::ModelLoadFailed { path, what } => {
                E::ModelLoadFailed { path: path.clone(), what: what.clone() }
            }
            E::LoadCancelled => E::LoadCancelled,
            E::ContextOverflow { needed, limit } => E::ContextOverflow { needed: *needed, limit: *limit },
            E::OutOfMemory { device, needed, free } => {
                E::OutOfMemory { device: device.clone(), needed: *needed, free: *free }
            }
            E::DeviceLost { device } => E::DeviceLost { device: device.clone() },
            E::DeviceWrong { device, what } => E::DeviceWrong { device: device.clone(), what: what.clone() },
            E::InvalidRequest { field, what } => E::InvalidRequest { field, what: what.clone() },
            E::Config { place, key, what } => {
                E::Config { place: place.clone(), key: key.clone(), what: what.clone() }
            }
            E::Template { what } => E::Template { what: what.clone() },
            E::InvalidState { path, what } => E::InvalidState { path: path.clone(), what: what.clone() },
            E::QueueFull { running, queued } => E::QueueFull { running: *running, queued: *queued },
            E::DeadlineExceeded { after } => E::DeadlineExceeded { after: *after },
            E::UnknownModel { name, known } => E::UnknownModel { name: name.clone(), known: known.clone() },
            E::Callback { what } => E::Callback { what: what.clone() },
            E::Cancelled => E::Cancelled,
            E::ShutDown => E::ShutDown,
            E::Engine { call, what } => E::Engine { call, what: what.clone() },
        }
    }

    /// Shorthand for [`Error::InvalidRequest`].
    pub(crate) fn request(field: &'static str, what: impl Into<String>) -> Self {
        Error::InvalidRequest { field, what: what.into() }
    }
}
