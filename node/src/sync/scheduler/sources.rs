//! What the scheduler believes of each source: claims, capacity, and what it was found not to have.
//!
//! Claims are hints. They say whom it makes sense to ask; a claim that is not served shrinks. Capacity (how fast) is
//! kept apart from trust (how honest), which for peers the network layer owns.
//!
//! Peers come first: an archive may be slow, and cost money. It is asked for a height only while no peer is
//! [able](Source::is_able) to serve it: none claims it, or each that does has just failed to deliver it or is paused. A
//! peer that is merely busy is waited for. So an archive never takes from peers what they can deliver, and peers that
//! claim what they do not have keep nothing from an archive for longer than one exchange.

use std::{collections::BTreeMap, time::Instant};

use lapis_protocol_spec::{Height, HeightRanges, Method, Status};
use libp2p::PeerId;
use rand::Rng;

use super::{
    action::{Outcome, SourceId},
    claims::{Claims, Kind},
    source::{Delivery, PeerCapacity, Source},
};
use crate::sync::archive::ArchiveId;

/// All peers that finished the handshake, and all archives.
#[derive(Debug, Default)]
pub(super) struct SourceBook {
    sources: BTreeMap<SourceId, Source>,
}

impl SourceBook {
    /// Adds a peer or takes its newer status.
    pub(super) fn update_peer(&mut self, id: PeerId, status: Status) {
        let id = SourceId::Peer(id);
        let announced = match self.sources.get(&id).map(|known| &known.claims) {
            Some(Claims::Peer { announced, .. }) => *announced,
            Some(Claims::Archive(_)) | None => 0,
        };
        self.update(id, Claims::Peer { status, announced });
    }

    /// Adds an archive or takes its newer coverage.
    pub(super) fn update_archive(&mut self, id: ArchiveId, held: HeightRanges) {
        self.update(SourceId::Archive(id), Claims::Archive(held));
    }

    fn update(&mut self, id: SourceId, claims: Claims) {
        match self.sources.get_mut(&id) {
            Some(source) => source.update(claims),
            None => {
                self.sources.insert(id, Source::new(claims));
            }
        }
    }

    /// Forgets a source.
    pub(super) fn remove(&mut self, id: SourceId) {
        self.sources.remove(&id);
    }

    /// The peer `id` announced that `height` is decided.
    pub(super) fn announced(&mut self, id: PeerId, height: Height) {
        let source = self.sources.get_mut(&SourceId::Peer(id));
        if let Some(Claims::Peer { announced, .. }) = source.map(|source| &mut source.claims) {
            *announced = height.max(*announced);
        }
    }

    fn peers(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|(id, _)| id.is_peer()).map(|(_, peer)| peer)
    }

    fn archives(&self) -> impl Iterator<Item = &Source> {
        self.sources.iter().filter(|(id, _)| !id.is_peer()).map(|(_, archive)| archive)
    }

    /// Number of peers.
    pub(super) fn peer_count(&self) -> usize {
        self.peers().count()
    }

    /// What each peer was measured to deliver.
    pub(super) fn capacities(&self) -> Vec<PeerCapacity> {
        let capacity = |(id, source): (&SourceId, &Source)| match id {
            SourceId::Peer(peer) => Some(source.capacity(*peer)),
            SourceId::Archive(_) => None,
        };
        self.sources.iter().filter_map(capacity).collect()
    }

    /// One source.
    pub(super) fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.get(&id)
    }

    /// Whether any peer claims `kind` at `height`, busy or not.
    pub(super) fn any_peer_claims(&self, kind: Kind, height: Height) -> bool {
        self.peers().any(|peer| peer.claims.covers(kind, height))
    }

    /// Whether any archive claims `height`, busy or not.
    pub(super) fn any_archive_claims(&self, kind: Kind, height: Height) -> bool {
        self.archives().any(|archive| archive.claims.covers(kind, height))
    }

    /// Whether it is for archives to serve `kind` at `height` now: no peer is able to.
    pub(super) fn is_for_archives(&self, kind: Kind, height: Height, now: Instant) -> bool {
        !self.peers().any(|peer| peer.is_able(kind, height, now))
    }

    /// Whether a peer that claims `kind` at `height`, and is not known to lack it, can be asked for it by `method` now.
    pub(super) fn a_fresh_peer_is_free(&self, kind: Kind, height: Height, method: Method, now: Instant) -> bool {
        let fits = |peer: &Source| peer.is_able(kind, height, now) && peer.is_free(method, now);
        self.peers().any(|peer| fits(peer) && !peer.has_lacked(height))
    }

    /// Whether it makes sense to ask `id` for `kind` at `height` now.
    pub(super) fn may_serve(&self, id: SourceId, kind: Kind, height: Height, now: Instant) -> bool {
        let may_serve = self.source(id).is_some_and(|source| source.may_serve(kind, height, now));
        may_serve && (id.is_peer() || self.is_for_archives(kind, height, now))
    }

    /// Whether anyone can be asked for something by one of `methods` now, an archive for what `height` lacks.
    pub(super) fn anyone_is_free(&self, methods: &[Method], height: Height, now: Instant) -> bool {
        let free = |source: &Source| methods.iter().any(|method| source.is_free(*method, now));
        let for_archives = || [Kind::Payloads, Kind::Blobs].iter().any(|kind| self.is_for_archives(*kind, height, now));
        self.peers().any(free) || (self.archives().any(free) && for_archives())
    }

    /// The height that the network seems to have reached: the median of the peers' claims, the lower one of two.
    ///
    /// A minority of liars cannot move it beyond what honest peers claim; nothing but progress displays depend on it.
    /// Archives are no voices of the network: they count where there are no peers, with what attaches to `decided`.
    pub(super) fn corroborated_head(&self, decided: Height) -> Height {
        let claimed = |peer: &Source| match &peer.claims {
            Claims::Peer { status, .. } => Some(status.decided_height),
            Claims::Archive(_) => None,
        };
        let mut claims: Vec<Height> = self.peers().filter_map(claimed).collect();
        if claims.is_empty() {
            return self.archived_head(decided);
        }
        claims.sort_unstable_by(|a, b| b.cmp(a));
        claims.get(claims.len() / 2).copied().unwrap_or(0)
    }

    /// The highest height up to which the archives together claim every one above `decided`.
    fn archived_head(&self, decided: Height) -> Height {
        let mut head = decided;
        // Each round gets at least one range further in one archive.
        while let Some(further) = self.archives().map(|archive| archive.claims.last_value(head.saturating_add(1))).max()
            && further > head
        {
            head = further;
        }
        head
    }

    /// Chooses whom to ask for `bytes` of `kind` at `height` by `method`: two of the candidates at random, the better
    /// of them by expected completion. The candidates are peers that claim it, or if none is able to serve it archives
    /// that do, or if no peer even claims it peers that may have parts of it.
    pub(super) fn choose(
        &self,
        kind: Kind,
        height: Height,
        method: Method,
        bytes: u64,
        now: Instant,
        rng: &mut impl Rng,
    ) -> Option<SourceId> {
        let free = |source: &Source| source.is_free(method, now) && (source.room() >= bytes || source.is_idle());
        let among = |serves: &dyn Fn(SourceId, &Source) -> bool| -> Vec<(SourceId, &Source)> {
            let fits = |(id, source): &(SourceId, &Source)| {
                serves(*id, source) && !source.lacked_lately(height, now) && free(source)
            };
            self.sources.iter().map(|(id, source)| (*id, source)).filter(fits).collect()
        };
        let mut candidates = among(&|id, source| id.is_peer() && source.claims.covers(kind, height));
        if candidates.is_empty() && self.is_for_archives(kind, height, now) {
            candidates = among(&|id, source| !id.is_peer() && source.claims.covers(kind, height));
        }
        if candidates.is_empty() && !self.any_peer_claims(kind, height) {
            candidates = among(&|_, source| source.claims.may_have_parts(kind, height));
        }
        let count = candidates.len();
        if count == 0 {
            return None;
        }
        let first = candidates.get(rng.random_range(0..count))?;
        let second = candidates.get(rng.random_range(0..count))?;
        let better = if first.1.expected(bytes) <= second.1.expected(bytes) { first } else { second };
        Some(better.0)
    }

    /// An exchange starts.
    pub(super) fn started(&mut self, id: SourceId, method: Method, bytes: u64) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.started(method, bytes);
        }
    }

    /// An exchange ended.
    pub(super) fn ended(&mut self, id: SourceId, method: Method, delivery: Delivery, now: Instant) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.ended(method, delivery, now);
        }
    }

    /// It did not deliver something of `height`: it is not asked for that again for a while.
    pub(super) fn lacks(&mut self, id: SourceId, height: Height, outcome: Outcome, now: Instant) {
        let faulty = match outcome {
            Outcome::Faulty => true,
            Outcome::Local => return,
            Outcome::Answered | Outcome::Unavailable | Outcome::RateLimited | Outcome::Broken => false,
        };
        if let Some(source) = self.sources.get_mut(&id) {
            source.lack(height, now, faulty);
        }
    }

    /// It claimed decided values that it did not serve: the claim shrinks to `held`.
    pub(super) fn shrink_values(&mut self, id: SourceId, held: Height) {
        if let Some(source) = self.sources.get_mut(&id) {
            source.claims.shrink_values(held);
        }
    }

    /// `height` is complete: nothing about it needs to be remembered.
    pub(super) fn forget_height(&mut self, height: Height) {
        self.sources.values_mut().for_each(|source| source.forget(height));
    }
}
