//! Which addresses make sense: of what shape, how far they reach, and who may tell them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// Most addresses that are kept of one peer.
pub(crate) const ADDRESSES_PER_PEER: usize = 8;

/// From how far an address can be reached; a wider reach is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Reach {
    /// Within this process.
    Process,
    /// Within this machine.
    Machine,
    /// Within a local network.
    Site,
    /// From everywhere.
    Global,
}

/// The part of the network that an address is in, for keeping one operator from holding all places: a /24 of IPv4, a
/// /48 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Neighbourhood {
    V4([u8; 3]),
    V6([u8; 6]),
}

/// How far `address` reaches; `None` for what cannot be dialed as it stands, has no transport of ours, or goes over
/// another peer. Names are none either: whom a name of a stranger leads to is for the stranger to choose, any time anew.
pub(crate) fn reach(address: &Multiaddr) -> Option<Reach> {
    let mut parts = address.iter();
    let (reach, transport) = match (parts.next()?, parts.next()) {
        (Protocol::Memory(port), end) => {
            let ends = matches!(end, None | Some(Protocol::P2p(_))) && parts.next().is_none();
            return (port != 0 && ends).then_some(Reach::Process);
        }
        (Protocol::Ip4(ip), Some(transport)) => (reach_of(IpAddr::V4(ip))?, transport),
        (Protocol::Ip6(ip), Some(transport)) => (reach_of(IpAddr::V6(ip))?, transport),
        _ => return None,
    };
    let carried = match transport {
        Protocol::Tcp(port) => port != 0,
        Protocol::Udp(port) => port != 0 && matches!(parts.next(), Some(Protocol::QuicV1)),
        _ => false,
    };
    let ends = match parts.next() {
        None => true,
        Some(Protocol::P2p(_)) => parts.next().is_none(),
        Some(_) => false,
    };
    (carried && ends).then_some(reach)
}

/// `address` without a peer id at its end, if it is one that `peer` may have and reaches as far as `least`.
///
/// What a peer says of itself, or others of it, must be as reachable as the peer that says it: from the outside nobody
/// is believed to be on this machine or in this network.
pub(crate) fn plausible(address: &Multiaddr, peer: &PeerId, least: Reach) -> Option<Multiaddr> {
    let reach = reach(address)?;
    let matches = reach >= least && (reach == Reach::Process) == (least == Reach::Process);
    match address.iter().last() {
        Some(Protocol::P2p(named)) if named != *peer => None,
        _ => matches.then(|| without_peer(address)),
    }
}

/// `address` up to the peer id at its end.
pub(crate) fn without_peer(address: &Multiaddr) -> Multiaddr {
    address.iter().take_while(|part| !matches!(part, Protocol::P2p(_))).collect()
}

/// The neighbourhood of an address that reaches globally; elsewhere all neighbours are one's own.
pub(crate) fn neighbourhood(address: &Multiaddr) -> Option<Neighbourhood> {
    if reach(address)? != Reach::Global {
        return None;
    }
    match address.iter().next()? {
        Protocol::Ip4(ip) => {
            let [a, b, c, _] = ip.octets();
            Some(Neighbourhood::V4([a, b, c]))
        }
        Protocol::Ip6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            Some(Neighbourhood::V6([a, b, c, d, e, f]))
        }
        _ => None,
    }
}

/// Whether an operator who listens here has said where the node is to be found: one address, not all of the machine.
pub(crate) fn is_definite(listen: &Multiaddr) -> bool {
    match listen.iter().next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified(),
        Some(Protocol::Memory(_)) => true,
        _ => false,
    }
}

fn reach_of(ip: IpAddr) -> Option<Reach> {
    match ip {
        IpAddr::V4(ip) => reach_v4(ip),
        IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
            Some(ip) => reach_v4(ip),
            None => reach_v6(ip),
        },
    }
}

/// After the IANA special-purpose address registry.
fn reach_v4(ip: Ipv4Addr) -> Option<Reach> {
    let [a, b, ..] = ip.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let benchmarks = a == 198 && (b == 18 || b == 19);
    match ip {
        _ if a == 0 || a >= 240 || benchmarks || ip.is_multicast() || ip.is_documentation() => None,
        _ if ip.is_loopback() => Some(Reach::Machine),
        _ if ip.is_private() || ip.is_link_local() || shared => Some(Reach::Site),
        _ => Some(Reach::Global),
    }
}

/// After the same registry. Link-local addresses mean nothing without the interface they are on.
fn reach_v6(ip: Ipv6Addr) -> Option<Reach> {
    let [first, second, ..] = ip.segments();
    match ip {
        _ if ip.is_loopback() => Some(Reach::Machine),
        _ if ip.is_unique_local() => Some(Reach::Site),
        _ if first == 0x2001 && second == 0x0db8 => None,
        _ if first & 0xe000 == 0x2000 => Some(Reach::Global),
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn reach_of_addresses() {
        for (text, expected) in [
            ("/memory/5", Some(Reach::Process)),
            ("/memory/0", None),
            ("/ip4/127.0.0.1/tcp/1", Some(Reach::Machine)),
            ("/ip6/::1/udp/1/quic-v1", Some(Reach::Machine)),
            ("/ip6/::ffff:127.0.0.1/tcp/1", Some(Reach::Machine)),
            ("/ip4/10.1.2.3/tcp/1", Some(Reach::Site)),
            ("/ip4/100.64.0.1/tcp/1", Some(Reach::Site)),
            ("/ip4/169.254.0.1/tcp/1", Some(Reach::Site)),
            ("/ip6/fd00::1/tcp/1", Some(Reach::Site)),
            ("/ip4/11.1.1.1/tcp/1", Some(Reach::Global)),
            ("/ip6/2600::1/udp/1/quic-v1", Some(Reach::Global)),
            ("/ip4/0.0.0.0/tcp/1", None),
            ("/ip4/11.1.1.1/tcp/0", None),
            ("/ip4/11.1.1.1/udp/1", None),
            ("/ip4/11.1.1.1/tcp/1/ws", None),
            ("/ip4/203.0.113.1/tcp/1", None),
            ("/ip4/224.0.0.1/tcp/1", None),
            ("/ip4/255.255.255.255/tcp/1", None),
            ("/ip6/fe80::1/tcp/1", None),
            ("/ip6/ff02::1/tcp/1", None),
            ("/ip6/2001:db8::1/tcp/1", None),
            ("/dns4/node.example/tcp/1", None),
        ] {
            assert_eq!(reach(&address(text)), expected, "{text}");
        }
        assert_eq!(reach(&Multiaddr::empty()), None);
        let relayed = address("/ip4/11.1.1.1/tcp/1").with(Protocol::P2p(PeerId::random())).with(Protocol::P2pCircuit);
        assert_eq!(reach(&relayed), None);
    }

    #[test]
    fn nobody_outside_is_believed_to_be_inside() {
        let peer = PeerId::random();
        let (inside, outside) = (address("/ip4/127.0.0.1/tcp/1"), address("/ip4/11.1.1.1/tcp/1"));
        assert_eq!(plausible(&inside, &peer, Reach::Global), None);
        assert_eq!(plausible(&inside, &peer, Reach::Site), None);
        assert_eq!(plausible(&inside, &peer, Reach::Machine), Some(inside.clone()));
        assert_eq!(plausible(&outside, &peer, Reach::Machine), Some(outside.clone()));
        assert_eq!(plausible(&address("/memory/5"), &peer, Reach::Machine), None);
        assert_eq!(plausible(&outside, &peer, Reach::Process), None);
    }

    #[test]
    fn a_peer_id_in_an_address_must_be_the_peers() {
        let peer = PeerId::random();
        let plain = address("/ip4/11.1.1.1/tcp/1");
        let own = plain.clone().with(Protocol::P2p(peer));
        assert_eq!(plausible(&own, &peer, Reach::Global), Some(plain.clone()));
        assert_eq!(plausible(&plain.with(Protocol::P2p(PeerId::random())), &peer, Reach::Global), None);
    }

    #[test]
    fn neighbours_are_those_of_a_provider() {
        let of = |text| neighbourhood(&address(text));
        assert_eq!(of("/ip4/11.1.1.1/tcp/1"), of("/ip4/11.1.1.200/udp/7/quic-v1"));
        assert_ne!(of("/ip4/11.1.1.1/tcp/1"), of("/ip4/11.1.2.1/tcp/1"));
        assert_eq!(of("/ip6/2600:1:2:3::1/tcp/1"), of("/ip6/2600:1:2:4::1/tcp/1"));
        assert_eq!(of("/ip4/127.0.0.1/tcp/1"), None);
    }
}
