//! One JSON-RPC call over HTTP: credentials, a time limit, a bound on the answer, one retry.
//!
//! Clients close idle connections after a few seconds, without a word, and a call may be on its way then. Every method here
//! may be called twice with the effect of once, so a call whose connection broke before the answer was whole is made
//! again, once, within the same time limit, with a token of its own.

use std::{
    error::Error,
    io,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Client, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE},
    redirect,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value as Json;
use tokio::time::timeout;

use super::{
    error::{EngineApiError, RpcError},
    jwt::JwtSecret,
};
use crate::error_line::one_line;

/// Bytes of a foreign text that are kept for people.
const MAX_TEXT: usize = 512;
/// Answers that are longer are decoded on a thread that may block.
const SMALL: usize = 64 * 1024;
/// Connections that are kept open: calls are made one after the other, but for producers.
const IDLE_CONNECTIONS: usize = 2;

/// A call's limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// For everything, the retry included.
    pub(super) time: Duration,
    /// Of the answer, in bytes.
    pub(super) bytes: usize,
}

/// The way to one client.
#[derive(Debug)]
pub(super) struct Rpc {
    http: Client,
    url: Url,
    secret: JwtSecret,
    next_id: AtomicU64,
}

#[derive(Serialize)]
struct Request<'a, P> {
    jsonrpc: &'static str,
    id: u64,
    method: &'static str,
    params: &'a P,
}

#[derive(Deserialize)]
#[serde(bound(deserialize = "R: Deserialize<'de>"))]
struct Reply<R> {
    #[serde(default)]
    id: Json,
    /// `Some(None)` is a result that is null.
    #[serde(default, deserialize_with = "present")]
    result: Option<Option<R>>,
    #[serde(default)]
    error: Option<ErrorObject>,
}

#[derive(Deserialize)]
struct ErrorObject {
    code: i64,
    #[serde(default)]
    message: String,
}

fn present<'de, R: Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Option<R>>, D::Error> {
    Option::<R>::deserialize(from).map(Some)
}

/// A call that is ready to be sent, any number of times.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) method: &'static str,
    id: u64,
    body: Bytes,
    pub(super) limits: Limits,
}

impl Rpc {
    /// # Errors
    /// [`EngineApiError::Request`] if the system has no room for an HTTP client.
    pub(super) fn new(url: Url, secret: JwtSecret, connect: Duration) -> Result<Self, EngineApiError> {
        let http = Client::builder()
            // The client is beside this node, whatever the environment says of proxies.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .http1_only()
            .connect_timeout(connect)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build()
            .map_err(|source| EngineApiError::Request { method: "connect", source: Box::new(source) })?;
        Ok(Self { http, url, secret, next_id: AtomicU64::new(1) })
    }

    /// Encodes a call.
    ///
    /// # Errors
    /// [`EngineApiError::Request`].
    pub(super) fn call<P: Serialize>(
        &self,
        method: &'static str,
        params: &P,
        limits: Limits,
    ) -> Result<Call, EngineApiError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let body = serde_json::to_vec(&Request { jsonrpc: "2.0", id, method, params })
            .map_err(|source| EngineApiError::Request { method, source: Box::new(source) })?;
        Ok(Call { method, id, body: body.into(), limits })
    }

    /// Makes a call whose result is an object.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub(super) async fn send<R>(&self, call: &Call) -> Result<R, EngineApiError>
    where
        R: DeserializeOwned + Send + 'static,
    {
        let found = self.send_nullable(call).await?;
        found.ok_or_else(|| call.incomprehensible("the result is null"))
    }

    /// Makes a call whose result may be null.
    ///
    /// # Errors
    /// [`EngineApiError`].
    pub(super) async fn send_nullable<R>(&self, call: &Call) -> Result<Option<R>, EngineApiError>
    where
        R: DeserializeOwned + Send + 'static,
    {
        let Limits { time, .. } = call.limits;
        let (status, body) = timeout(time, self.exchange(call))
            .await
            .map_err(|_| EngineApiError::TimedOut { method: call.method, limit: time })??;
        if body.len() <= SMALL {
            return decode(call, status, &body);
        }
        let call = call.clone();
        let decoded = tokio::task::spawn_blocking(move || decode(&call, status, &body)).await;
        decoded.map_err(|_| EngineApiError::Stopping)?
    }

    async fn exchange(&self, call: &Call) -> Result<(StatusCode, Vec<u8>), EngineApiError> {
        match self.attempt(call).await {
            Err(EngineApiError::Closed(error)) => {
                tracing::debug!(method = call.method, %error, "the connection was closed, calling again");
                self.attempt(call).await
            }
            outcome => outcome,
        }
    }

    async fn attempt(&self, call: &Call) -> Result<(StatusCode, Vec<u8>), EngineApiError> {
        let token = self.secret.token(SystemTime::now());
        let request = self
            .http
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {token}"))
            .body(call.body.clone());
        let response = request.send().await.map_err(|error| broken(call, error))?;
        let status = response.status();
        Ok((status, read(call, response).await?))
    }
}

impl Call {
    fn incomprehensible(&self, reason: impl Into<String>) -> EngineApiError {
        EngineApiError::Incomprehensible { method: self.method, reason: reason.into() }
    }
}

/// Reads an answer, piece by piece, up to its bound.
async fn read(call: &Call, mut response: Response) -> Result<Vec<u8>, EngineApiError> {
    let limit = call.limits.bytes;
    let mut body = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| broken(call, error))? {
        if body.len().saturating_add(piece.len()) > limit {
            return Err(EngineApiError::TooLong { method: call.method, limit });
        }
        body.extend_from_slice(&piece);
    }
    Ok(body)
}

/// Sorts failures of a connection. Addresses of URLs are left out of messages: they may hold passwords.
fn broken(call: &Call, error: reqwest::Error) -> EngineApiError {
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        EngineApiError::TimedOut { method: call.method, limit: call.limits.time }
    } else if error.is_connect() {
        EngineApiError::Unreachable(error)
    } else if was_closed(&error) {
        EngineApiError::Closed(error)
    } else {
        call.incomprehensible(one_line(&error))
    }
}

/// Whether the other side ended the connection, and did not say something wrong on it.
fn was_closed(error: &reqwest::Error) -> bool {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(hyper) = error.downcast_ref::<hyper::Error>() {
            let closed = hyper.is_incomplete_message() || hyper.is_closed() || hyper.is_canceled();
            if closed || hyper.is_body_write_aborted() {
                return true;
            }
        }
        if let Some(io) = error.downcast_ref::<io::Error>() {
            return matches!(
                io.kind(),
                io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::NotConnected
            );
        }
        source = error.source();
    }
    false
}

/// Reads the reply to `call` out of a body. Some clients put error objects of JSON-RPC under an HTTP error.
fn decode<R: DeserializeOwned>(call: &Call, status: StatusCode, body: &[u8]) -> Result<Option<R>, EngineApiError> {
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(EngineApiError::Unauthorized(format!("HTTP status {}", status.as_u16())));
    }
    let reply: Reply<R> = match serde_json::from_slice(body) {
        Ok(reply) => reply,
        Err(_) if !status.is_success() => {
            return Err(EngineApiError::Http { status: status.as_u16(), text: excerpt(body) });
        }
        Err(error) => return Err(call.incomprehensible(format!("{error}, in {:?}", excerpt(body)))),
    };
    if let Some(ErrorObject { code, message }) = reply.error {
        return Err(refused(call, code, &message));
    }
    if !status.is_success() {
        return Err(EngineApiError::Http { status: status.as_u16(), text: excerpt(body) });
    }
    if reply.id != call.id {
        return Err(call.incomprehensible("it is the answer to another call"));
    }
    reply.result.ok_or_else(|| call.incomprehensible("it has neither result nor error"))
}

/// Some clients refuse tokens by a JSON-RPC error that has no code of its own.
fn refused(call: &Call, code: i64, message: &str) -> EngineApiError {
    let message = excerpt(message.as_bytes());
    let lower = message.to_lowercase();
    if ["auth failed", "unauthorized", "jwt"].iter().any(|word| lower.contains(word)) {
        return EngineApiError::Unauthorized(message);
    }
    EngineApiError::Rpc { method: call.method, error: RpcError { code: code.into(), message } }
}

/// The beginning of a foreign text, on one line, without control characters.
fn excerpt(bytes: &[u8]) -> String {
    let start = bytes.get(..MAX_TEXT).unwrap_or(bytes);
    let text: String = String::from_utf8_lossy(start).chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use proptest::prelude::*;

    use super::*;

    fn call() -> Call {
        let limits = Limits { time: Duration::from_secs(1), bytes: 1 << 20 };
        Call { method: "engine_newPayloadV4", id: 7, body: Bytes::new(), limits }
    }

    fn read(status: u16, body: &str) -> Result<Option<Json>, EngineApiError> {
        decode(&call(), StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn a_result_may_be_null_and_must_be_there() {
        assert_eq!(read(200, r#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#).unwrap().unwrap()["a"], 1);
        assert_eq!(read(200, r#"{"id":7,"result":null,"error":null}"#).unwrap(), None);
        assert!(matches!(read(200, r#"{"id":7}"#), Err(EngineApiError::Incomprehensible { .. })));
        assert!(matches!(read(200, r#"{"id":8,"result":1}"#), Err(EngineApiError::Incomprehensible { .. })));
    }

    #[test]
    fn what_the_client_says_is_kept_short_and_on_one_line() {
        let long = format!(r#"{{"id":7,"error":{{"code":-38005,"message":"a\n\u0007{}"}}}}"#, "b".repeat(5000));
        let text = read(400, &long).unwrap_err().to_string();
        assert!(text.len() < 700 && !text.contains(['\n', '\u{7}']), "{text}");
        assert!(text.contains("unsupported fork (-38005): a b"), "{text}");
    }

    proptest! {
        #[test]
        fn no_body_is_taken_for_an_answer_that_is_none(status in 200_u16..600, body: Vec<u8>) {
            prop_assert!(decode::<Json>(&call(), StatusCode::from_u16(status).unwrap(), &body).is_err());
        }
    }
}
