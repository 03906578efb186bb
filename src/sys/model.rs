//! An owned `llama_model`: weights and vocabulary, shared read-only between contexts.

use super::{
    backend::{self, DevicePlan},
    bindings as ffi,
    call::{Failure, call},
};
use std::{
    ffi::{CStr, CString, c_void},
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
    ptr::{self, NonNull},
    sync::Mutex,
};

/// How to load; the rest is llama.cpp's default.
#[derive(Debug, Clone)]
pub(crate) struct ModelParams {
    /// The devices to use, as [`backend::devices`] numbers them, and how; none for the CPU alone.
    pub(crate) devices: Vec<(usize, DevicePlan)>,
    /// Layers on each of them, the output counting as one; the first layers of the model are the CPU's where these are
    /// not all.
    pub(crate) layers: Vec<u32>,
    /// Map the file instead of reading it.
    pub(crate) mmap: bool,
    /// Let the CPU backend repack weights for its kernels.
    pub(crate) repack: bool,
}

/// A loaded model. Freed on drop.
#[derive(Debug)]
pub(crate) struct Model {
    ptr: NonNull<ffi::llama_model>,
    /// `llama_init_from_model` takes the model as non-const; contexts are made one at a time.
    making_context: Mutex<()>,
    /// How its devices are used, for contexts too.
    plans: Vec<(usize, DevicePlan)>,
}

// SAFETY: llama.cpp does not tie a model to the thread that loaded it: llama-server loads on one thread and
// decodes on others. Freeing takes the only handle.
unsafe impl Send for Model {}
// SAFETY: after loading, a llama_model is only read: llama.h documents tokenisation as thread-safe ("The API is
// thread-safe"), the getters used here take `const llama_model *`, and contexts of one model compute in parallel in
// upstream's own tests/test-thread-safety.cpp. The one call that takes it as non-const is under `making_context`.
unsafe impl Sync for Model {}

struct Progress<'a> {
    report: &'a mut dyn FnMut(f32) -> bool,
    panic: Option<Box<dyn std::any::Any + Send>>,
}

extern "C" fn on_progress(fraction: f32, data: *mut c_void) -> bool {
    // SAFETY: data is the Progress that load() keeps alive and exclusively lends to this load.
    let progress = unsafe { &mut *data.cast::<Progress<'_>>() };
    match catch_unwind(AssertUnwindSafe(|| (progress.report)(fraction))) {
        Ok(go_on) => go_on,
        Err(panic) => {
            progress.panic = Some(panic);
            false
        }
    }
}

impl Model {
    /// Loads a file. `report` gets the fraction done, from 0 to 1, and returns whether to go on; where it says no,
    /// everything loaded so far is freed and the result is `Ok(None)`.
    pub(crate) fn load(
        path: &Path,
        params: &ModelParams,
        report: &mut dyn FnMut(f32) -> bool,
    ) -> Result<Option<Self>, Failure> {
        backend::init()?;
        let c_path = CString::new(path.as_os_str().as_encoded_bytes())
            .map_err(|_| Failure::Refused("the path holds a NUL byte".into()))?;
        let mut stopped = false;
        let mut report = |fraction| {
            let go_on = report(fraction);
            stopped |= !go_on;
            go_on
        };
        let mut progress = Progress { report: &mut report, panic: None };

        // SAFETY: takes nothing and returns plain data.
        let mut native = unsafe { ffi::llama_model_default_params() };
        let _plans = backend::put_into_effect(&params.devices);
        let mut devices: Vec<ffi::ggml_backend_dev_t> = params
            .devices
            .iter()
            .map(|(index, _)| index)
            // SAFETY: the caller's indices come from backend::devices(); ggml asserts on others, which ends in the shim's
            // hook, so they are filtered here.
            .filter(|index| **index < unsafe { ffi::ggml_backend_dev_count() })
            // SAFETY: the index was just checked.
            .map(|index| unsafe { ffi::ggml_backend_dev_get(*index) })
            .collect();
        devices.push(ptr::null_mut());
        native.devices = devices.as_mut_ptr();
        native.n_gpu_layers = params.layers.iter().sum::<u32>().try_into().unwrap_or(i32::MAX);
        // SAFETY: takes nothing.
        let mut split = vec![0.0; unsafe { ffi::llama_max_devices() }];
        for (part, layers) in split.iter_mut().zip(&params.layers) {
            // llama.cpp compares sums of these, divided by their total, with the place of a layer, divided in the same way
            *part = *layers as f32;
        }
        native.tensor_split = split.as_ptr();
        native.load_mode = if params.mmap {
            ffi::llama_load_mode::LLAMA_LOAD_MODE_MMAP
        } else {
            ffi::llama_load_mode::LLAMA_LOAD_MODE_NONE
        };
        native.use_extra_bufts = params.repack;
        native.progress_callback = Some(on_progress);
        native.progress_callback_user_data = (&raw mut progress).cast();

        let mut model = ptr::null_mut();
        // SAFETY: path, params, devices, split and progress outlive the call, which keeps none of them.
        let result = call(|error| unsafe {
            ffi::inf_model_load(c_path.as_ptr(), &raw const native, &raw mut model, error)
        });
        if let Some(panic) = progress.panic.take() {
            drop(NonNull::new(model).map(|ptr| Self::own(ptr, params)));
            resume_unwind(panic);
        }
        result?;
        match NonNull::new(model) {
            Some(ptr) => Ok(Some(Self::own(ptr, params))),
            None if stopped => Ok(None),
            None => Err(Failure::from_log("llama.cpp gave no reason")),
        }
    }

    fn own(ptr: NonNull<ffi::llama_model>, params: &ModelParams) -> Self {
        Self { ptr, making_context: Mutex::new(()), plans: params.devices.clone() }
    }

    pub(crate) fn as_ptr(&self) -> NonNull<c_void> {
        self.ptr.cast()
    }

    pub(super) fn with_ptr<T>(&self, body: impl FnOnce(*mut ffi::llama_model) -> T) -> T {
        let _plans = backend::put_into_effect(&self.plans);
        let _one_at_a_time = self.making_context.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        body(self.ptr.as_ptr())
    }

    pub(super) fn vocab(&self) -> *const ffi::llama_vocab {
        // SAFETY: the model is alive; its vocabulary lives as long as it does.
        unsafe { ffi::llama_model_get_vocab(self.ptr.as_ptr()) }
    }

    /// Number of tokens in the vocabulary.
    pub(crate) fn vocab_size(&self) -> i32 {
        // SAFETY: the vocabulary is alive.
        unsafe { ffi::llama_vocab_n_tokens(self.vocab()) }
    }

    /// Number of parameters.
    pub(crate) fn parameters(&self) -> u64 {
        // SAFETY: the model is alive.
        unsafe { ffi::llama_model_n_params(self.ptr.as_ptr()) }
    }

    /// Size of all tensors in bytes.
    pub(crate) fn tensor_bytes(&self) -> u64 {
        // SAFETY: the model is alive.
        unsafe { ffi::llama_model_size(self.ptr.as_ptr()) }
    }

    /// llama.cpp's own description, such as "llama 1B Q4_K - Medium".
    pub(crate) fn description(&self) -> String {
        let mut buffer = [0 as std::ffi::c_char; 256];
        // SAFETY: the buffer is as long as it is said to be; llama.cpp uses snprintf.
        unsafe { ffi::llama_model_desc(self.ptr.as_ptr(), buffer.as_mut_ptr(), buffer.len()) };
        // SAFETY: snprintf terminates.
        unsafe { CStr::from_ptr(buffer.as_ptr()) }.to_string_lossy().into_owned()
    }

    /// Context length the model was trained for, in tokens.
    pub(crate) fn trained_context(&self) -> i32 {
        // SAFETY: the model is alive.
        unsafe { ffi::llama_model_n_ctx_train(self.ptr.as_ptr()) }
    }

    /// Numbers in an embedding.
    pub(crate) fn embedding_size(&self) -> i32 {
        // SAFETY: the model is alive.
        unsafe { ffi::llama_model_n_embd_out(self.ptr.as_ptr()) }
    }

    /// Whether the model generates text from a prompt alone, without an encoder pass.
    pub(crate) fn is_decoder_only(&self) -> bool {
        // SAFETY: the model is alive.
        let encoder = unsafe { ffi::llama_model_has_encoder(self.ptr.as_ptr()) };
        // SAFETY: the model is alive.
        let decoder = unsafe { ffi::llama_model_has_decoder(self.ptr.as_ptr()) };
        decoder && !encoder
    }

    /// Whether the state is recurrent, at least in part, so that it cannot be rewound token by token.
    pub(crate) fn is_recurrent(&self) -> bool {
        // SAFETY: the model is alive.
        let recurrent = unsafe { ffi::llama_model_is_recurrent(self.ptr.as_ptr()) };
        // SAFETY: the model is alive.
        let hybrid = unsafe { ffi::llama_model_is_hybrid(self.ptr.as_ptr()) };
        recurrent || hybrid
    }

    /// How many positions back attention reaches in the layers where it does not reach all; 0 where it does in all.
    pub(crate) fn sliding_window(&self) -> usize {
        // SAFETY: the model is alive.
        let window = unsafe { ffi::llama_model_n_swa(self.ptr.as_ptr()) };
        usize::try_from(window).unwrap_or(0)
    }

    /// Whether the vocabulary has a tokenizer at all.
    pub(crate) fn has_tokenizer(&self) -> bool {
        // SAFETY: the vocabulary is alive.
        (unsafe { ffi::llama_vocab_type(self.vocab()) }) != ffi::llama_vocab_type::LLAMA_VOCAB_TYPE_NONE
    }

    /// Whether generation ends at this token. False for tokens outside the vocabulary.
    pub(crate) fn is_end(&self, token: i32) -> bool {
        // SAFETY: the vocabulary is alive; the token is checked first.
        (0..self.vocab_size()).contains(&token) && unsafe { ffi::llama_vocab_is_eog(self.vocab(), token) }
    }

    /// Whether the token is a control token, such as the beginning of a turn.
    pub(crate) fn is_control(&self, token: i32) -> bool {
        // SAFETY: the vocabulary is alive; the token is checked first.
        (0..self.vocab_size()).contains(&token) && unsafe { ffi::llama_vocab_is_control(self.vocab(), token) }
    }

    /// The beginning-of-text token, if there is one.
    pub(crate) fn bos(&self) -> Option<i32> {
        // SAFETY: the vocabulary is alive.
        Some(unsafe { ffi::llama_vocab_bos(self.vocab()) }).filter(|t| *t >= 0)
    }

    /// The end-of-text token, if there is one.
    pub(crate) fn eos(&self) -> Option<i32> {
        // SAFETY: the vocabulary is alive.
        Some(unsafe { ffi::llama_vocab_eos(self.vocab()) }).filter(|t| *t >= 0)
    }

    /// Tokens that must never be generated, as the file lists them (`tokenizer.ggml.suppress_tokens`).
    pub(crate) fn suppressed(&self) -> &[i32] {
        let mut n = 0;
        // SAFETY: the vocabulary is alive, and n a place for the count.
        let tokens = unsafe { ffi::llama_vocab_get_suppress_tokens(self.vocab(), &raw mut n) };
        match usize::try_from(n) {
            // SAFETY: llama.cpp's vector of n tokens, which lives unchanged as long as the model.
            Ok(n @ 1..) if !tokens.is_null() => unsafe { std::slice::from_raw_parts(tokens, n) },
            _ => &[],
        }
    }

    /// Whether the model wants the beginning-of-text token before a prompt.
    pub(crate) fn adds_bos(&self) -> bool {
        // SAFETY: the vocabulary is alive.
        unsafe { ffi::llama_vocab_get_add_bos(self.vocab()) }
    }

    /// Text to tokens. `special` adds what the model puts around a text; `parse` reads `<|…|>` as control tokens.
    pub(crate) fn tokenize(&self, text: &str, special: bool, parse: bool) -> Result<Vec<i32>, Failure> {
        let length = i32::try_from(text.len()).map_err(|_| {
            Failure::Refused("a text of 2 GiB and more cannot be tokenised in one piece".into())
        })?;
        // one token a byte is the most that a tokenizer makes, plus what is added around it
        let mut tokens = vec![0i32; text.len() + 8];
        loop {
            let room = i32::try_from(tokens.len()).map_err(|_| Failure::OutOfMemory)?;
            let mut result = 0;
            // SAFETY: text and tokens are as long as they are said to be, and outlive the call.
            call(|error| unsafe {
                ffi::inf_tokenize(
                    self.vocab(),
                    text.as_ptr().cast(),
                    length,
                    tokens.as_mut_ptr(),
                    room,
                    special,
                    parse,
                    &raw mut result,
                    error,
                )
            })?;
            match usize::try_from(result) {
                Ok(n) => {
                    tokens.truncate(n);
                    return Ok(tokens);
                }
                Err(_) if result == i32::MIN => return Err(Failure::OutOfMemory),
                Err(_) => tokens.resize(result.unsigned_abs() as usize, 0),
            }
        }
    }

    /// The bytes of a token, which need not be whole characters. Control tokens are empty unless `special`.
    pub(crate) fn piece(&self, token: i32, special: bool, into: &mut Vec<u8>) -> Result<(), Failure> {
        let start = into.len();
        let mut room = 64;
        loop {
            into.resize(start + room, 0);
            let mut result = 0;
            // SAFETY: the buffer has `room` bytes from `start` on and outlives the call.
            call(|error| unsafe {
                ffi::inf_token_to_piece(
                    self.vocab(),
                    token,
                    into.as_mut_ptr().wrapping_add(start).cast(),
                    i32::try_from(room).expect("doubles from 64 to what one piece needs"),
                    special,
                    &raw mut result,
                    error,
                )
            })
            .inspect_err(|_| into.truncate(start))?;
            match usize::try_from(result) {
                Ok(n) => {
                    into.truncate(start + n);
                    return Ok(());
                }
                Err(_) => room = result.unsigned_abs() as usize,
            }
        }
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the only handle, and no context is left: each holds an Arc on this.
        if let Err(failure) = call(|error| unsafe { ffi::inf_model_free(self.ptr.as_ptr(), error) }) {
            tracing::error!("freeing the model failed: {failure}");
        }
    }
}
