//! Archives that are well formed and not true.

use lapis_protocol_spec::{ByteList, Bytes48, CertificateFault, Validator, gates::MatchFault};

use super::*;

/// Imports the whole chain with height `height` changed, and tells what is wrong with it. Nothing false is stored, and
/// everything before it is.
fn refused(height: usize, change: impl FnOnce(&mut Parts)) -> ItemFault {
    let made = &*SMALL;
    let mut records: Vec<Parts> = (1..=6).map(|height| made.parts(height)).collect();
    change(&mut records[height - 1]);
    let archive = forge(&made.header(1, 6, Compression::None), &records);
    let stored = Stored::new(&made.chain);
    let outcome = stored.import(made, archive.as_slice());
    made.assert_true(&stored);
    assert!(stored.0.watermarks().available >= height as u64 - 1);
    match outcome.error {
        Some(ImportError::Untrue { height: at, fault }) => {
            assert_eq!(at, height as u64);
            fault
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_archive_as_it_should_be_is_imported() {
    let made = &*SMALL;
    let records: Vec<Parts> = (1..=6).map(|height| made.parts(height)).collect();
    let stored = Stored::new(&made.chain);
    let outcome = stored.import(made, forge(&made.header(1, 6, Compression::None), &records).as_slice());
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    made.assert_whole(&stored);
}

#[test]
fn another_blob_is_refused() {
    let fault = refused(3, |parts| parts.blobs[2].blob = parts.blobs[1].blob.clone());
    assert_eq!(fault, ItemFault::Proof { index: 2 });
}

#[test]
fn another_proof_is_refused() {
    let fault = refused(3, |parts| parts.blobs[1].kzg_proof = Bytes48::ZERO);
    assert_eq!(fault, ItemFault::Proof { index: 1 });
}

#[test]
fn the_first_of_several_faults_is_told() {
    let fault = refused(3, |parts| parts.blobs.iter_mut().for_each(|blob| blob.kzg_proof = Bytes48::ZERO));
    assert_eq!(fault, ItemFault::Proof { index: 0 });
}

#[test]
fn a_blob_with_its_own_commitment_is_refused() {
    let other = SMALL.parts(1).blobs[0].clone();
    let fault = refused(3, |parts| parts.blobs[0] = BlobSidecar { height: 3, index: 0, ..other });
    assert_eq!(fault, ItemFault::Match(MatchFault::Commitment { height: 3, index: 0 }));
}

#[test]
fn another_payload_is_refused() {
    let fault = refused(2, |parts| {
        let mut bytes = parts.payload.payload.to_vec();
        bytes[0] ^= 1;
        parts.payload.payload = ByteList::new(bytes).unwrap();
    });
    assert!(matches!(fault, ItemFault::Payload(_)), "{fault}");
}

#[test]
fn the_payload_of_another_value_is_refused() {
    let fault = refused(2, |parts| parts.payload.value_id = [7; 32].into());
    assert!(matches!(fault, ItemFault::Match(MatchFault::Value(_))), "{fault}");
}

#[test]
fn a_value_that_too_few_signed_is_refused() {
    let made = &*SMALL;
    let value = &made.blocks[3].value;
    let fault = refused(4, |parts| parts.decided = made.maker.decided_by(value, 0, &[0, 1]).unwrap());
    assert!(matches!(fault, ItemFault::Certificate(CertificateFault::Power { .. })), "{fault}");
}

#[test]
fn a_value_that_was_changed_is_refused() {
    let fault = refused(4, |parts| parts.decided.value.timestamp += 1);
    assert_eq!(fault, ItemFault::Certificate(CertificateFault::CertificateValue));
}

#[test]
fn the_value_of_another_history_is_refused_where_the_store_has_one() {
    let made = &*SMALL;
    let stored = made.store(6);
    let mut parts = made.parts(1);
    parts.decided.value.timestamp += 1;
    let archive = forge(&made.header(1, 1, Compression::None), &[parts]);
    let outcome = stored.import(made, archive.as_slice());
    let held = *made.blocks[0].value.id();
    match outcome.error {
        Some(ImportError::Untrue { height: 1, fault }) => assert_eq!(fault, ItemFault::OtherValue { held }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_set_that_nobody_names_is_neither_believed_nor_stored() {
    let made = &*SMALL;
    let member = made.maker.spec().validators()[0].public_key;
    let stranger = Validator { public_key: member, power: 99 };
    let strangers = ValidatorSet::new(vec![stranger]).unwrap();
    let root = strangers.root();
    let stored = Stored::new(&made.chain);
    let mut records: Vec<Parts> = (1..=6).map(|height| made.parts(height)).collect();
    records.iter_mut().for_each(|parts| parts.sets = vec![strangers.clone()]);
    let outcome = stored.import(made, forge(&made.header(1, 6, Compression::None), &records).as_slice());
    let unknown = made.maker.spec().validators_root(3);
    match outcome.error {
        Some(ImportError::Untrue { height: 3, fault }) => assert_eq!(fault, ItemFault::UnknownSet(unknown)),
        other => panic!("{other:?}"),
    }
    assert!(stored.0.validator_set(&root).unwrap().is_none());
}
