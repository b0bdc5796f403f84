//! Memory of the framing decoders under hostile input, counted by an allocator.
//!
//! A buffer that grows is counted twice while it moves, so a capacity of twice the data costs at most three times the
//! data for a moment.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use allocation_counter::{AllocationInfo, measure};
use lapis_protocol_spec::framing::varint::Varint;
use lapis_protocol_spec::framing::{
    Encoder, FIRST_RESERVE, FramingError, LengthBounds, MAX_FRAME_BODY, MAX_FRAME_DATA, RequestDecoder,
    ResponseDecoder, STREAM_IDENTIFIER,
};
use proptest::prelude::*;

/// Bounds of a large execution payload.
const LARGE: LengthBounds = LengthBounds::between(0, 32 << 20);
const SIDECAR: usize = 131_184;

/// What `bytes` of data may cost at most at a time: the payload's buffer and one compressed frame, both while moving.
const fn allowed(bytes: usize) -> u64 {
    let payload = if bytes * 3 > FIRST_RESERVE { bytes * 3 } else { FIRST_RESERVE };
    (payload + 3 * MAX_FRAME_BODY) as u64
}

fn prefix(length: usize) -> Vec<u8> {
    Varint::new(length as u64).as_bytes().to_vec()
}

fn opened(length: usize) -> Vec<u8> {
    [&prefix(length)[..], &STREAM_IDENTIFIER].concat()
}

/// The frames of `data` as our encoder writes them, without prefix and identifier.
fn frames(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new().request(LARGE, &[data], &mut out).unwrap();
    out.split_off(opened(data.len()).len())
}

/// Feeds `pieces` to a new request decoder; returns its memory and how the last piece was taken.
fn fed<'a>(
    bounds: LengthBounds,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (AllocationInfo, Result<(), FramingError>) {
    let mut result = Ok(());
    let memory = measure(|| {
        let mut decoder = RequestDecoder::new(bounds);
        result = pieces.into_iter().try_for_each(|piece| decoder.push(piece));
    });
    (memory, result)
}

#[test]
fn the_allocator_counts() {
    let memory = measure(|| drop(std::hint::black_box(vec![0_u8; 1000])));
    assert_eq!((memory.count_total, memory.bytes_max, memory.bytes_current), (1, 1000, 0));
}

#[test]
fn length_outside_the_bounds_allocates_nothing() {
    for length in [SIDECAR - 1, SIDECAR + 1, 1 << 40, usize::MAX] {
        let wire = opened(length);
        let (memory, result) = fed(LengthBounds::fixed(SIDECAR), [&wire[..]]);
        assert!(result.is_err());
        assert_eq!(memory.count_total, 0, "length {length}");
        let chunk = [&[0][..], &wire].concat();
        let memory = measure(|| drop(ResponseDecoder::new(LengthBounds::fixed(SIDECAR)).push(&chunk)));
        assert_eq!(memory.count_total, 0, "length {length}");
    }
}

#[test]
fn announced_length_alone_allocates_nothing() {
    let wire = opened(LARGE.max());
    let (memory, result) = fed(LARGE, [&wire[..], &[1, 4, 0, 1, 0, 0, 0, 0]]);
    assert_eq!(result, Ok(()));
    assert_eq!(memory.count_total, 0);
}

#[test]
fn first_byte_of_a_large_payload_costs_the_first_reserve() {
    let wire = opened(LARGE.max());
    let (memory, result) = fed(LARGE, [&wire[..], &[1, 4, 0, 1, 0, 0, 0, 0, b'x']]);
    assert_eq!(result, Ok(()));
    assert_eq!(memory.bytes_total, FIRST_RESERVE as u64);
}

#[test]
fn first_byte_of_a_compressed_frame_costs_a_few_bytes() {
    let wire = opened(LARGE.max());
    let (memory, result) = fed(LARGE, [&wire[..], &[0, 4, 0, 1, 0]]);
    assert_eq!(result, Ok(()));
    assert!(memory.bytes_total <= 16, "{} bytes", memory.bytes_total);
}

#[test]
fn memory_follows_the_data_that_arrived() {
    let wire = opened(LARGE.max());
    let block = frames(&vec![0; MAX_FRAME_DATA]);
    for count in [1, 4, 5, 16, 17, 100] {
        let (memory, result) = fed(LARGE, std::iter::once(&wire[..]).chain(std::iter::repeat_n(&block[..], count)));
        assert_eq!(result, Ok(()));
        assert!(memory.bytes_max <= allowed(count * MAX_FRAME_DATA), "{count} frames: {} bytes", memory.bytes_max);
    }
}

#[test]
fn bomb_of_ten_mebibytes_of_zeros_costs_a_sidecar() {
    let bomb = [opened(SIDECAR), frames(&vec![0; 10 << 20])].concat();
    for read in [1, 1000, bomb.len()] {
        let (memory, result) = fed(LengthBounds::fixed(SIDECAR), bomb.chunks(read));
        assert_eq!(result, Err(FramingError::PayloadTooLong { length: SIDECAR }));
        assert!(memory.bytes_max <= allowed(SIDECAR), "{} bytes", memory.bytes_max);
    }
}

#[test]
fn padding_allocates_nothing() {
    let padding = [&[0xfe, 0xff, 0xff, 0x0f][..], &vec![0; 0x000f_ffff]].concat();
    let wire = opened(LARGE.max());
    let (memory, result) = fed(LARGE, std::iter::once(&wire[..]).chain(padding.chunks(4096)));
    assert_eq!(result, Ok(()));
    assert_eq!(memory.count_total, 0);
}

#[test]
fn sidecar_is_allocated_once() {
    let noise: Vec<u8> = (0..SIDECAR as u64).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes()[0]).collect();
    for data in [noise, vec![0; SIDECAR]] {
        let wire = [opened(SIDECAR), frames(&data)].concat();
        let (memory, result) = fed(LengthBounds::fixed(SIDECAR), [&wire[..]]);
        assert_eq!(result, Ok(()));
        assert_eq!((memory.count_total, memory.bytes_total), (1, SIDECAR as u64));
    }
}

/// Work is counted in bytes that are allocated, and so moved, in all. A decoder that began again with every byte, or kept
/// what it got in a buffer that grows by what comes, would need a thousand times as many.
#[test]
fn thirty_two_mebibytes_that_come_byte_by_byte_are_linear_work() {
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    for size in [1 << 20, 8 << 20, LARGE.max()] {
        let incompressible: Vec<u8> = (0..size).map(|_| noise()).collect();
        let text: Vec<u8> = (0..size).map(|index| b"a payload that can be packed "[index % 29]).collect();
        for data in [incompressible, text] {
            let wire = [opened(size), frames(&data)].concat();
            let (memory, result) = fed(LARGE, wire.chunks(1));
            assert_eq!(result, Ok(()));
            // Doubling moves everything twice at most; the carry of a frame grows once and is kept.
            let allowed = 2 * size + 4 * MAX_FRAME_BODY + FIRST_RESERVE;
            assert!(memory.bytes_total <= allowed as u64, "{size}: {} bytes", memory.bytes_total);
            assert!(memory.count_total <= 48, "{size}: {} allocations", memory.count_total);
        }
    }
}

#[test]
fn endless_chunks_keep_memory_flat() {
    let mut chunk = Vec::new();
    Encoder::new().chunk(LengthBounds::fixed(SIDECAR), &[&vec![5; SIDECAR]], &mut chunk).unwrap();
    let memory = measure(|| {
        let mut decoder = ResponseDecoder::new(LengthBounds::fixed(SIDECAR));
        for _ in 0..500 {
            for piece in chunk.chunks(1000) {
                drop(decoder.push(piece).unwrap());
            }
        }
    });
    assert!(memory.bytes_max <= allowed(SIDECAR), "{} bytes", memory.bytes_max);
    assert_eq!(memory.bytes_current, 0);
}

#[test]
fn encoder_keeps_one_frame_beside_its_output() {
    let data = vec![9; 1 << 20];
    let memory = measure(|| {
        let mut out = Vec::new();
        Encoder::new().chunk(LARGE, &[&data], &mut out).unwrap();
    });
    assert!(memory.bytes_max <= (1 << 20) + 2 * MAX_FRAME_BODY as u64, "{} bytes", memory.bytes_max);
}

proptest! {
    #[test]
    fn arbitrary_bytes_stay_within_the_bounds(
        wire in prop::collection::vec(any::<u8>(), 0..2000),
        valid in any::<bool>(),
        max in 0_usize..10_000,
    ) {
        let wire = if valid { [&opened(max)[..], &wire].concat() } else { wire };
        let bounds = LengthBounds::between(0, max);
        let (memory, _) = fed(bounds, wire.chunks(7));
        prop_assert!(memory.bytes_max <= 3 * (max + wire.len()) as u64, "{} bytes", memory.bytes_max);
        let memory = measure(|| {
            let mut decoder = ResponseDecoder::new(bounds);
            let mut rest = &wire[..];
            while let Ok(progress) = decoder.push(rest) {
                rest = &rest[progress.consumed..];
                if rest.is_empty() {
                    break;
                }
            }
        });
        prop_assert!(memory.bytes_max <= 3 * (max.max(256) + wire.len()) as u64, "{} bytes", memory.bytes_max);
    }
}
