//! Decided values that are not what the chain decided.

use std::sync::Arc;

use lapis_node::devnet::keys::ValidatorKey;
use lapis_protocol_spec::{
    Bytes32, CommitCertificate, CommitSignature, DecidedValue, Height, IdentifiedValue, Item, Value,
    certificate::VoteKind,
};
use ssz_rs::List;

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
    match fault {
        ValueFault::Forged => DecidedValue { value: changed(&value), certificate },
        ValueFault::ForgedWithCertificate => {
            let value = changed(&value);
            DecidedValue { certificate: CommitCertificate { value_id: value.id(), ..certificate }, value }
        }
        ValueFault::BrokenLink => decided(chain, Value { parent_value_id: Bytes32::from([9; 32]), ..value }),
        ValueFault::OtherRound => {
            DecidedValue { certificate: CommitCertificate { round: certificate.round + 1, ..certificate }, value }
        }
        _ => {
            let signatures = List::try_from(signatures(fault, chain, &certificate)).unwrap();
            DecidedValue { value, certificate: CommitCertificate { signatures, ..certificate } }
        }
    }
}

/// Signatures in place of those of `certificate`.
fn signatures(fault: ValueFault, chain: &TestChain, certificate: &CommitCertificate) -> Vec<CommitSignature> {
    let genesis_id = chain.spec().genesis_id();
    let members = chain.spec().members(certificate.height);
    let members: Vec<_> = members.iter().map(|index| &chain.maker().keys()[*index]).collect();
    let stranger = ValidatorKey::from_secret([0x77; 32]);
    let sign = |keys: &[&ValidatorKey], genesis_id, kind| -> Vec<_> {
        let CommitCertificate { height, round, value_id, .. } = *certificate;
        keys.iter().map(|key| key.sign(genesis_id, kind, height, round, value_id)).collect()
    };
    let precommits = |keys: &[&ValidatorKey]| sign(keys, genesis_id, VoteKind::Precommit);
    match fault {
        ValueFault::NoSignatures => Vec::new(),
        ValueFault::OneSignature => precommits(&members[..1]),
        ValueFault::TwoThirds => precommits(&two_thirds(chain, certificate.height)),
        ValueFault::DuplicateSigner => precommits(&[&members[..1], &members].concat()),
        ValueFault::UnknownSigner => precommits(&[members.as_slice(), &[&stranger]].concat()),
        ValueFault::Prevotes => sign(&members, genesis_id, VoteKind::Prevote),
        ValueFault::OtherChain => sign(&members, Bytes32::from([3; 32]), VoteKind::Precommit),
        ValueFault::WrongSignature => {
            let mut all: Vec<_> = certificate.signatures.iter().cloned().collect();
            all[0].signature.0[5] ^= 1;
            all
        }
        ValueFault::Forged
        | ValueFault::ForgedWithCertificate
        | ValueFault::BrokenLink
        | ValueFault::OtherRound
        | ValueFault::Swapped
        | ValueFault::Gap
        | ValueFault::MoreThanAsked => certificate.signatures.to_vec(),
    }
}

/// A value that differs in what it commits to.
fn changed(value: &Value) -> Value {
    Value { payload_digest: Bytes32::from([1; 32]), ..value.clone() }
}

/// The value, signed by all its validators.
fn decided(chain: &TestChain, value: Value) -> DecidedValue {
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
