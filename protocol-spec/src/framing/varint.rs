//! The length prefix: unsigned protobuf varint, at most [`MAX_LENGTH`] bytes, shortest form only.

use super::FramingError;

/// Most bytes that a 64-bit varint takes.
pub const MAX_LENGTH: usize = 10;

const CONTINUES: u8 = 0x80;
const GROUP_BITS: u32 = 7;

/// Takes a varint apart byte by byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoder {
    value: u64,
    length: u32,
}

impl Decoder {
    /// A decoder that has seen no byte yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { value: 0, length: 0 }
    }

    /// Takes one byte; returns the value with its last one. Start anew with [`Decoder::new`] after a value or an error.
    ///
    /// # Errors
    /// [`FramingError::PrefixTooLong`], [`FramingError::PrefixOverflow`], [`FramingError::PrefixNotMinimal`].
    pub fn push(&mut self, byte: u8) -> Result<Option<u64>, FramingError> {
        let shift = self.length.saturating_mul(GROUP_BITS);
        let group = u64::from(byte & !CONTINUES);
        let continues = byte & CONTINUES != 0;
        if shift >= u64::BITS || (continues && shift + GROUP_BITS >= u64::BITS) {
            return Err(FramingError::PrefixTooLong);
        }
        if group >> (u64::BITS - shift).min(u64::BITS - 1) != 0 {
            return Err(FramingError::PrefixOverflow);
        }
        if byte == 0 && self.length > 0 {
            return Err(FramingError::PrefixNotMinimal);
        }
        self.value |= group << shift;
        self.length += 1;
        Ok(if continues { None } else { Some(self.value) })
    }

    /// Takes bytes up to the end of the varint; returns the value, if it is complete, and the rest of the input.
    ///
    /// # Errors
    /// As [`Decoder::push`].
    pub fn push_slice<'a>(&mut self, input: &'a [u8]) -> Result<(Option<u64>, &'a [u8]), FramingError> {
        let mut rest = input;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            if let Some(value) = self.push(*byte)? {
                return Ok((Some(value), rest));
            }
        }
        Ok((None, rest))
    }
}

/// The encoding of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Varint {
    bytes: [u8; MAX_LENGTH],
    length: usize,
}

impl Varint {
    /// Encodes `value` in its shortest form.
    #[must_use]
    pub fn new(value: u64) -> Self {
        let mut bytes = [0; MAX_LENGTH];
        let mut length = 0;
        let mut left = value;
        for byte in &mut bytes {
            let [group, ..] = left.to_le_bytes();
            left >>= GROUP_BITS;
            length += 1;
            if left == 0 {
                *byte = group;
                break;
            }
            *byte = group | CONTINUES;
        }
        Self { bytes, length }
    }

    /// The 1 to 10 bytes on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}
