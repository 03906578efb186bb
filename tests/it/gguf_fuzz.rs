//! Mutated GGUF headers, deterministic by seed. `INFERNO_FUZZ_CASES=1000000` runs a million.

use std::time::Instant;

use inferno::gguf::{Gguf, TensorType, Value};

use crate::gguf::{LLAMA_TENSORS, Raw, file, llama, text};

/// xorshift64*: the same cases on every machine.
struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % (n.max(1) as u64)).unwrap()
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut every = Raw::valid();
    for tag in 0..13u32 {
        let payload = match tag {
            8 => text(b"value"),
            9 => continue,
            _ => vec![1; 8][..[1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][tag as usize]].to_vec(),
        };
        every.kv(format!("s{tag}"), tag, &payload);
        let array = [&tag.to_le_bytes()[..], &3u64.to_le_bytes(), &payload.repeat(3)].concat();
        every.kv(format!("a{tag}"), 9, &array);
    }
    let mut aligned = llama();
    aligned.push(("general.alignment".into(), Value::U32(64)));
    aligned.push(("llama.rope.dimension_sections".into(), vec![8i32, 8, 0, 0].into()));
    vec![
        Raw::valid().bytes(),
        every.bytes(),
        file(&llama(), &LLAMA_TENSORS[1..2]),
        file(&aligned, &[("blk.0.a", TensorType::I8, &[7]), ("blk.1.b", TensorType::BF16, &[3, 2, 1, 2])]),
    ]
}

const EXTREMES: &[u64] = &[
    0,
    1,
    2,
    3,
    4,
    9,
    13,
    43,
    0x7f,
    0x80,
    0xff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    1 << 30,
    (1 << 30) + 1,
    1 << 40,
    1 << 61,
    1 << 62,
    i64::MAX as u64,
    1 << 63,
    u64::MAX - 1,
    u64::MAX,
];

fn mutate(rng: &mut Rng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut b = seeds[rng.below(seeds.len())].clone();
    for _ in 0..=rng.below(3) {
        if b.is_empty() {
            break;
        }
        let at = rng.below(b.len());
        match rng.below(9) {
            0 => b[at] ^= 1 << rng.below(8),
            1 => b[at] = rng.next().to_le_bytes()[0],
            2 => b.truncate(at),
            3 => {
                // A piece of another file over this one.
                let other = &seeds[rng.below(seeds.len())];
                let from = rng.below(other.len());
                let n = rng.below(64).min(other.len() - from).min(b.len() - at);
                b[at..at + n].copy_from_slice(&other[from..from + n]);
            }
            4 => {
                let n = rng.below(24).min(b.len() - at);
                drop(b.drain(at..at + n));
            }
            5 => {
                let n = rng.below(24);
                let piece: Vec<u8> = (0..n).map(|_| rng.next().to_le_bytes()[0]).collect();
                drop(b.splice(at..at, piece));
            }
            6 | 7 => {
                // An extreme integer, of four or eight bytes.
                let v = EXTREMES[rng.below(EXTREMES.len())].to_le_bytes();
                let n = (if rng.below(2) == 0 { 4 } else { 8 }).min(b.len() - at);
                b[at..at + n].copy_from_slice(&v[..n]);
            }
            _ => {
                // A field that looks like a length or a count, made a little or much larger.
                let field = |i: usize| b.get(i..i + 8).map(|f| u64::from_le_bytes(f.try_into().unwrap()));
                let Some(i) = (at..b.len()).find(|&i| field(i).is_some_and(|v| (1..1000).contains(&v)))
                else {
                    continue;
                };
                let v = field(i).unwrap();
                let v = match rng.below(4) {
                    0 => v.wrapping_add(1),
                    1 => v.wrapping_sub(1),
                    2 => v << rng.below(64),
                    _ => EXTREMES[rng.below(EXTREMES.len())],
                };
                b[i..i + 8].copy_from_slice(&v.to_le_bytes());
            }
        }
    }
    b
}

/// Reads the file, and holds the result to what the rest of the program relies on.
fn check(bytes: &[u8]) -> (bool, bool) {
    let Ok(g) = Gguf::from_bytes(bytes, "fuzz") else { return (false, false) };
    let mut end = g.data_offset();
    for t in g.tensors() {
        assert!(t.offset >= end, "tensor {:?} overlaps the one before", t.name);
        assert!(t.name.len() < 64);
        end = t.offset.checked_add(t.size_bytes).unwrap();
        assert!(end <= bytes.len() as u64, "tensor {:?} ends at {end} of {}", t.name, bytes.len());
    }
    assert!(g.data_offset() <= bytes.len() as u64);
    assert!(g.heap_bytes() <= 16 * bytes.len() + 1024, "{} bytes for {}", g.heap_bytes(), bytes.len());
    for (key, value) in g.metadata() {
        assert_eq!(g.get(key).map(std::mem::discriminant), Some(std::mem::discriminant(value)));
    }
    for n in [0, 4096, u64::MAX] {
        g.kv_cache_bytes(n, TensorType::F16, TensorType::Q8_0);
    }
    assert!(g.tensor_bytes() <= bytes.len() as u64);
    assert!(g.parameter_count() <= 8 * bytes.len() as u64, "no type packs more than 8 elements in a byte");
    assert!(g.quantisation().is_none_or(|q| !q.is_empty()));
    assert!(g.head_count().is_none_or(|h| h.max() >= h.get(0).unwrap_or(0)));
    (true, g.validate_for_llama().is_ok())
}

#[test]
#[expect(clippy::print_stderr, reason = "the report of a long run, shown with --nocapture")]
fn mutated_headers_are_rejected_or_sound() {
    let cases: u64 = match std::env::var("INFERNO_FUZZ_CASES") {
        Ok(n) => n.parse().expect("INFERNO_FUZZ_CASES is a number"),
        Err(_) => 50_000,
    };
    let (seeds, start) = (seeds(), Instant::now());
    let (mut read, mut valid) = (0u64, 0u64);
    for case in 0..cases {
        let mut rng = Rng(0x9e37_79b9_7f4a_7c15 ^ (case + 1).wrapping_mul(0xd134_2543_de82_ef95));
        let bytes = mutate(&mut rng, &seeds);
        let (r, v) = std::panic::catch_unwind(|| check(&bytes))
            .unwrap_or_else(|_| panic!("case {case}: {bytes:02x?}"));
        read += u64::from(r);
        valid += u64::from(v);
    }
    // Mutations that all fail at the magic would test nothing.
    assert!(read > cases / 50 && read < cases, "{read} of {cases} were read");
    assert!(valid > 0 && valid < read, "{valid} of {cases} were valid for llama.cpp");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find(|l| l.starts_with("VmHWM")).unwrap_or("VmHWM unknown");
    eprintln!("{cases} cases: {read} read, {valid} valid, {:?}, {peak}", start.elapsed());
}

#[test]
fn every_truncation_is_rejected_or_sound() {
    for seed in seeds() {
        assert!(check(&seed).0);
        for n in 0..seed.len() {
            let (read, _) = check(&seed[..n]);
            // Only the padding after the last tensor may go.
            assert!(!read || seed.len() - n < 64, "{n} of {} bytes were read", seed.len());
        }
    }
}
