//! Requests that run together on models that remember otherwise than by attention to everything: a recurrent state, a
//! sliding window. Tiny models with random weights.

use crate::hostile::model::Model as Tiny;
use inferno::{
    BatchOptions, Completion, ContextOptions, EventStream, Model, Request, SampleOptions, Token,
    gguf::TensorType,
};
use std::path::Path;

const WIDTH: u64 = 64;
const VOCABULARY: u64 = 300;

/// Two layers of Mamba.
fn recurrent() -> Tiny {
    let (inner, state, rank, kernel) = (2 * WIDTH, 16, 4, 4);
    let mut model = Tiny::bare("mamba");
    for (key, value) in
        [("conv_kernel", kernel), ("inner_size", inner), ("state_size", state), ("time_step_rank", rank)]
    {
        model.set(&format!("mamba.ssm.{key}"), u32::try_from(value).unwrap());
    }
    for block in 0..2 {
        for (name, dims) in [
            ("attn_norm.weight", vec![WIDTH]),
            ("ssm_in.weight", vec![WIDTH, 2 * inner]),
            ("ssm_conv1d.weight", vec![kernel, inner]),
            ("ssm_conv1d.bias", vec![inner]),
            ("ssm_x.weight", vec![inner, rank + 2 * state]),
            ("ssm_dt.weight", vec![rank, inner]),
            ("ssm_dt.bias", vec![inner]),
            ("ssm_a", vec![state, inner]),
            ("ssm_d", vec![inner]),
            ("ssm_out.weight", vec![inner, WIDTH]),
        ] {
            model.put(&format!("blk.{block}.{name}"), TensorType::F32, &dims);
        }
    }
    with_embeddings(model)
}

/// Gemma 2, whose every other layer sees 16 positions.
fn windowed() -> Tiny {
    let mut model = Tiny::bare("gemma2");
    model.set("gemma2.attention.sliding_window", 16u32);
    model.set("gemma2.attention.key_length", 16u32);
    model.set("gemma2.attention.value_length", 16u32);
    for block in 0..2 {
        for (name, dims) in [
            ("attn_norm.weight", vec![WIDTH]),
            ("attn_q.weight", vec![WIDTH, WIDTH]),
            ("attn_k.weight", vec![WIDTH, WIDTH / 2]),
            ("attn_v.weight", vec![WIDTH, WIDTH / 2]),
            ("attn_output.weight", vec![WIDTH, WIDTH]),
            ("post_attention_norm.weight", vec![WIDTH]),
            ("ffn_norm.weight", vec![WIDTH]),
            ("ffn_gate.weight", vec![WIDTH, 96]),
            ("ffn_up.weight", vec![WIDTH, 96]),
            ("ffn_down.weight", vec![96, WIDTH]),
            ("post_ffw_norm.weight", vec![WIDTH]),
        ] {
            model.put(&format!("blk.{block}.{name}"), TensorType::F32, &dims);
        }
    }
    with_embeddings(model)
}

fn with_embeddings(mut model: Tiny) -> Tiny {
    model.put("token_embd.weight", TensorType::F32, &[WIDTH, VOCABULARY]);
    model.put("output_norm.weight", TensorType::F32, &[WIDTH]);
    model
}

async fn load(model: &Tiny, path: &Path) -> Model {
    assert!(model.write(path));
    let mut context = ContextOptions::default();
    context.context_size = Some(192);
    context.ubatch_size = 32;
    context.threads = Some(1);
    let batching = BatchOptions::default().with_max_sequences(3).with_step_tokens(24);
    Model::builder(path).with_context_options(context).with_batching(batching).load().await.unwrap()
}

fn prompt(seed: i32, length: i32) -> Vec<Token> {
    (0..length).map(|i| 1 + (seed * 37 + i * i * 11 + i * 5) % 250).collect()
}

fn request(tokens: Vec<Token>, output: usize) -> Request {
    let mut options = SampleOptions::default().with_temperature(0.0).with_max_tokens(output);
    options.ignore_eos = true;
    options.logprobs = Some(1);
    Request::new(tokens).with_options(options)
}

fn said(answer: &Completion) -> Vec<Token> {
    answer.logprobs.iter().map(|token| token.chosen.token).collect()
}

/// The same tokens, and the same opinion of them but for rounding: 32-bit sums in another order.
fn same(a: &Completion, b: &Completion) {
    assert_eq!(said(a), said(b));
    for (a, b) in a.logprobs.iter().zip(&b.logprobs) {
        assert!((a.chosen.logprob - b.chosen.logprob).abs() < 1e-3, "{a:?} is not {b:?}");
    }
}

/// Together as alone, then an answer's continuation: returns how many of its tokens were found, and of how many, and the
/// same for a prompt that leaves the first one half way.
async fn conversation(model: &Model) -> [(usize, usize); 2] {
    let alone =
        |tokens: Vec<Token>, output| model.submit(request(tokens, output).with_isolated(true)).collect();
    let prompts = [prompt(1, 50), prompt(2, 9), prompt(3, 70), prompt(4, 20), prompt(5, 33)];
    let streams: Vec<EventStream> = prompts.iter().map(|p| model.submit(request(p.clone(), 24))).collect();
    let mut answers = vec![];
    for (stream, prompt) in streams.into_iter().zip(&prompts) {
        answers.push(stream.collect().await.unwrap());
        same(&answers[answers.len() - 1], &alone(prompt.clone(), 24).await.unwrap());
    }
    // what a prompt holds shows in its answer: one that had lost some of it would not be the same
    for (i, a) in answers.iter().enumerate() {
        assert!(answers[..i].iter().all(|b| said(a) != said(b)));
    }
    let first = model.submit(request(prompt(6, 60), 12)).collect().await.unwrap();
    let mut longer = prompt(6, 60);
    longer.extend(said(&first));
    let found_from = longer.len();
    longer.extend(prompt(7, 10));
    let continued = model.submit(request(longer.clone(), 12)).collect().await.unwrap();
    same(&continued, &alone(longer, 12).await.unwrap());

    let mut other = prompt(6, 30);
    other.extend(prompt(8, 20));
    let left = model.submit(request(other.clone(), 12)).collect().await.unwrap();
    same(&left, &alone(other, 12).await.unwrap());
    [(continued.usage.cached_tokens, found_from), (left.usage.cached_tokens, 30)]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recurrent_state_is_taken_over_as_a_whole_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let model = load(&recurrent(), &dir.path().join("recurrent.gguf")).await;
    let [(continued, of), (left, _)] = conversation(&model).await;
    // the token chosen last was never decoded
    assert_eq!(continued, of - 1);
    assert_eq!(left, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_is_taken_over_while_its_window_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let model = load(&windowed(), &dir.path().join("windowed.gguf")).await;
    let [(continued, of), (left, most)] = conversation(&model).await;
    assert_eq!(continued, of - 1);
    assert!(left <= most);
}
