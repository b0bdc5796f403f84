//! The genesis of an execution client's chain, in the format of geth: written for a client to start with, read to learn
//! what a development network has to agree on with the client.
//!
//! What a written genesis holds besides the forks: the account that signs blob transactions, with means for as long as
//! anybody tries things out, and the contracts that blocks call by themselves (EIP-4788, and from Prague on EIP-2935,
//! -7002 and -7251).

use std::collections::BTreeMap;

use alloy_eips::{
    eip1559::{ETHEREUM_BLOCK_GAS_LIMIT_30M, INITIAL_BASE_FEE},
    eip2935::{HISTORY_STORAGE_ADDRESS, HISTORY_STORAGE_CODE},
    eip4788::{BEACON_ROOTS_ADDRESS, BEACON_ROOTS_CODE},
    eip6110::MAINNET_DEPOSIT_CONTRACT_ADDRESS,
    eip7002::{WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, WITHDRAWAL_REQUEST_PREDEPLOY_CODE},
    eip7251::{CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, CONSOLIDATION_REQUEST_PREDEPLOY_CODE},
    eip7840::BlobParams,
};
use alloy_primitives::{Address, B256, Bytes};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, json};

use crate::execution::{
    BlobSchedule, Fork, ForkSchedule, UnsupportedFork,
    builder::{Account, DEFAULT_BLOBS_PER_TRANSACTION},
};

/// Balance of the signing account in wei: a billion ether.
const MEANS: &str = "0x33b2e3c9fd0803ce8000000";

/// Forks by block number that came before those by time.
const EARLIER_FORKS: [&str; 12] = [
    "homestead",
    "eip150",
    "eip155",
    "eip158",
    "byzantium",
    "constantinople",
    "petersburg",
    "istanbul",
    "berlin",
    "london",
    "mergeNetsplit",
    "mergeFork",
];

/// What a development network and its execution clients agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExecutionGenesis {
    /// EIP-155 id.
    pub chain_id: u64,
    /// Timestamp of block 0, in seconds.
    pub genesis_time: u64,
    /// When the forks start.
    pub forks: ForkSchedule,
    /// Blobs of a block from Cancun on.
    pub cancun_blobs: BlobSchedule,
    /// Blobs of a block from Prague on.
    pub prague_blobs: BlobSchedule,
}

/// Why a genesis is none that a development network can be built on.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionGenesisError {
    /// Not JSON, or without what is needed of it.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Block 0 is older than Cancun.
    #[error("block 0: {0}")]
    Fork(#[from] UnsupportedFork),
}

/// The parts of geth's format that matter here; clients read many more.
#[derive(Debug, Deserialize)]
struct GethGenesis {
    config: GethConfig,
    #[serde(deserialize_with = "quantity")]
    timestamp: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct GethConfig {
    chain_id: u64,
    #[serde(default = "never")]
    cancun_time: u64,
    #[serde(default = "never")]
    prague_time: u64,
    #[serde(default)]
    blob_schedule: GethBlobSchedule,
}

#[derive(Debug, Default, Deserialize)]
struct GethBlobSchedule {
    cancun: Option<GethBlobs>,
    prague: Option<GethBlobs>,
}

#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct GethBlobs {
    target: u64,
    max: u64,
    base_fee_update_fraction: u64,
}

impl ExecutionGenesis {
    /// A chain with the numbers of mainnet's forks, that starts at `genesis_time` with Cancun and goes to Prague at
    /// `prague_time`; `u64::MAX` for never.
    #[must_use]
    pub fn new(chain_id: u64, genesis_time: u64, prague_time: u64) -> Self {
        let forks = ForkSchedule { cancun_time: 0, prague_time };
        Self { chain_id, genesis_time, forks, cancun_blobs: mainnet_cancun(), prague_blobs: mainnet_prague() }
    }

    /// Reads a genesis in the format of geth. Where it has no blob schedule, mainnet's holds.
    ///
    /// # Errors
    /// [`ExecutionGenesisError`].
    pub fn parse(json: &[u8]) -> Result<Self, ExecutionGenesisError> {
        let GethGenesis { config, timestamp } = serde_json::from_slice(json)?;
        let forks = ForkSchedule { cancun_time: config.cancun_time, prague_time: config.prague_time };
        forks.fork_at(timestamp)?;
        let GethBlobSchedule { cancun, prague } = config.blob_schedule;
        Ok(Self {
            chain_id: config.chain_id,
            genesis_time: timestamp,
            forks,
            cancun_blobs: cancun.map_or_else(mainnet_cancun, Into::into),
            prague_blobs: prague.map_or_else(mainnet_prague, Into::into),
        })
    }

    /// The genesis in the format of geth, with `account` as the one that has means. Not for block 0's hash: that is the
    /// client's to compute.
    #[must_use]
    pub fn to_json(&self, account: &Account) -> Value {
        json!({
            "config": self.config(),
            "nonce": "0x0",
            "timestamp": hex(self.genesis_time),
            "extraData": "0x",
            "gasLimit": hex(ETHEREUM_BLOCK_GAS_LIMIT_30M),
            "difficulty": "0x0",
            "mixHash": B256::ZERO.to_string(),
            "coinbase": Address::ZERO.to_string(),
            "baseFeePerGas": hex(INITIAL_BASE_FEE),
            "excessBlobGas": "0x0",
            "blobGasUsed": "0x0",
            "alloc": self.alloc(account),
            "number": "0x0",
            "gasUsed": "0x0",
            "parentHash": B256::ZERO.to_string(),
        })
    }

    /// Blobs of a block at `timestamp`.
    ///
    /// # Errors
    /// [`UnsupportedFork`] before Cancun.
    pub fn blobs_at(&self, timestamp: u64) -> Result<BlobSchedule, UnsupportedFork> {
        Ok(match self.forks.fork_at(timestamp)? {
            Fork::Cancun => self.cancun_blobs,
            Fork::Prague => self.prague_blobs,
        })
    }

    /// Most blobs of any block.
    #[must_use]
    pub fn max_blobs(&self) -> u64 {
        if self.has_prague() { self.cancun_blobs.max.max(self.prague_blobs.max) } else { self.cancun_blobs.max }
    }

    /// Forks before Cancun are in force from block 0 on. Some clients want to be told that there has been a merge.
    fn config(&self) -> Map<String, Value> {
        let before = EARLIER_FORKS.iter().map(|fork| (format!("{fork}Block"), json!(0)));
        let always = [
            ("chainId", json!(self.chain_id)),
            ("terminalTotalDifficulty", json!(0)),
            ("terminalTotalDifficultyPassed", json!(true)),
            ("shanghaiTime", json!(0)),
            ("cancunTime", json!(self.forks.cancun_time)),
            ("depositContractAddress", json!(MAINNET_DEPOSIT_CONTRACT_ADDRESS.to_string())),
            ("blobSchedule", self.blob_schedule()),
        ];
        let prague = self.has_prague().then(|| ("pragueTime", json!(self.forks.prague_time)));
        before.chain(always.into_iter().chain(prague).map(|(name, value)| (name.to_owned(), value))).collect()
    }

    fn blob_schedule(&self) -> Value {
        let cancun = ("cancun".to_owned(), json!(GethBlobs::from(self.cancun_blobs)));
        let prague = self.has_prague().then(|| ("prague".to_owned(), json!(GethBlobs::from(self.prague_blobs))));
        Value::Object([cancun].into_iter().chain(prague).collect())
    }

    fn has_prague(&self) -> bool {
        self.forks.prague_time != u64::MAX
    }

    fn alloc(&self, account: &Account) -> BTreeMap<String, Value> {
        let contract = |address: Address, code: &Bytes| {
            (address.to_string(), json!({ "balance": "0x0", "nonce": "0x1", "code": code.to_string() }))
        };
        let mut alloc = BTreeMap::from([
            (account.address().to_string(), json!({ "balance": MEANS })),
            contract(BEACON_ROOTS_ADDRESS, &BEACON_ROOTS_CODE),
        ]);
        // There from the start, so that a chain may go to Prague later: nobody deploys them on the way.
        if self.has_prague() {
            alloc.extend([
                contract(HISTORY_STORAGE_ADDRESS, &HISTORY_STORAGE_CODE),
                contract(WITHDRAWAL_REQUEST_PREDEPLOY_ADDRESS, &WITHDRAWAL_REQUEST_PREDEPLOY_CODE),
                contract(CONSOLIDATION_REQUEST_PREDEPLOY_ADDRESS, &CONSOLIDATION_REQUEST_PREDEPLOY_CODE),
            ]);
        }
        alloc
    }
}

impl From<GethBlobs> for BlobSchedule {
    fn from(blobs: GethBlobs) -> Self {
        Self {
            target: blobs.target,
            max: blobs.max,
            per_transaction: DEFAULT_BLOBS_PER_TRANSACTION,
            base_fee_update_fraction: u128::from(blobs.base_fee_update_fraction),
        }
    }
}

impl From<BlobSchedule> for GethBlobs {
    fn from(blobs: BlobSchedule) -> Self {
        Self {
            target: blobs.target,
            max: blobs.max,
            base_fee_update_fraction: u64::try_from(blobs.base_fee_update_fraction).unwrap_or(u64::MAX),
        }
    }
}

fn mainnet_cancun() -> BlobSchedule {
    schedule(BlobParams::cancun())
}

fn mainnet_prague() -> BlobSchedule {
    schedule(BlobParams::prague())
}

fn schedule(params: BlobParams) -> BlobSchedule {
    BlobSchedule {
        target: params.target_blob_count,
        max: params.max_blob_count,
        per_transaction: DEFAULT_BLOBS_PER_TRANSACTION,
        base_fee_update_fraction: params.update_fraction,
    }
}

fn never() -> u64 {
    u64::MAX
}

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

/// A number, or a string with one in hex or decimal: clients take all of them.
fn quantity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Quantity {
        Number(u64),
        Text(String),
    }
    match Quantity::deserialize(deserializer)? {
        Quantity::Number(number) => Ok(number),
        Quantity::Text(text) => match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => text.parse(),
        }
        .map_err(D::Error::custom),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    fn written(genesis: &ExecutionGenesis) -> Vec<u8> {
        genesis.to_json(&Account::development().unwrap()).to_string().into_bytes()
    }

    #[test]
    fn what_is_written_is_read() {
        for prague_time in [0, START + 5, u64::MAX] {
            let genesis = ExecutionGenesis::new(1337, START, prague_time);
            assert_eq!(ExecutionGenesis::parse(&written(&genesis)).unwrap(), genesis);
        }
    }

    #[test]
    fn blobs_are_those_of_the_fork_in_force() {
        let genesis = ExecutionGenesis::new(1337, START, START + 5);
        assert_eq!(genesis.blobs_at(START + 4).unwrap().max, 6);
        assert_eq!(genesis.blobs_at(START + 5).unwrap().max, 9);
        assert_eq!(genesis.max_blobs(), 9);
        assert_eq!(ExecutionGenesis::new(1337, START, u64::MAX).max_blobs(), 6);
    }

    #[test]
    fn a_genesis_of_another_hand_needs_no_more_than_its_id_and_its_forks() {
        let json = br#"{"config": {"chainId": 7, "cancunTime": 3, "ethash": {}}, "timestamp": "3", "alloc": {}}"#;
        let genesis = ExecutionGenesis::parse(json).unwrap();
        assert_eq!((genesis.chain_id, genesis.genesis_time), (7, 3));
        assert_eq!(genesis.forks, ForkSchedule { cancun_time: 3, prague_time: u64::MAX });
        assert_eq!(genesis.cancun_blobs.max, 6);
    }

    #[test]
    fn what_starts_before_cancun_or_is_no_genesis_is_refused() {
        let early = br#"{"config": {"chainId": 7, "cancunTime": 4}, "timestamp": "0x3"}"#;
        assert!(matches!(ExecutionGenesis::parse(early), Err(ExecutionGenesisError::Fork(_))));
        let garbage: [&[u8]; 3] = [b"", b"{}", br#"{"config": {"chainId": 7, "cancunTime": 0}, "timestamp": "0xz"}"#];
        for json in garbage {
            assert!(matches!(ExecutionGenesis::parse(json), Err(ExecutionGenesisError::Json(_))));
        }
    }
}
