//! The ceiling of serving: chunks framed beforehand, written to plain streams as fast as these take them.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Stream, StreamProtocol};
use libp2p_stream::IncomingStreams;
use tokio::task::{self, JoinSet};

use super::plain::{PlainClient, PlainError};

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/lapis-bench/stream/1");

/// Streams that are served at a time.
const MAX_STREAMS: usize = 16;
/// As large as that of a Lapis exchange.
const READ_BUFFER: usize = 64 * 1024;
/// Most chunks of one answer.
const MAX_CHUNKS: u64 = 4096;
/// Streams in a row that may end without a byte. `libp2p-stream` drops what comes in while its listener has not yet
/// taken the one before, as happens to several readers on a busy machine.
const MAX_DROPPED: usize = 1000;

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
    let (mut buffer, mut dropped) = (vec![0; READ_BUFFER], 0);
    loop {
        let stream = client.control.clone().open_stream(client.peer, PROTOCOL).await?;
        match read(stream, count, &mut buffer, &taken).await {
            Ok(1..) => dropped = 0,
            empty if dropped == MAX_DROPPED => return empty.and(Err(PlainError::Empty)),
            _ => {
                dropped += 1;
                task::yield_now().await;
            }
        }
    }
}

/// Bytes of one answer; those that came before a stream broke are in `taken` alone.
async fn read(mut stream: Stream, count: u64, buffer: &mut [u8], taken: &AtomicU64) -> Result<u64, PlainError> {
    stream.write_all(&count.to_le_bytes()).await?;
    stream.close().await?;
    let mut bytes = 0;
    loop {
        match stream.read(buffer).await? as u64 {
            0 => return Ok(bytes),
            read => {
                bytes += read;
                taken.fetch_add(read, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::{super::plain::PlainServer, *};

    const READERS: usize = 8;
    /// More than fits the window of a stream, so that an answer waits for its reader.
    const CHUNK: usize = 1024 * 1024;

    /// Answers one stream after the other: of those that come in meanwhile, all but one are dropped.
    async fn serve_slowly(mut streams: IncomingStreams) {
        let chunks = Arc::new(vec![vec![7; CHUNK]]);
        while let Some((_, stream)) = streams.next().await {
            let _ = answer(stream, Arc::clone(&chunks)).await;
        }
    }

    async fn read_some(client: Arc<PlainClient>) {
        let taken = Arc::new(AtomicU64::new(0));
        let enough = async {
            while taken.load(Ordering::Relaxed) < 2 * CHUNK as u64 {
                task::yield_now().await;
            }
        };
        tokio::select! {
            ended = take(&client, 1, Arc::clone(&taken)) => ended.unwrap(),
            () = enough => {}
        }
    }

    #[tokio::test]
    async fn readers_go_on_when_their_streams_are_dropped() {
        let server = PlainServer::bind().await.unwrap();
        let address = server.addresses[0].clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve_slowly(server.accept(PROTOCOL).unwrap()));
        tasks.spawn(server.run());
        let client = Arc::new(PlainClient::connect(&address).await.unwrap());
        (0..READERS).map(|_| read_some(Arc::clone(&client))).collect::<JoinSet<()>>().join_all().await;
    }

    #[tokio::test]
    async fn readers_end_when_nothing_ever_comes() {
        let server = PlainServer::bind().await.unwrap();
        let address = server.addresses[0].clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(server.accept(PROTOCOL).unwrap(), Vec::new()));
        tasks.spawn(server.run());
        let client = PlainClient::connect(&address).await.unwrap();
        let ended = take(&client, 1, Arc::new(AtomicU64::new(0))).await;
        assert!(matches!(ended, Err(PlainError::Empty)), "{ended:?}");
    }
}
