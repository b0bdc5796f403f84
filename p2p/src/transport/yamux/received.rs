//! Bytes that have come for a stream and were not read. Pure.

use std::collections::VecDeque;

/// Bytes that short frames share: a frame of one byte costs no allocation of its own.
const SHARED: usize = 4 * 1024;

/// Chunks in the order in which they came. A chunk is filled before the next one is begun, so that what is allocated is
/// in proportion to what has come, however short the frames are.
#[derive(Debug, Default)]
pub(super) struct Received {
    chunks: VecDeque<Vec<u8>>,
}

impl Received {
    /// Takes a copy of `bytes`.
    pub(super) fn append(&mut self, mut bytes: &[u8]) {
        if let Some(last) = self.chunks.back_mut() {
            let room = (last.capacity() - last.len()).min(bytes.len());
            let (now, rest) = bytes.split_at(room);
            last.extend_from_slice(now);
            bytes = rest;
        }
        if !bytes.is_empty() {
            let mut chunk = Vec::with_capacity(bytes.len().max(SHARED));
            chunk.extend_from_slice(bytes);
            self.chunks.push_back(chunk);
        }
    }

    /// Takes a chunk as it is.
    pub(super) fn push(&mut self, chunk: Vec<u8>) {
        self.chunks.push_back(chunk);
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.chunks.pop_front()
    }

    pub(super) fn clear(&mut self) {
        self.chunks = VecDeque::new();
    }

    /// Bytes that are allocated for chunks.
    #[cfg(test)]
    pub(super) fn allocated(&self) -> usize {
        self.chunks.iter().map(Vec::capacity).sum()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_in_order_however_they_came() {
        let (mut received, mut expected) = (Received::default(), Vec::new());
        for length in [1, 5000, 3, 40_000, 2, 4096, 1] {
            let bytes: Vec<u8> = (0..=250).cycle().take(length).collect();
            expected.extend_from_slice(&bytes);
            if length > SHARED { received.push(bytes) } else { received.append(&bytes) }
        }
        let mut all = Vec::new();
        while let Some(chunk) = received.pop() {
            all.extend(chunk);
        }
        assert_eq!(all, expected);
    }

    #[test]
    fn frames_of_one_byte_cost_what_they_hold() {
        let mut received = Received::default();
        for _ in 0..256 * 1024 {
            received.append(&[7]);
        }
        assert!(received.allocated() <= 256 * 1024 + SHARED, "{}", received.allocated());
        received.clear();
        assert_eq!(received.allocated(), 0);
    }
}
