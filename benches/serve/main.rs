//! A load generator for any server with OpenAI's `/v1/completions`: one server alone, or several in turns, so that a
//! machine whose speed drifts treats them alike.
//!
//! ```text
//! cargo bench --bench serve -- --target inferno=http://127.0.0.1:8080 --target llama-server=http://127.0.0.1:8081 \
//!     --clients 1,4,16 --prompt uniform:64..256 --output fixed:64
//! ```
//!
//! Prompts are arrays of random token ids, so that every server reads the same number of tokens; answers are greedy and of
//! the length that is asked for (`ignore_eos`). A closed loop keeps so many clients busy; an open loop (`--rate`) sends
//! requests as they come, at random times, whether earlier ones were answered or not. The same seed makes the same load.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a bench prints what it measured")]

mod client;
mod load;
mod report;

use clap::Parser;
use load::{Load, Point, Server};
use report::Sample;
use std::{
    process::ExitCode,
    str::FromStr,
    time::{Duration, Instant},
};

/// Measures servers under load.
#[derive(Debug, Parser)]
struct Args {
    /// A server: NAME=http://HOST:PORT. Ratios are to the last one named.
    #[arg(long = "target", value_name = "NAME=URL", required = true)]
    targets: Vec<Target>,
    /// The process of a server, whose memory is reported: NAME=PID.
    #[arg(long = "pid", value_name = "NAME=PID")]
    pids: Vec<String>,
    /// Clients of the closed loop, one point of measurement each.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4,8,16,64")]
    clients: Vec<usize>,
    /// Requests a second of the open loop, one point of measurement each, instead of the closed loop.
    #[arg(long, value_delimiter = ',')]
    rate: Vec<f64>,
    /// Requests in a round of each point. At least two for each client where it is not given.
    #[arg(long)]
    requests: Option<usize>,
    /// Rounds of each point and server.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Tokens of a prompt behind the shared prefix: fixed:N, uniform:A..B or lognormal:MEDIAN,SIGMA,MOST.
    #[arg(long, default_value = "uniform:32..256")]
    prompt: load::Lengths,
    /// Tokens of an answer, in the same form.
    #[arg(long, default_value = "fixed:64")]
    output: load::Lengths,
    /// Tokens that all prompts of the run begin with.
    #[arg(long, default_value_t = 0)]
    shared_prefix: usize,
    /// The token ids that prompts are made of: A..B.
    #[arg(long, default_value = "300..4000")]
    tokens: load::Range,
    /// The model's name in the requests.
    #[arg(long, default_value = "default")]
    model: String,
    /// Seconds after which a request has failed.
    #[arg(long, default_value_t = 600)]
    timeout: u64,
    /// The load's seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object for each point and server instead of a table.
    #[arg(long)]
    json: bool,
    /// Cargo passes this to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A server and what it is called in the table.
#[derive(Debug, Clone)]
struct Target {
    name: String,
    url: client::Address,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("expected NAME=http://HOST:PORT")?;
        Ok(Self { name: name.into(), url: url.parse()? })
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    match runtime.block_on(run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("serve: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<(), String> {
    let pids = args.targets.iter().map(|target| pid_of(args, &target.name)).collect::<Result<Vec<_>, _>>()?;
    let points: Vec<Point> = if args.rate.is_empty() {
        args.clients.iter().map(|clients| Point::Clients(*clients)).collect()
    } else {
        args.rate.iter().map(|rate| Point::Rate(*rate)).collect()
    };
    for target in &args.targets {
        warm_up(args, target).await?;
    }
    let mut table = report::Table::new(args.json);
    for (index, point) in points.iter().enumerate() {
        let requests = args.requests.unwrap_or(point.clients().map_or(64, |clients| (2 * clients).max(8)));
        let mut samples: Vec<Vec<Sample>> = vec![vec![]; args.targets.len()];
        for round in 0..args.rounds {
            let mut order: Vec<usize> = (0..args.targets.len()).collect();
            order.rotate_left(round % args.targets.len());
            for which in order {
                let load = Load {
                    requests,
                    prompt: args.prompt,
                    output: args.output,
                    prefix: args.shared_prefix,
                    tokens: args.tokens,
                    prefix_seed: args.seed,
                    // every round has prompts of its own, the same for each server
                    seed: args.seed.wrapping_mul(1000).wrapping_add((index * args.rounds + round + 1) as u64),
                };
                let started = Instant::now();
                let answers = load.run(*point, &server(args, &args.targets[which])).await;
                samples[which].push(Sample::new(answers, started.elapsed(), pids[which].and_then(resident)));
            }
        }
        let names: Vec<&str> = args.targets.iter().map(|target| target.name.as_str()).collect();
        table.point(*point, &names, &samples);
    }
    Ok(())
}

fn server(args: &Args, target: &Target) -> Server {
    Server {
        address: target.url.clone(),
        model: args.model.clone(),
        timeout: Duration::from_secs(args.timeout),
    }
}

/// The first request loads models and touches memory; it does not count.
async fn warm_up(args: &Args, target: &Target) -> Result<(), String> {
    let load = Load {
        requests: 1,
        prompt: load::Lengths::Fixed(32),
        output: load::Lengths::Fixed(8),
        prefix: 0,
        tokens: args.tokens,
        prefix_seed: args.seed,
        seed: args.seed,
    };
    let answers = load.run(Point::Clients(1), &server(args, target)).await;
    match answers.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(format!("{} at {}: {error}", target.name, target.url)),
        None => Err("no request was made".into()),
    }
}

fn pid_of(args: &Args, name: &str) -> Result<Option<u32>, String> {
    let Some(text) = args.pids.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix('=')) else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|_| format!("--pid {name}={text}: not a process id"))
}

/// Resident memory of a process in bytes, where the system tells.
fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
