//! Connections: how many, for how long.

use std::{io, net::SocketAddr, pin::pin, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinError, JoinSet},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::config::HttpConfig;

/// Most headers of a request.
const MAX_HEADERS: usize = 64;
/// Most bytes of a request's head.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Pause after a failed accept: the reason (no file descriptors, say) does not go away at once.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for HTTP on {address}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    /// Why not.
    pub source: io::Error,
}

/// A program error while serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The task of a connection panicked.
    #[error("an HTTP connection's task failed")]
    Connection(#[from] JoinError),
}

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    max_connections: usize,
    timeout: Duration,
}

/// Takes `address` within the bounds of `config`, so that one in use is known before anything else starts.
///
/// # Errors
/// [`BindError`].
pub async fn bind(address: SocketAddr, config: &HttpConfig) -> Result<Bound, BindError> {
    let failed = |source| BindError { address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok(Bound { listener, address, max_connections: config.max_connections.get(), timeout: config.timeout })
}

impl Bound {
    /// The address that is listened on, with the port that was chosen if none was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers requests until `stop` is cancelled, then finishes those under way, each within its time limit.
    ///
    /// # Errors
    /// [`ServeError`]; what clients and networks do wrong is never one.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> Result<(), ServeError> {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(ended) = connections.join_next() => ended?,
                accepted = self.listener.accept(), if connections.len() < self.max_connections => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(answer(stream, router.clone(), self.timeout, stop.clone()));
                    }
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "HTTP connection not accepted");
                        sleep(ACCEPT_BACKOFF).await;
                    }
                },
            }
        }
        drop(self.listener);
        while let Some(ended) = connections.join_next().await {
            ended?;
        }
        Ok(())
    }
}

/// Answers one request.
async fn answer(stream: TcpStream, router: Router, limit: Duration, stop: CancellationToken) {
    let mut protocol = http1::Builder::new();
    protocol.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(limit);
    protocol.max_headers(MAX_HEADERS).max_buf_size(MAX_HEAD_BYTES);
    let service = TowerToHyperService::new(router);
    let mut connection = pin!(protocol.serve_connection(TokioIo::new(stream), service));
    let exchange = async {
        tokio::select! {
            result = connection.as_mut() => result,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    match timeout(limit, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(error = &error as &dyn std::error::Error, "HTTP connection failed"),
        Err(_) => tracing::debug!(?limit, "HTTP connection cut off at its time limit"),
    }
}
