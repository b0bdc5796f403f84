//! The network of those who serve and of those who only read: nothing in it throttles.

use lapis_p2p::{Config, Limits, RateLimits};
use libp2p::Multiaddr;

/// A network that listens there, looks for nobody, and whose rates no machine reaches.
pub(super) fn unthrottled(listen: Vec<Multiaddr>) -> Config {
    let limits = Limits { rates: RateLimits::ample(), ..Limits::default() };
    let mut config = Config { listen, limits, ..Config::default() };
    config.discovery.target_peers = 0;
    config
}
