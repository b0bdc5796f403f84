//! The simulation itself: one node's scheduler among planned peers, event by event.

mod churn;
mod serve;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use lapis_p2p::{Offence, Score};
use libp2p::PeerId;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    chain::Values,
    exchange::{Exchange, Piece, piece_bytes},
    log::Log,
    machine::{Delivered, Fetched, Machine},
    outcome::{Outcome, Tally},
    peer::{Conduct, Presence},
    plan::Plan,
};
use crate::sync::{
    scheduler::{Action, Ended, Input, Item, Outcome as ExchangeOutcome, RequestId, Scheduler, SourceId},
    trace::{Begin, Decisions, RecordedScheduler, TraceSink},
};

/// How long a peer stays away that was disconnected.
const AWAY: Duration = Duration::from_secs(30);
/// How often a wavering peer changes its claim.
const WAVER: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Event {
    Up(usize),
    Down(usize),
    Waver(usize),
    /// The request is at the peer.
    Begin(RequestId),
    /// The stream takes more.
    Opened(RequestId),
    /// The next piece has left the peer.
    Served(RequestId),
    Arrived(RequestId, Piece),
    Ended(RequestId),
    Verified(Delivered),
    Stored(Vec<Item>),
    Committed,
    Imported(u64),
}

#[derive(Debug)]
struct Peer {
    id: PeerId,
    is_up: bool,
    is_banned: bool,
    is_boasting: bool,
    /// When it has sent what it is asked for.
    free: Duration,
    score: Score,
    /// Requests in this second of the simulation.
    asked: (u64, u32),
}

/// A run in progress.
#[derive(Debug)]
pub(super) struct World<'a> {
    plan: &'a Plan,
    values: &'a mut Values,
    base: Instant,
    now: Duration,
    queue: super::queue::Queue<Event>,
    scheduler: RecordedScheduler,
    machine: Machine,
    peers: Vec<Peer>,
    places: HashMap<PeerId, usize>,
    exchanges: BTreeMap<RequestId, Exchange>,
    /// Those that the scheduler gave up: what is on the way of them comes in vain.
    given_up: HashSet<RequestId>,
    rng: StdRng,
    /// When the node's line has taken what was sent to it.
    line_free: Duration,
    tally: Tally,
    log: &'a mut Log,
}

impl<'a> World<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        values: &'a mut Values,
        log: &'a mut Log,
        trace: Option<Box<dyn TraceSink>>,
    ) -> Self {
        let base = Instant::now();
        let begin = Begin { config: plan.config, decided: 0, available: 0, imported: 0 };
        let mut seed = [0; 32];
        seed.iter_mut().zip(plan.seed.to_le_bytes()).for_each(|(byte, part)| *byte = part);
        let peer = |id| Peer {
            id,
            is_up: false,
            is_banned: false,
            is_boasting: true,
            free: Duration::ZERO,
            score: Score::new(base),
            asked: (0, 0),
        };
        let peers: Vec<Peer> = plan.peers.iter().filter_map(|planned| planned.id()).map(peer).collect();
        let places = peers.iter().enumerate().map(|(place, peer)| (peer.id, place)).collect();
        let mut world = Self {
            plan,
            values,
            base,
            now: Duration::ZERO,
            queue: super::queue::Queue::new(),
            scheduler: RecordedScheduler::new(begin, seed, base, trace),
            machine: Machine::new(),
            peers,
            places,
            exchanges: BTreeMap::new(),
            given_up: HashSet::new(),
            rng: StdRng::seed_from_u64(plan.seed ^ u64::MAX),
            line_free: Duration::ZERO,
            tally: Tally::default(),
            log,
        };
        world.meet();
        world
    }

    fn meet(&mut self) {
        for (place, planned) in self.plan.peers.iter().enumerate() {
            let first = match planned.presence() {
                Presence::Always | Presence::Churning { .. } => Duration::ZERO,
                Presence::From(first) => first,
            };
            self.queue.plan(first, Event::Up(place));
            if planned.conduct == Conduct::Wavering {
                self.queue.plan(WAVER, Event::Waver(place));
            }
        }
    }

    /// Runs until all is imported, or until `limit`.
    pub(super) fn run(mut self, limit: Duration) -> Outcome {
        let mut progress = vec![Duration::ZERO; 101];
        let whole: u64 = self.plan.bytes();
        while self.machine.imported < self.plan.head() && self.now < limit {
            let tick = self.now + Scheduler::TICK;
            match self.queue.next_by(tick) {
                Some((at, event)) => {
                    self.now = self.now.max(at);
                    self.on(event);
                }
                None => self.now = tick,
            }
            self.advance();
            let percent = self.tally.stored_bytes.saturating_mul(100) / whole.max(1);
            for part in progress.iter_mut().take(usize::try_from(percent).unwrap_or(0) + 1) {
                if part.is_zero() {
                    *part = self.now;
                }
            }
        }
        self.tally.hash = self.log.hash();
        Outcome {
            seed: self.plan.seed,
            finished: self.machine.imported == self.plan.head(),
            time: self.now,
            progress,
            reached: self.machine.imported,
            blocked: self.scheduler.blocked().cloned(),
            stats: self.scheduler.stats(),
            tally: self.tally,
        }
    }

    fn instant(&self) -> Instant {
        self.base + self.now
    }

    fn inform(&mut self, input: Input) -> Ended {
        let now = self.instant();
        self.scheduler.take(input, now)
    }

    fn on(&mut self, event: Event) {
        self.tally.events += 1;
        match event {
            Event::Up(place) => self.up(place),
            Event::Down(place) => self.leave(place, None),
            Event::Waver(place) => self.waver(place),
            Event::Begin(id) => self.begin(id),
            Event::Opened(id) => self.serve(id),
            Event::Served(id) => self.served(id),
            Event::Arrived(id, piece) => self.arrived(id, piece),
            Event::Ended(id) => self.ended(id),
            Event::Verified(delivered) => self.verified(delivered),
            Event::Stored(items) => {
                self.tally.stored_bytes += self.machine.stored(self.plan, &items);
                let _ = self.inform(Input::Stored(items));
            }
            Event::Committed => self.committed(),
            Event::Imported(height) => {
                self.machine.imported(height);
                let _ = self.inform(Input::Imported(height));
            }
        }
    }

    /// What a node's driver does after whatever has happened.
    fn advance(&mut self) {
        if let Some(time) = self.machine.commit(self.plan) {
            self.queue.plan(self.now + time, Event::Committed);
        }
        if let Some((items, time)) = self.machine.write(self.plan) {
            self.queue.plan(self.now + time, Event::Stored(items));
        }
        if let Some(height) = self.machine.import() {
            self.queue.plan(self.now + self.plan.machine.import, Event::Imported(height));
        }
        let _ = self.inform(Input::HeldValues(self.machine.held_values()));
        self.load();
        let decisions = self.scheduler.poll(self.instant());
        self.follow(decisions);
        let buffered = self.scheduler.buffered_bytes().max(self.machine.inside_bytes());
        self.tally.peak_buffered = self.tally.peak_buffered.max(buffered);
    }

    fn load(&mut self) {
        let Some(heights) = self.scheduler.wants_load() else { return };
        let most = self.scheduler.load_room();
        let missing = self.machine.missing(self.plan, self.values, heights.clone(), most);
        let last = missing.last().filter(|_| missing.len() >= most).map(|gap| gap.value.value().height);
        let loaded_to = last.unwrap_or(heights.end.saturating_sub(1));
        let _ = self.inform(Input::Load { missing, loaded_to });
    }

    fn follow(&mut self, decisions: Decisions) {
        for id in decisions.cancel {
            self.log.event(self.now, id, "cancel", String::new);
            self.given_up.insert(id);
            self.close(id, ExchangeOutcome::Local, None);
        }
        for action in decisions.ask {
            self.ask(&action);
        }
    }

    fn ask(&mut self, action: &Action) {
        let place = match action.source {
            SourceId::Peer(peer) => self.places.get(&peer).copied(),
            SourceId::Archive(_) => None,
        };
        let exchange = place.and_then(|place| {
            let is_over_quota = self.is_over_quota(place);
            Exchange::new(place, self.plan, &action.fetch, is_over_quota, &mut self.rng)
        });
        let (Some(place), Some(exchange)) = (place, exchange) else { return };
        self.tally.requests += 1;
        self.log.asked(self.now, action, place, self.plan);
        let Some(planned) = self.plan.peers.get(place) else { return };
        // There and back to agree on what the stream is for, and there with the request.
        let ways = if self.plan.machine.first_window.is_some() { 3 } else { 1 };
        self.queue.plan(self.now + planned.latency * ways + exchange.delay, Event::Begin(action.id));
        self.exchanges.insert(action.id, exchange);
    }

    fn is_over_quota(&mut self, place: usize) -> bool {
        let (Some(planned), Some(peer)) = (self.plan.peers.get(place), self.peers.get_mut(place)) else { return false };
        let Conduct::RateLimited { per_second } = planned.conduct else { return false };
        let second = self.now.as_secs();
        if peer.asked.0 != second {
            peer.asked = (second, 0);
        }
        peer.asked.1 += 1;
        peer.asked.1 > per_second
    }

    fn arrived(&mut self, id: RequestId, piece: Piece) {
        let bytes = piece_bytes(self.plan, piece);
        let Some(exchange) = self.exchanges.get_mut(&id) else {
            // What a peer had on the way when it went does not come.
            if self.given_up.contains(&id) {
                self.tally.received_bytes += bytes;
                self.tally.cut_bytes += bytes;
            }
            return;
        };
        self.tally.received_bytes += bytes;
        exchange.report.bytes += bytes;
        let item = match piece {
            Piece::Value(is_good) => {
                exchange.report.values += 1;
                if !is_good && exchange.wrong_value.is_none() {
                    exchange.wrong_value = Some(exchange.values_from + exchange.report.values - 1);
                }
                None
            }
            Piece::Item(item, is_good) => match self.machine.enter(self.plan, item, self.now) {
                Some(verified) => {
                    exchange.report.received.insert(item);
                    let delivered = Delivered { peer: exchange.peer, item, is_good };
                    self.queue.plan(verified, Event::Verified(delivered));
                    Some(item)
                }
                None => {
                    exchange.report.duplicates.insert(item);
                    exchange.report.duplicate_bytes += bytes;
                    self.tally.duplicate_bytes += bytes;
                    None
                }
            },
        };
        let _ = self.inform(Input::Received { id, item, bytes });
    }

    fn ended(&mut self, id: RequestId) {
        let Some(exchange) = self.exchanges.get(&id) else { return };
        let (end, peer) = (exchange.end, exchange.peer);
        self.tally.received_bytes += end.bytes;
        self.tally.cut_bytes += end.bytes;
        self.close(id, end.outcome, end.offence.map(|offence| (peer, offence)));
    }

    fn close(&mut self, id: RequestId, outcome: ExchangeOutcome, offence: Option<(usize, Offence)>) {
        let Some(Exchange { peer, mut report, wrong_value, .. }) = self.exchanges.remove(&id) else { return };
        report.outcome = outcome;
        self.log.event(self.now, id, "ended", || {
            format!("{outcome:?}: {} items, {} values", report.received.len(), report.values)
        });
        if let Some((peer, offence)) = offence {
            self.charge(peer, offence);
        }
        let values = report.values;
        if let Ended::Values(heights) = self.inform(Input::Finished { id, report })
            && values > 0
        {
            let heights = heights.start..heights.start + values;
            self.machine.fetched(Fetched { peer, heights, wrong: wrong_value });
        }
    }

    fn verified(&mut self, Delivered { peer, item, is_good }: Delivered) {
        if is_good {
            self.machine.proven(item);
            return;
        }
        self.tally.faulty_bytes += super::peer::item_bytes(self.plan, item);
        self.machine.leave(self.plan, item);
        self.charge(peer, Offence::InvalidData);
        if let Some(source) = self.peers.get(peer).map(|peer| SourceId::Peer(peer.id)) {
            let _ = self.inform(Input::Faulty { source, item });
        }
    }

    fn committed(&mut self) {
        let Some(fetched) = self.machine.committed(self.plan) else { return };
        let _ = self.inform(Input::Decided(self.machine.decided));
        if let Some(height) = fetched.wrong {
            self.charge(fetched.peer, Offence::InvalidData);
            if let Some(source) = self.peers.get(fetched.peer).map(|peer| SourceId::Peer(peer.id)) {
                let _ = self.inform(Input::FaultyValue { source, height });
            }
        }
    }
}
