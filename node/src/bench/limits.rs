//! The network of those who serve and of those who only read: nothing in it throttles.

use lapis_p2p::{Config, Limits, Quota};
use libp2p::Multiaddr;

/// What every rate is raised to, per second.
const AMPLE: u32 = 1_000_000_000;

/// A network that listens there, looks for nobody, and whose rates no machine reaches.
pub(super) fn unthrottled(listen: Vec<Multiaddr>) -> Config {
    let mut limits = Limits::default();
    let rates = &mut limits.rates;
    if let Some(ample) = Quota::new(AMPLE, AMPLE) {
        for quota in [
            &mut rates.requests_per_peer,
            &mut rates.requests,
            &mut rates.egress_kib_per_peer,
            &mut rates.egress_kib,
            &mut rates.own_requests_per_peer,
            &mut rates.own_requests,
            &mut rates.ingress_kib_per_peer,
            &mut rates.ingress_kib,
        ] {
            *quota = ample;
        }
    }
    let mut config = Config { listen, limits, ..Config::default() };
    config.discovery.target_peers = 0;
    config
}
