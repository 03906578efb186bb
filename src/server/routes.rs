//! Which path leads where.

use super::{
    answer::{Answer, content, json},
    app::App,
    body, facts, fields, metrics,
    openai::{chat, completions, embeddings as openai_embeddings, models},
    page,
    problem::Problem,
    request::{HEADER, RequestId, guard, observe},
    worker,
};
use axum::{
    Extension, Router,
    extract::{
        Path, Query, Request, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::from_fn_with_state,
    routing::{get, post},
};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};

type Shared = State<Arc<App>>;

/// All paths, with what surrounds every request: its id and log, pages of other sites, keys.
pub(super) fn router(app: &Arc<App>) -> Router {
    let mut router = Router::new()
        .route("/v1/chat/completions", post(chat_completions))
        .route("/v1/completions", post(text_completions))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(list_models))
        .route("/v1/models/{*model}", get(retrieve_model))
        .route("/models/load", post(load_model))
        .route("/models/unload", post(unload_model))
        .route("/health", get(|State(app): Shared| async move { facts::health(&app) }))
        .route("/metrics", get(show_metrics))
        .route("/props", get(show_props))
        .route("/history", get(show_history))
        .route("/", get(|| async { page::html() }))
        .route("/page.js", get(|| async { page::script() }))
        .route("/page.css", get(|| async { page::style() }));
    if app.worker.is_some() {
        router = router.route("/execute", post(execute)).route("/cancel", post(cancel)).route(
            "/capabilities",
            get(|State(app): Shared| async move { worker::capabilities(&app).await }),
        );
    }
    let mut router = router
        .fallback(|method: Method, uri: Uri| async move { Problem::no_path(method.as_str(), uri.path()) })
        .method_not_allowed_fallback(|method: Method, uri: Uri| async move {
            Problem::method(method.as_str(), uri.path())
        })
        .with_state(Arc::clone(app))
        .layer(from_fn_with_state(Arc::clone(app), guard));
    let origins = &app.options.cors_origins;
    if !origins.is_empty() {
        router = router.layer(cors(origins));
    }
    router.layer(from_fn_with_state(Arc::clone(app), observe))
}

/// Says to browsers which pages may read the answers.
fn cors(origins: &[String]) -> CorsLayer {
    let layer = CorsLayer::new()
        .allow_methods(AllowMethods::list([Method::GET, Method::POST]))
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([HEADER, header::RETRY_AFTER]);
    match origins.iter().any(|origin| origin == "*") {
        true => layer.allow_origin(AllowOrigin::any()),
        false => layer.allow_origin(AllowOrigin::list(
            origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()),
        )),
    }
}

/// The JSON object in a request's body.
async fn read_json(app: &App, request: Request) -> Result<Map<String, Value>, Problem> {
    let options = &app.options;
    let bytes = body::read(request.into_body(), options.max_body_bytes, options.body_timeout).await?;
    fields::parse(&bytes)
}

async fn chat_completions(
    State(app): Shared,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Answer, Problem> {
    let body = read_json(&app, request).await?;
    chat::answer_chat(app, &id, &body).await
}

async fn text_completions(
    State(app): Shared,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Answer, Problem> {
    let body = read_json(&app, request).await?;
    completions::answer_completion(app, &id, &body).await
}

async fn embeddings(State(app): Shared, request: Request) -> Result<Answer, Problem> {
    let body = read_json(&app, request).await?;
    openai_embeddings::answer_embeddings(app, &body).await
}

async fn list_models(State(app): Shared) -> Answer {
    models::list(&app)
}

async fn retrieve_model(
    State(app): Shared,
    model: Result<Path<String>, PathRejection>,
) -> Result<Answer, Problem> {
    let Path(model) = model.map_err(|error| Problem::field("model", error.body_text()))?;
    models::retrieve(&app, &model)
}

async fn load_model(State(app): Shared, request: Request) -> Result<Answer, Problem> {
    let body = read_json(&app, request).await?;
    models::load(app, &body).await
}

async fn unload_model(State(app): Shared, request: Request) -> Result<Answer, Problem> {
    let body = read_json(&app, request).await?;
    models::unload(app, &body).await
}

async fn show_metrics(State(app): Shared) -> Answer {
    content(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", metrics::page(&app))
}

/// The parameters of a query, by name.
type Parameters = Result<Query<BTreeMap<String, String>>, QueryRejection>;

async fn show_props(State(app): Shared, parameters: Parameters) -> Result<Answer, Problem> {
    let Query(parameters) = parameters.map_err(|error| Problem::field("query", error.body_text()))?;
    facts::props(&app, parameters.get("model").map(String::as_str)).await
}

async fn show_history(State(app): Shared, parameters: Parameters) -> Result<Answer, Problem> {
    let Query(parameters) = parameters.map_err(|error| Problem::field("query", error.body_text()))?;
    let since = match parameters.get("since") {
        None => 0.0,
        Some(text) => {
            text.parse().map_err(|_| Problem::field("since", format!("{text:?} is no number of seconds")))?
        }
    };
    Ok(json(StatusCode::OK, &app.history.since(since)))
}

async fn execute(
    State(app): Shared,
    Extension(id): Extension<RequestId>,
    request: Request,
) -> Result<Answer, worker::Refusal> {
    let body = read_json(&app, request).await?;
    worker::execute(app, &id, &body).await
}

async fn cancel(State(app): Shared, request: Request) -> Result<Answer, worker::Refusal> {
    let body = read_json(&app, request).await?;
    worker::cancel(&app, &body)
}
