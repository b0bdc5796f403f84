//! Asking: one stream, one request, all chunks.

use futures::{AsyncReadExt, AsyncWriteExt};
use lapis_protocol_spec::{Item, Method, Request};
use libp2p::{PeerId, StreamProtocol};

use crate::{patiently, wire};

/// Most bytes of a response that are read.
const MAX_RESPONSE: u64 = 256 * 1024 * 1024;

/// One chunk of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// An item.
    Item(Item),
    /// An error: result code and text.
    Error(u8, String),
}

/// Opens streams.
#[derive(Clone)]
pub(super) struct Client(libp2p_stream::Control);

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    pub(super) fn new(control: libp2p_stream::Control) -> Self {
        Self(control)
    }

    pub(super) async fn ask(&self, peer: PeerId, request: &Request) -> Vec<Reply> {
        self.ask_raw(peer, request.method(), &wire::prefixed(&request.encode())).await
    }

    pub(super) async fn ask_raw(&self, peer: PeerId, method: Method, bytes: &[u8]) -> Vec<Reply> {
        let exchange = async {
            let protocol = StreamProtocol::new(method.protocol_id());
            let mut stream = self.0.clone().open_stream(peer, protocol).await.expect("a stream opens");
            stream.write_all(bytes).await.expect("a request is written");
            stream.close().await.expect("a request is ended");
            let mut response = Vec::new();
            stream.take(MAX_RESPONSE).read_to_end(&mut response).await.expect("a response is ended in order");
            response
        };
        let response = patiently("a response", exchange).await;
        let chunks = wire::chunks(&response).expect("chunks are whole");
        chunks.into_iter().map(|(result, body)| reply(method, result, &body)).collect()
    }
}

fn reply(method: Method, result: u8, body: &[u8]) -> Reply {
    match result {
        0 => Reply::Item(Item::decode(method, &body.to_vec().into()).expect("an item of the method")),
        code => Reply::Error(code, String::from_utf8_lossy(body).into_owned()),
    }
}
