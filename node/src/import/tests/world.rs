//! A client and a node around a plan, both simulated.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use lapis_protocol_spec::Height;
use rand::{SeedableRng, rngs::StdRng};

use crate::{
    execution::Trouble,
    import::{
        plan::Plan,
        step::{Answer, Marks, Obstacle, PlanSettings, Stand, Step},
    },
};

const LONGEST: Duration = Duration::from_secs(10);
const CHECK: Duration = Duration::from_secs(5);
const BATCH: u64 = 4;

/// A client that keeps blocks by height. It can lose them, be gone, or have a mind of its own.
pub(super) struct Client {
    /// It has executed every block up to here.
    pub(super) has: Height,
    pub(super) head: Height,
    /// It has the chain's first block.
    pub(super) right_genesis: bool,
    /// It tells its head and single blocks.
    pub(super) tells: bool,
    /// It claims blocks up to here whose state it has lost.
    pub(super) claims: Option<Height>,
    /// It calls those valid without executing them.
    pub(super) believes_claims: bool,
    pub(super) trouble: Option<Trouble>,
    /// It is on another fork that leaves the chain above `has`.
    pub(super) elsewhere: bool,
}

impl Client {
    pub(super) fn at(height: Height) -> Self {
        Self {
            has: height,
            head: height,
            right_genesis: true,
            tells: true,
            claims: None,
            believes_claims: false,
            trouble: None,
            elsewhere: false,
        }
    }

    pub(super) fn payload(&mut self, height: Height) -> Answer {
        match self.trouble {
            Some(trouble) => Answer::Trouble(trouble),
            None if self.believes_claims && height > self.has + 1 && Some(height) <= self.claims => Answer::Valid,
            None if !self.right_genesis || height > self.has + 1 => Answer::Lacking,
            None => {
                self.has = self.has.max(height);
                self.claims = self.claims.filter(|claimed| *claimed > self.has);
                Answer::Valid
            }
        }
    }

    pub(super) fn forkchoice(&mut self, height: Height) -> Answer {
        match self.trouble {
            Some(trouble) => Answer::Trouble(trouble),
            None if !self.right_genesis || height > self.has => Answer::Lacking,
            None => {
                self.head = height;
                self.elsewhere = false;
                Answer::Valid
            }
        }
    }

    pub(super) fn stand(&self) -> Result<Stand, Trouble> {
        match self.trouble {
            Some(trouble) => Err(trouble),
            None if !self.tells => Ok(Stand::Untold),
            None if self.elsewhere || !self.right_genesis => Ok(Stand::Elsewhere),
            None => Ok(Stand::At(self.claims.unwrap_or(self.head))),
        }
    }
}

/// A node around a plan.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) client: Client,
    pub(super) marks: Marks,
    pub(super) now: Instant,
    pub(super) rng: StdRng,
    pub(super) log: Vec<Step>,
    /// Highest head that the client confirmed.
    confirmed: Height,
}

impl World {
    pub(super) fn new(client: Client, imported: Height, available: Height) -> Self {
        let batch = NonZeroU64::new(BATCH).unwrap();
        let settings = PlanSettings { batch, check_interval: Some(CHECK), longest_retry: LONGEST };
        Self {
            plan: Plan::new(settings),
            client,
            marks: Marks { imported, available, earliest_payload: 1 },
            now: Instant::now(),
            rng: StdRng::seed_from_u64(1),
            log: Vec::new(),
            confirmed: 0,
        }
    }

    /// Does one step; waiting moves the clock.
    pub(super) fn step(&mut self) -> Step {
        let step = self.plan.next(self.now, &self.marks);
        self.log.push(step);
        let (now, marks) = (self.now, self.marks);
        match step {
            Step::Stand => match self.client.stand() {
                Ok(stand) => self.plan.stands(stand, &marks),
                Err(trouble) => self.plan.failed(trouble, now, &mut self.rng),
            },
            Step::Has(height) => match self.client.trouble {
                Some(trouble) => self.plan.failed(trouble, now, &mut self.rng),
                None => self.plan.has_told(height, self.client.right_genesis && height <= self.client.has),
            },
            Step::Offer(height) => {
                assert!((marks.earliest_payload..=marks.available).contains(&height), "{height} is not held");
                let answer = self.client.payload(height);
                self.plan.offered(height, answer, now, &mut self.rng);
            }
            Step::Forkchoice(height) => {
                let answer = self.client.forkchoice(height);
                if answer == Answer::Valid {
                    self.confirmed = self.confirmed.max(height);
                }
                self.plan.forkchoice_told(height, answer, now, &marks, &mut self.rng);
            }
            Step::Save(height) => {
                assert!((marks.imported + 1..=marks.available).contains(&height), "{height} is not next");
                assert!(self.confirmed >= height, "saved before it was the head");
                self.marks.imported = height;
                self.plan.saved();
            }
            Step::Wait(Some(until)) => {
                assert!(until > now && until <= now + LONGEST.max(CHECK));
                self.now = until;
            }
            Step::Wait(None) | Step::Halt => {}
        }
        step
    }

    /// Runs until nothing is left to do; how many steps that took.
    pub(super) fn settle(&mut self) -> usize {
        for steps in 0..10_000 {
            let idle = matches!(self.plan.next(self.now, &self.marks), Step::Wait(_));
            if idle && self.plan.obstacle().is_none() && self.marks.imported == self.marks.available {
                return steps;
            }
            self.step();
        }
        panic!("does not settle at {:?}: {:?}", self.marks, &self.log[self.log.len() - 20..]);
    }

    /// Runs until it waits for an obstacle.
    pub(super) fn stuck(&mut self) -> Obstacle {
        for _ in 0..1000 {
            if let (Step::Wait(_), Some(obstacle)) = (self.step(), self.plan.obstacle()) {
                return obstacle;
            }
        }
        panic!("does not get stuck: {:?}", &self.log[self.log.len() - 20..]);
    }

    pub(super) fn count(&self, wanted: impl Fn(&Step) -> bool) -> usize {
        self.log.iter().filter(|step| wanted(step)).count()
    }
}
