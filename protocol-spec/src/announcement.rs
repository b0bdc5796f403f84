//! Announcements of decided values: names, ids and compression. The rules are in `spec/announcements.md`.

use sha2::{Digest, Sha256};

use crate::{Bytes32, DecidedValue, Method, decode};

/// Bytes of a message id.
pub const MESSAGE_ID_BYTES: usize = 20;

/// Why a message is no announcement. The sender's fault: no correct node passes it on.
#[derive(Debug, thiserror::Error)]
pub enum AnnouncementFault {
    /// It names more bytes than a decided value has, or none that can be.
    #[error("it would have {0} bytes")]
    Length(usize),
    /// It is not snappy's block format.
    #[error("it is not compressed as it should be: {0}")]
    Snappy(snap::Error),
    /// What it holds is no decided value.
    #[error("it is no decided value: {0}")]
    Value(#[from] crate::DecodeError),
}

/// The topic of a chain.
#[must_use]
pub fn topic(genesis_id: &Bytes32) -> String {
    let [a, b, c, d, ..] = genesis_id.0;
    format!("/lapis/{a:02x}{b:02x}{c:02x}{d:02x}/decided_value/ssz_snappy")
}

/// The id of a message: the first bytes of the SHA-256 of topic and uncompressed bytes.
#[must_use]
pub fn message_id(topic: &str, uncompressed: &[u8]) -> [u8; MESSAGE_ID_BYTES] {
    let hash: [u8; 32] = Sha256::new().chain_update(topic).chain_update(uncompressed).finalize().into();
    let mut id = [0; MESSAGE_ID_BYTES];
    id.iter_mut().zip(hash).for_each(|(id, byte)| *id = byte);
    id
}

/// Takes the compression off a message. Memory is taken once the length that it names is known to be possible.
///
/// # Errors
/// [`AnnouncementFault::Length`], [`AnnouncementFault::Snappy`].
pub fn decompress(message: &[u8]) -> Result<Vec<u8>, AnnouncementFault> {
    let length = snap::raw::decompress_len(message).map_err(AnnouncementFault::Snappy)?;
    let bounds = Method::DecidedValuesByRange.response_bounds();
    if length < bounds.min() || length > bounds.max() {
        return Err(AnnouncementFault::Length(length));
    }
    snap::raw::Decoder::new().decompress_vec(message).map_err(AnnouncementFault::Snappy)
}

/// Compresses a message.
///
/// # Errors
/// What snappy says of more than 4 GiB.
pub fn compress(uncompressed: &[u8]) -> Result<Vec<u8>, snap::Error> {
    snap::raw::Encoder::new().compress_vec(uncompressed)
}

/// The decided value of a message, unverified.
///
/// # Errors
/// [`AnnouncementFault`].
pub fn decode_message(message: &[u8]) -> Result<DecidedValue, AnnouncementFault> {
    Ok(decode(&decompress(message)?)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::{encode, fixtures};

    #[test]
    fn a_message_is_read_as_it_was_made() {
        let committee = fixtures::Committee::equal(4);
        let genesis = fixtures::genesis(&committee.set);
        let value = fixtures::successor(&crate::ChainLink::genesis(&genesis), &committee.set);
        let decided = committee.decide(genesis.id(), value, &[0, 1, 2]);
        let message = compress(&encode(&decided)).unwrap();
        assert_eq!(decode_message(&message).unwrap(), decided);
    }

    #[test]
    fn a_length_that_no_decided_value_has_is_refused_before_memory_is_taken() {
        // Snappy's prefix for 2^32 - 1 bytes.
        let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f];
        let info = allocation_counter::measure(|| {
            assert!(matches!(decompress(&bomb), Err(AnnouncementFault::Length(0xffff_ffff))));
        });
        assert!(info.bytes_max < 1024, "{info:?}");
        assert!(matches!(decompress(&[0]), Err(AnnouncementFault::Length(0))));
    }

    #[test]
    fn garbage_is_refused() {
        assert!(matches!(decompress(&[]), Err(AnnouncementFault::Length(0))));
        assert!(matches!(decompress(&[0x80]), Err(AnnouncementFault::Snappy(_))));
        let garbage = compress(&[7; 4096]).unwrap();
        assert!(matches!(decode_message(&garbage), Err(AnnouncementFault::Value(_))));
    }

    #[test]
    fn topics_and_ids_are_those_of_the_specification() {
        assert_eq!(topic(&Bytes32::from([0xab; 32])), "/lapis/abababab/decided_value/ssz_snappy");
        let hash: [u8; 32] = Sha256::digest(b"topicbytes").into();
        assert_eq!(message_id("topic", b"bytes"), hash[..20]);
    }
}
