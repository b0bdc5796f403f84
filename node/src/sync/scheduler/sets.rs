//! The validator set that signs the next height.
//!
//! A decided value names it, so it is asked for as soon as that value is known, while the next height is still being
//! decided. Whoever claims a height that the set signs had to know it and is asked first; whoever claims the height that
//! appoints it may know it. Who does not have it makes way at once for somebody else, and so does who is late: a set is
//! some kilobytes at most. What a peer was found not to have here is remembered here alone, since a peer that has not
//! learned of a set yet may serve everything else of that height a moment later.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use lapis_protocol_spec::{Bytes32, Height, Method};
use rand::Rng;

use super::{
    Cancelled, Scheduler,
    action::{Action, Fetch, Outcome, RequestId, SourceId},
    claims::Kind,
    source::{LEAST_WAIT, Source},
    sources::two_choices,
};
use crate::back_off::doubled;

/// Bytes of a usual set, to expect time by.
const SET_BYTES: u64 = 4 * 1024;
/// First wait before somebody is asked again who did not have it; doubles each time.
const FIRST_LACK: Duration = Duration::from_millis(100);
/// Longest wait.
const LONGEST_LACK: Duration = Duration::from_secs(30);
/// Sources that are remembered as lacking it.
const MAX_LACKS: usize = 1024;

/// A set that is not known yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WantedSet {
    pub(super) root: Bytes32,
    /// The first height that it signs, as far as this node knows.
    pub(super) height: Height,
}

/// Who is asked.
#[derive(Clone, Copy, Debug)]
struct Asked {
    id: RequestId,
    source: SourceId,
    /// It claimed a height that the set signs.
    has_claimed: bool,
}

#[derive(Clone, Copy, Debug)]
struct Lack {
    until: Instant,
    strikes: u32,
    has_claimed: bool,
}

/// State of the search for the set.
#[derive(Debug, Default)]
pub(super) struct SetLane {
    wanted: Option<WantedSet>,
    /// The latest last. Never more than two.
    asked: Vec<Asked>,
    lacks: BTreeMap<SourceId, Lack>,
}

impl SetLane {
    /// Wants this set and no other.
    pub(super) fn want(&mut self, wanted: WantedSet) {
        if self.wanted != Some(wanted) {
            *self = Self { wanted: Some(wanted), ..Self::default() };
        }
    }

    /// What is wanted.
    pub(super) fn wanted(&self) -> Option<WantedSet> {
        self.wanted
    }

    /// The set with this root is in the store.
    pub(super) fn have(&mut self, root: &Bytes32) {
        if self.wanted.is_some_and(|wanted| wanted.root == *root) {
            *self = Self::default();
        }
    }

    /// `decided` is decided: whoever signed that is known.
    pub(super) fn set_decided(&mut self, decided: Height) {
        if self.wanted.is_some_and(|wanted| wanted.height <= decided) {
            *self = Self::default();
        }
    }

    /// Whether `id` may be asked, who claims a height that the set signs or does not.
    fn may_have(&self, id: SourceId, has_claimed: bool, now: Instant) -> bool {
        let is_news = |lack: &Lack| has_claimed && !lack.has_claimed;
        self.lacks.get(&id).is_none_or(|lack| lack.until <= now || is_news(lack))
    }

    fn is_asked(&self, id: SourceId) -> bool {
        self.asked.iter().any(|asked| asked.source == id)
    }

    /// The exchange `id` has ended, or is given up, without the set.
    fn in_vain(&mut self, id: RequestId, now: Instant) -> Option<Asked> {
        let place = self.asked.iter().position(|asked| asked.id == id)?;
        let asked = self.asked.remove(place);
        let strikes = self.lacks.get(&asked.source).map_or(0, |lack| lack.strikes.saturating_add(1));
        let wait = doubled(FIRST_LACK, strikes, LONGEST_LACK);
        self.lacks.insert(asked.source, Lack { until: now + wait, strikes, has_claimed: asked.has_claimed });
        if self.lacks.len() > MAX_LACKS {
            self.lacks.retain(|_, lack| lack.until > now);
        }
        if self.lacks.len() > MAX_LACKS {
            self.lacks.pop_first();
        }
        Some(asked)
    }
}

impl Scheduler {
    /// Commits wait, or will wait, for this validator set, which signs `height`.
    pub fn want_validator_set(&mut self, root: Bytes32, height: Height) {
        if height > self.values.decided() {
            self.sets.want(WantedSet { root, height });
        }
    }

    /// The root of the validator set that signs the next height, if it is not in the store.
    pub fn wanted_validator_set(&self) -> Option<Bytes32> {
        self.sets.wanted().map(|wanted| wanted.root)
    }

    /// The set with this root is in the store.
    pub fn have_validator_set(&mut self, root: &Bytes32) {
        self.sets.have(root);
    }

    pub(super) fn poll_validator_set(&mut self, now: Instant, rng: &mut impl Rng, actions: &mut Vec<Action>) {
        let Some(wanted) = self.sets.wanted() else { return };
        if self.is_full(actions) || !self.may_ask_for_set(now) {
            return;
        }
        let Some((source, has_claimed)) = self.choose_for_set(wanted.height, now, rng) else { return };
        let WantedSet { root, height } = wanted;
        let action = self.open(source, Fetch::ValidatorSet { root, height }, Vec::new(), 0, now);
        self.stats.hedges += u64::from(!self.sets.asked.is_empty());
        self.sets.asked.push(Asked { id: action.id, source, has_claimed });
        actions.push(action);
    }

    /// Whether somebody is to be asked: nobody is, or whoever was asked last is late. Of two who are late the second is
    /// given up, so that a third may be asked.
    fn may_ask_for_set(&mut self, now: Instant) -> bool {
        let Some(last) = self.sets.asked.last().copied() else { return true };
        let Some(flight) = self.flights.get(&last.id) else { return true };
        let waited = now.saturating_duration_since(flight.started);
        // What takes time is the way to it: even the largest set is small.
        let is_late = waited >= LEAST_WAIT && waited >= self.book.patience(last.source, 0);
        if self.config.hedge_room() == 0 || !is_late {
            return false;
        }
        if self.sets.asked.len() > 1 {
            self.sets.in_vain(last.id, now);
            self.cancel(last.id, Cancelled::Outrun);
        }
        true
    }

    /// Whom to ask, and whether it claims a height that the set signs.
    fn choose_for_set(&self, height: Height, now: Instant, rng: &mut impl Rng) -> Option<(SourceId, bool)> {
        let signed = |source: &Source| source.claims.covers(Kind::Values, height);
        let appoints = |source: &Source| source.claims.covers(Kind::Values, height.saturating_sub(1));
        let may_have = |(id, source): &(SourceId, &Source)| self.sets.may_have(*id, signed(source), now);
        let free = |(id, source): &(SourceId, &Source)| {
            source.is_free(Method::ValidatorSetByRoot, now) && !self.sets.is_asked(*id)
        };
        let peers = || self.book.iter().filter(|(id, _)| id.is_peer()).filter(may_have);
        let first: Vec<_> = peers().filter(|(_, source)| signed(source)).filter(free).collect();
        if !first.is_empty() {
            return two_choices(&first, SET_BYTES, rng).map(|id| (id, true));
        }
        let second: Vec<_> = peers().filter(|(_, source)| appoints(source)).filter(free).collect();
        if !second.is_empty() {
            return two_choices(&second, SET_BYTES, rng).map(|id| (id, false));
        }
        // A peer that is merely busy is waited for; one that was asked is late, or nobody would be asked now.
        let knows = |source: &Source| source.knows(Method::ValidatorSetByRoot);
        let is_busy = |(id, source): (SourceId, &Source)| {
            !self.sets.is_asked(id) && knows(source) && source.is_able(Kind::Values, height, now)
        };
        if peers().any(is_busy) {
            return None;
        }
        let archives = self.book.iter().filter(|(id, source)| !id.is_peer() && signed(source));
        let third: Vec<_> = archives.filter(may_have).filter(free).collect();
        two_choices(&third, SET_BYTES, rng).map(|id| (id, true))
    }

    /// Whether a peer that was not asked in vain could be asked instead of an archive.
    pub(super) fn a_peer_may_have_the_set(&self, now: Instant) -> bool {
        let Some(wanted) = self.sets.wanted() else { return false };
        let claims = |source: &Source| source.claims.covers(Kind::Values, wanted.height);
        let is_fresh = |id: SourceId| !self.sets.lacks.contains_key(&id) && !self.sets.is_asked(id);
        let mut peers = self.book.iter().filter(|(id, _)| id.is_peer());
        peers.any(|(id, source)| claims(source) && is_fresh(id) && source.is_free(Method::ValidatorSetByRoot, now))
    }

    /// What an exchange about a set says of its source: whoever did not claim what the set signs owes nothing.
    pub(super) fn worth_of_set(&self, id: RequestId, outcome: Outcome) -> Outcome {
        let owes = self.sets.asked.iter().any(|asked| asked.id == id && asked.has_claimed);
        if outcome == Outcome::Unavailable && !owes { Outcome::Local } else { outcome }
    }

    /// An exchange about a set has ended.
    pub(super) fn set_finished(&mut self, id: RequestId, has_come: bool, now: Instant) {
        if !has_come {
            self.sets.in_vain(id, now);
            return;
        }
        let Some(place) = self.sets.asked.iter().position(|asked| asked.id == id) else { return };
        self.stats.hedges_won += u64::from(place > 0);
        for rival in std::mem::take(&mut self.sets.asked).into_iter().filter(|asked| asked.id != id) {
            self.cancel(rival.id, Cancelled::Outrun);
        }
    }
}
