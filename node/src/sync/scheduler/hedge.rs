//! Asking a second time for what holds up the order, when whoever was asked is late with it.
//!
//! Late is who is silent for longer than what it has shown itself allows, and who sends, but holds up the order for
//! longer than is usual among the others for all that is wanted of it, at one height or at several in a row: the last of a
//! slow peer must not be waited for while all others have nothing to do. What is usual may be slow as well, so neither is
//! waited for longer than those who would be asked instead may be expected to take.
//!
//! Only the lowest height that is not here is worth that, and only within a budget of bytes: a credit that is paid when a
//! second request is made, and refunded as far as nothing came twice. What the slower one has begun to send when it is
//! cancelled is at most one item, so one item is not refunded where one of the two was. Credit grows with what is stored.
//! So of all items received no more than the credit at the beginning and one sixteenth is wasted by hedges, whatever
//! peers do.

use std::time::{Duration, Instant};

use lapis_protocol_spec::{Height, Method};
use rand::Rng;

use super::{
    Cancelled, Flight, Scheduler,
    action::{Action, Fetch, Item, RequestId, SourceId},
    claims::Kind,
    config::Report,
    data::Proposal,
    plan::LEAST_REQUEST_BYTES,
    source::LEAST_WAIT,
    sources::{Need, Wanted},
    values,
};

/// Of the bytes that are stored this part is credited to hedges.
const SHARE: u64 = 16;

/// This is no occasion to find out how fast somebody is, if anybody is known.
const NOT_NOW: u64 = 0;

/// A second request, as its exchange keeps it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hedge {
    /// Bytes that were taken from the credit.
    charged: u64,
    /// Bytes of memory that are reserved for it.
    reserved: u64,
    /// The largest of its items: what the slower one may have sent in vain.
    largest: u64,
    /// It has brought something first.
    has_won: bool,
}

/// Bytes that hedges may still waste.
#[derive(Clone, Copy, Debug)]
pub(super) struct Credit {
    bytes: u64,
    most: u64,
}

impl Credit {
    pub(super) fn new(most: u64) -> Self {
        Self { bytes: most, most }
    }

    /// An item of `bytes` bytes was stored.
    pub(super) fn earn(&mut self, bytes: u64) {
        self.refund(bytes / SHARE);
    }

    fn charge(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    fn refund(&mut self, bytes: u64) {
        self.bytes = self.bytes.saturating_add(bytes).min(self.most);
    }
}

/// How long the order has been waiting at the same height.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standstill(Option<(Height, Instant)>);

impl Standstill {
    /// The order waits at `height`. Gives since when it does.
    fn since(&mut self, height: Height, now: Instant) -> Instant {
        match self.0 {
            Some((at, since)) if at == height => since,
            Some(_) | None => {
                self.0 = Some((height, now));
                now
            }
        }
    }
}

/// A time in which the order has been waiting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wait {
    /// Since when.
    pub(super) since: Instant,
    /// What came meanwhile, and what is still waited for: bytes.
    pub(super) bytes: u64,
}

impl Wait {
    /// How long the order has been waiting for `flight`.
    fn lasts(self, flight: &Flight, now: Instant) -> Duration {
        now.saturating_duration_since(self.since.max(flight.started))
    }
}

/// What holds up the order of one exchange.
#[derive(Clone, Copy, Debug)]
struct Obstacle {
    id: RequestId,
    /// Bytes of its largest item.
    largest: u64,
    /// How long the order waits at this height.
    at_height: Option<Wait>,
    /// How long it waits for this exchange, at whatever heights: a little at each of many is much.
    for_exchange: Wait,
}

/// What somebody else is wanted for.
fn wanted_again(kind: Kind, height: Height, method: Method) -> Wanted {
    let (bytes, except) = (0, None);
    Wanted { kind, height, method, bytes, except, exploration_room: NOT_NOW, need: Need::Usual }
}

impl Scheduler {
    /// Asks somebody else for what holds up the order, if it is late.
    pub(super) fn poll_hedges(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        if self.config.hedge_room() == 0 {
            return;
        }
        for (id, items) in self.data.holding_up() {
            actions.extend(self.hedge_data(id, &items, now, rng));
        }
        actions.extend(self.hedge_values(now, rng));
    }

    fn hedge_data(&mut self, id: RequestId, items: &[Item], now: Instant, rng: &mut impl Rng) -> Option<Action> {
        let obstacle = self.obstacle(id, items, now)?;
        let first = items.first()?;
        let (kind, method) = if first.is_payload() {
            (Kind::Payloads, Method::PayloadsByRange)
        } else {
            (Kind::Blobs, Method::BlobsByRoot)
        };
        let wanted = wanted_again(kind, first.height(), method);
        let late = self.late(obstacle, &wanted, now)?;
        let except = Some(late);
        let room = self.config.hedge_room().saturating_sub(self.data.hedged()).min(self.credit.bytes);
        let proposal = self.data.propose_again(items, room.min(self.config.max_request_bytes))?;
        let bytes = proposal.bytes.min(LEAST_REQUEST_BYTES);
        let wanted = Wanted { bytes, except, need: Need::Urgent, ..wanted };
        let source = self.book.choose(&wanted, now, rng)?;
        let Proposal { fetch, items, bytes } = proposal;
        let action = self.open(source, fetch, items.clone(), bytes, now);
        self.data.start_hedge(action.id, &items, bytes);
        let hedge = Hedge { charged: bytes, reserved: bytes, largest: obstacle.largest, has_won: false };
        self.note_hedge(action.id, hedge);
        Some(action)
    }

    /// What the order waits for at the height of `items`, which the exchange `id` has not brought.
    fn obstacle(&mut self, id: RequestId, items: &[Item], now: Instant) -> Option<Obstacle> {
        let height = items.first()?.height();
        let bytes_of = |item: &Item| self.data.bytes_of(*item);
        let (largest, left) = (items.iter().map(bytes_of).max()?, items.iter().map(bytes_of).sum());
        let flight = self.flights.get_mut(&id)?;
        let bytes = flight.items.iter().filter(|item| item.height() == height).map(bytes_of).sum();
        let at_height = Some(Wait { since: self.standstill.since(height, now), bytes });
        Some(Obstacle { id, largest, at_height, for_exchange: flight.is_waited_for(left, now) })
    }

    fn hedge_values(&mut self, now: Instant, rng: &mut impl Rng) -> Option<Action> {
        let (id, heights) = self.values.holding_up()?;
        let bytes = self.values.expected_bytes(heights.end.saturating_sub(heights.start));
        let largest = self.values.expected_bytes(1);
        let flight = self.flights.get_mut(&id)?;
        let for_exchange = flight.is_waited_for(bytes.saturating_sub(flight.arrived), now);
        let wanted = values::wanted(heights.start, None, NOT_NOW);
        let late = self.late(Obstacle { id, largest, at_height: None, for_exchange }, &wanted, now)?;
        if bytes > self.credit.bytes {
            return None;
        }
        let wanted = Wanted { except: Some(late), need: Need::Urgent, ..wanted };
        let source = self.book.choose(&wanted, now, rng)?;
        let claimed = self.book.source(source)?.claims.last_value(heights.start);
        if source.is_peer() && claimed.saturating_add(1) < heights.end {
            return None;
        }
        let action = self.open(source, Fetch::Values(heights.clone()), Vec::new(), bytes, now);
        self.values.hedged(id, action.id, heights);
        self.note_hedge(action.id, Hedge { charged: bytes, reserved: 0, largest, has_won: false });
        Some(action)
    }

    /// Whoever is late with `obstacle`. A second request that is late itself is given up instead, so that a third may be
    /// made.
    fn late(&mut self, obstacle: Obstacle, wanted: &Wanted, now: Instant) -> Option<SourceId> {
        let flight = self.flights.get(&obstacle.id)?;
        // The pool has a time limit of its own.
        if flight.cancelled.is_some() || flight.source == SourceId::Pool {
            return None;
        }
        let (source, is_second) = (flight.source, flight.hedge.is_some());
        let is_slow = || !is_second && self.is_slow(flight, &obstacle, wanted, now);
        if !self.is_silent(flight, &obstacle, wanted, now) && !is_slow() {
            return None;
        }
        if is_second {
            self.cancel(obstacle.id, Cancelled::Outrun);
            return None;
        }
        Some(source)
    }

    /// Whether it sends nothing, for longer than it may, although it is its turn.
    fn is_silent(&self, flight: &Flight, obstacle: &Obstacle, wanted: &Wanted, now: Instant) -> bool {
        let silent = now.saturating_duration_since(flight.last_progress);
        if silent < LEAST_WAIT {
            return false;
        }
        // Where our own line is what takes time, all answers come late, each when it is its turn; but not one that was asked
        // for much later before it.
        let is_overtaken = self.newest_answered.is_some_and(|newest| newest >= flight.last_progress + LEAST_WAIT);
        let is_its_turn = is_overtaken || obstacle.for_exchange.lasts(flight, now) >= LEAST_WAIT;
        let largest = obstacle.largest;
        let others = || self.expected_of_others(flight, largest, wanted, now);
        is_its_turn && silent >= self.book.patience(flight.source, largest).min(others())
    }

    /// Whether the order waits for it for longer than is usual for what has come meanwhile and what is left.
    fn is_slow(&self, flight: &Flight, obstacle: &Obstacle, wanted: &Wanted, now: Instant) -> bool {
        obstacle.at_height.into_iter().chain([obstacle.for_exchange]).any(|wait| {
            let usual = || self.book.patience_without(flight.source, wait.bytes);
            let longest = || usual().min(self.expected_of_others(flight, wait.bytes, wanted, now));
            let lasts = wait.lasts(flight, now);
            lasts >= LEAST_WAIT && lasts >= longest()
        })
    }

    /// How long whoever would be asked instead may be expected to take.
    fn expected_of_others(&self, flight: &Flight, bytes: u64, wanted: &Wanted, now: Instant) -> Duration {
        self.book.longest(&Wanted { bytes, except: Some(flight.source), ..*wanted }, now)
    }

    fn note_hedge(&mut self, id: RequestId, hedge: Hedge) {
        self.stats.hedges += 1;
        self.credit.charge(hedge.charged);
        if let Some(flight) = self.flights.get_mut(&id) {
            flight.hedge = Some(hedge);
        }
    }

    /// `winner` brought an item that `loser` was asked for too.
    ///
    /// If the second request was faster, the first one is slower than anybody could expect and is given up as a whole.
    /// If the first one brought it after all, the second goes on as long as it may be of use.
    pub(super) fn outran(&mut self, winner: RequestId, loser: RequestId) {
        let hedge = self.flights.get_mut(&winner).and_then(|flight| flight.hedge.as_mut());
        let needless = match hedge {
            Some(hedge) => {
                self.stats.hedges_won += u64::from(!hedge.has_won);
                hedge.has_won = true;
                true
            }
            None => {
                let items = self.flights.get(&loser).map(|flight| flight.items.as_slice()).unwrap_or_default();
                self.data.first_in_flight(loser, items).is_none()
            }
        };
        if needless {
            self.cancel(loser, Cancelled::Outrun);
        }
    }

    /// A second request has come to its end, or a first one.
    pub(super) fn settle(&mut self, flight: &Flight, report: &Report) {
        let twice = report.duplicate_bytes;
        self.stats.wasted_bytes += twice;
        let Some(hedge) = flight.hedge else { return self.credit.charge(twice) };
        self.data.end_hedge(hedge.reserved);
        // Where neither of the two was cut short nothing is on its way that nobody waits for.
        let is_one_cut_short = hedge.has_won || flight.cancelled.is_some();
        let spent = if is_one_cut_short { twice.max(hedge.largest) } else { twice };
        self.credit.refund(hedge.charged.saturating_sub(spent));
    }
}
