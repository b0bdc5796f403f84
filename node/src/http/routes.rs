//! What each path answers.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::{Body, HttpBody},
    extract::{Request, State},
    http::{StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{encoding::text, registry::Registry};
use serde_json::json;
use tokio::sync::watch;

use crate::status::{NodeStatus, PeerView};

/// Content type of OpenMetrics text, as its specification names it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The paths that there are.
const PATHS: [&str; 5] = ["/metrics", "/livez", "/readyz", "/status", "/peers"];

/// What the server shows.
#[derive(Clone, Debug)]
pub struct Views {
    /// All metrics of the process.
    pub registry: Arc<Registry>,
    /// The node. Its sender lives as long as the node does.
    pub status: watch::Receiver<NodeStatus>,
    /// The node's peers.
    pub peers: watch::Receiver<Vec<PeerView>>,
}

/// The routes of what can be looked at.
pub fn router(views: Views) -> Router {
    let [metrics_path, livez_path, readyz_path, status_path, peers_path] = PATHS;
    Router::new()
        .route(metrics_path, get(metrics))
        .route(livez_path, get(livez))
        .route(readyz_path, get(readyz))
        .route(status_path, get(status))
        .route(peers_path, get(peers))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn(refuse_bodies))
        .with_state(views)
}

async fn metrics(State(views): State<Views>) -> Response {
    // Collectors may read the store, so this is kept off the threads that drive the network.
    let encoded = tokio::task::spawn_blocking(move || {
        let mut text = String::new();
        text::encode(&mut text, &views.registry).map(|()| text)
    });
    match encoded.await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Ok(Err(error)) => failure(&error),
        Err(error) => failure(&error),
    }
}

async fn livez(State(views): State<Views>) -> Response {
    let alive = views.status.has_changed().is_ok();
    let reasons: &[&str] = if alive { &[] } else { &["the node has stopped"] };
    health("live", alive, reasons)
}

async fn readyz(State(views): State<Views>) -> Response {
    let alive = views.status.has_changed().is_ok();
    let status = views.status.borrow().clone();
    let mut reasons = status.not_ready;
    if !alive {
        reasons.push("the node has stopped".to_owned());
    }
    health("ready", alive && status.ready, &reasons)
}

async fn status(State(views): State<Views>) -> Json<NodeStatus> {
    Json(views.status.borrow().clone())
}

async fn peers(State(views): State<Views>) -> Json<Vec<PeerView>> {
    Json(views.peers.borrow().clone())
}

async fn unknown_path(uri: Uri) -> Response {
    let body = json!({ "error": "no such path", "path": uri.path(), "paths": PATHS });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

async fn unknown_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, Json(json!({ "error": "only GET and HEAD are answered" }))).into_response()
}

/// No path takes a body, so nothing of one is ever read.
pub(super) async fn refuse_bodies(request: Request<Body>, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    (StatusCode::PAYLOAD_TOO_LARGE, Json(json!({ "error": "requests have no body here" }))).into_response()
}

fn health(what: &str, good: bool, reasons: &[impl AsRef<str>]) -> Response {
    let code = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let reasons: Vec<_> = reasons.iter().map(AsRef::as_ref).collect();
    (code, Json(json!({ what: good, "reasons": reasons }))).into_response()
}

fn failure(error: &(dyn std::error::Error + 'static)) -> Response {
    tracing::error!(error, "metrics cannot be encoded");
    (StatusCode::INTERNAL_SERVER_ERROR, Json(json!({ "error": "metrics cannot be encoded" }))).into_response()
}
