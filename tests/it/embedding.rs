//! Embeddings: pooled from what the model makes of each token, of length 1, the same however the text is cut.

use crate::hostile::model::{Data, Model as File};
use inferno::{CacheType, ContextOptions, Error, Model, Prompt, Token, Tokenize};
use std::path::Path;

const SPARK: &str = "models/spark-7m-q8_0.gguf";

fn model(options: ContextOptions) -> Model {
    model_of(SPARK.as_ref(), options)
}

fn model_of(path: &Path, options: ContextOptions) -> Model {
    Model::builder(path)
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

/// The rows of the matrix that makes logits of a vector, which in the built-in model are its token embeddings: in blocks of
/// a scale in half precision and 32 numbers of eight bits.
fn output_rows() -> Vec<Vec<f64>> {
    let mut file = File::open(SPARK.as_ref());
    let tensor = file.tensor("token_embd.weight").unwrap();
    let width = usize::try_from(tensor.dims[0]).unwrap();
    let Data::Bytes(bytes) = &tensor.data else { panic!("read from a file") };
    let block = |block: &[u8]| {
        let bits = u16::from_le_bytes([block[0], block[1]]);
        let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023) / 1024.0);
        assert!((1..31).contains(&exponent) && bits >> 15 == 0, "a plain number");
        let scale = (1.0 + fraction) * 2f64.powi(exponent - 15);
        block[2..].iter().map(|x| scale * f64::from(x.cast_signed())).collect::<Vec<_>>()
    };
    bytes.chunks(width / 32 * 34).map(|row| row.chunks(34).flat_map(block).collect()).collect()
}

/// A session computes the same in another way: token by token, and as far as the logits. These are the product of the output
/// matrix and a token's vector, so that the matrix makes of a pooled vector what the pooled logits are, up to its length.
#[tokio::test]
async fn vectors_are_pooled_as_the_file_says() {
    let place = tempfile::tempdir().unwrap();
    let plain = model(options());
    let text = "The dog found a red ball under the old tree, and 12 cats looked on. ".repeat(6);
    let loaded = plain.loaded().unwrap();
    let tokens: Vec<Token> =
        loaded.tokenize(&text, Tokenize { add_special: true, parse_special: false }).unwrap();
    assert!(tokens.len() > 64, "more than are computed at once");

    let mut session = plain.session().unwrap();
    let mut logits: Vec<Vec<f64>> = vec![];
    for token in &tokens {
        session.decode(*token).unwrap();
        logits.push(session.logits().unwrap().iter().copied().map(f64::from).collect());
    }
    let sum = |at: usize| logits.iter().map(|of_token| of_token[at]).sum();
    let mean: Vec<f64> = (0..logits[0].len()).map(sum).collect();
    let expected = [("mean", &mean), ("first", &logits[0]), ("last", &logits[tokens.len() - 1])];

    let rows = output_rows();
    for (kind, name) in [(None, "mean"), (Some(1u32), "mean"), (Some(2), "first"), (Some(3), "last")] {
        let path = place.path().join(format!("{kind:?}.gguf"));
        let mut file = File::open(SPARK.as_ref());
        if let Some(kind) = kind {
            let key = format!("{}.pooling_type", file.arch());
            file.set(&key, kind);
        }
        assert!(file.write(&path));
        let vectors = model_of(&path, options()).embed(vec![tokens.clone().into()]).await.unwrap().vectors;
        let product = |row: &Vec<f64>| row.iter().zip(&vectors[0]).map(|(w, x)| w * f64::from(*x)).sum();
        let made: Vec<f64> = rows.iter().map(product).collect();
        for (other, logits) in &expected {
            let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
            let cosine = dot(&made, logits) / (dot(&made, &made) * dot(logits, logits)).sqrt();
            if *other == name {
                assert!(cosine > 0.9995, "{kind:?}: {cosine}");
            } else {
                assert!(cosine < 0.99, "{kind:?} as {other}: {cosine}");
            }
        }
    }
    for (kind, words) in [(0u32, "for each token"), (4, "ranks"), (9, "not known")] {
        let path = place.path().join("refused.gguf");
        let mut file = File::open(SPARK.as_ref());
        file.set(&format!("{}.pooling_type", file.arch()), kind);
        assert!(file.write(&path));
        match model_of(&path, options()).embed(texts(&["a"])).await {
            Err(Error::UnsupportedModel { what, .. }) => assert!(what.contains(words), "{what}"),
            other => panic!("{kind}: {other:?}"),
        }
    }
}
