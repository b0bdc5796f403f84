//! A connection to one peer.

use std::{sync::Arc, time::Duration};

use lapis_p2p::{
    Config, Event, Events, Exchange, Handle, ItemSource, NoItems, PeerState, Provider, RequestError, ServeError,
    Service,
};
use lapis_protocol_spec::{Bytes32, GoodbyeReason, Item, Request, Status, ValidatorSet};
use libp2p::{Multiaddr, PeerId, identity::Keypair};
use prometheus_client::registry::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::FetchError;

/// How often to look whether a peer is still there that has not said which chain it is of.
const LOOK: Duration = Duration::from_millis(50);

/// A connection to one peer, of which it is known that it is of the chain.
#[derive(Debug)]
pub struct Session {
    network: Handle,
    peer: PeerId,
    status: Status,
    stop: CancellationToken,
    service: JoinHandle<()>,
}

/// This side has nothing.
#[derive(Debug)]
struct Nothing;

impl Provider for Nothing {
    fn serve(&self, _: PeerId, _: &Request) -> Result<Box<dyn ItemSource>, ServeError> {
        Ok(Box::new(NoItems))
    }
}

impl Session {
    /// Connects to `address` with a key of its own and exchanges statuses, within `limit`. Listens nowhere.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn open(address: Multiaddr, genesis_id: Bytes32, limit: Duration) -> Result<Self, FetchError> {
        Self::open_with(Config::default(), address, genesis_id, limit).await
    }

    /// As [`Session::open`], with another configuration of the network.
    ///
    /// # Errors
    /// [`FetchError`].
    pub async fn open_with(
        mut config: Config,
        address: Multiaddr,
        genesis_id: Bytes32,
        limit: Duration,
    ) -> Result<Self, FetchError> {
        let key = Keypair::generate_ed25519();
        let mut registry = Registry::default();
        // One peer was named, and nobody else is dialed, whatever it tells.
        config.discovery.target_peers = 0;
        let (mut service, network, events) = Service::new(config, &key, genesis_id, Arc::new(Nothing), &mut registry)?;
        service.bind().await?;
        let stop = CancellationToken::new();
        let ended = stop.clone();
        let service = tokio::spawn(async move {
            // Whoever waits for the network learns that it has stopped; why is of no use to them.
            let _ = service.run(ended).await;
        });
        let greeted = tokio::time::timeout(limit, greet(&network, events, address)).await;
        let (peer, status) = match greeted.unwrap_or(Err(FetchError::Silent)) {
            Ok(greeted) => greeted,
            Err(error) => {
                stop.cancel();
                let _ = service.await;
                return Err(error);
            }
        };
        Ok(Self { network, peer, status, stop, service })
    }

    /// Who it is.
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What it says that it has.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Sends a request.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn request(&self, request: Request) -> Result<Exchange, RequestError> {
        self.network.request(self.peer, request).await
    }

    /// The set with this root.
    ///
    /// # Errors
    /// [`FetchError`]; [`FetchError::NoValidatorSet`] if the peer does not have it.
    pub async fn validator_set(&self, root: Bytes32) -> Result<ValidatorSet, FetchError> {
        let mut exchange = self.request(Request::ValidatorSetByRoot(root)).await?;
        match exchange.next().await? {
            Some(Item::ValidatorSet(set)) if set.check_root(&root).is_ok() => Ok(set),
            Some(_) => Err(FetchError::OtherItem),
            None => Err(FetchError::NoValidatorSet(root)),
        }
    }

    /// Says goodbye.
    pub async fn close(self) {
        // The connection may have gone already.
        let _ = self.network.disconnect(self.peer, GoodbyeReason::Shutdown).await;
        self.stop.cancel();
        let _ = self.service.await;
    }
}

/// Dials, and waits until statuses are exchanged. Events tell of a peer that was greeted only; one that parts before is
/// found by looking.
async fn greet(network: &Handle, mut events: Events, address: Multiaddr) -> Result<(PeerId, Status), FetchError> {
    let dialed = network.dial(address).await?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::PeerReady { peer, status }) if peer == dialed => return Ok((peer, status)),
                Some(Event::PeerGone { peer, reason }) if peer == dialed => return Err(FetchError::Gone(reason)),
                Some(_) => {}
                None => return Err(FetchError::Interrupted),
            },
            _ = look.tick() => {
                let peers = network.peers().await.map_err(|_| FetchError::Interrupted)?;
                match peers.iter().find(|info| info.peer == dialed).map(|info| info.state) {
                    Some(PeerState::Handshaking | PeerState::Ready) => {}
                    Some(PeerState::Leaving(reason)) => return Err(FetchError::Refused(Some(reason))),
                    Some(PeerState::Gone) | None => return Err(FetchError::Refused(None)),
                }
            }
        }
    }
}
