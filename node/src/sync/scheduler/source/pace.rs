//! How fast a source is: the time to its first item, and the bytes per second that follow.
//!
//! The two are measured apart, so that a small request is judged by the way to the source and a large one by its rate.
//! The rate is that of all exchanges with the source together, while any is open.

use std::time::{Duration, Instant};

use super::Delivery;

/// Weight of the newest measurement in the rate.
const RATE_WEIGHT: f64 = 0.3;
/// Weight of the newest measurement in the latency, and in its deviation (RFC 6298, section 2).
const LATENCY_WEIGHT: f64 = 0.125;
const DEVIATION_WEIGHT: f64 = 0.25;
/// A rate is measured after so long even if nothing has ended.
const LONG_SAMPLE: Duration = Duration::from_millis(500);
/// Fewer bytes say nothing of a rate: what takes time is the way.
const LEAST_SAMPLE: u64 = 64 * 1024;
/// How many deviations from its latency a source is allowed before it is late (the same).
const DEVIATIONS: f64 = 4.0;
/// How many times longer than expected the bytes of an item may take.
const SLOWER: f64 = 4.0;
/// A source is far if what it is asked for takes no more than so many times the time to its first item.
const FAR: f64 = 4.0;
/// Rate and latency assumed of a source that has not delivered yet.
const UNKNOWN_RATE: f64 = 1024.0 * 1024.0;
const UNKNOWN_LATENCY: f64 = 0.25;
/// What was measured longer ago is worth measuring again.
const STALE: Duration = Duration::from_secs(60);
/// Nobody is late before that: shorter gaps are what busy machines and lost packets make.
pub(in crate::sync::scheduler) const LEAST_WAIT: Duration = Duration::from_millis(250);
/// Nor is anybody waited for longer, where it matters.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The pace of one source.
#[derive(Debug, Default)]
pub(in crate::sync::scheduler) struct Pace {
    /// Bytes per second, smoothed; `None` until something was delivered, or failed to be.
    rate: Option<f64>,
    /// The same of what was delivered alone: what failed to be says how little a source is worth, and not how long its
    /// deliveries take.
    delivered: Option<f64>,
    /// Seconds to the first item, smoothed, and their deviation.
    latency: Option<(f64, f64)>,
    /// When the rate was measured last.
    measured: Option<Instant>,
    /// Since when bytes are counted; `None` before the first item of a stretch in which it is asked for anything.
    since: Option<Instant>,
    bytes: u64,
}

impl Pace {
    /// Whether a rate was measured, however long ago.
    pub(in crate::sync::scheduler) fn is_measured(&self) -> bool {
        self.rate.is_some()
    }

    /// Whether one was measured lately.
    pub(super) fn is_known(&self, now: Instant) -> bool {
        self.measured.is_some_and(|at| now.saturating_duration_since(at) < STALE)
    }

    /// Whether anything has ever come.
    pub(in crate::sync::scheduler) fn has_delivered(&self) -> bool {
        self.latency.is_some()
    }

    /// The rate, in whole bytes.
    pub(super) fn bytes_per_second(&self) -> Option<u64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rate is neither negative nor huge"
        )]
        self.rate.map(|rate| rate as u64)
    }

    /// Bytes that arrive in such a time once they do, if a rate was measured.
    pub(super) fn bytes_in(&self, time: Duration) -> Option<u64> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
        self.rate.map(|rate| (rate * time.as_secs_f64()) as u64)
    }

    /// Seconds until `bytes` have arrived.
    pub(super) fn expected(&self, bytes: u64) -> f64 {
        let latency = self.latency.map_or(UNKNOWN_LATENCY, |(latency, _)| latency);
        latency + bytes as f64 / self.rate.unwrap_or(UNKNOWN_RATE).max(1.0)
    }

    /// Whether the way to the source is a large part of the time that `bytes` take: each request costs that way again, and
    /// each new stream some more of them until its window is open.
    pub(super) fn is_far(&self, bytes: u64) -> bool {
        let measured = self.latency.zip(self.rate);
        measured.is_some_and(|((latency, _), rate)| bytes as f64 <= FAR * latency * rate)
    }

    /// How long an item of `bytes` bytes may take, of `open` exchanges at a time, before the source is late with it.
    pub(in crate::sync::scheduler) fn patience(&self, bytes: u64, open: usize) -> Duration {
        let (latency, deviation) = self.latency.unwrap_or((UNKNOWN_LATENCY, UNKNOWN_LATENCY));
        let transfer = bytes as f64 * open.max(1) as f64 / self.delivered.unwrap_or(UNKNOWN_RATE).max(1.0);
        let seconds = latency + DEVIATIONS * deviation + SLOWER * transfer;
        Duration::from_secs_f64(seconds.min(LONGEST_WAIT.as_secs_f64())).max(LEAST_WAIT)
    }

    /// An item arrived; `waited` since the request if it is the first of its exchange.
    pub(super) fn received(&mut self, bytes: u64, waited: Option<Duration>, now: Instant) {
        if let Some(waited) = waited {
            self.first_item(waited.as_secs_f64());
        }
        match self.since {
            // What came before the first item was the way to the source and is no measure of its rate.
            None => self.since = Some(now),
            Some(since) => {
                self.bytes = self.bytes.saturating_add(bytes);
                // Long answers are measured before they end, so that nobody slow is asked for more meanwhile.
                if now.saturating_duration_since(since) >= LONG_SAMPLE {
                    self.measure(now);
                }
            }
        }
    }

    /// Measures the rate since the last time, if enough has come for that.
    fn measure(&mut self, now: Instant) -> bool {
        let span = self.since.map_or(0.0, |since| now.saturating_duration_since(since).as_secs_f64());
        let is_enough = self.bytes >= LEAST_SAMPLE && span > 0.0;
        if is_enough {
            self.delivery(self.bytes as f64 / span, now);
            (self.since, self.bytes) = (Some(now), 0);
        }
        is_enough
    }

    fn first_item(&mut self, seconds: f64) {
        self.latency = Some(match self.latency {
            None => (seconds, seconds / 2.0),
            Some((latency, deviation)) => {
                let off = (seconds - latency).abs();
                let deviation = deviation + DEVIATION_WEIGHT * (off - deviation);
                (latency + LATENCY_WEIGHT * (seconds - latency), deviation)
            }
        });
    }

    /// An exchange ended, the last one that was open if `is_over`.
    pub(super) fn ended(&mut self, delivery: &Delivery, is_over: bool, now: Instant) {
        if !self.measure(now) {
            self.measure_whole(delivery, now);
        }
        self.since = self.since.filter(|_| !is_over).map(|_| now);
        self.bytes = 0;
    }

    /// Measures by an exchange alone, where that says anything.
    fn measure_whole(&mut self, delivery: &Delivery, now: Instant) {
        if delivery.is_silence() {
            // Silence is a measurement too: a source that never answers must not look better than one that does.
            self.sample(0.0, now);
        } else if self.rate.is_none() && delivery.arrived >= LEAST_SAMPLE && !delivery.elapsed.is_zero() {
            self.delivery(delivery.arrived as f64 / delivery.elapsed.as_secs_f64(), now);
        }
    }

    /// What came was of no use, or nothing came of what was claimed.
    pub(super) fn delivered_nothing(&mut self, now: Instant) {
        self.sample(0.0, now);
    }

    fn delivery(&mut self, measured: f64, now: Instant) {
        self.sample(measured, now);
        let rate = self.delivered.unwrap_or(measured);
        self.delivered = Some(rate + RATE_WEIGHT * (measured - rate));
    }

    fn sample(&mut self, measured: f64, now: Instant) {
        self.measured = Some(now);
        let rate = self.rate.unwrap_or(measured);
        self.rate = Some(rate + RATE_WEIGHT * (measured - rate));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::scheduler::action::Outcome;

    const MIB: u64 = 1024 * 1024;

    fn ended(outcome: Outcome, arrived: u64, elapsed: Duration) -> Delivery {
        Delivery { outcome, asked: arrived, unarrived: 0, arrived, is_short: false, elapsed }
    }

    /// `items` of one MiB each, the first after `latency`, the others `gap` apart.
    fn deliver(pace: &mut Pace, items: u32, latency: Duration, gap: Duration) {
        let start = Instant::now();
        let mut at = start + latency;
        pace.received(MIB, Some(latency), at);
        for _ in 1..items {
            at += gap;
            pace.received(MIB, None, at);
        }
        pace.ended(&ended(Outcome::Answered, u64::from(items) * MIB, at - start), true, at);
    }

    #[test]
    fn the_way_to_a_source_does_not_count_for_its_rate() {
        let (mut near, mut far) = (Pace::default(), Pace::default());
        for _ in 0..20 {
            deliver(&mut near, 5, Duration::from_millis(10), Duration::from_millis(100));
            deliver(&mut far, 5, Duration::from_millis(500), Duration::from_millis(20));
        }
        assert_eq!(near.bytes_per_second(), Some(10 * MIB));
        assert_eq!(far.bytes_per_second(), Some(50 * MIB));
        assert!(near.expected(MIB / 8) < far.expected(MIB / 8), "a blob is here sooner from the near one");
        assert!(near.expected(32 * MIB) > far.expected(32 * MIB), "much data from the fast one");
    }

    #[test]
    fn far_is_who_is_fast_for_the_way_to_it() {
        let (mut near, mut far) = (Pace::default(), Pace::default());
        assert!(!near.is_far(1), "nothing is known");
        deliver(&mut near, 5, Duration::from_millis(1), Duration::from_millis(10));
        deliver(&mut far, 5, Duration::from_millis(100), Duration::from_millis(100));
        assert!(!near.is_far(MIB), "10 ms after 1 ms");
        assert!(far.is_far(4 * MIB), "400 ms after 100 ms");
        assert!(!far.is_far(5 * MIB), "500 ms after 100 ms");
    }

    #[test]
    fn small_items_say_nothing_of_the_rate() {
        let mut pace = Pace::default();
        let (start, elapsed) = (Instant::now(), Duration::from_millis(50));
        pace.received(500, Some(elapsed), start + elapsed);
        pace.ended(&ended(Outcome::Answered, 500, elapsed), true, start + elapsed);
        assert_eq!((pace.bytes_per_second(), pace.has_delivered()), (None, true));
    }

    #[test]
    fn silence_lowers_the_rate() {
        let mut pace = Pace::default();
        deliver(&mut pace, 5, Duration::from_millis(10), Duration::from_millis(100));
        let before = pace.expected(MIB);
        for _ in 0..10 {
            pace.ended(&ended(Outcome::Broken, 0, Duration::from_secs(1)), true, Instant::now());
        }
        assert!(pace.expected(MIB) > 10.0 * before);
    }

    #[test]
    fn to_be_outrun_at_once_is_no_silence() {
        let mut pace = Pace::default();
        deliver(&mut pace, 5, Duration::from_millis(10), Duration::from_millis(100));
        let before = pace.expected(MIB);
        let now = Instant::now();
        (0..10).for_each(|_| pace.ended(&ended(Outcome::Outrun, 0, Duration::from_millis(3)), true, now));
        assert_eq!(pace.expected(MIB), before);
        pace.ended(&ended(Outcome::Outrun, 0, LEAST_WAIT), true, now);
        assert!(pace.expected(MIB) > before);
    }

    #[test]
    fn who_delivers_nothing_is_not_waited_for_longer() {
        let mut pace = Pace::default();
        deliver(&mut pace, 5, Duration::from_millis(10), Duration::from_millis(100));
        let (before, expected) = (pace.patience(MIB, 1), pace.expected(MIB));
        (0..10).for_each(|_| pace.delivered_nothing(Instant::now()));
        assert_eq!(pace.patience(MIB, 1), before);
        assert!(pace.expected(MIB) > 10.0 * expected);
    }

    #[test]
    fn patience_grows_with_what_varies() {
        let (mut steady, mut jumpy) = (Pace::default(), Pace::default());
        for round in 0..100 {
            let gap = Duration::from_millis(10);
            deliver(&mut steady, 5, Duration::from_millis(400), gap);
            deliver(&mut jumpy, 5, Duration::from_millis(if round % 2 == 0 { 100 } else { 700 }), gap);
        }
        assert!(steady.patience(MIB, 1) < Duration::from_millis(500), "{:?}", steady.patience(MIB, 1));
        assert!(jumpy.patience(MIB, 1) > Duration::from_millis(1200), "{:?}", jumpy.patience(MIB, 1));
        assert_eq!(Pace::default().patience(u64::MAX, 8), LONGEST_WAIT);
    }
}
