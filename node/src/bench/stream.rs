//! The ceiling of serving: chunks framed beforehand, written to plain streams as fast as these take them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::IncomingStreams;
use tokio::task::JoinSet;

use super::plain::{PlainClient, PlainError};

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/lapis-bench/stream/1");

/// Streams that are served at a time.
const MAX_STREAMS: usize = 16;
/// As large as that of a Lapis exchange.
const READ_BUFFER: usize = 64 * 1024;
/// Most chunks of one answer.
const MAX_CHUNKS: u64 = 4096;

/// Writes chunks to whoever opens a stream and says how many.
pub(super) async fn serve(mut streams: IncomingStreams, chunks: Vec<Vec<u8>>) {
    let chunks = Arc::new(chunks);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            stream = streams.next(), if tasks.len() < MAX_STREAMS => match stream {
                Some((_, stream)) => {
                    tasks.spawn(answer(stream, Arc::clone(&chunks)));
                }
                None => return,
            },
            // A reader that left is no news.
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn answer(mut stream: Stream, chunks: Arc<Vec<Vec<u8>>>) -> Result<(), PlainError> {
    let mut count = [0; 8];
    stream.read_exact(&mut count).await?;
    let count = u64::from_le_bytes(count).min(MAX_CHUNKS);
    for (_, chunk) in (0..count).zip(chunks.iter().cycle()) {
        stream.write_all(chunk).await?;
    }
    Ok(stream.close().await?)
}

/// Reads answers of `count` chunks, one after another, for ever; adds their bytes to `taken`.
pub(super) async fn take(client: &PlainClient, count: u64, taken: Arc<AtomicU64>) -> Result<(), PlainError> {
    let (mut control, mut buffer) = (client.control.clone(), vec![0; READ_BUFFER]);
    loop {
        let mut stream = control.open_stream(client.peer, PROTOCOL).await?;
        stream.write_all(&count.to_le_bytes()).await?;
        stream.close().await?;
        let before = taken.load(Ordering::Relaxed);
        loop {
            match stream.read(&mut buffer).await? {
                0 => break,
                read => taken.fetch_add(read as u64, Ordering::Relaxed),
            };
        }
        if taken.load(Ordering::Relaxed) == before {
            return Err(PlainError::Empty);
        }
    }
}
