//! A small chain with real keys, real certificates and real blobs with valid proofs, for tests and benches.
//!
//! Blobs are the evaluations of polynomials of degree one, `a + b*x`. Their commitment is `a*G + b*[s]G` and their proof
//! is `b*G`, so that thousands of distinct, valid blobs cost about a millisecond each.
#![allow(dead_code, reason = "tests and benches use different parts")]

use std::{
    path::PathBuf,
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use blstrs::{G1Affine, G1Projective, Scalar};
use ed25519_consensus::SigningKey;
use ff::{Field, PrimeField};
use lapis_protocol_spec::{
    Blob, BlobSidecar, ByteList, Bytes32, Bytes48, ChainLink, CommitCertificate, CommitSignature, DecidedValue,
    Genesis, Height, IdentifiedValue, Kzg, Matched, PayloadEnvelope, Validator, ValidatorSet, Value, Verified,
    certificate::{VoteKind, VoteSigningData},
    payload::requests_hash,
    versioned_hash,
};
use lapis_storage::{Batch, Store, StoreConfig};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

pub(crate) static KZG: LazyLock<Kzg> = LazyLock::new(|| Kzg::mainnet().unwrap());

/// `G` and `[s]G` of the trusted setup of Ethereum's ceremony.
const SETUP: [&str; 2] = [
    "97f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
    "ad3eb50121139aa34db1d545093ac9374ab7bca2c0f3bf28e27c8dcd8fc7cb42d25926fc0c97b336e9f0fb35e5a04c81",
];

static POINTS: LazyLock<[G1Projective; 2]> =
    LazyLock::new(|| SETUP.map(|hex| G1Affine::from_compressed(&Bytes48::from_hex(hex).unwrap().0).unwrap().into()));

/// The 4096th roots of unity in bit-reversed order, where a blob's polynomial is evaluated.
static ROOTS: LazyLock<Vec<Scalar>> = LazyLock::new(|| {
    let root = (0..Scalar::S - 12).fold(Scalar::ROOT_OF_UNITY, |root, _| root.square());
    (0..4096_u64).map(|i| root.pow_vartime([i.reverse_bits() >> 52])).collect()
});

fn compressed(point: G1Projective) -> Bytes48 {
    G1Affine::from(point).to_compressed().into()
}

/// A blob that is cheap to make and compresses to nothing: a polynomial of degree 0 has one value everywhere, and its proof
/// is the point at infinity. Its own for each seed.
pub(crate) fn plain_sidecar(seed: u64) -> BlobSidecar {
    let value = Scalar::from(seed + 1) * Scalar::ROOT_OF_UNITY;
    let bytes: Vec<u8> = std::iter::repeat_n(value.to_bytes_be(), 4096).flatten().collect();
    BlobSidecar {
        height: 0,
        index: 0,
        kzg_commitment: compressed(POINTS[0] * value),
        kzg_proof: compressed(G1Affine::default().into()),
        blob: Blob::from_slice(&bytes).unwrap(),
    }
}

/// A blob with a valid proof, its own for each seed. Height and index are 0.
pub(crate) fn sidecar(seed: u64) -> BlobSidecar {
    let (a, b) = (Scalar::from(seed) * Scalar::ROOT_OF_UNITY + Scalar::ONE, Scalar::from(seed) + Scalar::ONE);
    let bytes: Vec<u8> = ROOTS.iter().flat_map(|root| (a + b * root).to_bytes_be()).collect();
    BlobSidecar {
        height: 0,
        index: 0,
        kzg_commitment: compressed(POINTS[0] * a + POINTS[1] * b),
        kzg_proof: compressed(POINTS[0] * b),
        blob: Blob::from_slice(&bytes).unwrap(),
    }
}

/// A value with all its data, as its proposer has it.
#[derive(Clone, Debug)]
pub(crate) struct Proposal {
    pub(crate) value: IdentifiedValue,
    pub(crate) envelope: PayloadEnvelope,
    pub(crate) sidecars: Vec<BlobSidecar>,
}

impl Proposal {
    pub(crate) fn height(&self) -> Height {
        self.value.value().height
    }

    pub(crate) fn hash(&self, index: usize) -> Bytes32 {
        versioned_hash(&self.sidecars[index].kzg_commitment)
    }

    pub(crate) fn matched_payload(&self) -> Matched<PayloadEnvelope> {
        Matched::payload(self.envelope.clone(), &self.value).unwrap()
    }

    pub(crate) fn matched(&self, index: usize) -> Matched<BlobSidecar> {
        Matched::blob(self.sidecars[index].clone(), &self.value, index as u64).unwrap()
    }

    /// Its payload, verified.
    pub(crate) fn payload(&self) -> Verified<PayloadEnvelope> {
        self.matched_payload().verify().unwrap()
    }

    /// One of its blobs, verified.
    pub(crate) fn blob(&self, index: usize) -> Verified<BlobSidecar> {
        KZG.verify(self.matched(index)).unwrap()
    }

    /// Some of its blobs, verified.
    pub(crate) fn blobs(&self, indices: impl IntoIterator<Item = usize>) -> Vec<Verified<BlobSidecar>> {
        let batch = indices.into_iter().map(|index| ((), self.matched(index))).collect();
        let outcome = KZG.verify_batch(batch);
        assert!(outcome.faulty.is_empty());
        outcome.verified.into_iter().map(|((), blob)| blob).collect()
    }

    /// All its data, verified.
    pub(crate) fn batch(&self) -> Batch {
        Batch { payloads: vec![self.payload()], blobs: self.blobs(0..self.sidecars.len()) }
    }
}

/// A chain with one validator, and its tip.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    pub(crate) genesis: Genesis,
    pub(crate) tip: ChainLink,
    pub(crate) set: ValidatorSet,
    key: SigningKey,
}

impl Chain {
    pub(crate) fn new() -> Self {
        Self::named("storage-test")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = SigningKey::from([7; 32]);
        let public_key = Bytes32::from(key.verification_key().to_bytes());
        let set = ValidatorSet::new(vec![Validator { public_key, power: 1 }]).unwrap();
        let genesis = Genesis {
            chain_id: ByteList::new(name.as_bytes().to_vec()).unwrap(),
            genesis_time: 1_700_000_000,
            max_blobs_per_block: 1024,
            blob_retention_heights: 16,
            validators: set.clone(),
            execution_block_hash: [0xee; 32].into(),
            cancun_time: 0,
            prague_time: 0,
        };
        Self { tip: ChainLink::genesis(&genesis), genesis, set, key }
    }

    /// A set that signs nothing of this chain.
    pub(crate) fn other_set(&self) -> ValidatorSet {
        ValidatorSet::new(vec![Validator { public_key: [0x11; 32].into(), power: 1 }]).unwrap()
    }

    /// A value that could be decided next, with the blobs of these seeds and a payload of this many bytes.
    pub(crate) fn propose(&self, seeds: &[u64], payload_bytes: usize) -> Proposal {
        self.propose_with(seeds.iter().map(|seed| sidecar(*seed)).collect(), payload_bytes)
    }

    /// A value that could be decided next, with these blobs and a payload of this many bytes.
    pub(crate) fn propose_with(&self, mut sidecars: Vec<BlobSidecar>, payload_bytes: usize) -> Proposal {
        let height = self.tip.height + 1;
        let payload = payload_of(height, payload_bytes);
        let commitments: Vec<_> = sidecars.iter().map(|sidecar| sidecar.kzg_commitment).collect();
        let value = Value {
            height,
            timestamp: self.tip.timestamp + 1,
            parent_value_id: self.tip.value_id,
            proposer: self.set.validators[0].address(),
            validators_root: self.tip.next_validators_root,
            next_validators_root: self.set.root(),
            block_hash: <[u8; 32]>::from(Sha256::digest(height.to_le_bytes())).into(),
            parent_block_hash: self.tip.block_hash,
            payload_digest: <[u8; 32]>::from(Sha256::digest(&payload)).into(),
            payload_size: payload.len() as u64,
            requests_hash: requests_hash([]),
            blob_kzg_commitments: commitments.try_into().unwrap(),
        };
        let value = IdentifiedValue::new(Arc::new(value));
        for (index, sidecar) in (0..).zip(&mut sidecars) {
            (sidecar.height, sidecar.index) = (height, index);
        }
        let envelope = envelope(&value, payload);
        Proposal { value, envelope, sidecars }
    }

    /// The payload of a value that was proposed with so many bytes of it.
    pub(crate) fn payload_again(&self, value: &IdentifiedValue, payload_bytes: usize) -> Matched<PayloadEnvelope> {
        Matched::payload(envelope(value, payload_of(value.value().height, payload_bytes)), value).unwrap()
    }

    /// Decides `proposal`, which becomes the tip.
    pub(crate) fn decide(&mut self, proposal: &Proposal) -> Verified<DecidedValue> {
        let (height, round, value_id) = (proposal.height(), 0, *proposal.value.id());
        let genesis_id = self.genesis.id();
        let message = VoteSigningData::signing_bytes(genesis_id, VoteKind::Precommit, height, round, value_id);
        let address = self.set.validators[0].address();
        let signature = CommitSignature { address, signature: self.key.sign(&message).to_bytes().into() };
        let signatures = vec![signature].try_into().unwrap();
        let value = Value::clone(proposal.value.value());
        let decided = DecidedValue { value, certificate: CommitCertificate { height, round, value_id, signatures } };
        let verified = decided.verify(&genesis_id, self.genesis.max_blobs_per_block, &self.tip, &self.set).unwrap();
        self.tip = ChainLink::after(&verified.value, value_id);
        verified
    }

    /// Proposes and decides.
    pub(crate) fn next(&mut self, seeds: &[u64]) -> (Proposal, Verified<DecidedValue>) {
        let proposal = self.propose(seeds, 900);
        let decided = self.decide(&proposal);
        (proposal, decided)
    }
}

fn envelope(value: &IdentifiedValue, payload: Vec<u8>) -> PayloadEnvelope {
    let (height, value_id) = (value.value().height, *value.id());
    PayloadEnvelope { height, value_id, payload: ByteList::new(payload).unwrap(), ..PayloadEnvelope::default() }
}

/// Bytes that differ at every offset and height.
fn payload_of(height: Height, bytes: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|i| (height << 40 | i).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes());
    words.take(bytes).collect()
}

/// A chain and a store of it in a directory that goes away.
pub(crate) struct Bench {
    pub(crate) directory: TempDir,
    pub(crate) chain: Chain,
    pub(crate) store: Store,
    config: StoreConfig,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(StoreConfig::default())
    }

    pub(crate) fn with(config: StoreConfig) -> Self {
        let directory = TempDir::new().unwrap();
        let chain = Chain::new();
        let store = Store::open(&directory.path().join("store.redb"), &chain.genesis, config.clone()).unwrap();
        Self { directory, chain, store, config }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("store.redb")
    }

    /// Decides the next height with blobs of these seeds and stores all of it.
    pub(crate) fn whole(&mut self, seeds: &[u64]) -> Proposal {
        let proposal = self.decided(seeds);
        self.store.insert(proposal.batch()).unwrap();
        proposal
    }

    /// Decides the next height with blobs of these seeds and stores its value only.
    pub(crate) fn decided(&mut self, seeds: &[u64]) -> Proposal {
        let (proposal, decided) = self.chain.next(seeds);
        self.store.mark_decided(&[decided]).unwrap();
        proposal
    }

    /// Imports everything that is available.
    pub(crate) fn import_all(&self) {
        let marks = self.store.watermarks();
        for height in marks.imported + 1..=marks.available {
            self.store.mark_imported(height, None).unwrap();
        }
    }

    /// Closes the store, does something to its file, and opens it again.
    pub(crate) fn reopen_after(self, change: impl FnOnce(&std::path::Path)) -> Self {
        let Self { directory, chain, store, config } = self;
        drop(store);
        let path = directory.path().join("store.redb");
        change(&path);
        let store = Store::open(&path, &chain.genesis, config.clone()).unwrap();
        Self { directory, chain, store, config }
    }
}

/// A moment, `seconds` after some other.
pub(crate) fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

/// Whether the watermarks are in order.
pub(crate) fn assert_in_order(store: &Store) {
    let marks = store.watermarks();
    assert!(
        marks.pruned <= marks.imported && marks.imported <= marks.available && marks.available <= marks.decided,
        "{marks:?}"
    );
}
