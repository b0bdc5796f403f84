//! A peer that writes and reads frames as it likes.

use super::*;
use crate::transport::yamux::frame::{Flags, HEADER, Header, Kind};

pub(super) struct Raw {
    socket: Compat<DuplexStream>,
    pub(super) streams: tokio::sync::mpsc::Receiver<Substream>,
    pub(super) driver: tokio::task::JoinHandle<io::Error>,
}

/// Enough room for everything that a test writes without reading.
const SOCKET: usize = 16 * 1024 * 1024;

impl Raw {
    /// Speaks with a side that has not opened the connection.
    pub(super) fn client(config: Config) -> Self {
        let (ours, theirs) = tokio::io::duplex(SOCKET);
        let (driver, streams) = drive(Box::pin(config.muxer(theirs.compat(), Role::Server)));
        Self { socket: ours.compat(), streams, driver }
    }

    /// Speaks with a side that has opened the connection and `count` streams, on each of which it has written a byte.
    pub(super) async fn server(config: Config, count: usize) -> (Self, Vec<Substream>) {
        let (ours, theirs) = tokio::io::duplex(SOCKET);
        let mut side = Box::pin(config.muxer(theirs.compat(), Role::Client));
        let mut opened = Vec::new();
        for _ in 0..count {
            let mut stream = open(&mut side).await;
            within(stream.write_all(&[7])).await.unwrap();
            opened.push(stream);
        }
        let (driver, streams) = drive(side);
        let mut raw = Self { socket: ours.compat(), streams, driver };
        for index in 0..count {
            let (header, body) = raw.read().await;
            let id = u32::try_from(2 * index + 1).unwrap();
            assert_eq!((header, body.as_slice()), (Header::data(id, Flags::SYN, 1), [7].as_slice()));
        }
        (raw, opened)
    }

    pub(super) async fn write(&mut self, header: Header, body: &[u8]) {
        self.write_bytes(&header.encode()).await;
        self.write_bytes(body).await;
    }

    /// A data frame whose length is that of its body.
    pub(super) async fn data(&mut self, stream: u32, flags: Flags, body: &[u8]) {
        self.write(Header::data(stream, flags, u32::try_from(body.len()).unwrap()), body).await;
    }

    /// The other side may have closed the connection.
    pub(super) async fn write_bytes(&mut self, bytes: &[u8]) {
        let _ = within(self.socket.write_all(bytes)).await;
    }

    pub(super) async fn read(&mut self) -> (Header, Vec<u8>) {
        let mut header = [0; HEADER];
        within(self.socket.read_exact(&mut header)).await.unwrap();
        let header = Header::decode(header).unwrap();
        let mut body = vec![0; if header.kind == Kind::Data { header.length as usize } else { 0 }];
        within(self.socket.read_exact(&mut body)).await.unwrap();
        (header, body)
    }

    /// The next frame, which has no body.
    pub(super) async fn header(&mut self) -> Header {
        let (header, body) = self.read().await;
        assert!(body.is_empty(), "{header:?}");
        header
    }

    /// What is sent from here on was sent after all that was written here was taken.
    pub(super) async fn answered(&mut self) {
        self.write(Header { kind: Kind::Ping, flags: Flags::SYN, stream: 0, length: 4711 }, &[]).await;
        assert_eq!(self.header().await, Header::pong(4711));
    }

    pub(super) async fn stream(&mut self) -> Substream {
        within(self.streams.recv()).await.unwrap()
    }
}
