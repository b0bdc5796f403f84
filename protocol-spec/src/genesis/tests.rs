#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::fixtures::{Committee, genesis};

fn changed(change: impl FnOnce(&mut Genesis)) -> Genesis {
    let mut genesis = genesis(&Committee::equal(4).set);
    change(&mut genesis);
    genesis
}

#[test]
fn a_sound_genesis_and_its_limits() {
    changed(|_| ()).check().unwrap();
    changed(|genesis| genesis.max_blobs_per_block = 4096).check().unwrap();
    changed(|genesis| genesis.max_blobs_per_block = 0).check().unwrap();
    changed(|genesis| genesis.blob_retention_heights = 1).check().unwrap();
}

#[test]
fn illegal_validator_set() {
    let genesis = changed(|genesis| genesis.validators = ValidatorSet::default());
    assert_eq!(genesis.check(), Err(GenesisFault::Validators(ValidatorSetFault::Empty)));
}

#[test]
fn more_blobs_than_containers_hold() {
    let genesis = changed(|genesis| genesis.max_blobs_per_block = 4097);
    assert_eq!(genesis.check(), Err(GenesisFault::TooManyBlobs(4097)));
}

#[test]
fn no_retention() {
    assert_eq!(changed(|genesis| genesis.blob_retention_heights = 0).check(), Err(GenesisFault::NoRetention));
}

#[test]
fn forks_out_of_order() {
    let genesis = changed(|genesis| genesis.cancun_time = 2);
    assert_eq!(genesis.check(), Err(GenesisFault::ForkOrder { cancun: 2, prague: 0 }));
}

#[test]
fn every_field_is_part_of_the_id() {
    let changes: [fn(&mut Genesis); 8] = [
        |genesis| genesis.chain_id = ByteList::new(&b"other"[..]).unwrap(),
        |genesis| genesis.genesis_time += 1,
        |genesis| genesis.max_blobs_per_block += 1,
        |genesis| genesis.blob_retention_heights += 1,
        |genesis| genesis.validators = Committee::equal(5).set,
        |genesis| genesis.execution_block_hash.0[0] ^= 1,
        |genesis| genesis.cancun_time += 1,
        |genesis| genesis.prague_time += 1,
    ];
    let id = changed(|_| ()).id();
    for change in changes {
        assert_ne!(changed(change).id(), id);
    }
}
