//! An owned chain of llama.cpp's samplers.

use super::{
    bindings as ffi,
    call::{Failure, call},
    context::Context,
    model::Model,
};
use std::{
    ffi::CString,
    ptr::{self, NonNull},
    sync::Arc,
};

/// A chain of samplers. Stages are applied in the order in which they are added; the last one must choose
/// (greedy, dist, mirostat). Freed on drop.
#[derive(Debug)]
pub(crate) struct Sampler {
    ptr: NonNull<ffi::llama_sampler>,
    model: Arc<Model>,
}

// SAFETY: a sampler chain is plain heap data without thread affinity; all use is through `&mut self`. What it borrows of
// the vocabulary lives in the model, which is Send + Sync and owned through the Arc.
unsafe impl Send for Sampler {}

impl Sampler {
    pub(crate) fn new(model: Arc<Model>) -> Result<Self, Failure> {
        let mut chain = ptr::null_mut();
        // SAFETY: the place for the chain outlives the call.
        call(|error| unsafe { ffi::inf_sampler_chain_new(&raw mut chain, error) })?;
        let ptr = NonNull::new(chain).ok_or(Failure::OutOfMemory)?;
        Ok(Self { ptr, model })
    }

    fn vocab_size(&self) -> i32 {
        self.model.vocab_size()
    }

    pub(crate) fn add_logit_bias(&mut self, biases: &[(i32, f32)]) -> Result<(), Failure> {
        let biases: Vec<_> =
            biases.iter().map(|&(token, bias)| ffi::llama_logit_bias { token, bias }).collect();
        let n = i32::try_from(biases.len()).map_err(|_| Failure::OutOfMemory)?;
        // SAFETY: the chain is alive; the biases are copied during the call.
        call(|error| unsafe {
            ffi::inf_sampler_add_logit_bias(self.ptr.as_ptr(), self.vocab_size(), n, biases.as_ptr(), error)
        })
    }

    pub(crate) fn add_penalties(
        &mut self,
        last_n: i32,
        repeat: f32,
        frequency: f32,
        presence: f32,
    ) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe {
            ffi::inf_sampler_add_penalties(
                self.ptr.as_ptr(),
                self.vocab_size(),
                last_n,
                repeat,
                frequency,
                presence,
                error,
            )
        })
    }

    pub(crate) fn add_dry(
        &mut self,
        multiplier: f32,
        base: f32,
        allowed_length: i32,
        last_n: i32,
        breakers: &[String],
    ) -> Result<(), Failure> {
        let owned = breakers
            .iter()
            .map(|b| CString::new(b.as_str()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| Failure::Refused("a sequence breaker holds a NUL byte".into()))?;
        let mut pointers: Vec<_> = owned.iter().map(|b| b.as_ptr()).collect();
        // SAFETY: the chain and the vocabulary are alive; the breakers are copied during the call.
        call(|error| unsafe {
            ffi::inf_sampler_add_dry(
                self.ptr.as_ptr(),
                self.model.vocab(),
                multiplier,
                base,
                allowed_length,
                last_n,
                pointers.as_mut_ptr(),
                pointers.len(),
                error,
            )
        })
    }

    pub(crate) fn add_top_n_sigma(&mut self, n: f32) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_top_n_sigma(self.ptr.as_ptr(), n, error) })
    }

    pub(crate) fn add_top_k(&mut self, k: i32) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_top_k(self.ptr.as_ptr(), k, error) })
    }

    pub(crate) fn add_typical(&mut self, p: f32, min_keep: usize) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_typical(self.ptr.as_ptr(), p, min_keep, error) })
    }

    pub(crate) fn add_top_p(&mut self, p: f32, min_keep: usize) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_top_p(self.ptr.as_ptr(), p, min_keep, error) })
    }

    pub(crate) fn add_min_p(&mut self, p: f32, min_keep: usize) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_min_p(self.ptr.as_ptr(), p, min_keep, error) })
    }

    pub(crate) fn add_xtc(
        &mut self,
        probability: f32,
        threshold: f32,
        min_keep: usize,
        seed: u32,
    ) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe {
            ffi::inf_sampler_add_xtc(self.ptr.as_ptr(), probability, threshold, min_keep, seed, error)
        })
    }

    pub(crate) fn add_temperature(&mut self, temperature: f32) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_temperature(self.ptr.as_ptr(), temperature, error) })
    }

    pub(crate) fn add_mirostat(&mut self, seed: u32, tau: f32, eta: f32, m: i32) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe {
            ffi::inf_sampler_add_mirostat(self.ptr.as_ptr(), self.vocab_size(), seed, tau, eta, m, error)
        })
    }

    pub(crate) fn add_mirostat_v2(&mut self, seed: u32, tau: f32, eta: f32) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_mirostat_v2(self.ptr.as_ptr(), seed, tau, eta, error) })
    }

    pub(crate) fn add_greedy(&mut self) -> Result<(), Failure> {
        // SAFETY: the chain is alive.
        call(|error| unsafe { ffi::inf_sampler_add_greedy(self.ptr.as_ptr(), error) })
    }

    pub(crate) fn add_dist(&mut self, seed: u32) -> Result<(), Failure> {
        // SAFETY: the chain is alive; the rest are values.
        call(|error| unsafe { ffi::inf_sampler_add_dist(self.ptr.as_ptr(), seed, error) })
    }

    /// Chooses from the output of the i-th token of the last decode, -1 for the last output, and remembers the choice
    /// (penalties, mirostat). The context must have its logits: [`Context::logits`] tells.
    pub(crate) fn sample(&mut self, context: &mut Context, i: i32) -> Result<i32, Failure> {
        let native = context.usable()?;
        let mut token = -1;
        // SAFETY: chain and context are alive, and the context is not broken.
        let status =
            call(|error| unsafe { ffi::inf_sample(self.ptr.as_ptr(), native, i, &raw mut token, error) });
        context.note(status)?;
        Ok(token)
    }

    /// Tells the chain of a token that it did not choose itself, such as one of the prompt.
    pub(crate) fn accept(&mut self, token: i32) -> Result<(), Failure> {
        // SAFETY: the chain is alive.
        call(|error| unsafe { ffi::inf_sampler_accept(self.ptr.as_ptr(), token, error) })
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        // SAFETY: the only handle.
        unsafe { ffi::llama_sampler_free(self.ptr.as_ptr()) };
    }
}
