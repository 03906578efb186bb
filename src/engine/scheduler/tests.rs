//! A decode that fails: its requests get a typed error, everyone else goes on, and nothing is left behind.

use crate::{
    BatchOptions, Error, Event, EventStream, Model, ModelStats, Request, SampleOptions, sys::Failure,
};
use std::time::{Duration, Instant};

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
        assert!(began.elapsed() < Duration::from_secs(20), "{stats:?}");
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
