//! An owned `llama_context`: the KV cache and the compute buffers of one sequence, or of several.

use super::{
    bindings as ffi,
    call::{Failure, call},
    model::Model,
};
use std::{
    collections::BTreeMap,
    ffi::{CStr, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{self, NonNull},
    slice,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Element type of the K or the V cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CacheKind {
    F32,
    F16,
    Bf16,
    Q8_0,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Iq4Nl,
}

impl CacheKind {
    /// Whether elements share a scale with others of their block.
    pub(crate) fn is_quantised(self) -> bool {
        !matches!(self, CacheKind::F32 | CacheKind::F16 | CacheKind::Bf16)
    }

    pub(super) fn native(self) -> ffi::ggml_type::Type {
        match self {
            CacheKind::F32 => ffi::ggml_type::GGML_TYPE_F32,
            CacheKind::F16 => ffi::ggml_type::GGML_TYPE_F16,
            CacheKind::Bf16 => ffi::ggml_type::GGML_TYPE_BF16,
            CacheKind::Q8_0 => ffi::ggml_type::GGML_TYPE_Q8_0,
            CacheKind::Q4_0 => ffi::ggml_type::GGML_TYPE_Q4_0,
            CacheKind::Q4_1 => ffi::ggml_type::GGML_TYPE_Q4_1,
            CacheKind::Q5_0 => ffi::ggml_type::GGML_TYPE_Q5_0,
            CacheKind::Q5_1 => ffi::ggml_type::GGML_TYPE_Q5_1,
            CacheKind::Iq4Nl => ffi::ggml_type::GGML_TYPE_IQ4_NL,
        }
    }
}

/// Whether attention runs as one fused operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FlashAttention {
    Auto,
    On,
    Off,
}

/// How a context is made; the rest is llama.cpp's default.
#[derive(Debug, Clone)]
pub(crate) struct ContextParams {
    pub(crate) n_ctx: u32,
    pub(crate) n_batch: u32,
    pub(crate) n_ubatch: u32,
    /// Sequences, which share the `n_ctx` cells of the cache. Each is numbered from 0.
    pub(crate) n_seq: u32,
    pub(crate) threads: i32,
    pub(crate) flash_attention: FlashAttention,
    pub(crate) cache_k: CacheKind,
    pub(crate) cache_v: CacheKind,
    pub(crate) count_operations: bool,
    /// Whether each token gets an embedding rather than some of them logits.
    pub(crate) embeddings: bool,
}

/// How often each operation was computed on each device: by the names of both.
pub(crate) type Operations = BTreeMap<(&'static CStr, &'static CStr), u64>;

/// Tokens to decode, each with its position and its sequence.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    tokens: Vec<i32>,
    positions: Vec<i32>,
    sequences: Vec<i32>,
    outputs: Vec<i8>,
}

impl Batch {
    /// Adds a token; `output` keeps its logits.
    pub(crate) fn push(&mut self, token: i32, position: i32, sequence: i32, output: bool) {
        self.tokens.push(token);
        self.positions.push(position);
        self.sequences.push(sequence);
        self.outputs.push(i8::from(output));
    }

    /// Empties it, keeping its memory.
    pub(crate) fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
        self.outputs.clear();
    }

    /// The number of tokens.
    pub(crate) fn len(&self) -> usize {
        self.tokens.len()
    }
}

/// What a context takes on one device, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    pub(crate) device: &'static CStr,
    pub(crate) weights: usize,
    pub(crate) cache: usize,
    pub(crate) compute: usize,
}

/// What a decode came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    Done,
    /// The stop flag was seen; some ubatches may have been processed.
    Stopped,
    /// No room in the KV cache; nothing was processed.
    Full,
}

/// A context. Freed on drop, or leaked after an assertion.
#[derive(Debug)]
pub(crate) struct Context {
    ptr: NonNull<ffi::llama_context>,
    /// Read by llama.cpp's abort callback while it computes.
    stop: Arc<AtomicBool>,
    /// Filled by the scheduler's callback while it computes, where that is asked for.
    operations: Option<Arc<Mutex<Operations>>>,
    /// An assertion failed inside: the state is unknown, and freeing it could assert again.
    broken: bool,
    n_batch: usize,
    n_seq: i32,
    embeddings: bool,
    model: Arc<Model>,
    /// What the next decode fails with.
    #[cfg(test)]
    pub(crate) fault: Option<Failure>,
}

// SAFETY: a llama_context is not tied to a thread: it has no thread-local state (its own threads wait for whichever thread
// computes, or belong to OpenMP's runtime), and llama-server moves contexts between threads. All use is through
// `&mut self`, one thread at a time; the model it borrows is Send + Sync and owned through the Arc.
unsafe impl Send for Context {}

extern "C" fn on_abort_poll(data: *mut c_void) -> bool {
    // SAFETY: data points to the AtomicBool of the context's own Arc, alive as long as the context.
    unsafe { &*data.cast::<AtomicBool>() }.load(Ordering::Relaxed)
}

/// Asked before each node whether its result is wanted, which none is: a computation is not taken apart for it.
extern "C" fn on_node(node: *mut ffi::ggml_tensor, asked: bool, data: *mut c_void) -> bool {
    if !asked {
        return true;
    }
    // Nothing may unwind into C++: a panic, of which there is none but for lack of memory, loses one count.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        let (mut operation, mut device) = (ptr::null(), ptr::null());
        // SAFETY: the scheduler passes a node of the graph that it computes, whose tensors are allocated.
        if !unsafe { ffi::inf_node_work(node, &raw mut operation, &raw mut device) } {
            return;
        }
        // SAFETY: a name of ggml's tables, terminated, alive as long as the process.
        let operation = unsafe { CStr::from_ptr(operation) };
        // SAFETY: the name of a device of the registry, terminated, alive as long as the process.
        let device = unsafe { CStr::from_ptr(device) };
        // SAFETY: data points to the Mutex of the context's own Arc, alive as long as the context.
        let operations = unsafe { &*data.cast::<Mutex<Operations>>() };
        *operations.lock().unwrap_or_else(PoisonError::into_inner).entry((operation, device)).or_default() +=
            1;
    }));
    false
}

impl Context {
    pub(crate) fn new(model: Arc<Model>, params: &ContextParams) -> Result<Self, Failure> {
        let stop = Arc::new(AtomicBool::new(false));
        // SAFETY: takes nothing and returns plain data.
        let mut native = unsafe { ffi::llama_context_default_params() };
        native.n_ctx = params.n_ctx;
        native.n_batch = params.n_batch;
        native.n_ubatch = params.n_ubatch;
        native.n_seq_max = params.n_seq;
        // one buffer for all: each sequence may fill it, and sequences can share cells
        native.kv_unified = true;
        // one a sequence: buffers for the logits of a whole ubatch would be hundreds of megabytes for a large vocabulary
        native.n_outputs_max = if params.embeddings { params.n_batch } else { params.n_seq };
        native.embeddings = params.embeddings;
        // the graph pools within a ubatch only: what spans several is pooled by the caller
        native.pooling_type = match params.embeddings {
            true => ffi::llama_pooling_type::LLAMA_POOLING_TYPE_NONE,
            false => ffi::llama_pooling_type::LLAMA_POOLING_TYPE_UNSPECIFIED,
        };
        native.n_threads = params.threads;
        native.n_threads_batch = params.threads;
        native.flash_attn_type = match params.flash_attention {
            FlashAttention::Auto => ffi::llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_AUTO,
            FlashAttention::On => ffi::llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Off => ffi::llama_flash_attn_type::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        };
        native.type_k = params.cache_k.native();
        native.type_v = params.cache_v.native();
        native.no_perf = true;
        native.abort_callback = Some(on_abort_poll);
        native.abort_callback_data = Arc::as_ptr(&stop).cast_mut().cast();
        let operations = params.count_operations.then(|| Arc::new(Mutex::new(Operations::new())));
        if let Some(operations) = &operations {
            native.cb_eval = Some(on_node);
            native.cb_eval_user_data = Arc::as_ptr(operations).cast_mut().cast();
        }

        let mut context = ptr::null_mut();
        model.with_ptr(|model| {
            // SAFETY: the model is alive and kept so by the Arc; the parameters outlive the call; the abort flag and
            // the counts live as long as the context.
            call(|error| unsafe { ffi::inf_context_new(model, &raw const native, &raw mut context, error) })
        })?;
        match NonNull::new(context) {
            Some(ptr) => Ok(Self {
                ptr,
                stop,
                operations,
                broken: false,
                n_batch: usize::try_from(params.n_batch).expect("usize holds 32 bits where llama.cpp runs"),
                n_seq: i32::try_from(params.n_seq).expect("a few hundred at most"),
                embeddings: params.embeddings,
                model,
                #[cfg(test)]
                fault: None,
            }),
            None => Err(Failure::from_log("llama.cpp gave no reason")),
        }
    }

    /// Set it, from any thread, to end a decode at the next graph node (CPU) or ubatch.
    pub(crate) fn stop_flag(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    /// What was computed since the last call, where it is counted.
    pub(crate) fn take_operations(&mut self) -> Operations {
        match &self.operations {
            Some(counts) => std::mem::take(&mut *counts.lock().unwrap_or_else(PoisonError::into_inner)),
            None => Operations::new(),
        }
    }

    /// Decodes at most `n_batch` tokens, of which at most one a sequence has an output, or all for embeddings. Positions follow each other within
    /// a sequence, and go on where the sequence ends.
    pub(crate) fn decode(&mut self, batch: &Batch) -> Result<Decoded, Failure> {
        if batch.len() == 0 {
            return Ok(Decoded::Done);
        }
        if batch.len() > self.n_batch {
            return Err(Failure::Refused(format!("{} tokens, {} at most", batch.len(), self.n_batch)));
        }
        let outputs = batch.outputs.iter().filter(|output| **output != 0).count();
        if self.embeddings && outputs != batch.len() {
            return Err(Failure::Refused(format!("{outputs} outputs, all of {} are needed", batch.len())));
        }
        if !self.embeddings && i32::try_from(outputs).is_ok_and(|n| n > self.n_seq) {
            return Err(Failure::Refused(format!("{outputs} outputs, {} at most", self.n_seq)));
        }
        let vocab = self.model.vocab_size();
        if let Some(token) = batch.tokens.iter().find(|t| !(0..vocab).contains(*t)) {
            return Err(Failure::Refused(format!("token {token} is outside the vocabulary of {vocab}")));
        }
        for sequence in &batch.sequences {
            self.check(*sequence)?;
        }
        let n = i32::try_from(batch.len()).map_err(|_| Failure::OutOfMemory)?;
        let ptr = self.usable()?;
        #[cfg(test)]
        if let Some(fault) = self.fault.take() {
            return self.note(Err(fault)).map(|()| Decoded::Done);
        }
        let mut result = 0;
        // SAFETY: the context is alive and not broken, all four arrays have n elements, and result outlives the call.
        let status = call(|error| unsafe {
            ffi::inf_decode(
                ptr,
                n,
                batch.tokens.as_ptr(),
                batch.positions.as_ptr(),
                batch.sequences.as_ptr(),
                batch.outputs.as_ptr(),
                &raw mut result,
                error,
            )
        });
        self.note(status)?;
        match result {
            0 => Ok(Decoded::Done),
            1 => Ok(Decoded::Full),
            2 => Ok(Decoded::Stopped),
            code => {
                self.broken |= code < -1;
                Err(Failure::from_log(&format!("llama_decode returned {code}")))
            }
        }
    }

    /// Logits of the i-th token of the last decode, -1 for the last output: one per entry of the vocabulary.
    pub(crate) fn logits(&mut self, i: i32) -> Result<&[f32], Failure> {
        let ptr = self.usable()?;
        let mut logits = ptr::null();
        // SAFETY: the context is alive and not broken; an index without output gives null.
        let status = call(|error| unsafe { ffi::inf_logits(ptr, i, &raw mut logits, error) });
        self.note(status)?;
        if logits.is_null() {
            return Err(Failure::Refused(format!("the last decode has no output {i}")));
        }
        let len = usize::try_from(self.model.vocab_size()).expect("a vocabulary has no negative size");
        // SAFETY: llama.cpp's row has one float per vocabulary entry, and is overwritten only by the next decode, which
        // takes &mut self.
        Ok(unsafe { slice::from_raw_parts(logits, len) })
    }

    /// The logits of the last output, to be replaced by a test's own.
    #[cfg(test)]
    pub(crate) fn logits_mut(&mut self) -> Result<&mut [f32], Failure> {
        let logits = self.logits(-1)?;
        let (start, len) = (logits.as_ptr().cast_mut(), logits.len());
        // SAFETY: llama.cpp hands out its row for writing (`float *`), and nothing else refers to it while self is borrowed.
        Ok(unsafe { slice::from_raw_parts_mut(start, len) })
    }

    /// The embedding of the i-th token of the last decode.
    pub(crate) fn embedding(&mut self, i: usize) -> Result<&[f32], Failure> {
        let ptr = self.usable()?;
        let i = i32::try_from(i).map_err(|_| Failure::OutOfMemory)?;
        let mut embedding = ptr::null();
        // SAFETY: the context is alive and not broken; an index without output gives null.
        let status = call(|error| unsafe { ffi::inf_embedding(ptr, i, &raw mut embedding, error) });
        self.note(status)?;
        if embedding.is_null() {
            return Err(Failure::Refused(format!("the last decode has no embedding {i}")));
        }
        let len = usize::try_from(self.model.embedding_size()).expect("an embedding has no negative size");
        // SAFETY: llama.cpp's row has n_embd_out floats, and is overwritten only by the next decode, which takes &mut self.
        Ok(unsafe { slice::from_raw_parts(embedding, len) })
    }

    /// Forgets the positions from `from` on, or up to `to` of them. False where the memory cannot (recurrent models).
    pub(crate) fn remove(&mut self, sequence: i32, from: usize, to: Option<usize>) -> Result<bool, Failure> {
        self.check(sequence)?;
        let (from, to) = (position(from)?, to.map_or(Ok(-1), position)?);
        let ptr = self.usable()?;
        let mut removed = false;
        // SAFETY: the context is alive and not broken, and has this sequence.
        let status =
            call(|error| unsafe { ffi::inf_seq_rm(ptr, sequence, from, to, &raw mut removed, error) });
        self.note(status)?;
        Ok(removed)
    }

    /// Makes the first `to` positions of one sequence those of another, empty one, too.
    pub(crate) fn copy(&mut self, from: i32, into: i32, to: usize) -> Result<(), Failure> {
        self.check(from)?;
        self.check(into)?;
        let to = position(to)?;
        let ptr = self.usable()?;
        // SAFETY: the context is alive and not broken, and has both sequences.
        let status = call(|error| unsafe { ffi::inf_seq_cp(ptr, from, into, to, error) });
        self.note(status)
    }

    /// Moves the positions from `from` on down by `by`. The memory must be able to ([`Context::can_shift`]), the positions
    /// below must be free, and no cell may be shared.
    pub(crate) fn move_down(&mut self, sequence: i32, from: usize, by: usize) -> Result<(), Failure> {
        self.check(sequence)?;
        let (from, by) = (position(from)?, position(by)?);
        let ptr = self.usable()?;
        // SAFETY: the context is alive and not broken, and has this sequence.
        let status = call(|error| unsafe { ffi::inf_seq_add(ptr, sequence, from, -by, error) });
        self.note(status)
    }

    /// The first and the last position of a sequence; none where it is empty.
    pub(crate) fn range(&mut self, sequence: i32) -> Result<Option<(usize, usize)>, Failure> {
        self.check(sequence)?;
        let ptr = self.usable()?;
        let (mut least, mut most) = (-1, -1);
        // SAFETY: the context is alive and not broken, and has this sequence.
        let status =
            call(|error| unsafe { ffi::inf_seq_range(ptr, sequence, &raw mut least, &raw mut most, error) });
        self.note(status)?;
        Ok(usize::try_from(least).ok().zip(usize::try_from(most).ok()))
    }

    /// Whether positions can be moved.
    pub(crate) fn can_shift(&mut self) -> Result<bool, Failure> {
        let ptr = self.usable()?;
        let mut can = false;
        // SAFETY: the context is alive and not broken.
        let status = call(|error| unsafe { ffi::inf_can_shift(ptr, &raw mut can, error) });
        self.note(status)?;
        Ok(can)
    }

    /// What the context and its model take, by kind of memory: a device can come more than once.
    pub(crate) fn memory(&mut self) -> Result<Vec<Memory>, Failure> {
        const MOST: usize = 64;
        let ptr = self.usable()?;
        let none = ffi::inf_memory { device: ptr::null(), weights: 0, cache: 0, compute: 0 };
        let (mut parts, mut count) = ([none; MOST], 0);
        // SAFETY: the context is alive and not broken, and the array has as many entries as is said.
        let status = call(|error| unsafe {
            ffi::inf_context_memory(ptr, parts.as_mut_ptr(), MOST, &raw mut count, error)
        });
        self.note(status)?;
        let parts = parts.iter().take(count).map(|part| Memory {
            // SAFETY: the name of a device of the registry, terminated, alive as long as the process.
            device: unsafe { CStr::from_ptr(part.device) },
            weights: part.weights,
            cache: part.cache,
            compute: part.compute,
        });
        Ok(parts.collect())
    }

    /// Whether it failed in a way after which it cannot be used.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// An index outside of the sequences is an assertion in llama.cpp.
    fn check(&self, sequence: i32) -> Result<(), Failure> {
        if (0..self.n_seq).contains(&sequence) {
            return Ok(());
        }
        Err(Failure::Refused(format!("sequence {sequence} of {}", self.n_seq)))
    }

    /// The sequence's state, in llama.cpp's own format.
    pub(crate) fn state(&mut self) -> Result<Vec<u8>, Failure> {
        let ptr = self.usable()?;
        let mut size = 0;
        // SAFETY: the context is alive and not broken.
        let status = call(|error| unsafe { ffi::inf_state_size(ptr, &raw mut size, error) });
        self.note(status)?;
        let mut data = vec![0u8; size];
        let mut written = 0;
        // SAFETY: the buffer is as long as it is said to be.
        let status = call(|error| unsafe {
            ffi::inf_state_get(ptr, data.as_mut_ptr(), data.len(), &raw mut written, error)
        });
        self.note(status)?;
        data.truncate(written);
        Ok(data)
    }

    /// Puts a state back that [`Context::state`] made. False where it does not fit this context.
    pub(crate) fn set_state(&mut self, data: &[u8]) -> Result<bool, Failure> {
        let ptr = self.usable()?;
        let mut read = 0;
        // SAFETY: the buffer is as long as it is said to be; llama.cpp checks its reads against the size.
        let status =
            call(|error| unsafe { ffi::inf_state_set(ptr, data.as_ptr(), data.len(), &raw mut read, error) });
        self.note(status)?;
        Ok(read == data.len())
    }

    pub(super) fn usable(&self) -> Result<*mut ffi::llama_context, Failure> {
        if self.broken {
            return Err(Failure::Refused("the context failed earlier and cannot be used again".into()));
        }
        Ok(self.ptr.as_ptr())
    }

    pub(super) fn note(&mut self, status: Result<(), Failure>) -> Result<(), Failure> {
        self.broken |= matches!(status, Err(Failure::Assertion(_)));
        status
    }
}

fn position(position: usize) -> Result<i32, Failure> {
    i32::try_from(position).map_err(|_| Failure::OutOfMemory)
}

impl Drop for Context {
    fn drop(&mut self) {
        if self.broken {
            // the model stays alive with what was leaked
            std::mem::forget(Arc::clone(&self.model));
            std::mem::forget(Arc::clone(&self.stop));
            std::mem::forget(self.operations.clone());
            tracing::error!("a context that failed an assertion is leaked");
            return;
        }
        // SAFETY: the only handle.
        if let Err(failure) = call(|error| unsafe { ffi::inf_context_free(self.ptr.as_ptr(), error) }) {
            tracing::error!("freeing a context failed: {failure}");
        }
    }
}
