//! The last minutes, one sample a second, for the charts of the page.

use super::app::App;
use crate::{
    device::{devices_now, trim_memory},
    engine::Outcome,
};
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Samples that are kept: five minutes.
const KEPT: usize = 300;
/// Samples without any work after which freed memory is given back to the system.
const QUIET: u32 = 2;
/// Between two samples.
const STEP: Duration = Duration::from_secs(1);

/// One second.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// Seconds since the server began to listen.
    at: f64,
    /// Requests at work, and those that wait for a place.
    running: usize,
    queued: usize,
    /// Tokens a second, generated and of prompts computed.
    generated: f64,
    prompt: f64,
    /// The share of prompt tokens that were in the KV cache, where any prompt was read.
    cache_hits: Option<f64>,
    /// The mean time to the first token in seconds, where any came.
    first_token: Option<f64>,
    /// The share of KV cells in use.
    kv: f64,
    /// Generations ended since the start.
    done: u64,
    /// Memory by device.
    memory: Vec<Memory>,
}

#[derive(Debug, Clone, Serialize)]
struct Memory {
    device: String,
    total: u64,
    free: u64,
    /// What the models take.
    models: u64,
}

/// Sums over all loaded models.
#[derive(Debug, Default, Clone, Copy)]
struct Totals {
    generated: u64,
    prompt: u64,
    cached: u64,
}

/// The samples, and what is gathered for the next one.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    samples: VecDeque<Sample>,
    before: Totals,
    first_tokens: (Duration, u32),
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request got its first token after so long.
    pub(super) fn first_token(&self, after: Duration) {
        let (sum, count) = &mut self.lock().first_tokens;
        *sum += after;
        *count += 1;
    }

    /// The samples after this time, the oldest first.
    pub(super) fn since(&self, at: f64) -> Vec<Sample> {
        self.lock().samples.iter().filter(|sample| sample.at > at).cloned().collect()
    }

    fn take(&self, app: &App, passed: Duration) {
        let stats = app.registry.stats();
        let devices = devices_now();
        let mut totals = Totals::default();
        let (mut running, mut queued, mut used, mut cells) = (0, 0, 0, 0);
        for (_, model) in &stats {
            totals.generated += model.generated_tokens;
            totals.prompt += model.prompt_tokens;
            totals.cached += model.cached_tokens;
            running += model.running;
            queued += model.queued;
            used += model.kv_cells_used;
            cells += model.kv_cells_total;
        }
        let memory = devices.into_iter().map(|device| {
            let parts = stats.iter().flat_map(|(_, model)| &model.memory);
            let models = parts
                .filter(|part| part.device == device.name)
                .map(|part| part.weights + part.kv_cache + part.compute)
                .sum();
            Memory { device: device.name, total: device.memory_total, free: device.memory_free, models }
        });
        let mut inner = self.lock();
        // a model that was unloaded takes its counts with it
        let more = |now: u64, before: u64| now.saturating_sub(before);
        let generated = more(totals.generated, inner.before.generated);
        let prompt = more(totals.prompt, inner.before.prompt);
        let cached = more(totals.cached, inner.before.cached);
        inner.before = totals;
        let (sum, count) = std::mem::take(&mut inner.first_tokens);
        let rate = |count: u64| ratio(count, 1) / passed.as_secs_f64().max(f64::EPSILON);
        let sample = Sample {
            at: app.started.elapsed().as_secs_f64(),
            running,
            queued,
            generated: rate(generated),
            prompt: rate(prompt),
            cache_hits: (prompt + cached > 0).then(|| ratio(cached, prompt + cached)),
            first_token: (count > 0).then(|| sum.as_secs_f64() / f64::from(count)),
            kv: if cells > 0 { ratio(used as u64, cells as u64) } else { 0.0 },
            done: app.metrics.outcome(Outcome::Done),
            memory: memory.collect(),
        };
        if inner.samples.len() == KEPT {
            inner.samples.pop_front();
        }
        inner.samples.push_back(sample);
    }
}

fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}

/// Takes samples until it is dropped.
pub(super) async fn sample(app: Arc<App>) {
    let mut ticks = tokio::time::interval(STEP);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut last = ticks.tick().await;
    // samples since something ran, and the answers of which all memory was given back
    let (mut quiet, mut trimmed) = (0, 0);
    loop {
        let now = ticks.tick().await;
        app.history.take(&app, now - last);
        last = now;
        quiet = if app.at_work() == 0 { quiet + 1 } else { 0 };
        let answers = app.metrics.answers();
        if quiet >= QUIET && answers != trimmed {
            // what many requests took at their worst is not kept for the next ones
            let _ = tokio::task::spawn_blocking(trim_memory).await;
            (quiet, trimmed) = (0, answers);
        }
    }
}
