#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::*;
use crate::{
    Blob, ByteList, Bytes48, PayloadFault, Value,
    fixtures::{SIDECARS, value_with_blobs},
    payload::requests_hash,
};

/// `SIDECARS[which]`, claimed to be blob `index` of `height`.
fn at(height: Height, index: u64, which: usize) -> BlobSidecar {
    BlobSidecar { height, index, ..SIDECARS[which].clone() }
}

/// Heights 5 (blobs 0, 1, 2), 6 (none), 7 (blobs 3, 4) and 8 (blobs 5).
fn range() -> RangeBlobs {
    let values = [(5, &[0, 1, 2][..]), (6, &[]), (7, &[3, 4]), (8, &[5])];
    RangeBlobs::new(values.map(|(height, blobs)| value_with_blobs(height, blobs)))
}

/// Feeds all but the last of `chunks`, which must be accepted, and gives what became of the last.
fn after(mut matcher: RangeBlobs, mut chunks: Vec<BlobSidecar>) -> Result<Matched<BlobSidecar>, MatchFault> {
    let last = chunks.pop().unwrap();
    chunks.into_iter().for_each(|chunk| drop(matcher.accept(chunk).unwrap()));
    matcher.accept(last)
}

#[test]
fn range_in_full() {
    let mut matcher = range();
    let chunks = [(5, 0, 0), (5, 1, 1), (5, 2, 2), (7, 0, 3), (7, 1, 4), (8, 0, 5)];
    for ((height, index, which), boundary) in chunks.into_iter().zip([false, false, true, false, true, true]) {
        let matched = matcher.accept(at(height, index, which)).unwrap();
        assert_eq!((matched.height, matched.index), (height, index));
        assert_eq!(matched.value_id(), matched.value().id());
        assert_eq!(matched.value().value().height, height);
        assert_eq!(matcher.at_height_boundary(), boundary);
    }
}

#[test]
fn fewer_heights_than_asked_for() {
    let mut matcher = range();
    assert!(matcher.at_height_boundary(), "no chunk at all is a legal answer");
    matcher.accept(at(7, 0, 3)).unwrap();
    matcher.accept(at(7, 1, 4)).unwrap();
    assert!(matcher.at_height_boundary());
}

#[test]
fn half_a_height_and_then_the_end() {
    let mut matcher = range();
    matcher.accept(at(5, 0, 0)).unwrap();
    assert!(!matcher.at_height_boundary());
}

#[test]
fn half_a_height_and_then_the_next() {
    let order = MatchFault::Order { height: 7, index: 0 };
    assert_eq!(after(range(), vec![at(5, 0, 0), at(5, 1, 1), at(7, 0, 3)]).unwrap_err(), order);
}

#[test]
fn height_below_the_range() {
    assert_eq!(after(range(), vec![at(4, 0, 0)]).unwrap_err(), MatchFault::Height(4));
    assert_eq!(after(range(), vec![at(0, 0, 0)]).unwrap_err(), MatchFault::Height(0));
}

#[test]
fn height_above_the_range() {
    assert_eq!(after(range(), vec![at(9, 0, 0)]).unwrap_err(), MatchFault::Height(9));
    assert_eq!(after(range(), vec![at(8, 0, 5), at(u64::MAX, 0, 0)]).unwrap_err(), MatchFault::Height(u64::MAX));
}

#[test]
fn blob_of_a_height_without_blobs() {
    assert_eq!(after(range(), vec![at(6, 0, 0)]).unwrap_err(), MatchFault::Height(6));
}

#[test]
fn descending_heights() {
    let order = MatchFault::Order { height: 7, index: 0 };
    assert_eq!(after(range(), vec![at(8, 0, 5), at(7, 0, 3)]).unwrap_err(), order);
}

#[test]
fn duplicate_height_and_index() {
    let order = MatchFault::Order { height: 5, index: 0 };
    assert_eq!(after(range(), vec![at(5, 0, 0), at(5, 0, 0)]).unwrap_err(), order);
    let order = MatchFault::Order { height: 8, index: 0 };
    assert_eq!(after(range(), vec![at(8, 0, 5), at(8, 0, 5)]).unwrap_err(), order);
}

#[test]
fn index_gap() {
    let order = MatchFault::Order { height: 5, index: 2 };
    assert_eq!(after(range(), vec![at(5, 0, 0), at(5, 2, 2)]).unwrap_err(), order);
}

#[test]
fn first_index_is_not_zero() {
    let order = MatchFault::Order { height: 5, index: 1 };
    assert_eq!(after(range(), vec![at(5, 1, 1)]).unwrap_err(), order);
}

#[test]
fn index_at_or_above_the_count() {
    for index in [3, u64::MAX] {
        let fault = MatchFault::Index { height: 5, index };
        assert_eq!(after(range(), vec![at(5, index, 0)]).unwrap_err(), fault);
    }
    let whole = vec![at(5, 0, 0), at(5, 1, 1), at(5, 2, 2), at(5, 3, 3)];
    assert_eq!(after(range(), whole).unwrap_err(), MatchFault::Index { height: 5, index: 3 });
}

#[test]
fn commitment_is_not_the_certified_one() {
    let fault = MatchFault::Commitment { height: 5, index: 0 };
    assert_eq!(after(range(), vec![at(5, 0, 7)]).unwrap_err(), fault);
    // Certified, but for another index.
    assert_eq!(after(range(), vec![at(5, 0, 1)]).unwrap_err(), fault);
}

#[test]
fn more_than_asked_for() {
    let order = MatchFault::Order { height: 8, index: 0 };
    let mut chunks = vec![at(5, 0, 0), at(5, 1, 1), at(5, 2, 2), at(7, 0, 3), at(7, 1, 4), at(8, 0, 5)];
    chunks.push(at(8, 0, 5));
    assert_eq!(after(range(), chunks).unwrap_err(), order);
}

#[test]
fn u4_empty_sidecar_list_with_commitments_completes_nothing() {
    // An empty answer is not wrong, but it leaves every blob wanted: only chunks become `Matched`.
    let mut matcher = RootBlobs::new();
    matcher.want(&value_with_blobs(5, &[0, 1]), 0).unwrap();
    assert_eq!(matcher.outstanding(), 1);
}

#[test]
fn same_hash_twice_in_a_height_is_matched_at_both_places() {
    let mut matcher = RangeBlobs::new([value_with_blobs(5, &[0, 0])]);
    assert_eq!(matcher.accept(at(5, 0, 0)).unwrap().index, 0);
    assert_eq!(matcher.accept(at(5, 1, 0)).unwrap().index, 1);
}

#[test]
fn by_root_in_any_order_and_at_our_own_place() {
    let value = value_with_blobs(5, &[0, 1, 2]);
    let mut matcher = RootBlobs::new();
    for index in [0, 2] {
        let hash = matcher.want(&value, index).unwrap();
        assert_eq!(hash, versioned_hash(value.value().commitment(index).unwrap()));
    }
    // The responder holds the blobs at places of its own.
    let matched = matcher.accept(at(99, 7, 2)).unwrap();
    assert_eq!((matched.height, matched.index, matched.value_id()), (5, 2, value.id()));
    let matched = matcher.accept(at(1, 1, 0)).unwrap();
    assert_eq!((matched.height, matched.index), (5, 0));
    assert_eq!(matcher.outstanding(), 0);
}

#[test]
fn by_root_of_an_index_that_the_value_does_not_have() {
    let mut matcher = RootBlobs::new();
    assert_eq!(matcher.want(&value_with_blobs(5, &[0]), 1), None);
    assert_eq!(matcher.want(&value_with_blobs(5, &[0]), u64::MAX), None);
    assert_eq!(matcher.outstanding(), 0);
}

#[test]
fn unrequested_hash() {
    let mut matcher = RootBlobs::new();
    matcher.want(&value_with_blobs(5, &[0, 1]), 0).unwrap();
    let fault = matcher.accept(at(5, 1, 1)).unwrap_err();
    assert_eq!(fault, MatchFault::Hash(SIDECARS[1].versioned_hash()));
}

#[test]
fn hash_answered_twice() {
    let mut matcher = RootBlobs::new();
    matcher.want(&value_with_blobs(5, &[0, 1]), 0).unwrap();
    matcher.accept(at(5, 0, 0)).unwrap();
    assert_eq!(matcher.accept(at(5, 0, 0)).unwrap_err(), MatchFault::Hash(SIDECARS[0].versioned_hash()));
}

#[test]
fn hash_wanted_twice_in_a_height_and_in_two_heights_is_answered_once() {
    let mut matcher = RootBlobs::new();
    let twice = value_with_blobs(5, &[0, 0]);
    let hashes = [matcher.want(&twice, 0), matcher.want(&twice, 1), matcher.want(&value_with_blobs(6, &[0]), 0)];
    assert_eq!(hashes, [Some(SIDECARS[0].versioned_hash()); 3]);
    assert_eq!(matcher.outstanding(), 1);
    let matched = matcher.accept(at(6, 0, 0)).unwrap();
    assert_eq!((matched.height, matched.index), (5, 0), "the first place wanted");
    assert_eq!(matcher.accept(at(6, 0, 0)).unwrap_err(), MatchFault::Hash(SIDECARS[0].versioned_hash()));
}

#[test]
fn commitment_of_a_blob_that_was_not_checked_yet_is_only_matched() {
    // Matching never looks at the blob: a wrong one is found by the proof.
    let mut matcher = RootBlobs::new();
    matcher.want(&value_with_blobs(5, &[0]), 0).unwrap();
    let wrong = BlobSidecar { blob: Blob::default(), kzg_proof: Bytes48::ZERO, ..at(5, 0, 0) };
    matcher.accept(wrong).unwrap();
}

/// A value of `height` with the payload `[height; 100]` and one execution request, and the envelope that fits it.
fn with_payload(height: u8) -> (IdentifiedValue, PayloadEnvelope) {
    let (payload, request) = (vec![height; 100], vec![1, height]);
    let value = Value {
        height: height.into(),
        payload_digest: <[u8; 32]>::from(Sha256::digest(&payload)).into(),
        payload_size: 100,
        requests_hash: requests_hash([&request[..]]),
        ..Value::default()
    };
    let value = IdentifiedValue::new(Arc::new(value));
    let envelope = PayloadEnvelope {
        height: height.into(),
        value_id: *value.id(),
        payload: ByteList::new(payload).unwrap(),
        execution_requests: vec![ByteList::new(request).unwrap()].try_into().unwrap(),
    };
    (value, envelope)
}

fn wanted(heights: &[u8]) -> Vec<IdentifiedValue> {
    heights.iter().map(|height| with_payload(*height).0).collect()
}

#[test]
fn payloads_by_range_and_by_root() {
    let mut by_range = Payloads::by_range(wanted(&[5, 6, 7]));
    for height in [5, 7] {
        let verified = by_range.accept(with_payload(height).1).unwrap().verify().unwrap();
        assert_eq!((verified.height, verified.value_id()), (u64::from(height), with_payload(height).0.id()));
    }
    let mut by_root = Payloads::by_root(wanted(&[5, 6, 7]));
    for height in [7, 5, 6] {
        by_root.accept(with_payload(height).1).unwrap().verify().unwrap();
    }
}

#[test]
fn payloads_descending() {
    let mut matcher = Payloads::by_range(wanted(&[5, 6]));
    matcher.accept(with_payload(6).1).unwrap();
    assert_eq!(matcher.accept(with_payload(5).1).unwrap_err(), MatchFault::Order { height: 5, index: 0 });
}

#[test]
fn payload_twice() {
    let mut by_range = Payloads::by_range(wanted(&[5, 6]));
    by_range.accept(with_payload(5).1).unwrap();
    assert_eq!(by_range.accept(with_payload(5).1).unwrap_err(), MatchFault::Order { height: 5, index: 0 });
    let mut by_root = Payloads::by_root(wanted(&[5, 6]));
    by_root.accept(with_payload(5).1).unwrap();
    assert_eq!(by_root.accept(with_payload(5).1).unwrap_err(), MatchFault::Value(*with_payload(5).0.id()));
}

#[test]
fn payload_of_a_value_that_was_not_asked_for() {
    let unasked = with_payload(9).1;
    for mut matcher in [Payloads::by_range(wanted(&[5])), Payloads::by_root(wanted(&[5]))] {
        assert_eq!(matcher.accept(unasked.clone()).unwrap_err(), MatchFault::Value(unasked.value_id));
    }
}

#[test]
fn payload_under_another_height() {
    for mut matcher in [Payloads::by_range(wanted(&[5, 6])), Payloads::by_root(wanted(&[5, 6]))] {
        let envelope = PayloadEnvelope { height: 6, ..with_payload(5).1 };
        assert_eq!(matcher.accept(envelope).unwrap_err(), MatchFault::Height(6));
    }
}

/// What becomes of the envelope of height 5 after `change`, which leaves height and value id alone.
fn changed_payload(change: impl FnOnce(&mut PayloadEnvelope)) -> PayloadFault {
    let (value, mut envelope) = with_payload(5);
    change(&mut envelope);
    Matched::payload(envelope, &value).unwrap().verify().unwrap_err()
}

#[test]
fn u2_payload_not_bound_to_the_certified_value() {
    // Right bytes, but of another height.
    let other = with_payload(6).1.payload;
    assert_eq!(changed_payload(|envelope| envelope.payload = other), PayloadFault::Digest);
}

#[test]
fn payload_of_another_size() {
    for found in [0, 99, 101] {
        let payload = ByteList::new(vec![5; found]).unwrap();
        let fault = changed_payload(|envelope| envelope.payload = payload);
        assert_eq!(fault, PayloadFault::Size { found: found as u64, expected: 100 });
    }
}

#[test]
fn execution_requests_are_not_the_certified_ones() {
    let missing = changed_payload(|envelope| envelope.execution_requests = Vec::new().try_into().unwrap());
    assert_eq!(missing, PayloadFault::RequestsHash);
    let requests = [[1, 5], [2, 5]].map(|request| ByteList::new(request.to_vec()).unwrap());
    let added = changed_payload(|envelope| envelope.execution_requests = requests.to_vec().try_into().unwrap());
    assert_eq!(added, PayloadFault::RequestsHash);
}

#[test]
fn execution_request_without_data_is_certified_by_nothing() {
    for filler in [&[][..], &[2]] {
        let requests = [&[1, 5][..], filler].map(|request| ByteList::new(request.to_vec()).unwrap());
        let fault = changed_payload(|envelope| envelope.execution_requests = requests.to_vec().try_into().unwrap());
        assert_eq!(fault, PayloadFault::EmptyRequest(1));
    }
}

fn decided(height: Height) -> DecidedValue {
    DecidedValue { value: Value { height, ..Value::default() }, ..DecidedValue::default() }
}

#[test]
fn decided_values_are_contiguous_from_the_first_asked_for() {
    let mut matcher = DecidedValues::new(5..8);
    for height in 5..8 {
        matcher.accept(&decided(height)).unwrap();
    }
    assert_eq!(matcher.accept(&decided(8)), Err(MatchFault::Height(8)));
    assert_eq!(matcher.accept(&decided(7)), Err(MatchFault::Order { height: 7, index: 0 }));
}

#[test]
fn decided_value_outside_the_range() {
    for height in [0, 4, 8, u64::MAX] {
        assert_eq!(DecidedValues::new(5..8).accept(&decided(height)), Err(MatchFault::Height(height)));
    }
    assert_eq!(DecidedValues::new(5..5).accept(&decided(5)), Err(MatchFault::Height(5)));
}

#[test]
fn decided_values_with_a_gap_a_duplicate_or_descending() {
    assert_eq!(DecidedValues::new(5..8).accept(&decided(6)), Err(MatchFault::Order { height: 6, index: 0 }));
    let mut matcher = DecidedValues::new(5..8);
    matcher.accept(&decided(5)).unwrap();
    matcher.accept(&decided(6)).unwrap();
    for height in [5, 6] {
        assert_eq!(matcher.accept(&decided(height)), Err(MatchFault::Order { height, index: 0 }));
    }
    matcher.accept(&decided(7)).unwrap();
}
