//! The network of a node: owns the swarm and the peer table, and drives both.
//!
//! The loop waits for whatever comes first (swarm, commands, notices from the server, ended tasks, the clock) and does
//! what follows from it without ever waiting in between. Whatever takes time is a task.

mod behaviour;
mod commands;
mod network;
mod peers;
mod run;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Bytes32, Status};
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub::IdentTopic,
    identity::Keypair,
    metrics::Metrics as Libp2pMetrics,
    multiaddr::Protocol,
    swarm::{self, ConnectionId},
};
use prometheus_client::registry::Registry;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    Config, DialError, Events, Fault, GoneReason, Handle, Provider, StartError,
    events::{self, EventSender},
    exchange::Client,
    gossip,
    handle::{Command, OwnStatus},
    limiter::Limiter,
    metrics::Metrics,
    peers::{Dialer, Table, TableRules},
    server::{Context, Notice, ProviderRef, Server},
    streams, transport,
};

use behaviour::{Behaviour, BehaviourEvent};

/// Commands that wait for the loop, and notices; senders wait when it is full.
const QUEUE: usize = 256;

/// Inbound streams that wait for the server's loop, which only hands them to tasks; more are reset.
const STREAM_QUEUE: usize = 256;

/// Inbound streams of one connection whose protocol is being negotiated.
const NEGOTIATING_STREAMS: usize = 32;

/// Shortest time between two of our statuses to the same peer.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// What a dial was for.
#[derive(Debug)]
enum Dial {
    /// Configured peer, by its number.
    Target(usize),
    /// The node asked for it.
    Asked(Multiaddr, oneshot::Sender<Result<PeerId, DialError>>),
}

/// What a task of the service has come to.
#[derive(Debug)]
enum Done {
    /// A peer was told our status.
    Status(PeerId, Result<Status, Fault>),
    /// A peer was told that we part.
    Goodbye(PeerId),
}

/// The network of one node.
pub struct Service {
    swarm: Swarm<Behaviour>,
    server: Option<Server>,
    client: Client,
    commands: mpsc::Receiver<Command>,
    notices: mpsc::Receiver<Notice>,
    own_status: watch::Receiver<OwnStatus>,
    listening: watch::Sender<Vec<Multiaddr>>,
    ready_count: watch::Sender<usize>,
    events: EventSender,
    table: Table,
    dialer: Dialer,
    /// Dials under way; bounded by the limit on pending connections.
    dials: HashMap<ConnectionId, Dial>,
    /// Why peers that are still connected will be gone.
    farewells: HashMap<PeerId, GoneReason>,
    tasks: JoinSet<Done>,
    topic: IdentTopic,
    limiter: Arc<Limiter>,
    metrics: Metrics,
    libp2p_metrics: Libp2pMetrics,
    config: Config,
    bound: bool,
    listeners: Vec<ListenerId>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("peer", self.swarm.local_peer_id()).finish_non_exhaustive()
    }
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
        check_peer_addresses(&config.peers)?;
        let timeouts = config.timeouts;
        let metrics = Metrics::new(registry);
        let libp2p_metrics = Libp2pMetrics::new(registry);
        let limiter = Arc::new(Limiter::new(&config.limits.rates, metrics.clone()));
        let (own_sender, own_status) = watch::channel(OwnStatus::new(genesis_id));
        let (inbound_sender, inbound) = mpsc::channel(STREAM_QUEUE);
        let (notice_sender, notices) = mpsc::channel(QUEUE);
        let (command_sender, commands) = mpsc::channel(QUEUE);
        let (listening, listening_receiver) = watch::channel(Vec::new());
        let (ready_count, ready_receiver) = watch::channel(0);
        let (event_sender, events) = events::channel(config.limits.queued_announcements.0.get() as usize);
        let topic = gossip::topic(&genesis_id);
        let (streams, control) = streams::Behaviour::new(inbound_sender, timeouts.request);
        let swarm = build_swarm(keypair, &config, gossip::behaviour(&topic, registry)?, streams, registry)?;
        let client = Client::new(control, limiter.clone(), metrics.clone(), timeouts);
        let context = Context {
            provider: ProviderRef(provider),
            limiter: limiter.clone(),
            own_status: own_status.clone(),
            notices: notice_sender,
            timeouts,
            metrics: metrics.clone(),
        };
        let handle = Handle {
            local_peer_id: *swarm.local_peer_id(),
            client: client.clone(),
            commands: command_sender,
            own_status: own_sender,
            listening: listening_receiver,
            ready_count: ready_receiver,
        };
        let service = Self {
            swarm,
            server: Some(Server::new(context, inbound, &config.limits.exchanges)),
            client,
            commands,
            notices,
            own_status,
            listening,
            ready_count,
            events: event_sender,
            table: Table::new(table_rules(&config, genesis_id)),
            dialer: Dialer::new(config.dialing, &config.peers, Instant::now()),
            dials: HashMap::new(),
            farewells: HashMap::new(),
            tasks: JoinSet::new(),
            topic,
            limiter,
            metrics,
            libp2p_metrics,
            config,
            bound: false,
            listeners: Vec::new(),
        };
        Ok((service, handle, events))
    }
}

/// A peer can only be dialed where an address says how.
fn check_peer_addresses(addresses: &[Multiaddr]) -> Result<(), StartError> {
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
    gossip: gossip::Gossip,
    streams: streams::Behaviour,
    registry: &mut Registry,
) -> Result<Swarm<Behaviour>, StartError> {
    let transport = transport::build(keypair, &config.limits.connections, config.timeouts.connect, registry)?;
    let behaviour = Behaviour::new(keypair, config, gossip, streams);
    let settings = swarm::Config::with_tokio_executor().with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS);
    Ok(Swarm::new(transport, behaviour, keypair.public().to_peer_id(), settings))
}
