//! What ends the command early: its exit code, and one line that a newcomer understands.

use super::{args::Args, numbers, output};
use clap::CommandFactory;
use inferno::Error;
use std::{ffi::OsString, io, process::ExitCode};

/// The exit codes; `--help` explains them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    Runtime = 1,
    Usage = 2,
    Model = 3,
    Memory = 4,
    #[cfg(feature = "builtin-model")]
    Unwell = 5,
    Interrupted = 130,
}

/// Why the command ends.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody reads the output any more, which is success.
    Closed,
    /// Ctrl-C; what there is to say was said.
    Interrupted,
    /// Something is wrong.
    Wrong(Wrong),
}

#[derive(Debug)]
pub(crate) struct Wrong {
    exit: Exit,
    kind: &'static str,
    message: String,
}

impl Failure {
    fn wrong(exit: Exit, kind: &'static str, message: impl Into<String>) -> Self {
        Failure::Wrong(Wrong { exit, kind, message: message.into() })
    }

    /// Something failed on the way.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self::wrong(Exit::Runtime, "runtime", message)
    }

    /// What was asked for makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::wrong(Exit::Usage, "usage", message)
    }

    /// The exit code of `inferno doctor` where not all is well.
    #[cfg(feature = "builtin-model")]
    pub(crate) fn unwell() -> ExitCode {
        ExitCode::from(Exit::Unwell as u8)
    }

    /// An error while settings were read.
    pub(crate) fn settings(error: &Error) -> Self {
        Self::wrong(Exit::Usage, kind(error), describe(error))
    }

    /// An error while a model was opened or loaded.
    pub(crate) fn model(error: Error) -> Self {
        let advice = match &error {
            Error::LoadCancelled => return Failure::Interrupted,
            Error::Io { action: "open", source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "; check the path, or leave out --model to use the built-in model"
            }
            Error::ModelLoadFailed { .. } => "; -v shows what the engine said",
            Error::Io { .. }
            | Error::InvalidGguf { .. }
            | Error::UnsupportedModel { .. }
            | Error::Template { .. } => "",
            _ => return error.into(),
        };
        Self::wrong(Exit::Model, kind(&error), format!("{}{advice}", describe(&error)))
    }

    /// What clap says about these arguments, in one line.
    pub(crate) fn from_clap(error: &clap::Error, arguments: &[OsString]) -> Self {
        let text = error.to_string();
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            output::note(&text);
            return Self::usage("a command is needed, such as `inferno run \"Once upon a time\"`");
        }
        let what = ["\n\nUsage:", "\n\nFor more information"]
            .iter()
            .fold(text.as_str(), |text, end| text.split(end).next().unwrap_or(text));
        let mut line = String::new();
        for part in what.split('\n').map(str::trim).filter(|part| !part.is_empty()) {
            match line.chars().last() {
                None => {}
                Some(':') => line.push(' '),
                Some(_) => line.push_str("; "),
            }
            line.push_str(part.strip_prefix("error: ").unwrap_or(part));
        }
        let commands = Args::command();
        let command = arguments.iter().skip(1).find_map(|a| commands.find_subcommand(a));
        let help =
            command.map_or_else(|| "--help".into(), |command| format!("{} --help", command.get_name()));
        Self::usage(format!("{line} (see `inferno {help}`)"))
    }

    /// Says it on stderr, with `json` also on stdout, and gives the exit code.
    pub(crate) fn report(&self, json: bool) -> ExitCode {
        match self {
            Failure::Closed => ExitCode::SUCCESS,
            Failure::Interrupted => {
                if json {
                    event(Exit::Interrupted, "interrupted", "interrupted");
                }
                ExitCode::from(Exit::Interrupted as u8)
            }
            Failure::Wrong(Wrong { exit, kind, message }) => {
                if json {
                    event(*exit, kind, message);
                }
                output::note(&format!("inferno: {message}"));
                ExitCode::from(*exit as u8)
            }
        }
    }

    /// The line for stderr where the program goes on.
    pub(crate) fn message(&self) -> String {
        match self {
            Failure::Closed => "the output is closed".into(),
            Failure::Interrupted => "interrupted".into(),
            Failure::Wrong(wrong) => wrong.message.clone(),
        }
    }
}

fn event(exit: Exit, kind: &str, message: &str) {
    let event =
        serde_json::json!({"event": "error", "kind": kind, "message": message, "exit_code": exit as u8});
    // a reader that is gone has no use for it
    let _ = output::json(&event);
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::InvalidGguf { .. } | Error::UnsupportedModel { .. } | Error::ModelLoadFailed { .. } => {
                Exit::Model
            }
            Error::ContextOverflow { .. } | Error::OutOfMemory { .. } => Exit::Memory,
            Error::InvalidRequest { .. } | Error::Config { .. } => Exit::Usage,
            Error::Cancelled | Error::LoadCancelled => return Failure::Interrupted,
            _ => Exit::Runtime,
        };
        Self::wrong(exit, kind(&error), describe(&error))
    }
}

/// The name of the error for programs.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Io { .. } => "io",
        Error::InvalidGguf { .. } => "invalid_gguf",
        Error::UnsupportedModel { .. } => "unsupported_model",
        Error::ModelLoadFailed { .. } => "model_load_failed",
        Error::ContextOverflow { .. } => "context_overflow",
        Error::OutOfMemory { .. } => "out_of_memory",
        Error::DeviceLost { .. } => "device_lost",
        Error::DeviceWrong { .. } => "device_wrong",
        Error::InvalidRequest { .. } => "invalid_request",
        Error::Config { .. } => "config",
        Error::Template { .. } => "template",
        Error::InvalidState { .. } => "invalid_state",
        Error::QueueFull { .. } => "queue_full",
        Error::DeadlineExceeded { .. } => "deadline_exceeded",
        Error::UnknownModel { .. } => "unknown_model",
        Error::Engine { .. } => "engine",
        _ => "runtime",
    }
}

/// The error in the words of the command line: flags for fields, readable sizes, a remedy.
fn describe(error: &Error) -> String {
    match error {
        Error::InvalidRequest { field, what } => match flag_of(field) {
            Some(flag) => format!("{flag}: {what}"),
            None => error.to_string(),
        },
        Error::ContextOverflow { needed, limit } => format!(
            "the context holds {limit} tokens, and {needed} are needed: shorten the prompt, lower --max-tokens or raise \
             --context-size"
        ),
        Error::OutOfMemory { device, needed, free } => {
            let free = free.map(|free| format!(", {} are free", numbers::bytes(free))).unwrap_or_default();
            format!(
                "not enough memory on {device}: {} are needed{free}; take a smaller model or a stronger quantisation, or \
                 lower --context-size",
                numbers::bytes(*needed)
            )
        }
        _ => one_line(&error.to_string()),
    }
}

/// Messages may quote file names and metadata, and those may hold anything.
fn one_line(text: &str) -> String {
    text.trim_end().replace(['\n', '\r'], " ")
}

/// The flag that sets this field of the library, if there is one.
fn flag_of(field: &str) -> Option<String> {
    let name = field.replace('_', "-");
    let command = Args::command();
    let mut flags = command.get_subcommands().flat_map(clap::Command::get_arguments);
    flags.any(|flag| flag.get_long() == Some(&name)).then(|| format!("--{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    fn clap_line(arguments: &[&str]) -> String {
        let arguments: Vec<OsString> = ["inferno"].iter().chain(arguments).map(OsString::from).collect();
        let error = Args::try_parse_from(&arguments).unwrap_err();
        Failure::from_clap(&error, &arguments).message()
    }

    #[test]
    fn wrong_usage_is_one_line_with_the_help_to_read() {
        let line = clap_line(&["run", "--flash-attention", "maybe"]);
        assert!(!line.contains('\n') && line.contains("maybe") && line.contains("auto, on, off"), "{line}");
        let line = clap_line(&["run", "--max-tokens", "-5"]);
        assert!(line.contains("'-5'") && line.contains("a whole number from 0"), "{line}");
        let line = clap_line(&["run", "--tmperature", "1"]);
        assert!(line.contains("--temperature") && line.ends_with("(see `inferno run --help`)"), "{line}");
        let line = clap_line(&["rum"]);
        assert!(line.contains("'rum'") && line.contains("'run'"), "{line}");
    }

    #[test]
    fn fields_of_the_library_become_flags() {
        assert_eq!(flag_of("top_p").unwrap(), "--top-p");
        assert_eq!(flag_of("cache_type_v").unwrap(), "--cache-type-v");
        assert_eq!(flag_of("token"), None);
    }
}
