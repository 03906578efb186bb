//! Writes GGUF models of real shapes with random weights, for benchmarks and tests: the speed of a
//! model depends on its shape and types, not on its weights.
//!
//! `cargo run --release --example random_model -- SHAPE TYPE OUT.gguf [SEED]`
//! with SHAPE `tiny`, `tinyllama-1.1b` or `qwen2.5-1.5b`, and TYPE `q4_k_m`, `q4_0`, `q8_0` or `f16`.
//!
//! Weights are about N(0, 0.02), so that activations stay finite. The same arguments give the same file.

use std::io::{self, Write};
use std::time::Instant;

use inferno::gguf::{Gguf, Strings, TensorType, Writer};

struct Shape {
    name: &'static str,
    arch: &'static str,
    layers: u32,
    width: u32,
    heads: u32,
    heads_kv: u32,
    ff: u32,
    vocab: u32,
    context: u32,
    rope_base: f32,
    eps: f32,
    tied: bool,
    biases: bool,
    pre: &'static str,
}

/// From the config.json of TinyLlama/TinyLlama-1.1B-Chat-v1.0 and Qwen/Qwen2.5-1.5B-Instruct.
const SHAPES: &[Shape] = &[
    Shape {
        name: "tiny",
        arch: "llama",
        layers: 2,
        width: 256,
        heads: 8,
        heads_kv: 4,
        ff: 512,
        vocab: 512,
        context: 512,
        rope_base: 10_000.0,
        eps: 1e-5,
        tied: false,
        biases: false,
        pre: "gpt-2",
    },
    Shape {
        name: "tinyllama-1.1b",
        arch: "llama",
        layers: 22,
        width: 2048,
        heads: 32,
        heads_kv: 4,
        ff: 5632,
        vocab: 32_000,
        context: 2048,
        rope_base: 10_000.0,
        eps: 1e-5,
        tied: false,
        biases: false,
        pre: "gpt-2",
    },
    Shape {
        name: "qwen2.5-1.5b",
        arch: "qwen2",
        layers: 28,
        width: 1536,
        heads: 12,
        heads_kv: 2,
        ff: 8960,
        vocab: 151_936,
        context: 32_768,
        rope_base: 1e6,
        eps: 1e-6,
        tied: true,
        biases: true,
        pre: "qwen2",
    },
];

/// The standard deviation of a weight.
const SIGMA: f32 = 0.02;

const CHATML: &str = "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n\
                      {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/// What llama-quantize makes of a model, by the name of the mixture.
struct Mix {
    name: &'static str,
    /// `general.file_type`.
    file_type: u32,
    kind: TensorType,
}

const MIXES: &[Mix] = &[
    Mix { name: "q4_k_m", file_type: 15, kind: TensorType::Q4_K },
    Mix { name: "q4_0", file_type: 2, kind: TensorType::Q4_0 },
    Mix { name: "q8_0", file_type: 7, kind: TensorType::Q8_0 },
    Mix { name: "f16", file_type: 1, kind: TensorType::F16 },
];

impl Mix {
    /// The type of the output matrix, or of the embeddings that stand for it (llama-quant.cpp).
    fn output(&self) -> TensorType {
        match self.kind {
            TensorType::Q4_K | TensorType::Q4_0 => TensorType::Q6_K,
            kind => kind,
        }
    }

    /// The type of `attn_v` and `ffn_down`: `use_more_bits` of llama-quant.cpp.
    fn sensitive(&self, layer: u32, layers: u32) -> TensorType {
        let eighth = layers / 8;
        let more = layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2;
        if self.kind == TensorType::Q4_K && more { TensorType::Q6_K } else { self.kind }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let (shape, mix, path, seed) = match args.as_slice() {
        [shape, mix, path] => (shape, mix, path, 1),
        [shape, mix, path, seed] => (shape, mix, path, seed.parse()?),
        _ => return Err("usage: random_model SHAPE TYPE OUT.gguf [SEED]".into()),
    };
    let shape = SHAPES.iter().find(|s| s.name == shape).ok_or_else(|| {
        format!(
            "shape {shape:?} is not known; known are {}",
            SHAPES.iter().map(|s| s.name).collect::<Vec<_>>().join(", ")
        )
    })?;
    let mix = MIXES.iter().find(|m| m.name.eq_ignore_ascii_case(mix)).ok_or_else(|| {
        format!(
            "type {mix:?} is not known; known are {}",
            MIXES.iter().map(|m| m.name).collect::<Vec<_>>().join(", ")
        )
    })?;
    let start = Instant::now();
    model(shape, mix, seed)?.write_file(path)?;
    let seconds = start.elapsed().as_secs_f64();
    let gguf = Gguf::open(path)?;
    gguf.validate_for_llama()?;
    writeln!(
        io::stderr(),
        "{path}: {} tensors, {} parameters, {} bytes in {seconds:.1} s",
        gguf.tensors().len(),
        gguf.parameter_count(),
        gguf.file_bytes()
    )?;
    Ok(())
}

fn model(s: &'static Shape, mix: &Mix, seed: u64) -> inferno::Result<Writer<'static>> {
    let mut w = Writer::new();
    let a = s.arch;
    w.set("general.architecture", a)?
        .set("general.type", "model")?
        .set("general.name", format!("{} with random weights", s.name).as_str())?
        .set("general.file_type", mix.file_type)?
        .set("general.quantization_version", 2u32)?
        .set(&format!("{a}.block_count"), s.layers)?
        .set(&format!("{a}.context_length"), s.context)?
        .set(&format!("{a}.embedding_length"), s.width)?
        .set(&format!("{a}.feed_forward_length"), s.ff)?
        .set(&format!("{a}.attention.head_count"), s.heads)?
        .set(&format!("{a}.attention.head_count_kv"), s.heads_kv)?
        .set(&format!("{a}.attention.layer_norm_rms_epsilon"), s.eps)?
        .set(&format!("{a}.rope.dimension_count"), s.width / s.heads)?
        .set(&format!("{a}.rope.freq_base"), s.rope_base)?;
    tokenizer(&mut w, s)?;

    let mut weights = Weights { w: &mut w, rng: Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1) };
    let (width, ff, vocab) = (u64::from(s.width), u64::from(s.ff), u64::from(s.vocab));
    let kv = u64::from(s.width / s.heads * s.heads_kv);
    let embeddings = if s.tied { mix.output() } else { mix.kind };
    weights.matrix("token_embd.weight", embeddings, [width, vocab])?;
    for il in 0..s.layers {
        let name = |part: &str| format!("blk.{il}.{part}");
        let sensitive = mix.sensitive(il, s.layers);
        weights.norm(&name("attn_norm.weight"), width)?;
        weights.matrix(&name("attn_q.weight"), mix.kind, [width, width])?;
        weights.matrix(&name("attn_k.weight"), mix.kind, [width, kv])?;
        weights.matrix(&name("attn_v.weight"), sensitive, [width, kv])?;
        if s.biases {
            weights.bias(&name("attn_q.bias"), width)?;
            weights.bias(&name("attn_k.bias"), kv)?;
            weights.bias(&name("attn_v.bias"), kv)?;
        }
        weights.matrix(&name("attn_output.weight"), mix.kind, [width, width])?;
        weights.norm(&name("ffn_norm.weight"), width)?;
        weights.matrix(&name("ffn_gate.weight"), mix.kind, [width, ff])?;
        weights.matrix(&name("ffn_up.weight"), mix.kind, [width, ff])?;
        weights.matrix(&name("ffn_down.weight"), sensitive, [ff, width])?;
    }
    weights.norm("output_norm.weight", width)?;
    if !s.tied {
        weights.matrix("output.weight", mix.output(), [width, vocab])?;
    }
    Ok(w)
}

/// A byte-level vocabulary as GPT-2 has it, a few merges, and fillers up to the size.
fn tokenizer(w: &mut Writer<'_>, s: &Shape) -> inferno::Result<()> {
    const NORMAL: i32 = 1;
    const CONTROL: i32 = 3;
    let mut tokens: Vec<String> = byte_letters().map(String::from).collect();
    tokens.extend(["Ġt", "he", "Ġthe"].map(String::from));
    let mut kinds = vec![NORMAL; tokens.len()];
    let special = u32::try_from(tokens.len()).unwrap_or(u32::MAX);
    tokens.extend(["<|endoftext|>", "<|im_start|>", "<|im_end|>"].map(String::from));
    kinds.resize(tokens.len(), CONTROL);
    let mut filler = 0u32;
    while u32::try_from(tokens.len()).is_ok_and(|n| n < s.vocab) {
        tokens.push(format!("<w{filler}>"));
        filler += 1;
    }
    kinds.resize(tokens.len(), NORMAL);
    w.set("tokenizer.ggml.model", "gpt2")?
        .set("tokenizer.ggml.pre", s.pre)?
        .set("tokenizer.ggml.tokens", Strings::from_iter(tokens))?
        .set("tokenizer.ggml.token_type", kinds)?
        .set("tokenizer.ggml.merges", Strings::from_iter(["Ġ t", "h e", "Ġt he"]))?
        .set("tokenizer.ggml.bos_token_id", special)?
        .set("tokenizer.ggml.eos_token_id", special)?
        .set("tokenizer.ggml.eot_token_id", special + 2)?
        .set("tokenizer.ggml.add_bos_token", false)?
        .set("tokenizer.chat_template", CHATML)?;
    Ok(())
}

/// The letters that stand for the 256 bytes (`bytes_to_unicode` of GPT-2).
fn byte_letters() -> impl Iterator<Item = char> {
    let mut next = 0x100;
    (0u8..=255).map(move |b| match b {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(b),
        _ => {
            next += 1;
            char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
        }
    })
}

struct Weights<'w> {
    w: &'w mut Writer<'static>,
    rng: Rng,
}

impl Weights<'_> {
    fn matrix(&mut self, name: &str, kind: TensorType, dims: [u64; 2]) -> inferno::Result<()> {
        let rng = self.rng.fork();
        let bytes = dims[0] * dims[1] / kind.block_len() * kind.block_bytes();
        self.w.tensor(name, kind, &dims, move |out| from_pool(out, kind, bytes, rng)).map(drop)
    }

    fn norm(&mut self, name: &str, n: u64) -> inferno::Result<()> {
        self.w.tensor(name, TensorType::F32, &[n], move |out| {
            (0..n).try_for_each(|_| out.write_all(&1f32.to_le_bytes()))
        })?;
        Ok(())
    }

    fn bias(&mut self, name: &str, n: u64) -> inferno::Result<()> {
        let mut rng = self.rng.fork();
        self.w.tensor(name, TensorType::F32, &[n], move |out| {
            (0..n).try_for_each(|_| out.write_all(&(rng.normal() * SIGMA).to_le_bytes()))
        })?;
        Ok(())
    }
}

/// Writes pieces of a pool of random blocks, each from another place: as fast as the disk.
fn from_pool(out: &mut dyn Write, kind: TensorType, mut bytes: u64, mut rng: Rng) -> io::Result<()> {
    const BLOCKS: usize = 8 * 1024;
    let size = usize::try_from(kind.block_bytes()).map_err(io::Error::other)?;
    // Scalar types have blocks of one element.
    let blocks = if kind.block_len() == 1 { BLOCKS * 32 } else { BLOCKS };
    let blocks = blocks.min(usize::try_from(bytes).unwrap_or(usize::MAX) / size);
    let mut pool = Vec::with_capacity(blocks * size);
    for _ in 0..blocks {
        block(kind, &mut rng, &mut pool);
    }
    while bytes > 0 {
        let start = rng.below(blocks) * size;
        let piece = &pool[start..];
        let n = usize::try_from(bytes).unwrap_or(usize::MAX).min(piece.len());
        out.write_all(&piece[..n])?;
        bytes -= n as u64;
    }
    Ok(())
}

/// One block of weights with mean 0 and the standard deviation `SIGMA` (layouts: ggml-common.h).
fn block(kind: TensorType, rng: &mut Rng, out: &mut Vec<u8>) {
    // The standard deviation of uniform integers 0 to n - 1 is sqrt((n² - 1) / 12).
    let uniform = |n: f32| ((n * n - 1.0) / 12.0).sqrt();
    match kind {
        TensorType::F16 => out.extend(f16(rng.normal() * SIGMA).to_le_bytes()),
        // d · (q - 8): the sign of d is random, as the middle of q is not 8.
        TensorType::Q4_0 => {
            let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
            out.extend(f16(sign * SIGMA / uniform(16.0)).to_le_bytes());
            rng.fill(16, out);
        }
        TensorType::Q8_0 => {
            out.extend(f16(SIGMA / uniform(256.0)).to_le_bytes());
            rng.fill(32, out);
        }
        // d · s · q - dmin · m with s = m = 32 and dmin = 7.5 d. The first four bytes hold s of the
        // first four sub-blocks, the next four m; high bits of the other four in bits 6 and 7.
        TensorType::Q4_K => {
            let d = SIGMA / (32.0 * uniform(16.0));
            out.extend(f16(d).to_le_bytes());
            out.extend(f16(7.5 * d).to_le_bytes());
            out.extend([0x80 | 32; 8]);
            out.extend([0; 4]);
            rng.fill(128, out);
        }
        // d · s · (q - 32) with s = ±32.
        TensorType::Q6_K => {
            rng.fill(128 + 64, out);
            out.extend((0..16).map(|_| if rng.below(2) == 0 { 32u8 } else { 0xe0 }));
            out.extend(f16(SIGMA / (32.0 * uniform(64.0))).to_le_bytes());
        }
        kind => unreachable!("no mixture has type {kind}"),
    }
}

/// The nearest half-precision number of a finite `x` below 65504, ties upwards.
fn f16(x: f32) -> u16 {
    let sign = if x.is_sign_negative() { 0x8000u16 } else { 0 };
    let bits = x.abs().to_bits();
    let (exponent, mantissa) = (bits >> 23, bits & 0x7f_ffff | 0x80_0000);
    // The exponent 127 - 14 is the smallest of normal numbers; below, the mantissa shifts out.
    let half = if exponent > 112 {
        ((bits - (112 << 23)) + 0x1000) >> 13
    } else if exponent > 101 {
        let shift = 13 + 113 - exponent;
        (mantissa + (1 << (shift - 1))) >> shift
    } else {
        0
    };
    sign | u16::try_from(half).unwrap_or(0x7bff)
}

/// xorshift64*.
#[derive(Clone, Copy)]
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fork(&mut self) -> Rng {
        Rng(self.next() | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(((self.next() >> 32) * n as u64) >> 32).unwrap_or(0)
    }

    fn fill(&mut self, n: usize, out: &mut Vec<u8>) {
        for _ in 0..n / 8 {
            out.extend(self.next().to_le_bytes());
        }
    }

    /// About N(0, 1): the sum of twelve uniform numbers in 0 to 1, less 6.
    fn normal(&mut self) -> f32 {
        (0..12).map(|_| f32::from(u16::try_from(self.next() >> 48).unwrap_or(0)) / 65_536.0).sum::<f32>()
            - 6.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision() {
        for (x, want) in
            [(0.0, 0), (1.0, 0x3c00), (-2.0, 0xc000), (65504.0, 0x7bff), (6.103_515_6e-5, 0x0400)]
        {
            assert_eq!(f16(x), want, "{x}");
        }
        assert_eq!(f16(2f32.powi(-24)), 1, "the smallest subnormal");
        assert_eq!(f16(0.02), 0x251f);
    }

    #[test]
    fn every_mixture_of_the_tiny_shape_is_valid_and_deterministic() {
        for mix in MIXES {
            let bytes = |seed| {
                let mut out = Vec::new();
                model(&SHAPES[0], mix, seed).unwrap().write_to(&mut out, "memory".as_ref()).unwrap();
                out
            };
            let file = bytes(1);
            let g = Gguf::from_bytes(&file, "memory").unwrap();
            g.validate_for_llama().unwrap();
            assert_eq!(g.quantisation().map(|q| q.to_lowercase()).as_deref(), Some(mix.name));
            assert!(file == bytes(1) && file != bytes(2));
        }
    }

    #[test]
    fn q4_k_m_has_the_types_that_llama_quantize_chooses() {
        let q4_k_m = &MIXES[0];
        let six: Vec<u32> = (0..22).filter(|&il| q4_k_m.sensitive(il, 22) == TensorType::Q6_K).collect();
        assert_eq!(six, [0, 1, 4, 7, 10, 13, 16, 19, 20, 21]);
    }
}
