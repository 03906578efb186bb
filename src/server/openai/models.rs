//! `GET /v1/models`, and loading and unloading by name.

use crate::{
    engine::{ModelState, ModelStatus},
    server::{
        answer::{Answer, json as answer},
        app::App,
        fields::Fields,
        problem::Problem,
    },
};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::{sync::Arc, time::UNIX_EPOCH};

/// All models.
pub(in crate::server) fn list(app: &App) -> Answer {
    let models: Vec<Value> = app.registry.list().iter().map(|status| object(app, status)).collect();
    answer(StatusCode::OK, &json!({"object": "list", "data": models}))
}

/// One model, by any of its names.
pub(in crate::server) fn retrieve(app: &App, name: &str) -> Result<Answer, Problem> {
    let own = app.registry.resolve(name)?;
    let list = app.registry.list();
    let status = list.iter().find(|status| status.name == own);
    let status = status.ok_or_else(|| Problem::internal("the registry lost a model"))?;
    Ok(answer(StatusCode::OK, &object(app, status)))
}

/// Loads a model, and answers when it is.
pub(in crate::server) async fn load(app: Arc<App>, body: &Map<String, Value>) -> Result<Answer, Problem> {
    let _work = app.begin()?;
    let name = name(body)?;
    app.registry.load(name).await?;
    retrieve(&app, name)
}

/// Unloads a model; its requests are cancelled.
pub(in crate::server) async fn unload(app: Arc<App>, body: &Map<String, Value>) -> Result<Answer, Problem> {
    let name = name(body)?;
    app.registry.unload(name).await?;
    retrieve(&app, name)
}

fn name(body: &Map<String, Value>) -> Result<&str, Problem> {
    let fields = Fields::new(body);
    fields.string("model")?.ok_or_else(|| fields.wrong("model", "is missing: the name of a model is needed"))
}

/// OpenAI's object, and what this server knows beyond it.
fn object(app: &App, status: &ModelStatus) -> Value {
    let last_used =
        status.last_used.and_then(|at| at.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
    json!({
        "id": status.name, "object": "model", "created": app.created, "owned_by": "inferno",
        "aliases": status.aliases, "state": status.state, "progress": status.progress,
        "loaded": status.state == ModelState::Loaded, "bytes": status.bytes, "last_used": last_used,
    })
}
