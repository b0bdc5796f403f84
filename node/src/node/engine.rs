//! The configured engine, and where it starts.

use std::sync::Arc;

use lapis_storage::Store;
use prometheus_client::registry::Registry;
use reqwest::Url;

use super::{NodeOptions, StartError};
use crate::{
    chain::Chain,
    config::EngineKind,
    execution::{
        Embedded, ExecutionEngine, ForkSchedule, Head, ImportBlock, NoEngine,
        embedded::head_at,
        engine_api::{CallObserver, ClientEngine, EngineApi, EngineApiSettings, JwtSecret},
    },
    sync::pool::BlobPool,
};

/// An engine, and the blob pool behind it if sync is to ask one.
type EngineAndPool = (Box<dyn ExecutionEngine>, Option<Arc<dyn BlobPool>>);

/// The execution client that is configured, if one is. To be made first of all: a secret that cannot be used is found
/// before anything is bound or written.
pub(super) fn client(options: &NodeOptions, registry: &mut Registry) -> Result<Option<EngineApi>, StartError> {
    let config = &options.config.engine;
    if config.kind != EngineKind::EngineApi {
        return Ok(None);
    }
    let url = config.url.as_deref().and_then(|url| Url::parse(url).ok()).ok_or(StartError::NoEngineUrl)?;
    let secret = JwtSecret::from_file(config.jwt_secret.as_deref().ok_or(StartError::NoEngineUrl)?)?;
    let settings = EngineApiSettings {
        url,
        secret,
        payload_timeout: config.payload_timeout,
        call_timeout: config.call_timeout,
        max_blobs: usize::try_from(options.chain.genesis().max_blobs_per_block).unwrap_or(usize::MAX),
    };
    Ok(Some(EngineApi::new(settings, CallObserver::register(registry))?))
}

/// The configured engine: the client, or one in this process at the head that the store kept for it.
pub(super) fn engine(
    options: &NodeOptions,
    client: Option<EngineApi>,
    store: &Store,
) -> Result<EngineAndPool, StartError> {
    Ok(match options.config.engine.kind {
        EngineKind::None => (Box::new(NoEngine), None),
        EngineKind::EngineApi => {
            let forks = ForkSchedule::from(options.chain.genesis());
            let engine = ClientEngine::new(client.ok_or(StartError::NoEngineUrl)?, forks);
            let pool = options.config.engine.get_blobs.then(|| Arc::new(engine.pool()) as Arc<dyn BlobPool>);
            (Box::new(engine), pool)
        }
        EngineKind::Embedded => (Box::new(Embedded::new(embedded_head(options, store)?)), None),
    })
}

fn embedded_head(options: &NodeOptions, store: &Store) -> Result<Head, StartError> {
    let kept = store.engine_head()?.map(|bytes| Head::from_bytes(&bytes)).transpose()?;
    let imported = store.watermarks().imported;
    // A node that ran with another engine meanwhile has moved on from what this one kept.
    match kept.filter(|head| head.height == imported) {
        Some(head) => Ok(head),
        None => first_head(&options.chain, store),
    }
}

/// Where the embedded engine starts that has kept nothing yet: at genesis, or at what another engine imported last.
fn first_head(chain: &Chain, store: &Store) -> Result<Head, StartError> {
    let genesis = chain.genesis();
    let imported = store.watermarks().imported;
    if imported == 0 {
        return Ok(Head::genesis(genesis.execution_block_hash.0.into(), genesis.genesis_time));
    }
    let found = store.get_for_import(imported)?.ok_or(StartError::NoImportedBlock(imported))?;
    let block = ImportBlock::new(&found.decided.value, &found.payload, ForkSchedule::from(genesis));
    Ok(head_at(&block.map_err(|_| StartError::NoImportedBlock(imported))?)?)
}
