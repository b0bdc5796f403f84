//! The message: each container in SSZ behind its length (four bytes, little endian), the whole behind its own.

use lapis_protocol_spec::{BlobSidecar, DecidedValue, MAX_BLOBS_PER_BLOCK, PayloadEnvelope, decode, encode};

use crate::bench::plain::PlainError;

/// Most bytes of a message: the largest payload, all blobs that a value can name, and room for the value.
pub(super) const MAX_BYTES: usize =
    PayloadEnvelope::MAX_BYTES + MAX_BLOBS_PER_BLOCK * (BlobSidecar::BYTES + 4) + (1 << 20);

// Lengths go over the wire in 32 bits.
const _: () = assert!(MAX_BYTES <= u32::MAX as usize);

/// All of one height, not verified.
#[derive(Debug)]
pub(super) struct WholeHeight {
    pub(super) decided: DecidedValue,
    pub(super) payload: PayloadEnvelope,
    pub(super) blobs: Vec<BlobSidecar>,
}

impl WholeHeight {
    /// The message without its length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.blobs.len() * (BlobSidecar::BYTES + 4));
        push(&mut out, &encode(&self.decided));
        push(&mut out, &encode(&self.payload));
        self.blobs.iter().for_each(|blob| push(&mut out, &encode(blob)));
        out
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Result<Self, PlainError> {
        let malformed = |_| PlainError::Malformed;
        let decided = decode(part(&mut bytes)?).map_err(malformed)?;
        let payload = decode(part(&mut bytes)?).map_err(malformed)?;
        let mut blobs = Vec::new();
        while !bytes.is_empty() {
            blobs.push(decode(part(&mut bytes)?).map_err(malformed)?);
        }
        Ok(Self { decided, payload, blobs })
    }
}

fn push(out: &mut Vec<u8>, part: &[u8]) {
    // No container is over 32 MiB.
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(part);
}

/// Takes the first part off.
fn part<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], PlainError> {
    let (length, rest) = bytes.split_first_chunk().ok_or(PlainError::Malformed)?;
    let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize).ok_or(PlainError::Malformed)?;
    *bytes = rest;
    Ok(part)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use lapis_protocol_spec::{Blob, Bytes48};

    use super::*;

    fn height(blobs: u64) -> WholeHeight {
        let blob = |index| BlobSidecar {
            height: 7,
            index,
            kzg_commitment: Bytes48::from([1; 48]),
            kzg_proof: Bytes48::from([2; 48]),
            blob: Blob::from_slice(&vec![3; lapis_protocol_spec::BYTES_PER_BLOB]).unwrap(),
        };
        let payload = PayloadEnvelope { height: 7, ..PayloadEnvelope::default() };
        WholeHeight { decided: DecidedValue::default(), payload, blobs: (0..blobs).map(blob).collect() }
    }

    #[test]
    fn a_height_comes_back_as_it_was_sent() {
        for blobs in [0, 1, 3] {
            let sent = height(blobs);
            let received = WholeHeight::decode(&sent.encode()).unwrap();
            assert_eq!(received.blobs, sent.blobs);
            assert_eq!((received.decided, received.payload), (sent.decided, sent.payload));
        }
    }

    #[test]
    fn a_message_cut_anywhere_is_no_height_of_as_many_blobs() {
        let message = height(2).encode();
        for cut in [0, 3, 4, 100, message.len() - BlobSidecar::BYTES, message.len() - 1] {
            assert!(WholeHeight::decode(&message[..cut]).is_err(), "{cut}");
        }
    }
}
