//! A peer of plain libp2p: raw streams, no rules. Over QUIC it lets come whatever wants to.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use lapis_protocol_spec::{
    Bytes32, Method, Status, encode,
    framing::{Encoder, ErrorCode, RequestDecoder, ResponseChunk, ResponseDecoder},
};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol, SwarmBuilder, identity::Keypair, noise, swarm::SwarmEvent, tcp, yamux,
};
use libp2p_stream::{Behaviour, Control, IncomingStreams};
use tokio::{sync::oneshot, task::AbortHandle};

use crate::harness::{genesis, within};

pub(crate) struct Raw {
    pub(crate) id: PeerId,
    pub(crate) address: Multiaddr,
    pub(crate) control: Control,
    driver: AbortHandle,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Raw {
    /// Listens; dials `peer` if there is one.
    pub(crate) async fn start(peer: Option<Multiaddr>) -> Self {
        Self::with_key(peer, Keypair::generate_ed25519()).await
    }

    pub(crate) async fn with_key(peer: Option<Multiaddr>, keypair: Keypair) -> Self {
        let mut swarm = SwarmBuilder::with_existing_identity(keypair)
            .with_tokio()
            .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)
            .unwrap()
            .with_quic_config(|mut quic| {
                (quic.max_stream_data, quic.max_connection_data) = (1 << 30, 1 << 30);
                quic
            })
            .with_behaviour(|_| Behaviour::new())
            .unwrap()
            .with_swarm_config(|config| config.with_idle_connection_timeout(std::time::Duration::from_secs(600)))
            .build();
        let (id, control) = (*swarm.local_peer_id(), swarm.behaviour().new_control());
        swarm.listen_on(crate::harness::TCP.parse().unwrap()).unwrap();
        let address = within(async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    return address;
                }
            }
        })
        .await;
        let dialing = peer.is_some();
        if let Some(peer) = peer {
            swarm.dial(peer).unwrap();
        }
        let (connected_sender, connected) = oneshot::channel();
        let driver = tokio::spawn(async move {
            let mut connected = Some(connected_sender);
            loop {
                if let SwarmEvent::ConnectionEstablished { .. } = swarm.select_next_some().await {
                    connected.take().map(|sender| sender.send(()));
                }
            }
        })
        .abort_handle();
        if dialing {
            within(connected).await.unwrap();
        }
        Self { id, address: address.with_p2p(id).unwrap(), control, driver }
    }

    pub(crate) fn accept(&mut self, method: Method) -> IncomingStreams {
        self.control.accept(protocol(method)).unwrap()
    }

    pub(crate) async fn open(&mut self, peer: PeerId, method: Method) -> Stream {
        within(self.control.open_stream(peer, protocol(method))).await.unwrap()
    }

    /// Answers every status with one of `genesis_id`.
    pub(crate) fn answer_statuses(&mut self, genesis_id: Bytes32) {
        let mut streams = self.accept(Method::Status);
        tokio::spawn(async move {
            while let Some((_, mut stream)) = streams.next().await {
                let status = Status { genesis_id, ..Status::default() };
                if read_request(&mut stream, Method::Status).await.is_some() {
                    let _ = stream.write_all(&chunk(Method::Status, &encode(&status))).await;
                    let _ = stream.close().await;
                }
            }
        });
    }

    /// Exchanges statuses as a dialer of the right chain.
    pub(crate) async fn shake_hands(&mut self, peer: PeerId) {
        let mut stream = self.open(peer, Method::Status).await;
        let status = Status { genesis_id: genesis(), ..Status::default() };
        send(&mut stream, &request(Method::Status, &encode(&status))).await;
        assert!(matches!(answer(&mut stream, Method::Status).await[..], [ResponseChunk::Success(_)]));
    }
}

pub(crate) fn protocol(method: Method) -> StreamProtocol {
    StreamProtocol::new(method.protocol_id())
}

pub(crate) fn request(method: Method, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().request(method.request_bounds(), &[body], &mut out).unwrap();
    out
}

pub(crate) fn chunk(method: Method, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().chunk(method.response_bounds(), &[body], &mut out).unwrap();
    out
}

pub(crate) fn error_chunk(code: u8, message: &str) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().error(ErrorCode::from_byte(code).unwrap(), message, &mut out);
    out
}

/// Writes everything and half-closes.
pub(crate) async fn send(stream: &mut Stream, bytes: &[u8]) {
    within(async {
        stream.write_all(bytes).await.unwrap();
        stream.close().await.unwrap();
    })
    .await;
}

/// Reads a request to its end. `None` if it breaks off.
pub(crate) async fn read_request(stream: &mut Stream, method: Method) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    within(stream.read_to_end(&mut bytes)).await.ok()?;
    let mut decoder = RequestDecoder::new(method.request_bounds());
    decoder.push(&bytes).ok()?;
    decoder.finish().ok().map(|body| body.to_vec())
}

/// Reads up to the end; `read_to_end` takes seconds for megabytes, since it clears its buffer with every read.
pub(crate) async fn read_all(stream: &mut Stream) -> Vec<u8> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        match within(stream.read(&mut buffer)).await.unwrap() {
            0 => return bytes,
            count => bytes.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Reads a whole response.
pub(crate) async fn answer(stream: &mut Stream, method: Method) -> Vec<ResponseChunk> {
    let bytes = read_all(stream).await;
    let mut decoder = ResponseDecoder::new(method.response_bounds());
    let (mut rest, mut chunks) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let progress = decoder.push(rest).unwrap();
        rest = &rest[progress.consumed..];
        chunks.extend(progress.chunk);
    }
    decoder.finish().unwrap();
    chunks
}
