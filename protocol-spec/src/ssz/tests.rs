#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;
use proptest::{prelude::*, sample::Index};

use super::*;
use crate::{
    BlobSidecar, ByteList, CommitCertificate, CommitSignature, DecidedValue, Genesis, HeightRange, Item,
    PayloadEnvelope, Request, Status, Validator, ValidatorSet, Value,
    certificate::VoteSigningData,
    fixtures::{Committee, genesis},
};

/// Whatever is accepted must encode to the bytes that it came from.
fn strict<T: SimpleSerialize>(bytes: &[u8]) -> Result<(), TestCaseError> {
    if let Ok(decoded) = decode::<T>(bytes) {
        prop_assert_eq!(encode(&decoded), bytes);
    }
    Ok(())
}

/// Decodes `bytes` as every container, request and item.
fn strict_everywhere(bytes: &[u8]) -> Result<(), TestCaseError> {
    strict::<Value>(bytes)?;
    strict::<CommitSignature>(bytes)?;
    strict::<CommitCertificate>(bytes)?;
    strict::<DecidedValue>(bytes)?;
    strict::<VoteSigningData>(bytes)?;
    strict::<Validator>(bytes)?;
    strict::<ValidatorSet>(bytes)?;
    strict::<Genesis>(bytes)?;
    strict::<Status>(bytes)?;
    strict::<HeightRange>(bytes)?;
    strict::<PayloadEnvelope>(bytes)?;
    strict::<BlobSidecar>(bytes)?;
    let in_place = BlobSidecar::from_ssz(&Bytes::copy_from_slice(bytes));
    prop_assert_eq!(in_place.ok(), decode::<BlobSidecar>(bytes).ok());
    for method in Method::ALL {
        if let Ok(request) = Request::decode(method, bytes) {
            prop_assert_eq!(request.method(), method);
            prop_assert_eq!(request.encode(), bytes);
        }
        drop(Item::decode(method, &Bytes::copy_from_slice(bytes)));
    }
    Ok(())
}

fn value(blobs: usize) -> Value {
    Value { height: 3, blob_kzg_commitments: vec![[7; 48].into(); blobs].try_into().unwrap(), ..Value::default() }
}

fn certificate(signatures: usize) -> CommitCertificate {
    let signatures = vec![CommitSignature::default(); signatures].try_into().unwrap();
    CommitCertificate { height: 3, signatures, ..CommitCertificate::default() }
}

fn envelope(requests: &[&[u8]]) -> PayloadEnvelope {
    let requests: Vec<_> = requests.iter().map(|request| ByteList::new(request.to_vec()).unwrap()).collect();
    PayloadEnvelope {
        height: 3,
        payload: ByteList::new(vec![9; 70]).unwrap(),
        execution_requests: requests.try_into().unwrap(),
        ..PayloadEnvelope::default()
    }
}

/// Valid encodings of all containers that have offsets, and of some that have none.
fn samples() -> Vec<Vec<u8>> {
    let committee = Committee::equal(3);
    vec![
        encode(&value(0)),
        encode(&value(3)),
        encode(&certificate(2)),
        encode(&DecidedValue { value: value(2), certificate: certificate(2) }),
        encode(&committee.set),
        encode(&genesis(&committee.set)),
        encode(&envelope(&[])),
        encode(&envelope(&[&[1, 2, 3], &[], &[4]])),
        encode(&Status::default()),
        encode(&VoteSigningData::default()),
    ]
}

#[derive(Clone, Debug)]
enum Mutation {
    Byte(Index, u8),
    /// Four bytes: what an offset is.
    Word(Index, u32),
    Truncate(Index),
    Append(Vec<u8>),
    Remove(Index),
}

fn any_mutation() -> impl Strategy<Value = Mutation> {
    prop_oneof![
        any::<(Index, u8)>().prop_map(|(at, byte)| Mutation::Byte(at, byte)),
        (any::<Index>(), prop_oneof![0..400_u32, any::<u32>()]).prop_map(|(at, word)| Mutation::Word(at, word)),
        any::<Index>().prop_map(Mutation::Truncate),
        prop::collection::vec(any::<u8>(), 1..64).prop_map(Mutation::Append),
        any::<Index>().prop_map(Mutation::Remove),
    ]
}

fn mutate(bytes: &mut Vec<u8>, mutation: Mutation) {
    let at = |index: Index, bytes: &[u8]| index.index(bytes.len() + 1);
    match mutation {
        Mutation::Byte(index, byte) => {
            let position = at(index, bytes);
            bytes.get_mut(position).into_iter().for_each(|slot| *slot = byte);
        }
        Mutation::Word(index, word) => {
            let position = at(index, bytes) / 4 * 4;
            let slots = bytes.iter_mut().skip(position);
            slots.zip(word.to_le_bytes()).for_each(|(slot, byte)| *slot = byte);
        }
        Mutation::Truncate(index) => bytes.truncate(at(index, bytes)),
        Mutation::Append(tail) => bytes.extend(tail),
        Mutation::Remove(index) => {
            let position = at(index, bytes);
            if position < bytes.len() {
                bytes.remove(position);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn arbitrary_bytes_are_refused_or_canonical(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        strict_everywhere(&bytes)?;
    }

    #[test]
    fn mutated_encodings_are_refused_or_canonical(
        sample in any::<Index>(),
        mutations in prop::collection::vec(any_mutation(), 1..4),
    ) {
        let mut bytes = sample.get(&samples()).clone();
        mutations.into_iter().for_each(|mutation| mutate(&mut bytes, mutation));
        strict_everywhere(&bytes)?;
    }

    #[test]
    fn every_value_of_every_word_position_is_refused_or_canonical(sample in any::<Index>(), word in 0..600_u32) {
        let original = sample.get(&samples()).clone();
        for position in (0..original.len().saturating_sub(3)).step_by(4) {
            let mut bytes = original.clone();
            bytes[position..position + 4].copy_from_slice(&word.to_le_bytes());
            strict_everywhere(&bytes)?;
        }
    }
}

#[test]
fn samples_decode_to_themselves() {
    fn check<T: SimpleSerialize + PartialEq + std::fmt::Debug>(object: &T) {
        assert_eq!(&decode::<T>(&encode(object)).unwrap(), object);
    }
    let committee = Committee::equal(3);
    check(&value(3));
    check(&certificate(2));
    check(&DecidedValue { value: value(2), certificate: certificate(2) });
    check(&committee.set);
    check(&genesis(&committee.set));
    check(&envelope(&[&[1, 2, 3], &[], &[4]]));
    check(&Status { decided_height: 5, ..Status::default() });
    check(&HeightRange::new(1, 2));
    check(&committee.set.validators[0]);
    check(&CommitSignature::default());
    check(&VoteSigningData::default());
}

#[test]
fn a_method_without_items_has_none() {
    let error = Item::decode(Method::Goodbye, &Bytes::new()).unwrap_err();
    assert!(matches!(error, DecodeError::NoItems(Method::Goodbye)));
    assert_eq!(error.to_string(), "goodbye is not answered with items");
}
