//! How a service is put together, before it opens anything.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use lapis_protocol_spec::Bytes32;
use libp2p::{Multiaddr, Swarm, identity::Keypair, metrics::Metrics as Libp2pMetrics, multiaddr::Protocol, swarm};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Behaviour, Service};
use crate::{
    Config, Events, Handle, Provider, StartError,
    discovery::{Observed, Planner},
    events,
    events::EventSender,
    exchange::Client,
    gossip::Announcements,
    handle::{Command, OwnStatus},
    limiter::Limiter,
    metrics::Metrics,
    peers::{Dialer, Table, TableRules, peer_of},
    server::{Context, Notice, ProviderRef, Server},
    streams, transport,
};

/// Commands that wait for the loop, and notices; senders wait when it is full.
const QUEUE: usize = 256;

/// Inbound streams that wait for the server's loop, which only hands them to tasks; more are reset.
const STREAM_QUEUE: usize = 256;

/// Inbound streams of one connection whose protocol is being negotiated.
const NEGOTIATING_STREAMS: usize = 32;

/// Shortest time between two of our statuses to the same peer.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What moves bytes, and the metrics of it.
struct Engine {
    swarm: Swarm<Behaviour>,
    server: Server,
    client: Client,
    notices: mpsc::Receiver<Notice>,
    announcements: Announcements,
    limiter: Arc<Limiter>,
    metrics: Metrics,
    libp2p_metrics: Libp2pMetrics,
}

/// The service's ends of what it shares with the node.
struct NodeSide {
    commands: mpsc::Receiver<Command>,
    own_status: watch::Receiver<OwnStatus>,
    listening: watch::Sender<Vec<Multiaddr>>,
    ready_count: watch::Sender<usize>,
    events: EventSender,
}

impl Service {
    /// Prepares the network of the chain `genesis_id`: checks the configuration, opens nothing. Must be called within a
    /// tokio runtime.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(
        config: Config,
        keypair: &Keypair,
        genesis_id: Bytes32,
        provider: Arc<dyn Provider>,
        registry: &mut Registry,
    ) -> Result<(Self, Handle, Events), StartError> {
        config.check()?;
        check_peer_addresses(config.peers.iter().chain(&config.discovery.boot_nodes))?;
        let (own_status, own_status_receiver) = watch::channel(OwnStatus::new(genesis_id));
        let engine = Engine::new(&config, keypair, &genesis_id, provider, own_status_receiver, registry)?;
        let (node_side, handle, events) = node_side(&engine, own_status, &config);
        let Engine { swarm, server, client, notices, announcements, limiter, metrics, libp2p_metrics } = engine;
        let NodeSide { commands, own_status, listening, ready_count, events: event_sender } = node_side;
        let mut service = Self {
            swarm,
            server: Some(server),
            client,
            commands,
            notices,
            own_status,
            listening,
            ready_count,
            events: event_sender,
            table: Table::new(table_rules(&config, genesis_id)),
            dialer: Dialer::new(config.dialing, &config.peers, Instant::now()),
            planner: Planner::new(
                &config.discovery,
                config.scores.disconnect_at / 2.0,
                Instant::now(),
                &mut rand::rng(),
            ),
            boots: Dialer::new(config.dialing, &config.discovery.boot_nodes, Instant::now()),
            walk: None,
            observed: Observed::default(),
            kept: HashSet::new(),
            dials: HashMap::new(),
            farewells: HashMap::new(),
            tasks: JoinSet::new(),
            announcements,
            limiter,
            metrics,
            libp2p_metrics,
            config,
            bound: false,
            listeners: Vec::new(),
        };
        service.reserve_places();
        service.restore_memory();
        Ok((service, handle, events))
    }

    fn reserve_places(&mut self) {
        let named = self.config.peers.iter().filter_map(peer_of);
        let kept: Vec<_> = named.chain(self.config.trusted.iter().copied()).collect();
        for peer in kept {
            self.keep(peer);
        }
        for address in self.config.discovery.external_addresses.clone() {
            self.add_external(address);
        }
    }

    fn restore_memory(&mut self) {
        let now = Instant::now();
        for ban in &self.config.banned {
            let until = now.checked_add(ban.left);
            if until.is_some_and(|until| self.table.restore_ban(ban.peer, until, now)) {
                self.swarm.behaviour_mut().blocked.block_peer(ban.peer);
            }
        }
        // After the bans, which matter more where there is no room for all.
        for known in &self.config.discovery.known {
            self.table.restore_score(known.peer, known.score, now);
        }
    }
}

impl Engine {
    fn new(
        config: &Config,
        keypair: &Keypair,
        genesis_id: &Bytes32,
        provider: Arc<dyn Provider>,
        own_status: watch::Receiver<OwnStatus>,
        registry: &mut Registry,
    ) -> Result<Self, StartError> {
        let metrics = Metrics::new(registry);
        let libp2p_metrics = Libp2pMetrics::new(registry);
        let limiter = Arc::new(Limiter::new(&config.limits.rates, metrics.clone()));
        let (inbound_sender, inbound) = mpsc::channel(STREAM_QUEUE);
        let (notice_sender, notices) = mpsc::channel(QUEUE);
        let (streams, control) = streams::Behaviour::new(inbound_sender, config.timeouts.request);
        let announcements = Announcements::new(genesis_id);
        let gossip = announcements.behaviour(registry)?;
        let behaviour = Behaviour::new(keypair, config, genesis_id, gossip, streams, metrics.clone())?;
        let swarm = build_swarm(keypair, config, behaviour, registry)?;
        let client = Client::new(control, limiter.clone(), metrics.clone(), config.timeouts);
        let near_head = config.limits.rates.near_head;
        let context = Context {
            provider: ProviderRef(provider),
            limiter: limiter.clone(),
            own_status,
            notices: notice_sender,
            timeouts: config.timeouts,
            near_head_heights: near_head.heights,
            read_times: Arc::default(),
            metrics: metrics.clone(),
        };
        let peers = config.limits.connections.total;
        let server = Server::new(context, inbound, &config.limits.exchanges, near_head.share_percent, peers);
        Ok(Self { swarm, server, client, notices, announcements, limiter, metrics, libp2p_metrics })
    }
}

fn node_side(engine: &Engine, own_status: watch::Sender<OwnStatus>, config: &Config) -> (NodeSide, Handle, Events) {
    let (command_sender, commands) = mpsc::channel(QUEUE);
    let (listening, listening_receiver) = watch::channel(Vec::new());
    let (ready_count, ready_receiver) = watch::channel(0);
    let (event_sender, events) = events::channel(config.limits.queued_announcements.0.get() as usize);
    let own_status_receiver = own_status.subscribe();
    let handle = Handle {
        local_peer_id: *engine.swarm.local_peer_id(),
        client: engine.client.clone(),
        commands: command_sender,
        own_status,
        listening: listening_receiver,
        ready_count: ready_receiver,
    };
    let side = NodeSide { commands, own_status: own_status_receiver, listening, ready_count, events: event_sender };
    (side, handle, events)
}

/// A peer can only be dialed where an address says how.
fn check_peer_addresses<'a>(addresses: impl IntoIterator<Item = &'a Multiaddr>) -> Result<(), StartError> {
    for address in addresses {
        let reason = match address.iter().next() {
            None => "it is empty",
            Some(Protocol::P2p(_)) => "it says who, but not where",
            Some(_) => continue,
        };
        return Err(StartError::PeerAddress { address: address.clone(), reason });
    }
    Ok(())
}

fn table_rules(config: &Config, genesis_id: Bytes32) -> TableRules {
    TableRules {
        genesis_id,
        scores: config.scores,
        handshake: config.timeouts.handshake,
        goodbye: config.timeouts.goodbye,
        status_interval: STATUS_INTERVAL,
        remembered: config.limits.remembered_peers.0.get() as usize,
        trusted: config.trusted.iter().copied().collect(),
    }
}

fn build_swarm(
    keypair: &Keypair,
    config: &Config,
    behaviour: Behaviour,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, StartError> {
    let transport = transport::build(keypair, &config.limits.connections, config.timeouts.connect, registry)?;
    let settings = swarm::Config::with_tokio_executor().with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), settings))
}
