//! Requests that run together: the same answers as alone, shared beginnings, cancellation, slow readers, deadlines.

use inferno::{
    BatchOptions, Completion, ContextOptions, Engine, EngineOptions, Error, Event, EventStream, FinishReason,
    Model, ModelStats, Prompt, Request, SampleOptions, Token, Tokenize,
};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf")
}

fn greedy(tokens: usize) -> SampleOptions {
    SampleOptions::default().with_temperature(0.0).with_max_tokens(tokens)
}

fn context(tokens: usize) -> ContextOptions {
    let mut options = ContextOptions::default();
    options.context_size = Some(tokens);
    options.threads = Some(2);
    options
}

async fn batching(context_size: usize, options: BatchOptions) -> Model {
    let builder = Model::builder(file()).with_context_options(context(context_size));
    builder.with_batching(options).load().await.unwrap()
}

async fn alone(context_size: usize) -> Model {
    Model::builder(file()).with_context_options(context(context_size)).load().await.unwrap()
}

/// What a request says when nobody else is there.
async fn solo(model: &Model, request: Request) -> Completion {
    model.submit(request.with_isolated(true)).collect().await.unwrap()
}

/// Tokens of a story, as many as asked for.
async fn words(model: &Model, text: &str, count: usize) -> Vec<Token> {
    let options = Tokenize { add_special: false, parse_special: false };
    let tokens = model.loaded().unwrap().tokenize(text, options).unwrap();
    tokens.into_iter().cycle().take(count).collect()
}

/// Waits until the model's counters are as wished.
async fn until(model: &Model, what: &str, wished: impl Fn(&ModelStats) -> bool) -> ModelStats {
    let began = Instant::now();
    loop {
        let stats = model.stats();
        if wished(&stats) {
            return stats;
        }
        assert!(began.elapsed() < Duration::from_secs(30), "{what} never came: {stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

const BEGINNINGS: [&str; 8] = [
    "Once upon a time",
    "The little fox",
    "There was a boy named Tim who",
    "One day, a girl",
    "A big dog ran to the",
    "Lily saw a bird. She",
    "Once upon a time there was a cat",
    "In the garden",
];

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_run_together_say_what_they_say_alone() {
    let model = batching(512, BatchOptions::default().with_max_sequences(8)).await;
    let requests: Vec<Request> = BEGINNINGS
        .iter()
        .zip([40, 64, 10, 50, 33, 64, 21, 1])
        .enumerate()
        .map(|(i, (beginning, tokens))| {
            let options = match i % 2 {
                0 => greedy(tokens),
                _ => SampleOptions::default().with_seed(7 + i as u32).with_max_tokens(tokens),
            };
            Request::new(*beginning).with_options(options)
        })
        .collect();
    let mut expected = vec![];
    for request in &requests {
        expected.push(solo(&model, request.clone()).await);
    }
    let streams: Vec<EventStream> = requests.iter().map(|request| model.submit(request.clone())).collect();
    for (stream, expected) in streams.into_iter().zip(expected) {
        let got = stream.collect().await.unwrap();
        assert_eq!(got.text, expected.text);
        assert_eq!(got.usage.finish, expected.usage.finish);
        assert_eq!(got.usage.completion_tokens, expected.usage.completion_tokens);
    }
    let stats = model.stats();
    assert_eq!(stats.outcomes.done, 16);
    assert!(stats.kv_cells_used > 0 && stats.kv_cells_used <= stats.kv_cells_total);
}
