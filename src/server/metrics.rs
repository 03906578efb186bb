//! What the server counts, and all of it as Prometheus' text format.

use super::app::{App, Phase};
use crate::{
    device::devices_now,
    engine::{ModelState, Outcome},
};
use std::{
    collections::BTreeMap,
    fmt::{Display, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

/// How generations end, in the order of the page.
const OUTCOMES: [Outcome; 5] =
    [Outcome::Done, Outcome::Cancelled, Outcome::Expired, Outcome::Rejected, Outcome::Failed];

/// The counters.
#[derive(Debug)]
pub(super) struct Metrics {
    outcomes: [AtomicU64; 5],
    pub(super) first_token: Histogram,
    pub(super) duration: Histogram,
    /// Answers, by path and status.
    answers: Mutex<BTreeMap<(String, u16), u64>>,
    connections: AtomicUsize,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            outcomes: Default::default(),
            first_token: Histogram::new(&[
                0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
            ]),
            duration: Histogram::of_requests(),
            answers: Mutex::default(),
            connections: AtomicUsize::default(),
        }
    }
}

impl Metrics {
    pub(super) fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize].load(Ordering::Relaxed)
    }

    /// `path` is that of a route: what clients make up would be counted under names without end.
    pub(super) fn answered(&self, path: &str, status: u16) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        *answers.entry((path.to_owned(), status)).or_default() += 1;
    }

    /// Answers in all.
    pub(super) fn answers(&self) -> u64 {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// A connection was accepted; it is counted until the guard is dropped.
    pub(super) fn connected(&self) -> Connected<'_> {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(self)
    }
}

/// One open connection.
#[derive(Debug)]
pub(super) struct Connected<'a>(&'a Metrics);

impl Drop for Connected<'_> {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A distribution of times.
#[derive(Debug)]
pub(super) struct Histogram {
    /// Upper bounds in seconds, rising.
    bounds: &'static [f64],
    counts: Vec<AtomicU64>,
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let counts = bounds.iter().map(|_| AtomicU64::default()).collect();
        Self { bounds, counts, count: AtomicU64::default(), nanos: AtomicU64::default() }
    }

    /// Whole requests: tenths of seconds to minutes.
    pub(super) fn of_requests() -> Self {
        Self::new(&[0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0])
    }

    pub(super) fn record(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = self.bounds.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    fn write(&self, page: &mut Page, name: &str, help: &str) {
        self.write_in(page, name, help, 1.0);
    }

    /// The same in milliseconds.
    pub(super) fn write_millis(&self, page: &mut Page, name: &str, help: &str) {
        self.write_in(page, name, help, 1000.0);
    }

    fn write_in(&self, page: &mut Page, name: &str, help: &str, units: f64) {
        page.head(name, "histogram", help);
        let mut total = 0;
        for (bound, count) in self.bounds.iter().zip(&self.counts) {
            total += count.load(Ordering::Relaxed);
            page.sample(&format!("{name}_bucket"), &[("le", &(bound * units).to_string())], total);
        }
        // read last: it is at least the sum of the buckets
        let count = self.count.load(Ordering::Relaxed);
        page.sample(&format!("{name}_bucket"), &[("le", "+Inf")], count);
        let nanos = self.nanos.load(Ordering::Relaxed);
        page.sample(&format!("{name}_sum"), &[], Duration::from_nanos(nanos).as_secs_f64() * units);
        page.sample(&format!("{name}_count"), &[], count);
    }
}

/// A page in Prometheus' text format, version 0.0.4.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// `# HELP` and `# TYPE` of a metric; its samples follow.
    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let open = if index == 0 { '{' } else { ',' };
            let _ = write!(self.0, "{open}{label}=\"{value}\"");
        }
        let close = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.0, "{close} {value}");
    }

    /// A metric with one sample.
    pub(super) fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.sample(name, &[], value);
    }
}

/// Memory of this process that is in RAM, in bytes, where the system tells (Linux).
fn resident_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// The whole page.
pub(super) fn page(app: &App) -> String {
    let mut page = Page::default();
    let metrics = &app.metrics;
    let phase = app.phase();

    page.head("inferno_phase", "gauge", "Where the server is in its life: 1 at the phase it is in.");
    for (name, at) in [("starting", Phase::Starting), ("ready", Phase::Ready), ("draining", Phase::Draining)]
    {
        page.sample("inferno_phase", &[("phase", name)], u8::from(at == phase));
    }
    page.one(
        "inferno_uptime_seconds",
        "gauge",
        "Seconds since the server began to listen.",
        app.started.elapsed().as_secs_f64(),
    );
    page.one(
        "inferno_connections",
        "gauge",
        "Open connections.",
        metrics.connections.load(Ordering::Relaxed),
    );
    page.one("inferno_requests_at_work", "gauge", "Requests that generate or wait for it.", app.at_work());

    page.head("inferno_requests_total", "counter", "Generations, by how they ended.");
    for outcome in OUTCOMES {
        let count = metrics.outcome(outcome);
        page.sample("inferno_requests_total", &[("outcome", outcome.name())], count);
    }
    page.head("inferno_http_responses_total", "counter", "Answers, by path and status.");
    for ((path, status), count) in metrics.answers.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let labels = [("path", path.as_str()), ("status", &status.to_string())];
        page.sample("inferno_http_responses_total", &labels, count);
    }
    metrics.first_token.write(
        &mut page,
        "inferno_time_to_first_token_seconds",
        "From a request to its first token, the queue included.",
    );
    metrics.duration.write(
        &mut page,
        "inferno_request_duration_seconds",
        "From a request to the end of its generation.",
    );

    models(app, &mut page);
    memory(&mut page);
    if let Some(worker) = &app.worker {
        worker.metrics(app, &mut page);
    }
    page.0
}

/// What the engine tells of each model; its counters begin anew with each load.
fn models(app: &App, page: &mut Page) {
    let list = app.registry.list();
    page.head("inferno_model_loaded", "gauge", "Whether the model is loaded.");
    for model in &list {
        let loaded = u8::from(model.state == ModelState::Loaded);
        page.sample("inferno_model_loaded", &[("model", &model.name)], loaded);
    }
    let stats = app.registry.stats();
    let mut each = |name: &str, kind: &str, help: &str, value: &dyn Fn(usize) -> f64| {
        page.head(name, kind, help);
        for (index, (model, _)) in stats.iter().enumerate() {
            page.sample(name, &[("model", model)], value(index));
        }
    };
    let of = |index: usize| &stats[index].1;
    let rate = |tokens: u64, seconds: f64| if seconds > 0.0 { float(tokens) / seconds } else { 0.0 };
    each("inferno_running", "gauge", "Requests at work.", &|i| float_of(of(i).running));
    each("inferno_queued", "gauge", "Requests that wait for a place.", &|i| float_of(of(i).queued));
    each("inferno_prompt_tokens_total", "counter", "Tokens of prompts that were computed.", &|i| {
        float(of(i).prompt_tokens)
    });
    each("inferno_cached_tokens_total", "counter", "Tokens of prompts found in the KV cache.", &|i| {
        float(of(i).cached_tokens)
    });
    each("inferno_cache_hits_total", "counter", "Requests that found tokens in the KV cache.", &|i| {
        float(of(i).cache_hits)
    });
    each("inferno_generated_tokens_total", "counter", "Tokens generated.", &|i| {
        float(of(i).generated_tokens)
    });
    each("inferno_prompt_seconds_total", "counter", "Seconds spent on prompts.", &|i| of(i).prefill_seconds);
    each("inferno_generation_seconds_total", "counter", "Seconds spent on generating.", &|i| {
        of(i).decode_seconds
    });
    each("inferno_prompt_tokens_per_second", "gauge", "Speed of prompts since the load.", &|i| {
        rate(of(i).prompt_tokens, of(i).prefill_seconds)
    });
    each("inferno_generated_tokens_per_second", "gauge", "Speed of generating since the load.", &|i| {
        rate(of(i).generated_tokens, of(i).decode_seconds)
    });
    each("inferno_kv_cells_used", "gauge", "Cells of KV caches that hold a token.", &|i| {
        float_of(of(i).kv_cells_used)
    });
    each("inferno_kv_cells", "gauge", "Cells of all KV caches.", &|i| float_of(of(i).kv_cells_total));

    page.head("inferno_model_memory_bytes", "gauge", "Memory of a model, by device and use.");
    for (model, stats) in &stats {
        for part in &stats.memory {
            for (what, bytes) in
                [("weights", part.weights), ("kv_cache", part.kv_cache), ("compute", part.compute)]
            {
                let labels = [("model", model.as_str()), ("device", &part.device), ("use", what)];
                page.sample("inferno_model_memory_bytes", &labels, bytes);
            }
        }
    }
}

fn float(n: u64) -> f64 {
    n as f64
}

fn float_of(n: usize) -> f64 {
    float(n as u64)
}

fn memory(page: &mut Page) {
    if let Some(bytes) = resident_bytes() {
        page.one("process_resident_memory_bytes", "gauge", "Memory of this process in RAM.", bytes);
    }
    let devices = devices_now();
    page.head("inferno_device_memory_bytes", "gauge", "Memory of a device, all of it and what is free.");
    for device in &devices {
        for (state, bytes) in [("total", device.memory_total), ("free", device.memory_free)] {
            page.sample("inferno_device_memory_bytes", &[("device", &device.name), ("state", state)], bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_upwards() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for millis in [50, 100, 500, 5000] {
            histogram.record(Duration::from_millis(millis));
        }
        let mut page = Page::default();
        histogram.write(&mut page, "t", "Times.");
        let text = "# HELP t Times.\n# TYPE t histogram\nt_bucket{le=\"0.1\"} 2\nt_bucket{le=\"1\"} 3\n\
            t_bucket{le=\"+Inf\"} 4\nt_sum 5.65\nt_count 4\n";
        assert_eq!(page.0, text);
    }

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("m", &[("a", "x\"y\\z\n"), ("b", "")], 1.5);
        assert_eq!(page.0, "m{a=\"x\\\"y\\\\z\\n\",b=\"\"} 1.5\n");
    }
}
