//! Framing by hand, so that streams can also be wrong.

/// The snappy stream identifier.
pub(crate) const IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";

/// A frame of type `kind` with `body`.
pub(crate) fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let [low, middle, high, ..] = body.len().to_le_bytes();
    [&[kind, low, middle, high], body].concat()
}

fn checksum(data: &[u8]) -> [u8; 4] {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// A frame that holds `data` as it is.
pub(crate) fn uncompressed(data: &[u8]) -> Vec<u8> {
    frame(0x01, &[&checksum(data), data].concat())
}

/// A frame that holds the snappy block of `data`.
pub(crate) fn compressed(data: &[u8]) -> Vec<u8> {
    let block = snap::raw::Encoder::new().compress_vec(data).unwrap_or_default();
    frame(0x00, &[&checksum(data)[..], &block].concat())
}

/// A number as the shortest varint.
pub(crate) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
    bytes
}

/// Length, identifier and one uncompressed frame.
pub(crate) fn payload(data: &[u8]) -> Vec<u8> {
    [&varint(data.len()), IDENTIFIER, &uncompressed(data)].concat()
}
