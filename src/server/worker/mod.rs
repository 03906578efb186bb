//! The contract between a pool manager and its workers, beside OpenAI's interface on the same port: jobs run and
//! cancelled, the manager told when the model is ready, and what the worker can.

mod callback;
mod job;

pub(super) use job::{Refusal, cancel, execute};

use super::{
    answer::{Answer, json as answer},
    app::App,
    facts::memory_bytes,
    metrics::{Histogram, Page},
    problem::Problem,
};
use crate::{
    config::Config,
    device::{Device, DeviceKind, devices},
    error::{Error, Result},
};
use axum::http::StatusCode;
use callback::Callback;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::watch;

/// The longest id of a job, in bytes.
const MAX_ID: usize = 128;
/// How jobs end, as the metrics name it.
const OUTCOMES: [&str; 3] = ["ok", "cancelled", "error"];

/// The worker's state.
#[derive(Debug)]
pub(super) struct Worker {
    id: String,
    /// The model as its manager knows it.
    model_ref: String,
    advertised_url: Option<String>,
    callback: Option<Callback>,
    /// The jobs at work; sending true cancels one.
    jobs: Mutex<BTreeMap<String, watch::Sender<bool>>>,
    ended: [AtomicU64; 3],
    tokens_in: AtomicU64,
    tokens_generated: AtomicU64,
    duration: Histogram,
}

impl Worker {
    /// The worker that the settings describe, if they do.
    pub(super) fn new(config: &Config) -> Result<Option<Self>> {
        let Some(id) = config.worker.id.clone() else { return Ok(None) };
        let model = &config.model.path;
        let callback = config.worker.callback_url.as_deref().map(Callback::new).transpose()?;
        Ok(Some(Self {
            id,
            model_ref: model.as_ref().map_or("default".into(), |path| path.to_string_lossy().into_owned()),
            advertised_url: config.worker.advertised_url.clone(),
            callback,
            jobs: Mutex::default(),
            ended: Default::default(),
            tokens_in: AtomicU64::default(),
            tokens_generated: AtomicU64::default(),
            duration: Histogram::of_requests(),
        }))
    }

    /// Tells the pool manager that the model is loaded, until it has heard it.
    pub(super) async fn announce(&self, app: &App, address: SocketAddr) -> Result<()> {
        let Some(callback) = &self.callback else { return Ok(()) };
        let uri = self.advertised_url.clone().unwrap_or_else(|| format!("http://{address}"));
        let mut message = json!({
            "worker_id": self.id,
            "model_ref": self.model_ref,
            "vram_bytes": memory_bytes(app),
            "uri": uri,
        });
        let report = report(app).await.map_err(|problem| Error::Callback { what: problem.message })?;
        for (key, value) in report.as_object().into_iter().flatten() {
            message[key] = value.clone();
        }
        callback.send(&message).await
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, watch::Sender<bool>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The contract's metrics.
    pub(super) fn metrics(&self, app: &App, page: &mut Page) {
        page.one(
            "worker_vram_bytes",
            "gauge",
            "Memory that the model takes on its device.",
            memory_bytes(app),
        );
        page.one(
            "worker_uptime_seconds",
            "gauge",
            "Seconds since the start.",
            app.started.elapsed().as_secs(),
        );
        page.head("worker_requests_total", "counter", "Jobs, by how they ended.");
        for (name, count) in OUTCOMES.iter().zip(&self.ended) {
            page.sample("worker_requests_total", &[("outcome", name)], count.load(Ordering::Relaxed));
        }
        for (name, help, count) in [
            ("worker_tokens_in_total", "Tokens of prompts.", &self.tokens_in),
            ("worker_tokens_generated_total", "Tokens generated.", &self.tokens_generated),
        ] {
            page.one(name, "counter", help, count.load(Ordering::Relaxed));
        }
        self.duration.write_millis(
            page,
            "worker_inference_duration_ms",
            "From the start of a job to its end.",
        );
    }
}

/// `GET /capabilities`.
pub(super) async fn capabilities(app: &App) -> Result<Answer, Problem> {
    Ok(answer(StatusCode::OK, &report(app).await?))
}

/// What this worker computes with: that of the device in use, not of those there are.
async fn report(app: &App) -> Result<Value, Problem> {
    let model = app.registry.get("default").await?;
    let loaded = model.loaded()?;
    let all = devices()?;
    let device = all.iter().find(|device| loaded.devices().contains(&device.name));
    let device = device.ok_or_else(|| Problem::internal("the model's device is gone"))?;
    let backend = backend(device);
    Ok(json!({"capabilities": [backend], "device": device_class(device), "backend": backend}))
}

/// The backend, from the name that it gives its devices.
fn backend(device: &Device) -> String {
    let letters: String = device.name.chars().take_while(|c| !c.is_ascii_digit()).collect();
    match letters.as_str() {
        "MTL" => "metal".into(),
        other => other.to_lowercase(),
    }
}

/// The contract's word for the device.
fn device_class(device: &Device) -> &'static str {
    let is = |vendor: &str| device.description.to_lowercase().contains(vendor);
    match device.kind {
        DeviceKind::Cpu => "cpu",
        DeviceKind::Accelerator => "accelerator",
        DeviceKind::Gpu | DeviceKind::IntegratedGpu if is("apple") => "apple_silicon_gpu",
        DeviceKind::Gpu | DeviceKind::IntegratedGpu if is("amd") || is("radeon") => "amd_gpu",
        DeviceKind::Gpu | DeviceKind::IntegratedGpu if is("nvidia") || is("geforce") => "nvidia_gpu",
        DeviceKind::Gpu | DeviceKind::IntegratedGpu if is("intel") => "intel_gpu",
        DeviceKind::Gpu => "gpu",
        DeviceKind::IntegratedGpu => "integrated_gpu",
    }
}
