//! Archives with an index, read part by part.

use std::{io::Write, ops::Range};

use lapis_protocol_spec::{
    Bytes32,
    archive::{ArchiveError, ArchiveFault, FrameKind, Index, IndexFault, MAX_INDEX_HEIGHTS, SidecarPart},
};
use proptest::prelude::*;

use super::*;

/// Heights with no part of sidecars, one, one that is full, and more, also where the validators change.
static PARTED: LazyLock<Made> = LazyLock::new(|| Made::new(&[0, 1, 16, 17, 33]));
static PLAIN: LazyLock<(Vec<u8>, Index)> = LazyLock::new(|| indexed(&PARTED, Compression::None));
static PACKED: LazyLock<(Vec<u8>, Index)> = LazyLock::new(|| indexed(&PARTED, Compression::Zstd));

/// An archive of the whole chain, and its index.
fn indexed(made: &Made, compression: Compression) -> (Vec<u8>, Index) {
    let last = made.blocks.len();
    let stored = made.store(last);
    let header = made.header(1, last as u64, compression);
    let mut bytes = Vec::new();
    let mut go_on = |_: &Written| ControlFlow::Continue(());
    let (written, index) = write_indexed(&stored.0, &header, &mut bytes, &mut go_on).unwrap();
    assert_eq!(written.heights, last as u64);
    (bytes, index)
}

fn cut(archive: &[u8], range: &Range<u64>) -> Vec<u8> {
    archive[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

fn payload_of(made: &Made, height: u64) -> &PayloadEnvelope {
    &made.blocks[usize::try_from(height).unwrap() - 1].payload
}

/// `bytes` as one zstd frame that ends with a checksum.
fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut frame = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    frame.include_checksum(true).unwrap();
    frame.write_all(bytes).unwrap();
    frame.finish().unwrap()
}

fn unpack(part: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(part).unwrap()
}

fn fault(error: ReadError) -> ArchiveFault {
    match error {
        ReadError::Archive(ArchiveError { fault, .. }) => fault,
        other => panic!("{other}"),
    }
}

fn read_payload(part: &[u8], height: u64) -> Result<PayloadEnvelope, ReadError> {
    read_payload_part(part, Compression::Zstd, height, PayloadEnvelope::MAX_BYTES)
}

#[test]
fn parts_hold_what_the_store_holds() {
    let made = &*PARTED;
    for compression in [Compression::None, Compression::Zstd] {
        let (archive, index) = indexed(made, compression);
        let index = Index::decode(&index.encode()).unwrap();
        assert_eq!((index.first(), index.last(), index.compression()), (1, 5, compression));
        assert_eq!(*index.genesis_id(), made.chain.genesis().id());
        for block in &made.blocks {
            let height = block.decided.height();
            let record = index.record(height).unwrap();
            assert!(*record.decided() == *block.decided);
            let part = cut(&archive, &record.payload_part());
            assert!(
                read_payload_part(&part, compression, height, PayloadEnvelope::MAX_BYTES).unwrap() == *block.payload,
                "payload {height}"
            );
            let mut sidecars = Vec::new();
            for (range, part) in record.sidecar_parts() {
                let bytes = cut(&archive, &range);
                sidecars.extend(read_sidecar_part(&bytes, compression, height, part).unwrap());
            }
            assert_eq!(sidecars.len(), block.blobs.len());
            assert!(sidecars.iter().zip(&block.blobs).all(|(found, held)| *found == **held), "blobs of {height}");
        }
    }
}

#[test]
fn an_index_has_the_sets_that_become_known() {
    let spec = PARTED.maker.spec();
    let roots =
        |height| PLAIN.1.record(height).unwrap().sets().iter().map(ValidatorSet::root).collect::<Vec<Bytes32>>();
    assert_ne!(spec.validators_root(2), spec.validators_root(3));
    assert_eq!(roots(1), [spec.validators_root(1)]);
    assert_eq!(roots(2), [spec.validators_root(3)]);
    for height in [3, 4, 5] {
        assert!(roots(height).is_empty());
    }
}

#[test]
fn an_index_does_not_change_its_archive() {
    let made = &*PARTED;
    for (archive, compression) in [(&PLAIN.0, Compression::None), (&PACKED.0, Compression::Zstd)] {
        assert!(*archive == made.archive(1, 5, compression));
        let stored = Stored::new(&made.chain);
        assert!(stored.import(made, archive.as_slice()).error.is_none());
        made.assert_whole(&stored);
    }
}

#[test]
fn a_compressed_part_is_one_frame() {
    let (archive, index) = &*PACKED;
    let mut frames = 0;
    for record in index.records() {
        let sidecar_parts = record.sidecar_parts().map(|(range, _)| range);
        for range in [record.payload_part()].into_iter().chain(sidecar_parts) {
            let part = cut(archive, &range);
            assert_eq!(zstd::zstd_safe::find_frame_compressed_size(&part), Ok(part.len()));
            frames += 1;
        }
    }
    assert_eq!(frames, 5 + 1 + 1 + 2 + 3);
}

/// Boundaries of zstd frames mean nothing to who reads the whole: writers may begin one with each record.
#[test]
fn an_archive_with_a_frame_for_each_record_is_read() {
    let made = &*PARTED;
    let header = made.header(1, 5, Compression::Zstd).encode();
    let mut body = &PLAIN.0[header.len()..];
    let mut archive = header;
    for _ in &made.blocks {
        assert_eq!(body[0], FrameKind::Height.byte());
        let rest = u64::from_le_bytes(body[13..21].try_into().unwrap());
        let (record, after) = body.split_at(21 + usize::try_from(rest).unwrap());
        archive.extend(pack(record));
        body = after;
    }
    assert_eq!(body[0], FrameKind::End.byte());
    archive.extend(pack(body));
    let stored = Stored::new(&made.chain);
    let outcome = stored.import(made, archive.as_slice());
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    made.assert_whole(&stored);

    let cut_off = &archive[..archive.len() - 1];
    let outcome = Stored::new(&made.chain).import(made, cut_off);
    assert!(
        matches!(
            outcome.error,
            Some(ImportError::Read(ReadError::Archive(ArchiveError { fault: ArchiveFault::Truncated, .. })))
        ),
        "{:?}",
        outcome.error
    );
}

#[test]
fn more_heights_than_an_index_has_are_refused_before_anything_is_written() {
    let made = &*PARTED;
    let stored = made.store(5);
    let header = made.header(1, MAX_INDEX_HEIGHTS + 1, Compression::None);
    let mut bytes = Vec::new();
    let error = write_indexed(&stored.0, &header, &mut bytes, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, WriteError::Index(IndexFault::Heights(_))), "{error}");
    assert!(bytes.is_empty());
}

#[test]
fn a_part_that_is_not_whole_or_not_alone_is_refused() {
    let (archive, index) = &*PACKED;
    let part = pack(&unpack(&cut(archive, &index.payload_part(2).unwrap())));
    assert!(read_payload(&part, 2).unwrap() == *payload_of(&PARTED, 2));
    for length in 0..part.len() {
        let fault = fault(read_payload(&part[..length], 2).unwrap_err());
        assert!(matches!(fault, ArchiveFault::Truncated), "{length} bytes: {fault}");
    }
    for behind in [&b"\0"[..], &part, &pack(b"")] {
        let longer = [part.as_slice(), behind].concat();
        assert!(matches!(fault(read_payload(&longer, 2).unwrap_err()), ArchiveFault::AfterEnd));
    }
    let plain = unpack(&part);
    let halves = [pack(&plain[..100]), pack(&plain[100..])].concat();
    assert!(matches!(fault(read_payload(&halves, 2).unwrap_err()), ArchiveFault::Truncated));
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0, 0, 0, 0], part.as_slice()].concat();
    assert!(read_payload(&skippable, 2).is_err());
}

#[test]
fn the_compression_has_to_be_that_of_the_archive() {
    let plain = cut(&PLAIN.0, &PLAIN.1.payload_part(1).unwrap());
    let packed = cut(&PACKED.0, &PACKED.1.payload_part(1).unwrap());
    assert!(matches!(read_payload(&plain, 1), Err(ReadError::Compression { offset: 0, .. })));
    let fault = fault(read_payload_part(&packed, Compression::None, 1, PayloadEnvelope::MAX_BYTES).unwrap_err());
    assert!(matches!(fault, ArchiveFault::Frame { .. }), "{fault}");
}

/// Inflates to `part` and a GiB of zeros behind it.
fn bomb(part: &[u8]) -> Vec<u8> {
    let mut frame = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    frame.write_all(part).unwrap();
    let zeros = vec![0; 16 * 1024 * 1024];
    (0..64).for_each(|_| frame.write_all(&zeros).unwrap());
    frame.finish().unwrap()
}

#[test]
fn a_bomb_is_an_error_and_no_memory() {
    let (archive, index) = &*PLAIN;
    let payload_part = cut(archive, &index.payload_part(2).unwrap());
    let (range, part) = index.sidecar_part(2, 0).unwrap();
    let sidecar_part = cut(archive, &range);
    let bombs = [(bomb(&[]), false), (bomb(&payload_part), true), (bomb(&sidecar_part), true)];
    for (bomb, is_part) in &bombs {
        assert!(bomb.len() < 1024 * 1024);
        let measured = allocation_counter::measure(|| {
            let payload = fault(read_payload(bomb, 2).unwrap_err());
            let sidecars = fault(read_sidecar_part(bomb, Compression::Zstd, 2, part).unwrap_err());
            let is_after_end = [payload, sidecars].iter().any(|fault| matches!(fault, ArchiveFault::AfterEnd));
            assert_eq!(is_after_end, *is_part);
        });
        assert!(measured.bytes_max < 1024 * 1024, "{} bytes", measured.bytes_max);
    }
}

#[test]
fn a_window_above_the_bound_is_refused_in_a_part() {
    let plain = cut(&PLAIN.0, &PLAIN.1.payload_part(1).unwrap());
    let mut frame = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    frame.window_log(24).unwrap();
    frame.write_all(&plain).unwrap();
    let part = frame.finish().unwrap();
    assert!(matches!(read_payload(&part, 1), Err(ReadError::Compression { offset: 0, .. })));
}

#[test]
fn a_sidecar_part_takes_the_memory_of_its_sidecars() {
    for (archive, index) in [&*PLAIN, &*PACKED] {
        let (range, part) = index.sidecar_part(5, 16).unwrap();
        let bytes = cut(archive, &range);
        let measured = allocation_counter::measure(|| {
            let sidecars = read_sidecar_part(&bytes, index.compression(), 5, part).unwrap();
            assert_eq!(sidecars.len(), 16);
        });
        assert!(measured.bytes_max < (16 + 6) * 131_072, "{} bytes", measured.bytes_max);
    }
}

/// Whatever a damaged part gives is of the form of what was asked for; whether it is true is for the gates to say.
fn assert_formed(sidecars: &[BlobSidecar], height: u64, part: SidecarPart) {
    assert_eq!(sidecars.len(), part.count());
    assert!(sidecars.iter().map(|sidecar| sidecar.index).eq(part.indices()));
    assert!(sidecars.iter().all(|sidecar| sidecar.height == height));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_damaged_sidecar_part_gives_an_error_or_sidecars_for_the_gates(
        packed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let (archive, index) = if packed { &*PACKED } else { &*PLAIN };
        let (range, part) = index.sidecar_part(4, 0).unwrap();
        let mut bytes = cut(archive, &range);
        let position = at.index(bytes.len());
        bytes[position] ^= flip;
        if let Ok(sidecars) = read_sidecar_part(&bytes, index.compression(), 4, part) {
            assert_formed(&sidecars, 4, part);
        }
    }

    #[test]
    fn a_sidecar_part_that_is_cut_off_or_shifted_is_refused(
        packed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        by in 1_u64..3000,
    ) {
        let (archive, index) = if packed { &*PACKED } else { &*PLAIN };
        let (range, part) = index.sidecar_part(4, 0).unwrap();
        let bytes = cut(archive, &range);
        prop_assert!(read_sidecar_part(&bytes[..at.index(bytes.len())], index.compression(), 4, part).is_err());
        for shifted in [range.start - by..range.end - by, range.start + by..range.end + by] {
            let bytes = cut(archive, &shifted);
            prop_assert!(read_sidecar_part(&bytes, index.compression(), 4, part).is_err());
        }
    }

    /// The one part of a record without blobs is covered by its checksum.
    #[test]
    fn a_damaged_record_without_blobs_is_refused_or_the_same(
        packed in any::<bool>(),
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let (archive, index) = if packed { &*PACKED } else { &*PLAIN };
        let mut bytes = cut(archive, &index.payload_part(1).unwrap());
        let position = at.index(bytes.len());
        bytes[position] ^= flip;
        if let Ok(payload) = read_payload_part(&bytes, index.compression(), 1, PayloadEnvelope::MAX_BYTES) {
            // A compressed frame has bits that mean nothing.
            prop_assert!(packed && payload == *payload_of(&PARTED, 1));
        }
    }
}

#[test]
fn a_payload_that_is_longer_than_it_may_be_is_not_inflated() {
    const LIMIT: usize = 256 * 1024;
    let made = &*PARTED;
    let (archive, index) = indexed(made, Compression::None);
    let mut part = cut(&archive, &index.payload_part(1).unwrap());
    // The head of the payload's frame, which its content follows.
    let kind = FrameKind::Payload.byte();
    let length = u32::try_from(encode(payload_of(made, 1)).len()).unwrap();
    let head: Vec<u8> = [kind].into_iter().chain(length.to_le_bytes()).collect();
    let at = part.windows(head.len()).position(|bytes| bytes == head).unwrap();
    part.truncate(at + 1);
    let stated = 64 * 1024 * 1024_u32;
    // The frame of the height says last how long the record is.
    let record = &mut part[13..21];
    let bytes = u64::from_le_bytes(record.try_into().unwrap()) - u64::from(length) + u64::from(stated);
    record.copy_from_slice(&bytes.to_le_bytes());
    part.extend_from_slice(&stated.to_le_bytes());
    part.resize(part.len() + 64 * 1024 * 1024, 0);
    let packed = pack(&part);
    assert!(packed.len() < LIMIT);
    match fault(read_payload_part(&packed, Compression::Zstd, 1, LIMIT).unwrap_err()) {
        ArchiveFault::Length { kind: FrameKind::Payload, length } => assert_eq!(length, stated),
        other => panic!("{other}"),
    }
}
