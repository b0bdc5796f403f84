//! A score that offences lower and time heals.

use std::time::{Duration, Instant};

use super::Offence;
use crate::limits::{LimitsError, check_time};

/// What scores lead to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScoreRules {
    /// Time in which a score comes half-way back to 0.
    pub half_life: Duration,
    /// At or below this score a peer is disconnected, and may come back.
    pub disconnect_at: f64,
    /// At or below this score a peer is banned.
    pub ban_at: f64,
    /// How long a ban lasts.
    pub ban_for: Duration,
}

impl Default for ScoreRules {
    fn default() -> Self {
        Self {
            half_life: Duration::from_secs(600),
            disconnect_at: -50.0,
            ban_at: -100.0,
            ban_for: Duration::from_secs(3600),
        }
    }
}

impl ScoreRules {
    /// Checks that offences lead to something, and that nothing leads to a ban by itself.
    ///
    /// # Errors
    /// [`LimitsError::Score`], [`LimitsError::NoTime`], [`LimitsError::TooMuchTime`].
    pub fn check(&self) -> Result<(), LimitsError> {
        check_time("scores.half_life", self.half_life)?;
        check_time("scores.ban_for", self.ban_for)?;
        let (disconnect_at, ban_at) = (self.disconnect_at, self.ban_at);
        if !(disconnect_at.is_finite() && disconnect_at < 0.0) {
            return Err(LimitsError::Score { name: "scores.disconnect_at" });
        }
        if !(ban_at.is_finite() && ban_at <= disconnect_at) {
            return Err(LimitsError::Score { name: "scores.ban_at" });
        }
        Ok(())
    }
}

/// What follows from an offence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing.
    Keep,
    /// The connection is closed; the peer may come back.
    Disconnect,
    /// The peer is kept out.
    Ban {
        /// Until then.
        until: Instant,
    },
}

/// Scores lower than twice the ban threshold are held there, so that a ban can be outlived.
const FLOOR_FACTOR: f64 = 2.0;

/// How much of the ban threshold delays alone can reach.
const DELAY_FACTOR: f64 = 0.9;

/// The score of one peer: 0 at best. Pure, so that others can foretell what this crate does.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    value: f64,
    at: Instant,
}

impl Score {
    /// That of a peer of which nothing is known.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { value: 0.0, at: now }
    }

    /// A score that an earlier run has come to, no lower than any can be.
    pub(crate) fn restored(value: f64, now: Instant, rules: &ScoreRules) -> Self {
        Self { value: value.clamp(rules.ban_at * FLOOR_FACTOR, 0.0), at: now }
    }

    /// The score at `now`: decays exponentially towards 0.
    #[must_use]
    pub fn value(&self, now: Instant, rules: &ScoreRules) -> f64 {
        let elapsed = now.saturating_duration_since(self.at).as_secs_f64();
        let half_life = rules.half_life.as_secs_f64().max(f64::MIN_POSITIVE);
        self.value * (-elapsed / half_life).exp2()
    }

    /// Charges `offence`. Delays stop short of a ban.
    pub fn charge(&mut self, offence: Offence, now: Instant, rules: &ScoreRules) -> Verdict {
        let before = self.value(now, rules);
        let floor =
            if offence.is_delay() { before.min(rules.ban_at * DELAY_FACTOR) } else { rules.ban_at * FLOOR_FACTOR };
        self.value = (before - offence.price()).max(floor);
        self.at = now;
        if offence.is_delay() {
            return if self.value <= rules.disconnect_at { Verdict::Disconnect } else { Verdict::Keep };
        }
        if self.value <= rules.ban_at {
            Verdict::Ban { until: now + rules.ban_for }
        } else if self.value <= rules.disconnect_at {
            Verdict::Disconnect
        } else {
            Verdict::Keep
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    const RULES: ScoreRules = ScoreRules {
        half_life: Duration::from_secs(600),
        disconnect_at: -50.0,
        ban_at: -100.0,
        ban_for: Duration::from_secs(3600),
    };

    #[test]
    fn senseless_rules_are_refused() {
        RULES.check().unwrap();
        for rules in [
            ScoreRules { disconnect_at: 0.0, ..RULES },
            ScoreRules { disconnect_at: f64::NAN, ..RULES },
            ScoreRules { ban_at: f64::NEG_INFINITY, ..RULES },
            ScoreRules { ban_at: -49.0, ..RULES },
            ScoreRules { half_life: Duration::ZERO, ..RULES },
            ScoreRules { ban_for: Duration::MAX, ..RULES },
        ] {
            assert!(rules.check().is_err(), "{rules:?}");
        }
    }

    #[test]
    fn price_table() {
        let prices: Vec<_> = Offence::ALL.iter().map(|offence| (offence.name(), offence.price())).collect();
        assert_eq!(
            prices,
            [
                ("invalid_data", 100.0),
                ("invalid_announcement", 60.0),
                ("unrequested", 60.0),
                ("malformed", 60.0),
                ("oversized", 20.0),
                ("too_many_chunks", 20.0),
                ("invalid_request", 10.0),
                ("too_many_streams", 5.0),
                ("too_many_announcements", 5.0),
                ("slow_reader", 5.0),
                ("no_handshake", 5.0),
                ("timeout", 2.0),
                ("reset", 2.0),
                ("truncated", 2.0),
            ]
        );
    }

    #[test]
    fn wrong_data_bans_at_once_and_broken_framing_at_the_second_time() {
        let now = Instant::now();
        let ban = Verdict::Ban { until: now + RULES.ban_for };
        assert_eq!(Score::new(now).charge(Offence::InvalidData, now, &RULES), ban);
        let mut score = Score::new(now);
        assert_eq!(score.charge(Offence::Malformed, now, &RULES), Verdict::Disconnect);
        assert_eq!(score.charge(Offence::Malformed, now, &RULES), ban);
    }

    #[test]
    fn the_second_of_two_heavy_offences_within_five_minutes_bans() {
        let now = Instant::now();
        for (apart, bans) in [(1, true), (60, true), (300, true), (600, false)] {
            let mut score = Score::new(now);
            score.charge(Offence::Unrequested, now, &RULES);
            let then = now + Duration::from_secs(apart);
            let verdict = score.charge(Offence::Unrequested, then, &RULES);
            assert_eq!(matches!(verdict, Verdict::Ban { .. }), bans, "{apart} s apart: {verdict:?}");
        }
    }

    #[test]
    fn score_decays_by_half_in_a_half_life_and_is_clamped() {
        let now = Instant::now();
        let mut score = Score::new(now);
        for _ in 0..100 {
            score.charge(Offence::InvalidData, now, &RULES);
        }
        assert_eq!(score.value(now, &RULES), -200.0);
        let later = score.value(now + RULES.half_life, &RULES);
        assert!((later + 100.0).abs() < 1e-9, "{later}");
        assert!(score.value(now + RULES.half_life * 40, &RULES) > -1e-6);
    }

    #[test]
    fn occasional_timeouts_never_disconnect() {
        let mut now = Instant::now();
        let mut score = Score::new(now);
        for _ in 0..10_000 {
            now += Duration::from_secs(60);
            assert_eq!(score.charge(Offence::Timeout, now, &RULES), Verdict::Keep);
        }
    }

    #[test]
    fn a_delay_never_bans() {
        let now = Instant::now();
        for offence in Offence::ALL.into_iter().filter(|offence| offence.is_delay()) {
            let mut score = Score::new(now);
            for _ in 0..100_000 {
                let verdict = score.charge(offence, now, &RULES);
                assert!(!matches!(verdict, Verdict::Ban { .. }), "{}", offence.name());
            }
            assert_eq!(score.value(now, &RULES), -90.0);
            assert_eq!(score.charge(offence, now, &RULES), Verdict::Disconnect, "but it costs the connection");
            assert!(
                matches!(score.charge(Offence::InvalidRequest, now, &RULES), Verdict::Ban { .. }),
                "what else it does counts"
            );
            score.charge(offence, now, &RULES);
            assert_eq!(score.value(now, &RULES), -100.0, "a delay heals nothing");
        }
    }

    #[test]
    fn time_that_goes_backwards_does_not_raise_a_penalty() {
        let now = Instant::now() + Duration::from_secs(10);
        let mut score = Score::new(now);
        score.charge(Offence::Malformed, now, &RULES);
        assert_eq!(score.value(now - Duration::from_secs(5), &RULES), -60.0);
    }
}
