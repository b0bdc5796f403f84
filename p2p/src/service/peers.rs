//! Handshake, news, goodbye: what is done with peers.

use std::time::{Duration, Instant};

use lapis_protocol_spec::{GoodbyeReason, Item, Request, Status};
use libp2p::PeerId;
use tokio::task::JoinError;

use super::{Dial, Done, Service};
use crate::{
    Event, Fault, GoneReason, Offence, RequestError, ServiceError,
    exchange::Client,
    peers::{Expiry, Failure, StatusOutcome},
    server::Notice,
};

/// How long a peer that has answered a status may take to end the stream.
const END: Duration = Duration::from_secs(1);

impl Service {
    pub(super) fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Status(peer, status) => self.on_status(peer, status),
            Notice::Goodbye(peer, reason) => {
                tracing::debug!(%peer, ?reason, "peer says goodbye");
                if self.table.is_connected(&peer) {
                    self.farewells.insert(peer, GoneReason::Goodbye(reason));
                    // What breaks from now on breaks in order.
                    self.table.leave(peer, reason, Instant::now());
                    self.part(peer);
                }
            }
            Notice::Offence(peer, offence) => self.charge(peer, offence),
        }
    }

    pub(super) fn on_task(&mut self, ended: Result<Done, JoinError>) -> Result<(), ServiceError> {
        match ended {
            Ok(Done::Status(peer, Ok(answer))) => {
                self.table.status_sent(peer);
                if let Some(status) = answer {
                    self.on_status(peer, status);
                }
            }
            Ok(Done::Status(peer, Err(fault))) => {
                self.table.status_sent(peer);
                self.on_status_failed(peer, fault);
            }
            Ok(Done::Goodbye(peer)) => self.part(peer),
            Err(error) if error.is_panic() => return Err(ServiceError::Panicked("peer")),
            Err(_) => {}
        }
        Ok(())
    }

    /// Our status has changed: peers are to know, those that were told lately a little later.
    pub(super) fn on_own_status(&mut self) {
        self.table.own_status_changed();
        self.tell_due(Instant::now());
    }

    /// Does what is due. A ban that is told to be over lets the next dial through.
    pub(super) fn expire(&mut self, now: Instant) {
        for expiry in self.table.expire(now) {
            match expiry {
                Expiry::Handshake(peer) => {
                    self.charge(peer, Offence::NoHandshake);
                    self.leave(peer, GoodbyeReason::Fault);
                }
                Expiry::Goodbye(peer) => self.part(peer),
                Expiry::Ban(peer) => drop(self.swarm.behaviour_mut().blocked.unblock_peer(peer)),
            }
        }
    }

    pub(super) fn on_tick(&mut self) {
        let now = Instant::now();
        self.expire(now);
        self.tell_due(now);
        for peer in self.swarm.behaviour_mut().routing.take_flooders() {
            tracing::debug!(%peer, "connection closed: it asked Kademlia without an end");
            self.charge(peer, Offence::TooManyStreams);
        }
        for (number, address) in self.dialer.due(now) {
            self.dial(super::commands::dial_options(&address), Dial::Target(number));
        }
        for (bucket, count) in self.limiter.waiting() {
            self.metrics.waiting(bucket, count);
        }
        self.count_peers(now);
    }

    fn tell_due(&mut self, now: Instant) {
        for peer in self.table.due_statuses(now) {
            self.tell_status(peer);
        }
    }

    /// Sends our status, as dialer or as news.
    pub(super) fn tell_status(&mut self, peer: PeerId) {
        let ours = self.own_status.borrow().status;
        let client = self.client.clone();
        self.tasks.spawn(async move { Done::Status(peer, exchange_status(&client, peer, ours).await) });
    }

    fn on_status(&mut self, peer: PeerId, status: Status) {
        match self.table.status(peer, status) {
            StatusOutcome::Ready => {
                tracing::debug!(%peer, decided = status.decided_height, "peer ready");
                self.dialer.ready(&peer);
                self.on_found(peer);
                self.events.send(Event::PeerReady { peer, status });
                self.count_peers(Instant::now());
            }
            StatusOutcome::Updated => drop(self.events.send(Event::PeerStatus { peer, status })),
            StatusOutcome::WrongNetwork => {
                tracing::debug!(%peer, genesis_id = %status.genesis_id, "peer of another chain");
                self.leave(peer, GoodbyeReason::WrongNetwork);
            }
            StatusOutcome::Same | StatusOutcome::Ignored => {}
        }
    }

    fn on_status_failed(&mut self, peer: PeerId, fault: Fault) {
        if let Some(offence) = fault.offence() {
            self.charge(peer, offence);
        }
        // Without statuses there is nothing to be done with a peer; a ready one may do better next time.
        if self.table.ready().all(|ready| ready != peer) {
            self.leave(peer, GoodbyeReason::Fault);
        }
    }

    /// Says goodbye, then closes.
    pub(super) fn leave(&mut self, peer: PeerId, reason: GoodbyeReason) {
        if !self.table.leave(peer, reason, Instant::now()) {
            return;
        }
        self.farewells.insert(peer, GoneReason::Disconnected(reason));
        let (client, limit) = (self.client.clone(), self.config.timeouts.goodbye);
        self.tasks.spawn(async move {
            // Whether it was heard does not change what follows.
            let _ = tokio::time::timeout(limit, say_goodbye(&client, peer, reason)).await;
            Done::Goodbye(peer)
        });
    }

    /// Leaves a peer that must not come back for now.
    pub(super) fn ban(&mut self, peer: PeerId) {
        if self.table.is_connected(&peer) {
            self.leave(peer, GoodbyeReason::Banned);
        } else {
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        }
    }

    /// Closes all connections to a peer, and keeps it out if it is banned.
    fn part(&mut self, peer: PeerId) {
        if self.table.is_banned(&peer, Instant::now()) {
            self.swarm.behaviour_mut().blocked.block_peer(peer);
        } else {
            // An error says that it is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
    }

    pub(super) fn count_peers(&mut self, now: Instant) {
        let ready = self.table.ready().count();
        self.metrics.peers(ready, self.table.banned_count(now));
        self.ready_count.send_if_modified(|count| std::mem::replace(count, ready) != ready);
    }
}

/// How soon a peer with which it ended like this is worth another attempt.
pub(super) fn failure_of(reason: GoodbyeReason) -> Failure {
    match reason {
        GoodbyeReason::WrongNetwork | GoodbyeReason::Banned => Failure::Unsuitable,
        GoodbyeReason::Shutdown | GoodbyeReason::Fault | GoodbyeReason::TooManyPeers | GoodbyeReason::Other(_) => {
            Failure::Unreachable
        }
    }
}

/// `None` if the connection is gone: nothing is known of another one that the peer may have, and what follows for the
/// peer is for the swarm to tell.
async fn exchange_status(client: &Client, peer: PeerId, ours: Status) -> Result<Option<Status>, Fault> {
    let mut exchange = match client.request(peer, &Request::Status(ours)).await {
        Ok(exchange) => exchange,
        Err(error) => {
            tracing::debug!(%peer, %error, "status not sent");
            return if matches!(error, RequestError::NotConnected(_)) { Ok(None) } else { Err(error.fault()) };
        }
    };
    match exchange.next().await {
        Ok(Some(Item::Status(status))) => {
            // A peer is told that its answer is not wanted if the stream is dropped before it has ended it.
            let _ = tokio::time::timeout(END, exchange.next()).await;
            Ok(Some(status))
        }
        Ok(Some(_)) => Err(Fault::Peer(Offence::Malformed)),
        // Over QUIC, a server that has no room and drops the stream looks like this as well.
        Ok(None) => Err(Fault::Unclear(Offence::Truncated)),
        Err(error) => {
            tracing::debug!(%peer, %error, "status not answered");
            Err(error.fault())
        }
    }
}

/// Waits until the peer has ended its side, so that the connection is not closed before it has heard.
async fn say_goodbye(client: &Client, peer: PeerId, reason: GoodbyeReason) {
    if let Ok(mut exchange) = client.request(peer, &Request::Goodbye(reason)).await {
        let _ = exchange.next().await;
    }
}
