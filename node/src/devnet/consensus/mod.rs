//! The consensus of a development network: real validators, signatures and data; time and faults to order.
//!
//! For each height the validators take turns to propose. The proposer's own node stores the proposal before anybody
//! else hears of it; then the other nodes do, and each validator whose node has stored it signs. More than two thirds
//! of the power decide. There is one thread of decisions and no network between validators: what it takes to agree
//! when messages are lost is a consensus engine's business, what it takes to move the data is the nodes'.
//!
//! [`run`] owns the loop and nothing else; what is proposed and who votes for what is decided in
//! [`proposal`](super::proposal) and [`vote`](super::vote).

mod error;
mod faults;
mod seat;
#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::join_all;
use lapis_protocol_spec::{BYTES_PER_BLOB, Bytes32, CommitSignature, DecidedValue, Height, Verified};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{debug, warn};

use self::seat::{Seat, SeatFault};
pub use self::{
    error::ConsensusError,
    faults::{BlobCounts, Faults, LosingRounds, Outage},
};
use super::{
    clients::Producer,
    keys::ValidatorKey,
    proposal::{BuiltProposal, ProposeError, Tip},
    spec::ChainSpec,
    vote::{certificate, is_quorum},
};
use crate::{
    joined::joined,
    source::{Decision, Proposal, SourceHandle},
};

/// A validator and its node.
#[derive(Debug)]
pub struct ValidatorPort {
    /// The validator's key, one of the chain's.
    pub key: ValidatorKey,
    /// The way to its node.
    pub source: SourceHandle,
}

/// How a run goes.
#[derive(Clone, Debug)]
pub struct Config {
    /// The height after which the run ends; `None` to go on until it is cancelled.
    pub last_height: Option<Height>,
    /// Least time from one height to the next; zero for as fast as possible.
    pub block_time: Duration,
    /// Number of blobs by height.
    pub blobs: BlobCounts,
    /// What is to go wrong.
    pub faults: Faults,
    /// How long a node may take over one command before its validator misses the round.
    pub time_limit: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            last_height: None,
            block_time: Duration::from_secs(1),
            blobs: BlobCounts::Fixed(6),
            faults: Faults::default(),
            // 128 MiB to a slow disk.
            time_limit: Duration::from_secs(30),
        }
    }
}

/// How far a run is. Counts are since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Highest decided height that a node has acknowledged.
    pub decided_height: Height,
    /// Id of its value.
    pub decided_value_id: Bytes32,
    /// When its certificate was complete, before any node heard of it.
    pub decided_at: Option<Instant>,
    /// Blobs of the decided heights.
    pub blobs: u64,
    /// Bytes of payloads and blobs of the decided heights.
    pub bytes: u64,
    /// Rounds that failed.
    pub failed_rounds: u64,
}

/// Runs consensus from `tip` on and returns the tip it reached, at the last height or when it was cancelled.
///
/// A cancellation ends the run between two heights: a height that has begun is finished. `progress` is updated after
/// each decision. Memory: the proposal at hand and the one after it, at 128 KiB per blob.
///
/// Not cancel safe: when it is dropped some nodes may have a decision that others lack.
///
/// # Errors
/// Every [`ConsensusError`].
pub async fn run(
    producer: impl Into<Producer>,
    ports: Vec<ValidatorPort>,
    tip: Tip,
    config: Config,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
) -> Result<Tip, ConsensusError> {
    let producer = producer.into();
    let seats = seats(producer.proposer().spec(), ports, config.time_limit)?;
    let mut engine = Engine { producer, seats, tip, config, next: None, progress, cancel };
    match engine.run().await {
        // Nodes that shut down close their ends.
        Err(ConsensusError::NoQuorum { .. } | ConsensusError::NotStored { .. }) if engine.cancel.is_cancelled() => {
            Ok(engine.tip)
        }
        ended => ended.map(|()| engine.tip),
    }
}

fn seats(spec: &ChainSpec, ports: Vec<ValidatorPort>, time_limit: Duration) -> Result<Vec<Seat>, ConsensusError> {
    let mut seats: Vec<Seat> = Vec::with_capacity(ports.len());
    for port in ports {
        let address = port.key.address();
        let index = spec.index_of(&address).ok_or(ConsensusError::Port(address))?;
        if seats.iter().any(|seat| seat.index == index) {
            return Err(ConsensusError::Port(address));
        }
        seats.push(Seat::new(index, port, time_limit));
    }
    Ok(seats)
}

/// A proposal that is being built. The client that builds it is not waited for once nobody wants it any more.
struct Building {
    tip: Tip,
    round: u64,
    task: AbortOnDropHandle<Result<BuiltProposal, ProposeError>>,
}

struct Engine {
    producer: Producer,
    seats: Vec<Seat>,
    tip: Tip,
    config: Config,
    /// The proposal of the next height, started while this one is being decided.
    next: Option<Building>,
    progress: watch::Sender<Progress>,
    cancel: CancellationToken,
}

impl Engine {
    async fn run(&mut self) -> Result<(), ConsensusError> {
        let mut ticks = ticks(self.config.block_time);
        let cancel = self.cancel.clone();
        while self.wants(self.tip.next_height()) {
            let ready = async {
                let first = self.first_proposal().await;
                if let Some(ticks) = &mut ticks {
                    ticks.tick().await;
                }
                first
            };
            let first = tokio::select! {
                biased;
                () = cancel.cancelled() => return Ok(()),
                first = ready => first?,
            };
            self.decide_height(first).await?;
        }
        Ok(())
    }

    fn wants(&self, height: Height) -> bool {
        height > self.tip.link.height && self.config.last_height.is_none_or(|last| height <= last)
    }

    /// The proposal of the first round whose proposer is there.
    async fn first_proposal(&mut self) -> Result<BuiltProposal, ConsensusError> {
        let round = self.live_round(self.tip.next_height(), 0)?;
        self.proposal(round).await
    }

    /// Runs rounds until one decides.
    async fn decide_height(&mut self, first: BuiltProposal) -> Result<(), ConsensusError> {
        let height = self.tip.next_height();
        let members = self.spec().members(height).len() as u64;
        let limit = self.config.faults.failed_rounds(height).saturating_add(members.saturating_mul(2));
        let mut built = first;
        loop {
            let round = built.proposal.round;
            if self.round(&built).await? {
                return Ok(());
            }
            self.progress.send_modify(|progress| progress.failed_rounds += 1);
            if round >= limit {
                return Err(ConsensusError::NoDecision { height, rounds: round.saturating_add(1) });
            }
            let round = self.live_round(height, round.saturating_add(1))?;
            built = self.proposal(round).await?;
        }
    }

    /// One round: stored by the proposer, published, signed, decided. False if it failed.
    async fn round(&mut self, built: &BuiltProposal) -> Result<bool, ConsensusError> {
        let proposal = &built.proposal;
        let (height, round) = (proposal.value.value().height, proposal.round);
        let doomed = round < self.config.faults.failed_rounds(height);
        if !doomed {
            self.prepare(built.next);
        }
        let Some(own) = self.propose(proposal).await else { return Ok(false) };
        let mut signatures = self.publish(proposal).await;
        signatures.extend(own);
        if doomed || !is_quorum(self.power_of(height, &signatures), self.spec().validator_set(height)) {
            debug!(height, round, "round failed");
            self.end_failed_round(height, round).await;
            return Ok(false);
        }
        let decided = self.certify(proposal, signatures)?;
        let decided_at = Instant::now();
        self.announce(decided).await?;
        self.tip = built.next;
        self.report(proposal, decided_at);
        Ok(true)
    }

    /// The proposer's node stores its own data first. `None` if it does not; the inner option is its vote.
    async fn propose(&mut self, proposal: &Proposal) -> Option<Option<CommitSignature>> {
        let height = proposal.value.value().height;
        let spec = Arc::clone(self.spec());
        let tip = self.tip;
        let leader = spec.proposer(height, proposal.round);
        let seat = self.seats.iter_mut().find(|seat| seat.index == leader)?;
        let vote = seat.store_and_vote(&spec, &tip, proposal).await;
        vote.map_err(|fault| missed(seat.index, height, &fault)).ok()
    }

    /// The other nodes store the proposal, all at once; returns the votes of those that did.
    async fn publish(&mut self, proposal: &Proposal) -> Vec<CommitSignature> {
        let height = proposal.value.value().height;
        let (spec, tip) = (Arc::clone(self.spec()), self.tip);
        let leader = spec.proposer(height, proposal.round);
        let others = online(&mut self.seats, &self.config.faults, height).filter(|seat| seat.index != leader);
        let votes = join_all(others.map(async |seat| {
            let vote = seat.store_and_vote(&spec, &tip, proposal).await;
            vote.map_err(|fault| missed(seat.index, height, &fault)).ok().flatten()
        }));
        votes.await.into_iter().flatten().collect()
    }

    fn certify(
        &self,
        proposal: &Proposal,
        signatures: Vec<CommitSignature>,
    ) -> Result<Verified<DecidedValue>, ConsensusError> {
        let (spec, height) = (self.spec(), proposal.value.value().height);
        let signers = spec.validator_set(height);
        // A set's members fit into a certificate, and each signed once.
        let certificate = certificate(height, proposal.round, *proposal.value.id(), signatures).unwrap_or_default();
        let decided = DecidedValue { value: (**proposal.value.value()).clone(), certificate };
        decided
            .verify(&spec.genesis_id(), spec.genesis().max_blobs_per_block, &self.tip.link, signers)
            .map_err(|source| ConsensusError::Certificate { height, source })
    }

    /// Hands the decision to every node that is there; one at least must store it.
    async fn announce(&mut self, decided: Verified<DecidedValue>) -> Result<(), ConsensusError> {
        let height = decided.height();
        let changes = decided.value.validators_root != decided.value.next_validators_root;
        let next_validators = changes.then(|| self.spec().validator_set(height.saturating_add(1)).clone());
        let decision = Decision { decided, next_validators };
        let nodes = online(&mut self.seats, &self.config.faults, height);
        let stored = join_all(nodes.map(async |seat| {
            let stored = seat.decide(&decision).await;
            stored.map_err(|fault| missed(seat.index, height, &fault)).is_ok()
        }));
        if stored.await.contains(&true) { Ok(()) } else { Err(ConsensusError::NotStored { height }) }
    }

    async fn end_failed_round(&mut self, height: Height, round: u64) {
        match self.config.faults.losing_rounds {
            LosingRounds::LeaveToDecision => {}
            LosingRounds::DropAtOnce => {
                let nodes = online(&mut self.seats, &self.config.faults, height);
                join_all(nodes.map(async |seat| {
                    if let Err(fault) = seat.drop_round(height, round).await {
                        missed(seat.index, height, &fault);
                    }
                }))
                .await;
            }
        }
    }

    fn report(&self, proposal: &Proposal, decided_at: Instant) {
        let (value, id) = (proposal.value.value(), proposal.value.id());
        let blobs = value.blob_count() as u64;
        debug!(height = value.height, round = proposal.round, blobs, %id, "decided");
        self.progress.send_modify(|progress| {
            progress.decided_height = value.height;
            progress.decided_value_id = *id;
            progress.decided_at = Some(decided_at);
            progress.blobs += blobs;
            progress.bytes += value.payload_size + blobs * BYTES_PER_BLOB as u64;
        });
    }

    /// Starts to build the first proposal on `tip` while the one before it is being decided.
    fn prepare(&mut self, tip: Tip) {
        let height = tip.next_height();
        if !self.wants(height) {
            return;
        }
        if let Ok(round) = self.live_round(height, 0) {
            self.next = Some(self.build(tip, round));
        }
    }

    fn build(&self, tip: Tip, round: u64) -> Building {
        let (producer, blobs) = (self.producer.clone(), self.config.blobs.at(tip.next_height()));
        let task = tokio::spawn(async move { producer.propose(tip, round, blobs).await });
        Building { tip, round, task: AbortOnDropHandle::new(task) }
    }

    /// The proposal for `round` on the tip, prepared or built now. Cancel safe.
    async fn proposal(&mut self, round: u64) -> Result<BuiltProposal, ConsensusError> {
        let tip = self.tip;
        let height = tip.next_height();
        let prepared = self.next.take().filter(|building| building.tip == tip && building.round == round);
        let building = prepared.unwrap_or_else(|| self.build(tip, round));
        let built = joined(building.task).await.ok_or(ConsensusError::Stopping)?;
        built.map_err(|source| ConsensusError::Propose { height, source })
    }

    /// The first round from `from` on whose proposer is there, if enough validators are for a round to succeed.
    fn live_round(&self, height: Height, from: u64) -> Result<u64, ConsensusError> {
        let spec = self.spec();
        let set = spec.validator_set(height);
        let there: Vec<usize> = self.seats.iter().filter(|s| self.is_online(s, height)).map(|s| s.index).collect();
        let members = spec.members(height);
        let powers = members.iter().filter(|index| there.contains(index)).filter_map(|i| spec.validators().get(*i));
        let online = powers.fold(0_u64, |sum, validator| sum.saturating_add(validator.power));
        let turns = (from..=u64::MAX).take(members.len());
        let live = turns.into_iter().find(|round| there.contains(&spec.proposer(height, *round)));
        live.filter(|_| is_quorum(online, set)).ok_or(ConsensusError::NoQuorum {
            height,
            online,
            total: set.total_power(),
        })
    }

    fn is_online(&self, seat: &Seat, height: Height) -> bool {
        is_there(seat, &self.config.faults, height)
    }

    fn power_of(&self, height: Height, signatures: &[CommitSignature]) -> u64 {
        let members = self.spec().validator_set(height).by_address();
        let powers = signatures.iter().filter_map(|signature| members.get(&signature.address));
        powers.fold(0, |sum, validator| sum.saturating_add(validator.power))
    }

    fn spec(&self) -> &Arc<ChainSpec> {
        self.producer.proposer().spec()
    }
}

fn is_there(seat: &Seat, faults: &Faults, height: Height) -> bool {
    !seat.is_closed() && !faults.is_offline(seat.index, height)
}

fn online<'a>(seats: &'a mut [Seat], faults: &'a Faults, height: Height) -> impl Iterator<Item = &'a mut Seat> {
    seats.iter_mut().filter(move |seat| is_there(seat, faults, height))
}

fn missed(validator: usize, height: Height, fault: &SeatFault) {
    warn!(validator, height, %fault, "a validator misses its part");
}

fn ticks(block_time: Duration) -> Option<Interval> {
    (!block_time.is_zero()).then(|| {
        let mut ticks = interval(block_time);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        ticks
    })
}
