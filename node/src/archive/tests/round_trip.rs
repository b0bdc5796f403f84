//! Out of one store and into another.

use std::io;

use super::*;

#[test]
fn what_is_exported_is_imported() {
    let made = &*SMALL;
    for compression in [Compression::None, Compression::Zstd] {
        let archive = made.archive(1, 6, compression);
        let stored = Stored::new(&made.chain);
        let outcome = stored.import(made, archive.as_slice());
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        let Imported { heights, values, mended, payloads, blobs, bytes } = outcome.imported;
        assert_eq!((heights, values, mended, payloads, blobs), (6, 6, 0, 6, 9));
        assert!(bytes > 9 * 131_072);
        made.assert_whole(&stored);

        let again = stored.import(made, archive.as_slice());
        assert!(again.error.is_none());
        assert_eq!(again.imported, Imported { heights: 6, ..Imported::default() });
    }
}

#[test]
fn a_writer_counts_what_it_wrote() {
    let made = &*SMALL;
    let stored = made.store(6);
    let mut bytes = Vec::new();
    let mut seen = Vec::new();
    let header = made.header(2, 4, Compression::None);
    let written = write(&stored.0, &header, &mut bytes, &mut |written| {
        seen.push(written.heights);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!((written.heights, written.blobs, written.bytes), (3, 4, bytes.len() as u64));
    assert_eq!(seen, [1, 2, 3]);
}

#[test]
fn an_archive_continues_a_store() {
    let made = &*SMALL;
    let stored = made.store(2);
    let outcome = stored.import(made, made.archive(3, 6, Compression::Zstd).as_slice());
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!((outcome.imported.values, outcome.imported.blobs), (4, 7));
    made.assert_whole(&stored);
}

#[test]
fn an_archive_brings_the_sets_that_sign() {
    let made = &*SMALL;
    let spec = made.maker.spec();
    assert_ne!(spec.validators_root(2), spec.validators_root(3));
    let stored = Stored::new(&made.chain);
    assert!(stored.0.validator_set(&spec.validators_root(3)).unwrap().is_none());
    assert!(stored.import(made, made.archive(1, 2, Compression::None).as_slice()).error.is_none());
    assert_eq!(stored.0.validator_set(&spec.validators_root(3)).unwrap().unwrap(), *spec.validator_set(3));
}

#[test]
fn what_is_missing_is_filled_in() {
    let made = &*SMALL;
    let stored = Stored::new(&made.chain);
    stored.decide(made, 0..4);
    let [first, _, third, _, _, _] = made.blocks.as_slice() else { panic!("another chain") };
    stored.0.insert(Batch { payloads: vec![first.payload.clone()], blobs: first.blobs[1..].to_vec() }).unwrap();
    stored.0.insert(Batch { payloads: vec![], blobs: third.blobs[..2].to_vec() }).unwrap();
    let outcome = stored.import(made, made.archive(1, 6, Compression::None).as_slice());
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert_eq!((outcome.imported.values, outcome.imported.payloads, outcome.imported.blobs), (2, 5, 9 - 3));
    made.assert_whole(&stored);
}

/// Fails once `left` bytes have been read, as a disk may.
struct Interrupted<'a> {
    archive: &'a [u8],
    left: usize,
}

impl Read for Interrupted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.left);
        if most == 0 {
            return Err(io::Error::from_raw_os_error(5));
        }
        let count = self.archive.read(&mut buffer[..most])?;
        self.left -= count;
        Ok(count)
    }
}

#[test]
fn an_interrupted_import_goes_on_where_it_was() {
    let made = &*SMALL;
    for compression in [Compression::None, Compression::Zstd] {
        let archive = made.archive(1, 6, compression);
        let stored = Stored::new(&made.chain);
        let mut blobs = 0;
        for part in 1..8 {
            let outcome = stored.import(made, Interrupted { archive: &archive, left: archive.len() * part / 8 });
            assert!(matches!(outcome.error, Some(ImportError::Read(ReadError::Io(_)))), "{:?}", outcome.error);
            made.assert_true(&stored);
            blobs += outcome.imported.blobs;
        }
        assert!(blobs > 0, "something was kept");
        let outcome = stored.import(made, archive.as_slice());
        assert!(outcome.error.is_none(), "{:?}", outcome.error);
        assert_eq!(blobs + outcome.imported.blobs, 9, "nothing was stored twice");
        made.assert_whole(&stored);
    }
}

#[test]
fn heights_that_are_not_whole_are_not_exported() {
    let made = &*SMALL;
    let stored = made.store(4);
    let gap = |heights| first_gap(&stored.0, heights).unwrap();
    assert_eq!(gap(1..=4), None);
    assert_eq!(gap(3..=6), Some((5, Gap::NotDecided { tip: 4 })));
    stored.decide(made, 4..6);
    assert_eq!(gap(1..=6), Some((5, Gap::Missing)));
    let header = made.header(4, 6, Compression::None);
    let error = write(&stored.0, &header, &mut Vec::new(), &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(matches!(error, WriteError::NotWhole { height: 5, gap: Gap::Missing }), "{error}");
}

#[test]
fn an_archive_that_does_not_fit_changes_nothing() {
    let made = &*SMALL;
    let stored = made.store(2);
    let outcome = stored.import(made, made.archive(4, 6, Compression::Zstd).as_slice());
    assert!(matches!(outcome.error, Some(ImportError::Detached { first: 4, tip: 2 })), "{:?}", outcome.error);

    let mut params = DevnetParams::new(4);
    params.seed = [9; 32];
    let mut maker = ChainMaker::new(&params, Arc::clone(&KZG)).unwrap();
    let blocks = vec![maker.next(1).unwrap()];
    let other = Made { chain: Chain::new(maker.spec().genesis().clone()), maker, blocks };
    let outcome = stored.import(made, other.archive(1, 1, Compression::Zstd).as_slice());
    assert!(matches!(outcome.error, Some(ImportError::OtherChain { .. })), "{:?}", outcome.error);
    assert_eq!(outcome.imported, Imported::default());
    assert_eq!(stored.0.watermarks(), made.store(2).0.watermarks());
}

#[test]
fn a_long_archive_goes_through_in_groups() {
    let made = Made::new(&[50, 50, 50]);
    let archive = made.archive(1, 3, Compression::Zstd);
    let stored = Stored::new(&made.chain);
    let mut seen = Vec::new();
    let reader = ArchiveReader::open(archive.as_slice()).unwrap();
    let outcome = import(&stored.0, &made.chain, &KZG, reader, THREADS, &mut |imported| {
        seen.push(*imported);
        ControlFlow::Continue(())
    });
    assert!(outcome.error.is_none(), "{:?}", outcome.error);
    assert!(seen.len() > 2, "{} groups", seen.len());
    assert!(seen.is_sorted_by_key(|imported| (imported.values, imported.blobs)));
    assert_eq!(seen.last(), Some(&outcome.imported));
    made.assert_whole(&stored);
}

#[test]
fn observers_can_stop_what_they_observe() {
    let made = Made::new(&[70, 70]);
    let stored = made.store(2);
    let mut stop = |_: &Written| ControlFlow::Break(());
    let error = write(&stored.0, &made.header(1, 2, Compression::None), &mut Vec::new(), &mut stop).unwrap_err();
    assert!(matches!(error, WriteError::Interrupted));

    let archive = made.archive(1, 2, Compression::None);
    let stored = Stored::new(&made.chain);
    let reader = ArchiveReader::open(archive.as_slice()).unwrap();
    let outcome = import(&stored.0, &made.chain, &KZG, reader, THREADS, &mut |_| ControlFlow::Break(()));
    assert!(matches!(outcome.error, Some(ImportError::Interrupted)), "{:?}", outcome.error);
    assert!(outcome.imported.blobs > 0 && outcome.imported.blobs < 140, "one group");
    assert!(stored.import(&made, archive.as_slice()).error.is_none());
    made.assert_whole(&stored);
}
