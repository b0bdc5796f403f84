#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use super::*;
use crate::{decode, encode, fixtures::blob};

fn sidecar() -> BlobSidecar {
    BlobSidecar {
        height: 0x0102_0304_0506_0708,
        index: 5,
        kzg_commitment: [0xaa; 48].into(),
        kzg_proof: [0xbb; 48].into(),
        blob: blob(3),
    }
}

#[test]
fn sidecar_is_131_184_bytes_in_field_order() {
    let encoding = encode(&sidecar());
    assert_eq!(encoding.len(), 131_184);
    assert_eq!(BlobSidecar::BYTES, 131_184);
    assert_eq!(encoding[..16], [8, 7, 6, 5, 4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!((&encoding[16..64], &encoding[64..112]), (&[0xaa; 48][..], &[0xbb; 48][..]));
    assert_eq!(&encoding[112..], blob(3).as_ref());
    assert_eq!(decode::<BlobSidecar>(&encoding).unwrap(), sidecar());
}

#[test]
fn header_and_blob_make_the_encoding() {
    let BlobSidecar { height, index, kzg_commitment, kzg_proof, blob } = sidecar();
    let header = BlobSidecar::header(height, index, &kzg_commitment, &kzg_proof);
    assert_eq!([&header, blob.as_ref()].concat(), encode(&sidecar()));
}

#[test]
fn sidecar_of_another_length() {
    let mut encoding = encode(&sidecar());
    encoding.push(0);
    assert!(decode::<BlobSidecar>(&encoding).is_err());
    encoding.truncate(131_183);
    assert!(decode::<BlobSidecar>(&encoding).is_err());
    assert!(decode::<BlobSidecar>(&[]).is_err());
}

#[test]
fn a_sidecar_is_decoded_where_its_bytes_are() {
    let encoding = Bytes::from(encode(&sidecar()));
    let decoded = BlobSidecar::from_ssz(&encoding).unwrap();
    assert_eq!(decoded, sidecar());
    assert_eq!(decoded.blob.as_array().as_ptr(), encoding[BlobSidecar::HEADER_BYTES..].as_ptr());
    for length in [0, 111, 131_183] {
        assert!(BlobSidecar::from_ssz(&encoding.slice(..length)).is_err(), "{length}");
    }
    assert!(BlobSidecar::from_ssz(&[&encoding[..], &[0]].concat().into()).is_err());
}

#[test]
fn encoding_allocates_once() {
    let encoding = encode(&sidecar());
    assert_eq!(encoding.capacity(), encoding.len());
}

#[test]
fn blob_takes_exactly_its_length() {
    for length in [0, 131_071, 131_073] {
        assert!(Blob::from_slice(&vec![0; length]).is_none());
    }
    assert_eq!(Blob::from_slice(&vec![0; BYTES_PER_BLOB]), Some(Blob::default()));
    for length in [0, 131_071, 131_073] {
        assert!(Blob::from_bytes(vec![0; length].into()).is_none());
    }
    assert_eq!(Blob::from_bytes(vec![0; BYTES_PER_BLOB].into()), Some(Blob::default()));
    assert_eq!(format!("{:?}", blob(1)), "Blob(00000000..)");
}

#[test]
fn clones_share_the_bytes() {
    let blob = blob(1);
    assert_eq!(blob.clone().as_array().as_ptr(), blob.as_array().as_ptr());
}

#[test]
fn versioned_hash_of_eip_4844() {
    // The commitment to the blob of zeros, and the hash that execution clients name it by.
    let mut commitment = Bytes48::ZERO;
    commitment.0[0] = 0xc0;
    let expected = "0x010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c444014";
    assert_eq!(versioned_hash(&commitment).to_string(), expected);
}

#[test]
fn roots_are_those_of_ssz_rs() {
    #[derive(Default, SimpleSerialize)]
    struct Twin {
        height: u64,
        index: u64,
        kzg_commitment: Vector<u8, 48>,
        kzg_proof: Vector<u8, 48>,
        blob: Vector<u8, BYTES_PER_BLOB>,
    }
    let ours = sidecar();
    let mut twin = Twin {
        height: ours.height,
        index: ours.index,
        kzg_commitment: ours.kzg_commitment.as_slice().to_vec().try_into().unwrap(),
        kzg_proof: ours.kzg_proof.as_slice().to_vec().try_into().unwrap(),
        blob: ours.blob.as_ref().to_vec().try_into().unwrap(),
    };
    assert_eq!(encode(&ours), encode(&twin));
    assert_eq!(crate::ssz::hash_tree_root(&ours).as_slice(), twin.hash_tree_root().unwrap().as_ref());
}
