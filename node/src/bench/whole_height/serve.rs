//! The server's side: reads a height from the store and sends it in one piece.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use lapis_protocol_spec::Height;
use lapis_storage::{Reader, Store, StoreError};
use libp2p::Stream;
use libp2p_stream::IncomingStreams;

use super::message::WholeHeight;
use crate::bench::plain::PlainError;

/// Answers one request after another: the client has one at a time.
pub(in crate::bench) async fn serve(mut streams: IncomingStreams, store: Store) {
    while let Some((_, stream)) = streams.next().await {
        if let Err(error) = answer(stream, store.clone()).await {
            // A client whose time is up leaves in the middle of an answer.
            tracing::debug!(error = &error as &dyn std::error::Error, "a height was not served");
        }
    }
}

async fn answer(mut stream: Stream, store: Store) -> Result<(), PlainError> {
    let mut height = [0; 8];
    stream.read_exact(&mut height).await?;
    let height = Height::from_le_bytes(height);
    let read = tokio::task::spawn_blocking(move || message(&store, height));
    let message = read.await.map_err(std::io::Error::other)?.map_err(std::io::Error::other)?;
    let length = u32::try_from(message.len()).map_err(|_| PlainError::TooLong(message.len() as u64))?;
    stream.write_all(&length.to_le_bytes()).await?;
    stream.write_all(&message).await?;
    Ok(stream.close().await?)
}

/// Empty if the height is not held.
fn message(store: &Store, height: Height) -> Result<Vec<u8>, StoreError> {
    Ok(read(&store.reader()?, height)?.map(|whole| whole.encode()).unwrap_or_default())
}

fn read(reader: &Reader, height: Height) -> Result<Option<WholeHeight>, StoreError> {
    let Some(decided) = reader.decided_value(height)? else { return Ok(None) };
    let Some(payload) = reader.payload(height)? else { return Ok(None) };
    let mut blobs = Vec::with_capacity(decided.value.blob_count());
    for index in 0..decided.value.blob_count() as u64 {
        let Some(blob) = reader.sidecar(height, index)? else { return Ok(None) };
        blobs.push(blob);
    }
    Ok(Some(WholeHeight { decided, payload, blobs }))
}
