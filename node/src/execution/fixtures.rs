//! Blocks and expectations that the tests of this module share.

use alloy_primitives::{Address, B256};
use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{
    builder::{Account, BlobSchedule, BlockAttributes, BlockBuilder, BuiltBlock, ParentBlock},
    engine::ImportBlock,
    fork::{Fork, ForkSchedule},
    payload::ExpectedBlock,
};

pub(super) const CHAIN_ID: u64 = 1337;
pub(super) const GENESIS_TIME: u64 = 1_700_000_000;
pub(super) const MAX_BLOBS: u64 = 1024;

/// A schedule under which `fork` is in force from the genesis time on.
pub(super) fn forks(fork: Fork) -> ForkSchedule {
    match fork {
        Fork::Cancun => ForkSchedule { cancun_time: GENESIS_TIME, prague_time: u64::MAX },
        Fork::Prague => ForkSchedule { cancun_time: GENESIS_TIME, prague_time: GENESIS_TIME },
    }
}

pub(super) fn builder(fork: Fork) -> BlockBuilder {
    BlockBuilder::new(CHAIN_ID, forks(fork), BlobSchedule::flat(MAX_BLOBS), Account::development().unwrap())
}

/// `count` distinct versioned hashes.
pub(super) fn versioned_hashes(count: usize) -> Vec<B256> {
    (0..count)
        .map(|index| {
            let mut hash = B256::new(Sha256::digest(index.to_le_bytes()).into());
            hash.0[0] = 1;
            hash
        })
        .collect()
}

pub(super) fn attributes<'a>(parent: &ParentBlock, versioned_hashes: &'a [B256]) -> BlockAttributes<'a> {
    BlockAttributes {
        timestamp: parent.timestamp + 1,
        fee_recipient: Address::repeat_byte(0xfe),
        prev_randao: B256::repeat_byte(0x4a),
        parent_beacon_block_root: B256::repeat_byte(0xbe),
        versioned_hashes,
    }
}

/// A block, what a decided value would say of it, and its parent.
pub(super) struct Case {
    pub(super) parent: ParentBlock,
    pub(super) built: BuiltBlock,
    pub(super) expected: ExpectedBlock,
}

impl Case {
    /// The first block of a chain, with `blobs` blobs.
    pub(super) fn first(fork: Fork, blobs: usize) -> Self {
        let builder = builder(fork);
        Self::after(&builder, &builder.genesis(GENESIS_TIME).unwrap(), fork, blobs)
    }

    /// The block after `parent`, at the height of its number.
    pub(super) fn after(builder: &BlockBuilder, parent: &ParentBlock, fork: Fork, blobs: usize) -> Self {
        let hashes = versioned_hashes(blobs);
        let attributes = attributes(parent, &hashes);
        let built = builder.build(parent, &attributes).unwrap();
        let expected = ExpectedBlock {
            height: built.as_parent.number,
            block_hash: built.as_parent.hash,
            parent_block_hash: parent.hash,
            parent_beacon_block_root: attributes.parent_beacon_block_root,
            timestamp: attributes.timestamp,
            fork,
            payload_size: built.payload.len() as u64,
            payload_digest: digest(&built.payload),
            requests_hash: built.requests_hash,
            versioned_hashes: hashes,
        };
        Self { parent: *parent, built, expected }
    }

    /// Lets the decided value certify these bytes as they are, whatever is in them.
    pub(super) fn certify(&mut self, payload: Vec<u8>) {
        self.expected.payload_size = payload.len() as u64;
        self.expected.payload_digest = digest(&payload);
        self.built.payload = payload;
    }

    pub(super) fn import_block(&self) -> ImportBlock {
        self.import_block_with(Vec::new())
    }

    pub(super) fn import_block_with(&self, requests: Vec<Bytes>) -> ImportBlock {
        ImportBlock::of(self.expected.clone(), Bytes::from(self.built.payload.clone()), requests)
    }
}

pub(super) fn digest(bytes: &[u8]) -> B256 {
    B256::new(Sha256::digest(bytes).into())
}
