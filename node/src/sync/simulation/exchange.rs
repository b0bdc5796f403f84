//! One exchange: what the peer will send, and how it will end.

use std::{collections::VecDeque, ops::RangeInclusive, time::Duration};

use lapis_p2p::Offence;
use lapis_protocol_spec::Height;
use rand::{Rng, rngs::StdRng};

use super::{
    peer::{Conduct, item_bytes, items},
    plan::Plan,
};
use crate::sync::scheduler::{Fetch, Item, Outcome, Report};

/// How long a peer may take to begin: as nodes are configured.
const FIRST_BYTE: Duration = Duration::from_secs(15);
/// How long it may pause.
const IDLE: Duration = Duration::from_secs(30);
/// After so long a drip is cut off: grace, and what its first bytes are worth at the minimum rate.
const DRIP_ENDS: Duration = Duration::from_secs(11);
/// What it has sent by then.
const DRIPPED_BYTES: u64 = 11 * 1024;
/// Most bytes that a stream takes in a round trip.
const LARGEST_STREAM_WINDOW: u64 = 16 * 1024 * 1024;
/// Bytes of a decided value with its certificate.
const VALUE_BYTES: u64 = 1500;
/// Bytes of a validator set.
const SET_BYTES: u64 = 400;

/// Something that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A payload or a blob; `true` if it is what the chain decided.
    Item(Item, bool),
    /// A decided value, likewise.
    Value(bool),
    /// A validator set.
    Set(u64),
}

/// How an answer ends when everything of it has been sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct End {
    pub(super) outcome: Outcome,
    pub(super) offence: Option<Offence>,
    /// So long after the last piece.
    pub(super) after: Duration,
    /// Bytes sent in that time, of no use to anybody.
    pub(super) bytes: u64,
}

/// An answer under way.
#[derive(Debug)]
pub(super) struct Exchange {
    /// Place of the peer.
    pub(super) peer: usize,
    pub(super) script: VecDeque<Piece>,
    pub(super) end: End,
    /// Before the first piece.
    pub(super) delay: Duration,
    /// When the peer got the request.
    pub(super) began: Duration,
    /// Bytes sent since.
    pub(super) sent: u64,
    pub(super) report: Report,
    /// First height of the values that came, and which of them is the first that is not certified.
    pub(super) values_from: Height,
    pub(super) wrong_value: Option<u64>,
    /// The set that came.
    pub(super) set: Option<u64>,
    /// Pieces that were asked for, and the heights that these are of.
    asked: u64,
    pub(super) heights: RangeInclusive<Height>,
}

impl End {
    const IN_ORDER: Self = Self { outcome: Outcome::Answered, offence: None, after: Duration::ZERO, bytes: 0 };

    fn broken(offence: Offence, after: Duration) -> Self {
        Self { outcome: Outcome::Broken, offence: Some(offence), after, bytes: 0 }
    }
}

/// Bytes of a piece.
pub(super) fn piece_bytes(plan: &Plan, piece: Piece) -> u64 {
    match piece {
        Piece::Item(item, _) => item_bytes(plan, item),
        Piece::Value(_) => VALUE_BYTES,
        Piece::Set(_) => SET_BYTES,
    }
}

/// How long after its beginning a stream takes what comes after `sent` bytes: what it has taken doubles with each round
/// trip, until its window is as large as it gets.
pub(super) fn window_opens(sent: u64, first_window: u64, round_trip: Duration) -> Duration {
    let (mut taken, mut opens) = (first_window.max(1), Duration::ZERO);
    while taken <= sent {
        taken += taken.min(LARGEST_STREAM_WINDOW);
        opens += round_trip;
    }
    opens
}

impl Exchange {
    /// What `peer`, which has the heights up to `head`, does about `fetch`. `is_over_quota` says that it was asked too
    /// much lately.
    pub(super) fn new(
        peer: usize,
        plan: &Plan,
        head: Height,
        fetch: &Fetch,
        is_over_quota: bool,
        rng: &mut StdRng,
    ) -> Option<Self> {
        let who = plan.peers.get(peer)?;
        let mut exchange = Self {
            peer,
            script: honest_script(peer, plan, head, fetch)?,
            end: End::IN_ORDER,
            delay: Duration::ZERO,
            began: Duration::ZERO,
            sent: 0,
            report: Report::empty(Outcome::Answered),
            values_from: if let Fetch::Values(heights) = fetch { heights.start } else { 0 },
            wrong_value: None,
            set: None,
            asked: match fetch {
                Fetch::Values(heights) => heights.end - heights.start,
                Fetch::ValidatorSet { .. } => 1,
                fetch => items(fetch).len() as u64,
            },
            heights: match fetch {
                Fetch::Values(heights) => heights.start..=heights.end.saturating_sub(1),
                Fetch::ValidatorSet { height, .. } => *height..=*height,
                fetch => span(&items(fetch)),
            },
        };
        if is_over_quota {
            exchange.script.clear();
            exchange.end.outcome = Outcome::RateLimited;
        } else {
            exchange.behave(who.conduct, fetch, rng);
        }
        if exchange.script.is_empty() && exchange.end.outcome == Outcome::Answered {
            exchange.end.outcome = Outcome::Unavailable;
        }
        Some(exchange)
    }

    fn behave(&mut self, conduct: Conduct, fetch: &Fetch, rng: &mut StdRng) {
        match conduct {
            Conduct::Lossy { permille } if rng.random_ratio(permille, 1000) => {
                self.cut(rng);
                self.end = End::broken(Offence::Reset, Duration::ZERO);
            }
            Conduct::Late if rng.random_ratio(1, 10) => self.delay = Duration::from_millis(rng.random_range(500..4000)),
            Conduct::WrongData => self.spoil(|_| true),
            Conduct::RarelyWrong => self.spoil(|_| rng.random_ratio(1, 10)),
            Conduct::WrongValues => self.spoil_values(),
            Conduct::Malformed => {
                self.script.clear();
                let offence = Some(Offence::Malformed);
                self.end = End { outcome: Outcome::Faulty, offence, after: Duration::ZERO, bytes: 1024 };
            }
            Conduct::Silent => {
                self.script.clear();
                self.end = End::broken(Offence::Timeout, FIRST_BYTE);
            }
            Conduct::Hanging => {
                self.cut(rng);
                self.end = End::broken(Offence::Timeout, IDLE);
            }
            Conduct::Drip => {
                self.script.clear();
                self.end = End { bytes: DRIPPED_BYTES, ..End::broken(Offence::Timeout, DRIP_ENDS) };
            }
            Conduct::Half => self.halve(fetch),
            Conduct::Boaster
            | Conduct::Wavering
            | Conduct::Empty
            | Conduct::Flapping
            | Conduct::Honest
            | Conduct::Lossy { .. }
            | Conduct::RateLimited { .. }
            | Conduct::Late => {}
        }
    }

    /// Whether it ends, as `outcome`, without all that it was for.
    pub(super) fn is_in_vain(&self, outcome: Outcome) -> bool {
        let came = (self.report.received.len() + self.report.duplicates.len()) as u64;
        let came = came + self.report.values + u64::from(self.set.is_some());
        outcome != Outcome::Answered || came < self.asked
    }

    fn cut(&mut self, rng: &mut StdRng) {
        let left = rng.random_range(0..=self.script.len());
        self.script.truncate(left);
    }

    fn spoil(&mut self, mut which: impl FnMut(Item) -> bool) {
        for piece in &mut self.script {
            if let Piece::Item(item, is_good) = piece {
                *is_good = !which(*item);
            }
        }
    }

    fn spoil_values(&mut self) {
        for piece in &mut self.script {
            if let Piece::Value(is_good) = piece {
                *is_good = false;
            }
        }
    }

    /// Half of what was asked for; half of a height is no answer in order.
    fn halve(&mut self, fetch: &Fetch) {
        let left = self.script.len() / 2;
        let next = self.script.get(left).copied();
        self.script.truncate(left);
        let is_same = |a: Piece, b: Piece| match (a, b) {
            (Piece::Item(a, _), Piece::Item(b, _)) => a.height() == b.height(),
            _ => false,
        };
        let splits = self.script.back().zip(next).is_some_and(|(last, next)| is_same(*last, next));
        if splits && matches!(fetch, Fetch::WholeHeights(_)) {
            self.end = End::broken(Offence::Truncated, Duration::ZERO);
        }
    }
}

/// From the first to the last height of `items`, which are in order.
fn span(items: &[Item]) -> RangeInclusive<Height> {
    let height = |item: Option<&Item>| item.map_or(0, |item| item.height());
    height(items.first())..=height(items.last())
}

fn honest_script(place: usize, plan: &Plan, head: Height, fetch: &Fetch) -> Option<VecDeque<Piece>> {
    let peer = plan.peers.get(place)?;
    let has_none = matches!(peer.conduct, Conduct::Boaster | Conduct::Wavering | Conduct::Empty);
    Some(match fetch {
        Fetch::Values(_) | Fetch::ValidatorSet { .. } if has_none => VecDeque::new(),
        Fetch::Values(heights) => {
            let end = heights.end.min(head.saturating_add(1));
            (heights.start..end).map(|_| Piece::Value(true)).collect()
        }
        Fetch::ValidatorSet { root, height } => {
            let growth = plan.growth.as_ref().filter(|growth| growth.knows(place, head, root));
            growth.map(|growth| Piece::Set(growth.set_of(*height))).into_iter().collect()
        }
        fetch => peer.honest_answer(fetch, head).into_iter().map(|item| Piece::Item(item, true)).collect(),
    })
}
