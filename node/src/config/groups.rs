//! The keys. Names, types, defaults and descriptions are declared here and nowhere else.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU32, NonZeroU64, NonZeroUsize},
    path::PathBuf,
    time::Duration,
};

use bytesize::ByteSize;
use lapis_protocol_spec::Bytes32;
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{
    choices::{ArchiveCompression, BelowFloor, BlobRetention, EngineKind, LogFormat, Pacing, PrunePolicy},
    declare::{configuration, group},
};
use crate::{checkpoint::Checkpoint, object_archive::Location};

/// Port of the network, TCP and UDP.
const NETWORK_PORT: u16 = 9650;
/// Port of HTTP.
const HTTP_PORT: u16 = 9651;

/// Port of HTTP for administration.
const ADMIN_PORT: u16 = 9652;

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
        /// Copies of old heights in an object store.
        pub archive: ArchiveConfig,
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
        /// Where to begin looking for other peers: dialed while there are too few and nobody else is left to try, not
        /// kept otherwise.
        pub boot_nodes: Vec<Multiaddr> = Vec::new(),
        /// How many peers there are to be. While there are fewer, others are looked for: those of the last run, those
        /// that peers tell of (Kademlia, one network per chain), boot nodes. When there are enough, one that was of no
        /// use for five minutes makes place for another. 0: nobody but "peers" is dialed.
        pub target_peers: u32 = 24,
        /// Addresses at which others reach this node, if it does not listen there: behind a router that forwards a
        /// port, say. An IP address each; "listen" with a definite address needs no repetition.
        pub external_addresses: Vec<Multiaddr> = Vec::new(),
        /// Whether nodes in the local network are found by multicast DNS, and this one told to them.
        pub mdns: bool = false,
        /// Peers whose faults are reported, but never punished. They and "peers" are let in when all places are taken.
        pub trusted_peers: Vec<PeerId> = Vec::new(),
        /// Most connections that peers have opened to us.
        pub max_inbound_connections: NonZeroU32 = nonzero!(NonZeroU32, 96),
        /// Most connections that we have opened to peers.
        pub max_outbound_connections: NonZeroU32 = nonzero!(NonZeroU32, 64),
        /// Most inbound connections whose handshake is under way; of one IP address a 32nd part of them, at least 2.
        pub max_pending_inbound: NonZeroU32 = nonzero!(NonZeroU32, 128),
        /// Most connections to one peer: TCP and QUIC, dialed from both sides at once.
        pub max_connections_per_peer: NonZeroU32 = nonzero!(NonZeroU32, 4),
        /// Most connections that have been opened to us from one IP address, or from one /64 of IPv6. Those from this
        /// machine itself are not counted.
        pub max_connections_per_ip: NonZeroU32 = nonzero!(NonZeroU32, 16),
    }
}

group! {
    /// Requests and bytes per second. "serve" is what peers get from us, "fetch" is what we get from them. Who is over
    /// a limit waits; nothing is refused.
    pub struct LimitsConfig {
        /// Requests per second that one peer is answered.
        pub serve_requests_per_peer: NonZeroU32 = nonzero!(NonZeroU32, 64),
        /// Requests per second that all peers together are answered.
        pub serve_requests_total: NonZeroU32 = nonzero!(NonZeroU32, 1024),
        /// Bytes per second that one peer is sent.
        pub serve_bytes_per_peer: ByteSize = ByteSize::mib(512),
        /// Bytes per second that all peers together are sent.
        pub serve_bytes_total: ByteSize = ByteSize::gib(2),
        /// Requests that are served at a time to all peers together. Each holds one item in memory at most.
        pub serve_exchanges_total: NonZeroU32 = nonzero!(NonZeroU32, 256),
        /// How many of the newest decided heights are near the head.
        pub near_head_heights: NonZeroU64 = nonzero!(NonZeroU64, 64),
        /// Percent of what all peers together are served that is kept for requests near the head, from 1 to 99. What
        /// they do not use goes to peers that catch up.
        pub near_head_share: NonZeroU32 = nonzero!(NonZeroU32, 25),
        /// Bytes per second below which a peer that reads from us, or sends to us, is cut off. Time that a limit of our
        /// own takes does not count.
        pub minimum_rate: ByteSize = ByteSize::kib(16),
        /// How long a peer may be behind the minimum rate before it is cut off.
        pub minimum_rate_grace: Duration = Duration::from_secs(10),
        /// Requests per second that we send to one peer: what it may be expected to answer without delay.
        pub fetch_requests_per_peer: NonZeroU32 = nonzero!(NonZeroU32, 64),
        /// Requests per second that we send to all peers together.
        pub fetch_requests_total: NonZeroU32 = nonzero!(NonZeroU32, 1024),
        /// Bytes per second that we take from one peer.
        pub fetch_bytes_per_peer: ByteSize = ByteSize::gib(2),
        /// Bytes per second that we take from all peers together.
        pub fetch_bytes_total: ByteSize = ByteSize::gib(2),
    }
}

group! {
    /// Fetching what other nodes have. Some keys are of an earlier design, Soma, so that its configurations load; where
    /// another mechanism took a key's place, the key says which.
    pub struct SyncConfig {
        /// Most bytes of payloads and blobs that are asked for or received and not stored yet. Nothing more is asked
        /// for while they are used up. At least 32 MiB, the largest payload.
        pub max_buffered_bytes: ByteSize = ByteSize::mib(64),
        /// Most heights that are stored ahead of import.
        pub max_heights_ahead: NonZeroU64 = nonzero!(NonZeroU64, 1000),
        /// How requests are spread over time. "adaptive": each peer has as much in flight as it delivers.
        /// "fixed": one request at a time, 200 ms between their starts; for comparison only.
        pub pacing: Pacing = Pacing::Adaptive,
        /// Longest wait for the first chunk of a response.
        pub first_chunk_timeout: Duration = Duration::from_secs(15),
        /// Longest time without any byte within a response. Peers hold chunks back to keep to their limits, so this is
        /// to be generous.
        pub progress_timeout: Duration = Duration::from_secs(30),
        /// Most incomplete heights that are worked on at a time.
        pub max_blocks_per_fetch: NonZeroU64 = nonzero!(NonZeroU64, 1000),
        /// Most bytes that one request asks for, unless a single item is larger. Responses are read chunk by chunk, so
        /// that it sizes no buffer: it spreads the work over peers. Peers that are fast and far away, of which each
        /// request costs several round trips, are asked for up to twice as much, and an eighth of max_buffered_bytes.
        pub max_fetch_response_bytes: ByteSize = ByteSize::mib(4),
        /// A decided value to trust, as "HEIGHT:VALUE_ID": a store that is empty starts from there instead of genesis, with
        /// what network.peers and network.boot_nodes have of that height. A store that holds another value there is
        /// refused; else it goes on from what it holds.
        pub checkpoint: Option<Checkpoint> = None,
        /// Bytes out of max_buffered_bytes, at most a quarter of them, that are kept for asking a second peer for what
        /// holds up the order when the first one is late. What comes twice by that is at most this, and one sixteenth of
        /// what is stored. 0: nothing is asked for twice.
        pub hedge_bytes: ByteSize = ByteSize::mib(4),
        /// Without progress for so long while behind, and for want of peers that deliver, others are looked for and one
        /// of those that there are makes place; again each time that this has passed. At least 1 s.
        pub rotate_after: Duration = Duration::from_secs(10),
        /// Without progress for so long while behind, the node is not ready. Longer than rotate_after.
        pub unready_after: Duration = Duration::from_secs(30),
        /// Where what the sync is told and decides is recorded, for `lapis replay-trace`: a file, made anew at each
        /// start. It names peers and heights, no addresses and no data.
        pub record_trace: Option<PathBuf> = None,
        /// Most bytes of that file; when it has them the recording ends. At least 1 MiB.
        pub record_trace_bytes: ByteSize = ByteSize::mib(256),
        /// Of the Soma design, without effect: one task owns the state of the sync and nothing waits in a mailbox for
        /// it. What waits is bounded in bytes, by max_buffered_bytes.
        pub mailbox_capacity: NonZeroUsize = nonzero!(NonZeroUsize, 50),
        /// Of the Soma design, without effect: commits are not broadcast. Who follows them reads the newest watermark,
        /// which cannot overflow.
        pub synced_commit_broadcast_channel_capacity: NonZeroUsize = nonzero!(NonZeroUsize, 50),
        /// Of the Soma design, without effect: a peer's news wakes the sync at once, and a peer that did not have what
        /// it was asked for is left alone for a time that grows with each failure.
        pub wait_interval_when_no_peer_to_sync_content: Duration = Duration::from_secs(1),
        /// Of the Soma design, without effect: an exchange may take as long as it makes progress. first_chunk_timeout
        /// and progress_timeout replace it.
        pub timeout: Duration = Duration::from_secs(30),
        /// Of the Soma design, without effect: requests for decided values are sized by the bytes that these take, up
        /// to the 128 heights that the protocol allows.
        pub commit_sync_batch_size: NonZeroU64 = nonzero!(NonZeroU64, 100),
    }
}

group! {
    /// Checking blobs against their commitments (KZG), on threads of its own.
    pub struct VerifyConfig {
        /// Threads, at most 1024; 0 is one per core.
        pub threads: usize = 0,
        /// Most blobs that are checked in one batch, at most 1024. Up to some 64 a larger batch costs less per blob.
        pub batch: NonZeroUsize = nonzero!(NonZeroUsize, 64),
    }
}

group! {
    /// The store.
    pub struct StorageConfig {
        /// Memory for the database's cache, at least 1 MiB.
        pub cache: ByteSize = ByteSize::mib(64),
        /// Most bytes of payloads and blobs whose value is not decided yet: at least the blobs of one height.
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
        /// When blobs that need not be kept any more are deleted. "after-import": once the engine has their heights.
        /// "after-archive": once they are in the archive too, which archive.upload_to names. "after-import" does not
        /// wait for the archive: it may delete what was not uploaded in time.
        pub prune: PrunePolicy = PrunePolicy::AfterImport,
    }
}

group! {
    /// Copies of old heights in an object store: a directory ("file:///var/lib/archive"), or an S3-compatible service
    /// ("s3://bucket/prefix"). Credentials for S3 come from the environment (AWS_ACCESS_KEY_ID,
    /// AWS_SECRET_ACCESS_KEY) or from the role of the machine.
    pub struct ArchiveConfig {
        /// Where this node writes archives of all heights that are complete. One node per place is enough.
        pub upload_to: Option<Location> = None,
        /// Where heights are fetched from that no peer has. What comes from there is verified like everything else. A
        /// directory must be there already.
        pub fetch_from: Vec<Location> = Vec::new(),
        /// Heights of one archive, at most 64. The heights since the last full one wait.
        pub heights_per_file: NonZeroU64 = nonzero!(NonZeroU64, 32),
        /// How archives are compressed: "zstd" or "none".
        pub compression: ArchiveCompression = ArchiveCompression::Zstd,
        /// How often the places of fetch_from are looked through for new archives.
        pub refresh: Duration = Duration::from_secs(60),
        /// Longest time of one request to the object store: up to 8 MiB.
        pub timeout: Duration = Duration::from_secs(60),
        /// URL of the S3 service; that of AWS if it is not set.
        pub s3_endpoint: Option<String> = None,
        /// Region of the bucket; what the environment says if it is not set.
        pub s3_region: Option<String> = None,
        /// Whether the S3 service may be reached without TLS.
        pub s3_allow_http: bool = false,
    }
}

group! {
    /// Where payloads go once all of a height is there.
    pub struct EngineConfig {
        /// "embedded" checks the chain of payloads and keeps its head, it does not execute. "engine-api" gives payloads to
        /// an execution client; it needs url and jwt_secret. "none" imports nothing: the node only keeps and serves data.
        pub kind: EngineKind = EngineKind::Embedded,
        /// The execution client's Engine API, such as "http://127.0.0.1:8551".
        pub url: Option<String> = None,
        /// The file with the secret that the execution client has too: 64 hex digits.
        pub jwt_secret: Option<PathBuf> = None,
        /// Longest time of a call that may execute a block: newPayload and forkchoiceUpdated.
        pub payload_timeout: Duration = Duration::from_secs(8),
        /// Longest time of any other call.
        pub call_timeout: Duration = Duration::from_secs(1),
        /// Whether the execution client is asked for the blobs of new heights (getBlobs) before peers are: what its pool
        /// has need not be downloaded. They are verified like those of peers.
        pub get_blobs: bool = true,
        /// How long peers are not asked for blobs for which the client is, and longest time of that call. What the client
        /// does not give by then comes from peers.
        pub get_blobs_head_start: Duration = Duration::from_millis(250),
        /// While the client is behind: most payloads that it is given between two forkchoice updates. Import is noted
        /// once per update.
        pub catch_up_batch: NonZeroU64 = nonzero!(NonZeroU64, 32),
        /// How often a client with nothing to do is told its head again, which shows whether it still has it.
        pub check_interval: Duration = Duration::from_secs(10),
        /// Longest wait before an engine that cannot go on is tried again. It begins with 200 ms and doubles.
        pub longest_retry: Duration = Duration::from_secs(10),
    }
}

group! {
    /// Metrics, health and status over HTTP. There is no authentication: keep it on an address that only your own
    /// programs reach. What changes something is on an address of its own, which is on this machine.
    pub struct HttpConfig {
        /// Whether to listen at all.
        pub enabled: bool = true,
        /// Address to listen on.
        pub listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), HTTP_PORT),
        /// Most connections at a time; further ones wait to be accepted.
        pub max_connections: NonZeroUsize = nonzero!(NonZeroUsize, 64),
        /// Longest time from accepting a connection to the end of its response.
        pub timeout: Duration = Duration::from_secs(10),
        /// Whether peers can be banned over HTTP: POST /peers/ID/ban and /unban, as `lapis peers ban` does.
        pub admin: bool = false,
        /// Address for that; a loopback address.
        pub admin_listen: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), ADMIN_PORT),
    }
}

group! {
    /// What the program writes about itself, to standard error.
    pub struct LogConfig {
        /// "pretty" for people, "json" or "logfmt" for machines.
        pub format: LogFormat = LogFormat::Pretty,
        /// What to write: a level, or levels by module such as "info,lapis_p2p=debug".
        pub filter: String = "info,libp2p=warn,libp2p_kad=error,libp2p_gossipsub=error".to_owned(),
    }
}

group! {
    /// The constants that blobs are verified with. Ethereum's are built in; a chain may have its own.
    pub struct TrustedSetupConfig {
        /// A file in the JSON format of the consensus specs. Set together with sha256.
        pub path: Option<PathBuf> = None,
        /// The sha256 that the file must have. Set together with path.
        pub sha256: Option<Bytes32> = None,
    }
}

fn default_listen() -> Vec<Multiaddr> {
    let any = Multiaddr::from(Ipv4Addr::UNSPECIFIED);
    let tcp = any.clone().with(Protocol::Tcp(NETWORK_PORT));
    let quic = any.with(Protocol::Udp(NETWORK_PORT)).with(Protocol::QuicV1);
    vec![tcp, quic]
}
