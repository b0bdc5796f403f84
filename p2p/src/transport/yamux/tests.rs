#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod hostile;
mod interop;
mod random;
mod raw;
mod windows;

use std::{future::poll_fn, io, pin::Pin, time::Duration};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::StreamMuxer;
use tokio::io::DuplexStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use super::{shared::Substream, *};

type Side = Pin<Box<Muxer<Compat<DuplexStream>>>>;

const MIB: u32 = 1024 * 1024;

fn config() -> Config {
    Config::new(64, MIB, Arc::new(Budget::new(MIB)), Duration::from_millis(10))
}

fn pair() -> (Side, Side) {
    let (a, b) = tokio::io::duplex(64 * 1024);
    (Box::pin(config().muxer(a.compat(), Role::Client)), Box::pin(config().muxer(b.compat(), Role::Server)))
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.expect("did not happen within a minute")
}

async fn open(side: &mut Side) -> Substream {
    within(poll_fn(|cx| side.as_mut().poll_outbound(cx))).await.unwrap()
}

/// Drives a side for good; sends on what streams come. Ends with the reason why the connection does.
fn drive(mut side: Side) -> (tokio::task::JoinHandle<io::Error>, tokio::sync::mpsc::Receiver<Substream>) {
    let (sender, streams) = tokio::sync::mpsc::channel(512);
    let driver = tokio::spawn(async move {
        loop {
            match poll_fn(|cx| side.as_mut().poll_inbound(cx)).await {
                Ok(stream) => drop(sender.send(stream).await),
                Err(error) => return error,
            }
        }
    });
    (driver, streams)
}

/// A request is sent; returns both ends.
async fn exchange(mut client: Side, server: Side) -> (Substream, Substream, [tokio::task::JoinHandle<io::Error>; 2]) {
    let mut asking = open(&mut client).await;
    let (client_driver, _) = drive(client);
    let (server_driver, mut streams) = drive(server);
    within(async {
        asking.write_all(b"request").await.unwrap();
        asking.close().await.unwrap();
    })
    .await;
    let mut answering = within(streams.recv()).await.unwrap();
    let mut request = Vec::new();
    within(answering.read_to_end(&mut request)).await.unwrap();
    assert_eq!(request, b"request");
    (asking, answering, [client_driver, server_driver])
}

#[tokio::test]
async fn a_stream_that_was_closed_ends() {
    let (client, server) = pair();
    let (mut asking, mut answering, _drivers) = exchange(client, server).await;
    within(async {
        answering.write_all(b"answer").await.unwrap();
        answering.close().await.unwrap();
    })
    .await;
    drop(answering);
    let mut answer = Vec::new();
    within(asking.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"answer");
}

#[tokio::test]
async fn a_stream_that_the_server_dropped_is_reset_not_ended() {
    let (client, server) = pair();
    let (mut asking, mut answering, _drivers) = exchange(client, server).await;
    within(async {
        answering.write_all(b"answer").await.unwrap();
        answering.flush().await.unwrap();
        let mut answer = [0; 6];
        asking.read_exact(&mut answer).await.unwrap();
        drop(answering);
        let error = asking.read(&mut answer).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    })
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_not_the_end_of_a_stream() {
    let (client, server) = pair();
    let (mut asking, answering, [_client, server]) = exchange(client, server).await;
    server.abort();
    let error = within(asking.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    drop(answering);
}

/// Some implementations throw away what they have received when a reset comes.
#[tokio::test]
async fn an_answer_to_an_open_request_is_not_followed_by_a_reset() {
    let (mut client, server) = pair();
    let (mut asking, mut pushing) = (open(&mut client).await, open(&mut client).await);
    let (_client, _) = drive(client);
    let (_server, mut streams) = drive(server);
    within(async {
        for stream in [&mut asking, &mut pushing] {
            stream.write_all(b"hello").await.unwrap();
            stream.flush().await.unwrap();
        }
        let (mut first, mut second) = (streams.recv().await.unwrap(), streams.recv().await.unwrap());
        for stream in [&mut first, &mut second] {
            stream.read_exact(&mut [0; 5]).await.unwrap();
        }
        first.write_all(b"answer").await.unwrap();
        first.close().await.unwrap();
        drop(first);
        let mut answer = Vec::new();
        asking.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, b"answer");
        // What is sent on another stream from here on comes after anything that is said about the first.
        second.write_all(b"later").await.unwrap();
        pushing.read_exact(&mut [0; 5]).await.unwrap();
        asking.write_all(b"not reset").await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn closing_does_not_wait_for_a_peer_that_does_not_read() {
    let (socket, _unread) = tokio::io::duplex(64);
    let mut client = Box::pin(config().muxer(socket.compat(), Role::Client));
    let mut stream = open(&mut client).await;
    stream.write_all(&[7; 1024]).await.unwrap();
    let error = within(poll_fn(|cx| client.as_mut().poll_close(cx))).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test]
async fn a_writer_out_of_credit_learns_that_the_reader_is_gone() {
    let (client, server) = pair();
    let (asking, mut answering, _drivers) = exchange(client, server).await;
    let writing = tokio::spawn(async move {
        let block = vec![7; 64 * 1024];
        while answering.write_all(&block).await.is_ok() {}
    });
    // Whether the writer is out of credit by now or not, it must come to its end.
    tokio::task::yield_now().await;
    drop(asking);
    within(writing).await.unwrap();
}
