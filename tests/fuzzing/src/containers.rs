//! SSZ containers.

use lapis_protocol_spec::{
    BlobSidecar, CommitCertificate, DecidedValue, Genesis, HeightRange, PayloadEnvelope, Status, ValidatorSet, Value,
    decode, encode,
};
use ssz_rs::SimpleSerialize;

/// The types, in the order in which they are chosen.
pub(super) const TYPES: [&str; 9] = [
    "Status",
    "Value",
    "CommitCertificate",
    "DecidedValue",
    "ValidatorSet",
    "Genesis",
    "PayloadEnvelope",
    "BlobSidecar",
    "HeightRange",
];

/// Choice of a type, and bytes that may be one of it.
pub(super) fn container(bytes: &[u8]) {
    let Some(([choice], body)) = crate::split_head(bytes) else { return };
    match usize::from(choice) % TYPES.len() {
        0 => strict::<Status>(body, |_| {}),
        1 => strict::<Value>(body, |value| {
            value.id();
        }),
        2 => strict::<CommitCertificate>(body, |_| {}),
        3 => strict::<DecidedValue>(body, |decided| assert_eq!(decided.encoded_len(), body.len())),
        4 => strict::<ValidatorSet>(body, |set| {
            set.root();
            let _ = set.check();
        }),
        5 => strict::<Genesis>(body, |genesis| {
            genesis.id();
            let _ = genesis.check();
        }),
        6 => strict::<PayloadEnvelope>(body, |_| {}),
        7 => strict::<BlobSidecar>(body, |sidecar| {
            sidecar.versioned_hash();
        }),
        _ => strict::<HeightRange>(body, |_| {}),
    }
}

/// What decodes encodes to the bytes it came from: there is one encoding of everything.
fn strict<T: SimpleSerialize>(bytes: &[u8], look: impl FnOnce(&T)) {
    if let Ok(object) = decode::<T>(bytes) {
        encodes_to(&object, bytes);
        look(&object);
    }
}

pub(super) fn encodes_to<T: SimpleSerialize>(object: &T, bytes: &[u8]) {
    assert!(encode(object) == bytes, "a {} does not encode to its bytes", std::any::type_name::<T>());
}
