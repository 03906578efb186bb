//! Hostile models and requests: each case runs in a child process, where a crash is a signal and not the end of the
//! tests. `INFERNO_FUZZ_CASES=20000` runs so many random cases; without it a few hundred.

mod drive;
pub(crate) mod model;
mod mutate;
mod requests;

use drive::{How, drive};
use inferno::gguf::{Strings, TensorType};
use model::{Data, Model};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

/// The job of a child process: `SET FROM TO`.
const JOB: &str = "INFERNO_HOSTILE_JOB";
/// The address space of a child, in KiB. Eight threads' stacks, the library and a small model need under 1 GiB.
const MEMORY: u64 = 6 << 20;
/// The time that a case has. The slowest that ends takes under a second where nothing else runs.
const PATIENCE: Duration = Duration::from_secs(30);
/// Cases that one child runs: what a failed context leaks is gone with it.
const SHARE: usize = 64;

#[derive(Debug, PartialEq)]
enum Verdict {
    /// The stage and the message.
    Done(String, String),
    Crash(String),
}

/// The i-th case of a set: its name, its model, and what is done with it.
type Case = fn(&Path, usize) -> Option<(String, Model, How)>;

fn sets() -> Vec<(&'static str, Case)> {
    vec![
        ("systematic", mutate::systematic),
        ("random", mutate::random),
        ("archs", mutate::archs),
        ("requests", requests::requests),
        ("regressions", regressions),
    ]
}

/// Not a test of its own: what the child processes run.
#[test]
#[ignore = "the child of the other tests here"]
fn child() {
    let Ok(job) = std::env::var(JOB) else { return };
    let parts: Vec<&str> = job.split(' ').collect();
    let (from, to): (usize, usize) = (parts[1].parse().unwrap(), parts[2].parse().unwrap());
    let (_, make) = *sets().iter().find(|(name, _)| *name == parts[0]).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("case.gguf");
    let mut out = std::io::stdout();
    for i in from..to {
        writeln!(out, "@start {i} (preparing)").unwrap();
        out.flush().unwrap();
        let Some((name, model, how)) = make(dir.path(), i) else {
            writeln!(out, "@end {i}").unwrap();
            break;
        };
        writeln!(out, "@start {i} {}", name.replace('\n', " ")).unwrap();
        out.flush().unwrap();
        let outcome = if model.write(&path) {
            if let Some(keep) = std::env::var_os("INFERNO_HOSTILE_KEEP") {
                std::fs::copy(&path, keep).unwrap();
            }
            drive(&path, how)
        } else {
            drive::Outcome { stage: "unwritten", what: String::new() }
        };
        writeln!(out, "@done {i} {} {}", outcome.stage, outcome.what.replace('\n', " ")).unwrap();
        out.flush().unwrap();
    }
}

/// The verdicts of the cases `from..to` of a set; fewer where the set ends. `INFERNO_HOSTILE_LOG` names a file to
/// which they are added as they come.
fn run(set: &str, from: usize, to: usize) -> Vec<(String, Verdict)> {
    let mut verdicts: Vec<(String, Verdict)> = vec![];
    let mut logged = 0;
    let mut log = std::env::var("INFERNO_HOSTILE_LOG")
        .ok()
        .map(|path| std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap());
    let mut next = from;
    while next < to {
        let until = to.min(next.saturating_add(SHARE));
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY}; ulimit -c 0; exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "hostile::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(JOB, format!("{set} {next} {until}"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = std::thread::spawn(move || {
            let mut text = vec![];
            std::io::copy(&mut stderr, &mut text).ok();
            String::from_utf8_lossy(&text).into_owned()
        });
        let (send, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        let mut running: Option<String> = None;
        let mut ended = false;
        let mut late = false;
        loop {
            match lines.recv_timeout(PATIENCE) {
                // the test harness prints before the first line
                Ok(line) => {
                    match line.find('@').map(|at| line[at..].splitn(4, ' ').collect::<Vec<_>>()).as_deref() {
                        Some(["@start", _, name @ ..]) => running = Some(name.join(" ")),
                        Some(["@done", i, stage, what]) => {
                            let name = running.take().unwrap_or_default();
                            verdicts.push((
                                format!("{i} {name}"),
                                Verdict::Done((*stage).into(), (*what).into()),
                            ));
                            next = i.parse::<usize>().unwrap() + 1;
                        }
                        Some(["@end", ..]) => {
                            running = None;
                            ended = true;
                        }
                        _ => {}
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    late = true;
                    child.kill().ok();
                    break;
                }
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.wait().unwrap();
        if let Some(name) = running {
            let said = said.join().unwrap();
            let tail: String = said.lines().rev().take(4).collect::<Vec<_>>().join(" | ");
            let how = if late { "time-out".to_owned() } else { status.to_string() };
            verdicts.push((format!("{next} {name}"), Verdict::Crash(format!("{how}: {tail}"))));
            next += 1;
        } else if ended {
            break;
        } else if !status.success() || next < until {
            let said = said.join().unwrap();
            panic!("{set} from {next}: the child ended between cases: {status} {said}");
        }
        if let Some(log) = &mut log {
            for (name, verdict) in &verdicts[logged..] {
                writeln!(log, "{set} {name}: {verdict:?}").unwrap();
            }
            logged = verdicts.len();
        }
    }
    verdicts
}

/// Counts by stage, and the crashes.
fn report(set: &str, verdicts: &[(String, Verdict)], since: Instant) -> (String, Vec<String>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut crashes = vec![];
    for (name, verdict) in verdicts {
        match verdict {
            Verdict::Done(stage, _) => *counts.entry(stage).or_default() += 1,
            Verdict::Crash(how) => crashes.push(format!("{set} {name}: {how}")),
        }
    }
    let mut text = format!("{set}: {} cases in {:?}:", verdicts.len(), since.elapsed());
    for (stage, n) in counts {
        write!(text, " {n} {stage},").unwrap();
    }
    (text + &format!(" {} crashes", crashes.len()), crashes)
}

#[test]
#[expect(clippy::print_stderr, reason = "the report of a long run, shown with --nocapture")]
fn mutated_models_end_in_text_or_an_error() {
    let many: Option<usize> =
        std::env::var("INFERNO_FUZZ_CASES").ok().map(|n| n.parse().expect("INFERNO_FUZZ_CASES is a number"));
    let only = std::env::var("INFERNO_HOSTILE_SET").ok();
    let start: usize = std::env::var("INFERNO_HOSTILE_FROM").map_or(0, |n| n.parse().unwrap());
    let mut all = vec![];
    for (set, _) in sets() {
        if ["requests", "regressions"].contains(&set) || only.as_ref().is_some_and(|only| only != set) {
            continue;
        }
        let began = Instant::now();
        let cases = many.unwrap_or(match set {
            "random" => 200,
            _ => 40,
        });
        let verdicts = run(set, start, start.saturating_add(cases));
        let (text, crashes) = report(set, &verdicts, began);
        eprintln!("{text}");
        all.extend(crashes);
    }
    assert!(all.is_empty(), "{} crashes:\n{}", all.len(), all.join("\n"));
}

fn retype(model: &mut Model, name: &str, kind: TensorType) {
    let t = model.tensor(name).unwrap();
    (t.kind, t.data) = (kind, Data::Weights);
}

type Made = (&'static str, &'static str, fn(&mut Model));

/// Models that crashed the process once: a name, the smallest model of an architecture, and what is changed in it.
const REGRESSIONS: &[Made] = &[
    ("graph needs attn_q", "phi3", |_| {}),
    ("graph needs ssm_dt", "falcon-h1", |_| {}),
    ("unmatched prefix", "llama", |m| {
        m.tokenizer("rwkv", "default");
        // tokens begin with an O, and none is that letter alone
        let tokens = (0..300).map(|i| format!("Ox{i}")).collect::<Strings>();
        m.set("tokenizer.ggml.tokens", tokens);
    }),
    ("norm in f16", "llama", |m| retype(m, "blk.0.attn_norm.weight", TensorType::F16)),
    ("matrix in i8", "llama", |m| retype(m, "blk.0.attn_q.weight", TensorType::I8)),
    ("matrix in q8_1", "llama", |m| retype(m, "blk.0.ffn_up.weight", TensorType::Q8_1)),
    ("embedding in f64", "llama", |m| retype(m, "token_embd.weight", TensorType::F64)),
    ("memory of another kind", "afmoe", |_| {}),
    ("rope of the indexer", "minimax-m3", |_| {}),
    ("wkv7 head of 16", "rwkv7", |m| m.set("rwkv7.wkv.head_size", 16u32)),
    ("trie token of 1 MB", "llama", |m| {
        m.tokenizer("t5", "default");
        let tokens = (0..300).map(|i| if i == 9 { "a".repeat(1_000_000) } else { format!("t{i}") });
        m.set("tokenizer.ggml.tokens", tokens.collect::<Strings>());
    }),
];

fn regressions(dir: &Path, i: usize) -> Option<(String, Model, How)> {
    let (name, arch, change) = REGRESSIONS.get(i)?;
    let mut model = mutate::completed(arch, dir).0;
    change(&mut model);
    Some(((*name).to_owned(), model, How::Drawn(4)))
}

/// Runs one of them in a child. The stage that it ended in, and the message.
fn regression(name: &str) -> (String, String) {
    let i = REGRESSIONS.iter().position(|(n, ..)| *n == name).expect("the name of a regression");
    match run("regressions", i, i + 1).pop().expect("one verdict").1 {
        Verdict::Done(stage, what) => (stage, what),
        Verdict::Crash(how) => panic!("{name}: {how}"),
    }
}

#[test]
fn a_model_without_a_tensor_that_its_graph_needs_is_an_error() {
    for name in ["graph needs attn_q", "graph needs ssm_dt"] {
        let (stage, what) = regression(name);
        assert!(stage == "run" && what.contains("NULL"), "{name}: {stage}: {what}");
    }
}

#[test]
fn a_text_that_no_rwkv_token_matches_is_tokenised() {
    let (stage, what) = regression("unmatched prefix");
    // it goes on to a chat, whose bytes are a token each
    assert!(stage == "run" && what.contains("the context holds 64 tokens"), "{stage}: {what}");
}

#[test]
fn weights_of_types_that_no_kernel_takes_are_refused() {
    for name in ["norm in f16", "matrix in i8", "matrix in q8_1", "embedding in f64"] {
        let (stage, what) = regression(name);
        assert!(stage == "load" && what.contains("buffer type"), "{name}: {stage}: {what}");
    }
}

#[test]
fn rope_dimensions_beyond_a_head_are_an_error() {
    let (stage, what) = regression("rope of the indexer");
    assert!(stage != "ok" && what.contains("n_dims"), "{stage}: {what}");
}

#[test]
fn afmoe_without_a_sliding_window_is_an_error() {
    let (stage, what) = regression("memory of another kind");
    assert!(stage == "run" && what.contains("res != nullptr"), "{stage}: {what}");
}

#[test]
fn wkv7_heads_that_the_kernel_would_overrun_are_refused() {
    let (stage, what) = regression("wkv7 head of 16");
    assert!(stage == "refused" && what.contains("wkv.head_size"), "{stage}: {what}");
}

#[test]
fn tokens_that_a_trie_would_recurse_on_are_refused() {
    let (stage, what) = regression("trie token of 1 MB");
    assert!(stage == "refused" && what.contains("token 9 has 1000000 bytes"), "{stage}: {what}");
}

/// Texts of 50 KB (1 MB with `INFERNO_FUZZ_CASES`) of one piece for the vocabularies that `std::regex` splits, and the
/// other kinds; options and contexts at their extremes.
#[test]
fn long_texts_are_tokenised_in_time_and_stack() {
    let began = Instant::now();
    let (text, crashes) = report("requests", &run("requests", 0, usize::MAX), began);
    assert!(crashes.is_empty(), "{text}:\n{}", crashes.join("\n"));
}

/// Threads that load, generate and unload the same file and share nothing. 2 s; `INFERNO_FUZZ_SECONDS` for longer.
#[test]
fn threads_load_generate_and_unload_at_once() {
    let seconds =
        std::env::var("INFERNO_FUZZ_SECONDS").map_or(2, |n| n.parse().expect("a number of seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let rounds = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for i in 0..16u32 {
            let rounds = &rounds;
            scope.spawn(move || {
                while Instant::now() < until {
                    let mut context = inferno::ContextOptions::default();
                    context.context_size = Some(128);
                    context.threads = Some(1 + usize::try_from(i % 2).unwrap());
                    let builder = inferno::Model::builder(spark()).with_context_options(context);
                    let model = inferno::blocking::Model::load(builder).unwrap();
                    let options = inferno::SampleOptions::default().with_max_tokens(4).with_seed(i);
                    model.generate("Once upon a time", options).unwrap();
                    if i % 3 == 0 {
                        model.unload();
                    }
                    rounds.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    assert!(rounds.into_inner() >= 16);
}

fn spark() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf")
}
