//! The second stage: digests and proofs, on all cores.

use std::{
    num::NonZeroUsize,
    sync::mpsc::{Receiver, SyncSender},
    thread,
};

use lapis_protocol_spec::{BlobSidecar, Kzg, Matched, kzg::BatchOutcome};

use super::{Checked, Group, ImportError, ItemFault, join};

/// Checks group after group until there are no more, or one has a fault. What is true in that one is handed on.
pub(super) fn run(
    kzg: &Kzg,
    threads: NonZeroUsize,
    groups: &Receiver<Group>,
    checked: &SyncSender<Checked>,
) -> Result<(), ImportError> {
    for group in groups {
        let mut faults = Vec::new();
        let group = check(kzg, threads, group, &mut faults);
        let is_stopped = checked.send(group).is_err();
        if let Some((_, error)) = faults.into_iter().min_by_key(|(place, _)| *place) {
            return Err(error);
        }
        if is_stopped {
            // The writer says why.
            break;
        }
    }
    Ok(())
}

/// Place of a fault in the archive, for the first one to be told: height, then payload, then index.
type Place = (u64, Option<u64>);

fn check(kzg: &Kzg, threads: NonZeroUsize, group: Group, faults: &mut Vec<(Place, ImportError)>) -> Checked {
    let Group { sets, values, payloads, blobs, heights, mended, bytes: _ } = group;
    let mut checked = Checked { sets, values, heights, mended, ..Checked::default() };
    let outcome = check_blobs(kzg, threads, blobs);
    for payload in payloads {
        let height = payload.height;
        match payload.verify() {
            Ok(verified) => checked.batch.payloads.push(verified),
            Err(fault) => faults.push(((height, None), ImportError::Untrue { height, fault: fault.into() })),
        }
    }
    for (_, blob) in outcome.faulty {
        let (height, index) = (blob.height, blob.index);
        faults.push(((height, Some(index)), ImportError::Untrue { height, fault: ItemFault::Proof { index } }));
    }
    for (_, blob) in outcome.unchecked {
        let (height, index) = (blob.height, blob.index);
        faults.push(((height, Some(index)), ImportError::Unchecked { height, index }));
    }
    checked.batch.blobs = outcome.verified.into_iter().map(|(_, blob)| blob).collect();
    checked
}

fn check_blobs(kzg: &Kzg, threads: NonZeroUsize, blobs: Vec<Matched<BlobSidecar>>) -> BatchOutcome<()> {
    let share = blobs.len().div_ceil(threads.get()).max(1);
    let mut blobs = blobs.into_iter().map(|blob| ((), blob));
    let mut shares = Vec::new();
    while blobs.len() > 0 {
        shares.push(blobs.by_ref().take(share).collect::<Vec<_>>());
    }
    let mut outcome = BatchOutcome::default();
    thread::scope(|scope| {
        let workers: Vec<_> = shares.into_iter().map(|share| scope.spawn(move || kzg.verify_batch(share))).collect();
        for worker in workers {
            let BatchOutcome { verified, faulty, unchecked } = join(worker);
            outcome.verified.extend(verified);
            outcome.faulty.extend(faulty);
            outcome.unchecked.extend(unchecked);
        }
    });
    outcome
}
