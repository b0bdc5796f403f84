//! The scheduler with its random source, telling a trace of everything that reaches it.

use std::{
    ops::{Deref, Range},
    time::Instant,
};

use lapis_protocol_spec::Height;
use rand::{SeedableRng, rngs::StdRng};
use serde::Serialize;

use super::{Begin, Decision, Header, Line, TRACE_FORMAT, TraceSink, What, nanoseconds};
use crate::sync::scheduler::{Action, Ended, Input, RequestId, Scheduler};

/// What the scheduler wants done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// Exchanges to end.
    pub cancel: Vec<RequestId>,
    /// Exchanges to begin.
    pub ask: Vec<Action>,
}

impl Decisions {
    /// As far as they are to be compared.
    pub(super) fn comparable(&self) -> Vec<Decision> {
        let cancel = self.cancel.iter().map(|id| Decision::Cancel(*id));
        cancel.chain(self.ask.iter().map(Decision::from)).collect()
    }
}

/// A scheduler that is only told things, and asked for decisions, through here. Reading it is free.
#[derive(Debug)]
pub struct RecordedScheduler {
    scheduler: Scheduler,
    rng: StdRng,
    start: Instant,
    trace: Option<Box<dyn TraceSink>>,
    /// Last told, so that what did not change is not told again.
    held: Vec<Range<Height>>,
    waived: Height,
}

impl RecordedScheduler {
    /// A scheduler with a random source from `seed`, recorded if there is a `trace`.
    pub fn new(begin: Begin, seed: [u8; 32], now: Instant, trace: Option<Box<dyn TraceSink>>) -> Self {
        let Begin { config, decided, available, imported } = begin;
        let mut recorded = Self {
            scheduler: Scheduler::new(config, decided, available, imported),
            rng: StdRng::from_seed(seed),
            start: now,
            trace,
            held: Vec::new(),
            waived: 0,
        };
        let version = env!("CARGO_PKG_VERSION").to_owned();
        recorded.write(&Header { lapis_trace: TRACE_FORMAT, version, seed: hex::encode(seed), begin });
        recorded
    }

    /// Tells the scheduler.
    pub fn take(&mut self, input: Input, now: Instant) -> Ended {
        if !self.is_news(&input) {
            return Ended::Other;
        }
        if self.trace.is_none() {
            return self.scheduler.take(input, now);
        }
        let at = self.at(now);
        self.write(&Line { at, what: What::Told(input.clone()) });
        self.scheduler.take(input, now)
    }

    /// What is to be done now.
    pub fn poll(&mut self, now: Instant) -> Decisions {
        let cancel = self.scheduler.cancellations(now);
        let mut decisions = Decisions { cancel, ask: self.scheduler.poll(now, &mut self.rng) };
        // What the poll gave up on goes at once.
        decisions.cancel.extend(self.scheduler.cancellations(now));
        if self.trace.is_some() {
            let at = self.at(now);
            self.write(&Line { at, what: What::Decided(decisions.comparable()) });
        }
        decisions
    }

    /// Whether `input` says anything that the one of its kind before it did not.
    fn is_news(&mut self, input: &Input) -> bool {
        match input {
            Input::HeldValues(held) if *held == self.held => false,
            Input::HeldValues(held) => {
                self.held.clone_from(held);
                true
            }
            Input::WaiveBlobsBelow(floor) => std::mem::replace(&mut self.waived, *floor) != *floor,
            _ => true,
        }
    }

    fn at(&self, now: Instant) -> u64 {
        nanoseconds(now.saturating_duration_since(self.start))
    }

    fn write(&mut self, record: &impl Serialize) {
        let Some(trace) = &mut self.trace else { return };
        let goes_on = match serde_json::to_string(record) {
            Ok(line) => trace.line(&line),
            Err(error) => {
                tracing::error!(%error, "the trace ends here: this cannot be written");
                false
            }
        };
        if !goes_on {
            self.trace = None;
        }
    }
}

impl Deref for RecordedScheduler {
    type Target = Scheduler;

    fn deref(&self) -> &Scheduler {
        &self.scheduler
    }
}
