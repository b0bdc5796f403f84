//! How the node talks to its network.

use std::time::Duration;

use lapis_protocol_spec::{Bytes32, DecidedValue, GoodbyeReason, Request, Status, encode};
use libp2p::{Multiaddr, PeerId, gossipsub};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    AnnounceError, AnnouncementId, BanError, DialError, Exchange, Offence, PeerInfo, Remembered, RequestError, Stopped,
    exchange::Client, limits::LONGEST,
};

/// What we say of ourselves, and how often it has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnStatus {
    pub(crate) status: Status,
    pub(crate) sequence: u64,
}

impl OwnStatus {
    pub(crate) fn new(genesis_id: Bytes32) -> Self {
        Self { status: Status { genesis_id, ..Status::default() }, sequence: 0 }
    }
}

/// The node's judgement of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// Verified: it is forwarded.
    Accept,
    /// Cannot be valid: not forwarded, and its sender is charged.
    Reject,
    /// Old, or not to be judged: not forwarded, nobody is charged.
    Ignore,
}

impl From<Acceptance> for gossipsub::MessageAcceptance {
    fn from(acceptance: Acceptance) -> Self {
        match acceptance {
            Acceptance::Accept => Self::Accept,
            Acceptance::Reject => Self::Reject,
            Acceptance::Ignore => Self::Ignore,
        }
    }
}

/// What became of our announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// On its way.
    Sent,
    /// Others announced the same before.
    Known,
    /// Nobody is there to hear it.
    NoPeers,
}

/// Something for the service to do.
#[derive(Debug)]
pub(crate) enum Command {
    Peers(oneshot::Sender<Vec<PeerInfo>>),
    Report(PeerId, Offence),
    Disconnect(PeerId, GoodbyeReason),
    Dial(Multiaddr, oneshot::Sender<Result<PeerId, DialError>>),
    Announce(Vec<u8>, oneshot::Sender<Result<Announcement, AnnounceError>>),
    Judge(AnnouncementId, Acceptance),
    Ban(PeerId, Duration, oneshot::Sender<Result<(), BanError>>),
    Unban(PeerId, oneshot::Sender<bool>),
    Remembered(oneshot::Sender<Remembered>),
    Rotate,
}

/// A node's access to its network; clones are the same access.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(crate) local_peer_id: PeerId,
    pub(crate) client: Client,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) own_status: watch::Sender<OwnStatus>,
    pub(crate) listening: watch::Receiver<Vec<Multiaddr>>,
    pub(crate) ready_count: watch::Receiver<usize>,
}

impl Handle {
    /// Who this node is.
    #[must_use]
    pub const fn local_peer_id(&self) -> PeerId {
        self.local_peer_id
    }

    /// Sends `request` to a connected peer. At most `MAX_CONCURRENT_REQUESTS` exchanges per peer and method are open;
    /// more wait, first come first served, for [`crate::Timeouts::permit`] at most. Cancel-safe.
    ///
    /// # Errors
    /// [`RequestError`]; [`RequestError::fault`] says whose fault it is. Nobody is told of it here.
    pub async fn request(&self, peer: PeerId, request: Request) -> Result<Exchange, RequestError> {
        self.client.request(peer, &request).await
    }

    /// Says what this node holds from now on. Connected peers are told, each at most once in a second. The genesis id
    /// is always that of the service.
    pub fn set_status(&self, status: Status) {
        self.own_status.send_if_modified(|own| {
            let status = Status { genesis_id: own.status.genesis_id, ..status };
            let changed = own.status != status;
            if changed {
                *own = OwnStatus { status, sequence: own.sequence.saturating_add(1) };
            }
            changed
        });
    }

    /// Charges a peer with an offence.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn report(&self, peer: PeerId, offence: Offence) -> Result<(), Stopped> {
        self.command(Command::Report(peer, offence)).await
    }

    /// Says goodbye to a peer and closes its connections.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn disconnect(&self, peer: PeerId, reason: GoodbyeReason) -> Result<(), Stopped> {
        self.command(Command::Disconnect(peer, reason)).await
    }

    /// Connects to `address` once. Returns who is there, before statuses are exchanged: wait for
    /// [`crate::Event::PeerReady`].
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        let (reply, connected) = oneshot::channel();
        self.command(Command::Dial(address, reply)).await.map_err(|Stopped| DialError::Stopped)?;
        connected.await.unwrap_or(Err(DialError::Stopped))
    }

    /// Announces a decided value that this node has verified.
    ///
    /// # Errors
    /// [`AnnounceError`].
    pub async fn announce(&self, decided: &DecidedValue) -> Result<Announcement, AnnounceError> {
        let (reply, announced) = oneshot::channel();
        let command = Command::Announce(encode(decided), reply);
        self.command(command).await.map_err(|Stopped| AnnounceError::Stopped)?;
        announced.await.unwrap_or(Err(AnnounceError::Stopped))
    }

    /// Judges a received announcement. One that is never judged is never forwarded.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn judge(&self, message: AnnouncementId, acceptance: Acceptance) -> Result<(), Stopped> {
        self.command(Command::Judge(message, acceptance)).await
    }

    /// All peers that are connected or remembered, in the order of their ids.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn peers(&self) -> Result<Vec<PeerInfo>, Stopped> {
        let (reply, peers) = oneshot::channel();
        self.command(Command::Peers(reply)).await?;
        peers.await.map_err(|_| Stopped)
    }

    /// Keeps a peer out for so long, a year at most: says goodbye if it is connected, and neither dials it nor lets it
    /// in until the ban is over or lifted. A ban that there is already is replaced.
    ///
    /// # Errors
    /// [`BanError`].
    pub async fn ban(&self, peer: PeerId, time: Duration) -> Result<(), BanError> {
        let (reply, banned) = oneshot::channel();
        self.command(Command::Ban(peer, time.min(LONGEST), reply)).await.map_err(|Stopped| BanError::Stopped)?;
        banned.await.unwrap_or(Err(BanError::Stopped))
    }

    /// Lifts a ban; the peer's score begins anew. Whether there was one.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn unban(&self, peer: PeerId) -> Result<bool, Stopped> {
        let (reply, unbanned) = oneshot::channel();
        self.command(Command::Unban(peer, reply)).await?;
        unbanned.await.map_err(|_| Stopped)
    }

    /// What the next run should be given: [`crate::Discovery::known`] and [`crate::Config::banned`].
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn remembered(&self) -> Result<Remembered, Stopped> {
        let (reply, remembered) = oneshot::channel();
        self.command(Command::Remembered(reply)).await?;
        remembered.await.map_err(|_| Stopped)
    }

    /// Says that the node does not get on with the peers that it has. Others are looked for; if there are others to be
    /// had and no place is free, the one of this node's own choice that was of least use is asked to go.
    ///
    /// # Errors
    /// [`Stopped`].
    pub async fn rotate(&self) -> Result<(), Stopped> {
        self.command(Command::Rotate).await
    }

    /// Number of ready peers.
    #[must_use]
    pub fn connected_count(&self) -> usize {
        *self.ready_count.borrow()
    }

    /// Where this node listens, each address with `/p2p/<its peer id>`.
    #[must_use]
    pub fn listen_addresses(&self) -> Vec<Multiaddr> {
        self.listening.borrow().clone()
    }

    async fn command(&self, command: Command) -> Result<(), Stopped> {
        self.commands.send(command).await.map_err(|_| Stopped)
    }
}
