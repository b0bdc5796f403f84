//! An execution client made of ethrex's published crates, for tests.
//!
//! It keeps everything in memory, so ending it is losing its data. It has no peers and listens for none: what it knows
//! comes over its Engine API. Ends with the process; the exit code is 1 if it cannot start.

use std::{collections::HashSet, error::Error, fs, net::SocketAddr, path::PathBuf, sync::Arc};

use bytes::Bytes;
use clap::Parser;
use ethrex_blockchain::Blockchain;
use ethrex_common::{
    H256, H512,
    types::{DEFAULT_BUILDER_GAS_CEIL, Genesis},
};
use ethrex_p2p::{
    network::P2PContext,
    peer_handler::PeerHandler,
    peer_table::{PeerTableServer, TARGET_PEERS},
    rlpx::initiator::RLPxInitiator,
    sync::SyncMode,
    sync_manager::SyncManager,
    types::{NetworkConfig, Node, NodeRecord},
};
use ethrex_rpc::{ClientVersion, RpcNamespace, bind_api};
use ethrex_storage::{EngineType, Store};
use secp256k1::{Keypair, SECP256K1, SecretKey};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing_subscriber::EnvFilter;

/// The key of a node that nobody ever meets.
const NODE_KEY: [u8; 32] = [1; 32];
/// How often it would tell peers of transactions, in milliseconds.
const BROADCAST_INTERVAL: u64 = 1000;
/// How often it would look for peers, in milliseconds.
const LOOKUP_INTERVAL: f64 = 60_000.0;

/// An ethrex execution client, in memory and without peers.
#[derive(Debug, Parser)]
struct Arguments {
    /// Genesis in geth's format.
    #[arg(long)]
    genesis: PathBuf,
    /// Hex of the 32 bytes that sign tokens.
    #[arg(long)]
    jwt_secret: PathBuf,
    /// Where the Engine API listens.
    #[arg(long)]
    engine: SocketAddr,
    /// Where the public RPC listens.
    #[arg(long)]
    http: SocketAddr,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).with_writer(std::io::stderr).init();
    let Arguments { genesis, jwt_secret, engine, http } = Arguments::parse();
    let genesis: Genesis = serde_json::from_str(&fs::read_to_string(genesis)?)?;
    let secret = Bytes::from(hex::decode(fs::read_to_string(jwt_secret)?.trim().trim_start_matches("0x"))?);

    let mut store = Store::new("", EngineType::InMemory)?;
    store.add_initial_state(genesis).await?;
    let blockchain = Arc::new(Blockchain::default_with_store(store.clone()));
    // What it is given is all there is, so it takes transactions at once.
    blockchain.set_synced();

    let stop = CancellationToken::new();
    let (node, record) = identity(http)?;
    let peers = no_peers(&node, &store, &blockchain)?;
    let data = std::env::temp_dir();
    let syncer =
        SyncManager::new(peers.clone(), &SyncMode::Full, stop.clone(), Arc::clone(&blockchain), store.clone(), data);
    let served = HashSet::from([RpcNamespace::Eth, RpcNamespace::Net, RpcNamespace::Web3]);
    let api = bind_api(
        stop,
        http,
        None,
        engine,
        store,
        blockchain,
        secret,
        node,
        record,
        syncer.await,
        peers,
        version(),
        None,
        DEFAULT_BUILDER_GAS_CEIL,
        String::new(),
        served,
    );
    Ok(api.await?.serve().await?)
}

/// Who it is to peers, of which there are none.
fn identity(http: SocketAddr) -> Result<(Node, NodeRecord), Box<dyn Error>> {
    let key = SecretKey::from_byte_array(&NODE_KEY)?;
    let public_key = Keypair::from_secret_key(SECP256K1, &key).public_key().serialize_uncompressed();
    let node = Node::new(http.ip(), 0, 0, H512::from_slice(&public_key[1..]));
    let record = NodeRecord::from_node(&node, 1, &key)?;
    Ok((node, record))
}

/// What the client asks when it lacks a block: a table without entries, which nothing fills.
fn no_peers(node: &Node, store: &Store, blockchain: &Arc<Blockchain>) -> Result<PeerHandler, Box<dyn Error>> {
    let table = PeerTableServer::spawn(H256::zero(), TARGET_PEERS, store.clone());
    let context = P2PContext::new(
        node.clone(),
        NetworkConfig::from_node(node),
        TaskTracker::new(),
        SecretKey::from_byte_array(&NODE_KEY)?,
        table.clone(),
        store.clone(),
        Arc::clone(blockchain),
        "ethrex".to_owned(),
        None,
        BROADCAST_INTERVAL,
        LOOKUP_INTERVAL,
    )?;
    Ok(PeerHandler::new(table, RLPxInitiator::spawn(context)))
}

fn version() -> ClientVersion {
    let text = |part: &str| part.to_owned();
    ClientVersion::new(text("ethrex"), text("24.0.0"), text("crates"), text("00000000"), text("linux"), text("1.95"))
}
