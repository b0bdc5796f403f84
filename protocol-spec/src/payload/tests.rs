#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;

#[test]
fn hash_of_no_requests_is_the_sha256_of_nothing() {
    let nothing = Bytes32::from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855").unwrap();
    assert_eq!(requests_hash([]), nothing);
    assert_eq!(requests_hash([&[][..], &[0]]), nothing, "requests without data do not count");
}

#[test]
fn hash_of_requests_is_the_hash_of_their_hashes() {
    let inner = [Sha256::digest([0, 1]), Sha256::digest([1, 2, 3])].concat();
    assert_eq!(requests_hash([&[0, 1][..], &[1, 2, 3]]).as_slice(), Sha256::digest(inner).as_slice());
    assert_ne!(requests_hash([&[0, 1][..], &[1, 2, 3]]), requests_hash([&[1, 2, 3][..], &[0, 1]]));
}

fn requests(encoding: &[u32], tail: usize) -> Result<ExecutionRequests, DeserializeError> {
    let mut bytes: Vec<u8> = encoding.iter().flat_map(|offset| offset.to_le_bytes()).collect();
    bytes.resize(bytes.len() + tail, 0);
    ExecutionRequests::deserialize(&bytes)
}

#[test]
fn offset_of_a_request_beyond_the_end() {
    // `ssz_rs` would slice by it.
    let result = requests(&[8, 1000], 4);
    assert!(matches!(result, Err(DeserializeError::OffsetNotIncreasing { start: 8, end: 1000 })), "{result:?}");
    assert!(requests(&[8, u32::MAX], 4).is_err());
}

#[test]
fn first_offset_of_the_requests_is_wrong() {
    for first in [0, 1, 2, 3, 5, 6, 7, 9, 4 * 65, 1 << 20, u32::MAX] {
        assert!(requests(&[first], 300).is_err(), "{first}");
    }
    assert_eq!(requests(&[4], 300).unwrap().len(), 1);
    assert!(ExecutionRequests::deserialize(&[4, 0, 0]).is_err());
}

#[test]
fn requests_that_run_backwards() {
    assert!(requests(&[12, 20, 16], 20).is_err());
    assert!(requests(&[12, 11, 16], 20).is_err());
    let ascending: Vec<usize> = requests(&[12, 16, 16], 20).unwrap().iter().map(|request| request.len()).collect();
    assert_eq!(ascending, [4, 0, 16]);
}

#[test]
fn more_requests_than_allowed() {
    let offsets = |count: u32| vec![4 * count; count as usize];
    assert_eq!(requests(&offsets(64), 0).unwrap().len(), 64);
    assert!(requests(&offsets(65), 0).is_err());
    let empty = vec![ByteList::default(); 65];
    assert_eq!(ExecutionRequests::try_from(empty), Err(TooManyRequests(65)));
}

#[test]
fn count_of_requests_is_checked_before_anything_is_reserved_for_them() {
    // The second offset is wrong as well, but is not looked at.
    let mut offsets = vec![4 * 1_000_000; 1_000_000];
    offsets[1] = 0;
    let result = requests(&offsets, 0);
    let bounded = InstanceError::Bounded { bound: 64, provided: 1_000_000 };
    assert_eq!(result.unwrap_err().to_string(), DeserializeError::from(bounded).to_string());
}

#[test]
fn request_above_a_mebibyte() {
    requests(&[4], MAX_EXECUTION_REQUEST_BYTES).unwrap();
    assert!(requests(&[4], MAX_EXECUTION_REQUEST_BYTES + 1).is_err());
}

#[test]
fn payload_above_its_limit() {
    assert!(ByteList::<MAX_PAYLOAD_BYTES>::new(vec![0; MAX_PAYLOAD_BYTES + 1]).is_none());
    let mut envelope = crate::encode(&PayloadEnvelope::default());
    envelope.resize(PayloadEnvelope::FIXED_BYTES + MAX_PAYLOAD_BYTES + 1, 0);
    let requests_at = u32::try_from(envelope.len()).unwrap().to_le_bytes();
    envelope[44..48].copy_from_slice(&requests_at);
    assert!(crate::decode::<PayloadEnvelope>(&envelope).is_err());
    envelope.pop();
    let requests_at = u32::try_from(envelope.len()).unwrap().to_le_bytes();
    envelope[44..48].copy_from_slice(&requests_at);
    assert_eq!(crate::decode::<PayloadEnvelope>(&envelope).unwrap().payload.len(), MAX_PAYLOAD_BYTES);
}
