//! A peer written a second time: plain libp2p, a framing of its own, answers from a [`TestChain`], and faults to order.
//!
//! It keeps a [`Log`] of what it was asked and what it sent. Without a fault it is an honest peer, and the log makes it
//! the witness of what others fetched.

mod allowance;
mod answer;
mod client;
mod exchange;
pub mod fault;
mod forge;
mod log;
mod network;
pub(crate) mod spoil;
mod streams;

use std::sync::Arc;

use lapis_protocol_spec::{Bytes32, DecidedValue, Height, Request, Status};
use libp2p::{Multiaddr, PeerId};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::{
    allowance::Allowance,
    exchange::Script,
    fault::{ClaimFault, Fault},
    network::{Command, Network},
};
pub use self::{
    client::Reply,
    log::{Asked, Log, LogView, Sent},
};
use crate::{TestChain, patiently};

/// Commands that wait for the network's loop.
const QUEUE: usize = 8;

/// A running peer; it ends when this is dropped.
#[derive(Debug)]
pub struct ScriptedPeer {
    peer_id: PeerId,
    address: Multiaddr,
    fault: Option<Fault>,
    log: LogView,
    visible: watch::Sender<Height>,
    undecided: watch::Sender<Height>,
    allowance: Allowance,
    subscribers: watch::Receiver<usize>,
    commands: mpsc::Sender<Command>,
    client: client::Client,
    _end: DropGuard,
}

impl ScriptedPeer {
    /// A peer that holds the whole chain and breaks no rule.
    pub async fn honest(chain: &Arc<TestChain>) -> Self {
        Self::start(chain, None).await
    }

    /// A peer that holds the whole chain and breaks one rule, whenever it has the occasion.
    pub async fn with(chain: &Arc<TestChain>, fault: Fault) -> Self {
        Self::start(chain, Some(fault)).await
    }

    async fn start(chain: &Arc<TestChain>, fault: Option<Fault>) -> Self {
        crate::log_to_stderr();
        let (visible, visible_view) = watch::channel(chain.last());
        let (undecided, undecided_view) = watch::channel(0);
        let allowance = Allowance::unlimited();
        let (recorder, log) = log::new();
        let end = CancellationToken::new();
        let script = Script {
            chain: Arc::clone(chain),
            fault,
            visible: visible_view,
            undecided: undecided_view,
            allowance: allowance.clone(),
            log: recorder,
            end: end.clone(),
        };
        let (mut network, inbound) = Network::new(&chain.spec().genesis_id());
        let (commands, command_receiver) = mpsc::channel(QUEUE);
        let (subscribers_in, subscribers) = watch::channel(0);
        let (peer_id, control) = (network.peer_id(), network.control());
        let address = patiently("a scripted peer listens", network.listen()).await;
        tokio::spawn(network.run(command_receiver, subscribers_in, script.log.clone(), end.clone()));
        tokio::spawn(exchange::serve(script, inbound));
        Self {
            peer_id,
            address,
            fault,
            log,
            visible,
            undecided,
            allowance,
            subscribers,
            commands,
            client: client::Client::new(control),
            _end: end.drop_guard(),
        }
    }

    /// Who it is.
    pub fn peer_id(&self) -> PeerId {
        self.peer_id
    }

    /// Where it listens, with its id.
    pub fn address(&self) -> Multiaddr {
        self.address.clone()
    }

    /// What it was asked and what it sent.
    pub fn log(&self) -> &LogView {
        &self.log
    }

    /// From now on it knows the chain up to `height` only.
    pub fn reveal(&self, height: Height) {
        self.visible.send_replace(height);
    }

    /// From now on it holds payloads and blobs of the chain up to `height`, whether it knows them as decided or not, and
    /// serves them by root.
    pub fn hold_undecided(&self, height: Height) {
        self.undecided.send_replace(height);
    }

    /// From now on it sends no more sidecars once it has sent `count` since its start; answers wait at that point.
    pub fn allow_sidecars(&self, count: usize) {
        self.allowance.set(count);
    }

    /// From now on it begins to send so many more sidecars, and then no more.
    pub fn allow_more_sidecars(&self, count: usize) {
        self.allowance.add(count);
    }

    /// Waits until it may send no more sidecars.
    pub async fn has_sent_all_it_may(&self) {
        self.allowance.used_up().await;
    }

    /// Connects to `address`, which names the peer, and exchanges statuses. What it says of itself is honest.
    pub async fn dial(&self, chain: &TestChain, address: &Multiaddr) -> PeerId {
        let status = status(chain, *self.visible.borrow(), None);
        self.greet(address, status).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// Tells a peer to which it is connected what it has now.
    pub async fn tell(&self, chain: &TestChain, peer: PeerId) {
        let status = status(chain, *self.visible.borrow(), None);
        let reply = self.ask(peer, &Request::Status(status)).await;
        assert!(matches!(reply.as_slice(), [Reply::Item(_)]), "{reply:?}");
    }

    /// The same as [`ScriptedPeer::dial`] for a peer of which it is not known what it does, with what the ordered fault makes it say of itself.
    ///
    /// # Errors
    /// What to tell a person.
    pub async fn connect(&self, chain: &TestChain, address: &Multiaddr) -> Result<PeerId, String> {
        self.greet(address, status(chain, *self.visible.borrow(), self.fault)).await
    }

    async fn greet(&self, address: &Multiaddr, status: Status) -> Result<PeerId, String> {
        let peer = network::peer_of(address).ok_or_else(|| format!("{address} does not end with /p2p/PEER_ID"))?;
        let (connected, connection) = oneshot::channel();
        self.command(Command::Dial(address.clone(), connected)).await;
        let established = tokio::time::timeout(crate::PATIENCE, connection).await;
        established
            .map_err(|_| format!("{address} does not answer"))?
            .map_err(|_| format!("cannot reach {address}"))?;
        match self.ask(peer, &Request::Status(status)).await.as_slice() {
            [Reply::Item(_)] => Ok(peer),
            other => Err(format!("{address} does not answer a status: {other:?}")),
        }
    }

    /// Sends a request to a peer to which it is connected, and reads the response to its end.
    pub async fn ask(&self, peer: PeerId, request: &Request) -> Vec<Reply> {
        self.client.ask(peer, request).await
    }

    /// Sends bytes as a request of `method`, whether they are one or not.
    pub async fn ask_raw(&self, peer: PeerId, method: lapis_protocol_spec::Method, bytes: &[u8]) -> Vec<Reply> {
        self.client.ask_raw(peer, method, bytes).await
    }

    /// Announces a decided value to all that listen, of which it waits for `listeners`.
    pub async fn announce(&self, decided: &DecidedValue, listeners: usize) {
        let mut subscribers = self.subscribers.clone();
        patiently("somebody listens to announcements", subscribers.wait_for(|count| *count >= listeners))
            .await
            .expect("the peer runs");
        self.command(Command::Announce(Box::new(decided.clone()))).await;
    }

    async fn command(&self, command: Command) {
        self.commands.send(command).await.expect("the peer runs");
    }
}

/// What it says of itself.
fn status(chain: &TestChain, visible: Height, fault: Option<Fault>) -> Status {
    let tip = if visible == 0 { Bytes32::ZERO } else { *chain.block(visible).value.id() };
    let honest = Status {
        genesis_id: chain.spec().genesis_id(),
        decided_height: visible,
        decided_value_id: tip,
        available_height: visible,
        earliest_value_height: 1,
        earliest_payload_height: 1,
        earliest_blob_height: 1,
    };
    match fault {
        Some(Fault::Claim(ClaimFault::OtherGenesis)) => Status { genesis_id: Bytes32::from([0x5a; 32]), ..honest },
        Some(Fault::Claim(ClaimFault::LyingHeight | ClaimFault::LyingHeightAndNothingServed)) => {
            Status { decided_height: u64::MAX, available_height: u64::MAX, ..honest }
        }
        _ => honest,
    }
}
