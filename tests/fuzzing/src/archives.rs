//! Archives and their indices.

use lapis_protocol_spec::archive::{Decoder, HeaderDecoder, Index, MAX_INDEX_BYTES};

/// Reads an uncompressed archive to its end, or to the first thing that is wrong.
pub(super) fn archive(bytes: &[u8]) {
    let mut rest = bytes;
    let mut take = |count: usize| {
        let (taken, left) = rest.split_at(count.min(rest.len()));
        rest = left;
        taken
    };
    let mut head = HeaderDecoder::new();
    let header = loop {
        match head.accept(take(head.wants())) {
            Ok(Some(header)) => break header,
            Ok(None) => {}
            Err(_) => return,
        }
    };
    assert!(bytes.starts_with(&header.encode()), "a header does not encode to its bytes");
    let mut decoder = Decoder::new(&header);
    while !decoder.is_complete() {
        if decoder.accept(take(decoder.wants())).is_err() {
            return;
        }
    }
}

/// Reads an index.
pub(super) fn index(bytes: &[u8]) {
    let Ok(index) = Index::decode(bytes) else { return };
    assert!(bytes.len() <= MAX_INDEX_BYTES, "an index beyond its bound");
    assert!(index.encode() == bytes, "an index does not encode to its bytes");
    let mut end = 0;
    for record in index.records() {
        let payload = record.payload_part();
        assert!(end <= payload.start && payload.start < payload.end, "parts that overlap");
        end = payload.end;
        for (range, part) in record.sidecar_parts() {
            assert!(range.start == end && range.end > end, "sidecars that are not where the part before them ends");
            assert_eq!(record.sidecar_part(part.first_index()), Some((range.clone(), part)));
            end = range.end;
        }
    }
}
