//! Power loss at every point at which something reaches the disk, disks that fail, disks that fill up.
//!
//! The same work is done every time, call by call, and the state after each call is known. Whatever happens to the disk, a
//! store that is opened again must be in exactly one of the states between that of the last durable call that returned and
//! that of the call that was under way: none in between, and nothing of a later one.

use std::{
    collections::BTreeSet,
    num::NonZeroU64,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use lapis_protocol_spec::{DecidedValue, Verified};
use lapis_storage::{Batch, PruneKind, PruneOptions, Store, StoreConfig, StoreError, Tallies, Watermarks};

use crate::{
    faulty::{Disk, Event, Fault, apply},
    fixture::{Chain, KZG, Proposal, assert_in_order, at},
};

/// A call, and whether it is durable once it has returned.
#[derive(Debug)]
enum Call {
    Propose(u64, Proposal),
    VerifyAndStore(Proposal, Vec<usize>),
    DropRound(u64, u64),
    Decide(Box<Verified<DecidedValue>>),
    Insert(Proposal),
    Import(u64),
    Archive(u64),
    Waive(u64),
    Prune(u64, PruneKind),
}

impl Call {
    fn is_durable(&self) -> bool {
        !matches!(self, Self::DropRound(..) | Self::Import(_))
    }

    fn make(&self, store: &Store) -> Result<(), StoreError> {
        match self {
            Self::Propose(round, proposal) => store.insert_undecided(*round, &proposal.value, at(0)),
            Self::VerifyAndStore(proposal, indices) => {
                let blobs = indices.iter().map(|index| proposal.matched(*index)).collect();
                store.verify_and_store(&KZG, vec![proposal.matched_payload()], blobs).map(drop)
            }
            Self::DropRound(height, round) => store.drop_round(*height, *round).map(drop),
            Self::Decide(value) => store.mark_decided(&[Verified::clone(value)]).map(drop),
            Self::Insert(proposal) => store.insert(proposal.batch()).map(drop),
            Self::Import(height) => store.mark_imported(*height, Some(&height.to_le_bytes())).map(drop),
            Self::Archive(height) => store.mark_archived(*height..height + 1).map(drop),
            Self::Waive(floor) => store.waive_blobs_below(*floor).map(drop),
            Self::Prune(floor, kind) => {
                let options = PruneOptions { kind: *kind, max_heights: NonZeroU64::MIN, ..PruneOptions::default() };
                store.prune_below(*floor, options).map(drop)
            }
        }
    }
}

/// Everything that a store says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Summary {
    marks: Watermarks,
    tallies: Tallies,
    blob_floor: u64,
    gaps: Vec<std::ops::Range<u64>>,
    engine_head: Option<Vec<u8>>,
    /// Rounds of each value of the work, if it is undecided.
    rounds: Vec<Option<Vec<u64>>>,
}

/// The work, and what it is about.
struct Work {
    chain: Chain,
    decided: Vec<Proposal>,
    proposals: Vec<Proposal>,
    calls: Vec<Call>,
}

impl Work {
    fn new() -> Self {
        let chain = Chain::new();
        let mut work = Self { chain, decided: Vec::new(), proposals: Vec::new(), calls: Vec::new() };
        for height in 1..=9 {
            work.height(height);
        }
        work
    }

    fn height(&mut self, height: u64) {
        // The last blob of each height is also the first of the next, and the loser shares one with the winner.
        let winner = self.chain.propose(&[2 * height, 2 * height + 1, 2 * height + 2], 70_000);
        let loser = self.chain.propose(&[2 * height + 1, 100 + height], 300);
        let calls = &mut self.calls;
        if height != 5 {
            calls.push(Call::Propose(0, loser.clone()));
            calls.push(Call::VerifyAndStore(loser.clone(), vec![0, 1]));
            calls.push(Call::Propose(1, winner.clone()));
            calls.push(Call::Propose(2, winner.clone()));
            calls.push(Call::VerifyAndStore(
                winner.clone(),
                if height.is_multiple_of(2) { vec![0, 1, 2] } else { vec![1] },
            ));
        }
        if height.is_multiple_of(3) {
            calls.push(Call::DropRound(height, 0));
        }
        calls.push(Call::Decide(Box::new(self.chain.decide(&winner))));
        if height == 4 {
            calls.push(Call::Waive(3));
        }
        calls.push(Call::Insert(winner.clone()));
        calls.push(Call::Import(height));
        if height > 2 {
            calls.push(Call::Archive(height - 2));
        }
        if height > 4 {
            let kind = if height == 7 { PruneKind::BlobsAndPayloads } else { PruneKind::Blobs };
            calls.push(Call::Prune(height - 3, kind));
            calls.push(Call::Prune(height - 3, kind));
        }
        self.proposals.extend([winner.clone(), loser]);
        self.decided.push(winner);
    }

    fn open(&self, disk: &Disk) -> Store {
        // So small a cache that pages are written before their transaction commits.
        let config = StoreConfig { cache_bytes: 1024 * 1024, ..StoreConfig::default() };
        Store::open_on(Arc::new(disk.clone()), &self.chain.genesis, config).unwrap()
    }

    fn summary(&self, store: &Store) -> Summary {
        let rounds = self.proposals.iter().map(|p| store.get_undecided(p.value.id()).unwrap().map(|u| u.rounds));
        Summary {
            marks: store.watermarks(),
            tallies: store.stats().unwrap().tallies,
            blob_floor: store.blob_floor(),
            gaps: store.gaps().iter().collect(),
            engine_head: store.engine_head().unwrap(),
            rounds: rounds.collect(),
        }
    }

    /// Does the work on `disk`; returns the states, of which the first is that of an empty store.
    fn run(&self, disk: &Disk) -> Vec<Summary> {
        let store = self.open(disk);
        let mut states = vec![self.summary(&store)];
        for (number, call) in (1..).zip(&self.calls) {
            disk.note(Event::Begun(number));
            call.make(&store).unwrap();
            if call.is_durable() {
                disk.note(Event::Ended(number));
            }
            states.push(self.summary(&store));
        }
        states
    }

    /// Which of `allowed` the store is in. What it holds must be whole and right, and what it counts be there.
    fn examine(&self, store: &Store, states: &[Summary], allowed: RangeInclusive<usize>) -> usize {
        assert_in_order(store);
        let summary = self.summary(store);
        let Some(state) = allowed.clone().rev().find(|state| states[*state] == summary) else {
            panic!("the store is in none of the states {allowed:?}: {summary:#?}");
        };
        let held = self.read_all(store);
        assert!(held.len() as u64 <= summary.tallies.blobs.decided.count + summary.tallies.blobs.archived.count);
        state
    }

    /// Reads everything that is served; returns which blobs are.
    fn read_all(&self, store: &Store) -> BTreeSet<Vec<u8>> {
        let reader = store.reader().unwrap();
        let marks = store.watermarks();
        let mut held = BTreeSet::new();
        for proposal in self.decided.iter().take(usize::try_from(marks.decided).unwrap()) {
            let height = proposal.height();
            assert_eq!(reader.identified_value(height).unwrap().as_ref(), Some(&proposal.value));
            let payload = reader.payload(height).unwrap();
            assert!(payload.is_some() || height > marks.available || height < marks.earliest_payload, "{height}");
            assert!(payload.is_none_or(|payload| payload == proposal.envelope));
            for (index, sidecar) in (0..).zip(&proposal.sidecars) {
                let found = reader.sidecar(height, index).unwrap();
                assert!(found.is_some() || height > marks.available || height < store.blob_floor(), "{height} {index}");
                if let Some(found) = found {
                    assert_eq!(&found, sidecar);
                    held.insert(sidecar.kzg_commitment.0.to_vec());
                }
            }
        }
        held
    }
}

/// A disk as it may be found after a power loss.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Nothing of what was not synced is there.
    Everything,
    /// All is there but part of the last write.
    Torn,
    /// Some of it is there, in any order, and one write in part.
    Some,
}

/// What was synced, and of what was not the part that `loss` leaves.
fn image(synced: &[u8], pending: &[&Event], loss: Loss, seed: u64) -> Vec<u8> {
    let mut bytes = synced.to_vec();
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    let last = pending.iter().rposition(|event| matches!(event, Event::Write(..)));
    for (number, event) in pending.iter().enumerate() {
        match event {
            // The length is metadata of the file system, which orders it before the data beyond it.
            Event::SetLen(len) if !matches!(loss, Loss::Everything) => bytes.resize(usize::try_from(*len).unwrap(), 0),
            Event::Write(offset, data) => {
                let torn = usize::try_from(next()).unwrap() % data.len();
                let kept = match loss {
                    Loss::Everything => 0,
                    Loss::Torn if Some(number) == last => torn,
                    Loss::Torn => data.len(),
                    Loss::Some => [0, data.len(), torn][usize::try_from(next() % 3).unwrap()],
                };
                apply(&mut bytes, *offset, &data[..kept]);
            }
            _ => {}
        }
    }
    bytes
}

#[test]
fn a_power_loss_at_any_sync_leaves_a_state_that_was_and_all_that_was_acknowledged() {
    let work = Work::new();
    let disk = Disk::recording();
    let states = work.run(&disk);
    let mut synced = Vec::new();
    let mut pending: Vec<&Event> = Vec::new();
    let (mut ended, mut begun, mut points) = (0, 0, 0_u64);
    let journal = disk.journal();
    for event in &journal {
        match event {
            Event::Begun(number) => begun = *number,
            Event::Ended(number) => ended = *number,
            Event::Write(..) | Event::SetLen(_) => pending.push(event),
            Event::Sync => {
                points += 1;
                // Before the first call, the store is being made.
                for loss in [Loss::Everything, Loss::Torn, Loss::Some].into_iter().filter(|_| begun > 0) {
                    let found = Disk::holding(image(&synced, &pending, loss, points));
                    let store = work.open(&found);
                    let state = work.examine(&store, &states, ended..=begun);
                    if points.is_multiple_of(7) {
                        work.resume(&store, &states, state);
                    }
                }
                for event in pending.drain(..) {
                    match event {
                        Event::Write(offset, data) => apply(&mut synced, *offset, data),
                        Event::SetLen(len) => synced.resize(usize::try_from(*len).unwrap(), 0),
                        Event::Sync | Event::Begun(_) | Event::Ended(_) => {}
                    }
                }
            }
        }
    }
    assert_eq!(begun, work.calls.len());
    assert!(points > 2 * 40, "{points} points are fewer than the durable calls have");
}

impl Work {
    /// Does the next few calls, as if nothing had happened.
    fn resume(&self, store: &Store, states: &[Summary], from: usize) {
        for (number, call) in self.calls.iter().enumerate().skip(from).take(3) {
            call.make(store).unwrap();
            assert_eq!(self.summary(store), states[number + 1]);
        }
    }

    /// Does the work on a disk that fails. Each failure is reported by a call; reading goes on; once `disk` is healed, so
    /// does the work, in the same store.
    fn run_over_failures(&self, disk: &Disk, states: &[Summary]) {
        let store = self.open(disk);
        let (mut done, mut durable) = (0, 0);
        while done < self.calls.len() {
            let call = &self.calls[done];
            match call.make(&store) {
                Ok(()) => {
                    done += 1;
                    if call.is_durable() {
                        durable = done;
                    }
                }
                Err(error) => {
                    assert!(matches!(error, StoreError::Full(_) | StoreError::Io(_)), "{error:?} at call {done}");
                    assert!(error.may_pass());
                    store.reopen().unwrap();
                    done = self.examine(&store, states, durable..=done + 1);
                    if matches!(error, StoreError::Full(_)) {
                        // While there is no room, every call that needs some fails, and what is held is served.
                        for _ in 0..2 {
                            assert!(matches!(
                                store.insert_validator_set(&other_set()),
                                Ok(()) | Err(StoreError::Full(_))
                            ));
                            self.read_all(&store);
                        }
                        done = self.examine(&store, states, durable..=done);
                    }
                    disk.heal();
                }
            }
        }
        disk.heal();
        assert_eq!(Some(&self.summary(&store)), states.last());
        drop(store);
        self.examine(&self.open(disk), states, states.len() - 1..=states.len() - 1);
    }
}

fn other_set() -> lapis_protocol_spec::ValidatorSet {
    let validator = |byte| lapis_protocol_spec::Validator { public_key: [byte; 32].into(), power: 1 };
    lapis_protocol_spec::ValidatorSet::new((1..200).map(validator).collect()).unwrap()
}

/// Operations of a disk that the whole work needs, from the first call on.
fn operations(work: &Work) -> (Vec<Summary>, RangeInclusive<u64>) {
    let disk = Disk::default();
    drop(work.open(&disk));
    let first = disk.operations();
    let disk = Disk::default();
    (work.run(&disk), first..=disk.operations())
}

#[test]
fn work_goes_on_in_the_same_store_after_a_failed_operation() {
    let work = Work::new();
    let (states, operations) = operations(&work);
    let mut failures = 0;
    for number in operations.clone().step_by(usize::try_from(operations.end() / 40).unwrap()) {
        let disk = Disk::with(Fault::Once(number));
        work.run_over_failures(&disk, &states);
        failures += disk.failures();
    }
    assert!(failures >= 30, "{failures} failures");
}

#[test]
fn a_full_disk_serves_and_goes_on_when_there_is_room_again() {
    let work = Work::new();
    let (states, operations) = operations(&work);
    let mut failures = 0;
    for number in operations.clone().step_by(usize::try_from(operations.end() / 20).unwrap()) {
        let disk = Disk::with(Fault::FullFrom(number));
        work.run_over_failures(&disk, &states);
        failures += disk.failures();
    }
    assert!(failures >= 15, "{failures} failures");
}

#[test]
fn readers_see_whole_states_while_the_work_is_done() {
    let work = Work::new();
    let disk = Disk::default();
    let store = work.open(&disk);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut rounds = 0;
            while !done.load(Ordering::Acquire) || rounds == 0 {
                let reader = store.reader().unwrap();
                for proposal in &work.decided {
                    let whole = reader.has_blobs_whole(proposal.height()).unwrap();
                    for (index, sidecar) in (0..).zip(&proposal.sidecars) {
                        let found = reader.sidecar(proposal.height(), index).unwrap();
                        assert!(found.is_some() || !whole, "a whole height lacks a blob in one snapshot");
                        assert!(found.is_none_or(|found| &found == sidecar));
                    }
                }
                rounds += 1;
            }
        });
        for call in &work.calls {
            call.make(&store).unwrap();
        }
        done.store(true, Ordering::Release);
        reading.join().unwrap();
    });
    store.insert(Batch::default()).unwrap();
}
