//! The keys. Names, types, defaults and descriptions are declared here and nowhere else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use clap::ValueEnum;
use lapis_protocol_spec::Bytes32;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{
    declare::{configuration, group},
    setting::{Raw, Setting, choice},
};

/// Port of the network, TCP and UDP.
const NETWORK_PORT: u16 = 9650;
/// Port of HTTP.
const HTTP_PORT: u16 = 9651;

/// A number that is known not to be zero when the program is built.
macro_rules! nonzero {
    ($Type:ty, $number:literal) => {
        const {
            match <$Type>::new($number) {
                Some(number) => number,
                None => <$Type>::MIN,
            }
        }
    };
}

configuration! {
    /// The configuration of a node.
    pub struct Config {
        /// Addresses, peers and connections.
        pub network: NetworkConfig,
        /// What peers may ask of us and we of them.
        pub limits: LimitsConfig,
        /// Fetching what other nodes have.
        pub sync: SyncConfig,
        /// Checking blobs.
        pub verify: VerifyConfig,
        /// The store.
        pub storage: StorageConfig,
        /// How long data is kept.
        pub retention: RetentionConfig,
        /// Where payloads go.
        pub engine: EngineConfig,
        /// Metrics, health and status over HTTP.
        pub http: HttpConfig,
        /// What the program writes about itself.
        pub log: LogConfig,
        /// The constants that blobs are verified with.
        pub trusted_setup: TrustedSetupConfig,
    }
}

group! {
    /// Addresses, peers and connections.
    pub struct NetworkConfig {
        /// Addresses to listen on: TCP, and QUIC over UDP.
        pub listen: Vec<Multiaddr> = default_listen(),
        /// Peers to stay connected with. An address may end with /p2p/PEER_ID, which makes sure who answers.
        pub peers: Vec<Multiaddr> = Vec::new(),
        /// Peers whose faults are reported, but never punished.
        pub trusted_peers: Vec<PeerId> = Vec::new(),
        /// Most connections that peers have opened to us.
        pub max_inbound_connections: NonZeroU32 = nonzero!(NonZeroU32, 100),
        /// Most connections that we have opened to peers.
        pub max_outbound_connections: NonZeroU32 = nonzero!(NonZeroU32, 50),
        /// Most inbound connections whose handshake is under way.
        pub max_pending_inbound: NonZeroU32 = nonzero!(NonZeroU32, 32),
        /// Most connections to one peer. Two, since both sides may dial at once.
        pub max_connections_per_peer: NonZeroU32 = nonzero!(NonZeroU32, 2),
        /// A connection without any exchange is closed after this time, unless it is to one of "peers".
        pub idle_timeout: Duration = Duration::from_secs(60),
        /// How often heights are exchanged with each peer, apart from announcements.
        pub status_interval: Duration = Duration::from_secs(10),
    }
}

group! {
    /// Requests and bytes per second. "serve" is what peers get from us, "fetch" is what we ask of them.
    /// Who is over a limit waits; nothing is refused.
    pub struct LimitsConfig {
        /// Requests per second that one peer is answered.
        pub serve_requests_per_peer: NonZeroU32 = nonzero!(NonZeroU32, 20),
        /// Requests per second that all peers together are answered.
        pub serve_requests_total: NonZeroU32 = nonzero!(NonZeroU32, 200),
        /// Bytes per second that one peer is sent.
        pub serve_bytes_per_peer: ByteSize = ByteSize::mib(32),
        /// Bytes per second that all peers together are sent.
        pub serve_bytes_total: ByteSize = ByteSize::mib(128),
        /// Requests per second that we send to one peer.
        pub fetch_requests_per_peer: NonZeroU32 = nonzero!(NonZeroU32, 20),
        /// Requests per second that we send to all peers together.
        pub fetch_requests_total: NonZeroU32 = nonzero!(NonZeroU32, 400),
        /// Bytes per second that we take from one peer.
        pub fetch_bytes_per_peer: ByteSize = ByteSize::mib(128),
        /// Bytes per second that we take from all peers together.
        pub fetch_bytes_total: ByteSize = ByteSize::mib(512),
    }
}

group! {
    /// Fetching what other nodes have.
    pub struct SyncConfig {
        /// Most bytes in memory that were received and are not stored yet. Reading from peers pauses at it.
        pub max_buffered_bytes: ByteSize = ByteSize::mib(64),
        /// Most heights that are stored ahead of import.
        pub max_heights_ahead: NonZeroU64 = nonzero!(NonZeroU64, 1000),
        /// Most bytes of payloads and blobs that are stored ahead of import.
        pub max_bytes_ahead: ByteSize = ByteSize::gib(4),
        /// How requests are spread over time. "adaptive": each peer has as much in flight as it delivers.
        pub pacing: Pacing = Pacing::Adaptive,
        /// Longest wait for the first chunk of a response.
        pub first_chunk_timeout: Duration = Duration::from_secs(10),
        /// Longest time without any byte within a response.
        pub progress_timeout: Duration = Duration::from_secs(10),
        /// Commands that wait for the sync engine; further ones wait with their senders.
        pub mailbox_capacity: NonZeroUsize = nonzero!(NonZeroUsize, 50),
        /// Decided heights that a follower inside the node may lag behind before it looks them up in the store.
        pub synced_commit_broadcast_channel_capacity: NonZeroUsize = nonzero!(NonZeroUsize, 50),
        /// Pause before the next look while no peer has anything that is missing. A peer's news ends it early.
        pub wait_interval_when_no_peer_to_sync_content: Duration = Duration::from_secs(1),
        /// Longest time for one exchange of metadata as a whole. Payloads and blobs have no such limit: what
        /// replaces it for them are first_chunk_timeout and progress_timeout, which a slow but honest peer meets.
        pub timeout: Duration = Duration::from_secs(30),
        /// Heights that one request for decided values asks for. The protocol answers with at most 128.
        pub commit_sync_batch_size: NonZeroU64 = nonzero!(NonZeroU64, 100),
        /// Most heights between the oldest and the newest missing height that payloads and blobs are asked for at a time.
        /// The real bound is max_buffered_bytes.
        pub max_blocks_per_fetch: NonZeroU64 = nonzero!(NonZeroU64, 1000),
        /// Most bytes that one request for blobs is expected to bring, unless a single blob is larger. Responses are
        /// read chunk by chunk, so that it bounds what one peer is asked for at a time and not any buffer.
        pub max_fetch_response_bytes: ByteSize = ByteSize::mib(4),
    }
}

group! {
    /// Checking blobs against their commitments (KZG), on threads of its own.
    pub struct VerifyConfig {
        /// Threads; 0 is one per core.
        pub threads: usize = 0,
        /// Most blobs that are checked in one batch. Larger batches cost less per blob and take longer.
        pub batch: NonZeroUsize = nonzero!(NonZeroUsize, 64),
    }
}

group! {
    /// The store.
    pub struct StorageConfig {
        /// Memory for the database's cache.
        pub cache: ByteSize = ByteSize::mib(64),
        /// Most bytes of payloads and blobs whose value is not decided yet.
        pub undecided_cap: ByteSize = ByteSize::gib(1),
        /// How long they are kept.
        pub undecided_ttl: Duration = Duration::from_secs(600),
    }
}

group! {
    /// How long data is kept.
    pub struct RetentionConfig {
        /// For how many heights below the head blobs are kept: "genesis" (as many as every node of the chain keeps),
        /// a number of at least that, or "all".
        pub blob_heights: BlobRetention = BlobRetention::Genesis,
        /// What happens to heights whose blobs no peer has to keep any more. "require-blobs": they are imported only
        /// with all their blobs, so that a node that joins late needs an archive among its peers. "without-blobs":
        /// they are imported without.
        pub below_floor: BelowFloor = BelowFloor::RequireBlobs,
    }
}

group! {
    /// Where payloads go once all of a height is there.
    pub struct EngineConfig {
        /// "embedded" checks the chain of payloads and keeps its head, it does not execute. "none" imports nothing:
        /// the node only keeps and serves data.
        pub kind: EngineKind = EngineKind::Embedded,
    }
}

group! {
    /// Metrics, health and status over HTTP. There is no authentication: keep it on an address that only your own
    /// programs reach.
    pub struct HttpConfig {
        /// Whether to listen at all.
        pub enabled: bool = true,
        /// Address to listen on.
        pub listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), HTTP_PORT),
        /// Most connections at a time; further ones wait to be accepted.
        pub max_connections: NonZeroUsize = nonzero!(NonZeroUsize, 64),
        /// Longest time from accepting a connection to the end of its response.
        pub timeout: Duration = Duration::from_secs(10),
    }
}

group! {
    /// What the program writes about itself, to standard error.
    pub struct LogConfig {
        /// "pretty" for people, "json" or "logfmt" for machines.
        pub format: LogFormat = LogFormat::Pretty,
        /// What to write: a level, or levels by module such as "info,lapis_p2p=debug".
        pub filter: String = "info".to_owned(),
    }
}

group! {
    /// The constants that blobs are verified with. Ethereum's are built in; a chain may have its own.
    pub struct TrustedSetupConfig {
        /// A file in the JSON format of the consensus specs.
        pub path: Option<PathBuf> = None,
        /// The sha256 that the file must have.
        pub sha256: Option<Bytes32> = None,
    }
}

/// How requests are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pacing {
    /// Each peer has as much in flight as it delivers.
    Adaptive,
}

/// Heights below the network's retention floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BelowFloor {
    /// Are imported with all their blobs or not at all.
    RequireBlobs,
    /// Are imported without blobs.
    WithoutBlobs,
}

/// Where payloads go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EngineKind {
    /// Checks the chain of payloads and keeps its head.
    Embedded,
    /// Nowhere: a node that keeps and serves data.
    None,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// One JSON object per line.
    Json,
    /// key=value pairs.
    Logfmt,
}

/// For how many heights below the head blobs are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlobRetention {
    /// As many as the genesis says.
    Genesis,
    /// So many.
    Heights(NonZeroU64),
    /// For ever.
    All,
}

choice!(Pacing, "\"adaptive\"");
choice!(BelowFloor, "\"require-blobs\" or \"without-blobs\"");
choice!(EngineKind, "\"embedded\" or \"none\"");
choice!(LogFormat, "\"pretty\", \"json\" or \"logfmt\"");

impl Setting for BlobRetention {
    const SHAPE: &'static str = "\"genesis\", \"all\" or a whole number of heights of at least 1";

    fn read(raw: &Raw) -> Result<Self, Raw> {
        match raw {
            Raw::Text(word) | Raw::Word(word) if word.trim() == "genesis" => Ok(Self::Genesis),
            Raw::Text(word) | Raw::Word(word) if word.trim() == "all" => Ok(Self::All),
            _ => NonZeroU64::read(raw).map(Self::Heights),
        }
    }

    fn to_toml(&self) -> Option<String> {
        match self {
            Self::Genesis => Some("\"genesis\"".to_owned()),
            Self::All => Some("\"all\"".to_owned()),
            Self::Heights(heights) => heights.to_toml(),
        }
    }
}

fn default_listen() -> Vec<Multiaddr> {
    let any = Multiaddr::from(Ipv4Addr::UNSPECIFIED);
    let tcp = any.clone().with(Protocol::Tcp(NETWORK_PORT));
    let quic = any.with(Protocol::Udp(NETWORK_PORT)).with(Protocol::QuicV1);
    vec![tcp, quic]
}
