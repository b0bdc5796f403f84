//! Power loss at every point at which something reaches the disk, disks that fail, disks that fill up.
//!
//! The same work is done every time, call by call, and the state after each call is known. Whatever happens to the disk, a
//! store that is opened again must be in exactly one of the states between that of the last durable call that returned and
//! that of the call that was under way: none in between, and nothing of a later one.

use std::{
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, Ordering},
};

use lapis_storage::{Batch, Store, StoreError};

use crate::{
    faulty::{Disk, Event, Fault, apply},
    work::{Summary, Work},
};

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

/// A power loss at a sync.
#[derive(Debug)]
pub(crate) struct Outage {
    /// The call that had returned, and the one that had begun.
    pub(crate) ended: usize,
    pub(crate) begun: usize,
    /// Syncs until then, this one included.
    pub(crate) points: u64,
    /// What is on the disk.
    pub(crate) bytes: Vec<u8>,
}

/// Goes through everything that reached a disk, which held `bytes`, and loses power at every sync, in several ways. Returns
/// how many syncs there were.
pub(crate) fn at_every_sync(bytes: Vec<u8>, journal: &[Event], mut look: impl FnMut(Outage)) -> u64 {
    let mut synced = bytes;
    let mut pending: Vec<&Event> = Vec::new();
    let (mut ended, mut begun, mut points) = (0, 0, 0_u64);
    for event in journal {
        match event {
            Event::Begun(number) => begun = *number,
            Event::Ended(number) => ended = *number,
            Event::Write(..) | Event::SetLen(_) => pending.push(event),
            Event::Sync => {
                points += 1;
                for loss in [Loss::Everything, Loss::Torn, Loss::Some] {
                    look(Outage { ended, begun, points, bytes: image(&synced, &pending, loss, points) });
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
    points
}

#[test]
fn a_power_loss_at_any_sync_leaves_a_state_that_was_and_all_that_was_acknowledged() {
    let work = Work::new();
    let disk = Disk::recording();
    let states = work.run(&disk);
    let mut last = 0;
    let points = at_every_sync(Vec::new(), &disk.journal(), |outage| {
        last = outage.begun;
        // Before the first call, the store is being made.
        if outage.begun == 0 {
            return;
        }
        let store = work.open(&Disk::holding(outage.bytes));
        let state = work.examine(&store, &states, outage.ended..=outage.begun);
        if outage.points.is_multiple_of(7) {
            work.resume(&store, &states, state);
        }
    });
    assert_eq!(last, work.calls.len());
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
