//! What the safe layer costs: `Model::stream` against a bare loop over the same native library, in interleaved pairs.
//!
//! `cargo bench --bench stream -- MODEL.gguf [PAIRS] [THREADS]`; `scripts/bench` makes the models. A pair does the same
//! once through `Model::stream` and once through llama.cpp's C API called directly, on the same loaded weights, each with
//! a context made for the purpose, in alternating order. pp512 pairs read 512 tokens and generate one; tg64 pairs read 8
//! and generate 64, greedily. Ratios are medians over the pairs: the machine's speed drifts, and a short pair sees about
//! the same of it on both sides. The rows of the bare loop against itself show how far two equal things differ.

use inferno::{ContextOptions, Event, LoadOptions, Model, Prompt, SampleOptions, gguf::TensorType};
use std::{fs, ops::ControlFlow, time::Duration};

const CONTEXT: u32 = 1024;

/// What one run does, and the time of it that counts.
struct Stage {
    name: &'static str,
    prompt: usize,
    output: usize,
    /// Tokens in the time that counts.
    tokens: usize,
    time: fn(&Times) -> Duration,
}

const STAGES: [Stage; 3] = [
    Stage { name: "context", prompt: 8, output: 1, tokens: 0, time: |t| t.setup },
    Stage { name: "pp512", prompt: 512, output: 1, tokens: 512, time: |t| t.prefill },
    Stage { name: "tg64", prompt: 8, output: 64, tokens: 63, time: |t| t.decode },
];

/// The times of one run.
struct Times {
    setup: Duration,
    prefill: Duration,
    decode: Duration,
}

#[path = "../src/sys/bindings.rs"]
#[expect(
    dead_code,
    nonstandard_style,
    unreachable_pub,
    unsafe_code,
    clippy::allow_attributes,
    reason = "made by bindgen; this bench uses a part"
)]
mod bindings;

/// The loop that one would write in C.
#[expect(unsafe_code, reason = "what is measured here is the C API itself")]
mod bare {
    use super::{CONTEXT, Times, bindings as ffi};
    use std::{ffi::c_void, ptr::NonNull, time::Instant};

    unsafe extern "C" {
        fn llama_init_from_model(
            model: *mut ffi::llama_model,
            params: ffi::llama_context_params,
        ) -> *mut ffi::llama_context;
        fn llama_batch_get_one(tokens: *mut i32, n: i32) -> Batch;
        fn llama_decode(context: *mut ffi::llama_context, batch: Batch) -> i32;
        fn llama_get_logits_ith(context: *mut ffi::llama_context, i: i32) -> *const f32;
        fn llama_free(context: *mut ffi::llama_context);
    }

    #[repr(C)]
    struct Batch {
        n_tokens: i32,
        pointers: [*mut c_void; 6],
    }

    /// A model that the library loaded, and the size of its vocabulary.
    pub(crate) struct Model {
        pub(crate) ptr: NonNull<c_void>,
        pub(crate) vocab: usize,
    }

    impl Model {
        pub(crate) fn run(&self, prompt: &[i32], output: usize, threads: i32) -> Times {
            let start = Instant::now();
            // SAFETY: plain data.
            let mut params = unsafe { ffi::llama_context_default_params() };
            params.n_ctx = CONTEXT;
            params.n_batch = CONTEXT;
            params.n_ubatch = 512;
            params.n_seq_max = 1;
            params.n_threads = threads;
            params.n_threads_batch = threads;
            params.no_perf = true;
            // SAFETY: the model is alive, and no other context is being made.
            let ctx = unsafe { llama_init_from_model(self.ptr.as_ptr().cast(), params) };
            assert!(!ctx.is_null());
            let ready = Instant::now();
            let mut tokens = prompt.to_vec();
            let mut next = self.step(ctx, &mut tokens);
            let prefilled = Instant::now();
            for _ in 1..output {
                next = self.step(ctx, &mut [next]);
            }
            let decoded = Instant::now();
            // SAFETY: made above, freed once.
            unsafe { llama_free(ctx) };
            Times { setup: ready - start, prefill: prefilled - ready, decode: decoded - prefilled }
        }

        fn step(&self, ctx: *mut ffi::llama_context, tokens: &mut [i32]) -> i32 {
            let n = i32::try_from(tokens.len()).expect("few tokens");
            // SAFETY: borrows the tokens until the decode below.
            let batch = unsafe { llama_batch_get_one(tokens.as_mut_ptr(), n) };
            // SAFETY: the context is alive and the batch valid.
            assert_eq!(unsafe { llama_decode(ctx, batch) }, 0);
            // SAFETY: the last token has logits.
            let logits = unsafe { llama_get_logits_ith(ctx, -1) };
            // SAFETY: a row has one float per vocabulary entry.
            let logits = unsafe { std::slice::from_raw_parts(logits, self.vocab) };
            let mut best = 0;
            for (i, logit) in logits.iter().enumerate() {
                if *logit > logits[best] {
                    best = i;
                }
            }
            i32::try_from(best).expect("below the vocabulary's size")
        }
    }
}

fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap_or(0) * 1024
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The speed of each first run over that of the run beside it: lowest, median, highest.
fn ratios(pairs: &[(Duration, Duration)]) -> String {
    let each: Vec<f64> = pairs.iter().map(|(a, b)| b.as_secs_f64() / a.as_secs_f64()).collect();
    let low = each.iter().copied().fold(f64::INFINITY, f64::min);
    let high = each.iter().copied().fold(0.0, f64::max);
    format!("{:.3} ({low:.3}, {high:.3})", median(each))
}

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let Some(path) = args.first() else {
        println!("usage: cargo bench --bench stream -- MODEL.gguf [PAIRS] [THREADS]");
        return;
    };
    let number = |i: usize, otherwise: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(otherwise);
    let (pairs, threads) = (number(1, 9), number(2, 2));

    let mut options = ContextOptions::default();
    options.context_size = Some(CONTEXT as usize);
    options.threads = Some(threads);
    let context = options.clone();
    let model = Model::builder(path)
        .with_context_options(options)
        .load_blocking(|_| ControlFlow::Continue(()))
        .expect("the model loads");
    let loaded = model.loaded().expect("just loaded");
    let bare = bare::Model { ptr: loaded.as_ptr(), vocab: loaded.vocab_size() };
    let vocab = i32::try_from(loaded.vocab_size()).expect("fits");
    let mut state = 1u32;
    let prompt: Vec<i32> = (0..512)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i32::try_from(state >> 8).expect("24 bits") % vocab
        })
        .collect();

    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let sample = |output| {
        let mut sample = SampleOptions::default().with_temperature(0.0).with_max_tokens(output);
        sample.ignore_eos = true;
        sample
    };
    let ours = |stage: &Stage| {
        runtime.block_on(async {
            let prompt = Prompt::Tokens(prompt[..stage.prompt].to_vec());
            let mut events = model.stream(prompt, sample(stage.output));
            while let Some(event) = events.next().await {
                if let Event::Done(usage) = event.expect("the request runs") {
                    return Times { setup: usage.setup, prefill: usage.prefill, decode: usage.decode };
                }
            }
            panic!("a stream ends with Done");
        })
    };
    let c_threads = i32::try_from(threads).expect("few threads");
    let theirs = |stage: &Stage| bare.run(&prompt[..stage.prompt], stage.output, c_threads);
    println!(
        "{} · {threads} threads · {pairs} pairs a row · {}",
        loaded.description(),
        inferno::native_version().flags
    );
    println!(
        "| stage | stream | bare loop | ratio of speeds, median (lowest, highest) | the bare loop against itself |"
    );
    println!("|---|---|---|---|---|");
    for stage in &STAGES {
        let time = |run: &dyn Fn(&Stage) -> Times| (stage.time)(&run(stage));
        time(&ours);
        time(&theirs);
        let (mut against_bare, mut against_itself) = (vec![], vec![]);
        for i in 0..pairs {
            // every order comes equally often: who runs first may find the caches and the clock otherwise
            let (a, b, c) = match i % 3 {
                0 => {
                    let a = time(&ours);
                    let b = time(&theirs);
                    (a, b, time(&theirs))
                }
                1 => {
                    let b = time(&theirs);
                    let a = time(&ours);
                    (a, b, time(&theirs))
                }
                _ => {
                    let c = time(&theirs);
                    let b = time(&theirs);
                    (time(&ours), b, c)
                }
            };
            against_bare.push((a, b));
            against_itself.push((b, c));
        }
        let show = |times: Vec<f64>| match stage.tokens {
            0 => format!("{:.1} ms", median(times) * 1e3),
            tokens => format!("{:.2} t/s", tokens as f64 / median(times)),
        };
        println!(
            "| {} | {} | {} | {} | {} |",
            stage.name,
            show(against_bare.iter().map(|(a, _)| a.as_secs_f64()).collect()),
            show(against_bare.iter().map(|(_, b)| b.as_secs_f64()).collect()),
            ratios(&against_bare),
            ratios(&against_itself)
        );
    }
    let weights = loaded.tensor_bytes();
    let cache = loaded.gguf().kv_cache_bytes(CONTEXT.into(), TensorType::F16, TensorType::F16).unwrap_or(0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("memory: {:.0} MiB of weights, {:.0} MiB of KV cache", mib(weights), mib(cache));
    drop(loaded);
    // again with our model alone, read rather than mapped, so that what is resident is what was allocated
    let mut options = LoadOptions::default();
    options.mmap = Some(false);
    runtime.block_on(model.unload());
    let before = resident();
    let model = Model::builder(path)
        .with_context_options(context)
        .with_load_options(options)
        .load_blocking(|_| ControlFlow::Continue(()))
        .expect("the model loads");
    let after_load = resident();
    let mut peak = 0;
    runtime.block_on(async {
        let mut events = model.stream(Prompt::Tokens(prompt), sample(64));
        while let Some(event) = events.next().await {
            event.expect("the request runs");
            peak = peak.max(resident());
        }
        model.unload().await;
    });
    let above = |bytes: u64| mib(bytes) - mib(before);
    println!(
        "resident above the {:.0} MiB before: loaded {:.0} MiB, in a request {:.0} MiB ({:.0} MiB above weights and KV cache), unloaded {:.0} MiB",
        mib(before),
        above(after_load),
        above(peak),
        above(peak) - mib(weights) - mib(cache),
        above(resident()),
    );
}
