//! Embeddings: pooled from what the model makes of each token, of length 1, the same however the text is cut.

use inferno::{CacheType, ContextOptions, Error, Model, Prompt};

fn model(options: ContextOptions) -> Model {
    Model::builder("models/spark-7m-q8_0.gguf")
        .with_context_options(options)
        .load_blocking(|_| std::ops::ControlFlow::Continue(()))
        .unwrap()
}

fn options() -> ContextOptions {
    let mut options = ContextOptions::default();
    options.threads = Some(1);
    // exact enough to compare
    options.cache_type_k = CacheType::F32;
    options.cache_type_v = CacheType::F32;
    options
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

fn texts(texts: &[&str]) -> Vec<Prompt> {
    texts.iter().map(|text| (*text).into()).collect()
}

#[tokio::test]
async fn texts_become_vectors_of_length_one_and_alike_where_they_are_alike() {
    let model = model(options());
    let embeddings = model
        .embed(texts(&[
            "The cat sat on the mat.",
            "A cat sits on a mat.",
            "12 + 30 = 42",
            "The cat sat on the mat.",
        ]))
        .await
        .unwrap();
    let [a, b, c, again] = &embeddings.vectors[..] else { panic!("four vectors") };
    for vector in [a, b, c] {
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-4);
    }
    assert!(cosine(a, b) > cosine(a, c), "{} {}", cosine(a, b), cosine(a, c));
    assert_eq!(a, again);
    assert!(embeddings.prompt_tokens > 20);
    let short = embeddings.clone().shortened(8).unwrap();
    assert_eq!(short.vectors[0].len(), 8);
    assert!((cosine(&short.vectors[0], &short.vectors[0]) - 1.0).abs() < 1e-4);
    let error = embeddings.shortened(100_000).unwrap_err();
    assert!(matches!(error, Error::InvalidRequest { field: "dimensions", .. }));
    assert_eq!(model.engine().running(), 0);
    model.unload().await;
}

#[tokio::test]
async fn a_vector_does_not_depend_on_how_its_text_is_cut() {
    let long = "The dog found a red ball under the old tree. ".repeat(20);
    let mut vectors = vec![];
    for ubatch in [512, 7] {
        let mut options = options();
        options.ubatch_size = ubatch;
        let embeddings = model(options).embed(texts(&["first", &long])).await.unwrap();
        vectors.push(embeddings.vectors[1].clone());
    }
    let cosine = cosine(&vectors[0], &vectors[1]);
    assert!(cosine > 0.999, "{cosine}");
}

#[tokio::test]
async fn what_cannot_be_embedded_is_an_error() {
    let mut small = options();
    small.context_size = Some(16);
    let model = model(small);
    let long = "word ".repeat(50);
    assert!(matches!(model.embed(texts(&[&long])).await, Err(Error::ContextOverflow { limit: 16, .. })));
    assert!(model.embed(vec![Vec::<inferno::Token>::new().into()]).await.is_err());
    assert!(matches!(model.embed(vec![vec![999_999].into()]).await, Err(Error::InvalidRequest { .. })));
    assert_eq!(model.embed(texts(&["a"])).await.unwrap().vectors.len(), 1);
    let handle = model.clone();
    model.unload().await;
    assert!(matches!(handle.embed(texts(&["a"])).await, Err(Error::ShutDown)));
}
