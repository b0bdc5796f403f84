#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;

use super::*;
use crate::{
    ByteList, Bytes32, Bytes48, CommitCertificate, CommitSignature, DecidedValue, ExecutionRequests, GoodbyeReason,
    HeightRange, Item, MAX_EXECUTION_REQUEST_BYTES, MAX_EXECUTION_REQUESTS, MAX_PAYLOAD_BYTES, Request, Status,
    Validator, ValidatorSet, Value, encode,
};

/// The shortest and the longest request of `method`.
fn extreme_requests(method: Method) -> [Request; 2] {
    let range = HeightRange::new(1, 1);
    let one = |request: Request| [request.clone(), request];
    match method {
        Method::Status => one(Request::Status(Status::default())),
        Method::Ping => one(Request::Ping(u64::MAX)),
        Method::Goodbye => one(Request::Goodbye(GoodbyeReason::Banned)),
        Method::DecidedValuesByRange => one(Request::DecidedValuesByRange(range)),
        Method::ValidatorSetByRoot => one(Request::ValidatorSetByRoot(Bytes32::ZERO)),
        Method::PayloadsByRange => one(Request::PayloadsByRange(range)),
        Method::BlobsByRange => one(Request::BlobsByRange(range)),
        Method::PayloadsByRoot => {
            [0, 128].map(|count| Request::PayloadsByRoot(vec![Bytes32::ZERO; count].try_into().unwrap()))
        }
        Method::BlobsByRoot => {
            [0, 1024].map(|count| Request::BlobsByRoot(vec![Bytes32::ZERO; count].try_into().unwrap()))
        }
    }
}

fn longest_decided_value() -> DecidedValue {
    let blob_kzg_commitments = vec![Bytes48::ZERO; MAX_BLOBS_PER_BLOCK].try_into().unwrap();
    let signatures = vec![CommitSignature::default(); MAX_VALIDATORS].try_into().unwrap();
    DecidedValue {
        value: Value { blob_kzg_commitments, ..Value::default() },
        certificate: CommitCertificate { signatures, ..CommitCertificate::default() },
    }
}

fn longest_payload() -> PayloadEnvelope {
    let request = ByteList::new(vec![0; MAX_EXECUTION_REQUEST_BYTES]).unwrap();
    PayloadEnvelope {
        payload: ByteList::new(vec![0; MAX_PAYLOAD_BYTES]).unwrap(),
        execution_requests: ExecutionRequests::try_from(vec![request; MAX_EXECUTION_REQUESTS]).unwrap(),
        ..PayloadEnvelope::default()
    }
}

/// The encodings of the shortest and the longest item of `method`.
fn extreme_items(method: Method) -> Option<[Vec<u8>; 2]> {
    let one = |bytes: Vec<u8>| Some([bytes.clone(), bytes]);
    match method {
        Method::Status => one(encode(&Status::default())),
        Method::Ping => one(encode(&0_u64)),
        Method::Goodbye => None,
        Method::DecidedValuesByRange => Some([encode(&DecidedValue::default()), encode(&longest_decided_value())]),
        Method::ValidatorSetByRoot => {
            let validators = vec![Validator::default(); MAX_VALIDATORS].try_into().unwrap();
            Some([encode(&ValidatorSet::default()), encode(&ValidatorSet { validators })])
        }
        Method::PayloadsByRange | Method::PayloadsByRoot => {
            Some([encode(&PayloadEnvelope::default()), encode(&longest_payload())])
        }
        Method::BlobsByRange | Method::BlobsByRoot => one(encode(&BlobSidecar::default())),
    }
}

#[test]
fn request_bounds_are_the_lengths_of_real_requests() {
    for method in Method::ALL {
        let [shortest, longest] = extreme_requests(method);
        let bounds = method.request_bounds();
        assert_eq!((shortest.method(), longest.method()), (method, method));
        assert_eq!((bounds.min(), bounds.max()), (shortest.encode().len(), longest.encode().len()), "{method:?}");
        assert_eq!(Request::decode(method, &longest.encode()).unwrap(), longest);
        assert_eq!(Request::decode(method, &shortest.encode()).unwrap(), shortest);
    }
}

#[test]
fn response_bounds_are_the_lengths_of_real_items() {
    for method in Method::ALL {
        let bounds = method.response_bounds();
        let Some([shortest, longest]) = extreme_items(method) else {
            assert_eq!((method, bounds.max(), method.max_chunks()), (Method::Goodbye, 0, 0));
            assert!(Item::decode(method, &Bytes::new()).is_err());
            continue;
        };
        assert_eq!((bounds.min(), bounds.max()), (shortest.len(), longest.len()), "{method:?}");
        Item::decode(method, &shortest.into()).unwrap();
        Item::decode(method, &longest.into()).unwrap();
    }
}

#[test]
fn sizes_that_others_rely_on() {
    assert_eq!(Method::Status.request_bounds().max(), 104);
    assert_eq!(Method::BlobsByRange.response_bounds().min(), 131_184);
    assert_eq!(Method::ValidatorSetByRoot.response_bounds().max(), 40_964);
}

#[test]
fn one_more_than_the_longest_request() {
    for method in [Method::PayloadsByRoot, Method::BlobsByRoot] {
        let bytes = vec![0; method.request_bounds().max() + 32];
        assert!(Request::decode(method, &bytes).is_err());
    }
}

#[test]
fn request_body_is_not_a_multiple_of_a_hash() {
    for method in [Method::PayloadsByRoot, Method::BlobsByRoot, Method::ValidatorSetByRoot] {
        for length in [1, 31, 33, 63] {
            assert!(Request::decode(method, &vec![0; length]).is_err());
        }
    }
}

#[test]
fn protocol_ids_name_the_methods() {
    for method in Method::ALL {
        assert_eq!(method.protocol_id(), format!("/lapis/req/{}/1/ssz_snappy", method.name()));
    }
    let names: std::collections::HashSet<_> = Method::ALL.map(Method::name).into();
    assert_eq!(names.len(), 9);
}

#[test]
fn goodbye_reasons_keep_their_codes() {
    for code in [0, 1, 2, 3, 4, 127, 128, 129, 130, u64::MAX] {
        assert_eq!(u64::from(GoodbyeReason::from(code)), code);
    }
    assert_eq!(GoodbyeReason::from(129), GoodbyeReason::Banned);
}

#[test]
fn ranges_that_ask_for_nothing() {
    use crate::messages::RangeFault;
    assert_eq!(HeightRange::new(1, 0).heights(), Err(RangeFault::Empty));
    assert_eq!(HeightRange::new(0, 1).heights(), Err(RangeFault::StartsAtZero));
    assert_eq!(HeightRange::new(1, u64::MAX).heights(), Err(RangeFault::Overflow));
    assert_eq!(HeightRange::new(u64::MAX, 1).heights(), Err(RangeFault::Overflow));
    assert_eq!(HeightRange::new(1, u64::MAX - 1).heights(), Ok(1..u64::MAX));
    assert_eq!(HeightRange::new(5, 3).heights(), Ok(5..8));
}
