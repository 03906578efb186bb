//! What running requests together gains: total tokens per second of 1, 2, 4, 8 and 16 streams, in one context and in one
//! context each, in turns.
//!
//! `cargo bench --bench batch -- [MODEL.gguf|builtin] [PROMPT] [OUTPUT] [ROUNDS] [THREADS] [SHARED]`: each stream reads
//! PROMPT tokens, of which the first SHARED are the same for all, and generates OUTPUT, greedily and without an end. A
//! round times all streams from the first request to the last answer, once each way. The table has the median over the
//! rounds: generated tokens a second, the time to the first token of the slowest stream, and the processor time of a
//! token (Linux), which says more than the speed on a machine that others use too: many contexts have many threads, and
//! get more of it.

use inferno::{BatchOptions, ContextOptions, Engine, EngineOptions, Model, Prompt, Request, SampleOptions};
use std::{io::Write, time::Instant};

const STREAMS: [usize; 5] = [1, 2, 4, 8, 16];

/// One way to serve, round by round: generated tokens a second, the time to the first token of the slowest stream in
/// seconds, processor time for a token in milliseconds.
struct Figures {
    speed: Vec<f64>,
    first: Vec<f64>,
    cpu: Vec<f64>,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let number = |at: usize, default: usize| match args.get(at) {
        Some(text) => text.parse().unwrap_or_else(|_| panic!("{text} is no number")),
        None => default,
    };
    let (prompt, output, rounds) = (number(1, 64), number(2, 64), number(3, 3));
    let (threads, shared) = (number(4, 2), number(5, 0));
    assert!(shared <= prompt, "a prompt of {prompt} tokens cannot share {shared}");
    let most = STREAMS[STREAMS.len() - 1];
    let mut context = ContextOptions::default();
    context.context_size = Some(prompt + output);
    context.threads = Some(threads);
    let mut limits = EngineOptions::default();
    limits.max_concurrent_requests = most;
    let engine = Engine::new(limits).expect("positive");
    let builder = match args.first().map(String::as_str) {
        None | Some("builtin") => Model::builtin(),
        Some(path) => Model::builder(path),
    };
    let cells = most * (prompt + output);
    let batching = BatchOptions::default().with_max_sequences(most).with_kv_cells(cells);
    let builder = builder.with_context_options(context).with_engine(&engine).with_batching(batching);

    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let model = runtime.block_on(builder.load()).expect("the model loads");
    let mut out = std::io::stdout();
    let line = format!("{threads} threads, prompts of {prompt} tokens ({shared} shared), {output} generated");
    writeln!(out, "{line}").expect("stdout is open");
    let head = "| streams | together t/s | apart t/s | ratio | TTFT s | apart | CPU ms/token | apart |";
    writeln!(out, "{head}\n|---|---|---|---|---|---|---|---|").expect("stdout is open");
    let mut run = 0;
    for streams in STREAMS {
        let mut ways = [(); 2].map(|()| Figures { speed: vec![], first: vec![], cpu: vec![] });
        for round in 0..rounds {
            // the order changes: what the machine does meanwhile hits both
            for way in [round % 2, 1 - round % 2] {
                run += 1;
                let (speed, first, cpu) =
                    runtime.block_on(measure(&model, way == 1, streams, prompt, output, shared, run));
                ways[way].speed.push(speed);
                ways[way].first.push(first);
                ways[way].cpu.push(cpu);
            }
        }
        let [together, apart] =
            ways.map(|mut way| (median(&mut way.speed), median(&mut way.first), median(&mut way.cpu)));
        writeln!(
            out,
            "| {streams} | {:.1} | {:.1} | {:.2} | {:.3} | {:.3} | {:.2} | {:.2} |",
            together.0,
            apart.0,
            together.0 / apart.0,
            together.1,
            apart.1,
            together.2,
            apart.2
        )
        .expect("stdout is open");
    }
}

/// All streams once.
async fn measure(
    model: &Model,
    isolated: bool,
    streams: usize,
    prompt: usize,
    output: usize,
    shared: usize,
    run: usize,
) -> (f64, f64, f64) {
    let mut options = SampleOptions::default().with_temperature(0.0).with_max_tokens(output);
    options.ignore_eos = true;
    let vocab = model.loaded().expect("loaded").vocab_size();
    let token = |x: usize| i32::try_from(300 + x % (vocab - 300)).expect("in the vocabulary");
    let requests = (0..streams).map(|stream| {
        // what a run shares, only its streams share
        let common = (0..shared).map(|i| token(run * 7 + i * 5));
        let own = (shared..prompt).map(|i| token(run * 131 + stream * 17 + i * 3));
        let request = Request::new(Prompt::Tokens(common.chain(own).collect()));
        request.with_options(options.clone()).with_isolated(isolated)
    });
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let streams: Vec<_> = requests.map(|request| tokio::spawn(model.submit(request).collect())).collect();
    let (mut tokens, mut first) = (0, 0.0f64);
    for stream in streams {
        let usage = stream.await.expect("no panic").expect("an answer").usage;
        tokens += usage.completion_tokens;
        first = first.max(usage.first_token.as_secs_f64());
    }
    let cpu = (cpu_seconds() - cpu) * 1000.0 / tokens as f64;
    (tokens as f64 / began.elapsed().as_secs_f64(), first, cpu)
}

/// Processor time of this process so far; not a number where the system does not tell it in /proc.
fn cpu_seconds() -> f64 {
    let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else { return f64::NAN };
    // user and system time are the 14th and 15th fields, in hundredths of a second; the second may hold spaces
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(f64::NAN);
    (ticks(11) + ticks(12)) / 100.0
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
