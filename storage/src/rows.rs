//! Encoding of rows. Owns the seal: every row ends with a checksum over its bytes and its key, so that a flipped bit, or
//! a row at another key's place, is noticed when it is read.

use lapis_protocol_spec::{Bytes32, Bytes48, Height};
use xxhash_rust::xxh3::{Xxh3, xxh3_64_with_seed};

/// Bytes that a seal adds to a row.
pub(crate) const SEAL_BYTES: usize = 8;
/// Bytes of a blob that do not fit into its two pieces.
pub(crate) const TAIL_BYTES: usize = 131_072 - 2 * crate::tables::PIECE_BYTES;

/// Appends the checksum of `row`; `key` distinguishes rows of one table.
pub(crate) fn seal(mut row: Vec<u8>, key: u64) -> Vec<u8> {
    let checksum = xxh3_64_with_seed(&row, key);
    row.extend_from_slice(&checksum.to_le_bytes());
    row
}

/// The row without its checksum, if that is right.
pub(crate) fn unseal(sealed: &[u8], key: u64) -> Option<&[u8]> {
    let (row, checksum) = sealed.split_last_chunk::<SEAL_BYTES>()?;
    (xxh3_64_with_seed(row, key) == u64::from_le_bytes(*checksum)).then_some(row)
}

/// The first eight bytes of a hash: the seal's key for rows that are keyed by a hash.
pub(crate) fn seal_key(hash: &[u8; 32]) -> u64 {
    hash.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

/// Reads fixed-size fields one after another.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// `result` if nothing is left.
    pub(crate) fn end<T>(self, result: T) -> Option<T> {
        self.0.is_empty().then_some(result)
    }
}

/// What is held of a value, in `states`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ValueState {
    /// Id of the value.
    pub(crate) id: Bytes32,
    /// Height of the value.
    pub(crate) height: Height,
    /// Seconds since the Unix epoch at which it came in while undecided; 0 if it came in decided.
    pub(crate) inserted_at: u64,
    /// Places of the value whose blobs are not held. Kept up only at and above the blob floor.
    pub(crate) missing: u16,
}

impl ValueState {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(50 + SEAL_BYTES);
        row.extend_from_slice(self.id.as_slice());
        row.extend_from_slice(&self.height.to_le_bytes());
        row.extend_from_slice(&self.inserted_at.to_le_bytes());
        row.extend_from_slice(&self.missing.to_le_bytes());
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        let state = Self {
            id: fields.array()?.into(),
            height: fields.u64()?,
            inserted_at: fields.u64()?,
            missing: u16::from_le_bytes(fields.array()?),
        };
        fields.end(state)
    }
}

/// A payload that is held, in `payloads`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PayloadRow {
    /// Bytes of the SSZ envelope: pieces and tail.
    pub(crate) size: u64,
    /// [`checksum`] of pieces and tail, with the value's number as its key.
    pub(crate) checksum: u64,
    /// The last bytes, too few for a piece of their own.
    pub(crate) tail: Vec<u8>,
}

impl PayloadRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(16 + self.tail.len() + SEAL_BYTES);
        row.extend_from_slice(&self.size.to_le_bytes());
        row.extend_from_slice(&self.checksum.to_le_bytes());
        row.extend_from_slice(&self.tail);
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        Some(Self { size: fields.u64()?, checksum: fields.u64()?, tail: fields.0.to_vec() })
    }
}

/// A blob that is held, in `blobs`. A KZG proof is unique to its blob, so it belongs here, not to the places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlobRow {
    /// Key of the pieces.
    pub(crate) number: u64,
    /// KZG commitment, whose versioned hash is the row's key.
    pub(crate) commitment: Bytes48,
    /// KZG proof.
    pub(crate) proof: Bytes48,
    /// [`checksum`] of the blob, with its versioned hash as the key.
    pub(crate) checksum: u64,
    /// The last bytes, which do not fit into the pieces.
    pub(crate) tail: [u8; TAIL_BYTES],
}

impl BlobRow {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(8 + 48 + 48 + 8 + TAIL_BYTES + SEAL_BYTES);
        row.extend_from_slice(&self.number.to_le_bytes());
        row.extend_from_slice(self.commitment.as_slice());
        row.extend_from_slice(self.proof.as_slice());
        row.extend_from_slice(&self.checksum.to_le_bytes());
        row.extend_from_slice(&self.tail);
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Option<Self> {
        let mut fields = Fields(row);
        let blob = Self {
            number: fields.u64()?,
            commitment: fields.array()?.into(),
            proof: fields.array()?.into(),
            checksum: fields.u64()?,
            tail: fields.array()?,
        };
        fields.end(blob)
    }
}

/// Checksum of data in pieces. For blobs it is seeded with their versioned hash, so that pieces of another blob do not
/// pass for this one's.
pub(crate) fn checksum<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, key: u64) -> u64 {
    let mut hasher = Xxh3::with_seed(key);
    pieces.into_iter().for_each(|piece| hasher.update(piece));
    hasher.digest()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use super::*;

    #[test]
    fn every_flipped_bit_of_a_sealed_row_is_noticed() {
        let state = ValueState { id: [3; 32].into(), height: 9, inserted_at: 1_700_000_000, missing: 4096 };
        let sealed = seal(state.encode(), 7);
        assert_eq!(unseal(&sealed, 7).and_then(ValueState::decode), Some(state));
        assert_eq!(unseal(&sealed, 8), None, "a row at another key's place");
        for bit in 0..sealed.len() * 8 {
            let mut flipped = sealed.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(unseal(&flipped, 7), None, "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(unseal(&sealed[..length], 7), None, "{length} bytes");
        }
    }

    #[test]
    fn rows_decode_to_what_was_encoded_and_have_one_length() {
        let blob = BlobRow {
            number: 5,
            commitment: [1; 48].into(),
            proof: [2; 48].into(),
            checksum: 6,
            tail: std::array::from_fn(|i| u8::try_from(i).unwrap()),
        };
        let mut row = blob.encode();
        assert_eq!(BlobRow::decode(&row), Some(blob));
        row.push(0);
        assert_eq!(BlobRow::decode(&row), None);
        let payload = PayloadRow { size: 3, checksum: 4, tail: vec![7, 8, 9] };
        assert_eq!(PayloadRow::decode(&payload.encode()), Some(payload));
        assert_eq!(PayloadRow::decode(&[0; 15]), None);
    }

    #[test]
    fn a_checksum_does_not_depend_on_how_data_is_cut() {
        let data: Vec<u8> = (0..=255).cycle().take(10_000).collect();
        let whole = checksum([data.as_slice()], 3);
        for cut in [0, 1, 255, 256, 9_999] {
            let (left, right) = data.split_at(cut);
            assert_eq!(checksum([left, right], 3), whole);
        }
        assert_ne!(checksum([data.as_slice()], 4), whole);
    }
}
