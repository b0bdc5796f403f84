//! Indexes of archives, put together here field by field as the text says, without the library's own writer.

use lapis_protocol_spec::{
    Bytes32, ChainLink, ValidatorSet,
    archive::{Compression, Header, IndexBuilder, SidecarPart},
    decode, encode,
};
use serde_json::{Value as Json, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{Failure, archives, hex, objects};

/// Sets, decided value, bytes of each part.
#[derive(Clone)]
struct Record {
    sets: Vec<Vec<u8>>,
    decided: Vec<u8>,
    parts: Vec<u32>,
}

#[derive(Clone)]
struct Index {
    compression: u8,
    first: u64,
    last: u64,
    genesis_id: Bytes32,
    start: u64,
    records: Vec<Record>,
}

/// `indexes.json`.
pub(crate) fn file() -> Result<Json, Failure> {
    let of_archive = of_archive()?;
    let (plain, packed) = (with_blobs(Compression::None)?, with_blobs(Compression::Zstd)?);
    let good = vec![
        of_archive.case("of the archive in archives.json"),
        plain.case("heights of 0, 1, 16, 17 and 33 blobs, not compressed"),
        packed.case("the same with zstd, lengths made up"),
    ];
    let bad = [heads(&of_archive)?, records(&of_archive)?, lengths(&plain, &packed)].concat();
    Ok(json!({ "good": good, "bad": bad }))
}

/// The index of the good archive, whose only part is the payload part at every height.
fn of_archive() -> Result<Index, Failure> {
    let (archive, _) = archives::archive()?;
    let mut records = Vec::new();
    for frames in archive.records() {
        let of_kind = |kind| frames.iter().filter(move |frame| frame.0 == kind).map(|frame| frame.1.clone());
        let bytes: usize = frames.iter().map(|frame| 5 + archives::content_bytes(frame)).sum();
        let decided = of_kind(3).next().ok_or("a record without a value")?;
        records.push(Record { sets: of_kind(2).collect(), decided, parts: vec![u32::try_from(bytes)?] });
    }
    let header = archive.header(|_| ());
    let genesis_id = archive.genesis.id();
    let index = Index { compression: 0, first: 1, last: archive.last, genesis_id, start: header.len() as u64, records };
    check(&index, &Header::new(Compression::None, 1, archive.last, archive.genesis)?)?;
    Ok(index)
}

/// Five heights, of whose archive there are only the lengths.
fn with_blobs(compression: Compression) -> Result<Index, Failure> {
    let members = objects::members(&[(1, 10), (2, 20)]);
    let set: ValidatorSet = objects::set_of(&members)?;
    let genesis = objects::genesis(set.clone())?;
    let mut tip = ChainLink::genesis(&genesis);
    let mut records = Vec::new();
    for blobs in [0, 1, 16, 17, 33] {
        let value = objects::successor(&tip, &set, blobs)?;
        let payload = encode(&objects::envelope(&value)?).len();
        let decided = objects::decide(genesis.id(), value, 0, &members)?;
        tip = ChainLink::after(&decided.value, decided.certificate.value_id);
        let sets = if tip.height == 1 { vec![encode(&set)] } else { Vec::new() };
        let decided = encode(&decided);
        let items: usize = sets.iter().map(|set| 5 + set.len()).sum::<usize>() + 5 + decided.len() + 5 + payload;
        let end = if blobs == 0 { 13 } else { 0 };
        let mut parts = vec![u32::try_from(21 + items + end)?];
        for part in SidecarPart::all(usize::from(blobs)) {
            let end = if part.ends_record() { 13 } else { 0 };
            parts.push(u32::try_from(131_189 * part.count() + end)?);
        }
        if compression == Compression::Zstd {
            parts.iter_mut().for_each(|bytes| *bytes = *bytes / 2 + 1);
        }
        records.push(Record { sets, decided, parts });
    }
    let header = Header::new(compression, 1, 5, genesis)?;
    let start = header.encode().len() as u64;
    let genesis_id = *header.genesis_id();
    let index = Index { compression: compression as u8, first: 1, last: 5, genesis_id, start, records };
    check(&index, &header)?;
    Ok(index)
}

/// The library writes the same.
fn check(index: &Index, header: &Header) -> Result<(), Failure> {
    let mut builder = IndexBuilder::new(header)?;
    for Record { sets, decided, parts } in &index.records {
        let sets = sets.iter().map(|set| decode(set)).collect::<Result<_, _>>()?;
        let parts: Vec<u64> = parts.iter().map(|bytes| u64::from(*bytes)).collect();
        builder.record(sets, decode(decided)?, &parts)?;
    }
    if builder.finish()?.encode() != index.seal() {
        return Err("the library writes another index".into());
    }
    Ok(())
}

impl Index {
    fn head(&self) -> Vec<u8> {
        let mut head = b"\x89LAPIX\r\n\x01\x00".to_vec();
        head.extend([self.compression, 0]);
        head.extend(self.first.to_le_bytes());
        head.extend(self.last.to_le_bytes());
        head.extend(self.genesis_id.as_slice());
        head.extend(self.start.to_le_bytes());
        head
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for Record { sets, decided, parts } in &self.records {
            sets.iter().for_each(|set| body.extend(frame(2, set)));
            body.extend(frame(3, decided));
            parts.iter().for_each(|bytes| body.extend(bytes.to_le_bytes()));
        }
        body
    }

    fn seal(&self) -> Vec<u8> {
        seal([self.head(), self.body()].concat())
    }

    /// Sealed after a change to what is in it.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut changed = self.clone();
        change(&mut changed);
        changed.seal()
    }

    /// Sealed after a change to one record.
    fn with_record(&self, position: usize, change: impl FnOnce(&mut Record)) -> Vec<u8> {
        self.with(|index| change_at(&mut index.records, position, change))
    }

    /// Sealed after a change to one byte of the head.
    fn with_byte(&self, at: usize, byte: u8) -> Vec<u8> {
        let mut bytes = [self.head(), self.body()].concat();
        change_at(&mut bytes, at, |changed| *changed = byte);
        seal(bytes)
    }

    fn case(&self, name: &str) -> Json {
        let mut offset = self.start;
        let mut records = Vec::new();
        for Record { sets, decided, parts } in &self.records {
            let mut ranges = Vec::new();
            for bytes in parts {
                let end = offset.saturating_add(u64::from(*bytes));
                ranges.push(json!([offset, end]));
                offset = end;
            }
            let sets: Vec<String> = sets.iter().map(hex).collect();
            records.push(json!({ "sets": sets, "decided_value": hex(decided), "parts": ranges }));
        }
        json!({
            "name": name, "compression": self.compression, "first": self.first, "last": self.last,
            "genesis_id": hex(self.genesis_id), "records": records, "index": hex(self.seal()),
        })
    }
}

/// A change to the item at a position that exists.
fn change_at<T>(items: &mut [T], position: usize, change: impl FnOnce(&mut T)) {
    if let Some(item) = items.get_mut(position) {
        change(item);
    }
}

fn frame(kind: u8, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![kind];
    frame.extend((content.len() as u64).to_le_bytes().iter().take(4));
    frame.extend(content);
    frame
}

fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let checksum = xxh3_64(&bytes);
    bytes.extend(checksum.to_le_bytes());
    bytes
}

fn case(name: &str, index: &[u8], expected: &str) -> Json {
    json!({ "name": name, "index": hex(index), "expected": expected })
}

/// Heads that are wrong, with a checksum that is right unless that is what is wrong.
fn heads(index: &Index) -> Result<Vec<Json>, Failure> {
    let good = index.seal();
    let mut damaged = good.clone();
    *damaged.last_mut().ok_or("empty index")? ^= 1;
    let cut = good.split_last().ok_or("empty index")?.1;
    Ok(vec![
        case("the magic of an archive", &index.with_byte(5, b'S'), "NotAnIndex"),
        case("nothing at all", &[], "NotAnIndex"),
        case("version 2", &index.with_byte(8, 2), "Version"),
        case("cut off in the version", good.get(..9).ok_or("short index")?, "Truncated"),
        case("an unknown compression", &index.with_byte(10, 2), "Compression"),
        case("a reserved byte that is not zero", &index.with_byte(11, 1), "Reserved"),
        case("heights from 0 on", &index.with_byte(12, 0), "Range"),
        case("the last height below the first", &index.with_byte(12, 4), "Range"),
        case("65 heights", &index.with_byte(20, 65), "Heights"),
        case("parts that begin before a header can end", &index.with(|index| index.start = 195), "Start"),
        case("parts that begin behind the longest header", &index.with(|index| index.start = 41_181), "Start"),
        case("a damaged checksum", &damaged, "Checksum"),
        case("the last byte missing", cut, "Checksum"),
    ])
}

/// Records that are wrong, with a checksum that is right.
fn records(index: &Index) -> Result<Vec<Json>, Failure> {
    let set = index.records.first().and_then(|record| record.sets.first()).ok_or("no set")?;
    let behind = [index.head(), index.body(), vec![0]].concat();
    let other_kind = [index.head(), frame(4, &[0; 48])].concat();
    Ok(vec![
        case("the second record left out", &index.with(|index| drop(index.records.remove(1))), "Height"),
        case("the last record left out", &index.with(|index| drop(index.records.pop())), "Truncated"),
        case("a byte behind the last record", &seal(behind), "AfterEnd"),
        case("a payload where a value is due", &seal(other_kind), "Frame"),
        case("three sets", &index.with_record(0, |record| record.sets.push(set.clone())), "Frame"),
        case("a set of three bytes", &index.with_record(1, |record| record.sets.push(vec![0; 3])), "Length"),
        case("a set that is not SSZ", &index.with_record(1, |record| record.sets.push(vec![0; 44])), "Ssz"),
        case("one part more", &index.with_record(2, |record| record.parts.push(700)), "AfterEnd"),
    ])
}

/// Lengths that are just out of bounds: of 33 sidecars in the last record, the last part has one.
fn lengths(plain: &Index, packed: &Index) -> Vec<Json> {
    let with = |index: &Index, part: usize, bytes: u32| {
        let set = |record: &mut Record| change_at(&mut record.parts, part, |length| *length = bytes);
        index.with_record(4, set)
    };
    let last = 131_189 + 13;
    vec![
        case("a sidecar part that is a byte short", &with(plain, 1, 16 * 131_189 - 1), "PartLength"),
        case("a last part without the end of the record", &with(plain, 3, last - 13), "PartLength"),
        case("a payload part of 100 bytes", &with(plain, 0, 100), "PartLength"),
        case("a payload part of 100 MiB", &with(plain, 0, 100 << 20), "PartLength"),
        case("a part of no bytes", &with(packed, 2, 0), "PartLength"),
        case("a part that grew more than zstd lets it", &with(packed, 3, last + last / 128 + 1025), "PartLength"),
    ]
}
