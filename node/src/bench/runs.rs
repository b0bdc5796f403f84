//! Single runs: one client process against the server process, over loopback or over relays.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    num::NonZeroU64,
    path::PathBuf,
    time::Duration,
};

use libp2p::{Multiaddr, multiaddr::Protocol};

use super::{
    error::BenchError,
    job::{Job, Outcome, ServeJob, Serving, SyncJob, Usage, UsageQuestion, Way},
    process::Process,
    relay::{Manner, Network},
};

/// Peers of a sync.
pub(super) const PEERS: usize = 4;

/// Bytes per second of 100 Mbit/s.
pub(super) const LINK_BYTES_PER_SECOND: NonZeroU64 = match NonZeroU64::new(12_500_000) {
    Some(rate) => rate,
    None => NonZeroU64::MIN,
};

/// A sync, and the processor time that the server spent on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) client: Outcome,
    pub(super) server_cpu: Duration,
}

/// Where clients live, and the server that they are served by.
pub(super) struct Runner {
    program: PathBuf,
    dir: PathBuf,
    genesis: PathBuf,
    heights: u64,
    server: Process,
    serving: Serving,
    /// The process that has caught up before, if there is one.
    client: Option<Process>,
    runs: u32,
}

/// Which process catches up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// A new one, whose memory is of this run alone.
    Fresh,
    /// One that has caught up before, if there is one: loading the trusted setup takes a second.
    Any,
}

/// Files and extent of a chain.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) program: PathBuf,
    pub(super) dir: PathBuf,
    pub(super) genesis: PathBuf,
    pub(super) store: PathBuf,
    pub(super) heights: u64,
}

impl Runner {
    /// Starts the server: [`PEERS`] honest peers and one that lies.
    pub(super) async fn start(place: Place) -> Result<Self, BenchError> {
        let Place { program, dir, genesis, store, heights } = place;
        let job = Job::Serve(ServeJob { store, genesis: genesis.clone(), honest: PEERS, liars: 1 });
        let mut server = Process::start(&program, "serve", &job).await?;
        let serving = server.answer(Duration::ZERO).await?;
        Ok(Self { program, dir, genesis, heights, server, serving, client: None, runs: 0 })
    }

    pub(super) async fn stop(mut self) -> Result<(), BenchError> {
        self.drop_client().await?;
        self.server.stop().await
    }

    async fn drop_client(&mut self) -> Result<(), BenchError> {
        match self.client.take() {
            Some(client) => client.stop().await,
            None => Ok(()),
        }
    }

    /// TCP addresses of the first `count` honest peers.
    pub(super) fn honest(&self, count: usize) -> Vec<Multiaddr> {
        self.serving.peers.iter().take(count.min(PEERS)).filter_map(|addresses| over_tcp(addresses)).collect()
    }

    /// TCP address of the peer that lies.
    pub(super) fn liar(&self) -> Option<Multiaddr> {
        self.serving.peers.last().and_then(|addresses| over_tcp(addresses))
    }

    /// One address over TCP and one over QUIC, of the first peer and of the plain server.
    pub(super) fn for_reading(&self) -> Option<[[Multiaddr; 2]; 2]> {
        let both = |addresses: &[Multiaddr]| Some([over_tcp(addresses)?, over_quic(addresses)?]);
        Some([both(self.serving.peers.first()?)?, both(&self.serving.plain)?])
    }

    /// Whom a client of this kind connects with.
    pub(super) fn servers(&self, way: Way) -> Vec<Multiaddr> {
        match way {
            Way::Lapis | Way::FixedPacing => self.honest(PEERS),
            Way::WholeHeight => over_tcp(&self.serving.plain).into_iter().collect(),
        }
    }

    /// Catches up from an empty store, whose files are gone afterwards.
    pub(super) async fn sync(
        &mut self,
        client: Client,
        way: Way,
        peers: Vec<Multiaddr>,
        time_box: Duration,
    ) -> Result<Run, BenchError> {
        if client == Client::Fresh {
            self.drop_client().await?;
        }
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Process::start(&self.program, "catch up", &Job::CatchUp).await?,
        };
        self.runs += 1;
        let dir = self.dir.join(format!("client-{}", self.runs));
        let fault = |source| BenchError::Dir { path: dir.clone(), source };
        fs::create_dir(&dir).map_err(fault)?;
        let (genesis, target) = (self.genesis.clone(), self.heights);
        let job = SyncJob { dir: dir.clone(), genesis, way, peers, target, time_box };
        let before = self.server_cpu().await?;
        let outcome = client.ask(&job, time_box).await?;
        let server_cpu = self.server_cpu().await?.saturating_sub(before);
        self.client = Some(client);
        fs::remove_dir_all(&dir).map_err(fault)?;
        Ok(Run { client: outcome, server_cpu })
    }

    async fn server_cpu(&mut self) -> Result<Duration, BenchError> {
        let usage: Usage = self.server.ask(&UsageQuestion, Duration::ZERO).await?;
        Ok(usage.cpu)
    }
}

/// The ways to `peers` through relays of `network`, each in its manner.
pub(super) fn through(
    network: &Network,
    peers: impl IntoIterator<Item = (Multiaddr, Manner)>,
) -> Result<Vec<Multiaddr>, BenchError> {
    let relayed = peers.into_iter().map(|(peer, manner)| {
        let Some(server) = socket_address(&peer) else { return Ok(peer) };
        let relay = network.relay(server, manner).map_err(BenchError::Relay)?;
        let rest = peer.iter().skip(2);
        Ok(rest.fold(Multiaddr::from(relay.ip()).with(Protocol::Tcp(relay.port())), Multiaddr::with))
    });
    relayed.collect()
}

/// The same for peers that are all good.
pub(super) fn through_good(network: &Network, peers: Vec<Multiaddr>) -> Result<Vec<Multiaddr>, BenchError> {
    through(network, peers.into_iter().map(|peer| (peer, Manner::Good)))
}

fn over_tcp(addresses: &[Multiaddr]) -> Option<Multiaddr> {
    addresses.iter().find(|address| socket_address(address).is_some()).cloned()
}

fn over_quic(addresses: &[Multiaddr]) -> Option<Multiaddr> {
    addresses.iter().find(|address| address.iter().any(|part| part == Protocol::QuicV1)).cloned()
}

/// Where a TCP address leads.
fn socket_address(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    match (parts.next()?, parts.next()?) {
        (Protocol::Ip4(host), Protocol::Tcp(port)) => Some((IpAddr::V4(host), port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use libp2p::PeerId;

    use super::*;
    use crate::bench::relay::ROUND_TRIP_50_MS;

    #[tokio::test]
    async fn the_way_through_a_relay_leads_to_the_same_peer() {
        let peer = PeerId::random();
        let address: Multiaddr = format!("/ip4/127.0.0.1/tcp/9/p2p/{peer}").parse().unwrap();
        let network = Network::new(ROUND_TRIP_50_MS);
        let ways = through_good(&network, vec![address.clone()]).unwrap();
        let [way] = ways.as_slice() else { unreachable!("one way") };
        assert_ne!(*way, address);
        assert!(socket_address(way).is_some());
        assert!(way.to_string().ends_with(&format!("/p2p/{peer}")), "{way}");
    }

    #[test]
    fn addresses_are_told_apart_by_transport() {
        let addresses: Vec<Multiaddr> =
            ["/ip4/127.0.0.1/udp/1/quic-v1", "/ip4/127.0.0.1/tcp/2"].map(|text| text.parse().unwrap()).into();
        assert_eq!(over_tcp(&addresses), addresses.get(1).cloned());
        assert_eq!(over_quic(&addresses), addresses.first().cloned());
        assert_eq!(over_tcp(addresses.get(..1).unwrap()), None);
    }
}
