//! `/ip4/../udp/../quic-v1` and back.

use std::net::{IpAddr, SocketAddr};

use libp2p::{Multiaddr, multiaddr::Protocol};

/// The socket that an address names, with or without a peer id at its end; `None` if it is not one of QUIC.
pub(super) fn socket_of(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let host = match parts.next()? {
        Protocol::Ip4(host) => IpAddr::V4(host),
        Protocol::Ip6(host) => IpAddr::V6(host),
        _ => return None,
    };
    let (Protocol::Udp(port), Protocol::QuicV1) = (parts.next()?, parts.next()?) else { return None };
    match (parts.next(), parts.next()) {
        (None | Some(Protocol::P2p(_)), None) => Some(SocketAddr::new(host, port)),
        _ => None,
    }
}

/// The address of a socket.
pub(super) fn address_of(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Udp(socket.port())).with(Protocol::QuicV1)
}

/// Whether a socket on `from` reaches `to`.
pub(super) fn reaches(from: IpAddr, to: IpAddr) -> bool {
    from.is_ipv4() == to.is_ipv4() && (from.is_unspecified() || from.is_loopback() == to.is_loopback())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use libp2p::PeerId;

    use super::*;

    #[test]
    fn addresses_of_quic_and_no_others() {
        for text in ["/ip4/127.0.0.1/udp/9650/quic-v1", "/ip6/::1/udp/1/quic-v1"] {
            let address: Multiaddr = text.parse().unwrap();
            let socket = socket_of(&address).unwrap();
            assert_eq!(address_of(socket), address);
            assert_eq!(socket_of(&address.clone().with(Protocol::P2p(PeerId::random()))), Some(socket));
            assert_eq!(socket_of(&address.with(Protocol::P2pCircuit)), None);
        }
        for text in [
            "/ip4/127.0.0.1/tcp/1",
            "/ip4/127.0.0.1/udp/1",
            "/ip4/127.0.0.1/udp/1/quic",
            "/dns4/a.example/udp/1/quic-v1",
        ] {
            assert_eq!(socket_of(&text.parse().unwrap()), None, "{text}");
        }
    }

    #[test]
    fn a_socket_on_the_loopback_interface_reaches_nobody_outside() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(reaches(ip("0.0.0.0"), ip("11.1.1.1")) && reaches(ip("0.0.0.0"), ip("127.0.0.1")));
        assert!(reaches(ip("127.0.0.1"), ip("127.0.0.1")) && !reaches(ip("127.0.0.1"), ip("11.1.1.1")));
        assert!(!reaches(ip("10.0.0.1"), ip("127.0.0.1")) && !reaches(ip("0.0.0.0"), ip("::1")));
    }
}
