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

/// An engine in which one request runs and so many may wait.
fn one_at_a_time(queued: usize) -> Engine {
    let mut options = EngineOptions::default();
    options.max_concurrent_requests = 1;
    options.max_queued_requests = queued;
    Engine::new(options).unwrap()
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

#[tokio::test(flavor = "multi_thread")]
async fn a_shared_beginning_is_computed_once_and_changes_nothing() {
    let model = batching(1024, BatchOptions::default().with_max_sequences(4)).await;
    let beginning = words(&model, " Once upon a time there was a little fox. It saw the moon", 200).await;
    let ask = |ending: &str, options: SampleOptions| {
        let mut tokens = beginning.clone();
        let plain = Tokenize { add_special: false, parse_special: false };
        tokens.extend(model.loaded().unwrap().tokenize(ending, plain).unwrap());
        Request::new(tokens).with_options(options)
    };
    let requests: Vec<Request> = [". The fox", " and", ". Tim was", " so it"]
        .into_iter()
        .flat_map(|end| {
            let seeded = SampleOptions::default().with_seed(11).with_max_tokens(24);
            [ask(end, greedy(24)), ask(end, seeded)]
        })
        .collect();
    for (i, request) in requests.iter().enumerate() {
        let expected = solo(&model, request.clone()).await;
        let without = model.submit(request.clone().with_cache_prompt(false)).collect().await.unwrap();
        assert_eq!(without.usage.cached_tokens, 0);
        assert_eq!(without.text, expected.text);
        let with = model.submit(request.clone()).collect().await.unwrap();
        assert_eq!(with.text, expected.text);
        assert_eq!(with.usage.cached_tokens >= 200, i > 0, "{:?}", with.usage);
    }
    let stats = model.stats();
    assert_eq!(stats.cache_hits, 7);
    assert!(stats.cached_tokens >= 1400, "{stats:?}");

    // those that come together wait for the one who reads what all begin with
    let fresh = words(&model, " Tom had a red ball and a blue car", 300).await;
    let streams: Vec<EventStream> = (0..4)
        .map(|i| {
            let mut tokens = fresh.clone();
            tokens.push(400 + i);
            model.submit(Request::new(tokens).with_options(greedy(4)))
        })
        .collect();
    let mut cached = vec![];
    for stream in streams {
        cached.push(stream.collect().await.unwrap().usage.cached_tokens);
    }
    cached.sort_unstable();
    assert_eq!(cached, [0, 300, 300, 300]);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_beginnings_go_when_their_cells_are_needed() {
    let model = batching(256, BatchOptions::default().with_max_sequences(2).with_kv_cells(600)).await;
    let first = words(&model, " the fox", 180).await;
    let second = words(&model, " the moon was red", 180).await;
    let third = words(&model, " Tim and a dog", 180).await;
    let fourth = words(&model, " a big car ran", 180).await;
    let ask = |tokens: &[Token]| model.submit(Request::new(tokens.to_vec()).with_options(greedy(8))).collect();
    for tokens in [&first, &second, &third] {
        assert_eq!(ask(tokens).await.unwrap().usage.cached_tokens, 0);
    }
    assert_eq!(ask(&first).await.unwrap().usage.cached_tokens, 179);
    // there is no room for a fourth: the second is the least recently used
    assert_eq!(ask(&fourth).await.unwrap().usage.cached_tokens, 0);
    assert_eq!(ask(&first).await.unwrap().usage.cached_tokens, 179);
    assert_eq!(ask(&third).await.unwrap().usage.cached_tokens, 179);
    assert_eq!(ask(&second).await.unwrap().usage.cached_tokens, 0);
    let stats = model.stats();
    assert!(stats.kv_cells_used <= 600, "{stats:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_stream_stops_nobody_else_and_frees_its_cells() {
    let model = batching(512, BatchOptions::default().with_max_sequences(3).with_kv_cells(1024)).await;
    let request = Request::new("Once upon a time").with_options(greedy(60));
    let expected = solo(&model, request.clone()).await;
    let mut endless = greedy(400);
    endless.ignore_eos = true;
    let private = Request::new("The cat").with_options(endless).with_cache_prompt(false);
    let mut dropped = model.submit(private.clone());
    let cancelled = model.submit(private);
    let stays = model.submit(request.with_cache_prompt(false));
    while !matches!(dropped.next().await.unwrap().unwrap(), Event::Text(_)) {}
    drop(dropped);
    cancelled.cancel_handle().cancel();
    assert!(matches!(cancelled.collect().await, Err(Error::Cancelled)));
    assert_eq!(stays.collect().await.unwrap().text, expected.text);
    let stats = until(&model, "an empty cache", |stats| stats.kv_cells_used == 0).await;
    assert_eq!((stats.running, stats.queued), (0, 0));
    assert_eq!(stats.outcomes.cancelled, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_readers_keep_nobody_waiting() {
    // more of them than can run at once
    let model = batching(512, BatchOptions::default().with_max_sequences(2)).await;
    let mut options = greedy(200);
    options.ignore_eos = true;
    let request = Request::new("Once upon a time").with_options(options);
    let expected = solo(&model, request.clone()).await;
    let slow: Vec<EventStream> = (0..3).map(|_| model.submit(request.clone())).collect();
    for _ in 0..3 {
        let quick = model.submit(Request::new("The dog").with_options(greedy(20)));
        quick.collect().await.unwrap();
    }
    // nothing of theirs is lost when they read after all
    for stream in slow {
        let answer = stream.collect().await.unwrap();
        assert_eq!(answer.text, expected.text);
        assert_eq!(answer.usage.completion_tokens, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_what_runs_and_what_waits() {
    let engine = one_at_a_time(8);
    let builder = Model::builder(file()).with_context_options(context(2048)).with_engine(&engine);
    let model = builder.with_batching(BatchOptions::default().with_max_sequences(1)).load().await.unwrap();
    let mut endless = greedy(2000);
    endless.ignore_eos = true;
    for isolated in [false, true] {
        let request = Request::new("The").with_options(endless.clone()).with_isolated(isolated);
        let after = Duration::from_millis(150);
        let began = Instant::now();
        let holds = model.submit(request.clone());
        let waits = model.submit(request.clone().with_deadline(after));
        assert!(matches!(waits.collect().await, Err(Error::DeadlineExceeded { after: a }) if a == after));
        assert!(began.elapsed() >= after);
        drop(holds);
        until(&model, "an end", |stats| stats.running + stats.queued == 0).await;
        let runs = model.submit(request.with_deadline(after));
        assert!(matches!(runs.collect().await, Err(Error::DeadlineExceeded { .. })));
    }
    let stats = until(&model, "an end", |stats| stats.running + stats.queued == 0).await;
    assert_eq!((stats.outcomes.expired, stats.outcomes.cancelled, stats.outcomes.failed), (4, 2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_turns_away_and_a_wrong_request_is_told_so() {
    let engine = one_at_a_time(1);
    let builder = Model::builder(file()).with_context_options(context(512)).with_engine(&engine);
    let model = builder.with_batching(BatchOptions::default().with_max_sequences(1)).load().await.unwrap();
    let request = Request::new("The").with_options(greedy(100));
    let (_runs, _waits) = (model.submit(request.clone()), model.submit(request.clone()));
    match model.submit(request).collect().await {
        Err(Error::QueueFull { running: 1, queued: 1 }) => {}
        other => panic!("{other:?}"),
    }
    let model = batching(64, BatchOptions::default()).await;
    let ask = |request: Request| model.submit(request).collect();
    match ask(Request::new(words(&model, " a", 60).await).with_options(greedy(5))).await {
        Err(Error::ContextOverflow { needed: 65, limit: 64 }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(ask(Request::new(vec![-1])).await, Err(Error::InvalidRequest { field: "token", .. })));
    let hot = SampleOptions::default().with_temperature(-1.0);
    let error = ask(Request::new("a").with_options(hot)).await.unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { field: "temperature", .. }), "{error}");
    assert_eq!(model.stats().outcomes.rejected, 3);
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused() {
    for (options, field) in [
        (BatchOptions::default().with_max_sequences(0), "max_sequences"),
        (BatchOptions::default().with_max_sequences(129), "max_sequences"),
        (BatchOptions::default().with_step_tokens(15), "step_tokens"),
        (BatchOptions::default().with_kv_cells(63), "kv_cells"),
        (BatchOptions::default().with_max_sequences(100).with_kv_cells(99), "kv_cells"),
    ] {
        let builder = Model::builder(file()).with_context(64).with_batching(options);
        match builder.load().await {
            Err(Error::InvalidRequest { field: found, .. }) => assert_eq!(found, field),
            other => panic!("{field}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_context_ends_the_text_or_is_shifted() {
    let model = batching(64, BatchOptions::default().with_max_sequences(3)).await;
    let mut options = greedy(150);
    options.ignore_eos = true;
    options.max_tokens = None;
    let request = Request::new("Once upon a time").with_options(options.clone());
    for isolated in [true, false] {
        let answer = model.submit(request.clone().with_isolated(isolated)).collect().await.unwrap();
        assert_eq!(answer.usage.finish, FinishReason::ContextFull);
        assert_eq!(answer.usage.prompt_tokens + answer.usage.completion_tokens, 65);
    }
    options.max_tokens = Some(150);
    let request = request.with_options(options).with_context_shift(true);
    let expected = solo(&model, request.clone()).await;
    assert_eq!(expected.usage.finish, FinishReason::MaxTokens);
    assert_eq!(expected.usage.completion_tokens, 150);
    let others: Vec<EventStream> =
        BEGINNINGS[..2].iter().map(|text| model.submit(Request::new(*text).with_options(greedy(40)))).collect();
    let shifted = model.submit(request).collect().await.unwrap();
    assert_eq!(shifted.text, expected.text);
    for other in others {
        other.collect().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_cells_run_out_the_youngest_waits_and_loses_nothing() {
    let model = batching(200, BatchOptions::default().with_max_sequences(4).with_kv_cells(256)).await;
    let mut options = greedy(120);
    options.ignore_eos = true;
    let requests: Vec<Request> =
        BEGINNINGS[..4].iter().map(|text| Request::new(*text).with_options(options.clone())).collect();
    let mut expected = vec![];
    for request in &requests {
        expected.push(solo(&model, request.clone()).await);
    }
    let streams: Vec<EventStream> = requests.into_iter().map(|request| model.submit(request)).collect();
    for (stream, expected) in streams.into_iter().zip(expected) {
        assert_eq!(stream.collect().await.unwrap().text, expected.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unloading_ends_what_runs_together() {
    let model = batching(512, BatchOptions::default().with_max_sequences(2)).await;
    let mut endless = greedy(500);
    endless.ignore_eos = true;
    let request = Request::new("The").with_options(endless);
    let streams: Vec<EventStream> = (0..5).map(|_| model.submit(request.clone())).collect();
    let other = model.clone();
    model.unload().await;
    for stream in streams {
        assert!(matches!(stream.collect().await, Err(Error::Cancelled)));
    }
    assert!(matches!(other.submit(request).collect().await, Err(Error::ShutDown)));
    let stats = other.stats();
    assert_eq!((stats.kv_cells_total, stats.running, stats.queued), (0, 0, 0));
    assert!(stats.memory.iter().all(|memory| memory.kv_cache == 0), "{stats:?}");
}

#[test]
fn the_blocking_twin_runs_requests_together_too() {
    let batching = BatchOptions::default().with_max_sequences(4);
    let builder = Model::builder(file()).with_context_options(context(256)).with_batching(batching);
    let model = inferno::blocking::Model::load(builder).unwrap();
    let expected: Vec<_> = BEGINNINGS
        .iter()
        .map(|text| model.submit(Request::new(*text).with_options(greedy(30)).with_isolated(true)))
        .map(text_of)
        .collect();
    let threads: Vec<_> = BEGINNINGS
        .iter()
        .map(|text| {
            let model = model.clone();
            std::thread::spawn(move || model.generate(*text, greedy(30)).unwrap().text)
        })
        .collect();
    for (thread, expected) in threads.into_iter().zip(expected) {
        assert_eq!(thread.join().unwrap(), expected);
    }
    model.unload();
}

fn text_of(events: impl Iterator<Item = inferno::Result<Event>>) -> String {
    let text = |event: inferno::Result<Event>| match event.unwrap() {
        Event::Text(text) => Some(text),
        _ => None,
    };
    events.filter_map(text).collect()
}

#[tokio::test]
async fn a_prompt_of_a_context_of_its_own_reports_its_counts() {
    let model = alone(256).await;
    let prompt = Prompt::from("Once upon a time");
    let usage = model.generate(prompt, greedy(10)).await.unwrap().usage;
    let stats = until(&model, "an end", |stats| stats.running == 0).await;
    assert_eq!(stats.prompt_tokens, usage.prompt_tokens as u64);
    assert_eq!(stats.generated_tokens, 10);
    assert_eq!((stats.outcomes.done, stats.kv_cells_total), (1, 0));
    assert!(stats.prefill_seconds > 0.0 && stats.decode_seconds > 0.0);
    assert_eq!(stats.memory.len(), 1);
    assert!(stats.memory[0].weights > 1_000_000, "{stats:?}");
}
