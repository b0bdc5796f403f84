//! What a client keeps: blocks by hash, and a head.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use lapis_protocol_spec::{Bytes32, Height};
use serde_json::{Value as Json, json};

use super::{Reaction, forkchoice, status};
use crate::TestChain;

/// A client that executes nothing.
pub(super) struct Model {
    chain: Arc<TestChain>,
    genesis: Bytes32,
    /// Blocks that it has, with their numbers.
    blocks: HashMap<Bytes32, u64>,
    head: Bytes32,
    /// Versioned hashes of the blobs in its pool; `None` if it does not give any.
    pool: Option<HashSet<Bytes32>>,
    pub(super) spoils_blobs: bool,
    pub(super) says_accepted: bool,
    pub(super) writes_capitals: bool,
    pub(super) complaints: Vec<String>,
}

impl Model {
    pub(super) fn new(chain: &Arc<TestChain>) -> Self {
        let genesis = chain.spec().genesis().execution_block_hash;
        Self {
            chain: Arc::clone(chain),
            genesis,
            blocks: HashMap::from([(genesis, 0)]),
            head: genesis,
            pool: None,
            spoils_blobs: false,
            says_accepted: false,
            writes_capitals: false,
            complaints: Vec::new(),
        }
    }

    fn hash(&self, height: Height) -> Bytes32 {
        if height == 0 { self.genesis } else { self.chain.block(height).value.value().block_hash }
    }

    pub(super) fn forget_above(&mut self, height: Height) {
        self.blocks.retain(|_, number| *number <= height);
        self.head = self.hash(height);
    }

    pub(super) fn fork_off_at(&mut self, height: Height) {
        self.forget_above(height);
        self.head = Bytes32::from([0xf0; 32]);
        self.blocks.insert(self.head, height + 1);
    }

    pub(super) fn change_genesis(&mut self) {
        self.head = Bytes32::from([0xee; 32]);
        self.blocks = HashMap::from([(self.head, 0)]);
    }

    pub(super) fn acquire(&mut self, height: Height) {
        for height in 0..=height {
            self.blocks.insert(self.hash(height), height);
        }
    }

    pub(super) fn hold_blobs(&mut self, which: impl Fn(Height, u64) -> bool) {
        let blobs = self.chain.blocks().iter().flat_map(|block| &block.blobs);
        let held = blobs.filter(|blob| which(blob.height, blob.index));
        self.pool = Some(held.map(|blob| blob.versioned_hash()).collect());
    }

    pub(super) fn head_height(&self) -> Option<Height> {
        let height = *self.blocks.get(&self.head)?;
        (height <= self.chain.last() && self.hash(height) == self.head).then_some(height)
    }

    /// The proper answer to a call.
    pub(super) fn answer(&mut self, method: &str, params: &Json) -> Reaction {
        let result = match method {
            "engine_exchangeCapabilities" => self.capabilities(),
            "engine_getBlobsV1" if self.pool.is_some() => self.blobs(&params[0]),
            "engine_newPayloadV3" | "engine_newPayloadV4" => return self.new_payload(method, params),
            "engine_forkchoiceUpdatedV3" => return self.forkchoice_updated(params),
            "eth_getBlockByNumber" => self.block(self.head),
            "eth_getBlockByHash" => Bytes32::from_hex(text(&params[0])).map_or(Json::Null, |hash| self.block(hash)),
            _ => return Reaction::Error(-32601, "the method does not exist"),
        };
        Reaction::Result(result)
    }

    fn capabilities(&self) -> Json {
        let mut methods = vec![
            "engine_newPayloadV3",
            "engine_newPayloadV4",
            "engine_forkchoiceUpdatedV3",
            "engine_getPayloadV3",
            "engine_newPayloadV99",
            "testing_something",
        ];
        methods.extend(self.pool.is_some().then_some("engine_getBlobsV1"));
        json!(methods)
    }

    /// For each hash the blob with its proof, or null.
    fn blobs(&mut self, hashes: &Json) -> Json {
        let hashes = hashes.as_array().map(Vec::as_slice).unwrap_or_default();
        if hashes.is_empty() || hashes.len() > 128 {
            self.complaints.push(format!("{} hashes in a call", hashes.len()));
        }
        hashes.iter().map(|hash| self.blob(text(hash))).collect()
    }

    fn blob(&self, hash: &str) -> Json {
        let held = |hash: &Bytes32| self.pool.as_ref().is_some_and(|pool| pool.contains(hash));
        let found = Bytes32::from_hex(hash).filter(held).and_then(|hash| self.chain.sidecar_by_hash(&hash));
        let Some(sidecar) = found else { return Json::Null };
        let mut blob = sidecar.blob.as_ref().to_vec();
        // The lowest byte of a number: it stays a field element.
        blob[31] ^= u8::from(self.spoils_blobs);
        json!({ "blob": alloy_primitives::hex::encode_prefixed(blob), "proof": sidecar.kzg_proof.to_string() })
    }

    fn block(&self, hash: Bytes32) -> Json {
        let Some(number) = self.blocks.get(&hash) else { return Json::Null };
        let (hash, number) = (hash.to_string(), format!("{number:x}"));
        let written = |digits: &str| {
            if self.writes_capitals { format!("0x{}", digits.to_uppercase()) } else { format!("0x{digits}") }
        };
        json!({ "hash": written(hash.trim_start_matches("0x")), "number": written(&number), "transactions": [] })
    }

    fn new_payload(&mut self, method: &str, params: &Json) -> Reaction {
        let found = Bytes32::from_hex(text(&params[0]["blockHash"]));
        let height = found.and_then(|hash| (1..=self.chain.last()).find(|height| self.hash(*height) == hash));
        let Some(height) = height else {
            self.complaints.push(format!("{method} with an unknown block"));
            return Reaction::Result(status("INVALID"));
        };
        if let Some(fault) = self.fault(method, height, params) {
            self.complaints.push(format!("height {height}: {fault}"));
            return Reaction::Error(-38005, "unsupported fork or wrong parameters");
        }
        if !self.blocks.contains_key(&self.hash(height - 1)) {
            return Reaction::Result(status(if self.says_accepted { "ACCEPTED" } else { "SYNCING" }));
        }
        self.blocks.insert(self.hash(height), height);
        let mut valid = status("VALID");
        valid["latestValidHash"] = self.hash(height).to_string().into();
        Reaction::Result(valid)
    }

    /// Holds the parameters against the chain.
    fn fault(&self, method: &str, height: Height, params: &Json) -> Option<&'static str> {
        let value = self.chain.block(height).value.value();
        let prague = value.timestamp >= self.chain.spec().genesis().prague_time;
        if prague != (method == "engine_newPayloadV4") {
            return Some("a method of another fork");
        }
        if params.as_array().map(Vec::len) != Some(if prague { 4 } else { 3 }) {
            return Some("wrong number of parameters");
        }
        let hashes: Vec<_> = value.versioned_hashes().map(|hash| hash.to_string()).collect();
        if params[1] != json!(hashes) {
            return Some("other versioned hashes");
        }
        if text(&params[2]) != value.parent_value_id.to_string() {
            return Some("another parent beacon block root");
        }
        let number = u64::from_str_radix(text(&params[0]["blockNumber"]).trim_start_matches("0x"), 16);
        (number != Ok(height)).then_some("another block number")
    }

    fn forkchoice_updated(&mut self, params: &Json) -> Reaction {
        let state = &params[0];
        let Some(head) = Bytes32::from_hex(text(&state["headBlockHash"])) else {
            return Reaction::Error(-32602, "no head");
        };
        if state["safeBlockHash"] != state["headBlockHash"] || state["finalizedBlockHash"] != state["headBlockHash"] {
            self.complaints.push("a decided block is not safe and final".to_owned());
        }
        if !self.blocks.contains_key(&head) {
            return Reaction::Result(forkchoice("SYNCING"));
        }
        self.head = head;
        Reaction::Result(forkchoice("VALID"))
    }
}

fn text(value: &Json) -> &str {
    value.as_str().unwrap_or_default()
}
