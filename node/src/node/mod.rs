//! A node put together: store, network, sync, import, pruning and HTTP, started in order and stopped in order.

mod archives;
mod catch_up;
mod engine;
mod error;
mod open;
mod peer_view;
mod report;
mod settings;

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use lapis_p2p::{Events, Handle, Service};
use lapis_protocol_spec::Kzg;
use lapis_storage::{Medium, Store};
use libp2p::{Multiaddr, PeerId, identity::Keypair};
use prometheus_client::registry::Registry;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use self::{
    archives::Archives,
    open::{bind_http, open_store},
    report::Views,
};
pub use self::{
    error::StartError,
    settings::{SetupError, load_kzg},
};
use crate::{
    chain::Chain,
    checkpoint,
    config::Config,
    execution::ExecutionEngine,
    feed::WatermarkFeed,
    http,
    import::{ImportState, Importer},
    local::LocalSource,
    metrics::Metrics,
    peer_store::{self, PeerStore},
    prune::{ArchiveWatch, Pruner},
    repair::{RepairRequests, Repaired, Repairer},
    serve::{LateProvider, StoreProvider},
    shutdown::{Stage, Supervisor, TaskFailure},
    source::SourceCommands,
    status::{NodeStatus, PeerView},
    sync::{
        SyncEngine, SyncParts, SyncView, archive::Archive, pool::BlobPool, scheduler::PeerCapacity, trace::TraceSink,
    },
};

/// How long a stop may take before what still runs is abandoned. Everything acknowledged is on disk by then.
const DRAIN: Duration = Duration::from_secs(20);

/// Where a node's decided values come from.
#[derive(Debug)]
pub enum Source {
    /// From peers.
    Follow,
    /// From a consensus engine in this process.
    Local(SourceCommands),
}

/// What a node is made of.
#[derive(Debug)]
pub struct NodeOptions {
    /// Its configuration.
    pub config: Config,
    /// The chain.
    pub chain: Chain,
    /// Its identity.
    pub keypair: Keypair,
    /// Where the store is.
    pub store: Arc<dyn Medium>,
    /// The file of what is known of peers.
    pub peers_path: PathBuf,
    /// Directory for evidence about decided blocks that the execution engine refused; made when there is some.
    pub evidence_path: PathBuf,
    /// The trusted setup, shared by all nodes of the process.
    pub kzg: Arc<Kzg>,
    /// Where decided values come from.
    pub source: Source,
    /// Archives that sync may ask, beside peers.
    pub archives: Vec<Arc<dyn Archive>>,
}

/// What the outside may know and do of a running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NodeHandle {
    /// Identity on the network.
    pub peer_id: PeerId,
    /// Where HTTP listens, if it does.
    pub http: Option<SocketAddr>,
    /// Where HTTP for administration listens, if it does.
    pub admin: Option<SocketAddr>,
    /// What `/status` shows.
    pub status: watch::Receiver<NodeStatus>,
    /// The store, for reading.
    pub store: Store,
    /// The network.
    pub network: Handle,
    /// Counters.
    pub metrics: Metrics,
    /// Watermarks of the store.
    pub feed: WatermarkFeed,
    stop: CancellationToken,
}

impl NodeHandle {
    /// Addresses that peers can dial.
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.network.listen_addresses()
    }

    /// Asks the node to stop.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

/// A node whose sockets are bound and whose store is open; it works once it is [`Node::run`].
#[derive(Debug)]
pub struct Node {
    supervisor: Supervisor,
    handle: NodeHandle,
}

impl Node {
    /// Binds sockets, opens the store, starts the tasks. Nothing is written to disk before all addresses are bound. With a
    /// checkpoint and an empty store it waits until some peer has what the checkpoint stands for.
    ///
    /// # Errors
    /// [`StartError`], with everything bound so far released.
    pub async fn start(options: NodeOptions, stop: CancellationToken) -> Result<Self, StartError> {
        let parts = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(StartError::Stopped),
            parts = Parts::assemble(options) => parts?,
        };
        Ok(parts.launch(stop))
    }

    /// The outside's end.
    pub fn handle(&self) -> NodeHandle {
        self.handle.clone()
    }

    /// Runs until it is asked to stop, or a task fails.
    ///
    /// # Errors
    /// The first [`TaskFailure`].
    pub async fn run(self) -> Result<(), TaskFailure> {
        let result = self.supervisor.run(DRAIN).await;
        // The last watermarks of import may still wait for a sync of the disk; nothing acknowledged does.
        let store = self.handle.store;
        if let Ok(Err(error)) = tokio::task::spawn_blocking(move || store.flush()).await {
            tracing::error!(%error, "the store could not be flushed");
        }
        result
    }
}

/// Everything, assembled and not yet running.
struct Parts {
    options: NodeOptions,
    registry: Registry,
    metrics: Metrics,
    http: Option<http::Bound>,
    admin: Option<http::Bound>,
    service: Service,
    network: Handle,
    events: Events,
    store: Store,
    feed: WatermarkFeed,
    archives: Archives,
    repairs: RepairRequests,
    repairer: Repairer,
    repaired: Repaired,
    engine: Box<dyn ExecutionEngine>,
    pool: Option<Arc<dyn BlobPool>>,
    trace: Option<Box<dyn TraceSink>>,
}

impl Parts {
    async fn assemble(options: NodeOptions) -> Result<Self, StartError> {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let client = engine::client(&options, &mut registry)?;
        let (http, admin) = bind_http(&options.config.http).await?;
        // A store that is there is opened first: whether this directory is free is the first thing to know. A new one is
        // created only after all sockets are bound, and nobody is answered before it is there.
        let existing = options.store.exists().then(|| open_store(&options)).transpose()?;
        let provider = Arc::new(LateProvider::default());
        let chain = &options.chain;
        let mut network_config = settings::network(&options.config);
        let remembered = peer_store::load(&options.peers_path, chain.id(), network_config.scores.half_life);
        (network_config.discovery.known, network_config.banned) = (remembered.known, remembered.banned);
        let (mut service, network, events) =
            Service::new(network_config, &options.keypair, *chain.id(), provider.clone(), &mut registry)?;
        service.bind().await?;
        let store = existing.map_or_else(|| open_store(&options), Ok)?;
        if let Some(checkpoint) = options.config.sync.checkpoint {
            checkpoint::apply(settings::checkpoint(checkpoint, &options), &store).await?;
        }
        let archives = Archives::open(&options.config.archive, options.chain.id())?;
        let feed = WatermarkFeed::new(store.clone());
        let (repairer, repairs, repaired) = Repairer::new(store.clone(), feed.clone(), metrics.clone());
        provider.set(StoreProvider::new(store.clone(), repairs.clone()));
        let (engine, pool) = engine::engine(&options, client, &store)?;
        let trace = settings::trace(&options.config.sync)?;
        Ok(Self {
            options,
            registry,
            metrics,
            http,
            admin,
            service,
            network,
            events,
            store,
            feed,
            archives,
            repairs,
            repairer,
            repaired,
            engine,
            pool,
            trace,
        })
    }

    fn launch(self, stop: CancellationToken) -> Node {
        let peer_id = self.options.keypair.public().to_peer_id();
        let chain = self.options.chain.clone();
        let chain_id = String::from_utf8_lossy(&chain.genesis().chain_id).into_owned();
        let mut starting = NodeStatus::starting(*chain.id(), chain_id, peer_id);
        starting.addresses = self.network.listen_addresses();
        let (status, status_view) = watch::channel(starting);
        let (peers, peers_view) = watch::channel(Vec::new());
        let handle = NodeHandle {
            peer_id,
            http: self.http.as_ref().map(http::Bound::address),
            admin: self.admin.as_ref().map(http::Bound::address),
            status: status_view,
            store: self.store.clone(),
            network: self.network.clone(),
            metrics: self.metrics.clone(),
            feed: self.feed.clone(),
            stop: stop.clone(),
        };
        let supervisor = self.spawn(Supervisor::new(stop), status, peers, peers_view, &handle);
        Node { supervisor, handle }
    }

    /// Starts the tasks, outermost first.
    fn spawn(
        mut self,
        mut supervisor: Supervisor,
        status: watch::Sender<NodeStatus>,
        peers: watch::Sender<Vec<PeerView>>,
        peers_view: watch::Receiver<Vec<PeerView>>,
        handle: &NodeHandle,
    ) -> Supervisor {
        self.options.archives.extend(self.archives.sources());
        let refresh = self.options.config.archive.refresh;
        let (sync_view, sync) = watch::channel(SyncView::default());
        let (capacities_sender, capacities) = watch::channel(Vec::new());
        let (import_state, import) = watch::channel(ImportState::default());
        let inner = Inner {
            options: self.options,
            metrics: self.metrics,
            network: self.network,
            store: self.store,
            feed: self.feed,
            pool: self.pool,
            trace: self.trace,
        };
        let (archiver, archiver_view) = self.archives.archiver(&inner, &handle.peer_id, self.repairs.clone()).unzip();
        let views = Views { sync, capacities, import, archiver: archiver_view };
        let reporter = inner.reporter(self.engine.name(), views, status, peers);
        let pages = http::Views { registry: Arc::new(self.registry), status: handle.status.clone(), peers: peers_view };
        supervisor.spawn(Stage::Outside, "network", |stop| self.service.run(stop));
        if let Some(http) = self.http {
            supervisor.spawn(Stage::Outside, "http", |stop| http.serve(http::router(pages), stop));
        }
        if let Some(server) = self.admin {
            let admin = http::Admin { network: handle.network.clone(), address: server.address() };
            supervisor.spawn(Stage::Outside, "admin", |stop| server.serve(http::admin_router(admin), stop));
        }
        supervisor.spawn(Stage::Outside, "report", |stop| reporter.run(stop));
        let watch = self.archives.watch(inner.options.config.retention.prune, inner.options.chain.id());
        inner.spawn_work(&mut supervisor, self.engine, (self.repairer, self.repairs.clone()), import_state, watch);
        if let Some(archiver) = archiver {
            supervisor.spawn(Stage::Work, "archiver", |stop| archiver.run(stop));
        }
        let archives = self.archives;
        supervisor.spawn(Stage::Intake, "archives", |stop| archives.look(refresh, stop));
        inner.spawn_intake(&mut supervisor, self.events, (self.repairs, self.repaired), (sync_view, capacities_sender));
        supervisor
    }
}

/// What the inner tasks share.
struct Inner {
    options: NodeOptions,
    metrics: Metrics,
    network: Handle,
    store: Store,
    feed: WatermarkFeed,
    pool: Option<Arc<dyn BlobPool>>,
    trace: Option<Box<dyn TraceSink>>,
}

impl Inner {
    /// Tasks that finish what is under way: import, repair, pruning, what is known of peers.
    fn spawn_work(
        &self,
        supervisor: &mut Supervisor,
        engine: Box<dyn ExecutionEngine>,
        (repairer, repairs): (Repairer, RepairRequests),
        state: watch::Sender<ImportState>,
        watch: Option<ArchiveWatch>,
    ) {
        let (chain, store, feed) = (self.options.chain.clone(), self.store.clone(), self.feed.clone());
        let metrics = self.metrics.clone();
        let settings = settings::import(&self.options);
        let importer = Importer { settings, chain, store, engine, feed, metrics, repairs, state };
        supervisor.spawn(Stage::Work, "import", |stop| importer.run(stop));
        supervisor.spawn(Stage::Work, "repair", |stop| repairer.run(stop));
        let (path, genesis_id) = (self.options.peers_path.clone(), *self.options.chain.id());
        let peer_store = PeerStore { path, genesis_id, network: self.network.clone() };
        supervisor.spawn(Stage::Work, "peers", |stop| peer_store.run(stop));
        let pruner = Pruner {
            retention: settings::retention(&self.options.config, self.options.chain.genesis()),
            store: self.store.clone(),
            feed: self.feed.clone(),
            metrics: self.metrics.clone(),
            archive: watch,
        };
        supervisor.spawn(Stage::Work, "prune", |stop| pruner.run(stop));
    }

    /// Tasks that bring work in: the source of decided values, and sync.
    fn spawn_intake(
        self,
        supervisor: &mut Supervisor,
        events: Events,
        (repairs, repaired): (RepairRequests, Repaired),
        (view, capacities): (watch::Sender<SyncView>, watch::Sender<Vec<PeerCapacity>>),
    ) {
        let Self { options, metrics, network, store, feed, pool, trace } = self;
        let sync_config = settings::sync(&options.config);
        if let Source::Local(commands) = options.source {
            let (store, feed) = (store.clone(), feed.clone());
            let local = LocalSource { commands, store, feed, network: network.clone(), metrics: metrics.clone() };
            supervisor.spawn(Stage::Intake, "source", |stop| local.run(stop));
        }
        let (chain, kzg, archives) = (options.chain, options.kzg, options.archives);
        let sync = SyncEngine::new(
            sync_config,
            SyncParts {
                chain,
                store,
                network,
                events,
                kzg,
                archives,
                pool,
                feed,
                repairs,
                repaired,
                metrics,
                trace,
                view,
                capacities,
            },
        );
        supervisor.spawn(Stage::Intake, "sync", |stop| sync.run(stop));
    }
}
