//! The simulation itself: one node's scheduler among planned peers, event by event.

mod asking;
mod churn;
mod serve;
mod tip;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use lapis_p2p::{Offence, Score};
use lapis_protocol_spec::Height;
use libp2p::PeerId;
use rand::{SeedableRng, rngs::StdRng};

use super::{
    chain::Values,
    exchange::{Exchange, Piece, piece_bytes},
    log::Log,
    machine::{Delivered, Fetched, Machine},
    outcome::{Outcome, Tally},
    peer::{Conduct, PeerPlan, Presence},
    plan::Plan,
    tip::Watch,
};
use crate::sync::{
    early::Early,
    scheduler::{Ended, Input, Item, Outcome as ExchangeOutcome, RequestId, Scheduler, SourceId},
    trace::{Begin, RecordedScheduler, TraceSink},
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
    /// A peer has a height that was decided meanwhile.
    Learned(usize, Height),
    /// Its announcement is here.
    Announced(usize, Height),
    /// It says how far it is.
    Tell(usize),
    /// That is here.
    Told(usize, Height),
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
    /// What it has of a chain that grows.
    head: Height,
    /// When it last said so, and whether it is about to.
    told: Option<Duration>,
    will_tell: bool,
    /// When it has sent what it is asked for.
    free: Duration,
    score: Score,
    /// Requests in this second of the simulation.
    asked: (u64, u32),
}

impl Peer {
    fn new(id: PeerId, head: Height, now: Instant) -> Self {
        Self {
            id,
            is_up: false,
            is_banned: false,
            is_boasting: true,
            head,
            told: None,
            will_tell: false,
            free: Duration::ZERO,
            score: Score::new(now),
            asked: (0, 0),
        }
    }
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
    /// Announcements that were made by a set which is not known yet, with the places of their peers.
    early: Early<usize>,
    tip: Watch,
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
        let ids = plan.peers.iter().filter_map(PeerPlan::id);
        let peers: Vec<Peer> = ids.map(|id| Peer::new(id, plan.first_head(), base)).collect();
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
            early: Early::default(),
            tip: Watch::default(),
            tally: Tally::default(),
            log,
        };
        world.meet();
        world.grow();
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
            delays: self.tip.delays(self.plan),
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
            Event::Learned(place, height) => self.learned(place, height),
            Event::Announced(place, height) => self.announced(place, height),
            Event::Tell(place) => self.tell(place),
            Event::Told(place, head) => self.told(place, head),
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
        self.tip.complete(self.machine.available(), self.now);
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
            Piece::Set(set) => {
                exchange.set = Some(set);
                None
            }
            Piece::Item(item, is_good) if let Some(verified) = self.machine.enter(self.plan, item, self.now) => {
                exchange.report.received.insert(item);
                let delivered = Delivered { peer: exchange.peer, item, is_good };
                self.queue.plan(verified, Event::Verified(delivered));
                Some(item)
            }
            Piece::Item(item, _) => {
                exchange.report.duplicates.insert(item);
                exchange.report.duplicate_bytes += bytes;
                self.tally.duplicate_bytes += bytes;
                None
            }
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
        let Some(exchange) = self.exchanges.remove(&id) else { return };
        let is_honest = self.plan.peers.get(exchange.peer).is_some_and(|planned| planned.conduct.is_honest());
        let is_in_vain = is_honest && exchange.is_in_vain(outcome);
        let Exchange { peer, mut report, wrong_value, set, heights, .. } = exchange;
        report.outcome = outcome;
        if is_in_vain {
            self.tip.trouble(heights);
        }
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
        if let Some(set) = set {
            self.learned_set(set);
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
}
