//! What the command line says, as typed data; what it means is in settings.rs.

#[cfg(feature = "server")]
mod serve;

use clap::{
    ArgAction,
    builder::{PossibleValuesParser, TypedValueParser},
};
use inferno::{
    CacheType, FlashAttention,
    config::{
        BackendOverrides, LogFormat, LogLevel, LogOverrides, ModelOverrides, Overrides, SampleOverrides,
    },
    sampling::Mirostat,
};
use serde::de::{DeserializeOwned, IntoDeserializer, value};
use std::{path::PathBuf, sync::LazyLock};

#[cfg(feature = "server")]
pub(crate) use serve::{ServeArgs, WorkerArgs};

const AFTER_HELP: &str = "\
Exit codes:
  0    success; also when the reader of the output goes away early
  1    a failure while running
  2    wrong usage, a wrong setting or an impossible request
  3    the model cannot be loaded: missing, damaged or not supported
  4    out of memory, or the text does not fit in the context
  5    `inferno doctor` found that not all is well
  130  interrupted with Ctrl-C

Settings come from .inferno.toml, the user's configuration file, INFERNO_* variables and flags; the later wins.
`inferno config` shows them and where each was made.";

static LONG_VERSION: LazyLock<String> = LazyLock::new(|| {
    let native = inferno::native_version();
    let mut text = format!(
        "{}\nllama.cpp {}\nggml {}\nbuild: {}\npatches:",
        env!("CARGO_PKG_VERSION"),
        native.llama_cpp,
        native.ggml,
        native.flags
    );
    for patch in native.patches.split_whitespace() {
        text.push_str("\n  ");
        text.push_str(patch);
    }
    text
});

/// Run large language models on this computer.
#[derive(Debug, clap::Parser)]
#[command(
    name = "inferno",
    version,
    long_version = LONG_VERSION.as_str(),
    after_help = AFTER_HELP,
    arg_required_else_help = true,
    subcommand_required = true,
    max_term_width = 110
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, clap::Args)]
pub(crate) struct GlobalArgs {
    /// Read the settings from this file instead of .inferno.toml and the user's file.
    #[arg(long, value_name = "FILE", global = true, help_heading = "General options")]
    pub(crate) config: Option<PathBuf>,
    /// Log to stderr: -v what the engine says, -vv everything. INFERNO_LOG takes finer filters.
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "General options")]
    verbose: u8,
    /// The least severe messages to log; nothing is logged by default.
    #[arg(long, value_name = "LEVEL", value_parser = named::<LogLevel>(LOG_LEVELS), conflicts_with = "verbose",
        global = true, help_heading = "General options")]
    log_level: Option<LogLevel>,
    /// How log lines look.
    #[arg(long, value_name = "FORMAT", value_parser = named::<LogFormat>(&["text", "json"]), global = true,
        help_heading = "General options")]
    log_format: Option<LogFormat>,
    /// Say nothing but the answer and errors.
    #[arg(short, long, global = true, help_heading = "General options")]
    pub(crate) quiet: bool,
}

const LOG_LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const CACHE_TYPES: &[&str] = &["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"];
const WHEN: &[&str] = &["auto", "on", "off"];

impl GlobalArgs {
    /// What these flags set.
    pub(crate) fn overrides(&self) -> LogOverrides {
        let level = match self.verbose {
            0 => self.log_level,
            // the engine's information comes as debugging: a library that informs would be a nuisance
            1 => Some(LogLevel::Debug),
            _ => Some(LogLevel::Trace),
        };
        LogOverrides { level, format: self.log_format }
    }
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Continue a text, or answer it with --chat.
    Run(Box<RunArgs>),
    /// Serve models over HTTP: OpenAI's interface, and a page to look at.
    #[cfg(feature = "server")]
    Serve(Box<ServeArgs>),
    /// Serve a model as a worker of a pool.
    #[cfg(feature = "server")]
    Worker(Box<WorkerArgs>),
    /// Talk with a model.
    Chat(Box<ChatArgs>),
    /// Measure the speed of prompts (pp) and of generation (tg).
    Bench(BenchArgs),
    /// Measure how often a model is right on held-out tasks, and its perplexity.
    Eval(EvalArgs),
    /// Show the tokens of a text.
    Tokenize(TokenizeArgs),
    /// Show what a model file holds and the memory that it needs, without loading it.
    Info(InfoArgs),
    /// List the devices that models can run on.
    Devices(DevicesArgs),
    /// Examine the devices: is what they compute right, how fast are they, and what to do where something is wrong.
    #[cfg(feature = "builtin-model")]
    Doctor(DoctorArgs),
    /// Measure how a model's products are best divided on a graphics device, and keep what is faster.
    Tune(TuneArgs),
    /// Show the settings in effect and where each was made.
    Config(ConfigArgs),
    /// Write a completion script for a shell.
    Completions(CompletionsArgs),
}

/// Which model, and how it runs.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Model options")]
pub(crate) struct ModelArgs {
    /// A GGUF file; without one, a small model that is built in.
    #[arg(short, long, value_name = "FILE")]
    model: Option<PathBuf>,
    /// Tokens of prompt and answer together [default: what the model was trained on, up to 4096].
    #[arg(short, long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    context_size: Option<u32>,
    /// Tokens of the prompt handed over at a time [default: 2048, or the context if smaller].
    #[arg(short, long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    batch_size: Option<u32>,
    /// Tokens of the prompt computed at a time [default: 512, or the batch if smaller].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    ubatch_size: Option<u32>,
    /// When attention runs as one fused operation.
    #[arg(long, value_name = "WHEN", value_parser = named::<FlashAttention>(WHEN))]
    flash_attention: Option<FlashAttention>,
    /// How keys are stored in the KV cache.
    #[arg(long, value_name = "TYPE", value_parser = named::<CacheType>(CACHE_TYPES))]
    cache_type_k: Option<CacheType>,
    /// How values are stored in the KV cache; q and iq types need flash attention.
    #[arg(long, value_name = "TYPE", value_parser = named::<CacheType>(CACHE_TYPES))]
    cache_type_v: Option<CacheType>,
    /// Where to run: auto, cpu, or a name, registry id or index from `inferno devices`; several with commas between.
    #[arg(short, long, value_name = "DEVICE")]
    device: Option<String>,
    /// Map the model file into memory [default: unless it is copied to a graphics card].
    #[arg(long, overrides_with = "no_mmap")]
    mmap: bool,
    /// Read the model file into memory instead of mapping it.
    #[arg(long)]
    no_mmap: bool,
    /// Trust graphics devices without the self-test that is otherwise done before the first use with a kind of model.
    #[arg(long)]
    no_self_test: bool,
    /// Keep the weights as the file has them: the CPU is slower, and a mapped file needs no copy in memory.
    #[arg(long)]
    no_repack: bool,
}

impl ModelArgs {
    /// Sets what these flags say.
    pub(crate) fn set(self, overrides: &mut Overrides) {
        overrides.model = ModelOverrides { path: self.model };
        overrides.backend_config = BackendOverrides {
            gpu_enabled: None,
            context_size: self.context_size,
            batch_size: self.batch_size,
            ubatch_size: self.ubatch_size,
            threads: None,
            flash_attention: self.flash_attention,
            cache_type_k: self.cache_type_k,
            cache_type_v: self.cache_type_v,
            device: self.device,
            mmap: (self.mmap || self.no_mmap).then_some(self.mmap),
            self_test: self.no_self_test.then_some(false),
            repack: self.no_repack.then_some(false),
        };
    }
}

/// CPU threads: one number here, a list in `bench`.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Model options")]
pub(crate) struct ThreadArgs {
    /// CPU threads [default: one for each physical core].
    #[arg(short, long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub(crate) threads: Option<u32>,
}

/// How text is sampled.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Sampling options")]
pub(crate) struct SampleArgs {
    /// At most so many tokens [default: until the end of the text or of the context].
    #[arg(short = 'n', long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    max_tokens: Option<u32>,
    /// The same seed gives the same text [default: random].
    #[arg(short, long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    seed: Option<u32>,
    /// Below 1 more predictable, above 1 more varied, 0 always the most probable token [default: 0.8].
    #[arg(long, alias = "temp", value_name = "T", value_parser = number, allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Keep the K most probable tokens; 0 is off [default: 40].
    #[arg(long, value_name = "K", value_parser = whole, allow_negative_numbers = true)]
    top_k: Option<u32>,
    /// Keep the most probable tokens that together reach P; 1 is off [default: 0.95].
    #[arg(long, value_name = "P", value_parser = number, allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Keep tokens with at least the share P of the highest probability; 0 is off [default: 0.05].
    #[arg(long, value_name = "P", value_parser = number, allow_negative_numbers = true)]
    min_p: Option<f32>,
    /// Keep the tokens of the most typical surprise, up to P; 1 is off [default: 1].
    #[arg(long, value_name = "P", value_parser = number, allow_negative_numbers = true)]
    typical_p: Option<f32>,
    /// Keep logits within N standard deviations of the highest; 0 is off [default: 0].
    #[arg(long, value_name = "N", value_parser = number, allow_negative_numbers = true)]
    top_n_sigma: Option<f32>,
    /// XTC: how often the most probable tokens are removed; 0 is off [default: 0].
    #[arg(long, value_name = "P", value_parser = number, allow_negative_numbers = true)]
    xtc_probability: Option<f32>,
    /// XTC: the probability from which on they are, but for the least of them [default: 0.1].
    #[arg(long, value_name = "P", value_parser = number, allow_negative_numbers = true)]
    xtc_threshold: Option<f32>,
    /// DRY: the size of the penalty on what would extend a repetition; 0 is off [default: 0].
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    dry_multiplier: Option<f32>,
    /// DRY: how the penalty grows with the length of the repetition [default: 1.75].
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    dry_base: Option<f32>,
    /// DRY: repetitions up to so many tokens are free [default: 2].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    dry_allowed_length: Option<u32>,
    /// DRY: how many tokens it looks back [default: 64].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    dry_penalty_last_n: Option<u32>,
    /// DRY: a string that ends a repetition; may be given several times [default: newline : " *].
    #[arg(long, alias = "dry-sequence-breaker", value_name = "TEXT", allow_hyphen_values = true)]
    dry_sequence_breakers: Option<Vec<String>>,
    /// Mirostat 1 or 2 in place of the stages between logit bias and temperature; 0 is off [default: 0].
    #[arg(long, value_name = "VERSION", value_parser = mirostat, allow_negative_numbers = true)]
    mirostat: Option<Mirostat>,
    /// Mirostat: the surprise to aim at, in bits per token [default: 5].
    #[arg(long, value_name = "BITS", value_parser = number, allow_negative_numbers = true)]
    mirostat_tau: Option<f32>,
    /// Mirostat: how fast it adapts [default: 0.1].
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    mirostat_eta: Option<f32>,
    /// Divides the logits of tokens seen lately; 1 is off [default: 1].
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    repeat_penalty: Option<f32>,
    /// How many tokens the three penalties look back [default: 64].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    repeat_last_n: Option<u32>,
    /// Subtracted from the logits of tokens seen lately; 0 is off [default: 0].
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    presence_penalty: Option<f32>,
    /// The same, for each time that the token was seen; 0 is off [default: 0].
    #[arg(long, value_name = "X", value_parser = number, allow_negative_numbers = true)]
    frequency_penalty: Option<f32>,
    /// Added to the logit of a token, ID=BIAS; ID=false forbids it. May be given several times.
    #[arg(long, value_name = "ID=BIAS", value_parser = bias)]
    logit_bias: Option<Vec<(u32, f32)>>,
    /// End before this text comes up; may be given several times.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    stop: Option<Vec<String>>,
    /// Go on where the model would end its text.
    #[arg(long)]
    ignore_eos: bool,
}

impl SampleArgs {
    /// Sets what these flags say.
    pub(crate) fn set(self, overrides: &mut Overrides) {
        let tokens = |n: u32| usize::try_from(n).expect("usize holds 32 bits where llama.cpp runs");
        overrides.sampling = SampleOverrides {
            max_tokens: self.max_tokens.map(tokens),
            seed: self.seed,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            typical_p: self.typical_p,
            top_n_sigma: self.top_n_sigma,
            xtc_probability: self.xtc_probability,
            xtc_threshold: self.xtc_threshold,
            dry_multiplier: self.dry_multiplier,
            dry_base: self.dry_base,
            dry_allowed_length: self.dry_allowed_length,
            dry_penalty_last_n: self.dry_penalty_last_n,
            dry_sequence_breakers: self.dry_sequence_breakers,
            mirostat: self.mirostat,
            mirostat_tau: self.mirostat_tau,
            mirostat_eta: self.mirostat_eta,
            repeat_penalty: self.repeat_penalty,
            repeat_last_n: self.repeat_last_n,
            presence_penalty: self.presence_penalty,
            frequency_penalty: self.frequency_penalty,
            logit_bias: self.logit_bias.map(|biases| biases.into_iter().collect()),
            stop: self.stop,
            logprobs: None,
            ignore_eos: self.ignore_eos.then_some(true),
        };
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The text to continue; `-` reads it from standard input, as does leaving it out in a pipe, where one line end at
    /// the very end is dropped.
    #[arg(value_name = "PROMPT", conflicts_with = "prompt_flag")]
    prompt: Option<String>,
    /// The text to continue.
    #[arg(id = "prompt_flag", short = 'p', long = "prompt", value_name = "TEXT", allow_hyphen_values = true)]
    prompt_flag: Option<String>,
    /// Let the model answer the prompt as a message, in its own chat template.
    #[arg(long)]
    pub(crate) chat: bool,
    /// Instructions that go before the message.
    #[arg(long, value_name = "TEXT", requires = "chat", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    /// Write one JSON object per line: events "prefill", "text", "token", "done" and "error".
    #[arg(long)]
    pub(crate) json: bool,
    /// Show on stderr what was computed, by operation and device; with --json it is an event "operations".
    #[arg(long)]
    pub(crate) operations: bool,
    /// Report log-probabilities in "token" events: of each chosen token, and of the N most probable.
    #[arg(long, value_name = "N", value_parser = whole, requires = "json", allow_negative_numbers = true)]
    logprobs: Option<u32>,
    /// Save tokens and KV cache at the end, for a later --restore-state.
    #[arg(long, value_name = "FILE")]
    pub(crate) save_state: Option<PathBuf>,
    /// Skip reading what the prompt begins with, as far as this saved state holds it.
    #[arg(long, value_name = "FILE")]
    pub(crate) restore_state: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    sampling: SampleArgs,
}

impl RunArgs {
    /// The prompt as an argument; `-` stands for standard input.
    pub(crate) fn take_prompt(&mut self) -> Option<String> {
        self.prompt_flag.take().or_else(|| self.prompt.take())
    }

    /// What the flags set.
    pub(crate) fn overrides(self) -> Overrides {
        let mut overrides = Overrides::default();
        self.model.set(&mut overrides);
        self.sampling.set(&mut overrides);
        overrides.backend_config.threads = self.threads.threads;
        overrides.sampling.logprobs =
            self.logprobs.map(|n| usize::try_from(n).expect("usize holds 32 bits where llama.cpp runs"));
        overrides
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct ChatArgs {
    /// Instructions that hold for the whole conversation.
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) system: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    threads: ThreadArgs,
    #[command(flatten)]
    sampling: SampleArgs,
}

impl ChatArgs {
    /// What the flags set.
    pub(crate) fn overrides(self) -> Overrides {
        let mut overrides = Overrides::default();
        self.model.set(&mut overrides);
        self.sampling.set(&mut overrides);
        overrides.backend_config.threads = self.threads.threads;
        overrides
    }
}

const BENCH_HELP: &str = "\
Measures as llama-bench does: pp N reads N pseudo-random tokens into an empty context, tg N computes N tokens one by \
one into an empty context. Before each row one untimed run warms up.

The column `output` tells whether two builds or machines compute the same: it is the start of the SHA-256 over the ids \
(32 bits each, little-endian) of the 32 most probable tokens, one after the other, that follow \"Once upon a time, there \
was a little\".";

#[derive(Debug, clap::Args)]
#[command(after_help = BENCH_HELP)]
pub(crate) struct BenchArgs {
    /// Prompt lengths to measure, separated by commas; 0 for none.
    #[arg(short = 'p', long, value_name = "N,…", value_parser = whole, value_delimiter = ',', default_value = "512",
        allow_negative_numbers = true)]
    pub(crate) n_prompt: Vec<u32>,
    /// Numbers of generated tokens to measure, separated by commas; 0 for none.
    #[arg(short = 'n', long, value_name = "N,…", value_parser = whole, value_delimiter = ',', default_value = "128",
        allow_negative_numbers = true)]
    pub(crate) n_gen: Vec<u32>,
    /// Runs of each row.
    #[arg(short, long, value_name = "N", value_parser = at_least_one, default_value = "5",
        allow_negative_numbers = true)]
    pub(crate) repetitions: u32,
    /// CPU threads, separated by commas [default: one for each physical core].
    #[arg(short, long, value_name = "N,…", value_parser = at_least_one, value_delimiter = ',',
        allow_negative_numbers = true)]
    pub(crate) threads: Vec<u32>,
    /// Write one JSON object per row.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct EvalArgs {
    /// A directory with heldout.jsonl and heldout.txt [default: those of the built-in model].
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// At most so many items of each task, and so many texts.
    #[arg(long, value_name = "N", value_parser = at_least_one, allow_negative_numbers = true)]
    pub(crate) limit: Option<u32>,
    /// Show so many wrong answers of each task on stderr.
    #[arg(long, value_name = "N", value_parser = whole, default_value = "0", allow_negative_numbers = true)]
    pub(crate) show: u32,
    /// Write one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    #[command(flatten)]
    pub(crate) threads: ThreadArgs,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TokenizeArgs {
    /// The text; `-` or nothing reads standard input, to the last byte.
    #[arg(value_name = "TEXT")]
    pub(crate) text: Option<String>,
    /// The model whose tokenizer is used [default: the built-in model].
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Leave out what the model wants around a text, such as the beginning-of-text token.
    #[arg(long)]
    pub(crate) no_special: bool,
    /// Read the text of control tokens, such as <|im_start|>, as these tokens.
    #[arg(long)]
    pub(crate) parse_special: bool,
    /// Write one JSON object.
    #[arg(long, conflicts_with = "ids_only")]
    pub(crate) json: bool,
    /// Write the ids on one line, separated by spaces.
    #[arg(long)]
    pub(crate) ids_only: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct InfoArgs {
    /// A GGUF file.
    #[arg(value_name = "MODEL")]
    pub(crate) path: PathBuf,
    /// Tokens of context to compute the memory for [default: what the model was trained on, up to 4096].
    #[arg(short, long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    pub(crate) context_size: Option<u32>,
    /// How keys are stored in the KV cache.
    #[arg(long, value_name = "TYPE", value_parser = named::<CacheType>(CACHE_TYPES))]
    pub(crate) cache_type_k: Option<CacheType>,
    /// How values are stored in the KV cache.
    #[arg(long, value_name = "TYPE", value_parser = named::<CacheType>(CACHE_TYPES))]
    pub(crate) cache_type_v: Option<CacheType>,
    /// Write one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DevicesArgs {
    /// Show the plans for this GGUF file; without one, for the small model that is built in.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Write one JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(feature = "builtin-model")]
const DOCTOR_HELP: &str = "\
For each device: its facts; each operation that a model needs, held against the CPU; copies to the device and back; buffers \
of growing size; the speed of the built-in model, and whether its text is the CPU's. The exit code is 0 where all is well, \
and 5 where it is not.";

#[cfg(feature = "builtin-model")]
#[derive(Debug, clap::Args)]
#[command(after_help = DOCTOR_HELP)]
pub(crate) struct DoctorArgs {
    /// Only this device: a name, registry id or index from `inferno devices`; several with commas between.
    #[arg(short, long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Write one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Write what was found into a file that can be attached to an issue. It names no users, computers or files.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

const TUNE_HELP: &str = "\
For each matrix of the model and a few numbers of columns: the shapes of the kernel that may be sensible, first held against \
the CPU, then timed. What is faster than the backend's own is kept in the user's cache directory, for this device, system and \
version. On a card with memory of its own private, managed and shared buffers are compared as well. A simulated device is \
measured by bytes and threadgroups.";

#[derive(Debug, clap::Args)]
#[command(after_help = TUNE_HELP)]
pub(crate) struct TuneArgs {
    /// The model, a GGUF file; without one, the small model that is built in.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) model: Option<PathBuf>,
    /// Only this device: a name, registry id or index from `inferno devices`; several with commas between.
    #[arg(short, long, value_name = "DEVICE")]
    pub(crate) device: Option<String>,
    /// Measure, and keep nothing.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Forget what was measured, and measure nothing.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) reset: bool,
    /// Write one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Write one JSON array.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Takes these names, which are those that the type has in a settings file.
fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names).map(|name| {
        let name: value::StrDeserializer<'_, value::Error> = name.as_str().into_deserializer();
        T::deserialize(name).expect("the names are those of the type; a test reads them all")
    })
}

fn whole(text: &str) -> Result<u32, String> {
    text.parse().map_err(|_| format!("a whole number from 0 to {} is needed", u32::MAX))
}

fn at_least_one(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("a whole number from 1 to {} is needed", u32::MAX)),
        Ok(n) => Ok(n),
    }
}

fn number(text: &str) -> Result<f32, String> {
    text.parse().map_err(|_| "a number is needed, such as 0.7".into())
}

fn mirostat(text: &str) -> Result<Mirostat, String> {
    let version: Option<u8> = text.parse().ok();
    version.and_then(|v| Mirostat::try_from(v).ok()).ok_or_else(|| "0 (off), 1 or 2 is needed".into())
}

fn bias(text: &str) -> Result<(u32, f32), String> {
    let parse = || {
        let (id, bias) = text.split_once('=')?;
        let bias = if bias == "false" { f32::NEG_INFINITY } else { bias.parse().ok()? };
        Some((id.parse().ok()?, bias))
    };
    parse().ok_or_else(|| "a token id and a number are needed, such as 15043=1.5, or 2=false".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn all_names_are_those_of_their_types() {
        fn all<T: DeserializeOwned + Clone + Send + Sync + 'static>(names: &'static [&'static str]) {
            for name in names {
                let command = clap::Command::new("x");
                named::<T>(names).parse_ref(&command, None, name.as_ref()).unwrap();
            }
        }
        all::<LogLevel>(LOG_LEVELS);
        all::<LogFormat>(&["text", "json"]);
        all::<CacheType>(CACHE_TYPES);
        all::<FlashAttention>(WHEN);
    }

    #[test]
    fn biases_are_read() {
        assert_eq!(bias("3=-1.5"), Ok((3, -1.5)));
        assert_eq!(bias("3=false"), Ok((3, f32::NEG_INFINITY)));
        for wrong in ["3", "=1", "x=1", "3=y", "-1=1"] {
            assert!(bias(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prompt_is_an_argument_or_a_flag() {
        let parse = |arguments: &[&str]| {
            let args = Args::try_parse_from([&["inferno", "run"], arguments].concat())?;
            let Command::Run(mut run) = args.command else { unreachable!() };
            Ok::<_, clap::Error>(run.take_prompt())
        };
        assert_eq!(parse(&["hi"]).unwrap(), Some("hi".into()));
        assert_eq!(parse(&["-p", "-x"]).unwrap(), Some("-x".into()));
        assert_eq!(parse(&["-"]).unwrap(), Some("-".into()));
        assert_eq!(parse(&[]).unwrap(), None);
        assert!(parse(&["hi", "--prompt", "ho"]).is_err());
    }

    #[test]
    fn every_setting_has_its_flag() {
        let command = Args::command();
        let run = command.find_subcommand("run").unwrap();
        let serve = command.find_subcommand("serve");
        let loaded = inferno::config::Config::load("nowhere".as_ref(), [], &Overrides::default()).unwrap();
        for setting in loaded.explain() {
            let (section, key) = setting.key.split_once('.').unwrap();
            let flag = match (section, key) {
                ("model", _) => "model".to_owned(),
                ("log", _) => format!("log-{key}"),
                (_, "gpu_enabled") => continue,
                ("worker", "id") => "worker-id".to_owned(),
                (_, "repack") => "no-repack".to_owned(),
                (_, "self_test") => "no-self-test".to_owned(),
                _ => key.replace('_', "-"),
            };
            let of = match (section, serve) {
                ("server" | "worker" | "engine", None) => continue,
                ("server" | "worker" | "engine", Some(serve)) => serve,
                _ => run,
            };
            let known = of.get_arguments().chain(command.get_arguments());
            assert!(known.into_iter().any(|a| a.get_long() == Some(&flag)), "--{flag}");
        }
    }
}
