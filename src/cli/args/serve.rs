//! What the command line says of serving.

use super::{ModelArgs, ThreadArgs, number, whole};
use inferno::config::{EngineOverrides, Overrides, ServerOverrides, WorkerOverrides};
use std::path::PathBuf;

const SERVE_HELP: &str = "\
The first line on standard output is the address. Requests name a model by the name of its file, with or without .gguf, \
an alias, or `default`; without a name they get the default, which is the model of --model.

SIGTERM or Ctrl-C: new work is refused with 503, requests at work may end within --drain-timeout and are cancelled then; the \
exit code is 0. A second signal ends the process at once.

--log-level info writes a line for each request, with the id that its answer carries as x-request-id.";

/// Where and how to serve.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "Server options")]
pub(crate) struct ServerArgs {
    /// The address or name to listen on [default: 127.0.0.1].
    #[arg(long, value_name = "ADDRESS")]
    host: Option<String>,
    /// The port; 0 lets the system choose [default: 8080].
    #[arg(long, value_name = "PORT", allow_negative_numbers = true)]
    port: Option<u16>,
    /// A file with the API keys that clients must send, one a line.
    #[arg(long, value_name = "FILE")]
    api_keys_file: Option<PathBuf>,
    /// Listen without keys where other machines can reach the server.
    #[arg(long)]
    allow_anonymous: bool,
    /// A web origin whose pages may use the server; may be given several times; * is all.
    #[arg(long, alias = "cors-origin", value_name = "ORIGIN")]
    cors_origins: Option<Vec<String>>,
    /// Another name for the model; may be given several times.
    #[arg(long, alias = "alias", value_name = "NAME")]
    aliases: Option<Vec<String>>,
    /// One more model, loaded when it is asked for; may be given several times.
    #[arg(long, value_name = "NAME=FILE", value_parser = named_file)]
    models: Option<Vec<(String, PathBuf)>>,
    /// Requests that run at once [default: as --max-sequences; 4 without batching].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    max_concurrent_requests: Option<u32>,
    /// Requests that may wait; more are turned away with 429 [default: 64].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    max_queued_requests: Option<u32>,
    /// Run requests to one model together in one context [default: true].
    #[arg(long, value_name = "BOOL")]
    batching: Option<bool>,
    /// Requests that run together at most [default: as --max-concurrent-requests where that is given; else 16, or 8 of
    /// a model with a recurrent state or a sliding window].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    max_sequences: Option<u32>,
    /// Tokens that a step for several requests computes at most [default: 128, or twice --max-sequences].
    #[arg(long, value_name = "TOKENS", value_parser = whole, allow_negative_numbers = true)]
    step_tokens: Option<u32>,
    /// Cells of the KV cache that requests share, one a token [default: those of four contexts].
    #[arg(long, value_name = "TOKENS", value_parser = whole, allow_negative_numbers = true)]
    kv_cells: Option<u32>,
    /// Unload a model that nobody uses after so many seconds [default: never].
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    idle_unload: Option<f32>,
    /// Bytes that all models may take together [default: what the machine has].
    #[arg(long, value_name = "BYTES")]
    memory_budget: Option<u64>,
    /// The longest body of a request, in bytes [default: 4194304].
    #[arg(long, value_name = "BYTES", value_parser = whole, allow_negative_numbers = true)]
    max_body_bytes: Option<u32>,
    /// The longest head of a request, in bytes [default: 32768].
    #[arg(long, value_name = "BYTES", value_parser = whole, allow_negative_numbers = true)]
    max_header_bytes: Option<u32>,
    /// Connections at once; more wait to be accepted [default: 512].
    #[arg(long, value_name = "N", value_parser = whole, allow_negative_numbers = true)]
    max_connections: Option<u32>,
    /// Seconds for a request's head to arrive, and for a connection to be idle [default: 10].
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    header_timeout: Option<f32>,
    /// Seconds for a request's body to arrive [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    body_timeout: Option<f32>,
    /// Seconds for a request from its body to its last token [default: 600].
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    request_timeout: Option<f32>,
    /// Seconds that a client may leave its answer unread [default: 30].
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    write_timeout: Option<f32>,
    /// Seconds for requests at work to end after SIGTERM [default: 20].
    #[arg(long, value_name = "SECONDS", value_parser = number, allow_negative_numbers = true)]
    drain_timeout: Option<f32>,
    /// The worker's id, given by its pool manager; makes the server a worker.
    #[arg(long, value_name = "ID")]
    worker_id: Option<String>,
    /// The pool manager's http:// address, which is told when the model is ready.
    #[arg(long, value_name = "URL")]
    callback_url: Option<String>,
    /// The address under which the pool manager reaches this worker [default: the one it listens on].
    #[arg(long, value_name = "URL")]
    advertised_url: Option<String>,
}

impl ServerArgs {
    /// Sets what these flags say.
    fn set(self, overrides: &mut Overrides) {
        overrides.server = ServerOverrides {
            host: self.host,
            port: self.port,
            api_keys_file: self.api_keys_file,
            allow_anonymous: self.allow_anonymous.then_some(true),
            cors_origins: self.cors_origins,
            aliases: self.aliases,
            models: self.models.map(|models| models.into_iter().collect()),
            max_body_bytes: self.max_body_bytes,
            max_header_bytes: self.max_header_bytes,
            max_connections: self.max_connections,
            header_timeout: self.header_timeout,
            body_timeout: self.body_timeout,
            request_timeout: self.request_timeout,
            write_timeout: self.write_timeout,
            drain_timeout: self.drain_timeout,
        };
        overrides.engine = EngineOverrides {
            max_concurrent_requests: self.max_concurrent_requests,
            max_queued_requests: self.max_queued_requests,
            batching: self.batching,
            max_sequences: self.max_sequences,
            step_tokens: self.step_tokens,
            kv_cells: self.kv_cells,
            idle_unload: self.idle_unload,
            memory_budget: self.memory_budget,
        };
        overrides.worker = WorkerOverrides {
            id: self.worker_id,
            callback_url: self.callback_url,
            advertised_url: self.advertised_url,
        };
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    threads: ThreadArgs,
}

impl ServeArgs {
    /// What the flags set.
    pub(crate) fn overrides(self) -> Overrides {
        let mut overrides = Overrides::default();
        self.server.set(&mut overrides);
        self.model.set(&mut overrides);
        overrides.backend_config.threads = self.threads.threads;
        overrides
    }
}

#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_HELP)]
pub(crate) struct WorkerArgs {
    /// Tell no pool manager.
    #[arg(long)]
    pub(crate) no_callback: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

impl WorkerArgs {
    /// What the flags set.
    pub(crate) fn overrides(self) -> Overrides {
        self.serve.overrides()
    }
}

fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => Ok((name.to_owned(), path.into())),
        _ => Err("a name and a file are needed, such as small=models/small.gguf".into()),
    }
}
