//! What peers say of where they see this node. A hint for people, never an address that is told on: whoever would have
//! this node advertise an address needs only to say so.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::address::{Reach, reach};

/// Peers that must agree before people are told.
const VOICES: usize = 3;

/// Most hosts that are counted at a time; a further one begins the count anew.
const HOSTS: usize = 16;

/// Voices for each host that peers see this node at.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    voices: HashMap<IpAddr, HashSet<PeerId>>,
    told: HashSet<IpAddr>,
}

impl Observed {
    /// `peer` sees this node at `address`. The host, when enough peers agree on it for the first time.
    pub(crate) fn note(&mut self, address: &Multiaddr, peer: PeerId) -> Option<IpAddr> {
        if reach(address) != Some(Reach::Global) {
            return None;
        }
        let host = match address.iter().next()? {
            Protocol::Ip4(ip) => IpAddr::V4(ip),
            Protocol::Ip6(ip) => IpAddr::V6(ip),
            _ => return None,
        };
        if self.told.contains(&host) || self.told.len() >= HOSTS {
            return None;
        }
        if self.voices.len() >= HOSTS && !self.voices.contains_key(&host) {
            self.voices.clear();
        }
        let voices = self.voices.entry(host).or_default();
        voices.insert(peer);
        if voices.len() < VOICES {
            return None;
        }
        self.voices.remove(&host);
        self.told.insert(host);
        Some(host)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn people_are_told_once_when_peers_agree() {
        let mut observed = Observed::default();
        let address: Multiaddr = "/ip4/11.1.1.1/tcp/9650".parse().unwrap();
        let peers: Vec<_> = (0..8).map(|_| PeerId::random()).collect();
        for _ in 0..10 {
            assert_eq!(observed.note(&address, peers[0]), None, "one voice, however loud");
        }
        assert_eq!(observed.note(&address, peers[1]), None);
        assert_eq!(observed.note(&address, peers[2]), Some("11.1.1.1".parse().unwrap()));
        assert!(peers.iter().all(|peer| observed.note(&address, *peer).is_none()));
    }

    #[test]
    fn nothing_that_peers_say_makes_it_grow() {
        let mut observed = Observed::default();
        for number in 0..100_000_u32 {
            let ip = std::net::Ipv4Addr::from(0x0b00_0000 + number);
            observed.note(&Multiaddr::from(ip).with(Protocol::Tcp(1)), PeerId::random());
        }
        assert!(observed.voices.len() <= HOSTS && observed.told.len() <= HOSTS);
        assert!(observed.note(&"/ip4/127.0.0.1/tcp/1".parse().unwrap(), PeerId::random()).is_none());
    }
}
