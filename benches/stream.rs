//! What the safe layer costs: `Model::stream` against a bare loop over the same native library, in interleaved pairs.
//!
//! `cargo bench --bench stream -- MODEL.gguf [PAIRS] [THREADS]`; `scripts/bench` makes the models. Each pair reads the
//! same 512 tokens and generates 64 greedily, once through `Model::stream` and once through llama.cpp's C API called
//! directly, both with a context made for the purpose, in alternating order. Ratios are medians over the pairs: the
//! machine's speed drifts, a pair sees about the same of it.

use inferno::{ContextOptions, Event, LoadOptions, Model, Prompt, SampleOptions, gguf::TensorType};
use std::{
    fs,
    ops::ControlFlow,
    time::{Duration, Instant},
};

const PROMPT: usize = 512;
const OUTPUT: usize = 64;

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
    use super::{OUTPUT, bindings as ffi};
    use std::{
        ffi::CString,
        ptr,
        time::{Duration, Instant},
    };

    unsafe extern "C" {
        fn llama_model_load_from_file(
            path: *const std::ffi::c_char,
            params: ffi::llama_model_params,
        ) -> *mut ffi::llama_model;
        fn llama_init_from_model(
            model: *mut ffi::llama_model,
            params: ffi::llama_context_params,
        ) -> *mut ffi::llama_context;
        fn llama_batch_get_one(tokens: *mut i32, n: i32) -> Batch;
        fn llama_decode(context: *mut ffi::llama_context, batch: Batch) -> i32;
        fn llama_get_logits_ith(context: *mut ffi::llama_context, i: i32) -> *const f32;
        fn llama_free(context: *mut ffi::llama_context);
        fn llama_model_free(model: *mut ffi::llama_model);
    }

    #[repr(C)]
    struct Batch {
        n_tokens: i32,
        pointers: [*mut std::ffi::c_void; 6],
    }

    pub(crate) struct Model(*mut ffi::llama_model, usize);

    impl Model {
        pub(crate) fn load(path: &str, vocab: usize) -> Self {
            let path = CString::new(path).expect("no NUL in a path");
            // SAFETY: plain data.
            let mut params = unsafe { ffi::llama_model_default_params() };
            params.n_gpu_layers = 0;
            // SAFETY: the path is a C string; the backends were started by the Rust model before.
            Self(unsafe { llama_model_load_from_file(path.as_ptr(), params) }, vocab)
        }

        /// Setup, prefill and decode times, and the tokens.
        pub(crate) fn run(&self, prompt: &[i32], context: u32, threads: i32) -> ([Duration; 3], Vec<i32>) {
            let start = Instant::now();
            // SAFETY: plain data.
            let mut params = unsafe { ffi::llama_context_default_params() };
            params.n_ctx = context;
            params.n_batch = 2048.min(context);
            params.n_ubatch = 512;
            params.n_seq_max = 1;
            params.n_threads = threads;
            params.n_threads_batch = threads;
            params.no_perf = true;
            // SAFETY: the model is alive.
            let ctx = unsafe { llama_init_from_model(self.0, params) };
            assert_ne!(ctx, ptr::null_mut());
            let ready = Instant::now();
            let mut tokens = prompt.to_vec();
            let mut next = self.step(ctx, &mut tokens);
            let prefilled = Instant::now();
            let mut output = vec![next];
            while output.len() < OUTPUT {
                next = self.step(ctx, &mut [next]);
                output.push(next);
            }
            let decoded = Instant::now();
            // SAFETY: made above, freed once.
            unsafe { llama_free(ctx) };
            ([ready - start, prefilled - ready, decoded - prefilled], output)
        }

        pub(crate) fn free(self) {
            // SAFETY: made by load(), freed once, and its contexts before it.
            unsafe { llama_model_free(self.0) };
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
            let logits = unsafe { std::slice::from_raw_parts(logits, self.1) };
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

#[expect(clippy::print_stdout, reason = "a bench prints its table")]
fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let Some(path) = args.first() else {
        println!("usage: cargo bench --bench stream -- MODEL.gguf [PAIRS] [THREADS]");
        return;
    };
    let number = |i: usize, otherwise: usize| args.get(i).and_then(|a| a.parse().ok()).unwrap_or(otherwise);
    let (pairs, threads) = (number(1, 5), number(2, 2));

    let mut options = ContextOptions::default();
    options.context_size = Some(1024);
    options.threads = Some(threads);
    let context = options.clone();
    let model = Model::builder(path)
        .with_context_options(options)
        .load_blocking(|_| ControlFlow::Continue(()))
        .expect("the model loads");
    let loaded = model.loaded().expect("just loaded");
    let bare = bare::Model::load(path, loaded.vocab_size());
    let vocab = i32::try_from(loaded.vocab_size()).expect("fits");
    let mut state = 1u32;
    let prompt: Vec<i32> = (0..PROMPT)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            i32::try_from(state >> 8).expect("24 bits") % vocab
        })
        .collect();
    let mut sample = SampleOptions::default().with_temperature(0.0).with_max_tokens(OUTPUT);
    sample.ignore_eos = true;

    let runtime = tokio::runtime::Runtime::new().expect("a runtime starts");
    let ours = || {
        runtime.block_on(async {
            let mut events = model.stream(Prompt::Tokens(prompt.clone()), sample.clone());
            while let Some(event) = events.next().await {
                if let Event::Done(usage) = event.expect("the request runs") {
                    return [usage.setup, usage.prefill, usage.decode];
                }
            }
            panic!("a stream ends with Done");
        })
    };
    let c_threads = i32::try_from(threads).expect("few threads");
    let theirs = || bare.run(&prompt, 1024, c_threads).0;
    ours();
    theirs();
    let (mut a, mut b): (Vec<[Duration; 3]>, Vec<[Duration; 3]>) = (vec![], vec![]);
    let start = Instant::now();
    for i in 0..pairs {
        if i % 2 == 0 {
            a.push(ours());
            b.push(theirs());
        } else {
            b.push(theirs());
            a.push(ours());
        }
    }
    println!(
        "{} · {} threads · {pairs} pairs in {:.0} s · {}",
        loaded.description(),
        threads,
        start.elapsed().as_secs_f64(),
        inferno::native_version().flags
    );
    println!("| stage | stream | bare loop | ratio of speeds, median (lowest, highest) |");
    println!("|---|---|---|---|");
    for (i, (name, tokens)) in
        [("context", 0), ("pp512", PROMPT), ("tg64", OUTPUT - 1)].into_iter().enumerate()
    {
        let show = |runs: &[[Duration; 3]]| {
            let seconds = median(runs.iter().map(|r| r[i].as_secs_f64()).collect());
            if tokens == 0 {
                format!("{:.1} ms", seconds * 1e3)
            } else {
                format!("{:.2} t/s", tokens as f64 / seconds)
            }
        };
        let ratios: Vec<f64> =
            a.iter().zip(&b).map(|(a, b)| b[i].as_secs_f64() / a[i].as_secs_f64()).collect();
        let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let high = ratios.iter().copied().fold(0.0, f64::max);
        println!("| {name} | {} | {} | {:.3} ({low:.3}, {high:.3}) |", show(&a), show(&b), median(ratios));
    }
    let weights = loaded.tensor_bytes();
    let cache = loaded.gguf().kv_cache_bytes(1024, TensorType::F16, TensorType::F16).unwrap_or(0);
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("memory: {:.0} MiB of weights, {:.0} MiB of KV cache", mib(weights), mib(cache));
    drop(loaded);
    bare.free();
    // again with our model alone, read rather than mapped, so that what is resident is what was allocated
    let mut options = LoadOptions::default();
    options.mmap = false;
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
        let mut events = model.stream(Prompt::Tokens(prompt), sample);
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
