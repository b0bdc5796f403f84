//! Archives that are not what was written.

use std::io::Write;

use lapis_protocol_spec::archive::{ArchiveError, ArchiveFault};
use proptest::prelude::*;

use super::*;

static PLAIN: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.archive(1, 6, Compression::None));
static PACKED: LazyLock<Vec<u8>> = LazyLock::new(|| SMALL.archive(1, 6, Compression::Zstd));

/// Whether the import of `damaged` came to its end; it has stored nothing that is not true.
fn imports(damaged: &[u8]) -> bool {
    let stored = Stored::new(&SMALL.chain);
    let outcome = stored.import(&SMALL, damaged);
    let items = SMALL.assert_true(&stored);
    assert_eq!(items as u64, outcome.imported.payloads + outcome.imported.blobs, "all that is stored is told");
    outcome.error.is_none()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_changed_byte_never_stores_anything_wrong(at in any::<prop::sample::Index>(), flip in 1_u8..) {
        let mut damaged = PLAIN.clone();
        let position = at.index(damaged.len());
        damaged[position] ^= flip;
        prop_assert!(!imports(&damaged), "byte {} xor {:#x} was not noticed", position, flip);
    }

    #[test]
    fn a_changed_byte_in_a_compressed_archive_never_stores_anything_wrong(
        at in any::<prop::sample::Index>(),
        flip in 1_u8..,
    ) {
        let mut damaged = PACKED.clone();
        let position = at.index(damaged.len());
        damaged[position] ^= flip;
        imports(&damaged);
    }

    #[test]
    fn an_archive_that_is_cut_off_keeps_what_came_before(at in any::<prop::sample::Index>(), packed in any::<bool>()) {
        let archive = if packed { &*PACKED } else { &*PLAIN };
        prop_assert!(!imports(&archive[..at.index(archive.len())]));
    }
}

/// The parts that are small beside the blobs, where a random position hardly ever falls.
#[test]
fn a_changed_byte_outside_of_the_blobs_never_stores_anything_wrong() {
    let header = SMALL.header(1, 6, Compression::None).encode().len();
    // Header, and everything of height 1 up to the first bytes of its first blob.
    let payload = encode(&*SMALL.blocks[0].payload).len();
    for position in (0..header + 800).step_by(13).chain((header + 800..header + 800 + payload).step_by(211)) {
        let mut damaged = PLAIN.clone();
        damaged[position] ^= 0x10;
        assert!(!imports(&damaged), "byte {position} was not noticed");
    }
}

#[test]
fn the_good_prefix_is_kept() {
    let made = &*SMALL;
    let mut damaged = made.archive(1, 6, Compression::None);
    let sidecar = made.blocks[4].blobs[1].clone().into_inner();
    let ssz = encode(&sidecar);
    let at = damaged.windows(200).position(|window| *window == ssz[..200]).unwrap();
    damaged[at + 5000] ^= 1;
    let stored = Stored::new(&made.chain);
    let outcome = stored.import(made, damaged.as_slice());
    match outcome.error {
        // Whichever stage sees it first: it is the same byte.
        Some(ImportError::Untrue { height: 5, fault: ItemFault::Proof { index: 1 } }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(stored.0.watermarks().available, 4);
    assert!(stored.import(made, made.archive(1, 6, Compression::None).as_slice()).error.is_none());
    made.assert_whole(&stored);
}

#[test]
fn something_behind_the_end_is_told() {
    for archive in [&*PLAIN, &*PACKED] {
        let longer = [archive.as_slice(), b"and so on"].concat();
        assert!(!imports(&longer));
    }
}

#[test]
fn a_window_above_the_bound_is_refused() {
    let header = SMALL.header(1, 6, Compression::Zstd);
    let plain_header = SMALL.header(1, 6, Compression::None).encode().len();
    let mut archive = header.encode();
    let mut frame = zstd::stream::write::Encoder::new(&mut archive, 1).unwrap();
    frame.window_log(24).unwrap();
    frame.write_all(&PLAIN[plain_header..]).unwrap();
    frame.finish().unwrap();
    let outcome = Stored::new(&SMALL.chain).import(&SMALL, archive.as_slice());
    assert!(
        matches!(outcome.error, Some(ImportError::Read(ReadError::Compression { offset: 0, .. }))),
        "{:?}",
        outcome.error
    );
}

/// Most bytes that reading `archive` to its fault holds at a time.
fn memory(archive: &[u8]) -> u64 {
    let measured = allocation_counter::measure(|| {
        let mut reader = ArchiveReader::open(archive).unwrap();
        while reader.next_event().unwrap().is_some() {}
    });
    measured.bytes_max
}

#[test]
fn a_reader_takes_the_memory_of_an_item() {
    let made = Made::new(&[40]);
    for compression in [Compression::None, Compression::Zstd] {
        let archive = made.archive(1, 1, compression);
        assert!(archive.len() > 40 * 131_072);
        let bytes = memory(&archive);
        assert!(bytes < 1024 * 1024, "{compression:?}: {bytes} bytes");
    }
}

#[test]
fn a_length_that_is_a_lie_takes_no_memory() {
    let made = &*SMALL;
    let header = made.header(1, 1, Compression::None);
    let parts = made.parts(1);
    let mut archive = header.encode();
    // Up to a payload that says to be as long as payloads can be.
    Encoder::new(&header).height(&parts.sets, &parts.decided, PayloadEnvelope::MAX_BYTES, &mut archive).unwrap();
    archive.extend_from_slice(&[&[4][..], &u32::try_from(PayloadEnvelope::MAX_BYTES).unwrap().to_le_bytes()].concat());
    archive.extend_from_slice(&[0; 1000]);
    let measured = allocation_counter::measure(|| {
        let mut reader = ArchiveReader::open(archive.as_slice()).unwrap();
        let error = loop {
            if let Err(error) = reader.next_event() {
                break error;
            }
        };
        assert!(matches!(
            error,
            ReadError::Archive(ArchiveError { height: Some(1), fault: ArchiveFault::Truncated, .. })
        ));
    });
    assert!(measured.bytes_max < 1024 * 1024, "{} bytes", measured.bytes_max);
}
