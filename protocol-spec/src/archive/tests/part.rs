//! Records taken apart, and each part read by itself.

use std::ops::Range;

use proptest::prelude::*;

use super::*;

/// Whole parts, one sidecar more than one and two of them, and none.
static PARTED: LazyLock<Archive> = LazyLock::new(|| Archive::new(&[0, 1, 16, 17, 33]));

/// The events of a part, or what is wrong with it.
fn read_part(mut decoder: Decoder, mut part: &[u8]) -> Result<Vec<Event>, ArchiveError> {
    let mut events = Vec::new();
    while !decoder.is_complete() {
        let (taken, rest) = part.split_at(decoder.wants().min(part.len()));
        part = rest;
        events.extend(decoder.accept(taken)?);
    }
    decoder.accept(part)?;
    Ok(events)
}

/// The index of `archive`, by the lengths of the encoded records alone.
fn index(archive: &Archive) -> Index {
    let mut builder = IndexBuilder::new(&archive.header).unwrap();
    let (mut encoder, mut bytes) = (Encoder::new(&archive.header), Vec::new());
    for made in &archive.heights {
        bytes.clear();
        made.write(&mut encoder, &mut bytes);
        let sidecar_parts: Vec<_> = SidecarPart::all(made.blobs.len()).map(|part| part.bytes() as u64).collect();
        let payload_part = bytes.len() as u64 - sidecar_parts.iter().sum::<u64>();
        let parts = [vec![payload_part], sidecar_parts].concat();
        builder.record(made.sets.clone(), made.decided.clone(), &parts).unwrap();
    }
    builder.finish().unwrap()
}

fn cut(archive: &Archive, range: &Range<u64>) -> Vec<u8> {
    archive.bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

#[test]
fn parts_joined_are_what_the_whole_is() {
    let archive = &*PARTED;
    let index = index(archive);
    let mut end = archive.header.encode().len() as u64;
    for (made, record) in archive.heights.iter().zip(index.records()) {
        let height = record.height();
        let mut events = read_part(Decoder::of_payload_part(height), &cut(archive, &record.payload_part())).unwrap();
        assert_eq!(record.payload_part().start, end);
        end = record.payload_part().end;
        for (range, part) in record.sidecar_parts() {
            assert_eq!(range.start, end);
            end = range.end;
            events.extend(read_part(Decoder::of_sidecar_part(height, part), &cut(archive, &range)).unwrap());
        }
        assert!(events == made.events(), "height {height}");
    }
    // The frame that ends the archive.
    assert_eq!(archive.bytes.len() as u64 - end, 5 + 48);
}

#[test]
fn every_sidecar_is_in_one_part() {
    for (blobs, parts) in [(0, 0), (1, 1), (15, 1), (16, 1), (17, 2), (32, 2), (33, 3), (4096, 256)] {
        assert_eq!((SidecarPart::all(blobs).count(), part_count(blobs)), (parts, 1 + parts));
        let indices: Vec<u64> = SidecarPart::all(blobs).flat_map(SidecarPart::indices).collect();
        assert_eq!(indices, (0..blobs as u64).collect::<Vec<_>>());
        for index in indices {
            let part = SidecarPart::of(index, blobs).unwrap();
            assert!(part.indices().contains(&index));
            assert_eq!(part.ends_record(), part.indices().end == blobs as u64);
            assert_eq!((part.first_index(), part.count() as u64), (index / 16 * 16, part.indices().count() as u64));
        }
        assert_eq!(SidecarPart::of(blobs as u64, blobs), None);
    }
    assert_eq!(SidecarPart::of(0, 4097), None, "more than a value can have");
    assert_eq!(SidecarPart::of(u64::MAX, 4096), None);
}

#[test]
fn a_part_of_another_height_or_place_is_refused() {
    let archive = &*PARTED;
    let index = index(archive);
    let fault = |decoder, part: &[u8]| read_part(decoder, part).unwrap_err().fault;
    let payload = cut(archive, &index.payload_part(4).unwrap());
    assert!(matches!(
        fault(Decoder::of_payload_part(5), &payload),
        ArchiveFault::Height { kind: FrameKind::Height, found: 4, due: 5 }
    ));
    let (range, first) = index.sidecar_part(5, 0).unwrap();
    let sidecars = cut(archive, &range);
    assert!(matches!(fault(Decoder::of_payload_part(5), &sidecars), ArchiveFault::Frame { found: 5, .. }));
    assert!(matches!(fault(Decoder::of_sidecar_part(5, first), &payload), ArchiveFault::Frame { found: 1, .. }));
    assert!(matches!(
        fault(Decoder::of_sidecar_part(4, first), &sidecars),
        ArchiveFault::Height { kind: FrameKind::Sidecar, found: 5, due: 4 }
    ));
    let second = SidecarPart::of(16, 33).unwrap();
    assert!(matches!(fault(Decoder::of_sidecar_part(5, second), &sidecars), ArchiveFault::Index { found: 0, due: 16 }));
}

#[test]
fn a_part_ends_where_its_record_lets_it() {
    let archive = &*PARTED;
    let index = index(archive);
    let fault = |decoder, part: &[u8]| read_part(decoder, part).unwrap_err().fault;
    // Sixteen sidecars that are all of height 3, and sixteen of the 33 of height 5.
    let last = cut(archive, &index.sidecar_part(3, 0).unwrap().0);
    let inner = cut(archive, &index.sidecar_part(5, 0).unwrap().0);
    let as_inner = SidecarPart::of(0, 33).unwrap();
    let as_last = SidecarPart::of(0, 16).unwrap();
    assert!(matches!(fault(Decoder::of_sidecar_part(3, as_inner), &last), ArchiveFault::AfterEnd));
    assert!(matches!(fault(Decoder::of_sidecar_part(5, as_last), &inner), ArchiveFault::Truncated));
    let as_fewer = SidecarPart::of(0, 15).unwrap();
    assert!(matches!(fault(Decoder::of_sidecar_part(3, as_fewer), &last), ArchiveFault::Frame { found: 5, .. }));
}

#[test]
fn a_payload_part_that_is_cut_off_or_too_long_is_refused() {
    let archive = &*PARTED;
    let index = index(archive);
    for height in [1, 2] {
        let part = cut(archive, &index.payload_part(height).unwrap());
        for length in 0..part.len() {
            let fault = read_part(Decoder::of_payload_part(height), &part[..length]).unwrap_err().fault;
            assert!(matches!(fault, ArchiveFault::Truncated), "height {height}, {length} bytes: {fault}");
        }
        let longer = [part.as_slice(), &[0]].concat();
        let fault = read_part(Decoder::of_payload_part(height), &longer).unwrap_err().fault;
        assert!(matches!(fault, ArchiveFault::AfterEnd), "height {height}: {fault}");
    }
}

/// A record without blobs is whole in its payload part, so its checksum counts; with blobs the lengths still have to
/// fit the number of commitments.
#[test]
fn a_payload_part_shows_what_is_wrong_with_its_record() {
    let archive = &*PARTED;
    let index = index(archive);
    let whole = cut(archive, &index.payload_part(1).unwrap());
    for position in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        assert!(read_part(Decoder::of_payload_part(1), &damaged).is_err(), "byte {position}");
    }
    let mut skewed = cut(archive, &index.payload_part(2).unwrap());
    skewed[13] ^= 1;
    let fault = read_part(Decoder::of_payload_part(2), &skewed).unwrap_err().fault;
    assert!(matches!(fault, ArchiveFault::RecordLength), "{fault}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A sidecar part has no checksum of its own: what is not noticed is one sidecar that is another, which no proof
    /// will fit, or the checksum of the record.
    #[test]
    fn damage_to_a_sidecar_part_is_noticed_or_stays_within_a_sidecar(
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let archive = &*PARTED;
        let (range, part) = index(archive).sidecar_part(4, 16).unwrap();
        let good = cut(archive, &range);
        let mut damaged = good.clone();
        let position = at.index(damaged.len());
        damaged[position] ^= flip;
        if let Ok(events) = read_part(Decoder::of_sidecar_part(4, part), &damaged) {
            let expected = read_part(Decoder::of_sidecar_part(4, part), &good).unwrap();
            assert_eq!(events.len(), expected.len());
            let differing = events.iter().zip(&expected).filter(|(found, due)| found != due).count();
            let in_checksum = position >= good.len() - CHECKSUM_BYTES;
            prop_assert_eq!(differing, usize::from(!in_checksum));
        }
    }

    #[test]
    fn any_bytes_are_read_as_a_part_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let part = SidecarPart::of(0, 1).unwrap();
        prop_assert!(read_part(Decoder::of_payload_part(1), &bytes).is_err());
        prop_assert!(read_part(Decoder::of_sidecar_part(1, part), &bytes).is_err());
    }
}
