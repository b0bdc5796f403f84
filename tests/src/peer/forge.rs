//! Decided values that are not what the chain decided.

use lapis_node::devnet::keys::ValidatorKey;
use lapis_protocol_spec::{
    Bytes32, CommitCertificate, CommitSignature, DecidedValue, Height, IdentifiedValue, Item, Value,
    certificate::VoteKind,
};
use ssz_rs::List;
use std::sync::Arc;

use super::fault::ValueFault;
use crate::TestChain;

/// What a peer with `fault` sends instead of `items`.
pub(super) fn forge(fault: ValueFault, chain: &TestChain, items: &[Item]) -> Option<Vec<Item>> {
    let mut items = items.to_vec();
    match fault {
        ValueFault::Swapped | ValueFault::Gap if items.len() < 2 => return None,
        ValueFault::Swapped => items.swap(0, 1),
        ValueFault::Gap => drop(items.remove(1)),
        ValueFault::MoreThanAsked => items.push(items.last()?.clone()),
        _ => {
            let Some(Item::DecidedValue(first)) = items.first_mut() else { return None };
            **first = forged(fault, chain, first);
        }
    }
    Some(items)
}

fn forged(fault: ValueFault, chain: &TestChain, honest: &DecidedValue) -> DecidedValue {
    let DecidedValue { value, certificate } = honest.clone();
    let genesis_id = chain.spec().genesis_id();
    let members = chain.spec().members(value.height);
    let vote = |key: &ValidatorKey, genesis_id, kind| {
        key.sign(genesis_id, kind, value.height, certificate.round, certificate.value_id)
    };
    let key = |index: &usize| &chain.maker().keys()[*index];
    let signed = |keys: &[&ValidatorKey], genesis_id: Bytes32, kind| {
        signatures(keys.iter().map(|key| vote(key, genesis_id, kind)).collect())
    };
    let members: Vec<_> = members.iter().map(key).collect();
    let precommit = VoteKind::Precommit;
    let with = |signatures| DecidedValue {
        value: value.clone(),
        certificate: CommitCertificate { signatures, ..certificate.clone() },
    };
    match fault {
        ValueFault::Forged => DecidedValue { value: changed(&value), certificate },
        ValueFault::ForgedWithCertificate => {
            let value = changed(&value);
            DecidedValue { certificate: CommitCertificate { value_id: value.id(), ..certificate }, value }
        }
        ValueFault::BrokenLink => resigned(chain, Value { parent_value_id: Bytes32::from([9; 32]), ..value }),
        ValueFault::NoSignatures => with(signatures(Vec::new())),
        ValueFault::OneSignature => with(signed(&members[..1], genesis_id, precommit)),
        ValueFault::TwoThirds => with(signed(&two_thirds(chain, value.height), genesis_id, precommit)),
        ValueFault::WrongSignature => {
            let mut all: Vec<_> = certificate.signatures.iter().cloned().collect();
            all[0].signature.0[5] ^= 1;
            with(signatures(all))
        }
        ValueFault::DuplicateSigner => with(signed(&[&members[..1], &members].concat(), genesis_id, precommit)),
        ValueFault::UnknownSigner => {
            let stranger = ValidatorKey::from_secret([0x77; 32]);
            with(signed(&[members.as_slice(), &[&stranger]].concat(), genesis_id, precommit))
        }
        ValueFault::Prevotes => with(signed(&members, genesis_id, VoteKind::Prevote)),
        ValueFault::OtherChain => with(signed(&members, Bytes32::from([3; 32]), precommit)),
        ValueFault::OtherRound => {
            DecidedValue { certificate: CommitCertificate { round: certificate.round + 1, ..certificate }, value }
        }
        ValueFault::Swapped | ValueFault::Gap | ValueFault::MoreThanAsked => DecidedValue { value, certificate },
    }
}

/// A value that differs in what it commits to.
fn changed(value: &Value) -> Value {
    Value { payload_digest: Bytes32::from([1; 32]), ..value.clone() }
}

/// The value, decided by all its validators.
pub(super) fn resigned(chain: &TestChain, value: Value) -> DecidedValue {
    let members = chain.spec().members(value.height).to_vec();
    chain.maker().decided_by(&IdentifiedValue::new(Arc::new(value)), 0, &members).unwrap()
}

/// Members that have exactly two thirds of the power at `height`.
fn two_thirds(chain: &TestChain, height: Height) -> Vec<&ValidatorKey> {
    let total = chain.spec().validator_set(height).total_power();
    let mut left = total * 2 / 3;
    let mut chosen = Vec::new();
    for index in chain.spec().members(height) {
        let power = chain.spec().validators()[*index].power;
        if power <= left {
            left -= power;
            chosen.push(&chain.maker().keys()[*index]);
        }
    }
    assert!(total.is_multiple_of(3) && left == 0, "the powers of the chain add up to two thirds");
    chosen
}

fn signatures(all: Vec<CommitSignature>) -> List<CommitSignature, { lapis_protocol_spec::MAX_VALIDATORS }> {
    List::try_from(all).unwrap()
}
