//! What quinn is told: bounds on memory, and who the node is.

use std::{sync::Arc, time::Duration};

use libp2p::identity::Keypair;
use quinn::{
    ClientConfig, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt,
    crypto::rustls::{QuicClientConfig, QuicServerConfig},
};

use crate::{StartError, limits::ConnectionLimits};

/// Bytes that all connections together may have written and not seen acknowledged. quinn keeps them, and by itself
/// would keep 10 MB for each connection of a peer that lets them come and acknowledges nothing.
const UNACKNOWLEDGED: u64 = 320 * 1024 * 1024;

/// What one connection has of that, however many there may be, and at most.
const LEAST_SEND_WINDOW: u64 = 256 * 1024;
const MOST_SEND_WINDOW: u64 = 8 * 1024 * 1024;

/// Bytes that a stream, and a connection, may have received and not yet read. More than peers of this kind have under
/// way to one connection would be of no use.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// Datagrams of a connection that is not accepted yet, of each and of all together.
const EARLY_BYTES: u64 = 16 * 1024;
const ALL_EARLY_BYTES: u64 = 4 * 1024 * 1024;

/// A connection on which nothing comes for so long is lost; something is sent twice as often.
const SILENCE_MILLISECONDS: u32 = 10_000;
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// What every endpoint and every connection begins with.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) client: ClientConfig,
    pub(super) server: ServerConfig,
    pub(super) endpoint: EndpointConfig,
}

impl Settings {
    pub(super) fn new(keypair: &Keypair, limits: &ConnectionLimits) -> Result<Self, StartError> {
        let transport = Arc::new(transport(limits));
        let tls = libp2p_tls::make_client_config(keypair, None).map_err(StartError::quic)?;
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).map_err(StartError::quic)?));
        client.transport_config(transport.clone());
        let tls = libp2p_tls::make_server_config(keypair).map_err(StartError::quic)?;
        let mut server =
            ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).map_err(StartError::quic)?));
        server
            .transport_config(transport)
            // Addresses of peers are taken to stay what they are.
            .migration(false)
            .max_incoming(limits.pending_inbound as usize)
            .incoming_buffer_size(EARLY_BYTES)
            .incoming_buffer_size_total(ALL_EARLY_BYTES);
        let mut endpoint = EndpointConfig::default();
        endpoint.supported_versions(vec![1]);
        Ok(Self { client, server, endpoint })
    }
}

/// Bytes that one of `connections` may have written and not seen acknowledged.
fn send_window(connections: u32) -> u64 {
    (UNACKNOWLEDGED / u64::from(connections.max(1))).clamp(LEAST_SEND_WINDOW, MOST_SEND_WINDOW)
}

fn transport(limits: &ConnectionLimits) -> TransportConfig {
    let window = limits.receive_window.min(CONNECTION_WINDOW);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(limits.streams))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(SILENCE_MILLISECONDS))))
        .allow_spin(false)
        .send_window(send_window(limits.total))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW.min(window)))
        .receive_window(VarInt::from_u32(window));
    transport
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_bounded_over_all_connections() {
        for connections in [1, 10, 40, 128, 160, 1280] {
            let window = send_window(connections);
            assert!(u64::from(connections) * window <= UNACKNOWLEDGED, "{connections}");
            assert!((LEAST_SEND_WINDOW..=MOST_SEND_WINDOW).contains(&window));
        }
        assert_eq!(send_window(160), 2 * 1024 * 1024, "40 MiB/s over a way of 50 ms");
        assert_eq!(send_window(u32::MAX), LEAST_SEND_WINDOW, "with less nothing would move");
        assert_eq!(send_window(0), MOST_SEND_WINDOW);
    }
}
