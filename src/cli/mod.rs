//! The command line: one file per subcommand; the only place that prints.

mod answer;
mod args;
mod bench;
mod chat;
mod completions;
mod config;
mod devices;
#[cfg(feature = "builtin-model")]
mod doctor;
mod eval;
mod failure;
mod greedy;
mod info;
mod input;
mod interrupt;
mod load;
mod numbers;
mod operations;
mod output;
mod run;
#[cfg(feature = "server")]
mod serve;
mod settings;
mod tokenize;
mod tune;

use args::{Args, Command};
use clap::Parser;
use failure::Failure;
use std::{ffi::OsString, process::ExitCode};

/// Runs the command with these arguments and reports what goes wrong.
pub(crate) fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    // also for arguments that cannot be understood
    let json = arguments.iter().skip(1).take_while(|a| *a != "--").any(|a| a == "--json");
    match run(&arguments) {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

fn run(arguments: &[OsString]) -> Result<ExitCode, Failure> {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) if !error.use_stderr() => {
            output::print(&error.to_string())?;
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => return Err(Failure::from_clap(&error, arguments)),
    };
    match args.command {
        Command::Run(command) => run::run(*command, &args.global),
        #[cfg(feature = "server")]
        Command::Serve(command) => serve::serve(*command, &args.global),
        #[cfg(feature = "server")]
        Command::Worker(command) => serve::worker(*command, &args.global),
        Command::Chat(command) => chat::run(*command, &args.global),
        Command::Bench(command) => bench::run(command, &args.global),
        Command::Eval(command) => eval::run(command, &args.global),
        Command::Tokenize(command) => tokenize::run(command, &args.global),
        Command::Info(command) => info::run(&command),
        Command::Devices(command) => devices::run(&command),
        #[cfg(feature = "builtin-model")]
        Command::Doctor(command) => return doctor::run(&command, &args.global),
        Command::Tune(command) => tune::run(&command, &args.global),
        Command::Config(command) => config::run(&command, &args.global),
        Command::Completions(command) => completions::run(&command),
    }?;
    Ok(ExitCode::SUCCESS)
}

/// A runtime for commands that wait for several things at once: a model, a stream, Ctrl-C.
fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::runtime(format!("cannot start threads: {e}")))
}
