//! The client's side: ask, check, store, one height after the other.

use std::{sync::Arc, time::Instant};

use futures::{AsyncReadExt, AsyncWriteExt};
use lapis_protocol_spec::{ChainLink, Genesis, Height, IdentifiedValue, Kzg, Matched};
use lapis_storage::{Batch, Store};

use super::{
    PROTOCOL,
    message::{MAX_BYTES, WholeHeight},
};
use crate::bench::{
    error::BenchError,
    plain::{PlainClient, PlainError},
};

/// Bytes reserved before any have come.
const FIRST_RESERVE: usize = 64 * 1024;

/// What all heights are checked and stored with.
struct Sink {
    genesis: Genesis,
    kzg: Arc<Kzg>,
    store: Store,
}

/// Fetches the heights up to `target`, or as many as are stored by `deadline`. Returns the bytes that came.
pub(in crate::bench) async fn sync(
    client: &PlainClient,
    (genesis, kzg, store): (Genesis, Arc<Kzg>, Store),
    target: Height,
    deadline: Instant,
) -> Result<u64, BenchError> {
    let mut link = ChainLink::genesis(&genesis);
    let sink = Arc::new(Sink { genesis, kzg, store });
    let mut received = 0;
    while link.height < target && Instant::now() < deadline {
        let Ok(message) = tokio::time::timeout_at(deadline.into(), fetch(client, link.height + 1)).await else { break };
        let message = message?;
        received += message.len() as u64;
        let sink = Arc::clone(&sink);
        link = tokio::task::spawn_blocking(move || sink.take(&message, &link)).await??;
    }
    Ok(received)
}

async fn fetch(client: &PlainClient, height: Height) -> Result<Vec<u8>, PlainError> {
    let mut stream = client.control.clone().open_stream(client.peer, PROTOCOL).await?;
    stream.write_all(&height.to_le_bytes()).await?;
    stream.close().await?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let length = u64::from(u32::from_le_bytes(length));
    if length > MAX_BYTES as u64 {
        return Err(PlainError::TooLong(length));
    }
    let mut message = Vec::with_capacity(FIRST_RESERVE);
    // Grows with what comes.
    stream.take(length).read_to_end(&mut message).await?;
    if message.len() as u64 == length { Ok(message) } else { Err(PlainError::Malformed) }
}

impl Sink {
    /// The gates of Lapis, over the height as a whole, and two durable transactions.
    fn take(&self, message: &[u8], link: &ChainLink) -> Result<ChainLink, BenchError> {
        let malformed = || BenchError::Plain(PlainError::Malformed);
        let WholeHeight { decided, payload, blobs } = WholeHeight::decode(message)?;
        let (id, max) = (self.genesis.id(), self.genesis.max_blobs_per_block);
        let decided = decided.verify(&id, max, link, &self.genesis.validators).map_err(|_| malformed())?;
        let value = IdentifiedValue::new(Arc::new(decided.value.clone()));
        let matched = Matched::payload(payload, &value).map_err(|_| malformed())?;
        let payload = matched.verify().map_err(|_| malformed())?;
        let blobs: Result<Vec<_>, _> =
            (0_u64..).zip(blobs).map(|(index, blob)| Ok(((), Matched::blob(blob, &value, index)?))).collect();
        let blobs = blobs.map_err(|_: lapis_protocol_spec::gates::MatchFault| malformed())?;
        let outcome = self.kzg.verify_batch(blobs);
        if outcome.verified.len() != value.value().blob_count() {
            return Err(malformed());
        }
        self.store.mark_decided(&[decided])?;
        let blobs = outcome.verified.into_iter().map(|((), blob)| blob).collect();
        self.store.insert(Batch { payloads: vec![payload], blobs })?;
        Ok(ChainLink::after(value.value(), *value.id()))
    }
}
