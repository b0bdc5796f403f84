//! A process that serves: some peers and a plain libp2p server, all on one store.
//!
//! Peers serve as a node does, by [`StoreProvider`]; nothing else of a node runs. They share a store, since a store takes
//! one process at a time and copies of it would only take disk.

use std::sync::Arc;

use lapis_p2p::{ChunkBuffer, Events, Handle, Provider, Service};
use lapis_protocol_spec::{Bytes32, Height, Method, Status};
use lapis_storage::{Store, StoreConfig, StoreError};
use libp2p::{Multiaddr, identity::Keypair};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{
    error::BenchError,
    job::{ServeJob, Serving},
    liar::Liar,
    limits::unthrottled,
    plain::{PlainServer, listen_addresses},
    stream, whole_height,
};
use crate::{
    feed::WatermarkFeed,
    genesis_file,
    metrics::Metrics,
    repair::{RepairRequests, Repairer},
    serve::StoreProvider,
};

/// Chunks that the plain server sends again and again: more than a processor's caches hold.
const PLAIN_CHUNKS: usize = 128;

/// Everything that serves; it ends when this is dropped.
pub(super) struct Server {
    pub(super) serving: Serving,
    /// Kept, since a peer whose events nobody takes stops.
    _peers: Vec<(Handle, Events)>,
    _tasks: JoinSet<()>,
}

impl Server {
    pub(super) async fn start(job: &ServeJob) -> Result<Self, BenchError> {
        let genesis = genesis_file::load(&job.genesis)?;
        let store = Store::open(&job.store, &genesis, StoreConfig::default())?;
        let mut tasks = JoinSet::new();
        let plain = plain(&store, &mut tasks).await?;
        let repairs = repairs(&store, &mut tasks);
        let (mut peers, mut addresses) = (Vec::new(), Vec::new());
        for number in 0..job.honest.saturating_add(job.liars) {
            let honest = StoreProvider::new(store.clone(), repairs.clone());
            let provider: Arc<dyn Provider> =
                if number < job.honest { Arc::new(honest) } else { Arc::new(Liar { store: store.clone(), honest }) };
            let (handle, events) = peer(genesis.id(), status(&store)?, provider, &mut tasks).await?;
            addresses.push(handle.listen_addresses());
            peers.push((handle, events));
        }
        Ok(Self { serving: Serving { peers: addresses, plain }, _peers: peers, _tasks: tasks })
    }
}

/// What damaged rows would be reported to.
fn repairs(store: &Store, tasks: &mut JoinSet<()>) -> RepairRequests {
    let metrics = Metrics::register(&mut Registry::default());
    let (repairer, requests, _) = Repairer::new(store.clone(), WatermarkFeed::new(store.clone()), metrics);
    tasks.spawn(async {
        let Ok(()) = repairer.run(CancellationToken::new()).await;
    });
    requests
}

async fn peer(
    genesis_id: Bytes32,
    status: Status,
    provider: Arc<dyn Provider>,
    tasks: &mut JoinSet<()>,
) -> Result<(Handle, Events), BenchError> {
    let config = unthrottled(listen_addresses().to_vec());
    let key = Keypair::generate_ed25519();
    let (mut service, handle, events) = Service::new(config, &key, genesis_id, provider, &mut Registry::default())?;
    service.bind().await?;
    handle.set_status(status);
    tasks.spawn(async {
        // Nobody stops it: it ends with the process, and if it fails the client tells.
        let _ = service.run(CancellationToken::new()).await;
    });
    Ok((handle, events))
}

/// What a node that holds everything says of itself.
fn status(store: &Store) -> Result<Status, StoreError> {
    let (tip, marks) = (store.tip()?, store.watermarks());
    Ok(Status {
        decided_height: tip.height,
        decided_value_id: tip.value_id,
        available_height: marks.available,
        earliest_value_height: marks.earliest_value,
        earliest_payload_height: marks.earliest_payload,
        earliest_blob_height: marks.earliest_blob,
        ..Status::default()
    })
}

async fn plain(store: &Store, tasks: &mut JoinSet<()>) -> Result<Vec<Multiaddr>, BenchError> {
    let server = PlainServer::bind().await?;
    let addresses = server.addresses.clone();
    tasks.spawn(stream::serve(server.accept(stream::PROTOCOL)?, chunks(store)?));
    tasks.spawn(whole_height::serve(server.accept(whole_height::PROTOCOL)?, store.clone()));
    tasks.spawn(server.run());
    Ok(addresses)
}

/// The first sidecars of the store as they go over the wire.
fn chunks(store: &Store) -> Result<Vec<Vec<u8>>, BenchError> {
    let (reader, mut out, mut chunks) = (store.reader()?, ChunkBuffer::new(Method::BlobsByRange), Vec::new());
    for height in 1..=store.watermarks().available {
        let count = reader.identified_value(height)?.map_or(0, |value| value.value().blob_count());
        for index in 0..count as u64 {
            if chunks.len() < PLAIN_CHUNKS {
                chunks.push(chunk(&reader, (height, index), &mut out)?);
            }
        }
        if chunks.len() >= PLAIN_CHUNKS {
            break;
        }
    }
    if chunks.is_empty() { Err(BenchError::Nothing("serving")) } else { Ok(chunks) }
}

fn chunk(
    reader: &lapis_storage::Reader,
    (height, index): (Height, u64),
    out: &mut ChunkBuffer,
) -> Result<Vec<u8>, BenchError> {
    let encoded = reader.with_sidecar(height, index, |parts| out.encode(parts))?;
    encoded.and_then(Result::ok).ok_or(BenchError::Framing)?;
    Ok(out.bytes().to_vec())
}
