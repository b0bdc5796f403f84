//! Exchanges that are to end before their answers do: with archives, when a peer that could give the same has come since,
//! with the pool when its time is up, and with whoever was outrun by a second request.

use std::time::{Duration, Instant};

use lapis_protocol_spec::{Height, Method};

use super::{
    Cancelled, Flight, Mend, Scheduler,
    action::{Item, RequestId},
    claims::Kind,
};

/// How long an archive may take once a peer could give the same.
const RECALL_AFTER: Duration = Duration::from_secs(2);

impl Scheduler {
    /// Exchanges that are to end now. Each is named once, and reported as finished like any other, with what it has
    /// brought so far and as [`Outcome::Local`](super::Outcome::Local).
    pub fn cancellations(&mut self, now: Instant) -> Vec<RequestId> {
        self.cancel_slow_pool(now);
        for id in self.slow_archives(now) {
            self.cancel(id, Cancelled::Recalled);
        }
        std::mem::take(&mut self.to_cancel)
    }

    /// Ends the exchange `id`, unless it is to end already.
    pub(super) fn cancel(&mut self, id: RequestId, why: Cancelled) {
        if let Some(flight) = self.flights.get_mut(&id)
            && flight.cancelled.is_none()
        {
            flight.cancelled = Some(why);
            self.to_cancel.push(id);
        }
    }

    /// Exchanges with archives while a peer that has not failed to deliver the same is free.
    fn slow_archives(&self, now: Instant) -> Vec<RequestId> {
        let is_slow = |flight: &Flight| {
            let waited = now.saturating_duration_since(flight.started);
            flight.source.is_archive() && flight.cancelled.is_none() && waited >= RECALL_AFTER
        };
        let slow = self.flights.iter().filter(|(_, flight)| is_slow(flight));
        slow.filter(|(id, flight)| {
            if flight.method == Method::ValidatorSetByRoot && flight.mend.is_none() {
                return self.a_peer_may_have_the_set(now);
            }
            let outstanding = self.outstanding(**id, flight);
            outstanding.is_some_and(|(kind, height)| self.book.a_fresh_peer_is_free(kind, height, flight.method, now))
        })
        .map(|(id, _)| *id)
        .collect()
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
