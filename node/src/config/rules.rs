//! What the types of the keys cannot say: bounds and values that must go together.

use std::{num::NonZeroU32, time::Duration};

use bytesize::ByteSize;
use lapis_protocol_spec::{
    BYTES_PER_BLOB, Genesis, MAX_CONCURRENT_REQUESTS, MAX_PAYLOAD_BYTES, archive::MAX_INDEX_HEIGHTS,
};
use libp2p::{Multiaddr, multiaddr::Protocol};
use reqwest::Url;

use super::{
    ArchiveConfig, BelowFloor, BlobRetention, Config, EngineConfig, EngineKind, HttpConfig, LimitsConfig,
    NetworkConfig, PrunePolicy, RetentionConfig, StorageConfig, SyncConfig, VerifyConfig,
};
use crate::{
    object_archive::{MAX_PARTS, TRANSFER_BYTES},
    telemetry,
};

/// A sidecar (a blob, its place, its commitment and its proof) in whole KiB, the unit of the limiter.
const SIDECAR: ByteSize = ByteSize((BYTES_PER_BLOB as u64 + 112).next_multiple_of(1024));
/// Most threads that can be asked for: more than the largest machines have.
const MAX_THREADS: usize = 1024;
/// Most blobs of a batch: splitting a larger one to find a culprit would take seconds.
const MAX_BATCH: usize = 1024;
/// Most bytes of one archive: what can be uploaded in parts, with room for payloads.
const MAX_ARCHIVE_BYTES: ByteSize = ByteSize(MAX_PARTS * TRANSFER_BYTES as u64 / 2);
/// Highest rate that peers can be required to keep: above it the links of many honest ones are.
const MAX_MINIMUM_RATE: ByteSize = ByteSize::mib(100);
/// Peers are exchanged no more often: a peer that comes needs a while to show what it is worth.
const LEAST_ROTATION: Duration = Duration::from_secs(1);
/// Least cache that the database works with.
const MIN_CACHE: ByteSize = ByteSize::mib(1);

/// A rule that a configuration breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Group of the key to change.
    pub group: &'static str,
    /// The key to change.
    pub key: &'static str,
    /// The rule, for people.
    pub reason: String,
}

type Outcome = Result<(), Broken>;

/// Checks everything that does not depend on the chain.
pub(super) fn check(config: &Config) -> Outcome {
    network(&config.network)?;
    limits(&config.limits)?;
    sync(&config.sync)?;
    checkpoint(config)?;
    verify(&config.verify)?;
    storage(&config.storage)?;
    archive(&config.archive)?;
    engine(&config.engine)?;
    http(&config.http)?;
    retention(&config.retention, &config.archive)?;
    let filter = telemetry::check_filter(&config.log.filter);
    filter.map_err(|error| broken("log", "filter", format!("it is not a log filter ({error})")))?;
    let setup = &config.trusted_setup;
    match (&setup.path, &setup.sha256) {
        (Some(_), None) => Err(broken("trusted_setup", "sha256", "it must be given together with trusted_setup.path")),
        (None, Some(_)) => Err(broken("trusted_setup", "path", "it must be given together with trusted_setup.sha256")),
        (Some(_), Some(_)) | (None, None) => Ok(()),
    }
}

/// Checks what depends on the chain.
pub(super) fn check_against(config: &Config, genesis: &Genesis) -> Outcome {
    let required = genesis.blob_retention_heights;
    if let BlobRetention::Heights(heights) = config.retention.blob_heights
        && heights.get() < required
    {
        let reason = format!("every node of this chain keeps blobs for at least {required} heights");
        return Err(broken("retention", "blob_heights", reason));
    }
    let height = ByteSize(genesis.max_blobs_per_block.saturating_mul(SIDECAR.as_u64()));
    let heights = MAX_ARCHIVE_BYTES.as_u64() / height.as_u64().max(1);
    if config.archive.heights_per_file.get() > heights {
        let reason =
            format!("with the blobs of this chain it must be at most {heights}, so that an archive can be uploaded");
        return Err(broken("archive", "heights_per_file", reason));
    }
    at_least("storage", "undecided_cap", config.storage.undecided_cap, height, "the blobs of one height")
}

fn checkpoint(config: &Config) -> Outcome {
    let nobody = config.network.peers.is_empty() && config.network.boot_nodes.is_empty();
    if config.sync.checkpoint.is_some() && nobody {
        return Err(broken("sync", "checkpoint", "network.peers or network.boot_nodes must say whom to ask for it"));
    }
    Ok(())
}

fn network(config: &NetworkConfig) -> Outcome {
    let groups = [
        ("listen", &config.listen),
        ("peers", &config.peers),
        ("boot_nodes", &config.boot_nodes),
        ("external_addresses", &config.external_addresses),
    ];
    for (key, addresses) in groups {
        if let Some(address) = addresses.iter().find(|address| !has_transport(address)) {
            let reason = format!("{address} names no transport of ours: it needs /tcp/PORT or /udp/PORT/quic-v1");
            return Err(broken("network", key, reason));
        }
    }
    if let Some(address) = config.external_addresses.iter().find(|address| !is_reachable(address)) {
        let reason = format!("{address} is not an IP address and port that others can dial");
        return Err(broken("network", "external_addresses", reason));
    }
    let all = config.max_outbound_connections.saturating_add(config.max_inbound_connections.get());
    if config.target_peers > all.get() {
        let reason = format!("it must not be above the number of connections there may be in all, which is {all}");
        return Err(broken("network", "target_peers", reason));
    }
    Ok(())
}

/// Whether an address says where a node is: peers look up no names of others, and 0 is neither a host nor a port.
fn is_reachable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified(),
        _ => false,
    };
    host && !matches!(parts.next(), Some(Protocol::Tcp(0) | Protocol::Udp(0)))
}

fn http(config: &HttpConfig) -> Outcome {
    if !config.admin_listen.ip().is_loopback() {
        let reason = "it must be a loopback address such as 127.0.0.1:9652: there is no authentication";
        return Err(broken("http", "admin_listen", reason));
    }
    Ok(())
}

fn has_transport(address: &Multiaddr) -> bool {
    let mut parts = address.iter().skip(1);
    match parts.next() {
        Some(Protocol::Tcp(_)) => true,
        Some(Protocol::Udp(_)) => matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    }
}

fn limits(config: &LimitsConfig) -> Outcome {
    let requests = |key, peer: NonZeroU32, total: NonZeroU32, total_key| {
        ordered("limits", key, u64::from(peer.get()), u64::from(total.get()), total_key, total.to_string())
    };
    let (serve, fetch) = ("serve_requests_total", "fetch_requests_total");
    requests("serve_requests_per_peer", config.serve_requests_per_peer, config.serve_requests_total, serve)?;
    requests("fetch_requests_per_peer", config.fetch_requests_per_peer, config.fetch_requests_total, fetch)?;
    let bytes = |key, peer: ByteSize, total: ByteSize, total_key| {
        at_least("limits", key, peer, SIDECAR, "one blob with its proof")?;
        ordered("limits", key, peer.as_u64(), total.as_u64(), total_key, total.to_string())
    };
    bytes("serve_bytes_per_peer", config.serve_bytes_per_peer, config.serve_bytes_total, "serve_bytes_total")?;
    bytes("fetch_bytes_per_peer", config.fetch_bytes_per_peer, config.fetch_bytes_total, "fetch_bytes_total")?;
    if config.near_head_share.get() > 99 {
        return Err(broken("limits", "near_head_share", "it must be at most 99, so that others are served too"));
    }
    at_least("limits", "minimum_rate", config.minimum_rate, ByteSize(1), "one byte per second")?;
    if config.minimum_rate > MAX_MINIMUM_RATE {
        let reason = format!("it must be at most {MAX_MINIMUM_RATE}: faster peers would be cut off");
        return Err(broken("limits", "minimum_rate", reason));
    }
    let (least, key) = (MAX_CONCURRENT_REQUESTS, "serve_exchanges_total");
    if (config.serve_exchanges_total.get() as usize) < least {
        return Err(broken("limits", key, format!("it must be at least {least}, what one peer may ask at a time")));
    }
    Ok(())
}

fn sync(config: &SyncConfig) -> Outcome {
    let payload = ByteSize(MAX_PAYLOAD_BYTES as u64);
    at_least("sync", "max_buffered_bytes", config.max_buffered_bytes, payload, "the largest payload")?;
    at_least("sync", "max_fetch_response_bytes", config.max_fetch_response_bytes, SIDECAR, "one blob with its proof")?;
    at_least("sync", "record_trace_bytes", config.record_trace_bytes, ByteSize::mib(1), "a second of a busy node")?;
    let quarter = ByteSize(config.max_buffered_bytes.as_u64() / 4);
    if config.hedge_bytes > quarter {
        let reason = format!("it must not be above a quarter of sync.max_buffered_bytes, which is {quarter}");
        return Err(broken("sync", "hedge_bytes", reason));
    }
    if config.rotate_after < LEAST_ROTATION {
        return Err(broken("sync", "rotate_after", format!("it must be at least {LEAST_ROTATION:?}")));
    }
    if config.unready_after <= config.rotate_after {
        let reason = "it must be longer than sync.rotate_after: other peers are to be tried first";
        return Err(broken("sync", "unready_after", reason));
    }
    Ok(())
}

fn verify(config: &VerifyConfig) -> Outcome {
    at_most("threads", config.threads, MAX_THREADS)?;
    at_most("batch", config.batch.get(), MAX_BATCH)
}

fn storage(config: &StorageConfig) -> Outcome {
    at_least("storage", "cache", config.cache, MIN_CACHE, "the least that the database works with")
}

fn retention(config: &RetentionConfig, archive: &ArchiveConfig) -> Outcome {
    if config.prune != PrunePolicy::AfterArchive {
        return Ok(());
    }
    if archive.upload_to.is_none() {
        let reason = "\"after-archive\" needs archive.upload_to: without an archive nothing would ever be pruned";
        return Err(broken("retention", "prune", reason));
    }
    // Whatever lies below the floor that moves then is deleted, archived or not.
    if config.below_floor == BelowFloor::WithoutBlobs {
        let reason = "with retention.prune = \"after-archive\" it must be \"require-blobs\": what is given up unseen is \
                      never archived";
        return Err(broken("retention", "below_floor", reason));
    }
    Ok(())
}

fn archive(config: &ArchiveConfig) -> Outcome {
    if config.heights_per_file.get() > MAX_INDEX_HEIGHTS {
        let reason = format!("it must be at most {MAX_INDEX_HEIGHTS}");
        return Err(broken("archive", "heights_per_file", reason));
    }
    let plain = config.s3_endpoint.as_ref().is_some_and(|url| url.starts_with("http://"));
    if plain && !config.s3_allow_http {
        let reason = "it is not https; set archive.s3_allow_http if that is meant";
        return Err(broken("archive", "s3_endpoint", reason));
    }
    Ok(())
}

/// Longest time that new blobs may be kept from peers.
const LONGEST_HEAD_START: Duration = Duration::from_secs(10);

fn engine(config: &EngineConfig) -> Outcome {
    if let Some(url) = &config.url {
        let plain = |url: &Url| url.scheme() == "http" && url.has_host() && url.username().is_empty();
        if Url::parse(url).ok().filter(|url| plain(url) && url.password().is_none()).is_none() {
            let reason = format!("{url:?} is not a URL such as \"http://127.0.0.1:8551\", without TLS and password");
            return Err(broken("engine", "url", reason));
        }
    }
    if config.get_blobs_head_start > LONGEST_HEAD_START {
        let reason = format!("it must be at most {LONGEST_HEAD_START:?}: peers are not asked meanwhile");
        return Err(broken("engine", "get_blobs_head_start", reason));
    }
    if config.kind == EngineKind::EngineApi {
        if config.url.is_none() {
            return Err(broken("engine", "url", "engine.kind = \"engine-api\" needs the execution client's URL"));
        }
        if config.jwt_secret.is_none() {
            let reason = "engine.kind = \"engine-api\" needs the file with the execution client's secret";
            return Err(broken("engine", "jwt_secret", reason));
        }
    }
    Ok(())
}

fn at_most(key: &'static str, value: usize, limit: usize) -> Outcome {
    if value > limit { Err(broken("verify", key, format!("it must be at most {limit}"))) } else { Ok(()) }
}

fn at_least(group: &'static str, key: &'static str, value: ByteSize, least: ByteSize, what: &str) -> Outcome {
    if value < least { Err(broken(group, key, format!("it must be at least {least} ({what})"))) } else { Ok(()) }
}

fn ordered(group: &'static str, key: &'static str, value: u64, bound: u64, bound_key: &str, shown: String) -> Outcome {
    if value > bound {
        return Err(broken(group, key, format!("it must not be above {group}.{bound_key}, which is {shown}")));
    }
    Ok(())
}

fn broken(group: &'static str, key: &'static str, reason: impl Into<String>) -> Broken {
    Broken { group, key, reason: reason.into() }
}
