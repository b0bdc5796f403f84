//! What a store holds, said as plainly as possible.

use std::collections::{BTreeMap, BTreeSet};

use lapis_protocol_spec::{Bytes32, HeightRanges};
use lapis_storage::{BlobStatus, PhaseTallies, Tallies, Tally};

use crate::fixture::Proposal;

pub(crate) const BLOB: u64 = 131_072;

#[derive(Debug)]
pub(crate) struct Proposed {
    pub(crate) proposal: Proposal,
    pub(crate) rounds: BTreeSet<u64>,
    pub(crate) since: u64,
}

/// What a store holds, said as plainly as possible.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) decided: Vec<Proposal>,
    /// All at the height after the last decided one.
    pub(crate) proposed: BTreeMap<Bytes32, Proposed>,
    pub(crate) payloads: BTreeSet<Bytes32>,
    pub(crate) blobs: BTreeSet<Bytes32>,
    pub(crate) imported: u64,
    pub(crate) archived: BTreeSet<u64>,
    pub(crate) blob_floor: u64,
    pub(crate) payload_floor: u64,
    pub(crate) pruned_blobs: Tally,
    pub(crate) pruned_payloads: Tally,
    pub(crate) now: u64,
}

pub(crate) fn hashes(proposal: &Proposal) -> Vec<Bytes32> {
    proposal.value.value().versioned_hashes().collect()
}

pub(crate) fn envelope_bytes(proposal: &Proposal) -> u64 {
    lapis_protocol_spec::encode(&proposal.envelope).len() as u64
}

pub(crate) fn value_bytes(proposal: &Proposal) -> u64 {
    lapis_protocol_spec::encode(&**proposal.value.value()).len() as u64
}

pub(crate) fn count(tally: &mut Tally, bytes: u64) {
    tally.count += 1;
    tally.bytes += bytes;
}

impl Model {
    pub(crate) fn new() -> Self {
        Self { blob_floor: 1, payload_floor: 1, ..Self::default() }
    }

    pub(crate) fn known(&self) -> Vec<&Proposal> {
        self.decided.iter().chain(self.proposed.values().map(|proposed| &proposed.proposal)).collect()
    }

    pub(crate) fn live(&self) -> Vec<&Proposal> {
        self.known().into_iter().filter(|proposal| proposal.height() >= self.blob_floor).collect()
    }

    pub(crate) fn is_complete(&self, proposal: &Proposal) -> bool {
        let payload = proposal.height() < self.payload_floor || self.payloads.contains(proposal.value.id());
        let blobs = hashes(proposal).iter().all(|hash| self.blobs.contains(hash));
        payload && (proposal.height() < self.blob_floor || blobs)
    }

    pub(crate) fn gaps(&self) -> HeightRanges {
        let gaps = self.decided.iter().filter(|proposal| !self.is_complete(proposal));
        gaps.map(|proposal| proposal.height()..proposal.height() + 1).collect()
    }

    pub(crate) fn available(&self) -> u64 {
        self.decided.iter().take_while(|proposal| self.is_complete(proposal)).count() as u64
    }

    /// Deletes the blobs that no live value has; returns how many.
    pub(crate) fn collect(&mut self) -> u64 {
        let wanted: BTreeSet<Bytes32> = self.live().iter().flat_map(|proposal| hashes(proposal)).collect();
        let before = self.blobs.len();
        self.blobs.retain(|hash| wanted.contains(hash));
        (before - self.blobs.len()) as u64
    }

    pub(crate) fn forget(&mut self, id: &Bytes32) {
        self.proposed.remove(id);
        self.payloads.remove(id);
        self.collect();
    }

    pub(crate) fn status(&self, hash: &Bytes32) -> BlobStatus {
        let all = self.known();
        let holders: Vec<&&Proposal> = all.iter().filter(|proposal| hashes(proposal).contains(hash)).collect();
        let live: Vec<u64> = holders.iter().map(|p| p.height()).filter(|height| *height >= self.blob_floor).collect();
        let decided = live.iter().filter(|height| **height <= self.decided.len() as u64).max();
        match (holders.is_empty(), live.is_empty(), self.blobs.contains(hash), decided) {
            (true, ..) => BlobStatus::Unknown,
            (_, true, ..) => BlobStatus::Pruned,
            (_, _, false, _) => BlobStatus::Awaited,
            (.., None) => BlobStatus::Undecided,
            (.., Some(height)) if self.archived.contains(height) => BlobStatus::Archived,
            (.., Some(_)) => BlobStatus::Decided,
        }
    }

    pub(crate) fn tallies(&self) -> Tallies {
        let mut tallies = Tallies {
            blobs: PhaseTallies { pruned: self.pruned_blobs, ..PhaseTallies::default() },
            payloads: PhaseTallies { pruned: self.pruned_payloads, ..PhaseTallies::default() },
            ..Tallies::default()
        };
        for hash in &self.blobs {
            match self.status(hash) {
                BlobStatus::Undecided => count(&mut tallies.blobs.undecided, BLOB),
                BlobStatus::Decided => count(&mut tallies.blobs.decided, BLOB),
                BlobStatus::Archived => count(&mut tallies.blobs.archived, BLOB),
                other => panic!("a held blob is {other:?}"),
            }
        }
        for proposal in self.known().into_iter().filter(|proposal| self.payloads.contains(proposal.value.id())) {
            let phase = match proposal.height() {
                height if height > self.decided.len() as u64 => &mut tallies.payloads.undecided,
                height if self.archived.contains(&height) => &mut tallies.payloads.archived,
                _ => &mut tallies.payloads.decided,
            };
            count(phase, envelope_bytes(proposal));
        }
        self.decided.iter().for_each(|proposal| count(&mut tallies.values_decided, value_bytes(proposal)));
        for proposed in self.proposed.values() {
            let bytes = value_bytes(&proposed.proposal) + 64 * proposed.rounds.len() as u64;
            count(&mut tallies.values_undecided, bytes);
        }
        tallies
    }

    pub(crate) fn decide(&mut self, proposal: Proposal) {
        let losers: Vec<Bytes32> = self.proposed.keys().filter(|id| *id != proposal.value.id()).copied().collect();
        self.proposed.remove(proposal.value.id());
        self.decided.push(proposal);
        losers.iter().for_each(|id| self.forget(id));
    }
}
