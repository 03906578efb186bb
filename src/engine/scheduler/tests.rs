//! A decode that fails: its requests get a typed error, everyone else goes on, and nothing is left behind. Seeds that draw in
//! company what they draw alone.

use crate::{
    BatchOptions, Error, Event, EventStream, Model, ModelStats, Prompt, Request, SampleOptions, TokenLogprob,
    Tokenize, chain, sampling::log_softmax_at, sys::Failure,
};
use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

async fn model() -> Model {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/spark-7m-q8_0.gguf");
    let batching = BatchOptions::default().with_max_sequences(2);
    Model::builder(path).with_context(256).with_batching(batching).load().await.unwrap()
}

fn request(text: &str, tokens: usize) -> Request {
    let mut options = SampleOptions::default().with_temperature(0.0).with_max_tokens(tokens);
    options.ignore_eos = true;
    Request::new(text).with_options(options)
}

/// Reads until the first text.
async fn begun(stream: &mut EventStream) {
    while !matches!(stream.next().await.unwrap().unwrap(), Event::Text(_)) {}
}

async fn until(model: &Model, wished: impl Fn(&ModelStats) -> bool) -> ModelStats {
    let began = Instant::now();
    loop {
        let stats = model.stats();
        if wished(&stats) {
            return stats;
        }
        assert!(began.elapsed() < Duration::from_secs(180), "{stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_fails_its_requests_and_the_engine_lives() {
    let model = model().await;
    let expected = model.submit(request("The cat", 20)).collect().await.unwrap().text;
    let failures = [
        Failure::Refused("refused on purpose".into()),
        Failure::Assertion("asserted on purpose".into()),
        Failure::OutOfMemory,
    ];
    for (round, failure) in failures.into_iter().enumerate() {
        let mut streams = [model.submit(request("Once upon", 200)), model.submit(request("One day", 200))];
        for stream in &mut streams {
            begun(stream).await;
        }
        let waits = model.submit(request("The cat", 20));
        model.fail_next_step(failure.clone());
        for stream in streams {
            match stream.collect().await {
                Err(Error::Engine { call: "decode", what }) => {
                    assert!(what.contains("purpose") || what == "out of memory", "{what}");
                }
                other => panic!("{failure:?}: {other:?}"),
            }
        }
        // the one that waited, and one that comes later
        assert_eq!(waits.collect().await.unwrap().text, expected, "{failure:?}");
        assert_eq!(model.submit(request("The cat", 20)).collect().await.unwrap().text, expected);
        let stats = until(&model, |stats| stats.running + stats.queued == 0).await;
        assert_eq!(stats.outcomes.failed, 2 * (round as u64 + 1));
        assert_eq!(stats.kv_cells_total, 512, "the context is one");
    }
    let other = model.clone();
    model.unload().await;
    assert_eq!(other.stats().kv_cells_total, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_told_also_to_a_reader_that_is_behind() {
    let model = model().await;
    let slow = model.submit(request("Once upon", 200));
    until(&model, |stats| stats.generated_tokens >= 30).await;
    let mut other = model.submit(request("One day", 200));
    begun(&mut other).await;
    model.fail_next_step(Failure::Assertion("asserted on purpose".into()));
    assert!(matches!(other.collect().await, Err(Error::Engine { .. })));
    // the slow one may have been outside of the step: then it goes on in the new context
    match slow.collect().await {
        Ok(answer) => assert_eq!(answer.usage.completion_tokens, 200),
        Err(Error::Engine { .. }) => {}
        Err(other) => panic!("{other}"),
    }
}

/// The tokens of a seeded request that runs with others are those that its seed alone draws from the same probabilities, one
/// after the other, with a beginning that was taken over and without; and these probabilities are those of its own prompt,
/// but for the rounding of kernels, which differs in company.
#[tokio::test(flavor = "multi_thread")]
async fn a_seed_draws_in_company_what_it_draws_alone() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/models/spark-7m-q8_0.gguf");
    // steps and cells of which ARCHITECTURE.md promises no equal bits
    let batching = BatchOptions::default().with_max_sequences(6).with_kv_cells(4096);
    let model = Model::builder(path).with_context(1024).with_batching(batching).load().await.unwrap();
    let loaded = model.loaded().unwrap();
    let tokenize =
        |text: &str| loaded.tokenize(text, Tokenize { add_special: true, parse_special: false }).unwrap();
    let shared = tokenize(&"The little fox ran to the tree and saw a red ball. ".repeat(24));
    let endings = ["The dog", "Once", "A girl named Lily", "Tim", "In the garden", "One day, a boy"];
    let request = |i: usize, cached: bool| {
        let mut options = SampleOptions::default().with_temperature(1.5).with_max_tokens(50);
        (options.min_p, options.top_p) = (0.0, 1.0); // the built-in model is sure of itself
        options = options.with_seed(u32::try_from(100 + i).unwrap());
        // every token that can be drawn is among those whose probability is told
        (options.top_k, options.logprobs) = (50, Some(100));
        options.ignore_eos = true;
        let prompt = [shared.clone(), tokenize(endings[i])].concat();
        Request::new(prompt).with_options(options).with_cache_prompt(cached)
    };
    for cached in [false, true] {
        let requests: Vec<Request> = (0..endings.len()).map(|i| request(i, cached)).collect();
        let streams: Vec<EventStream> =
            requests.iter().map(|request| model.submit(request.clone())).collect();
        let (mut all, mut same, mut same_of_another, mut hits, mut apart) = (0, 0, 0, 0, 0.0);
        for (request, stream) in requests.into_iter().zip(streams) {
            let answer = stream.collect().await.unwrap();
            hits += usize::from(answer.usage.cached_tokens >= shared.len() - 1);
            let seed = request.options.seed.unwrap();
            let Prompt::Tokens(prompt) = &request.prompt else { panic!("tokens") };
            let chooser = |seed| chain::build(&loaded, &request.options, seed).unwrap();
            let (mut own, mut another) = (chooser(seed), chooser(seed + 1));
            let mut session = model.session().unwrap();
            session.prefill(prompt, |_| ControlFlow::Continue(())).unwrap();
            for token in &answer.logprobs {
                let alone = chain::logits(session.context(), -1).unwrap();
                let of = |one: &TokenLogprob| log_softmax_at(alone, u32::try_from(one.token).unwrap());
                apart += token.top[..5].iter().map(|one| (one.logprob - of(one)).abs()).sum::<f32>() / 5.0;
                let told = session.context().logits_mut().unwrap();
                told.fill(f32::NEG_INFINITY);
                for one in &token.top {
                    told[usize::try_from(one.token).unwrap()] = one.logprob;
                }
                let chosen = token.chosen.token;
                all += 1;
                same += usize::from(own.choose(session.context(), -1, &loaded).unwrap() == chosen);
                same_of_another +=
                    usize::from(another.choose(session.context(), -1, &loaded).unwrap() == chosen);
                session.decode(chosen).unwrap();
            }
        }
        assert_eq!((all, hits), (300, if cached { 5 } else { 0 }));
        let drawn =
            format!("of {all}, {same} drawn alone, {same_of_another} by another seed; cached: {cached}");
        assert!(all == same && same_of_another < 270, "{drawn}");
        apart /= 300.0;
        assert!(apart < 0.5, "{apart} is more than rounding (0.05); those of another prompt are 11 apart");
    }
}
