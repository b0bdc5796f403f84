//! From what an operator configures to what the parts are given.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use lapis_p2p::{Config as NetworkSettings, Discovery, Mdns, NearHead, limits::Quota};
use lapis_protocol_spec::{Genesis, Kzg, KzgSetupError, archive::Compression};
use lapis_storage::{PruneAllow, StoreConfig};

use super::{NodeOptions, StartError};
use crate::{
    archiver::ArchiverConfig,
    checkpoint::{self, Checkpoint},
    config::{
        ArchiveCompression, ArchiveConfig, BelowFloor, BlobRetention, ByteSize, Config, EngineKind,
        Pacing as PacingKind, PrunePolicy, SyncConfig as SyncSettings, TrustedSetupConfig,
    },
    import::ImportSettings,
    object_archive::S3Options,
    prune::Retention,
    sync::{
        PipelineConfig, SyncConfig, WatchdogConfig,
        scheduler::{Pacing, SchedulerConfig},
        trace::{TraceFile, TraceSink},
    },
};

/// Time between request starts in the Soma design.
const FIXED_GAP: Duration = Duration::from_millis(200);

pub(super) fn network(config: &Config) -> NetworkSettings {
    let network = &config.network;
    let mut settings = NetworkSettings {
        listen: network.listen.clone(),
        peers: network.peers.clone(),
        trusted: network.trusted_peers.clone(),
        discovery: Discovery {
            target_peers: network.target_peers,
            boot_nodes: network.boot_nodes.clone(),
            external_addresses: network.external_addresses.clone(),
            mdns: if network.mdns { Mdns::On } else { Mdns::Off },
            ..Discovery::default()
        },
        ..NetworkSettings::default()
    };
    let connections = &mut settings.limits.connections;
    connections.inbound = config.network.max_inbound_connections.get();
    connections.outbound = config.network.max_outbound_connections.get();
    connections.total = connections.inbound.saturating_add(connections.outbound);
    connections.per_peer = config.network.max_connections_per_peer.get();
    connections.per_ip = config.network.max_connections_per_ip.get();
    connections.pending_inbound = config.network.max_pending_inbound.get();
    let rates = &mut settings.limits.rates;
    rates.requests_per_peer = requests(config.limits.serve_requests_per_peer);
    rates.requests = requests(config.limits.serve_requests_total);
    rates.egress_kib_per_peer = kib(config.limits.serve_bytes_per_peer);
    rates.egress_kib = kib(config.limits.serve_bytes_total);
    rates.own_requests_per_peer = steady(config.limits.fetch_requests_per_peer);
    rates.own_requests = steady(config.limits.fetch_requests_total);
    rates.ingress_kib_per_peer = kib(config.limits.fetch_bytes_per_peer);
    rates.ingress_kib = kib(config.limits.fetch_bytes_total);
    rates.near_head = NearHead {
        heights: config.limits.near_head_heights.get(),
        share_percent: u8::try_from(config.limits.near_head_share.get()).unwrap_or(u8::MAX),
    };
    settings.limits.exchanges.inbound = config.limits.serve_exchanges_total.get();
    let minimum_rate = u32::try_from(config.limits.minimum_rate.as_u64()).unwrap_or(u32::MAX);
    settings.timeouts.minimum_rate = NonZeroU32::new(minimum_rate).unwrap_or(NonZeroU32::MIN);
    settings.timeouts.grace = config.limits.minimum_rate_grace;
    settings.timeouts.first_byte = config.sync.first_chunk_timeout;
    settings.timeouts.idle = config.sync.progress_timeout;
    settings
}

/// Where to start from, and whom to ask.
pub(super) fn checkpoint(checkpoint: Checkpoint, options: &NodeOptions) -> checkpoint::Request<'_> {
    let network = &options.config.network;
    checkpoint::Request {
        checkpoint,
        genesis: options.chain.genesis(),
        peers: network.peers.iter().chain(&network.boot_nodes).cloned().collect(),
        engine: match options.config.engine.kind {
            EngineKind::Embedded => checkpoint::Block::Needed,
            EngineKind::EngineApi | EngineKind::None => checkpoint::Block::NotNeeded,
        },
    }
}

/// A bucket that holds one second's worth: half of what a peer with the same settings takes at once.
const fn steady(per_second: NonZeroU32) -> Quota {
    Quota { per_second, burst: per_second }
}

/// A bucket that holds two seconds' worth.
fn requests(per_second: NonZeroU32) -> Quota {
    Quota { per_second, burst: per_second.saturating_mul(NonZeroU32::MIN.saturating_add(1)) }
}

/// A bucket of KiB that holds one second's worth. The limiter itself refuses one that is below a single item.
fn kib(bytes: ByteSize) -> Quota {
    let kib = u32::try_from(bytes.as_u64() / 1024).unwrap_or(u32::MAX);
    let per_second = NonZeroU32::new(kib).unwrap_or(NonZeroU32::MIN);
    Quota { per_second, burst: per_second }
}

pub(super) fn store(config: &Config) -> StoreConfig {
    StoreConfig {
        cache_bytes: usize::try_from(config.storage.cache.as_u64()).unwrap_or(usize::MAX),
        undecided_bytes: config.storage.undecided_cap.as_u64(),
        undecided_ttl: config.storage.undecided_ttl,
    }
}

/// Every node follows its peers, one with a local source too: that is how it catches up after it was away.
pub(super) fn sync(config: &Config) -> SyncConfig {
    let scheduler = SchedulerConfig {
        max_buffered_bytes: config.sync.max_buffered_bytes.as_u64(),
        max_request_bytes: config.sync.max_fetch_response_bytes.as_u64(),
        hedge_bytes: config.sync.hedge_bytes.as_u64(),
        max_heights_ahead: config.sync.max_heights_ahead.get(),
        max_loaded_heights: usize::try_from(config.sync.max_blocks_per_fetch.get()).unwrap_or(usize::MAX),
        pacing: match config.sync.pacing {
            PacingKind::Adaptive => Pacing::Adaptive,
            PacingKind::Fixed => Pacing::Fixed(FIXED_GAP),
        },
        follow: true,
        pool_head_start: config.engine.get_blobs_head_start,
    };
    let defaults = PipelineConfig::default();
    let threads = if config.verify.threads == 0 { defaults.threads } else { config.verify.threads };
    let watchdog = WatchdogConfig { rotate_after: config.sync.rotate_after, stuck_after: config.sync.unready_after };
    let pipeline = PipelineConfig { threads, max_batch: config.verify.batch.get(), ..defaults };
    SyncConfig { scheduler, pipeline, watchdog }
}

/// The trace to record, if any.
pub(super) fn trace(config: &SyncSettings) -> Result<Option<Box<dyn TraceSink>>, StartError> {
    let Some(path) = &config.record_trace else { return Ok(None) };
    let file = TraceFile::create(path, config.record_trace_bytes.as_u64());
    let file = file.map_err(|source| StartError::Trace { path: path.clone(), source })?;
    tracing::info!(path = %path.display(), "recording a trace of the sync");
    Ok(Some(Box::new(file)))
}

pub(super) fn retention(config: &Config, genesis: &Genesis) -> Retention {
    let network_heights = genesis.blob_retention_heights;
    Retention {
        blob_heights: match config.retention.blob_heights {
            BlobRetention::Genesis => Some(network_heights),
            BlobRetention::Heights(heights) => Some(heights.get()),
            BlobRetention::All => None,
        },
        network_heights,
        waive_below_network: config.retention.below_floor == BelowFloor::WithoutBlobs,
        allow: match config.retention.prune {
            PrunePolicy::AfterImport => PruneAllow::Imported,
            PrunePolicy::AfterArchive => PruneAllow::Archived,
        },
    }
}

pub(super) fn import(options: &NodeOptions) -> ImportSettings {
    let engine = &options.config.engine;
    ImportSettings {
        batch: engine.catch_up_batch,
        check_interval: engine.check_interval,
        longest_retry: engine.longest_retry,
        evidence: options.evidence_path.clone(),
    }
}

pub(super) fn archiver(config: &ArchiveConfig) -> ArchiverConfig {
    ArchiverConfig {
        heights_per_file: config.heights_per_file,
        compression: match config.compression {
            ArchiveCompression::None => Compression::None,
            ArchiveCompression::Zstd => Compression::Zstd,
        },
    }
}

/// How S3-compatible services are reached.
pub(super) fn s3(config: &ArchiveConfig) -> S3Options {
    S3Options {
        endpoint: config.s3_endpoint.clone(),
        region: config.s3_region.clone(),
        allow_http: config.s3_allow_http,
        credentials: None,
    }
}

/// Why the trusted setup cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The file cannot be read.
    #[error("trusted_setup.path {path}: {source}")]
    Read {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The setup cannot be used.
    #[error(transparent)]
    Setup(#[from] KzgSetupError),
}

/// Loads the trusted setup that is configured. Takes about a second.
///
/// # Errors
/// [`SetupError`].
pub fn load_kzg(config: &TrustedSetupConfig) -> Result<Arc<Kzg>, SetupError> {
    let Some(path) = &config.path else { return Ok(Arc::new(Kzg::mainnet()?)) };
    let json = std::fs::read(path).map_err(|source| SetupError::Read { path: path.clone(), source })?;
    let expected = config
        .sha256
        .map_or_else(|| lapis_protocol_spec::kzg::TRUSTED_SETUP_SHA256.to_owned(), |hash| hash.to_string());
    Ok(Arc::new(Kzg::from_json(&json, &expected)?))
}
