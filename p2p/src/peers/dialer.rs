//! When configured peers are dialed: at once, and again with exponential back-off and jitter while they are gone.

use std::time::{Duration, Instant};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use crate::config::Dialing;

/// Why an attempt, or a connection, came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// May pass soon.
    Unreachable,
    /// Will not pass soon: another chain, banned.
    Unsuitable,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { until: Instant },
    Dialing,
    Connected,
}

#[derive(Debug)]
struct Target {
    address: Multiaddr,
    /// From the address, or learned by connecting.
    peer: Option<PeerId>,
    failures: u32,
    state: State,
}

/// The configured peers. Bounded by configuration.
#[derive(Debug)]
pub(crate) struct Dialer {
    rules: Dialing,
    targets: Vec<Target>,
}

/// Back-off is doubled at most this often; by then it is at its longest for all sensible settings.
const MOST_DOUBLINGS: u32 = 16;

impl Dialer {
    pub(crate) fn new(rules: Dialing, addresses: &[Multiaddr], now: Instant) -> Self {
        let targets = addresses.iter().map(|address| Target {
            address: address.clone(),
            peer: peer_of(address),
            failures: 0,
            state: State::Waiting { until: now },
        });
        Self { rules, targets: targets.collect() }
    }

    /// Peers that are waited for and by now to be dialed, with the number to name each attempt by. An attempt must be
    /// answered by [`Dialer::connected`] or [`Dialer::failed`].
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(usize, Multiaddr)> {
        let due = self.targets.iter_mut().enumerate().filter_map(|(number, target)| match target.state {
            State::Waiting { until } if until <= now => {
                target.state = State::Dialing;
                Some((number, target.address.clone()))
            }
            State::Waiting { .. } | State::Dialing | State::Connected => None,
        });
        due.collect()
    }

    /// Attempt `number` has led to `peer`. Who was found there before, if it is nobody's target any more.
    pub(crate) fn reached(&mut self, number: usize, peer: PeerId) -> Option<PeerId> {
        let target = self.targets.get_mut(number)?;
        target.state = State::Connected;
        let former = target.peer.replace(peer)?;
        self.of(&former).next().is_none().then_some(former)
    }

    /// `peer` is connected, whoever opened the connection.
    pub(crate) fn connected(&mut self, peer: &PeerId) {
        for target in self.of(peer) {
            target.state = State::Connected;
        }
    }

    /// `peer` has exchanged statuses: the next back-off starts from the beginning.
    pub(crate) fn ready(&mut self, peer: &PeerId) {
        for target in self.of(peer) {
            target.failures = 0;
        }
    }

    /// Attempt `number` came to nothing. `jitter` is in `0.0..1.0`.
    pub(crate) fn failed(&mut self, number: usize, now: Instant, jitter: f64) {
        let rules = self.rules;
        if let Some(target) = self.targets.get_mut(number) {
            target.back_off(&rules, Failure::Unreachable, now, jitter);
        }
    }

    /// The last connection to `peer` is closed.
    pub(crate) fn gone(&mut self, peer: &PeerId, why: Failure, now: Instant, jitter: f64) {
        let rules = self.rules;
        for target in self.of(peer) {
            target.back_off(&rules, why, now, jitter);
        }
    }

    fn of<'a>(&'a mut self, peer: &'a PeerId) -> impl Iterator<Item = &'a mut Target> + 'a {
        self.targets.iter_mut().filter(move |target| target.peer.as_ref() == Some(peer))
    }
}

impl Target {
    /// Waits between half the full delay and all of it, so that nodes that failed together do not come back together.
    fn back_off(&mut self, rules: &Dialing, why: Failure, now: Instant, jitter: f64) {
        let full = match why {
            Failure::Unsuitable => rules.unsuitable_delay,
            Failure::Unreachable => {
                let doubled = 2_u32.saturating_pow(self.failures.min(MOST_DOUBLINGS));
                rules.first_delay.saturating_mul(doubled).min(rules.longest_delay)
            }
        };
        self.failures = self.failures.saturating_add(1);
        let delay: Duration = full.mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0));
        self.state = State::Waiting { until: now + delay };
    }
}

/// The peer id at the end of an address.
pub(crate) fn peer_of(address: &Multiaddr) -> Option<PeerId> {
    address.iter().last().and_then(|part| match part {
        Protocol::P2p(peer) => Some(peer),
        _ => None,
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    const RULES: Dialing = Dialing {
        first_delay: Duration::from_secs(1),
        longest_delay: Duration::from_secs(8),
        unsuitable_delay: Duration::from_secs(600),
    };

    fn one(now: Instant) -> (Dialer, PeerId) {
        let peer = PeerId::random();
        let address = "/memory/1".parse::<Multiaddr>().unwrap().with(Protocol::P2p(peer));
        (Dialer::new(RULES, &[address], now), peer)
    }

    #[test]
    fn back_off_doubles_up_to_the_longest_and_jitter_takes_at_most_half() {
        let start = Instant::now();
        for (jitter, expected) in [(1.0, [1.0, 2.0, 4.0, 8.0, 8.0]), (0.0, [0.5, 1.0, 2.0, 4.0, 4.0])] {
            let (mut dialer, _) = one(start);
            let mut now = start;
            for seconds in expected {
                assert_eq!(dialer.due(now).len(), 1);
                assert!(dialer.due(now).is_empty(), "one attempt at a time");
                dialer.failed(0, now, jitter);
                let delay = Duration::from_secs_f64(seconds);
                assert!(dialer.due(now + delay - Duration::from_millis(1)).is_empty(), "{seconds} too early");
                now += delay;
            }
        }
    }

    #[test]
    fn a_peer_is_dialed_again_after_it_is_gone_and_success_resets_the_back_off() {
        let now = Instant::now();
        let (mut dialer, peer) = one(now);
        for _ in 0..4 {
            dialer.due(now);
            dialer.failed(0, now, 1.0);
        }
        dialer.reached(0, peer);
        dialer.ready(&peer);
        assert!(dialer.due(now + Duration::from_secs(3600)).is_empty(), "connected peers are not dialed");
        dialer.gone(&peer, Failure::Unreachable, now, 1.0);
        assert!(dialer.due(now).is_empty());
        assert_eq!(dialer.due(now + RULES.first_delay).len(), 1);
    }

    #[test]
    fn a_peer_of_another_chain_is_left_alone_for_long() {
        let now = Instant::now();
        let (mut dialer, peer) = one(now);
        dialer.due(now);
        dialer.reached(0, peer);
        dialer.gone(&peer, Failure::Unsuitable, now, 0.0);
        assert!(dialer.due(now + RULES.longest_delay).is_empty());
        assert_eq!(dialer.due(now + RULES.unsuitable_delay).len(), 1);
    }

    #[test]
    fn the_peer_of_an_address_without_id_is_learned() {
        let now = Instant::now();
        let mut dialer = Dialer::new(RULES, &["/memory/1".parse().unwrap()], now);
        let peer = PeerId::random();
        assert_eq!(dialer.due(now).len(), 1);
        dialer.reached(0, peer);
        dialer.gone(&peer, Failure::Unreachable, now, 0.0);
        assert_eq!(dialer.due(now + RULES.first_delay).len(), 1);
    }

    #[test]
    fn whoever_answers_at_an_address_without_id_is_the_configured_peer_until_another_does() {
        let now = Instant::now();
        let named = PeerId::random();
        let addresses = ["/memory/1".to_owned(), format!("/memory/2/p2p/{named}")];
        let addresses: Vec<_> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let mut dialer = Dialer::new(RULES, &addresses, now);
        let (first, second) = (PeerId::random(), PeerId::random());
        assert_eq!(dialer.reached(0, first), None);
        assert_eq!(dialer.reached(0, first), None, "the same");
        assert_eq!(dialer.reached(0, second), Some(first));
        assert_eq!(dialer.reached(0, named), Some(second));
        assert_eq!(dialer.reached(0, first), None, "the other address names it");
    }

    #[test]
    fn no_number_of_failures_overflows() {
        let now = Instant::now();
        let (mut dialer, _) = one(now);
        for _ in 0..100 {
            dialer.failed(0, now, 1.0);
        }
        assert_eq!(dialer.due(now + RULES.longest_delay).len(), 1);
    }
}
