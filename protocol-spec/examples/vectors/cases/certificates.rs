//! Certificates that hold and certificates that do not.

use lapis_protocol_spec::{
    Bytes32, ChainLink, CommitCertificate, DecidedValue, ValidatorSet, Value,
    certificate::{VoteKind, VoteSigningData},
    encode,
};
use serde_json::{Value as Json, json};

use super::{
    Failure, hex,
    objects::{self, Member},
};

/// A chain of four validators of powers 10, 20, 30 and 40, before its first height.
struct Chain {
    members: Vec<Member>,
    set: ValidatorSet,
    genesis_id: Bytes32,
    tip: ChainLink,
    value: Value,
}

const MAX_BLOBS: u64 = 6;
const ROUND: u64 = 3;

pub(crate) fn file() -> Result<Json, Failure> {
    let members = objects::members(&[(1, 10), (2, 20), (3, 30), (4, 40)]);
    let set = objects::set_of(&members)?;
    let genesis = objects::genesis(set.clone())?;
    let tip = ChainLink::genesis(&genesis);
    let value = objects::successor(&tip, &set, 2)?;
    let chain = Chain { members, set, genesis_id: genesis.id(), tip, value };
    let outsider = Member::new(9, 1);
    let cases = [by_power(&chain)?, by_signer(&chain, &outsider)?, by_message(&chain)?, by_link(&chain)?].concat();
    Ok(json!({
        "genesis": { "ssz": hex(encode(&genesis)), "id": hex(chain.genesis_id) },
        "max_blobs_per_block": MAX_BLOBS,
        "keys": chain.members.iter().chain([&outsider]).map(key).collect::<Vec<_>>(),
        "signing": signing(&chain),
        "cases": cases,
        "chain": handover(&chain)?,
    }))
}

fn key(member: &Member) -> Json {
    json!({
        "secret_key": hex([member.seed; 32]),
        "public_key": hex(member.validator.public_key),
        "address": hex(member.address()),
        "power": member.validator.power,
    })
}

fn signing(chain: &Chain) -> Vec<Json> {
    let value_id = chain.value.id();
    let case = |name: &str, kind: VoteKind| {
        let bytes = VoteSigningData::signing_bytes(chain.genesis_id, kind, 1, ROUND, value_id);
        let signatures: Vec<_> = chain.members.iter().map(|member| member.sign(&bytes)).collect();
        let signatures = signatures.iter().map(|s| json!({ "address": hex(s.address), "signature": hex(s.signature) }));
        json!({
            "kind": name,
            "height": 1,
            "round": ROUND,
            "value_id": hex(value_id),
            "signing_bytes": hex(bytes),
            "signatures": signatures.collect::<Vec<_>>(),
        })
    };
    vec![case("prevote", VoteKind::Prevote), case("precommit", VoteKind::Precommit)]
}

impl Chain {
    /// The members with these powers.
    fn with_powers<'a>(&'a self, powers: &'a [u64]) -> impl Iterator<Item = &'a Member> {
        self.members.iter().filter(|member| powers.contains(&member.validator.power))
    }

    fn decide(&self, powers: &[u64]) -> Result<DecidedValue, Failure> {
        objects::decide(self.genesis_id, self.value.clone(), ROUND, self.with_powers(powers))
    }

    /// The value with signatures of everybody over `message`.
    fn signed_over(&self, message: &[u8]) -> Result<DecidedValue, Failure> {
        let signatures: Vec<_> = self.members.iter().map(|member| member.sign(message)).collect();
        self.with_certificate(|certificate| {
            certificate.signatures = signatures.try_into().unwrap_or_default();
        })
    }

    /// The fully signed value with a changed certificate.
    fn with_certificate(&self, change: impl FnOnce(&mut CommitCertificate)) -> Result<DecidedValue, Failure> {
        let mut decided = self.decide(&[10, 20, 30, 40])?;
        change(&mut decided.certificate);
        Ok(decided)
    }

    /// A changed value, fully signed.
    fn with_value(&self, change: impl FnOnce(&mut Value)) -> Result<DecidedValue, Failure> {
        let mut value = self.value.clone();
        change(&mut value);
        objects::decide(self.genesis_id, value, ROUND, &self.members)
    }

    fn case(&self, name: &str, decided: &DecidedValue, expected: &str) -> Json {
        case(name, &self.tip, &self.set, decided, expected)
    }
}

fn case(name: &str, tip: &ChainLink, signers: &ValidatorSet, decided: &DecidedValue, expected: &str) -> Json {
    json!({
        "name": name,
        "tip": {
            "height": tip.height,
            "value_id": hex(tip.value_id),
            "next_validators_root": hex(tip.next_validators_root),
            "block_hash": hex(tip.block_hash),
            "timestamp": tip.timestamp,
        },
        "signers": hex(encode(signers)),
        "decided_value": hex(encode(decided)),
        "expected": expected,
    })
}

fn by_power(chain: &Chain) -> Result<Vec<Json>, Failure> {
    // Powers that sum to 60, so that 40 are two thirds exactly.
    let thirds = objects::members(&[(1, 20), (2, 20), (3, 19), (4, 1)]);
    let set = objects::set_of(&thirds)?;
    let tip = ChainLink { next_validators_root: set.root(), ..chain.tip };
    let value = objects::successor(&tip, &set, 0)?;
    let signed_by = |seeds: &[u8]| {
        let signers = thirds.iter().filter(|member| seeds.contains(&member.seed));
        objects::decide(chain.genesis_id, value.clone(), ROUND, signers)
    };
    Ok(vec![
        chain.case("everybody signed", &chain.decide(&[10, 20, 30, 40])?, "valid"),
        chain.case("70 of 100", &chain.decide(&[30, 40])?, "valid"),
        chain.case("60 of 100", &chain.decide(&[20, 40])?, "Power"),
        chain.case("nobody signed", &chain.decide(&[])?, "Power"),
        case("39 of 60: below two thirds", &tip, &set, &signed_by(&[1, 3])?, "Power"),
        case("40 of 60: two thirds exactly", &tip, &set, &signed_by(&[1, 2])?, "Power"),
        case("41 of 60: just above", &tip, &set, &signed_by(&[1, 2, 4])?, "valid"),
    ])
}

fn by_signer(chain: &Chain, outsider: &Member) -> Result<Vec<Json>, Failure> {
    let message = VoteSigningData::signing_bytes(chain.genesis_id, VoteKind::Precommit, 1, ROUND, chain.value.id());
    let first = chain.members.first().ok_or("no member")?;
    let twice = chain.with_certificate(|certificate| certificate.signatures.push(first.sign(&message)))?;
    let stranger = chain.with_certificate(|certificate| certificate.signatures.push(outsider.sign(&message)))?;
    let damaged = chain.with_certificate(|certificate| {
        for last in certificate.signatures.iter_mut().skip(3) {
            last.signature.0.iter_mut().take(1).for_each(|byte| *byte ^= 1);
        }
    })?;
    let reversed = chain.with_certificate(|certificate| {
        let signatures: Vec<_> = certificate.signatures.iter().rev().cloned().collect();
        certificate.signatures = signatures.try_into().unwrap_or_default();
    })?;
    Ok(vec![
        chain.case("the signatures in another order", &reversed, "valid"),
        chain.case("a signer twice", &twice, "DuplicateSigner"),
        chain.case("a signer who is not in the set", &stranger, "UnknownSigner"),
        chain.case("one damaged signature beside enough good ones", &damaged, "Signature"),
    ])
}

fn by_message(chain: &Chain) -> Result<Vec<Json>, Failure> {
    let (id, other) = (chain.value.id(), Bytes32::from([0x0d; 32]));
    let message = |genesis_id, kind, height, round, value_id| {
        chain.signed_over(&VoteSigningData::signing_bytes(genesis_id, kind, height, round, value_id))
    };
    let precommit = VoteKind::Precommit;
    Ok(vec![
        chain.case("signed over another height", &message(chain.genesis_id, precommit, 2, ROUND, id)?, "Signature"),
        chain.case("signed over another round", &message(chain.genesis_id, precommit, 1, ROUND + 1, id)?, "Signature"),
        chain.case("signed over another value", &message(chain.genesis_id, precommit, 1, ROUND, other)?, "Signature"),
        chain.case("signed as prevotes", &message(chain.genesis_id, VoteKind::Prevote, 1, ROUND, id)?, "Signature"),
        chain.case("signed on another chain", &message(other, precommit, 1, ROUND, id)?, "Signature"),
    ])
}

fn by_link(chain: &Chain) -> Result<Vec<Json>, Failure> {
    let usurpers = objects::members(&[(5, 1), (6, 1)]);
    let usurping = objects::set_of(&usurpers)?;
    let usurped = Value { validators_root: usurping.root(), ..chain.value.clone() };
    let usurped = objects::decide(chain.genesis_id, usurped, ROUND, &usurpers)?;
    let mut tampered = chain.decide(&[10, 20, 30, 40])?;
    tampered.value.payload_size += 1;
    let reversed: Vec<_> = chain.set.validators.iter().rev().cloned().collect();
    let unsorted = ValidatorSet { validators: reversed.try_into().map_err(|_| "too many")? };
    let to_unsorted = ChainLink { next_validators_root: unsorted.root(), ..chain.tip };
    let of_unsorted = objects::successor(&to_unsorted, &chain.set, 0)?;
    let of_unsorted = objects::decide(chain.genesis_id, of_unsorted, ROUND, &chain.members)?;
    let seven = (0..7).map(objects::commitment).collect::<Vec<_>>();
    let seven = chain.with_value(|value| value.blob_kzg_commitments = seven.try_into().unwrap_or_default())?;
    let parent_time = chain.tip.timestamp;
    Ok(vec![
        chain.case("the value was changed after signing", &tampered, "CertificateValue"),
        chain.case(
            "the certificate names another height",
            &chain.with_certificate(|certificate| certificate.height = 2)?,
            "CertificateHeight",
        ),
        chain.case("a gap", &chain.with_value(|value| value.height = 2)?, "Height"),
        chain.case("height zero", &chain.with_value(|value| value.height = 0)?, "Height"),
        chain.case("another parent", &chain.with_value(|value| value.parent_value_id.0 = [1; 32])?, "ParentValue"),
        chain.case(
            "another parent block",
            &chain.with_value(|value| value.parent_block_hash.0 = [1; 32])?,
            "ParentBlock",
        ),
        chain.case("time stands still", &chain.with_value(|value| value.timestamp = parent_time)?, "Timestamp"),
        chain.case("seven blobs where six are allowed", &seven, "TooManyBlobs"),
        case("a set that the tip does not name", &chain.tip, &usurping, &usurped, "ValidatorsRoot"),
        case("another set at hand", &chain.tip, &usurping, &chain.decide(&[10, 20, 30, 40])?, "OtherSet"),
        case("a set that is not sorted", &to_unsorted, &unsorted, &of_unsorted, "IllegalSet"),
    ])
}

/// Three heights: the set changes after the first and back after the second. All are valid one after the other.
fn handover(chain: &Chain) -> Result<Vec<Json>, Failure> {
    let others = objects::members(&[(5, 1), (6, 1)]);
    let other = objects::set_of(&others)?;
    let mut tip = chain.tip;
    let mut cases = Vec::new();
    for (name, signers, set, next) in [
        ("the old set hands over", &chain.members, &chain.set, &other),
        ("the new set signs and hands back", &others, &other, &chain.set),
        ("the old set signs again", &chain.members, &chain.set, &chain.set),
    ] {
        let decided = objects::decide(chain.genesis_id, objects::successor(&tip, next, 1)?, ROUND, signers)?;
        cases.push(case(name, &tip, set, &decided, "valid"));
        tip = ChainLink::after(&decided.value, decided.value.id());
    }
    Ok(cases)
}
