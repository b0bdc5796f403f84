//! The chunks of a response.

use bytes::Bytes;

use super::wire::{UP_TO_1_MIB, failure, item, join, noise, payload, prefix, response, response_in_pieces, success};
use crate::framing::{
    ErrorCode, FramingError, LengthBounds, MAX_ERROR_MESSAGE, ResponseChunk, ResponseDecoder, STREAM_IDENTIFIER,
};

fn error(byte: u8, message: &[u8]) -> ResponseChunk {
    let code = ErrorCode::from_byte(byte).unwrap();
    ResponseChunk::Error { code, message: Bytes::copy_from_slice(message) }
}

#[test]
fn no_chunk_then_end() {
    assert_eq!(response(UP_TO_1_MIB, b""), (vec![], Ok(())));
}

#[test]
fn result_byte_then_end() {
    for result in [0, 1, 139, 255] {
        assert_eq!(response(UP_TO_1_MIB, &[result]), (vec![], Err(FramingError::EndedInPrefix)));
    }
}

#[test]
fn end_after_the_prefix_and_at_every_byte_of_the_payload() {
    let whole = join([success(b"first"), success(&noise(40))]);
    let second = success(b"first").len();
    for end in second + 1..whole.len() {
        let expected = if end < second + 2 { FramingError::EndedInPrefix } else { FramingError::EndedInPayload };
        assert_eq!(response(UP_TO_1_MIB, &whole[..end]), (vec![item(b"first")], Err(expected)));
    }
    assert_eq!(response(UP_TO_1_MIB, &whole[..second]), (vec![item(b"first")], Ok(())));
}

#[test]
fn one_chunk_in_many_reads() {
    let data = noise(150_000);
    let wire = success(&data);
    for read in [1, 7, 4096, 65_536] {
        assert_eq!(response_in_pieces(UP_TO_1_MIB, wire.chunks(read)), (vec![item(&data)], Ok(())));
    }
}

#[test]
fn two_chunks_in_one_read() {
    let (first, second) = (success(b"first"), success(b"second"));
    let mut decoder = ResponseDecoder::new(UP_TO_1_MIB);
    let both = join([&first, &second]);
    let progress = decoder.push(&both).unwrap();
    assert_eq!((progress.consumed, progress.chunk), (first.len(), Some(item(b"first"))));
    let progress = decoder.push(&both[first.len()..]).unwrap();
    assert_eq!((progress.consumed, progress.chunk), (second.len(), Some(item(b"second"))));
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn end_of_one_chunk_and_start_of_the_next_in_one_read() {
    let both = join([success(b"first"), success(b"second")]);
    for at in 0..=both.len() {
        let (head, tail) = both.split_at(at);
        let expected = vec![item(b"first"), item(b"second")];
        assert_eq!(response_in_pieces(UP_TO_1_MIB, [head, tail]), (expected, Ok(())));
    }
}

#[test]
fn no_input_is_no_progress() {
    let mut decoder = ResponseDecoder::new(UP_TO_1_MIB);
    let progress = decoder.push(b"").unwrap();
    assert_eq!((progress.consumed, progress.chunk), (0, None));
}

#[test]
fn success_success_error() {
    let wire = join([success(b"first"), success(b"second"), failure(2, b"disk")]);
    let expected = vec![item(b"first"), item(b"second"), error(2, b"disk")];
    assert_eq!(response(UP_TO_1_MIB, &wire), (expected, Ok(())));
}

#[test]
fn data_after_an_error_chunk() {
    for after in [vec![0], vec![0xff], success(b"more"), failure(2, b"again")] {
        let wire = join([failure(2, b"disk"), after]);
        let expected = (vec![error(2, b"disk")], Err(FramingError::BytesAfterErrorChunk));
        assert_eq!(response(UP_TO_1_MIB, &wire), expected);
    }
}

#[test]
fn every_result_byte() {
    for byte in 1..=u8::MAX {
        let (chunks, end) = response(UP_TO_1_MIB, &failure(byte, b"why"));
        assert_eq!((chunks, end), (vec![error(byte, b"why")], Ok(())));
        assert_eq!(ErrorCode::from_byte(byte).unwrap().byte(), byte);
    }
    assert_eq!(ErrorCode::from_byte(0), None);
}

#[test]
fn named_result_bytes() {
    let named =
        [ErrorCode::InvalidRequest, ErrorCode::ServerError, ErrorCode::ResourceUnavailable, ErrorCode::RateLimited];
    assert_eq!(named.map(ErrorCode::byte), [1, 2, 3, 139]);
    for byte in [4, 127, 255] {
        assert!(matches!(ErrorCode::from_byte(byte), Some(ErrorCode::Unknown(code)) if code.byte() == byte));
    }
}

#[test]
fn error_text_empty() {
    for wire in [vec![1, 0], failure(1, b"")] {
        assert_eq!(response(UP_TO_1_MIB, &wire), (vec![error(1, b"")], Ok(())));
    }
    let half = &failure(1, b"")[..5];
    assert_eq!(response(UP_TO_1_MIB, half), (vec![error(1, b"")], Err(FramingError::EndedInPayload)));
    let after = join([failure(1, b""), vec![0xff]]);
    assert_eq!(response(UP_TO_1_MIB, &after), (vec![error(1, b"")], Err(FramingError::BytesAfterErrorChunk)));
}

#[test]
fn error_text_of_256_bytes() {
    let text = noise(MAX_ERROR_MESSAGE);
    assert_eq!(response(LengthBounds::fixed(8), &failure(3, &text)), (vec![error(3, &text)], Ok(())));
}

#[test]
fn error_text_of_512_bytes() {
    let expected = FramingError::LengthAboveMaximum { length: 512, max: MAX_ERROR_MESSAGE };
    assert_eq!(response(UP_TO_1_MIB, &failure(3, &noise(512))), (vec![], Err(expected)));
}

#[test]
fn error_text_not_utf8() {
    let text = [0xff, 0xfe, 0x00, 0xc3];
    assert_eq!(response(UP_TO_1_MIB, &failure(2, &text)), (vec![error(2, &text)], Ok(())));
}

#[test]
fn error_chunk_instead_of_an_item_of_fixed_size() {
    assert_eq!(response(LengthBounds::fixed(131_184), &failure(3, b"gone")), (vec![error(3, b"gone")], Ok(())));
}

#[test]
fn endless_chunks_come_one_at_a_time() {
    let wire = join(std::iter::repeat_n(success(b"item"), 1000));
    let mut decoder = ResponseDecoder::new(LengthBounds::fixed(4));
    let length = success(b"item").len();
    for start in (0..wire.len()).step_by(length) {
        let progress = decoder.push(&wire[start..]).unwrap();
        assert_eq!((progress.consumed, progress.chunk), (length, Some(item(b"item"))));
    }
}

#[test]
fn compressed_bytes_left_behind_a_payload_begin_a_chunk() {
    // A stray padding frame reads as result 0xfe with a length of 4 and no identifier.
    let stray = join([success(b"item"), vec![0xfe, 4, 0, 0, 0, 0, 0, 0]]);
    let expected = (vec![item(b"item")], Err(FramingError::IdentifierMissing));
    assert_eq!(response(UP_TO_1_MIB, &stray), expected);
}

#[test]
fn empty_chunks_with_and_without_identifier() {
    let bare = [0, 0];
    let identified = success(b"");
    let wire = join([&bare[..], &bare, &identified, &bare, &identified, &success(b"x"), &identified]);
    let empty = || item(b"");
    let expected = vec![empty(), empty(), empty(), empty(), empty(), item(b"x"), empty()];
    assert_eq!(response(UP_TO_1_MIB, &wire), (expected.clone(), Ok(())));
    assert_eq!(response_in_pieces(UP_TO_1_MIB, wire.chunks(1)), (expected, Ok(())));
}

#[test]
fn empty_chunk_is_complete_at_its_prefix() {
    let mut decoder = ResponseDecoder::new(UP_TO_1_MIB);
    let wire = success(b"");
    let progress = decoder.push(&wire).unwrap();
    assert_eq!((progress.consumed, progress.chunk), (2, Some(item(b""))));
    assert_eq!(decoder.finish(), Ok(()));
    let progress = decoder.push(&wire[2..]).unwrap();
    assert_eq!((progress.consumed, progress.chunk), (STREAM_IDENTIFIER.len(), None));
    assert_eq!(decoder.finish(), Ok(()));
}

#[test]
fn byte_ff_behind_an_empty_chunk_begins_the_identifier() {
    let wire = join([&[0, 0][..], &failure(0xff, b"why")]);
    assert_eq!(response(UP_TO_1_MIB, &wire), (vec![item(b"")], Err(FramingError::IdentifierCorrupt)));
}

#[test]
fn chunk_framing_broken_after_good_chunks_keeps_them() {
    let mut broken = success(&noise(100));
    *broken.last_mut().unwrap() ^= 1;
    let (chunks, end) = response(UP_TO_1_MIB, &join([success(b"good"), broken]));
    assert_eq!(chunks, vec![item(b"good")]);
    assert!(matches!(end, Err(FramingError::ChecksumMismatch { .. })));
}

#[test]
fn prefix_of_each_chunk_is_checked() {
    let wire = join([vec![0], payload(b"four"), vec![0], prefix(5)]);
    let expected = FramingError::LengthAboveMaximum { length: 5, max: 4 };
    assert_eq!(response(LengthBounds::fixed(4), &wire), (vec![item(b"four")], Err(expected)));
}
