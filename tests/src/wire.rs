//! Framing, a second time: nothing of the node's own, so that both do not err alike. For tests: simple, not fast.

use std::io::{self, Read, Write};

use snap::{read::FrameDecoder, write::FrameEncoder};

/// Unsigned protobuf varint, shortest form.
pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let [group, ..] = (value % 128).to_le_bytes();
        value /= 128;
        if value == 0 {
            bytes.push(group);
            return bytes;
        }
        bytes.push(group + 128);
    }
}

/// Snappy frames of `body`, identifier first.
pub fn frames(body: &[u8]) -> Vec<u8> {
    let mut encoder = FrameEncoder::new(Vec::new());
    encoder.write_all(body).unwrap();
    encoder.into_inner().unwrap()
}

/// Length prefix and frames: a request, or what follows the result byte of a chunk.
pub fn prefixed(body: &[u8]) -> Vec<u8> {
    let mut bytes = varint(body.len() as u64);
    bytes.extend(frames(body));
    bytes
}

/// A chunk with its result byte.
pub fn chunk(result: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![result];
    bytes.extend(prefixed(body));
    bytes
}

/// Takes one prefixed body off the front of `bytes`.
///
/// # Errors
/// If it is not whole or not snappy.
pub fn take_prefixed(bytes: &mut &[u8]) -> io::Result<Vec<u8>> {
    let mut length = 0;
    for shift in (0..).step_by(7) {
        let mut byte = [0];
        bytes.read_exact(&mut byte)?;
        length |= usize::from(byte[0] % 128) << shift;
        if byte[0] < 128 {
            break;
        }
    }
    let mut body = vec![0; length];
    // Reads frame by frame and nothing behind the last one that it needs.
    FrameDecoder::new(bytes).read_exact(&mut body)?;
    Ok(body)
}

/// Takes all chunks of a response: result byte and body each.
///
/// # Errors
/// As [`take_prefixed`].
pub fn chunks(mut bytes: &[u8]) -> io::Result<Vec<(u8, Vec<u8>)>> {
    let mut chunks = Vec::new();
    while let Some((result, rest)) = bytes.split_first() {
        bytes = rest;
        chunks.push((*result, take_prefixed(&mut bytes)?));
    }
    Ok(chunks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let bodies = [vec![1; 8], vec![7; 200_000], (0..=255).collect()];
        let mut stream: Vec<u8> = bodies.iter().flat_map(|body| chunk(0, body)).collect();
        stream.extend(chunk(3, b"no"));
        let mut expected: Vec<_> = bodies.into_iter().map(|body| (0, body)).collect();
        expected.push((3, b"no".to_vec()));
        assert_eq!(chunks(&stream).unwrap(), expected);
        assert!(chunks(&stream[..stream.len() - 1]).is_err());
    }

    #[test]
    fn the_golden_vectors_of_the_framing() {
        let ping = [8, 0xff, 6, 0, 0, 0x73, 0x4e, 0x61, 0x50, 0x70, 0x59, 1, 0x0c, 0, 0, 1, 0x75, 0xde, 0x41];
        assert_eq!(prefixed(&1_u64.to_le_bytes()), [&ping[..], &1_u64.to_le_bytes()].concat());
    }
}
