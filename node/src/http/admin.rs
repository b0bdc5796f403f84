//! What changes something: bans by hand. On an address of its own, on this machine only.
//!
//! There is no authentication: whoever can run a program here can ask. A browser that runs here must not be a way in
//! for pages that it shows. So requests are POST, their `Host` is this very address, which a page under another name
//! cannot send, and whatever says that it comes from a page is refused. Nothing here ever allows an origin.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Json, Router,
    body::Body,
    extract::{Path, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, StatusCode, Uri, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use lapis_p2p::{BanError, Handle};
use libp2p::PeerId;
use serde::Deserialize;
use serde_json::json;

use super::routes::refuse_bodies;

/// How long a ban lasts that does not say.
const USUAL_BAN: Duration = Duration::from_secs(3600);
/// Longest ban.
const LONGEST_BAN: Duration = Duration::from_secs(365 * 24 * 3600);

/// What can be done.
#[derive(Clone, Debug)]
pub struct Admin {
    /// The network.
    pub network: Handle,
    /// Where the server listens.
    pub address: SocketAddr,
}

/// Parameters of a ban.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BanTime {
    #[serde(rename = "for")]
    time: Option<String>,
}

/// The routes of administration.
pub fn router(admin: Admin) -> Router {
    let address = admin.address;
    Router::new()
        .route("/peers/{id}/ban", post(ban))
        .route("/peers/{id}/unban", post(unban))
        .fallback(unknown_path)
        .method_not_allowed_fallback(unknown_method)
        .layer(middleware::from_fn(refuse_bodies))
        .layer(middleware::from_fn(move |request, next| refuse_strangers(address, request, next)))
        .with_state(admin)
}

async fn ban(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    parameters: Result<Query<BanTime>, QueryRejection>,
) -> Response {
    let Ok(peer) = id.parse::<PeerId>() else { return not_an_id(&id) };
    let Ok(Query(BanTime { time })) = parameters else {
        return refusal(StatusCode::BAD_REQUEST, "the one parameter that there is, is \"for\"");
    };
    let time = match time.as_deref().map_or(Ok(USUAL_BAN), humantime::parse_duration) {
        Ok(time) if !time.is_zero() && time <= LONGEST_BAN => time,
        Ok(_) | Err(_) => {
            let error = "\"for\" must be a time with its unit, of at most 365days, such as 1h";
            return refusal(StatusCode::BAD_REQUEST, error);
        }
    };
    match admin.network.ban(peer, time).await {
        Ok(()) => Json(json!({ "peer_id": id, "banned_for_seconds": time.as_secs() })).into_response(),
        Err(error @ (BanError::Trusted(_) | BanError::Configured(_) | BanError::Own(_))) => {
            refusal(StatusCode::CONFLICT, &error.to_string())
        }
        Err(BanError::Stopped) => stopped(),
    }
}

async fn unban(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let Ok(peer) = id.parse::<PeerId>() else { return not_an_id(&id) };
    match admin.network.unban(peer).await {
        Ok(true) => Json(json!({ "peer_id": id, "banned_for_seconds": null })).into_response(),
        Ok(false) => refusal(StatusCode::NOT_FOUND, "this peer is not banned"),
        Err(_) => stopped(),
    }
}

async fn unknown_path(uri: Uri) -> Response {
    let paths = ["/peers/{id}/ban", "/peers/{id}/unban"];
    (StatusCode::NOT_FOUND, Json(json!({ "error": "no such path", "path": uri.path(), "paths": paths })))
        .into_response()
}

async fn unknown_method() -> Response {
    refusal(StatusCode::METHOD_NOT_ALLOWED, "only POST is answered")
}

/// Lets through what was meant for this server by a program, not by a page in a browser.
async fn refuse_strangers(address: SocketAddr, request: Request<Body>, next: Next) -> Response {
    let headers = request.headers();
    if !is_own_host(headers, address) {
        return refusal(StatusCode::FORBIDDEN, "the Host header does not name this server");
    }
    let fetched = headers.get("sec-fetch-site").is_some_and(|site| site != "none");
    if headers.contains_key(header::ORIGIN) || fetched {
        return refusal(StatusCode::FORBIDDEN, "requests of web pages are not answered");
    }
    next.run(request).await
}

/// Whether there is one `Host`, and it is this address or `localhost` with its port.
fn is_own_host(headers: &HeaderMap, address: SocketAddr) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    host == address.to_string() || host.eq_ignore_ascii_case(&format!("localhost:{}", address.port()))
}

fn not_an_id(id: &str) -> Response {
    let shown: String = id.chars().take(64).collect();
    refusal(StatusCode::BAD_REQUEST, &format!("{shown:?} is not a peer id"))
}

fn stopped() -> Response {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "the node stops")
}

fn refusal(code: StatusCode, error: &str) -> Response {
    (code, Json(json!({ "error": error }))).into_response()
}
