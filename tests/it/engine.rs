//! The library on the built-in model: streams, seeds, stop strings, cancellation, limits, sessions, chats.

use inferno::{
    CacheType, ContextOptions, DeviceSelect, Engine, EngineOptions, Error, Event, FinishReason, LoadOptions,
    LoadedModel, Message, Model, Prompt, Role, SampleOptions, Session, Tokenize,
};
use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

const STORY: &str = "Once upon a time";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf")
}

fn greedy(tokens: usize) -> SampleOptions {
    SampleOptions::default().with_temperature(0.0).with_max_tokens(tokens)
}

async fn model() -> Model {
    Model::builder(file()).load().await.unwrap()
}

fn loaded() -> Arc<LoadedModel> {
    static LOADED: OnceLock<Arc<LoadedModel>> = OnceLock::new();
    LOADED
        .get_or_init(|| {
            LoadedModel::load(file(), &LoadOptions::default(), |_| ControlFlow::Continue(())).unwrap()
        })
        .clone()
}

/// A prompt of about this many tokens.
fn long_prompt(tokens: usize) -> Prompt {
    let words =
        loaded().tokenize(" the fox saw the moon", Tokenize { add_special: false, parse_special: false });
    Prompt::Tokens(words.unwrap().into_iter().cycle().take(tokens).collect())
}

fn big_context(tokens: usize) -> ContextOptions {
    let mut options = ContextOptions::default();
    options.context_size = Some(tokens);
    options
}

#[tokio::test]
async fn a_stream_tells_prefill_text_and_usage_in_this_order() {
    let model = model().await;
    let mut events = model.stream(STORY, greedy(20));
    let (mut text, mut stage, mut usage) = (String::new(), 0, None);
    while let Some(event) = events.next().await {
        let now = match event.unwrap() {
            Event::Prefill { done, total } => {
                assert!(done <= total);
                0
            }
            Event::Text(part) => {
                text += &part;
                1
            }
            Event::Done(done) => {
                usage = Some(done);
                2
            }
            other => panic!("{other:?}"),
        };
        assert!(now >= stage, "events are in order");
        stage = now;
    }
    let usage = usage.unwrap();
    assert!(!text.is_empty());
    assert_eq!(usage.completion_tokens, 20);
    assert_eq!(usage.finish, FinishReason::MaxTokens);
    assert!(usage.decode_tps() > 0.0 && usage.prefill_tps() > 0.0);
    assert!(events.next().await.is_none());
}

#[tokio::test]
async fn the_same_seed_gives_the_same_text_and_is_reported() {
    let model = model().await;
    let options = SampleOptions::default().with_temperature(1.5).with_max_tokens(40);
    let first = model.generate(STORY, options.clone()).await.unwrap();
    let again = model.generate(STORY, options.clone().with_seed(first.usage.seed)).await.unwrap();
    assert_eq!(first.text, again.text);
    let other = model.generate(STORY, options.with_seed(first.usage.seed ^ 1)).await.unwrap();
    assert_ne!(first.text, other.text);
}

#[tokio::test]
async fn stop_strings_end_the_text_and_never_leak() {
    let model = model().await;
    let whole = model.generate(STORY, greedy(60)).await.unwrap().text;
    // a stop string from the middle of the text, across token boundaries
    let (from, _) = whole.char_indices().nth(whole.chars().count() / 2).unwrap();
    let stop: String = whole[from..].chars().take(7).collect();
    let expected = &whole[..whole.find(&stop).unwrap()];
    let mut events = model.stream(STORY, greedy(60).with_stop([stop.clone()]));
    let mut text = String::new();
    while let Some(event) = events.next().await {
        match event.unwrap() {
            Event::Text(part) => {
                text += &part;
                assert!(expected.starts_with(&text), "{text:?} leaks {stop:?}");
            }
            Event::Done(usage) => assert_eq!(usage.finish, FinishReason::Stop(stop.clone())),
            _ => {}
        }
    }
    assert_eq!(text, expected);
}

#[tokio::test]
async fn log_probabilities_agree_with_the_logits() {
    let model = model().await;
    let answer = model.generate(STORY, greedy(5).with_logprobs(3)).await.unwrap();
    assert_eq!(answer.logprobs.len(), 5);
    for token in &answer.logprobs {
        assert_eq!(token.top.len(), 3);
        assert_eq!(token.chosen.token, token.top[0].token, "greedy takes the most probable");
        assert!(token.top.windows(2).all(|w| w[0].logprob >= w[1].logprob));
        assert!(token.chosen.logprob <= 0.0);
    }
    let bytes: Vec<u8> = answer.logprobs.iter().flat_map(|t| t.chosen.bytes.clone()).collect();
    assert_eq!(String::from_utf8(bytes).unwrap(), answer.text);
}

#[tokio::test]
async fn every_sampling_stage_runs() {
    let model = model().await;
    let base = || SampleOptions::default().with_seed(7).with_max_tokens(12);
    let mut all =
        base().with_top_k(20).with_top_p(0.9).with_min_p(0.02).with_typical_p(0.95).with_temperature(0.9);
    all.repeat_penalty = 1.1;
    all.frequency_penalty = 0.1;
    all.presence_penalty = 0.1;
    all.dry_multiplier = 0.8;
    all.xtc_probability = 0.5;
    all.top_n_sigma = 2.0;
    let mut v1 = base();
    v1.mirostat = inferno::sampling::Mirostat::V1;
    let mut v2 = base();
    v2.mirostat = inferno::sampling::Mirostat::V2;
    for options in [all, v1, v2] {
        let answer = model.generate(STORY, options.clone()).await.unwrap();
        let again = model.generate(STORY, options.clone()).await.unwrap();
        assert_eq!(answer.text, again.text, "{options:?}");
        assert!(answer.usage.completion_tokens > 0);
    }
}

#[tokio::test]
async fn a_biased_token_is_forced_or_forbidden() {
    let model = model().await;
    let free = model.generate(STORY, greedy(1).with_logprobs(1)).await.unwrap();
    let first = u32::try_from(free.logprobs[0].chosen.token).unwrap();
    let mut options = greedy(1).with_logprobs(1);
    options.logit_bias.insert(first, f32::NEG_INFINITY);
    let other = model.generate(STORY, options.clone()).await.unwrap();
    assert_ne!(other.logprobs[0].chosen.token, free.logprobs[0].chosen.token);
    options.logit_bias.insert(first, 1000.0);
    let forced = model.generate(STORY, options).await.unwrap();
    assert_eq!(forced.logprobs[0].chosen.token, free.logprobs[0].chosen.token);
    // the log-probability is the model's own, before the bias
    assert_eq!(forced.logprobs[0].chosen.logprob, free.logprobs[0].chosen.logprob);
}

#[tokio::test]
async fn what_does_not_fit_is_an_overflow_with_numbers() {
    let model = Model::builder(file()).with_context(64).load().await.unwrap();
    match model.generate(long_prompt(64), greedy(1)).await {
        Err(Error::ContextOverflow { needed: 65, limit: 64 }) => {}
        other => panic!("{other:?}"),
    }
    match model.generate(long_prompt(10), greedy(55)).await {
        Err(Error::ContextOverflow { needed: 65, limit: 64 }) => {}
        other => panic!("{other:?}"),
    }
    let mut endless = SampleOptions::default().with_seed(1);
    endless.ignore_eos = true;
    let full = model.generate(long_prompt(10), endless).await.unwrap();
    assert_eq!(full.usage.finish, FinishReason::ContextFull);
    assert_eq!(full.usage.prompt_tokens + full.usage.completion_tokens, 65, "the last token needs no place");
}

#[tokio::test]
async fn wrong_requests_say_what_is_wrong() {
    let model = model().await;
    let field = |result: Result<inferno::Completion, Error>| match result {
        Err(Error::InvalidRequest { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    assert_eq!(field(model.generate(STORY, SampleOptions::default().with_top_p(1.5)).await), "top_p");
    assert_eq!(
        field(model.generate(STORY, SampleOptions::default().with_temperature(f32::NAN)).await),
        "temperature"
    );
    assert_eq!(field(model.generate(STORY, greedy(1).with_stop([""])).await), "stop");
    assert_eq!(field(model.generate(Prompt::Tokens(vec![]), greedy(1)).await), "prompt");
    assert_eq!(field(model.generate(Prompt::Tokens(vec![1 << 30]), greedy(1)).await), "token");
    assert_eq!(field(model.generate(Prompt::Tokens(vec![-1]), greedy(1)).await), "token");
    for (size, batch, ubatch, name) in [
        (0, 8, 8, "context_size"),
        (64, 0, 8, "batch_size"),
        (64, 8, 0, "ubatch_size"),
        (64, 8, 16, "ubatch_size"),
    ] {
        let mut options = big_context(size);
        options.batch_size = batch;
        options.ubatch_size = ubatch;
        match Model::builder(file()).with_context_options(options).load().await {
            Err(Error::InvalidRequest { field, .. }) => assert_eq!(field, name),
            other => panic!("{other:?}"),
        }
    }
    match Model::builder(file()).with_device(DeviceSelect::Named("warp9".into())).load().await {
        Err(Error::InvalidRequest { field: "device", what }) => assert!(what.contains("CPU"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_context_that_cannot_fit_the_memory_is_refused_with_numbers() {
    let model = Model::builder(file()).with_context(1 << 30).load().await.unwrap();
    match model.generate(STORY, greedy(1)).await {
        Err(Error::OutOfMemory { device, needed, free: Some(free) }) => {
            assert_eq!(device, "CPU");
            assert!(needed > free);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn dropping_a_stream_ends_a_prefill_within_a_ubatch() {
    let mut options = big_context(60_000);
    options.ubatch_size = 64;
    let model = Model::builder(file()).with_context_options(options).load().await.unwrap();
    let mut events = model.stream(long_prompt(50_000), greedy(1));
    let mut done = 0;
    while done < 128 {
        match events.next().await.unwrap().unwrap() {
            Event::Prefill { done: now, total } => {
                assert!(now < total);
                done = now;
            }
            other => panic!("{other:?}"),
        }
    }
    let cancel = events.cancel_handle();
    cancel.cancel();
    let mut read = done;
    loop {
        match events.next().await.unwrap() {
            Ok(Event::Prefill { done, .. }) => read = done,
            Err(Error::Cancelled) => break,
            other => panic!("{other:?}"),
        }
    }
    // events that were on their way still come: the buffer holds 32 ubatches
    assert!(read <= done + 34 * 64, "{read} of 50000 tokens were read, cancelled at {done}");
    let start = Instant::now();
    while model.engine().running() > 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "the place is not given back");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_or_cancelled_frees_its_place() {
    let engine = Engine::new({
        let mut options = EngineOptions::default();
        options.max_concurrent_requests = 1;
        options.max_queued_requests = 1;
        options
    })
    .unwrap();
    let model = Model::builder(file()).with_engine(&engine).with_context(2048).load().await.unwrap();
    let mut endless = SampleOptions::default();
    endless.ignore_eos = true;
    let mut first = model.stream(STORY, endless.clone());
    assert!(first.next().await.unwrap().is_ok());
    let mut second = model.stream(STORY, greedy(3));
    while engine.queued() == 0 {
        tokio::task::yield_now().await;
    }
    // the queue is full
    match model.generate(STORY, greedy(1)).await {
        Err(Error::QueueFull { running: 1, queued: 1 }) => {}
        other => panic!("{other:?}"),
    }
    // one that waits is cancelled at once
    second.cancel_handle().cancel();
    assert!(matches!(second.next().await, Some(Err(Error::Cancelled))));
    // one that runs ends when it is dropped, and the next one gets its place
    drop(first);
    let answer = tokio::time::timeout(Duration::from_secs(20), model.generate(STORY, greedy(3))).await;
    assert_eq!(answer.unwrap().unwrap().usage.completion_tokens, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_on_one_model_and_two_models_at_once() {
    let (one, two) = (model().await, model().await);
    let alone = one.generate(STORY, greedy(30)).await.unwrap().text;
    let tasks: Vec<_> = (0..8)
        .map(|i| {
            let model = if i % 2 == 0 { one.clone() } else { two.clone() };
            tokio::spawn(async move { model.generate(STORY, greedy(30)).await.unwrap().text })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), alone);
    }
}

#[tokio::test]
async fn a_load_reports_progress_and_a_dropped_one_is_cancelled() {
    let mut loading = Model::builder(file()).load();
    let mut progress = loading.progress();
    let model = loading.await.unwrap();
    let mut steps = vec![];
    while let Some(step) = progress.next().await {
        steps.push(step);
    }
    assert!(steps.len() > 10 && steps.is_sorted() && *steps.last().unwrap() == 1.0, "{steps:?}");
    drop(model);

    let result = LoadedModel::load(file(), &LoadOptions::default(), |done| {
        if done > 0.3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(result, Err(Error::LoadCancelled)));
    drop(Model::builder(file()).load());
}

#[test]
fn a_panic_in_a_progress_callback_comes_back_to_its_caller() {
    let result = std::panic::catch_unwind(|| {
        LoadedModel::load(file(), &LoadOptions::default(), |_| -> ControlFlow<()> {
            panic!("from the callback")
        })
    });
    let panic = result.unwrap_err();
    assert_eq!(*panic.downcast_ref::<&str>().unwrap(), "from the callback");
}

#[tokio::test]
async fn an_unloaded_model_ends_its_requests_and_refuses_new_ones() {
    let model = model().await;
    let mut chat = model.chat().with_options(greedy(4));
    chat.send("hello").await.unwrap();
    let mut endless = SampleOptions::default();
    endless.ignore_eos = true;
    let mut running = model.stream(STORY, endless);
    assert!(running.next().await.unwrap().is_ok());
    let weak = Arc::downgrade(&model.loaded().unwrap());
    model.clone().unload().await;
    assert!(weak.upgrade().is_none(), "nothing holds the weights");
    loop {
        match running.next().await.unwrap() {
            Ok(_) => {}
            Err(Error::Cancelled) => break,
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(model.generate(STORY, greedy(1)).await, Err(Error::ShutDown)));
    assert!(matches!(chat.send("hello").await, Err(Error::ShutDown)));
}

#[tokio::test]
async fn a_chat_reads_only_what_is_new() {
    let model = model().await;
    let mut chat = model.chat().with_system("You are a friendly storyteller.").with_options(greedy(24));
    let first = chat.send("What is 2 + 3?").await.unwrap();
    assert_eq!(first.usage().cached_tokens, 0);
    let second = chat.send("What is 4 + 5?").await.unwrap();
    assert!(second.usage().cached_tokens >= first.usage().prompt_tokens, "{:?}", second.usage());
    assert_eq!(chat.messages().len(), 5);

    // the same conversation without a cache gives the same answer
    let mut messages = chat.messages().to_vec();
    messages.pop();
    let cold = model.generate(messages, greedy(24)).await.unwrap();
    assert_eq!(cold.usage.cached_tokens, 0);
    assert_eq!(cold.text, second.text());

    // a failed turn leaves the conversation as it was
    let too_long = "word ".repeat(5000);
    assert!(matches!(chat.send(too_long).await, Err(Error::ContextOverflow { .. })));
    assert_eq!(chat.messages().len(), 5);
    assert_eq!(chat.messages()[0], Message::new(Role::System, "You are a friendly storyteller."));
}

#[test]
fn tokens_round_trip_with_and_without_special_ones() {
    let model = loaded();
    let plain = Tokenize { add_special: false, parse_special: false };
    let odd = "Ünïcödé 🔥 \t\r\n <|im_end|> \u{0}x";
    for text in ["Once upon a time, there was a fox.", odd, " ", "", "12345"] {
        let tokens = model.tokenize(text, plain).unwrap();
        assert_eq!(model.detokenize(&tokens, true).unwrap(), text);
    }
    assert!(model.tokenize("", plain).unwrap().is_empty());
    let parsed = model.tokenize("<|im_end|>", Tokenize { add_special: false, parse_special: true }).unwrap();
    assert_eq!(parsed.len(), 1);
    assert!(model.is_end(parsed[0]) && model.is_control(parsed[0]));
    assert!(model.tokenize("<|im_end|>", plain).unwrap().len() > 1);
    let with = model.tokenize("fox", Tokenize { add_special: true, parse_special: false }).unwrap();
    assert_eq!(model.adds_bos(), with.first().copied() == model.bos());
    assert!(matches!(model.token_bytes(-1, true), Err(Error::InvalidRequest { .. })));
}

#[test]
fn a_session_rewinds_saves_and_restores() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state");
    let model = loaded();
    let tokens = model.tokenize(STORY, Tokenize { add_special: true, parse_special: false }).unwrap();
    let go_on = |_| ControlFlow::Continue(());
    let mut session = Session::new(&model, &big_context(256)).unwrap();
    assert!(session.logits().is_err(), "nothing was decoded yet");
    session.prefill(&tokens, go_on).unwrap();
    let logits = session.logits().unwrap().to_vec();
    assert_eq!(logits.len(), model.vocab_size());
    session.save(&path).unwrap();

    // away and back: the same logits
    session.prefill(&tokens, go_on).unwrap();
    assert_ne!(session.logits().unwrap(), logits);
    assert_eq!(session.rewind(tokens.len() - 1).unwrap(), tokens.len() - 1);
    session.decode(*tokens.last().unwrap()).unwrap();
    let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3);
    assert!(close(session.logits().unwrap(), &logits));
    assert!(session.rewind(1000).is_err());

    // another session takes the state over
    let mut other = Session::new(&model, &big_context(256)).unwrap();
    other.restore(&path).unwrap();
    assert_eq!(other.tokens(), tokens);
    other.rewind(tokens.len() - 1).unwrap();
    other.decode(*tokens.last().unwrap()).unwrap();
    assert!(close(other.logits().unwrap(), &logits));

    // but not where it does not fit
    let mut small = Session::new(&model, &big_context(2)).unwrap();
    assert!(matches!(small.restore(&path), Err(Error::ContextOverflow { limit: 2, .. })));
    let mut quantised = big_context(256);
    quantised.cache_type_k = CacheType::Q8_0;
    quantised.cache_type_v = CacheType::Q8_0;
    let mut quantised = Session::new(&model, &quantised).unwrap();
    match quantised.restore(&path) {
        Err(Error::InvalidState { what, .. }) => assert!(what.contains("cache type"), "{what}"),
        other => panic!("{other:?}"),
    }
    match session.restore(dir.path().join("missing")) {
        Err(Error::Io { .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(session.save("/nonexistent/state"), Err(Error::Io { .. })));
}

#[test]
fn every_cache_type_gives_a_story() {
    let model = loaded();
    let tokens = model.tokenize(STORY, Tokenize { add_special: true, parse_special: false }).unwrap();
    let best = |session: &mut Session| {
        let logits = session.logits().unwrap();
        logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0
    };
    let mut expected = None;
    for kind in [CacheType::F32, CacheType::F16, CacheType::Bf16, CacheType::Q8_0, CacheType::Q5_1] {
        let mut options = big_context(256);
        options.cache_type_k = kind;
        options.cache_type_v = kind;
        let mut session = Session::new(&model, &options).unwrap();
        session.prefill(&tokens, |_| ControlFlow::Continue(())).unwrap();
        let first = best(&mut session);
        assert_eq!(*expected.get_or_insert(first), first, "{kind:?}");
    }
}

#[test]
fn a_long_text_of_one_word_does_not_overflow_a_stack() {
    // llama.cpp falls back to std::regex, which recurses, for vocabularies whose splitting it has no code for
    let model = loaded();
    for text in ["a".repeat(1 << 20), " ".repeat(1 << 20), "ab1 ".repeat(1 << 18)] {
        let tokens = model.tokenize(&text, Tokenize { add_special: false, parse_special: false }).unwrap();
        assert_eq!(model.detokenize(&tokens, false).unwrap(), text);
    }
}

#[test]
fn the_blocking_twin_does_the_same() {
    use inferno::blocking;
    let model = blocking::Model::load(Model::builder(file())).unwrap();
    let mut text = String::new();
    for event in model.stream(STORY, greedy(20)).unwrap() {
        if let Event::Text(part) = event.unwrap() {
            text += &part;
        }
    }
    assert_eq!(model.generate(STORY, greedy(20)).unwrap().text, text);
    let mut chat = model.chat().with_options(greedy(8));
    assert!(!blocking::send(&mut chat, "hello").unwrap().text().is_empty());
    // the chat's request ran on a thread of its own, which may still be giving its place back
    let began = Instant::now();
    while model.inner().engine().running() > 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "a place is not given back");
        std::thread::sleep(Duration::from_millis(1));
    }
    model.unload();
}

#[test]
fn a_stream_runs_without_a_tokio_runtime() {
    let model = inferno::blocking::Model::load(Model::builder(file())).unwrap();
    let answer = pollster::block_on(model.inner().generate(STORY, greedy(5))).unwrap();
    assert_eq!(answer.usage.completion_tokens, 5);
}
