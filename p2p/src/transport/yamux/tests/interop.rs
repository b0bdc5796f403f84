//! Against the implementation that other nodes run.

use yamux::{Connection, Mode};

use super::*;

/// Drives a connection of the library for good; sends on what streams come, and opens some first.
async fn library(
    socket: DuplexStream,
    mode: Mode,
    opens: usize,
) -> (Vec<yamux::Stream>, tokio::sync::mpsc::Receiver<yamux::Stream>) {
    let mut connection = Connection::new(socket.compat(), yamux::Config::default(), mode);
    let mut opened = Vec::new();
    for _ in 0..opens {
        opened.push(within(poll_fn(|cx| connection.poll_new_outbound(cx))).await.unwrap());
    }
    let (sender, streams) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(Ok(stream)) = poll_fn(|cx| connection.poll_next_inbound(cx)).await {
            drop(sender.send(stream).await);
        }
    });
    (opened, streams)
}

/// Bytes that say where they belong.
fn bytes(seed: usize, length: usize) -> Vec<u8> {
    let [first, ..] = seed.to_le_bytes();
    // A length that is no power of two, so that no two frames are the same.
    (0..=250).cycle().map(|byte: u8| byte ^ first).take(length).collect()
}

/// Sizes around everything that is special, and some large ones.
const SIZES: [usize; 12] =
    [0, 1, 12, 4095, 33 * 1024, 33 * 1024 + 1, 64 * 1024, 131_072, 262_143, 262_145, 600_003, 2_000_001];

/// Asks for as many bytes as are told, and reads them until the end.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, seed: usize, length: usize) {
    let request = bytes(seed + 1, length / 3);
    stream.write_all(&(length as u64).to_be_bytes()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    stream.close().await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert!(answer == [request, bytes(0, length)].concat(), "{length} bytes are not those that were sent");
}

/// Reads a request to its end, sends it back and as many bytes as were asked for.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let mut request = Vec::new();
    stream.read_to_end(&mut request).await.unwrap();
    let (length, request) = request.split_first_chunk().unwrap();
    stream.write_all(request).await.unwrap();
    stream.write_all(&bytes(0, usize::try_from(u64::from_be_bytes(*length)).unwrap())).await.unwrap();
    stream.close().await.unwrap();
}

async fn all(tasks: Vec<tokio::task::JoinHandle<()>>) {
    for task in tasks {
        within(task).await.unwrap();
    }
}

/// Streams opened by both sides at a time, on a socket that takes `room` bytes.
async fn exchanges(role: Role, mode: Mode, room: usize, sizes: &[usize]) {
    let (ours, theirs) = tokio::io::duplex(room);
    let mut side: Side = Box::pin(config().muxer(ours.compat(), role));
    let (their_streams, mut to_them) = library(theirs, mode, sizes.len()).await;
    let mut tasks = Vec::new();
    for (seed, length) in sizes.iter().copied().enumerate() {
        tasks.push(tokio::spawn(ask(open(&mut side).await, seed, length)));
    }
    for ((seed, length), stream) in sizes.iter().copied().enumerate().zip(their_streams) {
        tasks.push(tokio::spawn(ask(stream, seed, length)));
    }
    let (_driver, mut to_us) = drive(side);
    for _ in sizes {
        tasks.push(tokio::spawn(answer(within(to_them.recv()).await.unwrap())));
        tasks.push(tokio::spawn(answer(within(to_us.recv()).await.unwrap())));
    }
    all(tasks).await;
}

#[tokio::test]
async fn exchanges_with_the_library_as_server() {
    exchanges(Role::Client, Mode::Server, 100, &SIZES[..7]).await;
    for room in [64 * 1024, 1024 * 1024] {
        exchanges(Role::Client, Mode::Server, room, &SIZES).await;
    }
}

#[tokio::test]
async fn exchanges_with_the_library_as_client() {
    exchanges(Role::Server, Mode::Client, 100, &SIZES[..7]).await;
    for room in [64 * 1024, 1024 * 1024] {
        exchanges(Role::Server, Mode::Client, room, &SIZES).await;
    }
}

#[tokio::test]
async fn the_library_hears_of_resets() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut side: Side = Box::pin(config().muxer(ours.compat(), Role::Client));
    let (_, mut to_them) = library(theirs, Mode::Server, 0).await;
    let mut asking = open(&mut side).await;
    drive(side);
    within(asking.write_all(b"hello")).await.unwrap();
    let mut theirs = within(to_them.recv()).await.unwrap();
    within(theirs.read_exact(&mut [0; 5])).await.unwrap();
    drop(asking);
    within(async move { while theirs.write_all(&[1; 1024]).await.is_ok() {} }).await;
}

#[tokio::test]
async fn the_library_drops_streams_and_we_hear_of_it() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let side: Side = Box::pin(config().muxer(ours.compat(), Role::Server));
    let (mut opened, _) = library(theirs, Mode::Client, 1).await;
    let (_driver, mut streams) = drive(side);
    let mut asking = opened.pop().unwrap();
    within(asking.write_all(b"hello")).await.unwrap();
    let mut stream = within(streams.recv()).await.unwrap();
    within(stream.read_exact(&mut [0; 5])).await.unwrap();
    drop(asking);
    let error = within(stream.read(&mut [0])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(within(stream.write(&[])).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn the_library_is_told_that_we_close() {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let mut side: Side = Box::pin(config().muxer(ours.compat(), Role::Client));
    let (_, mut to_them) = library(theirs, Mode::Server, 0).await;
    let mut stream = open(&mut side).await;
    within(stream.write_all(b"last words")).await.unwrap();
    within(poll_fn(|cx| side.as_mut().poll_close(cx))).await.unwrap();
    let mut theirs = within(to_them.recv()).await.unwrap();
    let mut words = [0; 10];
    within(theirs.read_exact(&mut words)).await.unwrap();
    assert_eq!(&words, b"last words");
    assert!(within(to_them.recv()).await.is_none());
    assert_eq!(within(stream.read(&mut [0])).await.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}
