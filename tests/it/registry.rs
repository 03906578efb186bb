//! Models by name: loaded on demand, shared, unloaded when idle or when another needs the memory.

use inferno::{Error, Event, Model, ModelBuilder, ModelEntry, ModelState, Registry, Request, SampleOptions};
use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/spark-7m-q8_0.gguf")
}

fn builder() -> ModelBuilder {
    Model::builder(file()).with_context(256)
}

fn three() -> inferno::RegistryBuilder {
    Registry::builder()
        .add(ModelEntry::new("a", builder()).with_alias("first"))
        .add(ModelEntry::new("b", builder()))
        .add(ModelEntry::new("c", builder()))
}

fn states(registry: &Registry) -> Vec<ModelState> {
    registry.list().into_iter().map(|model| model.state).collect()
}

fn endless() -> Request {
    let mut options = SampleOptions::default().with_temperature(0.0);
    options.ignore_eos = true;
    Request::new("The").with_options(options.with_max_tokens(250))
}

async fn until(what: &str, wished: impl Fn() -> bool) {
    let began = Instant::now();
    while !wished() {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} never came");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_model_is_found_by_every_name_it_has() {
    let registry = three().build().unwrap();
    for name in ["a", "first", "default", "spark-7m-q8_0.gguf", "spark-7m-q8_0"] {
        assert_eq!(registry.resolve(name).unwrap(), "a", "{name}");
    }
    assert_eq!(registry.resolve("c").unwrap(), "c");
    for name in ["", "d", "A", "../a"] {
        match registry.get(name).await {
            Err(error @ Error::UnknownModel { .. }) => {
                let text = error.to_string();
                assert!(text.contains("\"a\"") && text.contains("\"first\""), "{text}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let claimed = Registry::builder()
        .add(ModelEntry::new("a", builder()))
        .add(ModelEntry::new("b", builder()).with_alias("default"));
    assert_eq!(claimed.build().unwrap().resolve("default").unwrap(), "b");
}

#[tokio::test]
async fn names_that_do_not_name_one_model_are_refused() {
    let wrong = [
        Registry::builder(),
        Registry::builder().add(ModelEntry::new(" ", builder())),
        Registry::builder().add(ModelEntry::new("a", builder())).add(ModelEntry::new("a", builder())),
        three().add(ModelEntry::new("d", builder()).with_alias("first")),
    ];
    for wrong in wrong {
        assert!(matches!(wrong.build(), Err(Error::InvalidRequest { field: "models", .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_share_one_load() {
    let registry = three().build().unwrap();
    assert_eq!(states(&registry), [ModelState::Unloaded; 3]);
    let asked: Vec<_> = (0..8)
        .map(|_| {
            let registry = registry.clone();
            tokio::spawn(async move { registry.get("a").await })
        })
        .collect();
    let mut pointers = vec![];
    for model in asked {
        let model = model.await.unwrap().unwrap();
        pointers.push(model.loaded().unwrap().as_ptr());
    }
    assert!(pointers.windows(2).all(|two| two[0] == two[1]));
    assert_eq!(states(&registry), [ModelState::Loaded, ModelState::Unloaded, ModelState::Unloaded]);
    let status = &registry.list()[0];
    assert!(status.bytes > 1_000_000 && status.last_used.is_some() && status.progress.is_none());
    assert_eq!(registry.stats().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_fails_fails_for_all_who_wait_and_can_be_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("late.gguf");
    let registry = Registry::builder().add(ModelEntry::new("late", Model::builder(&path))).build().unwrap();
    let (one, two) = tokio::join!(registry.get("late"), registry.get("late"));
    for result in [one, two] {
        assert!(matches!(&result, Err(Error::Io { path: p, .. }) if *p == path), "{result:?}");
    }
    assert_eq!(states(&registry), [ModelState::Unloaded]);
    std::fs::copy(file(), &path).unwrap();
    registry.load("late").await.unwrap();
    assert_eq!(states(&registry), [ModelState::Loaded]);
}

#[tokio::test(flavor = "multi_thread")]
async fn unloading_ends_requests_and_the_next_one_loads_again() {
    let registry = three().build().unwrap();
    assert!(!registry.unload("a").await.unwrap());
    let model = registry.get("a").await.unwrap();
    let mut stream = model.submit(endless());
    while !matches!(stream.next().await.unwrap().unwrap(), Event::Text(_)) {}
    assert!(registry.unload("first").await.unwrap());
    assert_eq!(states(&registry)[0], ModelState::Unloaded);
    assert!(matches!(stream.collect().await, Err(Error::Cancelled)));
    assert!(matches!(model.submit(endless()).collect().await, Err(Error::ShutDown)));
    let again = registry.get("a").await.unwrap();
    assert!(again.submit(endless()).collect().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_model_is_unloaded_and_one_in_use_is_not() {
    let idle = Duration::from_millis(200);
    let registry = three().with_idle_unload(idle).build().unwrap();
    let held = registry.get("a").await.unwrap();
    registry.load("b").await.unwrap();
    let loaded = Instant::now();
    until("an idle model's end", || states(&registry)[1] == ModelState::Unloaded).await;
    assert!(loaded.elapsed() >= idle / 2, "{:?}", loaded.elapsed());
    assert_eq!(states(&registry)[0], ModelState::Loaded);
    drop(held);
    until("the end of the other", || states(&registry)[0] == ModelState::Unloaded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_recently_used_makes_room() {
    let each = builder().memory_estimate().unwrap();
    let registry = three().with_memory_budget(2 * each).with_room_wait(Duration::from_millis(100)).build();
    let registry = registry.unwrap();
    registry.load("a").await.unwrap();
    registry.load("b").await.unwrap();
    registry.load("a").await.unwrap();
    registry.load("c").await.unwrap();
    let (loaded, unloaded) = (ModelState::Loaded, ModelState::Unloaded);
    assert_eq!(states(&registry), [loaded, unloaded, loaded]);

    // what is in use stays, and who waits too long is told what is missing
    let held = (registry.get("a").await.unwrap(), registry.get("c").await.unwrap());
    match registry.get("b").await {
        Err(Error::OutOfMemory { needed, free: Some(0), .. }) => assert_eq!(needed, each),
        other => panic!("{other:?}"),
    }
    drop(held.1);
    registry.load("b").await.unwrap();
    assert_eq!(states(&registry), [loaded, loaded, unloaded]);

    let small = three().with_memory_budget(each - 1).build().unwrap();
    let error = small.get("a").await.unwrap_err();
    assert!(matches!(error, Error::OutOfMemory { free: Some(free), .. } if free == each - 1), "{error}");
}
