//! A node in this process.

use lapis_node::{
    node::{Node, NodeHandle},
    shutdown::TaskFailure,
    status::NodeStatus,
};
use lapis_p2p::PeerInfo;
use lapis_protocol_spec::Height;
use lapis_storage::{Store, Watermarks};
use libp2p::{Multiaddr, PeerId};
use tokio::{task::JoinHandle, time::timeout};

use crate::{Home, PATIENCE};

/// A whole node on the loopback interface. Dropped without [`TestNode::stop`] it goes down with the test.
#[derive(Debug)]
pub struct TestNode {
    handle: NodeHandle,
    task: JoinHandle<Result<(), TaskFailure>>,
    home: Home,
}

impl TestNode {
    pub(crate) fn run(node: Node, home: Home) -> Self {
        let handle = node.handle();
        Self { handle, task: tokio::spawn(node.run()), home }
    }

    /// What the outside may know and do of it.
    pub fn handle(&self) -> &NodeHandle {
        &self.handle
    }

    /// Who it is.
    pub fn peer_id(&self) -> PeerId {
        self.handle.peer_id
    }

    /// Where it listens, with its id.
    pub fn address(&self) -> Multiaddr {
        self.handle.addresses()[0].clone()
    }

    /// Its store.
    pub fn store(&self) -> &Store {
        &self.handle.store
    }

    /// Connects to `address`.
    pub async fn dial(&self, address: Multiaddr) -> PeerId {
        self.handle.network.dial(address).await.unwrap()
    }

    /// Waits until every height up to `height` is imported.
    pub async fn imported(&self, height: Height) {
        self.watermarks(&format!("import of height {height}"), |marks| marks.imported >= height).await;
    }

    /// Waits until the watermarks are as `wanted`.
    pub async fn watermarks(&self, what: &str, wanted: impl FnMut(&Watermarks) -> bool) -> Watermarks {
        let mut feed = self.handle.feed.subscribe();
        match timeout(PATIENCE, feed.wait_for(wanted)).await {
            Ok(marks) => *marks.unwrap(),
            Err(_) => self.give_up(what),
        }
    }

    /// Waits until the status is as `wanted`.
    pub async fn status(&self, what: &str, wanted: impl FnMut(&NodeStatus) -> bool) -> NodeStatus {
        let mut status = self.handle.status.clone();
        match timeout(PATIENCE, status.wait_for(wanted)).await {
            Ok(status) => status.unwrap().clone(),
            Err(_) => self.give_up(what),
        }
    }

    /// Waits until what the node knows of `peer` is as `wanted`.
    pub async fn knows(&self, what: &str, peer: PeerId, wanted: impl Fn(&PeerInfo) -> bool) -> PeerInfo {
        let found = self.find(async || self.peer(peer).await.filter(&wanted)).await;
        match found {
            Some(info) => info,
            None => {
                let info = self.peer(peer).await;
                self.give_up(&format!("{what}; the peer is {info:#?}"))
            }
        }
    }

    /// Waits until `look`, called whenever the node renews its status, finds something.
    pub async fn until<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match self.find(look).await {
            Some(found) => found,
            None => self.give_up(what),
        }
    }

    async fn find<T>(&self, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
        let mut status = self.handle.status.clone();
        let search = async {
            loop {
                if let Some(found) = look().await {
                    return found;
                }
                status.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, search).await.ok()
    }

    /// What the node knows of `peer` now.
    pub async fn peer(&self, peer: PeerId) -> Option<PeerInfo> {
        self.handle.network.peers().await.unwrap().into_iter().find(|info| info.peer == peer)
    }

    /// Nothing was found wrong with `peer`, which is connected.
    pub async fn assert_unblemished(&self, peer: PeerId) {
        let info = self.peer(peer).await.expect("an honest peer is connected");
        let faults = (info.last_fault, info.score, info.banned_for);
        assert_eq!(faults, (None, 0.0, None), "an honest peer is blamed");
    }

    /// Stops it in order, and gives the directory with the key back.
    pub async fn stop(self) -> Home {
        let Self { handle, task, home } = self;
        handle.stop();
        drop(handle);
        crate::patiently("a node stops", task).await.unwrap().unwrap();
        home
    }

    fn give_up(&self, what: &str) -> ! {
        let (status, marks) = (self.handle.status.borrow().clone(), self.handle.feed.current());
        let ended = if self.task.is_finished() { "the node has ended" } else { "the node runs" };
        panic!("waited {PATIENCE:?} in vain: {what}; {ended}\n{marks:#?}\n{status:#?}")
    }
}
