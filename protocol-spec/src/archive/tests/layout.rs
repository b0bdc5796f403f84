//! The bytes as `spec/archive.md` draws them.

use super::*;

/// A cursor that takes the text's fields.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
    }

    fn frame(&mut self) -> (u64, &'a [u8]) {
        let kind = self.number(1);
        let length = self.number(4) as usize;
        (kind, self.take(length))
    }
}

fn checksum(bytes: &[u8]) -> [u8; 8] {
    xxhash_rust::xxh3::xxh3_64(bytes).to_le_bytes()
}

#[test]
fn the_header_is_laid_out_as_specified() {
    let archive = &*WITH_BLOBS;
    let mut fields = Fields(&archive.bytes);
    assert_eq!(fields.take(8), b"\x89LAPIS\r\n");
    assert_eq!(fields.number(2), 1);
    assert_eq!(fields.take(2), [0, 0]);
    assert_eq!((fields.number(8), fields.number(8)), (1, 3));
    assert_eq!(fields.take(32), archive.header.genesis_id().as_slice());
    let length = fields.number(4) as usize;
    assert_eq!(fields.take(length), encode(archive.header.genesis()));
    assert_eq!(fields.take(8), checksum(&archive.bytes[..64 + length]));
}

#[test]
fn records_and_end_are_laid_out_as_specified() {
    let archive = &*WITH_BLOBS;
    let mut fields = Fields(&archive.bytes[archive.header.encode().len()..]);
    for made in &archive.heights {
        let record = fields.0;
        let (kind, start) = fields.frame();
        assert_eq!((kind, start.len()), (1, 16));
        assert_eq!(start[..8], made.decided.value.height.to_le_bytes());
        let length = u64::from_le_bytes(start[8..].try_into().unwrap()) as usize;
        let after = &fields.0[length..];
        for set in &made.sets {
            assert_eq!(fields.frame(), (2, encode(set).as_slice()));
        }
        assert_eq!(fields.frame(), (3, encode(&made.decided).as_slice()));
        assert_eq!(fields.frame(), (4, encode(&made.payload).as_slice()));
        for blob in &made.blobs {
            assert_eq!(fields.frame(), (5, encode(blob).as_slice()));
        }
        let (kind, stated) = fields.frame();
        assert_eq!(kind, 6);
        assert_eq!(stated, checksum(&record[..record.len() - after.len() - 8]));
        assert_eq!(fields.0.len(), after.len());
    }
    let end = fields.0;
    let (kind, content) = fields.frame();
    assert_eq!(kind, 7);
    assert_eq!(content[..8], 3_u64.to_le_bytes());
    assert_eq!(&content[8..40], archive.heights[2].decided.value.id().as_slice());
    assert_eq!(content[40..], checksum(&end[..45]));
    assert!(fields.0.is_empty());
}

/// One archive as it was written when the format was fixed: whoever changes these bytes makes another version.
#[test]
fn the_format_stays_what_it_is() {
    let bytes = &WITHOUT_BLOBS.bytes;
    assert_eq!((bytes.len(), xxhash_rust::xxh3::xxh3_64(bytes)), (GOLDEN_BYTES, GOLDEN_XXH3));
}

const GOLDEN_BYTES: usize = 2464;
const GOLDEN_XXH3: u64 = 0x86cd_bd4a_8444_4d46;
