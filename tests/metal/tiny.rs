//! Models of two layers with random weights, for what the built-in model has not: large matrices, and experts.

use inferno::gguf::{Strings, TensorType, Writer};
use std::{io::Write, path::Path};

/// The width of the model, which has two heads.
const WIDTH: u32 = 128;
/// Its layers.
const BLOCKS: u32 = 2;
/// Tokens: all bytes, and few others.
const VOCABULARY: u32 = 260;

/// A matrix of the feed-forward part: its name, type and dimensions.
type Matrix = (&'static str, TensorType, Vec<u64>);

/// A matrix with so many rows that large tiles are taken for the columns of a prompt.
pub(crate) fn wide(path: &Path) {
    let (width, wide) = (u64::from(WIDTH), 8192);
    let matrices = vec![
        ("ffn_gate.weight", TensorType::Q8_0, vec![width, wide]),
        ("ffn_up.weight", TensorType::Q8_0, vec![width, wide]),
        ("ffn_down.weight", TensorType::Q8_0, vec![wide, width]),
    ];
    write(path, &[("feed_forward_length", 8192)], matrices);
}

/// Matrices of two kinds alone.
pub(crate) fn small(path: &Path) {
    let square = |name| (name, TensorType::BF16, vec![u64::from(WIDTH), u64::from(WIDTH)]);
    let matrices = ["ffn_gate.weight", "ffn_up.weight", "ffn_down.weight"].map(square);
    write(path, &[("feed_forward_length", WIDTH)], matrices.into());
}

/// Two of four experts for each token, in bf16.
pub(crate) fn experts(path: &Path) {
    let (width, rows, experts) = (u64::from(WIDTH), 512, 4);
    let matrices = vec![
        ("ffn_gate_inp.weight", TensorType::F32, vec![width, experts]),
        ("ffn_gate_exps.weight", TensorType::BF16, vec![width, rows, experts]),
        ("ffn_up_exps.weight", TensorType::BF16, vec![width, rows, experts]),
        ("ffn_down_exps.weight", TensorType::BF16, vec![rows, width, experts]),
    ];
    write(path, &[("feed_forward_length", 512), ("expert_count", 4), ("expert_used_count", 2)], matrices);
}

fn write(path: &Path, more: &[(&str, u32)], feed_forward: Vec<Matrix>) {
    let mut writer = Writer::new();
    writer.set("general.architecture", "llama").unwrap();
    let numbers = [
        ("block_count", BLOCKS),
        ("context_length", 512),
        ("embedding_length", WIDTH),
        ("attention.head_count", 2),
        ("rope.dimension_count", WIDTH / 2),
    ];
    for (key, value) in numbers.iter().chain(more) {
        writer.set(&format!("llama.{key}"), *value).unwrap();
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32).unwrap();
    tokenizer(&mut writer);
    let (width, vocabulary) = (u64::from(WIDTH), u64::from(VOCABULARY));
    let square = |name| (name, TensorType::BF16, vec![width, width]);
    let attention = ["attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight"].map(square);
    let layer: Vec<Matrix> = attention.into_iter().chain(feed_forward).collect();
    let mut tensors = vec![("token_embd.weight".to_owned(), TensorType::F32, vec![width, vocabulary])];
    let mut norms = vec!["output_norm.weight".to_owned()];
    for block in 0..BLOCKS {
        tensors.extend(
            layer.iter().map(|(name, kind, dims)| (format!("blk.{block}.{name}"), *kind, dims.clone())),
        );
        norms.extend(["attn_norm", "ffn_norm"].map(|name| format!("blk.{block}.{name}.weight")));
    }
    for (at, (name, kind, dims)) in tensors.into_iter().enumerate() {
        let elements: u64 = dims.iter().product();
        writer.tensor(&name, kind, &dims, move |out| weights(out, kind, elements, at as u64 + 1)).unwrap();
    }
    for name in norms {
        let ones = move |out: &mut dyn Write| (0..width).try_for_each(|_| out.write_all(&1f32.to_le_bytes()));
        writer.tensor(&name, TensorType::F32, &[width], ones).unwrap();
    }
    writer.write_file(path).unwrap();
}

/// A byte is a token, by the character that GPT-2 writes for it.
fn tokenizer(writer: &mut Writer<'static>) {
    let mut next = 0x100u32;
    let mut tokens: Vec<String> = (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte).to_string(),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap().to_string()
            }
        })
        .collect();
    tokens.extend((256..VOCABULARY).map(|n| format!("<{n}>")));
    let kinds: Vec<i32> = (0..VOCABULARY).map(|n| if n < 256 { 1 } else { 3 }).collect();
    writer.set("tokenizer.ggml.model", "gpt2").unwrap();
    writer.set("tokenizer.ggml.pre", "gpt-2").unwrap();
    writer.set("tokenizer.ggml.tokens", Strings::from_iter(tokens)).unwrap();
    writer.set("tokenizer.ggml.token_type", kinds).unwrap();
    writer.set("tokenizer.ggml.merges", Strings::from_iter(["a b"])).unwrap();
    writer.set("tokenizer.ggml.eos_token_id", 256u32).unwrap();
}

/// Uniform weights around 0.
fn weights(out: &mut dyn Write, kind: TensorType, elements: u64, seed: u64) -> std::io::Result<()> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        u8::try_from(state >> 40 & 0xff).unwrap()
    };
    for at in 0..elements {
        // -0.5 to 0.5
        let byte = random();
        let value = (f32::from(byte) - 127.5) / 255.0;
        match kind {
            // a block of 32 begins with its scale, here the half 0x1c00, which is 2^-8
            TensorType::Q8_0 if at % 32 == 0 => out.write_all(&[0x00, 0x1c, byte])?,
            TensorType::Q8_0 => out.write_all(&[byte])?,
            TensorType::BF16 => out.write_all(&value.to_le_bytes()[2..])?,
            _ => out.write_all(&value.to_le_bytes())?,
        }
    }
    Ok(())
}
