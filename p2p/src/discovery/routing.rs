//! libp2p's Kademlia, held on a short rein: it dials only as often as it is allowed to, nobody that is to be left alone,
//! and no address that is not plausible. A connection that asks it without an end is closed.

use std::{
    collections::HashSet,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use lapis_protocol_spec::Bytes32;
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    core::{Endpoint, transport::PortUse},
    kad::{self, QueryId},
    swarm::{
        CloseConnection, ConnectionDenied, ConnectionId, DialError, DialFailure, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, dial_opts::DialOpts,
    },
};

use super::{
    address::{ADDRESSES_PER_PEER, Reach, plausible, without_peer},
    load::Load,
    records::NoRecords,
    walks::Destination,
};

/// Longest time of one query. Kademlia's rule for a query's end is about progress; a liar can always make some.
const QUERY: Duration = Duration::from_secs(30);

/// Most peers that wait to be taken note of: what one query can hear of in a moment.
const TOLD: usize = 64;

type Inner = kad::Behaviour<NoRecords>;

/// Kademlia for one chain.
pub(crate) struct Routing {
    kad: Inner,
    protocol: StreamProtocol,
    /// How far an address must reach to be dialed on the word of others.
    least: Reach,
    /// Dials that queries may still begin.
    dials: usize,
    /// Peers that queries must not dial.
    avoided: HashSet<PeerId>,
    /// Peers that a query has heard of and may not dial. At most [`TOLD`].
    told: Vec<(PeerId, Vec<Multiaddr>)>,
    load: Load,
    /// Connections that ask too much, until they are closed: what they ask meanwhile is not looked at.
    floods: HashSet<ConnectionId>,
    /// Those of them that are still to be told to close.
    closing: Vec<(PeerId, ConnectionId)>,
    /// Whose they were, for the service. At most [`TOLD`].
    flooders: Vec<PeerId>,
}

impl Routing {
    pub(crate) fn new(own: PeerId, genesis_id: &Bytes32) -> Self {
        let protocol = protocol(genesis_id);
        let mut config = kad::Config::new(protocol.clone());
        config.set_query_timeout(QUERY);
        // Walks are begun by decision, and entries made of addresses that were checked.
        config.set_periodic_bootstrap_interval(None);
        config.set_kbucket_inserts(kad::BucketInserts::Manual);
        config.set_caching(kad::Caching::Disabled);
        config.set_replication_interval(None);
        config.set_publication_interval(None);
        config.set_provider_publication_interval(None);
        let kad = Inner::with_config(own, NoRecords, config);
        Self {
            kad,
            protocol,
            least: Reach::Global,
            dials: 0,
            avoided: HashSet::new(),
            told: Vec::new(),
            load: Load::default(),
            floods: HashSet::new(),
            closing: Vec::new(),
            flooders: Vec::new(),
        }
    }

    /// How far an address must reach to be believed of somebody else than the peer itself.
    pub(crate) const fn least(&self) -> Reach {
        self.least
    }

    /// This node can be reached so far itself: what is as near is plausible.
    pub(crate) fn set_least(&mut self, least: Reach) {
        self.least = least;
    }

    /// Whether a peer that speaks `protocols` takes part as a server.
    pub(crate) fn is_server(&self, protocols: &[StreamProtocol]) -> bool {
        protocols.contains(&self.protocol)
    }

    /// Enters a peer with plausible addresses, which take the place of those it had: libp2p would collect them without
    /// a bound.
    pub(crate) fn add(&mut self, peer: &PeerId, addresses: &[Multiaddr]) {
        let before = self.addresses(peer);
        if before.is_empty() {
            // It may wait for a place, with addresses that cannot be seen.
            self.kad.remove_peer(peer);
        }
        for address in addresses {
            self.kad.add_address(peer, address.clone());
        }
        let is_told = |known: &Multiaddr| addresses.contains(&without_peer(known));
        for stale in before.iter().filter(|known| !is_told(known)) {
            self.kad.remove_address(peer, stale);
        }
    }

    /// The addresses of an entry; none if there is no entry, or one that waits for a place.
    fn addresses(&mut self, peer: &PeerId) -> Vec<Multiaddr> {
        let Some(bucket) = self.kad.kbucket(*peer) else { return Vec::new() };
        let entry = bucket.iter().find(|entry| entry.node.key.preimage() == peer);
        entry.map(|entry| entry.node.value.iter().cloned().collect()).unwrap_or_default()
    }

    /// Takes a peer out.
    pub(crate) fn remove(&mut self, peer: &PeerId) {
        self.kad.remove_peer(peer);
    }

    /// Whether there is anybody to ask.
    pub(crate) fn knows_anyone(&mut self) -> bool {
        self.kad.kbuckets().any(|bucket| !bucket.is_empty())
    }

    /// From here on queries may begin so many dials, and none to `avoided`.
    pub(crate) fn allow(&mut self, dials: usize, avoided: HashSet<PeerId>) {
        self.dials = dials;
        self.avoided = avoided;
    }

    /// Looks for the peers that are closest to `destination`.
    pub(crate) fn walk(&mut self, destination: Destination, own: PeerId) -> QueryId {
        self.kad.get_closest_peers(match destination {
            Destination::Own => own,
            Destination::Random => PeerId::random(),
        })
    }

    /// Peers that queries have heard of since the last time, with plausible addresses.
    pub(crate) fn take_told(&mut self) -> Vec<(PeerId, Vec<Multiaddr>)> {
        std::mem::take(&mut self.told)
    }

    /// Peers that lost a connection for asking too much, since the last time.
    pub(crate) fn take_flooders(&mut self) -> Vec<PeerId> {
        std::mem::take(&mut self.flooders)
    }

    fn on_flood(&mut self, peer: PeerId, connection: ConnectionId) {
        if self.floods.insert(connection) {
            self.closing.push((peer, connection));
            if self.flooders.len() < TOLD {
                self.flooders.push(peer);
            }
        }
    }

    /// Takes note of a peer that is not dialed now.
    fn note(&mut self, options: &DialOpts) {
        let Some(peer) = options.get_peer_id().filter(|_| self.told.len() < TOLD) else { return };
        let (connection, role) = (options.connection_id(), Endpoint::Dialer);
        if let Ok(addresses) = self.handle_pending_outbound_connection(connection, Some(peer), &[], role) {
            self.told.push((peer, addresses));
        }
    }

    /// Takes one dial from those that are allowed.
    fn may_dial(&mut self, options: &DialOpts) -> bool {
        let avoided = options.get_peer_id().is_some_and(|peer| self.avoided.contains(&peer));
        if avoided || self.dials == 0 {
            return false;
        }
        self.dials -= 1;
        true
    }
}

impl NetworkBehaviour for Routing {
    type ConnectionHandler = <Inner as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = kad::Event;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.kad.handle_pending_inbound_connection(connection, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_inbound_connection(connection, peer, local, remote)
    }

    /// What a query has heard of a peer is as good as whom it heard it from.
    fn handle_pending_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        let known = self.kad.handle_pending_outbound_connection(connection, peer, addresses, role)?;
        let Some(peer) = peer else { return Ok(known) };
        let plausible = known.iter().filter_map(|address| plausible(address, &peer, self.least));
        Ok(plausible.take(ADDRESSES_PER_PEER).collect())
    }

    fn handle_established_outbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.kad.handle_established_outbound_connection(connection, peer, address, role, port)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = &event {
            self.load.forget(closed.connection_id);
            self.floods.remove(&closed.connection_id);
        }
        self.kad.on_swarm_event(event);
    }

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        if self.load.take(connection, Instant::now()) {
            self.kad.on_connection_handler_event(peer, connection, event);
        } else {
            self.on_flood(peer, connection);
        }
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<kad::Event, THandlerInEvent<Self>>> {
        if let Some((peer_id, connection)) = self.closing.pop() {
            let connection = CloseConnection::One(connection);
            return Poll::Ready(ToSwarm::CloseConnection { peer_id, connection });
        }
        loop {
            let options = match self.kad.poll(context) {
                Poll::Ready(ToSwarm::Dial { opts }) if !self.may_dial(&opts) => opts,
                other => return other,
            };
            self.note(&options);
            // The query goes on without that peer.
            self.kad.on_swarm_event(FromSwarm::DialFailure(DialFailure {
                peer_id: options.get_peer_id(),
                error: &DialError::Aborted,
                connection_id: options.connection_id(),
            }));
        }
    }
}

/// One network of nodes per chain, so that those of two chains never meet there.
fn protocol(genesis_id: &Bytes32) -> StreamProtocol {
    let [a, b, c, d, ..] = genesis_id.0;
    let name = format!("/lapis/{a:02x}{b:02x}{c:02x}{d:02x}/kad/1");
    #[expect(clippy::expect_used, reason = "a name is refused only if it does not begin with a slash")]
    StreamProtocol::try_from_owned(name).expect("it begins with a slash")
}

#[cfg(test)]
mod tests;
