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
    let batching = BatchOptions::default().with_max_sequences(4).with_kv_cells(8192);
    let builder = Model::builder(path).with_context(256).with_load_options(load).with_batching(batching);
    let registry = Registry::builder().add(ModelEntry::new("a", builder)).build().expect("one model");
    let mut left = vec![];
    for _ in 0..4 {
        let model = registry.get("a").await.expect("it loads");
        let options = SampleOptions::default().with_max_tokens(20);
        let requests = (0..4).map(|_| model.submit(Request::new("The").with_options(options.clone())));
        for request in requests.collect::<Vec<_>>() {
            request.collect().await.expect("an answer");
        }
        let memory: u64 = model.stats().memory.iter().map(|device| device.weights + device.kv_cache).sum();
        assert!(memory > 16 << 20, "{memory} bytes are too few to be seen");
        let loaded = resident();
        drop(model);
        assert!(registry.unload("a").await.expect("it is known"));
        left.push(resident());
        let returned = loaded.saturating_sub(left[left.len() - 1]);
        assert!(returned >= memory - memory / 20, "{returned} of {memory} bytes were returned");
    }
    // the first round leaves what the process keeps: threads, the allocator's own
    let grown = left[3].saturating_sub(left[0]);
    assert!(grown <= 2 << 20, "{left:?}");
}
