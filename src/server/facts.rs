//! What the server says about itself: `/health`, and `/props` with the facts of a model.

use super::{
    answer::{Answer, json as answer},
    app::{App, Phase},
    problem::Problem,
};
use crate::engine::ModelState;
use axum::http::StatusCode;
use serde_json::json;

/// `GET /health`: 200 when requests are served, 503 before and after.
pub(super) fn health(app: &App) -> Answer {
    let phase = app.phase();
    let list = app.registry.list();
    let status = if phase == Phase::Ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let loaded: Vec<&str> =
        list.iter().filter(|m| m.state == ModelState::Loaded).map(|m| m.name.as_str()).collect();
    answer(
        status,
        &json!({
            "status": phase,
            "model": app.registry.resolve("default").ok(),
            "loaded": loaded,
            "vram_bytes": memory_bytes(app),
            "uptime_seconds": app.started.elapsed().as_secs(),
            "version": env!("CARGO_PKG_VERSION"),
        }),
    )
}

/// Bytes that all loaded models take, on whatever device.
pub(super) fn memory_bytes(app: &App) -> u64 {
    let stats = app.registry.stats();
    let parts = stats.iter().flat_map(|(_, model)| &model.memory);
    let counted: u64 = parts.map(|part| part.weights + part.kv_cache + part.compute).sum();
    // before the first request there is no context, and the registry knows the weights and what a cache will take
    let planned = app.registry.list().iter().map(|model| model.bytes).sum();
    counted.max(planned)
}

/// `GET /props`: what a client may want to know of a loaded model. Asking does not load it.
pub(super) async fn props(app: &App, name: Option<&str>) -> Result<Answer, Problem> {
    let own = app.registry.resolve(name.unwrap_or("default"))?.to_owned();
    let list = app.registry.list();
    let state = list.iter().find(|status| status.name == own).map(|status| status.state);
    if state != Some(ModelState::Loaded) {
        return Err(Problem::unavailable(&format!("{own} is not loaded"), "model_not_loaded"));
    }
    let model = app.registry.get(&own).await?;
    let loaded = model.loaded()?;
    let context = model.context_options();
    Ok(answer(
        StatusCode::OK,
        &json!({
            "model": own,
            "architecture": loaded.gguf().architecture().unwrap_or_default(),
            "quantisation": loaded.gguf().quantisation(),
            "parameters": loaded.parameters(),
            "tensor_bytes": loaded.tensor_bytes(),
            "devices": loaded.devices(),
            "vocabulary": loaded.vocab_size(),
            "trained_context": loaded.trained_context(),
            "context_size": context.context_for(&loaded),
            "cache_type_k": context.cache_type_k,
            "cache_type_v": context.cache_type_v,
            "chat_template": model.chat_template().source(),
            "default_generation_settings": as_written(&app.options.sampling),
            "build": crate::native_version().to_string(),
        }),
    ))
}

/// A value whose numbers of single precision are those that somebody wrote: 0.8, not 0.800000011920929.
fn as_written(value: &impl serde::Serialize) -> serde_json::Value {
    let text = serde_json::to_string(value).expect("plain data, with strings for keys");
    serde_json::from_str(&text).expect("written just before")
}
