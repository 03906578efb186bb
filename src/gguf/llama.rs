//! What llama.cpp would assert on, divide by or index with when it loads a model and builds its
//! graph, checked beforehand. Each check names its place in the pinned tree.

use std::collections::HashSet;

use super::archs::{self, Arch, Family};
use super::reader::Kind;
use super::{Array, Entry, Gguf, PerLayer, Strings, Value};
use crate::error::{Error, Result};

/// `LLAMA_MAX_LAYERS` (llama-hparams.h).
pub(super) const MAX_LAYERS: u64 = 512;
/// `LLAMA_MAX_EXPERTS` (llama-hparams.h).
const MAX_EXPERTS: u64 = 1024;
/// `TENSOR_ALIGNMENT` (ggml-impl.h): with a smaller alignment in the file, a mapped buffer may
/// start where `ggml_backend_cpu_buffer_from_ptr` asserts that none does.
const TENSOR_ALIGNMENT: u32 = 32;
/// `naive_trie` (llama-vocab.cpp) recurses once a byte when it takes a token in and when it is freed, on the stack of
/// whoever drops the model: 2 MiB in a blocking thread of tokio. `llm_tokenizer_plamo2::build` keeps every suffix of
/// every token. The longest tokens of RWKV World have 128 bytes.
const MAX_TRIE_TOKEN: usize = 1024;
/// A vocabulary without tokens is made of this many dummies at most, unless the embedding says so.
const MAX_DUMMY_TOKENS: u64 = 1 << 22;

/// Types of the keys that `llama_model_base::load_hparams` reads for every architecture.
const ARCH_KEYS: &[(&str, Kind)] = &[
    ("attention.causal", Kind::Bool),
    ("attention.head_count", Kind::PerLayer),
    ("attention.head_count_kv", Kind::PerLayer),
    ("attention.key_length", Kind::U32),
    ("attention.key_length_swa", Kind::U32),
    ("attention.value_length", Kind::U32),
    ("attention.value_length_swa", Kind::U32),
    ("block_count", Kind::U32),
    ("context_length", Kind::U32),
    ("embedding_length", Kind::U32),
    ("embedding_length_out", Kind::U32),
    ("expert_count", Kind::U32),
    ("expert_group_count", Kind::U32),
    ("expert_group_used_count", Kind::U32),
    ("expert_used_count", Kind::PerLayer),
    ("feed_forward_length", Kind::PerLayer),
    ("nextn_predict_layers", Kind::U32),
    ("pooling_type", Kind::U32),
    ("rope.dimension_count", Kind::U32),
    ("rope.dimension_count_swa", Kind::U32),
    ("rope.freq_base", Kind::F32),
    ("rope.scale_linear", Kind::F32),
    ("rope.scaling.alpha", Kind::F32),
    ("rope.scaling.attn_factor", Kind::F32),
    ("rope.scaling.factor", Kind::F32),
    ("rope.scaling.finetuned", Kind::Bool),
    ("rope.scaling.original_context_length", Kind::U32),
    ("rope.scaling.type", Kind::Str),
];

impl Gguf {
    /// Checks what llama.cpp would assert on when it loads this model and builds its graph, so that
    /// a file that passes ends at worst in an exception, which is an error and not an abort.
    ///
    /// # Errors
    /// [`Error::UnsupportedModel`] for an architecture, a tokenizer or a kind of file that
    /// llama.cpp does not run by itself; [`Error::InvalidGguf`] for values that contradict each
    /// other, at the place of the value.
    pub fn validate_for_llama(&self) -> Result<()> {
        let arch = self.known_architecture()?;
        let c = Check { gguf: self, arch };
        c.types()?;
        c.tensors()?;
        let layers = c.layers()?;
        c.experts(layers)?;
        c.heads(layers)?;
        c.numbers()?;
        c.by_architecture(layers)?;
        c.tokenizer()
    }

    fn known_architecture(&self) -> Result<&'static Arch> {
        let unsupported = |what: String| Err(Error::UnsupportedModel { path: self.path.clone(), what });
        if let Some(split) = self.split().filter(|s| s.index > 0) {
            return unsupported(format!(
                "it is file {} of {} of a split model; open the first one, ending in 00001-of-{:05}.gguf",
                split.index + 1,
                split.count,
                split.count
            ));
        }
        match self.get_str("general.type") {
            Some("adapter") => return unsupported("it is a LoRA adapter, not a model".into()),
            Some("imatrix") => return unsupported("it is an importance matrix, not a model".into()),
            Some("mmproj") => {
                return unsupported(
                    "it is the image or audio part (mmproj) of a model, not a language model".into(),
                );
            }
            _ => {}
        }
        match self.architecture() {
            None => unsupported("it has no general.architecture".into()),
            Some("clip") => {
                unsupported("it is the image or audio part (mmproj) of a model, not a language model".into())
            }
            // Their graphs assert that a target model is there (cparams.ctx_other).
            Some(name @ ("eagle3" | "dflash" | "gemma4-assistant")) => {
                unsupported(format!("it is a draft model ({name}), which runs only beside its target model"))
            }
            Some(name) => match (archs::find(name), archs::nearest(name)) {
                (Some(arch), _) => Ok(arch),
                (None, Some(near)) => {
                    unsupported(format!("architecture {name:?} is not known; the nearest that is: {near:?}"))
                }
                (None, None) => unsupported(format!("architecture {name:?} is not known")),
            },
        }
    }
}

struct Check<'a> {
    gguf: &'a Gguf,
    arch: &'static Arch,
}

/// The offset of an entry that is missing.
const NOWHERE: u64 = 0;

impl Check<'_> {
    fn fail<T>(&self, offset: u64, what: impl Into<String>) -> Result<T> {
        Err(Error::InvalidGguf { path: self.gguf.path.clone(), what: what.into(), offset })
    }

    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.arch.name)
    }

    fn entry(&self, suffix: &str) -> Option<&Entry> {
        self.gguf.entry(&self.key(suffix))
    }

    fn number(&self, suffix: &str) -> Option<u64> {
        self.gguf.arch_u64(suffix)
    }

    fn flag(&self, suffix: &str) -> Option<bool> {
        self.gguf.get_bool(&self.key(suffix))
    }

    /// Fails at an architecture key unless `ok`.
    fn ensure(&self, ok: bool, suffix: &str, must: impl FnOnce() -> String) -> Result<()> {
        if ok {
            return Ok(());
        }
        match self.entry(suffix) {
            Some(e) => self.fail(e.offset, format!("{} is {}; it must be {}", e.key, show(&e.value), must())),
            None => self.fail(NOWHERE, format!("{} is missing; it must be {}", self.key(suffix), must())),
        }
    }

    fn types(&self) -> Result<()> {
        for (suffix, kind) in ARCH_KEYS {
            if let Some(e) = self.entry(suffix)
                && !kind.admits(&e.value)
            {
                let what = format!("{} has type {}; it must be {}", e.key, e.value.type_name(), kind.name());
                return self.fail(e.offset, what);
            }
        }
        Ok(())
    }

    fn tensors(&self) -> Result<()> {
        if let Some(t) = self.gguf.tensors.iter().find(|t| t.dims.contains(&0)) {
            return self
                .fail(t.offset, format!("tensor {:?} has shape {:?}, with no elements", t.name, t.dims));
        }
        if self.gguf.alignment < TENSOR_ALIGNMENT
            && let Some(t) =
                self.gguf.tensors.iter().find(|t| !t.offset.is_multiple_of(TENSOR_ALIGNMENT.into()))
        {
            return Err(Error::UnsupportedModel {
                path: self.gguf.path.clone(),
                what: format!(
                    "general.alignment is {} and the data of {:?} starts at {}; ggml needs multiples of {}",
                    self.gguf.alignment, t.name, t.offset, TENSOR_ALIGNMENT
                ),
            });
        }
        Ok(())
    }

    /// `load_hparams`: `n_layer_all`, `n_layer_nextn`; `done_getting_tensors`: no layer too many.
    fn layers(&self) -> Result<u64> {
        let layers = self.number("block_count").unwrap_or(0);
        self.ensure((1..=MAX_LAYERS).contains(&layers), "block_count", || format!("1 to {MAX_LAYERS}"))?;
        for suffix in ["context_length", "embedding_length"] {
            self.ensure(self.number(suffix).is_some_and(|n| n > 0), suffix, || "more than 0".into())?;
        }
        self.ensure(
            self.number("nextn_predict_layers").unwrap_or(0) <= layers,
            "nextn_predict_layers",
            || format!("at most block_count, {layers}"),
        )?;
        let mut seen = false;
        for t in &self.gguf.tensors {
            let Some(number) = t.name.strip_prefix("blk.").and_then(|rest| rest.split('.').next()) else {
                continue;
            };
            seen = true;
            if number.parse::<u64>().map_or(true, |n| n >= layers) {
                let what = format!(
                    "tensor {:?} belongs to no layer: {} is {layers}",
                    t.name,
                    self.key("block_count")
                );
                return self.fail(t.offset, what);
            }
        }
        // T5 calls its layers enc.blk and dec.blk; other files of a split may hold all layers.
        let named_otherwise =
            self.gguf.tensors.iter().any(|t| t.name.contains(".blk.")) || self.gguf.split().is_some();
        if !seen && !named_otherwise && !self.gguf.tensors.is_empty() {
            let what = format!("{} is {layers}, and there are no tensors of layers", self.key("block_count"));
            return self.fail(self.entry("block_count").map_or(NOWHERE, |e| e.offset), what);
        }
        Ok(layers)
    }

    /// A number or a list with one for each layer, as `get_key_or_arr` reads it.
    fn per_layer(&self, suffix: &str, layers: u64) -> Result<Option<PerLayer>> {
        let Some(e) = self.entry(suffix) else { return Ok(None) };
        if let Value::Array(a) = &e.value
            && a.len() as u64 != layers
        {
            return self.fail(e.offset, format!("{} has {} elements for {layers} layers", e.key, a.len()));
        }
        match self.gguf.arch_per_layer(suffix) {
            Some(v) => Ok(Some(v)),
            None => self.fail(e.offset, format!("{} has negative elements", e.key)),
        }
    }

    /// `load_hparams`: the assertions on expert counts; src/models: divisions by the number in use.
    fn experts(&self, layers: u64) -> Result<()> {
        let mut count = self.number("expert_count").unwrap_or(0);
        let mut used = self.per_layer("expert_used_count", layers)?.unwrap_or(PerLayer::Same(0));
        if matches!(self.arch.name, "hunyuan_vl" | "hunyuan-dense") && count <= 1 {
            (count, used) = (0, PerLayer::Same(0));
        }
        let groups = self.number("expert_group_count").unwrap_or(0);
        self.ensure(count <= MAX_EXPERTS, "expert_count", || format!("at most {MAX_EXPERTS}"))?;
        self.ensure(used.max() <= count, "expert_used_count", || format!("at most expert_count, {count}"))?;
        if count > 0 {
            self.ensure(used.max() > 0, "expert_used_count", || format!("1 to {count} (expert_count)"))?;
            self.ensure(groups < count, "expert_group_count", || format!("less than expert_count, {count}"))?;
            if groups > 1 {
                self.ensure(count.is_multiple_of(groups), "expert_group_count", || {
                    format!("a divisor of {count} (expert_count)")
                })?;
                let used = self.number("expert_group_used_count").unwrap_or(0);
                self.ensure((1..groups).contains(&used), "expert_group_used_count", || {
                    format!("at least 1 and less than expert_group_count, {groups}")
                })?;
            }
        } else {
            self.ensure(groups == 0, "expert_group_count", || "0 without experts".into())?;
        }
        if NEEDS_EXPERTS.contains(&self.arch.name) {
            self.ensure(count > 0, "expert_count", || "more than 0 for this architecture".into())?;
            self.ensure(used.get(0).is_some_and(|n| n > 0), "expert_used_count", || {
                "more than 0 in the first layer".into()
            })?;
        }
        Ok(())
    }

    /// Head counts and lengths: `load_hparams`, the graphs, `ggml_rope`, `ggml_can_mul_mat`.
    fn heads(&self, layers: u64) -> Result<()> {
        self.per_layer("feed_forward_length", layers)?;
        let heads = self.per_layer("attention.head_count", layers)?;
        let heads_kv = self.per_layer("attention.head_count_kv", layers)?;
        let first = heads.as_ref().and_then(|h| h.get(0)).unwrap_or(0);
        if self.arch.family == Family::Transformer && !HEADLESS.contains(&self.arch.name) {
            self.ensure(heads.as_ref().is_some_and(|h| h.max() > 0), "attention.head_count", || {
                "more than 0".into()
            })?;
        }
        if let (Some(heads), Some(kv)) = (&heads, &heads_kv)
            && self.arch.family != Family::Recurrent
        {
            for layer in 0..usize::try_from(layers).unwrap_or(0) {
                let (Some(q), Some(kv)) = (heads.get(layer), kv.get(layer)) else { continue };
                self.ensure(q == 0 || kv == 0 || q % kv == 0, "attention.head_count_kv", || {
                    format!("a divisor of attention.head_count, {q} in layer {layer}")
                })?;
            }
        }
        if first == 0 {
            return Ok(());
        }
        let width = self.number("embedding_length").unwrap_or(0);
        let given = self.number("attention.key_length");
        if given.is_none() && matches!(heads, Some(PerLayer::Same(_))) {
            self.ensure(width.is_multiple_of(first), "embedding_length", || {
                format!("a multiple of attention.head_count, {first}, as there is no attention.key_length")
            })?;
        }
        let key = given.unwrap_or(width / first);
        let value = self.number("attention.value_length").unwrap_or(width / first);
        if self.arch.family != Family::Recurrent {
            self.ensure(key > 0, "attention.key_length", || "more than 0".into())?;
        }
        if self.arch.key_is_value {
            self.ensure(key == value, "attention.value_length", || {
                format!("equal to the key length, {key}, for this architecture")
            })?;
        }
        let mla = |suffix| self.number(suffix).unwrap_or(0) > 0;
        let both = mla("attention.key_length_mla") == mla("attention.value_length_mla");
        self.ensure(both, "attention.value_length_mla", || "present exactly when key_length_mla is".into())?;
        if !self.arch.rope || self.arch.family != Family::Transformer {
            return Ok(());
        }
        for (count, length) in [
            ("rope.dimension_count", key),
            ("rope.dimension_count_swa", self.number("attention.key_length_swa").unwrap_or(key)),
        ] {
            if let Some(n) = self.number(count) {
                self.ensure(n % 2 == 0 && n <= length, count, || {
                    format!("even and at most the key length, {length}")
                })?;
            }
        }
        let rotated = self.number("rope.dimension_count").unwrap_or(key);
        if self.arch.head_is_rope {
            self.ensure(rotated == value, "rope.dimension_count", || {
                format!("equal to the length of a head, {value}, for this architecture")
            })?;
            self.ensure(rotated.is_multiple_of(2), "attention.key_length", || {
                "even, as heads are rotated".into()
            })?;
        }
        self.rope_sections()
    }

    /// ggml-cpu/ops.cpp: `ggml_compute_forward_rope` asserts on sections that are all zero.
    fn rope_sections(&self) -> Result<()> {
        let Some(Value::Array(a)) = self.entry("rope.dimension_sections").map(|e| &e.value) else {
            return Ok(());
        };
        let sections: Option<Vec<u64>> = (0..a.len()).map(|i| a.get_u64(i)).collect();
        let fine = sections.is_some_and(|s| s.len() <= 4 && (s.is_empty() || s.iter().any(|&n| n > 0)));
        self.ensure(fine, "rope.dimension_sections", || "up to four numbers, not all 0".into())
    }

    /// `ggml_norm` asserts on the epsilon, `load_hparams` on the name of the scaling.
    fn numbers(&self) -> Result<()> {
        for suffix in [
            "attention.layer_norm_epsilon",
            "attention.layer_norm_rms_epsilon",
            "attention.group_norm_epsilon",
        ] {
            if let Some(e) = self.entry(suffix) {
                let fine = matches!(e.value, Value::F32(eps) if eps.is_finite() && eps > 0.0);
                self.ensure(fine, suffix, || "a finite f32 above 0".into())?;
            }
        }
        for suffix in
            ["rope.freq_base", "rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"]
        {
            let finite = self.gguf.get_f64(&self.key(suffix)).is_none_or(f64::is_finite);
            self.ensure(finite, suffix, || "finite".into())?;
        }
        if let Some(kind) = self.gguf.get_str(&self.key("rope.scaling.type")) {
            let known = ["none", "linear", "yarn", "longrope"];
            self.ensure(known.contains(&kind), "rope.scaling.type", || known.join(", "))?;
        }
        // src/models: `% full_attn_interval`, `n_embd / head_size`.
        for suffix in ["full_attention_interval", "wkv.head_size"] {
            self.ensure(self.number(suffix) != Some(0), suffix, || "more than 0".into())?;
        }
        Ok(())
    }

    /// Assertions and divisions in src/models/{architecture}.cpp.
    fn by_architecture(&self, layers: u64) -> Result<()> {
        let n = |suffix| self.number(suffix).unwrap_or(0);
        let positive = |suffix| self.ensure(n(suffix) > 0, suffix, || "more than 0".into());
        let width = n("embedding_length");
        match self.arch.name {
            "bailingmoe3" => {
                self.ensure(self.flag("kda.safe_gate") == Some(true), "kda.safe_gate", || "true".into())?;
                let bound = self.gguf.get_f64(&self.key("kda.gate_lower_bound"));
                self.ensure(bound.is_none_or(|b| b < 0.0), "kda.gate_lower_bound", || "less than 0".into())
            }
            "deepseek2" | "hy_v4" => {
                if self.arch.name == "hy_v4" {
                    positive("attention.key_length_mla")?;
                }
                let key = match n("attention.key_length_mla") {
                    0 => self.number("attention.key_length"),
                    mla => Some(mla),
                };
                let (key, rope) = (key.unwrap_or(u64::MAX), n("rope.dimension_count"));
                self.ensure(rope < key, "rope.dimension_count", || format!("less than the key length, {key}"))
            }
            "deepseek4" => {
                let ratios =
                    self.gguf.get_array(&self.key("attention.compress_ratios")).map_or(0, Array::len);
                let fine = ratios as u64 <= MAX_LAYERS;
                self.ensure(fine, "attention.compress_ratios", || format!("at most {MAX_LAYERS} elements"))?;
                positive("attention.output_group_count")
            }
            "dots3note" => positive("attention.key_length_mla"),
            "ernie4_5-moe" => positive("interleave_moe_layer_step"),
            "falcon-h1" | "granitehybrid" | "mamba2" | "nemotron_h" | "nemotron_h_moe" => {
                positive("ssm.group_count")?;
                let (inner, groups, ranks) =
                    (n("ssm.inner_size"), n("ssm.group_count"), n("ssm.time_step_rank"));
                self.ensure(inner.is_multiple_of(groups), "ssm.inner_size", || {
                    format!("a multiple of {groups}")
                })?;
                self.ensure(ranks > 0 && inner % ranks == 0, "ssm.time_step_rank", || {
                    format!("a divisor of {inner}")
                })?;
                let twice = self.arch.name != "granitehybrid" || Some(inner) == width.checked_mul(2);
                self.ensure(twice, "ssm.inner_size", || format!("twice embedding_length, {width}"))
            }
            "gemma-embedding" => ["dense_2_feat_in", "dense_3_feat_out"].iter().try_for_each(|suffix| {
                self.ensure([0, width].contains(&n(suffix)), suffix, || {
                    format!("0 or embedding_length, {width}")
                })
            }),
            "glm5-next" => {
                let pool = n("attention.indexer.kpool");
                self.ensure(pool > 1, "attention.indexer.kpool", || "more than 1".into())?;
                let fine = n("attention.indexer.top_k").is_multiple_of(pool);
                self.ensure(fine, "attention.indexer.top_k", || format!("a multiple of {pool}"))?;
                self.ensure(n("hyper_connection.count") == 4, "hyper_connection.count", || "4".into())
            }
            "grovemoe" => positive("experts_per_group"),
            "hrm_text" => {
                ["hrm.layers_per_stack", "hrm.h_cycles", "hrm.l_cycles"]
                    .into_iter()
                    .try_for_each(positive)?;
                let slots = n("hrm.l_cycles")
                    .checked_add(1)
                    .and_then(|l| l.checked_mul(n("hrm.h_cycles")))
                    .and_then(|l| l.checked_mul(n("hrm.layers_per_stack")));
                self.ensure(slots == Some(layers - n("nextn_predict_layers")), "block_count", || {
                    "layers_per_stack · h_cycles · (l_cycles + 1)".into()
                })
            }
            "jamba" => {
                self.ensure(Some(n("ssm.inner_size")) == width.checked_mul(2), "ssm.inner_size", || {
                    format!("twice embedding_length, {width}")
                })
            }
            "jina-bert-v2" => self.every_layer(layers, "ffn_up.weight", |t, il| {
                let ff = self.gguf.arch_per_layer("feed_forward_length")?.get(il)?;
                (![Some(ff), ff.checked_mul(2)].contains(&Some(t)))
                    .then(|| format!("{t} rows; feed_forward_length is {ff}"))
            }),
            "laguna" => self.every_layer(layers, "attn_gate.weight", |t, il| {
                let heads = self.gguf.head_count()?.get(il)?;
                let key = self.number("attention.key_length").or_else(|| width.checked_div(heads))?;
                (t != heads && Some(t) != heads.checked_mul(key))
                    .then(|| format!("{t} rows; {heads} or {heads} · {key} are needed"))
            }),
            "lfm2" | "lfm2moe" => {
                let cache = n("shortconv.l_cache");
                self.ensure(cache > 1, "shortconv.l_cache", || "more than 1".into())?;
                let lengths =
                    ["attention.key_length", "attention.value_length"].map(|suffix| self.number(suffix));
                self.ensure(lengths[0] == lengths[1], "attention.value_length", || {
                    "equal to key_length".into()
                })
            }
            "minimax-m3" => positive("attention.indexer.block_size"),
            "nanbeige" => {
                let loops = self.number("num_loops").unwrap_or(1);
                let all = (layers - n("nextn_predict_layers")).checked_mul(loops);
                let fine = loops >= 1 && all.is_some_and(|all| all <= MAX_LAYERS);
                self.ensure(fine, "num_loops", || {
                    format!("at least 1, and at most {MAX_LAYERS} with block_count")
                })
            }
            "rwkv6" => {
                positive("wkv.head_size")?;
                for layer in 0..layers {
                    let has = |name| self.gguf.tensor(&format!("blk.{layer}.{name}.weight")).is_some();
                    if self.gguf.split().is_none() && !has("time_mix_lerp_fused") && !has("time_mix_lerp_w") {
                        return self.fail(
                            NOWHERE,
                            format!("layer {layer} has no time_mix_lerp_fused or time_mix_lerp_w"),
                        );
                    }
                }
                Ok(())
            }
            "rwkv6qwen2" => positive("wkv.head_size"),
            // ggml_compute_forward_rwkv_wkv7_f32 takes steps of GGML_F32_STEP and has no tail: 64 with AVX-512
            "rwkv7" | "arwkv7" => {
                let size = n("wkv.head_size");
                self.ensure(size > 0 && size % 64 == 0, "wkv.head_size", || "a multiple of 64".into())
            }
            "wavtokenizer-dec" => {
                let (posnet, convnext) = (n("posnet.block_count"), n("convnext.block_count"));
                self.ensure(posnet <= layers.min(6), "posnet.block_count", || {
                    format!("at most {}", layers.min(6))
                })?;
                self.ensure(convnext <= layers, "convnext.block_count", || format!("at most {layers}"))?;
                let same = n("posnet.embedding_length") == n("convnext.embedding_length");
                self.ensure(same, "posnet.embedding_length", || "equal to convnext.embedding_length".into())
            }
            _ => Ok(()),
        }
    }

    /// Looks at the rows of one tensor of each layer; `wrong` says what is wrong with them.
    fn every_layer(
        &self,
        layers: u64,
        name: &str,
        wrong: impl Fn(u64, usize) -> Option<String>,
    ) -> Result<()> {
        for layer in 0..usize::try_from(layers).unwrap_or(0) {
            if let Some(t) = self.gguf.tensor(&format!("blk.{layer}.{name}"))
                && let Some(what) = wrong(t.dims.padded()[1], layer)
            {
                return self.fail(t.offset, format!("tensor {:?} has {what}", t.name));
            }
        }
        Ok(())
    }

    /// `llama_vocab::impl::load` (llama-vocab.cpp).
    fn tokenizer(&self) -> Result<()> {
        let g = self.gguf;
        let Some(model) = g.entry("tokenizer.ggml.model") else {
            return self.fail(NOWHERE, "tokenizer.ggml.model is missing");
        };
        let rows = g.tensor("token_embd.weight").map(|t| (t.dims.padded()[1], t.offset));
        let name = model.value.as_str().unwrap_or_default();
        if matches!(name, "no_vocab" | "none") {
            let dummies = self.number("vocab_size").unwrap_or(0);
            let limit = rows.map_or(MAX_DUMMY_TOKENS, |(rows, _)| rows);
            return self.ensure(dummies <= limit, "vocab_size", || format!("at most {limit}"));
        }
        if !TOKENIZERS.contains(&name) {
            return Err(Error::UnsupportedModel {
                path: g.path.clone(),
                what: format!("tokenizer {name:?} is not known; known are {}", TOKENIZERS.join(", ")),
            });
        }
        let Some(list) = g.entry("tokenizer.ggml.tokens") else {
            return self.fail(NOWHERE, "tokenizer.ggml.tokens is missing");
        };
        let Some(tokens) = list.value.as_array().and_then(Array::as_strings) else {
            return self.fail(list.offset, "tokenizer.ggml.tokens must be arr[str]");
        };
        let n = tokens.len() as u64;
        if n == 0 || i32::try_from(n).is_err() {
            return self.fail(
                list.offset,
                format!("tokenizer.ggml.tokens has {n} elements; 1 to {} are valid", i32::MAX),
            );
        }
        self.distinct(tokens, list.offset)?;
        if matches!(name, "t5" | "rwkv" | "plamo2")
            && let Some(i) = tokens.iter().position(|t| t.len() > MAX_TRIE_TOKEN)
        {
            let what = format!(
                "token {i} has {} bytes; tokenizer {name:?} takes at most {MAX_TRIE_TOKEN}",
                tokens.get(i).map_or(0, <[u8]>::len)
            );
            return self.fail(list.offset, what);
        }
        for key in ["tokenizer.ggml.scores", "tokenizer.ggml.token_type"] {
            if let Some(e) = g.entry(key)
                && e.value.as_array().is_none_or(|a| (a.len() as u64) < n)
            {
                return self.fail(e.offset, format!("{key} has fewer elements than there are tokens, {n}"));
            }
        }
        if let Some((rows, offset)) = rows
            && rows != n
            && !OWN_EMBEDDINGS.contains(&self.arch.name)
        {
            return self.fail(offset, format!("token_embd.weight has {rows} rows for {n} tokens"));
        }
        self.merges(name)?;
        self.special_tokens(name, n)
    }

    /// `load` asserts that no two tokens are equal. It sees C strings, which end at a NUL, and
    /// names empty tokens after their number.
    fn distinct(&self, tokens: &Strings, offset: u64) -> Result<()> {
        fn visible(token: &[u8]) -> &[u8] {
            token.split(|&b| b == 0).next().unwrap_or_default()
        }
        let empty: Vec<String> = tokens
            .iter()
            .enumerate()
            .filter(|(_, t)| visible(t).is_empty())
            .map(|(i, _)| format!("[EMPTY_{i}]"))
            .collect();
        let mut seen: HashSet<&[u8]> = empty.iter().map(|s| s.as_bytes()).collect();
        for (i, token) in tokens.iter().enumerate() {
            let token = visible(token);
            if !token.is_empty() && !seen.insert(token) {
                let what = format!(
                    "token {i}, {:?}, occurs twice in tokenizer.ggml.tokens",
                    String::from_utf8_lossy(token)
                );
                return self.fail(offset, what);
            }
        }
        Ok(())
    }

    fn merges(&self, tokenizer: &str) -> Result<()> {
        let merges = self.gguf.entry("tokenizer.ggml.merges");
        let needed = matches!(tokenizer, "gpt2" | "hybriddna" | "whitespace" | "gemma4")
            && self.gguf.get_str("tokenizer.ggml.pre") != Some("kimi-k2");
        let Some(e) = merges else {
            return if needed {
                self.fail(
                    NOWHERE,
                    format!("tokenizer.ggml.merges is missing, which tokenizer {tokenizer:?} needs"),
                )
            } else {
                Ok(())
            };
        };
        let strings = e.value.as_array().and_then(Array::as_strings);
        match strings.into_iter().flat_map(Strings::iter).position(|m| !m.iter().skip(1).any(|&b| b == b' '))
        {
            Some(i) if needed => self.fail(
                e.offset,
                format!("element {i} of tokenizer.ggml.merges is not two parts with a space"),
            ),
            _ => Ok(()),
        }
    }

    /// `tokenize` asserts that tokens which it has to add exist. Numbers beyond the vocabulary fall
    /// back to defaults in llama.cpp; for the three that generation depends on, that is an error
    /// here. For the others, files with such numbers are common (padding) and harmless.
    fn special_tokens(&self, tokenizer: &str, n: u64) -> Result<()> {
        let g = self.gguf;
        // The default beginning, end, and whether they are added.
        let (bos, eos, sep, add_bos, add_eos) = match tokenizer {
            "llama" => (Some(1), Some(2), None, true, false),
            "bert" => (Some(101), None, Some(102), true, false),
            "t5" => (None, Some(1), None, false, true),
            "plamo2" => (Some(1), Some(2), None, false, false),
            "gemma4" => (None, None, None, true, false),
            "rwkv" | "test" => (None, None, None, false, false),
            _ => {
                let pre = g.get_str("tokenizer.ggml.pre").unwrap_or_default();
                (Some(11), Some(11), None, PRE_ADDS_BOS.contains(&pre), false)
            }
        };
        let id = |name: &str, default: Option<u64>, strict: bool| -> Result<Option<u64>> {
            let default = default.filter(|&id| id < n);
            let Some(e) = g.entry(&format!("tokenizer.ggml.{name}_token_id")) else { return Ok(default) };
            match e.value.as_u64() {
                Some(id) if id < n => Ok(Some(id)),
                // What converters write for "none".
                Some(id) if strict && id != u64::from(u32::MAX) => {
                    self.fail(e.offset, format!("{} is {id}; the vocabulary has {n} tokens", e.key))
                }
                _ => Ok(default),
            }
        };
        id("eot", None, true)?;
        let adds =
            |name: &str, default| g.get_bool(&format!("tokenizer.ggml.add_{name}_token")).unwrap_or(default);
        let bos_needed = (adds("bos", add_bos) && tokenizer != "rwkv" && tokenizer != "test")
            || matches!(tokenizer, "bert" | "gemma4");
        let eos_needed = adds("eos", add_eos) && !matches!(tokenizer, "bert" | "rwkv" | "test");
        for (name, default, strict, needed) in [
            ("bos", bos, true, bos_needed),
            ("eos", eos, true, eos_needed),
            ("seperator", sep, false, tokenizer == "bert"),
        ] {
            if id(name, default, strict)?.is_none() && needed {
                let what =
                    format!("tokenizer.ggml.{name}_token_id is missing, and the tokenizer adds that token");
                return self.fail(NOWHERE, what);
            }
        }
        Ok(())
    }
}

/// A value for a message: long ones by their type and length.
fn show(v: &Value) -> String {
    match v {
        Value::Array(a) if a.len() > 8 => format!("{} of {} elements", v.type_name(), a.len()),
        Value::Array(a) => format!("{a:?}"),
        Value::String(s) => format!("{:?}", String::from_utf8_lossy(&s[..s.len().min(80)])),
        Value::U8(v) => v.to_string(),
        Value::I8(v) => v.to_string(),
        Value::U16(v) => v.to_string(),
        Value::I16(v) => v.to_string(),
        Value::U32(v) => v.to_string(),
        Value::I32(v) => v.to_string(),
        Value::U64(v) => v.to_string(),
        Value::I64(v) => v.to_string(),
        Value::F32(v) => v.to_string(),
        Value::F64(v) => v.to_string(),
        Value::Bool(v) => v.to_string(),
    }
}

/// `tokenizer.ggml.model` as `load` knows them, `no_vocab` and `none` apart.
const TOKENIZERS: &[&str] =
    &["llama", "bert", "gpt2", "hybriddna", "whitespace", "t5", "rwkv", "plamo2", "gemma4", "test"];

/// Values of `tokenizer.ggml.pre` for which `load` sets `add_bos`.
const PRE_ADDS_BOS: &[&str] = &[
    "llama3",
    "llama-v3",
    "llama-bpe",
    "falcon3",
    "falcon-h1",
    "pixtral",
    "midm-2.0",
    "lfm2",
    "jina-v5-nano",
    "tekken",
    "chameleon",
];

/// Architectures whose loader asserts on, or divides by, a number of experts without a check.
const NEEDS_EXPERTS: &[&str] = &[
    "bailingmoe2",
    "glm4moe",
    "grovemoe",
    "lfm2moe",
    "llada-moe",
    "qwen35moe",
    "qwen3next",
    "qwen4exp",
    "smallthinker",
];

/// Transformers by name that need no attention heads.
const HEADLESS: &[&str] = &["wavtokenizer-dec", "pockettts"];

/// Architectures whose `token_embd.weight` has not one row per token of the vocabulary.
const OWN_EMBEDDINGS: &[&str] = &["wavtokenizer-dec", "pockettts", "qwen3tts", "graniteswitch"];
