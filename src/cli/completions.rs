//! `inferno completions`: a script that completes commands and flags in a shell.

use super::{
    args::{Args, CompletionsArgs},
    failure::Failure,
    output,
};
use clap::CommandFactory;

pub(crate) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    // first into memory: clap_complete panics where a write fails
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Args::command(), "inferno", &mut script);
    output::print_bytes(&script)
}
