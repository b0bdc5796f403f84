//! What a plan is told, and what it says.

use std::{
    num::NonZeroU64,
    time::{Duration, Instant},
};

use lapis_protocol_spec::Height;

use crate::execution::Trouble;

/// How an engine is to be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlanSettings {
    /// Most blocks that are offered between two forkchoice updates while the engine is behind.
    pub(super) batch: NonZeroU64,
    /// How often an engine with nothing to do is told its head again, which shows whether it is still there and still has
    /// it. `None`: not at all.
    pub(super) check_interval: Option<Duration>,
    /// Longest wait between two attempts.
    pub(super) longest_retry: Duration,
}

/// Heights of the store that the plan depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) imported: Height,
    pub(super) available: Height,
    /// Lowest height whose payload is held, at least 1.
    pub(super) earliest_payload: Height,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Ask the engine where it stands.
    Stand,
    /// Ask the engine whether it has the block of this height; 0 is the block before the first one.
    Has(Height),
    /// Offer the block of this height.
    Offer(Height),
    /// Make the block of this height the head.
    Forkchoice(Height),
    /// Move the watermark up to this height.
    Save(Height),
    /// Nothing, until this time or until a watermark moves, whichever is first.
    Wait(Option<Instant>),
    /// Nothing ever again.
    Halt,
}

/// Where the engine's head is among the heights of the chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// It goes by the watermark.
    AtWatermark,
    /// It is the block of this height.
    At(Height),
    /// It is a block that is not known to be of the chain.
    Elsewhere,
    /// The engine does not tell.
    Untold,
}

/// What an engine said to a block or a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It has it and follows it.
    Valid,
    /// It lacks something before it.
    Lacking,
    /// It did not answer, or not to the question.
    Trouble(Trouble),
    /// It will never take it.
    Invalid,
}

/// What keeps import from going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    Syncing(Height),
    Unreadable(Height),
    Trouble(Trouble),
    LacksHistory { earliest: Height },
    WrongChain,
}
