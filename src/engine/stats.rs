//! What a model is doing and has done, as plain data for metrics.

use crate::{error::Error, sys};
use serde::Serialize;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A model's counters at one moment. Counts grow from the load on; the rest is as it is now.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct ModelStats {
    /// Requests at work, those that wait for a slow reader included.
    pub running: usize,
    /// Requests that wait for a place.
    pub queued: usize,
    /// Tokens of prompts that were computed; those found in the cache are not among them.
    pub prompt_tokens: u64,
    /// Tokens of prompts that were in the KV cache already.
    pub cached_tokens: u64,
    /// Requests that found at least one such token.
    pub cache_hits: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Cells of all KV caches that hold something: what running requests and cached prefixes take.
    pub kv_cells_used: usize,
    /// Cells of all KV caches there are now; one cell holds one token.
    pub kv_cells_total: usize,
    /// Memory by device, in bytes.
    pub memory: Vec<DeviceMemory>,
    /// Seconds spent on prompts. A step that reads prompts and generates is divided by tokens.
    pub prefill_seconds: f64,
    /// Seconds spent on generating.
    pub decode_seconds: f64,
    /// How requests ended.
    pub outcomes: Outcomes,
}

/// How requests ended, as counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct Outcomes {
    /// With an answer.
    pub done: u64,
    /// By their caller: cancelled, the stream dropped, or the model unloaded.
    pub cancelled: u64,
    /// By their deadline.
    pub expired: u64,
    /// Before any work: wrong, too long for the context, or turned away by a full queue.
    pub rejected: u64,
    /// By a failure of the engine.
    pub failed: u64,
}

/// Memory that a model takes on one device, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[non_exhaustive]
pub struct DeviceMemory {
    /// The device, as [`devices`](crate::devices) names it.
    pub device: String,
    /// The weights.
    pub weights: u64,
    /// The KV caches there are now.
    pub kv_cache: u64,
    /// Buffers for what is computed.
    pub compute: u64,
}

/// What a context and its model take, by device.
pub(crate) fn memory(parts: &[sys::Memory]) -> Vec<DeviceMemory> {
    let mut all = vec![];
    for part in parts {
        let of_device = device(&mut all, &part.device.to_string_lossy());
        of_device.weights += part.weights as u64;
        of_device.kv_cache += part.cache as u64;
        of_device.compute += part.compute as u64;
    }
    all
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    Cancelled,
    Expired,
    Rejected,
    Failed,
}

impl Outcome {
    /// That of a request that ended with this error, before or after its work began.
    pub(crate) fn of(error: &Error, begun: bool) -> Self {
        match error {
            Error::Cancelled | Error::ShutDown => Outcome::Cancelled,
            Error::DeadlineExceeded { .. } => Outcome::Expired,
            Error::InvalidRequest { .. }
            | Error::ContextOverflow { .. }
            | Error::Template { .. }
            | Error::QueueFull { .. }
                if !begun =>
            {
                Outcome::Rejected
            }
            _ => Outcome::Failed,
        }
    }

    /// As it is called in logs and metrics.
    #[cfg(feature = "server")]
    pub(crate) fn name(self) -> &'static str {
        match self {
            Outcome::Done => "done",
            Outcome::Cancelled => "cancelled",
            Outcome::Expired => "expired",
            Outcome::Rejected => "rejected",
            Outcome::Failed => "failed",
        }
    }
}

/// The counters behind [`ModelStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    cache_hits: AtomicU64,
    generated_tokens: AtomicU64,
    kv_cells_used: AtomicUsize,
    kv_cells_total: AtomicUsize,
    memory: Mutex<Vec<DeviceMemory>>,
    prefill_nanos: AtomicU64,
    decode_nanos: AtomicU64,
    outcomes: [AtomicU64; 5],
    running: AtomicUsize,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl Counters {
    /// Tokens of a prompt were computed in this time.
    pub(crate) fn prefilled(&self, tokens: usize, time: Duration) {
        self.prompt_tokens.fetch_add(tokens as u64, Ordering::Relaxed);
        self.prefill_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// A token was generated.
    pub(crate) fn generated(&self) {
        self.generated_tokens.fetch_add(1, Ordering::Relaxed);
    }

    /// So much time went into generating.
    pub(crate) fn decoded(&self, time: Duration) {
        self.decode_nanos.fetch_add(nanos(time), Ordering::Relaxed);
    }

    /// A request's prompt was looked up in the cache.
    pub(crate) fn looked_up(&self, cached: usize) {
        if cached > 0 {
            self.cached_tokens.fetch_add(cached as u64, Ordering::Relaxed);
            self.cache_hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A request begins to work, until the guard is dropped.
    pub(crate) fn begun(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }

    /// A context with so many cells, which takes this memory beside the model's, until the guard is dropped.
    pub(crate) fn context(self: &Arc<Self>, cells: usize, memory: Vec<DeviceMemory>) -> Cells {
        self.kv_cells_total.fetch_add(cells, Ordering::Relaxed);
        let mut all = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for part in &memory {
            let of_device = device(&mut all, &part.device);
            of_device.weights = part.weights;
            of_device.kv_cache += part.kv_cache;
            of_device.compute += part.compute;
        }
        drop(all);
        Cells { counters: Arc::clone(self), total: cells, used: 0, memory }
    }

    /// The counters now, where `active` requests have not ended.
    pub(crate) fn snapshot(&self, active: usize) -> ModelStats {
        let count = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let seconds = |n: &AtomicU64| Duration::from_nanos(count(n)).as_secs_f64();
        let outcome = |outcome: Outcome| count(&self.outcomes[outcome as usize]);
        let running = self.running.load(Ordering::Relaxed);
        ModelStats {
            running,
            queued: active.saturating_sub(running),
            prompt_tokens: count(&self.prompt_tokens),
            cached_tokens: count(&self.cached_tokens),
            cache_hits: count(&self.cache_hits),
            generated_tokens: count(&self.generated_tokens),
            kv_cells_used: self.kv_cells_used.load(Ordering::Relaxed),
            kv_cells_total: self.kv_cells_total.load(Ordering::Relaxed),
            memory: self.memory.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            prefill_seconds: seconds(&self.prefill_nanos),
            decode_seconds: seconds(&self.decode_nanos),
            outcomes: Outcomes {
                done: outcome(Outcome::Done),
                cancelled: outcome(Outcome::Cancelled),
                expired: outcome(Outcome::Expired),
                rejected: outcome(Outcome::Rejected),
                failed: outcome(Outcome::Failed),
            },
        }
    }
}

/// The entry of this device.
fn device<'a>(all: &'a mut Vec<DeviceMemory>, name: &str) -> &'a mut DeviceMemory {
    let at = all.iter().position(|part| part.device == name).unwrap_or_else(|| {
        all.push(DeviceMemory { device: name.into(), ..DeviceMemory::default() });
        all.len() - 1
    });
    &mut all[at]
}

/// One request among those at work.
#[derive(Debug)]
pub(crate) struct Running(Arc<Counters>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The cells of one context among those of the model.
#[derive(Debug)]
pub(crate) struct Cells {
    counters: Arc<Counters>,
    total: usize,
    used: usize,
    memory: Vec<DeviceMemory>,
}

impl Cells {
    /// So many of them hold something now.
    pub(crate) fn used(&mut self, used: usize) {
        let all = &self.counters.kv_cells_used;
        if used >= self.used {
            all.fetch_add(used - self.used, Ordering::Relaxed);
        } else {
            all.fetch_sub(self.used - used, Ordering::Relaxed);
        }
        self.used = used;
    }
}

impl Drop for Cells {
    fn drop(&mut self) {
        self.used(0);
        self.counters.kv_cells_total.fetch_sub(self.total, Ordering::Relaxed);
        let mut all = self.counters.memory.lock().unwrap_or_else(PoisonError::into_inner);
        for part in &self.memory {
            let of_device = device(&mut all, &part.device);
            of_device.kv_cache -= part.kv_cache;
            of_device.compute -= part.compute;
        }
    }
}
