//! One sequence in one context: prefill in chunks, decode, rewind, save and restore.

use crate::{
    chain,
    device::{self, Attention, DeviceKind, devices},
    error::{Error, Result},
    gguf::{Gguf, TensorType},
    model::{LoadedModel, Token},
    state::{self, StateKey},
    sys::{self, engine},
};
use std::{
    ops::ControlFlow,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Context length where none is asked for: what the model was trained for, up to this many tokens.
pub const DEFAULT_CONTEXT: usize = 4096;

/// Element type of the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CacheType {
    /// 32-bit floats: exact, twice the memory of the default.
    F32,
    /// 16-bit floats, the default.
    #[default]
    F16,
    /// bfloat16.
    Bf16,
    /// 8-bit blocks, 8.5 bits an element. As V cache it needs flash attention, as do all below.
    Q8_0,
    /// 5-bit blocks with an offset, 6 bits an element.
    Q5_1,
    /// 5-bit blocks, 5.5 bits an element.
    Q5_0,
    /// 4-bit blocks with an offset, 5 bits an element.
    Q4_1,
    /// 4-bit blocks, 4.5 bits an element.
    Q4_0,
    /// 4-bit blocks of uneven steps, 4.5 bits an element.
    Iq4Nl,
}

impl CacheType {
    fn native(self) -> sys::CacheKind {
        match self {
            CacheType::F32 => sys::CacheKind::F32,
            CacheType::F16 => sys::CacheKind::F16,
            CacheType::Bf16 => sys::CacheKind::Bf16,
            CacheType::Q8_0 => sys::CacheKind::Q8_0,
            CacheType::Q5_1 => sys::CacheKind::Q5_1,
            CacheType::Q5_0 => sys::CacheKind::Q5_0,
            CacheType::Q4_1 => sys::CacheKind::Q4_1,
            CacheType::Q4_0 => sys::CacheKind::Q4_0,
            CacheType::Iq4Nl => sys::CacheKind::Iq4Nl,
        }
    }

    /// As which tensor type the cache is stored.
    pub fn tensor_type(self) -> TensorType {
        match self {
            CacheType::F32 => TensorType::F32,
            CacheType::F16 => TensorType::F16,
            CacheType::Bf16 => TensorType::BF16,
            CacheType::Q8_0 => TensorType::Q8_0,
            CacheType::Q5_1 => TensorType::Q5_1,
            CacheType::Q5_0 => TensorType::Q5_0,
            CacheType::Q4_1 => TensorType::Q4_1,
            CacheType::Q4_0 => TensorType::Q4_0,
            CacheType::Iq4Nl => TensorType::IQ4_NL,
        }
    }

    fn is_float(self) -> bool {
        matches!(self, CacheType::F32 | CacheType::F16 | CacheType::Bf16)
    }
}

/// Whether attention runs as one fused operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FlashAttention {
    /// Where the device has it.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// How a context is made.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ContextOptions {
    /// Tokens that the context holds, prompt and output together. `None`: what the model was trained for, at most
    /// 4,096.
    pub context_size: Option<usize>,
    /// Tokens handed to the engine in one call while the prompt is read. Cancelling waits for one ubatch at most,
    /// whatever this is.
    pub batch_size: usize,
    /// Tokens computed at once; at most `batch_size`.
    pub ubatch_size: usize,
    /// CPU threads. `None`: one for each physical core that the process may use.
    pub threads: Option<usize>,
    /// Whether attention runs as one fused operation.
    pub flash_attention: FlashAttention,
    /// Element type of the K cache.
    pub cache_type_k: CacheType,
    /// Element type of the V cache.
    pub cache_type_v: CacheType,
    /// Count what is computed, and where: [`Session::take_operations`]. It costs a call for each node of each graph.
    pub count_operations: bool,
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self {
            context_size: None,
            batch_size: 2048,
            ubatch_size: 512,
            threads: None,
            flash_attention: FlashAttention::Auto,
            cache_type_k: CacheType::F16,
            cache_type_v: CacheType::F16,
            count_operations: false,
        }
    }
}

/// How often an operation was computed on a device.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct OperationCount {
    /// The operation, as ggml names it: `MUL_MAT`, `FLASH_ATTN_EXT`.
    pub operation: String,
    /// The device, as [`devices`](crate::devices) names it.
    pub device: String,
    /// How many nodes of that kind were computed; a device may fuse several into one.
    pub count: u64,
}

impl ContextOptions {
    /// The number of tokens that a context of this model holds under these options.
    pub fn context_for(&self, model: &LoadedModel) -> usize {
        self.context_of(model.trained_context())
    }

    /// The same for a model that was trained for so many tokens, 0 where that is not known.
    pub(crate) fn context_of(&self, trained: usize) -> usize {
        self.context_size.unwrap_or(match trained {
            0 => DEFAULT_CONTEXT,
            trained => trained.min(DEFAULT_CONTEXT),
        })
    }

    /// What decides which operations its attention is made of, and which kernels they take.
    pub(crate) fn attention(&self) -> Attention {
        Attention {
            cache_k: self.cache_type_k.native(),
            cache_v: self.cache_type_v.native(),
            flash: match self.flash_attention {
                FlashAttention::Auto => sys::FlashAttention::Auto,
                FlashAttention::On => sys::FlashAttention::On,
                FlashAttention::Off => sys::FlashAttention::Off,
            },
            ..Attention::default()
        }
        .with_ubatch(self.ubatch_size)
    }

    /// Bytes of the KV cache of one context, where the model's header tells them.
    pub(crate) fn cache_bytes(&self, gguf: &Gguf, cells: usize) -> Option<u64> {
        gguf.kv_cache_bytes(cells as u64, self.cache_type_k.tensor_type(), self.cache_type_v.tensor_type())
    }

    /// Checks what can be checked without a model.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] naming the field.
    pub fn validate(&self) -> Result<()> {
        const MOST: usize = 1 << 30;
        for (field, value) in [
            ("context_size", self.context_size.unwrap_or(1)),
            ("batch_size", self.batch_size),
            ("ubatch_size", self.ubatch_size),
        ] {
            if value == 0 || value > MOST {
                return Err(Error::request(field, format!("{value} is outside 1 to {MOST} tokens")));
            }
        }
        if self.ubatch_size > self.batch_size {
            return Err(Error::request(
                "ubatch_size",
                format!("{} is more than batch_size, which is {}", self.ubatch_size, self.batch_size),
            ));
        }
        if let Some(threads) = self.threads
            && !(1..=512).contains(&threads)
        {
            return Err(Error::request("threads", format!("{threads} is outside 1 to 512")));
        }
        if self.flash_attention == FlashAttention::Off && !self.cache_type_v.is_float() {
            return Err(Error::request(
                "cache_type_v",
                "a quantised V cache needs flash attention, which is off: use f16 or turn it on",
            ));
        }
        Ok(())
    }
}

/// One CPU thread for each physical core that the process may use.
fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    num_cpus::get_physical().clamp(1, allowed)
}

/// One sequence of tokens in a context of its own. Blocking: run it on a thread that may wait.
#[derive(Debug)]
pub struct Session {
    context: sys::Context,
    model: Arc<LoadedModel>,
    options: ContextOptions,
    limit: usize,
    tokens: Vec<Token>,
    batch: sys::Batch,
}

/// Stops a session's computation from any thread: at the next graph node on the CPU, after the running ubatch elsewhere.
#[derive(Debug, Clone)]
pub struct StopHandle(Arc<AtomicBool>);

impl StopHandle {
    pub(crate) fn new(flag: &Arc<AtomicBool>) -> Self {
        Self(Arc::clone(flag))
    }

    pub(crate) fn reset(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// Stops what runs and what would run, until [`Session::resume`].
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl Session {
    /// Makes a context for the model.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] for options that make no sense, [`Error::DeviceWrong`] where the device fails its self-test
    /// with them, [`Error::OutOfMemory`] where the KV cache cannot fit, [`Error::Engine`] where llama.cpp refuses.
    pub fn new(model: &Arc<LoadedModel>, options: &ContextOptions) -> Result<Self> {
        options.validate()?;
        let limit = options.context_for(model);
        // a batch larger than the context would only make the compute buffers larger
        let batch = options.batch_size.min(limit);
        let context = new_context(model, options, limit, 1, batch)?;
        Ok(Self {
            context,
            model: Arc::clone(model),
            options: options.clone(),
            limit,
            tokens: vec![],
            batch: sys::Batch::default(),
        })
    }

    /// The model it runs.
    pub fn model(&self) -> &Arc<LoadedModel> {
        &self.model
    }

    /// Tokens that the context holds.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The tokens decoded so far.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// What the context and its model take, by device.
    pub(crate) fn memory(&mut self) -> Result<Vec<sys::Memory>> {
        self.context.memory().map_err(|failure| engine("memory", &failure))
    }

    /// A handle that stops this session from any thread.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle::new(self.context.stop_flag())
    }

    /// Takes back a stop.
    pub fn resume(&mut self) {
        self.stop_handle().reset();
    }

    /// What was computed since the last call, by operation and device; nothing unless
    /// [`ContextOptions::count_operations`] is set. An operation that a model's device does not support is computed on
    /// the CPU.
    pub fn take_operations(&mut self) -> Vec<OperationCount> {
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        let counts = self.context.take_operations();
        let counts = counts.into_iter().map(|((operation, device), count)| OperationCount {
            operation: text(operation),
            device: text(device),
            count,
        });
        counts.collect()
    }

    /// Decodes tokens after those decoded so far, in chunks of the batch size, and keeps the logits of the last one.
    /// `progress` is told after each chunk how many of `tokens` are done, and may break.
    ///
    /// # Errors
    /// [`Error::ContextOverflow`] where they do not fit (nothing is decoded then), [`Error::Cancelled`] after a stop or
    /// a break (the session can go on after [`resume`](Self::resume) and [`rewind`](Self::rewind)),
    /// [`Error::InvalidRequest`] for a token outside the vocabulary.
    pub fn prefill(
        &mut self,
        tokens: &[Token],
        mut progress: impl FnMut(usize) -> ControlFlow<()>,
    ) -> Result<()> {
        let needed = self.tokens.len() + tokens.len();
        if needed > self.limit {
            return Err(Error::ContextOverflow { needed, limit: self.limit });
        }
        for &token in tokens {
            self.model.check_token(token)?;
        }
        let mut done = 0;
        for part in tokens.chunks(self.chunk()) {
            if self.context.stop_flag().load(Ordering::Relaxed) {
                return Err(Error::Cancelled);
            }
            self.step(part)?;
            done += part.len();
            if progress(done).is_break() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// Decodes one token and keeps its logits.
    ///
    /// # Errors
    /// As [`prefill`](Self::prefill).
    pub fn decode(&mut self, token: Token) -> Result<()> {
        self.prefill(&[token], |_| ControlFlow::Continue(()))
    }

    /// Tokens handed to the engine in one call: one ubatch, so that a stop is seen between any two also where the device
    /// cannot be interrupted.
    pub(crate) fn chunk(&self) -> usize {
        self.options.ubatch_size.min(self.options.batch_size)
    }

    fn step(&mut self, part: &[Token]) -> Result<()> {
        let pos = self.tokens.len();
        self.batch.clear();
        for (i, token) in part.iter().enumerate() {
            let position = i32::try_from(pos + i).expect("the limit bounds it");
            self.batch.push(*token, position, 0, i + 1 == part.len());
        }
        let result = self.context.decode(&self.batch);
        match result.map_err(|failure| failed(&self.model, "decode", &failure))? {
            sys::Decoded::Done => {
                self.tokens.extend_from_slice(part);
                Ok(())
            }
            stopped_or_full => {
                // what a stopped computation left in the cache is not accounted for: forget it
                if !self.context.remove(0, pos, None).map_err(|failure| engine("rewind", &failure))? {
                    self.forget()?;
                }
                match stopped_or_full {
                    sys::Decoded::Full => {
                        Err(Error::ContextOverflow { needed: pos + part.len(), limit: self.limit })
                    }
                    _ => Err(Error::Cancelled),
                }
            }
        }
    }

    /// Logits of the last decoded token: one for each entry of the vocabulary, unnormalised.
    ///
    /// # Errors
    /// [`Error::Engine`] before anything was decoded, and where a logit is NaN: the computation went wrong, and no
    /// text that it gave should be shown.
    pub fn logits(&mut self) -> Result<&[f32]> {
        chain::logits(&mut self.context, -1)
    }

    /// Forgets all but the first `keep` tokens. A model with recurrent layers cannot go back in part: it forgets
    /// everything. Returns how many tokens are left.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`] where `keep` is more than there are.
    pub fn rewind(&mut self, keep: usize) -> Result<usize> {
        if keep > self.tokens.len() {
            return Err(Error::request("keep", format!("{keep} of {} tokens", self.tokens.len())));
        }
        if keep < self.tokens.len() {
            let in_part = !self.model.is_recurrent() || keep == 0;
            if in_part && self.context.remove(0, keep, None).map_err(|failure| engine("rewind", &failure))? {
                self.tokens.truncate(keep);
            } else {
                self.forget()?;
            }
        }
        Ok(self.tokens.len())
    }

    fn forget(&mut self) -> Result<()> {
        self.context.remove(0, 0, None).map_err(|failure| engine("rewind", &failure))?;
        self.tokens.clear();
        Ok(())
    }

    /// Keeps the longest prefix shared with `tokens` and forgets the rest. Returns its length, which is less than
    /// `tokens.len()`: at least one token is left to decode, so that there are logits.
    ///
    /// # Errors
    /// [`Error::Engine`] where the memory cannot be changed.
    pub fn reuse_prefix(&mut self, tokens: &[Token]) -> Result<usize> {
        let shared = self.tokens.iter().zip(tokens).take_while(|(a, b)| a == b).count();
        self.rewind(shared.min(tokens.len().saturating_sub(1)))
    }

    /// The context, to choose tokens from its logits.
    pub(crate) fn context(&mut self) -> &mut sys::Context {
        &mut self.context
    }

    /// Makes room in a full context: forgets the tokens in this range and moves those behind them down. Where the memory
    /// cannot be moved, what is left is decoded again.
    ///
    /// # Errors
    /// As [`prefill`](Self::prefill).
    pub(crate) fn shift(&mut self, forget: std::ops::Range<usize>) -> Result<()> {
        let refused = |failure| engine("shift", &failure);
        let mut left = self.tokens.clone();
        left.drain(forget.clone());
        let can = !self.model.is_recurrent()
            && self.context.can_shift().map_err(refused)?
            && self.context.remove(0, forget.start, Some(forget.end)).map_err(refused)?;
        if can {
            self.context.move_down(0, forget.end, forget.len()).map_err(refused)?;
            self.tokens = left;
            return Ok(());
        }
        self.forget()?;
        self.prefill(&left, |_| ControlFlow::Continue(()))
    }

    fn key(&self) -> Result<StateKey> {
        Ok(StateKey {
            model: self.model.fingerprint()?.to_owned(),
            cache_type_k: format!("{:?}", self.options.cache_type_k),
            cache_type_v: format!("{:?}", self.options.cache_type_v),
            engine: crate::native_version().to_string(),
        })
    }

    /// Writes tokens and KV cache to a file: whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be written.
    pub fn save(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let data = self.context.state().map_err(|failure| engine("save state", &failure))?;
        state::write(path.as_ref(), &self.key()?, &self.tokens, &data)
    }

    /// Replaces tokens and KV cache by those of a file that [`save`](Self::save) wrote. There are no logits until
    /// something is decoded.
    ///
    /// # Errors
    /// [`Error::InvalidState`] where the file is damaged, or was saved with another model, other cache types or another
    /// version of the engine; [`Error::ContextOverflow`] where this context is too small. The session is as before
    /// then, or empty if the engine itself refused the state.
    pub fn restore(&mut self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let (tokens, data) = state::read(path, &self.key()?)?;
        if tokens.len() > self.limit {
            return Err(Error::ContextOverflow { needed: tokens.len(), limit: self.limit });
        }
        for &token in &tokens {
            self.model.check_token(token)?;
        }
        self.forget()?;
        if !self.context.set_state(&data).map_err(|failure| engine("restore state", &failure))? {
            self.forget()?;
            return Err(Error::InvalidState {
                path: path.into(),
                what: "the engine refuses its content".into(),
            });
        }
        self.tokens = tokens;
        Ok(())
    }
}

/// A context with so many cells, which so many sequences share, for batches of so many tokens.
pub(crate) fn new_context(
    model: &Arc<LoadedModel>,
    options: &ContextOptions,
    cells: usize,
    sequences: usize,
    batch: usize,
) -> Result<sys::Context> {
    make_context(model, options, cells, sequences, batch, false)
}

/// A context for one sequence of so many cells, of which each token gets an embedding, for batches of so many tokens.
pub(crate) fn new_embedding_context(
    model: &Arc<LoadedModel>,
    options: &ContextOptions,
    cells: usize,
    batch: usize,
) -> Result<sys::Context> {
    make_context(model, options, cells, 1, batch, true)
}

fn make_context(
    model: &Arc<LoadedModel>,
    options: &ContextOptions,
    cells: usize,
    sequences: usize,
    batch: usize,
    embeddings: bool,
) -> Result<sys::Context> {
    check_memory(model, options, cells)?;
    let attention = options.attention();
    let small = |value: usize| u32::try_from(value).expect("validate() bounds it");
    let params = sys::ContextParams {
        n_ctx: small(cells),
        n_batch: small(batch),
        n_ubatch: small(options.ubatch_size.min(batch)),
        n_seq: small(sequences),
        threads: i32::try_from(options.threads.unwrap_or_else(default_threads))
            .expect("validate() bounds it"),
        flash_attention: model.tested_attention(attention)?,
        cache_k: attention.cache_k,
        cache_v: attention.cache_v,
        count_operations: options.count_operations,
        embeddings,
    };
    sys::Context::new(Arc::clone(model.native()), &params).map_err(|failure| match failure {
        sys::Failure::OutOfMemory => device::lost(model.devices()).unwrap_or_else(|| Error::OutOfMemory {
            device: model.devices().join(", "),
            needed: options.cache_bytes(model.gguf(), cells).unwrap_or(0),
            free: None,
        }),
        other => failed(model, "new context", &other),
    })
}

/// A failed call as an error. A device that is gone explains it better than what came of that.
pub(crate) fn failed(model: &LoadedModel, call: &'static str, failure: &sys::Failure) -> Error {
    device::lost(model.devices()).unwrap_or_else(|| engine(call, failure))
}

/// An allocation that the system cannot back kills the process on first use: compare before asking.
fn check_memory(model: &LoadedModel, options: &ContextOptions, n_ctx: usize) -> Result<()> {
    let Some(needed) = options.cache_bytes(model.gguf(), n_ctx) else { return Ok(()) };
    let all = devices()?;
    let ours = all.iter().filter(|d| model.devices().contains(&d.name));
    // of several devices each holds the cache of its layers
    let free: u64 = ours
        .map(|device| match device.kind {
            DeviceKind::Cpu => device::host_memory_available().unwrap_or(device.memory_total),
            _ => device.memory_free,
        })
        .sum();
    if free > 0 && needed > free {
        return Err(Error::OutOfMemory { device: model.devices().join(", "), needed, free: Some(free) });
    }
    Ok(())
}
