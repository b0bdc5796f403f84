//! Giving up on archives: what one is slow to give is asked of a peer that has come since.

use std::time::{Duration, Instant};

use lapis_protocol_spec::{Height, Method};

use super::{
    Flight, Mend, Scheduler,
    action::{Item, RequestId},
    claims::Kind,
};

/// How long an archive may take once a peer could give the same.
const RECALL_AFTER: Duration = Duration::from_secs(2);

impl Scheduler {
    /// Exchanges with archives that are to end now, since a peer that has not failed to deliver the same is free. Each is
    /// named once, and reported as finished like any other, with what it has brought so far.
    pub fn recalls(&mut self, now: Instant) -> Vec<RequestId> {
        let is_slow = |flight: &Flight| {
            let waited = now.saturating_duration_since(flight.started);
            !flight.source.is_peer() && !flight.is_recalled && waited >= RECALL_AFTER
        };
        let slow = self.flights.iter().filter(|(_, flight)| is_slow(flight));
        let recalled: Vec<RequestId> = slow
            .filter(|(id, flight)| {
                let (kind, height) = match self.outstanding(**id, flight) {
                    Some(outstanding) => outstanding,
                    None => return false,
                };
                self.book.a_fresh_peer_is_free(kind, height, flight.method, now)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in &recalled {
            if let Some(flight) = self.flights.get_mut(id) {
                flight.is_recalled = true;
            }
        }
        recalled
    }

    /// The first of what `flight` has not brought.
    fn outstanding(&self, id: RequestId, flight: &Flight) -> Option<(Kind, Height)> {
        match (flight.mend, flight.method) {
            (Some(Mend::Value(height)), _) => Some((Kind::Values, height)),
            (None, Method::DecidedValuesByRange) => Some((Kind::Values, self.values.in_flight(id)?)),
            (Some(Mend::ValidatorSet(_)), _) | (None, Method::ValidatorSetByRoot) => {
                Some((Kind::Values, self.values.decided()))
            }
            (None, _) => match self.data.first_in_flight(id, &flight.items)? {
                Item::Payload(height) => Some((Kind::Payloads, height)),
                Item::Blob(height, _) => Some((Kind::Blobs, height)),
            },
        }
    }
}
