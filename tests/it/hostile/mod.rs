//! Hostile models and requests: each case runs in a child process, where a crash is a signal and not the end of the
//! tests. `INFERNO_FUZZ_CASES=20000` runs so many random cases; without it a few hundred.

mod drive;
mod model;
mod mutate;

use drive::{How, drive};
use model::Model;
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

fn sets() -> Vec<(&'static str, fn(&Path, usize) -> Option<(String, Model, How)>)> {
    vec![("systematic", mutate::systematic), ("random", mutate::random), ("archs", mutate::archs)]
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
        let until = to.min(next + SHARE);
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -v {MEMORY}; ulimit -c 0; exec \"$@\""), "sh"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "hostile::child", "--ignored", "--nocapture", "--test-threads=1"])
            .env(JOB, format!("{set} {next} {until}"))
            // threads that spin while they wait slow each other down twentyfold where cores are shared
            .env("OMP_WAIT_POLICY", "passive")
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
                Ok(line) => match line.find('@').map(|at| line[at..].splitn(4, ' ').collect::<Vec<_>>()).as_deref() {
                    Some(["@start", _, name @ ..]) => running = Some(name.join(" ")),
                    Some(["@done", i, stage, what]) => {
                        let name = running.take().unwrap_or_default();
                        verdicts.push((format!("{i} {name}"), Verdict::Done((*stage).into(), (*what).into())));
                        next = i.parse::<usize>().unwrap() + 1;
                    }
                    Some(["@end", ..]) => {
                        running = None;
                        ended = true;
                    }
                    _ => {}
                },
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
        if only.as_ref().is_some_and(|only| only != set) {
            continue;
        }
        let began = Instant::now();
        let cases = many.unwrap_or(if set == "random" { 200 } else { 60 });
        let verdicts = run(set, start, start.saturating_add(cases));
        let (text, crashes) = report(set, &verdicts, began);
        eprintln!("{text}");
        all.extend(crashes);
    }
    assert!(all.is_empty(), "{} crashes:\n{}", all.len(), all.join("\n"));
}

fn spark() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf")
}
