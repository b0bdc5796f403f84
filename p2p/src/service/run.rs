//! Start, loop, stop.

use std::{collections::HashSet, io, time::Duration};

use futures::StreamExt;
use lapis_protocol_spec::GoodbyeReason;
use libp2p::{Multiaddr, TransportError, core::transport::ListenerId, multiaddr::Protocol, swarm::SwarmEvent};
use tokio::{task::JoinHandle, time::MissedTickBehavior};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Behaviour, BehaviourEvent, Service};
use crate::{ServiceError, StartError, transport};

/// How often time limits, back-off and bans are looked at.
const TICK: Duration = Duration::from_millis(200);

/// How often the number of peers is looked at.
const DISCOVER: Duration = Duration::from_millis(500);

/// How often buckets of peers that are idle are forgotten.
const FORGET: Duration = Duration::from_secs(60);

/// How long closing connections may take after everything is said.
const CLOSING: Duration = Duration::from_secs(1);

/// The server's task, which ends with the service.
struct Serving {
    task: JoinHandle<Result<(), ServiceError>>,
    stop: CancellationToken,
    _stops: DropGuard,
    ended: bool,
}

impl Serving {
    /// Completes once, when the server has ended.
    async fn ended(&mut self) -> Result<(), ServiceError> {
        if self.ended {
            return std::future::pending().await;
        }
        let result = (&mut self.task).await;
        self.ended = true;
        result.unwrap_or(Err(ServiceError::Panicked("server")))
    }
}

/// The limiter's task, which ends with the service.
struct Limiting(JoinHandle<()>);

impl Drop for Limiting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Service {
    /// Listens on every configured address and waits until that is certain. [`crate::Handle::listen_addresses`] knows
    /// the actual ones from here on. A second call does nothing.
    ///
    /// # Errors
    /// [`StartError::Listen`] with the address that cannot be had.
    pub async fn bind(&mut self) -> Result<(), StartError> {
        if std::mem::replace(&mut self.bound, true) {
            return Ok(());
        }
        let mut waiting = HashSet::new();
        for address in self.config.listen.clone() {
            let listener = self
                .listen(address.clone())
                .map_err(|source| StartError::Listen { address: address.clone(), source })?;
            waiting.insert((listener, address));
            self.listeners.push(listener);
        }
        while !waiting.is_empty() {
            let event = self.swarm.select_next_some().await;
            if let SwarmEvent::ListenerClosed { listener_id, reason, .. } = &event
                && let Some((_, address)) = waiting.iter().find(|(id, _)| id == listener_id)
            {
                let source = match reason {
                    Err(error) => io::Error::new(error.kind(), error.to_string()),
                    Ok(()) => io::Error::other("the listener closed"),
                };
                return Err(StartError::Listen { address: address.clone(), source });
            }
            if let Some(listener) = listening(&event) {
                waiting.retain(|(id, _)| *id != listener);
            }
            self.on_swarm_event(event);
        }
        Ok(())
    }

    fn listen(&mut self, address: Multiaddr) -> io::Result<ListenerId> {
        transport::check_free(&address)?;
        self.swarm.listen_on(address).map_err(|error| match error {
            TransportError::Other(source) => source,
            TransportError::MultiaddrNotSupported(_) => io::Error::other("no transport for such an address"),
        })
    }

    /// Runs the network until `shutdown`, then says goodbye to all peers, lets exchanges come to their end, each within
    /// its time limit, and closes. Listens first, if [`Service::bind`] was not called.
    ///
    /// # Errors
    /// [`ServiceError`]: the network cannot start, or a part of it failed.
    pub async fn run(mut self, shutdown: CancellationToken) -> Result<(), ServiceError> {
        self.bind().await?;
        let Some(server) = self.server.take() else { return Ok(()) };
        let stop = CancellationToken::new();
        let _stops = stop.clone().drop_guard();
        let task = tokio::spawn(server.run(stop.clone()));
        let mut serving = Serving { task, stop, _stops, ended: false };
        let limiter = self.limiter.clone();
        let mut limiting = Limiting(tokio::spawn(async move { limiter.drive().await }));
        let mut tick = tokio::time::interval(TICK);
        let mut forget = tokio::time::interval(FORGET);
        let mut discover = tokio::time::interval(DISCOVER);
        for interval in [&mut tick, &mut forget, &mut discover] {
            interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                ended = serving.ended() => return ended,
                _ = &mut limiting.0 => return Err(ServiceError::Panicked("limiter")),
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                Some(command) = self.commands.recv() => self.on_command(command),
                Some(notice) = self.notices.recv() => self.on_notice(notice),
                Some(ended) = self.tasks.join_next() => self.on_task(ended)?,
                Ok(()) = self.own_status.changed() => self.on_own_status(),
                _ = tick.tick() => self.on_tick(),
                _ = discover.tick() => self.discover(),
                _ = forget.tick() => self.limiter.forget_idle(),
            }
        }
        self.stop(serving).await
    }

    /// Takes nothing new, finishes what it has begun, says goodbye, closes; in this order, since peers close their side
    /// when they hear goodbye.
    async fn stop(mut self, mut serving: Serving) -> Result<(), ServiceError> {
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
        self.swarm.behaviour_mut().routing.allow(0, HashSet::new());
        serving.stop.cancel();
        let mut result = Ok(());
        while !serving.ended {
            tokio::select! {
                ended = serving.ended() => result = ended,
                () = self.drive() => {}
            }
        }
        let connected: Vec<_> = self.table.connected_peers().collect();
        for peer in connected {
            self.leave(peer, GoodbyeReason::Shutdown);
        }
        // Goodbyes have this time as well; a status that a peer does not take may have longer, and is dropped.
        let _ = tokio::time::timeout(self.config.timeouts.goodbye, async {
            while !self.tasks.is_empty() {
                self.drive().await;
            }
        })
        .await;
        let peers: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in peers {
            // An error says that the peer is gone already.
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let _ = tokio::time::timeout(CLOSING, async {
            while self.swarm.connected_peers().next().is_some() {
                let event = self.swarm.select_next_some().await;
                self.on_swarm_event(event);
            }
        })
        .await;
        result
    }

    /// One step of a service that stops. What peers do meanwhile has no consequences; connections are closed together,
    /// later.
    async fn drive(&mut self) {
        tokio::select! {
            event = self.swarm.select_next_some() => self.on_swarm_event(event),
            Some(_) = self.notices.recv() => {}
            Some(ended) = self.tasks.join_next() => {
                if let Err(error) = ended {
                    tracing::warn!(%error, "a task failed while the network stops");
                }
            }
        }
    }

    /// Tells the node where it listens.
    pub(super) fn publish_addresses(&mut self) {
        let peer = *self.swarm.local_peer_id();
        let addresses = self.swarm.listeners().map(|address| address.clone().with(Protocol::P2p(peer))).collect();
        self.listening.send_replace(addresses);
    }
}

fn listening(event: &SwarmEvent<BehaviourEvent>) -> Option<ListenerId> {
    match event {
        SwarmEvent::NewListenAddr { listener_id, .. } => Some(*listener_id),
        _ => None,
    }
}

const _: fn() = || {
    fn sendable<T: Send>() {}
    sendable::<libp2p::Swarm<Behaviour>>();
    sendable::<Service>();
};
