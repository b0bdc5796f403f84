//! What to do next with an engine. Pure: no clock, no randomness, no IO.
//!
//! A [`Plan`] is asked for a [`Step`] and told what came of it. It knows heights only; blocks, hashes and the watermark are
//! the importer's. The order of things, for an engine that lacks nothing:
//!
//! ```text
//! stand -> (search) -> offer, offer, ... -> forkchoice -> save -> wait
//! ```
//!
//! An engine that answers that it lacks the parent is told of the block by a forkchoice update first, so that it has
//! something to sync to, and is then asked where it stands. If it stands below the watermark it is offered what it lacks
//! from there on. As long as it does not get on, the forkchoice update is repeated.

use std::time::{Duration, Instant};

use lapis_protocol_spec::Height;
use rand::Rng;

use super::{
    search::{Search, SearchStep},
    step::{Answer, Marks, Obstacle, PlanSettings, Stand, Step},
};
use crate::{back_off::BackOff, execution::Trouble};

/// Wait after the first failure, about; it doubles with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(200);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The engine has to be asked where it stands.
    Standing,
    /// It is asked for single blocks.
    Searching(Search),
    /// It is offered what comes next.
    Following,
    /// It is to be told of a block whose ancestors it lacks.
    Pointing {
        height: Height,
        /// Whether it is given time if it still lacks them then. Otherwise it has had that, and is asked where it stands.
        then_wait: bool,
    },
    Halted {
        /// Whether what was taken before is yet to be made the head.
        confirm: bool,
    },
}

/// The state of an import.
#[derive(Debug)]
pub(super) struct Plan {
    settings: PlanSettings,
    phase: Phase,
    /// The engine has every block up to here.
    has: Height,
    /// Where it stood when it was asked.
    base: Height,
    /// Its head is at this height. `None`: not confirmed since it was asked.
    head: Option<Height>,
    /// A head that it was told of and does not have yet: the forkchoice update is repeated.
    pointed: Option<Height>,
    /// Whether `has` is what the engine said, not what it is supposed to have.
    told: bool,
    /// Whether no head was confirmed since the engine was asked where it stands.
    fresh: bool,
    /// How many heights further below than it says the engine is fed from.
    reach: u64,
    obstacle: Option<Obstacle>,
    back_off: BackOff,
    not_before: Option<Instant>,
    /// When it was last told its head.
    head_told: Option<Instant>,
}

impl Plan {
    pub(super) fn new(settings: PlanSettings) -> Self {
        Self {
            settings,
            phase: Phase::Standing,
            has: 0,
            base: 0,
            head: None,
            pointed: None,
            told: false,
            fresh: true,
            reach: 0,
            obstacle: None,
            back_off: BackOff::new(FIRST_RETRY, settings.longest_retry),
            not_before: None,
            head_told: None,
        }
    }

    /// The highest height up to which the engine has every block, as far as is known.
    pub(super) fn has(&self) -> Height {
        self.has
    }

    /// What import waits for.
    pub(super) fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    /// Whether it is not known yet where the engine stands.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.phase, Phase::Standing | Phase::Searching(_))
    }

    /// What to do next.
    pub(super) fn next(&mut self, now: Instant, marks: &Marks) -> Step {
        if let Some(until) = self.not_before.filter(|until| *until > now) {
            return Step::Wait(Some(until));
        }
        self.not_before = None;
        match self.phase {
            Phase::Halted { confirm: true } => Step::Forkchoice(self.has),
            Phase::Halted { confirm: false } => self.unsaved(marks).unwrap_or(Step::Halt),
            Phase::Standing => Step::Stand,
            Phase::Searching(search) => self.search(search, now, marks),
            Phase::Pointing { height, .. } => Step::Forkchoice(height),
            Phase::Following => self.follow(now, marks),
        }
    }

    fn search(&mut self, search: Search, now: Instant, marks: &Marks) -> Step {
        match search.next() {
            SearchStep::Ask(height) => Step::Has(height),
            SearchStep::Found(height) => {
                self.stands_at(height, true, marks);
                self.follow(now, marks)
            }
            SearchStep::None if marks.earliest_payload <= 1 => {
                self.obstacle = Some(Obstacle::WrongChain);
                self.point_to(marks.imported)
            }
            SearchStep::None => self.lacks_history(marks),
        }
    }

    fn lacks_history(&mut self, marks: &Marks) -> Step {
        self.obstacle = Some(Obstacle::LacksHistory { earliest: marks.earliest_payload });
        self.point_to(marks.imported)
    }

    /// The engine cannot be helped from here; it can help itself if it knows the head and others who have it.
    fn point_to(&mut self, height: Height) -> Step {
        self.point(height);
        (self.told, self.fresh) = (true, true);
        Step::Forkchoice(height)
    }

    fn follow(&mut self, now: Instant, marks: &Marks) -> Step {
        if let Some(save) = self.unsaved(marks) {
            return save;
        }
        let untold = self.untold();
        let introduce = untold == 0 && self.head.is_none() && self.pointed.is_none() && self.has > 0;
        // The first block that is taken after a halt is confirmed at once: it shows that the halt is over.
        let complete = self.obstacle.is_some() || self.has >= marks.available;
        if introduce || untold >= self.settings.batch.get() || (untold > 0 && complete) {
            return Step::Forkchoice(self.has);
        }
        if self.has < lowest(marks) {
            return self.lacks_history(marks);
        }
        if self.has < marks.available {
            return Step::Offer(self.has.saturating_add(1));
        }
        self.idle(now)
    }

    /// The watermark follows the head.
    fn unsaved(&self, marks: &Marks) -> Option<Step> {
        let head = self.head?.min(marks.available);
        (marks.imported < head).then_some(Step::Save(head))
    }

    /// How many heights were taken of which none above is the head.
    fn untold(&self) -> u64 {
        self.has.saturating_sub(self.head.unwrap_or(self.base))
    }

    fn idle(&self, now: Instant) -> Step {
        let (Some(interval), Some(told)) = (self.settings.check_interval, self.head_told) else {
            return Step::Wait(None);
        };
        let next = told + interval;
        if next <= now { Step::Forkchoice(self.has) } else { Step::Wait(Some(next)) }
    }

    /// The engine said where it stands, to [`Step::Stand`].
    pub(super) fn stands(&mut self, stand: Stand, marks: &Marks) {
        match stand {
            Stand::AtWatermark => {
                self.stands_at(marks.imported, true, marks);
                self.head = Some(marks.imported);
            }
            Stand::At(height) if height < lowest(marks) => {
                self.lacks_history(marks);
            }
            Stand::At(height) => self.stands_at(height, true, marks),
            Stand::Untold => self.stands_at(marks.imported, false, marks),
            Stand::Elsewhere => {
                self.phase = Phase::Searching(Search::new(lowest(marks), marks.imported));
            }
        }
    }

    /// An engine may be ahead of the watermark: its head is decided and has the heights below it as ancestors, so these need
    /// not be offered, and the watermark follows as soon as it has confirmed its head.
    fn stands_at(&mut self, height: Height, told: bool, marks: &Marks) {
        self.has = height.saturating_sub(self.reach).max(lowest(marks));
        (self.base, self.head, self.told, self.fresh) = (self.has, None, told, true);
        self.phase = Phase::Following;
    }

    /// The engine has, or has not, the block that [`Step::Has`] asked for.
    pub(super) fn has_told(&mut self, height: Height, has: bool) {
        if let Phase::Searching(search) = &mut self.phase {
            search.told(height, has);
        }
    }

    /// The engine did not answer [`Step::Stand`] or [`Step::Has`].
    pub(super) fn failed(&mut self, trouble: Trouble, now: Instant, rng: &mut impl Rng) {
        self.obstacle = Some(Obstacle::Trouble(trouble));
        self.phase = Phase::Standing;
        self.wait(now, rng);
    }

    /// What came of [`Step::Offer`].
    pub(super) fn offered(&mut self, height: Height, answer: Answer, now: Instant, rng: &mut impl Rng) {
        match answer {
            Answer::Valid => {
                self.has = self.has.max(height);
                if matches!(self.obstacle, Some(Obstacle::Unreadable(_))) {
                    self.obstacle = None;
                }
            }
            Answer::Lacking => self.point(height),
            Answer::Trouble(trouble) => self.failed(trouble, now, rng),
            Answer::Invalid => self.halt(),
        }
    }

    /// What came of [`Step::Forkchoice`].
    pub(super) fn forkchoice_told(
        &mut self,
        height: Height,
        answer: Answer,
        now: Instant,
        marks: &Marks,
        rng: &mut impl Rng,
    ) {
        self.head_told = Some(now);
        let halted = matches!(self.phase, Phase::Halted { .. });
        if halted {
            self.phase = Phase::Halted { confirm: false };
        }
        match answer {
            Answer::Valid => {
                self.has = self.has.max(height);
                self.head = Some(height);
                if !halted {
                    self.phase = Phase::Following;
                }
                (self.fresh, self.reach, self.pointed, self.obstacle) = (false, 0, None, None);
                self.back_off.succeeded();
            }
            Answer::Lacking | Answer::Trouble(_) if halted => {}
            Answer::Lacking => self.lacking(height, marks, now, rng),
            Answer::Trouble(trouble) => self.failed(trouble, now, rng),
            Answer::Invalid => self.phase = Phase::Halted { confirm: false },
        }
    }

    /// The engine lacks what is before `height`. If it was in step a moment ago it may have lost what it had, and is asked
    /// again where it stands; else it is given time, and more of what is below.
    fn lacking(&mut self, height: Height, marks: &Marks, now: Instant, rng: &mut impl Rng) {
        let had_time = matches!(self.phase, Phase::Pointing { then_wait: false, .. });
        self.phase = Phase::Standing;
        self.pointed = Some(height);
        if had_time || !self.fresh {
            return;
        }
        if !matches!(self.obstacle, Some(Obstacle::LacksHistory { .. } | Obstacle::WrongChain)) {
            self.obstacle = Some(Obstacle::Syncing(height));
        }
        let at_the_bottom = self.has < marks.earliest_payload;
        self.reach = if at_the_bottom { 0 } else { self.reach.saturating_mul(2).max(1) };
        if self.told || at_the_bottom {
            self.wait(now, rng);
            self.phase = Phase::Pointing { height, then_wait: false };
        }
    }

    fn point(&mut self, height: Height) {
        self.phase = Phase::Pointing { height, then_wait: true };
        self.pointed = Some(height);
    }

    /// The block of `height` could not be read.
    pub(super) fn unreadable(&mut self, height: Height, now: Instant, rng: &mut impl Rng) {
        self.obstacle = Some(Obstacle::Unreadable(height));
        self.wait(now, rng);
    }

    /// [`Step::Save`] is done.
    pub(super) fn saved(&mut self) {
        self.back_off.succeeded();
    }

    /// This node cannot do the step now, which is not the engine's business.
    pub(super) fn pause(&mut self, now: Instant, rng: &mut impl Rng) {
        self.wait(now, rng);
    }

    /// The next decided block can never be imported. Those before it are still made the head and saved.
    pub(super) fn halt(&mut self) {
        self.phase = Phase::Halted { confirm: self.untold() > 0 };
    }

    fn wait(&mut self, now: Instant, rng: &mut impl Rng) {
        self.not_before = Some(now + self.back_off.failed(rng));
    }
}

/// The lowest height that an engine may stand at and be fed from there.
fn lowest(marks: &Marks) -> Height {
    marks.earliest_payload.saturating_sub(1).min(marks.imported)
}
