//! What a source did not deliver although it was asked for it: it is not asked for that again for a while.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lapis_protocol_spec::Height;

use crate::{back_off::doubled, sync::scheduler::action::Outcome};

/// First wait after "does not have it"; doubles with each repetition for the same height.
const FIRST_LACK: Duration = Duration::from_millis(100);
/// Longest wait before a source is asked again for what it lacked.
const LONGEST_LACK: Duration = Duration::from_secs(30);
/// How long a source is not asked again for a height of which it sent something wrong.
const FAULT_EXCLUSION: Duration = Duration::from_secs(300);
/// Heights that are remembered as lacking, per source.
const MAX_LACKS: usize = 1024;
/// Whoever lacked a height so often although it claims it is not believed at once when it claims it anew.
const BELIEVED_STRIKES: u32 = 2;

/// Why a source did not deliver something of a height.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Why {
    /// It was busy, or the exchange broke.
    NotDelivered,
    /// It does not have it.
    NotHeld,
    /// What it sent is wrong.
    Faulty,
}

impl Why {
    fn of(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Answered | Outcome::Unavailable | Outcome::Unsupported => Some(Self::NotHeld),
            Outcome::RateLimited | Outcome::Broken | Outcome::Outrun => Some(Self::NotDelivered),
            Outcome::Faulty => Some(Self::Faulty),
            Outcome::Local => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Lack {
    /// `None` once it claims the height anew: it may be asked again, and its strikes are kept.
    until: Option<Instant>,
    strikes: u32,
    why: Why,
}

impl Lack {
    fn is_recent(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

/// Heights of which one source did not deliver something, at most [`MAX_LACKS`].
#[derive(Debug, Default)]
pub(super) struct Lacks(BTreeMap<Height, Lack>);

impl Lacks {
    /// Something of `height` was not delivered: the exchange ended as `outcome`.
    pub(super) fn note(&mut self, height: Height, outcome: Outcome, now: Instant) {
        let Some(why) = Why::of(outcome) else { return };
        let known = self.0.get(&height);
        let strikes = known.map_or(0, |lack| lack.strikes.saturating_add(1));
        let why = known.map_or(why, |lack| lack.why.max(why));
        let wait = if why == Why::Faulty { FAULT_EXCLUSION } else { doubled(FIRST_LACK, strikes, LONGEST_LACK) };
        self.0.insert(height, Lack { until: Some(now + wait), strikes, why });
        if self.0.len() > MAX_LACKS {
            self.0.retain(|_, lack| lack.is_recent(now));
        }
        while self.0.len() > MAX_LACKS {
            let Some((&soonest, _)) = self.0.iter().min_by_key(|(_, lack)| lack.until) else { return };
            self.0.remove(&soonest);
        }
    }

    /// Whether `height` is not to be asked for yet.
    pub(super) fn is_recent(&self, height: Height, now: Instant) -> bool {
        self.0.get(&height).is_some_and(|lack| lack.is_recent(now))
    }

    /// Whether something of `height` was not delivered, however long ago, and nothing has changed since.
    pub(super) fn has(&self, height: Height) -> bool {
        self.0.get(&height).is_some_and(|lack| lack.until.is_some())
    }

    /// The same, and it did not just fail: it does not have it, or sends something wrong.
    pub(super) fn will_not_serve(&self, height: Height) -> bool {
        self.0.get(&height).is_some_and(|lack| lack.until.is_some() && lack.why >= Why::NotHeld)
    }

    /// The source claims anew the heights that `is_news` names. Whoever claims and lacks the same again and again is not
    /// believed sooner for saying it once more.
    pub(super) fn believe(&mut self, is_news: impl Fn(Height) -> bool) {
        for (height, lack) in &mut self.0 {
            let is_believed = lack.why != Why::Faulty && lack.strikes < BELIEVED_STRIKES;
            if is_believed && is_news(*height) {
                lack.until = None;
            }
        }
    }

    /// `height` is complete: nothing about it needs to be remembered.
    pub(super) fn forget(&mut self, height: Height) {
        self.0.remove(&height);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_and_what_is_remembered_is_bounded() {
        let (mut lacks, now) = (Lacks::default(), Instant::now());
        for wait in [FIRST_LACK, 2 * FIRST_LACK, 4 * FIRST_LACK] {
            lacks.note(0, Outcome::Unavailable, now);
            assert!(lacks.is_recent(0, now + wait - Duration::from_millis(1)) && !lacks.is_recent(0, now + wait));
        }
        for height in 1..=2 * MAX_LACKS as Height {
            lacks.note(height, Outcome::Broken, now + FIRST_LACK);
        }
        assert_eq!(lacks.0.len(), MAX_LACKS);
        assert!(lacks.has(0) && !lacks.has(1), "those go that would be asked for again first");
    }

    #[test]
    fn what_was_wrong_stays_so_and_what_lacked_is_believed_a_few_times() {
        let (mut lacks, now) = (Lacks::default(), Instant::now());
        lacks.note(1, Outcome::Faulty, now);
        lacks.note(2, Outcome::Unavailable, now);
        lacks.believe(|_| true);
        assert!(lacks.has(1) && !lacks.has(2));
        for _ in 0..BELIEVED_STRIKES {
            lacks.note(2, Outcome::Unavailable, now);
        }
        lacks.believe(|_| true);
        assert!(lacks.has(2) && lacks.will_not_serve(2));
        lacks.note(3, Outcome::Broken, now);
        assert!(lacks.has(3) && !lacks.will_not_serve(3));
    }
}
