//! `inferno bench`: speed of prompts and of generation, in the columns of llama-bench.

use super::{
    args::{BenchArgs, GlobalArgs},
    failure::Failure,
    greedy,
    interrupt::Interrupt,
    load,
    output::{self, Waiting},
    runtime,
    settings::Settings,
};
use inferno::{LoadedModel, Session, Token, Tokenize, config::Overrides};
use serde_json::json;
use sha2::{Digest, Sha256};
use std::{
    num::NonZero,
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

/// The text whose continuation is hashed; `--help` states it.
const CHECK_PROMPT: &str = "Once upon a time, there was a little";
/// Tokens of the continuation that are hashed; `--help` states it.
const CHECK_TOKENS: usize = 32;
/// Hexadecimal digits of the hash that are shown.
const CHECK_DIGITS: usize = 12;

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    Prompt(usize),
    Generation(usize),
}

impl Test {
    fn tokens(self) -> usize {
        match self {
            Test::Prompt(n) | Test::Generation(n) => n,
        }
    }

    fn name(self) -> String {
        match self {
            Test::Prompt(n) => format!("pp{n}"),
            Test::Generation(n) => format!("tg{n}"),
        }
    }
}

pub(crate) fn run(args: BenchArgs, global: &GlobalArgs) -> Result<(), Failure> {
    let mut overrides = Overrides::default();
    args.model.set(&mut overrides);
    let settings = Settings::load(global, overrides)?;
    let size = |n: &u32| usize::try_from(*n).expect("usize holds 32 bits where llama.cpp runs");
    let prompts = args.n_prompt.iter().map(size).map(Test::Prompt);
    let tests: Vec<_> = prompts
        .chain(args.n_gen.iter().map(size).map(Test::Generation))
        .filter(|test| test.tokens() > 0)
        .collect();
    if tests.is_empty() {
        return Err(Failure::usage("there is nothing to measure: -p and -n are 0"));
    }
    let threads = match args.threads.iter().map(size).collect::<Vec<_>>() {
        none if none.is_empty() => vec![settings.context_options().threads.unwrap_or_else(default_threads)],
        some => some,
    };
    let plan = Plan { tests, threads, repetitions: args.repetitions, json: args.json, quiet: settings.quiet };

    runtime()?.block_on(async {
        let interrupt = Interrupt::listen();
        let model = load::load(&settings, &interrupt).await?.loaded()?;
        tokio::task::block_in_place(|| plan.measure(&settings, &model, &interrupt))
    })
}

/// What is measured.
struct Plan {
    tests: Vec<Test>,
    threads: Vec<usize>,
    repetitions: u32,
    json: bool,
    quiet: bool,
}

impl Plan {
    fn measure(
        &self,
        settings: &Settings,
        model: &Arc<LoadedModel>,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let check = model.tokenize(CHECK_PROMPT, Tokenize { add_special: true, parse_special: false })?;
        let longest = self.tests.iter().map(|test| test.tokens()).max().unwrap_or(0);
        let mut options = settings.context_options();
        options.context_size.get_or_insert(longest.max(check.len() + CHECK_TOKENS));
        if !self.json {
            output::print(&header())?;
        }
        for &threads in &self.threads {
            options.threads = Some(threads);
            let mut session = Session::new(model, &options)?;
            interrupt.stops(session.stop_handle());
            let tokens = pseudo_random(model, longest);
            let output = hash(&greedy::continuation(&mut session, &check, CHECK_TOKENS)?);
            for &test in &self.tests {
                let mut waiting = Waiting::spinner(format!("{}, warming up", test.name()), self.quiet);
                waiting.tick();
                let warm_up = match test {
                    Test::Prompt(n) => Test::Prompt(n.min(options.batch_size)),
                    Test::Generation(_) => Test::Generation(1),
                };
                once(&mut session, warm_up, &tokens)?;
                let mut times = vec![];
                for run in 1..=self.repetitions {
                    waiting.says(format!("{}, run {run} of {}", test.name(), self.repetitions));
                    times.push(once(&mut session, test, &tokens)?);
                }
                waiting.clear();
                let row = Row { model, threads, test, times, output: &output };
                if self.json {
                    output::json(&row.json(&options))?;
                } else {
                    output::line(&row.text())?;
                }
            }
        }
        if !self.json {
            let native = inferno::native_version();
            output::line(&format!(
                "\nbuild: inferno {}, llama.cpp {}, {}",
                env!("CARGO_PKG_VERSION"),
                native.llama_cpp,
                native.flags
            ))?;
        }
        Ok(())
    }
}

/// One run of a test, from an empty context.
fn once(session: &mut Session, test: Test, tokens: &[Token]) -> Result<Duration, Failure> {
    session.rewind(0)?;
    let began = Instant::now();
    match test {
        Test::Prompt(n) => session.prefill(&tokens[..n], |_| ControlFlow::Continue(()))?,
        Test::Generation(n) => {
            for &token in &tokens[..n] {
                session.decode(token)?;
                // as each step of a generation does; it also waits for a device that works on its own
                session.logits()?;
            }
        }
    }
    session.logits()?;
    Ok(began.elapsed())
}

/// The same tokens on every machine: a beginning of text where the model wants one, then a fixed sequence.
fn pseudo_random(model: &LoadedModel, n: usize) -> Vec<Token> {
    let vocabulary = u64::try_from(model.vocab_size()).unwrap_or(1).max(1);
    // Knuth's MMIX generator
    let mut state = 42_u64;
    let random = std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Token::try_from((state >> 33) % vocabulary).expect("a vocabulary is counted in i32")
    });
    model.bos().filter(|_| model.adds_bos()).into_iter().chain(random).take(n).collect()
}

/// The beginning of the SHA-256 over the tokens.
fn hash(tokens: &[Token]) -> String {
    let mut hash = Sha256::new();
    for token in tokens {
        hash.update(token.to_le_bytes());
    }
    let mut hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    hex.truncate(CHECK_DIGITS);
    hex
}

/// One CPU thread for each physical core that the process may use.
fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, NonZero::get);
    num_cpus::get_physical().clamp(1, allowed)
}

fn header() -> String {
    let names =
        row_of(["model", "size", "params", "backend", "threads", "test", "t/s", "output"].map(str::to_owned));
    let rule = WIDTHS.iter().enumerate().map(|(i, width)| {
        // numbers stand on the right
        if [0, 3, 7].contains(&i) { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
    });
    format!("{names}\n| {} |\n", rule.collect::<Vec<_>>().join(" | "))
}

/// llama-bench's, and one more.
const WIDTHS: [usize; 8] = [30, 10, 10, 10, 7, 15, 20, CHECK_DIGITS];

fn row_of(cells: [String; 8]) -> String {
    let mut line = String::from("|");
    for (i, (cell, width)) in cells.iter().zip(WIDTHS).enumerate() {
        let cell =
            if [0, 3, 7].contains(&i) { format!(" {cell:<width$} |") } else { format!(" {cell:>width$} |") };
        line.push_str(&cell);
    }
    line
}

struct Row<'a> {
    model: &'a LoadedModel,
    threads: usize,
    test: Test,
    times: Vec<Duration>,
    output: &'a str,
}

impl Row<'_> {
    fn speeds(&self) -> Vec<f64> {
        self.times.iter().map(|time| self.test.tokens() as f64 / time.as_secs_f64()).collect()
    }

    fn text(&self) -> String {
        let (speed, deviation) = mean_and_deviation(&self.speeds());
        let gib = self.model.tensor_bytes() as f64 / 1024.0_f64.powi(3);
        let parameters = self.model.parameters() as f64;
        row_of([
            self.model.description(),
            if gib < 1.0 { format!("{:.2} MiB", gib * 1024.0) } else { format!("{gib:.2} GiB") },
            if parameters < 1e9 {
                format!("{:.2} M", parameters / 1e6)
            } else {
                format!("{:.2} B", parameters / 1e9)
            },
            self.model.devices().join("+"),
            self.threads.to_string(),
            self.test.name(),
            format!("{speed:.2} ± {deviation:.2}"),
            self.output.to_owned(),
        ])
    }

    /// The names of llama-bench's JSON.
    fn json(&self, options: &inferno::ContextOptions) -> serde_json::Value {
        let nanoseconds: Vec<f64> = self.times.iter().map(|time| time.as_secs_f64() * 1e9).collect();
        let speeds = self.speeds();
        let (avg_ns, stddev_ns) = mean_and_deviation(&nanoseconds);
        let (avg_ts, stddev_ts) = mean_and_deviation(&speeds);
        let (n_prompt, n_gen) = match self.test {
            Test::Prompt(n) => (n, 0),
            Test::Generation(n) => (0, n),
        };
        json!({
            "model_filename": self.model.path(),
            "model_type": self.model.description(),
            "model_size": self.model.tensor_bytes(),
            "model_n_params": self.model.parameters(),
            "backend": self.model.devices().join("+"),
            "n_threads": self.threads,
            "n_batch": options.batch_size,
            "n_ubatch": options.ubatch_size,
            "type_k": options.cache_type_k,
            "type_v": options.cache_type_v,
            "flash_attn": options.flash_attention,
            "test": self.test.name(),
            "n_prompt": n_prompt,
            "n_gen": n_gen,
            "avg_ns": avg_ns.round(),
            "stddev_ns": stddev_ns.round(),
            "avg_ts": avg_ts,
            "stddev_ts": stddev_ts,
            "samples_ns": self.times.iter().map(|t| u64::try_from(t.as_nanos()).ok()).collect::<Vec<_>>(),
            "samples_ts": speeds,
            "output": self.output,
            "version": env!("CARGO_PKG_VERSION"),
            "native": inferno::native_version(),
        })
    }
}

/// The mean and the deviation of a sample, as llama-bench has them.
fn mean_and_deviation(sample: &[f64]) -> (f64, f64) {
    let n = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / n;
    if sample.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = sample.iter().map(|x| (x - mean).powi(2)).sum();
    (mean, (squares / (n - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_those_of_a_sample() {
        assert_eq!(mean_and_deviation(&[2.0]), (2.0, 0.0));
        let (mean, deviation) = mean_and_deviation(&[1.0, 2.0, 3.0, 4.0]);
        assert!((mean - 2.5).abs() < 1e-12 && (deviation - 1.290_994_448_735_805_6).abs() < 1e-12);
    }

    #[test]
    fn the_hash_is_stable() {
        // printf '\1\0\0\0\2\1\0\0' | sha256sum
        assert_eq!(hash(&[1, 258]).len(), CHECK_DIGITS);
        assert_eq!(hash(&[]), "e3b0c44298fc");
    }

    #[test]
    fn the_table_is_markdown() {
        let header = header();
        let mut lines = header.lines();
        let (names, rule) = (lines.next().unwrap(), lines.next().unwrap());
        assert_eq!(names.chars().count(), rule.chars().count());
        assert!(rule.starts_with("| ---") && rule.contains("---: |"));
    }
}
