//! What unloading gives back, measured: alone in its process, as the memory of a process is one.

#![cfg(target_os = "linux")]

use inferno::{BatchOptions, LoadOptions, Model, ModelEntry, Registry, Request, SampleOptions};

/// Memory of this process that no file backs, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("since Linux 4.5");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<u64>().expect("a number") * 1024
}

#[tokio::test]
async fn unloading_returns_the_memory() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/spark-7m-q8_0.gguf");
    let mut load = LoadOptions::default();
    load.mmap = Some(false);
    let batching = BatchOptions::default().with_max_sequences(4).with_kv_cells(16384);
    let builder = Model::builder(path).with_context(256).with_load_options(load).with_batching(batching);
    let registry = Registry::builder().add(ModelEntry::new("a", builder)).build().expect("one model");
    let mut left = vec![];
    for _ in 0..8 {
        let model = registry.get("a").await.expect("it loads");
        let options = SampleOptions::default().with_max_tokens(20);
        let requests = (0..4).map(|_| model.submit(Request::new("The").with_options(options.clone())));
        for request in requests.collect::<Vec<_>>() {
            request.collect().await.expect("an answer");
        }
        let memory = model.stats().memory;
        let weights: u64 = memory.iter().map(|device| device.weights).sum();
        let cache: u64 = memory.iter().map(|device| device.kv_cache).sum();
        assert!(weights > 4 << 20 && cache > 48 << 20, "{memory:?} is too little to be seen");
        let loaded = resident();
        drop(model);
        assert!(registry.unload("a").await.expect("it is known"));
        left.push((resident(), weights));
        let returned = loaded.saturating_sub(left[left.len() - 1].0);
        let taken = weights + cache;
        assert!(returned >= taken - taken / 20, "{returned} of {taken} bytes were returned");
    }
    // the heaps of threads that came and went keep some megabytes of what is small; a leak would be seven copies of the weights
    let (first, weights) = left[0];
    let grown = left[7].0.saturating_sub(first);
    assert!(grown <= 2 * weights, "{left:?}");
}
