//! How much work Kademlia is made to do by each connection: questions are answered on the loop that serves everybody.
//! Pure: `now` is an argument.

use std::{collections::HashMap, time::Instant};

use libp2p::swarm::ConnectionId;

/// Questions and answers of one connection at once, and in a second afterwards. A walk asks each peer a handful.
const BURST: f64 = 256.0;
const PER_SECOND: f64 = 16.0;

/// What a connection has left.
#[derive(Clone, Copy, Debug)]
struct Left {
    units: f64,
    at: Instant,
}

/// A bucket for each connection that has asked for anything.
#[derive(Debug, Default)]
pub(super) struct Load {
    connections: HashMap<ConnectionId, Left>,
}

impl Load {
    /// Takes one unit of a connection. `false` if there is none.
    pub(super) fn take(&mut self, connection: ConnectionId, now: Instant) -> bool {
        let left = self.connections.entry(connection).or_insert(Left { units: BURST, at: now });
        let regained = now.saturating_duration_since(left.at).as_secs_f64() * PER_SECOND;
        *left = Left { units: (left.units + regained).min(BURST), at: now.max(left.at) };
        if left.units < 1.0 {
            return false;
        }
        left.units -= 1.0;
        true
    }

    /// The connection is closed.
    pub(super) fn forget(&mut self, connection: ConnectionId) {
        self.connections.remove(&connection);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_a_steady_rate_for_each() {
        let (mut load, start) = (Load::default(), Instant::now());
        let (flood, other) = (ConnectionId::new_unchecked(1), ConnectionId::new_unchecked(2));
        let taken = |load: &mut Load, connection, now| (0..1000).filter(|_| load.take(connection, now)).count();
        assert_eq!(taken(&mut load, flood, start), 256);
        assert_eq!(taken(&mut load, flood, start + Duration::from_secs(1)), 16);
        assert_eq!(taken(&mut load, flood, start), 0, "time that goes back gives nothing");
        assert_eq!(taken(&mut load, flood, start + Duration::from_secs(1)), 0, "nor does it come twice");
        assert_eq!(taken(&mut load, other, start), 256);
        assert_eq!(taken(&mut load, flood, start + Duration::from_secs(3600)), 256);
        load.forget(flood);
        load.forget(other);
        assert!(load.connections.is_empty());
    }
}
