//! The network of a node: owns the swarm and the peer table, and drives both.
//!
//! The loop waits for whatever comes first (swarm, commands, notices from the server, ended tasks, the clock) and does
//! what follows from it without ever waiting in between. Whatever takes time is a task.

mod behaviour;
mod build;
mod commands;
mod discovery;
mod network;
mod peers;
mod per_ip;
mod per_peer;
mod run;
mod totals;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use lapis_protocol_spec::Status;
use libp2p::{
    Multiaddr, PeerId, Swarm, core::transport::ListenerId, kad::QueryId, metrics::Metrics as Libp2pMetrics,
    swarm::ConnectionId,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
};

use crate::{
    Config, DialError, Fault, GoneReason,
    discovery::{Observed, Planner},
    events::EventSender,
    exchange::Client,
    gossip::Announcements,
    handle::{Command, OwnStatus},
    limiter::Limiter,
    metrics::Metrics,
    peers::{Dialer, Table},
    server::{Notice, Server},
};

use behaviour::{Behaviour, BehaviourEvent};

/// What a dial was for.
#[derive(Debug)]
enum Dial {
    /// Configured peer, by its number.
    Target(usize),
    /// The node asked for it.
    Asked(Multiaddr, oneshot::Sender<Result<PeerId, DialError>>),
    /// Boot node, by its number.
    Boot(usize),
    /// A candidate of the address book.
    Candidate(PeerId),
}

impl Dial {
    /// Whether discovery began it.
    const fn is_automatic(&self) -> bool {
        matches!(self, Self::Boot(_) | Self::Candidate(_))
    }

    /// Name in metrics.
    const fn name(&self) -> &'static str {
        match self {
            Self::Target(_) => "configured",
            Self::Asked(..) => "asked",
            Self::Boot(_) => "boot",
            Self::Candidate(_) => "candidate",
        }
    }
}

/// A walk of Kademlia under way.
#[derive(Clone, Copy, Debug)]
struct Walk {
    query: QueryId,
    /// Peers in the address book when it began.
    candidates: usize,
}

/// What a task of the service has come to.
#[derive(Debug)]
enum Done {
    /// A peer was told our status.
    Status(PeerId, Result<Option<Status>, Fault>),
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
    planner: Planner,
    boots: Dialer,
    walk: Option<Walk>,
    observed: Observed,
    /// Configured and trusted peers. Bounded by configuration.
    kept: HashSet<PeerId>,
    /// Why peers that are still connected will be gone.
    farewells: HashMap<PeerId, GoneReason>,
    tasks: JoinSet<Done>,
    announcements: Announcements,
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
